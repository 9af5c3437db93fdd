//! `wec clean`: revokes the certificates and deactivates the accounts that runs left at a CA.
//!
//! The state store has their keys. What is done is removed from it, so an interrupted command can be repeated.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
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
    /// Revocations and deactivations per second at most; nonces and retries come on top
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
    let all = stored(&plan).await?;
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
    let untouched = Done {
        certificates_left: stored.certificates,
        accounts_left: stored.registrations,
        ..Done::default()
    };
    let accounts = if options.keep_accounts { 0 } else { stored.registrations };
    let wanted = format!(
        "{} to revoke and {} to deactivate at {directory}",
        things(stored.certificates, "certificate"),
        things(accounts, "account")
    );
    if options.dry_run {
        match options.json {
            true => print(untouched.json())?,
            false => print(format!("There are {wanted}. Nothing was sent."))?,
        }
        return Ok(Exit::Passed);
    }
    if stored.processes > 0 {
        bail!("{} use what is stored of {directory}: end them first", things(stored.processes, "process"));
    }
    if stored.certificates + accounts == 0 {
        match options.json {
            true => print(untouched.json())?,
            false => print(format!("There are {wanted}."))?,
        }
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

/// What is stored of all CAs.
async fn stored(plan: &Plan) -> anyhow::Result<Vec<StoredCa>> {
    let catalogue = Catalogue::open(&plan.state).await?;
    let all = catalogue.list().await;
    catalogue.close().await;
    Ok(all?)
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
    /// Certificates and accounts that the CA does not know.
    certificates_gone: u64,
    accounts_gone: u64,
    failed: u64,
    /// Certificates that are left in the state: expired, or not revoked.
    certificates_left: u64,
    accounts_left: u64,
    first_failure: String,
}

impl Done {
    /// What need not be tried again.
    const fn ended(&self) -> u64 {
        self.revoked + self.certificates_gone + self.deactivated + self.accounts_gone
    }

    fn text(&self) -> String {
        let already = |count: u64| if count > 0 { format!(" ({count} already were)") } else { String::new() };
        let gone = match (self.certificates_gone, self.accounts_gone) {
            (0, 0) => String::new(),
            (certificates, accounts) => format!(
                " Gone at the CA, which does not know them: {}, {}.",
                things(certificates, "certificate"),
                things(accounts, "account")
            ),
        };
        let mut text = format!(
            "Revoked {}{}, deactivated {}{}; {} failed.{} Left in the state: {}, {}.",
            things(self.revoked, "certificate"),
            already(self.already_revoked),
            things(self.deactivated, "account"),
            already(self.already_deactivated),
            self.failed,
            gone,
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
            "certificates_gone": self.certificates_gone,
            "accounts_gone": self.accounts_gone,
            "failed": self.failed,
            "certificates_left": self.certificates_left,
            "accounts_left": self.accounts_left,
            "first_failure": self.first_failure,
        })
        .to_string()
    }
}

