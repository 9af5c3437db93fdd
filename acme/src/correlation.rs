//! Ids by which our requests are found in the CA's logs, and the CA's entries in ours.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use http::HeaderName;

use crate::transport::Response;

/// Characters kept of a server's id.
const LONGEST_ID: usize = 128;

/// Ids that are sent with requests and read from answers, so that both sides can name the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// The response header with the CA's own id of a request.
    pub request_id_header: HeaderName,
    /// Whether requests have a `traceparent` (W3C Trace Context): a trace for each chain, a span for each request.
    pub traceparent: bool,
}

impl Default for Correlation {
    /// `x-request-id`, the name that proxies use, and no `traceparent`.
    fn default() -> Self {
        Self { request_id_header: HeaderName::from_static("x-request-id"), traceparent: false }
    }
}

impl Correlation {
    /// The CA's id of the request of this answer, if there is one.
    pub(crate) fn request_id(&self, response: &Response) -> Option<Box<str>> {
        let id = response.headers.get(&self.request_id_header)?.to_str().ok()?.trim();
        // A header that is text is visible ASCII, one byte per character.
        (!id.is_empty()).then(|| id[..id.len().min(LONGEST_ID)].into())
    }
}

/// The id of a chain's trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceId([u8; 16]);

impl TraceId {
    pub(crate) fn random() -> Self {
        Self(random())
    }

    /// The header's value for a further request: version 00, this trace, a new span, sampled.
    pub(crate) fn traceparent(&self) -> Box<str> {
        format!("00-{}-{}-01", hex::encode(self.0), hex::encode(random::<8>())).into()
    }
}

/// Random bytes, not all zero, which Trace Context forbids.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness no key could have been made.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes[N - 1] |= 1;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_the_form_of_trace_context() {
        let trace = TraceId::random();
        let (one, two) = (trace.traceparent(), trace.traceparent());
        for value in [&one, &two] {
            let parts: Vec<_> = value.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{value}");
            assert!(value.bytes().all(|byte| byte == b'-' || b"0123456789abcdef".contains(&byte)), "{value}");
        }
        assert_eq!(one[..36], two[..36], "one trace");
        assert_ne!(one[36..], two[36..], "each request its own span");
    }

    #[test]
    fn an_id_is_kept_when_it_is_text_and_cut_when_it_is_long() {
        let correlation = Correlation::default();
        let answer = |value: &[u8]| {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-request-id", http::HeaderValue::from_bytes(value).unwrap());
            correlation.request_id(&Response { status: 500, headers, body: bytes::Bytes::new() })
        };
        assert_eq!(answer(b" 7f3a ").as_deref(), Some("7f3a"));
        assert_eq!(answer(&[b'x'; 500]).unwrap().len(), 128);
        assert_eq!(answer(b""), None);
        assert_eq!(answer("\u{fc}".as_bytes()), None);
    }
}
