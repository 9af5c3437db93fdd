//! The run of a search in this process, whose figures are counted at once.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use wec_acme::{Client, Clock};
use wec_analytics::{Aggregate, CapacityView, WindowFigures};
use wec_board::{Board, Change, NodeId};
use wec_delivery::{Entry, Health, Sink};
use wec_record::threshold::Threshold;
use wec_record::{Chain, Record, RunHeader};
use wec_requester::picker::Weights;
use wec_requester::{Begun, Node, Opened, Plan, PlanOptions, Runtimes, Surroundings};
use wec_startup::Stop;
use wec_store::{ChallengeWriter, MemoryChallenges, StoreError};

use super::super::findings::Findings;
use super::super::plan::resolve;
use super::super::probe::{RunFigures, SearchedRun};
use super::super::runner::SearchRunner;
use crate::paused::{Ca, open_state};
use crate::progress::{Progress, ViewOptions};

const SESSION: &str = "default";

/// The figures of the run, which count each result when it is pushed.
struct Figures {
    aggregate: Mutex<Aggregate>,
    clock: Clock,
    /// The search as it is shown on the page.
    shown: Mutex<CapacityView>,
}

impl Figures {
    fn record(&self, record: &Record) {
        self.aggregate.lock().unwrap().record(record);
    }
}

impl Sink for Figures {
    fn push_entry(&self, entry: Entry) {
        let (node, origin_unix_ns) = ("a".to_owned(), self.clock.origin_unix_ns());
        match entry {
            Entry::Chain(result) => self.record(&Record::Chain { node, origin_unix_ns, result }),
            Entry::Load { at_unix_ns, load } => {
                self.record(&Record::Load { node, seq: 0, at_unix_ns, load });
            }
            _ => {}
        }
    }

