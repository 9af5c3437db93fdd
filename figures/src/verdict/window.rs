//! The sliding window of a threshold.

use std::collections::VecDeque;

use wec_record::threshold::{Op, Threshold, Unit};

use super::metric::{Event, Slice};
use super::{LoadTime, MAX_JUMP_S, SECOND};

/// The seconds of a sliding window, those whose results can still arrive, and the worst window so far.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Width, seconds.
    pub(super) width: u64,
    /// Number of the first second that is kept.
    pub(super) first: u64,
    pub(super) seconds: VecDeque<Slice>,
    /// The sum of the seconds in the window.
    pub(super) sum: Slice,
    /// Seconds in the sum: the first, and the one after the last.
    inside: (u64, u64),
    pub(super) judged: u64,
    pub(super) failed: u64,
    pub(super) worst: Option<Worst>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Worst {
    pub(super) value: f64,
    pub(super) n: u64,
    /// Its first second.
    pub(super) first: u64,
}

impl Window {
    pub(super) fn new(width: u64, first: u64) -> Self {
        Self {
            width,
            first,
            seconds: VecDeque::new(),
            sum: Slice::default(),
            inside: (first, first),
            judged: 0,
            failed: 0,
            worst: None,
        }
    }

    /// A record too late for its window is only in the whole run's tally.
    pub(super) fn add(&mut self, second: u64, event: Event) {
        // A second far ahead has a wrong clock.
        let place = second.checked_sub(self.first).filter(|place| *place <= self.width + MAX_JUMP_S);
        let Some(place) = place.map(|place| place as usize) else { return };
        if place >= self.seconds.len() {
            self.seconds.resize(place + 1, Slice::default());
        }
        self.seconds[place].add(event);
        if (self.inside.0..self.inside.1).contains(&second) {
            self.sum.add(event);
        }
    }

    /// Advances the window so that `second` is the last one inside, and judges it.
    pub(super) fn enter(&mut self, second: u64, threshold: &Threshold, load_time: &LoadTime) {
        if let Some(slice) = second.checked_sub(self.first).and_then(|place| self.seconds.get(place as usize))
        {
            self.sum.plus(slice);
        }
        self.inside.1 = second + 1;
        while self.inside.1 - self.inside.0 > self.width {
            if let Some(slice) = self.seconds.pop_front() {
                self.sum.minus(&slice);
            }
            self.inside.0 += 1;
            self.first = self.inside.0;
        }
        if self.inside.1 - self.inside.0 == self.width && load_time.judges(threshold, self.inside.0, second) {
            self.judge(threshold, self.inside.0);
        }
    }

    fn judge(&mut self, threshold: &Threshold, first: u64) {
        let metric = &threshold.metric;
        let Some(value) = self.sum.value(metric, self.width * SECOND) else { return };
        self.judged += 1;
        self.failed += u64::from(!threshold.op.holds(value, threshold.limit.value()));
        let limit = threshold.limit.value();
        let worse = |worst: Worst| match threshold.op {
            Op::Equal => (value - limit).abs() > (worst.value - limit).abs(),
            op if op.wants_little() => value > worst.value,
            _ => value < worst.value,
        };
        if self.worst.is_none_or(worse) {
            let n = if metric.unit() == Unit::Ns { self.sum.n } else { self.sum.count };
            self.worst = Some(Worst { value, n, first });
        }
    }
}
