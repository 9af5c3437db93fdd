//! The chains beside issuance: of accounts, of authorizations, and of certificates that exist.

use std::time::Duration;

use wec_acme::{AccountKeys, KeyType, Trace};
use wec_chains::{Chain, ChainResult};
use wec_null_ca::Config;
use wec_record::FailureClass;

use crate::common::{Worker, steps};
use crate::null_ca::{null_ca, prepare, worker};

/// Registers one shared account and one that chains claim.
async fn register(worker: &mut Worker) {
    // From now on such accounts are made.
    assert!(worker.has_nothing_to_do(Chain::AccountUpdate).await);
    worker.succeed(Chain::Registration).await;
    worker.succeed(Chain::Registration).await;
}

fn last_problem(result: &ChainResult) -> &str {
    &result.requests.last().unwrap().problem
}

#[tokio::test]
async fn an_account_gets_other_keys_of_every_type() {
    let ca = null_ca(Config::default());
    let keys = AccountKeys::generate([KeyType::Rsa2048]).unwrap();
    let mut worker = worker(&ca, |_, policy| policy.account_keys = std::sync::Arc::new(keys)).await;
    register(&mut worker).await;
    let mut seen = Vec::new();
    for kind in [KeyType::P384, KeyType::Rsa2048, KeyType::P256, KeyType::P256] {
        worker.policy(|policy| policy.choices.account_key_types = vec![kind].into());
        assert_eq!(steps(&worker.succeed(Chain::KeyRollover).await), ["keyChange 200"]);
        // The next request is signed by the new key.
        assert_eq!(steps(&worker.succeed(Chain::AccountUpdate).await), ["account 200"]);
        let claim = worker.context.state.claim_registration().unwrap();
        assert!(!claim.suspect);
        assert_eq!(claim.registration.account.key.kind(), kind);
        seen.push(claim.registration.account.key.thumbprint().to_owned());
        claim.release();
    }
    seen.dedup();
    assert_eq!(seen.len(), 4, "each key is a new one");
    assert_eq!(worker.context.state.counts().registrations, 2);
}

#[tokio::test]
async fn an_account_whose_rollover_got_no_answer_is_looked_at_before_it_is_used_again() {
    let ca = null_ca(Config { faults: vec!["keyChange=500:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |_, _| {}).await;
    register(&mut worker).await;
    assert_eq!(steps(&worker.fail(Chain::KeyRollover, FailureClass::ServerError).await), ["keyChange 500"]);
    let second = worker.fail(Chain::KeyRollover, FailureClass::ServerError).await;
    assert_eq!(steps(&second), ["newAccount 200", "keyChange 500"]);

    // The CA has carried out a change whose key nobody has any more.
    let claim = worker.context.state.claim_registration().unwrap();
    let lost = wec_acme::AccountKey::generate().unwrap();
    let healthy = null_ca(Config::default());
    let mut worker = self::worker(&healthy, |_, _| {}).await;
    drop(claim);
    register(&mut worker).await;
    let claim = worker.context.state.claim_registration().unwrap();
    let mut trace = Trace::new(worker.context.clock);
    worker.context.client.change_key(&mut trace, &claim.registration.account, &lost).await.unwrap();
    drop(claim);
    let result = worker.run(Chain::KeyRollover).await;
    assert_eq!(steps(&result), ["newAccount 400"]);
    assert!(result.successful && result.abandoned, "it is no failure of the CA: {}", result.error);
    assert_eq!(worker.context.state.counts().registrations, 1);
    assert!(worker.has_nothing_to_do(Chain::KeyRollover).await);
}

#[tokio::test]
async fn an_account_gets_other_contacts() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.contact = vec!["mailto:ops@ca.test".into()]).await;
    register(&mut worker).await;
    worker.succeed(Chain::AccountUpdate).await;
    let claim = worker.context.state.claim_registration().unwrap();
    let mut trace = Trace::new(worker.context.clock);
    let shown = worker.context.client.account(&mut trace, &claim.registration.account).await.unwrap();
    let contact = &shown.contact[0];
    assert!(contact.starts_with("mailto:ops+") && contact.ends_with("@ca.test"), "{contact}");
    claim.release();
    // The CA's refusal leaves the account as it was.
    worker.policy(|policy| policy.contact = vec!["tel:+1-555".into()]);
    let refused = worker.fail(Chain::AccountUpdate, FailureClass::Problem).await;
    assert_eq!(last_problem(&refused), "unsupportedContact");
    assert!(!worker.context.state.claim_registration().unwrap().suspect);
}

#[tokio::test]
async fn a_deactivated_account_is_over_at_the_ca_and_in_the_state() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    register(&mut worker).await;
    let account = {
        let claim = worker.context.state.claim_registration().unwrap();
        let account = claim.registration.account.clone();
        claim.release();
        account
    };
    assert_eq!(steps(&worker.succeed(Chain::AccountDeactivation).await), ["account 200"]);
    assert_eq!(worker.context.state.counts().registrations, 1);
    assert!(worker.has_nothing_to_do(Chain::AccountDeactivation).await);
    let mut trace = Trace::new(worker.context.clock);
    let refused = worker.context.client.account(&mut trace, &account).await.unwrap_err();
    assert!(refused.problem.unwrap().is("unauthorized"));
    // Shared accounts are never deactivated.
    worker.succeed(Chain::Authorization).await;
}

