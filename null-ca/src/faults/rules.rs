//! The rules for faults and latencies, as written.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};
use thiserror::Error;

use crate::endpoint::{Endpoint, UnknownEndpoint};

/// A rule that cannot be parsed. The messages have its text and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// An endpoint RFC 8555 does not have.
    #[error(transparent)]
    Endpoint(#[from] UnknownEndpoint),
    /// Not a share from 0 to 1.
    #[error("`{0}` is not a share; write a number from 0 to 1 such as 0.05, or a percentage such as 5%")]
    Share(String),
    /// Not a duration.
    #[error("`{0}` is not a duration; write a number with its unit such as 20ms or 1s")]
    Duration(String),
    /// A range with the longer latency first.
    #[error("`{0}` has the longer latency first; write the shorter latency first, as in 5ms..50ms")]
    Range(String),
    /// An unknown fault.
    #[error("`{0}` is not a fault; the faults are 500, 429, 503, html503, truncated, reset, silence, empty")]
    Fault(String),
    /// An unknown flaw of a certificate.
    #[error("`{0}` is not a kind of wrong certificate; the kinds are name, key, expired, serial, signature")]
    Flaw(String),
    /// A rule with a missing part.
    #[error("`{rule}` is not a {what}; write it like {example}")]
    Form {
        /// The rule as written.
        rule: String,
        /// The kind of rule.
        what: &'static str,
        /// A valid example.
        example: &'static str,
    },
}

/// A probability, 0 to 1. Written `0.05` or `5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "Written")]
pub struct Share(pub(super) f64);

impl Share {
    /// `None` unless `share` is between 0 and 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// As a number from 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Whether a random number is in this share.
    pub(crate) fn covers(self, roll: u64) -> bool {
        fraction(roll) < self.0
    }
}

impl FromStr for Share {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (number, unit) = match text.strip_suffix('%') {
            Some(percent) => (percent, 0.01),
            None => (text, 1.0),
        };
        let share = number.trim().parse::<f64>().ok().map(|number| number * unit);
        share.and_then(Share::new).ok_or_else(|| RuleError::Share(text.to_owned()))
    }
}

/// Delay of an answer. The timer's resolution is one millisecond.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Latency {
    /// Constant. Written `20ms`.
    Fixed(Duration),
    /// Uniformly distributed between two bounds. Written `5ms..50ms`.
    Uniform {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// These in turn, again and again: an exactly known distribution to compare a client's percentiles with.
    /// Written `10ms,10ms,500ms`.
    InTurn(Vec<Duration>),
}

impl Latency {
    /// No delay.
    pub const NONE: Latency = Latency::Fixed(Duration::ZERO);

    /// The latency of the n-th time (from 0), given 64 random bits.
    pub(super) fn of(&self, n: u64, roll: u64) -> Duration {
        match self {
            Latency::Fixed(latency) => *latency,
            Latency::Uniform { least, most } => *least + (*most - *least).mul_f64(fraction(roll)),
            Latency::InTurn(latencies) => latencies[(n % latencies.len() as u64) as usize],
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Latency::NONE
    }
}

impl FromStr for Latency {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (duration(least)?, duration(most)?);
            if most < least {
                return Err(RuleError::Range(text.to_owned()));
            }
            return Ok(Latency::Uniform { least, most });
        }
        let mut each = text.split(',').map(duration).collect::<Result<Vec<_>, _>>()?;
        Ok(match each.len() {
            1 => Latency::Fixed(each.remove(0)),
            _ => Latency::InTurn(each),
        })
    }
}

/// The endpoints of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every endpoint. Written `*`.
    All,
    /// One of them, by its name.
    One(Endpoint),
}

impl Target {
    pub(super) fn is(self, endpoint: Endpoint) -> bool {
        self == Target::All || self == Target::One(endpoint)
    }
}

impl FromStr for Target {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" { Ok(Target::All) } else { Ok(Target::One(text.parse()?)) }
    }
}

/// Latency of endpoints. Written `20ms` for all of them or `newOrder=5ms..50ms` for one. A rule for one
/// endpoint overrides a rule for all; of two equal ones the later counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LatencyRule {
    /// The endpoints.
    pub target: Target,
    /// Their latency.
    pub latency: Latency,
}

