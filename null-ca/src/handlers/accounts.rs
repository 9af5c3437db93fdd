//! newAccount, the account resource, its list of orders, and keyChange (RFC 8555 §7.3).

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::accounts::{account_url, unknown};
use crate::ca::{Ca, Call, Signer};
use crate::jws::Jws;
use crate::keys::PublicKey;
use crate::reply::{Kind, Problem, Reply};

/// Orders on one page of the list.
const ORDERS_ON_A_PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    #[serde(default)]
    contact: Vec<String>,
    #[serde(default)]
    only_return_existing: bool,
    external_account_binding: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct AccountUpdate {
    contact: Option<Vec<String>>,
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange {
    account: String,
    old_key: crate::keys::Jwk,
}

impl Ca {
    pub(crate) fn new_account(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let Signer::Key(key) = &call.signer else {
            return Err(Problem::malformed("newAccount is signed with a jwk"));
        };
        let asked: NewAccount = call.jws.read()?;
        let (id, created) = self.accounts.find_or_create(key.clone(), || {
            if asked.only_return_existing {
                return Err(Problem::new(
                    Kind::AccountDoesNotExist,
                    "no account has this key, and onlyReturnExisting is set",
                ));
            }
            check_contact(&asked.contact)?;
            self.check_binding(asked.external_account_binding.as_deref(), key, call.url)?;
            Ok(asked.contact)
        })?;
        // Also refuses a deactivated account (RFC 8555 §7.3.6).
        self.accounts.key(id)?;
        let json = self.accounts.ring.with(id, |account| account.json(call.base, id)).ok_or_else(unknown)?;
        if created {
            self.counters.accounts.add();
        }
        let status = if created { 201 } else { 200 };
        Ok(Reply::json(status, json).at(account_url(call.base, id)))
    }

    /// Reads or updates an account (RFC 8555 §7.3.2), or deactivates it (§7.3.6).
    pub(crate) fn account(&self, call: &Call<'_>, id: u64) -> Result<Reply, Problem> {
        let signer = call.account()?;
        if signer != id {
            return Err(Problem::new(Kind::Unauthorized, "the account belongs to another key"));
        }
        let update = if call.jws.is_post_as_get() {
            AccountUpdate { contact: None, status: None }
        } else {
            call.jws.read()?
        };
        if let Some(contact) = &update.contact {
            check_contact(contact)?;
        }
        let deactivate = match update.status.as_deref() {
            None | Some("valid") => false,
            Some("deactivated") => true,
            Some(other) => {
                return Err(Problem::malformed(format!("an account cannot become `{other}`")));
            }
        };
        let json = self.accounts.ring.with(id, |account| {
            account.deactivated |= deactivate;
            if let Some(contact) = update.contact {
                account.contact = contact;
            }
            account.json(call.base, id)
        });
        Ok(Reply::json(200, json.ok_or_else(unknown)?))
    }

    /// The account's orders that are not invalid (RFC 8555 §7.1.2.1), a page at a time.
    pub(crate) fn account_orders(
        &self,
        call: &Call<'_>,
        id: u64,
        after: Option<u64>,
    ) -> Result<Reply, Problem> {
        call.post_as_get()?;
        if call.account()? != id {
            return Err(Problem::new(Kind::Unauthorized, "the account belongs to another key"));
        }
        let orders = self.accounts.orders(id).into_iter();
        let mut orders = orders.filter(|order| after.is_none_or(|after| *order > after));
        let mut page: Vec<u64> =
            orders.by_ref().filter(|order| !self.order_is_void(*order)).take(ORDERS_ON_A_PAGE + 1).collect();
        let next = (page.len() > ORDERS_ON_A_PAGE).then(|| {
            page.pop();
            format!("{}/account/{id}/orders/{}", call.base, page.last().copied().unwrap_or_default())
        });
        let urls: Vec<_> = page.iter().map(|order| format!("{}/order/{order}", call.base)).collect();
        Ok(Reply { next, ..Reply::json(200, json!({ "orders": urls }).to_string()) })
    }

    /// Account key rollover (RFC 8555 §7.3.5): a JWS signed with the new key inside one signed with the old
    /// key.
    pub(crate) fn key_change(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let id = call.account()?;
        let inner = Jws::parse(&call.jws.payload)?;
        let jwk = inner.header.jwk.as_ref();
        let jwk = jwk.ok_or_else(|| Problem::malformed("the inner JWS has no jwk"))?;
        let new = PublicKey::from_jwk(jwk)?;
        inner.check_algorithm(&new)?;
        if self.config.verify_signatures {
            inner.verify(&new)?;
        }
        if inner.header.nonce.is_some() {
            return Err(Problem::malformed("the inner JWS has a nonce"));
        }
        if inner.header.url.as_deref() != Some(call.url) {
            return Err(Problem::malformed("the inner JWS's url is not the outer one's"));
        }
        let change: KeyChange = inner.read()?;
        if change.account != account_url(call.base, id) {
            return Err(Problem::malformed("the inner JWS names another account"));
        }
        if PublicKey::from_jwk(&change.old_key)? != *self.accounts.key(id)? {
            return Err(Problem::malformed("the inner JWS's oldKey is not the account's key"));
        }
        Ok(Reply::json(200, self.accounts.change_key(call.base, id, new)?))
    }

    fn check_binding(&self, binding: Option<&RawValue>, key: &PublicKey, url: &str) -> Result<(), Problem> {
        let known = &self.config.external_accounts;
        let binding = match binding {
            Some(binding) if !known.is_empty() => Jws::parse(binding.get().as_bytes())?,
            None if !known.is_empty() => {
                return Err(Problem::new(
                    Kind::ExternalAccountRequired,
                    "accounts need an external account binding here",
                ));
            }
            // RFC 8555 §7.3.4: a server that does not require bindings may ignore them.
            _ => return Ok(()),
        };
        let kid = binding.header.kid.as_deref();
        let account = known.iter().find(|account| Some(account.kid.as_str()) == kid);
        let account = account.ok_or_else(|| {
            Problem::new(Kind::Unauthorized, "the external account binding's kid is unknown")
        })?;
        binding.verify_mac(&account.hmac_key)?;
        if binding.header.nonce.is_some() {
            return Err(Problem::malformed("the external account binding has a nonce"));
        }
        if binding.header.url.as_deref() != Some(url) {
            return Err(Problem::malformed("the external account binding's url is not newAccount's"));
        }
        if PublicKey::from_jwk(&binding.read()?)? != *key {
            return Err(Problem::malformed("the external account binding is for another key"));
        }
        Ok(())
    }
}

fn check_contact(contact: &[String]) -> Result<(), Problem> {
    let strange = contact
        .iter()
        .find(|contact| contact.strip_prefix("mailto:").is_none_or(|address| !address.contains('@')));
    match strange {
        None => Ok(()),
        Some(contact) => Err(Problem::new(
            Kind::UnsupportedContact,
            format!("contact `{contact}` is not a mailto: address"),
        )),
    }
}
