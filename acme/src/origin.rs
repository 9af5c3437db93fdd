//! The scheme, host and port of a server, as in its URLs.

use http::Uri;
use http::header::HeaderValue;
use rustls_pki_types::ServerName;

use crate::FailureClass;
use crate::failure::Failure;

/// A server: scheme, host and port.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The beginning of its URLs: `https://host:port`, as the CA writes it.
    pub(crate) prefix: String,
    /// The Host header.
    pub(crate) host: HeaderValue,
    /// The host for look-ups: lower case, an IPv6 address without brackets.
    pub(crate) address: String,
    pub(crate) port: u16,
    /// None without TLS.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl Origin {
    pub(crate) fn of(url: &str) -> Result<Self, Failure> {
        let unusable = |why: &str| Failure::new(FailureClass::Malformed, format!("not a usable URL: {why}"));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unusable(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| unusable("no host"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let tls = match scheme {
            "https" => true,
            "http" => false,
            other => return Err(unusable(&format!("its scheme is {other:?}, not https or http"))),
        };
        let prefix = format!("{}://{authority}", url.split("://").next().unwrap_or_default());
        let address = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let server_name = if tls {
            let name = ServerName::try_from(address.clone()).map_err(|error| unusable(&error.to_string()))?;
            Some(name)
        } else {
            None
        };
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        Ok(Self {
            host: HeaderValue::from_str(host).map_err(|error| unusable(&error.to_string()))?,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            prefix,
            address,
            server_name,
        })
    }

    /// The rest of a URL on this server.
    pub(crate) fn path_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(self.prefix.as_str()).filter(|path| path.is_empty() || path.starts_with(['/', '?']))
    }
}
