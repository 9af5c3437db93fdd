//! The URL of a board.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use wec_pki::{NotPlain, TlsFiles, TlsOptions};
use wec_startup::{redacted, say};

use crate::{Board, BoardError, EtcdOptions, EtcdTls, EtcdUser, FileOptions};

/// How long a process waits at its start for a board that cannot be reached. An agent waits without a limit, because it
/// has nothing else to do and its machine may be the first to start.
pub const BOARD_WITHIN: Duration = Duration::from_secs(30);
/// Pause between attempts.
const AGAIN: Duration = Duration::from_millis(500);

/// Repeats a step of a process's start while the board cannot be reached, and prints the first reason to wait.
///
/// # Errors
/// The step's own, and the last reason after waiting so long.
pub async fn wait_for_board<T>(
    wait: Duration,
    step: impl AsyncFn() -> Result<T, BoardError>,
) -> Result<T, BoardError> {
    when_reachable(wait, |error| say(format_args!("waiting for the board: {error}")), step).await
}

/// The same; `report` gets the first reason to wait.
///
/// # Errors
/// The step's own, and the last reason after waiting so long.
async fn when_reachable<T>(
    wait: Duration,
    report: impl FnOnce(&BoardError),
    step: impl AsyncFn() -> Result<T, BoardError>,
) -> Result<T, BoardError> {
    let (began, mut report) = (Instant::now(), Some(report));
    loop {
        let result = step().await;
        let passes = match &result {
            Err(BoardError::Unreachable { .. } | BoardError::Lost { .. }) => true,
            // Ids are of one process: an earlier attempt was made although its answer was lost.
            Err(BoardError::NodeTaken(_)) => report.is_none(),
            _ => false,
        };
        let Some(error) = result.as_ref().err().filter(|_| passes && began.elapsed() < wait) else {
            return result;
        };
        if let Some(report) = report.take() {
            report(error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Which board: `local`, `sqlite://PATH`, or `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]`, with `etcds`
/// for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BoardUrl {
    /// In this process's memory.
    #[default]
    Local,
    /// In a file, shared by all processes of this machine.
    File(FileOptions),
    /// In an etcd.
    Etcd(EtcdOptions),
}

impl BoardUrl {
    /// Opens the board.
    ///
    /// # Errors
    /// When the file cannot be opened, or no etcd answers.
    pub async fn open(self) -> Result<Board, BoardError> {
        match self {
            Self::Local => Ok(Board::local()),
            Self::File(options) => Board::file(options).await,
            Self::Etcd(options) => Board::etcd(options).await,
        }
    }
}

impl BoardUrl {
    /// Opens the board at the start of a process that may be started before etcd, or while it is restarted: waits until it
    /// can be reached, and prints that it waits.
    ///
    /// # Errors
    /// As [`open`](Self::open), and the last reason after waiting so long.
    pub async fn open_at_start(self, wait: Duration) -> Result<Board, BoardError> {
        wait_for_board(wait, async || self.clone().open().await).await
    }

    /// The same; `report` gets the first reason to wait.
    ///
    /// # Errors
    /// As [`open_at_start`](Self::open_at_start).
    pub async fn open_within(
        self,
        wait: Duration,
        report: impl FnOnce(&BoardError),
    ) -> Result<Board, BoardError> {
        when_reachable(wait, report, async || self.clone().open().await).await
    }

    /// The same, with a process's files for TLS where the URL names none.
    ///
    /// # Errors
    /// When it is an etcd beyond loopback without TLS.
    pub fn secured(mut self, tls: &TlsOptions) -> Result<Self, NotPlain> {
        if let Self::Etcd(options) = &mut self {
            for endpoint in &options.endpoints {
                tls.check_server("the board", &endpoint.replacen("http://", "etcd://", 1))?;
            }
            if let Some(TlsFiles { ca, client }) = tls.files().filter(|_| options.tls == EtcdTls::default()) {
                options.tls = EtcdTls { ca: Some(ca), client };
            }
        }
        Ok(self)
    }

    /// Parses as [`FromStr`] does, for the parsers of flags.
    ///
    /// # Errors
    /// What is wrong, without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for BoardUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "local" {
            return Ok(Self::Local);
        }
        if let Some(path) =
            text.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains('?'))
        {
            return Ok(Self::File(FileOptions::new(path)));
        }
        let wrong = |why: &str| format!("{:?} {why}", redacted(text));
        etcd(text).map(Self::Etcd).map_err(|why| wrong(&why))
    }
}

