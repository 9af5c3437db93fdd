//! Chains against the built-in CA, with faults that real CAs rarely have.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wec_acme::{
    CertificateKey, Client, Clock, Config as ClientConfig, DiscoverError, ExternalAccount, HttpVersion,
    KeyPool, KeyType, Roots, Trace,
};
use wec_chains::{Chain, Connections, Context, Policy, StopBefore};
use wec_null_ca::{Config, Endpoint, NullCa};
use wec_record::{ChallengeType, FailureClass, Purpose};
use wec_store::challenge::BoxFuture;
use wec_store::{ChallengeData, ChallengeStoreError, ChallengeWriter, MemoryChallenges};

use crate::common::{Worker, requests_in, steps};

/// Time limit of a request whose answer never comes; real answers come sooner on any machine.
const SILENCE: Duration = Duration::from_secs(4);

pub(crate) fn null_ca(config: Config) -> NullCa {
    NullCa::start(config).unwrap()
}

pub(crate) async fn worker(ca: &NullCa, set: impl FnOnce(&mut ClientConfig, &mut Policy)) -> Worker {
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    Worker::of(ca.directory_url(), roots, Arc::new(MemoryChallenges::new()), set).await
}

/// Runs the chains that `chain` needs before it.
pub(crate) async fn prepare(worker: &mut Worker, chain: Chain) {
    let mut earlier: Vec<_> = std::iter::successors(chain.needed(), |chain| chain.needed()).collect();
    while let Some(chain) = earlier.pop() {
        worker.succeed(chain).await;
    }
}

#[tokio::test]
async fn each_chain_sends_the_requests_that_its_page_lists() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.names = (2..=2).into()).await;

    assert_eq!(steps(&worker.succeed(Chain::Registration).await), ["newAccount 201"]);
    // The built-in CA decides within the challenge's POST, so nothing is polled.
    let authorizing = [
        "newOrder 201",
        "authorization 200",
        "challenge 200",
        "authorization 200",
        "challenge 200",
        "order 200",
    ];
    assert_eq!(steps(&worker.succeed(Chain::Authorization).await), authorizing);
    let issuing = ["finalize 200", "certificate 200"];
    let certificate = worker.succeed(Chain::Certificate).await;
    assert_eq!(steps(&certificate), issuing);
    assert!(certificate.keygen > 0, "making a key and a CSR takes time");
    let refresh = steps(&worker.succeed(Chain::Refresh).await);
    assert_eq!(refresh.first().map(String::as_str), Some("renewalInfo 200"));
    assert_eq!(refresh[1], "newOrder 201");
    assert_eq!(refresh[refresh.len() - 2..], issuing);
    assert_eq!(steps(&worker.succeed(Chain::Revoke).await), ["revokeCert 200"]);

    let counts = ca.counters();
    assert_eq!((counts.accounts, counts.certificates, counts.revocations), (1, 2, 1));
    let stored = worker.context.state.counts();
    assert_eq!((stored.registrations, stored.authorizations, stored.certificates), (1, 0, 0));
    assert_eq!(stored.revoked, 1);
}

