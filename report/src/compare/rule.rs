//! `Rule`: a regression that fails a comparison: `chain.certificate{p(99)} +10%`.
//!
//! The metric is that of thresholds. `+` means that a larger value is worse, `-` that a smaller one is.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;
use wec_record::threshold::{Metric, Of, Requests, Stat, TimeKind, Unit};

use super::interval::{Change, Scale};
use super::{Figure, Side};
use crate::baseline::Key;

/// A regression that fails a comparison.
#[derive(Clone, Debug)]
pub struct Rule {
    text: String,
    metric: Metric,
    figure: Figure,
    /// Whether a larger value is worse.
    up: bool,
    /// How much worse is allowed, in the unit of the scale.
    margin: f64,
    scale: Scale,
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {why}")]
pub struct RuleMistake {
    text: String,
    why: String,
}

/// What the data shows of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOutcome {
    /// It is worse by more than the margin, and that is not noise.
    Failed,
    /// It is not worse by more than the margin, also with noise.
    Held,
    /// The data is not conclusive: a regression beyond the margin may be noise.
    MayBeNoise,
    /// A side has too few samples.
    TooFewSamples,
}

/// A rule with what the data shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = JudgedRule)]
pub struct Judged {
    /// The rule as written.
    pub rule: String,
    /// What the data shows.
    pub outcome: RuleOutcome,
    /// The change; null with too few samples.
    pub change: Option<Change>,
    /// The unit of a difference.
    pub unit: Unit,
}

impl FromStr for Rule {
    type Err = RuleMistake;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| RuleMistake { text: text.to_owned(), why };
        let form = "write METRIC +CHANGE, as in 'chain.certificate{p(99)} +10%'";
        let Some((metric, change)) = text.trim().rsplit_once(char::is_whitespace) else {
            return Err(wrong(form.to_owned()));
        };
        let metric: Metric = metric
            .parse()
            .map_err(|mistakes: wec_record::threshold::ThresholdMistakes| wrong(mistakes.to_string()))?;
        let figure = match &metric {
            Metric::Chain(_, stat) => figure_of(*stat),
            Metric::Requests(Requests { status: None, .. }, stat) => figure_of(*stat),
            Metric::Certificates => Some(Figure::Rate),
            _ => None,
        };
        let Some(figure) = figure else {
            return Err(wrong(
                "a comparison has p(50), p(90), p(95), p(99), p(99.9), avg, failed and rate of chain and requests \
                 (without a status), and certificates{rate}"
                    .to_owned(),
            ));
        };
        let (up, amount) = match change.split_at_checked(1) {
            Some(("+", amount)) => (true, amount),
            Some(("-", amount)) => (false, amount),
            _ => {
                return Err(wrong(format!(
                    "{change:?} has no sign: + where larger is worse, - where smaller is; {form}"
                )));
            }
        };
        if let Some(worse) = worse(&metric, figure).filter(|worse| *worse != up) {
            let (what, sign) = if worse { ("larger", '+') } else { ("smaller", '-') };
            return Err(wrong(format!(
                "of this metric a {what} value is worse, so the rule could not fail on a regression: write {sign}{amount}"
            )));
        }
        let end = amount.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(amount.len());
        let (number, unit) = amount.split_at(end);
        let number: f64 =
            number.parse().map_err(|_| wrong(format!("{amount:?} is not a number with its unit")))?;
        let (margin, scale) = match (figure.unit(), unit) {
            (Unit::Ns | Unit::PerSecond, "%") => (number / 100.0, Scale::Relative),
            (Unit::Share, "pp") => (number / 100.0, Scale::Difference),
            (Unit::Share, _) => {
                return Err(wrong("a share changes by percentage points: write +1pp".to_owned()));
            }
            (Unit::PerSecond, "/s") => (number, Scale::Difference),
            (Unit::Ns, "ns") => (number, Scale::Difference),
            (Unit::Ns, "us" | "µs") => (number * 1e3, Scale::Difference),
            (Unit::Ns, "ms") => (number * 1e6, Scale::Difference),
            (Unit::Ns, "s") => (number * 1e9, Scale::Difference),
            _ => {
                return Err(wrong(format!(
                    "{amount:?} is not a change of it: write a percentage, as in 10%"
                )));
            }
        };
        // No share changes by more than all of it, and nothing falls by more than to zero.
        let all = figure.unit() == Unit::Share || (!up && scale == Scale::Relative);
        if all && margin >= 1.0 {
            return Err(wrong(format!(
                "no change is larger than {change}, so the rule could not fail: write a smaller one"
            )));
        }
        Ok(Self { text: text.trim().to_owned(), metric, figure, up, margin, scale })
    }
}

/// Whether a larger value is worse; none where that depends on the use: more requests can be good or bad.
const fn worse(metric: &Metric, figure: Figure) -> Option<bool> {
    match figure {
        Figure::Failed | Figure::Mean | Figure::Percentile(_) => Some(true),
        Figure::Rate if matches!(metric, Metric::Requests(..)) => None,
        Figure::Rate => Some(false),
    }
}

