//! Answers that do not come from the challenge store: default addresses, and data from the management API.
//!
//! This keeps and finds data; [`crate::dns`] and [`crate::http01`] encode it.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wec_store::challenge::{CaaRule, CaaRules};

/// The answers that only this server has.
#[derive(Debug, Default)]
pub(crate) struct Records {
    data: RwLock<Data>,
}

/// Most entries of each kind: a bound for a client of the management API that never removes any.
pub(crate) const MOST_ENTRIES: usize = 1 << 17;

#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Answer to A if nothing more specific is known.
    pub(crate) default_ipv4: Option<Ipv4Addr>,
    /// Answer to AAAA if nothing more specific is known.
    pub(crate) default_ipv6: Option<Ipv6Addr>,
    /// Answers to CAA for names without records of their own.
    pub(crate) caa: CaaRules,
    /// By [`reversed`] name, so that a name's descendants come after it.
    names: BTreeMap<String, NameRecords>,
    /// http-01 key authorizations by token, whatever the host.
    pub(crate) tokens: HashMap<String, String>,
    /// Redirects by path.
    pub(crate) redirects: HashMap<String, String>,
    /// tls-alpn-01 digests by name.
    pub(crate) digests: HashMap<String, [u8; 32]>,
}

/// The records of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameRecords {
    pub(crate) a: Vec<Ipv4Addr>,
    pub(crate) aaaa: Vec<Ipv6Addr>,
    pub(crate) txt: Vec<String>,
    /// Tag and value.
    pub(crate) caa: Vec<(String, String)>,
    pub(crate) cname: Option<String>,
    /// Every query for the name fails.
    pub(crate) servfail: bool,
}

impl Records {
    pub(crate) fn new(default_ipv4: Option<Ipv4Addr>, default_ipv6: Option<Ipv6Addr>) -> Self {
        Self { data: RwLock::new(Data { default_ipv4, default_ipv6, ..Data::default() }) }
    }

    /// The same with these answers to CAA for names without records of their own.
    pub(crate) fn with_caa(self, caa: CaaRules) -> Self {
        self.write().caa = caa;
        self
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Data> {
        // Each change is a single insertion or removal, so a panic elsewhere leaves no half-made change.
        self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Data> {
        self.data.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Data {
    /// Records of `name` (lower case, no final dot).
    pub(crate) fn name(&self, name: &str) -> Option<&NameRecords> {
        if self.names.is_empty() {
            return None;
        }
        self.names.get(&reversed(name))
    }

    /// Changes the records of `name`; false if there is no room for another name.
    pub(crate) fn change(&mut self, name: &str, change: impl FnOnce(&mut NameRecords)) -> bool {
        let key = reversed(name);
        if self.names.len() >= MOST_ENTRIES && !self.names.contains_key(&key) {
            return false;
        }
        let records = self.names.entry(key.clone()).or_default();
        change(records);
        if *records == NameRecords::default() {
            self.names.remove(&key);
        }
        true
    }

    /// Whether `name` exists in the DNS: it has records, a descendant has (RFC 8020), or the defaults apply to it.
    pub(crate) fn exists(&self, name: &str) -> bool {
        if (self.default_ipv4.is_some() || self.default_ipv6.is_some()) && is_host(name) {
            return true;
        }
        if self.names.is_empty() {
            return false;
        }
        let key = reversed(name);
        self.names.contains_key(&key) || {
            let below = format!("{key}.");
            self.names.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
        }
    }

    /// The CAA records that rules give a host.
    pub(crate) fn caa_by_rule<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a CaaRule> {
        self.caa.of(name).filter(|_| is_host(name))
    }

    /// The default IPv4 address, for names of hosts.
    pub(crate) fn default_ipv4(&self, name: &str) -> Option<Ipv4Addr> {
        self.default_ipv4.filter(|_| is_host(name))
    }

    /// The default IPv6 address, for names of hosts.
    pub(crate) fn default_ipv6(&self, name: &str) -> Option<Ipv6Addr> {
        self.default_ipv6.filter(|_| is_host(name))
    }
}

/// Service names (`_acme-challenge.…`) and IP addresses are no host names.
fn is_host(name: &str) -> bool {
    !name.is_empty()
        && name.parse::<Ipv4Addr>().is_err()
        && !name.split('.').any(|label| label.starts_with('_'))
}

/// `test.example.www` for `www.example.test`.
fn reversed(name: &str) -> String {
    let mut reversed = String::with_capacity(name.len());
    for label in name.rsplit('.') {
        if !reversed.is_empty() {
            reversed.push('.');
        }
        reversed.push_str(label);
    }
    reversed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_exists_by_its_records_its_descendants_or_the_defaults() {
        let mut data = Data::default();
        assert!(data.change("_acme-challenge.a.example.test", |records| records.txt.push("v".into())));
        let table = [
            ("_acme-challenge.a.example.test", true),
            ("a.example.test", true),
            ("example.test", true),
            ("test", true),
            ("aa.example.test", false),
            ("b.example.test", false),
            ("_acme-challenge.b.example.test", false),
        ];
        for (name, exists) in table {
            assert_eq!(data.exists(name), exists, "{name} without defaults");
        }
        data.default_ipv4 = Some(Ipv4Addr::LOCALHOST);
        for (name, exists) in
            [("b.example.test", true), ("_acme-challenge.b.example.test", false), ("192.0.2.1", false)]
        {
            assert_eq!(data.exists(name), exists, "{name} with a default address");
        }
    }

    #[test]
    fn a_name_without_records_is_removed() {
        let mut data = Data::default();
        data.change("a.test", |records| records.servfail = true);
        data.change("a.test", |records| records.servfail = false);
        assert!(!data.exists("test"));
        assert!(data.names.is_empty());
    }
}
