//! Selects a worker's next chain: a pure choice among those that the stored state allows.
//!
//! | the store has | chains |
//! | --- | --- |
//! | nothing | registration |
//! | exclusive registrations | + those that change or end an account |
//! | registrations | + authorization, pre-authorization, authorization-deactivation, orders-list, refusals |
//! | ready orders | + certificate |
//! | certificates | + refresh, revoke, renewal-info, alternate-chains, download |
//!
//! A chain that would exceed a hard limit is not allowed, whatever its weight.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, RngExt};
use wec_chains::Steps;
use wec_record::Chain;
use wec_store::Available;

/// The weight of each chain in the choice among those allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights([f64; Chain::ALL.len()]);

impl Default for Weights {
    /// Mostly orders and certificates, as at a real CA, with few accounts.
    fn default() -> Self {
        Self(Chain::ALL.map(|chain| chain.facts().default_weight))
    }
}

impl Weights {
    /// Only `chain` has a weight.
    pub fn only(chain: Chain) -> Self {
        Self(Chain::ALL.map(|other| if other == chain { 1.0 } else { 0.0 }))
    }

    /// The weight of one chain.
    pub fn of(&self, chain: Chain) -> f64 {
        self.0[chain.index()]
    }

    /// Each chain with its weight.
    pub fn iter(&self) -> impl Iterator<Item = (Chain, f64)> {
        Chain::ALL.into_iter().map(|chain| (chain, self.of(chain)))
    }

    /// Changes the weight of one chain; 0 means never.
    pub fn set(&mut self, chain: Chain, weight: f64) {
        self.0[chain.index()] = weight;
    }
}

impl Weights {
    /// These weights, with the named ones replaced; unknown names are ignored.
    pub fn with(mut self, named: &BTreeMap<String, f64>) -> Self {
        for (chain, weight) in named {
            if let Ok(chain) = Chain::from_str(chain) {
                self.set(chain, *weight);
            }
        }
        self
    }
}

/// As the flag `--weight` takes them: the weight of every chain.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (chain, weight)) in self.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{chain}={weight}")?;
        }
        Ok(())
    }
}

/// Weights that can change while workers pick.
#[derive(Debug)]
pub struct LiveWeights([AtomicU64; Chain::ALL.len()]);

impl LiveWeights {
    /// With these weights.
    pub fn new(weights: Weights) -> Self {
        Self(weights.0.map(|weight| AtomicU64::new(weight.to_bits())))
    }

    /// The current weights. During a change they may be partly new; the next pick has all of them.
    pub fn now(&self) -> Weights {
        Weights(std::array::from_fn(|index| f64::from_bits(self.0[index].load(Ordering::Relaxed))))
    }

