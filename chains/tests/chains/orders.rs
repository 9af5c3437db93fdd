//! Orders of every shape: kinds and numbers of names, common names, repeated names, several external accounts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use wec_acme::{ExternalAccount, Roots};
use wec_chains::{Chain, Mix, NameKind};
use wec_null_ca::Config;
use wec_record::{ChallengeType, FailureClass, Identifier};
use wec_store::MemoryChallenges;
use wec_testbed::PebbleOptions;

use crate::common::{Answering, Worker, steps};
use crate::null_ca::{null_ca, worker};

/// The names of the certificate that the worker makes next.
async fn issued(worker: &mut Worker) -> Vec<String> {
    worker.succeed(Chain::Authorization).await;
    worker.succeed(Chain::Certificate).await;
    let claim = worker.context.state.claim_certificate().unwrap();
    let names = claim.names.clone();
    worker.context.state.certificate_gone(claim, "seen").await;
    names
}

#[tokio::test]
async fn certificates_of_every_kind_of_name_are_issued_and_checked() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| {
        policy.choices.names = (2..=2).into();
        policy.choices.ip_networks = "127.0.0.0/8".parse().unwrap();
    })
    .await;
    worker.succeed(Chain::Registration).await;
    for kind in NameKind::ALL {
        worker.policy(|policy| policy.choices.name_kinds = vec![kind].into());
        let names = issued(&mut worker).await;
        for name in &names {
            let identifier = Identifier::of(name);
            match kind {
                NameKind::Wildcard => assert!(matches!(identifier, Identifier::Wildcard(_)), "{name}"),
                NameKind::Ipv4 | NameKind::Ipv6 => assert!(matches!(identifier, Identifier::Ip(_)), "{name}"),
                NameKind::Longest => assert_eq!(name.len(), 237, "{name}"),
                NameKind::Idn => assert!(name.starts_with("xn--"), "{name}"),
                NameKind::Plain | NameKind::MixedCase => assert!(name.ends_with(".wec.test"), "{name}"),
            }
        }
        // ::1 is the only address of its network.
        assert_eq!(names.len(), if kind == NameKind::Ipv6 { 1 } else { 2 }, "{kind}");
    }
}

#[tokio::test]
async fn numbers_of_names_are_drawn_by_their_weights() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.names = "1:6,3:3,100:1".parse().unwrap()).await;
    worker.succeed(Chain::Registration).await;
    let mut counts = Vec::new();
    for _ in 0..60 {
        counts.push(worker.succeed(Chain::Authorization).await.authorizations.len());
    }
    let of = |number| counts.iter().filter(|count| **count == number).count();
    assert_eq!(of(1) + of(3) + of(100), 60);
    assert!(of(1) > of(3) && of(3) > of(100) && of(100) > 0, "{counts:?}");
}

#[tokio::test]
async fn a_repeated_order_has_the_names_of_a_certificate() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| {
        policy.choices.names = (2..=2).into();
        policy.choices.plain.common_name = 1.0;
    })
    .await;
    for chain in [Chain::Registration, Chain::Authorization, Chain::Certificate] {
        worker.succeed(chain).await;
    }
    worker.policy(|policy| policy.choices.plain.repeat_names = 1.0);
    worker.succeed(Chain::Authorization).await;
    worker.succeed(Chain::Certificate).await;
    let claims = [(); 2].map(|()| worker.context.state.claim_certificate().unwrap());
    assert_eq!(claims[0].names, claims[1].names);
    assert_ne!(claims[0].serial, claims[1].serial);
}

#[tokio::test]
async fn new_accounts_are_bound_to_each_external_account() {
    let key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ";
    let external = |kid: &str| {
        serde_json::from_value::<wec_null_ca::ExternalAccount>(
            serde_json::json!({ "kid": kid, "hmac_key": key }),
        )
    };
    let external_accounts = ["kid-1", "kid-2"].map(|kid| external(kid).unwrap()).into();
    let ca = null_ca(Config { external_accounts, ..Config::default() });
    let mut worker = worker(&ca, |_, policy| {
        policy.external_accounts =
            ["kid-1", "kid-2", "kid-3"].map(|kid| ExternalAccount::new(kid, key).unwrap()).into();
    })
    .await;
    // The third is not known to the CA, so a third of the registrations is refused.
    let mut seen = HashSet::new();
    for _ in 0..30 {
        seen.insert(worker.run(Chain::Registration).await.successful);
    }
    assert_eq!(seen.len(), 2, "each is used");
}

#[tokio::test]
async fn each_order_can_have_its_own_account() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.plain.new_account = 1.0).await;
    worker.succeed(Chain::Registration).await;
    for _ in 0..3 {
        assert_eq!(
            steps(&worker.succeed(Chain::Authorization).await)[..2],
            ["newAccount 201", "newOrder 201"]
        );
    }
    assert_eq!(ca.counters().accounts, 4);
    assert_eq!(worker.context.state.counts().registrations, 4);
}

#[tokio::test]
async fn a_ca_without_validities_names_the_setting_when_it_refuses() {
    let ca = null_ca(Config::default());
    let day = Duration::from_secs(86_400);
    let mut worker = worker(&ca, |_, policy| policy.choices.validity = Some(day)).await;
    worker.succeed(Chain::Registration).await;
    let refused = worker.fail(Chain::Authorization, FailureClass::Problem).await;
    assert!(refused.error.contains("notBefore and notAfter (--validity)"), "{}", refused.error);
}

/// Pebble validates wildcards by DNS and addresses by HTTP, and lower-cases names.
#[tokio::test]
async fn pebble_issues_for_every_kind_of_name() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let pebble = answering.pebble(PebbleOptions::default()).await;
    let roots = Roots::Pem(pebble.ca_pem().unwrap());
    let mut worker = Worker::of(&pebble.directory_url(), roots, challenges, |_, policy| {
        policy.choices.plain.common_name = 0.5;
    })
    .await;
    worker.succeed(Chain::Registration).await;
    for kind in NameKind::ALL.into_iter().filter(|kind| *kind != NameKind::Ipv6) {
        for challenge in kind.challenge_types().iter().filter(|challenge| !challenge.is_draft()) {
            worker.policy(|policy| {
                policy.choices.name_kinds = Mix::even([kind]);
                policy.choices.challenges = Mix::<ChallengeType>::even([*challenge]);
            });
            let names = issued(&mut worker).await;
            assert_eq!(names.len(), 1, "{kind} {challenge}");
        }
    }
    let day = Duration::from_secs(86_400);
    worker.policy(|policy| policy.choices.validity = Some(day));
    for chain in [Chain::Authorization, Chain::Certificate] {
        worker.succeed(chain).await;
    }
    let claim = worker.context.state.claim_certificate().unwrap();
    assert_eq!(claim.not_after_unix - claim.not_before_unix, 86_400);
}