/// `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]`, or `etcds://…[?cacert=FILE&client-cert=FILE&client-key=FILE]`.
fn etcd(text: &str) -> Result<EtcdOptions, String> {
    let none = || "is not a board: write local, sqlite://PATH, or etcd://HOST:PORT".to_owned();
    let (scheme, rest) = match (text.strip_prefix("etcds://"), text.strip_prefix("etcd://")) {
        (Some(rest), _) => ("https", rest),
        (_, Some(rest)) => ("http", rest),
        _ => return Err(none()),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, hosts) = rest.rsplit_once('@').map_or((None, rest), |(user, hosts)| (Some(user), hosts));
    let hosts = hosts.trim_end_matches('/');
    if hosts.is_empty() || hosts.contains('/') {
        return Err(none());
    }
    let mut options = EtcdOptions::new(hosts.split(',').map(|host| format!("{scheme}://{host}")));
    options.user = user.map(self::user).transpose()?;
    let (leases, files): (Vec<_>, Vec<_>) =
        query.split('&').filter(|part| !part.is_empty()).partition(|part| part.starts_with("lease="));
    if let Some(text) = leases.last() {
        options.lease = lease(text)?;
    }
    if scheme == "http" && !files.is_empty() {
        return Err("has files for TLS: begin it with etcds://".to_owned());
    }
    options.tls = tls(&files)?;
    Ok(options)
}

/// `lease=SECONDS`: etcd's own minimum is 2 s, and it counts whole seconds.
fn lease(text: &str) -> Result<Duration, String> {
    let seconds = text.trim_start_matches("lease=").trim_end_matches('s').parse().ok();
    let seconds = seconds.filter(|seconds| (2..=600).contains(seconds));
    let wrong = "has a lease that is not a whole number of seconds from 2 to 600, as in ?lease=10";
    seconds.map(Duration::from_secs).ok_or_else(|| wrong.to_owned())
}

fn user(text: &str) -> Result<EtcdUser, String> {
    let (name, password) =
        text.split_once(':').ok_or("has a user without a password: write USER:PASSWORD@")?;
    if name.is_empty() || text.contains(['@', '/']) {
        return Err(
            "has one user before all hosts, percent-encoded: write USER:PASSWORD@HOST:PORT".to_owned()
        );
    }
    Ok(EtcdUser { name: decoded(name)?, password: decoded(password)? })
}

