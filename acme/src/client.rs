//! The client: RFC 8555's requests, each noted in the caller's [`Trace`].
//!
//! What a request means for a chain is the chain's business. Here live the rules that hold for all of them: a
//! nonce for each, `badNonce` and busy servers retried within the [`Policy`], polls that wait as asked.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::account::{Account, ExternalAccount};
use crate::ari::RenewalInfo;
use crate::authorization::{Authorization, AuthorizationStatus};
use crate::certificate::CertificateKey;
use crate::challenge::Challenge;
use crate::clock::Clock;
use crate::connect::{NO_HTTP2, Settings};
use crate::directory::Directory;
use crate::exchange::{Endpoint, Purpose, Trace};
use crate::failure::{Attempt, Failure, FailureKind};
use crate::http1::HttpTransport;
use crate::http2::Http2Transport;
use crate::jws::{self, Identity};
use crate::key::{AccountKey, SigningKey};
use crate::nonce::NoncePool;
use crate::order::{Identifier, Order, OrderStatus};
use crate::policy::Policy;
use crate::template::Templates;
use crate::tls::{self, HttpVersion, Roots};
use crate::transport::{Place, Request, Response, Transport};

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory's URL.
    pub directory: Url,
    /// Whom to trust.
    pub roots: Roots,
    /// Which HTTP is spoken.
    pub http: HttpVersion,
    /// Connections at most; requests beyond them wait in turn. HTTP/2 has one to each server, whatever stands here.
    pub max_connections: usize,
    /// Bound on making a TCP connection, and again on the TLS handshake.
    pub connect_timeout: Duration,
    /// Bound on waiting for a connection, and again from sending to the last byte of the answer.
    pub request_timeout: Duration,
    /// The User-Agent header (RFC 8555 §6.1 requires one).
    pub user_agent: String,
    /// Bounds on retries and polls.
    pub policy: Policy,
}

impl Config {
    /// A client of this directory with the usual bounds, trusting the system's roots.
    pub fn new(directory: Url) -> Self {
        Self {
            directory,
            roots: Roots::System,
            http: HttpVersion::default(),
            max_connections: 256,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            user_agent: concat!("wile-e-coyote/", env!("CARGO_PKG_VERSION")).into(),
            policy: Policy::default(),
        }
    }
}

/// Why there is no client: what a person has to change.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration cannot be right.
    #[error("{url} cannot be a CA's directory: {why}")]
    Url {
        /// The URL given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No usable roots, or a User-Agent that is no header.
    #[error("{0}")]
    Setting(String),
    /// Nobody answers.
    #[error("the CA cannot be reached: {0}; check the URL and whether the CA is running")]
    Unreachable(Failure),
    /// The server's certificate is not trusted, or TLS fails otherwise.
    #[error(
        "the CA's server is not trusted: {0}; give the root certificate that its own certificate was issued from"
    )]
    Untrusted(Failure),
    /// HTTP/2 was asked for.
    #[error("{url} cannot be loaded by HTTP/2: {why}; ask for HTTP/1.1")]
    NoHttp2 {
        /// The URL given.
        url: String,
        /// What was found.
        why: String,
    },
    /// It answers, with something else.
    #[error("{url} is not an ACME directory: {why}; its URL often ends in `/directory` or `/dir`")]
    NotAcme {
        /// The URL given.
        url: String,
        /// What was found instead.
        why: Failure,
    },
}

