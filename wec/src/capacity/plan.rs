//! What `wec capacity` is asked to do, as the program uses it. Every mistake is told at once, those of the plan among them.

use std::time::Duration;

use wec_record::Threshold;
use wec_record::threshold::{Metric, Stat};
use wec_requester::executor::Unit;
use wec_requester::plan::PLAN_KEYS;
use wec_requester::scenario::{SCENARIO_KEYS, rate};
use wec_requester::settings::{Mistake, Mistakes, Origin, Settings};
use wec_requester::{Load, Plan, PlanOptions, SearchOptions};

use super::pilot::{coming_back, measuring};
use super::search::{Growth, MAX_RATE, Resolution, Setting, TRICKLE_SHARE};

/// The shortest times that can be looked at: eight parts of a quarter of a second.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest: what analytics keeps of windows is bounded.
const LONGEST: Duration = Duration::from_secs(1_800);
/// What a step must hold when nothing is asked for.
const CRITERIA: [&str; 2] = ["chain{failed} < 1%", "dropped < 1%"];

/// How to search.
#[derive(Clone, Debug)]
pub(crate) struct SearchPlan {
    pub(crate) setting: Setting,
    pub(crate) step_time: Duration,
    pub(crate) settle_least: Duration,
    pub(crate) settle_most: Duration,
    pub(crate) recover: Duration,
    pub(crate) max_time: Duration,
    pub(crate) hold: Duration,
    /// What each step must hold.
    pub(crate) criteria: Vec<Threshold>,
    /// Whether they are the usual ones, because none was named.
    pub(crate) usual_criteria: bool,
    /// Whether arrivals are Poisson's.
    pub(crate) poisson: bool,
}

/// The search and the run that it takes place in: what was typed, `eab_hmac_key` from the environment, and what the file says of both.
///
/// # Errors
/// Every mistake at once: of the search, of the plan, and of what does not go together.
pub(crate) fn resolve(
    options: &SearchOptions,
    plan: &PlanOptions,
    eab_hmac_key: Option<String>,
) -> Result<(SearchPlan, Plan), Mistakes> {
    let mut s = Settings::default();
    options.set(&mut s);
    not_ours(plan, &mut s);
    let mut search = search(&mut s);
    let mut mistakes = s.finish().err().map_or_else(Vec::new, |mistakes| mistakes.0);

    // Room for the last step, its recovery and the hold; the search ends itself long before.
    let slowest = search.setting.from * TRICKLE_SHARE;
    let longest = search.max_time
        + 2 * (search.recover + coming_back(search.recover, slowest))
        + 2 * search.settle_most
        + measuring(search.step_time, slowest)
        + measuring(search.hold, slowest)
        + Duration::from_secs(60);
    let options = PlanOptions {
        executor: Some("arrival-rate".to_owned()),
        rate: Some("0/s".to_owned()),
        run_time: Some(format!("{}s", longest.as_secs())),
        ..plan.clone()
    };
    let mut plan = match options.resolve(eab_hmac_key) {
        Ok(plan) => plan,
        Err(plan_mistakes) => {
            // What is wrong with how hard to push was told above, in other words.
            let told = |one: &Mistake| mistakes.iter().any(|known| known == one || known.key == one.key);
            let more: Vec<_> = plan_mistakes.0.into_iter().filter(|one| !told(one)).collect();
            mistakes.extend(more);
            return Err(Mistakes(mistakes));
        }
    };
    search.criteria = std::mem::take(&mut plan.thresholds);
    search.usual_criteria = search.criteria.is_empty();
    if search.usual_criteria {
        let usual = CRITERIA.into_iter().map(|text| text.parse());
        search.criteria = usual.collect::<Result<_, _>>().expect("a constant threshold parses");
    }
    mistakes.extend(search.criteria.iter().filter_map(unfit));
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    search.poisson =
        plan.scenarios.iter().all(|one| matches!(one.load, Load::ArrivalRate { poisson: true, .. }));
    // Dropped iterations are an answer here: above the knee there are always some.
    plan.bounds.dropped = f64::from(u16::MAX);
    Ok((search, plan))
}

