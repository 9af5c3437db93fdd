//! Compares the certificates of a log with the CA's own list.
//!
//! The list is in memory as serial numbers; the log is read once, and only what differs is kept.

mod list;
#[cfg(test)]
mod tests;
mod unknown;

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};

use serde::Serialize;
use wec_record::wire::serial_from_wire;
use wec_record::{Chain, ChainResult, Record, RequestResult};
use wec_text::visible;

pub use self::list::{CaList, ListError, ListForm};
use self::list::{Serial, last, parse};
use self::unknown::UnknownOutcomes;

/// Differences that are listed; all are counted.
const MOST_LISTED: usize = 10_000;
/// Differences of a kind in the text for people.
const MOST_SHOWN: usize = 20;
/// Stands for an order of the log; 0 for none.
type OrderHash = u64;

/// Compares; logs are read into it one record after the other.
#[derive(Debug)]
pub struct Reconciler {
    list: CaList,
    only_here: Vec<OnlyHere>,
    /// Of all of them with the order, so that each counts once.
    only_here_serials: HashMap<Serial, OrderHash>,
    repeated_here: Vec<RepeatedHere>,
    /// Of all of them, so that each counts once.
    repeated_here_orders: HashSet<(Serial, OrderHash)>,
    unknown: UnknownOutcomes,
    other_order: Vec<OtherOrder>,
    equal: u64,
    other_orders: u64,
    without_serial: u64,
}

/// A certificate of the log that the list lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnlyHere {
    /// Its serial number in hex.
    pub serial: String,
    /// Whether the chain accepted it; a wrong certificate was issued, too.
    pub accepted: bool,
    /// The chain's request.
    #[serde(flatten)]
    pub request: RequestOf,
}

/// A certificate of the log whose serial number an earlier one of another order has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepeatedHere {
    /// The serial number in hex.
    pub serial: String,
    /// The later chain's request.
    #[serde(flatten)]
    pub request: RequestOf,
}

/// A request for a certificate whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownOutcome {
    /// What happened, for people.
    pub why: String,
    /// The chain's request.
    #[serde(flatten)]
    pub request: RequestOf,
}

/// A certificate that the list has with another order than the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherOrder {
    /// Its serial number in hex.
    pub serial: String,
    /// The order in the list.
    pub order_there: String,
    /// The chain's request.
    #[serde(flatten)]
    pub request: RequestOf,
}

/// Where a certificate was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestOf {
    /// When the CA was asked, or answered last, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// The path of the order's URL; empty in logs that do not have it.
    pub order: String,
    /// The chain.
    pub chain: String,
    /// The node.
    pub node: String,
    /// The number of the record of that node.
    pub seq: u64,
    /// HTTP status of the last answer to finalize; 0 without one.
    pub status: u16,
    /// The CA's own id of the request; empty where it is not known.
    pub request_id: String,
    /// The `traceparent` of the request; empty without one.
    pub traceparent: String,
}

/// A certificate of the list that no log has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnlyThere {
    /// Its serial number in hex.
    pub serial: String,
    /// The order, if the list has it.
    pub order: String,
    /// What explains it.
    pub explanation: Explanation,
}

/// Why a certificate can be only in the CA's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Explanation {
    /// Nothing does.
    None,
    /// There are requests with an unknown outcome, and this may be one of their certificates.
    UnknownOutcomePossible,
    /// Its order was finalized with an unknown outcome.
    UnknownOutcome,
    /// The log revokes it: it is from before the log.
    RevokedHere,
}

