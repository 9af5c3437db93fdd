//! The figures of a simulation, and its series.

use std::collections::VecDeque;
use std::fmt::Write as _;

use serde::Serialize;

use crate::Second;
use crate::cohorts::Cohorts;
use crate::scenario::Scenario;
use crate::step::{Flow, Tick};
use crate::time::{DAY, moment_text};

/// Periods that the figures show one by one.
const PERIODS: i32 = 12;
/// A backlog counts as drained when so many times what waits is below its maximum.
pub(crate) const DRAINED: u64 = 100;

/// The figures of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// The seed: with it, the simulation gives the same figures again.
    pub seed: u64,
    /// The first day, as a date.
    pub start: String,
    /// Length in seconds.
    pub seconds: i32,
    /// Certificates at the start.
    pub certificates: u64,
    /// Certificates at the end.
    pub certificates_at_end: u64,
    /// What clients ask for.
    pub demand: Demand,
    /// The whole length.
    pub total: Totals,
    /// What waited.
    pub backlog: Backlog,
    /// Twelve parts of the length.
    pub periods: Vec<Period>,
    /// Each class of clients.
    pub classes: Vec<ClassFigures>,
    /// Whether due = served + late + expired + waiting held in each second.
    pub balanced: bool,
}

/// Orders that clients begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Demand {
    /// Mean of orders a second, repeated ones included.
    pub mean: f64,
    /// Mean of renewals a second that become due.
    pub mean_due: f64,
    /// The second with the most orders.
    pub peak_second: Window,
    /// That over the mean.
    pub peak_over_mean: f64,
    /// The 60 s with the most orders.
    pub worst_minute: Window,
    /// The window of the length that was asked for with the most orders.
    pub worst_window: Window,
    /// Orders by hour of the day, UTC, as shares of all.
    pub by_hour: Vec<f64>,
}

/// Some seconds in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The first second, from the start.
    pub from: Second,
    /// As a date and a time.
    pub at: String,
    /// Number of seconds.
    pub seconds: i32,
    /// Orders in them.
    pub orders: u64,
}

/// Sums over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Orders that clients began.
    pub orders: u64,
    /// Renewals that became due.
    pub due: u64,
    /// Certificates issued.
    pub issued: u64,
    /// Renewals served in time.
    pub on_time: u64,
    /// Renewals served late.
    pub late: u64,
    /// Certificates that expired before their renewal.
    pub expired: u64,
    /// Orders that the CA refused because of its load or a limit, with 503 or 429.
    pub refused: u64,
    /// Orders that failed otherwise; in the model those without an answer.
    pub failed: u64,
    /// Orders that were not sent because no worker was free; none in the model.
    pub not_sent: u64,
}

impl From<Flow> for Totals {
    fn from(flow: Flow) -> Self {
        let Flow { attempts: orders, due, on_time, late, expired, refused, failed, not_sent, .. } = flow;
        Self { orders, due, issued: flow.served(), on_time, late, expired, refused, failed, not_sent }
    }
}

/// Renewals that were due and not served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The most at once.
    pub max: u64,
    /// When, from the start.
    pub max_second: Second,
    /// As a date and a time.
    pub max_at: String,
    /// Seconds from then until less than a hundredth was left; none if that did not happen.
    pub drained_after: Option<i32>,
    /// At the end.
    pub at_end: u64,
    /// The most orders in the CA's queue.
    pub max_queue: u64,
    /// The most sites that were down at once, because their certificates had expired.
    pub max_down: u64,
    /// Sites that were down at the end.
    pub down_at_end: u64,
    /// Seconds until the last revoked certificate was replaced, after the last revocation; none without one, or while
    /// some are left.
    pub revoked_replaced_after: Option<i32>,
    /// Revoked certificates that were in use at the end.
    pub revoked_at_end: u64,
}

/// A part of the length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Period {
    /// Its first second.
    pub from: Second,
    /// Its first day, as a date.
    pub start: String,
    /// Its length in seconds.
    pub seconds: i32,
    /// Orders a second, mean.
    pub mean: f64,
    /// Orders in its worst second.
    pub peak: u64,
    /// Its sums.
    pub total: Totals,
    /// The largest backlog.
    pub max_backlog: u64,
}

/// A class of clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// What it does after a 503.
    pub takes_503: String,
    /// Its sums.
    pub total: Totals,
    /// Orders in its worst second.
    pub peak: u64,
}

