//! The contract of the state store with chains, on both backends.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use wec_acme::{CaClock, Clock, Order};
use wec_store::{Available, Catalogue, Counts, Limits, Object, State, StateOptions, StoreError};

use crate::claims::two_more_beats_of_each;
use crate::common::{
    CA, Database, authorize, certificate, issue, order, over_both_backends, patient, register, renew,
    stocked, talkative, until,
};

over_both_backends!(
    offers_exactly_what_is_stored,
    keeps_everything_over_a_restart,
    a_steady_load_costs_statements_by_the_flush_and_not_by_the_chain,
    hard_limits_hold_over_two_processes_and_a_restart,
    a_changed_limit_applies_before_the_next_heartbeat,
    a_reservation_that_is_not_spent_goes_back,
    a_forfeited_reservation_counts_as_made,
    objects_of_an_account_that_the_ca_forgot_are_dropped,
    a_serial_of_another_process_is_noticed,
    each_ca_has_a_state_of_its_own,
    a_state_that_is_set_aside_is_listed_separately_and_can_be_deleted,
    expired_objects_cannot_be_claimed,
    orders_that_expired_in_the_store_are_dropped_and_counted,
    a_process_that_slept_past_its_lease_loses_its_claims_but_no_outcome,
    names_are_never_repeated,
    a_resting_object_cannot_be_claimed_before_its_time,
    no_object_of_a_resting_account_can_be_claimed,
    a_report_after_the_end_is_refused_at_once,
    a_newer_database_is_refused_with_both_versions,
    texts_that_a_database_cannot_hold_do_not_stop_the_writing,
);

async fn offers_exactly_what_is_stored(database: &Database) {
    let state = database.open().await;
    let nothing = Available {
        // Not known before a chain has asked.
        exclusive_registrations: true,
        may_register: true,
        may_authorize: true,
        may_certify: true,
        ..Available::default()
    };
    assert_eq!(state.available(), nothing);
    assert!(
        state.registration().is_none()
            && state.claim_order().is_none()
            && state.claim_certificate().is_none()
    );

    let registration = register(&state).await;
    assert_eq!(state.available(), Available { registrations: true, ..nothing });
    authorize(&state, &registration).await;
    assert_eq!(state.available(), Available { registrations: true, orders: true, ..nothing });
    issue(&state, state.claim_order().unwrap()).await;
    assert_eq!(state.available(), Available { registrations: true, certificates: true, ..nothing });
    renew(&state, state.claim_certificate().unwrap()).await;
    assert_eq!(state.counts(), Counts { registrations: 1, certificates: 1, ..Counts::default() });
    state.certificate_revoked(state.claim_certificate().unwrap(), 4).await;
    assert_eq!(state.available(), Available { registrations: true, ..nothing });
    let counts = Counts { registrations: 1, revoked: 1, ..Counts::default() };
    assert_eq!(state.counts(), counts, "before the flush");
    state.flush().await.unwrap();
    assert_eq!(state.counts(), counts, "after the flush");
    state.close().await.unwrap();
}

async fn keeps_everything_over_a_restart(database: &Database) {
    let state = database.open().await;
    let registration = register(&state).await;
    let thumbprint = registration.account.key.thumbprint().to_owned();
    authorize(&state, &registration).await;
    let claim = state.claim_order().unwrap();
    assert_eq!(state.claims(), 1);
    let names = claim.names.clone();
    let new = certificate(&names);
    let (pem, serial) = (new.pem.clone(), new.serial.clone());
    state.order_issued(claim, state.reserve(Object::Certificate).unwrap(), new).await;
    assert_eq!(state.claims(), 0, "a claim ends with its outcome");
    let stored = order("second.wec.test");
    state
        .add_order(state.reserve(Object::Order).unwrap(), &registration, &stored, "shortlived", Some(7))
        .await;
    let counts = state.counts();
    state.close().await.unwrap();

    let state = database.open().await;
    assert_eq!(state.counts(), counts);
    let registration = state.registration().unwrap();
    assert_eq!(registration.account.key.thumbprint(), thumbprint);
    let ready = state.claim_order().unwrap();
    assert_eq!((&ready.url, &ready.finalize_url), (&stored.url, &stored.finalize));
    assert_eq!(ready.names, ["second.wec.test", "192.0.2.7"]);
    assert_eq!(Some(ready.expires_unix), stored.expires_unix());
    assert_eq!(ready.profile, "shortlived");
    assert_eq!(ready.authorize_ns, Some(7));
    assert!(!ready.suspect, "freed by a clean close");
    assert_eq!(ready.registration.id, registration.id);
    let kept = state.claim_certificate().unwrap();
    assert_eq!((&kept.serial, &kept.names), (&serial, &names));
    assert_eq!(kept.pem(), pem);
    assert_eq!((kept.key_pkcs8.len(), kept.leaf_der.as_slice(), kept.suspect), (138, &b"leaf"[..], false));
    assert!(state.claim_order().is_none() && state.claim_certificate().is_none());
}

