//! `RunReports`: what is reported of a run to a consumer, and when.
//!
//! Pure, and by the times of records only: so a log gives the same reports as the run gave that wrote it.

use std::collections::BTreeMap;
use std::time::Duration;

use wec_consumer::{RunReport, RunStart};
use wec_figures::aggregate::Earlier;
use wec_record::{Record, RunHeader};

use crate::Aggregate;

/// The reports of one run: its start, its figures at the end of each interval, and its result.
#[derive(Clone, Debug)]
pub(crate) struct RunReports {
    interval: u64,
    /// The end of the current interval, nanoseconds since the Unix epoch; none before the start.
    next: Option<u64>,
    earlier: Earlier,
}

impl RunReports {
    pub(crate) fn new(interval: Duration) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { interval, next: None, earlier: Earlier::default() }
    }

    /// What is to be reported before `record` is counted in `figures`.
    pub(crate) fn before(&mut self, record: &Record, figures: &Aggregate) -> Option<RunReport> {
        let Some(next) = self.next else {
            let Record::Header(header) = record else { return None };
            self.next = Some(header.started_unix_ns.saturating_add(self.interval));
            return Some(RunReport::Started(start_of(header)));
        };
        let at = match record {
            // Without a place in the run's time.
            Record::Header(_)
            | Record::Footer(_)
            | Record::Lost { .. }
            | Record::Event(_)
            | Record::Observation(_)
            | Record::Unknown(_) => return None,
            record => record.unix_ns().filter(|at| *at > next && figures.times().has_room_for(*at))?,
        };
        // After a time without records: the latest of the intervals that have ended.
        let ended = next + (at - next - 1) / self.interval * self.interval;
        self.next = Some(ended.saturating_add(self.interval));
        let (stats, earlier) = figures.request_stats(ended, &self.earlier, true);
        self.earlier = earlier;
        Some(RunReport::Update(ended, stats))
    }

    /// The result; none if the run has not begun.
    pub(crate) fn result(&self, figures: &Aggregate) -> Option<RunReport> {
        let header = figures.header()?;
        let at = match figures.latest() {
            0 => header.started_unix_ns,
            latest => latest,
        };
        Some(RunReport::Ended(at, figures.request_stats(at, &self.earlier, false).0))
    }
}

fn start_of(header: &RunHeader) -> RunStart {
    let scenarios = header.stamp.plan.iter().flat_map(|plan| &plan.scenarios);
    let clients = scenarios.map(|scenario| u64::from(scenario.load.workers())).sum();
    RunStart {
        run: header.run.clone(),
        started_unix_ns: header.started_unix_ns,
        host: header.stamp.host.clone(),
        tags: BTreeMap::from([
            ("targetHost".to_owned(), header.target.clone()),
            ("session".to_owned(), header.session.clone()),
            ("program".to_owned(), header.program.clone()),
        ]),
        clients,
    }
}
