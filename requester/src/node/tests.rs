//! Runs without processes: with a fake CA in this process, a board in memory, results in a list, and paused time.

pub(crate) mod fake;
mod live;
mod outage;
mod scenarios;
mod shared;
mod steered;

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wec_board::{BoardError, By, Change, ChangeTo, SessionState};
use wec_record::{Chain, ChainResult, FailureClass};
use wec_startup::Interrupted;

use self::fake::{Ca, DATABASE, Fake, LATENCY, List, Reported, paused};
use super::*;
use crate::config::PlanOptions;
use crate::picker::Weights;

/// Registrations only, by this many workers or for this many iterations.
fn plan(workers: &str, iterations: Option<&str>) -> Plan {
    plan_of(Weights::only(Chain::Registration), workers, iterations)
}

fn plan_of(weights: Weights, workers: &str, iterations: Option<&str>) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("workers", workers)
        .with("weights", weights.to_string())
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", "1h");
    let plan = match iterations {
        Some(iterations) => plan.with("iterations", iterations),
        None => plan,
    };
    plan.resolve(None).unwrap()
}

/// All nodes have the same clock: the origin of another would be at another wall time, which does not pause.
fn node(name: &str, ca: &Ca) -> Node {
    Node { clock: ca.0.clock, id: NodeId::new(name), session: "default".to_owned(), run: None }
}

/// A run that is under way.
struct Run {
    list: Arc<List>,
    workload: watch::Receiver<Option<Workload>>,
    stop: Stop,
    running: JoinHandle<anyhow::Result<Ended>>,
}

impl Run {
    fn start(name: &str, plan: Plan, mut fake: Fake) -> Self {
        let (list, workload, stop) = (Arc::clone(&fake.list), fake.workload.subscribe(), Stop::default());
        let (node, stopped) = (node(name, &fake.ca), stop.clone());
        let running = tokio::task::spawn_local(async move { node.run(&plan, &mut fake, &stopped).await });
        Self { list, workload, stop, running }
    }

    /// Waits for a result.
    async fn until(&self, is: impl Fn(&ChainResult) -> bool) {
        let mut results = self.list.results.subscribe();
        results.wait_for(|results| results.iter().any(&is)).await.unwrap();
    }

    /// Waits for a result of a chain that begins from now on.
    async fn until_new(&self, is: impl Fn(&ChainResult) -> bool) {
        let before = self.list.results.borrow().len();
        let mut results = self.list.results.subscribe();
        results.wait_for(|results| results.iter().skip(before).any(&is)).await.unwrap();
    }

    async fn results(&self, at_least: usize) -> usize {
        let mut results = self.list.results.subscribe();
        results.wait_for(|results| results.len() >= at_least).await.unwrap().len()
    }

    async fn begun(&mut self) -> Workload {
        let begun = self.workload.wait_for(Option::is_some).await.unwrap();
        begun.clone().unwrap()
    }

    async fn end(self) -> Ended {
        self.running.await.unwrap().unwrap()
    }
}

fn nodes(board: &Board) -> usize {
    board.nodes().borrow().len()
}

fn state(board: &Board) -> SessionState {
    board.session("default").borrow().as_ref().unwrap().value.spec.state
}

#[test]
fn a_run_takes_its_steps_in_order_and_leaves_the_session_when_all_is_delivered() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fake = Fake::new(&ca, &board);
        let steps = Arc::clone(&fake.steps);
        let run = Run::start("a", plan("2", Some("20")), fake);
        let list = Arc::clone(&run.list);
        let Ended { iterations, health, state, .. } = run.end().await;
        state.unwrap();
        assert_eq!((iterations, health.delivered, list.results.borrow().len()), (20, 20, 20));
        assert!(list.results.borrow().iter().all(|result| result.successful));
        let all = ["client", "board", "opened", "challenges", "sink", "accompany", "deliver"];
        assert_eq!(*steps.lock().unwrap(), all);
        assert_eq!(nodes(&board), 0, "the session has been left");
    });
}

