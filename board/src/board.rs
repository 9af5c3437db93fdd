//! `Board`: the operations of components. Each is a read, a decision and a write, and is repeated after a
//! concurrent write.

mod agents;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::task::TaskTracker;

use crate::answers::Answers;
use crate::kv::etcd::Etcd;
use crate::kv::memory::Memory;
use crate::kv::sqlite::Sqlite;
use crate::kv::{Kv, Watcher, Write};
use crate::stored::{Stored, StoredValue};
use crate::view::View;
use crate::{
    BoardError, By, Change, Changed, Connection, EtcdOptions, FileOptions, Made, Membership, NodeInfo, Pool,
    Quorum, RunRef, Session, Shares, Versioned, Wants, keys,
};

/// Number of changes that a session's journal keeps.
const JOURNAL: u64 = 1_000;
/// Interval of retries to decide shares while the board is unreachable.
const AGAIN: Duration = Duration::from_millis(500);
/// Time that a node leaves to each of those before it to decide shares.
const TURN: Duration = Duration::from_millis(200);
/// Number of nodes with a turn of their own; the others are last.
const TURNS: usize = 10;
/// Attempts of a write against concurrent writes of the same key.
const ATTEMPTS: u32 = 60;
/// The longest wait after a lost write, as a power of two milliseconds.
const LONGEST_WAIT: u32 = 9;

/// Lets others write first, after writes that lost against theirs: a random time, up to twice as long after each loss.
/// Fifty nodes that join at once need waits that are longer than the round trips of all of them.
async fn give_way(losses: u32) {
    if losses > 0 {
        let most = Duration::from_millis(1 << losses.min(LONGEST_WAIT));
        tokio::time::sleep(most.mul_f64(rand::random())).await;
    }
}

/// The state that every component follows. Clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    pub(crate) view: Arc<View>,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) memberships: TaskTracker,
    pub(crate) clock: WallClock,
    /// See [`Board::place`].
    place: Option<Arc<str>>,
}

impl Board {
    /// A board in this process's memory.
    pub fn local() -> Self {
        let (kv, view) = (Memory::default(), Arc::new(View::new()));
        kv.follow(keys::WATCHED, view.clone());
        Self::over(Arc::new(kv), view, None)
    }

    /// The board in an etcd, with its current content.
    ///
    /// # Errors
    /// When an endpoint is not valid, or none answers.
    pub async fn etcd(options: EtcdOptions) -> Result<Self, BoardError> {
        let (kv, view) = (Etcd::new(&options)?, Arc::new(View::new()));
        kv.watch(keys::WATCHED, view.clone()).await?;
        Ok(Self::over(Arc::new(kv), view, Some(options.url())))
    }

    /// The board in a file of this machine, with its current content; an empty one if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be opened, or is not a board.
    pub async fn file(options: FileOptions) -> Result<Self, BoardError> {
        let kv = Sqlite::open(&options.path, options.lease).await?;
        let view = Arc::new(View::new());
        kv.watch(keys::WATCHED, view.clone()).await?;
        Ok(Self::over(Arc::new(kv), view, Some(options.url())))
    }

    /// This board as seen by a node of another process, over a connection that a test can cut.
    ///
    /// # Errors
    /// When this board cannot be read.
    #[cfg(feature = "test-util")]
    pub async fn linked(&self) -> Result<(Self, crate::Link), BoardError> {
        let (link, view) = (crate::Link::to(self.kv.clone()), Arc::new(View::new()));
        link.watch(keys::WATCHED, view.clone()).await?;
        Ok((Self::over(Arc::new(link.clone()), view, Some("link".to_owned())), link))
    }

    fn over(kv: Arc<dyn Kv>, view: Arc<View>, place: Option<String>) -> Self {
        let place = place.map(Arc::from);
        Self { view, kv, memberships: TaskTracker::new(), clock: WallClock::start(), place }
    }

