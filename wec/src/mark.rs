//! `wec mark`: puts a mark from outside on the time axis of a run.

use anyhow::Context as _;
use hyper::Method;
use serde_json::json;
use wec_record::Mark;
use wec_startup::{Exit, report};

use crate::session::{Way, concluded, escaped};

/// Options of `wec mark`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What happened: "deployed 1.4"
    text: String,
    /// The run [default: the live run that was started last]
    #[arg(long, value_name = "ID", default_value = "current")]
    run: String,
    /// The page of the run; its token, if required, is read from WEC_TOKEN [default: http://127.0.0.1:8089]
    #[arg(long, value_name = "URL", env = "WEC_AT", hide_env_values = true)]
    at: Option<String>,
    /// Print the mark as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn mark(options: Options) -> anyhow::Result<Exit> {
    let Options { text, run, at, json: as_json } = options;
    let way = match Way::open(at, None).await? {
        Ok(way) => way,
        Err(usage) => return Ok(usage),
    };
    let Way::Page(page) = &way else { unreachable!("no board was given") };
    let path = format!("runs/{}/marks", escaped(&run));
    let made = page.ask::<Mark>(Method::POST, &path, Some(&json!({ "text": text }))).await;
    concluded(made.and_then(|made| match as_json {
        true => report(serde_json::to_string_pretty(&made).context("the mark as JSON")?),
        false => report(format_args!("marked: {}", made.to)),
    }))
}
