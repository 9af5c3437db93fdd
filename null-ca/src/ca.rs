//! The state of the CA, and a signed request for its handlers.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::blocked_keys::BlockedKeys;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::counters::{Counters, Counts};
use crate::faults::{Plan, Rules};
use crate::issuer::Issuer;
use crate::jws::Jws;
use crate::keys::PublicKey;
use crate::nonces::Nonces;
use crate::orders::Order;
use crate::reply::Problem;
use crate::ring::Ring;
use crate::seconds::Seconds;
use crate::validation::Validator;

/// The CA's state, shared by all threads and connections.
pub(crate) struct Ca {
    pub(crate) plan: Plan,
    pub(crate) counters: Counters,
    /// Requests by second, if they are written.
    pub(crate) seconds: Option<Seconds>,
    pub(crate) nonces: Nonces,
    pub(crate) accounts: Accounts,
    pub(crate) orders: Ring<Order>,
    pub(crate) certificates: Certificates,
    /// Keys that certificates may no longer have.
    pub(crate) blocked_keys: BlockedKeys,
    pub(crate) issuer: Issuer,
    pub(crate) validator: Validator,
    /// Running validations.
    pub(crate) validations: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    pub(crate) config: Config,
}

/// A signed request with a valid signature and nonce.
pub(crate) struct Call<'a> {
    /// Scheme, host and port that the client used; every URL in an answer begins with it.
    pub(crate) base: &'a str,
    pub(crate) url: &'a str,
    pub(crate) jws: Jws,
    pub(crate) signer: Signer,
    pub(crate) now: Instant,
}

pub(crate) enum Signer {
    Account {
        id: u64,
        key: Arc<PublicKey>,
    },
    /// A key in the request, for newAccount and revokeCert (RFC 8555 §6.2).
    Key(Arc<PublicKey>),
}

impl Call<'_> {
    pub(crate) fn account(&self) -> Result<u64, Problem> {
        match &self.signer {
            Signer::Account { id, .. } => Ok(*id),
            Signer::Key(_) => Err(Problem::malformed("this request is signed with a kid")),
        }
    }

    pub(crate) fn account_key(&self) -> Result<Arc<PublicKey>, Problem> {
        match &self.signer {
            Signer::Account { key, .. } => Ok(key.clone()),
            Signer::Key(_) => Err(Problem::malformed("this request is signed with a kid")),
        }
    }

    pub(crate) fn post_as_get(&self) -> Result<(), Problem> {
        match self.jws.is_post_as_get() {
            true => Ok(()),
            false => Err(Problem::malformed("POST-as-GET has an empty payload")),
        }
    }
}

impl Ca {
    pub(crate) fn new(
        issuer: Issuer,
        validator: Validator,
        seconds: Option<Seconds>,
        stop: CancellationToken,
        config: Config,
    ) -> Self {
        Self {
            plan: Plan::new(Rules {
                seed: config.seed,
                latencies: &config.latency,
                faults: &config.faults,
                stalls: &config.stalls,
                bad_nonce: config.bad_nonce,
                flaws: &config.wrong_certificates,
                validation: (config.validation.delay.clone(), config.validation.failures),
            })
            .serving(&config.serves),
            counters: Counters::default(),
            seconds,
            nonces: Nonces::new(config.keep.nonces),
            accounts: Accounts::new(config.keep.accounts),
            orders: Ring::new(config.keep.orders),
            certificates: Certificates::new(config.keep.certificates, config.keep.bodies),
            blocked_keys: BlockedKeys::new(config.keep.certificates),
            issuer,
            validator,
            validations: TaskTracker::new(),
            stop,
            started: Instant::now(),
            config,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.read(self.nonces.issued())
    }
}
