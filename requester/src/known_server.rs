//! Servers that a load is known to break, recognized by their directory.

use wec_acme::Directory;

use crate::plan::Plan;

/// A server with a known limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// Its name and version.
    pub name: &'static str,
    /// More workers break it.
    pub most_workers: u64,
    /// What happens then.
    pub why: &'static str,
}

/// Its entry in docs/servers.md has the reason.
const OLD_PEBBLE: KnownServer = KnownServer {
    name: "Pebble 2.4 or older",
    most_workers: 2,
    why: "with three or more requests in flight it stops answering after some hundred chains",
};

/// The server of this directory, if it has a known limit.
pub fn known_server(directory: &Directory) -> Option<KnownServer> {
    // Pebble's own names of resources; renewalInfo came with 2.5.
    let is_pebble =
        directory.new_account.ends_with("/sign-me-up") && directory.new_nonce.ends_with("/nonce-plz");
    (is_pebble && directory.renewal_info.is_none()).then_some(OLD_PEBBLE)
}

/// The warning if a plan has more workers than the server can have.
pub(crate) fn warning(plan: &Plan, directory: &Directory) -> Option<String> {
    let KnownServer { name, most_workers, why } = known_server(directory)?;
    let workers: u64 = plan.scenarios.iter().map(|scenario| scenario.load.workers().peak() as u64).sum();
    (workers > most_workers).then(|| {
        format!("the CA seems to be {name}: {why}; this plan has up to {workers} workers: give --workers {most_workers}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlanOptions;

    fn directory(new_account: &str, renewal_info: Option<&str>) -> Directory {
        Directory {
            new_nonce: "https://ca.test/nonce-plz".into(),
            new_account: format!("https://ca.test/{new_account}"),
            new_order: String::new(),
            revoke_cert: String::new(),
            key_change: None,
            new_authz: None,
            renewal_info: renewal_info.map(str::to_owned),
            meta: wec_acme::Meta::default(),
        }
    }

    #[test]
    fn an_old_pebble_is_warned_about_with_more_than_two_workers() {
        let plan = |workers: &str| {
            let options = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
            options.with("workers", workers).resolve(None).unwrap()
        };
        for (new_account, renewal_info, workers, warned) in [
            ("sign-me-up", None, "3", true),
            ("sign-me-up", None, "2", false),
            ("sign-me-up", Some("https://ca.test/renewal-info"), "50", false),
            ("new-account", None, "50", false),
        ] {
            let said = warning(&plan(workers), &directory(new_account, renewal_info));
            assert_eq!(said.is_some(), warned, "{new_account} {renewal_info:?} {workers}: {said:?}");
        }
    }
}
