//! The command line of the challenge server, and a stand-alone run of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;
use wec_board::{
    BOARD_WITHIN, Board, BoardUrl, ClockKeeper, Membership, NodeId, NodeInfo, NodeKind, NodeState,
};
use wec_clock::Clock;
use wec_delivery::{GrpcOptions, GrpcSink, Health, Keep, Sink as _, SinkError, deliver_warnings};
use wec_node_stats::NodeStatsOptions;
use wec_pki::{Tls, TlsOptions};
use wec_record::Verdict;
use wec_startup::{Interrupted, Undisclosed, Warnings, parse_node_name, parse_service};
use wec_store::challenge::CaaRules;
use wec_store::{ChallengeReader, MemoryChallenges, RedisChallenges};

use crate::config::{Config, DohCertificate, DohConfig, ListenLimits, ManagementConfig};
use crate::deliver::deliver;
use crate::server::ChallengeServer;

/// Hits that wait to be passed on, which happens every 50 ms.
const HITS_WAITING: usize = 1 << 14;
/// About 20 MB of hits: some minutes of a fast CA while analytics cannot be reached.
const MOST_KEPT: usize = 1 << 17;
/// Time for analytics to take the rest after the last hit.
const FAREWELL: Duration = Duration::from_secs(5);

const VALIDATIONS: &str = "Validations";
const DOH: &str = "DNS over HTTPS";
const MANAGEMENT: &str = "Management API";
const ANSWERS: &str = "Answers";
const HITS: &str = "Delivery of hits";
const BOARD: &str = "Board";

/// Options of the stand-alone challenge server.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where http-01 validations arrive: an address with port, or off
    #[arg(long, env = "WEC_HTTP01_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:5002", help_heading = VALIDATIONS)]
    pub http01_listen: Listen,

    /// Where tls-alpn-01 validations arrive: an address with port, or off
    #[arg(long, env = "WEC_TLSALPN01_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:5001", help_heading = VALIDATIONS)]
    pub tlsalpn01_listen: Listen,

    /// Where DNS queries arrive, by UDP and TCP: an address with port, or off
    #[arg(long, env = "WEC_DNS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8053", help_heading = VALIDATIONS)]
    pub dns_listen: Listen,

    /// Where DNS over HTTPS arrives (/dns-query): an address with port, or off
    #[arg(long, env = "WEC_DOH_LISTEN", value_name = "ADDR", default_value = "off", help_heading = DOH)]
    pub doh_listen: Listen,

    /// PEM file with the certificate chain for DNS over HTTPS [default: one that is made at the start]
    #[arg(long, env = "WEC_DOH_CERT", value_name = "FILE", requires = "doh_key", help_heading = DOH)]
    pub doh_cert: Option<PathBuf>,

    /// PEM file with the key of --doh-cert
    #[arg(long, env = "WEC_DOH_KEY", value_name = "FILE", requires = "doh_cert", help_heading = DOH)]
    pub doh_key: Option<PathBuf>,

    /// Use plain HTTP on the address of DNS over HTTPS
    #[arg(long, env = "WEC_DOH_PLAIN", conflicts_with_all = ["doh_cert", "doh_key"], help_heading = DOH)]
    pub doh_plain: bool,

    /// Where the management API of pebble-challtestsrv listens: an address with port, or off
    #[arg(long, env = "WEC_MANAGEMENT_LISTEN", value_name = "ADDR", default_value = "off", help_heading = MANAGEMENT)]
    pub management_listen: Listen,

    /// Token for the management API (`Authorization: Bearer`), required beyond loopback
    #[arg(long, env = "WEC_MANAGEMENT_TOKEN", value_name = "SECRET", hide_env_values = true, help_heading = MANAGEMENT)]
    pub management_token: Option<String>,

    /// Let the management API listen beyond loopback without a token, although whoever reaches it controls the CA's
    /// validations
    #[arg(long, env = "WEC_MANAGEMENT_OPEN", help_heading = MANAGEMENT)]
    pub management_open: bool,

    /// The answer to A queries for hosts, or none
    #[arg(long, env = "WEC_DEFAULT_IPV4", value_name = "IPV4", default_value = "127.0.0.1", help_heading = ANSWERS)]
    pub default_ipv4: DefaultAddress<Ipv4Addr>,

    /// The answer to AAAA queries for hosts, or none
    #[arg(long, env = "WEC_DEFAULT_IPV6", value_name = "IPV6", default_value = "none", help_heading = ANSWERS)]
    pub default_ipv6: DefaultAddress<Ipv6Addr>,

    /// CAA records of all names: "issue ca.test; validationmethods=dns-01". A rule may have a share or a domain before
    /// it; | separates rules: "10% issue ; | deny.test issuewild ;" [default: none]
    #[arg(long, env = "WEC_CAA", value_name = "RULES", help_heading = ANSWERS)]
    pub caa: Option<CaaRules>,

    /// Where the challenge data is: redis://HOST[:PORT][/DATABASE], or memory for data from the management API only
    #[arg(
        long,
        env = "WEC_CHALLENGES",
        value_name = "WHERE",
        default_value = "memory",
        hide_env_values = true,
        value_parser = Undisclosed(parse_store),
        help_heading = ANSWERS
    )]
    pub challenges: String,

    /// Where hits are sent: http://HOST:PORT, or https:// with --tls-ca [default: nowhere, they are only counted]
    #[arg(long, env = "WEC_ANALYTICS", hide_env_values = true, value_name = "URL", value_parser = Undisclosed(parse_service), help_heading = HITS)]
    pub analytics: Option<String>,

    /// Token for analytics, required beyond loopback; prefer the environment, because other
    /// users can read the command line
    #[arg(long, env = "WEC_TOKEN", value_name = "SECRET", hide_env_values = true, help_heading = HITS)]
    pub token: Option<String>,

    /// This node's name in analytics
    #[arg(long, env = "WEC_NODE", value_name = "NAME", default_value = "challenge-server", value_parser = parse_node_name, help_heading = HITS)]
    pub node: String,

    /// The board on which this node is listed: sqlite://PATH on one machine, or etcd://HOST:PORT[,HOST:PORT…]
    #[arg(
        long,
        env = "WEC_BOARD",
        value_name = "URL",
        default_value = "local",
        hide_env_values = true,
        value_parser = Undisclosed(BoardUrl::parse),
        help_heading = BOARD
    )]
    pub board: BoardUrl,

    /// CPU, memory and disks of the nodes.
    #[command(flatten)]
    pub node_stats: NodeStatsOptions,

    /// TLS with other services.
    #[command(flatten)]
    pub tls: TlsOptions,
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

