//! The flags, and `wec consumer` from start to end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use wec_outbound::Endpoint;
use wec_startup::{Exit, Token, Undisclosed, say, show};

use crate::influx::{Influx, Login};
use crate::job::Times;
use crate::service::{Config, Consumer};

const DATABASE: &str = "InfluxDB";
const EXPORT: &str = "Export";

/// Options of a process that reports its runs to a consumer.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClientOptions {
    /// Report the run to the consumer at this URL, which writes it into InfluxDB (docs/exports.md)
    #[arg(long, env = "WEC_CONSUMER", hide_env_values = true, hide_short_help = true, value_name = "URL", value_parser = Undisclosed(Endpoint::parse), help_heading = EXPORT)]
    pub consumer: Option<Endpoint>,
    /// Token of the consumer; prefer the environment, because other users can read the command line
    #[arg(long, env = "WEC_CONSUMER_TOKEN", hide_env_values = true, hide_short_help = true, value_name = "SECRET", value_parser = Token::parse, help_heading = EXPORT)]
    pub consumer_token: Option<Token>,
    /// Time between two reports to the consumer, and between two points of its own [default: 15s]
    #[arg(long, env = "WEC_CONSUMER_INTERVAL", hide_env_values = true, hide_short_help = true, value_name = "TIME", value_parser = parse_interval, help_heading = EXPORT)]
    pub consumer_interval: Option<Duration>,
    /// Post a notice at the end of the run to this URL, as JSON that Slack reads (docs/exports.md)
    #[arg(long, env = "WEC_WEBHOOK", hide_env_values = true, hide_short_help = true, value_name = "URL", value_parser = Undisclosed(Endpoint::parse), help_heading = EXPORT)]
    pub webhook: Option<Endpoint>,
    /// The address by which others open the page, such as https://load.example.com/, for the link in the notice
    #[arg(long, env = "WEC_PAGE_URL", hide_env_values = true, hide_short_help = true, value_name = "URL", value_parser = Undisclosed(Endpoint::parse), help_heading = EXPORT)]
    pub page_url: Option<Endpoint>,
}

impl ClientOptions {
    /// Time between two reports.
    pub fn interval(&self) -> Duration {
        self.consumer_interval.unwrap_or(Times::default().interval)
    }
}

/// Options of a process that serves a consumer beside something else.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConsumerListener {
    /// Serve a consumer for Locust and for our own runs at this address; needs --influx
    #[arg(long, env = "WEC_CONSUMER_LISTEN", hide_env_values = true, value_name = "ADDR", help_heading = EXPORT)]
    pub consumer_listen: Option<SocketAddr>,
    #[command(flatten)]
    influx: InfluxOptions,
    /// A job that sends nothing for this time ends [default: 10m]
    #[arg(long, env = "WEC_CONSUMER_TIMEOUT", hide_env_values = true, hide_short_help = true, value_name = "TIME", value_parser = parse_interval, help_heading = EXPORT)]
    consumer_timeout: Option<Duration>,
}

impl ConsumerListener {
    /// Starts the consumer, if an address is configured. Its jobs are kept in `folder`.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start(self, client: &ClientOptions, folder: &Path) -> anyhow::Result<Option<Consumer>> {
        let Some(listen) = self.consumer_listen else { return Ok(None) };
        let influx = self.influx.database()?.context(NO_DATABASE)?;
        let times = Times {
            interval: client.interval(),
            timeout: self.consumer_timeout.unwrap_or(Times::default().timeout),
        };
        let jobs = folder.join("consumer-jobs.json");
        let config = Config { listen, token: client.consumer_token.clone(), influx, jobs, times };
        Ok(Some(Consumer::start(config).await?))
    }
}

const NO_DATABASE: &str = "the consumer requires a database: set --influx http://HOST:8086";

