//! Values as people write them, in flags and files alike. Each error says what was written and what is allowed.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub(crate) fn text(value: &str) -> Result<String, String> {
    if value.trim().is_empty() { Err("is empty".into()) } else { Ok(value.to_string()) }
}

pub(crate) fn list(value: &str) -> Result<Vec<String>, String> {
    Ok(value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(String::from).collect())
}

pub(crate) fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{value:?} is neither true nor false"))
}

pub(crate) fn whole<T: FromStr + PartialOrd + std::fmt::Display>(
    value: &str,
    allowed: RangeInclusive<T>,
) -> Result<T, String> {
    let wrong = || format!("{value:?} is not a whole number from {} to {}", allowed.start(), allowed.end());
    let number = value.trim().parse().map_err(|_| wrong())?;
    if allowed.contains(&number) { Ok(number) } else { Err(wrong()) }
}

pub(crate) fn duration(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value.trim()) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(format!("{value:?} is no time at all; as in 30s, 5m, 1h30m")),
        Err(error) => Err(format!("{value:?} is not a time ({error}); as in 30s, 5m, 1h30m")),
    }
}

/// As [`duration`], and no time at all.
pub(crate) fn any_duration(value: &str) -> Result<Duration, String> {
    if matches!(value.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { duration(value) }
}

/// A part of a whole, as a fraction.
pub(crate) fn share(value: &str) -> Result<f64, String> {
    let wrong = || format!("{value:?} is not a share above 0% and up to 100%, as in 90% or 0.5%");
    let percent = value.trim().strip_suffix('%').ok_or_else(wrong)?;
    let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
    if percent > 0.0 && percent <= 100.0 { Ok(percent / 100.0) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_of_something_and_not_more_than_all() {
        assert_eq!(share("90%"), Ok(0.9));
        assert_eq!(share(" 0.5 % "), Ok(0.005));
        assert_eq!(share("100%"), Ok(1.0));
        for wrong in ["", "%", "0%", "101%", "-1%", "0.9", "NaN%", "inf%", "ten%"] {
            assert!(share(wrong).is_err(), "{wrong:?}");
        }
    }
}
