//! Compares the certificates of a log with the CA's own list.
//!
//! The list is in memory as serial numbers; the log is read once, and only what differs is kept.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, Cursor, Read as _};

use serde::Serialize;
use wec_record::wire::serial_from_wire;
use wec_record::{Chain, ChainResult, Record, RequestResult};
use wec_text::{quoted, visible};

/// Differences that are listed; all are counted.
const MOST_LISTED: usize = 10_000;
/// Differences of a kind in the text for people.
const MOST_SHOWN: usize = 20;
/// Names of the column with the serial numbers.
const SERIAL_COLUMNS: [&str; 5] =
    ["serial", "serial_number", "serialnumber", "certificate_serial", "cert_serial"];
/// Names of the column with the orders.
const ORDER_COLUMNS: [&str; 4] = ["order", "order_url", "order_id", "orderid"];

/// How the CA's list is written.
#[derive(Clone, Debug, Default)]
pub struct ListForm {
    /// Serial numbers are decimal instead of hex.
    pub decimal: bool,
    /// The column with the serial numbers; none for the usual names.
    pub serial_column: Option<String>,
    /// The column with the orders; none for the usual names.
    pub order_column: Option<String>,
}

/// Why the CA's list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is not CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// The head does not name the column.
    #[error("its first line names no column {wanted}: there are {there}; name the column with --{flag}")]
    NoColumn {
        /// What is wanted.
        wanted: String,
        /// The columns.
        there: String,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A value is no serial number.
    #[error("line {line}: {value} is no serial number in {base}")]
    NotASerial {
        /// The line, from 1.
        line: u64,
        /// The value.
        value: String,
        /// What it should be.
        base: &'static str,
    },
    /// There is nothing to compare with.
    #[error("it has no serial numbers")]
    Empty,
}

/// A serial number without leading zeros.
type Serial = Box<[u8]>;

/// The CA's own list.
#[derive(Debug, Default)]
pub struct CaList {
    serials: HashMap<Serial, Listed>,
    /// Serial numbers that are there more than once.
    repeated: u64,
}

#[derive(Debug, Default)]
struct Listed {
    /// The order, if the list names it.
    order: Box<str>,
    /// A log has it.
    seen: bool,
    /// A log revokes it.
    revoked: bool,
}

impl CaList {
    /// Reads CSV whose first line names a column of serial numbers, or one serial number a line. Empty lines and those
    /// that begin with `#` are skipped.
    ///
    /// # Errors
    /// When the list cannot be read, is empty, or has anything else.
    pub fn read(mut source: impl BufRead, form: &ListForm) -> Result<Self, ListError> {
        let mut before = 0;
        let mut first = String::new();
        while first.trim().is_empty() || first.starts_with('#') {
            first.clear();
            if source.read_line(&mut first)? == 0 {
                return Err(ListError::Empty);
            }
            before += 1;
        }
        let first = first.trim_start_matches('\u{feff}').to_owned();
        let mut list = Self::default();
        if form.serial_column.is_none() && parse(&first, form.decimal).is_some() {
            let lines = Cursor::new(first).chain(source);
            for (line, number) in io::BufReader::new(lines).lines().zip(before..) {
                let line = line?;
                if !line.trim().is_empty() && !line.starts_with('#') {
                    list.add(&line, "", number, form)?;
                }
            }
        } else {
            let delimiter = *[b',', b';', b'\t']
                .iter()
                .max_by_key(|delimiter| first.bytes().filter(|byte| byte == *delimiter).count())
                .unwrap_or(&b',');
            list.read_csv(Cursor::new(first).chain(source), delimiter, before, form)?;
        }
        if list.serials.is_empty() { Err(ListError::Empty) } else { Ok(list) }
    }

