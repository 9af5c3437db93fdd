//! Hooks: local commands that run at a time of the run, or when a threshold fails. For drills: stop a
//! database, roll a CA.
//!
//! A hook belongs to the configuration of this machine, and never to a scenario file or a session.

use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_record::{Event, Level, Mark, MarkBy, MarkValue, MarkWhat, Record};
use wec_startup::say;

use crate::executor::BoxFuture;

/// How often thresholds are looked at, if a hook waits for one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long commands may run after the run has ended.
const AFTER: Duration = Duration::from_secs(10);
/// A hook that was due this long ago is still run: nodes of a run begin one after the other.
const GRACE: Duration = Duration::from_secs(5);
/// The part of a command's output that is kept, bytes. Events are not longer.
const OUTPUT: usize = 400;

/// A command and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    when: When,
    command: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// This long after the run began.
    At(Duration),
    /// When a threshold fails for the first time.
    OnThreshold,
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is neither 'at TIME: COMMAND' nor 'on threshold: COMMAND'");
        let (when, command) = text.split_once(':').ok_or_else(form)?;
        let when = match when.trim().split_once(' ') {
            Some(("at", time)) => {
                let time = humantime::parse_duration(time.trim());
                When::At(time.map_err(|error| format!("{text:?}: the time: {error}"))?)
            }
            Some(("on", what)) if what.trim() == "threshold" => When::OnThreshold,
            _ => return Err(form()),
        };
        let command = command.trim().to_owned();
        if command.is_empty() { Err(form()) } else { Ok(Self { when, command }) }
    }
}

/// Takes the records of hooks: a mark at the start of a command, and an event with its output at the end.
pub trait HookLog: Send + Sync + 'static {
    /// Writes a record into the log of the run.
    fn log(&self, record: Record) -> BoxFuture<'_, ()>;
}

/// A run with hooks.
pub struct HookedRun<'a> {
    /// Where their records go.
    pub log: Arc<dyn HookLog>,
    /// Whether a threshold of the run has failed.
    pub threshold_failed: &'a (dyn Fn() -> bool + Sync),
    /// The run's clock.
    pub clock: Clock,
    /// How long ago the run began. Hooks that were due long before now are left out: an earlier process of this node
    /// has run them, or they belong to a part of the run in which it did not take part.
    pub ago: Duration,
    /// Cancelled when the last iteration has ended.
    pub ended: CancellationToken,
}

/// Runs hooks until the end of a run that has begun.
pub async fn run_hooks(hooks: &[Hook], run: HookedRun<'_>) {
    let HookedRun { log, threshold_failed, clock, ago, ended } = run;
    let mut running = JoinSet::new();
    let now = tokio::time::Instant::now();
    let mut waiting: Vec<(&Hook, Option<tokio::time::Instant>)> =
        hooks.iter().filter_map(|hook| Some((hook, hook.when.after(ago)?.map(|left| now + left)))).collect();
    let mut last = false;
    while !waiting.is_empty() {
        let looks = waiting.iter().any(|(_, at)| at.is_none());
        let failed = looks && threshold_failed();
        let now = tokio::time::Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, at)| at.map_or(failed, |at| at <= now));
        for (hook, _) in due {
            running.spawn(carry_out(hook.command.clone(), Arc::clone(&log), clock));
        }
        waiting = later;
        if last {
            break;
        }
        let look = looks.then(|| now + LOOK_EVERY);
        let Some(next) = waiting.iter().filter_map(|(_, at)| *at).chain(look).min() else { break };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            // A threshold may have ended the run.
            () = ended.cancelled() => last = true,
        }
    }
    for (hook, _) in waiting {
        say(format_args!("warning: the run ended before the hook {:?}", hook.command));
    }
    ended.cancelled().await;
    let all = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(AFTER, all).await.is_err() {
        say("warning: a hook still runs after the end of the run, and is ended");
    }
}

impl When {
    /// The time left in a run that began `ago`; within, none for a hook without a time. None if it has passed.
    fn after(self, ago: Duration) -> Option<Option<Duration>> {
        match self {
            Self::At(time) => (time + GRACE).checked_sub(ago).map(|left| Some(left.saturating_sub(GRACE))),
            Self::OnThreshold => Some(None),
        }
    }
}

