//! What happens to a fleet: outages, revocations, new lifetimes, growth and limits, as people write them.
//!
//! | text | meaning |
//! | --- | --- |
//! | `outage 6h at 3d` | the CA does not answer for 6 h |
//! | `revoke 10% at 5d` | a tenth of the valid certificates is revoked |
//! | `lifetime 90d -> 47d at 10d over 30d` | new certificates last shorter from day 10 on, linearly over 30 days |
//! | `growth 1%/d` | new certificates, compounding; `at 5d` from then on |
//! | `limit 300/s` | the CA admits no more; `at 5d` from then on, `for 2h` until then |

use std::fmt;
use std::str::FromStr;

use crate::Second;
use crate::time::{duration, duration_text, rate, rate_text, share, share_text};

/// Something that happens at a second of the fleet's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The CA does not answer.
    Outage {
        /// Its begin.
        at: Second,
        /// Its length in seconds.
        lasts: i32,
    },
    /// A share of the valid certificates is revoked.
    Revoke {
        /// When.
        at: Second,
        /// The share in millionths.
        share: u32,
    },
    /// New certificates get another lifetime.
    Lifetime {
        /// The lifetime until then, seconds.
        from: i32,
        /// The lifetime at the end, seconds.
        to: i32,
        /// The begin of the change.
        at: Second,
        /// How long the change takes; it is linear.
        over: i32,
    },
    /// The fleet grows.
    Growth {
        /// From when.
        at: Second,
        /// New members a day as a share of all, in millionths.
        share: u32,
    },
    /// The CA admits no more than this.
    Limit {
        /// From when.
        at: Second,
        /// For how long, seconds; none until the next limit.
        lasts: Option<i32>,
        /// Thousandths per second.
        rate: u64,
    },
}

impl Event {
    /// When it begins.
    pub const fn at(&self) -> Second {
        match self {
            Self::Outage { at, .. }
            | Self::Revoke { at, .. }
            | Self::Lifetime { at, .. }
            | Self::Growth { at, .. }
            | Self::Limit { at, .. } => *at,
        }
    }
}

impl Event {
    /// Reads an event that is given while the fleet's clock runs: without `at` it begins now, and so does one whose time
    /// is over.
    ///
    /// # Errors
    /// As of any event.
    pub fn live(text: &str, now: Second) -> Result<Self, String> {
        let at = format!("{}s", now.max(0));
        let mut words: Vec<&str> = text.split_whitespace().collect();
        if !words.is_empty() && !words.contains(&"at") {
            let place = words.iter().position(|word| ["over", "for"].contains(word)).unwrap_or(words.len());
            words.splice(place..place, ["at", at.as_str()]);
        }
        let mut event: Self = words.join(" ").parse()?;
        match &mut event {
            Self::Outage { at, .. }
            | Self::Revoke { at, .. }
            | Self::Lifetime { at, .. }
            | Self::Growth { at, .. }
            | Self::Limit { at, .. } => *at = (*at).max(now),
        }
        Ok(event)
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let failed = |why: String| format!("event {text:?}: {why}");
        let mut words = Words { words: text.split_whitespace().collect() };
        let kind = words.first().ok_or_else(|| failed(format!("is empty; {EXAMPLES}")))?;
        let event = match kind {
            "outage" => words.value("how long", "outage 6h at 3d", duration).and_then(|lasts| {
                let at = words.required("at", "outage 6h at 3d")?;
                positive(lasts, "an outage").map(|lasts| Self::Outage { at, lasts })
            }),
            "revoke" => words
                .value("which share", "revoke 10% at 5d", share)
                .and_then(|share| Ok(Self::Revoke { at: words.required("at", "revoke 10% at 5d")?, share })),
            "lifetime" => words.lifetime(),
            "growth" => words.value("how much", "growth 1%/d", per_day).and_then(|share| {
                Ok(Self::Growth { at: words.optional("at", "growth 1%/d at 5d")?.unwrap_or(0), share })
            }),
            "limit" => words.value("which rate", "limit 300/s", rate).and_then(|rate| {
                let example = "limit 300/s at 5d for 2h";
                let at = words.optional("at", example)?.unwrap_or(0);
                let lasts = words.optional("for", example)?;
                lasts.map_or(Ok(0), |lasts| positive(lasts, "a limit"))?;
                Ok(Self::Limit { at, lasts, rate })
            }),
            other => Err(format!("{other:?} is not an event; {EXAMPLES}")),
        };
        let event = event.map_err(failed)?;
        match words.words.first() {
            None => Ok(event),
            Some(word) => {
                Err(failed(format!("{word:?} is not expected here; an event like this is {event}")))
            }
        }
    }
}

