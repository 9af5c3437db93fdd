//! `wec clean`: revokes the certificates, and deactivates the authorizations and accounts, that runs left at a CA.
//!
//! The state store has their keys. What is done is removed from it, so an interrupted command can be repeated.

mod cleaner;
mod done;
mod ended;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{MissedTickBehavior, interval};
use wec_acme::Clock;
use wec_requester::config::{Command, Decided, Key};
use wec_requester::{Flags, connect};
use wec_startup::{Exit, Stop, report as print, say};
use wec_store::{Catalogue, Left, State, StateOptions, StoredCa, redacted};

use self::cleaner::{Cleaner, Extent, Progress};
use self::done::{Done, things};
use crate::run::resolve;

/// The flags of this command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cleaning {}

impl Command for Cleaning {
    fn takes(key: &Key) -> bool {
        key.of_ca || key.name == "state"
    }
}

/// Options of `wec clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Cleaning>,
    /// Requests per second at most; nonces and retries are not counted
    #[arg(long, value_name = "N", default_value = "5", value_parser = rate, help_heading = "Cleaning")]
    rate: f64,
    /// Revoke each certificate a second time, which the CA must refuse
    #[arg(long, help_heading = "Cleaning")]
    verify: bool,
    /// Do not deactivate the authorizations of orders: they end with their accounts
    #[arg(long, help_heading = "Cleaning")]
    keep_authorizations: bool,
    /// Leave the accounts as they are
    #[arg(long, help_heading = "Cleaning")]
    keep_accounts: bool,
    /// Print what would be done, and send nothing
    #[arg(long, help_heading = "Cleaning", conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, help_heading = "Cleaning")]
    yes: bool,
    /// Print the result as JSON
    #[arg(long, help_heading = "Cleaning")]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000.0).contains(&rate) => Ok(rate),
        _ => Err("write a number per second from 0.01 to 1000".to_owned()),
    }
}

pub(crate) async fn clean(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match resolve(options.flags.plan.settings(), Decided::default()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    let directory = plan.directory.as_str();
    let catalogue = Catalogue::open(&plan.state).await?;
    let all = catalogue.list().await?;
    let Some(stored) = all.iter().find(|stored| stored.directory == directory) else {
        let nothing = nothing_stored(directory, &redacted(&plan.state), &all);
        if options.json {
            say(nothing);
            print(Done::default().json())?;
        } else {
            print(nothing)?;
        }
        return Ok(Exit::Passed);
    };
    let extent = Extent {
        authorizations: !options.keep_authorizations,
        accounts: !options.keep_accounts,
        verify: options.verify,
    };
    let clock = Clock::start();
    let left = catalogue.left(stored, clock.unix_now()).await?;
    let work = Work::new(left, extent, options.rate);
    let wanted = format!("{} at {directory}", work.text());
    if options.dry_run || work.is_none() {
        let nothing = if options.dry_run { " Nothing was sent." } else { "" };
        match options.json {
            true => print(Done { left, ..Done::default() }.json())?,
            false => print(format!("There are {wanted}.{nothing}"))?,
        }
        return Ok(Exit::Passed);
    }
    if stored.processes > 0 {
        bail!("{} use what is stored of {directory}: end them first", things(stored.processes, "process"));
    }
    if !options.yes && !confirmed(&wanted)? {
        return Ok(Exit::Usage);
    }
    let client = stop.unless_stopped(connect(&plan, clock)).await?;
    // While it is open, others see that the state is in use.
    let small = StateOptions { pool: 1, claim_batch: 1, ..StateOptions::default() };
    let in_use = State::open(&plan.state, directory, small).await?;
    let mut pace = interval(Duration::from_secs_f64(1.0 / options.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cleaner = Cleaner {
        client,
        clock,
        pace,
        stop: stop.clone(),
        catalogue,
        stored: stored.clone(),
        extent,
        done: Done::default(),
        progress: Progress::default(),
    };
    let mut outcome = cleaner.clean().await;
    match cleaner.catalogue.left(&cleaner.stored, cleaner.client.ca_clock().unix_now()).await {
        Ok(left) => cleaner.done.left = left,
        Err(error) => outcome = outcome.and(Err(error.into())),
    }
    in_use.close().await?;
    let Cleaner { catalogue, done, .. } = cleaner;
    catalogue.close().await;
    if options.json {
        print(done.json())?;
    } else {
        print(done.text())?;
    }
    outcome?;
    Ok(match done.failed {
        _ if stop.finish.is_cancelled() => Exit::Interrupted,
        0 => Exit::Passed,
        _ => Exit::CouldNotRun,
    })
}

/// What is to be done, before anything is sent.
struct Work {
    certificates: u64,
    orders: u64,
    accounts: u64,
    /// About how long it takes.
    time: Duration,
}

impl Work {
    fn new(left: Left, extent: Extent, rate: f64) -> Self {
        let orders = if extent.authorizations { left.orders } else { 0 };
        let accounts = if extent.accounts { left.accounts } else { 0 };
        // An order has at least one authorization, which is read and deactivated.
        let each_certificate = if extent.verify { 2 } else { 1 };
        let requests = each_certificate * left.certificates + 3 * orders + 2 * accounts;
        let time = Duration::from_secs_f64((requests as f64 / rate).round());
        Self { certificates: left.certificates, orders, accounts, time }
    }

    const fn is_none(&self) -> bool {
        self.certificates + self.orders + self.accounts == 0
    }

    fn text(&self) -> String {
        let authorizations = match self.orders {
            0 => String::new(),
            orders => format!("the authorizations of {}, ", things(orders, "order")),
        };
        let time = match self.time {
            Duration::ZERO => String::new(),
            time => format!(", in about {}", humantime::format_duration(time)),
        };
        format!(
            "{} to revoke, {authorizations}{} to deactivate{time}",
            things(self.certificates, "certificate"),
            things(self.accounts, "account")
        )
    }
}

/// Nothing is stored of this directory; names those of which something is.
fn nothing_stored(directory: &str, store: &str, all: &[StoredCa]) -> String {
    let mut text = format!("Nothing is stored of {directory} in {store}: there is nothing to clean.");
    for other in all.iter().filter(|other| other.certificates + other.registrations > 0) {
        text += &format!(
            "\nStored are {} and {} of {}",
            things(other.certificates, "certificate"),
            things(other.registrations, "account"),
            wec_text::visible(&other.directory)
        );
    }
    text
}

/// Asks on the terminal.
fn confirmed(wanted: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        say(format_args!(
            "error: there are {wanted}: give --yes to do it, or --dry-run to see what would be done"
        ));
        return Ok(false);
    }
    let mut answer = String::new();
    let mut stderr = std::io::stderr();
    write!(stderr, "There are {wanted}. Continue? [y/N] ").and_then(|()| stderr.flush())?;
    stdin.read_line(&mut answer).context("cannot read the answer")?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        say("Nothing was sent.");
    }
    Ok(yes)
}
