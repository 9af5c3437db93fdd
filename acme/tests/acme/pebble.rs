//! Against a real Pebble, with challenges answered by its own challenge server.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use wec_acme::transport::BoxFuture;
use wec_acme::{
    Account, AccountKey, AuthorizationStatus, CertificateKey, Checker, Client, Clock, Config, DiscoverError,
    Endpoint, Exchange, ExternalAccount, FailureClass, Gate, HttpVersion, KeyType, OrderStatus, Policy,
    Purpose, Refusal, Resolver, Roots, Signer, Trace, certificate_request,
};
use wec_testbed::{ChallTestSrv, Pebble, PebbleOptions};

use crate::support::manage;

struct Lab {
    pebble: Pebble,
    challenges: ChallTestSrv,
    client: Client,
    clock: Clock,
}

impl Lab {
    async fn start(options: PebbleOptions) -> Self {
        Self::with(options, HttpVersion::Http1).await
    }

    async fn with(options: PebbleOptions, http: HttpVersion) -> Self {
        let challenges = ChallTestSrv::start().await.unwrap();
        let pebble = Pebble::start(PebbleOptions {
            http_port: challenges.http01.port(),
            tls_port: challenges.tlsalpn01.port(),
            dns: Some(challenges.dns),
            ..options
        })
        .await
        .unwrap();
        let clock = Clock::start();
        let config = Config { http, ..config(&pebble) };
        let client = Client::discover(config, clock).await.unwrap();
        Self { pebble, challenges, client, clock }
    }