/// What differs.
#[derive(Clone, Debug, Serialize)]
pub struct Reconciliation {
    /// Whether nothing differs: then an unknown outcome issued nothing.
    pub is_equal: bool,
    /// Certificates in both.
    pub equal: u64,
    /// Certificates in the list.
    pub in_list: u64,
    /// Serial numbers that are in the list more than once.
    pub repeated_in_list: u64,
    /// Certificates in the log whose serial number one of another order has: each number counts once elsewhere.
    pub repeated_here: u64,
    /// Whether the list may be in decimal: it has only decimal digits, was read as hex, and nothing of it is in the
    /// log.
    pub maybe_decimal: bool,
    /// Certificates in the log that are not in the list.
    pub only_here: u64,
    /// Certificates in the list that are not in the log.
    pub only_there: u64,
    /// How many of them an unknown outcome of the same order explains.
    pub explained_by_order: u64,
    /// How many of them the log revokes.
    pub explained_by_revocation: u64,
    /// How many others the rest of the unknown outcomes can explain at most.
    pub possibly_explained: u64,
    /// How many of them have no explanation at all, at least.
    pub unexplained: u64,
    /// Requests whose outcome is not known.
    pub unknown_outcomes: u64,
    /// How many of them are beyond what is kept in memory, so that their orders explain nothing.
    pub unmatched_outcomes: u64,
    /// Certificates in both, with different orders.
    pub other_orders: u64,
    /// The first 10,000 of each, by time or serial number.
    pub only_here_list: Vec<OnlyHere>,
    /// The first 10,000, those without an explanation first.
    pub only_there_list: Vec<OnlyThere>,
    /// The first 10,000 by time.
    pub unknown_outcome_list: Vec<UnknownOutcome>,
    /// The first 10,000 by time.
    pub other_order_list: Vec<OtherOrder>,
    /// The first 10,000 of the log.
    pub repeated_here_list: Vec<RepeatedHere>,
}

impl Reconciler {
    /// Compares with this list.
    pub fn new(list: CaList) -> Self {
        Self {
            list,
            only_here: Vec::new(),
            only_here_serials: HashMap::new(),
            repeated_here: Vec::new(),
            repeated_here_orders: HashSet::new(),
            unknown: UnknownOutcomes::default(),
            other_order: Vec::new(),
            equal: 0,
            other_orders: 0,
            without_serial: 0,
        }
    }

    /// Reads one record of a log.
    pub fn record(&mut self, record: &Record) {
        let Record::Chain { node, origin_unix_ns, result } = record else { return };
        let request = |of: Option<&RequestResult>| RequestOf {
            at_unix_ns: origin_unix_ns.saturating_add(of.map_or(result.done, |request| request.done)),
            order: result.order.clone(),
            chain: result.chain.map_or_else(String::new, |chain| chain.name().to_owned()),
            node: node.clone(),
            seq: result.seq,
            status: of.map_or(0, |request| request.status),
            request_id: of.map_or_else(String::new, |request| request.request_id.clone()),
            traceparent: of.map_or_else(String::new, |request| request.traceparent.clone()),
        };
        if !result.order.is_empty() && has_new_order(result) {
            self.unknown.begin_order(&result.order);
        }
        if result.serial.is_empty() {
            // The 2015 design had neither serial numbers, nodes and clocks nor `issued`.
            let is_of_2015 = node.is_empty() && *origin_unix_ns == 0 && !result.issued;
            let issues = result.chain.is_some_and(|chain| chain.facts().issues);
            self.without_serial += u64::from(result.issued || (is_of_2015 && issues && result.successful));
            if result.issuance_is_unknown() {
                let of = last_finalize(result);
                let why = of.map_or_else(String::new, why);
                self.unknown.add(UnknownOutcome { why, request: request(of) });
            }
            return;
        }
        let Some(serial) = parse(&result.serial, false) else { return };
        let listed = self.list.serials.get_mut(&serial);
        if result.chain == Some(Chain::Revoke) {
            listed.into_iter().for_each(|listed| listed.revoked = true);
            return;
        }
        // An earlier request for the same order had an unknown outcome, which is known now.
        self.unknown.ended(&result.order);
        let order = order_hash(&result.order);
        let earlier = match listed {
            Some(listed) if listed.seen => listed.order_here,
            Some(listed) => {
                (listed.seen, listed.order_here) = (true, order);
                self.equal += 1;
                if !is_same_order(&listed.order, &result.order) {
                    self.other_orders += 1;
                    if self.other_order.len() < MOST_LISTED {
                        self.other_order.push(OtherOrder {
                            serial: result.serial.clone(),
                            order_there: listed.order.to_string(),
                            request: request(last_finalize(result)),
                        });
                    }
                }
                order
            }
            None => match self.only_here_serials.entry(serial.clone()) {
                Entry::Occupied(earlier) => *earlier.get(),
                Entry::Vacant(first) => {
                    first.insert(order);
                    if self.only_here.len() < MOST_LISTED {
                        self.only_here.push(OnlyHere {
                            serial: result.serial.clone(),
                            accepted: result.issued,
                            request: request(last_finalize(result)),
                        });
                    }
                    order
                }
            },
        };
        // The same order may be in several logs, or be downloaded again.
        if earlier != order
            && earlier != 0
            && order != 0
            && self.repeated_here_orders.insert((serial, order))
            && self.repeated_here.len() < MOST_LISTED
        {
            self.repeated_here.push(RepeatedHere {
                serial: result.serial.clone(),
                request: request(last_finalize(result)),
            });
        }
    }

