//! The download chain: another download of a stored certificate (RFC 8555 §7.4.2).
//!
//! certificate, which must be the stored one. The certificate stays as it is.

use wec_acme::Failure;
use wec_store::{Claim, StoredCertificate};

use crate::scene::{Outcome, Scene};
use crate::{downloadable, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Some(claim) = downloadable::claim(scene) else { return Ok(Outcome::NothingToDo) };
    let downloaded = download(scene, &claim).await;
    downloadable::give_back(scene, claim, downloaded)
}

async fn download(scene: &mut Scene<'_>, claim: &Claim<StoredCertificate>) -> Result<(), Failure> {
    let (client, account) = (&scene.context.client, &claim.registration.account);
    let pem = client.certificate(scene.trace, account, &claim.url).await?;
    steps::check_again(scene, claim, &claim.url, &pem)
}
