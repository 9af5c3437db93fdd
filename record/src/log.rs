//! `Record`: one line of a JSON Lines log.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::line::{self, ChainLine};
use crate::{
    Chain, ChainResult, ChallengeType, Event, FailureClass, Level, LimitCause, LimitKind, LoadSample, Mark,
    Observation, Purpose, Reach, RunHeader, ValidationHit, Verdict,
};

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
    /// A warning or an error of a process of the load tester.
    Event(Event),
    /// Metrics of another program, sampled once a second beside the load.
    Observation(Observation),
    /// The last line: how the run ended. A run that continues after a restart has more records and another
    /// footer after it.
    Footer(Footer),
    /// A record of a kind that this version does not know, or of a known kind with a value or a form that it
    /// does not know, such as a later challenge type.
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

/// A record that this version does not understand: its kind is not known, or its kind is known and a value from
/// a closed set, such as a challenge type or a failure class, is not, or its kind is known and it has another form.
/// It is not interpreted, and its bytes are kept for programs that know it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct UnknownRecord {
    /// The line.
    json: Box<RawValue>,
    #[serde(skip)]
    keys: KnownKeys,
    /// Why a record of a known kind cannot be read.
    #[serde(skip)]
    other_form: Option<Box<str>>,
}

impl From<UnknownRecord> for Record {
    fn from(unknown: UnknownRecord) -> Self {
        Self::Unknown(unknown)
    }
}

impl From<ChainLine<'_>> for Record {
    fn from(ChainLine { node, origin_unix_ns, result }: ChainLine<'_>) -> Self {
        Self::Chain { node: node.to_owned(), origin_unix_ns, result }
    }
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
    /// It is not of its kind.
    #[error("it is no record of kind {0:?}: {1}")]
    NotOfKind(String, serde_json::Error),
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
        Self::of_object(kind, node, seq, object)
    }

    fn of_object(kind: &str, node: &str, seq: u64, object: &str) -> Result<Self, NoSuchRecord> {
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
        Ok(Self { json, keys, other_form: None })
    }

    /// A line that [`Record::parse`] refuses although it is an object of a known kind: a later version may have
    /// given the kind another form. None for a header, on which the reading of a log depends, and for a line that is
    /// no such object.
    pub fn of_other_form(text: &str, error: &RecordError) -> Option<Self> {
        let unknown = Self::parse(text)?;
        let is_kept = KINDS.contains(&unknown.kind()) && unknown.kind() != "header" && !text.contains('\n');
        is_kept.then(|| Self { other_form: Some(error.source.to_string().into()), ..unknown })
    }

    /// Why a record of a known kind cannot be read; none for a record that is of an unknown kind or has an unknown
    /// value.
    pub fn other_form(&self) -> Option<&str> {
        self.other_form.as_deref()
    }

    /// A hit whose challenge type is this number of a later version.
    pub(crate) fn of_later_type(hit: &Record, number: u32) -> Self {
        let written = |hit: &Record| {
            serde_json::to_value(hit).and_then(|mut line| {
                line["type"] = number.to_string().into();
                let json = serde_json::value::to_raw_value(&line)?;
                Ok(Self { keys: serde_json::from_value(line)?, json, other_form: None })
            })
        };
        written(hit).expect("a hit has a JSON form")
    }

    /// None if the text is not an object with a kind.
    fn parse(text: &str) -> Option<Self> {
        let keys: KnownKeys = serde_json::from_str(text).ok()?;
        Some(Self { json: serde_json::from_str(text).ok()?, keys, other_form: None })
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
pub const KINDS: [&str; 10] =
    ["header", "chain", "hit", "mark", "state", "load", "lost", "event", "observation", "footer"];
/// Those of them that senders deliver as JSON. Earlier versions of analytics keep them, too.
const SENT_AS_JSON: [&str; 1] = ["event"];

/// How many objects the state store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StateCounts {
    /// Accounts that can be used.
    pub registrations: u64,
    /// Orders that are ready to finalize.
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
    /// Stored objects that chains of this node use now, so that no other chain may. In a record, this node's number; in a
    /// snapshot, the sum over all nodes.
    pub claimed: u64,
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
            Self::Header(_) | Self::Mark(_) | Self::Observation(_) | Self::Footer(_) => None,
            Self::Chain { node, result, .. } => Some((node, result.seq)),
            Self::Hit { node, hit } => Some((node, hit.seq)),
            Self::State { node, seq, .. } | Self::Load { node, seq, .. } | Self::Lost { node, seq, .. } => {
                Some((node, *seq))
            }
            Self::Event(Event { node, seq, .. }) => (*seq > 0).then_some((node, *seq)),
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
            Self::Event(_) => "event",
            Self::Observation(_) => "observation",
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
            | Self::Event(Event { at_unix_ns, .. })
            | Self::Observation(Observation { at_unix_ns, .. })
            | Self::Footer(Footer { at_unix_ns, .. }) => Some(*at_unix_ns),
            Self::Header(_) | Self::Unknown(_) => None,
        }
    }

    /// A record that was delivered as the text of a JSON object, with all keys but `record`, `node` and `seq`. One of
    /// a known kind in another form is kept as it is; see [`UnknownRecord::of_other_form`].
    ///
    /// # Errors
    /// When the text is not one object on one line, has keys that this function adds, or is of a kind that is not
    /// delivered so.
    pub fn from_json(kind: &str, node: &str, seq: u64, object: &str) -> Result<Self, NoSuchRecord> {
        if !SENT_AS_JSON.contains(&kind) {
            return UnknownRecord::new(kind, node, seq, object).map(Self::Unknown);
        }
        let line = UnknownRecord::of_object(kind, node, seq, object)?;
        match Self::parse(line.json(), 1) {
            Ok(record) => Ok(record),
            // A later version may have given the kind another form.
            Err(error) => UnknownRecord::of_other_form(line.json(), &error)
                .map(Self::Unknown)
                .ok_or_else(|| NoSuchRecord::NotOfKind(kind.to_owned(), error.source)),
        }
    }

    /// Reads one line.
    ///
    /// A result of a chain that this version does not know has no chain; see [`ChainResult::chain`]. A line of
    /// an unknown kind, or with another unknown value, is kept as it is; see [`UnknownRecord`]. A line without a
    /// `record` key but with `chainname` is a chain result of the 2015 design and is read as one.
    ///
    /// # Errors
    /// When the line is none of these. The message has the line's number. A reader of logs keeps such a line of a
    /// known kind: see [`UnknownRecord::of_other_form`].
    pub fn parse(text: &str, number: u64) -> Result<Self, RecordError> {
        if let Some(chain) = line::chain(text) {
            return Ok(chain.into());
        }
        serde_json::from_str(text)
            .or_else(|source| other_version(text).ok_or(RecordError { line: number, source }))
    }
}

