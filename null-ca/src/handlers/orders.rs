//! From newOrder to finalize (RFC 8555 §7.4, §7.5).

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::time::Instant;
use wec_record::{Identifier, Unfit};

use crate::accounts::account_url;
use crate::ca::{Ca, Call};
use crate::challenge::Validated;
use crate::clock::UnixTime;
use crate::endpoint::ChallengePlace;
use crate::issuer::CertificationRequest;
use crate::keys::PublicKey;
use crate::orders::{Authorization, EXPIRES_AFTER, Issued, Order, Progress, ValidationResult};
use crate::reply::{Kind, Problem, Reply, Subproblem};

/// As many as public CAs accept.
const MOST_NAMES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<Asked>,
    not_before: Option<String>,
    not_after: Option<String>,
    replaces: Option<String>,
    profile: Option<String>,
}

/// An identifier before it is checked.
#[derive(Deserialize)]
struct Asked {
    r#type: String,
    value: String,
}

#[derive(Deserialize)]
struct NewAuthorization {
    identifier: Asked,
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
        if let Some(profile) = &asked.profile
            && !self.config.profiles.contains_key(profile)
        {
            let known: Vec<_> = self.config.profiles.keys().map(String::as_str).collect();
            let detail = match known.is_empty() {
                true => format!("there is no profile `{profile}`: this CA has none"),
                false => format!("there is no profile `{profile}`: there are {}", known.join(", ")),
            };
            return Err(Problem::new(Kind::InvalidProfile, detail));
        }
        let identifiers = checked_identifiers(&asked.identifiers)?;
        let id = self.orders.reserve();
        if let Some(predecessor) = &asked.replaces {
            self.replace_certificate(account, predecessor, id)?;
        }
        let mut authorizations: Vec<_> =
            identifiers.into_iter().map(|identifier| self.untried(identifier)).collect();
        self.use_pre_authorizations(account, &mut authorizations);
        let order = Order {
            account,
            authorizations,
            expires: UnixTime::now().after(EXPIRES_AFTER),
            replaces: asked.replaces.map(Into::into),
            profile: asked.profile.map(Into::into),
            certificate: None,
            is_pre_authorization: false,
        };
        let reply = self.shown(&order, call, id, 201);
        self.orders.put(id, order);
        self.accounts.note_order(account, id);
        self.counters.orders.add();
        Ok(reply)
    }

    /// An authorization before there is an order (RFC 8555 §7.4.1).
    pub(crate) fn new_authorization(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let account = call.account()?;
        let NewAuthorization { identifier } = call.jws.read()?;
        let identifier = checked_identifiers(&[identifier])?.remove(0);
        if matches!(identifier, Identifier::Wildcard(_)) {
            return Err(Problem::malformed("newAuthz is not possible for a wildcard"));
        }
        let id = self.orders.reserve();
        let expires = UnixTime::now().after(EXPIRES_AFTER);
        let authorization = self.untried(identifier);
        let json = authorization.json(call.base, id, 0, expires);
        let order = Order {
            account,
            authorizations: vec![authorization],
            expires,
            replaces: None,
            profile: None,
            certificate: None,
            is_pre_authorization: true,
        };
        self.orders.put(id, order);
        self.accounts.note_pre_authorization(account, id);
        Ok(Reply::json(201, json).at(format!("{}/authorization/{id}/0", call.base)))
    }

    /// Makes the authorizations of a new order valid for whose names the account has valid ones of newAuthz.
    fn use_pre_authorizations(&self, account: u64, authorizations: &mut [Authorization]) {
        let (now, today) = (Instant::now(), UnixTime::now());
        for id in self.accounts.pre_authorizations(account) {
            self.orders.with(id, |order| {
                order.settle(now);
                if order.account != account || order.expires.0 <= today.0 {
                    return;
                }
                for known in order.authorizations.iter().filter(|known| known.status() == "valid") {
                    let same = authorizations.iter_mut().filter(|new| new.identifier == known.identifier);
                    same.for_each(|new| new.progress = known.progress.clone());
                }
            });
        }
    }

    pub(crate) fn order(&self, call: &Call<'_>, id: u64) -> Result<Reply, Problem> {
        call.post_as_get()?;
        self.with_order(call, id, |order| {
            is_an_order(order)?;
            Ok(self.shown(order, call, id, 200))
        })
    }

    /// Whether an account's list has valid authorizations for all of these names.
    pub(crate) fn holds_authorizations(&self, account: u64, names: &HashSet<Identifier>) -> bool {
        let (now, today) = (Instant::now(), UnixTime::now());
        let mut missing = names.clone();
        let orders = self.accounts.orders(account).into_iter();
        for id in orders.chain(self.accounts.pre_authorizations(account)) {
            self.orders.with(id, |order| {
                order.settle(now);
                if order.account == account && order.expires.0 > today.0 {
                    for authorization in &order.authorizations {
                        if authorization.status() == "valid" {
                            missing.remove(&authorization.identifier);
                        }
                    }
                }
            });
        }
        !names.is_empty() && missing.is_empty()
    }

    /// Whether an order has failed or was removed, so that another may replace the same certificate.
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
        place: ChallengePlace,
    ) -> Result<Reply, Problem> {
        let ChallengePlace { order: id, authorization: index, kind } = place;
        let starts = !call.jws.is_post_as_get();
        if starts {
            call.jws.read::<serde_json::Map<_, _>>()?;
        }
        let key = call.account_key()?;
        self.with_order(call, id, |order| {
            let account = order.account;
            let authorization = nth(order, index)?;
            if !authorization.has(kind) {
                let detail = format!("`{}` is not validated by {}", authorization.identifier, kind.name());
                return Err(Problem::new(Kind::NotFound, detail));
            }
            // If it is running or decided, the challenge is returned unchanged.
            if starts && matches!(authorization.progress, Progress::Untried) {
                let account = (account_url(call.base, account), &*key);
                self.start_validation(call.now, authorization, account, place);
                order.settle(call.now);
            }
            let authorization = nth(order, index)?;
            let mut json = String::new();
            authorization.push_challenge(&mut json, call.base, place);
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
        (account, key): (String, &PublicKey),
        place: ChallengePlace,
    ) {
        let ChallengePlace { order, authorization: index, kind } = place;
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
            identifier: authorization.identifier.clone(),
            account,
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
        // Ends with the connections when the CA stops.
        let stop = self.stop.clone();
        self.validations.spawn(async move { stop.run_until_cancelled(looking).await });
    }

    fn untried(&self, identifier: Identifier) -> Authorization {
        let drafts = self.config.validation.drafts;
        Authorization { identifier, token: rand::random(), drafts, progress: Progress::Untried }
    }

    fn count_validation(&self, verdict: &ValidationResult) {
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
            is_an_order(order)?;
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
            if self.config.block_keys && self.blocked_keys.has(&request.key.thumbprint()) {
                return Err(Problem::new(Kind::BadPublicKey, "the public key is forbidden: it was revoked"));
            }
            let ordered = order.authorizations.iter().map(|authorization| &authorization.identifier);
            let same = request.names.len() == order.authorizations.len()
                && ordered.clone().all(|name| request.names.contains(name));
            if !same {
                let values = |names: &mut dyn Iterator<Item = &Identifier>| {
                    names.map(|name| name.value().into_owned()).collect::<Vec<_>>()
                };
                let (ordered, named) = (values(&mut ordered.clone()), values(&mut request.names.iter()));
                let detail = format!("the csr names {named:?}, the order {ordered:?}");
                return Err(Problem::new(Kind::BadCsr, detail));
            }
            let certificate = self.issue(order.account, ordered, &request.key)?;
            let available = call.now + self.config.processing;
            order.certificate = Some(Issued { certificate, available });
            Ok(self.shown(order, call, id, 200))
        })
    }

    fn shown(&self, order: &Order, call: &Call<'_>, id: u64, http_status: u16) -> Reply {
        let (json, status) = order.json(call.base, id, call.now);
        let retry_after = (status == "processing").then_some(self.config.retry_after);
        Reply { retry_after, ..Reply::json(http_status, json) }.at(format!("{}/order/{id}", call.base))
    }

    /// Runs `f` on an order of the caller, after updating its state.
    fn with_order<R>(
        &self,
        call: &Call<'_>,
        id: u64,
        f: impl FnOnce(&mut Order) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        let account = call.account()?;
        let found = self.orders.with(id, |order| {
            if order.account != account {
                return Err(Problem::new(Kind::Unauthorized, "the order belongs to another account"));
            }
            order.settle(call.now);
            f(order)
        });
        found.ok_or_else(no_such_order)?
    }
}

