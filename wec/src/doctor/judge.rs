//! What is found about a CA, as findings. Pure: the measurements are passed in.

use std::net::{IpAddr, SocketAddr};

use wec_acme::{Directory, DiscoverError, Failure, FailureClass, Meta};
use wec_record::{ChallengeType, Listener, ValidationHit, Verdict};
use wec_requester::guard::Refused;
use wec_requester::{KnownServer, StartError};

use super::finding::{Check, Finding};

/// A difference of clocks that a Date header, in whole seconds, and a slow answer can explain, seconds.
const SAME_TIME: i64 = 2;
/// Names of profiles shown.
const MOST_PROFILES: usize = 20;

/// Why there is no client of the CA. What was right before that is found, too.
pub(super) fn not_started(error: &StartError, cacert: Option<&str>) -> Vec<Finding> {
    match error {
        StartError::Refused(refused) => vec![refusal(refused)],
        StartError::Ca(error) => not_discovered(error, cacert),
        StartError::WrongRoot { failure, .. } => not_trusted(failure, cacert),
        StartError::File { path, error } => vec![Finding::problem(
            Check::Trusted,
            format!("{path} cannot be read: {error}"),
            "name the PEM file with the root of the CA's server certificate: --cacert FILE",
        )],
        other => vec![Finding::problem(Check::Reachable, other.to_string(), "fix this, and check again")],
    }
}

fn refusal(refused: &Refused) -> Finding {
    match refused {
        Refused::NotHttp { url } => Finding::problem(
            Check::Target,
            format!("{url:?} is not an http or https URL with a host"),
            "give the CA's directory, as in https://ca.test:14000/dir",
        ),
        Refused::PublicCa { host, ca } => Finding::problem(
            Check::Target,
            format!("{host} belongs to {ca}, a public CA: it is not contacted"),
            format!(
                "if the CA agreed to a test, give --allow-host {host} and --authorised-by with the person who agreed"
            ),
        ),
        Refused::PublicAddress { host, address } => Finding::problem(
            Check::Target,
            format!("{host} has the address {address}, neither loopback nor private: it is not contacted"),
            format!("if you may test this machine, give --allow-host {host}"),
        ),
        Refused::NoAddress { host, reason } => Finding::problem(
            Check::Reachable,
            format!("{host} has no address: {reason}"),
            format!(
                "check the name in the URL; without DNS, --connect-to {host}:PORT:ADDRESS:PORT names the server's address"
            ),
        ),
    }
}

fn not_discovered(error: &DiscoverError, cacert: Option<&str>) -> Vec<Finding> {
    let answers = || Finding::ok(Check::Reachable, "the server answers");
    let one = |check, found: String, way_out: &str| vec![Finding::problem(check, found, way_out)];
    let tls =
        |found: String, way_out: &str| vec![answers(), Finding::problem(Check::Trusted, found, way_out)];
    match error {
        DiscoverError::Url { url, why } => one(
            Check::Reachable,
            format!("{url} cannot be a CA's directory: {why}"),
            "give the CA's directory, as in https://ca.test:14000/dir",
        ),
        DiscoverError::Setting(why) => {
            one(Check::Trusted, why.clone(), "give the root of the CA's server certificate: --cacert FILE")
        }
        DiscoverError::Refused { url, key, why, .. } => one(
            Check::Target,
            format!("the directory names {url} as its {}: {why}", key.unwrap_or("URL")),
            "configure the CA's own URL at the CA, or allow the host",
        ),
        DiscoverError::Unreachable(failure) => {
            one(Check::Reachable, failure.message.clone(), unreachable(failure))
        }
        DiscoverError::Untrusted(failure) => not_trusted(failure, cacert),
        DiscoverError::NotValidNow(failure) => tls(
            failure.message.clone(),
            "renew the certificate of the CA's server, or set the clock that is wrong; --insecure true accepts any",
        ),
        DiscoverError::OtherName(failure) => tls(
            failure.message.clone(),
            "name the server in the URL as its certificate does; --connect-to gives it another address",
        ),
        DiscoverError::ClientCertificate { wants, why } => tls(
            format!("the server {wants}: {why}"),
            "give the certificate that it accepts: --client-cert FILE --client-key FILE",
        ),
        DiscoverError::NoHttp2 { why, .. } => {
            vec![answers(), Finding::problem(Check::Acme, format!("no HTTP/2: {why}"), "give --http 1.1")]
        }
        DiscoverError::SpeaksTls(url) => one(
            Check::Reachable,
            format!("{url} cannot be read: the server seems to use TLS there"),
            "write https://",
        ),
        DiscoverError::NotAcme { why, .. } => vec![
            answers(),
            Finding::problem(
                Check::Acme,
                format!("this is not an ACME directory: {why}"),
                "check the URL's path: it often ends in /directory or /dir",
            ),
        ],
    }
}

