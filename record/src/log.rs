//! `Record`: one line of a JSON Lines log.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{Chain, ChainResult, LoadSample, Mark, RunHeader, ValidationHit};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "record", rename_all = "kebab-case", remote = "Self")]
pub enum Record {
    /// The first line.
    Header(RunHeader),
    /// A chain's result, with the node that ran it.
    Chain {
        /// The node's id on the board.
        node: String,
        /// Wall clock of the node's clock origin, nanoseconds since the Unix epoch: `due`, `sent` and `done`
        /// are relative to it.
        origin_unix_ns: u64,
        /// The result. Its keys are at the top level of the line's object, where readers of the 2015 design
        /// expect them.
        #[serde(flatten)]
        result: ChainResult,
    },
    /// A validation that arrived at a challenge server.
    Hit {
        /// The challenge server's id.
        node: String,
        /// The hit.
        #[serde(flatten)]
        hit: ValidationHit,
    },
    /// A change of the load, and who made it.
    Mark(Mark),
    /// What the state store holds and how many workers a requester runs, as the requester counts them.
    State {
        /// The node's id on the board.
        node: String,
        /// Number among the records of its node, as in [`ChainResult::seq`]; 0 in logs that did not count them.
        #[serde(default)]
        seq: u64,
        /// Wall clock, nanoseconds since the Unix epoch.
        at_unix_ns: u64,
        /// The counts.
        counts: StateCounts,
    },
    /// A requester's load sample, once a second: its target, its actual load, and whether it kept up.
    Load {
        /// The node's id on the board.
        node: String,
        /// Number among the records of its node, as in [`ChainResult::seq`].
        seq: u64,
        /// Wall clock, nanoseconds since the Unix epoch.
        at_unix_ns: u64,
        /// The sample.
        load: LoadSample,
    },
    /// Results that a node lost because its queue and spool were full, or because analytics refused them
    /// permanently.
    Lost {
        /// The node's id on the board.
        node: String,
        /// Number among the records of its node, as in [`ChainResult::seq`].
        seq: u64,
        /// Wall clock, nanoseconds since the Unix epoch.
        at_unix_ns: u64,
        /// How many.
        count: u64,
        /// Why, for people.
        why: String,
    },
    /// The last line: how the run ended. A run that continues after a restart has more records and another
    /// footer after it.
    Footer(Footer),
    /// A record of a kind that this version does not know.
    #[serde(skip)]
    Unknown(UnknownRecord),
}

/// How a run ended, and how many records its log has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Footer {
    /// Wall clock of the process that wrote it, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Number of records of each kind before it, by the value of the key `record`.
    pub records: BTreeMap<String, u64>,
    /// Requests of all chain results before it.
    pub requests: u64,
    /// How the run ended.
    pub outcome: RunOutcome,
}

/// How a run ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RunOutcome {
    /// All thresholds hold, and something succeeded.
    Passed,
    /// A threshold does not hold, or everything that was tried failed.
    Failed,
    /// Somebody ended the run early. A partial run has no verdict.
    Interrupted,
    /// Nothing was run.
    #[default]
    Empty,
}

/// A record of a kind that this version does not know. It is not interpreted, and its bytes are kept for
/// programs that know it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct UnknownRecord {
    /// The line.
    json: Box<RawValue>,
    #[serde(skip)]
    keys: KnownKeys,
}

/// By hand, because an unknown record is its own JSON.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(unknown) => unknown.serialize(serializer),
            known => Self::serialize(known, serializer),
        }
    }
}

/// For the known kinds only; [`Record::parse`] keeps unknown ones.
impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The keys that have the same meaning in every kind of record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct KnownKeys {
    record: String,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    seq: Option<u64>,
}