#[test]
fn a_part_that_fails_to_start_ends_the_run_and_leaves_nothing() {
    paused(async {
        for (part, asked) in [("client", 1), ("board", 2), ("challenges", 4), ("sink", 5)] {
            let (ca, board) = (Ca::new(true), Board::local());
            let fake = Fake { fails: part, ..Fake::new(&ca, &board) };
            let steps = Arc::clone(&fake.steps);
            let error = Run::start("a", plan("1", None), fake).running.await.unwrap().unwrap_err();
            assert_eq!(error.to_string(), format!("no {part} today"));
            assert_eq!(steps.lock().unwrap().len(), asked, "{part}: no further part is started");
            assert_eq!((nodes(&board), *ca.0.asked.borrow()), (0, 0), "{part}");
        }
    });
}

/// The run of a fleet. A renewal that stops before finalize stands for a whole one: only when chains start matters
/// here, and what the fleet counts.
fn fleet_plan(fleet: &crate::executor::FleetDrive) -> Plan {
    let mut plan = plan_of(Weights::only(Chain::Refresh), "1", None);
    let scenario = &mut plan.scenarios[0];
    scenario.choices.stop_before = Some(wec_chains::StopBefore::Finalize);
    scenario.load = fleet.load(1_000);
    scenario.run_time = Duration::from_secs(60);
    plan
}

#[test]
fn a_fleet_is_driven_as_it_was_planned_on_a_clock_of_its_own() {
    let settings = wec_fleet::FleetSettings {
        certificates: "200000".to_owned(),
        length: "1d".to_owned(),
        events: vec!["growth 5%/d".to_owned()],
        ..wec_fleet::FleetSettings::default()
    };
    let scenario = settings.read().unwrap();
    let mut cohorts = wec_fleet::Cohorts::new(scenario.clone());
    // The hour from 00:10:00 on, in a minute.
    for _ in 0..600 {
        cohorts.step();
    }
    let live = wec_fleet::LiveFleet::of(cohorts.clone());
    let planned: u64 = (0..3_600).map(|_| cohorts.step().total().attempts).sum();
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fleet = crate::executor::FleetDrive::new(scenario, live, 60.0);
        let plan = fleet_plan(&fleet);
        let ended = Run::start("a", plan, Fake::new(&ca, &board)).end().await;
        assert!(planned > 400, "{planned}");
        assert_eq!(ended.iterations, planned);
        let account = fleet.account();
        let sum = |figure: fn(&wec_fleet::Flow) -> u64| account.classes.iter().map(figure).sum::<u64>();
        assert_eq!((sum(|flow| flow.attempts), sum(|flow| flow.due)), (planned, planned));
        assert_eq!((sum(wec_fleet::Flow::served), account.in_flight), (planned, 0));
    });
}

#[test]
fn an_event_that_is_added_during_the_run_happens_to_the_fleet() {
    let settings = wec_fleet::FleetSettings {
        certificates: "200000".to_owned(),
        length: "1d".to_owned(),
        classes: vec!["daemon=1".to_owned()],
        ..wec_fleet::FleetSettings::default()
    };
    let scenario = settings.read().unwrap();
    let live = wec_fleet::LiveFleet::of(wec_fleet::Cohorts::new(scenario.clone()));
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fleet = crate::executor::FleetDrive::new(scenario, live, 60.0);
        let plan = fleet_plan(&fleet);
        let run = Run::start("a", plan, Fake::new(&ca, &board));
        let sums = || {
            let account = fleet.account();
            let sum = |figure: fn(&wec_fleet::Flow) -> u64| account.classes.iter().map(figure).sum::<u64>();
            (sum(wec_fleet::Flow::served), sum(|flow| flow.failed), sum(|flow| flow.attempts))
        };
        sleep(Duration::from_secs(20)).await;
        let event = |text: &str| Change::new(By::Cli, ChangeTo::Event(text.to_owned()));
        board.change("default", event("outage 10m")).await.unwrap();
        // Renewals that began before it end.
        sleep(Duration::from_secs(1)).await;
        let (served, failed, _) = sums();
        sleep(Duration::from_secs(8)).await;
        let (later, more, _) = sums();
        assert!(served > 10 && more > failed, "{served} {failed} {more}");
        assert_eq!(later, served, "nothing is served during the outage");
        let ended = run.end().await;
        let (served, failed, attempts) = sums();
        assert_eq!((ended.iterations, served), (attempts - failed, attempts - failed));
        assert!(served > later + 20, "the clients come again: {served}");
    });
}

