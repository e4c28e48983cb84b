use super::Style;
use super::pace::Pace;
use super::text::width;
use crate::screen::samples::{self, NOW};
use flowrun_engine::driver::snapshot::Snapshot;

fn lines(snapshot: &Snapshot, style: &Style, now: u64) -> Vec<String> {
    super::lines(snapshot, &Pace::from_the_start(snapshot), style, now)
}

const WIDTHS: [usize; 5] = [5, 40, 80, 120, 200];

fn at_all_widths(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for width in WIDTHS {
        let style = Style { width, height: 24, color: false, unicode: true };
        out.push_str(&format!("--- {width} columns\n"));
        for line in lines(snapshot, &style, NOW) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn screens_at_five_widths() {
    for (name, snapshot) in samples::all() {
        insta::assert_snapshot!(name, at_all_widths(&snapshot));
    }
}

#[test]
fn a_screen_without_unicode_is_ascii() {
    for (name, snapshot) in samples::all().into_iter().filter(|(name, _)| *name != "wide_names") {
        for width in [5, 40, 80] {
            let style = Style { width, height: 24, color: false, unicode: false };
            for line in lines(&snapshot, &style, NOW) {
                assert!(line.is_ascii(), "{name}: {line}");
            }
        }
    }
}

#[test]
fn no_line_is_too_wide_and_no_screen_too_high() {
    for (name, snapshot) in samples::all() {
        for columns in 0..=200 {
            for height in [0, 1, 2, 3, 5, 8, 24, 100] {
                let style = Style { width: columns, height, color: false, unicode: true };
                let screen = lines(&snapshot, &style, NOW);
                assert!(screen.len() <= height.saturating_sub(1).max(1), "{name} at {height}: {} lines", screen.len());
                for line in &screen {
                    assert!(width(line) <= columns, "{name} at {columns}: `{line}`");
                }
            }
        }
    }
}

#[test]
fn numbers_that_cannot_be_are_drawn_without_harm() {
    let mut snapshot = samples::fan();
    snapshot.started = u64::MAX;
    for fan in &mut snapshot.fans {
        fan.total = 0;
        fan.weight = Some((f64::INFINITY, f64::NAN));
        fan.counts.values_mut().for_each(|count| *count = u32::MAX);
    }
    snapshot.counts.values_mut().for_each(|count| *count = u32::MAX);
    for running in &mut snapshot.running {
        running.started = 0;
        running.expected = Some(u64::MAX);
        running.attempt = u32::MAX;
        if let Some(progress) = &mut running.progress {
            progress.done = f64::MAX;
            progress.total = Some(f64::MIN_POSITIVE);
        }
    }
    for now in [0, NOW, u64::MAX] {
        let style = Style { width: 80, height: 24, color: true, unicode: true };
        assert!(lines(&snapshot, &style, now).iter().all(|line| width(&super::text::clean(line)) <= 80));
    }
}

#[test]
fn colours_take_no_room_and_end_with_their_line() {
    for (name, snapshot) in samples::all() {
        let style = |color| Style { width: 80, height: 24, color, unicode: true };
        let plain = lines(&snapshot, &style(false), NOW);
        let colored = lines(&snapshot, &style(true), NOW);
        for (plain, colored) in plain.iter().zip(&colored) {
            assert_eq!(super::text::clean(colored).trim_end(), plain, "{name}");
            assert_eq!(colored.matches("\x1b[").count() % 2, 0, "{name}");
        }
    }
}

#[test]
fn the_columns_stay_where_they_are_as_time_goes_by() {
    let style = Style { width: 100, height: 24, color: false, unicode: true };
    let snapshot = samples::fan();
    let brackets = |now| lines(&snapshot, &style, now).iter().filter_map(|line| line.find('[')).collect::<Vec<_>>();
    assert_eq!(brackets(NOW), brackets(NOW + 3_600_000));
}

#[test]
fn every_attempt_in_flight_is_shown_or_counted() {
    for (name, snapshot) in samples::all() {
        let style = Style { width: 200, height: 24, color: false, unicode: true };
        let screen = lines(&snapshot, &style, NOW);
        // A name with an escape in it is shown without it.
        let shown = snapshot
            .running
            .iter()
            .filter(|r| screen.iter().any(|line| line.contains(&super::text::clean(&r.address))))
            .count();
        let more =
            screen.iter().find_map(|line| line.trim().strip_prefix("… and ")?.split(' ').next()?.parse::<usize>().ok());
        assert!(
            shown + more.unwrap_or(0) >= snapshot.running.len() + snapshot.running_more as usize,
            "{name}: {screen:#?}"
        );
    }
}
