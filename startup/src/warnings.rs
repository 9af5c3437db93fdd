//! Warnings of this process, for the log of its run: warnings and errors, those with an equal cause together.
//!
//! Warnings are kept only while they are gathered. What is kept is bounded: in number by [`MOST`] causes and the places
//! in the source that warn, in length by [`LONGEST`].

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use wec_clock::Clock;

use crate::redacted;
use crate::repeated::Cause;

/// Most causes that are separate until they are taken; beyond, those of one place in the source are one.
const MOST: usize = 100;
/// Most bytes of a text.
const LONGEST: usize = 500;

/// Warnings since they were taken last. Tracing has one subscriber for the process, hence the statics.
static KEPT: Mutex<BTreeMap<Cause, Warning>> = Mutex::new(BTreeMap::new());
static GATHERERS: AtomicUsize = AtomicUsize::new(0);
/// Those of them that take before others.
static FIRST: AtomicUsize = AtomicUsize::new(0);

/// Warnings or errors with an equal cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Whether they are errors.
    pub is_error: bool,
    /// The part of the program, such as `wec_store::state`.
    pub target: &'static str,
    /// The message with its fields, of the first of them, without passwords.
    pub text: String,
    /// How many.
    pub count: u64,
    /// When the first happened, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// When the last happened, nanoseconds since the Unix epoch.
    pub last_unix_ns: u64,
}

/// Gathers the warnings of this process while it exists.
#[derive(Debug)]
pub struct Warnings {
    first: bool,
}

impl Warnings {
    /// Gathers them.
    #[must_use]
    pub fn gather() -> Self {
        Self::begin(true)
    }

    /// As [`Self::gather`], but takes nothing while there is one made by that: a run in one process has a requester
    /// and analytics.
    #[must_use]
    pub fn gather_rest() -> Self {
        Self::begin(false)
    }

    fn begin(first: bool) -> Self {
        FIRST.fetch_add(usize::from(first), Ordering::Relaxed);
        GATHERERS.fetch_add(1, Ordering::Relaxed);
        Self { first }
    }

    /// Those since the last call.
    pub fn take(&self) -> Vec<Warning> {
        if !self.first && FIRST.load(Ordering::Relaxed) > 0 {
            return Vec::new();
        }
        let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
        kept.into_values().collect()
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        FIRST.fetch_sub(usize::from(self.first), Ordering::Relaxed);
        if GATHERERS.fetch_sub(1, Ordering::Relaxed) == 1 {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Keeps warnings and errors while somebody gathers them.
pub(crate) struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN || GATHERERS.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (cause, now) = (Cause::of(event), now());
        // Writing values may call their code, so it is done without the lock.
        let warning = Warning {
            is_error: *event.metadata().level() == Level::ERROR,
            target: event.metadata().target(),
            text: text_of(event),
            count: 1,
            first_unix_ns: now,
            last_unix_ns: now,
        };
        keep(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner), cause, warning);
    }
}

fn keep(kept: &mut BTreeMap<Cause, Warning>, mut cause: Cause, warning: Warning) {
    if kept.len() >= MOST && !kept.contains_key(&cause) {
        cause.text.clear();
    }
    match kept.get_mut(&cause) {
        Some(same) => {
            same.count += 1;
            same.last_unix_ns = same.last_unix_ns.max(warning.last_unix_ns);
        }
        None => drop(kept.insert(cause, warning)),
    }
}

fn now() -> u64 {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::start).unix_now_ns()
}

/// The message and its fields, without passwords.
fn text_of(event: &Event<'_>) -> String {
    let mut text = Text::default();
    event.record(&mut text);
    let Text { message, fields } = text;
    let mut shown = String::new();
    for word in (message + &fields).split_inclusive(char::is_whitespace) {
        let is_address = word.contains("://") || word.contains('@') || word.contains('=');
        shown.push_str(&if is_address { redacted(word) } else { word.to_owned() });
        if shown.len() > LONGEST {
            shown.truncate(shown.floor_char_boundary(LONGEST - '…'.len_utf8()));
            shown.push('…');
            break;
        }
    }
    shown
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The only test that gathers, because what is kept is of the process.
    #[test]
    fn what_a_process_warns_of_is_gathered_by_cause() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keeper), || {
            tracing::warn!("before anybody gathers");
            let rest = Warnings::gather_rest();
            let first = Warnings::gather();
            for number in 0..700 {
                tracing::warn!(number, error = "no answer", "not taken back");
                tracing::info!("not a warning");
            }
            tracing::error!("redis://wec:hunter2@db/0 does not answer; http://a.test/?token=hunter2 does");
            assert_eq!(rest.take(), [], "another one takes them");
            let taken = first.take();
            let [repeated, secret] = &taken[..] else { panic!("{taken:?}") };
            assert_eq!(repeated.text, "not taken back number=0 error=no answer");
            assert_eq!((repeated.is_error, repeated.count), (false, 700));
            assert!(repeated.first_unix_ns > 0 && repeated.first_unix_ns <= repeated.last_unix_ns);
            assert!(repeated.target.ends_with("warnings::tests"));
            assert_eq!(secret.text, "redis://wec:***@db/0 does not answer; http://a.test/?token=*** does");
            assert!(secret.is_error);
            assert_eq!(first.take(), []);
            tracing::warn!("{}", "long ".repeat(1_000));
            drop(first);
            let long = rest.take();
            assert!(long[0].text.len() <= LONGEST && long[0].text.ends_with('…'), "{long:?}");
            tracing::warn!("at the end");
            drop(rest);
            tracing::warn!("after everybody");
            assert_eq!(Warnings::gather().take(), []);
        });
    }

    #[test]
    fn causes_are_bounded() {
        let warning = Warning {
            is_error: false,
            target: "t",
            text: "t".to_owned(),
            count: 1,
            first_unix_ns: 1,
            last_unix_ns: 1,
        };
        let mut kept = BTreeMap::new();
        for number in 0..10_000 {
            keep(&mut kept, Cause::at("here.rs", 1, &format!("{number}")), warning.clone());
        }
        assert_eq!(kept.len(), MOST + 1);
        assert_eq!(kept.values().map(|warning| warning.count).sum::<u64>(), 10_000);
    }
}
