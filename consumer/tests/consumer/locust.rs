//! A real Locust with the hooks of `examples/locust`, and a real InfluxDB.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests, too")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use wec_testbed::{InfluxDb, locust};

use crate::common::{Fake, consumer, get, query, v1};

/// A run of Locust that is over.
struct Ran {
    /// The server that it loaded.
    target: Fake,
    /// Locust's own report: an entry for each endpoint.
    report: Vec<Value>,
}

/// Runs the locustfile for some seconds against a server of the test.
async fn run(locustfile: &str, consumer: SocketAddr, folder: &Path) -> Ran {
    let target = Fake::start(|request| match request.target.as_str() {
        "/" => (200, "hello".to_owned()),
        _ => (404, "nothing here".to_owned()),
    })
    .await;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/locust");
    let output = tokio::process::Command::new(locust().unwrap())
        .arg("--locustfile")
        .arg(examples.join(locustfile))
        .args(["--headless", "--users", "3", "--spawn-rate", "2", "--run-time", "4s", "--json"])
        .args(["--host", &target.url(), "--exit-code-on-error", "0"])
        .env("WEC_CONSUMER", format!("http://{consumer}"))
        .env("UPDATE_EVERY", "0.5")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("no_proxy", "*")
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(240), output).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("did not take"), "{said}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    Ran { target, report }
}

impl Ran {
    /// Requests and failures of an endpoint, as Locust reports them.
    fn counts(&self, path: &str) -> [u64; 2] {
        let entry = self.report.iter().find(|entry| entry["name"] == path).unwrap();
        let counts = ["num_requests", "num_failures"].map(|key| entry[key].as_u64().unwrap());
        // Requests that were cut off by the end reached the server, and are not counted.
        let served = self.target.received().iter().filter(|request| request.target == path).count() as u64;
        assert!(counts[0] > 0 && (counts[0]..=counts[0] + 3).contains(&served), "{counts:?} {served}");
        counts
    }

    fn requests(&self) -> u64 {
        self.counts("/")[0] + self.counts("/missing")[0]
    }
}

async fn only_run(database: &InfluxDb) -> String {
    let runs = query(database, "SHOW TAG VALUES FROM load_testing WITH KEY = run").await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0]["value"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_with_register_and_commit_is_in_the_database() {
    let (database, folder) = (InfluxDb::start().await.unwrap(), tempfile::tempdir().unwrap());
    let consumer = consumer(v1(&database.url()), folder.path()).await;
    let ran = run("locustfile.py", consumer.address(), folder.path()).await;
    let (_, running) = get(consumer.address(), "/apiv0.1/events/isrunning").await;
    assert!(running.as_object().unwrap().values().eq([&Value::Bool(false)]), "{running}");
    let counts = consumer.finish().await;
    assert_eq!(counts.dropped, 0, "{counts:?}");
    let uuid = running.as_object().unwrap().keys().next().unwrap();
    assert_eq!(&only_run(&database).await, uuid);
    let points = query(&database, "SELECT * FROM load_testing").await;
    let (first, last) = (points.first().unwrap(), points.last().unwrap());
    assert_eq!(
        (&first["clients"], &first["hatchRate"], &first["live"]),
        (&3.into(), &2.into(), &"true".into())
    );
    assert_eq!((&first["targetHost"], &first["mode"]), (&ran.target.url().into(), &"single".into()));
    let repeated: Vec<_> = points.iter().filter(|point| point["live"] == "false").collect();
    assert!(repeated.len() >= 3, "{points:?}");
    assert!(repeated.iter().all(|point| point["requests"] == 0), "only what was registered is known");
    assert_eq!((&last["live"], last["requests"].as_u64().unwrap()), (&"true".into(), ran.requests()));
    let endpoints = query(&database, "SELECT * FROM load_testing_result WHERE kind = 'endpoint'").await;
    let [front, missing] = endpoints.as_slice() else { panic!("{endpoints:?}") };
    assert_eq!(ran.counts("/missing")[0], ran.counts("/missing")[1]);
    for (endpoint, path) in [(front, "/"), (missing, "/missing")] {
        assert_eq!((&endpoint["method"], &endpoint["name"]), (&"GET".into(), &path.into()));
        assert_eq!(
            [&endpoint["num_requests"], &endpoint["num_failures"]],
            ran.counts(path).map(Value::from).each_ref()
        );
        assert!(endpoint["avg_response_time"].as_f64().unwrap() > 0.0);
    }
    let errors = query(&database, "SELECT * FROM load_testing_result WHERE kind = 'error'").await;
    assert_eq!(errors.len(), 1);
    assert!(errors[0]["error"].as_str().unwrap().contains("404"), "{errors:?}");
    assert_eq!(errors[0]["occurrences"].as_u64().unwrap(), ran.counts("/missing")[1]);
}

#[tokio::test]
async fn a_run_with_updates_has_live_figures() {
    let (database, folder) = (InfluxDb::start().await.unwrap(), tempfile::tempdir().unwrap());
    let consumer = consumer(v1(&database.url()), folder.path()).await;
    let ran = run("locustfile_live.py", consumer.address(), folder.path()).await;
    consumer.finish().await;
    let points = query(&database, "SELECT * FROM load_testing WHERE live = 'true'").await;
    let requests: Vec<_> = points.iter().map(|point| point["requests"].as_u64().unwrap()).collect();
    assert!(requests.is_sorted() && requests[0] == 0, "{requests:?}");
    let during = &requests[1..requests.len() - 1];
    assert!(during.iter().any(|count| *count > 0), "{requests:?}");
    assert_eq!(*requests.last().unwrap(), ran.requests());
    let users: Vec<_> = points.iter().map(|point| point["clients"].as_u64().unwrap()).collect();
    assert!(users.contains(&3), "{users:?}");
}
