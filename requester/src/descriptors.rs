//! Whether this process may open as many files as the plan's connections need.

use wec_acme::HttpVersion;
use wec_chains::Connections;

use crate::plan::Plan;

/// Open files beside connections: log, state store, listeners, and incoming validations.
const BESIDES: u64 = 100;

/// The warning if a plan may need more than `limit` open files.
pub fn warning(plan: &Plan, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let needed = connections(plan).saturating_add(BESIDES);
    (needed > limit).then(|| {
        format!(
            "up to {} workers' connections need about {needed} open files, but this process may open {limit}: further \
             ones are refused by this machine (failures of class local); raise the hard limit (ulimit -Hn) or use \
             fewer --workers",
            workers(plan)
        )
    })
}

fn workers(plan: &Plan) -> u64 {
    plan.scenarios.iter().map(|scenario| scenario.load.workers().peak() as u64).sum()
}

/// Largest number of connections to the CA.
fn connections(plan: &Plan) -> u64 {
    let (threads, most) = (plan.threads as u64, plan.plain.max_connections as u64);
    let shared = if plan.http == HttpVersion::Http2 { threads } else { threads.saturating_mul(most) };
    let of = |scenario: &&crate::scenario::Scenario| scenario.load.workers().peak() as u64;
    let (sharing, apart): (Vec<_>, Vec<_>) =
        plan.scenarios.iter().partition(|scenario| scenario.choices.connections == Connections::Shared);
    let sharing: u64 = sharing.iter().map(of).sum();
    apart.iter().map(of).sum::<u64>() + sharing.min(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlanOptions;

    fn plan(connections: &str, workers: &str, http: &str) -> Plan {
        PlanOptions::default()
            .with("directory", "https://127.0.0.1:14000/dir")
            .with("connections", connections)
            .with("workers", workers)
            .with("threads", "2")
            .with("http", http)
            .resolve(None)
            .unwrap()
    }

    #[test]
    fn workers_beyond_the_limit_of_open_files_are_warned_about() {
        for (connections, workers, http, limit, warned) in [
            ("shared", "100000", "1.1", Some(1024), false),
            ("shared", "100000", "1.1", Some(611), true),
            ("shared", "100000", "2", Some(103), false),
            ("per-worker", "924", "1.1", Some(1024), false),
            ("per-worker", "925", "1.1", Some(1024), true),
            ("per-chain", "925", "2", Some(1024), true),
            ("per-chain", "925", "1.1", None, false),
        ] {
            let said = warning(&plan(connections, workers, http), limit);
            assert_eq!(said.is_some(), warned, "{connections} {workers} {http} {limit:?}: {said:?}");
        }
        let said = warning(&plan("per-worker", "2000", "1.1"), Some(1024)).unwrap();
        assert!(said.starts_with("up to 2000 workers' connections need about 2100 open files"), "{said}");
    }
}