/// Makes the figures from the seconds of a simulation, in order.
#[derive(Debug)]
pub struct Recorder {
    scenario: Scenario,
    total: Flow,
    classes: Vec<(Flow, u64)>,
    periods: Vec<Period>,
    period_flows: Vec<Flow>,
    peak: (u64, Second),
    minute: Worst,
    window: Worst,
    by_hour: [u64; 24],
    backlog: Backlog,
    revoked_in: Option<Second>,
    last: Tick,
    balanced: bool,
}

impl Recorder {
    /// For a simulation of this scenario; the worst window has so many seconds.
    pub fn new(scenario: &Scenario, window: i32) -> Self {
        Self {
            total: Flow::default(),
            classes: vec![(Flow::default(), 0); scenario.classes.len()],
            periods: vec![Period::default(); PERIODS as usize],
            period_flows: vec![Flow::default(); PERIODS as usize],
            peak: (0, 0),
            minute: Worst::new(60),
            window: Worst::new(window),
            by_hour: [0; 24],
            backlog: Backlog::default(),
            revoked_in: None,
            last: Tick::default(),
            balanced: true,
            scenario: scenario.clone(),
        }
    }

    /// Simulates the scenario by cohorts, and gives each second to `each`.
    pub fn run(scenario: &Scenario, window: i32, mut each: impl FnMut(&Tick)) -> Outlook {
        let mut recorder = Self::new(scenario, window);
        let mut cohorts = Cohorts::new(scenario.clone());
        for _ in 0..scenario.length {
            let tick = cohorts.step();
            recorder.record(tick);
            each(tick);
        }
        recorder.outlook()
    }

    /// The next second.
    pub fn record(&mut self, tick: &Tick) {
        let flow = tick.total();
        for ((sum, peak), class) in self.classes.iter_mut().zip(&tick.classes) {
            sum.add(class);
            *peak = class.attempts.max(*peak);
        }
        self.total.add(&flow);
        if flow.attempts > self.peak.0 {
            self.peak = (flow.attempts, tick.second);
        }
        self.minute.add(tick.second, flow.attempts);
        self.window.add(tick.second, flow.attempts);
        self.by_hour[(tick.second.rem_euclid(DAY) / 3_600) as usize] += flow.attempts;
        let period = i64::from(tick.second) * i64::from(PERIODS) / i64::from(self.scenario.length.max(1));
        let period = (period as usize).min(self.periods.len() - 1);
        self.period_flows[period].add(&flow);
        let sums = &mut self.periods[period];
        if sums.seconds == 0 {
            sums.from = tick.second;
        }
        sums.seconds += 1;
        sums.peak = sums.peak.max(flow.attempts);
        sums.max_backlog = sums.max_backlog.max(tick.waiting);
        self.record_levels(tick);
        let Flow { due, on_time, late, expired, .. } = self.total;
        self.balanced &= due == on_time + late + expired + tick.waiting;
        self.last.clone_from(tick);
    }

    fn record_levels(&mut self, tick: &Tick) {
        let backlog = &mut self.backlog;
        if tick.waiting > backlog.max {
            (backlog.max, backlog.max_second, backlog.drained_after) = (tick.waiting, tick.second, None);
        } else if backlog.drained_after.is_none() && backlog.max > 0 && tick.waiting * DRAINED < backlog.max {
            backlog.drained_after = Some(tick.second - backlog.max_second);
        }
        backlog.max_queue = backlog.max_queue.max(tick.queued);
        backlog.max_down = backlog.max_down.max(tick.down);
        if tick.revoked > self.last.revoked {
            (self.revoked_in, backlog.revoked_replaced_after) = (Some(tick.second), None);
        } else if tick.revoked == 0
            && backlog.revoked_replaced_after.is_none()
            && let Some(second) = self.revoked_in
        {
            backlog.revoked_replaced_after = Some(tick.second - second);
        }
    }

