//! Rules of RFC 8555 and RFC 9773 that a correct client does not exercise: what the CA refuses, with which
//! problem, and the headers of every answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use wec_null_ca::{Config, Endpoint, Keep, NullCa, Renewal};

use crate::client::{AccountKey, Client, csr, finalization, new_order};

fn plain() -> Config {
    Config { tls: false, ..Config::default() }
}

fn start(config: Config) -> NullCa {
    NullCa::start(config).unwrap()
}

fn refused(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

#[tokio::test]
async fn every_answer_has_a_nonce_and_leads_to_the_directory() {
    let ca = start(plain());
    let mut client = Client::connect(&ca).await;
    let index = format!("<{}>;rel=\"index\"", ca.directory_url());
    for (method, path, status) in [
        (Method::GET, "/directory", 200),
        (Method::HEAD, "/new-nonce", 200),
        (Method::GET, "/new-nonce", 204),
        (Method::GET, "/new-order", 405),
        (Method::POST, "/directory", 405),
        (Method::PATCH, "/new-order", 405),
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/renewal-info/x", 400),
        (Method::POST, "/new-account", 415),
    ] {
        let answer = client.send(method.clone(), path, None, String::new()).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.header("replay-nonce").is_some(), "{method} {path}");
        assert_eq!(answer.header("link"), Some(&*index), "{method} {path}");
        if status >= 400 {
            assert_eq!(answer.problem().0, status);
        }
    }
    assert_eq!(ca.stop().await.answered(Endpoint::NewNonce, 200), 1);
}

#[tokio::test]
async fn the_directory_lists_working_urls() {
    let ca = start(plain());
    let mut client = Client::connect(&ca).await;
    let directory = client.get("/directory").await.json();
    for name in ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo"] {
        assert!(directory[name].as_str().unwrap().starts_with(&client.base), "{directory}");
    }
    assert_eq!(directory["meta"]["externalAccountRequired"], false);
}

#[tokio::test]
async fn an_invalid_host_header_does_not_get_into_the_directory() {
    let ca = start(plain());
    let mut client = Client::connect(&ca).await;
    client.base = r#"http://a","newNonce":"b"#.to_owned();
    let directory = client.get("/directory").await.json();
    assert_eq!(directory["newNonce"], "http://localhost/new-nonce");
}

#[tokio::test]
async fn an_invalid_jws_is_refused_with_the_problem_of_rfc_8555() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let path = "/new-order";
    let payload = new_order(&["a.test"]).to_string();
    type Spoil = fn(&mut Value, &AccountKey);
    let headers: [(&str, Spoil, u16, &str); 10] = [
        ("no nonce", |h, _| drop(h.as_object_mut().unwrap().remove("nonce")), 400, "badNonce"),
        ("an invented nonce", |h, _| h["nonce"] = json!("AAAAAAAAAAAAAAAAAAAAAA"), 400, "badNonce"),
        ("no url", |h, _| drop(h.as_object_mut().unwrap().remove("url")), 403, "unauthorized"),
        (
            "the url of another resource",
            |h, _| h["url"] = json!(h["url"].as_str().unwrap().replace("new-order", "new-account")),
            403,
            "unauthorized",
        ),
        (
            "the url of another server",
            |h, _| h["url"] = json!("https://elsewhere.test/new-order"),
            403,
            "unauthorized",
        ),
        ("kid and jwk", |h, key| h["jwk"] = key.jwk(), 400, "malformed"),
        ("neither kid nor jwk", |h, _| drop(h.as_object_mut().unwrap().remove("kid")), 400, "malformed"),
        ("an algorithm of another key", |h, _| h["alg"] = json!("RS256"), 400, "badSignatureAlgorithm"),
        ("no signature at all", |h, _| h["alg"] = json!("none"), 400, "badSignatureAlgorithm"),
        (
            "an account that does not exist",
            |h, _| h["kid"] = json!(format!("{}0", h["kid"].as_str().unwrap())),
            400,
            "accountDoesNotExist",
        ),
    ];
    for (what, spoil, status, kind) in headers {
        let mut header = client.protected(path).await;
        spoil(&mut header, &client.key);
        let jws = client.key.jws(&header, &payload);
        let answer = client.post_jws(path, jws).await.unwrap();
        assert_eq!(answer.problem(), refused(status, kind), "{what}");
    }

    type SpoilBody = fn(&mut Value);
    let bodies: [(&str, SpoilBody); 6] = [
        ("another payload", |jws| jws["payload"] = json!(URL_SAFE_NO_PAD.encode("{}"))),
        ("a cut signature", |jws| jws["signature"] = json!("AAAA")),
        ("base64 with padding", |jws| jws["payload"] = json!("e30=")),
        ("an unprotected header", |jws| jws["header"] = json!({})),
        ("a general JWS", |jws| *jws = json!({ "payload": "", "signatures": [] })),
        ("an empty header", |jws| jws["protected"] = json!("")),
    ];
    for (what, spoil) in bodies {
        let header = client.protected(path).await;
        let mut jws: Value = serde_json::from_str(&client.key.jws(&header, &payload)).unwrap();
        spoil(&mut jws);
        let answer = client.post_jws(path, jws.to_string()).await.unwrap();
        assert_eq!(answer.problem(), refused(400, "malformed"), "{what}");
    }
    assert_eq!(ca.stop().await.orders, 0);
}

