//! The wire contract between requesters, challenge servers and analytics.
//!
//! Generated from `proto/wec/`; only the contract lives here. What the fields mean is said there and in
//! `wec-record`, which converts.

/// Delivery of results: `wec.results.v1`.
pub mod results {
    #![allow(missing_docs, clippy::all, reason = "generated code")]
    tonic::include_proto!("wec.results.v1");
}
