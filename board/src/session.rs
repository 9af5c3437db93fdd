//! A session: the load that the nodes together are to make, and who last changed it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BoardError, NodeInfo};

/// The name of the scenario of a session that has only one.
pub const DEFAULT_SCENARIO: &str = "default";

/// What the board says about one run that several nodes take part in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Unique on the board.
    pub id: String,
    /// What is wanted of all nodes together, by scenario; at least one.
    pub scenarios: BTreeMap<String, Target>,
    /// Hard limits on what all of them together may make.
    pub limits: Limits,
    /// Whether the load is to be made.
    pub state: SessionState,
    /// The run that it is: all who take part name their results by it.
    #[serde(default)]
    pub run: String,
    /// Ids of the nodes that have taken part, in the order in which they came.
    #[serde(default)]
    pub members: Vec<String>,
    /// Those of them whose run is over.
    #[serde(default)]
    pub done: Vec<String>,
    /// When its active time was 0: when the first of them was ready, by that node's clock, nanoseconds since the Unix
    /// epoch; none until then.
    #[serde(default)]
    pub began_unix_ns: Option<u64>,
    /// Since when it is paused, by the clock of who paused it.
    #[serde(default)]
    pub paused_unix_ns: Option<u64>,
    /// How long all pauses took that have ended.
    #[serde(default)]
    pub paused_ns: u64,
    /// What the write that made it what it is changed, in order; nothing for one that is as it was put.
    #[serde(default)]
    pub last_changes: Vec<Changed>,
}

impl Session {
    /// A running session of these scenarios, unchanged by anybody.
    pub fn new(id: impl Into<String>, scenarios: BTreeMap<String, Target>, limits: Limits) -> Self {
        Self {
            id: id.into(),
            scenarios,
            limits,
            state: SessionState::Running,
            run: String::new(),
            members: Vec::new(),
            done: Vec::new(),
            began_unix_ns: None,
            paused_unix_ns: None,
            paused_ns: 0,
            last_changes: Vec::new(),
        }
    }

    /// A running session of one scenario that keeps `workers`.
    pub fn running(id: impl Into<String>, workers: u32) -> Self {
        let target = Target { workers, ..Target::default() };
        Self::new(id, BTreeMap::from([(DEFAULT_SCENARIO.to_owned(), target)]), Limits::default())
    }

    /// Active time at a moment: since it began, pauses not counted. None before it began, or where that lies ahead.
    pub fn active_ns(&self, unix_ns: u64) -> Option<u64> {
        let until = self.paused_unix_ns.unwrap_or(unix_ns);
        until.checked_sub(self.began_unix_ns?)?.checked_sub(self.paused_ns)
    }

    /// Workers of all scenarios together.
    pub fn workers(&self) -> u32 {
        self.scenarios.values().map(|target| target.workers).fold(0, u32::saturating_add)
    }
}

/// The load wanted of all nodes together for one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Virtual users: how many of them with an executor that keeps workers; how many at most with one that keeps a rate.
    pub workers: u32,
    /// Arrivals a second, in `rate_unit`; none with an executor that keeps workers.
    #[serde(default)]
    pub rate: Option<f64>,
    /// What the rate counts: `chains` or `requests`; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rate_unit: String,
    /// Weights of chains, by their names. One that is not named weighs what the scenario says.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Whether the scenario's own stages decide; `workers` and `rate` are then what the present stage leads to.
    /// A person's change ends that: what they said holds from then on.
    #[serde(default)]
    pub scheduled: bool,
    /// Those stages: what is wanted at each moment, in order of time and linear between two of them; two at one moment are a jump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StagePoint>,
    /// Whether it begins only when another scenario has ended.
    #[serde(default)]
    pub waits: bool,
    /// At which active time of the session it began, where it waited for another scenario to end; none until then.
    #[serde(default)]
    pub begins_ns: Option<u64>,
    /// Ids of the nodes on which nothing more of it starts: its run time is over, or all of its iterations have been run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_on: Vec<String>,
    /// Whether that is so on all of them.
    #[serde(default)]
    pub ended: bool,
    /// How many iterations all nodes together are to run; none where time is what ends it.
    #[serde(default)]
    pub iterations: Option<u64>,
}