    /// The URL by which other processes find this board, without a password; none for a board in the memory of this
    /// process.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Puts a node on the board until the returned membership is dropped.
    ///
    /// # Errors
    /// When a live node has its id, or the board cannot be written.
    pub async fn join(&self, node: NodeInfo) -> Result<Membership, BoardError> {
        let membership = Membership::begin(self.kv.clone(), node, &self.memberships).await?;
        // The writer reads its own write.
        self.view.put_node(membership.node());
        Ok(membership)
    }

    /// The live nodes, by id.
    pub fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.view.nodes()
    }

    /// Puts a session on the board; it replaces one with the same id.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn put_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        self.decide(&session.spec.id, |_, _| Ok(Some(session.clone()))).await
    }

    /// Puts a session on the board unless there is one with the same id; returns the one that is there now.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn open_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        self.decide(&session.spec.id, |there, _| Ok(there.is_none().then(|| session.clone()))).await
    }

    /// Joins a session if there is one with live nodes; else creates `wanted`, which replaces one that was
    /// left. The node must have joined the board before, so that others see it.
    ///
    /// # Errors
    /// When the session's nodes are ending it, or the board cannot be written.
    pub async fn join_or_create(
        &self,
        wanted: &Session,
        node: &str,
    ) -> Result<Versioned<Session>, BoardError> {
        self.decide(&wanted.spec.id, |there, live| {
            let joined = Session::joined_or_created(there, wanted, node, live)?;
            Ok((there != Some(&joined)).then_some(joined))
        })
        .await
    }

    /// Begins a run at this moment unless it has begun: all nodes count its active time from there.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be written.
    pub async fn begin(&self, run: &RunRef, at_unix_ns: u64) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, _| there.begun(at_unix_ns)).await
    }

    /// The same for a scenario that waited for another one to end.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be written.
    pub async fn begin_scenario(
        &self,
        run: &RunRef,
        scenario: &str,
        at_unix_ns: u64,
    ) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, _| there.scenario_begun(scenario, at_unix_ns)).await
    }

    /// Records that a node starts no more iterations of a scenario; with the last live node the scenario has
    /// ended.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be written.
    pub async fn end_scenario(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
    ) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, live| there.scenario_over(scenario, node, live)).await
    }

    /// Records that a node's part of a run is over; the last live node stops the session, in the name of
    /// `by`.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be written.
    pub async fn done(&self, run: &RunRef, node: &str, by: By) -> Result<Versioned<Session>, BoardError> {
        let at = self.clock.unix_now_ns();
        self.update(run, |there, live| there.done_by(node, by, at, live)).await
    }

    /// Records that a node leaves a run that goes on without it, also if it was the last one: it may come back.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be written.
    pub async fn leave_run(&self, run: &RunRef, node: &str) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, _| there.left_by(node)).await
    }

    /// Changes the session of a run; does nothing if it is another run by now.
    async fn update(
        &self,
        run: &RunRef,
        next: impl Fn(&Session, &[NodeInfo]) -> Option<Session>,
    ) -> Result<Versioned<Session>, BoardError> {
        self.decide(&run.session, |there, live| {
            Ok(there.filter(|there| there.status.run == run.run).and_then(|there| next(there, live)))
        })
        .await
    }

    /// Writes the result of `next` for the current session and the live nodes; does nothing if it is none.
    async fn decide(
        &self,
        id: &str,
        next: impl Fn(Option<&Session>, &[NodeInfo]) -> Result<Option<Session>, BoardError>,
    ) -> Result<Versioned<Session>, BoardError> {
        let doing = "taking part in a session";
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let there = self.read(id, doing).await?;
            // Read after the session, so that the decision does not use nodes from before its last write.
            let nodes = self.kv.list(keys::NODES, doing).await?;
            let nodes: Vec<NodeInfo> = nodes.iter().filter_map(keys::parse).map(|node| node.value).collect();
            let now = there.session();
            let Some(mut next) = next(now.as_ref().map(|now| &now.value), &nodes)? else {
                return now.ok_or_else(|| BoardError::NoSession(id.to_owned()));
            };
            next.spec.changes = now.map_or(0, |now| now.value.spec.changes);
            if let Some(written) = self.write(there, next, doing).await? {
                return Ok(written);
            }
        }
        Err(BoardError::Contended(id.to_owned()))
    }

    /// A session as stored. Whether its parts are from one moment is checked by the next write.
    async fn read(&self, id: &str, doing: &'static str) -> Result<Stored, BoardError> {
        let (spec, status) = (keys::session(id), keys::status(id));
        let (spec, status) = tokio::try_join!(self.kv.get(&spec, doing), self.kv.get(&status, doing))?;
        let none = Stored::default();
        Ok(Stored {
            spec: spec.as_ref().map_or(none.spec, StoredValue::read),
            status: status.as_ref().map_or(none.status, StoredValue::read),
        })
    }

    /// Writes the changed parts of a session, if both are as they were read, with its changes in the journal.
    /// The result is visible at once, so that the writer reads its own write. Reports come from the watch, in
    /// order.
    async fn write(
        &self,
        there: Stored,
        next: Session,
        doing: &'static str,
    ) -> Result<Option<Versioned<Session>>, BoardError> {
        let Session { mut spec, status } = next;
        if there.spec.is(&spec) && there.status.is(&status) {
            return Ok(there.session());
        }
        let mut writes = Vec::new();
        if !there.spec.is(&spec) {
            for changed in &spec.last_changes {
                spec.changes += 1;
                let number = spec.changes;
                writes.push(Write::put(keys::entry(&spec.id, number), None, keys::json(changed)));
                let old = number.checked_sub(JOURNAL);
                writes.extend(old.map(|old| Write::delete(keys::entry(&spec.id, old))));
            }
        }
        writes.push(there.spec.write(keys::session(&spec.id), &spec));
        writes.push(there.status.write(keys::status(&spec.id), &status));
        let Some(version) = self.kv.write_if(writes, doing).await? else { return Ok(None) };
        let id = spec.id.clone();
        let written =
            Stored { spec: there.spec.written(spec, version), status: there.status.written(status, version) };
        let session = written.session();
        self.view.put_session(&id, written);
        Ok(session)
    }

    /// Takes iterations of a scenario for a node; returns the pool after it. The first request sets the
    /// number of iterations.
    ///
    /// # Errors
    /// When the board cannot be written. Repeating it with the same [`Wants::had`] grants nothing twice.
    pub async fn take_iterations(
        &self,
        run: &RunRef,
        scenario: &str,
        iterations: u64,
        wants: Wants<'_>,
    ) -> Result<Pool, BoardError> {
        self.pool(run, scenario, |there| {
            let there = there.filter(|pool| pool.run == run.run).cloned();
            let mut pool = there.unwrap_or_else(|| Pool::new(&run.run, iterations));
            pool.take(wants);
            pool
        })
        .await
    }

    /// Reduces a node's iterations of a scenario to `has`; others may take the rest.
    ///
    /// # Errors
    /// When the board cannot be written; then the next [`Board::take_iterations`] grants the rest again.
    pub async fn keep_iterations(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
        has: u64,
    ) -> Result<Pool, BoardError> {
        self.update_pool(run, scenario, |pool| pool.keep(node, has)).await
    }

    /// Records that a node has ended a scenario and how many iterations it has used; others may take the
    /// rest.
    ///
    /// # Errors
    /// When the board cannot be written; it can safely be repeated.
    pub async fn settle_iterations(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
        used: u64,
    ) -> Result<Pool, BoardError> {
        self.update_pool(run, scenario, |pool| pool.settle(node, used)).await
    }

    /// Changes the pool of a run; does nothing if it belongs to another run.
    async fn update_pool(
        &self,
        run: &RunRef,
        scenario: &str,
        change: impl Fn(&mut Pool),
    ) -> Result<Pool, BoardError> {
        self.pool(run, scenario, |there| {
            let mut pool = there.cloned().unwrap_or_default();
            if pool.run == run.run {
                change(&mut pool);
            }
            pool
        })
        .await
    }

    async fn pool(
        &self,
        run: &RunRef,
        scenario: &str,
        next: impl Fn(Option<&Pool>) -> Pool,
    ) -> Result<Pool, BoardError> {
        let (key, doing) = (keys::pool(&run.session, scenario), "sharing iterations");
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let pair = self.kv.get(&key, doing).await?;
            let now = pair.as_ref().and_then(keys::parse::<Pool>).map(|now| now.value);
            let next = next(now.as_ref());
            let after = pair.map_or(0, |pair| pair.version);
            let write = Write::put(key.clone(), Some(after), keys::json(&next));
            if now.as_ref() == Some(&next) || self.kv.write_if(vec![write], doing).await?.is_some() {
                return Ok(next);
            }
        }
        Err(BoardError::Contended(run.session.clone()))
    }

    /// The current sessions, ordered by id.
    pub fn sessions(&self) -> Vec<Versioned<Session>> {
        self.view.sessions()
    }

    /// Decides how the load of a session is shared among its live nodes; returns the shares. A decision
    /// without a change is not written, and of several concurrent ones one is made.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn decide_shares(&self, session: &str) -> Result<Shares, BoardError> {
        let (key, doing) = (keys::shares(session), "sharing a load");
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let pair = self.kv.get(&key, doing).await?;
            // Read after the shares: a node that leaves later causes another decision.
            let nodes = self.kv.list(keys::NODES, doing).await?;
            let nodes: Vec<NodeInfo> = nodes.iter().filter_map(keys::parse).map(|node| node.value).collect();
            let now = pair.as_ref().and_then(keys::parse::<Shares>).map(|now| now.value).unwrap_or_default();
            let next = now.next(session, &nodes);
            let after = pair.map_or(0, |pair| pair.version);
            let write = |next| Write::put(key.clone(), Some(after), keys::json(next));
            let decided = match &next {
                None => Some(after),
                Some(next) => self.kv.write_if(vec![write(next)], doing).await?,
            };
            if decided.is_some() {
                let shares = next.unwrap_or(now);
                self.view.put_shares(session, shares.clone());
                return Ok(shares);
            }
        }
        Err(BoardError::Contended(session.to_owned()))
    }

    /// Decides the shares of a session again whenever nodes join, leave, change or acknowledge, until it is
    /// dropped. Each node of the session does that, so it does not depend on one of them. The first one by id
    /// decides at once, and each other one waits a little longer, so that usually one write is made.
    pub async fn keep_shares(&self, session: &str, node: &str) {
        let (mut nodes, mut shares) = (self.nodes(), self.shares(session));
        let mut told = false;
        loop {
            let turn = {
                let nodes = nodes.borrow_and_update();
                let sharing = nodes.iter().filter(|node| node.shares_load_of(session));
                sharing.take(TURNS).position(|known| known.id == node).unwrap_or(TURNS)
            };
            if turn > 0 {
                // Others have time to decide.
                tokio::time::sleep(TURN * u32::try_from(turn).unwrap_or(u32::MAX)).await;
            }
            let changed = {
                let nodes = nodes.borrow_and_update();
                shares.borrow_and_update().next(session, &nodes).is_some()
            };
            if changed {
                if let Err(error) = self.decide_shares(session).await {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "the load is not shared again while the board cannot be reached");
                    }
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                told = false;
            }
            let changed = tokio::select! {
                changed = nodes.changed() => changed,
                changed = shares.changed() => changed,
            };
            if changed.is_err() {
                // There is no further sender: nothing can change.
                return;
            }
        }
    }

    /// Reserves a place for a node of this name: it is known, and counts for the quorum of the sessions that are meant
    /// for it, also while it does not live.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn reserve_place(&self, name: &str) -> Result<(), BoardError> {
        let write = Write::put(keys::place_of(name), None, b"{}".to_vec());
        self.kv.write_if(vec![write], "reserving a place for a node").await?;
        self.view.put_place(name, true);
        Ok(())
    }

    /// Removes the place of this name, if there is one.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn remove_place(&self, name: &str) -> Result<(), BoardError> {
        let write = Write::delete(keys::place_of(name));
        self.kv.write_if(vec![write], "removing the place of a node").await?;
        self.view.put_place(name, false);
        Ok(())
    }

    /// The names for which places are reserved.
    pub fn places(&self) -> watch::Receiver<BTreeSet<String>> {
        self.view.places()
    }

    /// The last answers to what time it is, by session.
    pub(crate) fn answers(&self) -> watch::Receiver<BTreeMap<String, Answers>> {
        self.view.answers()
    }

    /// Passes all questions what time it is to `watcher`.
    pub(crate) async fn watch_clocks(&self, watcher: Arc<dyn Watcher>) -> Result<(), BoardError> {
        self.kv.watch(keys::QUESTIONS, watcher).await
    }

    /// Writes a question or an answer.
    pub(crate) async fn write_clock(&self, write: Write) -> Result<(), BoardError> {
        self.kv.write_if(vec![write], "comparing clocks").await.map(drop)
    }

    /// The quorum of a session now.
    pub fn quorum(&self, session: &str) -> Quorum {
        let setting = self.session(session).borrow().as_ref().and_then(|session| session.value.spec.quorum);
        let agents = self.agents();
        let places = self.places().borrow().clone();
        let needed = places.into_iter().filter(|name| agents.borrow().needs_place(session, name)).collect();
        Quorum::of(session, &self.nodes().borrow(), &needed, setting)
    }

    /// The shares of a session, now and after each decision.
    pub fn shares(&self, session: &str) -> watch::Receiver<Shares> {
        self.view.shares(session)
    }

    /// A session, now and after each change; none while it does not exist.
    ///
    /// Only the latest value is delivered; for each single change see [`Board::changes`].
    pub fn session(&self, id: &str) -> watch::Receiver<Option<Versioned<Session>>> {
        self.view.session(id)
    }

    /// Changes a session, also with concurrent changes by others, and returns the session after it.
    ///
    /// A change without an effect is not written.
    ///
    /// # Errors
    /// When there is no such session or scenario, or the board cannot be written. After
    /// [`BoardError::Unreachable`] the change may or may not have been made; it can safely be repeated.
    pub async fn change(&self, id: &str, change: Change) -> Result<Versioned<Session>, BoardError> {
        self.change_all(id, &[change], |_| Ok::<_, BoardError>(())).await.map(|made| made.session)
    }

    /// Makes all of `changes`, in this order and with one write, or none if one cannot be made or is not
    /// `allowed` for the current session. `allowed` may be called several times, if others change the
    /// session.
    ///
    /// # Errors
    /// Those of `allowed`, and as for [`Board::change`].
    pub async fn change_all<E: From<BoardError>>(
        &self,
        id: &str,
        changes: &[Change],
        allowed: impl Fn(&Session) -> Result<(), E>,
    ) -> Result<Made, E> {
        let at_unix_ns = self.clock.unix_now_ns();
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let there = self.read(id, "reading a session").await?;
            let now = there.session().ok_or_else(|| BoardError::NoSession(id.to_owned()))?;
            allowed(&now.value)?;
            // Also if an earlier attempt was made and its answer was lost.
            let Some(next) = now.value.after_all(changes, at_unix_ns)? else {
                return Ok(Made { session: now, changes: Vec::new() });
            };
            let changes = next.spec.last_changes.clone();
            if let Some(session) = self.write(there, next, "changing a session").await? {
                return Ok(Made { session, changes });
            }
        }
        Err(BoardError::Contended(id.to_owned()).into())
    }

    /// The journal of a session: the last thousand changes of all its runs, in order.
    ///
    /// # Errors
    /// When the board cannot be read.
    pub async fn journal(&self, session: &str) -> Result<Vec<Changed>, BoardError> {
        let entries = self.kv.list(&keys::journal(session), "reading a journal").await?;
        Ok(entries.iter().filter_map(keys::parse).map(|changed| changed.value).collect())
    }

    /// Every later change of any session, in order, once.
    ///
    /// With etcd, changes made while it was unreachable follow afterwards; if etcd has compacted them, only
    /// the last one of each session is delivered.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.view.changes()
    }

    /// Whether changes of the board are received.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.view.connection()
    }

    /// Stops following, and waits for it. Memberships must have been left before.
    pub async fn close(&self) {
        self.memberships.close();
        self.memberships.wait().await;
        // The caller cannot handle a failure.
        let _ = self.kv.close().await;
    }
}

