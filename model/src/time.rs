//! Times as access logs write them, in nanoseconds since the Unix epoch.

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// 2000-01-01 and 2200-01-01 in seconds: a time outside is not that of a request.
const SANE: std::ops::Range<i64> = 946_684_800..7_258_118_400;
/// The year of times that have none. It has a 29 February.
const SOME_YEAR: i64 = 2024;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Days from 1970-01-01 to a day of the Gregorian calendar; none for a day that it does not have.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let in_range = (1..=length).contains(&day);
    in_range.then_some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// A day in the form `2026-11-29`, and the seconds since its begin.
pub(crate) fn civil(unix_seconds: i64) -> (String, i64) {
    let day = unix_seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) =
        if month < 10 { (year + era * 400, month + 3) } else { (year + era * 400 + 1, month - 9) };
    (format!("{year:04}-{month:02}-{date:02}"), unix_seconds.rem_euclid(86_400))
}

/// Reads a text from its start.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// A number of exactly this many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// One of these bytes.
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// `Nov`, as a number from 1.
    fn month(&mut self) -> Option<i64> {
        let (name, rest) = self.0.split_at_checked(3)?;
        let month = MONTHS.iter().zip(1..).find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?.1;
        self.0 = rest;
        Some(month)
    }

    /// `22:58:44`, in seconds.
    fn clock(&mut self) -> Option<i64> {
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        self.one_of(b":")?;
        let seconds = self.digits(2)?;
        // A leap second is 60.
        (hours < 24 && minutes < 60 && seconds <= 60).then_some(hours * 3_600 + minutes * 60 + seconds)
    }

    /// `.123456`, in nanoseconds; 0 if there is none.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".,").is_none() {
            return Some(0);
        }
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let nanoseconds = digits.iter().map(|digit| i64::from(digit - b'0')).chain(std::iter::repeat(0));
        Some(nanoseconds.take(9).fold(0, |number, digit| number * 10 + digit))
    }

    /// `+01:00`, `+0100` or `Z`, in seconds; 0 if there is none.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"+-Z") {
            None | Some(b'Z') => return Some(0),
            Some(b'+') => 1,
            Some(_) => -1,
        };
        let hours = self.digits(2)?;
        self.one_of(b":");
        Some(sign * (hours * 3_600 + self.digits(2)? * 60))
    }
}

fn instant(days: i64, seconds: i64, nanoseconds: i64) -> Option<u64> {
    let seconds = Some(days * 86_400 + seconds).filter(|seconds| SANE.contains(seconds))?;
    Some(u64::try_from(seconds).ok()? * SECOND + u64::try_from(nanoseconds).ok()?)
}

/// `2026-11-29T22:58:44.123456+00:00` at the start of a text; without an offset UTC. A space may stand for the T.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let mut cursor = Cursor(text.as_bytes());
    let year = cursor.digits(4)?;
    cursor.one_of(b"-")?;
    let month = cursor.digits(2)?;
    cursor.one_of(b"-")?;
    let day = cursor.digits(2)?;
    cursor.one_of(b"Tt ")?;
    let clock = cursor.clock()?;
    let fraction = cursor.fraction()?;
    let offset = cursor.offset()?;
    instant(days(year, month, day)?, clock - offset, fraction)
}

/// `29/Nov/2026:22:58:44 +0000`.
pub(crate) fn common(text: &str) -> Option<u64> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.digits(2)?;
    cursor.one_of(b"/")?;
    let month = cursor.month()?;
    cursor.one_of(b"/")?;
    let year = cursor.digits(4)?;
    cursor.one_of(b":")?;
    let clock = cursor.clock()?;
    cursor.one_of(b" ")?;
    let offset = cursor.offset()?;
    instant(days(year, month, day)?, clock - offset, 0)
}

/// `Nov 29 22:58:44` at the start of a text. It has no year, so a log must not cross the turn of the year.
pub(crate) fn syslog(text: &str) -> Option<u64> {
    let mut cursor = Cursor(text.as_bytes());
    let month = cursor.month()?;
    cursor.one_of(b" ")?;
    // A day of one digit has a space before it.
    let day = if cursor.one_of(b" ").is_some() { cursor.digits(1)? } else { cursor.digits(2)? };
    cursor.one_of(b" ")?;
    let clock = cursor.clock()?;
    instant(days(SOME_YEAR, month, day)?, clock, 0)
}

/// Seconds since the Unix epoch, or milliseconds, by their size.
pub(crate) fn unix(number: f64) -> Option<u64> {
    let seconds = if number > 1e11 { number / 1e3 } else { number };
    let sane = seconds >= SANE.start as f64 && seconds < SANE.end as f64;
    // The fraction by itself, because nanoseconds since the epoch do not fit into the digits of a float.
    sane.then(|| seconds.trunc() as u64 * SECOND + (seconds.fract() * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T22:58:44Z.
    const AT: u64 = 1_795_993_124 * SECOND;

    #[test]
    fn times_are_read_in_each_form() {
        for (text, at) in [
            ("2026-11-29T22:58:44Z", AT),
            ("2026-11-29T22:58:44+00:00 6 boulder-wfe2", AT),
            ("2026-11-29 22:58:44", AT),
            ("2026-11-29T23:58:44.25+01:00", AT + SECOND / 4),
            ("2026-11-29T21:58:44.123456789123-0100", AT + 123_456_789),
        ] {
            assert_eq!(rfc3339(text), Some(at), "{text}");
        }
        assert_eq!(common("29/Nov/2026:22:58:44 +0000"), Some(AT));
        assert_eq!(common("30/Nov/2026:00:58:44 +0200"), Some(AT));
        // The same day and time of 2024.
        assert_eq!(syslog("Nov 29 22:58:44 ca boulder"), rfc3339("2024-11-29T22:58:44Z"));
        assert_eq!(syslog("Feb  9 02:03:04"), rfc3339("2024-02-09T02:03:04Z"));
        assert_eq!(unix(1_795_993_124.25), Some(AT + SECOND / 4));
        assert_eq!(unix(1_795_993_124_250.0), Some(AT + SECOND / 4));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "2026-11-29", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "1026-01-01T00:00:00Z"]
        {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in ["29/Nvo/2026:22:58:44 +0000", "29/Nov/2026:24:58:44 +0000", "29/Nov/2026"] {
            assert_eq!(common(text), None, "{text}");
        }
        assert_eq!(syslog("Nov 31 00:00:00"), None);
        assert_eq!((unix(f64::NAN), unix(-1.0), unix(12.0), unix(1e300)), (None, None, None, None));
    }

    #[test]
    fn days_are_written_as_they_are_read() {
        for text in ["1970-01-01", "2000-02-29", "2024-02-29", "2024-03-01", "2026-11-29", "2099-12-31"] {
            let number = |range: std::ops::Range<usize>| text[range].parse().unwrap();
            let day = days(number(0..4), number(5..7), number(8..10)).unwrap();
            assert_eq!(civil(day * 86_400 + 3_661), (text.to_owned(), 3_661));
        }
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2026, 11, 29), Some(20_786));
    }
}