    /// Certificates that the logs count without a serial number, because an earlier version wrote them.
    pub const fn without_serial(&self) -> u64 {
        self.without_serial
    }

    /// What differs.
    pub fn finish(self) -> Reconciliation {
        let mut unknown = self.unknown.by_order();
        let mut there = Vec::new();
        for (serial, listed) in self.list.serials.iter().filter(|(_, listed)| !listed.seen) {
            let explanation = match unknown.take(&listed.order) {
                true => Explanation::UnknownOutcome,
                false if listed.revoked => Explanation::RevokedHere,
                false => Explanation::None,
            };
            there.push((explanation, serial, &listed.order));
        }
        let count = |wanted: Explanation| there.iter().filter(|(is, ..)| *is == wanted).count() as u64;
        let (by_order, by_revocation) = (count(Explanation::UnknownOutcome), count(Explanation::RevokedHere));
        let rest = there.len() as u64 - by_order - by_revocation;
        // A list that names orders would have named the order of each of them.
        let possible = self.unknown.count() - by_order;
        let possibly = if self.list.serials.values().any(|listed| !listed.order.is_empty()) {
            0
        } else {
            possible.min(rest)
        };
        if possibly > 0 {
            let unexplained = there.iter_mut().filter(|(is, ..)| *is == Explanation::None);
            unexplained.for_each(|(is, ..)| *is = Explanation::UnknownOutcomePossible);
        }
        there.sort();
        let (unknown_outcomes, unmatched) = (self.unknown.count(), self.unknown.beyond);
        let (only_here, only_there) = (self.only_here_serials.len() as u64, there.len() as u64);
        let repeated_here = self.repeated_here_orders.len() as u64;
        Reconciliation {
            is_equal: only_here == 0 && only_there == 0 && self.other_orders == 0 && repeated_here == 0,
            equal: self.equal,
            in_list: self.list.serials.len() as u64,
            repeated_in_list: self.list.repeated,
            repeated_here,
            maybe_decimal: self.list.maybe_decimal && self.equal == 0 && only_here > 0,
            only_here,
            only_there,
            explained_by_order: by_order,
            explained_by_revocation: by_revocation,
            possibly_explained: possibly,
            unexplained: rest - possibly,
            unknown_outcomes,
            unmatched_outcomes: unmatched,
            other_orders: self.other_orders,
            only_here_list: self.only_here,
            only_there_list: there
                .into_iter()
                .take(MOST_LISTED)
                .map(|(explanation, serial, order)| OnlyThere {
                    serial: serial_from_wire(serial),
                    order: order.to_string(),
                    explanation,
                })
                .collect(),
            unknown_outcome_list: self.unknown.list(),
            other_order_list: self.other_order,
            repeated_here_list: self.repeated_here,
        }
    }
}

/// Whether both name the same order, as far as both name one. One may have only the last part of its path.
fn is_same_order(there: &str, here: &str) -> bool {
    there.is_empty() || here.is_empty() || there == here || (!there.contains('/') && last(here) == there)
}

fn order_hash(order: &str) -> OrderHash {
    if order.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    order.hash(&mut hasher);
    hasher.finish().max(1)
}

/// Whether the chain made its order.
fn has_new_order(result: &ChainResult) -> bool {
    result.requests.iter().any(|request| request.endpoint == "newOrder" && request.successful)
}

/// The last attempt to finalize.
fn last_finalize(result: &ChainResult) -> Option<&RequestResult> {
    result.requests.iter().rev().find(|request| request.endpoint == "finalize")
}

