//! What the terminal shows while a run is on: a bar and figures, or plain lines when it is no terminal.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use wec_analytics::{Analytics, FailureScope, Snapshot};
use wec_requester::Workload;
use wec_startup::{Stop, say};

const EVERY: Duration = Duration::from_secs(1);
/// Plain lines come less often: they stay.
const PLAIN_EVERY: u64 = 5;

/// Said while workers have nothing to run.
const IDLE: &str = "idle: limits and weights allow nothing more with what is stored";

/// What is shown.
pub(crate) struct Setting {
    /// Nothing while running.
    pub(crate) quiet: bool,
    /// The CA's directory.
    pub(crate) target: String,
    /// Where the page is.
    pub(crate) page: Option<SocketAddr>,
    /// Lines for people.
    pub(crate) notes: Vec<String>,
    /// How long the run takes.
    pub(crate) run_time: Duration,
}

/// The live view. It goes to standard error: standard output belongs to the summary.
pub(crate) struct Progress {
    setting: Setting,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Shows what is about to run, and where its page is.
    pub(crate) fn start(setting: Setting) -> Self {
        if !setting.quiet {
            for note in &setting.notes {
                say(note);
            }
            say(format_args!("target  {}", setting.target));
            if let Some(page) = setting.page {
                say(format_args!("page    http://{page}/"));
            }
        }
        let terminal = std::io::stderr().is_terminal() && !setting.quiet;
        let bar = terminal.then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(setting.run_time.as_secs()), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:32.cyan/dim} {prefix}\n{msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { setting, bar, started: Instant::now() }
    }

    /// Keeps the view up to date for as long as it is polled.
    pub(crate) async fn watch(&self, analytics: &Analytics, workload: Workload, stop: &Stop) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut before = Figures::default();
        let mut pulse = Pulse::of(&workload);
        for tick in 1u64.. {
            ticks.tick().await;
            let last = std::mem::replace(&mut pulse, Pulse::of(&workload));
            if self.setting.quiet || (self.bar.is_none() && tick % PLAIN_EVERY != 0) {
                continue;
            }
            let elapsed = self.started.elapsed();
            let idle = pulse.is_idle_since(last);
            let now = Figures { idle, ..Figures::of(&analytics.snapshot(), &workload, elapsed) };
            self.show(&now, &before, stop);
            before = now;
        }
        std::future::pending().await
    }

    /// Takes the view away; what it showed last is in the summary.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, now: &Figures, before: &Figures, stop: &Stop) {
        let (elapsed, whole) = (now.elapsed.as_secs(), self.setting.run_time.as_secs());
        match &self.bar {
            Some(bar) => {
                bar.set_position(elapsed.min(whole));
                bar.set_prefix(if stop.finish.is_cancelled() {
                    "finishing running chains; Ctrl-C again interrupts them".to_owned()
                } else {
                    format!("{elapsed} s of {whole} s; Ctrl-C finishes early")
                });
                bar.set_message(now.block(before));
            }
            None => say(format_args!("{elapsed:>4} s  {}", now.line(before))),
        }
    }
}

/// What the workers have done so far, to tell those that run chains from those that only ask.
#[derive(Clone, Copy, Debug, Default)]
struct Pulse {
    iterations: u64,
    idle: u64,
    busy: u64,
}

impl Pulse {
    fn of(gauges: &Workload) -> Self {
        Self { iterations: gauges.iterations(), idle: gauges.idle(), busy: gauges.busy() }
    }

    /// Whether every worker only asked for something to run since `before`, and none found any.
    const fn is_idle_since(self, before: Self) -> bool {
        self.busy == 0 && self.idle > before.idle && self.iterations == before.iterations
    }
}

/// What one look at a run found.
#[derive(Clone, Debug, Default)]
struct Figures {
    elapsed: Duration,
    workers: u64,
    target: Option<u32>,
    /// Whether no worker found anything to run lately.
    idle: bool,
    chains: u64,
    failed: u64,
    requests: u64,
    registrations: u64,
    authorizations: u64,
    certificates: u64,
    revoked: u64,
    failure: Option<String>,
}

