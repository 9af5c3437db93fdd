//! How long one issuance took, from newOrder to the certificate, over the chains that did its parts.
//!
//! | chain | its part |
//! | --- | --- |
//! | authorization | newOrder due → order ready; kept with the ready order in the state store |
//! | certificate | finalize due → certificate; added to the part of the order's authorization chain |
//! | refresh | newOrder due → certificate, keys and CSR left out |
//!
//! So the time in which a ready order lies in the store is in none of them, and neither is what the load tester spends on keys. A request
//! is due when its chain has all that it needs to send it: waiting for a nonce and a connection counts.

use wec_acme::{Endpoint, Exchange};

/// Which part of an issuance a chain did that ended with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From finalize on, of an order that another chain made ready in so many nanoseconds; none where that was not measured.
    Finalization(Option<u64>),
}

/// What the authorization chain did for the order: to be asked when the order has become ready.
pub(crate) fn authorized(exchanges: &[Exchange]) -> Option<u64> {
    since(Endpoint::NewOrder, exchanges)
}

/// The whole issuance of a chain that has a certificate. None when a part was not measured.
pub(crate) fn whole(part: Part, exchanges: &[Exchange], keygen: u64) -> Option<u64> {
    match part {
        Part::Whole => Some(since(Endpoint::NewOrder, exchanges)?.saturating_sub(keygen)),
        Part::Finalization(authorized) => {
            Some(authorized?.saturating_add(since(Endpoint::Finalize, exchanges)?))
        }
    }
}

/// From when the first request to `endpoint` was due until the last answer.
fn since(endpoint: Endpoint, exchanges: &[Exchange]) -> Option<u64> {
    let first = exchanges.iter().find(|exchange| exchange.endpoint == endpoint)?;
    Some(exchanges.last()?.done.saturating_sub(first.due))
}
