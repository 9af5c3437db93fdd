//! The HTTP API, with a database that accepts everything.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use wec_consumer::{Consumer, StartError, Times};
use wec_startup::Token;

use crate::common::{Fake, SOON, client, config, consumer, get, post, until, v1};

async fn database() -> Fake {
    Fake::start(|_| (204, String::new())).await
}

fn of_document() -> Value {
    json!({
        "startedAt": "2026-08-01T12:00:00Z",
        "host": "generator-1",
        "measurement": {
            "fields": { "clients": 5, "hatchRate": 0.1, "requests": 100 },
            "tags": { "targetHost": "http://10.10.10.1", "mode": "single" },
        },
    })
}

fn of_locust() -> Value {
    json!({
        "startedAt": 1_785_585_600,
        "hostname": "generator-2",
        "measurement": { "fields": { "clients": 7, "hatchRate": 1, "requests": 0 } },
        "tags": { "targetHost": "http://10.10.10.2", "mode": "cluster" },
    })
}

fn report(uuid: &str) -> Value {
    json!({
        "startedAt": 1_785_585_660,
        "uuid": uuid,
        "host": "generator-1",
        "measurement": {
            "fields": { "requestStats": {
                "stats": [{
                    "method": "GET", "name": "/", "num_requests": 90, "num_failures": 9,
                    "avg_response_time": 12.5, "min_response_time": 3, "max_response_time": 99,
                    "median_response_time": 11, "current_rps": 4.5, "avg_content_length": 1024,
                }],
                "errors": [],
                "total_rps": 4.5, "fail_ratio": 0.1, "state": "stopped", "user_count": 5,
            } },
            "tags": { "hostname": "http://10.10.10.1", "mode": "single" },
        },
    })
}

