//! A chain that has begun sends nothing after its node's right to send has ended, whatever it still had to do.

use std::process::Stdio;
use std::time::Duration;

use wec_board::{Board, EtcdOptions};
use wec_record::{Chain, ChainResult, Record};
use wec_testbed::etcd::Etcd;

use super::cluster::{analytics, new_log};
use crate::common::{self, NullCa, Running, only};

/// Chains with several requests each, which take more than a second.
fn begun(folder: &std::path::Path) -> Vec<(u64, ChainResult)> {
    let records = common::log_so_far(&folder.join("results"));
    let chain = |record| match record {
        Record::Chain { origin_unix_ns, result, .. } if result.chain == Some(Chain::Authorization) => {
            Some((origin_unix_ns, result))
        }
        _ => None,
    };
    records.into_iter().filter_map(chain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_of_a_node_that_was_stopped_send_nothing_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &["--latency", "200ms"]);
    let etcd = Etcd::start().await.unwrap();
    let url = format!("etcd://{}?lease=2", etcd.address());
    let (results_at, results) = analytics(&[], folder.path(), &url);
    let weights = only(Chain::Authorization).replace("registration=0", "registration=1");
    let mut args = vec!["requester", "--node", "a", "--analytics", &results, "--board", &url];
    args.extend(["--session", "night", "--workers", "20", "--run-time", "1h", "--weight", &weights]);
    args.extend(["--http01-listen", "127.0.0.1:0", "--challenge-linger", "0s"]);
    args.extend(ca.target());
    let own = folder.path().join("a");
    std::fs::create_dir_all(&own).unwrap();
    let child = common::wec(&own, &args).stdout(Stdio::null()).stderr(new_log(&own)).spawn().unwrap();
    let node = Running(Some(child));
    let child = node.0.as_ref().unwrap();

    let board = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    let succeeded = |after: u64| {
        let begun = begun(folder.path()).into_iter();
        begun.filter(|(origin, result)| result.successful && origin + result.started > after).count()
    };
    common::until("chains run", || succeeded(0) >= 20);
    common::signal(child, "-STOP");
    let stopped = unix_ns();
    let gone = async {
        let mut nodes = board.nodes();
        nodes.wait_for(|nodes| nodes.iter().all(|node| node.name != "a")).await.map(drop).unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the lease of the node ends");
    let goes_on = unix_ns();
    common::signal(child, "-CONT");
    common::until("chains run again", || succeeded(goes_on) >= 20);
    node.interrupt();
    results_at.interrupt();

    let before: Vec<_> = begun(folder.path())
        .into_iter()
        .filter(|(origin, result)| origin + result.started < stopped)
        .collect();
    let (mut late, mut cut) = (Vec::new(), 0);
    for (origin, result) in &before {
        let sent = result.requests.iter().filter(|request| request.bytes_sent > 0);
        late.extend(sent.filter(|request| origin + request.sent > goes_on).map(|request| &request.endpoint));
        cut += usize::from(result.is_cut_off() && result.detail == "lease");
    }
    assert!(late.is_empty(), "sent by chains that had begun before: {late:?}");
    // The others had their last answer when the process was stopped.
    let said = std::fs::read_to_string(own.join("said")).unwrap();
    assert!(cut > 0, "no chain was interrupted: {before:#?}\n{said}");
    assert!(before.iter().all(|(_, result)| result.successful || result.is_cut_off()), "{before:#?}");
}

#[expect(clippy::disallowed_methods, reason = "compared with the times in a log")]
fn unix_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}
