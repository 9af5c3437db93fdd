//! `Token`: the secret for access to a listener.

use std::fmt;
use std::path::Path;

use crate::is_plain_name;

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
            .ok_or_else(|| "an empty token refuses every request: leave it out or set one".to_owned())
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

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See everything, change nothing.
    Look,
    /// Also change sessions and send results.
    Steer,
}

/// A token with the name and the right of its holder.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The name; empty for the token of `WEC_TOKEN`.
    pub name: String,
    /// The right.
    pub right: Right,
    /// The token.
    pub token: Token,
}

/// Who has access to a listener.
#[derive(Clone, Debug, Default)]
pub struct Access(Vec<Holder>);

impl Access {
    /// The holder of one token without a name, who may do everything, and those of a file.
    pub fn new(token: Option<Token>, holders: Vec<Holder>) -> Self {
        let one = token.map(|token| Holder { name: String::new(), right: Right::Steer, token });
        Self(one.into_iter().chain(holders).collect())
    }

    /// Whether no token is needed.
    pub const fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The holder of a token that `offers`. All tokens are compared, so that the time does not depend on which it is.
    pub fn holder(&self, offers: impl Fn(&Token) -> bool) -> Option<&Holder> {
        self.0.iter().fold(None, |found, holder| if offers(&holder.token) { Some(holder) } else { found })
    }

    /// Reads a file of lines `NAME:RIGHT:SECRET`; RIGHT is `look` or `steer`. Empty lines and those that begin with
    /// `#` are ignored.
    ///
    /// # Errors
    /// When it cannot be read or has a wrong line. No secret is repeated.
    pub fn read(file: &Path) -> Result<Vec<Holder>, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read the tokens in {shown}: {error}"))?;
        let lines = text.lines().zip(1..).filter(|(line, _)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let mut holders: Vec<Holder> = Vec::new();
        for (line, number) in lines {
            let wrong = |why: &str| {
                format!("{shown}, line {number}: {why}: write NAME:look:SECRET or NAME:steer:SECRET")
            };
            let mut parts = line.trim().splitn(3, ':');
            let (Some(name), Some(right), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(wrong("it does not have three parts"));
            };
            if !is_plain_name(name, 64) {
                return Err(wrong("the name is not made of letters, digits, and any of -_.@+"));
            }
            let right = match right {
                "look" => Right::Look,
                "steer" => Right::Steer,
                _ => return Err(wrong("the right is neither look nor steer")),
            };
            let token = Token::new(secret).ok_or_else(|| wrong("the secret is empty"))?;
            if holders.iter().any(|other| other.name == name || other.token.is(secret)) {
                return Err(wrong("its name or its secret is in an earlier line"));
            }
            holders.push(Holder { name: name.to_owned(), right, token });
        }
        if holders.is_empty() {
            return Err(format!("{shown} has no tokens: write lines NAME:look:SECRET or NAME:steer:SECRET"));
        }
        Ok(holders)
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

    #[test]
    fn a_file_gives_each_secret_a_name_and_a_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Access::read(&file)
        };
        let holders = read("# people\n\nwile:steer:acme:rocket\n road-runner:look:meep \n").unwrap();
        let access = Access::new(Token::new("one"), holders);
        let of = |secret: &str| {
            access.holder(|token| token.is(secret)).map(|found| (found.name.as_str(), found.right))
        };
        assert_eq!(of("acme:rocket"), Some(("wile", Right::Steer)));
        assert_eq!(of("meep"), Some(("road-runner", Right::Look)));
        assert_eq!(of("one"), Some(("", Right::Steer)));
        assert_eq!(of("acme"), None);
        assert!(!access.is_open() && Access::default().is_open());
        for (text, why) in [
            ("", "has no tokens"),
            ("wile:s3cret", "line 1: it does not have three parts"),
            ("# a\nwile:own:s3cret", "line 2: the right is neither"),
            ("wile coyote:look:s3cret", "the name is not made of"),
            ("wile:look:", "the secret is empty"),
            ("a:look:s3cret\nb:look:s3cret", "line 2: its name or its secret"),
            ("a:look:s3cret\na:look:other", "line 2: its name or its secret"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        }
        assert!(Access::read(&folder.path().join("none")).unwrap_err().contains("cannot read the tokens"));
    }
}
