//! What load generators send: both shapes of the payload, the one of the design document and the one that its
//! modified Locust sends.
//!
//! | | document | Locust |
//! | --- | --- | --- |
//! | `startedAt` | a date as text | whole seconds since the epoch |
//! | the generator's host | `host` | `hostname` |
//! | tags | `measurement.tags` | `tags` |

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};
use wec_record::{EndpointStats, ErrorStats, RequestStats};

use crate::point::FieldValue;

/// Bounds of one payload. A series of InfluxDB is made for each combination of tags.
const MAX_TAGS: usize = 32;
const MAX_FIELDS: usize = 64;
const MAX_NAME: usize = 256;
pub(crate) const MAX_ENDPOINTS: usize = 500;
pub(crate) const MAX_ERRORS: usize = 100;

/// Fields that are counts. InfluxDB accepts one type for each field, so `5` and `5.0` must have the same type.
const COUNTS: [&str; 4] = ["clients", "requests", "failures", "user_count"];
/// Tags that the consumer sets.
const OURS: [&str; 3] = ["run", "live", "kind"];

/// A key whose value is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Wrong {
    /// The key, with the keys above it: `measurement.fields.clients`.
    pub key: String,
    /// What is wrong, and what is expected.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", wec_text::visible(&self.key), wec_text::bounded(&wec_text::visible(&self.why)))
    }
}

fn wrong<T>(key: impl Into<String>, why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { key: key.into(), why: why.into() })
}

/// A time in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Whether it has a fraction of a second. Whole seconds are too coarse for the time of a point: a second
    /// point in the same second would replace the first.
    pub exact: bool,
}

/// The body of `register`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The start of the run.
    pub started: Moment,
    /// The run's id, if the load generator has one.
    pub run: Option<String>,
    /// Tags of the run's points.
    pub tags: BTreeMap<String, String>,
    /// Fields of the run's points.
    pub fields: BTreeMap<String, FieldValue>,
}

/// The body of `update` and `commit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The job.
    pub uuid: String,
    /// When the figures were made; of a commit, the end of the run.
    pub at: Moment,
    /// Further tags.
    pub tags: BTreeMap<String, String>,
    /// Further fields.
    pub fields: BTreeMap<String, FieldValue>,
    /// The figures. A commit always has them.
    pub stats: Option<RequestStats>,
}

impl Registration {
    /// Reads the body of `register`.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn read(body: &Value) -> Result<Self, Wrong> {
        let body = object("the body", body)?;
        let started = moment(body)?;
        let (fields, _) = fields(body)?;
        let tags = tags(body)?;
        let run = match body.get("run") {
            None | Some(Value::Null) => None,
            Some(Value::String(run)) if (1..=128).contains(&run.len()) => Some(run.clone()),
            Some(_) => return wrong("run", "is not a text of 1 to 128 bytes, the run's id"),
        };
        apart(&tags, &fields)?;
        Ok(Self { started, run, tags, fields })
    }
}

impl Report {
    /// Reads the body of `update`.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn read(body: &Value) -> Result<Self, Wrong> {
        let body = object("the body", body)?;
        let uuid = match body.get("uuid") {
            Some(Value::String(uuid)) if !uuid.is_empty() => uuid.clone(),
            None | Some(Value::Null) => {
                return wrong("uuid", "is missing: send the one that register answered");
            }
            Some(_) => return wrong("uuid", "is not the text that register answered"),
        };
        let at = moment(body)?;
        let (fields, stats) = fields(body)?;
        let tags = tags(body)?;
        apart(&tags, &fields)?;
        Ok(Self { uuid, at, tags, fields, stats })
    }

    /// Reads the body of `commit`, which must have figures.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn read_final(body: &Value) -> Result<Self, Wrong> {
        let report = Self::read(body)?;
        if report.stats.is_none() {
            return wrong("measurement.fields.requestStats", "is missing: send the result of the run");
        }
        Ok(report)
    }
}

fn object<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Wrong> {
    match value {
        Value::Object(object) => Ok(object),
        _ => wrong(key, "is not an object"),
    }
}

/// The object under this key; empty if it is missing.
fn part<'a>(
    of: &'a Map<String, Value>,
    key: &str,
    path: &str,
) -> Result<Option<&'a Map<String, Value>>, Wrong> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => object(path, value).map(Some),
    }
}

