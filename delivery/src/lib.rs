//! Delivers records to analytics: in the same process ([`LocalSink`]), or in another by gRPC ([`GrpcSink`]).
//!
//! A requester delivers results, a challenge server hits. Neither ever waits here. Records are [numbered] without
//! gaps and sent in batches. What analytics cannot take yet waits in a bounded [intake], then (by gRPC) on a bounded
//! [spool] on disk, or in memory if there is none. Records are lost if there is no room, if analytics refuses them
//! for good, or if they were damaged on disk. Losses are counted, and analytics gets their number and the reason with
//! the next batch.
//!
//! `wec-record` defines records; `wec-analytics` receives them.

mod events;
mod grpc;
mod intake;
mod local;
mod losses;
mod numbered;
mod spool;

use wec_record::{ChainResult, LoadSample, StateCounts, ValidationHit};
use wec_startup::Warnings;

pub use events::{deliver_warnings, event_of};
pub use grpc::{GrpcOptions, GrpcSink, Keep, SinkError};
pub use intake::Entry;
pub use local::LocalSink;

/// Takes records from any thread without waiting, and numbers them.
pub trait Sink: Send + Sync {
    /// Delivers a record. Without room it is dropped: a result or a hit is counted as lost; for other records the
    /// next one has newer figures.
    fn push_entry(&self, entry: Entry);
    /// Counts results or hits that were lost before they could be handed over.
    fn lose(&self, count: u64, why: &str);
    /// The state of the delivery.
    fn health(&self) -> Health;

    /// Delivers a result.
    fn push(&self, result: ChainResult) {
        self.push_entry(Entry::Chain(result));
    }

    /// Delivers the counts of the state and of workers at `at_unix_ns`.
    fn push_state(&self, at_unix_ns: u64, counts: StateCounts) {
        self.push_entry(Entry::State { at_unix_ns, counts });
    }

    /// Delivers targets and results of the load until `at_unix_ns`, and whether the node kept up.
    fn push_load(&self, at_unix_ns: u64, load: LoadSample) {
        self.push_entry(Entry::Load { at_unix_ns, load });
    }

    /// Delivers what this process has warned of since the last call.
    fn push_warnings(&self, warnings: &Warnings) {
        events::entries(warnings).for_each(|entry| self.push_entry(entry));
    }

    /// Delivers a validation hit.
    fn push_hit(&self, hit: ValidationHit) {
        self.push_entry(Entry::Hit(hit));
    }
}

/// The state of a delivery, in results and hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Pushed into the sink.
    pub pushed: u64,
    /// In analytics' log.
    pub delivered: u64,
    /// Waiting in memory, sent or not.
    pub queued: u64,
    /// Waiting on disk.
    pub spooled: u64,
    /// Dropped because there was no room, refused for good, or damaged on disk.
    pub lost: u64,
    /// Why the last of them were lost.
    pub lost_why: Option<String>,
    /// What prevents delivery; none if nothing does.
    pub trouble: Option<String>,
}

impl Health {
    /// How full the queue in memory is, 0 to 1.
    pub fn backlog_share(&self) -> f64 {
        (self.queued as f64 / intake::BOUND as f64).min(1.0)
    }
}
