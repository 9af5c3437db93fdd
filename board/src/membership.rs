//! A node's entry on the board: one key, bound to a lease that is renewed while the node runs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::kv::{Kv, Lease, Make, Write};
use crate::{BoardError, NodeInfo, NodeState, keys};

/// Renewals per lease: two may fail.
const RENEWALS: u32 = 3;
/// Time limit of ending the lease when the node leaves; if the board is unreachable, it expires.
const FAREWELL: Duration = Duration::from_secs(2);

/// A node's entry on the board, until [`Membership::leave`] or drop.
///
/// If the process dies, the board removes the node after the lease
/// ([`EtcdOptions::lease`](crate::EtcdOptions)).
#[derive(Debug)]
pub struct Membership {
    node: NodeInfo,
    value: watch::Sender<Vec<u8>>,
    stop: DropGuard,
    held: tokio::task::JoinHandle<()>,
}

impl Membership {
    /// Puts a node on the board and keeps it there.
    pub(crate) async fn begin(
        kv: Arc<dyn Kv>,
        node: NodeInfo,
        tasks: &TaskTracker,
    ) -> Result<Self, BoardError> {
        let (value, told) = watch::channel(keys::json(&node));
        let mut presence = Presence {
            kv,
            key: keys::node(&node.id),
            value: told,
            lease: Lease { id: 0, length: None },
            version: 0,
        };
        if !presence.put().await? {
            return Err(BoardError::NodeTaken(node.id));
        }
        let stop = CancellationToken::new();
        let held = tasks.spawn(presence.hold(stop.clone()));
        Ok(Self { node, value, stop: stop.drop_guard(), held })
    }

    /// Sets the node's state. It is written in the background, or when the board is reachable again.
    pub fn set_state(&mut self, state: NodeState) {
        self.node.state = state;
        self.value.send_replace(keys::json(&self.node));
    }

    /// Leaves, and waits until that is written, at most a few seconds.
    pub async fn leave(self) {
        drop(self.stop);
        // The panic hook has reported a panic of the task; the lease expires.
        let _ = self.held.await;
    }
}

struct Presence {
    kv: Arc<dyn Kv>,
    key: String,
    /// The node's entry; it may change.
    value: watch::Receiver<Vec<u8>>,
    /// The last lease.
    lease: Lease,
    /// The version of our last write to the key.
    version: u64,
}

impl Presence {
    /// Keeps the node on the board until `leave`; puts it back after its lease has ended.
    async fn hold(mut self, leave: CancellationToken) {
        leave
            .run_until_cancelled(async {
                let (mut tells, mut untold) = (true, false);
                let mut renewals = self.lease.length.map(|length| {
                    let pause = length / RENEWALS;
                    let mut renewals = tokio::time::interval_at(Instant::now() + pause, pause);
                    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    renewals
                });
                loop {
                    let renewal = async {
                        match &mut renewals {
                            Some(renewals) => renewals.tick().await,
                            None => pending().await,
                        }
                    };
                    let news = tokio::select! {
                        _ = renewal => false,
                        changed = self.value.changed(), if tells => {
                            tells = changed.is_ok();
                            tells
                        }
                    };
                    if news {
                        untold = self.tell().await;
                        continue;
                    }
                    let renewed = match self.kv.renew(self.lease.id).await {
                        Ok(true) if untold => {
                            untold = self.tell().await;
                            Ok(true)
                        }
                        Ok(true) => Ok(true),
                        // Unreachable for longer than the lease: the other nodes have seen this one leave.
                        Ok(false) => self.put().await,
                        Err(error) => Err(error),
                    };
                    match renewed {
                        Ok(true) => {}
                        Ok(false) => {
                            tracing::warn!(key = %self.key, "another node has taken our id on the board")
                        }
                        Err(error) => tracing::warn!(%error, "cannot renew this node's presence"),
                    }
                }
            })
            .await;
        if !matches!(tokio::time::timeout(FAREWELL, self.kv.revoke(self.lease.id)).await, Ok(Ok(()))) {
            tracing::info!(key = %self.key, "could not tell the board that we leave: the lease will run out");
        }
    }

    /// Gets a lease and binds the key to it; false when a live node has the key.
    async fn put(&mut self) -> Result<bool, BoardError> {
        let doing = "putting a node on the board";
        self.lease = self.kv.lease(doing).await?;
        let value = self.value.borrow_and_update().clone();
        let version = self.kv.write_if(vec![self.write(0, value)], doing).await?;
        self.version = version.unwrap_or_default();
        Ok(version.is_some())
    }

    fn write(&self, after: u64, value: Vec<u8>) -> Write {
        Write {
            key: self.key.clone(),
            after: Some(after),
            make: Make::Value(value),
            lease: Some(self.lease.id),
        }
    }

    /// Writes the node's entry to the board; returns whether that must be repeated.
    async fn tell(&mut self) -> bool {
        match self.update().await {
            Ok(told) => !told,
            Err(error) => {
                tracing::warn!(%error, "the board does not know yet what this node is doing");
                true
            }
        }
    }

    /// False when the key no longer belongs to this node.
    async fn update(&mut self) -> Result<bool, BoardError> {
        let doing = "updating a node on the board";
        let value = self.value.borrow_and_update().clone();
        loop {
            let write = self.write(self.version, value.clone());
            if let Some(version) = self.kv.write_if(vec![write], doing).await? {
                self.version = version;
                return Ok(true);
            }
            // An earlier update may have been made although its answer was lost.
            match self.kv.get(&self.key, doing).await? {
                Some(there) if there.lease == Some(self.lease.id) && there.version != self.version => {
                    self.version = there.version;
                }
                _ => return Ok(false),
            }
        }
    }
}
