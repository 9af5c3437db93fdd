//! Lines of Boulder's WFE: a prefix of syslog or of standard output, a checksum, and the message
//! `METHOD ENDPOINT ACCOUNT STATUS MILLISECONDS ADDRESS JSON={…}`.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Request, is_method};
use crate::time;

/// What stands before the JSON.
const MARK: &str = " JSON={";

/// The fields that a model needs. Of identifiers only their number is kept.
#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, rename = "ua", default)]
    agent: Cow<'a, str>,
    #[serde(borrow, rename = "Error", default)]
    error: Cow<'a, str>,
    #[serde(rename = "Identifiers", default)]
    identifiers: Vec<IgnoredAny>,
    /// The name of older versions.
    #[serde(rename = "DNSNames", default)]
    names: Vec<IgnoredAny>,
}

/// None if the line has no JSON, and so another form.
pub(super) fn parse(text: &str) -> Option<Result<Option<Request<'_>>, &'static str>> {
    let at = text.find(MARK)?;
    let (head, json) = (&text[..at], &text[at + MARK.len() - 1..]);
    let mut fields = head.rsplitn(7, ' ');
    let _address = fields.next()?;
    let milliseconds = fields.next().and_then(|field| field.parse::<u64>().ok());
    let status = fields.next().and_then(|field| field.parse::<u16>().ok());
    let _account = fields.next();
    let endpoint = fields.next().filter(|endpoint| endpoint.is_empty() || endpoint.starts_with('/'));
    let method = fields.next().filter(|method| is_method(method));
    let prefix = fields.next();
    let (Some(milliseconds), Some(status), Some(path), Some(method), Some(prefix)) =
        (milliseconds, status, endpoint, method, prefix)
    else {
        return is_message(text).then_some(Ok(None));
    };
    Some(read(prefix, json).map(|(at, details)| {
        let identifiers = details.identifiers.len().max(details.names.len());
        Some(Request {
            begin: at.saturating_sub(milliseconds.saturating_mul(time::SECOND / 1_000)),
            method: method.into(),
            path: path.into(),
            status,
            agent: details.agent,
            bad_nonce: details.error.contains(":: badNonce ::"),
            identifiers: u32::try_from(identifiers).ok().filter(|count| *count > 0),
        })
    }))
}

fn read<'a>(prefix: &str, json: &'a str) -> Result<(u64, Details<'a>), &'static str> {
    let at = beginning(prefix).ok_or("no time")?;
    Ok((at, serde_json::from_str(json).map_err(|_| "not JSON")?))
}

/// Whether the line begins as those of Boulder do.
pub(super) fn is_message(text: &str) -> bool {
    beginning(text).is_some()
}

/// The time at the start of a line.
fn beginning(text: &str) -> Option<u64> {
    time::rfc3339(text).or_else(|| time::syslog(text))
}
