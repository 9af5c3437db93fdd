//! Renewals of the members of a fleet.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;
use wec_chains::{Chain, Member};
use wec_null_ca::Config;
use wec_record::ChainResult;

use crate::common::{Worker, steps};
use crate::null_ca::{null_ca, worker};

/// What a renewal gave.
struct Renewed {
    result: ChainResult,
    names: Vec<String>,
    account: i64,
}

async fn renewed(worker: &mut Worker, member: u32) -> Renewed {
    let cut = CancellationToken::new();
    let result =
        wec_chains::renew(Member(member), &worker.context, &mut worker.rng, None, &cut).await.unwrap();
    assert!(result.successful && result.issued, "{}\n{:#?}", result.error, result.requests);
    let claim = worker.context.state.claim_certificate().unwrap();
    let (names, account) = (claim.names.clone(), claim.registration.id);
    worker.context.state.certificate_gone(claim, "so that the next claim is of the next certificate").await;
    Renewed { result, names, account }
}

#[tokio::test]
async fn a_member_keeps_its_names_and_its_account_and_replaces_its_last_certificate() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.names = (1..=5).into()).await;
    for _ in 0..10 {
        worker.succeed(Chain::Registration).await;
    }
    let mut first = Vec::new();
    for member in 1..=12 {
        first.push(renewed(&mut worker, member).await);
    }
    let accounts: HashSet<_> = first.iter().map(|renewed| renewed.account).collect();
    assert!(accounts.len() > 4, "spread over the accounts: {accounts:?}");
    let numbers: HashSet<_> = first.iter().map(|renewed| renewed.names.len()).collect();
    assert!(numbers.len() > 2, "as many names as the policy draws: {numbers:?}");
    let all: HashSet<_> = first.iter().flat_map(|renewed| &renewed.names).collect();
    assert_eq!(all.len(), first.iter().map(|renewed| renewed.names.len()).sum::<usize>());
    for (member, first) in (1..).zip(&first) {
        assert_eq!(steps(&first.result)[0], "newOrder 201", "it has no certificate to ask about");
        let again = renewed(&mut worker, member).await;
        assert_eq!((&again.names, again.account), (&first.names, first.account), "member {member}");
        assert_eq!(steps(&again.result)[..2], ["renewalInfo 200", "newOrder 201"]);
    }
    assert_eq!(ca.counters().accounts, 10);
}

#[tokio::test]
async fn without_an_account_the_first_member_registers_one() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, _| ()).await;
    let first = renewed(&mut worker, 7).await;
    assert_eq!(steps(&first.result)[..2], ["newAccount 201", "newOrder 201"]);
    assert_eq!(first.names, ["m7.wec.test"]);
    assert_eq!(renewed(&mut worker, 8).await.account, first.account);
}

#[tokio::test]
async fn one_account_can_have_most_orders() {
    let ca = null_ca(Config::default());
    let mut worker = worker(&ca, |_, policy| policy.choices.plain.largest_account = 0.7).await;
    for _ in 0..8 {
        worker.succeed(Chain::Registration).await;
    }
    let oldest = worker.context.state.oldest_registration().unwrap().id;
    let mut of_the_oldest = 0;
    for _ in 0..60 {
        worker.succeed(Chain::Authorization).await;
        let claim = worker.context.state.claim_order().unwrap();
        of_the_oldest += u32::from(claim.registration.id == oldest);
        worker.context.state.order_failed(claim, "so that the next claim is of the next order").await;
    }
    // 44 of 60 in the mean, with a standard deviation of 3.4.
    assert!((30..=57).contains(&of_the_oldest), "{of_the_oldest} of 60");
}