/// Runs a command by the shell, and writes what became of it into the log.
async fn carry_out(command: String, to: Arc<dyn HookLog>, clock: Clock) {
    say(format_args!("hook: {command}"));
    let began = clock.unix_now_ns();
    let mark = Mark::new(began, MarkBy::Hook, MarkWhat::Note, MarkValue::Text(command.clone()));
    to.log(Record::Mark(mark)).await;
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &command]).stdin(Stdio::null()).kill_on_drop(true);
    let (failed, text) = match shell.output().await {
        Ok(output) => {
            let mut all = output.stdout;
            all.extend(output.stderr);
            let all = String::from_utf8_lossy(&all).trim().to_owned();
            let cut = all.chars().take(OUTPUT).collect::<String>();
            let said = if cut.is_empty() { String::new() } else { format!(": {cut}") };
            (!output.status.success(), format!("hook {command:?} ended with {}{said}", output.status))
        }
        Err(error) => (true, format!("hook {command:?} cannot be run: {error}")),
    };
    say(&text);
    let event = Event {
        node: "hook".to_owned(),
        at_unix_ns: clock.unix_now_ns(),
        first_unix_ns: began,
        level: if failed { Level::Error } else { Level::Warn },
        target: "wec::hook".to_owned(),
        text,
        count: 1,
        ..Event::default()
    };
    to.log(Record::Event(event)).await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use tokio::sync::watch;

    use super::*;

    #[test]
    fn a_hook_is_a_time_or_a_threshold_and_a_command() {
        let hook = |text: &str| text.parse::<Hook>();
        let stop = "systemctl stop postgresql".to_owned();
        let at = Hook { when: When::At(Duration::from_secs(300)), command: stop.clone() };
        assert_eq!(hook("at 5m: systemctl stop postgresql"), Ok(at));
        let on = Hook { when: When::OnThreshold, command: "curl http://a:1/".to_owned() };
        assert_eq!(hook(" on threshold : curl http://a:1/"), Ok(on));
        for text in ["", "at 5m", "at 5m:", "at soon: x", "on error: x", "5m: x"] {
            assert!(hook(text).unwrap_err().contains(&format!("{text:?}")), "{text}");
        }
    }

    #[test]
    fn a_process_that_comes_back_does_not_repeat_hooks() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let cases = [
            (When::At(minutes(5)), 0, Some(Some(minutes(5)))),
            (When::At(minutes(5)), 3, Some(Some(minutes(2)))),
            (When::At(Duration::from_secs(178)), 3, Some(Some(Duration::ZERO))),
            (When::At(minutes(5)), 6, None),
            (When::OnThreshold, 6, Some(None)),
        ];
        for (when, ago, left) in cases {
            assert_eq!(when.after(minutes(ago)), left, "{when:?} of a run that began {ago} min ago");
        }
    }

    /// The marks and events of hooks. Paused time does not advance while a command runs.
    #[derive(Default)]
    struct Kept {
        records: watch::Sender<Vec<Record>>,
        running: Mutex<Vec<mpsc::Sender<()>>>,
    }

    impl HookLog for Kept {
        fn log(&self, record: Record) -> BoxFuture<'_, ()> {
            let mut running = self.running.lock().unwrap();
            if matches!(record, Record::Mark(_)) {
                let (held, over) = mpsc::channel();
                tokio::task::spawn_blocking(move || over.recv());
                running.push(held);
            } else {
                running.pop();
            }
            self.records.send_modify(|records| records.push(record));
            Box::pin(std::future::ready(()))
        }
    }

    impl Kept {
        /// Waits for the event of this many commands that have ended.
        async fn ended(&self, commands: usize) {
            let is_event = |record: &&Record| matches!(record, Record::Event(_));
            let mut records = self.records.subscribe();
            let all = records.wait_for(|records| records.iter().filter(is_event).count() == commands);
            drop(all.await.unwrap());
        }

        /// When each command began, nanoseconds since `zero_unix_ns`, and what it was.
        fn began(&self, zero_unix_ns: u64) -> Vec<(Duration, String)> {
            let records = self.records.borrow();
            let marks = records.iter().filter_map(|record| match record {
                Record::Mark(Mark { at_unix_ns, to: MarkValue::Text(command), .. }) => {
                    Some((Duration::from_nanos(at_unix_ns - zero_unix_ns), command.clone()))
                }
                _ => None,
            });
            marks.collect()
        }

        /// The level and the text of each event.
        fn events(&self) -> Vec<(Level, String)> {
            let records = self.records.borrow();
            let events = records.iter().filter_map(|record| match record {
                Record::Event(Event { level, text, .. }) => Some((*level, text.clone())),
                _ => None,
            });
            events.collect()
        }
    }

    fn hooks<const N: usize>(texts: [&str; N]) -> [Hook; N] {
        texts.map(|text| text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_run_at_their_time_and_once_when_a_threshold_fails() {
        let (log, clock, ended) = (Arc::<Kept>::default(), Clock::start(), CancellationToken::new());
        let fails = tokio::time::Instant::now() + Duration::from_millis(90_500);
        let hooks =
            hooks(["at 9h: echo never", "at 5m: echo begins", "on threshold: echo $((6 * 7)); exit 3"]);
        let run = HookedRun {
            log: Arc::clone(&log) as _,
            threshold_failed: &|| tokio::time::Instant::now() >= fails,
            clock,
            ago: Duration::ZERO,
            ended: ended.clone(),
        };
        let end = async {
            log.ended(2).await;
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            ended.cancel();
        };
        tokio::join!(run_hooks(&hooks, run), end);
        let expected = [(91, "echo $((6 * 7)); exit 3"), (300, "echo begins")];
        let expected = expected.map(|(at, command)| (Duration::from_secs(at), command.to_owned()));
        assert_eq!(log.began(clock.origin_unix_ns()), expected);
        let [(alarm, said), (drill, told)] = &log.events()[..] else { panic!("{:?}", log.events()) };
        assert_eq!((alarm, drill), (&Level::Error, &Level::Warn));
        assert!(said.contains("exit status: 3: 42"), "{said}");
        assert!(told.contains("exit status: 0: begins"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_threshold_that_ends_the_run_has_its_hook() {
        let (log, ended) = (Arc::<Kept>::default(), CancellationToken::new());
        let failed = ended.clone();
        let run = HookedRun {
            log: Arc::clone(&log) as _,
            threshold_failed: &|| failed.is_cancelled(),
            clock: Clock::start(),
            ago: Duration::ZERO,
            ended: ended.clone(),
        };
        let end = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            ended.cancel();
        };
        let hooks = hooks(["on threshold: echo 42"]);
        tokio::join!(run_hooks(&hooks, run), end);
        assert!(log.events()[0].1.contains("exit status: 0: 42"), "{:?}", log.events());
    }
}
