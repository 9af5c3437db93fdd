//! Converts between the record types and those of the wire protocol.
//!
//! Times of requests are sent relative to the chain's start, which keeps their varints short. An unknown
//! number of an enumeration (from a newer sender) becomes none, not an error, so that the result is not lost.

use wec_proto::results as wire;

use crate::interned::interned_string;
use crate::{
    AuthorizationResult, CaSample, Chain, ChainResult, ChallengeType, Event, FailureClass, GeneratorSample,
    Limit, LimitCause, LimitKind, LoadSample, Phases, Purpose, Reach, Record, RequestResult, ScenarioSample,
    Silent, StateCounts, UnknownRecord, ValidationHit, Verdict,
};

impl From<ChainResult> for wire::ChainResult {
    fn from(result: ChainResult) -> Self {
        let started = result.started;
        Self {
            worker: result.worker,
            chain: result.chain.map_or(result.later_chain, |chain| chain.index() as u32 + 1),
            successful: result.successful,
            due: result.due,
            started,
            done: result.done,
            keygen: result.keygen,
            error: result.error,
            class: number_of(result.class),
            abandoned: result.abandoned,
            status: result.status.into(),
            problem: result.problem.into_owned(),
            scenario: result.scenario,
            profile: result.profile,
            detail: result.detail.into_owned(),
            waited_asked: result.waited_asked,
            waited_poll: result.waited_poll,
            order: result.order,
            serial: serial_to_wire(&result.serial).unwrap_or_default(),
            issued: result.issued,
            issuance: result.issuance,
            unverified: result.unverified,
            authorizations: result
                .authorizations
                .into_iter()
                .map(|authorization| authorization_to_wire(authorization, started))
                .collect(),
            requests: result.requests.into_iter().map(|request| request_to_wire(request, started)).collect(),
        }
    }
}

/// A chain result from the wire; `seq` is its number.
pub fn chain_from_wire(result: wire::ChainResult, seq: u64) -> ChainResult {
    let started = result.started;
    ChainResult {
        seq,
        worker: result.worker,
        chain: (result.chain as usize).checked_sub(1).and_then(|index| Chain::ALL.get(index).copied()),
        later_chain: if result.chain as usize > Chain::ALL.len() { result.chain } else { 0 },
        successful: result.successful,
        took: result.done.saturating_sub(result.due),
        due: result.due,
        started,
        done: result.done,
        keygen: result.keygen,
        error: result.error,
        class: class_of(result.class),
        abandoned: result.abandoned,
        status: u16::try_from(result.status).unwrap_or(u16::MAX),
        problem: interned_string(result.problem),
        scenario: result.scenario,
        profile: result.profile,
        detail: interned_string(result.detail),
        waited_asked: result.waited_asked,
        waited_poll: result.waited_poll,
        order: result.order,
        serial: serial_from_wire(&result.serial),
        issued: result.issued,
        issuance: result.issuance,
        unverified: result.unverified,
        rests: false,
        authorizations: result
            .authorizations
            .into_iter()
            .map(|authorization| authorization_from_wire(authorization, started))
            .collect(),
        requests: result.requests.into_iter().map(|request| request_from_wire(request, started)).collect(),
    }
}

/// The bytes of a serial number in lower-case hex; none for another text.
pub fn serial_to_wire(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| <[u8; 2]>::try_from(pair).ok().and_then(|[a, b]| Some(digit(a)? << 4 | digit(b)?)))
        .collect()
}

/// A serial number in lower-case hex.
pub fn serial_from_wire(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn authorization_to_wire(authorization: AuthorizationResult, started: u64) -> wire::AuthorizationResult {
    // 0 means "never", so times are sent plus one.
    let after = |time: u64| if time == 0 { 0 } else { time.saturating_sub(started) + 1 };
    wire::AuthorizationResult {
        name: authorization.name,
        id: authorization.id,
        challenge: authorization.challenge.map_or(0, |kind| kind as u32 + 1),
        answered: after(authorization.answered),
        settled: after(authorization.settled),
    }
}

fn authorization_from_wire(authorization: wire::AuthorizationResult, started: u64) -> AuthorizationResult {
    let at = |after: u64| after.checked_sub(1).map_or(0, |after| after.saturating_add(started));
    AuthorizationResult {
        name: authorization.name,
        id: authorization.id,
        challenge: (authorization.challenge as usize)
            .checked_sub(1)
            .and_then(|place| ChallengeType::ALL.get(place).copied()),
        answered: at(authorization.answered),
        settled: at(authorization.settled),
    }
}

/// An HTTP attempt for the wire, its times relative to `started`.
pub fn request_to_wire(request: RequestResult, started: u64) -> wire::RequestResult {
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
        address: request.address.into_owned(),
        nonce_age: request.nonce_age,
        dns: request.phases.dns,
        connect: request.phases.connect,
        tls: request.phases.tls,
        first_byte: request.phases.first_byte,
        retry_after: request.retry_after,
        reconnects: request.reconnects,
        detail: request.detail.into_owned(),
        request_id: request.request_id,
        traceparent: request.traceparent,
        document: request.document,
    }
}