fn moment(body: &Map<String, Value>) -> Result<Moment, Wrong> {
    const KEY: &str = "startedAt";
    let how = "send seconds since the Unix epoch, or a date such as 2026-01-31T12:00:00Z";
    match body.get(KEY) {
        None | Some(Value::Null) => wrong(KEY, format!("is missing: {how}")),
        Some(Value::Number(number)) => {
            let Some(number) = number.as_f64() else { return wrong(KEY, format!("is out of range: {how}")) };
            // JavaScript's Date.now() is in milliseconds.
            let seconds = if number.abs() >= 1e11 { number / 1e3 } else { number };
            if !(0.0..=LATEST as f64).contains(&seconds) {
                return wrong(KEY, format!("{} is out of range: {how}", shown(&body[KEY])));
            }
            // Microseconds are what a float of today's seconds can hold.
            let unix_ns = (seconds * 1e6).round() as u64 * 1_000;
            Ok(Moment { unix_ns, exact: number.fract() != 0.0 })
        }
        Some(Value::String(text)) => match date(text.trim()) {
            Some(at) if (0..=LATEST).contains(&at.unix_timestamp()) => Ok(Moment {
                unix_ns: u64::try_from(at.unix_timestamp_nanos()).unwrap_or_default(),
                exact: text.contains('.'),
            }),
            Some(_) => wrong(KEY, format!("{text:?} is out of range: {how}")),
            None => wrong(KEY, format!("{text:?} is not a date: {how}")),
        },
        Some(_) => wrong(KEY, format!("is neither a number nor a text: {how}")),
    }
}

/// The end of the year 2199, seconds.
const LATEST: i64 = 7_258_118_399;

/// RFC 3339, RFC 2822, seconds as text, and a date with a time without a zone, which is in UTC.
fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc2822) {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let mut day = day.splitn(3, '-');
    let (year, month, day) = (day.next()?, day.next()?, day.next()?);
    let month = month.parse::<u8>().ok()?.try_into().ok()?;
    let day = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    let (time, fraction) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let second = time.next().unwrap_or("0").parse().ok()?;
    let nanosecond = match fraction {
        "" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{digits:0<9}").get(..9)?.parse().ok()?
        }
        _ => return None,
    };
    let time = Time::from_hms_nano(hour, minute, second, nanosecond).ok()?;
    Some(PrimitiveDateTime::new(day, time).assume_utc())
}

/// A date to the nanosecond, as our own runs send it.
pub(crate) fn exact_date(unix_ns: u64) -> String {
    let at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, nanosecond) = at.to_hms_nano();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanosecond:09}Z")
}

/// Tags from `tags`, `measurement.tags`, `host` and `hostname`.
fn tags(body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Wrong> {
    let mut tags = BTreeMap::new();
    for key in ["host", "hostname"] {
        match body.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(host)) => drop(tags.insert(key.to_owned(), bounded(key, host)?)),
            Some(_) => return wrong(key, "is not a text"),
        }
    }
    let measurement = part(body, "measurement", "measurement")?;
    let inner = match measurement {
        Some(measurement) => part(measurement, "tags", "measurement.tags")?,
        None => None,
    };
    for (given, path) in [(part(body, "tags", "tags")?, "tags"), (inner, "measurement.tags")] {
        for (name, value) in given.into_iter().flatten() {
            let key = format!("{path}.{name}");
            checked_name(&key, name)?;
            if OURS.contains(&name.as_str()) {
                return wrong(key, "is a tag that the consumer sets: use another name");
            }
            let value = match value {
                Value::Null => continue,
                Value::String(text) => bounded(&key, text)?,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return wrong(key, "is not a text"),
            };
            tags.insert(name.clone(), value);
        }
    }
    if tags.len() > MAX_TAGS {
        return wrong("measurement.tags", format!("has {} tags: a run has at most {MAX_TAGS}", tags.len()));
    }
    Ok(tags)
}

fn bounded(key: &str, text: &str) -> Result<String, Wrong> {
    if text.len() > 4 * MAX_NAME {
        return wrong(key, format!("has {} bytes: a tag has at most {}", text.len(), 4 * MAX_NAME));
    }
    Ok(text.to_owned())
}

