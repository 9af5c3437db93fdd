//! Validations that fail on purpose or take a detour, at CAs that really ask and at one that does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wec_acme::Roots;
use wec_chains::{Chain, Mix, NameKind};
use wec_null_ca::{Config, NullCa, Validation};
use wec_record::{ChallengeType, FailureClass, Verdict};
use wec_store::{MemoryChallenges, ValidationFault};
use wec_testbed::PebbleOptions;

use crate::common::{Answering, Worker};
use crate::null_ca::{null_ca, worker};

/// For each fault that ends at once, the CA decides rightly, and the next order is as any other.
async fn fails_rightly(worker: &mut Worker, answering: &Answering, challenges: &[ChallengeType]) {
    worker.succeed(Chain::Registration).await;
    for challenge in challenges.iter().copied() {
        let ends_at_once = |fault: &ValidationFault| {
            fault.is_possible(challenge) && !matches!(fault, ValidationFault::Silence | ValidationFault::Slow)
        };
        for fault in ValidationFault::ALL.into_iter().filter(ends_at_once) {
            worker.policy(|policy| {
                policy.choices.names = (2..=2).into();
                policy.choices.challenges = Mix::even([challenge]);
                policy.choices.fail_validations = 1.0;
                policy.choices.validation_faults = Mix::even([fault]);
            });
            let faulted = || answering.server.hits().counts().of(challenge, Verdict::Faulted);
            let before = faulted();
            let result = worker.succeed(Chain::Authorization).await;
            assert!(result.abandoned && !result.issued, "{challenge} {fault}");
            assert!(faulted() > before, "{challenge} {fault}");
            assert_eq!(worker.context.state.counts().authorizations, 0, "{challenge} {fault}");
        }
        worker.policy(|policy| policy.choices.fail_validations = 0.0);
        worker.succeed(Chain::Authorization).await;
        worker.succeed(Chain::Certificate).await;
    }
}

/// Each validation of the other types has a detour.
async fn takes_detours(worker: &mut Worker, answering: &Answering) {
    for challenge in [ChallengeType::Http01, ChallengeType::Dns01] {
        worker.policy(|policy| {
            policy.choices.challenges = Mix::even([challenge]);
            policy.choices.plain.detours = 1.0;
        });
        let before = answering.answered(challenge);
        worker.succeed(Chain::Authorization).await;
        // Two names, each with a redirect and its target.
        let expected = if challenge == ChallengeType::Http01 { 4 } else { 2 };
        assert!(answering.answered(challenge) >= before + expected, "{challenge}");
    }
}

#[tokio::test]
async fn the_built_in_ca_decides_rightly_about_each_fault() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let at = answering.server.addresses();
    let validation = Validation {
        http01: at.http01,
        tls_alpn01: at.tls_alpn01,
        dns01: at.dns,
        drafts: true,
        ..Validation::default()
    };
    let ca = NullCa::start(Config { validation, ..Config::default() }).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let mut worker = Worker::of(ca.directory_url(), roots, challenges, |_, _| {}).await;
    fails_rightly(&mut worker, &answering, &ChallengeType::ALL).await;
    // A wildcard's record must say that it is for one.
    worker.policy(|policy| policy.choices.name_kinds = Mix::even([NameKind::Wildcard]));
    for challenge in [ChallengeType::DnsAccount01, ChallengeType::DnsPersist01] {
        worker.policy(|policy| policy.choices.challenges = Mix::even([challenge]));
        let before = answering.answered(challenge);
        worker.succeed(Chain::Authorization).await;
        assert_eq!(answering.answered(challenge), before + 2, "{challenge}");
    }
}

/// Faults that last until the CA gives up.
#[tokio::test]
async fn the_built_in_ca_gives_up_on_silence_and_on_slow_answers() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let at = answering.server.addresses();
    let validation = Validation {
        http01: at.http01,
        tls_alpn01: at.tls_alpn01,
        dns01: at.dns,
        give_up: Duration::from_millis(300),
        ..Validation::default()
    };
    let ca = NullCa::start(Config { validation, ..Config::default() }).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let mut worker = Worker::of(ca.directory_url(), roots, challenges, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    let mut seen = 0;
    for challenge in ChallengeType::STANDARD {
        let lasting = [ValidationFault::Silence, ValidationFault::Slow].into_iter();
        for fault in lasting.filter(|fault| fault.is_possible(challenge)) {
            worker.policy(|policy| {
                policy.choices.challenges = Mix::even([challenge]);
                policy.choices.fail_validations = 1.0;
                policy.choices.validation_faults = Mix::even([fault]);
            });
            let faulted = || answering.server.hits().counts().of(challenge, Verdict::Faulted);
            let before = faulted();
            let result = worker.succeed(Chain::Authorization).await;
            assert!(result.abandoned && !result.issued, "{challenge} {fault}");
            assert!(faulted() > before, "{challenge} {fault}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} kinds and challenge types");
}

#[tokio::test]
async fn a_ca_that_checks_caa_refuses_what_the_records_do_not_permit() {
    let challenges = Arc::new(MemoryChallenges::new());
    let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = wec_challenge_server::Config {
        http01: any,
        dns: any,
        default_ipv4: Some(Ipv4Addr::LOCALHOST),
        caa: "issue null-ca.test; validationmethods=dns-01 | issuewild ;".parse().unwrap(),
        ..Default::default()
    };
    let answering = Answering::from(challenges.clone(), config).await;
    let at = answering.server.addresses();
    let validation = Validation { http01: at.http01, dns01: at.dns, caa: at.dns, ..Validation::default() };
    let ca = NullCa::start(Config { validation, ..Config::default() }).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let mut worker = Worker::of(ca.directory_url(), roots, challenges, |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    worker.policy(|policy| policy.choices.challenges = Mix::even([ChallengeType::Dns01]));
    worker.succeed(Chain::Authorization).await;
    worker.policy(|policy| policy.choices.name_kinds = Mix::even([NameKind::Wildcard]));
    let refused = worker.fail(Chain::Authorization, FailureClass::Validation).await;
    assert!(refused.error.contains("no issuewild names null-ca.test"), "{}", refused.error);
    worker.policy(|policy| {
        policy.choices.name_kinds = Mix::even([NameKind::Plain]);
        policy.choices.challenges = Mix::even([ChallengeType::Http01]);
    });
    let refused = worker.fail(Chain::Authorization, FailureClass::Validation).await;
    assert!(refused.error.contains("validationmethods has no http-01"), "{}", refused.error);
}

#[tokio::test]
async fn pebble_decides_rightly_about_each_fault() {
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(challenges.clone()).await;
    let pebble = answering.pebble(PebbleOptions::default()).await;
    let roots = Roots::Pem(pebble.ca_pem().unwrap());
    let mut worker = Worker::of(&pebble.directory_url(), roots, challenges, |_, _| {}).await;
    fails_rightly(&mut worker, &answering, &ChallengeType::STANDARD).await;
    takes_detours(&mut worker, &answering).await;
}

#[tokio::test]
async fn a_ca_that_does_not_look_accepts_what_must_fail() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.fail_validations = 1.0).await;
    worker.succeed(Chain::Registration).await;
    for chain in [Chain::Authorization, Chain::PreAuthorization] {
        let result = worker.fail(chain, FailureClass::Accepted).await;
        assert!(result.detail.parse::<ValidationFault>().is_ok(), "{}", result.detail);
        assert!(result.requests.iter().all(|request| request.successful));
    }
}
