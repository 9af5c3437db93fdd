//! `LoadSample`: what a requester was asked to do and did, second by second, and how well it could keep up itself.
//!
//! Counts are since the node's start rather than since the last sample, so that a sample that was dropped costs detail and
//! no truth. Only `lag` and the rates are of the time `over_ns` that a sample stands for.

use serde::{Deserialize, Serialize};

/// What one requester says about its load, once a second and at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadSample {
    /// The time that it stands for: since the sample before, nanoseconds.
    pub over_ns: u64,
    /// The run's scenarios, as far as this node runs them.
    pub scenarios: Vec<ScenarioSample>,
    /// Whether the node itself keeps up.
    pub generator: GeneratorSample,
}

/// One scenario on one node. Counts are since the node's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioSample {
    /// The scenario's name; `default` in a run of one.
    pub name: String,
    /// Who decides when iterations start: `workers`, `arrival-rate`, `target-rps`, `iterations`.
    pub executor: String,
    /// Workers that this node should have; with a rate, the most that it may have.
    pub workers_target: u64,
    /// Workers alive.
    pub workers: u64,
    /// Workers in the middle of an iteration.
    pub busy: u64,
    /// What this node should reach, in `rate_unit` a second; null for a scenario that has no rate.
    pub rate_target: Option<f64>,
    /// What it reached over `over_ns`, in `rate_unit` a second; chains where there is no unit.
    pub rate: f64,
    /// `chains`, `requests`, or empty for a scenario that has no rate.
    pub rate_unit: String,
    /// Of `rate_unit`, how much the target has asked for.
    pub asked: u64,
    /// Iterations that were due.
    pub due: u64,
    /// Iterations started.
    pub started: u64,
    /// Iterations ended.
    pub ended: u64,
    /// HTTP requests ended.
    pub requests: u64,
    /// Iterations that were due but had no worker to run them, at the cap of workers.
    pub dropped: u64,
    /// Times that a worker found nothing it was allowed to run.
    pub idle: u64,
    /// How near the rate is to its target, where workers are adapted to it; null for other executors.
    pub reach: Option<Reach>,
    /// For how long it was [`Reach::Capped`], all times together, nanoseconds.
    pub capped_ns: u64,
    /// For how long it was [`Reach::Saturated`], all times together, nanoseconds.
    pub saturated_ns: u64,
}

/// How near a rate is to its target, where the number of workers is adapted to it. Of several nodes, the last in this order
/// is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// There.
    Reached,
    /// Not there yet.
    Approaching,
    /// Not there, because there may be no more workers.
    Capped,
    /// Not there, and more workers bring no more: the CA gives no more than this.
    Saturated,
}

impl Reach {
    /// Every one, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Reached, Self::Approaching, Self::Capped, Self::Saturated];

    /// The name as written in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Approaching => "approaching",
            Self::Capped => "capped",
            Self::Saturated => "saturated",
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How a requester keeps up with what it is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GeneratorSample {
    /// Scheduling lag over `over_ns`: how much later than due something ran. Nanoseconds and how often, ascending.
    pub lag: Vec<(u64, u64)>,
    /// Of its busiest worker thread, the share of the time for which it ran, 0 to 1; null where the system does not say.
    pub cpu_share: Option<f64>,
    /// Of that thread, the share of the time for which it was ready but had no processor, 0 to 1.
    pub cpu_wait_share: Option<f64>,
    /// Processors that the whole process used: 1.5 is one and a half.
    pub processors: Option<f64>,
    /// How full the queue of results is, 0 to 1.
    pub backlog_share: f64,
    /// Every bound that was exceeded so far, for long enough to count.
    pub limits: Vec<Limit>,
    /// For how long any bound was exceeded, all times together, nanoseconds.
    pub limited_ns: u64,
    /// Set in the sample in which the node became limited (true), or ceased to be (false).
    pub turned: Option<bool>,
}

/// A bound of the generator that was exceeded: from then on it, and not the CA alone, decided what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Which.
    pub what: LimitKind,
    /// Where: a thread, a scenario; may be empty.
    pub place: String,
    /// Whether it still is.
    pub now: bool,
    /// The worst second: nanoseconds for lag, a share from 0 to 1 for all else.
    pub worst: f64,
    /// The bound: nanoseconds for lag, a share for all else.
    pub bound: f64,
    /// When it first was, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// For how long it was, all times together.
    pub total_ns: u64,
}

