//! `LoadSample`: each second, the target load of a requester, its actual load, and whether the requester
//! itself kept up.
//!
//! Counts are totals since the node's start, not since the last sample. A lost sample then costs detail but
//! makes no count wrong. Only `lag` and the rates refer to the sample's own time, `over_ns`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::named::named;

/// The load report of one requester, once a second and at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LoadSample {
    /// The time that the sample covers: since the sample before, nanoseconds.
    pub over_ns: u64,
    /// The run's scenarios that this node runs.
    pub scenarios: Vec<ScenarioSample>,
    /// Whether the node itself keeps up.
    pub generator: GeneratorSample,
    /// What the node observed about the CA beside its answers.
    #[serde(skip_serializing_if = "CaSample::is_nothing")]
    pub ca: CaSample,
}

/// What a requester observed about the CA beside its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CaSample {
    /// Ready orders that were dropped as expired since the node's start.
    pub orders_expired: u64,
    /// How far the CA's clock is ahead of ours, seconds; negative when it is behind, null until an answer has
    /// shown it.
    pub clock_ahead_s: Option<i64>,
    /// Set when requests were sent and none has been answered for ten seconds; null while the CA answers.
    pub silent: Option<Silent>,
    /// Set in the sample in which the CA stopped answering (true) or answered again (false).
    pub turned: Option<bool>,
}

/// A CA that does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Silent {
    /// When the first unanswered request was sent, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Requests in flight.
    pub in_flight: u64,
}

impl CaSample {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The CA's clock compared with ours, as a sentence.
pub fn clock_ahead(ahead_s: Option<i64>) -> String {
    let span = |seconds: u64| {
        let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
        let shown =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
        shown.collect::<Vec<_>>().join(" ")
    };
    match ahead_s {
        None => "the CA's clock is not known".to_owned(),
        Some(0) => "the CA's clock agrees with ours".to_owned(),
        Some(ahead @ 1..) => format!("the CA's clock is {} ahead of ours", span(ahead.unsigned_abs())),
        Some(behind) => format!("the CA's clock is {} behind ours", span(behind.unsigned_abs())),
    }
}

/// One scenario on one node. Counts are totals since the node's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ScenarioSample {
    /// The scenario's name; `default` if the run has only one scenario.
    pub name: String,
    /// The executor's name in the plan.
    pub executor: String,
    /// Target number of workers on this node; with a rate, the largest number allowed.
    pub workers_target: u64,
    /// Current number of workers.
    pub workers: u64,
    /// Workers that are running an iteration.
    pub busy: u64,
    /// Workers that wait because their last iteration failed (closed models).
    pub backing_off: u64,
    /// This node's target rate, in `rate_unit` per second; null for a scenario without a rate.
    pub rate_target: Option<f64>,
    /// The actual rate over `over_ns`, in `rate_unit` per second; chains per second where there is no unit.
    pub rate: f64,
    /// `chains`, `requests`, or empty for a scenario without a rate.
    pub rate_unit: String,
    /// How many of `rate_unit` the target rate has required.
    pub asked: u64,
    /// Iterations that were due.
    pub due: u64,
    /// Iterations started.
    pub started: u64,
    /// Iterations ended.
    pub ended: u64,
    /// HTTP requests ended.
    pub requests: u64,
    /// Iterations dropped: they were due, but no worker was free and no more workers were allowed.
    pub dropped: u64,
    /// How often a worker found no chain that it could run.
    pub idle: u64,
    /// How close the rate is to its target, for the executor that adapts its workers to it; null for the
    /// others.
    pub reach: Option<Reach>,
    /// Active time, without pauses and waits for other scenarios, nanoseconds.
    pub active_ns: u64,
    /// Total time in [`Reach::Capped`], nanoseconds.
    pub capped_ns: u64,
    /// Total time in [`Reach::Saturated`], nanoseconds.
    pub saturated_ns: u64,
    /// The target rate of all nodes together, in `rate_unit` per second; null on a node that shares it with no
    /// other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_target_of_all: Option<f64>,
    /// The target number of workers of all nodes together; null for a scenario with a rate or with a number of
    /// iterations, and on a node that shares it with no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers_target_of_all: Option<u64>,
    /// How many of `rate_unit` the target of all nodes together has required since this node had a part; for
    /// `workers_target_of_all`, how many worker-seconds. 0 on a node that shares it with no other.
    #[serde(skip_serializing_if = "is_zero")]
    pub scheduled_of_all: f64,
    /// How many of these were this node's part.
    #[serde(skip_serializing_if = "is_zero")]
    pub scheduled: f64,
}

