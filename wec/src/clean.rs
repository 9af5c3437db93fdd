//! `wec clean`: revokes the certificates and deactivates the accounts that runs left at a CA.
//!
//! The state store has their keys. What is done is removed from it, so an interrupted command can be repeated.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use wec_acme::{Account, CertificateKey, Client, Clock, Failure, FailureClass, Signer, Trace};
use wec_requester::config::{Command, Decided, Key};
use wec_requester::{Flags, Plan, connect};
use wec_startup::{Exit, Stop, report as print, say};
use wec_store::{Catalogue, Claim, Registration, State, StateOptions, StoredCa, StoredCertificate, redacted};

use crate::run::resolve;

/// Failures one after the other, after which the CA is left alone.
const MOST_FAILURES: u32 = 10;
/// The longest wait for a certificate from the database.
const CLAIM_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked for.
const CLAIM_EVERY: Duration = Duration::from_millis(20);

/// Keys of a plan that matter for a CA and what is stored of it.
const KEYS: [&str; 13] = [
    "config",
    "directory",
    "cacert",
    "insecure",
    "client_cert",
    "client_key",
    "allow_host",
    "authorised_by",
    "state",
    "http",
    "connect_to",
    "source_address",
    "request_timeout",
];

/// The flags of this command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cleaning {}

impl Command for Cleaning {
    fn takes(key: &Key) -> bool {
        KEYS.contains(&key.name)
    }
}

