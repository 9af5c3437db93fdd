//! Tests of the open model on a paused clock.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wec_acme::Clock;
use wec_acme::clock::Moment;
use wec_board::SendRight;
use wec_startup::Stop;

use super::super::{ArrivalSchedule, BoxFuture, Gauges, Iterated, VirtualUser, Workforce};
use super::*;
use crate::permit::Permit;

const SECOND: u64 = 1_000_000_000;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Workers that take `takes` per iteration and record their iterations.
struct Diary {
    clock: Clock,
    takes: Mutex<Duration>,
    /// When each iteration was due and when it started.
    started: Mutex<Vec<(u64, u64)>>,
    cut: Mutex<u32>,
    /// How many of the next attempts find nothing to run.
    idle: Mutex<u32>,
    by_worker: Mutex<HashMap<u32, u32>>,
    requests: u32,
}

struct Keeper(Arc<Diary>, u32);

impl Workforce for Arc<Diary> {
    fn worker(&self, number: u32) -> Box<dyn VirtualUser> {
        Box::new(Keeper(Self::clone(self), number))
    }
}

impl VirtualUser for Keeper {
    fn iterate<'a>(&'a mut self, due: Option<u64>, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated> {
        Box::pin(async move {
            let diary = &self.0;
            let idle = {
                let mut left = diary.idle.lock().unwrap();
                let idle = *left > 0;
                *left = left.saturating_sub(1);
                idle
            };
            if idle {
                return Iterated::Idle;
            }
            diary.started.lock().unwrap().push((due.unwrap(), diary.clock.now()));
            *diary.by_worker.lock().unwrap().entry(self.1).or_default() += 1;
            let takes = *diary.takes.lock().unwrap();
            tokio::select! {
                () = tokio::time::sleep(takes) => {}
                () = cut.cancelled() => *diary.cut.lock().unwrap() += 1,
            }
            Iterated::Answered { requests: diary.requests }
        })
    }
}

struct Running {
    diary: Arc<Diary>,
    gauges: Arc<Gauges>,
    schedule: watch::Sender<Arc<ArrivalSchedule>>,
    stop: Stop,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(ramp: Ramp, cap: u32, takes: Duration) -> Self {
        Self::with(ramp, cap, takes, RateUnit::Chains, Spacing::Even, 1)
    }

    fn with(ramp: Ramp, cap: u32, takes: Duration, unit: RateUnit, spacing: Spacing, of: u32) -> Self {
        let schedule = ArrivalSchedule {
            ramp,
            origin: 0,
            paused_at: None,
            workers_cap: cap,
            registration: 0,
            members: crate::share::MemberShare::default(),
            of_all: None,
        };
        Self::of(schedule, takes, (unit, spacing, of), crate::permit::tests::always())
    }

    fn of(
        schedule: ArrivalSchedule,
        takes: Duration,
        (unit, spacing, of): (RateUnit, Spacing, u32),
        permit: Arc<Permit>,
    ) -> Self {
        let clock = Clock::start();
        let diary = Arc::new(Diary {
            clock,
            takes: Mutex::new(takes),
            started: Mutex::default(),
            cut: Mutex::default(),
            idle: Mutex::default(),
            by_worker: Mutex::default(),
            requests: 4,
        });
        let (schedule, followed) = watch::channel(Arc::new(schedule));
        let gauges = Arc::new(Gauges::default());
        let stop = Stop::default();
        let mut tasks = JoinSet::new();
        let relay = Arc::new(Relay::new(of));
        for place in 0..of {
            let executor = ArrivalLoop {
                workforce: Arc::new(Arc::clone(&diary)),
                gauges: Arc::clone(&gauges),
                schedule: followed.clone(),
                unit,
                spacing,
                clock,
                place: (place, of),
                relay: Arc::clone(&relay),
                permit: Arc::clone(&permit),
            };
            tasks.spawn(executor.run(stop.clone()));
        }
        Self { diary, gauges, schedule, stop, tasks }
    }

