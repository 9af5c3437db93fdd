//! Findings: what was checked, how it is, and the way out.

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr};
use wec_startup::{Exit, TextStyle};

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(super) enum Level {
    /// As it should be, or only for information.
    Ok,
    /// A load can run, but less well, or with figures that mean something else.
    Warning,
    /// A load would fail.
    #[strum(serialize = "PROBLEM")]
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Check {
    Target,
    Reachable,
    Trusted,
    Acme,
    Server,
    Profiles,
    ExternalAccount,
    Clock,
    Listeners,
    Account,
    Challenges,
    #[strum(serialize = "http-01")]
    Http01,
    #[strum(serialize = "tls-alpn-01")]
    TlsAlpn01,
    #[strum(serialize = "dns-01")]
    Dns01,
    Certificate,
    Cleanup,
    OpenFiles,
    Ports,
    Memory,
    Ceiling,
}

/// Every check in the order of the report, with its question: the table that `docs/doctor.md` must have.
#[cfg(test)]
pub(super) const CHECKS: [(Check, &str); Check::COUNT] = [
    (Check::Target, "May this host be loaded?"),
    (Check::Reachable, "Does the directory's server answer?"),
    (Check::Trusted, "Is its HTTPS certificate trusted?"),
    (Check::Acme, "Is the directory one of ACME, and which resources does it have?"),
    (Check::Server, "Is it a server that a load is known to break?"),
    (Check::Profiles, "Which certificate profiles are offered?"),
    (Check::ExternalAccount, "Does a registration need an external account?"),
    (Check::Clock, "Do the CA's clock and this machine's differ?"),
    (Check::Listeners, "Can the challenge server listen?"),
    (Check::Account, "Can an account be registered?"),
    (Check::Challenges, "Which challenges are offered for a name?"),
    (Check::Http01, "Does the CA reach this challenge server by http-01?"),
    (Check::TlsAlpn01, "Does the CA reach this challenge server by tls-alpn-01?"),
    (Check::Dns01, "Does the CA reach this challenge server by dns-01?"),
    (Check::Certificate, "Is a right certificate issued?"),
    (Check::Cleanup, "Is what the check made ended at the CA?"),
    (Check::OpenFiles, "May this process open enough files?"),
    (Check::Ports, "Are there enough local ports?"),
    (Check::Memory, "Is there enough memory for the workers?"),
    (Check::Ceiling, "What load can this machine make?"),
];

impl Check {
    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    pub(super) check: Check,
    /// How it is.
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// What to do; none if it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) way_out: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), way_out: None }
    }

    pub(super) fn warning(check: Check, found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Warning, way_out: Some(way_out.into()), ..Self::ok(check, found) }
    }

    pub(super) fn problem(check: Check, found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Problem, way_out: Some(way_out.into()), ..Self::ok(check, found) }
    }
}

/// A step of the watched order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    /// Since the first step, milliseconds.
    pub(super) at_ms: f64,
    /// Who asked: `wec` the CA, or `CA` the challenge server.
    pub(super) by: &'static str,
    /// What, and with which result.
    pub(super) what: String,
}

/// All findings.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The directory's URL.
    pub(super) directory: String,
    /// The worst level.
    pub(super) worst: Level,
    /// In the order in which they were made.
    pub(super) findings: Vec<Finding>,
    /// The watched order.
    pub(super) steps: Vec<Step>,
}

impl Report {
    pub(super) fn new(directory: String, findings: Vec<Finding>, steps: Vec<Step>) -> Self {
        let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { directory, worst, findings, steps }
    }

    /// [`Exit::Failed`] with a problem; warnings pass.
    pub(super) fn exit(&self) -> Exit {
        if self.worst == Level::Problem { Exit::Failed } else { Exit::Passed }
    }

    /// For people.
    pub(super) fn text(&self, style: TextStyle) -> String {
        const INDENT: usize = 27;
        let mut text = String::new();
        for Finding { check, level, found, way_out } in &self.findings {
            let name = level.name();
            let painted = match level {
                Level::Ok => style.good(name),
                Level::Warning => style.doubtful(name),
                Level::Problem => style.bad(name),
            };
            // Coloured after it was wrapped: escape codes would count as columns.
            let line = style.wrapped(&format!("{name:9}{:18}{found}", check.name()), INDENT);
            text += &painted;
            text += &line[name.len()..];
            text.push('\n');
            if let Some(way_out) = way_out {
                let line = format!("{}→ {way_out}", " ".repeat(INDENT));
                text += &style.wrapped(&line, INDENT + 2);
                text.push('\n');
            }
        }
        if !self.steps.is_empty() {
            text += "\nThe order, step by step:\n";
            for Step { at_ms, by, what } in &self.steps {
                let line = format!("{:8.3} s  {by:4}{what}", at_ms / 1e3);
                text += &style.wrapped(&line, 16);
                text.push('\n');
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let counted = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        text += &format!(
            "\n{}, {}",
            counted(count(Level::Problem), "problem"),
            counted(count(Level::Warning), "warning")
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_problem_fails() {
        let of = |findings: Vec<Finding>| Report::new("https://ca.test/dir".into(), findings, Vec::new());
        let (fine, doubtful, wrong) = (
            Finding::ok(Check::Acme, "fine"),
            Finding::warning(Check::Clock, "late", "set it"),
            Finding::problem(Check::Trusted, "no", "give the root"),
        );
        assert_eq!(of(Vec::new()).exit(), Exit::Passed);
        assert_eq!(of(vec![fine.clone(), doubtful.clone()]).exit(), Exit::Passed);
        let report = of(vec![fine, wrong, doubtful]);
        assert_eq!(report.exit(), Exit::Failed);
        let text = report.text(TextStyle::default());
        assert!(text.starts_with("ok       acme              fine\nPROBLEM  trusted"), "{text}");
        assert!(text.contains("\n                           → give the root\n"), "{text}");
        assert!(text.ends_with("1 problem, 1 warning"), "{text}");
    }

    #[test]
    fn the_document_lists_every_check_with_its_question() {
        let page = include_str!("../../../docs/doctor.md");
        for (check, question) in CHECKS {
            let name = check.name();
            assert!(
                page.contains(&format!("| `{name}` | {question} |")),
                "{name} is missing in docs/doctor.md"
            );
        }
    }
}
