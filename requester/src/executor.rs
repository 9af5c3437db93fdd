//! Executors: they decide when a virtual user starts its next iteration.
//!
//! [`EXECUTORS`] is their table. Each has a file with its configuration, validation, load over time and
//! start; `docs/adding-an-executor.md` lists the steps to add one. Shared parts have their own files:
//! [`closed`] (a number of workers, each in a [`worker_loop`]), [`schedule`], [`quota`], [`gauges`] and
//! [`config`].

mod arrival_rate;
mod back_off;
mod closed;
mod config;
mod fleet;
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
use wec_fleet::Outcome;
use wec_record::plan::{self, RateUnit, Stage};
use wec_startup::Stop;

use crate::pace::Ramp;
use crate::permit::Permit;
use crate::settings::{Key, Scope};

pub use back_off::{BackOff, OnFailure};
pub use config::{Rate, RateKey, rate};
pub use fleet::{FleetAccount, FleetDrive, speed as fleet_speed};
pub use gauges::Gauges;
pub use quota::Quota;
pub use schedule::ArrivalSchedule;
pub use wec_acme::transport::BoxFuture;

/// Every executor. The first is the default. If several are selected by keys, the last one is used.
static EXECUTORS: [Kind; 5] =
    [workers::KIND, arrival_rate::KIND, target_rps::KIND, iterations::KIND, fleet::KIND];

/// A row of the table of executors.
#[derive(Debug)]
pub struct Kind {
    /// The name in configuration.
    name: &'static str,
    /// The keys that only this executor has.
    keys: &'static [Key],
    /// Whether it has `stages`.
    staged: bool,
    /// The key that selects this executor when `executor` is not given.
    selected_by: Option<&'static str>,
    /// Whether its workers can wait for `think_time` between two iterations.
    thinks: bool,
    /// The key of a plan that has its rate; none for an executor without a rate.
    rate: Option<RateKey>,
    /// Reads its configuration; stages only if the argument is true.
    read: fn(&mut Scope<'_>, bool) -> Load,
}

/// An executor with its configuration.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Its row in the table.
    fn kind(&self) -> &'static Kind;

    /// The number of iterations, if it is fixed.
    fn iterations(&self) -> Option<u64> {
        None
    }

    /// The stages of the load.
    fn stages(&self) -> &[Stage] {
        &[]
    }

    /// Number of workers over active time, or the largest number allowed.
    fn workers(&self) -> Ramp;

    /// The rate per second over active time, for an executor with a rate.
    fn rate(&self) -> Option<Ramp> {
        None
    }

    /// The fleet that it drives. Its rate is the speed of the fleet's clock: each node of a session has the whole of it,
    /// and they divide the fleet's members.
    fn fleet(&self) -> Option<&FleetDrive> {
        None
    }

    /// The unit of that rate.
    fn rate_unit(&self) -> Option<RateUnit> {
        None
    }

    /// Whether it adapts the number of workers to its rate, and so reports how close the rate is to its
    /// target.
    fn adapts_workers(&self) -> bool {
        false
    }

    /// The run time if neither a run time nor stages are given.
    fn usual_run_time(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Its configuration in the form of logs and the API.
    fn recorded(&self) -> plan::Load;

    /// Prepares it for every runtime of the process.
    fn start(&self, context: Context) -> Start;
}

/// The load of a scenario: an executor with its configuration.
#[derive(Clone, Debug)]
pub struct Load(Arc<dyn Executor>);

impl Load {
    fn of(executor: impl Executor + 'static) -> Self {
        Self(Arc::new(executor))
    }

    /// A number of workers with its stages.
    pub fn of_workers(workers: u32, stages: Vec<Stage>) -> Self {
        workers::load(workers, stages)
    }

    /// So many iterations, shared by these workers.
    pub fn of_iterations(iterations: u64, workers: u32) -> Self {
        iterations::load(iterations, workers)
    }

    /// So many arrivals in each step, evenly spaced within it: those of a recorded run.
    pub(crate) fn of_counts(counts: &[u64], step: Duration) -> Self {
        arrival_rate::counted(counts, step)
    }

