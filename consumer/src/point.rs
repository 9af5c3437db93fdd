//! `Point`: one point of a time series, and InfluxDB's line protocol.
//!
//! By hand, because the only crate that is more than a builder (`influxdb-line-protocol`) comes from an
//! archived repository and has a parser that we do not need.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Most characters of a text field. InfluxDB refuses more than 64 KiB.
const LONGEST_TEXT: usize = 8_000;

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The measurement.
    pub measurement: &'static str,
    /// Indexed texts. Those with an empty value are not written: InfluxDB has none.
    pub tags: BTreeMap<String, String>,
    /// Values; at least one.
    pub fields: BTreeMap<String, FieldValue>,
    /// Nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
}

/// The value of a field. InfluxDB accepts only one type for each field of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// Yes or no.
    Flag(bool),
    /// A count.
    Count(u64),
    /// Any other number; finite.
    Number(f64),
    /// A text.
    Text(String),
}

impl Point {
    /// The point in line protocol, without a line end. Text that line protocol cannot express is changed: see
    /// [`name`].
    pub fn line(&self) -> String {
        let mut line = name(self.measurement).into_owned();
        for (key, value) in self.tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty()) {
            let _ = write!(line, ",{}={}", name(key), name(value));
        }
        let mut separator = ' ';
        for (key, value) in &self.fields {
            let _ = write!(line, "{separator}{}={}", name(key), value.written());
            separator = ',';
        }
        let _ = write!(line, " {}", self.at_unix_ns.min(i64::MAX as u64));
        line
    }
}

impl FieldValue {
    fn written(&self) -> String {
        match self {
            Self::Flag(value) => value.to_string(),
            Self::Count(value) => format!("{}i", (*value).min(i64::MAX as u64)),
            // Always with a point or an exponent, so always read as a float.
            Self::Number(value) => format!("{value:?}"),
            Self::Text(text) => {
                let cut = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(end, _)| end);
                format!("\"{}\"", text[..cut].replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}

/// A measurement, key or tag. Commas, spaces and equals signs are escaped.
///
/// Two things cannot be expressed. A control character, such as a line end, becomes a space. A backslash
/// before an escaped character, before another backslash or at the end becomes a slash, because readers of
/// the protocol disagree about it.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    let special = |c: char| c.is_control() || matches!(c, ',' | '=' | ' ' | '\\');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.peek().is_none_or(|next| special(*next) || *next == '"') => written.push('/'),
            ',' | '=' | ' ' => written.extend(['\\', c]),
            c if c.is_control() => written.push_str("\\ "),
            c => written.push(c),
        }
    }
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(tags: &[(&str, &str)], fields: &[(&str, FieldValue)]) -> Point {
        Point {
            measurement: "load_testing",
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            fields: fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            at_unix_ns: 1_500_000_000_000_000_001,
        }
    }

    #[test]
    fn a_point_is_one_line() {
        let point = point(
            &[("mode", "single"), ("empty", ""), ("targetHost", "http://a b,c=d")],
            &[
                ("clients", FieldValue::Count(5)),
                ("hatchRate", FieldValue::Number(0.1)),
                ("total_rps", FieldValue::Number(3.0)),
                ("state", FieldValue::Text("say \"hi\" \\ there".into())),
                ("done", FieldValue::Flag(false)),
            ],
        );
        assert_eq!(
            point.line(),
            r#"load_testing,mode=single,targetHost=http://a\ b\,c\=d clients=5i,done=false,hatchRate=0.1,state="say \"hi\" \\ there",total_rps=3.0 1500000000000000001"#
        );
    }

    #[test]
    fn what_cannot_be_expressed_is_replaced() {
        for (text, written) in [
            ("plain", "plain"),
            ("a\\b", "a\\b"),
            ("a\\,b", "a/\\,b"),
            ("end\\", "end/"),
            ("two\\\\", "two//"),
            ("line\nend", "line\\ end"),
            ("\u{1b}[31m", "\\ [31m"),
        ] {
            assert_eq!(name(text), written, "{text:?}");
        }
        let long = FieldValue::Text("x".repeat(100_000)).written();
        assert_eq!(long.len(), LONGEST_TEXT + 2);
    }

