//! A requester's run: workers that follow the board, from the first chain to the last flush.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use wec_acme::{Checker, Client, Clock, Config, Policy, Roots};
use wec_board::{
    Board, BoardError, By, Change, Membership, NodeInfo, NodeKind, Session, SessionState, Versioned, share,
};
use wec_record::{Chain, StateCounts};
use wec_startup::Stop;
use wec_store::{ChallengeWriter, State};

use crate::engine::{Engine, Recruit};
use crate::error::StartError;
use crate::executor::{Gauges, Workforce};
use crate::guard;
use crate::plan::Plan;
use crate::sink::Sink;
use crate::user::Users;

/// The most workers one requester takes of a session: what the settings' bound allows.
const CAPACITY: u32 = 1_000_000;

/// How often the state's counts go into the results.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Whether `plan` can be run at all: its target may be loaded, is there, is trusted, speaks ACME and would register
/// accounts.
///
/// Comes before anything is opened, so that a run that cannot be leaves nothing behind.
///
/// # Errors
/// See [`StartError`].
pub async fn preflight(plan: &Plan, clock: Clock) -> Result<(), StartError> {
    guard::check(&plan.directory, &plan.permission).await?;
    let client = Client::discover(client_config(plan)?, clock).await?;
    let registers = plan.weights.of(Chain::Registration) > 0.0;
    if registers && plan.eab.is_none() && client.directory().meta.external_account_required {
        return Err(StartError::ExternalAccountRequired { directory: plan.directory.to_string() });
    }
    Ok(())
}

/// What a requester works with; whoever made it closes it, after the run.
#[derive(Clone)]
pub struct Parts {
    /// The process's clock.
    pub clock: Clock,
    /// What the CA has been made to know.
    pub state: State,
    /// Where challenge data goes.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Where results go.
    pub sink: Arc<dyn Sink>,
    /// What is followed.
    pub board: Board,
    /// Which session on it.
    pub session: String,
    /// This node: its id is unique for each start of a process.
    pub node: NodeId,
}

/// Who a process is on the board and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Unique for each start of a process.
    pub id: String,
    /// For people.
    pub name: String,
}

impl NodeId {
    /// A new id behind `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: format!("{name}-{:08x}", rand::random::<u32>()), name }
    }
}

/// Workers at work.
pub struct Requester {
    engine: Engine,
    membership: Membership,
    followers: Vec<JoinHandle<()>>,
    stop: Stop,
    /// Ends the followers, after the workers.
    done: CancellationToken,
}

impl Requester {
    /// Opens the session if nobody has, joins the board, and starts this node's share of its workers.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind then.
    pub async fn start(plan: &Plan, parts: Parts, stop: Stop) -> Result<Self, StartError> {
        let config = client_config(plan)?;
        let policy = Arc::new(chain_policy(plan));
        take_up_session(&parts.board, &parts.session, plan.workers).await?;
        let NodeId { id, name } = parts.node.clone();
        let node = NodeInfo { id, name, kind: NodeKind::Requester, workers: CAPACITY };
        let membership = parts.board.join(node).await?;

        let (target, followed) = watch::channel(0);
        let recruit = recruit(plan, &parts, config, policy);
        let threads = u32::try_from(plan.threads).unwrap_or(u32::MAX);
        let engine = match Engine::start(threads, followed, recruit, &stop).await {
            Ok(engine) => engine,
            Err(error) => {
                membership.leave().await;
                return Err(error);
            }
        };
        let done = CancellationToken::new();
        let followers = vec![
            tokio::spawn(follow(parts.clone(), target, stop.finish.clone())),
            tokio::spawn(report(parts, engine.gauges(), done.clone())),
        ];
        Ok(Self { engine, membership, followers, stop, done })
    }

    /// What the workers count.
    pub fn gauges(&self) -> Arc<Gauges> {
        self.engine.gauges()
    }

    /// Lets the workers run for `run_time`, or until `stop.finish`, and waits for the last of them: for
    /// `graceful_stop`, after which they are cut.
    pub async fn run(self, run_time: Duration, graceful_stop: Duration) {
        let Self { engine, membership, followers, stop, done } = self;
        let _ = timeout(run_time, stop.finish.cancelled()).await;
        stop.finish.cancel();
        let cut = stop.cut.clone();
        let cutter = tokio::spawn(async move {
            tokio::time::sleep(graceful_stop).await;
            cut.cancel();
        });
        engine.join().await;
        cutter.abort();
        done.cancel();
        for follower in followers {
            if let Err(error) = follower.await {
                tracing::error!(%error, "a follower of the board ended by a panic");
            }
        }
        membership.leave().await;
    }
}

/// Opens the session, or joins it with those who are at it. One that an earlier run has left is begun anew: what its
/// page was set to last is not what this run was asked for.
async fn take_up_session(board: &Board, id: &str, workers: u32) -> Result<(), BoardError> {
    let session = board.open_session(Session::running(id, workers)).await?.value;
    if requesters(&board.nodes().borrow()).is_empty() {
        if session.workers() != workers {
            board.change(id, Change::workers(By::Cli, workers)).await?;
        }
        if session.state != SessionState::Running {
            board.change(id, Change::state(By::Cli, SessionState::Running)).await?;
        }
    } else if session.workers() != workers {
        tracing::warn!(
            session = id,
            "others run this session already: its {} workers are shared, and the {workers} asked for here are not \
             used; change the number on the page, or name another session",
            session.workers()
        );
    }
    Ok(())
}

