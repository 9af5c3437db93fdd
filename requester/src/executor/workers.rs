//! A closed model: a number of workers, each of which starts its next iteration when its last one has ended.

use std::sync::Arc;

use wec_record::plan::{self, MAX_WORKERS, Stage};

use super::closed::ClosedModel;
use super::worker_loop::LoopConfig;
use super::{Context, Executor, Kind, Load, Start, config};
use crate::pace::Ramp;
use crate::settings::Scope;
use crate::settings::values::whole;

/// The row of the table of executors.
pub(super) const KIND: Kind =
    Kind { name: "workers", keys: &[], staged: true, selected_by: None, thinks: true, rate: None, read };

#[derive(Clone, Debug)]
struct Workers {
    /// Number of workers at the start.
    workers: u32,
    stages: Vec<Stage>,
}

fn read(s: &mut Scope<'_>, staged: bool) -> Load {
    let workers = config::workers(s);
    let stages = config::stages(s, staged, "workers", |text| whole(text, 0..=MAX_WORKERS).map(f64::from))
        .unwrap_or_default();
    let usual = if stages.is_empty() { config::WORKERS } else { 0 };
    load(workers.unwrap_or(usual), stages)
}

/// This number of workers at the start, then the stages.
pub(super) fn load(workers: u32, stages: Vec<Stage>) -> Load {
    Load::of(Workers { workers, stages })
}

impl Executor for Workers {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn workers(&self) -> Ramp {
        config::ramp(self.workers.into(), &self.stages)
    }

    fn recorded(&self) -> plan::Load {
        let Self { workers, stages } = self.clone();
        plan::Load::Workers { workers, stages }
    }

    fn start(&self, context: Context) -> Start {
        start(context)
    }
}

/// Starts workers that follow the target on the board, on every runtime.
pub(super) fn start(context: Context) -> Start {
    let Context { gauges, workers, quota, think_time, back_off, stop, permit, .. } = context;
    let config = LoopConfig { think: think_time, quota, back_off, pacing: None, permit: Some(permit) };
    Box::new(move |workforce, place| {
        let (gauges, target, config) = (Arc::clone(&gauges), workers.clone(), config.clone());
        Box::pin(ClosedModel { workforce, gauges, target, config, place }.run(stop.clone()))
    })
}
