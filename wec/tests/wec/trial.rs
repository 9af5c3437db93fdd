//! `wec try` starts a real CA, runs against it, and leaves nothing running.

use std::process::Stdio;

/// Processes whose command line has this text.
fn running(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[test]
fn a_pebble_is_started_loaded_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    // Its files are below this, so that its command line is recognized.
    let place = folder.path().display().to_string();
    let mut args = vec!["try", "pebble", "--duration", "3s", "--headless", "--json", "summary.json"];
    args.extend(["--threshold", "chain{failed} < 1%"]);
    let output = crate::common::wec(folder.path(), &args).env("TMPDIR", &place).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let summary = crate::common::summary(folder.path());
    assert!(summary["issued"]["count"].as_u64().unwrap() > 0, "{summary:#}");
    crate::common::until("the CA has ended", || running(&place) == 0);
}

/// Also when it is killed, and cannot stop the CA itself.
#[test]
fn a_ca_does_not_outlive_a_trial_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let mut command = crate::common::wec(folder.path(), &["try", "pebble", "--duration", "5m", "--headless"]);
    let mut trial =
        command.env("TMPDIR", &place).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::common::until("the CA runs", || running(&place) > 0);
    trial.kill().unwrap();
    trial.wait().unwrap();
    crate::common::until("the CA has ended", || running(&place) == 0);
}

#[test]
fn a_ca_that_is_not_installed_is_named_with_its_package() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::common::wec(folder.path(), &["try", "pebble"]);
    let output = command.env("PATH", folder.path()).output().unwrap();
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("pebble is not installed: apt-get install pebble"), "{said}");
    let output = crate::common::run(folder.path(), &["try", "peble"]);
    let said = crate::common::said(&output);
    assert!(output.status.code() == Some(2) && said.contains("'pebble'"), "{said}");
}
