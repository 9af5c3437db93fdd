//! `Pace`: how many workers make the most certificates without failures.

/// A step up is this much.
const STEP: f64 = 1.5;
/// A step that does not make this much more is taken back.
const WORTH: f64 = 1.05;
/// Maximal share of chains that fail.
const FAILING: f64 = 0.05;
/// Decisions that are left out after a step back: the CA may do better later.
const REST: u32 = 12;
/// Maximal number of workers.
const MOST: u32 = 1_000;

/// Looks for the number of workers. It goes up while more is made, takes back a step that makes no more, and goes down
/// while chains fail.
#[derive(Debug)]
pub(super) struct Pace {
    workers: u32,
    /// The number of workers before the last step up, and what they made.
    before: Option<(u32, u64)>,
    /// Decisions to leave out.
    rest: u32,
}

impl Pace {
    pub(super) const fn new(workers: u32) -> Self {
        Self { workers, before: None, rest: 0 }
    }

    /// The new number of workers, if it changes, after a time in which this was made, and this number of chains ended
    /// and failed. The times must be equally long.
    pub(super) fn next(&mut self, made: u64, ended: u64, failed: u64) -> Option<u32> {
        let now = self.workers;
        if failed as f64 > FAILING * ended as f64 {
            (self.before, self.rest) = (None, REST);
            self.workers = (f64::from(now) / STEP).floor().max(1.0) as u32;
        } else if self.rest > 0 {
            self.rest -= 1;
        } else if made > 0 {
            match self.before.take() {
                Some((fewer, made_before)) if (made as f64) < WORTH * made_before as f64 => {
                    self.workers = fewer;
                    self.rest = REST;
                }
                _ if now < MOST => {
                    self.before = Some((now, made));
                    self.workers = ((f64::from(now) * STEP).ceil() as u32).min(MOST);
                }
                _ => {}
            }
        }
        (self.workers != now).then_some(self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of workers over time at a CA which makes so many with so many workers, and fails so many of 100.
    fn numbers(ca: impl Fn(u32) -> (u64, u64), times: usize) -> Vec<u32> {
        let (mut pace, mut workers) = (Pace::new(50), 50);
        let mut all = vec![workers];
        for _ in 0..times {
            let (made, failed) = ca(workers);
            workers = pace.next(made, 100, failed).unwrap_or(workers);
            all.push(workers);
        }
        all.dedup();
        all
    }

    #[test]
    fn it_goes_up_while_more_is_made() {
        let no_limit = numbers(|workers| (u64::from(workers) * 10, 0), 20);
        assert_eq!(no_limit, [50, 75, 113, 170, 255, 383, 575, 863, 1_000]);
    }

    #[test]
    fn a_step_that_makes_no_more_is_taken_back_and_tried_again_later() {
        let with_limit = |workers: u32| (u64::from(workers.min(80)) * 10, 0);
        assert_eq!(numbers(with_limit, 10), [50, 75, 113, 170, 113]);
        assert_eq!(numbers(with_limit, 18), [50, 75, 113, 170, 113, 170, 113]);
        // From the first step on.
        assert_eq!(numbers(|_| (500, 0), 10), [50, 75, 50]);
    }

    #[test]
    fn it_goes_down_while_chains_fail() {
        let overloaded = |workers: u32| (400, if workers > 30 { 20 } else { 0 });
        assert_eq!(numbers(overloaded, 8), [50, 33, 22]);
        assert_eq!(numbers(|_| (0, 100), 20).last(), Some(&1));
        // Nothing is made, and nothing failed: it waits.
        assert_eq!(numbers(|_| (0, 0), 8), [50]);
    }
}
