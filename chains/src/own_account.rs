//! An account that a chain has for itself, to change it.

use wec_acme::{Failure, Subject, Trace};
use wec_store::{Claim, ExclusiveRegistration};

use crate::context::Context;
use crate::scene::Scene;
use crate::{rest, steps};

/// An exclusive account that the CA knows by the stored key; none if there is none.
///
/// A suspect one may have got another key by a chain that was interrupted: then nobody has its key any more, and it
/// is dropped.
pub(crate) async fn claim(scene: &mut Scene<'_>) -> Result<Option<Claim<ExclusiveRegistration>>, Failure> {
    let context = scene.context;
    while let Some(claim) = context.state.claim_registration() {
        if claim.suspect {
            let account = &claim.registration.account;
            let found = match context.client.find_account(scene.trace, &account.key).await {
                // It was deactivated (RFC 8555 §7.3.6).
                Err(failure) if steps::is(&failure, "unauthorized") => None,
                found => found?,
            };
            if found.as_ref() != Some(&account.url) {
                tracing::info!(account = account.url, "an account has another key by now, or has ended");
                context.state.registration_ended(claim).await;
                continue;
            }
        }
        scene.signer = Some(claim.registration.clone());
        return Ok(Some(claim));
    }
    Ok(None)
}

/// Returns the unused account of a failed chain; it rests if the rate limit is about it. Returns whether it rests.
pub(crate) fn put_back(
    context: &Context,
    trace: &Trace,
    claim: Claim<ExclusiveRegistration>,
    failure: &Failure,
) -> bool {
    match rest::of(context, trace, failure) {
        Some((Subject::Account | Subject::Names, time)) => {
            claim.rest(time);
            true
        }
        _ => {
            claim.release();
            false
        }
    }
}
