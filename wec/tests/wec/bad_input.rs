//! Wrong input: one message with the cause and the remedy, and the right exit code.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use wec_requester::config::{KEYS, KeyPlace};
use wec_testbed::{Pebble, PebbleOptions};

/// Exit code and standard error of `wec run` with these arguments.
fn fails(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut all = vec!["run", "--headless", "--run-time", "5s"];
    all.extend(args);
    let output = crate::common::run(folder, &all);
    let said = crate::common::said(&output);
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    assert!(output.stdout.is_empty(), "a run that did not start prints no summary");
    (output.status.code().expect("an exit code"), said)
}

fn left_behind(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let empty = path.is_dir() && std::fs::read_dir(&path).unwrap().next().is_none();
        if !empty {
            left.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    left
}

#[test]
fn errors_of_file_and_flags_are_reported_at_once_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("load.toml"),
        "directory = \"ca.test\"\nworker = 5\n[weights]\nrevoke = -1\n",
    )
    .unwrap();
    let (code, said) = fails(folder.path(), &["--config", "load.toml", "--names-per-order", "0"]);
    assert_eq!(code, 2, "{said}");
    for part in [
        "load.toml:1: directory: \"ca.test\" is not a URL",
        "load.toml:2: worker: unknown key; did you mean workers?",
        "load.toml:4: weights.revoke: \"-1\" is not a weight",
        "--names-per-order: \"0\" has numbers that an order cannot have: give 1 to 100",
    ] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
    assert_eq!(left_behind(folder.path()), ["load.toml"]);
}

/// Every key of the table whose value can be wrong, once as a variable and once as a flag.
#[test]
fn a_mistake_names_the_variable_or_the_flag_that_the_value_came_from() {
    // Any text is valid for these.
    const ANY_TEXT: [&str; 2] = ["allow_host", "authorised_by"];
    let folder = tempfile::tempdir().unwrap();
    let keys = || KEYS.iter().filter(|key| key.has_flag && !ANY_TEXT.contains(&key.name));
    let told = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        said.lines().map(|line| line.split([':', ' ']).next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for key in keys() {
        let command = if key.place == KeyPlace::Search { "capacity" } else { "run" };
        let variable = told(crate::common::wec(folder.path(), &[command]).env(key.variable(), "?? ??"));
        assert!(variable.contains(&key.variable()), "{}: {variable:?}", key.variable());
        let flag = format!("--{}", key.long());
        let typed = told(&mut crate::common::wec(folder.path(), &[command, &flag, "?? ??"]));
        assert!(typed.contains(&flag) && !typed.contains(&key.variable()), "{flag}: {typed:?}");
    }
}

#[test]
fn a_wrong_variable_of_a_service_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (command, variable, flag) in [
        (&["analytics"][..], "WEC_ANALYTICS_LISTEN", "--listen"),
        (&["analytics"], "WEC_BOARD", "--board"),
        (&["analytics"], "WEC_SESSION", "--session"),
        (&["serve"], "WEC_LISTEN", "--listen"),
        (&["run"], "WEC_LISTEN", "--listen"),
        (&["run"], "WEC_KEEP_PAGE", "--keep-page"),
        (&["requester"], "WEC_NODE", "--node"),
        (&["requester"], "WEC_SPOOL_BYTES", "--spool-bytes"),
        (&["null-ca"], "WEC_NULL_CA_EAB", "--eab"),
        (&["session", "show"], "WEC_AT", "--at"),
        (&["challenge-server"], "WEC_HTTP01_LISTEN", "--http01-listen"),
        (&["challenge-server"], "WEC_DOH_PLAIN", "--doh-plain"),
        (&["challenge-server"], "WEC_CHALLENGES", "--challenges"),
        (&["challenge-server"], "WEC_ANALYTICS", "--analytics"),
    ] {
        let output = crate::common::wec(folder.path(), command).env(variable, "?? ??").output().unwrap();
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(2), "{variable}: {said}");
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(variable) && !first.contains(flag), "{variable}: {said}");
    }
}