    fn lose(&self, count: u64, why: &str) {
        panic!("{count} results were lost: {why}");
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

impl RunFigures for Figures {
    fn watch_windows(&self, thresholds: Vec<Threshold>) {
        self.aggregate.lock().unwrap().watch_windows(thresholds);
    }

    fn window(&self, unix_ns: Range<u64>) -> WindowFigures {
        self.aggregate.lock().unwrap().windows().unwrap().figures(unix_ns)
    }

    fn forget_windows_before(&self, unix_ns: u64) {
        self.aggregate.lock().unwrap().windows().unwrap().forget_before(unix_ns);
    }

    fn show_capacity(&self, view: CapacityView) {
        *self.shown.lock().unwrap() = view;
    }
}

/// The surroundings of a search, of which one part may be missing.
struct Fake {
    ca: Ca,
    board: Board,
    figures: Arc<Figures>,
    runner: SearchRunner,
    stop: Stop,
    missing: &'static str,
}

impl Surroundings for Fake {
    async fn client(&mut self, _: &Plan, _: Clock) -> anyhow::Result<Client> {
        Ok(self.ca.client())
    }

    async fn board(&mut self, _: &str) -> anyhow::Result<Board> {
        Ok(self.board.clone())
    }

    async fn state(&mut self, plan: &Plan, _: &Client, _: Clock) -> Result<Opened, StoreError> {
        open_state(plan).await
    }

    fn runtimes(&self, _: &Plan) -> Runtimes {
        Runtimes::Current
    }

    fn opened(&mut self, _: Vec<String>) {}

    async fn challenges(&mut self, _: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        anyhow::ensure!(self.missing != "challenges", "no challenges today");
        Ok(Arc::new(MemoryChallenges::default()))
    }

    fn sink(&mut self, _: RunHeader, _: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        Ok(Arc::clone(&self.figures) as Arc<dyn Sink>)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        self.figures.record(&Record::Header(run.header));
        let progress = Progress::start(ViewOptions {
            quiet: true,
            target: String::new(),
            page: None,
            notes: Vec::new(),
            state: Vec::new(),
            run_time: Duration::ZERO,
            warm_up: Duration::ZERO,
            iterations: None,
        });
        let searched = SearchedRun {
            figures: &*self.figures,
            board: run.board,
            session: SESSION,
            workload: &run.workload,
            stop: &self.stop,
            clock: run.node.clock,
            progress: &progress,
        };
        let search = async {
            self.runner.search(searched).await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = search => Ok(()),
            () = run.ended.cancelled() => Ok(()),
        }
    }

    async fn deliver(&mut self, _: bool) -> Health {
        self.figures.health()
    }
}

/// A search that is under way.
pub(super) struct Searching {
    pub(super) board: Board,
    pub(super) stop: Stop,
    figures: Arc<Figures>,
    running: JoinHandle<(anyhow::Result<wec_requester::Ended>, Findings)>,
}

/// Short steps, and bounds on the load tester that a busy machine does not exceed.
const USUAL: [(&str, &str); 9] = [
    ("directory", "https://127.0.0.1:14000/dir"),
    ("state", "sqlite::memory:"),
    ("spacing", "even"),
    ("limited_lag", "10m"),
    ("limited_backlog", "100%"),
    ("limited_cpu", "100%"),
    ("capacity.step_time", "3s"),
    ("capacity.hold", "2s"),
    ("capacity.settle", "3s..9s"),
];

/// The options of a search, the usual ones and these.
fn options(keys: &[(&str, &str)]) -> PlanOptions {
    let all = USUAL.iter().chain(keys);
    let registrations =
        PlanOptions::default().with("weights", Weights::only(Chain::Registration).to_string());
    all.fold(registrations, |options, (key, value)| options.with(key, *value))
}

impl Searching {
    pub(super) fn start(ca: &Ca, keys: &[(&str, &str)]) -> Self {
        Self::without("", ca, keys)
    }

    /// Starts a search in surroundings without this part.
    pub(super) fn without(missing: &'static str, ca: &Ca, keys: &[(&str, &str)]) -> Self {
        let (search, plan) = resolve(&options(keys), None).map_err(|mistakes| mistakes.to_string()).unwrap();
        let (board, stop) = (Board::local(), Stop::default());
        let (clock, id) = (ca.clock(), NodeId::new("a"));
        let node = Node { clock, id, session: SESSION.to_owned(), run: None };
        let (aggregate, shown) = (Mutex::default(), Mutex::default());
        let figures = Arc::new(Figures { aggregate, clock, shown });
        let mut fake = Fake {
            ca: ca.clone(),
            board: board.clone(),
            figures: Arc::clone(&figures),
            runner: SearchRunner::new(search),
            stop: stop.clone(),
            missing,
        };
        let stopped = stop.clone();
        let running = tokio::task::spawn_local(async move {
            let ended = node.run(&plan, &mut fake, &stopped).await;
            (ended, fake.runner.findings())
        });
        Self { board, stop, figures, running }
    }

    /// Waits until the session has such a rate.
    pub(super) async fn rate(&self, is: impl Fn(f64) -> bool) {
        let mut session = self.board.session(SESSION);
        let has = |session: &Option<wec_board::Versioned<wec_board::Session>>| {
            let targets = session.iter().flat_map(|session| session.value.spec.scenarios.values());
            targets.filter_map(|target| target.rate).any(&is)
        };
        session.wait_for(has).await.unwrap();
    }

    pub(super) async fn change(&self, change: Change) {
        self.board.change(SESSION, change).await.unwrap();
    }

    /// The findings of a search whose run ends in order.
    pub(super) async fn end(self) -> Findings {
        let (ended, findings) = self.running.await.unwrap();
        ended.unwrap().state.unwrap();
        assert!(self.board.nodes().borrow().is_empty(), "the session has been left");
        let shown = self.figures.shown.lock().unwrap();
        let judged = findings.steps.len() + usize::from(findings.hold.is_some());
        assert_eq!((shown.over, shown.steps.len()), (true, judged), "what the page shows");
        findings
    }

    /// The error of a run that could not start, and the findings of its search.
    pub(super) async fn refused(self) -> (anyhow::Error, Findings) {
        let (ended, findings) = self.running.await.unwrap();
        assert!(self.board.nodes().borrow().is_empty(), "the session has been left");
        (ended.unwrap_err(), findings)
    }
}
