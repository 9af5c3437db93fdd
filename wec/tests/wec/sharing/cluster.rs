//! Nodes as processes, with an etcd that each reaches over a connection of its own, which a test can cut, a CA that
//! counts, and analytics.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use wec_testbed::etcd::Etcd;

use super::counted::Counted;
use super::table::Observed;
use crate::common::{self, NullCa, ONLY_REGISTRATIONS, Running};

/// The size of a campaign.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// The target, registrations a second.
    pub(super) rate: u32,
    /// The lease, seconds.
    pub(super) lease: u64,
    /// How long a process is stopped, seconds.
    pub(super) stopped: u64,
    /// Whether it is the long form, whose times are asserted and written down.
    pub(super) full: bool,
}

impl Scale {
    pub(super) fn of_environment() -> Self {
        match std::env::var("WEC_SHARING").as_deref() {
            // The worked example at a tenth, unless the machine cannot.
            Ok("full") => {
                let given = std::env::var("WEC_SHARING_RATE").ok();
                let rate = given.map_or(500, |rate| rate.parse().expect("a number"));
                Self { rate, lease: 10, stopped: 30, full: true }
            }
            _ => Self { rate: 50, lease: 3, stopped: 6, full: false },
        }
    }

    /// Fails in the long form if the target was reached again later than 10 s after others had noticed a fault, which
    /// takes at most the time of a lease.
    pub(super) fn assert_back(self, fault: &str, after: u64) {
        let bound = self.lease + 10;
        assert!(!self.full || after <= bound, "{fault}: back after {after} s, later than {bound} s");
    }

    /// What a node can do: 400, 500 and 300 of 500 for the first three.
    pub(super) fn strength(self, node: &str) -> u32 {
        self.rate * [8, 10, 6][usize::from(node.as_bytes()[0] - b'a') % 3] / 10
    }
}

/// A connection to etcd that a test can cut without closing it, as a network does.
pub(super) struct Cable {
    pub(super) address: SocketAddr,
    cut: watch::Sender<bool>,
    carrying: AbortHandle,
}

impl Cable {
    pub(super) async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, followed) = watch::channel(false);
        let carrying = tokio::spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let followed = followed.clone();
                streams.spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    // One end that closes closes the other.
                    tokio::select! {
                        () = carry(near_in, far_out, followed.clone()) => {}
                        () = carry(far_in, near_out, followed) => {}
                    }
                });
            }
        });
        Self { address, cut, carrying: carrying.abort_handle() }
    }

    pub(super) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

pub(super) struct Node {
    pub(super) running: Running,
    pub(super) cable: Cable,
}

/// All of it. Processes end when it is dropped.
pub(super) struct Cluster {
    pub(super) folder: tempfile::TempDir,
    pub(super) scale: Scale,
    pub(super) ca: NullCa,
    pub(super) counted: Counted,
    pub(super) etcd: Etcd,
    _analytics: Running,
    results: String,
    pub(super) nodes: BTreeMap<String, Node>,
}

impl Cluster {
    pub(super) async fn start(scale: Scale) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seconds = folder.path().join("seconds.jsonl");
        let ca = NullCa::start(folder.path(), &["--seconds-out", &seconds.display().to_string()]);
        let etcd = Etcd::start().await.unwrap();
        let board = format!("etcd://{}?lease={}", etcd.address(), scale.lease);
        let (analytics, results) = analytics(&[], folder.path(), &board);
        let counted = Counted::in_file(seconds);
        Self { folder, scale, ca, counted, etcd, _analytics: analytics, results, nodes: BTreeMap::new() }
    }

    /// Starts a node; `prefix` are words before its command.
    pub(super) async fn join_with(&mut self, name: &str, prefix: &[&str]) {
        let cable = Cable::to(self.etcd.address()).await;
        let board = format!("etcd://{}?lease={}", cable.address, self.scale.lease);
        let strength = format!("chains={}", self.scale.strength(name));
        let rate = format!("{}/s", self.scale.rate);
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut args = vec!["requester", "--node", name, "--analytics", &self.results, "--board", &board];
        args.extend(["--session", "night", "--strength", &strength, "--rate", &rate, "--spacing", "even"]);
        args.extend(["--workers", "900", "--run-time", "1h", "--http01-listen", "127.0.0.1:0"]);
        args.extend(["--weight", &ONLY_REGISTRATIONS]);
        args.extend(self.ca.target());
        let said = new_log(&folder);
        let mut command = prefixed(prefix, &folder, &args);
        command.env("RUST_LOG", OFFERS);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        self.nodes.insert(name.to_owned(), Node { running: Running(Some(child)), cable });
    }

    pub(super) async fn join(&mut self, name: &str) {
        self.join_with(name, &[]).await;
    }

    /// What a node has written to standard error.
    pub(super) fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name).join("said")).unwrap_or_default()
    }

    pub(super) fn signal(&self, name: &str, signal: &str) {
        common::signal(self.nodes[name].running.0.as_ref().unwrap(), signal);
    }

    /// Lets a node end in order.
    pub(super) fn leave(&mut self, name: &str) -> Output {
        self.take(name).running.interrupt()
    }

    /// A node, which must not have ended by itself.
    fn take(&mut self, name: &str) -> Node {
        let mut node = self.nodes.remove(name).unwrap();
        assert!(!node.running.has_ended(), "{name} has ended: {}", self.said(name));
        node
    }

    pub(super) fn kill(&mut self, name: &str) {
        let mut child = self.take(name).running.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for so many seconds of the CA's time.
    pub(super) fn pass(&self, seconds: u64) {
        let from = now();
        common::until("time passes", || now() >= from + seconds);
    }
}