/// Where a scenario is between the start of a session and its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another scenario must end first.
    Waiting,
    /// Its load is wanted.
    Running,
    /// Nothing more of it starts.
    Ended,
}

impl Phase {
    /// The name, as people and programs are told it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// What a scenario's own stages want at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StagePoint {
    /// Active time since the scenario began.
    pub at_ns: u64,
    /// Workers, or with an executor that keeps a rate, arrivals a second.
    pub value: f64,
}

/// How many of each may be made at one CA; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limited {
    /// [`Limits::registrations`].
    Registrations,
    /// [`Limits::authorizations`].
    Authorizations,
    /// [`Limits::certificates`].
    Certificates,
}

impl Limited {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Registrations, Self::Authorizations, Self::Certificates];

    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::Authorizations => "authorizations",
            Self::Certificates => "certificates",
        }
    }
}

/// Whether a session's load is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Its nodes make the load.
    Running,
    /// Its nodes end what they are doing and start nothing more until it runs again; schedules and run time stand still.
    Paused,
    /// Its nodes end what they are doing, and with that the run.
    Stopped,
}

impl SessionState {
    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A value as of one write to the board; a later write has a greater version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// Grows with every write to the board, not only to this value.
    pub version: u64,
    /// The value.
    pub value: T,
}

/// Whose hand a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The web page's control.
    Page,
    /// A command line.
    Cli,
    /// The scenario's own stages.
    Schedule,
    /// A program using the web API.
    Api,
    /// A threshold that ends the run when it fails.
    Threshold,
    /// A search for the CA's capacity.
    Capacity,
    /// A signal to the load tester, as by Ctrl-C.
    Signal,
}

impl By {
    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Cli => "cli",
            Self::Schedule => "schedule",
            Self::Api => "api",
            Self::Threshold => "threshold",
            Self::Capacity => "capacity",
            Self::Signal => "signal",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Who wants it.
    pub by: By,
    /// Of which scenario; none where the session has only one, and for what concerns the whole session.
    pub scenario: Option<String>,
    /// What is to be different.
    pub to: ChangeTo,
}

impl Change {
    /// Somebody's change of the session, or of its only scenario.
    pub const fn new(by: By, to: ChangeTo) -> Self {
        Self { by, scenario: None, to }
    }

    /// More or fewer workers.
    pub const fn workers(by: By, workers: u32) -> Self {
        Self::new(by, ChangeTo::Workers(workers))
    }

    /// Run, pause or stop.
    pub const fn state(by: By, state: SessionState) -> Self {
        Self::new(by, ChangeTo::State(state))
    }

    /// The same change, of this scenario.
    pub fn of(self, scenario: impl Into<String>) -> Self {
        Self { scenario: Some(scenario.into()), ..self }
    }
}

/// What can be changed of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeTo {
    /// [`Target::workers`].
    Workers(u32),
    /// [`Target::rate`], of a scenario that has one.
    Rate(f64),
    /// Some of [`Target::weights`]; the others stay.
    Weights(BTreeMap<String, f64>),
    /// One of [`Session::limits`]; none takes it away.
    Limit(Limited, Option<u64>),
    /// [`Session::state`]. A stopped session stays stopped for those who followed it.
    State(SessionState),
}

impl ChangeTo {
    /// What changes, as written in marks.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Workers(_) => "workers",
            Self::Rate(_) => "rate",
            Self::Weights(_) => "weights",
            Self::Limit(..) => "limits",
            Self::State(_) => "state",
        }
    }
}

/// What came of changes that were wanted together.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The session after them.
    pub session: Versioned<Session>,
    /// Those that made it different, in order; what was so already is not among them.
    pub changes: Vec<Changed>,
}

