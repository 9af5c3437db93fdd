//! The live view: one object per second, with only the changes of the series.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use rand::RngExt;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};
use wec_board::{Board, NodeInfo};
use wec_record::{Mark, Record};

use super::Web;
use super::error::{ApiError, ErrorBody, Refusals};
use super::guard::Caller;
use crate::clock::unix_now_ns;
use crate::ingest::Ingest;
use crate::runs::{CURRENT, Run, Shown};
use crate::views::{CapacityView, Live, NodeView, ReadingView, ReplayState, RunSource, SessionView};
use wec_figures::families::Family;

const PERIOD: Duration = Duration::from_secs(1);
/// A run that is opened within this time has its figures in the first event. For another one there are events that show
/// how far its log is read.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Figures no older than this are reused for further watchers.
const FRESH: Duration = Duration::from_millis(250);

/// The source of the live figures.
#[derive(Debug)]
pub(crate) struct Feed {
    shown: Arc<Shown>,
    ingest: Ingest,
    board: Board,
    capacity: watch::Receiver<Option<CapacityView>>,
    /// Distinguishes this process's event ids from those of an earlier one.
    boot: u32,
}

/// How far a watcher has read: the process, the run, and the revision of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    boot: u32,
    run: u64,
    revision: u64,
}

impl Feed {
    pub(crate) fn new(
        shown: Arc<Shown>,
        ingest: Ingest,
        board: Board,
        capacity: watch::Receiver<Option<CapacityView>>,
    ) -> Self {
        Self { shown, ingest, board, capacity, boot: rand::rng().random() }
    }

    /// The current data of a run without what depends on the reader, with the changes of the series since `seen`; `over` if no more will come. The board is
    /// shown only for a live run: with the named session, or with the run's own.
    fn live(&self, run: &dyn Run, session: Option<&str>, seen: Option<Seen>, over: bool) -> (Live, Seen) {
        // Before its figures, so that the figures of a replay that has stopped are those at its position.
        let replay = run.replay();
        let (figures, source) = (run.figures(), run.source());
        let live = source == RunSource::Live;
        let stands = replay.is_some_and(|replay| replay.state != ReplayState::Playing);
        let fresh = if stands || over { Duration::ZERO } else { FRESH };
        let clock = replay.map(|replay| replay.started_unix_ns + replay.position_ns);
        let seen = seen.filter(|seen| (seen.boot, seen.run) == (self.boot, figures.number));
        let (series, revision) = figures.series(seen.map(|seen| seen.revision));
        let snapshot = figures.snapshot(fresh);
        let session = session.unwrap_or(&snapshot.run.session);
        let now_unix_ns = clock.unwrap_or_else(unix_now_ns);
        let started = snapshot.run.started_unix_ns;
        let run_ns = if started == 0 {
            0
        } else if over || source == RunSource::Log {
            snapshot.elapsed_ns
        } else {
            now_unix_ns.saturating_sub(started)
        };
        let (_, paused_ns) = snapshot.pauses(started.saturating_add(run_ns));
        let live = Live {
            now_unix_ns,
            run_ns,
            active_ns: run_ns.saturating_sub(paused_ns),
            source,
            replay,
            current: String::new(),
            may_steer: false,
            session: self.session_view(session, snapshot.state.workers).filter(|_| live),
            nodes: if live { self.nodes() } else { Vec::new() },
            health: self.shown.health(run, &self.ingest),
            capacity: self.capacity.borrow().clone().filter(|_| live),
            snapshot: Arc::unwrap_or_clone(snapshot),
            series,
        };
        (live, Seen { boot: self.boot, run: figures.number, revision })
    }

    /// Writes a mark into the log of a live run; false if there is no such run.
    pub(super) async fn mark(&self, run: &str, mark: Mark) -> bool {
        let open = match run {
            CURRENT => self.shown.current().figures().lock().header().map(|header| header.run.clone()),
            run => self.shown.run(run).map(|_| run.to_owned()),
        };
        let Some(run) = open else { return false };
        self.ingest.deliver_of(run, vec![Record::Mark(mark)]).await.is_ok()
    }

    fn nodes(&self) -> Vec<NodeView> {
        let nodes = self.board.nodes();
        let nodes = nodes.borrow();
        let view = |node: &NodeInfo| NodeView {
            id: node.id.clone(),
            name: node.name.clone(),
            kind: node.kind,
            state: node.state,
            workers: node.strength.workers,
        };
        nodes.iter().map(view).collect()
    }

    pub(crate) fn session_view(&self, id: &str, workers_running: u64) -> Option<SessionView> {
        let session = self.board.session(id);
        let session = session.borrow();
        session.as_ref().map(|session| SessionView::new(&session.value, workers_running))
    }

    /// A run and the service, for monitoring systems.
    pub(crate) fn families(&self, run: &dyn Run) -> Vec<Family> {
        self.shown.families(run, &self.ingest)
    }

    /// The workers in a session.
    pub(crate) fn workers_running(&self, session: &str) -> u64 {
        self.shown.workers_running(session)
    }
}

