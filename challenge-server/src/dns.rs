//! Answers DNS queries: one packet in, one packet out, for every transport.
//!
//! It answers like a resolver that is also authoritative for every name (AA and RA are both set), so that a CA may
//! use it as its only resolver. Unknown hosts have the default addresses, `_acme-challenge` names have the stored TXT
//! values. A name without the requested type is NODATA, a name that does not exist NXDOMAIN, both with the SOA that
//! RFC 2308 requires. Every TTL is 0, because test data changes.

use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, HINFO, NS, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::time::sleep;
use wec_record::{ChallengeType, Verdict};
use wec_store::ValidationFault;
use wec_store::challenge::{DNS01_LABEL, PERSIST_LABEL, delegated_name, is_delegated};

use crate::answers::{Answers, StoreFailed};
use crate::faults;
use crate::history;
use crate::hits::{Arrival, beginning};
use crate::records::{Data, NameRecords};

/// The largest answer over UDP: it fits every path unfragmented, whatever the client allows.
const LARGEST_DATAGRAM: u16 = 1232;
/// Without EDNS (RFC 1035 §4.2.1).
const PLAIN_DATAGRAM: u16 = 512;
/// Characters of the label of an account in names of dns-account-01, with its underscore.
const ACCOUNT_LABEL: usize = 17;
/// CNAMEs followed for one question.
const MOST_ALIASES: usize = 8;
const TTL: u32 = 0;
/// Longest string within a TXT record (RFC 1035 §3.3).
const TXT_STRING: usize = 255;

/// How a query came.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    /// With the client's User-Agent.
    Https(String),
}

/// Answers `packet`; none if it is too short to have an id, or is itself an answer.
pub(crate) async fn respond(
    answers: &Answers,
    packet: &[u8],
    source: SocketAddr,
    transport: &Transport,
) -> Option<Vec<u8>> {
    let arrival = answers.hits.arrival(ChallengeType::Dns01, source);
    let query = match parse(packet) {
        Parsed::Query(query) => query,
        Parsed::Bad(reply) => return reply.to_vec().ok(),
        Parsed::Ignore => return None,
    };
    let mut reply = reply_to(&query);
    match check(&query) {
        Ok(question) => {
            remember(answers, question, transport);
            reply.add_query(question.clone());
            let resolved = resolve(answers, question).await;
            record_hit(answers, arrival, question, &resolved);
            if resolved.fault == Some(ValidationFault::Silence) {
                if !matches!(transport, Transport::Udp) {
                    sleep(faults::PATIENCE).await;
                }
                return None;
            }
            let Resolved { code, records, authority, .. } = resolved;
            reply.metadata.response_code = code;
            reply.add_answers(records);
            reply.add_authorities(authority);
        }
        Err(code) => {
            reply.add_queries(query.queries.iter().cloned());
            reply.metadata.response_code = code;
        }
    }
    let largest = match transport {
        Transport::Udp => datagram_limit(&query),
        Transport::Tcp | Transport::Https(_) => u16::MAX,
    };
    encode(&reply, largest)
}

enum Parsed {
    Query(Message),
    Bad(Message),
    Ignore,
}

fn parse(packet: &[u8]) -> Parsed {
    // If answers were answered, two servers could do so for ever.
    let [id_high, id_low, flags, ..] = *packet else { return Parsed::Ignore };
    if packet.len() < 12 || flags & 0x80 != 0 {
        return Parsed::Ignore;
    }
    match Message::from_vec(packet) {
        Ok(message) if message.metadata.message_type == MessageType::Query => Parsed::Query(message),
        Ok(_) => Parsed::Ignore,
        Err(_) => {
            let id = u16::from_be_bytes([id_high, id_low]);
            let code = ResponseCode::FormErr;
            Parsed::Bad(Message::error_msg(id, OpCode::from_u8((flags >> 3) & 0x0f), code))
        }
    }
}

fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_available = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.checking_disabled = query.metadata.checking_disabled;
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
    }
    reply
}

/// The single question, or the code with which the query is refused.
fn check(query: &Message) -> Result<&Query, ResponseCode> {
    if query.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    let [question] = query.queries.as_slice() else { return Err(ResponseCode::FormErr) };
    let transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    if transfer || question.query_class() != DNSClass::IN {
        return Err(ResponseCode::Refused);
    }
    Ok(question)
}

fn datagram_limit(query: &Message) -> u16 {
    let allowed = query.edns.as_ref().map_or(PLAIN_DATAGRAM, Edns::max_payload);
    allowed.clamp(PLAIN_DATAGRAM, LARGEST_DATAGRAM)
}

/// RFC 2181 §9: an answer that does not fit is left out and TC is set, so that the client repeats the query over TCP.
fn encode(reply: &Message, largest: u16) -> Option<Vec<u8>> {
    match reply.to_vec() {
        Ok(packet) if packet.len() <= largest.into() => Some(packet),
        Ok(_) | Err(_) => reply.truncate().to_vec().ok(),
    }
}

/// What is known about a question.
struct Resolved {
    code: ResponseCode,
    records: Vec<Record>,
    authority: Option<Record>,
    failed: Option<StoreFailed>,
    /// The answer is wrong on purpose.
    fault: Option<ValidationFault>,
}

async fn resolve(answers: &Answers, question: &Query) -> Resolved {
    let mut records = Vec::new();
    let mut owner = question.name().clone();
    for _ in 0..=MOST_ALIASES {
        let key = key_of(&owner);
        let stored = match stored_txt(answers, &key).await {
            Ok(stored) => stored,
            Err(failed) => return failure(Some(failed)),
        };
        if let Some(challenged) = Challenged::of(&key).filter(|_| is_delegated(&stored)) {
            let target = format!("{DNS01_LABEL}.{}.", delegated_name(challenged.name));
            let Ok(target) = Name::from_ascii(target) else { return failure(None) };
            records.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
            if question.query_type() == RecordType::CNAME {
                let code = ResponseCode::NoError;
                return Resolved { code, records, authority: None, failed: None, fault: None };
            }
            owner = target;
            continue;
        }
        // One fault is enough, if there are several values.
        let fault = match question.query_type() {
            RecordType::TXT => stored.iter().find_map(|value| ValidationFault::of_txt_value(value)),
            _ => None,
        };
        if let Some(fault) = fault.filter(|fault| *fault != ValidationFault::Wrong) {
            return Resolved { fault: Some(fault), ..faulty(fault, records, &owner) };
        }
        let found = find(&answers.records.read(), &key, &owner, question.query_type(), &stored);
        match found {
            Found::Data(data) => {
                records.extend(data.into_iter().map(|data| Record::from_rdata(owner.clone(), TTL, data)));
                let code = ResponseCode::NoError;
                return Resolved { code, records, authority: None, failed: None, fault };
            }
            Found::Alias(target) => {
                let alias = RData::CNAME(CNAME(target.clone()));
                records.push(Record::from_rdata(owner, TTL, alias));
                owner = target;
            }
            Found::NoData => return negative(ResponseCode::NoError, records, &owner),
            Found::NoName => {
                // A name above a challenge's name exists (RFC 8020), though only the store knows it.
                let below = match Challenged::of(&key) {
                    Some(_) => Ok(Vec::new()),
                    None => answers.dns01(&key).await,
                };
                return match below {
                    Ok(values) if values.is_empty() => negative(ResponseCode::NXDomain, records, &owner),
                    Ok(_) => negative(ResponseCode::NoError, records, &owner),
                    Err(failed) => failure(Some(failed)),
                };
            }
            Found::Fail => return failure(None),
        }
    }
    failure(None)
}

fn failure(failed: Option<StoreFailed>) -> Resolved {
    Resolved { code: ResponseCode::ServFail, records: Vec::new(), authority: None, failed, fault: None }
}

