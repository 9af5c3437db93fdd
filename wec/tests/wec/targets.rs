//! Only allowed hosts are loaded, for every URL that a CA names and every address of a connection. The refused hosts
//! are public CAs and documentation addresses: nothing is ever sent there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Output;

use wec_record::FailureClass;
use wec_testbed::{Nginx, NginxOptions};

use crate::common::NullCa;

/// nginx in front of a CA, and its access log.
struct Proxied {
    _ca: NullCa,
    nginx: Nginx,
}

impl Proxied {
    /// nginx replaces text in the answers, like a proxy in front of a public CA that names the CA's own URLs.
    async fn start(folder: &Path, options: NginxOptions) -> Self {
        let ca = NullCa::start(folder, &[]);
        let nginx = Nginx::start(&ca.address(), options).await.unwrap();
        Self { _ca: ca, nginx }
    }

    fn run(&self, folder: &Path, path: &str, args: &[&str]) -> Output {
        let directory = format!("{}/{path}", self.nginx.http1_url());
        let root = self.nginx.ca_file().display().to_string();
        run(folder, &directory, &[&["--cacert", &root], args].concat())
    }

    fn requests(&self) -> usize {
        self.nginx.access_log().unwrap().lines().count()
    }
}

fn rewriting(from: &'static str, to: String) -> NginxOptions {
    NginxOptions { rewrite: Some((from, to)), ..NginxOptions::default() }
}

fn run(folder: &Path, directory: &str, args: &[&str]) -> Output {
    let mut all = vec!["run", "--headless", "--directory", directory, "--json", "summary.json"];
    all.extend(["--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off"]);
    all.extend(args);
    crate::common::run(folder, &all)
}

