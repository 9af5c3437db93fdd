//! `Jobs`: which points a run's job writes, and when. Pure: the time is passed in, and points are returned.
//!
//! | event | points | then |
//! | --- | --- | --- |
//! | register | what was registered, `live=true` | the next point after one interval |
//! | update | the new figures, `live=true` | the same; a missing update is waited for half an interval longer |
//! | update within half an interval of a point that was no repetition | – | they are written when the interval is over |
//! | an interval without new figures | the last ones again, `live=false` | the next point after one interval |
//! | no request for the time-out | the last ones, `live=false`, with `state` and `ended` | timed out |
//! | commit, also of a job that has timed out | the last figures, `live=true`, and the result | committed |
//! | update of a job that has timed out | the new figures | running again |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wec_record::RequestStats;

use crate::payload::{MAX_ENDPOINTS, MAX_ERRORS, Moment, Registration, Report};
use crate::point::{FieldValue, Point};

/// The measurement of the points of a run in progress.
pub(crate) const RUNNING: &str = "load_testing";
/// The measurement of results.
pub(crate) const RESULT: &str = "load_testing_result";

/// Jobs that may run at once.
const MAX_RUNNING: usize = 1_000;
/// Ended jobs that are kept, so that late requests get the right answer.
const MAX_ENDED: usize = 1_000;
/// A payload's time is used if it differs from our clock by no more than this.
const CREDIBLE: u64 = 24 * 3600 * 1_000_000_000;

/// How often points are written, and when a silent job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two points of a job.
    pub interval: Duration,
    /// A job that sends nothing for this long ends.
    pub timeout: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), timeout: Duration::from_secs(600) }
    }
}

/// The job of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The run's id: what the load generator gave, or else the job's own.
    pub run: String,
    started_unix_ns: u64,
    tags: BTreeMap<String, String>,
    /// The last known figures.
    fields: BTreeMap<String, FieldValue>,
    /// The time of the figures if they are not written yet.
    #[serde(default)]
    unwritten: Option<u64>,
    /// When the last point was written, or should have been.
    last_point: u64,
    /// The time that the load generator gave for the latest point, if it was exact.
    #[serde(default)]
    last_given: Option<u64>,
    last_sign_of_life: u64,
    /// Whether the latest point was of an update: the next one is expected.
    updates: bool,
    /// Whether the latest point was a repetition.
    #[serde(default)]
    repeated: bool,
    /// None while it runs.
    #[serde(default)]
    ended: Option<JobEnd>,
    #[serde(default)]
    ended_unix_ns: u64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobEnd {
    /// The load generator sent the result.
    Committed,
    /// Nothing was received for the time-out.
    TimedOut,
}

/// Why a request about a job was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// There is no such job.
    #[error(
        "there is no job with this uuid: register the run first, and send the uuid that register answered"
    )]
    Unknown,
    /// The result is here already.
    #[error("the result of this job was committed before: register a new run")]
    Committed,
    /// There are too many.
    #[error("{} jobs are running: commit some of them, or wait for their time-out", MAX_RUNNING)]
    Full,
}

/// All jobs, by their uuid.
#[derive(Clone, Debug, PartialEq)]
pub struct Jobs {
    times: Times,
    jobs: BTreeMap<String, Job>,
}

impl Jobs {
    /// These jobs.
    pub const fn new(times: Times, jobs: BTreeMap<String, Job>) -> Self {
        Self { times, jobs }
    }

    /// All of them, to be kept.
    pub const fn all(&self) -> &BTreeMap<String, Job> {
        &self.jobs
    }

