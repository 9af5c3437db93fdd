//! The registration chain: an account with its own key (RFC 8555 §7.3).
//!
//! newAccount → stored, for all chains, or as an exclusive account if chains that change accounts lack some.

use std::sync::Arc;

use rand::seq::IndexedRandom as _;
use wec_acme::{Account, Endpoint, Failure};
use wec_store::{Object, Registration, Reservation};

use crate::scene::{Outcome, Scene};
use crate::steps;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some((room, account)) = new_account(scene).await? else { return Ok(Outcome::NothingToDo) };
    if context.state.next_registration_is_exclusive() {
        context.state.add_exclusive_registration(room, &account, &context.policy.contact).await;
    } else {
        context.state.add_registration(room, &account, &context.policy.contact).await;
    }
    Ok(Outcome::Done)
}

/// The account of a new order: for the policy's share of orders a new one, else a stored one, which for another share is
/// the largest account; none if there is none.
pub(super) async fn of_new_order(scene: &mut Scene<'_>) -> Result<Option<Arc<Registration>>, Failure> {
    if scene.draws(scene.context.policy.choices.plain.new_account)
        && let Some(registration) = Box::pin(register(scene)).await?
    {
        return Ok(Some(registration));
    }
    let state = &scene.context.state;
    if scene.draws(scene.context.policy.choices.plain.largest_account) {
        return Ok(state.oldest_registration());
    }
    Ok(state.registration())
}

/// A new account, stored for all chains; none if the limit of accounts is reached.
pub(super) async fn register(scene: &mut Scene<'_>) -> Result<Option<Arc<Registration>>, Failure> {
    let Some((room, account)) = new_account(scene).await? else { return Ok(None) };
    let context = scene.context;
    Ok(Some(context.state.add_registration(room, &account, &context.policy.contact).await))
}

/// newAccount; none if the limit of accounts is reached.
async fn new_account(scene: &mut Scene<'_>) -> Result<Option<(Reservation, Account)>, Failure> {
    let Scene { context, trace, rng, .. } = scene;
    let policy = &context.policy;
    let Some(room) = context.state.reserve(Object::Registration) else { return Ok(None) };

    let kind = policy.choices.account_key_types.draw(*rng, |_| true).unwrap_or_default();
    let key = trace.waits_for_key(policy.account_keys.next(kind)).await?;
    let external = policy.external_accounts.choose(rng);
    match context.client.new_account(trace, &key, &policy.contact, external).await {
        Ok(account) => Ok(Some((room, account))),
        Err(failure) => {
            steps::settle(room, trace, Endpoint::NewAccount, &failure);
            Err(failure)
        }
    }
}
