//! One account, and an order of one name for each challenge type: what was sent, who asked the challenge server, and
//! what it shows. Everything that it makes at the CA is ended again.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use wec_acme::{
    Account, AccountKey, Authorization, AuthorizationStatus, Checker, Client, Clock, Exchange, Failure,
    NewOrder, Order, OrderStatus, Purpose, Signer, Trace, certificate_request,
};
use wec_challenge_server::Addresses;
use wec_pki::TlsOptions;
use wec_record::{ChallengeType, Listener, ValidationHit};
use wec_requester::Plan;
use wec_startup::told;
use wec_store::{ChallengeData, ChallengeWriter};

use super::finding::{Check, Finding, Step};
use super::judge::{self, Seen, check_of};
use crate::here::{self, OwnServer};

/// What the watched orders show.
pub(super) struct Watched {
    pub(super) findings: Vec<Finding>,
    pub(super) steps: Vec<Step>,
}

/// Orders a name for each challenge type of the plan, and watches.
pub(super) async fn watch(plan: &Plan, client: &Client, clock: Clock) -> Watched {
    let plain = TlsOptions { plaintext: true, ..TlsOptions::default() };
    let (challenges, server) = match here::challenges(plan, &plain).await {
        Ok(started) => started,
        Err(error) => {
            let way_out = "another program may listen there (ss -tulpn shows it), or the port needs root: give other \
                           addresses with --http01-listen, --tlsalpn01-listen, --dns-listen";
            let findings = vec![Finding::problem(Check::Listeners, told(&error), way_out)];
            return Watched { findings, steps: Vec::new() };
        }
    };
    let listening = Finding::ok(Check::Listeners, listeners(server.as_ref().map(OwnServer::addresses)));
    let (trace, findings) = (Trace::new(clock), vec![listening]);
    let mut watch = Watch { plan, client, challenges, server, trace, findings, offered: None };
    watch.all().await;
    let Watch { trace, mut server, findings, .. } = watch;
    let hits = server.as_ref().map(|server| server.hits().recent()).unwrap_or_default();
    if let Some(server) = server.take() {
        server.finish().await;
    }
    let (exchanges, _) = trace.into_parts();
    Watched { findings, steps: steps(&exchanges, &hits, clock.origin_unix_ns()) }
}

fn listeners(addresses: Option<Addresses>) -> String {
    let Some(Addresses { http01, tls_alpn01, dns, .. }) = addresses else {
        return "none: the challenge server is another process".to_owned();
    };
    let all = [("http-01", http01), ("tls-alpn-01", tls_alpn01), ("DNS", dns)];
    let open: Vec<_> =
        all.into_iter().filter_map(|(what, address)| Some(format!("{what} at {}", address?))).collect();
    open.join(", ")
}

struct Watch<'a> {
    plan: &'a Plan,
    client: &'a Client,
    challenges: Arc<dyn ChallengeWriter>,
    server: Option<OwnServer>,
    trace: Trace,
    findings: Vec<Finding>,
    /// The types that the CA has offered.
    offered: Option<Vec<&'static str>>,
}

