//! Reads the line of a chain result in the form in which this version writes it: the keys in their order, no spaces, no
//! escapes. Almost every line of a log is one, and serde, which accepts any order of keys, takes several times as long.
//! For any other line the result is none, and [`crate::Record::parse`] reads it with serde.

use std::borrow::Cow;

use crate::interned::interned;
use crate::written::{ChainTimes, RequestTimes, time_of};
use crate::{
    AuthorizationResult, Chain, ChainResult, ChallengeType, FailureClass, Phases, Purpose, RequestResult,
};

/// What the line of a chain result has.
pub(crate) struct ChainLine<'a> {
    pub(crate) node: &'a str,
    pub(crate) origin_unix_ns: u64,
    pub(crate) result: ChainResult,
}

/// Reads the line of a chain result; none if the line has another form.
pub(crate) fn chain(line: &str) -> Option<ChainLine<'_>> {
    let mut line = Line::new(line);
    let (node, origin_unix_ns) = line.origin()?;
    let mut result = line.chain_head()?;
    line.chain_tail(&mut result)?;
    let authorizations = line.authorizations()?;
    let mut before = result.started;
    line.each_request(|line| {
        if result.requests.is_empty() {
            result.requests.reserve(8);
        }
        let mut request = line.request_head()?;
        line.request_tail(&mut request, before)?;
        before = request.done;
        result.requests.push(request);
        Some(())
    })?;
    line.end()?;
    result.authorizations = authorizations.into_iter().map(|it| it.with_times(&result.requests)).collect();
    Some(ChainLine { node, origin_unix_ns, result })
}

/// A line, and how far it has been read.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    /// Always a boundary between characters.
    pub(crate) at: usize,
}

/// An authorization, and the requests that give its times, by their places.
pub(crate) struct WrittenAuthorization {
    result: AuthorizationResult,
    answered_by: Option<u64>,
    settled_by: Option<u64>,
}

impl WrittenAuthorization {
    pub(crate) fn with_times(self, requests: &[RequestResult]) -> AuthorizationResult {
        let Self { mut result, answered_by, settled_by } = self;
        result.answered = time_of(result.answered, answered_by, requests, |request| request.sent);
        result.settled = time_of(result.settled, settled_by, requests, |request| request.done);
        result
    }
}

