//! Measures whether the load tester itself is the limit: its lag, processors, queue of results and dropped
//! iterations.
//!
//! A [`Watch`] records the lag of each runtime, by a [`RuntimeProbe`]. Once a second a [`Sampler`] reads the
//! records and the system's accounting of the threads, lets the judge evaluate them, and makes a
//! [`LoadSample`] from them and the scenarios' counters. Bounds are in [`Bounds`]; docs/generator-limits.md
//! explains them.

mod judge;
mod probe;
mod usage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use wec_acme::Clock;
use wec_record::{GeneratorSample, Limit, LoadSample, Reach, ScenarioSample};

pub use self::judge::Bounds;
use self::judge::{Arrivals, Judge, Second, Usage};
use self::usage::{Thread, ThreadTimes, process_time};

/// Lags from a microsecond to an hour, two digits: each second's sample has its values, which more digits would make a
/// tenth of a compressed log.
const LAG_BOUNDS_NS: (u64, u64) = (1_000, 3_600_000_000_000);
/// A shorter period, the first or last of a run, has no rates and shares, because single events would decide
/// them.
const SHORT_NS: u64 = 200_000_000;
/// With fewer lags a second has no percentile.
const ENOUGH_LAGS: u64 = 20;
/// With fewer response times there is no median.
const ENOUGH_RESPONSES: u64 = 10;
/// For how long a histogram of response times is used before the next one, nanoseconds.
const RECENT_NS: u64 = 10_000_000_000;

/// Records the lag of the runtimes of a process.
#[derive(Clone, Debug)]
pub struct Watch {
    clock: Clock,
    places: Arc<Vec<RuntimeState>>,
    responses: Responses,
}

/// Recent response times of requests, to compare lag with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Responses(Arc<Mutex<Recent>>);

/// The last ten to twenty seconds in two histograms; the older is dropped every ten seconds.
#[derive(Debug)]
struct Recent {
    now: Histogram<u32>,
    before: Histogram<u32>,
    /// The part of the ten seconds that the newer one covers, nanoseconds.
    over_ns: u64,
}

impl Default for Recent {
    fn default() -> Self {
        let (low, high) = LAG_BOUNDS_NS;
        // Two digits suffice for a comparison.
        let empty = Histogram::new_with_bounds(low, high, 2).expect("the bounds are constant and valid");
        Self { now: empty.clone(), before: empty, over_ns: 0 }
    }
}

impl Responses {
    /// Records response times of a chain's answered requests, nanoseconds each.
    pub(crate) fn record(&self, times: impl Iterator<Item = u64>) {
        let mut recent = lock(&self.0);
        times.for_each(|ns| recent.now.saturating_record(ns));
    }

    /// The recent median, after a further period; none with fewer than [`ENOUGH_RESPONSES`].
    fn median(&self, over_ns: u64) -> Option<u64> {
        let mut recent = lock(&self.0);
        let mut all = recent.before.clone();
        all.add(&recent.now).expect("both have the same bounds");
        recent.over_ns = recent.over_ns.saturating_add(over_ns);
        if recent.over_ns >= RECENT_NS {
            let Recent { now, before, over_ns } = &mut *recent;
            std::mem::swap(now, before);
            now.reset();
            *over_ns = 0;
        }
        (all.len() >= ENOUGH_RESPONSES).then(|| all.value_at_quantile(0.5))
    }
}

/// The place of one runtime.
#[derive(Debug)]
struct RuntimeState {
    lag: Lag,
    thread: Mutex<Option<Thread>>,
}

/// Records how late work ran: a runtime's ticks, a scenario's arrivals.
#[derive(Clone, Debug)]
pub struct Lag(Arc<Mutex<Histogram<u32>>>);

/// A runtime whose lag is recorded while this exists.
#[derive(Debug)]
pub struct RuntimeProbe {
    watch: Watch,
    place: usize,
    ticker: JoinHandle<()>,
}

impl Watch {
    /// For this many runtimes.
    pub fn new(clock: Clock, runtimes: u32) -> Self {
        let place = |_| RuntimeState { lag: Lag::default(), thread: Mutex::default() };
        Self { clock, places: Arc::new((0..runtimes).map(place).collect()), responses: Responses::default() }
    }

