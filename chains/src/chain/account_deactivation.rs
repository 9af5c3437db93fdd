//! The account deactivation chain: the end of an account (RFC 8555 §7.3.6).
//!
//! account, with the status `deactivated` → no longer stored.

use wec_acme::{Endpoint, Failure};

use crate::scene::{Outcome, Scene};
use crate::{own_account, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, trace, notes, .. } = scene;
    let Some(claim) = context.state.claim_registration() else { return Ok(Outcome::NothingToDo) };
    match context.client.deactivate_account(trace, &claim.registration.account).await {
        Ok(()) => {
            context.state.registration_ended(claim).await;
            Ok(Outcome::Done)
        }
        Err(failure) => {
            // The CA refuses all requests of a deactivated account with `unauthorized`.
            let is_over = steps::is(&failure, "unauthorized") || steps::is_unknown_account(&failure);
            let ended_before = is_over && (claim.suspect || steps::was_repeated(trace));
            if is_over {
                context.state.registration_ended(claim).await;
            } else if steps::did_nothing(trace, Endpoint::Account) {
                notes.rests |= own_account::put_back(context, trace, claim, &failure);
            }
            if ended_before { Ok(Outcome::Done) } else { Err(failure) }
        }
    }
}
