//! Our server in place of pebble-challtestsrv: other clients set challenge data through the management API, and a real
//! Pebble validates it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use wec_acme::{AccountKey, AuthorizationStatus, Client, Clock, Config, Policy, Roots, Trace};
use wec_record::{ChallengeType, Verdict};
use wec_testbed::{Pebble, PebbleOptions, Program};

use crate::client::post;
use crate::started::{Started, everything, start};

const LEGO: Program = Program { binary: "lego", package: "lego" };
const DEHYDRATED: Program = Program { binary: "dehydrated", package: "dehydrated" };

/// A hook in bash, which can send HTTP by itself. `$1` is the event.
const SAY: &str = r#"
say() {
    exec 3<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "$1" "${#2}" "$2" >&3
    read -r _ status _ <&3
    [[ $status == 200 ]]
}
"#;

struct Lab {
    challenges: Started,
    pebble: Pebble,
    home: tempfile::TempDir,
}

impl Lab {
    async fn start() -> Self {
        let challenges = start(everything()).await;
        let addresses = challenges.server.addresses();
        let pebble = Pebble::start(PebbleOptions {
            http_port: addresses.http01.unwrap().port(),
            tls_port: addresses.tls_alpn01.unwrap().port(),
            dns: addresses.dns,
            authz_reuse: 0,
            // dehydrated does not retry with the nonce of the refusal.
            nonce_reject: 0,
            ..PebbleOptions::default()
        })
        .await
        .unwrap();
        Self { challenges, pebble, home: tempfile::tempdir().unwrap() }
    }

    /// An executable hook that sends the result of `body` to the management API.
    fn hook(&self, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let port = self.challenges.server.addresses().management.unwrap().port();
        let path = self.home.path().join("hook");
        std::fs::write(&path, format!("#!/bin/bash\nPORT={port}\n{SAY}\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// The names that were answered, each once. Checks that there were no validations of other types.
    fn answered(&self, challenge: ChallengeType) -> Vec<String> {
        let hits = self.challenges.server.hits();
        assert_eq!(hits.counts().of(challenge, Verdict::Answered), hits.counts().total());
        let mut names: Vec<_> = hits.recent().into_iter().map(|hit| hit.name).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Runs on another thread, because the server uses this thread's runtime.
async fn run(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || (command.output(), command)).await.unwrap();
    let (output, command) = (output.0.unwrap(), output.1);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}:\n{printed}\n{said}");
    output
}

fn is_chain(file: &Path) {
    let pem = std::fs::read_to_string(file).unwrap();
    assert!(pem.matches("BEGIN CERTIFICATE").count() >= 2, "leaf and issuer: {pem}");
}

#[tokio::test]
async fn lego_issues_by_dns_01() {
    let lab = Lab::start().await;
    let hook = lab.hook(
        r#"case $1 in
            present) say /set-txt "{\"host\":\"$2\",\"value\":\"$3\"}" ;;
            cleanup) say /clear-txt "{\"host\":\"$2\"}" ;;
        esac"#,
    );
    let mut lego = Command::new(LEGO.find().unwrap());
    let resolver = lab.challenges.server.addresses().dns.unwrap().to_string();
    lego.args(["--accept-tos", "--email", "lego@example.test", "--server", &lab.pebble.directory_url()])
        .args(["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", &resolver, "--path"])
        .arg(lab.home.path())
        .args(["-d", "one.lego.test", "-d", "*.two.lego.test", "run"])
        .env("LEGO_CA_CERTIFICATES", lab.pebble.ca_file())
        .env("EXEC_PATH", hook)
        .env("EXEC_POLLING_INTERVAL", "1")
        .env("EXEC_SEQUENCE_INTERVAL", "1");
    run(lego).await;
    is_chain(&lab.home.path().join("certificates/one.lego.test.crt"));
    assert_eq!(lab.answered(ChallengeType::Dns01), ["one.lego.test", "two.lego.test"]);
}

#[tokio::test]
async fn dehydrated_issues_by_http_01() {
    let lab = Lab::start().await;
    let hook = lab.hook(
        r#"case $1 in
            deploy_challenge) say /add-http01 "{\"token\":\"$3\",\"content\":\"$4\"}" ;;
            clean_challenge) say /del-http01 "{\"token\":\"$3\"}" ;;
        esac"#,
    );
    let home = lab.home.path();
    let config = format!(
        "BASEDIR={}\nWELLKNOWN={0}\nCA={}\nCURL_OPTS='--cacert {}'\nHOOK={}\nCHALLENGETYPE=http-01\n",
        home.display(),
        lab.pebble.directory_url(),
        lab.pebble.ca_file().display(),
        hook.display(),
    );
    std::fs::write(home.join("config"), config).unwrap();
    let dehydrated = |arguments: &[&str]| {
        let mut command = Command::new(DEHYDRATED.find().unwrap());
        command.arg("--config").arg(home.join("config")).args(arguments);
        command
    };
    run(dehydrated(&["--register", "--accept-terms"])).await;
    run(dehydrated(&["--cron", "--domain", "one.dehydrated.test two.dehydrated.test"])).await;
    is_chain(&home.join("certs/one.dehydrated.test/fullchain.pem"));
    assert_eq!(lab.answered(ChallengeType::Http01), ["one.dehydrated.test", "two.dehydrated.test"]);
}

/// No client in Debian passes a tls-alpn-01 key authorization to a hook, so this uses our own client.
#[tokio::test]
async fn pebble_validates_tls_alpn_01() {
    let lab = Lab::start().await;
    let clock = Clock::start();
    let config = Config {
        roots: Roots::Pem(lab.pebble.ca_pem().unwrap()),
        policy: Policy { poll_interval: std::time::Duration::from_millis(20), ..Policy::default() },
        ..Config::new(lab.pebble.directory_url().parse().unwrap())
    };
    let client = Client::discover(config, clock).await.unwrap();
    let trace = &mut Trace::new(clock);
    let account = client.new_account(trace, &AccountKey::generate().unwrap(), &[], None).await.unwrap();
    let names = ["one.alpn.test".to_owned(), "two.alpn.test".to_owned()];
    let order = client.new_order(trace, &account, &names, None).await.unwrap();
    let management = lab.challenges.server.addresses().management.unwrap();
    for url in &order.authorizations {
        let authorization = client.authorization(trace, &account, url).await.unwrap();
        let challenge = authorization.challenge(wec_record::ChallengeType::TlsAlpn01).unwrap();
        let content = account.key.key_authorization(&challenge.token);
        let body = json!({"host": authorization.identifier.validated(), "content": content}).to_string();
        assert_eq!(post(management, "/add-tlsalpn01", "", &body).await.0, 200);
        let responded = client.respond(trace, &account, &challenge.url).await.unwrap();
        let proven = client.poll_authorization(trace, &account, url, responded.retry_after).await.unwrap();
        assert_eq!(proven.status, AuthorizationStatus::Valid);
    }
    assert_eq!(lab.answered(ChallengeType::TlsAlpn01), names);
}