impl<'a> Line<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether all of it has been read after the closing brace.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.skip("}")?;
        (self.at == self.text.len()).then_some(())
    }

    /// The node, and the wall clock of its origin.
    pub(crate) fn origin(&mut self) -> Option<(&'a str, u64)> {
        self.skip(r#"{"record":"chain","node":"#)?;
        let node = self.string()?;
        self.skip(r#","origin_unix_ns":"#)?;
        Some((node, self.number()?))
    }

    /// What many chain results have in common, up to the key of what they have not.
    pub(crate) fn chain_head(&mut self) -> Option<ChainResult> {
        self.skip(r#","chainname":"#)?;
        let chain = self.nullable(|name| Chain::ALL.into_iter().find(|chain| chain.name() == name))?;
        self.skip(r#","chainsuccessful":"#)?;
        let successful = self.flag()?;
        self.skip(r#","error":"#)?;
        let error = self.string()?.to_owned();
        let class = self.class_if()?;
        let status = self.small_if(r#","status":"#)?;
        let problem = self.name_if(r#","problem":"#)?;
        let abandoned = self.is(r#","abandoned":"#) && self.flag()?;
        self.skip(r#","scenario":"#)?;
        let scenario = self.string()?.to_owned();
        let profile = self.string_if(r#","profile":"#)?.to_owned();
        let detail = self.name_if(r#","detail":"#)?;
        let unverified = self.string_if(r#","unverified":"#)?.to_owned();
        self.skip(r#","issued":"#)?;
        let issued = self.flag()?;
        self.skip(r#","seq":"#)?;
        Some(ChainResult {
            chain,
            successful,
            error,
            class,
            status,
            problem,
            abandoned,
            scenario,
            profile,
            detail,
            unverified,
            issued,
            ..ChainResult::default()
        })
    }

    /// The rest of a chain result up to its authorizations.
    pub(crate) fn chain_tail(&mut self, result: &mut ChainResult) -> Option<()> {
        result.seq = self.number()?;
        self.skip(r#","worker":"#)?;
        result.worker = self.number()?.try_into().ok()?;
        self.skip(r#","chaintook":"#)?;
        let took = self.number()?;
        self.skip(r#","done":"#)?;
        let done = Some(self.number()?);
        let due = self.optional(r#","due":"#)?;
        let started = self.optional(r#","started":"#)?;
        result.took = took;
        (result.due, result.started, result.done) = ChainTimes { took, done, due, started }.read();
        result.keygen = self.number_if(r#","keygen":"#)?;
        result.waited_asked = self.number_if(r#","waited_asked":"#)?;
        result.waited_poll = self.number_if(r#","waited_poll":"#)?;
        result.issuance = self.optional(r#","issuance":"#)?;
        self.string_if(r#","order":"#)?.clone_into(&mut result.order);
        self.string_if(r#","serial":"#)?.clone_into(&mut result.serial);
        Some(())
    }

    /// The authorizations, whose times are those of requests that follow.
    pub(crate) fn authorizations(&mut self) -> Option<Vec<WrittenAuthorization>> {
        let mut authorizations = Vec::new();
        if self.is(r#","authorizations":["#) {
            self.each(|line| {
                authorizations.push(line.authorization()?);
                Some(())
            })?;
        }
        Some(authorizations)
    }

    /// Reads each of the requests by this function.
    pub(crate) fn each_request(&mut self, request: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(r#","individualresults":["#)?;
        if self.is("]") { Some(()) } else { self.each(request) }
    }

    fn authorization(&mut self) -> Option<WrittenAuthorization> {
        self.skip(r#"{"name":"#)?;
        let name = self.string()?.to_owned();
        self.skip(r#","id":"#)?;
        let id = self.string()?.to_owned();
        self.skip(r#","challenge":"#)?;
        let challenge = self.nullable(|name| ChallengeType::ALL.into_iter().find(|it| it.name() == name))?;
        let answered_by = self.optional(r#","answered_by":"#)?;
        let settled_by = self.optional(r#","settled_by":"#)?;
        let answered = self.number_if(r#","answered":"#)?;
        let settled = self.number_if(r#","settled":"#)?;
        self.skip("}")?;
        let result = AuthorizationResult { name, id, challenge, answered, settled };
        Some(WrittenAuthorization { result, answered_by, settled_by })
    }

    /// What many requests have in common, up to the key of what they have not.
    pub(crate) fn request_head(&mut self) -> Option<RequestResult> {
        self.skip(r#"{"uri":"#)?;
        let uri = self.name()?;
        self.skip(r#","endpoint":"#)?;
        let endpoint = self.name()?;
        self.skip(r#","method":"#)?;
        let method = self.name()?;
        self.skip(r#","purpose":"#)?;
        let purpose = self.string()?;
        let purpose = Purpose::ALL.into_iter().find(|known| known.name() == purpose)?;
        self.skip(r#","successful":"#)?;
        let successful = self.flag()?;
        self.skip(r#","error":"#)?;
        let error = self.string()?.to_owned();
        let class = self.class_if()?;
        self.skip(r#","status":"#)?;
        let status = self.number()?.try_into().ok()?;
        let problem = self.name_if(r#","problem":"#)?;
        let detail = self.name_if(r#","detail":"#)?;
        let request_id = self.string_if(r#","request_id":"#)?.to_owned();
        let traceparent = self.string_if(r#","traceparent":"#)?.to_owned();
        let document = self.escaped_if(r#","document":"#)?;
        let retry_after = self.optional(r#","retry_after":"#)?;
        let reconnects = self.number_if(r#","reconnects":"#)?.try_into().ok()?;
        self.skip(r#","reused":"#)?;
        let reused = self.flag()?;
        let address = self.name_if(r#","address":"#)?;
        self.skip(r#","bytes_sent":"#)?;
        Some(RequestResult {
            uri,
            successful,
            error,
            class,
            endpoint,
            method,
            purpose,
            status,
            problem,
            reused,
            address,
            retry_after,
            reconnects,
            detail,
            request_id,
            traceparent,
            document,
            ..RequestResult::default()
        })
    }

    /// The rest of a request; `before` is when the one before it was done, or the chain was started.
    pub(crate) fn request_tail(&mut self, request: &mut RequestResult, before: u64) -> Option<()> {
        request.bytes_sent = self.number()?;
        self.skip(r#","bytes_received":"#)?;
        request.bytes_received = self.number()?;
        self.skip(r#","took":"#)?;
        let took = self.number()?;
        let due_after = self.number_if(r#","due_after":"#)?;
        let sent_after = self.number_if(r#","sent_after":"#)?;
        let body = self.optional(r#","body":"#)?;
        let nonce_age = self.optional(r#","nonce_age":"#)?;
        let due = self.optional(r#","due":"#)?;
        let sent = self.optional(r#","sent":"#)?;
        let done = self.optional(r#","done":"#)?;
        let phases = if self.is(r#","phases":{"#) { self.phases()? } else { Phases::default() };
        self.skip("}")?;
        let first_byte = phases.first_byte;
        let times =
            RequestTimes { took, due_after, sent_after, body, nonce_age, due, sent, done, first_byte };
        request.took = took;
        request.phases = phases;
        (request.due, request.sent, request.done, request.nonce_age, request.phases.first_byte) =
            times.read(Some(before));
        Some(())
    }

    /// After its opening brace. Only phases that took time are written.
    fn phases(&mut self) -> Option<Phases> {
        let mut phases = Phases::default();
        let mut first = true;
        let times = [
            (r#","dns":"#, &mut phases.dns),
            (r#","connect":"#, &mut phases.connect),
            (r#","tls":"#, &mut phases.tls),
            (r#","first_byte":"#, &mut phases.first_byte),
        ];
        for (key, time) in times {
            if self.is(if first { &key[1..] } else { key }) {
                *time = self.number()?;
                first = false;
            }
        }
        self.skip("}")?;
        Some(phases)
    }

    fn class_if(&mut self) -> Option<Option<FailureClass>> {
        if !self.is(r#","class":"#) {
            return Some(None);
        }
        self.nullable(|name| FailureClass::ALL.into_iter().find(|class| class.name() == name))
    }

    /// The entries of an array that is not empty, after its opening bracket.
    pub(crate) fn each(&mut self, mut entry: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            entry(self)?;
            if self.is("]") {
                return Some(());
            }
            self.skip(",")?;
        }
    }

    /// A value of a closed set, or null. A name that is not in the set makes another line of it.
    fn nullable<T>(&mut self, named: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
        if self.is("null") { Some(None) } else { named(self.string()?).map(Some) }
    }

    fn name(&mut self) -> Option<Cow<'static, str>> {
        self.string().map(interned)
    }

    /// The value of a key that is left out where it is empty.
    fn name_if(&mut self, key: &str) -> Option<Cow<'static, str>> {
        self.string_if(key).map(interned)
    }

    fn string_if(&mut self, key: &str) -> Option<&'a str> {
        if self.is(key) { self.string() } else { Some("") }
    }

    /// A string that has escapes nearly always, such as JSON within JSON; empty where the key is left out.
    fn escaped_if(&mut self, key: &str) -> Option<String> {
        if !self.is(key) {
            return Some(String::new());
        }
        let bytes = &self.text.as_bytes()[self.at..];
        let mut end = 1;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let string = serde_json::from_str(self.text.get(self.at..=self.at + end)?).ok()?;
        self.at += end + 1;
        Some(string)
    }

    /// The value of a key that is left out where it is zero.
    fn number_if(&mut self, key: &str) -> Option<u64> {
        if self.is(key) { self.number() } else { Some(0) }
    }

    /// The value of a key that is left out where there is none, or where it follows from others.
    fn optional(&mut self, key: &str) -> Option<Option<u64>> {
        if self.is(key) { self.number().map(Some) } else { Some(None) }
    }

    fn small_if(&mut self, key: &str) -> Option<u16> {
        self.number_if(key)?.try_into().ok()
    }

    /// A string without escapes. A control character must be escaped in JSON.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        self.skip("\"")?;
        let bytes = &self.text.as_bytes()[self.at..];
        let length = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if bytes[length] != b'"' {
            return None;
        }
        let string = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(string)
    }

    /// A whole number without leading zeros, as JSON has them, which does not overflow.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let bytes = &self.text.as_bytes()[self.at..];
        let (mut number, mut length) = (0_u64, 0);
        while let Some(eight) = bytes.get(length..length + 8) {
            let (digits, value) = digits_of(eight.try_into().expect("they are eight"));
            number = number.wrapping_mul(TENS[digits]).wrapping_add(value);
            length += digits;
            if digits < 8 {
                break;
            }
        }
        while let Some(digit) = bytes.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|it| *it < 10) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        // Every number of 19 digits is below 2^64.
        let valid = (1..=19).contains(&length) && (length == 1 || bytes[0] != b'0');
        self.at += length;
        valid.then_some(number)
    }

    fn flag(&mut self) -> Option<bool> {
        if self.is("true") { Some(true) } else { self.skip("false").map(|()| false) }
    }

    pub(crate) fn skip(&mut self, what: &str) -> Option<()> {
        self.is(what).then_some(())
    }

    /// As [`Line::is`], for one of several texts that begin alike and may end alike: the end shows at once whether their
    /// length is right.
    #[inline]
    pub(crate) fn is_one_of_many(&mut self, what: &str) -> bool {
        let end = self.text.as_bytes().get(..self.at + what.len()).and_then(<[u8]>::last_chunk::<8>);
        (what.len() < 8 || end == what.as_bytes().last_chunk()) && self.is(what)
    }

    #[inline]
    pub(crate) fn is(&mut self, what: &str) -> bool {
        let there = self.text.as_bytes()[self.at..].starts_with(what.as_bytes());
        if there {
            self.at += what.len();
        }
        there
    }
}

/// Powers of ten.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// How many of the bytes, from the first, are digits, and the number that these make. All eight at once: a result has
/// some ten times of fourteen digits.
fn digits_of(bytes: [u8; 8]) -> (usize, u64) {
    let word = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // The highest bit of a byte is set if it is above 9. A carry goes to the bytes after it only.
    let others = ((word.wrapping_add(0x7676_7676_7676_7676)) | word) & 0x8080_8080_8080_8080;
    let digits = (others.trailing_zeros() / 8) as usize;
    if digits == 0 {
        return (0, 0);
    }
    // Zeros before the digits, which then end in the last byte.
    let word = word << (8 * (8 - digits));
    let word = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let word = word.wrapping_mul(100).wrapping_add(word >> 16) & 0x0000_ffff_0000_ffff;
    let word = word.wrapping_mul(10_000).wrapping_add(word >> 32) & 0xffff_ffff;
    (digits, word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Record;

    fn read(line: &str) -> Option<Record> {
        chain(line).map(Record::from)
    }

    fn request() -> RequestResult {
        RequestResult {
            uri: "/order/{id}".into(),
            took: 7,
            successful: true,
            endpoint: "order".into(),
            method: "POST".into(),
            status: 200,
            bytes_sent: 12,
            due: 1,
            sent: 2,
            done: 8,
            reused: true,
            address: "127.0.0.1:1".into(),
            nonce_age: 5,
            phases: Phases { first_byte: 4, ..Phases::default() },
            ..RequestResult::default()
        }
    }

    /// Every key that may be left out is written.
    fn full() -> ChainResult {
        let request = RequestResult {
            error: "é".to_owned(),
            class: Some(FailureClass::Problem),
            problem: "caa".into(),
            phases: Phases { dns: 1, connect: 2, tls: 3, first_byte: 4 },
            retry_after: Some(u64::MAX / 4),
            reconnects: 1,
            detail: "per account".into(),
            request_id: "7".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
            document: r#"{"type":"caa"}"#.to_owned(),
            ..request()
        };
        // Not in the order of times, and longer than its time.
        let odd = RequestResult {
            due: 20,
            sent: 10,
            done: 100,
            phases: Phases { first_byte: 95, ..request.phases },
            ..request.clone()
        };
        ChainResult {
            seq: 3,
            worker: 4,
            took: 50,
            due: 40,
            started: 45,
            done: 101,
            keygen: 5,
            waited_asked: 6,
            waited_poll: 7,
            chain: Some(Chain::Certificate),
            class: Some(FailureClass::Problem),
            status: 403,
            problem: "caa".into(),
            abandoned: true,
            scenario: "default".to_owned(),
            profile: "short".to_owned(),
            detail: "per account".into(),
            order: "/order/1".to_owned(),
            serial: "1f".to_owned(),
            issuance: Some(9),
            unverified: "why".to_owned(),
            authorizations: vec![
                AuthorizationResult {
                    name: "a.test".to_owned(),
                    id: "/authz/1".to_owned(),
                    challenge: Some(ChallengeType::Dns01),
                    answered: 1,
                    settled: 3,
                },
                AuthorizationResult { answered: 2, settled: 8, ..AuthorizationResult::default() },
            ],
            requests: vec![request.clone(), request, odd],
            ..ChainResult::default()
        }
    }

    fn line(result: ChainResult) -> String {
        serde_json::to_string(&Record::Chain { node: "r1".to_owned(), origin_unix_ns: 17, result }).unwrap()
    }

    fn by_serde(line: &str) -> Option<Record> {
        serde_json::from_str(line).ok()
    }

    /// A key that is added to a result must be added here, too: then its lines are read fast.
    #[test]
    fn a_result_is_read_without_serde_with_and_without_the_keys_that_may_be_left_out() {
        let usual = ChainResult { requests: vec![request()], ..ChainResult::default() };
        for result in [ChainResult::default(), usual, full()] {
            let line = line(result);
            let read = read(&line);
            assert!(read.is_some(), "{line}");
            assert_eq!(read, by_serde(&line));
        }
    }

    proptest! {
        #[test]
        fn digits_are_read_eight_at_a_time(number: u64, after in "[^0-9]{0,9}", short in 0_u64..100_000_000) {
            for number in [number, short] {
                let text = number.to_string();
                let line = format!("{text}{after}");
                let mut line = Line::new(&line);
                prop_assert_eq!(line.number(), (text.len() < 20).then_some(number));
                prop_assert_eq!(line.at, text.len());
            }
        }
    }

    #[test]
    fn every_key_is_in_the_full_result() {
        let line = line(full());
        let keys = "chainname chainsuccessful error class status problem abandoned scenario profile detail unverified \
            issued seq worker chaintook done due started keygen waited_asked waited_poll issuance order serial \
            authorizations name id challenge answered_by settled_by answered settled individualresults uri endpoint \
            method purpose successful request_id traceparent document retry_after reconnects reused address bytes_sent \
            bytes_received took due_after sent_after body nonce_age sent phases dns connect tls first_byte";
        for key in keys.split_whitespace() {
            assert!(line.contains(&format!("\"{key}\":")), "{key} is not in {line}");
        }
    }

    /// As version 1 wrote it, with all keys and in another order.
    #[test]
    fn a_line_of_version_1_is_read() {
        let line = r#"{"record":"chain","node":"r1","origin_unix_ns":17,"seq":3,"worker":4,"chainname":"certificate","chainsuccessful":true,"chaintook":90,"due":10,"started":15,"done":100,"keygen":0,"error":"","class":null,"scenario":"default","waited_asked":0,"waited_poll":0,"issued":false,"authorizations":[{"name":"a.test","id":"/authz/1","challenge":"dns-01","answered":22,"settled":0}],"individualresults":[{"uri":"/order/{id}","took":7,"successful":true,"error":"","class":null,"endpoint":"order","method":"POST","purpose":"step","status":200,"problem":"","bytes_sent":12,"bytes_received":0,"due":21,"sent":22,"done":28,"reused":true,"address":"127.0.0.1:1","phases":{"first_byte":4}},{"uri":"/order/{id}","took":7,"successful":true,"error":"","class":null,"endpoint":"order","method":"POST","purpose":"step","status":200,"problem":"","bytes_sent":12,"bytes_received":0,"due":31,"sent":32,"done":38,"reused":true,"address":"127.0.0.1:1","nonce_age":5,"phases":{"first_byte":4}}]}"#;
        assert_eq!(read(line), None);
        let first = RequestResult { due: 21, sent: 22, done: 28, nonce_age: 0, ..request() };
        let second = RequestResult { due: 31, sent: 32, done: 38, nonce_age: 5, ..request() };
        let result = ChainResult {
            seq: 3,
            worker: 4,
            chain: Some(Chain::Certificate),
            successful: true,
            took: 90,
            due: 10,
            started: 15,
            done: 100,
            scenario: "default".to_owned(),
            authorizations: vec![AuthorizationResult {
                name: "a.test".to_owned(),
                id: "/authz/1".to_owned(),
                challenge: Some(ChallengeType::Dns01),
                answered: 22,
                settled: 0,
            }],
            requests: vec![
                RequestResult { bytes_sent: 12, ..first },
                RequestResult { bytes_sent: 12, ..second },
            ],
            ..ChainResult::default()
        };
        let expected = Record::Chain { node: "r1".to_owned(), origin_unix_ns: 17, result };
        assert_eq!(by_serde(line), Some(expected.clone()));
        let Record::Chain { result, .. } = &expected else { panic!("not a chain") };
        // The same in fewer bytes.
        let again = self::line(result.clone());
        assert_eq!(read(&again), Some(expected));
        assert!(again.len() < line.len(), "{again}");
    }

    #[test]
    fn another_form_is_left_to_serde() {
        let usual = line(full());
        let others = [
            usual.replace("\"seq\":3", "\"seq\": 3"),
            usual.replace("\"seq\":3", "\"seq\":03"),
            usual.replace("\"seq\":3", "\"seq\":-3"),
            usual.replace("\"seq\":3", "\"seq\":3.0"),
            usual.replace("\"seq\":3", "\"seq\":18446744073709551616"),
            usual.replace("\"worker\":4", "\"worker\":4294967296"),
            usual.replace("a.test", "a\\u0041"),
            usual.replace("a.test", "a\t"),
            usual.replace("\"dns-01\"", "\"dns-02\""),
            usual.replace("\"certificate\"", "\"renewal\""),
            usual.clone() + " ",
            usual.clone() + "}",
            usual[..usual.len() - 1].to_owned(),
        ];
        for other in others {
            assert_eq!(read(&other), None, "{other}");
        }
        assert_eq!(read(""), None);
    }

    proptest! {
        /// What is read here is what serde reads, also after changes that leave much of a line.
        #[test]
        fn a_changed_line_is_read_as_serde_reads_it_or_not_at_all(
            place in any::<prop::sample::Index>(),
            to in prop::collection::vec(prop::sample::select(&b"0123456789\"\\{}[],:. tn\x01-e"[..]), 0..3),
            removed in 0usize..4,
        ) {
            let mut changed = line(full()).replace('é', "e").into_bytes();
            let place = place.index(changed.len());
            let end = (place + removed).min(changed.len());
            changed.splice(place..end, to);
            let changed = String::from_utf8(changed).unwrap();
            if let Some(read) = read(&changed) {
                prop_assert_eq!(Some(read), by_serde(&changed), "{}", changed);
            }
        }
    }
}
