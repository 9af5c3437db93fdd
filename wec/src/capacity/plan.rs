//! The validated options of `wec capacity`. All errors are reported together, including those of the plan.

use std::time::Duration;

use wec_record::Threshold;
use wec_record::plan::{Load, MAX_RATE, RateUnit};
use wec_record::threshold::{Metric, Stat};
use wec_requester::config::plan::plan;
use wec_requester::config::{Command, Decided, Key, Mistakes, Push, Settings};
use wec_requester::executor::rate;
use wec_requester::{Plan, PlanOptions};

use super::search::{Growth, Resolution, SearchParameters, TRICKLE_SHARE};
use super::times::{coming_back, measuring};

/// The shortest time that can be measured: eight parts of a quarter of a second.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest time: analytics keeps a bounded number of parts.
const LONGEST: Duration = Duration::from_secs(1_800);
/// The default criteria of a step.
const CRITERIA: [&str; 2] = ["chain{failed} < 1%", "dropped < 1%"];

/// How to search.
#[derive(Clone, Debug)]
pub(crate) struct SearchPlan {
    pub(crate) setting: SearchParameters,
    pub(crate) step_time: Duration,
    pub(crate) settle_least: Duration,
    pub(crate) settle_most: Duration,
    pub(crate) recover: Duration,
    pub(crate) max_time: Duration,
    pub(crate) hold: Duration,
    /// The criteria of each step.
    pub(crate) criteria: Vec<Threshold>,
    /// Whether the criteria are the default.
    pub(crate) usual_criteria: bool,
    /// Whether arrivals are Poisson.
    pub(crate) poisson: bool,
}

/// A key of a run that a search does not have: above the knee there are always dropped iterations, so they are a
/// result here.
const DROPPED: &str = "limited_dropped";

/// The keys of a search, and the keys of a run that apply to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Searched {}

impl Command for Searched {
    const SETS_LOAD: bool = true;
    const KEEPS: &'static [&'static str] = &["workers", "spacing", "start_at", "after", "weights"];
    const SETS: &'static [&'static str] = &["run_time", DROPPED];

    fn takes(_: &Key) -> bool {
        true
    }

    fn help(key: &Key) -> &'static str {
        match key.name {
            "workers" => "Largest number of virtual users that run chains concurrently [default: 1000]",
            "spacing" => "Spacing of the arrivals: poisson or even [default: poisson]",
            _ => key.help,
        }
    }
}

/// The search and its run, from the flags, `eab_hmac_key` from the environment, and the file.
///
/// # Errors
/// All errors: of the search, of the plan, and of their combination.
pub(crate) fn resolve(
    options: &PlanOptions,
    eab_hmac_key: Option<String>,
) -> Result<(SearchPlan, Plan), Mistakes> {
    let mut settings = options.settings();
    let s = &mut settings;
    not_ours(options, s);
    let mut search = search(s);
    let push = Push::Searched { run_time: longest(&search) };
    let mut plan = plan(s, Decided { push, ..Decided::default() }, eab_hmac_key);
    search.criteria = std::mem::take(&mut plan.thresholds);
    search.usual_criteria = search.criteria.is_empty();
    if search.usual_criteria {
        let usual = CRITERIA.into_iter().map(|text| text.parse());
        search.criteria = usual.collect::<Result<_, _>>().expect("a constant threshold parses");
    }
    for message in search.criteria.iter().filter_map(unfit) {
        s.mistake("thresholds", message);
    }
    search.poisson = plan
        .scenarios
        .iter()
        .all(|one| matches!(one.load.recorded(), Load::ArrivalRate { poisson: true, .. }));
    plan.bounds.dropped = f64::from(u16::MAX);
    settings.finish().map(|()| (search, plan))
}

/// Includes the last step, its recovery and the hold; the search ends itself long before.
fn longest(search: &SearchPlan) -> Duration {
    let slowest = search.setting.from * TRICKLE_SHARE;
    search.max_time
        + 2 * (search.recover + coming_back(search.recover, slowest))
        + 2 * search.settle_most
        + measuring(search.step_time, slowest)
        + measuring(search.hold, slowest)
        + Duration::from_secs(60)
}

