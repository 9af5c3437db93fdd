//! Our own runs in a real InfluxDB, live and from their logs, and where data may go.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use wec_testbed::{InfluxDb, Notices, Process, Rotel};

use crate::common::{NullCa, Run, free, run, said, signal, summary, until, wec};

fn within<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn database() -> InfluxDb {
    within(InfluxDb::start()).unwrap()
}

/// One HTTP exchange. Returns the body.
fn http(address: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The rows of a query, as objects of column and value.
fn query(at: &InfluxDb, name: &str, query: &str) -> Vec<Value> {
    let address = at.url().trim_start_matches("http://").to_owned();
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let answer = http(&address, &format!("GET /query?db={name}&epoch=ns&q={query}"), "");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let mut rows = Vec::new();
    for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
        let columns = series["columns"].as_array().unwrap();
        for values in series["values"].as_array().unwrap() {
            let pairs = columns.iter().zip(values.as_array().unwrap());
            rows.push(
                pairs.map(|(column, value)| (column.as_str().unwrap().to_owned(), value.clone())).collect(),
            );
        }
    }
    rows
}

/// `wec consumer` in a process of its own. Killed when dropped.
struct Consumer {
    child: Child,
    address: String,
}

impl Consumer {
    fn start(folder: &Path, database: &InfluxDb, interval: &str) -> Self {
        let url = database.url();
        let args = ["consumer", "--listen", "127.0.0.1:0", "--influx", &url, "--interval", interval];
        let mut child = wec(folder, &args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { child, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it when all points are written.
    fn finish(mut self) {
        signal(&self.child, "-TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LIVE: &str = "SELECT * FROM load_testing WHERE live = 'true'";
const RESULT: &str = "SELECT * FROM load_testing_result";

#[test]
fn a_run_is_in_the_database_and_its_log_gives_the_same_points_again() {
    let (folder, database) = (tempfile::tempdir().unwrap(), database());
    let ca = NullCa::start(folder.path(), &["--no-verify"]);
    let consumer = Consumer::start(folder.path(), &database, "300ms");
    let url = consumer.url();
    let mut args = vec![
        "run",
        "--headless",
        "--workers",
        "4",
        "--think-time",
        "20ms",
        "--run-time",
        "3s",
        "--json",
        "summary.json",
    ];
    args.extend(["--http01-listen", "127.0.0.1:0", "--consumer", &url, "--consumer-interval", "300ms"]);
    args.extend(ca.target());
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("consumer"), "{}", said(&output));
    consumer.finish();

    let summary = summary(folder.path());
    let live = query(&database, "load_testing", LIVE);
    assert!(live.len() >= 5, "{live:?}");
    let (first, last) = (&live[0], live.last().unwrap());
    assert_eq!(first["time"], summary["run"]["started_unix_ns"]);
    assert_eq!((&first["run"], &first["clients"]), (&summary["run"]["id"], &json!(4)));
    assert_eq!(first["targetHost"], summary["run"]["target"]);
    let count = |key: &str| {
        summary["endpoints"].as_array().unwrap().iter().map(|of| of[key].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(last["requests"], json!(count("count") - count("cut_off")));
    assert_eq!((&last["failures"], &last["state"]), (&json!(count("failed")), &json!("stopped")));
    let requests: Vec<_> = live.iter().map(|point| point["requests"].as_u64().unwrap()).collect();
    assert!(requests.is_sorted() && requests[requests.len() / 2] > 0, "{requests:?}");
    let results = query(&database, "load_testing", RESULT);
    let order =
        summary["endpoints"].as_array().unwrap().iter().find(|of| of["endpoint"] == "newOrder").unwrap();
    let point = results.iter().find(|point| point["name"] == "newOrder").unwrap();
    assert_eq!((&point["num_requests"], &point["method"]), (&order["count"], &json!("POST")));
    let milliseconds = order["response_time_ns"]["mean"].as_u64().unwrap() as f64 / 1e6;
    assert!((point["avg_response_time"].as_f64().unwrap() - milliseconds).abs() < 1e-6);
    assert!(point["min_response_time"].as_f64() <= point["median_response_time"].as_f64());
    assert!(point["avg_content_length"].as_f64().unwrap() > 0.0);

    let run_id = summary["run"]["id"].as_str().unwrap();
    let (log, at) = (format!("results/{run_id}.jsonl"), database.url());
    let args =
        ["export", "influx", &log, "--influx", &at, "--influx-database", "again", "--interval", "300ms"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(query(&database, "again", LIVE), live);
    assert_eq!(query(&database, "again", RESULT), results);
    let output = run(folder.path(), &["export", "influx", &log]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn analytics_serves_a_consumer_and_reports_the_runs_of_its_requesters() {
    let (folder, database) = (tempfile::tempdir().unwrap(), database());
    let ca = NullCa::start(folder.path(), &["--no-verify"]);
    let board = format!("sqlite://{}", folder.path().join("board.sqlite").display());
    let (consumer, results, influx) = (free(), free(), database.url());
    let url = format!("http://{consumer}");
    let mut args = vec!["analytics", "--once", "--board", &board, "--listen", "127.0.0.1:0"];
    args.extend(["--grpc-listen", &results, "--consumer-listen", &consumer, "--influx", &influx]);
    args.extend(["--consumer", &url, "--consumer-interval", "300ms"]);
    let mut analytics = wec(folder.path(), &args);
    analytics.env("WEC_CONSUMER_TOKEN", "s3cret").stdout(Stdio::null());
    let mut analytics = Consumer { child: analytics.spawn().unwrap(), address: consumer.clone() };
    until("analytics listens", || TcpStream::connect(&results).is_ok());
    assert!(http(&consumer, "GET /apiv0.1/ping", "").contains("a token is needed"));
    let results = format!("http://{results}");
    let mut args = vec!["requester", "--board", &board, "--analytics", &results, "--workers", "2"];
    args.extend(["--run-time", "2s", "--think-time", "20ms", "--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(analytics.child.wait().unwrap().success());
    let live = query(&database, "load_testing", LIVE);
    assert!(live.len() >= 3 && live.last().unwrap()["state"] == "stopped", "{live:?}");
    assert!(live.last().unwrap()["requests"].as_u64().unwrap() > 0);
    assert!(!query(&database, "load_testing", RESULT).is_empty());
}

#[test]
fn a_job_outlives_a_consumer_that_was_killed() {
    let (folder, database) = (tempfile::tempdir().unwrap(), database());
    let mut first = Consumer::start(folder.path(), &database, "200ms");
    let body = json!({ "startedAt": 1_785_585_600, "measurement": { "fields": { "clients": 1 } } });
    let answer = http(&first.address, "POST /apiv0.1/events/register", &body.to_string());
    let uuid = serde_json::from_str::<Value>(&answer).unwrap()["uuid"].as_str().unwrap().to_owned();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let before = query(&database, "load_testing", "SELECT * FROM load_testing").len();
    let second = Consumer::start(folder.path(), &database, "200ms");
    until("the job writes points again", || {
        let points =
            query(&database, "load_testing", &format!("SELECT * FROM load_testing WHERE run = '{uuid}'"));
        points.len() > before
    });
    second.finish();
}

#[test]
fn a_consumer_that_is_away_does_not_disturb_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", free());
    // Long enough for a certificate on a busy machine, as below.
    let args = ["demo", "--headless", "--run-time", "5s", "--consumer", &url, "--consumer-interval", "200ms"];
    let output = run(folder.path(), &args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("the consumer at {url} does not accept reports")), "{said}");
    assert!(said.contains(&format!("the consumer at {url} has no result of this run")), "{said}");
    assert!(said.contains("it also missed"), "{said}");
}

#[test]
fn a_webhook_gets_the_verdict_and_is_tried_twice() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/services/s3cret", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        ["500 Internal Server Error", "200 OK"].map(|status| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while {
                line.clear();
                request.read_line(&mut line).unwrap()
            } > 2
            {
                let header = line.to_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            request.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()["text"].as_str().unwrap().to_owned()
        })
    });
    // Long enough for a certificate on a busy machine: a run that issues none has not passed.
    let args =
        ["demo", "--headless", "--run-time", "4s", "--webhook", &url, "--threshold", "chain{count} > 0"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("webhook"), "{}", said(&output));
    let [first, second] = serving.join().unwrap();
    assert_eq!(first, second);
    let lines: Vec<_> = first.lines().collect();
    assert!(lines[0].starts_with("wec run passed: https://"), "{first}");
    assert!(lines[1].starts_with("Issued "), "{first}");
    assert!(lines[2].contains("chain{count}"), "{first}");
    assert!(lines.last().unwrap().starts_with("log: results/"), "{first}");
    // A server of others keeps what it gets.
    let notices = within(Notices::start()).unwrap();
    let (there, mut elsewhere) = (notices.url(), args);
    elsewhere[5] = &there;
    let output = run(folder.path(), &elsewhere);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("webhook"), "{}", said(&output));
    let received = texts(&notices);
    let [text] = &received[..] else { panic!("{received:?}") };
    assert_eq!(text.lines().count(), first.lines().count());
    assert!(text.starts_with("wec run passed: https://"), "{text}");
    // Nobody answers there any more.
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("did not accept the notice"), "{}", said(&output));
    assert!(!said(&output).contains("s3cret"), "{}", said(&output));
}

/// The text of each notice that was received.
fn texts(notices: &Notices) -> Vec<String> {
    let text = |notice: String| {
        let body = notice.strip_prefix("POST /services/s3cret application/json ").unwrap().to_owned();
        serde_json::from_str::<Value>(&body).unwrap()["text"].as_str().unwrap().to_owned()
    };
    notices.received().unwrap_or_default().into_iter().map(text).collect()
}

#[test]
fn a_run_whose_disk_is_full_has_not_passed_by_its_notice_and_keeps_its_page() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("results")).unwrap();
    let notices = within(Notices::start()).unwrap();
    let url = notices.url();
    let mut args = vec!["demo", "--run-time", "3s", "--listen", "127.0.0.1:0", "--keep-page", "on"];
    args.extend(["--webhook", &url, "--page-url", "https://load.test/wec/"]);
    let run = wec(folder.path(), &args);
    let script = r#"mount -t tmpfs -o size=32k none results && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .current_dir(folder.path());
    command.arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut run = Run::with(command);
    run.until_says("is not complete, but the summary above is");
    run.until_kept();
    let shown = run.snapshot();
    assert!(shown["requests"].as_u64().unwrap() > 0, "{shown}");
    let texts = texts(&notices);
    let [text] = &texts[..] else { panic!("{texts:?}") };
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("wec run ended with an error: https://"), "{text}");
    assert!(lines[1].starts_with("error: the log is not complete: ") && lines[1].contains("space"), "{text}");
    let id = shown["run"]["id"].as_str().unwrap();
    assert_eq!(lines.last().unwrap(), &format!("page: https://load.test/wec/?run={id}"), "{text}");
    signal(&run.child, "-INT");
    assert_eq!(run.child.wait().unwrap().code(), Some(1));
}

