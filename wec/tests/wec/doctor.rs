//! `wec doctor` at real servers, with right and wrong configuration.

use std::path::Path;

use serde_json::Value;
use wec_testbed::{Caddy, Nginx, NginxOptions, Pebble, PebbleOptions, Standard};

/// Exit code and JSON of `wec doctor` with these flags.
fn examine(folder: &Path, flags: &[&str]) -> (i32, Value) {
    let mut args = vec!["doctor", "--json"];
    args.extend(flags);
    let output = crate::common::run(folder, &args);
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), found.unwrap_or_else(|_| panic!("{}", crate::common::said(&output))))
}

/// Level, text and way out of a check.
fn finding<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str, &'a str) {
    let all = report["findings"].as_array().unwrap();
    let found = all.iter().find(|one| one["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check}: {report:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    (text("level"), text("found"), text("way_out"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_pebble_is_found_right_and_the_way_to_each_listener_is_watched() {
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
    let (directory, root) = (pebble.directory_url(), pebble.ca_file().display().to_string());
    let target = ["--directory", &directory, "--cacert", &root];
    let (http01, tlsalpn01, dns) = (http01.to_string(), tlsalpn01.to_string(), dns.to_string());
    let listen = ["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns];
    let (code, report) = examine(folder.path(), &[&target[..], &listen].concat());
    assert_eq!((code, report["worst"].as_str()), (0, Some("warning")), "{report:#}");
    let (level, found, way_out) = finding(&report, "server");
    assert_eq!((level, way_out), ("warning", "give --workers 2"), "{found}");
    for check in ["trusted", "acme", "clock", "account", "challenges", "certificate", "cleanup", "open-files"]
    {
        assert_eq!(finding(&report, check).0, "ok", "{check}: {report:#}");
    }
    for check in ["http-01", "tls-alpn-01", "dns-01"] {
        let (level, found, _) = finding(&report, check);
        assert!(level == "ok" && found.contains("by 127.0.0.1"), "{check}: {found}");
        let asked = format!("{check} for doctor-");
        let steps = report["steps"].as_array().unwrap();
        let step = |by: &str, text: &str| {
            steps.iter().any(|step| step["by"] == by && step["what"].as_str().unwrap().starts_with(text))
        };
        assert!(step("CA", &asked) && step("wec", "challenge POST"), "{check}: {steps:#?}");
    }

    // No listener where the CA looks.
    let elsewhere = wec_testbed::free_address().to_string();
    let (code, report) = examine(folder.path(), &[&target[..], &["--http01-listen", &elsewhere]].concat());
    assert_eq!(code, 99, "{report:#}");
    let (level, found, way_out) = finding(&report, "http-01");
    assert!(level == "problem" && found.starts_with(&format!("no request reached {elsewhere}")), "{found}");
    assert!(way_out.contains("--dns-listen"), "{way_out}");

    // Another CA's root, and none. The run that fails points here.
    let other = Pebble::start(PebbleOptions::default()).await.unwrap();
    let wrong = other.ca_file().display().to_string();
    let (code, report) = examine(folder.path(), &["--directory", &directory, "--cacert", &wrong]);
    let (level, _, way_out) = finding(&report, "trusted");
    assert_eq!((code, level), (99, "problem"), "{report:#}");
    assert!(way_out.contains("does not have the root"), "{way_out}");
    let run = ["run", "--headless", "--directory", &directory, "--cacert", &wrong];
    let said = crate::common::said(&crate::common::run(folder.path(), &run));
    let check = format!("wec doctor --directory {directory} --cacert {wrong}");
    assert!(said.contains("(--cacert) does not have the root") && said.contains(&check), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ca_is_found_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let closed = format!("https://{}/dir", wec_testbed::free_address());
    let (code, report) = examine(folder.path(), &["--directory", &closed]);
    assert_eq!((code, finding(&report, "reachable").0), (99, "problem"), "{report:#}");

    let nginx = Nginx::start("127.0.0.1:1", NginxOptions::default()).await.unwrap();
    let (directory, root) = (nginx.http1_url() + "/directory", nginx.ca_file().display().to_string());
    let (code, report) = examine(folder.path(), &["--directory", &directory, "--cacert", &root]);
    let (level, found, _) = finding(&report, "acme");
    assert_eq!((code, level), (99, "problem"), "{report:#}");
    assert!(found.contains("not an ACME directory"), "{found}");

    // Refused before anything is sent, as by `wec run`.
    let public = "https://acme-v02.api.letsencrypt.org/directory";
    let (code, report) = examine(folder.path(), &["--directory", public]);
    let (level, found, way_out) = finding(&report, "target");
    assert_eq!((code, level), (99, "problem"), "{report:#}");
    assert!(found.contains("Let's Encrypt") && way_out.contains("--authorised-by"), "{found} {way_out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_is_examined_at_its_standard_ports() {
    let folder = tempfile::tempdir().unwrap();
    let standard = Standard::reserve().unwrap();
    let caddy = Caddy::start(&standard).await.unwrap();
    let (directory, root) = (caddy.directory_url(), caddy.ca_file().display().to_string());
    let (http01, tlsalpn01) = (standard.http01().to_string(), standard.tlsalpn01().to_string());
    let dns = standard.dns().to_string();
    let target = ["--directory", &directory, "--cacert", &root];
    let listen = ["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns];
    let (code, report) = examine(folder.path(), &[&target[..], &listen].concat());
    assert_eq!(code, 0, "{report:#}");
    for check in ["trusted", "acme", "server", "external-account", "certificate"] {
        assert_eq!(finding(&report, check).0, "ok", "{check}: {report:#}");
    }
    let (level, found, _) = finding(&report, "http-01");
    assert!(level == "ok" && found.starts_with(&format!("valid: {http01} was asked")), "{found}");
}
