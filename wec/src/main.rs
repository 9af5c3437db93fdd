//! `wec`: all programs in one binary. This file is its table of contents.

mod agent;
mod bench;
mod calibrate;
mod capacity;
mod clean;
mod compare;
mod convert;
mod demo;
mod doctor;
mod driven;
mod export;
mod fleet;
mod here;
mod junit;
mod kept_page;
mod label;
mod log;
mod logs;
mod mark;
mod model;
mod node;
mod output;
#[cfg(test)]
mod paused;
mod pki;
mod prefill;
mod progress;
mod reading;
mod reconcile;
#[cfg(test)]
mod reference;
mod replay;
mod report;
mod run;
mod secret;
mod session;
mod shell;
mod shorthand;
mod state;
mod trial;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use wec_startup::{Exit, LevelFilter, Logging, Stop, guarded, parse_these_arguments, run_service};

/// Load tester for ACME certificate authorities (RFC 8555)
#[derive(Parser)]
#[command(name = "wec", version = env!("WEC_VERSION"), propagate_version = true, max_term_width = 110, after_help = shell::TOPICS_HELP)]
struct Cli {
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run against the built-in CA: nothing to install, nothing to configure
    Demo(demo::Options),
    /// Start an installed CA on loopback, run against it, and stop it
    Try(Box<trial::Options>),
    /// Run against an ACME CA, with challenge server, analytics and page in this process
    Run(run::Options),
    /// Check a CA and this machine before a load: what is wrong, and the way out
    Doctor(Box<doctor::Options>),
    /// Run with a constant number of workers
    Hammer(shorthand::Hammer),
    /// Run with several numbers of workers, one after the other
    Seq(shorthand::Seq),
    /// Run with more and more workers, step by step
    Aseq(shorthand::Aseq),
    /// Find the highest rate that a CA sustains
    Capacity(capacity::Options),
    /// Wait for sessions on the board, and run those that are meant for this machine
    Agent(Box<agent::Options>),
    /// Simulate the load of the renewals of a fleet of certificates on a CA, and drive them
    Fleet(fleet::Options),
    /// Make a scenario from a CA's access logs that repeats their load
    Model(model::Options),
    /// Bring a CA and the stored state to a number of accounts and certificates
    Prefill(Box<prefill::Options>),
    /// Run virtual users that send their results to a separate analytics process
    Requester(run::RemoteRun),
    /// Answer a CA's validations from stored challenge data
    ChallengeServer(wec_challenge_server::Options),
    /// Receive results, log them and show them live
    Analytics(Box<wec_analytics::Options>),
    /// Write runs of Locust, and our own, into InfluxDB as they report them
    Consumer(wec_consumer::Options),
    /// Show the runs of a folder in the page
    Serve(wec_analytics::ServeOptions),
    /// The built-in CA by itself: for demonstrations, faults and calibration
    NullCa(wec_null_ca::Options),
    /// Show a run, and change it while it runs
    Session(session::Options),
    /// Put a mark on the time axis of a run: a deployment, a fail-over
    Mark(mark::Options),
    /// List and manage the machines that sessions can use; serve and watch their statistics
    Node(node::Options),
    /// Make a CA and certificates for TLS between services
    Pki(pki::Options),
    /// Make the report of a run from its log: the summary, HTML, CSV, percentiles
    Report(report::Options),
    /// Show the log of a run in the page, at once or as if it were live, or drive its load again at a CA
    Replay(replay::Options),
    /// Convert the log of a run to another format, or to CSV
    Convert(convert::Options),
    /// Write a run into InfluxDB, from its log
    Export(export::Options),
    /// Compare runs by their logs or baselines: what differs, and what may be noise
    Compare(compare::Options),
    /// Compare the certificates of a run's log with the CA's own list; exit code 98 when they differ
    Reconcile(reconcile::Options),
    /// Check the log of a run
    Log(log::Options),
    /// Revoke the certificates and deactivate the accounts that runs left at a CA
    Clean(clean::Options),
    /// List the stored state of each CA, or delete it
    State(state::Options),
    /// Print the JSON Schema of configuration files, for editors
    Schema,
    /// Print the completions of a shell
    Completions(shell::CompletionOptions),
    /// Write man pages to a folder
    Man(shell::ManOptions),
    /// Measure the highest load that this machine can make, and store it
    Calibrate(calibrate::Options),
    /// Measure the load tester itself
    Bench(bench::Options),
}

