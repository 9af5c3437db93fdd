//! The writer against a fake InfluxDB: versions, logins, outages, refusals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wec_consumer::{FieldValue, Influx, Login, Point, Writer};

use crate::common::{Fake, endpoint, until, v1};

fn point(number: u64) -> Point {
    Point {
        measurement: "load_testing",
        tags: BTreeMap::new(),
        fields: BTreeMap::from([("n".to_owned(), FieldValue::Count(number))]),
        at_unix_ns: number,
    }
}

#[tokio::test]
async fn a_missing_database_of_1_x_is_created() {
    let created = AtomicBool::new(false);
    let database = Fake::start(move |request| {
        if request.target.starts_with("/query") {
            created.store(true, Ordering::Relaxed);
            return (200, "{\"results\":[{\"statement_id\":0}]}".to_owned());
        }
        if created.load(Ordering::Relaxed) {
            (204, String::new())
        } else {
            (404, "database not found".to_owned())
        }
    })
    .await;
    let login = Login::V1 {
        database: "load \"tests\"".to_owned(),
        user: Some(("writer".to_owned(), "s3cret".to_owned())),
    };
    let writer = Writer::start(Influx::new(endpoint(&database.url()), login).unwrap(), 10);
    writer.push([point(1)]);
    let counts = writer.finish(Duration::from_secs(60)).await;
    assert_eq!((counts.written, counts.dropped), (1, 0));
    let received = database.received();
    let targets: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/write?db=load+%22tests%22&precision=n",
            "/query?q=CREATE+DATABASE+%22load+%5C%22tests%5C%22%22",
            "/write?db=load+%22tests%22&precision=n",
        ]
    );
    // writer:s3cret in base64; never in the URL.
    assert!(received.iter().all(|request| request.authorization == "Basic d3JpdGVyOnMzY3JldA=="));
    assert_eq!(received[2].body, "load_testing n=1i 1");
}

#[tokio::test]
async fn version_2_has_its_own_path_and_token() {
    let database = Fake::start(|_| (204, String::new())).await;
    let login = Login::V2 { org: "my org".to_owned(), bucket: "runs".to_owned(), token: "t0k3n".to_owned() };
    let influx = Influx::new(endpoint(&format!("{}/behind/", database.url())), login).unwrap();
    assert!(!format!("{influx:?}").contains("t0k3n"));
    let writer = Writer::start(influx, 10);
    writer.push([point(1), point(2)]);
    assert_eq!(writer.finish(Duration::from_secs(60)).await.written, 2);
    let received = database.received();
    assert_eq!(received[0].target, "/behind/api/v2/write?org=my+org&bucket=runs&precision=ns");
    assert_eq!(received[0].authorization, "Token t0k3n");
    assert_eq!(database.lines(), ["load_testing n=1i 1", "load_testing n=2i 2"]);
}

#[tokio::test]
async fn points_wait_while_the_database_is_away_and_the_oldest_are_dropped_and_counted() {
    let refuses = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&refuses);
    let database = Fake::start(move |_| match answers.load(Ordering::Relaxed) {
        true => (503, "restarting".to_owned()),
        false => (204, String::new()),
    })
    .await;
    let writer = Writer::start(v1(&database.url()), 5);
    writer.push([point(0)]);
    until("a failed attempt", async || writer.counts().error.is_some()).await;
    assert!(writer.counts().error.unwrap().contains("503 Service Unavailable restarting"));
    writer.push((1..=8).map(point));
    let counts = writer.counts();
    assert_eq!((counts.dropped, counts.waiting), (3, 6), "the one in flight and five more");
    refuses.store(false, Ordering::Relaxed);
    until("all are written", async || writer.counts().waiting == 0).await;
    let counts = writer.finish(Duration::from_secs(60)).await;
    assert_eq!((counts.written, counts.dropped, counts.error), (6, 3, None));
    let last: Vec<_> = database.lines().split_off(database.lines().len() - 5);
    assert_eq!(last, (4..=8).map(|n| point(n).line()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_at_the_end_for_a_database_that_is_away_is_counted() {
    let writer = Writer::start(v1(&format!("http://{}", wec_testbed::free_address())), 5);
    writer.push((1..=4).map(point));
    let counts = writer.finish(Duration::from_millis(300)).await;
    assert_eq!((counts.written, counts.dropped, counts.waiting), (0, 4, 0));
    assert!(counts.error.is_some());
}

#[tokio::test]
async fn a_refused_point_costs_no_other() {
    let database = Fake::start(|request| match request.body.contains("n=5i") {
        true => (400, "{\"error\":\"field type conflict\"}".to_owned()),
        false => (204, String::new()),
    })
    .await;
    let writer = Writer::start(v1(&database.url()), 100);
    writer.push((1..=20).map(point));
    let counts = writer.finish(Duration::from_secs(60)).await;
    assert_eq!((counts.written, counts.dropped), (19, 1));
    assert!(counts.refusal.unwrap().contains("field type conflict"));
}
