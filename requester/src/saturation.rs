//! Whether the load tester itself is the limit: it watches its own lag, processors, queue of results and dropped iterations.
//!
//! Each runtime has a seat at the [`Watch`], where its lag is recorded. Once a second a [`Sampler`] takes what was recorded,
//! asks the system about the threads, has the judge look at it, and makes of it, and of what the scenarios counted, a
//! [`LoadSample`]. Bounds are in [`Bounds`], and what they mean in docs/generator-limits.md.

mod judge;
mod usage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use wec_acme::Clock;
use wec_record::{GeneratorSample, Limit, LoadSample, Reach, ScenarioSample};

pub use self::judge::Bounds;
use self::judge::{Judge, Second, Usage};
use self::usage::{Thread, ThreadTimes, process_time};
use crate::executor::Alarm;

/// How often a runtime is looked at for whether it is late, nanoseconds. Often enough for a 99th percentile each second,
/// seldom enough to leave the processor to the load.
const TICK_NS: u64 = 2_000_000;
/// Lags from a microsecond to an hour, three digits: what analytics' histograms hold too.
const LAG_BOUNDS_NS: (u64, u64) = (1_000, 3_600_000_000_000);
/// A stretch shorter than this, the first or last of a run, has no rates and shares: they would be of single events.
const SHORT_NS: u64 = 200_000_000;
/// With fewer lags than this a second has no percentile to judge by.
const ENOUGH_LAGS: u64 = 20;

/// Where the runtimes of a process are watched.
#[derive(Clone, Debug)]
pub struct Watch {
    clock: Clock,
    seats: Arc<Vec<Place>>,
}

/// One runtime's place.
#[derive(Debug)]
struct Place {
    lag: Lag,
    thread: Mutex<Option<Thread>>,
}

/// Takes how much later than due something ran: a runtime's ticks, a scenario's arrivals.
#[derive(Clone, Debug)]
pub struct Lag(Arc<Mutex<Histogram<u32>>>);

/// A runtime that is being watched, for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    watch: Watch,
    place: usize,
    ticker: JoinHandle<()>,
}

impl Watch {
    /// Room for so many runtimes.
    pub fn new(clock: Clock, runtimes: u32) -> Self {
        let place = |_| Place { lag: Lag::default(), thread: Mutex::default() };
        Self { clock, seats: Arc::new((0..runtimes).map(place).collect()) }
    }

    /// Watches the calling thread and the runtime that it runs, of that place; to be called on it.
    pub fn sit(&self, place: u32) -> Option<Seat> {
        let place = place as usize;
        let seat = self.seats.get(place)?;
        *lock(&seat.thread) = Thread::current();
        let ticker = tokio::spawn(tick(self.clock, seat.lag.clone()));
        Some(Seat { watch: self.clone(), place, ticker })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.ticker.abort();
        *lock(&self.watch.seats[self.place].thread) = None;
    }
}

impl Default for Lag {
    fn default() -> Self {
        let (low, high) = LAG_BOUNDS_NS;
        let histogram = Histogram::new_with_bounds(low, high, 3).expect("the bounds are constant and valid");
        Self(Arc::new(Mutex::new(histogram)))
    }
}

impl Lag {
    /// Records that something ran `ns` later than due.
    pub fn record(&self, ns: u64) {
        lock(&self.0).saturating_record(ns);
    }

    /// Moves what was recorded into `into`.
    pub(crate) fn drain(&self, into: &mut Histogram<u32>) {
        let mut histogram = lock(&self.0);
        into.add(&*histogram).expect("every histogram has the same bounds");
        histogram.reset();
    }
}

/// Asks the runtime for its attention at even times, and records how much later it came. Times that passed unattended count
/// too: each was late.
async fn tick(clock: Clock, lag: Lag) {
    // A watch that took processor time would find what it looks for.
    let mut alarm = Alarm::frugal(clock);
    let mut due = clock.now();
    loop {
        due += TICK_NS;
        alarm.at(due).await;
        let now = clock.now();
        lag.record(now.saturating_sub(due));
        while due + TICK_NS <= now {
            due += TICK_NS;
            lag.record(now - due);
        }
    }
}

/// What a scenario has counted since its start, and is to reach; see [`ScenarioSample`] for the units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) executor: &'static str,
    pub(crate) rate_unit: &'static str,
    pub(crate) workers_target: u64,
    pub(crate) workers: u64,
    pub(crate) busy: u64,
    pub(crate) rate_target: Option<f64>,
    pub(crate) asked: u64,
    pub(crate) due: u64,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) requests: u64,
    pub(crate) dropped: u64,
    pub(crate) idle: u64,
    pub(crate) reach: Option<Reach>,
    /// Whether a rate is wanted of it now: it has begun, is not paused and has not ended.
    pub(crate) steered: bool,
    /// Where its arrivals record how late they started.
    pub(crate) lag: Lag,
}

/// Makes a sample of each second.
#[derive(Debug)]
pub(crate) struct Sampler {
    watch: Watch,
    judge: Judge,
    /// The clock at the sample before.
    at: u64,
    processed: u64,
    threads: Vec<Option<ThreadTimes>>,
    scenarios: Vec<Before>,
}

/// A scenario at the sample before.
#[derive(Clone, Debug, Default)]
struct Before {
    counted: Counted,
    rate: f64,
    capped_ns: u64,
    saturated_ns: u64,
}

impl Sampler {
    pub(crate) fn new(watch: Watch, bounds: Bounds) -> Self {
        let at = watch.clock.now();
        let threads = watch.seats.iter().map(|_| None).collect();
        let judge = Judge::new(bounds);
        Self { watch, judge, at, processed: process_time(), threads, scenarios: Vec::new() }
    }

