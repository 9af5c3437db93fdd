//! Numbers and times for people.

use crate::time::{SECOND, civil};

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-29 22:58:44 UTC`.
pub(crate) fn moment(unix_ns: u64) -> String {
    let (day, seconds) = civil((unix_ns / SECOND) as i64);
    format!("{day} {:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// `1 h`, `5 min`, `30 s`: a width of steps.
pub(crate) fn width(seconds: u64) -> String {
    match seconds {
        _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// `12.3 %`.
pub(crate) fn share(part: u64, of: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(moment(1_795_993_124 * SECOND + 5), "2026-11-29 22:58:44 UTC");
        assert_eq!(
            [1, 30, 60, 300, 3_600, 86_400].map(width),
            ["1 s", "30 s", "1 min", "5 min", "1 h", "24 h"]
        );
        assert_eq!((share(1, 8), share(0, 0)), ("12.5 %".to_owned(), "0.0 %".to_owned()));
    }
}
