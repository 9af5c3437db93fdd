//! A node's entry on the board: one key, bound to a lease that is renewed while the node runs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wec_clock::Moment;

use crate::kv::{Kv, Lease, Make, Write};
use crate::lease::{SendRight, renew_every, stop_after};
use crate::{BoardError, ClockOffset, Follows, NodeInfo, NodeState, Strength, keys};

/// Time limit of ending the lease when the node leaves; if the board is unreachable, it expires.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause before a renewal that failed is tried again: a process that was stopped comes back at once.
const AGAIN: Duration = Duration::from_millis(250);
const PUTTING: &str = "putting a node on the board";

/// A node's entry on the board, until [`Membership::leave`] or drop.
///
/// If the process dies, the board removes the node after the lease
/// ([`EtcdOptions::lease`](crate::EtcdOptions)).
#[derive(Debug)]
pub struct Membership {
    entry: Entry,
    right: SendRight,
    stop: DropGuard,
    held: tokio::task::JoinHandle<()>,
}

/// A node's entry on the board, for those that change it. It is written in the background, or when the board is
/// reachable again. Clones change the same entry.
#[derive(Clone, Debug)]
pub struct Entry(watch::Sender<NodeInfo>);

impl Entry {
    /// Sets the node's state.
    pub fn set_state(&self, state: NodeState) {
        self.set(|node| node.state = state);
    }

    /// Sets what it offers to its session from now on.
    pub fn offer(&self, strength: Strength) {
        self.set(|node| node.strength = strength);
    }

    /// Acknowledges shares: from now on the node uses no larger part of an earlier epoch. Call it after the
    /// smaller part is in use.
    pub fn acknowledge(&self, registration: i64, epoch: u64) {
        let follows = Follows { registration, epoch };
        self.set(|node| node.follows = follows);
    }

    /// Sets how far the node's clock is ahead of the board's time.
    pub fn set_clock(&self, clock: ClockOffset) {
        self.set(|node| node.clock = Some(clock));
    }

    fn set(&self, change: impl FnOnce(&mut NodeInfo)) {
        self.0.send_if_modified(|node| {
            let before = node.clone();
            change(node);
            *node != before
        });
    }
}

impl Membership {
    /// Puts a node on the board and keeps it there.
    pub(crate) async fn begin(
        kv: Arc<dyn Kv>,
        node: NodeInfo,
        tasks: &TaskTracker,
    ) -> Result<Self, BoardError> {
        let id = node.id.clone();
        let (entry, told) = watch::channel(node);
        let right = SendRight::new(0, Some(Moment::now()));
        let mut presence = Presence {
            kv,
            key: keys::node(&id),
            entry: told,
            right: right.clone(),
            lease: Lease { id: 0, length: None },
            version: 0,
        };
        if !presence.put().await? {
            return Err(BoardError::NodeTaken(id));
        }
        let stop = CancellationToken::new();
        let held = tasks.spawn(presence.hold(stop.clone()));
        Ok(Self { entry: Entry(entry), right, stop: stop.drop_guard(), held })
    }

    /// The node as it was put on the board.
    pub(crate) fn node(&self) -> NodeInfo {
        registered(&self.entry.0.borrow(), self.right.standing().borrow().registration)
    }

    /// The node's entry, to change it.
    pub fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// The node's right to send.
    pub fn right(&self) -> SendRight {
        self.right.clone()
    }

    /// Sets the node's state. It is written in the background, or when the board is reachable again.
    pub fn set_state(&mut self, state: NodeState) {
        self.entry.set_state(state);
    }

    /// Leaves, and waits until that is written, at most a few seconds.
    pub async fn leave(self) {
        drop(self.stop);
        // The panic hook has reported a panic of the task; the lease expires.
        let _ = self.held.await;
    }
}

/// The node's entry under this registration. What it acknowledged under an earlier one does not count.
fn registered(node: &NodeInfo, registration: i64) -> NodeInfo {
    let known = node.follows.registration == registration;
    let epoch = if known { node.follows.epoch } else { 0 };
    NodeInfo { follows: Follows { registration, epoch }, ..node.clone() }
}

struct Presence {
    kv: Arc<dyn Kv>,
    key: String,
    /// The node's entry; it may change.
    entry: watch::Receiver<NodeInfo>,
    right: SendRight,
    /// The last lease.
    lease: Lease,
    /// The version of our last write to the key.
    version: u64,
}

