//! What a node can do, per unit of load.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use wec_record::plan::MAX_WORKERS;

/// What a node can do, or offers to a session: the load is shared in proportion to it, and no node gets more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Strength {
    /// Chains a second, in thousandths.
    pub chains: u64,
    /// Requests a second, in thousandths.
    pub requests: u64,
    /// Workers at once.
    pub workers: u32,
}

/// A unit of load. Each is shared by the strength in the same unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LoadUnit {
    /// Chains a second.
    Chains,
    /// Requests a second.
    Requests,
    /// Workers, and what only workers limit.
    Workers,
}

wec_record::closed_set!(LoadUnit);

impl Strength {
    /// Of a node that runs no load.
    pub const NONE: Self = Self { chains: 0, requests: 0, workers: 0 };

    /// Of a node that was not measured: more than any machine can do, so that such nodes share equally and
    /// none is limited.
    pub const UNMEASURED: Self =
        Self { chains: 1_000_000_000, requests: 10_000_000_000, workers: MAX_WORKERS };

    /// The strength in one unit: thousandths a second, or workers.
    pub const fn of(&self, unit: LoadUnit) -> u64 {
        match unit {
            LoadUnit::Chains => self.chains,
            LoadUnit::Requests => self.requests,
            LoadUnit::Workers => self.workers as u64,
        }
    }

    /// What is left of it after `used`.
    #[must_use]
    pub const fn less(&self, used: &Self) -> Self {
        Self {
            chains: self.chains.saturating_sub(used.chains),
            requests: self.requests.saturating_sub(used.requests),
            workers: self.workers.saturating_sub(used.workers),
        }
    }

    /// This part of it, in hundredths.
    #[must_use]
    pub fn hundredths(&self, part: u32) -> Self {
        let part_of = |whole: u64| whole / 100 * part as u64 + whole % 100 * part as u64 / 100;
        Self {
            chains: part_of(self.chains),
            requests: part_of(self.requests),
            workers: part_of(self.workers as u64) as u32,
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chains, requests, workers } = self;
        let (chains, requests) = (*chains as f64 / 1_000.0, *requests as f64 / 1_000.0);
        write!(f, "chains={chains},requests={requests},workers={workers}")
    }
}

impl FromStr for Strength {
    type Err = String;

    /// Reads `chains=400,requests=2500.5,workers=100`; what is not given is [`Strength::UNMEASURED`].
    fn from_str(text: &str) -> Result<Self, String> {
        let mut strength = Self::UNMEASURED;
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let unit = LoadUnit::ALL.into_iter().find(|unit| unit.name() == name.trim());
            let rate = || thousandths(value.trim());
            let read = match unit {
                None => None,
                Some(LoadUnit::Chains) => rate().map(|rate| strength.chains = rate),
                Some(LoadUnit::Requests) => rate().map(|rate| strength.requests = rate),
                Some(LoadUnit::Workers) => {
                    let workers = value.trim().parse().ok().filter(|workers| *workers <= MAX_WORKERS);
                    workers.map(|workers| strength.workers = workers)
                }
            };
            read.ok_or_else(|| {
                format!(
                    "{part:?} is not a strength: give chains a second, requests a second or workers, as in \
                     chains=400,requests=2500,workers=100"
                )
            })?;
        }
        Ok(strength)
    }
}

/// A rate per second in thousandths.
fn thousandths(text: &str) -> Option<u64> {
    let rate: f64 = text.parse().ok()?;
    (rate.is_finite() && (0.0..=1e9).contains(&rate)).then(|| (rate * 1_000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let strength = Strength { chains: 400_500, requests: 2_500_000, workers: 100 };
        assert_eq!(strength.to_string(), "chains=400.5,requests=2500,workers=100");
        assert_eq!(strength.to_string().parse(), Ok(strength));
        assert_eq!("workers=7".parse(), Ok(Strength { workers: 7, ..Strength::UNMEASURED }));
        for wrong in ["", "chains", "chains=", "chains=-1", "chains=inf", "orders=5", "workers=1.5"] {
            let error = wrong.parse::<Strength>().unwrap_err();
            assert!(error.contains("as in chains=400"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_part_of_it_and_what_is_left() {
        let strength = Strength { chains: 1_050, requests: 2_000, workers: 10 };
        assert_eq!(strength.hundredths(50), Strength { chains: 525, requests: 1_000, workers: 5 });
        assert_eq!(strength.hundredths(100), strength);
        let used = Strength { chains: 50, requests: 9_000, workers: 10 };
        assert_eq!(strength.less(&used), Strength { chains: 1_000, requests: 0, workers: 0 });
    }
}
