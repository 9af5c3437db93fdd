//! The alternate chains chain: a stored certificate with all chains that the CA offers for it (RFC 8555 §7.4.2).
//!
//! certificate → certificate, for each link with `rel="alternate"`, at most [`MOST_CHAINS`]. Each must have the stored
//! certificate, which stays as it is.

use wec_acme::Failure;
use wec_store::{Claim, StoredCertificate};

use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

/// The alternate chains that are downloaded.
const MOST_CHAINS: usize = 10;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    if claim.url.is_empty() {
        // Stored by an earlier version.
        claim.release();
        return Ok(Outcome::NothingToDo);
    }
    scene.signer = Some(claim.registration.clone());
    scene.notes.serial.clone_from(&claim.serial);
    match download_all(scene, &claim).await {
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

async fn download_all(scene: &mut Scene<'_>, claim: &Claim<StoredCertificate>) -> Result<(), Failure> {
    let (client, account) = (&scene.context.client, &claim.registration.account);
    let first = client.certificate_with_alternates(scene.trace, account, &claim.url).await?;
    steps::check_again(scene, claim, &claim.url, &first.pem)?;
    for url in first.alternates.iter().take(MOST_CHAINS) {
        let pem = client.certificate(scene.trace, account, url).await?;
        steps::check_again(scene, claim, url, &pem)?;
    }
    Ok(())
}