/// The database, and the login to it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InfluxOptions {
    /// Write points into the InfluxDB at this URL, such as http://127.0.0.1:8086
    #[arg(long, env = "WEC_INFLUX", hide_env_values = true, value_name = "URL", value_parser = Undisclosed(Endpoint::parse), help_heading = DATABASE)]
    influx: Option<Endpoint>,
    /// The database of InfluxDB 1.x, created if it does not exist [default: load_testing]
    #[arg(long, env = "WEC_INFLUX_DATABASE", hide_env_values = true, value_name = "NAME", value_parser = name, help_heading = DATABASE)]
    influx_database: Option<String>,
    /// The user of InfluxDB 1.x
    #[arg(long, env = "WEC_INFLUX_USER", hide_env_values = true, hide_short_help = true, value_name = "NAME", help_heading = DATABASE)]
    influx_user: Option<String>,
    /// The user's password; prefer the environment
    #[arg(long, env = "WEC_INFLUX_PASSWORD", hide_env_values = true, hide_short_help = true, value_name = "SECRET", value_parser = Undisclosed(secret), requires = "influx_user", help_heading = DATABASE)]
    influx_password: Option<Secret>,
    /// The bucket of InfluxDB 2.x; with it the API of 2.x is used
    #[arg(long, env = "WEC_INFLUX_BUCKET", hide_env_values = true, value_name = "NAME", value_parser = name, conflicts_with_all = ["influx_database", "influx_user"], help_heading = DATABASE)]
    influx_bucket: Option<String>,
    /// The organisation of InfluxDB 2.x
    #[arg(long, env = "WEC_INFLUX_ORG", hide_env_values = true, value_name = "NAME", value_parser = name, requires = "influx_bucket", help_heading = DATABASE)]
    influx_org: Option<String>,
    /// The token of InfluxDB 2.x; prefer the environment
    #[arg(long, env = "WEC_INFLUX_TOKEN", hide_env_values = true, value_name = "SECRET", value_parser = Undisclosed(secret), requires = "influx_bucket", help_heading = DATABASE)]
    influx_token: Option<Secret>,
}

impl InfluxOptions {
    /// The database, if one is given.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn database(self) -> anyhow::Result<Option<Influx>> {
        let Some(endpoint) = self.influx else { return Ok(None) };
        let password = self.influx_password.unwrap_or_default().0;
        let login = match self.influx_bucket {
            Some(bucket) => Login::V2 {
                org: self.influx_org.unwrap_or_default(),
                bucket,
                token: self.influx_token.unwrap_or_default().0,
            },
            None => Login::V1 {
                database: self.influx_database.unwrap_or_else(|| "load_testing".to_owned()),
                user: self.influx_user.map(|user| (user, password)),
            },
        };
        Ok(Some(Influx::new(endpoint, login).context("cannot make a client for InfluxDB")?))
    }
}

/// A text that is never shown.
#[derive(Clone, Default)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character, such as a line end".to_owned());
    }
    Ok(Secret(text.to_owned()))
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("is not a name of 1 to 256 printable characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses the time between two points.
///
/// # Errors
/// When it is not a time, or too short or too long.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}: write a time such as 15s or 10m"))?;
    if !(Duration::from_millis(10)..=Duration::from_secs(7 * 24 * 3600)).contains(&time) {
        return Err("is not between 10 ms and 7 days".to_owned());
    }
    Ok(time)
}

/// Options of `wec consumer`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address of the API
    #[arg(
        long,
        env = "WEC_CONSUMER_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8091",
        help_heading = "Listener"
    )]
    listen: SocketAddr,
    /// Token for load generators, required beyond loopback; prefer the environment, because other users can
    /// read the command line
    #[arg(long, env = "WEC_CONSUMER_TOKEN", hide_env_values = true, value_name = "SECRET", value_parser = Token::parse, help_heading = "Listener")]
    token: Option<Token>,
    #[command(flatten)]
    influx: InfluxOptions,
    /// The file that keeps the running jobs across restarts
    #[arg(
        long,
        env = "WEC_CONSUMER_JOBS",
        value_name = "FILE",
        default_value = "results/consumer-jobs.json",
        help_heading = "Jobs"
    )]
    jobs: PathBuf,
    /// Time between two points of a job
    #[arg(long, env = "WEC_CONSUMER_INTERVAL", value_name = "TIME", value_parser = parse_interval, default_value = "15s", help_heading = "Jobs")]
    interval: Duration,
    /// A job that sends nothing for this time ends
    #[arg(long, env = "WEC_CONSUMER_TIMEOUT", value_name = "TIME", value_parser = parse_interval, default_value = "10m", help_heading = "Jobs")]
    timeout: Duration,
}

/// Runs the consumer until `stop`.
///
/// # Errors
/// When it cannot start.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Exit> {
    let Options { listen, token, influx, jobs, interval, timeout } = options;
    let Some(influx) = influx.database()? else {
        say(format_args!("error: {NO_DATABASE}"));
        return Ok(Exit::Usage);
    };
    let place = influx.place();
    let times = Times { interval, timeout };
    let consumer = Consumer::start(Config { listen, token, influx, jobs, times }).await?;
    show(format_args!("consumer on http://{}/, points to the {place}", consumer.address()));
    stop.cancelled().await;
    let counts = consumer.finish().await;
    show(format_args!("{} points written, {} dropped", counts.written, counts.dropped));
    Ok(Exit::Passed)
}
