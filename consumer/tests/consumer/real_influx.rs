//! A real InfluxDB 1.x (Debian: influxdb).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use wec_consumer::{FieldValue, Influx, Login, Point, Writer};
use wec_testbed::InfluxDb;

use crate::common::{client, endpoint, query, until, v1};

/// A reader of another make agrees with our line protocol.
#[tokio::test]
async fn hostile_text_comes_back_as_it_was() {
    let database = InfluxDb::start().await.unwrap();
    let writer = Writer::start(v1(&database.url()), 1_000);
    let hostile = [
        "plain",
        "a b",
        "a,b",
        "a=b",
        "\"quoted\"",
        "a\\b",
        "ends in \\",
        "\\,",
        "\\\\ ",
        "läßt 名前 🦊",
        "#comment",
        "line\nend",
        "tab\tand\u{1b}[31m",
        " space around ",
        "'; DROP SERIES FROM /.*/",
    ];
    let points = hostile.iter().zip(1..).map(|(text, number)| Point {
        measurement: "load_testing",
        tags: BTreeMap::from([
            ("tag".to_owned(), (*text).to_owned()),
            (format!("key {text}"), "x".to_owned()),
        ]),
        fields: BTreeMap::from([
            ("text".to_owned(), FieldValue::Text((*text).to_owned())),
            ("count".to_owned(), FieldValue::Count(number)),
            ("number".to_owned(), FieldValue::Number(1e-300)),
            ("flag".to_owned(), FieldValue::Flag(true)),
        ]),
        at_unix_ns: number,
    });
    writer.push(points);
    let counts = writer.finish(Duration::from_secs(60)).await;
    assert_eq!((counts.written, counts.dropped), (hostile.len() as u64, 0), "{counts:?}");
    let rows = query(&database, "SELECT * FROM load_testing").await;
    assert_eq!(rows.len(), hostile.len());
    for ((row, text), number) in rows.iter().zip(hostile).zip(1..) {
        assert_eq!((&row["time"], &row["count"]), (&json!(number), &json!(number)));
        assert_eq!(row["text"], text, "a field is exact");
        assert_eq!((&row["number"], &row["flag"]), (&json!(1e-300), &json!(true)));
        // What line protocol cannot express in a tag is replaced.
        let tag = match text {
            "ends in \\" => "ends in /",
            "\\," => "/,",
            "\\\\ " => "// ",
            "line\nend" => "line end",
            "tab\tand\u{1b}[31m" => "tab and [31m",
            text => text,
        };
        assert_eq!(row["tag"], tag);
    }
}

#[tokio::test]
async fn users_and_passwords_are_checked_by_the_database() {
    let database = InfluxDb::start_with_users().await.unwrap();
    let create = "CREATE USER writer WITH PASSWORD 's3cret' WITH ALL PRIVILEGES";
    let answer = client().post(format!("{}/query", database.url())).query(&[("q", create)]).send().await;
    assert!(answer.unwrap().status().is_success());
    for (password, written) in [("wrong", 0), ("s3cret", 1)] {
        let login =
            Login::V1 { database: "runs".to_owned(), user: Some(("writer".to_owned(), password.to_owned())) };
        let writer = Writer::start(Influx::new(endpoint(&database.url()), login).unwrap(), 10);
        writer.push([Point {
            measurement: "load_testing",
            tags: BTreeMap::new(),
            fields: BTreeMap::from([("n".to_owned(), FieldValue::Count(1))]),
            at_unix_ns: 1,
        }]);
        until("an answer", async || {
            let counts = writer.counts();
            counts.written > 0 || counts.error.is_some()
        })
        .await;
        let counts = writer.finish(Duration::ZERO).await;
        assert_eq!(counts.written, written, "{counts:?}");
        if written == 0 {
            let why = counts.error.unwrap();
            assert!(why.contains("401") && !why.contains("wrong"), "{why}");
        }
    }
}
