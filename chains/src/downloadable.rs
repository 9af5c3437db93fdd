//! A stored certificate that is downloaded again and stays as it is.

use wec_acme::Failure;
use wec_store::{Claim, StoredCertificate};

use crate::rest;
use crate::scene::{Outcome, Scene};

/// Claims one, whose account signs the requests; none if there is none.
pub(crate) fn claim(scene: &mut Scene<'_>) -> Option<Claim<StoredCertificate>> {
    let claim = scene.context.state.claim_certificate()?;
    if claim.url.is_empty() {
        // Stored by an earlier version.
        claim.release();
        return None;
    }
    scene.signer = Some(claim.registration.clone());
    scene.notes.serial.clone_from(&claim.serial);
    Some(claim)
}

/// Gives it back after its downloads.
pub(crate) fn give_back(
    scene: &mut Scene<'_>,
    claim: Claim<StoredCertificate>,
    downloaded: Result<(), Failure>,
) -> Result<Outcome, Failure> {
    match downloaded {
        Ok(()) => {
            claim.release();
            Ok(Outcome::Done)
        }
        Err(failure) => {
            scene.notes.rests |= rest::put_back(scene.context, scene.trace, claim, &failure);
            Err(failure)
        }
    }
}
