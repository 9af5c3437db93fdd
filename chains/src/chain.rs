//! The chains, one file each, and which name runs which file.
//!
//! What a chain needs and makes, and how often it runs, is in the table of `wec_record::Chain`.

mod authorization;
mod certificate;
mod refresh;
mod registration;
mod revoke;

use wec_acme::Failure;
use wec_record::Chain;

use crate::scene::{Outcome, Scene};

/// Runs what `chain` does.
pub(crate) async fn dispatch(chain: Chain, scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    match chain {
        Chain::Registration => registration::run(scene).await,
        Chain::Authorization => authorization::run(scene).await,
        Chain::Certificate => certificate::run(scene).await,
        // The largest by far: in place it would make every worker's memory larger.
        Chain::Refresh => Box::pin(refresh::run(scene)).await,
        Chain::Revoke => revoke::run(scene).await,
    }
}
