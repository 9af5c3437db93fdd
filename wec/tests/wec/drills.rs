//! Marks from outside, and local commands of a drill.

use wec_record::{Event, Level, Record};

use crate::common::{NullCa, ONLY_REGISTRATIONS, Run, mark, marks, said};

#[test]
fn a_mark_from_outside_is_on_the_time_axis() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    let mut run = Run::start(folder.path(), &ca, &["--workers", "1"]);
    run.until_running(1);
    let marked = |args: &[&str]| {
        let args: Vec<_> = ["mark", "--at", &run.page].into_iter().chain(args.iter().copied()).collect();
        crate::common::run(folder.path(), &args)
    };
    let output = marked(&["deployed 1.4"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "marked: deployed 1.4\n");
    assert_eq!(marked(&[" "]).status.code(), Some(2));
    let unknown = marked(&["x", "--run", "none"]);
    assert!(said(&unknown).contains("there is no run \"none\""), "{}", said(&unknown));
    let (status, made) = run.http("POST /api/v1/runs/current/marks", r#"{"text":"failed over"}"#);
    assert_eq!((status, &made["what"]), (201, &"note".into()), "{made}");
    run.told(folder.path(), &["stop"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    assert_eq!(
        marks(folder.path()),
        [
            mark("cli", "workers", "0", "1"),
            mark("cli", "note", "", "deployed 1.4"),
            mark("api", "note", "", "failed over"),
            mark("cli", "state", "running", "stopped"),
        ]
    );
}

#[test]
fn the_records_of_hooks_are_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    // The failed threshold ends the run.
    let mut args = vec!["run", "--headless", "--run-time", "10m", "--workers", "1", "--think-time", "20ms"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]);
    args.extend(["--hook", "at 0s: echo drill begins", "--hook", "on threshold: echo $((6 * 7)); exit 3"]);
    args.extend(["--hook", "at 9h: echo never", "--threshold", "chain{count} < 5 abort"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    let log = crate::common::log(folder.path()).into_iter();
    let events = log.filter_map(|record| match record {
        Record::Event(Event { node, level, text, .. }) if node == "hook" => Some((level, text)),
        _ => None,
    });
    let events: Vec<_> = events.collect();
    assert!(said(&output).contains("the run ended before the hook \"echo never\""), "{}", said(&output));
    let [(first, drill), (second, alarm)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((first, second), (&Level::Warn, &Level::Error));
    assert!(drill.contains("exit status: 0: drill begins"), "{drill}");
    assert!(alarm.contains("exit status: 3: 42"), "{alarm}");
    let hooks: Vec<_> = marks(folder.path()).into_iter().filter(|(by, ..)| by == "hook").collect();
    assert_eq!(hooks.len(), 2, "{hooks:?}");

    let wrong = crate::common::run(folder.path(), &["run", "--hook", "soon: x", "--headless"]);
    assert!(
        said(&wrong).contains("neither 'at TIME: COMMAND' nor 'on threshold: COMMAND'"),
        "{}",
        said(&wrong)
    );
}
