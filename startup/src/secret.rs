//! URLs without their passwords, for messages, hints, logs and the log's header.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// `address` with `***` for its password, even if it does not parse. The user's name stays, because it shows which
/// login failed.
///
/// Handles `scheme://user:password@host`, `scheme://:password@host`, several of either with commas between them, and
/// `password=` and `token=` in a query.
pub fn redacted(address: &str) -> String {
    let mut shown = address.to_owned();
    for key in ["password=", "passwd=", "token=", "secret="] {
        shown = without_value(&shown, key);
    }
    let Some((scheme, rest)) = shown.split_once("://") else {
        // Mistyped; anything before an '@' may be a password.
        return match (shown.find(':'), shown.rfind('@')) {
            (Some(colon), Some(at)) if colon < at => format!("{}:***{}", &shown[..colon], &shown[at..]),
            _ => shown,
        };
    };
    // The last '@' of the authority: a password may contain an unescaped one.
    let authority =
        rest.find(['/', '?', '#']).filter(|end| rest[*end..].find('@').is_none()).unwrap_or(rest.len());
    let Some(at) = rest[..authority].rfind('@') else { return shown };
    let user = rest[..at].split(':').next().unwrap_or_default();
    let password = if rest[..at].contains(':') { ":***" } else { "" };
    format!("{scheme}://{user}{password}{}", &rest[at..])
}

/// Parses `http://HOST[:PORT]` of one of our services, or `https://`.
///
/// # Errors
/// What is wrong with it, without anything that may be a password.
pub fn parse_service(address: &str) -> Result<String, String> {
    let address = address.trim();
    let wrong = |why: &str| {
        format!("{:?} {why}: write http://HOST:PORT, as in http://127.0.0.1:8090", redacted(address))
    };
    let scheme = ["http://", "https://"].into_iter().find(|scheme| address.starts_with(scheme));
    let Some(scheme) = scheme else { return Err(wrong("does not begin with http:// or https://")) };
    let authority = &address[scheme.len()..];
    let authority = authority.trim_end_matches('/');
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '\\')) {
        return Err(wrong("has more than a host and a port"));
    }
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address.
        Some((_, rest)) if rest.contains(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    if name.is_empty() || (name.contains(':') && !name.starts_with('[')) {
        return Err(wrong("has no host"));
    }
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err(wrong("has a port outside 1 to 65535"));
    }
    Ok(format!("{scheme}{authority}"))
}

/// Parses the value of a flag that may contain a password: clap would repeat a wrong value.
#[derive(Clone)]
pub struct Undisclosed<T>(pub fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Undisclosed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let text = value.to_str().ok_or_else(|| "is not UTF-8".to_owned());
        text.and_then(self.0).map_err(|why| {
            let flag = argument.and_then(clap::Arg::get_long).unwrap_or("value");
            let message = format!("--{flag}: {why}\n");
            let mut error = clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command);
            // Says which argument it is about; the text is the message alone.
            if let Some(argument) = argument {
                error.insert(ContextKind::InvalidArg, ContextValue::String(argument.to_string()));
            }
            error
        })
    }
}

fn without_value(address: &str, key: &str) -> String {
    let Some((before, after)) = address.split_once(key) else { return address.to_owned() };
    let end = after.find(['&', '#', ' ']).unwrap_or(after.len());
    format!("{before}{key}***{}", &after[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_service_is_a_host_and_a_port() {
        for address in
            ["http://127.0.0.1:8090", "https://a:1", "http://[::1]:8090", "http://analytics", "http://[::1]"]
        {
            assert_eq!(parse_service(address), Ok(address.to_owned()));
        }
        assert_eq!(parse_service(" http://a:1/ "), Ok("http://a:1".to_owned()));
        for (address, why) in [
            ("", "does not begin"),
            ("127.0.0.1:8090", "does not begin"),
            ("ftp://a:1", "does not begin"),
            ("http://", "has no host"),
            ("http://:8090", "has no host"),
            ("http://::1:8090", "has no host"),
            ("http://a:none", "port"),
            ("http://a:0", "port"),
            ("http://a:65536", "port"),
            ("http://a:1/path", "more than"),
            ("http://a b", "more than"),
            ("http://u:s3cret@a:none", "port"),
        ] {
            let mistake = parse_service(address).unwrap_err();
            assert!(mistake.contains(why) && mistake.contains("http://HOST:PORT"), "{address}: {mistake}");
            assert!(!mistake.contains("s3cret"), "{mistake}");
        }
    }

    #[test]
    fn a_wrong_value_that_may_hold_a_password_is_not_repeated() {
        let parser = Undisclosed::<String>(|text| Err(format!("{:?} is none", redacted(text))));
        let command =
            clap::Command::new("wec").arg(clap::Arg::new("board").long("board").value_parser(parser));
        let error = command.try_get_matches_from(["wec", "--board", "etcd://u:s3cret@h/x"]).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains("--board: \"etcd://u:***@h/x\" is none") && !shown.contains("s3cret"),
            "{shown}"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn shows_addresses_without_their_passwords() {
        for (address, shown) in [
            ("postgres://wec:s3cret@db/wec", "postgres://wec:***@db/wec"),
            ("postgres://wec:s3c@ret@db/wec", "postgres://wec:***@db/wec"),
            ("postgres://wec:s3/cret@db/wec", "postgres://wec:***@db/wec"),
            ("postgres://wec@db/wec", "postgres://wec@db/wec"),
            (
                "postgres://db/wec?user=u&password=s3cret&sslmode=disable",
                "postgres://db/wec?user=u&password=***&sslmode=disable",
            ),
            ("redis://:s3cret@cache:6379/0", "redis://:***@cache:6379/0"),
            ("etcd://u:s3cret@a:2379,b:2379", "etcd://u:***@a:2379,b:2379"),
            ("etcd://u:s3cret@a:2379,v:s3cret@b:2379", "etcd://u:***@b:2379"),
            ("http://wec:s3cret@analytics:8090", "http://wec:***@analytics:8090"),
            ("http://analytics:8090/?token=s3cret#top", "http://analytics:8090/?token=***#top"),
            ("challtestsrv+http://127.0.0.1:8055", "challtestsrv+http://127.0.0.1:8055"),
            ("sqlite://state.db", "sqlite://state.db"),
            ("etcd//wec:s3cret@a:2379", "etcd//wec:***@a:2379"),
            ("redis:/:s3cret@cache", "redis:***@cache"),
            ("wec:s3cret@db", "wec:***@db"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(redacted(address), shown);
        }
    }
}
