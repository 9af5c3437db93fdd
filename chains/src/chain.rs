//! Selects the file that runs a chain; one file per chain.
//!
//! The table of `wec_record::Chain` has what each chain needs and makes, and its default weight.

mod account_deactivation;
mod account_update;
mod alternate_chains;
mod authorization;
mod authorization_deactivation;
mod certificate;
mod composed;
mod download;
mod key_rollover;
mod orders_list;
mod pre_authorization;
mod refresh;
mod refusals;
mod registration;
mod renewal_info;
mod revoke;

use wec_acme::Failure;
use wec_record::Chain;

use crate::scene::{Outcome, Scene};

/// Runs the given chain.
pub(crate) async fn dispatch(chain: Chain, scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    match chain {
        Chain::Registration => registration::run(scene).await,
        Chain::Authorization => authorization::run(scene).await,
        // The largest futures by far: unboxed they would enlarge the memory of every worker, of which most wait
        // for validations.
        Chain::Certificate => Box::pin(certificate::run(scene)).await,
        Chain::Refresh => Box::pin(refresh::run(scene)).await,
        Chain::Revoke => Box::pin(revoke::run(scene)).await,
        Chain::KeyRollover => Box::pin(key_rollover::run(scene)).await,
        Chain::AccountUpdate => Box::pin(account_update::run(scene)).await,
        Chain::AccountDeactivation => Box::pin(account_deactivation::run(scene)).await,
        Chain::AuthorizationDeactivation => Box::pin(authorization_deactivation::run(scene)).await,
        Chain::OrdersList => Box::pin(orders_list::run(scene)).await,
        Chain::PreAuthorization => Box::pin(pre_authorization::run(scene)).await,
        Chain::RenewalInfo => Box::pin(renewal_info::run(scene)).await,
        Chain::AlternateChains => Box::pin(alternate_chains::run(scene)).await,
        Chain::Download => Box::pin(download::run(scene)).await,
        Chain::Refusals => Box::pin(refusals::run(scene)).await,
        Chain::Composed => Box::pin(composed::run(scene)).await,
    }
}
