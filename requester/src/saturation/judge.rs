//! Whether the load tester was the limit: a pure function of each second's measurements.
//!
//! | a bound is exceeded | in a state | then |
//! | --- | --- | --- |
//! | for 3 seconds in a row | keeps up | limited, from the first of them on |
//! | in a second | limited | the second counts |
//! | in none of 3 seconds in a row | limited | keeps up |
//!
//! Lag takes 5 seconds instead of 3, and is compared with the response time: see [`Bounds::lag_share`].
//!
//! Iterations that were dropped because they were late do not count if the process was stopped: only processes that
//! share a load drop them, and there the time is a gap, or others had this part.
//!
//! A refusal of our own machine counts at once: a single one has caused a failure that is not the CA's.

use std::collections::BTreeMap;
use std::time::Duration;

use wec_record::{Limit, LimitCause, LimitKind};

/// Seconds in a row after which a state changes.
const CONFIRM: u32 = 3;
/// The same for lag, which a short burst of other work can also cause.
const CONFIRM_LAG: u32 = 5;
/// A thread that ran for this share of a second, and longer than it waited, is late because of its own work.
const BUSY: f64 = 0.5;
/// A process that made no sample for so long was stopped, or its machine was suspended, nanoseconds.
const STOPPED_NS: u64 = 3_000_000_000;

/// Bounds above which the load tester, and not only the CA, limits the run. The defaults are only here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Scheduling lag, 99th percentile of a second, below which lag is never a limit.
    pub lag: Duration,
    /// The same, as a share of the median response time of requests: lag is a limit only above both. A stall
    /// of 30 ms does not matter for a CA that takes a second, but dominates for one that takes 5 ms.
    pub lag_share: f64,
    /// Share of a second for which a worker thread ran, or ran and waited for a processor. Above nine tenths
    /// queues grow fast.
    pub cpu: f64,
    /// Fill level of the queue of results. Results are lost when it is full.
    pub backlog: f64,
    /// Share of the iterations due in a second that are dropped.
    pub dropped: f64,
    /// Share of their time for which requests wait for a free connection.
    pub connections: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            lag: Duration::from_millis(20),
            lag_share: 0.25,
            cpu: 0.9,
            backlog: 0.5,
            dropped: 0.01,
            connections: 0.1,
        }
    }
}

/// The measurements of a period of about a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Second {
    /// Its end, nanoseconds since the Unix epoch.
    pub(super) at_unix_ns: u64,
    /// Its length, nanoseconds.
    pub(super) over_ns: u64,
    /// 99th percentile of the scheduling lag, nanoseconds; none with too few samples.
    pub(super) lag_p99: Option<u64>,
    /// Recent median response time of requests, nanoseconds; none with too few.
    pub(super) response_p50: Option<u64>,
    /// Share of the requests' time for which they waited for a free connection; none without requests.
    pub(super) connection_wait: Option<f64>,
    /// For each worker thread, the shares of the time for which it ran and for which it waited for a
    /// processor.
    pub(super) threads: Vec<(String, Usage)>,
    /// Fill level of the queue of results.
    pub(super) backlog: f64,
    /// Of each scenario.
    pub(super) arrivals: Vec<Arrivals>,
    /// How often our own machine refused.
    pub(super) local: u64,
}

/// A scenario's iterations in a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arrivals {
    pub(super) scenario: String,
    pub(super) due: u64,
    /// Those of `due` that were not started.
    pub(super) dropped: u64,
    /// Those of `dropped` that were late; for the others no worker was free.
    pub(super) late: u64,
}

/// A thread's time in a period, as shares of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) ran: f64,
    pub(super) waited: f64,
}

impl Second {
    /// The busiest thread of those whose times are known.
    pub(super) fn busiest(&self) -> Option<&(String, Usage)> {
        self.threads.iter().max_by(|(_, a), (_, b)| (a.ran + a.waited).total_cmp(&(b.ran + b.waited)))
    }

