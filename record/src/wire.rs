//! Between the record types and the wire's.
//!
//! Request times travel relative to the chain's start, which keeps their varints short; an unknown number of
//! an enumeration (a newer sender) becomes none rather than an error, because a result must never be lost to it.

use std::borrow::Cow;

use wec_proto::results as wire;

use crate::{
    Chain, ChainResult, ChallengeType, FailureClass, GeneratorSample, Limit, LimitKind, LoadSample, Purpose,
    Reach, RequestResult, ScenarioSample, StateCounts, ValidationHit, Verdict,
};

const PURPOSES: [Purpose; 4] = [Purpose::Step, Purpose::Nonce, Purpose::Retry, Purpose::Poll];
const VERDICTS: [Verdict; 4] = [Verdict::Answered, Verdict::Unknown, Verdict::StoreFailed, Verdict::Refused];

impl From<ChainResult> for wire::ChainResult {
    fn from(result: ChainResult) -> Self {
        let started = result.started;
        Self {
            worker: result.worker,
            chain: result.chain.map_or(0, |chain| chain.index() as u32 + 1),
            successful: result.successful,
            due: result.due,
            started,
            done: result.done,
            keygen: result.keygen,
            error: result.error,
            class: number_of(result.class),
            abandoned: result.abandoned,
            requests: result.requests.into_iter().map(|request| request_to_wire(request, started)).collect(),
        }
    }
}

/// A chain result off the wire; `seq` is its number in the batch's count.
pub fn chain_from_wire(result: wire::ChainResult, seq: u64) -> ChainResult {
    let started = result.started;
    ChainResult {
        seq,
        worker: result.worker,
        chain: (result.chain as usize).checked_sub(1).and_then(|index| Chain::ALL.get(index).copied()),
        successful: result.successful,
        took: result.done.saturating_sub(result.due),
        due: result.due,
        started,
        done: result.done,
        keygen: result.keygen,
        error: result.error,
        class: class_of(result.class),
        abandoned: result.abandoned,
        requests: result.requests.into_iter().map(|request| request_from_wire(request, started)).collect(),
    }
}

fn request_to_wire(request: RequestResult, started: u64) -> wire::RequestResult {
    wire::RequestResult {
        uri: request.uri.into_owned(),
        successful: request.successful,
        error: request.error,
        class: number_of(request.class),
        endpoint: request.endpoint.into_owned(),
        method: request.method.into_owned(),
        purpose: request.purpose as u32,
        status: request.status.into(),
        problem: request.problem.into_owned(),
        bytes_sent: request.bytes_sent,
        bytes_received: request.bytes_received,
        due: request.due.saturating_sub(started),
        sent: request.sent.saturating_sub(started),
        done: request.done.saturating_sub(started),
        reused: request.reused,
    }
}

fn request_from_wire(request: wire::RequestResult, started: u64) -> RequestResult {
    RequestResult {
        uri: Cow::Owned(request.uri),
        took: request.done.saturating_sub(request.due),
        successful: request.successful,
        error: request.error,
        class: class_of(request.class),
        endpoint: Cow::Owned(request.endpoint),
        method: Cow::Owned(request.method),
        purpose: PURPOSES.get(request.purpose as usize).copied().unwrap_or_default(),
        status: u16::try_from(request.status).unwrap_or(u16::MAX),
        problem: Cow::Owned(request.problem),
        bytes_sent: request.bytes_sent,
        bytes_received: request.bytes_received,
        due: request.due + started,
        sent: request.sent + started,
        done: request.done + started,
        reused: request.reused,
    }
}

fn number_of(class: Option<FailureClass>) -> u32 {
    class.map_or(0, |class| class as u32 + 1)
}

fn class_of(number: u32) -> Option<FailureClass> {
    (number as usize).checked_sub(1).and_then(|index| FailureClass::ALL.get(index).copied())
}

impl From<ValidationHit> for wire::ValidationHit {
    fn from(hit: ValidationHit) -> Self {
        Self {
            at_unix_ns: hit.at_unix_ns,
            challenge: hit.challenge as u32,
            name: hit.name,
            source: hit.source,
            verdict: hit.verdict as u32,
            answer: hit.answer,
            took: hit.took,
        }
    }
}

/// A hit off the wire; `seq` is its number in the batch's count. None for a challenge type this version does not know.
pub fn hit_from_wire(hit: wire::ValidationHit, seq: u64) -> Option<ValidationHit> {
    Some(ValidationHit {
        seq,
        at_unix_ns: hit.at_unix_ns,
        challenge: ChallengeType::ALL.get(hit.challenge as usize).copied()?,
        name: hit.name,
        source: hit.source,
        verdict: VERDICTS.get(hit.verdict as usize).copied().unwrap_or_default(),
        answer: hit.answer,
        took: hit.took,
    })
}