/// A change that was made: what a mark in the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The session's id.
    pub session: String,
    /// The scenario's name; empty for what concerns the whole session.
    #[serde(default)]
    pub scenario: String,
    /// Who made it.
    pub by: By,
    /// What changed: `workers`, `rate`, `weights`, `limits`, `state`.
    pub what: String,
    /// Value before.
    pub from: String,
    /// Value after.
    pub to: String,
    /// Wall clock of the node that made it, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
}

impl Session {
    /// This session after all of `changes`, or none when it is so already.
    ///
    /// # Errors
    /// When one of them cannot be made; see [`Session::after`].
    pub(crate) fn after_all(&self, changes: &[Change], at_unix_ns: u64) -> Result<Option<Self>, BoardError> {
        let mut now = self.clone();
        now.last_changes.clear();
        for change in changes {
            now = now.after(change, at_unix_ns)?.unwrap_or(now);
        }
        Ok((!now.last_changes.is_empty()).then_some(now))
    }

    /// This session after one change more, or none when it is so already.
    ///
    /// A schedule's change of a scenario whose value a person has set is none, too.
    ///
    /// # Errors
    /// When the change is of a scenario that the session does not have, or cannot be made to it.
    fn after(&self, change: &Change, at_unix_ns: u64) -> Result<Option<Self>, BoardError> {
        let mut next = self.clone();
        let (scenario, from, to) = match &change.to {
            ChangeTo::State(state) => {
                let from = std::mem::replace(&mut next.state, *state);
                next.mark_time(at_unix_ns);
                (String::new(), from.name().to_owned(), state.name().to_owned())
            }
            ChangeTo::Limit(limited, limit) => {
                let shown = |limit: Option<u64>| {
                    let limit = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
                    format!("{}={limit}", limited.name())
                };
                let from = std::mem::replace(next.limits.of(*limited), *limit);
                (String::new(), shown(from), shown(*limit))
            }
            ChangeTo::Workers(_) | ChangeTo::Rate(_) | ChangeTo::Weights(_) => {
                let scenario = self.scenario_of(change)?;
                let active_ns = self.active_ns(at_unix_ns).unwrap_or_default();
                let target = next.scenarios.get_mut(&scenario).expect("just found");
                if change.by == By::Schedule && !target.scheduled {
                    return Ok(None);
                }
                let Some((from, to)) = target.change(change, &scenario, active_ns)? else { return Ok(None) };
                (scenario, from, to)
            }
        };
        // What ends stages is a change, even to what they want at that moment.
        if from == to && next.scenarios == self.scenarios {
            return Ok(None);
        }
        next.last_changes.push(Changed {
            session: self.id.clone(),
            scenario,
            by: change.by,
            what: change.to.what().to_owned(),
            from,
            to,
            at_unix_ns,
        });
        Ok(Some(next))
    }

    /// Notes since when time stands still, or how long it did.
    fn mark_time(&mut self, at_unix_ns: u64) {
        match (self.state, self.paused_unix_ns) {
            (SessionState::Paused, None) => {
                // Before it has begun there is no time to stand still.
                self.paused_unix_ns = self.began_unix_ns.map(|began| at_unix_ns.max(began));
            }
            (SessionState::Running, Some(since)) => {
                self.paused_ns = self.paused_ns.saturating_add(at_unix_ns.saturating_sub(since));
                self.paused_unix_ns = None;
            }
            _ => {}
        }
    }

    /// This session begun at a moment; none when it has begun, or is another run.
    pub(crate) fn begun(&self, run: &str, at_unix_ns: u64) -> Option<Self> {
        if self.run != run || self.began_unix_ns.is_some() {
            return None;
        }
        let mut next = Self { began_unix_ns: Some(at_unix_ns), last_changes: Vec::new(), ..self.clone() };
        next.mark_time(at_unix_ns);
        Some(next)
    }

