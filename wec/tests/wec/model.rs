//! `wec model`: what nginx logged of a load, as a scenario, and the same load from it again.
//!
//! `WEC_MODEL_SECONDS=180 WEC_MODEL_RATE=300/s` is the long form of `scripts/soak`, with a table of its figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use wec_model::{Counts, Model, ModelSettings, Paths};
use wec_record::{ChainResult, Purpose, Record};
use wec_testbed::{Nginx, NginxOptions};

use crate::common::{self, NullCa};

const SECOND: u64 = 1_000_000_000;
/// The length of a window in which requests are compared.
const WINDOW: u64 = 10 * SECOND;
/// Requests from which a window counts.
const ENOUGH: u64 = 1_000;

/// Requests without polls, by endpoint and window.
type Windows = BTreeMap<String, BTreeMap<u64, u64>>;

/// The chains of a log, and the wall clock of the origin of their times.
fn chains(folder: &Path) -> Vec<(u64, ChainResult)> {
    let of_chain = |record| match record {
        Record::Chain { origin_unix_ns, result, .. } => Some((origin_unix_ns, result)),
        _ => None,
    };
    common::log(folder).into_iter().filter_map(of_chain).collect()
}

fn windows(chains: &[(u64, ChainResult)], begin: u64, length: u64) -> Windows {
    let mut windows = Windows::new();
    for (origin, chain) in chains {
        for request in chain.requests.iter().filter(|request| request.purpose != Purpose::Poll) {
            let at = (origin + request.sent).saturating_sub(begin);
            *windows.entry(request.endpoint.to_string()).or_default().entry(at / length).or_default() += 1;
        }
    }
    windows
}

