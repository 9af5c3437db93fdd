//! The data with which the challenge server answers: traits for writing and reading it, and an implementation
//! in memory.
//!
//! The requester writes data before the CA validates and removes it some time later; the challenge server
//! only reads. Other implementations: [`RedisChallenges`] between processes, and [`ChallTestSrvWriter`] for a
//! CA that validates against its own challenge server.

mod apart;
mod caa;
mod challtestsrv;
mod detour;
mod fault;
mod redis;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wec_record::{ChallengeType, Listener};

pub use apart::DnsApart;
pub use caa::{CaaRule, CaaRules};
pub use challtestsrv::ChallTestSrvWriter;
pub use detour::{behind_redirect, delegated_name, detour, is_delegated};
pub use fault::ValidationFault;
pub use redis::RedisChallenges;

/// The result of the traits' methods. Their futures are boxed, because the traits are used as objects.
pub use wec_acme::transport::BoxFuture;

/// Stores challenge data before a validation and removes it afterwards.
pub trait ChallengeWriter: Send + Sync {
    /// Stores `challenge`. When this returns, the challenge server can read it.
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>>;

    /// Removes `challenge`; no error if it does not exist. Other data of the same name stays.
    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>>;
}

/// Reads for the challenge server. Names are lower case, without a final dot and without `_acme-challenge.`.
pub trait ChallengeReader: Send + Sync {
    /// The key authorization for `token` at `name` (RFC 8555 §8.3).
    fn http01<'a>(
        &'a self,
        name: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ChallengeStoreError>>;

    /// The SHA-256 digest of the key authorization for `name` (RFC 8737 §3).
    fn tls_alpn01<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<[u8; 32]>, ChallengeStoreError>>;

    /// The TXT values at `_acme-challenge.<name>` (RFC 8555 §8.4), several while validations of a name overlap.
    fn dns01<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ChallengeStoreError>>;
}

/// The data of one challenge of the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeData {
    /// The challenge's type.
    pub kind: ChallengeType,
    /// The identifier: a domain name without `*.`, or an IP address as text.
    pub name: String,
    /// The CA's token; for dns-account-01 the [`account_label`].
    pub token: String,
    /// `token.thumbprint` (RFC 8555 §8.1), for dns-persist-01 the TXT record; or a [`ValidationFault`], or a [`detour()`].
    pub key_authorization: String,
}

impl ChallengeData {
    /// The name in stores: lower case, without a final dot. Names of the drafts' types are those of their TXT records.
    pub fn stored_name(&self) -> String {
        let name = self.name.trim_end_matches('.').to_ascii_lowercase();
        match self.kind {
            ChallengeType::DnsAccount01 => format!("{}.{DNS01_LABEL}.{name}", self.token),
            ChallengeType::DnsPersist01 => format!("{PERSIST_LABEL}.{name}"),
            ChallengeType::Http01 | ChallengeType::Dns01 | ChallengeType::TlsAlpn01 => name,
        }
    }

    /// SHA-256 of the key authorization, as in the certificate for tls-alpn-01.
    pub fn digest(&self) -> [u8; 32] {
        let hash = digest(&SHA256, self.key_authorization.as_bytes());
        hash.as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
    }

    /// The value of the TXT record: the digest in base64url, for dns-persist-01 the record itself.
    pub fn txt_value(&self) -> String {
        let is_fault = ValidationFault::of_key_authorization(&self.key_authorization).is_some();
        match self.kind {
            ChallengeType::DnsPersist01 if !is_fault => self.key_authorization.clone(),
            ChallengeType::DnsPersist01
            | ChallengeType::Dns01
            | ChallengeType::DnsAccount01
            | ChallengeType::Http01
            | ChallengeType::TlsAlpn01 => URL_SAFE_NO_PAD.encode(self.digest()),
        }
    }
}

/// The label before the names of dns-01 (RFC 8555 §8.4).
pub const DNS01_LABEL: &str = "_acme-challenge";
/// The label before the names of dns-persist-01.
pub const PERSIST_LABEL: &str = "_validation-persist";

/// The label of an account in the names of dns-account-01: the first ten octets of the SHA-256 of its URL, in base32.
pub fn account_label(account_url: &str) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = digest(&SHA256, account_url.as_bytes());
    // 80 bits are 16 digits of 5 bits.
    let bits = hash.as_ref()[..10].iter().fold(0_u128, |bits, octet| bits << 8 | u128::from(*octet));
    let digits = (0..16).rev().map(|place| char::from(DIGITS[(bits >> (5 * place) & 31) as usize]));
    std::iter::once('_').chain(digits).collect()
}

