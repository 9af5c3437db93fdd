//! The revoke chain: a stored certificate is revoked (RFC 8555 §7.6).
//!
//! revokeCert, signed by the account's or the certificate's own key.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use wec_acme::{CertificateKey, Endpoint, Failure, FailureKind, Signer};

use crate::run::{Outcome, Scene};
use crate::steps;

/// RFC 5280 §5.3.1. Some CAs then refuse the key for ever, and RSA keys are used for many certificates.
const KEY_COMPROMISE: u8 = 1;

pub(crate) async fn revoke(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, rng, trace, signer: signing_account, .. } = scene;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    let mut reason = context.policy.revocation_reasons.choose(*rng).copied().flatten();
    if reason == Some(KEY_COMPROMISE) && CertificateKey::from_pkcs8(&claim.key_pkcs8)?.kind().is_rsa() {
        let others: Vec<_> =
            context.policy.revocation_reasons.iter().filter(|other| **other != reason).collect();
        reason = others.choose(*rng).copied().copied().flatten();
    }

    let by_certificate = rng.random_bool(context.policy.revoke_by_certificate_key);
    let key = by_certificate.then(|| CertificateKey::from_pkcs8(&claim.key_pkcs8)).transpose()?;
    if key.is_none() {
        *signing_account = Some(claim.registration.clone());
    }
    let signer = key.as_ref().map_or(Signer::Account(&claim.registration.account), Signer::CertificateKey);
    let Err(failure) = context.client.revoke(trace, signer, &claim.leaf_der, reason).await else {
        // RFC 5280 §5.3.1: no reason means unspecified.
        context.state.certificate_revoked(claim, reason.unwrap_or(0)).await;
        return Ok(Outcome::Done);
    };

    let is = |name| failure.problem.as_ref().is_some_and(|problem| problem.is(name));
    let suspect = claim.suspect;
    if is("alreadyRevoked") && steps::was_repeated(trace) {
        context.state.certificate_revoked(claim, reason.unwrap_or(0)).await;
        return Ok(Outcome::Done);
    }
    if is("alreadyRevoked") {
        context.state.certificate_gone(claim, "revoked already").await;
        // By the chain that was cut off.
        return if suspect { Ok(Outcome::Done) } else { Err(failure) };
    }
    if failure.kind == FailureKind::Problem && !is("badRevocationReason") {
        // Trying it again and again would end the same way.
        context.state.certificate_gone(claim, &failure.message).await;
    } else if steps::did_nothing(trace, Endpoint::RevokeCert) {
        claim.release();
    }
    Err(failure)
}
