//! Sessions in the form of the API: on the board, planned, or known by their runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{LiveKind, LiveValue, Phase, Session, SessionState, Target};

use super::{PlanView, RunEntry, schema};
use crate::plans::NO_AGENT_CAN_JOIN;

/// The answer of `GET /api/v1/sessions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// The sessions on the board and those of the listed runs: first those without a run, then by their
    /// latest run, latest first.
    pub sessions: Vec<SessionEntry>,
    /// How an agent comes to these sessions.
    #[serde(default)]
    pub joining: Joining,
}

/// How an agent comes to the sessions of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Joining {
    /// Whether an agent is live, or another process can be one.
    pub possible: bool,
    /// The command that starts an agent on the machine of this service; empty if none can join.
    pub command: String,
    /// What else it needs, or why none can join and what to do, for people; may be empty.
    pub note: String,
}

impl Joining {
    /// By the URL of the board ([`wec_board::Board::place`]) and the address for results by gRPC, if the service has
    /// one; `tls` and `token` are whether results need them.
    pub(crate) fn new(board: Option<&str>, results: Option<SocketAddr>, tls: bool, token: bool) -> Self {
        let (Some(board), Some(results)) = (board, results) else {
            return Self {
                possible: board.is_some(),
                command: String::new(),
                note: match board {
                    None => NO_AGENT_CAN_JOIN.to_owned(),
                    Some(board) => format!(
                        "this page receives no results of agents: start wec analytics --board {board}, and agents with its \
                         address for results"
                    ),
                },
            };
        };
        let scheme = if tls { "https" } else { "http" };
        let host = match results.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() => format!("127.0.0.1:{}", results.port()),
            ip if ip.is_unspecified() => format!("[::1]:{}", results.port()),
            _ => results.to_string(),
        };
        let note = if token { "with this service's token in WEC_TOKEN" } else { "" };
        Self {
            possible: true,
            command: format!("wec agent --board {board} --analytics {scheme}://{host}"),
            note: note.to_owned(),
        }
    }
}

/// A session with its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionEntry {
    /// Its id.
    pub id: String,
    /// The session on the board; null when the board no longer has it.
    pub session: Option<SessionView>,
    /// What agents run in it; null for a session that was not planned.
    #[serde(default)]
    pub plan: Option<PlanView>,
    /// Its runs in `GET /api/v1/runs`, latest first.
    pub runs: Vec<RunEntry>,
}

/// A session on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The state of its load.
    #[schema(value_type = SessionState)]
    pub state: String,
    /// Target number of workers now: the sum of all scenarios that run.
    pub workers_target: u32,
    /// Current number of workers, as in the snapshot.
    pub workers_running: u64,
    /// Hard limits on the objects that the run makes at the CA.
    #[serde(default)]
    pub limits: LimitsView,
    /// The targets of each scenario, by its name.
    #[serde(default)]
    pub scenarios: BTreeMap<String, ScenarioView>,
    /// What agents run in it, in `GET /api/v1/sessions/{id}` only; null for a session that was not planned.
    #[serde(default)]
    pub plan: Option<PlanView>,
    /// Its runs, latest first, in `GET /api/v1/sessions/{id}` of a session that is only known by them; omitted
    /// otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(nullable = false)]
    pub runs: Vec<RunEntry>,
}

impl SessionView {
    /// A session in the form of the API.
    pub fn new(session: &Session, workers_running: u64) -> Self {
        let spec = &session.spec;
        let running = spec.scenarios.iter().filter(|(name, _)| session.phase(name) == Phase::Running);
        let workers = running.map(|(_, target)| target.workers).fold(0, u32::saturating_add);
        let scenarios = spec.scenarios.iter().map(|(name, target)| {
            let view = ScenarioView {
                state: session.phase(name).name().to_owned(),
                workers: target.workers,
                rate: target.rate,
                rate_unit: target.rate_unit.clone(),
                weights: target.weights.clone(),
                scheduled: target.scheduled,
                values: LiveValue::all(true).filter_map(|row| ValueView::new(row, target)).collect(),
            };
            (name.clone(), view)
        });
        Self {
            id: spec.id.clone(),
            state: spec.state.name().to_owned(),
            workers_target: workers,
            workers_running,
            limits: LimitsView {
                registrations: spec.limits.registrations,
                authorizations: spec.limits.authorizations,
                certificates: spec.limits.certificates,
            },
            scenarios: scenarios.collect(),
            plan: None,
            runs: Vec::new(),
        }
    }

