//! How the client of a chain behaves: properly, or in one of the ways that burden CAs.
//!
//! The behaviour is part of the [`Trace`](crate::Trace); each place where clients differ reads it there. Every
//! repetition has a bound, so that no behaviour floods the CA.

use std::time::Duration;

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Polls of one object without a wait.
pub(crate) const MOST_HASTY_POLLS: u32 = 200;
/// Retries of one request without a wait.
pub(crate) const MOST_HOT_RETRIES: u32 = 10;
/// Octets that a slow reader takes at a time.
pub(crate) const SLOW_OCTETS: usize = 64;
/// The pause of a slow reader after them.
pub(crate) const SLOW_PAUSE: Duration = Duration::from_millis(20);
/// Downloads of a certificate by a client that repeats them.
pub const DOWNLOADS: u32 = 5;
/// Most requests after which a client abandons its chain.
pub const MOST_STEPS: u8 = 8;

/// How the client of one chain behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Behaviour {
    /// As the standards ask.
    #[default]
    Proper,
    /// Polls without waiting, at most 200 times for an object.
    HastyPolls,
    /// Waits its own interval between polls, and repeats a refused request at once.
    IgnoresRetryAfter,
    /// A new connection, with a full TLS handshake, for every request.
    NewConnections,
    /// Reads 64 octets of an answer every 20 ms, on a connection of its own for every request.
    SlowReader,
    /// Ends its chain after one to eight requests.
    Abandons,
    /// Downloads its certificate five times.
    DownloadsAgain,
    /// Repeats a failed request at once, ten times.
    HotRetries,
}

wec_record::closed_set!(Behaviour, "a behaviour of clients");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name() {
        for behaviour in Behaviour::ALL {
            assert_eq!(behaviour.to_string().parse(), Ok(behaviour));
        }
        assert!("rude".parse::<Behaviour>().unwrap_err().contains("proper, hasty-polls"));
    }
}
