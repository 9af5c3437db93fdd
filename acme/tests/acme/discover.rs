//! Error messages when the directory URL leads to no CA.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wec_acme::{Client, Clock, Config, DiscoverError, Roots};

/// Longer than a busy machine or a resolver without an answer takes.
const BOUND: Duration = Duration::from_secs(60);

async fn error(config: Config) -> DiscoverError {
    let bounds = Config { connect_timeout: BOUND, request_timeout: BOUND, ..config };
    Client::discover(bounds, Clock::start()).await.unwrap_err()
}

fn config(url: &str) -> Config {
    Config { roots: Roots::Insecure, ..Config::new(url.parse().unwrap()) }
}

/// The error message for a server that answers one request with this text.
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
async fn a_port_without_listener_is_unreachable() {
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
async fn invalid_root_certificates_are_reported_as_such() {
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

/// Answers one request on each connection with the next of `answers`; `URL` in them stands for its own URL.
async fn serves(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let base = url.clone();
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            asked.push(request.lines().next().unwrap_or_default().to_owned());
            stream.write_all(answer.replace("URL", &base).as_bytes()).await.unwrap();
        }
        asked
    });
    (url, serving)
}

const DIRECTORY: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"newNonce\":\"nonce\",\"newAccount\":\"/account\",\
                         \"newOrder\":\"URL/order\",\"revokeCert\":\"../revoke\"}";

#[tokio::test]
async fn a_directory_that_has_moved_is_followed_once_and_its_entries_are_relative_to_where_it_is() {
    for answers in [
        &["HTTP/1.1 308 \r\nlocation: /v2/dir\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", DIRECTORY],
        &[
            "HTTP/1.1 302 \r\nlocation: URL/v2/dir\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            DIRECTORY,
        ],
    ] {
        let (url, serving) = serves(answers).await;
        let client = Client::discover(config(&format!("{url}/dir")), Clock::start()).await.unwrap();
        assert_eq!(serving.await.unwrap(), ["GET /dir HTTP/1.1", "GET /v2/dir HTTP/1.1"]);
        let directory = client.directory();
        let entries =
            [&directory.new_nonce, &directory.new_account, &directory.new_order, &directory.revoke_cert];
        let expected = ["/v2/nonce", "/account", "/order", "/revoke"].map(|path| format!("{url}{path}"));
        assert_eq!(entries.map(String::clone), expected);
    }
}

#[tokio::test]
async fn a_second_redirect_of_the_directory_is_refused() {
    const MOVED: &str = "HTTP/1.1 307 \r\nlocation: /dir\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (url, _serving) = serves(&[MOVED, MOVED]).await;
    let message = error(config(&format!("{url}/dir"))).await.to_string();
    assert!(message.contains("answered 307 with a second redirect: one is followed"), "{message}");
}
