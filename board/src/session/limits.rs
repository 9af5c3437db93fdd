//! Hard limits on the objects that a session may make at one CA.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Limits on the objects made at one CA; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Ready orders.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// An object with a limit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Limited {
    /// [`Limits::registrations`].
    Registrations,
    /// [`Limits::authorizations`].
    Authorizations,
    /// [`Limits::certificates`].
    Certificates,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written on the board and in marks.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Limits {
    pub(super) fn of(&mut self, limited: Limited) -> &mut Option<u64> {
        match limited {
            Limited::Registrations => &mut self.registrations,
            Limited::Authorizations => &mut self.authorizations,
            Limited::Certificates => &mut self.certificates,
        }
    }
}