fn checked_name(key: &str, name: &str) -> Result<(), Wrong> {
    // InfluxDB drops a tag or field of this name.
    if name == "time" {
        return wrong(key, "the name time is reserved by InfluxDB: use another name");
    }
    if !(1..=MAX_NAME).contains(&name.len()) {
        return wrong(key, format!("has a name that is empty or longer than {MAX_NAME} bytes"));
    }
    Ok(())
}

/// The plain fields of `measurement.fields`, and its `requestStats`.
fn fields(body: &Map<String, Value>) -> Result<(BTreeMap<String, FieldValue>, Option<RequestStats>), Wrong> {
    let Some(measurement) = part(body, "measurement", "measurement")? else {
        return wrong("measurement", "is missing: send {\"fields\": {…}}");
    };
    let Some(given) = part(measurement, "fields", "measurement.fields")? else {
        return wrong("measurement.fields", "is missing: send an object of fields");
    };
    let (mut fields, mut stats) = (BTreeMap::new(), None);
    for (name, value) in given {
        let key = format!("measurement.fields.{name}");
        if name == "requestStats" {
            stats = Some(request_stats(&key, value)?);
            continue;
        }
        checked_name(&key, name)?;
        let value = match value {
            Value::Null => continue,
            Value::Bool(flag) => FieldValue::Flag(*flag),
            Value::String(_) if COUNTS.contains(&name.as_str()) => return wrong(key, NOT_A_COUNT),
            Value::String(text) => FieldValue::Text(text.clone()),
            Value::Number(_) if COUNTS.contains(&name.as_str()) => FieldValue::Count(count(&key, value)?),
            Value::Number(_) => FieldValue::Number(number(&key, value)?),
            _ => return wrong(key, "is neither a number, a text, true nor false"),
        };
        fields.insert(name.clone(), value);
    }
    if fields.len() > MAX_FIELDS {
        return wrong(
            "measurement.fields",
            format!("has {} fields: a point has at most {MAX_FIELDS}", fields.len()),
        );
    }
    Ok((fields, stats))
}

/// A query cannot distinguish a field and a tag of the same name.
fn apart(tags: &BTreeMap<String, String>, fields: &BTreeMap<String, FieldValue>) -> Result<(), Wrong> {
    match fields.keys().find(|name| tags.contains_key(*name) || OURS.contains(&name.as_str())) {
        Some(name) => {
            wrong(format!("measurement.fields.{name}"), "is also the name of a tag: use another name")
        }
        None => Ok(()),
    }
}

const NOT_A_COUNT: &str = "is not a whole number from 0 on";

fn count(key: &str, value: &Value) -> Result<u64, Wrong> {
    // Python and JavaScript may write 5.0.
    let whole =
        |number: f64| (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64);
    match value.as_u64().filter(|count| *count <= i64::MAX as u64).or_else(|| value.as_f64().and_then(whole))
    {
        Some(count) => Ok(count),
        None => wrong(key, format!("{value} {NOT_A_COUNT}")),
    }
}

fn number(key: &str, value: &Value) -> Result<f64, Wrong> {
    match value.as_f64().filter(|number| number.is_finite()) {
        Some(number) => Ok(number),
        None => wrong(key, format!("{} is not a number", shown(value))),
    }
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

/// Locust's `requestStats`. Unknown keys are ignored; Locust has many more.
fn request_stats(path: &str, value: &Value) -> Result<RequestStats, Wrong> {
    let given = object(path, value)?;
    let list = |key: &str| match given.get(key) {
        None | Some(Value::Null) => Ok([].as_slice()),
        Some(Value::Array(list)) => Ok(list.as_slice()),
        // Locust's own list of errors was an object of lists in its first versions.
        Some(Value::Object(object)) if object.is_empty() => Ok([].as_slice()),
        Some(_) => wrong(format!("{path}.{key}"), "is not a list"),
    };
    let mut stats = Vec::new();
    for (index, entry) in list("stats")?.iter().enumerate() {
        let path = format!("{path}.stats[{index}]");
        let entry = Keys { of: object(&path, entry)?, path: &path };
        stats.push(EndpointStats {
            method: entry.text("method")?,
            name: entry.text("name")?,
            num_requests: entry.count("num_requests")?.unwrap_or(0),
            // May be more than the requests: the first versions of Locust counted only successes there.
            num_failures: entry.count("num_failures")?.unwrap_or(0),
            avg_response_time: entry.number("avg_response_time")?,
            min_response_time: entry.number("min_response_time")?,
            max_response_time: entry.number("max_response_time")?,
            median_response_time: entry.number("median_response_time")?,
            current_rps: entry.number("current_rps")?.unwrap_or(0.0),
            avg_content_length: entry.number("avg_content_length")?,
        });
    }
    let mut errors = Vec::new();
    for (index, entry) in list("errors")?.iter().enumerate() {
        let path = format!("{path}.errors[{index}]");
        let entry = Keys { of: object(&path, entry)?, path: &path };
        // Earlier versions of Locust spelled it with one r.
        let occurrences = entry.count("occurrences")?.or(entry.count("occurences")?).unwrap_or(0);
        errors.push(ErrorStats {
            method: entry.text("method")?,
            name: entry.text("name")?,
            error: entry.text("error")?,
            occurrences,
        });
    }
    let keys = Keys { of: given, path };
    Ok(RequestStats {
        stats,
        errors,
        total_rps: keys.number("total_rps")?,
        fail_ratio: keys.share("fail_ratio")?,
        state: keys.text("state")?,
        user_count: keys.count("user_count")?,
    })
}

struct Keys<'a> {
    of: &'a Map<String, Value>,
    path: &'a str,
}