impl PartialEq for UnknownRecord {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

/// Why a text cannot be a record of an unknown kind.
#[derive(Debug, thiserror::Error)]
pub enum NoSuchRecord {
    /// It is not a JSON object.
    #[error("it is not one JSON object: {0}")]
    NotAnObject(serde_json::Error),
    /// Its text has line breaks. A record is one line.
    #[error("its JSON has more than one line")]
    Lines,
    /// It has a key that the log adds.
    #[error("its JSON has the key {0}, which the log adds")]
    Key(&'static str),
    /// This version knows the kind.
    #[error("records of kind {0:?} are not sent as JSON")]
    KnownKind(String),
}

impl UnknownRecord {
    /// A record of this node and kind, with further keys from the text of a JSON object. The text is kept as
    /// written.
    ///
    /// # Errors
    /// When the text is not one object on one line, or has keys that this function adds.
    pub fn new(kind: &str, node: &str, seq: u64, object: &str) -> Result<Self, NoSuchRecord> {
        if KINDS.contains(&kind) || kind.is_empty() {
            return Err(NoSuchRecord::KnownKind(kind.to_owned()));
        }
        if object.contains(['\n', '\r']) {
            return Err(NoSuchRecord::Lines);
        }
        let keys: BTreeMap<String, &RawValue> =
            serde_json::from_str(object).map_err(NoSuchRecord::NotAnObject)?;
        if let Some(key) = ["record", "node", "seq"].into_iter().find(|key| keys.contains_key(*key)) {
            return Err(NoSuchRecord::Key(key));
        }
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let mut json = format!("{{\"record\":{},\"node\":{},\"seq\":{seq}", text(kind), text(node));
        if !keys.is_empty() {
            json.push(',');
        }
        json.push_str(object.trim().strip_prefix('{').unwrap_or_default());
        let json = RawValue::from_string(json).map_err(NoSuchRecord::NotAnObject)?;
        let keys = KnownKeys { record: kind.to_owned(), node: Some(node.to_owned()), seq: Some(seq) };
        Ok(Self { json, keys })
    }

    /// None if the text is not an object, or is of a kind that this version knows.
    fn parse(text: &str) -> Option<Self> {
        let keys: KnownKeys = serde_json::from_str(text).ok()?;
        if KINDS.contains(&keys.record.as_str()) {
            return None;
        }
        Some(Self { json: serde_json::from_str(text).ok()?, keys })
    }

    /// The name of its kind.
    pub fn kind(&self) -> &str {
        &self.keys.record
    }

    /// Its line.
    pub fn json(&self) -> &str {
        self.json.get()
    }
}

/// The kinds of records that this version knows: values of the key `record`.
pub const KINDS: [&str; 8] = ["header", "chain", "hit", "mark", "state", "load", "lost", "footer"];

/// How many objects the state store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StateCounts {
    /// Accounts that can be used.
    pub registrations: u64,
    /// Accounts that are usable.
    pub authorizations: u64,
    /// Certificates that are neither revoked nor replaced.
    pub certificates: u64,
    /// Certificates revoked.
    pub revoked: u64,
    /// Workers that this node runs. The other counts are of the store, which several nodes may share.
    pub workers: u64,
    /// Changes that the node could not write before its end: the CA has made them and the store lacks them.
    /// In a record, this node's number; in a snapshot, the sum over all nodes.
    pub unwritten: u64,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the log is not a record: {source}")]
pub struct RecordError {
    /// Line number, from 1.
    pub line: u64,
    /// Why a line is not a record.
    pub source: serde_json::Error,
}

impl Record {
    /// The node that made it and its number among that node's records; none for records that analytics itself
    /// writes.
    ///
    /// Each node numbers the records that it sends from 1 without gaps, so that missing records are counted.
    pub fn origin(&self) -> Option<(&str, u64)> {
        match self {
            Self::Header(_) | Self::Mark(_) | Self::Footer(_) => None,
            Self::Chain { node, result, .. } => Some((node, result.seq)),
            Self::Hit { node, hit } => Some((node, hit.seq)),
            Self::State { node, seq, .. } | Self::Load { node, seq, .. } | Self::Lost { node, seq, .. } => {
                Some((node, *seq))
            }
            Self::Unknown(UnknownRecord { keys, .. }) => keys.node.as_deref().zip(keys.seq),
        }
    }

