//! The page's files, built into the program.

use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

// `FILES`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

pub(crate) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let path = if path.is_empty() { "index.html" } else { path };
    if path.starts_with("api/") {
        return ApiError::NotFound(uri.path().to_owned()).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::MethodNotAllowed.into_response();
    }
    match FILES.iter().find(|(name, _)| *name == path) {
        Some((name, bytes)) => {
            // The names of assets contain a hash of their content.
            let caching =
                if name.starts_with("assets/") { "max-age=31536000, immutable" } else { "no-cache" };
            ([(header::CONTENT_TYPE, media_type(name)), (header::CACHE_CONTROL, caching)], *bytes)
                .into_response()
        }
        None => ApiError::NotFound(uri.path().to_owned()).into_response(),
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