#[tokio::test]
async fn the_second_deactivation_of_a_suspect_account_is_a_success() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    for (suspect, class) in [(true, None), (false, Some(FailureClass::Problem))] {
        register_another(&mut worker).await;
        let claim = worker.context.state.claim_registration().unwrap();
        let mut trace = Trace::new(worker.context.clock);
        worker.context.client.deactivate_account(&mut trace, &claim.registration.account).await.unwrap();
        if suspect {
            drop(claim)
        } else {
            claim.release()
        }
        let result = worker.run(Chain::AccountDeactivation).await;
        assert_eq!(result.class, class, "{}", result.error);
        assert_eq!(last_problem(&result), "unauthorized");
        assert!(worker.has_nothing_to_do(Chain::AccountDeactivation).await, "it is dropped");
    }
}

/// Registers until there is an account that chains claim.
async fn register_another(worker: &mut Worker) {
    let _ = worker.context.state.claim_registration();
    while !worker.context.state.available().exclusive_registrations {
        worker.succeed(Chain::Registration).await;
    }
}

#[tokio::test]
async fn at_most_every_second_account_is_for_one_chain_alone_and_only_if_chains_claim_them() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    for _ in 0..3 {
        worker.succeed(Chain::Registration).await;
    }
    assert!(worker.has_nothing_to_do(Chain::KeyRollover).await, "nobody had asked for one");
    for made in 1..=3 {
        worker.succeed(Chain::Registration).await;
        worker.succeed(Chain::Registration).await;
        worker.succeed(Chain::KeyRollover).await;
        let claims: Vec<_> = std::iter::from_fn(|| worker.context.state.claim_registration()).collect();
        assert_eq!(claims.len(), made);
        claims.into_iter().for_each(wec_store::Claim::release);
    }
}

#[tokio::test]
async fn pending_and_valid_authorizations_are_deactivated() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (2..=2).into()).await;
    worker.succeed(Chain::Registration).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(steps(&worker.succeed(Chain::AuthorizationDeactivation).await));
    }
    seen.sort();
    seen.dedup();
    let pending = ["newOrder 201", "authorization 200", "authorization 200"];
    let validating = [
        "newOrder 201",
        "authorization 200",
        "challenge 200",
        "authorization 200",
        "challenge 200",
        "order 200",
        "authorization 200",
        "authorization 200",
    ];
    assert_eq!(seen, [&pending[..], &validating]);
    assert_eq!(worker.context.state.counts().authorizations, 0, "nothing is stored");
}

#[tokio::test]
async fn the_whole_list_of_an_accounts_orders_is_read() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    assert_eq!(steps(&worker.succeed(Chain::OrdersList).await), ["account 200", "orders 200"]);
    for _ in 0..51 {
        worker.succeed(Chain::Authorization).await;
    }
    let result = worker.succeed(Chain::OrdersList).await;
    assert_eq!(steps(&result), ["account 200", "orders 200", "orders 200"], "fifty are on a page");
    assert_eq!(result.requests.last().unwrap().uri, "/account/{id}/orders/{id}");
}

#[tokio::test]
async fn a_pre_authorization_makes_its_order_ready_at_once() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (2..=2).into()).await;
    worker.succeed(Chain::Registration).await;
    let result = worker.succeed(Chain::PreAuthorization).await;
    assert_eq!(
        steps(&result),
        ["newAuthz 201", "newAuthz 201", "challenge 200", "challenge 200", "newOrder 201"]
    );
    assert_eq!(result.authorizations.len(), 2);
    assert!(result.authorizations.iter().all(|authorization| authorization.settled > 0));
    assert_eq!(worker.context.state.counts().authorizations, 1);
    worker.succeed(Chain::Certificate).await;
}

#[tokio::test]
async fn a_pre_authorization_that_the_ca_decides_later_is_polled() {
    let mut config = Config::default();
    config.validation.delay = "100ms".parse().unwrap();
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    let result = worker.succeed(Chain::PreAuthorization).await;
    let polls = result.requests.iter().filter(|request| request.purpose == wec_record::Purpose::Poll);
    assert!(polls.count() > 0);
    assert_eq!(steps(&result), ["newAuthz 201", "challenge 200", "newOrder 201"]);
}