    /// Records the response times of requests.
    pub(crate) fn responses(&self) -> Responses {
        self.responses.clone()
    }

    /// Starts to record the calling thread and its runtime at this place; must be called on it.
    pub fn probe(&self, place: u32) -> Option<RuntimeProbe> {
        let number = place as usize;
        let place = self.places.get(number)?;
        *lock(&place.thread) = Thread::current();
        let ticker = tokio::spawn(probe::run(self.clock, place.lag.clone()));
        Some(RuntimeProbe { watch: self.clone(), place: number, ticker })
    }
}

impl Drop for RuntimeProbe {
    fn drop(&mut self) {
        self.ticker.abort();
        *lock(&self.watch.places[self.place].thread) = None;
    }
}

impl Default for Lag {
    fn default() -> Self {
        let (low, high) = LAG_BOUNDS_NS;
        let histogram = Histogram::new_with_bounds(low, high, 2).expect("the bounds are constant and valid");
        Self(Arc::new(Mutex::new(histogram)))
    }
}

impl Lag {
    /// Records a lag of `ns`.
    pub fn record(&self, ns: u64) {
        lock(&self.0).saturating_record(ns);
    }

    /// Records `count` equal lags.
    fn record_n(&self, ns: u64, count: u32) {
        lock(&self.0).saturating_record_n(ns, count);
    }

    /// Moves the records into `into`.
    pub(crate) fn drain(&self, into: &mut Histogram<u32>) {
        let mut histogram = lock(&self.0);
        into.add(&*histogram).expect("every histogram has the same bounds");
        histogram.reset();
    }
}

/// A scenario's counts since its start, and its targets; see [`ScenarioSample`] for the units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) executor: &'static str,
    pub(crate) rate_unit: &'static str,
    pub(crate) workers_target: u64,
    pub(crate) workers: u64,
    pub(crate) busy: u64,
    pub(crate) backing_off: u64,
    pub(crate) rate_target: Option<f64>,
    pub(crate) rate_target_of_all: Option<f64>,
    pub(crate) workers_target_of_all: Option<u64>,
    pub(crate) scheduled_of_all: f64,
    pub(crate) scheduled: f64,
    pub(crate) asked: u64,
    pub(crate) due: u64,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) requests: u64,
    pub(crate) dropped: u64,
    /// Those of `dropped` that were late, not without a worker.
    pub(crate) late: u64,
    pub(crate) idle: u64,
    /// Number of refusals of our own machine.
    pub(crate) local: u64,
    pub(crate) reach: Option<Reach>,
    /// Active time of its schedule, if it has one; nanoseconds.
    pub(crate) active_ns: Option<u64>,
    /// Whether it has a target rate now: it has begun, is not paused and has not ended.
    pub(crate) steered: bool,
    /// Records how late its arrivals started.
    pub(crate) lag: Lag,
}

/// Makes a load sample of each second.
#[derive(Debug)]
pub(crate) struct Sampler {
    watch: Watch,
    judge: Judge,
    /// The clock at the last sample.
    at: u64,
    processed: u64,
    /// Total time that requests waited for connections and used them, at the last sample.
    queued: (u64, u64),
    threads: Vec<Option<ThreadTimes>>,
    scenarios: Vec<Before>,
}

/// A scenario at the last sample.
#[derive(Clone, Debug, Default)]
struct Before {
    counted: Counted,
    rate: f64,
    /// Without a schedule: the sum of the samples in which an iteration started.
    active_ns: u64,
    capped_ns: u64,
    saturated_ns: u64,
}

impl Sampler {
    pub(crate) fn new(watch: Watch, bounds: Bounds) -> Self {
        let at = watch.clock.now();
        let threads = watch.places.iter().map(|_| None).collect();
        let judge = Judge::new(bounds);
        Self { watch, judge, at, processed: process_time(), queued: (0, 0), threads, scenarios: Vec::new() }
    }