    /// A reader of the protocol as InfluxDB's documentation describes it.
    fn read(line: &str) -> (String, BTreeMap<String, String>, BTreeMap<String, FieldValue>, u64) {
        let mut rest = line.chars().peekable();
        let mut until = |ends: &[char]| {
            let mut text = String::new();
            while let Some(c) = rest.next() {
                if c == '\\' && rest.peek().is_some_and(|next| matches!(next, ',' | '=' | ' ')) {
                    text.extend(rest.next());
                } else if ends.contains(&c) {
                    return (text, Some(c));
                } else {
                    text.push(c);
                }
            }
            (text, None)
        };
        let (measurement, mut end) = until(&[',', ' ']);
        let mut tags = BTreeMap::new();
        while end == Some(',') {
            let (key, _) = until(&['=']);
            let (value, next) = until(&[',', ' ']);
            tags.insert(key, value);
            end = next;
        }
        let mut fields = BTreeMap::new();
        loop {
            let mut key = String::new();
            while let Some(c) = rest.next() {
                match c {
                    '\\' if rest.peek().is_some_and(|next| matches!(next, ',' | '=' | ' ')) => {
                        key.extend(rest.next());
                    }
                    '=' => break,
                    c => key.push(c),
                }
            }
            let mut raw = String::new();
            let value = if rest.peek() == Some(&'"') {
                rest.next();
                while let Some(c) = rest.next() {
                    match c {
                        '\\' => raw.extend(rest.next()),
                        '"' => break,
                        c => raw.push(c),
                    }
                }
                FieldValue::Text(raw)
            } else {
                while rest.peek().is_some_and(|c| !matches!(c, ',' | ' ')) {
                    raw.extend(rest.next());
                }
                match raw.strip_suffix('i') {
                    Some(count) => FieldValue::Count(count.parse().unwrap()),
                    None => raw
                        .parse()
                        .map_or_else(|_| FieldValue::Flag(raw.parse().unwrap()), FieldValue::Number),
                }
            };
            fields.insert(key, value);
            if rest.next() != Some(',') {
                break;
            }
        }
        (measurement, tags, fields, rest.collect::<String>().parse().unwrap())
    }

    /// What a reader gets for a name that was written.
    fn kept(text: &str) -> String {
        let mut kept = String::new();
        let characters: Vec<char> = text.chars().collect();
        for (place, c) in characters.iter().enumerate() {
            let next = characters.get(place + 1);
            let ambiguous = next.is_none_or(|n| n.is_control() || matches!(n, ',' | '=' | ' ' | '\\' | '"'));
            kept.push(match c {
                '\\' if ambiguous => '/',
                c if c.is_control() => ' ',
                c => *c,
            });
        }
        kept
    }

    fn hostile() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![
                Just(','),
                Just('='),
                Just(' '),
                Just('\\'),
                Just('"'),
                Just('\n'),
                Just('#'),
                any::<char>(),
            ],
            1..12,
        )
        .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn hostile_text_stays_in_its_place(
            tags in proptest::collection::btree_map(hostile(), hostile(), 0..4),
            texts in proptest::collection::btree_map(hostile(), hostile(), 1..4),
            number in any::<f64>().prop_filter("finite", |number| number.is_finite()),
            count in 0..=i64::MAX as u64,
        ) {
            let mut fields: BTreeMap<_, _> =
                texts.into_iter().map(|(key, text)| (key, FieldValue::Text(text))).collect();
            fields.insert("n".to_owned(), FieldValue::Number(number));
            fields.insert("c".to_owned(), FieldValue::Count(count));
            let point = Point { measurement: "m", tags, fields, at_unix_ns: 7 };
            let (measurement, tags, fields, at) = read(&point.line());
            prop_assert_eq!((measurement.as_str(), at), ("m", 7));
            let wanted: BTreeMap<_, _> =
                point.tags.iter().map(|(key, value)| (kept(key), kept(value))).collect();
            prop_assert_eq!(tags, wanted);
            let wanted: BTreeMap<_, _> =
                point.fields.iter().map(|(key, value)| (kept(key), value.clone())).collect();
            prop_assert_eq!(fields, wanted);
        }
    }
}
