//! `wec doctor`: checks a CA and this machine before a load, and shows the way out of each problem.
//!
//! | file | subject |
//! | --- | --- |
//! | [`finding`] | the table of checks, findings and the report |
//! | [`judge`] | what is found about a CA, from what was measured |
//! | [`order`] | one account and one order for each challenge type, watched |
//! | [`machine`] | limits, memory and the ceiling of this machine |

mod finding;
mod judge;
mod machine;
mod order;

use wec_acme::Clock;
use wec_requester::config::{Command, Decided, Key};
use wec_requester::{Flags, Plan, connect, known_server};
use wec_startup::{Exit, Stop, TextStyle, report as print, say};

use self::finding::{Check, Finding, Report};
use self::order::Watched;
use crate::calibrate;
use crate::run::resolve;

/// Other keys of a plan that matter for the checks.
const KEYS: [&str; 18] = [
    "contact",
    "eab_kid",
    "eab_file",
    "eab_key",
    "workers",
    "rate",
    "connections",
    "base_domain",
    "challenge_types",
    "challenges",
    "dns_challenges",
    "http01_listen",
    "tlsalpn01_listen",
    "dns_listen",
    "max_connections",
    "threads",
    "poll_timeout",
    "poll_interval",
];

/// The flags of this command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Checking {}

impl Command for Checking {
    fn takes(key: &Key) -> bool {
        key.of_ca || KEYS.contains(&key.name)
    }
}

/// Options of `wec doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Checking>,
    /// Only read the directory: register no account and order no name
    #[arg(long, help_heading = "Checks")]
    no_order: bool,
    /// Also measure the load that this machine can make, for a few seconds
    #[arg(long, help_heading = "Checks")]
    calibrate: bool,
    /// Print the findings as JSON
    #[arg(long, help_heading = "Checks")]
    json: bool,
}

pub(crate) async fn doctor(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match resolve(options.flags.plan.settings(), Decided::default()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    let checks = async {
        let Watched { mut findings, steps } = examine(&plan, options.no_order).await;
        let measured = if options.calibrate { Some(calibrate::briefly(&stop).await?) } else { None };
        findings.extend(machine::findings(&plan, measured));
        let directory = wec_text::without_query(plan.directory.as_str()).into_owned();
        anyhow::Ok(Report::new(directory, findings, steps))
    };
    let found = stop.unless_stopped(checks).await?;
    if options.json {
        print(serde_json::to_string_pretty(&found)?)?;
    } else {
        print(found.text(TextStyle::stdout()))?;
    }
    Ok(found.exit())
}

/// The checks of the CA, which end at the first step that makes the next ones impossible.
async fn examine(plan: &Plan, no_order: bool) -> Watched {
    let clock = Clock::start();
    let cacert = plan.cacert.as_ref().map(|path| path.display().to_string());
    let client = match connect(plan, clock).await {
        Ok(client) => client,
        Err(error) => {
            return Watched { findings: judge::not_started(&error, cacert.as_deref()), steps: Vec::new() };
        }
    };
    let directory = client.directory();
    let host = plan.directory.host_str().unwrap_or_default();
    let mut findings = vec![
        Finding::ok(Check::Target, format!("{host} may be loaded")),
        Finding::ok(Check::Reachable, "the server answers"),
        judge::trusted(plan.directory.scheme(), plan.insecure, cacert.as_deref()),
        judge::resources(directory),
        judge::server(known_server(directory), machine::workers(plan)),
        judge::profiles(&directory.meta),
        judge::external_account(directory.meta.external_account_required, !plan.eab.is_empty()),
        judge::clock(client.ca_clock().ahead()),
    ];
    if no_order || directory.meta.external_account_required && plan.eab.is_empty() {
        return Watched { findings, steps: Vec::new() };
    }
    let watched = order::watch(plan, &client, clock).await;
    findings.extend(watched.findings);
    Watched { findings, ..watched }
}
