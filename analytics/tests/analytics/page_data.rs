//! What the page shows beside the snapshot: parts of a run that goes on, failed classes over time, and checks of
//! scenarios.

use std::time::Duration;

use wec_analytics::plans::{self, ScenarioCheck};
use wec_analytics::{Analytics, Config, Live, WindowView};
use wec_board::Board;
use wec_record::{Chain, ChainResult, FailureClass};

use crate::common::{chain_record, chain_result, exchange, header, unchunked};

const HOST: &str = "Host: localhost";
const JSON: &str = "Content-Type: application/json";
const SECOND: u64 = 1_000_000_000;

async fn get(analytics: &Analytics, path: &str) -> (u16, String) {
    let request = format!("GET /api/v1/{path}");
    let (status, head, body) = exchange(analytics.web_addr().unwrap(), &request, &[HOST], b"").await;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(&body) } else { body })
}

/// An iteration that ended this many seconds after the run's start, within a millisecond.
fn ended(seq: u64, second: u64, failed: Option<FailureClass>) -> ChainResult {
    let plain = chain_result(Chain::Revoke, seq, second * SECOND, 1_000_000);
    ChainResult { successful: failed.is_none(), class: failed, ..plain }
}

#[tokio::test]
async fn a_part_of_a_run_that_goes_on_has_the_figures_that_it_has_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { web: Some("127.0.0.1:0".parse().unwrap()), ..crate::common::config(folder.path()) };
    let analytics = Analytics::start(config.clone(), Board::local()).await.unwrap();
    analytics.begin(header("live")).await.unwrap();
    let class = |second| (second % 3 == 0).then_some(FailureClass::Timeout);
    let results = (1..=20).map(|second| chain_record("r1", ended(second, second, class(second))));
    analytics.ingest().deliver(results.collect()).await.unwrap();

    let part = format!("window?from_ns={}&to_ns={}", 5 * SECOND, 10 * SECOND);
    // A log is flushed soon after records came.
    let during = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            let (status, text) = get(&analytics, &format!("runs/current/{part}")).await;
            assert_eq!(status, 200, "{text}");
            let view: WindowView = serde_json::from_str(&text).unwrap();
            if view.snapshot.chains[&Chain::Revoke].count > 0 {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let during = during.await.expect("the log is flushed");
    let revoke = &during.snapshot.chains[&Chain::Revoke];
    assert_eq!((revoke.count, revoke.failed), (5, 2), "those that ended in seconds 5 to 9: 6 and 9 failed");
    let failure = &during.snapshot.failures[0];
    let seconds = |unix_ns: u64| (unix_ns - during.snapshot.run.started_unix_ns) / SECOND;
    assert_eq!((seconds(failure.first_unix_ns), seconds(failure.last_unix_ns)), (6, 9));

    let (_, text) = get(&analytics, "runs/current/snapshot").await;
    let live: Live = serde_json::from_str(&text).unwrap();
    let timeouts = &live.series.classes[&FailureClass::Timeout];
    assert_eq!(timeouts.len(), live.series.at_unix_s.len(), "a column for each bucket");
    assert_eq!((timeouts.iter().sum::<u64>(), timeouts[0]), (6, 0));
    let ca = &live.series.chains[&Chain::Revoke].ca_mean_ns;
    assert_eq!(ca.iter().flatten().count(), 14, "where an iteration succeeded");

    analytics.finish().await;
    let again = Analytics::start(config, Board::local()).await.unwrap();
    let (status, text) = get(&again, &format!("runs/live/{part}")).await;
    assert_eq!(status, 200, "{text}");
    let after: WindowView = serde_json::from_str(&text).unwrap();
    assert_eq!(after, during);
    again.finish().await;
}

#[tokio::test]
async fn a_scenario_is_checked_with_the_line_of_each_mistake_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { web: Some("127.0.0.1:0".parse().unwrap()), ..crate::common::config(folder.path()) };
    let board = Board::local();
    let analytics = Analytics::start(config, board.clone()).await.unwrap();
    let check = async |toml: &str| {
        let body = serde_json::json!({ "toml": toml }).to_string();
        let post = "POST /api/v1/scenarios/check";
        let (status, _, text) =
            exchange(analytics.web_addr().unwrap(), post, &[HOST, JSON], body.as_bytes()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<ScenarioCheck>(&text).unwrap()
    };
    let right =
        check("directory = \"https://localhost:14000/dir\"\nworkers = 3\n[weights]\nrevoke = 0\n").await;
    assert_eq!(right.mistakes, [""; 0]);
    assert_eq!((&*right.keys["workers"], &*right.keys["weights.revoke"]), ("3", "0"));
    let wrong =
        check("directory = \"https://localhost:14000/dir\"\nworkers = \"many\"\nstate = \"sqlite://a\"\n")
            .await;
    assert!(wrong.keys.is_empty());
    assert!(wrong.mistakes.iter().any(|mistake| mistake.contains(":2: workers")), "{:?}", wrong.mistakes);
    assert!(wrong.mistakes.iter().any(|mistake| mistake.contains(":3: state")), "{:?}", wrong.mistakes);
    assert!(!check("workers = [").await.mistakes.is_empty(), "a text that is no TOML is a mistake");
    assert!(plans::list(&board, None).await.unwrap().is_empty());
    analytics.finish().await;
}
