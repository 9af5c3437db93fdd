//! How the times of one row of the statistics are distributed.

use std::collections::BTreeMap;
use std::ops::Range;

use wec_record::{Chain, ChallengeType};

use super::over_time::OverTime;
use super::slowest::Slowest;
use super::{Aggregate, EndpointTotals, OutcomeTotals};
use crate::distribution::Times;
use crate::snapshot::{DistributionCell, DistributionView};

/// Buckets of a distribution over time.
const MAX_BUCKETS: usize = 120;

impl Aggregate {
    /// Response times over time by endpoint, for a file. Pieces of the run have none.
    pub fn endpoints_over_time(&self) -> BTreeMap<String, OverTime> {
        let of = |totals: &EndpointTotals| (row_of(totals), totals.over_time.clone());
        self.endpoints.iter().map(of).collect()
    }

    /// Gives a part that was put together of pieces its response times over time, from those of the whole run.
    pub fn draw_endpoints(&mut self, whole: &BTreeMap<String, OverTime>, unix_ns: &Range<u64>) {
        for totals in &mut self.endpoints {
            if let Some(over_time) = whole.get(&row_of(totals)) {
                totals.over_time = over_time.clone().within(unix_ns);
            }
        }
    }

    /// The distribution of a row of the statistics; none if there is no such row. Rows are `all requests`,
    /// `all issuances`, `chain NAME`, `endpoint NAME METHOD URI`, `challenge TYPE` and `node ID`.
    pub fn distribution(&self, row: &str, service: bool) -> Option<DistributionView> {
        let (group, name) = row.split_once(' ')?;
        let endpoints = || self.endpoints.iter().chain(self.other_endpoint.as_deref());
        let chosen =
            |outcome: &OutcomeTotals| if service { &outcome.service } else { &outcome.response }.clone();
        let mut view = DistributionView { row: row.to_owned(), step_s: 1, ..DistributionView::default() };
        let show = |view: &mut DistributionView, over_time: &OverTime, slowest: &Slowest| {
            view.examples = slowest.examples().to_vec();
            if !service {
                (view.step_s, view.over_time) = over_time.buckets();
            }
        };
        let times = match (group, name) {
            ("all", "requests") => {
                let (mut all, mut over_time, mut slowest) =
                    (Times::default(), OverTime::default(), Slowest::default());
                for totals in endpoints() {
                    all.merge(chosen(&totals.outcome));
                    over_time.merge(totals.over_time.clone());
                    slowest.merge(totals.slowest.clone());
                }
                show(&mut view, &over_time, &slowest);
                all
            }
            ("all", "issuances") => self.issuances.clone(),
            ("chain", _) => {
                let chain = Chain::ALL.into_iter().find(|chain| chain.name() == name)?;
                if !service {
                    (view.step_s, view.over_time) = self.timeline.over_time(chain, MAX_BUCKETS);
                }
                let totals = &self.chains[chain.index()];
                view.examples = totals.slowest.examples().to_vec();
                chosen(&totals.outcome)
            }
            ("endpoint", _) => {
                let totals = endpoints().find(|totals| row_of(totals) == name)?;
                show(&mut view, &totals.over_time, &totals.slowest);
                chosen(&totals.outcome)
            }
            ("challenge", _) => {
                let challenge = ChallengeType::ALL.into_iter().find(|challenge| challenge.name() == name)?;
                self.validations.times(challenge)
            }
            ("node", _) => self.nodes.response(name)?.clone(),
            _ => return None,
        };
        view.service = service && (matches!(group, "chain" | "endpoint") || row == "all requests");
        view.cells = DistributionCell::of(times.cells().map(|(cell, count)| (cell.low, count)));
        Some(view)
    }
}

/// The name of an endpoint's row.
fn row_of(totals: &EndpointTotals) -> String {
    format!("{} {} {}", totals.endpoint, totals.method, totals.uri)
}
