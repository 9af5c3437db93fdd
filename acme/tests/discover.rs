//! What a person is told when there is no CA at the other end.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wec_acme::{Client, Clock, Config, DiscoverError, Roots};

/// Longer than a busy machine takes, or a resolver that is not there.
const BOUND: Duration = Duration::from_secs(60);

async fn error(config: Config) -> DiscoverError {
    let bounds = Config { connect_timeout: BOUND, request_timeout: BOUND, ..config };
    Client::discover(bounds, Clock::start()).await.unwrap_err()
}

fn config(url: &str) -> Config {
    Config { roots: Roots::Insecure, ..Config::new(url.parse().unwrap()) }
}

/// What is said of a server that answers one request with this.
async fn answered(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dir", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(text.as_bytes()).await.unwrap();
    };
    let (error, ()) = tokio::join!(error(config(&url)), serve);
    error.to_string().replace(&url, "URL")
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let unused = wec_testbed::free_address();
    let error = error(config(&format!("https://{unused}/dir"))).await;
    assert!(matches!(error, DiscoverError::Unreachable(_)), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&format!("GET https://{unused}/dir: cannot connect to {unused}")), "{message}");
    assert!(message.ends_with("check the URL and whether the CA is running"), "{message}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    // RFC 6761 §6.4: `.invalid` never resolves.
    let message = error(config("https://ca.invalid/dir")).await.to_string();
    assert!(message.contains("cannot resolve ca.invalid"), "{message}");
}

#[tokio::test]
async fn a_url_of_another_scheme_is_refused_before_anything_is_sent() {
    let message = error(config("ldap://ca.test/dir")).await.to_string();
    assert_eq!(message, "ldap://ca.test/dir cannot be a CA's directory: it is not an https or http URL");
}

#[tokio::test]
async fn roots_that_are_no_certificates_are_said_to_be_so() {
    let junk = Config { roots: Roots::Pem(b"junk".to_vec()), ..config("https://ca.test/dir") };
    assert_eq!(error(junk).await.to_string(), "the root certificates' file has no `BEGIN CERTIFICATE`");
}

#[tokio::test]
async fn a_web_page_is_no_directory() {
    let message = answered("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
    assert_eq!(
        message,
        "URL is not an ACME directory: directory: GET URL answered 200 with what cannot be read (expected value at \
         line 1 column 1): \"<html>\"; its URL often ends in `/directory` or `/dir`"
    );
}

#[tokio::test]
async fn a_directory_without_new_order_is_no_directory() {
    let message = answered("HTTP/1.1 200 OK\r\n\r\n{\"newNonce\":\"https://a\",\"newAccount\":\"b\"}").await;
    assert!(message.contains("missing field `newOrder`"), "{message}");
}

#[tokio::test]
async fn a_missing_page_is_no_directory() {
    let message = answered("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    assert!(
        message.starts_with("URL is not an ACME directory: directory: GET URL answered 404;"),
        "{message}"
    );
}
