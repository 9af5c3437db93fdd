//! `Record`: one line of a JSON Lines log.

use serde::{Deserialize, Serialize};

use crate::{ChainResult, LoadSample, RunHeader, ValidationHit};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Header(RunHeader),
    /// A chain's result, with the node that ran it.
    Chain {
        /// The node's id on the board.
        node: String,
        /// Wall clock of the node's clock origin, nanoseconds since the Unix epoch: `due`, `sent` and `done` count from it.
        origin_unix_ns: u64,
        /// The result; its keys stand at the top of the line's object, as the design's readers expect.
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
    Mark {
        /// Wall clock, nanoseconds since the Unix epoch.
        at_unix_ns: u64,
        /// `page`, `cli`, `schedule`, `api`, `threshold`.
        by: String,
        /// The scenario that it is about; empty for what concerns the whole run.
        #[serde(default)]
        scenario: String,
        /// What changed: `workers`, `rate`, `weights`, `limits`, `state`.
        what: String,
        /// Value before.
        from: String,
        /// Value after.
        to: String,
    },
    /// What the state store holds and how many workers a requester runs, as it counts them.
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
    /// What a requester was asked to do and did, and whether it kept up, as it says once a second.
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
    /// Results that a node had to drop because its queue and its spool were full.
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
}

/// How many objects the state store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Workers that the node itself runs; the other counts are of the store, which several nodes may share.
    pub workers: u64,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the log is not a record: {source}")]
pub struct RecordError {
    /// Line number, from 1.
    pub line: u64,
    /// What the JSON reader found.
    pub source: serde_json::Error,
}

impl Record {
    /// Who made it and its number among all that this node made; none for what analytics itself writes.
    ///
    /// Delivery is countable by this pair: a node numbers whatever it sends from 1 without gaps.
    pub fn origin(&self) -> Option<(&str, u64)> {
        match self {
            Self::Header(_) | Self::Mark { .. } => None,
            Self::Chain { node, result, .. } => Some((node, result.seq)),
            Self::Hit { node, hit } => Some((node, hit.seq)),
            Self::State { node, seq, .. } | Self::Load { node, seq, .. } | Self::Lost { node, seq, .. } => {
                Some((node, *seq))
            }
        }
    }

    /// Reads one line.
    ///
    /// A line without a `record` key but with `chainname` is a design-era chain result and is read as one.
    ///
    /// # Errors
    /// When the line is neither; `line` is named in the message.
    pub fn parse(text: &str, line: u64) -> Result<Self, RecordError> {
        serde_json::from_str(text).or_else(|source| {
            seed_result(text)
                .map(|result| Self::Chain { node: String::new(), origin_unix_ns: 0, result })
                .ok_or(RecordError { line, source })
        })
    }
}

/// A chain result as the 2015 design wrote it: no `record` key, false and zero left out. A chain that has no
/// name today is kept without one.
fn seed_result(text: &str) -> Option<ChainResult> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let name = object.remove("chainname")?;
    if let Some(name) = name.as_str().and_then(seed_name) {
        object.insert("chainname".into(), name.into());
    }
    serde_json::from_value(object.into()).ok()
}

/// The five chains by today's and by the design's names.
fn seed_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "registration" | "NewRegistrationChain" | "NewRegistration" => "registration",
        "authorization" | "NewAuthorizationChain" | "NewAuthorization" => "authorization",
        "certificate" | "NewCertificateChain" | "NewCertificate" => "certificate",
        "refresh" | "RefreshCertificateChain" | "RefreshCertificate" => "refresh",
        "revoke" | "RevokeCertificateChain" | "RevokeCertificate" => "revoke",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, ScenarioSample};

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
    fn names_the_line_that_is_no_record() {
        let error = Record::parse("{\"a\":1}", 42).unwrap_err();
        assert!(error.to_string().starts_with("line 42 of the log is not a record"), "{error}");
    }
}
