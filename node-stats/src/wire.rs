//! The messages. Field names, their order and their numbers are NodNod's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::sample::Figures;

/// Shortest and longest interval of a subscription.
const EVERY: (f64, f64) = (0.1, 3600.0);

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Request {
    /// Type 0: nodes that are down are tried again at once; there is no reply.
    Discover,
    /// One reply.
    Once(Scope),
    /// A reply at once, and one after each interval.
    Every(Scope, Duration),
    /// The end of the subscription.
    End,
}

/// The nodes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The node that answers: type 1.
    ThisNode,
    /// All nodes: type 2.
    AllNodes,
}

impl Scope {
    const fn number(self) -> u64 {
        match self {
            Self::ThisNode => 1,
            Self::AllNodes => 2,
        }
    }

    /// A request for one reply.
    pub(crate) fn once(self) -> String {
        json!({ "type": self.number(), "statType": 0 }).to_string()
    }

    /// A subscription.
    pub(crate) fn every(self, interval: Duration) -> String {
        json!({ "type": self.number(), "statType": 0, "every": interval.as_secs_f64() }).to_string()
    }
}

impl Request {
    /// Parses a message.
    ///
    /// # Errors
    /// What is wrong with it, for the reply.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, String> {
        let request: Value =
            serde_json::from_slice(message).map_err(|error| format!("the request is not JSON: {error}"))?;
        let Value::Object(request) = request else {
            return Err(r#"the request is not an object: send {"type":2,"statType":0}"#.to_owned());
        };
        match request.get("statType") {
            None => {}
            Some(kind) if kind.as_u64() == Some(0) => {}
            Some(kind) => return Err(format!("unknown statType {kind}: the only one is 0, all figures")),
        }
        let scope = match request.get("type").and_then(Value::as_u64) {
            Some(0) => return Ok(Self::Discover),
            Some(1) => Scope::ThisNode,
            Some(2) => Scope::AllNodes,
            _ => {
                let given = request.get("type").map_or_else(|| "none".to_owned(), Value::to_string);
                return Err(format!("unknown type {given}: 0 is discovery, 1 this node, 2 all nodes"));
            }
        };
        let Some(every) = request.get("every") else { return Ok(Self::Once(scope)) };
        match every.as_f64() {
            Some(0.0) => Ok(Self::End),
            Some(seconds) if (EVERY.0..=EVERY.1).contains(&seconds) => {
                Ok(Self::Every(scope, Duration::from_secs_f64(seconds)))
            }
            _ => {
                Err(format!("every {every} is not 0 or a number of seconds from {} to {}", EVERY.0, EVERY.1))
            }
        }
    }
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The node that answers.
    pub host: String,
    /// The figures of each node, by its address.
    pub nodes: BTreeMap<String, NodeStats>,
    /// Why there are no figures; empty without an error.
    pub error: String,
}

impl Reply {
    /// The reply to a request that cannot be answered.
    pub(crate) fn refusal(host: &str, error: String) -> Self {
        Self { host: host.to_owned(), nodes: BTreeMap::new(), error }
    }

    /// Compact JSON, as it is sent.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self)
            .expect("the keys are strings, and JSON has all numbers but NaN, written as null")
    }
}

/// The figures of one node. Those of a node that is down are zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStats {
    /// The address of its statistics, HOST:PORT.
    pub address: String,
    /// Use of all processors, per cent.
    #[serde(serialize_with = "shortest")]
    pub cpu_used: f64,
    /// Size of its file systems, bytes.
    pub disk_total: u64,
    /// Bytes of it that are not available.
    pub disk_used: u64,
    /// `diskUsed` of `diskTotal`, per cent.
    #[serde(serialize_with = "shortest")]
    pub disk_used_percent: f64,
    /// Size of its memory, bytes.
    pub memory_total: u64,
    /// Bytes of it that are in use.
    pub memory_used: u64,
    /// `memoryUsed` of `memoryTotal`, per cent.
    #[serde(serialize_with = "shortest")]
    pub memory_used_percent: f64,
    /// Why it has no figures; empty while it has.
    pub error: String,
}

