//! Faults of the environment: extreme settings, closed and full outputs, closed terminals, missing analytics.
//! Also privacy: permissions of files, and secrets in output.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::common::signal;

const SECRET: &str = "s3cret-of-this-test";

#[test]
fn extremely_long_times_are_refused_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for time in [
        "18446744073709551615s",
        "18446744073709551616s",
        "1e30s",
        "99999999999999999999999999h",
        "1000years",
    ] {
        let stages = format!("{time}:5,1s:5");
        let threshold = format!("chain{{p(99)}} < {time}");
        let flags = [
            ("--run-time", time),
            ("--graceful-stop", time),
            ("--request-timeout", time),
            ("--poll-timeout", time),
            ("--think-time", time),
            ("--limited-lag", time),
        ];
        let mut args = vec!["run", "--directory", "http://127.0.0.1:1/dir", "--headless"];
        flags.iter().for_each(|(flag, time)| args.extend([*flag, *time]));
        let output = crate::common::run(folder.path(), &args);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(2), "{time}: {said}");
        for (flag, _) in flags {
            assert!(said.contains(flag), "{flag} {time}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        let capacity = ["capacity", "--directory", "http://127.0.0.1:1/dir", "--step-time", time];
        let null_ca = ["null-ca", "--processing", time];
        let staged = ["run", "--directory", "http://127.0.0.1:1/dir", "--stages", &*stages];
        let judged = ["run", "--directory", "http://127.0.0.1:1/dir", "--threshold", &*threshold];
        let aseq = ["aseq", "1", "5", time, "--directory", "http://127.0.0.1:1/dir"];
        for args in [&capacity[..], &null_ca, &staged, &judged, &aseq] {
            let output = crate::common::run(folder.path(), args);
            let said = crate::common::said(&output);
            // The largest valid times pass the check, and then the run fails because there is no CA.
            assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {said}");
            assert!(!said.contains("panicked"), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_full_standard_output_is_reported_once_and_the_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--workers", "2", "--think-time", "20ms", "--run-time", "3s"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = crate::common::wec(folder.path(), &args).stdout(full()).output().unwrap();
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("standard output cannot be written").count(), 1, "{said}");
    assert!(crate::common::chain(&crate::common::summary(folder.path()), "certificate").0 > 0);
    // A full standard error does not end the run either.
    let status = crate::common::wec(folder.path(), &args).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    // A command that only prints fails without its output.
    let output = crate::common::wec(folder.path(), &["schema"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", crate::common::said(&output));
}

#[test]
fn a_closed_terminal_ends_the_run_like_a_signal_except_under_nohup() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec![
        "run",
        "--headless",
        "--workers",
        "2",
        "--think-time",
        "20ms",
        "--run-time",
        "10m",
        "--graceful-stop",
        "2m",
    ];
    args.extend(["--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    let wec = crate::common::wec(folder.path(), &args);
    // The tests may run under nohup themselves.
    let mut plain = std::process::Command::new("env");
    plain.arg("--default-signal=HUP").arg(wec.get_program()).args(wec.get_args()).current_dir(folder.path());
    for (name, value) in wec.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    let mut run = plain.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::common::until("it runs", || crate::common::chains_in_logs(folder.path()) > 0);
    signal(&run, "-HUP");
    assert_eq!(run.wait().unwrap().code(), Some(105));

    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    let wec = crate::common::wec(folder.path(), &args);
    let mut nohup = std::process::Command::new("nohup");
    nohup.arg(wec.get_program()).args(wec.get_args()).current_dir(folder.path()).stdin(Stdio::null());
    let mut run = nohup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::common::until("it runs", || crate::common::chains_in_logs(folder.path()) > 0);
    signal(&run, "-HUP");
    let before = crate::common::chains_in_logs(folder.path());
    crate::common::until("it runs on", || crate::common::chains_in_logs(folder.path()) > before + 20);
    assert!(run.try_wait().unwrap().is_none());
    signal(&run, "-TERM");
    assert_eq!(run.wait().unwrap().code(), Some(105));
}

#[test]
fn state_and_results_are_private_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--workers", "1", "--think-time", "20ms", "--run-time", "2s"];
    args.extend(["--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    let wec = crate::common::wec(folder.path(), &args);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(wec.get_program()).args(wec.get_args());
    let output = shell.current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let results = folder.path().join("results");
    assert_eq!((mode(&results), mode(&folder.path().join("wec-state.sqlite"))), (0o700, 0o600));
    for log in std::fs::read_dir(&results).unwrap() {
        assert_eq!(mode(&log.unwrap().path()), 0o600);
    }
}

#[test]
fn no_help_and_no_error_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("WEC_BOARD", format!("etcd://wec:{SECRET}@127.0.0.1:1")),
        ("WEC_ANALYTICS", format!("http://wec:{SECRET}@127.0.0.1:1")),
        ("WEC_STATE", format!("postgres://wec:{SECRET}@127.0.0.1:1/wec")),
        ("WEC_CHALLENGES", format!("redis://:{SECRET}@127.0.0.1:1")),
        ("WEC_DNS_CHALLENGES", format!("challtestsrv+http://wec:{SECRET}@127.0.0.1:1")),
        ("WEC_AT", format!("http://127.0.0.1:1/?token={SECRET}")),
        ("WEC_TOKEN", SECRET.to_owned()),
        ("WEC_MANAGEMENT_TOKEN", SECRET.to_owned()),
        ("WEC_EAB_HMAC_KEY", SECRET.to_owned()),
        ("WEC_DIRECTORY", format!("http://wec:{SECRET}@127.0.0.1:1/dir")),
    ];
    let commands = [
        "demo",
        "run",
        "hammer",
        "seq",
        "aseq",
        "capacity",
        "requester",
        "challenge-server",
        "analytics",
        "null-ca",
        "session",
        "calibrate",
    ];
    for command in commands {
        let mut wec = crate::common::wec(folder.path(), &[command, "--help"]);
        let output = wec.envs(settings.iter().map(|(name, value)| (name, value))).output().unwrap();
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && help.contains("Usage"), "{command}: {help}");
        assert!(!help.contains(SECRET), "{command}: {help}");
    }
    let board = format!("etcd://wec:{SECRET}@127.0.0.1:1");
    let wrong_board = format!("etcd//wec:{SECRET}@127.0.0.1:1/x");
    let wrong_analytics = format!("https://wec:{SECRET}@127.0.0.1:1");
    let challenges = format!("redis://:{SECRET}@127.0.0.1:1");
    let wrong_challenges = format!("mongo://:{SECRET}@127.0.0.1:1");
    let at = format!("http://wec:{SECRET}@127.0.0.1:1/?token={SECRET}");
    let wrong_at = format!("ftp://wec:{SECRET}@127.0.0.1:1/?token={SECRET}");
    let requester = ["requester", "--directory", "http://127.0.0.1:1/dir"];
    for args in [
        &["analytics", "--board", &wrong_board][..],
        &["session", "--board", &board, "show"],
        &["session", "--at", &at, "show"],
        &["session", "--at", &wrong_at, "show"],
        &[&requester[..], &["--board", &wrong_board]].concat(),
        &[&requester[..], &["--analytics", &wrong_analytics]].concat(),
        &[&requester[..], &["--challenges", &challenges]].concat(),
        &[&requester[..], &["--challenges", &wrong_challenges]].concat(),
        &["challenge-server", "--challenges", &challenges],
        &["challenge-server", "--analytics", &wrong_analytics],
    ] {
        let output = crate::common::run(folder.path(), args);
        let said = crate::common::said(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {:?} {said}", output.status);
        assert!(!said.is_empty() && !said.contains(SECRET), "{args:?}: {said}");
    }
}

#[test]
fn wrong_addresses_of_analytics_and_names_of_nodes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    for (address, why) in [
        ("127.0.0.1:8090", "does not begin with http://"),
        ("http://", "has no host"),
        ("http://analytics:port", "has a port outside 1 to 65535"),
    ] {
        let mut args = vec!["requester", "--analytics", address];
        args.extend(ca.target());
        let output = crate::common::run(folder.path(), &args);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--analytics: ") && said.contains(why), "{said}");
    }
    for (name, value) in [("--node", "a b"), ("--node", "\u{1b}[2J"), ("--node", &"n".repeat(65))] {
        let output = crate::common::run(folder.path(), &["requester", name, value]);
        assert_eq!(output.status.code(), Some(2), "{}", crate::common::said(&output));
    }
}