fn client_config(plan: &Plan) -> Result<Config, StartError> {
    let roots = match (&plan.cacert, plan.insecure) {
        (Some(path), _) => {
            let pem = std::fs::read(path)
                .map_err(|error| StartError::File { path: path.display().to_string(), error })?;
            Roots::Pem(pem)
        }
        (None, true) => Roots::Insecure,
        (None, false) => Roots::System,
    };
    Ok(Config {
        roots,
        max_connections: plan.max_connections,
        request_timeout: plan.request_timeout,
        policy: Policy { poll_timeout: plan.poll_timeout, ..Policy::default() },
        ..Config::new(plan.directory.clone())
    })
}

fn chain_policy(plan: &Plan) -> wec_chains::Policy {
    let (low, high) = (*plan.names_per_order.start() as usize, *plan.names_per_order.end() as usize);
    wec_chains::Policy {
        names: low..=high,
        challenges: plan.challenge_types.clone(),
        contact: plan.contact.clone(),
        external_account: plan.eab.clone(),
        ..wec_chains::Policy::under(&plan.base_domain)
    }
}

/// How each runtime gets its workers: with a client of its own, and all else shared.
fn recruit(plan: &Plan, parts: &Parts, config: Config, policy: Arc<wec_chains::Policy>) -> Recruit {
    let (parts, weights, seed) = (parts.clone(), plan.weights, plan.seed);
    Arc::new(move |_place| {
        let (parts, config, policy) = (parts.clone(), config.clone(), Arc::clone(&policy));
        Box::pin(async move {
            let context = wec_chains::Context {
                client: Arc::new(Client::discover(config, parts.clock).await?),
                state: parts.state,
                challenges: parts.challenges,
                checker: Arc::new(Checker::new()),
                policy,
                clock: parts.clock,
            };
            let users = Users { context: Arc::new(context), weights, sink: parts.sink, seed };
            Ok(Arc::new(users) as Arc<dyn Workforce>)
        })
    })
}

/// Keeps `target` at this node's share of the session, whoever changes either; a session that is stopped ends the run.
async fn follow(parts: Parts, target: watch::Sender<u32>, finish: CancellationToken) {
    let mut session = parts.board.session(&parts.session);
    let mut nodes = parts.board.nodes();
    loop {
        let now = session.borrow_and_update().clone();
        let requesters = requesters(&nodes.borrow_and_update());
        if let Some(Versioned { value: Session { state: SessionState::Stopped, .. }, .. }) = now {
            finish.cancel();
        }
        // A session that nobody can see any more keeps the load that it had.
        if let Some(Versioned { value, .. }) = now {
            let mine = share_of(&parts.node.id, value.workers(), &requesters);
            target.send_if_modified(|target| std::mem::replace(target, mine) != mine);
        }
        let changed = tokio::select! {
            changed = session.changed() => changed,
            changed = nodes.changed() => changed,
            () = finish.cancelled() => return,
        };
        if changed.is_err() {
            finish.cancelled().await;
            return;
        }
    }
}

fn requesters(nodes: &[NodeInfo]) -> Vec<(String, u32)> {
    let requesters = nodes.iter().filter(|node| node.kind == NodeKind::Requester);
    requesters.map(|node| (node.id.clone(), node.workers)).collect()
}

/// What falls to `id`; everything while the board does not show it yet that this node is there.
fn share_of(id: &str, workers: u32, requesters: &[(String, u32)]) -> u32 {
    let shares = share(workers, requesters);
    shares.into_iter().find(|(node, _)| node == id).map_or(workers, |(_, share)| share)
}

/// Tells the results every second what the state store holds and how many workers live, and once more at the end.
async fn report(parts: Parts, gauges: Arc<Gauges>, done: CancellationToken) {
    let mut ticks = interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = done.cancelled() => true,
        };
        let counts = parts.state.counts();
        let counts = StateCounts {
            registrations: counts.registrations,
            authorizations: counts.authorizations,
            certificates: counts.certificates,
            revoked: counts.revoked,
            workers: gauges.workers(),
        };
        parts.sink.push_state(parts.clock.unix_now_ns(), counts);
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_left_by_an_earlier_run_is_begun_anew_and_a_running_one_joined() {
        let board = Board::local();
        board.put_session(Session::running("default", 500)).await.unwrap();
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let shown = || board.session("default").borrow().clone().unwrap().value;

        take_up_session(&board, "default", 20).await.unwrap();
        assert_eq!((shown().workers(), shown().state), (20, SessionState::Running));

        let node =
            NodeInfo { id: "a".into(), name: "a".into(), kind: NodeKind::Requester, workers: CAPACITY };
        let _running = board.join(node).await.unwrap();
        take_up_session(&board, "default", 70).await.unwrap();
        assert_eq!(shown().workers(), 20, "those who run it keep it");
    }

    #[test]
    fn a_node_takes_its_share_of_the_workers() {
        let nodes = |capacities: &[(&str, u32)]| -> Vec<(String, u32)> {
            capacities.iter().map(|(id, capacity)| ((*id).to_owned(), *capacity)).collect()
        };
        assert_eq!(share_of("a", 50, &nodes(&[("a", CAPACITY)])), 50);
        assert_eq!(share_of("a", 51, &nodes(&[("a", CAPACITY), ("b", CAPACITY)])), 26);
        assert_eq!(share_of("b", 51, &nodes(&[("a", CAPACITY), ("b", CAPACITY)])), 25);
        assert_eq!(share_of("a", 50, &nodes(&[("b", CAPACITY)])), 50, "before the board shows this node");
    }

    #[test]
    fn ids_differ_between_starts_of_one_name() {
        assert_ne!(NodeId::new("host").id, NodeId::new("host").id);
    }
}