/// An error of a challenge store.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeStoreError {
    /// The store's URL is invalid.
    #[error(
        "challenge store URL {url:?} is not valid: {reason}; use redis://host[:port][/database] for Redis, or http://host:port for the management API of a challtestsrv"
    )]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store did not answer, or answered with an error.
    #[error("challenge store {store} failed: {reason}; check that it runs and that its URL is right")]
    Unavailable {
        /// Its URL without credentials.
        store: String,
        /// The error of the store or of the connection.
        reason: String,
    },
    /// Our own machine refused before the store could be reached.
    #[error("challenge store {store} could not be reached: {reason}; this machine refused, not the store")]
    Local {
        /// Its URL without credentials.
        store: String,
        /// The system's error.
        reason: String,
    },
    /// The in-process map is at its limit.
    #[error("{what} are stored for {name:?} already, no more are accepted; remove old challenges")]
    Full {
        /// The name whose data was refused.
        name: String,
        /// The limit reached.
        what: String,
    },
}

/// Challenge data in this process: both the writer and the reader of an all-in-one run.
///
/// Sharded by name, so that validations on several threads rarely share a lock.
#[derive(Debug)]
pub struct MemoryChallenges {
    shards: [Mutex<HashMap<String, Stored>>; SHARDS],
    hasher: RandomState,
}

const SHARDS: usize = 16;
/// With 16 shards about a million names: far more than any run, and a bound for a client that never removes
/// data.
const MOST_NAMES_IN_A_SHARD: usize = 1 << 16;
const MOST_VALUES_OF_A_NAME: usize = 256;

/// The data of one name.
#[derive(Debug, Default)]
struct Stored {
    /// Token and key authorization.
    http01: Vec<(String, String)>,
    tls_alpn01: Option<[u8; 32]>,
    dns01: Vec<String>,
}

impl Default for MemoryChallenges {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryChallenges {
    /// An empty store.
    pub fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// Number of names with data.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, HashMap<String, Stored>> {
        lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS])
    }

    fn insert(&self, challenge: &ChallengeData) -> Result<(), ChallengeStoreError> {
        let name = challenge.stored_name();
        let mut shard = self.shard(&name);
        if shard.len() >= MOST_NAMES_IN_A_SHARD && !shard.contains_key(&name) {
            let what = format!("challenges of {} names", SHARDS * MOST_NAMES_IN_A_SHARD);
            return Err(ChallengeStoreError::Full { name, what });
        }
        let stored = shard.entry(name).or_default();
        let fits = match challenge.kind.listener() {
            Listener::Http => put_token(&mut stored.http01, challenge),
            Listener::Tls => {
                stored.tls_alpn01 = Some(challenge.digest());
                true
            }
            Listener::Dns => put_value(&mut stored.dns01, challenge.txt_value()),
        };
        if fits {
            return Ok(());
        }
        let what = format!("{MOST_VALUES_OF_A_NAME} challenges of one type");
        Err(ChallengeStoreError::Full { name: challenge.stored_name(), what })
    }

    fn forget(&self, challenge: &ChallengeData) {
        let name = challenge.stored_name();
        let mut shard = self.shard(&name);
        let Some(stored) = shard.get_mut(&name) else { return };
        match challenge.kind.listener() {
            Listener::Http => stored.http01.retain(|(token, _)| *token != challenge.token),
            // A later challenge of the same name may have replaced it.
            Listener::Tls => {
                stored.tls_alpn01 = stored.tls_alpn01.filter(|digest| *digest != challenge.digest());
            }
            Listener::Dns => {
                let value = challenge.txt_value();
                stored.dns01.retain(|stored| *stored != value);
            }
        }
        if stored.http01.is_empty() && stored.tls_alpn01.is_none() && stored.dns01.is_empty() {
            shard.remove(&name);
        }
    }
}

fn put_token(tokens: &mut Vec<(String, String)>, challenge: &ChallengeData) -> bool {
    if let Some((_, stored)) = tokens.iter_mut().find(|(token, _)| *token == challenge.token) {
        stored.clone_from(&challenge.key_authorization);
        return true;
    }
    let fits = tokens.len() < MOST_VALUES_OF_A_NAME;
    if fits {
        tokens.push((challenge.token.clone(), challenge.key_authorization.clone()));
    }
    fits
}

fn put_value(values: &mut Vec<String>, value: String) -> bool {
    if values.contains(&value) {
        return true;
    }
    let fits = values.len() < MOST_VALUES_OF_A_NAME;
    if fits {
        values.push(value);
    }
    fits
}

