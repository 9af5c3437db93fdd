//! The management API of pebble-challtestsrv: the same endpoints, bodies and answers, on this server's records.
//!
//! Differences: it can require a token, refuses everything that a browser sends for a page (any Origin), accepts only
//! POST, checks its input (an invalid address is a 400, not ignored), is bounded, and also answers GET `/healthz`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, ORIGIN};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wec_listen::http::Version;
use wec_listen::{Connections, Rules};

use crate::answers::Answers;
use crate::history::{History, Kind};
use crate::http01::HEALTH;
use crate::records::{MOST_ENTRIES, NameRecords};

const LARGEST_BODY: usize = 64 << 10;
/// Records of one kind at one name.
const MOST_VALUES: usize = 1024;

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, api: Router, stop: CancellationToken) {
    let connections = Connections::new(Rules::control("the management API"));
    let service = TowerToHyperService::new(api);
    wec_listen::http::serve(listener, connections, Version::Http1, service, stop).await;
}

/// The whole API.
pub(crate) fn api(answers: Arc<Answers>, token: Option<String>) -> Router {
    let guard = Arc::new(Guard { token: token.map(|token| token.into_bytes()) });
    Router::new()
        .route("/add-http01", post(add_http01))
        .route("/del-http01", post(del_http01))
        .route("/add-redirect", post(add_redirect))
        .route("/del-redirect", post(del_redirect))
        .route("/add-tlsalpn01", post(add_tlsalpn01))
        .route("/del-tlsalpn01", post(del_tlsalpn01))
        .route("/set-default-ipv4", post(set_default_ipv4))
        .route("/set-default-ipv6", post(set_default_ipv6))
        .route("/set-txt", post(set_txt))
        .route("/clear-txt", post(clear_txt))
        .route("/add-a", post(add_a))
        .route("/clear-a", post(clear_a))
        .route("/add-aaaa", post(add_aaaa))
        .route("/clear-aaaa", post(clear_aaaa))
        .route("/add-caa", post(add_caa))
        .route("/clear-caa", post(clear_caa))
        .route("/set-cname", post(set_cname))
        .route("/clear-cname", post(clear_cname))
        .route("/set-servfail", post(set_servfail))
        .route("/clear-servfail", post(clear_servfail))
        .route("/http-request-history", post(http_history))
        .route("/dns-request-history", post(dns_history))
        .route("/tlsalpn01-request-history", post(tlsalpn_history))
        .route("/clear-request-history", post(clear_history))
        .layer(middleware::from_fn_with_state(guard, admit))
        .route(HEALTH, get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(answers)
}

struct Guard {
    token: Option<Vec<u8>>,
}

/// Programs send no Origin; a browser sends one with every POST of a page, also of this server's own.
async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Some(origin) = request.headers().get(ORIGIN) {
        let refusal = format!("requests from a web page are refused (Origin {origin:?})\n");
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    if let Some(token) = &guard.token {
        let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        // Digests have one length, so the comparison takes the same time for every guess.
        let same = verify_slices_are_equal(digest(&SHA256, token).as_ref(), digest(&SHA256, given).as_ref());
        if same.is_err() {
            let refusal = "the management API needs its token as Authorization: Bearer\n";
            return (StatusCode::UNAUTHORIZED, refusal).into_response();
        }
    }
    next.run(request).await
}

/// What is wrong with a request: always 400, as in the original.
struct Bad(String);

impl IntoResponse for Bad {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.0 + "\n").into_response()
    }
}

type Done = Result<StatusCode, Bad>;
type Api = State<Arc<Answers>>;

/// Bodies are JSON whatever their content type is: clients are `curl -d` and the like.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Bad> {
    if body.is_empty() {
        return Err(Bad("expected JSON POST body, was empty".into()));
    }
    serde_json::from_slice(body).map_err(|error| Bad(format!("not the JSON that is expected: {error}")))
}

fn required<'a>(value: &'a str, field: &str) -> Result<&'a str, Bad> {
    match value {
        "" => Err(Bad(format!("{field} must not be empty"))),
        value => Ok(value),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    #[serde(alias = "Token")]
    token: String,
    #[serde(alias = "Content")]
    content: String,
}

async fn add_http01(State(answers): Api, body: Bytes) -> Done {
    let Token { token, content } = parse(&body)?;
    required(&token, "token")?;
    required(&content, "content")?;
    let mut records = answers.records.write();
    room(records.tokens.len(), MOST_ENTRIES, "http-01 tokens")?;
    records.tokens.insert(token, content);
    Ok(StatusCode::OK)
}

