//! Families as OTLP metrics, sent to a collector over HTTP in protobuf.
//!
//! The messages are made here and not by the SDK of OpenTelemetry, which exports only what it has counted itself.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wec_consumer::parse_interval;
use wec_figures::families::{BOUNDS, Distribution, Family, Labels, MetricUnit, Series};
use wec_outbound::{Endpoint, http_client, told};
use wec_startup::{Token, Undisclosed};

use super::ExportedRuns;
use crate::clock::unix_now_ns;

/// The longest time for one request. The last one must not delay the end of the run.
const WITHIN: Duration = Duration::from_millis(1_500);
const INTERVAL: Duration = Duration::from_secs(10);

/// Where the figures of the current run are sent as OpenTelemetry metrics.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OtlpOptions {
    /// Send the figures of the run as OpenTelemetry metrics to this collector, by OTLP over HTTP, such as
    /// http://127.0.0.1:4318 (docs/exports.md)
    #[arg(long, env = "WEC_OTLP", hide_env_values = true, hide_short_help = true, value_name = "URL", value_parser = Undisclosed(Endpoint::parse), help_heading = "Export")]
    pub otlp: Option<Endpoint>,
    /// Bearer token of the collector; prefer the environment, because other users can read the command line
    #[arg(long, env = "WEC_OTLP_TOKEN", hide_env_values = true, hide_short_help = true, value_name = "SECRET", value_parser = Token::parse, help_heading = "Export")]
    pub otlp_token: Option<Token>,
    /// Time between two exports [default: 10s]
    #[arg(long, env = "WEC_OTLP_INTERVAL", hide_env_values = true, hide_short_help = true, value_name = "TIME", value_parser = parse_interval, help_heading = "Export")]
    pub otlp_interval: Option<Duration>,
}

/// Exports until the last figures are known, if a collector is configured.
pub(super) fn start(options: &OtlpOptions, runs: &ExportedRuns) -> Option<JoinHandle<()>> {
    let exporter = Exporter::new(options)?;
    Some(tokio::spawn(exporting(exporter, runs.clone())))
}

/// Exports the figures of the current run in its interval, and once more at the end.
async fn exporting(mut exporter: Exporter, runs: ExportedRuns) {
    let mut intervals = tokio::time::interval(exporter.interval);
    intervals.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let over = tokio::select! {
            _ = intervals.tick() => false,
            () = runs.figures_final.cancelled() => true,
        };
        let started = runs.shown.current().figures().lock().header().map(|header| header.started_unix_ns);
        if let Some(started) = started {
            exporter.export(&runs.shown.current_families(&runs.ingest), started, unix_now_ns()).await;
        }
        if over {
            return exporter.conclude();
        }
    }
}

/// Sends families to a collector. Failures are warnings, once for each time that it fails after a success.
#[derive(Debug)]
struct Exporter {
    endpoint: Endpoint,
    token: Option<Token>,
    http: reqwest::Client,
    failing: bool,
    sent: u64,
    failed: u64,
    interval: Duration,
}

impl Exporter {
    /// None if no collector is configured.
    fn new(options: &OtlpOptions) -> Option<Self> {
        let endpoint = options.otlp.clone()?;
        let http =
            http_client(WITHIN).inspect_err(|error| tracing::warn!("no metrics are exported: {error}"));
        Some(Self {
            endpoint,
            token: options.otlp_token.clone(),
            http: http.ok()?,
            failing: false,
            sent: 0,
            failed: 0,
            interval: options.otlp_interval.unwrap_or(INTERVAL),
        })
    }

    /// Sends the families once.
    async fn export(&mut self, families: &[Family], started_unix_ns: u64, now_unix_ns: u64) {
        if families.is_empty() {
            return;
        }
        self.sent += 1;
        let body = request(families, started_unix_ns, now_unix_ns).encode_to_vec();
        match self.post(body).await {
            Ok(()) if std::mem::take(&mut self.failing) => {
                tracing::info!("the collector at {} accepts metrics again", self.endpoint);
            }
            Ok(()) => {}
            Err(why) => {
                self.failed += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("the collector at {} does not accept metrics: {why}", self.endpoint);
                }
            }
        }
    }

    /// Warns of the exports that are missing.
    fn conclude(&self) {
        if self.failed > 0 {
            tracing::warn!("{} of {} exports to {} failed", self.failed, self.sent, self.endpoint);
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), String> {
        let mut url = self.endpoint.url().clone();
        if url.path() == "/" {
            url.set_path("/v1/metrics");
        }
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.as_bearer());
        }
        let answer = request.send().await.map_err(told)?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }
}

/// The families at this moment. Counts are cumulative since the run's start.
fn request(families: &[Family], started_unix_ns: u64, now_unix_ns: u64) -> ExportMetricsServiceRequest {
    let times = Times { start: started_unix_ns, now: now_unix_ns };
    let info = |name: &str| {
        let of_name = families.iter().find(|family| family.name == name);
        of_name.and_then(|family| if let Series::Info(labels) = &family.series { Some(labels) } else { None })
    };
    let mut attributes = vec![
        attribute("service.name", "wile-e-coyote"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let of_run = info("wec_run").into_iter().flatten();
    attributes.extend(of_run.map(|(key, value)| attribute(&format!("wec.{key}"), value)));
    let metrics = families.iter().filter_map(|family| metric(family, times)).collect();
    let scope = InstrumentationScope { name: "wec".to_owned(), ..InstrumentationScope::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn metric(family: &Family, times: Times) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let data = match &family.series {
        Series::Info(_) => return None,
        Series::Counter(values) => Data::Sum(Sum {
            data_points: values.iter().map(|(labels, value)| number(labels, *value, times)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Series::Gauge(values) => Data::Gauge(Gauge {
            data_points: values.iter().map(|(labels, value)| number(labels, *value, times)).collect(),
        }),
        Series::Histogram(values) => Data::Histogram(Histogram {
            data_points: values.iter().map(|(labels, value)| distribution(labels, value, times)).collect(),
            aggregation_temporality: cumulative,
        }),
    };
    Some(Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: match family.unit {
            MetricUnit::None => "1",
            MetricUnit::Seconds => "s",
            MetricUnit::Bytes => "By",
        }
        .to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn number(labels: &Labels, value: f64, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn distribution(labels: &Labels, value: &Distribution, times: Times) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: value.count,
        sum: Some(value.sum),
        bucket_counts: value.classic.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
