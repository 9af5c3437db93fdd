//! The wire protocol between requesters, challenge servers and analytics.
//!
//! Generated from `proto/wec/`. The meaning of the fields is documented there and in `wec-record`, which converts.

/// Delivery of results: `wec.results.v1`.
pub mod results {
    #![allow(missing_docs, clippy::all, reason = "generated code")]
    tonic::include_proto!("wec.results.v1");
}