async fn a_steady_load_costs_statements_by_the_flush_and_not_by_the_chain(database: &Database) {
    // With this lease a beat comes every 15 minutes, so nearly all statements are those of flushes.
    let lease = StateOptions { owner_lease: Duration::from_secs(3600), ..StateOptions::default() };
    let state = database.open_with(lease).await;
    let registration = stocked(&state, 1000).await;
    let before = state.health();
    for chain in 0..2500 {
        // Four chains in each round: 10,000 in total.
        authorize(&state, &registration).await;
        issue(&state, state.claim_order().unwrap()).await;
        renew(&state, state.claim_certificate().unwrap()).await;
        if chain % 2 == 0 {
            state.certificate_revoked(state.claim_certificate().unwrap(), 0).await;
        } else {
            state.certificate_gone(state.claim_certificate().unwrap(), "test").await;
        }
    }
    state.flush().await.unwrap();
    let after = state.health();
    assert_eq!(after.written - before.written, 2500 * 6);
    let (flushes, statements) = (after.flushes - before.flushes, after.statements - before.statements);
    // A flush has at most 27 statements on SQLite (up to 8 steps of an insert for three tables) and fewer on
    // PostgreSQL. A flush comes every 100 ms or at 1024 changes, so it has the changes of many chains.
    assert!(statements <= 40 * flushes + 60, "{statements} statements in {flushes} flushes");
    assert!(flushes < 10_000 / 4, "{flushes} flushes of 10,000 chains");
}