/// The answer with this fault.
fn faulty(fault: ValidationFault, records: Vec<Record>, owner: &Name) -> Resolved {
    match fault {
        ValidationFault::Nxdomain => negative(ResponseCode::NXDomain, records, owner),
        ValidationFault::Refused => Resolved { code: ResponseCode::Refused, ..failure(None) },
        _ => failure(None),
    }
}

/// RFC 2308 §2: a negative answer contains the SOA of the zone.
fn negative(code: ResponseCode, records: Vec<Record>, name: &Name) -> Resolved {
    let apex = apex_of(name);
    let authority = soa(&apex).map(|soa| Record::from_rdata(apex, TTL, soa));
    Resolved { code, records, authority, failed: None, fault: None }
}

/// The store's TXT values for a challenge's name.
async fn stored_txt(answers: &Answers, key: &str) -> Result<Vec<String>, StoreFailed> {
    match Challenged::of(key) {
        Some(challenged) => answers.dns01(challenged.stored).await,
        None => Ok(Vec::new()),
    }
}

enum Found {
    Data(Vec<RData>),
    Alias(Name),
    NoData,
    NoName,
    Fail,
}

fn find(data: &Data, key: &str, name: &Name, kind: RecordType, stored: &[String]) -> Found {
    let none = NameRecords::default();
    let known = data.name(key).unwrap_or(&none);
    if known.servfail {
        return Found::Fail;
    }
    if let Some(target) = &known.cname {
        return match Name::from_ascii(target) {
            Ok(mut target) if kind != RecordType::CNAME => {
                target.set_fqdn(true);
                Found::Alias(target)
            }
            Ok(mut target) => {
                target.set_fqdn(true);
                Found::Data(vec![RData::CNAME(CNAME(target))])
            }
            Err(_) => Found::Fail,
        };
    }
    let apex = is_apex(name);
    let found: Vec<RData> = match kind {
        RecordType::A if known.a.is_empty() => {
            data.default_ipv4(key).into_iter().map(|address| RData::A(A(address))).collect()
        }
        RecordType::A => known.a.iter().map(|address| RData::A(A(*address))).collect(),
        RecordType::AAAA if known.aaaa.is_empty() => {
            data.default_ipv6(key).into_iter().map(|address| RData::AAAA(AAAA(address))).collect()
        }
        RecordType::AAAA => known.aaaa.iter().map(|address| RData::AAAA(AAAA(*address))).collect(),
        RecordType::TXT => known.txt.iter().chain(stored).map(|value| RData::TXT(txt(value))).collect(),
        RecordType::CAA if known.caa.is_empty() => {
            data.caa_by_rule(key).map(|rule| RData::CAA(caa(rule.critical, &rule.tag, &rule.value))).collect()
        }
        RecordType::CAA => known.caa.iter().map(|(tag, value)| RData::CAA(caa(false, tag, value))).collect(),
        RecordType::SOA if apex => soa(name).into_iter().collect(),
        RecordType::NS if apex => name_server(name).map(|server| RData::NS(NS(server))).into_iter().collect(),
        // RFC 8482 §4.2.
        RecordType::ANY => vec![RData::HINFO(HINFO::new("RFC8482".into(), String::new()))],
        _ => Vec::new(),
    };
    match found.is_empty() {
        false => Found::Data(found),
        true if apex || !stored.is_empty() || data.exists(key) => Found::NoData,
        true => Found::NoName,
    }
}

/// Lower case, without the final dot.
fn key_of(name: &Name) -> String {
    let mut key = name.to_ascii();
    key.make_ascii_lowercase();
    if key.ends_with('.') {
        key.pop();
    }
    key
}

/// The challenge that a name of a TXT record is of.
struct Challenged<'a> {
    kind: ChallengeType,
    /// The name that is validated.
    name: &'a str,
    /// The name in the challenge store.
    stored: &'a str,
}

