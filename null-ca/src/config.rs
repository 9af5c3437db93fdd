//! The settings with their defaults, and the check that reports all errors together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::endpoint::Endpoint;
use crate::faults::{FaultRule, FlawRule, Latency, LatencyRule, ServeRule, Share, Stall, Target};

/// The settings of the CA. Every field has a default; the defaults are a fast CA without faults on a free
/// port of loopback. Read from TOML or JSON; unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on; port 0 for a free one.
    pub listen: SocketAddr,
    /// HTTPS (TLS 1.3), or plain HTTP for calibration. RFC 8555 §6.1 requires HTTPS.
    pub tls: bool,
    /// Whether clients may also choose HTTP/2 over TLS.
    pub http2: bool,
    /// Names and addresses in the TLS certificate beside `localhost`, loopback and `listen`.
    pub names: Vec<String>,
    /// Number of serving threads, each with its own runtime.
    pub threads: NonZeroUsize,
    /// Whether signatures of requests and certification requests are verified. Everything else about them is
    /// always checked. Off only for calibration, where the CA must not be the limit: verifying costs some 60
    /// µs of CPU, the rest of a request 10.
    pub verify_signatures: bool,
    /// Seed of all random choices in latencies and faults.
    pub seed: u64,
    /// File for a line of JSON with the requests of each second; none to write none.
    pub seconds: Option<PathBuf>,
    /// Latency of the endpoints.
    pub latency: Vec<LatencyRule>,
    /// Faults and their shares.
    pub faults: Vec<FaultRule>,
    /// Requests per second that endpoints serve.
    pub serves: Vec<ServeRule>,
    /// Times without any answer.
    pub stalls: Vec<Stall>,
    /// Share of valid nonces that are refused.
    pub bad_nonce: Share,
    /// Retry-After of 429, of 503 and of orders that are still processing, seconds.
    pub retry_after: u32,
    /// How long an order is `processing` after finalize. Zero finalizes at once.
    #[serde(deserialize_with = "duration")]
    pub processing: Duration,
    /// How challenges are validated.
    pub validation: Validation,
    /// Certificates that are wrong on purpose.
    pub wrong_certificates: Vec<FlawRule>,
    /// Whether finalize refuses a key (`badPublicKey`) after a revocation that was signed with it, or that
    /// had the reason keyCompromise.
    pub block_keys: bool,
    /// If not empty, every new account must be bound to one of them (RFC 8555 §7.3.4).
    pub external_accounts: Vec<ExternalAccount>,
    /// Certificate profiles by name, each with a description. An order may name one of them; its certificate
    /// does not depend on it.
    pub profiles: BTreeMap<String, String>,
    /// Validity of a certificate.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
    /// The renewal information (ARI).
    pub renewal: Renewal,
    /// Numbers of entries that are kept.
    pub keep: Keep,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: true,
            http2: true,
            names: Vec::new(),
            threads: NonZeroUsize::MIN,
            verify_signatures: true,
            seed: 0,
            latency: Vec::new(),
            faults: Vec::new(),
            serves: Vec::new(),
            stalls: Vec::new(),
            bad_nonce: Share::default(),
            seconds: None,
            retry_after: 1,
            processing: Duration::ZERO,
            validation: Validation::default(),
            wrong_certificates: Vec::new(),
            block_keys: false,
            external_accounts: Vec::new(),
            profiles: BTreeMap::new(),
            lifetime: Duration::from_hours(90 * 24),
            renewal: Renewal::default(),
            keep: Keep::default(),
        }
    }
}

/// The name of the CA in TXT and CAA records.
pub(crate) const ISSUER_NAME: &str = "null-ca.test";

/// How challenges are validated. **A type without an address is accepted without validation**, which is the
/// default for all of them: such a CA issues to everybody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Delay before a validation. With zero, and without an address for the type, the challenge's POST
    /// decides.
    pub delay: Latency,
    /// Share of validations that fail on purpose.
    pub failures: Share,
    /// How long a validation waits for an answer. It is Boulder's time by default.
    #[serde(deserialize_with = "duration")]
    pub give_up: Duration,
    /// Retry-After, in seconds, of pending authorizations and processing challenges; none by default.
    pub retry_after: Option<u32>,
    /// Address from which http-01 responses of every name are fetched. Redirects are not followed.
    pub http01: Option<SocketAddr>,
    /// Address from which tls-alpn-01 certificates of every name are fetched, over TLS 1.3.
    pub tls_alpn01: Option<SocketAddr>,
    /// The DNS server for the dns-01 TXT records of every name, over UDP, and over TCP when an answer is
    /// truncated.
    pub dns01: Option<SocketAddr>,
    /// The DNS server for CAA records of names whose challenge has been validated; none to check none.
    pub caa: Option<SocketAddr>,
    /// Whether the challenge types of drafts are offered, too: dns-account-01 and dns-persist-01, validated as dns-01.
    pub drafts: bool,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            delay: Latency::default(),
            failures: Share::default(),
            give_up: Duration::from_secs(10),
            retry_after: None,
            http01: None,
            tls_alpn01: None,
            dns01: None,
            caa: None,
            drafts: false,
        }
    }
}

/// A key for external account binding: HS256, HS384 or HS512.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// The key's identifier.
    pub kid: String,
    /// The MAC key, in base64url without padding.
    #[serde(deserialize_with = "base64url")]
    pub hmac_key: Vec<u8>,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kid, hmac_key: _ } = self;
        f.debug_struct("ExternalAccount").field("kid", kid).finish_non_exhaustive()
    }
}