fn lock(shard: &Mutex<HashMap<String, Stored>>) -> MutexGuard<'_, HashMap<String, Stored>> {
    // A change is never partial, so a panic elsewhere leaves valid data.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChallengeWriter for MemoryChallenges {
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(std::future::ready(self.insert(challenge)))
    }

    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.forget(challenge);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl ChallengeReader for MemoryChallenges {
    fn http01<'a>(
        &'a self,
        name: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ChallengeStoreError>> {
        let found = self.shard(name).get(name).and_then(|stored| {
            stored.http01.iter().find(|(stored, _)| stored == token).map(|(_, answer)| answer.clone())
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn tls_alpn01<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<[u8; 32]>, ChallengeStoreError>> {
        let found = self.shard(name).get(name).and_then(|stored| stored.tls_alpn01);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn dns01<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ChallengeStoreError>> {
        let found = self.shard(name).get(name).map(|stored| stored.dns01.clone()).unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(kind: ChallengeType, token: &str) -> ChallengeData {
        ChallengeData {
            kind,
            name: "Example.Test.".into(),
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
        }
    }

    #[tokio::test]
    async fn keeps_each_type_of_a_name_separate_and_removes_only_what_is_named() {
        let store = MemoryChallenges::new();
        let kinds = [ChallengeType::Http01, ChallengeType::Dns01, ChallengeType::TlsAlpn01];
        for kind in kinds {
            store.put(&challenge(kind, "a")).await.unwrap();
            store.put(&challenge(kind, "b")).await.unwrap();
        }
        let name = "example.test";
        assert_eq!(store.http01(name, "a").await.unwrap().as_deref(), Some("a.thumb"));
        assert_eq!(store.http01(name, "c").await.unwrap(), None);
        let values = [challenge(ChallengeType::Dns01, "a"), challenge(ChallengeType::Dns01, "b")]
            .map(|data| data.txt_value());
        assert_eq!(store.dns01(name).await.unwrap(), values);
        let newest = challenge(ChallengeType::TlsAlpn01, "b").digest();
        assert_eq!(store.tls_alpn01(name).await.unwrap(), Some(newest));

        for kind in kinds {
            store.remove(&challenge(kind, "a")).await.unwrap();
        }
        assert_eq!(store.http01(name, "a").await.unwrap(), None);
        assert_eq!(store.http01(name, "b").await.unwrap().as_deref(), Some("b.thumb"));
        assert_eq!(store.dns01(name).await.unwrap(), values[1..]);
        assert_eq!(store.tls_alpn01(name).await.unwrap(), Some(newest), "the newer challenge stays");

        for kind in kinds {
            store.remove(&challenge(kind, "b")).await.unwrap();
        }
        assert!(store.is_empty(), "an entry without data is removed");
    }

    #[tokio::test]
    async fn a_writer_that_never_removes_is_refused_at_the_bound() {
        let store = MemoryChallenges::new();
        for token in 0..MOST_VALUES_OF_A_NAME {
            store.put(&challenge(ChallengeType::Dns01, &token.to_string())).await.unwrap();
        }
        let error = store.put(&challenge(ChallengeType::Dns01, "more")).await.unwrap_err();
        assert!(error.to_string().contains("example.test"), "{error}");
    }

    #[tokio::test]
    async fn the_records_of_the_drafts_have_names_of_their_own() {
        let account = ChallengeData {
            token: account_label("https://example.com/acme/acct/ExampleAccount"),
            ..challenge(ChallengeType::DnsAccount01, "a")
        };
        // The example of draft-ietf-acme-dns-account-label.
        assert_eq!(account.stored_name(), "_ujmmovf2vn55tgye._acme-challenge.example.test");
        let persist = ChallengeData {
            key_authorization: "ca.test; accounturi=https://ca.test/1".to_owned(),
            ..challenge(ChallengeType::DnsPersist01, "")
        };
        assert_eq!(persist.stored_name(), "_validation-persist.example.test");
        let store = MemoryChallenges::new();
        for data in [&account, &persist, &challenge(ChallengeType::Dns01, "b")] {
            store.put(data).await.unwrap();
        }
        assert_eq!(
            store.dns01(&persist.stored_name()).await.unwrap(),
            ["ca.test; accounturi=https://ca.test/1"]
        );
        assert_eq!(store.dns01(&account.stored_name()).await.unwrap(), [account.txt_value()]);
        assert_eq!(store.dns01("example.test").await.unwrap().len(), 1);
        let fault = ValidationFault::Servfail;
        let faulty = ChallengeData { key_authorization: fault.key_authorization(), ..persist };
        assert_eq!(ValidationFault::of_txt_value(&faulty.txt_value()), Some(fault));
    }

    #[test]
    fn txt_value_is_the_digest_of_the_key_authorization() {
        // As computed by `openssl dgst -sha256 -binary` for "a.thumb".
        let data = challenge(ChallengeType::Dns01, "a");
        assert_eq!(data.txt_value(), "-ld-JA6QofIPORAjyxRy54vHxcJDoq0J6dBiW3UP4fY");
    }
}
