//! Requests that a CA must refuse, and what it answers.
//!
//! A request is wrong in its envelope ([`Flaw`]), or in its payload, which the caller makes. The answer is right if it
//! is a refusal with an expected problem type and status. Accepting is [`FailureClass::Accepted`].

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::Client;
use super::retries::Step;
use crate::FailureClass;
use crate::account::Account;
use crate::attempt::Attempt;
use crate::endpoint::Endpoint;
use crate::exchange::Trace;
use crate::failure::Failure;
use crate::jws::{self, Header, Identity};
use crate::key::AccountKey;
use crate::problem::Problem;
use crate::transport::Response;

/// What is wrong with a request's envelope.
#[derive(Clone, Copy, Debug)]
pub enum Flaw<'a> {
    /// Nothing: its payload is wrong, or its time.
    None,
    /// A nonce that a request was made with before (RFC 8555 §6.5).
    ReplayedNonce,
    /// A nonce that the CA has not issued.
    ForeignNonce,
    /// A signature of something else.
    BadSignature,
    /// The `url` of another resource (RFC 8555 §6.4).
    WrongUrl,
    /// An algorithm that no ACME server may support: HS256 (RFC 8555 §6.2 forbids MACs).
    Algorithm,
    /// The signature of another key than the account's.
    ForeignKey(&'a AccountKey),
}

/// A request that a CA must refuse.
#[derive(Clone, Copy, Debug)]
pub struct MustRefuse<'a> {
    /// The requested resource.
    pub endpoint: Endpoint,
    /// Its URL.
    pub url: &'a str,
    /// Who seems to sign.
    pub account: &'a Account,
    /// The payload; empty for POST-as-GET.
    pub payload: &'a [u8],
    /// What is wrong with the envelope.
    pub flaw: Flaw<'a>,
    /// The right answer.
    pub expected: &'a Expected,
}

/// The right refusals of a request.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What is wrong, for messages and figures: `replayed-nonce`.
    pub name: &'static str,
    /// Problem types without ACME's prefix. The first is what the standard asks for, the others are those of known
    /// servers.
    pub types: &'static [&'static str],
    /// Statuses.
    pub statuses: &'static [u16],
    /// Whether a server may also end the connection, or refuse without a problem document, as proxies do.
    pub by_proxies: bool,
}

/// Statuses that [`judge`] decides about. The others (429, 5xx) are failures as of any request.
const DECIDED: &[u16] = &[200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415, 422];

impl Client {
    /// Sends a request that the CA must refuse. It is repeated after `badNonce`, unless its nonce is what is wrong.
    ///
    /// # Errors
    /// [`FailureClass::Accepted`] if the CA accepted it, [`FailureClass::Problem`] if it refused it with another
    /// problem or status than expected, or the request's failure.
    pub async fn must_refuse(&self, trace: &mut Trace, request: MustRefuse<'_>) -> Result<(), Failure> {
        let MustRefuse { endpoint, url, account, payload, flaw, expected } = request;
        let used = match flaw {
            Flaw::ReplayedNonce => Some(self.use_a_nonce(trace, account).await?),
            _ => None,
        };
        let of_nonce = matches!(flaw, Flaw::ReplayedNonce | Flaw::ForeignNonce);
        let step = Step::new(endpoint, url, DECIDED);
        let forge = |nonce: &str| forge(flaw, account, used.as_deref().unwrap_or(nonce), url, payload);
        let answer = self.signed_by(trace, step, forge, |_, attempt, response| {
            let problem = Problem::parse(&response.body).filter(|_| response.status >= 400);
            if !of_nonce && problem.as_ref().is_some_and(|problem| problem.is("badNonce")) {
                return Err(attempt.refused(response, None));
            }
            judge(expected, attempt, response, problem)
        });
        match answer.await {
            Err(failure) if failure.kind == FailureClass::Reset && expected.by_proxies => Ok(()),
            // What was sent, for figures: the 500 of a CA that does not expect it.
            Err(failure) if failure.detail.is_empty() => {
                Err(Failure { detail: expected.name.into(), ..failure })
            }
            answer => answer,
        }
    }

