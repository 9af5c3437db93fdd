//! The compose project without containers: that all its connections have TLS, and that its services find each other with the
//! certificates that its service `pki` makes. `scripts/compose-check` runs the containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use wec_testbed::{Process, Program};

use crate::common::{Running, free, said, until, wec};

const ETCD: Program = Program { binary: "etcd", package: "etcd-server" };
const REDIS: Program = Program { binary: "redis-server", package: "redis-server" };
const OURS: [&str; 4] = ["analytics", "challenge-server", "requester", "agent"];

/// The services of a compose file, with YAML's merges.
fn services(file: &str) -> serde_json::Map<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let read = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1]))['services'], sys.stdout)";
    let output = Command::new(wec_testbed::python().unwrap()).args(["-c", read]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A text, or the texts of a list.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    value.as_array().map_or_else(|| vec![text(value)], |values| values.iter().map(text).collect())
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().unwrap().iter();
    // `${NAME:-default}` without the variable.
    let default = |value: &str| match value.split_once(":-") {
        Some((_, default)) => default.trim_end_matches('}').to_owned(),
        None => value.to_owned(),
    };
    variables.map(|(name, value)| (name.clone(), default(value.as_str().unwrap()))).collect()
}

#[test]
fn every_connection_of_the_compose_project_has_tls() {
    for file in ["docker-compose.yml", "docker-compose.boulder.yml"] {
        let all = services(file);
        for (name, service) in &all {
            let text = service.to_string().replace("challtestsrv+http://", "");
            for plain in ["redis://", "etcd://", "http://analytics", "WEC_PLAINTEXT"] {
                assert!(!text.contains(plain), "{file}: {name} has {plain}");
            }
        }
    }
    let all = services("docker-compose.yml");
    for name in OURS.into_iter().chain(["etcd", "redis", "postgres"]) {
        let own = texts(&all[name]["volumes"]).into_iter().filter(|volume| volume.contains(":/pki"));
        assert_eq!(own.collect::<Vec<_>>(), [format!("pki-{name}:/pki:ro")]);
        assert_eq!(all[name]["depends_on"]["pki"]["condition"], "service_completed_successfully", "{name}");
    }
    for name in OURS {
        let variables = environment(&all[name]);
        for variable in ["WEC_TLS_CA", "WEC_TLS_CERT", "WEC_TLS_KEY"] {
            assert!(variables[variable].starts_with("/pki/"), "{name}: {variables:?}");
        }
    }
}

/// What stands in a compose file, as it is on this machine.
struct Here(Vec<(String, String)>);

