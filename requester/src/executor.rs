//! Executors: who decides when a virtual user starts its next iteration.
//!
//! [`EXECUTORS`] is the table of them. Each has a file with its configuration, its validation, its load over time and its
//! start; `docs/adding-an-executor.md` lists the steps to add one. What several executors use has files of its own:
//! [`closed`] (so many workers at a time, each in a [`worker_loop`]), [`schedule`], [`quota`], [`gauges`] and [`config`].

mod arrival_rate;
mod back_off;
mod closed;
mod config;
mod gauges;
mod iterations;
mod quota;
mod relay;
mod schedule;
mod target_rps;
mod worker_loop;
mod workers;

use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_record::plan::{self, RateUnit, Stage};
use wec_startup::Stop;

use crate::config::settings::Scope;
use crate::pace::Ramp;

pub use back_off::{BackOff, OnFailure};
pub use config::{Rate, rate};
pub use gauges::Gauges;
pub use quota::Quota;
pub use schedule::ArrivalSchedule;

/// The most workers of one scenario.
pub(crate) const MAX_WORKERS: u32 = 1_000_000;

/// Every executor. The first one is used when a scenario names none. Of several that are selected by a key, the last one
/// is meant.
static EXECUTORS: [Kind; 4] = [workers::KIND, arrival_rate::KIND, target_rps::KIND, iterations::KIND];

/// A row of the table of executors.
#[derive(Debug)]
pub struct Kind {
    /// The name as people write it.
    name: &'static str,
    /// The keys that not every executor has.
    keys: &'static [&'static str],
    /// The key that selects this executor when `executor` is not given.
    selected_by: Option<&'static str>,
    /// Whether its workers can wait for `think_time` between two iterations.
    thinks: bool,
    /// Reads its configuration; stages only where they are for this executor.
    read: fn(&mut Scope<'_>, bool) -> Load,
}

/// An executor with its configuration.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Its row in the table.
    fn kind(&self) -> &'static Kind;

    /// How many iterations there are, where that is fixed.
    fn iterations(&self) -> Option<u64> {
        None
    }

    /// Where the load goes from its start.
    fn stages(&self) -> &[Stage] {
        &[]
    }

    /// Workers over active time: how many, or how many at most.
    fn workers(&self) -> Ramp;

    /// The rate per second over active time, of an executor that keeps one.
    fn rate(&self) -> Option<Ramp> {
        None
    }

    /// What that rate counts.
    fn rate_unit(&self) -> Option<RateUnit> {
        None
    }

    /// Whether it adapts the number of workers to its rate, and so knows how near the rate is to its target.
    fn adapts_workers(&self) -> bool {
        false
    }

    /// How long it runs when neither a run time nor stages are given.
    fn usual_run_time(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Its configuration as logs and the API have it.
    fn recorded(&self) -> plan::Load;

    /// Prepares it for every runtime of the process.
    fn start(&self, context: Context) -> Start;
}

/// How hard a scenario pushes: an executor with its configuration.
#[derive(Clone, Debug)]
pub struct Load(Arc<dyn Executor>);

impl Load {
    fn of(executor: impl Executor + 'static) -> Self {
        Self(Arc::new(executor))
    }

    /// So many workers, and where they go from there.
    pub(crate) fn of_workers(workers: u32, stages: Vec<Stage>) -> Self {
        workers::load(workers, stages)
    }

    /// Arrivals whose rate a search changes while it runs.
    pub(crate) fn of_search(s: &mut Scope<'_>) -> Self {
        arrival_rate::searched(s)
    }

    /// The executor's name as people write it.
    pub fn executor(&self) -> &'static str {
        self.kind().name
    }

    /// Whether its workers can wait for a think time between two iterations.
    pub(crate) fn thinks(&self) -> bool {
        self.kind().thinks
    }
}

impl Deref for Load {
    type Target = dyn Executor;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.recorded() == other.recorded()
    }
}

