//! JSON: Caddy's access log, and what people make of nginx's variables by `log_format … escape=json`. The keys of the
//! second are the variables' names or common words for them.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Request, request_line};
use crate::time;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Option<Value<'a>>,
    #[serde(borrow)]
    msec: Option<Value<'a>>,
    #[serde(borrow)]
    time_iso8601: Option<Value<'a>>,
    #[serde(borrow)]
    time_local: Option<Value<'a>>,
    #[serde(borrow)]
    time: Option<Value<'a>>,
    #[serde(borrow)]
    timestamp: Option<Value<'a>>,
    #[serde(borrow, rename = "@timestamp")]
    at_timestamp: Option<Value<'a>>,
    #[serde(borrow)]
    request: Option<Asked<'a>>,
    #[serde(borrow)]
    request_method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Value<'a>>,
    #[serde(borrow)]
    http_user_agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_time: Option<Value<'a>>,
    #[serde(borrow)]
    duration: Option<Value<'a>>,
}

/// A number may be written as text, because nginx writes all variables so.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

/// nginx's request line, or Caddy's parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked<'a> {
    #[serde(borrow)]
    Line(Cow<'a, str>),
    Parts {
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow)]
        uri: Cow<'a, str>,
        #[serde(borrow, default)]
        headers: Headers<'a>,
    },
}

#[derive(Default, Deserialize)]
struct Headers<'a> {
    #[serde(borrow, rename = "User-Agent", default)]
    agent: Vec<Cow<'a, str>>,
}

impl Value<'_> {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }

    fn time(&self) -> Option<u64> {
        match self {
            Self::Number(number) => time::unix(*number),
            Self::Text(text) => time::rfc3339(text)
                .or_else(|| time::common(text))
                .or_else(|| text.parse().ok().and_then(time::unix)),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Option<Request<'_>>, &'static str> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|_| "not JSON")?;
    let agent = line.http_user_agent.or(line.user_agent).or(line.agent);
    let method = line.request_method.or(line.method);
    let path = line.request_uri.or(line.uri).or(line.path);
    let (method, path, agent) = match line.request {
        Some(Asked::Parts { method, uri, headers }) => {
            (method, uri, headers.agent.into_iter().next().or(agent))
        }
        Some(Asked::Line(line)) if method.is_none() || path.is_none() => {
            let (method, path) = request_line(&line).ok_or("no request line")?;
            (method.to_owned().into(), path.to_owned().into(), agent)
        }
        _ => match (method, path) {
            (Some(method), Some(path)) => (method, path, agent),
            // A message of the server.
            _ => return Ok(None),
        },
    };
    // The one with the finest resolution first.
    let times = [
        line.ts,
        line.msec,
        line.time_iso8601,
        line.time_local,
        line.time,
        line.timestamp,
        line.at_timestamp,
    ];
    let end = times.iter().flatten().find_map(Value::time).ok_or("no time")?;
    let seconds = line.request_time.or(line.duration).and_then(|duration| duration.number());
    let took = seconds.filter(|seconds| (0.0..86_400.0).contains(seconds)).unwrap_or(0.0);
    let status = line.status.and_then(|status| status.number()).unwrap_or(0.0);
    Ok(Some(Request {
        begin: end.saturating_sub((took * 1e9) as u64),
        method,
        path,
        status: status as u16,
        agent: agent.unwrap_or_default(),
        bad_nonce: false,
        identifiers: None,
    }))
}
