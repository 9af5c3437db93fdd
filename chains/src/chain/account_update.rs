//! The account update chain: an account gets other contacts (RFC 8555 §7.3.2).
//!
//! (newAccount with onlyReturnExisting, if the account is suspect) → account → stored.
//!
//! The new contacts are those of the plan with a tag, `mailto:ops+5f3a9c01@ca.test`, or `wec+5f3a9c01` at the
//! base domain.

use rand::RngExt as _;
use wec_acme::Failure;

use crate::own_account;
use crate::scene::{Outcome, Scene};

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let Some(claim) = own_account::claim(scene).await? else { return Ok(Outcome::NothingToDo) };
    let Scene { context, trace, rng, notes, .. } = scene;
    let contact = tagged(&context.policy.contact, &context.policy.base_domain, rng.random());
    match context.client.update_contact(trace, &claim.registration.account, &contact).await {
        Ok(()) => {
            context.state.registration_recontacted(claim, &contact).await;
            Ok(Outcome::Done)
        }
        Err(failure) => {
            // Whether the CA has the old contacts or the new ones, the account can be used.
            notes.rests |= own_account::put_back(context, trace, claim, &failure);
            Err(failure)
        }
    }
}

/// The contacts of the plan, each with this tag, or one at the base domain.
fn tagged(contacts: &[String], base_domain: &str, tag: u32) -> Vec<String> {
    if contacts.is_empty() {
        return vec![format!("mailto:wec+{tag:08x}@{base_domain}")];
    }
    let with_tag = |contact: &String| match contact.rsplit_once('@') {
        Some((user, domain)) => format!("{user}+{tag:08x}@{domain}"),
        None => contact.clone(),
    };
    contacts.iter().map(with_tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_contacts_differ_from_those_of_the_plan_by_a_tag() {
        let contacts = ["mailto:ops@ca.test".to_owned(), "tel:+1-555".to_owned()];
        assert_eq!(tagged(&contacts, "wec.test", 0xa1), ["mailto:ops+000000a1@ca.test", "tel:+1-555"]);
        assert_eq!(tagged(&[], "wec.test", 7), ["mailto:wec+00000007@wec.test"]);
    }
}
