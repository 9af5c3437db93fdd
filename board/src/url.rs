//! A board named in a setting.

use std::str::FromStr;

use crate::{Board, BoardError, EtcdOptions};

/// Which board: `local`, or `etcd://HOST:PORT[,HOST:PORT…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BoardUrl {
    /// In this process's memory.
    #[default]
    Local,
    /// In an etcd.
    Etcd(EtcdOptions),
}

impl BoardUrl {
    /// The board itself.
    ///
    /// # Errors
    /// When no etcd answers there.
    pub async fn open(self) -> Result<Board, BoardError> {
        match self {
            Self::Local => Ok(Board::local()),
            Self::Etcd(options) => Board::etcd(options).await,
        }
    }
}

impl FromStr for BoardUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let hosts = text
            .strip_prefix("etcd://")
            .map(|hosts| hosts.trim_end_matches('/'))
            .filter(|hosts| !hosts.is_empty() && !hosts.contains('/'))
            .ok_or_else(|| format!("{text:?} is no board: write local, or etcd://HOST:PORT"))?;
        Ok(Self::Etcd(EtcdOptions::new(hosts.split(',').map(|host| format!("http://{host}")))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_local_and_etcd_with_several_members() {
        assert_eq!("local".parse(), Ok(BoardUrl::Local));
        let expected = EtcdOptions::new(["http://a:2379", "http://b:2379"]);
        assert_eq!("etcd://a:2379,b:2379/".parse(), Ok(BoardUrl::Etcd(expected)));
    }

    #[test]
    fn anything_else_is_shown_with_what_is_allowed() {
        for text in ["", "etcd://", "http://a:2379", "etcd://a/b"] {
            let message = text.parse::<BoardUrl>().unwrap_err();
            assert!(
                message.contains(&format!("{text:?}")) && message.contains("etcd://HOST:PORT"),
                "{message}"
            );
        }
    }
}
