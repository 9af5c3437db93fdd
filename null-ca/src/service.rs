//! One request from arrival to answer: applies the fault plan, authenticates the request, and calls the
//! endpoint's handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use wec_listen::http::Timed;

use crate::accounts::account_url;
use crate::ca::{Ca, Call, Signer};
use crate::endpoint::{Endpoint, Route};
use crate::faults::Fault;
use crate::jws::Jws;
use crate::keys::PublicKey;
use crate::reply::{Content, Kind, Problem, Reply};

/// The connection is to be reset.
#[derive(Debug, Error)]
#[error("reset on purpose")]
pub(crate) struct Reset;

/// The longest request: a finalize with a hundred names has some 20 KiB.
const LONGEST_REQUEST: usize = 128 * 1024;
/// So much of a longer one is read: a client that is still sending does not see the answer.
const MOST_READ: usize = 4 * 1024 * 1024;

impl Ca {
    /// Answers one request. Never returns if the plan requires silence.
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Timed>,
    ) -> Result<Response<Full<Bytes>>, Reset> {
        let (head, body) = request.into_parts();
        let route = Route::parse(head.uri.path());
        let endpoint = route.endpoint();
        if let Some(seconds) = &self.seconds {
            seconds.count(endpoint);
        }
        let mut fate = self.plan.request(endpoint);
        if !self.hold_back(endpoint, fate.latency).await {
            fate.fault = Some(Fault::Busy);
        }
        if let Some(fault) = fate.fault {
            self.counters.spoilt(fault);
        }
        let base = self.base(&head);
        let spoilt = match fate.fault {
            None | Some(Fault::Truncated | Fault::Empty) => None,
            Some(Fault::ServerError) => {
                let problem = Problem::new(Kind::ServerInternal, "a failure on purpose");
                Some(self.respond(&base, problem.into()))
            }
            Some(Fault::RateLimited) => {
                let problem = Problem::new(Kind::RateLimited, "too many requests, on purpose");
                let problem = problem.retry_after(self.config.retry_after);
                Some(self.respond(&base, problem.into()))
            }
            Some(Fault::Busy) => {
                // As Let's Encrypt does.
                let problem = Problem::new(Kind::Busy, "Service busy; retry later.");
                let problem = problem.retry_after(self.config.retry_after);
                Some(self.respond(&base, problem.into()))
            }
            Some(Fault::Html) => Some(html_503()),
            Some(Fault::Reset) => {
                self.counters.left_unanswered(endpoint);
                return Err(Reset);
            }
            Some(Fault::Silence) => {
                self.counters.left_unanswered(endpoint);
                std::future::pending().await
            }
        };
        let response = match spoilt {
            Some(response) => response,
            None => {
                let body = Limited::new(body, MOST_READ).collect().await.map(|body| body.to_bytes());
                let reply = match body {
                    Ok(body) if body.len() <= LONGEST_REQUEST => self.carry_out(&base, &route, &head, &body),
                    _ => Err(Problem::new(
                        Kind::TooLarge,
                        format!("the request is longer than {LONGEST_REQUEST} bytes or broke off"),
                    )),
                };
                let reply = reply.unwrap_or_else(Reply::from);
                match fate.fault {
                    Some(Fault::Empty) => Response::default(),
                    Some(Fault::Truncated) => self.respond(&base, half(reply)),
                    _ => self.respond(&base, reply),
                }
            }
        };
        self.counters.answered(endpoint, response.status().as_u16());
        Ok(response)
    }

    /// Waits as the plan requires before the request is processed. False if the endpoint's queue is full.
    async fn hold_back(&self, endpoint: Endpoint, latency: Duration) -> bool {
        let since_start = self.started.elapsed();
        let queued = self.plan.queued(endpoint, since_start);
        let held_back = latency + self.plan.stalled(since_start) + queued.unwrap_or_default();
        if !held_back.is_zero() {
            sleep(held_back).await;
        }
        queued.is_some()
    }

    fn base(&self, head: &http::request::Parts) -> String {
        let scheme = if self.config.tls { "https" } else { "http" };
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // In HTTP/2 it is in the request's target.
        let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
        // It goes into JSON and headers unescaped, so it must not need escaping.
        let host = host.filter(|host| host.bytes().all(is_host_byte));
        format!("{scheme}://{}", host.unwrap_or("localhost"))
    }

    fn respond(&self, base: &str, reply: Reply) -> Response<Full<Bytes>> {
        reply.into_response(base, self.nonces.issue())
    }

    fn carry_out(
        self: &Arc<Self>,
        base: &str,
        route: &Route<'_>,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Result<Reply, Problem> {
        match (route, &head.method) {
            (Route::Unknown, _) => {
                let detail = format!("{} does not exist", head.uri.path());
                Err(Problem::new(Kind::NotFound, detail))
            }
            (Route::Directory, &Method::GET) => Ok(Reply::json(200, self.directory(base))),
            (Route::NewNonce, &Method::HEAD) => Ok(Reply::new(200, Content::Nothing)),
            (Route::NewNonce, &Method::GET) => Ok(Reply::new(204, Content::Nothing)),
            (Route::RenewalInfo(ari_id), &Method::GET) => self.renewal_info(ari_id),
            (Route::Directory | Route::NewNonce | Route::RenewalInfo(_), _) => {
                Err(method_not_allowed(route, head))
            }
            (_, &Method::POST) => {
                let url = format!("{base}{}", head.uri.path());
                let call = self.authenticate(base, &url, route, head, body)?;
                match *route {
                    Route::NewAccount => self.new_account(&call),
                    Route::Account(id) => self.account(&call, id),
                    Route::Orders(id, after) => self.account_orders(&call, id, after),
                    Route::KeyChange => self.key_change(&call),
                    Route::NewOrder => self.new_order(&call),
                    Route::Order(id) => self.order(&call, id),
                    Route::Authorization(id, index) => self.authorization(&call, id, index),
                    Route::Challenge(place) => self.challenge(&call, place),
                    Route::Finalize(id) => self.finalize(&call, id),
                    Route::Certificate(id, alternate) => self.certificate(&call, id, alternate),
                    Route::NewAuthz => self.new_authorization(&call),
                    Route::RevokeCert => self.revoke(&call),
                    // Answered or refused above.
                    Route::Directory | Route::NewNonce | Route::RenewalInfo(_) | Route::Unknown => {
                        Err(method_not_allowed(route, head))
                    }
                }
            }
            _ => Err(method_not_allowed(route, head)),
        }
    }

    /// RFC 8555 §6.2 to §6.5: media type, nonce, URL, key, signature.
    fn authenticate<'a>(
        &self,
        base: &'a str,
        url: &'a str,
        route: &Route<'_>,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Result<Call<'a>, Problem> {
        let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !content_type.is_some_and(|value| value.starts_with(b"application/jose+json")) {
            let detail = "a signed request has Content-Type application/jose+json";
            return Err(Problem::new(Kind::MediaType, detail));
        }
        let jws = Jws::parse(body)?;
        self.check_nonce(jws.header.nonce.as_deref())?;
        if jws.header.url.as_deref() != Some(url) {
            let signed = jws.header.url.as_deref().unwrap_or_default();
            let detail = format!("the JWS was made for `{signed}` and sent to `{url}`");
            return Err(Problem::new(Kind::Unauthorized, detail));
        }
        let signer = match (&jws.header.kid, &jws.header.jwk) {
            (Some(kid), None) if *route != Route::NewAccount => {
                let id = account_id(base, kid)?;
                Signer::Account { id, key: self.accounts.key(id)? }
            }
            (None, Some(jwk)) if matches!(route, Route::NewAccount | Route::RevokeCert) => {
                Signer::Key(Arc::new(PublicKey::from_jwk(jwk)?))
            }
            (Some(_), Some(_)) => return Err(Problem::malformed("the JWS has both kid and jwk")),
            (None, None) => return Err(Problem::malformed("the JWS has neither kid nor jwk")),
            (Some(_), None) => return Err(Problem::malformed("newAccount is signed with a jwk")),
            (None, Some(_)) => {
                return Err(Problem::malformed("this request is signed with a kid"));
            }
        };
        let (Signer::Account { key, .. } | Signer::Key(key)) = &signer;
        jws.check_algorithm(key)?;
        if self.config.verify_signatures {
            jws.verify(key)?;
        }
        Ok(Call { base, url, jws, signer, now: Instant::now() })
    }

    fn check_nonce(&self, nonce: Option<&str>) -> Result<(), Problem> {
        let bad = |detail| Err(Problem::new(Kind::BadNonce, detail));
        if !nonce.is_some_and(|nonce| self.nonces.spend(nonce)) {
            self.counters.nonces_unknown.add();
            return bad("the nonce is unknown, used or too old");
        }
        if self.plan.refuses_nonce() {
            self.counters.nonces_refused.add();
            return bad("the nonce is refused on purpose");
        }
        Ok(())
    }

    fn directory(&self, base: &str) -> String {
        let external = !self.config.external_accounts.is_empty();
        let profiles = match self.config.profiles.is_empty() {
            true => String::new(),
            false => format!(r#","profiles":{}"#, serde_json::json!(self.config.profiles)),
        };
        format!(
            concat!(
                r#"{{"newNonce":"{base}/new-nonce","newAccount":"{base}/new-account","#,
                r#""newOrder":"{base}/new-order","revokeCert":"{base}/revoke-cert","#,
                r#""keyChange":"{base}/key-change","newAuthz":"{base}/new-authz","#,
                r#""renewalInfo":"{base}/renewal-info","#,
                r#""meta":{{"externalAccountRequired":{external}{profiles}}}}}"#
            ),
            base = base,
            external = external,
            profiles = profiles
        )
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}

fn method_not_allowed(route: &Route<'_>, head: &http::request::Parts) -> Problem {
    let detail = format!("{} does not support {}", route.endpoint(), head.method);
    Problem::new(Kind::MethodNotAllowed, detail)
}

fn account_id(base: &str, kid: &str) -> Result<u64, Problem> {
    let path = kid.strip_prefix(base).map(Route::parse);
    match path {
        Some(Route::Account(id)) => Ok(id),
        _ => Err(Problem::malformed(format!(
            "`{kid}` is not an account of this CA; accounts are like {}",
            account_url(base, 1)
        ))),
    }
}

/// A proxy's answer when its CA is unreachable.
fn html_503() -> Response<Full<Bytes>> {
    const PAGE: &str = "<html><head><title>503 Service Temporarily Unavailable</title></head>\
        <body><h1>503 Service Temporarily Unavailable</h1></body></html>\n";
    let mut response = Response::new(Full::new(Bytes::from_static(PAGE.as_bytes())));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// A truncated answer. It is valid HTTP, but not valid JSON.
fn half(mut reply: Reply) -> Reply {
    if let Content::Json(body) | Content::Problem(body) | Content::PemChain(body) = &mut reply.content {
        let middle = body.floor_char_boundary(body.len() / 2);
        body.truncate(middle);
    }
    reply
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Config;
    use crate::issuer::Issuer;
    use crate::validation::Validator;

    /// A CA with these rules, as in a configuration file, that does not listen.
    fn ca(rules: &str) -> Ca {
        let config: Config = toml::from_str(rules).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let validator = Validator::new(&config.validation, &provider).unwrap();
        Ca::new(Issuer::new(config.lifetime).unwrap(), validator, None, CancellationToken::new(), config)
    }

    #[tokio::test(start_paused = true)]
    async fn latency_and_stalls_hold_requests_back() {
        let started = Instant::now();
        let ca = ca("stalls = ['0s+200ms', '1s+30ms']");
        for (arrives, latency, processed) in
            [(0, 0, 200), (200, 0, 200), (300, 50, 350), (1_010, 0, 1_030), (1_030, 50, 1_080)]
        {
            tokio::time::sleep_until(started + Duration::from_millis(arrives)).await;
            assert!(ca.hold_back(Endpoint::NewOrder, Duration::from_millis(latency)).await);
            assert_eq!(started.elapsed(), Duration::from_millis(processed), "arrives at {arrives} ms");
        }
    }

    #[test]
    fn a_kid_is_a_url_of_this_ca() {
        let base = "https://localhost:14443";
        assert_eq!(account_id(base, "https://localhost:14443/account/7").ok(), Some(7));
        for kid in [
            "",
            "7",
            "https://localhost:14443/order/7",
            "https://localhost/account/7",
            "http://localhost:14443/account/7",
        ] {
            assert_eq!(account_id(base, kid).unwrap_err().kind, Kind::Malformed, "{kid}");
        }
    }

    #[test]
    fn a_truncated_answer_is_still_utf_8() {
        let reply = half(Reply::json(200, r#"{"a":"ä"}"#.to_owned()));
        let Content::Json(body) = reply.content else { panic!("the content is JSON") };
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_err());
    }
}