    /// Begins a job, or continues the one that runs for the same run of the load generator. `uuid` is for a new
    /// one. Returns the job's uuid and its points.
    ///
    /// # Errors
    /// When too many jobs are running.
    pub fn register(
        &mut self,
        now: u64,
        uuid: String,
        registration: Registration,
    ) -> Result<(String, Vec<Point>), JobError> {
        let Registration { started, run, tags, fields } = registration;
        let of_run = |job: &Job| run.as_ref() == Some(&job.run) && job.ended != Some(JobEnd::Committed);
        if let Some((uuid, job)) = self.jobs.iter_mut().find(|(_, job)| of_run(job)) {
            job.last_sign_of_life = now;
            job.ended = None;
            return Ok((uuid.clone(), Vec::new()));
        }
        if self.running().count() >= MAX_RUNNING {
            return Err(JobError::Full);
        }
        let mut job = Job {
            run: run.unwrap_or_else(|| uuid.clone()),
            started_unix_ns: started.unix_ns,
            tags,
            fields,
            unwritten: None,
            last_point: now,
            last_given: started.exact.then_some(started.unix_ns),
            last_sign_of_life: now,
            updates: false,
            repeated: false,
            ended: None,
            ended_unix_ns: 0,
        };
        job.fields.insert("startedAt".to_owned(), FieldValue::Count(started.unix_ns / 1_000_000_000));
        let points = vec![job.point(time_of(started, now), true)];
        self.jobs.insert(uuid.clone(), job);
        Ok((uuid, points))
    }

    /// Takes live figures.
    ///
    /// # Errors
    /// When there is no such job, or its result is here already.
    pub fn update(&mut self, now: u64, report: Report) -> Result<Vec<Point>, JobError> {
        let interval = nanoseconds(self.times.interval);
        let job = self.job(&report.uuid)?;
        job.take(now, &report);
        job.updates = true;
        let at = time_of(report.at, now);
        // By the load generator's clock if its times are exact: a request may be delayed.
        let since = match job.last_given.filter(|_| report.at.exact) {
            Some(last) => report.at.unix_ns.saturating_sub(last),
            None => now.saturating_sub(job.last_point),
        };
        if since < interval / 2 && !job.repeated {
            job.unwritten = Some(at);
            return Ok(Vec::new());
        }
        job.last_point = now;
        job.repeated = false;
        job.last_given = report.at.exact.then_some(report.at.unix_ns);
        Ok(vec![job.point(at, true)])
    }

    /// Takes the result, and ends the job.
    ///
    /// # Errors
    /// When there is no such job, or its result is here already.
    pub fn commit(&mut self, now: u64, report: Report) -> Result<Vec<Point>, JobError> {
        let job = self.job(&report.uuid)?;
        job.take(now, &report);
        let at = time_of(report.at, now);
        job.ended = Some(JobEnd::Committed);
        job.ended_unix_ns = now;
        let mut points = vec![job.point(at, true)];
        points.extend(job.result(at, &report));
        self.forget_old();
        Ok(points)
    }

    /// The points that are due, and the ends of silent jobs.
    pub fn tick(&mut self, now: u64) -> Vec<Point> {
        let times = self.times;
        let mut points = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.ended.is_none()) {
            let silent = now.saturating_sub(job.last_sign_of_life);
            if silent >= nanoseconds(times.timeout) {
                points.push(job.time_out(now, times.timeout));
            } else if now >= job.due(&times) {
                let unwritten = job.unwritten.take();
                points.push(unwritten.map_or_else(|| job.point(now, false), |at| job.point(at, true)));
                job.last_point = now;
                job.repeated = unwritten.is_none();
                job.updates = false;
            }
        }
        self.forget_old();
        points
    }

    /// When the next `tick` is due; none while no job runs.
    pub fn next_due(&self) -> Option<u64> {
        let timeout = nanoseconds(self.times.timeout);
        self.running()
            .map(|(_, job)| job.due(&self.times).min(job.last_sign_of_life.saturating_add(timeout)))
            .min()
    }

    /// The running jobs.
    pub fn running(&self) -> impl Iterator<Item = (&String, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.ended.is_none())
    }

    fn job(&mut self, uuid: &str) -> Result<&mut Job, JobError> {
        match self.jobs.get_mut(uuid) {
            None => Err(JobError::Unknown),
            Some(job) if job.ended == Some(JobEnd::Committed) => Err(JobError::Committed),
            Some(job) => Ok(job),
        }
    }

    fn forget_old(&mut self) {
        let ended = |(_, job): &(&String, &Job)| job.ended.is_some();
        while self.jobs.iter().filter(ended).count() > MAX_ENDED {
            let oldest = self.jobs.iter().filter(ended).min_by_key(|(_, job)| job.ended_unix_ns);
            let Some(oldest) = oldest.map(|(uuid, _)| uuid.clone()) else { return };
            self.jobs.remove(&oldest);
        }
    }
}

