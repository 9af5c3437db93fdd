//! Runs without processes: a CA that answers from here, a board in memory, results into a list.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;
use wec_acme::transport::{BoxFuture, Reply, Request, Response, Transport};
use wec_acme::{Directory, Policy, Way};
use wec_board::{BoardError, By, Change, SessionState};
use wec_delivery::Entry;
use wec_record::ChainResult;
use wec_startup::Interrupted;
use wec_store::{MemoryChallenges, StateOptions};

use super::*;
use crate::config::PlanOptions;

/// How long the CA takes for each answer. Time stands still unless everybody waits, so without it none would pass.
const LATENCY: Duration = Duration::from_millis(100);

/// Runs a test on one runtime whose time is paused: it goes on to the next timer when nobody has anything to do.
fn paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    // Surroundings belong to one task, so what they return need not be sent to others.
    LocalSet::new().block_on(&runtime, test);
}

/// Where the state's database is talked to, whose answers take real time.
static DATABASE: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// A CA that registers accounts while its gate is open; what comes meanwhile waits.
#[derive(Clone)]
struct Ca(Arc<Shared>);

struct Shared {
    clock: Clock,
    open: watch::Sender<bool>,
    /// Whether it refuses registrations.
    refuses: AtomicBool,
    /// Registrations that were asked for.
    asked: watch::Sender<u64>,
    nonces: AtomicU64,
}

impl Ca {
    fn new(open: bool) -> Self {
        Self(Arc::new(Shared {
            clock: Clock::start(),
            open: watch::Sender::new(open),
            refuses: AtomicBool::new(false),
            asked: watch::Sender::new(0),
            nonces: AtomicU64::new(0),
        }))
    }

    fn client(&self) -> Client {
        let directory: Directory = serde_json::from_str(
            r#"{"newNonce":"https://ca.test/new-nonce","newAccount":"https://ca.test/new-account",
                "newOrder":"https://ca.test/new-order","revokeCert":"https://ca.test/revoke"}"#,
        )
        .unwrap();
        Client::with_transport(directory, Box::new(self.clone()), Policy::default(), self.0.clock)
    }

    fn open(&self, open: bool) {
        self.0.open.send_replace(open);
    }

    /// Waits until so many registrations have been asked for.
    async fn asked(&self, count: u64) {
        self.0.asked.subscribe().wait_for(|asked| *asked >= count).await.unwrap();
    }
}

impl Transport for Ca {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let sent = self.0.clock.now();
        Box::pin(async move {
            sleep(LATENCY).await;
            let mut headers = HeaderMap::new();
            let nonce = format!("nonce-{}", self.0.nonces.fetch_add(1, Ordering::Relaxed));
            headers.insert("replay-nonce", HeaderValue::try_from(nonce).unwrap());
            let (mut status, mut body) = (200, "{}");
            if request.url.ends_with("new-account") {
                let mut number = 0;
                self.0.asked.send_modify(|asked| {
                    *asked += 1;
                    number = *asked;
                });
                self.0.open.subscribe().wait_for(|open| *open).await.unwrap();
                let account = format!("https://ca.test/account/{number}");
                headers.insert("location", HeaderValue::try_from(account).unwrap());
                status = 201;
                if self.0.refuses.load(Ordering::Relaxed) {
                    (status, body) =
                        (403, r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"closed"}"#);
                }
            }
            Reply {
                sent,
                done: self.0.clock.now(),
                reused: true,
                way: Way::default(),
                bytes_sent: request.body.len() as u64,
                bytes_received: body.len() as u64,
                result: Ok(Response { status, headers, body: body.into() }),
            }
        })
    }
}

/// What was delivered.
#[derive(Default)]
struct List {
    results: watch::Sender<Vec<ChainResult>>,
}

impl Sink for List {
    fn push_entry(&self, entry: Entry) {
        if let Entry::Chain(result) = entry {
            self.results.send_modify(|results| results.push(result));
        }
    }

    fn lose(&self, _: u64, _: &str) {}

    fn health(&self) -> Health {
        Health { pushed: self.results.borrow().len() as u64, ..Health::default() }
    }
}

/// Surroundings of which one part may fail.
struct Fake {
    ca: Ca,
    board: Board,
    list: Arc<List>,
    /// The part that fails.
    fails: &'static str,
    /// The part that never comes back.
    hangs: &'static str,
    /// Which parts were asked for.
    steps: Arc<Mutex<Vec<&'static str>>>,
    workload: watch::Sender<Option<Workload>>,
}

impl Fake {
    fn new(ca: &Ca, board: &Board) -> Self {
        Self {
            ca: ca.clone(),
            board: board.clone(),
            list: Arc::default(),
            fails: "",
            hangs: "",
            steps: Arc::default(),
            workload: watch::Sender::new(None),
        }
    }

    async fn step(&self, part: &'static str) -> anyhow::Result<()> {
        self.steps.lock().unwrap().push(part);
        if self.hangs == part {
            std::future::pending::<()>().await;
        }
        anyhow::ensure!(self.fails != part, "no {part} today");
        Ok(())
    }
}

impl Surroundings for Fake {
    async fn client(&mut self, _: &Plan, _: Clock) -> anyhow::Result<Client> {
        self.step("client").await?;
        Ok(self.ca.client())
    }

