//! `wec export`: writes the points of a log to another database.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use wec_analytics::read_reports;
use wec_consumer::{InfluxOptions, RecordedPoints, Times, Writer, parse_interval};
use wec_startup::{Exit, say, show};

use crate::logs;

/// Time limit for writing the last points.
const LAST_POINTS: Duration = Duration::from_secs(60);

/// Options of `wec export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, clap::Subcommand)]
enum To {
    /// Write the points of a run into InfluxDB: the same as with --consumer during the run
    Influx(Influx),
}

/// Options of `wec export influx`.
#[derive(Debug, clap::Args)]
struct Influx {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    database: InfluxOptions,
    /// Time between two points
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_interval, help_heading = "Points")]
    interval: Duration,
    /// Refuse a log that is not complete
    #[arg(long, help_heading = "Points")]
    strict: bool,
}

pub(crate) async fn export(options: Options) -> anyhow::Result<Exit> {
    let To::Influx(Influx { logs, database, interval, strict }) = options.to;
    let Some(database) = database.database()? else {
        say("error: a database is required: set --influx http://HOST:8086");
        return Ok(Exit::Usage);
    };
    let (found, points) = tokio::task::spawn_blocking(move || {
        let logs = logs::whole(&logs);
        let mut recorded = RecordedPoints::new(Times { interval, ..Times::default() });
        let mut points = Ok(Vec::new());
        let found = read_reports(&logs, interval, |report| {
            if let Ok(all) = &mut points {
                match recorded.points(report) {
                    Ok(more) => all.extend(more),
                    Err(why) => points = Err(why),
                }
            }
        })?;
        anyhow::Ok((found, points.map_err(anyhow::Error::msg)?))
    })
    .await??;
    if found.header.is_none() {
        bail!(
            "the log has no header, so its points would have neither the run's id nor its start: give the first file of the \
             log, too; a log of the 2015 design has no header"
        );
    }
    let problems = found.why_incomplete();
    if strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in problems {
        say(format_args!("warning: {problem}"));
    }
    let place = database.place();
    let writer = Writer::start(database, points.len());
    writer.push(points);
    let counts = writer.finish(LAST_POINTS).await;
    if counts.dropped > 0 {
        bail!("{} of {} points were not written", counts.dropped, counts.dropped + counts.written);
    }
    show(format_args!("{} points written to the {place}", counts.written));
    Ok(Exit::Passed)
}
