//! Passes hits to a sink, which delivers them to analytics.
//!
//! Nothing here delays an answer to the CA: hits come through a bounded channel, and the sink never waits.

use std::time::Duration;

use tokio::time::sleep;
use wec_delivery::Sink;
use wec_record::ValidationHit;

use crate::hits::HitStream;

/// Hits gather for this long: a wake-up per hit would cost more than the hit.
const GATHER: Duration = Duration::from_millis(50);
const AT_ONCE: usize = 1024;

/// Passes every hit until the challenge server has ended and all were read. Their times are the board's, which this
/// machine's clock is `ahead_ns` ahead of.
pub async fn deliver(mut hits: HitStream, sink: &dyn Sink, ahead_ns: impl Fn() -> i64) {
    let mut read = Vec::new();
    while hits.recv_many(&mut read, AT_ONCE).await > 0 {
        let all = read.len() < AT_ONCE;
        let behind_ns = ahead_ns().saturating_neg();
        for hit in read.drain(..) {
            sink.push_hit(ValidationHit {
                at_unix_ns: hit.at_unix_ns.saturating_add_signed(behind_ns),
                ..hit
            });
        }
        report_loss(&hits, sink);
        if all && !hits.has_ended() {
            sleep(GATHER).await;
        }
    }
    report_loss(&hits, sink);
}

fn report_loss(hits: &HitStream, sink: &dyn Sink) {
    sink.lose(hits.take_lost(), "validations arrived faster than they could be delivered");
}
