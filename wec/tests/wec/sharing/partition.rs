//! Three hosts, each with a member of etcd and a node, in network namespaces: two networks, one to the CA and one
//! between the members. A partition of the second leaves every node its CA.
//!
//! Needs the rights of root; without them the test reports that it did nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::cluster::{Scale, now, prefixed};
use super::counted::Counted;
use crate::common::{self, ONLY_REGISTRATIONS, Running};

const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The namespaces; removed when dropped.
struct Net {
    prefix: String,
}

fn ip(args: &[&str]) -> bool {
    let output = Command::new("ip").args(args).output().expect("ip (Debian: iproute2) runs");
    if !output.status.success() {
        eprintln!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    output.status.success()
}

impl Net {
    /// None without the rights.
    fn make() -> Option<Self> {
        let net = Self { prefix: format!("wec{:04x}", rand::random::<u16>()) };
        let hub = net.namespace("hub");
        if !ip(&["netns", "add", &hub]) {
            return None;
        }
        let must = |args: &[&str]| assert!(ip(args), "{args:?}");
        must(&["-n", &hub, "link", "set", "lo", "up"]);
        for (network, subnet) in [("ca", 91), ("etcd", 92)] {
            must(&["-n", &hub, "link", "add", network, "type", "bridge"]);
            must(&["-n", &hub, "link", "set", network, "up"]);
            must(&["-n", &hub, "addr", "add", &format!("10.{subnet}.0.1/24"), "dev", network]);
        }
        for (number, host) in HOSTS.iter().enumerate() {
            let namespace = net.namespace(host);
            must(&["netns", "add", &namespace]);
            must(&["-n", &namespace, "link", "set", "lo", "up"]);
            for (network, subnet) in [("ca", 91), ("etcd", 92)] {
                let port = format!("{network}-{host}");
                must(&[
                    "-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", network, "netns",
                    &namespace,
                ]);
                must(&["-n", &hub, "link", "set", &port, "master", network, "up"]);
                let address = format!("10.{subnet}.0.{}/24", 10 + number);
                must(&["-n", &namespace, "addr", "add", &address, "dev", network]);
                must(&["-n", &namespace, "link", "set", network, "up"]);
            }
        }
        Some(net)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Cuts a host off from the other members of etcd, or connects it again.
    fn cut(&self, host: &str, cut: bool) {
        let state = if cut { "down" } else { "up" };
        let port = format!("etcd-{host}");
        assert!(ip(&["-n", &self.namespace("hub"), "link", "set", &port, state]));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in ["hub"].into_iter().chain(HOSTS) {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(host)]).output();
        }
    }
}

struct Hosts {
    // Processes end before their namespaces.
    nodes: Vec<Running>,
    members: Vec<Running>,
    _ca: Running,
    counted: Counted,
    folder: tempfile::TempDir,
    net: Net,
    scale: Scale,
}

