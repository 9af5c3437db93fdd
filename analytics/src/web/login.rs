//! The form by which a person logs in with a token. It works without scripts.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Where the form is sent.
pub(super) const PATH: &str = "/login";
/// The form's style, which needs no token.
pub(super) const STYLE_PATH: &str = "/login.css";

const FORM: &str = include_str!("login.html");
const STYLE: &str = include_str!("login.css");
/// A form has one token and the query of one place in the page.
const MAX_FORM: usize = 8 << 10;

/// What a person sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) token: String,
    /// The query of the page to show then; may be empty.
    pub(super) to: String,
}

impl Login {
    /// Reads the form; what it lacks is empty.
    pub(super) async fn read(request: Request) -> Self {
        let body = axum::body::to_bytes(request.into_body(), MAX_FORM).await.unwrap_or_default();
        Self::parsed(&body)
    }

    fn parsed(body: &Bytes) -> Self {
        let mut read = Self::default();
        for pair in String::from_utf8_lossy(body).split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = url_decoded(&value.replace('+', " "));
            match name {
                "token" => read.token = value,
                "to" => read.to = value,
                _ => {}
            }
        }
        read
    }

    /// The place in the page to show after the log-in, relative to the form: a proxy may serve the page below a path.
    pub(super) fn place(&self) -> String {
        let safe = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        match self.to.as_str() {
            "" => "./".to_owned(),
            to if to.bytes().all(safe) => format!("./?{to}"),
            _ => "./".to_owned(),
        }
    }
}

/// Whether a person opens the page in a browser.
pub(super) fn is_of_browser(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let html = |value: &header::HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
    *method == Method::GET && !path.starts_with("/api/") && headers.get_all(header::ACCEPT).iter().any(html)
}

/// The form for a page that was asked for with this query, and was not shown because it needs a token.
pub(super) fn needed(to: &str) -> Response {
    (StatusCode::UNAUTHORIZED, form(to, "")).into_response()
}

/// The form after an attempt that failed.
pub(super) fn failed(to: &str) -> Response {
    (StatusCode::UNAUTHORIZED, form(to, "This token is not known here.")).into_response()
}

/// The form. `to` is the query of the page to show after the log-in; `problem` is why the last attempt failed.
pub(super) fn form(to: &str, problem: &str) -> Response {
    let html = FORM.replace("{to}", &escaped(to)).replace("{problem}", problem);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // With no-referrer, a browser sends the form with the origin `null`.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, html).into_response()
}

pub(super) fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], Body::from(STYLE)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Decodes percent-encoding; a result that is not UTF-8 is empty.
pub(super) fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_and_leads_only_into_the_page() {
        for (body, token, place) in [
            ("token=a%26b+c&to=run%3Dr1%26tab%3Druns", "a&b c", "./?run=r1&tab=runs"),
            ("token=x", "x", "./"),
            ("to=&token=", "", "./"),
            ("token=x&to=%2F%2Fevil.example", "x", "./?//evil.example"),
            ("token=x&to=a%0D%0ASet-Cookie:1", "x", "./"),
            ("token=%ff&other=1", "", "./"),
            ("", "", "./"),
        ] {
            let login = Login::parsed(&Bytes::from_static(body.as_bytes()));
            assert_eq!((login.token.as_str(), login.place().as_str()), (token, place), "{body}");
        }
    }

    #[test]
    fn a_place_cannot_end_the_attribute_that_it_stands_in() {
        assert_eq!(escaped("run=\"><script>&"), "run=&quot;&gt;&lt;script&gt;&amp;");
        assert!(FORM.contains("value=\"{to}\"") && FORM.contains("{problem}"));
    }

    #[test]
    fn decodes_percent_encoding() {
        for (text, decoded) in [("a%2Bb", "a+b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%ff", ""), ("", "")]
        {
            assert_eq!(url_decoded(text), decoded, "{text}");
        }
    }
}