impl Presence {
    /// Keeps the node on the board until `leave`; puts it back after its lease has ended.
    async fn hold(mut self, leave: CancellationToken) {
        leave.run_until_cancelled(self.renew_and_tell()).await;
        // Others take over at once.
        self.right.end();
        if !matches!(tokio::time::timeout(FAREWELL, self.kv.revoke(self.lease.id)).await, Ok(Ok(()))) {
            tracing::info!(key = %self.key, "cannot remove this node from the board: its lease will run out");
        }
    }

    async fn renew_and_tell(&mut self) {
        let (mut tells, mut untold, mut failing) = (true, false, false);
        let mut renewals = self.lease.length.map(|length| {
            let pause = renew_every(length);
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
                // A renewal that is due comes first: the right to send depends on it.
                biased;
                _ = renewal => false,
                changed = self.entry.changed(), if tells => {
                    tells = changed.is_ok();
                    tells
                }
            };
            if news {
                untold = self.tell().await;
                continue;
            }
            let renewed = self.renew().await;
            failing &= renewed.is_err();
            match renewed {
                Ok(true) if untold => untold = self.tell().await,
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(key = %self.key, "another node has registered this node's id on the board")
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot renew this node's presence");
                    }
                    if let Some(renewals) = &mut renewals {
                        renewals.reset_after(AGAIN);
                    }
                }
            }
        }
    }

    /// Renews the lease, or registers again after it has ended; false when a live node has the key.
    async fn renew(&mut self) -> Result<bool, BoardError> {
        // Before the call: the board counts the lease from a later moment.
        let sent = Moment::now();
        let renewal = self.kv.renew(self.lease.id);
        let renewed = match self.lease.length {
            // A call that hangs must not use up the time of the next ones.
            Some(length) => {
                tokio::time::timeout(renew_every(length), renewal).await.unwrap_or_else(|_| {
                    let reason = "no answer before the next renewal was due".to_owned();
                    Err(BoardError::Lost { doing: "renewing a node's presence", reason })
                })?
            }
            None => renewal.await?,
        };
        if renewed {
            self.right.set(self.lease.id, self.ends(sent));
            // The write of the entry may have failed after the lease was granted.
            return if self.version == 0 { self.claim().await } else { Ok(true) };
        }
        // Unreachable for longer than the lease: the other nodes have seen this one leave.
        self.put().await
    }

    /// When the right to send ends that a renewal sent at `sent` has given.
    fn ends(&self, sent: Moment) -> Option<Moment> {
        self.lease.length.map(|length| sent.after(stop_after(length)))
    }

    /// Gets a lease and binds the key to it; false when a live node has the key.
    async fn put(&mut self) -> Result<bool, BoardError> {
        let sent = Moment::now();
        self.lease = self.kv.lease(PUTTING).await?;
        self.version = 0;
        let claimed = self.claim().await?;
        if claimed {
            self.right.set(self.lease.id, self.ends(sent));
        }
        Ok(claimed)
    }

    /// Binds the key to the lease; false when a live node has the key.
    async fn claim(&mut self) -> Result<bool, BoardError> {
        let write = self.write(0);
        self.version = match self.kv.write_if(vec![write], PUTTING).await? {
            Some(version) => version,
            // An earlier attempt may have been made although its answer was lost.
            None => match self.kv.get(&self.key, PUTTING).await? {
                Some(there) if there.lease == Some(self.lease.id) => there.version,
                _ => 0,
            },
        };
        Ok(self.version > 0)
    }

    fn write(&mut self, after: u64) -> Write {
        let node = registered(&self.entry.borrow_and_update(), self.lease.id);
        Write {
            key: self.key.clone(),
            after: Some(after),
            make: Make::Value(keys::json(&node)),
            lease: Some(self.lease.id),
        }
    }

    /// Writes the node's entry to the board; returns whether that must be repeated.
    async fn tell(&mut self) -> bool {
        let within = self.lease.length.map_or(Duration::MAX, renew_every);
        match tokio::time::timeout(within, self.update()).await {
            Ok(Ok(told)) => !told,
            // The next renewal must not wait for it.
            Err(_) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot write the state of this node to the board yet");
                true
            }
        }
    }

    /// False when the key no longer belongs to this node.
    async fn update(&mut self) -> Result<bool, BoardError> {
        let doing = "updating a node on the board";
        loop {
            let write = self.write(self.version);
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