#[tokio::test]
async fn both_shapes_are_registered_reported_and_committed() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let consumer = consumer(v1(&database.url()), folder.path()).await;
    let at = consumer.address();
    assert_eq!(get(at, "/apiv0.1/ping").await, (200, json!({ "res": "PONG!" })));
    let mut uuids = Vec::new();
    for body in [of_document(), of_locust()] {
        let (status, answer) = post(at, "/apiv0.1/events/register", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["uuid"], answer["data"]["uuid"]);
        uuids.push(answer["uuid"].as_str().unwrap().to_owned());
    }
    let both = json!({ (uuids[0].clone()): true, (uuids[1].clone()): true });
    assert_eq!(get(at, "/apiv0.1/events/isrunning").await, (200, both.clone()));
    assert_eq!(get(at, "/events/isrunning").await, (200, json!({ "running": 2, "jobs": both })));
    // Points go on without further requests.
    until("a repeated point of both", async || {
        let lines = database.lines();
        uuids.iter().all(|uuid| {
            let of_run = |line: &&String| line.contains(&format!("run={uuid}"));
            lines.iter().filter(of_run).filter(|line| line.contains("live=false")).count() >= 2
        })
    })
    .await;
    for uuid in &uuids {
        let (status, answer) = post(at, "/apiv0.1/events/update", &report(uuid)).await;
        assert_eq!((status, &answer["data"]["uuid"]), (200, &json!(uuid)));
        assert_eq!(post(at, "/apiv0.1/events/commit", &report(uuid)).await.0, 200);
        let (status, answer) = post(at, "/apiv0.1/events/commit", &report(uuid)).await;
        assert_eq!(status, 409, "{answer}");
    }
    let (_, running) = get(at, "/apiv0.1/events/isrunning").await;
    assert_eq!(running, json!({ (uuids[0].clone()): false, (uuids[1].clone()): false }));
    let counts = consumer.finish().await;
    assert_eq!((counts.dropped, counts.waiting), (0, 0));
    let lines = database.lines();
    assert_eq!(counts.written, lines.len() as u64);
    let first = lines.iter().find(|line| line.contains(&uuids[0])).unwrap();
    let tags = format!(
        r"load_testing,host=generator-1,live=true,mode=single,run={},targetHost=http://10.10.10.1 ",
        uuids[0]
    );
    assert!(first.starts_with(&tags), "{first}");
    assert!(first.contains("clients=5i,hatchRate=0.1,requests=100i,startedAt=1785585600i "), "{first}");
    let results = lines.iter().filter(|line| line.starts_with("load_testing_result,")).count();
    assert_eq!(results, 4, "a total and an endpoint of each");
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_sentence() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let consumer = consumer(v1(&database.url()), folder.path()).await;
    let at = consumer.address();
    let told = async |path: &str, body: &Value| {
        let (status, answer) = post(at, path, body).await;
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    for path in ["/apiv0.1/events/commit", "/apiv0.1/events/update"] {
        let (status, error) = told(path, &report("nobody")).await;
        assert!(status == 404 && error.contains("register the run first"), "{status} {error}");
    }
    let mut body = of_document();
    body["measurement"]["fields"]["clients"] = json!("many");
    let (status, error) = told("/apiv0.1/events/register", &body).await;
    assert!(status == 422 && error.starts_with("measurement.fields.clients: "), "{status} {error}");
    let (status, error) = told("/apiv0.1/events/register", &json!([])).await;
    assert!(status == 422 && error.starts_with("the body: "), "{status} {error}");
    let url = format!("http://{at}/apiv0.1/events/register");
    for (body, status) in [("{\"startedAt\":", 400), ("\u{0}", 400), (&*"[".repeat(10_000), 400)] {
        let answer = client().post(&url).body(body.to_owned()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert!(answer.text().await.unwrap().contains("not JSON"));
    }
    let answer = client().post(&url).body(" ".repeat(2 << 20)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    assert_eq!(get(at, "/apiv0.1/events/register").await.0, 405);
    assert_eq!(get(at, "/apiv0.1/events").await.0, 404);
    consumer.finish().await;
    assert!(database.lines().is_empty(), "nothing of this was written");
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let consumer = consumer(v1(&database.url()), folder.path()).await;
    let url = format!("http://{}/apiv0.1/events/isrunning", consumer.address());
    for (header, value, status) in
        [("origin", "http://evil.example", 403), ("host", "evil.example", 403), ("host", "localhost:1", 200)]
    {
        let answer = client().get(&url).header(header, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{header}: {value}");
        assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    consumer.finish().await;
}

#[tokio::test]
async fn a_listener_beyond_loopback_needs_a_token_and_asks_for_it() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let mut open = config(v1(&database.url()), folder.path());
    open.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let refused = Consumer::start(open).await.unwrap_err();
    assert!(matches!(refused, StartError::TokenNeeded(_)), "{refused}");
    let mut closed = config(v1(&database.url()), folder.path());
    closed.token = Token::new("s3cret");
    let consumer = Consumer::start(closed).await.unwrap();
    let url = format!("http://{}/apiv0.1/ping", consumer.address());
    for (offered, status) in [(None, 401), (Some("Bearer wrong"), 401), (Some("Bearer s3cret"), 200)] {
        let mut request = client().get(&url);
        if let Some(offered) = offered {
            request = request.header("authorization", offered);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{offered:?}");
    }
    consumer.finish().await;
}

#[tokio::test]
async fn jobs_continue_after_a_restart() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let first = consumer(v1(&database.url()), folder.path()).await;
    let (_, answer) = post(first.address(), "/apiv0.1/events/register", &of_document()).await;
    let uuid = answer["uuid"].as_str().unwrap();
    // Nothing of a process that was killed is flushed; the file alone must do.
    let kept = std::fs::read(folder.path().join("jobs.json")).unwrap();
    first.finish().await;
    std::fs::write(folder.path().join("jobs.json"), kept).unwrap();
    let before = database.lines().len();
    let second = consumer(v1(&database.url()), folder.path()).await;
    let at = second.address();
    assert_eq!(get(at, "/apiv0.1/events/isrunning").await.1, json!({ (uuid): true }));
    until("a point of the job after the restart", async || {
        database.lines()[before..].iter().any(|line| line.contains(&format!("run={uuid}")))
    })
    .await;
    assert_eq!(post(at, "/apiv0.1/events/commit", &report(uuid)).await.0, 200);
    second.finish().await;
    assert!(database.lines().last().unwrap().starts_with("load_testing_result,"));
}

#[tokio::test]
async fn a_silent_job_ends() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let mut impatient = config(v1(&database.url()), folder.path());
    impatient.times = Times { timeout: 3 * SOON, ..impatient.times };
    let consumer = Consumer::start(impatient).await.unwrap();
    let at = consumer.address();
    let (_, answer) = post(at, "/apiv0.1/events/register", &of_document()).await;
    let uuid = answer["uuid"].as_str().unwrap();
    until("the job ends", async || get(at, "/apiv0.1/events/isrunning").await.1 == json!({ (uuid): false }))
        .await;
    until("a point tells why", async || {
        database.lines().iter().any(|line| line.contains("ended=\"nothing received for 0.6 s\""))
    })
    .await;
    consumer.finish().await;
}
