//! `wec session`: shows a run and changes it while it runs, through its page's API or directly on the board.

mod page;
mod planned;

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};
use wec_analytics::control::{self, Refusal};
use wec_analytics::{Journal, ScenarioView, SessionChanged, SessionView, plans};
use wec_board::{Board, BoardUrl, By, ChangeTo, Limited, LiveCommand, LiveValue, Phase, SessionState};
use wec_pki::TlsOptions;
use wec_record::plan::RateUnit;
use wec_record::{Mark, MarkValue, MarkedLimit, MarkedWeight};
use wec_requester::executor::rate;
use wec_startup::{Exit, Undisclosed, parse_session_id, report, say};

pub(crate) use page::{Page, escaped};
pub(crate) use planned::at;

/// The default address of a run's page.
const PAGE: &str = "http://127.0.0.1:8089";
/// Number of changes that `show` lists.
const LAST_CHANGES: usize = 10;

/// Flags that select the session.
const RUN: &str = "Which run";

/// Options of `wec session`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
    /// The page of the run; its token, if required, is read from WEC_TOKEN [default: http://127.0.0.1:8089]
    #[arg(long, value_name = "URL", env = "WEC_AT", hide_env_values = true, global = true, help_heading = RUN)]
    at: Option<String>,
    /// Use the board instead of a page: etcd://HOST:PORT or sqlite://PATH
    #[arg(long, value_name = "URL", global = true, value_parser = Undisclosed(BoardUrl::parse), help_heading = RUN)]
    board: Option<BoardUrl>,
    /// The session [default: the one that the page shows; with --board: default]
    #[arg(long, value_name = "ID", global = true, value_parser = parse_session_id, help_heading = RUN)]
    session: Option<String>,
    /// The scenario, for a run that has several
    #[arg(long, value_name = "NAME", global = true, help_heading = RUN)]
    scenario: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    #[command(flatten)]
    Planned(planned::Action),
    /// Show the targets of the run, and its latest changes; with an ID, a planned session and its agents
    Show {
        /// The id of a planned session
        id: Option<String>,
        /// Print the session as JSON
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Number(Number),
    /// Change the rate of arrivals
    Rate {
        /// 50/s, 3000/min, 0.5; a unit, as in "50 requests/s", must be that of the scenario
        #[arg(value_name = "RATE", allow_negative_numbers = true)]
        rate: String,
    },
    /// Change the weights of chains: certificate=4 revoke=0
    Weight {
        /// A chain and its weight
        #[arg(value_name = "CHAIN=W", required = true, value_delimiter = ',')]
        weights: Vec<String>,
    },
    /// Change hard limits: certificates=1000, registrations=none
    Limit {
        /// registrations, authorizations or certificates, and the largest number allowed
        #[arg(value_name = "WHAT=N|none", required = true, value_delimiter = ',')]
        limits: Vec<String>,
    },
    /// Start no more chains; running chains finish, and the run time stops
    Pause,
    /// Continue after a pause
    Resume,
    /// End the run: no more chains start, running chains may finish; with an ID, that of a planned session
    Stop {
        /// The id of a planned session
        id: Option<String>,
        /// Interrupt running chains; for a planned session
        #[arg(long, requires = "id")]
        now: bool,
        /// Print the planned session as JSON
        #[arg(long, requires = "id")]
        json: bool,
    },
}

/// A new number for one of the values that can be changed during a run.
#[derive(Debug)]
struct Number {
    key: &'static str,
    text: String,
}

impl Number {
    /// Each command, with the key that it changes.
    fn commands() -> impl Iterator<Item = (&'static str, clap::Command)> {
        let command = |live: &'static LiveValue| {
            let LiveCommand { name, about, value_name, value_help } = live.command.as_ref()?;
            let value = clap::Arg::new("value").value_name(*value_name).help(*value_help);
            let value = value.required(true).allow_negative_numbers(true);
            Some((live.key, clap::Command::new(*name).about(*about).arg(value)))
        };
        LiveValue::all(true).filter_map(command)
    }
}

impl clap::Subcommand for Number {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        Self::commands().fold(command, |command, (_, more)| command.subcommand(more))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::commands().any(|(_, command)| command.get_name() == name)
    }
}