    /// What happened since the sample before; `backlog` is how full the queue of results is. Always the same scenarios, in the
    /// same order.
    pub(crate) fn sample(&mut self, counted: Vec<Counted>, backlog: f64) -> LoadSample {
        let now = self.watch.clock.now();
        let over_ns = now.saturating_sub(std::mem::replace(&mut self.at, now)).max(1);
        let processed = process_time();
        let used = processed.saturating_sub(std::mem::replace(&mut self.processed, processed));

        let mut lag = empty();
        let seats = self.watch.seats.iter().map(|seat| &seat.lag);
        seats.chain(counted.iter().map(|counted| &counted.lag)).for_each(|from| from.drain(&mut lag));
        let second = Second {
            at_unix_ns: self.watch.clock.unix_now_ns(),
            over_ns,
            lag_p99: (lag.len() >= ENOUGH_LAGS).then(|| lag.value_at_quantile(0.99)),
            threads: self.threads(over_ns),
            backlog: rounded(backlog, 1e4),
            arrivals: self.arrivals(&counted),
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
        }
    }

    fn threads(&mut self, over_ns: u64) -> Vec<(String, Usage)> {
        let mut usages = Vec::new();
        for (place, (seat, before)) in self.watch.seats.iter().zip(&mut self.threads).enumerate() {
            let now = lock(&seat.thread).and_then(Thread::times);
            if let (Some(before), Some(now), SHORT_NS..) = (std::mem::replace(before, now), now, over_ns) {
                let share =
                    |now: u64, before: u64| (now.saturating_sub(before) as f64 / over_ns as f64).min(1.0);
                let usage =
                    Usage { ran: share(now.ran, before.ran), waited: share(now.waited, before.waited) };
                usages.push((format!("worker thread {place}"), usage));
            }
        }
        usages
    }

    fn arrivals(&self, counted: &[Counted]) -> Vec<(String, u64, u64)> {
        let none = Before::default();
        let before = self.scenarios.iter().chain(std::iter::repeat(&none));
        let arrivals = counted.iter().zip(before).map(|(now, Before { counted: before, .. })| {
            (now.name.clone(), now.due.saturating_sub(before.due), now.dropped.saturating_sub(before.dropped))
        });
        arrivals.collect()
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
                capped_ns: before.capped_ns,
                saturated_ns: before.saturated_ns,
            };
            before.counted = now;
            sample
        });
        samples.collect()
    }
}

/// Says on standard error when the generator becomes the limit, and when it no longer is.
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
    Histogram::new_with_bounds(low, high, 3).expect("the bounds are constant and valid")
}

/// More digits would mean nothing, and not every JSON reader gives all of them back.
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
        sampler.sample(counted(10, 100, 100.0, 100), 0.0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let load = sampler.sample(counted(40, 460, 200.0, 400), 0.25);
        assert_eq!(load.over_ns, 2_000_000_000);
        assert_eq!(load.generator.backlog_share, 0.25);
        let [closed, open] = &load.scenarios[..] else { panic!("two scenarios") };
        assert_eq!((closed.ended, closed.rate, closed.rate_target, closed.asked), (40, 15.0, None, 0));
        assert_eq!((open.requests, open.rate, open.rate_target), (460, 180.0, Some(200.0)));
        assert_eq!(open.asked, 400);
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
            let load = sampler.sample(vec![counted], 0.0);
            assert_eq!(load.generator.turned, (second == 3).then_some(true));
            assert_eq!(load.generator.is_limited(), second == 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_that_nobody_attended_to_was_late_all_the_same() {
        let clock = Clock::start();
        let (watch, mut sampler) = sampler(clock);
        let seat = watch.sit(0).unwrap();
        assert!(watch.sit(2).is_none(), "there are two places");
        let arrivals = Counted::default();
        arrivals.lag.record(5_000_000_000);
        // The ticker begins, then the runtime is away for a second.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let lag = sampler.sample(vec![arrivals], 0.0).generator.lag;
        let count: u64 = lag.iter().map(|(_, count)| count).sum();
        assert!((490..=510).contains(&count), "{count} ticks of 2 ms in a second");
        let late = lag.iter().filter(|(ns, _)| *ns > 500_000_000).map(|(_, count)| count).sum::<u64>();
        assert!((240..=260).contains(&late), "half of them more than half a second, {late}");
        assert!(lag.last().unwrap().0.abs_diff(5_000_000_000) < 5_000_000, "an arrival's lag is among them");
        drop(seat);
        assert!(sampler.sample(Vec::new(), 0.0).generator.lag.is_empty(), "each is told once");
    }

    #[tokio::test]
    async fn knows_the_thread_that_sits_and_forgets_it_when_it_leaves() {
        let clock = Clock::start();
        let (watch, mut sampler) = sampler(clock);
        let seat = watch.sit(1);
        sampler.sample(Vec::new(), 0.0);
        let (from, mut sum) = (clock.now(), 0_u64);
        while clock.now() < from + SHORT_NS + 50_000_000 {
            sum = (0..1_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let load = sampler.sample(Vec::new(), 0.0).generator;
        assert!(load.processors.is_some());
        if cfg!(target_os = "linux") {
            let busy = load.cpu_share.unwrap() + load.cpu_wait_share.unwrap();
            assert!(busy > 0.5, "{load:?}: it computed, or wanted to, all the time");
        }
        drop(seat);
        assert_eq!(sampler.sample(Vec::new(), 0.0).generator.cpu_share, None);
    }
}