    /// A sample since the last one. `backlog` is the fill level of the queue of results; `queued` is the
    /// total time that requests waited for connections and used them ([`wec_acme::transport::Queueing`]). The
    /// scenarios and their order must always be the same.
    pub(crate) fn sample(&mut self, counted: Vec<Counted>, backlog: f64, queued: (u64, u64)) -> LoadSample {
        let now = self.watch.clock.now();
        let over_ns = now.saturating_sub(std::mem::replace(&mut self.at, now)).max(1);
        let processed = process_time();
        let used = processed.saturating_sub(std::mem::replace(&mut self.processed, processed));

        let mut lag = empty();
        let places = self.watch.places.iter().map(|place| &place.lag);
        places.chain(counted.iter().map(|counted| &counted.lag)).for_each(|from| from.drain(&mut lag));
        let second = Second {
            at_unix_ns: self.watch.clock.unix_now_ns(),
            over_ns,
            lag_p99: (lag.len() >= ENOUGH_LAGS).then(|| lag.value_at_quantile(0.99)),
            response_p50: self.watch.responses.median(over_ns),
            connection_wait: self.connection_wait(queued),
            threads: self.threads(over_ns),
            backlog: rounded(backlog, 1e4),
            arrivals: self.arrivals(&counted),
            local: self.local(&counted),
        };
        let verdict = self.judge.look(&second);
        tell(&verdict.limits, verdict.turned);
        let busiest = second.busiest().map(|(_, usage)| *usage);
        LoadSample {
            over_ns,
            scenarios: self.scenarios(counted, over_ns),
            generator: GeneratorSample {
                lag: lag
                    .iter_recorded()
                    .map(|cell| (cell.value_iterated_to(), cell.count_at_value().into()))
                    .collect(),
                cpu_share: busiest.map(|usage| rounded(usage.ran, 1e4)),
                cpu_wait_share: busiest.map(|usage| rounded(usage.waited, 1e4)),
                processors: (over_ns >= SHORT_NS).then(|| rounded(used as f64 / over_ns as f64, 1e3)),
                backlog_share: second.backlog,
                limits: verdict.limits,
                limited_ns: verdict.limited_ns,
                turned: verdict.turned,
            },
            ..LoadSample::default()
        }
    }

    /// Share of the requests' time since the last sample for which they waited for a connection.
    fn connection_wait(&mut self, queued: (u64, u64)) -> Option<f64> {
        let before = std::mem::replace(&mut self.queued, queued);
        let (waited, held) = (queued.0.saturating_sub(before.0), queued.1.saturating_sub(before.1));
        let all = waited.saturating_add(held);
        (all > 0).then(|| waited as f64 / all as f64)
    }

    fn threads(&mut self, over_ns: u64) -> Vec<(String, Usage)> {
        let mut usages = Vec::new();
        for (number, (place, before)) in self.watch.places.iter().zip(&mut self.threads).enumerate() {
            let now = lock(&place.thread).and_then(Thread::times);
            if let (Some(before), Some(now), SHORT_NS..) = (std::mem::replace(before, now), now, over_ns) {
                let share =
                    |now: u64, before: u64| (now.saturating_sub(before) as f64 / over_ns as f64).min(1.0);
                let usage =
                    Usage { ran: share(now.ran, before.ran), waited: share(now.waited, before.waited) };
                usages.push((format!("worker thread {number}"), usage));
            }
        }
        usages
    }

    fn arrivals(&self, counted: &[Counted]) -> Vec<Arrivals> {
        let none = Before::default();
        let before = self.scenarios.iter().chain(std::iter::repeat(&none));
        let arrivals = counted.iter().zip(before).map(|(now, Before { counted: before, .. })| Arrivals {
            scenario: now.name.clone(),
            due: now.due.saturating_sub(before.due),
            dropped: now.dropped.saturating_sub(before.dropped),
            late: now.late.saturating_sub(before.late),
        });
        arrivals.collect()
    }

    /// Number of refusals of our own machine since the last sample.
    fn local(&self, counted: &[Counted]) -> u64 {
        let now: u64 = counted.iter().map(|counted| counted.local).sum();
        now.saturating_sub(self.scenarios.iter().map(|before| before.counted.local).sum())
    }