impl Watch<'_> {
    async fn all(&mut self) {
        let account = match self.account().await {
            Ok(account) => account,
            Err(failure) => return self.findings.push(judge::no_account(&failure)),
        };
        self.findings.push(Finding::ok(Check::Account, "registered"));
        let enabled: Vec<_> = self.plan.scenarios[0].choices.challenges.items().collect();
        let mut ready = None;
        for kind in &enabled {
            match self.validate(&account, *kind, &enabled).await {
                Ok(order) => ready = ready.or(order),
                Err(failure) => self.findings.push(Finding::problem(
                    check_of(*kind),
                    failure.message,
                    "look into the CA's log: the order failed before the CA had to validate",
                )),
            }
        }
        let leaf = match ready {
            Some((order, name)) => self.issue(&account, &order, name).await,
            None => None,
        };
        self.end(&account, leaf.as_deref()).await;
    }

    async fn account(&mut self) -> Result<Account, Failure> {
        let key = AccountKey::generate()?;
        let (contact, external) = (&self.plan.contact, self.plan.eab.first());
        self.client.new_account(&mut self.trace, &key, contact, external).await
    }

    /// Validates a new name by this challenge type. Returns the order if it became ready.
    async fn validate(
        &mut self,
        account: &Account,
        kind: ChallengeType,
        enabled: &[ChallengeType],
    ) -> Result<Option<(Order, String)>, Failure> {
        let name = new_name(&self.plan.plain.base_domain);
        let names = std::slice::from_ref(&name);
        let new = NewOrder { names, replaces: None, profile: None, validity: None };
        let order = self.client.new_order_for(&mut self.trace, account, new).await?;
        let Some(url) = order.authorizations.first() else {
            return Err(Failure::internal(format!("the order {} has no authorization", order.url)));
        };
        let authorization = self.client.authorization(&mut self.trace, account, url).await?;
        self.note_offered(&authorization, enabled);
        if authorization.status == AuthorizationStatus::Valid {
            self.findings.push(Finding::warning(
                check_of(kind),
                "a new name was authorized without a validation",
                "the CA does not validate: a run does not measure validation",
            ));
            return self.ready(account, order, name).await;
        }
        let Some(challenge) = authorization.challenge(kind) else {
            self.findings.push(Finding::warning(
                check_of(kind),
                "the CA does not offer it for this name",
                "a run takes the others; --challenge-types sets which",
            ));
            return Ok(None);
        };
        let data = ChallengeData {
            kind,
            name: name.clone(),
            token: challenge.token.clone(),
            key_authorization: account.key.key_authorization(&challenge.token),
        };
        let internal = |error: wec_store::ChallengeStoreError| Failure::internal(error.to_string());
        self.challenges.put(&data).await.map_err(internal)?;
        let validated = self.respond(account, &challenge.url, url).await;
        // Data that the store does not remove stays until its own expiry.
        let _ = self.challenges.remove(&data).await;
        let hits: Vec<_> = self.hits().into_iter().filter(|hit| hit.name == data.stored_name()).collect();
        let ca = self.trace.exchanges().iter().rev().find_map(|exchange| exchange.way.address);
        self.findings.push(judge::validation(Seen {
            kind,
            listener: self.listener(kind),
            ca: ca.map(|peer| peer.address().ip()),
            hits: &hits,
            failure: validated.as_ref().err(),
        }));
        if validated.is_err() { Ok(None) } else { self.ready(account, order, name).await }
    }

    async fn respond(
        &mut self,
        account: &Account,
        challenge: &str,
        authorization: &str,
    ) -> Result<(), Failure> {
        let answer = self.client.respond(&mut self.trace, account, challenge).await?;
        let asked = answer.retry_after;
        self.client.poll_authorization(&mut self.trace, account, authorization, asked).await.map(drop)
    }

    async fn ready(
        &mut self,
        account: &Account,
        order: Order,
        name: String,
    ) -> Result<Option<(Order, String)>, Failure> {
        let order = self.client.order(&mut self.trace, account, &order.url).await?;
        let order = self.client.poll_order_ready(&mut self.trace, account, &order).await?;
        Ok((order.status == OrderStatus::Ready).then_some((order, name)))
    }

    /// Finalizes an order and checks its certificate. Returns the certificate, DER.
    async fn issue(&mut self, account: &Account, order: &Order, name: String) -> Option<Vec<u8>> {
        match self.certificate(account, order, name).await {
            Ok((serial, leaf)) => {
                self.findings.push(Finding::ok(Check::Certificate, format!("issued, serial {serial}")));
                Some(leaf)
            }
            Err(failure) => {
                let way_out =
                    "look into the CA's log: the order was ready, and its certificate was not issued";
                self.findings.push(Finding::problem(Check::Certificate, failure.message, way_out));
                None
            }
        }
    }

    async fn certificate(
        &mut self,
        account: &Account,
        order: &Order,
        name: String,
    ) -> Result<(String, Vec<u8>), Failure> {
        let names = [name];
        let (key, csr) = certificate_request(&names)?;
        let order = self.client.finalize(&mut self.trace, account, order, &csr).await?;
        let order = self.client.poll_order_valid(&mut self.trace, account, &order).await?;
        let url = order.certificate.as_deref().unwrap_or_default();
        let pem = self.client.certificate(&mut self.trace, account, url).await?;
        let checked = Checker::new().check(&pem, &names, &key, self.client.ca_clock().unix_now())?;
        Ok((checked.serial_hex, checked.leaf_der))
    }

    /// Revokes the certificate and deactivates the account.
    async fn end(&mut self, account: &Account, leaf: Option<&[u8]>) {
        let mut left = Vec::new();
        if let Some(leaf) = leaf
            && let Err(failure) =
                self.client.revoke(&mut self.trace, Signer::Account(account), leaf, None).await
        {
            left.push(format!("a certificate ({})", failure.message));
        }
        if let Err(failure) = self.client.deactivate_account(&mut self.trace, account).await {
            left.push(format!("the account {} ({})", account.url, failure.message));
        }
        self.findings.push(if left.is_empty() {
            let revoked = if leaf.is_some() { "the certificate is revoked, " } else { "" };
            Finding::ok(Check::Cleanup, format!("{revoked}the account is deactivated"))
        } else {
            let way_out = "nothing to do for a test CA; a load without this chain: --weight revoke=0";
            Finding::warning(Check::Cleanup, format!("left at the CA: {}", left.join(", ")), way_out)
        });
    }

    fn note_offered(&mut self, authorization: &Authorization, enabled: &[ChallengeType]) {
        if self.offered.is_some() || authorization.challenges.is_empty() {
            return;
        }
        let mut offered: Vec<_> =
            authorization.challenges.iter().map(wec_acme::Challenge::type_name).collect();
        offered.sort_unstable();
        let enabled: Vec<_> = enabled.iter().map(|kind| kind.name()).collect();
        self.findings.push(judge::challenges(&offered, &enabled));
        self.offered = Some(offered);
    }

    fn hits(&self) -> Vec<ValidationHit> {
        self.server.as_ref().map(|server| server.hits().recent()).unwrap_or_default()
    }

    fn listener(&self, kind: ChallengeType) -> Option<SocketAddr> {
        let Addresses { http01, tls_alpn01, dns, .. } = self.server.as_ref()?.addresses();
        match kind.listener() {
            Listener::Http => http01,
            Listener::Tls => tls_alpn01,
            Listener::Dns => dns,
        }
    }
}

