//! Which series are sampled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::exposition::Sample;

/// Series of one source in the log.
pub const MAX_SERIES: usize = 64;
/// Bytes of a series with its labels, as the log has it.
pub(crate) const LONGEST_SERIES: usize = 512;
/// Characters that are kept of one that is left out.
const SHOWN: usize = 100;

/// A pattern for the names of series: `*` is any text. With a brace it is compared with the labels as well, as in
/// `node_cpu_seconds_total{*mode="idle"*}`, whose labels are in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When no series can match it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let name = text.split('{').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '*');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("{text:?} is not a pattern for series, such as process_* or *_queue_*"));
        }
        Ok(Self(text.to_owned()))
    }

    fn matches(&self, name: &str, series: &str) -> bool {
        matches(&self.0, if self.0.contains('{') { series } else { name })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text matches a pattern in which `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.len() >= end.len() && text.ends_with(end)
}

/// What is usually worth a look beside a CA, the most telling first: processor, memory, threads, queues and the
/// database, by the names of the Go and other client libraries, of Boulder, step-ca, Caddy, node_exporter and
/// postgres_exporter.
pub(crate) const USUAL: [&str; 46] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_threads",
    "go_goroutines",
    "go_threads",
    "go_gc_duration_seconds_sum",
    "go_gc_duration_seconds_count",
    "go_memstats_heap_inuse_bytes",
    "node_load1",
    "node_procs_running",
    "node_memory_MemAvailable_bytes",
    "node_pressure_cpu_waiting_seconds_total",
    "node_pressure_io_waiting_seconds_total",
    "node_pressure_memory_waiting_seconds_total",
    "node_context_switches_total",
    "db_inuse*",
    "db_idle*",
    "db_open_connections*",
    "db_wait_count*",
    "db_wait_duration*",
    "sql_*_connections",
    "*_queue_depth*",
    "*_queue_length*",
    "*_queue_size*",
    "*_inflight*",
    "*in_flight*",
    "*_backlog*",
    "grpc_lag_sum",
    "grpc_lag_count",
    "grpc_server_handling_seconds_sum",
    "grpc_server_handling_seconds_count",
    "pg_stat_activity_count{*state=\"active\"*}",
    "pg_stat_database_numbackends",
    "pg_stat_database_blk_*_time*",
    "pg_locks_count",
    "step_ca_x509_signed_total",
    "step_ca_kms_*",
    "caddy_http_request_duration_seconds_sum",
    "caddy_http_request_duration_seconds_count",
    "response_time_sum",
    "response_time_count",
    "*_latency_seconds_sum",
    "*_latency_seconds_count",
    "node_disk_io_time_seconds_total",
    "node_cpu_seconds_total{*mode=\"idle\"*}",
];

/// The series of one source. Series once chosen remain, so that none is interrupted by a new one.
#[derive(Clone, Debug)]
pub struct Chosen {
    patterns: Vec<Pattern>,
    series: BTreeSet<String>,
}

/// The values of the chosen series of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Present values.
    pub gauges: BTreeMap<String, f64>,
    /// Totals that grow.
    pub counters: BTreeMap<String, f64>,
    /// Series that match and are beyond the bounds. The long ones come first, and are cut.
    pub left_out: Vec<String>,
    /// Series that match and have NaN or an infinite value now, which the log cannot have.
    pub not_finite: Vec<String>,
}

impl Chosen {
    /// By these patterns, the most important first; the usual ones if there are none.
    pub fn new(mut patterns: Vec<Pattern>) -> Self {
        if patterns.is_empty() {
            patterns = USUAL.map(|text| Pattern(text.to_owned())).to_vec();
        }
        Self { patterns, series: BTreeSet::new() }
    }

    /// Takes the samples of one answer.
    pub fn take<'a>(&mut self, samples: impl IntoIterator<Item = Sample<'a>>) -> Values {
        let (mut found, mut values) = (Vec::new(), Values::default());
        for sample in samples {
            let series = sample.series();
            let place = self.patterns.iter().position(|pattern| pattern.matches(sample.name, &series));
            if let Some(place) = place {
                if series.len() > LONGEST_SERIES {
                    values.left_out.push(series.chars().take(SHOWN).chain(['…']).collect());
                    continue;
                }
                if !sample.value.is_finite() {
                    values.not_finite.push(series);
                    continue;
                }
                found.push((!self.series.contains(&series), place, series, sample.value, sample.counter));
            }
        }
        found.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
        // A series that is there twice counts once, with its first value.
        found.dedup_by(|later, first| later.2 == first.2);
        for (new, _, series, value, counter) in found {
            if new && self.series.len() >= MAX_SERIES {
                values.left_out.push(series);
                continue;
            }
            if new {
                self.series.insert(series.clone());
            }
            let of_kind = if counter { &mut values.counters } else { &mut values.gauges };
            of_kind.insert(series, value);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*_queue_*", "ra_queue_depth", true),
            ("*_queue_*", "queue", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axc", false),
            ("ab*ba", "aba", false),
        ];
        for (pattern, text, matched) in cases {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
        for wrong in ["", "{}", "a b", "ä*"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        assert!(USUAL.iter().all(|usual| Pattern::parse(usual).is_ok()));
    }

    fn numbered(numbers: std::ops::Range<usize>) -> Vec<Sample<'static>> {
        let label = |n: usize| vec![("n", format!("{n:03}").into())];
        numbers
            .map(|n| Sample { name: "q_queue_depth", labels: label(n), value: n as f64, counter: false })
            .collect()
    }

    #[test]
    fn chosen_series_remain_and_those_beyond_the_bound_are_named() {
        let mut chosen = Chosen::new(Vec::new());
        let cpu = Sample { name: "process_cpu_seconds_total", labels: Vec::new(), value: 1.0, counter: true };
        let other = Sample { name: "other", ..cpu.clone() };
        let values = chosen.take(numbered(10..70).into_iter().chain([other, cpu]));
        assert_eq!((values.gauges.len(), values.counters.len(), values.left_out.len()), (60, 1, 0));
        let values = chosen.take(numbered(0..70));
        assert_eq!((values.gauges.len(), values.left_out.len()), (63, 7));
        assert!(values.gauges.contains_key("q_queue_depth{n=\"069\"}"), "it was chosen before");
        assert_eq!(values.left_out[0], "q_queue_depth{n=\"003\"}");
    }

    #[test]
    fn what_is_no_finite_number_is_named_and_takes_no_place() {
        let mut chosen = Chosen::new(Vec::new());
        let mut samples = numbered(0..3);
        (samples[0].value, samples[1].value) = (f64::NAN, f64::NEG_INFINITY);
        let values = chosen.take(samples);
        assert_eq!(values.not_finite, ["q_queue_depth{n=\"000\"}", "q_queue_depth{n=\"001\"}"]);
        assert_eq!((values.gauges.len(), values.left_out.len(), chosen.series.len()), (1, 0, 1));
    }

    #[test]
    fn a_long_series_is_left_out_and_cut_where_it_is_named() {
        let long = |label: &str| Sample {
            name: "q_queue_depth",
            labels: vec![("n", label.to_owned().into())],
            value: 1.0,
            counter: false,
        };
        let fits = "x".repeat(LONGEST_SERIES - "q_queue_depth{n=\"\"}".len());
        let samples = [long(&"\u{1}".repeat(1 << 20)), long(&fits), long(&format!("{fits}x"))];
        let values = Chosen::new(Vec::new()).take(samples);
        assert_eq!((values.gauges.len(), values.left_out.len()), (1, 2));
        assert!(values.left_out.iter().all(|named| named.chars().count() <= SHOWN + 1), "{values:?}");
    }

    #[test]
    fn of_boulder_it_samples_processor_memory_database_and_rpcs() {
        let mut samples = Vec::new();
        let defects =
            crate::exposition::parse(include_str!("fixtures/boulder-sa.txt"), |sample| samples.push(sample));
        assert_eq!(defects.lines, 0);
        let values = Chosen::new(Vec::new()).take(samples);
        let db = |name: &str| format!("{name}{{address=\"boulder-proxysql:6033\",user=\"sa\"}}");
        let rpc = |name: &str| {
            format!(
                "grpc_server_handling_seconds_{name}{{grpc_method=\"GetAuthorization2\",\
                 grpc_service=\"sa.StorageAuthorityReadOnly\",grpc_type=\"unary\"}}"
            )
        };
        let gauges = [
            (db("db_idle"), 18.0),
            (db("db_inuse"), 7.0),
            (db("db_open_connections"), 25.0),
            ("go_goroutines".to_owned(), 59.0),
            ("process_resident_memory_bytes".to_owned(), 61_693_952.0),
        ];
        let counters = [
            (db("db_wait_count"), 0.0),
            (db("db_wait_duration_seconds"), 0.0),
            ("go_gc_duration_seconds_count".to_owned(), 41.0),
            ("go_gc_duration_seconds_sum".to_owned(), 0.004_096_791),
            ("grpc_lag_count".to_owned(), 9_340.0),
            ("grpc_lag_sum".to_owned(), 2.4381),
            (rpc("count"), 4_021.0),
            (rpc("sum"), 7.2),
            ("process_cpu_seconds_total".to_owned(), 13.37),
        ];
        assert_eq!(values, Values { gauges: gauges.into(), counters: counters.into(), ..Values::default() });
    }

    #[test]
    fn the_first_pattern_is_the_most_important() {
        let patterns = ["z", "q_queue_depth"].map(|text| Pattern::parse(text).unwrap());
        let z = Sample { name: "z", labels: Vec::new(), value: 1.0, counter: false };
        let values = Chosen::new(patterns.to_vec()).take(numbered(0..70).into_iter().chain([z]));
        assert!(values.gauges.contains_key("z") && values.left_out.len() == 7);
    }
}
