//! Faults drawn from a seed: the same seed draws the same faults and pauses again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::cluster::{Cluster, Scale, now};
use super::counted::assert_starts;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What may happen to a node or to etcd.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    Leave(usize),
    Stop(usize),
    Cut(usize),
    RestartEtcd,
}

fn draw(rng: &mut StdRng) -> (Fault, u64) {
    let node = rng.random_range(0..NAMES.len());
    let fault = match rng.random_range(0..5) {
        0 => Fault::Kill(node),
        1 => Fault::Leave(node),
        2 => Fault::Stop(node),
        3 => Fault::Cut(node),
        _ => Fault::RestartEtcd,
    };
    // How long it lasts, in thousandths of a lease: shorter, and longer.
    (fault, rng.random_range(100..2_500))
}

#[test]
fn a_seed_draws_the_same_faults_again() {
    let drawn = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..20).map(|_| format!("{:?}", draw(&mut rng))).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

/// `WEC_SHARING_SEED` replays a seed, `WEC_SHARING_SECONDS` is the length.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_all_kinds_in_any_order_never_exceed_the_target() {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seed = given("WEC_SHARING_SEED").unwrap_or_else(rand::random);
    let seconds = given("WEC_SHARING_SECONDS").unwrap_or(15);
    println!("WEC_SHARING_SEED={seed} WEC_SHARING_SECONDS={seconds} draws these faults again");
    let mut rng = StdRng::seed_from_u64(seed);
    let scale = Scale::of_environment();
    let mut cluster = Cluster::start(scale).await;
    for name in NAMES {
        cluster.join(name).await;
    }
    cluster.until_rate(cluster.reachable(), 0);
    let (began, mut killed) = (now(), 0);
    while now() < began + seconds {
        let (fault, thousandths) = draw(&mut rng);
        let lasts = Duration::from_millis(thousandths * scale.lease);
        println!("{:3} s: {fault:?} for {lasts:?}", now() - began);
        match fault {
            Fault::Kill(node) => {
                cluster.kill(NAMES[node]);
                killed += 1;
                tokio::time::sleep(lasts).await;
                cluster.join(NAMES[node]).await;
            }
            Fault::Leave(node) => {
                cluster.leave(NAMES[node]);
                tokio::time::sleep(lasts).await;
                cluster.join(NAMES[node]).await;
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
            Fault::RestartEtcd => {
                cluster.etcd.kill().unwrap();
                tokio::time::sleep(lasts).await;
                cluster.etcd.restart().await.unwrap();
            }
        }
        cluster.counted.assert_never_over(scale.rate, 3, scale.late());
    }
    // Whatever has happened, the target is reached again.
    cluster.until_rate(cluster.reachable(), now());
    for name in NAMES {
        cluster.leave(name);
    }
    let Cluster { ca, counted, folder, .. } = cluster;
    let accounts = ca.stop()["accounts"].as_u64().unwrap();
    counted.assert_never_over(scale.rate, 3, scale.late());
    assert_starts(&crate::common::log_so_far(&folder.path().join("results")), scale.rate, 3);
    let logged = crate::common::chains_in(&folder.path().join("results")) as u64;
    let lost = killed * u64::from(scale.rate) * 5;
    assert!((accounts.saturating_sub(lost)..=accounts).contains(&logged), "{logged} logged of {accounts}");
}
