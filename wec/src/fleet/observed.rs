//! The figures of the fleets of a run: samples in the log, from which the page and the report draw their charts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use wec_fleet::outlook::Totals;
use wec_fleet::{Extremes, Flow, Second};
use wec_record::{FLEET_SOURCE, Observation, Record};
use wec_requester::Plan;
use wec_requester::executor::{FleetAccount, FleetDrive};

use crate::here::{RunController, Running};

/// Time between two samples, and between the last ones, when the run may end at any moment.
const EVERY: Duration = Duration::from_secs(1);
const AT_THE_END: Duration = Duration::from_millis(100);
/// The longest window whose plan is kept second by second.
const LONGEST: usize = 7 * 86_400;

/// What was planned until each second of the window: orders begun and certificates issued.
#[derive(Debug, Default)]
pub(super) struct PlannedSeries(Vec<(u64, u64)>);

impl PlannedSeries {
    /// One more second of the model.
    pub(super) fn add(&mut self, flow: &Flow) {
        let (orders, issued) = self.0.last().copied().unwrap_or_default();
        if self.0.len() < LONGEST {
            self.0.push((orders + flow.attempts, issued + flow.served()));
        }
    }

    /// The most orders in a second of a run at this speed.
    pub(super) fn peak(&self, speed: f64) -> u64 {
        let Self(sums) = self;
        // At a lower speed a second of the fleet takes longer than one of the run.
        let width = (speed.ceil() as usize).clamp(1, sums.len().max(1));
        let until = |seconds: usize| seconds.checked_sub(1).map_or(0, |last| sums[last].0);
        let most = (width..=sums.len()).map(|end| until(end) - until(end - width)).max().unwrap_or(0);
        (most as f64 * speed.min(1.0)).ceil() as u64
    }

    /// The sums after so many seconds of the window; none after its end.
    fn after(&self, seconds: Second) -> Option<(u64, u64)> {
        match usize::try_from(seconds).ok()? {
            0 => Some((0, 0)),
            seconds => self.0.get(seconds - 1).copied(),
        }
    }
}

/// Puts the figures of a run's fleets into the log.
pub(crate) struct Observer {
    fleets: Vec<FleetDrive>,
    /// What was planned, of one fleet.
    planned: PlannedSeries,
}

impl Observer {
    /// Of a fleet with its plan.
    pub(super) fn planned(driven: &FleetDrive, planned: PlannedSeries) -> Self {
        Self { fleets: vec![driven.clone()], planned }
    }

    /// Of all fleets of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let fleets = plan.scenarios.iter().filter_map(|scenario| scenario.load.fleet().cloned());
        Self { fleets: fleets.collect(), planned: PlannedSeries::default() }
    }

    /// The sums of all fleets.
    fn sample(&self, at_unix_ns: u64) -> Observation {
        let planned = |fleet: &FleetDrive, now: Second| self.planned.after(now - fleet.from());
        let samples = self.fleets.iter().map(|fleet| {
            let account = fleet.account();
            let classes: Vec<_> = fleet.scenario().classes.iter().map(|(class, _)| class.name).collect();
            observation(&account, (fleet.from(), planned(fleet, account.now)), &classes, at_unix_ns)
        });
        let sum = samples.reduce(|mut sum, other| {
            for (name, value) in other.counters {
                *sum.counters.entry(name).or_default() += value;
            }
            for (name, value) in other.gauges {
                *sum.gauges.entry(name).or_default() += value;
            }
            sum
        });
        sum.unwrap_or_default()
    }
}

impl RunController for Observer {
    async fn steer(&mut self, run: Running<'_>) {
        if self.fleets.is_empty() {
            return;
        }
        let ingest = run.analytics.ingest();
        let mut seconds = interval(EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            if run.stop.finish.is_cancelled() {
                sleep(AT_THE_END).await;
            } else {
                tokio::select! { _ = seconds.tick() => {} () = run.stop.finish.cancelled() => {} }
            }
            let sample = Record::Observation(self.sample(run.clock.unix_now_ns()));
            if ingest.deliver(vec![sample]).await.is_err() {
                // Analytics has ended.
                return;
            }
        }
    }
}

/// The figure that only the sum of all classes has.
const DUE: &str = "due";

