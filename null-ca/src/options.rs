//! The CA as its own command: its flags, and its run from start to stop. Flags override the configuration
//! file, which overrides the defaults.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;
use wec_startup::{report, show};

use crate::config::{Config, ExternalAccount};
use crate::faults::{
    FaultRule, FlawRule, Latency, LatencyRule, RuleError, ServeRule, Share, Stall, duration,
};
use crate::server::NullCa;

/// Default address of the command. The library uses a free port.
const DEFAULT_LISTEN: &str = "127.0.0.1:14443";

const SERVER: &str = "Server";
const OUTPUT: &str = "Output";
const FAULTS: &str = "Faults and delays";
const ORDERS: &str = "Accounts and orders";
const VALIDATION: &str = "Validation";

/// Run an in-memory ACME CA for demonstrations, fault injection and calibration.
///
/// Its certificates prove nothing: a challenge type without an address (--http01, --tls-alpn01,
/// --dns01) is accepted without a check. Nothing is kept across restarts.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Configuration file in TOML, or in JSON if its name ends in .json; flags override it
    #[arg(long, value_name = "FILE", help_heading = SERVER)]
    config: Option<PathBuf>,
    /// Where the CA listens [default: 127.0.0.1:14443]
    #[arg(long, value_name = "ADDR", help_heading = SERVER)]
    listen: Option<SocketAddr>,
    /// Use plain HTTP instead of HTTPS
    #[arg(long, help_heading = SERVER)]
    plain: bool,
    /// Use HTTP/1.1 only
    #[arg(long, help_heading = SERVER, hide_short_help = true)]
    no_http2: bool,
    /// Further name or address in the TLS certificate; may be repeated
    #[arg(long, value_name = "NAME", help_heading = SERVER, hide_short_help = true)]
    name: Vec<String>,
    /// Threads that serve requests [default: 1]
    #[arg(long, value_name = "N", help_heading = SERVER, hide_short_help = true)]
    threads: Option<NonZeroUsize>,
    /// Write the root that HTTPS clients must trust to this file, in PEM
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    root_out: Option<PathBuf>,
    /// Write the root above the issued certificates to this file, in PEM
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    issuer_root_out: Option<PathBuf>,
    /// Write the counts of requests and objects to this file at the end, as JSON; - for standard output
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    counts_out: Option<PathBuf>,
    /// Write the requests of each second to this file as they arrive, a line of JSON a second
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, hide_short_help = true)]
    seconds_out: Option<PathBuf>,
    /// Do not verify signatures: for calibration, where the CA must not be the limit
    #[arg(long, help_heading = SERVER, hide_short_help = true)]
    no_verify: bool,
    /// Seed of every random choice; the same seed gives the same faults and latencies [default: 0]
    #[arg(long, value_name = "NUMBER", help_heading = FAULTS, hide_short_help = true)]
    seed: Option<u64>,
    /// How long answers take: 20ms, 5ms..50ms (evenly) or 10ms,10ms,500ms (in turn); for one
    /// endpoint: newOrder=20ms; may be repeated
    #[arg(long, value_name = "[ENDPOINT=]LATENCY", help_heading = FAULTS)]
    latency: Vec<LatencyRule>,
    /// Share of the requests that fail, by 500, 429, 503, html503, truncated, reset, silence or empty:
    /// newOrder=500:0.01, *=reset:1%; may be repeated
    #[arg(long, value_name = "ENDPOINT=KIND:SHARE", help_heading = FAULTS)]
    fault: Vec<FaultRule>,
    /// Serve this many requests a second to an endpoint, one after the other; further requests wait: newOrder=50/s. With a
    /// queue, newOrder=50/s:200, those that find it full are answered with 503; may be repeated
    #[arg(long, value_name = "ENDPOINT=N/s[:QUEUE]", help_heading = FAULTS)]
    serve: Vec<ServeRule>,
    /// Send no answers for a time: 10s+5s is from the tenth second on for five seconds; may be repeated
    #[arg(long, value_name = "AT+FOR", help_heading = FAULTS)]
    stall: Vec<Stall>,
    /// Share of valid nonces that are refused with badNonce, such as 0.05 [default: none]
    #[arg(long, value_name = "SHARE", help_heading = FAULTS)]
    bad_nonce: Option<Share>,
    /// Seconds of Retry-After with 429, with 503 and with orders that are processing [default: 1]
    #[arg(long, value_name = "SECONDS", help_heading = FAULTS)]
    retry_after: Option<u32>,
    /// How long an order is processing after finalize [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = ORDERS)]
    processing: Option<Duration>,
    /// How long a validation takes, written like --latency [default: 0s]
    #[arg(long, value_name = "LATENCY", help_heading = VALIDATION)]
    validation_delay: Option<Latency>,
    /// Share of the validations that fail on purpose [default: none]
    #[arg(long, value_name = "SHARE", help_heading = VALIDATION)]
    validation_failures: Option<Share>,
    /// How long a validation waits for an answer [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = VALIDATION)]
    give_up: Option<Duration>,
    /// Address at which http-01 is validated for every name [default: http-01 is accepted unchecked]
    #[arg(long, value_name = "ADDR", help_heading = VALIDATION)]
    http01: Option<SocketAddr>,
    /// Address at which tls-alpn-01 is validated for every name [default: tls-alpn-01 is accepted unchecked]
    #[arg(long, value_name = "ADDR", help_heading = VALIDATION)]
    tls_alpn01: Option<SocketAddr>,
    /// DNS server at which dns-01 is validated [default: dns-01 is accepted unchecked]
    #[arg(long, value_name = "ADDR", help_heading = VALIDATION)]
    dns01: Option<SocketAddr>,
    /// DNS server at which CAA records are checked after a validation; this CA is null-ca.test in them [default: they are
    /// not checked]
    #[arg(long, value_name = "ADDR", help_heading = VALIDATION)]
    caa: Option<SocketAddr>,
    /// Offer dns-account-01 and dns-persist-01, too, which are drafts; they are validated at the address of --dns01
    #[arg(long, help_heading = VALIDATION)]
    draft_challenges: bool,
    /// Share of the certificates with a flaw: name, key, expired, serial or signature, as in name:0.01; may be repeated
    #[arg(long, value_name = "KIND:SHARE", help_heading = FAULTS)]
    wrong_certificate: Vec<FlawRule>,
    /// Refuse a key in finalize after a revocation that this key signed, or that had the reason keyCompromise
    #[arg(long, help_heading = ORDERS, hide_short_help = true)]
    block_keys: bool,
    /// Require external account binding with this key (base64url); may be repeated
    #[arg(
        long,
        env = "WEC_NULL_CA_EAB",
        hide_env_values = true,
        value_name = "KID:KEY",
        value_delimiter = ',',
        value_parser = wec_startup::Undisclosed(|text| ExternalAccount::parse(text).map_err(str::to_owned)),
        help_heading = ORDERS
    )]
    eab: Vec<ExternalAccount>,
    /// Certificate profile that orders may name, and its description; may be repeated
    #[arg(long, value_name = "NAME=TEXT", value_parser = parse_profile, help_heading = ORDERS)]
    profile: Vec<(String, String)>,
    /// Number of orders that are kept; then the oldest are dropped [default: 200000]
    #[arg(long, value_name = "N", help_heading = ORDERS, hide_short_help = true)]
    keep_orders: Option<usize>,
}