/// Reports keys that set the load, which the search sets itself, and more than one scenario.
fn not_ours(options: &PlanOptions, s: &mut Settings) {
    let scenarios = s.scenarios();
    if let (true, Some(path)) = (scenarios.len() > 1, options.value("config")) {
        let (number, names) = (scenarios.len(), scenarios.join(", "));
        let message = format!("{path} has {number} scenarios ({names}): a capacity search has one");
        s.mistake("config", message);
    }
    s.refuse(&Searched::refused(), |key| {
        let instead = match key {
            DROPPED => return "dropped iterations are a result of wec capacity: omit it".to_owned(),
            "rate" | "target_rps" => "give --from and --to",
            "stages" => "give --step and --step-time",
            "think_time" => "the rate decides when chains start",
            "rate_unit" => "its rates count chains",
            "warm_up" => "each step settles first: give --settle",
            "run_time" => "give --max-time",
            // The executor, and what only other executors have.
            _ => "it always uses arrival-rate",
        };
        format!("wec capacity sets the load itself: {instead}")
    });
}

/// The keys of a search as they are given, each by itself.
struct Given {
    from: Option<f64>,
    to: Option<f64>,
    growth: Option<Growth>,
    resolution: Option<Resolution>,
    step_time: Option<Duration>,
    settle: Option<(Duration, Duration)>,
    recover: Option<Duration>,
    max_time: Option<Duration>,
    hold_at: Option<Option<f64>>,
    hold: Option<Duration>,
}

impl Given {
    fn read(s: &mut Settings) -> Self {
        Self {
            from: s.take("capacity.from", positive_rate),
            to: s.take("capacity.to", positive_rate),
            growth: s.take("capacity.step", growth),
            resolution: s.take("capacity.resolution", resolution),
            step_time: s.take("capacity.step_time", |text| time(text, SHORTEST)),
            settle: s.take("capacity.settle", settle),
            recover: s.take("capacity.recover", |text| time(text, Duration::from_secs(5))),
            max_time: s.take("capacity.max_time", |text| any_time(text, Duration::from_secs(10))),
            hold_at: s.take("capacity.hold_at", hold_at),
            hold: s.take("capacity.hold", |text| time(text, SHORTEST)),
        }
    }
}

/// Reports wrong values in a file's table `[capacity]`, for commands that do not search. Flags of a search may
/// complete the table, so its values are not compared with each other.
pub(crate) fn check(s: &mut Settings) {
    Given::read(s);
}

fn search(s: &mut Settings) -> SearchPlan {
    let given = Given::read(s);
    let (from, to) = (given.from.unwrap_or(1.0), given.to);
    if let Some(to) = to
        && to < from
    {
        s.mistake(
            "capacity.to",
            format!("is below the first rate, {from}/s: give a lower --from or a higher --to"),
        );
    }
    let step_time = given.step_time.unwrap_or(Duration::from_secs(15));
    let (settle_least, settle_most) =
        given.settle.unwrap_or((Duration::from_secs(5), Duration::from_secs(60)));
    let max_time = given.max_time.unwrap_or(Duration::from_secs(1_800));
    if settle_least + measuring(step_time, from) > max_time {
        s.mistake(
            "capacity.max_time",
            "is too short for a single step: give more, a shorter --step-time or a higher --from",
        );
    }
    let hold_at = given.hold_at.unwrap_or(Some(0.8));
    let hold = given.hold;
    // The default hold is left out when there is no time for it; a hold that was set is not.
    if hold.is_some_and(|hold| hold_at.is_some() && settle_least + hold > max_time) {
        s.mistake(
            "capacity.hold",
            "is longer than the whole search may take (--max-time): give less, more time, or --hold-at off",
        );
    }
    SearchPlan {
        setting: SearchParameters {
            from,
            to,
            growth: given.growth.unwrap_or(Growth::Factor(2.0)),
            resolution: given.resolution.unwrap_or(Resolution::Share(0.05)),
            hold_at,
        },
        step_time,
        settle_least,
        settle_most,
        recover: given.recover.unwrap_or(Duration::from_secs(120)),
        max_time,
        hold: hold.unwrap_or(Duration::from_secs(30)),
        criteria: Vec::new(),
        usual_criteria: false,
        poisson: true,
    }
}

/// The part of a threshold that a step does not support.
fn unfit(threshold: &Threshold) -> Option<String> {
    let message = if threshold.window.is_some() {
        "a step is judged over its own window: omit over …, and give --step-time"
    } else if threshold.abort {
        "a step that fails ends, and the search continues below it: omit abort"
    } else if matches!(
        threshold.metric,
        Metric::Errors(_) | Metric::Chain(_, Stat::Count) | Metric::Requests(_, Stat::Count)
    ) && !threshold.op.wants_little()
    {
        "counts differ between steps: give a share, a rate or a time"
    } else {
        return None;
    };
    Some(format!("{:?}: {message}", threshold.to_string()))
}

