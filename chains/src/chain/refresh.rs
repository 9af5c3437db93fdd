//! The refresh chain: replaces a stored certificate by a new one for the same names.
//!
//! (renewalInfo, if the CA has ARI) → newOrder, with `replaces` in that case → authorizations as in the
//! authorization chain → finalize, polls, certificate as in the certificate chain → stored in place of the
//! old one.
//!
//! The profile is drawn anew, as for any order.
//!
//! With `--stop-before finalize` the chain ends with the ready order, and the old certificate stays.
//!
//! For a member of a fleet, names and account are the member's, and no stored certificate is needed: the first renewal
//! in a run has no `replaces`.

use wec_acme::{Endpoint, Failure, FailureClass, Order};
use wec_store::{Object, StoredCertificate};

use crate::chain::registration;
use crate::choices::StopBefore;
use crate::issuance::IssuancePart;
use crate::member::Member;
use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    if let Some(member) = scene.member {
        return Box::pin(of_member(scene, member)).await;
    }
    let Some(room) = context.state.reserve(Object::Certificate) else { return Ok(Outcome::NothingToDo) };
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    let registration = claim.registration.clone();
    scene.signer = Some(registration.clone());

    let order = match order(scene, &claim).await {
        Ok(order) => order,
        Err(failure) => {
            if is_already_replaced(&failure) || steps::is_unknown_account(&failure) {
                context.state.certificate_gone(claim, &failure.message).await;
            } else if steps::did_nothing(scene.trace, Endpoint::NewOrder) {
                scene.notes.rests |= rest::put_back(context, scene.trace, claim, &failure);
            }
            return Err(failure);
        }
    };
    let account = &registration.account;
    let ready = Box::pin(steps::authorize(scene, account, order)).await?;
    if context.policy.choices.stop_before == Some(StopBefore::Finalize) {
        // The claim becomes suspect: the CA may refuse a second order that replaces the same certificate.
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
    Ok(Outcome::Issued(IssuancePart::Whole))
}

/// Renews the certificate of a member. Without any account the member registers the first one.
async fn of_member(scene: &mut Scene<'_>, member: Member) -> Result<Outcome, Failure> {
    let context = scene.context;
    let policy = &context.policy;
    let Some(room) = context.state.reserve(Object::Certificate) else { return Ok(Outcome::NothingToDo) };
    let registration =
        match policy.members.account(member, &context.state, policy.choices.plain.largest_account) {
            Some(registration) => registration,
            None => match registration::register(scene).await? {
                Some(registration) => registration,
                None => return Ok(Outcome::NothingToDo),
            },
        };
    let account = &registration.account;
    scene.signer = Some(registration.clone());
    let names = scene.names_of(member);
    let before = policy.members.certificate(member);
    let replaces = match before.as_deref() {
        Some(before) => renewal_window(scene, before).await?.then_some(before),
        None => None,
    };
    scene.draw_profile();
    let order = steps::new_order(scene, account, &names, replaces).await.inspect_err(|failure| {
        if is_already_replaced(failure) {
            policy.members.renewed(member, None);
        }
    })?;
    let ready = Box::pin(steps::authorize(scene, account, order)).await?;
    if policy.choices.stop_before == Some(StopBefore::Finalize) {
        return Ok(Outcome::Done);
    }
    let certificate = match steps::issue(scene, account, &ready, &names).await {
        Ok(certificate) => certificate,
        Err(failure) => {
            steps::settle(room, scene.trace, Endpoint::Finalize, &failure);
            return Err(failure);
        }
    };
    policy.members.renewed(member, Some(certificate.ari_id.as_str()).filter(|id| !id.is_empty()));
    context.state.certificate_issued(room, &registration, certificate).await;
    Ok(Outcome::Issued(IssuancePart::Whole))
}

/// newOrder for the certificate's names, with `replaces` if the CA has ARI.
async fn order(scene: &mut Scene<'_>, certificate: &StoredCertificate) -> Result<Box<Order>, Failure> {
    let account = &certificate.registration.account;
    let identifier = certificate.ari_id.as_str();
    let replaces = renewal_window(scene, identifier).await?.then_some(identifier);
    scene.draw_profile();
    match steps::new_order(scene, account, &certificate.names, replaces).await {
        // Already replaced by the order of the interrupted chain (RFC 9773 §5). Clients continue without
        // `replaces`.
        Err(failure) if certificate.suspect && is_already_replaced(&failure) => {
            steps::new_order(scene, account, &certificate.names, None).await
        }
        first => first,
    }
}

/// Fetches the suggested renewal window; returns whether the renewal can use `replaces`.
///
/// A load test renews regardless of the window: only the request matters. A server that advertises ARI but
/// does not support it is treated as one without ARI.
async fn renewal_window(scene: &mut Scene<'_>, identifier: &str) -> Result<bool, Failure> {
    let Scene { context, trace, .. } = scene;
    if context.client.directory().renewal_info.is_none() || identifier.is_empty() {
        return Ok(false);
    }
    match context.client.renewal_info(trace, identifier).await {
        Ok(info) => {
            let now = context.client.ca_clock().unix_now();
            let open = info.suggested_window.unix().is_none_or(|(start, _)| start <= now);
            tracing::debug!(identifier, open, "renewal window");
            Ok(true)
        }
        Err(failure) if matches!(failure.kind, FailureClass::Problem | FailureClass::UnexpectedStatus) => {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

fn is_already_replaced(failure: &Failure) -> bool {
    steps::is(failure, "alreadyReplaced")
}
