//! Runs in this process without a CA's process, under a paused clock: what the surroundings do at the start, when one of
//! them is missing, and at the end. Their sockets, threads and files are real.

use std::net::TcpListener;
use std::path::Path;

use wec_acme::Client;
use wec_record::Chain;
use wec_requester::picker::Weights;
use wec_requester::{Opened, PlanOptions, Runtimes};
use wec_store::StoreError;

use super::*;
use crate::paused::{Ca, open_state, paused};

/// The surroundings of `wec run`, except for the CA and the state's runtime.
struct WithCa<'a, P> {
    here: InProcess<'a, P>,
    ca: Ca,
}

impl<P: RunController> Surroundings for WithCa<'_, P> {
    async fn client(&mut self, _: &Plan, _: Clock) -> anyhow::Result<Client> {
        Ok(self.ca.client())
    }

    async fn board(&mut self, run: &str) -> anyhow::Result<Board> {
        self.here.board(run).await
    }

    async fn state(&mut self, plan: &Plan, _: &Client, _: Clock) -> Result<Opened, StoreError> {
        open_state(plan).await
    }

    fn runtimes(&self, _: &Plan) -> Runtimes {
        Runtimes::Current
    }

    fn opened(&mut self, notes: Vec<String>) {
        self.here.opened(notes);
    }

    async fn challenges(&mut self, plan: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        self.here.challenges(plan).await
    }

    fn sink(&mut self, header: RunHeader, node: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        self.here.sink(header, node)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        self.here.accompany(run).await
    }

    async fn deliver(&mut self, cut_by_signal: bool) -> wec_delivery::Health {
        self.here.deliver(cut_by_signal).await
    }
}

/// Twenty registrations by two workers.
fn plan(http01: &str) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("workers", "2")
        .with("iterations", "20")
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("http01_listen", http01)
        .with("state", "sqlite::memory:")
        .with("run_time", "1h");
    plan.resolve(None).unwrap()
}

/// No page, and logs in this folder.
fn output(folder: &Path) -> OutputOptions {
    OutputOptions { headless: true, quiet: true, log_dir: folder.join("results"), ..OutputOptions::default() }
}

/// Runs `plan` as the run `r`.
async fn run(
    plan: &Plan,
    output: &OutputOptions,
    controller: &mut impl RunController,
) -> anyhow::Result<Ended> {
    let (ca, stop) = (Ca::serving(100.0), Stop::default());
    let clock = ca.clock();
    let node = Node { clock, id: NodeId::new("a"), session: SESSION.to_owned(), run: Some("r".to_owned()) };
    let here = InProcess::new(plan, output, controller, &stop, clock);
    let mut surroundings = WithCa { here, ca };
    // A debug build keeps all of its parts on the stack.
    let ended = Box::pin(node.run(plan, &mut surroundings, &stop)).await?;
    surroundings.here.end(ended).await
}

/// The records in the log of the run.
fn log(output: &OutputOptions) -> Vec<Record> {
    let text = std::fs::read_to_string(output.log_dir.join("r.jsonl")).unwrap();
    text.lines().zip(1..).map(|(line, number)| Record::parse(line, number).unwrap()).collect()
}

