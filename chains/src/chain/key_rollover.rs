//! The key rollover chain: an account gets another key (RFC 8555 §7.3.5).
//!
//! (newAccount with onlyReturnExisting, if the account is suspect) → keyChange → stored.
//!
//! The account is exclusive: nothing else depends on its key.

use wec_acme::{Failure, FailureClass};

use crate::scene::{Outcome, Scene};
use crate::{own_account, steps};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Some(claim) = own_account::claim(scene).await? else { return Ok(Outcome::NothingToDo) };
    let Scene { context, trace, rng, notes, .. } = scene;
    let (client, account) = (&context.client, &claim.registration.account);
    let policy = &context.policy;
    let kind = policy.choices.account_key_types.draw(*rng, |_| true).unwrap_or_default();
    let key = trace.waits_for_key(policy.account_keys.next(kind)).await?;
    let changed = match client.change_key(trace, account, &key).await {
        // The CA carried out the first of two attempts, and the second one has the signature of the old key.
        Err(failure) if failure.kind == FailureClass::Problem && steps::was_repeated(trace) => {
            match client.find_account(trace, &key).await {
                Ok(Some(url)) if url == account.url => Ok(wec_acme::Account { url, key }),
                _ => Err(failure),
            }
        }
        changed => changed,
    };
    match changed {
        Ok(changed) => {
            context.state.registration_rekeyed(claim, changed).await;
            Ok(Outcome::Done)
        }
        Err(failure) => {
            if steps::did_nothing(trace, wec_acme::Endpoint::KeyChange) {
                notes.rests |= own_account::put_back(context, trace, claim, &failure);
            }
            // Otherwise the account may have either key. The claim is dropped and becomes suspect.
            Err(failure)
        }
    }
}
