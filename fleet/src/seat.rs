//! The times of a class's clients, without a random number for each client.
//!
//! A class has *seats*, and each of its members has one. All that is random about a member is a function of the
//! seed, its seat and times of its own. So members with the same seat and the same certificate do the same, and
//! may be counted together; and both simulators draw the same.
//!
//! Seats are as fine as the times that they stand for: a second of the half day, of ten minutes, of six hours. A
//! class's load is then as smooth, or as sharp, as that of independent clients.

use crate::Second;
use crate::class::{ClientClass, Looks, Notice, Renews, Retry, START_SPREAD};
use crate::time::{DAY, civil_from_days, days_from_civil};

/// Half a day: certbot's period.
const HALF_DAY: i32 = DAY / 2;
/// Days of the month that every month has.
const MONTH_DAYS: i32 = 28;

/// The most moments at which persons notice the revocation of certificates in the same state.
pub const NOTICES: u64 = 256;

/// A class with the seed and the first day of the fleet's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The class.
    pub class: ClientClass,
    /// Equal seeds give equal times.
    pub seed: u64,
    /// The day of second 0, days since 1970-01-01.
    pub start_day: i32,
}

impl Times {
    /// Number of seats.
    pub fn seats(&self) -> u16 {
        let seats = match self.class.looks {
            Looks::Midnight => START_SPREAD,
            Looks::FullHour => 24 * START_SPREAD,
            Looks::TwiceADay => HALF_DAY,
            Looks::Every(seconds) | Looks::RenewalInfo(seconds) => seconds,
            Looks::DayOfMonth => MONTH_DAYS * START_SPREAD,
        };
        u16::try_from(seats).unwrap_or(u16::MAX)
    }

    /// The share of members with this seat, as a weight among all seats.
    pub fn weight(&self, seat: u16) -> u64 {
        let spread = START_SPREAD.unsigned_abs() as u16;
        // Half of the clients start in the first second.
        let start = if seat.is_multiple_of(spread) { u64::from(spread) - 1 } else { 1 };
        match self.class.looks {
            Looks::Midnight | Looks::FullHour => start,
            Looks::TwiceADay | Looks::Every(_) | Looks::RenewalInfo(_) => 1,
            // Half of the clients have the first of the month.
            Looks::DayOfMonth if seat < spread => start * (MONTH_DAYS as u64 - 1),
            Looks::DayOfMonth => start,
        }
    }

    /// The first look at or after `from`.
    pub fn look(&self, seat: u16, from: Second) -> Second {
        let (seat, spread) = (i32::from(seat), START_SPREAD);
        match self.class.looks {
            Looks::Midnight => next_in(from, DAY, seat),
            Looks::FullHour => next_in(from, DAY, seat / spread * 3_600 + seat % spread),
            Looks::Every(seconds) | Looks::RenewalInfo(seconds) => next_in(from, seconds, seat),
            Looks::TwiceADay => {
                let half = from.div_euclid(HALF_DAY);
                let look = self.in_half(seat, half);
                if look >= from { look } else { self.in_half(seat, half + 1) }
            }
            Looks::DayOfMonth => {
                let (day, offset) = (seat / spread + 1, seat % spread);
                // The first second whose look is not over.
                let today = self.start_day + (from - offset - 1).div_euclid(DAY) + 1;
                let (year, month, of_month) = civil_from_days(today);
                let (year, month) = match (of_month <= day, month) {
                    (true, _) => (year, month),
                    (false, 12) => (year + 1, 1),
                    (false, _) => (year, month + 1),
                };
                (days_from_civil(year, month, day) - self.start_day) * DAY + offset
            }
        }
    }

    /// Number of looks in this time.
    pub fn looks_within(&self, time: i32) -> u64 {
        match self.period() {
            Some(period) => u64::from(time.unsigned_abs().div_ceil(period.unsigned_abs())),
            None => 1,
        }
    }

    /// A look before the start: 0 is the last one, 1 the one before it.
    pub fn look_before_start(&self, seat: u16, number: u64) -> Second {
        match self.period() {
            Some(period) => self.look(seat, -(number as i32 + 1) * period),
            None => {
                // A month is at most 31 days.
                let look = self.look(seat, -31 * DAY - 1);
                let next = self.look(seat, look + 1);
                if next < 0 { next } else { look }
            }
        }
    }

    /// The time in which there is exactly one look, counted from second 0; none for months.
    const fn period(&self) -> Option<i32> {
        match self.class.looks {
            Looks::Midnight | Looks::FullHour => Some(DAY),
            Looks::TwiceADay => Some(HALF_DAY),
            Looks::Every(period) | Looks::RenewalInfo(period) => Some(period),
            Looks::DayOfMonth => None,
        }
    }