    async fn board(&mut self, _: &str) -> anyhow::Result<Board> {
        self.step("board").await?;
        Ok(self.board.clone())
    }

    async fn state(&mut self, plan: &Plan, _: &Client, _: Clock) -> Result<Opened, StoreError> {
        // The time here is not that of the database's runtime: a lease as short as usual would be over before it is renewed.
        let options = StateOptions { owner_lease: Duration::from_secs(1_000_000), ..StateOptions::default() };
        let (url, directory) = (plan.state.clone(), plan.directory.to_string());
        let open = move || DATABASE.block_on(State::open(&url, &directory, options));
        // Time stands still as long as this takes.
        let state = tokio::task::spawn_blocking(open).await.unwrap()?;
        Ok(Opened { state, notes: Vec::new() })
    }

    fn runtimes(&self, _: &Plan) -> Runtimes {
        Runtimes::Current
    }

    fn opened(&mut self, _: Vec<String>) {
        self.steps.lock().unwrap().push("opened");
    }

    async fn challenges(&mut self, _: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        self.step("challenges").await?;
        Ok(Arc::new(MemoryChallenges::default()))
    }

    fn sink(&mut self, _: RunHeader, _: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        self.steps.lock().unwrap().push("sink");
        anyhow::ensure!(self.fails != "sink", "no sink today");
        Ok(Arc::clone(&self.list) as Arc<dyn Sink>)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        self.step("accompany").await?;
        self.workload.send_replace(Some(run.workload));
        run.ended.cancelled().await;
        Ok(())
    }

    async fn deliver(&mut self, _: bool) -> Health {
        self.steps.lock().unwrap().push("deliver");
        let pushed = self.list.health().pushed;
        match self.fails {
            "deliver" => Health { pushed, lost: pushed, ..Health::default() },
            _ => Health { pushed, delivered: pushed, ..Health::default() },
        }
    }
}

/// Registrations only, by workers or so many.
fn plan(workers: &str, iterations: Option<&str>) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("workers", workers)
        .with("weights", "registration=1,authorization=0,certificate=0,refresh=0,revoke=0")
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", "1h");
    let plan = match iterations {
        Some(iterations) => plan.with("iterations", iterations),
        None => plan,
    };
    plan.resolve(None).unwrap()
}

fn node(name: &str) -> Node {
    Node { clock: Clock::start(), id: NodeId::new(name), session: "default".to_owned() }
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
        let (node, stopped) = (node(name), stop.clone());
        let running = tokio::task::spawn_local(async move { node.run(&plan, &mut fake, &stopped).await });
        Self { list, workload, stop, running }
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
    board.session("default").borrow().as_ref().unwrap().value.state
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
fn a_part_that_cannot_be_had_ends_the_start_and_leaves_nothing_behind() {
    paused(async {
        for (part, asked) in [("client", 1), ("board", 2), ("challenges", 4), ("sink", 5)] {
            let (ca, board) = (Ca::new(true), Board::local());
            let fake = Fake { fails: part, ..Fake::new(&ca, &board) };
            let steps = Arc::clone(&fake.steps);
            let error = Run::start("a", plan("1", None), fake).running.await.unwrap().unwrap_err();
            assert_eq!(error.to_string(), format!("no {part} today"));
            assert_eq!(steps.lock().unwrap().len(), asked, "{part}: nothing more is asked for");
            assert_eq!((nodes(&board), *ca.0.asked.borrow()), (0, 0), "{part}");
        }
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
fn a_run_that_nobody_can_see_ends_and_is_delivered_all_the_same() {
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
        assert_eq!(run.end().await.iterations, 3, "all that were begun have ended");
    });
}

#[test]
fn a_paused_run_starts_nothing_until_it_goes_on() {
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
fn what_was_begun_before_the_end_is_drained() {
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
fn a_second_signal_cuts_what_still_runs() {
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
        assert_eq!(one.run, two.run, "they make one run");
        assert_eq!((nodes(&board), state(&board)), (0, SessionState::Stopped));
    });
}

#[test]
fn a_run_ends_with_its_run_time_and_what_was_begun_is_drained() {
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
        assert!((29_000_000_000..31_000_000_000).contains(&last), "{last}: none began later");
    });
}

#[test]
fn what_outlives_the_graceful_stop_is_cut() {
    paused(async {
        let (ca, board) = (Ca::new(false), Board::local());
        let mut plan = Plan { graceful_stop: Duration::from_secs(5), ..plan("2", None) };
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
fn a_ca_that_refuses_is_not_hammered_and_is_used_again_when_it_accepts() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        ca.0.refuses.store(true, Ordering::Relaxed);
        let run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        sleep(Duration::from_secs(60)).await;
        let refused = run.results(1).await;
        assert!(run.list.results.borrow().iter().all(|result| !result.successful));
        assert!(refused < 200, "{refused}: without back-off it is asked more than 500 times");
        ca.0.refuses.store(false, Ordering::Relaxed);
        let mut results = run.list.results.subscribe();
        results.wait_for(|results| results.iter().any(|result| result.successful)).await.unwrap();
        run.stop.finish.cancel();
        run.end().await;
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
fn a_node_that_comes_while_the_run_ends_is_refused() {
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
