//! What is shown live: one object each second, with only what changed of the series.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use rand::RngExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use wec_board::Board;

use super::Web;
use super::error::{ApiError, ErrorBody};
use crate::clock::unix_now_ns;
use crate::ingest::{Ingest, Shown, ShownRun};
use crate::snapshot::{Live, NodeView, SessionView, Snapshot};

const PERIOD: Duration = Duration::from_secs(1);
/// Figures this fresh are shown to a second watcher without being worked out again.
const FRESH: Duration = Duration::from_millis(250);

/// Where the live figures come from.
#[derive(Debug)]
pub(crate) struct Feed {
    shown: Arc<Shown>,
    ingest: Ingest,
    board: Board,
    session: String,
    /// Tells this process's event ids from those of one before it.
    boot: u32,
    latest: Mutex<Option<(Instant, u64, Arc<Snapshot>)>>,
}

/// How far a watcher has seen: of which process, which run, up to which revision of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    boot: u32,
    run: u64,
    revision: u64,
}

impl Feed {
    pub(crate) fn new(shown: Arc<Shown>, ingest: Ingest, board: Board, session: String) -> Self {
        Self { shown, ingest, board, session, boot: rand::rng().random(), latest: Mutex::default() }
    }

    /// Everything now, from figures no older than `fresh`; of the series what is new to one who has `seen`
    /// so much.
    fn live(&self, seen: Option<Seen>, fresh: Duration) -> (Live, Seen) {
        let run = self.shown.run();
        let revision =
            seen.filter(|seen| (seen.boot, seen.run) == (self.boot, run.number)).map(|seen| seen.revision);
        let (series, revision) = run.lock().series(revision);
        let snapshot = self.snapshot(&run, fresh);
        let live = Live {
            now_unix_ns: unix_now_ns(),
            session: self.session_view(snapshot.state.workers),
            nodes: self
                .board
                .nodes()
                .borrow()
                .iter()
                .map(|node| NodeView {
                    id: node.id.clone(),
                    name: node.name.clone(),
                    kind: node.kind.name().to_owned(),
                    workers: node.workers,
                })
                .collect(),
            health: self.shown.health(&self.ingest),
            snapshot: Arc::unwrap_or_clone(snapshot),
            series,
        };
        (live, Seen { boot: self.boot, run: run.number, revision })
    }

    fn snapshot(&self, run: &ShownRun, fresh: Duration) -> Arc<Snapshot> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((made, number, snapshot)) if *number == run.number && made.elapsed() < fresh => {
                snapshot.clone()
            }
            _ => {
                let snapshot = Arc::new(run.lock().snapshot());
                *latest = Some((Instant::now(), run.number, snapshot.clone()));
                snapshot
            }
        }
    }

    pub(crate) fn session_view(&self, workers_running: u64) -> Option<SessionView> {
        let session = self.board.session(&self.session);
        let session = session.borrow();
        session.as_ref().map(|session| SessionView::new(&session.value, workers_running))
    }

    pub(crate) fn workers_running(&self) -> u64 {
        self.snapshot(&self.shown.run(), FRESH).state.workers
    }
}

/// Everything now
#[utoipa::path(
    get,
    path = "/api/v1/snapshot",
    tag = "figures",
    responses((status = OK, description = "All figures, with the whole series", body = Live))
)]
pub(super) async fn snapshot(State(web): State<Arc<Web>>) -> Json<Live> {
    Json(web.feed.live(None, FRESH).0)
}

/// Everything every second, as Server-Sent Events
#[utoipa::path(
    get,
    path = "/api/v1/live",
    tag = "figures",
    params(("Last-Event-ID" = Option<String>, Header, description = "Goes on behind this event")),
    responses(
        (
            status = OK,
            description = "Events `live`, and at the run's end `end`; the data of each is one `Live` whose series holds \
                           what is new",
            body = Live,
            content_type = "text/event-stream"
        ),
        (status = SERVICE_UNAVAILABLE, description = "Too many pages are watching", body = ErrorBody),
    )
)]
pub(super) async fn live(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let permit = web
        .watchers
        .clone()
        .try_acquire_owned()
        .map_err(|_| ApiError::Unavailable("too many pages are watching: close some".to_owned()))?;
    let seen = headers.get("last-event-id").and_then(|id| Seen::parse(id.to_str().ok()?));
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher { web, seen, period, over: false, _permit: permit };
    Ok(Sse::new(stream::unfold(watcher, Watcher::next)).keep_alive(KeepAlive::default()))
}

struct Watcher {
    web: Arc<Web>,
    seen: Option<Seen>,
    period: Interval,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.over {
            return None;
        }
        let mut ended = self.web.ended.clone();
        tokio::select! {
            _ = self.period.tick() => {}
            // An error means that the owner is gone, which is an end too.
            _ = ended.wait_for(|ended| *ended) => self.over = true,
        }
        let (live, seen) = self.web.feed.live(self.seen, if self.over { Duration::ZERO } else { FRESH });
        self.seen = Some(seen);
        let event = Event::default().event(if self.over { "end" } else { "live" }).id(seen.id());
        let event = event.json_data(&live).expect("the live figures have string keys and finite numbers");
        Some((Ok(event), self))
    }
}

impl Seen {
    fn id(self) -> String {
        format!("{:x}-{:x}-{:x}", self.boot, self.run, self.revision)
    }

    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.splitn(3, '-');
        Some(Self {
            boot: u32::from_str_radix(parts.next()?, 16).ok()?,
            run: u64::from_str_radix(parts.next()?, 16).ok()?,
            revision: u64::from_str_radix(parts.next()?, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ids_it_writes_and_no_others() {
        let seen = Seen { boot: 0xbeef, run: 3, revision: u64::MAX };
        assert_eq!(Seen::parse(&seen.id()), Some(seen));
        for id in ["", "-", "1-2", "1-2-", "x-1-2", "1-2-3-4", "123456789a-1-1"] {
            assert_eq!(Seen::parse(id), None, "{id}");
        }
    }
}