    /// Replaces the weights.
    pub fn set(&self, weights: Weights) {
        for (live, weight) in self.0.iter().zip(weights.0) {
            live.store(weight.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Whether the stored state allows `chain`; `steps` are those of the composed one.
pub fn allows(available: &Available, chain: Chain, steps: &Steps) -> bool {
    if chain == Chain::Composed && steps.register() {
        return available.may_register;
    }
    let facts = chain.facts();
    facts.needs.is_none_or(|object| available.has(object) || facts.exclusive)
        && (!facts.exclusive || available.exclusive_registrations)
        && facts.makes.is_none_or(|object| available.may_make(object))
}

/// Chooses among the allowed chains by weight; none when nothing is allowed.
pub fn pick(weights: &Weights, available: &Available, steps: &Steps, rng: &mut impl Rng) -> Option<Chain> {
    let weight_of = |chain: Chain| if allows(available, chain, steps) { weights.of(chain) } else { 0.0 };
    let total: f64 = Chain::ALL.into_iter().map(weight_of).sum();
    if total <= 0.0 {
        return None;
    }
    let mut left = rng.random_range(0.0..total);
    Chain::ALL.into_iter().filter(|chain| weight_of(*chain) > 0.0).find(|chain| {
        left -= weight_of(*chain);
        left < 0.0
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn available(has: &str) -> Available {
        let mut available = Available {
            registrations: has.contains('r'),
            exclusive_registrations: has.contains('x'),
            orders: has.contains('o'),
            certificates: has.contains('c'),
            ..Available::default()
        };
        available.may_register = !has.contains('R');
        available.may_authorize = !has.contains('A');
        available.may_certify = !has.contains('C');
        available
    }

    fn allowed(has: &str) -> String {
        let available = available(has);
        Chain::ALL
            .into_iter()
            .filter(|chain| allows(&available, *chain, &Steps::default()))
            .map(Chain::name)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn allows_the_chains_of_the_documented_table() {
        let of_accounts = "authorization-deactivation orders-list pre-authorization";
        let refusals = "refusals composed";
        let of_certificates = "renewal-info alternate-chains download";
        assert_eq!(allowed(""), "registration");
        assert_eq!(allowed("x"), "registration key-rollover account-update account-deactivation");
        assert_eq!(allowed("r"), format!("registration authorization {of_accounts} {refusals}"));
        assert_eq!(allowed("ro"), format!("registration authorization certificate {of_accounts} {refusals}"));
        assert_eq!(
            allowed("roc"),
            format!(
                "registration authorization certificate refresh revoke {of_accounts} {of_certificates} {refusals}"
            )
        );
    }

    #[test]
    fn a_chain_that_registers_its_account_needs_none() {
        let steps = |text: &str| text.parse::<Steps>().unwrap();
        let own = steps("account, order");
        assert!(allows(&available(""), Chain::Composed, &own));
        assert!(!allows(&available("R"), Chain::Composed, &own), "no room for an account");
        assert!(!allows(&available(""), Chain::Composed, &steps("order")));
        assert!(!allows(&available(""), Chain::OrdersList, &own));
    }

    #[test]
    fn a_reached_limit_excludes_the_chains_that_would_exceed_it() {
        for (has, excluded) in [
            ("rocR", &["registration"][..]),
            ("rocA", &["authorization", "pre-authorization"]),
            ("rocC", &["certificate", "refresh"]),
        ] {
            let all = allowed("roc");
            let left: Vec<_> = all.split(' ').filter(|chain| !excluded.contains(chain)).collect();
            assert_eq!(allowed(has), left.join(" "), "{has}");
        }
        assert_eq!(allowed("RAC"), "");
    }

    #[test]
    fn picks_nothing_when_no_chain_is_allowed_or_has_weight() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(pick(&Weights::default(), &available("RAC"), &Steps::default(), &mut rng), None);
        let only_revoke = Weights::only(Chain::Revoke);
        assert_eq!(pick(&only_revoke, &available("ro"), &Steps::default(), &mut rng), None);
    }

    #[test]
    fn picks_in_proportion_to_the_weights_of_the_allowed() {
        let mut weights = Weights::only(Chain::Registration);
        weights.set(Chain::Authorization, 3.0);
        weights.set(Chain::Revoke, 100.0);
        let mut rng = StdRng::seed_from_u64(7);
        let picks = 40_000;
        let authorizations = (0..picks)
            .filter(|_| {
                pick(&weights, &available("r"), &Steps::default(), &mut rng) == Some(Chain::Authorization)
            })
            .count();
        let share = authorizations as f64 / f64::from(picks);
        // Four standard deviations of a binomial share with p = 3/4.
        assert!((share - 0.75).abs() < 4.0 * (0.75f64 * 0.25 / f64::from(picks)).sqrt(), "{share}");
    }

    proptest! {
        #[test]
        fn never_picks_what_is_not_allowed(seed: u64, has in "[rxocRAC]{0,7}", raw in proptest::array::uniform::<_, { Chain::ALL.len() }>(0.0f64..10.0)) {
            let available = available(&has);
            if let Some(chain) = pick(&Weights(raw), &available, &Steps::default(), &mut StdRng::seed_from_u64(seed)) {
                prop_assert!(allows(&available, chain, &Steps::default()));
                prop_assert!(raw[chain.index()] > 0.0);
            }
        }
    }
}
