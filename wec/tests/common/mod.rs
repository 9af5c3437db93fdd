//! Runs the real binary and reads what it leaves.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use wec_record::{ChainResult, Record};

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
pub(crate) fn log(folder: &Path) -> Vec<Record> {
    let logs: Vec<_> = std::fs::read_dir(folder.join("results")).expect("a folder of logs").collect();
    let [Ok(log)] = logs.as_slice() else { panic!("one log, not {logs:?}") };
    records(&std::fs::read_to_string(log.path()).expect("the log can be read"))
}

/// What the logs in this folder hold by now; the line that is just being written is left out.
pub(crate) fn log_so_far(logs: &Path) -> Vec<Record> {
    let Ok(logs) = std::fs::read_dir(logs) else { return Vec::new() };
    let texts = logs.flatten().filter_map(|log| std::fs::read_to_string(log.path()).ok());
    texts.flat_map(|text| records(text.rsplit_once('\n').map_or("", |(whole, _)| whole))).collect()
}

fn records(text: &str) -> Vec<Record> {
    text.lines().zip(1..).map(|(line, number)| Record::parse(line, number).expect("a record")).collect()
}

/// The results of chains among records.
pub(crate) fn results(log: &[Record]) -> impl Iterator<Item = &ChainResult> + Clone {
    log.iter()
        .filter_map(|record| if let Record::Chain { result, .. } = record { Some(result) } else { None })
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
        assert!(started.elapsed() < std::time::Duration::from_secs(120), "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Runs it until its log holds enough, and ends it as people do: however slow the machine is, there is something to
/// look at. `args` name no run time.
pub(crate) fn run_until(folder: &Path, args: &[&str], enough: impl Fn(&[Record]) -> bool) -> Output {
    let mut args = args.to_vec();
    args.extend(["--run-time", "10m", "--graceful-stop", "2m"]);
    let run = wec(folder, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut run = Running(Some(run.expect("the binary runs")));
    let logs = folder.join("results");
    until("the log holds enough", || run.has_ended() || enough(&log_so_far(&logs)));
    run.interrupt()
}

/// A run that is killed when the test fails, and not left to its run time.
pub(crate) struct Running(pub(crate) Option<Child>);

impl Running {
    fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Lets it finish, and waits until it has.
    pub(crate) fn interrupt(mut self) -> Output {
        let child = self.0.take().expect("it is taken here and nowhere else");
        signal(&child, "-INT");
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process that has not been waited for.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
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
    child: Child,
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
        signal(&self.child, "-TERM");
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