    /// The seat's look in a half day, counted from second 0. Each second of the half day is that of one seat.
    fn in_half(&self, seat: i32, half: i32) -> Second {
        // A Feistel network: each round moves one part of the number by a hash of the other, which is a permutation.
        const PARTS: (u64, u64) = (216, 200);
        let key = hash(self.seed, half as u64);
        let (mut high, mut low) = (seat as u64 / PARTS.1, seat as u64 % PARTS.1);
        for round in 0..2 {
            high = (high + hash(key ^ round, low) % PARTS.0) % PARTS.0;
            low = (low + hash(key ^ (round + 2), high) % PARTS.1) % PARTS.1;
        }
        half * HALF_DAY + (high * PARTS.1 + low) as i32
    }

    /// When the client renews a certificate that was issued at `issued` for `lifetime` seconds.
    pub fn renewal(&self, seat: u16, issued: Second, lifetime: i32) -> Second {
        let left = match self.class.renews {
            Renews::Third { half_if_short } => third(lifetime, half_if_short),
            Renews::Days(days) => days * DAY,
            Renews::Always => lifetime,
            Renews::Window => return self.in_window(seat, issued, lifetime),
        };
        self.look(seat, (issued + lifetime - left).max(issued + 1))
    }

    /// RFC 9773, section 4.2: at each look a second of the suggested window is drawn. The client renews at this second
    /// if it is before its next look, or at once if it is over.
    fn in_window(&self, seat: u16, issued: Second, lifetime: i32) -> Second {
        let middle = issued + lifetime - third(lifetime, true);
        let margin = lifetime / 100;
        let first = (middle - margin).max(issued + 1);
        let width = (middle + margin - first).max(1);
        let period = match self.class.looks {
            Looks::RenewalInfo(period) | Looks::Every(period) => period,
            _ => DAY,
        };
        // The last look before the window.
        let mut look = self.look(seat, first - period + 1).max(issued + 1);
        let mut draw = hash(hash(self.seed, u64::from(seat)), issued as u64);
        loop {
            let chosen = first + (draw % width as u64) as i32;
            let next = self.look(seat, look + 1);
            if chosen < next {
                return chosen.max(look);
            }
            look = next;
            draw = hash(draw, 1);
        }
    }

    /// The next attempt after `failures` in a row, of which the last one was at `now` with this Retry-After.
    pub fn retry(&self, seat: u16, now: Second, failures: u8, retry_after: Option<i32>) -> Second {
        let next = match self.class.retry {
            Retry::NextLook => self.look(seat, now + 1),
            Retry::HotLoop(seconds) => now + seconds.max(1),
            Retry::Intervals(intervals) => {
                let place = usize::from(failures.max(1)) - 1;
                now + intervals.get(place).or(intervals.last()).copied().unwrap_or(60)
            }
        };
        match retry_after.filter(|_| self.class.keeps_retry_after) {
            Some(seconds) => next.max(now + seconds),
            None => next,
        }
    }

    /// When the client replaces a certificate that was revoked at `now`. Members in the same state are distinguished by
    /// a `part` below [`NOTICES`]: each has its own person.
    pub fn notice(&self, (seat, expiry): (u16, Second), part: u64, now: Second) -> Second {
        match self.class.revocation {
            Notice::NextLook => self.look(seat, now + 1),
            Notice::Operator(within) => {
                let draw = hash(hash(hash(self.seed ^ 0x5e_ed, u64::from(seat)), expiry as u64), part);
                now + 1 + (draw % within.max(1) as u64) as i32
            }
        }
    }
}

fn third(lifetime: i32, half_if_short: bool) -> i32 {
    if half_if_short && lifetime < 10 * DAY { lifetime / 2 } else { lifetime / 3 }
}

/// The first second at or after `from` that is `offset` in a period.
fn next_in(from: Second, period: i32, offset: i32) -> Second {
    from + (offset - from).rem_euclid(period)
}

