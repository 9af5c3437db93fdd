//! A consumer in this process, a fake InfluxDB, and questions to a real one.

#![expect(clippy::unwrap_used, reason = "a helper of tests, where a panic is a failure")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::Value;
use wec_consumer::{Config, Consumer, Influx, Login, Times};
use wec_outbound::Endpoint;
use wec_testbed::InfluxDb;

/// Points that are due soon, so that tests wait little.
pub(crate) const SOON: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn config(influx: Influx, folder: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: None,
        influx,
        jobs: folder.join("jobs.json"),
        times: Times { interval: SOON, ..Times::default() },
    }
}

pub(crate) async fn consumer(influx: Influx, folder: &Path) -> Consumer {
    Consumer::start(config(influx, folder)).await.unwrap()
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(url).unwrap()
}

pub(crate) fn v1(url: &str) -> Influx {
    let login = Login::V1 { database: "load tests".to_owned(), user: None };
    Influx::new(endpoint(url), login).unwrap()
}

pub(crate) fn client() -> reqwest::Client {
    wec_outbound::http_client(Duration::from_secs(30)).unwrap()
}

/// Posts to the consumer. Returns the status and the answer.
pub(crate) async fn post(consumer: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let answer = client().post(format!("http://{consumer}{path}")).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

pub(crate) async fn get(consumer: SocketAddr, path: &str) -> (u16, Value) {
    let answer = client().get(format!("http://{consumer}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "never: {what}");
}

/// A request that the fake database got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

type Kept = Arc<Mutex<Vec<Received>>>;
type Answer = dyn Fn(&Received) -> (u16, String) + Send + Sync;

/// A small HTTP server that keeps the requests and answers with the given function.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) received: Kept,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let state: (Kept, Arc<Answer>) = (Arc::clone(&received), Arc::new(answer));
        let app = Router::new().fallback(respond).with_state(state);
        let service = hyper_util::service::TowerToHyperService::new(app);
        let connections = wec_listen::Connections::new(wec_listen::Rules::control("the fake"));
        let stop = tokio_util::sync::CancellationToken::new();
        tokio::spawn(wec_listen::http::serve(
            listener,
            connections,
            wec_listen::http::Version::Http1,
            service,
            stop,
        ));
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// All lines of points that it accepted or refused.
    pub(crate) fn lines(&self) -> Vec<String> {
        let writes = self.received().into_iter().filter(|request| request.target.contains("/write"));
        writes.flat_map(|write| write.body.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

async fn respond(
    State((received, answer)): State<(Kept, Arc<Answer>)>,
    request: Request,
) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let request = Received {
        target: head.uri.to_string(),
        authorization: authorization.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let (status, text) = answer(&request);
    received.lock().unwrap().push(request);
    (StatusCode::from_u16(status).unwrap(), text)
}

/// Asks the real database. Returns the rows of each series, as objects of column and value.
pub(crate) async fn query(database: &InfluxDb, query: &str) -> Vec<Value> {
    let answer: Value = client()
        .get(format!("{}/query", database.url()))
        .query(&[("db", "load tests"), ("epoch", "ns"), ("q", query)])
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut rows = Vec::new();
    let series = answer["results"][0]["series"].as_array().cloned().unwrap_or_default();
    for series in &series {
        let columns: Vec<&str> =
            series["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap()).collect();
        for values in series["values"].as_array().unwrap() {
            let pairs = columns.iter().zip(values.as_array().unwrap());
            rows.push(pairs.map(|(column, value)| ((*column).to_owned(), value.clone())).collect());
        }
    }
    rows
}
