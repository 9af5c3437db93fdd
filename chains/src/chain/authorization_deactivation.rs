//! The authorization deactivation chain: the end of an authorization (RFC 8555 §7.5.2).
//!
//! newOrder → for half of the chains, challenges and polls as in the authorization chain → authorization, with the
//! status `deactivated`, for each. Nothing is stored.
//!
//! So it is a pending one, as of a client that gives up, or a valid one, as of a client that cleans up.

use rand::RngExt as _;
use wec_acme::Failure;

use crate::scene::{Outcome, Scene};
use crate::steps;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(registration) = context.state.registration() else { return Ok(Outcome::NothingToDo) };
    scene.signer = Some(registration.clone());
    let account = &registration.account;
    let names = scene.new_names();
    scene.draw_profile();
    let order = steps::new_order(scene, account, &names, None).await?;
    let urls = order.authorizations.clone();
    if scene.rng.random_bool(0.5) {
        Box::pin(steps::authorize(scene, account, order)).await?;
    }
    for url in &urls {
        context.client.deactivate_authorization(scene.trace, account, url).await?;
    }
    Ok(Outcome::Done)
}