/// Files and the whole message for each.
#[test]
fn errors_of_a_file_are_reported_once_with_line_and_allowed_values() {
    let folder = tempfile::tempdir().unwrap();
    for (file, told) in [
        (
            "weights = [1, 2]\n",
            "load.toml:1: weights: is a table: [weights], and below it certificate = 4; its keys are registration, \
             authorization, certificate, refresh, revoke, key-rollover, account-update, account-deactivation, \
             authorization-deactivation, orders-list, pre-authorization, renewal-info, alternate-chains, download, \
             refusals, composed",
        ),
        ("[weights]\nrevok = 1\n", "load.toml:2: weights.revok: unknown key; did you mean revoke?"),
        (
            "[capacity]\nresolutoin = \"5%\"\n",
            "load.toml:2: capacity.resolutoin: unknown key; did you mean resolution?",
        ),
        ("from = \"5/s\"\n", "load.toml:1: from: belongs to the table [capacity], as capacity.from"),
        (
            "[scenarios.\"a b\"]\nworkers = 1\n",
            "load.toml:2: scenarios.a b: is not a scenario name: up to 40 letters, digits, hyphens and underscores",
        ),
        (
            "stages = [{ duration = \"1s\", wokers = 5 }]\n[scenarios.a]\nrate = 5\n[scenarios.b]\ntarget_rps = 5\n",
            "load.toml:1: stages: stage 1: \"wokers\" is unknown in a stage; known are duration, rate; target fits every executor",
        ),
    ] {
        std::fs::write(folder.path().join("load.toml"), file).unwrap();
        let (code, said) =
            fails(folder.path(), &["--directory", "https://127.0.0.1:1/dir", "--config", "load.toml"]);
        assert_eq!((code, said.trim_end()), (2, told), "{file}");
    }
}

#[test]
fn a_sequence_that_could_not_rise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = crate::common::run(
        folder.path(),
        &["aseq", "20", "10", "1s", "--directory", "https://127.0.0.1:1/dir"],
    );
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("INCREMENT: 20 is more than FINAL, 10") && said.contains("wec hammer 10"),
        "{said}"
    );
    assert!(left_behind(folder.path()).is_empty());
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = fails(folder.path(), &["--workerz", "5"]);
    assert_eq!(code, 2);
    assert!(said.contains("--workerz") && said.contains("--workers"), "{said}");
}

#[test]
fn what_a_short_command_sets_itself_is_refused_wherever_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("load.toml"),
        "directory = \"https://127.0.0.1:1/dir\"\niterations = 5\n",
    )
    .unwrap();
    let seq = ["seq", "1s", "2", "3", "--headless", "--config", "load.toml", "--rate", "5/s"];
    let mut wec = crate::common::wec(folder.path(), &seq);
    let output = wec.env("WEC_RUN_TIME", "9s").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = crate::common::said(&output);
    let mut told: Vec<_> = said.lines().collect();
    told.sort_unstable();
    let expected = ["--rate", "WEC_RUN_TIME", "load.toml:2: iterations"]
        .map(|given| format!("{given}: wec seq sets the load itself: leave it out, or use wec run"));
    assert_eq!(told, expected);
    assert_eq!(left_behind(folder.path()), ["load.toml"]);
}

#[test]
fn unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) =
        fails(folder.path(), &["--directory", "https://127.0.0.1:1/dir", "--cacert", "none.pem"]);
    assert_eq!(code, 2);
    assert!(said.contains("--cacert: cannot read none.pem"), "{said}");
    let (code, said) = fails(folder.path(), &["--config", "none.toml"]);
    assert_eq!(code, 2);
    assert!(said.contains("cannot read none.toml"), "{said}");
}

#[test]
fn public_cas_are_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    for directory in [
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        "https://acme.zerossl.com/v2/DV90",
        "https://dv.acme-v02.api.pki.goog/directory",
        "https://api.buypass.com/acme/directory",
        "https://acme.ssl.com/sslcom-dv-ecc",
    ] {
        let host = directory.split('/').nth(2).unwrap();
        let (code, said) = fails(folder.path(), &["--directory", directory, "--allow-host", host]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(host) && said.contains("--authorised-by"), "{said}");
    }
    assert!(left_behind(folder.path()).is_empty());
}

#[test]
fn a_public_address_must_be_allowed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = fails(folder.path(), &["--directory", "https://203.0.113.7/directory"]);
    assert_eq!(code, 1);
    assert!(said.contains("203.0.113.7") && said.contains("--allow-host 203.0.113.7"), "{said}");
}

#[test]
fn an_unreachable_directory_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let address = crate::common::free();
    let url = format!("http://{address}/dir");
    let (code, said) = fails(folder.path(), &["--directory", &url, "--http01-listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains(&address), "{said}");
    assert!(left_behind(folder.path()).is_empty(), "{:?}", left_behind(folder.path()));
}

#[test]
fn a_web_server_that_is_no_ca_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        // The server answers one request: the directory is not requested again.
        for stream in listener.incoming().take(1) {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).unwrap();
            let page = "<html>hello</html>";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            )
            .unwrap();
        }
    });
    let url = format!("http://{address}/");
    let (code, said) = fails(folder.path(), &["--directory", &url, "--http01-listen", "127.0.0.1:0"]);
    server.join().unwrap();
    assert_eq!(code, 1);
    assert!(said.contains("is not an ACME directory") && said.contains(&url), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_certificate_is_reported_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let pebble = Pebble::start(PebbleOptions::default()).await.unwrap();
    let (code, said) =
        fails(folder.path(), &["--directory", &pebble.directory_url(), "--http01-listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("not trusted") && said.contains("--cacert") && said.contains("--insecure"),
        "{said}"
    );
}

#[test]
fn a_state_of_a_newer_program_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let run = |json: &str| {
        let mut args = vec![
            "run",
            "--headless",
            "--run-time",
            "5s",
            "--workers",
            "1",
            "--http01-listen",
            "127.0.0.1:0",
            "--json",
            json,
        ];
        args.extend(ca.target());
        crate::common::run(folder.path(), &args)
    };
    assert_eq!(run("a.json").status.code(), Some(0));
    let database = folder.path().join("wec-state.sqlite");
    let changed = std::process::Command::new("sqlite3")
        .arg(&database)
        .arg("UPDATE _sqlx_migrations SET version = version + 1000")
        .status();
    assert!(changed.expect("sqlite3 is installed: Debian package sqlite3").success());
    let refused = run("b.json");
    let said = crate::common::said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("wec-state.sqlite") && said.contains("version"), "{said}");
    assert!(!folder.path().join("b.json").exists());
}