async fn del_http01(State(answers): Api, body: Bytes) -> Done {
    let Token { token, .. } = parse(&body)?;
    answers.records.write().tokens.remove(required(&token, "token")?);
    Ok(StatusCode::OK)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Redirect {
    #[serde(alias = "Path")]
    path: String,
    #[serde(rename = "targetURL", alias = "TargetURL", alias = "targetUrl")]
    target: String,
}

async fn add_redirect(State(answers): Api, body: Bytes) -> Done {
    let Redirect { path, target } = parse(&body)?;
    required(&path, "path")?;
    required(&target, "targetURL")?;
    if http::HeaderValue::from_str(&target).is_err() {
        return Err(Bad(format!("targetURL {target:?} cannot be sent in a header")));
    }
    let mut records = answers.records.write();
    room(records.redirects.len(), MOST_ENTRIES, "redirects")?;
    records.redirects.insert(path, target);
    Ok(StatusCode::OK)
}

async fn del_redirect(State(answers): Api, body: Bytes) -> Done {
    let Redirect { path, .. } = parse(&body)?;
    answers.records.write().redirects.remove(required(&path, "path")?);
    Ok(StatusCode::OK)
}

/// The fields of all requests about a host.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Host {
    #[serde(alias = "Host")]
    host: String,
    #[serde(alias = "Content")]
    content: String,
    #[serde(alias = "Value")]
    value: String,
    #[serde(alias = "Target")]
    target: String,
    #[serde(alias = "Addresses")]
    addresses: Vec<String>,
    #[serde(alias = "Policies")]
    policies: Vec<Policy>,
    #[serde(rename = "type", alias = "Type", alias = "Typ")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    #[serde(alias = "Tag")]
    tag: String,
    #[serde(alias = "Value")]
    value: String,
}

impl Host {
    /// The name of the records: lower case, without the final dot that some clients send.
    fn name(&self) -> Result<String, Bad> {
        let host = required(&self.host, "host")?;
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match hickory_proto::rr::Name::from_ascii(&name) {
            Ok(_) => Ok(name),
            Err(error) => Err(Bad(format!("host {host:?} is no domain name: {error}"))),
        }
    }
}

async fn add_tlsalpn01(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let name = request.name()?;
    let key_authorization = required(&request.content, "content")?;
    let hash = digest(&SHA256, key_authorization.as_bytes());
    let hash = hash.as_ref().try_into().map_err(|_| Bad("no SHA-256".into()))?;
    let mut records = answers.records.write();
    room(records.digests.len(), MOST_ENTRIES, "tls-alpn-01 challenges")?;
    records.digests.insert(name, hash);
    Ok(StatusCode::OK)
}

async fn del_tlsalpn01(State(answers): Api, body: Bytes) -> Done {
    let name = parse::<Host>(&body)?.name()?;
    answers.records.write().digests.remove(&name);
    Ok(StatusCode::OK)
}

#[derive(Deserialize)]
struct DefaultIp {
    #[serde(alias = "IP", alias = "Ip")]
    ip: String,
}

async fn set_default_ipv4(State(answers): Api, body: Bytes) -> Done {
    let DefaultIp { ip } = parse(&body)?;
    answers.records.write().default_ipv4 = optional_address::<Ipv4Addr>(&ip, "IPv4")?;
    Ok(StatusCode::OK)
}

async fn set_default_ipv6(State(answers): Api, body: Bytes) -> Done {
    let DefaultIp { ip } = parse(&body)?;
    answers.records.write().default_ipv6 = optional_address::<Ipv6Addr>(&ip, "IPv6")?;
    Ok(StatusCode::OK)
}

/// The empty string removes a default.
fn optional_address<T: std::str::FromStr>(text: &str, kind: &str) -> Result<Option<T>, Bad> {
    match text {
        "" => Ok(None),
        text => address(text, kind).map(Some),
    }
}

fn address<T: std::str::FromStr>(text: &str, kind: &str) -> Result<T, Bad> {
    text.parse().map_err(|_| Bad(format!("{text:?} is no {kind} address")))
}

