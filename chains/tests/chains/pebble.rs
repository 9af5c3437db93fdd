//! Chains against a real Pebble, which validates at our challenge server.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;

use wec_acme::{ExternalAccount, HttpVersion, KeyPool, KeyType, Roots};
use wec_chains::{Chain, ChainResult, Connections, Policy};
use wec_record::{ChallengeType, FailureClass, Purpose};
use wec_store::{ChallTestSrvWriter, MemoryChallenges, RedisChallenges};
use wec_testbed::{ChallTestSrv, Pebble, PebbleOptions, Redis};

use crate::common::{Answering, Worker, every_shape_and_behaviour, requests_in, steps};

/// A Pebble that validates at a challenge server with the worker's data.
struct World {
    worker: Worker,
    answering: Answering,
    pebble: Pebble,
}

impl World {
    async fn with(options: PebbleOptions, set: impl FnOnce(&mut Policy)) -> Self {
        let challenges = Arc::new(MemoryChallenges::new());
        let answering = Answering::on_loopback(challenges.clone()).await;
        let pebble = answering.pebble(options).await;
        let worker = worker(&pebble, challenges, set).await;
        Self { worker, answering, pebble }
    }

    /// A registration, then `rounds` times all other chains; none may fail.
    async fn rounds(&mut self, rounds: usize) -> Vec<ChainResult> {
        let mut results = vec![self.worker.succeed(Chain::Registration).await];
        for _ in 0..rounds {
            for chain in [Chain::Authorization, Chain::Certificate, Chain::Refresh, Chain::Revoke] {
                results.push(self.worker.succeed(chain).await);
            }
        }
        results
    }
}

#[tokio::test]
async fn issues_renews_and_revokes_with_keys_of_each_type_as_a_stranger_each_time() {
    let keys = Arc::new(KeyPool::generate([KeyType::Rsa2048]).unwrap());
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let challenges = Arc::new(MemoryChallenges::new());
        let answering = Answering::on_loopback(challenges.clone()).await;
        let pebble = answering.pebble(PebbleOptions::default()).await;
        let roots = Roots::Pem(pebble.ca_pem().unwrap());
        let mut worker = Worker::of(&pebble.directory_url(), roots, challenges, |client, policy| {
            client.http = http;
            policy.keys = keys.clone();
            policy.choices.connections = Connections::PerChain;
        })
        .await;
        worker.succeed(Chain::Registration).await;
        for kind in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            for share in [0.0, 1.0] {
                worker.policy(|policy| {
                    policy.choices.key_types = vec![kind].into();
                    policy.choices.revoke_by_certificate_key = share;
                });
                for chain in [Chain::Authorization, Chain::Certificate, Chain::Refresh, Chain::Revoke] {
                    let result = worker.succeed(chain).await;
                    assert_eq!(steps(&result)[0], "directory 200", "{chain}");
                    let opened = result.requests.iter().filter(|request| !request.reused).count();
                    assert_eq!(opened, 1, "{chain}: {:#?}", result.requests);
                }
            }
        }
        assert_eq!(worker.context.state.counts().revoked, 6);
    }
}

async fn worker(pebble: &Pebble, challenges: Arc<MemoryChallenges>, set: impl FnOnce(&mut Policy)) -> Worker {
    let roots = Roots::Pem(pebble.ca_pem().unwrap());
    Worker::of(&pebble.directory_url(), roots, challenges, |_, policy| set(policy)).await
}

fn refused_nonces(results: &[ChainResult]) -> usize {
    results.iter().map(|result| requests_in(result, FailureClass::BadNonce)).sum()
}

/// Pebble's defaults: 5 % of nonces rejected, half of the authorizations reused. One challenge type.
async fn issues_by(challenge: ChallengeType) {
    let mut world = World::with(PebbleOptions::default(), |policy| {
        policy.choices.challenges = vec![challenge].into();
        policy.choices.names = (2..=2).into();
    })
    .await;
    let results = world.rounds(3).await;
    let challenges = results
        .iter()
        .flat_map(|result| &result.requests)
        .filter(|request| request.endpoint == "challenge" && request.successful)
        .count();
    assert!(challenges >= 6, "two names in each of three rounds");
    // Pebble validates each challenge three times.
    for kind in ChallengeType::STANDARD {
        let hits = world.answering.answered(kind);
        if kind == challenge {
            assert!(hits >= challenges as u64, "{hits} hits for {challenges} challenges");
        } else {
            assert_eq!(hits, 0, "{kind}");
        }
    }
    assert_eq!(world.worker.context.state.counts().revoked, 3);
}