    fn scenarios(&mut self, counted: Vec<Counted>, over_ns: u64) -> Vec<ScenarioSample> {
        self.scenarios.resize_with(counted.len(), Before::default);
        let seconds = over_ns as f64 / 1e9;
        let samples = counted.into_iter().zip(&mut self.scenarios).map(|(now, before)| {
            let done = |counted: &Counted| {
                if counted.rate_unit == "requests" { counted.requests } else { counted.ended }
            };
            if over_ns >= SHORT_NS {
                before.rate = done(&now).saturating_sub(done(&before.counted)) as f64 / seconds;
            }
            if now.started > before.counted.started {
                before.active_ns += over_ns;
            }
            match now.reach.filter(|_| now.steered) {
                Some(Reach::Capped) => before.capped_ns += over_ns,
                Some(Reach::Saturated) => before.saturated_ns += over_ns,
                Some(Reach::Approaching | Reach::Reached) | None => {}
            }
            let sample = ScenarioSample {
                name: now.name.clone(),
                executor: now.executor.to_owned(),
                workers_target: now.workers_target,
                workers: now.workers,
                busy: now.busy,
                backing_off: now.backing_off,
                rate_target: now.rate_target.map(|target| rounded(target, 1e3)),
                rate: rounded(before.rate, 1e3),
                rate_unit: now.rate_unit.to_owned(),
                asked: now.asked,
                due: now.due,
                started: now.started,
                ended: now.ended,
                requests: now.requests,
                dropped: now.dropped,
                idle: now.idle,
                reach: now.reach,
                active_ns: now.active_ns.unwrap_or(before.active_ns),
                capped_ns: before.capped_ns,
                saturated_ns: before.saturated_ns,
                rate_target_of_all: now.rate_target_of_all.map(|target| rounded(target, 1e3)),
                workers_target_of_all: now.workers_target_of_all,
                scheduled_of_all: rounded(now.scheduled_of_all, 1e3),
                scheduled: rounded(now.scheduled, 1e3),
            };
            before.counted = now;
            sample
        });
        samples.collect()
    }
}

/// Logs when the load tester becomes the limit, and when it no longer is.
fn tell(limits: &[Limit], turned: Option<bool>) {
    match turned {
        Some(true) => {
            for limit in limits.iter().filter(|limit| limit.now) {
                tracing::warn!("generator-limited: {limit}");
            }
        }
        Some(false) => {
            tracing::warn!("the generator keeps up again; the run stays marked as generator-limited")
        }
        None => {}
    }
}

fn empty() -> Histogram<u32> {
    let (low, high) = LAG_BOUNDS_NS;
    Histogram::new_with_bounds(low, high, 2).expect("the bounds are constant and valid")
}