/// Reads the plan's file, and tells flags and keys that say how hard to push, which is what is searched.
fn not_ours(plan: &PlanOptions, s: &mut Settings) {
    const SAYS: &str = "wec capacity finds out itself how hard to push";
    let flags = [
        ("rate", &plan.rate, "give --from and --to"),
        ("stages", &plan.stages, "give --step and --step-time"),
        ("run_time", &plan.run_time, "give --max-time"),
        ("executor", &plan.executor, "it always uses arrival-rate"),
        ("target_rps", &plan.target_rps, "give --from and --to"),
        ("iterations", &plan.iterations, "give --max-time"),
        ("think_time", &plan.think_time, "the rate says when chains start"),
    ];
    for (key, _, instead) in flags.iter().filter(|(_, given, _)| given.is_some()) {
        s.mistake(key, format!("{SAYS}: {instead}"));
    }
    // What cannot be read is told by the plan.
    let text =
        plan.config.as_ref().and_then(|path| Some((path.display(), std::fs::read_to_string(path).ok()?)));
    if let Some((path, text)) = text {
        s.text(&path.to_string(), &text, PLAN_KEYS, SCENARIO_KEYS);
        let scenarios = s.scenarios();
        if scenarios.len() > 1 {
            let (number, names) = (scenarios.len(), scenarios.join(", "));
            let message = format!("{path} has {number} scenarios ({names}): a capacity search is of one");
            s.mistake("config", message);
        }
    }
    let scenarios = s.scenarios();
    for (key, _, instead) in flags {
        let tables = scenarios.iter().map(|name| format!("scenarios.{name}.{key}"));
        for key in tables.chain([key.to_owned()]) {
            if s.is_given(&key) {
                s.mistake(&key, format!("{SAYS}: {instead}"));
            }
        }
    }
}

fn search(s: &mut Settings) -> SearchPlan {
    let from = s.take("capacity.from", positive_rate).unwrap_or(1.0);
    let to = s.take("capacity.to", positive_rate);
    if let Some(to) = to
        && to < from
    {
        s.mistake(
            "capacity.to",
            format!("is below the first rate, {from}/s: give a lower --from or a higher --to"),
        );
    }
    let growth = s.take("capacity.step", growth).unwrap_or(Growth::Factor(2.0));
    let resolution = s.take("capacity.resolution", resolution).unwrap_or(Resolution::Share(0.05));
    let step_time =
        s.take("capacity.step_time", |text| time(text, SHORTEST)).unwrap_or(Duration::from_secs(15));
    let (settle_least, settle_most) =
        s.take("capacity.settle", settle).unwrap_or((Duration::from_secs(5), Duration::from_secs(60)));
    let recover = s
        .take("capacity.recover", |text| time(text, Duration::from_secs(5)))
        .unwrap_or(Duration::from_secs(120));
    let max_time = s
        .take("capacity.max_time", |text| any_time(text, Duration::from_secs(10)))
        .unwrap_or(Duration::from_secs(1_800));
    if settle_least + measuring(step_time, from) > max_time {
        s.mistake(
            "capacity.max_time",
            "is too short for a single step: give more, a shorter --step-time or a higher --from",
        );
    }
    let hold_at = s.take("capacity.hold_at", hold_at).unwrap_or(Some(0.8));
    let hold = s.take("capacity.hold", |text| time(text, SHORTEST)).unwrap_or(Duration::from_secs(30));
    SearchPlan {
        setting: Setting { from, to, growth, resolution, hold_at },
        step_time,
        settle_least,
        settle_most,
        recover,
        max_time,
        hold,
        criteria: Vec::new(),
        usual_criteria: false,
        poisson: true,
    }
}

