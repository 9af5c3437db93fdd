//! The parts of a chain's time: requests, waits for Retry-After, our own waits. `crate::common::check` checks
//! that they add up.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;
use std::time::Duration;

use wec_acme::Roots;
use wec_chains::{Chain, ChainResult};
use wec_null_ca::{Config, Latency, NullCa, Validation};
use wec_record::{ChallengeType, Purpose};
use wec_store::MemoryChallenges;
use wec_testbed::PebbleOptions;

use crate::common::{Answering, Worker};

const SECOND: u64 = 1_000_000_000;

async fn worker(ca: &NullCa) -> Worker {
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    Worker::of(ca.directory_url(), roots, Arc::new(MemoryChallenges::new()), |_, _| {}).await
}

/// A CA that decides later, with a Retry-After of 3 s for an order and 1 s for an authorization.
fn asynchronous_ca() -> NullCa {
    NullCa::start(Config {
        processing: Duration::from_millis(1),
        retry_after: 3,
        validation: Validation {
            delay: Latency::Fixed(Duration::from_millis(1)),
            retry_after: Some(1),
            ..Validation::default()
        },
        ..Config::default()
    })
    .unwrap()
}

fn polls(result: &ChainResult) -> u64 {
    result.requests.iter().filter(|request| request.purpose == Purpose::Poll).count() as u64
}

#[tokio::test]
async fn retry_after_is_not_counted_as_time_in_requests() {
    let ca = asynchronous_ca();
    let mut worker = worker(&ca).await;
    worker.succeed(Chain::Registration).await;

    let authorized = worker.succeed(Chain::Authorization).await;
    // Each poll was sent a second after the previous one, as the CA asked; our own interval is shorter.
    assert_eq!(authorized.waited_asked, polls(&authorized) * SECOND, "{authorized:#?}");
    assert_eq!(authorized.waited_poll, 0);
    let [proof] = &authorized.authorizations[..] else { panic!("{:#?}", authorized.authorizations) };
    assert!(proof.challenge.is_some() && proof.answered > 0, "{proof:?}");
    assert!(proof.settled - proof.answered >= SECOND, "{proof:?}");

    let issued = worker.succeed(Chain::Certificate).await;
    assert_eq!(issued.waited_asked, polls(&issued) * 3 * SECOND, "{issued:#?}");
    assert!(polls(&issued) > 0 && issued.waited_poll == 0, "{issued:#?}");
    let spent = issued.spent().unwrap();
    assert_eq!(spent.asked, issued.waited_asked);
    assert_eq!(spent.keys, issued.keygen);
    assert!(spent.requests < spent.asked, "{spent:?}");
}

#[tokio::test]
async fn without_a_retry_after_from_pebble_waits_are_our_own_interval() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let pebble = answering.pebble(PebbleOptions { authz_reuse: 0, ..PebbleOptions::default() }).await;
    let roots = Roots::Pem(pebble.ca_pem().unwrap());
    let mut worker = Worker::of(&pebble.directory_url(), roots, challenges, |_, policy| {
        policy.choices.challenges = vec![ChallengeType::Http01].into();
        policy.choices.names = (2..=2).into();
    })
    .await;
    worker.succeed(Chain::Registration).await;

    let authorized = worker.succeed(Chain::Authorization).await;
    assert_eq!(authorized.authorizations.len(), 2);
    let hits = answering.server.hits().recent();
    for proof in &authorized.authorizations {
        assert!(hits.iter().any(|hit| hit.name == proof.name), "{proof:?} among {hits:?}");
        assert!(0 < proof.answered && proof.answered < proof.settled, "{proof:?}");
        assert_eq!(proof.challenge, Some(ChallengeType::Http01));
    }
    let issued = worker.succeed(Chain::Certificate).await;
    assert_eq!(issued.waited_asked, 0);
    assert_eq!(issued.waited_poll > 0, polls(&issued) > 0, "{issued:#?}");
    let signed = issued.requests.iter().filter(|request| request.method == "POST");
    assert!(signed.clone().count() > 0);
    for request in signed {
        assert!(request.nonce_age > 0, "{request:#?}");
    }
}
