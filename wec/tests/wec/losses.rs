//! What is lost, and what is not, when a service ends that others use: docs/hosts.md has the table.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use wec_record::{Chain, ChainResult, FailureClass, Record, Verdict};
use wec_testbed::etcd::Etcd;
use wec_testbed::{Process, Program, Redis};

use crate::common::{NullCa, Running, free, log_so_far, results, until, wec};

const NGINX: Program = Program { binary: "nginx", package: "nginx-light" };

/// Starts a service with a folder of its own; its output is in the file `said` there.
fn service(folder: &Path, name: &str, args: &[&str]) -> Running {
    let own = folder.join(name);
    std::fs::create_dir_all(&own).unwrap();
    let said = std::fs::File::create(own.join("said")).unwrap();
    let child = wec(&own, args).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    Running(Some(child))
}

fn said(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name).join("said")).unwrap()
}

fn kill(running: &mut Running) {
    let mut child = running.0.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_while_etcd_is_away_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut etcd = Etcd::start().await.unwrap();
    let (board, with_user) =
        (format!("etcd://{}", etcd.address()), format!("etcd://wec:s3cret@{}", etcd.address()));
    etcd.kill().unwrap();
    let analytics = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
    let server = ["challenge-server", "--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off"];
    let server = [&server[..], &["--dns-listen", "off", "--management-listen", "127.0.0.1:0"]].concat();
    let services = [
        ("analytics", &analytics[..], "page on http://"),
        ("challenge-server", &server[..], "challenge server listens"),
        ("agent", &["agent", "--no-calibration", "--admin-listen", "off"], "waits for sessions"),
    ];
    let started = |(name, args, _): (&str, &[&str], &str), board: &str| {
        let running = service(folder, name, &[args, &["--board", board]].concat());
        until("it waits", || said(folder, name).contains("waiting for the board: no etcd answers"));
        running
    };
    // A signal ends the wait.
    for service in services {
        let (name, _, ready) = service;
        let ended = started(service, &with_user).interrupt();
        let said = said(folder, name);
        assert_eq!(ended.status.code(), Some(105), "{said}");
        assert!(!said.contains(ready) && !said.contains("s3cret"), "{said}");
    }
    let running = services.map(|service| started(service, &board));
    etcd.restart().await.unwrap();
    for (name, _, ready) in services {
        until(&format!("{name} has started"), || said(folder, name).contains(ready));
    }
    for (running, (name, ..)) in running.into_iter().zip(services) {
        assert_eq!(running.interrupt().status.code(), Some(0), "{}", said(folder, name));
    }
}

/// A CA whose validations arrive at a balancer before two challenge servers.
#[tokio::test(flavor = "multi_thread")]
async fn challenge_servers_and_redis_are_lost_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut redis = Redis::start().await.unwrap();
    let (balancer, addresses) = (wec_testbed::free_address(), [free(), free()]);
    let mut nginx = Process::start(NGINX, |command, dir| {
        let configuration = dir.join("nginx.conf");
        std::fs::write(&configuration, before(&balancer.to_string(), &addresses))?;
        command.arg("-p").arg(dir).arg("-c").arg(&configuration).args(["-e", "stderr"]);
        Ok(())
    })
    .unwrap();
    nginx.accepting(balancer).await.unwrap();
    let ca = NullCa::start(folder, &["--http01", &balancer.to_string()]);
    let args = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
    let mut analytics = wec(folder, &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(analytics.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let _analytics = Running(Some(analytics));
    let receives = format!("http://{}", line.trim().rsplit(' ').next().unwrap());
    let challenges = redis.url();
    let server = |name: &str, address: &str| {
        let args =
            ["challenge-server", "--node", name, "--http01-listen", address, "--tlsalpn01-listen", "off"];
        let more = ["--dns-listen", "off", "--challenges", &challenges, "--analytics", &receives];
        service(folder, name, &[&args[..], &more].concat())
    };
    let mut one = server("one", &addresses[0]);
    let mut two = server("two", &addresses[1]);
    for name in ["one", "two"] {
        until("it listens", || said(folder, name).contains("challenge server listens"));
    }
    let mut args = vec!["requester", "--analytics", &receives, "--challenges", &challenges];
    args.extend(["--challenge-types", "http-01", "--workers", "2", "--think-time", "20ms"]);
    args.extend(["--run-time", "10m", "--graceful-stop", "2m"]);
    args.extend(ca.target());
    let requester = service(folder, "requester", &args);

    let log = || log_so_far(&folder.join("results"));
    let both = |log: &[Record]| answered_by(log, "one") >= 10 && answered_by(log, "two") >= 10;
    until("both servers answer", || both(&log()));
    kill(&mut one);
    let before = log();
    let more = |log: &[Record]| answered_by(log, "two") >= answered_by(&before, "two") + 20;
    until("the other one answers all", || more(&log()));
    let so_far = log();
    let failed: Vec<_> = results(&so_far).filter(|result| !result.successful).collect();
    assert!(failed.is_empty(), "{failed:?}");

    let failures = |log: &[Record], class| results(log).filter(|result| is(result, class)).count();
    kill(&mut two);
    until("validations fail", || failures(&log(), FailureClass::Validation) >= 5);
    let _two = server("two", &addresses[1]);
    let (validated, tried) = (authorized(&log()), failures(&log(), FailureClass::Internal));
    until("a server that is back answers", || authorized(&log()) >= validated + 5);
    assert_eq!(tried, 0);

    redis.kill().unwrap();
    until("nothing can be put there", || failures(&log(), FailureClass::Internal) >= 5);
    redis.restart().await.unwrap();
    let validated = authorized(&log());
    until("Redis that is back is used", || authorized(&log()) >= validated + 5);
    requester.interrupt();
}

/// nginx that asks the other server when one does not answer.
fn before(balancer: &str, servers: &[String; 2]) -> String {
    let [one, two] = servers;
    format!(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr info;
events {{ worker_connections 500; }}
http {{
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream servers {{ server {one} fail_timeout=1s; server {two} fail_timeout=1s; }}
  server {{ listen {balancer}; location / {{ proxy_pass http://servers; proxy_set_header Host $http_host; }} }}
}}
"
    )
}

fn answered_by(log: &[Record], server: &str) -> usize {
    // Its id is its name with what is new at each start.
    let is = |node: &str| node.rsplit_once('-').is_some_and(|(name, _)| name == server);
    let answered = log.iter().filter(|record| {
        matches!(record, Record::Hit { node, hit, .. } if is(node) && hit.verdict == Verdict::Answered)
    });
    answered.count()
}

fn authorized(log: &[Record]) -> usize {
    let made = |result: &&ChainResult| result.successful && result.chain == Some(Chain::Authorization);
    results(log).filter(made).count()
}

fn is(result: &ChainResult, class: FailureClass) -> bool {
    result.class == Some(class)
}
