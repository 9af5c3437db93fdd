//! Requests that a CA must refuse: what the built-in CA, Pebble and Caddy answer.

use std::sync::Arc;

use wec_acme::Roots;
use wec_chains::{Chain, ChainResult, Refusal};
use wec_null_ca::Config;
use wec_record::FailureClass;
use wec_store::MemoryChallenges;
use wec_testbed::{Caddy, PebbleOptions, Standard};

use crate::common::{Answering, Worker, steps};
use crate::null_ca::{null_ca, worker};

/// Sends one request of this kind, with what it needs.
async fn refuse(worker: &mut Worker, kind: Refusal) -> ChainResult {
    worker.policy(|policy| policy.choices.refusals = vec![kind].into());
    let available = worker.context.state.available();
    if !available.orders {
        worker.succeed(Chain::Authorization).await;
    }
    worker.run(Chain::Refusals).await
}

/// Each kind, and how the chain ended: `refused`, or its class.
async fn outcomes(worker: &mut Worker) -> Vec<(Refusal, String)> {
    // Two accounts: one is foreign to the other.
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Registration).await;
    let has_profiles = !worker.context.client.directory().meta.profiles.is_empty();
    let mut outcomes = Vec::new();
    for kind in Refusal::ALL {
        if kind == Refusal::UnknownProfile && !has_profiles {
            continue;
        }
        // Two accounts are drawn at random; a foreign order needs the other one.
        let result = refuse(worker, kind).await;
        assert_eq!(result.successful, result.class.is_none());
        let ended = result.class.map_or_else(|| "refused".to_owned(), |class| class.name().to_owned());
        eprintln!("{kind}: {ended} {:?} {} {}", steps(&result), result.problem, result.error);
        if result.class.is_some() {
            assert_eq!(result.detail, kind.name(), "{}", result.error);
        }
        outcomes.push((kind, ended));
    }
    outcomes
}

/// Those that did not end as expected.
fn except(outcomes: &[(Refusal, String)], expected: &str) -> Vec<String> {
    let others = outcomes.iter().filter(|(_, ended)| ended != expected);
    others.map(|(kind, ended)| format!("{kind} {ended}")).collect()
}

#[tokio::test]
async fn the_built_in_ca_refuses_all_with_the_right_problem() {
    let profiles = [("classic".to_owned(), "usual".to_owned())].into();
    let ca = null_ca(Config { profiles, ..Config::default() });
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (2..=2).into()).await;
    let outcomes = outcomes(&mut worker).await;
    assert_eq!(outcomes.len(), Refusal::ALL.len());
    assert_eq!(except(&outcomes, "refused"), [""; 0]);
    assert_eq!(ca.counters().certificates, 0);
}

#[tokio::test]
async fn a_refusal_is_a_successful_request_with_its_status() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    for (kind, expected) in [
        (Refusal::ReplayedNonce, &["account 200", "account 400"][..]),
        (Refusal::ForeignNonce, &["account 400"]),
        (Refusal::WrongUrl, &["account 401"]),
        (Refusal::EarlyFinalize, &["newOrder 201", "finalize 403"]),
        (Refusal::WeakKey, &["finalize 400"]),
    ] {
        let result = refuse(&mut worker, kind).await;
        assert!(result.successful, "{}", result.error);
        assert!(result.requests.iter().all(|request| request.successful));
        let mut expected = expected.to_vec();
        if expected[0] == "account 401" && steps(&result) != expected {
            // RFC 8555 §6.4 names no status.
            expected = vec!["account 403"];
        }
        assert_eq!(steps(&result), expected, "{kind}");
    }
    for (kind, why) in
        [(Refusal::UnknownProfile, "the CA has no profiles"), (Refusal::ForeignOrder, "there is one account")]
    {
        worker.policy(|policy| policy.choices.refusals = vec![kind].into());
        assert!(worker.has_nothing_to_do(Chain::Refusals).await, "{why}");
    }
}

#[tokio::test]
async fn a_ca_that_checks_no_signatures_is_found_out() {
    let ca = null_ca(Config { verify_signatures: false, ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Registration).await;
    for kind in [Refusal::BadSignature, Refusal::ForeignKey] {
        let result = refuse(&mut worker, kind).await;
        assert_eq!(result.class, Some(FailureClass::Accepted), "{kind}: {}", result.error);
        assert_eq!((result.status, &*result.detail), (200, kind.name()));
        assert!(result.error.contains("that it must refuse"), "{}", result.error);
        assert!(!result.requests.last().unwrap().outcome_is_unknown());
    }
}

#[tokio::test]
async fn a_refused_nonce_is_no_refusal_of_something_else() {
    let ca = null_ca(Config { bad_nonce: "50%".parse().unwrap(), ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.policy.bad_nonce_retries = 50).await;
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Registration).await;
    let mut retried = 0;
    for _ in 0..5 {
        for kind in [Refusal::BadSignature, Refusal::ForeignOrder, Refusal::MismatchedCsr] {
            let result = refuse(&mut worker, kind).await;
            assert!(result.successful, "{kind}: {}", result.error);
            retried += result.requests.iter().filter(|request| request.problem == "badNonce").count();
        }
    }
    assert!(retried > 0);
}

#[tokio::test]
async fn an_order_with_a_refused_csr_is_looked_at_before_it_is_used() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    assert!(refuse(&mut worker, Refusal::MalformedCsr).await.successful);
    assert_eq!(
        steps(&worker.succeed(Chain::Certificate).await),
        ["order 200", "finalize 200", "certificate 200"],
        "the order is still ready"
    );
}

/// What Pebble 2.4 accepts although it must not.
#[tokio::test]
async fn pebble_refuses_most() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let pebble = answering.pebble(PebbleOptions::default()).await;
    let roots = Roots::Pem(pebble.ca_pem().unwrap());
    let mut worker = Worker::of(&pebble.directory_url(), roots, challenges, |_, _| {}).await;
    let outcomes = outcomes(&mut worker).await;
    assert_eq!(except(&outcomes, "refused"), ["weak-key accepted", "oversized-body accepted"]);
}

/// What Caddy 2.6 answers.
#[tokio::test]
async fn caddy_refuses_most() {
    let standard = Standard::reserve().unwrap();
    let challenges = Arc::new(MemoryChallenges::new());
    let _answering = Answering::on_standard_ports(&standard, challenges.clone()).await;
    let caddy = Caddy::start(&standard).await.unwrap();
    let roots = Roots::Pem(caddy.ca_pem().unwrap());
    let mut worker = Worker::of(&caddy.directory_url(), roots, challenges, |_, _| {}).await;
    let outcomes = outcomes(&mut worker).await;
    assert_eq!(
        except(&outcomes, "refused"),
        [
            "weak-key server-error",
            // 400 instead of the 403 of RFC 8555 §7.4.
            "early-finalize problem",
            "oversized-body accepted"
        ]
    );
}
