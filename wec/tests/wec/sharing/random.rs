//! Faults drawn from a seed: the same seed draws the same faults and pauses again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wec_record::Record;

use super::cluster::{Cluster, Scale, now};
use super::counted::{Chains, Counted};
use super::partition::{HOSTS, Hosts, Net};
use super::table::Observed as _;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What may happen to a node or to etcd.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    Leave(usize),
    Stop(usize),
    /// A node loses etcd: its host is cut off from the other members, or its connection to the only one.
    Cut(usize),
    /// A node ends, and comes back with a clock that is off by so many seconds.
    ShiftClock(usize, i64),
    /// All members of etcd are restarted.
    RestartEtcd,
    /// The leader of several members is killed, and started again.
    LoseLeader,
}

fn draw(rng: &mut StdRng, leaders: bool) -> (Fault, u64) {
    let node = rng.random_range(0..NAMES.len());
    let fault = match rng.random_range(0..6 + u32::from(leaders)) {
        0 => Fault::Kill(node),
        1 => Fault::Leave(node),
        2 => Fault::Stop(node),
        3 => Fault::Cut(node),
        // The CA's certificate is valid from an hour before its start: a clock further back does not trust it.
        4 => Fault::ShiftClock(node, rng.random_range(-3_500..7_200)),
        5 => Fault::RestartEtcd,
        _ => Fault::LoseLeader,
    };
    // How long it lasts, in thousandths of a lease: shorter, and longer.
    (fault, rng.random_range(100..2_500))
}

/// The faults of a seed, one after the other, for a time.
struct Drawn {
    rng: StdRng,
    leaders: bool,
    lease: u64,
    began: u64,
    until: u64,
}

impl Drawn {
    /// `WEC_SHARING_SEED` replays a seed, `WEC_SHARING_SECONDS` is the length. Without a length the faults are always
    /// the same: a failing test is then due to a change.
    fn begin(scale: Scale, leaders: bool) -> Self {
        let given =
            |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
        let seconds = given("WEC_SHARING_SECONDS");
        let seed = given("WEC_SHARING_SEED").unwrap_or_else(|| seconds.map_or(1, |_| rand::random()));
        let seconds = seconds.unwrap_or(15);
        println!("WEC_SHARING_SEED={seed} WEC_SHARING_SECONDS={seconds} draws these faults again");
        let (rng, began) = (StdRng::seed_from_u64(seed), now());
        Self { rng, leaders, lease: scale.lease, began, until: began + seconds }
    }
}

impl Iterator for Drawn {
    type Item = (Fault, Duration);

    fn next(&mut self) -> Option<Self::Item> {
        let now = now();
        if now >= self.until {
            return None;
        }
        let (fault, thousandths) = draw(&mut self.rng, self.leaders);
        let lasts = Duration::from_millis(thousandths * self.lease);
        println!("{:4} s, second {now}: {fault:?} for {lasts:?}", now - self.began);
        Some((fault, lasts))
    }
}

/// The words before a command that runs it with a clock that is off by so many seconds: Debian's faketime, without
/// its command, which would stay the parent. Time since boot is not changed.
pub(super) fn with_clock(off: i64) -> Vec<String> {
    let faketime =
        format!("LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) FAKETIME={off:+} exec \"$@\"");
    let words =
        ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "sh", "-c", &faketime, "sh"];
    words.map(str::to_owned).to_vec()
}

/// The nodes that ended and were started again.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    killed: u64,
    in_order: u64,
}

/// Fails if the target was ever exceeded, or if anything was counted twice. What the killed nodes had not delivered
/// is lost, at most 5 s of it each. A node that starts again asks for one of the accounts in its store, by a request
/// for a new account that belongs to no chain.
fn check(counted: &Counted, records: &[Record], rate: u32, ended: Ended) {
    let chains = Chains::of(records);
    chains.assert_starts(rate, NAMES.len());
    counted.assert_never_over(rate, NAMES.len(), &chains);
    let (logged, all) = (chains.sent, counted.all());
    let lost = ended.killed * u64::from(rate) * 5;
    let asked = ended.killed + ended.in_order;
    assert!(
        (all.saturating_sub(lost + asked)..=all).contains(&logged),
        "{logged} logged of {all}, {ended:?}"
    );
}

/// Fails in a long run if the target was reached late after the last fault.
fn assert_back(scale: Scale, after: u64) {
    println!("back after {after} s");
    let full = scale.full || std::env::var_os("WEC_SHARING_SECONDS").is_some();
    Scale { full, ..scale }.assert_back("the last fault", after);
}

