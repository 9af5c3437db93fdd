//! Whether the generator was the limit: a pure function of what each second measured.
//!
//! | a bound is exceeded | in a state | then |
//! | --- | --- | --- |
//! | for 3 seconds on end | keeps up | limited, from the first of them on |
//! | in a second | limited | the second counts |
//! | for 3 seconds on end not | limited | keeps up |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use wec_record::{Limit, LimitKind};

/// Seconds on end after which a state changes.
const CONFIRM: u32 = 3;

/// From where on the generator, and not the CA alone, decides what is measured. The one place of the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Scheduling lag, 99th percentile of a second. A request to a CA of the neighbourhood takes milliseconds: with more
    /// than this, what is measured is not the CA.
    #[serde(serialize_with = "as_people_write")]
    pub lag: Duration,
    /// Share of a second for which a worker thread ran, or ran and waited for a processor. Above nine tenths queues grow fast.
    pub cpu: f64,
    /// How full the queue of results may be. Results are lost when it is full.
    pub backlog: f64,
    /// Share of the iterations due in a second that may be dropped.
    pub dropped: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { lag: Duration::from_millis(20), cpu: 0.9, backlog: 0.5, dropped: 0.01 }
    }
}

fn as_people_write<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

/// What a stretch of time, about a second, measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Second {
    /// Its end, nanoseconds since the Unix epoch.
    pub(super) at_unix_ns: u64,
    /// Its length, nanoseconds.
    pub(super) over_ns: u64,
    /// 99th percentile of the scheduling lag, nanoseconds; none with too few samples.
    pub(super) lag_p99: Option<u64>,
    /// By worker thread, the shares of the time for which it ran and for which it waited for a processor.
    pub(super) threads: Vec<(String, Usage)>,
    /// How full the queue of results is.
    pub(super) backlog: f64,
    /// By scenario, iterations due and those of them dropped.
    pub(super) arrivals: Vec<(String, u64, u64)>,
}

/// How a thread spent a stretch of time, as shares of it.
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

    /// What each bound is about, measured: which, where, the figure and the bound, and whether it is exceeded.
    fn measured(&self, bounds: &Bounds) -> Vec<Measured> {
        let mut all = Vec::new();
        let mut measure = |what, place: &str, value: f64, bound: f64, over: bool| {
            all.push(Measured { what, place: place.to_owned(), value, bound, over });
        };
        if let Some(lag) = self.lag_p99 {
            let bound = bounds.lag.as_nanos() as f64;
            measure(LimitKind::Lag, "", lag as f64, bound, lag as f64 > bound);
        }
        if let Some((thread, usage)) = self.busiest() {
            let ran_enough = usage.ran >= bounds.cpu;
            measure(LimitKind::Cpu, thread, usage.ran, bounds.cpu, ran_enough);
            // A thread that others keep from running is as late as one that has too much to do, but the way out is another.
            let kept = !ran_enough && usage.ran + usage.waited >= bounds.cpu;
            measure(LimitKind::Wait, thread, usage.waited, bounds.cpu, kept);
        }
        measure(LimitKind::Backlog, "", self.backlog, bounds.backlog, self.backlog >= bounds.backlog);
        for (scenario, due, dropped) in &self.arrivals {
            let share = if *due == 0 { 0.0 } else { *dropped as f64 / *due as f64 };
            measure(
                LimitKind::Dropped,
                scenario,
                share,
                bounds.dropped,
                *dropped > 0 && share >= bounds.dropped,
            );
        }
        all
    }
}

#[derive(Clone, Debug)]
struct Measured {
    what: LimitKind,
    place: String,
    value: f64,
    bound: f64,
    over: bool,
}

/// Judges second after second.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    bounds: Bounds,
    /// By kind, and for dropped iterations by scenario.
    cases: BTreeMap<(LimitKind, String), Case>,
    limited: bool,
    limited_ns: u64,
    /// Up to when `limited_ns` has been counted.
    counted_until: u64,
}

