//! What the tests of agents start: a board, a CA and analytics.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use wec_board::{AgentState, AgentsView, Board, BoardUrl, By, PlanState, SessionPlan};
use wec_record::Record;
use wec_testbed::etcd::Etcd;

use crate::common::{NullCa, Running, said};

/// A board, a CA and analytics; each process is ended when dropped.
pub(super) struct Bed {
    pub(super) folder: tempfile::TempDir,
    pub(super) ca: NullCa,
    /// Kept for its process.
    pub(super) etcd: Option<Etcd>,
    pub(super) url: String,
    pub(super) board: Board,
    _analytics: Running,
    pub(super) page: String,
    pub(super) results: String,
}

impl Bed {
    pub(super) async fn etcd() -> Self {
        let etcd = Etcd::start().await.unwrap();
        let url = format!("etcd://{}", etcd.endpoint().trim_start_matches("http://"));
        Self::with(url, Some(etcd), tempfile::tempdir().unwrap()).await
    }

    pub(super) async fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("board.db").display());
        Self::with(url, None, folder).await
    }

    pub(super) async fn with(url: String, etcd: Option<Etcd>, folder: tempfile::TempDir) -> Self {
        let seconds = seconds_in(folder.path()).display().to_string();
        let ca = NullCa::start(folder.path(), &["--seconds-out", &seconds]);
        let args = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--board", &url];
        let mut child = crate::common::wec(folder.path(), &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let page = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let results = format!("http://{}", line.trim().rsplit(' ').next().unwrap());
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let board = BoardUrl::parse(&url).unwrap().open().await.unwrap();
        Self { folder, ca, etcd, url, board, _analytics: Running(Some(child)), page, results }
    }

    /// What the CA counted in each second.
    pub(super) fn seconds(&self) -> PathBuf {
        seconds_in(self.folder.path())
    }

    /// An agent with its own folder, once it waits for sessions.
    pub(super) fn agent(&self, name: &str, flags: &[&str]) -> Running {
        let [.., root] = self.ca.target();
        let usual = ["--http01-listen", "127.0.0.1:0", "--admin-listen", "off", "--cacert", root];
        self.bare_agent(name, &[&usual, flags].concat())
    }

    pub(super) fn bare_agent(&self, name: &str, flags: &[&str]) -> Running {
        self.agent_that(name, &[&["--no-calibration"], flags].concat())
    }

    pub(super) fn agent_that(&self, name: &str, flags: &[&str]) -> Running {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut args = vec!["agent", "--board", &self.url, "--name", name, "--analytics", &self.results];
        args.extend(flags);
        let said = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("said")).unwrap();
        let mut command = crate::common::wec(&folder, &args);
        command.env("XDG_STATE_HOME", self.folder.path());
        let mut child = command.stdout(Stdio::piped()).stderr(said).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with(&format!("agent {name} waits for sessions")), "{line}: {}", self.said(name));
        std::fs::write(folder.join("first"), line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Running(Some(child))
    }

    /// Standard error of an agent so far.
    pub(super) fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name).join("said")).unwrap_or_default()
    }

    /// A scenario file that only registers accounts, with these keys.
    pub(super) fn scenario(&self, name: &str, keys: &str) -> String {
        let weights = crate::common::ONLY_REGISTRATIONS.replace('=', " = ").replace(',', "\n");
        let [_, directory, ..] = self.ca.target();
        let text =
            format!("directory = {directory:?}\nchallenge_linger = \"0s\"\n{keys}\n[weights]\n{weights}\n");
        let file = format!("{name}.toml");
        std::fs::write(self.folder.path().join(&file), text).unwrap();
        file
    }

    /// `wec ARGS… --board URL`, which must succeed; its standard output.
    pub(super) fn wec(&self, args: &[&str]) -> String {
        let output = self.tried(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(super) fn tried(&self, args: &[&str]) -> std::process::Output {
        let args: Vec<_> = args.iter().copied().chain(["--board", self.url.as_str()]).collect();
        crate::common::run(self.folder.path(), &args)
    }

    pub(super) async fn view(&self) -> AgentsView {
        self.board.agents_now().await.unwrap()
    }

    pub(super) async fn until(&self, what: &str, enough: impl Fn(&AgentsView) -> bool) {
        let mut agents = self.board.agents();
        let bound = std::time::Duration::from_secs(120);
        let waited = tokio::time::timeout(bound, agents.wait_for(enough)).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:?}", self.view().await);
    }

    pub(super) async fn until_state(&self, session: &str, state: PlanState) {
        let is = |view: &AgentsView| view.plans.get(session).is_some_and(|plan| plan.value.state == state);
        self.until(&format!("{session} is {state:?}"), is).await;
    }

    pub(super) async fn until_runs(&self, session: &str, agent: &str) {
        let runs = |view: &AgentsView| part(view, session, agent) == AgentState::TestRunning;
        self.until(&format!("{agent} runs {session}"), runs).await;
    }

    pub(super) fn log(&self) -> Vec<Record> {
        crate::common::log_so_far(&self.folder.path().join("results"))
    }

    /// Chains in the logs, by node.
    pub(super) fn chains(&self) -> BTreeMap<String, usize> {
        let mut chains = BTreeMap::new();
        for record in self.log() {
            if let Record::Chain { node, .. } = record {
                // Its name, without what is new at each start.
                let name = node.rsplit_once('-').map_or(node.as_str(), |(name, _)| name);
                *chains.entry(name.to_owned()).or_default() += 1;
            }
        }
        chains
    }

    pub(super) fn http(&self, request: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.page).unwrap();
        let (page, length) = (&self.page, body.len());
        write!(
            stream,
            "{request} HTTP/1.0\r\nHost: {page}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// A session put on the board by another program.
    pub(super) async fn put(&self, id: &str, program: &str, keys: &[(&str, &str)]) {
        let [_, directory, ..] = self.ca.target();
        let mut all = BTreeMap::from([("directory".to_owned(), directory.to_owned())]);
        all.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.board.create_plan(SessionPlan::new(id, program, all), By::Api).await.unwrap();
        self.board.start_plan(id, &format!("{id}-1"), By::Api).await.unwrap();
    }
}

fn seconds_in(folder: &Path) -> PathBuf {
    folder.join("seconds.jsonl")
}

pub(super) fn part(view: &AgentsView, session: &str, agent: &str) -> AgentState {
    view.plans.get(session).map_or(AgentState::Available, |plan| view.state_of(&plan.value, agent))
}

pub(super) fn kill(running: &mut Running) {
    let mut child = running.0.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
