//! The API's description for programs, served and committed as `docs/openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, Schema};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

const SUMMARY_SCHEMA: &str = include_str!("../../../docs/summary.schema.json");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wec",
        version = "1",
        description = "What `wec run`, `wec demo` and `wec-analytics` show of a run, and how it is changed while it runs. \
                       docs/web-api.md says more.",
        license(name = "MPL-2.0", identifier = "MPL-2.0"),
    ),
    servers((url = "http://127.0.0.1:8089", description = "Where a run's page is unless told otherwise")),
    tags(
        (name = "control", description = "Changing a run while it goes on"),
        (name = "figures", description = "What a run has found so far"),
    ),
    paths(
        super::session::show,
        super::session::change,
        super::session::change_scenario,
        super::live::snapshot,
        super::live::live,
        super::healthz,
    ),
    security((), ("token" = [])),
    modifiers(&Token),
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Where the service was given a token (`WEC_TOKEN`)"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The summary has a schema of its own, beside this document in `docs/` and on the server alike.
pub(crate) struct SnapshotSchema;

impl PartialSchema for SnapshotSchema {
    fn schema() -> RefOr<Schema> {
        RefOr::Ref(Ref::new("summary.schema.json"))
    }
}

impl ToSchema for SnapshotSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "Snapshot".into()
    }
}

/// The web API as OpenAPI 3.1, in JSON: what `GET /api/v1/openapi.json` answers.
pub fn openapi() -> String {
    let mut text = Api::openapi().to_pretty_json().expect("the document has string keys and finite numbers");
    text.push('\n');
    text
}

pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

pub(super) async fn summary_schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], SUMMARY_SCHEMA)
}
