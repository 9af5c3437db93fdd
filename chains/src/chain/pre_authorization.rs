//! The pre-authorization chain: authorizations before there is an order (RFC 8555 §7.4.1).
//!
//! For each name: newAuthz, challenge → polls → newOrder → (authorizations that the CA does not reuse) → stored.

use wec_acme::Failure;
use wec_store::Object;

use crate::chain::registration;
use crate::scene::{Outcome, Scene};
use crate::{issuance, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(room) = context.state.reserve(Object::Order) else { return Ok(Outcome::NothingToDo) };
    let Some(registration) = registration::of_new_order(scene).await? else {
        return Ok(Outcome::NothingToDo);
    };
    scene.signer = Some(registration.clone());
    let (client, account) = (&context.client, &registration.account);

    // newAuthz knows no wildcards (RFC 8555 §7.4.1).
    let names = scene.new_names().into_iter();
    let names: Vec<_> = names.map(|name| name.trim_start_matches("*.").to_owned()).collect();
    let mut authorizations = Vec::with_capacity(names.len());
    for name in &names {
        authorizations.push(client.new_authorization(scene.trace, account, name).await?);
    }
    scene.must_fail = scene.draws(context.policy.choices.fail_validations);
    let mut undecided = Vec::with_capacity(names.len());
    for (url, authorization) in &authorizations {
        undecided.extend(steps::begin(scene, account, url, authorization).await?);
    }
    steps::await_all(scene, account, undecided).await?;
    scene.must_fail = false;

    scene.draw_profile();
    let order = Box::pin(steps::new_order(scene, account, &names, None)).await?;
    let ready = Box::pin(steps::authorize(scene, account, order)).await?;
    let took = issuance::authorized(scene.trace.exchanges());
    context.state.add_order(room, &registration, &ready, &scene.notes.profile, took).await;
    Ok(Outcome::Done)
}