const fn unreachable(failure: &Failure) -> &'static str {
    match failure.kind {
        FailureClass::Timeout => {
            "nothing answers there in time: check the address, and firewalls between this machine and the CA"
        }
        FailureClass::Local => "this machine refused: see the limits below",
        _ => "start the CA, or check host and port of the URL",
    }
}

fn not_trusted(failure: &Failure, cacert: Option<&str>) -> Vec<Finding> {
    let way_out = match cacert {
        // The advice to give --cacert was followed.
        Some(file) => format!(
            "{file} does not have the root that signed the server's own certificate, which often differs from the root \
             of what the CA issues: openssl s_client -connect HOST:PORT -showcerts shows who signed it"
        ),
        None => {
            "give the root that signed the server's own certificate with --cacert FILE, or --insecure true"
                .to_owned()
        }
    };
    let answers = Finding::ok(Check::Reachable, "the server answers");
    vec![answers, Finding::problem(Check::Trusted, failure.message.clone(), way_out)]
}

/// How the server's certificate was checked.
pub(super) fn trusted(scheme: &str, insecure: bool, cacert: Option<&str>) -> Finding {
    let check = Check::Trusted;
    match (scheme, cacert) {
        ("http", _) => Finding::warning(
            check,
            "http without TLS",
            "a load without TLS handshakes is another load: use the CA's https URL if it has one",
        ),
        _ if insecure => Finding::warning(
            check,
            "any certificate is accepted (--insecure)",
            "give the root that signed the server's own certificate with --cacert FILE",
        ),
        (_, Some(file)) => Finding::ok(check, format!("its certificate is trusted by {file}")),
        (_, None) => Finding::ok(check, "its certificate is trusted by the system's roots"),
    }
}

/// Whether a load with so many workers is known to break the server.
pub(super) fn server(known: Option<KnownServer>, workers: u64) -> Finding {
    let check = Check::Server;
    match known {
        None => Finding::ok(check, "no limit is known"),
        Some(KnownServer { name, most_workers, .. }) if workers <= most_workers => {
            Finding::ok(check, format!("{name}, at most {most_workers} workers"))
        }
        Some(KnownServer { name, most_workers, why }) => Finding::warning(
            check,
            format!("{name}, for {workers} workers: {why}"),
            format!("give --workers {most_workers}"),
        ),
    }
}

/// The directory's resources, and what a missing one excludes.
pub(super) fn resources(directory: &Directory) -> Finding {
    let present: Vec<_> = directory.resources().map(|(name, _)| name).collect();
    let missing: Vec<_> =
        ["newAuthz", "keyChange", "renewalInfo"].into_iter().filter(|name| !present.contains(name)).collect();
    let without = match missing.as_slice() {
        [] => String::new(),
        missing => format!("; without {}, which few loads need", missing.join(", ")),
    };
    Finding::ok(Check::Acme, format!("an ACME directory with {}{without}", present.join(", ")))
}

/// The profiles that the CA offers, beside those that the plan orders.
pub(super) fn profiles(meta: &Meta) -> Finding {
    let names: Vec<_> = meta.profiles.keys().map(|name| wec_text::visible(name).into_owned()).collect();
    let more = if names.len() > MOST_PROFILES { ", …" } else { "" };
    let shown: Vec<_> = names.iter().take(MOST_PROFILES).map(String::as_str).collect();
    Finding::ok(
        Check::Profiles,
        match shown.as_slice() {
            [] => "none are offered".to_owned(),
            shown => format!("{}{more} (--profile)", shown.join(", ")),
        },
    )
}

/// Whether a registration needs an external account, and has one.
pub(super) fn external_account(required: bool, given: bool) -> Finding {
    let check = Check::ExternalAccount;
    match (required, given) {
        (true, false) => Finding::problem(
            check,
            "the CA registers accounts only with an external account binding",
            "give --eab-kid and, in the environment, WEC_EAB_HMAC_KEY",
        ),
        (true, true) => Finding::ok(check, "required, and given"),
        (false, true) => Finding::ok(check, "not required, but given"),
        (false, false) => Finding::ok(check, "not required"),
    }
}

