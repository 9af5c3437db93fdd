//! The page and the API under it: see `docs/web-api.md`, which is the contract.

mod error;
mod guard;
mod live;
mod page;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, put};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use wec_board::Board;

use self::error::ApiError;
use self::guard::Guard;
pub(crate) use self::live::Feed;
use crate::token::Token;

/// The one body that is taken is `{"workers": N}`.
const MAX_BODY: usize = 4 << 10;
/// Pages that may watch at once.
const MAX_WATCHERS: usize = 64;

/// What the handlers share.
struct Web {
    feed: Feed,
    board: Board,
    session: String,
    ended: watch::Receiver<bool>,
    watchers: Arc<Semaphore>,
}

/// What the listener needs besides the feed.
pub(crate) struct Setup {
    pub(crate) feed: Feed,
    pub(crate) board: Board,
    pub(crate) session: String,
    pub(crate) token: Option<Token>,
    pub(crate) allowed_hosts: Vec<String>,
    /// True once the run is over and its last figures can be read.
    pub(crate) ended: watch::Receiver<bool>,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    setup: Setup,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    let guard = Guard::new(setup.token, setup.allowed_hosts, port);
    let web = Web {
        feed: setup.feed,
        board: setup.board,
        session: setup.session,
        ended: setup.ended,
        watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
    };
    axum::serve(listener, router(web, guard)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(web: Web, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/api/v1/snapshot", get(live::snapshot))
        .route("/api/v1/live", get(live::live))
        .route("/api/v1/session/workers", put(workers::change).post(workers::change))
        .fallback(page::serve)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(Arc::new(web))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::new(guard), guard::guard))
}