fn no_such_order() -> Problem {
    Problem::new(Kind::NotFound, "there is no such order")
}

fn is_an_order(order: &Order) -> Result<(), Problem> {
    if order.is_pre_authorization { Err(no_such_order()) } else { Ok(()) }
}

fn nth(order: &mut Order, index: usize) -> Result<&mut Authorization, Problem> {
    let found = order.authorizations.get_mut(index);
    found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such authorization"))
}

/// The identifiers of a new order: lower case, without duplicates, in the order of the request.
fn checked_identifiers(asked: &[Asked]) -> Result<Vec<Identifier>, Problem> {
    if asked.is_empty() || asked.len() > MOST_NAMES {
        return Err(Problem::malformed(format!(
            "an order has 1 to {MOST_NAMES} identifiers, not {}",
            asked.len()
        )));
    }
    let mut identifiers = Vec::with_capacity(asked.len());
    let mut wrong = Vec::new();
    for Asked { r#type, value } in asked {
        match Identifier::checked(r#type, value) {
            Ok(identifier) if identifiers.contains(&identifier) => {}
            Ok(identifier) => identifiers.push(identifier),
            Err(unfit) => {
                let identifier = (r#type.clone(), value.clone());
                let problem = match unfit {
                    Unfit::Name => Problem::new(
                        Kind::RejectedIdentifier,
                        format!("`{value}` is not a DNS name that a certificate can have"),
                    ),
                    Unfit::Address => {
                        Problem::new(Kind::RejectedIdentifier, format!("`{value}` is not an IP address"))
                    }
                    Unfit::Kind => Problem::new(
                        Kind::UnsupportedIdentifier,
                        format!("identifier type `{}` is not supported, only dns and ip are", r#type),
                    ),
                };
                wrong.push(Subproblem { identifier, problem });
            }
        }
    }
    if wrong.is_empty() { Ok(identifiers) } else { Err(Problem::of_identifiers(wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &[&str]) -> Result<Vec<String>, Kind> {
        let asked = |value: &&str| Asked { r#type: "dns".to_owned(), value: (*value).to_owned() };
        let asked: Vec<_> = values.iter().map(asked).collect();
        let checked = checked_identifiers(&asked).map_err(|problem| problem.kind)?;
        Ok(checked.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_are_lower_cased_and_deduplicated() {
        assert_eq!(
            names(&["B.test", "a.test", "b.TEST", "*.b.test"]).unwrap(),
            ["b.test", "a.test", "*.b.test"]
        );
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
