//! `wec prefill`: brings a CA, and the stored state, to a number of accounts and certificates.
//!
//! What is stored counts, so a run that was interrupted goes on where it was. The load is a closed model: a number of
//! workers that wait for the CA's answers and back off after failures. Unless the number is given, [`Pace`] looks for the
//! one with which the most is made.

mod pace;

use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::time::{MissedTickBehavior, interval};
use url::Url;
use wec_analytics::{Snapshot, counted};
use wec_board::{By, Change, SessionState};
use wec_record::Chain;
use wec_record::plan::MAX_WORKERS;
use wec_requester::config::{Command, Key, Mistakes, Settings};
use wec_requester::executor::Load;
use wec_requester::picker::Weights;
use wec_requester::{Flags, Plan, Scenario};
use wec_startup::{Exit, Stop, WrongUse, report, say};
use wec_store::{Catalogue, Limits, StoreError};

use self::pace::Pace;
use crate::driven;
use crate::here::{self, Here, RunController, Running};
use crate::output::OutputOptions;

/// The heading in `--help`.
const HEADING: &str = "Size";
/// The names of the scenarios.
const ACCOUNTS: &str = "accounts";
const CERTIFICATES: &str = "certificates";
/// The weight of finalizing a ready order beside that of making one: orders do not accumulate.
const FINALIZES: f64 = 1_000.0;
/// Without a run time.
const NO_END: Duration = Duration::from_secs(365 * 86_400);
/// The run ends when nothing was made for this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at what was made, and looks between two lines for people.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 40;
/// Looks between two decisions about the number of workers.
const PACED: u32 = 20;

/// Options of `wec prefill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The CA's ACME directory; required, here or in the configuration file
    #[arg(long, value_name = "URL", env = "WEC_DIRECTORY", hide_env_values = true, help_heading = HEADING)]
    directory: Option<Url>,
    /// Number of accounts to reach, stored ones included: 5000, 250k, 1M
    #[arg(long, value_name = "N", value_parser = wec_fleet::time::count, help_heading = HEADING)]
    registrations: Option<u64>,
    /// Number of certificates to reach, stored ones included; revoked and replaced ones do not count
    #[arg(long, value_name = "N", value_parser = wec_fleet::time::count, help_heading = HEADING)]
    certificates: Option<u64>,
    #[command(flatten)]
    flags: Flags<Filling>,
    #[command(flatten)]
    output: OutputOptions,
}

/// The keys of a run that apply.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filling {}

impl Command for Filling {
    const OWN: &'static [&'static str] = &["directory"];
    const SETS_LOAD: bool = true;
    const KEEPS: &'static [&'static str] = &["workers"];
    /// It makes accounts and certificates only, and revokes nothing.
    const SETS: &'static [&'static str] = &[
        "abandon",
        "stop_before",
        "limit_registrations",
        "limit_authorizations",
        "limit_certificates",
        "revoke_reasons",
        "revoke_by_certificate_key",
        "revoke_by_other_account",
        "refusals",
        "steps",
    ];

    fn help(key: &Key) -> &'static str {
        match key.name {
            "workers" => {
                "Virtual users that make them concurrently [default: as many as make the most, from 50 on]"
            }
            _ => key.help,
        }
    }
}

/// Virtual users at first, if none are given.
const WORKERS: u32 = 50;
/// From this number of certificates on, the room that they take is told at the start.
const MANY: u64 = 100_000;
/// Room of a certificate in the log as JSON and as compressed binary form, and in a SQLite file, bytes. Measured with the
/// built-in CA, rounded up.
const LOGGED: u64 = 3_000;
const LOGGED_LEAST: u64 = 150;
const STORED: u64 = 1_300;

/// What is stored, or is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    accounts: u64,
    certificates: u64,
}

/// What is stored, and how many accounts, orders and certificates were ever made.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    now: Size,
    made: [u64; 3],
}

impl Size {
    fn text(self) -> String {
        format!(
            "{} and {}",
            counted(self.accounts, "account", "accounts"),
            counted(self.certificates, "certificate", "certificates")
        )
    }