fn wec(folder: &Path, args: &[&str]) -> Output {
    let output = common::run(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", common::said(&output));
    output
}

fn setting(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_nginx_logged_is_driven_again() {
    let seconds: u64 = setting("WEC_MODEL_SECONDS", "4").parse().expect("a number of seconds");
    let rate = setting("WEC_MODEL_RATE", "20/s");
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ca = NullCa::start(first.path(), &[]);
    let nginx = Nginx::start(&ca.address(), NginxOptions::default()).await.unwrap();
    let directory = format!("{}/directory", nginx.http1_url());
    let root = nginx.ca_file().display().to_string();
    let run_time = format!("{seconds}s");
    let common =
        ["--cacert", &root, "--headless", "--state", "sqlite::memory:", "--http01-listen", "127.0.0.1:0"];
    let load = [
        "run",
        "--directory",
        &directory,
        "--rate",
        &rate,
        "--run-time",
        &run_time,
        "--names-per-order",
        "1..2",
    ];
    wec(first.path(), &[&load[..], &common].concat());

    // Both logs have the same requests; the one in JSON has finer times.
    let [combined, json] = nginx.access_logs();
    let counted = [&combined, &json].map(|log| {
        let mut counts = Counts::new(Paths::default(), 100_000);
        let skipped = wec_model::read(std::slice::from_ref(log), &mut counts).unwrap();
        assert_eq!((skipped.other, skipped.unreadable), (0, 0));
        counts
    });
    assert_eq!(counted[0].requests(), counted[1].requests());
    let begin = counted[1].span().expect("there were requests").0 / SECOND * SECOND;

    let file = second.path().join("model.toml");
    let (file, log) = (file.display().to_string(), json.display().to_string());
    let args = ["model", &log, "-o", &file, "--directory", &directory, "--settle", "3s", "--steps", "100000"];
    let told = common::said(&wec(second.path(), &args));
    assert!(told.contains("Clients: wile-e-coyote 100.0 %"), "{told}");
    wec(second.path(), &[&["run", "--config", &file][..], &common].concat());

    let recorded = chains(first.path());
    let (mut driven, prepared): (Vec<_>, Vec<_>) =
        chains(second.path()).into_iter().partition(|(_, chain)| !chain.scenario.starts_with("prepare-"));
    assert!(!prepared.is_empty(), "{told}");
    driven.sort_by_key(|(origin, chain)| origin + chain.due);
    // The first start in the model is due at the begin of its step.
    let model = Model::of(&counted[1], ModelSettings::default()).unwrap();
    let (starts, width) = model.starts();
    assert_eq!(width, 1, "the log is short");
    let step = starts.iter().filter_map(|starts| starts.counts.iter().position(|count| *count > 0)).min();
    let first_due = driven.first().map(|(origin, chain)| origin + chain.due).expect("chains ran");
    let driven_begin = first_due - step.expect("chains start") as u64 * SECOND;
    assert!(driven.iter().all(|(_, chain)| chain.successful), "{driven:?}");

    // All requests of the short form are in one window.
    let (length, enough) = if seconds < 10 { (60 * SECOND, 1) } else { (WINDOW, ENOUGH) };
    let (recorded, driven) = (windows(&recorded, begin, length), windows(&driven, driven_begin, length));
    let renewals = recorded.get("renewalInfo").map_or(0, |windows| windows.values().sum());
    let mut compared = 0;
    eprintln!("{:<14}{:>8}{:>12}{:>12}{:>10}", "endpoint", "window", "recorded", "driven", "differs");
    // How many nonces are needed beside those in answers depends on how many requests are under way.
    for (endpoint, of_log) in recorded.iter().filter(|(endpoint, _)| *endpoint != "newNonce") {
        for (window, asked) in of_log.iter().filter(|(_, asked)| **asked >= enough) {
            let again = driven.get(endpoint).and_then(|windows| windows.get(window)).copied().unwrap_or(0);
            let differs = again as f64 / *asked as f64 - 1.0;
            eprintln!("{endpoint:<14}{window:>8}{asked:>12}{again:>12}{:>8.2} %", differs * 100.0);
            // In the short form a single request is more than three per cent, and whether each of the few renewed
            // certificates has one name or two is chance.
            let of_names = matches!(endpoint.as_str(), "authorization" | "challenge");
            let few = match seconds {
                10.. => 0,
                _ if of_names => 3 + renewals,
                _ => 3,
            };
            assert!(
                differs.abs() <= 0.03 || asked.abs_diff(again) <= few,
                "{endpoint}, window {window}: {asked} and {again}\n{told}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 5, "{recorded:?}");
}

#[test]
fn a_model_reports_what_it_left_out_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    let order =
        r#"192.0.2.7 - - [29/Nov/2026:22:58:44 +0000] "POST /v2/requests HTTP/1.1" 201 9 "-" "certbot/2""#;
    write("access.log", &format!("{order}\nhello\n{order}\n"));
    write("ca.log.gz", "\u{1f}");
    std::fs::write(path.join("ca.log.gz"), [0x1f, 0x8b, 8, 0]).unwrap();

    let output = common::run(path, &["model", "access.log", "--map", "/v2/requests=newOrder"]);
    let (told, file) = (common::said(&output), String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains(
            "1 of 3 lines cannot be read and are left out:\n  access.log, line 2: none of the known formats"
        ),
        "{told}"
    );
    assert!(file.contains("[scenarios.authorization]") && !file.contains("192.0.2.7"), "{file}");
    for (args, code, part) in [
        (
            &["access.log"][..],
            1,
            "to paths that are no ACME server's, such as /v2/requests: name the CA's with --map",
        ),
        (&["ca.log.gz"], 1, "ca.log.gz is compressed by gzip"),
        (&["no-such.log"], 1, "cannot read no-such.log"),
        (&["access.log", "-o", "access.log"], 1, "access.log is the log access.log: name another file"),
        (&["-", "-"], 2, "standard input can be read only once"),
        (&["access.log", "--map", "/v2=orderly"], 2, "the endpoints are directory, newNonce"),
    ] {
        let output = common::run(path, &[&["model"], args].concat());
        let told = common::said(&output);
        assert!(
            output.status.code() == Some(code) && told.contains(part),
            "{args:?}: {:?} {told}",
            output.status
        );
    }
}
