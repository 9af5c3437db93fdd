//! The figures of one update, as a line or as rows.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use wec_analytics::{FailureScope, Health, NonceFigures, ScenarioFigures, Snapshot, counted, time_text};
use wec_board::{Phase, Session, Versioned};
use wec_record::plan::FLEET;
use wec_record::{Chain, FailureClass, Reach};
use wec_requester::Workload;
use wec_startup::TextStyle;

/// Shown while workers find no chain to run.
const IDLE: &str = "idle: limits and weights allow nothing more with what is stored";

/// Shown during a pause.
const PAUSED: &str = "paused: nothing starts until the run is resumed";

/// Shown while the load tester, its machine or a cap is the limit.
const LIMITED: &str = "generator-limited: the figures are not the CA's alone; the summary has the reason";

/// The figures of one update.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) elapsed: Duration,
    /// The activity of the run's controller.
    pub(super) status: String,
    /// Whether results are still left out of the figures.
    pub(super) warms_up: bool,
    /// Whether the run is paused now, and the total time of its pauses.
    pub(super) paused: bool,
    pub(super) paused_for: Duration,
    workers: u64,
    busy: u64,
    /// Target and actual load of each scenario.
    loads: Vec<String>,
    /// Why a scenario is below its target.
    short: Vec<String>,
    /// Whether no worker found a chain to run recently.
    pub(super) idle: bool,
    pub(super) chains: u64,
    failed: u64,
    /// Failed chains by class, most frequent first.
    classes: Vec<(FailureClass, u64)>,
    /// Chains with a median: name, median, 99th percentile, nanoseconds.
    times: Vec<(Chain, u64, Option<u64>)>,
    requests: u64,
    nonces: NonceFigures,
    registrations: u64,
    authorizations: u64,
    certificates: u64,
    revoked: u64,
    /// Certificates issued so far, including revoked and replaced ones, and the time of one from newOrder on:
    /// mean, median, 95th percentile, nanoseconds.
    issued: u64,
    issuance: [Option<u64>; 3],
    failure: Option<String>,
    /// Whether the load tester itself is the limit now.
    limited: bool,
    /// Why results are not in the log; empty if they are.
    pub(super) log: String,
}

/// The note about a log that is not complete; empty if it is.
pub(super) fn alarm(health: &Health) -> String {
    let missing = match health.log_failed {
        0 => String::new(),
        failed => format!("{} missing in it so far", counted(failed, "record", "records")),
    };
    match &health.log_error {
        Some(error) if missing.is_empty() => error.clone(),
        Some(error) => format!("{error}; {missing}"),
        None if missing.is_empty() => missing,
        None => format!("it is written again, with {missing}"),
    }
}

impl Figures {
    pub(super) fn of(
        snapshot: &Snapshot,
        phases: &BTreeMap<String, Phase>,
        workload: &Workload,
        elapsed: Duration,
    ) -> Self {
        // A failed request that was retried is not shown; a failed chain is.
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
        let now = snapshot.run.started_unix_ns.saturating_add(elapsed.as_nanos() as u64);
        let (paused, paused_ns) = snapshot.pauses(now);
        let issuance = &snapshot.issued.response_time_ns;
        Self {
            elapsed,
            status: String::new(),
            warms_up: false,
            paused,
            paused_for: Duration::from_nanos(paused_ns),
            workers: workload.workers(),
            busy: workload.busy(),
            loads: snapshot
                .scenarios
                .iter()
                .map(|(name, scenario)| load(several.then_some(name), scenario, phases.get(name).copied()))
                .collect(),
            short: snapshot
                .scenarios
                .iter()
                .flat_map(|(name, scenario)| {
                    let lasts = !paused && phases.get(name).is_none_or(|phase| *phase == Phase::Running);
                    short(several.then_some(name), scenario, lasts)
                })
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
            issued: snapshot.issued.count,
            issuance: [issuance.mean, issuance.p50, issuance.p95],
            failure,
            limited: snapshot.generator.limited_now,
            log: String::new(),
        }
    }