/// Whose key signs a revocation (RFC 8555 §7.6).
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// The account that issued it, or one that holds authorizations for its names.
    Account(&'a Account),
    /// The certificate's own key.
    CertificateKey(&'a CertificateKey),
}

/// An ACME client. Meant for one runtime: its connections and nonces are its own.
pub struct Client {
    ca: Arc<Ca>,
    transport: Arc<dyn Transport>,
    nonces: NoncePool,
    /// Of a client that reads the directory before anything else: whether it has.
    introduced: Option<OnceCell<()>>,
}

/// What a client shares with its siblings.
struct Ca {
    directory: Directory,
    templates: Templates,
    /// None over a transport that is not ours.
    network: Option<Network>,
    policy: Policy,
    clock: Clock,
}

/// The way to a CA, from which transports are made.
struct Network {
    directory_url: String,
    settings: Settings,
    /// As in the settings, but no session is resumed.
    no_resumption: OnceLock<Arc<rustls::ClientConfig>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("directory", &self.ca.directory).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the directory and makes a client of its CA.
    ///
    /// # Errors
    /// See [`DiscoverError`]; each names the culprit and the way out.
    pub async fn discover(config: Config, clock: Clock) -> Result<Self, DiscoverError> {
        let network = Network::of(&config)?;
        let url = network.directory_url.clone();
        // Only what `unsigned` uses matters until the directory is known.
        let unknown = Directory {
            new_nonce: url.clone(),
            new_account: url.clone(),
            new_order: url.clone(),
            revoke_cert: url.clone(),
            key_change: None,
            renewal_info: None,
            meta: crate::directory::Meta::default(),
        };
        let transport = network.transport(config.max_connections, false, clock);
        let client =
            Self::of(Ca::of(unknown, None, config.policy.clone(), clock), Arc::clone(&transport), None);
        let found = client.read_directory(&mut Trace::new(clock), &url).await;
        let directory = found.map_err(|failure| match failure.kind {
            FailureKind::Connect | FailureKind::Timeout | FailureKind::Reset => {
                DiscoverError::Unreachable(failure)
            }
            FailureKind::Tls if failure.message.contains(NO_HTTP2) => {
                DiscoverError::NoHttp2 { url: url.clone(), why: NO_HTTP2.to_owned() }
            }
            FailureKind::Tls => DiscoverError::Untrusted(failure),
            _ => DiscoverError::NotAcme { url: url.clone(), why: failure },
        })?;
        let nonces = client.nonces;
        let ca = Ca::of(directory, Some(network), config.policy, clock);
        Ok(Self { nonces, ..Self::of(ca, transport, None) })
    }

    /// A client over another transport: a fake, or one that delays. Its siblings share it.
    pub fn with_transport(
        directory: Directory,
        transport: Box<dyn Transport>,
        policy: Policy,
        clock: Clock,
    ) -> Self {
        Self::of(Ca::of(directory, None, policy, clock), transport.into(), None)
    }

    /// Another client of the same CA: connections, at most so many, and nonces of its own; directory, settings and TLS
    /// configuration shared, sessions to resume among them. Costs no request.
    pub fn sibling(&self, max_connections: usize) -> Self {
        let transport = match &self.ca.network {
            Some(network) => network.transport(max_connections, false, self.ca.clock),
            None => Arc::clone(&self.transport),
        };
        Self::of(Arc::clone(&self.ca), transport, None)
    }

    /// Another client of the same CA that begins as one that the CA has never seen: on a connection of its own, with a
    /// full TLS handshake, and by reading the directory before its first request, in that request's trace.
    ///
    /// What the directory says then is looked at and not followed: a CA does not move its resources while it is loaded.
    pub fn stranger(&self) -> Self {
        let transport = match &self.ca.network {
            Some(network) => network.transport(1, true, self.ca.clock),
            None => Arc::clone(&self.transport),
        };
        Self::of(Arc::clone(&self.ca), transport, Some(OnceCell::new()))
    }

    fn of(ca: impl Into<Arc<Ca>>, transport: Arc<dyn Transport>, introduced: Option<OnceCell<()>>) -> Self {
        let ca = ca.into();
        let nonces = NoncePool::new(ca.policy.nonce_pool, ca.policy.nonce_max_age);
        Self { ca, transport, nonces, introduced }
    }

    /// Where the CA's resources are.
    pub fn directory(&self) -> &Directory {
        &self.ca.directory
    }

    /// newAccount (RFC 8555 §7.3), agreeing to the terms; the same key again finds the same account.
    ///
    /// `contact` are URLs: `mailto:…`.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn new_account(
        &self,
        trace: &mut Trace,
        key: &std::sync::Arc<AccountKey>,
        contact: &[String],
        external: Option<&ExternalAccount>,
    ) -> Result<Account, Failure> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct NewAccount<'a> {
            terms_of_service_agreed: bool,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            contact: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            external_account_binding: Option<Box<serde_json::value::RawValue>>,
        }
        let url = &self.ca.directory.new_account;
        let external_account_binding = external
            .map(|external| {
                serde_json::value::RawValue::from_string(jws::bind(external, key.signing().jwk(), url))
            })
            .transpose()
            .map_err(|error| Failure::internal(format!("cannot bind the external account: {error}")))?;
        let payload =
            payload(&NewAccount { terms_of_service_agreed: true, contact, external_account_binding })?;
        let step = Step::new(Endpoint::NewAccount, url);
        let signed = Signed { key: key.signing(), identity: Identity::Key, payload: &payload };
        let url = self.signed(trace, step, signed, &[201, 200], |_, attempt, response| {
            location(attempt, response).map(str::to_owned)
        });
        Ok(Account { url: url.await?, key: std::sync::Arc::clone(key) })
    }

    /// newOrder (RFC 8555 §7.4). `replaces` is the RFC 9773 identifier of the certificate that is renewed.
    ///
    /// The order can be ready at once, when the account's authorizations are reused, and it can be an older one
    /// that the CA gives again.
    ///
    /// # Errors
    /// The request's failure; [`FailureKind::Malformed`] without a Location.
    pub async fn new_order(
        &self,
        trace: &mut Trace,
        account: &Account,
        names: &[String],
        replaces: Option<&str>,
    ) -> Result<Order, Failure> {
        #[derive(Serialize)]
        struct NewOrder<'a> {
            identifiers: Vec<Identifier>,
            #[serde(skip_serializing_if = "Option::is_none")]
            replaces: Option<&'a str>,
        }
        let identifiers = names.iter().map(|name| Identifier::of(name)).collect();
        let payload = payload(&NewOrder { identifiers, replaces })?;
        let step = Step::new(Endpoint::NewOrder, &self.ca.directory.new_order);
        self.signed(trace, step, by(account, &payload), &[201, 200], |client, attempt, response| {
            let order: Order = json(client, attempt, response)?;
            let url = location(attempt, response)?.to_owned();
            Ok(Order { url, retry_after: client.retry_after(response), ..order })
        })
        .await
    }

    /// An authorization as it is now (RFC 8555 §7.5).
    ///
    /// # Errors
    /// The request's failure.
    pub async fn authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<Authorization, Failure> {
        self.read_authorization(trace, account, url, Purpose::Step).await
    }

    /// Tells the CA to validate (RFC 8555 §7.5.1).
    ///
    /// The answer may be final already: then [`Client::authorization`] needs no waiting.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn respond(
        &self,
        trace: &mut Trace,
        account: &Account,
        challenge_url: &str,
    ) -> Result<Challenge, Failure> {
        let step = Step::new(Endpoint::Challenge, challenge_url);
        self.signed(trace, step, by(account, b"{}"), &[200, 202], |client, attempt, response| {
            let challenge: Challenge = json(client, attempt, response)?;
            Ok(Challenge { retry_after: client.retry_after(response), ..challenge })
        })
        .await
    }

    /// Waits and looks until an authorization is no longer pending, then returns it valid.
    ///
    /// `asked` is the wait that the challenge's answer asked for, [`Challenge::retry_after`].
    ///
    /// # Errors
    /// [`FailureKind::Validation`] with the challenge's problem when it did not become valid,
    /// [`FailureKind::PollTimeout`], or a request's failure.
    pub async fn poll_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        asked: Option<Duration>,
    ) -> Result<Authorization, Failure> {
        let mut patience = Patience::new(&self.ca.policy, asked);
        loop {
            patience.wait(Endpoint::Authorization, url).await?;
            let authorization = self.read_authorization(trace, account, url, Purpose::Poll).await?;
            match authorization.status {
                AuthorizationStatus::Pending => patience.asked = authorization.retry_after,
                AuthorizationStatus::Valid => return Ok(authorization),
                _ => return Err(not_validated(&authorization)),
            }
        }
    }

    /// An order as it is now.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn order(&self, trace: &mut Trace, account: &Account, url: &str) -> Result<Order, Failure> {
        self.read_order(trace, account, url, Purpose::Step).await
    }

    /// Waits and looks until an order is ready to finalize. One that is already needs no request.
    ///
    /// # Errors
    /// [`FailureKind::Validation`] with the order's problem when it became invalid,
    /// [`FailureKind::PollTimeout`], or a request's failure.
    pub async fn poll_order_ready(
        &self,
        trace: &mut Trace,
        account: &Account,
        order: &Order,
    ) -> Result<Order, Failure> {
        self.poll_order(trace, account, order, |status| status != OrderStatus::Pending).await
    }

    /// Waits and looks until an order has its certificate. One that already has needs no request.
    ///
    /// # Errors
    /// As [`Client::poll_order_ready`]; [`FailureKind::Malformed`] when it is valid without a certificate's URL.
    pub async fn poll_order_valid(
        &self,
        trace: &mut Trace,
        account: &Account,
        order: &Order,
    ) -> Result<Order, Failure> {
        let order = self.poll_order(trace, account, order, |status| status == OrderStatus::Valid).await?;
        if order.certificate.is_some() {
            return Ok(order);
        }
        let message = format!("order {} is valid and has no certificate URL", order.url);
        Err(Failure::new(FailureKind::Malformed, message))
    }

    /// Sends the CSR (RFC 8555 §7.4).
    ///
    /// # Errors
    /// The request's failure.
    pub async fn finalize(
        &self,
        trace: &mut Trace,
        account: &Account,
        order: &Order,
        csr_der: &[u8],
    ) -> Result<Order, Failure> {
        let mut payload = Vec::with_capacity(csr_der.len() * 4 / 3 + 16);
        payload.extend_from_slice(br#"{"csr":""#);
        jws::push_base64(&mut payload, csr_der);
        payload.extend_from_slice(br#""}"#);
        let step = Step::new(Endpoint::Finalize, &order.finalize);
        self.signed(trace, step, by(account, &payload), &[200, 201, 202], |client, attempt, response| {
            read_order(client, attempt, response, &order.url)
        })
        .await
    }

    /// Downloads a certificate with its chain, PEM (RFC 8555 §7.4.2).
    ///
    /// # Errors
    /// The request's failure; [`FailureKind::Malformed`] when it is not PEM.
    pub async fn certificate(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<Vec<u8>, Failure> {
        let mut step = Step::new(Endpoint::Certificate, url);
        step.accept = Some("application/pem-certificate-chain");
        self.signed(trace, step, by(account, b""), &[200], |_, attempt, response| {
            let body = &response.body;
            const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
            if body.windows(BEGIN.len()).any(|window| window == BEGIN) {
                Ok(body.to_vec())
            } else {
                Err(attempt.malformed(response, "what is not a PEM certificate"))
            }
        })
        .await
    }

    /// Revokes a certificate (RFC 8555 §7.6); `reason` is a CRLReason (RFC 5280 §5.3.1).
    ///
    /// # Errors
    /// The request's failure; an `alreadyRevoked` problem among them.
    pub async fn revoke(
        &self,
        trace: &mut Trace,
        signer: Signer<'_>,
        certificate_der: &[u8],
        reason: Option<u8>,
    ) -> Result<(), Failure> {
        let mut payload = br#"{"certificate":""#.to_vec();
        jws::push_base64(&mut payload, certificate_der);
        payload.push(b'"');
        if let Some(reason) = reason {
            payload.extend_from_slice(format!(r#","reason":{reason}"#).as_bytes());
        }
        payload.push(b'}');
        let step = Step::new(Endpoint::RevokeCert, &self.ca.directory.revoke_cert);
        let certificate_key;
        let signed = match signer {
            Signer::Account(account) => by(account, &payload),
            Signer::CertificateKey(key) => {
                certificate_key = key.signing_key()?;
                Signed { key: &certificate_key, identity: Identity::Key, payload: &payload }
            }
        };
        self.signed(trace, step, signed, &[200, 204], |_, _, _| Ok(())).await
    }

    /// When to renew (RFC 9773 §4.1), by the certificate's identifier; without a signature.
    ///
    /// # Errors
    /// The request's failure; [`FailureKind::Internal`] when the directory has no renewalInfo.
    pub async fn renewal_info(
        &self,
        trace: &mut Trace,
        certificate_id: &str,
    ) -> Result<RenewalInfo, Failure> {
        let base = self.ca.directory.renewal_info.as_deref().ok_or_else(|| {
            Failure::internal("renewalInfo was asked of a CA whose directory does not have it")
        })?;
        self.introduce(trace).await?;
        let url = format!("{}/{certificate_id}", base.trim_end_matches('/'));
        let step = Step::new(Endpoint::RenewalInfo, &url);
        self.unsigned(&mut None, trace, step, "GET", &[200], |client, attempt, response| {
            let info: RenewalInfo = json(client, attempt, response)?;
            Ok(RenewalInfo { retry_after: client.retry_after(response), ..info })
        })
        .await
    }

    /// Lets a stranger read the directory first.
    async fn introduce(&self, trace: &mut Trace) -> Result<(), Failure> {
        let (Some(introduced), Some(network)) = (&self.introduced, &self.ca.network) else { return Ok(()) };
        if introduced.initialized() {
            return Ok(());
        }
        // Boxed, because it would make the state of every request larger.
        let first =
            Box::pin(introduced.get_or_try_init(async || {
                self.read_directory(trace, &network.directory_url).await.map(drop)
            }));
        first.await.copied()
    }

    async fn read_directory(&self, trace: &mut Trace, url: &str) -> Result<Directory, Failure> {
        self.unsigned(&mut None, trace, Step::new(Endpoint::Directory, url), "GET", &[200], json).await
    }

    async fn read_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        purpose: Purpose,
    ) -> Result<Authorization, Failure> {
        let step = Step { purpose, ..Step::new(Endpoint::Authorization, url) };
        self.signed(trace, step, by(account, b""), &[200], |client, attempt, response| {
            let authorization: Authorization = json(client, attempt, response)?;
            Ok(Authorization { retry_after: client.retry_after(response), ..authorization })
        })
        .await
    }

    async fn read_order(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        purpose: Purpose,
    ) -> Result<Order, Failure> {
        let step = Step { purpose, ..Step::new(Endpoint::Order, url) };
        self.signed(trace, step, by(account, b""), &[200], |client, attempt, response| {
            read_order(client, attempt, response, url)
        })
        .await
    }

    async fn poll_order(
        &self,
        trace: &mut Trace,
        account: &Account,
        order: &Order,
        reached: impl Fn(OrderStatus) -> bool,
    ) -> Result<Order, Failure> {
        let mut order = order.clone();
        let mut patience = Patience::new(&self.ca.policy, order.retry_after);
        loop {
            if order.status == OrderStatus::Invalid {
                return Err(not_issued(order));
            }
            if reached(order.status) {
                return Ok(order);
            }
            patience.wait(Endpoint::Order, &order.url).await?;
            order = self.read_order(trace, account, &order.url, Purpose::Poll).await?;
            patience.asked = order.retry_after;
        }
    }

    /// A signed POST, repeated as the policy allows.
    async fn signed<T>(
        &self,
        trace: &mut Trace,
        step: Step<'_>,
        signed: Signed<'_>,
        expected: &[u16],
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.introduce(trace).await?;
        let mut retries = Retries::new(&self.ca.policy);
        let mut due = self.ca.clock.now();
        let mut place = None;
        loop {
            let purpose = retries.purpose(step.purpose);
            self.take_place(&mut place, trace, step, "POST", purpose, due).await?;
            let nonce = match self.nonces.take(self.ca.clock.now()) {
                Some(nonce) => nonce,
                None => self.fetch_nonce(&mut place, trace, due).await?,
            };
            let body = jws::sign(signed.key, signed.identity, &nonce, step.url, signed.payload)?;
            let request = Request {
                method: "POST",
                url: step.url.to_owned(),
                body,
                accept: step.accept,
                fresh_connection: retries.fresh_connection,
            };
            match self.attempt(trace, step, purpose, due, request, expected, &read).await {
                Ok(value) => return Ok(value),
                // Nothing else can take the nonce that came with a `badNonce` before the next round does: the
                // pool gives the freshest, and there is no await in between unless the server asked for one.
                Err(missed) => due = retries.after(missed, self.ca.clock, &mut place).await?,
            }
        }
    }

    /// Waits until a request may be sent, unless it may already; noted as an attempt when it never may.
    async fn take_place<'a>(
        &'a self,
        place: &mut Option<Place<'a>>,
        trace: &mut Trace,
        step: Step<'_>,
        method: &'static str,
        purpose: Purpose,
        due: u64,
    ) -> Result<(), Failure> {
        if place.is_some() {
            return Ok(());
        }
        let taken = match self.transport.places() {
            Some(places) => places.take().await,
            None => Ok(Place::any()),
        };
        match taken {
            Ok(taken) => *place = Some(taken),
            Err(failure) => {
                let attempt = Attempt { endpoint: step.endpoint, method, url: step.url };
                let failure = attempt.failed(failure);
                trace.open(step.endpoint, method, self.template(step), purpose, due);
                trace.close(|exchange| {
                    exchange.sent = self.ca.clock.now();
                    exchange.done = exchange.sent;
                    exchange.failure = Some(failure.clone());
                });
                return Err(failure);
            }
        }
        Ok(())
    }

    /// A fresh nonce (RFC 8555 §7.2), for a request that was due at `due`.
    async fn fetch_nonce<'a>(
        &'a self,
        place: &mut Option<Place<'a>>,
        trace: &mut Trace,
        due: u64,
    ) -> Result<Box<str>, Failure> {
        let url = self.ca.directory.new_nonce.as_str();
        let step = Step { purpose: Purpose::Nonce, due: Some(due), ..Step::new(Endpoint::NewNonce, url) };
        self.unsigned(place, trace, step, "HEAD", &[200, 204], |client, attempt, response| {
            client
                .nonces
                .take(client.ca.clock.now())
                .ok_or_else(|| attempt.malformed(response, "no usable Replay-Nonce header"))
        })
        .await
    }

    /// A GET or HEAD, repeated as the policy allows.
    async fn unsigned<'a, T>(
        &'a self,
        place: &mut Option<Place<'a>>,
        trace: &mut Trace,
        step: Step<'_>,
        method: &'static str,
        expected: &[u16],
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut retries = Retries::new(&self.ca.policy);
        let mut due = step.due.unwrap_or_else(|| self.ca.clock.now());
        loop {
            let purpose = retries.purpose(step.purpose);
            self.take_place(place, trace, step, method, purpose, due).await?;
            let request = Request {
                method,
                url: step.url.to_owned(),
                body: bytes::Bytes::new(),
                accept: step.accept,
                fresh_connection: retries.fresh_connection,
            };
            match self.attempt(trace, step, purpose, due, request, expected, &read).await {
                Ok(value) => return Ok(value),
                Err(missed) => due = retries.after(missed, self.ca.clock, place).await?,
            }
        }
    }

    /// One attempt: sent, noted, its nonce kept, its answer judged.
    #[expect(clippy::too_many_arguments, reason = "the two loops above are its only callers")]
    async fn attempt<T>(
        &self,
        trace: &mut Trace,
        step: Step<'_>,
        purpose: Purpose,
        due: u64,
        request: Request,
        expected: &[u16],
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Missed> {
        let method = request.method;
        let attempt = Attempt { endpoint: step.endpoint, method, url: step.url };
        trace.open(step.endpoint, method, self.template(step), purpose, due);
        let reply = self.transport.send(request).await;

        let mut status = 0;
        let result = match &reply.result {
            Err(failure) => Err(attempt.failed(failure.clone())),
            Ok(response) => {
                status = response.status;
                if let Some(nonce) = response.headers.get("replay-nonce") {
                    self.nonces.put(nonce.as_bytes(), reply.done);
                }
                if expected.contains(&status) {
                    read(self, &attempt, response)
                } else {
                    Err(attempt.refused(response, self.retry_after(response)))
                }
            }
        };
        trace.close(|exchange| {
            exchange.status = status;
            exchange.failure = result.as_ref().err().cloned();
            exchange.bytes_sent = reply.bytes_sent;
            exchange.bytes_received = reply.bytes_received;
            exchange.sent = reply.sent;
            exchange.done = reply.done;
            exchange.reused = reply.reused;
        });
        result.map_err(|failure| Missed { failure, status, stale: reply.stale })
    }

    fn template(&self, step: Step<'_>) -> Cow<'static, str> {
        match step.endpoint {
            Endpoint::Directory
            | Endpoint::NewNonce
            | Endpoint::NewAccount
            | Endpoint::NewOrder
            | Endpoint::RevokeCert
            | Endpoint::KeyChange => Templates::fixed(step.url),
            _ => self.ca.templates.fold(step.url),
        }
    }

    fn retry_after(&self, response: &Response) -> Option<Duration> {
        crate::time::retry_after(response.header("retry-after")?, self.ca.clock.unix_now())
    }
}

/// What is asked of whom.
#[derive(Clone, Copy)]
struct Step<'a> {
    endpoint: Endpoint,
    url: &'a str,
    accept: Option<&'static str>,
    purpose: Purpose,
    /// When it was due, if that was earlier than now.
    due: Option<u64>,
}

impl<'a> Step<'a> {
    const fn new(endpoint: Endpoint, url: &'a str) -> Self {
        Self { endpoint, url, accept: None, purpose: Purpose::Step, due: None }
    }
}

/// What is signed by whom.
#[derive(Clone, Copy)]
struct Signed<'a> {
    key: &'a SigningKey,
    identity: Identity<'a>,
    payload: &'a [u8],
}

