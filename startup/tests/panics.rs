//! A panic anywhere ends a program with 70 and its place. Without the test harness, which has its own hook and exit
//! codes.
//!
//! The program is this binary, run again; the environment names the place to panic.
#![allow(clippy::unwrap_used, reason = "a test's expectations")]

use std::process::{Command, ExitCode, Stdio};

use wec_startup::{Exit, Logging, guarded, run_command, run_service};

const PLACE: &str = "WEC_TEST_PANIC";

fn main() -> ExitCode {
    let Ok(place) = std::env::var(PLACE) else {
        check();
        return ExitCode::SUCCESS;
    };
    guarded(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            match place.as_str() {
                "none" => run_command(|_| async { Ok(Exit::Failed) }).await.into(),
                "main" => panic!("at main"),
                "service" => {
                    run_service(&Logging::default(), |stop| async move {
                        tokio::spawn(async { panic!("at a task of a service") });
                        stop.cancelled().await;
                        anyhow::Ok(())
                    })
                    .await
                }
                place => {
                    let place = place.to_owned();
                    // The command runs until it is stopped, and reports success.
                    run_command(|stop| async move {
                        match place.as_str() {
                            "task" => drop(tokio::spawn(async { panic!("at a task") })),
                            "thread" => drop(
                                std::thread::Builder::new()
                                    .name("workers-0".to_owned())
                                    .spawn(|| panic!("at {}", "a thread")),
                            ),
                            "thousands" => {
                                let tasks = (0..1_000).map(|_| tokio::spawn(async { panic!("at a task") }));
                                // The first panic ends the command; all are to be counted before that.
                                for task in tasks.collect::<Vec<_>>() {
                                    let _: Result<(), _> = task.await;
                                }
                            }
                            other => panic!("{other:?} is no place"),
                        }
                        stop.finish.cancelled().await;
                        Ok(Exit::Passed)
                    })
                    .await
                    .into()
                }
            }
        })
    })
}

fn check() {
    for (place, code, says) in [
        ("none", 99, ""),
        ("main", 70, "panicked at startup/tests/panics.rs:"),
        ("task", 70, "panicked at startup/tests/panics.rs:"),
        ("thread", 70, "thread workers-0 panicked at startup/tests/panics.rs:"),
        ("service", 70, ": at a task of a service"),
        ("thousands", 70, "panics in all"),
    ] {
        // Standard error may be closed.
        for closed in [false, true] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(PLACE, place).env_remove("RUST_BACKTRACE").stdin(Stdio::null());
            if closed {
                let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
                command.stderr(full.try_clone().unwrap()).stdout(full);
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{place}: {said}");
            assert!(closed || said.contains(says), "{place}: {said}");
            assert!(said.matches("bug: thread").count() <= 3, "{place}: {said}");
        }
    }
    println!("test a_panic_anywhere_ends_the_program_with_70_and_its_place ... ok");
}
