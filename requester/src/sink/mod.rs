//! Where results go: into analytics of the same process ([`LocalSink`]), or of another by gRPC ([`GrpcSink`]).
//!
//! A worker hands over a result and goes on; nothing here ever makes it wait. What analytics cannot take yet waits
//! in a bounded queue, then (by gRPC) in a bounded spool on disk, and only then is dropped: counted, and told to
//! analytics as soon as it can be told anything.

mod grpc;
mod intake;
mod local;
mod spool;

use wec_record::{ChainResult, LoadSample, StateCounts};

pub use grpc::{GrpcOptions, GrpcSink, SinkError};
pub use local::LocalSink;

/// Takes results from any thread, at once.
pub trait Sink: Send + Sync {
    /// Hands over a result. Its `seq` is set on the way.
    fn push(&self, result: ChainResult);
    /// Hands over what is stored and running at `at_unix_ns`.
    fn push_state(&self, at_unix_ns: u64, counts: StateCounts);
    /// Hands over what was asked for and done until `at_unix_ns`, and whether the node kept up. Where there is no room it is
    /// dropped uncounted: the next one says as much.
    fn push_load(&self, at_unix_ns: u64, load: LoadSample);
    /// How delivery is doing.
    fn health(&self) -> Health;
}

/// How delivery is doing, in results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Handed over by workers.
    pub pushed: u64,
    /// In analytics' log.
    pub delivered: u64,
    /// Waiting in memory, sent or not.
    pub queued: u64,
    /// Waiting on disk.
    pub spooled: u64,
    /// Dropped because there was no room left.
    pub lost: u64,
    /// What keeps results from being delivered; none while they are.
    pub trouble: Option<String>,
}

impl Health {
    /// How full the queue in memory is, 0 to 1.
    pub fn backlog_share(&self) -> f64 {
        (self.queued as f64 / intake::BOUND as f64).min(1.0)
    }
}
