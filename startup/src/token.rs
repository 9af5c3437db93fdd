//! `Token`: the secret for access to a listener.

use std::fmt;

/// A shared secret. It is never printed, and compared in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token; none if `secret` is empty.
    pub fn new(secret: impl Into<String>) -> Option<Self> {
        Some(Self(secret.into())).filter(|token| !token.0.is_empty())
    }

    /// Parses the value of a flag.
    ///
    /// # Errors
    /// If it is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::new(text)
            .ok_or_else(|| "an empty token would refuse everybody: leave it out or set one".to_owned())
    }

    /// The token in the characters allowed in a cookie.
    pub fn as_cookie(&self) -> String {
        hex::encode(&self.0)
    }

    /// The value of an `Authorization` header with this token.
    pub fn as_bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the value of an `Authorization` header has this token.
    pub fn is_bearer(&self, header: &str) -> bool {
        let offered = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        offered.is_some_and(|(_, offered)| self.is(offered.trim()))
    }

    /// Whether `offered` is this token. The time does not depend on where they differ; only the length can be
    /// measured.
    pub fn is(&self, offered: &str) -> bool {
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