    fn read_csv(
        &mut self,
        source: impl io::Read,
        delimiter: u8,
        before: u64,
        form: &ListForm,
    ) -> Result<(), ListError> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(source);
        let head = reader.headers()?.clone();
        let column = |named: &Option<String>, usual: &[&str]| {
            head.iter().position(|name| match named {
                Some(named) => name == named,
                None => usual.contains(&&*name.to_ascii_lowercase().replace([' ', '-'], "_")),
            })
        };
        let missing = |wanted: &Option<String>, flag| ListError::NoColumn {
            wanted: wanted.as_deref().map_or_else(|| "serial".to_owned(), quoted),
            there: head.iter().map(quoted).collect::<Vec<_>>().join(", "),
            flag,
        };
        let serial = column(&form.serial_column, &SERIAL_COLUMNS)
            .ok_or_else(|| missing(&form.serial_column, "serial-column"))?;
        let order = column(&form.order_column, &ORDER_COLUMNS);
        if order.is_none() && form.order_column.is_some() {
            return Err(missing(&form.order_column, "order-column"));
        }
        let mut row = csv::StringRecord::new();
        while reader.read_record(&mut row)? {
            let line = row.position().map_or(0, csv::Position::line) + before - 1;
            let order = order.and_then(|order| row.get(order)).unwrap_or_default();
            self.add(row.get(serial).unwrap_or_default(), order, line, form)?;
        }
        Ok(())
    }

    fn add(&mut self, text: &str, order: &str, line: u64, form: &ListForm) -> Result<(), ListError> {
        let serial = parse(text, form.decimal).ok_or_else(|| ListError::NotASerial {
            line,
            value: quoted(text.trim()),
            base: if form.decimal { "decimal" } else { "hex (--decimal for decimal)" },
        })?;
        let order = path_of(order).into();
        if self.serials.insert(serial, Listed { order, ..Listed::default() }).is_some() {
            self.repeated += 1;
        }
        Ok(())
    }
}

/// A serial number: hex with or without colons, spaces, `0x` and leading zeros, or decimal.
fn parse(text: &str, decimal: bool) -> Option<Serial> {
    let text = text.trim().trim_matches('"');
    if decimal {
        return from_decimal(text);
    }
    let text = text.strip_prefix("serial=").unwrap_or(text);
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| !digits.is_empty())?;
    let odd = digits.len() % 2;
    let first = digits.iter().take(odd).copied();
    Some(trimmed(first.chain(digits[odd..].chunks(2).map(|pair| pair[0] << 4 | pair[1])).collect()))
}

