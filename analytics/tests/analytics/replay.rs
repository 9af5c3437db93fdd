//! The replay of a log: at once, at a pace, and as people change it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use wec_analytics::{
    Aggregate, Analytics, Live, RecordedRun, ReplayState, ReplayView, RunSource, Runs, ServedPage, Snapshot,
};
use wec_board::Board;
use wec_record::{Chain, Record, RunHeader};

use crate::common::{START, chain_record, chain_result, exchange, header, load_record};

const SECOND: u64 = 1_000_000_000;
const HOST: &str = "Host: localhost";
const JSON: &str = "Content-Type: application/json";

/// A load sample each second, and a chain that begins then and takes half a second, in order of time.
fn records() -> Vec<Record> {
    let second = |seq: u64| {
        let chain = chain_record("r1", chain_result(Chain::Certificate, seq, seq * SECOND, SECOND / 2));
        [load_record("r2", seq, START + seq * SECOND, seq * 100), chain]
    };
    (1..=40).flat_map(second).collect()
}

/// The log of a run with these records, and the figures that the run had live.
async fn log(folder: &Path, records: &[Record]) -> Snapshot {
    let analytics = Analytics::start(crate::common::config(folder), Board::local()).await.unwrap();
    analytics.begin(header("run")).await.unwrap();
    analytics.ingest().deliver(records.to_vec()).await.unwrap();
    analytics.finish().await.snapshot
}

struct Replay {
    analytics: Analytics,
    address: SocketAddr,
}

impl Replay {
    async fn start(log: &Path, speed: Option<f64>) -> Self {
        Self::of(&[log.to_owned()], speed).await
    }

