//! Selects the next rate: the search for the highest rate that a CA sustains, as a state machine without
//! clocks and I/O.
//!
//! | after | comes |
//! | --- | --- |
//! | the start | a step at the first rate |
//! | a sustained step, no failure above it | a step at a higher rate, up to the last rate |
//! | a step that was not sustained | [`Next::Recover`], then a step between the highest sustained and the lowest failed rate |
//! | a bracket within the resolution, its upper end failed once | that upper end once more, so that chance does not decide |
//! | the same, failed twice, or the CA was down there | [`Next::Hold`] below the knee, then [`Next::Done`] |
//! | a step in which the load tester was the limit | the same step once more; then the end, as it is no verdict on the CA |
//! | a CA that does not recover | the end |
//!
//! After a step that fails by chance all later steps are below it, and the answer would stay too low. So the
//! one failed rate on which the answer depends, the upper end of the last bracket, is tried again; if it is
//! sustained then, the search continues above it. A rate at which the CA was down is never tried again, nor
//! any higher rate.

use wec_record::plan::MAX_RATE;

/// The most steps of one search: from one to a million a second by doubling, then bisection, takes under 40.
pub(crate) const MAX_STEPS: u32 = 200;
/// The rate for recovery, as a share of the lowest rate of interest.
pub(super) const TRICKLE_SHARE: f64 = 0.25;
/// The highest rate for recovery, per second.
const TRICKLE_MOST: f64 = 5.0;

/// Parameters of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SearchParameters {
    /// The first rate, per second.
    pub(crate) from: f64,
    /// The last rate, if there is one.
    pub(crate) to: Option<f64>,
    /// Growth from one step to the next while steps are sustained.
    pub(crate) growth: Growth,
    /// Largest width of the final bracket.
    pub(crate) resolution: Resolution,
    /// Share of the knee for the hold at the end; none for no hold.
    pub(crate) hold_at: Option<f64>,
}

/// How stepped rates grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Growth {
    /// By this factor, more than 1.
    Factor(f64),
    /// By this many per second.
    By(f64),
}

/// The required width of the bracket around the knee.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolution {
    /// A share of its upper end.
    Share(f64),
    /// This many per second.
    Rate(f64),
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// All criteria held.
    Sustained,
    /// A criterion did not hold.
    Failed,
    /// The CA was down.
    Down,
    /// The load tester itself was the limit.
    Limited,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// Run at this rate, and judge.
    Step(f64),
    /// Remove the load, then check whether chains succeed at this rate per second.
    Recover(f64),
    /// Run at this rate, below the knee, to show that the CA works well.
    Hold(f64),
    /// The search is over.
    Done(Answer),
}

/// The knee.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The highest rate that was sustained.
    pub(crate) knee: Option<f64>,
    /// The lowest rate above it that was not sustained.
    pub(crate) above: Option<f64>,
    /// Why it ended.
    pub(crate) why: Why,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The bracket is as narrow as required.
    Narrow,
    /// The last rate was sustained.
    ReachedTo,
    /// The first rate was not sustained.
    BelowFirst,
    /// This machine was the limit.
    Limited,
    /// The CA did not recover.
    Gone,
    /// The steps or the time were used up.
    Over,
    /// Somebody ended it.
    Cut,
}

/// The state of the search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    setting: SearchParameters,
    steps: u32,
    /// The highest rate sustained.
    low: Option<f64>,
    /// Rates above `low` that failed, ascending.
    failed: Vec<Fail>,
    /// The rate at which the load tester was the limit, and how often.
    limited: Option<(f64, u32)>,
    now: Now,
}

#[derive(Clone, Copy, Debug)]
struct Fail {
    rate: f64,
    times: u32,
    /// Whether the CA was down.
    down: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Now {
    Stepping(f64),
    Recovering,
    /// Before the hold, which follows once the CA has recovered.
    RecoveringToHold(Why),
    Holding(Why),
    Done(Why),
}

impl Search {
    /// A search and its first step.
    pub(crate) fn new(setting: SearchParameters) -> (Self, Next) {
        let first = setting.to.map_or(setting.from, |to| setting.from.min(to));
        let search = Self {
            setting,
            steps: 0,
            low: None,
            failed: Vec::new(),
            limited: None,
            now: Now::Stepping(first),
        };
        (search, Next::Step(first))
    }

