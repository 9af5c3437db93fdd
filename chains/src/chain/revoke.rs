//! The revoke chain: revokes a stored certificate (RFC 8555 §7.6).
//!
//! revokeCert, signed with the account's or the certificate's key.
//!
//! After a revocation signed with the certificate's key, or with the reason keyCompromise, CAs consider the
//! key compromised and refuse it from then on. If it is a key of the RSA pool, which many certificates use,
//! it is removed from the pool.

use rand::RngExt as _;
use wec_acme::{CertificateKey, Endpoint, Failure, FailureClass, Signer};

use crate::choice::RevocationReason;
use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Scene { context, rng, trace, signer: signing_account, notes, .. } = scene;
    let policy = &context.policy;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    notes.serial.clone_from(&claim.serial);
    let reason = policy.revocation_reasons.draw(*rng, |_| true).unwrap_or(RevocationReason::NONE);
    let by_certificate = rng.random_bool(policy.revoke_by_certificate_key);
    let blocks = by_certificate || reason == RevocationReason::KEY_COMPROMISE;
    let key = blocks.then(|| CertificateKey::from_pkcs8(&claim.key_pkcs8)).transpose()?;
    let signer = match &key {
        Some(key) if by_certificate => Signer::CertificateKey(key),
        _ => {
            *signing_account = Some(claim.registration.clone());
            Signer::Account(&claim.registration.account)
        }
    };
    let answer = context.client.revoke(trace, signer, &claim.leaf_der, reason.code()).await;
    // A CA whose answer was lost may also have blocked the key.
    if let Some(key) = key
        && !(answer.is_err() && steps::did_nothing(trace, Endpoint::RevokeCert))
    {
        policy.keys.retire(key.public_key());
    }
    // RFC 5280 §5.3.1: no reason means unspecified.
    let stored = reason.code().unwrap_or(0);
    let Err(failure) = answer else {
        context.state.certificate_revoked(claim, stored).await;
        return Ok(Outcome::Done);
    };

    let is = |name| steps::is(&failure, name);
    let suspect = claim.suspect;
    if is("alreadyRevoked") && steps::was_repeated(trace) {
        context.state.certificate_revoked(claim, stored).await;
        return Ok(Outcome::Done);
    }
    if is("alreadyRevoked") {
        context.state.certificate_gone(claim, "revoked already").await;
        // It was revoked by the interrupted chain.
        return if suspect { Ok(Outcome::Done) } else { Err(failure) };
    }
    if failure.kind == FailureClass::Problem && !is("badRevocationReason") {
        // Further attempts would fail in the same way.
        context.state.certificate_gone(claim, &failure.message).await;
    } else if steps::did_nothing(trace, Endpoint::RevokeCert) {
        notes.rests |= rest::put_back(context, trace, claim, &failure);
    }
    Err(failure)
}
