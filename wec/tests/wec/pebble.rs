//! `wec run` against a real Pebble.

use serde_json::Value;
use wec_record::{Chain, ChallengeType, Purpose, Record, Verdict};
use wec_testbed::{Pebble, PebbleOptions};

/// Two workers: with three requests in flight Pebble 2.4 deadlocks sooner or later (docs/servers.md).
///
/// Runs all chains with all challenge types, and checks what holds for any share of rejected nonces.
async fn issues_against_pebble(nonce_reject: u8) -> (Value, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let addresses = [(); 3].map(|()| wec_testbed::free_address());
    let [http01, tlsalpn01, dns] = addresses;
    let pebble = Pebble::start(PebbleOptions {
        nonce_reject,
        http_port: http01.port(),
        tls_port: tlsalpn01.port(),
        dns: Some(dns),
        ..PebbleOptions::default()
    })
    .await
    .unwrap();
    let output = crate::common::run_until(
        folder.path(),
        &[
            "run",
            "--directory",
            &pebble.directory_url(),
            "--cacert",
            pebble.ca_file().to_str().unwrap(),
            "--workers",
            "2",
            "--names-per-order",
            "1..3",
            // Few chains run, and each kind must be among them.
            "--weight",
            "refresh=4,revoke=3",
            "--http01-listen",
            &http01.to_string(),
            "--tlsalpn01-listen",
            &tlsalpn01.to_string(),
            "--dns-listen",
            &dns.to_string(),
            "--headless",
            "--json",
            "summary.json",
        ],
        |log| {
            let each = |chain| crate::common::results(log).any(|result| result.chain == Some(chain));
            Chain::usual().all(each)
                && ChallengeType::STANDARD.into_iter().all(|kind| was_answered(log, kind))
                && crate::common::results(log).count() >= 60
        },
    );
    assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
    let summary = crate::common::summary(folder.path());
    for name in Chain::usual().map(Chain::name) {
        let (count, failed) = crate::common::chain(&summary, name);
        assert!(count > 0, "{name} never ran: {}", crate::common::said(&output));
        assert_eq!(
            failed,
            0,
            "{name} failed: {}",
            serde_json::to_string_pretty(&summary["failures"]).unwrap()
        );
    }
    let log = crate::common::log(folder.path());
    the_log_says_what_the_summary_says(&log, &summary);
    validations_of_every_type_arrived(&log);
    every_request_has_its_three_times_in_order(&log);
    (summary, log)
}

fn the_log_says_what_the_summary_says(log: &[Record], summary: &Value) {
    assert!(matches!(log[0], Record::Header(_)), "the header comes first");
    let results = || {
        log.iter()
            .filter_map(|record| if let Record::Chain { result, .. } = record { Some(result) } else { None })
    };
    for chain in Chain::ALL {
        let logged = results().filter(|result| result.chain == Some(chain)).count() as u64;
        assert_eq!(logged, crate::common::chain(summary, chain.name()).0, "{chain}");
    }
    let requests: usize = results().map(|result| result.requests.len()).sum();
    assert_eq!(Some(requests as u64), summary["requests"].as_u64());
}

fn validations_of_every_type_arrived(log: &[Record]) {
    for kind in ChallengeType::STANDARD {
        assert!(was_answered(log, kind), "no {kind} validation was answered by our challenge server");
    }
}

fn was_answered(log: &[Record], kind: ChallengeType) -> bool {
    log.iter().any(|record| {
        matches!(record, Record::Hit { hit, .. } if hit.challenge == kind && hit.verdict == Verdict::Answered)
    })
}

fn every_request_has_its_three_times_in_order(log: &[Record]) {
    for record in log {
        let Record::Chain { result, .. } = record else { continue };
        assert!(result.due <= result.started && result.started <= result.done);
        for request in &result.requests {
            assert!(request.due <= request.sent && request.sent <= request.done, "{request:?}");
            assert!(request.done <= result.done && request.due >= result.started, "{request:?}");
            assert!(!request.uri.is_empty() && !request.endpoint.is_empty() && !request.method.is_empty());
        }
    }
}

fn rejected(log: &[Record]) -> usize {
    let results = log
        .iter()
        .filter_map(|record| if let Record::Chain { result, .. } = record { Some(result) } else { None });
    results.flat_map(|result| &result.requests).filter(|request| request.problem == "badNonce").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issues_with_pebbles_default_settings() {
    let (summary, log) = issues_against_pebble(5).await;
    assert!(rejected(&log) > 0, "Pebble rejects one nonce in twenty");
    assert_eq!(summary["nonces"]["rejected"].as_u64(), Some(rejected(&log) as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issues_without_nonce_rejection() {
    let (_, log) = issues_against_pebble(0).await;
    assert_eq!(rejected(&log), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issues_when_every_other_nonce_is_rejected() {
    let (_, log) = issues_against_pebble(50).await;
    let retries = log
        .iter()
        .filter_map(|record| if let Record::Chain { result, .. } = record { Some(result) } else { None })
        .flat_map(|result| &result.requests)
        .filter(|request| request.purpose == Purpose::Retry)
        .count();
    assert!(retries >= rejected(&log) / 2, "rejected nonces were not retried and counted");
    assert!(rejected(&log) > 10);
}
