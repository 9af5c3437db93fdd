//! An agent's presence: one key, bound to a lease that every heartbeat renews.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::info::AgentInfo;
use crate::kv::{Kv, Lease, Make, Write};
use crate::{BoardError, keys};

/// Time between two heartbeats. An agent that has been silent for the length of a lease, 10 s, is dead.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time limit of ending the lease when the agent leaves.
const FAREWELL: Duration = Duration::from_secs(2);

/// An agent on the board, until [`AgentPresence::leave`] or drop.
#[derive(Debug)]
pub struct AgentPresence {
    info: watch::Sender<AgentInfo>,
    stop: DropGuard,
    held: tokio::task::JoinHandle<()>,
}

impl AgentPresence {
    /// Puts the agent on the board and keeps it there.
    pub(crate) async fn begin(
        kv: Arc<dyn Kv>,
        info: AgentInfo,
        tasks: &TaskTracker,
    ) -> Result<Self, BoardError> {
        let name = info.name.clone();
        let (info, shown) = watch::channel(info);
        let mut beat =
            Heartbeat { kv, key: keys::agent(&name), info: shown, lease: None, version: 0, untold: false };
        if !beat.put().await? {
            return Err(BoardError::AgentTaken(name));
        }
        let stop = CancellationToken::new();
        let held = tasks.spawn(beat.hold(stop.clone()));
        Ok(Self { info, stop: stop.drop_guard(), held })
    }

    /// What the board shows of it.
    pub fn info(&self) -> AgentInfo {
        self.info.borrow().clone()
    }

    /// Changes what the board shows. It is written in the background, or when the board is reachable again.
    pub fn change(&self, change: impl FnOnce(&mut AgentInfo)) {
        self.info.send_modify(change);
    }

    /// Leaves, and waits until that is written, at most a few seconds.
    pub async fn leave(self) {
        drop(self.stop);
        // The panic hook has reported a panic of the task; the lease expires.
        let _ = self.held.await;
    }
}

struct Heartbeat {
    kv: Arc<dyn Kv>,
    key: String,
    info: watch::Receiver<AgentInfo>,
    /// The last lease; none before the first.
    lease: Option<Lease>,
    /// The version of our last write to the key.
    version: u64,
    /// Whether the board does not have the latest yet.
    untold: bool,
}

impl Heartbeat {
    async fn hold(mut self, leave: CancellationToken) {
        let beating = async {
            let mut beats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut changes, mut told) = (true, false);
            loop {
                tokio::select! {
                    _ = beats.tick() => {}
                    changed = self.info.changed(), if changes => {
                        changes = changed.is_ok();
                        self.untold |= changes;
                    }
                }
                match self.beat().await {
                    Ok(true) => told = false,
                    Ok(false) if !std::mem::replace(&mut told, true) => {
                        tracing::warn!(
                            key = self.key,
                            "another agent has registered this agent's name on the board"
                        );
                    }
                    Err(error) if !std::mem::replace(&mut told, true) => {
                        tracing::warn!(%error, "cannot renew this agent's presence on the board");
                    }
                    Ok(false) | Err(_) => {}
                }
            }
        };
        leave.run_until_cancelled(beating).await;
        let Some(lease) = self.lease else { return };
        if !matches!(tokio::time::timeout(FAREWELL, self.kv.revoke(lease.id)).await, Ok(Ok(()))) {
            tracing::info!(key = self.key, "cannot remove this agent from the board: its lease will run out");
        }
    }

    /// Renews the lease, and writes what has changed; false when another agent has the key.
    async fn beat(&mut self) -> Result<bool, BoardError> {
        let renewed = match self.lease {
            Some(lease) => self.kv.renew(lease.id).await?,
            None => false,
        };
        if !renewed {
            // Not renewed for longer than the lease: others have seen this agent die.
            return self.put().await;
        }
        if !self.untold {
            return Ok(true);
        }
        let (lease, value) = (self.lease, keys::json(&*self.info.borrow_and_update()));
        match self.write(value, lease, self.version).await? {
            Some(version) => (self.version, self.untold) = (version, false),
            None => {
                // An earlier write may have been made although its answer was lost.
                let there = self.kv.get(&self.key, DOING).await?;
                let ours = there.filter(|there| there.lease == lease.map(|lease| lease.id));
                let Some(ours) = ours else { return Ok(false) };
                // The next heartbeat tries again.
                self.version = ours.version;
            }
        }
        Ok(true)
    }

    /// Gets a lease and binds the key to it; false when a live agent has the key.
    async fn put(&mut self) -> Result<bool, BoardError> {
        let lease = self.kv.lease(DOING).await?;
        self.lease = Some(lease);
        let value = keys::json(&*self.info.borrow_and_update());
        let version = self.write(value, Some(lease), 0).await?;
        self.version = version.unwrap_or_default();
        self.untold = false;
        if version.is_none() {
            // The lease is of no use, and would be one more with each attempt.
            let _ = self.kv.revoke(lease.id).await;
            self.lease = None;
        }
        Ok(version.is_some())
    }

    async fn write(
        &self,
        value: Vec<u8>,
        lease: Option<Lease>,
        after: u64,
    ) -> Result<Option<u64>, BoardError> {
        let lease = lease.map(|lease| lease.id);
        let write = Write { key: self.key.clone(), after: Some(after), make: Make::Value(value), lease };
        self.kv.write_if(vec![write], DOING).await
    }
}

const DOING: &str = "putting an agent on the board";