impl Keys<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn text(&self, key: &str) -> Result<String, Wrong> {
        match self.of.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.chars().take(1_000).collect()),
            Some(_) => wrong(self.key(key), "is not a text"),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Wrong> {
        match self.of.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => number(&self.key(key), value).map(Some),
        }
    }

    fn share(&self, key: &str) -> Result<Option<f64>, Wrong> {
        match self.number(key)? {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                wrong(self.key(key), format!("{share} is not a share from 0 to 1"))
            }
            share => Ok(share),
        }
    }

    fn count(&self, key: &str) -> Result<Option<u64>, Wrong> {
        match self.of.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => count(&self.key(key), value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_of_a_registration_are_read() {
        let of_document = json!({
            "startedAt": "2017-08-01T12:00:00.5Z",
            "host": "generator",
            "measurement": {
                "fields": { "clients": 5, "hatchRate": 0.1, "requests": 100 },
                "tags": { "targetHost": "http://10.10.10.1", "mode": "single" },
            },
        });
        let of_locust = json!({
            "startedAt": 1_501_588_800,
            "hostname": "generator",
            "tags": { "targetHost": "http://10.10.10.1", "mode": "single" },
            "measurement": { "fields": { "clients": 5.0, "hatchRate": 1, "requests": 100 } },
        });
        let document = Registration::read(&of_document).unwrap();
        let locust = Registration::read(&of_locust).unwrap();
        assert_eq!(document.started, Moment { unix_ns: 1_501_588_800_500_000_000, exact: true });
        assert_eq!(locust.started, Moment { unix_ns: 1_501_588_800_000_000_000, exact: false });
        assert_eq!(document.fields["hatchRate"], FieldValue::Number(0.1));
        assert_eq!(locust.fields["hatchRate"], FieldValue::Number(1.0), "a rate is never a count");
        for (read, host) in [(document, "host"), (locust, "hostname")] {
            assert_eq!(read.fields["clients"], FieldValue::Count(5));
            assert_eq!(read.fields["requests"], FieldValue::Count(100));
            assert_eq!(read.tags["mode"], "single");
            assert_eq!(read.tags["targetHost"], "http://10.10.10.1");
            assert_eq!(read.tags[host], "generator");
        }
    }

    #[test]
    fn dates_are_read_in_many_forms() {
        let noon = 1_501_588_800_000_000_000;
        for (given, unix_ns, exact) in [
            (json!(1_501_588_800), noon, false),
            (json!("1501588800"), noon, false),
            (json!(1_501_588_800_000_u64), noon, false),
            (json!(1_501_588_800.25), noon + 250_000_000, true),
            (json!("2017-08-01T12:00:00Z"), noon, false),
            (json!("2017-08-01T14:00:00+02:00"), noon, false),
            (json!("2017-08-01 12:00:00"), noon, false),
            (json!("2017-08-01 12:00:00.000001"), noon + 1_000, true),
            (json!("2017-08-01T12:00"), noon, false),
            (json!("Tue, 01 Aug 2017 12:00:00 GMT"), noon, false),
            (json!("2017-08-01T12:00:00.123456789Z"), noon + 123_456_789, true),
        ] {
            let body = json!({ "startedAt": given });
            assert_eq!(moment(body.as_object().unwrap()), Ok(Moment { unix_ns, exact }), "{given}");
        }
    }

    #[test]
    fn the_wrong_key_is_named() {
        let right = || {
            json!({
                "startedAt": 1, "uuid": "u",
                "measurement": { "fields": {
                    "clients": 1,
                    "requestStats": { "stats": [{ "method": "GET", "name": "/", "num_requests": 1 }], "errors": [{}], "fail_ratio": 0 },
                } },
            })
        };
        assert!(Registration::read(&right()).is_ok() && Report::read_final(&right()).is_ok());
        let cases = [
            ("/startedAt", json!(null), "startedAt: is missing"),
            ("/startedAt", json!("soon"), "startedAt: \"soon\" is not a date"),
            ("/startedAt", json!(-1), "startedAt: -1 is out of range"),
            ("/startedAt", json!(1e300), "startedAt: 1e+300 is out of range"),
            ("/startedAt", json!([]), "startedAt: is neither"),
            ("/uuid", json!(null), "uuid: is missing"),
            ("/uuid", json!(5), "uuid: is not the text"),
            ("/measurement", json!(null), "measurement: is missing"),
            ("/measurement", json!(1), "measurement: is not an object"),
            ("/measurement/fields", json!(null), "measurement.fields: is missing"),
            ("/measurement/fields", json!([]), "measurement.fields: is not an object"),
            (
                "/measurement/fields/clients",
                json!("many"),
                "measurement.fields.clients: is not a whole number",
            ),
            (
                "/measurement/fields/clients",
                json!(1.5),
                "measurement.fields.clients: 1.5 is not a whole number",
            ),
            (
                "/measurement/fields/clients",
                json!(-1),
                "measurement.fields.clients: -1 is not a whole number",
            ),
            ("/measurement/fields/clients", json!({}), "measurement.fields.clients: is neither"),
            (
                "/measurement/fields/requestStats",
                json!(null),
                "measurement.fields.requestStats: is not an object",
            ),
            (
                "/measurement/fields/requestStats/stats",
                json!(1),
                "measurement.fields.requestStats.stats: is not a list",
            ),
            (
                "/measurement/fields/requestStats/stats/0/num_requests",
                json!("x"),
                "measurement.fields.requestStats.stats[0].num_requests: \"x\" is not a whole number",
            ),
            (
                "/measurement/fields/requestStats/fail_ratio",
                json!(1.5),
                "measurement.fields.requestStats.fail_ratio: 1.5 is not a share from 0 to 1",
            ),
            (
                "/measurement/fields/requestStats/errors/0",
                json!("x"),
                "measurement.fields.requestStats.errors[0]: is not an object",
            ),
        ];
        for (place, value, told) in cases {
            let mut body = right();
            *body.pointer_mut(place).unwrap() = value;
            let wrong = Report::read_final(&body).unwrap_err().to_string();
            assert!(wrong.starts_with(told), "{place}: {wrong}");
        }
        let mut body = right();
        body["measurement"]["fields"].as_object_mut().unwrap().remove("requestStats");
        assert!(Report::read(&body).is_ok());
        let wrong = Report::read_final(&body).unwrap_err();
        assert_eq!(wrong.key, "measurement.fields.requestStats");
        for (tag, told) in
            [("run", "consumer sets"), ("live", "consumer sets"), ("time", "reserved"), ("", "empty")]
        {
            let mut body = right();
            body["measurement"]["tags"] = json!({ tag: "x" });
            let wrong = Registration::read(&body).unwrap_err();
            assert_eq!(wrong.key, format!("measurement.tags.{tag}"));
            assert!(wrong.why.contains(told), "{wrong}");
        }
        let mut body = right();
        body["tags"] = json!({ "clients": "x" });
        assert_eq!(Registration::read(&body).unwrap_err().key, "measurement.fields.clients");
        body["tags"] = (0..40).map(|n| (format!("t{n}"), json!("x"))).collect::<Map<_, _>>().into();
        assert_eq!(Registration::read(&body).unwrap_err().key, "measurement.tags");
    }
}