fn positive_rate(text: &str) -> Result<f64, String> {
    let rate = rate(text)?;
    if rate.unit == Some(RateUnit::Requests) {
        return Err(format!("{text:?} counts requests: a capacity is in chains, as in 10/s"));
    }
    let per_second = rate.per_second;
    if per_second > 0.0 && per_second <= MAX_RATE {
        Ok(per_second)
    } else {
        Err(format!("{text:?} is no load: give more, as in 1/s or 10/min"))
    }
}

fn growth(text: &str) -> Result<Growth, String> {
    let wrong = || format!("{text:?} is neither a factor above 1 like x2 or x1.5, nor a rate like 10/s");
    if let Some(factor) = text.strip_prefix(['x', '×']) {
        let factor: f64 = factor.trim().parse().map_err(|_| wrong())?;
        return if factor > 1.0 && factor <= 100.0 { Ok(Growth::Factor(factor)) } else { Err(wrong()) };
    }
    if !text.contains('/') {
        return Err(wrong());
    }
    positive_rate(text).map(Growth::By).map_err(|_| wrong())
}

fn resolution(text: &str) -> Result<Resolution, String> {
    let wrong =
        || format!("{text:?} is neither a share of the knee from 0.1% to 50% like 5%, nor a rate like 2/s");
    if let Some(percent) = text.trim().strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        return if (0.1..=50.0).contains(&percent) {
            Ok(Resolution::Share(percent / 100.0))
        } else {
            Err(wrong())
        };
    }
    if !text.contains('/') {
        return Err(wrong());
    }
    positive_rate(text).map(Resolution::Rate).map_err(|_| wrong())
}

fn settle(text: &str) -> Result<(Duration, Duration), String> {
    let wrong = || format!("{text:?} is not a shortest and a longest time like 5s..60s");
    let (least, most) = text.split_once("..").ok_or_else(wrong)?;
    let (least, most) = (time(least, SHORTEST)?, time(most, SHORTEST)?);
    if most < least {
        Err(format!("{text:?} has the longer time first: write the shorter time first"))
    } else {
        Ok((least, most))
    }
}

fn hold_at(text: &str) -> Result<Option<f64>, String> {
    if text == "off" {
        return Ok(None);
    }
    let percent = text.trim().strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (1.0..=100.0).contains(&percent) => Ok(Some(percent / 100.0)),
        _ => Err(format!("{text:?} is neither a share of the knee from 1% to 100% like 80%, nor off")),
    }
}

fn time(text: &str, least: Duration) -> Result<Duration, String> {
    let time = any_time(text, least)?;
    if time > LONGEST {
        return Err(format!("{text:?} is longer than {}", humantime::format_duration(LONGEST)));
    }
    Ok(time)
}

