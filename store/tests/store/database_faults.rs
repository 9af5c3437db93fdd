//! Databases that cannot be used, and databases that fail during a run.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sqlx::Connection as _;
use wec_store::{Object, State, StateOptions, StoreError};
use wec_testbed::{Postgres, free_address};

use crate::common::{BOUND, CA, Database, authorize, certificate, register, stocked, talkative, until};

async fn refusal(url: &str) -> StoreError {
    State::open(url, CA, StateOptions::default()).await.unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "these are my notes, and they are longer than a header of SQLite's".repeat(20))
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = refusal(&format!("sqlite://{}", file.display())).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt is not an SQLite database; name another file"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_named() {
    let error = refusal("sqlite:///nonexistent/wec/state.db").await;
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/wec/state.db"), "{error}");
}

/// Happens when two processes open a new file at the same moment: SQLite refuses the change to WAL while another
/// process is about to write, without waiting for its busy timeout.
#[tokio::test]
async fn waits_for_another_process_that_is_creating_the_file() {
    let database = Database::sqlite();
    let options = database.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().create_if_missing(true);
    let mut writer = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let writing = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let mut opening = pin!(State::open(&database.url, CA, StateOptions::default()));
    // SQLite's answers and the retry timer wake the task: after this many wakes it has been refused and has tried again.
    let mut woken = 0;
    let tried_again = poll_fn(|context| {
        woken += 1;
        match opening.as_mut().poll(context) {
            Poll::Pending if woken < 50 => Poll::Pending,
            polled => Poll::Ready(polled.is_pending()),
        }
    });
    assert!(tokio::time::timeout(BOUND, tried_again).await.expect("it tries again"), "it waits");
    writing.rollback().await.unwrap();
    opening.await.unwrap();
}

#[tokio::test]
async fn a_database_that_may_not_be_written_says_what_to_do() {
    let database = Database::sqlite();
    database.open().await.close().await.unwrap();
    let error = refusal(&format!("{}?mode=ro", database.url)).await.to_string();
    assert!(
        error.contains("readonly") && error.contains("make the file and its directory writable"),
        "{error}"
    );
}

#[tokio::test]
async fn a_postgresql_that_cannot_be_used_is_named_without_its_password() {
    let server = Postgres::start().await.unwrap();
    let right = server.create_database("state").await.unwrap();
    let wrong_password = right.replace(":secret@", ":s3cret@");
    let wrong_database = right.replace("/state", "/nowhere");
    let nobody = format!("postgres://wec:s3cret@{}/state", free_address());
    for (url, says) in [
        (&wrong_password, "refused the login: password authentication failed"),
        (&wrong_database, "refused the login: database \"nowhere\" does not exist"),
        (&nobody, "does not answer"),
    ] {
        let error = refusal(url).await.to_string();
        assert!(error.contains(says) && error.contains("postgres://wec:***@127.0.0.1:"), "{error}");
        assert!(!error.contains("secret") && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn an_outage_delays_changes_and_loses_none() {
    let mut server = Postgres::start().await.unwrap();
    let url = server.create_database("state").await.unwrap();
    let options = StateOptions { queue: 50, ..StateOptions::default() };
    let state = State::open(&url, CA, options).await.unwrap();
    let registration = stocked(&state, 1).await;
    let before = state.counts();
    server.kill().unwrap();
    let load = tokio::spawn({
        let state = state.clone();
        async move {
            for _ in 0..300 {
                authorize(&state, &registration).await;
            }
        }
    });
    until("the outage shows", async || state.health().failing.is_some()).await;
    until("chains wait", async || state.health().waits > 0).await;
    let health = state.health();
    assert!(health.queued <= 51, "the queue is bounded: {}", health.queued);
    assert!(!load.is_finished());
    assert!(state.flush().await.unwrap_err().to_string().contains("postgres://wec:***@"));

    server.restart().await.unwrap();
    tokio::time::timeout(BOUND, load).await.unwrap().unwrap();
    until("everything is written", async || state.health().queued == 0).await;
    until("all is well", async || state.health().failing.is_none()).await;
    assert_eq!(state.counts().authorizations, before.authorizations + 300);
    assert_eq!(state.health().expulsions, 0);
    state.close().await.unwrap();
    let stored = server
        .execute("state", "SELECT count(*) FROM orders WHERE state = 0 AND owner IS NULL")
        .await
        .unwrap();
    assert_eq!(stored, "301");
}

#[tokio::test]
async fn changes_that_cannot_be_written_before_the_end_are_counted() {
    let mut server = Postgres::start().await.unwrap();
    let url = server.create_database("state").await.unwrap();
    let options = StateOptions { owner_lease: Duration::from_secs(1), ..StateOptions::default() };
    let state = State::open(&url, CA, options).await.unwrap();
    register(&state).await;
    state.flush().await.unwrap();
    server.kill().unwrap();
    register(&state).await;
    let error = state.close().await.unwrap_err();
    assert!(matches!(error, StoreError::Unwritten { changes: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_process_that_cannot_renew_its_lease_grants_no_claims() {
    let database = Database::sqlite();
    let state = database.open_with(talkative()).await;
    stocked(&state, 5).await;
    let mut blocker = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
    let claim = state.claim_order().unwrap();
    let reservation = state.reserve(Object::Certificate).unwrap();
    let lock = blocker.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let new = certificate(&claim.names);
    state.order_issued(claim, reservation, new).await;
    until("it is fenced", async || state.health().fenced).await;
    assert!(state.claim_order().is_none() && state.claim_certificate().is_none());
    assert_eq!(state.available(), wec_store::Available::default());
    lock.rollback().await.unwrap();
    until("it is back", async || !state.health().fenced).await;
    state.flush().await.unwrap();
    assert_eq!((state.counts().authorizations, state.counts().certificates), (4, 6));
    assert!(state.claim_order().is_some());
}

#[tokio::test]
async fn dropping_the_last_clone_writes_what_is_queued() {
    let database = Database::sqlite();
    let state = database.open().await;
    let registration = register(&state).await;
    authorize(&state, &registration).await;
    drop((state.clone(), state));
    let next = database.open_with(talkative()).await;
    until("the claims are freed", async || next.available().orders).await;
    assert!(!next.claim_order().unwrap().suspect, "as a clean close does");
}
