//! Chains against the built-in CA, with faults that real CAs rarely have.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;
use std::time::Duration;

use wec_acme::{
    CertificateKey, Client, Clock, Config as ClientConfig, DiscoverError, ExternalAccount, HttpVersion,
    KeyPool, KeyType, Roots, Trace,
};
use wec_chains::{Chain, Connections, Context, Policy, StopBefore};
use wec_null_ca::{Config, NullCa};
use wec_record::{ChallengeType, FailureClass};
use wec_store::MemoryChallenges;

use crate::common::{Worker, steps};

/// Time limit of a request whose answer never comes; real answers come sooner on any machine.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);

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
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (2..=2).into()).await;

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
async fn revokes_by_either_key_with_and_without_reasons() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    for share in [0.0, 1.0] {
        for reason in ["none", "0", "1", "3", "4", "5"] {
            worker.policy(|policy| {
                policy.choices.revoke_by_certificate_key = share;
                policy.choices.revocation_reasons = reason.parse().unwrap();
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
    let mut worker = worker(&ca, |_, policy| policy.choices.revocation_reasons = "8".parse().unwrap()).await;
    prepare(&mut worker, Chain::Refresh).await;
    let result = worker.fail(Chain::Revoke, FailureClass::Problem).await;
    assert_eq!(result.requests.last().unwrap().problem, "badRevocationReason");
    assert_eq!(worker.context.state.counts().certificates, 1);
    worker.policy(|policy| policy.choices.revocation_reasons = "4".parse().unwrap());
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
        policy.choices.key_types = "p256=1,p384=1,rsa2048=1,rsa4096=0".parse().unwrap();
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
        worker.policy(|policy| policy.choices.revoke_by_certificate_key = (seen.len() % 2) as f64);
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
            policy.choices.key_types = vec![KeyType::Rsa2048].into();
            policy.choices.revocation_reasons = reason.parse().unwrap();
            policy.choices.revoke_by_certificate_key = by_certificate_key;
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
        policy.choices.key_types = vec![KeyType::Rsa4096].into();
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
    let mut worker = worker(&ca, |_, policy| policy.choices.profiles = "shortlived".parse().unwrap()).await;
    worker.succeed(Chain::Registration).await;
    assert_eq!(worker.succeed(Chain::Authorization).await.profile, "shortlived");
    // The profile stored with the order counts, not the current policy.
    worker.policy(|policy| policy.choices.profiles = "default=1,classic=0".parse().unwrap());
    assert_eq!(worker.succeed(Chain::Certificate).await.profile, "shortlived");
    worker.policy(|policy| policy.choices.profiles = "classic".parse().unwrap());
    assert_eq!(worker.succeed(Chain::Refresh).await.profile, "classic");
    assert_eq!(worker.succeed(Chain::Revoke).await.profile, "");
}

#[tokio::test]
async fn a_challenge_type_of_weight_zero_is_not_used() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| {
        policy.choices.challenges = "http-01=0,dns-01=0,tls-alpn-01=2".parse().unwrap()
    })
    .await;
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Authorization).await;
    assert!(!worker.context.policy.choices.challenges.has(ChallengeType::Http01));
}

#[tokio::test]
async fn an_abandoned_order_is_a_success_that_stores_nothing() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.plain.abandon = 1.0).await;
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

    worker.policy(|policy| policy.choices.plain.abandon = 0.0);
    assert!(!worker.succeed(Chain::Authorization).await.abandoned);
}

#[tokio::test]
async fn a_run_that_stops_before_finalize_issues_nothing() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Refresh).await;
    worker.policy(|policy| policy.choices.stop_before = Some(StopBefore::Finalize));
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
    let mut first = worker(&ca, |_, policy| policy.choices.connections = Connections::PerWorker).await;
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
    worker.policy(|policy| policy.choices.connections = Connections::PerChain);
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