    /// The same of a scenario that waited for another one.
    pub(crate) fn scenario_begun(&self, run: &str, scenario: &str, at_unix_ns: u64) -> Option<Self> {
        let active = self.active_ns(at_unix_ns).filter(|_| self.run == run)?;
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        let target = next.scenarios.get_mut(scenario).filter(|target| target.begins_ns.is_none())?;
        target.begins_ns = Some(active);
        Some(next)
    }

    /// This session after nothing more of a scenario starts on a node; none when that was known, or it is another run.
    pub(crate) fn scenario_over(
        &self,
        run: &str,
        scenario: &str,
        node: &str,
        live: &[NodeInfo],
    ) -> Option<Self> {
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        let target = next.scenarios.get_mut(scenario).filter(|_| self.run == run)?;
        if target.over_on.iter().any(|known| known == node) {
            return None;
        }
        target.over_on.push(node.to_owned());
        let runs_it = |member: &String| {
            let lives = live.iter().any(|node| node.id == *member);
            lives && !self.done.contains(member) && !target.over_on.contains(member)
        };
        target.ended = !self.members.iter().any(runs_it);
        Some(next)
    }

    /// What a node finds that wants to take part in `wanted`: the session that is there, when others are at it, or its own,
    /// when what is there has been left by all of them.
    pub(crate) fn taken_up(
        there: Option<&Self>,
        wanted: &Self,
        node: &str,
        live: &[NodeInfo],
    ) -> Result<Self, BoardError> {
        let lives = |id: &String| id != node && live.iter().any(|node| node.id == *id);
        let mut taken = match there.filter(|there| there.members.iter().any(lives)) {
            Some(there) if there.state == SessionState::Stopped => {
                return Err(BoardError::Ending(there.id.clone()));
            }
            Some(there) => Self { last_changes: Vec::new(), ..there.clone() },
            None => wanted.clone(),
        };
        if !taken.members.iter().any(|member| member == node) {
            taken.members.push(node.to_owned());
        }
        Ok(taken)
    }

    /// This session after a node's part of it is over; stopped when it was the last of those who live. None when that
    /// changes nothing.
    pub(crate) fn done_by(
        &self,
        run: &str,
        node: &str,
        by: By,
        at_unix_ns: u64,
        live: &[NodeInfo],
    ) -> Option<Self> {
        if self.run != run || self.done.iter().any(|done| done == node) {
            return None;
        }
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        next.done.push(node.to_owned());
        let works =
            |member: &String| !next.done.contains(member) && live.iter().any(|node| node.id == *member);
        if !self.members.iter().any(works) {
            let stopped = next.after(&Change::state(by, SessionState::Stopped), at_unix_ns);
            next = stopped.ok().flatten().unwrap_or(next);
        }
        Some(next)
    }