/// What of a threshold has no meaning for a step.
fn unfit(threshold: &Threshold) -> Option<Mistake> {
    let message = if threshold.window.is_some() {
        "a step is judged over its own window: leave over … away, and give --step-time"
    } else if threshold.abort {
        "a step that fails is ended, and the search goes on below: leave abort away"
    } else if matches!(
        threshold.metric,
        Metric::Errors(_) | Metric::Chain(_, Stat::Count) | Metric::Requests(_, Stat::Count)
    ) && !threshold.op.wants_little()
    {
        "steps differ in how many things happen in them: give a share, a rate or a time"
    } else {
        return None;
    };
    let message = format!("{:?}: {message}", threshold.to_string());
    Some(Mistake { key: "thresholds".to_owned(), origin: Some(Origin::Flag), message })
}

fn positive_rate(text: &str) -> Result<f64, String> {
    let rate = rate(text)?;
    if rate.unit == Some(Unit::Requests) {
        return Err(format!("{text:?} counts requests: a capacity is in chains, as in 10/s"));
    }
    let per_second = rate.per_second;
    if per_second > 0.0 && per_second <= MAX_RATE {
        Ok(per_second)
    } else {
        Err(format!("{text:?} is no load at all: as in 1/s or 10/min"))
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
        Err(format!("{text:?} ends before it begins: write the shorter time first"))
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
    // A week is a mistyped unit.
    if time > Duration::from_secs(7 * 86_400) {
        return Err(format!("{text:?} is longer than 7days"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_chains_are_given_the_time_to_become_due() {
        let s = Duration::from_secs;
        assert_eq!(measuring(s(15), 50.0), s(15));
        assert_eq!(measuring(s(15), 0.1), s(100), "ten chains");
        assert_eq!(measuring(s(15), 0.001), s(600), "but no longer than that");
        assert_eq!((coming_back(s(120), 0.25), coming_back(s(10), 0.25)), (s(120), s(24)));
        let options = SearchOptions { from: Some("1/m".to_owned()), ..SearchOptions::default() };
        let (search, plan) = resolve(&options, &plan(), None).unwrap();
        // The last step, its recovery and the hold may all come when the search's time is over.
        let last = measuring(search.step_time, 1.0 / 60.0) + measuring(search.hold, 0.8 / 60.0);
        assert!(plan.run_time() >= search.max_time + last + coming_back(search.recover, 0.5 / 60.0));
    }

    fn plan() -> PlanOptions {
        PlanOptions { directory: Some("https://127.0.0.1:14000/dir".into()), ..PlanOptions::default() }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn needs_nothing_but_a_directory() {
        let (search, plan) = resolve(&SearchOptions::default(), &plan(), None).unwrap();
        assert_eq!(
            search.setting,
            Setting {
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
        assert!(plan.thresholds.is_empty(), "they judge steps, and not the run");
    }

    #[test]
    fn reads_what_people_write() {
        let options = SearchOptions {
            from: some("60/min"),
            to: some("500"),
            step: some("10/s"),
            resolution: some("2/s"),
            settle: some("2s..10s"),
            hold_at: some("off"),
            ..SearchOptions::default()
        };
        let plan = PlanOptions { threshold: vec!["chain{p(95)} < 2s".to_owned()], ..plan() };
        let (search, _) = resolve(&options, &plan, None).unwrap();
        let setting = search.setting;
        assert_eq!((setting.from, setting.to, setting.hold_at), (1.0, Some(500.0), None));
        assert_eq!((setting.growth, setting.resolution), (Growth::By(10.0), Resolution::Rate(2.0)));
        assert_eq!((search.settle_least.as_secs(), search.settle_most.as_secs()), (2, 10));
        assert_eq!((search.criteria.len(), search.usual_criteria), (1, false));
    }

    #[test]
    fn a_file_says_how_to_search_and_flags_go_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        let read = |text: &str, options: &SearchOptions| {
            std::fs::write(&file, text).unwrap();
            let plan = PlanOptions { config: Some(file.clone()), ..plan() };
            resolve(options, &plan, None)
                .map(|(search, _)| search)
                .map_err(|mistakes| mistakes.to_string().replace(&folder.path().display().to_string(), ""))
        };
        let text = "weights = { revoke = 0 }\n[capacity]\nfrom = \"5/s\"\nto = 40\nstep_time = \"4s\"\nhold_at = \"off\"\n";
        let search = read(text, &SearchOptions { from: some("8/s"), ..SearchOptions::default() }).unwrap();
        assert_eq!((search.setting.from, search.setting.to, search.setting.hold_at), (8.0, Some(40.0), None));
        assert_eq!(search.step_time.as_secs(), 4);

        let text =
            "workers = 5\n[capacity]\nform = \"5/s\"\nto = \"fast\"\nmax_time = \"10s\"\nrate = \"5/s\"\n";
        let options = SearchOptions { hold: some("1ms"), ..SearchOptions::default() };
        assert_eq!(
            read(text, &options).unwrap_err(),
            "/s.toml:3: capacity.form: unknown key; did you mean from?\n\
             /s.toml:6: capacity.rate: does not belong to the table [capacity]: write it before that line\n\
             /s.toml:4: capacity.to: \"fast\" is not a rate like 50/s, 3000/min, 10/h or 500 requests/s, from 0 to \
             1000000 a second\n\
             /s.toml:5: capacity.max_time: is too short for a single step: give more, a shorter --step-time or a higher --from\n\
             --hold: \"1ms\" is shorter than 2s"
        );
    }

    #[test]
    fn the_shipped_search_is_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios/capacity.toml");
        let plan = PlanOptions { config: Some(file.into()), ..PlanOptions::default() };
        let (search, _) = resolve(&SearchOptions::default(), &plan, None).unwrap();
        assert_eq!((search.setting.from, search.usual_criteria), (5.0, false));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let options = SearchOptions {
            from: some("10 requests/s"),
            to: some("none"),
            step: some("x1"),
            resolution: some("5"),
            step_time: some("1s"),
            settle: some("60s..5s"),
            recover: some("soon"),
            max_time: some("1s"),
            hold_at: some("0.8"),
            hold: some("1ms"),
        };
        let plan = PlanOptions {
            rate: some("50/s"),
            run_time: some("1m"),
            workers: some("many"),
            threshold: vec!["chain{failed} < 1% over 10s".to_owned()],
            ..PlanOptions::default()
        };
        let Err(mistakes) = resolve(&options, &plan, None) else { panic!("nothing of it is right") };
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
    fn a_step_has_no_other_windows_and_nothing_to_abort() {
        let threshold = ["chain{failed} < 1% over 10s", "chain{failed} < 1% abort", "chain{count} > 5"];
        let plan = PlanOptions { threshold: threshold.map(str::to_owned).to_vec(), ..plan() };
        let Err(mistakes) = resolve(&SearchOptions::default(), &plan, None) else {
            panic!("none of them fits")
        };
        let said = mistakes.to_string();
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(said.contains("leave over … away") && said.contains("leave abort away"), "{said}");
    }

    #[test]
    fn a_file_may_say_anything_but_how_hard_to_push() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        let resolve = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let plan = PlanOptions { config: Some(file.clone()), ..PlanOptions::default() };
            resolve(&SearchOptions::default(), &plan, None)
                .map(|_| ())
                .map_err(|mistakes| mistakes.to_string())
        };
        let directory = "directory = \"https://127.0.0.1:14000/dir\"\n";
        assert_eq!(resolve(&format!("{directory}workers = 50\n[weights]\nrevoke = 0\n")), Ok(()));
        let said = resolve(&format!("{directory}rate = \"5/s\"\nworker = 5\n")).unwrap_err();
        assert!(said.contains("s.toml:2: rate: wec capacity finds out itself"), "{said}");
        assert!(said.contains("did you mean workers?"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
        let two = "[scenarios.a]\nexecutor = \"workers\"\n[scenarios.b]\nstages = [{ duration = \"1s\", target = 5 }]\n";
        let said = resolve(&format!("{directory}{two}")).unwrap_err();
        assert!(said.contains("has 2 scenarios (a, b): a capacity search is of one"), "{said}");
        assert!(said.contains("s.toml:3: scenarios.a.executor: wec capacity finds out itself"), "{said}");
        assert!(said.contains("s.toml:5: scenarios.b.stages: "), "{said}");
    }
}
