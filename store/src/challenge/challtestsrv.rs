//! Writes challenge data to a `pebble-challtestsrv` (or Boulder's `chall-test-srv`) through its management
//! API, for CAs that validate against it.
//!
//! It has limits: `clear-txt` removes all values of a name, and a name has at most one tls-alpn-01 challenge.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use wec_startup::redacted;

use super::{BoxFuture, ChallengeData, ChallengeStoreError, ChallengeWriter, DNS01_LABEL};
use wec_record::Listener;

/// Concurrent requests; more wait. As many connections are kept open.
const CONNECTIONS: usize = 32;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Writes through the management API.
pub struct ChallTestSrvWriter {
    /// `host:port`.
    authority: String,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    /// TXT values by name: removing one removes all, so the others are added again.
    txt: Mutex<HashMap<String, Vec<String>>>,
}

impl std::fmt::Debug for ChallTestSrvWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallTestSrvWriter").field("authority", &self.authority).finish_non_exhaustive()
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl ChallTestSrvWriter {
    /// A writer to the management API at `url`, for example `http://10.77.77.77:8055`. Connects at the first
    /// request.
    ///
    /// # Errors
    /// When it is not an `http` URL without a path.
    pub fn new(url: &str) -> Result<Self, ChallengeStoreError> {
        let wrong = |reason: String| ChallengeStoreError::Url { url: redacted(url), reason };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(wrong("a management API uses plain http".into()));
        }
        if parsed.path() != "/" || parsed.query().is_some() {
            return Err(wrong("it has a path, but a management API is at the root".into()));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("it has no host".into()))?;
        let authority = format!("{host}:{}", parsed.port_or_known_default().unwrap_or(80));
        Ok(Self {
            authority,
            idle: Mutex::default(),
            permits: Semaphore::new(CONNECTIONS),
            txt: Mutex::default(),
        })
    }

    /// A writer to a management API, after a test request.
    ///
    /// # Errors
    /// As [`ChallTestSrvWriter::new`], and when there is no server or it does not support the request.
    pub async fn reach(url: &str) -> Result<Self, ChallengeStoreError> {
        let writer = Self::new(url)?;
        // For a name that cannot exist: it removes nothing.
        writer.post("/clear-txt", &json!({"host": "_acme-challenge.probe.invalid."})).await?;
        Ok(writer)
    }

    async fn store(&self, challenge: &ChallengeData) -> Result<(), ChallengeStoreError> {
        let host = challenge.stored_name();
        let content = &challenge.key_authorization;
        match challenge.kind.listener() {
            Listener::Http => {
                self.post("/add-http01", &json!({"token": challenge.token, "content": content})).await
            }
            Listener::Tls => self.post("/add-tlsalpn01", &json!({"host": host, "content": content})).await,
            Listener::Dns => {
                let value = challenge.txt_value();
                self.txt().entry(host.clone()).or_default().push(value.clone());
                self.set_txt(&host, &value).await
            }
        }
    }

    async fn forget(&self, challenge: &ChallengeData) -> Result<(), ChallengeStoreError> {
        let host = challenge.stored_name();
        match challenge.kind.listener() {
            Listener::Http => self.post("/del-http01", &json!({"token": challenge.token})).await,
            Listener::Tls => self.post("/del-tlsalpn01", &json!({"host": host})).await,
            Listener::Dns => {
                let others = self.without(&host, &challenge.txt_value());
                self.post("/clear-txt", &json!({"host": record(&host)})).await?;
                for value in others {
                    self.set_txt(&host, &value).await?;
                }
                Ok(())
            }
        }
    }

    async fn set_txt(&self, host: &str, value: &str) -> Result<(), ChallengeStoreError> {
        self.post("/set-txt", &json!({"host": record(host), "value": value})).await
    }

    /// The values of `host` that stay when `value` is removed.
    fn without(&self, host: &str, value: &str) -> Vec<String> {
        let mut txt = self.txt();
        let Some(values) = txt.get_mut(host) else { return Vec::new() };
        values.retain(|stored| stored != value);
        if values.is_empty() {
            txt.remove(host);
            return Vec::new();
        }
        values.clone()
    }

    fn txt(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.txt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(), ChallengeStoreError> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.exchange(path, body.to_string().into())).await;
        let store = format!("http://{}", self.authority);
        let reason = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Unanswered { local: true, reason })) => {
                return Err(ChallengeStoreError::Local { store, reason });
            }
            Ok(Err(Unanswered { reason, .. })) => format!("POST {path}: {reason}"),
            Err(_) => format!("POST {path}: no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        Err(ChallengeStoreError::Unavailable { store, reason })
    }

    /// On a kept connection, and again on a new one if that was closed: every request can be repeated safely.
    async fn exchange(&self, path: &str, body: Bytes) -> Result<(), Unanswered> {
        let _permit = self.permits.acquire().await.map_err(|error| Unanswered::of(&error))?;
        if let Some(connection) = self.kept()
            && let Ok(answer) = self.send(connection, path, body.clone()).await
        {
            return answer.map_err(Unanswered::said);
        }
        let connection = self.connect().await.map_err(|error| Unanswered::of(error.as_ref()))?;
        let answer = self.send(connection, path, body).await.map_err(|error| Unanswered::of(&error))?;
        answer.map_err(Unanswered::said)
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| connection.sender.is_ready())
    }

    async fn connect(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // The request returns the same error.
            let _ = connection.await;
        });
        Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    /// `Err` if the connection broke, else `Ok` with the server's answer.
    async fn send(
        &self,
        mut connection: Connection,
        path: &str,
        body: Bytes,
    ) -> hyper::Result<Result<(), String>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the path is one of ours, and the authority was part of a URL");
        let response = connection.sender.send_request(request).await?;
        let status = response.status();
        let said = response.into_body().collect().await?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
        drop(idle);
        if status.is_success() {
            return Ok(Ok(()));
        }
        let said: String = String::from_utf8_lossy(&said).trim().chars().take(200).collect();
        Ok(Err(format!("{status} {said}")))
    }
}

/// Why a request failed.
struct Unanswered {
    /// Whether our own machine refused.
    local: bool,
    reason: String,
}

impl Unanswered {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { local: wec_acme::local::is_refusal(error), reason: error.to_string() }
    }

    fn said(reason: String) -> Self {
        Self { local: false, reason }
    }
}

/// The record's fully qualified name (RFC 8555 §8.4).
/// The name of a TXT record. Names of the drafts' types are stored with their labels.
fn record(host: &str) -> String {
    if host.starts_with('_') { format!("{host}.") } else { format!("{DNS01_LABEL}.{host}.") }
}

impl ChallengeWriter for ChallTestSrvWriter {
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(self.store(challenge))
    }

    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(self.forget(challenge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_url_of_a_management_api_only() {
        assert_eq!(ChallTestSrvWriter::new("http://10.77.77.77:8055").unwrap().authority, "10.77.77.77:8055");
        assert_eq!(ChallTestSrvWriter::new("http://[::1]:8055/").unwrap().authority, "[::1]:8055");
        for (url, reason) in [
            ("10.77.77.77:8055", "10.77.77.77"),
            ("https://srv:8055", "plain http"),
            ("http://srv:8055/set-txt", "has a path"),
        ] {
            let error = ChallTestSrvWriter::new(url).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(url), "{error}");
        }
    }
}
