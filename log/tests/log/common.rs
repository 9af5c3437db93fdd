//! Records, and files of them.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wec_log::{LogFormat, LogReport, RecordWriter, read_lines};
use wec_record::{
    AuthorizationResult, Chain, ChainResult, ChallengeType, Event, FORMAT_VERSION, FailureClass, Footer,
    GeneratorSample, Level, LoadSample, Mark, MarkBy, MarkValue, MarkWhat, Observation, Phases, Purpose,
    Record, RequestResult, RunHeader, RunOutcome, ScenarioSample, StateCounts, UnknownRecord, ValidationHit,
    Verdict,
};

pub(crate) use crate::made::{START, chain};

pub(crate) fn header(run: &str) -> RunHeader {
    RunHeader {
        version: FORMAT_VERSION,
        run: run.to_owned(),
        session: "default".to_owned(),
        program: "wec 0.1.0".to_owned(),
        target: "http://ca.test".to_owned(),
        started_unix_ns: START,
        stamp: wec_record::Stamp::default(),
    }
}

prop_compose! {
    fn request(started: u64)(
        times in (0u64..1 << 30, 0u64..1 << 30, 0u64..1 << 40, 0u64..1 << 20),
        shape in (0u16..=599, proptest::option::of(0usize..FailureClass::ALL.len()), 0usize..4),
        text in prop_oneof![Just(String::new()), "[a-z/{}\"\u{e9}]{0,20}"],
        flags in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        odd in proptest::option::weighted(0.1, any::<u64>()),
    ) -> RequestResult {
        let due = started + times.0;
        let sent = due + times.1;
        let done = sent + times.2;
        let purposes = [Purpose::Step, Purpose::Nonce, Purpose::Retry, Purpose::Poll];
        RequestResult {
            uri: text.clone().into(), took: odd.unwrap_or(done - due), successful: flags.0,
            error: if flags.1 { text.clone() } else { String::new() },
            class: shape.1.map(|index| FailureClass::ALL[index]), endpoint: text.clone().into(), method: "POST".into(),
            purpose: purposes[shape.2], status: shape.0, problem: text.clone().into(), bytes_sent: times.3, bytes_received: times.1,
            due, sent, done, reused: flags.2, address: "192.0.2.1:443".into(), nonce_age: times.3,
            phases: Phases { dns: if flags.3 { times.0 } else { 0 }, connect: 0, tls: 0, first_byte: times.2.min(times.3) },
            retry_after: flags.0.then_some(times.1), reconnects: u32::from(flags.1), detail: text.into(),
            request_id: if flags.3 { "id".to_owned() } else { String::new() },
            traceparent: if flags.2 { "00-1-2-01".to_owned() } else { String::new() },
            document: if flags.1 { r#"{"type":"x"}"#.to_owned() } else { String::new() },
        }
    }
}

prop_compose! {
    fn any_chain()(
        (started, requests) in (0u64..1 << 50).prop_flat_map(|started| {
            (Just(started), proptest::collection::vec(request(started), 0..4))
        }),
        numbers in (any::<u64>(), any::<u32>(), 0..Chain::ALL.len(), 0u64..1 << 40, 0u64..1 << 40),
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
        text in "[a-z ]{0,9}", node in "[a-c]",
        odd in proptest::option::weighted(0.1, any::<u64>()),
    ) -> Record {
        let (seq, worker, chain, wait, took) = numbers;
        let due = started.saturating_sub(wait);
        let done = started + took;
        let answered = requests.first().map_or(started, |request| request.sent);
        let result = ChainResult {
            seq, worker, chain: flags.0.then_some(Chain::ALL[chain]),
            later_chain: if flags.0 || !flags.1 { 0 } else { 200 }, successful: flags.1, took: odd.unwrap_or(done - due), due,
            started, done, keygen: wait, error: text.clone(), class: None, abandoned: flags.2, status: 403,
            problem: text.clone().into(), scenario: text.clone(), profile: text.clone(), detail: text.into(),
            waited_asked: wait, waited_poll: took, issued: flags.0, issuance: flags.1.then_some(took),
            order: if flags.0 { format!("/order/{seq}") } else { String::new() },
            // The last is no hex.
            serial: ["", "00ff3a", "0aF"][usize::from(flags.0) + usize::from(flags.0 && flags.1)].into(),
            unverified: String::new(),
            rests: false,
            authorizations: vec![
                AuthorizationResult {
                    name: "a.test".into(), id: "7".into(), challenge: Some(ChallengeType::Dns01), answered,
                    settled: started.saturating_sub(wait),
                },
                AuthorizationResult::default(),
            ],
            requests,
        };
        Record::Chain { node, origin_unix_ns: START, result }
    }
}

fn mark() -> impl Strategy<Value = Record> {
    any::<u32>().prop_map(|number| {
        Record::Mark(Mark {
            at_unix_ns: START + u64::from(number),
            by: MarkBy::Cli,
            who: String::new(),
            scenario: String::new(),
            from: MarkValue::Workers(0),
            to: MarkValue::Workers(number),
            what: MarkWhat::Workers,
        })
    })
}

/// Records of all kinds.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>());
    prop_oneof![
        5 => any_chain(),
        1 => (numbers, "[a-z.]{0,9}").prop_map(|((at, seq, took), text)| Record::Hit {
            node: "c1".into(),
            hit: ValidationHit {
                seq, at_unix_ns: START + u64::from(at), challenge: ChallengeType::Http01, name: text.clone(),
                source: "127.0.0.1:1".into(), verdict: Verdict::Answered, answer: text, took,
            },
        }),
        1 => mark(),
        1 => numbers.prop_map(|(at, seq, count)| Record::State {
            node: "r1".into(), seq, at_unix_ns: at.into(), counts: StateCounts { certificates: count, ..StateCounts::default() },
        }),
        1 => numbers.prop_map(|(at, seq, over_ns)| Record::Load {
            node: "r1".into(), seq, at_unix_ns: START + u64::from(at),
            load: LoadSample {
                over_ns,
                scenarios: vec![ScenarioSample { rate_target: Some(0.1 + f64::from(at)), ..ScenarioSample::default() }],
                generator: GeneratorSample { lag: vec![(seq, 1)], cpu_share: Some(1.0 / 3.0), ..GeneratorSample::default() },
                ..LoadSample::default()
            },
        }),
        1 => numbers.prop_map(|(at, seq, count)| Record::Lost {
            node: "r2".into(), seq, at_unix_ns: START + u64::from(at), count, why: "full".into(),
        }),
        1 => (numbers, "[ -~\u{e9}]{0,12}").prop_map(|((at, seq, count), text)| Record::Event(Event {
            node: "r1".into(), seq, at_unix_ns: START + u64::from(at), first_unix_ns: START, level: Level::Error,
            target: "wec_store".into(), text, count,
        })),
        1 => (any::<u32>(), "[ -~]{0,9}", -1e9..1e9).prop_map(|(at, name, value)| Record::Observation(Observation {
            at_unix_ns: START + u64::from(at), source: "ca".into(), gauges: [(name, value)].into(),
            counters: [("process_cpu_seconds_total".to_owned(), 0.1 + f64::from(at))].into(), left_out: at.into(),
        })),
        1 => Just(Record::Header(header("run"))),
        1 => any::<u64>().prop_map(|at_unix_ns| Record::Footer(Footer { at_unix_ns, outcome: RunOutcome::Failed, ..Footer::default() })),
        1 => (any::<u64>(), "[ -~\u{e9}]{0,12}").prop_map(|(seq, text)| {
            let object = format!(r#"{{ "text":{},"big":1e999,"n":0.10000000000000000001 }}"#, serde_json::Value::from(text));
            Record::Unknown(UnknownRecord::new("clock", "r9", seq, &object).unwrap())
        }),
    ]
}

/// A file of these records, and where in it each record is complete.
pub(crate) fn file(format: LogFormat, records: &[Record]) -> Vec<u8> {
    let mut writer = RecordWriter::new(format, Vec::new());
    for record in records {
        writer.write(record, None).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn path(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// All records with their lines in JSON, and the report.
pub(crate) fn read(paths: &[PathBuf]) -> (Vec<Record>, Vec<Option<String>>, LogReport) {
    let (mut records, mut lines) = (Vec::new(), Vec::new());
    let report = read_lines(paths, |record, line| {
        records.push(record.clone());
        lines.push(line.map(str::to_owned));
    })
    .unwrap();
    (records, lines, report)
}
