//! The summary, for people and for programs.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod common;

use common::{START, chain_record, chain_result, header, load_record, records};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wec_analytics::{Aggregate, Snapshot, summary_table};
use wec_record::{Chain, Record, StateCounts};

fn snapshot(records: impl IntoIterator<Item = Record>) -> Snapshot {
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(header("run")));
    records.into_iter().for_each(|record| aggregate.record(&record));
    aggregate.snapshot()
}

#[test]
fn the_table_names_units_counts_and_what_is_missing() {
    let results = (1..=2_100).map(|seq| {
        let chain = if seq % 3 == 0 { Chain::Authorization } else { Chain::Registration };
        let took = 1_000_000 + seq * seq * 37;
        chain_record("r1", chain_result(chain, seq, seq * 10_000_000, took))
    });
    let others = [
        Record::State {
            node: "r1".to_owned(),
            seq: 2_101,
            at_unix_ns: START,
            counts: StateCounts {
                registrations: 1_200,
                authorizations: 600,
                certificates: 0,
                revoked: 0,
                workers: 50,
            },
        },
        Record::Lost {
            node: "r1".to_owned(),
            seq: 2_102,
            at_unix_ns: START,
            count: 17,
            why: "the spool is full".to_owned(),
        },
    ];
    insta::assert_snapshot!(summary_table(&snapshot(results.chain(others))));
}

#[test]
fn an_empty_run_has_a_table_too() {
    insta::assert_snapshot!(summary_table(&snapshot([])));
}

#[test]
fn says_in_a_line_that_the_load_tester_kept_up_and_loudly_that_it_did_not() {
    let kept_up = summary_table(&snapshot([load_record("r1", 1, START + 1_000_000_000, 1_234)]));
    let line = kept_up.lines().find(|line| line.starts_with("Load tester")).unwrap();
    assert_eq!(
        line,
        "Load tester kept up: lag p99 50.0 µs (N 1236), busiest thread at most 12 % of a processor, queue of results at \
         most 12 % full, 2468 of 24680 due iterations dropped (10.00 %)."
    );
    assert!(!kept_up.contains("LIMITED"));

    let limited = summary_table(&snapshot([
        load_record("r1", 1, START + 1_000_000_000, 9_501),
        load_record("r2", 1, START + 1_000_000_000, 6_002),
    ]));
    let (before, after) = limited.split_once("chain ").unwrap();
    assert!(before.contains("*** GENERATOR-LIMITED for 9.50 s"), "{limited}");
    assert!(
        before.contains("  - worker thread 0 used up to 95 % of its processor, for 10 s: use more machines"),
        "{limited}"
    );
    assert!(
        before.contains("  - worker thread 0 was ready to run but had no processor for up to 60 %"),
        "{limited}"
    );
    assert!(after.contains("Load tester was limited: lag p99"), "{limited}");
}

#[test]
fn the_json_is_what_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/summary.schema.json")).unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let records = records(400).prop_filter("enough", |records| records.len() > 100);
        let records = records.new_tree(&mut runner).unwrap().current();
        let json = serde_json::to_value(snapshot(records)).unwrap();
        assert!(
            !json["failures"].as_array().unwrap().is_empty()
                && !json["hits"].as_array().unwrap().is_empty()
                && !json["generator"]["limits"].as_array().unwrap().is_empty()
        );
        check(&schema, &schema, &json, "summary").unwrap();
    }
    let empty = serde_json::to_value(snapshot([])).unwrap();
    check(&schema, &schema, &empty, "summary").unwrap();
    for chain in Chain::ALL {
        assert_eq!(empty["chains"][chain.name()]["count"], 0);
    }

    // The check itself can fail.
    let broken: [(&str, Value); 6] = [
        ("/chains/revoke/count", json!(-1)),
        ("/chains/revoke/response_time_ns/p50", json!("1 ms")),
        ("/version", json!(2)),
        ("/state", json!({})),
        ("/scenarios", json!({ "default": { "executor": "workers" } })),
        ("/nonces", json!({ "fetched": 0, "rejected": 0, "rejected_share": null, "undocumented": 1 })),
    ];
    for (place, wrong) in broken {
        let mut json = empty.clone();
        *json.pointer_mut(place).unwrap() = wrong;
        assert!(check(&schema, &schema, &json, "summary").is_err(), "{place}");
    }
}

/// The part of JSON Schema that the schema uses.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{at}: {what}: {value}"));
    for (keyword, wanted) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => {}
            "$ref" => {
                let target = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(target).unwrap(), value, at)?;
            }
            "type" => {
                let types = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                if !types.iter().any(|name| is(name.as_str().unwrap(), value)) {
                    return wrong("has another type");
                }
            }
            "const" if wanted != value => return wrong("is another constant"),
            "enum" if !wanted.as_array().unwrap().contains(value) => return wrong("is none of the values"),
            "minimum" if value.as_f64().is_some_and(|number| number < wanted.as_f64().unwrap()) => {
                return wrong("is too small");
            }
            "required" => {
                let mut names = wanted.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                if let Some(name) = names.find(|name| value.get(name).is_none()) {
                    return wrong(&format!("lacks {name}"));
                }
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(root, schema, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" if wanted.is_object() => {
                for (name, value) in value.as_object().unwrap() {
                    check(root, wanted, value, &format!("{at}.{name}"))?;
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                if let Some(name) = value.as_object().unwrap().keys().find(|name| !known.contains_key(*name))
                {
                    return wrong(&format!("has the undocumented {name}"));
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, value, &format!("{at}[{index}]"))?;
                }
            }
            "const" | "enum" | "minimum" => {}
            other => panic!("the schema uses {other}, which this check does not know"),
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type of this schema"),
    }
}
