//! A fleet, its events and the model of its CA: what both simulators read.

use crate::Second;
use crate::class::ClientClass;
use crate::event::Event;
use crate::member::{EXPIRED, NEVER, NOT_DUE, State};
use crate::outcome::Outcome;
use crate::seat::{Times, hash};
use crate::time::DAY;

/// A fleet with its clock, its events and its CA.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Certificates at the start.
    pub certificates: u64,
    /// Their lifetime, seconds.
    pub lifetime: i32,
    /// The day of second 0, days since 1970-01-01.
    pub start_day: i32,
    /// Length of the simulation, seconds.
    pub length: i32,
    /// The classes of clients with their weights.
    pub classes: Vec<(ClientClass, f64)>,
    /// What happens, in any order.
    pub events: Vec<Event>,
    /// The CA.
    pub ca: CaModel,
    /// A renewal is late if it is served later than this after it was due, seconds.
    pub late_after: i32,
    /// Equal seeds give equal simulations.
    pub seed: u64,
}

/// A model of a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaModel {
    /// Certificates that it issues, thousandths per second; none for as many as are ordered.
    pub rate: Option<u64>,
    /// Orders that wait for it before it answers 503.
    pub queue: u64,
    /// The Retry-After of a 503, seconds.
    pub retry_after: i32,
    /// Time of an issuance without waiting, seconds.
    pub latency: i32,
}

/// A seat of a class.
#[derive(Clone, Copy)]
struct Seat<'a> {
    /// The place of the class in the scenario.
    place: usize,
    times: &'a Times,
    seat: u16,
}

impl Scenario {
    /// The classes with the times of their seats.
    pub fn times(&self) -> Vec<Times> {
        let Self { seed, start_day, .. } = *self;
        let times = |(place, (class, _)): (usize, &(ClientClass, f64))| Times {
            class: *class,
            seed: hash(seed, place as u64),
            start_day,
        };
        self.classes.iter().enumerate().map(times).collect()
    }

    /// The members at the start: a state, and how many have it. Each class is in the middle of its usual life: its
    /// members were issued their certificates at its looks, evenly over its last cycle.
    pub fn members(&self, mut each: impl FnMut(State, u32)) {
        let times = self.times();
        for (place, (count, times)) in self.split(self.certificates).into_iter().zip(&times).enumerate() {
            let seats = times.seats();
            let total: u64 = (0..seats).map(|seat| times.weight(seat)).sum();
            // Seats in an order without a pattern, so that the few members of a small fleet are spread over them.
            let stride = spread(u64::from(seats));
            let mut passed = 0;
            for step in 0..u64::from(seats) {
                let seat = (step * stride % u64::from(seats)) as u16;
                let before = scaled(count, passed, total);
                passed += times.weight(seat);
                let members = scaled(count, passed, total) - before;
                if members > 0 {
                    self.seated(Seat { place, times, seat }, members, &mut each);
                }
            }
        }
    }

    /// The members of one seat, evenly over those looks of the past whose certificates are not renewed yet.
    fn seated(&self, of: Seat<'_>, members: u64, each: &mut impl FnMut(State, u32)) {
        let Seat { times, seat, .. } = of;
        let cycle = times.renewal(seat, 0, self.lifetime).max(1);
        // Numbered backwards from the start.
        let mut looks = times.looks_within(cycle) + 1;
        let is_renewed =
            |number| times.renewal(seat, times.look_before_start(seat, number), self.lifetime) < 0;
        while looks > 1 && is_renewed(looks - 1) {
            looks -= 1;
        }
        let turn = hash(times.seed ^ 0xf1ee7, u64::from(seat)) % looks;
        let mut at = |number: u64, count| {
            let look = times.look_before_start(seat, (number + turn) % looks);
            self.issued(of, look, count, each);
        };
        if members < looks {
            (1..=members).for_each(|member| at((member * looks).div_ceil(members) - 1, 1));
        } else {
            (0..looks)
                .for_each(|look| at(look, scaled(members, look + 1, looks) - scaled(members, look, looks)));
        }
    }

    fn issued(&self, of: Seat<'_>, at: Second, members: u64, each: &mut impl FnMut(State, u32)) {
        let Seat { place, times, seat } = of;
        let mut attempt = times.renewal(seat, at, self.lifetime);
        if attempt < 0 {
            attempt = times.look(seat, 0);
        }
        let expiry = at.saturating_add(self.lifetime);
        // A certificate that expired before its client's look, before the start.
        let (due, flags) = if expiry <= 0 { (expiry, EXPIRED) } else { (NOT_DUE, 0) };
        let state = State { class: place as u8, seat, expiry, due, attempt, failures: 0, flags };
        // More than fit into one count are several groups.
        let mut left = members;
        while left > 0 {
            let part = left.min(u64::from(u32::MAX));
            each(state, part as u32);
            left -= part;
        }
    }

