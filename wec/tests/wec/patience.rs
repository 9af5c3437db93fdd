//! A CA that refuses: what workers do until it accepts again.

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
fn an_outage_is_met_by_few_chains_unless_workers_hammer() {
    for (fault, on_failure) in
        [("newAccount=500:1", "back-off"), ("newAccount=429:1", "back-off"), ("newAccount=500:1", "hammer")]
    {
        let folder = tempfile::tempdir().unwrap();
        let ca = crate::common::NullCa::start(folder.path(), &["--fault", fault]);
        let asked = ["--on-failure", on_failure, "--max-retries", "0"];
        if on_failure == "hammer" {
            // Any machine that goes on at once comes to ten times as many.
            let output = crate::common::run_until(folder.path(), &args(&ca, &asked), |log| chains(log) > 640);
            assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
            continue;
        }
        let mut asked = asked.to_vec();
        asked.extend(["--run-time", "5s"]);
        let output = crate::common::run(folder.path(), &args(&ca, &asked));
        let count = chains(&crate::common::log(folder.path()));
        // Waits of 50, 100, … ms at least: the eighth begins later than 5 s after the first.
        assert!((8..=64).contains(&count), "{fault}: {count} chains\n{}", crate::common::said(&output));
    }
}
