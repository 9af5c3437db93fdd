//! `Influx`: the write API of InfluxDB 1.x and 2.x.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use wec_outbound::{Endpoint, beginning, http_client, told};

/// The longest time for one request.
const WITHIN: Duration = Duration::from_secs(10);

/// How to write: the version decides.
#[derive(Clone)]
pub enum Login {
    /// InfluxDB 1.x.
    V1 {
        /// The database. It is created if it does not exist.
        database: String,
        /// User and password; none without authentication.
        user: Option<(String, String)>,
    },
    /// InfluxDB 2.x.
    V2 {
        /// The organisation.
        org: String,
        /// The bucket. It must exist.
        bucket: String,
        /// The token; may be empty.
        token: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1 { database, .. } => write!(f, "V1({database})"),
            Self::V2 { org, bucket, .. } => write!(f, "V2({org}, {bucket})"),
        }
    }
}

/// A database.
#[derive(Clone, Debug)]
pub struct Influx {
    endpoint: Endpoint,
    login: Login,
    http: Client,
}

/// Why points were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The database did not answer, or cannot write now: the same points may be written later.
    #[error("{0}")]
    Unavailable(String),
    /// The database refuses these points.
    #[error("{0}")]
    Refused(String),
}

impl Influx {
    /// A database at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(endpoint: Endpoint, login: Login) -> reqwest::Result<Self> {
        Ok(Self { endpoint, login, http: http_client(WITHIN)? })
    }

    /// The address, and what it writes to, for messages.
    pub fn place(&self) -> String {
        match &self.login {
            Login::V1 { database, .. } => format!("database {database:?} of {}", self.endpoint),
            Login::V2 { bucket, .. } => format!("bucket {bucket:?} of {}", self.endpoint),
        }
    }

    /// Writes lines of line protocol. A database of version 1 is created if it does not exist.
    ///
    /// # Errors
    /// When not all of them were written.
    pub async fn write(&self, lines: String) -> Result<(), WriteError> {
        let answer = self.send(self.write_request().body(lines.clone())).await?;
        match (&self.login, answer.status()) {
            (Login::V1 { database, .. }, StatusCode::NOT_FOUND) => {
                self.create(database).await?;
                let again = self.send(self.write_request().body(lines)).await?;
                judged(again).await
            }
            _ => judged(answer).await,
        }
    }

    fn write_request(&self) -> RequestBuilder {
        let request = match &self.login {
            Login::V1 { database, .. } => self
                .http
                .post(self.endpoint.join("write"))
                .query(&[("db", database.as_str()), ("precision", "n")]),
            Login::V2 { org, bucket, .. } => self.http.post(self.endpoint.join("api/v2/write")).query(&[
                ("org", org.as_str()),
                ("bucket", bucket.as_str()),
                ("precision", "ns"),
            ]),
        };
        self.authorized(request)
    }

    async fn create(&self, database: &str) -> Result<(), WriteError> {
        let name = database.replace('\\', "\\\\").replace('"', "\\\"");
        let query = format!("CREATE DATABASE \"{name}\"");
        let request = self.http.post(self.endpoint.join("query")).query(&[("q", query)]);
        let answer = self.send(self.authorized(request)).await?;
        // An error of the statement itself is in the body of a 200.
        let status = answer.status();
        let body = beginning(answer).await;
        if status.is_success() && !body.contains("\"error\"") {
            tracing::info!("created the database {database:?} of {}", self.endpoint);
            return Ok(());
        }
        Err(WriteError::Unavailable(format!(
            "the database {database:?} does not exist and cannot be created: {status} {body}"
        )))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Login::V1 { user: Some((user, password)), .. } => request.basic_auth(user, Some(password)),
            Login::V2 { token, .. } if !token.is_empty() => {
                match HeaderValue::from_str(&format!("Token {token}")) {
                    Ok(mut value) => {
                        value.set_sensitive(true);
                        request.header(AUTHORIZATION, value)
                    }
                    // The database then answers that a token is missing.
                    Err(_) => request,
                }
            }
            _ => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, WriteError> {
        request.send().await.map_err(|error| WriteError::Unavailable(told(error)))
    }
}

async fn judged(answer: Response) -> Result<(), WriteError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = format!("{status} {}", beginning(answer).await);
    // The cause of the other client errors can be corrected without a change of the points.
    let refused = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    );
    Err(if refused { WriteError::Refused(why) } else { WriteError::Unavailable(why) })
}