/// A random number of two others (SplitMix64).
pub fn hash(seed: u64, value: u64) -> u64 {
    let mut mixed = seed.wrapping_add(value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{CLASSES, named};
    use crate::time::date;

    fn times(name: &str) -> Times {
        Times { class: CLASSES[named(name).unwrap()], seed: 7, start_day: date("2026-01-01").unwrap() }
    }

    #[test]
    fn a_look_is_the_first_one_from_its_second_on() {
        for class in CLASSES {
            let times = times(class.name);
            for seat in (0..times.seats()).step_by(7) {
                let mut from = -3 * DAY + i32::from(seat);
                for _ in 0..20 {
                    let look = times.look(seat, from);
                    assert!(look >= from, "{} {seat}: {look} before {from}", class.name);
                    assert_eq!(times.look(seat, look), look, "{} {seat}: a look is its own next", class.name);
                    let middle = from + (look - from) / 2;
                    assert_eq!(times.look(seat, middle), look, "{} {seat}: no look between", class.name);
                    from = look + 1;
                }
            }
        }
    }

    #[test]
    fn looks_are_at_the_times_of_their_class() {
        let midnight = times("cron-midnight");
        assert_eq!([midnight.look(0, 1), midnight.look(29, 1)], [DAY, 29]);
        let hour = times("cron-hour");
        assert_eq!(hour.look(5 * 30 + 2, 0), 5 * 3_600 + 2);
        let daemon = times("daemon");
        assert_eq!([daemon.look(17, 0), daemon.look(17, 18)], [17, 617]);
        let monthly = times("monthly");
        // The first of the month: 2026-01-01, 2026-02-01, 2026-03-01.
        assert_eq!(
            [monthly.look(0, 0), monthly.look(0, 1), monthly.look(0, 31 * DAY + 1)],
            [0, 31 * DAY, 59 * DAY]
        );
        assert_eq!(monthly.look(27 * 30 + 3, 0), 27 * DAY + 3, "the 28th");
        assert_eq!(monthly.look(3, 3), 3, "a spread start of the first");
        assert_eq!(monthly.look(3, 4), 31 * DAY + 3);
        assert_eq!(monthly.look(0, -1), 0);
    }

    #[test]
    fn certbots_seats_cover_each_second_of_each_half_day_once() {
        let certbot = times("certbot");
        for half in [-3, 0, 1, 500] {
            let mut seen = vec![false; HALF_DAY as usize];
            for seat in 0..certbot.seats() {
                let look = certbot.look(seat, half * HALF_DAY) - half * HALF_DAY;
                assert!(!std::mem::replace(&mut seen[look as usize], true), "second {look}");
            }
        }
        let delays: Vec<_> = (0..20).map(|half| certbot.in_half(11, half) - half * HALF_DAY).collect();
        let mut different = delays.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 15, "drawn anew for each half day: {delays:?}");
    }

    #[test]
    fn renewals_come_when_the_class_finds_them_due() {
        let lifetime = 90 * DAY;
        let daemon = times("daemon").renewal(0, 0, lifetime);
        assert_eq!(daemon, 60 * DAY, "a third left");
        let cron = times("cron-midnight").renewal(0, 0, lifetime);
        assert_eq!(cron, 60 * DAY, "30 days left");
        assert_eq!(times("cron-midnight").renewal(0, 0, 47 * DAY), 17 * DAY, "30 days left of 47");
        assert_eq!(
            times("cron-midnight").renewal(0, 0, 20 * DAY),
            DAY,
            "never more than 30 days left: daily"
        );
        let certbot = times("certbot");
        assert!((40 * DAY..41 * DAY).contains(&certbot.renewal(3, 0, 60 * DAY)));
        assert!((3 * DAY..4 * DAY).contains(&certbot.renewal(3, 0, 6 * DAY)), "half of a short lifetime");
        assert_eq!(times("monthly").renewal(0, 0, lifetime), 31 * DAY, "the first of the next month");
    }

    #[test]
    fn followers_of_ari_renew_within_the_window() {
        let ari = times("ari");
        for lifetime in [6 * DAY, 47 * DAY, 90 * DAY] {
            let middle = lifetime - third(lifetime, true);
            let mut parts = [0; 4];
            for seat in 0..ari.seats() {
                for issued in [0, 12_345] {
                    let at = ari.renewal(seat, issued, lifetime) - issued - (middle - lifetime / 100);
                    let width = lifetime / 100 * 2;
                    assert!((0..=width + 21_600).contains(&at), "{lifetime} {seat}: {at}");
                    parts[(at * 4 / width).min(3) as usize] += 1;
                }
            }
            assert!(parts.iter().all(|part| *part > 0), "{lifetime}: {parts:?}");
        }
    }

    #[test]
    fn retries_follow_the_policy_and_retry_after_only_where_it_is_kept() {
        let daemon = times("daemon");
        assert_eq!(
            [1, 2, 3, 4, 200].map(|failures| daemon.retry(0, 1_000, failures, Some(5_000))),
            [1_060, 1_120, 1_120, 1_300, 22_600]
        );
        let ari = times("ari");
        assert_eq!(ari.retry(0, 1_000, 1, Some(5_000)), 6_000);
        assert_eq!(ari.retry(0, 1_000, 1, None), 1_060);
        assert_eq!(times("cron-midnight").retry(0, 5, 1, Some(60)), DAY, "tomorrow");
        let hot = ClientClass { retry: Retry::HotLoop(1), ..CLASSES[0] };
        assert_eq!(Times { class: hot, ..ari }.retry(0, 5, 9, Some(60)), 6);
    }

    #[test]
    fn operators_replace_revoked_certificates_within_their_days() {
        let certbot = times("certbot");
        let notices: Vec<_> = (0..2_000).map(|seat| certbot.notice((seat, 50 * DAY), 0, 10)).collect();
        assert!(notices.iter().all(|at| (11..=10 + 5 * DAY).contains(at)));
        let first_day = notices.iter().filter(|at| **at < DAY).count();
        assert!((300..500).contains(&first_day), "a fifth in the first day: {first_day}");
        assert_eq!(times("daemon").notice((17, 50 * DAY), 0, 18), 617);
    }
}
