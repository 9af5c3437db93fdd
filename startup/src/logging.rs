//! What goes to standard error, and how much of it.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::{TextStyle, aside, repeated, warnings};

/// How much every command logs. Without these flags `RUST_LOG` decides, else the command's own default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Logging {
    /// Log more on standard error: -v one level more than usual, -vv two
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = HEADING, hide_short_help = true)]
    verbose: u8,
    /// Log from this level on: off, error, warn, info, debug or trace [default: RUST_LOG, else warn, and info of a service]
    #[arg(long, value_name = "LEVEL", global = true, conflicts_with = "verbose", help_heading = HEADING, hide_short_help = true, value_parser = level)]
    log_level: Option<LevelFilter>,
}

const HEADING: &str = "Logging";

/// From the quietest on.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

impl Logging {
    /// Sends logs to standard error. `default` is the level without a flag and without `RUST_LOG`.
    ///
    /// Standard output is for results. A warning or an error with a repeated cause is logged once and then counted.
    pub fn start(&self, default: LevelFilter) {
        let format = tracing_subscriber::fmt::format().compact().with_ansi(TextStyle::stderr().colours);
        let filter = self.filter(default, std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(|| aside::LogLines)
            .with_ansi(TextStyle::stderr().colours)
            // They would go to standard error again, and cause a panic when it is closed.
            .log_internal_errors(false)
            .event_format(repeated::Counted(format))
            .with_filter(filter);
        // What is on standard error does not change what is in a run's log.
        let kept = warnings::Keeper.with_filter(LevelFilter::WARN);
        tracing_subscriber::registry().with(lines).with(kept).init();
    }

    /// A flag goes before `rust_log`, and that before the default.
    fn filter(&self, default: LevelFilter, rust_log: Option<&str>) -> EnvFilter {
        let more = |by: u8| {
            let place = LEVELS.iter().position(|level| *level == default).unwrap_or_default();
            LEVELS[(place + usize::from(by)).min(LEVELS.len() - 1)]
        };
        let asked = self.log_level.or_else(|| (self.verbose > 0).then(|| more(self.verbose)));
        match (asked, rust_log.map(str::parse)) {
            // Libraries at debug would hide our own lines. RUST_LOG can ask for theirs.
            (Some(level), _) => EnvFilter::new(format!("{},wec={level}", level.min(LevelFilter::WARN))),
            (None, Some(Ok(filter))) => filter,
            (None, _) => EnvFilter::new(default.to_string()),
        }
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    LEVELS
        .into_iter()
        .find(|level| level.to_string() == text)
        .ok_or_else(|| "there are off, error, warn, info, debug and trace".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        logging: Logging,
    }

    /// What a command that logs warnings by itself logs with these arguments.
    fn filter(args: &[&str], rust_log: Option<&str>) -> String {
        let cli = Cli::try_parse_from([&["wec"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
        cli.logging.filter(LevelFilter::WARN, rust_log).to_string()
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_default() {
        for (args, rust_log, expected) in [
            (&[][..], None, "warn"),
            (&[], Some("wec_store=debug"), "wec_store=debug"),
            (&[], Some("wec=loud"), "warn"),
            (&["-v"], Some("trace"), "wec=info,warn"),
            (&["-vv"], None, "wec=debug,warn"),
            (&["-vvvvvvvvv"], None, "wec=trace,warn"),
            (&["--log-level", "debug"], Some("off"), "wec=debug,warn"),
            (&["--log-level", "error"], None, "wec=error,error"),
            (&["--log-level", "off"], Some("trace"), "wec=off,off"),
        ] {
            assert_eq!(filter(args, rust_log), expected, "{args:?} {rust_log:?}");
        }
    }

    #[test]
    fn levels_have_names_and_one_flag_is_enough() {
        for wrong in [&["--log-level", "loud"][..], &["--log-level", "info", "-v"]] {
            assert!(Cli::try_parse_from([&["wec"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }
}