#[tokio::test]
async fn another_keys_signature_is_refused_unless_verification_is_off() {
    for (verify_signatures, status) in [(true, 400), (false, 201)] {
        let ca = start(Config { verify_signatures, ..plain() });
        let mut client = Client::register(&ca).await;
        let header = client.protected("/new-order").await;
        let jws = AccountKey::generate().jws(&header, &new_order(&["a.test"]).to_string());
        let answer = client.post_jws("/new-order", jws).await.unwrap();
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_request_sent_twice_fails_the_second_time() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let header = client.protected("/new-order").await;
    let jws = client.key.jws(&header, &new_order(&["a.test"]).to_string());
    assert_eq!(client.post_jws("/new-order", jws.clone()).await.unwrap().status, 201);
    let again = client.post_jws("/new-order", jws).await.unwrap();
    assert_eq!(again.problem(), refused(400, "badNonce"));
    let counts = ca.stop().await;
    assert_eq!((counts.orders, counts.nonces_unknown), (1, 1));
}

#[tokio::test]
async fn new_account_finds_the_account_of_a_known_key() {
    let ca = start(plain());
    let mut client = Client::connect(&ca).await;
    let existing = json!({ "onlyReturnExisting": true });
    let none = client.post("/new-account", &existing).await;
    assert_eq!(none.problem(), refused(400, "accountDoesNotExist"));
    let created = client.post("/new-account", &json!({ "contact": ["mailto:a@b.test"] })).await;
    assert_eq!(created.status, 201);
    let found = client.post("/new-account", &existing).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.header("location"), created.header("location"));
    assert_eq!(found.json()["contact"], json!(["mailto:a@b.test"]));
    assert_eq!(ca.stop().await.accounts, 1);
}

#[tokio::test]
async fn strange_contacts_identifiers_and_dates_are_refused() {
    let ca = start(plain());
    let mut client = Client::connect(&ca).await;
    let answer = client.post("/new-account", &json!({ "contact": ["tel:1"] })).await;
    assert_eq!(answer.problem(), refused(400, "unsupportedContact"));
    let mut client = Client::register(&ca).await;
    for (order, kind) in [
        (json!({}), "malformed"),
        (json!({ "identifiers": [] }), "malformed"),
        (json!({ "identifiers": [{ "type": "email", "value": "a@b.test" }] }), "unsupportedIdentifier"),
        (json!({ "identifiers": [{ "type": "ip", "value": "127.0.0.1.1" }] }), "rejectedIdentifier"),
        (new_order(&["not a name"]), "rejectedIdentifier"),
        (
            json!({ "identifiers": [{ "type": "dns", "value": "a.test" }], "notAfter": "2030-01-01T00:00:00Z" }),
            "malformed",
        ),
    ] {
        let answer = client.post("/new-order", &order).await;
        assert_eq!(answer.problem(), refused(400, kind), "{order}");
    }
}