const EXAMPLES: &str = "events are outage 6h at 3d, revoke 10% at 5d, lifetime 90d -> 47d at 10d over 30d, \
                        growth 1%/d, limit 300/s";

/// The words of an event that are not read yet.
struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn first(&mut self) -> Option<&'a str> {
        if self.words.is_empty() { None } else { Some(self.words.remove(0)) }
    }

    fn value<T>(
        &mut self,
        what: &str,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let word = self.first().ok_or_else(|| format!("{what} is missing, as in {example}"))?;
        read(word)
    }

    /// The time after a word, if the word is there.
    fn optional(&mut self, word: &str, example: &str) -> Result<Option<i32>, String> {
        if self.words.first() != Some(&word) {
            return Ok(None);
        }
        self.first();
        self.value(&format!("the time after {word:?}"), example, duration).map(Some)
    }

    fn required(&mut self, word: &str, example: &str) -> Result<i32, String> {
        self.optional(word, example)?
            .ok_or_else(|| format!("{word:?} with a time is missing, as in {example}"))
    }

    fn lifetime(&mut self) -> Result<Event, String> {
        let example = "lifetime 90d -> 47d at 10d over 30d";
        let from = self.value("the lifetime until then", example, duration)?;
        match self.first() {
            Some("->" | "→") => {}
            _ => return Err(format!("\"->\" between the two lifetimes is missing, as in {example}")),
        }
        let to = self.value("the new lifetime", example, duration)?;
        let at = self.required("at", example)?;
        let over = self.optional("over", example)?.unwrap_or(0);
        for lifetime in [from, to] {
            if lifetime < 3_600 {
                return Err(format!("a lifetime of {} is shorter than 1h", duration_text(lifetime)));
            }
        }
        Ok(Event::Lifetime { from, to, at, over })
    }
}

fn positive(time: i32, what: &str) -> Result<i32, String> {
    if time > 0 { Ok(time) } else { Err(format!("{what} of 0s does nothing")) }
}

