//! Selects the file that runs a chain; one file per chain.
//!
//! The table of `wec_record::Chain` has what each chain needs and makes, and its default weight.

mod authorization;
mod certificate;
mod refresh;
mod registration;
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
        Chain::Revoke => revoke::run(scene).await,
    }
}