#[tokio::test]
async fn an_order_goes_from_pending_over_ready_to_valid() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let names = ["a.test", "*.a.test"];
    let order = client.post("/new-order", &new_order(&names)).await;
    let path = client.path(&json!(order.header("location").unwrap()));
    let order = order.json();
    assert_eq!(order["status"], "pending");
    assert_eq!(order["authorizations"].as_array().unwrap().len(), 2);
    let finalize = client.path(&order["finalize"]);
    let key = KeyPair::generate().unwrap();
    let early = client.post(&finalize, &finalization(&names, &key)).await;
    assert_eq!(early.problem(), refused(403, "orderNotReady"));

    for (index, url) in order["authorizations"].as_array().unwrap().iter().enumerate() {
        let path = client.path(url);
        let authorization = client.post_as_get(&path).await.json();
        assert_eq!(authorization["status"], "pending");
        assert_eq!(authorization["identifier"]["value"], "a.test");
        assert_eq!(authorization["wildcard"] == true, index == 1);
        let challenges = authorization["challenges"].as_array().unwrap().clone();
        assert_eq!(challenges.len(), if index == 1 { 1 } else { 3 });
        let challenge = client.path(&challenges[0]["url"]);
        let answer = client.post(&challenge, &json!({})).await;
        assert_eq!(answer.json()["status"], "valid");
        let up = format!("<{}{path}>;rel=\"up\"", client.base);
        assert!(answer.headers.get_all("link").iter().any(|link| link == &*up));
        let authorization = client.post_as_get(&path).await.json();
        assert_eq!(authorization["status"], "valid");
        assert_eq!(authorization["challenges"].as_array().unwrap().len(), 1);
    }
    assert_eq!(client.post_as_get(&path).await.json()["status"], "ready");
    let order = client.post(&finalize, &finalization(&names, &key)).await.json();
    assert_eq!(order["status"], "valid");
    let again = client.post(&finalize, &finalization(&names, &key)).await;
    assert_eq!(again.problem(), refused(403, "orderNotReady"));
}

#[tokio::test]
async fn finalize_compares_the_request_with_the_order() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let names = ["a.test", "b.test"];
    let (_, order) = client.order(&names).await;
    let finalize = client.path(&order["finalize"]);
    let key = KeyPair::generate().unwrap();
    let mut broken = csr(&names, &key);
    *broken.last_mut().unwrap() ^= 1;
    let encoded = |der: &[u8]| json!({ "csr": URL_SAFE_NO_PAD.encode(der) });
    for (what, payload, kind) in [
        ("one name too few", finalization(&["a.test"], &key), "badCSR"),
        ("one too many", finalization(&["a.test", "b.test", "c.test"], &key), "badCSR"),
        ("another one", finalization(&["a.test", "c.test"], &key), "badCSR"),
        ("a broken signature", encoded(&broken), "badCSR"),
        ("no request at all", encoded(b"nonsense"), "badCSR"),
        ("something behind it", encoded(&[csr(&names, &key), vec![0]].concat()), "badCSR"),
        ("no base64url", json!({ "csr": "!" }), "badCSR"),
        ("the account's key", finalization(&names, &client.key.certificate_key()), "badCSR"),
        ("no csr", json!({}), "malformed"),
    ] {
        let answer = client.post(&finalize, &payload).await;
        assert_eq!(answer.problem(), refused(400, kind), "{what}");
    }
    // The order is unchanged by the refusals.
    let order = client.post(&finalize, &finalization(&["B.test", "a.test"], &key)).await.json();
    assert_eq!(order["status"], "valid");
}

#[tokio::test]
async fn orders_and_certificates_belong_to_their_account() {
    let ca = start(plain());
    let mut owner = Client::register(&ca).await;
    let mut other = Client::register(&ca).await;
    let (path, order) = owner.order(&["a.test"]).await;
    let finalize = owner.path(&order["finalize"]);
    let key = KeyPair::generate().unwrap();
    let order = owner.post(&finalize, &finalization(&["a.test"], &key)).await.json();
    for path in [path, other.path(&order["authorizations"][0]), other.path(&order["certificate"])] {
        assert_eq!(other.post_as_get(&path).await.problem(), refused(403, "unauthorized"));
    }
    let account = owner.kid.clone().unwrap();
    let account = other.path(&json!(account));
    assert_eq!(other.post_as_get(&account).await.problem(), refused(403, "unauthorized"));
}