/// How a certificate or an account ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By this request.
    Now,
    /// Before it: the CA says that it is revoked or deactivated.
    Before,
    /// The CA does not know it.
    Gone,
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
        let before = self.done.ended();
        let finish = self.stop.finish.clone();
        // They are claimed until the end, so that each is tried once.
        let mut failed: Vec<Claim<StoredCertificate>> = Vec::new();
        while let Some(claim) = self.next(state).await {
            // A signal drops it: whatever came of it, the certificate stays in the state.
            let Some(answer) = finish.run_until_cancelled(self.revoke(&claim)).await else { break };
            match answer {
                Ok(Ended::Gone) => {
                    self.done.certificates_gone += 1;
                    self.in_a_row = 0;
                    state.certificate_gone(claim, "the CA does not know it").await;
                }
                Ok(ended) => {
                    self.done.revoked += 1;
                    self.done.already_revoked += u64::from(ended == Ended::Before);
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
                // The account is needed to try again.
                if keeps.contains(&registration.id) {
                    continue;
                }
                let Some(answer) = finish.run_until_cancelled(self.deactivate(&registration)).await else {
                    break;
                };
                match answer {
                    Ok(Ended::Gone) => {
                        self.done.accounts_gone += 1;
                        self.in_a_row = 0;
                        state.registration_gone(&registration).await;
                    }
                    Ok(ended) => {
                        self.done.deactivated += 1;
                        self.done.already_deactivated += u64::from(ended == Ended::Before);
                        self.in_a_row = 0;
                        state.registration_deactivated(&registration).await;
                    }
                    Err(failure) => self.failed("deactivate an account", &failure)?,
                }
            }
        }
        Ok(self.done.ended() > before)
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

    /// Revokes it with the account's key, or with its own where the CA refuses that of the account.
    async fn revoke(&mut self, claim: &StoredCertificate) -> Result<Ended, Failure> {
        let trace = &mut Trace::new(self.clock);
        let account: &Account = &claim.registration.account;
        self.pace.tick().await;
        let mut answer = self.client.revoke(trace, Signer::Account(account), &claim.leaf_der, None).await;
        let mut account_is_gone = false;
        if let Err(failure) = &answer
            && failure.kind == FailureClass::Problem
            && !is(failure, "alreadyRevoked")
            && let Ok(key) = CertificateKey::from_pkcs8(&claim.key_pkcs8)
        {
            account_is_gone = is(failure, "accountDoesNotExist");
            self.pace.tick().await;
            answer = self.client.revoke(trace, Signer::CertificateKey(&key), &claim.leaf_der, None).await;
        }
        match answer {
            Ok(()) => Ok(Ended::Now),
            Err(failure) => end_of_certificate(&failure, account_is_gone).ok_or(failure),
        }
    }

    async fn deactivate(&mut self, registration: &Registration) -> Result<Ended, Failure> {
        self.pace.tick().await;
        let trace = &mut Trace::new(self.clock);
        match self.client.deactivate_account(trace, &registration.account).await {
            Ok(()) => Ok(Ended::Now),
            Err(failure) => end_of_account(&failure).ok_or(failure),
        }
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// After many of them without a success.
    fn failed(&mut self, doing: &str, failure: &Failure) -> anyhow::Result<()> {
        // This command does not have that flag.
        let why = failure.message.replace(" (--max-retry-after)", "");
        self.done.failed += 1;
        self.in_a_row += 1;
        if self.done.first_failure.is_empty() {
            self.done.first_failure = format!("cannot {doing}: {why}");
        }
        if self.in_a_row >= MOST_FAILURES {
            bail!("{MOST_FAILURES} requests failed one after the other, the last: cannot {doing}: {why}");
        }
        Ok(())
    }
}

/// How a certificate ended whose revocation was refused; none if it may be valid.
fn end_of_certificate(failure: &Failure, account_is_gone: bool) -> Option<Ended> {
    if is(failure, "alreadyRevoked") {
        return Some(Ended::Before);
    }
    // After a reset the CA knows neither.
    let unknown = ["no such certificate", "unable to find", "not found"];
    let is_unknown = failure.kind == FailureClass::Problem
        && (failure.status == 404 || unknown.iter().any(|words| detail(failure).contains(words)));
    (account_is_gone && is_unknown).then_some(Ended::Gone)
}

/// How an account ended whose deactivation was refused; none if it may be valid.
fn end_of_account(failure: &Failure) -> Option<Ended> {
    if is(failure, "accountDoesNotExist") {
        return Some(Ended::Gone);
    }
    // RFC 8555 §7.3.6: a deactivated account is unauthorized. So is whatever else a CA or what is before it refuses:
    // only its words tell. Pebble: "Account has been deactivated", Boulder: "Account is not valid, has status
    // "deactivated"".
    let says = detail(failure);
    (is(failure, "unauthorized") && says.contains("account") && says.contains("deactivated"))
        .then_some(Ended::Before)
}

/// The problem's detail in lower case.
fn detail(failure: &Failure) -> String {
    failure.problem.as_ref().map_or_else(String::new, |problem| problem.detail.to_ascii_lowercase())
}

/// Whether the CA answered with this problem.
fn is(failure: &Failure, problem: &str) -> bool {
    failure.problem.as_ref().is_some_and(|answered| answered.is(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, kind: &str, detail: &str) -> Failure {
        let document = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        Failure {
            problem: wec_acme::Problem::parse(document.to_string().as_bytes()).map(Box::new),
            status,
            ..Failure::new(FailureClass::Problem, detail)
        }
    }

    #[test]
    fn only_an_account_that_the_ca_says_is_deactivated_was_deactivated_before() {
        for (status, kind, detail, ended) in [
            (403, "unauthorized", "the WAF says no", None),
            (401, "unauthorized", "", None),
            (403, "unauthorized", "Account has been deactivated", Some(Ended::Before)),
            (403, "unauthorized", "Account is not valid, has status \"deactivated\"", Some(Ended::Before)),
            (401, "unauthorized", "the account is deactivated", Some(Ended::Before)),
            (400, "accountDoesNotExist", "unable to find account", Some(Ended::Gone)),
            (400, "malformed", "the account is deactivated", None),
        ] {
            assert_eq!(end_of_account(&refused(status, kind, detail)), ended, "{kind} {detail}");
        }
    }

    #[test]
    fn a_certificate_is_gone_only_with_its_account() {
        let unknown = refused(404, "malformed", "Unable to find specified certificate.");
        assert_eq!(end_of_certificate(&unknown, true), Some(Ended::Gone));
        assert_eq!(end_of_certificate(&unknown, false), None);
        let no = refused(403, "unauthorized", "the WAF says no");
        assert_eq!(end_of_certificate(&no, true), None);
        let already = refused(400, "alreadyRevoked", "");
        assert_eq!(end_of_certificate(&already, false), Some(Ended::Before));
    }

    #[test]
    fn what_is_gone_is_said_by_itself() {
        let done = Done { accounts_gone: 2, ..Done::default() };
        assert!(done.text().contains("deactivated 0 accounts; 0 failed. Gone at the CA"), "{}", done.text());
        assert!(!Done::default().text().contains("Gone"));
    }
}