/// More digits are not significant, and not every JSON reader preserves them.
fn rounded(value: f64, to_one_in: f64) -> f64 {
    (value * to_one_in).round() / to_one_in
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sampler(clock: Clock) -> (Watch, Sampler) {
        let watch = Watch::new(clock, 2);
        (watch.clone(), Sampler::new(watch, Bounds::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_since_the_start_and_rates_since_the_last_sample() {
        let clock = Clock::start();
        let (_, mut sampler) = sampler(clock);
        let counted = |ended: u64, requests: u64, target: f64, asked: u64| {
            vec![
                Counted { name: "closed".into(), executor: "workers", ended, requests, ..Counted::default() },
                Counted {
                    name: "open".into(),
                    executor: "target-rps",
                    rate_unit: "requests",
                    rate_target: Some(target),
                    asked,
                    ended,
                    requests,
                    ..Counted::default()
                },
            ]
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        sampler.sample(counted(10, 100, 100.0, 100), 0.0, (0, 0));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let load = sampler.sample(counted(40, 460, 200.0, 400), 0.25, (0, 0));
        assert_eq!(load.over_ns, 2_000_000_000);
        assert_eq!(load.generator.backlog_share, 0.25);
        let [closed, open] = &load.scenarios[..] else { panic!("two scenarios") };
        assert_eq!((closed.ended, closed.rate, closed.rate_target, closed.asked), (40, 15.0, None, 0));
        assert_eq!((open.requests, open.rate, open.rate_target), (460, 180.0, Some(200.0)));
        assert_eq!(open.asked, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_compared_with_response_times_of_the_last_seconds() {
        let responses = Responses::default();
        responses.record([5_000_000; 9].into_iter());
        assert_eq!(responses.median(1), None, "nine are too few");
        responses.record(std::iter::once(5_000_000));
        let near = |median: Option<u64>, ms: u64| {
            median.is_some_and(|median| median.abs_diff(ms * 1_000_000) < ms * 20_000)
        };
        assert!(near(responses.median(RECENT_NS), 5));
        responses.record([400_000_000; 30].into_iter());
        assert!(near(responses.median(RECENT_NS), 400), "30 of 40");
        assert!(near(responses.median(RECENT_NS), 400), "the older ones are dropped");
        assert_eq!(responses.median(1), None, "these are dropped, too");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_for_connections_limit_by_a_cap() {
        let clock = Clock::start();
        let (_, mut sampler) = sampler(clock);
        let mut queued = (0, 0);
        let mut limits = Vec::new();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queued = (queued.0 + 3_000_000_000, queued.1 + 7_000_000_000);
            limits = sampler.sample(Vec::new(), 0.0, queued).generator.limits;
        }
        let [limit] = &limits[..] else { panic!("{limits:?}") };
        assert_eq!((limit.what, limit.worst), (wec_record::LimitKind::Connections, 0.3));
        assert_eq!(limit.cause, wec_record::LimitCause::Cap);
    }

    #[tokio::test(start_paused = true)]
    async fn drops_of_three_seconds_limit() {
        let clock = Clock::start();
        let (_, mut sampler) = sampler(clock);
        for second in 1..=3u64 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let counted = Counted {
                name: "open".into(),
                executor: "arrival-rate",
                rate_unit: "chains",
                rate_target: Some(7.0),
                due: 10 * second,
                dropped: second,
                ..Counted::default()
            };
            let load = sampler.sample(vec![counted], 0.0, (0, 0));
            assert_eq!(load.generator.turned, (second == 3).then_some(true));
            assert_eq!(load.generator.is_limited(), second == 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_missed_by_a_blocked_runtime_count_as_late() {
        let clock = Clock::start();
        let (watch, mut sampler) = sampler(clock);
        let probe = watch.probe(0).unwrap();
        assert!(watch.probe(2).is_none(), "there are only two places");
        let arrivals = Counted::default();
        arrivals.lag.record(5_000_000_000);
        // The ticker starts, then the runtime is blocked for a second.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let lag = sampler.sample(vec![arrivals], 0.0, (0, 0)).generator.lag;
        let count: u64 = lag.iter().map(|(_, count)| count).sum();
        assert!((490..=510).contains(&count), "{count} ticks of 2 ms in a second");
        let late = lag.iter().filter(|(ns, _)| *ns > 500_000_000).map(|(_, count)| count).sum::<u64>();
        assert!((240..=260).contains(&late), "half of them are late by more than half a second, {late}");
        assert!(lag.last().unwrap().0.abs_diff(5_000_000_000) < 50_000_000, "the lags include the arrival's");
        drop(probe);
        assert!(sampler.sample(Vec::new(), 0.0, (0, 0)).generator.lag.is_empty(), "each is reported once");
    }

    #[tokio::test]
    async fn samples_a_threads_processor_time_until_it_leaves() {
        let clock = Clock::start();
        let (watch, mut sampler) = sampler(clock);
        let probe = watch.probe(1);
        sampler.sample(Vec::new(), 0.0, (0, 0));
        let (from, mut sum) = (clock.now(), 0_u64);
        while clock.now() < from + SHORT_NS + 50_000_000 {
            sum = (0..1_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let load = sampler.sample(Vec::new(), 0.0, (0, 0)).generator;
        assert!(load.processors.is_some());
        if cfg!(target_os = "linux") {
            let busy = load.cpu_share.unwrap() + load.cpu_wait_share.unwrap();
            assert!(busy > 0.5, "{load:?}: it ran or waited to run all the time");
        }
        drop(probe);
        assert_eq!(sampler.sample(Vec::new(), 0.0, (0, 0)).generator.cpu_share, None);
    }
}
