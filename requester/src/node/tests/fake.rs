//! Fake surroundings of a run in this process: a CA, challenge data in memory, a list of results. Each can fail or be
//! unreachable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};
use wec_acme::transport::{BoxFuture, Reply, Request, Response, Transport};
use wec_acme::{Directory, Policy, Way};
use wec_board::Link;
use wec_delivery::Entry;
use wec_record::{ChainResult, LoadSample};
use wec_store::{ChallengeData, ChallengeReader as _, ChallengeStoreError, MemoryChallenges, StateOptions};

use super::*;

/// The CA's usual time for each answer. Paused time advances only while all tasks wait, so without it no time would pass.
pub(crate) const LATENCY: Duration = Duration::from_millis(100);

/// Runs a test on one runtime whose time is paused: time advances to the next timer when no task can run.
pub(crate) fn paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    // Surroundings belong to one task, so their futures need not be `Send`.
    LocalSet::new().block_on(&runtime, test);
}

/// The runtime of the state's database, whose answers take real time.
pub(crate) static DATABASE: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// Records the warnings and errors of the thread on which it was started.
#[derive(Clone, Default)]
pub(crate) struct Reported(Arc<Mutex<Vec<String>>>);

impl Reported {
    /// Records until the guard is dropped.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let reported = Self::default();
        let guard = tracing::subscriber::set_default(reported.clone());
        (reported, guard)
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

impl Subscriber for Reported {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A lease that does not end. Paused time runs ahead of the database runtime's, so a lease of the usual length would end
/// before it is renewed.
pub(crate) const ENDLESS: Duration = Duration::from_secs(1_000_000);

/// A CA that registers accounts while it is open, and makes orders of one name, whose challenge it validates.
#[derive(Clone)]
pub(crate) struct Ca(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) open: watch::Sender<bool>,
    /// The time for each answer.
    latency: Mutex<Duration>,
    /// A permit for each request that it works on at a time; the others wait.
    places: Semaphore,
    /// The status with which it refuses registrations; 0 if it does not.
    refuses: AtomicU16,
    /// The number of registrations that were requested.
    pub(crate) asked: watch::Sender<u64>,
    pub(crate) nonces: AtomicU64,
    /// By the order's number, whether its validation succeeded; none before the validation.
    pub(crate) orders: Mutex<BTreeMap<u64, Option<bool>>>,
    pub(crate) challenges: Arc<Challenges>,
}

/// The challenge store and the challenge server that reads it. Each may be down.
#[derive(Default)]
pub(crate) struct Challenges {
    pub(crate) store: MemoryChallenges,
    pub(crate) store_is_down: AtomicBool,
    pub(crate) server_is_down: AtomicBool,
}

impl Challenges {
    pub(crate) fn reached(&self) -> Result<(), ChallengeStoreError> {
        if !self.store_is_down.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (store, reason) = ("redis://ca.test".to_owned(), "connection refused".to_owned());
        Err(ChallengeStoreError::Unavailable { store, reason })
    }

    /// Validates at the challenge server.
    pub(crate) async fn answers(&self, name: &str, token: &str) -> bool {
        !self.server_is_down.load(Ordering::Relaxed)
            && self.store.http01(name, token).await.unwrap().is_some()
    }
}

impl ChallengeWriter for Challenges {
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(async move {
            self.reached()?;
            self.store.put(challenge).await
        })
    }

    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(async move {
            self.reached()?;
            self.store.remove(challenge).await
        })
    }
}

impl Ca {
    pub(crate) fn new(open: bool) -> Self {
        Self(Arc::new(Shared {
            clock: Clock::start(),
            open: watch::Sender::new(open),
            latency: Mutex::new(LATENCY),
            places: Semaphore::new(Semaphore::MAX_PERMITS),
            refuses: AtomicU16::new(0),
            asked: watch::Sender::new(0),
            nonces: AtomicU64::new(0),
            orders: Mutex::default(),
            challenges: Arc::default(),
        }))
    }

