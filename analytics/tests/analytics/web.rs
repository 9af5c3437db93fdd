//! The web API against `docs/web-api.md`.

mod access;
mod metrics;
mod plans;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use wec_acme::Clock;
use wec_analytics::{
    Analytics, Config, Journal, Live, NodeView, RunEnd, Runs, SessionChanged, SessionEntry, SessionView,
    Sessions, Token,
};
use wec_board::{
    Board, By, Change, EtcdOptions, Limits, NodeId, NodeInfo, NodeKind, NodeState, Session, Strength, Target,
    Versioned,
};
use wec_record::{Chain, ChainResult, Mark, Record, RunHeader};
use wec_testbed::etcd::Etcd;

use crate::common::{START, chain_record, chain_result, exchange, header, unchunked};

struct Service {
    analytics: Analytics,
    board: Board,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// A run that starts in this second: marks that the service itself makes would be out of range in a run of another
/// day, or its results beside them.
fn of_today(run: &str) -> RunHeader {
    let now = Clock::start().unix_now_ns();
    RunHeader { started_unix_ns: now - now % 1_000_000_000, ..header(run) }
}

/// A result of that run.
fn chain_of(run: &RunHeader, result: ChainResult) -> Record {
    Record::Chain { node: "r1".to_owned(), origin_unix_ns: run.started_unix_ns, result }
}

async fn service(token: Option<&str>) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::local();
    board.put_session(Session::running("default", 50)).await.unwrap();
    let config = Config {
        web: Some("127.0.0.1:0".parse().unwrap()),
        token: token.and_then(Token::new),
        allowed_hosts: vec!["wec.test".to_owned()],
        ..crate::common::config(folder.path())
    };
    let analytics = Analytics::start(config, board.clone()).await.unwrap();
    let address = analytics.web_addr().unwrap();
    Service { analytics, board, address, _folder: folder }
}

const PATCH: &str = "PATCH /api/v1/sessions/current/scenarios/default";
const SESSION: &str = "PATCH /api/v1/sessions/current";
const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn shows_everything_in_one_object() {
    let service = service(None).await;
    let header = of_today("run");
    service.analytics.begin(header.clone()).await.unwrap();
    let results = (1..=5).map(|seq| chain_of(&header, chain_result(Chain::Refresh, seq, 0, 1_000)));
    let results = results.collect();
    service.analytics.ingest().deliver(results).await.unwrap();
    let live = wait_for(service.address, |live| live.snapshot.chains[&Chain::Refresh].count == 5).await;
    assert_eq!(live.snapshot.run.id, "run");
    let session = live.session.unwrap();
    assert_eq!(
        (session.id.as_str(), session.state.as_str(), session.workers_target),
        ("default", "running", 50)
    );
    assert_eq!(live.snapshot.workers_target, Some(50), "the log begins with the wanted workers");
    assert!(live.health.log.ends_with("run.jsonl"));
    assert_eq!(live.health.log_error, None);
    assert_eq!(live.series.chains[&Chain::Refresh].count, [5]);
}

