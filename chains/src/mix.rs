//! Weighted choices: key types, challenge types, profiles, revocation reasons.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt as _};
use wec_record::plan::MAX_WEIGHT;

/// Items to draw from, with their weights. Written `p256=8,rsa2048=1`; the default weight is 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix<T>(Vec<(T, f64)>);

impl<T: Clone + PartialEq> Mix<T> {
    /// These items with their weights; [`Mix::mistakes`] checks them.
    pub const fn new(parts: Vec<(T, f64)>) -> Self {
        Self(parts)
    }

    /// These items with equal weights.
    pub fn even(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().map(|item| (item, 1.0)).collect())
    }

    /// The items that can be drawn: those with weights above 0.
    pub fn items(&self) -> impl Iterator<Item = T> {
        self.0.iter().filter(|(_, weight)| *weight > 0.0).map(|(item, _)| item.clone())
    }

    /// Whether this item can be drawn.
    pub fn has(&self, item: T) -> bool {
        self.items().any(|known| known == item)
    }

    /// In the form of a plan.
    pub fn shares(&self) -> wec_record::plan::Shares
    where
        T: fmt::Display,
    {
        wec_record::plan::Shares(self.0.iter().map(|(item, weight)| (item.to_string(), *weight)).collect())
    }

    /// Draws one of the items that are `possible`, in proportion to their weights; none if there is none.
    pub fn draw(&self, rng: &mut impl Rng, possible: impl Fn(T) -> bool) -> Option<T> {
        let candidates = || self.0.iter().filter(|(item, weight)| *weight > 0.0 && possible(item.clone()));
        let mut rest = candidates();
        let first = rest.next()?;
        // The common case needs no random number.
        if rest.next().is_none() {
            return Some(first.0.clone());
        }
        let total: f64 = candidates().map(|(_, weight)| weight).sum();
        let mut left = rng.random_range(0.0..total);
        let drawn = candidates().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a small rest after the last item.
        drawn.or_else(|| candidates().last()).map(|(item, _)| item.clone())
    }
}

impl<T: Clone + PartialEq + fmt::Display> Mix<T> {
    /// All errors, for people. `what` is the items' name in messages.
    pub(crate) fn mistakes(&self, what: &str) -> Vec<String> {
        let mut mistakes: Vec<String> = self
            .0
            .iter()
            .filter(|(_, weight)| !is_weight(*weight))
            .map(|(item, weight)| {
                format!("{weight} is not a weight of the {what} {item}: give 0 (never) to 1000000")
            })
            .collect();
        for (place, (item, _)) in self.0.iter().enumerate() {
            if self.0[..place].iter().any(|(earlier, _)| earlier == item) {
                mistakes.push(format!("the {what} {item} is listed twice"));
            }
        }
        if mistakes.is_empty() && self.items().next().is_none() {
            mistakes.push(format!("no {what} has a weight above 0, so none could be drawn"));
        }
        mistakes
    }
}

fn is_weight(weight: f64) -> bool {
    (0.0..=MAX_WEIGHT).contains(&weight)
}

impl<T: Clone + PartialEq> From<Vec<T>> for Mix<T> {
    fn from(items: Vec<T>) -> Self {
        Self::even(items)
    }
}

impl<T: fmt::Display> fmt::Display for Mix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (item, weight)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{item}={weight}")?;
        }
        Ok(())
    }
}

impl<T: FromStr + Clone + PartialEq + fmt::Display> FromStr for Mix<T>
where
    T::Err: fmt::Display,
{
    type Err = String;

    /// All errors, separated by semicolons.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let mut parts = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, weight) =
                part.split_once('=').map_or((part, "1"), |(name, weight)| (name.trim(), weight.trim()));
            match name.parse::<T>() {
                Ok(item) => match weight.parse::<f64>() {
                    Ok(weight) => parts.push((item, weight)),
                    Err(_) => mistakes
                        .push(format!("{weight:?} is not a weight of {item}: give 0 (never) to 1000000")),
                },
                Err(error) => mistakes.push(error.to_string()),
            }
        }
        let mix = Self(parts);
        if mistakes.is_empty() {
            mistakes = mix.mistakes("choice");
        }
        if mistakes.is_empty() { Ok(mix) } else { Err(mistakes.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use wec_acme::KeyType;
    use wec_record::ChallengeType;

    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for (text, shown) in [
            ("p256", "p256=1"),
            ("p256=8, p384 = 1,rsa2048=0.5", "p256=8,p384=1,rsa2048=0.5"),
            ("p256=0,rsa4096", "p256=0,rsa4096=1"),
        ] {
            assert_eq!(text.parse::<Mix<KeyType>>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn names_every_mistake_at_once() {
        for (text, parts) in [
            ("rsa1024,p256=x", &["\"rsa1024\"", "\"x\" is not a weight of p256"][..]),
            ("p256=-1,p384=nan,p256", &["-1 is not a weight", "NaN is not a weight", "p256 is listed twice"]),
            ("p256=0", &["above 0"]),
            ("", &["above 0"]),
        ] {
            let error = text.parse::<Mix<KeyType>>().unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part} is missing in {error}");
            }
        }
    }

    #[test]
    fn draws_in_proportion_among_what_is_possible() {
        let mix: Mix<ChallengeType> = "http-01=6,dns-01=3,tls-alpn-01=1".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let draws = 40_000;
        for (possible, share) in [
            (&[ChallengeType::Http01, ChallengeType::Dns01, ChallengeType::TlsAlpn01][..], 0.6),
            (&[ChallengeType::Http01, ChallengeType::Dns01], 2.0 / 3.0),
            (&[ChallengeType::Http01], 1.0),
            (&[ChallengeType::Dns01], 0.0),
        ] {
            let drawn = (0..draws)
                .filter(|_| {
                    let drawn = mix.draw(&mut rng, |kind| possible.contains(&kind)).unwrap();
                    assert!(possible.contains(&drawn));
                    drawn == ChallengeType::Http01
                })
                .count();
            let measured = drawn as f64 / f64::from(draws);
            // Four standard deviations of a binomial share.
            let deviation = 4.0 * (share * (1.0 - share) / f64::from(draws)).sqrt();
            assert!((measured - share).abs() <= deviation, "{measured} for {share}");
        }
        assert_eq!(mix.draw(&mut rng, |_| false), None);
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        let mix: Mix<KeyType> = "p256=0,p384=1".parse().unwrap();
        assert!(!mix.has(KeyType::P256) && mix.has(KeyType::P384));
        let mut rng = StdRng::seed_from_u64(1);
        assert!((0..100).all(|_| mix.draw(&mut rng, |_| true) == Some(KeyType::P384)));
    }
}