    fn scenario_of(&self, change: &Change) -> Result<String, BoardError> {
        let mut names = self.scenarios.keys();
        match (&change.scenario, names.next(), names.next()) {
            (Some(name), ..) if self.scenarios.contains_key(name) => Ok(name.clone()),
            (None, Some(only), None) => Ok(only.clone()),
            (named, ..) => Err(BoardError::NoScenario {
                session: self.id.clone(),
                named: named.clone(),
                known: self.scenarios.keys().cloned().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

impl Target {
    /// Where it is in the session.
    pub const fn phase(&self) -> Phase {
        match (self.ended, self.waits && self.begins_ns.is_none()) {
            (true, _) => Phase::Ended,
            (false, true) => Phase::Waiting,
            (false, false) => Phase::Running,
        }
    }

    /// Makes the change at an active time of the session; says from what to what, or nothing when it is so already.
    fn change(
        &mut self,
        change: &Change,
        scenario: &str,
        active_ns: u64,
    ) -> Result<Option<(String, String)>, BoardError> {
        let before = (self.workers, self.rate);
        // The number of workers is only a cap where a rate is kept: stages are of the rate then.
        let staged = matches!(change.to, ChangeTo::Rate(_)) || self.rate.is_none();
        let on_the_way = self.scheduled && staged && change.by != By::Schedule;
        let held = self.stages_at(active_ns).filter(|_| on_the_way);
        let (from, to) = match &change.to {
            ChangeTo::Workers(workers) => {
                let from = std::mem::replace(&mut self.workers, *workers);
                (held.map_or(from.into(), f64::round).to_string(), workers.to_string())
            }
            ChangeTo::Rate(rate) => {
                let Some(from) = self.rate.replace(*rate) else {
                    return Err(BoardError::NoRate { scenario: scenario.to_owned() });
                };
                let held = held.map_or(from, |held| (held * 100.0).round() / 100.0);
                (held.to_string(), rate.to_string())
            }
            ChangeTo::Weights(weights) => {
                let different: Vec<_> = weights
                    .iter()
                    .filter(|(chain, weight)| self.weights.get(*chain) != Some(weight))
                    .collect();
                let shown = |weight: &dyn Fn(&str) -> Option<f64>| {
                    let shown = different.iter().map(|(chain, _)| match weight(chain) {
                        Some(weight) => format!("{chain}={weight}"),
                        None => format!("{chain}=unset"),
                    });
                    shown.collect::<Vec<_>>().join(", ")
                };
                let from = shown(&|chain| self.weights.get(chain).copied());
                let to = shown(&|chain| weights.get(chain).copied());
                self.weights.extend(weights.iter().map(|(chain, weight)| (chain.clone(), *weight)));
                return Ok((from != to).then_some((from, to)));
            }
            ChangeTo::Limit(..) | ChangeTo::State(_) => return Ok(None),
        };
        // What somebody says in the middle of stages holds from then on, even if they had led there.
        let ends_stages = on_the_way && self.stages_go_on(active_ns);
        if !ends_stages && before == (self.workers, self.rate) {
            return Ok(None);
        }
        self.scheduled &= !on_the_way;
        Ok(Some((from, to)))
    }

    /// What the stages want at an active time of the session.
    fn stages_at(&self, active_ns: u64) -> Option<f64> {
        let since = self.active_since(active_ns);
        let next = self.stages.partition_point(|point| point.at_ns <= since);
        let here = self.stages.get(next.saturating_sub(1))?;
        Some(match self.stages.get(next) {
            Some(next) if next.at_ns > here.at_ns && since > here.at_ns => {
                let part = (since - here.at_ns) as f64 / (next.at_ns - here.at_ns) as f64;
                here.value + (next.value - here.value) * part
            }
            _ => here.value,
        })
    }

    /// Whether they have not come to their end.
    fn stages_go_on(&self, active_ns: u64) -> bool {
        self.stages.last().is_some_and(|last| self.active_since(active_ns) < last.at_ns)
    }

    /// How long it has been active at an active time of the session: not at all as long as it waits.
    fn active_since(&self, active_ns: u64) -> u64 {
        let begins_ns = self.begins_ns.unwrap_or(if self.waits { active_ns } else { 0 });
        active_ns.saturating_sub(begins_ns)
    }
}

impl Limits {
    fn of(&mut self, limited: Limited) -> &mut Option<u64> {
        match limited {
            Limited::Registrations => &mut self.registrations,
            Limited::Authorizations => &mut self.authorizations,
            Limited::Certificates => &mut self.certificates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(scenarios: &[(&str, Target)]) -> Session {
        let scenarios = scenarios.iter().map(|(name, target)| ((*name).to_owned(), target.clone())).collect();
        Session::new("s", scenarios, Limits::default())
    }

    fn shown(session: &Session, change: Change) -> String {
        match session.after(&change, 0) {
            Ok(Some(next)) => {
                let changed = &next.last_changes[0];
                format!(
                    "{} {} {}: {} -> {}",
                    changed.by, changed.scenario, changed.what, changed.from, changed.to
                )
            }
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_change_says_who_what_from_and_to() {
        let session = session(&[("a", Target { workers: 5, rate: Some(2.5), ..Target::default() })]);
        let weights = BTreeMap::from([("certificate".to_owned(), 4.0)]);
        for (to, expected) in [
            (ChangeTo::Workers(9), "page a workers: 5 -> 9"),
            (ChangeTo::Workers(5), "none"),
            (ChangeTo::Rate(50.0), "page a rate: 2.5 -> 50"),
            (ChangeTo::Weights(weights), "page a weights: certificate=unset -> certificate=4"),
            (ChangeTo::Weights(BTreeMap::new()), "none"),
            (
                ChangeTo::Limit(Limited::Certificates, Some(7)),
                "page  limits: certificates=none -> certificates=7",
            ),
            (ChangeTo::State(SessionState::Paused), "page  state: running -> paused"),
            (ChangeTo::State(SessionState::Running), "none"),
        ] {
            assert_eq!(shown(&session, Change::new(By::Page, to)), expected);
        }
    }

    #[test]
    fn active_time_counts_from_the_beginning_and_stands_still_in_pauses() {
        let waiting = Session { run: "r".into(), ..session(&[("a", Target::default())]) };
        assert_eq!(waiting.active_ns(500), None);
        assert_eq!(waiting.begun("another", 100), None);
        let begun = waiting.begun("r", 100).unwrap();
        assert_eq!(
            (begun.active_ns(99), begun.active_ns(100), begun.active_ns(160)),
            (None, Some(0), Some(60))
        );
        assert_eq!(begun.begun("r", 130), None, "the first who was ready began it");
        let state = |session: &Session, state, at| {
            session.after_all(&[Change::state(By::Page, state)], at).unwrap().unwrap()
        };
        let paused = state(&begun, SessionState::Paused, 150);
        assert_eq!((paused.active_ns(150), paused.active_ns(9_000)), (Some(50), Some(50)));
        let again = state(&paused, SessionState::Running, 1_150);
        assert_eq!((again.active_ns(1_150), again.active_ns(1_160)), (Some(50), Some(60)));
        let waits = again.scenario_begun("r", "a", 1_170).unwrap();
        assert_eq!(waits.scenarios["a"].begins_ns, Some(70));
        assert_eq!(waits.scenario_begun("r", "a", 1_200), None);
        // One that is paused before it begins begins paused.
        let paused = state(&waiting, SessionState::Paused, 40).begun("r", 100).unwrap();
        assert_eq!(paused.active_ns(9_000), Some(0));
        assert_eq!(state(&paused, SessionState::Running, 300).active_ns(310), Some(10));
    }

    #[test]
    fn a_scenario_has_ended_when_nobody_runs_it_any_more() {
        let live = ["one", "two"].map(|id| NodeInfo {
            id: id.to_owned(),
            name: id.to_owned(),
            kind: crate::NodeKind::Requester,
            workers: 1,
            session: "s".to_owned(),
        });
        let members = ["gone", "one", "two"].map(str::to_owned).to_vec();
        let session = Session {
            run: "r".into(),
            members,
            ..session(&[("a", Target::default()), ("b", Target::default())])
        };
        let over = |session: &Session, run: &str, scenario: &str, node: &str| {
            session.scenario_over(run, scenario, node, &live)
        };
        assert_eq!(over(&session, "another", "a", "one"), None);
        assert_eq!(over(&session, "r", "c", "one"), None);
        let partly = over(&session, "r", "a", "one").unwrap();
        assert_eq!(partly.scenarios["a"].phase(), Phase::Running, "another node may run longer");
        assert_eq!(over(&partly, "r", "a", "one"), None, "that is known");
        let ended = over(&partly, "r", "a", "two").unwrap();
        assert_eq!(ended.scenarios["a"].phase(), Phase::Ended, "who is gone is not waited for");
        assert_eq!(ended.scenarios["b"].phase(), Phase::Running);
    }

    #[test]
    fn a_session_is_joined_while_one_of_its_nodes_lives_and_begun_anew_after() {
        let node = |id: &str| NodeInfo {
            id: id.to_owned(),
            name: id.to_owned(),
            kind: crate::NodeKind::Requester,
            workers: 0,
            session: "s".to_owned(),
        };
        let wanted = |run: &str| Session { run: run.to_owned(), ..session(&[("a", Target::default())]) };
        let taken = |there: Option<&Session>, run: &str, id: &str, live: &[&str]| {
            let live: Vec<_> = live.iter().map(|id| node(id)).collect();
            Session::taken_up(there, &wanted(run), id, &live)
        };
        let one = taken(None, "1", "a", &["a"]).unwrap();
        let two = taken(Some(&one), "2", "b", &["a", "b"]).unwrap();
        assert_eq!((two.run.as_str(), two.members.join(" ")), ("1", "a b".to_owned()));
        assert_eq!(taken(Some(&two), "2", "b", &["a", "b"]).unwrap(), two, "asking again changes nothing");
        let anew = taken(Some(&two), "3", "c", &["c", "x"]).unwrap();
        assert_eq!((anew.run.as_str(), anew.members.join(" ")), ("3", "c".to_owned()));
        let stopped = Session { state: SessionState::Stopped, ..two };
        let refused = taken(Some(&stopped), "3", "c", &["b", "c"]).unwrap_err();
        assert!(matches!(refused, BoardError::Ending(_)), "{refused}");
        assert_eq!(taken(Some(&stopped), "3", "c", &["c"]).unwrap().run, "3");
    }

    #[test]
    fn the_last_one_that_lives_ends_the_session() {
        let node = |id: &str| NodeInfo {
            id: id.to_owned(),
            name: id.to_owned(),
            kind: crate::NodeKind::Requester,
            workers: 0,
            session: "s".to_owned(),
        };
        let members = ["a", "b", "dead"].map(str::to_owned).to_vec();
        let begun = Session { run: "r".into(), members, ..session(&[("a", Target::default())]) };
        let live = ["a", "b", "other"].map(node);
        assert_eq!(begun.done_by("another", "a", By::Schedule, 5, &live), None);
        let one = begun.done_by("r", "a", By::Schedule, 5, &live).unwrap();
        assert_eq!((one.state, one.last_changes.len()), (SessionState::Running, 0));
        assert_eq!(one.done_by("r", "a", By::Schedule, 6, &live), None);
        let two = one.done_by("r", "b", By::Schedule, 7, &live).unwrap();
        assert_eq!((two.state, two.last_changes[0].at_unix_ns), (SessionState::Stopped, 7));
    }

    #[test]
    fn of_several_changes_all_are_made_or_none() {
        let session = session(&[("a", Target { workers: 5, ..Target::default() })]);
        let limit = |limit| ChangeTo::Limit(Limited::Certificates, Some(limit));
        let to = |changes: [ChangeTo; 3]| changes.map(|to| Change::new(By::Page, to));
        let next = session.after_all(&to([ChangeTo::Workers(9), limit(7), ChangeTo::Workers(9)]), 3).unwrap();
        let next = next.expect("two of them change something");
        let whats: Vec<_> =
            next.last_changes.iter().map(|change| (&*change.what, change.at_unix_ns)).collect();
        assert_eq!(whats, [("workers", 3), ("limits", 3)]);
        assert_eq!(next.after_all(&to([limit(7), ChangeTo::Workers(9), limit(7)]), 4).unwrap(), None);
        let refused = next.after_all(&to([limit(8), ChangeTo::Rate(1.0), ChangeTo::Workers(1)]), 5);
        assert!(matches!(refused, Err(BoardError::NoRate { .. })), "{refused:?}");
    }

    #[test]
    fn a_scenario_is_named_where_there_are_several() {
        let two = session(&[("a", Target::default()), ("b", Target::default())]);
        assert_eq!(
            shown(&two, Change::workers(By::Cli, 1)),
            "session \"s\" has several scenarios: name one of a, b"
        );
        assert_eq!(
            shown(&two, Change::workers(By::Cli, 1).of("c")),
            "session \"s\" has no scenario \"c\": name one of a, b"
        );
        assert_eq!(shown(&two, Change::workers(By::Cli, 1).of("b")), "cli b workers: 0 -> 1");
    }

    #[test]
    fn a_scenario_that_keeps_workers_has_no_rate_to_change() {
        let refused = shown(&session(&[("a", Target::default())]), Change::new(By::Api, ChangeTo::Rate(5.0)));
        assert_eq!(refused, "scenario \"a\" keeps a number of workers and has no rate: change its workers");
    }

    #[test]
    fn what_a_person_said_holds_against_the_schedule() {
        let scheduled = session(&[("a", Target { workers: 5, scheduled: true, ..Target::default() })]);
        let next = scheduled.after(&Change::workers(By::Schedule, 9), 0).unwrap().unwrap();
        assert!(next.scenarios["a"].scheduled);
        let next = next.after(&Change::workers(By::Page, 3), 0).unwrap().unwrap();
        assert!(!next.scenarios["a"].scheduled);
        assert_eq!(shown(&next, Change::workers(By::Schedule, 20)), "none");
    }

    #[test]
    fn a_change_in_the_middle_of_a_stage_is_from_what_held_at_that_moment() {
        let stages = [(0, 10.0), (100, 110.0), (100, 20.0), (150, 20.0)];
        let stages: Vec<_> = stages.map(|(at_ns, value)| StagePoint { at_ns, value }).into();
        let workers = Target { workers: 110, scheduled: true, stages, ..Target::default() };
        let began = |target: &Target| {
            let began = Session { run: "r".into(), ..session(&[("a", target.clone())]) };
            began.begun("r", 1_000).unwrap()
        };
        let at = |session: &Session, at: u64, to| match session.after(&Change::new(By::Cli, to), at).unwrap()
        {
            Some(next) => {
                assert!(!next.scenarios["a"].scheduled);
                format!("{} -> {}", next.last_changes[0].from, next.last_changes[0].to)
            }
            None => "none".to_owned(),
        };
        for (when, to, expected) in [
            (1_000, 50, "10 -> 50"),
            (1_047, 50, "57 -> 50"),
            (1_047, 110, "57 -> 110"),
            (1_040, 50, "50 -> 50"),
            (1_100, 50, "20 -> 50"),
            (9_000, 110, "none"),
            (9_000, 50, "20 -> 50"),
        ] {
            assert_eq!(at(&began(&workers), when, ChangeTo::Workers(to)), expected, "at {when}");
        }
        let waits = Target { waits: true, ..workers.clone() };
        assert_eq!(at(&began(&waits), 1_547, ChangeTo::Workers(50)), "10 -> 50");
        let waited = Target { begins_ns: Some(500), ..waits };
        assert_eq!(at(&began(&waited), 1_547, ChangeTo::Workers(50)), "57 -> 50");
        let rate = Target { workers: 9, rate: Some(110.0), ..workers };
        assert_eq!(at(&began(&rate), 1_033, ChangeTo::Rate(50.0)), "43 -> 50");
    }

    #[test]
    fn a_cap_of_workers_can_be_moved_without_ending_the_schedule_of_a_rate() {
        let ramp = Target { workers: 5, rate: Some(2.0), scheduled: true, ..Target::default() };
        let next = session(&[("a", ramp)]).after(&Change::workers(By::Page, 50), 0).unwrap().unwrap();
        assert!(next.scenarios["a"].scheduled);
        let next = next.after(&Change::new(By::Page, ChangeTo::Rate(7.0)), 0).unwrap().unwrap();
        assert!(!next.scenarios["a"].scheduled);
    }
}
