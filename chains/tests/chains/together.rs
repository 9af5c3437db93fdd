//! Many workers with one state: no object is used twice, and each is counted.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use wec_acme::Roots;
use wec_chains::{Chain, Context, Mix, Refusal};
use wec_null_ca::{Config, NullCa};
use wec_record::FailureClass;
use wec_store::{Limits, MemoryChallenges, State, StateOptions};
use wec_testbed::Postgres;

use crate::common::Worker;

const WORKERS: u64 = 16;
const CHAINS: usize = 80;

/// Runs chains drawn at random; returns how many of each were run.
async fn work(context: Context, seed: u64) -> [u64; Chain::ALL.len()] {
    let mut rng = StdRng::seed_from_u64(seed);
    let cut = CancellationToken::new();
    let mut done = [0; Chain::ALL.len()];
    for _ in 0..CHAINS {
        let chain = *Chain::ALL.choose(&mut rng).unwrap();
        let mut draws = StdRng::seed_from_u64(rng.random());
        // None: other workers have claimed all objects.
        let Some(result) = wec_chains::run(chain, &context, &mut draws, None, &cut).await else { continue };
        assert!(result.successful, "{chain}: {}", result.error);
        done[chain.index()] += 1;
    }
    done
}

/// Runs workers on several states of one database; compares their results with the CA and the database.
async fn work_together(database: &str, states: usize) {
    let config = Config { bad_nonce: "5%".parse().unwrap(), ..Config::default() };
    let ca = NullCa::start(config).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let challenges = Arc::new(MemoryChallenges::new());
    let open = async || State::open(database, ca.directory_url(), StateOptions::default()).await.unwrap();
    let mut contexts = Vec::new();
    for _ in 0..states {
        let mut worker = Worker::of(ca.directory_url(), roots.clone(), challenges.clone(), |_, policy| {
            policy.choices.names = (1..=3).into();
            policy.choices.steps = "order, authorize, finalize".parse().unwrap();
            // Those that leave no order.
            let kinds = Refusal::ALL.into_iter();
            let kinds = kinds.filter(|kind| ![Refusal::EarlyFinalize, Refusal::ForeignOrder].contains(kind));
            policy.choices.refusals = Mix::even(kinds);
        })
        .await;
        worker.context.state = open().await;
        contexts.push(worker.context);
    }

    let workers: Vec<_> =
        (0..WORKERS).map(|seed| tokio::spawn(work(contexts[seed as usize % states].clone(), seed))).collect();
    let mut done = [0; Chain::ALL.len()];
    for worker in workers {
        for (sum, of_one) in done.iter_mut().zip(worker.await.unwrap()) {
            *sum += of_one;
        }
    }
    for context in contexts {
        context.state.close().await.unwrap();
    }

    let of = |chain: Chain| done[chain.index()];
    let [registrations, certificates, refreshes, revocations] =
        [Chain::Registration, Chain::Certificate, Chain::Refresh, Chain::Revoke].map(of);
    let authorizations = of(Chain::Authorization) + of(Chain::PreAuthorization);
    let composed = of(Chain::Composed);
    let orders = authorizations + refreshes + composed + of(Chain::AuthorizationDeactivation);
    assert!(done.iter().all(|count| *count > 10), "{done:?}");
    // The results equal the CA's counts. A certificate that is revoked twice would show as a difference.
    let seen = ca.counters();
    assert_eq!((seen.accounts, seen.orders), (registrations, orders));
    assert_eq!((seen.certificates, seen.revocations), (certificates + refreshes + composed, revocations));
    // A later run finds the same objects.
    let later = open().await;
    let stored = later.counts();
    assert_eq!(stored.registrations, registrations - of(Chain::AccountDeactivation));
    assert_eq!(stored.authorizations, authorizations - certificates);
    let live = certificates + composed - revocations;
    assert_eq!((stored.certificates, stored.revoked), (live, revocations));
    assert!(challenges.is_empty());
}

#[tokio::test]
async fn workers_never_use_the_same_order_or_certificate() {
    let dir = tempfile::tempdir().unwrap();
    work_together(&format!("sqlite://{}", dir.path().join("state.db").display()), 1).await;
}

#[tokio::test]
async fn workers_of_several_processes_never_use_the_same_order_or_certificate() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.create_database("wec").await.unwrap();
    work_together(&database, 2).await;
}

#[tokio::test]
async fn a_later_run_uses_what_an_earlier_run_stored() {
    let ca = NullCa::start(Config::default()).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let dir = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", dir.path().join("state.db").display());
    let run = async || {
        let mut worker = Worker::of(ca.directory_url(), roots.clone(), Arc::default(), |_, _| {}).await;
        worker.context.state =
            State::open(&database, ca.directory_url(), StateOptions::default()).await.unwrap();
        worker
    };

    let mut earlier = run().await;
    for chain in [Chain::Registration, Chain::Authorization, Chain::Authorization, Chain::Certificate] {
        earlier.succeed(chain).await;
    }
    earlier.context.state.close().await.unwrap();

    let mut later = run().await;
    for chain in [Chain::Certificate, Chain::Refresh, Chain::Revoke, Chain::Revoke, Chain::Authorization] {
        later.succeed(chain).await;
    }
    assert_eq!((ca.counters().accounts, ca.counters().revocations), (1, 2));
}

#[tokio::test]
async fn each_account_fails_once_at_a_ca_that_lost_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", dir.path().join("state.db").display());
    let config = Config { listen: wec_testbed::free_address(), ..Config::default() };
    let first = NullCa::start(config.clone()).unwrap();
    let directory = first.directory_url().to_owned();
    let worker = async |ca: &NullCa| {
        let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
        let mut worker = Worker::of(&directory, roots, Arc::default(), |_, _| {}).await;
        worker.context.state = State::open(&database, &directory, StateOptions::default()).await.unwrap();
        worker
    };
    let mut before = worker(&first).await;
    for chain in [Chain::Registration, Chain::Authorization, Chain::Certificate, Chain::Authorization] {
        before.succeed(chain).await;
    }
    before.context.state.close().await.unwrap();
    drop(before.context.client);
    first.stop().await;

    let second = NullCa::start(config).unwrap();
    let mut after = worker(&second).await;
    let failed = after.fail(Chain::Authorization, FailureClass::Problem).await;
    assert!(failed.error.contains("accountDoesNotExist"), "{}", failed.error);
    for chain in [Chain::Authorization, Chain::Certificate, Chain::Refresh, Chain::Revoke] {
        assert!(after.has_nothing_to_do(chain).await, "{chain}: the account's objects are dropped with it");
    }
    for chain in
        [Chain::Registration, Chain::Authorization, Chain::Certificate, Chain::Refresh, Chain::Revoke]
    {
        after.succeed(chain).await;
    }
}

#[tokio::test]
async fn certificates_whose_answers_are_lost_count_for_the_hard_limit() {
    let faults = ["certificate=empty:1".parse().unwrap()].into();
    let ca = NullCa::start(Config { faults, ..Config::default() }).unwrap();
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let mut worker = Worker::of(ca.directory_url(), roots, Arc::default(), |_, _| {}).await;
    let limits = Limits { certificates: Some(2), ..Limits::default() };
    let options = StateOptions { limits, ..StateOptions::default() };
    worker.context.state = State::open("sqlite::memory:", ca.directory_url(), options).await.unwrap();
    worker.succeed(Chain::Registration).await;
    for _ in 0..4 {
        worker.succeed(Chain::Authorization).await;
        worker.run_until(Chain::Certificate, &CancellationToken::new()).await;
    }
    assert_eq!(ca.counters().certificates, 2);
}
