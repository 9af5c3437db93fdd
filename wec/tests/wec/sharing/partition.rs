//! Three hosts, each with a member of etcd and a node, in network namespaces: two networks, one to the CA and one
//! between the members. A partition of the second leaves every node its CA.
//!
//! Needs the rights of root; without them the test reports that it did nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use wec_record::Record;

use super::cluster::{OFFERS, Scale, analytics, new_log, now, offer, prefixed};
use super::counted::{Chains, Counted};
use super::table::{Observed, Table};
use crate::common::{self, ONLY_REGISTRATIONS, Running};

pub(super) const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The namespaces; removed when dropped.
pub(super) struct Net {
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
    pub(super) fn make() -> Option<Self> {
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
    pub(super) fn cut(&self, host: &str, cut: bool) {
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

pub(super) struct Hosts {
    // Processes end before their namespaces.
    pub(super) nodes: BTreeMap<usize, Running>,
    members: Vec<Running>,
    analytics: Vec<Running>,
    /// Where the analytics of each host receives results.
    results: Vec<String>,
    ca: Running,
    directory: String,
    pub(super) counted: Counted,
    pub(super) folder: tempfile::TempDir,
    /// The state of etcd is in memory: a disk that others keep busy can cost a leader its term.
    etcd: tempfile::TempDir,
    pub(super) net: Net,
    pub(super) scale: Scale,
}

impl Hosts {
    pub(super) fn start(net: Net, scale: Scale) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, directory, counted) = start_ca(&net, folder.path());
        let mut hosts = Self {
            nodes: BTreeMap::new(),
            members: Vec::new(),
            analytics: Vec::new(),
            results: Vec::new(),
            ca,
            directory,
            counted,
            folder,
            etcd: tempfile::tempdir_in(wec_testbed::memory_folder()).unwrap(),
            net,
            scale,
        };
        for number in 0..HOSTS.len() {
            let member = hosts.member(number);
            hosts.members.push(Running(Some(member)));
        }
        common::until("etcd has a leader", || hosts.leader().is_some());
        for (number, host) in HOSTS.iter().enumerate() {
            let namespace = hosts.net.namespace(host);
            let prefix = ["ip", "netns", "exec", &namespace];
            let (analytics, results) = analytics(&prefix, &hosts.folder_of(number), &hosts.board(number));
            hosts.analytics.push(analytics);
            hosts.results.push(results);
            hosts.join(number, &[]);
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
        let data = self.etcd.path().join(HOSTS[number]).display().to_string();
        // With it, a member that was cut off does not take the leader's term when it comes back.
        command.args(["--name", &format!("m{number}"), "--data-dir", &data, "--pre-vote=true"]);
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
    pub(super) fn leader(&self) -> Option<usize> {
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

    /// The board as this host reaches it: its own member first.
    fn board(&self, number: usize) -> String {
        let members: Vec<_> = (0..HOSTS.len())
            .map(|step| format!("10.92.0.{}:2379", 10 + (number + step) % HOSTS.len()))
            .collect();
        format!("etcd://{}?lease={}", members.join(","), self.scale.lease)
    }

    /// Starts the node of a host; `prefix` are words before its command.
    pub(super) fn join(&mut self, number: usize, prefix: &[&str]) {
        let (name, scale, board) = (HOSTS[number], self.scale, self.board(number));
        let (strength, rate) = (format!("chains={}", scale.strength(name)), format!("{}/s", scale.rate));
        let root = self.folder.path().join("root.pem").display().to_string();
        let mut args = vec!["requester", "--node", name, "--board", &board, "--session", "night"];
        args.push("--plaintext");
        args.extend(["--analytics", &self.results[number], "--strength", &strength, "--rate", &rate]);
        args.extend(["--spacing", "even", "--workers", "900", "--run-time", "2h"]);
        args.extend(["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]);
        args.extend(["--directory", &self.directory, "--cacert", &root]);
        let folder = self.folder_of(number);
        let said = new_log(&folder);
        let namespace = self.net.namespace(name);
        let prefix = [&["ip", "netns", "exec", &namespace], prefix].concat();
        let mut command = prefixed(&prefix, &folder, &args);
        command.env("RUST_LOG", OFFERS);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        self.nodes.insert(number, Running(Some(child)));
    }

    /// What the nodes have written to standard error.
    pub(super) fn said(&self) -> String {
        let said = |number| std::fs::read_to_string(self.folder_of(number).join("said")).unwrap_or_default();
        (0..HOSTS.len()).map(|number| format!("{}: {}", HOSTS[number], said(number))).collect()
    }

    pub(super) fn signal(&self, number: usize, signal: &str) {
        common::signal(self.nodes[&number].0.as_ref().unwrap(), signal);
    }

    /// Ends the node of a host: in order, or by `kill -9`.
    pub(super) fn end(&mut self, number: usize, in_order: bool) {
        let mut node = self.nodes.remove(&number).unwrap();
        assert!(!node.has_ended(), "it has ended: {}", self.said());
        if in_order {
            node.interrupt();
        } else {
            let mut child = node.0.take().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn kill_member(&mut self, number: usize) {
        let mut child = self.members[number].0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(super) fn start_member(&mut self, number: usize) {
        let again = self.member(number);
        self.members[number] = Running(Some(again));
    }

    /// Ends all in order; returns the chains of all logs, and what the CA counted.
    pub(super) fn finish(mut self) -> (Counted, Vec<Record>, tempfile::TempDir) {
        let numbers: Vec<_> = self.nodes.keys().copied().collect();
        for number in numbers {
            self.end(number, true);
        }
        for analytics in self.analytics.drain(..) {
            analytics.interrupt();
        }
        let logs = (0..HOSTS.len()).map(|number| self.folder_of(number).join("results"));
        let records = logs.flat_map(|logs| common::log_so_far(&logs)).collect();
        let Self { ca, counted, folder, .. } = self;
        ca.interrupt();
        (counted, records, folder)
    }
}

impl Observed for Hosts {
    fn counted(&self) -> &Counted {
        &self.counted
    }

    fn reachable(&self) -> f64 {
        let said = |number: &usize| std::fs::read_to_string(self.folder_of(*number).join("said")).unwrap();
        let strength = |number: &usize| f64::from(self.scale.strength(HOSTS[*number]));
        let offers = self.nodes.keys().map(|number| offer(&said(number)) * strength(number));
        offers.sum::<f64>().min(self.scale.rate.into())
    }

    fn until_rate(&self, from: u64) -> u64 {
        let (mut looks, mut reached) = (0, None);
        common::until("the CA gets its target", || {
            looks += 1;
            if looks == 3_000 {
                eprintln!("{:?}\n{}", self.counted.seconds(), self.said());
            }
            reached = self.counted.reached(self.reachable(), from, 3);
            reached.is_some()
        });
        reached.unwrap()
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
    let scale = Scale::of_environment();
    let mut hosts = Hosts::start(net, scale);
    let mut table = Table::of(scale);
    hosts.until_rate(0);
    // The CA notices a fault within the time of a lease.
    let mut until_back = |hosts: &Hosts, fault: &'static str, at: u64| {
        table.until_back_from(hosts, fault, at, at + scale.lease + 1);
    };

    let at = now();
    hosts.net.cut("c", true);
    until_back(&hosts, "partition {A,B} and {C}", at);
    let said = std::fs::read_to_string(hosts.folder_of(2).join("said")).unwrap();
    assert!(said.contains("cannot renew this node's presence"), "{said}");
    let at = now();
    hosts.net.cut("c", false);
    until_back(&hosts, "the partition ends", at);

    let leader = hosts.leader().unwrap();
    let at = now();
    hosts.kill_member(leader);
    until_back(&hosts, "three members lose their leader", at);
    let at = now();
    hosts.start_member(leader);
    until_back(&hosts, "the member is started again", at);
    let (counted, records, _folder) = hosts.finish();
    let chains = Chains::of(&records);
    table.finish(&counted, &chains);
    chains.assert_starts(scale.rate, HOSTS.len());
    counted.assert_never_over(scale.rate, HOSTS.len(), &chains);
}
