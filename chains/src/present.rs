//! Challenge data that a chain has put, so that all of it is taken back however the chain ends.

use wec_acme::{Failure, FailureClass};
use wec_store::{ChallengeData, ChallengeStoreError, ChallengeWriter};

use crate::linger::{Linger, take_back};

/// What has been put and is still the chain's to take back.
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
        writer.put(data).await.map_err(|error| match error {
            ChallengeStoreError::Local { .. } => Failure::new(FailureClass::Local, error.to_string()),
            error => Failure::internal(error.to_string()),
        })
    }

    /// The authorization of `name` is final: from now on its data lingers. Without that, or with too much that does, the
    /// chain takes it back at its end, when its time is over.
    pub(crate) fn settled(&mut self, name: &str, linger: &Linger) {
        let settled = self.0.extract_if(.., |data| data.name == name);
        let kept: Vec<_> = settled.filter_map(|data| linger.leave(data)).collect();
        self.0.extend(kept);
    }

    /// Ends the chain's care for what is left: it lingers, or is forgotten at once. What the store does not take is left to
    /// its own expiry.
    pub(crate) async fn end(&mut self, writer: &dyn ChallengeWriter, linger: &Linger) {
        for data in self.0.drain(..) {
            if let Some(data) = linger.leave(data) {
                take_back(writer, &data).await;
            }
        }
    }
}