fn by<'a>(account: &'a Account, payload: &'a [u8]) -> Signed<'a> {
    Signed { key: account.key.signing(), identity: Identity::Account(&account.url), payload }
}

/// An attempt that did not do.
struct Missed {
    failure: Failure,
    status: u16,
    stale: bool,
}

/// Which repetitions a request still has.
struct Retries<'a> {
    policy: &'a Policy,
    bad_nonce: u32,
    busy: u32,
    fresh_connection: bool,
    /// Whether anything has been sent.
    any: bool,
}

impl<'a> Retries<'a> {
    const fn new(policy: &'a Policy) -> Self {
        Self { policy, bad_nonce: 0, busy: 0, fresh_connection: false, any: false }
    }

    const fn purpose(&self, first: Purpose) -> Purpose {
        if self.any { Purpose::Retry } else { first }
    }

    /// Waits as long as it takes, leaving the place to others, and says when the next attempt is due; or gives up.
    async fn after(
        &mut self,
        missed: Missed,
        clock: Clock,
        place: &mut Option<Place<'_>>,
    ) -> Result<u64, Failure> {
        let Missed { mut failure, status, stale } = missed;
        self.any = true;
        if failure.kind == FailureKind::BadNonce {
            if self.bad_nonce < self.policy.bad_nonce_retries {
                self.bad_nonce += 1;
                return Ok(clock.now());
            }
            failure.message += &format!(" (after {} retries with fresh nonces)", self.bad_nonce);
            return Err(failure);
        }
        if stale && !self.fresh_connection {
            self.fresh_connection = true;
            return Ok(clock.now());
        }
        let busy = failure.kind == FailureKind::RateLimited || status == 503;
        let Some(wait) = failure.retry_after.filter(|_| busy) else { return Err(failure) };
        if wait > self.policy.max_retry_after {
            failure.message += &too_long(wait, self.policy.max_retry_after);
            return Err(failure);
        }
        if self.busy == self.policy.busy_retries {
            if self.busy > 0 {
                failure.message += &format!(" (after {} retries, each as late as asked)", self.busy);
            }
            return Err(failure);
        }
        self.busy += 1;
        *place = None;
        sleep(wait).await;
        Ok(clock.now())
    }
}

