//! CAA records by rule (RFC 8659, RFC 8657): what the challenge server's DNS answers for names without records of their
//! own.

use std::fmt;
use std::str::FromStr;

/// The tags of properties that a rule can have.
const TAGS: [&str; 4] = ["issue", "issuewild", "issuemail", "iodef"];
/// Between two rules.
const SEPARATOR: char = '|';

/// A rule: `[SHARE] [DOMAIN] [critical] TAG VALUE`, as in `issue ca.test; validationmethods=dns-01` or `10% issue ;`.
#[derive(Clone, Debug, PartialEq)]
pub struct CaaRule {
    /// The share of names that have the record, 0 to 1.
    share: f64,
    /// The names are this domain and those below it; all names if empty.
    domain: String,
    /// Whether a CA that does not know the tag must not issue.
    pub critical: bool,
    /// The property's tag.
    pub tag: String,
    /// Its value.
    pub value: String,
}

impl CaaRule {
    /// Whether a name has this record: lower case, without a final dot. With a share below 1 only hosts below the domain
    /// have it, because a record of the domain is that of all names below it.
    pub fn applies(&self, name: &str) -> bool {
        let above = match name.strip_suffix(&*self.domain) {
            Some("") => Some(true),
            Some(_) if self.domain.is_empty() => Some(name.split('.').count() < 3),
            Some(below) if below.ends_with('.') => Some(false),
            _ => None,
        };
        match above {
            None => false,
            Some(_) if self.share >= 1.0 => true,
            Some(is_above) => !is_above && drawn(name) < self.share,
        }
    }
}

/// A number from 0 to 1 that is always the same for a name.
fn drawn(name: &str) -> f64 {
    // FNV-1a, and the finalizer of SplitMix64, without which similar names have similar numbers.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / 2f64.powi(64)
}

impl FromStr for CaaRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} is not a CAA rule: {why}; write it like issue ca.test; validationmethods=dns-01, with a share, a \
                 domain or critical before it: 10% wec.test critical issue ;"
            )
        };
        let mut rule = Self {
            share: 1.0,
            domain: String::new(),
            critical: false,
            tag: String::new(),
            value: String::new(),
        };
        let mut rest = text.trim();
        while rule.tag.is_empty() {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = after.trim_start();
            if TAGS.contains(&word) {
                word.clone_into(&mut rule.tag);
            } else if let Some(percent) = word.strip_suffix('%') {
                let share = percent.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
                rule.share = share.ok_or_else(|| wrong("its share is not 0% to 100%"))? / 100.0;
            } else if word == "critical" {
                rule.critical = true;
            } else if word.is_empty() {
                return Err(wrong(&format!("a tag is missing: one of {}", TAGS.join(", "))));
            } else if rule.domain.is_empty() && word.split('.').all(is_label) {
                rule.domain = word.to_ascii_lowercase();
            } else {
                return Err(wrong(&format!("{word:?} is neither a domain nor one of {}", TAGS.join(", "))));
            }
        }
        if rest.is_empty() || rest.len() > 255 || !rest.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(wrong("a value of up to 255 ASCII characters is missing"));
        }
        rest.clone_into(&mut rule.value);
        Ok(rule)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl fmt::Display for CaaRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.share < 1.0 {
            write!(f, "{}% ", (self.share * 1e8).round() / 1e6)?;
        }
        if !self.domain.is_empty() {
            write!(f, "{} ", self.domain)?;
        }
        if self.critical {
            f.write_str("critical ")?;
        }
        write!(f, "{} {}", self.tag, self.value)
    }
}

/// Several rules, with `|` between them. A name has the records of all that apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaaRules(Vec<CaaRule>);

impl CaaRules {
    /// The rules that apply to a name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a CaaRule> {
        self.0.iter().filter(|rule| rule.applies(name))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for CaaRules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(SEPARATOR).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for CaaRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, rule)| {
            let before = if place > 0 { " | " } else { "" };
            write!(f, "{before}{rule}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "issue ca.test",
            "issue ca.test; accounturi=https://ca.test/account/1; validationmethods=dns-01,http-01",
            "issuewild ;",
            "10% wec.test critical issue ;",
            "wec.test issue ca.test | deny.wec.test issuewild ; | iodef mailto:ops@wec.test",
        ] {
            assert_eq!(text.parse::<CaaRules>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("", "a tag is missing"),
            ("issue", "a value of up to 255"),
            ("ca.test", "a tag is missing"),
            ("110% issue ;", "its share is not"),
            ("a.test b.test issue ;", "\"b.test\" is neither a domain"),
            ("issue ca.test | x_y issue ;", "\"x_y\" is neither a domain"),
        ] {
            let error = text.parse::<CaaRules>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_is_for_its_domain_and_the_names_below_it() {
        for (rule, name, applies) in [
            ("issue ;", "a.test", true),
            ("issue ;", "test", true),
            ("wec.test issue ;", "wec.test", true),
            ("wec.test issue ;", "a.b.wec.test", true),
            ("wec.test issue ;", "nowec.test", false),
            ("wec.test issue ;", "test", false),
            ("100% wec.test issue ;", "wec.test", true),
            ("0% wec.test issue ;", "a.wec.test", false),
            ("99.999999% wec.test issue ;", "a.wec.test", true),
            ("99.999999% wec.test issue ;", "wec.test", false),
            ("99.999999% issue ;", "wec.test", false),
            ("99.999999% issue ;", "a.wec.test", true),
        ] {
            let rules: CaaRules = rule.parse().unwrap();
            assert_eq!(rules.of(name).count(), usize::from(applies), "{rule} {name}");
        }
        let rule: CaaRule = "30% wec.test issue ;".parse().unwrap();
        let names = (0..10_000).filter(|n| rule.applies(&format!("w1-{n}.wec.test"))).count();
        assert!((2_800..3_200).contains(&names), "{names} of 10000");
    }
}
