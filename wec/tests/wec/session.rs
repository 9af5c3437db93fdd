//! Changes during a run: with `wec session` and with the HTTP API.

use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};
use wec_board::{Board, EtcdOptions, Session};
use wec_record::{LoadState, Mark, MarkBy, MarkValue, Record};
use wec_testbed::etcd::Etcd;

use crate::common::{Run, mark, marks};

#[test]
fn workers_can_be_changed_and_the_run_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "2ms..5ms"]);
    let mut run = Run::start(folder.path(), &ca, &["--workers", "4"]);
    run.until_running(4);
    let shown = run.told(folder.path(), &["show"]);
    assert!(shown.starts_with("session default: running, 4 of 4 workers\n"), "{shown}");
    assert!(shown.contains("scenario default: 4 workers"), "{shown}");

    assert_eq!(run.told(folder.path(), &["workers", "9"]), "default: workers 4 → 9");
    run.until_running(9);
    assert_eq!(run.told(folder.path(), &["workers", "9"]), "nothing changed: the values are already set");
    let (status, changed) = run.http("PATCH /api/v1/sessions/current/scenarios/default", r#"{"workers":2}"#);
    assert_eq!(status, 200, "{changed}");
    assert_eq!(changed["changes"][0]["from"], "9");
    run.until_running(2);
    let shown: Value = serde_json::from_str(&run.told(folder.path(), &["show", "--json"])).unwrap();
    assert_eq!(shown["scenarios"]["default"]["workers"], 2);

    let stopped = run.told(folder.path(), &["stop"]);
    assert!(stopped.starts_with("state running → stopped\n"), "{stopped}");
    assert_eq!(run.child.wait().unwrap().code(), Some(0), "a stopped run must pass");
    assert_eq!(
        marks(folder.path()),
        [
            mark("cli", "workers", "0", "4"),
            mark("cli", "workers", "4", "9"),
            mark("api", "workers", "9", "2"),
            mark("cli", "state", "running", "stopped"),
        ]
    );
    let summary = crate::common::summary(folder.path());
    assert_eq!(crate::common::chain(&summary, "certificate").1, 0, "a chain was interrupted: {summary}");

    let gone = run.session(folder.path(), &["pause"]);
    assert_eq!(gone.status.code(), Some(1));
    let said = crate::common::said(&gone);
    assert!(said.starts_with("error: nothing listens at http://127.0.0.1:"), "{said}");
    assert!(said.contains("start a run, or name its page with --at"), "{said}");
}

#[test]
fn an_impossible_change_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let run = Run::start(folder.path(), &ca, &["--workers", "1"]);
    run.until_running(1);
    let cases: [(&[&str], &str); 6] = [
        (&["workers", "many"], "error: workers: \"many\" is not a whole number from 0 to 1000000\n"),
        (
            &["weight", "revok=1", "refresh=-1"],
            "error: weights.refresh: -1 is not a number from 0 to 1000000\n\
             error: weights.revok: unknown chain; did you mean revoke?\n",
        ),
        (
            &["limit", "certificate=1"],
            "error: limits.certificate: unknown limit; did you mean certificates?\n",
        ),
        (
            &["rate", "fast"],
            "error: rate: \"fast\" is not a rate like 50/s, 3000/min, 10/h or 500 requests/s, from 0 to 1000000 a second\n",
        ),
        (
            &["rate", "50/s"],
            "error: rate: scenario \"default\" keeps a number of workers and has no rate: change its workers\n",
        ),
        (
            &["weight", "registration=0,authorization=0,certificate=0,refresh=0,revoke=0"],
            "error: weights: all chains would have weight 0: keep one above 0, or pause\n",
        ),
    ];
    for (args, expected) in cases {
        let output = run.session(folder.path(), args);
        assert_eq!(crate::common::said(&output), expected, "{args:?}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = run.session(folder.path(), &["workers", "2", "--scenario", "other"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        crate::common::said(&output),
        "error: session \"default\" has no scenario \"other\": name one of default\n"
    );
    assert_eq!(run.http("GET /api/v1/sessions/current", "").1["scenarios"]["default"]["workers"], 1);
}