#[tokio::test]
async fn issues_by_http_01() {
    issues_by(ChallengeType::Http01).await;
}

#[tokio::test]
async fn issues_by_tls_alpn_01() {
    issues_by(ChallengeType::TlsAlpn01).await;
}

#[tokio::test]
async fn issues_by_dns_01() {
    issues_by(ChallengeType::Dns01).await;
}

#[tokio::test]
async fn issues_with_the_challenge_data_in_redis() {
    let redis = Redis::start().await.unwrap();
    let [reader, writer] =
        [redis.url(), redis.url()].map(async |url| Arc::new(RedisChallenges::connect(&url).await.unwrap()));
    // The challenge server and the worker share only Redis.
    let answering = Answering::on_loopback(reader.await).await;
    let pebble = answering.pebble(PebbleOptions::default()).await;
    let mut worker = worker(&pebble, Arc::default(), |_| {}).await;
    worker.context.challenges = writer.await;
    worker.succeed(Chain::Registration).await;
    for kind in ChallengeType::STANDARD {
        worker.policy(|policy| policy.choices.challenges = vec![kind].into());
        worker.succeed(Chain::Authorization).await;
        assert!(answering.answered(kind) > 0, "{kind}");
    }
}

#[tokio::test]
async fn issues_through_a_challtestsrv() {
    let server = ChallTestSrv::start().await.unwrap();
    let pebble = Pebble::start(PebbleOptions {
        http_port: server.http01.port(),
        tls_port: server.tlsalpn01.port(),
        dns: Some(server.dns),
        ..PebbleOptions::default()
    })
    .await
    .unwrap();
    let mut worker = worker(&pebble, Arc::default(), |_| {}).await;
    worker.context.challenges = Arc::new(ChallTestSrvWriter::new(&server.management_url()).unwrap());
    worker.succeed(Chain::Registration).await;
    for kind in ChallengeType::STANDARD {
        worker.policy(|policy| policy.choices.challenges = vec![kind].into());
        worker.succeed(Chain::Authorization).await;
        worker.succeed(Chain::Certificate).await;
    }
}

#[tokio::test]
async fn draws_challenge_types_and_numbers_of_names() {
    let mut world =
        World::with(PebbleOptions::default(), |policy| policy.choices.names = (1..=4).into()).await;
    let results = world.rounds(6).await;
    for kind in ChallengeType::STANDARD {
        assert!(world.answering.answered(kind) > 0, "{kind}");
    }
    let mut looks: Vec<usize> = results
        .iter()
        .filter(|result| result.chain == Some(Chain::Authorization))
        .map(|result| steps(result).iter().filter(|step| *step == "authorization 200").count())
        .collect();
    looks.sort_unstable();
    looks.dedup();
    assert!(looks.len() > 1, "the number of names varies: {looks:?}");
}

#[tokio::test]
async fn needs_no_retry_when_no_nonce_is_refused() {
    let options = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let mut world = World::with(options, |_| {}).await;
    let results = world.rounds(2).await;
    assert_eq!(refused_nonces(&results), 0);
    let retries = results.iter().flat_map(|result| &result.requests);
    assert_eq!(retries.filter(|request| request.purpose == Purpose::Retry).count(), 0);
}

#[tokio::test]
async fn succeeds_when_half_of_the_nonces_are_refused() {
    let options = PebbleOptions { nonce_reject: 50, ..PebbleOptions::default() };
    let mut world = World::with(options, |_| {}).await;
    let results = world.rounds(3).await;
    assert!(refused_nonces(&results) > 5);
}

#[tokio::test]
async fn a_renewal_whose_authorizations_are_all_reused_goes_straight_to_finalize() {
    let options = PebbleOptions { nonce_reject: 0, authz_reuse: 100, ..PebbleOptions::default() };
    let mut world = World::with(options, |_| {}).await;
    for chain in [Chain::Registration, Chain::Authorization, Chain::Certificate] {
        world.worker.succeed(chain).await;
    }
    let hits = world.answering.server.hits().counts().total();
    let result = world.worker.succeed(Chain::Refresh).await;
    assert!(!steps(&result).iter().any(|step| step.starts_with("challenge")), "{:?}", steps(&result));
    assert_eq!(world.answering.server.hits().counts().total(), hits);
}

#[tokio::test]
async fn binds_accounts_to_an_external_one() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let options = PebbleOptions {
        external_account: Some(("kid-1".to_owned(), key.to_owned())),
        ..PebbleOptions::default()
    };
    let mut world = World::with(options, |_| {}).await;
    let result = world.worker.fail(Chain::Registration, FailureClass::Problem).await;
    assert_eq!(result.requests.last().unwrap().problem, "externalAccountRequired");
    world
        .worker
        .policy(|policy| policy.external_accounts = vec![ExternalAccount::new("kid-1", key).unwrap()]);
    world.rounds(1).await;
}