impl Hosts {
    fn start(net: Net, scale: Scale) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, directory, counted) = start_ca(&net, folder.path());
        let mut hosts = Self { nodes: Vec::new(), members: Vec::new(), _ca: ca, counted, folder, net, scale };
        for number in 0..HOSTS.len() {
            let member = hosts.member(number);
            hosts.members.push(Running(Some(member)));
        }
        common::until("etcd has a leader", || hosts.leader().is_some());
        for number in 0..HOSTS.len() {
            let node = hosts.node(number, &directory);
            hosts.nodes.push(Running(Some(node)));
        }
        hosts
    }

    fn folder_of(&self, number: usize) -> PathBuf {
        let folder = self.folder.path().join(HOSTS[number]);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn member(&self, number: usize) -> Child {
        let folder = self.folder_of(number);
        let url = |host: usize, port: u16| format!("http://10.92.0.{}:{port}", 10 + host);
        let cluster: Vec<_> = (0..HOSTS.len()).map(|host| format!("m{host}={}", url(host, 2380))).collect();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("etcd.log")).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.net.namespace(HOSTS[number]), "etcd"]);
        command.args([
            "--name",
            &format!("m{number}"),
            "--data-dir",
            &folder.join("etcd").display().to_string(),
        ]);
        for (flag, port) in [
            ("--listen-client-urls", 2379),
            ("--advertise-client-urls", 2379),
            ("--listen-peer-urls", 2380),
            ("--initial-advertise-peer-urls", 2380),
        ] {
            command.args([flag, &url(number, port)]);
        }
        command.args(["--initial-cluster", &cluster.join(",")]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// The member that last became the leader, by the logs of all.
    fn leader(&self) -> Option<usize> {
        let terms = (0..HOSTS.len()).flat_map(|number| {
            let log = std::fs::read_to_string(self.folder_of(number).join("etcd.log")).unwrap_or_default();
            let terms = log.match_indices("became leader at term ").filter_map(|(at, found)| {
                let term: String = log[at + found.len()..].chars().take_while(char::is_ascii_digit).collect();
                term.parse::<u64>().ok()
            });
            terms.max().map(|term| (term, number))
        });
        terms.max().map(|(_, number)| number)
    }

    fn node(&self, number: usize, directory: &str) -> Child {
        let (name, scale) = (HOSTS[number], self.scale);
        // Its own member first.
        let members: Vec<_> = (0..HOSTS.len())
            .map(|step| format!("10.92.0.{}:2379", 10 + (number + step) % HOSTS.len()))
            .collect();
        let board = format!("etcd://{}?lease={}", members.join(","), scale.lease);
        let (strength, rate) = (format!("chains={}", scale.strength(name)), format!("{}/s", scale.rate));
        let root = self.folder.path().join("root.pem").display().to_string();
        let mut args = vec!["requester", "--node", name, "--board", &board, "--session", "night"];
        // Results stay in the spool: what the CA counts is what matters here.
        args.push("--plaintext");
        args.extend(["--analytics", "http://127.0.0.1:9", "--strength", &strength, "--rate", &rate]);
        args.extend(["--spacing", "even", "--workers", "900", "--run-time", "1h"]);
        args.extend(["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]);
        args.extend(["--directory", directory, "--cacert", &root]);
        let folder = self.folder_of(number);
        let said = std::fs::File::create(folder.join("said")).unwrap();
        let namespace = self.net.namespace(name);
        let mut command = prefixed(&["ip", "netns", "exec", &namespace], &folder, &args);
        command.stdout(Stdio::null()).stderr(said).spawn().unwrap()
    }

    fn until_rate(&self, from: u64) -> u64 {
        let (rate, mut looks, mut reached) = (f64::from(self.scale.rate), 0, None);
        common::until("the CA gets its target", || {
            looks += 1;
            if looks == 5_500 {
                let said = |number| std::fs::read_to_string(self.folder_of(number).join("said"));
                eprintln!("{:?}\n{:?}", self.counted.seconds(), [0, 1, 2].map(said));
            }
            reached = self.counted.reached(rate, from, 3);
            reached.is_some()
        });
        reached.unwrap()
    }

    /// Waits until the target is reached again after a fault.
    fn until_back(&self, fault: &str, at: u64) {
        let back = self.until_rate(at);
        let (largest, after) = (self.counted.largest(at.saturating_sub(1)), back.saturating_sub(at));
        let missing = self.counted.missing(f64::from(self.scale.rate), at, back);
        println!("{fault}: at most {largest}/s, back after {after} s, {missing:.0} missing");
        if self.scale.full {
            assert!(after <= self.scale.lease + 10, "{fault}: back after {after} s");
            if let Ok(path) = std::env::var("WEC_SHARING_TABLE") {
                let file = std::fs::File::options().create(true).append(true).open(path);
                let row = format!("| {fault} | {largest} | {after} | {missing:.0} |\n");
                std::io::Write::write_all(&mut file.unwrap(), row.as_bytes()).unwrap();
            }
        }
        self.counted.assert_never_over(self.scale.rate, 3, self.scale.late());
    }

    fn kill_member(&mut self, number: usize) {
        let mut child = self.members[number].0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn start_ca(net: &Net, folder: &Path) -> (Running, String, Counted) {
    let (root, seconds) = (folder.join("root.pem"), folder.join("seconds.jsonl"));
    let (root_out, seconds_out) = (root.display().to_string(), seconds.display().to_string());
    let args =
        ["null-ca", "--listen", "10.91.0.1:14443", "--root-out", &root_out, "--seconds-out", &seconds_out];
    let hub = net.namespace("hub");
    let mut child =
        prefixed(&["ip", "netns", "exec", &hub], folder, &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut directory = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut directory).unwrap();
    (Running(Some(child)), directory.trim().to_owned(), Counted::in_file(seconds))
}

#[test]
fn a_part_of_the_hosts_that_is_cut_off_and_a_leader_that_is_lost() {
    let Some(net) = Net::make() else {
        eprintln!("skipped: cannot make network namespaces, which needs the rights of root");
        return;
    };
    let mut hosts = Hosts::start(net, Scale::of_environment());
    hosts.until_rate(0);

    let at = now();
    hosts.net.cut("c", true);
    hosts.until_back("partition {A,B} and {C}", at);
    let said = std::fs::read_to_string(hosts.folder_of(2).join("said")).unwrap();
    assert!(said.contains("cannot renew this node's presence"), "{said}");
    let at = now();
    hosts.net.cut("c", false);
    hosts.until_back("the partition ends", at);

    let leader = hosts.leader().unwrap();
    let at = now();
    hosts.kill_member(leader);
    hosts.until_back("three members lose their leader", at);
    let at = now();
    let again = hosts.member(leader);
    hosts.members[leader] = Running(Some(again));
    hosts.until_back("the member is started again", at);
    hosts.counted.assert_never_over(hosts.scale.rate, 3, hosts.scale.late());
}
