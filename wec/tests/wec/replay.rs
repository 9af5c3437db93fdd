//! A run is shown again with the figures that it had live, to the digit, in every view of the API.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use wec_record::{Chain, Record};
use wec_testbed::{NodeExporter, Pebble, PebbleOptions, free_address};

use crate::common::{NullCa, Run, chains, said, summary, until, wec};

/// What may differ between a live run and its replay: a key at any depth of a view, and why.
const MAY_DIFFER: [(&str, &str); 17] = [
    ("now_unix_ns", "the clock of the service, or of the replay"),
    ("run_ns", "by that clock"),
    ("active_ns", "by that clock"),
    ("source", "where the figures come from"),
    ("live", "the same, in a list"),
    ("current", "`wec serve` has no run of its own"),
    ("replay", "only a replay has a clock"),
    ("session", "what people want of a run is on the board, where a run that is over has nothing to steer"),
    ("nodes", "the same: they have left the board"),
    ("log", "the path of the log"),
    ("log_problems", "the log of a run that goes on has no end"),
    ("listeners", "the service's connections"),
    ("queued_batches", "the service's queue"),
    ("queue_bound", "the same"),
    ("senders", "processes that have sent to this service"),
    ("duplicates", "what they sent twice, which is not in the log"),
    ("passed", "a run that may go on has no verdict"),
];
/// Views of the board, of the replay's clock, of the current run for Prometheus, and of parts of runs that have ended,
/// which a run and its replay do not share. Tests of the index compare parts with the whole log.
const NOT_OF_THE_RUN: [&str; 5] = [
    "/api/v1/replay",
    "/api/v1/sessions/{id}",
    "/api/v1/sessions/{id}/journal",
    "/metrics",
    "/api/v1/runs/{id}/window",
];

/// Rows whose distributions are compared.
const ROWS: [&str; 3] = ["all%20requests", "chain%20certificate", "chain%20certificate&service=true"];

/// All views of a service, by the paths of the OpenAPI document.
type Views = BTreeMap<String, Value>;

