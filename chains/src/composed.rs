//! The steps of a chain of one's own, as a plan writes them: `order, authorize, wait 5s, finalize, download x3, revoke
//! reason=4`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest wait of one step.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Most downloads of one step.
const MOST_DOWNLOADS: u32 = 100;
/// Most steps of a chain.
const MOST_STEPS: usize = 50;

/// A step of a composed chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// newAccount; the steps after it are that account's.
    Account,
    /// newOrder, with names as of any order of the scenario.
    Order,
    /// Challenges and polls until the order is ready.
    Authorize,
    /// A pause.
    Wait(Duration),
    /// finalize, polls, certificate, checks.
    Finalize,
    /// So many further downloads of the certificate.
    Download(u32),
    /// revokeCert, with this reason.
    Revoke(Option<u8>),
    /// Each authorization of the order is deactivated.
    Deactivate,
}

impl Step {
    /// The step that must come before it.
    const fn needs(self) -> Option<Self> {
        match self {
            Self::Account | Self::Order | Self::Wait(_) => None,
            Self::Authorize | Self::Deactivate => Some(Self::Order),
            Self::Finalize => Some(Self::Authorize),
            Self::Download(_) | Self::Revoke(_) => Some(Self::Finalize),
        }
    }

    /// Whether a chain can have it more than once.
    const fn may_repeat(self) -> bool {
        matches!(self, Self::Wait(_) | Self::Download(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Order => f.write_str("order"),
            Self::Authorize => f.write_str("authorize"),
            Self::Wait(time) => write!(f, "wait {}", wec_record::plan::Time(*time)),
            Self::Finalize => f.write_str("finalize"),
            Self::Download(1) => f.write_str("download"),
            Self::Download(times) => write!(f, "download x{times}"),
            Self::Revoke(None) => f.write_str("revoke"),
            Self::Revoke(Some(reason)) => write!(f, "revoke reason={reason}"),
            Self::Deactivate => f.write_str("deactivate"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a step: expected account, order, authorize, wait TIME, finalize, download, download xN, \
                 revoke, revoke reason=N or deactivate, or in a file the name of one of its [[chain]]"
            )
        };
        let (name, rest) =
            text.split_once(' ').map_or((text, None), |(name, rest)| (name, Some(rest.trim())));
        Ok(match (name, rest) {
            ("account", None) => Self::Account,
            ("order", None) => Self::Order,
            ("authorize", None) => Self::Authorize,
            ("wait", Some(time)) => {
                let time: wec_record::plan::Time = time.parse().map_err(|_| wrong())?;
                if time.0 > LONGEST_WAIT {
                    return Err(format!("{text:?} waits longer than 1h"));
                }
                Self::Wait(time.0)
            }
            ("finalize", None) => Self::Finalize,
            ("download", None) => Self::Download(1),
            ("download", Some(times)) => {
                let times = times.strip_prefix('x').and_then(|times| times.parse().ok()).ok_or_else(wrong)?;
                if !(1..=MOST_DOWNLOADS).contains(&times) {
                    return Err(format!("{text:?} is not 1 to {MOST_DOWNLOADS} downloads"));
                }
                Self::Download(times)
            }
            ("revoke", None) => Self::Revoke(None),
            ("revoke", Some(reason)) => {
                let reason = reason.strip_prefix("reason=").and_then(|reason| reason.parse().ok());
                let reason: u8 = reason.ok_or_else(wrong)?;
                // RFC 5280 §5.3.1: there is no reason 7.
                if reason > 10 || reason == 7 {
                    return Err(format!("{text:?} has no reason of RFC 5280: give 0 to 6 or 8 to 10"));
                }
                Self::Revoke(Some(reason))
            }
            ("deactivate", None) => Self::Deactivate,
            _ => return Err(wrong()),
        })
    }
}

/// The steps of a composed chain, in an order that is possible; none if a scenario has no chain of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// The steps in their order.
    pub fn iter(&self) -> impl Iterator<Item = Step> {
        self.0.iter().copied()
    }

    /// Whether the chain gets a certificate.
    pub fn issue(&self) -> bool {
        self.0.contains(&Step::Finalize)
    }

    /// Whether the chain registers an account of its own: it needs no stored one.
    pub fn register(&self) -> bool {
        self.0.first() == Some(&Step::Account)
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{step}")?;
        }
        Ok(())
    }
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        let is = |known: &Step, step: Step| std::mem::discriminant(known) == std::mem::discriminant(&step);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let step: Step = part.parse()?;
            if let Some(needed) = step.needs()
                && !steps.iter().any(|known| is(known, needed))
            {
                return Err(format!("the step {step} must come after {needed}"));
            }
            if !step.may_repeat() && steps.iter().any(|known| is(known, step)) {
                return Err(format!("the step {step} comes twice"));
            }
            if step == Step::Account && !steps.is_empty() {
                return Err("the step account must be the first".to_owned());
            }
            steps.push(step);
        }
        match steps.len() {
            0 => Err("a chain needs a step".to_owned()),
            1..=MOST_STEPS => Ok(Self(steps)),
            many => Err(format!("{many} steps are more than the {MOST_STEPS} of a chain")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_they_are_written() {
        for text in [
            "order, authorize, wait 5s, finalize, download x3, revoke reason=4",
            "account, order, authorize, finalize, download, revoke",
            "order, deactivate",
            "wait 250ms",
        ] {
            assert_eq!(text.parse::<Steps>().unwrap().to_string(), text);
        }
        assert_eq!("order,authorize".parse::<Steps>().unwrap().to_string(), "order, authorize");
    }

    #[test]
    fn impossible_steps_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "needs a step"),
            ("finalize", "finalize must come after authorize"),
            ("order, finalize", "finalize must come after authorize"),
            ("order, authorize, download", "download must come after finalize"),
            ("order, order", "order comes twice"),
            ("order, account", "account must be the first"),
            ("renew", "\"renew\" is not a step"),
            ("wait", "\"wait\" is not a step"),
            ("wait 2h", "longer than 1h"),
            ("order, authorize, finalize, download x0", "not 1 to 100 downloads"),
            ("order, authorize, finalize, download 3", "is not a step"),
            ("order, authorize, finalize, revoke reason=7", "no reason of RFC 5280"),
            (&"wait 1s,".repeat(51), "51 steps are more"),
        ] {
            let error = text.parse::<Steps>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