/// An HTTP attempt from the wire.
pub fn request_from_wire(request: wire::RequestResult, started: u64) -> RequestResult {
    RequestResult {
        uri: interned_string(request.uri),
        took: request.done.saturating_sub(request.due),
        successful: request.successful,
        error: request.error,
        class: class_of(request.class),
        endpoint: interned_string(request.endpoint),
        method: interned_string(request.method),
        purpose: Purpose::ALL.get(request.purpose as usize).copied().unwrap_or_default(),
        status: u16::try_from(request.status).unwrap_or(u16::MAX),
        problem: interned_string(request.problem),
        bytes_sent: request.bytes_sent,
        bytes_received: request.bytes_received,
        due: request.due.saturating_add(started),
        sent: request.sent.saturating_add(started),
        done: request.done.saturating_add(started),
        reused: request.reused,
        address: interned_string(request.address),
        nonce_age: request.nonce_age,
        phases: Phases {
            dns: request.dns,
            connect: request.connect,
            tls: request.tls,
            first_byte: request.first_byte,
        },
        retry_after: request.retry_after,
        reconnects: request.reconnects,
        detail: interned_string(request.detail),
        request_id: request.request_id,
        traceparent: request.traceparent,
        document: request.document,
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

/// A hit of `node` from the wire; `seq` is its number. With a challenge type that this version does not know, it is
/// a record that is not understood: its `type` is the number, as text.
pub fn hit_from_wire(hit: wire::ValidationHit, node: String, seq: u64) -> Record {
    let (number, challenge) = (hit.challenge, ChallengeType::ALL.get(hit.challenge as usize).copied());
    let hit = ValidationHit {
        seq,
        at_unix_ns: hit.at_unix_ns,
        challenge: challenge.unwrap_or(ChallengeType::Http01),
        name: hit.name,
        source: hit.source,
        verdict: Verdict::ALL.get(hit.verdict as usize).copied().unwrap_or_default(),
        answer: hit.answer,
        took: hit.took,
    };
    let record = Record::Hit { node, hit };
    if challenge.is_some() { record } else { UnknownRecord::of_later_type(&record, number).into() }
}

/// An event for the wire. It is JSON there, so that earlier versions of analytics keep it.
pub fn event_to_wire(event: Event) -> wire::Json {
    let mut object = serde_json::to_value(&event).expect("an event has string keys");
    if let Some(object) = object.as_object_mut() {
        object.remove("node");
        object.remove("seq");
    }
    wire::Json { kind: Record::Event(event).kind().to_owned(), object: object.to_string() }
}

/// State counts for the wire, counted at `at_unix_ns`.
pub fn state_to_wire(counts: StateCounts, at_unix_ns: u64) -> wire::StateCounts {
    wire::StateCounts {
        at_unix_ns,
        workers: counts.workers,
        registrations: counts.registrations,
        authorizations: counts.authorizations,
        certificates: counts.certificates,
        revoked: counts.revoked,
        unwritten: counts.unwritten,
        claimed: counts.claimed,
    }
}

/// State counts from the wire.
pub fn state_from_wire(counts: wire::StateCounts) -> StateCounts {
    StateCounts {
        registrations: counts.registrations,
        authorizations: counts.authorizations,
        certificates: counts.certificates,
        revoked: counts.revoked,
        workers: counts.workers,
        unwritten: counts.unwritten,
        claimed: counts.claimed,
    }
}

/// A load sample for the wire, taken at `at_unix_ns`.
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
        ca: Some(wire::CaLoad {
            orders_expired: load.ca.orders_expired,
            clock_ahead_s: load.ca.clock_ahead_s,
            silent_since_unix_ns: load.ca.silent.map(|silent| silent.since_unix_ns),
            in_flight: load.ca.silent.map_or(0, |silent| silent.in_flight),
            turned: load.ca.turned,
        }),
    }
}

