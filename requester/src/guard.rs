//! Decides which targets may be loaded.
//!
//! The directory's host is checked before anything is sent. The ACME client checks all servers that the CA
//! names later: it asks [`Permission`] before the first connection to each server, and about each address
//! before it connects.
//!
//! A target may be loaded when every address of its host is loopback or private. Any other needs
//! `--allow-host` with its name. A known public CA, production or staging, also needs `--authorised-by` with
//! the person at the CA who agreed.

use std::net::{IpAddr, SocketAddr};

use url::Url;
use wec_acme::{Dialling, Gate, Refusal};

/// Registrable domains of public CAs with ACME servers, and the CA's name. All names below them count.
pub const PUBLIC_CAS: &[(&str, &str)] = &[
    ("letsencrypt.org", "Let's Encrypt"),
    ("zerossl.com", "ZeroSSL"),
    ("pki.goog", "Google Trust Services"),
    ("googleapis.com", "Google"),
    ("buypass.com", "Buypass"),
    ("buypass.no", "Buypass"),
    ("ssl.com", "SSL.com"),
    ("actalis.com", "Actalis"),
    ("actalis.it", "Actalis"),
    ("digicert.com", "DigiCert"),
    ("quovadisglobal.com", "DigiCert"),
    ("sectigo.com", "Sectigo"),
    ("trust-provider.com", "Sectigo"),
    ("usertrust.com", "Sectigo"),
    ("comodoca.com", "Sectigo"),
    ("globalsign.com", "GlobalSign"),
    ("entrust.net", "Entrust"),
    ("entrust.com", "Entrust"),
    ("harica.gr", "HARICA"),
    ("trustasia.com", "TrustAsia"),
    ("certum.pl", "Certum"),
    ("certum.eu", "Certum"),
    ("swisssign.net", "SwissSign"),
    ("swisssign.com", "SwissSign"),
    ("identrust.com", "IdenTrust"),
    ("godaddy.com", "GoDaddy"),
    ("starfieldtech.com", "GoDaddy"),
    ("amazontrust.com", "Amazon Trust Services"),
    ("telia.com", "Telia"),
    ("telia.fi", "Telia"),
    ("litessl.com", "LiteSSL"),
    ("litessl.cn", "LiteSSL"),
    ("wisekey.com", "WISeKey"),
    ("microsoft.com", "Microsoft"),
    ("akamai.com", "Akamai"),
    ("cloudflare.com", "Cloudflare"),
    ("certigna.com", "Certigna"),
    ("certigna.fr", "Certigna"),
    ("d-trust.net", "D-Trust"),
];

/// Why a target was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a URL for ACME.
    #[error("directory {url:?} is not an http or https URL with a host")]
    NotHttp {
        /// The URL as given.
        url: String,
    },
    /// A known public CA.
    #[error(
        "refusing to load {host}: it belongs to {ca}, a public CA (staging systems included); \
         if the CA agreed to this test, give --allow-host {host} and --authorised-by with the person who agreed"
    )]
    PublicCa {
        /// The host.
        host: String,
        /// The CA's name.
        ca: &'static str,
    },
    /// Neither loopback nor private, and not allowed.
    #[error(
        "refusing to load {host}: its address {address} is neither loopback nor private; \
         if you may test this machine, give --allow-host {host}"
    )]
    PublicAddress {
        /// The host.
        host: String,
        /// The first address that is not private.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("cannot find the address of {host}: {reason}; check the directory URL and the resolver")]
    NoAddress {
        /// The host.
        host: String,
        /// The resolver's error.
        reason: String,
    },
}

/// The user's permissions for the target.
#[derive(Clone, Debug, Default)]
pub struct Permission {
    /// Hosts of `--allow-host`, compared without case.
    pub allowed_hosts: Vec<String>,
    /// The person who agreed to the test of a public CA.
    pub authorised_by: Option<String>,
}

impl Gate for Permission {
    fn origin(&self, host: &str) -> Result<(), Refusal> {
        judge(host, &[], self).map_err(|refused| Refusal(refused.to_string()))
    }

