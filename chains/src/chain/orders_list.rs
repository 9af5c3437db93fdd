//! The orders list chain: the list of an account's orders (RFC 8555 §7.1.2.1).
//!
//! account → orders, for each part of the list, at most [`MOST_PARTS`].

use wec_acme::{Failure, FailureClass};

use crate::scene::{Outcome, Scene};

/// The parts of a list that are read; a CA that links them in a circle would otherwise be asked for ever.
const MOST_PARTS: usize = 20;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, trace, signer, .. } = scene;
    let Some(registration) = context.state.registration() else { return Ok(Outcome::NothingToDo) };
    *signer = Some(registration.clone());
    let account = &registration.account;
    let Some(first) = context.client.account(trace, account).await?.orders else {
        let message = format!(
            "the account {} has no orders URL, which RFC 8555 §7.1.2 requires: set the weight of orders-list to 0",
            account.url
        );
        return Err(Failure::new(FailureClass::Malformed, message));
    };
    let mut next = Some(first);
    for _ in 0..MOST_PARTS {
        let Some(url) = next else { break };
        next = context.client.orders(trace, account, &url).await?.next;
    }
    Ok(Outcome::Done)
}