#[tokio::test]
async fn a_chain_without_anything_to_use_sends_nothing_and_is_no_result() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    for chain in [Chain::Authorization, Chain::Certificate, Chain::Refresh, Chain::Revoke] {
        assert!(worker.has_nothing_to_do(chain).await, "{chain}");
    }
    // One request: the directory, when the client was made.
    let answers: u64 = ca.counters().answers.values().flat_map(|answers| answers.values()).sum();
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn an_external_account_binds_new_accounts() {
    let key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ";
    let external: wec_null_ca::ExternalAccount =
        serde_json::from_value(serde_json::json!({ "kid": "kid-1", "hmac_key": key })).unwrap();
    let ca = null_ca(Config { external_accounts: vec![external], ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    let refused = worker.fail(Chain::Registration, FailureClass::Problem).await;
    assert_eq!(refused.requests.last().unwrap().problem, "externalAccountRequired");
    worker.policy(|policy| policy.external_accounts = vec![ExternalAccount::new("kid-1", key).unwrap()]);
    worker.succeed(Chain::Registration).await;
}

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
    let mut worker = worker(&ca, |_, policy| policy.names = (2..=2).into()).await;
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
struct Away;

impl ChallengeWriter for Away {
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
    worker.context.challenges = Arc::new(Away);
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
    let mut worker = worker(&ca, |_, policy| policy.names = (3..=3).into()).await;
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

#[tokio::test]
async fn revokes_by_either_key_with_and_without_reasons() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    for share in [0.0, 1.0] {
        for reason in ["none", "0", "1", "3", "4", "5"] {
            worker.policy(|policy| {
                policy.revoke_by_certificate_key = share;
                policy.revocation_reasons = reason.parse().unwrap();
            });
            for chain in [Chain::Authorization, Chain::Certificate, Chain::Revoke] {
                worker.succeed(chain).await;
            }
        }
    }
    assert_eq!(ca.counters().revocations, 12);
}

#[tokio::test]
async fn a_certificate_is_kept_when_the_ca_refuses_the_reason() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.revocation_reasons = "8".parse().unwrap()).await;
    prepare(&mut worker, Chain::Refresh).await;
    let result = worker.fail(Chain::Revoke, FailureClass::Problem).await;
    assert_eq!(result.requests.last().unwrap().problem, "badRevocationReason");
    assert_eq!(worker.context.state.counts().certificates, 1);
    worker.policy(|policy| policy.revocation_reasons = "4".parse().unwrap());
    worker.succeed(Chain::Revoke).await;
}

#[tokio::test]
async fn limits_leave_chains_nothing_to_do() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    let mut options = wec_store::StateOptions::default();
    options.limits.registrations = Some(1);
    options.limits.authorizations = Some(2);
    options.limits.certificates = Some(1);
    worker.context.state =
        wec_store::State::open("sqlite::memory:", ca.directory_url(), options).await.unwrap();
    for (chain, times) in [(Chain::Registration, 1), (Chain::Authorization, 2), (Chain::Certificate, 1)] {
        for _ in 0..times {
            worker.succeed(chain).await;
        }
        assert!(worker.has_nothing_to_do(chain).await, "{chain}");
    }
    // Renewal counts for the limit of certificates.
    assert!(worker.has_nothing_to_do(Chain::Refresh).await);
    worker.succeed(Chain::Revoke).await;
}

#[tokio::test]
async fn draws_key_types_by_their_weights_and_stores_each() {
    let ca = null_ca(Config::default());
    let keys = Arc::new(KeyPool::generate([KeyType::Rsa2048]).unwrap());
    let mut worker = worker(&ca, |_, policy| {
        policy.keys = keys;
        policy.key_types = "p256=1,p384=1,rsa2048=1,rsa4096=0".parse().unwrap();
    })
    .await;
    worker.succeed(Chain::Registration).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 3 {
        worker.succeed(Chain::Authorization).await;
        worker.succeed(Chain::Certificate).await;
        worker.succeed(Chain::Refresh).await;
        {
            let claim = worker.context.state.claim_certificate().unwrap();
            seen.insert(CertificateKey::from_pkcs8(&claim.key_pkcs8).unwrap().kind());
            claim.release();
        }
        worker.policy(|policy| policy.revoke_by_certificate_key = (seen.len() % 2) as f64);
        worker.succeed(Chain::Revoke).await;
    }
    assert!(!seen.contains(&KeyType::Rsa4096));
}

/// Boulder blocks a key after a revocation signed with it: 43 certificates were issued with the pool's 16
/// keys, and then no more.
#[tokio::test]
async fn a_key_of_the_stock_that_the_ca_blocks_is_replaced() {
    for (reason, by_certificate_key) in [("none", 1.0), ("1", 0.0)] {
        let ca = null_ca(Config { block_keys: true, ..Config::default() });
        let keys = Arc::new(KeyPool::generate([KeyType::Rsa2048]).unwrap());
        let mut worker = worker(&ca, |_, policy| {
            policy.keys = Arc::clone(&keys);
            policy.key_types = vec![KeyType::Rsa2048].into();
            policy.revocation_reasons = reason.parse().unwrap();
            policy.revoke_by_certificate_key = by_certificate_key;
        })
        .await;
        worker.succeed(Chain::Registration).await;
        // A single worker has no key in use while it revokes, so no key is used after the CA has blocked it.
        for _ in 0..20 {
            for chain in [Chain::Authorization, Chain::Certificate, Chain::Revoke] {
                worker.succeed(chain).await;
            }
        }
        assert_eq!(keys.retired(), 20, "{reason}");
        keys.close();
    }
}

