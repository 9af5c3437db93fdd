//! Where a connection without TLS is allowed: on loopback, and where `--plaintext` says so.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wec_startup::redacted;

use crate::TlsOptions;

/// A connection beyond loopback would have no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} would be without TLS: {way_out}, or accept that with --plaintext (WEC_PLAINTEXT=1)")]
pub struct NotPlain {
    what: String,
    way_out: &'static str,
}

/// Whether this host, a name or an IP address, is this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = host.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl TlsOptions {
    /// Checks a listener without TLS of its own, such as `the page`.
    ///
    /// # Errors
    /// When it would be beyond loopback without TLS.
    pub fn check_listener(&self, what: &str, address: SocketAddr) -> Result<(), NotPlain> {
        if self.plaintext || self.tls_ca.is_some() || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let way_out = "give --tls-ca, --tls-cert and --tls-key (wec pki makes the files), listen on loopback";
        Err(NotPlain { what: format!("{what} on {address}"), way_out })
    }

    /// The URL of a state store. One of PostgreSQL without `sslmode` gets the files of TLS, if there are some.
    ///
    /// # Errors
    /// As [`check_server`](Self::check_server).
    pub fn database(&self, url: &str) -> Result<String, NotPlain> {
        let secured = match self.files() {
            Some(files) if is_plain_beyond_loopback(url) && url.starts_with("postgres") => {
                let encoded =
                    |file: &Path| utf8_percent_encode(&file.to_string_lossy(), NON_ALPHANUMERIC).to_string();
                let mut secured = url.to_owned();
                secured.push(if url.contains('?') { '&' } else { '?' });
                secured += &format!("sslmode=verify-full&sslrootcert={}", encoded(&files.ca));
                if let Some((certificate, key)) = &files.client {
                    secured += &format!("&sslcert={}&sslkey={}", encoded(certificate), encoded(key));
                }
                secured
            }
            _ => url.to_owned(),
        };
        self.check_server("the state store", &secured).map(|()| secured)
    }

    /// Checks the URL of a server, or of several of one kind: `etcd://a:1,b:1`. URLs of files are allowed.
    ///
    /// # Errors
    /// When its scheme has no TLS, and it is beyond loopback.
    pub fn check_server(&self, what: &str, url: &str) -> Result<(), NotPlain> {
        if self.plaintext || !is_plain_beyond_loopback(url) {
            return Ok(());
        }
        let way_out = match url.split("://").next() {
            Some("etcd") => "write etcds://",
            Some("redis") => "write rediss://",
            Some("postgres" | "postgresql") => "add ?sslmode=verify-full, or give --tls-ca",
            _ => "write https://",
        };
        Err(NotPlain { what: format!("{what} {}", redacted(url)), way_out })
    }
}

/// Whether a URL names a server beyond loopback with a scheme that has no TLS.
fn is_plain_beyond_loopback(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let encrypts = match scheme {
        "http" | "etcd" | "redis" => false,
        "postgres" | "postgresql" => ["verify-full", "verify-ca", "require"]
            .iter()
            .any(|mode| url.contains(&format!("sslmode={mode}"))),
        // Files, and schemes with TLS.
        _ => true,
    };
    if encrypts {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    // PostgreSQL without a host: a socket.
    hosts.split(',').filter(|host| !host.is_empty()).any(|host| {
        let name = match host.rsplit_once(':') {
            Some((_, rest)) if rest.contains(']') => host,
            Some((name, _)) => name,
            None => host,
        };
        !is_loopback(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_connections_stay_on_loopback() {
        for (url, beyond) in [
            ("local", false),
            ("memory", false),
            ("sqlite:///var/lib/wec/board.db", false),
            ("http://127.0.0.1:8090", false),
            ("http://localhost:8090", false),
            ("http://[::1]:8090", false),
            ("http://analytics:8090", true),
            ("http://10.0.0.7:8090", true),
            ("https://analytics:8090", false),
            ("etcd://127.0.0.1:2379,127.0.0.1:3379", false),
            ("etcd://u:p@127.0.0.1:2379,etcd-2:2379", true),
            ("etcds://etcd-1:2379", false),
            ("redis://:s3cret@cache:6379/0", true),
            ("redis://127.0.0.1:6379", false),
            ("rediss://cache", false),
            ("postgres://wec:s3cret@db/wec", true),
            ("postgres://wec:s3cret@db/wec?sslmode=verify-full", false),
            ("postgres://wec:s3cret@127.0.0.1/wec", false),
            ("postgres:///wec?host=/run/postgresql", false),
        ] {
            assert_eq!(is_plain_beyond_loopback(url), beyond, "{url}");
        }
    }

    #[test]
    fn a_refusal_names_the_way_out_and_no_password() {
        let refused = TlsOptions::default().check_server("the state store", "postgres://wec:s3cret@db/wec");
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("--plaintext") && refused.contains("sslmode"), "{refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
        let plaintext = TlsOptions { plaintext: true, ..TlsOptions::default() };
        assert_eq!(plaintext.check_server("analytics", "http://a:1"), Ok(()));
        let (near, far) = ("127.0.0.1:80".parse().unwrap(), "0.0.0.0:80".parse().unwrap());
        assert_eq!(TlsOptions::default().check_listener("the page", near), Ok(()));
        assert!(TlsOptions::default().check_listener("the page", far).is_err());
        assert_eq!(plaintext.check_listener("the page", far), Ok(()));
        let secured = TlsOptions { tls_ca: Some("ca.pem".into()), ..TlsOptions::default() };
        assert_eq!(secured.check_listener("the page", far), Ok(()));
    }
}