/// What the judge says after a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Every bound exceeded so far, and whether it is now.
    pub(super) limits: Vec<Limit>,
    /// For how long any was, nanoseconds.
    pub(super) limited_ns: u64,
    /// Whether this second made it limited, or not limited any more.
    pub(super) turned: Option<bool>,
}

/// One bound.
#[derive(Clone, Debug, Default)]
struct Case {
    limit: Limit,
    /// Seconds on end that speak against the present state.
    streak: u32,
    /// When they began, nanoseconds since the Unix epoch.
    since: u64,
    /// Of a streak above the bound: how long it is, its worst second and where that was.
    pending: (u64, f64, String),
    ever: bool,
}

impl Judge {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, cases: BTreeMap::new(), limited: false, limited_ns: 0, counted_until: 0 }
    }

    pub(super) fn look(&mut self, second: &Second) -> Verdict {
        // A stretch much shorter than a second, the last of a run, decides nothing by itself.
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
        Verdict { limits: limits.collect(), limited_ns: self.limited_ns, turned }
    }
}

impl Case {
    /// Takes in a second; from when on it says that the time was limited, if it does.
    fn look(&mut self, measured: Measured, second: &Second, seconds: u32) -> Option<u64> {
        let began = second.at_unix_ns.saturating_sub(second.over_ns);
        if self.limit.now == measured.over {
            self.streak = 0;
            self.pending = <_>::default();
            if measured.over {
                self.count(second.over_ns, measured.value, measured.place);
                return Some(began);
            }
            return None;
        }
        if self.streak == 0 && self.pending.0 == 0 {
            self.since = began;
        }
        self.streak = self.streak.saturating_add(seconds);
        if measured.over {
            self.pending.0 += second.over_ns;
            if measured.value >= self.pending.1 {
                (self.pending.1, self.pending.2) = (measured.value, measured.place);
            }
        }
        if self.streak < CONFIRM {
            return None;
        }
        self.streak = 0;
        self.limit.now = measured.over;
        let (over_ns, worst, place) = std::mem::take(&mut self.pending);
        if !measured.over {
            return None;
        }
        if !self.ever {
            self.ever = true;
            self.limit.what = measured.what;
            self.limit.bound = measured.bound;
            self.limit.first_unix_ns = self.since;
        }
        self.count(over_ns, worst, place);
        Some(self.since)
    }

