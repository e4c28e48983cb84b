//! Durations and sizes as people write them: `90s`, `1h30m`, `512MiB`.
//! Unaware of where they stand. A bare number is refused: which unit it means is a guess.

const SECOND: u64 = 1000;
const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", SECOND), ("m", 60 * SECOND), ("h", 3600 * SECOND), ("d", 86_400 * SECOND)];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number with as much of a text as it takes, and the rest.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with('.') {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

/// A whole number of units, where it fits.
fn scaled(value: f64, unit: u64) -> Option<u64> {
    #[expect(clippy::cast_precision_loss, reason = "units are powers far below 2^53")]
    let scaled = (value * unit as f64).round();
    // 2^63 is far beyond any plan and still exact enough to compare with.
    (scaled.is_finite() && (0.0..9.2e18).contains(&scaled)).then(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked above")]
        let whole = scaled as u64;
        whole
    })
}

/// Milliseconds of a duration such as `90s`, `1h30m`, `1.5h`.
///
/// # Errors
/// What to do about it.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let hint = || "write a number with its unit, `s`, `m`, `h` or `d`: `90s`, `30m`, `1h30m`".to_owned();
    let mut rest = text.trim();
    if rest.parse::<f64>().is_ok() {
        return Err(format!("which unit? write `{rest}s`, `{rest}m` or `{rest}h`"));
    }
    if rest.is_empty() {
        return Err(hint());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (value, after) = number(rest).ok_or_else(hint)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end).ok_or_else(hint)?;
        let (_, size) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(hint)?;
        let part = scaled(value, *size).ok_or_else(|| "it is longer than any run can be".to_owned())?;
        total = total.checked_add(part).ok_or_else(|| "it is longer than any run can be".to_owned())?;
        rest = next;
    }
    Ok(total)
}

/// Bytes of a size such as `512MiB`, `2TiB`, `1.5GB`.
///
/// # Errors
/// What to do about it.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let hint = || "write a number with its unit: `512MiB`, `2TiB`, `100MB`".to_owned();
    let text = text.trim();
    let (value, rest) = number(text).ok_or_else(hint)?;
    let unit = rest.trim_start();
    if unit.is_empty() {
        return Err(format!("which unit? write `{text}B`, `{text}MiB` or `{text}GiB`"));
    }
    let known = SIZES.iter().find(|(name, _)| *name == unit);
    let (_, size) = known.ok_or_else(|| {
        let meant =
            SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit) || name.trim_end_matches('B') == unit);
        meant.map_or_else(hint, |(name, _)| format!("did you mean `{}{name}`?", text.trim_end_matches(rest)))
    })?;
    scaled(value, *size).ok_or_else(|| "it is larger than any disk".to_owned())
}

/// A percentage such as `10%`.
#[must_use]
pub fn percent(text: &str) -> Option<f64> {
    let value = text.trim().strip_suffix('%')?.trim_end().parse::<f64>().ok()?;
    (0.0..=100.0).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [
            ("90s", 90_000),
            ("30m", 1_800_000),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_no_duration_and_no_size() {
        assert_eq!(duration_ms("90").unwrap_err(), "which unit? write `90s`, `90m` or `90h`");
        assert!(size_bytes("512").is_err());
        for text in ["", "s", "5 s", "5y", "-5s", "5s5", "1e3s", "999999999999999999999d"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        for (text, bytes) in [
            ("1KiB", 1024),
            ("1KB", 1000),
            ("512MiB", 512 << 20),
            ("2TiB", 2 << 40),
            ("1.5GB", 1_500_000_000),
            ("7B", 7),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(size_bytes("5gib").unwrap_err(), "did you mean `5GiB`?");
        assert_eq!(size_bytes("5G").unwrap_err(), "did you mean `5GB`?");
    }

    #[test]
    fn a_percentage_lies_between_nothing_and_everything() {
        assert_eq!(percent("10%"), Some(10.0));
        assert_eq!(percent("101%"), None);
        assert_eq!(percent("10"), None);
    }
}
