//! `wec fleet plan`: the fleet in simulated time, against a model of a CA.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wec_fleet::outlook::Series;
use wec_fleet::{Outlook, Picture, Recorder, Scenario, text, time};
use wec_startup::{Beside, Exit, Stop, report, say, write_beside};

use super::settings::FleetFlags;

/// The heading in `--help`.
const HEADING: &str = "Output";

/// Options of `wec fleet plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    fleet: FleetFlags,
    /// Length of the window with the most orders, which is reported beside the worst minute
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = step, help_heading = HEADING)]
    window: i32,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE|-", help_heading = HEADING)]
    json: Option<PathBuf>,
    /// Write the series as CSV to a file, or to standard output with -
    #[arg(long, value_name = "FILE|-", help_heading = HEADING)]
    csv: Option<PathBuf>,
    /// Draw orders, issued certificates and the backlog over time, as SVG
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    svg: Option<PathBuf>,
    /// The time of each row of the CSV
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = step, help_heading = HEADING)]
    step: i32,
}

fn step(text: &str) -> Result<i32, String> {
    match time::duration(text)? {
        0 => Err(format!("{text:?} must be longer than 0s")),
        seconds => Ok(seconds),
    }
}

pub(crate) async fn plan(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { fleet, window, json, csv, svg, step } = options;
    let scenario = match fleet.scenario() {
        Ok(scenario) => scenario,
        Err(wrong) => {
            say(format_args!("error: {wrong}"));
            return Ok(Exit::Usage);
        }
    };
    let is_stdout = |file: &Option<PathBuf>| file.as_deref().is_some_and(|file| file == Path::new("-"));
    if is_stdout(&json) && is_stdout(&csv) {
        say("error: --json and --csv cannot both write to standard output: give one of them a file");
        return Ok(Exit::Usage);
    }
    let (simulated, to) = (scenario.clone(), csv.clone());
    let simulation = tokio::task::spawn_blocking(move || simulate(&simulated, (window, step), to.as_deref()));
    let Some(simulated) = stop.finish.run_until_cancelled(simulation).await else {
        wec_startup::remove_unfinished();
        say("interrupted");
        // The simulation cannot be stopped otherwise.
        std::process::exit(Exit::Interrupted.code().into());
    };
    let (outlook, picture) = simulated.context("simulating the fleet")??;
    if let Some(file) = svg.as_deref() {
        write(file, &picture.svg())?;
    }
    if let Some(file) = json.as_deref() {
        let figures = serde_json::to_string_pretty(&outlook)?;
        if is_stdout(&json) { report(&figures)? } else { write(file, &(figures + "\n"))? }
    }
    if !is_stdout(&json) && !is_stdout(&csv) {
        report(text::outlook(&scenario, &outlook).trim_end())?;
    }
    Ok(if outlook.balanced { Exit::Passed } else { Exit::Bug })
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    write_beside(file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

/// Simulates the fleet, and writes its series if a file is given.
fn simulate(
    scenario: &Scenario,
    (window, step): (i32, i32),
    csv: Option<&Path>,
) -> anyhow::Result<(Outlook, Picture)> {
    let mut picture = Picture::new(scenario);
    let Some(file) = csv else {
        let outlook = Recorder::run(scenario, window, |tick| picture.add(tick));
        return Ok((outlook, picture));
    };
    let failed = || format!("cannot write {}", file.display());
    let outlook = if file == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let outlook =
            write_series(scenario, (window, step), (&mut out, &mut picture)).with_context(failed)?;
        out.flush().with_context(failed)?;
        outlook
    } else {
        let mut out = BufWriter::new(Beside::new(file).with_context(failed)?);
        let outlook =
            write_series(scenario, (window, step), (&mut out, &mut picture)).with_context(failed)?;
        out.into_inner().map_err(|error| error.into_error()).and_then(Beside::finish).with_context(failed)?;
        outlook
    };
    Ok((outlook, picture))
}

fn write_series(
    scenario: &Scenario,
    (window, step): (i32, i32),
    (out, picture): (&mut impl Write, &mut Picture),
) -> std::io::Result<Outlook> {
    let mut series = Series::new(scenario, step);
    let mut written = writeln!(out, "{}", Series::header(scenario));
    let outlook = Recorder::run(scenario, window, |tick| {
        picture.add(tick);
        if let Some(row) = series.row(tick)
            && written.is_ok()
        {
            written = writeln!(out, "{row}");
        }
    });
    written.map(|()| outlook)
}
