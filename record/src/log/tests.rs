use super::*;
use crate::{GeneratorSample, Limit, RequestResult, ScenarioSample};

#[test]
fn a_chain_line_holds_the_designs_keys_even_when_false_or_zero() {
    let record = Record::Chain {
        node: "n".into(),
        origin_unix_ns: 7,
        result: ChainResult {
            chain: Some(Chain::Certificate),
            requests: vec![crate::RequestResult::default()],
            ..ChainResult::default()
        },
    };
    let line = serde_json::to_string(&record).unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["chainname"], "certificate");
    assert_eq!(value["chainsuccessful"], false);
    assert_eq!(value["chaintook"], 0);
    let request = &value["individualresults"][0];
    for key in ["uri", "took", "successful", "error"] {
        assert!(request.get(key).is_some(), "{key} is missing in {line}");
    }
    assert_eq!(Record::parse(&line, 1).unwrap(), record);
}

#[test]
fn reads_records_of_the_2015_design_that_omit_false_and_zero() {
    let line = r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#;
    let Record::Chain { result, .. } = Record::parse(line, 1).unwrap() else { panic!("not a chain") };
    assert_eq!(result.chain, Some(Chain::Registration));
    assert!(!result.successful);
    assert_eq!(result.took, 12);
    assert_eq!(result.requests[0].uri, "/acme/new-reg");
    assert_eq!(result.requests[0].took, 0);
}

#[test]
fn a_load_line_keeps_every_key_and_reads_one_that_lacks_most() {
    let load = LoadSample { over_ns: 1, scenarios: vec![ScenarioSample::default()], ..LoadSample::default() };
    let record = Record::Load { node: "n".into(), seq: 3, at_unix_ns: 7, load };
    let line = serde_json::to_string(&record).unwrap();
    assert_eq!(Record::parse(&line, 1).unwrap(), record);
    assert_eq!(record.origin(), Some(("n", 3)));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["record"], "load");
    assert_eq!(value["load"]["scenarios"][0]["rate_target"], serde_json::Value::Null);
    let older =
        r#"{"record":"load","node":"n","seq":3,"at_unix_ns":7,"load":{"over_ns":1,"scenarios":[{}]}}"#;
    assert_eq!(Record::parse(older, 1).unwrap(), record);
}

