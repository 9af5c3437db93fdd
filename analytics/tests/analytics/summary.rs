//! The summary, for people and for programs.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wec_analytics::{Aggregate, Snapshot, summary_table};
use wec_record::{
    CALIBRATION_VERSION, Calibration, Chain, LoadSample, Reach, Record, ScenarioSample, StateCounts,
};
use wec_startup::TextStyle;

use crate::common::{START, chain_record, chain_result, header, load_record, records};

fn snapshot(records: impl IntoIterator<Item = Record>) -> Snapshot {
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(header("run")));
    records.into_iter().for_each(|record| aggregate.record(&record));
    aggregate.snapshot()
}

/// The table as written to a file.
fn table(records: impl IntoIterator<Item = Record>) -> String {
    summary_table(&snapshot(records), TextStyle::default())
}

#[test]
fn changes_of_the_state_that_were_not_written_are_counted_over_all_nodes() {
    let lost = |node: &str, seq, unwritten| Record::State {
        node: node.to_owned(),
        seq,
        at_unix_ns: START + seq,
        counts: StateCounts { certificates: 5, unwritten, ..StateCounts::default() },
    };
    let mut aggregate = Aggregate::default();
    for record in [lost("r1", 1, 0), lost("r1", 2, 40), lost("r2", 1, 2)] {
        aggregate.record(&record);
    }
    let snapshot = aggregate.snapshot();
    assert_eq!((snapshot.state.unwritten, snapshot.state.certificates), (42, 5));
    let text = summary_table(&snapshot, TextStyle::default());
    assert!(text.contains("Attention: 42 changes of the state were not written to its database"), "{text}");
}

/// A run with some of everything that a table can show.
fn eventful() -> Vec<Record> {
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
                unwritten: 0,
                claimed: 0,
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
    results.chain(others).collect()
}

#[test]
fn the_table_names_units_counts_and_what_is_missing() {
    insta::assert_snapshot!(table(eventful()));
}

#[test]
fn narrow_terminals_get_fewer_columns_and_a_note_of_the_omitted_ones() {
    let snapshot = snapshot(eventful());
    for columns in [160, 100, 80, 60] {
        let style = TextStyle { columns: Some(columns), colours: false };
        let table = summary_table(&snapshot, style);
        let longest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= columns, "{columns} columns, {longest} used:\n{table}");
        let joined = table.split_whitespace().collect::<Vec<_>>().join(" ");
        let left_out = joined.contains("Left out for lack of width, but in wec report --json: std error");
        assert_eq!(left_out, columns < 160, "{table}");
    }
    insta::assert_snapshot!(summary_table(&snapshot, TextStyle { columns: Some(80), colours: false }));
}

#[test]
fn intervals_are_dimmed_where_there_are_colours_and_nothing_else_changes() {
    let snapshot = snapshot(eventful());
    let plain = summary_table(&snapshot, TextStyle::default());
    let painted = summary_table(&snapshot, TextStyle { columns: None, colours: true });
    let dimmed: Vec<&str> =
        painted.lines().filter_map(|line| line.strip_prefix("\x1b[2m")?.strip_suffix("\x1b[0m")).collect();
    assert_eq!(dimmed.len(), 7, "two chains, four endpoints and all requests have intervals: {painted}");
    assert!(dimmed.iter().all(|line| line.contains('–') && !line.contains("ms")), "{dimmed:?}");
    assert_eq!(painted.replace("\x1b[2m", "").replace("\x1b[0m", ""), plain);
}

#[test]
fn an_empty_run_has_a_table_too() {
    insta::assert_snapshot!(table([]));
}

