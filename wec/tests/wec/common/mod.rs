//! Runs the real binary and reads its output.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use wec_record::{Chain, ChainResult, Mark, MarkWhat, Record};
use wec_requester::picker::Weights;

/// For `--weight`: only registrations, which need nothing of other chains, so that no worker is idle.
pub(crate) static ONLY_REGISTRATIONS: LazyLock<String> = LazyLock::new(|| only(Chain::Registration));

/// For `--weight`: this chain and no other.
pub(crate) fn only(chain: Chain) -> String {
    Weights::only(chain).to_string()
}

/// `wec ARGS…` in `folder`, without the environment's settings. `WEC_TESTED` is the path of another build of it.
pub(crate) fn wec(folder: &Path, args: &[&str]) -> Command {
    let program = std::env::var_os("WEC_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_wec").into());
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEC_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    // Late validations have their own tests. With them every other run would take 10 s longer.
    command.env("WEC_CHALLENGE_LINGER", "0s");
    command
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    wec(folder, args).output().expect("the binary runs")
}

/// Its standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The summary written by `--json summary.json`.
pub(crate) fn summary(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("summary.json")).expect("a summary was written");
    serde_json::from_str(&text).expect("the summary is JSON")
}

/// The records of the one log in `results/`.
pub(crate) fn log(folder: &Path) -> Vec<Record> {
    let logs: Vec<_> = std::fs::read_dir(folder.join("results")).expect("a folder of logs").collect();
    let [Ok(log)] = logs.as_slice() else { panic!("expected one log, found {logs:?}") };
    records(&std::fs::read_to_string(log.path()).expect("the log can be read"))
}

/// The records of the logs in this folder so far, without the line that is being written.
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

/// Number of chain results in the logs of this folder so far; 0 while there is no folder.
pub(crate) fn chains_in(logs: &Path) -> usize {
    let Ok(logs) = std::fs::read_dir(logs) else { return 0 };
    let texts = logs.flatten().filter_map(|log| std::fs::read_to_string(log.path()).ok());
    texts.map(|text| text.matches(r#"{"record":"chain""#).count()).sum()
}

/// Waits for something that another process does.
#[expect(clippy::disallowed_methods, reason = "no runtime waits here, and nothing is measured")]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    loop {
        let asked = std::time::Instant::now();
        if done() {
            return;
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(120), "waited in vain for: {what}");
        // Some read a whole log each time: they take at most a fifth of a processor.
        std::thread::sleep(std::time::Duration::from_millis(20).max(4 * asked.elapsed()));
    }
}

