//! The pre-authorization chain: authorizations before there is an order (RFC 8555 §7.4.1).
//!
//! For each name: newAuthz, challenge → polls → newOrder → (authorizations that the CA does not reuse) → stored.

use wec_acme::{Failure, NewOrder};
use wec_store::Object;

use crate::scene::{Outcome, Scene};
use crate::{issuance, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(room) = context.state.reserve(Object::Order) else { return Ok(Outcome::NothingToDo) };
    let Some(registration) = context.state.registration() else { return Ok(Outcome::NothingToDo) };
    scene.signer = Some(registration.clone());
    let (client, account) = (&context.client, &registration.account);

    let names = scene.new_names();
    let mut authorizations = Vec::with_capacity(names.len());
    for name in &names {
        authorizations.push(client.new_authorization(scene.trace, account, name).await?);
    }
    let mut undecided = Vec::with_capacity(names.len());
    for (url, authorization) in &authorizations {
        undecided.extend(steps::begin(scene, account, url, authorization).await?);
    }
    steps::await_all(scene, account, undecided).await?;

    scene.draw_profile();
    let new_order = NewOrder { names: &names, replaces: None, profile: scene.notes.profile() };
    let order = client.new_order_for(scene.trace, account, new_order).await.map(Box::new)?;
    scene.note_order(&order.url);
    let ready = Box::pin(steps::authorize(scene, account, order)).await?;
    let took = issuance::authorized(scene.trace.exchanges());
    context.state.add_order(room, &registration, &ready, &scene.notes.profile, took).await;
    Ok(Outcome::Done)
}
