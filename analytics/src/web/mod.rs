//! The page and its API. `docs/web-api.md` is the contract.

mod body;
mod comparison;
mod distribution;
mod downloads;
mod error;
mod guard;
mod live;
mod login;
mod machines;
mod metrics;
mod observed;
mod openapi;
mod page;
mod plans;
mod replay;
mod runs;
mod session;
mod written_plan;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::response::Redirect;
use axum::routing::{any, get, post, put};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wec_board::Board;
use wec_listen::Connections;
use wec_listen::http::{Transport, Version};
use wec_node_stats::Server as NodeStatsServer;
use wec_startup::Access;

use self::error::ApiError;
use self::guard::Guard;
pub(crate) use self::live::Feed;
pub use self::machines::{Machine, Machines};
pub use self::openapi::{log_schema, openapi, summary_schema};
pub use self::session::{Journal, SessionChanged};
use crate::runs::{CURRENT, Catalogue};
use crate::views::Joining;

/// A body has at most the keys of a scenario file.
const MAX_BODY: usize = 256 << 10;
/// Largest number of pages that watch at once.
const MAX_WATCHERS: usize = 64;

/// Shared by the handlers.
struct Web {
    feed: Feed,
    runs: Arc<Catalogue>,
    board: Board,
    /// The session that is shown by default.
    session: String,
    node_stats: Option<Arc<NodeStatsServer>>,
    joining: Joining,
    ended: watch::Receiver<bool>,
    watchers: Arc<Semaphore>,
    /// One part of a run is read at a time.
    reading: Arc<tokio::sync::Mutex<()>>,
}

/// What the listener needs beside the feed.
pub(crate) struct Setup {
    pub(crate) feed: Feed,
    pub(crate) runs: Catalogue,
    pub(crate) board: Board,
    pub(crate) session: String,
    pub(crate) node_stats: Option<Arc<NodeStatsServer>>,
    pub(crate) joining: Joining,
    pub(crate) access: Access,
    pub(crate) allowed_hosts: Vec<String>,
    /// True once the run is over and its last figures can be read.
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    setup: Setup,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    let connections = setup.connections;
    let guard = Guard::new(setup.access, setup.allowed_hosts, port, Arc::clone(&connections));
    let web = Web {
        feed: setup.feed,
        runs: Arc::new(setup.runs),
        board: setup.board,
        session: setup.session,
        node_stats: setup.node_stats,
        joining: setup.joining,
        ended: setup.ended,
        watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
        reading: Arc::default(),
    };
    let service = TowerToHyperService::new(router(web, guard));
    let transport = Transport { version: Version::Http1, tls: setup.tls };
    wec_listen::http::serve(listener, connections, transport, service, stop).await;
    Ok(())
}

fn router(web: Web, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics::scrape))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{id}/snapshot", get(live::snapshot))
        .route("/api/v1/runs/{id}/live", get(live::live))
        .route("/api/v1/runs/{id}/warnings", get(runs::warnings))
        .route("/api/v1/runs/{id}/marks", post(runs::mark))
        .route("/api/v1/runs/{id}/observed", get(observed::observed))
        .route("/api/v1/runs/{id}/window", get(runs::window))
        .route("/api/v1/runs/{id}/distribution", get(distribution::distribution))
        .route("/api/v1/runs/{id}/log", get(downloads::log))
        .route("/api/v1/runs/{id}/report", get(downloads::report))
        .route("/api/v1/runs/{id}/note", put(downloads::note))
        .route("/api/v1/comparison", get(comparison::comparison))
        .route("/api/v1/replay", get(replay::show).patch(replay::change))
        .route("/api/v1/machines", get(machines::list))
        .route("/api/v1/machines/live", get(machines::live))
        .route("/api/v1/sessions", get(session::list).post(plans::create))
        .route("/api/v1/sessions/{id}", get(session::show).patch(session::change).delete(plans::delete))
        .route("/api/v1/sessions/{id}/start", post(plans::start))
        .route("/api/v1/sessions/{id}/stop", post(plans::stop))
        .route("/api/v1/sessions/{id}/clone", post(plans::copy))
        .route("/api/v1/scenarios/check", post(plans::check))
        .route("/api/v1/nodes", get(plans::nodes).post(plans::add))
        .route("/api/v1/nodes/{name}", get(plans::node).delete(plans::remove))
        .route("/api/v1/nodes/{name}/activate", post(plans::activate))
        .route("/api/v1/nodes/{name}/deactivate", post(plans::deactivate))
        .route("/api/v1/sessions/{id}/journal", get(session::journal))
        .route("/api/v1/sessions/{id}/scenarios/{name}", axum::routing::patch(session::change_scenario))
        .route("/api/v1/snapshot", any(moved))
        .route("/api/v1/live", any(moved))
        .route("/api/v1/session", any(moved))
        .route("/api/v1/session/{*rest}", any(moved))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/summary.schema.json", get(openapi::summary_schema_document))
        .fallback(page::serve)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(Arc::new(web))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::new(guard), guard::guard))
}

/// Paths from before there were several runs and sessions. 308 keeps method and body.
async fn moved(uri: Uri) -> Redirect {
    let path = uri.path().strip_prefix("/api/v1").unwrap_or_default();
    let moved = match path.strip_prefix("/session") {
        Some(rest) => format!("/sessions/{CURRENT}{rest}"),
        None => format!("/runs/{CURRENT}{path}"),
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::permanent(&format!("/api/v1{moved}{query}"))
}

/// Whether the service is running; needs no token
#[utoipa::path(get, path = "/healthz", tag = "figures", security(()), responses((status = OK, description = "It is", body = String)))]
async fn healthz() -> &'static str {
    "ok"
}
