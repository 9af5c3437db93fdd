//! Runs the real binary and reads what it leaves.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// `wec ARGS…` in `folder`, without the environment's settings.
pub(crate) fn wec(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wec"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEC_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    wec(folder, args).output().expect("the binary runs")
}

/// What it said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The summary that `--json summary.json` left.
pub(crate) fn summary(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("summary.json")).expect("a summary was written");
    serde_json::from_str(&text).expect("the summary is JSON")
}

/// The records of the one log in `results/`.
pub(crate) fn log(folder: &Path) -> Vec<wec_record::Record> {
    let logs: Vec<_> = std::fs::read_dir(folder.join("results")).expect("a folder of logs").collect();
    let [Ok(log)] = logs.as_slice() else { panic!("one log, not {logs:?}") };
    let text = std::fs::read_to_string(log.path()).expect("the log can be read");
    text.lines()
        .zip(1..)
        .map(|(line, number)| wec_record::Record::parse(line, number).expect("a record"))
        .collect()
}

/// How many results of chains the logs in `results/` hold by now.
pub(crate) fn chains_in_logs(folder: &Path) -> usize {
    chains_in(&folder.join("results"))
}

/// How many results of chains the logs in this folder hold by now; none as long as there is no folder.
pub(crate) fn chains_in(logs: &Path) -> usize {
    let Ok(logs) = std::fs::read_dir(logs) else { return 0 };
    let texts = logs.flatten().filter_map(|log| std::fs::read_to_string(log.path()).ok());
    texts.map(|text| text.matches(r#"{"record":"chain""#).count()).sum()
}

/// Waits for something that another process does.
#[expect(clippy::disallowed_methods, reason = "no runtime waits here, and nothing is measured")]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Count and failures of a chain in a summary.
pub(crate) fn chain(summary: &Value, name: &str) -> (u64, u64) {
    let chain = &summary["chains"][name];
    (chain["count"].as_u64().expect("a count"), chain["failed"].as_u64().expect("failures"))
}

/// A loopback address that was free a moment ago.
pub(crate) fn free() -> String {
    wec_testbed::free_address().to_string()
}

/// The built-in CA in a process of its own. Ended when dropped.
pub(crate) struct NullCa {
    child: std::process::Child,
    directory: String,
    root: String,
    counts: PathBuf,
}

impl NullCa {
    /// Starts it on a free port, with these flags.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        use std::io::BufRead as _;
        let root = folder.join("null-ca-root.pem").display().to_string();
        let counts = folder.join("null-ca-counts.json");
        let counts_out = counts.display().to_string();
        let mut args = vec!["null-ca", "--listen", "127.0.0.1:0", "--root-out", &root];
        args.extend(["--counts-out", &counts_out]);
        args.extend(flags);
        let mut child = wec(folder, &args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut directory = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        std::io::BufReader::new(stdout).read_line(&mut directory).expect("the CA says where it is");
        Self { child, directory: directory.trim().to_owned(), root, counts }
    }

    /// Stops it; what it has counted.
    pub(crate) fn stop(mut self) -> Value {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("it ends");
        let text = std::fs::read_to_string(&self.counts).expect("it leaves its counts");
        serde_json::from_str(&text).expect("the counts are JSON")
    }

    /// The flags that point `wec run` at it.
    pub(crate) fn target(&self) -> [&str; 4] {
        ["--directory", &self.directory, "--cacert", &self.root]
    }
}

impl Drop for NullCa {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