/// State counts for the wire, as counted at `at_unix_ns`.
pub fn state_to_wire(counts: StateCounts, at_unix_ns: u64) -> wire::StateCounts {
    wire::StateCounts {
        at_unix_ns,
        workers: counts.workers,
        registrations: counts.registrations,
        authorizations: counts.authorizations,
        certificates: counts.certificates,
        revoked: counts.revoked,
    }
}

/// State counts off the wire.
pub fn state_from_wire(counts: wire::StateCounts) -> StateCounts {
    StateCounts {
        registrations: counts.registrations,
        authorizations: counts.authorizations,
        certificates: counts.certificates,
        revoked: counts.revoked,
        workers: counts.workers,
    }
}

/// A load sample for the wire, as taken at `at_unix_ns`.
pub fn load_to_wire(load: LoadSample, at_unix_ns: u64) -> wire::Load {
    let GeneratorSample {
        lag,
        cpu_share,
        cpu_wait_share,
        processors,
        backlog_share,
        limits,
        limited_ns,
        turned,
    } = load.generator;
    let (lag_ns, lag_count) = lag.into_iter().unzip();
    wire::Load {
        at_unix_ns,
        over_ns: load.over_ns,
        scenarios: load.scenarios.into_iter().map(scenario_to_wire).collect(),
        generator: Some(wire::GeneratorLoad {
            lag_ns,
            lag_count,
            cpu_share,
            cpu_wait_share,
            processors,
            backlog_share,
            limits: limits.into_iter().map(limit_to_wire).collect(),
            limited_ns,
            turned,
        }),
    }
}

/// A load sample off the wire. A limit of a kind that this version does not know is left out.
pub fn load_from_wire(load: wire::Load) -> LoadSample {
    let generator = load.generator.unwrap_or_default();
    LoadSample {
        over_ns: load.over_ns,
        scenarios: load.scenarios.into_iter().map(scenario_from_wire).collect(),
        generator: GeneratorSample {
            lag: generator.lag_ns.into_iter().zip(generator.lag_count).collect(),
            cpu_share: generator.cpu_share,
            cpu_wait_share: generator.cpu_wait_share,
            processors: generator.processors,
            backlog_share: generator.backlog_share,
            limits: generator.limits.into_iter().filter_map(limit_from_wire).collect(),
            limited_ns: generator.limited_ns,
            turned: generator.turned,
        },
    }
}

fn scenario_to_wire(scenario: ScenarioSample) -> wire::ScenarioLoad {
    wire::ScenarioLoad {
        name: scenario.name,
        executor: scenario.executor,
        workers_target: scenario.workers_target,
        workers: scenario.workers,
        busy: scenario.busy,
        rate_target: scenario.rate_target,
        rate: scenario.rate,
        rate_unit: scenario.rate_unit,
        asked: scenario.asked,
        due: scenario.due,
        started: scenario.started,
        ended: scenario.ended,
        requests: scenario.requests,
        dropped: scenario.dropped,
        idle: scenario.idle,
        reach: scenario.reach.map_or(0, |reach| reach as u32 + 1),
        capped_ns: scenario.capped_ns,
        saturated_ns: scenario.saturated_ns,
    }
}

fn scenario_from_wire(scenario: wire::ScenarioLoad) -> ScenarioSample {
    ScenarioSample {
        name: scenario.name,
        executor: scenario.executor,
        workers_target: scenario.workers_target,
        workers: scenario.workers,
        busy: scenario.busy,
        rate_target: scenario.rate_target,
        rate: scenario.rate,
        rate_unit: scenario.rate_unit,
        asked: scenario.asked,
        due: scenario.due,
        started: scenario.started,
        ended: scenario.ended,
        requests: scenario.requests,
        dropped: scenario.dropped,
        idle: scenario.idle,
        reach: (scenario.reach as usize).checked_sub(1).and_then(|place| Reach::ALL.get(place).copied()),
        capped_ns: scenario.capped_ns,
        saturated_ns: scenario.saturated_ns,
    }
}

fn limit_to_wire(limit: Limit) -> wire::Limit {
    wire::Limit {
        what: limit.what as u32 + 1,
        place: limit.place,
        now: limit.now,
        worst: limit.worst,
        bound: limit.bound,
        first_unix_ns: limit.first_unix_ns,
        total_ns: limit.total_ns,
    }
}