    /// The action after a step.
    pub(crate) fn stepped(&mut self, outcome: StepResult) -> Next {
        let Now::Stepping(rate) = self.now else { return self.done(Why::Over) };
        self.steps += 1;
        match outcome {
            StepResult::Sustained => {
                self.low = Some(self.low.map_or(rate, |low| low.max(rate)));
                // Failures at this rate or below are refuted.
                self.failed.retain(|fail| fail.rate > rate);
                self.limited = None;
                self.onwards()
            }
            StepResult::Failed | StepResult::Down => {
                let down = outcome == StepResult::Down;
                match self.failed.iter_mut().find(|fail| fail.rate == rate) {
                    Some(fail) => {
                        fail.times += 1;
                        fail.down |= down;
                    }
                    None => self.failed.push(Fail { rate, times: 1, down }),
                }
                self.failed.sort_by(|a, b| a.rate.total_cmp(&b.rate));
                self.limited = None;
                self.recover()
            }
            StepResult::Limited => {
                let times = self.limited.filter(|(at, _)| *at == rate).map_or(0, |(_, times)| times);
                self.limited = Some((rate, times + 1));
                self.recover()
            }
        }
    }

    /// The CA was in fact down at the lowest failed rate; it is recovering from that.
    pub(crate) fn fell(&mut self) {
        if let (Now::Recovering, Some(fail)) = (self.now, self.failed.first_mut()) {
            fail.down = true;
        }
    }

    /// The action after a recovery; `well`: whether it succeeded.
    pub(crate) fn recovered(&mut self, well: bool) -> Next {
        match self.now {
            Now::Recovering | Now::RecoveringToHold(_) if !well => self.done(Why::Gone),
            Now::Recovering => self.onwards(),
            Now::RecoveringToHold(why) => self.hold_or_done(why),
            Now::Stepping(_) | Now::Holding(_) | Now::Done(_) => self.done(Why::Over),
        }
    }

    /// The action after the hold.
    pub(crate) fn held(&mut self) -> Next {
        let why = if let Now::Holding(why) = self.now { why } else { Why::Over };
        self.done(why)
    }

    /// No more steps: the time is over. If a knee is known, the hold follows.
    pub(crate) fn out_of_time(&mut self) -> Next {
        self.conclude(Why::Over)
    }

    /// The time is over during a recovery: the answer is what is known, without a hold.
    pub(crate) fn over(&mut self) -> Next {
        self.done(Why::Over)
    }

    /// This machine prevents the check of the recovery: no verdict beyond what is known.
    pub(crate) fn limited(&mut self) -> Next {
        self.done(Why::Limited)
    }

    /// Ends at once, without a hold.
    pub(crate) fn cut(&mut self) -> Next {
        self.done(Why::Cut)
    }

    /// The knee by what is known so far.
    pub(crate) fn answer(&self) -> Answer {
        let why = if let Now::Done(why) = self.now { why } else { Why::Over };
        let above = self.upper().map(|fail| fail.rate);
        Answer { knee: self.low, above, why }
    }

    fn upper(&self) -> Option<Fail> {
        self.failed.first().copied()
    }