    async fn prove(&self, trace: &mut Trace, account: &Account, url: &str) {
        let authorization = self.client.authorization(trace, account, url).await.unwrap();
        if authorization.status == AuthorizationStatus::Valid {
            return;
        }
        let challenge =
            authorization.challenge(wec_record::ChallengeType::Http01).expect("Pebble offers http-01");
        let key_authorization = account.key.key_authorization(&challenge.token);
        let body = format!(r#"{{"token":"{}","content":"{key_authorization}"}}"#, challenge.token);
        manage(self.challenges.management_address(), "add-http01", &body).await;
        let responded = self.client.respond(trace, account, &challenge.url).await.unwrap();
        let proven =
            self.client.poll_authorization(trace, account, url, responded.retry_after).await.unwrap();
        assert_eq!(proven.status, AuthorizationStatus::Valid);
    }

    /// From newOrder to download, checked.
    async fn issue(&self, trace: &mut Trace, account: &Account, names: &[String]) -> Issued {
        self.issue_of(KeyType::P256, trace, account, names).await
    }

    async fn issue_of(
        &self,
        kind: KeyType,
        trace: &mut Trace,
        account: &Account,
        names: &[String],
    ) -> Issued {
        let order = self.client.new_order(trace, account, names, None).await.unwrap();
        for url in &order.authorizations {
            self.prove(trace, account, url).await;
        }
        let order = self.client.order(trace, account, &order.url).await.unwrap();
        let order = self.client.poll_order_ready(trace, account, &order).await.unwrap();
        assert_eq!(order.status, OrderStatus::Ready);
        assert!(order.expires_unix().unwrap() > self.clock.unix_now());
        let key = trace.keygen(|| CertificateKey::generate(kind)).unwrap();
        let csr = key.request(names).unwrap();
        let order = self.client.finalize(trace, account, &order, &csr).await.unwrap();
        let order = self.client.poll_order_valid(trace, account, &order).await.unwrap();
        let pem = self.client.certificate(trace, account, &order.certificate.unwrap()).await.unwrap();
        Issued { pem, key }
    }
}

struct Issued {
    pem: Vec<u8>,
    key: CertificateKey,
}

fn config(pebble: &Pebble) -> Config {
    Config {
        roots: Roots::Pem(pebble.ca_pem().unwrap()),
        policy: Policy { poll_interval: std::time::Duration::from_millis(5), ..Policy::default() },
        ..Config::new(pebble.directory_url().parse().unwrap())
    }
}

/// Resolves `localhost` to its usual address, and to another one after the switch.
#[derive(Debug, Default)]
struct Moving(std::sync::atomic::AtomicBool);

impl Resolver for Moving {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, std::io::Result<Vec<std::net::SocketAddr>>> {
        assert_eq!(host, "localhost");
        let last = 1 + u8::from(self.0.load(std::sync::atomic::Ordering::SeqCst));
        Box::pin(std::future::ready(Ok(vec![([127, 0, 0, last], port).into()])))
    }
}

/// Allows one address.
#[derive(Debug)]
struct Only(std::net::IpAddr);

impl Gate for Only {
    fn origin(&self, _host: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn address(&self, host: &str, address: std::net::SocketAddr) -> Result<(), Refusal> {
        if address.ip() == self.0 { Ok(()) } else { Err(Refusal(format!("{host} moved to {address}"))) }
    }
}

#[tokio::test]
async fn a_new_address_of_a_name_during_a_run_is_refused() {
    let pebble = Pebble::start(PebbleOptions::default()).await.unwrap();
    let directory: wec_acme::Url = pebble.directory_url().parse().unwrap();
    let port = directory.port().unwrap();
    let elsewhere = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let (moving, clock) = (Arc::new(Moving::default()), Clock::start());
    let gate = Arc::new(Only([127, 0, 0, 1].into()));
    let config = Config { directory, resolver: Arc::clone(&moving) as _, gate, ..config(&pebble) };
    let client = Client::discover(config, clock).await.unwrap();
    let (mut trace, key) = (Trace::new(clock), AccountKey::generate().unwrap());
    client.new_account(&mut trace, &key, &[], None).await.unwrap();
    let pebbles = wec_acme::Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    assert!(trace.exchanges().iter().all(|exchange| exchange.way.address == Some(pebbles)));

    moving.0.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut trace = Trace::new(clock);
    let refused = client.sibling(1).new_account(&mut trace, &key, &[], None).await.unwrap_err();
    assert_eq!(refused.kind, FailureClass::RefusedOrigin);
    let moved = format!("localhost moved to 127.0.0.2:{port}; the URL is `newNonce` of the directory");
    assert!(refused.message.ends_with(&moved), "{refused}");
    // The open connection to the first address is still used.
    client.new_account(&mut trace, &key, &[], None).await.unwrap();
    // A connection to the new address would wait to be accepted.
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the client has connected to the new address"
    );
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Checks that hold for every exchange.
fn consistent(exchanges: &[Exchange]) {
    let mut before = 0;
    for exchange in exchanges {
        assert!(exchange.due <= exchange.sent && exchange.sent <= exchange.done, "{exchange:?}");
        assert!(before <= exchange.sent, "out of order: {exchange:?}");
        before = exchange.sent;
        assert!(exchange.bytes_sent > 0 || exchange.status == 0, "{exchange:?}");
        assert!(exchange.status < 400 || exchange.failure.is_some(), "{exchange:?}");
    }
}

async fn issues_checks_and_revokes(nonce_reject: u8) -> Vec<Exchange> {
    let lab = Lab::start(PebbleOptions { nonce_reject, ..PebbleOptions::default() }).await;
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    let contact = ["mailto:someone@example.test".to_owned()];
    let account = lab.client.new_account(&mut trace, &key, &contact, None).await.unwrap();
    let again = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
    assert_eq!(account.url, again.url);

    let checker = Checker::new();
    let mut serials = std::collections::HashSet::new();
    for round in 0..3 {
        let names = names(&["one.example.test", &format!("two-{round}.example.test")]);
        let issued = lab.issue(&mut trace, &account, &names).await;
        let now = lab.clock.unix_now();
        let checked = checker.check(&issued.pem, &names, &issued.key, now).unwrap();
        assert!(serials.insert(checked.serial_hex.clone()));
        assert!(checked.not_before_unix <= now && now < checked.not_after_unix);

        let other = certificate_request(&names).unwrap().0;
        let failure = checker.check(&issued.pem, &names, &other, now).unwrap_err();
        assert_eq!(failure.kind, FailureClass::WrongCertificate);
        assert!(failure.message.contains("public key"), "{failure}");

        let signer = match round {
            0 => Signer::Account(&account),
            _ => Signer::CertificateKey(&issued.key),
        };
        lab.client.revoke(&mut trace, signer, &checked.leaf_der, Some(4)).await.unwrap();
        let failure = lab.client.revoke(&mut trace, signer, &checked.leaf_der, Some(4)).await.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Problem);
        assert_eq!(failure.problem.unwrap().name(), "alreadyRevoked");
    }
    let (exchanges, keygen) = trace.into_parts();
    assert!(keygen > 0);
    consistent(&exchanges);
    exchanges
}

#[tokio::test]
async fn an_account_is_found_by_its_key_and_only_if_it_is_there() {
    let lab = Lab::start(PebbleOptions::default()).await;
    let mut trace = Trace::new(lab.clock);
    let [known, unknown] = [AccountKey::generate(), AccountKey::generate()].map(Result::unwrap);
    let account = lab.client.new_account(&mut trace, &known, &[], None).await.unwrap();
    let found = lab.client.find_account(&mut trace, &known).await.unwrap();
    assert_eq!(found, Some(account.url));
    assert_eq!(lab.client.find_account(&mut trace, &unknown).await.unwrap(), None);
}

#[tokio::test]
async fn accounts_and_certificates_have_keys_of_each_type() {
    let lab = Lab::start(PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() }).await;
    for kind in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
        let mut trace = Trace::new(lab.clock);
        let key = AccountKey::generate_of(kind).unwrap();
        let account = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
        let names = names(&[&format!("{kind}.example.test")]);
        let issued = lab.issue_of(kind, &mut trace, &account, &names).await;
        let checked = Checker::new().check(&issued.pem, &names, &issued.key, lab.clock.unix_now()).unwrap();
        // As in a later chain, which reads the key from the store.
        let stored = CertificateKey::from_pkcs8(&issued.key.to_pkcs8()).unwrap();
        let signer = Signer::CertificateKey(&stored);
        lab.client.revoke(&mut trace, signer, &checked.leaf_der, Some(4)).await.unwrap();
    }
}