fn addresses<T: std::str::FromStr>(request: &Host, kind: &str) -> Result<Vec<T>, Bad> {
    if request.addresses.is_empty() {
        return Err(Bad("addresses must not be empty".into()));
    }
    request.addresses.iter().map(|text| address(text, kind)).collect()
}

async fn set_txt(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let value = required(&request.value, "value")?.to_owned();
    add(&answers, &request, |records| records.txt.push(value))
}

async fn clear_txt(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.txt.clear())
}

async fn add_a(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let addresses = addresses::<Ipv4Addr>(&request, "IPv4")?;
    add(&answers, &request, |records| records.a.extend(addresses))
}

async fn clear_a(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.a.clear())
}

async fn add_aaaa(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let addresses = addresses::<Ipv6Addr>(&request, "IPv6")?;
    add(&answers, &request, |records| records.aaaa.extend(addresses))
}

async fn clear_aaaa(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.aaaa.clear())
}

async fn add_caa(State(answers): Api, body: Bytes) -> Done {
    let mut request: Host = parse(&body)?;
    let policies = std::mem::take(&mut request.policies);
    if policies.is_empty() {
        return Err(Bad("policies must not be empty".into()));
    }
    for Policy { tag, .. } in &policies {
        // RFC 8659 §4.1: letters and digits, at least one.
        if tag.is_empty() || tag.len() > 255 || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Bad(format!("{tag:?} is no CAA tag")));
        }
    }
    let policies = policies.into_iter().map(|Policy { tag, value }| (tag, value));
    add(&answers, &request, |records| records.caa.extend(policies))
}

async fn clear_caa(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.caa.clear())
}

async fn set_cname(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let target = Host { host: required(&request.target, "target")?.to_owned(), ..Host::default() }.name()?;
    add(&answers, &request, |records| records.cname = Some(target))
}

async fn clear_cname(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.cname = None)
}

async fn set_servfail(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    add(&answers, &request, |records| records.servfail = true)
}

async fn clear_servfail(State(answers): Api, body: Bytes) -> Done {
    clear(&answers, &body, |records| records.servfail = false)
}

fn add(answers: &Answers, request: &Host, change: impl FnOnce(&mut NameRecords)) -> Done {
    let name = request.name()?;
    let mut data = answers.records.write();
    if let Some(known) = data.name(&name) {
        let most = known.a.len().max(known.aaaa.len()).max(known.txt.len()).max(known.caa.len());
        room(most, MOST_VALUES, "records of this name")?;
    }
    match data.change(&name, change) {
        true => Ok(StatusCode::OK),
        false => Err(full(MOST_ENTRIES, "names")),
    }
}

fn clear(answers: &Answers, body: &[u8], change: impl FnOnce(&mut NameRecords)) -> Done {
    let name = parse::<Host>(body)?.name()?;
    answers.records.write().change(&name, change);
    Ok(StatusCode::OK)
}

fn room(used: usize, most: usize, what: &str) -> Result<(), Bad> {
    if used < most { Ok(()) } else { Err(full(most, what)) }
}

fn full(most: usize, what: &str) -> Bad {
    Bad(format!("{most} {what} are stored and no more are accepted: clear those that are no longer needed"))
}

async fn http_history(State(answers): Api, body: Bytes) -> Result<Response, Bad> {
    requests(&answers, &body, Kind::Http)
}

async fn dns_history(State(answers): Api, body: Bytes) -> Result<Response, Bad> {
    requests(&answers, &body, Kind::Dns)
}

async fn tlsalpn_history(State(answers): Api, body: Bytes) -> Result<Response, Bad> {
    requests(&answers, &body, Kind::TlsAlpn)
}

fn requests(answers: &Answers, body: &[u8], kind: Kind) -> Result<Response, Bad> {
    let request: Host = parse(body)?;
    let host = required(&request.host, "host")?;
    Ok(Json(history(answers)?.of(host, kind)).into_response())
}

async fn clear_history(State(answers): Api, body: Bytes) -> Done {
    let request: Host = parse(&body)?;
    let host = required(&request.host, "host")?;
    let kind = Kind::named(&request.kind)
        .ok_or_else(|| Bad(format!("{:?} event type unknown: http, dns or tlsalpn", request.kind)))?;
    history(&answers)?.clear(host, kind);
    Ok(StatusCode::OK)
}

fn history(answers: &Answers) -> Result<&History, Bad> {
    answers.history.as_ref().ok_or_else(|| Bad("no history is kept".into()))
}