    fn address(&self, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        judge(host, &[address.ip()], self).map_err(|refused| Refusal(refused.to_string()))
    }
}

/// Resolves the directory's host, or its replacement for connections, and checks it.
///
/// # Errors
/// [`Refused`], with the remedy in its message.
pub async fn check(directory: &Url, permission: &Permission, dialling: &Dialling) -> Result<(), Refused> {
    let (host, port) = host_of(directory)?;
    // A public CA is refused before its name is resolved.
    judge(&host, &[], permission)?;
    let mut ways = dialling.connect_to.iter();
    let (host, port) = ways.find_map(|way| way.target(&host, port)).unwrap_or((&host, port));
    judge(host, &[], permission)?;
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Refused::NoAddress { host: host.to_owned(), reason: error.to_string() })?
            .map(|address: SocketAddr| address.ip())
            .collect(),
    };
    judge(host, &addresses, permission)
}

fn host_of(directory: &Url) -> Result<(String, u16), Refused> {
    let refused = || Refused::NotHttp { url: directory.to_string() };
    if !matches!(directory.scheme(), "http" | "https") {
        return Err(refused());
    }
    let host = directory.host_str().ok_or_else(refused)?.trim_end_matches('.').to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok((host, directory.port_or_known_default().ok_or_else(refused)?))
}

/// The decision, given the resolved addresses.
fn judge(host: &str, addresses: &[IpAddr], permission: &Permission) -> Result<(), Refused> {
    let named = permission
        .allowed_hosts
        .iter()
        .any(|allowed| allowed.trim_end_matches('.').trim_matches(['[', ']']).eq_ignore_ascii_case(host));
    let authorised = permission.authorised_by.as_deref().is_some_and(|who| !who.trim().is_empty());
    if let Some(ca) = public_ca(host) {
        return if named && authorised { Ok(()) } else { Err(Refused::PublicCa { host: host.into(), ca }) };
    }
    match addresses.iter().find(|address| !is_private(address)) {
        Some(address) if !named => Err(Refused::PublicAddress { host: host.into(), address: *address }),
        _ => Ok(()),
    }
}

fn public_ca(host: &str) -> Option<&'static str> {
    PUBLIC_CAS
        .iter()
        .find(|(domain, _)| host == *domain || host.ends_with(&format!(".{domain}")))
        .map(|(_, ca)| *ca)
}