    /// Certificates, chains and requests per second since `before`.
    fn rates(&self, before: &Self) -> (f64, f64, f64) {
        let seconds = (self.elapsed.saturating_sub(before.elapsed)).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        (
            rate(self.issued, before.issued),
            rate(self.chains, before.chains),
            rate(self.requests, before.requests),
        )
    }

    fn failures(&self) -> String {
        if self.chains == 0 {
            return "0 failed".to_owned();
        }
        format!("{} failed ({:.1} %)", self.failed, 100.0 * self.failed as f64 / self.chains as f64)
    }

    /// Target and actual load; before the first sample, only the workers.
    fn loads(&self) -> Vec<String> {
        match self.loads.as_slice() {
            [] => vec![format!("{} workers, {} busy", self.workers, self.busy)],
            loads => loads.to_vec(),
        }
    }

    pub(super) fn line(&self, before: &Self) -> String {
        let (issued, chains, requests) = self.rates(before);
        let mut line = format!(
            "{} issued  {issued:.1}/s  {}  {chains:.0} chains/s  {requests:.0} requests/s  {} chains  {}",
            self.issued,
            self.loads().join("; "),
            self.chains,
            self.failures(),
        );
        if !self.status.is_empty() {
            line = format!("{}  {line}", self.status);
        }
        if self.warms_up {
            line = format!("warm-up  {line}");
        }
        let said = [(IDLE, self.idle && !self.paused), (LIMITED, self.limited)];
        let said = said.into_iter().filter_map(|(said, when)| when.then_some(said));
        for said in self.short.iter().map(String::as_str).chain(said) {
            line.push_str("  ");
            line.push_str(said);
        }
        if !self.log.is_empty() {
            line.push_str(&format!("  log: {}", self.log));
        }
        line
    }

    /// All figures in `style`'s columns; problems are in their own highlighted rows.
    pub(super) fn block(&self, before: &Self, style: TextStyle) -> String {
        let (issued, chains, requests) = self.rates(before);
        let mut rows = Rows { style, text: String::new(), last: "" };
        if !self.status.is_empty() {
            rows.push("search", &self.status, Tone::Plain);
        }
        if self.warms_up {
            rows.push("warm-up", "results are drawn and in no figure yet", Tone::Plain);
        }
        rows.push("issued", &self.issued(issued), Tone::Plain);
        for load in self.loads() {
            rows.push("load", &load, Tone::Plain);
        }
        for short in &self.short {
            rows.push("", short, Tone::Bad);
        }
        rows.push("reached", &format!("{chains:.0} chains/s   {requests:.0} requests/s"), Tone::Plain);
        let failed = if self.failed > 0 { Tone::Bad } else { Tone::Plain };
        rows.push("chains", &format!("{} ended   {}", self.chains, self.failures()), failed);
        if !self.classes.is_empty() {
            let classes = self.classes.iter().map(|(class, count)| format!("{count} {class}"));
            rows.push("errors", &classes.collect::<Vec<_>>().join("   "), Tone::Bad);
        }
        let times = self.times.iter().map(|(chain, median, high)| {
            let high = high.map(|high| format!("  p99 {:>7}", time_text(high))).unwrap_or_default();
            format!("{:<13} p50 {:>7}{high}", chain.name(), time_text(*median))
        });
        let times: Vec<_> = times.collect();
        // Two columns are at most 11 + 38 + 3 + 38 wide.
        let beside = if style.columns.is_none_or(|columns| columns >= 90) { 2 } else { 1 };
        for row in times.chunks(beside) {
            let row: String = row.iter().map(|times| format!("{times:<41}")).collect();
            rows.push("times", row.trim_end(), Tone::Plain);
        }
        rows.push("nonces", &self.nonces(), Tone::Plain);
        rows.push(
            "state",
            &format!(
                "{} registrations  {} authorizations  {} certificates  {} revoked",
                self.registrations, self.authorizations, self.certificates, self.revoked
            ),
            Tone::Plain,
        );
        for (said, when) in
            [(PAUSED, self.paused), (IDLE, self.idle && !self.paused), (LIMITED, self.limited)]
        {
            if when {
                rows.push("", said, Tone::Doubtful);
            }
        }
        if !self.log.is_empty() {
            rows.push("log", &self.log, Tone::Bad);
        }
        if let Some(failure) = &self.failure {
            // Shortened; the summary has all of it.
            let brief: String = failure.chars().take(200).collect();
            rows.push("trouble", &brief, Tone::Bad);
        }
        rows.text
    }