impl ScenarioSample {
    /// Iterations that were required, have started and have not ended. 0 without a rate of chains.
    pub fn in_flight(&self) -> u64 {
        if self.rate_unit == "chains" { self.started.saturating_sub(self.ended) } else { 0 }
    }
}

fn is_zero(count: &f64) -> bool {
    *count == 0.0
}

named! {
    /// How close a rate is to its target, where the number of workers is adapted to it. If nodes differ, the last
    /// variant in this order is shown.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Reach {
        /// The rate is at its target.
        Reached,
        /// The rate is below its target, and workers are being added.
        Approaching,
        /// The rate is below its target, and no more workers are allowed.
        Capped,
        /// The rate is below its target, and more workers do not increase it: this is the CA's limit.
        Saturated,
    }
}

/// How well a requester keeps up with its own schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GeneratorSample {
    /// Scheduling lag over `over_ns`: how late work ran. Pairs of nanoseconds and count, ascending.
    pub lag: Vec<(u64, u64)>,
    /// Share of the time for which its busiest worker thread ran, 0 to 1; null where the system does not
    /// report it.
    pub cpu_share: Option<f64>,
    /// Share of the time for which that thread was ready but had no processor, 0 to 1.
    pub cpu_wait_share: Option<f64>,
    /// Processors that the whole process used: 1.5 means one and a half.
    pub processors: Option<f64>,
    /// Fill level of the queue of results, 0 to 1.
    pub backlog_share: f64,
    /// Every bound that was exceeded so far for long enough to count.
    pub limits: Vec<Limit>,
    /// Total time for which any bound was exceeded, nanoseconds.
    pub limited_ns: u64,
    /// Set in the sample in which the node became limited (true), or was no longer limited (false).
    pub turned: Option<bool>,
}

/// A bound of the load tester that was exceeded. While it is, the figures are not those of the CA alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limit {
    /// What was exceeded.
    pub what: LimitKind,
    /// The cause, by what a person has to change.
    pub cause: LimitCause,
    /// The thread or scenario; may be empty.
    pub place: String,
    /// Whether the bound is exceeded now.
    pub now: bool,
    /// The worst second: nanoseconds for lag, a number for local refusals, else a share from 0 to 1.
    pub worst: f64,
    /// The bound in force in that second: nanoseconds for lag, a number for local refusals, else a share.
    pub bound: f64,
    /// For lag, the median response time of requests in that second, nanoseconds, to compare the lag with.
    /// Otherwise 0.
    pub against_ns: u64,
    /// When the bound was first exceeded, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// Total time for which the bound was exceeded, nanoseconds.
    pub total_ns: u64,
}

named! {
    /// Why the load tester is the limit, by the remedy.
    #[derive(Default, Hash, PartialOrd, Ord)]
    pub enum LimitCause {
        /// A bound set by the user: workers, connections, descriptors, ports. Raise it.
        Cap,
        /// Other work on the machine: threads wait for a processor, or run late without being busy. End that
        /// work, or use another machine.
        #[default]
        Machine,
        /// The load tester itself is at its limit: its threads are busy, or results are not consumed fast enough.
        /// Use more machines.
        Wec,
    }
}

impl LimitCause {
    /// One sentence for messages, without a full stop.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Cap => "a cap that you set limited the load",
            Self::Machine => "other work kept this machine busy, or had no descriptors, ports or memory left",
            Self::Wec => "wec itself was at its limit",
        }
    }
}

named! {
    /// A resource that the load tester can run short of.
    #[derive(Default, Hash, PartialOrd, Ord)]
    pub enum LimitKind {
        /// Time: work ran later than due.
        #[default]
        Lag,
        /// Processors: a worker thread ran nearly all the time. `worst` is the share of the time for which it
        /// ran.
        Cpu,
        /// Processors used by others: a worker thread ran, or waited for a processor, nearly all the time.
        /// `worst` is the share of the time for which it waited, `bound` applies to the sum of both.
        Wait,
        /// Room for results: they arrived faster than they were consumed.
        Backlog,
        /// Workers: iterations were due and no worker was free to run them.
        Dropped,
        /// Connections: requests waited for a free connection. `worst` is the share of the requests' time that
        /// they waited.
        Connections,
        /// Resources of the machine: file descriptors, local ports, memory. `worst` is the number of refusals in
        /// a second, `bound` is 0.
        LocalRefusals,
    }
}

impl GeneratorSample {
    /// Whether a bound is exceeded at the time of the sample.
    pub fn is_limited(&self) -> bool {
        self.limits.iter().any(|limit| limit.now)
    }
}

