//! Every HTTP attempt of a chain, in the order of sending.

use std::num::NonZeroU8;
use std::time::Duration;

use crate::FailureClass;
use crate::Purpose;
use crate::behaviour::Behaviour;
use crate::clock::{Clock, RESOLUTION_NS, Term};
use crate::correlation::TraceId;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::problem::Problem;
use crate::transport::Way;
use crate::waits::{Wait, Waited};

/// One HTTP attempt. Times are nanoseconds of the client's [`Clock`].
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The requested resource.
    pub endpoint: Endpoint,
    /// HTTP method.
    pub method: &'static str,
    /// The URL's path with ids replaced: `/authZ/{id}`.
    pub template: &'static str,
    /// Why it was sent.
    pub purpose: Purpose,
    /// HTTP status, 0 when there was no answer.
    pub status: u16,
    /// None if the answer was right. Boxed, because every waiting worker keeps its attempts.
    pub failure: Option<Box<Failure>>,
    /// Bytes of the request's head and body, before TLS.
    pub bytes_sent: u64,
    /// Bytes of the answer's body.
    pub bytes_received: u64,
    /// When the chain had all it needed to send it, before it fetched a nonce or waited for a connection.
    pub due: u64,
    /// When it was handed to the connection.
    pub sent: u64,
    /// When the last byte of the body had been read, or it failed.
    pub done: u64,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// The connection to the server.
    pub way: Way,
    /// How old the nonce was when it was used, nanoseconds; 0 for a request without one.
    pub nonce_age: u64,
    /// What the CA asked to wait (Retry-After), on any status.
    pub retry_after: Option<Duration>,
    /// The CA's own id of the request, when it failed and the client's settings name the header.
    pub request_id: Option<Box<str>>,
    /// The `traceparent` that was sent with it, if one was.
    pub traceparent: Option<Box<str>>,
    /// The problem document as it came, if the request failed with one.
    pub document: Option<Box<str>>,
}

impl Exchange {
    /// The CA's problem document, if it sent one.
    pub fn problem(&self) -> Option<&Problem> {
        self.failure.as_ref()?.problem.as_deref()
    }

    /// Changes the arrival time of its nonce into its age when it was sent, which is at least the clock's resolution.
    fn settle_nonce_age(&mut self) {
        if self.nonce_age > 0 {
            self.nonce_age = self.sent.saturating_sub(self.nonce_age).max(RESOLUTION_NS);
        }
    }
}

/// Attempts for which a trace makes room at a time. Most chains have no more.
const ROOM: usize = 5;

/// What a chain sent, and the time it spent on keys.
///
/// The trace outlives the chain's future. If that is dropped during a request, the attempt is still here, and
/// [`Trace::into_parts`] closes it as interrupted.
#[derive(Debug)]
pub struct Trace {
    clock: Clock,
    exchanges: Vec<Exchange>,
    /// Whether the last exchange is still open.
    open: bool,
    keygen: u64,
    /// Id for requests with a `traceparent`; made with the first of them.
    id: Option<TraceId>,
    waited: Waited,
    /// The current wait. Boxed, so that traces of workers that do not wait stay small.
    waiting: Option<Box<Wait>>,
    /// When the nonce of the next attempt arrived; 0 without one.
    nonce_arrived: u64,
    behaviour: Behaviour,
    /// Steps after which the client abandons its chain; none if it does not.
    steps: Option<NonZeroU8>,
    /// Whether it has.
    abandoned: bool,
    /// The term in which requests may be sent; none if they always may.
    term: Option<Term>,
}

