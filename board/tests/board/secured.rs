//! An etcd that requires TLS, a client's certificate, and a user with a password.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use wec_board::{Board, BoardError, BoardUrl, By, Change, EtcdOptions, EtcdTls, EtcdUser, NodeInfo, Session};
use wec_testbed::etcd::{Etcd, ServerTls};

use crate::common::{BOUND, requester};

const PASSWORD: &str = "p@ss:w0rd";

/// A CA and what it has issued, as files.
struct Pki {
    folder: TempDir,
    ca: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (key, folder) = (KeyPair::generate().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, ca: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate and its key, for 127.0.0.1 and for both sides.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let files = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-key.pem")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    fn client(&self) -> EtcdTls {
        EtcdTls { ca: Some(self.path("ca.pem")), client: Some(self.issue("client")) }
    }

    async fn etcd(&self) -> Etcd {
        let (certificate, key) = self.issue("server");
        Etcd::start_with_tls(ServerTls { certificate, key, clients: self.path("ca.pem") }).await.unwrap()
    }
}

fn user(password: &str) -> Option<EtcdUser> {
    Some(EtcdUser { name: "wec".into(), password: password.into() })
}

async fn until_workers(board: &Board, workers: u32) {
    let mut shown = board.session("s");
    let wanted = shown.wait_for(|now| now.as_ref().is_some_and(|now| now.value.workers() == workers));
    tokio::time::timeout(BOUND, wanted).await.expect("in time").unwrap();
}

#[tokio::test]
async fn tls_with_a_clients_certificate_and_a_user_who_may_use_the_boards_keys_only() {
    let pki = Pki::new();
    let etcd = pki.etcd().await;
    etcd.enable_users("wec", PASSWORD, "/wec/").await.unwrap();
    let EtcdTls { ca, client } = pki.client();
    let (ca, (certificate, key)) = (ca.unwrap(), client.unwrap());
    let url = format!(
        "etcds://wec:p%40ss:w0rd@{}?cacert={}&client-cert={}&client-key={}",
        etcd.secured().unwrap(),
        ca.display(),
        certificate.display(),
        key.display()
    );
    let (one, other) = (
        url.parse::<BoardUrl>().unwrap().open().await.unwrap(),
        url.parse::<BoardUrl>().unwrap().open().await.unwrap(),
    );
    let node = one.join(requester("a")).await.unwrap();
    one.put_session(Session::running("s", 5)).await.unwrap();
    until_workers(&other, 5).await;
    other.change("s", Change::workers(By::Cli, 6)).await.unwrap();
    until_workers(&one, 6).await;
    node.leave().await;
    tokio::time::timeout(BOUND, other.nodes().wait_for(Vec::is_empty)).await.expect("in time").unwrap();

    let elsewhere = EtcdOptions {
        prefix: "/other".into(),
        user: user(PASSWORD),
        tls: pki.client(),
        ..EtcdOptions::new([format!("https://{}", etcd.secured().unwrap())])
    };
    let refused = Board::etcd(elsewhere).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_token_that_etcd_has_forgotten_is_replaced() {
    let mut etcd = Etcd::start().await.unwrap();
    etcd.enable_users("wec", PASSWORD, "/wec/").await.unwrap();
    let options = EtcdOptions {
        user: user(PASSWORD),
        lease: Duration::from_secs(2),
        ..EtcdOptions::new([etcd.endpoint()])
    };
    let board = Board::etcd(options.clone()).await.unwrap();
    let node = board.join(requester("a")).await.unwrap();
    board.put_session(Session::running("s", 5)).await.unwrap();
    etcd.kill().unwrap();
    etcd.restart().await.unwrap();
    board.change("s", Change::workers(By::Cli, 6)).await.unwrap();
    // Later requests and the lease use the new token, too.
    let other = Board::etcd(options).await.unwrap();
    other.change("s", Change::workers(By::Cli, 7)).await.unwrap();
    until_workers(&board, 7).await;
    let shown = |nodes: &Vec<NodeInfo>| nodes.len() == 1;
    tokio::time::timeout(BOUND, other.nodes().wait_for(shown)).await.expect("in time").unwrap();
    node.leave().await;
}

#[tokio::test]
async fn a_user_is_not_used_while_etcd_has_no_authentication() {
    let etcd = Etcd::start().await.unwrap();
    let options = EtcdOptions { user: user(PASSWORD), ..EtcdOptions::new([etcd.endpoint()]) };
    let board = Board::etcd(options).await.unwrap();
    board.put_session(Session::running("s", 5)).await.unwrap();
    // From now on etcd has users.
    etcd.enable_users("wec", PASSWORD, "/wec/").await.unwrap();
    board.change("s", Change::workers(By::Cli, 6)).await.unwrap();
    board.close().await;
}

#[tokio::test]
async fn errors_name_the_wrong_certificate_user_or_password_without_showing_the_password() {
    let pki = Pki::new();
    let etcd = pki.etcd().await;
    etcd.enable_users("wec", PASSWORD, "/wec/").await.unwrap();
    let secured = EtcdOptions::new([format!("https://{}", etcd.secured().unwrap())]);
    let right = EtcdOptions { user: user(PASSWORD), tls: pki.client(), ..secured };
    let tls = |change: fn(&mut EtcdTls)| {
        let mut wrong = right.clone();
        change(&mut wrong.tls);
        wrong
    };
    let others = Pki::new();
    let another = EtcdTls { ca: Some(others.path("ca.pem")), ..right.tls.clone() };
    for (options, why) in [
        (EtcdOptions { user: user("s3cret"), ..right.clone() }, "invalid user ID or password"),
        // Without a user, etcd uses the certificate's common name.
        (EtcdOptions { user: None, ..right.clone() }, "permission denied"),
        // etcd's TLS alert may or may not arrive before the connection closes.
        (tls(|tls| tls.client = None), "no etcd answers at https://"),
        (tls(|tls| tls.ca = Some("/no/such/file".into())), "cannot read \"/no/such/file\" for TLS with etcd"),
        (EtcdOptions { tls: another, ..right.clone() }, "invalid peer certificate"),
    ] {
        let error: BoardError = Board::etcd(options).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(why), "{why}: {said}");
        assert!(!said.contains("s3cret") && !said.contains(PASSWORD), "{said}");
    }
}
