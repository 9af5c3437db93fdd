//! Hits on a challenge server whose clock is wrong are at the times of the requests that caused them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use wec_board::{Board, EtcdOptions};
use wec_record::Record;
use wec_testbed::Redis;
use wec_testbed::etcd::Etcd;

use super::cluster::{analytics, now, prefixed};
use super::random::with_clock;
use crate::common::{self, NullCa, Running, free};

const HOUR_NS: u64 = 3_600_000_000_000;

/// An hour ahead, the clock of the challenge server is measured against the board's time.
#[tokio::test(flavor = "multi_thread")]
async fn hits_on_a_challenge_server_with_a_wrong_clock_are_within_their_validations() {
    let folder = tempfile::tempdir().unwrap();
    let http01 = free();
    let ca = NullCa::start(folder.path(), &["--http01", &http01]);
    let etcd = Etcd::start().await.unwrap();
    let redis = Redis::start().await.unwrap();
    let (url, challenges) = (format!("etcd://{}", etcd.address()), redis.url());
    let (receiving, results) = analytics(&[], folder.path(), &url);

    let own = folder.path().join("c");
    std::fs::create_dir_all(&own).unwrap();
    let mut args = vec!["challenge-server", "--node", "c", "--http01-listen", &http01];
    args.extend(["--tlsalpn01-listen", "off", "--dns-listen", "off", "--challenges", &challenges]);
    args.extend(["--board", &url, "--analytics", &results]);
    let prefix = with_clock(3_600);
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let said = std::fs::File::create(own.join("said")).unwrap();
    let server = prefixed(&prefix, &own, &args).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let server = Running(Some(server));

    let own = folder.path().join("a");
    std::fs::create_dir_all(&own).unwrap();
    let mut args = vec!["requester", "--node", "a", "--session", "night", "--board", &url];
    args.extend(["--analytics", &results, "--challenges", &challenges, "--challenge-types", "http-01"]);
    args.extend(["--workers", "2", "--think-time", "20ms", "--run-time", "1h"]);
    args.extend(ca.target());
    let said = std::fs::File::create(own.join("said")).unwrap();
    let node = common::wec(&own, &args).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let node = Running(Some(node));

    let board = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    let measured = async {
        let mut nodes = board.nodes();
        let measured =
            nodes.wait_for(|nodes| nodes.iter().any(|node| node.name == "c" && node.clock.is_some()));
        measured.await.unwrap().iter().find(|node| node.name == "c").and_then(|node| node.clock).unwrap()
    };
    let measured =
        tokio::time::timeout(Duration::from_secs(120), measured).await.expect("the clock is measured");
    assert!(
        measured.ahead_ns.unsigned_abs().abs_diff(HOUR_NS) <= measured.within_ns + 5_000_000,
        "{measured:?}"
    );
    let log = || common::log_so_far(&folder.path().join("results"));
    let inexact = measured.within_ns + 5_000_000;
    let joined = |log: &[Record]| {
        let at: BTreeMap<_, _> = hits(log).collect();
        let within = |(name, answered, settled): &(String, u64, u64)| {
            at.get(name.as_str()).is_some_and(|at| (answered - inexact..=settled + inexact).contains(at))
        };
        proven(log).iter().filter(|one| within(one)).count()
    };
    common::until("hits are within their validations", || joined(&log()) >= 20);
    node.interrupt();
    server.interrupt();
    receiving.interrupt();

    // Hits before the clock was known are an hour ahead, and none after it.
    let log = log();
    let ahead: Vec<_> = hits(&log).map(|(_, at)| at > now() * 1_000_000_000 + HOUR_NS / 2).collect();
    assert!(ahead.is_sorted_by(|earlier, later| earlier >= later), "{:?}", hits(&log).collect::<Vec<_>>());
}

/// Name and time of each hit, in the order of arrival.
fn hits(log: &[Record]) -> impl Iterator<Item = (&str, u64)> {
    log.iter().filter_map(|record| match record {
        Record::Hit { hit, .. } => Some((hit.name.as_str(), hit.at_unix_ns)),
        _ => None,
    })
}

/// Name, answer of the challenge and end of each validation, nanoseconds since the Unix epoch.
fn proven(log: &[Record]) -> Vec<(String, u64, u64)> {
    let chains = log.iter().filter_map(|record| match record {
        Record::Chain { origin_unix_ns, result, .. } => Some((*origin_unix_ns, &result.authorizations)),
        _ => None,
    });
    let all = chains.flat_map(|(origin, authorizations)| {
        let settled = authorizations.iter().filter(|one| one.answered > 0 && one.settled > 0);
        settled.map(move |one| (one.name.clone(), origin + one.answered, origin + one.settled))
    });
    all.collect()
}
