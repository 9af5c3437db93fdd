//! Whether a record can be acknowledged: it can be read back from the log, and counting it does not overflow.
//!
//! JSON has no infinity and no NaN. Written as `null` they make the whole log unreadable.

use serde_json::Value;
use wec_record::{
    CaSample, ChainResult, FORMAT_VERSION, GeneratorSample, Limit, LoadSample, Record, RequestResult,
    RunHeader, ScenarioSample, Silent, StateCounts,
};

/// Upper bound of numbers and times: 18 years in nanoseconds. Sums of several do not overflow.
const MOST: u64 = 1 << 59;
/// Upper bound of the length of a chain result as JSON, bytes: readers refuse lines of more than 16 MiB.
const LONGEST_RESULT: usize = 15 << 20;
/// Wall clocks end in the year 2262.
const LATEST: u64 = i64::MAX as u64;
/// Maximal length of a record that is not understood, bytes.
const LONGEST_UNKNOWN: usize = 1 << 20;
/// Maximal length of a name in a header, bytes.
const LONGEST_NAME: usize = 256;

/// Checks a record.
///
/// # Errors
/// What is wrong with the record.
pub fn judge(record: &Record) -> Result<(), String> {
    match record {
        Record::Chain { origin_unix_ns, result, .. } => {
            within("origin_unix_ns", *origin_unix_ns, LATEST)?;
            if Look::at(result).plain {
                return Ok(());
            }
            let times = [
                ("took", result.took),
                ("due", result.due),
                ("started", result.started),
                ("done", result.done),
                ("keygen", result.keygen),
                ("waited_asked", result.waited_asked),
                ("waited_poll", result.waited_poll),
                ("issuance", result.issuance.unwrap_or(0)),
            ];
            times.into_iter().try_for_each(|(what, value)| within(what, value, MOST))?;
            if longest_line(result) > LONGEST_RESULT {
                return Err(format!(
                    "its {} requests and their errors may be longer than {LONGEST_RESULT} bytes as JSON",
                    result.requests.len()
                ));
            }
            result.requests.iter().try_for_each(|request| {
                let numbers = [
                    ("took", request.took),
                    ("due", request.due),
                    ("sent", request.sent),
                    ("done", request.done),
                    ("nonce_age", request.nonce_age),
                    ("bytes_sent", request.bytes_sent),
                    ("bytes_received", request.bytes_received),
                ];
                let judged = numbers.into_iter().try_for_each(|(what, value)| within(what, value, MOST));
                judged.map_err(|why| format!("of a request {why}"))
            })
        }
        Record::Hit { hit, .. } => {
            within("at_unix_ns", hit.at_unix_ns, LATEST).and_then(|()| within("took", hit.took, MOST))
        }
        // It is not counted.
        Record::Unknown(unknown) if unknown.json().len() <= LONGEST_UNKNOWN => Ok(()),
        Record::Unknown(unknown) => Err(format!(
            "this version does not understand it, of kind {:?}, and it is longer than {LONGEST_UNKNOWN} bytes",
            unknown.kind()
        )),
        // Each node sends one of each a second, which is much of the log of a slow run.
        Record::Load { seq, at_unix_ns, load, .. } if is_plain(*seq, *at_unix_ns, load) => Ok(()),
        Record::State { seq, at_unix_ns, counts, .. } if are_plain(*seq, *at_unix_ns, counts) => Ok(()),
        // These records are few and have numbers in many places.
        Record::Load { .. }
        | Record::State { .. }
        | Record::Lost { .. }
        | Record::Event(_)
        | Record::Mark(_)
        | Record::Observation(_)
        | Record::Header(_)
        | Record::Footer(_) => {
            let line = serde_json::to_string(record).map_err(|error| error.to_string())?;
            let read: Record = serde_json::from_str(&line).map_err(|error| {
                format!(
                    "it cannot be read back from JSON, for example because of an infinite number: {error}"
                )
            })?;
            if read != *record {
                return Err("it changes when it is read back, for example because of NaN".to_owned());
            }
            let value: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            numbers("record", &value)
        }
    }
}

