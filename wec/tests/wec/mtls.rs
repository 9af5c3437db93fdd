//! A run over mTLS: certificates by `wec pki`, and etcd, Redis and PostgreSQL that accept nothing else.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use wec_testbed::etcd::{Etcd, ServerTls};
use wec_testbed::{Postgres, Redis};

use crate::common::{NullCa, Running, free, log_so_far, run, said, until, wec};

/// A CA, made by the commands.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self { folder: tempfile::tempdir().unwrap() };
        pki.command(&["init"]);
        pki
    }

    fn command(&self, args: &[&str]) {
        let output = run(self.folder.path(), &[&["pki"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("pki").join(name)
    }

    fn server(&self, name: &str) -> ServerTls {
        self.command(&["issue", name]);
        ServerTls {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}-key.pem")),
            clients: self.path("ca.pem"),
        }
    }

    /// The flags of a service.
    fn flags(&self, name: &str) -> [String; 6] {
        let ServerTls { certificate, key, clients } = self.server(name);
        let shown = |path: PathBuf| path.display().to_string();
        let flag = str::to_owned;
        [
            flag("--tls-ca"),
            shown(clients),
            flag("--tls-cert"),
            shown(certificate),
            flag("--tls-key"),
            shown(key),
        ]
    }
}

const TOKEN: &str = "meep-meep";

fn start(folder: &Path, args: &[&str], flags: &[String]) -> (Running, String) {
    let said = std::fs::File::create(folder.join(format!("{}.said", args[0]))).unwrap();
    let mut command = wec(folder, args);
    command.args(flags).env("WEC_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(said);
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    if args[0] == "analytics" {
        stdout.read_line(&mut line).unwrap();
    }
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (Running(Some(child)), line)
}

/// Runs it to its end.
fn ended(folder: &Path, args: &[&str], flags: &[String]) -> Output {
    wec(folder, args).args(flags).env("WEC_TOKEN", TOKEN).output().unwrap()
}

#[tokio::test]
async fn a_run_over_mtls_and_what_other_certificates_get() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let etcd = Etcd::start_with_tls(ours.server("etcd")).await.unwrap();
    let redis = Redis::start_with_tls(ours.server("redis")).await.unwrap();
    let postgres = Postgres::start_with_tls(ours.server("postgres")).await.unwrap();
    let database = postgres.create_database("wec").await.unwrap();
    // On loopback plain connections are allowed, so the mode must be given.
    let client = ours.server("database-client");
    let state = format!(
        "{database}?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
        client.clients.display(),
        client.certificate.display(),
        client.key.display()
    );
    let board = format!("etcds://{}", etcd.secured().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = NullCa::start(folder, &[]);
    let stats = free();
    let args = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--board", &board];
    let (_analytics, line) =
        start(folder, &[&args[..], &["--node-stats", &stats]].concat(), &ours.flags("analytics"));
    let page = line.split([' ', ',']).find(|word| word.starts_with("https://")).unwrap().to_owned();
    let results = format!("https://{}", line.trim().rsplit(' ').next().unwrap());
    let challenges = redis.url();
    let args = ["challenge-server", "--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off"];
    let args = [&args[..], &["--dns-listen", "off", "--challenges", &challenges, "--board", &board]].concat();
    let args = [&args[..], &["--analytics", &results]].concat();
    let (_challenges, _) = start(folder, &args, &ours.flags("challenge-server"));

    let requester_on = |state: &str, iterations, flags: &[String], analytics: &str| {
        let mut args = vec!["requester", "--board", &board, "--challenges", &challenges, "--state", state];
        args.extend(["--analytics", analytics, "--workers", "2", "--iterations", iterations]);
        args.extend(ca.target());
        ended(folder, &args, flags)
    };
    let requester =
        |iterations, flags: &[String], analytics: &str| requester_on(&state, iterations, flags, analytics);
    let output = requester("40", &ours.flags("requester"), &results);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let results_in_log = || {
        let log = log_so_far(&folder.join("results"));
        crate::common::results(&log).filter(|result| result.successful).count()
    };
    until("the results are in the log", || results_in_log() >= 40);
    let plain = requester_on(&format!("{database}?sslmode=disable"), "1", &ours.flags("plain"), &results);
    assert_eq!(plain.status.code(), Some(1), "{}", said(&plain));
    assert!(said(&plain).contains("no encryption"), "PostgreSQL accepts TLS only: {}", said(&plain));

    // People have a token and no certificate.
    let of_people = ["--tls-ca".to_owned(), ours.path("ca.pem").display().to_string()];
    let session = |flags: &[String]| {
        let mut command = wec(folder, &["session", "--at", &page, "show"]);
        for (flag, file) in flags.chunks(2).map(|pair| (&pair[0], &pair[1])) {
            command.env(flag.trim_start_matches("--").replace("tls-", "WEC_TLS_").to_uppercase(), file);
        }
        command.env("WEC_TOKEN", TOKEN).output().unwrap()
    };
    let output = session(&of_people);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = session(&[]);
    assert!(said(&output).contains("set WEC_TLS_CA"), "{}", said(&output));

    // Another CA is refused on each side, with the reason.
    let strangers = theirs.flags("stranger");
    let output = session(&strangers);
    assert!(said(&output).contains("not from the CA in"), "{}", said(&output));
    let output = ended(folder, &["node", "watch", "--stats", &stats, "--once"], &strangers);
    assert!(said(&output).contains("not from the CA in"), "{}", said(&output));
    let mut impostor = theirs.flags("impostor");
    impostor[1] = ours.path("ca.pem").display().to_string();
    let output = ended(folder, &["node", "watch", "--stats", &stats, "--once"], &impostor);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("both sides need certificates of one CA"), "{}", said(&output));
    let output = ended(folder, &["node", "watch", "--stats", &stats, "--once"], &of_people);
    assert!(said(&output).contains("requires a certificate"), "{}", said(&output));
    let output = ended(folder, &["node", "watch", "--stats", &stats, "--once"], &ours.flags("watcher"));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for (flags, why) in [(&strangers, "UnknownIssuer"), (&impostor, "both sides need certificates of one CA")]
    {
        let output = requester("1", flags, &results);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
    }

    // Beyond loopback nothing is sent without TLS, unless asked to.
    let mut args = vec!["requester", "--analytics", "http://analytics.test:8090", "--workers", "1"];
    args.extend(["--iterations", "1", "--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    let output = ended(folder, &args, &[]);
    assert!(said(&output).contains("http://analytics.test:8090 would be without TLS"), "{}", said(&output));
    let output = ended(folder, &["analytics", "--listen", "0.0.0.0:0"], &[]);
    assert!(said(&output).contains("the page on 0.0.0.0:0 would be without TLS"), "{}", said(&output));
}

#[test]
fn the_ca_is_made_once_and_its_keys_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let pki = Pki::new();
    pki.command(&["issue", "wec-1", "--host", "10.0.0.7,wec-1.test"]);
    for key in ["ca-key.pem", "wec-1-key.pem"] {
        assert_eq!(std::fs::metadata(pki.path(key)).unwrap().permissions().mode() & 0o077, 0, "{key}");
    }
    let shown = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(pki.path("wec-1.pem"))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for expected in ["DNS:wec-1", "IP Address:10.0.0.7", "DNS:wec-1.test", "TLS Web Client Authentication"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let verified = std::process::Command::new("openssl")
        .args(["verify", "-CAfile"])
        .args([pki.path("ca.pem"), pki.path("wec-1.pem")])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    for (args, why) in [
        (&["pki", "init"][..], "has a CA already"),
        (&["pki", "issue", "ca"], "the CA's own files"),
        (&["pki", "issue", "a/b"], "not a service's name"),
        (&["pki", "issue", "a", "--host", "https://a"], "neither a host name nor an IP address"),
        (&["pki", "issue", "a", "--dir", "none"], "make one with wec pki init"),
    ] {
        let output = run(pki.folder.path(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
    }
}
