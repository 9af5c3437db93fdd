//! Orders with their authorizations and challenges, from newOrder to finalize (RFC 8555 §7.4, §7.5).
//!
//! An authorization belongs to one order and is never reused. What happens by itself (a delayed
//! validation, an order that is still processing) is a time in the future that is compared when
//! somebody asks, so waiting costs nothing.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::time::Instant;

use crate::clock::UnixTime;
use crate::issuer::CertificationRequest;
use crate::keys::PublicKey;
use crate::reply::{Kind, Problem, Reply};
use crate::service::{Ca, Call};
use crate::validation::Validated;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChallengeType {
    Http01,
    TlsAlpn01,
    Dns01,
}

impl ChallengeType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ChallengeType::Http01 => "http-01",
            ChallengeType::TlsAlpn01 => "tls-alpn-01",
            ChallengeType::Dns01 => "dns-01",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [ChallengeType::Http01, ChallengeType::TlsAlpn01, ChallengeType::Dns01];
        all.into_iter().find(|kind| kind.name() == name)
    }

    /// What a name can be validated with: a wildcard only by DNS (RFC 8555 §7.1.3).
    fn for_name(wildcard: bool) -> &'static [ChallengeType] {
        match wildcard {
            true => &[ChallengeType::Dns01],
            false => &[ChallengeType::Http01, ChallengeType::TlsAlpn01, ChallengeType::Dns01],
        }
    }
}

pub(crate) struct Order {
    account: u64,
    authorizations: Vec<Authorization>,
    expires: UnixTime,
    /// The predecessor's ARI identifier, echoed (RFC 9773 §5).
    replaces: Option<Box<str>>,
    certificate: Option<Issued>,
}

#[derive(Clone, Copy)]
struct Issued {
    certificate: u64,
    /// Until then the order is `processing`.
    available: Instant,
}

/// States, as the order, the authorization and its challenges show them:
///
/// | progress    | authorization | the challenge tried | the others |
/// |-------------|---------------|---------------------|------------|
/// | `Untried`   | pending       | -                   | pending    |
/// | `Running`   | pending       | processing          | pending    |
/// | `Done(Ok)`  | valid         | valid               | not listed |
/// | `Done(Err)` | invalid       | invalid             | not listed |
/// | `Withdrawn` | deactivated   | pending             | pending    |
struct Authorization {
    /// As ordered, with the `*.` of a wildcard.
    name: Box<str>,
    /// One for all of its challenges, as in Boulder.
    token: u128,
    progress: Progress,
}

enum Progress {
    Untried,
    Running {
        challenge: ChallengeType,
        /// When a validation that looks at nothing is decided; `None` while a real one is under way.
        due: Option<Instant>,
        verdict: Verdict,
    },
    Done {
        challenge: ChallengeType,
        at: UnixTime,
        verdict: Verdict,
    },
    Withdrawn,
}

type Verdict = Result<(), Box<Problem>>;

/// An order, and so its authorizations, expires a week after it was made. Nobody waits for it: the
/// ring forgets the order sooner.
const EXPIRES_AFTER: Duration = Duration::from_hours(7 * 24);

/// As many as the public CAs take.
const MOST_NAMES: usize = 100;

impl Order {
    fn settle(&mut self, now: Instant) {
        for authorization in &mut self.authorizations {
            if let Progress::Running { challenge, due: Some(due), verdict } = &mut authorization.progress
                && *due <= now
            {
                let (challenge, at) = (*challenge, UnixTime::now());
                let verdict = std::mem::replace(verdict, Ok(()));
                authorization.progress = Progress::Done { challenge, at, verdict };
            }
        }
    }