/// What executors of one scenario work with in this process.
pub struct Context {
    /// Where workers and iterations are counted.
    pub(crate) gauges: Arc<Gauges>,
    /// How many workers there should be, for executors that keep workers.
    pub(crate) workers: watch::Receiver<u32>,
    /// For executors that keep a rate.
    pub(crate) schedule: watch::Receiver<Arc<ArrivalSchedule>>,
    /// What iterations are taken from, where their number is fixed.
    pub(crate) quota: Option<Arc<Quota>>,
    /// What workers wait between two iterations: a length drawn evenly from this range.
    pub(crate) think_time: Option<RangeInclusive<Duration>>,
    /// What workers do after failures.
    pub(crate) back_off: BackOff,
    /// The run's clock.
    pub(crate) clock: Clock,
    /// How many runtimes share the load.
    pub(crate) runtimes: u32,
    /// The scenario's own.
    pub(crate) stop: Stop,
}

/// Runs a scenario's executor on one runtime until its last iteration has ended, given its workers, the place of the
/// runtime and the number of runtimes.
pub type Start = Box<dyn Fn(Arc<dyn Workforce>, (u32, u32)) -> BoxFuture<'static, ()> + Send + Sync>;

/// The names of all executors.
pub fn names() -> impl Iterator<Item = &'static str> {
    EXECUTORS.iter().map(|kind| kind.name)
}

/// The names of the executors whose workers can wait for a think time.
pub(crate) fn thinking() -> String {
    let names = EXECUTORS.iter().filter(|kind| kind.thinks).map(|kind| kind.name);
    names.collect::<Vec<_>>().join(" and ")
}

/// Reads how hard a scenario pushes: which executor is meant, and its configuration.
pub(crate) fn load(s: &mut Scope<'_>) -> Load {
    // The key of an executor selects it without `executor`.
    let selecting = || EXECUTORS.iter().rev().filter_map(|kind| Some((kind.selected_by?, kind)));
    let in_file = selecting().find(|(key, _)| s.is_in_file(key)).map(|(_, kind)| kind);
    let (flags, given): (Vec<_>, Vec<_>) =
        selecting().filter(|(key, _)| s.is_given(key)).partition(|(key, _)| s.is_flag(key));
    // Flags override a file, also where the file asks for another kind of load.
    let by_flag = s.is_flag("executor") || !flags.is_empty();
    let named = s.take("executor", named);
    let in_file = named.filter(|_| !s.is_flag("executor")).or(in_file).unwrap_or(&EXECUTORS[0]);
    let (given, named) = match by_flag {
        true => (flags, named.filter(|_| s.is_flag("executor"))),
        false => (given, named),
    };
    let kind = named.or(given.first().map(|(_, kind)| *kind)).unwrap_or(&EXECUTORS[0]);
    let staged = s.is_flag("stages") || !by_flag || in_file.name == kind.name;
    for (key, owners) in keys() {
        if (by_flag && !s.is_flag(key)) || !s.is_own(key) || owners.contains(&kind.name) {
            continue;
        }
        let message = match given.first() {
            Some((rival, _)) if given.iter().any(|(other, _)| *other == key) && !s.is_given("executor") => {
                format!("contradicts {rival}: give one of them, or each to a scenario of its own in a file")
            }
            _ => format!("belongs to the executor {}, and this is {}", owners.join(" or "), kind.name),
        };
        s.mistake(key, message);
    }
    (kind.read)(s, staged)
}

fn named(text: &str) -> Result<&'static Kind, String> {
    EXECUTORS
        .iter()
        .find(|kind| kind.name == text)
        .ok_or_else(|| format!("{text:?} is not one of {}", names().collect::<Vec<_>>().join(", ")))
}

/// The keys that not every executor has, each with the executors that have it.
fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut keys: Vec<(&str, Vec<&str>)> = Vec::new();
    for kind in &EXECUTORS {
        for key in kind.keys {
            match keys.iter_mut().find(|(known, _)| known == key) {
                Some((_, owners)) => owners.push(kind.name),
                None => keys.push((key, vec![kind.name])),
            }
        }
    }
    keys
}

/// A boxed future that a runtime of the requester can own.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a worker does over and over: pick a chain, run it, hand the result on.
pub trait VirtualUser: Send + 'static {
    /// Runs one iteration. `due` is when an open model wanted it started, nanoseconds of the run's clock; none in a closed one.
    /// When `cut` is cancelled it must end soon, handing on what it has.
    fn iterate<'a>(&'a mut self, due: Option<u64>, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated>;
}

