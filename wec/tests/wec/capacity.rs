//! `wec capacity` finds the highest rate that a CA sustains. The true capacity of the CA is known: it serves a set number of
//! requests per second, one after the other.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wec_record::{Mark, MarkBy, MarkValue, MarkWhat, Record};
use wec_testbed::{Caddy, Pebble, PebbleOptions, Standard};

use crate::common::{ONLY_REGISTRATIONS, Run};

/// Short steps, and bounds on the load tester that a busy machine does not exceed.
const USUAL: [&str; 14] = [
    "--headless",
    "--json",
    "summary.json",
    "--http01-listen",
    "127.0.0.1:0",
    "--limited-lag",
    "10m",
    "--limited-backlog",
    "100%",
    "--step-time",
    "3s",
    "--hold",
    "2s",
    "--spacing=even",
];
const SETTLE: [&str; 4] = ["--settle", "3s..9s", "--limited-cpu", "100%"];

/// Each chain is one request to newAccount.
fn only_registrations() -> [&'static str; 2] {
    ["--weight", &ONLY_REGISTRATIONS]
}

fn capacity(folder: &Path, target: &[&str], flags: &[&str]) -> Output {
    crate::common::run(folder, &[&["capacity"], target, &USUAL, &only_registrations(), flags].concat())
}

