//! Kinds of clients, by their User-Agent. Only names of this table leave a log: an unknown agent may name a customer.

/// An index into [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(u8);

/// The names of kinds, in the order of the table; the last is that of all unknown clients.
pub const NAMES: [&str; KNOWN.len() + 1] = {
    let mut names = ["other"; KNOWN.len() + 1];
    let mut at = 0;
    while at < KNOWN.len() {
        names[at] = KNOWN[at].0;
        at += 1;
    }
    names
};

/// A name, and a text of which the agent has one, in small letters. Programs come before the libraries that they use.
const KNOWN: [(&str, &[&str]); 24] = [
    ("certbot", &["certbotacmeclient", "certbot/"]),
    ("cert-manager", &["cert-manager"]),
    ("caddy", &["caddy/"]),
    ("traefik", &["traefik"]),
    ("acme-sh", &["acme.sh/"]),
    ("dehydrated", &["dehydrated/"]),
    ("win-acme", &["wacs/", "win-acme"]),
    ("posh-acme", &["posh-acme/"]),
    ("certify", &["certify/", "certifytheweb"]),
    ("mod-md", &["mod_md/"]),
    ("cpanel", &["cpanel"]),
    ("plesk", &["plesk"]),
    ("getssl", &["getssl"]),
    ("uacme", &["uacme/"]),
    ("acme-tiny", &["acme-tiny"]),
    ("load-generator", &["boulder", "load-generator", "chisel"]),
    ("wile-e-coyote", &["wile-e-coyote/"]),
    ("certmagic", &["certmagic", "acmez"]),
    ("lego", &["xenolf-acme", "lego-cli", "lego/"]),
    ("autocert", &["golang.org/x/crypto/acme", "autocert"]),
    ("acme4j", &["acme4j/"]),
    ("python-acme", &["acme-python", "python-acme"]),
    ("instant-acme", &["instant-acme"]),
    ("openbsd", &["acme-client"]),
];

impl Client {
    /// The kind of an agent.
    pub fn of(agent: &str) -> Self {
        let agent = agent.as_bytes();
        let has = |part: &&str| {
            let part = part.as_bytes();
            agent.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
        };
        let place = KNOWN.iter().position(|(_, parts)| parts.iter().any(&has));
        Self::at(place.unwrap_or(KNOWN.len()))
    }

    /// All unknown clients.
    pub const OTHER: Self = Self::at(KNOWN.len());

    /// The kind at a place in [`NAMES`].
    pub(crate) const fn at(place: usize) -> Self {
        // The table is shorter than 256.
        Self(place as u8)
    }

    /// Its place in [`NAMES`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES[self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_well_known_clients_have_names() {
        for (agent, name) in [
            (
                "CertbotACMEClient/2.1.0 (certbot; Debian GNU/Linux 12 (bookworm)) Authenticator/nginx",
                "certbot",
            ),
            ("cert-manager-challenges/v1.13.2 (linux/amd64) cert-manager/abcdef", "cert-manager"),
            ("Caddy/2.6.2 CertMagic acmez (linux; amd64)", "caddy"),
            ("certmagic acmez (linux; amd64)", "certmagic"),
            ("containous-traefik/2.10.4 xenolf-acme/4.12.0 (release; linux; amd64)", "traefik"),
            ("lego-cli/4.14 xenolf-acme/4.14.2 (release; linux; amd64)", "lego"),
            ("acme.sh/3.0.7 (https://github.com/acmesh-official/acme.sh)", "acme-sh"),
            ("Apache/2.4.57 (Debian) mod_md/2.4.22", "mod-md"),
            ("WACS/2.2.6.1571 (Trimmed, ReadyToRun, 64-bit)", "win-acme"),
            ("wile-e-coyote/0.1.0 run/1795892490-60ed", "wile-e-coyote"),
            ("Customer-Name-Internal/1.0", "other"),
            ("-", "other"),
            ("", "other"),
        ] {
            assert_eq!(Client::of(agent).name(), name, "{agent}");
        }
    }

    #[test]
    fn names_fit_into_those_of_scenarios() {
        for name in NAMES {
            assert!(
                name.len() <= 14
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit()),
                "{name}"
            );
            assert_eq!(NAMES.iter().filter(|other| **other == name).count(), 1, "{name}");
        }
    }
}