    pub(crate) fn client(&self) -> Client {
        let directory: Directory = serde_json::from_str(
            r#"{"newNonce":"https://ca.test/new-nonce","newAccount":"https://ca.test/new-account",
                "newOrder":"https://ca.test/new-order","revokeCert":"https://ca.test/revoke"}"#,
        )
        .unwrap();
        Client::with_transport(directory, Box::new(self.clone()), Policy::default(), self.0.clock)
    }

    pub(crate) fn open(&self, open: bool) {
        self.0.open.send_replace(open);
    }

    /// From now on each answer takes this time.
    pub(crate) fn answers_after(&self, latency: Duration) {
        *self.0.latency.lock().unwrap() = latency;
    }

    /// From now on it refuses registrations with this status; 0 for no longer.
    pub(crate) fn refuses_with(&self, status: u16) {
        self.0.refuses.store(status, Ordering::Relaxed);
    }

    /// It works on so many requests at a time.
    pub(crate) fn works_on(&self, requests: usize) {
        self.0.places.forget_permits(Semaphore::MAX_PERMITS - requests);
    }

    /// The number of registrations that have been requested.
    pub(crate) fn requested(&self) -> u64 {
        *self.0.asked.borrow()
    }

    /// Waits until this many registrations have been requested.
    pub(crate) async fn asked(&self, count: u64) {
        self.0.asked.subscribe().wait_for(|asked| *asked >= count).await.unwrap();
    }

    pub(crate) fn new_order(&self) -> u64 {
        let mut orders = self.0.orders.lock().unwrap();
        let number = orders.len() as u64;
        orders.insert(number, None);
        number
    }

    /// The answer to a request for an order, its authorization or its challenge.
    pub(crate) async fn order(&self, url: &str) -> Option<(u16, String)> {
        let (kind, number) = url.strip_prefix("https://ca.test/")?.split_once('/')?;
        let number = number.parse().unwrap();
        if kind == "challenge" {
            let found = self.0.challenges.answers(&name(number), &token(number)).await;
            self.0.orders.lock().unwrap().insert(number, Some(found));
        }
        let proven = self.0.orders.lock().unwrap().get(&number).copied()?;
        let answer = match kind {
            "order" => self.order_json(number),
            "challenge" => challenge_json(number, proven),
            "authorization" => format!(
                r#"{{"status":"{}","identifier":{{"type":"dns","value":"{}"}},"challenges":[{}]}}"#,
                status(proven),
                name(number),
                challenge_json(number, proven)
            ),
            _ => return None,
        };
        Some((200, answer))
    }

    pub(crate) fn order_json(&self, number: u64) -> String {
        let proven = self.0.orders.lock().unwrap()[&number];
        let status = match proven {
            Some(true) => "ready",
            _ => status(proven),
        };
        format!(
            r#"{{"status":"{status}","identifiers":[{{"type":"dns","value":"{}"}}],
                "authorizations":["https://ca.test/authorization/{number}"],"finalize":"https://ca.test/finalize/{number}"}}"#,
            name(number)
        )
    }
}

pub(crate) fn name(order: u64) -> String {
    format!("n{order}.test")
}

pub(crate) fn token(order: u64) -> String {
    format!("token-{order}")
}

pub(crate) fn status(proven: Option<bool>) -> &'static str {
    match proven {
        None => "pending",
        Some(true) => "valid",
        Some(false) => "invalid",
    }
}

pub(crate) fn challenge_json(order: u64, proven: Option<bool>) -> String {
    let error = match proven {
        Some(false) => r#","error":{"type":"urn:ietf:params:acme:error:connection","detail":"refused"}"#,
        _ => "",
    };
    format!(
        r#"{{"type":"http-01","url":"https://ca.test/challenge/{order}","token":"{}","status":"{}"{error}}}"#,
        token(order),
        status(proven)
    )
}

impl Transport for Ca {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let sent = self.0.clock.now();
        Box::pin(async move {
            let place = self.0.places.acquire().await.unwrap();
            let latency = *self.0.latency.lock().unwrap();
            sleep(latency).await;
            drop(place);
            let mut headers = HeaderMap::new();
            let nonce = format!("nonce-{}", self.0.nonces.fetch_add(1, Ordering::Relaxed));
            headers.insert("replay-nonce", HeaderValue::try_from(nonce).unwrap());
            let (mut status, mut body) = (200, "{}".to_owned());
            if let Some(order) = self.order(&request.url).await {
                (status, body) = order;
            }
            if request.url.ends_with("new-order") {
                let order = self.new_order();
                (status, body) = (201, self.order_json(order));
                let url = format!("https://ca.test/order/{order}");
                headers.insert("location", HeaderValue::try_from(url).unwrap());
            }
            if request.url.ends_with("new-account") {
                let mut number = 0;
                self.0.asked.send_modify(|asked| {
                    *asked += 1;
                    number = *asked;
                });
                self.0.open.subscribe().wait_for(|open| *open).await.unwrap();
                let account = format!("https://ca.test/account/{number}");
                headers.insert("location", HeaderValue::try_from(account).unwrap());
                status = 201;
                let refuses = self.0.refuses.load(Ordering::Relaxed);
                if refuses != 0 {
                    let problem = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"closed"}"#;
                    (status, body) = (refuses, problem.to_owned());
                }
            }
            Reply {
                sent,
                done: self.0.clock.now(),
                reused: true,
                way: Way::default(),
                bytes_sent: request.body.len() as u64,
                bytes_received: body.len() as u64,
                result: Ok(Response { status, headers, body: body.into() }),
            }
        })
    }
}

