//! `Presence`: one node's key, bound to a lease that is kept alive for as long as the node is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::etcdserverpb::lease_client::LeaseClient;
use super::api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use super::link::{CALL, Link, chain};
use crate::BoardError;

/// Renewals in the time that a lease lasts: two may fail.
const RENEWALS: u32 = 3;
/// Bound of telling etcd that we leave; the lease runs out by itself when it cannot be told.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Presence {
    link: Arc<Link>,
    key: String,
    /// What the node says of itself; it may change.
    value: watch::Receiver<Vec<u8>>,
    lease: i64,
    /// As etcd granted it.
    seconds: i64,
}

impl Presence {
    /// Puts the node on the board.
    pub(super) async fn establish(
        link: Arc<Link>,
        key: String,
        id: String,
        value: watch::Receiver<Vec<u8>>,
        seconds: i64,
    ) -> Result<Self, BoardError> {
        let mut presence = Self { link, key, value, lease: 0, seconds };
        if presence.put().await? { Ok(presence) } else { Err(BoardError::NodeTaken(id)) }
    }

    /// Keeps it there until `leave`; puts it back when etcd had dropped it.
    pub(super) async fn hold(mut self, leave: CancellationToken) {
        let pause = Duration::from_secs(self.seconds.unsigned_abs()) / RENEWALS;
        leave
            .run_until_cancelled(async {
                let (mut tells, mut untold) = (true, false);
                let mut wake = tokio::time::interval_at(Instant::now() + pause, pause);
                loop {
                    let news = tokio::select! {
                        _ = wake.tick() => false,
                        changed = self.value.changed(), if tells => {
                            tells = changed.is_ok();
                            tells
                        }
                    };
                    if news {
                        untold = self.told().await;
                        continue;
                    }
                    let renewed = match self.renew().await {
                        Ok(true) if untold => {
                            untold = self.told().await;
                            Ok(true)
                        }
                        Ok(true) => Ok(true),
                        // Out of reach for longer than the lease lasts: the others have seen us go.
                        Ok(false) => self.put().await,
                        Err(error) => Err(error),
                    };
                    match renewed {
                        Ok(true) => {}
                        Ok(false) => {
                            tracing::warn!(key = %self.key, "another node has taken our id on the board")
                        }
                        Err(error) => tracing::warn!(%error, "this node's presence could not be renewed"),
                    }
                }
            })
            .await;
        let lease = self.lease;
        let farewell = self.link.call("leaving the board", |channel| async move {
            LeaseClient::new(channel).lease_revoke(LeaseRevokeRequest { id: lease }).await
        });
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(_))) {
            tracing::info!(key = %self.key, "could not tell the board that we leave: the lease will run out");
        }
    }

    /// Gets a lease and puts the key under it; false when a live node holds the key.
    async fn put(&mut self) -> Result<bool, BoardError> {
        let doing = "putting a node on the board";
        let request = LeaseGrantRequest { ttl: self.seconds, id: 0 };
        let granted = self
            .link
            .call(doing, |channel| async move { LeaseClient::new(channel).lease_grant(request).await })
            .await?;
        (self.lease, self.seconds) = (granted.id, granted.ttl.max(1));
        let value = self.value.borrow_and_update().clone();
        Ok(self.link.put_if(&self.key, 0, value, self.lease, doing).await?.is_some())
    }

    /// Tells the board what the node says of itself now; whether that has to be tried again.
    async fn told(&mut self) -> bool {
        let value = self.value.borrow_and_update().clone();
        let put = self.link.put_bound(&self.key, value, self.lease, "updating a node on the board").await;
        if let Err(error) = &put {
            tracing::warn!(%error, "the board does not know yet what this node can do");
        }
        put.is_err()
    }

    /// Renews the lease; false when it has ended.
    async fn renew(&self) -> Result<bool, BoardError> {
        let request = LeaseKeepAliveRequest { id: self.lease };
        let mut answers = self
            .link
            .call("renewing a node's presence", |channel| async move {
                LeaseClient::new(channel).lease_keep_alive(tokio_stream::once(request)).await
            })
            .await?;
        let lost = |reason: String| BoardError::Lost { doing: "renewing a node's presence", reason };
        match tokio::time::timeout(CALL, answers.message()).await {
            Ok(Ok(Some(answer))) => Ok(answer.ttl > 0),
            Ok(Ok(None)) => Err(lost("etcd ended the stream".to_owned())),
            Ok(Err(status)) => Err(lost(chain(&status))),
            Err(_) => Err(lost(format!("no answer within {} s", CALL.as_secs()))),
        }
    }
}
