//! Back-off of workers while a CA refuses.

use wec_record::Record;

fn args<'a>(ca: &'a crate::common::NullCa, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "--headless", "--workers", "8", "--http01-listen", "127.0.0.1:0"];
    args.extend(["--weight", &crate::common::ONLY_REGISTRATIONS, "--json", "summary.json"]);
    args.extend(ca.target());
    args.extend(more);
    args
}

fn chains(log: &[Record]) -> usize {
    crate::common::results(log).count()
}

#[test]
fn few_chains_run_in_an_outage_unless_workers_hammer() {
    for (fault, on_failure) in
        [("newAccount=500:1", "back-off"), ("newAccount=429:1", "back-off"), ("newAccount=500:1", "hammer")]
    {
        let folder = tempfile::tempdir().unwrap();
        let ca = crate::common::NullCa::start(folder.path(), &["--fault", fault]);
        let asked = ["--on-failure", on_failure, "--max-retries", "0"];
        if on_failure == "hammer" {
            // Without back-off there are more than ten times as many on any machine.
            let output = crate::common::run_until(folder.path(), &args(&ca, &asked), |log| chains(log) > 640);
            assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
            continue;
        }
        let mut asked = asked.to_vec();
        asked.extend(["--run-time", "5s"]);
        let output = crate::common::run(folder.path(), &args(&ca, &asked));
        let count = chains(&crate::common::log(folder.path()));
        // The waits are at least 50, 100, … ms, so the eighth begins more than 5 s after the first.
        assert!((8..=64).contains(&count), "{fault}: {count} chains\n{}", crate::common::said(&output));
    }
}