#[test]
fn a_measured_ceiling_is_shown_beside_the_reached_rate() {
    let mut run = header("run");
    run.stamp.calibration = Some(Calibration {
        version: CALIBRATION_VERSION,
        program: "wec 0.1.0".to_owned(),
        measured_unix_ns: 1_700_000_000_000_000_000,
        host: "here".to_owned(),
        cpus: 2,
        chains_per_s: 1_250.4,
        requests_per_s: 200.0,
        busy_workers: 64,
        kept_up_chains_per_s: Some(900.0),
        workers: 10_000,
        workers_at_least: true,
        memory_per_worker: Some(29_000),
    });
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(run));
    // A hundred requests within a second.
    let results = (1..=100)
        .map(|seq| chain_record("r1", chain_result(Chain::Registration, seq, seq * 9_900_000, 9_900_000)));
    results.for_each(|record| aggregate.record(&record));
    let snapshot = aggregate.snapshot();
    let share = (100.0 * snapshot.rps / 200.0).round();
    let line = format!(
        "Its ceiling, by wec calibrate on 2023-11-14: 200 requests/s ({share} % of it here), 1250 chains/s, keeps up to \
         900 chains/s, at least 10000 workers."
    );
    let found = summary_table(&snapshot, TextStyle::default());
    assert!(found.contains(&line), "{found}");
    assert!(!table([]).contains("ceiling"));
}

#[test]
fn one_line_shows_that_the_load_tester_kept_up_and_a_marked_one_that_it_did_not() {
    let kept_up = table([load_record("r1", 1, START + 1_000_000_000, 1_234)]);
    let line = kept_up.lines().find(|line| line.starts_with("Load tester")).unwrap();
    assert_eq!(
        line,
        "Load tester kept up: lag p99 50.0 µs (N 1236), busiest thread at most 12 % of a processor, queue of results at \
         most 12 % full, 2468 of 24680 due iterations dropped (10.00 %)."
    );
    assert!(!kept_up.contains("LIMITED"));

    let limited = table([
        load_record("r1", 1, START + 1_000_000_000, 9_501),
        load_record("r2", 1, START + 1_000_000_000, 6_002),
    ]);
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
fn each_rate_is_shown_with_what_was_reached_and_why() {
    let said = |scenario: ScenarioSample| {
        let load = LoadSample { scenarios: vec![scenario], ..LoadSample::default() };
        let record = Record::Load { node: "r1".to_owned(), seq: 1, at_unix_ns: START + 1_000_000_000, load };
        let table = table([record]);
        table
            .lines()
            .find(|line| line.starts_with("Load ") && !line.starts_with("Load tester"))
            .map(str::to_owned)
    };
    let adaptive = |reach, capped_ns, saturated_ns| ScenarioSample {
        name: "default".to_owned(),
        executor: "target-rps".to_owned(),
        rate_target: Some(500.0),
        rate_unit: "requests".to_owned(),
        asked: 30_000,
        requests: 24_810,
        reach: Some(reach),
        capped_ns,
        saturated_ns,
        ..ScenarioSample::default()
    };
    let asked = "Load default (target-rps): 24810 of 30000 requests required (82.7 %)";
    assert_eq!(said(adaptive(Reach::Reached, 0, 0)).unwrap(), format!("{asked}; target reached"));
    assert_eq!(
        said(adaptive(Reach::Saturated, 0, 41_000_000_000)).unwrap(),
        format!("{asked}; SATURATED for 41.0 s: more workers did not increase the rate")
    );
    assert_eq!(
        said(adaptive(Reach::Reached, 3_000_000_000, 0)).unwrap(),
        format!(
            "{asked}; target reached in the end; CAPPED for 3.00 s: the cap on workers was too low for the CA's response time"
        )
    );
    let open = ScenarioSample {
        name: "storm".to_owned(),
        executor: "arrival-rate".to_owned(),
        rate_target: Some(50.0),
        rate_unit: "chains".to_owned(),
        asked: 3_000,
        due: 3_000,
        ended: 2_970,
        dropped: 30,
        ..ScenarioSample::default()
    };
    assert_eq!(
        said(open).unwrap(),
        "Load storm (arrival-rate): 2970 of 3000 chains required (99.0 %); 30 of 3000 due iterations DROPPED (1.00 %): \
         all workers were busy"
    );
    assert_eq!(said(ScenarioSample { executor: "workers".to_owned(), ..ScenarioSample::default() }), None);
}

/// Samples of 10 iterations a second, of which two end a second later than they were due.
#[test]
fn what_was_in_flight_when_a_part_began_is_not_more_than_was_required() {
    const SECOND: u64 = 1_000_000_000;
    let of = |mut aggregate: Aggregate| {
        aggregate.record(&Record::Header(header("run")));
        for second in 1..=5 {
            let started = 10 * second;
            let scenario = ScenarioSample {
                name: "default".to_owned(),
                executor: "arrival-rate".to_owned(),
                rate_unit: "chains".to_owned(),
                asked: started,
                due: started,
                started,
                ended: if second == 5 { started } else { started - 2 },
                ..ScenarioSample::default()
            };
            let load = LoadSample { scenarios: vec![scenario], ..LoadSample::default() };
            let at_unix_ns = START + second * SECOND;
            aggregate.record(&Record::Load { node: "r1".to_owned(), seq: second, at_unix_ns, load });
        }
        let table = summary_table(&aggregate.snapshot(), TextStyle::default());
        table.lines().find(|line| line.starts_with("Load default")).unwrap().to_owned()
    };
    assert_eq!(of(Aggregate::default()), "Load default (arrival-rate): 50 of 50 chains required (100.0 %)");
    assert_eq!(
        of(Aggregate::of_period(std::time::Duration::from_secs(3), None)),
        "Load default (arrival-rate): 32 of 30 chains required and 2 in flight before (100.0 %)"
    );
}

#[test]
fn the_json_matches_its_schema() {
    let schema: Value = serde_json::from_str(&wec_analytics::summary_schema()).unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let records = records(400).prop_filter("enough", |records| records.len() > 200);
        let records = records.new_tree(&mut runner).unwrap().current();
        let json = serde_json::to_value(snapshot(records)).unwrap();
        assert!(
            !json["failures"].as_array().unwrap().is_empty()
                && !json["hits"].as_array().unwrap().is_empty()
                && !json["generator"]["limits"].as_array().unwrap().is_empty()
        );
        check(&schema, &json).unwrap();
    }
    let empty = serde_json::to_value(snapshot([])).unwrap();
    check(&schema, &empty).unwrap();
    for chain in Chain::ALL {
        assert_eq!(empty["chains"][chain.name()]["count"], 0);
    }

    // Changed JSON must fail the same check. A mark of the log has no values by kind.
    let of_the_log = json!({
        "at_unix_ns": 1, "by": "cli", "scenario": "", "what": "workers", "from": "1", "to": "2",
    });
    let broken: [(&str, Value); 7] = [
        ("/marks", json!([of_the_log])),
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
        assert!(check(&schema, &json).is_err(), "{place}");
    }
}