fn steps(found: &Value) -> Vec<(f64, &str)> {
    let steps = found["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["rate"].as_f64().unwrap(), step["verdict"].as_str().unwrap())).collect()
}

#[test]
fn the_knee_of_a_ca_whose_capacity_is_known_is_within_its_width_of_the_truth() {
    const TRUTH: f64 = 22.5;
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--serve", "newAccount=22.5/s"]);
    let flags = ["--from", "5/s", "--resolution", "20%", "--junit", "junit.xml"];
    let output = capacity(folder.path(), &ca.target(), &[&SETTLE[..], &flags].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(text.contains("Knee: ") && text.contains("well below the knee"), "{text}");

    let found = crate::common::summary(folder.path());
    let [knee, above, width] = ["knee", "above", "width"].map(|key| found[key].as_f64().unwrap());
    assert!(knee - width <= TRUTH && TRUTH <= above + width, "{knee} to {above}: {found}");
    assert!(width <= 0.2 * above + 1e-9, "{found}");
    assert_eq!(found["ended"], "narrow");
    assert_eq!(found["hold"]["verdict"], "sustained");
    let steps = steps(&found);
    assert!(steps.contains(&(5.0, "sustained")) && steps.contains(&(40.0, "failed")), "{steps:?}");
    for step in found["steps"].as_array().unwrap() {
        if step["verdict"] == "sustained" {
            let (rate, reached) = (step["rate"].as_f64().unwrap(), step["reached"].as_f64().unwrap());
            assert!((reached / rate - 1.0).abs() < 0.35, "the rate in a window of 3 s is off: {step}");
        }
    }
    // The whole search is one run, with a mark for every change.
    let log = crate::common::log(folder.path());
    let rates = log.iter().filter(|record| {
        matches!(record, Record::Mark(mark) if mark.by == MarkBy::Capacity && mark.what == MarkWhat::Rate)
    });
    assert!(rates.count() >= steps.len());
    let junit = std::fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    assert!(junit.contains("tests=\"2\" failures=\"0\" errors=\"0\""), "{junit}");
}

/// One order in five is answered with half of a body at every rate. This is above the usual bound of 1 % and does not depend on
/// the load. Counted like failures by overload, it once ended the search at the first step with enough of them.
#[test]
fn failures_that_do_not_depend_on_the_load_do_not_lower_the_knee() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--fault", "newOrder=truncated:0.2"]);
    let flags = ["--from", "5/s", "--to", "20/s", "--hold-at", "off", "--weight", "authorization=1"];
    let output = capacity(folder.path(), &ca.target(), &[&SETTLE[..], &flags].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Failures that do not depend on the load"), "{text}");
    let found = crate::common::summary(folder.path());
    // A step may fail for another reason: by chance one window in twenty shows a rise, and the machine may be busy.
    for step in found["steps"].as_array().unwrap() {
        let reasons = step["reasons"].as_array().unwrap();
        assert!(!reasons.iter().any(|reason| reason.as_str().unwrap().contains("{failed}")), "{step}");
    }
    let failures =
        found["steps"].as_array().unwrap().iter().flat_map(|step| step["failures"].as_array().unwrap());
    let failures: Vec<_> = failures.collect();
    assert!(!failures.is_empty(), "{found}");
    for failure in failures {
        assert_eq!(
            (&failure["class"], &failure["depends_on_load"]),
            (&json!("malformed"), &json!(false)),
            "{found}"
        );
    }
}

/// The hold starts at the last moment, so there is no time to repeat one that a busy machine disturbed. Any verdict is accepted,
/// and the exit code must agree with it.
#[test]
fn the_hold_is_within_the_time_of_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--serve", "newAccount=200/s"]);
    let flags = ["--from", "2/s", "--step", "x1.1", "--max-time", "45s"];
    let output = capacity(folder.path(), &ca.target(), &[&SETTLE[..], &flags].concat());
    let found = crate::common::summary(folder.path());
    assert_eq!(found["ended"], "out-of-time", "{found}");
    let hold = found["hold"]["over_ns"].as_u64();
    assert!(hold.is_some_and(|hold| hold >= 2_000_000_000), "{}\n{found}", crate::common::said(&output));
    let expected = if found["hold"]["verdict"] == "sustained" { 0 } else { 99 };
    assert_eq!(output.status.code(), Some(expected), "{}\n{found}", crate::common::said(&output));
}

/// A null CA at a fixed address, which the test kills and starts again.
struct Fragile {
    folder: PathBuf,
    address: String,
    child: Child,
}

impl Fragile {
    fn start(folder: &Path) -> Self {
        let address = crate::common::free();
        let child = Self::spawn(folder, &address);
        Self { folder: folder.to_owned(), address, child }
    }

    /// Over plain HTTP, because each start would make another root.
    fn spawn(folder: &Path, address: &str) -> Child {
        let mut command = crate::common::wec(folder, &["null-ca", "--plain", "--listen", address]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert!(line.starts_with("http://"), "the CA did not start: {line:?}");
        child
    }

    fn directory(&self) -> String {
        format!("http://{}/directory", self.address)
    }

    fn fall(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn rise(&mut self) {
        self.child = Self::spawn(&self.folder, &self.address);
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The present rate of the session, by the marks in the log.
fn rate_now(folder: &Path) -> f64 {
    let mut rates =
        crate::common::log_so_far(&folder.join("results")).into_iter().filter_map(|record| match record {
            Record::Mark(Mark { to: MarkValue::Rate(rate), .. }) => Some(rate),
            _ => None,
        });
    rates.next_back().unwrap_or(0.0)
}

/// Runs a search against a CA that is killed when the rate reaches `most`, and is started again, if `rises`, when the load
/// has ended.
#[expect(clippy::disallowed_methods, reason = "no runtime waits here")]
fn search_of_a_fragile_ca(most: f64, rises: bool, flags: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut ca = Fragile::start(folder.path());
    let directory = ca.directory();
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        let search = scope.spawn(|| {
            let output =
                capacity(folder.path(), &["--directory", &directory], &[&SETTLE[..], flags].concat());
            over.store(true, Ordering::Relaxed);
            output
        });
        let mut up = true;
        while !over.load(Ordering::Relaxed) {
            let rate = rate_now(folder.path());
            if up && rate >= most {
                ca.fall();
                up = false;
            } else if !up && rates_are_over(rate) && rises {
                ca.rise();
                up = true;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        search.join().unwrap()
    });
    let found = crate::common::summary(folder.path());
    (output, found)
}

/// Whether the rate is at most the low rate of a recovery.
fn rates_are_over(rate: f64) -> bool {
    rate <= 5.0
}

#[test]
fn a_search_continues_after_the_ca_went_down_and_holds_below_the_knee() {
    let flags = ["--from", "10/s", "--resolution", "30%", "--recover", "60s"];
    let (output, found) = search_of_a_fragile_ca(40.0, true, &flags);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let steps = steps(&found);
    let down: Vec<_> = steps.iter().filter(|(_, verdict)| *verdict == "ca-down").collect();
    assert_eq!(down, [&(40.0, "ca-down")], "the CA went down once, and the rate was not repeated: {steps:?}");
    assert!(said.contains("the CA recovered after"), "{said}");
    assert!(found["knee"].as_f64().unwrap() < 40.0 && found["above"].as_f64() <= Some(40.0), "{steps:?}");
    assert_eq!(found["hold"]["verdict"], "sustained", "{}", found["hold"]);
    let fell = found["steps"].as_array().unwrap().iter().find(|step| step["verdict"] == "ca-down").unwrap();
    assert!(fell["recovered_after_ns"].as_u64().is_some(), "{fell}");
}

#[test]
fn a_ca_that_does_not_recover_ends_the_search_with_the_known_result() {
    let flags = ["--from", "10/s", "--recover", "6s"];
    let (output, found) = search_of_a_fragile_ca(20.0, false, &flags);
    assert_eq!(output.status.code(), Some(99), "{}", crate::common::said(&output));
    assert_eq!((found["ended"].as_str(), found["knee"].as_f64()), (Some("ca-gone"), Some(10.0)), "{found}");
    assert_eq!((found["above"].as_f64(), &found["hold"]), (Some(20.0), &Value::Null));
    let text = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(text.contains("did not recover within 6s"), "{text}");
}

#[test]
fn a_generator_limited_step_is_no_verdict_on_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    // Any run uses more than a thousandth of a processor.
    let flags = ["--from", "20/s", "--settle", "4s..9s", "--limited-cpu", "0.1%", "--strict"];
    let output = capacity(folder.path(), &ca.target(), &flags);
    assert_eq!(output.status.code(), Some(108), "{}", crate::common::said(&output));
    let found = crate::common::summary(folder.path());
    assert_eq!((found["ended"].as_str(), &found["knee"]), (Some("generator-limited"), &Value::Null));
    assert_eq!(
        steps(&found),
        [(20.0, "generator-limited"); 2],
        "the step is repeated once, then the search ends"
    );
    let reason = found["steps"][0]["reasons"][0].as_str().unwrap();
    assert!(reason.contains("worker thread"), "{reason}");
}

#[test]
fn the_first_interrupt_ends_the_search_and_reports_the_known_result() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let rates = ["--from", "10/s", "--step", "10/s"];
    let args = [&["capacity"], &ca.target()[..], &USUAL, &only_registrations(), &SETTLE, &rates].concat();
    let run = crate::common::wec(folder.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = crate::common::Running(Some(run));
    crate::common::until("the second step has begun", || rate_now(folder.path()) >= 20.0);
    let output = run.interrupt();
    assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
    let text = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(text.contains("Knee: at least 10 chains/s") && text.contains("interrupted"), "{text}");
    let found = crate::common::summary(folder.path());
    assert_eq!((found["ended"].as_str(), found["knee"].as_f64()), (Some("cut"), Some(10.0)));
}

/// A search of one rate, 5/s, at a CA that serves 22.5/s, with a page through which the test interferes.
fn search_with_a_page(folder: &Path, ca: &crate::common::NullCa) -> Run {
    let page = ["capacity", "--listen", "127.0.0.1:0"];
    let rates = ["--from", "5/s", "--to", "5/s"];
    // All flags but the first, which disables the page.
    let args = [&page[..], &ca.target(), &USUAL[1..], &only_registrations(), &SETTLE, &rates].concat();
    Run::of(folder, &args)
}

/// The result of a search with this number of disturbed steps.
fn found_in_spite_of(mut run: Run, folder: &Path, disturbed: u64) -> Value {
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let found = crate::common::summary(folder);
    assert_eq!(found["disturbed"], disturbed, "{found}");
    assert_eq!((found["ended"].as_str(), found["knee"].as_f64()), (Some("reached-to"), Some(5.0)), "{found}");
    assert_eq!(found["hold"]["verdict"], "sustained", "{}", found["hold"]);
    let judged =
        found["steps"].as_array().unwrap().iter().find(|step| step["verdict"] == "sustained").unwrap();
    // 5/s for 3 s.
    assert!(
        (10..=20).contains(&judged["due"].as_u64().unwrap()),
        "the window contains iterations from before the restart: {judged}"
    );
    found
}

#[test]
fn a_change_of_rate_restarts_a_step_and_a_change_of_weights_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let ca =
        crate::common::NullCa::start(folder.path(), &["--serve", "newAccount=22.5/s", "--latency", "100ms"]);
    let run = search_with_a_page(folder.path(), &ca);
    run.until_chains(8);
    // More than the CA serves: a step at this rate would fail.
    run.patch(json!({ "rate": 60 }));
    crate::common::until("the search holds the CA below the knee", || rate_now(folder.path()) == 4.0);
    run.told(folder.path(), &["weight", "registration=2"]);
    let found = found_in_spite_of(run, folder.path(), 2);
    assert!(found["steps"].as_array().unwrap().iter().all(|step| step["rate"] == 5.0), "{found}");
    let marks = crate::common::marks(folder.path());
    let rates: Vec<_> = marks.iter().filter(|(_, what, ..)| what == "rate").collect();
    let disturbance = rates.iter().position(|(by, ..)| by == "api").unwrap();
    assert_eq!(*rates[disturbance], crate::common::mark("api", "rate", "5", "60"));
    assert_eq!(*rates[disturbance + 1], crate::common::mark("capacity", "rate", "60", "5"));
}

#[test]
fn a_step_is_restarted_after_any_pause() {
    let folder = tempfile::tempdir().unwrap();
    let ca =
        crate::common::NullCa::start(folder.path(), &["--serve", "newAccount=22.5/s", "--latency", "100ms"]);
    let run = search_with_a_page(folder.path(), &ca);
    run.until_chains(8);
    run.told(folder.path(), &["pause"]);
    let (_, ended) = run.until_still();
    run.told(folder.path(), &["resume"]);
    run.until_chains(ended + 5);
    // The pause is over before the search looks at the session.
    for state in ["paused", "running"] {
        assert_eq!(run.http("PATCH /api/v1/sessions/current", &json!({ "state": state }).to_string()).0, 200);
    }
    found_in_spite_of(run, folder.path(), 2);
}

#[test]
fn all_errors_are_reported_at_once_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--from", "fast", "--settle", "5s", "--hold-at", "110%", "--rate", "5/s"];
    let output = capacity(folder.path(), &["--directory", "http://127.0.0.1:1/dir"], &flags);
    assert_eq!(output.status.code(), Some(2));
    let said = crate::common::said(&output);
    for part in ["--from: \"fast\"", "--settle: \"5s\"", "--hold-at: \"110%\"", "--rate: wec capacity"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!folder.path().join("results").exists());
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = "directory = \"http://127.0.0.1:1/dir\"\n[capacity]\nfrom = \"file\"\nto = \"file\"\nhold = \"file\"\nholdat = \"80%\"\n";
    std::fs::write(folder.path().join("s.toml"), file).unwrap();
    let said = |command: &[&str]| {
        let mut wec =
            crate::common::wec(folder.path(), &[command, &["--headless", "--config", "s.toml"]].concat());
        wec.env("WEC_CAPACITY_FROM", "environment").env("WEC_CAPACITY_TO", "environment");
        let output = wec.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", crate::common::said(&output));
        crate::common::said(&output)
    };
    let search = said(&["capacity", "--from", "flag"]);
    let beginnings = [
        "s.toml:6: capacity.holdat: unknown key; did you mean hold_at?",
        "--from: \"flag\"",
        "WEC_CAPACITY_TO: \"environment\"",
        "s.toml:5: capacity.hold: \"file\"",
    ];
    assert_eq!(search.lines().count(), beginnings.len(), "{search}");
    for beginning in beginnings {
        assert!(search.lines().any(|line| line.starts_with(beginning)), "{beginning}: {search}");
    }
    let run = said(&["run"]);
    // wec run has neither these flags nor their variables, but reports mistakes in the file.
    let beginnings = [
        "s.toml:6: capacity.holdat: unknown key",
        "s.toml:3: capacity.from: \"file\"",
        "s.toml:4: capacity.to: \"file\"",
        "s.toml:5: capacity.hold: \"file\"",
    ];
    assert_eq!(run.lines().count(), beginnings.len(), "{run}");
    for beginning in beginnings {
        assert!(run.lines().any(|line| line.starts_with(beginning)), "{beginning}: {run}");
    }
}

/// A search that ends with a verdict; its result. A machine that is busy with other work may slow the CA so much that it
/// sustains no rate: then the search reports this, and the exit code agrees.
fn short_search(folder: &Path, flags: &[&str]) -> Value {
    let mut args = vec!["capacity", "--headless", "--spacing", "even", "--limited-lag", "10m"];
    args.extend(["--limited-cpu", "100%", "--threshold", "chain{failed} < 1%"]);
    args.extend(["--settle", "3s..10s", "--step-time", "5s", "--hold", "3s", "--json", "summary.json"]);
    args.extend(flags);
    let output = crate::common::run(folder, &args);
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}\n{text}", crate::common::said(&output));
    let found = crate::common::summary(folder);
    match output.status.code() {
        Some(0) => assert!(found["knee"].as_f64().is_some(), "{found}"),
        Some(99) => assert!(found["knee"].is_null() || found["hold"]["verdict"] != "sustained", "{found}"),
        other => panic!("exit code {other:?}"),
    }
    found
}

/// Two workers: with three requests in flight Pebble 2.4 deadlocks sooner or later (docs/servers.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_short_search_against_pebble() {
    let folder = tempfile::tempdir().unwrap();
    let [http01, tlsalpn01, dns] = [(); 3].map(|()| wec_testbed::free_address());
    let pebble = Pebble::start(PebbleOptions {
        http_port: http01.port(),
        tls_port: tlsalpn01.port(),
        dns: Some(dns),
        ..PebbleOptions::default()
    })
    .await
    .unwrap();
    let (directory, cacert) = (pebble.directory_url(), pebble.ca_file().to_str().unwrap().to_owned());
    let [http01, tlsalpn01, dns] = [http01, tlsalpn01, dns].map(|address| address.to_string());
    let mut flags = vec!["--directory", &directory, "--cacert", &cacert];
    flags.extend(["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns]);
    // Two workers may be too few at times, which is not Pebble's fault.
    flags.extend(["--workers", "2", "--from", "1/s", "--to", "2/s"]);
    let found = short_search(folder.path(), &flags);
    assert!(found["knee"].is_null() || found["knee"].as_f64() >= Some(1.0), "{found}");
    assert!(found["summary"]["requests"].as_u64() > Some(0));
}

/// Caddy uses the system's resolver: here the run's own DNS, on a loopback address whose port 53 is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_search_against_caddy() {
    let folder = tempfile::tempdir().unwrap();
    let standard = Standard::reserve().unwrap();
    let caddy = Caddy::start(&standard).await.unwrap();
    let (directory, cacert) = (caddy.directory_url(), caddy.ca_file().to_str().unwrap().to_owned());
    let dns = standard.dns().to_string();
    let mut flags = vec!["--directory", &directory, "--cacert", &cacert, "--dns-listen", &dns];
    flags.extend(["--from", "2/s", "--to", "4/s", "--resolution", "50%"]);
    let found = short_search(folder.path(), &flags);
    assert!(found["knee"].is_null() || found["knee"].as_f64() >= Some(2.0), "{found}");
    assert!(crate::common::chain(&found["summary"], "certificate").0 > 0, "{}", found["summary"]["chains"]);
}
