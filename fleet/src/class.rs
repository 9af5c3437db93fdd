//! Client classes: when a client looks at its certificate, when it renews it, and what it does after a
//! failure. Each has its sources.
//!
//! Single facts about real fleets are published, but not the shares of clients. The default weights are an
//! assumption that fits these facts: see `docs/adr/0080-cohorts-and-client-classes.md`.

use std::fmt;

use crate::time::{DAY, duration_text};

/// Starts of the same moment of a cron table are spread over this many seconds.
pub const START_SPREAD: i32 = 30;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientClass {
    /// Its name in settings and figures.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Its share of the fleet if no classes are given, in thousandths.
    pub weight: u32,
    /// When it looks at its certificate.
    pub looks: Looks,
    /// When a look finds the certificate due.
    pub renews: Renews,
    /// What it does after a renewal that failed.
    pub retry: Retry,
    /// Whether it waits at least as long as a Retry-After.
    pub keeps_retry_after: bool,
    /// How it notices that its certificate was revoked.
    pub revocation: Notice,
    /// Where these facts are from.
    pub sources: &'static [&'static str],
}

/// When a client looks at its certificate, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Each day at 00:00:00. Half of the clients start in this second, the others in the 29 s after it.
    Midnight,
    /// Each day at a full hour of the client's own, spread as at midnight.
    FullHour,
    /// Once in each half of a day, at a random second that is drawn anew for each.
    TwiceADay,
    /// Each so many seconds, from a random second on.
    Every(i32),
    /// On a fixed day of each month at 00:00:00, spread as at midnight. Half of the clients have the first.
    DayOfMonth,
    /// By renewalInfo, asked again after its Retry-After of so many seconds.
    RenewalInfo(i32),
}

/// When a look finds the certificate due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renews {
    /// A third of the lifetime is left; with `half_if_short`, half of a lifetime below ten days.
    Third {
        /// Whether short lifetimes have another share.
        half_if_short: bool,
    },
    /// So many days are left.
    Days(i32),
    /// Always.
    Always,
    /// At a random second of the window that the CA suggests: two thirds through the lifetime, half through one below
    /// ten days, 1 % of the lifetime to each side.
    Window,
}

/// When a client tries again after a renewal that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At its next look: for a daily client, tomorrow.
    NextLook,
    /// After these seconds, one after the other; the last one is repeated.
    Intervals(&'static [i32]),
    /// After so many seconds, again and again.
    HotLoop(i32),
}

/// How a client notices that its certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// At its next look.
    NextLook,
    /// A person reads a message, and renews within this many seconds; uniformly distributed.
    Operator(i32),
}

/// Intervals of an exponential back-off: a minute, doubled up to six hours.
pub const EXPONENTIAL: &[i32] = &[60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600];
/// The back-off of certmagic, Caddy's library.
pub const CERTMAGIC: &[i32] = &[60, 120, 120, 300, 600, 1_200, 1_200, 1_800, 1_800, 3_600, 10_800, 21_600];

impl ClientClass {
    /// What it does after a 503, for people.
    pub fn after_503(&self) -> String {
        let mut text = match self.retry {
            Retry::NextLook => "at its next look".to_owned(),
            Retry::Intervals(intervals) => {
                let bound = |place: Option<&i32>| duration_text(place.copied().unwrap_or(0));
                format!("in {} to {}", bound(intervals.first()), bound(intervals.last()))
            }
            Retry::HotLoop(seconds) => format!("every {}", duration_text(seconds)),
        };
        if self.keeps_retry_after {
            text.push_str(", not before Retry-After");
        }
        text
    }
}

/// A class with its weight as in settings, with what differs from the class of this name:
/// `cron-midnight=3,retry=hot-loop`.
#[derive(Clone, Copy, Debug)]
pub struct Weighted(pub ClientClass, pub f64);

impl fmt::Display for Weighted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(class, weight) = self;
        write!(f, "{}={weight}", class.name)?;
        let usual = named(class.name).map(|place| CLASSES[place]);
        if usual.is_none_or(|usual| usual.retry != class.retry) {
            f.write_str(match class.retry {
                Retry::NextLook => ",retry=next-look",
                Retry::Intervals(_) => ",retry=exponential",
                Retry::HotLoop(_) => ",retry=hot-loop",
            })?;
        }
        if usual.is_none_or(|usual| usual.keeps_retry_after != class.keeps_retry_after) {
            let kept = if class.keeps_retry_after { "kept" } else { "ignored" };
            write!(f, ",retry-after={kept}")?;
        }
        Ok(())
    }
}

