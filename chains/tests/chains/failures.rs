//! Failures of the built-in CA, and chains that end before the answer: what the state has after them.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wec_acme::Trace;
use wec_chains::Chain;
use wec_null_ca::{Config, Endpoint, NullCa};
use wec_record::{FailureClass, Purpose};
use wec_store::challenge::BoxFuture;
use wec_store::{ChallengeData, ChallengeStoreError, ChallengeWriter};

use crate::common::{Worker, requests_in, steps};
use crate::null_ca::{SILENCE, null_ca, prepare, worker};

#[tokio::test]
async fn refused_nonces_are_retried_and_recorded() {
    let ca = null_ca(Config { bad_nonce: "50%".parse().unwrap(), ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    let (mut refused, mut retries) = (0, 0);
    for chain in Chain::usual() {
        let result = worker.succeed(chain).await;
        refused += requests_in(&result, FailureClass::BadNonce);
        retries += result.requests.iter().filter(|request| request.purpose == Purpose::Retry).count();
    }
    assert!(refused > 0);
    assert_eq!(retries, refused, "each refusal is answered by one retry");
    assert_eq!(ca.counters().nonces_refused, refused as u64);
}

/// A fault of the CA at newOrder, and the class of the chain's failure.
#[tokio::test]
async fn a_fault_of_the_ca_is_a_failure_of_its_class_and_the_run_goes_on() {
    for (fault, class, status) in [
        ("500", FailureClass::ServerError, 500),
        ("429", FailureClass::RateLimited, 429),
        ("html503", FailureClass::ServerError, 503),
        ("truncated", FailureClass::Malformed, 201),
        ("reset", FailureClass::Reset, 0),
        ("silence", FailureClass::Timeout, 0),
        ("empty", FailureClass::Malformed, 200),
    ] {
        let faults = vec![format!("newOrder={fault}:1").parse().unwrap()];
        let ca = null_ca(Config { faults, ..Config::default() });
        let mut worker = worker(&ca, |client, _| {
            // Only a missing answer uses up the time limit.
            if fault == "silence" {
                client.request_timeout = SILENCE;
            }
            client.policy.busy_retries = 0;
        })
        .await;
        worker.succeed(Chain::Registration).await;
        for _ in 0..2 {
            let result = worker.fail(Chain::Authorization, class).await;
            let last = result.requests.last().unwrap();
            assert_eq!((last.endpoint.as_ref(), last.status), ("newOrder", status), "{fault}: {last:#?}");
            assert!(result.error.contains("newOrder"), "{fault}: {}", result.error);
        }
        worker.succeed(Chain::Registration).await;
        assert_eq!(worker.context.state.counts().authorizations, 0, "{fault}");
    }
}

#[tokio::test]
async fn each_wrong_certificate_is_detected_and_its_order_not_used_again() {
    for (flaw, reason, kind) in [
        ("name", "name", "names"),
        ("key", "key", "key"),
        ("expired", "expired", "validity"),
        ("signature", "sign", "signature"),
    ] {
        let wrong_certificates = vec![format!("{flaw}:1").parse().unwrap()];
        let ca = null_ca(Config { wrong_certificates, ..Config::default() });
        let mut worker = worker(&ca, |_, _| {}).await;
        prepare(&mut worker, Chain::Certificate).await;
        let result = worker.fail(Chain::Certificate, FailureClass::WrongCertificate).await;
        assert!(result.error.contains(reason), "{flaw}: {}", result.error);
        assert_eq!(result.detail, kind);
        // The requests themselves were answered correctly.
        assert!(result.requests.iter().all(|request| request.successful), "{:#?}", result.requests);
        assert!(worker.has_nothing_to_do(Chain::Certificate).await);
        assert_eq!(worker.context.state.counts().certificates, 0);
    }
}

#[tokio::test]
async fn a_serial_seen_before_is_detected() {
    let ca = null_ca(Config { wrong_certificates: vec!["serial:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    for _ in 0..2 {
        worker.succeed(Chain::Authorization).await;
    }
    worker.succeed(Chain::Certificate).await;
    let result = worker.fail(Chain::Certificate, FailureClass::WrongCertificate).await;
    assert!(result.error.contains("serial"), "{}", result.error);
    assert_eq!(result.detail, "serial");
    assert_eq!(worker.context.state.counts().certificates, 1);
}

#[tokio::test]
async fn a_failed_validation_is_one_of_its_own_class() {
    let mut config = Config::default();
    config.validation.failures = "100%".parse().unwrap();
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    let result = worker.fail(Chain::Authorization, FailureClass::Validation).await;
    assert!(result.error.contains("wec.test"), "{}", result.error);
}

#[tokio::test]
async fn an_order_that_may_have_been_used_is_looked_at_before_it_is_used_again() {
    let ca = null_ca(Config { faults: vec!["finalize=500:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Certificate).await;
    let first = worker.fail(Chain::Certificate, FailureClass::ServerError).await;
    assert_eq!(steps(&first), ["finalize 500"]);
    let second = worker.fail(Chain::Certificate, FailureClass::ServerError).await;
    assert_eq!(steps(&second), ["order 200", "finalize 500"]);
}

#[tokio::test]
async fn an_order_that_the_ca_refused_to_touch_is_used_again_as_it_is() {
    let ca = null_ca(Config { faults: vec!["finalize=429:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.policy.busy_retries = 0).await;
    prepare(&mut worker, Chain::Certificate).await;
    for _ in 0..2 {
        let result = worker.fail(Chain::Certificate, FailureClass::RateLimited).await;
        assert_eq!(steps(&result), ["finalize 429"]);
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_downloaded_leaves_no_order_that_looks_ready() {
    let ca = null_ca(Config { faults: vec!["certificate=429:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.policy.busy_retries = 0).await;
    prepare(&mut worker, Chain::Certificate).await;
    let result = worker.fail(Chain::Certificate, FailureClass::RateLimited).await;
    assert_eq!(steps(&result), ["finalize 200", "certificate 429"]);
    // The certificate's key is lost, so the order is dropped: another finalize would be refused.
    assert_eq!(steps(&worker.succeed(Chain::Certificate).await), ["order 200"]);
    assert!(worker.has_nothing_to_do(Chain::Certificate).await);
}

#[tokio::test]
async fn a_certificate_whose_chain_failed_before_it_could_change_anything_stays_as_it_was() {
    for (fault, chain, class) in [
        ("renewalInfo=500:1", Chain::Refresh, FailureClass::ServerError),
        ("revokeCert=429:1", Chain::Revoke, FailureClass::RateLimited),
    ] {
        let ca = null_ca(Config { faults: vec![fault.parse().unwrap()], ..Config::default() });
        let mut worker = worker(&ca, |client, _| client.policy.busy_retries = 0).await;
        prepare(&mut worker, Chain::Refresh).await;
        worker.fail(chain, class).await;
        assert!(!worker.context.state.claim_certificate().unwrap().suspect, "{fault}");
    }
}

#[tokio::test]
async fn a_certificate_whose_revocation_got_no_answer_is_suspect() {
    let ca = null_ca(Config { faults: vec!["revokeCert=silence:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.request_timeout = SILENCE).await;
    prepare(&mut worker, Chain::Refresh).await;
    worker.fail(Chain::Revoke, FailureClass::Timeout).await;
    assert!(worker.context.state.claim_certificate().unwrap().suspect);
}

#[tokio::test]
async fn polls_a_ca_that_answers_late() {
    let mut config = Config { processing: Duration::from_millis(200), retry_after: 0, ..Config::default() };
    config.validation.delay = "200ms".parse().unwrap();
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (2..=2).into()).await;
    worker.succeed(Chain::Registration).await;
    for (chain, endpoint) in [(Chain::Authorization, "authorization"), (Chain::Certificate, "order")] {
        let result = worker.succeed(chain).await;
        let polls = result.requests.iter().filter(|request| request.purpose == Purpose::Poll);
        assert!(polls.clone().count() > 0, "{chain}");
        assert!(polls.clone().all(|poll| poll.endpoint == endpoint), "{chain}: {:#?}", result.requests);
    }
}

#[tokio::test]
async fn a_validation_that_never_ends_is_a_poll_timeout() {
    let mut config = Config::default();
    config.validation.delay = "1h".parse().unwrap();
    let ca = null_ca(config);
    let mut worker = worker(&ca, |client, _| client.policy.poll_timeout = Duration::from_millis(300)).await;
    worker.succeed(Chain::Registration).await;
    let result = worker.fail(Chain::Authorization, FailureClass::PollTimeout).await;
    assert!(result.requests.iter().all(|request| request.successful), "{:#?}", result.requests);
}

/// A challenge store that fails.
struct Unreachable;

impl ChallengeWriter for Unreachable {
    fn put<'a>(&'a self, _: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(async {
            Err(ChallengeStoreError::Unavailable {
                store: "redis://gone.test".into(),
                reason: "refused".into(),
            })
        })
    }

    fn remove<'a>(&'a self, data: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.put(data)
    }
}

#[tokio::test]
async fn a_failing_challenge_store_is_a_failure_of_our_side() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.context.challenges = Arc::new(Unreachable);
    worker.succeed(Chain::Registration).await;
    let result = worker.fail(Chain::Authorization, FailureClass::Internal).await;
    assert!(result.error.contains("redis://gone.test"), "{}", result.error);
    // The challenge was not sent to the CA.
    assert_eq!(ca.counters().answers(Endpoint::Challenge), 0);
}

/// Interrupts a chain as soon as the CA has answered `endpoint` once.
async fn cut_after(
    ca: &NullCa,
    worker: &mut Worker,
    chain: Chain,
    endpoint: Endpoint,
) -> wec_chains::ChainResult {
    let cut = CancellationToken::new();
    let before = ca.counters().answers(endpoint);
    let answered = async {
        while ca.counters().answers(endpoint) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cut.cancel();
    };
    let (result, ()) = tokio::join!(worker.run_until(chain, &cut), answered);
    let result = result.expect("there is something to do");
    assert_eq!(result.class, Some(FailureClass::Interrupted), "{}", result.error);
    result
}

#[tokio::test]
async fn a_cut_off_authorization_takes_its_challenge_data_back() {
    let mut config = Config::default();
    config.validation.delay = "30s".parse().unwrap();
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (3..=3).into()).await;
    worker.succeed(Chain::Registration).await;
    // `Worker::run_until` checks that no challenge data is left.
    let result = cut_after(&ca, &mut worker, Chain::Authorization, Endpoint::Challenge).await;
    assert!(result.requests.iter().any(|request| request.endpoint == "challenge"), "{:?}", steps(&result));
    assert_eq!(worker.context.state.counts().authorizations, 0);
}

#[tokio::test]
async fn an_order_that_a_cut_off_chain_finalized_is_dropped_without_a_failure() {
    let ca = null_ca(Config { latency: vec!["certificate=30s".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.request_timeout = Duration::from_secs(40)).await;
    prepare(&mut worker, Chain::Certificate).await;
    cut_after(&ca, &mut worker, Chain::Certificate, Endpoint::Finalize).await;

    let result = worker.succeed(Chain::Certificate).await;
    assert_eq!(steps(&result), ["order 200"]);
    assert!(worker.has_nothing_to_do(Chain::Certificate).await);
    assert_eq!(worker.context.state.counts().authorizations, 0);
}

#[tokio::test]
async fn an_order_that_the_ca_forgot_is_dropped_without_a_failure() {
    let mut config = Config::default();
    config.keep.orders = 1;
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Certificate).await;
    {
        // A second order displaces the first at the CA; the claim is dropped as by an interrupted chain.
        let claim = worker.context.state.claim_order().unwrap();
        let mut trace = Trace::new(worker.context.clock);
        let names = ["other.wec.test".to_owned()];
        let account = &claim.registration.account;
        worker.context.client.new_order(&mut trace, account, &names, None).await.unwrap();
    }
    let result = worker.succeed(Chain::Certificate).await;
    assert_eq!(result.requests.last().unwrap().class, Some(FailureClass::Problem));
    assert!(worker.has_nothing_to_do(Chain::Certificate).await);
}

#[tokio::test]
async fn orders_about_to_expire_are_dropped_without_a_request() {
    let ca = null_ca(Config::default());
    let mut worker =
        worker(&ca, |_, policy| policy.order_margin = Duration::from_secs(u32::MAX.into())).await;
    prepare(&mut worker, Chain::Certificate).await;
    assert!(worker.has_nothing_to_do(Chain::Certificate).await);
    assert_eq!(worker.context.state.counts().authorizations, 0);
}

#[tokio::test]
async fn a_certificate_that_a_cut_off_chain_revoked_is_dropped_without_a_failure() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Refresh).await;
    revoke_behind_our_back(&worker).await;
    let result = worker.succeed(Chain::Revoke).await;
    assert_eq!(result.requests.last().unwrap().problem, "alreadyRevoked");
    assert!(worker.has_nothing_to_do(Chain::Revoke).await);
}

/// Revokes the stored certificate and drops its claim, like a chain that is interrupted before the answer.
async fn revoke_behind_our_back(worker: &Worker) {
    let claim = worker.context.state.claim_certificate().unwrap();
    let signer = wec_acme::Signer::Account(&claim.registration.account);
    let mut trace = Trace::new(worker.context.clock);
    worker.context.client.revoke(&mut trace, signer, &claim.leaf_der, None).await.unwrap();
}

#[tokio::test]
async fn a_certificate_whose_renewal_was_cut_off_is_renewed_all_the_same() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Refresh).await;
    {
        // As after a chain that was interrupted after newOrder.
        let claim = worker.context.state.claim_certificate().unwrap();
        let mut trace = Trace::new(worker.context.clock);
        let (account, names) = (&claim.registration.account, &claim.names);
        worker.context.client.new_order(&mut trace, account, names, Some(&claim.ari_id)).await.unwrap();
    }
    let result = worker.succeed(Chain::Refresh).await;
    assert_eq!(steps(&result)[..3], ["renewalInfo 200", "newOrder 409", "newOrder 201"]);
    assert_eq!(result.requests[1].problem, "alreadyReplaced");
    assert_eq!(worker.context.state.counts().certificates, 1);
}