/// What one look at a chain result and its requests shows. What is wrong with one that is not plain or not consistent is
/// looked for in each of its numbers.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Every number is below its bound, and its line is short.
    plain: bool,
    /// Its times are in order and add up exactly, as ours do.
    consistent: bool,
}

impl Look {
    /// Maximal requests, and length of the texts of each.
    const FEW: (usize, usize) = (64, 4 << 10);

    fn at(result: &ChainResult) -> Self {
        let ChainResult { took, due, started, done, keygen, waited_asked, waited_poll, .. } = result;
        let length = done.saturating_sub(*started);
        let mut all = took | due | started | done | keygen | waited_asked | waited_poll;
        all |= result.issuance.unwrap_or(0);
        let mut consistent = due <= started && started <= done && *took == done.wrapping_sub(*due);
        consistent &= [keygen, waited_asked, waited_poll].into_iter().all(|part| *part <= length);
        let mut longest = longest_head(result);
        for request in &result.requests {
            let RequestResult { took, due, sent, done: end, nonce_age, bytes_sent, bytes_received, .. } =
                request;
            all |= took | due | sent | end | nonce_age | bytes_sent | bytes_received;
            consistent &= due <= sent && sent <= end && end <= done && *took == end.wrapping_sub(*due);
            longest += longest_request(request);
        }
        // The bound is a power of two.
        let plain =
            all < MOST && result.requests.len() <= Self::FEW.0 && longest <= Self::FEW.0 * Self::FEW.1;
        Self { plain, consistent }
    }
}

/// Whether neither [`judge`] nor [`contradiction`] finds anything, as it is with nearly all records.
pub(crate) fn is_sound(record: &Record) -> bool {
    let Record::Chain { origin_unix_ns, result, .. } = record else { return false };
    let Look { plain, consistent } = Look::at(result);
    plain && consistent && *origin_unix_ns <= LATEST
}

/// A bound of the length of its line.
fn longest_line(result: &ChainResult) -> usize {
    longest_head(result) + result.requests.iter().map(longest_request).sum::<usize>()
}

/// The same without requests.
fn longest_head(result: &ChainResult) -> usize {
    let ChainResult { error, problem, scenario, profile, detail, order, unverified, .. } = result;
    let of_authorizations = result.authorizations.iter().map(|it| longest(&[&it.name, &it.id]));
    longest(&[error, problem, scenario, profile, detail, order, unverified])
        + of_authorizations.sum::<usize>()
}

/// The same of a request.
fn longest_request(request: &RequestResult) -> usize {
    let RequestResult { uri, endpoint, method, problem, address, detail, .. } = request;
    longest(&[uri, endpoint, method, problem, address, detail])
        + 6 * (request.error.len()
            + request.request_id.len()
            + request.traceparent.len()
            + request.document.len())
}

/// The same of texts, of which a character takes up to six bytes in JSON, and of keys and numbers.
fn longest(texts: &[&str]) -> usize {
    640 + 6 * texts.iter().map(|text| text.len()).sum::<usize>()
}

/// Differences of times up to this are not contradictions, nanoseconds: other writers may round.
const ROUNDED: u64 = 1_000_000;