    /// The measurements for each bound: kind, place, value, bound, and whether it is exceeded.
    fn measured(&self, bounds: &Bounds) -> Vec<Measured> {
        let mut all = Vec::new();
        let mut measure = |what, cause, place: &str, value: f64, bound: f64, over: bool| {
            all.push(Measured { what, cause, place: place.to_owned(), value, bound, against_ns: 0, over });
        };
        if let Some((thread, usage)) = self.busiest() {
            let ran_enough = usage.ran >= bounds.cpu;
            measure(LimitKind::Cpu, LimitCause::Wec, thread, usage.ran, bounds.cpu, ran_enough);
            // A thread without a processor is as late as one with too much work, but the remedy differs.
            let kept = !ran_enough && usage.ran + usage.waited >= bounds.cpu;
            measure(LimitKind::Wait, LimitCause::Machine, thread, usage.waited, bounds.cpu, kept);
        }
        let full = self.backlog >= bounds.backlog;
        measure(LimitKind::Backlog, LimitCause::Wec, "", self.backlog, bounds.backlog, full);
        if let Some(share) = self.connection_wait {
            let over = share >= bounds.connections;
            measure(LimitKind::Connections, LimitCause::Cap, "", share, bounds.connections, over);
        }
        for Arrivals { scenario, due, dropped, late } in &self.arrivals {
            let without_worker = dropped.saturating_sub(*late);
            let late = if self.over_ns >= STOPPED_NS { 0 } else { *late };
            let dropped = without_worker + late;
            let share = if *due == 0 { 0.0 } else { dropped as f64 / *due as f64 };
            let cause = if late * 2 > dropped { LimitCause::Machine } else { LimitCause::Cap };
            let over = dropped > 0 && share >= bounds.dropped;
            measure(LimitKind::Dropped, cause, scenario, share, bounds.dropped, over);
        }
        measure(LimitKind::LocalRefusals, LimitCause::Machine, "", self.local as f64, 0.0, self.local > 0);
        all.extend(self.lag(bounds));
        all
    }

    /// Lag compared with the response time. Without requests nothing is distorted.
    fn lag(&self, bounds: &Bounds) -> Option<Measured> {
        let (lag, median) = (self.lag_p99?, self.response_p50.unwrap_or(0));
        let bound = (bounds.lag.as_nanos() as f64).max(bounds.lag_share * median as f64);
        let busy = self.busiest().is_some_and(|(_, usage)| usage.ran >= BUSY && usage.ran > usage.waited);
        Some(Measured {
            what: LimitKind::Lag,
            cause: if busy { LimitCause::Wec } else { LimitCause::Machine },
            place: String::new(),
            value: lag as f64,
            bound,
            against_ns: median,
            over: self.response_p50.is_some() && lag as f64 > bound,
        })
    }
}

#[derive(Clone, Debug)]
struct Measured {
    what: LimitKind,
    cause: LimitCause,
    place: String,
    value: f64,
    bound: f64,
    against_ns: u64,
    over: bool,
}

/// Judges one second after the other.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    bounds: Bounds,
    /// By kind, and for dropped iterations also by scenario.
    cases: BTreeMap<(LimitKind, String), Case>,
    limited: bool,
    limited_ns: u64,
    /// The time up to which `limited_ns` is counted.
    counted_until: u64,
}

/// The result after a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LimitReport {
    /// Every bound exceeded so far, and whether it is now.
    pub(super) limits: Vec<Limit>,
    /// Total time above any bound, nanoseconds.
    pub(super) limited_ns: u64,
    /// Whether this second made it limited, or no longer limited.
    pub(super) turned: Option<bool>,
}

/// One bound.
#[derive(Clone, Debug, Default)]
struct Case {
    limit: Limit,
    /// Consecutive seconds that contradict the present state.
    streak: u32,
    /// Start of these seconds, nanoseconds since the Unix epoch.
    since: u64,
    /// For consecutive seconds above the bound: their length and the worst one.
    pending: (u64, Option<Measured>),
    ever: bool,
}

impl Judge {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, cases: BTreeMap::new(), limited: false, limited_ns: 0, counted_until: 0 }
    }

    pub(super) fn look(&mut self, second: &Second) -> LimitReport {
        // A period much shorter than a second, at the end of a run, decides nothing.
        let seconds = (second.over_ns + 500_000_000) / 1_000_000_000;
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        for measured in second.measured(&self.bounds) {
            let by = if measured.what == LimitKind::Dropped { measured.place.clone() } else { String::new() };
            let case = self.cases.entry((measured.what, by)).or_default();
            if let Some(over_since) = case.look(measured, second, seconds) {
                let from = over_since.max(self.counted_until);
                self.limited_ns += second.at_unix_ns.saturating_sub(from);
                self.counted_until = second.at_unix_ns;
            }
        }
        let limited = self.cases.values().any(|case| case.limit.now);
        let turned = (limited != self.limited).then_some(limited);
        self.limited = limited;
        let limits = self.cases.values().filter(|case| case.ever).map(|case| case.limit.clone());
        // Wall clock and monotonic clock differ slightly: make the whole at least as long as its parts.
        let longest = self.cases.values().map(|case| case.limit.total_ns).max().unwrap_or(0);
        self.limited_ns = self.limited_ns.max(longest);
        LimitReport { limits: limits.collect(), limited_ns: self.limited_ns, turned }
    }
}