impl<'a> Challenged<'a> {
    /// Of a name in lower case, without the final dot.
    fn of(key: &'a str) -> Option<Self> {
        let below = |key: &'a str, label| key.strip_prefix(label)?.strip_prefix('.');
        if let Some(name) = below(key, DNS01_LABEL) {
            return Some(Self { kind: ChallengeType::Dns01, name, stored: name });
        }
        if let Some(name) = below(key, PERSIST_LABEL) {
            return Some(Self { kind: ChallengeType::DnsPersist01, name, stored: key });
        }
        let (account, rest) = key.split_once('.').filter(|(account, _)| account.starts_with('_'))?;
        let name = below(rest, DNS01_LABEL).filter(|_| account.len() == ACCOUNT_LABEL)?;
        Some(Self { kind: ChallengeType::DnsAccount01, name, stored: key })
    }
}

/// Every host name of up to two labels is a zone, for clients that look for a domain's SOA.
fn is_apex(name: &Name) -> bool {
    name.iter().count() <= 2 && !name.iter().any(|label| label.first() == Some(&b'_'))
}

fn apex_of(name: &Name) -> Name {
    (0..=2).rev().map(|labels| name.trim_to(labels)).find(is_apex).unwrap_or_else(Name::root)
}

fn soa(apex: &Name) -> Option<RData> {
    let mailbox = apex.prepend_label("hostmaster").ok()?;
    Some(RData::SOA(SOA::new(name_server(apex)?, mailbox, 1, 3600, 600, 86_400, TTL)))
}

fn name_server(apex: &Name) -> Option<Name> {
    apex.prepend_label("ns").ok()
}

fn txt(value: &str) -> TXT {
    // An empty value would give a TXT record without strings, which RFC 1035 §3.3.14 does not allow.
    match value.as_bytes() {
        [] => TXT::from_bytes(vec![&[]]),
        bytes => TXT::from_bytes(bytes.chunks(TXT_STRING).collect()),
    }
}

fn caa(critical: bool, tag: &str, value: &str) -> CAA {
    let mut caa = CAA::new_issue(critical, None, Vec::new());
    caa.tag = tag.to_owned();
    caa.value = value.as_bytes().to_vec();
    caa
}

fn remember(answers: &Answers, question: &Query, transport: &Transport) {
    let Some(history) = &answers.history else { return };
    let name = question.name().to_ascii();
    let user_agent = match transport {
        Transport::Https(user_agent) => user_agent.clone(),
        Transport::Udp | Transport::Tcp => String::new(),
    };
    let event = history::Request::Dns {
        question: history::Question {
            name: name.clone(),
            qtype: question.query_type().into(),
            qclass: question.query_class().into(),
        },
        user_agent,
    };
    history.add(name.trim_end_matches('.').to_owned(), event);
}

/// Only a TXT query for a challenge's name is a validation, not those for addresses and CAA.
fn record_hit(answers: &Answers, arrival: Arrival, question: &Query, resolved: &Resolved) {
    if question.query_type() != RecordType::TXT {
        return;
    }
    let key = key_of(question.name());
    let Some(Challenged { kind, name, .. }) = Challenged::of(&key) else { return };
    let values: Vec<_> = resolved.records.iter().filter_map(|record| text(&record.data)).collect();
    let (verdict, answer) = match (&resolved.failed, resolved.fault) {
        (Some(failed), _) => (Verdict::StoreFailed, format!("SERVFAIL: {failed}")),
        (None, Some(fault)) => (Verdict::Faulted, fault.to_string()),
        (None, None) if values.is_empty() => (Verdict::Unknown, format!("{}, no TXT", resolved.code)),
        (None, None) => {
            let values: Vec<_> = values.iter().map(|value| beginning(value)).collect();
            (Verdict::Answered, values.join(" "))
        }
    };
    answers.hits.add(arrival.of(kind), name.to_owned(), verdict, answer);
}

fn text(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
