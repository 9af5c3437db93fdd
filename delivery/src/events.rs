//! Warnings and errors of this process, as records.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use wec_record::{Event, Level};
use wec_startup::{Warning, Warnings};

use crate::{Entry, Sink};

/// How often warnings are delivered, those with an equal cause as one event.
const EVERY: Duration = Duration::from_secs(1);

/// Delivers what this process warns of until it is dropped; the rest by [`Sink::push_warnings`].
pub async fn deliver_warnings(warnings: &Warnings, sink: &dyn Sink) -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sink.push_warnings(warnings);
    }
}

/// A warning as a record without node and number.
pub fn event_of(warning: Warning) -> Event {
    Event {
        node: String::new(),
        seq: 0,
        at_unix_ns: warning.last_unix_ns,
        first_unix_ns: warning.first_unix_ns,
        level: if warning.is_error { Level::Error } else { Level::Warn },
        target: warning.target.to_owned(),
        text: warning.text,
        count: warning.count,
    }
}

pub(crate) fn entries(warnings: &Warnings) -> impl Iterator<Item = Entry> {
    warnings.take().into_iter().map(|warning| Entry::Event(Box::new(event_of(warning))))
}
