//! The format `combined` of nginx and Apache, with or without the fields that their `common` lacks, and with more
//! fields before and after.

use super::{Request, request_line};
use crate::time;

/// None if the line has another form.
pub(super) fn parse(text: &str) -> Option<Result<Request<'_>, &'static str>> {
    let (_, rest) = text.split_once(" [")?;
    let (at, rest) = rest.split_once("] \"")?;
    Some(read(at, rest))
}

fn read<'a>(at: &str, rest: &'a str) -> Result<Request<'a>, &'static str> {
    let begin = time::common(at).ok_or("no time")?;
    let (line, rest) = quoted(rest).ok_or("no request line")?;
    let (method, path) = request_line(line).ok_or("no request line")?;
    let rest = rest.trim_start();
    let status = rest.split(' ').next().and_then(|status| status.parse().ok()).ok_or("no status")?;
    // The referrer is the first quoted text after the size, the agent the second.
    let after = |text: &'a str| text.split_once('"').and_then(|(_, text)| quoted(text));
    let agent = after(rest).and_then(|(_, rest)| after(rest)).map_or("", |(agent, _)| agent);
    Ok(Request {
        begin,
        method: method.into(),
        path: path.into(),
        status,
        agent: agent.into(),
        bad_nonce: false,
        identifiers: None,
    })
}

/// The text up to the next quotation mark, and what follows it. Servers write `\"` or `\x22` for one in the text.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}