    /// The value of its key `record`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Header(_) => "header",
            Self::Chain { .. } => "chain",
            Self::Hit { .. } => "hit",
            Self::Mark(_) => "mark",
            Self::State { .. } => "state",
            Self::Load { .. } => "load",
            Self::Lost { .. } => "lost",
            Self::Footer(_) => "footer",
            Self::Unknown(unknown) => unknown.kind(),
        }
    }

    /// End of what it reports, nanoseconds since the Unix epoch; none for a header and where it is not known.
    pub fn unix_ns(&self) -> Option<u64> {
        match self {
            Self::Chain { origin_unix_ns, result, .. } => Some(origin_unix_ns.saturating_add(result.done)),
            Self::Hit { hit, .. } => Some(hit.at_unix_ns),
            Self::Mark(Mark { at_unix_ns, .. })
            | Self::State { at_unix_ns, .. }
            | Self::Load { at_unix_ns, .. }
            | Self::Lost { at_unix_ns, .. }
            | Self::Footer(Footer { at_unix_ns, .. }) => Some(*at_unix_ns),
            Self::Header(_) | Self::Unknown(_) => None,
        }
    }

    /// Reads one line.
    ///
    /// A line of an unknown kind is kept as it is; see [`Self::Unknown`]. A line without a `record` key but
    /// with `chainname` is a chain result of the 2015 design and is read as one.
    ///
    /// # Errors
    /// When the line is neither. The message has the number `line`.
    pub fn parse(text: &str, line: u64) -> Result<Self, RecordError> {
        serde_json::from_str(text).or_else(|source| {
            let unknown = || UnknownRecord::parse(text).map(Self::Unknown);
            seed_result(text)
                .map(|result| Self::Chain { node: String::new(), origin_unix_ns: 0, result })
                .or_else(unknown)
                .ok_or(RecordError { line, source })
        })
    }
}

/// A chain result as the 2015 design wrote it: no `record` key, and keys whose value is false or zero are
/// left out. A chain without a name today is read without one.
fn seed_result(text: &str) -> Option<ChainResult> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let name = object.remove("chainname")?;
    if let Some(name) = name.as_str().and_then(seed_name) {
        object.insert("chainname".into(), name.into());
    }
    serde_json::from_value(object.into()).ok()
}