fn parse_duration(text: &str) -> Result<Duration, RuleError> {
    duration(text)
}

fn parse_profile(text: &str) -> Result<(String, String), &'static str> {
    let (name, description) = text.split_once('=').ok_or("not a name and a description; write NAME=TEXT")?;
    Ok((name.to_owned(), description.to_owned()))
}

impl Options {
    /// The file's settings, overridden by the flags.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown key or an invalid value.
    pub fn config(&self) -> anyhow::Result<Config> {
        let default_listen = DEFAULT_LISTEN.parse().context("the default address")?;
        let mut config = match &self.config {
            Some(file) => read(file)?,
            None => Config { listen: default_listen, ..Config::default() },
        };
        fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *setting = value.clone();
            }
        }
        fn extend<T: Clone>(settings: &mut Vec<T>, flags: &[T]) {
            settings.extend_from_slice(flags);
        }
        set(&mut config.listen, &self.listen);
        set(&mut config.threads, &self.threads);
        set(&mut config.seed, &self.seed);
        set(&mut config.bad_nonce, &self.bad_nonce);
        set(&mut config.retry_after, &self.retry_after);
        set(&mut config.processing, &self.processing);
        set(&mut config.keep.orders, &self.keep_orders);
        if self.seconds_out.is_some() {
            config.seconds.clone_from(&self.seconds_out);
        }
        config.tls &= !self.plain;
        config.http2 &= !self.no_http2;
        config.verify_signatures &= !self.no_verify;
        config.block_keys |= self.block_keys;
        extend(&mut config.names, &self.name);
        extend(&mut config.latency, &self.latency);
        extend(&mut config.faults, &self.fault);
        extend(&mut config.serves, &self.serve);
        extend(&mut config.stalls, &self.stall);
        extend(&mut config.wrong_certificates, &self.wrong_certificate);
        extend(&mut config.external_accounts, &self.eab);
        for (place, (name, description)) in self.profile.iter().enumerate() {
            // A flag overrides the file; two flags with one name are an error.
            if self.profile[..place].iter().any(|(earlier, _)| earlier == name) {
                anyhow::bail!("--profile: {name:?} is given twice");
            }
            config.profiles.insert(name.clone(), description.clone());
        }
        let validation = &mut config.validation;
        set(&mut validation.delay, &self.validation_delay);
        set(&mut validation.failures, &self.validation_failures);
        set(&mut validation.give_up, &self.give_up);
        validation.http01 = self.http01.or(validation.http01);
        validation.tls_alpn01 = self.tls_alpn01.or(validation.tls_alpn01);
        validation.dns01 = self.dns01.or(validation.dns01);
        validation.caa = self.caa.or(validation.caa);
        validation.drafts |= self.draft_challenges;
        Ok(config)
    }
}