impl Case {
    /// Adds a second; returns the start of the limited time, if it is limited.
    fn look(&mut self, measured: Measured, second: &Second, seconds: u32) -> Option<u64> {
        let began = second.at_unix_ns.saturating_sub(second.over_ns);
        if self.limit.now == measured.over {
            self.streak = 0;
            self.pending = <_>::default();
            if measured.over {
                self.count(second.over_ns, measured);
                return Some(began);
            }
            return None;
        }
        if self.streak == 0 && self.pending.0 == 0 {
            self.since = began;
        }
        self.streak = self.streak.saturating_add(seconds);
        let (what, over) = (measured.what, measured.over);
        if over {
            self.pending.0 += second.over_ns;
            if self.pending.1.as_ref().is_none_or(|worst| measured.value >= worst.value) {
                self.pending.1 = Some(measured);
            }
        }
        let confirm = match what {
            LimitKind::LocalRefusals if over => 0,
            LimitKind::Lag => CONFIRM_LAG,
            _ => CONFIRM,
        };
        if self.streak < confirm {
            return None;
        }
        self.streak = 0;
        self.limit.now = over;
        let (over_ns, worst) = std::mem::take(&mut self.pending);
        let worst = worst.filter(|_| over)?;
        if !self.ever {
            self.ever = true;
            self.limit.what = what;
            self.limit.first_unix_ns = self.since;
        }
        self.count(over_ns, worst);
        Some(self.since)
    }

