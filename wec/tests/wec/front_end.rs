//! `wec run` against a CA behind nginx, which closes connections as front ends do.

use std::path::Path;

use serde_json::Value;
use wec_testbed::{Nginx, NginxOptions};

/// The built-in CA with nginx in front of it.
async fn behind_nginx(
    folder: &Path,
    flags: &[&str],
    options: NginxOptions,
) -> (crate::common::NullCa, Nginx) {
    let ca = crate::common::NullCa::start(folder, flags);
    let nginx = Nginx::start(&ca.address(), options).await.unwrap();
    (ca, nginx)
}

/// Runs a number of chains with many workers. Returns the exit code, standard error and the summary.
fn run(folder: &Path, url: &str, root: &Path, flags: &[&str]) -> (Option<i32>, String, Value) {
    let directory = if url.ends_with("/moved") { url.to_owned() } else { format!("{url}/directory") };
    let root = root.to_str().unwrap();
    let mut args =
        vec!["run", "--directory", &directory, "--cacert", root, "--headless", "--json", "summary.json"];
    args.extend(["--state", "sqlite::memory:", "--http01-listen", "127.0.0.1:0", "--run-time", "5m"]);
    args.extend(flags);
    let output = crate::common::run(folder, &args);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let said = format!("{stdout}{}", crate::common::said(&output));
    if !folder.join("summary.json").exists() {
        return (output.status.code(), said, Value::Null);
    }
    (output.status.code(), said, crate::common::summary(folder))
}

/// nginx ends each connection after 20 requests; each run makes many connections.
async fn graceful_ends(flags: &[&str], http2: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let options = NginxOptions { keepalive_requests: 20, ..NginxOptions::default() };
    let (_ca, nginx) = behind_nginx(folder.path(), &[], options).await;
    let url = if http2 { nginx.http2_url() } else { nginx.http1_url() };
    let mut all = vec!["--workers", "40", "--iterations", "400"];
    all.extend(flags);
    let (code, said, summary) = run(folder.path(), &url, &nginx.ca_file(), &all);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(summary["requests_failed"], 0, "{said}");
    assert!(
        summary["connections"]["new"].as_u64() > Some(20),
        "nginx has ended no connection: {}",
        summary["connections"]
    );
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_end_of_http2_connections_is_no_failure() {
    let summary = graceful_ends(&["--http", "2"], true).await;
    assert!(summary["connections"]["reconnects"].as_u64() > Some(0), "{}", summary["connections"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_end_of_each_workers_http2_connection_is_no_failure() {
    graceful_ends(&["--http", "2", "--connections", "per-worker"], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_end_of_http1_connections_is_no_failure() {
    graceful_ends(&[], false).await;
    graceful_ends(&["--connections", "per-worker"], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_urls_and_a_directory_that_has_moved_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let options = NginxOptions { relative: true, ..NginxOptions::default() };
    let (_ca, nginx) = behind_nginx(folder.path(), &[], options).await;
    let url = format!("{}/moved", nginx.http1_url());
    let flags = ["--workers", "4", "--iterations", "200"];
    let (code, said, summary) = run(folder.path(), &url, &nginx.ca_file(), &flags);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(summary["requests_failed"], 0, "{said}");
    assert!(crate::common::chain(&summary, "revoke").0 > 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_client_certificates_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let options = NginxOptions { client_certificates: true, ..NginxOptions::default() };
    let (_ca, nginx) = behind_nginx(folder.path(), &[], options).await;
    let (certificate, key) = nginx.client_files();
    let client = ["--client-cert", certificate.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    for (http, url) in [("1.1", nginx.http1_url()), ("2", nginx.http2_url())] {
        let mut flags = vec!["--workers", "4", "--iterations", "40", "--http", http];
        let (code, said, _) = run(folder.path(), &url, &nginx.ca_file(), &flags);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("demands a client certificate"), "{said}");
        assert!(said.contains("--client-cert and --client-key"), "{said}");
        flags.extend(client);
        let (code, said, summary) = run(folder.path(), &url, &nginx.ca_file(), &flags);
        assert_eq!((code, &summary["requests_failed"]), (Some(0), &Value::from(0)), "{said}");
        std::fs::remove_file(folder.path().join("summary.json")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_requests_can_be_found_in_the_cas_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let options = NginxOptions { request_id: Some("X-Request-Id"), ..NginxOptions::default() };
    let (_ca, nginx) = behind_nginx(folder.path(), &["--fault", "newOrder=500:0.5"], options).await;
    let flags = ["--workers", "4", "--iterations", "200", "--traceparent"];
    let (_, said, summary) = run(folder.path(), &nginx.http1_url(), &nginx.ca_file(), &flags);
    let lines = nginx.access_log().unwrap();
    let run = format!("run/{}\"", summary["run"]["id"].as_str().unwrap());
    let ours = lines.lines().filter(|line| line.contains(&run)).count() as u64;
    // The directory is read before the run begins and is not in its count.
    assert_eq!(Some(ours), summary["requests"].as_u64(), "{said}");

    let failures = summary["failures"].as_array().unwrap();
    let failure = failures.iter().find(|failure| failure["scope"] == "request" && failure["status"] == 500);
    let failure = failure.unwrap_or_else(|| panic!("none failed: {said}"));
    let [id, trace] = ["request_id", "traceparent"].map(|key| failure[key].as_str().unwrap());
    assert!(id.len() == 32 && trace.len() == 55, "{failure}");
    let line = lines.lines().find(|line| line.starts_with(id)).expect("nginx has logged the request id");
    assert!(line.contains(" 500 ") && line.contains(trace), "{line}");
    assert!(said.contains(id) && said.contains(trace), "the table shows both ids: {said}");

    let log = crate::common::log(folder.path());
    for result in crate::common::results(&log).filter(|result| !result.requests.is_empty()) {
        let traces: std::collections::BTreeSet<_> =
            result.requests.iter().map(|request| &request.traceparent[..35]).collect();
        assert_eq!(traces.len(), 1, "each chain has one trace");
        for request in &result.requests {
            assert_eq!(request.request_id.is_empty(), request.successful, "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_trusted_when_given_as_cacert() {
    let folder = tempfile::tempdir().unwrap();
    let options = NginxOptions { self_signed: true, ..NginxOptions::default() };
    let (ca, nginx) = behind_nginx(folder.path(), &[], options).await;
    let flags = ["--workers", "2", "--iterations", "10"];
    let (code, said, _) = run(folder.path(), &nginx.http1_url(), &nginx.ca_file(), &flags);
    assert_eq!(code, Some(0), "{said}");
    // Another root is not accepted instead.
    let other = ca.target()[3].to_owned();
    let (code, said, _) = run(folder.path(), &nginx.http1_url(), Path::new(&other), &flags);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--cacert"), "{said}");
}

#[test]
fn accounts_have_keys_of_each_configured_type() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--json", "summary.json", "--state", "sqlite::memory:"];
    args.extend([
        "--workers",
        "4",
        "--iterations",
        "80",
        "--run-time",
        "5m",
        "--http01-listen",
        "127.0.0.1:0",
    ]);
    args.extend(["--account-key-types", "rsa2048=3,p384,p256"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    let summary = crate::common::summary(folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    assert_eq!(summary["requests_failed"], 0, "{}", crate::common::said(&output));
    let scenario = &summary["run"]["stamp"]["scenario"]["scenarios"][0];
    assert_eq!(scenario["account_key_types"], "rsa2048=3,p384=1,p256=1");
}