fn per_day(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a growth like 1%/d");
    share(text.strip_suffix("/d").ok_or_else(wrong)?).map_err(|_| wrong())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: &i32| duration_text(*seconds);
        match self {
            Self::Outage { at, lasts } => write!(f, "outage {} at {}", time(lasts), time(at)),
            Self::Revoke { at, share } => write!(f, "revoke {} at {}", share_text(*share), time(at)),
            Self::Lifetime { from, to, at, over } => {
                write!(f, "lifetime {} -> {} at {}", time(from), time(to), time(at))?;
                if *over > 0 { write!(f, " over {}", time(over)) } else { Ok(()) }
            }
            Self::Growth { at, share } => {
                write!(f, "growth {}/d", share_text(*share))?;
                if *at > 0 { write!(f, " at {}", time(at)) } else { Ok(()) }
            }
            Self::Limit { at, lasts, rate } => {
                write!(f, "limit {}", rate_text(*rate))?;
                if *at > 0 {
                    write!(f, " at {}", time(at))?;
                }
                lasts.map_or(Ok(()), |lasts| write!(f, " for {}", time(&lasts)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::DAY;

    #[test]
    fn events_are_read_as_people_write_them() {
        for (text, event) in [
            ("outage 6h at 3d", Event::Outage { at: 3 * DAY, lasts: 21_600 }),
            ("  outage   90m  at 0s ", Event::Outage { at: 0, lasts: 5_400 }),
            ("revoke 10% at 5d", Event::Revoke { at: 5 * DAY, share: 100_000 }),
            (
                "lifetime 90d -> 47d at 10d over 30d",
                Event::Lifetime { from: 90 * DAY, to: 47 * DAY, at: 10 * DAY, over: 30 * DAY },
            ),
            (
                "lifetime 90d → 47d at 10d",
                Event::Lifetime { from: 90 * DAY, to: 47 * DAY, at: 10 * DAY, over: 0 },
            ),
            ("growth 1%/d", Event::Growth { at: 0, share: 10_000 }),
            ("growth 0.5%/d at 5d", Event::Growth { at: 5 * DAY, share: 5_000 }),
            ("limit 300/s", Event::Limit { at: 0, lasts: None, rate: 300_000 }),
            ("limit 300/s at 2d for 6h", Event::Limit { at: 2 * DAY, lasts: Some(21_600), rate: 300_000 }),
        ] {
            assert_eq!(text.parse(), Ok(event), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_event_is_named() {
        for (text, part) in [
            ("", "is empty; events are outage 6h at 3d"),
            ("flood 6h at 3d", "\"flood\" is not an event; events are outage 6h at 3d"),
            ("outage", "how long is missing, as in outage 6h at 3d"),
            ("outage 6x at 3d", "\"6x\" is not a time like 30s"),
            ("outage 0s at 3d", "an outage of 0s does nothing"),
            ("outage 6h", "\"at\" with a time is missing, as in outage 6h at 3d"),
            ("outage 6h at", "the time after \"at\" is missing"),
            ("outage 6h on 3d", "\"at\" with a time is missing"),
            (
                "outage 6h at 3d over 2d",
                "\"over\" is not expected here; an event like this is outage 6h at 3d",
            ),
            ("revoke 10 at 5d", "\"10\" is not a share like 10%"),
            ("revoke 110% at 5d", "\"110%\" is not a share like 10%"),
            ("lifetime 90d 47d at 10d", "\"->\" between the two lifetimes is missing"),
            ("lifetime 90d -> 47d", "\"at\" with a time is missing"),
            ("lifetime 90d -> 5m at 1d", "a lifetime of 5m is shorter than 1h"),
            ("growth 1%", "\"1%\" is not a growth like 1%/d"),
            ("growth -1%/d", "\"-1%/d\" is not a growth like 1%/d"),
            ("limit 300", "\"300\" is not a rate like 300/s"),
            ("limit 300/s for 0s", "a limit of 0s does nothing"),
        ] {
            let error = text.parse::<Event>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.starts_with(&format!("event {text:?}: ")), "{error}");
        }
    }

    #[test]
    fn an_event_of_a_running_fleet_begins_now_if_no_other_time_is_given() {
        let now = DAY + 5;
        for (text, event) in [
            ("outage 10m", Event::Outage { at: now, lasts: 600 }),
            ("outage 10m at 2d", Event::Outage { at: 2 * DAY, lasts: 600 }),
            ("revoke 10% at 3s", Event::Revoke { at: now, share: 100_000 }),
            ("limit 300/s for 2h", Event::Limit { at: now, lasts: Some(7_200), rate: 300_000 }),
            (
                "lifetime 90d -> 47d over 30d",
                Event::Lifetime { from: 90 * DAY, to: 47 * DAY, at: now, over: 30 * DAY },
            ),
            ("growth 1%/d", Event::Growth { at: now, share: 10_000 }),
        ] {
            assert_eq!(Event::live(text, now), Ok(event), "{text}");
        }
        for (text, part) in
            [("", "is empty"), ("flood 1h", "\"flood\" is not an event"), ("outage", "is not a time")]
        {
            let error = Event::live(text, now).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let time = 0..400 * DAY;
        let length = 1..40 * DAY;
        let share = 1u32..=1_000_000;
        prop_oneof![
            (time.clone(), length.clone()).prop_map(|(at, lasts)| Event::Outage { at, lasts }),
            (time.clone(), share.clone()).prop_map(|(at, share)| Event::Revoke { at, share }),
            (3_600..400 * DAY, 3_600..400 * DAY, time.clone(), 0..40 * DAY)
                .prop_map(|(from, to, at, over)| Event::Lifetime { from, to, at, over }),
            (time.clone(), share).prop_map(|(at, share)| Event::Growth { at, share }),
            (time, proptest::option::of(length), 1u64..1_000_000_000)
                .prop_map(|(at, lasts, rate)| Event::Limit { at, lasts, rate }),
        ]
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_written(event in any_event()) {
            prop_assert_eq!(event.to_string().parse(), Ok(event));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(outage|revoke|lifetime|growth|limit)?[ a-z0-9%/>.-]{0,30}") {
            let _ = text.parse::<Event>();
        }
    }
}
