//! Stored state over runs, and `wec state`.

use serde_json::Value;
use wec_record::Chain;

fn run(folder: &std::path::Path, ca: &crate::common::NullCa, more: &[&str]) -> std::process::Output {
    let mut args =
        vec!["run", "--headless", "--workers", "5", "--iterations", "150", "--json", "summary.json"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off"]);
    args.extend(ca.target());
    args.extend(more);
    crate::common::run(folder, &args)
}

#[test]
fn what_is_stored_of_a_ca_that_was_reset_is_set_aside_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let address = crate::common::free();
    let start = || crate::common::NullCa::start_at(folder.path(), &address, &[]);
    let first = start();
    let output = run(folder.path(), &first, &["--log-dir", "first"]);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("state   sqlite://wec-state.sqlite: nothing of this CA yet"), "{said}");
    let stored = crate::common::summary(folder.path())["state"]["registrations"].as_u64().unwrap();
    assert!(stored > 0);

    // The same CA again, so the run continues with the stored state.
    let output = run(folder.path(), &first, &["--log-dir", "second"]);
    let said = crate::common::said(&output);
    assert!(said.contains(&format!("continues with {stored} account")), "{said}");
    drop(first);

    // A CA at the same address that has lost its data.
    let reset = start();
    let output = run(folder.path(), &reset, &["--log-dir", "third"]);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the CA no longer knows the stored accounts"), "{said}");
    let summary = crate::common::summary(folder.path());
    for chain in Chain::ALL {
        assert_eq!(crate::common::chain(&summary, chain.name()).1, 0, "{chain}: {}", summary["failures"]);
    }

    let list = |args: &[&str]| {
        let output = crate::common::run(folder.path(), &[&["state", "list"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: Vec<Value> = serde_json::from_str(&list(&["--json"])).unwrap();
    let [aside, now] = &listed[..] else { panic!("{listed:?}") };
    let (aside, now) = (aside["directory"].as_str().unwrap(), now["directory"].as_str().unwrap());
    assert_eq!(now, reset.target()[1]);
    assert!(aside.starts_with(&format!("{now} (set aside 20")), "{aside}");
    let table = list(&[]);
    assert!(table.contains("ready orders") && table.contains(aside), "{table}");

    let output = crate::common::run(folder.path(), &["state", "forget", "https://nowhere.test/dir"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        crate::common::said(&output).contains(&format!("there is {aside:?}")),
        "{}",
        crate::common::said(&output)
    );
    let output = crate::common::run(folder.path(), &["state", "forget", aside]);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    assert!(!list(&[]).contains("set aside"));
}

#[test]
fn wec_state_does_not_create_a_missing_state() {
    let folder = tempfile::tempdir().unwrap();
    let output = crate::common::run(folder.path(), &["state", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        crate::common::said(&output).contains("there is no state database"),
        "{}",
        crate::common::said(&output)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