#[test]
fn analytics_posts_a_notice_of_each_run() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, notices) = (NullCa::start(folder.path(), &["--no-verify"]), within(Notices::start()).unwrap());
    let board = format!("sqlite://{}", folder.path().join("board.sqlite").display());
    let (results, webhook) = (free(), notices.url());
    let mut args = vec!["analytics", "--board", &board, "--listen", "127.0.0.1:0", "--grpc-listen", &results];
    args.extend(["--webhook", &webhook, "--page-url", "https://load.test/"]);
    let child = wec(folder.path(), &args).stdout(Stdio::null()).spawn().unwrap();
    let mut analytics = Consumer { child, address: results.clone() };
    until("analytics listens", || TcpStream::connect(&results).is_ok());
    let to = format!("http://{results}");
    for runs in 1..=2 {
        let mut args = vec!["requester", "--board", &board, "--analytics", &to, "--workers", "2"];
        args.extend(["--run-time", "2s", "--think-time", "20ms", "--http01-listen", "127.0.0.1:0"]);
        args.extend(ca.target());
        let output = run(folder.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        if runs == 1 {
            // The service goes on.
            until("the notice of a run that has ended", || texts(&notices).len() == 1);
        }
    }
    // Its own end comes when it knows that the second run has ended, too: the board says so, not the requester.
    let stopped = || {
        let logs = std::fs::read_dir(folder.path().join("results")).unwrap().map(|log| log.unwrap().path());
        let texts = logs.filter_map(|log| std::fs::read_to_string(log).ok());
        texts.filter(|text| text.contains("\"to\":\"stopped\"")).count()
    };
    until("both runs are stopped", || stopped() == 2);
    signal(&analytics.child, "-TERM");
    assert_eq!(analytics.child.wait().unwrap().code(), Some(0));
    let texts = texts(&notices);
    let pages: std::collections::BTreeSet<_> = texts.iter().filter_map(|text| text.lines().last()).collect();
    assert!(texts.len() == 2 && pages.len() == 2, "{texts:?}");
    assert!(pages.iter().all(|page| page.starts_with("page: https://load.test/?run=")), "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with("wec run passed: https://")), "{texts:?}");
}

/// A listener that nothing may call, and how often it was called.
fn trap() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (url, calls)
}