#[test]
fn a_state_that_cannot_be_opened_ends_the_start() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let plan = Plan { state: "sqlite:///no/such/folder/state.sqlite".to_owned(), ..plan("1", None) };
        let error = Run::start("a", plan, Fake::new(&ca, &board)).running.await.unwrap().unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/folder"), "{error:#}");
        assert_eq!((nodes(&board), *ca.0.asked.borrow()), (0, 0));
    });
}

#[test]
fn a_run_whose_display_fails_ends_and_delivers_its_results() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fake = Fake { fails: "accompany", ..Fake::new(&ca, &board) };
        let steps = Arc::clone(&fake.steps);
        let error = Run::start("a", plan("1", None), fake).running.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no accompany today");
        assert_eq!(steps.lock().unwrap().last(), Some(&"deliver"));
        assert_eq!(nodes(&board), 0);
    });
}

#[test]
fn a_signal_ends_a_start_that_hangs() {
    paused(async {
        for part in ["client", "board", "challenges"] {
            let (ca, board) = (Ca::new(true), Board::local());
            let fake = Fake { hangs: part, ..Fake::new(&ca, &board) };
            let run = Run::start("a", plan("1", None), fake);
            run.stop.finish.cancel();
            let error = run.running.await.unwrap().unwrap_err();
            assert!(error.is::<Interrupted>(), "{part}: {error:#}");
            assert_eq!(nodes(&board), 0, "{part}");
        }
    });
}

#[test]
fn a_change_on_the_board_reaches_the_workers() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let run = Run::start("a", plan("1", None), Fake::new(&ca, &board));
        ca.asked(1).await;
        board.change("default", Change::workers(By::Page, 3)).await.unwrap();
        ca.asked(3).await;
        run.stop.finish.cancel();
        ca.open(true);
        assert_eq!(run.end().await.iterations, 3, "all iterations that had begun have ended");
    });
}

#[test]
fn a_paused_run_starts_nothing_until_it_is_resumed() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let mut run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        run.results(5).await;
        let workload = run.begun().await;
        board.change("default", Change::state(By::Page, SessionState::Paused)).await.unwrap();
        while workload.workers() > 0 {
            sleep(LATENCY).await;
        }
        let paused = run.list.results.borrow().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(run.list.results.borrow().len(), paused);
        board.change("default", Change::state(By::Page, SessionState::Running)).await.unwrap();
        run.results(paused + 5).await;
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        assert!(run.end().await.iterations as usize >= paused + 5);
    });
}

#[test]
fn chains_that_began_before_the_end_are_drained() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        ca.asked(2).await;
        run.stop.finish.cancel();
        ca.open(true);
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        assert_eq!((ended.iterations, ended.health.delivered), (2, 2));
        assert!(list.results.borrow().iter().all(|result| result.successful));
    });
}

#[test]
fn a_second_signal_interrupts_running_chains() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        ca.asked(2).await;
        run.stop.finish.cancel();
        run.stop.cut.cancel();
        let list = Arc::clone(&run.list);
        run.end().await;
        assert!(list.results.borrow().iter().all(|result| !result.successful), "the CA never answered");
        assert_eq!(nodes(&board), 0);
    });
}

#[test]
fn a_node_that_joins_late_ends_with_the_run() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let mut first = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        first.begun().await;
        first.results(3).await;
        let mut second = Run::start("b", plan("2", None), Fake::new(&ca, &board));
        second.begun().await;
        second.results(3).await;
        assert_eq!((nodes(&board), board.shares("default").borrow().nodes.len()), (2, 2));
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let (one, two) = (first.end().await, second.end().await);
        assert_eq!(one.run, two.run, "both nodes are in one run");
        assert_eq!((nodes(&board), state(&board)), (0, SessionState::Stopped));
    });
}

#[test]
fn a_run_ends_at_its_run_time_and_running_chains_are_drained() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let mut plan = plan("2", None);
        plan.scenarios[0].run_time = Duration::from_secs(30);
        let run = Run::start("a", plan, Fake::new(&ca, &board));
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        let results = list.results.borrow();
        assert_eq!(ended.iterations, results.len() as u64);
        assert!(results.iter().all(|result| result.successful));
        let last = results.iter().map(|result| result.started).max().unwrap();
        assert!(
            (29_000_000_000..31_000_000_000).contains(&last),
            "{last}: no chain began after the run time"
        );
    });
}