/// A key that was blocked by another client or an earlier run is found by finalize.
#[tokio::test]
async fn a_key_that_finalize_refuses_is_replaced() {
    let ca = null_ca(Config { block_keys: true, ..Config::default() });
    let keys = Arc::new(KeyPool::generate([KeyType::Rsa4096]).unwrap());
    let mut worker = worker(&ca, |_, policy| {
        policy.keys = Arc::clone(&keys);
        policy.key_types = vec![KeyType::Rsa4096].into();
    })
    .await;
    worker.succeed(Chain::Registration).await;
    for _ in 0..4 {
        worker.succeed(Chain::Authorization).await;
        worker.succeed(Chain::Certificate).await;
    }
    for _ in 0..4 {
        revoke_by_key_behind_our_back(&worker).await;
    }
    // Each refusal removes one key from the stock; its replacement may be drawn at once.
    let mut refused = 0;
    loop {
        worker.succeed(Chain::Authorization).await;
        let result = worker.run(Chain::Certificate).await;
        if result.successful {
            break;
        }
        refused += 1;
        assert_eq!(result.requests.last().unwrap().problem, "badPublicKey");
        assert_eq!(keys.retired(), refused);
        assert!(refused <= 4, "a refused key was used again");
    }
    assert!(refused >= 1);
    keys.close();
}

async fn revoke_by_key_behind_our_back(worker: &Worker) {
    let claim = worker.context.state.claim_certificate().unwrap();
    let key = CertificateKey::from_pkcs8(&claim.key_pkcs8).unwrap();
    let mut trace = Trace::new(worker.context.clock);
    let signer = wec_acme::Signer::CertificateKey(&key);
    worker.context.client.revoke(&mut trace, signer, &claim.leaf_der, None).await.unwrap();
    worker.context.state.certificate_gone(claim, "revoked by the test").await;
}

#[tokio::test]
async fn a_profile_goes_with_its_order_into_every_result() {
    let profiles = ["shortlived", "classic"].map(|name| (name.to_owned(), String::new())).into();
    let ca = null_ca(Config { profiles, ..Config::default() });
    let mut worker = worker(&ca, |_, policy| policy.profiles = "shortlived".parse().unwrap()).await;
    worker.succeed(Chain::Registration).await;
    assert_eq!(worker.succeed(Chain::Authorization).await.profile, "shortlived");
    // The profile stored with the order counts, not the current policy.
    worker.policy(|policy| policy.profiles = "default=1,classic=0".parse().unwrap());
    assert_eq!(worker.succeed(Chain::Certificate).await.profile, "shortlived");
    worker.policy(|policy| policy.profiles = "classic".parse().unwrap());
    assert_eq!(worker.succeed(Chain::Refresh).await.profile, "classic");
    assert_eq!(worker.succeed(Chain::Revoke).await.profile, "");
}

#[tokio::test]
async fn a_challenge_type_of_weight_zero_is_not_used() {
    let ca = null_ca(Config::default());
    let mut worker =
        worker(&ca, |_, policy| policy.challenges = "http-01=0,dns-01=0,tls-alpn-01=2".parse().unwrap())
            .await;
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Authorization).await;
    assert!(!worker.context.policy.challenges.has(ChallengeType::Http01));
}

#[tokio::test]
async fn an_abandoned_order_is_a_success_that_stores_nothing() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.abandon = 1.0).await;
    worker.succeed(Chain::Registration).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let result = worker.succeed(Chain::Authorization).await;
        assert!(result.abandoned);
        seen.insert(steps(&result));
    }
    let left = [vec!["newOrder 201"], vec!["newOrder 201", "authorization 200"]];
    assert!(seen.iter().eq(left.iter()), "{seen:?}");
    assert_eq!(worker.context.state.counts().authorizations, 0);

    worker.policy(|policy| policy.abandon = 0.0);
    assert!(!worker.succeed(Chain::Authorization).await.abandoned);
}