    /// The next step, or the end.
    fn onwards(&mut self) -> Next {
        if let Some((rate, times)) = self.limited {
            return if times < 2 { self.step(rate) } else { self.conclude(Why::Limited) };
        }
        match (self.low, self.upper()) {
            (None, None) => self.step(self.setting.from),
            (None, Some(fail)) if self.once_more(fail) => self.step(fail.rate),
            (None, Some(_)) => self.conclude(Why::BelowFirst),
            (Some(low), None) => {
                let last = self.setting.to.unwrap_or(MAX_RATE).min(MAX_RATE);
                if low >= last {
                    return self.conclude(Why::ReachedTo);
                }
                let higher = match self.setting.growth {
                    Growth::Factor(factor) => low * factor,
                    Growth::By(step) => low + step,
                };
                self.step(higher.min(last))
            }
            (Some(low), Some(fail)) if self.is_narrow(low, fail.rate) => {
                if self.once_more(fail) {
                    self.step(fail.rate)
                } else {
                    self.conclude(Why::Narrow)
                }
            }
            (Some(low), Some(fail)) => self.step(between(low, fail.rate)),
        }
    }

    const fn once_more(&self, fail: Fail) -> bool {
        fail.times < 2 && !fail.down
    }

    fn is_narrow(&self, low: f64, high: f64) -> bool {
        let width = match self.setting.resolution {
            Resolution::Share(share) => share * high,
            Resolution::Rate(rate) => rate,
        };
        // A bracket without a number inside is as narrow as possible.
        high - low <= width * (1.0 + 1e-9) || between(low, high) <= low || between(low, high) >= high
    }

    fn step(&mut self, rate: f64) -> Next {
        if self.steps >= MAX_STEPS {
            return self.conclude(Why::Over);
        }
        self.now = Now::Stepping(rate);
        Next::Step(rate)
    }

    fn recover(&mut self) -> Next {
        self.now = Now::Recovering;
        Next::Recover(self.trickle())
    }

    /// A rate well below all sustained rates.
    fn trickle(&self) -> f64 {
        let good = self.low.unwrap_or(self.setting.from);
        // At low rates a quarter would take too long.
        (if good < 1.0 { 2.0 * TRICKLE_SHARE } else { TRICKLE_SHARE } * good).min(TRICKLE_MOST)
    }

    fn conclude(&mut self, why: Why) -> Next {
        let loaded = matches!(self.now, Now::Stepping(_)) && why == Why::Over;
        if loaded && self.low.is_some() && self.setting.hold_at.is_some() {
            self.now = Now::RecoveringToHold(why);
            return Next::Recover(self.trickle());
        }
        self.hold_or_done(why)
    }

    fn hold_or_done(&mut self, why: Why) -> Next {
        match (self.low, self.setting.hold_at) {
            (Some(knee), Some(share)) => {
                self.now = Now::Holding(why);
                Next::Hold(rounded(knee * share))
            }
            _ => self.done(why),
        }
    }

    fn done(&mut self, why: Why) -> Next {
        self.now = Now::Done(why);
        Next::Done(self.answer())
    }
}

/// The middle of the bracket, as a short number if one is well inside.
fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    let readable = rounded(middle);
    let inside = (high - low) / 4.0;
    if readable > low + inside && readable < high - inside { readable } else { middle }
}