fn tls(files: &[&str]) -> Result<EtcdTls, String> {
    let (mut ca, mut certificate, mut key) = (None, None, None);
    for part in files {
        let (name, file) = part.split_once('=').unwrap_or((part, ""));
        let place = match name {
            "cacert" => &mut ca,
            "client-cert" => &mut certificate,
            "client-key" => &mut key,
            _ => {
                return Err(
                    "has an unknown setting: expected cacert, client-cert, client-key or lease".to_owned()
                );
            }
        };
        if file.is_empty() || place.replace(PathBuf::from(decoded(file)?)).is_some() {
            return Err("needs one file for each of cacert, client-cert and client-key".to_owned());
        }
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("needs client-cert and client-key together".to_owned()),
    };
    Ok(EtcdTls { ca, client })
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| "is not UTF-8 after decoding".to_owned())?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_local_and_etcd_with_several_members() {
        assert_eq!("local".parse(), Ok(BoardUrl::Local));
        let expected = EtcdOptions::new(["http://a:2379", "http://b:2379"]);
        assert_eq!("etcd://a:2379,b:2379/".parse(), Ok(BoardUrl::Etcd(expected.clone())));
        let lease = Duration::from_secs(5);
        let expected = BoardUrl::Etcd(EtcdOptions { lease, ..expected });
        assert_eq!("etcd://a:2379,b:2379?lease=5s".parse(), Ok(expected.clone()));
        assert_eq!("etcd://a:2379,b:2379?lease=5".parse(), Ok(expected));
    }

    #[test]
    fn reads_a_file() {
        for (text, path) in
            [("sqlite://board.db", "board.db"), ("sqlite:///var/lib/wec/b.db", "/var/lib/wec/b.db")]
        {
            assert_eq!(text.parse(), Ok(BoardUrl::File(FileOptions::new(path))));
        }
    }

    #[test]
    fn the_url_for_other_processes_has_no_password_and_names_the_same_board() {
        for (text, shown) in [
            ("etcd://a:2379,b:2379/", "etcd://a:2379,b:2379"),
            ("etcds://wec:s3cret@a:2379?cacert=ca.pem", "etcds://wec:PASSWORD@a:2379"),
            ("sqlite:///var/lib/wec/b.db", "sqlite:///var/lib/wec/b.db"),
        ] {
            let url = match text.parse::<BoardUrl>().unwrap() {
                BoardUrl::Etcd(options) => options.url(),
                BoardUrl::File(options) => options.url(),
                BoardUrl::Local => unreachable!("no case is local"),
            };
            assert_eq!(url, shown);
            url.parse::<BoardUrl>().unwrap();
        }
        assert!(FileOptions::new("b.db").url().starts_with("sqlite:///"));
    }

    #[test]
    fn no_message_shows_a_password() {
        let wrong = "etcd://wec:s3cret@a:2379/x".parse::<BoardUrl>().unwrap_err();
        assert!(wrong.contains("etcd://wec:***@a:2379/x") && !wrong.contains("s3cret"), "{wrong}");
        let board = "etcd://wec:s3cret@a:2379,b:2379".parse::<BoardUrl>().unwrap();
        let shown = format!("{board:?}");
        assert!(shown.contains("wec:***") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn reads_a_user_and_files_for_tls() {
        let board = "etcds://wec:p%40ss:1@a:2379,b:2379?cacert=ca.pem&client-cert=c%26c.pem&client-key=k.pem";
        let user = Some(EtcdUser { name: "wec".into(), password: "p@ss:1".into() });
        let tls = EtcdTls { ca: Some("ca.pem".into()), client: Some(("c&c.pem".into(), "k.pem".into())) };
        let expected = EtcdOptions { user, tls, ..EtcdOptions::new(["https://a:2379", "https://b:2379"]) };
        assert_eq!(board.parse(), Ok(BoardUrl::Etcd(expected)));
        for (text, why) in [
            ("etcd://a:1?cacert=x", "begin it with etcds://"),
            ("etcds://a:1?ca=x", "cacert, client-cert, client-key or lease"),
            ("etcd://a:1?lease=1", "from 2 to 600"),
            ("etcd://a:1?lease=10m", "from 2 to 600"),
            ("etcds://a:1?cacert=", "one file for each"),
            ("etcds://a:1?client-key=x", "together"),
            ("etcds://wec@a:1", "without a password"),
            ("etcd://u:s3cret@a:1,v:s3cret@b:1", "one user before all hosts"),
            ("etcd://u:%ff@a:1", "not UTF-8"),
        ] {
            let message = text.parse::<BoardUrl>().unwrap_err();
            assert!(message.contains(why) && !message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn another_url_is_refused_with_the_allowed_forms() {
        for text in
            ["", "sqlite://", "sqlite://x?mode=ro", "etcd://", "etcds://", "http://a:2379", "etcd://a/b"]
        {
            let message = text.parse::<BoardUrl>().unwrap_err();
            assert!(
                message.contains(&format!("{text:?}")) && message.contains("etcd://HOST:PORT"),
                "{message}"
            );
        }
    }
}