#[test]
fn a_line_of_a_later_kind_is_kept_to_the_byte() {
    let line = r#" {"record":"clock", "node":"r1","seq":7,"level":1e999, "n":0.10000000000000000001,"big":18446744073709551616 }"#;
    let record = Record::parse(line, 1).unwrap();
    let Record::Unknown(unknown) = &record else { panic!("{record:?}") };
    assert_eq!(unknown.kind(), "clock");
    assert_eq!(record.origin(), Some(("r1", 7)));
    assert_eq!(serde_json::to_string(&record).unwrap(), line.trim());
    let nameless = Record::parse(r#"{"record":"clock","node":5}"#, 1);
    assert!(nameless.is_err(), "the node is a string in every kind: {nameless:?}");
    assert_eq!(Record::parse(r#"{"record":"clock"}"#, 1).unwrap().origin(), None);
}

/// Its requests are counted, and its node has it.
#[test]
fn a_result_of_a_later_chain_keeps_all_but_the_name() {
    let result = ChainResult {
        seq: 9,
        done: 5,
        requests: vec![RequestResult { uri: "/order".into(), ..RequestResult::default() }],
        ..ChainResult::default()
    };
    let record = Record::Chain { node: "r1".into(), origin_unix_ns: 7, result };
    let line = serde_json::to_string(&record).unwrap();
    assert_eq!(line.matches(r#""chainname":null"#).count(), 1);
    let later = line.replace(r#""chainname":null"#, r#""chainname":"of-a-later-version""#);
    assert_eq!(Record::parse(&later, 1).unwrap(), record);
    // With another later value it is not understood, but it is still the node's.
    let more = later.replace(r#""purpose":"step""#, r#""purpose":"probe""#);
    let unknown = Record::parse(&more, 1).unwrap();
    assert!(matches!(unknown, Record::Unknown(_)), "{unknown:?}");
    assert_eq!((unknown.kind(), unknown.origin()), ("chain", Some(("r1", 9))));
    for wrong in ["7", "[]", "{}"] {
        let wrong = line.replace(r#""chainname":null"#, &format!(r#""chainname":{wrong}"#));
        assert!(Record::parse(&wrong, 1).is_err(), "{wrong}");
    }
}

fn records_with_every_value() -> [Record; 7] {
    let requests = vec![RequestResult { class: Some(FailureClass::BadNonce), ..RequestResult::default() }];
    let authorizations = vec![crate::AuthorizationResult {
        challenge: Some(ChallengeType::Dns01),
        ..crate::AuthorizationResult::default()
    }];
    let result = ChainResult {
        seq: 3,
        chain: Some(Chain::Refresh),
        class: Some(FailureClass::Tls),
        requests,
        authorizations,
        ..ChainResult::default()
    };
    let limits = vec![Limit { first_unix_ns: 1, ..Limit::default() }];
    let load = LoadSample {
        scenarios: vec![ScenarioSample { reach: Some(Reach::Capped), ..ScenarioSample::default() }],
        generator: GeneratorSample { limits, cpu_share: Some(0.1), ..GeneratorSample::default() },
        ..LoadSample::default()
    };
    let hit = ValidationHit {
        seq: 3,
        at_unix_ns: 1,
        challenge: ChallengeType::TlsAlpn01,
        name: "a.test".into(),
        source: "127.0.0.1:1".into(),
        verdict: Verdict::Answered,
        answer: "a".into(),
        took: 1,
    };
    let lost = Record::Lost { node: "n".into(), seq: 3, at_unix_ns: 7, count: 1, why: "full".into() };
    let state = Record::State { node: "n".into(), seq: 3, at_unix_ns: 7, counts: StateCounts::default() };
    [
        Record::Chain { node: "n".into(), origin_unix_ns: 7, result },
        Record::Hit { node: "n".into(), hit },
        Record::Load { node: "n".into(), seq: 3, at_unix_ns: 7, load },
        lost,
        state,
        Record::Event(Event { node: "n".into(), seq: 3, at_unix_ns: 7, ..Event::default() }),
        Record::Footer(Footer::default()),
    ]
}

/// Calls it with the pointer to each text of the value.
fn texts(value: &Value, at: &str, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(_) => each(at),
        Value::Array(values) => {
            values.iter().zip(0..).for_each(|(value, place)| texts(value, &format!("{at}/{place}"), each));
        }
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| texts(value, &format!("{at}/{key}"), each));
        }
        _ => {}
    }
}

/// If a key is missing in `known_value`, a line with a later value of it is taken for a damaged one.
#[test]
fn a_later_value_anywhere_in_a_record_damages_nothing() {
    let mut unknown = Vec::new();
    for record in records_with_every_value() {
        let line = serde_json::to_value(&record).unwrap();
        texts(&line, "", &mut |at| {
            let mut later = line.clone();
            *later.pointer_mut(at).unwrap() = "brand-new".into();
            // The bytes are kept, also where they could be written differently.
            let text = later.to_string().replace(":\"brand-new\"", ": \"brand-new\"");
            let read = Record::parse(&text, 1).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(read.origin().map(|(_, seq)| seq), record.origin().map(|(_, seq)| seq), "{at}");
            if matches!(read, Record::Unknown(_)) && at != "/record" {
                assert_eq!(read.kind(), record.kind());
                assert_eq!(serde_json::to_string(&read).unwrap(), text);
                unknown.push(at.to_owned());
                later[if at == "/outcome" { "requests" } else { "seq" }] = "x".into();
                let broken = later.to_string();
                assert!(Record::parse(&broken, 1).is_err(), "{broken}");
            }
        });
    }
    unknown.sort_unstable();
    let expected = [
        "/authorizations/0/challenge",
        "/class",
        "/individualresults/0/class",
        "/individualresults/0/purpose",
        "/level",
        "/load/generator/limits/0/cause",
        "/load/generator/limits/0/what",
        "/load/scenarios/0/reach",
        "/outcome",
        "/type",
        "/verdict",
    ];
    assert_eq!(unknown, expected);
}

/// It is damaged, not of a later kind.
#[test]
fn a_damaged_record_of_a_known_kind_is_no_unknown_one() {
    for line in [
        r#"{"record":"hit","node":"n"}"#,
        r#"{"record":"hit","node":"n","type":"later-01"}"#,
        r#"{"record":"chain"}"#,
        r#"{"record":"chain","chainname":"later"}"#,
        r#"{"record":"chain","node":"n","origin_unix_ns":1,"chainname":"later","seq":"x"}"#,
        r#"{"record":"load","node":"n","seq":1,"at_unix_ns":1,"load":{"scenarios":[{"reach":7}]}}"#,
        r#"{"record":null,"chainname":"NewRegistrationChain"}"#,
        r#"{"record":7}"#,
        "[]",
    ] {
        assert!(Record::parse(line, 1).is_err(), "{line}");
    }
}

#[test]
fn every_known_kind_is_among_the_kinds() {
    // If a kind is missing here, a damaged line of that kind is taken for a record of an unknown kind.
    let unknown = |kind: &str| serde_json::from_str::<Record>(&format!(r#"{{"record":{kind:?}}}"#));
    let error = unknown("none").unwrap_err().to_string();
    for kind in KINDS {
        assert!(error.contains(&format!("`{kind}`")), "{error}");
    }
    assert_eq!(error.matches('`').count() / 2, 1 + KINDS.len(), "{error}");
}

#[test]
fn a_record_that_came_as_json_keeps_its_text() {
    let record = UnknownRecord::new("clock", "r\"1", 3, r#" {"level": 1e999,"n":[1.50]} "#).unwrap();
    assert_eq!(record.json(), r#"{"record":"clock","node":"r\"1","seq":3,"level": 1e999,"n":[1.50]}"#);
    let line = serde_json::to_string(&Record::Unknown(record.clone())).unwrap();
    assert_eq!(Record::parse(&line, 1).unwrap(), Record::Unknown(record));
    assert_eq!(
        UnknownRecord::new("clock", "r1", 3, "{ }").unwrap().json(),
        r#"{"record":"clock","node":"r1","seq":3 }"#
    );
    for (kind, object) in [
        ("hit", "{}"),
        ("", "{}"),
        ("clock", "[]"),
        ("clock", "{\"a\":\n1}"),
        ("clock", "{} {}"),
        ("clock", r#"{"seq":1}"#),
        ("clock", r#"{"\u006eode":1}"#),
    ] {
        assert!(UnknownRecord::new(kind, "r1", 3, object).is_err(), "{kind} {object}");
    }
}

#[test]
fn an_event_arrives_as_json_and_is_read_without_what_is_optional() {
    let event =
        Event { node: "r1".into(), seq: 3, at_unix_ns: 7, text: "slow".into(), count: 1, ..Event::default() };
    let object = r#"{"at_unix_ns":7,"level":"warn","text":"slow"}"#;
    let record = Record::from_json("event", "r1", 3, object).unwrap();
    assert_eq!(record, Record::Event(event));
    assert_eq!(Record::parse(&serde_json::to_string(&record).unwrap(), 1).unwrap(), record);
    assert_eq!(record.origin(), Some(("r1", 3)));
    let later = Record::from_json("event", "r1", 3, &object.replace("warn", "note")).unwrap();
    assert!(matches!(&later, Record::Unknown(_)), "{later:?}");
    // Another form, as a later version may send it.
    let Ok(Record::Unknown(other)) = Record::from_json("event", "r1", 3, r#"{"at_unix_ns":7}"#) else {
        panic!("it is kept")
    };
    assert_eq!(other.json(), r#"{"record":"event","node":"r1","seq":3,"at_unix_ns":7}"#);
    assert!(other.other_form().is_some_and(|why| why.contains("level")), "{:?}", other.other_form());
    for wrong in [r#"{"seq":1,"at_unix_ns":7,"level":"warn","text":""}"#, "[]"] {
        assert!(Record::from_json("event", "r1", 3, wrong).is_err(), "{wrong}");
    }
    assert!(Record::from_json("lost", "r1", 3, "{}").is_err());
    assert!(matches!(Record::from_json("clock", "r1", 3, "{}"), Ok(Record::Unknown(_))));
}

#[test]
fn names_the_line_that_is_no_record() {
    let error = Record::parse("{\"a\":1}", 42).unwrap_err();
    assert!(error.to_string().starts_with("line 42 of the log is not a record"), "{error}");
}
