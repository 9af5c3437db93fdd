//! HTTP that is not ACME: where reports and figures are sent and other metrics are read, and the client for that.
//!
//! An [`Endpoint`] comes from the flags and the environment of this process only.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

/// An HTTP URL. Only scheme, host and port are shown: path and query may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Parses `http://…` or `https://…`.
    ///
    /// # Errors
    /// What is wrong with it, with no more of it than scheme and host.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| format!("{} {why}: write http://HOST:PORT or https://HOST:PORT", shown(text));
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("begins neither with http:// nor with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has a user or a password: give them in the environment"));
        }
        Ok(Self(url))
    }

    /// A URL below this one.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", self.0.path().trim_end_matches('/')));
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    /// The URL itself.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// What a message has of a wrong address: scheme and host, if it is sure where they are.
fn shown(text: &str) -> String {
    let quoted = |shown: &str| wec_text::quoted(shown);
    let is_host = |host: &str| {
        host.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '*'))
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && is_host(host));
        let has_port = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        return if has_port || text.is_empty() { quoted(text) } else { "the address".to_owned() };
    };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-')) {
        return "the address".to_owned();
    }
    let authority = &rest[..rest.find(['/', '?', '#', '\\', ';']).unwrap_or(rest.len())];
    // A password may have an '@' or a slash that is not escaped.
    let host = match (authority.rfind('@'), rest.rfind('@')) {
        (at, last) if at == last => &authority[at.map_or(0, |at| at + 1)..],
        _ => "",
    };
    let host = match host.rsplit_once(':') {
        _ if !is_host(host) => "",
        // Perhaps a password.
        Some((name, port)) if !host.ends_with(']') && port.parse::<u16>().is_err() => name,
        _ => host,
    };
    let more = if rest == host && !host.is_empty() { "" } else { "…" };
    quoted(&format!("{scheme}://{host}{more}"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// A client for HTTP that is not ACME. It follows no redirects, which could lead credentials elsewhere, and uses
/// no proxy.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http_client(within: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("wile-e-coyote/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(within)
        .timeout(within)
        .build()
}

/// Why a request had no answer, without its URL.
pub fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The beginning of an answer's body, for a message.
pub async fn beginning(mut answer: reqwest::Response) -> String {
    let mut body = Vec::new();
    while body.len() < 512 {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(512);
    wec_text::line(String::from_utf8_lossy(&body).trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_host_and_port_and_nothing_that_may_be_secret() {
        let endpoint = Endpoint::parse("https://hooks.test:8443/services/s3cret?token=s3cret").unwrap();
        assert_eq!(endpoint.to_string(), "https://hooks.test:8443");
        assert!(!format!("{endpoint:?}").contains("s3cret"));
        assert_eq!(Endpoint::parse("http://a/base/").unwrap().join("write").as_str(), "http://a/base/write");
        assert_eq!(Endpoint::parse("http://a:1").unwrap().join("write").as_str(), "http://a:1/write");
    }

    #[test]
    fn a_wrong_one_is_refused_without_its_password() {
        for (text, why) in [
            ("", "is not a URL"),
            ("127.0.0.1:8086", "is not a URL"),
            ("ftp://a", "begins neither"),
            ("http://u:s3cret@a", "a user or a password"),
            ("htps://hooks.example/services/T0/B0/s3cret", "\"htps://hooks.example…\" begins neither"),
            ("ftp://h/?api_key=s3cret", "\"ftp://h…\" begins neither"),
            ("ftp://u:s3/cret@h", "\"ftp://…\" is not a URL"),
            ("ftp://h/?mail=a@s3cret", "\"ftp://…\" begins neither"),
            ("http://h:s3cret", "\"http://h…\" is not a URL"),
            ("s3cret", "the address is not a URL"),
            ("key=s3cret://h/", "the address is not a URL"),
        ] {
            let message = Endpoint::parse(text).unwrap_err();
            assert!(message.contains(why) && message.contains("http://HOST:PORT"), "{text}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
