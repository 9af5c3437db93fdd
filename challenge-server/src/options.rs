//! The command line of the challenge server, and a standalone run of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use wec_record::Verdict;
use wec_store::{ChallengeReader, MemoryChallenges, RedisChallenges};

use crate::clock::Clock;
use crate::deliver::{Destination, deliver};
use crate::server::{ChallengeServer, Config, DohCertificate, DohConfig, Limits, ManagementConfig};

/// Hits waiting for the deliverer; it takes them every 100 ms.
const HITS_WAITING: usize = 1 << 14;

/// What the standalone challenge server is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where http-01 validations arrive: an address with port, or `off`
    #[arg(long, env = "WEC_HTTP01_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5002")]
    pub http01_listen: Listen,

    /// Where tls-alpn-01 validations arrive: an address with port, or `off`
    #[arg(long, env = "WEC_TLSALPN01_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5001")]
    pub tlsalpn01_listen: Listen,

    /// Where DNS queries arrive, UDP and TCP: an address with port, or `off`
    #[arg(long, env = "WEC_DNS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8053")]
    pub dns_listen: Listen,

    /// Where DNS over HTTPS arrives (`/dns-query`): an address with port, or `off`
    #[arg(long, env = "WEC_DOH_LISTEN", value_name = "ADDRESS", default_value = "off")]
    pub doh_listen: Listen,

    /// Certificate chain for DNS over HTTPS, PEM; without it one is made at the start
    #[arg(long, env = "WEC_DOH_CERT", value_name = "FILE", requires = "doh_key")]
    pub doh_cert: Option<PathBuf>,

    /// Key of that certificate, PEM
    #[arg(long, env = "WEC_DOH_KEY", value_name = "FILE", requires = "doh_cert")]
    pub doh_key: Option<PathBuf>,

    /// Speak plain HTTP on the DNS-over-HTTPS address
    #[arg(long, env = "WEC_DOH_PLAIN", conflicts_with_all = ["doh_cert", "doh_key"])]
    pub doh_plain: bool,

    /// Where the management API of pebble-challtestsrv is served: an address with port, or `off`
    #[arg(long, env = "WEC_MANAGEMENT_LISTEN", value_name = "ADDRESS", default_value = "off")]
    pub management_listen: Listen,

    /// Token that the management API requires, as `Authorization: Bearer`; needed beyond loopback
    #[arg(long, env = "WEC_MANAGEMENT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub management_token: Option<String>,

    /// Let the management API listen beyond loopback without a token: whoever reaches it decides what the CA sees
    #[arg(long, env = "WEC_MANAGEMENT_OPEN")]
    pub management_open: bool,

    /// What A queries for hosts are answered, or `none`
    #[arg(long, env = "WEC_DEFAULT_IPV4", value_name = "IPV4", default_value = "127.0.0.1")]
    pub default_ipv4: DefaultAddress<Ipv4Addr>,

    /// What AAAA queries for hosts are answered, or `none`
    #[arg(long, env = "WEC_DEFAULT_IPV6", value_name = "IPV6", default_value = "none")]
    pub default_ipv6: DefaultAddress<Ipv6Addr>,

    /// Where the challenge data is: redis://HOST[:PORT][/DATABASE], or `memory` for what the management API is told
    #[arg(
        long,
        env = "WEC_CHALLENGES",
        value_name = "STORE",
        default_value = "memory",
        hide_env_values = true
    )]
    pub challenges: String,

    /// Where hits are sent, http://HOST:PORT; without it they are only counted
    #[arg(long, env = "WEC_ANALYTICS", value_name = "URL")]
    pub analytics: Option<String>,

    /// Token of an analytics service that listens beyond loopback
    #[arg(long, env = "WEC_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// This node's name, as analytics shows it
    #[arg(long, env = "WEC_NODE", value_name = "NAME", default_value = "challenge-server")]
    pub node: String,
}

/// A listener's address, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            text => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                "expected an IP address with a port, such as 127.0.0.1:5002 or [::]:80, or off".into()
            }),
        }
    }
}

/// An address that hosts have unless something else is known, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultAddress<Address>(pub Option<Address>);

