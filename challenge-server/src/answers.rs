//! The source of all listeners' answers: the challenge store and this server's own records.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wec_store::ChallengeReader;

use crate::history::History;
use crate::hits::Hits;
use crate::records::Records;

/// A CA waits 5 to 10 s for a validation: it should get an error before that if the store is unreachable.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);

/// Shared by all listeners of one server.
pub(crate) struct Answers {
    store: Arc<dyn ChallengeReader>,
    pub(crate) records: Records,
    pub(crate) hits: Arc<Hits>,
    /// Only with the management API.
    pub(crate) history: Option<History>,
}

/// The challenge store cannot be reached, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreFailed(String);

impl Answers {
    pub(crate) fn new(
        store: Arc<dyn ChallengeReader>,
        records: Records,
        hits: Arc<Hits>,
        history: Option<History>,
    ) -> Self {
        Self { store, records, hits, history }
    }

    /// The key authorization for `token` at the host `name`.
    pub(crate) async fn http01(&self, name: &str, token: &str) -> Result<Option<String>, StoreFailed> {
        let told = self.records.read().tokens.get(token).cloned();
        match told {
            Some(answer) => Ok(Some(answer)),
            None => within(self.store.http01(name, token)).await,
        }
    }

    /// The digest that the certificate for `name` must contain.
    pub(crate) async fn tls_alpn01(&self, name: &str) -> Result<Option<[u8; 32]>, StoreFailed> {
        let told = self.records.read().digests.get(name).copied();
        match told {
            Some(digest) => Ok(Some(digest)),
            None => within(self.store.tls_alpn01(name)).await,
        }
    }

    /// The stored TXT values at `_acme-challenge.<name>`, or at the name of a draft's type itself.
    pub(crate) async fn dns01(&self, name: &str) -> Result<Vec<String>, StoreFailed> {
        within(self.store.dns01(name)).await
    }
}

async fn within<T>(
    lookup: impl Future<Output = Result<T, wec_store::ChallengeStoreError>>,
) -> Result<T, StoreFailed> {
    let failed = match timeout(STORE_TIMEOUT, lookup).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => StoreFailed(error.to_string()),
        Err(_) => StoreFailed(format!("the challenge store did not answer within {STORE_TIMEOUT:?}")),
    };
    tracing::warn!(reason = %failed, "a validation could not be answered");
    Err(failed)
}
