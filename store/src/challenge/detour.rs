//! Validations that take a detour: http-01 through a redirect (RFC 8555 §8.3), dns-01 through a CNAME (§8.4).
//!
//! Like a [`ValidationFault`](super::ValidationFault), a detour is written as challenge data, so that every store has
//! it. A server that does not know detours serves a wrong answer.

use std::sync::LazyLock;

use wec_record::{ChallengeType, Listener};

use super::ChallengeData;

/// Before the key authorization that is behind a redirect.
const REDIRECTED: &str = "wec-redirected-";
/// The key authorization at a name with a CNAME.
const DELEGATED: &str = "wec-delegated";
/// The first label of the names to which CNAMEs lead.
const LABEL: &str = "delegated";
/// The longest name that can be delegated: with both labels before it, it is still a name (RFC 1035 §2.3.4).
const LONGEST: usize = 253 - "_acme-challenge.delegated.".len();

static DELEGATED_VALUE: LazyLock<String> = LazyLock::new(|| {
    let data = ChallengeData {
        kind: ChallengeType::Dns01,
        name: String::new(),
        token: String::new(),
        key_authorization: DELEGATED.to_owned(),
    };
    data.txt_value()
});

/// The data with which the challenge `data` is reached by a detour; `data` alone if there is none for its type or name.
pub fn detour(data: ChallengeData) -> Vec<ChallengeData> {
    match data.kind.listener() {
        Listener::Http => {
            vec![ChallengeData {
                key_authorization: format!("{REDIRECTED}{}", data.key_authorization),
                ..data
            }]
        }
        Listener::Dns if data.kind == ChallengeType::Dns01 && data.name.len() <= LONGEST => {
            let marker = ChallengeData { key_authorization: DELEGATED.to_owned(), ..data.clone() };
            vec![marker, ChallengeData { name: delegated_name(&data.name), ..data }]
        }
        Listener::Dns | Listener::Tls => vec![data],
    }
}

/// The key authorization behind a redirect; none if the stored one has no redirect.
pub fn behind_redirect(stored: &str) -> Option<&str> {
    stored.strip_prefix(REDIRECTED)
}

/// Whether the TXT values of a name are those of a name with a CNAME to its [`delegated_name`].
pub fn is_delegated(stored: &[String]) -> bool {
    stored.contains(&DELEGATED_VALUE)
}

/// The name to which the CNAME of a name leads.
pub fn delegated_name(name: &str) -> String {
    format!("{LABEL}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(kind: ChallengeType, name: &str) -> ChallengeData {
        ChallengeData { kind, name: name.into(), token: "t".into(), key_authorization: "t.thumb".into() }
    }

    #[test]
    fn a_name_that_would_become_too_long_has_no_detour() {
        for (length, parts) in [(LONGEST, 2), (LONGEST + 1, 1)] {
            assert_eq!(detour(challenge(ChallengeType::Dns01, &"a".repeat(length))).len(), parts);
        }
    }
}