    /// The first row.
    fn issued(&self, per_second: f64) -> String {
        let mut text = format!("{} certificates   {per_second:.1}/s", self.issued);
        for (name, time) in ["mean", "p50", "p95"].into_iter().zip(self.issuance) {
            if let Some(time) = time {
                text.push_str(&format!("   {name} {}", time_text(time)));
            }
        }
        text
    }

    fn nonces(&self) -> String {
        let refused = self.nonces.rejected_share.map_or_else(
            || "none used yet".to_owned(),
            |share| format!("{:.1} % of POSTs refused", 100.0 * share),
        );
        match self.issued {
            0 => format!("{} fetched   {refused}", self.nonces.fetched),
            issued => {
                format!("{:.2} fetched per issuance   {refused}", self.nonces.fetched as f64 / issued as f64)
            }
        }
    }
}

/// The emphasis of a row.
#[derive(Clone, Copy, Debug)]
enum Tone {
    Plain,
    Doubtful,
    Bad,
}

/// Rows with names.
struct Rows {
    style: TextStyle,
    text: String,
    last: &'static str,
}

impl Rows {
    fn push(&mut self, name: &'static str, row: &str, tone: Tone) {
        // The name is shown only in the first of its rows.
        let shown = if self.last == name { "" } else { name };
        self.last = name;
        let row = self.style.wrapped(&format!("  {shown:<8} {row}"), 11);
        for (n, line) in row.lines().enumerate() {
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            let (head, line) = if n == 0 { line.split_at(11) } else { ("", line) };
            self.text.push_str(&self.style.dim(head));
            self.text.push_str(&match tone {
                Tone::Plain => line.to_owned(),
                Tone::Doubtful => self.style.doubtful(line),
                Tone::Bad => self.style.bad(line),
            });
        }
    }
}

/// The phase of each scenario of a session.
pub(super) fn phases(session: Option<&Versioned<Session>>) -> BTreeMap<String, Phase> {
    let Some(Versioned { value: session, .. }) = session else { return BTreeMap::new() };
    session.spec.scenarios.keys().map(|name| (name.clone(), session.phase(name))).collect()
}

/// One scenario: actual and target load, with its workers; or why it has no load.
fn load(name: Option<&String>, scenario: &ScenarioFigures, phase: Option<Phase>) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let ScenarioFigures { workers, workers_target, busy, .. } = scenario;
    let backing_off = match scenario.backing_off {
        0 => String::new(),
        backing_off => format!(", {backing_off} backing off"),
    };
    match phase {
        Some(Phase::Waiting) => return format!("{name}waits for another scenario to end"),
        Some(Phase::Ended) if *busy > 0 => return format!("{name}ended, {busy} in flight"),
        Some(Phase::Ended) => return format!("{name}ended"),
        Some(Phase::Running) | None => {}
    }
    match scenario.rate_target {
        Some(target) => {
            let (rate, unit) = (scenario.rate, &scenario.rate_unit);
            let reached = match scenario.reach {
                Some(Reach::Reached) => " (reached)",
                Some(Reach::Approaching) => " (approaching)",
                Some(Reach::Capped | Reach::Saturated) | None => "",
            };
            let idle = match scenario.idle {
                0 => String::new(),
                idle => format!(", {idle} found nothing to run"),
            };
            if scenario.executor == FLEET {
                return format!(
                    "{name}{rate:.1} renewals/s of a fleet at {target} times its speed, {busy} in flight, {workers} workers (at most {workers_target}){idle}"
                );
            }
            format!(
                "{name}{rate:.1} of {target:.1} {unit}/s{reached}, {busy} in flight{backing_off}, {workers} workers (at most {workers_target}){idle}"
            )
        }
        None => format!("{name}{workers} of {workers_target} workers, {busy} in flight{backing_off}"),
    }
}

