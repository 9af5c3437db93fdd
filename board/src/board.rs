//! `Board`: what components call. Each rule is a read, a decision and a write that is made again when another was faster.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::task::TaskTracker;

use crate::kv::etcd::Etcd;
use crate::kv::memory::Memory;
use crate::kv::sqlite::Sqlite;
use crate::kv::{Kv, Write};
use crate::stored::{Part, Stored};
use crate::view::View;
use crate::{
    BoardError, By, Change, Changed, Connection, EtcdOptions, FileOptions, Made, Membership, NodeInfo, Pool,
    RunRef, Session, Shares, Versioned, Wants, keys,
};

/// Changes of a session that its journal keeps.
const JOURNAL: u64 = 1_000;
/// Between two attempts to decide shares while the board is away.
const AGAIN: Duration = Duration::from_millis(500);
/// Times that a write is tried against others who write the same key.
const ATTEMPTS: u32 = 20;

/// The state that every component reacts to. Clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    view: Arc<View>,
    kv: Arc<dyn Kv>,
    memberships: TaskTracker,
    clock: Clock,
}

impl Board {
    /// A board in this process's memory.
    pub fn local() -> Self {
        let (kv, view) = (Memory::default(), Arc::new(View::new()));
        kv.follow(keys::WATCHED, view.clone());
        Self::over(Arc::new(kv), view)
    }

    /// The board in an etcd, as it stands now.
    ///
    /// # Errors
    /// When an endpoint is not one, or none answers.
    pub async fn etcd(options: EtcdOptions) -> Result<Self, BoardError> {
        let (kv, view) = (Etcd::new(&options)?, Arc::new(View::new()));
        kv.watch(keys::WATCHED, view.clone()).await?;
        Ok(Self::over(Arc::new(kv), view))
    }

    /// The board in a file of this machine, as it stands now; an empty one where there is no such file.
    ///
    /// # Errors
    /// When the file cannot be opened, or is something else.
    pub async fn file(options: FileOptions) -> Result<Self, BoardError> {
        let kv = Sqlite::open(&options.path, options.lease).await?;
        let view = Arc::new(View::new());
        kv.watch(keys::WATCHED, view.clone()).await?;
        Ok(Self::over(Arc::new(kv), view))
    }

    /// This board as a node of another process has it: by a way that a test can cut.
    ///
    /// # Errors
    /// When this board cannot be asked.
    #[cfg(feature = "test-util")]
    pub async fn linked(&self) -> Result<(Self, crate::Link), BoardError> {
        let (link, view) = (crate::Link::to(self.kv.clone()), Arc::new(View::new()));
        link.watch(keys::WATCHED, view.clone()).await?;
        Ok((Self::over(Arc::new(link.clone()), view), link))
    }

    fn over(kv: Arc<dyn Kv>, view: Arc<View>) -> Self {
        Self { view, kv, memberships: TaskTracker::new(), clock: Clock::start() }
    }

    /// Puts a node on the board for as long as the answer lives.
    ///
    /// # Errors
    /// When a live node has its id, or the board cannot be told.
    pub async fn join(&self, node: NodeInfo) -> Result<Membership, BoardError> {
        let membership = Membership::begin(self.kv.clone(), node.clone(), &self.memberships).await?;
        // Who wrote reads what it wrote.
        self.view.put_node(node);
        Ok(membership)
    }

