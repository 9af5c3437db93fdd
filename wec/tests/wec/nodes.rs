//! Several requesters, one analytics and an etcd make one run.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use wec_board::{Board, EtcdOptions, Session, SessionState, Versioned};
use wec_record::Record;
use wec_testbed::etcd::Etcd;

use crate::common::ONLY_REGISTRATIONS;

/// An etcd, a CA and analytics. Each process is ended when dropped.
struct Bed {
    folder: tempfile::TempDir,
    ca: crate::common::NullCa,
    etcd: Etcd,
    analytics: crate::common::Running,
    /// The address that receives results.
    results: String,
}

impl Bed {
    async fn start(analytics: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = crate::common::NullCa::start(folder.path(), &[]);
        let etcd = Etcd::start().await.unwrap();
        let board = board(&etcd);
        let mut args = vec!["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
        args.extend(["--board", &board, "--session", "night"]);
        args.extend(analytics);
        let mut child = crate::common::wec(folder.path(), &args)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("analytics.said")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let results = line.trim().rsplit(' ').next().unwrap().to_owned();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self {
            folder,
            ca,
            etcd,
            analytics: crate::common::Running(Some(child)),
            results: format!("http://{results}"),
        }
    }

    /// A node with its own state.
    fn requester(&self, name: &str, flags: &[&str]) -> crate::common::Running {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let board = board(&self.etcd);
        let mut args = vec!["requester", "--node", name, "--analytics", &self.results, "--board", &board];
        args.extend([
            "--session",
            "night",
            "--http01-listen",
            "127.0.0.1:0",
            "--weight",
            &ONLY_REGISTRATIONS,
        ]);
        args.extend(flags);
        args.extend(self.ca.target());
        let child = crate::common::wec(&folder, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        crate::common::Running(Some(child.unwrap()))
    }

    /// The records in the one log so far.
    fn log(&self) -> Vec<Record> {
        crate::common::log_so_far(&self.folder.path().join("results"))
    }

    fn chains(&self) -> usize {
        crate::common::results(&self.log()).count()
    }

    fn until_chains(&self, ended: usize) {
        crate::common::until(&format!("{ended} chains are in the log"), || self.chains() >= ended);
    }

    /// The exit code of analytics, and its standard error.
    fn ended(&mut self) -> (Option<i32>, String) {
        let output = wait(&mut self.analytics);
        (output.status.code(), std::fs::read_to_string(self.folder.path().join("analytics.said")).unwrap())
    }
}

fn board(etcd: &Etcd) -> String {
    format!("etcd://{}", etcd.endpoint().trim_start_matches("http://"))
}

fn wait(running: &mut crate::common::Running) -> Output {
    running.0.take().unwrap().wait_with_output().unwrap()
}

fn kill(running: &mut crate::common::Running) {
    let mut child: Child = running.0.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The nodes of the chains in the log.
fn nodes(log: &[Record]) -> BTreeSet<String> {
    let nodes = log.iter().filter_map(|record| match record {
        Record::Chain { node, .. } => Some(node.clone()),
        _ => None,
    });
    nodes.collect()
}

fn one_log(folder: &Path) -> bool {
    std::fs::read_dir(folder.join("results")).unwrap().count() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_number_of_iterations_is_run_exactly_by_all_nodes_together() {
    let mut bed = Bed::start(&["--once", "--threshold", "chain{count} == 500"]).await;
    let flags = ["--iterations", "500", "--workers", "4", "--think-time", "100ms", "--run-time", "10m"];
    let mut one = bed.requester("one", &flags);
    bed.until_chains(20);
    let mut two = bed.requester("two", &flags);
    for node in [&mut one, &mut two] {
        let output = wait(node);
        assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    }
    let (code, said) = bed.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(one_log(bed.folder.path()), "all nodes are in one run");
    let log = bed.log();
    assert_eq!((crate::common::results(&log).count(), nodes(&log).len()), (500, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_iterations_are_reported_as_missing_and_others_run_the_rest() {
    let bed = Bed::start(&[]).await;
    let flags = ["--iterations", "1200", "--workers", "4", "--think-time", "50ms", "--run-time", "10m"];
    let (mut one, mut two) = (bed.requester("one", &flags), bed.requester("two", &flags));
    crate::common::until("both nodes have results", || nodes(&bed.log()).len() == 2);
    kill(&mut two);
    let output = wait(&mut one);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let said = crate::common::said(&output);
    let missing = said.split("may not have been run: ").nth(1).expect(&said);
    let held: usize = missing.split(' ').next().unwrap().parse().unwrap();
    assert!(missing.contains(" with two-"), "{said}");
    let ran = bed.chains();
    assert!((1200 - held..=1200).contains(&ran), "{ran} ran, the killed node held {held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_ends_the_run_of_all_nodes_and_analytics_has_the_verdict() {
    let mut bed = Bed::start(&["--once"]).await;
    let flags = ["--workers", "2", "--run-time", "10m", "--threshold", "chain{count} < 50 abort"];
    let (mut one, mut two) = (bed.requester("one", &flags), bed.requester("two", &flags));
    for node in [&mut one, &mut two] {
        let output = wait(node);
        assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    }
    let (code, said) = bed.ended();
    assert_eq!(code, Some(99), "{said}");
    assert!(said.contains("1 of 1 thresholds did not hold"), "{said}");
    assert!(one_log(bed.folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_results_are_delivered_says_what_is_waited_for_and_the_next_one_leaves_it_to_the_spool()
 {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let nobody = format!("http://{}", crate::common::free());
    let etcd = Etcd::start().await.unwrap();
    let url = board(&etcd);
    let mut args = vec!["requester", "--analytics", &nobody, "--iterations", "5", "--workers", "1"];
    args.extend(["--board", &url, "--session", "night"]);
    args.extend(["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]);
    args.extend(ca.target());
    let mut child = crate::common::wec(folder.path(), &args)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, hearing) = crate::common::hear(BufReader::new(child.stderr.take().unwrap()));
    let heard = |what: &str| said.lock().unwrap().contains(what);
    let board = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    let mut session = board.session("night");
    let over = |shown: &Option<Versioned<Session>>| {
        shown.as_ref().is_some_and(|shown| shown.value.spec.state == SessionState::Stopped)
    };
    // The load has ended, and no analytics receives its results.
    let bound = std::time::Duration::from_secs(120);
    tokio::time::timeout(bound, session.wait_for(over)).await.expect("in time").unwrap();
    crate::common::signal(&child, "-INT");
    crate::common::until("it says what is waited for", || heard("results have not reached analytics yet"));
    assert!(heard("interrupt again to leave them in spool for the next start"), "{}", said.lock().unwrap());
    crate::common::signal(&child, "-INT");
    let mut report = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut report).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(105));
    hearing.join().unwrap();
    assert!(report.contains("5 iterations, 5 succeeded, 0 results delivered, "), "{report}");
    assert!(report.contains("waiting in the spool for the next start"), "{report}");
}