/// The difference of clocks: seconds that the CA's is ahead; none if it does not show its time.
pub(super) fn clock(ahead: Option<i64>) -> Finding {
    let check = Check::Clock;
    match ahead {
        None => Finding::ok(check, "not known: the CA's answers have no Date"),
        Some(ahead) if ahead.abs() <= SAME_TIME => Finding::ok(check, "the same time, to two seconds"),
        Some(ahead) => Finding::warning(
            check,
            format!(
                "the CA's clock is {} s {} this machine's",
                ahead.unsigned_abs(),
                if ahead > 0 { "ahead of" } else { "behind" }
            ),
            "set the clock that is wrong (NTP): the CA's log cannot be compared with the run's, and certificates may \
             seem not valid yet",
        ),
    }
}

/// What a failed registration needs.
pub(super) fn no_account(failure: &Failure) -> Finding {
    let problem = |name: &str| failure.problem.as_ref().is_some_and(|problem| problem.is(name));
    let way_out = if problem("externalAccountRequired") {
        "give --eab-kid and, in the environment, WEC_EAB_HMAC_KEY"
    } else if problem("invalidContact")
        || problem("unsupportedContact")
        || failure.message.contains("contact")
    {
        "give accounts a contact that the CA accepts: --contact mailto:NAME@DOMAIN"
    } else if failure.message.contains("binding") {
        "check the external account: --eab-kid, and its key in WEC_EAB_HMAC_KEY"
    } else if problem("rateLimited") {
        "raise the CA's limit on new accounts for this test"
    } else if failure.kind == FailureClass::Timeout {
        "the CA answered its directory and not a signed request: look into its log, or restart it"
    } else {
        "look into the CA's log: it refused the first request of every load"
    };
    Finding::problem(Check::Account, failure.message.clone(), way_out)
}

/// What was seen of one validation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The challenge.
    pub(super) kind: ChallengeType,
    /// The challenge server's address for it; none if it is another process.
    pub(super) listener: Option<SocketAddr>,
    /// The CA's address.
    pub(super) ca: Option<IpAddr>,
    /// The requests that arrived for the name, of all types.
    pub(super) hits: &'a [ValidationHit],
    /// Why it is not valid; none if it is.
    pub(super) failure: Option<&'a Failure>,
}

/// Whether the CA can reach the challenge server.
pub(super) fn validation(seen: Seen<'_>) -> Finding {
    let Seen { kind, listener, ca, hits, failure } = seen;
    let check = check_of(kind);
    let of_kind: Vec<_> = hits.iter().filter(|hit| hit.challenge == kind).collect();
    let Some(failure) = failure else {
        return match (listener, of_kind.as_slice()) {
            (None, _) => Finding::ok(check, "valid; the challenge server is another process"),
            (Some(listener), []) => Finding::warning(
                check,
                format!("valid, but no request reached {listener}"),
                "the CA accepts challenges without validation, or another challenge server answered: then a run does not measure \
                 validation",
            ),
            (Some(listener), asked) => Finding::ok(
                check,
                format!("valid: {listener} was asked {} by {}", times(asked.len()), sources(asked)),
            ),
        };
    };
    let Some(listener) = listener else {
        return Finding::problem(
            check,
            failure.message.clone(),
            "check that the CA reaches the challenge server that --challenges feeds",
        );
    };
    let answered = of_kind.iter().any(|hit| hit.verdict == Verdict::Answered);
    let (found, way_out) = if answered {
        (
            format!("{listener} answered {}, and the CA did not accept it", sources(&of_kind)),
            "see the CA's reason; a proxy between them may have changed the answer".to_owned(),
        )
    } else if !of_kind.is_empty() {
        (
            format!("{listener} was asked by {}, but not for this challenge", sources(&of_kind)),
            "see the steps: name, path or protocol of the request were not those of the challenge".to_owned(),
        )
    } else {
        let resolved = hits.iter().any(|hit| hit.challenge == ChallengeType::Dns01);
        let dns = if resolved { ", although its resolver asked this DNS listener for the name" } else { "" };
        (format!("no request reached {listener}{dns}"), not_reached(kind, listener, ca))
    };
    Finding::problem(check, format!("{found}: {}", failure.message), way_out)
}

