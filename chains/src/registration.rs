//! The registration chain: an account with a key of its own (RFC 8555 §7.3).
//!
//! newAccount → stored.

use wec_acme::{AccountKey, Endpoint, Failure};
use wec_store::Kind;

use crate::run::{Outcome, Scene};
use crate::steps;

pub(crate) async fn registration(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, trace, .. } = scene;
    let policy = &context.policy;
    let Some(room) = context.state.reserve(Kind::Registration) else { return Ok(Outcome::NothingToDo) };

    let key = trace.keygen(AccountKey::generate)?;
    let external = policy.external_account.as_ref();
    let account = match context.client.new_account(trace, &key, &policy.contact, external).await {
        Ok(account) => account,
        Err(failure) => {
            steps::settle(room, trace, Endpoint::NewAccount, &failure);
            return Err(failure);
        }
    };
    context.state.add_registration(room, &account, &policy.contact).await;
    Ok(Outcome::Done)
}
