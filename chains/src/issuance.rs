//! Time of one issuance, from newOrder to the certificate, over the chains that take part in it.
//!
//! | chain | its part |
//! | --- | --- |
//! | authorization | newOrder due → order ready; stored with the ready order in the state store |
//! | certificate | finalize due → certificate; added to the part of the order's authorization chain |
//! | refresh | newOrder due → certificate, without keys and CSR |
//!
//! So neither the time for which a ready order is stored nor the time for the load tester's keys is included.
//! A request is due when its chain has everything to send it, so waits for a nonce and a connection are
//! included.

use wec_acme::{Endpoint, Exchange};

/// The part of an issuance that a chain with a certificate did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssuancePart {
    /// All of it.
    Whole,
    /// From finalize on, with the time in which another chain made the order ready, nanoseconds; none where
    /// that was not measured.
    Finalization(Option<u64>),
}

/// The authorization chain's time for the order, to be called when the order has become ready.
pub(crate) fn authorized(exchanges: &[Exchange]) -> Option<u64> {
    since(Endpoint::NewOrder, exchanges)
}

/// The time of the whole issuance, for a chain that has a certificate. None when a part was not measured.
pub(crate) fn whole(part: IssuancePart, exchanges: &[Exchange], keygen: u64) -> Option<u64> {
    match part {
        IssuancePart::Whole => Some(since(Endpoint::NewOrder, exchanges)?.saturating_sub(keygen)),
        IssuancePart::Finalization(authorized) => {
            Some(authorized?.saturating_add(since(Endpoint::Finalize, exchanges)?))
        }
    }
}

/// From when the first request to `endpoint` was due to the last answer.
fn since(endpoint: Endpoint, exchanges: &[Exchange]) -> Option<u64> {
    let first = exchanges.iter().find(|exchange| exchange.endpoint == endpoint)?;
    Some(exchanges.last()?.done.saturating_sub(first.due))
}
