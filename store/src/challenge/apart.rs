//! dns-01 in its own store: for a CA with its own resolver, whose connections still arrive at our challenge
//! server. An example is Boulder outside of its own compose file.

use std::sync::Arc;

use super::{BoxFuture, ChallengeData, ChallengeStoreError, ChallengeWriter};
use wec_record::Listener;

/// Writes dns-01 challenges to one store and all others to another.
pub struct DnsApart {
    dns: Arc<dyn ChallengeWriter>,
    others: Arc<dyn ChallengeWriter>,
}

impl DnsApart {
    /// TXT records go to `dns`, everything else to `others`.
    pub fn new(dns: Arc<dyn ChallengeWriter>, others: Arc<dyn ChallengeWriter>) -> Self {
        Self { dns, others }
    }

    fn store_of(&self, challenge: &ChallengeData) -> &dyn ChallengeWriter {
        match challenge.kind.listener() {
            Listener::Dns => &*self.dns,
            Listener::Http | Listener::Tls => &*self.others,
        }
    }
}

impl ChallengeWriter for DnsApart {
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.store_of(challenge).put(challenge)
    }

    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.store_of(challenge).remove(challenge)
    }
}

#[cfg(test)]
mod tests {
    use wec_record::ChallengeType;

    use super::*;
    use crate::challenge::{ChallengeReader, MemoryChallenges};

    fn challenge(kind: ChallengeType) -> ChallengeData {
        ChallengeData {
            kind,
            name: "a.test".into(),
            token: "t".into(),
            key_authorization: "t.thumbprint".into(),
        }
    }

    /// Whether http-01, dns-01 and tls-alpn-01 for the name are in `store`.
    async fn kept(store: &MemoryChallenges) -> [bool; 3] {
        [
            store.http01("a.test", "t").await.unwrap().is_some(),
            !store.dns01("a.test").await.unwrap().is_empty(),
            store.tls_alpn01("a.test").await.unwrap().is_some(),
        ]
    }

    #[tokio::test]
    async fn dns01_goes_to_one_store_and_the_rest_to_the_other() {
        let dns = Arc::new(MemoryChallenges::default());
        let others = Arc::new(MemoryChallenges::default());
        let apart = DnsApart::new(dns.clone(), others.clone());
        let challenges = ChallengeType::ALL.map(challenge);

        for challenge in &challenges {
            apart.put(challenge).await.unwrap();
        }
        assert_eq!(kept(&dns).await, [false, true, false]);
        assert_eq!(kept(&others).await, [true, false, true]);

        for challenge in &challenges {
            apart.remove(challenge).await.unwrap();
        }
        assert_eq!(kept(&dns).await, [false; 3]);
        assert_eq!(kept(&others).await, [false; 3]);
    }
}
