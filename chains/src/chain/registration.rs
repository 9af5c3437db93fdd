//! The registration chain: an account with its own key (RFC 8555 §7.3).
//!
//! newAccount → stored, for all chains, or as an exclusive account if chains that change accounts lack some.

use wec_acme::{Endpoint, Failure};
use wec_store::Object;

use crate::scene::{Outcome, Scene};
use crate::steps;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, trace, rng, .. } = scene;
    let policy = &context.policy;
    let Some(room) = context.state.reserve(Object::Registration) else { return Ok(Outcome::NothingToDo) };

    let kind = policy.account_key_types.draw(*rng, |_| true).unwrap_or_default();
    let key = trace.waits_for_key(policy.account_keys.next(kind)).await?;
    let external = policy.external_account.as_ref();
    let account = match context.client.new_account(trace, &key, &policy.contact, external).await {
        Ok(account) => account,
        Err(failure) => {
            steps::settle(room, trace, Endpoint::NewAccount, &failure);
            return Err(failure);
        }
    };
    if context.state.next_registration_is_exclusive() {
        context.state.add_exclusive_registration(room, &account, &policy.contact).await;
    } else {
        context.state.add_registration(room, &account, &policy.contact).await;
    }
    Ok(Outcome::Done)
}
