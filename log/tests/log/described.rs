//! Records that are made from `docs/log.schema.json`, with every key that a record can have: no conversion between JSON
//! and the binary form loses any of it. A key that is added to a record is tested without a change here.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wec_log::LogFormat;
use wec_record::{KINDS, Record};

use crate::common::{file, header};
use crate::formats::{converted, records};

const SCHEMA: &str = include_str!("../../../docs/log.schema.json");

/// Makes values that a schema allows.
struct Maker<'a> {
    schema: &'a Value,
    noise: u64,
    /// Keys that were written.
    written: BTreeSet<String>,
}

impl<'a> Maker<'a> {
    /// One of 0..of, by splitmix64.
    fn one_of(&mut self, of: usize) -> usize {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.noise ^ (self.noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % of as u64) as usize
    }

    fn value(&mut self, schema: &'a Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/$defs/").unwrap();
            return self.value(&self.schema["$defs"][name]);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[self.one_of(values.len())].clone();
        }
        if let Some(variants) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let variant = self.one_of(variants.len());
            return self.value(&variants[variant]);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let mut all = Map::new();
            for part in parts {
                let Value::Object(part) = self.value(part) else { panic!("{part} is no object") };
                all.extend(part);
            }
            return all.into();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => &kinds[self.one_of(kinds.len())],
            kind => kind,
        };
        match kind.as_str() {
            Some("object") => self.object(schema),
            Some("array") => match schema["prefixItems"].as_array() {
                Some(items) => items.iter().map(|item| self.value(item)).collect(),
                None => (0..self.one_of(4)).map(|_| self.value(&schema["items"])).collect(),
            },
            Some("integer") => self.integer(schema),
            Some("number") => json!([0.0, 1.5, 1.0 / 3.0, -2.5e-7, 6.02e23][self.one_of(5)]),
            Some("boolean") => (self.one_of(2) == 0).into(),
            Some("null") => Value::Null,
            Some("string") => ["", "a", "/order/{id}", "00ff3a", "0aF", "\"é\\\n\u{1}", "1m 30s", "p256=8"]
                [self.one_of(8)]
            .into(),
            _ => panic!("this test does not know {schema}"),
        }
    }

    fn object(&mut self, schema: &'a Value) -> Value {
        let mut made = Map::new();
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        for (key, of) in schema["properties"].as_object().into_iter().flatten() {
            if required.iter().any(|name| *name == key) || self.one_of(3) > 0 {
                self.written.insert(key.clone());
                made.insert(key.clone(), self.value(of));
            }
        }
        if let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object()) {
            for _ in 0..self.one_of(3) {
                let name = schema.get("propertyNames").unwrap_or(&Value::Null);
                let name = if name.is_object() { self.value_of_name(name) } else { "key".to_owned() };
                made.insert(name, self.value(of));
            }
        }
        made.into()
    }

    fn value_of_name(&mut self, schema: &Value) -> String {
        let names = match schema["$ref"].as_str() {
            Some(name) => &self.schema["$defs"][name.strip_prefix("#/$defs/").unwrap()]["enum"],
            None => &schema["enum"],
        };
        match names.as_array() {
            Some(names) => names[self.one_of(names.len())].as_str().unwrap().to_owned(),
            None => ["a", "b{c=\"d\"}"][self.one_of(2)].to_owned(),
        }
    }

    /// Times are whole microseconds, or not, and some numbers are the largest that are possible.
    fn integer(&mut self, schema: &Value) -> Value {
        let most = match schema["format"].as_str() {
            Some("int32") if schema["minimum"].is_number() => u64::from(u16::MAX),
            Some("int32") => i32::MAX as u64,
            _ => i64::MAX as u64,
        };
        let number = match self.one_of(6) {
            0 => 0,
            1 => self.one_of(3) as u64,
            2 => 1_000 * self.one_of(1 << 30) as u64,
            3 => self.one_of(1 << 40) as u64,
            4 => most,
            _ => self.one_of(600) as u64,
        };
        number.min(most).into()
    }
}

/// A line of this kind, and the keys that it has.
fn line(schema: &Value, kind: &str, noise: u64) -> (Value, BTreeSet<String>) {
    let kinds = schema["anyOf"][0]["oneOf"].as_array().unwrap();
    let is_kind = |variant: &&Value| variant.to_string().contains(&format!("\"enum\":[\"{kind}\"]"));
    let variant = kinds.iter().find(is_kind).unwrap_or_else(|| panic!("{kind} is not in the schema"));
    let mut maker = Maker { schema, noise, written: BTreeSet::new() };
    (maker.value(variant), maker.written)
}

/// Every record by itself, because one result may make the times of the next ones differences.
fn is_kept(text: &str) -> Result<Option<Record>, TestCaseError> {
    let first = serde_json::to_string(&Record::Header(header("run"))).unwrap();
    let log = format!("{first}\n{text}\n");
    // Times that overflow when they are added up.
    let Ok(record) = Record::parse(text, 1) else { return Ok(None) };
    let written = [Record::Header(header("run")), record.clone()];
    for format in LogFormat::ALL {
        let there = converted(log.as_bytes(), format);
        let back = String::from_utf8(converted(&there, LogFormat::Json)).unwrap();
        prop_assert_eq!(&back, &log, "{}", format);
        prop_assert_eq!(&records(&file(format, &written)).0, &written, "{}", format);
    }
    Ok(Some(record))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_key_of_the_schema_is_lost(kind in prop::sample::select(&KINDS[..]), noise in any::<u64>()) {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let (line, _) = line(&schema, kind, noise);
        is_kept(&line.to_string())?;
        // As this version writes it.
        if let Ok(record) = Record::parse(&line.to_string(), 1) {
            is_kept(&serde_json::to_string(&record).unwrap())?;
        }
        // Of a later version: another kind, and another value of each closed set.
        let mut later = line.clone();
        later["record"] = "later".into();
        prop_assert!(is_kept(&later.to_string())?.is_some());
        let values = ["\"step\"", "\"dns-01\"", "\"reset\"", "\"answered\"", "\"certificate\"", "\"failed\""];
        let text = line.to_string();
        let later = values.iter().filter(|value| text.contains(**value)).nth(noise as usize % 2);
        if let Some(value) = later {
            is_kept(&text.replace(value, "\"later\""))?;
        }
    }
}

/// The records that are made have every key of the schema, and most of them can be read.
#[test]
fn all_keys_of_the_schema_are_tested() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (mut written, mut read, mut all) = (BTreeSet::new(), 0, 0);
    for kind in KINDS {
        for noise in 0..200 {
            let (line, keys) = line(&schema, kind, noise * 7_919);
            written.extend(keys);
            all += 1;
            read += usize::from(Record::parse(&line.to_string(), 1).is_ok());
        }
    }
    let mut described = BTreeSet::new();
    properties(&schema, &mut described);
    let missing: Vec<_> = described.difference(&written).collect();
    assert!(missing.is_empty(), "{missing:?} are in no record");
    assert!(10 * read > 8 * all, "{read} of {all} lines can be read");
}

fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| properties(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}