#[tokio::test]
async fn a_renewal_window_is_read_alone_and_the_certificate_stays_free() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::RenewalInfo).await;
    for _ in 0..2 {
        let result = worker.succeed(Chain::RenewalInfo).await;
        assert_eq!(steps(&result), ["renewalInfo 200"]);
        assert!(!result.serial.is_empty());
    }
    assert!(!worker.context.state.claim_certificate().unwrap().suspect);
}

#[tokio::test]
async fn a_certificate_is_downloaded_again_with_each_chain() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Download).await;
    worker.succeed(Chain::Refresh).await;
    assert_eq!(steps(&worker.succeed(Chain::Download).await), ["certificate 200"]);
    let result = worker.succeed(Chain::AlternateChains).await;
    assert_eq!(steps(&result), ["certificate 200", "certificate 200"]);
    assert_eq!(result.requests[1].uri, "/certificate/{id}/{id}");
    assert!(!worker.context.state.claim_certificate().unwrap().suspect);
}

/// A CA that keeps two certificates has another one under an old URL only if it is broken: so the stored one is
/// exchanged.
#[tokio::test]
async fn another_certificate_under_the_same_url_is_wrong() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| {}).await;
    prepare(&mut worker, Chain::Download).await;
    let claim = worker.context.state.claim_certificate().unwrap();
    let registration = claim.registration.clone();
    let changed = wec_store::NewCertificate {
        issuer: claim.issuer.clone(),
        serial: "01".into(),
        ari_id: claim.ari_id.clone(),
        names: claim.names.clone(),
        leaf_der: b"another".to_vec(),
        pem: claim.pem(),
        key_pkcs8: claim.key_pkcs8.clone(),
        not_before_unix: claim.not_before_unix,
        not_after_unix: claim.not_after_unix,
        url: claim.url.clone(),
    };
    let room = worker.context.state.reserve(wec_store::Object::Certificate).unwrap();
    worker.context.state.certificate_replaced(claim, room, &registration, changed).await;
    for chain in [Chain::Download, Chain::AlternateChains] {
        let result = worker.fail(chain, FailureClass::WrongCertificate).await;
        assert_eq!(result.detail, "changed", "{}", result.error);
    }
}

#[tokio::test]
async fn another_account_revokes_with_authorizations_for_the_names() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| {
        policy.choices.names = (2..=2).into();
        policy.choices.revoke_by_certificate_key = 0.0;
        policy.choices.revoke_by_other_account = 1.0;
    })
    .await;
    prepare(&mut worker, Chain::Revoke).await;
    let result = worker.succeed(Chain::Revoke).await;
    assert_eq!(steps(&result), ["revokeCert 200"], "its own account, while there is no other");

    prepare(&mut worker, Chain::Revoke).await;
    let owner = worker.context.state.claim_certificate().unwrap();
    let owned_by = owner.registration.id;
    owner.release();
    let result = worker.succeed(Chain::Revoke).await;
    assert_eq!(steps(&result).first().map(String::as_str), Some("newOrder 201"));
    assert_eq!(steps(&result).last().map(String::as_str), Some("revokeCert 200"));
    assert_eq!(result.authorizations.len(), 2);
    assert_eq!(ca.counters().revocations, 2);
    let others = worker.context.state.newest_registrations(10);
    assert!(others.iter().any(|registration| registration.id != owned_by));
}

#[tokio::test]
async fn a_certificate_stays_when_another_account_gets_no_authorization_for_it() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| {
        policy.choices.revoke_by_certificate_key = 0.0;
        policy.choices.revoke_by_other_account = 1.0;
    })
    .await;
    worker.succeed(Chain::Registration).await;
    prepare(&mut worker, Chain::Revoke).await;
    let broken = null_ca(Config { faults: vec!["newOrder=500:1".parse().unwrap()], ..Config::default() });
    // The same state, at a CA that takes no orders.
    let mut other = self::worker(&broken, |_, policy| {
        policy.choices.revoke_by_certificate_key = 0.0;
        policy.choices.revoke_by_other_account = 1.0;
    })
    .await;
    other.context.state = worker.context.state.clone();
    let result = other.run(Chain::Revoke).await;
    assert!(!result.successful && steps(&result).iter().all(|step| !step.starts_with("revokeCert")));
    assert!(!worker.context.state.claim_certificate().unwrap().suspect);
}

#[tokio::test]
async fn an_interrupted_rollover_leaves_a_suspect_account() {
    let ca = null_ca(Config { faults: vec!["keyChange=silence:1".parse().unwrap()], ..Config::default() });
    let mut worker = worker(&ca, |client, _| client.request_timeout = Duration::from_secs(1)).await;
    register(&mut worker).await;
    worker.fail(Chain::KeyRollover, FailureClass::Timeout).await;
    assert!(worker.context.state.claim_registration().unwrap().suspect);
}