    fn status(&self, now: Instant) -> &'static str {
        if let Some(issued) = self.certificate {
            return if issued.available <= now { "valid" } else { "processing" };
        }
        let statuses = || self.authorizations.iter().map(Authorization::status);
        if statuses().any(|status| matches!(status, "invalid" | "deactivated")) {
            "invalid"
        } else if statuses().all(|status| status == "valid") {
            "ready"
        } else {
            "pending"
        }
    }

    fn reply(&self, ca: &Ca, call: &Call<'_>, id: u64, http_status: u16) -> Reply {
        let (base, status) = (call.base, self.status(call.now));
        let mut json = format!(r#"{{"status":"{status}","expires":"{}","#, self.expires);
        json.push_str(r#""identifiers":["#);
        for (index, authorization) in self.authorizations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let name = &authorization.name;
            push(&mut json, format_args!(r#"{separator}{{"type":"dns","value":"{name}"}}"#));
        }
        json.push_str(r#"],"authorizations":["#);
        for index in 0..self.authorizations.len() {
            let separator = if index == 0 { "" } else { "," };
            push(&mut json, format_args!(r#"{separator}"{base}/authorization/{id}/{index}""#));
        }
        push(&mut json, format_args!(r#"],"finalize":"{base}/finalize/{id}""#));
        if let Some(replaces) = &self.replaces {
            push(&mut json, format_args!(r#","replaces":"{replaces}""#));
        }
        if let Some(issued) = self.certificate
            && status == "valid"
        {
            let certificate = issued.certificate;
            push(&mut json, format_args!(r#","certificate":"{base}/certificate/{certificate}""#));
        }
        json.push('}');
        let retry_after = (status == "processing").then_some(ca.config.retry_after);
        Reply { retry_after, ..Reply::json(http_status, json) }.at(format!("{base}/order/{id}"))
    }
}

impl Authorization {
    fn wildcard(&self) -> bool {
        self.name.starts_with("*.")
    }

    /// The name that is validated.
    fn identifier(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(&self.name)
    }

    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.token.to_be_bytes())
    }

    fn status(&self) -> &'static str {
        match &self.progress {
            Progress::Untried | Progress::Running { .. } => "pending",
            Progress::Done { verdict: Ok(()), .. } => "valid",
            Progress::Done { verdict: Err(_), .. } => "invalid",
            Progress::Withdrawn => "deactivated",
        }
    }

    fn json(&self, base: &str, order: u64, index: usize, expires: UnixTime) -> String {
        let (status, name) = (self.status(), self.identifier());
        let mut json = format!(
            r#"{{"status":"{status}","expires":"{expires}","identifier":{{"type":"dns","value":"{name}"}},"challenges":["#
        );
        let tried = match &self.progress {
            Progress::Done { challenge, .. } => Some(*challenge),
            _ => None,
        };
        let listed = ChallengeType::for_name(self.wildcard()).iter();
        let listed = listed.filter(|kind| tried.is_none_or(|tried| tried == **kind));
        for (place, kind) in listed.enumerate() {
            if place > 0 {
                json.push(',');
            }
            self.push_challenge(&mut json, base, order, index, *kind);
        }
        json.push(']');
        if self.wildcard() {
            json.push_str(r#","wildcard":true"#);
        }
        json.push('}');
        json
    }

    fn push_challenge(&self, json: &mut String, base: &str, order: u64, index: usize, kind: ChallengeType) {
        let (name, token) = (kind.name(), self.token());
        push(
            json,
            format_args!(
                r#"{{"type":"{name}","url":"{base}/challenge/{order}/{index}/{name}","token":"{token}","status":"#
            ),
        );
        match &self.progress {
            Progress::Running { challenge, .. } if *challenge == kind => {
                json.push_str(r#""processing""#);
            }
            Progress::Done { challenge, at, verdict } if *challenge == kind => match verdict {
                Ok(()) => push(json, format_args!(r#""valid","validated":"{at}""#)),
                Err(problem) => {
                    push(json, format_args!(r#""invalid","validated":"{at}","error":{problem}"#));
                }
            },
            _ => json.push_str(r#""pending""#),
        }
        json.push('}');
    }
}

fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing to a String cannot fail");
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<Identifier>,
    not_before: Option<String>,
    not_after: Option<String>,
    replaces: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    r#type: String,
    value: String,
}

#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

#[derive(Deserialize)]
struct Deactivate {
    status: String,
}

impl Ca {
    pub(crate) fn new_order(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let account = call.account()?;
        let asked: NewOrder = call.jws.read()?;
        if asked.not_before.is_some() || asked.not_after.is_some() {
            return Err(Problem::malformed("notBefore and notAfter are not supported"));
        }
        let names = checked_names(&asked.identifiers)?;
        let id = self.orders.reserve();
        if let Some(predecessor) = &asked.replaces {
            self.replace_certificate(account, predecessor, id)?;
        }
        let untried = |name: String| Authorization {
            name: name.into(),
            token: rand::random(),
            progress: Progress::Untried,
        };
        let order = Order {
            account,
            authorizations: names.into_iter().map(untried).collect(),
            expires: UnixTime::now().after(EXPIRES_AFTER),
            replaces: asked.replaces.map(Into::into),
            certificate: None,
        };
        let reply = order.reply(self, call, id, 201);
        self.orders.put(id, order);
        self.counters.orders.add();
        Ok(reply)
    }

    pub(crate) fn order(&self, call: &Call<'_>, id: u64) -> Result<Reply, Problem> {
        call.post_as_get()?;
        self.with_order(call, id, |order| Ok(order.reply(self, call, id, 200)))
    }

    /// Whether an order has failed or is forgotten, so that another may replace what it replaces.
    pub(crate) fn order_is_void(&self, id: u64) -> bool {
        let now = Instant::now();
        let status = self.orders.with(id, |order| {
            order.settle(now);
            order.status(now)
        });
        status.is_none_or(|status| status == "invalid")
    }

    /// Reads an authorization, or deactivates it (RFC 8555 §7.5.2).
    pub(crate) fn authorization(&self, call: &Call<'_>, id: u64, index: usize) -> Result<Reply, Problem> {
        if !call.jws.is_post_as_get() {
            let Deactivate { status } = call.jws.read()?;
            if status != "deactivated" {
                return Err(Problem::malformed(format!("an authorization cannot become `{status}`")));
            }
        }
        self.with_order(call, id, |order| {
            let expires = order.expires;
            let authorization = nth(order, index)?;
            if !call.jws.is_post_as_get() {
                authorization.progress = Progress::Withdrawn;
            }
            let pending = authorization.status() == "pending";
            let retry_after = self.config.validation.retry_after.filter(|_| pending);
            let json = authorization.json(call.base, id, index, expires);
            Ok(Reply { retry_after, ..Reply::json(200, json) })
        })
    }

    /// Reads a challenge, or starts its validation (RFC 8555 §7.5.1).
    pub(crate) fn challenge(
        self: &Arc<Self>,
        call: &Call<'_>,
        id: u64,
        index: usize,
        kind: ChallengeType,
    ) -> Result<Reply, Problem> {
        let starts = !call.jws.is_post_as_get();
        if starts {
            call.jws.read::<serde_json::Map<_, _>>()?;
        }
        let key = call.account_key()?;
        self.with_order(call, id, |order| {
            let authorization = nth(order, index)?;
            if !ChallengeType::for_name(authorization.wildcard()).contains(&kind) {
                return Err(Problem::new(Kind::NotFound, "a wildcard is validated by dns-01 only"));
            }
            // Started again while it runs or after it is decided, a challenge just shows itself.
            if starts && matches!(authorization.progress, Progress::Untried) {
                self.start_validation(call.now, authorization, &key, id, index, kind);
                order.settle(call.now);
            }
            let authorization = nth(order, index)?;
            let mut json = String::new();
            authorization.push_challenge(&mut json, call.base, id, index, kind);
            let running = matches!(authorization.progress, Progress::Running { .. });
            Ok(Reply {
                up: Some(format!("{}/authorization/{id}/{index}", call.base)),
                retry_after: self.config.validation.retry_after.filter(|_| running),
                ..Reply::json(200, json)
            })
        })
    }

    fn start_validation(
        self: &Arc<Self>,
        now: Instant,
        authorization: &mut Authorization,
        key: &PublicKey,
        order: u64,
        index: usize,
        kind: ChallengeType,
    ) {
        let (delay, fails) = self.plan.validation();
        let verdict = match fails {
            false => Ok(()),
            true => Err(Box::new(Problem::new(Kind::IncorrectResponse, "failed on purpose"))),
        };
        let looks_at = self.validator.target(kind).filter(|_| !fails);
        authorization.progress = Progress::Running {
            challenge: kind,
            due: looks_at.is_none().then(|| now + delay),
            verdict: verdict.clone(),
        };
        let Some(target) = looks_at else {
            self.count_validation(&verdict);
            return;
        };
        let challenge = Validated {
            kind,
            name: authorization.identifier().to_owned(),
            key_authorization: format!(
                "{}.{}",
                authorization.token(),
                URL_SAFE_NO_PAD.encode(key.thumbprint())
            ),
            token: authorization.token(),
        };
        let ca = Arc::clone(self);
        let looking = async move {
            tokio::time::sleep(delay).await;
            let verdict = ca.validator.look(&challenge, target).await.map_err(Box::new);
            ca.count_validation(&verdict);
            ca.orders.with(order, |order| {
                if let Some(authorization) = order.authorizations.get_mut(index)
                    && matches!(authorization.progress, Progress::Running { .. })
                {
                    let at = UnixTime::now();
                    authorization.progress = Progress::Done { challenge: kind, at, verdict };
                }
            });
        };
        // Ended together with the connections when the CA stops.
        let stop = self.stop.clone();
        self.validations.spawn(async move { stop.run_until_cancelled(looking).await });
    }

    fn count_validation(&self, verdict: &Verdict) {
        match verdict {
            Ok(()) => self.counters.validations_valid.add(),
            Err(_) => self.counters.validations_invalid.add(),
        }
    }

    pub(crate) fn finalize(&self, call: &Call<'_>, id: u64) -> Result<Reply, Problem> {
        let account_key = call.account_key()?;
        let Finalize { csr } = call.jws.read()?;
        let der = URL_SAFE_NO_PAD.decode(csr);
        let der = der.map_err(|_| Problem::new(Kind::BadCsr, "the csr is not base64url"))?;
        self.with_order(call, id, |order| {
            let status = order.status(call.now);
            if status != "ready" {
                let detail = format!("the order is {status}, not ready");
                return Err(Problem::new(Kind::OrderNotReady, detail));
            }
            let request = CertificationRequest::read(&der, self.config.verify_signatures)?;
            if request.key == *account_key {
                let detail = "a certificate must not have the account's key";
                return Err(Problem::new(Kind::BadCsr, detail));
            }
            let ordered = order.authorizations.iter().map(|authorization| &*authorization.name);
            let same = request.names.len() == order.authorizations.len()
                && ordered.clone().all(|name| request.names.contains(name));
            if !same {
                let ordered: Vec<&str> = ordered.collect();
                return Err(Problem::new(
                    Kind::BadCsr,
                    format!("the csr names {:?}, the order {ordered:?}", request.names),
                ));
            }
            let certificate = self.issue(order.account, ordered, &request.key)?;
            let available = call.now + self.config.processing;
            order.certificate = Some(Issued { certificate, available });
            Ok(order.reply(self, call, id, 200))
        })
    }

    /// Runs `f` on an order of the caller's, brought up to date.
    fn with_order<R>(
        &self,
        call: &Call<'_>,
        id: u64,
        f: impl FnOnce(&mut Order) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        let account = call.account()?;
        let found = self.orders.with(id, |order| {
            if order.account != account {
                return Err(Problem::new(Kind::Unauthorized, "the order is somebody else's"));
            }
            order.settle(call.now);
            f(order)
        });
        found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such order"))?
    }
}

fn nth(order: &mut Order, index: usize) -> Result<&mut Authorization, Problem> {
    let found = order.authorizations.get_mut(index);
    found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such authorization"))
}

/// The names of a new order: lower-case, each once, in the order they came.
fn checked_names(identifiers: &[Identifier]) -> Result<Vec<String>, Problem> {
    if identifiers.is_empty() || identifiers.len() > MOST_NAMES {
        return Err(Problem::malformed(format!(
            "an order has 1 to {MOST_NAMES} identifiers, not {}",
            identifiers.len()
        )));
    }
    let mut names: Vec<String> = Vec::with_capacity(identifiers.len());
    for Identifier { r#type, value } in identifiers {
        if r#type != "dns" {
            let detail = format!("identifier type `{}` is not supported, only dns is", r#type);
            return Err(Problem::new(Kind::UnsupportedIdentifier, detail));
        }
        let name = value.to_ascii_lowercase();
        if !is_dns_name(name.strip_prefix("*.").unwrap_or(&name)) {
            let detail = format!("`{value}` is no DNS name that a certificate can have");
            return Err(Problem::new(Kind::RejectedIdentifier, detail));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Letters, digits and hyphens in two labels or more, the last of which is no number.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && name.rsplit_once('.').is_some_and(|(_, last)| last.parse::<u64>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &[&str]) -> Result<Vec<String>, Kind> {
        let identifier = |value: &&str| Identifier { r#type: "dns".to_owned(), value: (*value).to_owned() };
        let identifiers: Vec<_> = values.iter().map(identifier).collect();
        checked_names(&identifiers).map_err(|problem| problem.kind)
    }

    #[test]
    fn names_are_lower_cased_and_taken_once() {
        assert_eq!(
            names(&["B.test", "a.test", "b.TEST", "*.b.test"]).unwrap(),
            ["b.test", "a.test", "*.b.test"]
        );
    }

    #[test]
    fn refuses_what_no_certificate_can_name() {
        let long_label = format!("{}.test", "a".repeat(64));
        let long_name = format!("{}test", "abc.".repeat(63));
        for name in [
            "",
            ".",
            "test",
            "a..test",
            "-a.test",
            "a-.test",
            "a b.test",
            "ä.test",
            "a.*.test",
            "*",
            "*.*.test",
            "127.0.0.1",
            "a.test.",
            "a_b.test",
            "a\".test",
            &long_label,
            &long_name,
        ] {
            assert_eq!(names(&[name]), Err(Kind::RejectedIdentifier), "{name}");
        }
    }

    #[test]
    fn takes_one_to_a_hundred_identifiers() {
        let many: Vec<String> = (0..101).map(|n| format!("n{n}.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(names(&[]), Err(Kind::Malformed));
        assert_eq!(names(&many[..100]).map(|names| names.len()), Ok(100));
        assert_eq!(names(&many), Err(Kind::Malformed));
    }
}
