//! Connects to a server at another address than its name's: curl's `--connect-to`.

use std::str::FromStr;

/// `HOST:PORT:ADDR:PORT`: connections to the first pair go to the second. Host header, TLS server name and URLs do
/// not change. An empty part on the left matches anything, on the right it means unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    host: Option<String>,
    port: Option<u16>,
    to_host: Option<String>,
    to_port: Option<u16>,
}

impl ConnectTo {
    /// Where a connection to `host` and `port` goes, if this rule applies.
    pub fn target<'a>(&'a self, host: &'a str, port: u16) -> Option<(&'a str, u16)> {
        let matches = self.host.as_deref().is_none_or(|own| own == host.trim_end_matches('.'))
            && self.port.is_none_or(|own| own == port);
        matches.then(|| (self.to_host.as_deref().unwrap_or(host), self.to_port.unwrap_or(port)))
    }
}

impl FromStr for ConnectTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} {why}: as in ca.test:443:127.0.0.1:14000, IPv6 addresses in brackets, empty parts allowed"
            )
        };
        let parts = split(text).ok_or_else(|| wrong("is not HOST:PORT:ADDR:PORT"))?;
        let host = |part: &str| {
            let host = part.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
            let is_host = host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:%".contains(c));
            if is_host {
                Ok((!host.is_empty()).then(|| host.to_ascii_lowercase()))
            } else {
                Err(wrong("has a part that is no host name and no address"))
            }
        };
        let port = |part: &str| match part {
            "" => Ok(None),
            part => match part.parse() {
                Ok(port) if port != 0 => Ok(Some(port)),
                _ => Err(wrong("has a port that is no number from 1 to 65535")),
            },
        };
        let [from_host, from_port, to_host, to_port] = parts;
        Ok(Self {
            host: host(from_host)?,
            port: port(from_port)?,
            to_host: host(to_host)?,
            to_port: port(to_port)?,
        })
    }
}

impl std::fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = |host: &Option<String>| match host {
            Some(host) if host.contains(':') => format!("[{host}]"),
            host => host.clone().unwrap_or_default(),
        };
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        let Self { host: from, port: from_port, to_host, to_port } = self;
        write!(f, "{}:{}:{}:{}", host(from), port(*from_port), host(to_host), port(*to_port))
    }
}

/// Four parts between colons; colons in brackets do not separate.
fn split(text: &str) -> Option<[&str; 4]> {
    let mut parts = Vec::new();
    let (mut start, mut in_brackets) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ':' if !in_brackets => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    <[&str; 4]>::try_from(parts).ok().filter(|_| !in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_the_first_pair_is_sent() {
        for (text, host, port, expected) in [
            ("ca.test:443:127.0.0.1:14000", "ca.test", 443, Some(("127.0.0.1", 14000))),
            ("CA.test.:443:127.0.0.1:14000", "ca.test", 443, Some(("127.0.0.1", 14000))),
            ("ca.test:443:127.0.0.1:14000", "ca.test", 444, None),
            ("ca.test:443:127.0.0.1:14000", "other.test", 443, None),
            ("ca.test:443:[::1]:14000", "ca.test", 443, Some(("::1", 14000))),
            ("[::1]:443:127.0.0.1:", "::1", 443, Some(("127.0.0.1", 443))),
            ("::front.test:", "ca.test", 443, Some(("front.test", 443))),
            (":::", "ca.test", 443, Some(("ca.test", 443))),
            ("ca.test:::8443", "ca.test", 443, Some(("ca.test", 8443))),
        ] {
            let parsed: ConnectTo = text.parse().unwrap();
            assert_eq!(parsed.target(host, port), expected, "{text}");
            assert_eq!(parsed.to_string().parse::<ConnectTo>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn what_is_not_four_parts_is_refused() {
        for text in [
            "",
            "a:1:b",
            "a:1:b:2:3",
            "a:0:b:1",
            "a:70000:b:1",
            "a:x:b:1",
            "[::1:443:b:1",
            "a b:1:c:2",
            "::1:443:b:1",
        ] {
            let error = text.parse::<ConnectTo>().unwrap_err();
            assert!(error.contains("as in ca.test:443:127.0.0.1:14000"), "{error}");
        }
    }
}
