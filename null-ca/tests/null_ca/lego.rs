//! Debian's `lego`, an independent client, gets certificates from the null CA, which validates at
//! lego's http-01 and tls-alpn-01 listeners, and dns-01 at `pebble-challtestsrv`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use wec_null_ca::{Config, Counts, Endpoint, ExternalAccount, NullCa, Validation};
use wec_testbed::{ChallTestSrv, free_address};

/// lego with its own data folder and one CA.
struct Lego {
    home: TempDir,
    ca: NullCa,
}

impl Lego {
    fn against(config: Config) -> Self {
        let home = tempfile::tempdir().unwrap();
        let ca = NullCa::start(config).unwrap();
        std::fs::write(home.path().join("root.pem"), ca.root_pem().unwrap()).unwrap();
        Self { home, ca }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("lego");
        command
            .args(["--accept-tos", "--email", "lego@example.test", "--path"])
            .arg(self.home.path())
            .args(["--server", self.ca.directory_url()])
            .args(args)
            .env("LEGO_CA_CERTIFICATES", self.home.path().join("root.pem"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        output(&mut self.command(args))
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lego {args:?} failed:\n{said}");
    }

    fn certificate(&self, name: &str) -> String {
        let file = self.home.path().join("certificates").join(format!("{name}.crt"));
        std::fs::read_to_string(file).unwrap()
    }

    async fn stop(self) -> Counts {
        self.ca.stop().await
    }
}

fn output(lego: &mut Command) -> Output {
    lego.output().expect("cannot run `lego`; install Debian's package lego")
}

/// With a Retry-After: otherwise lego waits five seconds for each validation.
fn validated_by(validation: Validation) -> Config {
    let validation = Validation { retry_after: Some(1), ..validation };
    Config { validation, ..Config::default() }
}

#[tokio::test]
async fn lego_issues_renews_and_revokes_by_http_01() {
    let port = free_address();
    let lego = Lego::against(validated_by(Validation { http01: Some(port), ..Default::default() }));
    let listen = port.to_string();
    let http = ["--http", "--http.port", &listen, "-d", "a.lego.test", "-d", "b.lego.test"];
    lego.succeeds(&[&http[..], &["run"]].concat());
    let first = lego.certificate("a.lego.test");
    assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate");
    lego.succeeds(&[&http[..], &["renew", "--days", "1000", "--no-random-sleep"]].concat());
    assert_ne!(lego.certificate("a.lego.test"), first);
    lego.succeeds(&["-d", "a.lego.test", "revoke"]);

    let counts = lego.stop().await;
    assert_eq!((counts.accounts, counts.orders, counts.certificates), (1, 2, 2));
    assert_eq!((counts.validations_valid, counts.validations_invalid), (4, 0));
    assert_eq!(counts.answered(Endpoint::RevokeCert, 200), 1);
    assert_eq!(counts.revocations, 1);
}

#[tokio::test]
async fn lego_gets_no_certificate_when_nobody_answers_the_challenge() {
    let lego = Lego::against(validated_by(Validation { http01: Some(free_address()), ..Default::default() }));
    let elsewhere = free_address().to_string();
    let output = lego.run(&["--http", "--http.port", &elsewhere, "-d", "a.lego.test", "run"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("urn:ietf:params:acme:error:connection"), "{said}");
    let counts = lego.stop().await;
    assert_eq!((counts.certificates, counts.validations_invalid), (0, 1));
}

#[tokio::test]
async fn lego_issues_by_tls_alpn_01() {
    let port = free_address();
    let lego = Lego::against(validated_by(Validation { tls_alpn01: Some(port), ..Default::default() }));
    let listen = port.to_string();
    lego.succeeds(&["--tls", "--tls.port", &listen, "-d", "a.lego.test", "run"]);
    assert_eq!(lego.stop().await.validations_valid, 1);
}

#[tokio::test]
async fn lego_issues_a_wildcard_by_dns_01() {
    let dns = ChallTestSrv::start().await.unwrap();
    let lego = Lego::against(validated_by(Validation { dns01: Some(dns.dns), ..Default::default() }));
    let script = lego.home.path().join("txt.sh");
    write_script(&script, dns.management_address());
    // lego's `exec` provider takes its program from the environment and looks zones up by SOA,
    // which the test server does not have; RAW mode leaves that out.
    let resolver = dns.dns.to_string();
    let exec = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", &resolver];
    let mut command = lego.command(&[&exec[..], &["-d", "*.lego.test", "run"]].concat());
    let output = output(command.env("EXEC_PATH", &script));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lego failed:\n{said}");
    assert_eq!(lego.stop().await.validations_valid, 1);
}

#[tokio::test]
async fn lego_binds_its_account_to_an_external_one() {
    let port = free_address();
    let lego = Lego::against(Config {
        external_accounts: vec![ExternalAccount {
            kid: "kid-1".to_owned(),
            hmac_key: b"a secret of thirty-two bytes....".to_vec(),
        }],
        ..validated_by(Validation { http01: Some(port), ..Default::default() })
    });
    let listen = port.to_string();
    let run = ["--http", "--http.port", &listen, "-d", "a.lego.test", "run"];
    let without = lego.run(&run);
    assert!(!without.status.success());
    let right = ["--eab", "--kid", "kid-1", "--hmac"];
    let wrong_key = "YW5vdGhlciBzZWNyZXQ";
    assert!(!lego.run(&[&right[..], &[wrong_key], &run[..]].concat()).status.success());
    let key = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4";
    lego.succeeds(&[&right[..], &[key], &run[..]].concat());
    assert_eq!(lego.stop().await.accounts, 1);
}

/// What lego's `exec` provider calls: `present` or `cleanup`, the record's name, its value.
fn write_script(file: &Path, management: SocketAddr) {
    use std::os::unix::fs::PermissionsExt;
    let script = format!(
        r#"#!/bin/sh -e
[ "$1" = present ] || exit 0
curl -sSf --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://{management}/set-txt \
    -d "{{\"host\":\"$2\",\"value\":\"$3\"}}"
"#
    );
    std::fs::write(file, script).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}