/// How long an object is still looked at, and how long until the next look.
struct Patience<'a> {
    policy: &'a Policy,
    deadline: Instant,
    interval: Option<Duration>,
    /// What the CA last asked for.
    asked: Option<Duration>,
}

impl<'a> Patience<'a> {
    fn new(policy: &'a Policy, asked: Option<Duration>) -> Self {
        Self { policy, deadline: Instant::now() + policy.poll_timeout, interval: None, asked }
    }

    /// Waits for the longer of our interval and what the CA asked for.
    async fn wait(&mut self, endpoint: Endpoint, url: &str) -> Result<(), Failure> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let own = self.policy.next_interval(self.interval);
        self.interval = Some(own);
        let bound = self.policy.poll_timeout;
        let give_up = |why: String| {
            let message = format!("{endpoint} {url} is not settled after polling for up to {bound:?}{why}");
            Err(Failure { retry_after: self.asked, ..Failure::new(FailureKind::PollTimeout, message) })
        };
        if remaining.is_zero() {
            return give_up(String::new());
        }
        let asked = self.asked.unwrap_or_default();
        if asked > self.policy.max_retry_after {
            return give_up(too_long(asked, self.policy.max_retry_after));
        }
        if asked > remaining {
            return give_up(format!(": the CA asks to wait {asked:?}, longer than what is left"));
        }
        sleep(own.max(asked).min(remaining)).await;
        Ok(())
    }
}