    /// Makes a right request, and returns its nonce.
    async fn use_a_nonce(&self, trace: &mut Trace, account: &Account) -> Result<Box<str>, Failure> {
        let used = Mutex::new(Box::<str>::default());
        let step = Step::new(Endpoint::Account, &account.url, &[200]);
        let sign = |nonce: &str| {
            *used.lock().unwrap_or_else(PoisonError::into_inner) = nonce.into();
            let identity = Identity::Account(&account.url);
            let header = Header { identity, nonce: Some(nonce), url: &account.url };
            jws::sign(account.key.signing(), header, b"")
        };
        self.signed_by(trace, step, sign, |_, _, _| Ok(())).await?;
        Ok(used.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The body of a request with a flaw in its envelope.
fn forge(
    flaw: Flaw<'_>,
    account: &Account,
    nonce: &str,
    url: &str,
    payload: &[u8],
) -> Result<Bytes, Failure> {
    let key = account.key.signing();
    let header = Header { identity: Identity::Account(&account.url), nonce: Some(nonce), url };
    match flaw {
        Flaw::None | Flaw::ReplayedNonce => jws::sign(key, header, payload),
        Flaw::ForeignNonce => {
            jws::sign(key, Header { nonce: Some("Zm9yZWlnbi1ub25jZS1vZi13ZWM"), ..header }, payload)
        }
        Flaw::BadSignature => jws::sign_wrongly(key, header, payload),
        Flaw::WrongUrl => jws::sign(key, Header { url: &format!("{url}/elsewhere"), ..header }, payload),
        Flaw::Algorithm => jws::sign_as("HS256", key, header, payload),
        Flaw::ForeignKey(other) => jws::sign(other.signing(), header, payload),
    }
}

/// Whether the answer is a right refusal.
fn judge(
    expected: &Expected,
    attempt: &Attempt<'_>,
    response: &Response,
    problem: Option<Problem>,
) -> Result<(), Failure> {
    let Expected { name, types, statuses, by_proxies } = expected;
    let status = response.status;
    if status < 400 {
        let message = format!(
            "{}: {} {} answered {status} to a request that it must refuse ({name}): expected {} with {}",
            attempt.endpoint,
            attempt.method,
            attempt.url,
            listed(statuses),
            listed(types)
        );
        return Err(Failure {
            detail: (*name).into(),
            status,
            ..Failure::new(FailureClass::Accepted, message)
        });
    }
    let is_right = match &problem {
        Some(problem) => types.iter().any(|kind| problem.is(kind)) && statuses.contains(&status),
        None => *by_proxies && statuses.contains(&status),
    };
    if is_right {
        return Ok(());
    }
    let refused = attempt.refused(response, None);
    let message = format!(
        "{}; it must refuse this ({name}) with {} and {}",
        refused.message,
        listed(statuses),
        listed(types)
    );
    Err(Failure { message, kind: FailureClass::Problem, detail: (*name).into(), ..refused })
}

fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const EXPECTED: Expected = Expected {
        name: "weak-key",
        types: &["badPublicKey", "badCSR"],
        statuses: &[400, 403],
        by_proxies: false,
    };

    fn judged(expected: &Expected, status: u16, body: &'static str) -> Result<(), (FailureClass, String)> {
        let response =
            Response { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) };
        let attempt = Attempt { endpoint: Endpoint::Finalize, method: "POST", url: "https://ca.test/f" };
        let problem = Problem::parse(body.as_bytes());
        judge(expected, &attempt, &response, problem).map_err(|failure| {
            assert_eq!(failure.detail, expected.name);
            (failure.kind, failure.message)
        })
    }

    #[test]
    fn a_right_refusal_has_an_expected_type_and_status() {
        let bad_key = r#"{"type":"urn:ietf:params:acme:error:badPublicKey","detail":"too short"}"#;
        let malformed = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"x"}"#;
        for status in [400, 403] {
            assert_eq!(judged(&EXPECTED, status, bad_key), Ok(()));
        }
        for (status, body) in [(401, bad_key), (400, malformed), (400, "<html>")] {
            let (class, message) = judged(&EXPECTED, status, body).unwrap_err();
            assert_eq!(class, FailureClass::Problem, "{status} {body}");
            assert!(message.contains("(weak-key) with 400 or 403 and badPublicKey or badCSR"), "{message}");
        }
        let by_proxies = Expected { statuses: &[413], by_proxies: true, ..EXPECTED };
        assert_eq!(judged(&by_proxies, 413, "<html>"), Ok(()));
    }

    #[test]
    fn whatever_is_accepted_is_of_its_own_class() {
        for status in [200, 201, 202, 204] {
            let (class, message) = judged(&EXPECTED, status, "{}").unwrap_err();
            assert_eq!(class, FailureClass::Accepted);
            assert!(message.contains("that it must refuse (weak-key)"), "{message}");
        }
    }
}