    fn steer(&self, change: impl FnOnce(&mut ArrivalSchedule)) {
        self.schedule.send_modify(|schedule| change(Arc::make_mut(schedule)));
    }

    fn started(&self) -> Vec<(u64, u64)> {
        self.diary.started.lock().unwrap().clone()
    }

    fn count(&self) -> u64 {
        self.started().len() as u64
    }

    async fn finish(&mut self) {
        self.stop.finish.cancel();
        while self.tasks.join_next().await.transpose().unwrap().is_some() {}
        assert_eq!((self.gauges.workers(), self.gauges.busy()), (0, 0), "no worker is left");
        assert_eq!(self.gauges.due(), self.gauges.started() + self.gauges.dropped());
    }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_minute_at_500_a_second_is_30_000_whatever_the_number_of_runtimes() {
    for of in [1, 2, 7] {
        let ramp = Ramp::constant(500.0).until(s(60));
        let mut running =
            Running::with(ramp, 100, Duration::from_millis(20), RateUnit::Chains, Spacing::Even, of);
        pass(s(61)).await;
        running.finish().await;
        assert_eq!((running.count(), running.gauges.dropped()), (30_000, 0), "{of} runtimes");
        let mut dues: Vec<_> = running.started().iter().map(|(due, _)| *due).collect();
        dues.sort_unstable();
        let expected = (0..30_000u64).map(|n| n * SECOND / 500);
        assert!(dues.into_iter().eq(expected), "{of} runtimes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ramp_of_hours_does_not_drift_and_nothing_starts_early() {
    let mut running =
        Running::start(Ramp::stages(0.0, [(2.0, s(7200)), (2.0, s(3600)), (0.0, s(7200))]), 10, s(1));
    for hour in 1..=5u64 {
        pass(s(3600)).await;
        let due = running.schedule.borrow().ramp.total(s(3600 * hour));
        assert!((running.count() as f64 - due).abs() <= 2.0, "hour {hour}: {} of {due}", running.count());
    }
    running.finish().await;
    assert_eq!(running.count(), 7200 * 3);
    for (due, start) in running.started() {
        // While time is paused, tokio's timer is used, which counts milliseconds.
        assert!((due..=due + 2_000_000).contains(&start), "due {due}, started {start}");
    }
}

#[tokio::test(start_paused = true)]
async fn free_workers_are_reused() {
    let mut running = Running::start(Ramp::constant(10.0).until(s(100)), 50, Duration::from_millis(150));
    pass(s(101)).await;
    assert_eq!(running.gauges.workers(), 2, "10/s for 150 ms each need two");
    assert_eq!(running.diary.by_worker.lock().unwrap().values().sum::<u32>(), 1000);
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn drops_iterations_when_every_worker_is_busy_and_starts_the_others_on_time() {
    let mut running = Running::start(Ramp::constant(10.0).until(s(10)), 3, Duration::from_millis(950));
    pass(s(12)).await;
    running.finish().await;
    // Three of every ten start: the workers are busy when the other seven are due.
    assert_eq!((running.gauges.due(), running.count(), running.gauges.dropped()), (100, 30, 70));
    assert_eq!(running.gauges.late(), 0);
    for (n, (due, _)) in running.started().into_iter().enumerate() {
        let n = n as u64;
        assert_eq!(due, (n / 3) * SECOND + (n % 3) * SECOND / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_does_not_delay_the_schedule() {
    let mut running = Running::start(Ramp::constant(10.0).until(s(20)), 500, Duration::from_millis(50));
    pass(s(5)).await;
    *running.diary.takes.lock().unwrap() = s(5);
    pass(s(1)).await;
    *running.diary.takes.lock().unwrap() = Duration::from_millis(50);
    pass(s(20)).await;
    assert_eq!((running.count(), running.gauges.dropped()), (200, 0));
    assert!(running.gauges.workers() >= 10);
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn follows_a_live_change_without_loss_or_repetition() {
    let mut running = Running::start(Ramp::constant(100.0), 100, Duration::from_millis(10));
    pass(Duration::from_millis(10_005)).await;
    running.steer(|schedule| schedule.ramp = schedule.ramp.then_hold(s(10), 7.0));
    pass(s(10)).await;
    running.steer(|schedule| schedule.ramp = schedule.ramp.then_hold(s(20), 0.0));
    pass(s(100)).await;
    running.steer(|schedule| schedule.ramp = schedule.ramp.then_hold(s(120), 1000.0).until(s(121)));
    pass(s(10)).await;
    running.finish().await;
    let dues: Vec<_> = running.started().iter().map(|(due, _)| *due).collect();
    // The first in each period is due at a whole total: 1000, 1070.
    assert_eq!(dues.len(), 1000 + 70 + 1000);
    assert!(dues.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(dues.iter().filter(|due| (20 * SECOND + 1..120 * SECOND).contains(due)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_schedule_stops_in_a_pause() {
    let mut running = Running::start(Ramp::constant(10.0).until(s(20)), 100, Duration::from_millis(10));
    pass(Duration::from_millis(4_950)).await;
    running.steer(|schedule| schedule.paused_at = Some(0));
    pass(s(1000)).await;
    assert_eq!(running.count(), 50, "nothing starts");
    running.steer(|schedule| {
        schedule.paused_at = None;
        schedule.origin += 1000 * SECOND as i64;
    });
    pass(s(100)).await;
    running.finish().await;
    assert_eq!(running.count(), 200, "as many as in a run of 20 s");
    let (due, start) = running.started()[50];
    assert_eq!(due, 1005 * SECOND);
    assert!(start >= due);
}

#[tokio::test(start_paused = true)]
async fn a_late_arrival_starts_at_once_and_keeps_its_due_time() {
    let mut running = Running::start(Ramp::constant(10.0).until(s(10)), 1000, Duration::from_millis(10));
    // The whole run passes before this executor is polled for the first time.
    tokio::time::advance(s(60)).await;
    pass(s(1)).await;
    running.finish().await;
    let started = running.started();
    assert_eq!(started.len(), 100);
    for (n, (due, start)) in started.into_iter().enumerate() {
        assert_eq!(due, n as u64 * SECOND / 10);
        assert_eq!(start / SECOND, 60);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_lets_iterations_finish_and_a_cut_interrupts_them() {
    let mut running = Running::start(Ramp::constant(4.0), 100, s(3600));
    pass(Duration::from_millis(990)).await;
    running.stop.finish.cancel();
    pass(s(60)).await;
    assert_eq!((running.count(), running.gauges.busy()), (4, 4), "none starts, running ones continue");
    running.stop.cut.cancel();
    running.finish().await;
    assert_eq!(*running.diary.cut.lock().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_arrival_that_finds_nothing_retries_and_then_counts_as_idle() {
    let mut running = Running::start(Ramp::constant(1.0).until(s(3)), 10, Duration::from_millis(10));
    *running.diary.idle.lock().unwrap() = 3 + 4;
    pass(s(4)).await;
    running.finish().await;
    assert_eq!((running.gauges.iterations(), running.gauges.idle()), (2, 1));
    assert_eq!(running.gauges.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retrying_worker_is_not_busy_and_takes_the_next_arrival() {
    for (cap, of) in [(1, 1), (3, 2), (1000, 2)] {
        let ramp = Ramp::constant(200.0).until(s(10));
        let mut running =
            Running::with(ramp, cap, Duration::from_millis(10), RateUnit::Chains, Spacing::Even, of);
        *running.diary.idle.lock().unwrap() = u32::MAX;
        for _ in 0..100 {
            pass(Duration::from_micros(97_300)).await;
            assert_eq!(running.gauges.busy(), 0, "cap {cap}");
        }
        pass(s(1)).await;
        let gauges = Arc::clone(&running.gauges);
        assert_eq!((gauges.started(), gauges.idle(), gauges.dropped()), (2000, 2000, 0), "cap {cap}");
        assert!(gauges.workers() <= 12, "200/s for 50 ms each need ten: {}", gauges.workers());
        running.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_worker_retries_in_a_pause_or_after_the_end() {
    let mut running = Running::start(Ramp::constant(1.0).until(s(3)), 10, Duration::from_millis(10));
    *running.diary.idle.lock().unwrap() = 2;
    pass(Duration::from_millis(5)).await;
    running.steer(|schedule| schedule.paused_at = Some(0));
    pass(s(10)).await;
    assert_eq!((running.gauges.idle(), running.count()), (1, 0));
    running.steer(|schedule| {
        schedule.paused_at = None;
        schedule.origin += 10 * SECOND as i64;
    });
    pass(Duration::from_millis(995)).await;
    *running.diary.idle.lock().unwrap() = u32::MAX;
    pass(Duration::from_millis(7)).await;
    running.stop.finish.cancel();
    pass(Duration::from_millis(1)).await;
    running.finish().await;
    assert_eq!((running.gauges.idle(), running.count(), running.gauges.started()), (2, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_lower_cap_dismisses_free_workers_now_and_busy_ones_at_their_end() {
    let mut running = Running::start(Ramp::constant(20.0), 100, s(1));
    pass(s(5)).await;
    assert!((20..=21).contains(&running.gauges.workers()), "{}", running.gauges.workers());
    running.steer(|schedule| schedule.workers_cap = 5);
    pass(Duration::from_millis(100)).await;
    assert!(running.gauges.workers() >= 15, "no iteration is interrupted");
    pass(s(5)).await;
    assert_eq!(running.gauges.workers(), 5);
    assert!(running.gauges.dropped() > 0);
    running.steer(|schedule| schedule.workers_cap = 100);
    pass(s(5)).await;
    assert!((20..=21).contains(&running.gauges.workers()), "{}", running.gauges.workers());
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_cap_below_the_number_of_runtimes_loses_no_arrival() {
    let ramp = Ramp::constant(5.0).until(s(10));
    let mut running = Running::with(ramp, 1, Duration::from_millis(10), RateUnit::Chains, Spacing::Even, 4);
    pass(s(11)).await;
    running.finish().await;
    assert_eq!((running.count(), running.gauges.dropped()), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn the_share_of_drops_does_not_depend_on_the_number_of_runtimes() {
    let mut dropped = Vec::new();
    for of in [1, 2, 5, 20] {
        let (ramp, spacing) = (Ramp::constant(100.0).until(s(60)), Spacing::Poisson { seed: 7 });
        // On average 17 of 20 workers are busy: by Erlang's formula 8 % of arrivals find no free one.
        let mut running = Running::with(ramp, 20, Duration::from_millis(170), RateUnit::Chains, spacing, of);
        pass(s(62)).await;
        running.finish().await;
        let gauges = &running.gauges;
        assert_eq!(gauges.due(), gauges.started() + gauges.dropped());
        dropped.push(gauges.dropped() as f64 / gauges.due() as f64);
    }
    assert!((0.05..0.11).contains(&dropped[0]), "{dropped:?}");
    assert!(dropped.iter().all(|share| (share - dropped[0]).abs() < 0.005), "{dropped:?}");
}

#[tokio::test(start_paused = true)]
async fn no_arrival_is_lost_when_a_cap_takes_and_returns_a_runtimes_workers() {
    let ramp = Ramp::constant(100.0).until(s(40));
    let mut running = Running::with(ramp, 8, Duration::from_millis(4), RateUnit::Chains, Spacing::Even, 4);
    pass(s(10)).await;
    running.steer(|schedule| schedule.workers_cap = 2);
    pass(s(10)).await;
    assert_eq!(running.gauges.dropped(), 0, "two workers suffice for this rate");
    running.steer(|schedule| schedule.workers_cap = 0);
    pass(s(10)).await;
    let dropped = running.gauges.dropped();
    assert!((999..=1001).contains(&dropped), "{dropped}: no worker is left");
    running.steer(|schedule| schedule.workers_cap = 8);
    *running.diary.takes.lock().unwrap() = Duration::from_millis(70);
    pass(s(11)).await;
    running.finish().await;
    let gauges = &running.gauges;
    assert_eq!(gauges.dropped(), dropped, "seven workers suffice");
    assert_eq!((gauges.due(), gauges.started()), (4_000, 4_000 - dropped));
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_requests_starts_as_many_chains_as_make_them() {
    for (spacing, within) in [(Spacing::Even, 0.01), (Spacing::Poisson { seed: 4 }, 0.06)] {
        let ramp = Ramp::constant(200.0).until(s(100));
        let mut running =
            Running::with(ramp, 500, Duration::from_millis(700), RateUnit::Requests, spacing, 3);
        pass(s(102)).await;
        running.finish().await;
        let made = running.gauges.requests() as f64;
        assert!((made / 20_000.0 - 1.0).abs() < within, "{spacing:?}: {made}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_run_continues_after_a_panic_in_one_worker() {
    struct Panics(std::sync::atomic::AtomicU32);
    struct Panicking(bool);
    impl Workforce for Panics {
        fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
            Box::new(Panicking(self.0.fetch_add(1, Ordering::SeqCst) == 0))
        }
    }
    impl VirtualUser for Panicking {
        fn iterate<'a>(
            &'a mut self,
            _due: Option<u64>,
            _cut: &'a CancellationToken,
        ) -> BoxFuture<'a, Iterated> {
            Box::pin(async {
                assert!(!self.0, "the first worker panics");
                Iterated::Answered { requests: 1 }
            })
        }
    }
    let ramp = Ramp::constant(10.0).until(s(1));
    let schedule = ArrivalSchedule {
        ramp,
        origin: 0,
        paused_at: None,
        workers_cap: 1,
        registration: 0,
        members: crate::share::MemberShare::default(),
        of_all: None,
    };
    let (_sender, schedule) = watch::channel(Arc::new(schedule));
    let (gauges, stop) = (Arc::new(Gauges::default()), Stop::default());
    let executor = ArrivalLoop {
        workforce: Arc::new(Panics(0.into())),
        gauges: Arc::clone(&gauges),
        schedule,
        unit: RateUnit::Chains,
        spacing: Spacing::Even,
        clock: Clock::start(),
        place: (0, 1),
        relay: Arc::new(Relay::new(1)),
        permit: crate::permit::tests::always(),
    };
    let task = tokio::spawn(executor.run(stop.clone()));
    pass(s(2)).await;
    stop.finish.cancel();
    task.await.unwrap();
    assert_eq!((gauges.started(), gauges.iterations(), gauges.workers()), (10, 9, 0));
}

/// A process that was stopped: its right ended 2 s after the start, others took its part over, and it registers
/// again after 30 s.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_starts_at_once_and_makes_up_for_nothing() {
    let right = SendRight::until(1, Moment::now().after(s(2)));
    let schedule = ArrivalSchedule {
        ramp: Ramp::constant(50.0),
        origin: 0,
        paused_at: None,
        workers_cap: 100,
        registration: 1,
        members: crate::share::MemberShare::default(),
        of_all: None,
    };
    let permit = Arc::new(Permit::new(right.clone()));
    let takes = Duration::from_millis(5);
    let mut running = Running::of(schedule, takes, (RateUnit::Chains, Spacing::Even, 2), permit);
    pass(s(30)).await;
    assert_eq!(running.count(), 100, "nothing starts without the right");
    right.renewed(2, Moment::now().after(s(60)));
    pass(Duration::from_millis(100)).await;
    assert_eq!(running.count(), 100, "its part is of an earlier registration");
    // As the conductor writes it: nothing from the end of the right on, and a part again from now on.
    running.steer(|schedule| {
        let nothing = schedule.ramp.then_hold(s(2), 0.0);
        schedule.ramp = nothing.then_hold(Duration::from_millis(30_100), 50.0);
        schedule.registration = 2;
    });
    pass(s(1)).await;
    let back = running.count() - 100;
    assert!((49..=51).contains(&back), "{back} in the first second");
    assert_eq!(running.gauges.dropped(), 0);
    running.finish().await;
}

/// The time in which a node had the right, and did not run, is missing; what came later was not its part.
#[tokio::test(start_paused = true)]
async fn what_was_due_while_the_right_held_counts_as_dropped() {
    let right = SendRight::until(1, Moment::now().after(s(7)));
    let schedule = ArrivalSchedule {
        ramp: Ramp::constant(0.0).then_hold(s(3), 50.0),
        origin: 0,
        paused_at: Some(0),
        workers_cap: 100,
        registration: 1,
        members: crate::share::MemberShare::default(),
        of_all: None,
    };
    let permit = Arc::new(Permit::new(right));
    let takes = Duration::from_millis(5);
    let mut running = Running::of(schedule, takes, (RateUnit::Chains, Spacing::Even, 1), permit);
    pass(s(30)).await;
    running.steer(|schedule| schedule.paused_at = None);
    pass(s(1)).await;
    assert_eq!((running.count(), running.gauges.dropped()), (0, 200), "50/s from 3 s to 7 s");
    assert_eq!(running.gauges.late(), 200, "workers were free");
    running.finish().await;
}

/// The process runs again after 600 ms: some of what was due starts, and no second has more than were due in one.
#[tokio::test(start_paused = true)]
async fn a_stall_of_a_process_that_shares_a_load_makes_no_second_larger() {
    let right = SendRight::until(1, Moment::now().after(s(3_600)));
    let schedule = ArrivalSchedule {
        ramp: Ramp::constant(100.0),
        origin: 0,
        paused_at: None,
        workers_cap: 900,
        registration: 1,
        members: crate::share::MemberShare::default(),
        of_all: None,
    };
    let permit = Arc::new(Permit::new(right));
    let takes = Duration::from_millis(5);
    let mut running = Running::of(schedule, takes, (RateUnit::Chains, Spacing::Even, 1), permit);
    for _ in 0..8 {
        pass(Duration::from_millis(1_330)).await;
        // Time passes without a chance to run.
        tokio::time::advance(Duration::from_millis(600)).await;
    }
    let mut started: Vec<_> = running.started().iter().map(|(_, started)| *started).collect();
    started.sort_unstable();
    let within = |at: &u64| started.iter().filter(|other| (*at..at + SECOND).contains(other)).count();
    let most = started.iter().map(within).max().unwrap();
    assert!(most <= 102, "{most} in a second");
    assert!(running.gauges.dropped() > 100, "{} dropped", running.gauges.dropped());
    running.finish().await;
}

proptest::proptest! {
    #[test]
    fn each_recorded_arrival_is_due_in_its_step(counts in proptest::collection::vec(0u64..40, 1..80), step_ns in 1_000u64..3_000_000_000) {
        let step = Duration::from_nanos(step_ns);
        let load = super::counted(&counts, step);
        let ramp = load.rate().unwrap();
        let all: u64 = counts.iter().sum();
        let mut due_in = vec![0; counts.len()];
        for arrival in 0..all {
            let due = ramp.when(arrival as f64).unwrap();
            due_in[usize::try_from(due.as_nanos() / step.as_nanos()).unwrap()] += 1;
        }
        proptest::prop_assert_eq!(due_in, counts);
        proptest::prop_assert_eq!(ramp.when(all as f64), None);
    }
}
