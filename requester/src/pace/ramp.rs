//! A piecewise-linear function of time, with its exact integral and the inverse of the integral.

use std::time::Duration;

/// A piecewise-linear, never negative function of active time; after its last point the last value holds.
///
/// Two points at one moment are a jump: at that moment the function has the later value.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    /// In order of time, the first at 0; never empty.
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Duration,
    value: f64,
    /// The integral up to here.
    total: f64,
}

/// Tolerance at the end of a piece. Rounding must not add an arrival at the end of a stage whose total is a
/// whole number.
const WHOLE: f64 = 1e-6;

impl Ramp {
    /// A constant.
    pub fn constant(value: f64) -> Self {
        Self { points: vec![Point { at: Duration::ZERO, value: sane(value), total: 0.0 }] }
    }

    /// From `start` linearly to each stage's value over its duration; a stage of duration 0 is a jump.
    pub fn stages(start: f64, stages: impl IntoIterator<Item = (f64, Duration)>) -> Self {
        let mut ramp = Self::constant(start);
        let mut at = Duration::ZERO;
        for (value, takes) in stages {
            at = at.saturating_add(takes);
            ramp.push(at, value);
        }
        ramp
    }

    /// The value at a moment.
    pub fn at(&self, t: Duration) -> f64 {
        let (here, next) = self.around(t);
        next.map_or(here.value, |next| here.value + slope(here, next) * (t - here.at).as_secs_f64())
    }

    /// The integral up to a moment: the number due by then, when the value is a rate per second.
    pub fn total(&self, t: Duration) -> f64 {
        let (here, _) = self.around(t);
        here.total + (here.value + self.at(t)) / 2.0 * (t - here.at).as_secs_f64()
    }

    /// When the integral exceeds `total`: the inverse of [`total`](Self::total). Where the value is 0, the
    /// end of that period; none when it is never exceeded.
    pub fn when(&self, total: f64) -> Option<Duration> {
        // The first point's total is 0; for a total of 0 there is no piece before it.
        let next = self.points.partition_point(|point| point.total - total <= WHOLE).max(1);
        let here = &self.points[next - 1];
        let next = self.points.get(next);
        let rest = (total - here.total).max(0.0);
        let seconds = match next.map(|next| slope(here, next)) {
            _ if rest == 0.0 && (next.is_some() || here.value > 0.0) => 0.0,
            // This form of a quadratic's root also holds for a slope of 0 and a start at 0.
            Some(slope) => {
                let root = (here.value * here.value + 2.0 * slope * rest).max(0.0).sqrt();
                2.0 * rest / (here.value + root)
            }
            None => rest / here.value,
        };
        let since = Duration::try_from_secs_f64(seconds).ok()?;
        here.at.checked_add(since)
    }

    /// Its points, in order of time; two at one moment are a jump.
    pub fn points(&self) -> impl Iterator<Item = (Duration, f64)> {
        self.points.iter().map(|point| (point.at, point.value))
    }

    /// When the last value begins to hold.
    pub fn end(&self) -> Duration {
        self.last().at
    }

    /// The last value.
    pub fn held(&self) -> f64 {
        self.last().value
    }