fn too_long(asked: Duration, allowed: Duration) -> String {
    format!(": the CA asks to wait {asked:?}, longer than the {allowed:?} allowed here")
}

fn not_validated(authorization: &Authorization) -> Failure {
    let status = format!("{:?}", authorization.status).to_lowercase();
    let name = &authorization.identifier.value;
    match authorization.error() {
        Some((challenge, problem)) => Failure {
            problem: Some(Box::new(problem.clone())),
            ..Failure::new(
                FailureKind::Validation,
                format!("authorization of {name} is {status}: {}: {problem}", challenge.kind),
            )
        },
        None => Failure::new(
            FailureKind::Validation,
            format!("authorization of {name} is {status} and no challenge says why"),
        ),
    }
}

fn not_issued(order: Order) -> Failure {
    let url = &order.url;
    match order.error {
        Some(problem) => Failure {
            kind: FailureKind::Validation,
            message: format!("order {url} is invalid: {problem}"),
            problem: Some(Box::new(problem)),
            retry_after: None,
        },
        None => Failure::new(FailureKind::Validation, format!("order {url} is invalid and does not say why")),
    }
}

/// An order's answer; its URL is the one we know, since answers need not repeat it.
fn read_order(
    client: &Client,
    attempt: &Attempt<'_>,
    response: &Response,
    url: &str,
) -> Result<Order, Failure> {
    let order: Order = json(client, attempt, response)?;
    Ok(Order { url: url.to_owned(), retry_after: client.retry_after(response), ..order })
}

