//! HTTP/2 with Debian's `curl`, an independent client, and HTTP/1.1 when it requests that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use wec_null_ca::{Config, NullCa};

/// The HTTP version that was spoken, and the answer.
fn fetched(ca: &NullCa, flags: &[&str], url: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, ca.root_pem().unwrap()).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--write-out", "\n%{http_version} %{http_code}", "--cacert"]);
    let output = command.arg(&root).args(flags).arg(url).output().expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, version) = text.rsplit_once('\n').unwrap();
    (version.to_owned(), body.to_owned())
}

#[test]
fn both_versions_of_http_get_a_directory_of_the_host_that_was_asked() {
    let ca = NullCa::start(Config::default()).unwrap();
    let base = ca.directory_url().strip_suffix("/directory").unwrap();
    for (flag, version) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let (spoken, body) = fetched(&ca, &[flag], ca.directory_url());
        assert_eq!(spoken, version);
        assert!(body.contains(&format!(r#""newOrder":"{base}/new-order""#)), "{body}");
    }
    let (_, body) = fetched(&ca, &["--http2", "--data", "{}"], &format!("{base}/new-order"));
    assert!(body.contains("application/jose+json"), "{body}");
}
