//! The page's files, built into the program.

use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

// `FILES`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// How the build compresses text files, best first: the suffix of the file, and the name of the coding.
const CODINGS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let path = if path.is_empty() { "index.html" } else { path };
    if path.starts_with("api/") {
        return ApiError::NotFound(uri.path().to_owned()).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::MethodNotAllowed.into_response();
    }
    let Some(plain) = file(path).filter(|_| !CODINGS.iter().any(|(suffix, _)| path.ends_with(suffix))) else {
        return ApiError::NotFound(uri.path().to_owned()).into_response();
    };
    // The names of assets contain a hash of their content.
    let caching = if path.starts_with("assets/") { "max-age=31536000, immutable" } else { "no-cache" };
    let coded = CODINGS
        .iter()
        .filter(|(_, coding)| accepts(&headers, coding))
        .find_map(|(suffix, coding)| Some((*coding, file(&format!("{path}{suffix}"))?)));
    let common = [
        (header::CONTENT_TYPE, media_type(path)),
        (header::CACHE_CONTROL, caching),
        (header::VARY, "accept-encoding"),
    ];
    match coded {
        Some((coding, bytes)) => (common, [(header::CONTENT_ENCODING, coding)], bytes).into_response(),
        None => (common, plain).into_response(),
    }
}

fn file(path: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

/// Whether `Accept-Encoding` names the coding, and not with `q=0`.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        named && weight.unwrap_or(1.0) > 0.0
    })
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_coding_is_accepted_by_its_name_unless_its_weight_is_zero() {
        for (header, br, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip;q=0.5, br;q=0", false, true),
            ("BR", true, false),
            ("brotli", false, false),
            ("", false, false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(header))]);
            assert_eq!((accepts(&headers, "br"), accepts(&headers, "gzip")), (br, gzip), "{header}");
        }
    }
}