fn json<T: DeserializeOwned>(_: &Client, attempt: &Attempt<'_>, response: &Response) -> Result<T, Failure> {
    serde_json::from_slice(&response.body)
        .map_err(|error| attempt.malformed(response, format_args!("what cannot be read ({error})")))
}

fn location<'a>(attempt: &Attempt<'_>, response: &'a Response) -> Result<&'a str, Failure> {
    response.header("location").ok_or_else(|| attempt.malformed(response, "no Location header"))
}

fn payload(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::internal(format!("cannot write a payload: {error}")))
}

impl Ca {
    fn of(directory: Directory, network: Option<Network>, policy: Policy, clock: Clock) -> Self {
        Self { templates: Templates::new(&directory.new_order), directory, network, policy, clock }
    }
}

impl Network {
    fn of(config: &Config) -> Result<Self, DiscoverError> {
        let url = &config.directory;
        let http2 = config.http == HttpVersion::Http2;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(DiscoverError::Url {
                url: url.to_string(),
                why: "it is not an https or http URL".into(),
            });
        }
        if http2 && url.scheme() != "https" {
            let why = "only servers with TLS are spoken HTTP/2 to, and this is no https URL".into();
            return Err(DiscoverError::NoHttp2 { url: url.to_string(), why });
        }
        let user_agent = http::HeaderValue::from_str(&config.user_agent).map_err(|_| {
            DiscoverError::Setting(format!("user agent {:?} cannot be a header", config.user_agent))
        })?;
        let settings = Settings {
            http: config.http,
            max_connections: config.max_connections,
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            user_agent,
            tls: tls::client_config(&config.roots, config.http).map_err(DiscoverError::Setting)?,
        };
        Ok(Self { directory_url: url.as_str().to_owned(), settings, no_resumption: OnceLock::new() })
    }

    /// A transport without connections yet.
    fn transport(&self, max_connections: usize, stranger: bool, clock: Clock) -> Arc<dyn Transport> {
        let tls = &self.settings.tls;
        let tls =
            if stranger { self.no_resumption.get_or_init(|| tls::without_resumption(tls)) } else { tls };
        let settings = Settings { max_connections, tls: Arc::clone(tls), ..self.settings.clone() };
        match settings.http {
            HttpVersion::Http1 => Arc::new(HttpTransport::new(settings, clock)),
            HttpVersion::Http2 => Arc::new(Http2Transport::new(settings, clock)),
        }
    }
}