fn sums(flow: Flow) -> [(&'static str, u64); 8] {
    let Totals { orders, due, issued, late, expired, refused, failed, not_sent, .. } = flow.into();
    [
        ("orders", orders),
        (DUE, due),
        ("issued", issued),
        ("refused", refused),
        ("failed", failed),
        ("not_sent", not_sent),
        ("late", late),
        ("expired", expired),
    ]
}

fn observation(
    account: &FleetAccount,
    (from, planned): (Second, Option<(u64, u64)>),
    classes: &[&str],
    at_unix_ns: u64,
) -> Observation {
    let mut counters = BTreeMap::new();
    let mut count = |name: String, value: u64| {
        counters.insert(name, value as f64);
    };
    let mut all = Flow::default();
    for (class, flow) in classes.iter().zip(&account.classes) {
        all.add(flow);
        for (figure, value) in sums(*flow).into_iter().filter(|(figure, _)| *figure != DUE) {
            count(format!("{figure}_total{{class=\"{class}\"}}"), value);
        }
    }
    for (figure, value) in sums(all) {
        count(format!("{figure}_total"), value);
    }
    if let Some((orders, issued)) = planned {
        count("planned_orders_total".to_owned(), orders);
        count("planned_issued_total".to_owned(), issued);
    }
    let Extremes { peak, backlog, drained_after } = account.extremes;
    let passed = |second: Second| u64::try_from(second - from).unwrap_or(0);
    let mut gauges = vec![
        ("waiting", account.tick.waiting),
        ("sites_down", account.tick.down),
        ("revoked", account.tick.revoked),
        ("in_flight", account.in_flight),
        ("clock_seconds", passed(account.now)),
        ("worst_second_orders", peak.0),
        ("largest_backlog", backlog.0),
        ("largest_backlog_after_seconds", passed(backlog.1)),
    ];
    if let Some(seconds) = drained_after {
        gauges.push(("backlog_drained_after_seconds", seconds.unsigned_abs().into()));
    }
    Observation {
        at_unix_ns,
        source: FLEET_SOURCE.to_owned(),
        gauges: gauges.into_iter().map(|(name, value)| (name.to_owned(), value as f64)).collect(),
        counters,
        left_out: 0,
    }
}

#[cfg(test)]
mod tests {
    use wec_fleet::Tick;

    use super::*;

    #[test]
    fn a_sample_has_the_sums_of_all_and_of_each_class() {
        let flow = |attempts, on_time, refused| Flow { attempts, on_time, refused, ..Flow::default() };
        let account = FleetAccount {
            classes: vec![flow(7, 5, 2), flow(10, 1, 0)],
            tick: Tick { waiting: 3, down: 1, ..Tick::default() },
            in_flight: 9,
            extremes: Extremes { peak: (12, 61), backlog: (4, 62), drained_after: None },
            now: 63,
        };
        let Observation { gauges, counters, .. } =
            observation(&account, (60, Some((20, 8))), &["certbot", "ari"], 5);
        for (name, value) in [
            ("orders_total", 17.0),
            ("issued_total", 6.0),
            ("refused_total{class=\"certbot\"}", 2.0),
            ("orders_total{class=\"ari\"}", 10.0),
            ("planned_orders_total", 20.0),
            ("planned_issued_total", 8.0),
        ] {
            assert_eq!(counters.get(name), Some(&value), "{name}");
        }
        assert_eq!((gauges["waiting"], gauges["sites_down"], gauges["in_flight"]), (3.0, 1.0, 9.0));
        assert_eq!((gauges["clock_seconds"], gauges["worst_second_orders"]), (3.0, 12.0));
        assert_eq!((gauges["largest_backlog"], gauges["largest_backlog_after_seconds"]), (4.0, 2.0));
        assert!(!gauges.contains_key("backlog_drained_after_seconds"), "not drained yet");
    }

    #[test]
    fn what_was_planned_is_known_until_the_windows_end() {
        let mut planned = PlannedSeries::default();
        for attempts in [3, 0, 4] {
            planned.add(&Flow { attempts, on_time: 1, ..Flow::default() });
        }
        let after = [0, 1, 2, 3, 4, -1].map(|seconds| planned.after(seconds));
        assert_eq!(after, [Some((0, 0)), Some((3, 1)), Some((3, 2)), Some((7, 3)), None, None]);
        let peaks = [0.5, 1.0, 1.5, 3.0, 1440.0].map(|speed| planned.peak(speed));
        assert_eq!(peaks, [2, 4, 4, 7, 7]);
        assert_eq!(PlannedSeries::default().peak(60.0), 0);
    }
}
