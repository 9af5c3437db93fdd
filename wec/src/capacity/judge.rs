//! Judges a step from its window's figures, its trend and the criteria. No clocks, no I/O.

use wec_analytics::{Part, WindowFigures, WindowThreshold, time_text};
use wec_record::threshold::{Threshold, Unit};

use super::baseline::Baseline;
use super::search::StepResult;
use super::settle::{Rise, Sample, Series, Shown};

/// The share of the target rate that must end.
const KEPT_UP: f64 = 0.98;
/// How many standard deviations of Poisson arrivals count as chance.
const CHANCE: f64 = 2.0;
/// Number of samples of a window for the test of its trend.
const SAMPLES: usize = 10;
/// Share of due iterations dropped while settling, above which the step ends.
const HOPELESS_DROPPED: f64 = 0.10;
/// Share of chains failed while settling, above which the step ends.
const HOPELESS_FAILED: f64 = 0.50;
/// With fewer chains a step does not end early.
const ENOUGH: u64 = 20;
/// If the last chains, this many, all failed, the CA is down.
const DOWN: u64 = 5;
/// Share of started iterations that found no chain to run.
const IDLE_SHARE: f64 = 0.01;
/// If response times are below this factor of those at the rate below, dropped iterations are not the CA's
/// fault.
const AS_FAST: f64 = 1.5;

/// The verdict on a step, with the reasons if it was not sustained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) outcome: StepResult,
    pub(crate) reasons: Vec<String>,
}

/// Context of a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// The largest number of workers.
    pub(crate) cap: u64,
    /// Mean response time at the highest sustained rate, nanoseconds.
    pub(crate) mean_below_ns: Option<u64>,
    /// The criteria of each step, in the order of the windows' thresholds.
    pub(crate) criteria: Vec<Threshold>,
    /// The results at lower rates.
    pub(crate) below: Baseline,
}

/// Chains required by the rate since the step began to settle, and how many ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Balance {
    pub(crate) asked: f64,
    pub(crate) ended: u64,
    /// Whether arrivals are Poisson, so that their number varies.
    pub(crate) poisson: bool,
}

impl Balance {
    /// A queue that happens to be constant for a while looks settled, but the number of ended chains shows
    /// that it is full. Above its capacity a CA ends chains at its own rate with little variation, so this
    /// detects an overload of more than `CHANCE / √asked`.
    fn falls_short(self) -> Option<String> {
        let Self { asked, ended, poisson } = self;
        let chance = if poisson { CHANCE * asked.sqrt() } else { CHANCE };
        ((ended as f64) < KEPT_UP * asked - chance)
            .then(|| format!("only {ended} of the {asked:.0} chains that the rate requires ended"))
    }
}

impl Judgement {
    /// Judges a step by its whole measuring window.
    pub(crate) fn of(figures: &WindowFigures, shown: Shown, balance: Balance, around: &Around) -> Self {
        if let Some(limited) = limited(figures, around) {
            return limited;
        }
        let mut reasons = Vec::new();
        if figures.ended == 0 {
            reasons.push("no chain ended".to_owned());
        } else if figures.ended == figures.failed {
            reasons.push(format!("all {} chains failed", figures.ended));
        }
        if let Shown::Rising(rise) = shown {
            reasons.push(said_of(rise));
        }
        reasons.extend(balance.falls_short());
        let failed = figures.thresholds.iter().enumerate().filter(|(place, threshold)| {
            let excused = around
                .criteria
                .get(*place)
                .is_some_and(|criterion| around.below.excuses(criterion, threshold.n, figures));
            threshold.passed == Some(false) && !excused
        });
        reasons.extend(failed.map(|(_, threshold)| threshold_text(threshold)));
        let outcome = if reasons.is_empty() { StepResult::Sustained } else { StepResult::Failed };
        Self { outcome, reasons }
    }

    /// Whether the CA is down, by the latest `figures`.
    pub(crate) fn down(figures: &WindowFigures) -> Option<Self> {
        let WindowFigures { ended, failed, local, .. } = figures;
        if *failed < DOWN || ended != failed {
            return None;
        }
        // If this machine cannot make connections, whether the CA is down is not known.
        if *local > 0 {
            return limited(figures, &Around::default());
        }
        let reasons = vec![format!("the CA is down: all of the last {failed} chains failed")];
        Some(Self { outcome: StepResult::Down, reasons })
    }

