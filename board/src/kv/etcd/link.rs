//! `Link`: calls to the first endpoint that answers, with TLS and a user if configured.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};
use wec_startup::redacted;

use super::api::etcdserverpb::auth_client::AuthClient;
use super::api::etcdserverpb::kv_client::KvClient;
use super::api::etcdserverpb::{AuthenticateRequest, RangeRequest, RangeResponse};
use crate::{BoardError, EtcdOptions, EtcdTls, EtcdUser};

/// Time limit of a call to one endpoint.
pub(super) const CALL: Duration = Duration::from_secs(3);
/// etcd closes connections with more frequent pings (its `--grpc-keepalive-min-time` is 5 s).
const PING: Duration = Duration::from_secs(7);

/// A connection to a member, with the user's token.
pub(super) type Lane = InterceptedService<Channel, Token>;

#[derive(Debug)]
pub(crate) struct Link {
    members: Vec<Member>,
    /// The endpoint to begin with: the one that answered last, or the one after it while a call is made.
    current: AtomicUsize,
    user: Option<EtcdUser>,
    /// The user's token; none before the first request for one.
    token: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Member {
    /// The URL for messages.
    url: String,
    channel: Channel,
}

/// The token of a user; empty without a user, and if etcd has no users.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Why a call to a member failed.
enum Failure {
    Silent,
    Status(Status),
}

impl Failure {
    fn reason(&self) -> String {
        match self {
            Self::Silent => format!("no answer within {} s", CALL.as_secs()),
            Self::Status(status) => chain(status),
        }
    }

    /// Whether another endpoint may succeed: this one is unreachable, has no leader, or is not etcd.
    fn is_elsewhere(&self) -> bool {
        let Self::Status(status) = self else { return true };
        matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Internal
                | Code::Unimplemented
        )
    }

    /// Whether the lease of a write has ended since it was granted, as on a busy machine: another one may succeed.
    fn is_of_the_lease(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::NotFound)
    }

    /// Whether a new token may succeed: this one has expired or is from before a restart, or users or roles
    /// have changed.
    fn is_of_the_token(&self) -> bool {
        let Self::Status(status) = self else { return false };
        let old = ["revision of auth store is old", "user name is empty"];
        status.code() == Code::Unauthenticated || old.iter().any(|old| status.message().contains(old))
    }
}

async fn bounded<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map(Response::into_inner).map_err(Failure::Status),
        Err(_) => Err(Failure::Silent),
    }
}

impl Link {
    /// Does not connect yet.
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, BoardError> {
        let mut tls = None;
        let members = options
            .endpoints
            .iter()
            .map(|url| {
                let bad = |reason: String| BoardError::BadEndpoint { endpoint: redacted(url), reason };
                let mut endpoint = Endpoint::from_shared(url.clone()).map_err(|error| bad(chain(&error)))?;
                if url.starts_with("https://") {
                    let tls = match &tls {
                        Some(tls) => tls,
                        None => tls.insert(tls_config(&options.tls)?),
                    };
                    endpoint = endpoint.tls_config(tls.clone()).map_err(|error| bad(chain(&error)))?;
                } else if !url.starts_with("http://") {
                    return Err(bad("it does not begin with http:// or https://".to_owned()));
                }
                let channel = endpoint
                    .connect_timeout(CALL)
                    .http2_keep_alive_interval(PING)
                    .keep_alive_timeout(CALL)
                    .connect_lazy();
                Ok(Member { url: redacted(url), channel })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(BoardError::BadEndpoint {
                endpoint: String::new(),
                reason: "no endpoint is given".to_owned(),
            });
        }
        let user = options.user.clone();
        Ok(Self { members, current: AtomicUsize::new(0), user, token: Mutex::new(None) })
    }

    /// Makes a call at each endpoint in turn until one answers, starting with the one that answered last.
    pub(super) async fn call<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn(Lane) -> F,
    ) -> Result<T, BoardError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut reason = String::new();
        for at in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let member = &self.members[at];
            // If the caller gives up while this one is silent, its next call begins with another one.
            self.current.store((at + 1) % self.members.len(), Ordering::Relaxed);
            match self.ask(member, &call).await {
                Ok(answer) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) if failure.is_elsewhere() => reason = failure.reason(),
                Err(failure) if failure.is_of_the_lease() => {
                    self.current.store(at, Ordering::Relaxed);
                    return Err(BoardError::Lost { doing, reason: failure.reason() });
                }
                Err(failure) => {
                    self.current.store(at, Ordering::Relaxed);
                    let endpoint = member.url.clone();
                    return Err(BoardError::Refused { endpoint, doing, reason: failure.reason() });
                }
            }
        }
        let endpoints: Vec<&str> = self.members.iter().map(|member| member.url.as_str()).collect();
        Err(BoardError::Unreachable { endpoints: endpoints.join(", "), doing, reason })
    }

    /// Makes the call at one member, and again with a new token if the token is no longer valid.
    async fn ask<T, F>(&self, member: &Member, call: &impl Fn(Lane) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let token = self.token_after(member, None).await?;
        let lane = |token: &Token| InterceptedService::new(member.channel.clone(), token.clone());
        match bounded(call(lane(&token))).await {
            Err(failure) if self.user.is_some() && failure.is_of_the_token() => {
                let token = self.token_after(member, Some(&token)).await?;
                bounded(call(lane(&token))).await
            }
            answer => answer,
        }
    }

    /// The user's token: the current one if it differs from `refused`, else a new one.
    async fn token_after(&self, member: &Member, refused: Option<&Token>) -> Result<Token, Failure> {
        let Some(EtcdUser { name, password }) = &self.user else { return Ok(Token::default()) };
        // Locked during the request, so that concurrent calls request only one.
        let mut known = self.token.lock().await;
        if let Some(token) = known.as_ref().filter(|token| refused != Some(token)) {
            return Ok(token.clone());
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let asked = async { AuthClient::new(member.channel.clone()).authenticate(request).await };
        let token = match bounded(asked).await {
            Ok(answer) => {
                let token = MetadataValue::try_from(answer.token);
                let mut token =
                    token.map_err(|_| Failure::Status(Status::internal("no token in etcd's answer")))?;
                token.set_sensitive(true);
                Token(Some(token))
            }
            // etcd has no users enabled: no token is needed.
            Err(Failure::Status(status)) if status.message().contains("authentication is not enabled") => {
                Token::default()
            }
            Err(failure) => return Err(failure),
        };
        *known = Some(token.clone());
        Ok(token)
    }

    /// A range of keys up to `end`; one key if that is empty.
    pub(super) async fn range(
        &self,
        key: &[u8],
        range_end: Vec<u8>,
        doing: &'static str,
    ) -> Result<RangeResponse, BoardError> {
        let request = RangeRequest { key: key.to_vec(), range_end };
        self.call(doing, |lane| {
            let request = request.clone();
            async move { KvClient::new(lane).range(request).await }
        })
        .await
    }
}

/// Trusts the given CA, or those of the system, and presents the client's certificate if there is one.
fn tls_config(files: &EtcdTls) -> Result<ClientTlsConfig, BoardError> {
    let read = |path: &Path| {
        let failed = |error: std::io::Error| BoardError::TlsFile {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        std::fs::read(path).map_err(failed)
    };
    let mut config = match &files.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((certificate, key)) = &files.client {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(config)
}

/// The first key after all with the prefix `prefix`, whose last byte is never 0xff.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// An error with its causes, where tonic keeps the useful message.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        // Its own text contains its causes in debug format.
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