/// Runs the CA until `stop` is cancelled. The first line on standard output is the directory's URL.
///
/// # Errors
/// When the settings are not valid, the address is in use or a file cannot be written.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let ca = NullCa::start(options.config()?)?;
    if let Some(file) = &options.root_out {
        let root = ca.root_pem().context("--root-out has no use with plain HTTP: omit it")?;
        write(file, root)?;
    }
    if let Some(file) = &options.issuer_root_out {
        write(file, ca.issuer_root_pem())?;
    }
    show(ca.directory_url());
    stop.cancelled().await;
    let counts = ca.stop().await;
    if let Some(file) = &options.counts_out {
        let json = serde_json::to_string_pretty(&counts).context("counts as JSON")?;
        if file.as_os_str() == "-" {
            report(json)?;
        } else {
            write(file, &json)?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Config> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).with_context(|| format!("cannot parse {name}"))
    } else {
        toml::from_str(&text).with_context(|| format!("cannot parse {name}"))
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn config(args: &[&str]) -> Config {
        let args = std::iter::once("null-ca").chain(args.iter().copied());
        Command::try_parse_from(args).unwrap().options.config().unwrap()
    }

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.toml");
        std::fs::write(&file, "seed = 1\nretry_after = 5\nfaults = [\"*=500:0.1\"]").unwrap();
        let file = file.to_str().unwrap();
        let config = config(&["--config", file, "--seed", "2", "--fault", "order=429:0.2"]);
        assert_eq!((config.seed, config.retry_after, config.faults.len()), (2, 5, 2));
        assert!(config.tls && config.verify_signatures);
    }

    #[test]
    fn every_flag_sets_the_configuration() {
        let config = config(&[
            "--listen=127.0.0.1:0",
            "--plain",
            "--no-http2",
            "--name=ca.test",
            "--threads=2",
            "--no-verify",
            "--latency=20ms",
            "--latency=newOrder=5ms..50ms",
            "--serve=newOrder=50/s",
            "--stall=10s+5s",
            "--bad-nonce=0.05",
            "--processing=2s",
            "--validation-delay=100ms",
            "--validation-failures=1%",
            "--http01=127.0.0.1:80",
            "--tls-alpn01=127.0.0.1:443",
            "--dns01=127.0.0.1:53",
            "--wrong-certificate=expired:0.1",
            "--block-keys",
            "--eab=kid-1:c2VjcmV0",
            "--profile=shortlived=Six days",
            "--keep-orders=10",
        ]);
        assert!(!config.tls && !config.http2 && !config.verify_signatures && config.block_keys);
        assert_eq!((config.latency.len(), config.stalls.len(), config.serves.len()), (2, 1, 1));
        assert_eq!(config.processing, Duration::from_secs(2));
        assert_eq!(config.validation.dns01.unwrap().port(), 53);
        assert_eq!(config.external_accounts[0].kid, "kid-1");
        assert_eq!(config.profiles["shortlived"], "Six days");
        assert_eq!((config.keep.orders, config.threads.get()), (10, 2));
    }

    #[test]
    fn a_profile_given_twice_is_refused() {
        let twice = ["null-ca", "--profile=short=Six days", "--profile=short=Seven days"];
        let options = Command::try_parse_from(twice).unwrap().options;
        assert_eq!(options.config().unwrap_err().to_string(), "--profile: \"short\" is given twice");
    }

    #[test]
    fn a_mistyped_rule_is_explained() {
        let error = Command::try_parse_from(["null-ca", "--fault", "newOrder=600:0.1"]).err();
        let message = error.unwrap().to_string();
        assert!(message.contains("`600`") && message.contains("html503"), "{message}");
    }

    #[test]
    fn a_file_with_an_unknown_key_names_file_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.json");
        std::fs::write(&file, r#"{"seeds": 1}"#).unwrap();
        let args = ["null-ca", "--config", file.to_str().unwrap()];
        let error = Command::try_parse_from(args).unwrap().options.config().unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("ca.json") && message.contains("`seeds`"), "{message}");
    }
}