    /// Whether the step should end early, by the latest `figures`: further load on the CA would not change
    /// the verdict.
    pub(crate) fn hopeless(figures: &WindowFigures, around: &Around) -> Option<Self> {
        let share = |part: u64, of: u64| if of < ENOUGH { 0.0 } else { part as f64 / of as f64 };
        let dropped = share(figures.dropped, figures.due);
        let independent: u64 = around.below.independent(figures).map(|failure| failure.count).sum();
        let failed = share(figures.failed.saturating_sub(independent), figures.ended);
        let reason = if dropped >= HOPELESS_DROPPED {
            format!("{} of what was due was dropped: all {} workers were busy", percent(dropped), around.cap)
        } else if failed >= HOPELESS_FAILED {
            format!("{} of the chains failed", percent(failed))
        } else {
            return None;
        };
        let failed = Self { outcome: StepResult::Failed, reasons: vec![reason] };
        Some(limited(figures, around).unwrap_or(failed))
    }

    /// The verdict on a step that never settled.
    pub(crate) fn unsettled(figures: &WindowFigures, rise: Rise, around: &Around) -> Self {
        let reasons = vec![format!("did not settle: {}", said_of(rise))];
        limited(figures, around).unwrap_or(Self { outcome: StepResult::Failed, reasons })
    }
}

/// Whether the figures allow no verdict on the CA.
fn limited(figures: &WindowFigures, around: &Around) -> Option<Judgement> {
    let mut reasons = figures.limited.clone();
    if figures.started >= ENOUGH && figures.idle as f64 > IDLE_SHARE * figures.started as f64 {
        reasons.push(format!(
            "{} of {} times a worker found no chain that weights, limits and the stored state allow: give chains weights that \
             need only what is stored, such as registration and authorization",
            figures.idle, figures.started
        ));
    }
    let dropped = figures.due >= ENOUGH && figures.dropped as f64 > 0.01 * figures.due as f64;
    let as_fast = figures.mean_ns.zip(around.mean_below_ns);
    if dropped && as_fast.is_some_and(|(now, below)| now as f64 <= AS_FAST * below as f64) {
        reasons.push(format!(
            "all {} workers were busy although the CA answered as fast as at the rate below: raise --workers",
            around.cap
        ));
    }
    (!reasons.is_empty()).then_some(Judgement { outcome: StepResult::Limited, reasons })
}

fn said_of(rise: Rise) -> String {
    match rise.what {
        Series::Busy => {
            format!(
                "chains in flight grew from {:.0} to {:.0} without end",
                rise.from.round(),
                rise.to.round()
            )
        }
        Series::Response => {
            let time = |ns: f64| time_text(ns as u64);
            format!("the mean response time grew from {} to {} without end", time(rise.from), time(rise.to))
        }
    }
}

/// `chain{failed} < 1%: 3.2 %, N 960`
pub(crate) fn threshold_text(threshold: &WindowThreshold) -> String {
    let WindowThreshold { expression, unit, value, n, beyond, .. } = threshold;
    let found = match (value, beyond) {
        (Some(value), _) => match unit {
            Unit::Ns => time_text(*value as u64),
            Unit::Share => format!("{} %", (value * 1e4).round() / 1e2),
            Unit::Count => format!("{value}"),
            Unit::PerSecond => format!("{value}/s"),
        },
        (None, Some(beyond)) => return format!("{expression}: {beyond} of {n} beyond it"),
        (None, None) => "nothing to judge".to_owned(),
    };
    format!("{expression}: {found}, N {n}")
}

/// The samples of a window. `busy` is the mean number of busy workers in each of `parts`, where it was
/// sampled.
pub(crate) fn samples(parts: &[Part], busy: &[Option<f64>]) -> Vec<Sample> {
    let size = parts.len().div_ceil(SAMPLES).max(1);
    let groups = parts.chunks(size).zip(busy.chunks(size));
    groups
        .filter_map(|(parts, busy)| {
            let seen: Vec<f64> = busy.iter().flatten().copied().collect();
            let n: u64 = parts.iter().map(|part| part.n).sum();
            let sum: u128 = parts.iter().map(|part| part.sum_ns).sum();
            Some(Sample {
                response_ns: (n > 0).then(|| sum as f64 / n as f64),
                busy: (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)?,
            })
        })
        .collect()
}

