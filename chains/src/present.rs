//! Challenge data that a chain has stored, so that all of it is removed however the chain ends.

use wec_acme::{Failure, FailureClass};
use wec_store::{ChallengeData, ChallengeStoreError, ChallengeWriter};

use crate::linger::{Linger, take_back};

/// Stored data that the chain still has to remove.
#[derive(Debug, Default)]
pub(crate) struct Presented(Vec<ChallengeData>);

impl Presented {
    /// Stores `data`, so that it is served.
    pub(crate) async fn put(
        &mut self,
        writer: &dyn ChallengeWriter,
        data: ChallengeData,
    ) -> Result<(), Failure> {
        // Recorded first, because a chain may be dropped while the store is writing.
        // Most orders have one name, and every waiting worker keeps this.
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.push(data);
        let data = self.0.last().expect("pushed above");
        writer.put(data).await.map_err(|error| match error {
            ChallengeStoreError::Local { .. } => Failure::new(FailureClass::Local, error.to_string()),
            error => Failure::internal(error.to_string()),
        })
    }

    /// The authorization of `name` is final: from now on its data is kept for the linger time. If data is not
    /// kept, or too much is kept, the chain removes it at its end.
    pub(crate) fn settled(&mut self, name: &str, linger: &Linger) {
        let settled = self.0.extract_if(.., |data| data.name == name);
        let kept: Vec<_> = settled.filter_map(|data| linger.leave(data)).collect();
        self.0.extend(kept);
    }

    /// Passes on or removes the remaining data. Data that the store does not remove stays until its own
    /// expiry.
    pub(crate) async fn end(&mut self, writer: &dyn ChallengeWriter, linger: &Linger) {
        for data in self.0.drain(..) {
            if let Some(data) = linger.leave(data) {
                take_back(writer, &data).await;
            }
        }
    }
}
