//! The board: which nodes are there, and what load a session wants of them.
//!
//! Every component subscribes to it and reacts; none commands another. A page changes a session here, requesters
//! see it and follow. In one process the board is in memory ([`Board::local`]), between processes it is etcd
//! ([`Board::etcd`]); callers cannot tell, except that etcd can be away ([`Board::connection`]): then everybody
//! goes on with what was last seen.
//!
//! Results do not travel here; see `wec-proto`.

mod error;
mod etcd;
mod local;
mod node;
mod pool;
mod session;
mod share;
mod url;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use error::BoardError;
pub use node::{NodeInfo, NodeKind};
pub use pool::{Pool, Wants};
pub use session::{
    By, Change, ChangeTo, Changed, DEFAULT_SCENARIO, Limited, Limits, Made, Phase, Session, SessionState,
    StagePoint, Target, Versioned,
};
pub use share::share;
pub use url::BoardUrl;

use etcd::Etcd;
use local::Local;
use view::View;

/// The state that every component reacts to. Clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    view: Arc<View>,
    backend: Backend,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Backend {
    Local(Arc<Local>),
    Etcd(Arc<Etcd>),
}

/// How to reach and use an etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// `http://host:port` of one or more members of one cluster; tried in turn.
    pub endpoints: Vec<String>,
    /// What all keys begin with, so that several suites can use one etcd: `/wec`.
    pub prefix: String,
    /// How long a node that died without leaving stays on the board. etcd raises what is under its own minimum,
    /// usually 2 s.
    pub lease: Duration,
}

impl EtcdOptions {
    /// These endpoints, prefix `/wec`, leases of 10 s.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "/wec".to_owned(),
            lease: Duration::from_secs(10),
        }
    }
}

/// Whether what is shown is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Changes are seen as they are made.
    Connected,
    /// What is shown is what was last seen; it is being tried to connect again.
    Lost {
        /// Why, for people.
        reason: String,
    },
}

/// A node's place on the board: held while this lives, given up by [`Membership::leave`] or on drop.
///
/// When the process dies instead, the board drops the node after the lease ([`EtcdOptions::lease`]).
#[derive(Debug)]
pub struct Membership {
    node: NodeInfo,
    tell: Tell,
    stop: DropGuard,
    held: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
enum Tell {
    Local(Arc<Local>),
    Etcd(watch::Sender<Vec<u8>>),
}

impl Membership {
    /// Says how many workers the node can run from now on. The board knows it a little later, or when it is back.
    pub fn can_run(&mut self, workers: u32) {
        self.node.workers = workers;
        match &self.tell {
            Tell::Local(local) => local.update(self.node.clone()),
            Tell::Etcd(tell) => drop(tell.send_replace(etcd::json(&self.node))),
        }
    }

    /// Leaves, and waits until the board knows (or could not be told within a few seconds).
    pub async fn leave(self) {
        drop(self.stop);
        // A panic of the task has been reported by the panic hook; the lease runs out by itself.
        let _ = self.held.await;
    }
}

impl Board {
    /// A board in this process's memory.
    pub fn local() -> Self {
        let view = Arc::new(View::new());
        Self { backend: Backend::Local(Arc::new(Local::new(view.clone()))), view, clock: Clock::start() }
    }

    /// The board in an etcd, as it stands now.
    ///
    /// # Errors
    /// When an endpoint is not one, or none answers.
    pub async fn etcd(options: EtcdOptions) -> Result<Self, BoardError> {
        let view = Arc::new(View::new());
        let etcd = Etcd::connect(options, view.clone()).await?;
        Ok(Self { view, backend: Backend::Etcd(Arc::new(etcd)), clock: Clock::start() })
    }

    /// Puts a node on the board for as long as the answer lives.
    ///
    /// # Errors
    /// When a live node has its id, or etcd cannot be told.
    pub async fn join(&self, node: NodeInfo) -> Result<Membership, BoardError> {
        let stop = CancellationToken::new();
        let (held, tell) = match &self.backend {
            Backend::Local(local) => {
                let (leaving, id, stop) = (local.clone(), node.id.clone(), stop.clone());
                local.join(node.clone())?;
                let held = tokio::spawn(async move {
                    stop.cancelled().await;
                    leaving.leave(&id);
                });
                (held, Tell::Local(local.clone()))
            }
            Backend::Etcd(etcd) => {
                let (held, tell) = etcd.join(node.clone(), stop.clone()).await?;
                (held, Tell::Etcd(tell))
            }
        };
        Ok(Membership { node, tell, stop: stop.drop_guard(), held })
    }

    /// The live nodes, by id.
    pub fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.view.nodes()
    }