impl clap::FromArgMatches for Number {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let found = matches.subcommand().and_then(|(name, matches)| {
            let (key, _) = Self::commands().find(|(_, command)| command.get_name() == name)?;
            Some(Self { key, text: matches.get_one::<String>("value")?.clone() })
        });
        found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(crate) async fn session(options: Options) -> anyhow::Result<Exit> {
    let Options { action, at, board, session, scenario } = options;
    let mut mistakes = Vec::new();
    // A board that was given overrides the default page.
    let usual = std::env::var("WEC_AT").ok();
    if at.is_some() && at != usual && board.is_some() {
        mistakes.push("--at and --board: give one of them".to_owned());
    }
    let wanted = wanted(&action).unwrap_or_else(|found| {
        mistakes.extend(found);
        Vec::new()
    });
    let way = match Way::chosen(at, board, mistakes).await? {
        Ok(Way::Board(board, usual)) => Way::Board(board, session.unwrap_or(usual)),
        Ok(Way::Page(page)) => Way::Page(match &session {
            Some(id) => page.of_session(id),
            None => page,
        }),
        Err(usage) => return Ok(usage),
    };
    let outcome = match action {
        Action::Planned(action) => planned::act(&way, action).await,
        Action::Show { id: Some(id), json } => planned::show(&way, &id, json).await,
        Action::Stop { id: Some(id), now, json } => planned::stop(&way, &id, now, json).await,
        Action::Show { id: None, json } => show(&way, json).await,
        action => change(&way, &action, scenario, wanted).await,
    };
    way.close().await;
    concluded(outcome)
}

/// The exit code of a command.
///
/// # Errors
/// When it could not be carried out.
pub(crate) fn concluded(outcome: anyhow::Result<()>) -> anyhow::Result<Exit> {
    match outcome {
        Err(error) if error.is::<Mistaken>() => {
            say(format_args!("error: {error}"));
            Ok(Exit::Usage)
        }
        outcome => outcome.map(|()| Exit::Passed),
    }
}

/// The request has an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistaken(pub(crate) String);

/// The changes, or all errors of the arguments.
fn wanted(action: &Action) -> Result<Vec<ChangeTo>, Vec<String>> {
    let (found, mistakes): (Vec<_>, Vec<_>) = match action {
        Action::Show { .. } | Action::Planned(_) | Action::Stop { id: Some(_), .. } => return Ok(Vec::new()),
        Action::Pause => return Ok(vec![ChangeTo::State(SessionState::Paused)]),
        Action::Resume => return Ok(vec![ChangeTo::State(SessionState::Running)]),
        Action::Stop { .. } => return Ok(vec![ChangeTo::State(SessionState::Stopped)]),
        Action::Number(Number { key, text }) => return changes(&json!({ *key: number(text) })),
        Action::Rate { rate: text } => {
            let rate = rate(text).map_err(|mistake| vec![format!("rate: {mistake}")])?;
            return changes(&json!({ "rate": rate.per_second }));
        }
        Action::Weight { weights } => {
            let pairs = weights.iter().map(|text| {
                let (chain, weight) = text.split_once('=').ok_or_else(|| pair(text, "certificate=4"))?;
                Ok((chain.trim().to_owned(), number(weight.trim())))
            });
            let (pairs, mistakes) = apart(pairs);
            let weights: Map<_, _> = pairs.into_iter().collect();
            match changes(&json!({ "weights": weights })) {
                _ if weights.is_empty() => (Vec::new(), mistakes),
                Ok(found) => (found, mistakes),
                Err(more) => (Vec::new(), mistakes.into_iter().chain(more).collect()),
            }
        }
        Action::Limit { limits } => apart(limits.iter().map(|text| {
            let (name, limit) = text.split_once('=').ok_or_else(|| pair(text, "certificates=1000"))?;
            let limited = control::limited(name.trim())?;
            match limit.trim() {
                "none" => Ok(ChangeTo::Limit(limited, None)),
                limit => limit
                    .parse()
                    .map(|limit| ChangeTo::Limit(limited, Some(limit)))
                    .map_err(|_| format!("{text:?}: {limit:?} is neither a whole number from 0 nor none")),
            }
        })),
    };
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

fn changes(body: &Value) -> Result<Vec<ChangeTo>, Vec<String>> {
    control::scenario_changes(body).faultless().map_err(|mistakes| mistakes.0)
}

fn apart<T>(each: impl Iterator<Item = Result<T, String>>) -> (Vec<T>, Vec<String>) {
    let (mut found, mut mistakes) = (Vec::new(), Vec::new());
    for one in each {
        match one {
            Ok(one) => found.push(one),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (found, mistakes)
}

fn pair(text: &str, example: &str) -> String {
    format!("{text:?} is not a pair like {example}")
}

/// A number for JSON. Other text stays text, and is refused where its bounds are known.
fn number(text: &str) -> Value {
    let whole = text.parse::<u64>().ok().map(Value::from);
    whole
        .or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number))
        .unwrap_or_else(|| text.into())
}

/// How to access the session.
pub(crate) enum Way {
    Page(Page),
    /// With the session of commands that name none.
    Board(Board, String),
}

impl Way {
    /// The page or the board, as given; the exit code of wrong use, which has been reported.
    ///
    /// # Errors
    /// When the board cannot be opened.
    pub(crate) async fn open(
        page: Option<String>,
        board: Option<BoardUrl>,
    ) -> anyhow::Result<Result<Self, Exit>> {
        Self::chosen(page, board, Vec::new()).await
    }

    /// The same, with the mistakes found so far.
    async fn chosen(
        page: Option<String>,
        board: Option<BoardUrl>,
        mut mistakes: Vec<String>,
    ) -> anyhow::Result<Result<Self, Exit>> {
        let named_by = if page == std::env::var("WEC_AT").ok() { "WEC_AT" } else { "--at" };
        let page = Page::parse(page.as_deref().unwrap_or(PAGE));
        let page = page.map_err(|mistake| mistakes.push(format!("{named_by}: {mistake}")));
        if mistakes.is_empty() && board == Some(BoardUrl::Local) {
            mistakes.push("--board: a local board is in the memory of its run: use --at".to_owned());
        }
        if !mistakes.is_empty() {
            mistakes.into_iter().for_each(|mistake| say(format_args!("error: {mistake}")));
            return Ok(Err(Exit::Usage));
        }
        let tls = TlsOptions::of_environment();
        Ok(Ok(match (board, page) {
            (Some(url), _) => Self::Board(url.secured(&tls)?.open().await?, "default".to_owned()),
            (None, Ok(page)) => Self::Page(page.with(tls.load()?)),
            (None, Err(())) => unreachable!("it was reported as a mistake"),
        }))
    }

    /// Closes the board.
    pub(crate) async fn close(&self) {
        if let Self::Board(board, _) = self {
            board.close().await;
        }
    }

    async fn session(&self) -> anyhow::Result<SessionView> {
        match self {
            Self::Page(page) => page.session().await,
            Self::Board(board, id) => {
                let session = board.session(id).borrow().clone();
                let session = session.ok_or_else(|| Refusal::NoSession(id.clone()))?;
                Ok(SessionView::new(&session.value, 0))
            }
        }
    }

    /// The changes of the session; the latest is last.
    async fn journal(&self) -> anyhow::Result<Vec<Mark>> {
        let journal = match self {
            Self::Page(page) => page.journal().await?,
            Self::Board(board, id) => Journal::read(board, id).await?,
        };
        Ok(journal.changes)
    }

    async fn change(
        &self,
        scenario: Option<String>,
        wanted: Vec<ChangeTo>,
    ) -> anyhow::Result<SessionChanged> {
        match self {
            Self::Page(page) => page.change(scenario, &wanted).await,
            Self::Board(board, id) => {
                let applied = plans::steer(board, id, By::Cli, scenario.as_deref(), wanted).await;
                let applied = applied.map_err(|refusal| match refusal {
                    Refusal::Mistakes(mistakes) => anyhow!(Mistaken(mistakes.to_string())),
                    Refusal::NoScenario(error) => anyhow!(Mistaken(format!("{error}, with --scenario"))),
                    other => anyhow!(other),
                })?;
                Ok(SessionChanged {
                    session: SessionView::new(&applied.session, 0),
                    changes: applied.changes,
                    plan_changes: Vec::new(),
                    not_in_plan: applied.not_in_plan,
                })
            }
        }
    }
}

async fn show(way: &Way, as_json: bool) -> anyhow::Result<()> {
    let session = way.session().await?;
    let running = matches!(way, Way::Page(_)).then_some(session.workers_running);
    let journal = way.journal().await?;
    let last = &journal[journal.len().saturating_sub(LAST_CHANGES)..];
    if as_json {
        let mut value = serde_json::to_value(&session).context("the session as JSON")?;
        // The board has the targets, not the running workers.
        value["workers_running"] = running.into();
        value["changes"] = serde_json::to_value(last).context("the changes as JSON")?;
        return report(serde_json::to_string_pretty(&value).context("the session as JSON")?);
    }
    report(described(&session, running) + &listed(last, journal.len(), &session))
}

/// The latest changes as text, a line for each value.
fn listed(last: &[Mark], of: usize, session: &SessionView) -> String {
    let mut text = match of {
        0 => return String::new(),
        of if of == last.len() => "\nchanges:".to_owned(),
        of => format!("\nchanges, the last {} of {of}:", last.len()),
    };
    for mark in last {
        let at = UNIX_EPOCH + Duration::from_nanos(mark.at_unix_ns);
        for change in told(mark, session) {
            // Writing to a String cannot fail.
            let change = wec_text::visible(&change);
            let _ = write!(text, "\n  {} {}: {change}", humantime::format_rfc3339_seconds(at), author(mark));
        }
    }
    text
}

/// Who made a change: the way, and the name of the token.
fn author(mark: &Mark) -> String {
    match wec_text::visible(&mark.who) {
        name if name.is_empty() => mark.by.to_string(),
        name => format!("{} {name}", mark.by),
    }
}

/// The session as text.
fn described(session: &SessionView, running: Option<u64>) -> String {
    let workers = match running {
        Some(running) => format!("{running} of {} workers", session.workers_target),
        None => format!("{} workers wanted", session.workers_target),
    };
    let mut text = format!("session {}: {}, {workers}", session.id, session.state);
    let limits = [
        (Limited::Registrations, session.limits.registrations),
        (Limited::Authorizations, session.limits.authorizations),
        (Limited::Certificates, session.limits.certificates),
    ];
    let limits: Vec<_> = limits
        .iter()
        .filter_map(|(what, limit)| Some(format!("{} {}", limit.as_ref()?, what.name())))
        .collect();
    if !limits.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nat most {}", limits.join(", "));
    }
    for (name, target) in &session.scenarios {
        if target.state == Phase::Ended.name() {
            let _ = write!(text, "\nscenario {name}: ended");
            continue;
        }
        let load = match target.rate {
            Some(rate) => format!("{rate} {}/s with at most {} workers", target.rate_unit, target.workers),
            None => format!("{} workers", target.workers),
        };
        let waits =
            if target.state == Phase::Waiting.name() { "waits for another to end, then " } else { "" };
        let stages = if target.scheduled { "its stages lead to " } else { "" };
        let _ = write!(text, "\nscenario {name}: {waits}{stages}{load}");
        // Workers and rate are in the line above.
        for value in target.values.iter().filter(|value| !["workers", "rate"].contains(&&*value.key)) {
            let _ = write!(text, "\n  {} {} {}", value.label.to_lowercase(), value.value, value.unit);
        }
        let weights: Vec<_> =
            target.weights.iter().map(|(chain, weight)| format!("{chain}={weight}")).collect();
        if !weights.is_empty() {
            let _ = write!(text, "\n  weights {}", weights.join(" "));
        }
    }
    text
}

async fn change(
    way: &Way,
    action: &Action,
    scenario: Option<String>,
    wanted: Vec<ChangeTo>,
) -> anyhow::Result<()> {
    if let Action::Rate { rate: text } = action
        && let Some(unit) = rate(text).ok().and_then(|rate| rate.unit)
    {
        check_unit((text, unit), scenario.as_deref(), &way.session().await?)?;
    }
    let SessionChanged { session, changes, not_in_plan, .. } = way.change(scenario, wanted).await?;
    let mut lines: Vec<_> = changes.iter().flat_map(|mark| told(mark, &session)).collect();
    match action {
        _ if lines.is_empty() => lines.push("nothing changed: the values are already set".to_owned()),
        Action::Pause => {
            lines.push("running chains end, no new ones start until wec session resume".to_owned())
        }
        Action::Stop { .. } => lines.push("running chains may finish, then the run ends".to_owned()),
        _ => {}
    }
    lines.extend(
        not_in_plan.iter().map(|why| format!("the plan does not have a change, only its run: {why}")),
    );
    let lines: Vec<_> = lines.iter().map(|line| wec_text::visible(line)).collect();
    report(lines.join("\n"))
}

/// Checks that the unit of a rate is that of the scenario.
fn check_unit(
    (text, unit): (&str, RateUnit),
    scenario: Option<&str>,
    session: &SessionView,
) -> anyhow::Result<()> {
    let named = |(name, _): &(&String, &ScenarioView)| scenario.is_none_or(|scenario| scenario == *name);
    let mut scenarios = session.scenarios.iter().filter(named);
    // Errors of the scenario are reported by the change itself.
    let (Some((name, target)), None) = (scenarios.next(), scenarios.next()) else { return Ok(()) };
    if target.rate.is_none() || target.rate_unit == unit.name() {
        return Ok(());
    }
    bail!(Mistaken(format!(
        "rate: {text:?} counts {}, but scenario {name:?} counts {}: use that unit",
        unit.name(),
        target.rate_unit
    )))
}

/// A change as text, one line for each value, with the session after it.
fn told(mark: &Mark, session: &SessionView) -> Vec<String> {
    let of = if mark.scenario.is_empty() { String::new() } else { format!("{}: ", mark.scenario) };
    let Mark { what, from, to, .. } = mark;
    match (from, to) {
        (MarkValue::Weights(before), MarkValue::Weights(after)) => {
            let lines = after.iter().map(|MarkedWeight { chain, .. }| {
                let shown = |weights: &[MarkedWeight]| {
                    let of_chain = weights.iter().find(|weight| weight.chain == *chain);
                    of_chain.map_or_else(|| "unset".to_owned(), MarkedWeight::shown)
                };
                format!("{of}weight of {chain} {} → {}", shown(before), shown(after))
            });
            lines.collect()
        }
        (MarkValue::Limits(before), MarkValue::Limits(after)) => {
            let lines = after.iter().map(|MarkedLimit { objects, .. }| {
                let shown = |limits: &[MarkedLimit]| {
                    let of_objects = limits.iter().find(|limit| limit.objects == *objects);
                    of_objects.map_or_else(|| "none".to_owned(), MarkedLimit::shown)
                };
                format!("{of}limit of {objects} {} → {}", shown(before), shown(after))
            });
            lines.collect()
        }
        (_, MarkValue::Rate(_)) => {
            let unit = session.scenarios.get(&mark.scenario).map_or("", |target| &target.rate_unit);
            vec![format!("{of}rate {from} → {to} {unit}/s")]
        }
        _ => vec![format!("{of}{what} {from} → {to}")],
    }
}

#[cfg(test)]
mod tests {
    use wec_board::Session;
    use wec_record::{MarkBy, MarkWhat};

