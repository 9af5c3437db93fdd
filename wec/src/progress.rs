//! What the terminal shows while a run is on: a bar and figures, or plain lines when it is no terminal.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use wec_analytics::{Analytics, FailureScope, NonceFigures, ScenarioFigures, Snapshot, time_text};
use wec_record::{Chain, FailureClass};
use wec_requester::Workload;
use wec_startup::{Stop, say};

const EVERY: Duration = Duration::from_secs(1);
/// Plain lines come less often: they stay.
const PLAIN_EVERY: u64 = 5;

/// Said while workers have nothing to run.
const IDLE: &str = "idle: limits and weights allow nothing more with what is stored";

/// Said while the load tester itself does not keep up.
const LIMITED: &str = "generator-limited: the load tester itself does not keep up; the summary says in what";

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
    /// What whoever steers the run is doing; empty when nobody does.
    status: Mutex<String>,
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
        Self { setting, bar, started: Instant::now(), status: Mutex::default() }
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
            let status = self.status();
            let now = Figures { idle, status, ..Figures::of(&analytics.snapshot(), &workload, elapsed) };
            self.show(&now, &before, stop);
            before = now;
        }
        std::future::pending().await
    }

    /// A line that stays, above the view.
    pub(crate) fn tell(&self, line: &str) {
        match &self.bar {
            _ if self.setting.quiet => {}
            Some(bar) => bar.println(line),
            None => say(line),
        }
    }

    /// What is being done now, shown from the next look on.
    pub(crate) fn set_status(&self, status: &str) {
        status.clone_into(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn status(&self) -> String {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
                } else if !now.status.is_empty() {
                    format!("{elapsed} s, at most {whole} s; Ctrl-C finishes early")
                } else {
                    let left = whole.saturating_sub(elapsed);
                    format!("{elapsed} s of {whole} s, {left} s left; Ctrl-C finishes early")
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
    /// What whoever steers the run is doing.
    status: String,
    workers: u64,
    busy: u64,
    /// What is wanted of each scenario, and what is reached of it.
    loads: Vec<String>,
    /// Whether no worker found anything to run lately.
    idle: bool,
    chains: u64,
    failed: u64,
    /// Failed chains by class, most frequent first.
    classes: Vec<(FailureClass, u64)>,
    /// Chains with a median to show: name, median, 99th percentile, nanoseconds.
    times: Vec<(Chain, u64, Option<u64>)>,
    requests: u64,
    nonces: NonceFigures,
    registrations: u64,
    authorizations: u64,
    certificates: u64,
    revoked: u64,
    /// Certificates issued so far, revoked and replaced ones among them.
    issued: u64,
    failure: Option<String>,
    /// Whether the load tester itself is the limit now.
    limited: bool,
}

impl Figures {
    fn of(snapshot: &Snapshot, workload: &Workload, elapsed: Duration) -> Self {
        // A request that failed and was retried is no trouble yet; a chain that failed is.
        let trouble = snapshot.failures.iter().find(|failure| failure.scope == FailureScope::Chain);
        let failure =
            trouble.map(|failure| format!("{} × {}: {}", failure.count, failure.name, failure.example));
        let mut classes = BTreeMap::new();
        for (class, count) in snapshot.chains.values().flat_map(|chain| &chain.classes) {
            *classes.entry(*class).or_default() += count;
        }
        let mut classes: Vec<(FailureClass, u64)> = classes.into_iter().collect();
        classes.sort_by_key(|(_, count)| Reverse(*count));
        let times = snapshot.chains.iter().filter_map(|(chain, figures)| {
            let times = &figures.response_time_ns;
            Some((*chain, times.p50?, times.p99))
        });
        let several = snapshot.scenarios.len() > 1;
        let succeeded = |chain: Chain| {
            snapshot.chains.get(&chain).map_or(0, |chain| chain.count.saturating_sub(chain.failed))
        };
        Self {
            elapsed,
            status: String::new(),
            workers: workload.workers(),
            busy: workload.busy(),
            loads: snapshot
                .scenarios
                .iter()
                .map(|(name, scenario)| load(several.then_some(name), scenario))
                .collect(),
            idle: false,
            chains: snapshot.chains.values().map(|chain| chain.count).sum(),
            failed: snapshot.chains.values().map(|chain| chain.failed).sum(),
            classes,
            times: times.collect(),
            requests: snapshot.requests,
            nonces: snapshot.nonces.clone(),
            registrations: snapshot.state.registrations,
            authorizations: snapshot.state.authorizations,
            certificates: snapshot.state.certificates,
            revoked: snapshot.state.revoked,
            issued: succeeded(Chain::Certificate) + succeeded(Chain::Refresh),
            failure,
            limited: snapshot.generator.limited_now,
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

    /// What is wanted and reached; before the first sample, only who is there.
    fn loads(&self) -> Vec<String> {
        match self.loads.as_slice() {
            [] => vec![format!("{} workers, {} busy", self.workers, self.busy)],
            loads => loads.to_vec(),
        }
    }

    fn line(&self, before: &Self) -> String {
        let (chains, requests) = self.rates(before);
        let mut line = format!(
            "{}  {chains:.0} chains/s  {requests:.0} requests/s  {} chains  {}  {} certificates",
            self.loads().join("; "),
            self.chains,
            self.failures(),
            self.certificates,
        );
        if !self.status.is_empty() {
            line = format!("{}  {line}", self.status);
        }
        for (said, when) in [(IDLE, self.idle), (LIMITED, self.limited)] {
            if when {
                line.push_str("  ");
                line.push_str(said);
            }
        }
        line
    }

    fn block(&self, before: &Self) -> String {
        let (chains, requests) = self.rates(before);
        let mut rows: Vec<(&str, String)> = Vec::new();
        if !self.status.is_empty() {
            rows.push(("search", self.status.clone()));
        }
        rows.extend(self.loads().into_iter().map(|load| ("load", load)));
        rows.push(("reached", format!("{chains:.0} chains/s   {requests:.0} requests/s")));
        rows.push(("chains", format!("{} ended   {}", self.chains, self.failures())));
        if !self.classes.is_empty() {
            let classes = self.classes.iter().map(|(class, count)| format!("{count} {class}"));
            rows.push(("errors", classes.collect::<Vec<_>>().join("   ")));
        }
        if !self.times.is_empty() {
            let times = self.times.iter().map(|(chain, median, high)| {
                let high = high.map(|high| format!(" p99 {}", time_text(high))).unwrap_or_default();
                format!("{chain} p50 {}{high}", time_text(*median))
            });
            // Two in a row fit most terminals.
            let times: Vec<_> = times.collect();
            rows.extend(times.chunks(2).map(|pair| ("times", pair.join("   "))));
        }
        rows.push(("nonces", self.nonces()));
        rows.push((
            "state",
            format!(
                "{} registrations   {} authorizations   {} certificates   {} revoked",
                self.registrations, self.authorizations, self.certificates, self.revoked
            ),
        ));
        if self.idle {
            rows.push(("", IDLE.to_owned()));
        }
        if self.limited {
            rows.push(("", LIMITED.to_owned()));
        }
        if let Some(failure) = &self.failure {
            rows.push(("trouble", failure.chars().take(88).collect()));
        }
        let mut shown = "";
        let lines = rows.iter().map(|(name, row)| {
            // A name stands once above what belongs to it.
            let name = if std::mem::replace(&mut shown, name) == *name { "" } else { name };
            format!("  {name:<8} {row}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn nonces(&self) -> String {
        let refused = self.nonces.rejected_share.map_or_else(
            || "none used yet".to_owned(),
            |share| format!("{:.1} % of POSTs refused", 100.0 * share),
        );
        match self.issued {
            0 => format!("{} fetched   {refused}", self.nonces.fetched),
            issued => {
                format!("{:.2} fetched an issuance   {refused}", self.nonces.fetched as f64 / issued as f64)
            }
        }
    }
}

/// One scenario: what is reached beside what is wanted, and by whom.
fn load(name: Option<&String>, scenario: &ScenarioFigures) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let ScenarioFigures { workers, workers_target, busy, .. } = scenario;
    match scenario.rate_target {
        Some(target) => {
            let dropped = match scenario.dropped {
                0 => String::new(),
                dropped => format!(", {dropped} DROPPED"),
            };
            let idle = match scenario.idle {
                0 => String::new(),
                idle => format!(", {idle} found nothing to run"),
            };
            let (rate, unit) = (scenario.rate, &scenario.rate_unit);
            format!(
                "{name}{rate:.1} of {target:.1} {unit}/s, {busy} in flight, {workers} workers (at most {workers_target}){dropped}{idle}"
            )
        }
        None => format!("{name}{workers} of {workers_target} workers, {busy} in flight"),
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
            busy: 49,
            certificates: 90,
            ..Figures::default()
        };
        assert_eq!(
            now.line(&before),
            "50 workers, 49 busy  50 chains/s  400 requests/s  350 chains  7 failed (2.0 %)  90 certificates"
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
        assert!(shown.block(&Figures::default()).contains(IDLE));
    }

    #[test]
    fn a_run_without_chains_has_no_share_of_failures() {
        assert_eq!(Figures::default().failures(), "0 failed");
    }

    #[test]
    fn a_load_shows_what_is_reached_beside_what_is_wanted() {
        let closed =
            ScenarioFigures { workers: 48, workers_target: 50, busy: 41, ..ScenarioFigures::default() };
        assert_eq!(load(None, &closed), "48 of 50 workers, 41 in flight");
        let open = ScenarioFigures {
            rate: 49.8,
            rate_target: Some(50.0),
            rate_unit: "chains".to_owned(),
            workers: 12,
            workers_target: 1_000,
            busy: 9,
            dropped: 3,
            ..ScenarioFigures::default()
        };
        assert_eq!(
            load(Some(&"storm".to_owned()), &open),
            "storm: 49.8 of 50.0 chains/s, 9 in flight, 12 workers (at most 1000), 3 DROPPED"
        );
        let at_limits = ScenarioFigures { idle: 70, dropped: 0, ..open };
        assert_eq!(
            load(None, &at_limits),
            "49.8 of 50.0 chains/s, 9 in flight, 12 workers (at most 1000), 70 found nothing to run"
        );
    }

    #[test]
    fn the_block_names_times_errors_and_nonces() {
        let now = Figures {
            elapsed: Duration::from_secs(1),
            loads: vec![
                "a: 1 of 1 workers, 1 in flight".to_owned(),
                "b: 2 of 2 workers, 0 in flight".to_owned(),
            ],
            chains: 200,
            failed: 3,
            classes: vec![(FailureClass::Timeout, 2), (FailureClass::ServerError, 1)],
            times: vec![
                (Chain::Certificate, 26_400_000, None),
                (Chain::Revoke, 13_000_000, Some(40_000_000)),
            ],
            nonces: NonceFigures { fetched: 5, rejected: 10, rejected_share: Some(0.01) },
            issued: 50,
            ..Figures::default()
        };
        assert_eq!(
            now.block(&Figures::default()),
            "  load     a: 1 of 1 workers, 1 in flight\n           b: 2 of 2 workers, 0 in flight\n  reached  \
             200 chains/s   0 requests/s\n  chains   200 ended   3 failed (1.5 %)\n  errors   2 timeout   1 \
             server-error\n  times    certificate p50 26.4 ms   revoke p50 13.0 ms p99 40.0 ms\n  nonces   0.10 \
             fetched an issuance   1.0 % of POSTs refused\n  state    0 registrations   0 authorizations   0 \
             certificates   0 revoked"
        );
    }
}