#[test]
fn chains_that_run_after_graceful_stop_are_interrupted() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let mut plan = plan("2", None);
        plan.plain.graceful_stop = Duration::from_secs(5).into();
        plan.scenarios[0].run_time = Duration::from_secs(10);
        let run = Run::start("a", plan, Fake::new(&ca, &board));
        let list = Arc::clone(&run.list);
        run.end().await;
        let results = list.results.borrow();
        assert!(results.iter().all(|result| !result.successful), "the CA never answered");
        assert_eq!(nodes(&board), 0);
    });
}

#[test]
fn results_that_cannot_be_delivered_are_reported_at_the_end() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fake = Fake { fails: "deliver", ..Fake::new(&ca, &board) };
        let ended = Run::start("a", plan("2", Some("20")), fake).end().await;
        assert_eq!((ended.iterations, ended.health.delivered, ended.health.lost), (20, 0, 20));
        ended.state.unwrap();
        assert_eq!(nodes(&board), 0, "the session has been left");
    });
}

#[test]
fn a_node_that_joins_while_the_run_ends_is_refused() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let first = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        ca.asked(2).await;
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let second = Run::start("b", plan("2", None), Fake::new(&ca, &board));
        let error = second.running.await.unwrap().unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(BoardError::Ending(_))), "{error:#}");
        assert_eq!(nodes(&board), 1);
        ca.open(true);
        first.end().await;
    });
}

#[test]
fn a_run_continues_without_its_board_and_follows_it_again_afterwards() {
    paused(async {
        let (ca, page) = (Ca::new(true), Board::local());
        let (board, link) = page.linked().await.unwrap();
        let (reported, _until) = Reported::start();
        let mut run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        let workload = run.begun().await;
        run.results(5).await;
        assert!(!reported.has("link"));
        link.cut();
        page.change("default", Change::state(By::Page, SessionState::Paused)).await.unwrap();
        let before = run.list.results.borrow().len();
        run.results(before + 100).await;
        assert_eq!(workload.workers(), 2, "the load is unchanged");
        assert!(reported.has("the link is cut"), "the loss is logged");
        link.mend().await;
        while workload.workers() > 0 {
            sleep(LATENCY).await;
        }
        page.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        ended.state.unwrap();
        assert_eq!((ended.iterations, ended.health.lost), (list.results.borrow().len() as u64, 0));
        assert_eq!(nodes(&page), 0, "the session has been left");
    });
}

#[test]
fn a_node_that_cannot_renew_stops_and_goes_on_when_the_board_is_back() {
    paused(async {
        for lease_ends in [false, true] {
            let (ca, page) = (Ca::new(true), Board::local());
            let (board, link) = page.linked().await.unwrap();
            let run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
            run.results(5).await;
            link.cut();
            sleep(Duration::from_secs(8)).await;
            let stopped = run.list.results.borrow().len();
            if lease_ends {
                // Another node could have the whole load by now.
                link.end_leases().await;
            }
            sleep(Duration::from_secs(60)).await;
            assert_eq!(run.list.results.borrow().len(), stopped, "{lease_ends}");
            let epoch = page.shares("default").borrow().epoch;
            link.mend().await;
            run.results(stopped + 100).await;
            let decided = page.shares("default").borrow().epoch > epoch;
            assert_eq!(decided, lease_ends, "a new registration needs a new decision");
            run.stop.finish.cancel();
            run.end().await;
        }
    });
}

