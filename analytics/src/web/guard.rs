//! Access control: checks of every request before its handler, and headers of every answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use wec_listen::Connections;
use wec_startup::{Access, Holder, Right, Token};

use super::error::ApiError;
use super::login::{self, Login};

pub(crate) struct Guard {
    access: Access,
    /// Cookies are shared by all ports of a host: two services on one host would overwrite each other's.
    cookie_name: String,
    allowed_hosts: Vec<String>,
    /// Counts requests without the token.
    connections: Arc<Connections>,
}

impl Guard {
    pub(crate) fn new(
        access: Access,
        allowed_hosts: Vec<String>,
        port: u16,
        connections: Arc<Connections>,
    ) -> Self {
        Self { access, cookie_name: format!("wec-token-{port}"), allowed_hosts, connections }
    }

    /// The name of the holder of the request's token, if it needs one.
    fn check(&self, request: &Request) -> Result<Caller, ApiError> {
        let host = host_of(request)?;
        self.check_host(&host)?;
        check_origin(request.headers(), &host)?;
        if request.uri().path() == "/healthz" || self.access.is_open() {
            return Ok(Caller::default());
        }
        let Some(holder) = self.holder(request.headers()) else {
            self.connections.count_unauthenticated();
            return Err(ApiError::Unauthorized);
        };
        if holder.right == Right::Look && ![Method::GET, Method::HEAD].contains(request.method()) {
            return Err(ApiError::Forbidden(format!(
                "the token of {} has only the right to look: use one with the right steer",
                holder.name
            )));
        }
        Ok(Caller { name: holder.name.clone(), may_steer: holder.right == Right::Steer })
    }

    /// Another site can let its DNS name resolve to a loopback address, but the browser still sends that
    /// name. An IP address in the header did not come from DNS.
    fn check_host(&self, host: &Authority) -> Result<(), ApiError> {
        let name = host.host();
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let known = literal.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        known.then_some(()).ok_or_else(|| {
            ApiError::Forbidden(format!(
                "host {name:?} is not allowed: start the program with --page-host {name}, or use its address"
            ))
        })
    }

    fn holder(&self, headers: &HeaderMap) -> Option<&Holder> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| self.access.holder(|token| token.is_bearer(value)));
        bearer.or_else(|| {
            let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
            let pairs =
                cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
            let mut offered = pairs.filter(|(name, _)| *name == self.cookie_name);
            offered.find_map(|(_, offered)| {
                self.access
                    .holder(|token| Token::new(token.as_cookie()).is_some_and(|cookie| cookie.is(offered)))
            })
        })
    }

    /// Whether it is a log-in: by the form, or by `/?token=…`.
    fn is_log_in(&self, request: &Request) -> bool {
        let of_form = [login::PATH, login::STYLE_PATH].contains(&request.uri().path());
        !self.access.is_open() && (of_form || token_in_address(request).is_some())
    }

    /// The answer to a log-in. After one by `/?token=…` it redirects to the page without the token in its address.
    async fn log_in(&self, request: Request) -> Result<Response, ApiError> {
        // They are checked before a cookie is set.
        let host = host_of(&request)?;
        self.check_host(&host)?;
        check_origin(request.headers(), &host)?;
        let of_browser = login::is_of_browser(request.method(), "/", request.headers());
        let of_form = request.uri().path() == login::PATH;
        let (login, shows_form) = match (token_in_address(&request), request.method()) {
            (Some(token), _) => (Login { token, to: String::new() }, of_browser),
            (None, &Method::POST) if of_form => (Login::read(request).await, true),
            (None, &Method::GET | &Method::HEAD) if of_form => return Ok(login::form("", "")),
            (None, &Method::GET | &Method::HEAD) => return Ok(login::style()),
            _ => return Err(ApiError::MethodNotAllowed),
        };
        let Some(Holder { token, .. }) = self.access.holder(|token| token.is(&login.token)) else {
            self.connections.count_unauthenticated();
            return if shows_form { Ok(login::failed(&login.to)) } else { Err(ApiError::Unauthorized) };
        };
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name, token.as_cookie());
        let headers = [(header::LOCATION, login.place()), (header::SET_COOKIE, cookie)];
        Ok((StatusCode::SEE_OTHER, headers).into_response())
    }

    /// The answer of the service, if the request is allowed; to a person without a token the form.
    async fn pass(&self, mut request: Request, next: Next) -> Result<Response, ApiError> {
        match self.check(&request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Ok(next.run(request).await)
            }
            Err(ApiError::Unauthorized)
                if login::is_of_browser(request.method(), request.uri().path(), request.headers()) =>
            {
                Ok(login::needed(request.uri().query().unwrap_or_default()))
            }
            Err(error) => Err(error),
        }
    }
}

/// The token in `/?token=…`.
fn token_in_address(request: &Request) -> Option<String> {
    let query = request.uri().query().filter(|_| request.uri().path() == "/")?;
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(login::url_decoded)
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of its token; empty without one.
    pub(crate) name: String,
    /// Whether it may change something.
    pub(crate) may_steer: bool,
}

impl Default for Caller {
    /// One that needs no token.
    fn default() -> Self {
        Self { name: String::new(), may_steer: true }
    }
}

pub(crate) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let answer = match guard.is_log_in(&request) {
        true => guard.log_in(request).await,
        false => guard.pass(request, next).await,
    };
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // The form for a token has a policy of its own.
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn host_of(request: &Request) -> Result<Authority, ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()?.parse().ok()), hosts.next()) {
        (Some(host), None) => Ok(host),
        _ => Err(ApiError::BadRequest("one Host header is needed".to_owned())),
    }
}

/// A browser sends the page's origin, except for plain navigation.
fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), ApiError> {
    headers.get_all(header::ORIGIN).iter().try_for_each(|origin| {
        let ours = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
            .is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()));
        ours.then_some(()).ok_or_else(|| {
            ApiError::Forbidden("requests from pages of other sites are not allowed".to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_addresses_and_configured_names_as_host() {
        let guard = Guard::new(
            Access::default(),
            vec!["wec.test".to_owned()],
            80,
            Connections::new(wec_listen::Rules::control("the page")),
        );
        let cases = [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("10.1.2.3", true),
            ("wec.test:99", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:8080", false),
        ];
        for (host, known) in cases {
            assert_eq!(guard.check_host(&host.parse().unwrap()).is_ok(), known, "{host}");
        }
    }

    #[test]
    fn accepts_only_its_own_origin() {
        let cases = [
            ("http://127.0.0.1:8080", true),
            ("https://127.0.0.1:8080", true),
            ("http://127.0.0.1:8081", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ];
        for (origin, ours) in cases {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            let host = Authority::from_static("127.0.0.1:8080");
            assert_eq!(check_origin(&headers, &host).is_ok(), ours, "{origin}");
        }
    }
}
