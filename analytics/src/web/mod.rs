//! The page and the API under it: see `docs/web-api.md`, which is the contract.

mod error;
mod guard;
mod live;
mod openapi;
mod page;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use wec_board::Board;

use self::error::ApiError;
use self::guard::Guard;
pub(crate) use self::live::Feed;
pub(crate) use self::openapi::SnapshotSchema;
pub use self::openapi::openapi;
pub use self::session::SessionChanged;
use crate::token::Token;

/// Bodies name at most five numbers.
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
        .route("/healthz", get(healthz))
        .route("/api/v1/snapshot", get(live::snapshot))
        .route("/api/v1/live", get(live::live))
        .route("/api/v1/session", get(session::show).patch(session::change))
        .route("/api/v1/session/scenarios/{name}", axum::routing::patch(session::change_scenario))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/summary.schema.json", get(openapi::summary_schema))
        .fallback(page::serve)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(Arc::new(web))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::new(guard), guard::guard))
}

/// Whether the service is there; asks for no token
#[utoipa::path(get, path = "/healthz", tag = "figures", security(()), responses((status = OK, description = "It is", body = String)))]
async fn healthz() -> &'static str {
    "ok"
}
