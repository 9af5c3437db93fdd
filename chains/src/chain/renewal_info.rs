//! The renewal info chain: the renewal window of a stored certificate (RFC 9773 §4), as clients poll it between
//! renewals.
//!
//! renewalInfo, a GET. The certificate stays as it is.

use wec_acme::{Failure, FailureClass};

use crate::scene::{Outcome, Scene};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, trace, notes, .. } = scene;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    notes.serial.clone_from(&claim.serial);
    let ari_id = claim.ari_id.clone();
    // Nothing is changed, so others can have it meanwhile.
    claim.release();
    if ari_id.is_empty() {
        // Without an authority key identifier a certificate has no name for renewalInfo.
        return Ok(Outcome::NothingToDo);
    }
    let info = context.client.renewal_info(trace, &ari_id).await?;
    match info.suggested_window.unix() {
        Some(_) => Ok(Outcome::Done),
        None => {
            let window = &info.suggested_window;
            let message = format!(
                "renewalInfo of {ari_id} suggests a window from {:?} to {:?}, which is not a window (RFC 9773 §4.2)",
                window.start, window.end
            );
            Err(Failure::new(FailureClass::Malformed, message))
        }
    }
}
