use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::CommandFactory as _;
use wec_board::{AgentInfo, AgentState, AgentTask, AgentsView, PlanState, Selection, SessionPlan, Versioned};

use super::configuration::with_files;
use super::follow::{PartGoes, Wanted, goes, wanted};

/// The arguments that files add, for these typed arguments and variables.
fn added(typed: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mut command = crate::Cli::command();
    command.build();
    let typed: Vec<OsString> = ["wec"].iter().chain(typed).map(OsString::from).collect();
    let (variables, given) = (BTreeMap::from_iter(variables.iter().copied()), typed.len());
    let all = with_files(typed, &command, |name| variables.get(name).map(|value| (*value).to_owned()))?;
    let mut added: Vec<_> = all[given..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
    added.sort();
    Ok(added)
}

#[test]
fn flags_override_variables_and_these_override_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let text = "board = \"etcd://file:1\"\ngroup = \"eu\"\nlabel = [\"disk=ssd\", \"cpu=8\"]\nno_calibration = true\n\
                state = \"sqlite://own\"\nhook = [\"at 5m: echo a, b\", \"on threshold: true\"]\n";
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let config = ["agent", "--config", &path];
    assert_eq!(
        added(&config, &[]).unwrap(),
        [
            "--board=etcd://file:1",
            "--group=eu",
            "--hook=at 5m: echo a, b",
            "--hook=on threshold: true",
            "--label=cpu=8",
            "--label=disk=ssd",
            "--no-calibration",
            "--state=sqlite://own"
        ]
    );
    let typed = ["agent", "--config", &path, "--group", "us", "--state=x", "--no-calibration"];
    let variables = [("WEC_BOARD", "etcd://env:1"), ("WEC_HOOKS", "at 1m: true")];
    assert_eq!(added(&typed, &variables).unwrap(), ["--label=cpu=8", "--label=disk=ssd"]);
    assert_eq!(added(&["agent"], &[("WEC_AGENT_CONFIG", &path)]).unwrap().len(), 8);
    assert_eq!(added(&["run", "--config", &path], &[]).unwrap(), Vec::<String>::new(), "another command");
    for (text, refused) in [
        ("workers = 5\n", "workers: belongs to sessions"),
        ("bord = 5\n", "bord: unknown key; known are "),
        ("group = { a = 1 }\n", "group: a table is not expected here"),
        ("group = \n", "agent.toml: "),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = added(&config, &[]).unwrap_err();
        assert!(error.contains(refused), "{error}");
    }
    assert!(
        added(&["agent", "--config", "/no/such/file"], &[])
            .unwrap_err()
            .contains("cannot read /no/such/file")
    );
}

#[test]
fn a_part_ends_with_its_session_and_a_cut_is_of_all_its_runs() {
    use PartGoes::{AtOnce, On, ToItsEnd};
    use PlanState::{Aborted, Error, Ready, Running, Stopped, Stopping};
    let plan = |state, run: &str, cut| SessionPlan {
        state,
        run: run.to_owned(),
        cut,
        ..SessionPlan::new("s", "wec", BTreeMap::new())
    };
    for (state, run, cut, expected) in [
        (Running, "r", false, On),
        (Stopping, "r", false, ToItsEnd),
        (Stopping, "r", true, AtOnce),
        (Stopped, "r", false, ToItsEnd),
        (Error, "r", false, ToItsEnd),
        (Aborted, "r", true, AtOnce),
        (Ready, "r", false, ToItsEnd),
        // The target has changed, and then all of it is stopped at once.
        (Running, "later", false, ToItsEnd),
        (Stopping, "later", false, ToItsEnd),
        (Stopping, "later", true, AtOnce),
        (Aborted, "later", true, AtOnce),
    ] {
        assert_eq!(goes(Some(&plan(state, run, cut)), "r"), expected, "{state:?} {run} {cut}");
    }
    assert_eq!(goes(None, "r"), AtOnce, "deleted");
}

#[test]
fn an_agent_takes_what_is_meant_for_it_and_running() {
    let agent = AgentInfo {
        name: "a".to_owned(),
        incarnation: "1".to_owned(),
        group: "eu".to_owned(),
        labels: BTreeMap::new(),
        program: String::new(),
        strength: None,
        draining: false,
        since_unix_ns: 0,
    };
    let plan = |state, group: Option<&str>| SessionPlan {
        state,
        run: "r".to_owned(),
        agents: Selection { group: group.map(str::to_owned), ..Selection::default() },
        ..SessionPlan::new("s", "wec", BTreeMap::new())
    };
    let task = |state, run: &str, left| AgentTask {
        run: run.to_owned(),
        incarnation: "1".to_owned(),
        state,
        reason: String::new(),
        since_unix_ns: 0,
        left,
        taken: 1,
    };
    use AgentState::{Error, Preparing, TestFinished, TestStopped};
    for (plan, task, draining, expected) in [
        (plan(PlanState::Running, None), None, false, Wanted::Take),
        (plan(PlanState::Running, Some("eu")), None, false, Wanted::Take),
        (plan(PlanState::Running, Some("us")), None, false, Wanted::Leave),
        (plan(PlanState::Running, None), None, true, Wanted::Leave),
        (plan(PlanState::Ready, None), None, false, Wanted::Leave),
        (plan(PlanState::Stopping, None), None, false, Wanted::Leave),
        (plan(PlanState::Running, None), Some(task(Preparing, "r", false)), false, Wanted::Take),
        (plan(PlanState::Running, None), Some(task(TestFinished, "r", false)), false, Wanted::Leave),
        (plan(PlanState::Running, None), Some(task(Error, "r", false)), false, Wanted::Leave),
        (plan(PlanState::Running, None), Some(task(TestFinished, "q", false)), false, Wanted::Take),
        (plan(PlanState::Running, None), Some(task(TestStopped, "r", true)), false, Wanted::Take),
    ] {
        let agent = AgentInfo { draining, ..agent.clone() };
        let mut view = AgentsView::default();
        view.live.insert("a".to_owned(), agent);
        view.plans.insert("s".to_owned(), Versioned { version: 1, value: plan.clone() });
        view.tasks.extend(task.clone().map(|task| (("s".to_owned(), "a".to_owned()), task)));
        assert_eq!(wanted(&view, &plan, "a"), expected, "{:?} {task:?}", plan.state);
    }
}