fn from_decimal(text: &str) -> Option<Serial> {
    // Least significant byte first.
    let mut bytes = vec![0_u8];
    if text.is_empty() || text.len() > 100 {
        return None;
    }
    for digit in text.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in &mut bytes {
            let value = u32::from(*byte) * 10 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    Some(trimmed(bytes))
}

/// Without leading zeros.
fn trimmed(bytes: Vec<u8>) -> Serial {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    bytes[first..].into()
}

/// The path of a URL; another text stays.
fn path_of(order: &str) -> &str {
    let authority = order.find("://").map_or(0, |scheme| scheme + 3);
    if authority == 0 {
        return order;
    }
    order[authority..].find('/').map_or(order, |path| &order[authority + path..])
}

/// The last part of a path, which a CA's list may have alone.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Compares; logs are read into it one record after the other.
#[derive(Debug)]
pub struct Reconciler {
    list: CaList,
    only_here: Vec<OnlyHere>,
    /// Of all of them, so that each counts once.
    only_here_serials: HashSet<Serial>,
    /// By order; those without a known order by node and number.
    unknown: HashMap<String, UnknownOutcome>,
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
}

impl Reconciler {
    /// Compares with this list.
    pub fn new(list: CaList) -> Self {
        Self {
            list,
            only_here: Vec::new(),
            only_here_serials: HashSet::new(),
            unknown: HashMap::new(),
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
        if result.serial.is_empty() {
            self.without_serial += u64::from(result.issued);
            if result.issuance_is_unknown() {
                let of = last_finalize(result);
                let why = of.map_or_else(String::new, why);
                let key = match &*result.order {
                    "" => format!("{node} {}", result.seq),
                    order => order.to_owned(),
                };
                self.unknown.insert(key, UnknownOutcome { why, request: request(of) });
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
        self.unknown.remove(&result.order);
        match listed {
            Some(listed) => {
                if !std::mem::replace(&mut listed.seen, true) {
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
                }
            }
            None => {
                if self.only_here_serials.insert(serial) && self.only_here.len() < MOST_LISTED {
                    self.only_here.push(OnlyHere {
                        serial: result.serial.clone(),
                        accepted: result.issued,
                        request: request(last_finalize(result)),
                    });
                }
            }
        }
    }

    /// Certificates that the logs count without a serial number, because an earlier version wrote them.
    pub const fn without_serial(&self) -> u64 {
        self.without_serial
    }

    /// What differs.
    pub fn finish(self) -> Reconciliation {
        let mut by_order: HashMap<&str, Vec<&str>> = HashMap::new();
        for unknown in self.unknown.values().filter(|unknown| !unknown.request.order.is_empty()) {
            by_order.entry(last(&unknown.request.order)).or_default().push(&unknown.request.order);
        }
        let mut explained = HashSet::new();
        let mut there = Vec::new();
        for (serial, listed) in self.list.serials.iter().filter(|(_, listed)| !listed.seen) {
            let same = |order: &&&str| !listed.order.is_empty() && is_same_order(&listed.order, order);
            let order = by_order.get(last(&listed.order)).and_then(|orders| orders.iter().find(same));
            let explanation = match order {
                Some(order) => {
                    explained.insert((*order).to_owned());
                    Explanation::UnknownOutcome
                }
                None if listed.revoked => Explanation::RevokedHere,
                None => Explanation::None,
            };
            there.push((explanation, serial, &listed.order));
        }
        let count = |wanted: Explanation| there.iter().filter(|(is, ..)| *is == wanted).count() as u64;
        let (by_order, by_revocation) = (count(Explanation::UnknownOutcome), count(Explanation::RevokedHere));
        let rest = there.len() as u64 - by_order - by_revocation;
        // A list that names orders would have named the order of each of them.
        let possible =
            self.unknown.values().filter(|unknown| !explained.contains(&unknown.request.order)).count()
                as u64;
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
        let mut unknown: Vec<_> = self.unknown.into_values().collect();
        unknown.sort_by_key(|unknown| unknown.request.at_unix_ns);
        let unknown_outcomes = unknown.len() as u64;
        unknown.truncate(MOST_LISTED);
        let (only_here, only_there) = (self.only_here_serials.len() as u64, there.len() as u64);
        Reconciliation {
            is_equal: only_here == 0 && only_there == 0 && self.other_orders == 0,
            equal: self.equal,
            in_list: self.list.serials.len() as u64,
            repeated_in_list: self.list.repeated,
            only_here,
            only_there,
            explained_by_order: by_order,
            explained_by_revocation: by_revocation,
            possibly_explained: possibly,
            unexplained: rest - possibly,
            unknown_outcomes,
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
            unknown_outcome_list: unknown,
            other_order_list: self.other_order,
        }
    }
}

/// Whether both name the same order, as far as both name one. One may have only the last part of its path.
fn is_same_order(there: &str, here: &str) -> bool {
    there.is_empty() || here.is_empty() || there == here || (!there.contains('/') && last(here) == there)
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
        if self.other_orders > 0 {
            count(self.other_orders, "in both, with different orders");
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str, form: &ListForm) -> Result<Vec<(String, String)>, String> {
        let list = CaList::read(text.as_bytes(), form).map_err(|error| error.to_string())?;
        let mut found: Vec<_> = list
            .serials
            .iter()
            .map(|(serial, listed)| (serial_from_wire(serial), listed.order.to_string()))
            .collect();
        found.sort();
        Ok(found)
    }

    fn serials(text: &str) -> Vec<String> {
        let found = list(text, &ListForm::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        found.into_iter().map(|(serial, _)| serial).collect()
    }

    #[test]
    fn a_list_is_csv_or_one_serial_a_line_however_it_is_written() {
        for text in [
            "0aff\n01\n",
            "\u{feff}0AFF\r\n\r\n# of May\n01",
            "0A:FF\n00:00:01\n",
            "aff\n1\n",
            "0x0AFF\nserial=01\n",
            "serial\n0aff\n1\n",
            "# exported\nid,Serial Number,name\n7,0A:FF,\"a,b\"\n8,01,c\n",
            "id;serial\n7;0aff\n8;01\n",
            "id\tserial\n7\t0aff\n8\t01\n",
        ] {
            assert_eq!(serials(text), ["01", "0aff"], "{text:?}");
        }
        assert_eq!(serials("00\n"), ["00"]);
        let decimal = ListForm { decimal: true, ..ListForm::default() };
        assert_eq!(list("2815\n00001\n", &decimal).unwrap()[1].0, "0aff");
        let named = ListForm {
            serial_column: Some("sn".into()),
            order_column: Some("o".into()),
            ..ListForm::default()
        };
        let found = list("sn,o\n0aff,https://ca.test/my-order/x\n", &named).unwrap();
        assert_eq!(found, [("0aff".to_owned(), "/my-order/x".to_owned())]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        for (text, why) in [
            ("", "no serial numbers"),
            ("serial\n", "no serial numbers"),
            ("01\nzz\n", "line 2: \"zz\" is no serial number"),
            ("01\n\n# x\n02,03\n", "line 4: \"02,03\""),
            ("# x\nserial,b\n01,b\nxx,b\n", "line 4: \"xx\""),
            ("name,number\n01,02\n", "there are \"name\", \"number\""),
            ("serial,b\n,b\n", "line 2: \"\""),
        ] {
            let refused = list(text, &ListForm::default()).unwrap_err();
            assert!(refused.contains(why), "{text:?}: {refused}");
        }
        let named = ListForm { order_column: Some("o".into()), ..ListForm::default() };
        assert!(list("serial\n01\n", &named).unwrap_err().contains("--order-column"));
    }

    proptest! {
        #[test]
        fn no_list_makes_a_reader_panic(text in "[ -~\n\r\t\u{e9}]{0,80}", decimal: bool) {
            let _ = list(&text, &ListForm { decimal, ..ListForm::default() });
        }

        #[test]
        fn decimal_and_hex_are_the_same_number(number: u128) {
            prop_assert_eq!(parse(&format!("{number}"), true), parse(&format!("{number:x}"), false));
        }
    }

    fn chain(seq: u64, order: &str, serial: &str, status: u16) -> Record {
        let request = RequestResult {
            endpoint: "finalize".into(),
            successful: status == 200,
            status,
            done: seq,
            request_id: format!("id{seq}"),
            ..RequestResult::default()
        };
        Record::Chain {
            node: "r1".into(),
            origin_unix_ns: 1_000,
            result: ChainResult {
                seq,
                chain: Some(Chain::Certificate),
                order: order.into(),
                serial: serial.into(),
                issued: !serial.is_empty(),
                requests: vec![request],
                ..ChainResult::default()
            },
        }
    }

    fn reconciled(text: &str, records: &[Record]) -> Reconciliation {
        let mut reconciler = Reconciler::new(CaList::read(text.as_bytes(), &ListForm::default()).unwrap());
        records.iter().for_each(|record| reconciler.record(record));
        reconciler.finish()
    }

    #[test]
    fn equal_lists_are_equal_and_repeated_ones_count_once() {
        let records =
            [chain(1, "/o/1", "01", 200), chain(2, "/o/2", "0aff", 200), chain(2, "/o/2", "0aff", 200)];
        let found = reconciled("01\n0A:FF\n01\n", &records);
        assert!(found.is_equal);
        assert_eq!(
            (found.equal, found.in_list, found.repeated_in_list, found.unknown_outcomes),
            (2, 2, 1, 0)
        );
        assert_eq!(reconciled("serial,order\n01,1\n0aff,https://ca.test/o/2\n", &records).other_orders, 0);
        let other = reconciled("serial,order\n01,1\n0aff,3\n", &records);
        assert!(!other.is_equal);
        assert_eq!(other.other_order_list[0].order_there, "3");
    }

    #[test]
    fn what_only_the_list_has_is_explained_by_unknown_outcomes_as_far_as_they_go() {
        // Order 4 was tried again, and is known then.
        let records = [
            chain(1, "/o/1", "01", 200),
            chain(2, "/o/2", "", 500),
            chain(3, "/o/3", "", 403),
            chain(4, "/o/4", "", 200),
            chain(5, "/o/4", "05", 200),
        ];
        let found = reconciled("01\n05\n06\n07\n", &records);
        assert_eq!((found.equal, found.only_here, found.only_there), (2, 0, 2));
        assert_eq!((found.unknown_outcomes, found.possibly_explained, found.unexplained), (1, 1, 1));
        assert_eq!(found.unknown_outcome_list[0].request.request_id, "id2");
        assert_eq!(found.only_there_list[0].explanation, Explanation::UnknownOutcomePossible);

        let found = reconciled("serial,order\n01,/o/1\n05,/o/4\n06,/o/2\n07,/o/9\n", &records);
        assert_eq!((found.explained_by_order, found.possibly_explained, found.unexplained), (1, 0, 1));
        assert_eq!(
            found.only_there_list.iter().map(|it| it.explanation).collect::<Vec<_>>(),
            [Explanation::None, Explanation::UnknownOutcome]
        );
        let text = found.text();
        assert!(text.contains("06 order /o/2, of an unknown outcome"), "{text}");
        assert!(text.contains("request id id2"), "{text}");
    }

    #[test]
    fn what_only_the_log_has_is_named_with_its_request() {
        let found = reconciled("01\n", &[chain(1, "/o/1", "01", 200), chain(7, "/o/7", "0b", 200)]);
        assert_eq!((found.is_equal, found.equal, found.only_here), (false, 1, 1));
        let only = &found.only_here_list[0];
        assert_eq!((&*only.serial, &*only.request.order, only.request.at_unix_ns), ("0b", "/o/7", 1_007));
        assert!(found.text().contains("0b 1970-01-01T00:00:00.000Z order /o/7"), "{}", found.text());
    }

    #[test]
    fn a_revocation_makes_no_certificate_and_explains_an_earlier_one() {
        let mut revoked = chain(3, "", "02", 200);
        let Record::Chain { result, .. } = &mut revoked else { unreachable!() };
        result.chain = Some(Chain::Revoke);
        let found = reconciled("01\n02\n", &[chain(1, "/o/1", "01", 200), revoked]);
        assert_eq!((found.equal, found.only_there, found.explained_by_revocation), (1, 1, 1));
        assert_eq!(found.unexplained, 0);
    }
}
