//! Runs whose results go to another process, without a CA's process and under a paused clock: analytics that cannot be
//! reached or may not be used, a board that is lost, and another node. Sockets and the spool are real.

use std::cell::Cell;
use std::rc::Rc;

use tokio::task::JoinHandle;
use wec_acme::Client;
use wec_board::Link;
use wec_record::Chain;
use wec_store::StoreError;

use super::*;
use crate::config::PlanOptions;
use crate::engine::Runtimes;
use crate::node::tests::fake::{Ca, Fake, paused};
use crate::picker::Weights;
use crate::stored::Opened;

/// The surroundings of a remote run, except for the CA and the state's runtime.
struct WithCa {
    remote: Remote,
    fake: Fake,
}

impl Surroundings for WithCa {
    async fn client(&mut self, plan: &Plan, clock: Clock) -> anyhow::Result<Client> {
        self.fake.client(plan, clock).await
    }

    async fn board(&mut self, run: &str) -> anyhow::Result<Board> {
        self.remote.board(run).await
    }

    fn strength(&self) -> watch::Receiver<Strength> {
        self.remote.strength()
    }

    fn quorum(&self) -> Option<u32> {
        self.remote.quorum()
    }

    async fn state(&mut self, plan: &Plan, client: &Client, clock: Clock) -> Result<Opened, StoreError> {
        self.fake.state(plan, client, clock).await
    }

    fn runtimes(&self, plan: &Plan) -> Runtimes {
        self.fake.runtimes(plan)
    }

    fn opened(&mut self, notes: Vec<String>) {
        self.remote.opened(notes);
    }

    async fn challenges(&mut self, plan: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        self.remote.challenges(plan).await
    }

    fn sink(&mut self, header: RunHeader, node: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        self.remote.sink(header, node)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        self.remote.accompany(run).await
    }

    /// The wait for analytics takes real time: a user ends it by two signals after the load.
    async fn deliver(&mut self, cut_by_signal: bool) -> Health {
        self.remote.stop.cut.cancel();
        self.remote.stop.enough.cancel();
        self.remote.deliver(cut_by_signal).await
    }
}

/// Registrations by two workers, for this number of iterations or without end.
fn plan(iterations: Option<&str>) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("workers", "2")
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("state", "sqlite::memory:")
        .with("run_time", "1h");
    let plan = iterations.into_iter().fold(plan, |plan, iterations| plan.with("iterations", iterations));
    plan.resolve(None).unwrap()
}

/// A run that is under way.
struct Run {
    folder: tempfile::TempDir,
    stop: Stop,
    /// How often the load began.
    began: Rc<Cell<u32>>,
    running: JoinHandle<anyhow::Result<Delivered>>,
}

impl Run {
    /// Starts the node `name`, which delivers to `analytics` and keeps the rest in `spool` in the run's folder.
    fn start(name: &str, plan: Plan, (ca, board): (&Ca, &Board), analytics: &str) -> Self {
        let (folder, stop, began) = (tempfile::tempdir().unwrap(), Stop::default(), Rc::new(Cell::new(0)));
        let options = DeliveryOptions {
            analytics: analytics.to_owned(),
            spool: folder.path().join("spool"),
            spool_bytes: 1 << 20,
            token: None,
            tls: TlsOptions::default(),
        };
        let challenges = Arc::new(wec_store::MemoryChallenges::default());
        let mut remote = Remote::new(BoardOf::Open(board.clone()), options, challenges, &stop);
        let counts = Rc::clone(&began);
        remote.began = Some(Box::new(move || counts.set(counts.get() + 1)));
        let mut with_ca = WithCa { remote, fake: Fake::new(ca, board) };
        let (session, id) = ("default".to_owned(), NodeId::new(name));
        let node = Node { clock: ca.0.clock, id, session, run: None };
        let stopped = stop.clone();
        let running = tokio::task::spawn_local(async move {
            let ended = node.run(&plan, &mut with_ca, &stopped).await?;
            with_ca.remote.delivered(ended, &plan)
        });
        Self { folder, stop, began, running }
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn nodes(board: &Board) -> usize {
    board.nodes().borrow().len()
}

#[test]
fn results_stay_in_the_spool_while_analytics_cannot_be_reached() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", plan(Some("20")), (&ca, &board), &nobody());
        let delivered = run.running.await.unwrap().unwrap();
        assert_eq!((delivered.iterations, delivered.succeeded, run.began.get()), (20, 20, 1));
        let Health { pushed, delivered: arrived, queued, spooled, lost, .. } = delivered.health;
        assert_eq!((arrived, queued + spooled, lost), (0, pushed, 0));
        assert!(std::fs::read_dir(run.folder.path().join("spool")).unwrap().count() > 0);
        assert!(!delivered.shared, "there was one node");
        assert_eq!(delivered.exit(&run.stop), Exit::CouldNotRun);
        let report = delivered.report();
        assert!(report.contains("20 iterations, 20 succeeded, 0 results delivered"), "{report}");
        assert!(report.contains("no result reached analytics at http://127.0.0.1:"), "{report}");
        assert_eq!(nodes(&board), 0, "the session has been left");
    });
}