    async fn of(logs: &[PathBuf], speed: Option<f64>) -> Self {
        let recorded = RecordedRun::read(logs).unwrap();
        let page = ServedPage {
            folder: ".".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            allowed_hosts: Vec::new(),
            token: None,
            opens_with: None,
        };
        let analytics = page.replay(recorded, speed).await.unwrap();
        let address = analytics.web_addr().unwrap();
        Self { analytics, address }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let (status, _, text) = exchange(self.address, &format!("GET /api/v1/{path}"), &[HOST], b"").await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn live(&self) -> Live {
        self.get("runs/current/snapshot").await
    }

    async fn patch(&self, body: Value) -> (u16, Value) {
        let body = body.to_string();
        let (status, _, text) =
            exchange(self.address, "PATCH /api/v1/replay", &[HOST, JSON], body.as_bytes()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    /// Goes to a position and returns the figures there.
    async fn at(&self, position_ns: u64) -> Live {
        let (status, view) = self.patch(json!({ "position_ns": position_ns })).await;
        assert_eq!((status, view["position_ns"].as_u64()), (200, Some(position_ns)), "{view}");
        self.until(|view| !view.seeking).await;
        self.live().await
    }

    async fn until(&self, wanted: impl Fn(&ReplayView) -> bool) -> ReplayView {
        loop {
            let view = self.get("replay").await;
            if wanted(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The figures of the records whose time is up to `position_ns` after the start.
fn figures_until(position_ns: u64, records: &[Record]) -> Snapshot {
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(header("run")));
    let in_time = |record: &&Record| record.unix_ns() <= Some(START + position_ns);
    records.iter().filter(in_time).for_each(|record| aggregate.record(record));
    aggregate.snapshot()
}

#[tokio::test]
async fn without_a_speed_the_end_is_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ended = log(folder.path(), &records()).await;
    let replay = Replay::start(&folder.path().join("run.jsonl"), None).await;
    let live = replay.live().await;
    assert_eq!((live.source, live.snapshot), (RunSource::Replay, ended));
    assert_eq!((live.session, live.nodes.len()), (None, 0), "there is nothing to steer");
    let view = live.replay.unwrap();
    assert_eq!(
        (view.state, view.position_ns, view.length_ns),
        (ReplayState::Ended, 40 * SECOND + SECOND / 2, view.position_ns)
    );
    assert_eq!(live.now_unix_ns, START + view.length_ns, "its clock, not ours");
    let runs: Runs = replay.get("runs").await;
    let [run] = &runs.runs[..] else { panic!("{runs:?}") };
    assert_eq!((run.id.as_str(), run.outcome.as_ref().unwrap().chains), ("run", 40));
    let by_id: Live = replay.get("runs/run/snapshot").await;
    assert_eq!(by_id.replay, Some(view));
    assert_eq!(exchange(replay.address, "GET /api/v1/runs/other/snapshot", &[HOST], b"").await.0, 404);
}

#[tokio::test]
async fn a_paced_replay_ends_with_the_figures_of_the_live_run() {
    let folder = tempfile::tempdir().unwrap();
    let ended = log(folder.path(), &records()).await;
    let replay = Replay::start(&folder.path().join("run.jsonl"), Some(1_000.0)).await;
    let view = replay.until(|view| view.state == ReplayState::Ended).await;
    assert_eq!(
        (view.speed, view.position_ns, view.length_ns),
        (1_000.0, view.length_ns, 40 * SECOND + SECOND / 2)
    );
    assert_eq!(replay.live().await.snapshot, ended);
}

#[tokio::test]
async fn at_each_position_the_figures_are_those_of_the_records_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let records = records();
    log(folder.path(), &records).await;
    let replay = Replay::start(&folder.path().join("run.jsonl"), Some(1.0)).await;
    assert_eq!(replay.patch(json!({ "playing": false })).await.0, 200);
    for seconds in [20, 30, 10, 0, 25] {
        let live = replay.at(seconds * SECOND).await;
        assert_eq!(live.snapshot, figures_until(seconds * SECOND, &records), "{seconds}");
        let view = live.replay.unwrap();
        assert_eq!((view.state, view.position_ns), (ReplayState::Paused, seconds * SECOND));
    }
    // At the end there is nothing left to play; then it begins again.
    let live = replay.at(replay.live().await.replay.unwrap().length_ns).await;
    assert_eq!(
        (live.snapshot.chains[&Chain::Certificate].count, live.replay.unwrap().state),
        (40, ReplayState::Ended)
    );
    replay.patch(json!({ "playing": true, "speed": 5 })).await;
    replay.until(|view| !view.seeking).await;
    let view = replay.until(|view| view.position_ns > 2 * SECOND).await;
    assert_eq!((view.state, view.speed), (ReplayState::Playing, 5.0));
    let certificates = async || replay.live().await.snapshot.chains[&Chain::Certificate].count;
    while certificates().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(certificates().await < 40);
    replay.analytics.finish().await;
}

#[tokio::test]
async fn a_watcher_discards_what_was_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), &records()).await;
    let replay = Replay::start(&folder.path().join("run.jsonl"), None).await;
    let mut stream = BufReader::new(tokio::net::TcpStream::connect(replay.address).await.unwrap());
    let request = format!("GET /api/v1/runs/current/live HTTP/1.1\r\n{HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = stream.lines();
    let mut next = async || loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Live>(data).unwrap();
        }
    };
    let chains = |live: &Live| live.series.chains[&Chain::Certificate].count.iter().sum::<u64>();
    let first = next().await;
    assert_eq!((first.series.reset, chains(&first)), (true, 40));
    replay.at(10 * SECOND).await;
    let back = loop {
        let live = next().await;
        if live.series.reset {
            break live;
        }
        assert_eq!(chains(&live), 0, "nothing has changed");
    };
    assert_eq!(chains(&back), 9);
    replay.at(12 * SECOND).await;
    let on = loop {
        let live = next().await;
        if !live.series.at_unix_s.is_empty() {
            break live;
        }
    };
    assert_eq!((on.series.reset, chains(&on)), (false, 2), "what is new is added");
}

#[tokio::test]
async fn what_is_no_change_of_a_replay_is_refused_with_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), &records()).await;
    let replay = Replay::start(&folder.path().join("run.jsonl"), None).await;
    let before: ReplayView = replay.get("replay").await;
    let (status, body) =
        replay.patch(json!({ "speed": 0, "playing": "yes", "position_ns": -1, "Speed": 2 })).await;
    assert_eq!((status, body["mistakes"].as_array().map(Vec::len)), (400, Some(4)), "{body}");
    assert!(body.to_string().contains("speed: 0 is not a number from 1 to 1000"), "{body}");
    assert_eq!(replay.patch(json!({})).await.0, 400);
    let beyond = replay.patch(json!({ "position_ns": u64::MAX })).await.1;
    assert_eq!(beyond["position_ns"], before.length_ns, "the end is as far as it goes");
    assert_eq!(replay.get::<ReplayView>("replay").await, before);

    let other = tempfile::tempdir().unwrap();
    let config = wec_analytics::Config {
        web: Some("127.0.0.1:0".parse().unwrap()),
        ..crate::common::config(other.path())
    };
    let analytics = Analytics::start(config, Board::local()).await.unwrap();
    let address = analytics.web_addr().unwrap();
    for request in ["GET /api/v1/replay", "PATCH /api/v1/replay"] {
        assert_eq!(exchange(address, request, &[HOST, JSON], b"{\"playing\":true}").await.0, 404);
    }
}

