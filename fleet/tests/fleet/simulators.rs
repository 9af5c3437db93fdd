//! The two simulators of the same scenario: equal in each second, and each balanced.

use proptest::prelude::*;
use wec_fleet::{CLASSES, Cohorts, FleetSettings, Naive, Scenario, Tick};

const DAY: i32 = 86_400;

fn scenario(certificates: u64, rate: Option<&str>, queue: Option<&str>, events: &[&str]) -> Scenario {
    let settings = FleetSettings {
        certificates: certificates.to_string(),
        ca_rate: rate.map(str::to_owned),
        ca_queue: queue.map(str::to_owned),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        ..FleetSettings::default()
    };
    settings.read().unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// Runs both and compares each second. Returns the last second's account and the sums.
fn compare(scenario: &Scenario, seconds: i32) -> Result<(Tick, Sums), TestCaseError> {
    let (mut cohorts, mut naive) = (Cohorts::new(scenario.clone()), Naive::new(scenario.clone()));
    let mut sums = Sums::default();
    let mut last = Tick::default();
    for _ in 0..seconds {
        let tick = cohorts.step();
        prop_assert_eq!(tick, naive.step());
        sums.add(tick)?;
        last.clone_from(tick);
    }
    Ok((last, sums))
}

#[derive(Debug, Default)]
struct Sums {
    due: u64,
    served: u64,
    late: u64,
    expired: u64,
    refused: u64,
    failed: u64,
    attempts: u64,
}

impl Sums {
    /// due = served + late + expired + waiting, in this second.
    fn add(&mut self, tick: &Tick) -> Result<(), TestCaseError> {
        let flow = tick.total();
        self.due += flow.due;
        self.served += flow.on_time;
        self.late += flow.late;
        self.expired += flow.expired;
        self.refused += flow.refused;
        self.failed += flow.failed;
        self.attempts += flow.attempts;
        prop_assert_eq!(
            self.due,
            self.served + self.late + self.expired + tick.waiting,
            "second {}: {:?}",
            tick.second,
            tick
        );
        Ok(())
    }
}

#[test]
fn a_hundred_thousand_members_are_simulated_equally_with_everything_that_can_happen() {
    let scenario = scenario(
        100_000,
        Some("0.5/s"),
        Some("20"),
        &[
            "outage 6h at 1d",
            "revoke 10% at 2d",
            "lifetime 90d -> 2d at 1d over 2d",
            "growth 1%/d",
            "limit 2/s at 3d for 12h",
        ],
    );
    let (last, sums) = compare(&scenario, 9 * DAY).unwrap();
    assert!(sums.served > 10_000 && sums.late > 100 && sums.expired > 10, "{sums:?}");
    assert!(sums.refused > 1_000 && sums.failed > 100 && last.members > 109_000, "{sums:?} {last:?}");
}

#[test]
fn an_unlimited_ca_serves_each_renewal_when_it_is_due() {
    let scenario = scenario(100_000, None, None, &[]);
    let (last, sums) = compare(&scenario, 3 * DAY).unwrap();
    assert_eq!((sums.late, sums.refused, sums.failed, last.waiting), (0, 0, 0, 0));
    assert_eq!(sums.attempts, sums.due);
    assert_eq!(sums.due, sums.served + sums.expired);
}

proptest! {
    // Each case simulates half a day twice.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_simulators_agree_in_each_second(
        certificates in 1u64..20_000,
        seed: u64,
        lifetime in 1i32..100,
        rate in proptest::option::of(1u32..5_000),
        queue in 0u64..200,
        weights in proptest::collection::vec(0u32..5, CLASSES.len()),
        retries in proptest::collection::vec(0usize..4, CLASSES.len()),
        events in proptest::collection::vec(any_event(), 0..5),
        start in 0i32..400,
    ) {
        let retries = retries.iter().map(|retry| ["", ",retry=exponential", ",retry=hot-loop", ",retry-after=kept"][*retry]);
        let classes = CLASSES.iter().zip(&weights).zip(retries);
        let mut classes: Vec<_> = classes.map(|((class, weight), retry)| format!("{}={weight}{retry}", class.name)).collect();
        classes.push("certbot=1".to_owned());
        let settings = FleetSettings {
            certificates: certificates.to_string(),
            lifetime: format!("{lifetime}d"),
            start: wec_fleet::time::date_text(20_454 + start),
            ca_rate: rate.map(|rate| format!("{}/s", f64::from(rate) / 1e3)),
            ca_queue: rate.map(|_| queue.to_string()),
            late_after: "10m".to_owned(),
            classes,
            events,
            seed,
            ..FleetSettings::default()
        };
        let scenario = settings.read().map_err(|wrong| TestCaseError::fail(wrong.to_string()))?;
        compare(&scenario, DAY / 2)?;
    }
}

/// In the first half day, so that each matters.
fn any_event() -> impl Strategy<Value = String> {
    let (at, lasts) = (0i32..40_000, 1i32..20_000);
    prop_oneof![
        (at.clone(), lasts.clone()).prop_map(|(at, lasts)| format!("outage {lasts}s at {at}s")),
        (at.clone(), 1u32..100).prop_map(|(at, share)| format!("revoke {share}% at {at}s")),
        (at.clone(), 1u32..100).prop_map(|(at, share)| format!("growth {share}%/d at {at}s")),
        (at, lasts, 1u32..1_000)
            .prop_map(|(at, lasts, rate)| format!("limit {}/s at {at}s for {lasts}s", f64::from(rate) / 1e3)),
    ]
}
