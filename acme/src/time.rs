//! Times in servers' answers: RFC 3339 in objects, seconds or HTTP dates in Retry-After.

use std::time::{Duration, UNIX_EPOCH};

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// Seconds since the Unix epoch. Fractions and offsets (acmeeh writes microseconds and `+00:00`) are supported.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// RFC 3339 text of seconds since the Unix epoch; none beyond the year 9999.
pub(crate) fn to_rfc3339(unix: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(unix).ok()?.format(&Rfc3339).ok()
}

/// Retry-After (RFC 9110 §10.2.3): seconds, or a date relative to `now`, seconds since the Unix epoch; a past date is
/// zero.
pub(crate) fn retry_after(header: &str, now: impl FnOnce() -> i64) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a wait beyond every bound.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = http_date(header)?;
    Some(Duration::from_secs(u64::try_from(date.saturating_sub(now())).unwrap_or(0)))
}

/// A date of HTTP (RFC 9110 §5.6.7), seconds since the Unix epoch.
pub(crate) fn http_date(header: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(header).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after() {
        // 2026-11-21T10:00:00Z
        let now = 1_795_255_200;
        for (header, seconds) in [
            ("0", Some(0)),
            ("3", Some(3)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sat, 21 Nov 2026 10:00:05 GMT", Some(5)),
            ("Saturday, 21-Nov-26 10:00:05 GMT", Some(5)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("-3", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, || now), seconds.map(Duration::from_secs), "{header:?}");
        }
    }

    #[test]
    fn reads_times_as_servers_write_them() {
        for (text, unix) in [
            ("2026-11-21T10:00:00Z", Some(1_795_255_200)),
            ("2026-11-21T10:00:00.123456+00:00", Some(1_795_255_200)),
            ("2026-11-21T11:00:00+01:00", Some(1_795_255_200)),
            ("2026-11-21", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(text), unix, "{text:?}");
        }
        assert_eq!(to_rfc3339(1_795_255_200).as_deref(), Some("2026-11-21T10:00:00Z"));
        assert_eq!(to_rfc3339(i64::MAX), None);
    }
}