#[tokio::test]
async fn a_challenge_that_nobody_answers_is_a_failed_validation() {
    let mut world = World::with(PebbleOptions::default(), |policy| {
        policy.choices.challenges = vec![ChallengeType::Http01].into();
    })
    .await;
    world.worker.succeed(Chain::Registration).await;
    // The challenge server reads a store that the worker does not write to.
    let elsewhere = Arc::new(MemoryChallenges::new());
    world.worker.challenges = elsewhere.clone();
    world.worker.context.challenges = elsewhere;
    let result = world.worker.fail(Chain::Authorization, FailureClass::Validation).await;
    assert!(result.error.contains("http-01"), "{}", result.error);
    assert_eq!(world.worker.context.state.counts().authorizations, 0);
}

#[tokio::test]
async fn a_killed_ca_is_a_connect_or_reset_failure() {
    let mut world = World::with(PebbleOptions::default(), |_| {}).await;
    for chain in [Chain::Registration, Chain::Authorization] {
        world.worker.succeed(chain).await;
    }
    world.pebble.process().kill().unwrap();
    for _ in 0..2 {
        let result = world.worker.run(Chain::Certificate).await;
        let class = result.class.unwrap();
        assert!(matches!(class, FailureClass::Connect | FailureClass::Reset), "{class}: {}", result.error);
    }
    assert_eq!(world.worker.context.state.counts().authorizations, 1, "the order is kept");
}

/// The chains beside issuance that Pebble 2.4 has the resources for. It has no newAuthz, no renewalInfo, and lets no
/// other account revoke.
#[tokio::test]
async fn changes_and_ends_accounts_and_authorizations_and_downloads_again() {
    let options = PebbleOptions { nonce_reject: 0, alternate_roots: 2, ..PebbleOptions::default() };
    let mut world = World::with(options, |policy| policy.contact = vec!["mailto:ops@ca.test".into()]).await;
    let worker = &mut world.worker;
    assert!(worker.has_nothing_to_do(Chain::KeyRollover).await);
    worker.succeed(Chain::Registration).await;
    for chain in [Chain::Registration, Chain::Authorization, Chain::Certificate] {
        worker.succeed(chain).await;
    }
    let account = ["account 200"];
    assert_eq!(steps(&worker.succeed(Chain::KeyRollover).await), ["keyChange 200"]);
    assert_eq!(steps(&worker.succeed(Chain::AccountUpdate).await), account);
    assert_eq!(steps(&worker.succeed(Chain::KeyRollover).await), ["keyChange 200"]);
    assert_eq!(steps(&worker.succeed(Chain::AccountDeactivation).await), account);
    assert_eq!(steps(&worker.succeed(Chain::OrdersList).await), ["account 200", "orders 200"]);
    assert_eq!(steps(&worker.succeed(Chain::Download).await), ["certificate 200"]);
    let downloads = steps(&worker.succeed(Chain::AlternateChains).await);
    assert_eq!(downloads, ["certificate 200"; 3], "its own chain and two alternates");
    // Pending ones and valid ones, by chance.
    for _ in 0..6 {
        let result = worker.succeed(Chain::AuthorizationDeactivation).await;
        assert_eq!(steps(&result).last().map(String::as_str), Some("authorization 200"));
    }

    worker.succeed(Chain::Registration).await;
    worker.policy(|policy| {
        policy.choices.revoke_by_certificate_key = 0.0;
        policy.choices.revoke_by_other_account = 1.0;
    });
    // Another account than the certificate's is drawn, unless chance is against it sixteen times.
    let result = worker.fail(Chain::Revoke, FailureClass::Problem).await;
    assert_eq!(steps(&result).last().map(String::as_str), Some("revokeCert 403"));
    worker.policy(|policy| policy.choices.revoke_by_other_account = 0.0);
    worker.succeed(Chain::Revoke).await;
}

#[tokio::test]
async fn serves_every_shape_of_order_every_behaviour_and_a_chain_of_ones_own() {
    let options = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let mut world = World::with(options, |_| {}).await;
    every_shape_and_behaviour(&mut world.worker).await;
    world.worker.policy(|policy| {
        policy.choices.names = (1..=1).into();
        policy.choices.steps = "order, deactivate".parse().unwrap();
    });
    let result = world.worker.succeed(Chain::Composed).await;
    assert_eq!(steps(&result), ["newOrder 201", "authorization 200"]);
}
