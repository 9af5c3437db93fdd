//! Tests of packets in and packets out; the transports add nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use wec_record::{ChallengeType, Listener};
use wec_store::challenge::account_label;
use wec_store::{ChallengeData, ChallengeWriter, MemoryChallenges};

use self::dead_store::DeadStore;
use super::*;
use crate::hits::Hits;
use crate::records::Records;
use wec_clock::Clock;

#[path = "../tests/challenge_server/dead_store.rs"]
mod dead_store;

const DEFAULT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

async fn answers_with(names: &[&str], records: Records) -> Answers {
    let store = MemoryChallenges::new();
    for name in names {
        store.put(&challenge(name, "token")).await.unwrap();
    }
    Answers::new(Arc::new(store), records, Arc::new(Hits::new(Clock::start())), None)
}

fn challenge(name: &str, token: &str) -> ChallengeData {
    ChallengeData {
        kind: ChallengeType::Dns01,
        name: name.into(),
        token: token.into(),
        key_authorization: format!("{token}.thumb"),
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    query.add_query(Query::query(name, kind));
    query
}

async fn ask(answers: &Answers, query: &Message) -> Message {
    let packet = respond(answers, &query.to_vec().unwrap(), source(), &Transport::Udp).await.unwrap();
    Message::from_vec(&packet).unwrap()
}

fn source() -> SocketAddr {
    "192.0.2.53:5353".parse().unwrap()
}

/// Code, and the data of both sections as text.
fn shown(reply: &Message) -> (ResponseCode, Vec<String>, Vec<String>) {
    let show = |records: &[Record]| {
        records
            .iter()
            .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
            .collect()
    };
    (reply.metadata.response_code, show(&reply.answers), show(&reply.authorities))
}

#[tokio::test]
async fn what_exists_is_answered_what_lacks_the_type_is_nodata_what_does_not_exist_is_nxdomain() {
    let records = Records::new(Some(DEFAULT), None);
    records.write().change("own.example.test", |records| {
        records.a = vec![Ipv4Addr::new(192, 0, 2, 9), Ipv4Addr::new(192, 0, 2, 10)];
        records.caa = vec![("issue".into(), "ca.test".into())];
    });
    records.write().change("broken.example.test", |records| records.servfail = true);
    let answers = answers_with(&["www.example.test"], records).await;
    let value = challenge("", "token").txt_value();

    use RecordType::{A, AAAA, CAA, NS, SOA, TXT};
    let soa = "ns.example.test. hostmaster.example.test. 1 3600 600 86400 0";
    let negative = format!("example.test. SOA {soa}");
    let table: &[(&str, RecordType, ResponseCode, Vec<String>)] = &[
        ("www.example.test", A, ResponseCode::NoError, vec!["www.example.test. A 192.0.2.1".into()]),
        ("www.example.test", AAAA, ResponseCode::NoError, vec![]),
        ("www.example.test", CAA, ResponseCode::NoError, vec![]),
        ("example.test", CAA, ResponseCode::NoError, vec![]),
        (
            "own.example.test",
            A,
            ResponseCode::NoError,
            vec!["own.example.test. A 192.0.2.9".into(), "own.example.test. A 192.0.2.10".into()],
        ),
        (
            "own.example.test",
            CAA,
            ResponseCode::NoError,
            vec!["own.example.test. CAA 0 issue \"ca.test\"".into()],
        ),
        (
            "_acme-challenge.www.example.test",
            TXT,
            ResponseCode::NoError,
            vec![format!("_acme-challenge.www.example.test. TXT {value}")],
        ),
        ("_acme-challenge.www.example.test", A, ResponseCode::NoError, vec![]),
        ("_acme-challenge.other.example.test", TXT, ResponseCode::NXDomain, vec![]),
        ("_acme-challenge.other.example.test", CAA, ResponseCode::NXDomain, vec![]),
        ("example.test", SOA, ResponseCode::NoError, vec![format!("example.test. SOA {soa}")]),
        ("example.test", NS, ResponseCode::NoError, vec!["example.test. NS ns.example.test.".into()]),
        ("www.example.test", SOA, ResponseCode::NoError, vec![]),
        ("broken.example.test", A, ResponseCode::ServFail, vec![]),
    ];
    for (name, kind, code, data) in table {
        let (got, found, authority) = shown(&ask(&answers, &query(name, *kind)).await);
        assert_eq!((got, &found), (*code, data), "{name} {kind}");
        let authorities =
            if data.is_empty() && got != ResponseCode::ServFail { vec![negative.clone()] } else { vec![] };
        assert_eq!(authority, authorities, "{name} {kind}");
    }
}

#[tokio::test]
async fn the_records_of_the_drafts_are_below_their_own_labels() {
    let store = MemoryChallenges::new();
    let label = wec_store::challenge::account_label("https://ca.test/1");
    let account = ChallengeData { kind: ChallengeType::DnsAccount01, ..challenge("a.test", &label) };
    let persist = ChallengeData { kind: ChallengeType::DnsPersist01, ..challenge("a.test", "p") };
    for data in [&account, &persist] {
        store.put(data).await.unwrap();
    }
    let hits = Arc::new(Hits::new(Clock::start()));
    let answers = Answers::new(Arc::new(store), Records::default(), hits, None);
    for (name, data) in [
        (format!("{label}._acme-challenge.a.test"), Some(&account)),
        ("_validation-persist.a.test".to_owned(), Some(&persist)),
        ("_acme-challenge.a.test".to_owned(), None),
        ("_other._acme-challenge.a.test".to_owned(), None),
    ] {
        let (_, found, _) = shown(&ask(&answers, &query(&name, RecordType::TXT)).await);
        let expected: Vec<_> = data.iter().map(|data| format!("{name}. TXT {}", data.txt_value())).collect();
        assert_eq!(found, expected, "{name}");
    }
    let hits: Vec<_> =
        answers.hits.recent().into_iter().map(|hit| (hit.challenge, hit.name, hit.verdict)).collect();
    let hit = |kind, verdict| (kind, "a.test".to_owned(), verdict);
    let expected = [
        hit(ChallengeType::DnsAccount01, Verdict::Answered),
        hit(ChallengeType::DnsPersist01, Verdict::Answered),
        hit(ChallengeType::Dns01, Verdict::Unknown),
    ];
    assert_eq!(hits, expected);
}

#[tokio::test]
async fn hosts_without_caa_records_of_their_own_have_those_of_the_rules() {
    let rules = "issue ca.test; validationmethods=dns-01 | deny.test critical issuewild ;".parse().unwrap();
    let records = Records::new(Some(DEFAULT), None).with_caa(rules);
    records.write().change("own.test", |records| records.caa = vec![("issue".into(), "other.test".into())]);
    let answers = answers_with(&["a.test"], records).await;
    let issue = "CAA 0 issue \"ca.test; validationmethods=dns-01\"";
    for (name, expected) in [
        ("a.test", vec![format!("a.test. {issue}")]),
        ("deny.test", vec![format!("deny.test. {issue}"), "deny.test. CAA 128 issuewild \";\"".to_owned()]),
        ("own.test", vec!["own.test. CAA 0 issue \"other.test\"".to_owned()]),
        ("_acme-challenge.a.test", vec![]),
    ] {
        let (_, found, _) = shown(&ask(&answers, &query(name, RecordType::CAA)).await);
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn without_default_addresses_only_what_has_data_exists() {
    let answers = answers_with(&["www.example.test"], Records::default()).await;
    for (name, code) in [
        ("www.example.test", ResponseCode::NoError),
        ("other.example.test", ResponseCode::NXDomain),
        ("example.test", ResponseCode::NoError),
    ] {
        let reply = ask(&answers, &query(name, RecordType::A)).await;
        assert_eq!(shown(&reply).0, code, "{name}");
        assert!(reply.answers.is_empty());
    }
}

#[tokio::test]
async fn a_challenge_may_have_several_values_and_a_long_one_several_strings() {
    let answers = answers_with(&["a.test"], Records::default()).await;
    let long = "x".repeat(600);
    answers.records.write().change("_acme-challenge.a.test", |records| records.txt = vec![long.clone()]);
    let mut question = query("_acme-challenge.a.test", RecordType::TXT);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    question.set_edns(edns);
    let reply = ask(&answers, &question).await;
    let values: Vec<_> = reply.answers.iter().filter_map(|record| text(&record.data)).collect();
    assert_eq!(values, [long, challenge("", "token").txt_value()]);
    let strings = reply.answers.iter().map(|record| match &record.data {
        RData::TXT(txt) => txt.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(),
        other => panic!("{other}"),
    });
    let strings: Vec<_> = strings.collect();
    assert_eq!(strings, [vec![255, 255, 90], vec![43]]);
}

#[tokio::test]
async fn flags_are_those_of_a_resolver_that_is_the_authority() {
    let answers = answers_with(&[], Records::new(Some(DEFAULT), None)).await;
    let reply = ask(&answers, &query("a.test", RecordType::A)).await;
    let flags = reply.metadata;
    assert_eq!((flags.id, flags.message_type), (4711, MessageType::Response));
    assert!(flags.authoritative && flags.recursion_available && flags.recursion_desired);
    assert!(!flags.truncation && !flags.authentic_data);
    assert_eq!(reply.edns, None, "no OPT for a query without");
    assert_eq!(reply.answers[0].ttl, 0, "test data must not be cached");
}

#[tokio::test]
async fn the_case_of_the_question_comes_back_in_question_and_answer() {
    let answers = answers_with(&["www.example.test"], Records::default()).await;
    let asked = "_AcMe-ChAlLeNgE.wWw.ExAmPlE.tEsT.";
    let reply = ask(&answers, &query(asked, RecordType::TXT)).await;
    assert_eq!(reply.queries[0].name().to_ascii(), asked);
    assert_eq!(reply.answers[0].name.to_ascii(), asked);
}

#[tokio::test]
async fn an_answer_too_large_for_the_datagram_is_truncated_and_whole_over_tcp() {
    let answers = answers_with(&[], Records::default()).await;
    answers
        .records
        .write()
        .change("big.test", |records| records.txt = (0..40).map(|number| format!("{number:040}")).collect());
    let plain = query("big.test", RecordType::TXT);
    let mut large = plain.clone();
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    large.set_edns(edns);
    for (question, limit) in [(&plain, 512), (&large, 1232)] {
        let packet = question.to_vec().unwrap();
        let datagram = respond(&answers, &packet, source(), &Transport::Udp).await.unwrap();
        assert!(datagram.len() <= limit);
        let reply = Message::from_vec(&datagram).unwrap();
        assert!(reply.metadata.truncation && reply.answers.is_empty());
        assert_eq!(reply.queries, question.queries);
        let stream = respond(&answers, &packet, source(), &Transport::Tcp).await.unwrap();
        let reply = Message::from_vec(&stream).unwrap();
        assert!(!reply.metadata.truncation);
        assert_eq!(reply.answers.len(), 40);
    }
    let reply = ask(&answers, &large).await;
    let edns = reply.edns.expect("OPT for OPT");
    assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, true));
}

#[tokio::test]
async fn aliases_are_followed_to_stored_challenges_and_loops_end() {
    let answers = answers_with(&["real.test"], Records::new(Some(DEFAULT), None)).await;
    let aliases = [
        ("_acme-challenge.alias.test", "_acme-challenge.real.test"),
        ("loop.test", "pool.test"),
        ("pool.test", "loop.test"),
    ];
    for (name, target) in aliases {
        answers.records.write().change(name, |records| records.cname = Some(target.into()));
    }
    let reply = ask(&answers, &query("_acme-challenge.alias.test", RecordType::TXT)).await;
    let value = challenge("", "token").txt_value();
    let expected = [
        "_acme-challenge.alias.test. CNAME _acme-challenge.real.test.".to_owned(),
        format!("_acme-challenge.real.test. TXT {value}"),
    ];
    assert_eq!(shown(&reply).1, expected);
    let reply = ask(&answers, &query("loop.test", RecordType::A)).await;
    assert_eq!(shown(&reply).0, ResponseCode::ServFail);
    let reply = ask(&answers, &query("loop.test", RecordType::CNAME)).await;
    assert_eq!(shown(&reply).1, ["loop.test. CNAME pool.test."]);
}

#[tokio::test]
async fn what_is_no_question_for_this_server_is_refused_in_the_right_words() {
    let answers = answers_with(&[], Records::new(Some(DEFAULT), None)).await;
    let plain = query("a.test", RecordType::A);

    let mut update = plain.clone();
    update.metadata.op_code = OpCode::Notify;
    let mut chaos = plain.clone();
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut two = plain.clone();
    two.add_query(plain.queries[0].clone());
    let mut newer = plain.clone();
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    let none = Message::new(1, MessageType::Query, OpCode::Query);

    for (message, code) in [
        (&update, ResponseCode::NotImp),
        (&chaos, ResponseCode::Refused),
        (&query("a.test", RecordType::AXFR), ResponseCode::Refused),
        (&two, ResponseCode::FormErr),
        (&none, ResponseCode::FormErr),
        (&newer, ResponseCode::BADVERS),
    ] {
        let reply = ask(&answers, message).await;
        // As numbers: BADVERS and BADSIG share 16 (RFC 6895 §2.3).
        assert_eq!(u16::from(reply.metadata.response_code), u16::from(code), "{message}");
        assert!(reply.answers.is_empty() && reply.authorities.is_empty());
        assert_eq!(reply.metadata.id, message.metadata.id);
    }
}

#[tokio::test]
async fn malformed_queries_get_formerr_and_answers_get_silence() {
    let answers = answers_with(&[], Records::default()).await;
    let mut cut = query("a.test", RecordType::A).to_vec().unwrap();
    cut.truncate(cut.len() - 3);
    let reply = respond(&answers, &cut, source(), &Transport::Udp).await.unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (4711, ResponseCode::FormErr));

    let mut answer = query("a.test", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    for packet in [answer.to_vec().unwrap(), vec![], vec![1; 11]] {
        assert_eq!(respond(&answers, &packet, source(), &Transport::Udp).await, None);
    }
}

#[test]
fn every_challenge_type_that_dns_answers_is_known_by_the_name_of_its_record() {
    for kind in ChallengeType::ALL.into_iter().filter(|kind| kind.listener() == Listener::Dns) {
        let token = account_label("https://ca.test/account/1");
        let stored = ChallengeData { kind, ..challenge("a.test", &token) }.stored_name();
        // Stores keep dns-01 by the domain, the other types by the name of the record.
        let name = if kind == ChallengeType::Dns01 { format!("{DNS01_LABEL}.{stored}") } else { stored };
        assert_eq!(Challenged::of(&name).map(|challenged| challenged.kind), Some(kind), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_servfail_and_a_hit_that_says_so() {
    let hits = Arc::new(Hits::new(Clock::start()));
    let answers =
        Answers::new(Arc::new(DeadStore), Records::new(Some(DEFAULT), None), Arc::clone(&hits), None);
    let reply = ask(&answers, &query("_acme-challenge.a.test", RecordType::TXT)).await;
    assert_eq!(shown(&reply), (ResponseCode::ServFail, vec![], vec![]));
    let reply = ask(&answers, &query("a.test", RecordType::A)).await;
    assert_eq!(shown(&reply).0, ResponseCode::NoError, "addresses need no store");
    let hits = hits.recent();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].verdict, hits[0].name.as_str()), (Verdict::StoreFailed, "a.test"));
}

#[tokio::test]
async fn only_txt_questions_at_challenge_names_are_hits() {
    let answers = answers_with(&["a.test"], Records::new(Some(DEFAULT), None)).await;
    for (name, kind) in [
        ("a.test", RecordType::TXT),
        ("_acme-challenge.a.test", RecordType::CAA),
        ("_ACME-challenge.A.test", RecordType::TXT),
        ("_acme-challenge.b.test", RecordType::TXT),
    ] {
        ask(&answers, &query(name, kind)).await;
    }
    let hits: Vec<_> = answers
        .hits
        .recent()
        .into_iter()
        .map(|hit| (hit.name, hit.verdict, hit.answer, hit.source))
        .collect();
    let value = crate::hits::beginning(&challenge("", "token").txt_value());
    let source = source().to_string();
    let none = "Non-Existent Domain, no TXT".to_owned();
    assert_eq!(
        hits,
        [
            ("a.test".into(), Verdict::Answered, value, source.clone()),
            ("b.test".into(), Verdict::Unknown, none, source),
        ]
    );
}

fn answered(packet: &[u8]) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let answers = answers_with(&["a.test"], Records::new(Some(DEFAULT), None)).await;
        respond(&answers, packet, source(), &Transport::Udp).await
    })
}

proptest! {
    #[test]
    fn any_packet_gets_a_well_formed_answer_or_none(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Some(reply) = answered(&packet) {
            prop_assert!(reply.len() <= 1232);
            let reply = Message::from_vec(&reply).unwrap();
            prop_assert_eq!(reply.metadata.message_type, MessageType::Response);
        }
    }

    #[test]
    fn a_damaged_query_gets_a_well_formed_answer_or_none(
        flips in proptest::collection::vec((0usize..60, any::<u8>()), 0..6), cut in 0usize..60,
    ) {
        let mut question = query("_acme-challenge.a.test", RecordType::TXT);
        question.set_edns(Edns::new());
        let mut packet = question.to_vec().unwrap();
        for (place, byte) in flips {
            let length = packet.len();
            packet[place % length] ^= byte;
        }
        packet.truncate(packet.len().saturating_sub(cut).max(1));
        if let Some(reply) = answered(&packet) {
            let reply = Message::from_vec(&reply).unwrap();
            prop_assert_eq!(reply.metadata.id.to_be_bytes(), &packet[..2]);
        }
    }
}
