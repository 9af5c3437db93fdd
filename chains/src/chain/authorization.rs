//! The authorization chain: an order whose names are all validated (RFC 8555 §7.4, §7.5).
//!
//! (newAccount, for the share of orders with a new account) → newOrder → for each authorization: fetch it, challenge → polls → order ready → stored.
//!
//! For the share of orders that is abandoned: newOrder → (one authorization). Nothing is stored, as with a
//! client that gives up.
//!
//! For the share of orders with a validation that must fail, the first challenge has a fault; the chain ends when its
//! authorization is invalid, and nothing is stored.

use rand::RngExt as _;
use wec_acme::Failure;
use wec_store::Object;

use crate::chain::registration;
use crate::scene::{Outcome, Scene};
use crate::{issuance, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let policy = &context.policy;
    let Some(room) = context.state.reserve(Object::Order) else { return Ok(Outcome::NothingToDo) };
    let Some(registration) = registration::of_new_order(scene).await? else {
        return Ok(Outcome::NothingToDo);
    };
    scene.signer = Some(registration.clone());

    let names = scene.new_names();
    scene.draw_profile();
    let order = steps::new_order(scene, &registration.account, &names, None).await?;
    if scene.draws(policy.choices.plain.abandon) {
        // Half of them also fetch an authorization.
        if let Some(url) = order.authorizations.first().filter(|_| scene.rng.random_bool(0.5)) {
            context.client.authorization(scene.trace, &registration.account, url).await?;
        }
        return Ok(Outcome::Abandoned);
    }
    scene.must_fail = scene.draws(policy.choices.fail_validations);
    let ready = steps::authorize(scene, &registration.account, order).await?;
    let took = issuance::authorized(scene.trace.exchanges());
    context.state.add_order(room, &registration, &ready, &scene.notes.profile, took).await;
    Ok(Outcome::Done)
}
