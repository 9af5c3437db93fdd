//! Runs that fail because a wanted chain never succeeded, and the exceptions.

use serde_json::{Value, json};
use wec_analytics::{Aggregate, Snapshot, nothing_succeeded, summary_table};
use wec_record::{Chain, ChainResult, FailureClass, Record, RequestResult, StateCounts};
use wec_startup::TextStyle;

use crate::common::{START, chain_record, header};

const SECOND: u64 = 1_000_000_000;

fn plan() -> Value {
    json!({
        "scenarios": [{
            "name": "default",
            "weights": {"registration": 1, "authorization": 4, "certificate": 4, "refresh": 2, "revoke": 1},
            "stop_before": null,
        }],
        "limits": {"registrations": null, "authorizations": null, "certificates": null},
    })
}

/// The figures of 200 iterations of a chain. In one of them the CA accepted what it must refuse: a request, or a
/// validation after requests that were all right.
fn with_one_accepted(chain: Chain, of_request: bool) -> Snapshot {
    let mut aggregate = Aggregate::default();
    let mut header = header("run");
    header.stamp = serde_json::from_value(json!({ "scenario": plan() })).unwrap();
    aggregate.record(&Record::Header(header));
    for seq in 1..=200 {
        let class = (seq == 70).then_some(FailureClass::Accepted);
        let (detail, status) = if class.is_some() { ("weak-key", 200) } else { ("", 400) };
        let request = RequestResult {
            endpoint: "finalize".into(),
            uri: "/finalize/{id}".into(),
            status,
            successful: true,
            ..RequestResult::default()
        };
        let request = match class {
            Some(_) if of_request => RequestResult {
                successful: false,
                class,
                detail: detail.into(),
                error: detail.to_owned(),
                ..request
            },
            _ => request,
        };
        let result = ChainResult {
            seq,
            chain: Some(chain),
            successful: class.is_none(),
            class,
            status,
            detail: detail.into(),
            error: detail.to_owned(),
            took: 1,
            done: 1_000 + seq,
            requests: vec![request],
            ..ChainResult::default()
        };
        aggregate.record(&chain_record("r1", result));
    }
    aggregate.snapshot()
}

/// One acceptance among many refusals fails a run, whatever the plan is.
#[test]
fn what_must_be_refused_and_is_accepted_fails_the_run() {
    for (chain, of_request, expected) in [
        (Chain::Refusals, true, "the CA accepted 1 request that it must refuse: weak-key"),
        (Chain::Authorization, false, "the CA accepted 1 validation that it must refuse: weak-key"),
    ] {
        let snapshot = with_one_accepted(chain, of_request);
        let found: Vec<_> = snapshot
            .never_succeeded
            .iter()
            .map(|reason| (reason.chain, reason.count, reason.why.as_str()))
            .collect();
        assert_eq!(found, [(chain, 1, expected)]);
        assert_eq!(snapshot.failures[0].class, Some(FailureClass::Accepted));
        let text = summary_table(&snapshot, TextStyle::default());
        assert!(text.contains(expected), "{text}");
    }
}

/// The numbers of successes and of failures.
type Runs = (Chain, u64, u64);
/// Name, plan, length in seconds, chains that ran, and chains that must be reported. None of them, and no certificate that
/// was wanted: then the run has not passed either.
type Case<'a> = (&'a str, Value, u64, &'a [Runs], &'a [Chain]);

fn snapshot(plan: Value, seconds: u64, runs: &[Runs]) -> Snapshot {
    let mut header = header("run");
    header.stamp = serde_json::from_value(json!({ "scenario": plan })).unwrap();
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(header));
    for (chain, succeed, fail) in runs {
        for nth in 0..succeed + fail {
            let successful = nth < *succeed;
            let result = ChainResult {
                seq: nth + 1,
                chain: Some(*chain),
                successful,
                issued: successful && matches!(chain, Chain::Certificate | Chain::Refresh),
                class: (!successful).then_some(FailureClass::Validation),
                error: if successful {
                    String::new()
                } else {
                    "authorization of a.test is invalid: http-01: connection: Connection refused".to_owned()
                },
                took: 1,
                done: 1_000 + nth,
                ..ChainResult::default()
            };
            aggregate.record(&chain_record("r1", result));
        }
    }
    let at_unix_ns = START + seconds * SECOND;
    let counts = StateCounts::default();
    aggregate.record(&Record::State { node: "r1".to_owned(), seq: 0, at_unix_ns, counts });
    aggregate.snapshot()
}

fn found(snapshot: &Snapshot) -> Vec<Chain> {
    snapshot.never_succeeded.iter().map(|chain| chain.chain).collect()
}