    fn reaches(self, wanted: Self) -> bool {
        self.accounts >= wanted.accounts && self.certificates >= wanted.certificates
    }
}

pub(crate) async fn prefill(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { directory, registrations, certificates, flags, output } = options;
    if registrations.is_none() && certificates.is_none() {
        bail!(WrongUse("give --registrations or --certificates: there is nothing to make".to_owned()));
    }
    let (registrations, certificates) = (registrations.unwrap_or(0), certificates.unwrap_or(0));
    let settings = flags.plan.settings();
    let ends = settings.is_given("run_time");
    let (mut plan, workers) = match plan(settings, directory) {
        Ok(read) => read,
        Err(mistakes) => {
            say(&mistakes);
            output.leave_mistakes(&mistakes);
            return Ok(Exit::Usage);
        }
    };
    ensure!(
        !plan.state.contains(":memory:"),
        WrongUse("--state: a state in memory is lost at the end: give a file or a PostgreSQL".to_owned())
    );
    // A certificate needs an account.
    let accounts = registrations.max(u64::from(certificates > 0));
    let wanted = Size { accounts, certificates };
    let (state, directory) = (plan.state.clone(), plan.directory.to_string());
    let stored = stored(&state, &directory).await?;
    let have = stored.now;
    if have.reaches(wanted) {
        report(format_args!("{} are stored of {directory}: nothing to make", have.text()))?;
        return Ok(Exit::Passed);
    }
    fill(&mut plan, stored, wanted, (workers.unwrap_or(WORKERS), ends))?;
    let mut notes = vec![format!("{} are stored, {} are wanted", have.text(), wanted.text())];
    notes.extend(room(wanted.certificates.saturating_sub(have.certificates)));
    let here = Here { plan, output, notes, when_limited: "" };
    let pace = workers.is_none().then(|| Pace::new(WORKERS));
    let exit = here::run_controlled(here, &mut Filler { wanted, pace }, stop).await?;
    let now = self::stored(&state, &directory).await?.now;
    if now.reaches(wanted) {
        say(format_args!("{} are stored of {directory}", now.text()));
        return Ok(exit);
    }
    say(format_args!(
        "{} are stored of {directory}, {} are wanted: the same command goes on from here",
        now.text(),
        wanted.text()
    ));
    Ok(if exit == Exit::Passed { Exit::Failed } else { exit })
}

/// What many certificates take on the disk.
fn room(certificates: u64) -> Option<String> {
    let gigabytes = |each: u64| format!("{:.1} GB", (certificates * each) as f64 / 1e9);
    (certificates >= MANY).then(|| {
        format!(
            "{certificates} certificates take about {} in the log, with --log-format binary-zstd {}, and {} in a SQLite \
             file of the state",
            gigabytes(LOGGED),
            gigabytes(LOGGED_LEAST),
            gigabytes(STORED)
        )
    })
}

/// The plan without its scenarios, and the number of workers if it is given. Keys of a file that the size sets are errors.
fn plan(mut settings: Settings, directory: Option<Url>) -> Result<(Plan, Option<u32>), Mistakes> {
    let workers = settings.take("workers", |text| match text.parse() {
        Ok(number @ 1..=MAX_WORKERS) => Ok(number),
        _ => Err(format!("{text:?} is not a whole number from 1 to {MAX_WORKERS}")),
    });
    let plan =
        driven::plan::<Filling>(settings, directory, "wec prefill sets the load itself: leave it out")?;
    Ok((plan, workers))
}

/// What is stored of the CA; nothing if there is no store yet.
async fn stored(state: &str, directory: &str) -> anyhow::Result<Stored> {
    let catalogue = match Catalogue::open(state).await {
        Err(StoreError::NotThere { .. }) => return Ok(Stored::default()),
        catalogue => catalogue?,
    };
    let all = catalogue.list().await;
    catalogue.close().await;
    let found = all?.into_iter().find(|stored| stored.directory == directory);
    Ok(found.map_or_else(Stored::default, |stored| Stored {
        now: Size { accounts: stored.registrations, certificates: stored.certificates },
        made: stored.made,
    }))
}

