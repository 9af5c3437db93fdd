//! Each class's orders over a day against its definition.

use wec_fleet::{CLASSES, Cohorts, FleetSettings};

const DAY: i32 = 86_400;

/// Orders of a fleet of one class by second of the day, over so many days.
fn orders(class: &str, certificates: &str, days: i32) -> Vec<u64> {
    let settings = FleetSettings {
        certificates: certificates.to_owned(),
        classes: vec![format!("{class}=1")],
        // Not a first of a month, and long enough before the next one.
        start: "2026-03-02".to_owned(),
        ..FleetSettings::default()
    };
    let mut cohorts = Cohorts::new(settings.read().expect("the settings of this test are right"));
    let mut orders = vec![0; DAY as usize];
    for _ in 0..days {
        for second in &mut orders {
            *second += cohorts.step().total().attempts;
        }
    }
    orders
}

/// Chi-squared of counts that should be equal, over its degrees of freedom.
fn unevenness(counts: &[u64]) -> f64 {
    let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|count| (*count as f64 - mean).powi(2) / mean).sum::<f64>() / (counts.len() - 1) as f64
}

fn by(seconds: usize, orders: &[u64]) -> Vec<u64> {
    orders.chunks(seconds).map(|chunk| chunk.iter().sum()).collect()
}

#[test]
fn midnight_is_half_in_the_first_second_and_all_within_thirty() {
    let orders = orders("cron-midnight", "1M", 1);
    let all: u64 = orders.iter().sum();
    let expected = 1_000_000 / 60;
    assert!(all.abs_diff(expected) <= expected / 50, "{all}");
    assert_eq!(orders[..30].iter().sum::<u64>(), all);
    let first = orders[0] as f64 / all as f64;
    assert!((first - 0.5).abs() < 0.01, "{first}");
}

#[test]
fn full_hours_have_equal_loads_in_their_first_thirty_seconds() {
    let orders = orders("cron-hour", "2M", 1);
    let hours = by(3_600, &orders);
    assert!(unevenness(&hours) < 1.0, "{hours:?}");
    for hour in orders.chunks(3_600) {
        assert_eq!(hour[30..].iter().sum::<u64>(), 0);
        assert!(hour[0] * 2 >= hour.iter().sum::<u64>() - 30, "half in the first second");
    }
}

#[test]
fn daemons_and_ari_are_spread_evenly_over_the_day() {
    for class in ["daemon", "ari"] {
        let orders = orders(class, "3M", 4);
        let all: u64 = orders.iter().sum();
        let expected = 3_000_000 / 60 * 4;
        assert!(all.abs_diff(expected) < expected / 20, "{class}: {all} of {expected}");
        let minutes = by(60, &orders);
        // As independent clients would be, or smoother.
        assert!(unevenness(&minutes) < 1.5, "{class}: {}", unevenness(&minutes));
        let most = orders.iter().max().unwrap();
        assert!(*most < 30, "{class}: no spike within a second: {most}");
    }
}

/// A certificate that was issued at a random time x of a half day is due at the same time of another one. Its client
/// looks at a random time y: it renews then if y is after x, or at a random time of the next half day. So the
/// density over a half day is y + 1/2 where issues are spread evenly.
#[test]
fn certbots_orders_rise_within_each_half_day_as_its_delays_make_them() {
    let orders = orders("certbot", "3M", 4);
    let half = orders.len() / 2;
    let folded: Vec<u64> =
        orders[..half].iter().zip(&orders[half..]).map(|(one, other)| one + other).collect();
    let all: u64 = folded.iter().sum();
    assert!(all.abs_diff(200_000) < 2_000, "{all}");
    let parts = by(half / 12, &folded);
    for (part, count) in parts.iter().enumerate() {
        let expected = all as f64 / 12.0 * ((part as f64 + 0.5) / 12.0 + 0.5);
        assert!(
            (*count as f64 - expected).abs() < expected * 0.03,
            "part {part}: {count}, expected {expected}"
        );
    }
    assert!(*orders.iter().max().unwrap() < 40, "no spike within a second");
}

#[test]
fn half_of_the_monthly_clients_come_on_the_first() {
    let settings = FleetSettings {
        certificates: "1M".to_owned(),
        classes: vec!["monthly=1".to_owned()],
        start: "2026-03-01".to_owned(),
        ..FleetSettings::default()
    };
    let mut cohorts = Cohorts::new(settings.read().unwrap());
    let mut days = vec![0u64; 31];
    for day in &mut days {
        *day = (0..DAY).map(|_| cohorts.step().total().attempts).sum();
    }
    assert_eq!(days.iter().sum::<u64>(), 1_000_000, "each once a month: {days:?}");
    assert!(days[0].abs_diff(500_000) < 5_000, "{days:?}");
    assert!(days[1..28].iter().all(|day| day.abs_diff(500_000 / 27) < 1_000), "{days:?}");
    assert_eq!(days[28..], [0, 0, 0], "days that not every month has");
}

#[test]
fn renewals_of_a_cycle_are_as_many_as_members() {
    // 60 of 90 days and what the looks add: each member renews once within 61 days and twice within 124.
    for class in CLASSES.iter().filter(|class| class.name != "monthly") {
        let orders = orders(class.name, "20000", 61);
        let all: u64 = orders.iter().sum();
        assert!((20_000..=20_900).contains(&all), "{}: {all}", class.name);
    }
}