#[tokio::test]
async fn a_deactivated_account_or_authorization_is_refused() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let deactivate = json!({ "status": "deactivated" });
    let order = client.post("/new-order", &new_order(&["a.test"])).await;
    let path = client.path(&json!(order.header("location").unwrap()));
    let authorization = client.path(&order.json()["authorizations"][0]);
    let answer = client.post(&authorization, &deactivate).await;
    assert_eq!(answer.json()["status"], "deactivated");
    assert_eq!(client.post_as_get(&path).await.json()["status"], "invalid");

    let account = client.path(&json!(client.kid.clone().unwrap()));
    let answer = client.post(&account, &deactivate).await;
    assert_eq!(answer.json()["status"], "deactivated");
    let answer = client.post("/new-order", &new_order(&["a.test"])).await;
    assert_eq!(answer.problem(), refused(403, "unauthorized"));
}

#[tokio::test]
async fn only_its_account_or_its_key_revokes_a_certificate() {
    let ca = start(plain());
    let mut owner = Client::register(&ca).await;
    let key = KeyPair::generate().unwrap();
    let chain = owner.issue(&["a.test"], &key).await;
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let revoke = |reason: u8| json!({ "certificate": URL_SAFE_NO_PAD.encode(&leaf), "reason": reason });

    let mut other = Client::register(&ca).await;
    let answer = other.post("/revoke-cert", &revoke(0)).await;
    assert_eq!(answer.problem(), refused(403, "unauthorized"));
    let mut stranger = Client::connect(&ca).await;
    let answer = stranger.post("/revoke-cert", &revoke(0)).await;
    assert_eq!(answer.problem(), refused(403, "unauthorized"));
    for reason in [2, 6, 7, 200] {
        let answer = owner.post("/revoke-cert", &revoke(reason)).await;
        assert_eq!(answer.problem(), refused(400, "badRevocationReason"));
    }
    let mut forged = leaf.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = json!({ "certificate": URL_SAFE_NO_PAD.encode(forged) });
    assert_eq!(owner.post("/revoke-cert", &forged).await.problem(), refused(404, "malformed"));

    let mut key_holder = Client::connect(&ca).await;
    key_holder.key = AccountKey::from_certificate_key(&key);
    let answer = key_holder.post("/revoke-cert", &revoke(1)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let again = owner.post("/revoke-cert", &revoke(0)).await;
    assert_eq!(again.problem(), refused(400, "alreadyRevoked"));
    assert_eq!(ca.stop().await.revocations, 1);
}

#[tokio::test]
async fn renewal_opens_when_configured_and_a_failed_replacement_may_be_repeated() {
    let ca = start(Config {
        renewal: Renewal {
            opens_after: Duration::from_hours(24),
            open_for: Duration::from_hours(1),
            retry_after: 60,
        },
        ..plain()
    });
    let mut client = Client::register(&ca).await;
    let chain = client.issue(&["a.test"], &KeyPair::generate().unwrap()).await;
    let id = ari_id(&chain);
    let info = client.get(&format!("/renewal-info/{id}")).await;
    assert_eq!((info.status, info.header("retry-after")), (200, Some("60")));
    let window = &info.json()["suggestedWindow"];
    assert!(window["start"].as_str().unwrap() < window["end"].as_str().unwrap(), "{window}");

    let mut renewal = new_order(&["a.test"]);
    renewal["replaces"] = json!(id);
    let first = client.post("/new-order", &renewal).await;
    assert_eq!((first.status, &first.json()["replaces"]), (201, &json!(id)));
    let second = client.post("/new-order", &renewal).await;
    assert_eq!(second.problem(), refused(409, "alreadyReplaced"));
    let authorization = client.path(&first.json()["authorizations"][0]);
    client.post(&authorization, &json!({ "status": "deactivated" })).await;
    assert_eq!(client.post("/new-order", &renewal).await.status, 201, "the first one failed");

    let mut other = Client::register(&ca).await;
    let answer = other.post("/new-order", &renewal).await;
    assert_eq!(answer.problem(), refused(403, "unauthorized"));
    let (key_id, serial) = id.split_once('.').unwrap();
    for unknown in [format!("{serial}.{serial}"), format!("{key_id}.{key_id}"), "x".to_owned()] {
        assert!(client.get(&format!("/renewal-info/{unknown}")).await.problem().0 >= 400);
    }
}

fn ari_id(chain: &str) -> String {
    use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let key_id = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref(),
        _ => None,
    });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}", encode(key_id.unwrap().0), encode(leaf.raw_serial()))
}