fn figure_of(stat: Stat) -> Option<Figure> {
    match stat {
        Stat::Rate => Some(Figure::Rate),
        Stat::Failed => Some(Figure::Failed),
        Stat::Time(TimeKind::Response, Of::Avg) => Some(Figure::Mean),
        Stat::Time(TimeKind::Response, Of::Percentile(per_mille)) => Some(Figure::Percentile(per_mille)),
        Stat::Time(..) | Stat::Count => None,
    }
}

impl Rule {
    /// Checks that it is about something that at least one side has.
    ///
    /// # Errors
    /// When neither side has a row that it is about; the reason lists the rows.
    pub fn check(&self, before: &Side, after: &Side) -> Result<(), RuleMistake> {
        let rows: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        if self.metric == Metric::Certificates || rows.iter().any(|key| self.is_about(key)) {
            return Ok(());
        }
        let shown = |key: &&Key| match key.chain {
            true => format!("chain.{}", key.name),
            false => format!("requests{{endpoint={},method={}}}", key.name, key.method),
        };
        let rows = match rows.is_empty() {
            true => "the runs have none".to_owned(),
            false => {
                // Several paths of an endpoint are one of it.
                let rows: BTreeSet<_> = rows.iter().map(shown).collect();
                format!("there are {}", rows.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        Err(RuleMistake { text: self.text.clone(), why: format!("no run has a row of this metric: {rows}") })
    }

    fn is_about(&self, key: &Key) -> bool {
        match &self.metric {
            Metric::Chain(chain, _) => key.chain && chain.is_none_or(|chain| key.name == chain.name()),
            Metric::Requests(wanted, _) => {
                !key.chain
                    && wanted.endpoint.as_ref().is_none_or(|endpoint| *endpoint == key.name)
                    && wanted.method.as_ref().is_none_or(|method| *method == key.method)
            }
            _ => false,
        }
    }

    pub(super) fn judge(&self, before: &Side, after: &Side) -> Judged {
        let [a, b] = [before, after].map(|side| match &self.metric {
            Metric::Certificates => side.issued(),
            _ => side.samples(|key| self.is_about(key)),
        });
        let change = self.figure.change(&a, &b, self.scale);
        let outcome = change.map_or(RuleOutcome::TooFewSamples, |change| self.outcome(&change));
        Judged { rule: self.text.clone(), outcome, change, unit: self.figure.unit() }
    }

    fn outcome(&self, change: &Change) -> RuleOutcome {
        let (least, most) = if self.up { (change.low, change.high) } else { (-change.high, -change.low) };
        if least > self.margin {
            RuleOutcome::Failed
        } else if most <= self.margin {
            RuleOutcome::Held
        } else {
            RuleOutcome::MayBeNoise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fails_only_where_the_whole_interval_is_beyond_its_margin() {
        let change = |low, high| Change { scale: Scale::Relative, value: (low + high) / 2.0, low, high };
        let up: Rule = "chain.certificate{p(99)} +10%".parse().unwrap();
        let down: Rule = "certificates{rate} -10%".parse().unwrap();
        for (low, high, outcome) in [
            (0.11, 0.3, RuleOutcome::Failed),
            (0.05, 0.3, RuleOutcome::MayBeNoise),
            (-0.2, 0.1, RuleOutcome::Held),
            (0.02, 0.09, RuleOutcome::Held),
        ] {
            assert_eq!(up.outcome(&change(low, high)), outcome, "{low} {high}");
            assert_eq!(down.outcome(&change(-high, -low)), outcome, "{low} {high}");
        }
    }

    #[test]
    fn mistakes_say_what_is_allowed() {
        for (text, why) in [
            ("chain.certificate{p(99)}", "write METRIC +CHANGE"),
            ("chain.certificate{p(99)} 10%", "has no sign"),
            ("chain.certificat{p(99)} +10%", "did you mean chain.certificate?"),
            ("chain{failed} +1%", "write +1pp"),
            ("chain{max} +1%", "a comparison has p(50)"),
            ("requests{status=5xx}{failed} +1pp", "without a status"),
            ("chain{rate} -5ms", "is not a change of it"),
            ("chain{avg} +fast", "is not a number"),
            (
                "chain.certificate{p(99)} -10%",
                "a larger value is worse, so the rule could not fail on a regression: write +10%",
            ),
            ("requests{failed} -1pp", "write +1pp"),
            (
                "certificates{rate} +5%",
                "a smaller value is worse, so the rule could not fail on a regression: write -5%",
            ),
            ("chain{rate} -100%", "no change is larger than -100%"),
            ("chain{failed} +100pp", "no change is larger than +100pp"),
        ] {
            let mistake = text.parse::<Rule>().unwrap_err().to_string();
            assert!(mistake.contains(why), "{mistake}");
        }
        for text in [
            "requests{endpoint=newOrder}{p(95)} +50ms",
            "chain{failed} +1pp",
            "chain{rate} -5/s",
            "requests{rate} +10%",
            "requests{rate} -10%",
            "chain{avg} +200%",
        ] {
            text.parse::<Rule>().unwrap();
        }
    }
}