impl ExternalAccount {
    /// Reads `KID:KEY`, the key in base64url.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        // The value is a secret, so messages do not contain it.
        const FORM: &str = "not a key identifier and a base64url key; write KID:KEY";
        let (kid, key) = text.split_once(':').ok_or(FORM)?;
        let hmac_key = URL_SAFE_NO_PAD.decode(key).map_err(|_| FORM)?;
        Ok(Self { kid: kid.to_owned(), hmac_key })
    }
}

/// ARI (RFC 9773): when certificates should be renewed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Renewal {
    /// Time from issuance to the start of the suggested window. Zero: it starts at once.
    #[serde(deserialize_with = "duration")]
    pub opens_after: Duration,
    /// Length of the window.
    #[serde(deserialize_with = "duration")]
    pub open_for: Duration,
    /// Retry-After of the renewal information, in seconds.
    pub retry_after: u32,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { opens_after: Duration::ZERO, open_for: Duration::from_hours(48), retry_after: 6 * 3600 }
    }
}

/// Numbers of entries that are kept before the oldest is removed. An account takes about 400 bytes, an order
/// of one name 220, a certificate's status 130, its body 500, a nonce 8: some 200 MiB in total at the
/// defaults, and not more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Accounts.
    pub accounts: usize,
    /// Orders with their authorizations and challenges.
    pub orders: usize,
    /// Data of issued certificates for revocation and ARI.
    pub certificates: usize,
    /// Certificates that can still be downloaded.
    pub bodies: usize,
    /// Unused nonces. A client cannot collect more.
    pub nonces: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { accounts: 200_000, orders: 200_000, certificates: 400_000, bodies: 50_000, nonces: 131_072 }
    }
}

/// Invalid or contradictory settings, all together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the null CA's settings are not valid: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = Vec::new();
        for endpoint in Endpoint::ALL {
            let about = |target: Target| target == Target::All || target == Target::One(endpoint);
            let rules = self.faults.iter().filter(|rule| about(rule.target));
            let sum: f64 = rules.map(|rule| rule.share.value()).sum();
            if sum > 1.0 + f64::EPSILON {
                mistakes.push(format!(
                    "`faults` for {endpoint} add up to {:.1} % of its requests; keep them to 100 %",
                    sum * 100.0
                ));
            }
        }
        let sum: f64 = self.wrong_certificates.iter().map(|rule| rule.share.value()).sum();
        if sum > 1.0 + f64::EPSILON {
            mistakes.push(format!(
                "`wrong_certificates` add up to {:.1} % of the certificates; keep them to 100 %",
                sum * 100.0
            ));
        }
        let keep = [
            ("accounts", self.keep.accounts),
            ("orders", self.keep.orders),
            ("certificates", self.keep.certificates),
            ("bodies", self.keep.bodies),
            ("nonces", self.keep.nonces),
        ];
        for (name, kept) in keep {
            if kept == 0 {
                let flag = if name == "orders" { " (--keep-orders)" } else { "" };
                mistakes.push(format!("`keep.{name}`{flag} is 0; at least one must be kept"));
            }
        }
        if self.lifetime < Duration::from_secs(3600) {
            mistakes.push(format!(
                "`lifetime` is {}; a certificate needs at least 1h",
                humantime::format_duration(self.lifetime)
            ));
        }
        for name in self.profiles.keys() {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                mistakes.push(format!("profile {name:?}: a name has letters, digits, `-`, `_` and `.`"));
            }
        }
        if self.renewal.open_for.is_zero() {
            mistakes.push("`renewal.open_for` is 0s; a window must be longer than 0s".to_owned());
        }
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigError(mistakes)) }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::faults::duration(&text).map_err(serde::de::Error::custom)
}

fn base64url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The value is a secret, so the message does not contain it.
    let not = |_| serde::de::Error::custom("`hmac_key` is not base64url without padding");
    URL_SAFE_NO_PAD.decode(text).map_err(not)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, Flaw};

    #[test]
    fn reads_the_shipped_sample() {
        let sample = include_str!("../null-ca.example.toml");
        let config: Config = toml::from_str(sample).unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.listen.port(), 14443);
        assert_eq!(config.faults[1].fault, Fault::Reset);
        assert_eq!(config.serves[0].per_second, 50.0);
        assert_eq!(config.bad_nonce, "5%".parse().unwrap());
        assert_eq!(config.wrong_certificates[0].flaw, Flaw::WrongName);
        assert_eq!(config.external_accounts[0].hmac_key, b"secret");
        assert_eq!(config.processing, Duration::from_secs(2));
        assert_eq!(config.validation.failures, "0.02".parse().unwrap());
        assert_eq!(config.renewal.opens_after, Duration::from_hours(60 * 24));
        assert_eq!(config.keep.nonces, Keep::default().nonces);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        for text in ["latencies = []", "[validation]\nhttp = 1", "[keep]\nkeys = 1"] {
            let message = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(message.contains("unknown field"), "{message}");
        }
    }

    #[test]
    fn reports_every_contradiction_at_once() {
        let mut config = Config {
            faults: vec!["*=500:0.6".parse().unwrap(), "newOrder=429:0.6".parse().unwrap()],
            lifetime: Duration::from_secs(5),
            ..Config::default()
        };
        config.keep.orders = 0;
        let ConfigError(mistakes) = config.check().unwrap_err();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(mistakes[0].contains("newOrder"), "{mistakes:?}");
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let account = ExternalAccount::parse("kid-1:c2VjcmV0").unwrap();
        assert!(!format!("{account:?}").contains("c2VjcmV0"));
        assert!(!format!("{account:?}").contains("115"), "bytes of the key");
    }
}