#[tokio::test]
async fn the_oldest_order_and_certificate_are_removed_at_the_bound() {
    let ca =
        start(Config { keep: Keep { orders: 2, certificates: 8, bodies: 2, ..Keep::default() }, ..plain() });
    let mut client = Client::register(&ca).await;
    let key = KeyPair::generate().unwrap();
    let (first, order) = client.order(&["a.test"]).await;
    let finalize = client.path(&order["finalize"]);
    let order = client.post(&finalize, &finalization(&["a.test"], &key)).await.json();
    let certificate = client.path(&order["certificate"]);
    let chain = client.post_as_get(&certificate).await;
    for _ in 0..2 {
        client.issue(&["a.test"], &key).await;
    }
    assert_eq!(client.post_as_get(&first).await.problem(), refused(404, "malformed"));
    assert_eq!(client.post_as_get(&certificate).await.problem(), refused(404, "malformed"));
    // Its body has been removed, but its status is kept.
    let leaf = CertificateDer::from_pem_slice(&chain.body).unwrap();
    let revoke = json!({ "certificate": URL_SAFE_NO_PAD.encode(&leaf) });
    assert_eq!(client.post("/revoke-cert", &revoke).await.status, 200);
}

#[tokio::test]
async fn a_key_rolls_over_unless_another_account_has_the_new_key() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let other = Client::register(&ca).await;
    let url = format!("{}/key-change", client.base);
    let change = json!({ "account": client.kid, "oldKey": client.key.jwk() }).to_string();
    let inner = |key: &AccountKey| {
        let header = json!({ "alg": "ES256", "url": url, "jwk": key.jwk() });
        serde_json::from_str::<Value>(&key.jws(&header, &change)).unwrap()
    };
    let taken = client.post("/key-change", &inner(&other.key)).await;
    assert_eq!(taken.problem(), refused(409, "malformed"));
    assert_eq!(taken.header("location"), other.kid.as_deref());

    let new = AccountKey::generate();
    let mut forged = inner(&new);
    forged["signature"] = json!(URL_SAFE_NO_PAD.encode([1; 64]));
    assert_eq!(client.post("/key-change", &forged).await.problem(), refused(400, "malformed"));

    assert_eq!(client.post("/key-change", &inner(&new)).await.status, 200);
    let old_key = client.post("/new-order", &new_order(&["a.test"])).await;
    assert_eq!(old_key.problem(), refused(400, "malformed"));
    client.key = new;
    assert_eq!(client.post("/new-order", &new_order(&["a.test"])).await.status, 201);
}

#[tokio::test]
async fn an_account_lists_its_orders_a_page_at_a_time_without_invalid_ones() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let kid = client.kid.clone().unwrap();
    let account_path = client.path(&json!(kid));
    let account = client.post_as_get(&account_path).await.json();
    let mut made = Vec::new();
    for n in 0..55 {
        let answer = client.post("/new-order", &new_order(&[&format!("n{n}.test")])).await;
        made.push(answer.header("location").unwrap().to_owned());
    }
    let failed = client.post_as_get(&client.path(&json!(made[3]))).await.json();
    let authorization = client.path(&failed["authorizations"][0]);
    client.post(&authorization, &json!({ "status": "deactivated" })).await;
    let failed = made.remove(3);

    let mut listed = Vec::new();
    let mut path = Some(client.path(&account["orders"]));
    let mut pages = 0;
    while let Some(page) = path.take() {
        let answer = client.post_as_get(&page).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        pages += 1;
        listed.extend(
            answer.json()["orders"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()),
        );
        let links = answer.headers.get_all("link").iter().map(|link| link.to_str().unwrap());
        let next = links.filter_map(|link| link.strip_suffix(">;rel=\"next\"")).next();
        path = next.map(|next| client.path(&json!(next.trim_start_matches('<'))));
    }
    assert_eq!((pages, &listed), (2, &made));
    assert!(!listed.contains(&failed));
    let mut other = Client::register(&ca).await;
    let orders = client.path(&account["orders"]);
    assert_eq!(other.post_as_get(&orders).await.problem(), refused(403, "unauthorized"));
}