    /// Puts a session on the board, over one with the same id if there is one.
    ///
    /// # Errors
    /// When etcd cannot be told.
    pub async fn put_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        match &self.backend {
            Backend::Local(local) => Ok(local.put_session(session, false)),
            Backend::Etcd(etcd) => etcd.put_session(session).await,
        }
    }

    /// Puts a session on the board unless one with the same id is there; says which one is there now.
    ///
    /// # Errors
    /// When etcd cannot be told.
    pub async fn open_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        match &self.backend {
            Backend::Local(local) => Ok(local.put_session(session, true)),
            Backend::Etcd(etcd) => etcd.open_session(session).await,
        }
    }

    /// Takes part in a session: in the one that is there while others are at it, else in `wanted`, put over what was
    /// left. The node must have joined the board, so that others know that it lives.
    ///
    /// # Errors
    /// When those who are at it are ending it, or etcd cannot be told.
    pub async fn take_up(&self, wanted: &Session, node: &str) -> Result<Versioned<Session>, BoardError> {
        self.revise(&wanted.id, |there, live| {
            let taken = Session::taken_up(there, wanted, node, live)?;
            Ok((there != Some(&taken)).then_some(taken))
        })
        .await
    }

    /// Begins a run at this moment unless somebody has: its active time counts from there, on all nodes.
    ///
    /// # Errors
    /// When there is no such session, or etcd cannot be told.
    pub async fn begin(
        &self,
        id: &str,
        run: &str,
        at_unix_ns: u64,
    ) -> Result<Versioned<Session>, BoardError> {
        self.revise(id, |there, _| Ok(there.and_then(|there| there.begun(run, at_unix_ns)))).await
    }

    /// The same for a scenario that waited for another one to end.
    ///
    /// # Errors
    /// When there is no such session, or etcd cannot be told.
    pub async fn begin_scenario(
        &self,
        id: &str,
        run: &str,
        scenario: &str,
        at_unix_ns: u64,
    ) -> Result<Versioned<Session>, BoardError> {
        self.revise(
            id,
            |there, _| Ok(there.and_then(|there| there.scenario_begun(run, scenario, at_unix_ns))),
        )
        .await
    }

    /// Says that nothing more of a scenario starts on a node; with the last of those who live it has ended.
    ///
    /// # Errors
    /// When there is no such session, or etcd cannot be told.
    pub async fn end_scenario(
        &self,
        (session, run, scenario): (&str, &str, &str),
        node: &str,
    ) -> Result<Versioned<Session>, BoardError> {
        let over = |there: Option<&Session>, live: &[NodeInfo]| {
            there.and_then(|there| there.scenario_over(run, scenario, node, live))
        };
        self.revise(session, |there, live| Ok(over(there, live))).await
    }

    /// Says that a node's part of a run is over; the last of those who live stops the session, in the name of `by`.
    ///
    /// # Errors
    /// When there is no such session, or etcd cannot be told.
    pub async fn done(
        &self,
        id: &str,
        run: &str,
        node: &str,
        by: By,
    ) -> Result<Versioned<Session>, BoardError> {
        let at = self.clock.unix_now_ns();
        self.revise(id, |there, live| Ok(there.and_then(|there| there.done_by(run, node, by, at, live))))
            .await
    }

    async fn revise(
        &self,
        id: &str,
        next: impl Fn(Option<&Session>, &[NodeInfo]) -> Result<Option<Session>, BoardError>,
    ) -> Result<Versioned<Session>, BoardError> {
        match &self.backend {
            Backend::Local(local) => local.revise(id, next),
            Backend::Etcd(etcd) => etcd.revise(id, next).await,
        }
    }

    /// Takes iterations of a scenario for a node; says how all of them stand after it. The first who asks says how many
    /// there are.
    ///
    /// # Errors
    /// When etcd cannot be told. Asking again with the same [`Wants::had`] grants nothing twice.
    pub async fn take_iterations(
        &self,
        (session, run, scenario): (&str, &str, &str),
        iterations: u64,
        wants: Wants<'_>,
    ) -> Result<Pool, BoardError> {
        self.pool(session, scenario, |there| {
            let there = there.filter(|pool| pool.run == run).cloned();
            let mut pool = there.unwrap_or_else(|| Pool::new(run, iterations));
            pool.take(wants);
            pool
        })
        .await
    }

    /// Says that a node has only so many iterations of a scenario by now, fewer than it had; others may take the rest.
    ///
    /// # Errors
    /// When etcd cannot be told; then the next [`Board::take_iterations`] grants the rest again.
    pub async fn keep_iterations(
        &self,
        at: (&str, &str, &str),
        node: &str,
        has: u64,
    ) -> Result<Pool, BoardError> {
        self.revise_pool(at, |pool| pool.keep(node, has)).await
    }

    /// Says that a node has ended a scenario and has used so many iterations; others may take what else it had.
    ///
    /// # Errors
    /// When etcd cannot be told; saying it again is harmless.
    pub async fn settle_iterations(
        &self,
        at: (&str, &str, &str),
        node: &str,
        used: u64,
    ) -> Result<Pool, BoardError> {
        self.revise_pool(at, |pool| pool.settle(node, used)).await
    }

    /// Changes the pool of a run; another's stays as it is.
    async fn revise_pool(
        &self,
        (session, run, scenario): (&str, &str, &str),
        change: impl Fn(&mut Pool),
    ) -> Result<Pool, BoardError> {
        self.pool(session, scenario, |there| {
            let mut pool = there.cloned().unwrap_or_default();
            if pool.run == run {
                change(&mut pool);
            }
            pool
        })
        .await
    }

    async fn pool(
        &self,
        session: &str,
        scenario: &str,
        next: impl Fn(Option<&Pool>) -> Pool,
    ) -> Result<Pool, BoardError> {
        match &self.backend {
            Backend::Local(local) => Ok(local.pool(session, scenario, next)),
            Backend::Etcd(etcd) => etcd.pool(session, scenario, next).await,
        }
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
    /// When there is no such session or scenario, or etcd cannot be told. After [`BoardError::Unreachable`] the change may or
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
        match &self.backend {
            Backend::Local(local) => local.change(id, changes, allowed, self.clock.unix_now_ns()),
            Backend::Etcd(etcd) => etcd.change(id, changes, allowed, self.clock.unix_now_ns()).await,
        }
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
        if let Backend::Etcd(etcd) = &self.backend {
            etcd.close().await;
        }
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
