//! Hard limits on the objects that a session may make at one CA.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};
pub use wec_record::plan::Limits;

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

wec_record::closed_set!(Limited);

impl Limited {
    /// What is counted, for the web API's documentation.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Registrations => "Accounts.",
            Self::Authorizations => "Ready orders.",
            Self::Certificates => "Certificates.",
        }
    }
}

impl Limited {
    pub(super) const fn of(self, limits: &mut Limits) -> &mut Option<u64> {
        match self {
            Self::Registrations => &mut limits.registrations,
            Self::Authorizations => &mut limits.authorizations,
            Self::Certificates => &mut limits.certificates,
        }
    }
}
