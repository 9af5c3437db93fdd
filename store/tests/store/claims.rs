//! Who may use an object: claims, exclusive accounts, and what of a process that is gone, on both backends.

use std::cell::Cell;
use std::collections::HashSet;

use wec_store::{Counts, Object, State, StateOptions};

use crate::common::{Database, account, over_both_backends, stocked, talkative, until};

over_both_backends!(
    an_object_is_claimed_by_one,
    a_dropped_claim_comes_back_as_suspect,
    a_released_claim_comes_back_unsuspected,
    two_processes_never_share_a_claim,
    an_exclusive_account_is_claimed_by_one_and_never_shared,
    an_exclusive_account_keeps_its_new_key_for_later_processes,
    two_processes_never_share_an_exclusive_account,
    exclusive_accounts_of_a_process_that_is_gone_come_back_as_suspect,
    surplus_goes_to_a_process_that_lacks_it,
);

async fn an_object_is_claimed_by_one(database: &Database) {
    let state = database.open().await;
    stocked(&state, 20).await;
    let orders: Vec<_> = std::iter::from_fn(|| state.claim_order()).collect();
    let certificates: Vec<_> = std::iter::from_fn(|| state.claim_certificate()).collect();
    let ids: HashSet<i64> = orders.iter().map(|o| o.id).chain(certificates.iter().map(|c| c.id)).collect();
    assert_eq!((orders.len(), certificates.len(), ids.len()), (20, 20, 40));
    assert!(!state.available().orders && !state.available().certificates);
}

async fn a_dropped_claim_comes_back_as_suspect(database: &Database) {
    let state = database.open().await;
    stocked(&state, 1).await;
    drop((state.claim_order().unwrap(), state.claim_certificate().unwrap()));
    assert!(state.claim_order().unwrap().suspect && state.claim_certificate().unwrap().suspect);
    state.close().await.unwrap();
    let state = database.open().await;
    assert!(state.claim_order().unwrap().suspect, "a suspect object stays suspect in the next process");
    assert!(state.claim_certificate().unwrap().suspect);
}

async fn a_released_claim_comes_back_unsuspected(database: &Database) {
    let state = database.open().await;
    stocked(&state, 1).await;
    state.claim_order().unwrap().release();
    assert!(!state.claim_order().unwrap().suspect);
    assert_eq!(state.claims(), 0, "returned ones are claimed no more");
    let held = state.claim_certificate().unwrap();
    state.close().await.unwrap();
    let state = database.open().await;
    assert!(state.claim_certificate().unwrap().suspect, "a chain held it when the state was closed");
    drop(held);
}

async fn two_processes_never_share_a_claim(database: &Database) {
    let first = database.open().await;
    stocked(&first, 200).await;
    first.close().await.unwrap();
    let options = StateOptions { claim_batch: 7, pool: 14, ..talkative() };
    let (one, other) = tokio::join!(database.open_with(options), database.open_with(options));
    let left = Cell::new(400);
    let (mut a, mut b) = tokio::join!(consume(&one, &left), consume(&other, &left));
    two_more_beats_of_each(database).await;
    a.extend(one_more(&one));
    b.extend(one_more(&other));
    let all: HashSet<i64> = a.iter().chain(&b).copied().collect();
    assert_eq!(a.len() + b.len(), 400, "all are claimed");
    assert_eq!(all.len(), 400, "once");
    assert!(!a.is_empty() && !b.is_empty(), "by both");
    one.flush().await.unwrap();
    other.flush().await.unwrap();
    until("both processes have the same counts", async || one.counts() == other.counts()).await;
    assert_eq!(one.counts(), Counts { registrations: 1, ..Counts::default() });
}

async fn an_exclusive_account_is_claimed_by_one_and_never_shared(database: &Database) {
    let state = database.open().await;
    register_exclusively(&state, 5).await;
    assert!(state.registration().is_none(), "none is shared");
    assert_eq!(state.counts().registrations, 5);
    let mut claims: Vec<_> = std::iter::from_fn(|| state.claim_registration()).collect();
    let ids: HashSet<i64> = claims.iter().map(|claim| claim.registration.id).collect();
    assert_eq!((claims.len(), ids.len()), (5, 5));
    claims.pop().unwrap().release();
    assert!(!state.claim_registration().unwrap().suspect, "released");
    assert!(state.claim_registration().unwrap().suspect, "dropped");
    state.registration_ended(claims.pop().unwrap()).await;
    drop(claims);
    state.close().await.unwrap();

    let later = database.open().await;
    assert!(later.registration().is_none(), "a later process does not share it either");
    assert_eq!(later.counts().registrations, 4);
    let mut claimed = Vec::new();
    until("what is left is claimed", async || {
        claimed.extend(later.claim_registration());
        claimed.len() == 4
    })
    .await;
    assert!(claimed.iter().all(|claim| claim.suspect), "a suspect object stays suspect in the next process");
    let account = claimed[0].registration.account.clone();
    assert!(!account.key.to_pkcs8().is_empty() && account.url.starts_with("https://ca.test/account/"));
}

