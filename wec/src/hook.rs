//! Hooks: local commands that run at a time of the run, or when a threshold fails. For drills: stop a
//! database, roll a CA.
//!
//! A hook belongs to the command line of this machine, and never to a scenario file or a session.

use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_analytics::{Analytics, Ingest};
use wec_record::{Event, Level, Mark, MarkBy, MarkValue, MarkWhat, Record};
use wec_startup::say;

/// How often thresholds are looked at, if a hook waits for one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long commands may run after the run has ended.
const AFTER: Duration = Duration::from_secs(10);
/// The part of a command's output that is kept, bytes. Events are not longer.
const OUTPUT: usize = 400;

/// A command and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
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

/// Runs the hooks of a run that has begun, until it has `ended`. Each leaves a mark and an event in its log.
pub(crate) async fn run(hooks: &[Hook], analytics: &Analytics, clock: Clock, ended: CancellationToken) {
    let mut running = JoinSet::new();
    let began = tokio::time::Instant::now();
    let mut waiting: Vec<&Hook> = hooks.iter().collect();
    while !waiting.is_empty() {
        let looks = waiting.iter().any(|hook| hook.when == When::OnThreshold);
        let failed = looks && analytics.snapshot().thresholds.iter().any(|one| one.passed == Some(false));
        let is_due = |hook: &&Hook| match hook.when {
            When::At(time) => began.elapsed() >= time,
            When::OnThreshold => failed,
        };
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        for hook in due {
            running.spawn(carry_out(hook.command.clone(), analytics.ingest(), clock));
        }
        waiting = later;
        let next = waiting.iter().filter_map(|hook| match hook.when {
            When::At(time) => Some(began + time),
            When::OnThreshold => None,
        });
        let look = looks.then(|| tokio::time::Instant::now() + LOOK_EVERY);
        let Some(next) = next.chain(look).min() else { break };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = ended.cancelled() => break,
        }
    }
    for hook in waiting {
        say(format_args!("warning: the run ended before the hook {:?}", hook.command));
    }
    ended.cancelled().await;
    let all = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(AFTER, all).await.is_err() {
        say("warning: a hook still runs after the end of the run, and is ended");
    }
}

/// Runs a command by the shell, and writes what became of it into the log.
async fn carry_out(command: String, ingest: Ingest, clock: Clock) {
    say(format_args!("hook: {command}"));
    let began = clock.unix_now_ns();
    let mark = Mark::new(began, MarkBy::Hook, MarkWhat::Note, MarkValue::Text(command.clone()));
    // Only analytics that has ended returns the record.
    let _ = ingest.deliver(vec![Record::Mark(mark)]).await;
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
    let _ = ingest.deliver(vec![Record::Event(event)]).await;
}

#[cfg(test)]
mod tests {
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
}