#[test]
fn a_page_with_a_token_needs_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--run-time", "10m", "--workers", "1", "--quiet"];
    let page = crate::common::free();
    args.extend(["--listen", &page, "--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    let child = crate::common::wec(folder.path(), &args)
        .env("WEC_TOKEN", "secret")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = Run::unheard(child, page);
    crate::common::until("the page is there", || TcpStream::connect(&run.page).is_ok());
    let refused = run.session(folder.path(), &["show"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        crate::common::said(&refused).contains("requires a token: set WEC_TOKEN"),
        "{}",
        crate::common::said(&refused)
    );
    crate::common::until("the session is on the board", || {
        let mut command = crate::common::wec(folder.path(), &["session", "--at", &run.page, "workers", "2"]);
        command.env("WEC_TOKEN", "secret").output().unwrap().status.success()
    });
}

#[test]
fn pause_weights_and_limits_take_effect_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "2ms..5ms"]);
    let mut run = Run::start(folder.path(), &ca, &["--workers", "4"]);
    run.until_chains(20);

    let paused = run.told(folder.path(), &["pause"]);
    assert_eq!(
        paused,
        "state running → paused\nrunning chains end, no new ones start until wec session resume"
    );
    let (still, ended) = run.until_at_rest();
    assert_eq!(run.told(folder.path(), &["resume"]), "state paused → running");
    run.until_chains(ended + 20);

    let told = run.told(folder.path(), &["weight", "registration=0", "revoke=9"]);
    assert_eq!(told, "default: weight of registration 1 → 0\ndefault: weight of revoke 1 → 9");
    let revoked = run.count("revoke");
    crate::common::until("certificates are revoked", || run.count("revoke") > revoked + 10);
    assert_eq!(run.told(folder.path(), &["limit", "certificates=1"]), "limit of certificates none → 1");
    let (status, stopped) = run.http("PATCH /api/v1/sessions/current", r#"{"state":"stopped"}"#);
    assert_eq!(status, 200, "{stopped}");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    assert_eq!(
        marks(folder.path()),
        [
            mark("cli", "workers", "0", "4"),
            mark("cli", "state", "running", "paused"),
            mark("cli", "state", "paused", "running"),
            mark("cli", "weights", "registration=1, revoke=1", "registration=0, revoke=9"),
            mark("cli", "limits", "certificates=none", "certificates=1"),
            mark("api", "state", "running", "stopped"),
        ]
    );
    let log = crate::common::log(folder.path());
    let resumed = log.iter().find_map(|record| match record {
        Record::Mark(mark) if mark.from == MarkValue::State(LoadState::Paused) => Some(mark.at_unix_ns),
        _ => None,
    });
    let while_paused = still..resumed.unwrap();
    let started = log.iter().filter_map(|record| match record {
        Record::Chain { origin_unix_ns, result, .. } => Some(origin_unix_ns + result.started),
        _ => None,
    });
    assert_eq!(started.filter(|started| while_paused.contains(started)).count(), 0);
}