    /// A planned session without a run so far.
    pub fn without_load(plan: PlanView) -> Self {
        Self { id: plan.id.clone(), plan: Some(plan), ..Self::stopped(String::new()) }
    }

    /// A session that is only known by its runs.
    pub fn of_runs(id: &str, runs: Vec<RunEntry>) -> Self {
        // Another process may still write the log of one.
        let state =
            if runs.iter().any(|run| run.live) { SessionState::Running } else { SessionState::Stopped };
        Self { state: state.name().to_owned(), runs, ..Self::stopped(id.to_owned()) }
    }

    fn stopped(id: String) -> Self {
        Self {
            id,
            state: SessionState::Stopped.name().to_owned(),
            workers_target: 0,
            workers_running: 0,
            limits: LimitsView::default(),
            scenarios: BTreeMap::new(),
            plan: None,
            runs: Vec::new(),
        }
    }

    /// Whether the session has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.state == SessionState::Stopped.name()
    }
}

/// Limits on the objects made at the CA; null means no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// The targets of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioView {
    /// `waiting` for another scenario to end, `running`, or `ended`: then no more iterations of it start.
    #[serde(default)]
    #[schema(schema_with = schema::scenario_state)]
    pub state: String,
    /// Number of virtual users, or the largest number allowed if the scenario has a rate.
    pub workers: u32,
    /// Arrivals per second, in `rate_unit`; null if the scenario has a number of workers.
    pub rate: Option<f64>,
    /// The unit of the rate: `chains` or `requests`; empty without one.
    #[serde(default)]
    pub rate_unit: String,
    /// Weights of chains by name; a chain that is missing has its weight from the start of the run.
    #[schema(schema_with = schema::weights)]
    pub weights: BTreeMap<String, f64>,
    /// Whether its own stages set workers and rate. A change by hand ends that.
    pub scheduled: bool,
    /// Each number that can be changed, as forms show it; `workers` and `rate` are among them.
    #[serde(default)]
    pub values: Vec<ValueView>,
}

/// A number of a scenario that can be changed during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// Its key in the body of a change.
    pub key: String,
    /// Its label in a form.
    pub label: String,
    /// Its unit; empty for a number without one.
    pub unit: String,
    /// Whether it is a whole number.
    pub whole: bool,
    /// The largest number allowed; the smallest is 0.
    pub most: f64,
    /// The number now.
    pub value: f64,
}

impl ValueView {
    /// The number of this row, if the scenario has one.
    fn new(row: &LiveValue, target: &Target) -> Option<Self> {
        let (whole, most, value, (label, unit)) = match &row.kind {
            LiveKind::Whole { most, now, label, .. } => {
                (true, f64::from(*most), f64::from(now(target)?), label(target))
            }
            LiveKind::Number { most, now, label, .. } => (false, *most, now(target)?, label(target)),
            LiveKind::Text { .. } | LiveKind::Weights | LiveKind::Limits | LiveKind::State => return None,
        };
        Some(Self { key: row.key.to_owned(), label: label.to_owned(), unit, whole, most, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_an_agent_is_that_of_this_service() {
        let board = Some("sqlite:///b.db");
        let command = |results: &str, tls| {
            let joining = Joining::new(board, Some(results.parse().unwrap()), tls, false);
            assert!(joining.possible && joining.note.is_empty());
            joining.command
        };
        let begin = "wec agent --board sqlite:///b.db --analytics";
        assert_eq!(command("127.0.0.1:8090", false), format!("{begin} http://127.0.0.1:8090"));
        assert_eq!(command("0.0.0.0:8090", true), format!("{begin} https://127.0.0.1:8090"));
        assert_eq!(command("[::]:8090", false), format!("{begin} http://[::1]:8090"));
        let token = Joining::new(board, Some("127.0.0.1:1".parse().unwrap()), false, true);
        assert!(token.note.contains("WEC_TOKEN"), "{token:?}");
        for (board, results, possible, said) in [
            (None, Some("127.0.0.1:1"), false, "--board sqlite://board.db"),
            (None, None, false, "--board sqlite://board.db"),
            (board, None, true, "--board sqlite:///b.db"),
        ] {
            let joining = Joining::new(board, results.map(|results| results.parse().unwrap()), false, false);
            assert_eq!((joining.possible, joining.command.as_str()), (possible, ""), "{joining:?}");
            assert!(joining.note.contains(said), "{joining:?}");
        }
    }
}