impl Job {
    /// Whether it runs.
    pub const fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    fn take(&mut self, now: u64, report: &Report) {
        self.last_sign_of_life = now;
        self.ended = None;
        self.unwritten = None;
        self.fields.extend(report.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(stats) = &report.stats {
            let mut fields = live_fields(stats);
            if stats.stats.is_empty() {
                // Without entries the counts are not known, unless there were none before.
                fields.retain(|name, _| {
                    !matches!(&name[..], "requests" | "failures") || !self.fields.contains_key(name)
                });
            }
            self.fields.extend(fields);
        }
    }

    fn due(&self, times: &Times) -> u64 {
        let interval = nanoseconds(times.interval);
        // The load generator's own interval may begin a little later than ours.
        let waits = if self.updates && self.unwritten.is_none() { interval / 2 } else { 0 };
        self.last_point.saturating_add(interval).saturating_add(waits)
    }

    fn time_out(&mut self, now: u64, timeout: Duration) -> Point {
        self.ended = Some(JobEnd::TimedOut);
        self.ended_unix_ns = now;
        let mut point = self.point(now, false);
        point.fields.insert("state".to_owned(), FieldValue::Text("timed out".to_owned()));
        let why = format!("nothing received for {} s", timeout.as_secs_f64());
        point.fields.insert("ended".to_owned(), FieldValue::Text(why));
        point
    }

    fn point(&self, at_unix_ns: u64, live: bool) -> Point {
        let mut tags = self.tags.clone();
        tags.insert("run".to_owned(), self.run.clone());
        tags.insert("live".to_owned(), live.to_string());
        Point { measurement: RUNNING, tags, fields: self.fields.clone(), at_unix_ns }
    }

    /// The total, a point for each endpoint, and one for each group of errors, distinguished by the tag
    /// `kind`.
    fn result(&self, at_unix_ns: u64, report: &Report) -> Vec<Point> {
        let Some(stats) = &report.stats else { return Vec::new() };
        let point = |kind: &str, more: &[(&str, &str)], fields: BTreeMap<String, FieldValue>| {
            let mut tags = self.tags.clone();
            tags.extend(report.tags.iter().map(|(name, value)| (name.clone(), value.clone())));
            tags.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            tags.insert("run".to_owned(), self.run.clone());
            tags.insert("kind".to_owned(), kind.to_owned());
            Point { measurement: RESULT, tags, fields, at_unix_ns }
        };
        let mut total = live_fields(stats);
        let ended = report.at.unix_ns;
        total.extend([
            ("startedAt".to_owned(), FieldValue::Count(self.started_unix_ns / 1_000_000_000)),
            ("endedAt".to_owned(), FieldValue::Count(ended / 1_000_000_000)),
            ("endpoints".to_owned(), FieldValue::Count(stats.endpoints().count() as u64)),
            ("errors".to_owned(), FieldValue::Count(stats.errors.len() as u64)),
        ]);
        let mut points = vec![point("total", &[], total)];
        for entry in stats.endpoints().take(MAX_ENDPOINTS) {
            let mut fields = BTreeMap::from([
                ("num_requests".to_owned(), FieldValue::Count(entry.num_requests)),
                ("num_failures".to_owned(), FieldValue::Count(entry.num_failures)),
                ("current_rps".to_owned(), FieldValue::Number(entry.current_rps)),
            ]);
            let times = [
                ("avg_response_time", entry.avg_response_time),
                ("min_response_time", entry.min_response_time),
                ("max_response_time", entry.max_response_time),
                ("median_response_time", entry.median_response_time),
                ("avg_content_length", entry.avg_content_length),
            ];
            let known = times.into_iter().filter_map(|(name, value)| Some((name, value?)));
            fields.extend(known.map(|(name, value)| (name.to_owned(), FieldValue::Number(value))));
            points.push(point("endpoint", &[("method", &entry.method), ("name", &entry.name)], fields));
        }
        // The error itself is a field: as a tag, each text would begin a series of its own.
        for (number, error) in stats.errors.iter().take(MAX_ERRORS).enumerate() {
            let fields = BTreeMap::from([
                ("error".to_owned(), FieldValue::Text(error.error.clone())),
                ("occurrences".to_owned(), FieldValue::Count(error.occurrences)),
            ]);
            let number = number.to_string();
            let tags = [("method", error.method.as_str()), ("name", &error.name), ("number", &number)];
            points.push(point("error", &tags, fields));
        }
        points
    }
}

/// The figures of the whole run.
fn live_fields(stats: &RequestStats) -> BTreeMap<String, FieldValue> {
    let (requests, failures) = stats.requests();
    let mut fields = BTreeMap::from([
        ("requests".to_owned(), FieldValue::Count(requests)),
        ("failures".to_owned(), FieldValue::Count(failures)),
    ]);
    let known = [
        ("clients", stats.user_count.map(FieldValue::Count)),
        ("total_rps", stats.total_rps.map(FieldValue::Number)),
        ("fail_ratio", stats.fail_ratio.map(FieldValue::Number)),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if !stats.state.is_empty() {
        fields.insert("state".to_owned(), FieldValue::Text(stats.state.clone()));
    }
    if let Some(sum) = stats.sum() {
        let times = [
            ("avg_response_time", sum.avg_response_time),
            ("min_response_time", sum.min_response_time),
            ("max_response_time", sum.max_response_time),
            ("median_response_time", sum.median_response_time),
        ];
        let known = times.into_iter().filter_map(|(name, value)| Some((name, value?)));
        fields.extend(known.map(|(name, value)| (name.to_owned(), FieldValue::Number(value))));
    }
    fields
}

/// The time of a point: the load generator's if it is exact and credible, else ours.
const fn time_of(given: Moment, now: u64) -> u64 {
    if given.exact && given.unix_ns.abs_diff(now) <= CREDIBLE { given.unix_ns } else { now }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const S: u64 = 1_000_000_000;
    const NOW: u64 = 1_800_000_000 * S;

    fn jobs() -> Jobs {
        Jobs::new(Times::default(), BTreeMap::new())
    }

    fn registration() -> Registration {
        let body = json!({
            "startedAt": 1_800_000_000, "host": "generator",
            "measurement": {
                "fields": { "clients": 5, "hatchRate": 0.1, "requests": 100 },
                "tags": { "targetHost": "http://t", "mode": "single" },
            },
        });
        Registration::read(&body).unwrap()
    }

    fn report(uuid: &str, at: Value, requests: u64) -> Report {
        let body = json!({
            "startedAt": at, "uuid": uuid,
            "measurement": { "fields": { "requestStats": {
                "stats": [
                    { "method": "GET", "name": "/", "num_requests": requests, "num_failures": 1, "avg_response_time": 2.5 },
                    { "method": "", "name": "Aggregated", "num_requests": requests, "num_failures": 1, "median_response_time": 2 },
                ],
                "errors": [{ "method": "GET", "name": "/", "error": "500", "occurrences": 1 }],
                "total_rps": 9, "fail_ratio": 0.5, "state": "running", "user_count": 7,
            } } },
        });
        Report::read_final(&body).unwrap()
    }

    /// `(seconds after NOW, live, requests)` of the points of runs in progress.
    fn seen(points: &[Point]) -> Vec<(u64, &str, u64)> {
        let running = points.iter().filter(|point| point.measurement == RUNNING);
        running
            .map(|point| {
                let FieldValue::Count(requests) = point.fields["requests"] else { panic!("{point:?}") };
                ((point.at_unix_ns - NOW) / S, point.tags["live"].as_str(), requests)
            })
            .collect()
    }

    /// Ticks whenever a tick is due, until `until`.
    fn ticked(jobs: &mut Jobs, until: u64) -> Vec<Point> {
        let mut points = Vec::new();
        while let Some(due) = jobs.next_due().filter(|due| *due <= until) {
            points.extend(jobs.tick(due));
        }
        points
    }

    #[test]
    fn a_run_without_updates_repeats_what_is_known_every_15_s() {
        let mut jobs = jobs();
        let (uuid, points) = jobs.register(NOW, "u".into(), registration()).unwrap();
        assert_eq!(seen(&points), [(0, "true", 100)]);
        assert_eq!(points[0].tags["run"], "u");
        assert_eq!(points[0].fields["hatchRate"], FieldValue::Number(0.1));
        let points = ticked(&mut jobs, NOW + 50 * S);
        assert_eq!(seen(&points), [(15, "false", 100), (30, "false", 100), (45, "false", 100)]);
        let points = jobs.commit(NOW + 51 * S, report(&uuid, json!(1_800_000_051), 400)).unwrap();
        assert_eq!(seen(&points), [(51, "true", 400)]);
        let kinds: Vec<_> =
            points.iter().filter_map(|point| Some(point.tags.get("kind")?.as_str())).collect();
        assert_eq!(kinds, ["total", "endpoint", "error"], "the sum is no endpoint");
        assert_eq!(points[1].fields["median_response_time"], FieldValue::Number(2.0));
        assert_eq!(points[1].fields["endedAt"], FieldValue::Count(1_800_000_051));
        assert_eq!(points[2].tags["name"], "/");
        assert!(
            points[1..].iter().all(|point| point.measurement == RESULT && point.tags["mode"] == "single")
        );
        assert_eq!(jobs.next_due(), None);
        assert_eq!(jobs.commit(NOW, report(&uuid, json!(1), 1)), Err(JobError::Committed));
        assert_eq!(jobs.update(NOW, report("other", json!(1), 1)), Err(JobError::Unknown));
    }

    #[test]
    fn an_update_is_a_point_and_replaces_the_repetition() {
        let mut jobs = jobs();
        jobs.register(NOW, "u".into(), registration()).unwrap();
        let mut points = Vec::new();
        // The load generator is a second late each time.
        for (at, requests) in [(16, 200), (31, 300), (47, 400)] {
            points.extend(ticked(&mut jobs, NOW + at * S));
            points
                .extend(jobs.update(NOW + at * S, report("u", json!(1_800_000_000 + at), requests)).unwrap());
        }
        // The first one could not be expected yet.
        assert_eq!(
            seen(&points),
            [(15, "false", 100), (16, "true", 200), (31, "true", 300), (47, "true", 400)]
        );
        // Then it is silent.
        let points = ticked(&mut jobs, NOW + 90 * S);
        assert_eq!(seen(&points), [(69, "false", 400), (84, "false", 400)]);
    }

    #[test]
    fn what_an_update_leaves_out_stays_as_it_was() {
        let mut jobs = jobs();
        jobs.register(NOW, "u".into(), registration()).unwrap();
        jobs.update(NOW + 15 * S, report("u", json!(1_800_000_015), 200)).unwrap();
        let body = json!({
            "startedAt": 1_800_000_030, "uuid": "u",
            "measurement": { "fields": { "requestStats": { "state": "spawning" } } },
        });
        let points = jobs.update(NOW + 30 * S, Report::read(&body).unwrap()).unwrap();
        let fields = &points[0].fields;
        assert_eq!(
            (&fields["clients"], &fields["requests"]),
            (&FieldValue::Count(7), &FieldValue::Count(200))
        );
        assert_eq!(
            (&fields["total_rps"], &fields["fail_ratio"]),
            (&FieldValue::Number(9.0), &FieldValue::Number(0.5))
        );
        assert_eq!(fields["state"], FieldValue::Text("spawning".into()));
    }

    #[test]
    fn frequent_updates_are_written_once_in_an_interval() {
        let mut jobs = jobs();
        jobs.register(NOW, "u".into(), registration()).unwrap();
        let mut points = Vec::new();
        for at in 1..=31 {
            points.extend(ticked(&mut jobs, NOW + at * S));
            points.extend(jobs.update(NOW + at * S, report("u", json!(1_800_000_000 + at), at)).unwrap());
        }
        assert!((2..=5).contains(&points.len()), "{:?}", seen(&points));
        assert!(seen(&points).iter().all(|(_, live, _)| *live == "true"));
    }

    #[test]
    fn exact_times_of_the_load_generator_are_the_times_of_points() {
        let mut jobs = jobs();
        jobs.register(NOW, "u".into(), registration()).unwrap();
        let exact = |s: u64| json!(crate::payload::exact_date(NOW + s * S));
        // Both requests were delayed, and come together.
        let mut points = jobs.update(NOW + 40 * S, report("u", exact(15), 1)).unwrap();
        points.extend(jobs.update(NOW + 40 * S, report("u", exact(30), 2)).unwrap());
        assert_eq!(seen(&points), [(15, "true", 1), (30, "true", 2)]);
        // The time of a clock that is wrong by more than a day is not used.
        let points = jobs.commit(NOW + 50 * S, report("u", json!("2017-08-01T12:00:00.5Z"), 3)).unwrap();
        assert_eq!(seen(&points), [(50, "true", 3)]);
    }

    #[test]
    fn a_silent_job_ends_with_a_point_that_tells_it_and_may_still_commit() {
        let mut jobs = jobs();
        jobs.register(NOW, "u".into(), registration()).unwrap();
        let points = ticked(&mut jobs, NOW + 3600 * S);
        assert_eq!(points.len(), 40, "39 repetitions and the end");
        let last = points.last().unwrap();
        assert_eq!(last.at_unix_ns, NOW + 600 * S);
        assert_eq!(last.fields["state"], FieldValue::Text("timed out".into()));
        assert_eq!(last.fields["ended"], FieldValue::Text("nothing received for 600 s".into()));
        assert_eq!((jobs.running().count(), jobs.next_due()), (0, None));
        let points = jobs.commit(NOW + 3601 * S, report("u", json!(1_800_003_601), 9)).unwrap();
        assert_eq!(seen(&points), [(3601, "true", 9)]);
    }

    #[test]
    fn a_run_that_registers_again_continues_its_job() {
        let mut jobs = jobs();
        let again = || Registration { run: Some("1800000000-ab12".into()), ..registration() };
        let (first, points) = jobs.register(NOW, "u".into(), again()).unwrap();
        assert_eq!(points[0].tags["run"], "1800000000-ab12");
        assert_eq!(jobs.register(NOW + S, "v".into(), again()).unwrap(), (first, Vec::new()));
        jobs.commit(NOW + S, report("u", json!(1), 1)).unwrap();
        assert_eq!(jobs.register(NOW + S, "w".into(), again()).unwrap().0, "w");
    }

    #[test]
    fn jobs_are_the_same_after_they_were_kept() {
        let mut before = jobs();
        before.register(NOW, "u".into(), registration()).unwrap();
        before.update(NOW + 20 * S, report("u", json!(1_800_000_020), 5)).unwrap();
        before.register(NOW, "v".into(), registration()).unwrap();
        before.commit(NOW + 20 * S, report("v", json!(1_800_000_020), 5)).unwrap();
        let kept = serde_json::to_string(before.all()).unwrap();
        let after = Jobs::new(Times::default(), serde_json::from_str(&kept).unwrap());
        assert_eq!(after, before);
    }

    #[test]
    fn running_and_ended_jobs_are_bounded() {
        let mut jobs = jobs();
        for n in 0..MAX_RUNNING {
            jobs.register(NOW, format!("u{n}"), registration()).unwrap();
        }
        assert_eq!(jobs.register(NOW, "more".into(), registration()), Err(JobError::Full));
        jobs.tick(NOW + 3600 * S);
        for n in 0..MAX_RUNNING {
            jobs.register(NOW + 3600 * S, format!("v{n}"), registration()).unwrap();
        }
        jobs.tick(NOW + 7200 * S);
        assert_eq!(jobs.all().len(), MAX_ENDED);
    }
}