/// What the service answers to each GET of its OpenAPI document, about this run.
fn views(page: &str, run: &str) -> Views {
    let document: Value = serde_json::from_str(&text(page, "/api/v1/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let gets = paths.filter(|(_, methods)| methods.get("get").is_some()).map(|(path, _)| path);
    let view = |path: &String| {
        let value = match path.as_str() {
            // Downloads, which have tests of their own.
            "/api/v1/runs/{id}/window" | "/api/v1/runs/{id}/log" | "/api/v1/runs/{id}/report" => Value::Null,
            "/api/v1/runs/{id}/distribution" => {
                let of = |row| json(&text(page, &format!("{}?row={row}", path.replace("{id}", run))));
                Value::from_iter(ROWS.map(of))
            }
            // Of two runs, with tests of its own.
            "/api/v1/comparison" => Value::Null,
            // They are of the board, not of a run.
            "/api/v1/nodes"
            | "/api/v1/nodes/{name}"
            | "/api/v1/machines"
            | "/api/v1/machines/live"
            | "/api/v1/sessions" => Value::Null,
            "/healthz" | "/metrics" => Value::from(text(page, path)),
            "/api/v1/runs" | "/api/v1/replay" => json(&text(page, path)),
            "/api/v1/runs/{id}/snapshot" | "/api/v1/runs/{id}/warnings" | "/api/v1/runs/{id}/observed" => {
                json(&text(page, &path.replace("{id}", run)))
            }
            "/api/v1/runs/{id}/live" => first_event(page, &path.replace("{id}", run)),
            "/api/v1/sessions/{id}" | "/api/v1/sessions/{id}/journal" => {
                json(&text(page, &path.replace("{id}", "default")))
            }
            _ => panic!("{path} is new: say here how to compare it"),
        };
        (path.clone(), value)
    };
    gets.map(view).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn get(page: &str, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {page}\r\n\r\n").unwrap();
    BufReader::new(stream)
}

/// The body of an answer.
fn text(page: &str, path: &str) -> String {
    let mut answer = String::new();
    get(page, path).read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The data of the first event of a stream.
fn first_event(page: &str, path: &str) -> Value {
    let lines = get(page, path).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("data: ").map(json)).next().expect("an event")
}

/// The views without what may differ.
fn comparable(mut views: Views) -> Views {
    views.retain(|path, _| !NOT_OF_THE_RUN.contains(&path.as_str()));
    views.values_mut().for_each(strip);
    views
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            // The snapshot follows from records alone: nothing in it may differ.
            object.retain(|key, _| !MAY_DIFFER.iter().any(|(may, _)| may == key));
            object.iter_mut().filter(|(key, _)| *key != "snapshot").for_each(|(_, value)| strip(value));
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Names the first difference, because the views are long.
fn assert_equal(what: &str, live: &Views, shown: &Views) {
    for (path, value) in live {
        if let Some(difference) = difference(value, &shown[path]) {
            panic!("{what}, {path}{difference}");
        }
    }
    assert_eq!(live.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());
}

fn difference(a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = |(a, b): (&serde_json::Map<_, _>, &serde_json::Map<_, _>)| {
                a.keys().find(|key| !b.contains_key(*key)).map(|key| format!("/{key} is in one only"))
            };
            let deeper = || a.iter().find_map(|(key, a)| Some(format!("/{key}{}", difference(a, &b[key])?)));
            missing((a, b)).or_else(|| missing((b, a))).or_else(deeper)
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(place, (a, b))| Some(format!("/{place}{}", difference(a, b)?)))
        }
        _ if a == b => None,
        _ => Some(format!(": {a} and {b}")),
    }
}

/// `wec ARGS…`, and where its page is.
fn page(folder: &Path, args: &[&str]) -> Run {
    let mut child = wec(folder, args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("no page: {line:?}"));
    let page = address.split('/').next().unwrap().to_owned();
    Run::unheard(child, page)
}

/// The three ways to show a log again, each when it has shown all of it.
fn shown_again(folder: &Path, (logs, ended): (&str, bool), log: &str) -> [(&'static str, Run); 3] {
    let listen = ["--listen", "127.0.0.1:0"];
    let log = format!("{logs}/{log}");
    let paced = page(folder, &[&["replay", "--speed", "1000", &log][..], &listen].concat());
    until("the replay has ended", || json(&text(&paced.page, "/api/v1/replay"))["state"] == "ended");
    // The log of a run that goes on has no end yet, which `--strict` refuses.
    let strict: &[&str] = if ended { &["--strict"] } else { &[] };
    [
        ("wec replay", page(folder, &[&["replay", &log], strict, &listen].concat())),
        ("wec replay --speed 1000", paced),
        ("wec serve", page(folder, &[&["serve", logs][..], &listen].concat())),
    ]
}

/// Pauses the run, compares its views with those of its log so far, ends it, and compares again.
fn is_shown_again_as_it_was(folder: &Path, mut run: Run, run_code: i32) {
    let (status, body) = run.http("PATCH /api/v1/sessions/current", r#"{"state":"paused"}"#);
    assert_eq!(status, 200, "{body}");
    run.until_at_rest();
    let id = run.snapshot()["run"]["id"].as_str().unwrap().to_owned();
    let name = format!("{id}.jsonl");
    let log = folder.join("results").join(&name);
    let then = folder.join("then").join(&name);
    std::fs::create_dir_all(then.parent().unwrap()).unwrap();
    let mut live = Views::new();
    // Load samples still arrive, one a second: between two of them nothing changes.
    until("the log has all that is shown", || {
        live = comparable(views(&run.page, &id));
        std::fs::copy(&log, &then).unwrap();
        let shown = &live["/api/v1/runs/{id}/snapshot"]["snapshot"];
        // The outcome in a list may be a second old.
        live["/api/v1/runs"]["runs"][0]["outcome"]["elapsed_ns"] == shown["elapsed_ns"]
            && last_at(&then) == shown["at_unix_ns"].as_u64()
            && live == comparable(views(&run.page, &id))
    });
    assert!(chains(&live["/api/v1/runs/{id}/snapshot"]["snapshot"]) > 0);
    for (what, again) in shown_again(folder, ("then", false), &name) {
        assert_equal(what, &live, &comparable(views(&again.page, &id)));
    }
    run.told(folder, &["stop"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(run_code));
    for (what, again) in shown_again(folder, ("results", true), &name) {
        let shown = views(&again.page, &id);
        let shown = &shown["/api/v1/runs/{id}/snapshot"]["snapshot"];
        assert_eq!(difference(&summary(folder), shown), None, "{what}");
    }
}

/// When the last sample in this log was taken. A paused run makes no other records.
fn last_at(log: &Path) -> Option<u64> {
    let records = crate::common::log_so_far(log.parent().unwrap());
    let at = |record: &Record| match record {
        Record::Load { at_unix_ns, .. } | Record::State { at_unix_ns, .. } => Some(*at_unix_ns),
        _ => None,
    };
    records.iter().filter_map(at).max()
}

#[test]
fn a_run_with_faults_and_live_changes_is_shown_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let faults = ["--fault", "newOrder=500:0.1", "--fault", "finalize=reset:0.05", "--bad-nonce", "0.05"];
    let http01 = free_address().to_string();
    let validation = ["--http01", &http01, "--validation-failures", "0.05", "--latency", "2ms..9ms"];
    let ca = NullCa::start(folder.path(), &[&faults[..], &validation].concat());
    let mut args = vec!["run", "--run-time", "10m", "--listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend(["--http01-listen", &http01, "--workers", "4"]);
    args.extend(["--threshold", "chain{failed} < 100%", "--threshold", "requests{p(95)} < 10s"]);
    args.extend(ca.target());
    let run = Run::of(folder.path(), &args);
    run.until_chains(150);
    run.patch(json!({ "workers": 9 }));
    run.patch(json!({ "weights": { "revoke": 2, "registration": 3 } }));
    run.until_chains(400);
    run.http("PATCH /api/v1/sessions/current", r#"{"limits":{"registrations":100000}}"#);
    is_shown_again_as_it_was(folder.path(), run, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_against_pebble_is_shown_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let [http01, tlsalpn01, dns] = [(); 3].map(|()| free_address());
    let pebble = Pebble::start(PebbleOptions {
        http_port: http01.port(),
        tls_port: tlsalpn01.port(),
        dns: Some(dns),
        ..PebbleOptions::default()
    })
    .await
    .unwrap();
    let directory = pebble.directory_url();
    let cacert = pebble.ca_file().to_str().unwrap().to_owned();
    let [http01, tlsalpn01, dns] = [http01, tlsalpn01, dns].map(|address| address.to_string());
    let mut args = vec!["run", "--run-time", "10m", "--listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend(["--directory", &directory, "--cacert", &cacert, "--workers", "2"]);
    args.extend(["--names-per-order", "1..3", "--weight", "refresh=4,revoke=3"]);
    args.extend(["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns]);
    let run = Run::of(folder.path(), &args);
    run.until_chains(60);
    is_shown_again_as_it_was(folder.path(), run, 0);
}

/// Analytics of its own shows a run live also after its end, when nothing changes any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_is_shown_again_as_its_analytics_shows_it_live() {
    let observed = NodeExporter::start().await.unwrap();
    let machine = format!("machine={}", observed.url());
    for format in ["json", "binary-zstd"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let http01 = free_address().to_string();
        let faults = ["--fault", "newOrder=500:0.1", "--fault", "finalize=reset:0.05", "--bad-nonce", "0.05"];
        let validation = ["--http01", &http01, "--validation-failures", "0.05"];
        let ca = NullCa::start(folder, &[&faults[..], &validation].concat());
        let board = format!("sqlite://{}", folder.join("board.sqlite").display());
        let results = free_address().to_string();
        let mut args =
            vec!["analytics", "--board", &board, "--listen", "127.0.0.1:0", "--grpc-listen", &results];
        args.extend(["--log-format", format, "--observe", &machine]);
        let mut analytics = page(folder, &args);
        let results = format!("http://{results}");
        let mut args = vec!["requester", "--board", &board, "--analytics", &results, "--workers", "2"];
        args.extend(["--run-time", "10m", "--http01-listen", &http01]);
        args.extend(["--threshold", "chain{failed} < 100%", "--threshold", "requests{p(95)} < 10s"]);
        args.extend(ca.target());
        let requester = wec(folder, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut requester = crate::common::Running(Some(requester));
        analytics.until_chains(50);
        analytics.patch(json!({ "workers": 4 }));
        until("there are samples", || {
            text(&analytics.page, "/api/v1/runs/current/observed").contains("\"machine\"")
        });
        analytics.until_chains(150);
        analytics.http("PATCH /api/v1/sessions/current", r#"{"state":"stopped"}"#);
        until("the requester has ended", || requester.has_ended());

        let id = analytics.snapshot()["run"]["id"].as_str().unwrap().to_owned();
        let log = wec_log::find_log(&folder.join("results"), &id).unwrap();
        let name = log.file_name().unwrap().to_str().unwrap();
        let mut live = comparable(views(&analytics.page, &id));
        until("nothing changes any more", || {
            let before = std::mem::replace(&mut live, comparable(views(&analytics.page, &id)));
            before == live
        });
        assert!(!live["/api/v1/runs/{id}/observed"].to_string().contains("\"observed\":[]"));
        for (what, again) in shown_again(folder, ("results", false), name) {
            assert_equal(&format!("{what}, {format}"), &live, &comparable(views(&again.page, &id)));
        }
        // Its end completes the log, and changes no figure.
        crate::common::signal(&analytics.child, "-INT");
        assert_eq!(analytics.child.wait().unwrap().code(), Some(0));
        for (what, again) in shown_again(folder, ("results", true), name) {
            for path in
                ["/api/v1/runs/{id}/snapshot", "/api/v1/runs/{id}/observed", "/api/v1/runs/{id}/warnings"]
            {
                let (live, again) = (&live[path], &comparable(views(&again.page, &id))[path]);
                let figures =
                    |of: &Value| if of["snapshot"].is_null() { of.clone() } else { of["snapshot"].clone() };
                let difference = difference(&figures(live), &figures(again));
                assert_eq!(difference, None, "{what} of the whole log, {format}, {path}");
            }
        }
    }
}

/// A log on standard input ends in the middle of a record. Its defect is reported, and `--strict` refuses it.
#[test]
fn a_log_on_standard_input_is_shown_and_its_defect_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    let flags = ["--headless", "--workers", "1", "--iterations", "5", "--weight", "registration=1"];
    let listen = ["--http01-listen", "127.0.0.1:0"];
    let output = crate::common::run(folder.path(), &[&["run"], &ca.target()[..], &flags, &listen].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let log = std::fs::read_dir(folder.path().join("results")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, &whole[..whole.len() - 3]).unwrap();

    let torn = log.to_str().unwrap();
    let strict = crate::common::run(folder.path(), &["replay", "--strict", torn]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(said(&strict).contains("which --strict does not allow"), "{}", said(&strict));
    for speed in ["0", "0.9", "1001", "fast"] {
        let wrong = crate::common::run(folder.path(), &["replay", "--speed", speed, torn]);
        assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    }

    let args = ["replay", "-", "--listen", "127.0.0.1:0"];
    let mut replay = wec(folder.path(), &args);
    let input = std::fs::File::open(&log).unwrap();
    let mut child = replay.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().to_owned();
    let shown = json(&text(&address, "/api/v1/runs/current/snapshot"));
    assert_eq!(chains(&shown["snapshot"]), 5);
    assert_eq!(shown["health"]["log"], "-");
    assert!(shown["health"]["log_problems"][0].as_str().unwrap().contains("the last line is incomplete"));
    crate::common::signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("warning: the last line is incomplete"), "{}", said(&output));
}

/// When chains of this kind were due, nanoseconds since the first of all chains, in order.
fn due(log: &[Record], of: Chain) -> Vec<u64> {
    let all = log.iter().filter_map(|record| match record {
        Record::Chain { origin_unix_ns, result, .. } => Some((result.chain?, origin_unix_ns + result.due)),
        _ => None,
    });
    let first = all.clone().map(|(_, due)| due).min().expect("a chain");
    let mut due: Vec<_> = all.filter(|(chain, _)| *chain == of).map(|(_, due)| due - first).collect();
    due.sort_unstable();
    due
}

/// Chains whose state is missing are idle, so only registrations must all have run; but each start was due.
#[test]
fn a_log_is_driven_again_with_its_starts_and_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    let (recorded, driven) = (folder.path().join("recorded"), folder.path().join("driven"));
    let common = ["--http01-listen", "127.0.0.1:0", "--headless", "--json", "summary.json"];
    let load = ["run", "--rate", "40/s", "--run-time", "5s", "--seed", "7"];
    std::fs::create_dir_all(&recorded).unwrap();
    std::fs::create_dir_all(&driven).unwrap();
    let first = crate::common::run(&recorded, &[&load[..], &ca.target(), &common].concat());
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    let log = std::fs::read_dir(recorded.join("results")).unwrap().next().unwrap().unwrap().path();
    let log = log.to_str().unwrap();

    let [_, directory, cacert, root] = ca.target();
    let drive = ["replay", "--drive", directory, cacert, root, log];
    let again = crate::common::run(
        &driven,
        &[&drive[..], &["--speed", "2", "--threshold", "chain{failed} < 1%"], &common].concat(),
    );
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(said(&again).contains("recorded chain starts"), "{}", said(&again));

    let (before, after) = (crate::common::log(&recorded), crate::common::log(&driven));
    let scenarios = summary(&driven)["scenarios"].clone();
    for chain in Chain::ALL {
        let was = due(&before, chain);
        if was.is_empty() {
            assert_eq!(scenarios.get(chain.name()), None);
            continue;
        }
        let scenario = &scenarios[chain.name()];
        assert_eq!(scenario["due"], was.len(), "{chain}: {scenario}");
        let (started, idle) = (scenario["started"].as_u64().unwrap(), scenario["idle"].as_u64().unwrap());
        let dropped = scenario["dropped"].as_u64().unwrap();
        assert_eq!(started + dropped, was.len() as u64, "{chain}: {scenario}");
        assert_eq!(started - idle, due(&after, chain).len() as u64, "{chain}: {scenario}");
    }
    let (was, is) = (due(&before, Chain::Registration), due(&after, Chain::Registration));
    assert!(was.len() > 5, "{was:?}");
    for (was, is) in was.iter().zip(&is) {
        // Starts are counted by steps of 100 ms, also the first of all.
        assert!(is.abs_diff(was / 2) <= 200_000_000, "{was} was at {is}");
    }
    for wrong in [&["--cacert", "x"][..], &["--json", "x"], &["--headless"], &["--speed", "0.5"]] {
        let refused = crate::common::run(&driven, &[&["replay", log][..], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {}", said(&refused));
    }
    let public = ["replay", "--drive", "https://acme-v02.api.letsencrypt.org/directory", log];
    let refused = crate::common::run(&driven, &[&public[..], &common].concat());
    assert_ne!(refused.status.code(), Some(0), "the guard is that of a run");
}