fn any_time(text: &str, least: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text.trim())
        .map_err(|error| format!("{text:?} is not a time ({error}); as in 30s, 5m, 1h30m"))?;
    if time < least {
        return Err(format!("{text:?} is shorter than {}", humantime::format_duration(least)));
    }
    // More than a week is a wrong unit.
    if time > Duration::from_secs(7 * 86_400) {
        return Err(format!("{text:?} is longer than 7days"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use wec_requester::config::KeyPlace;

    use super::*;

    #[test]
    fn low_rates_get_longer_windows() {
        let s = Duration::from_secs;
        assert_eq!(measuring(s(15), 50.0), s(15));
        assert_eq!(measuring(s(15), 0.1), s(100), "ten chains");
        assert_eq!(measuring(s(15), 0.001), s(600), "but no longer than that");
        assert_eq!((coming_back(s(120), 0.25), coming_back(s(10), 0.25)), (s(120), s(24)));
        let (search, plan) = resolve(&plan().with("capacity.from", "1/m"), None).unwrap();
        // The last step, its recovery and the hold may all start after the time of the search is over.
        let last = measuring(search.step_time, 1.0 / 60.0) + measuring(search.hold, 0.8 / 60.0);
        assert!(plan.run_time() >= search.max_time + last + coming_back(search.recover, 0.5 / 60.0));
    }

    fn plan() -> PlanOptions {
        PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir")
    }

    #[test]
    fn every_key_of_a_search_is_read() {
        let mut settings = plan().settings();
        search(&mut settings);
        let unread = settings.unread().into_iter().filter(|key| key.place == KeyPlace::Search);
        assert_eq!(unread.map(|key| key.name).collect::<Vec<_>>(), [""; 0]);
    }

    /// Keys that a file may have, but that have no effect in a search, are refused.
    #[test]
    fn every_key_of_a_run_is_read_or_refused() {
        let mut settings = plan().settings();
        let push = Push::Searched { run_time: longest(&search(&mut settings)) };
        wec_requester::config::plan::plan(&mut settings, Decided { push, ..Decided::default() }, None);
        let missed =
            settings.unread().into_iter().filter(|key| !Searched::refuses(key) && key.name != "config");
        let missed: Vec<_> = missed.map(|key| key.name).collect();
        assert!(missed.is_empty(), "{missed:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, "limited_dropped = \"5%\"\n[scenarios.a]\nrate_unit = \"requests\"\n").unwrap();
        let options = plan().with("config", file.display().to_string());
        let said = resolve(&options, None).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("s.toml:1: limited_dropped: dropped iterations are a result"), "{said}");
        assert!(
            said.contains("s.toml:3: scenarios.a.rate_unit: wec capacity sets the load itself"),
            "{said}"
        );
    }

    #[test]
    fn a_refused_key_is_answered_with_what_to_give_instead() {
        let said = |key, value| resolve(&plan().with(key, value), None).map(|_| ()).unwrap_err().to_string();
        for (key, value, instead) in [
            ("rate", "5/s", "give --from and --to"),
            ("run_time", "5s", "give --max-time"),
            ("executor", "workers", "it always uses arrival-rate"),
            ("iterations", "5", "it always uses arrival-rate"),
            ("fleet_speed", "3", "it always uses arrival-rate"),
        ] {
            let said = said(key, value);
            assert!(said.ends_with(&format!("wec capacity sets the load itself: {instead}")), "{said}");
        }
    }

    #[test]
    fn a_directory_is_the_only_required_key() {
        let (search, plan) = resolve(&plan(), None).unwrap();
        assert_eq!(
            search.setting,
            SearchParameters {
                from: 1.0,
                to: None,
                growth: Growth::Factor(2.0),
                resolution: Resolution::Share(0.05),
                hold_at: Some(0.8)
            }
        );
        assert_eq!(plan.scenarios[0].load.executor(), "arrival-rate");
        assert_eq!(plan.scenarios[0].load.rate().unwrap().at(Duration::ZERO), 0.0);
        assert!(plan.run_time() > search.max_time);
        let criteria: Vec<_> = search.criteria.iter().map(ToString::to_string).collect();
        assert_eq!(criteria, CRITERIA);
        assert!(plan.thresholds.is_empty(), "thresholds judge steps, not the run");
    }

    #[test]
    fn reads_what_people_write() {
        let options = plan()
            .with("capacity.from", "60/min")
            .with("capacity.to", "500")
            .with("capacity.step", "10/s")
            .with("capacity.resolution", "2/s")
            .with("capacity.settle", "2s..10s")
            .with("capacity.hold_at", "off");
        let options = options.with("thresholds", "chain{p(95)} < 2s");
        let (search, _) = resolve(&options, None).unwrap();
        let setting = search.setting;
        assert_eq!((setting.from, setting.to, setting.hold_at), (1.0, Some(500.0), None));
        assert_eq!((setting.growth, setting.resolution), (Growth::By(10.0), Resolution::Rate(2.0)));
        assert_eq!((search.settle_least.as_secs(), search.settle_most.as_secs()), (2, 10));
        assert_eq!((search.criteria.len(), search.usual_criteria), (1, false));
    }

    #[test]
    fn flags_override_the_files_search_options() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        let read = |text: &str, key: &str, value: &str| {
            std::fs::write(&file, text).unwrap();
            let options = plan().with("config", file.display().to_string()).with(key, value);
            resolve(&options, None)
                .map(|(search, _)| search)
                .map_err(|mistakes| mistakes.to_string().replace(&folder.path().display().to_string(), ""))
        };
        let text = "weights = { revoke = 0 }\n[capacity]\nfrom = \"5/s\"\nto = 40\nstep_time = \"4s\"\nhold_at = \"off\"\n";
        let search = read(text, "capacity.from", "8/s").unwrap();
        assert_eq!((search.setting.from, search.setting.to, search.setting.hold_at), (8.0, Some(40.0), None));
        assert_eq!(search.step_time.as_secs(), 4);

        let text =
            "workers = 5\n[capacity]\nform = \"5/s\"\nto = \"fast\"\nmax_time = \"10s\"\nrate = \"5/s\"\n";
        assert_eq!(
            read(text, "capacity.hold", "1ms").unwrap_err(),
            "/s.toml:3: capacity.form: unknown key; did you mean from?\n\
             /s.toml:6: capacity.rate: does not belong to the table [capacity]: write it before that line\n\
             /s.toml:4: capacity.to: \"fast\" is not a rate like 50/s, 3000/min, 10/h or 500 requests/s, from 0 to \
             1000000 a second\n\
             --hold: \"1ms\" is shorter than 2s\n\
             /s.toml:5: capacity.max_time: is too short for a single step: give more, a shorter --step-time or a higher --from"
        );
    }

    #[test]
    fn the_shipped_example_is_a_valid_search() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios/capacity.toml");
        let plan = PlanOptions::default().with("config", file);
        let (search, _) = resolve(&plan, None).unwrap();
        assert_eq!((search.setting.from, search.usual_criteria), (5.0, false));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let options = PlanOptions::default()
            .with("capacity.from", "10 requests/s")
            .with("capacity.to", "none")
            .with("capacity.step", "x1")
            .with("capacity.resolution", "5")
            .with("capacity.step_time", "1s")
            .with("capacity.settle", "60s..5s")
            .with("capacity.recover", "soon")
            .with("capacity.max_time", "1s")
            .with("capacity.hold_at", "0.8")
            .with("capacity.hold", "1ms");
        let options = options
            .with("rate", "50/s")
            .with("run_time", "1m")
            .with("workers", "many")
            .with("thresholds", "chain{failed} < 1% over 10s");
        let Err(mistakes) = resolve(&options, None) else { panic!("all options are wrong") };
        let said = mistakes.to_string();
        for flag in [
            "--from: ",
            "--to: ",
            "--step: ",
            "--resolution: ",
            "--step-time: ",
            "--settle: ",
            "--recover: ",
            "--max-time: ",
            "--hold-at: ",
            "--hold: ",
            "--rate: ",
            "--run-time: ",
            "--workers: ",
            "--directory: ",
        ] {
            assert_eq!(said.lines().filter(|line| line.starts_with(flag)).count(), 1, "{flag}\n{said}");
        }
    }

    #[test]
    fn a_requested_hold_must_fit_into_the_time_of_the_search() {
        let options = |hold: &str| {
            plan()
                .with("capacity.step_time", "2s")
                .with("capacity.max_time", "15s")
                .with("capacity.hold", hold)
        };
        let said = |options| resolve(&options, None).map(|_| ()).map_err(|mistakes| mistakes.to_string());
        assert_eq!(
            said(options("20s")).unwrap_err(),
            "--hold: is longer than the whole search may take (--max-time): give less, more time, or --hold-at off"
        );
        assert_eq!(said(options("20s").with("capacity.hold_at", "off")), Ok(()));
        assert_eq!(said(options("5s")), Ok(()));
    }

    #[test]
    fn thresholds_of_a_search_have_no_over_and_no_abort() {
        let threshold = ["chain{failed} < 1% over 10s", "chain{failed} < 1% abort", "chain{count} > 5"];
        let options = threshold.into_iter().fold(plan(), |options, one| options.with("thresholds", one));
        let Err(mistakes) = resolve(&options, None) else { panic!("no threshold is usable") };
        let said = mistakes.to_string();
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(said.contains("omit over …") && said.contains("omit abort"), "{said}");
    }

    #[test]
    fn a_file_may_set_anything_but_the_load() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        let resolve = |text: &str| {
            std::fs::write(&file, text).unwrap();
            resolve(&PlanOptions::default().with("config", file.display().to_string()), None)
                .map(|_| ())
                .map_err(|mistakes| mistakes.to_string())
        };
        let directory = "directory = \"https://127.0.0.1:14000/dir\"\n";
        assert_eq!(resolve(&format!("{directory}workers = 50\n[weights]\nrevoke = 0\n")), Ok(()));
        let said = resolve(&format!("{directory}rate = \"5/s\"\nworker = 5\n")).unwrap_err();
        assert!(said.contains("s.toml:2: rate: wec capacity sets the load itself"), "{said}");
        assert!(said.contains("did you mean workers?"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
        let two = "[scenarios.a]\nexecutor = \"workers\"\n[scenarios.b]\nstages = [{ duration = \"1s\", target = 5 }]\n";
        let said = resolve(&format!("{directory}{two}")).unwrap_err();
        assert!(said.contains("has 2 scenarios (a, b): a capacity search has one"), "{said}");
        assert!(said.contains("s.toml:3: scenarios.a.executor: wec capacity sets the load itself"), "{said}");
        assert!(said.contains("s.toml:5: scenarios.b.stages: "), "{said}");
    }
}
