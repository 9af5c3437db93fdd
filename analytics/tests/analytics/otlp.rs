//! The figures of a run as OpenTelemetry metrics, as a collector receives them.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use clap::Parser as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wec_analytics::{Analytics, Config, ConsumerOptions, ExporterOptions};
use wec_board::Board;
use wec_record::Chain;

use crate::common::{START, chain_record, chain_result, header};

/// The flags of all exporters.
#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    exporters: ExporterOptions,
}

type Received = (HeaderMap, ExportMetricsServiceRequest);

/// A collector that accepts everything. Returns its URL.
async fn collector() -> (String, UnboundedReceiver<Received>) {
    let (sender, receiver) = unbounded_channel();
    let take = async |State(to): State<UnboundedSender<Received>>, headers: HeaderMap, body: Bytes| {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        to.send((headers, request)).unwrap();
    };
    let router = axum::Router::new().route("/v1/metrics", post(take)).with_state(sender);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let value =
        attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.as_ref());
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

#[tokio::test]
async fn a_collector_receives_the_figures_of_the_summary() {
    let (url, mut received) = collector().await;
    let folder = tempfile::tempdir().unwrap();
    let Flags { exporters } =
        Flags::parse_from(["", "--otlp", &url, "--otlp-token", "s3cret", "--otlp-interval", "50ms"]);
    let consumers = ConsumerOptions { exporters, ..ConsumerOptions::default() };
    let config = Config { consumers, ..crate::common::config(folder.path()) };
    let analytics = Analytics::start(config, Board::local()).await.unwrap();
    analytics.begin(header("run")).await.unwrap();
    let results = (1..=200)
        .map(|seq| {
            chain_record("r1", chain_result(Chain::Certificate, seq, seq * 1_000_000, seq * 3_000_000))
        })
        .collect();
    analytics.ingest().deliver(results).await.unwrap();
    let first = received.recv().await.unwrap();
    assert_eq!(first.0["authorization"], "Bearer s3cret");
    assert_eq!(first.0["content-type"], "application/x-protobuf");
    let snapshot = analytics.finish().await.snapshot;

    let mut last = first;
    while let Ok(next) = received.try_recv() {
        last = next;
    }
    let [resource] = last.1.resource_metrics.try_into().unwrap();
    let attributes = resource.resource.unwrap().attributes;
    assert_eq!((text(&attributes, "service.name"), text(&attributes, "wec.run")), ("wile-e-coyote", "run"));
    let metrics: Vec<Metric> = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect();
    let metric = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();

    let figures = &snapshot.chains[&Chain::Certificate];
    let Some(Data::Sum(chains)) = &metric("wec_chains").data else { panic!("not a sum") };
    assert!(chains.is_monotonic);
    assert_eq!(chains.aggregation_temporality, AggregationTemporality::Cumulative as i32);
    let point =
        chains.data_points.iter().find(|point| text(&point.attributes, "chain") == "certificate").unwrap();
    assert_eq!(point.value, Some(Number::AsDouble(figures.count as f64)));
    assert_eq!(point.start_time_unix_nano, START);

    let times = metric("wec_chain_response_time");
    assert_eq!(times.unit, "s");
    let Some(Data::Histogram(times)) = &times.data else { panic!("not a histogram") };
    let point =
        times.data_points.iter().find(|point| text(&point.attributes, "chain") == "certificate").unwrap();
    assert_eq!(point.count, figures.response_time_ns.n);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let mean = point.sum.unwrap() / point.count as f64 * 1e9;
    assert!((mean - figures.response_time_ns.mean.unwrap() as f64).abs() < 2.0);
}