/// As a hand would write it: without false, zero, header and times.
#[tokio::test]
async fn records_without_times_are_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("2015.log");
    let line = r#"{"chainname":"NewRegistrationChain","chainsuccessful":true,"chaintook":12,"individualresults":[{"uri":"/acme/new-reg","took":12,"successful":true}]}"#;
    std::fs::write(&seed, format!("{line}\n{line}\n")).unwrap();
    for speed in [None, Some(10.0)] {
        let replay = Replay::start(&seed, speed).await;
        let live = replay.live().await;
        assert_eq!(live.snapshot.chains[&Chain::Registration].count, 2);
        let view = live.replay.unwrap();
        assert_eq!((view.state, view.length_ns), (ReplayState::Ended, 0));
        assert_eq!(replay.patch(json!({ "playing": true })).await.1["state"], "ended");
        let runs: Runs = replay.get("runs").await;
        assert_eq!(runs.runs[0].id, "2015");
    }
}

/// As of two requesters whose results went to two processes. The marks and the header are in both.
#[tokio::test]
async fn logs_of_a_run_that_overlap_are_merged_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let ended = log(folder.path(), &records()).await;
    let text = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let of = |other: &str| {
        let lines = rest.lines().filter(|line| !line.contains(&format!("\"node\":\"{other}\"")));
        std::iter::once(header).chain(lines).map(|line| format!("{line}\n")).collect::<String>()
    };
    let logs = ["a", "b"].map(|name| folder.path().join(name));
    std::fs::write(&logs[0], of("r2")).unwrap();
    std::fs::write(&logs[1], of("r1")).unwrap();
    let replay = Replay::of(&logs, Some(1_000.0)).await;
    replay.patch(json!({ "playing": false })).await;
    // Read one after the other, the samples of the second log would be missing until the end of the first.
    for second in [3, 17, 38] {
        let live = replay.at(second * SECOND).await;
        assert_eq!(live.snapshot, figures_until(second * SECOND, &records()), "{second} s");
    }
    replay.patch(json!({ "playing": true })).await;
    replay.until(|view| view.state == ReplayState::Ended).await;
    assert_eq!(replay.live().await.snapshot, ended);
}

#[test]
fn standard_input_is_one_log() {
    let twice = RecordedRun::read(&["-".into(), "-".into()]).unwrap_err().to_string();
    assert_eq!(twice, "standard input (-) is named 2 times, and can be read once");
}

/// The last line is incomplete, and the first half is in another file, which is named later.
#[tokio::test]
async fn several_logs_of_a_run_are_one_and_a_torn_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ended = log(folder.path(), &records()).await;
    let path = folder.path().join("run.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&b, first.join("\n") + "\n").unwrap();
    std::fs::write(&a, format!("{}\n{}\n{{\"record\":\"ch", lines[0], second.join("\n"))).unwrap();
    let recorded = RecordedRun::read(&[a.clone(), b.clone()]).unwrap();
    assert!(recorded.problems().join("").contains("incomplete"), "{:?}", recorded.problems());
    std::fs::write(&a, format!("{}\n", second.join("\n"))).unwrap();
    let logs = [a.clone(), b];
    let recorded = RecordedRun::read(&logs).unwrap();
    assert_eq!(recorded.problems(), [""; 0]);
    let replay = Replay::of(&logs, Some(1_000.0)).await;
    replay.until(|view| view.state == ReplayState::Ended).await;
    assert_eq!(replay.live().await.snapshot, ended);
    let other = RunHeader { run: "other".to_owned(), ..header("other") };
    std::fs::write(&a, serde_json::to_string(&Record::Header(other)).unwrap() + "\n").unwrap();
    assert!(RecordedRun::read(&[path, a]).is_err(), "another run's log is no part of this one");
}