/// The built-in CA without TLS, and its address.
fn plain_ca(folder: &Path) -> (PlainCa, String) {
    use std::process::Stdio;
    let mut child = crate::common::wec(folder, &["null-ca", "--plain", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut directory = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut directory).unwrap();
    let address = directory.trim().trim_start_matches("http://").trim_end_matches("/directory").to_owned();
    (PlainCa(child), address)
}

struct PlainCa(std::process::Child);

impl Drop for PlainCa {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_names_another_host_ends_the_run_before_any_load() {
    for (host, way_out) in
        [("acme-staging-v02.api.letsencrypt.org", "--authorised-by"), ("192.0.2.1", "--allow-host 192.0.2.1")]
    {
        let folder = tempfile::tempdir().unwrap();
        let options = rewriting("https://$http_host/new-order", format!("https://{host}/new-order"));
        let proxied = Proxied::start(folder.path(), options).await;
        let output = proxied.run(folder.path(), "directory", &["--workers", "2", "--run-time", "5s"]);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let culprit = format!("names https://{host}/new-order as its newOrder: refusing to load {host}");
        assert!(said.contains(&culprit) && said.contains(way_out), "{said}");
        assert_eq!(proxied.requests(), 1, "more than the directory was requested");
        assert!(!folder.path().join("results").exists(), "a run was begun");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_redirects_to_another_host_is_not_followed() {
    for (target, way_out) in [
        ("https://acme-staging-v02.api.letsencrypt.org/directory", "--authorised-by"),
        ("http://192.0.2.1/directory", "--allow-host 192.0.2.1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = NginxOptions { elsewhere: Some(target.to_owned()), ..NginxOptions::default() };
        let proxied = Proxied::start(folder.path(), options).await;
        let output = proxied.run(folder.path(), "elsewhere", &["--workers", "2", "--run-time", "5s"]);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("refusing to load") && said.contains(way_out), "{said}");
        assert!(said.contains("/elsewhere"), "the URL is not named: {said}");
        assert_eq!(proxied.requests(), 1, "more than the first directory was requested");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_names_another_host_fails_its_chain_and_nothing_is_sent_there() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        rewriting("https://$http_host/authorization/", "http://192.0.2.1/authorization/".to_owned());
    let proxied = Proxied::start(folder.path(), options).await;
    let args = ["--workers", "2", "--iterations", "12", "--run-time", "2m"];
    let output = proxied.run(folder.path(), "directory", &args);
    let said = crate::common::said(&output);
    let summary = crate::common::summary(folder.path());
    let failures = summary["failures"].as_array().unwrap();
    let of = |scope: &str| {
        let mut found = failures
            .iter()
            .filter(|failure| failure["scope"] == scope && failure["class"] == "refused-origin");
        found.next().unwrap_or_else(|| panic!("{failures:?} {said}")).clone()
    };
    let (chain, request) = (of("chain"), of("request"));
    assert_eq!(chain["name"], "authorization");
    let example = request["example"].as_str().unwrap();
    for words in [
        "authorization: POST http://192.0.2.1/authorization/",
        "--allow-host 192.0.2.1",
        "one of the order's",
    ] {
        assert!(example.contains(words), "{example}");
    }
    assert_eq!(summary["refused_origins"], request["count"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("Refused origins: "), "{table}");
    let log = crate::common::log(folder.path());
    let requests = crate::common::results(&log).flat_map(|result| &result.requests);
    let port = proxied.nginx.http1_url().rsplit_once(':').unwrap().1.to_owned();
    for request in requests {
        if request.class == Some(FailureClass::RefusedOrigin) {
            assert_eq!((request.address.as_ref(), request.status, request.bytes_sent), ("", 0, 0));
        } else {
            assert!(request.address.ends_with(&port), "{}", request.address);
        }
    }
}

#[test]
fn connect_to_sets_the_address_and_the_log_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_ca, address) = plain_ca(folder.path());
    // RFC 6761: the name never resolves.
    let to = format!("ca.invalid:8080:{address}");
    let args = ["--connect-to", &to, "--source-address", "127.0.0.3", "--workers", "2", "--iterations", "10"];
    let output = run(folder.path(), "http://ca.invalid:8080/directory", &args);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let log = crate::common::log(folder.path());
    let requests: Vec<_> = crate::common::results(&log).flat_map(|result| &result.requests).collect();
    assert!(requests.iter().all(|request| request.address == address), "{requests:?}");
    assert!(requests.iter().any(|request| !request.reused && request.phases.connect > 0));

    let public = ["--connect-to", "ca.invalid:8080:192.0.2.1:80"];
    let output = run(folder.path(), "http://ca.invalid:8080/directory", &public);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--allow-host 192.0.2.1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_come_from_each_source_address_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let proxied = Proxied::start(folder.path(), NginxOptions::default()).await;
    let args = ["--source-address", "127.0.0.3", "--source-address", "127.0.0.4", "--workers", "2"];
    let args =
        [&args[..], &["--connections", "per-chain", "--iterations", "20", "--run-time", "2m"]].concat();
    // localhost may have an IPv6 address, which cannot be reached from these source addresses.
    let port = proxied.nginx.http1_url().rsplit_once(':').unwrap().1.to_owned();
    let output = proxied.run(
        folder.path(),
        "directory",
        &[&args[..], &["--connect-to", &format!("localhost:{port}:127.0.0.1:{port}")]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let lines = proxied.nginx.access_log().unwrap();
    for source in ["127.0.0.3", "127.0.0.4"] {
        assert!(lines.lines().filter(|line| line.ends_with(source)).count() > 5, "{source}: {lines}");
    }
    assert!(lines.lines().all(|line| line.ends_with("127.0.0.3") || line.ends_with("127.0.0.4")), "{lines}");
}

/// Each chain also sends requests to such a server. It is a documentation address: nothing is ever sent there.
#[test]
fn a_challenge_server_on_another_host_is_refused_like_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    for (flag, value) in [
        ("--challenges", "challtestsrv+http://192.0.2.1:8055"),
        ("--challenges", "redis://192.0.2.1"),
        ("--dns-challenges", "challtestsrv+http://192.0.2.1:8055"),
    ] {
        let mut args = vec!["run", "--headless", "--iterations", "5", "--run-time", "5s", flag, value];
        args.extend(ca.target());
        let output = crate::common::run(folder.path(), &args);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(1), "{value}: {said}");
        assert!(said.contains(&format!("{flag}: refusing to load 192.0.2.1")), "{said}");
        assert!(said.contains("--allow-host 192.0.2.1"), "{said}");
    }
}

#[test]
fn wrong_connection_options_are_named_with_their_flags() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["--connect-to", "ca.test:443", "--source-address", "192.0.2.9", "--spread-addresses", "perhaps"];
    let output = run(folder.path(), "https://127.0.0.1:1/directory", &args);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for words in [
        "--connect-to",
        "\"ca.test:443\" is not HOST:PORT:ADDR:PORT",
        "--source-address",
        "\"192.0.2.9\" is not an address of this machine",
        "--spread-addresses",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
