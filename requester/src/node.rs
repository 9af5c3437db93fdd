//! One node's part of a run, from the first request to the CA to the last flush. Only this module combines
//! all parts.
//!
//! `wec run`, `wec requester`, `wec demo` and `wec capacity` differ only in their [`Surroundings`]: the
//! board, the destination of results, the challenge server and the display. In order:
//!
//! | step | on an error, or a signal before the load begins |
//! | --- | --- |
//! | the CA's directory is read | nothing is left behind |
//! | the board is opened | the same |
//! | the session is joined or created | the same |
//! | the state store, the challenge store and the sink are opened | the session is left, the state closed |
//! | the workers are prepared | the same |
//! | the run begins: it has a header, and its surroundings follow it until its end | the run ends as after an interruption; then as below |
//!
//! | at the end | |
//! | --- | --- |
//! | the last iterations end | they are interrupted after the graceful stop, or by a second signal |
//! | the state is written | changes that cannot be written are reported in the results |
//! | results are delivered | the rest stays in the spool, or is counted |
//! | the session is left | others consider the node dead after its lease anyway |

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wec_acme::{Client, Clock};
use wec_board::{BOARD_WITHIN, Board, ClockKeeper, ClockOffset, NodeId, RunRef, Strength, wait_for_board};
use wec_delivery::{Health, Sink, deliver_warnings};
use wec_record::{Limit, RunHeader, StateCounts};
use wec_startup::{Stop, Warnings};
use wec_store::{ChallengeWriter, Counts, State, StoreError};

use crate::engine::Runtimes;
use crate::header::identify;
use crate::membership::SessionMembership;
use crate::plan::Plan;
use crate::run::{Parts, Ran, Requester, Workload, preflight};
use crate::stored::{Opened, open_state};

/// Longest wait for a comparison of this machine's clock with the board's time. A node that has died is asked in vain
/// until its lease of 10 s has ended.
const CLOCK_WITHIN: Duration = Duration::from_secs(20);
/// An offset that is known as closely, nanoseconds, is used without comparing it with further measurements.
const CLOSE_NS: u64 = 50_000_000;
/// Longest wait for one after the first; then the closest so far is used.
const CLOSELY_WITHIN: Duration = Duration::from_secs(2);

/// The identity of a node and its session.
#[derive(Clone, Debug)]
pub struct Node {
    /// The process's clock.
    pub clock: Clock,
    /// The node's identity on the board and in results.
    pub id: NodeId,
    /// The session to join or create.
    pub session: String,
    /// The id of the run, if it was given one; none for one of its own if this node is the first.
    pub run: Option<String>,
}

/// The differences between the ways to run a plan. Each method is called once, in this order.
pub trait Surroundings {
    /// A client of the plan's CA; fails if the plan cannot be run.
    fn client(&mut self, plan: &Plan, clock: Clock) -> impl Future<Output = anyhow::Result<Client>> {
        async move { Ok(preflight(plan, clock).await?) }
    }

    /// The board to follow. `run` is the run's id if this node is the first.
    fn board(&mut self, run: &str) -> impl Future<Output = anyhow::Result<Board>>;

    /// What this node can do for the session, now and later. Asked for after the board.
    fn strength(&self) -> watch::Receiver<Strength> {
        watch::Sender::new(Strength::UNMEASURED).subscribe()
    }

    /// The quorum of the session, if this node creates it; none for more than half of the known nodes.
    fn quorum(&self) -> Option<u32> {
        None
    }

    /// The state store of the plan.
    fn state(
        &mut self,
        plan: &Plan,
        client: &Client,
        clock: Clock,
    ) -> impl Future<Output = Result<Opened, StoreError>> {
        open_state(plan, client, clock)
    }

    /// The state is open; `notes` describe it.
    fn opened(&mut self, notes: Vec<String>);

    /// The challenge store.
    fn challenges(&mut self, plan: &Plan) -> impl Future<Output = anyhow::Result<Arc<dyn ChallengeWriter>>>;

    /// The destination of results. All nodes of a session make one run, in one log.
    ///
    /// # Errors
    /// When there is no destination.
    fn sink(&mut self, header: RunHeader, node: &Node) -> anyhow::Result<Arc<dyn Sink>>;

