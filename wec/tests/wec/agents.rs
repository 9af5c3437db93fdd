//! Agents as processes: they wait on a real board, take the sessions that are meant for them, and wait again.

mod bed;
mod outside;
mod rolling;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};
use wec_board::{AgentState, AgentsView, PlanState};
use wec_record::{Mark, MarkBy, MarkValue, MarkWhat, Record};
use wec_testbed::{Pebble, PebbleOptions};

use self::bed::{Bed, kill, part};
use crate::common::{Running, said, signal, until};

async fn two_agents_each_get_a_session_once_and_wait_again(bed: Bed) {
    let _agents = [bed.agent("a", &["--group", "eu"]), bed.agent("b", &["--label", "disk=ssd"])];
    let _other = bed.agent("c", &["--group", "us"]);
    let file = bed.scenario("night", "iterations = 300\nworkers = 2\nthink_time = \"20ms\"\n");
    let created = bed.wec(&["session", "create", &file, "--nodes", "a,b"]);
    assert_eq!(created, "session night: created: wec session start night starts it");
    for runs in 1..=2 {
        let started = bed.wec(&["session", "start", "night"]);
        assert!(started.starts_with("session night: started: run "), "{started}");
        let stopped = |view: &AgentsView| {
            view.plans
                .get("night")
                .is_some_and(|plan| plan.value.runs == runs && !plan.value.state.is_active())
        };
        bed.until("the run has ended", stopped).await;
        let view = bed.view().await;
        let plan = &view.plans["night"].value;
        assert_eq!((plan.runs, plan.reason.as_str()), (runs, ""));
        let tasks: Vec<_> =
            view.tasks_of(plan).map(|(agent, task)| (agent, task.state, task.taken)).collect();
        let finished = AgentState::TestFinished;
        assert_eq!(tasks, [("a", finished, 1), ("b", finished, 1)], "{}", bed.said("a"));
        until("all results are in the log", || bed.chains().values().sum::<usize>() >= runs as usize * 300);
        assert_eq!(bed.chains().values().sum::<usize>(), runs as usize * 300);
    }
    let shown: Value = serde_json::from_str(&bed.wec(&["session", "show", "night", "--json"])).unwrap();
    assert_eq!((&shown["state"], &shown["parts"][1]["state"]), (&json!("stopped"), &json!("TEST_FINISHED")));
    let nodes = bed.wec(&["node", "list"]);
    assert!(nodes.lines().count() == 4 && nodes.contains("disk=ssd"), "{nodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_on_etcd_each_get_a_session_once() {
    two_agents_each_get_a_session_once_and_wait_again(Bed::etcd().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_on_a_file_each_get_a_session_once() {
    two_agents_each_get_a_session_once_and_wait_again(Bed::file().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_creator_was_killed_is_started_by_another_and_taken_once() {
    let bed = Bed::etcd().await;
    let file = bed.scenario("night", "iterations = 20\nworkers = 1\n");
    let args = ["session", "create", &file, "--board", &bed.url];
    let creator = crate::common::wec(bed.folder.path(), &args).stdout(Stdio::null()).spawn().unwrap();
    let mut creator = Running(Some(creator));
    bed.until("the session is there", |view| view.plans.contains_key("night")).await;
    kill(&mut creator);
    let _a = bed.agent("a", &[]);
    let view = bed.view().await;
    assert_eq!((view.plans["night"].value.state, view.tasks.len()), (PlanState::Ready, 0));
    bed.wec(&["session", "start", "night"]);
    bed.until_state("night", PlanState::Stopped).await;
    // An agent that comes later has nothing to take.
    let _b = bed.agent("b", &[]);
    bed.wec(&["node", "show", "b"]);
    assert_eq!(bed.view().await.tasks.len(), 1);
    until("all results are in the log", || bed.chains().values().sum::<usize>() >= 20);
    assert_eq!(bed.chains(), BTreeMap::from([("a".to_owned(), 20)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_takes_its_part_again_when_it_is_back() {
    let bed = Bed::etcd().await;
    let mut a = bed.agent("a", &[]);
    let _b = bed.agent("b", &[]);
    let file = bed.scenario("night", "workers = 4\nthink_time = \"20ms\"\nrun_time = \"10m\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
    bed.until_runs("night", "b").await;
    until("both have results", || bed.chains().len() == 2);
    kill(&mut a);
    let _a = bed.agent("a", &[]);
    let again = |view: &AgentsView| {
        let task = view.tasks.get(&("night".to_owned(), "a".to_owned()));
        task.is_some_and(|task| task.taken == 2 && task.state == AgentState::TestRunning)
    };
    bed.until("a runs again", again).await;
    let before = bed.chains()["a"];
    until("a makes load again", || bed.chains()["a"] > before + 20);
    // Until its lease ended, nobody had its two workers.
    let gap = || {
        bed.log().into_iter().find_map(|record| match record {
            Record::Mark(Mark { to: MarkValue::Gap(gap), .. }) if gap.seconds > 5 => Some(gap),
            _ => None,
        })
    };
    until("the gap is marked", || gap().is_some());
    let gap = gap().unwrap();
    assert_eq!((gap.unit.as_str(), gap.required, gap.missing), ("workers", 4, 2), "{gap:?}");
    assert_eq!(bed.view().await.plans["night"].value.state, PlanState::Running);
    assert_eq!(bed.wec(&["session", "stop", "night"]), "session night: stopping");
    bed.until_state("night", PlanState::Stopped).await;
    let view = bed.view().await;
    assert_eq!(part(&view, "night", "a"), AgentState::TestStopped, "{}", bed.said("a"));
    let stops: Vec<_> = bed
        .log()
        .into_iter()
        .filter_map(|record| match record {
            Record::Mark(Mark { by: MarkBy::Cli, what, to, .. }) => Some(format!("{what} {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(stops, ["workers 4", "state stopped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_an_agent_run_in_each_session_and_their_output_is_in_its_log() {
    let bed = Bed::file().await;
    let flags = ["--hook", "at 0s: echo $((6 * 7))", "--hook", "at 9h: echo never"];
    let a = bed.agent("a", &[&flags[..], &["--hook", "on threshold: echo rolled back; exit 3"]].concat());
    // The threshold ends the run.
    let keys = "workers = 1\nthink_time = \"20ms\"\nrun_time = \"10m\"\n\
                thresholds = [\"chain{count} < 5 abort\"]\n";
    let file = bed.scenario("night", keys);
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_state("night", PlanState::Aborted).await;
    let events = || {
        let events = bed.log().into_iter().filter_map(|record| match record {
            Record::Event(event) if event.target == "wec::hook" => Some(event),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    until("both hooks have ended", || events().len() == 2);
    let [drill, alarm] = &events()[..] else { panic!("{:#?}", events()) };
    assert!(drill.text.contains("exit status: 0: 42") && drill.node.starts_with('a'), "{drill:?}");
    assert!(alarm.text.contains("exit status: 3: rolled back"), "{alarm:?}");
    assert!(bed.said("a").contains("the run ended before the hook \"echo never\""), "{}", bed.said("a"));
    assert_eq!(a.interrupt().status.code(), Some(0));
}

/// What an agent offers is shown with its node, and kept for its next start.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_measures_its_machine_at_its_first_start_only() {
    let bed = Bed::file().await;
    let first = bed.agent_that("a", &["--admin-listen", "off"]);
    assert!(bed.said("a").contains("this machine was never calibrated"), "{}", bed.said("a"));
    let offered = bed.view().await.live["a"].strength.expect("it was measured");
    assert!(offered.chains > 0 && offered.requests > offered.chains && offered.workers > 0, "{offered:?}");
    first.interrupt();
    let _second = bed.agent_that("b", &["--admin-listen", "off"]);
    assert_eq!(bed.view().await.live["b"].strength, Some(offered), "as kept by the first");
    assert!(!bed.said("b").contains("never calibrated"), "{}", bed.said("b"));
    let shown = bed.wec(&["node", "list"]);
    let can_do = format!("{:.0} chains/s", offered.chains as f64 / 1_000.0);
    assert_eq!(shown.matches(&can_do).count(), 2, "{shown} lacks {can_do}");
    assert_eq!(bed.wec(&["node", "remove", "--gone"]), "forgotten: a");
    assert_eq!(bed.wec(&["node", "remove", "--gone"]), "no node is gone");
    // A file that cannot be read is refused before anything is measured.
    let refused = bed.tried(&["agent", "--cacert", "none.pem"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).starts_with("error: --cacert: cannot read none.pem"), "{}", said(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_not_consent_to_is_an_error_on_the_session() {
    let bed = Bed::etcd().await;
    let _a = bed.agent("a", &[]);
    let program = format!("wec {}", env!("CARGO_PKG_VERSION"));
    // An address for documentation: nothing is sent to it.
    type Keys<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, &str, Keys<'_>, &str); 4] = [
        ("version", "wec 0.0.1", &[], "was made by wec 0.0.1: all must be of one version"),
        (
            "host",
            &program,
            &[("directory", "https://203.0.113.9/dir"), ("workers", "1")],
            "refusing to load 203.0.113.9",
        ),
        (
            "paths",
            &program,
            &[
                ("cacert", "/etc/ssl/ca.pem"),
                ("state", "postgres://elsewhere/db"),
                ("http01_listen", "0.0.0.0:80"),
            ],
            "cacert: belongs to the configuration of each agent",
        ),
        (
            "secret",
            &program,
            &[("eab_kid", "kid"), ("eab_key", "env:HOME")],
            "env:HOME is not a secret that this agent allows",
        ),
    ];
    for (id, program, keys, why) in cases {
        bed.put(id, program, keys).await;
        bed.until_state(id, PlanState::Error).await;
        let view = bed.view().await;
        let plan = &view.plans[id].value;
        let (agent, task) = view.tasks_of(plan).next().unwrap();
        assert_eq!((agent, task.state), ("a", AgentState::Error));
        assert!(task.reason.contains(why) && plan.reason.contains(why), "{id}: {}", task.reason);
    }
    let version = &bed.view().await.plans["version"].value.reason.clone();
    assert!(version.contains(&format!("agent a is {program}")), "{version}");
    let all = &bed.view().await.plans["paths"].value.reason.clone();
    assert!(all.contains("state: belongs") && all.contains("http01_listen: belongs"), "{all}");
    let listed = bed.wec(&["session", "list", "--state", "error"]);
    assert_eq!(listed.lines().count(), 5, "{listed}");
    // It goes back to waiting.
    let file = bed.scenario("good", "iterations = 5\nworkers = 1\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "good"]);
    bed.until_state("good", PlanState::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sessions_run_on_one_agent_and_are_changed_and_stopped_apart() {
    let bed = Bed::etcd().await;
    let _a = bed.agent("a", &[]);
    let file = bed.scenario("one", "workers = 2\nthink_time = \"50ms\"\nrun_time = \"10m\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "clone", "one", "two"]);
    let taken = bed.tried(&["session", "clone", "one", "two"]);
    assert!(said(&taken).contains("there is a session \"two\" already"), "{}", said(&taken));
    for id in ["one", "two"] {
        bed.wec(&["session", "start", id]);
    }
    bed.until_runs("one", "a").await;
    bed.until_runs("two", "a").await;
    let updated = bed.wec(&["session", "update", "one", "--set", "workers=3"]);
    assert_eq!(updated, "session one: default: workers 2 → 3");
    let workers = |id: &str| bed.board.session(id).borrow().as_ref().unwrap().value.workers();
    until("the change is there", || workers("one") == 3);
    assert_eq!(workers("two"), 2);
    let refused = bed.tried(&["session", "update", "one", "--set", "seed=4"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("cannot update session \"one\": it is running, and seed can be changed only"),
        "{}",
        said(&refused)
    );
    bed.wec(&["session", "pause", "--session", "one"]);
    assert!(bed.wec(&["session", "show", "one"]).starts_with("session one: paused since "));
    let page = ["session", "--at", &bed.page, "resume", "--session", "one"];
    let resumed = crate::common::run(bed.folder.path(), &page);
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), "state paused → running\n", "{}", said(&resumed));
    let refused = bed.tried(&["session", "delete", "one"]);
    assert!(said(&refused).contains("cannot delete session \"one\": it is running"), "{}", said(&refused));
    bed.wec(&["session", "stop", "one", "--now"]);
    bed.until_state("one", PlanState::Aborted).await;
    assert_eq!(part(&bed.view().await, "two", "a"), AgentState::TestRunning);
    bed.wec(&["session", "delete", "one"]);
    let gone = bed.tried(&["session", "show", "one"]);
    assert!(said(&gone).contains("there is no session \"one\""), "{}", said(&gone));
    bed.wec(&["session", "stop", "two"]);
    bed.until_state("two", PlanState::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_is_another_run() {
    let bed = Bed::etcd().await;
    let _a = bed.agent("a", &[]);
    let file = bed.scenario("night", "workers = 1\nthink_time = \"50ms\"\nrun_time = \"10m\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
    let first = bed.view().await.plans["night"].value.run.clone();
    let [_, directory, ..] = bed.ca.target();
    // The same CA by another name: its certificate has both.
    let other = directory.replace("127.0.0.1", "localhost");
    let changed = bed.wec(&["session", "update", "night", "--set", &format!("directory={other}")]);
    assert!(changed.contains(&format!("directory {directory} → {other}")), "{changed}");
    let second = |view: &AgentsView| {
        let plan = &view.plans["night"].value;
        plan.run != first && view.state_of(plan, "a") == AgentState::TestRunning
    };
    bed.until("the second run", second).await;
    assert_eq!(bed.view().await.plans["night"].value.runs, 2);
    let logs = || std::fs::read_dir(bed.folder.path().join("results")).unwrap().count();
    until("each run has its log", || logs() == 2);
    bed.wec(&["session", "stop", "night"]);
    bed.until_state("night", PlanState::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_loss_of_the_board() {
    let mut bed = Bed::etcd().await;
    let _a = bed.agent("a", &[]);
    let file = bed.scenario("night", "iterations = 400\nworkers = 1\nthink_time = \"20ms\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
    let mut etcd = bed.etcd.take().unwrap();
    etcd.kill().unwrap();
    until("the agent has noticed", || {
        bed.said("a").contains("cannot renew this agent's presence on the board")
    });
    etcd.restart().await.unwrap();
    bed.until_state("night", PlanState::Stopped).await;
    assert_eq!(part(&bed.view().await, "night", "a"), AgentState::TestFinished, "{}", bed.said("a"));
    // It waits again.
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_leaves_its_part_to_its_next_process() {
    let bed = Bed::etcd().await;
    let (a, b) = (bed.agent("a", &[]), bed.agent("b", &[]));
    let file = bed.scenario("night", "workers = 2\nthink_time = \"20ms\"\nrun_time = \"10m\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
    bed.until_runs("night", "b").await;
    until("both have results", || bed.chains().len() == 2);
    let ended = a.interrupt();
    assert_eq!(ended.status.code(), Some(0), "{}", bed.said("a"));
    let view = bed.view().await;
    assert_eq!(part(&view, "night", "a"), AgentState::TestStopped, "{}", bed.said("a"));
    assert!(!view.live.contains_key("a"));
    // The last one leaves, and the session waits.
    assert_eq!(b.interrupt().status.code(), Some(0), "{}", bed.said("b"));
    let listed = bed.wec(&["session", "list", "--state", "running"]);
    assert!(listed.contains("2 TEST_STOPPED"), "{listed}");
    let _a = bed.agent("a", &[]);
    bed.until_runs("night", "a").await;
    let view = bed.view().await;
    let (plan, task) = (&view.plans["night"].value, &view.tasks[&("night".to_owned(), "a".to_owned())]);
    assert_eq!((task.taken, plan.unattended_since_unix_ns), (2, None));
    let before = bed.chains()["a"];
    until("a makes load again", || bed.chains()["a"] > before + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_place_stops_only_sessions_that_are_meant_for_its_machine() {
    let bed = Bed::file().await;
    let _a = bed.agent("a", &[]);
    bed.wec(&["node", "add", "c"]);
    let file = bed.scenario("only-a", "workers = 1\nthink_time = \"20ms\"\nrun_time = \"10m\"\n");
    bed.wec(&["session", "create", &file, "--nodes", "a"]);
    bed.wec(&["session", "clone", "only-a", "all"]);
    bed.wec(&["session", "update", "all", "--nodes", "a,c"]);
    bed.wec(&["session", "start", "only-a"]);
    until("a makes load although c is expected elsewhere", || bed.chains().get("a") > Some(&5));
    bed.wec(&["session", "stop", "only-a", "--now"]);
    bed.until_state("only-a", PlanState::Aborted).await;

    bed.wec(&["session", "start", "all"]);
    let lacks = |view: &AgentsView| {
        let task = view.tasks.get(&("all".to_owned(), "a".to_owned()));
        task.is_some_and(|task| task.reason.starts_with("nothing is sent: 1 of 2 known nodes are live"))
    };
    bed.until("a says why it sends nothing", lacks).await;
    let before = bed.chains()["a"];
    bed.wec(&["node", "remove", "c"]);
    until("a makes load", || bed.chains()["a"] > before + 5);
    bed.until("the reason is gone", |view| !lacks(view)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_shows_health_and_takes_drain() {
    let bed = Bed::etcd().await;
    let [.., root] = bed.ca.target();
    let flags = ["--http01-listen", "127.0.0.1:0", "--cacert", root, "--admin-listen", "127.0.0.1:0"];
    let mut a = bed.bare_agent("a", &flags);
    let first = std::fs::read_to_string(bed.folder.path().join("a/first")).unwrap();
    let admin = first.trim().split("http://").nth(1).unwrap().trim_end_matches("/healthz").to_owned();
    let ask = |request: &str, more: &str| {
        let mut stream = TcpStream::connect(&admin).unwrap();
        write!(stream, "{request} HTTP/1.0\r\nHost: {admin}\r\n{more}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    };
    // An agent that waits is healthy for Kubernetes.
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let manifest = std::fs::read_to_string(deploy.join("kubernetes/agent.yaml")).unwrap();
    let probes = manifest.lines().filter_map(|line| line.trim().strip_prefix("exec: {command: [probe, "));
    let probes: Vec<_> = probes.map(|probe| probe.trim_end_matches("]}").replace(['"', ','], "")).collect();
    assert!(probes.len() >= 2, "{manifest}");
    for probe in probes {
        let probe = probe.replace("7071", admin.rsplit(':').next().unwrap());
        let status =
            std::process::Command::new(deploy.join("probe")).args(probe.split(' ')).status().unwrap();
        assert!(status.success(), "{probe}");
    }
    let file = bed.scenario("night", "iterations = 200\nworkers = 1\nthink_time = \"20ms\"\n");
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    bed.until_runs("night", "a").await;
    until("the port shows it", || ask("GET /healthz", "").1.contains(r#""night":"TEST_RUNNING""#));
    let shown: Value = serde_json::from_str(&ask("GET /healthz", "").1).unwrap();
    assert_eq!((&shown["agent"], &shown["board"]), (&json!("a"), &json!("connected")));
    assert_eq!(ask("POST /drain", "Origin: http://evil.example\r\n").0, "403");
    assert_eq!((ask("GET /drain", "").0, ask("GET /", "").0), ("405".to_owned(), "404".to_owned()));
    assert_eq!(ask("POST /drain", "").0, "202");
    // It ends by itself, after its session.
    let ended = a.0.take().unwrap().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let view = bed.view().await;
    assert_eq!(part(&view, "night", "a"), AgentState::TestFinished, "{}", bed.said("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_the_terminal_does() {
    let bed = Bed::etcd().await;
    let [_, directory, ..] = bed.ca.target();
    let plan = json!({"directory": directory, "workers": 1, "run_time": "10m", "think_time": "50ms"});
    let new = json!({"id": "night", "plan": plan, "agents": {"names": ["a"]}}).to_string();
    let (status, made) = bed.http("POST /api/v1/sessions", &new);
    assert_eq!((status, &made["state"]), (201, &json!("ready")), "{made}");
    assert_eq!(bed.http("POST /api/v1/sessions", &new).0, 409);
    let wrong = json!({"id": "x", "plan": {"directory": directory, "worker": 1, "state": "sqlite://x"}});
    let (status, refused) = bed.http("POST /api/v1/sessions", &wrong.to_string());
    assert_eq!(status, 400);
    let mistakes = refused["mistakes"].as_array().unwrap();
    assert!(
        mistakes.len() == 2 && mistakes[0].as_str().unwrap().starts_with("worker: unknown key"),
        "{refused}"
    );
    for path in ["sessions/none/start", "sessions/none/clone", "nodes/none/activate"] {
        let body = if path.ends_with("clone") { r#"{"id":"y"}"# } else { "{}" };
        assert_eq!(bed.http(&format!("POST /api/v1/{path}"), body).0, 404, "{path}");
    }
    assert_eq!(bed.http("GET /api/v1/sessions/none", "").0, 404);
    assert_eq!(bed.http("DELETE /api/v1/sessions/none", "").0, 404);

    let change = |revision: u64, workers: u32| {
        let patch = json!({"revision": revision, "plan": {"workers": workers}});
        bed.http("PATCH /api/v1/sessions/night", &patch.to_string())
    };
    let (status, changed) = change(1, 2);
    assert_eq!((status, &changed["plan_changes"]), (200, &json!(["workers 1 → 2"])), "{changed}");
    let (status, stale) = change(1, 3);
    let why = stale["error"].as_str().unwrap();
    assert!(status == 409 && why.contains("workers 1 → 2 by api"), "{stale}");

    let (status, added) = bed.http("POST /api/v1/nodes", r#"{"name":"a"}"#);
    assert_eq!((status, &added["reserved"]), (201, &json!(true)), "{added}");
    assert_eq!(bed.http("POST /api/v1/nodes", r#"{"name":"a"}"#).0, 409);
    let _a = bed.agent("a", &["--group", "eu"]);
    let node = bed.http("GET /api/v1/nodes/a", "").1;
    assert_eq!(
        (&node["live"], &node["reserved"], &node["group"]),
        (&json!(true), &json!(false), &json!("eu"))
    );
    assert_eq!(bed.http("DELETE /api/v1/nodes/a", "").0, 409);
    assert_eq!(bed.http("POST /api/v1/nodes/a/deactivate", "").1["activated"], json!(false));
    assert_eq!(bed.http("POST /api/v1/sessions/night/start", "").1["state"], json!("running"));
    assert_eq!(bed.http("POST /api/v1/sessions/night/start", "").0, 409);
    bed.wec(&["node", "activate", "a"]);
    bed.until_runs("night", "a").await;
    let at = ["session", "--at", &bed.page, "show", "night", "--json"];
    let shown = crate::common::run(bed.folder.path(), &at);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["parts"][0]["state"], json!("TEST_RUNNING"), "{shown}");
    assert_eq!(bed.http("GET /api/v1/sessions/night", "").1["workers_target"], json!(2));
    // What the page changes in the run is in the plan, too.
    let (status, changed) = bed.http("PATCH /api/v1/sessions/night/scenarios/default", r#"{"workers":3}"#);
    assert_eq!((status, &changed["changes"][0]["to"]), (200, &json!("3")), "{changed}");
    let night = bed.view().await.plans["night"].value.clone();
    assert_eq!((night.keys["workers"].as_str(), night.revision), ("3", 4));
    let (status, changed) = change(4, 1);
    assert_eq!((status, &changed["plan_changes"]), (200, &json!(["default: workers 3 → 1"])), "{changed}");
    assert_eq!(bed.http("POST /api/v1/sessions/night/stop", "{}").1["state"], json!("stopping"));
    bed.until_state("night", PlanState::Stopped).await;
    let sessions = bed.http("GET /api/v1/sessions", "").1;
    let entry = sessions["sessions"].as_array().unwrap().iter().find(|entry| entry["id"] == "night").unwrap();
    assert_eq!((&entry["plan"]["state"], entry["runs"].as_array().unwrap().len()), (&json!("stopped"), 1));
    for (state, count) in [("stopped", 1), ("running", 0)] {
        let listed = bed.http(&format!("GET /api/v1/sessions?state={state}"), "").1;
        assert_eq!(listed["sessions"].as_array().unwrap().len(), count, "{state}: {listed}");
    }
    let (status, refused) = bed.http("GET /api/v1/sessions?state=bogus", "");
    let why = refused["error"].as_str().unwrap();
    assert!(status == 400 && why.contains("bogus") && why.contains("`stopped`"), "{refused}");
    assert_eq!(bed.http("DELETE /api/v1/sessions/night?revision=1", "").0, 409);
    assert_eq!(bed.http("DELETE /api/v1/sessions/night", "").1["deleted"], json!("night"));
}

/// One whole path with a real CA: all challenges are answered by the agent itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_issues_certificates_at_pebble() {
    let bed = Bed::file().await;
    let (http01, dns) = (wec_testbed::free_address(), wec_testbed::free_address());
    let pebble =
        Pebble::start(PebbleOptions { http_port: http01.port(), dns: Some(dns), ..PebbleOptions::default() })
            .await
            .unwrap();
    let root = pebble.ca_file().display().to_string();
    let (http01, dns) = (http01.to_string(), dns.to_string());
    let flags =
        ["--http01-listen", &http01, "--dns-listen", &dns, "--admin-listen", "off", "--cacert", &root];
    let _a = bed.bare_agent("a", &flags);
    // Two workers: with three requests in flight Pebble 2.4 deadlocks sooner or later (docs/servers.md).
    let text = format!(
        "directory = {:?}\nworkers = 2\nrun_time = \"10m\"\nlimit_registrations = 2\n",
        pebble.directory_url()
    );
    std::fs::write(bed.folder.path().join("issue.toml"), text).unwrap();
    bed.wec(&["session", "create", "issue.toml"]);
    bed.wec(&["session", "start", "issue"]);
    let certificates = || {
        let log = bed.log();
        let issued = crate::common::results(&log)
            .filter(|result| result.successful && result.chain == Some(wec_record::Chain::Certificate));
        issued.count()
    };
    until("ten certificates are issued", || certificates() >= 10);
    bed.wec(&["session", "stop", "issue"]);
    bed.until_state("issue", PlanState::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_meant_for_agents_by_name_group_and_label() {
    let bed = Bed::file().await;
    let _agents =
        [bed.agent("a", &["--group", "eu", "--label", "disk=ssd"]), bed.agent("b", &["--group", "eu"])];
    let file = bed.scenario("night", "iterations = 5\nworkers = 1\n");
    for (id, flags, agents) in [
        ("by-label", &["--group", "eu", "--label", "disk=ssd"][..], &["a"][..]),
        ("by-name", &["--nodes", "b"], &["b"]),
        ("by-group", &["--group", "eu"], &["a", "b"]),
    ] {
        bed.wec(&[&["session", "create", &file, "--id", id][..], flags].concat());
        bed.wec(&["session", "start", id]);
        bed.until_state(id, PlanState::Stopped).await;
        let view = bed.view().await;
        let took: Vec<_> = view.tasks_of(&view.plans[id].value).map(|(agent, _)| agent).collect();
        assert_eq!(took, agents, "{id}");
    }
    bed.wec(&["session", "create", &file, "--id", "nobody", "--group", "us"]);
    let started = bed.tried(&["session", "start", "nobody"]);
    assert!(said(&started).contains("no live agent is meant for it (group us)"), "{}", said(&started));
    let listed = bed.wec(&["session", "list", "--state", "running"]);
    assert!(
        listed.contains("waiting") && listed.contains("no live agent is meant for it (group us)"),
        "{listed}"
    );
    assert_eq!(bed.wec(&["session", "stop", "nobody"]), "session nobody: stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_of_a_name_waits_for_the_first_to_leave() {
    let bed = Bed::etcd().await;
    let first = bed.agent("a", &[]);
    let folder = bed.folder.path().join("second");
    std::fs::create_dir_all(&folder).unwrap();
    let mut args = vec!["agent", "--board", &bed.url, "--name", "a", "--no-calibration"];
    args.extend(["--admin-listen", "off"]);
    let said_by = folder.join("said");
    let mut second = crate::common::wec(&folder, &args)
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&said_by).unwrap())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(second.stdout.take().unwrap());
    let second = Running(Some(second));
    let says = |what: &str| std::fs::read_to_string(&said_by).unwrap().contains(what);
    until("it waits", || says("an agent \"a\" is on the board: waiting"));
    let before = bed.view().await.live["a"].incarnation.clone();
    signal(first.0.as_ref().unwrap(), "-TERM");
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("agent a waits for sessions"), "{line}");
    assert_ne!(bed.view().await.live["a"].incarnation, before);
    assert_eq!(second.interrupt().status.code(), Some(0));
}

/// `make soak` runs 50 agents for 5 minutes: `WEC_AGENTS` and `WEC_AGENTS_SECONDS`.
#[tokio::test(flavor = "multi_thread")]
async fn many_agents_share_one_low_rate() {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (count, seconds) = (given("WEC_AGENTS").unwrap_or(6), given("WEC_AGENTS_SECONDS").unwrap_or(12));
    let rate = 20;
    let bed = Bed::etcd().await;
    let names: Vec<_> = (0..count).map(|number| format!("n{number:02}")).collect();
    let agents: Vec<_> = names.iter().map(|name| bed.agent(name, &[])).collect();
    let keys = format!("rate = \"{rate}/s\"\nspacing = \"even\"\nworkers = 500\nrun_time = \"{seconds}s\"");
    let file = bed.scenario("low", &keys);
    // A command that finds etcd too busy with so many agents is repeated, as a person would do it.
    let repeat = |args: &[&str], done: &str| {
        until(done, || {
            let output = bed.tried(args);
            output.status.success() || said(&output).contains(done)
        });
    };
    repeat(&["session", "create", &file], "low\" already");
    repeat(&["session", "start", "low"], "it is running");
    let ended =
        |view: &AgentsView| view.plans.get("low").is_some_and(|plan| plan.value.state == PlanState::Stopped);
    let bound = std::time::Duration::from_secs(seconds + 240);
    let mut view = bed.board.agents();
    let waited = tokio::time::timeout(bound, view.wait_for(ended)).await;
    assert!(waited.is_ok(), "the session has not ended: {:?}", bed.view().await);
    let view = bed.view().await;
    for name in &names {
        assert_eq!(part(&view, "low", name), AgentState::TestFinished, "{name}: {}", bed.said(name));
    }
    agents.into_iter().for_each(|agent| drop(agent.interrupt()));
    let (chains, log) = (bed.chains(), bed.log());
    let all: usize = chains.values().sum();
    let gaps = log.iter().filter(|record| matches!(record, Record::Mark(mark) if mark.what == MarkWhat::Gap));
    println!(
        "{count} agents, {rate}/s for {seconds} s: {all} chains, {:?}, {} gaps",
        chains.values(),
        gaps.count()
    );
    // Each agent has its own intervals, so it may start one more than its part.
    let most = rate * seconds + count;
    assert!(all as u64 <= most, "{all} of at most {most}");
    let took_part = names.iter().filter(|name| chains.contains_key(*name)).count();
    assert!(took_part > names.len() / 2, "{chains:?}");
    let accounts = bed.ca.stop()["accounts"].as_u64().unwrap();
    assert_eq!(accounts, all as u64, "nothing is lost or counted twice");
}