    /// Arrivals whose rate a search changes during the run.
    pub(crate) fn of_search(s: &mut Scope<'_>) -> Self {
        arrival_rate::searched(s)
    }

    /// The executor's name in configuration.
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

/// What the executors of one scenario use in this process.
pub struct Context {
    /// Counts workers and iterations.
    pub(crate) gauges: Arc<Gauges>,
    /// Target number of workers, for executors with a number of workers.
    pub(crate) workers: watch::Receiver<u32>,
    /// For executors with a rate.
    pub(crate) schedule: watch::Receiver<Arc<ArrivalSchedule>>,
    /// The events of a fleet that were given during the run, in order.
    pub(crate) events: watch::Receiver<Arc<Vec<String>>>,
    /// The source of iterations, if their number is fixed.
    pub(crate) quota: Option<Arc<Quota>>,
    /// Pause of a worker between two iterations: drawn uniformly from this range.
    pub(crate) think_time: Option<RangeInclusive<Duration>>,
    /// What workers do after failures.
    pub(crate) back_off: BackOff,
    /// The run's clock.
    pub(crate) clock: Clock,
    /// Number of runtimes that share the load.
    pub(crate) runtimes: u32,
    /// Whether iterations may start.
    pub(crate) permit: Arc<Permit>,
    /// The scenario's stop signals.
    pub(crate) stop: Stop,
}

/// Runs a scenario's executor on one runtime until its last iteration has ended. Arguments: its workers, the
/// place of the runtime and the number of runtimes.
pub type Start = Box<dyn Fn(Arc<dyn Workforce>, (u32, u32)) -> BoxFuture<'static, ()> + Send + Sync>;

/// The names of all executors.
pub fn names() -> impl Iterator<Item = &'static str> {
    EXECUTORS.iter().map(|kind| kind.name)
}

/// The key of a plan that has the rate of the executor with this name; none if it has no rate.
pub fn rate_key(executor: &str) -> Option<&'static RateKey> {
    EXECUTORS.iter().find(|kind| kind.name == executor)?.rate.as_ref()
}

/// The names of the executors whose workers can wait for a think time.
pub(crate) fn thinking() -> String {
    let names = EXECUTORS.iter().filter(|kind| kind.thinks).map(|kind| kind.name);
    names.collect::<Vec<_>>().join(" and ")
}

/// Reads the load of a scenario: the executor and its configuration.
pub(crate) fn load(s: &mut Scope<'_>) -> Load {
    // The key of an executor selects it without `executor`.
    let selecting = || EXECUTORS.iter().rev().filter_map(|kind| Some((kind.selected_by?, kind)));
    let in_file = selecting().find(|(key, _)| s.is_in_file(key)).map(|(_, kind)| kind);
    let (flags, given): (Vec<_>, Vec<_>) =
        selecting().filter(|(key, _)| s.is_given(key)).partition(|(key, _)| s.is_flag(key));
    // Flags override a file, also if the file has another executor.
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
            _ => format!("belongs to the executor {}, but this one is {}", owners.join(" or "), kind.name),
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

/// The keys that only some executors have, each with these executors.
fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    let staged = EXECUTORS.iter().filter(|kind| kind.staged).map(|kind| kind.name).collect();
    let own = EXECUTORS.iter().flat_map(|kind| kind.keys.iter().map(|key| (key.name, vec![kind.name])));
    std::iter::once(("stages", staged)).chain(own).collect()
}

/// The keys that only one executor has, in the order of the executors.
pub(crate) fn own_keys() -> Vec<Key> {
    EXECUTORS.iter().flat_map(|kind| kind.keys).cloned().collect()
}

/// The keys that select an executor.
pub(crate) fn selecting() -> impl Iterator<Item = &'static str> {
    EXECUTORS.iter().filter_map(|kind| kind.selected_by)
}

