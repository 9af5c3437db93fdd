//! Chain results as a requester makes them. `examples/durability.rs` writes them, too.

use wec_record::{Chain, ChainResult, Phases, Record, RequestResult};

/// Wall clock of the nodes' clock origin.
pub(crate) const START: u64 = 1_795_254_960_000_000_000;

/// The times of its requests follow each other.
pub(crate) fn chain(seq: u64, requests: u64) -> Record {
    let started = 1_000_000 * seq;
    let mut before = started;
    let noise = |place: u64| seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(place as u32 * 7) % 10_000;
    let requests: Vec<_> = (0..requests)
        .map(|place| {
            let due = before + noise(place);
            let (sent, done) = (due + 30_000 + noise(place + 3), due + 7_000_000 + 100 * noise(place + 5));
            let request = RequestResult {
                uri: "/order/{id}".into(),
                took: done - due,
                successful: true,
                endpoint: "order".into(),
                method: "POST".into(),
                status: 200,
                bytes_sent: 521,
                bytes_received: 318,
                due,
                sent,
                done,
                reused: true,
                address: "127.0.0.1:39931".into(),
                nonce_age: if place == 0 { 4_000 + noise(9) } else { sent - before },
                phases: Phases { first_byte: done - sent - 3_000, ..Phases::default() },
                ..RequestResult::default()
            };
            before = done;
            request
        })
        .collect();
    let done = before + 2_000;
    let result = ChainResult {
        seq,
        worker: (seq % 50) as u32,
        chain: Some(Chain::ALL[(seq % Chain::ALL.len() as u64) as usize]),
        successful: true,
        took: done - started,
        due: started,
        started,
        done,
        scenario: "default".to_owned(),
        requests,
        ..ChainResult::default()
    };
    Record::Chain { node: "r1".to_owned(), origin_unix_ns: START, result }
}
