//! A small ACME client for what real clients never do: break the protocol on purpose, and measure.
//! It shares no code with the CA.

#![allow(dead_code, reason = "every test and benchmark uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wec_null_ca::NullCa;

/// One connection and one account key.
pub(crate) struct Client {
    connection: SendRequest<Full<Bytes>>,
    pub(crate) base: String,
    pub(crate) key: Arc<AccountKey>,
    pub(crate) kid: Option<String>,
    pub(crate) nonce: Option<String>,
}

pub(crate) struct AccountKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and problem type, without the URN's prefix.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(json["status"], self.status, "{json}");
        let kind = json["type"].as_str().unwrap();
        (self.status, kind.strip_prefix("urn:ietf:params:acme:error:").unwrap().to_owned())
    }
}

impl AccountKey {
    pub(crate) fn generate() -> Arc<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Arc::new(Self { pair, random: SystemRandom::new() })
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    pub(crate) fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }

    pub(crate) fn jws(&self, header: &Value, payload: &str) -> String {
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let signed = format!("{protected}.{payload}");
        let signature = self.pair.sign(&self.random, signed.as_bytes()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        json!({ "protected": protected, "payload": payload, "signature": signature }).to_string()
    }

    pub(crate) fn certificate_key(&self) -> rcgen::KeyPair {
        let pkcs8 = self.pair.to_pkcs8v1().unwrap();
        rcgen::KeyPair::try_from(pkcs8.as_ref()).unwrap()
    }

    pub(crate) fn from_certificate_key(key: &rcgen::KeyPair) -> Arc<Self> {
        let pkcs8 = key.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        Arc::new(Self { pair, random: SystemRandom::new() })
    }
}

impl Client {
    /// Connects with a key that has no account yet.
    pub(crate) async fn connect(ca: &NullCa) -> Self {
        let tcp = TcpStream::connect(ca.addr()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connection = match ca.root_pem() {
            None => speak(tcp).await,
            Some(root) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = ServerName::from(ca.addr().ip());
                speak(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()).await
            }
        };
        let base = ca.directory_url().strip_suffix("/directory").unwrap().to_owned();
        Self { connection, base, key: AccountKey::generate(), kid: None, nonce: None }
    }

    /// Connects and registers.
    pub(crate) async fn register(ca: &NullCa) -> Self {
        let mut client = Self::connect(ca).await;
        let answer = client.post("/new-account", &json!({})).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        client.kid = Some(answer.header("location").unwrap().to_owned());
        client
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: String,
    ) -> hyper::Result<Answer> {
        let host = self.base.split_once("://").unwrap().1;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.connection.ready().await?;
        let (head, body) = self.connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        if let Some(nonce) = answer.header("replay-nonce") {
            self.nonce = Some(nonce.to_owned());
        }
        Ok(answer)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, String::new()).await.unwrap()
    }

    pub(crate) async fn fresh_nonce(&mut self) -> String {
        if self.nonce.is_none() {
            self.send(Method::HEAD, "/new-nonce", None, String::new()).await.unwrap();
        }
        self.nonce.take().unwrap()
    }

    /// The protected header of a correct request to `path`.
    pub(crate) async fn protected(&mut self, path: &str) -> Value {
        let nonce = self.fresh_nonce().await;
        let url = format!("{}{path}", self.base);
        match &self.kid {
            Some(kid) => json!({ "alg": "ES256", "nonce": nonce, "url": url, "kid": kid }),
            None => {
                json!({ "alg": "ES256", "nonce": nonce, "url": url, "jwk": self.key.jwk() })
            }
        }
    }

    /// Sends a JWS without changing it.
    pub(crate) async fn post_jws(&mut self, path: &str, jws: String) -> hyper::Result<Answer> {
        self.send(Method::POST, path, Some("application/jose+json"), jws).await
    }

    pub(crate) async fn try_post(&mut self, path: &str, payload: &str) -> hyper::Result<Answer> {
        let header = self.protected(path).await;
        let jws = self.key.jws(&header, payload);
        self.post_jws(path, jws).await
    }

    pub(crate) async fn post(&mut self, path: &str, payload: &Value) -> Answer {
        self.try_post(path, &payload.to_string()).await.unwrap()
    }

    pub(crate) async fn post_as_get(&mut self, path: &str) -> Answer {
        self.try_post(path, "").await.unwrap()
    }

    /// The path part of a URL of the CA.
    pub(crate) fn path(&self, url: &Value) -> String {
        url.as_str().unwrap().strip_prefix(&self.base).unwrap().to_owned()
    }

    /// Orders names and answers the http-01 challenges. Returns the order's path and the order, which is
    /// ready if the CA validates at once.
    pub(crate) async fn order(&mut self, names: &[&str]) -> (String, Value) {
        let answer = self.post("/new-order", &new_order(names)).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let path = self.path(&json!(answer.header("location").unwrap()));
        for authorization in answer.json()["authorizations"].as_array().unwrap() {
            let authorization = self.path(authorization);
            let authorization = self.post_as_get(&authorization).await.json();
            let challenge = self.path(&authorization["challenges"][0]["url"]);
            assert_eq!(self.post(&challenge, &json!({})).await.status, 200);
        }
        let order = self.post_as_get(&path).await.json();
        (path, order)
    }

    /// From newOrder to the chain in PEM.
    pub(crate) async fn issue(&mut self, names: &[&str], key: &rcgen::KeyPair) -> String {
        let (_, order) = self.order(names).await;
        let finalize = self.path(&order["finalize"]);
        let order = self.post(&finalize, &finalization(names, key)).await.json();
        let certificate = self.path(&order["certificate"]);
        let answer = self.post_as_get(&certificate).await;
        assert_eq!(answer.header("content-type"), Some("application/pem-certificate-chain"));
        String::from_utf8(answer.body.to_vec()).unwrap()
    }
}

pub(crate) fn new_order(names: &[&str]) -> Value {
    let identifiers: Vec<Value> = names.iter().map(identifier).collect();
    json!({ "identifiers": identifiers })
}

fn identifier(name: &&str) -> Value {
    let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
    json!({ "type": kind, "value": name })
}

pub(crate) fn csr(names: &[&str], key: &rcgen::KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(crate) fn finalization(names: &[&str], key: &rcgen::KeyPair) -> Value {
    json!({ "csr": URL_SAFE_NO_PAD.encode(csr(names, key)) })
}

async fn speak<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    // Ends when the sender is dropped or the connection closes.
    tokio::spawn(driver);
    sender
}
