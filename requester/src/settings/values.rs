//! Parses values of flags and files. Each error has the text and what is allowed.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use wec_text::quoted;

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

/// Ten years. Sums of several, in nanoseconds and on any clock, do not overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_652 * 86_400);

pub(crate) fn duration(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value.trim()) {
        Ok(duration) if duration > LONGEST => Err(too_long(value)),
        Err(humantime::DurationError::NumberOverflow) => Err(too_long(value)),
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(format!("{value:?} must be longer than 0; as in 30s, 5m, 1h30m")),
        Err(error) => Err(format!("{value:?} is not a time ({error}); as in 30s, 5m, 1h30m")),
    }
}

fn too_long(value: &str) -> String {
    // More digits would not add information.
    let shown: String = value.chars().take(40).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    format!("{shown:?}{more} is longer than ten years")
}

/// As [`duration`], and 0.
pub(crate) fn any_duration(value: &str) -> Result<Duration, String> {
    if matches!(value.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { duration(value) }
}

/// A share, as a fraction.
pub(crate) fn share(value: &str) -> Result<f64, String> {
    let wrong = || format!("{value:?} is not a share above 0% and up to 100%, as in 90% or 0.5%");
    let percent = value.trim().strip_suffix('%').ok_or_else(wrong)?;
    let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
    if percent > 0.0 && percent <= 100.0 { Ok(percent / 100.0) } else { Err(wrong()) }
}

/// Whether a text can be a scenario's name, which is used in keys, marks and thresholds.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A share from none to all: `10%` or `0.1`.
pub(crate) fn any_share(value: &str) -> Result<f64, String> {
    let (number, unit) = value.trim().strip_suffix('%').map_or((value, 1.0), |percent| (percent, 100.0));
    match number.trim().parse::<f64>().map(|number| number / unit) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{value:?} is not a share from 0% to 100%, as in 10% or 0.1")),
    }
}

/// Whether the last label is a number: then it is an IPv4 address in some form, not a domain.
fn is_number(domain: &str) -> bool {
    domain.rsplit('.').next().is_some_and(|label| {
        !label.is_empty() && (label.bytes().all(|b| b.is_ascii_digit()) || is_hex(label))
    })
}

/// `0x7f000001`, which resolvers and URL parsers also read as a number.
fn is_hex(label: &str) -> bool {
    label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A domain under which names are made.
pub(crate) fn domain(value: &str) -> Result<String, String> {
    let domain = value.trim().trim_end_matches('.').to_ascii_lowercase();
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if value.trim().trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || is_number(&domain) {
        return Err(format!(
            "{value:?} is an address: it must be a domain such as wec.test, because ordered names end with it"
        ));
    }
    // A unique label of up to 30 bytes and a dot are put in front of it.
    if domain.len() <= 222 && domain.split('.').all(label_fits) {
        Ok(domain)
    } else if domain.len() > 222 || domain.split('.').any(|label| label.len() > 63) {
        Err(format!("{} is too long: at most 222 letters in total, and 63 between two dots", quoted(value)))
    } else {
        Err(format!("{} is not a domain name of letters, digits, hyphens and dots", quoted(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_longer_than_ten_years() {
        assert_eq!(duration("87648h"), Ok(LONGEST));
        for value in [
            "87649h",
            "18446744073709551615s",
            "18446744073709551616s",
            "9999999999999999999999y",
            "500000000000years",
            "18446744073709551615h 18446744073709551615h",
        ] {
            let mistake = any_duration(value).unwrap_err();
            assert!(mistake.contains("longer than ten years"), "{value}: {mistake}");
        }
        for value in ["1e30s", "inf", "NaN", "-5s", "0x10s"] {
            let mistake = any_duration(value).unwrap_err();
            assert!(mistake.contains("is not a time"), "{value}: {mistake}");
        }
        assert!(duration(&"9".repeat(1_000_000)).unwrap_err().len() < 100);
    }

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