#[tokio::test]
async fn changing_the_workers_changes_the_board_and_leaves_a_mark() {
    let service = service(None).await;
    service.analytics.begin(of_today("run")).await.unwrap();
    let host = format!("Host: {}", service.address);
    let origin = format!("Origin: http://{}", service.address);
    let (status, _, body) =
        exchange(service.address, PATCH, &[&host, &origin, JSON], br#"{"workers": 80}"#).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""workers_target":80"#), "{body}");
    assert_eq!(service.board.session("default").borrow().as_ref().unwrap().value.workers(), 80);
    let cli = [&host, JSON, "Wec-By: cli"];
    let (status, ..) = exchange(service.address, PATCH, &cli, br#"{"workers":20}"#).await;
    assert_eq!(status, 200);
    let (status, ..) = exchange(service.address, PATCH, &[&host, JSON], br#"{"workers":30}"#).await;
    assert_eq!(status, 200);
    let live = wait_for(service.address, |live| live.snapshot.marks.len() == 4).await;
    let marks: Vec<_> = live
        .snapshot
        .marks
        .iter()
        .map(|mark| [mark.by.to_string(), mark.what.to_string(), mark.from.to_string(), mark.to.to_string()])
        .collect();
    assert_eq!(
        marks,
        [
            ["cli", "workers", "0", "50"],
            ["page", "workers", "50", "80"],
            ["cli", "workers", "80", "20"],
            ["api", "workers", "20", "30"]
        ]
    );
    assert_eq!(live.snapshot.workers_target, Some(30));
    assert_eq!(service.analytics.finish().await.snapshot.marks.len(), 4);
}

/// Two scenarios, one with a rate.
async fn two_scenarios() -> Service {
    let service = service(None).await;
    let steady = Target { workers: 5, ..Target::default() };
    let open = Target { workers: 100, rate: Some(50.0), scheduled: true, ..Target::default() };
    let scenarios = BTreeMap::from([("steady".to_owned(), steady), ("open one".to_owned(), open)]);
    let limits = Limits { registrations: Some(10), ..Limits::default() };
    service.board.put_session(Session::new("default", scenarios, limits)).await.unwrap();
    service.analytics.begin(of_today("run")).await.unwrap();
    service
}

#[tokio::test]
async fn several_keys_are_several_changes_with_a_mark_each() {
    let service = two_scenarios().await;
    let at_first =
        wait_for(service.address, |live| live.snapshot.marks.len() >= 2).await.snapshot.marks.len();
    let host = "Host: localhost";
    let open = "PATCH /api/v1/sessions/current/scenarios/open%20one";
    let body = br#"{"weights":{"revoke":0,"certificate":4},"rate":80.5,"workers":200}"#;
    let (status, _, text) = exchange(service.address, open, &[host, JSON], body).await;
    assert_eq!(status, 200, "{text}");
    let changed: SessionChanged = serde_json::from_str(&text).unwrap();
    let what = |marks: &[Mark]| -> Vec<String> {
        marks
            .iter()
            .map(|mark| format!("{} {}: {} > {}", mark.scenario, mark.what, mark.from, mark.to))
            .collect()
    };
    let of_scenario = [
        "open one workers: 100 > 200",
        "open one rate: 50 > 80.5",
        "open one weights: certificate=unset, revoke=unset > certificate=4, revoke=0",
    ];
    assert_eq!(what(&changed.changes), of_scenario);
    let target = &changed.session.scenarios["open one"];
    assert_eq!((target.workers, target.rate, target.scheduled), (200, Some(80.5), false));
    assert_eq!(target.weights, BTreeMap::from([("certificate".to_owned(), 4.0), ("revoke".to_owned(), 0.0)]));

    let body = br#"{"state":"paused","limits":{"registrations":null,"certificates":1000}}"#;
    let (status, _, text) = exchange(service.address, SESSION, &[host, JSON], body).await;
    assert_eq!(status, 200, "{text}");
    let changed: SessionChanged = serde_json::from_str(&text).unwrap();
    let of_session = [
        " state: running > paused",
        " limits: certificates=none > certificates=1000",
        " limits: registrations=10 > registrations=none",
    ];
    assert_eq!(what(&changed.changes), of_session);
    let (status, _, text) = exchange(service.address, "GET /api/v1/sessions/current", &[host], b"").await;
    assert_eq!(status, 200);
    let shown: SessionView = serde_json::from_str(&text).unwrap();
    assert_eq!(shown, changed.session);
    assert_eq!((shown.state.as_str(), shown.limits.certificates), ("paused", Some(1000)));

    let journal = "GET /api/v1/sessions/default/journal";
    let (status, _, text) = exchange(service.address, journal, &[host], b"").await;
    let journal: Journal = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, what(&journal.changes)),
        (200, [of_scenario, of_session].concat().iter().map(|text| (*text).to_owned()).collect())
    );

    let live = wait_for(service.address, |live| live.snapshot.marks.len() == at_first + 6).await;
    assert_eq!(what(&live.snapshot.marks[at_first..]), [of_scenario, of_session].concat());
    assert_eq!(live.session, Some(shown));
    let (_, _, text) = exchange(service.address, SESSION, &[host, JSON], body).await;
    let changed: SessionChanged = serde_json::from_str(&text).unwrap();
    assert_eq!(changed.changes, [], "the value was already set");
}

#[tokio::test]
async fn an_impossible_change_leaves_the_session_unchanged() {
    let service = two_scenarios().await;
    let before = service.board.session("default").borrow().clone();
    let steady = "PATCH /api/v1/sessions/current/scenarios/steady";
    let cases = [
        (
            "PATCH /api/v1/sessions/current/scenarios/other",
            r#"{"workers":1}"#,
            404,
            "name one of open one, steady",
        ),
        (steady, r#"{"workers":1,"rate":5}"#, 400, "keeps a number of workers and has no rate"),
        (steady, r#"{"workers":1,"weights":{"revok":1}}"#, 400, "did you mean revoke?"),
        (steady, r#"{"state":"paused"}"#, 400, "state: unknown key"),
        (
            SESSION,
            r#"{"workers":1}"#,
            400,
            "workers: is a key of a scenario: send it to /api/v1/sessions/ID/scenarios/NAME",
        ),
        (SESSION, r#"{"state":"paused","limits":{"certificates":"many"}}"#, 400, "neither a whole number"),
        (SESSION, r#"{"state":"off"}"#, 400, "running, paused, stopped"),
    ];
    for (request, body, wanted, why) in cases {
        let (status, _, text) =
            exchange(service.address, request, &["Host: localhost", JSON], body.as_bytes()).await;
        assert_eq!(status, wanted, "{request} {body}: {text}");
        assert!(text.contains(why), "{text}");
    }
    let unknown = ["Host: localhost", JSON, "Wec-By: schedule"];
    let (status, _, text) = exchange(service.address, steady, &unknown, br#"{"workers":1}"#).await;
    assert_eq!((status, text.contains("Wec-By")), (400, true), "{text}");
    assert_eq!(*service.board.session("default").borrow(), before);
}

#[tokio::test]
async fn all_errors_are_reported_at_once_with_their_keys() {
    let service = service(None).await;
    let body = br#"{"workers":-1,"rate":"fast","weights":{"revok":1,"refresh":-2},"extra":true}"#;
    let (status, _, text) = exchange(service.address, PATCH, &["Host: localhost", JSON], body).await;
    assert_eq!(status, 400);
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mistakes: Vec<_> =
        error["mistakes"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    assert_eq!(keys, ["extra", "workers", "rate", "weights.refresh", "weights.revok"]);
    assert_eq!(error["error"].as_str().unwrap(), mistakes.join("; "));
}

#[tokio::test]
async fn a_stopped_session_stays_stopped() {
    let service = service(None).await;
    let host = "Host: localhost";
    let stop = br#"{"state":"stopped"}"#;
    for _ in 0..2 {
        assert_eq!(exchange(service.address, SESSION, &[host, JSON], stop).await.0, 200);
    }
    let again: [(&str, &[u8]); 3] = [
        (SESSION, br#"{"state":"running"}"#),
        (SESSION, br#"{"state":"paused"}"#),
        (PATCH, br#"{"workers":9}"#),
    ];
    for (request, body) in again {
        let (status, _, text) = exchange(service.address, request, &[host, JSON], body).await;
        assert_eq!(status, 409, "{text}");
        assert!(text.contains("start another run"), "{text}");
    }
    let (_, _, text) = exchange(service.address, "GET /api/v1/sessions/current", &[host], b"").await;
    assert!(serde_json::from_str::<SessionView>(&text).unwrap().is_stopped());
}

#[tokio::test]
async fn describes_itself_for_programs() {
    let service = service(None).await;
    let (status, head, text) =
        exchange(service.address, "GET /api/v1/openapi.json", &["Host: localhost"], b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(text, wec_analytics::openapi());
    let (status, _, text) =
        exchange(service.address, "GET /api/v1/summary.schema.json", &["Host: localhost"], b"").await;
    assert_eq!((status, text), (200, wec_analytics::summary_schema()));
}

#[tokio::test]
async fn old_paths_redirect_to_the_new_ones() {
    let service = service(None).await;
    for (before, now) in [
        ("GET /api/v1/snapshot", "/api/v1/runs/current/snapshot"),
        ("GET /api/v1/live", "/api/v1/runs/current/live"),
        ("GET /api/v1/session", "/api/v1/sessions/current"),
        ("PATCH /api/v1/session/scenarios/open%20one", "/api/v1/sessions/current/scenarios/open%20one"),
    ] {
        let (status, head, _) = exchange(service.address, before, &["Host: localhost"], b"").await;
        assert_eq!(status, 308, "{before}");
        assert!(head.contains(&format!("location: {now}\r\n")), "{before}: {head}");
    }
}

#[tokio::test]
async fn every_run_with_a_log_can_be_looked_at_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let get = async |analytics: &Analytics, path: &str| {
        let request = format!("GET /api/v1/runs{path}");
        let (status, _, text) =
            exchange(analytics.web_addr().unwrap(), &request, &["Host: localhost"], b"").await;
        (status, text)
    };
    let start = async || {
        let config =
            Config { web: Some("127.0.0.1:0".parse().unwrap()), ..crate::common::config(folder.path()) };
        Analytics::start(config, Board::local()).await.unwrap()
    };
    let earlier = start().await;
    earlier.begin(RunHeader { started_unix_ns: START - 1, ..header("earlier") }).await.unwrap();
    let results = (1..=40).map(|seq| chain_record("r1", chain_result(Chain::Refresh, seq, seq, 1_000)));
    earlier.ingest().deliver(results.collect()).await.unwrap();
    let earlier = earlier.finish().await;

    let analytics = start().await;
    analytics.begin(header("later")).await.unwrap();
    std::fs::write(folder.path().join("notes.jsonl"), "no log").unwrap();
    std::fs::write(folder.path().join("torn.jsonl"), "{\"record\":\"header\"").unwrap();
    let (status, text) = get(&analytics, "").await;
    assert_eq!(status, 200, "{text}");
    let listed: Runs = serde_json::from_str(&text).unwrap();
    let runs: Vec<_> = listed.runs.iter().map(|run| (run.id.as_str(), run.live)).collect();
    assert_eq!(runs, [("later", true), ("earlier", false)]);
    let outcome = |chains, chains_failed, passed, elapsed_ns| RunEnd {
        elapsed_ns,
        chains,
        chains_failed: Some(chains_failed),
        passed,
    };
    let outcomes: Vec<_> = listed.runs.into_iter().map(|run| run.outcome).collect();
    let replayed = outcome(40, 5, Some(true), earlier.snapshot.elapsed_ns);
    assert_eq!(
        outcomes,
        [Some(outcome(0, 0, None, 0)), Some(replayed)],
        "the log is read for the earlier run; a live run has no verdict"
    );
    let (address, host) = (analytics.web_addr().unwrap(), "Host: localhost");
    let (_, _, text) = exchange(address, "GET /api/v1/sessions", &[host], b"").await;
    let sessions = serde_json::from_str::<Sessions>(&text).unwrap().sessions;
    let [SessionEntry { id, session: None, plan: None, runs }] = &sessions[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!(
        (id.as_str(), runs.len()),
        ("default", 2),
        "the session's runs are listed, although it is not on the board"
    );
    let (status, _, text) = exchange(address, "GET /api/v1/sessions/default", &[host], b"").await;
    assert_eq!(status, 200, "{text}");
    let shown: SessionView = serde_json::from_str(&text).unwrap();
    assert_eq!((shown.id.as_str(), shown.state.as_str(), &shown.runs), ("default", "running", runs));
    let (status, _, text) = exchange(address, "GET /api/v1/sessions/none", &[host], b"").await;
    assert_eq!(status, 404, "{text}");

    let read = async |path: &str| {
        let (status, text) = get(&analytics, path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<Live>(&text).unwrap()
    };
    let replayed = read("/earlier/snapshot").await;
    assert_eq!(replayed.snapshot, earlier.snapshot);
    assert_eq!((replayed.session, replayed.nodes.len()), (None, 0));
    assert!(replayed.series.reset && replayed.health.log.ends_with("earlier.jsonl"));
    assert_eq!(read("/earlier/snapshot").await.snapshot, earlier.snapshot, "reading it again gives the same");
    for current in ["/current/snapshot", "/later/snapshot"] {
        assert_eq!(read(current).await.snapshot.run.id, "later");
    }
    // One event, then the stream ends.
    let (status, text) = get(&analytics, "/earlier/live").await;
    assert_eq!((status, text.matches("event: end").count(), text.matches("event:").count()), (200, 1, 1));

    for path in ["/none/snapshot", "/none/live", "/..%2Fearlier/snapshot", "/torn/snapshot"] {
        let (status, text) = get(&analytics, path).await;
        assert_eq!(status, 404, "{path}: {text}");
    }
    let (status, text) = get(&analytics, "/notes/snapshot").await;
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("does not begin with a header"), "{text}");
    analytics.finish().await;
}

#[tokio::test]
async fn sessions_are_shown_and_changed_by_their_ids() {
    let service = service(None).await;
    service.board.put_session(Session::running("other", 7)).await.unwrap();
    let host = "Host: localhost";
    let (status, _, text) = exchange(service.address, "GET /api/v1/sessions", &[host], b"").await;
    assert_eq!(status, 200, "{text}");
    let sessions = serde_json::from_str::<Sessions>(&text).unwrap().sessions;
    let state = |entry: &SessionEntry| entry.session.as_ref().map(|session| session.state.clone());
    let sessions: Vec<_> =
        sessions.iter().map(|entry| (entry.id.as_str(), state(entry), entry.runs.len())).collect();
    let running = || Some("running".to_owned());
    assert_eq!(sessions, [("default", running(), 0), ("other", running(), 0)]);
    for (id, workers) in [("other", 7), ("default", 50), ("current", 50)] {
        let get = format!("GET /api/v1/sessions/{id}");
        let (status, _, text) = exchange(service.address, &get, &[host], b"").await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(serde_json::from_str::<SessionView>(&text).unwrap().workers_target, workers);
    }
    let patch = "PATCH /api/v1/sessions/other/scenarios/default";
    let (status, _, text) = exchange(service.address, patch, &[host, JSON], br#"{"workers":8}"#).await;
    assert_eq!(status, 200, "{text}");
    let workers = |id: &str| service.board.session(id).borrow().as_ref().unwrap().value.workers();
    assert_eq!((workers("other"), workers("default")), (8, 50));
    let (status, _, text) = exchange(service.address, "GET /api/v1/sessions/none", &[host], b"").await;
    assert_eq!(status, 404, "{text}");
}

#[test]
fn the_committed_descriptions_are_up_to_date() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");
    for (name, text) in [
        ("openapi.json", wec_analytics::openapi()),
        ("summary.schema.json", wec_analytics::summary_schema()),
        ("log.schema.json", wec_analytics::log_schema()),
    ] {
        let path = format!("{docs}{name}");
        if std::env::var_os("WEC_WRITE_OPENAPI").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).is_ok_and(|committed| committed == text),
            "docs/{name} is old: write it anew by WEC_WRITE_OPENAPI=1 cargo test -p wec-analytics --test analytics \
             committed, and the page's types by `npm run types` in analytics/ui"
        );
    }
}

#[tokio::test]
async fn the_session_is_marked_also_when_it_appears_after_the_run_began() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::local();
    let config = Config { web: Some("127.0.0.1:0".parse().unwrap()), ..crate::common::config(folder.path()) };
    let analytics = Analytics::start(config, board.clone()).await.unwrap();
    analytics.begin(of_today("run")).await.unwrap();
    board.put_session(Session::running("default", 7)).await.unwrap();
    let live = wait_for(analytics.web_addr().unwrap(), |live| live.snapshot.workers_target.is_some()).await;
    assert_eq!((live.snapshot.workers_target, live.snapshot.marks.len()), (Some(7), 1));
}

#[tokio::test]
async fn the_control_reaches_other_processes_through_etcd() {
    let etcd = Etcd::start().await.unwrap();
    let of_requester = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    of_requester.open_session(Session::running("default", 5)).await.unwrap();
    let node = NodeId { id: "r1".to_owned(), name: "host".to_owned(), stats: None };
    let node = NodeInfo {
        strength: Strength { workers: 100, ..Strength::UNMEASURED },
        session: "default".to_owned(),
        ..NodeInfo::new(&node, NodeKind::Requester, NodeState::Running)
    };
    let membership = of_requester.join(node).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config { web: Some("127.0.0.1:0".parse().unwrap()), ..crate::common::config(folder.path()) };
    let board = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    let analytics = Analytics::start(config, board.clone()).await.unwrap();
    analytics.begin(of_today("run")).await.unwrap();
    let address = analytics.web_addr().unwrap();
    let running = |node: &NodeView| node.id == "r1" && node.state == NodeState::Running;
    let seen = wait_for(address, |live| live.nodes.iter().any(running)).await;
    assert_eq!(seen.snapshot.workers_target, Some(5));

    let mut session = of_requester.session("default");
    let (status, _, body) = exchange(address, PATCH, &["Host: localhost", JSON], br#"{"workers":9}"#).await;
    assert_eq!(status, 200, "{body}");
    let nine =
        |session: &Option<Versioned<Session>>| session.as_ref().is_some_and(|now| now.value.workers() == 9);
    tokio::time::timeout(Duration::from_secs(120), session.wait_for(nine)).await.unwrap().unwrap();
    // In the other direction: a change by another process is marked here.
    of_requester.change("default", Change::workers(By::Cli, 11)).await.unwrap();
    let live = wait_for(address, |live| live.snapshot.workers_target == Some(11)).await;
    let marks: Vec<_> =
        live.snapshot.marks.iter().map(|mark| [mark.by.to_string(), mark.to.to_string()]).collect();
    assert_eq!(marks, [["cli", "5"], ["api", "9"], ["cli", "11"]]);
    analytics.finish().await;
    membership.leave().await;
    board.close().await;
    of_requester.close().await;
}

#[tokio::test]
async fn refuses_invalid_changes_with_the_reason() {
    let service = service(None).await;
    let host = format!("Host: {}", service.address);
    let huge = vec![b' '; 1 << 20];
    let cases: [(&[&str], &[u8], u16, &str); 9] = [
        (&[JSON], b"{", 400, "the body is not JSON"),
        (&[JSON], b"", 400, "the body is not JSON"),
        (&[JSON], b"{\"workers\":-1}", 400, "-1"),
        (&[JSON], b"{\"workers\":1000001}", 400, "1000001"),
        (&[JSON], b"{\"workers\":1.5}", 400, "1.5"),
        (&[JSON], b"{\"workers\":1,\"extra\":2}", 400, "extra"),
        (&[], b"{\"workers\":1}", 415, "application/json"),
        (&["Content-Type: text/plain"], b"{\"workers\":1}", 415, "application/json"),
        (&[JSON], &huge, 413, "262144"),
    ];
    for (head, body, wanted, why) in cases {
        let head: Vec<_> = head.iter().copied().chain([host.as_str()]).collect();
        let (status, _, text) = exchange(service.address, PATCH, &head, body).await;
        assert_eq!(status, wanted, "{text}");
        let error: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"].as_str().unwrap().contains(why), "{text}");
    }
    assert_eq!(service.board.session("default").borrow().as_ref().unwrap().value.workers(), 50);
    for (request, wanted) in [
        ("DELETE /api/v1/sessions/current", 404),
        ("GET /api/v1/sessions/current/scenarios/default", 405),
        ("GET /api/v1/sessions/current/workers", 404),
        ("GET /api/v2/x", 404),
        ("POST /", 405),
    ] {
        let (status, _, text) = exchange(service.address, request, &[&host], b"").await;
        assert_eq!(status, wanted, "{request}: {text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn serves_a_page_with_or_without_the_built_ui() {
    let service = service(None).await;
    let (status, head, body) = exchange(service.address, "GET /", &["Host: localhost"], b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(body.contains("wile-e-coyote"), "{body}");
    let (status, _, body) = exchange(service.address, "GET /healthz", &["Host: localhost"], b"").await;
    assert_eq!((status, body.as_str()), (200, "ok"));
    for path in ["/../Cargo.toml", "/nothing.js", "//"] {
        assert_eq!(exchange(service.address, &format!("GET {path}"), &["Host: localhost"], b"").await.0, 404);
    }
}

#[tokio::test]
async fn answers_404_when_the_board_has_no_such_session() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        web: Some("127.0.0.1:0".parse().unwrap()),
        session: "nobody".to_owned(),
        ..crate::common::config(folder.path())
    };
    let analytics = Analytics::start(config, Board::local()).await.unwrap();
    let (status, _, body) =
        exchange(analytics.web_addr().unwrap(), PATCH, &["Host: localhost", JSON], br#"{"workers":1}"#).await;
    assert_eq!(status, 404);
    assert!(body.contains("nobody"), "{body}");
    let get = "GET /api/v1/sessions/current";
    assert_eq!(exchange(analytics.web_addr().unwrap(), get, &["Host: localhost"], b"").await.0, 404);
}

#[tokio::test]
async fn streams_changes_and_ends_with_the_run() {
    let service = service(None).await;
    let header = of_today("run");
    service.analytics.begin(header.clone()).await.unwrap();
    let deliver = async |seq, started| {
        let record = chain_of(&header, chain_result(Chain::Revoke, seq, started, 1_000));
        service.analytics.ingest().deliver(vec![record]).await.unwrap();
    };
    deliver(1, 0).await;
    deliver(2, 5_000_000_000).await;
    wait_for(service.address, |live| live.snapshot.chains[&Chain::Revoke].count == 2).await;
    let mut events = Events::open(service.address, None).await;
    let first = events.next().await.unwrap();
    assert_eq!(first.name, "live");
    assert!(first.live.series.reset);
    assert_eq!(first.live.series.at_unix_s.len(), 6);
    deliver(3, 6_000_000_000).await;
    // An event comes every second, with or without changes; the number depends on the machine.
    let second = loop {
        let event = events.next().await.unwrap();
        assert!(!event.live.series.reset);
        if !event.live.series.at_unix_s.is_empty() {
            break event;
        }
    };
    assert_eq!(second.live.series.at_unix_s.len(), 1);
    assert_eq!(second.live.series.chains[&Chain::Revoke].count, [1]);
    assert!(second.live.now_unix_ns > first.live.now_unix_ns);

    let mut resumed = Events::open(service.address, Some(&first.id)).await;
    let third = resumed.next().await.unwrap();
    assert!(!third.live.series.reset, "the stream continues after the last event of the other");
    assert_eq!(third.live.series.at_unix_s.len(), 1);
    let mut stranger = Events::open(service.address, Some("1-1-1")).await;
    assert!(stranger.next().await.unwrap().live.series.reset, "an id of another process cannot be continued");

    deliver(4, 7_000_000_000).await;
    let address = service.address;
    let last = tokio::spawn(async move {
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        last.unwrap()
    });
    let final_figures = service.analytics.finish().await.snapshot;
    let last = last.await.unwrap();
    assert_eq!(last.name, "end");
    assert_eq!(last.live.snapshot, final_figures);
    assert_eq!(last.live.snapshot.chains[&Chain::Revoke].count, 4);
    assert!(TcpStream::connect(address).await.is_err());
}

/// Polls until the figures are as expected. The test runner's time limit ends an endless wait.
async fn wait_for(address: SocketAddr, wanted: impl Fn(&Live) -> bool) -> Live {
    let waited = tokio::time::timeout(Duration::from_secs(120), when(address, wanted));
    waited.await.expect("the run comes to what is waited for")
}

async fn when(address: SocketAddr, wanted: impl Fn(&Live) -> bool) -> Live {
    loop {
        let (status, _, body) =
            exchange(address, "GET /api/v1/runs/current/snapshot", &["Host: localhost"], b"").await;
        assert_eq!(status, 200, "{body}");
        let live: Live =
            serde_json::from_str(&body).or_else(|_| serde_json::from_str(&unchunked(&body))).unwrap();
        if wanted(&live) {
            return live;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Events(BufReader<TcpStream>);

struct Event {
    name: String,
    id: String,
    live: Live,
}

impl Events {
    async fn open(address: SocketAddr, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let resume = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /api/v1/runs/current/live HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    async fn next(&mut self) -> Option<Event> {
        let (mut name, mut id) = (String::new(), String::new());
        let mut line = String::new();
        while self.0.read_line(&mut line).await.unwrap_or(0) > 0 {
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("id", value)) => id = value.to_owned(),
                Some(("data", value)) => {
                    return Some(Event { name, id, live: serde_json::from_str(value).unwrap() });
                }
                _ => {}
            }
            line.clear();
        }
        None
    }
}
