//! The result of `wec clean`, as text and as JSON.

use serde_json::json;
use wec_store::Left;

/// What was done, and what is left.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// Certificates.
    pub(super) revoked: u64,
    pub(super) already_revoked: u64,
    pub(super) certificates_gone: u64,
    /// Orders whose authorizations are all ended.
    pub(super) orders: u64,
    pub(super) orders_gone: u64,
    /// Authorizations that were pending or valid before.
    pub(super) authorizations: u64,
    /// Accounts.
    pub(super) deactivated: u64,
    pub(super) already_deactivated: u64,
    pub(super) accounts_gone: u64,
    pub(super) failed: u64,
    pub(super) first_failure: String,
    pub(super) left: Left,
}

impl Done {
    pub(super) fn text(&self) -> String {
        let already = |count: u64| if count > 0 { format!(" ({count} already were)") } else { String::new() };
        let gone = match (self.certificates_gone, self.orders_gone, self.accounts_gone) {
            (0, 0, 0) => String::new(),
            (certificates, orders, accounts) => format!(
                " Gone at the CA, which does not know them: {}, {}, {}.",
                things(certificates, "certificate"),
                things(orders, "order"),
                things(accounts, "account")
            ),
        };
        let mut text = format!(
            "Revoked {}{}, deactivated {} of {} and {}{}; {} failed.{} Left in the state: {}, {}, {}.",
            things(self.revoked, "certificate"),
            already(self.already_revoked),
            things(self.authorizations, "authorization"),
            things(self.orders, "order"),
            things(self.deactivated, "account"),
            already(self.already_deactivated),
            self.failed,
            gone,
            things(self.left.certificates, "certificate"),
            things(self.left.orders, "order"),
            things(self.left.accounts, "account"),
        );
        if !self.first_failure.is_empty() {
            text += &format!("\nThe first failure: {}", wec_text::visible(&self.first_failure));
        }
        text
    }

    pub(super) fn json(&self) -> String {
        json!({
            "revoked": self.revoked,
            "already_revoked": self.already_revoked,
            "certificates_gone": self.certificates_gone,
            "orders": self.orders,
            "orders_gone": self.orders_gone,
            "authorizations_deactivated": self.authorizations,
            "deactivated": self.deactivated,
            "already_deactivated": self.already_deactivated,
            "accounts_gone": self.accounts_gone,
            "failed": self.failed,
            "certificates_left": self.left.certificates,
            "orders_left": self.left.orders,
            "accounts_left": self.left.accounts,
            "first_failure": self.first_failure,
        })
        .to_string()
    }
}

/// A number and what it counts.
pub(super) fn things(count: u64, one: &str) -> String {
    let more = match one {
        "process" => "es",
        _ => "s",
    };
    format!("{count} {one}{}", if count == 1 { "" } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said_by_itself() {
        let done = Done { accounts_gone: 2, ..Done::default() };
        assert!(done.text().contains("and 0 accounts; 0 failed. Gone at the CA"), "{}", done.text());
        assert!(!Done::default().text().contains("Gone"));
    }
}