impl Figures {
    fn of(snapshot: &Snapshot, gauges: &Workload, elapsed: Duration) -> Self {
        // A request that failed and was retried is no trouble yet; a chain that failed is.
        let trouble = snapshot.failures.iter().find(|failure| failure.scope == FailureScope::Chain);
        let failure =
            trouble.map(|failure| format!("{} × {}: {}", failure.count, failure.name, failure.example));
        Self {
            elapsed,
            workers: gauges.workers(),
            target: snapshot.workers_target,
            idle: false,
            chains: snapshot.chains.values().map(|chain| chain.count).sum(),
            failed: snapshot.chains.values().map(|chain| chain.failed).sum(),
            requests: snapshot.requests,
            registrations: snapshot.state.registrations,
            authorizations: snapshot.state.authorizations,
            certificates: snapshot.state.certificates,
            revoked: snapshot.state.revoked,
            failure,
        }
    }

    /// Chains and requests a second since `before`.
    fn rates(&self, before: &Self) -> (f64, f64) {
        let seconds = (self.elapsed.saturating_sub(before.elapsed)).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        (rate(self.chains, before.chains), rate(self.requests, before.requests))
    }

    fn failures(&self) -> String {
        if self.chains == 0 {
            return "0 failed".to_owned();
        }
        format!("{} failed ({:.1} %)", self.failed, 100.0 * self.failed as f64 / self.chains as f64)
    }

    fn workers(&self) -> String {
        match self.target {
            Some(target) => format!("{} of {target} workers", self.workers),
            None => format!("{} workers", self.workers),
        }
    }

    fn line(&self, before: &Self) -> String {
        let (chains, requests) = self.rates(before);
        let mut line = format!(
            "{}  {chains:.0} chains/s  {requests:.0} requests/s  {} chains  {}  {} certificates",
            self.workers(),
            self.chains,
            self.failures(),
            self.certificates,
        );
        if self.idle {
            line.push_str("  ");
            line.push_str(IDLE);
        }
        line
    }

    fn block(&self, before: &Self) -> String {
        let (chains, requests) = self.rates(before);
        let mut block = format!(
            "  load    {}   {chains:.0} chains/s   {requests:.0} requests/s\n  chains  {} ended   {}\n  state   {} registrations   {} authorizations   {} certificates   {} revoked",
            self.workers(),
            self.chains,
            self.failures(),
            self.registrations,
            self.authorizations,
            self.certificates,
            self.revoked,
        );
        if self.idle {
            block.push_str("\n  ");
            block.push_str(IDLE);
        }
        if let Some(failure) = &self.failure {
            let short: String = failure.chars().take(100).collect();
            block.push_str(&format!("\n  trouble {short}"));
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_since_the_last_look() {
        let before =
            Figures { elapsed: Duration::from_secs(10), chains: 100, requests: 1_000, ..Figures::default() };
        let now = Figures {
            elapsed: Duration::from_secs(15),
            chains: 350,
            failed: 7,
            requests: 3_000,
            workers: 50,
            certificates: 90,
            ..Figures::default()
        };
        assert_eq!(
            now.line(&before),
            "50 workers  50 chains/s  400 requests/s  350 chains  7 failed (2.0 %)  90 certificates"
        );
    }

    #[test]
    fn a_run_whose_workers_find_nothing_to_run_says_so() {
        let before = Pulse { iterations: 21, idle: 100, busy: 0 };
        let asked = Pulse { idle: 150, ..before };
        assert!(asked.is_idle_since(before));
        assert!(!Pulse { iterations: 22, ..asked }.is_idle_since(before), "one had something to run");
        assert!(!Pulse { busy: 1, ..asked }.is_idle_since(before), "one waits for the CA");
        assert!(!before.is_idle_since(before), "nobody asked");
        let shown = Figures { idle: true, ..Figures::default() };
        assert!(shown.line(&Figures::default()).ends_with(IDLE));
        assert!(shown.block(&Figures::default()).ends_with(IDLE));
    }

    #[test]
    fn a_run_without_chains_has_no_share_of_failures() {
        assert_eq!(Figures::default().failures(), "0 failed");
    }
}
