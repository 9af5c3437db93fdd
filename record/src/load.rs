//! `LoadSample`: what a requester was asked to do and did, second by second, and how well it could keep up itself.
//!
//! Counts are since the node's start rather than since the last sample, so that a sample that was dropped costs detail and
//! no truth. Only `lag` and the rates are of the time `over_ns` that a sample stands for.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

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
    /// What the node noticed about the CA beside its answers.
    #[serde(skip_serializing_if = "CaSample::is_nothing")]
    pub ca: CaSample,
}

/// What a requester noticed about the CA beside its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaSample {
    /// Ready orders that were dropped as expired since the node's start.
    pub orders_expired: u64,
    /// How many seconds the CA's clock is ahead of ours, negative when it is behind; null until an answer has shown it.
    pub clock_ahead_s: Option<i64>,
    /// Requests are sent, and none has been answered for ten seconds; null while the CA answers.
    pub silent: Option<Silent>,
    /// Present in the sample in which the CA fell silent, or answered again.
    pub turned: Option<bool>,
}

/// A CA that does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// When the first request was sent that was not answered, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Requests under way.
    pub in_flight: u64,
}

impl CaSample {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The CA's clock beside ours, for people.
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

/// One scenario on one node. Counts are since the node's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioSample {
    /// The scenario's name; `default` in a run of one.
    pub name: String,
    /// Who decides when iterations start, by the name that a plan gives it.
    pub executor: String,
    /// Workers that this node should have; with a rate, the most that it may have.
    pub workers_target: u64,
    /// Workers alive.
    pub workers: u64,
    /// Workers in the middle of an iteration.
    pub busy: u64,
    /// Workers that wait because their last iteration failed (closed models).
    pub backing_off: u64,
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
    /// For how long it was to start iterations, pauses and waits for other scenarios left out, nanoseconds.
    pub active_ns: u64,
    /// For how long it was [`Reach::Capped`], all times together, nanoseconds.
    pub capped_ns: u64,
    /// For how long it was [`Reach::Saturated`], all times together, nanoseconds.
    pub saturated_ns: u64,
}

/// How near a rate is to its target, where the number of workers is adapted to it. Of several nodes, the last in this order
/// is told.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written in logs and JSON.
    pub fn name(self) -> &'static str {
        self.into()
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
    /// Whose it is: what a person has to change.
    pub cause: LimitCause,
    /// Where: a thread, a scenario; may be empty.
    pub place: String,
    /// Whether it still is.
    pub now: bool,
    /// The worst second: nanoseconds for lag, a number for local refusals, a share from 0 to 1 for all else.
    pub worst: f64,
    /// The bound in force in that second: nanoseconds for lag, a number for local refusals, a share for all else.
    pub bound: f64,
    /// For lag, the median response time of requests in that second, nanoseconds: what lag is large or small against. 0 for all else.
    pub against_ns: u64,
    /// When it first was, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// For how long it was, all times together.
    pub total_ns: u64,
}

/// Why the load tester is the limit, by what a person does about it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LimitCause {
    /// A bound that whoever started the run has set: workers, connections, descriptors, ports. Raise it.
    Cap,
    /// The machine does something else: threads wait for a processor, or run late without being busy. End that, or move.
    #[default]
    Machine,
    /// The load tester itself has no more to give: its threads are full, or results are not taken fast enough. Use more machines.
    Wec,
}

impl LimitCause {
    /// Every cause, in the order of declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written in logs and JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// One sentence for people, without a full stop.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Cap => "a cap that you set held the load back",
            Self::Machine => {
                "this machine was busy with something else, or had no descriptors, ports or memory left"
            }
            Self::Wec => "wec itself was full",
        }
    }
}

impl std::fmt::Display for LimitCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a generator can be short of.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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
    /// Workers: iterations were due and no worker was free to run them.
    Dropped,
    /// Connections: requests waited for one of those allowed. `worst` is the share of the requests' time that they waited.
    Connections,
    /// What the machine gives: file descriptors, local ports, memory. `worst` is how often it refused in a second, `bound` is 0.
    LocalRefusals,
}

impl LimitKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written in logs and JSON.
    pub fn name(self) -> &'static str {
        self.into()
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
                        ", while the worker threads had time left: something else holds this machine or its host up; end that, \
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
                "the queue of results was up to {percent} % full, for {seconds} s: analytics takes them too slowly; give \
                 it a faster disk or a machine of its own"
            ),
            LimitKind::Dropped => write!(
                f,
                "scenario {place} dropped up to {percent} % of the iterations that were due, for {seconds} s, because all \
                 its workers were busy: either the cap on workers is too low (raise --workers) or this is all the CA can do"
            ),
            LimitKind::Connections => write!(
                f,
                "requests spent up to {percent} % of their time waiting for a free connection, for {seconds} s: raise \
                 --max-connections, or use fewer workers"
            ),
            LimitKind::LocalRefusals => write!(
                f,
                "this machine refused up to {} connections in a second, for {seconds} s: no file descriptor, local port or \
                 memory was left, as the failures of class local say. They are not the CA's: raise the limit of open files \
                 (ulimit -n), widen net.ipv4.ip_local_port_range, add a --source-address, or keep connections open with \
                 --connections shared",
                self.worst.round()
            ),
        }
    }
}

/// Nanoseconds as milliseconds: whole ones from 10 on, else with one decimal.
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
    fn a_limit_says_what_was_short_for_how_long_and_the_way_out() {
        let said = |what, worst| {
            let place = if what == LimitKind::Dropped { "default" } else { "worker thread 0" };
            Limit { what, place: place.into(), worst, total_ns: 12_400_000_000, ..Limit::default() }
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
