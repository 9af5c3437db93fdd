//! Chains against Caddy's `acme_server`, which decides within the challenge's POST, answers finalize with a valid order,
//! writes problems without a status and has one token for all challenges of an authorization.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;

use wec_acme::{HttpVersion, Roots};
use wec_chains::{Chain, Connections, Context, Mix, NameKind};
use wec_record::{ChallengeType, FailureClass, Purpose};
use wec_store::MemoryChallenges;
use wec_testbed::{Caddy, Standard};

use crate::common::{Answering, Worker, every_shape_and_behaviour, steps};

#[tokio::test]
async fn all_chains_run_by_each_challenge_type() {
    all_chains_run(HttpVersion::Http1, Connections::Shared).await;
}

#[tokio::test]
async fn all_chains_run_over_http_2() {
    all_chains_run(HttpVersion::Http2, Connections::PerWorker).await;
}

async fn all_chains_run(http: HttpVersion, connections: Connections) {
    let standard = Standard::reserve().unwrap();
    let challenges = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_standard_ports(&standard, challenges.clone()).await;
    let caddy = Caddy::start(&standard).await.unwrap();
    let roots = Roots::Pem(caddy.ca_pem().unwrap());
    let mut worker = Worker::of(&caddy.directory_url(), roots, challenges, |client, policy| {
        client.http = http;
        policy.choices.connections = connections;
    })
    .await;
    worker.context = Context::clone(&Arc::new(worker.context).for_worker());

    worker.succeed(Chain::Registration).await;
    for kind in ChallengeType::STANDARD {
        worker.policy(|policy| policy.choices.challenges = vec![kind].into());
        let authorization = worker.succeed(Chain::Authorization).await;
        assert!(answering.answered(kind) > 0, "{kind}: no validation arrived");
        assert_eq!(
            steps(&authorization),
            ["newOrder 201", "authorization 200", "challenge 200", "order 200"],
            "{kind}: there is nothing to poll"
        );
        let certificate = worker.succeed(Chain::Certificate).await;
        assert_eq!(steps(&certificate), ["finalize 200", "certificate 200"]);
        let polls = authorization.requests.iter().chain(&certificate.requests);
        assert_eq!(polls.filter(|request| request.purpose == Purpose::Poll).count(), 0);
        worker.succeed(Chain::Refresh).await;
    }
    for share in [0.0, 1.0] {
        worker.policy(|policy| policy.choices.revoke_by_certificate_key = share);
        worker.succeed(Chain::Revoke).await;
    }
    // Its keyChange is a stub, and it refuses to deactivate authorizations and revocations by other accounts.
    assert!(worker.has_nothing_to_do(Chain::KeyRollover).await);
    worker.succeed(Chain::Registration).await;
    let refused = worker.fail(Chain::KeyRollover, FailureClass::ServerError).await;
    assert_eq!(steps(&refused), ["keyChange 501"]);
    assert_eq!(steps(&worker.succeed(Chain::AccountUpdate).await), ["newAccount 200", "account 200"]);
    assert_eq!(steps(&worker.succeed(Chain::AccountDeactivation).await), ["account 200"]);
    // Its list of orders is a bare array.
    assert_eq!(steps(&worker.succeed(Chain::OrdersList).await), ["account 200", "orders 200"]);
    for chain in [Chain::Download, Chain::AlternateChains] {
        assert_eq!(steps(&worker.succeed(chain).await), ["certificate 200"]);
    }
    let stored = worker.context.state.counts();
    assert_eq!((stored.certificates, stored.revoked), (1, 2));
}

#[tokio::test]
async fn serves_every_shape_of_order_every_behaviour_and_a_chain_of_ones_own() {
    let standard = Standard::reserve().unwrap();
    let challenges = Arc::new(MemoryChallenges::new());
    let _answering = Answering::on_standard_ports(&standard, challenges.clone()).await;
    let caddy = Caddy::start(&standard).await.unwrap();
    let roots = Roots::Pem(caddy.ca_pem().unwrap());
    let mut worker = Worker::of(&caddy.directory_url(), roots, challenges, |_, _| {}).await;
    every_shape_and_behaviour(&mut worker).await;
    worker.policy(|policy| policy.choices.names = (1..=1).into());
    // It takes orders for addresses, and does not decide about them.
    let decided = |kind: &NameKind| !matches!(kind, NameKind::Ipv4 | NameKind::Ipv6);
    for kind in NameKind::ALL.into_iter().filter(decided) {
        for challenge in kind.challenge_types().iter().filter(|challenge| !challenge.is_draft()) {
            worker.policy(|policy| {
                policy.choices.name_kinds = Mix::even([kind]);
                policy.choices.challenges = Mix::<ChallengeType>::even([*challenge]);
            });
            for chain in [Chain::Authorization, Chain::Certificate] {
                let result = worker.run(chain).await;
                assert!(result.successful, "{kind} {challenge}: {}", result.error);
            }
        }
    }
}