    /// The highest value.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|point| point.value).fold(0.0, f64::max)
    }

    /// The same function before `at`, and `future` from `at` on. What was due before `at` keeps its due time.
    #[must_use]
    pub fn then(&self, at: Duration, future: &Self) -> Self {
        let mut ramp = Self { points: self.points.iter().filter(|point| point.at <= at).copied().collect() };
        ramp.push(at, self.at(at));
        ramp.push(at, future.at(at));
        for point in future.points.iter().filter(|point| point.at > at) {
            ramp.push(point.at, point.value);
        }
        ramp
    }

    /// The same function before `at`, and `value` from `at` on: a live change of a schedule.
    #[must_use]
    pub fn then_hold(&self, at: Duration, value: f64) -> Self {
        self.then(at, &Self::constant(value))
    }

    /// The same function until `end`, and 0 afterwards: a run of 60 s at 500/s has 30,000 arrivals, without
    /// one more at the last moment.
    #[must_use]
    pub fn until(&self, end: Duration) -> Self {
        self.then_hold(end, 0.0)
    }

    /// The function multiplied by `by`.
    #[must_use]
    pub fn scaled(&self, by: f64) -> Self {
        self.mapped(|value| value * by)
    }

    /// The function with another value at each of its points.
    #[must_use]
    pub fn mapped(&self, value: impl Fn(f64) -> f64) -> Self {
        let mut mapped = Self::constant(value(self.points[0].value));
        for point in &self.points[1..] {
            mapped.push(point.at, value(point.value));
        }
        mapped
    }

    /// The function, and `most` where it is above that.
    #[must_use]
    pub fn capped(&self, most: f64) -> Self {
        if self.peak() <= most {
            return self.clone();
        }
        let mut capped = Self::constant(self.points[0].value.min(most));
        for pair in self.points.windows(2) {
            let (here, next) = (&pair[0], &pair[1]);
            if (here.value > most) != (next.value > most) && next.at > here.at {
                let part = (most - here.value) / (next.value - here.value);
                capped.push(here.at + (next.at - here.at).mul_f64(part), most);
            }
            capped.push(next.at, next.value.min(most));
        }
        capped
    }

    fn push(&mut self, at: Duration, value: f64) {
        let last = *self.last();
        let value = sane(value);
        if last.at == at && last.value == value {
            return;
        }
        let total = last.total + (last.value + value) / 2.0 * at.saturating_sub(last.at).as_secs_f64();
        self.points.push(Point { at, value, total });
    }

    /// The last point not after `t`, and the next one.
    fn around(&self, t: Duration) -> (&Point, Option<&Point>) {
        let next = self.points.partition_point(|point| point.at <= t);
        (&self.points[next - 1], self.points.get(next))
    }

    fn last(&self) -> &Point {
        &self.points[self.points.len() - 1]
    }
}

/// Change per second between two points at different moments.
fn slope(here: &Point, next: &Point) -> f64 {
    (next.value - here.value) / (next.at - here.at).as_secs_f64()
}

