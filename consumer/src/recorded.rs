//! `RecordedPoints`: the points of a run from its reports, without a consumer.

use serde_json::Value;

use crate::client::report_body;
use crate::job::{Jobs, Times};
use crate::payload::{Registration, Report};
use crate::point::Point;
use crate::reporter::RunReport;

/// Makes the points that a consumer writes when all reports arrive in time.
#[derive(Debug)]
pub struct RecordedPoints {
    jobs: Jobs,
    uuid: String,
}

impl RecordedPoints {
    /// For one run, with this interval between points.
    pub fn new(times: Times) -> Self {
        Self { jobs: Jobs::new(times, std::collections::BTreeMap::new()), uuid: String::new() }
    }

    /// The points of a report.
    ///
    /// # Errors
    /// When a consumer refuses it.
    pub fn points(&mut self, report: RunReport) -> Result<Vec<Point>, String> {
        let told = |error: &dyn std::error::Error| error.to_string();
        match report {
            RunReport::Started(start) => {
                let registration = Registration::read(&sent(&start.body())).map_err(|error| told(&error))?;
                let registered =
                    self.jobs.register(start.started_unix_ns, "recorded".to_owned(), registration);
                let (uuid, points) = registered.map_err(|error| told(&error))?;
                self.uuid = uuid;
                Ok(points)
            }
            RunReport::Update(at, stats) => {
                let report = Report::read(&sent(&report_body(&self.uuid, at, &stats)));
                self.jobs.update(at, report.map_err(|error| told(&error))?).map_err(|error| told(&error))
            }
            RunReport::Ended(at, stats) => {
                let report = Report::read_final(&sent(&report_body(&self.uuid, at, &stats)));
                self.jobs.commit(at, report.map_err(|error| told(&error))?).map_err(|error| told(&error))
            }
        }
    }
}

/// The report as it arrives at a consumer: reading a number from JSON may change its last digit.
fn sent(body: &Value) -> Value {
    serde_json::from_str(&body.to_string()).unwrap_or_default()
}