#[tokio::test]
async fn issues_over_http_2_with_two_requests_at_once() {
    let options = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::with(options, HttpVersion::Http2).await;
    let issuance = async |name: &str| {
        let mut trace = Trace::new(lab.clock);
        let key = AccountKey::generate().unwrap();
        let account = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
        for round in 0..3 {
            let names = names(&[&format!("{name}-{round}.example.test")]);
            let issued = lab.issue(&mut trace, &account, &names).await;
            Checker::new().check(&issued.pem, &names, &issued.key, lab.clock.unix_now()).unwrap();
        }
        trace.into_parts().0
    };
    let (one, two) = tokio::join!(issuance("one"), issuance("two"));
    for exchanges in [one, two] {
        consistent(&exchanges);
        assert!(
            exchanges.iter().all(|exchange| exchange.reused),
            "the connection of the directory serves all"
        );
    }
}

#[tokio::test]
async fn a_sibling_has_connections_and_nonces_of_its_own_and_a_stranger_reads_the_directory_first() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let lab = Lab::with(PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() }, http).await;
        let register = async |client: &Client| {
            let mut trace = Trace::new(lab.clock);
            for _ in 0..2 {
                let key = AccountKey::generate().unwrap();
                client.new_account(&mut trace, &key, &[], None).await.unwrap();
            }
            trace.into_parts().0
        };
        let shown = |exchanges: &[Exchange]| -> Vec<(&str, bool)> {
            exchanges.iter().map(|exchange| (exchange.endpoint.name(), exchange.reused)).collect()
        };
        let accounts = [("newAccount", true), ("newAccount", true)];
        let sibling = lab.client.sibling(1);
        let first = register(&sibling).await;
        assert_eq!(shown(&first), [&[("newNonce", false)][..], &accounts].concat());
        assert_eq!(shown(&register(&sibling).await), accounts);
        for _ in 0..2 {
            let stranger = register(&lab.client.stranger()).await;
            consistent(&stranger);
            let begins = [("directory", false), ("newNonce", true)];
            assert_eq!(shown(&stranger), [&begins[..], &accounts].concat());
            // Connecting and the handshake count in the response time of the first request, not in its
            // service time.
            assert!(stranger[0].sent > stranger[0].due);
        }
    }
}

fn refused(exchanges: &[Exchange]) -> usize {
    exchanges
        .iter()
        .filter(|exchange| {
            exchange.failure.as_ref().is_some_and(|failure| failure.kind == FailureClass::BadNonce)
        })
        .count()
}

#[tokio::test]
async fn issues_and_revokes_without_a_refused_nonce() {
    let exchanges = issues_checks_and_revokes(0).await;
    assert_eq!(refused(&exchanges), 0);
    let nonces = exchanges.iter().filter(|exchange| exchange.purpose == Purpose::Nonce).count();
    assert_eq!(nonces, 1, "the nonce of every answer is used");
    let opened = exchanges.iter().filter(|exchange| !exchange.reused).count();
    assert!(opened <= 1, "one connection serves all: {opened}");
    for template in ["/my-order/{id}", "/authZ/{id}", "/chalZ/{id}", "/finalize-order/{id}", "/certZ/{id}"] {
        assert!(exchanges.iter().any(|exchange| exchange.template == template), "{template}");
    }
}

#[tokio::test]
async fn issues_and_revokes_with_pebbles_default_of_refused_nonces() {
    issues_checks_and_revokes(5).await;
}