#[tokio::test]
async fn an_order_may_name_a_configured_profile() {
    let profiles = [("shortlived".to_owned(), "Six days".to_owned())].into();
    let ca = start(Config { profiles, ..plain() });
    let mut client = Client::register(&ca).await;
    assert_eq!(client.get("/directory").await.json()["meta"]["profiles"]["shortlived"], "Six days");
    let mut order = new_order(&["a.test"]);
    order["profile"] = json!("shortlived");
    let answer = client.post("/new-order", &order).await;
    assert_eq!((answer.status, &answer.json()["profile"]), (201, &json!("shortlived")));
    order["profile"] = json!("tlsserver");
    let answer = client.post("/new-order", &order).await;
    assert_eq!(answer.problem(), refused(400, "invalidProfile"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("shortlived"));
}

#[tokio::test]
async fn an_account_with_authorizations_for_all_names_may_revoke() {
    let ca = start(plain());
    let (mut owner, mut other) = (Client::register(&ca).await, Client::register(&ca).await);
    let key = KeyPair::generate().unwrap();
    let chain = owner.issue(&["a.test", "192.0.2.1"], &key).await;
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let revocation = json!({ "certificate": URL_SAFE_NO_PAD.encode(&leaf) });
    assert_eq!(other.post("/revoke-cert", &revocation).await.problem(), refused(403, "unauthorized"));
    other.order(&["a.test"]).await;
    assert_eq!(other.post("/revoke-cert", &revocation).await.problem(), refused(403, "unauthorized"));
    other.order(&["192.0.2.1"]).await;
    assert_eq!(other.post("/revoke-cert", &revocation).await.status, 200);
    assert_eq!(owner.post("/revoke-cert", &revocation).await.problem(), refused(400, "alreadyRevoked"));
}

#[tokio::test]
async fn addresses_are_validated_by_http_01_and_tls_alpn_01_only() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let validation = wec_null_ca::Validation { http01: listener.local_addr().ok(), ..Default::default() };
    let ca = start(Config { validation, ..plain() });
    let mut client = Client::register(&ca).await;
    let answer = client.post("/new-order", &new_order(&["2001:DB8:0::1"])).await;
    let order = answer.json();
    assert_eq!(order["identifiers"], json!([{ "type": "ip", "value": "2001:db8::1" }]));
    let authorization = client.path(&order["authorizations"][0]);
    let authorization = client.post_as_get(&authorization).await.json();
    assert_eq!(authorization["identifier"]["type"], "ip");
    let challenges = authorization["challenges"].as_array().unwrap();
    let types: Vec<_> = challenges.iter().map(|challenge| challenge["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["http-01", "tls-alpn-01"]);
    let challenge = client.path(&challenges[0]["url"]);
    assert_eq!(client.post(&challenge, &json!({})).await.status, 200);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        tokio::io::AsyncReadExt::read_buf(&mut stream, &mut request).await.unwrap();
    }
    let request = String::from_utf8(request).unwrap();
    assert!(request.contains("host: [2001:db8::1]\r\n"), "{request}");
}

#[tokio::test]
async fn several_bad_identifiers_are_several_subproblems() {
    let ca = start(plain());
    let mut client = Client::register(&ca).await;
    let identifiers = json!({ "identifiers": [
        { "type": "dns", "value": "good.test" },
        { "type": "dns", "value": "bad_name.test" },
        { "type": "ip", "value": "192.0.2.999" },
        { "type": "email", "value": "a@b.test" },
    ] });
    let answer = client.post("/new-order", &identifiers).await;
    assert_eq!(answer.problem(), refused(400, "compound"));
    let problem = answer.json();
    let subproblems: Vec<_> = problem["subproblems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sub| {
            let kind = sub["type"].as_str().unwrap().rsplit(':').next().unwrap();
            (kind, sub["identifier"]["type"].as_str().unwrap(), sub["identifier"]["value"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        subproblems,
        [
            ("rejectedIdentifier", "dns", "bad_name.test"),
            ("rejectedIdentifier", "ip", "192.0.2.999"),
            ("unsupportedIdentifier", "email", "a@b.test"),
        ]
    );
    let one = json!({ "identifiers": [{ "type": "dns", "value": "bad_name.test" }] });
    assert_eq!(client.post("/new-order", &one).await.problem(), refused(400, "rejectedIdentifier"));
}