#[test]
fn a_run_whose_board_is_lost_ends_with_its_time_or_a_signal_and_is_delivered() {
    paused(async {
        for by_signal in [false, true] {
            let (ca, page) = (Ca::new(true), Board::local());
            let (board, link) = page.linked().await.unwrap();
            let mut plan = plan("2", None);
            plan.scenarios[0].run_time = Duration::from_secs(30);
            let run = Run::start("a", plan, Fake::new(&ca, &board));
            run.results(5).await;
            link.cut();
            if by_signal {
                run.stop.finish.cancel();
            }
            let list = Arc::clone(&run.list);
            let ended = run.end().await;
            ended.state.unwrap();
            let results = list.results.borrow();
            assert!(results.iter().all(|result| result.successful));
            assert_eq!(
                (ended.iterations, ended.health.delivered),
                (results.len() as u64, results.len() as u64)
            );
            let last = results.iter().map(|result| result.started).max().unwrap();
            assert!(last < 8_000_000_000, "{last}: without renewals the node stops before its lease ends");
            assert_eq!(
                (nodes(&page), state(&page)),
                (1, SessionState::Running),
                "the board could not be updated"
            );
            link.end_leases().await;
            assert_eq!(nodes(&page), 0, "the node disappears when its lease ends");
        }
    });
}

#[test]
fn a_run_whose_board_is_lost_takes_no_more_iterations_until_it_is_back() {
    paused(async {
        let (ca, page) = (Ca::new(true), Board::local());
        let (board, link) = page.linked().await.unwrap();
        let (reported, _until) = Reported::start();
        let run = Run::start("a", plan("2", Some("60")), Fake::new(&ca, &board));
        run.results(3).await;
        link.cut();
        // Much longer than all iterations take.
        sleep(Duration::from_secs(60)).await;
        let taken = run.list.results.borrow().len();
        assert!((3..60).contains(&taken), "{taken}: it takes no more iterations without the board");
        assert!(!run.running.is_finished(), "the run waits for the remaining iterations");
        assert!(reported.has("sharing iterations (the link is cut)"), "the loss is logged");
        link.mend().await;
        let list = Arc::clone(&run.list);
        assert_eq!((run.end().await.iterations, list.results.borrow().len()), (60, 60));
        assert_eq!(nodes(&page), 0);
    });
}

#[test]
fn a_run_that_loses_its_board_at_the_start_begins_when_it_is_back() {
    paused(async {
        for comes_back in [true, false] {
            let (ca, page) = (Ca::new(true), Board::local());
            let (board, link) = page.linked().await.unwrap();
            let (reported, _until) = Reported::start();
            let fake = Fake { loses: Some(("challenges", link.clone())), ..Fake::new(&ca, &board) };
            let mut run = Run::start("a", plan("2", None), fake);
            run.begun().await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(*ca.0.asked.borrow(), 0, "the node has no share yet");
            assert!(reported.has("the link is cut"), "the loss is logged");
            if comes_back {
                link.mend().await;
                run.results(3).await;
            }
            run.stop.finish.cancel();
            let ended = run.end().await;
            ended.state.unwrap();
            assert_eq!(ended.iterations > 0, comes_back);
        }
    });
}

#[test]
fn a_node_whose_lease_ended_keeps_its_share_and_joins_again() {
    paused(async {
        let (ca, page) = (Ca::new(true), Board::local());
        let (board, link) = page.linked().await.unwrap();
        let mut one = Run::start("a", plan("4", None), Fake::new(&ca, &board));
        let mut two = Run::start("b", plan("4", None), Fake::new(&ca, &page));
        let (here, there) = (one.begun().await, two.begun().await);
        let workers = async |ours: u64, theirs: u64| {
            while (here.workers(), there.workers()) != (ours, theirs) {
                sleep(LATENCY).await;
            }
        };
        workers(2, 2).await;
        link.cut();
        link.end_leases().await;
        // The other node takes all of the load: the board cannot show that the first still runs its part.
        workers(2, 4).await;
        let before = one.results(0).await;
        one.results(before + 20).await;
        link.mend().await;
        workers(2, 2).await;
        assert_eq!(nodes(&page), 2);
        page.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        assert_eq!(one.end().await.run, two.end().await.run, "both nodes are in one run");
        assert_eq!((nodes(&page), state(&page)), (0, SessionState::Stopped));
    });
}