    fn count(&mut self, over_ns: u64, value: f64, place: String) {
        self.limit.total_ns += over_ns;
        if value >= self.limit.worst {
            self.limit.worst = (value * 1e4).round() / 1e4;
            self.limit.place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A second of a generator that keeps up.
    fn calm(n: u64) -> Second {
        Second {
            at_unix_ns: (100 + n) * SECOND,
            over_ns: SECOND,
            lag_p99: Some(1_000_000),
            threads: vec![threaded(0, 0.4, 0.05), threaded(1, 0.5, 0.05)],
            backlog: 0.1,
            arrivals: vec![("open".to_owned(), 500, 0)],
        }
    }

    fn threaded(place: u32, ran: f64, waited: f64) -> (String, Usage) {
        (format!("worker thread {place}"), Usage { ran, waited })
    }

    /// The verdicts over seconds of which those where `over` says so are changed by `worse`.
    fn judged(over: &str, worse: impl Fn(&mut Second)) -> Vec<Verdict> {
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
        let cases: [(&str, Option<LimitKind>, Worse); 12] = [
            ("lag at its bound", None, |s| s.lag_p99 = Some(20_000_000)),
            ("lag above", Some(LimitKind::Lag), |s| s.lag_p99 = Some(20_000_001)),
            ("lag unknown", None, |s| s.lag_p99 = None),
            ("a thread below", None, |s| s.threads[1] = threaded(1, 0.85, 0.04)),
            ("a thread at its bound", Some(LimitKind::Cpu), |s| s.threads[1] = threaded(1, 0.9, 0.0)),
            ("a thread that others keep", Some(LimitKind::Wait), |s| s.threads[1] = threaded(1, 0.3, 0.65)),
            ("threads unknown", None, |s| s.threads.clear()),
            ("backlog below", None, |s| s.backlog = 0.49),
            ("backlog at its bound", Some(LimitKind::Backlog), |s| s.backlog = 0.5),
            ("dropped below", None, |s| s.arrivals[0] = ("open".into(), 500, 4)),
            ("dropped at its bound", Some(LimitKind::Dropped), |s| s.arrivals[0] = ("open".into(), 500, 5)),
            ("nothing due", None, |s| s.arrivals[0] = ("open".into(), 0, 0)),
        ];
        for (name, expected, worse) in cases {
            let last = judged("###", worse).pop().unwrap();
            let kinds: Vec<_> = last.limits.iter().map(|limit| limit.what).collect();
            assert_eq!(kinds, expected.into_iter().collect::<Vec<_>>(), "{name}");
            assert_eq!(last.turned, expected.map(|_| true), "{name}");
        }
    }

    #[test]
    fn three_seconds_on_end_turn_it_and_three_turn_it_back() {
        let cases = [
            // Each second's state after it: `.` keeps up, `L` limited.
            ("##.##.##", "........", 0),
            ("###...", "..LLL.", 3),
            ("####.#..#...", "..LLLLLLLLL.", 6),
            ("###...##....", "..LLL.......", 3),
            (".###...###...", "...LLL...LLL.", 6),
        ];
        for (over, expected, seconds) in cases {
            let verdicts = judged(over, |second| second.lag_p99 = Some(50_000_000));
            let states: String = verdicts
                .iter()
                .map(|verdict| if verdict.limits.iter().any(|limit| limit.now) { 'L' } else { '.' })
                .collect();
            assert_eq!(states, expected, "of {over}");
            let last = verdicts.last().unwrap();
            assert_eq!(last.limited_ns, seconds * SECOND, "{over}");
            assert_eq!(last.limits.first().map_or(0, |limit| limit.total_ns), seconds * SECOND, "{over}");
            // It turns exactly where the state changes.
            let mut before = '.';
            for (verdict, state) in verdicts.iter().zip(states.chars()) {
                assert_eq!(verdict.turned, (state != before).then_some(state == 'L'), "{over}");
                before = state;
            }
        }
    }

    #[test]
    fn says_since_when_the_worst_and_where_it_was() {
        let mut judge = Judge::new(Bounds::default());
        let mut last = Verdict::default();
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
    fn two_bounds_at_once_are_one_time() {
        let verdicts = judged("#####", |second| {
            second.lag_p99 = Some(50_000_000);
            second.backlog = 0.9;
        });
        let last = verdicts.last().unwrap();
        assert_eq!(last.limits.len(), 2);
        assert_eq!(last.limited_ns, 5 * SECOND);
        // One that joins later does not count again what the other has counted.
        let mut judge = Judge::new(Bounds::default());
        for n in 0..6 {
            let mut second = calm(n);
            second.lag_p99 = Some(50_000_000);
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
    fn a_stretch_stands_for_its_length() {
        let mut judge = Judge::new(Bounds::default());
        let mut late = calm(3);
        (late.over_ns, late.backlog) = (3 * SECOND, 0.9);
        assert_eq!(judge.look(&late).turned, Some(true), "three seconds in one");
        let mut judge = Judge::new(Bounds::default());
        for n in 0..5 {
            let mut short = calm(0);
            (short.at_unix_ns, short.over_ns, short.backlog) = (100 * SECOND + n * 1_000, 1_000, 0.9);
            assert_eq!(judge.look(&short).turned, None);
        }
    }

    #[test]
    fn each_scenario_answers_for_itself() {
        let verdicts = judged("###", |second| {
            second.arrivals = vec![("a".into(), 100, 0), ("b".into(), 100, 30), ("c".into(), 100, 2)];
        });
        let places: Vec<_> =
            verdicts[2].limits.iter().map(|limit| (limit.place.as_str(), limit.worst)).collect();
        assert_eq!(places, [("b", 0.3), ("c", 0.02)]);
    }
}
