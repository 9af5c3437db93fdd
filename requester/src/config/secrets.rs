//! Secrets of a plan: references, and how they are resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An HMAC key for checks where the real one is not known: 32 zero bytes.
pub(super) const SOME_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Variable(String),
    /// `file:PATH`: the content of a file.
    File(PathBuf),
}

impl FromStr for SecretRef {
    type Err = String;

    /// The text is not repeated in the error: it may be a secret.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Variable(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => {
                Err("is not a reference to a secret: write env:NAME or file:PATH, never the secret itself"
                    .into())
            }
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Where secrets that a plan refers to are found.
#[derive(Clone, Debug, Default)]
pub enum Secrets {
    /// In the environment and files of this process.
    #[default]
    Here,
    /// Not in this process, which only checks the references.
    Elsewhere,
    /// In the environment and files of this process, but only these, for a plan that others have made.
    Allowed {
        /// The references that a session may use.
        references: Vec<SecretRef>,
        /// Variables beside those of the process.
        variables: BTreeMap<String, String>,
    },
}

impl Secrets {
    /// The secret behind a reference.
    ///
    /// # Errors
    /// When it is not allowed or not there. The message has the reference.
    pub(super) fn resolve(&self, reference: &SecretRef) -> Result<String, String> {
        match self {
            Self::Elsewhere => return Ok(SOME_KEY.to_owned()),
            Self::Allowed { references, .. } if !references.contains(reference) => {
                return Err(format!(
                    "{reference} is not a secret that this agent allows: give it --allow-secret {reference}"
                ));
            }
            Self::Allowed { .. } | Self::Here => {}
        }
        match reference {
            SecretRef::Variable(name) => {
                self.variable(name).ok_or_else(|| format!("the environment variable {name} is not set"))
            }
            SecretRef::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .map_err(|error| format!("cannot read {}: {error}", path.display())),
        }
    }

    /// The value of an environment variable, of the process or beside it.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let beside = match self {
            Self::Allowed { variables, .. } => variables.get(name).cloned(),
            Self::Here | Self::Elsewhere => None,
        };
        std::env::var(name).ok().or(beside)
    }
}
