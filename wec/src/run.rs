//! `wec run` and `wec requester`: load against any ACME CA.

use wec_requester::config::plan::plan;
use wec_requester::config::{Decided, Mistakes, Run, Settings};
use wec_requester::{Flags, Plan, RemoteOptions, run_remote};
use wec_startup::{Exit, Stop, say, show};

use crate::capacity;
use crate::here::{self, Here};
use crate::output::OutputOptions;
use crate::secret::eab_hmac_key;

/// Options of `wec run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Run>,
    #[command(flatten)]
    output: OutputOptions,
}

/// Options of `wec requester`.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoteRun {
    #[command(flatten)]
    flags: Flags<Run>,
    #[command(flatten)]
    remote: RemoteOptions,
}

pub(crate) async fn run(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    run_plan(resolve(options.flags.plan.settings(), Decided::default()), options.output, stop).await
}

/// Reads a plan. The table `[capacity]` of its file, which has no effect here, is read for its errors.
pub(crate) fn resolve(mut settings: Settings, decided: Decided) -> Result<Plan, Mistakes> {
    let plan = plan(&mut settings, decided, eab_hmac_key());
    capacity::check(&mut settings);
    settings.finish().map(|()| plan)
}

/// Runs a plan in this process, or reports its errors.
pub(crate) async fn run_plan(
    plan: Result<Plan, Mistakes>,
    output: OutputOptions,
    stop: Stop,
) -> anyhow::Result<Exit> {
    match plan {
        Ok(plan) => here::run(Here { plan, output, notes: Vec::new(), when_limited: "" }, stop).await,
        Err(mistakes) => {
            say(&mistakes);
            output.leave_mistakes(&mistakes);
            Ok(Exit::Usage)
        }
    }
}

pub(crate) async fn remote(options: RemoteRun, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match resolve(options.flags.plan.settings(), Decided::default()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    // With challenges in memory, this process also answers the CA; its hits are not counted, because
    // analytics is another process.
    let (challenges, server) =
        stop.unless_stopped(here::challenges(&plan, &options.remote.delivery.tls)).await?;
    let delivered = run_remote(plan, options.remote, challenges, stop.clone()).await?;
    if let Some(server) = server {
        server.finish().await;
    }
    show(delivered.report());
    Ok(delivered.exit(&stop))
}