/// What in a record's times contradicts itself. The record can be counted, but not all of its times are true.
///
/// Records of the 2015 design have only `chaintook` and `took`.
pub(crate) fn contradiction(record: &Record) -> Option<String> {
    let Record::Chain { result, .. } = record else { return None };
    if (result.due, result.started, result.done) == (0, 0, 0) {
        return None;
    }
    let late = |time: u64, bound: u64| time > bound.saturating_add(ROUNDED);
    let took = |name: &str, took: u64, due: u64, done: u64| {
        let wanted = done.saturating_sub(due);
        (took.abs_diff(wanted) > ROUNDED).then(|| format!("{name} is {took}, and done - due is {wanted}"))
    };
    let ordered = |times: [(&str, u64); 3]| {
        let wrong = times.windows(2).find(|two| late(two[0].1, two[1].1))?;
        Some(format!("{} ({}) is after {} ({})", wrong[0].0, wrong[0].1, wrong[1].0, wrong[1].1))
    };
    if Look::at(result).consistent {
        return None;
    }
    let length = result.done.saturating_sub(result.started);
    let parts = [
        ("waited_asked", result.waited_asked),
        ("waited_poll", result.waited_poll),
        ("keygen", result.keygen),
    ];
    let of_request = |request: &RequestResult| {
        if (request.due, request.sent, request.done) == (0, 0, 0) {
            return None;
        }
        // One that was never sent has no time for that.
        let sent = if request.sent == 0 { request.due } else { request.sent };
        ordered([("due", request.due), ("sent", sent), ("done", request.done)])
            .or_else(|| took("took", request.took, request.due, request.done))
            .or_else(|| {
                let after = late(request.done, result.done);
                after.then(|| format!("done ({}) is after its chain's done ({})", request.done, result.done))
            })
            .map(|why| format!("of a request {why}"))
    };
    ordered([("due", result.due), ("started", result.started), ("done", result.done)])
        .or_else(|| took("chaintook", result.took, result.due, result.done))
        .or_else(|| {
            let (name, part) = parts.into_iter().find(|(_, part)| late(*part, length))?;
            Some(format!("{name} is {part}, and done - started is {length}"))
        })
        .or_else(|| result.requests.iter().find_map(of_request))
}

/// Whether every number of the sample is finite and within its bound. What is wrong with others is found by their JSON.
fn is_plain(seq: u64, at_unix_ns: u64, load: &LoadSample) -> bool {
    let LoadSample { over_ns, scenarios, generator, ca } = load;
    let GeneratorSample {
        lag,
        cpu_share,
        cpu_wait_share,
        processors,
        backlog_share,
        limits,
        limited_ns,
        turned: _,
    } = generator;
    let CaSample { orders_expired, clock_ahead_s: _, silent, turned: _ } = ca;
    let small = |numbers: &[u64]| numbers.iter().all(|number| *number <= MOST);
    let finite = |numbers: &[Option<f64>]| numbers.iter().flatten().all(|number| number.is_finite());
    let plain_limit = |limit: &Limit| {
        let Limit { what: _, cause: _, place: _, now: _, worst, bound, against_ns, first_unix_ns, total_ns } =
            limit;
        finite(&[Some(*worst), Some(*bound)]) && small(&[*against_ns, *total_ns]) && *first_unix_ns <= LATEST
    };
    let plain_silence =
        |Silent { since_unix_ns, in_flight }: &Silent| *since_unix_ns <= LATEST && *in_flight <= MOST;
    at_unix_ns <= LATEST
        && small(&[seq, *over_ns, *limited_ns, *orders_expired])
        && lag.iter().all(|(ns, count)| small(&[*ns, *count]))
        && finite(&[*cpu_share, *cpu_wait_share, *processors, Some(*backlog_share)])
        && limits.iter().all(plain_limit)
        && silent.as_ref().is_none_or(plain_silence)
        && scenarios.iter().all(is_plain_scenario)
}

fn is_plain_scenario(sample: &ScenarioSample) -> bool {
    let ScenarioSample {
        name: _,
        executor: _,
        workers_target,
        workers,
        busy,
        backing_off,
        rate_target,
        rate,
        rate_unit: _,
        asked,
        due,
        started,
        ended,
        requests,
        dropped,
        idle,
        reach: _,
        active_ns,
        capped_ns,
        saturated_ns,
        rate_target_of_all,
        workers_target_of_all,
        scheduled_of_all,
        scheduled,
    } = sample;
    let counts =
        [workers_target, workers, busy, backing_off, asked, due, started, ended, requests, dropped, idle];
    let times = [active_ns, capped_ns, saturated_ns];
    counts.into_iter().chain(times).all(|number| *number <= MOST)
        && rate.is_finite()
        && rate_target.is_none_or(f64::is_finite)
        && rate_target_of_all.is_none_or(f64::is_finite)
        && workers_target_of_all.is_none_or(|workers| workers <= MOST)
        && [scheduled_of_all, scheduled].into_iter().all(|number| number.is_finite())
}

