//! `Cleaner`: ends what is stored of a CA, one request at a time, and checks the status before and after.
//!
//! | object | before | request | after |
//! | --- | --- | --- | --- |
//! | certificate | – | revokeCert | with `--verify` a second revokeCert, which must be refused as `alreadyRevoked` |
//! | authorization | must be pending or valid | `deactivated` | the answer's status is `deactivated` |
//! | order | – | those of its authorizations | neither pending nor ready, if it was |
//! | account | must be valid | `deactivated` | the answer's status is `deactivated` |

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::bail;
use tokio::time::Interval;
use wec_acme::{
    Account, AuthorizationStatus, CertificateKey, Client, Clock, Failure, FailureClass, OrderStatus, Signer,
    Trace,
};
use wec_startup::Stop;
use wec_store::{AccountLeft, Catalogue, CertificateLeft, StoredCa};

use super::done::Done;
use super::ended::{Ended, end_of_account, end_of_certificate, is, is_not_found};

/// Failures one after the other, after which the CA is left alone.
const MOST_FAILURES: u32 = 10;
/// Pages of an account's list of orders that are read.
const MOST_PAGES: usize = 10_000;
/// The note of an order whose authorizations are ended.
const CLOSED: &str = "its authorizations were deactivated by wec clean";
const UNKNOWN: &str = "the CA does not know it";
const DEACTIVATED: &str = "it was deactivated by wec clean";

/// What is done, and what is left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) authorizations: bool,
    pub(super) accounts: bool,
    /// Whether revocations are checked.
    pub(super) verify: bool,
}

/// Cleans what `catalogue` has of `stored`.
pub(super) struct Cleaner {
    pub(super) client: Client,
    pub(super) clock: Clock,
    /// A request is sent at most each tick.
    pub(super) pace: Interval,
    pub(super) stop: Stop,
    pub(super) catalogue: Catalogue,
    pub(super) stored: StoredCa,
    pub(super) extent: Extent,
    pub(super) done: Done,
    pub(super) progress: Progress,
}

/// What must be remembered from one object to the next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Failures since the last success.
    failures_in_a_row: u32,
    /// Accounts that are needed to try something again.
    needed: HashSet<i64>,
    /// Accounts that the CA does not know, or that were deactivated before.
    ended: HashSet<i64>,
    /// Hashes of the URLs of orders and authorizations that are ended: orders share authorizations.
    closed: HashSet<u64>,
    hasher: RandomState,
}

impl Progress {
    fn is_closed(&self, url: &str) -> bool {
        self.closed.contains(&self.hasher.hash_one(url))
    }

    fn close(&mut self, url: &str) {
        self.closed.insert(self.hasher.hash_one(url));
    }
}

impl Cleaner {
    /// Ends everything, in an order in which each step needs only what is not ended yet.
    ///
    /// # Errors
    /// Those of the database; many failures of the CA one after the other.
    pub(super) async fn clean(&mut self) -> anyhow::Result<()> {
        self.certificates().await?;
        if self.extent.authorizations {
            self.orders().await?;
        }
        if self.extent.authorizations || self.extent.accounts {
            self.accounts().await?;
        }
        Ok(())
    }