/// Makes the workers of one runtime.
pub trait Workforce: Send + Sync + 'static {
    /// The worker of this number, unique in the process.
    fn worker(&self, number: u32) -> Box<dyn VirtualUser>;
}

/// How an iteration ended, as far as the executor cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iterated {
    /// It succeeded, or failed for reasons of its own: a further one may do better at once.
    Answered {
        /// HTTP attempts made.
        requests: u32,
    },
    /// It failed for the CA's or the network's reasons: a further one at once would probably fail, too.
    Failed {
        /// HTTP attempts made.
        requests: u32,
        /// Whether the CA answered anything at all.
        answered: bool,
        /// How long the CA asked to wait.
        asked: Option<Duration>,
    },
    /// It was cut off at the end of the run: it is no iteration that ended.
    CutOff {
        /// HTTP attempts made.
        requests: u32,
    },
    /// Nothing was allowed to run: limits reached, or all that exists is in use.
    Idle,
}

impl Iterated {
    /// HTTP attempts made; none when nothing ran.
    pub const fn requests(self) -> Option<u32> {
        match self {
            Self::Answered { requests } | Self::Failed { requests, .. } | Self::CutOff { requests } => {
                Some(requests)
            }
            Self::Idle => None,
        }
    }
}

/// How many of `total` fall to the runtime at `place` of so many.
fn slots_of(total: u32, (place, of): (u32, u32)) -> u32 {
    total / of + u32::from(place < total % of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;
    use strum::VariantNames as _;

    #[test]
    fn each_executor_is_what_it_is_called_in_the_record() {
        let mut recorded = plan::Load::VARIANTS.to_vec();
        let mut known: Vec<_> = names().collect();
        recorded.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, recorded);
        for kind in &EXECUTORS {
            let mut settings = Settings::default();
            settings.flag("executor", kind.name);
            if let Some(key) = kind.selected_by {
                settings.flag(key, "5");
            }
            let load = load(&mut Scope::of(&mut settings, None));
            settings.finish().unwrap();
            assert_eq!(load.executor(), kind.name);
            assert_eq!(serde_json::to_value(load.recorded()).unwrap()["executor"], kind.name);
        }
    }

    #[test]
    fn a_flag_goes_before_a_file_that_asks_for_another_kind_of_load() {
        let loaded = |file: &str, flags: &[(&str, &str)]| {
            let mut settings = Settings::default();
            flags.iter().for_each(|(key, value)| settings.flag(key, value));
            settings.text("s.toml", file);
            let load = load(&mut Scope::of(&mut settings, None));
            settings.finish().map(|()| load.recorded()).map_err(|mistakes| mistakes.to_string())
        };
        let rate = "rate = \"9/s\"\nspacing = \"even\"\nstages = [{ duration = \"1s\", rate = 5 }]\n";
        let hammer = [("executor", "workers"), ("workers", "3")];
        assert_eq!(loaded(rate, &hammer), Ok(plan::Load::Workers { workers: 3, stages: Vec::new() }));
        let workers = "workers = 7\nstages = [{ duration = \"1s\", workers = 5 }]\n";
        let target = plan::Load::TargetRps { target_rps: 3.0, stages: Vec::new(), workers: 7 };
        assert_eq!(loaded(workers, &[("target_rps", "3")]), Ok(target.clone()));
        assert_eq!(loaded(&format!("rate = 4\n{workers}"), &[("target_rps", "3")]), Ok(target));
        let same = loaded(rate, &[("rate", "2/s")]).unwrap();
        assert!(
            matches!(same, plan::Load::ArrivalRate { rate: 2.0, poisson: false, ref stages, .. } if stages.len() == 1)
        );
        // What flags say among themselves must fit, and so must what a file says.
        let told = loaded("", &[("target_rps", "3"), ("rate", "2/s")]).unwrap_err();
        assert!(told.contains("contradicts"), "{told}");
        let told = loaded("rate = 2\nexecutor = \"workers\"\n", &[]).unwrap_err();
        assert!(told.contains("belongs to the executor arrival-rate"), "{told}");
    }
}