    /// New members of one second, by class: their state, and how many have it.
    pub fn born(&self, times: &[Times], at: Second, mut each: impl FnMut(State, u32)) {
        let (before, after) = (self.grown(at), self.grown(at + 1));
        let mut counts = vec![0u32; times.len()];
        for member in before..after {
            counts[self.class_of(member)] += 1;
        }
        for (place, (count, times)) in
            counts.into_iter().zip(times).enumerate().filter(|(_, (count, _))| *count > 0)
        {
            let seat = (hash(times.seed ^ 0xb0b, at as u64) % u64::from(times.seats())) as u16;
            let state = State {
                class: place as u8,
                seat,
                expiry: NEVER,
                due: NOT_DUE,
                attempt: at,
                failures: 0,
                flags: 0,
            };
            each(state, count);
        }
    }

    /// The class of a new member. Any members in a row have nearly the shares of the weights.
    fn class_of(&self, member: u64) -> usize {
        // Multiples of the golden section are spread evenly.
        let share = member.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / 2f64.powi(64);
        let total: f64 = self.classes.iter().map(|(_, weight)| weight).sum();
        let mut left = share * total;
        let found = self.classes.iter().position(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        found.unwrap_or(self.classes.len() - 1)
    }

    /// Whether the fleet grows.
    pub fn grows(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Growth { .. }))
    }

    /// Number of members that were added until this second.
    fn grown(&self, at: Second) -> u64 {
        let mut growths: Vec<(Second, u32)> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Growth { at, share } => Some((*at, *share)),
                _ => None,
            })
            .collect();
        growths.sort_unstable();
        let mut size = self.certificates as f64;
        for (place, (from, share)) in growths.iter().enumerate() {
            let until = growths.get(place + 1).map_or(at, |next| next.0.min(at));
            if until > *from {
                size *= (1.0 + f64::from(*share) / 1e6).powf(f64::from(until - from) / f64::from(DAY));
            }
        }
        // The largest count of a group times the number of classes is far above what a simulation can hold.
        (size.min(4e9) as u64).saturating_sub(self.certificates)
    }

    /// So many members, split by the weights of the classes.
    fn split(&self, members: u64) -> Vec<u64> {
        let total: f64 = self.classes.iter().map(|(_, weight)| weight).sum();
        let mut passed = 0.0;
        let mut before = 0;
        let last = self.classes.len() - 1;
        let part = |(place, (_, weight)): (usize, &(ClientClass, f64))| {
            passed += weight;
            let until = if place == last {
                members
            } else {
                ((members as f64 * (passed / total)) as u64).min(members)
            };
            until.saturating_sub(std::mem::replace(&mut before, until))
        };
        self.classes.iter().enumerate().map(part).collect()
    }

    /// The lifetime of a certificate that is issued in this second.
    pub fn lifetime_at(&self, second: Second) -> i32 {
        let mut lifetime = self.lifetime;
        let mut latest = Second::MIN;
        for event in &self.events {
            if let Event::Lifetime { from, to, at, over } = *event
                && at <= second
                && at >= latest
            {
                latest = at;
                lifetime = match i64::from(second - at) {
                    passed if passed < i64::from(over) => {
                        from + (i64::from(to - from) * passed / i64::from(over)) as i32
                    }
                    _ => to,
                };
            }
        }
        lifetime
    }

    /// Whether the CA does not answer in this second.
    pub fn is_out(&self, second: Second) -> bool {
        let out = |event: &Event| match event {
            Event::Outage { at, lasts } => (*at..at.saturating_add(*lasts)).contains(&second),
            _ => false,
        };
        self.events.iter().any(out)
    }

    /// How many orders the CA admits in this second by its limit, of one of so many nodes that share it evenly; none for
    /// no limit.
    pub fn admits(&self, second: Second, nodes: u32) -> Option<u64> {
        let limits = self.events.iter().filter_map(|event| match *event {
            Event::Limit { at, lasts, rate } if at <= second => {
                let ends = lasts.map(|lasts| at.saturating_add(lasts));
                Some((at, ends.is_none_or(|ends| second < ends).then_some(rate)))
            }
            _ => None,
        });
        limits
            .max_by_key(|(at, _)| *at)
            .and_then(|(_, rate)| rate)
            .map(|rate| in_second(rate / u64::from(nodes.max(1)), second))
    }

    /// What becomes of an order that the CA does not admit.
    pub const fn busy(&self) -> Outcome {
        Outcome::Refused { retry_after: Some(self.ca.retry_after) }
    }

    /// How many certificates the CA can issue in this second.
    pub fn issues(&self, second: Second) -> u64 {
        self.ca.rate.map_or(u64::MAX / 4, |rate| in_second(rate, second))
    }

    /// The share of the valid certificates that is revoked in this second, in millionths.
    pub fn revokes(&self, second: Second) -> Option<u32> {
        let share = |event: &Event| match event {
            Event::Revoke { at, share } if *at == second => Some(*share),
            _ => None,
        };
        self.events.iter().filter_map(share).reduce(|a, b| (a + b).min(1_000_000))
    }
}