/// To three digits.
fn rounded(rate: f64) -> f64 {
    if rate <= 0.0 || !rate.is_finite() {
        return rate;
    }
    let digits = 2 - rate.log10().floor() as i32;
    let unit = 10f64.powi(digits.abs());
    if digits >= 0 { (rate * unit).round() / unit } else { (rate / unit).round() * unit }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTING: SearchParameters = SearchParameters {
        from: 1.0,
        to: None,
        growth: Growth::Factor(2.0),
        resolution: Resolution::Share(0.05),
        hold_at: Some(0.8),
    };

    /// Runs a search in which `ca` gives the outcome of each step; returns all actions.
    fn asked(setting: SearchParameters, mut ca: impl FnMut(f64) -> StepResult) -> (Vec<Next>, Answer) {
        let (mut search, mut next) = Search::new(setting);
        let mut all = vec![next];
        loop {
            next = match next {
                Next::Step(rate) => search.stepped(ca(rate)),
                Next::Recover(_) => search.recovered(true),
                Next::Hold(_) => search.held(),
                Next::Done(answer) => return (all, answer),
            };
            all.push(next);
            assert!(all.len() < 1_000, "the search does not end: {all:?}");
        }
    }

    fn capacity(most: f64) -> impl FnMut(f64) -> StepResult {
        move |rate| if rate <= most { StepResult::Sustained } else { StepResult::Failed }
    }

    fn rates(all: &[Next]) -> Vec<f64> {
        all.iter().filter_map(|next| if let Next::Step(rate) = next { Some(*rate) } else { None }).collect()
    }

    #[test]
    fn steps_double_then_halve_the_bracket_and_the_upper_end_is_tried_twice() {
        let (all, answer) = asked(SETTING, capacity(50.0));
        assert_eq!(
            rates(&all),
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 48.0, 56.0, 52.0, 50.0, 52.0],
            "{all:?}"
        );
        assert_eq!(answer, Answer { knee: Some(50.0), above: Some(52.0), why: Why::Narrow });
        assert_eq!(all[all.len() - 2], Next::Hold(40.0));
    }

    #[test]
    fn linear_steps_and_a_width_in_chains_per_second() {
        let setting = SearchParameters {
            from: 10.0,
            growth: Growth::By(10.0),
            resolution: Resolution::Rate(5.0),
            hold_at: None,
            ..SETTING
        };
        let (all, answer) = asked(setting, capacity(37.0));
        assert_eq!(rates(&all), [10.0, 20.0, 30.0, 40.0, 35.0, 40.0]);
        assert_eq!(answer, Answer { knee: Some(35.0), above: Some(40.0), why: Why::Narrow });
    }

    #[test]
    fn after_every_failure_the_ca_recovers_at_a_low_rate() {
        let (all, _) = asked(SearchParameters { from: 8.0, ..SETTING }, capacity(50.0));
        for pair in all.windows(2) {
            if let [Next::Step(rate), after] = pair {
                assert_eq!(*after == Next::Recover(5.0), *rate > 50.0, "{rate}: {after:?}");
            }
        }
    }

    #[test]
    fn one_failure_by_chance_does_not_decide() {
        // Only the first try at 8 fails.
        let mut tries = 0;
        let (all, answer) = asked(SETTING, |rate| {
            tries += u32::from(rate == 8.0);
            if rate > 50.0 || (rate == 8.0 && tries == 1) {
                StepResult::Failed
            } else {
                StepResult::Sustained
            }
        });
        assert_eq!(answer.knee, Some(50.0), "{all:?}");
        assert_eq!(tries, 2);
    }

    #[test]
    fn a_rate_at_which_the_ca_went_down_is_never_repeated() {
        let (all, answer) =
            asked(SETTING, |rate| if rate <= 50.0 { StepResult::Sustained } else { StepResult::Down });
        let over: Vec<f64> = rates(&all).into_iter().filter(|rate| *rate > 50.0).collect();
        assert_eq!(over, [64.0, 56.0, 52.0], "each rate once, each below the one before");
        assert_eq!(answer.knee, Some(50.0));
    }

    #[test]
    fn a_rate_is_not_repeated_when_the_ca_is_found_down_afterwards() {
        let (mut search, mut next) =
            Search::new(SearchParameters { resolution: Resolution::Share(0.5), ..SETTING });
        let mut tried = Vec::new();
        while let Next::Step(rate) = next {
            tried.push(rate);
            next = search.stepped(if rate < 4.0 { StepResult::Sustained } else { StepResult::Failed });
            if let Next::Recover(_) = next {
                search.fell();
                next = search.recovered(true);
            }
        }
        assert_eq!((tried, next), (vec![1.0, 2.0, 4.0], Next::Hold(1.6)));
    }

    #[test]
    fn other_ends_than_a_bracket() {
        type Ca = fn(f64) -> StepResult;
        let cases: [(SearchParameters, Ca, Answer); 4] = [
            (
                SearchParameters { to: Some(10.0), ..SETTING },
                |_| StepResult::Sustained,
                Answer { knee: Some(10.0), above: None, why: Why::ReachedTo },
            ),
            (SETTING, |_| StepResult::Failed, Answer { knee: None, above: Some(1.0), why: Why::BelowFirst }),
            (SETTING, |_| StepResult::Down, Answer { knee: None, above: Some(1.0), why: Why::BelowFirst }),
            (
                SETTING,
                |rate| if rate < 16.0 { StepResult::Sustained } else { StepResult::Limited },
                Answer { knee: Some(8.0), above: None, why: Why::Limited },
            ),
        ];
        for (setting, ca, expected) in cases {
            let (all, answer) = asked(setting, ca);
            assert_eq!(answer, expected, "{all:?}");
        }
    }

    #[test]
    fn a_step_on_a_busy_machine_is_repeated() {
        let mut busy = true;
        let (_, answer) = asked(SETTING, |rate| {
            if rate == 16.0 && std::mem::take(&mut busy) { StepResult::Limited } else { capacity(50.0)(rate) }
        });
        assert_eq!(answer.knee, Some(50.0));
    }

    #[test]
    fn a_ca_that_does_not_recover_ends_the_search_with_the_known_result() {
        let (mut search, _) = Search::new(SETTING);
        search.stepped(StepResult::Sustained);
        assert_eq!(search.stepped(StepResult::Down), Next::Recover(0.25));
        let answer = Answer { knee: Some(1.0), above: Some(2.0), why: Why::Gone };
        assert_eq!(search.recovered(false), Next::Done(answer));
    }

    #[test]
    fn a_search_out_of_time_holds_the_known_rate() {
        let (mut search, _) = Search::new(SETTING);
        search.stepped(StepResult::Sustained);
        let next = search.out_of_time();
        assert_eq!(next, Next::Recover(0.25));
        assert_eq!(search.recovered(true), Next::Hold(0.8));
        assert_eq!(search.held(), Next::Done(Answer { knee: Some(1.0), above: None, why: Why::Over }));
        let (mut search, _) = Search::new(SETTING);
        assert_eq!(search.out_of_time(), Next::Done(Answer { knee: None, above: None, why: Why::Over }));
    }

    proptest! {
        /// For any capacity of the CA, the knee is below it by at most the bracket's width, the steps are
        /// few, and no rate is far above it.
        #[test]
        fn the_knee_is_within_its_width_of_the_truth(
            most in 0.01f64..200_000.0,
            from in 0.01f64..1_000.0,
            factor in 1.2f64..10.0,
            share in 0.005f64..0.5,
        ) {
            let setting = SearchParameters {
                from,
                growth: Growth::Factor(factor),
                resolution: Resolution::Share(share),
                ..SETTING
            };
            let (all, answer) = asked(setting, capacity(most));
            match answer {
                Answer { knee: Some(knee), above: Some(above), why: Why::Narrow } => {
                    prop_assert!(knee <= most && most < above, "{knee} {most} {above}");
                    prop_assert!(above - knee <= share * above * 1.001);
                }
                Answer { knee: None, why: Why::BelowFirst, .. } => prop_assert!(from > most),
                other => prop_assert!(false, "{:?}", other),
            }
            let highest = rates(&all).into_iter().fold(0.0, f64::max);
            prop_assert!(highest <= (most * factor).max(from) * 1.001);
            prop_assert!(rates(&all).len() <= 130, "{}", rates(&all).len());
        }

        /// For any outcomes the search ends, and never returns to a rate at which the CA was down.
        #[test]
        fn it_ends_for_any_outcomes(outcomes in proptest::collection::vec(0u8..4, 1..60)) {
            let mut place = 0;
            let mut fell = f64::INFINITY;
            let mut bad = None;
            asked(SETTING, |rate| {
                if rate >= fell {
                    bad = Some((rate, fell));
                }
                place += 1;
                match outcomes[place % outcomes.len()] {
                    0 => StepResult::Failed,
                    1 => {
                        fell = rate;
                        StepResult::Down
                    }
                    2 => StepResult::Limited,
                    _ => StepResult::Sustained,
                }
            });
            prop_assert_eq!(bad, None);
        }
    }
}