/// The way from the CA to a listener that it did not reach.
fn not_reached(kind: ChallengeType, listener: SocketAddr, ca: Option<IpAddr>) -> String {
    let (flag, port) = match kind.listener() {
        Listener::Http => ("--http01-listen", "port 80, Pebble to its httpPort 5002"),
        Listener::Tls => ("--tlsalpn01-listen", "port 443, Pebble to its tlsPort 5001"),
        Listener::Dns => {
            return format!(
                "the CA's resolver must send queries for the name to {listener} (Pebble: -dnsserver {listener}; --dns-listen \
                 gives another address)"
            );
        }
    };
    if listener.ip().is_loopback() && ca.is_some_and(|ca| !ca.is_loopback()) {
        return format!(
            "{listener} is loopback, which the CA on another machine cannot reach: {flag} 0.0.0.0:{}",
            listener.port()
        );
    }
    format!(
        "the CA connects to the name's address at {port}: let its resolver answer the name with this machine's address \
         (--dns-listen serves such a resolver), and listen on that port with {flag}"
    )
}

/// The challenges that the CA offers, and those of them that this plan answers.
pub(super) fn challenges(offered: &[&str], enabled: &[&str]) -> Finding {
    let both: Vec<_> = enabled.iter().filter(|kind| offered.contains(kind)).copied().collect();
    let offers = format!("the CA offers {}", offered.join(", "));
    match both.as_slice() {
        [] => Finding::problem(
            Check::Challenges,
            format!("{offers}, of which none is answered here ({})", enabled.join(", ")),
            "open a listener for one of them: --http01-listen, --tlsalpn01-listen, --dns-listen",
        ),
        both => Finding::ok(Check::Challenges, format!("{offers}; answered here: {}", both.join(", "))),
    }
}

