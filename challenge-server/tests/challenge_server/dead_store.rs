//! A store that fails, for tests of answers and of servers.

use wec_store::challenge::BoxFuture;
use wec_store::{ChallengeReader, ChallengeStoreError};

/// A store that cannot be reached: readers for HTTP and TLS get an error, readers for DNS no answer.
pub(crate) struct DeadStore;

impl ChallengeReader for DeadStore {
    fn http01<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ChallengeStoreError>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn tls_alpn01<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<[u8; 32]>, ChallengeStoreError>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn dns01<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, ChallengeStoreError>> {
        Box::pin(std::future::pending())
    }
}

fn unavailable() -> ChallengeStoreError {
    ChallengeStoreError::Unavailable { store: "redis://gone".into(), reason: "connection refused".into() }
}