/// The whole things of a rate in this second: over many seconds as many as the rate has.
fn in_second(thousandths: u64, second: Second) -> u64 {
    let until = |second: i64| (u128::from(thousandths) * second.max(0) as u128 / 1_000) as u64;
    until(i64::from(second) + 1) - until(i64::from(second))
}

/// `count · part ÷ whole`, rounded down.
pub(crate) fn scaled(count: u64, part: u64, whole: u64) -> u64 {
    (u128::from(count) * u128::from(part) / u128::from(whole.max(1))) as u64
}

/// A step near the golden section of `length` without a common divisor with it: repeated, it visits all places
/// in an order without a pattern.
fn spread(length: u64) -> u64 {
    let mut step = ((length as f64 * 0.618_034) as u64).max(1);
    while divisor(step, length) != 1 {
        step += 1;
    }
    step
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FleetSettings;

    fn scenario(events: &[&str]) -> Scenario {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        FleetSettings { certificates: "100000".to_owned(), events, ..FleetSettings::default() }
            .read()
            .unwrap()
    }

    #[test]
    fn a_fleet_has_as_many_members_as_certificates_and_each_class_its_share() {
        for certificates in [1, 7, 1_000, 123_457] {
            let scenario = Scenario { certificates, ..scenario(&[]) };
            let mut by_class = vec![0; scenario.classes.len()];
            scenario.members(|state, count| {
                by_class[usize::from(state.class)] += u64::from(count);
                assert!(state.attempt >= 0 && state.expiry > 0, "{state:?}");
            });
            assert_eq!(by_class.iter().sum::<u64>(), certificates);
            for ((class, weight), count) in scenario.classes.iter().zip(&by_class) {
                let expected = certificates as f64 * weight / 1_000.0;
                assert!((*count as f64 - expected).abs() <= 1.0, "{}: {count} of {expected}", class.name);
            }
        }
    }

    #[test]
    fn lifetimes_outages_and_limits_follow_their_events() {
        let scenario =
            scenario(&["lifetime 90d -> 47d at 10d over 30d", "outage 6h at 3d", "limit 2.5/s at 5d for 1h"]);
        for (day, lifetime) in
            [(0, 90 * DAY), (10, 90 * DAY), (25, 68 * DAY + DAY / 2), (40, 47 * DAY), (99, 47 * DAY)]
        {
            assert_eq!(scenario.lifetime_at(day * DAY), lifetime, "day {day}");
        }
        for (second, out) in
            [(3 * DAY - 1, false), (3 * DAY, true), (3 * DAY + 21_599, true), (3 * DAY + 21_600, false)]
        {
            assert_eq!(scenario.is_out(second), out, "{second}");
        }
        assert_eq!(scenario.admits(0, 1), None);
        let two: Vec<_> = (5 * DAY..5 * DAY + 4).map(|second| scenario.admits(second, 1).unwrap()).collect();
        assert_eq!(two, [2, 3, 2, 3], "2.5 a second");
        assert_eq!(scenario.admits(5 * DAY + 3_600, 1), None);
        let of_two = (5 * DAY..5 * DAY + 8).map(|second| scenario.admits(second, 2).unwrap());
        assert_eq!(of_two.sum::<u64>(), 10, "1.25 a second");
    }

    #[test]
    fn growth_is_compound() {
        let scenario = scenario(&["growth 1%/d"]);
        assert_eq!(scenario.grown(0), 0);
        assert_eq!(scenario.grown(DAY), 1_000);
        assert_eq!(scenario.grown(2 * DAY), 2_010);
        let times = scenario.times();
        let mut born = 0;
        for second in 0..DAY {
            scenario.born(&times, second, |_, count| born += u64::from(count));
        }
        assert_eq!(born, 1_000);
    }
}