#[tokio::test]
async fn issues_and_revokes_with_every_second_nonce_refused() {
    let exchanges = issues_checks_and_revokes(50).await;
    assert!(refused(&exchanges) > 0);
    for pair in exchanges.windows(2) {
        if refused(&pair[..1]) == 1 {
            assert_eq!(pair[1].purpose, Purpose::Retry, "the error's own nonce is used: {:?}", pair[1]);
            assert!(pair[1].due >= pair[0].done);
        }
    }
}

#[tokio::test]
async fn a_failed_validation_carries_the_challenges_problem() {
    let lab = Lab::start(PebbleOptions::default()).await;
    let mut trace = Trace::new(lab.clock);
    let account =
        lab.client.new_account(&mut trace, &AccountKey::generate().unwrap(), &[], None).await.unwrap();
    let order = lab.client.new_order(&mut trace, &account, &names(&["a.example.test"]), None).await.unwrap();
    let url = &order.authorizations[0];
    let authorization = lab.client.authorization(&mut trace, &account, url).await.unwrap();
    let challenge = authorization.challenge(wec_record::ChallengeType::TlsAlpn01).unwrap();
    lab.client.respond(&mut trace, &account, &challenge.url).await.unwrap();
    let failure = lab.client.poll_authorization(&mut trace, &account, url, None).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Validation);
    assert!(failure.message.contains("a.example.test is invalid: tls-alpn-01"), "{failure}");
    assert!(failure.problem.is_some());
    let order = lab.client.order(&mut trace, &account, &order.url).await.unwrap();
    let failure = lab.client.poll_order_ready(&mut trace, &account, &order).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Validation);
    // The chain failed, but its requests did not.
    assert!(
        trace
            .exchanges()
            .iter()
            .filter(|exchange| exchange.status != 400)
            .all(|exchange| exchange.failure.is_none())
    );
}

#[tokio::test]
async fn binds_an_external_account_where_one_is_required() {
    let hmac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let options = PebbleOptions {
        external_account: Some(("kid-1".into(), hmac_key.into())),
        ..PebbleOptions::default()
    };
    let lab = Lab::start(options).await;
    assert!(lab.client.directory().meta.external_account_required);
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    let failure = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap_err();
    assert_eq!(failure.problem.unwrap().name(), "externalAccountRequired");
    let external = ExternalAccount::new("kid-1", hmac_key).unwrap();
    lab.client.new_account(&mut trace, &key, &[], Some(&external)).await.unwrap();
}

#[tokio::test]
async fn a_stored_account_can_be_used_again() {
    let lab = Lab::start(PebbleOptions::default()).await;
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    let account = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
    let stored = Account { key: AccountKey::from_pkcs8(&key.to_pkcs8()).unwrap(), ..account };
    lab.client.new_order(&mut trace, &stored, &names(&["a.example.test"]), None).await.unwrap();
}