/// Whether the latest chains all succeeded: the CA has recovered.
pub(crate) fn is_back(parts: &[Part], wanted: u64) -> bool {
    let mut ended = 0;
    for part in parts.iter().rev() {
        if part.failed > 0 {
            return false;
        }
        ended += part.ended;
        if ended >= wanted {
            return true;
        }
    }
    false
}

/// `3.2 %`
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use wec_analytics::WindowFailure;
    use wec_record::{Chain, FailureClass};

    use super::*;

    fn well() -> WindowFigures {
        WindowFigures {
            over_ns: 15_000_000_000,
            due: 300,
            started: 300,
            ended: 298,
            mean_ns: Some(20_000_000),
            n: 298,
            parts: vec![Part { ended: 5, failed: 0, n: 5, sum_ns: 100_000_000 }; 60],
            ..WindowFigures::default()
        }
    }

    const KEPT_UP_WITH: Balance = Balance { asked: 400.0, ended: 398, poisson: true };

    fn around() -> Around {
        Around { cap: 1_000, mean_below_ns: Some(15_000_000), ..Around::default() }
    }

    fn threshold(passed: Option<bool>) -> WindowThreshold {
        WindowThreshold {
            expression: "chain{failed} < 1%".to_owned(),
            unit: Unit::Share,
            value: Some(0.032),
            passed,
            n: 298,
            beyond: None,
        }
    }

    #[test]
    fn a_step_is_sustained_without_a_reason_against_it() {
        let cases: [(WindowFigures, Shown, StepResult, &str); 9] = [
            (well(), Shown::Settled, StepResult::Sustained, ""),
            (well(), Shown::Falling, StepResult::Sustained, ""),
            (
                WindowFigures { thresholds: vec![threshold(Some(true)), threshold(None)], ..well() },
                Shown::Settled,
                StepResult::Sustained,
                "",
            ),
            (
                WindowFigures { thresholds: vec![threshold(Some(false))], ..well() },
                Shown::Settled,
                StepResult::Failed,
                "chain{failed} < 1%: 3.2 %, N 298",
            ),
            (
                well(),
                Shown::Rising(Rise { what: Series::Busy, from: 3.0, to: 41.0 }),
                StepResult::Failed,
                "chains in flight grew from 3 to 41 without end",
            ),
            (
                WindowFigures { ended: 0, n: 0, ..well() },
                Shown::Settled,
                StepResult::Failed,
                "no chain ended",
            ),
            (
                WindowFigures { failed: 298, ..well() },
                Shown::Settled,
                StepResult::Failed,
                "all 298 chains failed",
            ),
            (
                WindowFigures {
                    limited: vec!["lag".to_owned()],
                    thresholds: vec![threshold(Some(false))],
                    ..well()
                },
                Shown::Settled,
                StepResult::Limited,
                "lag",
            ),
            (WindowFigures { idle: 30, ..well() }, Shown::Settled, StepResult::Limited, "found no chain"),
        ];
        for (figures, shown, outcome, reason) in cases {
            let judged = Judgement::of(&figures, shown, KEPT_UP_WITH, &around());
            assert_eq!(judged.outcome, outcome, "{judged:?}");
            assert_eq!(judged.reasons.is_empty(), reason.is_empty(), "{judged:?}");
            assert!(judged.reasons.join("; ").contains(reason), "{judged:?}");
        }
    }

    #[test]
    fn failures_that_do_not_depend_on_the_load_fail_no_step() {
        let refused = WindowFailure {
            chain: Chain::Revoke,
            class: FailureClass::Problem,
            status: 400,
            problem: "badRevocationReason".into(),
            count: 4,
        };
        let figures = WindowFigures {
            failed: 4,
            failures: vec![refused.clone()],
            thresholds: vec![WindowThreshold { value: Some(0.0134), ..threshold(Some(false)) }],
            ..well()
        };
        let around = Around { criteria: vec!["chain{failed} < 1%".parse().unwrap()], ..around() };
        let of =
            |figures: &WindowFigures| Judgement::of(figures, Shown::Settled, KEPT_UP_WITH, &around).outcome;
        assert_eq!(of(&figures), StepResult::Sustained);
        let overloaded = WindowFailure {
            class: FailureClass::ServerError,
            status: 503,
            problem: String::new(),
            ..refused
        };
        assert_eq!(of(&WindowFigures { failures: vec![overloaded], ..figures }), StepResult::Failed);
    }

    #[test]
    fn the_ended_chains_must_match_the_rate_within_chance() {
        for (asked, ended, poisson, well) in [
            (900.0, 890, true, true),
            // Two standard deviations are 60 chains.
            (900.0, 823, true, true),
            (900.0, 821, true, false),
            // A CA with a capacity of 40/s at a target of 45/s.
            (900.0, 800, true, false),
            (900.0, 881, false, true),
            (900.0, 879, false, false),
            (15.0, 8, true, true),
            (15.0, 6, true, false),
        ] {
            let short = Balance { asked, ended, poisson }.falls_short();
            assert_eq!(short.is_none(), well, "{ended} of {asked}: {short:?}");
        }
        let balance = Balance { asked: 675.0, ended: 600, poisson: true };
        let judged = Judgement::of(&well(), Shown::Settled, balance, &around());
        assert_eq!(judged.outcome, StepResult::Failed);
        assert_eq!(judged.reasons, ["only 600 of the 675 chains that the rate requires ended"]);
    }

    #[test]
    fn a_cap_that_is_too_low_is_not_the_cas_fault() {
        let dropped = WindowFigures { dropped: 60, ..well() };
        assert_eq!(Judgement::hopeless(&dropped, &around()).unwrap().outcome, StepResult::Limited);
        let slower = Around { mean_below_ns: Some(5_000_000), ..around() };
        assert_eq!(Judgement::hopeless(&dropped, &slower).unwrap().outcome, StepResult::Failed);
        let unknown = Around { mean_below_ns: None, ..around() };
        assert_eq!(Judgement::hopeless(&dropped, &unknown).unwrap().outcome, StepResult::Failed);
    }

    #[test]
    fn a_ca_that_is_down_ends_the_step_at_once() {
        let of = |ended, failed| {
            let figures = WindowFigures { due: ended, ended, failed, ..WindowFigures::default() };
            let judged = Judgement::down(&figures).or_else(|| Judgement::hopeless(&figures, &around()));
            judged.map(|judged| judged.outcome)
        };
        assert_eq!(of(5, 5), Some(StepResult::Down));
        assert_eq!(of(4, 4), None, "four are too few");
        assert_eq!(of(9, 8), None, "one still succeeded");
        assert_eq!(of(30, 20), Some(StepResult::Failed), "most failed");
        assert_eq!(of(30, 10), None);
        assert_eq!(of(0, 0), None);
    }

    #[test]
    fn refusals_of_this_machine_are_no_verdict_on_the_ca() {
        let limited = vec!["9 chains failed because this machine refused".to_owned()];
        let figures = |ended, failed| {
            let limited = limited.clone();
            WindowFigures { due: ended, ended, failed, local: failed, limited, ..WindowFigures::default() }
        };
        assert_eq!(Judgement::down(&figures(9, 9)).unwrap().outcome, StepResult::Limited);
        assert_eq!(Judgement::hopeless(&figures(30, 20), &around()).unwrap().outcome, StepResult::Limited);
    }

    #[test]
    fn the_ca_has_recovered_when_the_latest_chains_all_succeeded() {
        let good = Part { ended: 1, failed: 0, n: 1, sum_ns: 1 };
        let bad = Part { ended: 2, failed: 1, n: 1, sum_ns: 1 };
        let none = Part::default();
        assert!(is_back(&[bad, good, none, good, good], 3));
        assert!(!is_back(&[good, good, bad, good, good], 3));
        assert!(!is_back(&[none, good, good], 3));
        assert!(!is_back(&[], 3));
    }

    #[test]
    fn a_window_is_cut_into_ten_samples() {
        let parts = vec![Part { ended: 2, failed: 0, n: 2, sum_ns: 40 }; 20];
        let busy: Vec<Option<f64>> =
            (0..20).map(|place| (place % 3 != 0).then_some(f64::from(place))).collect();
        let samples = samples(&parts, &busy);
        assert_eq!(samples.len(), 10);
        assert_eq!(samples[0], Sample { response_ns: Some(20.0), busy: 1.0 });
        assert_eq!(samples[2], Sample { response_ns: Some(20.0), busy: 4.5 });
    }
}