impl NodeStats {
    /// The figures of a node that answers.
    pub(crate) fn up(address: &str, figures: &Figures) -> Self {
        Self {
            address: address.to_owned(),
            cpu_used: figures.cpu_used,
            disk_total: figures.disk.total,
            disk_used: figures.disk.used,
            disk_used_percent: figures.disk.percent(),
            memory_total: figures.memory.total,
            memory_used: figures.memory.used,
            memory_used_percent: figures.memory.percent(),
            error: String::new(),
        }
    }

    /// A node that does not answer.
    pub(crate) fn down(address: &str, error: impl Into<String>) -> Self {
        Self { address: address.to_owned(), error: error.into(), ..Self::default() }
    }
}

/// 5 and not 5.0, as NodNod writes numbers.
fn shortest<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && (0.0..1e15).contains(number) {
        serializer.serialize_u64(*number as u64)
    } else {
        serializer.serialize_f64(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Used;

    #[test]
    fn reads_requests() {
        let second = Duration::from_secs(1);
        for (message, request) in [
            (r#"{"type":0,"statType":0}"#, Request::Discover),
            (r#"{"type":1,"statType":0}"#, Request::Once(Scope::ThisNode)),
            (r#"{"statType":0,"type":2}"#, Request::Once(Scope::AllNodes)),
            (r#"{"type":2}"#, Request::Once(Scope::AllNodes)),
            (r#"{"type":2,"statType":0,"every":1}"#, Request::Every(Scope::AllNodes, second)),
            (r#"{"type":1,"statType":0,"every":0.5}"#, Request::Every(Scope::ThisNode, second / 2)),
            (r#"{"type":2,"statType":0,"every":0}"#, Request::End),
            (r#"{"type":2,"statType":0,"other":[1]}"#, Request::Once(Scope::AllNodes)),
        ] {
            assert_eq!(Request::parse(message.as_bytes()), Ok(request), "{message}");
        }
        for scope in [Scope::ThisNode, Scope::AllNodes] {
            assert_eq!(Request::parse(scope.once().as_bytes()), Ok(Request::Once(scope)));
            assert_eq!(Request::parse(scope.every(second).as_bytes()), Ok(Request::Every(scope, second)));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_request() {
        for (message, why) in [
            ("", "not JSON"),
            ("{\"type\":", "not JSON"),
            ("[1]", "not an object"),
            ("{}", "unknown type none"),
            (r#"{"type":3,"statType":0}"#, "unknown type 3"),
            (r#"{"type":-1,"statType":0}"#, "unknown type -1"),
            (r#"{"type":"2","statType":0}"#, "unknown type \"2\""),
            (r#"{"type":2,"statType":1}"#, "unknown statType 1"),
            (r#"{"type":2,"statType":0,"every":-1}"#, "every -1"),
            (r#"{"type":2,"statType":0,"every":0.01}"#, "every 0.01"),
            (r#"{"type":2,"statType":0,"every":1e300}"#, "every 1e"),
            (r#"{"type":2,"statType":0,"every":null}"#, "every null"),
        ] {
            let error = Request::parse(message.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{message}: {error}");
        }
        assert!(Request::parse(b"\xff\xfe").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn a_reply_is_compact_with_fields_in_order_and_sorted_keys() {
        let memory = Used { used: 1, total: 4 };
        let figures = Figures { cpu_used: 5.0, disk: Used { used: 1, total: 3 }, memory };
        let nodes = [NodeStats::up("b:7070", &figures), NodeStats::down("a:7070", "connection refused")];
        let nodes = nodes.into_iter().map(|node| (node.address.clone(), node)).collect();
        let reply = Reply { host: "b:7070".to_owned(), nodes, error: String::new() };
        assert_eq!(
            reply.json(),
            concat!(
                r#"{"host":"b:7070","nodes":{"a:7070":{"address":"a:7070","cpuUsed":0,"diskTotal":0,"diskUsed":0,"#,
                r#""diskUsedPercent":0,"memoryTotal":0,"memoryUsed":0,"memoryUsedPercent":0,"#,
                r#""error":"connection refused"},"b:7070":{"address":"b:7070","cpuUsed":5,"diskTotal":3,"diskUsed":1,"#,
                r#""diskUsedPercent":33.333333333333336,"memoryTotal":4,"memoryUsed":1,"memoryUsedPercent":25,"#,
                r#""error":""}},"error":""}"#
            )
        );
        assert_eq!(serde_json::from_str::<Reply>(&reply.json()).unwrap(), reply);
    }
}
