//! A fixed number of iterations, shared by the workers of all runtimes: exactly this many run, then their
//! executors end.

use std::time::Duration;

use wec_record::plan;

use super::{Context, Executor, Kind, Load, Start, config, workers};
use crate::pace::Ramp;
use crate::settings::Key;
use crate::settings::KeyKind::Whole;
use crate::settings::Scope;
use crate::settings::values::whole;

/// The row of the table of executors.
pub(super) const KIND: Kind = Kind {
    name: "iterations",
    keys: &[Key::of_executor(
        "iterations",
        "N",
        Whole,
        "Run this many chains in total, shared by the workers",
    )
    .short('n')
    .usual()],
    staged: false,
    selected_by: Some("iterations"),
    thinks: true,
    rate: None,
    read,
};

#[derive(Clone, Copy, Debug)]
struct Iterations {
    /// Number of iterations, all workers together.
    iterations: u64,
    /// Number of workers that share them.
    workers: u32,
}

/// So many iterations, shared by these workers.
pub(super) fn load(iterations: u64, workers: u32) -> Load {
    Load::of(Iterations { iterations, workers })
}

fn read(s: &mut Scope<'_>, _staged: bool) -> Load {
    let workers = config::workers(s).unwrap_or(config::WORKERS);
    let iterations = s.take("iterations", |text| whole(text, 1..=u64::MAX));
    if iterations.is_none() && !s.is_given("iterations") {
        s.mistake("iterations", "missing: give the number of iterations, as in 1000");
    }
    Load::of(Iterations { iterations: iterations.unwrap_or(1), workers })
}

impl Executor for Iterations {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn iterations(&self) -> Option<u64> {
        Some(self.iterations)
    }

    fn workers(&self) -> Ramp {
        Ramp::constant(self.workers.into())
    }

    /// The count ends the scenario; the time is only an upper bound.
    fn usual_run_time(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn recorded(&self) -> plan::Load {
        let Self { iterations, workers } = *self;
        plan::Load::Iterations { iterations, workers }
    }

    fn start(&self, context: Context) -> Start {
        workers::start(context)
    }
}