    /// The live nodes, by id.
    pub fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.view.nodes()
    }

    /// Puts a session on the board, over one with the same id if there is one.
    ///
    /// # Errors
    /// When the board cannot be told.
    pub async fn put_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        self.decide(&session.spec.id, |_, _| Ok(Some(session.clone()))).await
    }

    /// Puts a session on the board unless one with the same id is there; says which one is there now.
    ///
    /// # Errors
    /// When the board cannot be told.
    pub async fn open_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        self.decide(&session.spec.id, |there, _| Ok(there.is_none().then(|| session.clone()))).await
    }

    /// Takes part in a session: joins the one that is there while others are at it, else creates `wanted`, over what was
    /// left. The node must have joined the board, so that others know that it lives.
    ///
    /// # Errors
    /// When those who are at it are ending it, or the board cannot be told.
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

    /// Begins a run at this moment unless somebody has: its active time counts from there, on all nodes.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be told.
    pub async fn begin(&self, run: &RunRef, at_unix_ns: u64) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, _| there.begun(at_unix_ns)).await
    }

    /// The same for a scenario that waited for another one to end.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be told.
    pub async fn begin_scenario(
        &self,
        run: &RunRef,
        scenario: &str,
        at_unix_ns: u64,
    ) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, _| there.scenario_begun(scenario, at_unix_ns)).await
    }

    /// Says that nothing more of a scenario starts on a node; with the last of those who live it has ended.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be told.
    pub async fn end_scenario(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
    ) -> Result<Versioned<Session>, BoardError> {
        self.update(run, |there, live| there.scenario_over(scenario, node, live)).await
    }

    /// Says that a node's part of a run is over; the last of those who live stops the session, in the name of `by`.
    ///
    /// # Errors
    /// When there is no such session, or the board cannot be told.
    pub async fn done(&self, run: &RunRef, node: &str, by: By) -> Result<Versioned<Session>, BoardError> {
        let at = self.clock.unix_now_ns();
        self.update(run, |there, live| there.done_by(node, by, at, live)).await
    }

    /// Changes the session of a run; nothing where it is another run by now.
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

    /// Writes what `next` makes of the session that is there and of the live nodes; nothing when that is none.
    async fn decide(
        &self,
        id: &str,
        next: impl Fn(Option<&Session>, &[NodeInfo]) -> Result<Option<Session>, BoardError>,
    ) -> Result<Versioned<Session>, BoardError> {
        let doing = "taking part in a session";
        for _ in 0..ATTEMPTS {
            let there = self.read(id, doing).await?;
            // After the session: what is decided must not rest on nodes from before its last write.
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

    /// A session as it is stored. Whether its parts are of one moment shows when something is written that is based on them.
    async fn read(&self, id: &str, doing: &'static str) -> Result<Stored, BoardError> {
        let (spec, status) = (keys::session(id), keys::status(id));
        let (spec, status) = tokio::try_join!(self.kv.get(&spec, doing), self.kv.get(&status, doing))?;
        let none = Stored::default();
        Ok(Stored {
            spec: spec.as_ref().map_or(none.spec, Part::read),
            status: status.as_ref().map_or(none.status, Part::read),
        })
    }

    /// Writes those parts of a session that are different, if both are still what was read, with its changes in the journal.
    /// Shows it at once: who wrote reads what it wrote. Reports come from the watch, in order.
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

    /// Takes iterations of a scenario for a node; says how all of them stand after it. The first who asks says how many
    /// there are.
    ///
    /// # Errors
    /// When the board cannot be told. Asking again with the same [`Wants::had`] grants nothing twice.
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

    /// Says that a node has only so many iterations of a scenario by now, fewer than it had; others may take the rest.
    ///
    /// # Errors
    /// When the board cannot be told; then the next [`Board::take_iterations`] grants the rest again.
    pub async fn keep_iterations(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
        has: u64,
    ) -> Result<Pool, BoardError> {
        self.update_pool(run, scenario, |pool| pool.keep(node, has)).await
    }

    /// Says that a node has ended a scenario and has used so many iterations; others may take what else it had.
    ///
    /// # Errors
    /// When the board cannot be told; saying it again is harmless.
    pub async fn settle_iterations(
        &self,
        run: &RunRef,
        scenario: &str,
        node: &str,
        used: u64,
    ) -> Result<Pool, BoardError> {
        self.update_pool(run, scenario, |pool| pool.settle(node, used)).await
    }

    /// Changes the pool of a run; another's stays as it is.
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
        for _ in 0..ATTEMPTS {
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

    /// The sessions that exist now, by their ids.
    pub fn sessions(&self) -> Vec<Versioned<Session>> {
        self.view.sessions()
    }

    /// Decides how the load of a session is shared, from the nodes that live; says how it is. A decision that changes nothing is
    /// none, and of several at the same time one is made.
    ///
    /// # Errors
    /// When the board cannot be told.
    pub async fn decide_shares(&self, session: &str) -> Result<Shares, BoardError> {
        let (key, doing) = (keys::shares(session), "sharing a load");
        for _ in 0..ATTEMPTS {
            let pair = self.kv.get(&key, doing).await?;
            // After the shares: who leaves later causes another decision.
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

    /// Decides the shares of a session anew whenever nodes come, go or change, until it is dropped. Each node of the session
    /// does that, so one that dies is replaced by the others.
    pub async fn keep_shares(&self, session: &str) {
        let (mut nodes, mut shares) = (self.nodes(), self.shares(session));
        let mut told = false;
        loop {
            let changed = {
                let nodes = nodes.borrow_and_update();
                shares.borrow_and_update().next(session, &nodes).is_some()
            };
            if changed {
                if let Err(error) = self.decide_shares(session).await {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "the load is shared as it was while the board is away");
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
                // Nobody is left who could change anything.
                return;
            }
        }
    }

    /// How the load of a session is shared, now and after each decision.
    pub fn shares(&self, session: &str) -> watch::Receiver<Shares> {
        self.view.shares(session)
    }

    /// A session, now and whenever it changes; none while it does not exist.
    ///
    /// Only the latest value is shown; for each change in turn see [`Board::changes`].
    pub fn session(&self, id: &str) -> watch::Receiver<Option<Versioned<Session>>> {
        self.view.session(id)
    }

    /// Changes a session, whoever else is changing it at the same time, and says how it is after it.
    ///
    /// A session that is so already is not written.
    ///
    /// # Errors
    /// When there is no such session or scenario, or the board cannot be told. After [`BoardError::Unreachable`] the change may or
    /// may not have been made; making it again is harmless.
    pub async fn change(&self, id: &str, change: Change) -> Result<Versioned<Session>, BoardError> {
        self.change_all(id, &[change], |_| Ok::<_, BoardError>(())).await.map(|made| made.session)
    }

    /// Makes all of `changes`, in this order, by one write; or none of them, when one cannot be made or the session
    /// as it then is is not `allowed` to be changed so. It may be asked several times, as others change the session.
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
        for _ in 0..ATTEMPTS {
            let there = self.read(id, "reading a session").await?;
            let now = there.session().ok_or_else(|| BoardError::NoSession(id.to_owned()))?;
            allowed(&now.value)?;
            // Also when an attempt of ours was carried out although its answer was lost.
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

    /// The changes that have been made to a session, of all its runs, in order: the last thousand.
    ///
    /// # Errors
    /// When the board cannot be asked.
    pub async fn journal(&self, session: &str) -> Result<Vec<Changed>, BoardError> {
        let entries = self.kv.list(&keys::journal(session), "reading a journal").await?;
        Ok(entries.iter().filter_map(keys::parse).map(|changed| changed.value).collect())
    }

    /// Every change that anybody makes to any session from now on, in order, once.
    ///
    /// With etcd, changes made while it was out of reach follow when it is back; only when etcd has compacted them
    /// away meanwhile is the last one of each session all that is told.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.view.changes()
    }

    /// Whether the board is being followed.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.view.connection()
    }

    /// Stops following, and waits until that is so. Memberships must have been left before.
    pub async fn close(&self) {
        self.memberships.close();
        self.memberships.wait().await;
        // Nobody is left who could do something about a failure.
        let _ = self.kv.close().await;
    }
}

/// The date on changes: the wall clock as it was at the start and what has passed since, so that a step of the system's
/// clock does not bend how long a pause was.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: tokio::time::Instant,
    origin_unix: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the board's only wall clock")]
    fn start() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { origin: tokio::time::Instant::now(), origin_unix: unix }
    }

    fn unix_now_ns(&self) -> u64 {
        u64::try_from((self.origin_unix + self.origin.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board on which somebody has put values by hand.
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
        assert_eq!(board.kv.get(&keys::status("s"), "testing").await.unwrap(), None, "nothing to report");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_ignored_and_written_over() {
        let board = with(&[(keys::session("s"), SPEC), (keys::status("s"), "[7]")]).await;
        let shown = || board.session("s").borrow().clone().unwrap().value;
        assert_eq!(shown(), Session::running("s", 5));
        let node = "a";
        let wanted = Session::running("s", 9).of_run("r");
        let taken = board.join_or_create(&wanted, node).await.unwrap().value;
        assert_eq!((taken.workers(), taken.status.members.as_slice()), (9, &[node.to_owned()][..]));
        // What was seen last holds.
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