impl FromStr for LatencyRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Ok(match text.split_once('=') {
            Some((target, latency)) => Self { target: target.trim().parse()?, latency: latency.parse()? },
            None => Self { target: Target::All, latency: text.parse()? },
        })
    }
}

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
pub enum Fault {
    /// 500 with a `serverInternal` problem; the request is not processed. Written `500`.
    #[strum(serialize = "500")]
    ServerError,
    /// 429 with a `rateLimited` problem and Retry-After; the request is not processed. Written `429`.
    #[strum(serialize = "429")]
    RateLimited,
    /// 503 with a `rateLimited` problem and Retry-After, as of a CA that is busy; the request is not processed.
    /// Written `503`.
    #[strum(serialize = "503")]
    Busy,
    /// 503 with a page of HTML, as from a proxy; the request is not processed. Written `html503`.
    #[strum(serialize = "html503")]
    Html,
    /// The request is processed, but its answer is truncated. Written `truncated`.
    #[strum(serialize = "truncated")]
    Truncated,
    /// The TCP connection is reset instead of an answer; the request is not processed. Written `reset`.
    #[strum(serialize = "reset")]
    Reset,
    /// No answer, on an open connection; the request is not processed. Written `silence`.
    #[strum(serialize = "silence")]
    Silence,
    /// The request is processed; the answer is 200 without a body and without ACME headers. Written `empty`.
    #[strum(serialize = "empty")]
    Empty,
}

wec_record::closed_set!(Fault);

impl FromStr for Fault {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let found = Fault::ALL.into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| RuleError::Fault(text.to_owned()))
    }
}

/// The share of an endpoint's requests with one fault. Written `newOrder=500:0.01`, or `*=reset:1%` for all
/// endpoints. Rules for the same endpoint add up.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct FaultRule {
    /// The endpoints.
    pub target: Target,
    /// The fault.
    pub fault: Fault,
    /// The share.
    pub share: Share,
}

impl FromStr for FaultRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let parts = text.split_once('=').and_then(|(target, rest)| Some((target, rest.split_once(':')?)));
        let Some((target, (fault, share))) = parts else {
            return Err(RuleError::Form {
                rule: text.to_owned(),
                what: "fault",
                example: "newOrder=500:0.01 or *=reset:1%",
            });
        };
        Ok(Self {
            target: target.trim().parse()?,
            fault: fault.trim().parse()?,
            share: share.trim().parse()?,
        })
    }
}

/// A time without any answer; requests wait for its end. Written `10s+5s`: from the tenth second after the
/// start, for five seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Stall {
    /// Its start, counted from the start of the CA.
    pub at: Duration,
    /// Its length.
    pub lasting: Duration,
}

impl FromStr for Stall {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let Some((at, lasting)) = text.split_once('+') else {
            return Err(RuleError::Form { rule: text.to_owned(), what: "stall", example: "10s+5s" });
        };
        Ok(Self { at: duration(at)?, lasting: duration(lasting)? })
    }
}

/// Requests to an endpoint that are served per second, one after the other; the others queue in the order of
/// arrival. Written `newOrder=50/s`, or `newOrder=50/s:200` for a queue of 200: further requests are answered with 503
/// and Retry-After at once. It gives a CA with an exactly known capacity.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServeRule {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Requests per second.
    pub per_second: f64,
    /// The most requests that wait; none for any number.
    pub queue: Option<u64>,
}

impl FromStr for ServeRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let form = || RuleError::Form {
            rule: text.to_owned(),
            what: "number of requests a second that are served",
            example: "newOrder=50/s, or newOrder=50/s:200 with a queue of 200",
        };
        let (endpoint, rate) = text.split_once('=').ok_or_else(form)?;
        let (rate, queue) = match rate.split_once(':') {
            Some((rate, queue)) => (rate, Some(queue.trim().parse().map_err(|_| form())?)),
            None => (rate, None),
        };
        let per_second: f64 =
            rate.trim().strip_suffix("/s").and_then(|number| number.trim().parse().ok()).ok_or_else(form)?;
        if !(per_second > 0.0 && per_second <= 1e6) {
            return Err(form());
        }
        Ok(Self { endpoint: endpoint.trim().parse()?, per_second, queue })
    }
}

/// A flaw of a certificate on purpose, to test a client's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
pub enum Flaw {
    /// It has another name. Written `name`.
    #[strum(serialize = "name")]
    WrongName,
    /// It has another key than the certification request. Written `key`.
    #[strum(serialize = "key")]
    WrongKey,
    /// It expired an hour ago. Written `expired`.
    #[strum(serialize = "expired")]
    Expired,
    /// It has the serial number of the certificate issued before it. Written `serial`.
    #[strum(serialize = "serial")]
    RepeatedSerial,
    /// The issuer's signature does not verify. Written `signature`.
    #[strum(serialize = "signature")]
    BrokenSignature,
}

wec_record::closed_set!(Flaw);

impl FromStr for Flaw {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let found = Flaw::ALL.into_iter().find(|flaw| flaw.name() == text);
        found.ok_or_else(|| RuleError::Flaw(text.to_owned()))
    }
}

/// The share of certificates with one flaw. Written `name:0.01`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct FlawRule {
    /// The flaw.
    pub flaw: Flaw,
    /// The share.
    pub share: Share,
}

