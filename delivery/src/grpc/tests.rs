//! A pump without a network: its outbox, and what becomes of the records.

use wec_record::{ChainResult, LoadSample};

use super::*;

/// A pump that keeps at most `most` records in memory, and its intake.
fn pump(most: usize) -> (Pump, Arc<Intake>) {
    let endpoint = Endpoint::from_static("http://127.0.0.1:1");
    let pumps = Pumps { endpoint, token: None, tls: None, most_in_memory: Some(most), pumps: Vec::new() };
    let intake = Arc::<Intake>::default();
    let owner = Owner { sender: "c1".to_owned(), node: "here".to_owned(), header: String::new() };
    let made =
        Made { intake: Some(Arc::clone(&intake)), run: String::new(), numbering: Numbering::default() };
    (pumps.pump(Spool::nowhere(owner), made, Arc::default(), Clock::start()), intake)
}

fn add(pump: &mut Pump, intake: &Intake, results: usize) {
    (0..results).for_each(|_| intake.push(Entry::Chain(ChainResult::default())));
    pump.collect();
}

/// Numbers of the first entries in the outbox, and the losses reported in it.
fn kept(pump: &Pump) -> (Vec<u64>, Vec<(u64, String)>) {
    let batches: Vec<_> =
        pump.outbox.iter().map(|parcel| wire::Batch::decode(&*parcel.frame.bytes).unwrap()).collect();
    let losses = batches.iter().flat_map(|batch| &batch.entries).filter_map(|entry| match &entry.entry {
        Some(wire::entry::Entry::Lost(lost)) => Some((lost.count, lost.why.clone())),
        _ => None,
    });
    (batches.iter().map(|batch| batch.first_seq).collect(), losses.collect())
}

fn health(pump: &Pump) -> Health {
    pump.tell();
    pump.told.lock().unwrap().clone()
}

#[test]
fn a_new_stream_starts_with_the_first_batch_that_was_not_acknowledged() {
    let (mut pump, intake) = pump(100);
    (0..3).for_each(|_| add(&mut pump, &intake, 2));
    pump.sent = 3;
    assert!(pump.acknowledge(2));
    pump.lose(&mut Connection::Waiting(Instant::now()), "refused");
    assert_eq!((kept(&pump).0, pump.sent), (vec![3, 5], 0));
    assert_eq!((health(&pump).delivered, health(&pump).queued), (2, 4));
    assert_eq!(health(&pump).trouble.as_deref(), Some("refused"));
}

#[test]
fn acknowledging_again_or_half_a_batch_changes_nothing() {
    let (mut pump, intake) = pump(100);
    (0..2).for_each(|_| add(&mut pump, &intake, 2));
    pump.sent = 2;
    assert!(pump.acknowledge(3));
    assert!(!pump.acknowledge(3));
    assert!(!pump.acknowledge(2));
    assert_eq!(kept(&pump).0, [3]);
}

#[test]
fn refused_records_are_reported_as_lost_with_the_reason() {
    let (mut pump, intake) = pump(100);
    let mut connection = Connection::Waiting(Instant::now());
    (0..3).for_each(|_| add(&mut pump, &intake, 2));
    pump.sent = 3;
    pump.refused(&mut connection, "too large");
    assert_eq!(
        (kept(&pump).0.len(), pump.cautious),
        (3, true),
        "it is not known yet which of them was refused"
    );
    pump.sent = 1;
    pump.refused(&mut connection, "too large");
    pump.collect();
    let why = "analytics refuses them permanently: too large";
    assert_eq!(kept(&pump), (vec![3, 5, 7], vec![(2, why.to_owned())]));
    assert_eq!((health(&pump).lost, health(&pump).lost_why.as_deref()), (2, Some(why)));
}

#[test]
fn records_without_room_are_counted_and_reported_in_their_place() {
    let (mut pump, intake) = pump(4);
    (0..3).for_each(|_| add(&mut pump, &intake, 2));
    intake.lose(10, "elsewhere");
    pump.collect();
    let full = "4 records waited in memory already";
    assert_eq!((health(&pump).queued, health(&pump).lost), (4, 12));
    assert_eq!(health(&pump).trouble.as_deref(), Some(full));
    pump.sent = 2;
    pump.acknowledge(4);
    add(&mut pump, &intake, 1);
    let losses = vec![(2, full.to_owned()), (10, "elsewhere".to_owned())];
    assert_eq!(kept(&pump), (vec![5], losses));
}

#[test]
fn a_record_that_is_no_result_is_sent_and_not_counted() {
    let (mut pump, intake) = pump(4);
    intake.push(Entry::Load { at_unix_ns: 1, load: LoadSample::default() });
    pump.collect();
    assert_eq!((kept(&pump).0, health(&pump).queued), (vec![1], 0));
}

#[test]
fn records_in_memory_are_kept_at_the_end() {
    let (mut pump, intake) = pump(4);
    add(&mut pump, &intake, 3);
    pump.leave();
    assert_eq!((health(&pump).queued, health(&pump).spooled, health(&pump).lost), (3, 0, 0));
}
