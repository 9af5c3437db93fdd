//! The notice of a run's end, for a webhook.

use std::net::SocketAddr;

use reqwest::Url;
use wec_figures::outcome::threshold_line;
use wec_figures::snapshot::Snapshot;
use wec_startup::{Exit, TextStyle};

use crate::summary::summary_table;

/// Most thresholds in a notice.
const MAX_THRESHOLDS: usize = 20;

/// What a notice has beside the figures of its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeDetails {
    /// Why the log or the state is not complete, although the run has figures. Then the run has not passed.
    pub error: Option<String>,
    /// The path of the log.
    pub log: String,
    /// The address of the run's page, if others can open it.
    pub page: Option<String>,
}

impl NoticeDetails {
    /// The notice: how the run of `what` ended, its lines, and these details.
    pub fn notice(&self, what: &str, target: &str, lines: impl IntoIterator<Item = String>) -> String {
        let ended = if self.error.is_some() { "ended with an error" } else { "" };
        let title = [what, ended].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ");
        let error = self.error.iter().map(|error| format!("error: {error}"));
        let page = self.page.iter().map(|page| format!("page: {page}"));
        let all = [format!("{title}: {target}")].into_iter().chain(error).chain(lines);
        all.chain([format!("log: {}", self.log)]).chain(page).collect::<Vec<_>>().join("\n")
    }
}

/// The notice of a run: verdict, target, errors, headline, thresholds, and where its log and its page are.
pub fn notice(snapshot: &Snapshot, exit: Exit, details: &NoticeDetails) -> String {
    let verdict = match exit {
        _ if details.error.is_some() => "",
        Exit::Passed => " passed",
        Exit::Failed => " failed",
        Exit::Interrupted => " interrupted, without a verdict",
        Exit::GeneratorLimited => " limited by the load tester, without a verdict",
        _ => " ended",
    };
    let table = summary_table(snapshot, TextStyle::default());
    let headline = table.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    let thresholds = snapshot.thresholds.iter().take(MAX_THRESHOLDS).map(threshold_line);
    let lines = [headline].into_iter().chain(thresholds);
    details.notice(&format!("wec run{verdict}"), &snapshot.run.target, lines)
}

/// The address of a run's page for a notice: at `named`, or where the page listens if that is an address of other
/// machines, too. None if only this machine can open the page.
pub fn page_link(named: Option<&Url>, listens: Option<(SocketAddr, bool)>, run: &str) -> Option<String> {
    let listens = || {
        let (address, tls) = listens.filter(|(address, _)| is_for_others(*address))?;
        Url::parse(&format!("{}://{address}/", if tls { "https" } else { "http" })).ok()
    };
    let mut page = named.cloned().or_else(listens)?;
    page.query_pairs_mut().append_pair("run", run);
    Some(page.into())
}

fn is_for_others(address: SocketAddr) -> bool {
    !address.ip().is_loopback() && !address.ip().is_unspecified() && address.port() != 0
}

#[cfg(test)]
mod tests {
    use wec_figures::aggregate::Aggregate;

    use super::*;

    #[test]
    fn a_notice_has_a_link_that_others_can_open() {
        let named: Url = "https://load.test/wec/".parse().unwrap();
        let at = |address: &str, tls| Some((address.parse().unwrap(), tls));
        for (named, listens, link) in [
            (None, None, None),
            (None, at("127.0.0.1:8089", false), None),
            (None, at("[::1]:8089", false), None),
            (None, at("0.0.0.0:8089", false), None),
            (None, at("10.0.0.1:0", false), None),
            (None, at("10.0.0.1:8089", false), Some("http://10.0.0.1:8089/?run=a-1")),
            (None, at("[2001:db8::1]:8089", true), Some("https://[2001:db8::1]:8089/?run=a-1")),
            (Some(&named), at("127.0.0.1:8089", false), Some("https://load.test/wec/?run=a-1")),
            (Some(&named), None, Some("https://load.test/wec/?run=a-1")),
        ] {
            assert_eq!(page_link(named, listens, "a-1").as_deref(), link);
        }
    }

    #[test]
    fn a_run_whose_log_is_not_complete_has_not_passed() {
        let whole = NoticeDetails { log: "results/a.jsonl".to_owned(), ..NoticeDetails::default() };
        let figures = Aggregate::default().snapshot();
        let text = notice(&figures, Exit::Passed, &whole);
        assert!(text.starts_with("wec run passed: ") && text.ends_with("\nlog: results/a.jsonl"), "{text}");
        let error = Some("the log is not complete: no space".to_owned());
        let page = Some("http://10.0.0.1/?run=a".to_owned());
        for exit in [Exit::Passed, Exit::Failed] {
            let details = NoticeDetails { error: error.clone(), page: page.clone(), ..whole.clone() };
            let text = notice(&figures, exit, &details);
            assert!(text.starts_with("wec run ended with an error: "), "{text}");
            assert_eq!(text.lines().nth(1), Some("error: the log is not complete: no space"));
            assert!(text.ends_with("\nlog: results/a.jsonl\npage: http://10.0.0.1/?run=a"), "{text}");
        }
    }
}
