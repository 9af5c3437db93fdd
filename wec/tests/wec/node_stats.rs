//! Node statistics of processes, by a client of others and by ours.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use wec_testbed::etcd::Etcd;

use crate::common::{NullCa, ONLY_REGISTRATIONS, Running, free, run, said, until, wec};

/// A service, once it has printed its first line of standard output.
fn service(folder: &Path, args: &[&str]) -> (Running, String) {
    let said = std::fs::File::create(folder.join(format!("{}.said", args[0]))).unwrap();
    let mut child: Child = wec(folder, args).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (Running(Some(child)), line)
}

/// Two of three nodes of a configuration, as NodNod's tutorial starts them.
fn two_of_three(folder: &Path, mode: &str) -> (Vec<Running>, [String; 3]) {
    let addresses = [free(), free(), free()];
    let config = serde_json::json!({ "nodes": addresses, "mode": mode });
    std::fs::write(folder.join("conf.json"), config.to_string()).unwrap();
    let start = |address: &String| {
        let args = ["node", "serve", "--listen", address, "--config", "conf.json"];
        let (node, line) = service(folder, &args);
        assert!(line.contains(&format!("ws://{address}/")), "{line}");
        node
    };
    (addresses[..2].iter().map(start).collect(), addresses)
}

#[test]
fn a_python_client_gets_nodnods_protocol() {
    let python = wec_testbed::python().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wec/node_stats.py");
    for mode in ["pull", "push"] {
        let folder = tempfile::tempdir().unwrap();
        let (_nodes, addresses) = two_of_three(folder.path(), mode);
        let output = Command::new(&python).arg(&script).args(&addresses).output().unwrap();
        assert!(output.status.success(), "{mode}: {}", said(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "well\n");
    }
}

#[test]
fn the_watching_command_shows_checks_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, [one, two, down]) = two_of_three(folder.path(), "pull");
    let watch = |args: &[&str]| {
        let args: Vec<_> = ["node", "watch", "--stats", &one].iter().chain(args).copied().collect();
        run(folder.path(), &args)
    };
    until("both nodes answer", || {
        let output = watch(&["--once"]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success() && shown.contains("2 of 3 nodes answer")
    });
    let shown = String::from_utf8(watch(&["--once"]).stdout).unwrap();
    assert!(shown.contains(&down) && shown.contains("down: "), "{shown}");
    let line: Value = serde_json::from_slice(&watch(&["--once", "--json"]).stdout).unwrap();
    assert_eq!(line["nodes"].as_object().unwrap().len(), 3, "{line}");

    // One of the nodes of every reply is down.
    let output = watch(&["--concurrent", "20", "--number", "200", "--nodes", "3"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(99), "{shown}");
    assert!(shown.contains("200 requests, 200 replies"), "{shown}");
    assert!(shown.contains("0 missing, 200 failed, 0 invalid"), "{shown}");

    let (_third, _) = service(folder.path(), &["node", "serve", "--listen", &down, "--config", "conf.json"]);
    until("all nodes answer", || {
        let output = watch(&["--concurrent", "20", "--number", "200", "--nodes", "3"]);
        let shown = String::from_utf8(output.stdout).unwrap();
        output.status.success() && shown.contains("0 missing, 0 failed, 0 invalid")
    });
    let output = watch(&["--number", "7", "--nodes", "2"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("0 missing, 0 failed, 7 invalid"));

    drop(nodes);
    let output = watch(&["--once"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&format!("cannot connect to node statistics at {one}")), "{two}");
}

/// `GET /api/v1/machines`.
fn machines_of(page: &str) -> Value {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET /api/v1/machines HTTP/1.0\r\nHost: {page}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The first event of `GET /api/v1/machines/live`.
fn first_of_stream(page: &str) -> Value {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET /api/v1/machines/live HTTP/1.0\r\nHost: {page}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("an event");
    serde_json::from_str(&data).unwrap()
}

/// The ids of the processes with figures of their machines.
fn ids_of(answer: &Value) -> Vec<&str> {
    let machines = answer["machines"].as_array().unwrap().iter();
    machines.filter(|node| node["machine"].is_object()).map(|node| node["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_process_of_a_board_answers_for_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let etcd = Etcd::start().await.unwrap();
    let board = format!("etcd://{}", etcd.address());
    let [page, results, of_analytics, of_challenges, of_requester] = [free(), free(), free(), free(), free()];
    let ca = NullCa::start(folder, &[]);
    let args = ["analytics", "--listen", &page, "--grpc-listen", &results, "--board", &board];
    let (_analytics, _) = service(folder, &[&args[..], &["--node-stats", &of_analytics]].concat());
    let args =
        ["challenge-server", "--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off", "--dns-listen"];
    let args =
        [&args[..], &["127.0.0.1:0", "--management-listen", "127.0.0.1:0", "--board", &board]].concat();
    let args = [&args[..], &["--node-stats", &of_challenges]].concat();
    let _challenges = Running(Some(wec(folder, &args).stderr(Stdio::null()).spawn().unwrap()));
    let analytics = format!("http://{results}");
    let args = ["requester", "--analytics", &analytics, "--board", &board, "--node-stats", &of_requester];
    let args = [&args[..], &["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]].concat();
    let args =
        [&args[..], &["--workers", "1", "--think-time", "20ms", "--run-time", "10m"], &ca.target()].concat();
    let _requester =
        Running(Some(wec(folder, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
    for at in [&of_analytics, &of_challenges, &of_requester] {
        until(&format!("{at} answers for all"), || {
            let output = run(folder, &["node", "watch", "--stats", at, "--number", "1", "--nodes", "3"]);
            output.status.success()
        });
    }
    let answer = machines_of(&page);
    assert_eq!(ids_of(&first_of_stream(&page)), ids_of(&answer));
    let nodes = answer["machines"].as_array().unwrap();
    let mut kinds: Vec<_> = nodes.iter().map(|node| node["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["analytics", "challenge-server", "requester"], "{answer}");
    for node in nodes {
        assert!(node["machine"]["memoryTotal"].as_u64().unwrap() > 0, "{answer}");
    }
}
