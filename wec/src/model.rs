//! `wec model`: the load of a CA's access logs as a configuration file for `wec run`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use url::Url;
use wec_model::{Counts, Mapping, Model, ModelSettings, Paths, Skipped};
use wec_startup::{Exit, Stop, WrongUse, report, say, write_beside};

use crate::output::refuse_an_input;

/// The heading in `--help`.
const HEADING: &str = "Model";

/// Options of `wec model`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Access logs of a CA, one after the other: lines of Boulder's WFE, nginx's combined format or JSON, Caddy's JSON;
    /// plain or compressed by zstd; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-", help_heading = HEADING)]
    output: PathBuf,
    /// The load as a multiple of the log's: 2, or 200%
    #[arg(long, value_name = "N", default_value = "1", value_parser = scale, help_heading = HEADING)]
    scale: f64,
    /// The CA's ACME directory, for the file [default: none; wec run then needs --directory]
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    directory: Option<Url>,
    /// A path prefix that only this CA has, and its endpoint: /v2/orders/=order; may be repeated
    #[arg(long = "map", value_name = "PREFIX=ENDPOINT", help_heading = HEADING)]
    mappings: Vec<Mapping>,
    /// Least share of the requests for which a kind of client gets scenarios of its own; 100% for one load of
    /// all clients
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = share, help_heading = HEADING)]
    client_share: f64,
    /// Largest number of time steps in which requests are counted; a longer log has longer steps
    #[arg(long, value_name = "N", default_value_t = 1_800, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = HEADING)]
    steps: u32,
    /// How long the CA may take to validate and to issue: objects that the load needs at its begin are made this long
    /// before it
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = settle, help_heading = HEADING)]
    settle: Duration,
}

fn number(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    number.trim().parse::<f64>().ok().map(|number| number / unit).filter(|number| number.is_finite())
}

fn scale(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|scale| *scale > 0.0 && *scale <= 1e6)
        .ok_or_else(|| format!("{text:?} is not a multiple above 0 like 2, 0.5 or 200%"))
}

fn share(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{text:?} is not a share from 0% to 100%"))
}

fn settle(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|time| *time <= Duration::from_secs(3_600))
        .ok_or_else(|| format!("{text:?} is not a time up to 1h like 5s"))
}

pub(crate) async fn model(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    if options.output.as_os_str() != "-" {
        refuse_an_input(&options.output, &options.logs)?;
    }
    if options.logs.iter().filter(|log| log.as_os_str() == "-").count() > 1 {
        bail!(WrongUse("standard input can be read only once: give one -".to_owned()));
    }
    let Options { logs, output, scale, directory, mappings, client_share, steps, settle } = options;
    let counting = tokio::task::spawn_blocking(move || {
        let mut counts = Counts::new(Paths::new(mappings), steps as usize);
        wec_model::read(&logs, &mut counts).map(|skipped| (counts, skipped))
    });
    let Some(counted) = stop.finish.run_until_cancelled(counting).await else {
        say("interrupted");
        // The reader may wait for standard input.
        std::process::exit(Exit::Interrupted.code().into());
    };
    let (counts, skipped) = counted.context("reading the logs")??;
    tell(&skipped);
    let directory = directory.map(String::from);
    let model = Model::of(&counts, ModelSettings { scale, directory, client_share, settle });
    let model = model.map_err(anyhow::Error::msg)?;
    let (elsewhere, paths) = counts.elsewhere();
    if elsewhere > 0 {
        say(format_args!(
            "{elsewhere} requests to paths that are no ACME server's are left out, such as {}; --map names such paths",
            paths.join(", ")
        ));
    }
    if output == Path::new("-") {
        report(model.toml().trim_end())?;
        return Ok(Exit::Passed);
    }
    write_beside(&output, model.toml().as_bytes())
        .with_context(|| format!("cannot write {}", output.display()))?;
    model.facts().iter().for_each(say);
    let (starts, _) = model.starts();
    let chains: u64 = starts.iter().map(wec_model::Starts::total).sum();
    say(format_args!(
        "{} starts {chains} chains in {} scenarios, after {} s of preparation",
        output.display(),
        starts.len(),
        model.begin()
    ));
    Ok(Exit::Passed)
}

fn tell(skipped: &Skipped) {
    let Skipped { lines, other, unreadable, examples } = skipped;
    if *other > 0 {
        say(format_args!("{other} of {lines} lines are about no request"));
    }
    if *unreadable > 0 {
        say(format_args!("warning: {unreadable} of {lines} lines cannot be read and are left out:"));
        for (path, number, why) in examples {
            say(format_args!("  {}, line {number}: {why}", path.display()));
        }
        if *unreadable > examples.len() as u64 {
            say("  …");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_and_shares_are_read_and_errors_named() {
        assert_eq!((scale("2"), scale("200%"), scale(" 50 %")), (Ok(2.0), Ok(2.0), Ok(0.5)));
        assert_eq!((share("2%"), share("0.02"), share("100%")), (Ok(0.02), Ok(0.02), Ok(1.0)));
        for text in ["0", "-1", "nan", "inf", "twice", ""] {
            assert!(scale(text).unwrap_err().contains("is not a multiple above 0"), "{text}");
        }
        assert!(share("101%").unwrap_err().contains("is not a share"));
        assert!(settle("soon").unwrap_err().contains("is not a time"));
    }
}