fn are_plain(seq: u64, at_unix_ns: u64, counts: &StateCounts) -> bool {
    let StateCounts { registrations, authorizations, certificates, revoked, workers, unwritten, claimed } =
        counts;
    let counts = [&seq, registrations, authorizations, certificates, revoked, workers, unwritten, claimed];
    at_unix_ns <= LATEST && counts.into_iter().all(|count| *count <= MOST)
}

/// Checks the header of a run of another process.
///
/// # Errors
/// What is wrong with the header.
pub fn judge_header(header: &RunHeader) -> Result<(), String> {
    if header.version == 0 || header.version > FORMAT_VERSION {
        return Err(format!(
            "its header has version {}, and this program reads versions up to {FORMAT_VERSION}: use analytics of the \
             version that made it",
            header.version
        ));
    }
    for (what, text) in [("run", &header.run), ("session", &header.session), ("program", &header.program)] {
        if text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
            return Err(format!(
                "its header's {what} is longer than {LONGEST_NAME} bytes or has control characters"
            ));
        }
    }
    judge(&Record::Header(header.clone())).map_err(|why| format!("of its header {why}"))
}

/// The settings and measurements of a run may have any number: they are not counted.
fn numbers(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => {
            let most = if key.ends_with("unix_ns") { LATEST } else { MOST };
            number.as_u64().map_or(Ok(()), |value| within(key, value, most))
        }
        Value::Array(values) => values.iter().try_for_each(|value| numbers(key, value)),
        Value::Object(entries) => {
            entries.iter().filter(|(key, _)| *key != "stamp").try_for_each(|(key, value)| numbers(key, value))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn within(what: &str, value: u64, most: u64) -> Result<(), String> {
    if value <= most {
        Ok(())
    } else {
        Err(format!("{what} is {value}, and the largest number allowed is {most}"))
    }
}

#[cfg(test)]
mod tests {
    use wec_record::{ChainResult, RequestResult};

    use super::*;

    const MS: u64 = 1_000_000;

    fn load(change: impl FnOnce(&mut LoadSample)) -> Record {
        let mut load = LoadSample {
            over_ns: 1_000_000_000,
            scenarios: vec![ScenarioSample { rate_target: Some(0.1 + 0.2), ..ScenarioSample::default() }],
            generator: GeneratorSample {
                lag: vec![(1, 2)],
                cpu_share: Some(1.0 / 3.0),
                ..GeneratorSample::default()
            },
            ..LoadSample::default()
        };
        change(&mut load);
        Record::Load { node: "r1".to_owned(), seq: 1, at_unix_ns: 1_795_254_960_000_000_000, load }
    }

    fn chain(change: impl FnOnce(&mut ChainResult)) -> Record {
        let mut result = ChainResult { requests: vec![RequestResult::default()], ..ChainResult::default() };
        change(&mut result);
        Record::Chain { node: "r1".to_owned(), origin_unix_ns: 1_795_254_960_000_000_000, result }
    }

    #[test]
    fn a_result_that_no_reader_would_take_is_refused() {
        let why = judge(&chain(|result| result.error = "\u{1}".repeat(4 << 20))).unwrap_err();
        assert!(why.contains("its 1 requests and their errors may be longer"), "{why}");
        let many = chain(|result| result.requests = vec![RequestResult::default(); 20_000]);
        assert_eq!(judge(&many), Ok(()));
        assert!(serde_json::to_string(&many).unwrap().len() < LONGEST_RESULT);
    }

    #[test]
    fn valid_records_pass() {
        for record in
            [load(|_| {}), chain(|_| {}), chain(|chain| chain.requests[0].retry_after = Some(u64::MAX))]
        {
            assert_eq!(judge(&record), Ok(()));
        }
    }

    #[test]
    fn records_that_could_not_be_read_back_or_counted_are_refused() {
        let state = |certificates| Record::State {
            node: "r1".to_owned(),
            seq: 1,
            at_unix_ns: 1,
            counts: StateCounts { certificates, ..StateCounts::default() },
        };
        for (record, why) in [
            (load(|load| load.scenarios[0].rate = f64::INFINITY), "infinite"),
            (load(|load| load.scenarios[0].rate = f64::NAN), "infinite"),
            (load(|load| load.scenarios[0].rate_target = Some(f64::NAN)), "because of NaN"),
            (load(|load| load.generator.cpu_share = Some(f64::NEG_INFINITY)), "because of NaN"),
            (load(|load| load.generator.backlog_share = f64::NAN), "infinite"),
            (load(|load| load.scenarios[0].ended = u64::MAX), "ended is 18446744073709551615"),
            (load(|load| load.generator.lag = vec![(1, u64::MAX)]), "lag"),
            (state(u64::MAX), "certificates"),
            (chain(|chain| chain.done = u64::MAX), "done"),
            (chain(|chain| chain.waited_poll = u64::MAX), "waited_poll"),
            (chain(|chain| chain.requests[0].bytes_received = 1 << 60), "of a request bytes_received"),
        ] {
            let refused = judge(&record).unwrap_err();
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }

    #[test]
    fn times_that_contradict_each_other_are_found() {
        let times = |change: fn(&mut ChainResult)| {
            let request = RequestResult {
                due: 2 * MS,
                sent: 3 * MS,
                done: 9 * MS,
                took: 7 * MS,
                ..RequestResult::default()
            };
            let result = ChainResult {
                due: 0,
                started: MS,
                done: 10 * MS,
                took: 10 * MS,
                waited_poll: 9 * MS,
                requests: vec![request],
                ..ChainResult::default()
            };
            chain(|chain| {
                *chain = result;
                change(chain);
            })
        };
        for right in [times(|_| {}), times(|chain| chain.took += MS / 2), chain(|chain| chain.took = 5 * MS)]
        {
            assert_eq!(contradiction(&right), None);
        }
        for (wrong, why) in [
            (times(|chain| chain.took = 0), "chaintook is 0, and done - due is 10000000"),
            (times(|chain| chain.done = 0), "chaintook is 10000000, and done - due is 0"),
            (times(|chain| chain.requests[0].done = 0), "of a request sent (3000000) is after done (0)"),
            (times(|chain| chain.started = 90 * MS), "started (90000000) is after done (10000000)"),
            (
                times(|chain| chain.waited_asked = 20 * MS),
                "waited_asked is 20000000, and done - started is 9000000",
            ),
            (
                times(|chain| chain.requests[0].took = 90 * MS),
                "of a request took is 90000000, and done - due is 7000000",
            ),
            (times(|chain| chain.requests[0].sent = 99 * MS), "of a request sent (99000000) is after done"),
            (
                times(|chain| (chain.requests[0].done, chain.requests[0].took) = (92 * MS, 90 * MS)),
                "of a request done (92000000) is after its chain's done (10000000)",
            ),
        ] {
            let found = contradiction(&wrong).unwrap();
            assert!(found.contains(why), "{why}: {found}");
        }
    }

    #[test]
    fn a_header_of_another_version_is_refused() {
        let header = RunHeader {
            version: FORMAT_VERSION,
            run: "run".to_owned(),
            session: "default".to_owned(),
            program: "wec".to_owned(),
            target: "http://ca.test".to_owned(),
            started_unix_ns: 1,
            stamp: wec_record::Stamp::default(),
        };
        assert_eq!(judge_header(&header), Ok(()));
        for version in [0, FORMAT_VERSION + 1, u32::MAX] {
            let refused = judge_header(&RunHeader { version, ..header.clone() }).unwrap_err();
            assert!(refused.contains(&format!("has version {version}")), "{refused}");
        }
        assert!(judge_header(&RunHeader { session: "\u{1b}[2J".to_owned(), ..header.clone() }).is_err());
        assert!(judge_header(&RunHeader { started_unix_ns: u64::MAX, ..header }).is_err());
    }
}
