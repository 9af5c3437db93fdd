//! Refusals of the load tester's machine have their own class and count as a generator limit, never as failures
//! of the CA.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::ONLY_REGISTRATIONS;

/// Runs a shell script in which `$WEC` is the binary.
fn shell(folder: &Path, program: &[&str], script: &str) -> Output {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(["sh", "-c", script]).current_dir(folder).stdin(Stdio::null());
    command.env("WEC", env!("CARGO_BIN_EXE_wec")).env_remove("RUST_LOG");
    command.output().expect("a shell runs")
}

/// Checks that all failures are refusals of this machine and that the run is marked as limited by them.
fn is_ours(folder: &Path, output: &Output) -> Value {
    let said = crate::common::said(output);
    assert_eq!(output.status.code(), Some(108), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let summary = crate::common::summary(folder);
    let failures = summary["failures"].as_array().unwrap();
    assert!(!failures.is_empty());
    for failure in failures {
        // Chains that ran at the end are interrupted.
        assert!(failure["class"] == "local" || failure["class"] == "interrupted", "{failure}");
    }
    let limits = summary["generator"]["limits"].as_array().unwrap();
    let limit = limits.iter().find(|limit| limit["what"] == "local-refusals");
    let reason = limit.unwrap_or_else(|| panic!("{limits:?}"))["reason"].as_str().unwrap();
    assert!(reason.contains("this machine refused up to"), "{reason}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("this machine refused up to"), "{table}");
    summary
}

#[test]
fn exhausted_local_ports_are_not_the_cas_failure() {
    let unshare = ["unshare", "-n"];
    let folder = tempfile::tempdir().unwrap();
    let prepare = "ip link set lo up && sysctl -qw net.ipv4.ip_local_port_range='40000 40099' && \
                   sysctl -qw net.ipv4.tcp_tw_reuse=0";
    let may = shell(folder.path(), &unshare, prepare);
    if !may.status.success() {
        eprintln!("skipped: no network namespace of its own can be had here: {}", crate::common::said(&may));
        return;
    }
    let only = &*ONLY_REGISTRATIONS;
    let script = format!(
        "{prepare}; $WEC null-ca --listen 127.0.0.1:26001 --plain >ca.log 2>&1 & ca=$!; \
         for i in $(seq 300); do grep -q http ca.log && break; sleep 0.1; done; \
         timeout 120 $WEC run --directory http://127.0.0.1:26001/directory --headless --strict --workers 4 \
         --connections per-chain --run-time 6s --weight {only} \
         --state sqlite::memory: --http01-listen 127.0.0.1:26011 --tlsalpn01-listen off --json summary.json; \
         code=$?; kill $ca; exit $code"
    );
    let output = shell(folder.path(), &unshare, &script);
    let summary = is_ours(folder.path(), &output);
    let example = summary["failures"][0]["example"].as_str().unwrap();
    assert!(example.contains("local port"), "{example}");
}

#[test]
fn exhausted_file_descriptors_are_not_the_cas_failure_and_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "100ms"]);
    let target = ca.target().join(" ");
    let only = &*ONLY_REGISTRATIONS;
    let script = format!(
        "ulimit -n 90; exec $WEC run {target} --headless --strict --workers 120 --threads 1 --connections per-chain \
         --run-time 5s --weight {only} \
         --state sqlite::memory: --http01-listen 127.0.0.1:0 --tlsalpn01-listen off --json summary.json"
    );
    let output = shell(folder.path(), &["env"], &script);
    let summary = is_ours(folder.path(), &output);
    let example = summary["failures"][0]["example"].as_str().unwrap();
    assert!(example.contains("ulimit -n"), "{example}");
    let said = crate::common::said(&output);
    assert!(said.contains("need about 220 open files, but this process may open 90"), "{said}");
}