    async fn certificates(&mut self) -> anyhow::Result<()> {
        let (finish, mut after) = (self.stop.finish.clone(), i64::MIN);
        loop {
            let now = self.client.ca_clock().unix_now();
            let page = self.catalogue.certificates_left(&self.stored, now, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for certificate in &page {
                // A signal drops the request: whatever came of it, the certificate stays in the state.
                let revoked = finish.run_until_cancelled(self.revoke(certificate)).await;
                let Some(answer) = revoked else { return Ok(()) };
                match answer {
                    Ok(Ended::Gone) => {
                        self.succeeded(|done| done.certificates_gone += 1);
                        self.catalogue.end_unknown(&self.stored, certificate.id).await?;
                    }
                    Ok(ended) => {
                        self.succeeded(|done| {
                            done.revoked += 1;
                            done.already_revoked += u64::from(ended == Ended::Before);
                        });
                        self.catalogue.end_revoked(&self.stored, certificate.id).await?;
                    }
                    Err(failure) => {
                        self.progress.needed.insert(certificate.account.id);
                        self.failed("revoke a certificate", &failure)?;
                    }
                }
            }
        }
    }

    /// Orders of the state.
    async fn orders(&mut self) -> anyhow::Result<()> {
        let (finish, mut after) = (self.stop.finish.clone(), i64::MIN);
        loop {
            let page = self.catalogue.orders_left(&self.stored, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for order in &page {
                let owner = &order.account;
                if self.progress.ended.contains(&owner.id) {
                    continue;
                }
                let closed = async {
                    let account = key_of(owner)?;
                    self.close_order(account, &order.url).await
                };
                let Some(answer) = finish.run_until_cancelled(closed).await else { return Ok(()) };
                match answer {
                    Ok(ended) => {
                        let note = if ended == Ended::Gone { UNKNOWN } else { CLOSED };
                        self.catalogue.end_order(&self.stored, order.id, note).await?;
                    }
                    // All its orders end with it, below.
                    Err(failure) if end_of_account(&failure).is_some() => {
                        self.progress.ended.insert(owner.id);
                    }
                    Err(failure) => {
                        self.progress.needed.insert(owner.id);
                        self.failed("deactivate the authorizations of an order", &failure)?;
                    }
                }
            }
        }
    }

    async fn accounts(&mut self) -> anyhow::Result<()> {
        let (finish, mut after) = (self.stop.finish.clone(), i64::MIN);
        loop {
            let page = self.catalogue.accounts_left(&self.stored, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for owner in
                page.iter().filter(|account| !self.progress.needed.contains(&account.id)).collect::<Vec<_>>()
            {
                let Some(answer) = finish.run_until_cancelled(self.end_account(owner)).await else {
                    return Ok(());
                };
                let note = match answer {
                    Ok(None) => continue,
                    Ok(Some(Ended::Gone)) => {
                        self.succeeded(|done| done.accounts_gone += 1);
                        UNKNOWN
                    }
                    Ok(Some(ended)) => {
                        self.succeeded(|done| {
                            done.deactivated += 1;
                            done.already_deactivated += u64::from(ended == Ended::Before);
                        });
                        DEACTIVATED
                    }
                    Err(failure) => {
                        self.failed("deactivate an account", &failure)?;
                        continue;
                    }
                };
                self.catalogue.end_account(&self.stored, owner.id, note).await?;
            }
        }
    }

    /// Revokes it with the account's key, or with its own where the CA refuses that of the account.
    async fn revoke(&mut self, certificate: &CertificateLeft) -> Result<Ended, Failure> {
        let trace = &mut Trace::new(self.clock);
        let leaf = &certificate.leaf_der;
        let own_key = CertificateKey::from_pkcs8(&certificate.key_pkcs8);
        let mut signer = key_of(&certificate.account).map(Signer::Account);
        let (mut answer, mut account_is_gone) = (Err(Failure::internal("it was not tried")), false);
        if let Ok(account) = signer.as_ref().copied() {
            self.pace.tick().await;
            answer = self.client.revoke(trace, account, leaf, None).await;
        }
        let refused = signer.is_err()
            || answer.as_ref().is_err_and(|failure| {
                failure.kind == FailureClass::Problem && !is(failure, "alreadyRevoked")
            });
        if refused && let Ok(key) = &own_key {
            account_is_gone = answer.as_ref().is_err_and(|failure| is(failure, "accountDoesNotExist"));
            signer = Ok(Signer::CertificateKey(key));
            self.pace.tick().await;
            answer = self.client.revoke(trace, Signer::CertificateKey(key), leaf, None).await;
        }
        match (answer, signer) {
            (Ok(()), Ok(signer)) if self.extent.verify => {
                self.pace.tick().await;
                match self.client.revoke(trace, signer, leaf, None).await {
                    Err(failure) if is(&failure, "alreadyRevoked") => Ok(Ended::Now),
                    Err(failure) => Err(failure),
                    Ok(()) => Err(not_so(
                        "it accepted the revocation of a certificate twice, and should have refused the second with alreadyRevoked",
                    )),
                }
            }
            (Ok(()), _) => Ok(Ended::Now),
            (Err(failure), _) => end_of_certificate(&failure, account_is_gone).ok_or(failure),
        }
    }

    /// Deactivates what is pending or valid of an order's authorizations (RFC 8555 §7.5.2). The order then is invalid:
    /// orders themselves cannot be deactivated.
    async fn close_order(&mut self, account: &Account, url: &str) -> Result<Ended, Failure> {
        let trace = &mut Trace::new(self.clock);
        self.pace.tick().await;
        let order = match self.client.order(trace, account, url).await {
            Ok(order) => order,
            Err(failure) if is_not_found(&failure) => {
                self.progress.close(url);
                self.succeeded(|done| done.orders_gone += 1);
                return Ok(Ended::Gone);
            }
            Err(failure) => return Err(failure),
        };
        for authorization in &order.authorizations {
            if !self.progress.is_closed(authorization) {
                self.close_authorization(trace, account, authorization).await?;
                self.progress.close(authorization);
            }
        }
        let is_open = |status: OrderStatus| matches!(status, OrderStatus::Pending | OrderStatus::Ready);
        if is_open(order.status) {
            self.pace.tick().await;
            let after = self.client.order(trace, account, url).await?.status;
            if is_open(after) {
                return Err(not_so(&format!(
                    "order {url} is {after:?} although its authorizations are deactivated"
                )));
            }
        }
        self.progress.close(url);
        self.succeeded(|done| done.orders += 1);
        Ok(Ended::Now)
    }

    async fn close_authorization(
        &mut self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<(), Failure> {
        self.pace.tick().await;
        match self.client.authorization(trace, account, url).await {
            Ok(found) if is_open(found.status) => {}
            Ok(_) => return Ok(()),
            Err(failure) if is_not_found(&failure) => return Ok(()),
            Err(failure) => return Err(failure),
        }
        self.pace.tick().await;
        // Its answer must have the status.
        self.client.deactivate_authorization(trace, account, url).await?;
        self.done.authorizations += 1;
        Ok(())
    }

    /// Ends the orders that only the CA knows, and then the account. None if the account is left as it is.
    async fn end_account(&mut self, owner: &AccountLeft) -> Result<Option<Ended>, Failure> {
        let account = key_of(owner)?;
        let trace = &mut Trace::new(self.clock);
        self.pace.tick().await;
        let before = match self.client.account(trace, account).await {
            // Some CAs show no status.
            Ok(before) if matches!(&*before.status, "" | "valid") => before,
            Ok(_) => return Ok(Some(Ended::Before)),
            Err(failure) => return end_of_account(&failure).map(Some).ok_or(failure),
        };
        if self.extent.authorizations
            && let Some(list) = before.orders
        {
            self.orders_at_the_ca(account, list).await?;
        }
        if !self.extent.accounts {
            return Ok(None);
        }
        self.pace.tick().await;
        self.client.deactivate_account(trace, account).await?;
        Ok(Some(Ended::Now))
    }

    /// The orders of the CA's own list (RFC 8555 §7.1.2.1): chains that were interrupted left some that the state lacks.
    async fn orders_at_the_ca(&mut self, account: &Account, list: String) -> Result<(), Failure> {
        let mut next = Some(list);
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { return Ok(()) };
            self.pace.tick().await;
            let page = match self.client.orders(&mut Trace::new(self.clock), account, &url).await {
                Ok(page) => page,
                Err(failure) if is_not_found(&failure) => return Ok(()),
                Err(failure) => return Err(failure),
            };
            for order in
                page.orders.iter().filter(|order| !self.progress.is_closed(order)).collect::<Vec<_>>()
            {
                self.close_order(account, order).await?;
            }
            next = page.next.filter(|next| *next != url);
        }
        Ok(())
    }

    fn succeeded(&mut self, count: impl FnOnce(&mut Done)) {
        count(&mut self.done);
        self.progress.failures_in_a_row = 0;
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// After many of them without a success.
    fn failed(&mut self, doing: &str, failure: &Failure) -> anyhow::Result<()> {
        // This command does not have that flag.
        let why = failure.message.replace(" (--max-retry-after)", "");
        self.done.failed += 1;
        self.progress.failures_in_a_row += 1;
        if self.done.first_failure.is_empty() {
            self.done.first_failure = format!("cannot {doing}: {why}");
        }
        if self.progress.failures_in_a_row >= MOST_FAILURES {
            bail!("{MOST_FAILURES} requests failed one after the other, the last: cannot {doing}: {why}");
        }
        Ok(())
    }
}

/// Whether an authorization can be deactivated.
const fn is_open(status: AuthorizationStatus) -> bool {
    matches!(status, AuthorizationStatus::Pending | AuthorizationStatus::Valid)
}

fn key_of(owner: &AccountLeft) -> Result<&Account, Failure> {
    owner
        .account
        .as_ref()
        .map_err(|why| Failure::internal(format!("the account's stored key is unusable: {why}")))
}

/// The CA answered with success, and did not do it.
fn not_so(what: &str) -> Failure {
    Failure::new(FailureClass::Malformed, format!("the CA did not do what it confirmed: {what}"))
}
