//! The wire protocol between requesters, challenge servers and analytics.
//!
//! Generated from `proto/wec/`. The meaning of the fields is documented there and in `wec-record`, which converts.

/// Delivery of results: `wec.results.v1`.
pub mod results {
    #![allow(missing_docs, clippy::all, reason = "generated code")]
    tonic::include_proto!("wec.results.v1");
}

/// The binary log: `wec.log.v1`. It refers to [`results`], so it has the modules of the packages around it.
mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    pub mod results {
        pub use crate::results as v1;
    }
    pub mod log {
        pub mod v1 {
            tonic::include_proto!("wec.log.v1");
        }
    }
}
pub use generated::log::v1 as log;