/// The time of changes: the wall clock at the start plus the time passed since, so that a step of the
/// system's clock does not change the length of a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    origin: tokio::time::Instant,
    origin_unix: Duration,
}

impl WallClock {
    #[expect(clippy::disallowed_methods, reason = "the board's only wall clock")]
    fn start() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { origin: tokio::time::Instant::now(), origin_unix: unix }
    }

    pub(crate) fn unix_now_ns(&self) -> u64 {
        u64::try_from((self.origin_unix + self.origin.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board with values written by hand.
    async fn with(pairs: &[(String, &str)]) -> Board {
        let board = Board::local();
        for (key, value) in pairs {
            put(&board, key, value).await;
        }
        board
    }

    async fn put(board: &Board, key: &str, value: &str) {
        let write = Write::put(key.to_owned(), None, value.as_bytes().to_vec());
        board.kv.write_if(vec![write], "testing").await.unwrap();
    }

    const SPEC: &str = r#"{"id":"s","scenarios":{"default":{"workers":5}},"limits":{},"state":"running"}"#;

    #[tokio::test]
    async fn a_session_put_by_hand_needs_no_status_and_no_plan() {
        let board = with(&[(keys::session("s"), SPEC)]).await;
        let shown = board.session("s").borrow().clone().unwrap().value;
        assert_eq!(shown, Session::running("s", 5));
        let changed = board.change("s", Change::workers(By::Cli, 8)).await.unwrap();
        assert_eq!(changed.value.workers(), 8);
        assert_eq!(board.kv.get(&keys::status("s"), "testing").await.unwrap(), None, "no node has reported");
    }

    #[tokio::test]
    async fn unreadable_values_are_ignored_and_overwritten() {
        let board = with(&[(keys::session("s"), SPEC), (keys::status("s"), "[7]")]).await;
        let shown = || board.session("s").borrow().clone().unwrap().value;
        assert_eq!(shown(), Session::running("s", 5));
        let node = "a";
        let wanted = Session::running("s", 9).of_run("r");
        let taken = board.join_or_create(&wanted, node).await.unwrap().value;
        assert_eq!((taken.workers(), taken.status.members.as_slice()), (9, &[node.to_owned()][..]));
        // The last known values remain.
        for key in [keys::session("s"), keys::status("s")] {
            put(&board, &key, "no json").await;
            assert_eq!(shown(), taken);
        }
        let error = board.change("s", Change::workers(By::Cli, 1)).await.unwrap_err();
        assert!(matches!(error, BoardError::NoSession(_)), "{error}");
        assert_eq!(board.join_or_create(&wanted, node).await.unwrap().value.spec.changes, 0);
        assert_eq!(board.change("s", Change::workers(By::Cli, 1)).await.unwrap().value.workers(), 1);
    }
}