impl<Address: FromStr> FromStr for DefaultAddress<Address> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| "expected an IP address of this version, or none".into()),
        }
    }
}

/// Runs until `stop`, then delivers what is left.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let config = options.config()?;
    let analytics = options.analytics()?;
    let store = options.open_store().await?;
    let server = ChallengeServer::start(config, store, stop.clone()).await?;
    let addresses = server.addresses();
    tracing::info!(
        http01 = %shown(addresses.http01),
        tls_alpn01 = %shown(addresses.tls_alpn01),
        dns = %shown(addresses.dns),
        doh = %shown(addresses.doh),
        management = %shown(addresses.management),
        "challenge server listens"
    );

    let hits = Arc::clone(server.hits());
    let delivery = analytics.map(|analytics| {
        let destination = options.destination(analytics, server.clock());
        tokio::spawn(deliver(hits.stream(HITS_WAITING), destination, stop))
    });
    server.finish().await;
    if let Some(delivery) = delivery {
        delivery.await.context("delivering hits to analytics")?;
    }
    let counts = hits.counts();
    tracing::info!(
        answered = counts.with(Verdict::Answered),
        unknown = counts.with(Verdict::Unknown),
        store_failed = counts.with(Verdict::StoreFailed),
        refused = counts.with(Verdict::Refused),
        "challenge server stopped"
    );
    Ok(())
}

impl Options {
    fn config(&self) -> anyhow::Result<Config> {
        let listens = [self.http01_listen, self.tlsalpn01_listen, self.dns_listen, self.doh_listen];
        if listens.iter().all(|listen| listen.0.is_none()) {
            bail!("every challenge listener is off: there is nothing to do");
        }
        if self.challenges == "memory" && self.management_listen.0.is_none() {
            bail!(
                "nothing could ever be answered: name the store that the requester writes \
                 (--challenges redis://HOST) or open the management API (--management-listen ADDRESS)"
            );
        }
        let doh = match self.doh_listen.0 {
            Some(listen) => Some(DohConfig { listen, certificate: self.doh_certificate()? }),
            None => None,
        };
        let management = self.management_listen.0.map(|listen| ManagementConfig {
            listen,
            token: self.management_token.clone(),
            open: self.management_open,
        });
        Ok(Config {
            http01: self.http01_listen.0,
            tls_alpn01: self.tlsalpn01_listen.0,
            dns: self.dns_listen.0,
            doh,
            management,
            default_ipv4: self.default_ipv4.0,
            default_ipv6: self.default_ipv6.0,
            limits: Limits::default(),
        })
    }

    fn doh_certificate(&self) -> anyhow::Result<DohCertificate> {
        match (&self.doh_cert, &self.doh_key) {
            (Some(chain), Some(key)) => Ok(DohCertificate::Pem { chain: read(chain)?, key: read(key)? }),
            _ if self.doh_plain => Ok(DohCertificate::None),
            _ => Ok(DohCertificate::SelfSigned),
        }
    }

    fn analytics(&self) -> anyhow::Result<Option<Endpoint>> {
        let Some(url) = &self.analytics else { return Ok(None) };
        let unusable = || {
            format!("--analytics {url:?} is no URL of an analytics service, such as http://127.0.0.1:7070")
        };
        if !url.starts_with("http://") {
            bail!(unusable());
        }
        let analytics = Endpoint::from_shared(url.clone())
            .with_context(unusable)?
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        Ok(Some(analytics))
    }

    fn destination(&self, analytics: Endpoint, clock: Clock) -> Destination {
        Destination {
            analytics,
            sender: format!("{}-{:016x}", self.node, rand::random::<u64>()),
            node: self.node.clone(),
            token: self.token.clone().unwrap_or_default(),
            clock,
        }
    }

    async fn open_store(&self) -> anyhow::Result<Arc<dyn ChallengeReader>> {
        match self.challenges.as_str() {
            "memory" => Ok(Arc::new(MemoryChallenges::new())),
            url if url.starts_with("redis://") => Ok(Arc::new(RedisChallenges::connect(url).await?)),
            // It may hold a password: it is not repeated.
            _ => bail!("--challenges is neither memory nor redis://HOST[:PORT][/DATABASE]"),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".into(), |address| address.to_string())
}