#[tokio::test]
async fn accounts_have_rsa_and_p384_keys() {
    let lab = Lab::start(PebbleOptions::default()).await;
    let mut trace = Trace::new(lab.clock);
    for kind in [KeyType::P384, KeyType::Rsa2048, KeyType::Rsa3072] {
        let key = AccountKey::generate_of(kind).unwrap();
        let account = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
        let stored = AccountKey::from_pkcs8(&key.to_pkcs8()).unwrap();
        assert_eq!((stored.kind(), stored.thumbprint()), (kind, key.thumbprint()));
        let account = Account { key: stored, ..account };
        lab.client.new_order(&mut trace, &account, &names(&["a.example.test"]), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_ca_is_a_connect_or_reset_failure() {
    let mut lab = Lab::start(PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() }).await;
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();
    lab.pebble.process().kill().unwrap();
    let failure = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap_err();
    // Reset if the request was sent over the connection that the kill ended; otherwise Connect.
    assert!(matches!(failure.kind, FailureClass::Connect | FailureClass::Reset), "{failure}");
    assert!(
        failure.message.contains("https://localhost:") && failure.message.contains("cannot connect"),
        "{failure}"
    );
    consistent(trace.exchanges());
}

#[tokio::test]
async fn an_untrusted_ca_is_reported_as_such() {
    let pebble = Pebble::start(PebbleOptions::default()).await.unwrap();
    let other = Pebble::start(PebbleOptions::default()).await.unwrap();
    let config = Config { roots: Roots::Pem(other.ca_pem().unwrap()), ..config(&pebble) };
    let error = Client::discover(config.clone(), Clock::start()).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Untrusted(_)), "{error}");
    assert!(error.to_string().contains("root certificate"), "{error}");
    let config = Config { roots: Roots::Insecure, ..config };
    Client::discover(config, Clock::start()).await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_no_directory_is_reported_as_such() {
    let pebble = Pebble::start(PebbleOptions::default()).await.unwrap();
    let mut config = config(&pebble);
    config.directory.set_path("/nonce-plz");
    let error = Client::discover(config, Clock::start()).await.unwrap_err();
    assert!(matches!(error, DiscoverError::NotAcme { .. }), "{error}");
    assert!(error.to_string().contains("/nonce-plz is not an ACME directory"), "{error}");
}

#[tokio::test]
async fn a_chain_cut_off_in_a_request_leaves_it_interrupted_in_the_trace() {
    let lab = Lab::start(PebbleOptions::default()).await;
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    {
        let mut future = std::pin::pin!(lab.client.new_account(&mut trace, &key, &[], None));
        // One poll sends the first request and cannot have its answer yet.
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
    }
    let (exchanges, _) = trace.into_parts();
    let last = exchanges.last().unwrap();
    assert_eq!(last.endpoint, Endpoint::NewNonce);
    assert_eq!(last.failure.as_ref().unwrap().kind, FailureClass::Interrupted);
    assert!(last.done >= last.due);
}

#[tokio::test]
async fn many_workers_share_few_connections_fairly() {
    let challenges = ChallTestSrv::start().await.unwrap();
    let pebble =
        Pebble::start(PebbleOptions { http_port: challenges.http01.port(), ..PebbleOptions::default() });
    let pebble = pebble.await.unwrap();
    let clock = Clock::start();
    let config = Config { max_connections: 3, ..config(&pebble) };
    let client = Arc::new(Client::discover(config, clock).await.unwrap());
    let workers = (0..32).map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            let mut trace = Trace::new(clock);
            let key = AccountKey::generate().unwrap();
            client.new_account(&mut trace, &key, &[], None).await.unwrap();
            trace.into_parts().0
        })
    });
    let mut opened = 0;
    for worker in workers.collect::<Vec<_>>() {
        let exchanges = worker.await.unwrap();
        opened += exchanges.iter().filter(|exchange| !exchange.reused).count();
    }
    assert!(opened <= 3, "{opened} connections were opened");
}

#[tokio::test]
async fn another_client_uses_our_account_and_csr_with_the_same_result() {
    use instant_acme::{ChallengeType, Identifier, Key, NewOrder, RetryPolicy};

    // The other client gives up when a CA refuses several of its nonces.
    let lab = Lab::start(PebbleOptions { authz_reuse: 0, nonce_reject: 0, ..PebbleOptions::default() }).await;
    let mut trace = Trace::new(lab.clock);
    let key = AccountKey::generate().unwrap();
    let ours = lab.client.new_account(&mut trace, &key, &[], None).await.unwrap();

    let pkcs8 = rustls_pki_types::PrivatePkcs8KeyDer::from(key.to_pkcs8());
    let theirs = (Key::from_pkcs8_der(pkcs8.clone_key()).unwrap(), pkcs8.into());
    let builder = instant_acme::Account::builder_with_root(lab.pebble.ca_file()).unwrap();
    let (account, _) = builder.from_key(theirs, lab.pebble.directory_url()).await.unwrap();
    assert_eq!(account.id(), ours.url);
    assert_eq!(account.key_thumbprint(), key.thumbprint());

    let names = names(&["both.example.test"]);
    let identifiers = [Identifier::Dns(names[0].clone())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.unwrap();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        let mut challenge = authorization.challenge(ChallengeType::Http01).unwrap();
        let answer = key.key_authorization(&challenge.token);
        assert_eq!(challenge.key_authorization().as_str(), answer);
        let body = format!(r#"{{"token":"{}","content":"{answer}"}}"#, challenge.token);
        manage(lab.challenges.management_address(), "add-http01", &body).await;
        challenge.set_ready().await.unwrap();
    }
    order.poll_ready(&RetryPolicy::default()).await.unwrap();
    let (certificate_key, csr) = certificate_request(&names).unwrap();
    order.finalize_csr(&csr).await.unwrap();
    let pem = order.poll_certificate(&RetryPolicy::default()).await.unwrap();
    let checked =
        Checker::new().check(pem.as_bytes(), &names, &certificate_key, lab.clock.unix_now()).unwrap();

    // Our own order can be read, and its certificate revoked.
    let seen = lab.client.order(&mut trace, &ours, order.url()).await.unwrap();
    assert_eq!(seen.status, OrderStatus::Valid);
    lab.client.revoke(&mut trace, Signer::Account(&ours), &checked.leaf_der, None).await.unwrap();
}