impl Here {
    /// Each place once: what is put there is not looked at again.
    fn with(&self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(next) = rest.chars().next() {
            match self.0.iter().find(|(there, _)| rest.starts_with(there)) {
                Some((there, here)) => {
                    done += here;
                    rest = &rest[there.len()..];
                }
                None => {
                    done.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        done
    }

    fn of(&self, pki: &Path, more: &[(&str, &str)]) -> Self {
        let own = [("/pki/".to_owned(), format!("{}/", pki.display()))];
        let more = more.iter().map(|(there, here)| ((*there).to_owned(), (*here).to_owned()));
        Self(more.chain(own).chain(self.0.iter().cloned()).collect())
    }

    fn all(&self, values: &Value) -> Vec<String> {
        texts(values).iter().map(|text| self.with(text)).collect()
    }

    fn variables(&self, service: &Value) -> BTreeMap<String, String> {
        environment(service).into_iter().map(|(name, value)| (name, self.with(&value))).collect()
    }
}

/// Runs the service `pki`; the folders of certificates are in the folder that it returns.
fn certificates(folder: &Path, pki: &Value) -> PathBuf {
    let (ca, out, bin) = (folder.join("ca"), folder.join("out"), folder.join("bin"));
    for made in texts(&pki["volumes"]).iter().filter_map(|volume| volume.split_once(":/out/")) {
        std::fs::create_dir_all(out.join(made.1)).unwrap();
    }
    std::fs::create_dir_all(&ca).unwrap();
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(wec(folder, &[]).get_program(), bin.join("wec")).unwrap();
    let script =
        texts(&pki["command"])[0].replace("$$", "$").replace("/out/", &format!("{}/", out.display()));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    // At a second start the CA stays.
    for _ in 0..2 {
        let mut made = Command::new("sh");
        made.args(["-euc", &script]).current_dir(&ca).env("PATH", &path);
        let output = made.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    out
}

#[tokio::test]
async fn services_of_the_compose_project_connect_with_the_certificates_that_it_makes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let all = services("docker-compose.yml");
    let out = certificates(folder, &all["pki"]);
    let [etcd, peer, redis, results] = [(); 4].map(|()| wec_testbed::free_address());
    let data = folder.join("board").display().to_string();
    let here = Here(
        [
            ("/var/lib/etcd/board", data),
            ("0.0.0.0:2379", etcd.to_string()),
            ("127.0.0.1:2379", etcd.to_string()),
            ("etcd:2379", etcd.to_string()),
            ("rediss://redis", format!("rediss://{redis}")),
            ("analytics:8090", results.to_string()),
            ("0.0.0.0:8090", results.to_string()),
        ]
        .map(|(there, here)| (there.to_owned(), here))
        .to_vec(),
    );

    let of_etcd = here.of(&out.join("etcd"), &[]);
    let mut board = Process::start(ETCD, |command, _| {
        command
            .args(&of_etcd.all(&all["etcd"]["entrypoint"])[1..])
            .args(of_etcd.all(&all["etcd"]["command"]));
        command.args(["--listen-peer-urls", &format!("http://{peer}")]);
        command.env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        Ok(())
    })
    .unwrap();
    board.accepting(etcd).await.unwrap();
    let mut health = Command::new("etcdctl");
    health.args(["endpoint", "health"]).env("ETCDCTL_API", "3").envs(of_etcd.variables(&all["etcd"]));
    until("etcd is healthy", || health.output().unwrap().status.success());

    let of_redis = here.of(&out.join("redis"), &[("6379", &redis.port().to_string())]);
    let mut challenges = Process::start(REDIS, |command, _| {
        command.args(&of_redis.all(&all["redis"]["command"])[1..]);
        Ok(())
    })
    .unwrap();
    challenges.accepting(redis).await.unwrap();
    let ping = of_redis.with(all["redis"]["healthcheck"]["test"].as_str().unwrap());
    let ping = ping.replace("redis-cli", &format!("redis-cli -p {}", redis.port()));
    until("Redis is healthy", || Command::new("sh").args(["-c", &ping]).output().unwrap().status.success());

    let service = |name: &str, more: &[(&str, &str)], args: &[&str]| {
        let own = folder.join(name);
        std::fs::create_dir_all(&own).unwrap();
        let here = here.of(&out.join(name), more);
        let mut command = wec(&own, &[]);
        command.arg(name).envs(here.variables(&all[name])).args(args);
        if !all[name]["command"].is_null() {
            command.args(here.all(&all[name]["command"]));
        }
        let said = std::fs::File::create(own.join("said")).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        Running(Some(command.spawn().unwrap()))
    };
    let said_by = |name: &str| std::fs::read_to_string(folder.join(name).join("said")).unwrap();
    let until_says = |name: &str, words: &str| {
        until(&format!("{name} says {words:?}"), || {
            let said = said_by(name);
            assert!(!said.contains("error: "), "{name}: {said}");
            said.contains(words)
        });
    };
    let (page, [stats, of_server]) = (free(), [free(), free()]);
    let more = [
        ("0.0.0.0:8089", page.as_str()),
        ("/results", "results"),
        ("0.0.0.0:7070", &stats),
        ("analytics:7070", &stats),
    ];
    let _analytics = service("analytics", &more, &[]);
    until_says("analytics", "page on https://");
    let ports = [":80", ":443", ":53"].map(|port| (format!("0.0.0.0{port}"), free()));
    let more = ports.iter().map(|(there, here)| (there.as_str(), here.as_str()));
    let more = more.chain([
        ("${WEC_NET:-10.73.80}.80", "127.0.0.1"),
        ("0.0.0.0:7070", &of_server),
        ("challenge-server:7070", &of_server),
    ]);
    let _server = service("challenge-server", &more.collect::<Vec<_>>(), &[]);
    until_says("challenge-server", "challenge server listens");
    // Any certificate of a CA: nothing is sent to one.
    let root = out.join("agent/ca.pem").display().to_string();
    let more = [("/tls/ca.pem", root.as_str()), ("postgres://wec:wec@postgres/wec", "sqlite://agent.sqlite")];
    let flags = ["--no-calibration", "--admin-listen", "off", "--name", "a"];
    let _agent = service("agent", &more, &flags);
    until_says("agent", "agent a waits for sessions");
    // People need the CA's certificate and the token.
    let mut list = wec(folder, &["node", "list"]);
    list.env("WEC_AT", format!("https://{page}")).env("WEC_TOKEN", "coyote");
    let output = list.env("WEC_TLS_CA", out.join("analytics/ca.pem")).stdin(Stdio::null()).output().unwrap();
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(listed.contains(" a     live"), "{listed}{}", said(&output));
}