#[test]
fn a_listener_whose_address_is_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut args = vec!["--http01-listen", &address];
    args.extend(ca.target());
    let (code, said) = fails(folder.path(), &args);
    assert_eq!(code, 1);
    assert!(said.contains(&address) && said.contains("http-01"), "{said}");
}

#[test]
fn a_missing_external_account_binding_is_reported_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let key = "aG1hYy1zZWNyZXQtaG1hYy1zZWNyZXQtaG1hYy1zZWNyZXQ";
    let ca_folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(ca_folder.path(), &["--eab", &format!("kid-1:{key}")]);
    let mut args = vec!["--http01-listen", "127.0.0.1:0"];
    args.extend(ca.target());
    let (code, said) = fails(folder.path(), &args);
    assert_eq!(code, 1);
    assert!(said.contains("--eab-kid") && said.contains("WEC_EAB_HMAC_KEY"), "{said}");
    assert!(left_behind(folder.path()).is_empty());

    let mut bound = vec!["run", "--headless", "--run-time", "5s", "--workers", "2", "--eab-kid", "kid-1"];
    bound.extend(args);
    let output = crate::common::wec(folder.path(), &bound).env("WEC_EAB_HMAC_KEY", key).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
}

#[test]
fn impossible_values_are_refused_with_the_flag_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    std::fs::write(folder.path().join("junk.pem"), "-----BEGIN CERTIFICATE-----\n????\n").unwrap();
    let long = "x".repeat(5_000);
    let cases: [(&[&str], &[&str]); 13] = [
        (
            &["--contact", "ops@ca.test"],
            &["--contact: \"ops@ca.test\" is not a URI: write mailto:ops@ca.test"],
        ),
        (&["--threshold", ""], &["--threshold: is empty"]),
        (
            &["--base-domain", "127.0.0.1"],
            &["--base-domain: \"127.0.0.1\" is an address", "such as wec.test"],
        ),
        (&["--base-domain", "::1"], &["--base-domain: \"::1\" is an address"]),
        (&["--base-domain", "0x7f000001"], &["--base-domain: \"0x7f000001\" is an address"]),
        (&["--graceful-stop", "-5s"], &["--graceful-stop", "-5s"]),
        (&["--poll-timeout=-5s"], &["--poll-timeout", "-5s"]),
        (&["--abandon", "-5%"], &["--abandon", "-5%"]),
        (&["--limit-certificates", "-5"], &["--limit-certificates", "-5"]),
        (&["--weight", "certificate=NaN"], &["--weight certificate: \"NaN\" is not a weight"]),
        (&["--cacert", "key.pem"], &["--cacert: key.pem has no certificate in PEM"]),
        (&["--cacert", "junk.pem"], &["--cacert: junk.pem: "]),
        (&["--base-domain", &long], &["--base-domain: \"xxxx", "x…\""]),
    ];
    for (flags, parts) in cases {
        let (code, said) =
            fails(folder.path(), &[&["--directory", "https://127.0.0.1:1/dir"], flags].concat());
        assert_eq!(code, 2, "{flags:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} is missing for {flags:?} in:\n{said}");
        }
        assert!(said.len() < 500, "{said}");
    }
    for args in [
        &["session", "show", "--board", "etcd://127.0.0.1:1", "--session", ""][..],
        &["analytics", "--session", ""],
    ] {
        let output = crate::common::run(folder.path(), args);
        let said = crate::common::said(&output);
        assert!(output.status.code() == Some(2) && said.contains("--session <ID>"), "{said}");
    }
    let output = crate::common::run(
        folder.path(),
        &["run", "--run-time", "-5s", "--directory", "https://127.0.0.1:1/dir"],
    );
    let said = crate::common::said(&output);
    assert!(output.status.code() == Some(2) && said.contains("--run-time: \"-5s\""), "{said}");
}
