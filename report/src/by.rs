//! Rows of figures by chain, endpoint, scenario, profile or challenge type.

use std::collections::BTreeMap;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table, TableComponent};
use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};
use wec_figures::aggregate::Aggregate;
use wec_figures::distribution::{Times, Timing};
use wec_figures::snapshot::Snapshot;
use wec_figures::wording::{duration as time_text, rate as rate_text};
use wec_record::{Chain, ChainResult, Record};

/// Rows of scenarios, profiles and challenge types; further ones are counted together.
const MAX_ROWS: usize = 256;
/// Characters kept of a name from the log.
const MAX_TEXT: usize = 300;
const OTHER: &str = "other";

/// What distinguishes the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr, VariantNames, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum By {
    /// Chains, and all requests.
    Chain,
    /// Endpoints, and all requests.
    Endpoint,
    /// The scenario of a chain.
    Scenario,
    /// The certificate profile of a chain's order; `default` without one.
    Profile,
    /// The challenge types of the authorizations that a chain validated; `none` without one.
    ChallengeType,
}

/// Rows with figures.
#[derive(Clone, Debug, Serialize)]
pub struct Rows {
    /// What distinguishes them.
    pub by: By,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The figures of one group.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The scenario, profile, challenge types or endpoint; empty for chains.
    pub group: String,
    /// The chain; `all requests` for the sum of requests; empty for endpoints.
    pub name: String,
    /// HTTP method of an endpoint.
    pub method: String,
    /// URI template of an endpoint.
    pub uri: String,
    /// Iterations or requests that ended.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Interrupted at the end of the run. Endpoints count them in `count`, chains do not.
    pub cut_off: u64,
    /// Left unfinished on purpose.
    pub abandoned: u64,
    /// Ended per second.
    pub per_second: f64,
    /// Response times of the successful ones.
    pub response_time_ns: Timing,
}

/// Counts chains by group while a log is read.
#[derive(Debug)]
pub struct Groups {
    by: By,
    groups: BTreeMap<(String, Chain), Group>,
}

#[derive(Debug, Default)]
struct Group {
    count: u64,
    failed: u64,
    cut_off: u64,
    abandoned: u64,
    times: Times,
}

impl Groups {
    /// Groups by this.
    pub fn new(by: By) -> Self {
        Self { by, groups: BTreeMap::new() }
    }

    /// Counts a record that belongs to the aggregate's part of the run.
    pub fn record(&mut self, record: &Record, aggregate: &Aggregate) {
        let Record::Chain { origin_unix_ns, result, .. } = record else { return };
        let Some(chain) = result.chain else { return };
        if !aggregate.includes(origin_unix_ns.saturating_add(result.done)) {
            return;
        }
        let Some(name) = self.group_of(result) else { return };
        let mut key = (name.chars().take(MAX_TEXT).collect(), chain);
        if self.groups.len() >= MAX_ROWS && !self.groups.contains_key(&key) {
            key.0 = OTHER.to_owned();
        }
        let group = self.groups.entry(key).or_default();
        if result.is_cut_off() {
            group.cut_off += 1;
            return;
        }
        group.count += 1;
        if !result.successful {
            group.failed += 1;
        } else if result.abandoned {
            group.abandoned += 1;
        } else {
            group.times.record(result.took);
        }
    }

    /// None for chains and endpoints, which the aggregate has.
    fn group_of(&self, result: &ChainResult) -> Option<String> {
        match self.by {
            By::Chain | By::Endpoint => None,
            By::Scenario => Some(result.scenario.clone()),
            By::Profile if result.profile.is_empty() => Some("default".to_owned()),
            By::Profile => Some(result.profile.clone()),
            By::ChallengeType => {
                let mut types: Vec<&str> =
                    result.authorizations.iter().filter_map(|one| Some(one.challenge?.name())).collect();
                types.sort_unstable();
                types.dedup();
                Some(if types.is_empty() { "none".to_owned() } else { types.join("+") })
            }
        }
    }

    /// The rows, with the figures of the same records in `snapshot`.
    pub fn rows(self, snapshot: &Snapshot) -> Rows {
        let by = self.by;
        let all_requests = || Row {
            name: "all requests".to_owned(),
            count: snapshot.requests,
            failed: snapshot.requests_failed,
            cut_off: snapshot.endpoints.iter().map(|endpoint| endpoint.cut_off).sum(),
            per_second: snapshot.rps,
            response_time_ns: snapshot.response_time_ns.clone(),
            ..Row::empty()
        };
        let rows = match by {
            By::Chain => {
                let chains = snapshot.listed_chains().map(|(chain, figures)| Row {
                    name: chain.name().to_owned(),
                    count: figures.count,
                    failed: figures.failed,
                    cut_off: figures.cut_off,
                    abandoned: figures.abandoned,
                    per_second: figures.rps,
                    response_time_ns: figures.response_time_ns.clone(),
                    ..Row::empty()
                });
                chains.chain([all_requests()]).collect()
            }
            By::Endpoint => {
                let endpoints = snapshot.endpoints.iter().map(|figures| Row {
                    group: figures.endpoint.clone(),
                    method: figures.method.clone(),
                    uri: figures.uri.clone(),
                    count: figures.count,
                    failed: figures.failed,
                    cut_off: figures.cut_off,
                    per_second: figures.rps,
                    response_time_ns: figures.response_time_ns.clone(),
                    ..Row::empty()
                });
                endpoints.chain([all_requests()]).collect()
            }
            By::Scenario | By::Profile | By::ChallengeType => {
                let per_second = |count: u64| match snapshot.elapsed_ns {
                    0 => 0.0,
                    elapsed => (count as f64 * 1e12 / elapsed as f64).round() / 1e3,
                };
                let groups = self.groups.into_iter().map(|((group, chain), counted)| Row {
                    group,
                    name: chain.name().to_owned(),
                    count: counted.count,
                    failed: counted.failed,
                    cut_off: counted.cut_off,
                    abandoned: counted.abandoned,
                    per_second: per_second(counted.count),
                    response_time_ns: counted.times.timing(),
                    ..Row::empty()
                });
                groups.collect()
            }
        };
        Rows { by, rows }
    }
}

impl Row {
    fn empty() -> Self {
        Self {
            group: String::new(),
            name: String::new(),
            method: String::new(),
            uri: String::new(),
            count: 0,
            failed: 0,
            cut_off: 0,
            abandoned: 0,
            per_second: 0.0,
            response_time_ns: Timing::default(),
        }
    }

    /// The group and the chain, as far as there are both.
    pub(crate) fn title(&self) -> String {
        let parts = [&self.group, &self.name];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Rows {
    /// A table for a terminal.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─');
        let by: &str = self.by.into();
        table.set_header([
            by, "count", "failed", "per s", "N", "mean", "p50", "p90", "p95", "p99", "p99.9", "max",
        ]);
        for row in &self.rows {
            let timing = &row.response_time_ns;
            let time = |value: Option<u64>| value.map_or("–".to_owned(), time_text);
            table.add_row([
                wec_text::visible(&row.title()).into_owned(),
                row.count.to_string(),
                row.failed.to_string(),
                rate_text(row.per_second),
                timing.n.to_string(),
                time(timing.mean),
                time(timing.p50),
                time(timing.p90),
                time(timing.p95),
                time(timing.p99),
                time(timing.p99_9),
                time(timing.max),
            ]);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 1));
            if index > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}
