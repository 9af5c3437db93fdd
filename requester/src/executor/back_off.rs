//! What a worker of a closed model does after an iteration: nothing, wait a little, or back off.
//!
//! | an iteration that | `back-off` | `hammer` |
//! | --- | --- | --- |
//! | succeeded, or failed for its own reasons | the next one at once | the same |
//! | failed for reasons of the CA or the network | 100 ms, doubled each time up to 30 s, with jitter; at least the Retry-After | at once if the CA answered, else 50 ms, doubled up to 2 s |
//! | found no chain to run | 20 ms, doubled up to 640 ms | the same |
//!
//! Open models keep their schedule: iterations start when they are due.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Iterated;

/// What workers do after iterations that failed for reasons of the CA or the network.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumCount, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum OnFailure {
    /// They wait longer and longer until one succeeds, as clients should.
    #[default]
    BackOff,
    /// They continue at once, like badly written clients. The resulting storm of requests is the load.
    Hammer,
}

wec_record::closed_set!(OnFailure, "a behaviour after failures");

/// Back-off of workers after failures.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// Whether they back off.
    pub on_failure: OnFailure,
    /// The longest Retry-After that a worker respects.
    pub max_retry_after: Duration,
    /// Seed of the jitter; each worker derives its own.
    pub seed: u64,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { on_failure: OnFailure::default(), max_retry_after: Duration::from_secs(60), seed: 0 }
    }
}

/// The wait of one worker before its next iteration.
///
/// Without it, workers would retry against a failing CA in a busy loop, and thousands of workers at a limit
/// would use a whole processor for looking.
#[derive(Debug)]
pub(super) struct Pause {
    habit: BackOff,
    /// Consecutive failures for reasons of the CA or the network.
    failures: u32,
    idle: u32,
    worker: u32,
    /// Made at the first failure: it is large, and most workers never need it.
    jitter: Option<Box<StdRng>>,
}

impl Pause {
    const IDLE: Duration = Duration::from_millis(20);
    const LONGEST_IDLE: Duration = Duration::from_millis(640);
    /// Wait without an answer, with `hammer`.
    const UNANSWERED: Duration = Duration::from_millis(50);
    const LONGEST_UNANSWERED: Duration = Duration::from_secs(2);
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(super) fn new(habit: BackOff, worker: u32) -> Self {
        Self { habit, failures: 0, idle: 0, worker, jitter: None }
    }

    /// The wait after this iteration.
    pub(super) fn after(&mut self, iterated: Iterated) -> Duration {
        match iterated {
            Iterated::Answered { .. } | Iterated::CutOff { .. } => {
                (self.failures, self.idle) = (0, 0);
                Duration::ZERO
            }
            Iterated::Idle => {
                let wait = doubled(Self::IDLE, self.idle, Self::LONGEST_IDLE);
                self.idle += 1;
                wait
            }
            Iterated::Failed { answered, asked, .. } => {
                let before = self.failures;
                (self.failures, self.idle) = (before.saturating_add(1), 0);
                match self.habit.on_failure {
                    OnFailure::BackOff => {
                        let seed = self.habit.seed.wrapping_add(self.worker.into());
                        let jitter = self.jitter.get_or_insert_with(|| Box::new(StdRng::seed_from_u64(seed)));
                        backed_off(before, asked, self.habit.max_retry_after, jitter.random())
                    }
                    OnFailure::Hammer if answered => {
                        self.failures = 0;
                        Duration::ZERO
                    }
                    OnFailure::Hammer => doubled(Self::UNANSWERED, before, Self::LONGEST_UNANSWERED),
                }
            }
        }
    }
}