fn main() -> ExitCode {
    guarded(dispatch)
}

fn dispatch() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let with_files =
        agent::configuration::with_files(typed, &Cli::command(), |name| std::env::var(name).ok());
    let typed = match with_files {
        Ok(typed) => typed,
        Err(mistake) => {
            wec_startup::say(format_args!("error: {mistake}"));
            return Exit::Usage.into();
        }
    };
    if let Some(text) = shell::topic(&typed) {
        return wec_startup::conclude(wec_startup::report(text).map(Exit::from)).into();
    }
    let Cli { logging, command } = parse_these_arguments(typed);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            wec_startup::say(format_args!("error: cannot start: {error}"));
            return Exit::CouldNotRun.into();
        }
    };
    runtime.block_on(async {
        match command {
            Command::Demo(options) => conclude(&logging, |stop| demo::demo(options, stop)).await,
            Command::Try(options) => conclude(&logging, |stop| trial::trial(*options, stop)).await,
            Command::Run(options) => conclude(&logging, |stop| run::run(options, stop)).await,
            Command::Doctor(options) => conclude(&logging, |stop| doctor::doctor(*options, stop)).await,
            Command::Hammer(options) => conclude(&logging, |stop| shorthand::hammer(options, stop)).await,
            Command::Seq(options) => conclude(&logging, |stop| shorthand::seq(options, stop)).await,
            Command::Aseq(options) => conclude(&logging, |stop| shorthand::aseq(options, stop)).await,
            Command::Capacity(options) => conclude(&logging, |stop| capacity::capacity(options, stop)).await,
            Command::Model(options) => conclude(&logging, |stop| model::model(options, stop)).await,
            Command::Prefill(options) => conclude(&logging, |stop| prefill::prefill(*options, stop)).await,
            Command::Fleet(options) => conclude(&logging, |stop| fleet::fleet(options, stop)).await,
            Command::Schema => conclude(&logging, |_| schema()).await,
            Command::Completions(options) => {
                conclude(&logging, |_| async move { shell::completions(&options) }).await
            }
            Command::Man(options) => conclude(&logging, |_| async move { shell::man(&options) }).await,
            Command::Agent(options) => conclude(&logging, |stop| agent::agent(*options, stop)).await,
            Command::Requester(options) => conclude(&logging, |stop| run::remote(options, stop)).await,
            Command::Session(options) => conclude(&logging, |_| session::session(options)).await,
            Command::Node(options) => conclude(&logging, |stop| node::node(options, stop)).await,
            Command::Pki(options) => conclude(&logging, |_| pki::pki(options)).await,
            Command::Mark(options) => conclude(&logging, |_| mark::mark(options)).await,
            Command::Report(options) => {
                conclude(&logging, |stop| or_signal(stop, report::report(options))).await
            }
            Command::Replay(options) => conclude(&logging, |stop| replay::replay(options, stop)).await,
            Command::Convert(options) => {
                conclude(&logging, |stop| or_signal(stop, convert::convert(options))).await
            }
            Command::Export(options) => {
                conclude(&logging, |stop| or_signal(stop, export::export(options))).await
            }
            Command::Compare(options) => {
                conclude(&logging, |stop| or_signal(stop, compare::run(options))).await
            }
            Command::Reconcile(options) => {
                conclude(&logging, |stop| or_signal(stop, reconcile::reconcile(options))).await
            }
            Command::Log(options) => conclude(&logging, |stop| or_signal(stop, log::log(options))).await,
            Command::Clean(options) => conclude(&logging, |stop| clean::clean(options, stop)).await,
            Command::State(options) => conclude(&logging, |_| state::state(options)).await,
            Command::Calibrate(options) => {
                conclude(&logging, |stop| calibrate::calibrate(options, stop)).await
            }
            Command::Bench(options) => conclude(&logging, |stop| bench::bench(options, stop)).await,
            Command::ChallengeServer(options) => {
                run_service(&logging, |stop| wec_challenge_server::run(options, stop)).await
            }
            Command::Analytics(options) => {
                run_service(&logging, |stop| wec_analytics::run(*options, stop)).await
            }
            Command::Serve(options) => {
                run_service(&logging, |stop| wec_analytics::serve(options, stop)).await
            }
            Command::Consumer(options) => {
                run_service(&logging, |stop| wec_consumer::run(options, stop)).await
            }
            Command::NullCa(options) => run_service(&logging, |stop| wec_null_ca::run(options, stop)).await,
        }
    })
}