/// The default address of hosts, or none.
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

/// Runs until `stop`, then delivers the rest.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let config = options.config()?;
    if let Some(analytics) = &options.analytics {
        options.tls.check_server("analytics", analytics)?;
    }
    let store = options.open_store().await?;
    let tls = options.tls.load()?;
    let opening = options.board.clone().secured(&options.tls)?.open_at_start(BOARD_WITHIN);
    let board = stop.run_until_cancelled(opening).await.ok_or(Interrupted)??;
    let stats = options.node_stats.start(&options.tls, tls.as_ref()).await?;
    if let Some(stats) = &stats {
        stats.follow(&board);
    }
    let server = ChallengeServer::start(config, store, stop).await?;
    // Before the sink, which warns at once if analytics cannot be reached.
    let warnings = Warnings::gather();
    let sink = options.sink(server.clock(), tls)?;
    let address = stats.as_ref().map(|stats| stats.advertised().to_owned());
    let membership = options.join(&board, address).await?;
    // Requesters' times are the board's; joined with them, hits must be in the same time.
    let clock = membership.right().ends().then(|| board.keep_clock_of_all(&membership, server.clock()));
    let offset = clock.as_ref().map(ClockKeeper::offset);
    let ahead_ns = move || {
        let offset = offset.as_ref().and_then(|offset| *offset.borrow());
        offset.map_or(0, |offset| offset.ahead_ns)
    };
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
    let delivery = sink.map(|sink| {
        let stream = hits.stream(HITS_WAITING);
        tokio::spawn(async move {
            tokio::select! {
                () = deliver(stream, &sink, ahead_ns) => {}
                never = deliver_warnings(&warnings, &sink) => match never {},
            }
            sink.push_warnings(&warnings);
            sink.finish(FAREWELL).await
        })
    });
    server.finish().await;
    drop(clock);
    membership.leave().await;
    if let Some(stats) = stats {
        stats.finish().await;
    }
    board.close().await;
    if let Some(delivery) = delivery {
        let Health { queued, lost, .. } = delivery.await.context("delivering hits to analytics")?;
        if queued > 0 || lost > 0 {
            tracing::warn!(
                kept = queued,
                lost,
                "validation hits were not delivered: analytics did not acknowledge them"
            );
        }
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
                "no validation could be answered: name the store that the requester writes \
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
            caa: self.caa.clone().unwrap_or_default(),
            limits: ListenLimits::default(),
        })
    }

    fn doh_certificate(&self) -> anyhow::Result<DohCertificate> {
        match (&self.doh_cert, &self.doh_key) {
            (Some(chain), Some(key)) => Ok(DohCertificate::Pem { chain: read(chain)?, key: read(key)? }),
            _ if self.doh_plain => Ok(DohCertificate::None),
            _ => Ok(DohCertificate::SelfSigned),
        }
    }

    fn sink(&self, clock: Clock, tls: Option<Tls>) -> Result<Option<GrpcSink>, SinkError> {
        let Some(analytics) = self.analytics.clone() else { return Ok(None) };
        let options = GrpcOptions {
            analytics,
            token: self.token.clone(),
            tls,
            sender: format!("{}-{:016x}", self.node, rand::random::<u64>()),
            node: self.node.clone(),
            header: None,
            keep: Keep::Memory { entries: MOST_KEPT },
        };
        GrpcSink::start(options, clock).map(Some)
    }

    /// Puts this node on the board.
    async fn join(&self, board: &Board, stats: Option<String>) -> anyhow::Result<Membership> {
        let node = NodeId { stats, ..NodeId::new(self.node.clone()) };
        Ok(board.join(NodeInfo::new(&node, NodeKind::ChallengeServer, NodeState::Serving)).await?)
    }

    async fn open_store(&self) -> anyhow::Result<Arc<dyn ChallengeReader>> {
        match self.challenges.as_str() {
            "memory" => Ok(Arc::new(MemoryChallenges::new())),
            url => {
                self.tls.check_server("the challenge store", url)?;
                Ok(Arc::new(RedisChallenges::connect_with(url, self.tls.files().as_ref()).await?))
            }
        }
    }
}

/// It may contain a password, so a wrong one is not repeated.
fn parse_store(text: &str) -> Result<String, String> {
    let known = text == "memory" || text.starts_with("redis://") || text.starts_with("rediss://");
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "must be memory or redis://HOST[:PORT][/DATABASE]".to_owned())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".into(), |address| address.to_string())
}
