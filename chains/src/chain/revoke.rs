//! The revoke chain: revokes a stored certificate (RFC 8555 §7.6).
//!
//! revokeCert, signed by one of the three who may: its account, its own key, or another account. The other account
//! first gets authorizations for all names: newOrder and authorizations as in the authorization chain.
//!
//! After a revocation signed with the certificate's key, or with the reason keyCompromise, CAs consider the
//! key compromised and refuse it from then on. If it is a key of the RSA pool, which many certificates use,
//! it is removed from the pool.

use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use wec_acme::{CertificateKey, Endpoint, Failure, FailureClass, NewOrder, Signer};
use wec_store::Registration;

use crate::choice::RevocationReason;
use crate::context::{Context, Policy};
use crate::scene::{Outcome, Scene};
use crate::{rest, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let policy = &context.policy;
    let Some(claim) = context.state.claim_certificate() else { return Ok(Outcome::NothingToDo) };
    scene.notes.serial.clone_from(&claim.serial);
    let reason =
        policy.choices.revocation_reasons.draw(scene.rng, |_| true).unwrap_or(RevocationReason::NONE);
    let who = Who::draw(policy, scene.rng);
    let by_certificate = who == Who::CertificateKey;
    let other = if who == Who::OtherAccount { another_account(context, claim.registration.id) } else { None };
    if let Some(other) = &other
        && let Err(failure) = Box::pin(get_authorizations(scene, other, &claim.names)).await
    {
        scene.notes.rests |= rest::put_back(context, scene.trace, claim, &failure);
        return Err(failure);
    }
    let blocks = by_certificate || reason == RevocationReason::KEY_COMPROMISE;
    let key = blocks.then(|| CertificateKey::from_pkcs8(&claim.key_pkcs8)).transpose()?;
    let signing_account = other.as_ref().unwrap_or(&claim.registration);
    let signer = match &key {
        Some(key) if by_certificate => Signer::CertificateKey(key),
        _ => {
            scene.signer = Some(signing_account.clone());
            Signer::Account(&signing_account.account)
        }
    };
    let trace = &mut *scene.trace;
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
    // Its own account can still revoke what another one may not, or with another reason.
    let only_so = other.is_some() || is("badRevocationReason");
    if failure.kind == FailureClass::Problem && !only_so {
        // Further attempts would fail in the same way.
        context.state.certificate_gone(claim, &failure.message).await;
    } else if steps::did_nothing(trace, Endpoint::RevokeCert) {
        scene.notes.rests |= rest::put_back(context, trace, claim, &failure);
    }
    Err(failure)
}

/// The three who may revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Account,
    CertificateKey,
    OtherAccount,
}

impl Who {
    fn draw(policy: &Policy, rng: &mut StdRng) -> Self {
        let (by_key, by_other) =
            (policy.choices.revoke_by_certificate_key, policy.choices.revoke_by_other_account);
        if rng.random_bool(by_key) {
            Self::CertificateKey
        } else if by_other > 0.0 && rng.random_bool((by_other / (1.0 - by_key)).min(1.0)) {
            Self::OtherAccount
        } else {
            Self::Account
        }
    }
}

/// Draws in search of another account.
const DRAWS: usize = 16;

/// An account that is not the one with this id; none if there seems to be none.
pub(super) fn another_account(context: &Context, not: i64) -> Option<Arc<Registration>> {
    let mut drawn = (0..DRAWS).map_while(|_| context.state.registration());
    drawn.find(|other| other.id != not)
}

/// Gets valid authorizations for these names, by an order that is not used further.
async fn get_authorizations(
    scene: &mut Scene<'_>,
    registration: &Arc<Registration>,
    names: &[String],
) -> Result<(), Failure> {
    scene.signer = Some(registration.clone());
    let account = &registration.account;
    let new_order = NewOrder { names, replaces: None, profile: None, validity: None };
    let order = scene.context.client.new_order_for(scene.trace, account, new_order).await.map(Box::new)?;
    scene.note_order(&order.url);
    Box::pin(steps::authorize(scene, account, order)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_shares_of_the_three_who_may_revoke_are_of_all_revocations() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut policy = Policy::under("wec.test");
        policy.choices.revoke_by_certificate_key = 0.5;
        policy.choices.revoke_by_other_account = 0.2;
        let draws = 40_000;
        let drawn: Vec<_> = (0..draws).map(|_| Who::draw(&policy, &mut rng)).collect();
        for (who, share) in [(Who::CertificateKey, 0.5), (Who::OtherAccount, 0.2), (Who::Account, 0.3)] {
            let measured = drawn.iter().filter(|drawn| **drawn == who).count() as f64 / f64::from(draws);
            // Four standard deviations of a binomial share.
            let deviation = 4.0 * (share * (1.0f64 - share) / f64::from(draws)).sqrt();
            assert!((measured - share).abs() <= deviation, "{who:?}: {measured}");
        }
        for (by_key, by_other, who) in
            [(1.0, 0.0, Who::CertificateKey), (0.0, 1.0, Who::OtherAccount), (0.0, 0.0, Who::Account)]
        {
            policy.choices.revoke_by_certificate_key = by_key;
            policy.choices.revoke_by_other_account = by_other;
            assert!((0..100).all(|_| Who::draw(&policy, &mut rng) == who));
        }
    }
}