/// Makes what is missing the load of the plan.
fn fill(plan: &mut Plan, stored: Stored, wanted: Size, (workers, ends): (u32, bool)) -> anyhow::Result<()> {
    let [base] = &plan.scenarios[..] else {
        bail!(WrongUse(
            "wec prefill makes the scenarios: use a configuration file without scenarios".to_owned()
        ));
    };
    let have = stored.now;
    let accounts = wanted.accounts.saturating_sub(have.accounts);
    let certificates = wanted.certificates.saturating_sub(have.certificates);
    let run_time = if ends { base.run_time } else { NO_END };
    let scenario = |name: &str, weights, load| Scenario {
        name: name.to_owned(),
        run_time,
        weights,
        load,
        ..base.clone()
    };
    let mut scenarios = Vec::new();
    if accounts > 0 {
        let load = Load::of_iterations(accounts, workers);
        scenarios.push(scenario(ACCOUNTS, Weights::only(Chain::Registration), load));
    }
    if certificates > 0 {
        let mut weights = Weights::only(Chain::Authorization);
        weights.set(Chain::Certificate, FINALIZES);
        let all = scenario(CERTIFICATES, weights, Load::of_workers(workers, Vec::new()));
        // All accounts are there for the first order.
        let after = (accounts > 0).then(|| ACCOUNTS.to_owned());
        scenarios.push(Scenario { after, ..all });
        let [_, orders_made, certificates_made] = stored.made;
        plan.limits = Limits {
            registrations: None,
            // Some orders fail to be finalized.
            authorizations: Some(orders_made + certificates + certificates / 10 + u64::from(workers)),
            certificates: Some(certificates_made + certificates),
        };
    }
    plan.scenarios = scenarios;
    Ok(())
}

/// Ends the run when everything is there, or when nothing is made any more.
struct Filler {
    wanted: Size,
    /// None if the number of workers is given.
    pace: Option<Pace>,
}

impl RunController for Filler {
    async fn steer(&mut self, run: Running<'_>) {
        if self.wanted.certificates == 0 {
            // The last account ends the run.
            return;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut since) = (Size::default(), run.clock.now());
        let mut work = Work::default();
        for look in 1_u32.. {
            looks.tick().await;
            if run.stop.finish.is_cancelled() {
                return;
            }
            let snapshot = run.analytics.snapshot();
            let state = snapshot.state;
            let now = Size { accounts: state.registrations, certificates: state.certificates };
            if now != before {
                (before, since) = (now, run.clock.now());
            }
            let silent = Duration::from_nanos(run.clock.now().saturating_sub(since));
            if silent >= PATIENCE {
                run.progress.tell("nothing was made for a minute: the run ends");
            }
            if now.reaches(self.wanted) || silent >= PATIENCE {
                let stop = Change::state(By::Cli, SessionState::Stopped);
                if run.board.change(run.session, stop).await.is_err() {
                    run.stop.finish.cancel();
                }
                return;
            }
            if look % LOOKS == 0 {
                run.progress.tell(&format!("{} of {}", now.text(), self.wanted.text()));
            }
            if look % PACED == 0
                && let Some(pace) = &mut self.pace
            {
                let done = Work::of(&snapshot);
                let workers =
                    pace.next(done.made - work.made, done.ended - work.ended, done.failed - work.failed);
                work = done;
                if let Some(workers) = workers {
                    let change = Change::workers(By::Schedule, workers).of(CERTIFICATES);
                    // The next look tries again.
                    let _ = run.board.change(run.session, change).await;
                }
            }
        }
    }
}

/// What was done so far: certificates made, chains that ended, and those of them that failed.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    made: u64,
    ended: u64,
    failed: u64,
}

