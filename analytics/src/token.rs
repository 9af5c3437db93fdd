//! `Token`: the secret for access to the page and the API.

use std::fmt;

/// A shared secret. It is never printed, and compared in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token; none if `secret` is empty.
    pub fn new(secret: impl Into<String>) -> Option<Self> {
        Some(Self(secret.into())).filter(|token| !token.0.is_empty())
    }

    /// The token in the characters allowed in a cookie.
    pub(crate) fn as_cookie(&self) -> String {
        hex::encode(&self.0)
    }

    /// Whether `offered` is this token. The time does not depend on where they differ; only the length can be
    /// measured.
    pub(crate) fn is(&self, offered: &str) -> bool {
        let differences =
            self.0.bytes().zip(offered.bytes()).fold(0, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
        differences == 0 && self.0.len() == offered.len()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_matches() {
        let token = Token::new("secret").expect("the token is not empty");
        for (offered, same) in
            [("secret", true), ("secre", false), ("secrets", false), ("Secret", false), ("", false)]
        {
            assert_eq!(token.is(offered), same, "{offered}");
        }
        assert!(Token::new("").is_none());
    }
}