#[test]
fn a_seed_draws_the_same_faults_again() {
    let drawn = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..20).map(|_| format!("{:?}", draw(&mut rng, true))).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_all_kinds_in_any_order_never_exceed_the_target() {
    let scale = Scale::of_environment();
    let mut cluster = Cluster::start(scale).await;
    for name in NAMES {
        cluster.join(name).await;
    }
    cluster.until_rate(0);
    let mut ended = Ended::default();
    for (fault, lasts) in Drawn::begin(scale, false) {
        match fault {
            Fault::Kill(node) => {
                cluster.kill(NAMES[node]);
                ended.killed += 1;
                tokio::time::sleep(lasts).await;
                cluster.join(NAMES[node]).await;
            }
            Fault::Leave(node) => {
                cluster.leave(NAMES[node]);
                ended.in_order += 1;
                tokio::time::sleep(lasts).await;
                cluster.join(NAMES[node]).await;
            }
            Fault::ShiftClock(node, off) => {
                cluster.leave(NAMES[node]);
                ended.in_order += 1;
                tokio::time::sleep(lasts).await;
                let prefix = with_clock(off);
                let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
                cluster.join_with(NAMES[node], &prefix).await;
            }
            Fault::Stop(node) => {
                cluster.signal(NAMES[node], "-STOP");
                tokio::time::sleep(lasts).await;
                cluster.signal(NAMES[node], "-CONT");
            }
            Fault::Cut(node) => {
                cluster.nodes[NAMES[node]].cable.cut(true);
                tokio::time::sleep(lasts).await;
                cluster.nodes[NAMES[node]].cable.cut(false);
            }
            Fault::RestartEtcd | Fault::LoseLeader => {
                cluster.etcd.kill().unwrap();
                tokio::time::sleep(lasts).await;
                cluster.etcd.restart().await.unwrap();
            }
        }
    }
    // Whatever has happened, the target is reached again.
    let at = now();
    assert_back(scale, cluster.until_rate(at) - at);
    for name in NAMES {
        cluster.leave(name);
    }
    let Cluster { ca, counted, folder, .. } = cluster;
    let accounts = ca.stop()["accounts"].as_u64().unwrap();
    assert!(accounts <= counted.all(), "{accounts} accounts of {} requests", counted.all());
    check(&counted, &crate::common::log_so_far(&folder.path().join("results")), scale.rate, ended);
}

/// The same with hosts in network namespaces: partitions between members of etcd, and the loss of their leader.
#[test]
fn faults_of_hosts_in_any_order_never_exceed_the_target() {
    let Some(net) = Net::make() else {
        eprintln!("skipped: cannot make network namespaces, which needs the rights of root");
        return;
    };
    let scale = Scale::of_environment();
    let mut hosts = Hosts::start(net, scale);
    hosts.until_rate(0);
    let mut ended = Ended::default();
    #[expect(clippy::disallowed_methods, reason = "the length of a fault is drawn")]
    let wait = std::thread::sleep;
    for (fault, lasts) in Drawn::begin(scale, true) {
        match fault {
            Fault::Kill(node) | Fault::Leave(node) => {
                let in_order = matches!(fault, Fault::Leave(_));
                hosts.end(node, in_order);
                ended.killed += u64::from(!in_order);
                ended.in_order += u64::from(in_order);
                wait(lasts);
                hosts.join(node, &[]);
            }
            Fault::ShiftClock(node, off) => {
                hosts.end(node, true);
                ended.in_order += 1;
                wait(lasts);
                let prefix = with_clock(off);
                let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
                hosts.join(node, &prefix);
            }
            Fault::Stop(node) => {
                hosts.signal(node, "-STOP");
                wait(lasts);
                hosts.signal(node, "-CONT");
            }
            Fault::Cut(node) => {
                hosts.net.cut(HOSTS[node], true);
                wait(lasts);
                hosts.net.cut(HOSTS[node], false);
            }
            Fault::RestartEtcd => {
                (0..HOSTS.len()).for_each(|number| hosts.kill_member(number));
                wait(lasts);
                (0..HOSTS.len()).for_each(|number| hosts.start_member(number));
            }
            Fault::LoseLeader => {
                let leader = hosts.leader().unwrap();
                hosts.kill_member(leader);
                wait(lasts);
                hosts.start_member(leader);
            }
        }
    }
    let at = now();
    assert_back(scale, hosts.until_rate(at) - at);
    let (counted, records, _folder) = hosts.finish();
    check(&counted, &records, scale.rate, ended);
}