/// Loopback, RFC 1918, RFC 4193, RFC 6598 and link-local addresses, also when mapped into IPv6.
fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(&IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(hosts: &[&str], by: Option<&str>) -> Permission {
        Permission {
            allowed_hosts: hosts.iter().map(ToString::to_string).collect(),
            authorised_by: by.map(ToString::to_string),
        }
    }

    /// The directories that the CAs publish. They are never contacted, because they are refused before their
    /// names are resolved.
    const DIRECTORIES: &[&str] = &[
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        "https://acme.zerossl.com/v2/DV90",
        "https://dv.acme-v02.api.pki.goog/directory",
        "https://dv.acme-v02.test-api.pki.goog/directory",
        "https://api.buypass.com/acme/directory",
        "https://api.test4.buypass.no/acme/directory",
        "https://acme.ssl.com/sslcom-dv-rsa",
        "https://acme.ssl.com/sslcom-dv-ecc",
        "https://acme-api.actalis.com/acme/directory",
        "https://acme.digicert.com/v2/acme/directory/",
        "https://one.digicert.com/mpki/api/v1/acme/v2/directory",
        "https://acme.sectigo.com/v2/DV",
        "https://acme.enterprise.sectigo.com",
        "https://emea.acme.atlas.globalsign.com/directory",
        "https://acme.entrust.net/acme2/directory",
        "https://acme-v02.harica.gr/acme/directory",
        "https://acme.trustasia.com/v2/DV",
        "https://acme.swisssign.net/directory",
        "https://ACME-V02.API.LETSENCRYPT.ORG./directory",
    ];

    #[tokio::test]
    async fn refuses_the_known_public_cas_even_when_allowed_by_host() {
        for directory in DIRECTORIES {
            let url = Url::parse(directory).unwrap();
            let host = url.host_str().unwrap().to_string();
            for permission in [
                Permission::default(),
                permission(&[&host], None),
                permission(&[], Some("the CA")),
                permission(&[&host], Some(" ")),
            ] {
                let refused = check(&url, &permission, &Dialling::default()).await.expect_err(directory);
                assert!(matches!(refused, Refused::PublicCa { .. }), "{directory}: {refused}");
                assert!(refused.to_string().contains("--authorised-by"), "{refused}");
            }
        }
    }

    #[test]
    fn a_public_ca_that_agreed_may_be_loaded() {
        let host = "acme-staging-v02.api.letsencrypt.org";
        assert_eq!(judge(host, &[], &permission(&[host], Some("somebody there"))), Ok(()));
    }

    #[test]
    fn a_domain_with_a_similar_end_is_not_a_public_ca() {
        assert_eq!(
            judge("notletsencrypt.org", &["10.0.0.1".parse().unwrap()], &Permission::default()),
            Ok(())
        );
        assert_eq!(
            judge("letsencrypt.org.example", &["10.0.0.1".parse().unwrap()], &Permission::default()),
            Ok(())
        );
    }

    #[test]
    fn loopback_and_private_addresses_are_allowed() {
        for address in [
            "127.0.0.1",
            "127.8.9.1",
            "10.77.77.77",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(&address.parse().unwrap()), "{address}");
        }
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64.112.11.1"]
        {
            assert!(!is_private(&address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn one_public_address_among_private_ones_is_enough_to_refuse() {
        let addresses = ["10.0.0.1".parse().unwrap(), "203.0.113.9".parse().unwrap()];
        let refused = judge("ca.example", &addresses, &Permission::default()).unwrap_err();
        assert!(refused.to_string().contains("203.0.113.9"), "{refused}");
        assert_eq!(judge("ca.example", &addresses, &permission(&["CA.example"], None)), Ok(()));
    }

    #[tokio::test]
    async fn connect_to_is_judged_by_its_destination() {
        let dialling = |way: &str| Dialling { connect_to: vec![way.parse().unwrap()], ..Dialling::default() };
        let directory = Url::parse("https://ca.invalid/directory").unwrap();
        let check = async |way: &str| check(&directory, &Permission::default(), &dialling(way)).await;
        assert_eq!(check("ca.invalid:443:127.0.0.1:14000").await, Ok(()));
        assert_eq!(check("::[::1]:14000").await, Ok(()));
        // A documentation address. Nothing is sent: an address needs no look-up.
        let refused = check("ca.invalid:443:192.0.2.1:443").await.unwrap_err();
        assert!(refused.to_string().contains("--allow-host 192.0.2.1"), "{refused}");
        let refused = check("::acme-v02.api.letsencrypt.org:").await.unwrap_err();
        assert!(matches!(refused, Refused::PublicCa { .. }), "{refused}");
    }

    #[test]
    fn checks_servers_and_addresses_for_the_client() {
        let (named, nobody) = (permission(&["ca.example", "[2001:db8::1]"], None), Permission::default());
        assert!(nobody.origin("acme-v02.api.letsencrypt.org").is_err());
        assert_eq!(nobody.origin("anything.else"), Ok(()));
        let public = "203.0.113.9:443".parse().unwrap();
        assert_eq!(named.address("ca.example", public), Ok(()));
        assert!(nobody.address("ca.example", public).unwrap_err().0.contains("--allow-host ca.example"));
        assert_eq!(named.address("2001:db8::1", "[2001:db8::1]:443".parse().unwrap()), Ok(()));
        assert_eq!(nobody.address("ca.example", "10.0.0.1:443".parse().unwrap()), Ok(()));
    }

    #[tokio::test]
    async fn only_http_urls_with_a_host_are_targets() {
        for url in ["ftp://127.0.0.1/dir", "file:///etc/passwd", "data:text/plain,x"] {
            let refused = check(&Url::parse(url).unwrap(), &Permission::default(), &Dialling::default())
                .await
                .unwrap_err();
            assert!(matches!(refused, Refused::NotHttp { .. }), "{url}: {refused}");
        }
    }
}
