//! The stored state at the start of a run: the objects of the CA, and whether the CA still knows them.

use wec_acme::{Client, Clock, Failure, Trace};
use wec_store::{Catalogue, Counts, State, StateOptions, StoreError};

use crate::plan::Plan;

/// Number of stored accounts that are checked before all stored objects are set aside, because a single
/// account may be missing for its own reasons.
const ASKED_ABOUT: usize = 2;

/// An open state store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub state: State,
    /// What the run continues with, one line each.
    pub notes: Vec<String>,
}

/// Opens the state store of `plan`. If the CA no longer knows the stored accounts (it was reset, and assigns
/// its ids again), all stored objects of this CA are set aside first.
///
/// # Errors
/// See [`StoreError`]. If the CA does not answer whether it knows an account, the account counts as known.
pub async fn open_state(plan: &Plan, client: &Client, clock: Clock) -> Result<Opened, StoreError> {
    let directory = plan.directory.as_str();
    let options = StateOptions { limits: plan.limits, ..StateOptions::default() };
    let state = State::open(&plan.state, directory, options).await?;
    if knows(client, clock, &state).await {
        let note = format!("state   {}: {}", shown(&plan.state), held(state.counts()));
        return Ok(Opened { state, notes: vec![note] });
    }
    let lost = state.counts();
    state.close().await?;
    let catalogue = Catalogue::open(&plan.state).await?;
    // None when another process of the run did it first and reported it.
    if let Some(name) = catalogue.set_aside(directory, clock).await? {
        tracing::warn!(
            "the CA no longer knows the stored accounts (was it reset?): everything in {} for this CA is set aside, {}, and \
             the run starts empty; to delete it: wec state forget --state {} {name:?}",
            shown(&plan.state),
            counted(lost),
            shown(&plan.state),
        );
    }
    catalogue.close().await;
    let state = State::open(&plan.state, directory, options).await?;
    let notes = vec![format!("state   {}: {}", shown(&plan.state), held(state.counts()))];
    Ok(Opened { state, notes })
}

/// Whether the CA knows the stored objects, as far as it answers.
async fn knows(client: &Client, clock: Clock, state: &State) -> bool {
    let asked = state.newest_registrations(ASKED_ABOUT);
    for registration in &asked {
        let account = &registration.account;
        match client.find_account(&mut Trace::new(clock), &account.key).await {
            // The same key at another URL is an account from after the reset.
            Ok(Some(url)) if url == account.url => return true,
            Ok(_) => {}
            Err(Failure { message, .. }) => {
                tracing::warn!(
                    account = account.url,
                    "the CA does not answer for a stored account, which is assumed to exist: {message}"
                );
                return true;
            }
        }
    }
    asked.is_empty()
}

/// A state URL without its password.
fn shown(url: &str) -> String {
    wec_store::redacted(url)
}

fn held(counts: Counts) -> String {
    if counts == Counts::default() {
        return "nothing of this CA yet".into();
    }
    format!("continues with {} of this CA", counted(counts))
}

fn counted(counts: Counts) -> String {
    let things =
        |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    format!(
        "{}, {} and {}",
        things(counts.registrations, "account", "accounts"),
        things(counts.authorizations, "ready order", "ready orders"),
        things(counts.certificates, "certificate", "certificates")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_the_state_that_a_run_continues_with() {
        assert_eq!(held(Counts::default()), "nothing of this CA yet");
        let counts = Counts { registrations: 1, authorizations: 3, certificates: 0, revoked: 7 };
        assert_eq!(held(counts), "continues with 1 account, 3 ready orders and 0 certificates of this CA");
    }
}