impl Work {
    fn of(snapshot: &Snapshot) -> Self {
        let chains = || snapshot.chains.values();
        Self {
            made: snapshot.issued.count,
            ended: chains().map(|chain| chain.count).sum(),
            failed: chains().map(|chain| chain.failed).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(stored: Stored, wanted: Size) -> Plan {
        let (mut plan, _) = plan(Settings::default(), Url::parse("http://127.0.0.1:1/dir").ok()).unwrap();
        fill(&mut plan, stored, wanted, (7, false)).unwrap();
        plan
    }

    #[test]
    fn only_what_is_missing_is_made() {
        let names = |plan: &Plan| {
            let name = |scenario: &Scenario| format!("{} {:?}", scenario.name, scenario.load.iterations());
            plan.scenarios.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let wanted = Size { accounts: 10, certificates: 100 };
        let all = planned(Stored::default(), wanted);
        assert_eq!(names(&all), "accounts Some(10), certificates None");
        assert_eq!(all.scenarios[1].after.as_deref(), Some(ACCOUNTS));
        assert_eq!(all.limits.certificates, Some(100));
        // 40 certificates were revoked, which the limit counts and the size does not.
        let some =
            planned(Stored { now: Size { accounts: 10, certificates: 30 }, made: [12, 75, 70] }, wanted);
        assert_eq!(names(&some), "certificates None");
        assert_eq!((some.scenarios[0].after.as_deref(), some.limits.certificates), (None, Some(140)));
        assert_eq!(some.limits.authorizations, Some(75 + 70 + 7 + 7));
        let accounts = planned(Stored::default(), Size { accounts: 3, certificates: 0 });
        assert_eq!((names(&accounts), accounts.limits), ("accounts Some(3)".to_owned(), Limits::default()));
    }

    #[test]
    fn the_directory_is_that_of_the_flag_or_of_the_file() {
        let directory = |file: &str, flag: Option<&str>| {
            let mut settings = Settings::default();
            settings.text("load.toml", file);
            let plan = plan(settings, flag.map(|url| url.parse().unwrap()));
            plan.map(|(plan, _)| plan.directory.to_string()).map_err(|mistakes| mistakes.to_string())
        };
        let file = "directory = \"http://127.0.0.1:1/dir\"\n";
        assert_eq!(directory(file, None).unwrap(), "http://127.0.0.1:1/dir");
        assert_eq!(directory(file, Some("http://127.0.0.1:2/dir")).unwrap(), "http://127.0.0.1:2/dir");
        assert!(directory("", None).unwrap_err().starts_with("--directory: missing: the URL"));
    }

    #[test]
    fn the_workers_are_those_of_the_file_unless_a_flag_has_some() {
        let workers = |file: &str, flag: Option<&str>| {
            let options = wec_requester::PlanOptions::default();
            let mut settings = flag.map_or(options.clone(), |flag| options.with("workers", flag)).settings();
            settings.text("load.toml", file);
            let plan = plan(settings, Url::parse("http://127.0.0.1:1/dir").ok());
            plan.map(|(_, workers)| workers).map_err(|mistakes| mistakes.to_string())
        };
        assert_eq!(workers("", None), Ok(None));
        assert_eq!(workers("workers = 7\n", None), Ok(Some(7)));
        assert_eq!(workers("workers = 7\n", Some("9")), Ok(Some(9)));
        let wrong = workers("workers = 0\n", None).unwrap_err();
        assert_eq!(wrong, "load.toml:1: workers: \"0\" is not a whole number from 1 to 1000000");
    }

    #[test]
    fn the_load_in_a_file_is_refused() {
        let mut settings = Settings::default();
        settings.text("load.toml", "rate = 5\nlimit_certificates = 3\n");
        let error = plan(settings, Url::parse("http://127.0.0.1:1/dir").ok()).unwrap_err().to_string();
        for key in ["load.toml:1: rate", "load.toml:2: limit_certificates"] {
            assert!(error.contains(&format!("{key}: wec prefill sets the load itself")), "{error}");
        }
    }
}
