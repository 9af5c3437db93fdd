//! `Record`: one line of a JSON Lines log.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

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
    /// A record of a kind that this version does not know, or of a known kind with a value that it does not
    /// know, such as a later challenge type.
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
/// a closed set, such as a challenge type or a failure class, is not. It is not interpreted, and its bytes are
/// kept for programs that know it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct UnknownRecord {
    /// The line.
    json: Box<RawValue>,
    #[serde(skip)]
    keys: KnownKeys,
}

impl From<UnknownRecord> for Record {
    fn from(unknown: UnknownRecord) -> Self {
        Self::Unknown(unknown)
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
        Ok(Self { json, keys })
    }

    /// A hit whose challenge type is this number of a later version.
    pub(crate) fn of_later_type(hit: &Record, number: u32) -> Self {
        let written = |hit: &Record| {
            serde_json::to_value(hit).and_then(|mut line| {
                line["type"] = number.to_string().into();
                let json = serde_json::value::to_raw_value(&line)?;
                Ok(Self { keys: serde_json::from_value(line)?, json })
            })
        };
        written(hit).expect("a hit has a JSON form")
    }

    /// None if the text is not an object with a kind.
    fn parse(text: &str) -> Option<Self> {
        let keys: KnownKeys = serde_json::from_str(text).ok()?;
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

    /// A record that was delivered as the text of a JSON object, with all keys but `record`, `node` and `seq`.
    ///
    /// # Errors
    /// When the text is not one object on one line, has keys that this function adds, or is not of this kind.
    pub fn from_json(kind: &str, node: &str, seq: u64, object: &str) -> Result<Self, NoSuchRecord> {
        if !SENT_AS_JSON.contains(&kind) {
            return UnknownRecord::new(kind, node, seq, object).map(Self::Unknown);
        }
        let line = UnknownRecord::of_object(kind, node, seq, object)?;
        Self::parse(line.json(), 1).map_err(|error| NoSuchRecord::NotOfKind(kind.to_owned(), error.source))
    }

    /// Reads one line.
    ///
    /// A result of a chain that this version does not know has no chain; see [`ChainResult::chain`]. A line of
    /// an unknown kind, or with another unknown value, is kept as it is; see [`UnknownRecord`]. A line without a
    /// `record` key but with `chainname` is a chain result of the 2015 design and is read as one.
    ///
    /// # Errors
    /// When the line is none of these. The message has the number `line`.
    pub fn parse(text: &str, line: u64) -> Result<Self, RecordError> {
        if let Some(record) = crate::line::chain(text) {
            return Ok(record);
        }
        serde_json::from_str(text).or_else(|source| other_version(text).ok_or(RecordError { line, source }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GeneratorSample, Limit, RequestResult, ScenarioSample};

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
        let line = r#" {"record":"clock", "node":"r1","seq":7,"level":1e999, "n":0.10000000000000000001,"big":18446744073709551616 }"#;
        let record = Record::parse(line, 1).unwrap();
        let Record::Unknown(unknown) = &record else { panic!("{record:?}") };
        assert_eq!(unknown.kind(), "clock");
        assert_eq!(record.origin(), Some(("r1", 7)));
        assert_eq!(serde_json::to_string(&record).unwrap(), line.trim());
        let nameless = Record::parse(r#"{"record":"clock","node":5}"#, 1);
        assert!(nameless.is_err(), "the node is a string in every kind: {nameless:?}");
        assert_eq!(Record::parse(r#"{"record":"clock"}"#, 1).unwrap().origin(), None);
    }

    /// Its requests are counted, and its node has it.
    #[test]
    fn a_result_of_a_later_chain_keeps_all_but_the_name() {
        let result = ChainResult {
            seq: 9,
            done: 5,
            requests: vec![RequestResult { uri: "/order".into(), ..RequestResult::default() }],
            ..ChainResult::default()
        };
        let record = Record::Chain { node: "r1".into(), origin_unix_ns: 7, result };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(line.matches(r#""chainname":null"#).count(), 1);
        let later = line.replace(r#""chainname":null"#, r#""chainname":"pre-authorization""#);
        assert_eq!(Record::parse(&later, 1).unwrap(), record);
        // With another later value it is not understood, but it is still the node's.
        let more = later.replace(r#""purpose":"step""#, r#""purpose":"probe""#);
        let unknown = Record::parse(&more, 1).unwrap();
        assert!(matches!(unknown, Record::Unknown(_)), "{unknown:?}");
        assert_eq!((unknown.kind(), unknown.origin()), ("chain", Some(("r1", 9))));
        for wrong in ["7", "[]", "{}"] {
            let wrong = line.replace(r#""chainname":null"#, &format!(r#""chainname":{wrong}"#));
            assert!(Record::parse(&wrong, 1).is_err(), "{wrong}");
        }
    }

    fn records_with_every_value() -> [Record; 7] {
        let requests =
            vec![RequestResult { class: Some(FailureClass::BadNonce), ..RequestResult::default() }];
        let authorizations = vec![crate::AuthorizationResult {
            challenge: Some(ChallengeType::Dns01),
            ..crate::AuthorizationResult::default()
        }];
        let result = ChainResult {
            seq: 3,
            chain: Some(Chain::Refresh),
            class: Some(FailureClass::Tls),
            requests,
            authorizations,
            ..ChainResult::default()
        };
        let limits = vec![Limit { first_unix_ns: 1, ..Limit::default() }];
        let load = LoadSample {
            scenarios: vec![ScenarioSample { reach: Some(Reach::Capped), ..ScenarioSample::default() }],
            generator: GeneratorSample { limits, cpu_share: Some(0.1), ..GeneratorSample::default() },
            ..LoadSample::default()
        };
        let hit = ValidationHit {
            seq: 3,
            at_unix_ns: 1,
            challenge: ChallengeType::TlsAlpn01,
            name: "a.test".into(),
            source: "127.0.0.1:1".into(),
            verdict: Verdict::Answered,
            answer: "a".into(),
            took: 1,
        };
        let lost = Record::Lost { node: "n".into(), seq: 3, at_unix_ns: 7, count: 1, why: "full".into() };
        let state = Record::State { node: "n".into(), seq: 3, at_unix_ns: 7, counts: StateCounts::default() };
        [
            Record::Chain { node: "n".into(), origin_unix_ns: 7, result },
            Record::Hit { node: "n".into(), hit },
            Record::Load { node: "n".into(), seq: 3, at_unix_ns: 7, load },
            lost,
            state,
            Record::Event(Event { node: "n".into(), seq: 3, at_unix_ns: 7, ..Event::default() }),
            Record::Footer(Footer::default()),
        ]
    }

    /// Calls it with the pointer to each text of the value.
    fn texts(value: &Value, at: &str, each: &mut impl FnMut(&str)) {
        match value {
            Value::String(_) => each(at),
            Value::Array(values) => {
                values
                    .iter()
                    .zip(0..)
                    .for_each(|(value, place)| texts(value, &format!("{at}/{place}"), each));
            }
            Value::Object(entries) => {
                entries.iter().for_each(|(key, value)| texts(value, &format!("{at}/{key}"), each));
            }
            _ => {}
        }
    }

    /// If a key is missing in `known_value`, a line with a later value of it is taken for a damaged one.
    #[test]
    fn a_later_value_anywhere_in_a_record_damages_nothing() {
        let mut unknown = Vec::new();
        for record in records_with_every_value() {
            let line = serde_json::to_value(&record).unwrap();
            texts(&line, "", &mut |at| {
                let mut later = line.clone();
                *later.pointer_mut(at).unwrap() = "brand-new".into();
                // The bytes are kept, also where they could be written differently.
                let text = later.to_string().replace(":\"brand-new\"", ": \"brand-new\"");
                let read = Record::parse(&text, 1).unwrap_or_else(|error| panic!("{at}: {error}"));
                assert_eq!(read.origin().map(|(_, seq)| seq), record.origin().map(|(_, seq)| seq), "{at}");
                if matches!(read, Record::Unknown(_)) && at != "/record" {
                    assert_eq!(read.kind(), record.kind());
                    assert_eq!(serde_json::to_string(&read).unwrap(), text);
                    unknown.push(at.to_owned());
                    later[if at == "/outcome" { "requests" } else { "seq" }] = "x".into();
                    let broken = later.to_string();
                    assert!(Record::parse(&broken, 1).is_err(), "{broken}");
                }
            });
        }
        unknown.sort_unstable();
        let expected = [
            "/authorizations/0/challenge",
            "/class",
            "/individualresults/0/class",
            "/individualresults/0/purpose",
            "/level",
            "/load/generator/limits/0/cause",
            "/load/generator/limits/0/what",
            "/load/scenarios/0/reach",
            "/outcome",
            "/type",
            "/verdict",
        ];
        assert_eq!(unknown, expected);
    }

    /// It is damaged, not of a later kind.
    #[test]
    fn a_damaged_record_of_a_known_kind_is_no_unknown_one() {
        for line in [
            r#"{"record":"hit","node":"n"}"#,
            r#"{"record":"hit","node":"n","type":"dns-account-01"}"#,
            r#"{"record":"chain"}"#,
            r#"{"record":"chain","chainname":"later"}"#,
            r#"{"record":"chain","node":"n","origin_unix_ns":1,"chainname":"later","seq":"x"}"#,
            r#"{"record":"load","node":"n","seq":1,"at_unix_ns":1,"load":{"scenarios":[{"reach":7}]}}"#,
            r#"{"record":null,"chainname":"NewRegistrationChain"}"#,
            r#"{"record":7}"#,
            "[]",
        ] {
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
        let record = UnknownRecord::new("clock", "r\"1", 3, r#" {"level": 1e999,"n":[1.50]} "#).unwrap();
        assert_eq!(record.json(), r#"{"record":"clock","node":"r\"1","seq":3,"level": 1e999,"n":[1.50]}"#);
        let line = serde_json::to_string(&Record::Unknown(record.clone())).unwrap();
        assert_eq!(Record::parse(&line, 1).unwrap(), Record::Unknown(record));
        assert_eq!(
            UnknownRecord::new("clock", "r1", 3, "{ }").unwrap().json(),
            r#"{"record":"clock","node":"r1","seq":3 }"#
        );
        for (kind, object) in [
            ("hit", "{}"),
            ("", "{}"),
            ("clock", "[]"),
            ("clock", "{\"a\":\n1}"),
            ("clock", "{} {}"),
            ("clock", r#"{"seq":1}"#),
            ("clock", r#"{"\u006eode":1}"#),
        ] {
            assert!(UnknownRecord::new(kind, "r1", 3, object).is_err(), "{kind} {object}");
        }
    }

    #[test]
    fn an_event_arrives_as_json_and_is_read_without_what_is_optional() {
        let event = Event {
            node: "r1".into(),
            seq: 3,
            at_unix_ns: 7,
            text: "slow".into(),
            count: 1,
            ..Event::default()
        };
        let object = r#"{"at_unix_ns":7,"level":"warn","text":"slow"}"#;
        let record = Record::from_json("event", "r1", 3, object).unwrap();
        assert_eq!(record, Record::Event(event));
        assert_eq!(Record::parse(&serde_json::to_string(&record).unwrap(), 1).unwrap(), record);
        assert_eq!(record.origin(), Some(("r1", 3)));
        let later = Record::from_json("event", "r1", 3, &object.replace("warn", "note")).unwrap();
        assert!(matches!(&later, Record::Unknown(_)), "{later:?}");
        for wrong in [r#"{"at_unix_ns":7}"#, r#"{"seq":1,"at_unix_ns":7,"level":"warn","text":""}"#, "[]"] {
            assert!(Record::from_json("event", "r1", 3, wrong).is_err(), "{wrong}");
        }
        assert!(Record::from_json("lost", "r1", 3, "{}").is_err());
        assert!(matches!(Record::from_json("clock", "r1", 3, "{}"), Ok(Record::Unknown(_))));
    }

    #[test]
    fn names_the_line_that_is_no_record() {
        let error = Record::parse("{\"a\":1}", 42).unwrap_err();
        assert!(error.to_string().starts_with("line 42 of the log is not a record"), "{error}");
    }
}