#[test]
fn a_destination_beyond_loopback_without_tls_ends_the_start_and_the_session_is_left() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", plan(Some("20")), (&ca, &board), "http://192.0.2.1:8090");
        let refused = run.running.await.unwrap().unwrap_err();
        assert!(format!("{refused:#}").contains("192.0.2.1"), "{refused:#}");
        assert_eq!((nodes(&board), run.began.get(), ca.requested()), (0, 0, 0));
    });
}

#[test]
fn a_node_whose_board_is_lost_ends_with_a_signal_and_counts_as_one_of_several() {
    paused(async {
        let (ca, page) = (Ca::new(true), Board::local());
        let (board, link): (Board, Link) = page.linked().await.unwrap();
        let run = Run::start("a", plan(None), (&ca, &board), &nobody());
        ca.asked(5).await;
        link.cut();
        run.stop.finish.cancel();
        let delivered = run.running.await.unwrap().unwrap();
        assert!(delivered.iterations >= 5 && delivered.iterations == delivered.succeeded, "{delivered:?}");
        assert!(delivered.shared, "the board does not answer whether there were others");
        assert_eq!(delivered.health.lost, 0);
    });
}

#[test]
fn nodes_of_one_session_end_together_and_know_of_each_other() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let nobody = nobody();
        let start = |name| Run::start(name, plan(Some("60")), (&ca, &board), &nobody);
        let (one, two) = (start("a"), start("b"));
        let (first, second) = (one.running.await.unwrap().unwrap(), two.running.await.unwrap().unwrap());
        assert_eq!((first.iterations + second.iterations, &first.run), (60, &second.run));
        assert!(first.shared || second.shared, "the one that ends last has seen the other");
        assert_eq!(nodes(&board), 0);
    });
}

#[test]
fn the_wait_for_analytics_ends_with_the_second_signal_and_the_first_reports_what_is_pending() {
    paused(async {
        for impatient in [false, true] {
            let (stop, reports) = (Stop::default(), Cell::new(0));
            let mut given_up = std::pin::pin!(given_up(impatient, &stop, || reports.set(reports.get() + 1)));
            let mut still_waits = async || tokio::time::timeout(DELIVER_WITHIN, &mut given_up).await.is_err();
            assert!(still_waits().await);
            assert_eq!(reports.get(), 0, "nobody asked");
            stop.cut.cancel();
            assert!(still_waits().await, "the first signal does not end the wait");
            assert_eq!(reports.get(), u32::from(!impatient));
            stop.enough.cancel();
            assert!(!still_waits().await);
            assert_eq!(reports.get(), u32::from(!impatient), "once");
        }
    });
}

#[test]
fn the_exit_code_follows_from_what_ran_and_what_arrived() {
    let ran = |iterations, succeeded, shared, (pushed, delivered), strict| Delivered {
        run: "r".to_owned(),
        iterations,
        succeeded,
        shared,
        health: Health { pushed, delivered, ..Health::default() },
        analytics: "http://127.0.0.1:8090".to_owned(),
        limits: Vec::new(),
        strict,
    };
    for (delivered, expected) in [
        (ran(20, 20, false, (20, 20), true), Exit::Passed),
        (ran(20, 1, false, (20, 20), false), Exit::Passed),
        (ran(20, 0, false, (20, 20), false), Exit::Failed),
        (ran(20, 20, false, (20, 0), false), Exit::CouldNotRun),
        // Nothing was left to do, which is no failure of a node that joined others.
        (ran(0, 0, true, (0, 0), false), Exit::Passed),
        (ran(0, 0, false, (0, 0), false), Exit::Failed),
    ] {
        assert_eq!(delivered.exit(&Stop::default()), expected, "{delivered:?}");
    }
}