#[test]
fn a_wanted_chain_that_never_succeeds_fails_the_run() {
    use Chain::{Authorization, Certificate, Refresh, Registration, Revoke};
    let with = |path: &str, value: Value| {
        let mut plan = plan();
        *plan.pointer_mut(path).unwrap() = value;
        plan
    };
    let weights = "/scenarios/0/weights";
    let well: &[Runs] = &[
        (Registration, 20, 0),
        (Authorization, 40, 0),
        (Certificate, 40, 0),
        (Refresh, 20, 0),
        (Revoke, 10, 0),
    ];
    let no_authorization: &[Runs] = &[(Registration, 90, 0), (Authorization, 0, 40)];
    let no_certificate: &[Runs] = &[(Registration, 40, 0), (Authorization, 90, 0)];
    let no_revocation: &[Runs] =
        &[(Registration, 20, 0), (Authorization, 40, 0), (Certificate, 40, 0), (Refresh, 20, 0)];
    let cases: [Case<'_>; 18] = [
        ("all is well", plan(), 90, well, &[]),
        (
            "so few iterations reach no certificate",
            plan(),
            5,
            &[(Registration, 9, 0), (Authorization, 20, 0)],
            &[],
        ),
        ("not quite as few", plan(), 5, &[(Registration, 9, 0), (Authorization, 21, 0)], &[]),
        ("every authorization failed", plan(), 5, no_authorization, &[Authorization]),
        (
            "a long run in which nothing came after it",
            plan(),
            90,
            no_authorization,
            &[Authorization, Certificate, Refresh, Revoke],
        ),
        ("nine failures may be an accident", plan(), 5, &[(Registration, 9, 0), (Authorization, 0, 9)], &[]),
        (
            "three failures in a run that is not short",
            plan(),
            60,
            &[(Registration, 5, 0), (Authorization, 0, 3)],
            &[Authorization],
        ),
        ("two failures may be an accident", plan(), 60, &[(Registration, 5, 0), (Authorization, 0, 2)], &[]),
        (
            "orders were ready and no certificate chain ran",
            plan(),
            90,
            no_certificate,
            &[Certificate, Refresh, Revoke],
        ),
        ("the run was too short for it", plan(), 59, no_certificate, &[]),
        ("it had too few iterations", plan(), 90, &[(Registration, 9, 0), (Authorization, 90, 0)], &[]),
        (
            "few failures, but no certificate in a long run",
            plan(),
            90,
            &[(Registration, 9, 0), (Authorization, 90, 0), (Certificate, 0, 4)],
            &[Certificate, Refresh, Revoke],
        ),
        (
            "stopped before finalize",
            with("/scenarios/0/stop_before", json!("finalize")),
            90,
            no_certificate,
            &[],
        ),
        ("no weight", with(weights, json!({"registration": 1, "authorization": 1})), 90, no_certificate, &[]),
        (
            "no chain makes what it needs",
            with(weights, json!({"registration": 1, "certificate": 1})),
            90,
            &[(Registration, 200, 0)],
            &[],
        ),
        ("a limit leaves none", with("/limits/certificates", json!(0)), 90, no_certificate, &[]),
        (
            "a limit prevents what it needs",
            with("/limits/authorizations", json!(0)),
            90,
            &[(Registration, 200, 0)],
            &[],
        ),
        (
            "a weight so small that it may never be drawn",
            with("/scenarios/0/weights/revoke", json!(0.1)),
            90,
            no_revocation,
            &[],
        ),
    ];
    for (case, plan, seconds, runs, expected) in cases {
        let snapshot = snapshot(plan, seconds, runs);
        assert_eq!(found(&snapshot), expected, "{case}: {:?}", snapshot.never_succeeded);
        let without_certificate = [
            "not quite as few",
            "nine failures may be an accident",
            "two failures may be an accident",
            "the run was too short for it",
            "it had too few iterations",
        ];
        let why = nothing_succeeded(&snapshot);
        let fails = !expected.is_empty() || without_certificate.contains(&case);
        assert_eq!(why.is_some(), fails, "{case}: {why:?}");
        if without_certificate.contains(&case) {
            assert!(
                why.unwrap().starts_with("no certificate was issued: the chains that ran are "),
                "{case}"
            );
        }
    }
}

#[test]
fn the_reason_names_the_error_and_the_way_out() {
    let snapshot = snapshot(plan(), 90, &[(Chain::Registration, 90, 0), (Chain::Authorization, 0, 40)]);
    let whys: Vec<_> = snapshot.never_succeeded.iter().map(|chain| chain.why.as_str()).collect();
    assert_eq!(
        whys[0],
        "the authorization chain never succeeded: 40 of 40 failed, 40 of them by: authorization of a.test is invalid: \
         http-01: connection: Connection refused; the CA tried port 80, unless it is configured otherwise: let the challenge \
         server answer there (--http01-listen), and let the names resolve to it"
    );
    assert!(
        whys[1].starts_with(
            "the certificate chain never became possible in 130 iterations over 90.0 s, because no authorization chain succeeded, 40 of them by: "
        ),
        "{}",
        whys[1]
    );
    assert_eq!(nothing_succeeded(&snapshot).unwrap().lines().count(), 4);
    let table = summary_table(&snapshot, TextStyle::default());
    assert!(table.contains("FAILED     the authorization chain never succeeded: 40 of 40 failed"), "{table}");
}

#[test]
fn an_interrupted_chain_is_no_failure() {
    let mut aggregate = Aggregate::default();
    for seq in 1..=60 {
        let result = ChainResult {
            seq,
            chain: Some(Chain::Authorization),
            successful: seq <= 10,
            class: (seq > 10).then_some(FailureClass::Interrupted),
            took: 5_000,
            done: seq * 1_000,
            ..ChainResult::default()
        };
        aggregate.record(&chain_record("r1", result));
    }
    let snapshot = aggregate.snapshot();
    let chain = &snapshot.chains[&Chain::Authorization];
    assert_eq!((chain.count, chain.failed, chain.cut_off), (10, 0, 50));
    assert_eq!(chain.failed_response_time_ns.n, 0);
    assert!(snapshot.failures.is_empty() && chain.classes.is_empty());
    let series = aggregate.series(None).0;
    assert_eq!(series.chains[&Chain::Authorization].count.iter().sum::<u64>(), 10, "no spike at the end");
}