/// Why a scenario is or was below its target; `lasts` is whether it has one now.
fn short(name: Option<&String>, scenario: &ScenarioFigures, lasts: bool) -> Vec<String> {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let mut said = Vec::new();
    if scenario.dropped > 0 {
        let (dropped, due) = (scenario.dropped, scenario.due);
        let share = 100.0 * dropped as f64 / due.max(1) as f64;
        said.push(format!(
            "{name}{dropped} of {due} due iterations DROPPED ({share:.1} %): all workers were busy"
        ));
    }
    match scenario.reach.filter(|_| lasts) {
        Some(Reach::Saturated) => {
            said.push(format!(
                "{name}SATURATED: more workers do not increase the rate, this is the CA's limit"
            ));
        }
        Some(Reach::Capped) => said.push(format!(
            "{name}CAPPED: {} workers are too few for this rate at the CA's response time",
            scenario.workers_target
        )),
        Some(Reach::Reached | Reach::Approaching) | None => {}
    }
    said
}

/// The workers' counts, to distinguish workers that run chains from workers that find none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    iterations: u64,
    idle: u64,
    busy: u64,
}

impl Pulse {
    pub(super) fn of(gauges: &Workload) -> Self {
        Self { iterations: gauges.iterations(), idle: gauges.idle(), busy: gauges.busy() }
    }