#[test]
fn a_state_that_cannot_be_written_at_the_end_is_reported_with_how_much_is_missing() {
    paused(async {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", folder.path().join("state.sqlite").display());
        let (ca, board) = (Ca::new(false), Board::local());
        let plan = Plan { state: file.clone(), ..plan("2", None) };
        // The time for which the last changes are retried, in real time.
        let fake = Fake { lease: Duration::from_secs(2), ..Fake::new(&ca, &board) };
        let steps = Arc::clone(&fake.steps);
        let run = Run::start("a", plan, fake);
        ca.asked(2).await;
        let refusing = async move {
            let mut database = SqliteConnection::connect(&file).await.unwrap();
            let refuses = "CREATE TRIGGER full BEFORE INSERT ON registrations
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
            database.execute(refuses).await.unwrap();
            database.close().await.unwrap();
        };
        tokio::task::spawn_blocking(move || DATABASE.block_on(refusing)).await.unwrap();
        run.stop.finish.cancel();
        ca.open(true);
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        let error = format!("{:#}", ended.state.unwrap_err());
        assert!(error.starts_with("the last changes of the state: "), "{error}");
        assert!(error.contains("2 changes") && error.contains("the disk is full"), "{error}");
        assert_eq!(list.unwritten.load(Ordering::Relaxed), 2, "the number is delivered with the results");
        assert_eq!((ended.iterations, ended.health.delivered), (2, 2), "the results are delivered");
        assert_eq!(steps.lock().unwrap().last(), Some(&"deliver"));
        assert_eq!(nodes(&board), 0, "the session has been left");
    });
}

/// A run of registrations and, for the most part, authorizations.
fn proving(ca: &Ca, board: &Board) -> Run {
    let mut weights = Weights::only(Chain::Registration);
    weights.set(Chain::Authorization, 4.0);
    Run::start("a", plan_of(weights, "2", None), Fake::new(ca, board))
}

fn authorized(result: &ChainResult) -> bool {
    result.chain == Some(Chain::Authorization) && result.successful
}

fn failed_by(class: FailureClass) -> impl Fn(&ChainResult) -> bool {
    move |result| result.chain == Some(Chain::Authorization) && result.class == Some(class)
}

#[test]
fn chains_fail_while_the_challenge_store_is_down_and_the_run_continues() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = proving(&ca, &board);
        run.until(authorized).await;
        let is_down = &ca.0.challenges.store_is_down;
        is_down.store(true, Ordering::Relaxed);
        // The failure is on the load tester's side, not the CA's.
        run.until(failed_by(FailureClass::Internal)).await;
        {
            let results = run.list.results.borrow();
            let failed = results.iter().find(|result| failed_by(FailureClass::Internal)(result)).unwrap();
            assert!(
                failed.error.contains("redis://ca.test") && failed.error.contains("refused"),
                "{}",
                failed.error
            );
            assert!(
                results.iter().all(|result| result.successful || failed_by(FailureClass::Internal)(result))
            );
        }
        run.until_new(|result| result.chain == Some(Chain::Registration) && result.successful).await;
        is_down.store(false, Ordering::Relaxed);
        run.until_new(authorized).await;
        run.stop.finish.cancel();
        let ended = run.end().await;
        ended.state.unwrap();
        assert_eq!((ended.health.lost, nodes(&board)), (0, 0));
    });
}

#[test]
fn the_run_ends_although_the_challenge_store_is_down() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = proving(&ca, &board);
        run.until(authorized).await;
        ca.0.challenges.store_is_down.store(true, Ordering::Relaxed);
        run.stop.finish.cancel();
        let ended = run.end().await;
        ended.state.unwrap();
        assert_eq!((ended.health.lost, nodes(&board)), (0, 0));
        assert!(!ca.0.challenges.store.is_empty(), "the data stays until it expires");
    });
}

#[test]
fn validations_fail_while_the_challenge_server_is_down() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = proving(&ca, &board);
        run.until(authorized).await;
        let is_down = &ca.0.challenges.server_is_down;
        is_down.store(true, Ordering::Relaxed);
        run.until(failed_by(FailureClass::Validation)).await;
        {
            let results = run.list.results.borrow();
            let failed = results.iter().find(|result| !result.successful).unwrap();
            assert!(failed.error.contains("by http-01: connection: refused"), "{}", failed.error);
        }
        is_down.store(false, Ordering::Relaxed);
        run.until_new(authorized).await;
        run.stop.finish.cancel();
        let ended = run.end().await;
        ended.state.unwrap();
        assert_eq!((ended.health.lost, nodes(&board)), (0, 0));
        assert!(ca.0.challenges.store.is_empty(), "all challenge data was removed");
    });
}
