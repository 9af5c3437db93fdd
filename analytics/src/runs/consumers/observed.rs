//! Samples the metrics of other programs beside the current run.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wec_observe::{ObserveOptions, Sampler};
use wec_record::Record;

use super::ExportedRuns;
use crate::clock::unix_now_ns;

/// How often other programs are sampled.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// Starts a task for each program in the options.
pub(super) fn start(options: &ObserveOptions, runs: &ExportedRuns) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for source in &options.observe {
        match Sampler::new(source.clone(), options.observe_series.clone()) {
            Ok(sampler) => tasks.push(tokio::spawn(observing(sampler, runs.clone()))),
            Err(error) => tracing::warn!("nothing is observed: {error}"),
        }
    }
    tasks
}

/// Samples another program each second while a run goes on and results arrive. Its records belong to the current run.
async fn observing(mut sampler: Sampler, runs: ExportedRuns) {
    let mut seconds = tokio::time::interval(OBSERVE_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            () = runs.results_end.cancelled() => break,
        }
        let goes_on = {
            let run = runs.shown.current();
            let figures = run.figures().lock();
            figures.header().is_some() && !figures.is_stopped()
        };
        if !goes_on {
            continue;
        }
        let sampled = tokio::select! {
            sampled = sampler.sample(unix_now_ns) => sampled,
            () = runs.results_end.cancelled() => break,
        };
        if let Some(observation) = sampled
            && runs.ingest.deliver(vec![Record::Observation(observation)]).await.is_err()
        {
            break;
        }
    }
    sampler.conclude();
}