    /// The runtimes of the workers.
    fn runtimes(&self, plan: &Plan) -> Runtimes {
        Runtimes::Threads(u32::try_from(plan.threads).unwrap_or(u32::MAX))
    }

    /// The load begins. Returns when the run is no longer accompanied: after [`Begun::over`] or
    /// [`Begun::ended`].
    fn accompany(&mut self, run: Begun<'_>) -> impl Future<Output = anyhow::Result<()>>;

    /// Delivers the remaining results. After an interruption by a signal it must not take long.
    fn deliver(&mut self, cut_by_signal: bool) -> impl Future<Output = Health>;
}

/// A run that has begun.
pub struct Begun<'a> {
    /// Its header; the start time is when the load could begin.
    pub header: RunHeader,
    /// The board with its session.
    pub board: &'a Board,
    /// The run and its session.
    pub at: RunRef,
    /// The node.
    pub node: &'a Node,
    /// Number of workers in the plan.
    pub workers: u32,
    /// The counters of the workers.
    pub workload: Workload,
    /// Completes when no scenario starts more chains; the last chains may still run.
    pub over: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Cancelled when the last iteration has ended.
    pub ended: CancellationToken,
}

/// The results of a run, after everything has been flushed.
#[derive(Debug)]
pub struct Ended {
    /// The run's id.
    pub run: String,
    /// Iterations that ended at this node.
    pub iterations: u64,
    /// The bounds of the load tester itself that were exceeded.
    pub limits: Vec<Limit>,
    /// The state of the delivery.
    pub health: Health,
    /// Whether the state was written completely.
    pub state: anyhow::Result<()>,
}

impl Node {
    /// Runs this node's part of `plan`, until it is over or `stop` is cancelled.
    ///
    /// # Errors
    /// When something that the run needs is not available; every message names it.
    /// [`wec_startup::Interrupted`] after a signal before the load began. What was opened here is closed; the
    /// surroundings close their own parts.
    pub async fn run(
        self,
        plan: &Plan,
        surroundings: &mut impl Surroundings,
        stop: &Stop,
    ) -> anyhow::Result<Ended> {
        let client = stop.unless_stopped(surroundings.client(plan, self.clock)).await?;
        let mut header = identify(plan, &self.session, &self.id.name, self.clock);
        if let Some(run) = &self.run {
            header.run.clone_from(run);
        }
        let board = stop.unless_stopped(surroundings.board(&header.run)).await?;
        let mut wanted = plan.session(&self.session).of_run(header.run.clone());
        wanted.spec.quorum = surroundings.quorum();
        let joining = wait_for_board(BOARD_WITHIN, async || {
            SessionMembership::take_with(surroundings.strength(), &board, wanted.clone(), &self.id).await
        });
        let member = stop.unless_stopped(joining).await?;
        // From here on all times are the board's, so that a clock that is off moves nothing.
        let compared = async { anyhow::Ok(self.in_time_of(&board, &member).await) };
        let (this, _clock_keeper) = stop.unless_stopped(compared).await?;
        // What was warned of before there was a session belongs to no run.
        let warnings = Warnings::gather();
        header.run = member.run().to_owned();
        let began = member.began_unix_ns();
        header.started_unix_ns = began.unwrap_or(header.started_unix_ns);
        let start = Start { node: &this, plan, client: client.in_run(&header.run), board: &board, stop };
        let Started { requester, state, sink } = start.start(member, &header, surroundings).await?;
        if began.is_none() {
            // The time of the preparations is not part of the run.
            header.started_unix_ns = requester.ready_unix_ns();
        }
        let (run, workload, ended) = (header.run.clone(), requester.workload(), CancellationToken::new());
        let begun = Begun {
            header,
            board: &board,
            at: RunRef::new(&this.session, &run),
            node: &this,
            workers: plan.workers(),
            workload: workload.clone(),
            over: Box::pin(requester.over()),
            ended: ended.clone(),
        };
        let running = async {
            let ran = requester.run_and_stay().await;
            ended.cancel();
            ran
        };
        let accompanied = async {
            let accompanied = surroundings.accompany(begun).await;
            if accompanied.is_err() {
                // The results would not be shown.
                stop.finish.cancel();
                stop.cut.cancel();
            }
            accompanied
        };
        let both = async { tokio::join!(running, accompanied) };
        let (Ran { limits, membership, cut_by_signal }, accompanied) = tokio::select! {
            ended = both => ended,
            never = deliver_warnings(&warnings, sink.as_ref()) => match never {},
        };

        let counts = state.counts();
        let closed = state.close().await;
        report_unwritten(sink.as_ref(), this.clock, counts, &closed);
        sink.push_warnings(&warnings);
        let health = surroundings.deliver(cut_by_signal).await;
        membership.leave().await;
        accompanied?;
        let state = closed.context("the last changes of the state");
        Ok(Ended { run, iterations: workload.iterations(), limits, health, state })
    }
}