/// A line of a later version, or of the 2015 design; none if it is damaged.
fn other_version(text: &str) -> Option<Record> {
    let unknown = UnknownRecord::parse(text);
    if let Some(unknown) = unknown.clone().filter(|unknown| !KINDS.contains(&unknown.kind())) {
        return Some(Record::Unknown(unknown));
    }
    let mut line: Value = serde_json::from_str(text).ok()?;
    let chain = line.get("chainname").map(|name| name.as_str().and_then(seed_name));
    let Some(unknown) = unknown else {
        return line
            .get("record")
            .is_none()
            .then(|| seed_result(line, chain?))
            .flatten()
            .map(|result| Record::Chain { node: String::new(), origin_unix_ns: 0, result });
    };
    if unknown.kind() == "chain" && line["chainname"].is_string() {
        line["chainname"] = chain.flatten().into();
        if let Ok(record) = Record::deserialize(&line) {
            return Some(record);
        }
    }
    replace_unknown_values(&mut line);
    Record::deserialize(&line).is_ok().then_some(Record::Unknown(unknown))
}

/// Gives every key whose values are from a closed set a value of that set. What is no record then is damaged.
fn replace_unknown_values(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(replace_unknown_values),
        Value::Object(entries) => {
            for (key, value) in entries {
                match known_value(key) {
                    Some(known) if value.is_string() => *value = known.into(),
                    _ => replace_unknown_values(value),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value that the closed set of this key has; none for other keys.
fn known_value(key: &str) -> Option<&'static str> {
    Some(match key {
        "type" | "challenge" => ChallengeType::Http01.name(),
        "verdict" => Verdict::Unknown.name(),
        "class" => FailureClass::Internal.name(),
        "purpose" => Purpose::Step.name(),
        "reach" => Reach::Reached.name(),
        "what" => LimitKind::Cpu.name(),
        "cause" => LimitCause::Cap.name(),
        "outcome" => RunOutcome::Empty.into(),
        "level" => Level::Warn.name(),
        _ => return None,
    })
}

/// A chain result as the 2015 design wrote it: no `record` key, and keys whose value is false or zero are
/// left out. A chain without a name today is read without one.
fn seed_result(mut line: Value, chain: Option<&'static str>) -> Option<ChainResult> {
    line["chainname"] = chain.into();
    serde_json::from_value(line).ok()
}

/// A chain by its name today or in the 2015 design.
fn seed_name(name: &str) -> Option<&'static str> {
    let has = |chain: &Chain| chain.name() == name || chain.facts().former_names.contains(&name);
    Chain::ALL.into_iter().find(has).map(Chain::name)
}
