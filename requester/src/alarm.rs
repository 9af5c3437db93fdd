//! Wakes a task at a moment of the run's clock, as precisely as the machine can.
//!
//! tokio's timer counts milliseconds and rounds up, which is as much as the lag that an open model may have
//! at all. On Linux a timerfd in the runtime's own poll wakes within some ten microseconds. Without a
//! timerfd, tokio's timer is used until shortly before the moment; then the alarm yields to other tasks again
//! and again until it is time. This is precise, but uses the processor for that time; [`Alarm::frugal`] does
//! not. Paused time would not advance while an alarm is awake, and a timerfd does not follow it. So in this
//! crate's tests, and on a thread whose own runtime runs the workers, only tokio's timer is used.

use std::cell::Cell;
use std::time::Duration;

use wec_acme::Clock;

/// How long before the end an alarm without a timerfd stops sleeping, because tokio's timer may be this late.
const AWAKE: Duration = Duration::from_millis(2);

thread_local! {
    /// Whether new alarms of this thread use only tokio's timer.
    static TIMER_OF_RUNTIME: Cell<bool> = const { Cell::new(cfg!(test)) };
}

/// From now on new alarms of this thread use only the timer of its runtime, whose time may be paused.
pub(crate) fn use_timer_of_runtime() {
    TIMER_OF_RUNTIME.set(true);
}

/// Wakes one task repeatedly. On Linux it belongs to the runtime on which it was created.
pub struct Alarm {
    clock: Clock,
    #[cfg(target_os = "linux")]
    timer: Option<timerfd::Timer>,
    /// The part of a wait for which it stays awake without a timerfd.
    awake: Duration,
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

impl Alarm {
    /// The most precise alarm of this machine, unless this thread's alarms use only its runtime's timer.
    pub fn new(clock: Clock) -> Self {
        if TIMER_OF_RUNTIME.get() { Self::coarse(clock) } else { Self::precise(clock) }
    }

    /// As precise as possible without using processor time: without a timerfd it wakes up to 2 ms late.
    pub fn frugal(clock: Clock) -> Self {
        Self { awake: Duration::ZERO, ..Self::new(clock) }
    }

    fn coarse(clock: Clock) -> Self {
        Self {
            clock,
            #[cfg(target_os = "linux")]
            timer: None,
            awake: Duration::ZERO,
        }
    }

    fn awake(clock: Clock) -> Self {
        Self { awake: AWAKE, ..Self::coarse(clock) }
    }

    fn precise(clock: Clock) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd::Timer::new()
                .inspect_err(|error| tracing::warn!(%error, "no timerfd: exact arrivals cost processor time"))
                .ok(),
            ..Self::awake(clock)
        }
    }

    /// Waits until the clock reaches `due`; returns at once if that has passed. May be dropped and called
    /// again.
    pub async fn at(&mut self, due: u64) {
        loop {
            let now = self.clock.now();
            if now >= due {
                return;
            }
            self.sleep(Duration::from_nanos(due - now)).await;
        }
    }

    /// Waits for a part of `time`, or all of it.
    async fn sleep(&mut self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &mut self.timer {
            if let Err(error) = timer.sleep(time).await {
                tracing::warn!(%error, "the timerfd failed: exact arrivals cost processor time");
                self.timer = None;
            }
            return;
        }
        match time.checked_sub(self.awake) {
            Some(asleep) if !asleep.is_zero() => tokio::time::sleep(asleep).await,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    /// A kernel timer that the runtime's poll watches.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// Must be called on the runtime that will wait.
        pub(super) fn new() -> io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe for handles that may close early; this one owns its descriptor, and unsafe code is forbidden here"
            )]
            AsyncFd::new(fd).map(Self)
        }

        /// Waits for this time, or less if an earlier wait was dropped at the moment of its end.
        pub(super) async fn sleep(&mut self, time: Duration) -> io::Result<()> {
            let it_value = Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            loop {
                let mut ready = self.0.readable().await?;
                let mut expirations = [0; 8];
                match ready.try_io(|fd| Ok(rustix::io::read(fd, &mut expirations)?)) {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => return Err(error),
                    // Readiness left by an earlier wait.
                    Err(_would_block) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_paused_time_in_coarse_mode() {
        let clock = Clock::start();
        Alarm::new(clock).at(3_600_000_000_000).await;
        let late = clock.now() - 3_600_000_000_000;
        assert!(late <= 1_000_000, "{late} ns");
    }

    #[tokio::test]
    async fn never_wakes_early_and_can_be_dropped_while_waiting() {
        let clock = Clock::start();
        for mut alarm in [Alarm::precise(clock), Alarm::awake(clock), Alarm::coarse(clock)] {
            for wait in [300_000, 2_500_000].repeat(10) {
                let given_up = clock.now() + 60_000_000_000;
                tokio::select! {
                    () = alarm.at(given_up) => panic!("woke a minute early"),
                    () = tokio::task::yield_now() => {}
                }
                let due = clock.now() + wait;
                alarm.at(due).await;
                assert!(clock.now() >= due);
            }
        }
    }

    #[tokio::test]
    async fn lets_others_run_while_it_is_awake() {
        let clock = Clock::start();
        let other = tokio::spawn(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        // The task never sleeps, however long this takes.
        let mut alarm = Alarm { awake: Duration::MAX, ..Alarm::coarse(clock) };
        tokio::select! {
            () = alarm.at(u64::MAX) => panic!("woke early"),
            ended = other => ended.unwrap(),
        }
    }
}
