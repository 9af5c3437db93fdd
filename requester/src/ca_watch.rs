//! Observes what no single answer shows: that the CA stops answering, and that ready orders expire.

use std::time::Duration;

use wec_acme::{CaClock, Silence};
use wec_record::{CaSample, Silent};

/// After this time without any answer a run reports it at once.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(10);

/// What has been reported.
#[derive(Debug, Default)]
pub(crate) struct CaWatch {
    /// If the CA does not answer: the number of answers before.
    silent: Option<u64>,
    orders_expired: u64,
}

/// Observations of one second.
pub(crate) struct Seen<'a> {
    /// Ready orders dropped as expired since the start.
    pub(crate) orders_expired: u64,
    pub(crate) ca_clock: &'a CaClock,
    /// No answer for at least [`SILENT_AFTER`].
    pub(crate) silence: Option<Silence>,
    /// Number of answers. Without requests there is neither an answer nor a silence.
    pub(crate) answers: u64,
}

impl CaWatch {
    /// The CA's part of the sample, once a second; start and end of a silence are logged.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) -> CaSample {
        let ahead_s = seen.ca_clock.ahead();
        if seen.orders_expired > 0 && self.orders_expired == 0 {
            tracing::warn!("{}", expired(seen.orders_expired, ahead_s));
        }
        self.orders_expired = seen.orders_expired;
        let ours = seen.ca_clock.ours();
        let silent = seen.silence.map(|silence| Silent {
            since_unix_ns: ours.origin_unix_ns().saturating_add(silence.since),
            in_flight: silence.in_flight,
        });
        let turned = match (self.silent, silent) {
            (None, Some(_)) => {
                self.silent = Some(seen.answers);
                Some(true)
            }
            (Some(before), None) if seen.answers > before => {
                self.silent = None;
                Some(false)
            }
            _ => None,
        };
        match (turned, seen.silence) {
            (Some(true), Some(silence)) => {
                let seconds = ours.now().saturating_sub(silence.since) / 1_000_000_000;
                tracing::warn!(
                    "no answer from the CA for {seconds} s, {} requests are in flight: check that it is running and reachable",
                    silence.in_flight
                );
            }
            (Some(false), _) => tracing::warn!("the CA answers again"),
            _ => {}
        }
        CaSample { orders_expired: seen.orders_expired, clock_ahead_s: ahead_s, silent, turned }
    }
}

/// The message when the first ready orders are dropped, with the remedy.
fn expired(orders: u64, ahead_s: Option<i64>) -> String {
    let orders =
        if orders == 1 { "1 ready order was".to_owned() } else { format!("{orders} ready orders were") };
    let clock = wec_record::clock_ahead(ahead_s);
    format!(
        "{orders} dropped as expired: {clock}. The CA's clock decides: if both clocks agree, orders waited too long, so give the \
         certificate chain more weight or the authorization chain less; otherwise correct the wrong clock"
    )
}

#[cfg(test)]
mod tests {
    use wec_acme::Clock;

    use super::*;

    #[test]
    fn a_silence_is_reported_once_and_its_end_once() {
        let ca_clock = CaClock::new(Clock::start());
        let mut watch = CaWatch::default();
        let mut look = |(silence, answers)| {
            watch.look(&Seen { orders_expired: 0, ca_clock: &ca_clock, silence, answers }).turned
        };
        let silence = Some(Silence { since: 5, in_flight: 3 });
        assert_eq!(
            [(None, 7), (silence, 7), (silence, 7), (None, 9), (None, 9)].map(&mut look),
            [None, Some(true), None, Some(false), None]
        );
        // Without requests there can be no answer.
        assert_eq!(
            [(silence, 9), (None, 9), (None, 9), (None, 10)].map(&mut look),
            [Some(true), None, None, Some(false)]
        );
    }

    #[test]
    fn expired_orders_are_reported_with_the_difference_of_the_clocks() {
        assert!(
            expired(239, Some(7_200))
                .starts_with("239 ready orders were dropped as expired: the CA's clock is 2h ahead of ours")
        );
        assert!(
            expired(1, Some(-90))
                .starts_with("1 ready order was dropped as expired: the CA's clock is 1m 30s behind ours")
        );
        assert!(expired(2, Some(0)).contains("the CA's clock agrees with ours"));
        assert!(expired(2, None).contains("the CA's clock is not known"));
    }
}