/// Replaces negative, infinite and NaN values.
fn sane(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// 0 → 10 in 10 s, 10 for 10 s, a jump to 0 for 10 s, a jump to 4 that holds.
    fn example() -> Ramp {
        Ramp::stages(0.0, [(10.0, s(10)), (10.0, s(10)), (0.0, s(0)), (0.0, s(10)), (4.0, s(0))])
    }

    #[test]
    fn is_capped_where_it_is_above_a_value() {
        let capped = example().capped(4.0);
        for (at, value) in [(0, 0.0), (2, 2.0), (4, 4.0), (5, 4.0), (19, 4.0), (20, 0.0), (30, 4.0)] {
            assert_eq!(capped.at(s(at)), value, "{at} s");
        }
        assert_eq!(example().capped(10.0), example());
        let falling = Ramp::stages(10.0, [(0.0, s(10))]).capped(5.0);
        assert_eq!([4, 5, 7].map(|at| falling.at(s(at))), [5.0, 5.0, 3.0]);
    }

    #[test]
    fn interpolates_linearly_between_its_points() {
        for (at, value) in
            [(0, 0.0), (5, 5.0), (10, 10.0), (15, 10.0), (20, 0.0), (29, 0.0), (30, 4.0), (4000, 4.0)]
        {
            assert_eq!(example().at(s(at)), value, "{at} s");
        }
        assert_eq!((example().end(), example().held(), example().peak()), (s(30), 4.0, 10.0));
    }

    #[test]
    fn its_total_is_the_area_under_it() {
        for (at, total) in [(0, 0.0), (5, 12.5), (10, 50.0), (20, 150.0), (30, 150.0), (40, 190.0)] {
            assert_eq!(example().total(s(at)), total, "{at} s");
        }
    }

    #[test]
    fn knows_when_a_total_is_passed() {
        for (total, when) in [
            (0.0, Some(s(0))),
            (12.5, Some(s(5))),
            (50.0, Some(s(10))),
            (150.0, Some(s(30))),
            (154.0, Some(s(31))),
        ] {
            assert_eq!(example().when(total), when, "{total}");
        }
        assert_eq!(Ramp::constant(0.0).when(0.0), None, "at a rate of 0 nothing is ever due");
        assert_eq!(
            Ramp::stages(0.0, [(0.0, s(7)), (1.0, s(0))]).when(0.0),
            Some(s(7)),
            "not before it begins"
        );
        assert_eq!(
            Ramp::stages(10.0, [(0.0, s(2))]).when(9.999_9),
            Some(Duration::from_secs_f64(1.993_675_444_7))
        );
        assert_eq!(Ramp::stages(10.0, [(0.0, s(2))]).when(10.0), None, "the ramp ends with a total of 10");
    }

    #[test]
    fn a_minute_of_500_a_second_is_30_000_and_not_one_more() {
        let ramp = Ramp::constant(500.0).until(s(60));
        assert_eq!(ramp.when(29_999.0), Some(Duration::from_millis(59_998)));
        assert_eq!(ramp.when(30_000.0), None);
    }

    #[test]
    fn a_live_change_does_not_change_the_past() {
        let changed = example().then_hold(s(5), 100.0);
        assert_eq!((changed.at(s(4)), changed.at(s(5)), changed.at(s(500))), (4.0, 100.0, 100.0));
        assert_eq!(changed.total(s(6)), 112.5);
        assert_eq!(changed.when(8.0), example().when(8.0));
        let back = changed.then(s(6), &example());
        assert_eq!((back.at(s(7)), back.at(s(10)), back.end()), (7.0, 10.0, s(30)));
        assert_eq!(back.total(s(7)), 112.5 + 6.5);
    }

    #[test]
    fn a_share_has_a_share_of_everything() {
        let third = example().scaled(1.0 / 3.0);
        assert!((third.total(s(33)) - example().total(s(33)) / 3.0).abs() < 1e-9);
        assert_eq!(third.end(), example().end());
    }

    #[test]
    fn invalid_values_count_as_zero() {
        assert_eq!(Ramp::constant(-1.0), Ramp::constant(0.0));
        assert_eq!(Ramp::constant(f64::NAN), Ramp::constant(0.0));
    }

    fn ramps() -> impl Strategy<Value = Ramp> {
        let value = || prop_oneof![3 => 0.1f64..5000.0, 1 => Just(0.0)];
        let stage = (value(), prop_oneof![4 => 1u64..7200, 1 => Just(0)]);
        (value(), proptest::collection::vec(stage, 0..8)).prop_map(|(start, stages)| {
            Ramp::stages(start, stages.into_iter().map(|(value, takes)| (value, s(takes))))
        })
    }

    proptest! {
        #[test]
        fn when_undoes_total(ramp in ramps(), ms in 0u64..40_000_000) {
            let t = Duration::from_millis(ms);
            // At a value of 0 many moments have the same total, and near 0 rounding moves the moment far.
            prop_assume!(ramp.at(t) > 0.01);
            let when = ramp.when(ramp.total(t)).unwrap();
            let off = when.as_secs_f64() - t.as_secs_f64();
            prop_assert!(off.abs() * ramp.at(t) < 1e-5, "{t:?} became {when:?}");
        }

        #[test]
        fn total_undoes_when(ramp in ramps(), total in 0.0f64..1e6) {
            if let Some(when) = ramp.when(total) {
                prop_assert!((ramp.total(when) - total).abs() < 1e-4, "{total} became {}", ramp.total(when));
            } else {
                prop_assert_eq!(ramp.held(), 0.0);
                prop_assert!(ramp.total(ramp.end()) <= total + 1e-5);
            }
        }

        #[test]
        fn what_is_due_later_is_not_due_earlier(ramp in ramps(), total in 0.0f64..1e6, more in 0.0f64..1000.0) {
            if let (Some(first), Some(second)) = (ramp.when(total), ramp.when(total + more)) {
                prop_assert!(first <= second);
            }
        }

        #[test]
        fn a_change_moves_nothing_that_was_due(ramp in ramps(), ms in 0u64..20_000_000, value in 0.0f64..5000.0, earlier in 0.0f64..1.0) {
            let at = Duration::from_millis(ms);
            let changed = ramp.then_hold(at, value);
            let t = at.mul_f64(earlier);
            prop_assert!((changed.total(t) - ramp.total(t)).abs() < 1e-6);
            prop_assert!((changed.total(at + s(3)) - ramp.total(at) - 3.0 * value).abs() < 1e-5);
        }
    }
}