async fn hard_limits_hold_over_two_processes_and_a_restart(database: &Database) {
    let limits = Limits { registrations: Some(3), authorizations: Some(100), certificates: Some(40) };
    let options = StateOptions { limits, ..talkative() };
    let (one, other) = tokio::join!(database.open_with(options), database.open_with(options));
    let (left, over) = (Cell::new(3 + 100 + 40), Cell::new(false));
    let make = async |state: &State| {
        let mut made = [0; 3];
        let made_one = |made: &mut u32| {
            *made += 1;
            left.set(left.get() - 1);
        };
        while !over.get() {
            if let Some(reservation) = state.reserve(Object::Registration) {
                state.add_registration(reservation, &crate::common::account(), &[]).await;
                made_one(&mut made[0]);
            }
            if let Some((registration, reservation)) = state.registration().zip(state.reserve(Object::Order))
            {
                state.add_order(reservation, &registration, &order("a.test"), "", None).await;
                made_one(&mut made[1]);
            }
            if let Some(reservation) = state.reserve(Object::Certificate)
                && let Some(claim) = state.claim_order()
            {
                let new = certificate(&claim.names);
                state.order_issued(claim, reservation, new).await;
                made_one(&mut made[2]);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        made
    };
    // Both continue for two beats after the limits are reached: nothing more may be made.
    let end = async {
        until("the limits are reached", async || left.get() <= 0).await;
        two_more_beats_of_each(database).await;
        over.set(true);
    };
    let both = async { tokio::join!(make(&one), make(&other), end) };
    let (a, b, ()) = tokio::time::timeout(crate::common::BOUND, both).await.expect("the limits are reached");
    assert_eq!([a[0] + b[0], a[1] + b[1], a[2] + b[2]], [3, 100, 40], "{a:?} {b:?}");
    for state in [one, other] {
        let available = state.available();
        assert!(!available.may_register && !available.may_authorize && !available.may_certify);
        state.close().await.unwrap();
    }

    let state = database.open_with(options).await;
    assert!(state.reserve(Object::Order).is_none(), "the limit also counts what was ended");
    let reached = [(Object::Registration, 3), (Object::Order, 100), (Object::Certificate, 40)];
    assert_eq!(state.limits_reached(), reached);
    state.close().await.unwrap();
    let limits = Limits { authorizations: Some(101), ..limits };
    let state = database.open_with(StateOptions { limits, ..options }).await;
    assert_eq!(state.limits_reached(), [reached[0], reached[2]]);
    let one_more = state.reserve(Object::Order);
    assert!(one_more.is_some() && state.reserve(Object::Order).is_none());
}

/// The next heartbeat comes in a quarter of an hour.
async fn a_changed_limit_applies_before_the_next_heartbeat(database: &Database) {
    let options = StateOptions { owner_lease: Duration::from_secs(3_600), ..StateOptions::default() };
    let state = database.open_with(options).await;
    let limit = |registrations| state.set_limits(Limits { registrations, ..Limits::default() });
    for most in [1, 2] {
        limit(Some(most));
        until("one more may be made", async || state.available().may_register).await;
        register(&state).await;
        assert!(!state.available().may_register, "{most}");
    }
    limit(None);
    assert!(state.available().may_register);
}

async fn a_reservation_that_is_not_spent_goes_back(database: &Database) {
    let limits = Limits { registrations: Some(1), ..Limits::default() };
    let options = StateOptions { limits, ..talkative() };
    let state = database.open_with(options).await;
    let reservation = state.reserve(Object::Registration);
    assert!(reservation.is_some() && !state.available().may_register);
    drop(reservation);
    assert!(state.available().may_register);
    let other = database.open_with(options).await;
    assert!(other.reserve(Object::Registration).is_none(), "the other process holds the reservation");
    until("the idle process returns its reservation", async || other.available().may_register).await;
    register(&other).await;
    assert!(state.reserve(Object::Registration).is_none());
}

async fn a_forfeited_reservation_counts_as_made(database: &Database) {
    let limits = Limits { certificates: Some(2), ..Limits::default() };
    let options = StateOptions { limits, ..patient() };
    let state = database.open_with(options).await;
    state.reserve(Object::Certificate).unwrap().forfeit();
    let registration = register(&state).await;
    authorize(&state, &registration).await;
    issue(&state, state.claim_order().unwrap()).await;
    state.flush().await.unwrap();
    assert!(!state.available().may_certify, "one is stored and one may exist at the CA");
    let other = database.open_with(options).await;
    assert!(other.reserve(Object::Certificate).is_none(), "other processes count it, too");
}

async fn objects_of_an_account_that_the_ca_forgot_are_dropped(database: &Database) {
    // A pool of one: the others are only in the database, unclaimed.
    let options = StateOptions { pool: 1, claim_batch: 1, ..patient() };
    let state = database.open_with(options).await;
    let lost = register(&state).await;
    for _ in 0..3 {
        authorize(&state, &lost).await;
        issue(&state, state.claim_order().unwrap()).await;
    }
    for _ in 0..3 {
        authorize(&state, &lost).await;
    }
    let held = state.claim_order().unwrap();
    register(&state).await;
    let other = std::iter::repeat_with(|| state.registration().unwrap()).find(|any| any.id != lost.id);
    let kept = other.unwrap();
    authorize(&state, &kept).await;
    state.flush().await.unwrap();

    state.registration_gone(&lost).await;
    state.registration_gone(&lost).await;
    state.flush().await.unwrap();
    let counts = Counts { registrations: 1, authorizations: 2, ..Counts::default() };
    assert_eq!(state.counts(), counts, "what a chain has claimed is left to the chain");
    state.order_failed(held, "its account is gone").await;
    assert_eq!(state.registration().unwrap().id, kept.id);
    assert_eq!(state.health().registrations_gone, 1);
    state.close().await.unwrap();

    let later = database.open().await;
    assert_eq!(later.registration().unwrap().id, kept.id);
    assert!(later.claim_certificate().is_none());
    assert!(later.claim_order().is_none_or(|order| order.registration.id == kept.id));
}

async fn a_serial_of_another_process_is_noticed(database: &Database) {
    let (one, other) = tokio::join!(database.open(), database.open());
    assert!(
        one.serial_is_new("issuer", "01") && !one.serial_is_new("issuer", "01"),
        "a process knows its own serials at once"
    );
    assert!(other.serial_is_new("issuer", "01"), "other processes know it after the flush");
    for state in [&one, &other] {
        let registration = register(state).await;
        authorize(state, &registration).await;
        let claim = state.claim_order().unwrap();
        let mut new = certificate(&claim.names);
        new.serial = "01".into();
        state.order_issued(claim, state.reserve(Object::Certificate).unwrap(), new).await;
        state.flush().await.unwrap();
    }
    assert_eq!((one.health().duplicate_serials, other.health().duplicate_serials), (0, 1));
    assert!(one.available().certificates && !other.available().certificates);
    // The other process continues to write.
    let registration = other.registration().unwrap();
    authorize(&other, &registration).await;
    issue(&other, other.claim_order().unwrap()).await;
    other.flush().await.unwrap();
    assert_eq!(other.counts().certificates, 2);
}

async fn each_ca_has_a_state_of_its_own(database: &Database) {
    let state = database.open().await;
    stocked(&state, 2).await;
    state.close().await.unwrap();
    let elsewhere =
        State::open(&database.url, "https://other.test/directory", StateOptions::default()).await.unwrap();
    assert_eq!(elsewhere.counts(), Counts::default());
    let available = elsewhere.available();
    assert!(!available.registrations && !available.orders && !available.certificates);
}

async fn a_state_that_is_set_aside_is_listed_separately_and_can_be_deleted(database: &Database) {
    let state = database.open().await;
    stocked(&state, 3).await;
    let newest = state.newest_registrations(2);
    assert!(!newest.is_empty() && newest.windows(2).all(|pair| pair[0].id > pair[1].id));
    state.flush().await.unwrap();
    let counts = state.counts();
    let clock = wec_acme::Clock::start();
    let catalogue = Catalogue::open(&database.url).await.unwrap();
    let [used] = &catalogue.list().await.unwrap()[..] else { panic!("one CA") };
    let stored = (used.registrations, used.authorizations, used.certificates, used.processes);
    assert_eq!((used.directory.as_str(), stored), (CA, (counts.registrations, 3, 3, 1)));
    let refused = catalogue.forget(used).await.unwrap_err();
    assert!(matches!(refused, StoreError::InUse { processes: 1, .. }), "{refused}");
    state.close().await.unwrap();

    let name = catalogue.set_aside(CA, clock).await.unwrap().expect("something was stored");
    assert!(name.starts_with(&format!("{CA} (set aside 20")), "{name}");
    assert_eq!(catalogue.set_aside(CA, clock).await.unwrap(), None, "once");
    let state = database.open().await;
    assert_eq!(state.counts(), Counts::default());
    register(&state).await;
    state.close().await.unwrap();
    let listed = catalogue.list().await.unwrap();
    let shown: Vec<_> = listed.iter().map(|ca| (ca.directory.as_str(), ca.certificates)).collect();
    assert_eq!(shown, [(name.as_str(), 3), (CA, 0)]);

    catalogue.forget(&listed[0]).await.unwrap();
    let [kept] = &catalogue.list().await.unwrap()[..] else { panic!("one CA is left") };
    assert_eq!((kept.directory.as_str(), kept.registrations), (CA, 1));
    assert_eq!(database.open().await.counts().registrations, 1);
    catalogue.close().await;
}

#[tokio::test]
async fn listing_does_not_create_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.sqlite");
    let error = Catalogue::open(&format!("sqlite://{}", file.display())).await.err().unwrap();
    assert!(matches!(error, StoreError::NotThere { .. }), "{error}");
    assert!(error.to_string().contains("--state"), "{error}");
    assert!(!file.exists());
}

async fn expired_objects_cannot_be_claimed(database: &Database) {
    let state = database.open().await;
    let registration = register(&state).await;
    let mut old = order("old.test");
    old.expires = Some("2020-01-01T00:00:00Z".into());
    state.add_order(state.reserve(Object::Order).unwrap(), &registration, &old, "", None).await;
    assert!(state.claim_order().is_none());
    assert_eq!(state.counts().authorizations, 0);
    let mut endless = order("endless.test");
    endless.expires = None;
    state.add_order(state.reserve(Object::Order).unwrap(), &registration, &endless, "", None).await;
    let claim = state.claim_order().unwrap();
    let mut new = certificate(&claim.names);
    new.not_after_unix = 1;
    state.order_issued(claim, state.reserve(Object::Certificate).unwrap(), new).await;
    assert!(state.claim_certificate().is_none());
    state.close().await.unwrap();
    let state = database.open().await;
    assert_eq!(state.counts(), Counts { registrations: 1, ..Counts::default() });
}

/// No chain claims them, so no chain detects that they have expired.
async fn orders_that_expired_in_the_store_are_dropped_and_counted(database: &Database) {
    let state = database.open().await;
    let registration = register(&state).await;
    for name in ["a.test", "b.test", "c.test"] {
        let old = Order { expires: Some("2020-01-01T00:00:00Z".into()), ..order(name) };
        state.add_order(state.reserve(Object::Order).unwrap(), &registration, &old, "", None).await;
    }
    authorize(&state, &registration).await;
    state.close().await.unwrap();
    let state = database.open().await;
    assert_eq!(
        (state.counts().authorizations, state.orders_expired()),
        (4, 0),
        "the CA's clock is not known yet"
    );
    state.follow(&CaClock::new(Clock::start()));
    until("the expired orders are dropped", async || state.orders_expired() == 3).await;
    assert_eq!(state.counts().authorizations, 1);
    assert!(state.claim_order().is_some());
    state.close().await.unwrap();
}

async fn a_report_after_the_end_is_refused_at_once(database: &Database) {
    let state = database.open_with(StateOptions { queue: 1, ..StateOptions::default() }).await;
    let late = state.clone();
    state.close().await.unwrap();
    for _ in 0..5 {
        register(&late).await;
    }
    let error = late.flush().await.unwrap_err();
    assert!(matches!(error, StoreError::WriterGone { .. }), "{error}");
    late.close().await.unwrap();
    assert_eq!(database.open().await.counts(), Counts::default());
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

async fn a_resting_object_cannot_be_claimed_before_its_time(database: &Database) {
    let state = database.open().await;
    let registration = stocked(&state, 2).await;
    state.claim_order().unwrap().rest(LONG);
    state.claim_certificate().unwrap().rest(LONG);
    assert_eq!(state.health().resting, 2);
    let (order, certificate) = (state.claim_order().unwrap(), state.claim_certificate().unwrap());
    assert!(state.claim_order().is_none() && state.claim_certificate().is_none());
    assert!(!order.suspect && !certificate.suspect);
    order.rest(Duration::ZERO);
    certificate.rest(Duration::from_millis(1));
    until("both have rested", async || state.available().orders && state.available().certificates).await;
    assert!(!state.claim_order().unwrap().suspect && !state.claim_certificate().unwrap().suspect);

    // One of several accounts rests and is used again afterwards.
    register(&state).await;
    state.rest_registration(&registration, LONG);
    for _ in 0..50 {
        assert_ne!(state.registration().unwrap().id, registration.id);
    }
    let last = state.registration().unwrap();
    state.rest_registration(&last, Duration::from_millis(300));
    assert!(state.registration().is_none_or(|back| back.id == last.id));
    until("it has rested", async || state.available().registrations).await;
    assert_eq!(state.registration().unwrap().id, last.id);

    // A rest is known to this process only and ends with it.
    state.close().await.unwrap();
    let state = database.open().await;
    assert_eq!(state.health().resting, 0);
    let claims: Vec<_> = std::iter::from_fn(|| state.claim_order()).collect();
    assert_eq!(claims.len(), 2);
}

async fn no_object_of_a_resting_account_can_be_claimed(database: &Database) {
    let state = database.open().await;
    let resting = stocked(&state, 3).await;
    let order = state.claim_order().unwrap();
    register(&state).await;
    state.rest_registration(&resting, LONG);
    assert!(state.claim_order().is_none() && state.claim_certificate().is_none());
    assert_eq!(state.health().resting, 6, "the account, its two orders and its three certificates");
    issue(&state, order).await;
    assert!(state.claim_certificate().is_none(), "it belongs to the resting account");
    let other = state.registration().unwrap();
    authorize(&state, &other).await;
    let order = state.claim_order().unwrap();
    assert_eq!(order.registration.id, other.id);
    issue(&state, order).await;
    assert_eq!(state.claim_certificate().unwrap().registration.id, other.id);
}

async fn names_are_never_repeated(database: &Database) {
    let (one, other) = tokio::join!(database.open(), database.open());
    let mut names = HashSet::new();
    for state in [&one, &other] {
        names.extend((0..1000).map(|_| state.unique_name("wec.test")));
    }
    one.close().await.unwrap();
    let again = database.open().await;
    names.extend((0..1000).map(|_| again.unique_name("wec.test")));
    assert_eq!(names.len(), 3000);
}

async fn texts_that_a_database_cannot_hold_do_not_stop_the_writing(database: &Database) {
    let state = database.open().await;
    let registration = register(&state).await;
    let mut odd = order("nul.test");
    odd.url.push('\0');
    state.add_order(state.reserve(Object::Order).unwrap(), &registration, &odd, "", None).await;
    state.flush().await.unwrap();
    let claim = state.claim_order().unwrap();
    state.order_failed(claim, &"\0 ß \"quoted\" ".repeat(1000)).await;
    state.flush().await.unwrap();
    assert_eq!(state.counts().authorizations, 0);
    state.close().await.unwrap();
}

async fn a_process_that_slept_past_its_lease_loses_its_claims_but_no_outcome(database: &Database) {
    let sleeper = database.open().await;
    stocked(&sleeper, 10).await;
    let (order, certificate) = (sleeper.claim_order().unwrap(), sleeper.claim_certificate().unwrap());
    let abandoned = sleeper.claim_order().unwrap();
    let first_owner = sleeper.owner();
    // Another process does this when a lease has expired.
    database
        .execute(
            "DELETE FROM owners; UPDATE orders SET owner = NULL, suspect = TRUE WHERE state = 0; \
             UPDATE certificates SET owner = NULL, suspect = TRUE WHERE state = 0;",
        )
        .await;
    let heir = database.open().await;
    let inherited = heir.claim_order().unwrap();
    assert!(inherited.suspect);
    assert_eq!(heir.counts().authorizations, 10);

    issue(&sleeper, order).await;
    sleeper.certificate_revoked(certificate, 1).await;
    sleeper.flush().await.unwrap();
    assert_eq!(sleeper.health().expulsions, 1);
    assert_ne!(sleeper.owner(), first_owner);
    let counts = Counts { registrations: 1, authorizations: 9, certificates: 10, revoked: 1 };
    assert_eq!(sleeper.counts(), counts, "reported changes are stored");
    drop(abandoned);
    assert!(sleeper.claim_order().is_none(), "the other process has its claims");
    authorize(&sleeper, &sleeper.registration().unwrap()).await;
    assert!(sleeper.claim_order().is_some(), "it can claim again");
}

async fn a_newer_database_is_refused_with_both_versions(database: &Database) {
    database.open().await.close().await.unwrap();
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
             SELECT 7, 'future', installed_on, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let error = State::open(&database.url, CA, StateOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 6, .. }), "{error}");
    assert!(error.to_string().contains("version 7, this program reads 6; use the newer program"), "{error}");
}
