//! Choices of a chain that have no type in another crate: certificate profiles and revocation reasons.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of a profile. Names are in records, in the state store and in figures.
const LONGEST_PROFILE: usize = 64;

/// The certificate profile of an order, by name (draft-ietf-acme-profiles), or the CA's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile(Option<Arc<str>>);

impl Profile {
    /// The name in configuration for an order without a profile.
    pub const DEFAULT: &'static str = "default";

    /// The name in newOrder; none when the CA chooses.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or(Self::DEFAULT))
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::DEFAULT {
            return Ok(Self(None));
        }
        if (1..=LONGEST_PROFILE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Some(text.into())))
        } else {
            let shown: String = text.chars().take(LONGEST_PROFILE).collect();
            Err(format!(
                "{shown:?} is not a profile's name: up to {LONGEST_PROFILE} printable ASCII characters, or default for \
                 orders without a profile"
            ))
        }
    }
}

/// The reason in a revocation (RFC 5280 §5.3.1); none if the request has no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationReason(Option<u8>);

impl RevocationReason {
    /// No reason in the request.
    pub const NONE: Self = Self(None);
    /// CAs refuse the certificate's key after such a revocation.
    pub const KEY_COMPROMISE: Self = Self(Some(1));
    /// The reasons that every known CA accepts: none, unspecified, keyCompromise, superseded,
    /// cessationOfOperation.
    pub const USUAL: [Self; 5] =
        [Self::NONE, Self(Some(0)), Self::KEY_COMPROMISE, Self(Some(4)), Self(Some(5))];

    /// The reason with this code; none if RFC 5280 does not define it.
    pub fn of_code(code: u8) -> Option<Self> {
        // 7 is unused, 10 is the last.
        (code != 7 && code <= 10).then_some(Self(Some(code)))
    }

    /// The code in the request.
    pub const fn code(self) -> Option<u8> {
        self.0
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "{code}"),
            None => f.write_str("none"),
        }
    }
}

impl FromStr for RevocationReason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        text.parse().ok().and_then(Self::of_code).ok_or_else(|| {
            format!(
                "{text:?} is not a revocation reason: expected none, or a code of RFC 5280, 0 to 6 and 8 to 10"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mix;

    #[test]
    fn profiles_are_names_and_default_means_no_profile() {
        let mix: Mix<Profile> = "shortlived=1,classic=3,default=0".parse().unwrap();
        assert_eq!(mix.to_string(), "shortlived=1,classic=3,default=0");
        let named: Vec<_> = mix.items().map(|profile| profile.name().map(str::to_owned)).collect();
        assert_eq!(named, [Some("shortlived".to_owned()), Some("classic".to_owned())]);
        assert_eq!(Profile::default().to_string().parse(), Ok(Profile::default()));
        for wrong in ["two words", "", &"x".repeat(65), "bell\u{7}"] {
            assert!(wrong.parse::<Profile>().unwrap_err().contains("is not a profile's name"), "{wrong:?}");
        }
    }

    #[test]
    fn reasons_are_those_of_rfc_5280() {
        let mix: Mix<RevocationReason> = "none=4,0,1,4,5".parse().unwrap();
        assert_eq!(mix.to_string(), "none=4,0=1,1=1,4=1,5=1");
        assert!(mix.items().eq(RevocationReason::USUAL));
        for wrong in ["7", "11", "256", "-1", "keyCompromise", ""] {
            assert!(
                wrong.parse::<RevocationReason>().unwrap_err().contains("0 to 6 and 8 to 10"),
                "{wrong:?}"
            );
        }
    }
}