/// The classes, in the order of settings, figures and cohorts.
pub const CLASSES: &[ClientClass] = &[
    ClientClass {
        name: "cron-midnight",
        about: "a cron job at 00:00:00 UTC, as for lego",
        weight: 30,
        looks: Looks::Midnight,
        renews: Renews::Days(30),
        retry: Retry::NextLook,
        keeps_retry_after: false,
        revocation: Notice::Operator(5 * DAY),
        sources: &[
            "https://github.com/go-acme/lego/issues/1656",
            "https://github.com/bitnami/vms/issues/43",
            "https://community.letsencrypt.org/t/brief-overloads-at-midnight-utc-a-request-for-help/179993",
        ],
    },
    ClientClass {
        name: "cron-hour",
        about: "a daily cron job at a full hour",
        weight: 100,
        looks: Looks::FullHour,
        renews: Renews::Days(30),
        retry: Retry::NextLook,
        keeps_retry_after: false,
        revocation: Notice::Operator(5 * DAY),
        sources: &["https://letsencrypt.org/docs/faq/", "https://github.com/win-acme/win-acme/issues/1824"],
    },
    ClientClass {
        name: "certbot",
        about: "certbot from a package: twice a day with a random delay of up to 12 h",
        weight: 350,
        looks: Looks::TwiceADay,
        renews: Renews::Third { half_if_short: true },
        retry: Retry::NextLook,
        keeps_retry_after: false,
        revocation: Notice::Operator(5 * DAY),
        sources: &[
            "Debian's certbot.timer: OnCalendar=*-*-* 00,12:00:00, RandomizedDelaySec=43200",
            "https://github.com/certbot/certbot/releases/tag/v4.0.0",
        ],
    },
    ClientClass {
        name: "daemon",
        about: "a server that looks every ten minutes, as Caddy does",
        weight: 250,
        looks: Looks::Every(600),
        renews: Renews::Third { half_if_short: false },
        retry: Retry::Intervals(CERTMAGIC),
        keeps_retry_after: false,
        revocation: Notice::NextLook,
        sources: &[
            "https://github.com/caddyserver/certmagic: DefaultRenewCheckInterval, DefaultRenewalWindowRatio, \
             retryIntervals, certShouldBeForceRenewed",
        ],
    },
    ClientClass {
        name: "ari",
        about: "follows renewalInfo, asked every 6 h",
        weight: 250,
        looks: Looks::RenewalInfo(21_600),
        renews: Renews::Window,
        retry: Retry::Intervals(EXPONENTIAL),
        keeps_retry_after: true,
        revocation: Notice::NextLook,
        sources: &[
            "RFC 9773, sections 4.2 and 4.3",
            "https://github.com/letsencrypt/boulder: RenewalInfoSimple in core/objects.go",
        ],
    },
    ClientClass {
        name: "monthly",
        about: "a cron job on a fixed day of the month that renews whatever is left",
        weight: 20,
        looks: Looks::DayOfMonth,
        renews: Renews::Always,
        retry: Retry::NextLook,
        keeps_retry_after: false,
        revocation: Notice::Operator(5 * DAY),
        sources: &[
            "https://github.com/go-acme/lego/issues/1656",
            "https://community.letsencrypt.org/t/problem-with-certificate-auto-renew/38000/51",
        ],
    },
];

/// The place of the class with this name in [`CLASSES`].
pub fn named(name: &str) -> Option<usize> {
    CLASSES.iter().position(|class| class.name == name)
}

/// The names of all classes, for messages.
pub fn names() -> String {
    CLASSES.iter().map(|class| class.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_of_their_own_sources_and_weights_that_add_up() {
        assert_eq!(CLASSES.iter().map(|class| class.weight).sum::<u32>(), 1_000);
        for (place, class) in CLASSES.iter().enumerate() {
            assert_eq!(named(class.name), Some(place));
            assert!(!class.sources.is_empty(), "{}", class.name);
        }
    }
}