impl Trace {
    /// An empty trace. It must use the client's clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            exchanges: Vec::new(),
            open: false,
            keygen: 0,
            waited: Waited::default(),
            waiting: None,
            nonce_arrived: 0,
            id: None,
            behaviour: Behaviour::Proper,
            steps: None,
            abandoned: false,
            term: None,
        }
    }

    /// Requests are sent in this term only: after it the chain fails as [`FailureClass::Interrupted`].
    #[must_use]
    pub fn within(self, term: Option<Term>) -> Self {
        Self { term, ..self }
    }

    /// The term in which requests may be sent.
    pub(crate) fn term(&self) -> Option<&Term> {
        self.term.as_ref()
    }

    /// The client behaves so from now on. `steps` is how many steps one that abandons its chain takes.
    pub fn behave(&mut self, behaviour: Behaviour, steps: Option<NonZeroU8>) {
        (self.behaviour, self.steps) = (behaviour, steps);
    }

    /// How the client behaves.
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Whether the client has abandoned its chain on purpose.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// The failure of a client that abandons its chain instead of the next step.
    pub(crate) fn next_step(&mut self) -> Result<(), Failure> {
        let Some(steps) = self.steps else { return Ok(()) };
        let taken = self.exchanges.iter().filter(|exchange| exchange.purpose == Purpose::Step).count();
        if taken < usize::from(steps.get()) {
            return Ok(());
        }
        self.abandoned = true;
        let message = format!("abandoned on purpose after {taken} requests");
        Err(Failure::new(FailureClass::Interrupted, message))
    }

    /// The attempts so far. The one in progress has `done` 0.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// The clock's time.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Runs `work`, which makes keys or CSRs, and counts its time as the load tester's own.
    pub fn keygen<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let made = work();
        self.keygen += self.clock.now() - start;
        made
    }

    /// Waits for `made`, a key that is made elsewhere, and counts the time as the load tester's own.
    pub async fn wait_for_key<T>(&mut self, made: impl Future<Output = T>) -> T {
        let start = self.clock.now();
        let made = made.await;
        self.keygen += self.clock.now() - start;
        made
    }

    /// The same for a future.
    pub async fn waits_for_key<T>(&mut self, work: impl Future<Output = T>) -> T {
        let start = self.clock.now();
        let made = work.await;
        self.keygen += self.clock.now() - start;
        made
    }

    /// The `traceparent` of the attempt that was opened last.
    pub(crate) fn traceparent(&mut self) -> Box<str> {
        let value = self.id.get_or_insert_with(TraceId::random).traceparent();
        if let Some(last) = self.exchanges.last_mut() {
            last.traceparent = Some(value.clone());
        }
        value
    }

    /// How long the chain has waited between its requests, including the current wait.
    pub fn waited(&self) -> Waited {
        let mut waited = self.waited;
        if let Some(wait) = &self.waiting {
            waited += wait.ended(self.clock.now());
        }
        waited
    }

    /// Waits for the longer of the CA's wish and our own interval, but at most `at_most`.
    pub(crate) async fn wait(&mut self, asked: Duration, own: Duration, at_most: Duration) {
        debug_assert!(!self.open, "nobody waits during a request");
        let wait = Wait::new(self.clock.now(), asked, own);
        // Noted before the wait, because a chain can be dropped during it.
        self.waiting = Some(Box::new(wait));
        tokio::time::sleep(wait.length().min(at_most)).await;
        self.waiting = None;
        self.waited += wait.ended(self.clock.now());
    }

    /// Waits for a step of the chain. It counts as a wait of our own.
    pub async fn pause(&mut self, time: Duration) {
        self.wait(Duration::ZERO, time, time).await;
    }

    /// The attempts, and the nanoseconds spent on keys and CSRs.
    ///
    /// An attempt still under way becomes [`FailureClass::Interrupted`], done now.
    pub fn into_parts(mut self) -> (Vec<Exchange>, u64) {
        if self.open
            && let Some(last) = self.exchanges.last_mut()
        {
            last.done = self.clock.now();
            last.settle_nonce_age();
            let message = format!(
                "{}: {} {}: interrupted before the answer",
                last.endpoint, last.method, last.template
            );
            last.failure = Some(Box::new(Failure::new(FailureClass::Interrupted, message)));
        }
        (self.exchanges, self.keygen)
    }

    /// The next attempt is signed with a nonce that arrived then.
    pub(crate) fn nonce_arrived(&mut self, arrived: u64) {
        self.nonce_arrived = arrived.max(1);
    }

    /// Notes an attempt that is about to be sent.
    pub(crate) fn open(
        &mut self,
        endpoint: Endpoint,
        method: &'static str,
        template: &'static str,
        purpose: Purpose,
        due: u64,
    ) {
        self.open = true;
        // Not doubled each time: every waiting worker keeps its trace, and polls make it long.
        if self.exchanges.len() == self.exchanges.capacity() {
            self.exchanges.reserve_exact(ROOM);
        }
        self.exchanges.push(Exchange {
            endpoint,
            method,
            template,
            purpose,
            status: 0,
            failure: None,
            bytes_sent: 0,
            bytes_received: 0,
            due,
            // Until the transport reports it. Not `due`: a nonce may have been fetched since, and attempts do not
            // overlap.
            sent: self.clock.now(),
            done: 0,
            reused: false,
            way: Way::default(),
            // The arrival time until the attempt has ended.
            nonce_age: std::mem::take(&mut self.nonce_arrived),
            retry_after: None,
            request_id: None,
            traceparent: None,
            document: None,
        });
    }

    /// Ends the attempt that [`Trace::open`] began.
    pub(crate) fn close(&mut self, end: impl FnOnce(&mut Exchange)) {
        debug_assert!(self.open, "every close follows an open");
        self.open = false;
        if let Some(last) = self.exchanges.last_mut() {
            end(last);
            last.settle_nonce_age();
        }
    }
}