impl Node {
    /// This node with a clock in the board's time, if the board has other nodes' clocks to compare with.
    async fn in_time_of(self, board: &Board, member: &SessionMembership) -> (Self, Option<ClockKeeper>) {
        let Some(keeper) = member.keep_clock(board, &self.session, self.clock) else { return (self, None) };
        let mut offset = keeper.offset();
        let is_close =
            |offset: &Option<ClockOffset>| offset.is_some_and(|offset| offset.within_ns <= CLOSE_NS);
        let _ = tokio::time::timeout(CLOCK_WITHIN, offset.wait_for(Option::is_some)).await;
        // The clock is corrected once, and the first question may have waited for a reference.
        let _ = tokio::time::timeout(CLOSELY_WITHIN, offset.wait_for(is_close)).await;
        let measured = *offset.borrow();
        let ahead_ns = match measured {
            Some(offset) => offset.ahead_ns,
            None => {
                tracing::warn!(
                    "this machine's clock could not be compared with the board's time: it is assumed to be correct"
                );
                0
            }
        };
        (Self { clock: self.clock.shifted(ahead_ns.saturating_neg()), ..self }, Some(keeper))
    }
}

/// The input of a start.
struct Start<'a> {
    node: &'a Node,
    plan: &'a Plan,
    client: Client,
    board: &'a Board,
    stop: &'a Stop,
}

/// The result of a start.
struct Started {
    requester: Requester,
    state: State,
    sink: Arc<dyn Sink>,
}

impl Start<'_> {
    /// Opens what the workers need, and prepares them. On an error the session is left and the state closed,
    /// and the first error is returned.
    async fn start(
        self,
        member: SessionMembership,
        header: &RunHeader,
        surroundings: &mut impl Surroundings,
    ) -> anyhow::Result<Started> {
        let Self { node, plan, client, board, stop } = self;
        let opened = match stop.unless_stopped(surroundings.state(plan, &client, node.clock)).await {
            Ok(opened) => opened,
            Err(error) => {
                member.leave().await;
                return Err(error);
            }
        };
        let state = opened.state;
        surroundings.opened(opened.notes);
        let places = stop.unless_stopped(async {
            let challenges = surroundings.challenges(plan).await?;
            anyhow::Ok((challenges, surroundings.sink(header.clone(), node)?))
        });
        let (challenges, sink) = match places.await {
            Ok(places) => places,
            Err(error) => {
                member.leave().await;
                let _ = state.close().await;
                return Err(error);
            }
        };
        let parts = Parts {
            clock: node.clock,
            client: Arc::new(client),
            state: state.clone(),
            challenges,
            sink: Arc::clone(&sink),
            board: board.clone(),
            session: node.session.clone(),
            node: node.id.clone(),
            runtimes: surroundings.runtimes(plan),
        };
        match stop.unless_stopped(Requester::start_at(member, plan, parts, stop.clone())).await {
            Ok(requester) => Ok(Started { requester, state, sink }),
            Err(error) => {
                let _ = state.close().await;
                Err(error)
            }
        }
    }
}

/// Reports to `sink` the changes of the state that could not be written before its end; `counts` are its last
/// counts.
fn report_unwritten(sink: &dyn Sink, clock: Clock, counts: Counts, closed: &Result<(), StoreError>) {
    let Err(StoreError::Unwritten { changes, .. }) = closed else { return };
    let Counts { registrations, authorizations, certificates, revoked } = counts;
    let unwritten = *changes as u64;
    let counts = StateCounts {
        registrations,
        authorizations,
        certificates,
        revoked,
        unwritten,
        ..StateCounts::default()
    };
    sink.push_state(clock.unix_now_ns(), counts);
}

#[cfg(test)]
pub(crate) mod tests;
