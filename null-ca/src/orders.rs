//! Orders with their authorizations and challenges (RFC 8555 §7.1.3 to §7.1.6).
//!
//! An authorization belongs to one order and is never reused, except that of newAuthz (§7.4.1): it is kept as that of
//! an order that cannot be requested, and an order for the same name begins with a copy of it. Delayed changes (a delayed validation, an order
//! that is still processing) are stored as times and applied when the object is next read, so waiting needs
//! no task.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use wec_record::{ChallengeType, Identifier};

use crate::clock::UnixTime;
use crate::config::ISSUER_NAME;
use crate::endpoint::ChallengePlace;
use crate::reply::Problem;

pub(crate) struct Order {
    pub(crate) account: u64,
    pub(crate) authorizations: Vec<Authorization>,
    pub(crate) expires: UnixTime,
    /// The ARI identifier of the replaced certificate, returned as received (RFC 9773 §5).
    pub(crate) replaces: Option<Box<str>>,
    /// One of the configured ones.
    pub(crate) profile: Option<Box<str>>,
    pub(crate) certificate: Option<Issued>,
    /// Whether there is only an authorization.
    pub(crate) is_pre_authorization: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) certificate: u64,
    /// The order is `processing` until then.
    pub(crate) available: Instant,
}

/// States of the authorization and its challenges:
///
/// | progress    | authorization | the challenge tried | the others |
/// |-------------|---------------|---------------------|------------|
/// | `Untried`   | pending       | -                   | pending    |
/// | `Running`   | pending       | processing          | pending    |
/// | `Done(Ok)`  | valid         | valid               | not listed |
/// | `Done(Err)` | invalid       | invalid             | not listed |
/// | `Withdrawn` | deactivated   | pending             | pending    |
pub(crate) struct Authorization {
    /// As ordered.
    pub(crate) identifier: Identifier,
    /// One for all of its challenges, as in Boulder.
    pub(crate) token: u128,
    /// Whether it has the challenge types of drafts.
    pub(crate) drafts: bool,
    pub(crate) progress: Progress,
}

#[derive(Clone)]
pub(crate) enum Progress {
    Untried,
    Running {
        challenge: ChallengeType,
        /// When a validation without an address is decided; `None` while a real one is running.
        due: Option<Instant>,
        verdict: ValidationResult,
    },
    Done {
        challenge: ChallengeType,
        at: UnixTime,
        verdict: ValidationResult,
    },
    Withdrawn,
}

pub(crate) type ValidationResult = Result<(), Box<Problem>>;

/// An order and its authorizations expire a week after creation. Nothing waits for that: the ring removes the
/// order sooner.
pub(crate) const EXPIRES_AFTER: Duration = Duration::from_hours(7 * 24);

impl Order {
    pub(crate) fn settle(&mut self, now: Instant) {
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

    pub(crate) fn status(&self, now: Instant) -> &'static str {
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

    /// The order as JSON, and its status.
    pub(crate) fn json(&self, base: &str, id: u64, now: Instant) -> (String, &'static str) {
        let status = self.status(now);
        let mut json = format!(r#"{{"status":"{status}","expires":"{}","#, self.expires);
        json.push_str(r#""identifiers":["#);
        for (index, authorization) in self.authorizations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let (kind, value) = (authorization.identifier.kind(), authorization.identifier.value());
            push(&mut json, format_args!(r#"{separator}{{"type":"{kind}","value":"{value}"}}"#));
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
        if let Some(profile) = &self.profile {
            push(&mut json, format_args!(r#","profile":"{profile}""#));
        }
        if let Some(issued) = self.certificate
            && status == "valid"
        {
            let certificate = issued.certificate;
            push(&mut json, format_args!(r#","certificate":"{base}/certificate/{certificate}""#));
        }
        json.push('}');
        (json, status)
    }
}

impl Authorization {
    pub(crate) fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.token.to_be_bytes())
    }

    pub(crate) fn status(&self) -> &'static str {
        match &self.progress {
            Progress::Untried | Progress::Running { .. } => "pending",
            Progress::Done { verdict: Ok(()), .. } => "valid",
            Progress::Done { verdict: Err(_), .. } => "invalid",
            Progress::Withdrawn => "deactivated",
        }
    }

    pub(crate) fn json(&self, base: &str, order: u64, index: usize, expires: UnixTime) -> String {
        let (status, kind, name) = (self.status(), self.identifier.kind(), self.identifier.validated());
        let mut json = format!(
            r#"{{"status":"{status}","expires":"{expires}","identifier":{{"type":"{kind}","value":"{name}"}},"challenges":["#
        );
        let tried = match &self.progress {
            Progress::Done { challenge, .. } => Some(*challenge),
            _ => None,
        };
        let listed = self.identifier.challenge_types().iter().filter(|kind| self.has(**kind));
        let listed = listed.filter(|kind| tried.is_none_or(|tried| tried == **kind));
        for (place, kind) in listed.enumerate() {
            if place > 0 {
                json.push(',');
            }
            let place = ChallengePlace { order, authorization: index, kind: *kind };
            self.push_challenge(&mut json, base, place);
        }
        json.push(']');
        if matches!(self.identifier, Identifier::Wildcard(_)) {
            json.push_str(r#","wildcard":true"#);
        }
        json.push('}');
        json
    }

    /// Whether it has a challenge of this type.
    pub(crate) fn has(&self, kind: ChallengeType) -> bool {
        (self.drafts || !kind.is_draft()) && self.identifier.challenge_types().contains(&kind)
    }

    pub(crate) fn push_challenge(&self, json: &mut String, base: &str, place: ChallengePlace) {
        let ChallengePlace { order, authorization: index, kind } = place;
        let name = kind.name();
        push(json, format_args!(r#"{{"type":"{name}","url":"{base}/challenge/{order}/{index}/{name}","#));
        match kind {
            ChallengeType::DnsPersist01 => {
                push(json, format_args!(r#""issuer-domain-names":["{ISSUER_NAME}"],"#))
            }
            _ => push(json, format_args!(r#""token":"{}","#, self.token())),
        }
        json.push_str(r#""status":"#);
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

pub(crate) fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing to a String cannot fail");
}