/// Options of `wec clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Cleaning>,
    /// Requests per second at most
    #[arg(long, value_name = "N", default_value = "5", value_parser = rate, help_heading = "Cleaning")]
    rate: f64,
    /// Leave the accounts as they are
    #[arg(long, help_heading = "Cleaning")]
    keep_accounts: bool,
    /// Say what would be done, and send nothing
    #[arg(long, help_heading = "Cleaning", conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without a question
    #[arg(long, help_heading = "Cleaning")]
    yes: bool,
    /// Print the result as JSON
    #[arg(long, help_heading = "Cleaning")]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000.0).contains(&rate) => Ok(rate),
        _ => Err("write a number of requests per second from 0.01 to 1000".to_owned()),
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
    let Some(stored) = stored(&plan).await? else {
        print(format!(
            "Nothing is stored of {directory} in {}: there is nothing to clean.",
            redacted(&plan.state)
        ))?;
        return Ok(Exit::Passed);
    };
    let accounts = if options.keep_accounts { 0 } else { stored.registrations };
    let wanted = format!(
        "{} to revoke and {} to deactivate at {directory}",
        things(stored.certificates, "certificate"),
        things(accounts, "account")
    );
    if options.dry_run {
        print(format!("There are {wanted}. Nothing was sent."))?;
        return Ok(Exit::Passed);
    }
    if stored.processes > 0 {
        bail!("{} use what is stored of {directory}: end them first", things(stored.processes, "process"));
    }
    if stored.certificates + accounts == 0 {
        print(format!("There are {wanted}."))?;
        return Ok(Exit::Passed);
    }
    if !options.yes && !confirmed(&wanted)? {
        return Ok(Exit::Usage);
    }
    let clock = Clock::start();
    let client = stop.unless_stopped(connect(&plan, clock)).await?;
    let mut pace = interval(Duration::from_secs_f64(1.0 / options.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cleaner = Cleaner { client, clock, pace, stop: stop.clone(), done: Done::default(), in_a_row: 0 };
    let outcome = cleaner.clean(&plan, options.keep_accounts).await;
    let done = cleaner.done;
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

/// What is stored of the plan's CA.
async fn stored(plan: &Plan) -> anyhow::Result<Option<StoredCa>> {
    let catalogue = Catalogue::open(&plan.state).await?;
    let all = catalogue.list().await;
    catalogue.close().await;
    Ok(all?.into_iter().find(|stored| stored.directory == plan.directory.as_str()))
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

fn things(count: u64, one: &str) -> String {
    let more = match one {
        "process" => "es",
        _ => "s",
    };
    format!("{count} {one}{}", if count == 1 { "" } else { more })
}

/// What was done.
#[derive(Clone, Debug, Default)]
struct Done {
    revoked: u64,
    already_revoked: u64,
    deactivated: u64,
    already_deactivated: u64,
    failed: u64,
    /// Certificates that are left in the state: expired, or not revoked.
    certificates_left: u64,
    accounts_left: u64,
    first_failure: String,
}

impl Done {
    fn text(&self) -> String {
        let already = |count: u64| if count > 0 { format!(" ({count} already were)") } else { String::new() };
        let mut text = format!(
            "Revoked {}{}, deactivated {}{}; {} failed. Left in the state: {}, {}.",
            things(self.revoked, "certificate"),
            already(self.already_revoked),
            things(self.deactivated, "account"),
            already(self.already_deactivated),
            self.failed,
            things(self.certificates_left, "certificate"),
            things(self.accounts_left, "account"),
        );
        if !self.first_failure.is_empty() {
            text += &format!("\nThe first failure: {}", wec_text::visible(&self.first_failure));
        }
        text
    }

    fn json(&self) -> String {
        json!({
            "revoked": self.revoked,
            "already_revoked": self.already_revoked,
            "deactivated": self.deactivated,
            "already_deactivated": self.already_deactivated,
            "failed": self.failed,
            "certificates_left": self.certificates_left,
            "accounts_left": self.accounts_left,
            "first_failure": self.first_failure,
        })
        .to_string()
    }
}

struct Cleaner {
    client: Client,
    clock: Clock,
    pace: Interval,
    stop: Stop,
    done: Done,
    /// Failures since the last success.
    in_a_row: u32,
}

impl Cleaner {
    async fn clean(&mut self, plan: &Plan, keep_accounts: bool) -> anyhow::Result<()> {
        loop {
            let state = State::open(&plan.state, plan.directory.as_str(), StateOptions::default()).await?;
            state.follow(self.client.ca_clock());
            let outcome = self.once(&state, keep_accounts).await;
            let counts = state.counts();
            self.done.certificates_left = counts.certificates;
            self.done.accounts_left = counts.registrations;
            state.close().await.context("the last changes of the state")?;
            // Not all accounts are in memory at once.
            let more = outcome? && !keep_accounts && counts.registrations > 0;
            if !more || self.done.failed > 0 || self.stop.finish.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Cleans what this process gets from the database. Returns whether anything was done.
    async fn once(&mut self, state: &State, keep_accounts: bool) -> anyhow::Result<bool> {
        let before = self.done.revoked + self.done.deactivated;
        // They are claimed until the end, so that each is tried once.
        let mut failed: Vec<Claim<StoredCertificate>> = Vec::new();
        while let Some(claim) = self.next(state).await {
            self.pace.tick().await;
            match self.revoke(&claim).await {
                Ok(already) => {
                    self.done.revoked += 1;
                    self.done.already_revoked += u64::from(already);
                    self.in_a_row = 0;
                    state.certificate_revoked(claim, 0).await;
                }
                Err(failure) => {
                    failed.push(claim);
                    self.failed("revoke a certificate", &failure)?;
                }
            }
        }
        let keeps: HashSet<i64> = failed.iter().map(|claim| claim.registration.id).collect();
        if !keep_accounts {
            for registration in state.newest_registrations(usize::MAX) {
                if self.stop.finish.is_cancelled() {
                    break;
                }
                // The account is needed to try again.
                if !keeps.contains(&registration.id) {
                    self.pace.tick().await;
                    self.deactivate(state, &registration).await?;
                }
            }
        }
        Ok(self.done.revoked + self.done.deactivated > before)
    }

    /// A certificate; none when the database has no more, or after a signal.
    async fn next(&self, state: &State) -> Option<Claim<StoredCertificate>> {
        let until = Instant::now() + CLAIM_WITHIN;
        while !self.stop.finish.is_cancelled() {
            let claim = state.claim_certificate();
            if claim.is_some() || state.counts().certificates == 0 || Instant::now() >= until {
                return claim;
            }
            tokio::time::sleep(CLAIM_EVERY).await;
        }
        None
    }

    /// Revokes it with the account's key, or with its own where the CA refuses that of the account. Returns whether
    /// it was revoked already.
    async fn revoke(&mut self, claim: &StoredCertificate) -> Result<bool, Failure> {
        let trace = &mut Trace::new(self.clock);
        let account: &Account = &claim.registration.account;
        let mut answer = self.client.revoke(trace, Signer::Account(account), &claim.leaf_der, None).await;
        let refuses_account =
            |failure: &Failure| failure.kind == FailureClass::Problem && !is(failure, "alreadyRevoked");
        if answer.as_ref().is_err_and(refuses_account)
            && let Ok(key) = CertificateKey::from_pkcs8(&claim.key_pkcs8)
        {
            self.pace.tick().await;
            answer = self.client.revoke(trace, Signer::CertificateKey(&key), &claim.leaf_der, None).await;
        }
        match answer {
            Ok(()) => Ok(false),
            Err(failure) if is(&failure, "alreadyRevoked") => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    async fn deactivate(&mut self, state: &State, registration: &Arc<Registration>) -> anyhow::Result<()> {
        let trace = &mut Trace::new(self.clock);
        match self.client.deactivate_account(trace, &registration.account).await {
            Ok(()) => {}
            // RFC 8555 §7.3.6: a deactivated account is unauthorized.
            Err(failure) if is(&failure, "unauthorized") || is(&failure, "accountDoesNotExist") => {
                self.done.already_deactivated += 1;
            }
            Err(failure) => return self.failed("deactivate an account", &failure),
        }
        self.done.deactivated += 1;
        self.in_a_row = 0;
        state.registration_deactivated(registration).await;
        Ok(())
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// After many of them without a success.
    fn failed(&mut self, doing: &str, failure: &Failure) -> anyhow::Result<()> {
        self.done.failed += 1;
        self.in_a_row += 1;
        if self.done.first_failure.is_empty() {
            self.done.first_failure = format!("cannot {doing}: {}", failure.message);
        }
        if self.in_a_row >= MOST_FAILURES {
            bail!(
                "{MOST_FAILURES} requests failed one after the other, the last: cannot {doing}: {}",
                failure.message
            );
        }
        Ok(())
    }
}

/// Whether the CA answered with this problem.
fn is(failure: &Failure, problem: &str) -> bool {
    failure.problem.as_ref().is_some_and(|answered| answered.is(problem))
}
