//! The refusals chain: one request that the CA must refuse, of a kind drawn by the plan's weights.
//!
//! | kind | requests |
//! | --- | --- |
//! | of the envelope: nonce, signature, URL, key, algorithm | account, wrong; after a right one for a nonce that is used again |
//! | of the CSR | finalize of a ready order that no other worker has |
//! | early-finalize | newOrder, finalize |
//! | foreign-order | newOrder by one account, order by another |
//! | unknown-profile, oversized-body | newOrder |
//!
//! A refusal as expected is a success. Acceptance is a failure of the class `accepted`.

use std::sync::Arc;

use wec_acme::{
    AccountKey, Endpoint, Failure, Flaw, MustRefuse, NewOrder, certificate_request, finalize_payload,
    new_order_payload, weak_certificate_request,
};
use wec_record::Chain;
use wec_store::Registration;

use crate::chain::{certificate, revoke};
use crate::refusal::Refusal;
use crate::scene::{Outcome, Scene};

/// A profile that no directory has.
const UNKNOWN_PROFILE: &str = "wec-unknown-profile";
/// Bytes of the member that makes a body too large.
const OVERSIZED: usize = 1 << 20;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let available = context.state.available();
    let has_profiles = !context.client.directory().meta.profiles.is_empty();
    let may_finalize = available.orders && context.policy.runs(Chain::Certificate);
    let possible = |kind: Refusal| {
        (!kind.needs_ready_order() || may_finalize) && (kind != Refusal::UnknownProfile || has_profiles)
    };
    let kind = context.policy.choices.refusals.draw(scene.rng, possible);
    let Some(kind) = kind else { return Ok(Outcome::NothingToDo) };
    if kind.needs_ready_order() {
        return wrong_csr(scene, kind).await;
    }
    let Some(registration) = context.state.registration() else { return Ok(Outcome::NothingToDo) };
    scene.signer = Some(registration.clone());
    match kind {
        Refusal::EarlyFinalize => early_finalize(scene, &registration).await,
        Refusal::ForeignOrder => foreign_order(scene, &registration).await,
        Refusal::UnknownProfile | Refusal::OversizedBody => wrong_order(scene, kind, &registration).await,
        _ => wrong_envelope(scene, kind, &registration).await,
    }
}

/// A request for the account, with a flaw in its envelope.
async fn wrong_envelope(
    scene: &mut Scene<'_>,
    kind: Refusal,
    registration: &Arc<Registration>,
) -> Result<Outcome, Failure> {
    let other = match kind {
        Refusal::ForeignKey => Some(foreign_key(scene, registration)?),
        _ => None,
    };
    let flaw = match (&other, kind) {
        (Some(key), _) => Flaw::ForeignKey(key),
        (None, Refusal::ReplayedNonce) => Flaw::ReplayedNonce,
        (None, Refusal::ForeignNonce) => Flaw::ForeignNonce,
        (None, Refusal::WrongUrl) => Flaw::WrongUrl,
        (None, Refusal::UnsupportedAlgorithm) => Flaw::Algorithm,
        (None, _) => Flaw::BadSignature,
    };
    let account = &registration.account;
    let request = MustRefuse {
        endpoint: Endpoint::Account,
        url: &account.url,
        account,
        payload: b"",
        flaw,
        expected: &kind.expected(),
    };
    scene.context.client.must_refuse(scene.trace, request).await?;
    Ok(Outcome::Done)
}

/// The key of another account, or a new one if there is no other.
fn foreign_key(scene: &mut Scene<'_>, registration: &Registration) -> Result<Arc<AccountKey>, Failure> {
    match revoke::another_account(scene.context, registration.id) {
        Some(other) => Ok(Arc::clone(&other.account.key)),
        None => scene.trace.keygen(AccountKey::generate),
    }
}