/// The results that were delivered.
#[derive(Default)]
pub(crate) struct List {
    pub(crate) results: watch::Sender<Vec<ChainResult>>,
    /// The samples of the load, each with its time, nanoseconds since the Unix epoch.
    pub(crate) loads: Mutex<Vec<(u64, LoadSample)>>,
    /// Changes of the state that were reported as unwritten.
    pub(crate) unwritten: AtomicU64,
}

impl Sink for List {
    fn push_entry(&self, entry: Entry) {
        match entry {
            Entry::Chain(result) => self.results.send_modify(|results| results.push(result)),
            Entry::State { counts, .. } => {
                self.unwritten.fetch_add(counts.unwritten, Ordering::Relaxed);
            }
            Entry::Load { at_unix_ns, load } => self.loads.lock().unwrap().push((at_unix_ns, load)),
            _ => {}
        }
    }

    fn lose(&self, _: u64, _: &str) {}

    fn health(&self) -> Health {
        Health { pushed: self.results.borrow().len() as u64, ..Health::default() }
    }
}

/// Surroundings of which one part may fail.
pub(crate) struct Fake {
    pub(crate) ca: Ca,
    pub(crate) board: Board,
    pub(crate) list: Arc<List>,
    /// The part that fails.
    pub(crate) fails: &'static str,
    /// The part that never returns.
    pub(crate) hangs: &'static str,
    /// The part before which the board is lost.
    pub(crate) loses: Option<(&'static str, Link)>,
    /// The bound on the last write of the state.
    pub(crate) lease: Duration,
    /// The parts that were started, in order.
    pub(crate) steps: Arc<Mutex<Vec<&'static str>>>,
    pub(crate) workload: watch::Sender<Option<Workload>>,
    /// The state, once it is open.
    pub(crate) opened: watch::Sender<Option<State>>,
}

impl Fake {
    pub(crate) fn new(ca: &Ca, board: &Board) -> Self {
        Self {
            ca: ca.clone(),
            board: board.clone(),
            list: Arc::default(),
            fails: "",
            hangs: "",
            loses: None,
            lease: ENDLESS,
            steps: Arc::default(),
            workload: watch::Sender::new(None),
            opened: watch::Sender::new(None),
        }
    }

    pub(crate) async fn step(&mut self, part: &'static str) -> anyhow::Result<()> {
        self.steps.lock().unwrap().push(part);
        if let Some((_, link)) = self.loses.take_if(|(loses, _)| *loses == part) {
            link.cut();
        }
        if self.hangs == part {
            std::future::pending::<()>().await;
        }
        anyhow::ensure!(self.fails != part, "no {part} today");
        Ok(())
    }
}

impl Surroundings for Fake {
    async fn client(&mut self, _: &Plan, _: Clock) -> anyhow::Result<Client> {
        self.step("client").await?;
        Ok(self.ca.client())
    }

    async fn board(&mut self, _: &str) -> anyhow::Result<Board> {
        self.step("board").await?;
        Ok(self.board.clone())
    }

    async fn state(&mut self, plan: &Plan, _: &Client, _: Clock) -> Result<Opened, StoreError> {
        let options = StateOptions { owner_lease: self.lease, ..StateOptions::default() };
        let (url, directory) = (plan.state.clone(), plan.directory.to_string());
        let open = move || DATABASE.block_on(State::open(&url, &directory, options));
        // Paused time does not advance meanwhile.
        let state = tokio::task::spawn_blocking(open).await.unwrap()?;
        self.opened.send_replace(Some(state.clone()));
        Ok(Opened { state, notes: Vec::new() })
    }

    fn runtimes(&self, _: &Plan) -> Runtimes {
        Runtimes::Current
    }

    fn opened(&mut self, _: Vec<String>) {
        self.steps.lock().unwrap().push("opened");
    }

    async fn challenges(&mut self, _: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        self.step("challenges").await?;
        Ok(Arc::clone(&self.ca.0.challenges) as Arc<dyn ChallengeWriter>)
    }

    fn sink(&mut self, _: RunHeader, _: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        self.steps.lock().unwrap().push("sink");
        anyhow::ensure!(self.fails != "sink", "no sink today");
        Ok(Arc::clone(&self.list) as Arc<dyn Sink>)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        self.step("accompany").await?;
        self.workload.send_replace(Some(run.workload));
        run.ended.cancelled().await;
        Ok(())
    }

    async fn deliver(&mut self, _: bool) -> Health {
        self.steps.lock().unwrap().push("deliver");
        let pushed = self.list.health().pushed;
        match self.fails {
            "deliver" => Health { pushed, lost: pushed, ..Health::default() },
            _ => Health { pushed, delivered: pushed, ..Health::default() },
        }
    }
}
