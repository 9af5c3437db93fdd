//! A client of the API of a run's page.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use wec_analytics::{Journal, SessionChanged, SessionView};
use wec_board::ChangeTo;
use wec_pki::Tls;
use wec_startup::redacted;

use super::Mistaken;

/// A page that takes longer counts as unreachable.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A stream of bytes, with TLS or without.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A run's page and its API.
pub(crate) struct Page {
    url: Url,
    token: Option<String>,
    /// For https.
    tls: Option<Tls>,
    /// Where its session is in the API.
    session: String,
}

/// The session that a page shows.
const SHOWN: &str = "sessions/current";

impl Page {
    /// Text as copied from a browser: without a scheme, or with the token in it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let example = "write it like http://127.0.0.1:8089";
        let mut url = Url::parse(&full)
            .map_err(|error| format!("{:?} is not a URL ({error}): {example}", redacted(text)))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(format!("{:?} is not a page over http: {example}", redacted(text)));
        }
        let token = url.query_pairs().find(|(key, _)| key == "token").map(|(_, token)| token.into_owned());
        let token = token.or_else(|| std::env::var("WEC_TOKEN").ok()).filter(|token| !token.is_empty());
        // They are not sent, and messages show this URL.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, token, tls: None, session: SHOWN.to_owned() })
    }

    /// With these files for https.
    pub(super) fn with(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The same with another session than the one that it shows.
    pub(super) fn of_session(self, id: &str) -> Self {
        Self { session: format!("sessions/{}", escaped(id)), ..self }
    }

    /// The session.
    pub(super) async fn session(&self) -> anyhow::Result<SessionView> {
        self.ask(Method::GET, &self.session, None).await
    }

    /// The changes of the session.
    pub(super) async fn journal(&self) -> anyhow::Result<Journal> {
        self.ask(Method::GET, &format!("{}/journal", self.session), None).await
    }

    /// One request for changes of the session, or one for changes of the scenario; there are never both.
    pub(super) async fn change(
        &self,
        scenario: Option<String>,
        wanted: &[ChangeTo],
    ) -> anyhow::Result<SessionChanged> {
        let mut body = Map::new();
        let (mut of_scenario, mut limits) = (false, Map::new());
        for to in wanted {
            let live = to.live();
            of_scenario |= live.of_scenario;
            match to {
                ChangeTo::Limit(limited, limit) => {
                    limits.insert(limited.name().to_owned(), json!(limit));
                }
                to => {
                    body.insert(live.key.to_owned(), to.json());
                }
            }
        }
        if !limits.is_empty() {
            body.insert("limits".to_owned(), limits.into());
        }
        let path = if of_scenario {
            format!("{}/scenarios/{}", self.session, escaped(&self.scenario(scenario).await?))
        } else {
            self.session.clone()
        };
        self.ask(Method::PATCH, &path, Some(&body.into())).await
    }

    /// The given scenario, or the only one.
    async fn scenario(&self, named: Option<String>) -> anyhow::Result<String> {
        if let Some(named) = named {
            return Ok(named);
        }
        let mut names = self.session().await?.scenarios.into_keys();
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only),
            (first, second) => {
                let known: Vec<_> = first.into_iter().chain(second).chain(names).collect();
                bail!(Mistaken(format!(
                    "the run has several scenarios: name one with --scenario: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// A request to the API below `/api/v1/`.
    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let (status, text) =
            tokio::time::timeout(ANSWER_WITHIN, self.exchange(method, path, body))
                .await
                .map_err(|_| anyhow!("{} did not answer within {ANSWER_WITHIN:?}", self.url))??;
        let refused = serde_json::from_slice::<Value>(&text).ok();
        let refused = refused.as_ref().and_then(|body| body["error"].as_str());
        match (status, refused) {
            (status, _) if status.is_success() => serde_json::from_slice(&text)
                .with_context(|| format!("the server at {} is not a page of this wec", self.url)),
            (StatusCode::UNAUTHORIZED, _) if self.token.is_some() => {
                bail!("{} refuses the token in WEC_TOKEN: use that of the run", self.url)
            }
            (StatusCode::UNAUTHORIZED, _) => bail!("{} requires a token: set WEC_TOKEN", self.url),
            (StatusCode::BAD_REQUEST, Some(why)) => bail!(Mistaken(why.to_owned())),
            (_, Some(why)) => bail!("{why}"),
            (status, None) => bail!("the server at {} is not a page of wec: it answered {status}", self.url),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| {
            anyhow!("nothing listens at {} ({error}): start a run, or name its page with --at", self.url)
        })?;
        let broken = || format!("the connection to {} broke", self.url);
        let stream: Box<dyn Io> = match (self.url.scheme(), &self.tls) {
            ("https", Some(tls)) => Box::new(
                tls.connect(host, stream)
                    .await
                    .map_err(|error| anyhow!("cannot make a TLS connection to {}: {error}", self.url))?,
            ),
            ("https", None) => bail!("{}: https needs the CA of the page: set WEC_TLS_CA", self.url),
            _ => Box::new(stream),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(broken)?;
        // The request reports errors of the connection.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let url = self.url.join(&format!("api/v1/{path}")).context("the API's address")?;
        let mut request = Request::builder()
            .method(method)
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(header::HOST, format!("{host}:{port}"))
            .header("Wec-By", "cli");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default()));
        let request = request.body(body).context("WEC_TOKEN cannot be sent in a header")?;
        let answer = sender.send_request(request).await.with_context(broken)?;
        let status = answer.status();
        let text = answer.into_body().collect().await.with_context(broken)?.to_bytes();
        Ok((status, text))
    }
}

/// A name as one segment of a path.
pub(crate) fn escaped(name: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    utf8_percent_encode(name, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_a_pages_address_as_copied_from_a_browser() {
        for (text, url) in [
            ("127.0.0.1:8089", "http://127.0.0.1:8089/"),
            ("http://127.0.0.1:8089/?token=a%20b", "http://127.0.0.1:8089/"),
            ("http://proxy/wec", "http://proxy/wec/"),
            ("https://proxy/wec", "https://proxy/wec/"),
        ] {
            assert_eq!(Page::parse(text).map(|page| page.url.to_string()), Ok(url.to_owned()));
        }
        let page = Page::parse("http://127.0.0.1:8089/?token=a%20b").ok().and_then(|page| page.token);
        assert_eq!(page.as_deref(), Some("a b"));
        for text in ["ws://127.0.0.1", "ftp://a", "http://"] {
            assert!(Page::parse(text).err().is_some_and(|error| error.contains(text)), "{text}");
        }
    }
}
