//! `wec replay`: the page on the log of a run, or its load at a CA again.

mod drive;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use url::Url;
use wec_analytics::{Analytics, Reading, RecordedRun, ServedPage, Token};
use wec_requester::Flags;
use wec_startup::{Exit, Stop, say, show};

use self::drive::Drive;
use crate::logs;
use crate::output::{OutputOptions, Page};
use crate::reading::show_reading;

/// The heading in `--help`.
const HEADING: &str = "Replay";
/// Slowest and fastest replay in the page.
const SPEEDS: RangeInclusive<f64> = 1.0..=1_000.0;
/// The same of --drive.
const DRIVE_SPEEDS: RangeInclusive<f64> = 0.001..=1_000.0;

/// Options of `wec replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Speed as a multiple of the recorded run: in the page 1 to 1000 [default: show the end of the run at once];
    /// with --drive 0.001 to 1000 [default: 1]
    #[arg(long, value_name = "N", value_parser = speed, help_heading = HEADING)]
    speed: Option<f64>,
    /// Start the log's chains again, at their recorded times, at the CA with this ACME directory. The flags of
    /// a run require it
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    drive: Option<Url>,
    /// Refuse a log that is not complete
    #[arg(long, help_heading = HEADING)]
    strict: bool,
    #[command(flatten)]
    flags: Flags<Drive>,
    #[command(flatten)]
    output: OutputOptions,
}

fn speed(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a number: write 1 to 1000, or with --drive 0.001 to 1000");
    text.parse().ok().filter(|speed: &f64| speed.is_finite()).ok_or_else(wrong)
}

pub(crate) async fn replay(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { logs, speed, drive, strict, flags, output } = options;
    let logs = logs::whole(&logs);
    if let Some(directory) = drive {
        let speed = speed.unwrap_or(1.0);
        if let Err(error) = within(speed, &DRIVE_SPEEDS) {
            say(format_args!("error: {error}"));
            return Ok(Exit::Usage);
        }
        let recorded = drive::Recorded { logs, strict, directory, speed };
        return drive::drive(recorded, flags, output, stop).await;
    }
    if let Err(error) = only_shown(speed, &flags, &output) {
        say(format_args!("error: {error}"));
        return Ok(Exit::Usage);
    }
    let reading = Arc::new(Reading::of(&logs));
    let read = {
        let reading = Arc::clone(&reading);
        tokio::task::spawn_blocking(move || RecordedRun::read_noting(&logs, &reading))
    };
    let recorded = tokio::select! {
        biased;
        () = stop.finish.cancelled() => return Ok(Exit::Interrupted),
        recorded = read => recorded.context("reading the log")??,
        never = show_reading(&reading) => match never {},
    };
    tell(&recorded.problems(), strict)?;
    let run = recorded.id();
    let analytics = page(recorded, speed, output.listen, output.page_host).await?;
    if let Some(address) = analytics.web_addr() {
        show(format_args!("replay of run {run} on http://{address}/ until Ctrl-C"));
    }
    stop.finish.cancelled().await;
    analytics.finish().await;
    Ok(Exit::Passed)
}

fn within(speed: f64, speeds: &RangeInclusive<f64>) -> anyhow::Result<()> {
    ensure!(
        speeds.contains(&speed),
        "--speed {speed} is not a number from {} to {}",
        speeds.start(),
        speeds.end()
    );
    Ok(())
}

/// Checks that no option requires --drive.
fn only_shown(speed: Option<f64>, flags: &Flags<Drive>, output: &OutputOptions) -> anyhow::Result<()> {
    speed.map_or(Ok(()), |speed| within(speed, &SPEEDS))?;
    let given = flags.plan.flags();
    ensure!(given.is_empty(), "{} requires --drive: a replay in the page starts no chains", given.join(", "));
    let without_page = output.headless || output.listen == Some(Page::Off);
    ensure!(!without_page, "a replay is shown in the page: use wec report to print the summary");
    let files = output.json.is_some() || output.junit.is_some();
    ensure!(!files, "--json and --junit require --drive: use wec report --json to print the summary");
    Ok(())
}

async fn page(
    recorded: RecordedRun,
    speed: Option<f64>,
    listen: Option<Page>,
    allowed_hosts: Vec<String>,
) -> anyhow::Result<Analytics> {
    let listen = match listen {
        Some(Page::At(address)) => address,
        _ => free_or_usual(),
    };
    let page = ServedPage {
        // No other log is shown.
        folder: PathBuf::from("."),
        listen,
        allowed_hosts,
        token: std::env::var("WEC_TOKEN").ok().and_then(Token::new),
        opens_with: None,
    };
    page.replay(recorded, speed).await
}

/// The default address, or one with a free port when another program uses that.
fn free_or_usual() -> SocketAddr {
    match std::net::TcpListener::bind(crate::here::PAGE) {
        Ok(_) => crate::here::PAGE,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// Warns of the defects of a log, or refuses it if it is strict.
fn tell(problems: &[String], strict: bool) -> anyhow::Result<()> {
    if strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in problems {
        say(format_args!("warning: {problem}"));
    }
    Ok(())
}
