//! Text of times, counts, rates and dates, both ways.

use std::fmt::Write as _;

/// Seconds of a day.
pub const DAY: i32 = 86_400;
/// The longest time that is read: ten years.
pub const LONGEST: i32 = 3_652 * DAY;

const UNITS: [(&str, i32); 5] = [("w", 7 * DAY), ("d", DAY), ("h", 3_600), ("m", 60), ("s", 1)];

/// A time like `6h`, `90d` or `1d12h`, in seconds.
///
/// # Errors
/// The message has the text and an example.
pub fn duration(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is not a time like 30s, 5m, 6h, 90d or 1d12h, up to ten years");
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at(digits);
        let letters = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(letters);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number
            .checked_mul(i64::from(*seconds))
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= i64::from(LONGEST))
            .ok_or_else(wrong)?;
        rest = next.trim_start();
    }
    i32::try_from(total).map_err(|_| wrong())
}

/// The shortest text that [`duration`] reads as this: `1d12h`.
pub fn duration_text(seconds: i32) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut left = seconds.unsigned_abs();
    let mut text = if seconds < 0 { "-".to_owned() } else { String::new() };
    // Weeks are read, but 90d is what people write.
    for (unit, size) in &UNITS[1..] {
        let number = left / size.unsigned_abs();
        if number > 0 {
            // Writing into a string does not fail.
            let _ = write!(text, "{number}{unit}");
            left %= size.unsigned_abs();
        }
    }
    text
}

/// A number of certificates: `100000`, `1_000_000`, `250k`, `400M`.
///
/// # Errors
/// The message has the text and examples.
pub fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a number like 100000, 250k or 400M, from 1 to 4000M");
    let plain = text.trim().replace('_', "");
    let (number, factor) = match plain.chars().last() {
        Some('k') => (&plain[..plain.len() - 1], 1e3),
        Some('M') => (&plain[..plain.len() - 1], 1e6),
        _ => (&plain[..], 1.0),
    };
    if number.is_empty() || number.chars().any(|c| !c.is_ascii_digit() && c != '.') {
        return Err(wrong());
    }
    let number = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if (1.0..=4e9).contains(&number) && number.fract() == 0.0 { Ok(number as u64) } else { Err(wrong()) }
}

/// A share like `10%`, in millionths.
///
/// # Errors
/// The message has the text and an example.
pub fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a share like 10% or 0.5%, above 0% and up to 100%");
    let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
    let percent: f64 = number.trim().parse().map_err(|_| wrong())?;
    if percent > 0.0 && percent <= 100.0 { Ok((percent * 1e4).round().max(1.0) as u32) } else { Err(wrong()) }
}

/// The text of a share in millionths: `10%`.
pub fn share_text(millionths: u32) -> String {
    format!("{}%", f64::from(millionths) / 1e4)
}

/// A rate like `300/s`, `2.5/s`, `18000/min` or `10M/d`, in thousandths per second.
///
/// # Errors
/// The message has the text and examples.
pub fn rate(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is not a rate like 300/s, 2.5/s, 18000/min or 10M/d, from 0.001/s to 1M/s");
    let (number, per) = text.split_once('/').ok_or_else(wrong)?;
    let number = number.trim();
    let (number, factor) = match number.chars().last() {
        Some('k') => (&number[..number.len() - 1], 1e3),
        Some('M') => (&number[..number.len() - 1], 1e6),
        _ => (number, 1.0),
    };
    let seconds = match per.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => f64::from(DAY),
        _ => return Err(wrong()),
    };
    if number.is_empty() || number.chars().any(|c| !c.is_ascii_digit() && c != '.') {
        return Err(wrong());
    }
    let thousandths = number.parse::<f64>().map_err(|_| wrong())? * factor / seconds * 1e3;
    let thousandths = thousandths.round();
    if (1.0..=1e9).contains(&thousandths) { Ok(thousandths as u64) } else { Err(wrong()) }
}

/// The text of a rate in thousandths per second: `300/s`.
pub fn rate_text(thousandths: u64) -> String {
    format!("{}/s", thousandths as f64 / 1e3)
}

/// Days since 1970-01-01 of a date like `2026-01-01`.
///
/// # Errors
/// The message has the text and an example.
pub fn date(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is not a date like 2026-03-01, from 1970 to 2200");
    let mut parts = text.trim().split('-');
    let mut next = || parts.next().and_then(|part| part.parse::<i32>().ok());
    let (Some(year), Some(month), Some(day), None) = (next(), next(), next(), next()) else {
        return Err(wrong());
    };
    if !(1970..=2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong());
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) == (year, month, day) { Ok(days) } else { Err(wrong()) }
}

/// The text of a date: `2026-01-01`.
pub fn date_text(days: i32) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A second of a clock that starts on this day, as people write it: `2026-01-13 00:00:05`.
pub fn moment_text(start_day: i32, second: i32) -> String {
    let (days, of_day) = (second.div_euclid(DAY), second.rem_euclid(DAY));
    let (hours, minutes, seconds) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{} {hours:02}:{minutes:02}:{seconds:02}", date_text(start_day + days))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the
/// last one.
pub fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970-01-01.
pub fn civil_from_days(days: i32) -> (i32, i32, i32) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds, written) in [
            ("30s", 30, "30s"),
            ("6h", 21_600, "6h"),
            ("90d", 90 * DAY, "90d"),
            ("1d12h", 129_600, "1d12h"),
            ("36h", 129_600, "1d12h"),
            ("2w", 14 * DAY, "14d"),
            ("0s", 0, "0s"),
            ("1d 1s", DAY + 1, "1d1s"),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
            assert_eq!(duration_text(seconds), written);
        }
        for text in ["", "6", "h", "6x", "-1d", "1.5h", "3653d", "99999999999999999999d", "1d-", "6 h x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_rates_and_shares_are_read() {
        for (text, number) in [("100000", 100_000), ("1_000", 1_000), ("250k", 250_000), ("0.4M", 400_000)] {
            assert_eq!(count(text), Ok(number), "{text}");
        }
        for text in ["", "0", "k", "-1", "1.5", "5G", "4001M", "nan", "1e3"] {
            assert!(count(text).is_err(), "{text}");
        }
        for (text, thousandths) in
            [("300/s", 300_000), ("2.5/s", 2_500), ("60/min", 1_000), ("86400/d", 1_000)]
        {
            assert_eq!(rate(text), Ok(thousandths), "{text}");
        }
        for text in ["", "300", "/s", "0/s", "-1/s", "300/x", "2000000/s", "inf/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(share("10%"), Ok(100_000));
        assert_eq!(share_text(share("0.5%").unwrap()), "0.5%");
        for text in ["", "10", "0%", "101%", "-5%", "NaN%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, days) in [("1970-01-01", 0), ("2000-03-01", 11_017), ("2026-01-01", 20_454)] {
            assert_eq!(date(text), Ok(days), "{text}");
            assert_eq!(date_text(days), text);
        }
        assert_eq!(moment_text(20_454, 31 * DAY + 5), "2026-02-01 00:00:05");
        for text in ["", "2026", "2026-02-29", "2026-13-01", "2026-00-10", "1969-12-31", "2026-01-01-1"] {
            assert!(date(text).is_err(), "{text}");
        }
        for days in (0..80_000).step_by(7) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