/// A load sample from the wire. Limits of a kind that this version does not know are left out.
pub fn load_from_wire(load: wire::Load) -> LoadSample {
    let generator = load.generator.unwrap_or_default();
    let ca = load.ca.unwrap_or_default();
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
        ca: CaSample {
            orders_expired: ca.orders_expired,
            clock_ahead_s: ca.clock_ahead_s,
            silent: ca
                .silent_since_unix_ns
                .map(|since_unix_ns| Silent { since_unix_ns, in_flight: ca.in_flight }),
            turned: ca.turned,
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
        backing_off: scenario.backing_off,
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
        active_ns: scenario.active_ns,
        capped_ns: scenario.capped_ns,
        saturated_ns: scenario.saturated_ns,
        rate_target_of_all: scenario.rate_target_of_all,
        workers_target_of_all: scenario.workers_target_of_all,
        scheduled_of_all: scenario.scheduled_of_all,
        scheduled: scenario.scheduled,
    }
}

fn scenario_from_wire(scenario: wire::ScenarioLoad) -> ScenarioSample {
    ScenarioSample {
        name: scenario.name,
        executor: scenario.executor,
        workers_target: scenario.workers_target,
        workers: scenario.workers,
        busy: scenario.busy,
        backing_off: scenario.backing_off,
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
        active_ns: scenario.active_ns,
        capped_ns: scenario.capped_ns,
        saturated_ns: scenario.saturated_ns,
        rate_target_of_all: scenario.rate_target_of_all,
        workers_target_of_all: scenario.workers_target_of_all,
        scheduled_of_all: scenario.scheduled_of_all,
        scheduled: scenario.scheduled,
    }
}

