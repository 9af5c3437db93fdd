//! The requests of RFC 8555 and RFC 9773, one method each, and reading of their answers.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wec_record::Identifier;

use super::retries::{PollWaits, Signed, Step, by};
use super::{Client, Signer};
use crate::FailureClass;
use crate::Purpose;
use crate::account::{Account, ExternalAccount};
use crate::ari::RenewalInfo;
use crate::attempt::Attempt;
use crate::authorization::{Authorization, AuthorizationStatus};
use crate::challenge::Challenge;
use crate::directory::Directory;
use crate::endpoint::Endpoint;
use crate::exchange::Trace;
use crate::failure::Failure;
use crate::jws::{self, Identity};
use crate::key::AccountKey;
use crate::link;
use crate::order::{NewOrder, Order, OrderStatus};
use crate::reference::References;
use crate::time::to_rfc3339;
use crate::transport::Response;

/// A downloaded certificate.
#[derive(Clone, Debug)]
pub struct Download {
    /// The certificate with its chain, PEM, leaf first.
    pub pem: Vec<u8>,
    /// URLs of the same certificate with other chains (Link with `rel="alternate"`).
    pub alternates: Vec<String>,
}

impl Client {
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
        let step = Step::new(Endpoint::NewAccount, url, &[201, 200]);
        let signed = Signed { key: key.signing(), identity: Identity::Key, payload: &payload };
        let url = self.signed(trace, step, signed, |_, attempt, response| location(attempt, response));
        Ok(Account { url: url.await?, key: std::sync::Arc::clone(key) })
    }

    /// The URL of the account with this key (RFC 8555 §7.3.1); none if the CA has no such account.
    ///
    /// # Errors
    /// The request's failure, unless it is `accountDoesNotExist`.
    pub async fn find_account(
        &self,
        trace: &mut Trace,
        key: &std::sync::Arc<AccountKey>,
    ) -> Result<Option<String>, Failure> {
        let payload = br#"{"onlyReturnExisting":true}"#;
        let step = Step::new(Endpoint::NewAccount, &self.ca.directory.new_account, &[200]);
        let signed = Signed { key: key.signing(), identity: Identity::Key, payload };
        let found = self.signed(trace, step, signed, |_, attempt, response| location(attempt, response));
        match found.await {
            Ok(url) => Ok(Some(url)),
            Err(failure)
                if failure.problem.as_ref().is_some_and(|problem| problem.is("accountDoesNotExist")) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// newOrder (RFC 8555 §7.4). `replaces` is the RFC 9773 identifier of the certificate that is renewed.
    ///
    /// The order can be ready at once, if the account's authorizations are reused, and it can be an older one that
    /// the CA returns again.
    ///
    /// # Errors
    /// The request's failure; [`FailureClass::Malformed`] without a Location.
    pub async fn new_order(
        &self,
        trace: &mut Trace,
        account: &Account,
        names: &[String],
        replaces: Option<&str>,
    ) -> Result<Order, Failure> {
        self.new_order_for(trace, account, NewOrder { names, replaces, profile: None, validity: None }).await
    }

    /// The same with all members of the request.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn new_order_for(
        &self,
        trace: &mut Trace,
        account: &Account,
        new_order: NewOrder<'_>,
    ) -> Result<Order, Failure> {
        let payload = new_order_payload(new_order)?;
        let step = Step::new(Endpoint::NewOrder, &self.ca.directory.new_order, &[201, 200]);
        self.signed(trace, step, by(account, &payload), |client, attempt, response| {
            let order: Order = json(client, attempt, response)?;
            let url = location(attempt, response)?;
            Ok(Order { url, retry_after: client.retry_after(response), ..order })
        })
        .await
    }

    /// The present state of an authorization (RFC 8555 §7.5).
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

    /// Asks the CA to validate (RFC 8555 §7.5.1).
    ///
    /// The answer may already be final: then [`Client::authorization`] needs no waiting.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn respond(
        &self,
        trace: &mut Trace,
        account: &Account,
        challenge_url: &str,
    ) -> Result<Challenge, Failure> {
        let step = Step::new(Endpoint::Challenge, challenge_url, &[200, 202]);
        self.signed(trace, step, by(account, b"{}"), |client, attempt, response| {
            let challenge: Challenge = json(client, attempt, response)?;
            Ok(Challenge { retry_after: client.retry_after(response), ..challenge })
        })
        .await
    }

    /// Polls until an authorization is no longer pending, then returns it if it is valid.
    ///
    /// `asked` is the wait that the challenge's answer asked for, [`Challenge::retry_after`].
    ///
    /// # Errors
    /// [`FailureClass::Validation`] with the challenge's problem if it did not become valid,
    /// [`FailureClass::PollTimeout`], or a request's failure.
    pub async fn poll_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        asked: Option<Duration>,
    ) -> Result<Authorization, Failure> {
        let mut waits = PollWaits::new(&self.ca.policy, asked);
        loop {
            Box::pin(waits.wait(trace, Endpoint::Authorization, url)).await?;
            let authorization = self.read_authorization(trace, account, url, Purpose::Poll).await?;
            match authorization.status {
                AuthorizationStatus::Pending => waits.asked = authorization.retry_after,
                AuthorizationStatus::Valid => return Ok(authorization),
                _ => return Err(not_validated(&authorization)),
            }
        }
    }

    /// The present state of an order.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn order(&self, trace: &mut Trace, account: &Account, url: &str) -> Result<Order, Failure> {
        self.read_order(trace, account, url, Purpose::Step).await
    }

    /// Polls until an order is ready to finalize. A ready one needs no request.
    ///
    /// # Errors
    /// [`FailureClass::Validation`] with the order's problem if it became invalid, [`FailureClass::PollTimeout`], or a
    /// request's failure.
    pub async fn poll_order_ready(
        &self,
        trace: &mut Trace,
        account: &Account,
        order: &Order,
    ) -> Result<Order, Failure> {
        self.poll_order(trace, account, order, |status| status != OrderStatus::Pending).await
    }

    /// Polls until an order has its certificate. A valid one needs no request.
    ///
    /// # Errors
    /// As [`Client::poll_order_ready`]; [`FailureClass::Malformed`] if it is valid without a certificate's URL.
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
        Err(Failure::new(FailureClass::Malformed, message))
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
        let payload = finalize_payload(csr_der);
        let step = Step::new(Endpoint::Finalize, &order.finalize, &[200, 201, 202]);
        self.signed(trace, step, by(account, &payload), |client, attempt, response| {
            read_order(client, attempt, response, &order.url)
        })
        .await
    }

    /// Downloads a certificate with its chain, PEM (RFC 8555 §7.4.2).
    ///
    /// # Errors
    /// The request's failure; [`FailureClass::Malformed`] when it is not PEM.
    pub async fn certificate(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<Vec<u8>, Failure> {
        self.download(trace, account, url, false).await.map(|download| download.pem)
    }

    /// The same, with the URLs of alternate chains.
    ///
    /// # Errors
    /// As [`Client::certificate`].
    pub async fn certificate_with_alternates(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<Download, Failure> {
        self.download(trace, account, url, true).await
    }

    async fn download(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        with_alternates: bool,
    ) -> Result<Download, Failure> {
        let mut step = Step::new(Endpoint::Certificate, url, &[200]);
        step.accept = Some("application/pem-certificate-chain");
        self.signed(trace, step, by(account, b""), |_, attempt, response| {
            let body = &response.body;
            const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
            if !body.windows(BEGIN.len()).any(|window| window == BEGIN) {
                return Err(attempt.malformed(response, "a body that is not a PEM certificate"));
            }
            let links = with_alternates.then(|| link::targets(&response.headers, "alternate"));
            let alternates = links.into_iter().flatten().map(|url| attempt.absolute(response, url));
            Ok(Download { alternates: alternates.collect::<Result<_, _>>()?, pem: body.to_vec() })
        })
        .await
    }

    /// Revokes a certificate (RFC 8555 §7.6); `reason` is a CRLReason (RFC 5280 §5.3.1).
    ///
    /// # Errors
    /// The request's failure, also `alreadyRevoked`.
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
        let step = Step::new(Endpoint::RevokeCert, &self.ca.directory.revoke_cert, &[200, 204]);
        let certificate_key;
        let signed = match signer {
            Signer::Account(account) => by(account, &payload),
            Signer::CertificateKey(key) => {
                certificate_key = key.signing_key()?;
                Signed { key: &certificate_key, identity: Identity::Key, payload: &payload }
            }
        };
        self.signed(trace, step, signed, |_, _, _| Ok(())).await
    }

    /// When to renew (RFC 9773 §4.1), by the certificate's identifier; not signed.
    ///
    /// # Errors
    /// The request's failure; [`FailureClass::Internal`] if the directory has no renewalInfo.
    pub async fn renewal_info(
        &self,
        trace: &mut Trace,
        certificate_id: &str,
    ) -> Result<RenewalInfo, Failure> {
        let base = self
            .ca
            .directory
            .renewal_info
            .as_deref()
            .ok_or_else(|| Failure::internal("renewalInfo is not in the CA's directory"))?;
        self.introduce(trace).await?;
        let url = format!("{}/{certificate_id}", base.trim_end_matches('/'));
        let step = Step::new(Endpoint::RenewalInfo, &url, &[200]);
        self.unsigned(&mut None, trace, step, |client, attempt, response| {
            let info: RenewalInfo = json(client, attempt, response)?;
            Ok(RenewalInfo { retry_after: client.retry_after(response), ..info })
        })
        .await
    }

    /// Makes a stranger read the directory first.
    pub(super) async fn introduce(&self, trace: &mut Trace) -> Result<(), Failure> {
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

    /// Reads the directory, following one redirect. That is a request like any other, so the transport checks its
    /// server before it connects.
    pub(super) async fn read_directory(&self, trace: &mut Trace, url: &str) -> Result<Directory, Failure> {
        enum Found {
            Directory(Box<Directory>),
            Elsewhere(String),
        }
        let from = url;
        let mut url = Cow::Borrowed(url);
        for redirected in [false, true] {
            let step = Step::new(Endpoint::Directory, &url, &[200, 301, 302, 307, 308]);
            let read = |client: &Self, attempt: &Attempt<'_>, response: &Response| match response.status {
                200 => json(client, attempt, response).map(|found| Found::Directory(Box::new(found))),
                _ if redirected => Err(attempt.malformed(response, "a second redirect: one is followed")),
                _ => location(attempt, response).map(Found::Elsewhere),
            };
            let found = self.unsigned(&mut None, trace, step, read).await;
            // After a redirect, the user's own URL is reported, too.
            let found = found.map_err(|failure| match redirected {
                true => Failure { message: format!("redirected by {from}: {}", failure.message), ..failure },
                false => failure,
            })?;
            match found {
                Found::Directory(directory) => return Ok(*directory),
                Found::Elsewhere(there) => url = Cow::Owned(there),
            }
        }
        Err(Failure::internal(format!("the directory {url} was neither found nor refused")))
    }

    async fn read_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
        purpose: Purpose,
    ) -> Result<Authorization, Failure> {
        let step = Step { purpose, ..Step::new(Endpoint::Authorization, url, &[200]) };
        self.signed(trace, step, by(account, b""), |client, attempt, response| {
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
        let step = Step { purpose, ..Step::new(Endpoint::Order, url, &[200]) };
        self.signed(trace, step, by(account, b""), |client, attempt, response| {
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
        let mut waits = PollWaits::new(&self.ca.policy, order.retry_after);
        loop {
            if order.status == OrderStatus::Invalid {
                return Err(not_issued(order));
            }
            if reached(order.status) {
                return Ok(order);
            }
            Box::pin(waits.wait(trace, Endpoint::Order, &order.url)).await?;
            order = self.read_order(trace, account, &order.url, Purpose::Poll).await?;
            waits.asked = order.retry_after;
        }
    }
}

/// The payload of newOrder.
///
/// # Errors
/// [`FailureClass::Internal`] if it cannot be written.
pub fn new_order_payload(new_order: NewOrder<'_>) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload<'a> {
        identifiers: Vec<Identifier>,
        #[serde(skip_serializing_if = "Option::is_none")]
        not_before: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        not_after: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<&'a str>,
    }
    let NewOrder { names, replaces, profile, validity } = new_order;
    let identifiers = names.iter().map(|name| Identifier::of(name)).collect();
    let not_before = validity.and_then(|asked| to_rfc3339(asked.not_before_unix));
    let not_after = validity.and_then(|asked| to_rfc3339(asked.not_after_unix));
    payload(&Payload { identifiers, not_before, not_after, replaces, profile })
}

/// The payload of finalize.
pub fn finalize_payload(csr_der: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(csr_der.len() * 4 / 3 + 16);
    payload.extend_from_slice(br#"{"csr":""#);
    jws::push_base64(&mut payload, csr_der);
    payload.extend_from_slice(br#""}"#);
    payload
}

fn not_validated(authorization: &Authorization) -> Failure {
    let status = format!("{:?}", authorization.status).to_lowercase();
    let name = authorization.identifier.validated();
    match authorization.error() {
        Some((challenge, problem)) => Failure {
            problem: Some(Box::new(problem.clone())),
            ..Failure::new(
                FailureClass::Validation,
                format!("authorization of {name} is {status}: {}: {problem}", challenge.type_name()),
            )
        },
        None => Failure::new(
            FailureClass::Validation,
            format!("authorization of {name} is {status} and no challenge has the reason"),
        ),
    }
}

fn not_issued(order: Order) -> Failure {
    let url = &order.url;
    match order.error {
        Some(problem) => Failure {
            problem: Some(Box::new(problem.clone())),
            ..Failure::new(FailureClass::Validation, format!("order {url} is invalid: {problem}"))
        },
        None => Failure::new(FailureClass::Validation, format!("order {url} is invalid, without a reason")),
    }
}

/// Reads an order's answer. Its URL is the known one, since answers need not repeat it.
fn read_order(
    client: &Client,
    attempt: &Attempt<'_>,
    response: &Response,
    url: &str,
) -> Result<Order, Failure> {
    let order: Order = json(client, attempt, response)?;
    Ok(Order { url: url.to_owned(), retry_after: client.retry_after(response), ..order })
}

/// Reads an object and makes its URLs absolute.
pub(super) fn json<T: DeserializeOwned + References>(
    _: &Client,
    attempt: &Attempt<'_>,
    response: &Response,
) -> Result<T, Failure> {
    let mut object: T = serde_json::from_slice(&response.body)
        .map_err(|error| attempt.malformed(response, format_args!("what cannot be read ({error})")))?;
    object.resolve(attempt.url).map_err(|error| attempt.malformed(response, error))?;
    Ok(object)
}

/// The absolute URL in the Location header.
pub(super) fn location(attempt: &Attempt<'_>, response: &Response) -> Result<String, Failure> {
    let location =
        response.header("location").ok_or_else(|| attempt.malformed(response, "no Location header"))?;
    attempt.absolute(response, location)
}

pub(super) fn payload(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::internal(format!("cannot write a payload: {error}")))
}
