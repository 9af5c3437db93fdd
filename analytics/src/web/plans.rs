//! Planned sessions and agents as resources.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::Web;
use super::body::parsed;
use super::error::{ApiError, BodyRefusals, ErrorBody, ReadRefusals, Refusals, WriteRefusals};
use super::guard::Caller;
use super::session::author;
use crate::plans::{self, NewSession, ScenarioCheck, ScenarioText};
use crate::views::{AgentView, Agents, PlanView};

/// How to stop a session.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StopBody {
    /// Whether running chains are interrupted.
    now: bool,
}

/// Where to copy a session.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloneBody {
    /// The id of the copy.
    id: String,
}

/// A machine that is expected.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNode {
    /// The name of its agent.
    name: String,
}

/// What was deleted
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// The id of the session, or the name of the node.
    deleted: String,
}

/// What a deletion is based on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Based {
    /// The revision that was seen; refused if there is a later one
    revision: Option<u64>,
}

/// Creates a session that can be started on agents
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    operation_id = "create_session",
    tag = "control",
    params(("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line")),
    request_body = NewSession,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = CREATED, description = "The session", body = PlanView),
        (status = BAD_REQUEST, description = "The body has errors; nothing was created", body = ErrorBody),
        (status = CONFLICT, description = "There is a session with this id", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(web): State<Arc<Web>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PlanView>), ApiError> {
    let made = plans::create(&web.board, parsed(&headers, body)?, author(caller, &headers)?).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Checks whether a session can be made of a scenario file; nothing is made
#[utoipa::path(
    post,
    path = "/api/v1/scenarios/check",
    operation_id = "check_scenario",
    tag = "control",
    request_body = ScenarioText,
    responses(
        Refusals,
        BodyRefusals,
        (status = OK, description = "Its keys, or its mistakes", body = ScenarioCheck),
        (status = BAD_REQUEST, description = "The body has errors", body = ErrorBody),
    )
)]
pub(super) async fn check(
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScenarioCheck>, ApiError> {
    Ok(Json(plans::check(&parsed(&headers, body)?)))
}

/// Starts a run of the session on its agents
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/start",
    operation_id = "start_session",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    responses(
        Refusals,
        WriteRefusals,
        (status = OK, description = "The session", body = PlanView),
        (status = NOT_FOUND, description = "There is no such session", body = ErrorBody),
        (status = CONFLICT, description = "The state of the session does not allow it", body = ErrorBody),
    )
)]
pub(super) async fn start(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Json<PlanView>, ApiError> {
    Ok(Json(plans::start(&web.board, &id, author(caller, &headers)?).await?))
}

/// Stops the run of the session
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/stop",
    operation_id = "stop_session",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    request_body = StopBody,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = OK, description = "The session", body = PlanView),
        (status = BAD_REQUEST, description = "The body has errors", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such session", body = ErrorBody),
        (status = CONFLICT, description = "The state of the session does not allow it", body = ErrorBody),
    )
)]
pub(super) async fn stop(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PlanView>, ApiError> {
    let StopBody { now } = parsed(&headers, body)?;
    Ok(Json(plans::stop(&web.board, &id, now, author(caller, &headers)?).await?))
}

/// Copies the session under another id
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/clone",
    operation_id = "clone_session",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    request_body = CloneBody,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = CREATED, description = "The copy", body = PlanView),
        (status = BAD_REQUEST, description = "The body has errors", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such session", body = ErrorBody),
        (status = CONFLICT, description = "There is a session with the id of the copy", body = ErrorBody),
    )
)]
pub(super) async fn copy(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PlanView>), ApiError> {
    let CloneBody { id: to } = parsed(&headers, body)?;
    Ok((StatusCode::CREATED, Json(plans::copy(&web.board, &id, &to, author(caller, &headers)?).await?)))
}

/// Deletes the session; logs of its runs stay
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    operation_id = "delete_session",
    tag = "control",
    params(("id" = String, Path, description = "The session's id"), Based),
    responses(
        Refusals,
        WriteRefusals,
        (status = OK, description = "It was deleted", body = Deleted),
        (status = BAD_REQUEST, description = "The revision is no number", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such session", body = ErrorBody),
        (status = CONFLICT, description = "It runs, or was changed since that revision", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    based: Result<Query<Based>, QueryRejection>,
) -> Result<Json<Deleted>, ApiError> {
    let Query(Based { revision }) = based?;
    plans::delete(&web.board, &id, revision).await?;
    Ok(Json(Deleted { deleted: id }))
}

/// The machines that sessions can use
#[utoipa::path(
    get,
    path = "/api/v1/nodes",
    operation_id = "list_nodes",
    tag = "control",
    responses(
        Refusals,
        ReadRefusals,
        (status = OK, description = "By name", body = Agents),
    )
)]
pub(super) async fn nodes(State(web): State<Arc<Web>>) -> Result<Json<Agents>, ApiError> {
    Ok(Json(plans::nodes(&web.board).await?))
}

/// One machine
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{name}",
    operation_id = "show_node",
    tag = "control",
    params(("name" = String, Path, description = "The node's name")),
    responses(
        Refusals,
        ReadRefusals,
        (status = OK, description = "The node", body = AgentView),
        (status = NOT_FOUND, description = "It is not known", body = ErrorBody),
    )
)]
pub(super) async fn node(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(plans::node(&web.board, &name).await?))
}

/// Reserves a place for a machine that is expected
#[utoipa::path(
    post,
    path = "/api/v1/nodes",
    operation_id = "add_node",
    tag = "control",
    request_body = NewNode,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = CREATED, description = "The node", body = AgentView),
        (status = BAD_REQUEST, description = "The body has errors", body = ErrorBody),
        (status = CONFLICT, description = "The name is known already", body = ErrorBody),
    )
)]
pub(super) async fn add(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<AgentView>), ApiError> {
    let NewNode { name } = parsed(&headers, body)?;
    Ok((StatusCode::CREATED, Json(plans::add_node(&web.board, &name).await?)))
}

/// The answers to a change of a node.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its responses are used")]
enum ChangedNode {
    /// The node
    #[response(status = OK)]
    Changed(AgentView),
    /// It is not known
    #[response(status = NOT_FOUND)]
    Unknown(ErrorBody),
}

/// Allows sessions to use the node
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{name}/activate",
    operation_id = "activate_node",
    tag = "control",
    params(("name" = String, Path, description = "The node's name")),
    responses(Refusals, WriteRefusals, ChangedNode)
)]
pub(super) async fn activate(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(plans::activate(&web.board, &name, true).await?))
}

/// Keeps sessions from using the node; those that it runs continue
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{name}/deactivate",
    operation_id = "deactivate_node",
    tag = "control",
    params(("name" = String, Path, description = "The node's name")),
    responses(Refusals, WriteRefusals, ChangedNode)
)]
pub(super) async fn deactivate(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(plans::activate(&web.board, &name, false).await?))
}

/// Forgets a node whose agent is not live
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{name}",
    operation_id = "remove_node",
    tag = "control",
    params(("name" = String, Path, description = "The node's name")),
    responses(
        Refusals,
        WriteRefusals,
        (status = OK, description = "It was forgotten", body = Deleted),
        (status = NOT_FOUND, description = "It is not known", body = ErrorBody),
        (status = CONFLICT, description = "Its agent is live", body = ErrorBody),
    )
)]
pub(super) async fn remove(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    plans::remove_node(&web.board, &name).await?;
    Ok(Json(Deleted { deleted: name }))
}