async fn an_exclusive_account_keeps_its_new_key_for_later_processes(database: &Database) {
    let state = database.open().await;
    register_exclusively(&state, 1).await;
    let claim = state.claim_registration().unwrap();
    let changed = wec_acme::Account { key: account().key, ..claim.registration.account.clone() };
    state.registration_rekeyed(claim, changed.clone()).await;
    let claim = state.claim_registration().unwrap();
    assert!(!claim.suspect);
    assert_eq!(claim.registration.account.key.thumbprint(), changed.key.thumbprint());
    state.registration_recontacted(claim, &["mailto:new@b.test".into()]).await;
    state.close().await.unwrap();

    let later = database.open().await;
    let mut claimed = None;
    until("it is claimed", async || {
        claimed = claimed.take().or_else(|| later.claim_registration());
        claimed.is_some()
    })
    .await;
    let claimed = claimed.unwrap();
    assert_eq!(claimed.registration.account.key.to_pkcs8(), changed.key.to_pkcs8());
    assert_eq!(later.counts().registrations, 1);
}

async fn two_processes_never_share_an_exclusive_account(database: &Database) {
    let first = database.open().await;
    register_exclusively(&first, 100).await;
    first.close().await.unwrap();
    let options = StateOptions { claim_batch: 7, pool: 14, ..talkative() };
    let (one, other) = tokio::join!(database.open_with(options), database.open_with(options));
    let mut ended: [HashSet<i64>; 2] = Default::default();
    until("all are claimed", async || {
        for (state, ended) in [&one, &other].into_iter().zip(&mut ended) {
            if let Some(claim) = state.claim_registration() {
                assert!(ended.insert(claim.registration.id));
                state.registration_ended(claim).await;
            }
        }
        ended[0].len() + ended[1].len() >= 100
    })
    .await;
    assert!(
        ended[0].is_disjoint(&ended[1]) && ended.iter().all(|ended| !ended.is_empty()),
        "both claim accounts, each account once"
    );
    one.flush().await.unwrap();
    other.flush().await.unwrap();
    until("both processes have the same counts", async || one.counts() == other.counts()).await;
    assert_eq!(one.counts(), Counts::default());
    assert!(one.claim_registration().is_none() && other.claim_registration().is_none());
}

/// The owner is this process, which is alive, so only the end of its lease shows others that it is gone.
async fn exclusive_accounts_of_a_process_that_is_gone_come_back_as_suspect(database: &Database) {
    let gone = database.open().await;
    register_exclusively(&gone, 3).await;
    let held = gone.claim_registration().unwrap();
    gone.flush().await.unwrap();
    let other = database.open_with(talkative()).await;
    assert!(other.claim_registration().is_none(), "its owner's lease has not ended");
    database.execute("UPDATE owners SET expires_ms = 0 WHERE id = (SELECT min(id) FROM owners)").await;
    let mut claimed = Vec::new();
    until("its owner is dead", async || {
        claimed.extend(other.claim_registration());
        claimed.len() == 3
    })
    .await;
    assert!(claimed.iter().all(|claim| claim.suspect));
    assert!(claimed.iter().any(|claim| claim.registration.id == held.registration.id));
}

async fn register_exclusively(state: &State, count: usize) {
    for _ in 0..count {
        let room = state.reserve(Object::Registration).unwrap();
        state.add_exclusive_registration(room, &account(), &[]).await;
    }
}

/// Waits until each of two processes has begun its second beat from now on. By then it has looked for objects to claim.
pub(crate) async fn two_more_beats_of_each(database: &Database) {
    let (mut ends, mut beats) = (database.first_lease_ends().await, 0);
    until("both have extended their leases", async || {
        let now = database.first_lease_ends().await;
        // They renew their leases in turn.
        beats += u32::from(std::mem::replace(&mut ends, now) != now);
        beats >= 4
    })
    .await;
}

/// Claims one more object of each kind; there must be none.
fn one_more(state: &State) -> impl Iterator<Item = i64> {
    let order = state.claim_order().map(|order| order.id);
    order.into_iter().chain(state.claim_certificate().map(|certificate| certificate.id))
}

/// Consumes objects until none is left.
async fn consume(state: &State, left: &Cell<i32>) -> Vec<i64> {
    let mut ids = Vec::new();
    until("all are claimed", async || {
        while let Some(order) = state.claim_order() {
            ids.push(order.id);
            left.set(left.get() - 1);
            state.order_failed(order, "test").await;
        }
        while let Some(certificate) = state.claim_certificate() {
            ids.push(certificate.id);
            left.set(left.get() - 1);
            state.certificate_gone(certificate, "test").await;
        }
        left.get() <= 0
    })
    .await;
    ids
}

async fn surplus_goes_to_a_process_that_lacks_it(database: &Database) {
    let rich = database.open_with(talkative()).await;
    stocked(&rich, 40).await;
    let poor = database.open_with(talkative()).await;
    assert!(!poor.available().orders, "the first process has all of them");
    until("orders and certificates arrive", async || {
        poor.available().orders && poor.available().certificates
    })
    .await;
    let (order, certificate) = (poor.claim_order().unwrap(), poor.claim_certificate().unwrap());
    assert!(!order.suspect && !certificate.suspect, "the first process released it in order");
    assert!(poor.available().registrations, "accounts are shared");
}