#[test]
fn only_a_process_s_own_flags_decide_where_data_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (url, calls) = trap();
    let ca = NullCa::start(folder.path(), &["--no-verify"]);
    // A plan.
    for key in ["consumer", "influx", "observe", "otlp", "webhook"] {
        std::fs::write(folder.path().join("plan.toml"), format!("{key} = \"{url}\"\n")).unwrap();
        let mut args = vec!["run", "--headless", "--run-time", "1s", "--config", "plan.toml"];
        args.extend(ca.target());
        let output = run(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let why = if key == "influx" { "unknown key" } else { "is a flag only" };
        assert!(said(&output).contains(why), "{key}: {}", said(&output));
    }
    // A session.
    let mut running = Run::start(folder.path(), &ca, &["--workers", "1", "--consumer-interval", "100ms"]);
    for key in ["consumer", "consumer_token", "influx", "observe", "otlp", "webhook"] {
        for path in ["current", "current/scenarios/default"] {
            let change = json!({ key: url, "workers": 1 }).to_string();
            let (status, answer) = running.http(&format!("PATCH /api/v1/sessions/{path}"), &change);
            assert!((400..500).contains(&status), "{key}: {status} {answer}");
        }
    }
    running.until_chains(5);
    running.told(folder.path(), &["stop"]);
    assert!(running.child.wait().unwrap().success());
    // A log, which is shown and read.
    let run_id = summary(folder.path())["run"]["id"].as_str().unwrap().to_owned();
    let path = folder.path().join(format!("results/{run_id}.jsonl"));
    let log = std::fs::read_to_string(&path).unwrap();
    let (header, rest) = log.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    for key in ["consumer", "influx", "observe", "otlp", "webhook"] {
        header[key] = json!(url);
        header["stamp"][key] = json!(url);
        header["stamp"]["scenario"][key] = json!(url);
    }
    std::fs::write(&path, format!("{header}\n{rest}")).unwrap();
    let report = run(folder.path(), &["report", path.to_str().unwrap()]);
    assert_eq!(report.status.code(), Some(0), "{}", said(&report));
    let mut served = wec(folder.path(), &["serve", "results", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(served.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let page = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let shown = http(&page, &format!("GET /api/v1/runs/{run_id}/snapshot"), "");
    assert!(shown.contains(&run_id), "{shown}");
    signal(&served, "-TERM");
    served.wait().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// What a collector forwards, read by the official message classes of OpenTelemetry, is what the run printed.
#[test]
fn a_collector_takes_every_export_and_forwards_the_figures_of_the_run() {
    let (folder, python) = (tempfile::tempdir().unwrap(), wec_testbed::python().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wec/otlp_collector.py");
    let receiver = Process::start_with("python", |_| {
        let mut command = Command::new(&python);
        command.arg(&script);
        Ok(command)
    });
    let receiver = receiver.unwrap();
    until("the receiver listens", || receiver.log().contains('\n'));
    let collector = within(Rotel::start(receiver.log().trim())).unwrap();
    let ca = NullCa::start(folder.path(), &["--no-verify"]);
    let (url, mut args) = (
        collector.url(),
        vec!["run", "--headless", "--workers", "4", "--think-time", "20ms", "--run-time", "2s"],
    );
    args.extend(["--http01-listen", "127.0.0.1:0", "--otlp", &url, "--otlp-interval", "300ms"]);
    args.extend(["--json", "summary.json"]);
    args.extend(ca.target());
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("collector"), "it refused an export: {}", said(&output));
    let summary = summary(folder.path());
    let requests = |export: &Value| {
        let points = export["metrics"]["wec_http_requests"]["points"].as_array().into_iter().flatten();
        points.map(|point| point["value"].as_f64().unwrap()).sum::<f64>()
    };
    let received = || -> Vec<Value> {
        let log = receiver.log();
        let whole = log.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {log}")))
            .collect()
    };
    // The last one is sent at the end of the run.
    until("the last export arrives", || received().last().map(requests) == summary["requests"].as_f64());
    let received = received();
    assert!(received.len() >= 3, "{} exports", received.len());

    let last = received.last().unwrap();
    assert_eq!(last["resource"]["service.name"], "wile-e-coyote");
    assert_eq!(last["resource"]["wec.run"], summary["run"]["id"]);
    let points = |name: &str| last["metrics"][name]["points"].as_array().unwrap().iter();
    let chains = summary["chains"].as_object().unwrap().iter();
    for (chain, figures) in chains.filter(|(_, figures)| figures["count"].as_u64() > Some(0)) {
        let of_chain = |point: &&Value| point["labels"]["chain"] == **chain;
        let count = points("wec_chains").find(of_chain).unwrap();
        assert_eq!(count["value"].as_f64(), figures["count"].as_f64(), "{chain}");
        let (times, n) =
            (points("wec_chain_response_time").find(of_chain).unwrap(), &figures["response_time_ns"]["n"]);
        assert_eq!(&times["count"], n, "{chain}");
        let mean = times["sum"].as_f64().unwrap() / n.as_f64().unwrap() * 1e9;
        assert!(
            (mean - figures["response_time_ns"]["mean"].as_f64().unwrap()).abs() < 2.0,
            "{chain}: {mean}"
        );
    }
    assert_eq!(last["metrics"]["wec_chain_response_time"]["unit"], "s");
}
