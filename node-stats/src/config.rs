//! The configuration file: the nodes, and how their figures arrive. Its shape is NodNod's.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// The port of an address without one.
pub const DEFAULT_PORT: u16 = 7070;

/// `{"nodes": ["HOST:PORT", …], "mode": "pull"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The addresses of all nodes, HOST or HOST:PORT, usually with this one's.
    pub nodes: Vec<String>,
    /// How their figures arrive.
    #[serde(default)]
    pub mode: Mode,
}

/// How the figures of other nodes arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are asked when a client asks
    #[default]
    Pull,
    /// They send them each second
    Push,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a configuration.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = std::fs::read(file).with_context(|| format!("cannot read the configuration {shown}"))?;
        Self::parse(&text).with_context(|| {
            format!(r#"{shown} is not a configuration like {{"nodes": ["127.0.0.1:7070"], "mode": "pull"}}"#)
        })
    }

    fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let mut config: Self = serde_json::from_slice(text)?;
        for node in &mut config.nodes {
            *node = with_port(node).map_err(anyhow::Error::msg)?;
        }
        Ok(config)
    }
}

/// HOST:PORT, with the default port if there is none.
///
/// # Errors
/// What is wrong with the address.
pub(crate) fn with_port(address: &str) -> Result<String, String> {
    let address = address.trim();
    let wrong = |why: &str| format!("{address:?} {why}: write HOST:PORT, as in 127.0.0.1:{DEFAULT_PORT}");
    if address.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@\\\"".contains(c)) {
        return Err(wrong("has more than a host and a port"));
    }
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an IPv6 address.
        Some((_, rest)) if rest.contains(']') => (address, None),
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(wrong("has no host"));
    }
    match port {
        None => Ok(format!("{address}:{DEFAULT_PORT}")),
        Some(port) if matches!(port.parse::<u16>(), Ok(1..)) => Ok(address.to_owned()),
        Some(_) => Err(wrong("has a port outside 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_of_nodnods_tutorial() {
        let text =
            br#"{ "nodes": ["127.0.0.1:7070", "192.168.20.16", "[::1]", "node-a:7071"], "mode": "pull" }"#;
        let nodes = ["127.0.0.1:7070", "192.168.20.16:7070", "[::1]:7070", "node-a:7071"].map(str::to_owned);
        assert_eq!(Config::parse(text).unwrap(), Config { nodes: nodes.into(), mode: Mode::Pull });
        assert_eq!(Config::parse(br#"{"nodes":[],"mode":"push"}"#).unwrap().mode, Mode::Push);
        assert_eq!(Config::parse(br#"{"nodes":[]}"#).unwrap().mode, Mode::Pull);
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        for (text, why) in [
            (r#"{"mode":"pull"}"#, "nodes"),
            (r#"{"nodes":[],"mode":"both"}"#, "both"),
            (r#"{"nodes":[],"node":1}"#, "node"),
            (r#"{"nodes":["a:0"]}"#, "port"),
            (r#"{"nodes":["ws://a:1"]}"#, "more than"),
            (r#"{"nodes":[""]}"#, "no host"),
            ("nodes:", "expected"),
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