    /// Adds a time above the bound; the limit is reported with its worst second.
    fn count(&mut self, over_ns: u64, measured: Measured) {
        self.limit.total_ns += over_ns;
        if measured.value >= self.limit.worst {
            self.limit.worst = (measured.value * 1e4).round() / 1e4;
            self.limit.cause = measured.cause;
            self.limit.place = measured.place;
            self.limit.bound = measured.bound;
            self.limit.against_ns = measured.against_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A second in which the load tester keeps up.
    fn calm(n: u64) -> Second {
        Second {
            at_unix_ns: (100 + n) * SECOND,
            over_ns: SECOND,
            lag_p99: Some(1_000_000),
            response_p50: Some(5_000_000),
            connection_wait: Some(0.01),
            threads: vec![threaded(0, 0.4, 0.05), threaded(1, 0.5, 0.05)],
            backlog: 0.1,
            arrivals: vec![arrivals("open", 500, 0, 0)],
            local: 0,
        }
    }

    fn arrivals(scenario: &str, due: u64, dropped: u64, late: u64) -> Arrivals {
        Arrivals { scenario: scenario.to_owned(), due, dropped, late }
    }

    fn threaded(place: u32, ran: f64, waited: f64) -> (String, Usage) {
        (format!("worker thread {place}"), Usage { ran, waited })
    }

    /// The verdicts of seconds; `worse` changes those that are marked in `over`.
    fn judged(over: &str, worse: impl Fn(&mut Second)) -> Vec<LimitReport> {
        let mut judge = Judge::new(Bounds::default());
        let seconds = (0..).zip(over.chars()).map(|(n, mark)| {
            let mut second = calm(n);
            if mark == '#' {
                worse(&mut second);
            }
            judge.look(&second)
        });
        seconds.collect()
    }

    #[test]
    fn each_bound_is_exceeded_where_it_says() {
        type Worse = fn(&mut Second);
        let cases: [(&str, Option<LimitKind>, Worse); 18] = [
            ("lag at its bound", None, |s| s.lag_p99 = Some(20_000_000)),
            ("lag above", Some(LimitKind::Lag), |s| s.lag_p99 = Some(20_000_001)),
            ("lag unknown", None, |s| s.lag_p99 = None),
            ("lag small beside a slow CA", None, |s| {
                (s.lag_p99, s.response_p50) = (Some(100_000_000), Some(400_000_000));
            }),
            ("lag large beside a slow CA", Some(LimitKind::Lag), |s| {
                (s.lag_p99, s.response_p50) = (Some(101_000_000), Some(400_000_000));
            }),
            ("lag with nothing measured", None, |s| (s.lag_p99, s.response_p50) = (Some(900_000_000), None)),
            ("connections below", None, |s| s.connection_wait = Some(0.099)),
            ("connections at their bound", Some(LimitKind::Connections), |s| s.connection_wait = Some(0.1)),
            ("connections unknown", None, |s| s.connection_wait = None),
            ("a thread below", None, |s| s.threads[1] = threaded(1, 0.85, 0.04)),
            ("a thread at its bound", Some(LimitKind::Cpu), |s| s.threads[1] = threaded(1, 0.9, 0.0)),
            ("a thread that others keep", Some(LimitKind::Wait), |s| s.threads[1] = threaded(1, 0.3, 0.65)),
            ("threads unknown", None, |s| s.threads.clear()),
            ("backlog below", None, |s| s.backlog = 0.49),
            ("backlog at its bound", Some(LimitKind::Backlog), |s| s.backlog = 0.5),
            ("dropped below", None, |s| s.arrivals[0] = arrivals("open", 500, 4, 0)),
            ("dropped at its bound", Some(LimitKind::Dropped), |s| {
                s.arrivals[0] = arrivals("open", 500, 5, 0)
            }),
            ("nothing due", None, |s| s.arrivals[0] = arrivals("open", 0, 0, 0)),
        ];
        for (name, expected, worse) in cases {
            let verdicts = judged("#####", worse);
            let kinds: Vec<_> = verdicts[4].limits.iter().map(|limit| limit.what).collect();
            assert_eq!(kinds, expected.into_iter().collect::<Vec<_>>(), "{name}");
            let turned = verdicts.iter().position(|verdict| verdict.turned == Some(true));
            let after = expected.map(|kind| if kind == LimitKind::Lag { 4 } else { 2 });
            assert_eq!(turned, after, "{name}");
        }
    }

    /// With 2 % of a thread busy at 20 chains/s, the load tester keeps up, whatever the machine does.
    #[test]
    fn each_limit_has_a_cause_with_a_remedy() {
        type Worse = fn(&mut Second);
        let cases: [(LimitKind, LimitCause, Worse); 9] = [
            (LimitKind::Dropped, LimitCause::Cap, |s| s.arrivals[0] = arrivals("open", 500, 50, 0)),
            (LimitKind::Dropped, LimitCause::Cap, |s| s.arrivals[0] = arrivals("open", 500, 50, 25)),
            (LimitKind::Dropped, LimitCause::Machine, |s| s.arrivals[0] = arrivals("open", 500, 50, 26)),
            (LimitKind::Connections, LimitCause::Cap, |s| s.connection_wait = Some(0.5)),
            (LimitKind::Wait, LimitCause::Machine, |s| s.threads[1] = threaded(1, 0.1, 0.85)),
            (LimitKind::Lag, LimitCause::Machine, |s| {
                (s.lag_p99, s.threads) = (Some(50_000_000), vec![threaded(0, 0.02, 0.3)]);
            }),
            (LimitKind::Lag, LimitCause::Wec, |s| {
                (s.lag_p99, s.threads) = (Some(50_000_000), vec![threaded(0, 0.7, 0.1)]);
            }),
            (LimitKind::Cpu, LimitCause::Wec, |s| s.threads[1] = threaded(1, 0.95, 0.0)),
            (LimitKind::Backlog, LimitCause::Wec, |s| s.backlog = 0.9),
        ];
        for (what, cause, worse) in cases {
            let last = judged("#####", worse).pop().unwrap();
            let found: Vec<_> = last.limits.iter().map(|limit| (limit.what, limit.cause)).collect();
            assert_eq!(found, [(what, cause)]);
        }
    }

    #[test]
    fn lag_is_reported_with_the_median_that_it_is_compared_with() {
        let last = judged("######", |second| {
            (second.lag_p99, second.response_p50) = (Some(50_000_000), Some(120_000_000));
        });
        let [limit] = &last[5].limits[..] else { panic!("{last:?}") };
        assert_eq!((limit.worst, limit.bound, limit.against_ns), (50e6, 30e6, 120_000_000));
    }

    #[test]
    fn one_refusal_of_our_own_machine_is_enough() {
        let verdicts = judged(".#...", |second| second.local = 3);
        assert_eq!(verdicts[1].turned, Some(true));
        assert_eq!(verdicts[4].turned, Some(false));
        let [limit] = &verdicts[4].limits[..] else { panic!("{verdicts:?}") };
        assert_eq!((limit.what, limit.worst, limit.total_ns), (LimitKind::LocalRefusals, 3.0, SECOND));
        let mut judge = Judge::new(Bounds::default());
        let mut short = calm(0);
        (short.over_ns, short.local) = (1_000, 1);
        assert_eq!(judge.look(&short).turned, Some(true), "also in the last moment of a run");
    }

    #[test]
    fn three_seconds_in_a_row_change_the_state_in_each_direction() {
        let cases = [
            // The state after each second: `.` keeps up, `L` limited.
            ("##.##.##", "........", 0),
            ("###...", "..LLL.", 3),
            ("####.#..#...", "..LLLLLLLLL.", 6),
            ("###...##....", "..LLL.......", 3),
            (".###...###...", "...LLL...LLL.", 6),
        ];
        for (over, expected, seconds) in cases {
            let verdicts = judged(over, |second| second.backlog = 0.9);
            let states: String = verdicts
                .iter()
                .map(|verdict| if verdict.limits.iter().any(|limit| limit.now) { 'L' } else { '.' })
                .collect();
            assert_eq!(states, expected, "of {over}");
            let last = verdicts.last().unwrap();
            assert_eq!(last.limited_ns, seconds * SECOND, "{over}");
            assert_eq!(last.limits.first().map_or(0, |limit| limit.total_ns), seconds * SECOND, "{over}");
            // `turned` is set exactly when the state changes.
            let mut before = '.';
            for (verdict, state) in verdicts.iter().zip(states.chars()) {
                assert_eq!(verdict.turned, (state != before).then_some(state == 'L'), "{over}");
                before = state;
            }
        }
    }

    #[test]
    fn reports_the_begin_the_worst_value_and_its_place() {
        let mut judge = Judge::new(Bounds::default());
        let mut last = LimitReport::default();
        for (n, ran) in (0..).zip([0.5, 0.92, 0.97, 0.91, 0.93]) {
            let mut second = calm(n);
            second.threads[usize::from(n != 2)] = threaded(u32::from(n != 2), ran, 0.02);
            last = judge.look(&second);
        }
        let [limit] = &last.limits[..] else { panic!("{last:?}") };
        assert_eq!((limit.what, limit.now, limit.worst, limit.bound), (LimitKind::Cpu, true, 0.97, 0.9));
        assert_eq!(limit.place, "worker thread 0");
        assert_eq!((limit.first_unix_ns, limit.total_ns), (100 * SECOND, 4 * SECOND));
    }

    #[test]
    fn the_time_of_two_exceeded_bounds_counts_once() {
        let verdicts = judged("#####", |second| {
            second.lag_p99 = Some(50_000_000);
            second.backlog = 0.9;
        });
        let last = verdicts.last().unwrap();
        assert_eq!(last.limits.len(), 2);
        assert_eq!(last.limited_ns, 5 * SECOND);
        // A limit that begins later does not count again the time that is already counted.
        let mut judge = Judge::new(Bounds::default());
        for n in 0..6 {
            let mut second = calm(n);
            second.threads[0] = threaded(0, 0.95, 0.0);
            if n >= 1 {
                second.backlog = 0.9;
            }
            let verdict = judge.look(&second);
            if n >= 3 {
                assert_eq!((verdict.limits.len(), verdict.limited_ns), (2, (n + 1) * SECOND));
            }
        }
    }

    #[test]
    fn a_longer_period_counts_with_its_length() {
        let mut judge = Judge::new(Bounds::default());
        let mut late = calm(3);
        (late.over_ns, late.backlog) = (3 * SECOND, 0.9);
        assert_eq!(judge.look(&late).turned, Some(true), "one period of three seconds");
        let mut judge = Judge::new(Bounds::default());
        for n in 0..5 {
            let mut short = calm(0);
            (short.at_unix_ns, short.over_ns, short.backlog) = (100 * SECOND + n * 1_000, 1_000, 0.9);
            assert_eq!(judge.look(&short).turned, None);
        }
    }

    /// After SIGCONT: what was due while the process was stopped is no limit of its workers.
    #[test]
    fn what_a_stopped_process_did_not_start_is_no_limit() {
        for (seconds, dropped, late, limited) in
            [(12, 500, 500, false), (12, 500, 400, true), (1, 500, 500, false), (3, 15, 15, false)]
        {
            let mut judge = Judge::new(Bounds::default());
            let mut second = calm(seconds);
            second.over_ns = seconds * SECOND;
            second.arrivals = vec![arrivals("open", 560, dropped, late)];
            let limits = judge.look(&second).limits;
            assert_eq!(
                !limits.is_empty(),
                limited,
                "{seconds} s, {dropped} dropped, {late} late: {limits:?}"
            );
        }
    }

    #[test]
    fn each_scenario_is_judged_separately() {
        let verdicts = judged("###", |second| {
            second.arrivals =
                vec![arrivals("a", 100, 0, 0), arrivals("b", 100, 30, 0), arrivals("c", 100, 2, 0)];
        });
        let places: Vec<_> =
            verdicts[2].limits.iter().map(|limit| (limit.place.as_str(), limit.worst)).collect();
        assert_eq!(places, [("b", 0.3), ("c", 0.02)]);
    }
}
