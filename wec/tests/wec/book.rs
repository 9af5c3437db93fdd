//! The commands in README.md and `docs/` run as they are written there.

use std::process::Command;

/// `scripts/docs run`: with short times, each page in a network namespace of its own.
#[test]
fn the_commands_of_the_book_run() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/docs");
    let output = Command::new(script)
        .arg("run")
        .env("WEC_BIN", env!("CARGO_BIN_EXE_wec"))
        .output()
        .expect("scripts/docs needs Python 3.10 or newer");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n`scripts/docs run PAGE` runs one page");
}