/// Runs a command that ends by itself, or in two stages by signals, and returns its exit code.
async fn conclude<F>(logging: &Logging, command: impl FnOnce(Stop) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    logging.start(LevelFilter::WARN);
    wec_startup::run_command(command).await.into()
}

/// A command that reads logs. The first signal ends it; its blocking work cannot be stopped otherwise.
async fn or_signal(stop: Stop, command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    match stop.finish.run_until_cancelled(command).await {
        Some(done) => done,
        None => {
            wec_startup::remove_unfinished();
            if !stop.by_signal() {
                // The panic hook has reported a panic.
                std::process::exit(Exit::Bug.code().into());
            }
            wec_startup::say("interrupted");
            std::process::exit(Exit::Interrupted.code().into())
        }
    }
}

async fn schema() -> anyhow::Result<Exit> {
    wec_startup::report(serde_json::to_string_pretty(&wec_requester::plan_schema())?)?;
    Ok(Exit::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_ten_flags_are_under_headings() {
        fn look(command: &clap::Command) {
            let flags = || command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
            let without = flags().filter(|arg| arg.get_help_heading().is_none());
            // All commands have help and version without a heading.
            let without: Vec<_> = without.map(|arg| arg.get_id().as_str()).collect();
            assert!(flags().count() <= 10 || without.len() <= 2, "{}: {without:?}", command.get_name());
            command.get_subcommands().for_each(look);
        }
        let mut all = Cli::command();
        all.build();
        look(&all);
    }

    /// The flags that `-h` shows under headings: help and version have none.
    fn shown_short(name: &str) -> Vec<(String, String)> {
        let mut all = Cli::command();
        all.build();
        let command = all.find_subcommand(name).unwrap_or_else(|| panic!("no command {name}"));
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_hide_short_help_set());
        let named = |arg: &clap::Arg| Some((arg.get_help_heading()?.to_owned(), arg.get_long()?.to_owned()));
        shown.filter_map(named).collect()
    }

    #[test]
    fn the_short_help_of_a_run_has_the_twenty_flags_that_people_use() {
        let shown = shown_short("run");
        let of = |group: &str| {
            let of = shown.iter().filter(|(heading, _)| heading == group);
            of.map(|(_, flag)| flag.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("Target"), "config directory cacert allow-host");
        assert_eq!(of("Load"), "workers rate iterations stages run-time");
        assert_eq!(of("Chains and orders"), "weight names-per-order state");
        assert_eq!(of("Challenges"), "challenge-types challenges http01-listen");
        assert_eq!(of("Verdict"), "threshold");
        assert_eq!(of("Output"), "listen log-dir json quiet");
        assert_eq!(shown.len(), 20, "{shown:?}");
    }

    #[test]
    fn the_short_help_of_a_command_that_makes_load_has_at_most_twenty_flags() {
        for name in ["demo", "try", "capacity", "requester", "hammer", "seq", "aseq", "prefill", "agent"] {
            let shown = shown_short(name);
            assert!(shown.len() <= 20, "{name} shows {}: {shown:?}", shown.len());
        }
    }

    /// Access by a host name is refused with the advice to give it.
    #[test]
    fn every_command_with_a_page_takes_further_host_names_for_it() {
        let mut all = Cli::command();
        all.build();
        let of_page = |arg: &clap::Arg| {
            arg.get_env().is_some_and(|name| name == "WEC_LISTEN" || name == "WEC_ANALYTICS_LISTEN")
        };
        let takes = |arg: &clap::Arg| {
            arg.get_long() == Some("page-host") && arg.get_env().is_some_and(|name| name == "WEC_PAGE_HOSTS")
        };
        let mut pages = 0;
        for command in all.get_subcommands().filter(|command| command.get_arguments().any(of_page)) {
            assert!(command.get_arguments().any(takes), "{}", command.get_name());
            pages += 1;
        }
        assert!(pages > 8, "{pages}");
    }

    #[test]
    fn every_command_takes_the_flags_of_logging() {
        let mut all = Cli::command();
        all.build();
        for command in all.get_subcommands().filter(|command| command.get_name() != "help") {
            for flag in ["verbose", "log_level"] {
                assert!(command.get_arguments().any(|arg| arg.get_id() == flag), "{}", command.get_name());
            }
        }
    }
}