/// A name that no earlier check ordered.
fn new_name(base_domain: &str) -> String {
    format!("doctor-{:012x}.{base_domain}", RandomState::new().hash_one(base_domain) >> 16)
}

/// Requests to the CA and to the challenge server in the order of their times.
fn steps(exchanges: &[Exchange], hits: &[ValidationHit], origin_unix_ns: u64) -> Vec<Step> {
    let mut polls = Vec::new();
    let mut all = Vec::new();
    for (n, exchange) in exchanges.iter().enumerate() {
        let next_is_poll = exchanges.get(n + 1).is_some_and(|next| next.purpose == Purpose::Poll);
        // Of several polls the last one says what became of the object.
        if exchange.purpose == Purpose::Poll && next_is_poll {
            polls.push(exchange.sent);
            continue;
        }
        let repeated = match std::mem::take(&mut polls).len() {
            0 => String::new(),
            before => format!(", after {before} more"),
        };
        let ms = exchange.done.saturating_sub(exchange.sent) as f64 / 1e6;
        let why =
            exchange.failure.as_ref().map_or_else(String::new, |failure| format!(": {}", failure.message));
        let what = format!(
            "{} {} {}: {} in {ms:.1} ms{repeated}{why}",
            exchange.endpoint.name(),
            exchange.method,
            exchange.template,
            exchange.status
        );
        all.push((exchange.sent, "wec", what));
    }
    for hit in hits {
        let what = format!("{} for {}, from {}: {}", hit.challenge, hit.name, hit.source, hit.verdict.name());
        all.push((hit.at_unix_ns.saturating_sub(origin_unix_ns), "CA", what));
    }
    all.sort_by_key(|(at, ..)| *at);
    let first = all.first().map_or(0, |(at, ..)| *at);
    let ms = |at: u64| (at - first) as f64 / 1e6;
    all.into_iter().map(|(at, by, what)| Step { at_ms: ms(at), by, what }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_from_check_to_check() {
        let (one, other) = (new_name("wec.test"), new_name("wec.test"));
        assert_ne!(one, other);
        assert!(one.starts_with("doctor-") && one.ends_with(".wec.test"), "{one}");
    }
}