    /// Whether since `before` every worker only looked for a chain, and none found one.
    pub(super) const fn is_idle_since(self, before: Self) -> bool {
        self.busy == 0 && self.idle > before.idle && self.iterations == before.iterations
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn rates_are_of_the_time_since_the_last_line() {
        let before =
            Figures { elapsed: Duration::from_secs(10), chains: 100, requests: 1_000, ..Figures::default() };
        let now = Figures {
            elapsed: Duration::from_secs(15),
            chains: 350,
            failed: 7,
            requests: 3_000,
            workers: 50,
            busy: 49,
            certificates: 80,
            issued: 90,
            ..Figures::default()
        };
        assert_eq!(
            now.line(&before),
            "90 issued  18.0/s  50 workers, 49 busy  50 chains/s  400 requests/s  350 chains  7 failed (2.0 %)"
        );
    }

    #[test]
    fn an_idle_run_is_reported_as_idle() {
        let before = Pulse { iterations: 21, idle: 100, busy: 0 };
        let asked = Pulse { idle: 150, ..before };
        assert!(asked.is_idle_since(before));
        assert!(!Pulse { iterations: 22, ..asked }.is_idle_since(before), "one worker had something to run");
        assert!(!Pulse { busy: 1, ..asked }.is_idle_since(before), "one worker waits for the CA");
        assert!(!before.is_idle_since(before), "no worker looked for a chain");
        let shown = Figures { idle: true, ..Figures::default() };
        assert!(shown.line(&Figures::default()).ends_with(IDLE));
        assert!(shown.block(&Figures::default(), TextStyle::default()).contains(IDLE));
        let paused = Figures { paused: true, ..shown };
        assert!(!paused.line(&Figures::default()).contains(IDLE), "a paused run is not reported as idle");
    }

    #[test]
    fn a_run_without_chains_has_no_share_of_failures() {
        assert_eq!(Figures::default().failures(), "0 failed");
    }

    #[test]
    fn a_load_shows_the_reached_beside_the_wanted_value() {
        let closed =
            ScenarioFigures { workers: 48, workers_target: 50, busy: 41, ..ScenarioFigures::default() };
        assert_eq!(load(None, &closed, None), "48 of 50 workers, 41 in flight");
        let outage = ScenarioFigures { busy: 2, backing_off: 46, ..closed.clone() };
        assert_eq!(load(None, &outage, None), "48 of 50 workers, 2 in flight, 46 backing off");
        let name = "storm".to_owned();
        let of = |scenario: &ScenarioFigures, phase| load(Some(&name), scenario, Some(phase));
        assert_eq!(
            of(&ScenarioFigures::default(), Phase::Waiting),
            "storm: waits for another scenario to end"
        );
        assert_eq!(of(&closed, Phase::Ended), "storm: ended, 41 in flight");
        assert_eq!(of(&ScenarioFigures::default(), Phase::Ended), "storm: ended");
        let open = ScenarioFigures {
            rate: 49.8,
            rate_target: Some(50.0),
            rate_unit: "chains".to_owned(),
            workers: 12,
            workers_target: 1_000,
            busy: 9,
            ..ScenarioFigures::default()
        };
        assert_eq!(
            of(&open, Phase::Running),
            "storm: 49.8 of 50.0 chains/s, 9 in flight, 12 workers (at most 1000)"
        );
        let fleet = ScenarioFigures { executor: FLEET.to_owned(), rate_unit: String::new(), ..open.clone() };
        assert_eq!(
            load(None, &fleet, None),
            "49.8 renewals/s of a fleet at 50 times its speed, 9 in flight, 12 workers (at most 1000)"
        );
        let at_limits = ScenarioFigures { idle: 70, ..open };
        assert_eq!(
            load(None, &at_limits, None),
            "49.8 of 50.0 chains/s, 9 in flight, 12 workers (at most 1000), 70 found nothing to run"
        );
    }

    #[test]
    fn a_load_below_its_target_shows_the_reason() {
        let open = ScenarioFigures { due: 2_000, dropped: 24, ..ScenarioFigures::default() };
        let name = "storm".to_owned();
        assert_eq!(
            short(Some(&name), &open, false),
            ["storm: 24 of 2000 due iterations DROPPED (1.2 %): all workers were busy"]
        );
        let adaptive = |reach| ScenarioFigures {
            rate: 402.7,
            rate_target: Some(500.0),
            rate_unit: "requests".to_owned(),
            workers_target: 30,
            reach: Some(reach),
            ..ScenarioFigures::default()
        };
        assert_eq!(
            short(None, &adaptive(Reach::Capped), true),
            ["CAPPED: 30 workers are too few for this rate at the CA's response time"]
        );
        assert!(short(None, &adaptive(Reach::Saturated), true)[0].starts_with("SATURATED: "));
        assert_eq!(short(None, &adaptive(Reach::Reached), true), Vec::<String>::new());
        assert_eq!(
            short(None, &adaptive(Reach::Capped), false),
            Vec::<String>::new(),
            "a paused or ended load has no note"
        );
        assert_eq!(
            load(None, &adaptive(Reach::Reached), None),
            "402.7 of 500.0 requests/s (reached), 0 in flight, 0 workers (at most 30)"
        );
    }

    #[test]
    fn the_block_has_times_errors_and_nonces() {
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
            nonces: NonceFigures {
                fetched: 5,
                rejected: 10,
                rejected_share: Some(0.01),
                ..NonceFigures::default()
            },
            issued: 50,
            issuance: [Some(31_000_000), Some(30_000_000), None],
            ..Figures::default()
        };
        assert_eq!(
            now.block(&Figures::default(), TextStyle::default()),
            "  issued   50 certificates   50.0/s   mean 31.0 ms   p50 30.0 ms\n  load     a: 1 of 1 workers, 1 in flight\n           b: 2 of 2 workers, 0 in flight\n  reached  \
             200 chains/s   0 requests/s\n  chains   200 ended   3 failed (1.5 %)\n  errors   2 timeout   1 \
             server-error\n  times    certificate   p50 26.4 ms                revoke        p50 13.0 ms  p99 40.0 ms\n  nonces   0.10 \
             fetched per issuance   1.0 % of POSTs refused\n  state    0 registrations  0 authorizations  0 \
             certificates  0 revoked"
        );
        let narrow = now.block(&Figures::default(), TextStyle { columns: Some(60), colours: false });
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        let painted = now.block(&Figures::default(), TextStyle { columns: None, colours: true });
        assert!(painted.contains("\x1b[1;31m2 timeout   1 server-error\x1b[0m"), "{painted}");
    }
}