#[test]
fn a_run_ends_with_all_results_in_its_log_and_in_its_figures() {
    paused(async {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let ended = run(&plan("127.0.0.1:0"), &output, &mut ()).await.unwrap();
        assert_eq!((ended.lost, ended.log_failed, &ended.log_error), (0, 0, &None));
        let registrations = &ended.snapshot.chains[&Chain::Registration];
        assert_eq!((registrations.count, registrations.failed), (20, 0));
        assert_eq!(Path::new(&ended.log), output.log_dir.join("r.jsonl"));
        let log = log(&output);
        let results = log.iter().filter(|record| matches!(record, Record::Chain { .. }));
        assert_eq!(results.count(), 20);
        let ends = log.iter().filter_map(|record| match record {
            Record::Mark(mark) if mark.new_state() == Some(LoadState::Stopped) => Some(mark.by.clone()),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [MarkBy::Schedule]);
        ended.check().unwrap();
    });
}

/// Stops the session after some results.
struct Stopping;

impl RunController for Stopping {
    async fn steer(&mut self, run: Running<'_>) {
        while run.workload.iterations() < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stop = wec_board::Change::state(wec_board::By::Capacity, SessionState::Stopped);
        run.board.change(run.session, stop).await.unwrap();
    }
}

#[test]
fn a_run_that_its_controller_stops_has_the_mark_of_the_controller_only() {
    paused(async {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let ended = run(&plan("127.0.0.1:0"), &output, &mut Stopping).await.unwrap();
        let registrations = &ended.snapshot.chains[&Chain::Registration];
        assert!((5..20).contains(&registrations.count), "{}", registrations.count);
        let log = log(&output);
        let ends = log.iter().filter_map(|record| match record {
            Record::Mark(mark) if mark.new_state() == Some(LoadState::Stopped) => Some(mark.by.clone()),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [MarkBy::Capacity]);
    });
}

#[test]
fn a_part_that_is_missing_at_the_start_is_named_and_no_log_is_left() {
    paused(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (free, busy) = ("127.0.0.1:0".to_owned(), address.to_string());
        let page = |output| OutputOptions { headless: false, listen: Some(Page::At(address)), ..output };
        let nowhere =
            |output: OutputOptions| OutputOptions { log_dir: output.log_dir.join("file/results"), ..output };
        type Changed<'a> = &'a dyn Fn(OutputOptions) -> OutputOptions;
        let cases: [(&str, Changed<'_>, &str); 3] = [
            (&free, &page, "page"),
            (&free, &nowhere, "cannot make the folder of logs"),
            (&busy, &|output| output, "the challenge server"),
        ];
        for (http01, change, part) in cases {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("results")).unwrap();
            std::fs::write(folder.path().join("results/file"), "").unwrap();
            let output = change(output(folder.path()));
            let error = run(&plan(http01), &output, &mut ()).await.map(drop).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{part}: {error:#}");
            let left = std::fs::read_dir(folder.path().join("results")).unwrap();
            assert_eq!(left.count(), 1, "{part}: only the file from before");
        }
    });
}

#[test]
fn a_run_whose_log_cannot_be_begun_ends_with_the_reason() {
    paused(async {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        std::fs::create_dir_all(output.log_dir.join("r.jsonl")).unwrap();
        let error = run(&plan("127.0.0.1:0"), &output, &mut ()).await.map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("r.jsonl"), "{error:#}");
    });
}

#[test]
fn a_long_run_has_its_index_at_its_end_and_a_short_one_has_none() {
    paused(async {
        for (requests, has_index) in [(499_999, false), (500_000, true)] {
            let folder = tempfile::tempdir().unwrap();
            let output = output(folder.path());
            let mut ended = run(&plan("127.0.0.1:0"), &output, &mut ()).await.unwrap();
            ended.snapshot.requests = requests;
            // A debug build keeps all of its parts on the stack.
            Box::pin(ended.conclude(Ok(()), &output, &Stop::default())).await.unwrap();
            assert_eq!(output.log_dir.join("r.jsonl.index").exists(), has_index, "{requests}");
        }
    });
}

#[test]
fn a_notice_has_what_is_wrong_with_the_record_of_the_run() {
    let summary = || Err(anyhow!("cannot write the summary to a.json"));
    let ended = |state, log_error: Option<&str>| Ended {
        state,
        log_error: log_error.map(str::to_owned),
        ..Ended::of(wec_analytics::Aggregate::default().snapshot(), "results/r.jsonl")
    };
    for (left, ended, error) in [
        (Ok(()), ended(Ok(()), None), None),
        (Ok(()), ended(Ok(()), Some("no space")), Some("the log is not complete: no space")),
        (Ok(()), ended(Err(anyhow!("the state")), Some("no space")), Some("the state")),
        (summary(), ended(Ok(()), None), Some("cannot write the summary to a.json")),
    ] {
        let details = ended.details(&left, &OutputOptions::default(), &Stop::default());
        assert_eq!((details.error.as_deref(), details.page), (error, None));
    }
}

#[test]
fn names_have_the_address_of_the_listener_that_the_ca_connects_to() {
    let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    for (http01, tlsalpn01, expected) in [
        ("127.0.0.1:5002", "127.0.0.1:5001", [127, 0, 0, 1]),
        ("127.7.8.9:80", "", [127, 7, 8, 9]),
        ("0.0.0.0:80", "10.0.0.4:443", [10, 0, 0, 4]),
        ("0.0.0.0:80", "0.0.0.0:443", [127, 0, 0, 1]),
        ("[::1]:80", "", [127, 0, 0, 1]),
        ("", "", [127, 0, 0, 1]),
    ] {
        let listen = Listen { http01: address(http01), tlsalpn01: address(tlsalpn01), dns: None };
        assert_eq!(hosts_address(listen), Ipv4Addr::from(expected), "{http01} {tlsalpn01}");
    }
}