    use super::*;

    #[test]
    fn all_errors_of_a_command_are_reported_at_once() {
        let weights = ["revok=1", "certificate", "refresh=-1"].map(str::to_owned).to_vec();
        let mistakes = wanted(&Action::Weight { weights }).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "\"certificate\" is not a pair like certificate=4",
                "weights.refresh: -1 is not a number from 0 to 1000000",
                "weights.revok: unknown chain; did you mean revoke?"
            ]
        );
        let limits = ["certificate=1", "registrations=-1"].map(str::to_owned).to_vec();
        let mistakes = wanted(&Action::Limit { limits }).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "limits.certificate: unknown limit; did you mean certificates?",
                "\"registrations=-1\": \"-1\" is neither a whole number from 0 nor none"
            ]
        );
        let mistakes =
            wanted(&Action::Number(Number { key: "workers", text: "many".to_owned() })).unwrap_err();
        assert_eq!(mistakes, ["workers: \"many\" is not a whole number from 0 to 1000000"]);
    }

    #[test]
    fn a_change_is_shown_value_by_value() {
        let mark = |scenario: &str, what: &str, from: &str, to: &str| {
            let what = MarkWhat::from(what);
            let (from, to) = (MarkValue::parse(&what, from), MarkValue::parse(&what, to));
            Mark {
                at_unix_ns: 0,
                by: MarkBy::Cli,
                who: String::new(),
                scenario: scenario.to_owned(),
                what,
                from,
                to,
            }
        };
        let target =
            |rate_unit: &str| ScenarioView { rate_unit: rate_unit.to_owned(), ..ScenarioView::default() };
        let session = SessionView {
            scenarios: [("open".to_owned(), target("requests"))].into(),
            ..SessionView::new(&Session::running("s", 1), 0)
        };
        let cases = [
            (mark("default", "workers", "50", "80"), vec!["default: workers 50 → 80"]),
            (mark("open", "rate", "0.5", "80"), vec!["open: rate 0.5 → 80 requests/s"]),
            (mark("", "state", "running", "paused"), vec!["state running → paused"]),
            (
                mark("", "limits", "certificates=none", "certificates=7"),
                vec!["limit of certificates none → 7"],
            ),
            (
                mark("a", "weights", "certificate=unset, revoke=1", "certificate=4, revoke=0"),
                vec!["a: weight of certificate unset → 4", "a: weight of revoke 1 → 0"],
            ),
        ];
        for (mark, lines) in cases {
            assert_eq!(told(&mark, &session), lines);
        }
    }

    #[test]
    fn a_scenarios_name_is_one_segment() {
        assert_eq!(escaped("open one/ä"), "open%20one%2F%C3%A4");
    }
}