    /// The figures so far.
    pub fn outlook(self) -> Outlook {
        let Self { scenario, total, last, .. } = self;
        let seconds = f64::from(last.second + 1);
        let moment = |second| moment_text(scenario.start_day, second);
        let window = |worst: &Worst| Window {
            from: worst.from,
            at: moment(worst.from),
            seconds: worst.seconds,
            orders: worst.orders,
        };
        let mean = total.attempts as f64 / seconds;
        let demand = Demand {
            mean,
            mean_due: total.due as f64 / seconds,
            peak_second: Window {
                from: self.peak.1,
                at: moment(self.peak.1),
                seconds: 1,
                orders: self.peak.0,
            },
            peak_over_mean: if mean > 0.0 { self.peak.0 as f64 / mean } else { 0.0 },
            worst_minute: window(&self.minute),
            worst_window: window(&self.window),
            by_hour: self.by_hour.iter().map(|hour| *hour as f64 / total.attempts.max(1) as f64).collect(),
        };
        let periods =
            self.periods.into_iter().zip(self.period_flows).filter(|(period, _)| period.seconds > 0);
        let periods = periods.map(|(period, flow)| Period {
            start: moment(period.from).split(' ').next().unwrap_or_default().to_owned(),
            mean: flow.attempts as f64 / f64::from(period.seconds),
            total: flow.into(),
            ..period
        });
        let classes =
            scenario.classes.iter().zip(&self.classes).map(|((class, _), (flow, peak))| ClassFigures {
                name: class.name.to_owned(),
                takes_503: class.after_503(),
                total: (*flow).into(),
                peak: *peak,
            });
        Outlook {
            seed: scenario.seed,
            start: moment(0).split(' ').next().unwrap_or_default().to_owned(),
            seconds: last.second + 1,
            certificates: scenario.certificates,
            certificates_at_end: last.members,
            demand,
            total: total.into(),
            backlog: Backlog {
                max_at: moment(self.backlog.max_second),
                at_end: last.waiting,
                down_at_end: last.down,
                revoked_at_end: last.revoked,
                ..self.backlog
            },
            periods: periods.collect(),
            classes: classes.collect(),
            balanced: self.balanced,
        }
    }
}

/// The seconds in a row with the most orders.
#[derive(Debug)]
struct Worst {
    seconds: i32,
    recent: VecDeque<u64>,
    sum: u64,
    orders: u64,
    from: Second,
}

impl Worst {
    fn new(seconds: i32) -> Self {
        Self { seconds: seconds.max(1), recent: VecDeque::new(), sum: 0, orders: 0, from: 0 }
    }

    fn add(&mut self, second: Second, orders: u64) {
        self.recent.push_back(orders);
        self.sum += orders;
        if self.recent.len() > self.seconds as usize {
            self.sum -= self.recent.pop_front().unwrap_or(0);
        }
        if self.sum > self.orders {
            (self.orders, self.from) = (self.sum, (second + 1 - self.seconds).max(0));
        }
    }
}

/// A simulation as rows of CSV, each with the sums of a step and the levels at its end.
#[derive(Debug)]
pub struct Series {
    start_day: i32,
    step: i32,
    sums: Vec<Flow>,
    peak: u64,
}

impl Series {
    /// With a row for each `step` seconds.
    pub fn new(scenario: &Scenario, step: i32) -> Self {
        Self {
            start_day: scenario.start_day,
            step: step.max(1),
            sums: vec![Flow::default(); scenario.classes.len()],
            peak: 0,
        }
    }

    /// The names of the columns.
    pub fn header(scenario: &Scenario) -> String {
        let mut header =
            "second,utc,orders,peak_second,due,issued,late,expired,refused,failed,queue,waiting,down,revoked"
                .to_owned();
        for (class, _) in &scenario.classes {
            // Writing into a string does not fail.
            let _ = write!(header, ",orders_{0},refused_{0}", class.name);
        }
        header
    }

    /// Takes a second; returns a row at the end of a step.
    pub fn row(&mut self, tick: &Tick) -> Option<String> {
        self.sums.iter_mut().zip(&tick.classes).for_each(|(sum, flow)| sum.add(flow));
        self.peak = self.peak.max(tick.total().attempts);
        if (tick.second + 1) % self.step != 0 {
            return None;
        }
        let from = tick.second + 1 - self.step;
        let mut total = Flow::default();
        self.sums.iter().for_each(|flow| total.add(flow));
        let Totals { orders, due, issued, late, expired, refused, failed, .. } = total.into();
        let Tick { queued, waiting, down, revoked, .. } = tick;
        let mut row = format!(
            "{from},{},{orders},{},{due},{issued},{late},{expired},{refused},{failed},{queued},{waiting},{down},{revoked}",
            moment_text(self.start_day, from),
            self.peak,
        );
        for flow in &self.sums {
            let _ = write!(row, ",{},{}", flow.attempts, flow.refused);
        }
        self.sums.fill(Flow::default());
        self.peak = 0;
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_seconds_in_a_row_are_found() {
        let worst = |seconds, orders: &[u64]| {
            let mut worst = Worst::new(seconds);
            (0..).zip(orders).for_each(|(second, orders)| worst.add(second, *orders));
            (worst.from, worst.orders)
        };
        assert_eq!(worst(2, &[1, 5, 5, 1, 9, 0]), (1, 10));
        assert_eq!(worst(3, &[1, 5, 5, 1, 9, 0]), (2, 15));
        assert_eq!(worst(60, &[1, 5]), (0, 6), "shorter than the window");
        assert_eq!(worst(5, &[]), (0, 0));
    }
}