/// Checks that the JSON matches the schema and has no key that the schema lacks.
fn check(schema: &Value, json: &Value) -> Result<(), String> {
    let mut strict = schema.clone();
    forbid_others(&mut strict);
    let errors: Vec<_> = jsonschema::validator_for(&strict)
        .unwrap()
        .iter_errors(json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

/// Programs that read the summary must ignore unknown keys; this test must not.
fn forbid_others(schema: &mut Value) {
    let mut parts = Vec::new();
    parts_of_others(schema, &mut parts);
    forbid_beside(schema, &parts);
}

/// References to objects whose keys are a part of those of others.
fn parts_of_others(schema: &Value, parts: &mut Vec<String>) {
    match schema {
        Value::Object(keys) => {
            let all = keys.get("allOf").and_then(Value::as_array);
            let named = all.into_iter().flatten().filter_map(|part| part["$ref"].as_str());
            parts.extend(named.filter_map(|name| name.rsplit('/').next()).map(str::to_owned));
            keys.values().for_each(|value| parts_of_others(value, parts));
        }
        Value::Array(values) => values.iter().for_each(|value| parts_of_others(value, parts)),
        _ => {}
    }
}

fn forbid_beside(schema: &mut Value, parts: &[String]) {
    match schema {
        Value::Object(keys) => {
            if keys.contains_key("allOf") {
                keys.insert("unevaluatedProperties".to_owned(), json!(false));
                return;
            }
            if keys.contains_key("properties") && !keys.contains_key("additionalProperties") {
                keys.insert("additionalProperties".to_owned(), json!(false));
            }
            let others = keys.iter_mut().filter(|(name, _)| !parts.contains(name));
            others.for_each(|(_, value)| forbid_beside(value, parts));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| forbid_beside(value, parts)),
        _ => {}
    }
}