impl FromStr for FlawRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let Some((flaw, share)) = text.split_once(':') else {
            return Err(RuleError::Form {
                rule: text.to_owned(),
                what: "wrong certificate",
                example: "name:0.01",
            });
        };
        Ok(Self { flaw: flaw.trim().parse()?, share: share.trim().parse()? })
    }
}

/// A configuration file has the rules in the same form as flags.
macro_rules! read_as_written {
    ($($rule:ty),+) => {$(
        impl TryFrom<String> for $rule {
            type Error = RuleError;

            fn try_from(text: String) -> Result<Self, RuleError> {
                text.parse()
            }
        }
    )+};
}
read_as_written!(Latency, LatencyRule, FaultRule, ServeRule, Stall, FlawRule);

/// A share may also be a bare number in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl TryFrom<Written> for Share {
    type Error = RuleError;

    fn try_from(written: Written) -> Result<Self, RuleError> {
        match written {
            Written::Number(share) => Share::new(share).ok_or_else(|| RuleError::Share(share.to_string())),
            Written::Text(text) => text.parse(),
        }
    }
}

/// A hundred years, the largest lifetime of a certificate.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

/// Reads `20ms`, `1m 30s` and the like.
pub(crate) fn duration(text: &str) -> Result<Duration, RuleError> {
    let duration = humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= LONGEST);
    duration.ok_or_else(|| RuleError::Duration(text.to_owned()))
}

/// 64 random bits as a number in [0, 1).
pub(super) fn fraction(roll: u64) -> f64 {
    (roll >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn reads_latencies() {
        let uniform = Latency::Uniform { least: ms(5), most: ms(50) };
        for (text, latency) in [
            ("20ms", Latency::Fixed(ms(20))),
            ("0s", Latency::NONE),
            ("1s 500ms", Latency::Fixed(ms(1500))),
            ("5ms..50ms", uniform.clone()),
            ("10ms,10ms,500ms", Latency::InTurn(vec![ms(10), ms(10), ms(500)])),
        ] {
            assert_eq!(text.parse(), Ok(latency), "{text}");
        }
        assert_eq!(
            "newOrder=5ms..50ms".parse(),
            Ok(LatencyRule { target: Target::One(Endpoint::NewOrder), latency: uniform })
        );
    }

    #[test]
    fn reads_faults_stalls_and_flaws() {
        assert_eq!(
            "newOrder=500:0.01".parse(),
            Ok(FaultRule {
                target: Target::One(Endpoint::NewOrder),
                fault: Fault::ServerError,
                share: Share(0.01)
            })
        );
        assert_eq!(
            "*=reset:50%".parse(),
            Ok(FaultRule { target: Target::All, fault: Fault::Reset, share: Share(0.5) })
        );
        assert_eq!("10s+5s".parse(), Ok(Stall { at: ms(10_000), lasting: ms(5_000) }));
        assert_eq!("serial:1".parse(), Ok(FlawRule { flaw: Flaw::RepeatedSerial, share: Share(1.0) }));
    }

    #[test]
    fn quotes_wrong_text_and_names_what_is_allowed() {
        fn error<T: FromStr<Err = RuleError>>(text: &str) -> String {
            text.parse::<T>().err().expect(text).to_string()
        }
        for (message, culprit, way_out) in [
            (error::<FaultRule>("newOrder"), "`newOrder`", "newOrder=500:0.01"),
            (error::<FaultRule>("newOrder=500"), "`newOrder=500`", "newOrder=500:0.01"),
            (error::<FaultRule>("neworder=500:0.1"), "`neworder`", "newOrder"),
            (error::<FaultRule>("newOrder=501:0.1"), "`501`", "html503"),
            (error::<FaultRule>("newOrder=500:1.5"), "`1.5`", "from 0 to 1"),
            (error::<FaultRule>("newOrder=500:-1"), "`-1`", "from 0 to 1"),
            (error::<FaultRule>("newOrder=500:NaN"), "`NaN`", "from 0 to 1"),
            (error::<FaultRule>("newOrder=500:101%"), "`101%`", "percentage"),
            (error::<LatencyRule>("20"), "`20`", "20ms"),
            (error::<LatencyRule>("order=fast"), "`fast`", "20ms"),
            (error::<LatencyRule>("50ms..5ms"), "`50ms..5ms`", "shorter latency first"),
            (error::<LatencyRule>("10ms,,5ms"), "``", "20ms"),
            (error::<Stall>("10s"), "`10s`", "10s+5s"),
            (error::<FlawRule>("names:0.1"), "`names`", "signature"),
            (error::<FlawRule>("name"), "`name`", "name:0.01"),
        ] {
            assert!(message.contains(culprit), "{message}");
            assert!(message.contains(way_out), "{message}");
        }
    }
}