impl Observed for Cluster {
    fn counted(&self) -> &Counted {
        &self.counted
    }

    fn reachable(&self) -> f64 {
        let offers =
            self.nodes.keys().map(|name| offer(&self.said(name)) * f64::from(self.scale.strength(name)));
        offers.sum::<f64>().min(self.scale.rate.into())
    }

    fn until_rate(&self, from: u64) -> u64 {
        let nodes = || {
            let said = self.nodes.keys().map(|name| format!("{name}: {}", self.said(name)));
            said.collect::<String>()
        };
        let mut looks = 0;
        let mut reached = None;
        common::until("the CA gets its target", || {
            looks += 1;
            let rate = self.reachable();
            reached = self.counted.reached(rate, from, 3);
            if looks == 3_000 {
                eprintln!("{:?}\n{}", self.counted.seconds(), nodes());
            }
            reached.is_some()
        });
        reached.unwrap()
    }
}

/// What nodes write to standard error: warnings, and what they offer.
pub(super) const OFFERS: &str = "warn,wec_requester::offer=info";

/// A new file for what a process writes to standard error; that of an earlier process is kept beside it.
pub(super) fn new_log(folder: &Path) -> std::fs::File {
    let said = folder.join("said");
    let mut earlier = (1..).map(|number| folder.join(format!("said.{number}")));
    let _ = std::fs::rename(&said, earlier.find(|path| !path.exists()).unwrap());
    std::fs::File::create(said).unwrap()
}

/// The part of its strength that a node offers, by what it has written.
pub(super) fn offer(said: &str) -> f64 {
    let last = said.rsplit_once("this node offers ").and_then(|(_, rest)| rest.split_once(" %"));
    last.map_or(1.0, |(hundredths, _)| hundredths.parse::<f64>().expect("a number") / 100.0)
}

/// A command, after the words of another one that runs it.
pub(super) fn prefixed(prefix: &[&str], folder: &Path, args: &[&str]) -> Command {
    let wec = common::wec(folder, args);
    let [program, words @ ..] = prefix else { return wec };
    let mut command = Command::new(program);
    command.args(words).arg(wec.get_program()).args(wec.get_args()).current_dir(folder).stdin(Stdio::null());
    for (name, value) in wec.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Analytics, and the URL at which it receives results; `prefix` are words before its command.
pub(super) fn analytics(prefix: &[&str], folder: &Path, board: &str) -> (Running, String) {
    let mut args =
        vec!["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--plaintext"];
    args.extend(["--board", board, "--session", "night"]);
    let said = std::fs::File::create(folder.join("analytics.said")).unwrap();
    let mut child = prefixed(prefix, folder, &args).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let results = line.trim().rsplit(' ').next().unwrap().to_owned();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (Running(Some(child)), format!("http://{results}"))
}

/// Seconds since the Unix epoch: the CA's seconds are by the same clock.
#[expect(clippy::disallowed_methods, reason = "compared with the seconds of another process")]
pub(super) fn now() -> u64 {
    let since: Duration = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs()
}
