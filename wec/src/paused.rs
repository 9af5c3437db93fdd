//! For tests of runs in this process without a CA's process: paused time, a CA that registers accounts at a known rate,
//! and a state whose database has a runtime of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};
use wec_acme::transport::{BoxFuture, Reply, Request, Response, Transport};
use wec_acme::{Client, Clock, Directory, Failure, FailureClass, Policy, Way};
use wec_requester::{Opened, Plan};
use wec_store::{State, StateOptions, StoreError};

/// The CA's time for an answer that does not wait for its turn.
const LATENCY: Duration = Duration::from_millis(20);
/// Paused time runs ahead of the database's runtime, so a lease of the usual length would end before it is renewed.
const ENDLESS: Duration = Duration::from_secs(1_000_000);

/// Runs a test on one runtime whose time is paused: time advances to the next timer when no task can run.
pub(crate) fn paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// The runtime of the state's database, whose answers take real time.
static DATABASE: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// Opens the state of a plan.
pub(crate) async fn open_state(plan: &Plan) -> Result<Opened, StoreError> {
    let options = StateOptions { owner_lease: ENDLESS, ..StateOptions::default() };
    let (url, directory) = (plan.state.clone(), plan.directory.to_string());
    let open = move || DATABASE.block_on(State::open(&url, &directory, options));
    // Paused time does not advance meanwhile.
    let state = tokio::task::spawn_blocking(open).await.unwrap()?;
    Ok(Opened { state, notes: Vec::new() })
}

/// A CA that registers this many accounts a second, one after the other.
#[derive(Clone)]
pub(crate) struct Ca(Arc<Shared>);

struct Shared {
    clock: Clock,
    /// Accounts a second.
    serves: Mutex<f64>,
    /// When its last turn ends.
    turns_until: Mutex<Instant>,
    is_down: AtomicBool,
    /// Every how many registrations one is refused; 0 for none.
    refuses_every: AtomicU64,
    asked: AtomicU64,
}

impl Ca {
    pub(crate) fn serving(per_second: f64) -> Self {
        Self(Arc::new(Shared {
            clock: Clock::start(),
            serves: Mutex::new(per_second),
            turns_until: Mutex::new(Instant::now()),
            is_down: AtomicBool::new(false),
            refuses_every: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }))
    }

    pub(crate) fn serve(&self, per_second: f64) {
        *self.0.serves.lock().unwrap() = per_second;
    }

    pub(crate) fn refuse_every(&self, registrations: u64) {
        self.0.refuses_every.store(registrations, Ordering::Relaxed);
    }

    /// While it is down, connections are refused.
    pub(crate) fn is_down(&self, down: bool) {
        self.0.is_down.store(down, Ordering::Relaxed);
    }

    /// The clock of the CA. A node needs the same one: the origin of another would be at another wall time, which does not
    /// pause.
    pub(crate) fn clock(&self) -> Clock {
        self.0.clock
    }

    pub(crate) fn client(&self) -> Client {
        let directory: Directory = serde_json::from_str(
            r#"{"newNonce":"https://ca.test/new-nonce","newAccount":"https://ca.test/new-account",
                "newOrder":"https://ca.test/new-order","revokeCert":"https://ca.test/revoke"}"#,
        )
        .unwrap();
        Client::with_transport(directory, Box::new(self.clone()), Policy::default(), self.0.clock)
    }

    async fn turn(&self) {
        let until = {
            let takes = Duration::from_secs_f64(1.0 / *self.0.serves.lock().unwrap());
            let mut turns_until = self.0.turns_until.lock().unwrap();
            *turns_until = (*turns_until).max(Instant::now()) + takes;
            *turns_until
        };
        sleep_until(until).await;
    }

    async fn answer(&self, url: &str) -> Result<Response, Failure> {
        sleep(LATENCY).await;
        let number = self.0.asked.fetch_add(1, Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        headers.insert("replay-nonce", HeaderValue::try_from(format!("nonce-{number}")).unwrap());
        let (mut status, mut body) = (200, "{}");
        if url.ends_with("new-account") {
            self.turn().await;
            let account = format!("https://ca.test/account/{number}");
            headers.insert("location", HeaderValue::try_from(account).unwrap());
            status = 201;
            let every = self.0.refuses_every.load(Ordering::Relaxed);
            if every > 0 && number.is_multiple_of(every) {
                status = 403;
                body = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"closed"}"#;
            }
        }
        if self.0.is_down.load(Ordering::Relaxed) {
            return Err(Failure::new(FailureClass::Connect, "connection refused"));
        }
        Ok(Response { status, headers, body: body.into() })
    }
}

impl Transport for Ca {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let sent = self.0.clock.now();
        Box::pin(async move {
            let result = self.answer(&request.url).await;
            Reply {
                sent,
                done: self.0.clock.now(),
                reused: true,
                way: Way::default(),
                bytes_sent: request.body.len() as u64,
                bytes_received: 0,
                result,
            }
        })
    }
}