fn limit_to_wire(limit: Limit) -> wire::Limit {
    wire::Limit {
        what: limit.what as u32 + 1,
        cause: limit.cause as u32 + 1,
        against_ns: limit.against_ns,
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
        // Earlier senders did not send a cause.
        cause: (limit.cause as usize)
            .checked_sub(1)
            .and_then(|place| LimitCause::ALL.get(place).copied())
            .unwrap_or_default(),
        against_ns: limit.against_ns,
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
    use crate::Level;

    prop_compose! {
        fn request(started: u64)(
            times in (0u64..1 << 40, 0u64..1 << 40, 0u64..1 << 40),
            status in 0u16..=599,
            class in proptest::option::of(0usize..FailureClass::ALL.len()),
            purpose in 0usize..Purpose::ALL.len(),
            text in "[a-z/{}]{0,20}",
            reused: bool,
        ) -> RequestResult {
            let due = started + times.0;
            let sent = due + times.1;
            let done = sent + times.2;
            RequestResult {
                uri: text.clone().into(), took: done - due, successful: class.is_none(), error: text.clone(),
                class: class.map(|index| FailureClass::ALL[index]), endpoint: text.clone().into(), method: "POST".into(),
                purpose: Purpose::ALL[purpose], status, problem: text.into(), bytes_sent: times.0, bytes_received: times.1,
                due, sent, done, reused,
                address: "192.0.2.1:443".into(), nonce_age: times.0 ^ 1,
                phases: Phases { dns: times.0, connect: times.1, tls: times.2, first_byte: times.0 ^ 3 },
                retry_after: (times.1 % 2 == 0).then_some(times.1), reconnects: 2, detail: "limit".into(), request_id: "id".into(),
                traceparent: "00-1-2-01".into(), document: r#"{"type":"caa"}"#.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_chain_result_survives_the_wire(
            (started, requests) in (0u64..1 << 50).prop_flat_map(|started| (Just(started), proptest::collection::vec(request(started), 0..4))),
            chain in 0..=Chain::ALL.len(), seq: u64, abandoned: bool, wait in 0u64..1 << 40, took in 0u64..1 << 40,
        ) {
            let due = started.saturating_sub(wait);
            let result = ChainResult {
                seq, worker: 3, chain: Chain::ALL.get(chain).copied(),
                later_chain: if chain < Chain::ALL.len() { 0 } else { 200 }, successful: true, took: started + took - due, due, started,
                done: started + took, keygen: 5, error: String::new(), class: None, abandoned, requests, status: 403, problem: "caa".into(),
                order: "/order/7".into(), serial: "00ff3a".into(),
                scenario: "default".into(), profile: "shortlived".into(), detail: "names".into(), waited_asked: wait,
                waited_poll: took, issued: abandoned, issuance: abandoned.then_some(took), unverified: "no root".into(),
                rests: false,
                authorizations: vec![
                    AuthorizationResult {
                        name: "a.test".into(), id: "7".into(), challenge: Some(ChallengeType::Dns01),
                        answered: started + 1, settled: started + took + 1,
                    },
                    AuthorizationResult::default(),
                ],
            };
            prop_assert_eq!(chain_from_wire(result.clone().into(), seq), result);
        }
    }

    fn share() -> impl Strategy<Value = f64> {
        (0u32..=10_000).prop_map(|share| f64::from(share) / 10_000.0)
    }

    prop_compose! {
        fn limit()(what in 0usize..LimitKind::ALL.len(), cause in 0usize..LimitCause::ALL.len(), against_ns: u64, place in "[a-z0-9-]{0,12}", now: bool, shares in (share(), share()), at: u64, total_ns: u64) -> Limit {
            Limit { what: LimitKind::ALL[what], cause: LimitCause::ALL[cause], against_ns, place, now, worst: shares.0, bound: shares.1, first_unix_ns: at, total_ns }
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
                backing_off: counts.6 ^ 3,
                rate_target, rate, rate_unit: "chains".into(), asked: counts.3, due: counts.4, started: counts.5,
                ended: counts.6, requests: counts.3 ^ 1, dropped: counts.4 ^ 1, idle: counts.5 ^ 1,
                reach, active_ns: counts.6 ^ 3, capped_ns: counts.6 ^ 1, saturated_ns: counts.6 ^ 2,
                rate_target_of_all: rate_target, workers_target_of_all: rate_target.map(|_| counts.3), scheduled_of_all: rate, scheduled: rate / 2.0,
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
            let silent = turned.map(|_| Silent { since_unix_ns: at_unix_ns, in_flight: over_ns });
            let ca = CaSample { orders_expired: over_ns, clock_ahead_s: turned.map(|_| -7), silent, turned };
            let load = LoadSample { over_ns, scenarios, generator, ca };
            let sent = load_to_wire(load.clone(), at_unix_ns);
            prop_assert_eq!(sent.at_unix_ns, at_unix_ns);
            prop_assert_eq!(&load_from_wire(sent), &load);
            let line = serde_json::to_string(&load).unwrap();
            prop_assert_eq!(serde_json::from_str::<LoadSample>(&line).unwrap(), load);
        }
    }

    #[test]
    fn a_hit_of_a_later_type_keeps_its_content() {
        let hit = |challenge| wire::ValidationHit {
            at_unix_ns: 5,
            challenge,
            name: r#"","type":"http-01"#.into(),
            source: "127.0.0.1:1".into(),
            verdict: 0,
            answer: "a".into(),
            took: 2,
        };
        let record = hit_from_wire(hit(99), "c\"1".into(), 7);
        assert!(matches!(record, Record::Unknown(_)), "{record:?}");
        assert_eq!((record.kind(), record.origin()), ("hit", Some(("c\"1", 7))));
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(Record::parse(&line, 1).unwrap(), record);
        let known = Record::parse(&line.replacen("\"99\"", "\"dns-01\"", 1), 1).unwrap();
        assert_eq!(known, hit_from_wire(hit(1), "c\"1".into(), 7));
    }

    #[test]
    fn serials_are_hex_of_whole_bytes() {
        for hex in ["", "00", "0aff", "7f00112233445566778899aabbccddeeff001122"] {
            assert_eq!(serial_from_wire(&serial_to_wire(hex).unwrap()), hex);
        }
        for other in ["0", "0AFF", "0x12", "é"] {
            assert_eq!(serial_to_wire(other), None, "{other}");
        }
    }

    #[test]
    fn an_event_survives_the_wire() {
        let event = Event {
            node: "r1".into(),
            seq: 7,
            at_unix_ns: 3,
            first_unix_ns: 2,
            level: Level::Error,
            target: "wec_store".into(),
            text: "a \"b\"\n".into(),
            count: 5,
        };
        let sent = event_to_wire(event.clone());
        let received = Record::from_json(&sent.kind, "r1", 7, &sent.object).unwrap();
        assert_eq!(received, Record::Event(event));
    }

    #[test]
    fn declared_order_and_wire_numbers_agree() {
        for (index, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, index);
        }
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, index);
        }
        for (index, class) in FailureClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
        for (index, kind) in LimitKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, cause) in LimitCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        for (index, reach) in Reach::ALL.into_iter().enumerate() {
            assert_eq!(reach as usize, index);
        }
        for (index, kind) in ChallengeType::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
