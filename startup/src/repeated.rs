//! Warnings and errors with a repeated cause are logged once, then counted, and logged again at growing intervals
//! with the count.
//!
//! A load tester meets the same cause thousands of times. The cause of a line is where it is logged, its message and
//! its `error`, `reason` or `why`; parts that vary (numbers, ids, generated names) are left out.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The least time from one line of a cause to the next, for the first, second and later repetitions.
const INTERVALS: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(30)];
/// A cause that did not occur for this long counts as new.
const QUIET: Duration = Duration::from_mins(5);
/// Most causes that are separate; beyond, those of one place in the source count as one.
const MOST: usize = 512;
/// Most bytes of a cause.
const LONGEST: usize = 300;

/// Causes of this process: all lines go to one standard error.
static CAUSES: Mutex<Option<Causes>> = Mutex::new(None);

/// A format that leaves out lines whose cause was logged recently.
pub(crate) struct Counted<F>(pub(crate) F);

impl<S, N, F> FormatEvent<S, N> for Counted<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // A greater level has more detail.
        if *event.metadata().level() > Level::WARN {
            return self.0.format_event(context, writer, event);
        }
        let cause = Cause::of(event);
        let mut causes = CAUSES.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = causes.get_or_insert_default().met(cause, now());
        drop(causes);
        match shown {
            None => Ok(()),
            Some(0) => self.0.format_event(context, writer, event),
            Some(others) => {
                let mut line = String::new();
                self.0.format_event(context, Writer::new(&mut line), event)?;
                writeln!(writer, "{} ({others} more since the last such line)", line.trim_end())
            }
        }
    }
}

/// What was counted and not logged, one line each; for the end of a program.
pub(crate) fn left_over() -> Vec<String> {
    let causes = CAUSES.lock().unwrap_or_else(PoisonError::into_inner).take();
    causes.map_or_else(Vec::new, Causes::left_over)
}

fn now() -> Duration {
    // Set at the first use; it only has to be constant within the process.
    static ORIGIN: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    ORIGIN.get_or_init(tokio::time::Instant::now).elapsed()
}

/// The cause of a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cause {
    /// Where it is logged.
    file: &'static str,
    line: u32,
    /// Message and reason, without the parts that vary.
    pub(crate) text: String,
}

impl Cause {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        Self {
            file: metadata.file().unwrap_or(metadata.target()),
            line: metadata.line().unwrap_or(0),
            text: wec_text::folded(&text.0, LONGEST),
        }
    }
}

#[cfg(test)]
impl Cause {
    pub(crate) fn at(file: &'static str, line: u32, text: &str) -> Self {
        Self { file, line, text: text.to_owned() }
    }
}

/// The fields that make a cause. Other fields name the object.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "message" | "error" | "reason" | "why") {
            let gap = if self.0.is_empty() { "" } else { ": " };
            let _ = write!(self.0, "{gap}{value:?}");
        }
    }
}

/// Known causes, and when each is logged again.
#[derive(Debug, Default)]
struct Causes(HashMap<Cause, Met>);

#[derive(Debug)]
struct Met {
    last: Duration,
    /// The earliest time of its next line.
    next: Duration,
    /// Place in [`INTERVALS`].
    interval: usize,
    /// Occurrences since the last line.
    unlogged: u64,
}

impl Causes {
    /// Whether to log a cause at `now`, and how often it occurred since its last line. Times are since a fixed
    /// origin.
    fn met(&mut self, mut cause: Cause, now: Duration) -> Option<u64> {
        if self.0.len() >= MOST && !self.0.contains_key(&cause) {
            cause.text.clear();
        }
        let Some(met) = self.0.get_mut(&cause) else {
            self.0.insert(cause, Met { last: now, next: now + INTERVALS[0], interval: 0, unlogged: 0 });
            return Some(0);
        };
        let quiet = now.saturating_sub(met.last) >= QUIET;
        met.last = now;
        if now < met.next && !quiet {
            met.unlogged += 1;
            return None;
        }
        met.interval = if quiet { 0 } else { (met.interval + 1).min(INTERVALS.len() - 1) };
        met.next = now + INTERVALS[met.interval];
        Some(std::mem::take(&mut met.unlogged))
    }

    fn left_over(self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .0
            .into_iter()
            .filter(|(_, met)| met.unlogged > 0)
            .map(|(cause, met)| format!("{} more of: {}", met.unlogged, cause.text))
            .collect();
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    fn cause(text: &str) -> Cause {
        Cause::at("here.rs", 1, text)
    }

    #[test]
    fn a_cause_is_logged_once_then_at_growing_intervals_with_the_count() {
        let mut causes = Causes::default();
        // Ten times a second for 20 minutes.
        let shown: Vec<_> = (0..12_000_u64)
            .filter_map(|tenth| {
                let now = Duration::from_millis(tenth * 100);
                Some((now.as_secs(), causes.met(cause("down"), now)?))
            })
            .collect();
        assert_eq!(shown, [(0, 0), (10, 99), (70, 599), (370, 2_999)]);
        assert_eq!(causes.left_over(), ["8299 more of: down"]);
    }

    #[test]
    fn a_cause_that_was_away_is_new_and_others_are_apart() {
        let mut causes = Causes::default();
        let minutes = |minutes| Duration::from_mins(minutes);
        assert_eq!(causes.met(cause("a"), minutes(0)), Some(0));
        assert_eq!(causes.met(cause("b"), minutes(0)), Some(0));
        assert_eq!(causes.met(cause("a"), Duration::from_secs(1)), None);
        assert_eq!(causes.met(cause("a"), minutes(10)), Some(1));
        assert_eq!(causes.met(cause("a"), minutes(10)), None);
        assert_eq!(causes.left_over(), ["1 more of: a"]);
    }

    #[test]
    fn causes_are_bounded() {
        let mut causes = Causes::default();
        let logged = (0..10_000).filter(|i| causes.met(cause(&format!("{i}")), Duration::ZERO).is_some());
        assert_eq!(logged.count(), MOST + 1);
        assert!(causes.0.len() <= MOST + 1);
    }

    /// The output, for the test to read.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn seven_hundred_warnings_of_one_cause_are_a_few_lines_that_count_them() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Counted(tracing_subscriber::fmt::format().compact().with_ansi(false)))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..700 {
                tracing::warn!(name = %format!("n{number}.wec.test"), error = "no answer", "not taken back");
                tracing::info!(number, "goes through");
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let (warnings, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains("WARN"));
        assert_eq!(others.len(), 700);
        // On a machine that takes more than ten seconds for this there is one more line.
        assert!(warnings.len() <= 4, "{warnings:#?}");
        assert!(warnings[0].contains("n0.wec.test"), "{warnings:#?}");
        let left = left_over().into_iter().find(|line| line.contains("not taken back")).unwrap();
        assert!(left.contains("more of: not taken back: \"no answer\""), "{left}");
    }
}
