//! Programs of others use what is documented: curl the sessions of the web API, etcdctl the keys of the board.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use wec_board::PlanState;
use wec_testbed::Program;

use super::bed::Bed;
use crate::common::until;

const CURL: Program = Program { binary: "curl", package: "curl" };
const ETCDCTL: Program = Program { binary: "etcdctl", package: "etcd-client" };

/// `curl -X METHOD PAGE/api/v1/PATH`: the status and the body.
fn curl(bed: &Bed, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut command = Command::new(CURL.find().unwrap());
    command.args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"]);
    command.args(["--request", method, &format!("http://{}/api/v1/{path}", bed.page)]);
    if let Some(body) = body {
        command.args(["--header", "Content-Type: application/json", "--data", &body.to_string()]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = String::from_utf8(output.stdout).unwrap();
    let (body, status) = answer.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{method} {path}: {answer}")),
    )
}

/// `etcdctl get --prefix /wec/…`, as the pages of docs/ have it.
fn etcdctl(bed: &Bed, prefix: &str, flags: &[&str]) -> String {
    let mut command = Command::new(ETCDCTL.find().unwrap());
    command.env("ETCDCTL_API", "3").args(["--endpoints", &bed.etcd.as_ref().unwrap().endpoint()]);
    let output = command.args(["get", "--prefix", prefix]).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The keys in the tables of docs/, such as `v1/tasks/SESSION/NAME`.
fn documented() -> BTreeSet<String> {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let pages = ["agents.md", "session.md"].map(|page| std::fs::read_to_string(docs.join(page)).unwrap());
    let rows = pages.iter().flat_map(|page| page.lines().filter_map(|line| line.strip_prefix("| `")));
    let keys = rows.filter_map(|row| row.split_once("` |")).map(|(key, _)| key.to_owned());
    keys.filter(|key| key.contains("v1/")).collect()
}

/// Whether the key has the parts of the documented one, where capitals stand for a name.
fn is(key: &str, documented: &str) -> bool {
    let (parts, expected): (Vec<_>, Vec<_>) = (key.split('/').collect(), documented.split('/').collect());
    let fits = |(part, expected): (&&str, &&str)| {
        part == expected || expected.bytes().all(|letter| letter.is_ascii_uppercase())
    };
    parts.len() == expected.len() && parts.iter().zip(&expected).all(fits)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_runs_a_session_and_etcdctl_reads_it_by_the_documented_keys() {
    let bed = Bed::etcd().await;
    let _agents = [bed.agent("a", &[]), bed.agent("b", &[])];
    let [_, directory, ..] = bed.ca.target();
    let weights: serde_json::Map<_, _> = crate::common::ONLY_REGISTRATIONS
        .split(',')
        .map(|weight| weight.split_once('=').unwrap())
        .map(|(chain, weight)| (chain.to_owned(), json!(weight.parse::<u32>().unwrap())))
        .collect();
    let plan = json!({"directory": directory, "workers": 2, "iterations": 1_000_000, "think_time": "50ms",
        "challenge_linger": "0s", "weights": weights});
    let new = json!({"id": "night", "plan": plan, "agents": {"names": ["a", "b"]}});
    assert_eq!(curl(&bed, "POST", "nodes", Some(json!({"name": "c"}))).0, 201);
    let (status, made) = curl(&bed, "POST", "sessions", Some(new.clone()));
    assert_eq!((status, &made["state"]), (201, &json!("ready")), "{made}");
    assert_eq!(curl(&bed, "POST", "sessions", Some(new)).0, 409, "there is one already");
    assert_eq!(curl(&bed, "POST", "sessions/none/start", None).0, 404);
    let (status, started) = curl(&bed, "POST", "sessions/night/start", None);
    assert_eq!((status, &started["state"]), (200, &json!("running")), "{started}");
    bed.until_runs("night", "a").await;
    bed.until_runs("night", "b").await;
    let (_, shown) = curl(&bed, "GET", "sessions/night", None);
    assert_eq!((&shown["state"], &shown["workers_target"]), (&json!("running"), &json!(2)), "{shown}");
    let change = json!({"revision": 2, "plan": {"workers": 3}});
    let (status, changed) = curl(&bed, "PATCH", "sessions/night", Some(change));
    assert_eq!((status, &changed["plan_changes"]), (200, &json!(["default: workers 2 → 3"])), "{changed}");

    // Every key on the board is documented, and every documented key is there sooner or later.
    let documented = documented();
    let mut seen = BTreeSet::new();
    until("all documented keys have been on the board", || {
        let keys = etcdctl(&bed, "/wec/", &["--keys-only"]);
        for key in keys.lines().filter(|line| !line.is_empty()) {
            let key = key.strip_prefix("/wec/").unwrap();
            let kind = documented.iter().find(|documented| is(key, documented));
            seen.insert(kind.unwrap_or_else(|| panic!("{key} is not documented: {documented:?}")).clone());
        }
        seen == documented
    });
    for value in etcdctl(&bed, "/wec/", &["--print-value-only"]).lines() {
        assert!(serde_json::from_str::<Value>(value).is_ok(), "{value}");
    }
    let tasks = etcdctl(&bed, "/wec/v1/tasks/night/", &["--print-value-only"]);
    let states: Vec<_> = tasks.lines().map(|task| serde_json::from_str::<Value>(task).unwrap()).collect();
    assert!(states.len() == 2 && states.iter().all(|task| task["state"] == "TEST_RUNNING"), "{tasks}");
    let journal = etcdctl(&bed, "/wec/journal/v1/night/", &["--print-value-only"]);
    let last: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["by"], &last["what"], &last["to"]),
        (&json!("api"), &json!("workers"), &json!("3")),
        "{last}"
    );

    let (status, stopping) = curl(&bed, "POST", "sessions/night/stop", Some(json!({})));
    assert!(status == 200 && stopping["state"].as_str().unwrap().starts_with("stop"), "{stopping}");
    bed.until_state("night", PlanState::Stopped).await;
    let (_, deleted) = curl(&bed, "DELETE", "sessions/night", None);
    assert_eq!(deleted["deleted"], json!("night"), "{deleted}");
    assert_eq!(curl(&bed, "POST", "sessions/night/start", None).0, 404);
    let (_, runs) = curl(&bed, "GET", "sessions/night", None);
    assert!(runs["plan"].is_null() && runs["runs"].as_array().is_some_and(|runs| runs.len() == 1), "{runs}");
}