fn limit_from_wire(limit: wire::Limit) -> Option<Limit> {
    Some(Limit {
        what: LimitKind::ALL.get((limit.what as usize).checked_sub(1)?).copied()?,
        place: limit.place,
        now: limit.now,
        worst: limit.worst,
        bound: limit.bound,
        first_unix_ns: limit.first_unix_ns,
        total_ns: limit.total_ns,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn request(started: u64)(
            times in (0u64..1 << 40, 0u64..1 << 40, 0u64..1 << 40),
            status in 0u16..=599,
            class in proptest::option::of(0usize..15),
            purpose in 0usize..4,
            text in "[a-z/{}]{0,20}",
            reused: bool,
        ) -> RequestResult {
            let due = started + times.0;
            let sent = due + times.1;
            let done = sent + times.2;
            RequestResult {
                uri: text.clone().into(), took: done - due, successful: class.is_none(), error: text.clone(),
                class: class.map(|index| FailureClass::ALL[index]), endpoint: text.clone().into(), method: "POST".into(),
                purpose: PURPOSES[purpose], status, problem: text.into(), bytes_sent: times.0, bytes_received: times.1,
                due, sent, done, reused,
            }
        }
    }

    proptest! {
        #[test]
        fn a_chain_result_survives_the_wire(
            (started, requests) in (0u64..1 << 50).prop_flat_map(|started| (Just(started), proptest::collection::vec(request(started), 0..4))),
            chain in 0usize..5, seq: u64, abandoned: bool, wait in 0u64..1 << 40, took in 0u64..1 << 40,
        ) {
            let due = started.saturating_sub(wait);
            let result = ChainResult {
                seq, worker: 3, chain: Some(Chain::ALL[chain]), successful: true, took: started + took - due, due, started,
                done: started + took, keygen: 5, error: String::new(), class: None, abandoned, requests,
            };
            prop_assert_eq!(chain_from_wire(result.clone().into(), seq), result);
        }
    }

    fn share() -> impl Strategy<Value = f64> {
        (0u32..=10_000).prop_map(|share| f64::from(share) / 10_000.0)
    }

    prop_compose! {
        fn limit()(what in 0usize..5, place in "[a-z0-9-]{0,12}", now: bool, shares in (share(), share()), at: u64, total_ns: u64) -> Limit {
            Limit { what: LimitKind::ALL[what], place, now, worst: shares.0, bound: shares.1, first_unix_ns: at, total_ns }
        }
    }

    prop_compose! {
        fn scenario()(
            name in "[a-z]{0,9}",
            counts in (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
            rate_target in proptest::option::of(share()),
            rate in share(),
            reach in proptest::option::of(proptest::sample::select(&Reach::ALL[..])),
        ) -> ScenarioSample {
            ScenarioSample {
                executor: name.clone(), name, workers_target: counts.0.into(), workers: counts.1.into(), busy: counts.2.into(),
                rate_target, rate, rate_unit: "chains".into(), asked: counts.3, due: counts.4, started: counts.5,
                ended: counts.6, requests: counts.3 ^ 1, dropped: counts.4 ^ 1, idle: counts.5 ^ 1,
                reach, capped_ns: counts.6 ^ 1, saturated_ns: counts.6 ^ 2,
            }
        }
    }

    proptest! {
        #[test]
        fn a_load_sample_survives_the_wire_and_the_log(
            over_ns: u64, at_unix_ns: u64, scenarios in proptest::collection::vec(scenario(), 0..3),
            lag in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..5),
            shares in (proptest::option::of(share()), proptest::option::of(share()), proptest::option::of(share()), share()),
            limits in proptest::collection::vec(limit(), 0..3), turned: Option<bool>,
        ) {
            let (cpu_share, cpu_wait_share, processors, backlog_share) = shares;
            let generator = GeneratorSample { lag, cpu_share, cpu_wait_share, processors, backlog_share, limits, limited_ns: over_ns ^ 1, turned };
            let load = LoadSample { over_ns, scenarios, generator };
            let sent = load_to_wire(load.clone(), at_unix_ns);
            prop_assert_eq!(sent.at_unix_ns, at_unix_ns);
            prop_assert_eq!(&load_from_wire(sent), &load);
            let line = serde_json::to_string(&load).unwrap();
            prop_assert_eq!(serde_json::from_str::<LoadSample>(&line).unwrap(), load);
        }
    }

    #[test]
    fn declared_order_and_wire_numbers_agree() {
        for (index, purpose) in PURPOSES.into_iter().enumerate() {
            assert_eq!(purpose as usize, index);
        }
        for (index, verdict) in VERDICTS.into_iter().enumerate() {
            assert_eq!(verdict as usize, index);
        }
        for (index, class) in FailureClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
        for (index, kind) in LimitKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, reach) in Reach::ALL.into_iter().enumerate() {
            assert_eq!(reach as usize, index);
        }
        for (index, kind) in ChallengeType::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