/// finalize of a ready order with a wrong CSR. The CA decides whether the order can still be used: its claim becomes
/// suspect, so that the next chain asks.
async fn wrong_csr(scene: &mut Scene<'_>, kind: Refusal) -> Result<Outcome, Failure> {
    let Some(claim) = certificate::usable_order(scene).await? else { return Ok(Outcome::NothingToDo) };
    scene.signer = Some(claim.registration.clone());
    scene.note_order(&claim.url);
    let base_domain = &scene.context.policy.base_domain;
    let csr = scene.trace.keygen(|| match kind {
        Refusal::WeakKey => weak_certificate_request(&claim.names),
        Refusal::MismatchedCsr => {
            let other = format!("mismatched.{base_domain}");
            certificate_request(&[&claim.names[1..], &[other]].concat()).map(|(_, csr)| csr)
        }
        _ => Ok(b"this is not a certification request".to_vec()),
    })?;
    let request = MustRefuse {
        endpoint: Endpoint::Finalize,
        url: &claim.finalize_url,
        account: &claim.registration.account,
        payload: &finalize_payload(&csr),
        flaw: Flaw::None,
        expected: &kind.expected(),
    };
    scene.context.client.must_refuse(scene.trace, request).await?;
    Ok(Outcome::Done)
}

/// finalize of a new order, none of whose authorizations is valid.
async fn early_finalize(scene: &mut Scene<'_>, registration: &Arc<Registration>) -> Result<Outcome, Failure> {
    let (client, account) = (&scene.context.client, &registration.account);
    let names = scene.new_names();
    let order = client.new_order(scene.trace, account, &names, None).await?;
    scene.note_order(&order.url);
    if order.status == wec_acme::OrderStatus::Ready {
        // The CA reuses authorizations of a name above these.
        return Ok(Outcome::Abandoned);
    }
    let (_, csr) = scene.trace.keygen(|| certificate_request(&names))?;
    let request = MustRefuse {
        endpoint: Endpoint::Finalize,
        url: &order.finalize,
        account,
        payload: &finalize_payload(&csr),
        flaw: Flaw::None,
        expected: &Refusal::EarlyFinalize.expected(),
    };
    client.must_refuse(scene.trace, request).await?;
    Ok(Outcome::Done)
}

/// A new order of one account, requested by another.
async fn foreign_order(scene: &mut Scene<'_>, registration: &Arc<Registration>) -> Result<Outcome, Failure> {
    let Some(other) = revoke::another_account(scene.context, registration.id) else {
        return Ok(Outcome::NothingToDo);
    };
    let client = &scene.context.client;
    let names = scene.new_names();
    let order = client.new_order(scene.trace, &registration.account, &names, None).await?;
    scene.note_order(&order.url);
    scene.signer = Some(other.clone());
    let request = MustRefuse {
        endpoint: Endpoint::Order,
        url: &order.url,
        account: &other.account,
        payload: b"",
        flaw: Flaw::None,
        expected: &Refusal::ForeignOrder.expected(),
    };
    client.must_refuse(scene.trace, request).await?;
    Ok(Outcome::Done)
}

/// newOrder with a profile that does not exist, or much too large.
async fn wrong_order(
    scene: &mut Scene<'_>,
    kind: Refusal,
    registration: &Arc<Registration>,
) -> Result<Outcome, Failure> {
    let names = scene.new_names();
    let profile = (kind == Refusal::UnknownProfile).then_some(UNKNOWN_PROFILE);
    let mut payload = new_order_payload(NewOrder { names: &names, replaces: None, profile, validity: None })?;
    if kind == Refusal::OversizedBody {
        payload.pop();
        payload.extend(br#","padding":""#);
        payload.resize(payload.len() + OVERSIZED, b'a');
        payload.extend(br#""}"#);
    }
    let client = &scene.context.client;
    let request = MustRefuse {
        endpoint: Endpoint::NewOrder,
        url: &client.directory().new_order,
        account: &registration.account,
        payload: &payload,
        flaw: Flaw::None,
        expected: &kind.expected(),
    };
    client.must_refuse(scene.trace, request).await?;
    Ok(Outcome::Done)
}
