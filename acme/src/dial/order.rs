//! The order in which the addresses of a server are tried.

use std::net::SocketAddr;

/// How long an address that failed comes last, nanoseconds.
const AVOIDED_FOR: u64 = 30_000_000_000;

/// Knowledge about the addresses of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    /// The address that worked last.
    good: Option<SocketAddr>,
    /// Addresses that failed, and until when they come last.
    bad: Vec<(SocketAddr, u64)>,
}

impl Remembered {
    pub(super) fn worked(&mut self, address: SocketAddr) {
        self.good = Some(address);
        self.bad.retain(|(bad, _)| *bad != address);
    }

    pub(super) fn failed(&mut self, address: SocketAddr, now: u64) {
        self.bad.retain(|(bad, until)| *bad != address && *until > now);
        self.bad.push((address, now.saturating_add(AVOIDED_FOR)));
        if self.good == Some(address) {
            self.good = None;
        }
    }
}

/// Families in turn (RFC 8305 §4), beginning with the resolver's first. Then the address that worked last comes first
/// or, with a turn, all are used in turn. Those that failed recently come last.
pub(super) fn ordered(
    addresses: Vec<SocketAddr>,
    known: &Remembered,
    turn: Option<usize>,
    now: u64,
) -> Vec<SocketAddr> {
    let avoided = |address: &SocketAddr| known.bad.iter().any(|(bad, until)| bad == address && *until > now);
    let (mut all, last): (Vec<_>, Vec<_>) =
        interleaved(addresses).into_iter().partition(|address| !avoided(address));
    match turn {
        Some(turn) => {
            let count = all.len().max(1);
            all.rotate_left(turn % count);
        }
        None => {
            if let Some(place) = all.iter().position(|address| Some(*address) == known.good) {
                all[..=place].rotate_right(1);
            }
        }
    }
    all.extend(last);
    all
}

fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let Some(first) = unique.first().copied() else { return unique };
    let (ours, others): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut all = Vec::new();
    loop {
        let (one, other) = (ours.next(), others.next());
        if one.is_none() && other.is_none() {
            return all;
        }
        all.extend(one);
        all.extend(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let parse = |host: &str| format!("{host}:443").parse().unwrap();
        text.split_whitespace().map(parse).collect()
    }

    fn text(addresses: &[SocketAddr]) -> String {
        let texts = addresses.iter().map(|address| address.to_string().trim_end_matches(":443").to_owned());
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_alternate_beginning_with_the_resolvers_first() {
        for (given, expected) in [
            ("", ""),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1] [::2] 10.0.0.1 10.0.0.2", "[::1] 10.0.0.1 [::2] 10.0.0.2"),
            ("10.0.0.1 10.0.0.2 10.0.0.3 [::1]", "10.0.0.1 [::1] 10.0.0.2 10.0.0.3"),
            ("10.0.0.1 10.0.0.1 [::1] [::1]", "10.0.0.1 [::1]"),
        ] {
            assert_eq!(text(&ordered(addresses(given), &Remembered::default(), None, 0)), expected);
        }
    }

    #[test]
    fn what_worked_last_comes_first_and_what_failed_comes_last_for_a_while() {
        let all = || addresses("[::1] 10.0.0.1 [::2] 10.0.0.2");
        let mut known = Remembered::default();
        known.worked(addresses("10.0.0.2")[0]);
        assert_eq!(text(&ordered(all(), &known, None, 0)), "10.0.0.2 [::1] 10.0.0.1 [::2]");
        known.failed(addresses("[::1]")[0], 0);
        assert_eq!(text(&ordered(all(), &known, None, AVOIDED_FOR - 1)), "10.0.0.2 10.0.0.1 [::2] [::1]");
        assert_eq!(text(&ordered(all(), &known, None, AVOIDED_FOR)), "10.0.0.2 [::1] 10.0.0.1 [::2]");
        known.failed(addresses("10.0.0.2")[0], 0);
        assert_eq!(text(&ordered(all(), &known, None, 1)), "10.0.0.1 [::2] [::1] 10.0.0.2");
        known.worked(addresses("10.0.0.2")[0]);
        assert_eq!(text(&ordered(all(), &known, None, 1)), "10.0.0.2 10.0.0.1 [::2] [::1]");
    }

    #[test]
    fn connections_in_turn_take_each_address_but_those_that_failed() {
        let mut known = Remembered::default();
        known.worked(addresses("10.0.0.3")[0]);
        let first = |known: &Remembered, turn| {
            text(&ordered(addresses("10.0.0.1 10.0.0.2 10.0.0.3"), known, Some(turn), 0)[..1])
        };
        let turns: Vec<_> = (0..4).map(|turn| first(&known, turn)).collect();
        assert_eq!(turns, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]);
        known.failed(addresses("10.0.0.2")[0], 0);
        let turns: Vec<_> = (0..4).map(|turn| first(&known, turn)).collect();
        assert_eq!(turns, ["10.0.0.1", "10.0.0.3", "10.0.0.1", "10.0.0.3"], "the others share evenly");
    }
}