/// What a generator can be short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Time: what was due ran late.
    #[default]
    Lag,
    /// Processors: a worker thread ran nearly all the time. `worst` is the share for which it ran.
    Cpu,
    /// Processors that others have: a worker thread ran, or waited for a processor, nearly all the time. `worst` is the
    /// share for which it waited, `bound` that of both together.
    Wait,
    /// Room for results: they came faster than they were taken.
    Backlog,
    /// Workers: iterations were due and nobody was free to run them.
    Dropped,
}

impl LimitKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 5] = [Self::Lag, Self::Cpu, Self::Wait, Self::Backlog, Self::Dropped];

    /// The name as written in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Cpu => "cpu",
            Self::Wait => "wait",
            Self::Backlog => "backlog",
            Self::Dropped => "dropped",
        }
    }
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl GeneratorSample {
    /// Whether a bound is exceeded at the time of the sample.
    pub fn is_limited(&self) -> bool {
        self.limits.iter().any(|limit| limit.now)
    }
}

/// What was short, for how long, and the way out; for people.
impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (place, seconds) = (&self.place, (self.total_ns as f64 / 1e9).round());
        let percent = (100.0 * self.worst).round();
        match self.what {
            LimitKind::Lag => write!(
                f,
                "what was due ran up to {:.0} ms late (the 99th percentile of a second), for {seconds} s: use fewer \
                 workers or a lower rate, or more machines",
                self.worst / 1e6
            ),
            LimitKind::Cpu => write!(
                f,
                "{place} used up to {percent} % of its processor, for {seconds} s: use more machines or fewer chains/s"
            ),
            LimitKind::Wait => write!(
                f,
                "{place} was ready to run but had no processor for up to {percent} % of the time, for {seconds} s: end \
                 other work on this machine, or use more machines or fewer chains/s"
            ),
            LimitKind::Backlog => write!(
                f,
                "the queue of results was up to {percent} % full, for {seconds} s: analytics takes them too slowly; give \
                 it a faster disk or a machine of its own"
            ),
            LimitKind::Dropped => write!(
                f,
                "scenario {place} dropped up to {percent} % of the iterations that were due, for {seconds} s, because all \
                 its workers were busy: either the cap on workers is too low (raise --workers) or this is all the CA can do"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_what_was_short_for_how_long_and_the_way_out() {
        let said = |what, worst| {
            let place = if what == LimitKind::Dropped { "default" } else { "worker thread 0" };
            Limit { what, place: place.into(), worst, total_ns: 12_400_000_000, ..Limit::default() }
                .to_string()
        };
        let cases = [
            (LimitKind::Lag, 45.6e6, "ran up to 46 ms late", "lower rate"),
            (
                LimitKind::Cpu,
                0.97,
                "worker thread 0 used up to 97 % of its processor, for 12 s",
                "more machines",
            ),
            (
                LimitKind::Wait,
                0.6,
                "worker thread 0 was ready to run but had no processor for up to 60 %",
                "other work",
            ),
            (LimitKind::Backlog, 0.5, "up to 50 % full, for 12 s", "faster disk"),
            (
                LimitKind::Dropped,
                0.123,
                "scenario default dropped up to 12 %",
                "either the cap on workers is too low",
            ),
        ];
        for (what, worst, fact, way_out) in cases {
            let text = said(what, worst);
            assert!(text.contains(fact) && text.contains(way_out), "{text}");
        }
    }
}