/// All figures now
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/snapshot",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    responses(
        Refusals,
        (status = OK, description = "All figures, with the whole series", body = Live),
        (status = NOT_FOUND, description = "There is no such run", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn snapshot(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Live>, ApiError> {
    let run = web.run(&id).await?;
    let (live, _) = web.feed.live(&*run, web.session_of(&id), None, false);
    Ok(Json(web.for_reader(live, caller.may_steer)))
}

/// All figures every second, as Server-Sent Events
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/live",
    tag = "figures",
    params(
        ("id" = String, Path, description = "The run's id, or `current`: the live run that was started last"),
        ("Last-Event-ID" = Option<String>, Header, description = "Continues after this event")
    ),
    responses(
        (
            status = OK,
            description = "Events `live`, and at the run's end `end`; the data of each is one `Live` whose series holds \
                           the changes. A run whose log is read to its end has one event, `end`. While a long log is \
                           read for it, events `reading` come before, with a `ReadingView`, or `refused` with the \
                           body of an error answer",
            body = Live,
            content_type = "text/event-stream"
        ),
        (status = NOT_FOUND, description = "There is no such run", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "Too many pages are watching", body = ErrorBody),
    )
)]
pub(super) async fn live(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let seconds = web.seconds()?;
    let watched = if id == CURRENT {
        Watched::Current
    } else {
        let mut opening = Box::pin(Arc::clone(&web).open(id));
        match tokio::time::timeout(AT_ONCE, &mut opening).await {
            Ok(run) => Watched::Run(run?),
            Err(_) => Watched::Opening(opening),
        }
    };
    let seen = headers.get("last-event-id").and_then(|id| Seen::parse(id.to_str().ok()?));
    let watcher = Watcher { web, watched, may_steer: caller.may_steer, seen, seconds };
    Ok(Sse::new(stream::unfold(watcher, Watcher::next)).keep_alive(KeepAlive::default()))
}

impl Web {
    async fn open(self: Arc<Self>, id: String) -> Result<Arc<dyn Run>, ApiError> {
        self.run(&id).await
    }

    /// What a reader is shown.
    fn for_reader(&self, live: Live, may_steer: bool) -> Live {
        let current = self.runs.current().figures().snapshot(PERIOD).run.id.clone();
        Live { current, may_steer, ..live }
    }

    /// Counts one more page that watches, while its seconds exist.
    pub(super) fn seconds(&self) -> Result<Seconds, ApiError> {
        let permit = Arc::clone(&self.watchers).try_acquire_owned();
        let permit = permit
            .map_err(|_| ApiError::Unavailable("too many pages are watching: close some".to_owned()))?;
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Seconds { period, ended: self.ended.clone(), over: false, _permit: permit })
    }
}

/// The seconds of a page that watches: each has one event, and the last one is the service's end.
pub(super) struct Seconds {
    period: Interval,
    ended: watch::Receiver<bool>,
    /// Whether this second is the last one.
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Seconds {
    /// The next second is now.
    fn at_once(&mut self) {
        self.period.reset_immediately();
    }

    /// Waits for the next second; none after the last.
    pub(super) async fn next(&mut self) -> Option<()> {
        if self.over {
            return None;
        }
        tokio::select! {
            _ = self.period.tick() => {}
            // An error means that the owner is gone, which is also an end.
            _ = self.ended.wait_for(|ended| *ended) => self.over = true,
        }
        Some(())
    }
}

/// What somebody watches.
enum Watched {
    /// The current run, whichever that is.
    Current,
    Run(Arc<dyn Run>),
    /// A run whose log is being read.
    Opening(BoxFuture<'static, Result<Arc<dyn Run>, ApiError>>),
}

struct Watcher {
    web: Arc<Web>,
    watched: Watched,
    may_steer: bool,
    seen: Option<Seen>,
    seconds: Seconds,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let run = loop {
            match &mut self.watched {
                Watched::Opening(opening) => {
                    let found = tokio::select! {
                        biased;
                        found = opening => found,
                        second = self.seconds.next() => {
                            second?;
                            return Some((Ok(reading(self.web.runs.opening())), self));
                        }
                    };
                    match found {
                        Ok(run) => self.watched = Watched::Run(run),
                        Err(error) => {
                            self.seconds.over = true;
                            return Some((Ok(refused(error)), self));
                        }
                    }
                    self.seconds.at_once();
                }
                Watched::Run(run) => break Some(Arc::clone(run)),
                Watched::Current => break None,
            }
        };
        self.seconds.next().await?;
        let session = run.is_none().then_some(self.web.session.as_str());
        let run = run.unwrap_or_else(|| self.web.runs.current());
        self.seconds.over |= run.source() == RunSource::Log;
        let over = self.seconds.over;
        let (live, seen) = self.web.feed.live(&*run, session, self.seen, over);
        self.seen = Some(seen);
        let live = self.web.for_reader(live, self.may_steer);
        let event = Event::default().event(if over { "end" } else { "live" }).id(seen.id());
        let event = event.json_data(&live).expect("the live figures have string keys and finite numbers");
        Some((Ok(event), self))
    }
}

/// How far the log is read; without one, a comment that keeps the stream up.
fn reading(view: Option<ReadingView>) -> Event {
    match view {
        Some(view) => {
            Event::default().event("reading").json_data(&view).expect("it has text and whole numbers")
        }
        None => Event::default().comment("waiting"),
    }
}

/// Why there are no figures.
fn refused(error: ApiError) -> Event {
    Event::default().event("refused").json_data(error.into_body()).expect("it has texts")
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
