//! The alternate chains chain: a stored certificate with all chains that the CA offers for it (RFC 8555 §7.4.2).
//!
//! certificate → certificate, for each link with `rel="alternate"`, at most [`MOST_CHAINS`]. Each must have the stored
//! certificate, which stays as it is.

use wec_acme::Failure;
use wec_store::{Claim, StoredCertificate};

use crate::scene::{Outcome, Scene};
use crate::{downloadable, steps};

/// The alternate chains that are downloaded.
const MOST_CHAINS: usize = 10;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Some(claim) = downloadable::claim(scene) else { return Ok(Outcome::NothingToDo) };
    let downloaded = download_all(scene, &claim).await;
    downloadable::give_back(scene, claim, downloaded)
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