/// A chain by its name today or in the 2015 design.
fn seed_name(name: &str) -> Option<&'static str> {
    let has = |chain: &Chain| chain.name() == name || chain.facts().former_names.contains(&name);
    Chain::ALL.into_iter().find(has).map(Chain::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScenarioSample;

    #[test]
    fn a_chain_line_holds_the_designs_keys_even_when_false_or_zero() {
        let record = Record::Chain {
            node: "n".into(),
            origin_unix_ns: 7,
            result: ChainResult {
                chain: Some(Chain::Certificate),
                requests: vec![crate::RequestResult::default()],
                ..ChainResult::default()
            },
        };
        let line = serde_json::to_string(&record).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["chainname"], "certificate");
        assert_eq!(value["chainsuccessful"], false);
        assert_eq!(value["chaintook"], 0);
        let request = &value["individualresults"][0];
        for key in ["uri", "took", "successful", "error"] {
            assert!(request.get(key).is_some(), "{key} is missing in {line}");
        }
        assert_eq!(Record::parse(&line, 1).unwrap(), record);
    }

    #[test]
    fn reads_records_of_the_2015_design_that_omit_false_and_zero() {
        let line = r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#;
        let Record::Chain { result, .. } = Record::parse(line, 1).unwrap() else { panic!("not a chain") };
        assert_eq!(result.chain, Some(Chain::Registration));
        assert!(!result.successful);
        assert_eq!(result.took, 12);
        assert_eq!(result.requests[0].uri, "/acme/new-reg");
        assert_eq!(result.requests[0].took, 0);
    }

    #[test]
    fn a_load_line_keeps_every_key_and_reads_one_that_lacks_most() {
        let load =
            LoadSample { over_ns: 1, scenarios: vec![ScenarioSample::default()], ..LoadSample::default() };
        let record = Record::Load { node: "n".into(), seq: 3, at_unix_ns: 7, load };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(Record::parse(&line, 1).unwrap(), record);
        assert_eq!(record.origin(), Some(("n", 3)));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["record"], "load");
        assert_eq!(value["load"]["scenarios"][0]["rate_target"], serde_json::Value::Null);
        let older =
            r#"{"record":"load","node":"n","seq":3,"at_unix_ns":7,"load":{"over_ns":1,"scenarios":[{}]}}"#;
        assert_eq!(Record::parse(older, 1).unwrap(), record);
    }

    #[test]
    fn a_line_of_a_later_kind_is_kept_to_the_byte() {
        let line = r#" {"record":"event", "node":"r1","seq":7,"level":1e999, "n":0.10000000000000000001,"big":18446744073709551616 }"#;
        let record = Record::parse(line, 1).unwrap();
        let Record::Unknown(unknown) = &record else { panic!("{record:?}") };
        assert_eq!(unknown.kind(), "event");
        assert_eq!(record.origin(), Some(("r1", 7)));
        assert_eq!(serde_json::to_string(&record).unwrap(), line.trim());
        let nameless = Record::parse(r#"{"record":"clock","node":5}"#, 1);
        assert!(nameless.is_err(), "the node is a string in every kind: {nameless:?}");
        assert_eq!(Record::parse(r#"{"record":"clock"}"#, 1).unwrap().origin(), None);
    }

    /// It is damaged, not of a later kind.
    #[test]
    fn a_damaged_record_of_a_known_kind_is_no_unknown_one() {
        for line in [r#"{"record":"hit","node":"n"}"#, r#"{"record":"chain"}"#, r#"{"record":7}"#, "[]"] {
            assert!(Record::parse(line, 1).is_err(), "{line}");
        }
    }

    #[test]
    fn every_known_kind_is_among_the_kinds() {
        // If a kind is missing here, a damaged line of that kind is taken for a record of an unknown kind.
        let unknown = |kind: &str| serde_json::from_str::<Record>(&format!(r#"{{"record":{kind:?}}}"#));
        let error = unknown("none").unwrap_err().to_string();
        for kind in KINDS {
            assert!(error.contains(&format!("`{kind}`")), "{error}");
        }
        assert_eq!(error.matches('`').count() / 2, 1 + KINDS.len(), "{error}");
    }

    #[test]
    fn a_record_that_came_as_json_keeps_its_text() {
        let record = UnknownRecord::new("event", "r\"1", 3, r#" {"level": 1e999,"n":[1.50]} "#).unwrap();
        assert_eq!(record.json(), r#"{"record":"event","node":"r\"1","seq":3,"level": 1e999,"n":[1.50]}"#);
        let line = serde_json::to_string(&Record::Unknown(record.clone())).unwrap();
        assert_eq!(Record::parse(&line, 1).unwrap(), Record::Unknown(record));
        assert_eq!(
            UnknownRecord::new("event", "r1", 3, "{ }").unwrap().json(),
            r#"{"record":"event","node":"r1","seq":3 }"#
        );
        for (kind, object) in [
            ("hit", "{}"),
            ("", "{}"),
            ("event", "[]"),
            ("event", "{\"a\":\n1}"),
            ("event", "{} {}"),
            ("event", r#"{"seq":1}"#),
            ("event", r#"{"\u006eode":1}"#),
        ] {
            assert!(UnknownRecord::new(kind, "r1", 3, object).is_err(), "{kind} {object}");
        }
    }

    #[test]
    fn names_the_line_that_is_no_record() {
        let error = Record::parse("{\"a\":1}", 42).unwrap_err();
        assert!(error.to_string().starts_with("line 42 of the log is not a record"), "{error}");
    }
}
