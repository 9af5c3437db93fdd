//! The download chain: another download of a stored certificate (RFC 8555 §7.4.2).
//!
//! certificate, which must be the stored one. The certificate stays as it is.

use wec_acme::Failure;

use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    if claim.url.is_empty() {
        // Stored by an earlier version.
        claim.release();
        return Ok(Outcome::NothingToDo);
    }
    let registration = claim.registration.clone();
    scene.signer = Some(registration.clone());
    scene.notes.serial.clone_from(&claim.serial);
    let account = &registration.account;
    let answer = match context.client.certificate(scene.trace, account, &claim.url).await {
        Ok(pem) => steps::check_again(scene, &claim, &claim.url, &pem),
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(()) => {
            claim.release();
            Ok(Outcome::Done)
        }
        Err(failure) => {
            scene.notes.rests |= rest::put_back(context, scene.trace, claim, &failure);
            Err(failure)
        }
    }
}
