//! The refresh chain: a certificate in the place of a stored one, for the same names.
//!
//! (renewalInfo, where the CA has ARI) → newOrder, with `replaces` then → authorizations as in the authorization
//! chain → finalize, polls, certificate as in the certificate chain → stored in the old one's place.
//!
//! When the run stops before finalize, the chain ends with the ready order, and the old certificate stays.

use wec_acme::{Endpoint, Failure, FailureKind, Order};
use wec_store::{Kind, StoredCertificate};

use crate::context::StopBefore;
use crate::run::{Outcome, Scene};
use crate::steps;

pub(crate) async fn refresh(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let Some(room) = context.state.reserve(Kind::Certificate) else { return Ok(Outcome::NothingToDo) };
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    let registration = claim.registration.clone();
    scene.signer = Some(registration.clone());

    let order = match order(scene, &claim).await {
        Ok(order) => order,
        Err(failure) => {
            if is_already_replaced(&failure) || steps::is_unknown_account(&failure) {
                context.state.certificate_gone(claim, &failure.message).await;
            } else if steps::did_nothing(scene.trace, Endpoint::NewOrder) {
                claim.release();
            }
            return Err(failure);
        }
    };
    let account = &registration.account;
    let ready = steps::authorize(scene, account, order).await?;
    if context.policy.stop_before == Some(StopBefore::Finalize) {
        // The claim goes back as suspect: the CA may refuse to have the certificate named as replaced once more.
        return Ok(Outcome::Done);
    }
    let certificate = match steps::issue(scene, account, &ready, &claim.names).await {
        Ok(certificate) => certificate,
        Err(failure) => {
            steps::settle(room, scene.trace, Endpoint::Finalize, &failure);
            return Err(failure);
        }
    };
    context.state.certificate_replaced(claim, room, &registration, certificate).await;
    Ok(Outcome::Done)
}

/// newOrder for the certificate's names, naming it as replaced where the CA has ARI.
async fn order(scene: &mut Scene<'_>, certificate: &StoredCertificate) -> Result<Order, Failure> {
    let (client, account) = (&scene.context.client, &certificate.registration.account);
    let replaces = renewal_window(scene, certificate).await?.then_some(certificate.ari_id.as_str());
    match client.new_order(scene.trace, account, &certificate.names, replaces).await {
        // By an order of the chain that was cut off (RFC 9773 §5). Clients go on without naming it.
        Err(failure) if certificate.suspect && is_already_replaced(&failure) => {
            client.new_order(scene.trace, account, &certificate.names, None).await
        }
        first => first,
    }
}

/// Asks when the CA would like this certificate renewed; says whether the renewal can name it.
///
/// A load test renews whatever the window says: the request is what counts. Servers that advertise ARI and do not
/// have it are renewed from as if they did not advertise it.
async fn renewal_window(scene: &mut Scene<'_>, certificate: &StoredCertificate) -> Result<bool, Failure> {
    let Scene { context, trace, .. } = scene;
    if context.client.directory().renewal_info.is_none() || certificate.ari_id.is_empty() {
        return Ok(false);
    }
    match context.client.renewal_info(trace, &certificate.ari_id).await {
        Ok(info) => {
            let now = context.clock.unix_now();
            let open = info.suggested_window.unix().is_none_or(|(start, _)| start <= now);
            tracing::debug!(serial = %certificate.serial, open, "renewal window");
            Ok(true)
        }
        Err(failure) if matches!(failure.kind, FailureKind::Problem | FailureKind::UnexpectedStatus) => {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

fn is_already_replaced(failure: &Failure) -> bool {
    failure.problem.as_ref().is_some_and(|problem| problem.is("alreadyReplaced"))
}
