//! Windows of time: whether now is inside, and when that changes.
//! Unaware of the machine's clock: now is given.

use super::Reading;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// `HH:MM`
pub(super) fn time(text: &str) -> Result<Time, String> {
    let wrong = || format!("`{text}` is not a time of day as `22:00`");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str| if part.len() <= 2 { part.parse::<i8>().ok() } else { None };
    let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(wrong)?;
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

/// A zone by its IANA name.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("there is no time zone `{name}` on this machine"))
}

pub(super) fn measure(from: Time, to: Time, zone: &TimeZone, named: bool, now: Timestamp) -> Reading {
    let now = now.to_zoned(zone.clone());
    let name = if named { zone.iana_name().map(|name| format!(" {name}")).unwrap_or_default() } else { String::new() };
    let label = format!("window {}-{}{name}", clock(from), clock(to));
    let at = now.time();
    let holds = match from.cmp(&to) {
        std::cmp::Ordering::Less => from <= at && at < to,
        std::cmp::Ordering::Equal => return Reading { holds: true, text: format!("{label} is always open") },
        std::cmp::Ordering::Greater => at >= from || at < to,
    };
    let (verb, change) = if holds { ("closes", to) } else { ("opens", from) };
    let text = match until(&now, change) {
        Some(wait) => format!("{label} {verb} at {} (in {wait})", clock(change)),
        None => format!("{label} {verb} at {}", clock(change)),
    };
    Reading { holds, text }
}

fn clock(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

/// How long until a time of day comes next. On a day when clocks change it comes when the zone's rules say.
fn until(now: &Zoned, change: Time) -> Option<String> {
    let today = now.date().to_datetime(change).to_zoned(now.time_zone().clone()).ok()?;
    let next = if today > *now {
        today
    } else {
        let tomorrow = now.date().checked_add(Span::new().days(1)).ok()?;
        tomorrow.to_datetime(change).to_zoned(now.time_zone().clone()).ok()?
    };
    let seconds = now.duration_until(&next).as_secs();
    // Rounded up: `in 0m` would be wrong for as long as it is shown.
    let minutes = seconds.max(0).div_euclid(60) + i64::from(seconds.rem_euclid(60) > 0);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    Some(match (hours, minutes) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    })
}

#[cfg(test)]
mod tests {
    use super::Reading;
    use super::{measure, time, zone};

    fn at(from: &str, to: &str, name: &str, now: &str) -> Reading {
        let (from, to) = (time(from).expect("a time"), time(to).expect("a time"));
        measure(from, to, &zone(name).expect("a zone"), name != "UTC", now.parse().expect("an instant"))
    }

    #[test]
    fn a_closed_window_says_when_it_opens() {
        let reading = at("22:00", "06:00", "UTC", "2026-03-02T18:50:00Z");
        assert!(!reading.holds);
        assert_eq!(reading.text, "window 22:00-06:00 opens at 22:00 (in 3h 10m)");
    }

    #[test]
    fn a_window_that_spans_midnight_holds_on_both_sides_of_it() {
        for (now, holds) in [
            ("21:59:59", false),
            ("22:00:00", true),
            ("23:59:00", true),
            ("00:00:00", true),
            ("05:59:59", true),
            ("06:00:00", false),
        ] {
            assert_eq!(at("22:00", "06:00", "UTC", &format!("2026-03-02T{now}Z")).holds, holds, "{now}");
        }
    }

    #[test]
    fn a_window_inside_a_day_holds_from_its_first_minute_to_before_its_last() {
        for (now, holds) in [("08:59:59", false), ("09:00:00", true), ("16:59:59", true), ("17:00:00", false)] {
            assert_eq!(at("09:00", "17:00", "UTC", &format!("2026-03-02T{now}Z")).holds, holds, "{now}");
        }
    }

    #[test]
    fn a_zone_moves_the_window() {
        // 16:40 UTC is 22:10 in Kolkata.
        let reading = at("22:00", "06:00", "Asia/Kolkata", "2026-03-02T16:40:00Z");
        assert!(reading.holds);
        assert_eq!(reading.text, "window 22:00-06:00 Asia/Kolkata closes at 06:00 (in 7h 50m)");
    }

    #[test]
    fn the_hour_that_a_day_loses_is_not_waited_for() {
        // In Berlin clocks jump from 02:00 to 03:00 on 29 March 2026.
        let reading = at("04:00", "05:00", "Europe/Berlin", "2026-03-29T00:30:00Z");
        assert_eq!(reading.text, "window 04:00-05:00 Europe/Berlin opens at 04:00 (in 1h 30m)");
    }

    #[test]
    fn a_window_without_length_is_always_open() {
        assert!(at("00:00", "00:00", "UTC", "2026-03-02T16:40:00Z").holds);
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert!(at("22:00", "06:00", "UTC", "2026-03-02T21:59:30Z").text.ends_with("(in 1m)"));
    }

    #[test]
    fn what_is_no_time_of_day_is_refused() {
        for bad in ["", "22", "24:00", "12:60", "-1:00", "1200", "12:00:00", "a:b", "012:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert!(time("9:05").is_ok());
    }
}