/// Which bound was exceeded, for how long, and the remedy.
impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (place, seconds) = (&self.place, (self.total_ns as f64 / 1e9).round());
        let percent = (100.0 * self.worst).round();
        match self.what {
            LimitKind::Lag => {
                write!(
                    f,
                    "work ran up to {} ms late (99th percentile of a second), for {seconds} s",
                    milliseconds(self.worst)
                )?;
                if self.against_ns > 0 {
                    write!(
                        f,
                        ", where half of all requests took at most {} ms",
                        milliseconds(self.against_ns as f64)
                    )?;
                }
                f.write_str(match self.cause {
                    LimitCause::Wec => ", with the worker threads busy: use fewer chains/s, or more machines",
                    _ => {
                        ", while the worker threads had time left: other work delays this machine or its host; end that work, \
                         or use a quieter machine"
                    }
                })
            }
            LimitKind::Cpu => write!(
                f,
                "{place} used up to {percent} % of its processor, for {seconds} s: use more machines, or fewer chains/s"
            ),
            LimitKind::Wait => write!(
                f,
                "{place} was ready to run but had no processor for up to {percent} % of the time, for {seconds} s: end \
                 other work on this machine, or use another machine"
            ),
            LimitKind::Backlog => write!(
                f,
                "the queue of results was up to {percent} % full, for {seconds} s: analytics reads them too slowly; give \
                 it a faster disk or a machine of its own"
            ),
            LimitKind::Dropped => {
                write!(
                    f,
                    "scenario {place} dropped up to {percent} % of the iterations that were due, for {seconds} s, because "
                )?;
                f.write_str(match self.cause {
                    LimitCause::Machine => {
                        "this process could not start them in time: it was stopped, or other work delays this machine or \
                         its host; end that work, or use a quieter machine"
                    }
                    _ => {
                        "all its workers were busy: either the cap on workers is too low (raise --workers) or this is the \
                         CA's limit"
                    }
                })
            }
            LimitKind::Connections => write!(
                f,
                "requests spent up to {percent} % of their time waiting for a free connection, for {seconds} s: raise \
                 --max-connections, or use fewer workers"
            ),
            LimitKind::LocalRefusals => write!(
                f,
                "this machine refused up to {} connections in a second, for {seconds} s: no file descriptor, local port or \
                 memory was left, as the failures of class local show. They are not the CA's: raise the limit of open files \
                 (ulimit -n), widen net.ipv4.ip_local_port_range, add a --source-address, or keep connections open with \
                 --connections shared",
                self.worst.round()
            ),
        }
    }
}

/// Nanoseconds as milliseconds: a whole number from 10 ms on, else one decimal.
fn milliseconds(ns: f64) -> String {
    let ms = ns / 1e6;
    if ms >= 10.0 { format!("{ms:.0}") } else { format!("{ms:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_says_what_it_is_large_against_and_whose_it_is() {
        let lag =
            Limit { worst: 45.6e6, against_ns: 120_400_000, total_ns: 7_000_000_000, ..Limit::default() };
        let machine = lag.to_string();
        assert!(machine.contains("up to 46 ms late"), "{machine}");
        assert!(machine.contains("half of all requests took at most 120 ms"), "{machine}");
        assert!(machine.contains("quieter machine"), "{machine}");
        let wec = Limit { cause: LimitCause::Wec, ..lag }.to_string();
        assert!(wec.contains("worker threads busy") && wec.contains("more machines"), "{wec}");
    }

    #[test]
    fn iterations_that_were_late_were_not_dropped_for_lack_of_workers() {
        let late =
            Limit { what: LimitKind::Dropped, cause: LimitCause::Machine, worst: 0.5, ..Limit::default() };
        let late = late.to_string();
        assert!(late.contains("it was stopped, or other work") && !late.contains("--workers"), "{late}");
    }

    #[test]
    fn a_limit_says_what_was_short_for_how_long_and_the_way_out() {
        let said = |what, worst| {
            let place = if what == LimitKind::Dropped { "default" } else { "worker thread 0" };
            let cause = if what == LimitKind::Dropped { LimitCause::Cap } else { LimitCause::Machine };
            Limit { what, cause, place: place.into(), worst, total_ns: 12_400_000_000, ..Limit::default() }
                .to_string()
        };
        let cases = [
            (LimitKind::Lag, 45.6e6, "ran up to 46 ms late", "quieter machine"),
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
            (LimitKind::Connections, 0.4, "up to 40 % of their time", "raise --max-connections"),
            (
                LimitKind::LocalRefusals,
                132.0,
                "refused up to 132 connections in a second",
                "--source-address",
            ),
        ];
        for (what, worst, fact, way_out) in cases {
            let text = said(what, worst);
            assert!(text.contains(fact) && text.contains(way_out), "{text}");
        }
    }
}
