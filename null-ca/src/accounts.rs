//! The accounts of the CA, with the lists of their orders.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::keys::PublicKey;
use crate::reply::{Kind, Problem};
use crate::ring::{Ring, lock};

pub(crate) struct Accounts {
    pub(crate) ring: Ring<Account>,
    /// Accounts by key. Locked while an account changes its key, so that two requests cannot give the same
    /// key to two accounts.
    by_key: Mutex<HashMap<Thumbprint, u64>>,
}

type Thumbprint = [u8; 32];

pub(crate) struct Account {
    key: Arc<PublicKey>,
    pub(crate) contact: Vec<String>,
    pub(crate) deactivated: bool,
    /// The newest orders, oldest first.
    orders: VecDeque<u64>,
    /// The newest authorizations without an order (RFC 8555 §7.4.1), oldest first.
    pre_authorizations: VecDeque<u64>,
}

/// Largest number of orders, or of authorizations without one, in an account's lists.
const MOST_ORDERS: usize = 500;

impl Account {
    pub(crate) fn json(&self, base: &str, id: u64) -> String {
        let status = if self.deactivated { "deactivated" } else { "valid" };
        let orders = format!("{base}/account/{id}/orders");
        json!({ "status": status, "contact": self.contact, "orders": orders }).to_string()
    }
}

impl Accounts {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ring: Ring::new(capacity), by_key: Mutex::default() }
    }

    /// The key of an account that is not deactivated.
    pub(crate) fn key(&self, id: u64) -> Result<Arc<PublicKey>, Problem> {
        match self.ring.with(id, |account| (account.key.clone(), account.deactivated)) {
            Some((key, false)) => Ok(key),
            Some((_, true)) => Err(Problem::new(Kind::Unauthorized, "the account is deactivated")),
            None => Err(unknown()),
        }
    }

    /// The account with this key, or a new one from `create`; `true` if it is new.
    pub(crate) fn find_or_create(
        &self,
        key: Arc<PublicKey>,
        create: impl FnOnce() -> Result<Vec<String>, Problem>,
    ) -> Result<(u64, bool), Problem> {
        let thumbprint = key.thumbprint();
        let mut by_key = lock(&self.by_key);
        if let Some(id) = by_key.get(&thumbprint) {
            return Ok((*id, false));
        }
        let contact = create()?;
        let id = self.ring.reserve();
        by_key.insert(thumbprint, id);
        if let Some(forgotten) = self.ring.put(
            id,
            Account {
                key,
                contact,
                deactivated: false,
                orders: VecDeque::new(),
                pre_authorizations: VecDeque::new(),
            },
        ) {
            by_key.remove(&forgotten.key.thumbprint());
        }
        Ok((id, true))
    }

    /// Adds an order to the account's list.
    pub(crate) fn note_order(&self, id: u64, order: u64) {
        self.ring.with(id, |account| push_newest(&mut account.orders, order));
    }

    /// Adds an authorization without an order, by the order under whose id it is kept.
    pub(crate) fn note_pre_authorization(&self, id: u64, order: u64) {
        self.ring.with(id, |account| push_newest(&mut account.pre_authorizations, order));
    }

    /// The account's authorizations without an order, the newest first.
    pub(crate) fn pre_authorizations(&self, id: u64) -> Vec<u64> {
        let newest = self.ring.with(id, |account| account.pre_authorizations.iter().rev().copied().collect());
        newest.unwrap_or_default()
    }

    /// The orders in the account's list, oldest first.
    pub(crate) fn orders(&self, id: u64) -> Vec<u64> {
        let mut orders = self.ring.with(id, |account| Vec::from_iter(account.orders.iter().copied()));
        // Two connections may have added theirs in the other order.
        orders.iter_mut().for_each(|orders| orders.sort_unstable());
        orders.unwrap_or_default()
    }

    /// Gives the account another key, unless that key already has an account.
    pub(crate) fn change_key(&self, base: &str, id: u64, new: PublicKey) -> Result<String, Problem> {
        let thumbprint = new.thumbprint();
        let mut by_key = lock(&self.by_key);
        if let Some(owner) = by_key.get(&thumbprint) {
            return Err(
                Problem::new(Kind::Conflict, "the key already has an account").at(account_url(base, *owner))
            );
        }
        let changed = self.ring.with(id, |account| {
            let old = std::mem::replace(&mut account.key, Arc::new(new));
            (old, account.json(base, id))
        });
        let (old, json) = changed.ok_or_else(unknown)?;
        by_key.remove(&old.thumbprint());
        by_key.insert(thumbprint, id);
        Ok(json)
    }
}

fn push_newest(list: &mut VecDeque<u64>, id: u64) {
    if list.len() == MOST_ORDERS {
        list.pop_front();
    }
    list.push_back(id);
}

pub(crate) fn unknown() -> Problem {
    Problem::new(Kind::AccountDoesNotExist, "there is no such account")
}

pub(crate) fn account_url(base: &str, id: u64) -> String {
    format!("{base}/account/{id}")
}
