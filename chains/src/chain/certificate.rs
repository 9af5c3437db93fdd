//! The certificate chain: from a ready order to a checked certificate (RFC 8555 §7.4).
//!
//! (fetch the order, if its claim is suspect) → finalize → polls → certificate → stored.

use wec_acme::{Endpoint, Failure, FailureClass, Order, OrderStatus};
use wec_record::Chain;
use wec_store::{Claim, Object, ReadyOrder};

use crate::context::Context;
use crate::issuance::IssuancePart;
use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    if !context.policy.runs(Chain::Certificate) {
        return Ok(Outcome::NothingToDo);
    }
    let Some(room) = context.state.reserve(Object::Certificate) else { return Ok(Outcome::NothingToDo) };
    let Some(claim) = usable_order(scene).await? else { return Ok(Outcome::NothingToDo) };
    scene.signer = Some(claim.registration.clone());
    scene.notes.profile.clone_from(&claim.profile);
    scene.note_order(&claim.url);

    match steps::issue(scene, &claim.registration.account, &ready(&claim), &claim.names).await {
        Ok(certificate) => {
            let part = IssuancePart::Finalization(claim.authorize_ns);
            context.state.order_issued(claim, room, certificate).await;
            Ok(Outcome::Issued(part))
        }
        Err(failure) => {
            steps::settle(room, scene.trace, Endpoint::Finalize, &failure);
            if is_spent(failure.kind) {
                context.state.order_failed(claim, &failure.message).await;
            } else if steps::did_nothing(scene.trace, Endpoint::Finalize) {
                scene.notes.rests |= rest::put_back(context, scene.trace, claim, &failure);
            }
            // Otherwise the CA may have issued or not. The claim is dropped and becomes suspect.
            Err(failure)
        }
    }
}

/// The order as the CA returned it when it became ready, without the fields that issuing does not need.
fn ready(order: &ReadyOrder) -> Order {
    Order {
        url: order.url.clone(),
        status: OrderStatus::Ready,
        identifiers: Vec::new(),
        authorizations: Vec::new(),
        finalize: order.finalize_url.clone(),
        certificate: None,
        expires: None,
        not_after: None,
        replaces: None,
        error: None,
        retry_after: None,
    }
}

/// A ready order that can be finalized. Orders found unusable on the way are dropped from the state.
pub(super) async fn usable_order(scene: &mut Scene<'_>) -> Result<Option<Claim<ReadyOrder>>, Failure> {
    let context = scene.context;
    while let Some(claim) = context.state.claim_order() {
        if expires(context, &claim) {
            context.state.order_expired(claim).await;
            continue;
        }
        let why = if claim.suspect { look(scene, &claim).await? } else { None };
        match why {
            None => return Ok(Some(claim)),
            Some(why) => {
                tracing::info!(order = %claim.url, why, "a stored order is no longer usable");
                context.state.order_failed(claim, why).await;
            }
        }
    }
    Ok(None)
}

fn expires(context: &Context, order: &ReadyOrder) -> bool {
    let margin = i64::try_from(context.policy.order_margin.as_secs()).unwrap_or(i64::MAX);
    let soon = context.client.ca_clock().unix_now().saturating_add(margin);
    order.expires_unix <= soon
}

/// Fetches an order whose last user died or was interrupted; returns why it is unusable, if it is.
async fn look(scene: &mut Scene<'_>, claim: &ReadyOrder) -> Result<Option<&'static str>, Failure> {
    let Scene { context, trace, .. } = scene;
    match context.client.order(trace, &claim.registration.account, &claim.url).await {
        Ok(order) => Ok(match order.status {
            OrderStatus::Ready => None,
            OrderStatus::Pending => Some("the CA has withdrawn an authorization"),
            // The certificate's key was lost with the chain that finalized it.
            OrderStatus::Processing | OrderStatus::Valid => {
                Some("it was finalized by a chain that was interrupted")
            }
            OrderStatus::Invalid => Some("it is invalid"),
        }),
        Err(failure) if failure.kind == FailureClass::Problem => Ok(Some("the CA no longer knows it")),
        Err(failure) => Err(failure),
    }
}

/// Whether a failure after finalize makes the order unusable.
const fn is_spent(kind: FailureClass) -> bool {
    matches!(kind, FailureClass::Problem | FailureClass::Validation | FailureClass::WrongCertificate)
}
