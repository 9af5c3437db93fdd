//! One fault after the other, each until the CA gets its target again.

use wec_board::{Board, EtcdOptions, LoadUnit, Shares};
use wec_testbed::etcd::Etcd;

use super::cluster::{Cluster, Scale, now};
use super::counted::Chains;
use super::random::with_clock;
use super::table::{Observed as _, Table};

/// The board as a test sees it.
async fn board(etcd: &Etcd) -> Board {
    Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap()
}

/// Waits until these nodes have their shares, and nobody waits for another.
async fn until_shared(board: &Board, cluster: &Cluster, names: &[&str]) {
    until_shares(board, cluster, names, |_| true).await;
}

/// The same until all offer their whole strength: on a busy machine they offer less at times. Returns the part of each of
/// the target.
async fn until_whole(board: &Board, cluster: &Cluster, names: &[&str]) -> Vec<f64> {
    let whole = |shares: &Shares| {
        let mut offered = names.iter().zip(shares.nodes.values());
        offered.all(|(name, share)| share.strength.chains == 1_000 * u64::from(cluster.scale.strength(name)))
    };
    until_shares(board, cluster, names, whole).await
}

async fn until_shares(
    board: &Board,
    cluster: &Cluster,
    names: &[&str],
    also: impl Fn(&Shares) -> bool,
) -> Vec<f64> {
    let mut shares = board.shares("night");
    let settled = shares.wait_for(|shares| {
        let unlimited = shares.nodes.values().all(|share| share.limit.is_none());
        unlimited
            && shares.nodes.len() == names.len()
            && names.iter().all(|name| shares.nodes.keys().any(|id| id.starts_with(&format!("{name}-"))))
            && also(shares)
    });
    let bound = std::time::Duration::from_secs(120);
    let Ok(settled) = tokio::time::timeout(bound, settled).await else {
        let said = names.iter().map(|name| format!("{name}: {}", cluster.said(name)));
        let (shares, nodes) = (board.shares("night").borrow().clone(), board.nodes().borrow().clone());
        panic!("{names:?} do not share: {shares:#?}\n{nodes:#?}\n{}", said.collect::<String>());
    };
    let settled = settled.unwrap().clone();
    let rate = f64::from(cluster.scale.rate);
    let parts: Vec<f64> = settled.nodes.keys().map(|id| settled.rate(id, LoadUnit::Chains, rate)).collect();
    let possible = rate.min(settled.most(LoadUnit::Chains));
    assert!((parts.iter().sum::<f64>() - possible).abs() < 0.001, "{parts:?} of {possible}");
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_die_and_are_stopped() {
    let scale = Scale::of_environment();
    let mut cluster = Cluster::start(scale).await;
    let board = board(&cluster.etcd).await;
    let mut table = Table::of(scale);
    let thousandths = |parts: Vec<f64>| {
        let of_whole = |part: &f64| (part * 1_000.0 / f64::from(scale.rate)).round();
        parts.iter().map(of_whole).collect::<Vec<_>>()
    };

    // The worked example: what A, B and C get of the target as they come.
    for (names, parts) in [
        (&["a"][..], &[800.0][..]),
        (&["a", "b"], &[444.0, 556.0]),
        (&["a", "b", "c"], &[333.0, 417.0, 250.0]),
    ] {
        let (at, name) = (now(), *names.last().unwrap());
        cluster.join(name).await;
        assert_eq!(thousandths(until_whole(&board, &cluster, names).await), parts);
        table.until_back(&cluster, "a node joins", at);
    }

    let at = now();
    cluster.kill("c");
    table.until_back(&cluster, "kill -9 of a node", at);
    let at = now();
    cluster.join("c").await;
    until_shared(&board, &cluster, &["a", "b", "c"]).await;
    table.until_back(&cluster, "it is started again", at);

    let at = now();
    cluster.signal("b", "-STOP");
    let stopped = cluster.nodes.remove("b").unwrap();
    table.until_back(&cluster, "SIGSTOP of a node", at);
    while now() < at + scale.stopped {
        cluster.pass(1);
    }
    cluster.nodes.insert("b".to_owned(), stopped);
    let at = now();
    cluster.signal("b", "-CONT");
    until_shared(&board, &cluster, &["a", "b", "c"]).await;
    table.until_back(&cluster, "SIGCONT after that", at);

    for name in ["a", "b", "c"] {
        cluster.leave(name);
    }
    let Cluster { ca, counted, folder, .. } = cluster;
    let accounts = ca.stop()["accounts"].as_u64().unwrap();
    let chains = Chains::of(&crate::common::log_so_far(&folder.path().join("results")));
    table.finish(&counted, &chains);
    chains.assert_starts(scale.rate, 3);
    counted.assert_never_over(scale.rate, 3, &chains);
    // A request of the killed node may have broken off.
    let broken = counted.all() - accounts;
    assert!(broken <= 10, "{broken} requests made no account");
    // The killed node had results that it had not written to its spool.
    let logged = chains.sent;
    let lost = u64::from(scale.rate) / 4 * 10;
    assert!((accounts.saturating_sub(lost)..=accounts).contains(&logged), "{logged} logged of {accounts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_restarted_and_a_node_that_is_cut_off_from_it() {
    let scale = Scale::of_environment();
    let mut cluster = Cluster::start(scale).await;
    let mut table = Table::of(scale);
    for name in ["a", "b", "c"] {
        cluster.join(name).await;
    }
    until_shared(&board(&cluster.etcd).await, &cluster, &["a", "b", "c"]).await;
    cluster.until_rate(0);

    let at = now();
    cluster.etcd.kill().unwrap();
    cluster.etcd.restart().await.unwrap();
    table.until_back(&cluster, "etcd is restarted", at);

    // For longer than the right to send lasts: all nodes stop.
    let at = now();
    cluster.etcd.kill().unwrap();
    cluster.pass(scale.lease);
    let silent = now();
    cluster.etcd.restart().await.unwrap();
    table.until_back_from(&cluster, "etcd does not run for the time of a lease", at, silent);
    let away = at..=silent;
    let silent = cluster.counted.seconds().iter().any(|(second, count)| away.contains(second) && *count == 0);
    assert!(silent, "nodes that cannot renew stop: {:?}", cluster.counted.seconds());

    let board = board(&cluster.etcd).await;
    until_shared(&board, &cluster, &["a", "b", "c"]).await;
    let at = now();
    let cut = cluster.nodes.remove("a").unwrap();
    cut.cable.cut(true);
    until_shared(&board, &cluster, &["b", "c"]).await;
    table.until_back_from(&cluster, "a node is cut off from etcd", at, at + scale.lease + 1);
    let at = now();
    cut.cable.cut(false);
    cluster.nodes.insert("a".to_owned(), cut);
    until_shared(&board, &cluster, &["a", "b", "c"]).await;
    table.until_back(&cluster, "it is connected again", at);

    let at = now();
    cluster.leave("b");
    table.until_back(&cluster, "a node leaves in order", at);
    for name in ["a", "c"] {
        cluster.leave(name);
    }
    let Cluster { ca, counted, folder, .. } = cluster;
    let accounts = ca.stop()["accounts"].as_u64().unwrap();
    let chains = Chains::of(&crate::common::log_so_far(&folder.path().join("results")));
    table.finish(&counted, &chains);
    chains.assert_starts(scale.rate, 3);
    counted.assert_never_over(scale.rate, 3, &chains);
    let logged = chains.sent;
    assert_eq!((counted.all(), logged), (accounts, accounts), "nothing is counted twice or lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_an_hour_ahead_shares_the_load_at_the_right_time() {
    let scale = Scale::of_environment();
    let mut cluster = Cluster::start(scale).await;
    let mut table = Table::of(scale);
    cluster.join("a").await;
    cluster.until_rate(0);
    let board = board(&cluster.etcd).await;
    let (at, hour) = (now(), 3_600 * 1_000_000_000);
    let prefix = with_clock(3_600);
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    cluster.join_with("b", &prefix).await;
    until_shared(&board, &cluster, &["a", "b"]).await;
    table.until_back(&cluster, "a node joins whose clock is 1 h ahead", at);
    let nodes = board.nodes().borrow().clone();
    let measured = nodes.iter().find(|node| node.name == "b").and_then(|node| node.clock).unwrap();
    let wrong = measured.ahead_ns.abs_diff(hour);
    // Both clocks are of one machine, and each is read at its process's start.
    assert!(wrong <= measured.within_ns + 5_000_000, "{measured:?} is wrong by {wrong} ns");
    assert!(cluster.said("b").contains("s ahead of the board's time"), "{}", cluster.said("b"));
    cluster.leave("b");
    cluster.leave("a");
    let records = crate::common::log_so_far(&cluster.folder.path().join("results"));
    let chains = Chains::of(&records);
    table.finish(&cluster.counted, &chains);
    chains.assert_starts(scale.rate, 2);
    cluster.counted.assert_never_over(scale.rate, 2, &chains);
    // Its results are at the time of the others.
    let ends = records.iter().filter_map(|record| match record {
        wec_record::Record::Chain { origin_unix_ns, result, .. } => Some(origin_unix_ns + result.done),
        _ => None,
    });
    let last = ends.max().unwrap() / 1_000_000_000;
    assert!(last <= now(), "a result is at {last}, which is in the future");
}