/// The help of the key `executor`.
pub(crate) fn help() -> String {
    let flags: Vec<_> = selecting().map(|key| format!("--{}", key.replace('_', "-"))).collect();
    format!(
        "How iterations are started: {} [default: given by {}, else {}]",
        one_of(&names().collect::<Vec<_>>()),
        one_of(&flags),
        EXECUTORS[0].name
    )
}

/// As `a, b or c`.
fn one_of<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A worker's repeated work: picks a chain, runs it, passes on the result.
pub trait VirtualUser: Send + 'static {
    /// Runs one iteration. `due` is the due time in an open model, nanoseconds of the run's clock; none in a
    /// closed one. After `cut` is cancelled it must end soon, with the results so far.
    fn iterate<'a>(&'a mut self, due: Option<u64>, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated>;

    /// Renews the certificate of the member of a fleet with this number. A user without members does nothing.
    fn renew<'a>(
        &'a mut self,
        _member: u32,
        _due: Option<u64>,
        _cut: &'a CancellationToken,
    ) -> BoxFuture<'a, Renewal> {
        Box::pin(async { Renewal::NOTHING_RAN })
    }
}

/// Creates the workers of one runtime.
pub trait Workforce: Send + Sync + 'static {
    /// The worker of this number, unique in the process.
    fn worker(&self, number: u32) -> Box<dyn VirtualUser>;
}

/// How an iteration ended, for the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iterated {
    /// It succeeded, or failed for its own reasons: the next one may succeed at once.
    Answered {
        /// HTTP attempts made.
        requests: u32,
    },
    /// It failed for reasons of the CA or the network: the next one would probably fail, too.
    Failed {
        /// HTTP attempts made.
        requests: u32,
        /// Whether the CA sent any answer.
        answered: bool,
        /// The wait that the CA asked for.
        asked: Option<Duration>,
    },
    /// It was interrupted at the end of the run and does not count as ended.
    CutOff {
        /// HTTP attempts made.
        requests: u32,
    },
    /// No chain could run: limits were reached, or all objects are in use.
    Idle,
}

/// How the renewal of a fleet's member ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// For the executor.
    pub iterated: Iterated,
    /// For the member; none if it was interrupted at the end of the run.
    pub outcome: Option<Outcome>,
}

impl Renewal {
    /// No chain could run.
    pub(crate) const NOTHING_RAN: Self = Self { iterated: Iterated::Idle, outcome: Some(Outcome::NotSent) };
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

/// The part of `total` for the runtime at `place` of this many.
fn slots_of(total: u32, (place, of): (u32, u32)) -> u32 {
    total / of + u32::from(place < total % of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use strum::VariantNames as _;

    #[test]
    fn each_executor_has_its_name_in_the_record() {
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
            assert_eq!(load.rate().is_some(), rate_key(kind.name).is_some(), "{}", kind.name);
            assert_eq!(serde_json::to_value(load.recorded()).unwrap()["executor"], kind.name);
        }
    }

    /// What a command that sets the load refuses is marked in the table of keys.
    #[test]
    fn the_table_of_keys_marks_those_of_executors() {
        let key = |name: &str| Key::named(name).unwrap_or_else(|| panic!("no key {name}"));
        for name in keys().into_iter().map(|(name, _)| name).chain(selecting()).chain(["executor"]) {
            assert!(key(name).sets_load, "{name}");
        }
        assert_eq!(
            key("executor").help,
            "How iterations are started: workers, arrival-rate, target-rps, iterations or fleet [default: given by --rate, \
             --target-rps, --iterations or --fleet-certificates, else workers]"
        );
    }

    #[test]
    fn a_flag_overrides_a_file_with_another_executor() {
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
        // Flags must agree with each other, and so must the keys of a file.
        let told = loaded("", &[("target_rps", "3"), ("rate", "2/s")]).unwrap_err();
        assert!(told.contains("contradicts"), "{told}");
        let told = loaded("rate = 2\nexecutor = \"workers\"\n", &[]).unwrap_err();
        assert!(told.contains("belongs to the executor arrival-rate"), "{told}");
    }
}