#[tokio::test]
async fn a_run_that_stops_before_finalize_issues_nothing() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Refresh).await;
    worker.policy(|policy| policy.stop_before = Some(StopBefore::Finalize));
    let excluded: Vec<_> =
        Chain::ALL.into_iter().filter(|chain| !worker.context.policy.runs(*chain)).collect();
    assert_eq!(excluded, [Chain::Certificate, Chain::Composed], "the latter has no steps");

    worker.succeed(Chain::Authorization).await;
    assert!(worker.has_nothing_to_do(Chain::Certificate).await);
    let first = steps(&worker.succeed(Chain::Refresh).await);
    assert_eq!(first[..2], ["renewalInfo 200", "newOrder 201"]);
    assert!(!first.iter().any(|step| step.starts_with("finalize")), "{first:?}");
    // The first newOrder names `replaces`, the second does not.
    let second = steps(&worker.succeed(Chain::Refresh).await);
    assert_eq!(second[..3], ["renewalInfo 200", "newOrder 409", "newOrder 201"]);

    let counts = ca.counters();
    assert_eq!(counts.certificates, 1, "only the one from before the run");
    let stored = worker.context.state.counts();
    assert_eq!((stored.authorizations, stored.certificates), (1, 1));
}

#[tokio::test]
async fn a_worker_with_its_own_connection_keeps_it_and_its_nonces() {
    let ca = null_ca(Config::default());
    let mut first = worker(&ca, |_, policy| policy.connections = Connections::PerWorker).await;
    let shared = Arc::new(first.context.clone());
    let second = shared.for_worker();
    first.context = Context::clone(&shared.for_worker());
    assert!(!Arc::ptr_eq(&first.context.client, &second.client));
    let shape = |result: &wec_chains::ChainResult| -> Vec<(String, bool)> {
        let requests = result.requests.iter();
        requests.map(|request| (request.endpoint.to_string(), request.reused)).collect()
    };
    let registered = first.succeed(Chain::Registration).await;
    let expected = [("newNonce".to_owned(), false), ("newAccount".to_owned(), true)];
    assert_eq!(shape(&registered), expected);
    assert_eq!(shape(&first.succeed(Chain::Registration).await), expected[1..]);
    first.context = Context::clone(&second);
    assert_eq!(
        shape(&first.succeed(Chain::Registration).await),
        expected,
        "the second worker reuses nothing of the first"
    );
}

#[tokio::test]
async fn a_stranger_whose_directory_fails_releases_its_claim_unsuspected() {
    let ca = null_ca(Config { faults: vec!["directory=500:0.5".parse().unwrap()], ..Config::default() });
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    // Half of the directory requests fail, perhaps also the one that makes the client.
    let clock = Clock::start();
    let client = loop {
        let config =
            ClientConfig { roots: roots.clone(), ..ClientConfig::new(ca.directory_url().parse().unwrap()) };
        if let Ok(client) = Client::discover(config, clock).await {
            break Arc::new(client);
        }
    };
    let mut worker = crate::common::over_client(client, ca.directory_url(), clock, |_| {}).await;
    prepare(&mut worker, Chain::Certificate).await;
    worker.policy(|policy| policy.connections = Connections::PerChain);
    loop {
        let result = worker.run(Chain::Certificate).await;
        if result.successful {
            assert_eq!(steps(&result), ["directory 200", "finalize 200", "certificate 200"]);
            return;
        }
        assert_eq!(steps(&result), ["directory 500"]);
        assert_eq!(result.class, Some(FailureClass::ServerError));
        let claim = worker.context.state.claim_order().unwrap();
        assert!(!claim.suspect);
        claim.release();
    }
}

#[tokio::test]
async fn a_server_without_http_2_is_reported_at_the_start() {
    let ca = null_ca(Config { http2: false, ..Config::default() });
    let config = ClientConfig {
        roots: Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec()),
        http: HttpVersion::Http2,
        ..ClientConfig::new(ca.directory_url().parse().unwrap())
    };
    let error = Client::discover(config, Clock::start()).await.unwrap_err();
    assert!(matches!(error, DiscoverError::NoHttp2 { .. }), "{error}");
    let shown = error.to_string();
    assert!(shown.contains(ca.directory_url()) && shown.contains("HTTP/1.1"), "{shown}");

    let plain = ClientConfig {
        http: HttpVersion::Http2,
        ..ClientConfig::new("http://127.0.0.1:1/dir".parse().unwrap())
    };
    let error = Client::discover(plain, Clock::start()).await.unwrap_err();
    assert!(matches!(error, DiscoverError::NoHttp2 { .. }), "{error}");
}
