//! Families in the exposition formats of Prometheus.

use std::fmt;

use http::HeaderMap;
use http::header::ACCEPT;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NativeHistogram, NativeHistogramBuckets, prometheus_protobuf,
    prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as PrometheusUnit};
use wec_figures::families::{BOUNDS, Distribution, Family, Labels, MetricUnit, SCHEMA, Series};

/// A format that a scraper can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Prometheus' protobuf messages; the only one with native histograms.
    Protobuf,
    /// OpenMetrics 1.0; the default.
    OpenMetrics,
    /// The text format of Prometheus, for scrapers that know no other.
    Text,
}

impl Encoding {
    /// The preferred one of those that are accepted.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let offers = accepted.flat_map(|value| value.split(',')).filter_map(offer);
        // Of equal ones the first.
        let best = offers.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map_or(Self::OpenMetrics, |(encoding, _)| encoding)
    }

    /// The media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One entry of an `Accept` header: the format and its quality; none for other formats.
fn offer(entry: &str) -> Option<(Encoding, f32)> {
    let mut parts = entry.split(';').map(str::trim);
    let media_type = parts.next()?;
    let (mut quality, mut delimited) = (1.0, false);
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        match key.trim() {
            "q" => quality = value.trim().parse().ok()?,
            "encoding" => delimited = value.trim() == "delimited",
            _ => {}
        }
    }
    let encoding = match media_type {
        "application/vnd.google.protobuf" if delimited => Encoding::Protobuf,
        "application/openmetrics-text" | "*/*" => Encoding::OpenMetrics,
        "text/plain" => Encoding::Text,
        _ => return None,
    };
    (quality > 0.0).then_some((encoding, quality))
}

/// The families as the body of an answer to a scrape.
///
/// # Errors
/// Never for families of this crate: every histogram has classic buckets.
pub(crate) fn encode(families: Vec<Family>, encoding: Encoding) -> Result<Vec<u8>, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scraped(families)));
    let mut body = String::new();
    match encoding {
        Encoding::Protobuf => {
            return prometheus_protobuf::encode_to_vec(&registry).map_err(|_| fmt::Error);
        }
        Encoding::OpenMetrics => text::encode(&mut body, &registry)?,
        Encoding::Text => prometheus_text::encode(&mut body, &registry)?,
    }
    Ok(body.into_bytes())
}

/// What was read for one scrape.
#[derive(Debug)]
struct Scraped(Vec<Family>);

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.0.iter().filter(|family| !is_empty(family)).try_for_each(|family| put(family, &mut encoder))
    }
}

const fn is_empty(family: &Family) -> bool {
    match &family.series {
        Series::Counter(values) | Series::Gauge(values) => values.is_empty(),
        Series::Histogram(values) => values.is_empty(),
        Series::Info(_) => false,
    }
}

fn put(family: &Family, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let unit = match family.unit {
        MetricUnit::None => None,
        MetricUnit::Seconds => Some(PrometheusUnit::Seconds),
        MetricUnit::Bytes => Some(PrometheusUnit::Bytes),
    };
    let kind = match &family.series {
        Series::Counter(_) => MetricType::Counter,
        Series::Gauge(_) => MetricType::Gauge,
        Series::Histogram(_) => MetricType::Histogram,
        Series::Info(_) => MetricType::Info,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    match &family.series {
        Series::Counter(values) => values.iter().try_for_each(|(labels, value)| {
            metric.encode_family(labels)?.encode_counter::<Labels, _, f64>(value, None)
        }),
        Series::Gauge(values) => {
            values.iter().try_for_each(|(labels, value)| metric.encode_family(labels)?.encode_gauge(value))
        }
        Series::Histogram(values) => {
            values.iter().try_for_each(|(labels, times)| put_times(times, metric.encode_family(labels)?))
        }
        Series::Info(labels) => metric.encode_info(labels),
    }
}

fn put_times(times: &Distribution, mut metric: MetricEncoder) -> fmt::Result {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let classic: Vec<_> = bounds.zip(times.classic).collect();
    let (spans, deltas) = spans(times);
    let none = NativeHistogramBuckets { spans: &[], deltas: &[] };
    let native = NativeHistogram {
        schema: SCHEMA,
        zero_threshold: ZERO_THRESHOLD,
        zero_count: times.zero,
        negative: none,
        positive: NativeHistogramBuckets { spans: &spans, deltas: &deltas },
        created: None,
    };
    metric.encode_histogram_with_native::<Labels>(times.sum, times.count, &classic, None, native)
}

/// The native buckets as runs of neighbours, each with its distance from the one before, and the change
/// of the count from bucket to bucket.
fn spans(times: &Distribution) -> (Vec<(i32, u32)>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<(i32, u32)>::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (bucket, count) in &times.native {
        match spans.last_mut() {
            Some((_, length)) if *bucket == next => *length += 1,
            _ => spans.push((*bucket - next, 1)),
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        (next, before) = (*bucket + 1, count);
    }
    (spans, deltas)
}

/// 2^-128, as Prometheus recommends. Without it, a histogram without times would not count as a native one.
const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        let cases = [
            ("", Encoding::OpenMetrics),
            ("*/*", Encoding::OpenMetrics),
            ("text/html", Encoding::OpenMetrics),
            ("text/plain", Encoding::Text),
            // Prometheus 2.42, without and with its feature native-histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Encoding::OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5",
                Encoding::Protobuf,
            ),
            // Not a format of ours.
            ("application/vnd.google.protobuf;encoding=text,text/plain;q=0.5", Encoding::Text),
            ("application/openmetrics-text;q=0,text/plain;q=0.1", Encoding::Text),
            ("text/plain;q=x", Encoding::OpenMetrics),
        ];
        for (accept, encoding) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(Encoding::accepted(&headers), encoding, "{accept}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), Encoding::OpenMetrics);
    }

    #[test]
    fn names_have_units_and_suffixes_and_labels_are_escaped() {
        let families = vec![
            Family::counter("wec_things", "Things", vec![(vec![("name", "a\"b\n".to_owned())], 3.0)]),
            Family::value("wec_log_size", "Size", 7.0).in_unit(MetricUnit::Bytes),
            Family::counter("wec_none", "Without series", Vec::new()),
            Family::times("wec_took", "Times", vec![(Vec::new(), Distribution::default())]),
        ];
        let text = String::from_utf8(encode(families.clone(), Encoding::OpenMetrics).unwrap()).unwrap();
        for line in [
            "# TYPE wec_things counter",
            r#"wec_things_total{name="a\"b\n"} 3.0"#,
            "# UNIT wec_log_size_bytes bytes",
            "wec_log_size_bytes 7.0",
            r#"wec_took_seconds_bucket{le="+Inf"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("wec_none"));
        assert!(text.ends_with("# EOF\n"));
        assert!(!encode(families, Encoding::Protobuf).unwrap().is_empty());
    }

    #[test]
    fn native_buckets_are_runs_of_neighbours() {
        let native = [(-3, 2), (-2, 5), (4, 1)].into();
        let distribution = Distribution { native, ..Distribution::default() };
        assert_eq!(spans(&distribution), (vec![(-3, 2), (5, 1)], vec![2, 3, -4]));
    }
}