#[test]
fn a_rate_can_be_set_to_zero_and_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut run = Run::start(folder.path(), &ca, &["--rate", "20/s", "--workers", "50"]);
    run.until_chains(10);
    assert_eq!(run.told(folder.path(), &["rate", "0"]), "default: rate 20 → 0 chains/s");
    let (_, ended) = run.until_at_rest();
    assert_eq!(run.told(folder.path(), &["rate", "2400/m"]), "default: rate 0 → 40 chains/s");
    run.until_chains(ended + 10);
    let shown = run.told(folder.path(), &["show"]);
    assert!(shown.contains("scenario default: 40 chains/s with at most 50 workers"), "{shown}");
    assert_eq!(run.told(folder.path(), &["rate", "10 chains/s"]), "default: rate 40 → 10 chains/s");
    let other = run.session(folder.path(), &["rate", "10 requests/s"]);
    assert_eq!(other.status.code(), Some(2));
    assert_eq!(
        crate::common::said(&other),
        "error: rate: \"10 requests/s\" counts requests, but scenario \"default\" counts chains: use that unit\n"
    );
    run.patch(json!({ "rate": 30 }));
    run.told(folder.path(), &["stop"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let of_rate = |(_, what, ..): &(String, String, String, String)| what == "rate";
    let expected = [
        mark("cli", "rate", "20", "0"),
        mark("cli", "rate", "0", "40"),
        mark("cli", "rate", "40", "10"),
        mark("api", "rate", "10", "30"),
    ];
    assert_eq!(marks(folder.path()).into_iter().filter(of_rate).collect::<Vec<_>>(), expected);
    let summary = crate::common::summary(folder.path());
    let text = |mark: &Value, key: &str| mark[key].as_str().unwrap().to_owned();
    let told = summary["marks"].as_array().unwrap().iter();
    let told = told.map(|mark| (text(mark, "by"), text(mark, "what"), text(mark, "from"), text(mark, "to")));
    assert_eq!(told.filter(of_rate).collect::<Vec<_>>(), expected, "{summary}");
}

#[test]
fn only_scenarios_that_have_not_ended_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "2ms..5ms"]);
    let plan = "[scenarios.first]\niterations = 40\nworkers = 2\n[scenarios.second]\nafter = \"first\"\nworkers = 3\n";
    std::fs::write(folder.path().join("plan.toml"), plan).unwrap();
    let run = Run::start(folder.path(), &ca, &["--config", "plan.toml"]);
    let view = || run.http("GET /api/v1/sessions/current", "").1;
    crate::common::until("the first has ended", || view()["scenarios"]["first"]["state"] == "ended");
    crate::common::until("the second runs", || view()["scenarios"]["second"]["state"] == "running");
    run.until_running(3);
    let shown = run.told(folder.path(), &["show"]);
    assert!(shown.starts_with("session default: running, 3 of 3 workers\n"), "{shown}");
    assert!(shown.contains("\nscenario first: ended\nscenario second: 3 workers"), "{shown}");
    let marks = || {
        let marks = run.snapshot()["marks"].as_array().unwrap().clone();
        marks.into_iter().filter(|mark| mark["what"] != "generator").collect::<Vec<_>>()
    };
    let before = marks();
    let (status, body) = run.http("PATCH /api/v1/sessions/current/scenarios/first", r#"{"workers":9}"#);
    let refused =
        "scenario \"first\" has ended, no more iterations of it start: change second, or start another run";
    assert_eq!((status, body["error"].as_str()), (409, Some(refused)));
    let output = run.session(folder.path(), &["workers", "9", "--scenario", "first"]);
    assert_eq!(
        (output.status.code(), crate::common::said(&output)),
        (Some(1), format!("error: {refused}\n"))
    );
    assert_eq!(marks(), before, "what was refused leaves no mark");
    assert_eq!(
        run.snapshot()["scenarios"]["first"]["workers_target"],
        0,
        "an ended scenario has no wanted workers"
    );
    assert_eq!(run.told(folder.path(), &["workers", "4", "--scenario", "second"]), "second: workers 3 → 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_etcd_is_changed_without_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await.unwrap();
    let url = format!("etcd://{}", etcd.endpoint().trim_start_matches("http://"));
    let board = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    board.put_session(Session::running("night", 5)).await.unwrap();
    let mut changes = board.changes();
    let session = |args: &[&str]| {
        let args: Vec<_> = ["session", "--board", &url, "--session", "night"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        crate::common::run(folder.path(), &args)
    };
    let told = |args: &[&str]| String::from_utf8(session(args).stdout).unwrap();
    assert_eq!(told(&["workers", "9"]), "default: workers 5 → 9\n");
    let change = changes.recv().await.unwrap();
    let Mark { by, from, to, .. } = change.mark;
    assert_eq!((by, from, to), (MarkBy::Cli, MarkValue::Workers(5), MarkValue::Workers(9)));
    let shown = told(&["show"]);
    let (wanted, changes) = shown.split_once("changes:\n").expect(&shown);
    assert_eq!(wanted, "session night: running, 9 workers wanted\nscenario default: 9 workers\n");
    let (at, change) = changes.trim().split_once(' ').expect(&shown);
    assert!(humantime::parse_rfc3339(at).is_ok(), "{at}");
    assert_eq!(change, "cli: default: workers 5 → 9");
    let shown: Value = serde_json::from_str(&told(&["show", "--json"])).unwrap();
    assert_eq!((&shown["changes"][0]["by"], &shown["changes"][0]["to"]), (&"cli".into(), &"9".into()));
    assert!(told(&["stop"]).starts_with("state running → stopped\n"));
    let stopped = session(&["resume"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert_eq!(
        crate::common::said(&stopped),
        "error: session \"night\" has been stopped and cannot continue: start another run\n"
    );
    board.close().await;
}
