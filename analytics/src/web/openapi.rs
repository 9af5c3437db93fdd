//! The API's description for programs, served and committed as `docs/openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use wec_figures::schema::{self, require_what_is_written};
use wec_figures::snapshot::{CauseFigures, ChainFigures, ChainSeries, ProfileFigures};

use super::written_plan::WrittenPlans;
use crate::views::ReadingView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wec",
        version = "1",
        description = "What `wec run`, `wec demo` and `wec-analytics` show about a run, and how to change it while it runs. \
                       docs/web-api.md says more.",
        license(name = "MPL-2.0", identifier = "MPL-2.0"),
    ),
    servers((url = "http://127.0.0.1:8089", description = "Default address of a run's page")),
    tags(
        (name = "control", description = "Changing a run while it runs"),
        (name = "figures", description = "The figures of a run so far"),
        (name = "records", description = "Logs, reports and notes of runs"),
        (name = "replay", description = "The clock of a replayed run"),
    ),
    paths(
        super::machines::list,
        super::machines::live,
        super::session::list,
        super::session::show,
        super::session::change,
        super::session::journal,
        super::session::change_scenario,
        super::plans::create,
        super::plans::check,
        super::plans::start,
        super::plans::stop,
        super::plans::copy,
        super::plans::delete,
        super::plans::nodes,
        super::plans::node,
        super::plans::add,
        super::plans::activate,
        super::plans::deactivate,
        super::plans::remove,
        super::replay::show,
        super::replay::change,
        super::runs::list,
        super::runs::warnings,
        super::runs::mark,
        super::live::snapshot,
        super::live::live,
        super::runs::window,
        super::distribution::distribution,
        super::comparison::comparison,
        super::downloads::log,
        super::downloads::report,
        super::downloads::note,
        super::healthz,
        super::metrics::scrape,
        super::observed::observed,
    ),
    // Referred to only by objects by chain or by cause, and by an event of a stream.
    components(schemas(ChainFigures, ChainSeries, ProfileFigures, CauseFigures, ReadingView)),
    security((), ("token" = [])),
    // The schemas of written plans come after those whose keys are always written.
    modifiers(&Token, &Required, &WrittenPlans),
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("If the service has a token (`WEC_TOKEN`)"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

struct Required;

impl Modify for Required {
    fn modify(&self, document: &mut Document) {
        require_what_is_written(document);
    }
}

/// The summary's JSON Schema, as in `GET /api/v1/summary.schema.json`.
pub fn summary_schema() -> String {
    schema::summary_schema(&Api::openapi())
}

/// The JSON Schema of one line of a log.
pub fn log_schema() -> String {
    schema::log_schema()
}

/// The web API as OpenAPI 3.1 in JSON, as in `GET /api/v1/openapi.json`.
pub fn openapi() -> String {
    let mut text = Api::openapi().to_pretty_json().expect("the document has string keys and finite numbers");
    text.push('\n');
    text
}

pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

pub(super) async fn summary_schema_document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], summary_schema())
}
