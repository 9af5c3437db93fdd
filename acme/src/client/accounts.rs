//! Requests about an account that exists (RFC 8555 §7.1.2.1, §7.3.2, §7.3.5, §7.3.6), and about authorizations
//! without an order (§7.4.1, §7.5.2).

use std::sync::Arc;

use serde::Serialize;
use wec_record::Identifier;

use super::Client;
use super::requests::{json, location, payload};
use super::retries::{Step, by};
use crate::account::{Account, AccountInfo, OrdersPage};
use crate::authorization::{Authorization, AuthorizationStatus};
use crate::endpoint::Endpoint;
use crate::exchange::Trace;
use crate::failure::Failure;
use crate::jws::{self, Header, Identity};
use crate::key::AccountKey;
use crate::link;

impl Client {
    /// The account as the CA shows it (RFC 8555 §7.3.3).
    ///
    /// # Errors
    /// The request's failure.
    pub async fn account(&self, trace: &mut Trace, account: &Account) -> Result<AccountInfo, Failure> {
        let step = Step::new(Endpoint::Account, &account.url, &[200]);
        self.signed(trace, step, by(account, b""), json).await
    }

    /// Replaces an account's contacts (RFC 8555 §7.3.2): URLs such as `mailto:…`.
    ///
    /// # Errors
    /// The request's failure; [`crate::FailureClass::Malformed`] if the answer lists other contacts. CAs that do not
    /// store contacts list none.
    pub async fn update_contact(
        &self,
        trace: &mut Trace,
        account: &Account,
        contact: &[String],
    ) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Update<'a> {
            contact: &'a [String],
        }
        let payload = payload(&Update { contact })?;
        let step = Step::new(Endpoint::Account, &account.url, &[200]);
        self.signed(trace, step, by(account, &payload), |client, attempt, response| {
            let info: AccountInfo = json(client, attempt, response)?;
            if info.contact.is_empty() || info.contact == contact {
                return Ok(());
            }
            let what = format_args!("the contacts {:?} after an update to {contact:?}", info.contact);
            Err(attempt.malformed(response, what))
        })
        .await
    }

    /// Deactivates an account (RFC 8555 §7.3.6): the CA refuses all its further requests.
    ///
    /// # Errors
    /// The request's failure; [`crate::FailureClass::Malformed`] if the answer has another status.
    pub async fn deactivate_account(&self, trace: &mut Trace, account: &Account) -> Result<(), Failure> {
        let step = Step::new(Endpoint::Account, &account.url, &[200]);
        let payload = br#"{"status":"deactivated"}"#;
        self.signed(trace, step, by(account, payload), |client, attempt, response| {
            let info: AccountInfo = json(client, attempt, response)?;
            match info.status.as_str() {
                "" | "deactivated" => Ok(()),
                status => {
                    Err(attempt.malformed(response, format_args!("an account that is still {status:?}")))
                }
            }
        })
        .await
    }

    /// Gives an account another key (RFC 8555 §7.3.5). Returns the account with it.
    ///
    /// # Errors
    /// The request's failure; [`crate::FailureClass::Internal`] if the directory has no keyChange.
    pub async fn change_key(
        &self,
        trace: &mut Trace,
        account: &Account,
        new: &Arc<AccountKey>,
    ) -> Result<Account, Failure> {
        let url = resource("keyChange", self.ca.directory.key_change.as_ref())?;
        let mut inner = br#"{"account":"#.to_vec();
        jws::push_string(&mut inner, &account.url);
        inner.extend_from_slice(br#","oldKey":"#);
        inner.extend_from_slice(account.key.signing().jwk().as_bytes());
        inner.push(b'}');
        let header = Header { identity: Identity::Key, nonce: None, url };
        let payload = jws::sign(new.signing(), header, &inner)?;
        let step = Step::new(Endpoint::KeyChange, url, &[200]);
        self.signed(trace, step, by(account, &payload), |_, _, _| Ok(())).await?;
        Ok(Account { url: account.url.clone(), key: Arc::clone(new) })
    }

    /// A part of the list of an account's orders (RFC 8555 §7.1.2.1); `url` is [`AccountInfo::orders`] or
    /// [`OrdersPage::next`].
    ///
    /// # Errors
    /// The request's failure.
    pub async fn orders(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<OrdersPage, Failure> {
        let step = Step::new(Endpoint::Orders, url, &[200]);
        self.signed(trace, step, by(account, b""), |client, attempt, response| {
            let page: OrdersPage = json(client, attempt, response)?;
            let next = link::targets(&response.headers, "next").next();
            let next = next.map(|next| attempt.absolute(response, next)).transpose()?;
            Ok(OrdersPage { next, ..page })
        })
        .await
    }

    /// newAuthz (RFC 8555 §7.4.1): an authorization before there is an order. Returns its URL, too.
    ///
    /// # Errors
    /// The request's failure; [`crate::FailureClass::Internal`] if the directory has no newAuthz.
    pub async fn new_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        name: &str,
    ) -> Result<(String, Authorization), Failure> {
        #[derive(Serialize)]
        struct NewAuthorization {
            identifier: Identifier,
        }
        let url = resource("newAuthz", self.ca.directory.new_authz.as_ref())?;
        let payload = payload(&NewAuthorization { identifier: Identifier::of(name) })?;
        let step = Step::new(Endpoint::NewAuthz, url, &[201, 200]);
        self.signed(trace, step, by(account, &payload), |client, attempt, response| {
            let authorization: Authorization = json(client, attempt, response)?;
            let url = location(attempt, response)?;
            Ok((url, Authorization { retry_after: client.retry_after(response), ..authorization }))
        })
        .await
    }

    /// Deactivates an authorization (RFC 8555 §7.5.2).
    ///
    /// # Errors
    /// The request's failure; [`crate::FailureClass::Malformed`] if the answer has another status.
    pub async fn deactivate_authorization(
        &self,
        trace: &mut Trace,
        account: &Account,
        url: &str,
    ) -> Result<(), Failure> {
        let step = Step::new(Endpoint::Authorization, url, &[200]);
        let payload = br#"{"status":"deactivated"}"#;
        self.signed(trace, step, by(account, payload), |client, attempt, response| {
            let authorization: Authorization = json(client, attempt, response)?;
            match authorization.status {
                AuthorizationStatus::Deactivated => Ok(()),
                status => {
                    Err(attempt
                        .malformed(response, format_args!("an authorization that is still {status:?}")))
                }
            }
        })
        .await
    }
}

/// The URL of a resource that not every CA has.
fn resource<'a>(name: &str, url: Option<&'a String>) -> Result<&'a str, Failure> {
    url.map(String::as_str).ok_or_else(|| Failure::internal(format!("{name} is not in the CA's directory")))
}
