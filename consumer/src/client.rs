//! `ConsumerClient`: what a load generator sends to a consumer, for our own runs.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use wec_outbound::{Endpoint, beginning, http_client, told};
use wec_record::RequestStats;
use wec_startup::Token;

use crate::payload::exact_date;

/// The longest time for one request.
const WITHIN: Duration = Duration::from_secs(5);

/// The start of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStart {
    /// The run's id.
    pub run: String,
    /// Nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// The load generator's host.
    pub host: String,
    /// Tags of all points.
    pub tags: BTreeMap<String, String>,
    /// Planned number of virtual users.
    pub clients: u64,
}

impl RunStart {
    /// The body of `register`.
    pub fn body(&self) -> Value {
        json!({
            "startedAt": exact_date(self.started_unix_ns),
            "run": self.run,
            "host": self.host,
            "measurement": { "fields": { "clients": self.clients, "requests": 0 }, "tags": self.tags },
        })
    }
}

/// The body of `update` and `commit`.
pub(crate) fn report_body(uuid: &str, at_unix_ns: u64, stats: &RequestStats) -> Value {
    json!({
        "startedAt": exact_date(at_unix_ns),
        "uuid": uuid,
        "measurement": { "fields": { "requestStats": stats } },
    })
}

/// A consumer, as a load generator sees it.
#[derive(Clone, Debug)]
pub struct ConsumerClient {
    endpoint: Endpoint,
    token: Option<Token>,
    http: Client,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It did not answer, or not as a consumer does.
    #[error("{0}")]
    Unavailable(String),
    /// It does not know the job.
    #[error("it has no such job")]
    UnknownJob,
    /// It has the result already.
    #[error("it has the result already")]
    Committed,
}

impl ConsumerClient {
    /// For the consumer at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(endpoint: Endpoint, token: Option<Token>) -> reqwest::Result<Self> {
        Ok(Self { endpoint, token, http: http_client(WITHIN)? })
    }

    /// The consumer's address, for messages.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Registers a run. Returns the job's uuid.
    ///
    /// # Errors
    /// When the consumer does not accept it.
    pub async fn register(&self, start: &RunStart) -> Result<String, ClientError> {
        let answer = self.post("register", &start.body()).await?;
        let uuid = answer.get("uuid").or_else(|| answer.pointer("/data/uuid")).and_then(Value::as_str);
        uuid.map(str::to_owned).ok_or_else(|| ClientError::Unavailable("its answer has no uuid".to_owned()))
    }

    /// Sends live figures.
    ///
    /// # Errors
    /// When the consumer does not accept them.
    pub async fn update(&self, uuid: &str, at_unix_ns: u64, stats: &RequestStats) -> Result<(), ClientError> {
        self.post("update", &report_body(uuid, at_unix_ns, stats)).await.map(drop)
    }

    /// Sends the result.
    ///
    /// # Errors
    /// When the consumer does not accept it.
    pub async fn commit(&self, uuid: &str, at_unix_ns: u64, stats: &RequestStats) -> Result<(), ClientError> {
        self.post("commit", &report_body(uuid, at_unix_ns, stats)).await.map(drop)
    }

    async fn post(&self, event: &str, body: &Value) -> Result<Value, ClientError> {
        let mut request = self.http.post(self.endpoint.join(&format!("apiv0.1/events/{event}"))).json(body);
        if let Some(token) = &self.token {
            request = request.header(reqwest::header::AUTHORIZATION, token.as_bearer());
        }
        let answer = request.send().await.map_err(|error| ClientError::Unavailable(told(error)))?;
        match answer.status() {
            status if status.is_success() => {
                // The original's answer to a commit has only a description.
                Ok(answer.json().await.unwrap_or(Value::Null))
            }
            StatusCode::NOT_FOUND if event != "register" => Err(ClientError::UnknownJob),
            StatusCode::CONFLICT => Err(ClientError::Committed),
            status => Err(ClientError::Unavailable(format!("{status} {}", beginning(answer).await))),
        }
    }
}
