//! Challenge data that a chain has put, so that all of it is taken back however the chain ends.

use wec_acme::Failure;
use wec_store::{ChallengeData, ChallengeWriter};

/// What has been put and not yet been taken back.
#[derive(Debug, Default)]
pub(crate) struct Presented(Vec<ChallengeData>);

impl Presented {
    /// Makes `data` answerable.
    pub(crate) async fn put(
        &mut self,
        writer: &dyn ChallengeWriter,
        data: ChallengeData,
    ) -> Result<(), Failure> {
        // Noted first: a chain may be dropped while the store is writing.
        self.0.push(data);
        let data = self.0.last().expect("pushed above");
        writer.put(data).await.map_err(|error| Failure::internal(error.to_string()))
    }

    /// Forgets it all. What the store does not take is left to its own expiry.
    pub(crate) async fn take_back(&mut self, writer: &dyn ChallengeWriter) {
        for data in self.0.drain(..) {
            if let Err(error) = writer.remove(&data).await {
                tracing::warn!(name = %data.name, %error, "challenge data could not be taken back");
            }
        }
    }
}