pub(super) const fn check_of(kind: ChallengeType) -> Check {
    match kind.listener() {
        Listener::Http => Check::Http01,
        Listener::Tls => Check::TlsAlpn01,
        Listener::Dns => Check::Dns01,
    }
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

/// The addresses that asked, without ports.
fn sources(hits: &[&ValidationHit]) -> String {
    let mut all: Vec<_> =
        hits.iter().map(|hit| hit.source.rsplit_once(':').map_or("", |(ip, _)| ip)).collect();
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn failure(kind: FailureClass, message: &str) -> Failure {
        Failure::new(kind, message)
    }

    #[test]
    fn what_prevents_the_start_is_found_at_its_place() {
        let https = "https://ca.test/dir".to_owned();
        let other = "TLS handshake failed: the server's certificate was issued by \"CN=Other\", which is neither a trusted root nor signed by one";
        let tls = || failure(FailureClass::Tls, other);
        let cases: [(StartError, Option<&str>, Check, &str); 8] = [
            (
                Refused::PublicCa { host: "acme.test".into(), ca: "A" }.into(),
                None,
                Check::Target,
                "--authorised-by",
            ),
            (
                Refused::PublicAddress { host: "ca.test".into(), address: [192, 0, 2, 1].into() }.into(),
                None,
                Check::Target,
                "--allow-host ca.test",
            ),
            (
                Refused::NoAddress { host: "ca.test".into(), reason: "no".into() }.into(),
                None,
                Check::Reachable,
                "--connect-to",
            ),
            (
                DiscoverError::Unreachable(failure(FailureClass::Connect, "refused")).into(),
                None,
                Check::Reachable,
                "start the CA",
            ),
            (DiscoverError::Untrusted(tls()).into(), None, Check::Trusted, "--cacert FILE"),
            (
                DiscoverError::Untrusted(tls()).into(),
                Some("root.pem"),
                Check::Trusted,
                "root.pem does not have the root",
            ),
            (
                DiscoverError::NotAcme { url: https.clone(), why: failure(FailureClass::Malformed, "HTML") }
                    .into(),
                None,
                Check::Acme,
                "/directory",
            ),
            (DiscoverError::SpeaksTls(https).into(), None, Check::Reachable, "write https://"),
        ];
        for (error, cacert, check, way_out) in cases {
            let found = not_started(&error, cacert);
            let last = found.last().unwrap();
            assert_eq!((last.check, last.level), (check, Level::Problem), "{error}");
            assert!(last.way_out.as_ref().unwrap().contains(way_out), "{error}: {last:?}");
            assert!(found[..found.len() - 1].iter().all(|before| before.level == Level::Ok), "{found:?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_two_seconds() {
        for (ahead, level) in [
            (None, Level::Ok),
            (Some(0), Level::Ok),
            (Some(-2), Level::Ok),
            (Some(3), Level::Warning),
            (Some(-7200), Level::Warning),
        ] {
            assert_eq!(clock(ahead).level, level, "{ahead:?}");
        }
        assert!(clock(Some(-7200)).found.contains("7200 s behind"));
    }

    #[test]
    fn a_server_with_a_known_limit_is_warned_about_above_it() {
        let known = KnownServer { name: "A 1", most_workers: 2, why: "it stops" };
        for (known, workers, level) in
            [(Some(known), 3, Level::Warning), (Some(known), 2, Level::Ok), (None, 50, Level::Ok)]
        {
            assert_eq!(server(known, workers).level, level, "{workers}");
        }
    }

    #[test]
    fn an_external_account_that_is_missing_is_a_problem() {
        for (required, given, level) in [
            (true, false, Level::Problem),
            (true, true, Level::Ok),
            (false, true, Level::Ok),
            (false, false, Level::Ok),
        ] {
            assert_eq!(external_account(required, given).level, level, "{required} {given}");
        }
    }

    fn hit(challenge: ChallengeType, verdict: Verdict) -> ValidationHit {
        ValidationHit {
            seq: 1,
            at_unix_ns: 1,
            challenge,
            name: "a.test".into(),
            source: "10.0.0.9:40000".into(),
            verdict,
            answer: String::new(),
            took: 1,
        }
    }

    #[test]
    fn a_refused_registration_has_the_way_out_of_its_reason() {
        for (kind, message, words) in [
            (
                FailureClass::Problem,
                "403 unauthorized: external account binding JWS verification error",
                "--eab-kid",
            ),
            (FailureClass::Problem, "400 malformed: incomplete contact", "--contact"),
            (FailureClass::Timeout, "no answer in 30 s", "restart it"),
            (FailureClass::ServerError, "500", "the CA's log"),
        ] {
            let found = no_account(&failure(kind, message));
            assert_eq!(found.level, Level::Problem);
            assert!(found.way_out.as_ref().unwrap().contains(words), "{message}: {found:?}");
        }
    }

    /// Challenge, listener, the CA's address, hits, whether it is valid; level, and words of the finding.
    type Case<'a> =
        (ChallengeType, Option<SocketAddr>, Option<IpAddr>, Vec<ValidationHit>, bool, Level, &'a str);

    #[test]
    fn a_validation_is_judged_by_who_asked_what() {
        use ChallengeType::{Dns01, Http01, TlsAlpn01};
        let refused = failure(FailureClass::Validation, "connection refused");
        let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 5002)));
        let anywhere = Some(SocketAddr::from(([0, 0, 0, 0], 80)));
        let near = Some(IpAddr::from([127, 0, 0, 1]));
        let far = Some(IpAddr::from([10, 0, 0, 9]));
        let asked = |kind| vec![hit(kind, Verdict::Answered)];
        let cases: [Case<'_>; 9] = [
            (Http01, loopback, near, asked(Http01), true, Level::Ok, "asked once by 10.0.0.9"),
            (Http01, loopback, near, Vec::new(), true, Level::Warning, "without validation"),
            (Http01, None, near, Vec::new(), true, Level::Ok, "another process"),
            (Http01, None, near, Vec::new(), false, Level::Problem, "--challenges"),
            (Http01, loopback, near, Vec::new(), false, Level::Problem, "port 80"),
            (TlsAlpn01, loopback, far, Vec::new(), false, Level::Problem, "--tlsalpn01-listen 0.0.0.0:5002"),
            (Http01, anywhere, far, asked(Dns01), false, Level::Problem, "although its resolver asked"),
            (Http01, anywhere, far, asked(Http01), false, Level::Problem, "did not accept it"),
            (
                Http01,
                anywhere,
                far,
                vec![hit(Http01, Verdict::Unknown)],
                false,
                Level::Problem,
                "not for this challenge",
            ),
        ];
        for (kind, listener, ca, hits, valid, level, words) in cases {
            let failure = (!valid).then_some(&refused);
            let found = validation(Seen { kind, listener, ca, hits: &hits, failure });
            assert_eq!((found.check, found.level), (check_of(kind), level), "{words}");
            let text = format!("{} {}", found.found, found.way_out.unwrap_or_default());
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn offered_challenges_must_be_answered_here() {
        assert_eq!(challenges(&["http-01", "dns-01"], &["dns-01"]).level, Level::Ok);
        assert_eq!(challenges(&["dns-01"], &["http-01", "tls-alpn-01"]).level, Level::Problem);
    }
}