fn why(request: &RequestResult) -> String {
    if request.successful {
        "finalized, and the certificate was not downloaded".to_owned()
    } else if request.error.is_empty() {
        request.class.map_or("finalized without an answer", |class| class.name()).to_owned()
    } else {
        request.error.clone()
    }
}

impl Reconciliation {
    /// The result for people. Ends with a newline.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut count = |count: u64, what: &str| _ = writeln!(text, "{count:>10}  {what}");
        count(self.equal, "in the log and in the CA's list");
        count(self.only_here, "only in the log: the CA's list lacks them");
        count(self.only_there, "only in the CA's list: the log lacks them");
        for (number, what) in [
            (self.explained_by_order, "of them: their order was finalized with an unknown outcome"),
            (self.possibly_explained, "of them at most: a request with an unknown outcome may have made it"),
            (self.explained_by_revocation, "of them: from before the log, which revokes them"),
            (self.unexplained, "of them at least: nothing in the log explains them"),
        ] {
            if number > 0 {
                count(number, &format!("  {what}"));
            }
        }
        count(self.unknown_outcomes, "requests with an unknown outcome");
        if self.unmatched_outcomes > 0 {
            count(
                self.unmatched_outcomes,
                "  of them: too many to compare their orders, name the logs of a part",
            );
        }
        if self.other_orders > 0 {
            count(self.other_orders, "in both, with different orders");
        }
        if self.repeated_here > 0 {
            count(self.repeated_here, "orders of the log got the serial number of another order");
        }
        if self.repeated_in_list > 0 {
            count(self.repeated_in_list, "lines of the list repeat a serial number");
        }
        let here = self.only_here_list.iter().map(|it| {
            let what = if it.accepted { "" } else { ", refused as wrong" };
            format!("{} {}{what}", it.serial, it.request.text())
        });
        push_list(&mut text, "Only in the log", self.only_here, here);
        let there = self.only_there_list.iter().map(|it| {
            let order =
                if it.order.is_empty() { String::new() } else { format!(" order {}", visible(&it.order)) };
            let why = match it.explanation {
                Explanation::None => "",
                Explanation::UnknownOutcomePossible => ", perhaps of an unknown outcome",
                Explanation::UnknownOutcome => ", of an unknown outcome",
                Explanation::RevokedHere => ", revoked here",
            };
            format!("{}{order}{why}", it.serial)
        });
        push_list(&mut text, "Only in the CA's list", self.only_there, there);
        let unknown = self.unknown_outcome_list.iter();
        let unknown = unknown.map(|it| format!("{}: {}", it.request.text(), visible(&it.why)));
        push_list(&mut text, "Unknown outcomes", self.unknown_outcomes, unknown);
        let others = self.other_order_list.iter();
        let others = others.map(|it| {
            format!("{} {}, in the list order {}", it.serial, it.request.text(), visible(&it.order_there))
        });
        push_list(&mut text, "Different orders", self.other_orders, others);
        let repeated = self.repeated_here_list.iter();
        let repeated = repeated.map(|it| format!("{} {}", it.serial, it.request.text()));
        push_list(&mut text, "The serial number of another order", self.repeated_here, repeated);
        if self.maybe_decimal {
            text += "\nThe list has only decimal digits, and was read as hex: if it is decimal, give --decimal.\n";
        }
        text
    }
}

fn push_list(text: &mut String, title: &str, count: u64, lines: impl Iterator<Item = String>) {
    if count == 0 {
        return;
    }
    _ = writeln!(text, "\n{title}:");
    lines.take(MOST_SHOWN).for_each(|line| _ = writeln!(text, "  {line}"));
    if count > MOST_SHOWN as u64 {
        _ = writeln!(text, "  and {} more: see --json", count - MOST_SHOWN as u64);
    }
}

impl RequestOf {
    fn text(&self) -> String {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(self.at_unix_ns);
        let mut text = humantime::format_rfc3339_millis(at).to_string();
        for (name, value) in
            [("order", &self.order), ("request id", &self.request_id), ("traceparent", &self.traceparent)]
        {
            if !value.is_empty() {
                _ = write!(text, " {name} {}", visible(value));
            }
        }
        _ = write!(text, " ({} {} of {})", self.chain, self.seq, visible(&self.node));
        text
    }
}