/// Runs it until its log has enough, then interrupts it, so that it works on slow machines. `args` have no
/// run time.
pub(crate) fn run_until(folder: &Path, args: &[&str], enough: impl Fn(&[Record]) -> bool) -> Output {
    let mut args = args.to_vec();
    args.extend(["--run-time", "10m", "--graceful-stop", "2m"]);
    let run = wec(folder, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut run = Running(Some(run.expect("the binary runs")));
    let logs = folder.join("results");
    until("the log holds enough", || run.has_ended() || enough(&log_so_far(&logs)));
    run.interrupt()
}

/// A run that is killed when the test fails, instead of running to its end.
pub(crate) struct Running(pub(crate) Option<Child>);

impl Running {
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Lets it finish, and waits until it has. Before it can take the signal, it would end at once, or miss the signal
    /// where those who run the tests ignore it.
    pub(crate) fn interrupt(mut self) -> Output {
        let mut child = self.0.take().expect("the child is taken only here");
        until("it handles an interrupt", || handles_interrupt(&child) || child.try_wait().unwrap().is_some());
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

/// Whether the process, which may be starting by way of another program, has a handler for SIGINT.
fn handles_interrupt(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught
        .and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok())
        .is_some_and(|caught| caught & 2 != 0)
}

/// Sends a signal to a process that has not been waited for.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// Asks for a page; the answer is not read yet.
pub(crate) fn get(page: &str, path: &str) -> BufReader<TcpStream> {
    get_by_name(page, page, path)
}

/// The same, by the name of a host.
pub(crate) fn get_by_name(page: &str, host: &str, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    BufReader::new(stream)
}

/// The body of an answer.
pub(crate) fn text(page: &str, path: &str) -> String {
    let mut answer = String::new();
    get(page, path).read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
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
    /// Starts it on a free port with these flags.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        Self::start_at(folder, "127.0.0.1:0", flags)
    }

    /// Starts it at a given address.
    pub(crate) fn start_at(folder: &Path, listen: &str, flags: &[&str]) -> Self {
        let root = folder.join("null-ca-root.pem").display().to_string();
        let counts = folder.join("null-ca-counts.json");
        let counts_out = counts.display().to_string();
        let mut args = vec!["null-ca", "--listen", listen, "--root-out", &root];
        args.extend(["--counts-out", &counts_out]);
        args.extend(flags);
        let mut child = wec(folder, &args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut directory = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut directory).expect("the CA prints its directory URL");
        Self { child, directory: directory.trim().to_owned(), root, counts }
    }

    /// Stops it; returns its counts.
    pub(crate) fn stop(mut self) -> Value {
        signal(&self.child, "-TERM");
        self.child.wait().expect("it ends");
        let text = std::fs::read_to_string(&self.counts).expect("the CA writes its counts");
        serde_json::from_str(&text).expect("the counts are JSON")
    }

    /// Stops the process for this time.
    #[expect(clippy::disallowed_methods, reason = "no runtime waits here, and nothing is measured")]
    pub(crate) fn stall(&self, time: std::time::Duration) {
        signal(&self.child, "-STOP");
        std::thread::sleep(time);
        signal(&self.child, "-CONT");
    }

    /// The address at which it listens.
    pub(crate) fn address(&self) -> String {
        self.directory.trim_start_matches("https://").trim_end_matches("/directory").to_owned()
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

/// Collects a process's output, and reads it to the end so that the pipe does not fill up.
pub(crate) fn hear(mut said: BufReader<ChildStderr>) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let heard = Arc::<Mutex<String>>::default();
    let hears = Arc::clone(&heard);
    let hearing = std::thread::spawn(move || {
        let mut line = String::new();
        while said.read_line(&mut line).expect("text") > 0 {
            hears.lock().unwrap().push_str(&std::mem::take(&mut line));
        }
    });
    (heard, hearing)
}

/// A run with a page on a free port. Ended when dropped.
pub(crate) struct Run {
    pub(crate) child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) page: String,
    /// Its standard error since it printed the page's address, or since this was last cleared.
    said: Arc<Mutex<String>>,
}

impl Run {
    pub(crate) fn start(folder: &Path, ca: &NullCa, flags: &[&str]) -> Self {
        let mut args = vec!["run", "--run-time", "10m", "--listen", "127.0.0.1:0"];
        args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
        args.extend(flags);
        args.extend(ca.target());
        Self::of(folder, &args)
    }

    /// Starts any command; `args` must set a free port for its page.
    pub(crate) fn of(folder: &Path, args: &[&str]) -> Self {
        Self::with(wec(folder, args))
    }

    /// Starts a command that is already composed, as [`Run::of`].
    pub(crate) fn with(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let page = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it printed the page's address");
            if let Some((_, address)) = line.split_once("http://127.0.0.1:") {
                let port: String = address.chars().take_while(char::is_ascii_digit).collect();
                break format!("127.0.0.1:{port}");
            }
        };
        Self { child, page, said: hear(said).0 }
    }

    /// A run whose standard error is not read.
    pub(crate) fn unheard(child: Child, page: String) -> Self {
        Self { child, page, said: Arc::default() }
    }

    /// Waits for these words in later standard error; fails if the run has ended.
    pub(crate) fn until_says(&mut self, words: &str) {
        let said = Arc::clone(&self.said);
        said.lock().unwrap().clear();
        until(&format!("it says {words:?}"), || {
            let said = said.lock().unwrap();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}: {said}");
            said.contains(words)
        });
    }

    /// `wec session ARGS…` at this run.
    pub(crate) fn session(&self, folder: &Path, args: &[&str]) -> Output {
        let args: Vec<_> = ["session", "--at", &self.page].into_iter().chain(args.iter().copied()).collect();
        run(folder, &args)
    }

    /// The output of `wec session ARGS…`, which must succeed.
    pub(crate) fn told(&self, folder: &Path, args: &[&str]) -> String {
        let output = self.session(folder, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// One HTTP exchange over a plain socket.
    pub(crate) fn http(&self, request: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.page).unwrap();
        write!(
            stream,
            "{request} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.page,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Waits until the run is over and its page shows its log. Between the two nothing listens.
    pub(crate) fn until_kept(&self) {
        let is_kept = || {
            let mut stream = TcpStream::connect(&self.page).ok()?;
            let ask = "GET /api/v1/runs/current/snapshot HTTP/1.0";
            write!(stream, "{ask}\r\nHost: {}\r\n\r\n", self.page).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.contains(r#""source":"log""#))
        };
        until("the page shows the log", || is_kept() == Some(true));
    }

    pub(crate) fn snapshot(&self) -> Value {
        self.http("GET /api/v1/runs/current/snapshot", "").1["snapshot"].take()
    }

    /// Iterations of a chain that have ended.
    pub(crate) fn count(&self, chain: &str) -> u64 {
        self.snapshot()["chains"][chain]["count"].as_u64().unwrap()
    }

    pub(crate) fn until_chains(&self, ended: u64) {
        until(&format!("{ended} chains have ended"), || chains(&self.snapshot()) >= ended);
    }

    /// Waits for a sample of the load in which nothing may start and nothing runs, and for the results of all that ended
    /// before it; returns the time of the latest record, and their number.
    pub(crate) fn until_at_rest(&self) -> (u64, u64) {
        let mut rest = (0, 0);
        until("the load is at rest", || {
            let now = self.snapshot();
            rest = (now["at_unix_ns"].as_u64().unwrap(), chains(&now));
            let scenarios = now["scenarios"].as_object().unwrap();
            let rests = |sample: &Value| {
                let rate = sample["rate_target"].as_f64();
                rate.map_or(sample["workers"] == 0, |rate| rate == 0.0) && sample["busy"] == 0
            };
            let ended: u64 = scenarios.values().map(|sample| sample["ended"].as_u64().unwrap()).sum();
            !scenarios.is_empty() && scenarios.values().all(rests) && ended == rest.1
        });
        rest
    }

    pub(crate) fn running(&self) -> u64 {
        self.http("GET /api/v1/sessions/current", "").1["workers_running"].as_u64().unwrap()
    }

    pub(crate) fn until_running(&self, workers: u64) {
        until(&format!("{workers} workers run"), || self.running() == workers);
    }

    /// Changes the run's only scenario by the web API; the change must be accepted.
    pub(crate) fn patch(&self, change: Value) -> Value {
        let (status, body) =
            self.http("PATCH /api/v1/sessions/current/scenarios/default", &change.to_string());
        assert_eq!(status, 200, "{change}: {body}");
        body
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Iterations that have ended, of all chains.
pub(crate) fn chains(snapshot: &Value) -> u64 {
    snapshot["chains"].as_object().unwrap().values().map(|chain| chain["count"].as_u64().unwrap()).sum()
}

/// Changes of the load in the log's order: who, what, from, to.
pub(crate) fn marks(folder: &Path) -> Vec<(String, String, String, String)> {
    let records = log(folder).into_iter();
    records
        .filter_map(|record| match record {
            Record::Mark(Mark { by, what, from, to, .. }) if what != MarkWhat::Generator => {
                Some((by.to_string(), what.to_string(), from.to_string(), to.to_string()))
            }
            _ => None,
        })
        .collect()
}

pub(crate) fn mark(by: &str, what: &str, from: &str, to: &str) -> (String, String, String, String) {
    (by.to_owned(), what.to_owned(), from.to_owned(), to.to_owned())
}