/// The back-off after `failures` earlier failures, with the wait that the CA asked for, if any; `roll` from 0
/// to 1 is the jitter.
///
/// Half of the exponential wait is fixed and half is random, so that workers that failed together do not
/// retry together. The CA's wait is kept within the bound, and workers retry within a tenth of it afterwards,
/// or at the bound.
fn backed_off(failures: u32, asked: Option<Duration>, longest_asked: Duration, roll: f64) -> Duration {
    let most = doubled(Pause::FIRST, failures, Pause::LONGEST);
    let own = most / 2 + (most / 2).mul_f64(roll);
    let asked = asked.unwrap_or_default().min(longest_asked);
    own.max((asked + (asked / 10).mul_f64(roll)).min(longest_asked))
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Iterated = Iterated::Failed { requests: 1, answered: true, asked: None };
    const UNANSWERED: Iterated = Iterated::Failed { requests: 1, answered: false, asked: None };
    const ANSWERED: Iterated = Iterated::Answered { requests: 5 };

    fn pause(on_failure: OnFailure) -> Pause {
        Pause::new(BackOff { on_failure, ..BackOff::default() }, 3)
    }

    #[test]
    fn backs_off_exponentially_with_jitter_and_as_long_as_asked() {
        let (none, minute) = (None, Duration::from_secs(60));
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        for (failures, asked, longest, roll, milliseconds) in [
            (0, none, minute, 0.0, 50),
            (0, none, minute, 1.0, 100),
            (1, none, minute, 0.0, 100),
            (1, none, minute, 0.5, 150),
            (5, none, minute, 1.0, 3_200),
            (9, none, minute, 1.0, 30_000),
            (9, none, minute, 0.0, 15_000),
            (u32::MAX, none, minute, 1.0, 30_000),
            // A Retry-After, up to its bound.
            (0, seconds(0), minute, 0.0, 50),
            (0, seconds(10), minute, 0.0, 10_000),
            (0, seconds(10), minute, 1.0, 11_000),
            (9, seconds(10), minute, 1.0, 30_000),
            (0, seconds(60), minute, 1.0, 60_000),
            (0, seconds(3600), minute, 0.3, 60_000),
            (0, seconds(u64::MAX), minute, 1.0, 60_000),
            (0, seconds(3600), Duration::ZERO, 1.0, 100),
        ] {
            let wait = backed_off(failures, asked, longest, roll);
            assert_eq!(
                wait.as_millis(),
                milliseconds,
                "{failures} failures, {asked:?} of {longest:?}, {roll}"
            );
        }
    }

    #[test]
    fn a_success_ends_the_back_off_and_the_next_one_starts_short() {
        let mut pause = pause(OnFailure::BackOff);
        let waits: Vec<_> = (0..12).map(|_| pause.after(FAILED)).collect();
        for (failures, wait) in waits.iter().enumerate() {
            let most = doubled(Pause::FIRST, failures as u32, Pause::LONGEST);
            assert!((most / 2..=most).contains(wait), "{failures}: {wait:?}");
        }
        assert_eq!(pause.after(ANSWERED), Duration::ZERO);
        assert!(pause.after(UNANSWERED) <= Pause::FIRST);
    }

    #[test]
    fn each_worker_has_its_own_jitter_which_is_the_same_in_every_run() {
        let waits = |worker| {
            let mut pause = Pause::new(BackOff { seed: 7, ..BackOff::default() }, worker);
            [FAILED; 4].map(|failed| pause.after(failed))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn hammer_waits_only_after_failures_without_an_answer() {
        let mut pause = pause(OnFailure::Hammer);
        let waits: Vec<_> = (0..8).map(|_| pause.after(UNANSWERED).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        let asked = Iterated::Failed { requests: 1, answered: true, asked: Some(Duration::from_secs(9)) };
        assert_eq!(pause.after(asked), Duration::ZERO);
        assert_eq!(pause.after(UNANSWERED), Pause::UNANSWERED);
    }

    #[test]
    fn an_idle_worker_asks_at_growing_intervals() {
        for on_failure in OnFailure::ALL {
            let mut pause = pause(on_failure);
            let waits: Vec<_> = (0..7).map(|_| pause.after(Iterated::Idle).as_millis()).collect();
            assert_eq!(waits, [20, 40, 80, 160, 320, 640, 640]);
            assert_eq!(pause.after(ANSWERED), Duration::ZERO);
            assert_eq!(pause.after(Iterated::Idle), Pause::IDLE);
        }
    }
}
