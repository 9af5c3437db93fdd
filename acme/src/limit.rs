//! Which rate limit a 429 names: one short text for each limit, whatever numbers, names and times are around it.
//!
//! Boulder writes the limit into the fragment of a URL in the problem's detail, other CAs into a `help` link (RFC
//! 8555 §6.6). The rest write a sentence, which is reduced to what all answers of one limit have in common.

use http::HeaderMap;

use crate::link;
use crate::problem::Problem;

/// Characters of a limit's name.
const MAX_NAME: usize = 100;
/// Characters of a detail that are used.
const MAX_DETAIL: usize = 1_000;
/// Replaces numbers, addresses and times.
const NUMBER: &str = "#";
/// Replaces names, URLs and quoted text.
const NAME: &str = "…";

/// The limit that an answer names, at most 100 characters; empty if it names none.
///
/// It is, in this order: the fragment of the URL of a `Link` with `rel="help"`, the fragment of a URL in the
/// problem's detail, or the detail with numbers and times as `#`, and names, URLs and quoted text as `…`.
pub fn limit_name(headers: &HeaderMap, problem: Option<&Problem>) -> String {
    let detail = problem.map_or("", |problem| problem.detail.as_str());
    link::targets(headers, "help")
        .find_map(fragment)
        .or_else(|| fragment_in(detail))
        .unwrap_or_else(|| fold(detail))
}

/// The part after the URL's `#`, if it has only characters of a name.
fn fragment(url: &str) -> Option<String> {
    let (_, fragment) = url.split_once('#')?;
    let kept = fragment.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.~/:".contains(*c));
    let name: String = kept.take(MAX_NAME).collect();
    let name = name.trim_end_matches(['.', ':', '/']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn fragment_in(detail: &str) -> Option<String> {
    detail.split_whitespace().filter(|word| word.contains("://")).find_map(fragment)
}

/// What all answers of one limit have in common.
fn fold(detail: &str) -> String {
    let detail: String = detail.chars().take(MAX_DETAIL).collect();
    let mut words: Vec<String> = unquoted(&detail).split_whitespace().map(fold_word).collect();
    for place in 0..words.len() {
        let beside = |other: Option<&String>| other.is_some_and(|word| bare(word) == NUMBER);
        let before = place.checked_sub(1).and_then(|before| words.get(before));
        if is_part_of_a_date(bare(&words[place])) && (beside(before) || beside(words.get(place + 1))) {
            words[place] = NUMBER.to_owned();
        }
    }
    // Lists of one name or ten, and dates of one word or six, are the same.
    words.dedup_by(|later, earlier| {
        let same = [NUMBER, NAME].contains(&bare(later)) && bare(later) == bare(earlier);
        if same {
            earlier.clone_from(later);
        }
        same
    });
    let mut folded = words.join(" ");
    if folded.chars().count() > MAX_NAME {
        folded = folded.chars().take(MAX_NAME - 1).chain(['…']).collect();
    }
    folded
}

/// The text with quoted parts replaced, and unusual characters as spaces.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', '`', '“', '\'']) {
        let quote = rest[start..].chars().next().unwrap_or('"');
        let behind = &rest[start + quote.len_utf8()..];
        let close = if quote == '“' { '”' } else { quote };
        // An apostrophe inside a word begins no quotation.
        let opens = quote != '\'' || rest[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        out.push_str(&rest[..start]);
        match behind.find(close).filter(|_| opens) {
            Some(end) => {
                out.push_str(NAME);
                rest = &behind[end + close.len_utf8()..];
            }
            None => {
                out.push(quote);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out.replace(|c: char| c.is_control(), " ")
}

/// A word with the punctuation around it kept.
fn fold_word(word: &str) -> String {
    let core = bare(word);
    let folded = if core.contains("://") || core.contains('@') || core.contains("…") {
        NAME
    } else if core.starts_with("::") || core.chars().any(|c| c.is_ascii_digit()) && !is_a_name(core) {
        NUMBER
    } else if is_a_name(core) {
        NAME
    } else {
        return word.to_owned();
    };
    word.replacen(core, folded, 1)
}

/// Without the punctuation around it.
fn bare(word: &str) -> &str {
    let around = |c: char| "()[]{}<>,;.!?\"'".contains(c);
    word.trim_matches(around).trim_end_matches(':')
}

/// Domain names, alone or joined by commas: letters, digits, hyphens and a dot inside, not a number nor an address.
fn is_a_name(word: &str) -> bool {
    word.split(',').all(|name| {
        let name = name.strip_prefix("*.").unwrap_or(name);
        let of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
        let last = name.rsplit('.').next().unwrap_or_default();
        name.contains('.') && name.chars().all(of_a_name) && last.chars().any(char::is_alphabetic)
    })
}

fn is_part_of_a_date(word: &str) -> bool {
    const WORDS: [&str; 22] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
        "Aug", "Sep", "Oct", "Nov", "Dec", "UTC", "GMT", "Z",
    ];
    WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn name(links: &[&str], detail: &str) -> String {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(header::LINK, HeaderValue::from_str(link).unwrap());
        }
        let document =
            serde_json::json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": detail });
        limit_name(&headers, Problem::parse(document.to_string().as_bytes()).as_ref())
    }

    /// Messages of Boulder's `ratelimits/transaction.go` and `errors/errors.go`, and of earlier versions.
    #[test]
    fn boulders_limits_are_the_fragments_of_their_urls() {
        let cases = [
            (
                "too many new registrations (10) from this IP address in the last 3h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-registrations-per-ip-address",
                "new-registrations-per-ip-address",
            ),
            (
                "too many new registrations (500) from this /48 subnet of IPv6 addresses in the last 3h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-registrations-per-ipv6-range",
                "new-registrations-per-ipv6-range",
            ),
            (
                "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account",
                "new-orders-per-account",
            ),
            (
                "too many failed authorizations (5) for \"a.example.com\" in the last 1h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#authorization-failures-per-hostname-per-account",
                "authorization-failures-per-hostname-per-account",
            ),
            (
                "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-registered-domain",
                "new-certificates-per-registered-domain",
            ),
            (
                "too many certificates (5) already issued for this exact set of domains in the last 168h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-hostnames.",
                "new-certificates-per-exact-set-of-hostnames",
            ),
        ];
        for (detail, limit) in cases {
            assert_eq!(name(&["<https://letsencrypt.org/docs/rate-limits>;rel=\"help\""], detail), limit);
        }
    }

    #[test]
    fn a_help_link_has_precedence_over_the_detail() {
        let detail = "too many orders, see https://ca.test/limits#orders";
        let cases: [(&[&str], &str); 6] = [
            (
                &["<https://ca.test/directory>;rel=\"index\"", "<https://ca.test/l#names>;rel=\"help\""],
                "names",
            ),
            (&["<https://ca.test/directory>;rel=\"index\", <https://ca.test/l,m#names>; REL=help"], "names"),
            (&["<https://ca.test/l#names>;title=\"x\";rel=\"terms help\""], "names"),
            (&["<https://ca.test/l#names>;rel=\"index\""], "orders"),
            (&["<https://ca.test/l>;rel=\"help\""], "orders"),
            (&["broken; rel=help", "<https://ca.test/l#>;rel=\"help\""], "orders"),
        ];
        for (links, limit) in cases {
            assert_eq!(name(links, detail), limit, "{links:?}");
        }
    }

    /// Without a fragment, the parts that differ between answers are replaced.
    #[test]
    fn the_variable_parts_of_a_sentence_are_replaced() {
        let cases = [
            // Boulder before its documentation had fragments, and its overloaded front end.
            (
                "Error creating new order :: too many certificates already issued for: example.com: see https://letsencrypt.org/docs/rate-limits/",
                "Error creating new order :: too many certificates already issued for: …: see …",
            ),
            (
                "too many certificates (5) already issued for this exact set of domains in the last 168 hours: a.test,b.test, retry after 2026-11-28T09:00:00Z: see https://letsencrypt.org/docs/rate-limits/",
                "too many certificates (#) already issued for this exact set of domains in the last # hours: …, retr…",
            ),
            (
                "Rate limit exceeded for 203.0.113.9 until Sat, 28 Nov 2026 09:00:00 GMT",
                "Rate limit exceeded for # until #",
            ),
            ("too many requests from 2001:db8::1, wait 3m20s.", "too many requests from #, wait #."),
            ("too many requests from ::1", "too many requests from #"),
            ("account 'https://ca.test/acct/17' can't order more", "account … can't order more"),
            ("limit \"orders for a b c\" reached by admin@ca.test", "limit … reached by …"),
            ("names a.test, *.b.test, c.test are busy", "names … are busy"),
            ("Service busy; retry later.", "Service busy; retry later."),
            ("an \"open quote stays", "an \"open quote stays"),
            ("\u{1b}[31mred\0", "[#"),
            ("", ""),
        ];
        for (detail, limit) in cases {
            assert_eq!(name(&[], detail), limit, "{detail:?}");
        }
    }

    #[test]
    fn a_name_has_a_maximum_length() {
        let long = "word ".repeat(10_000);
        assert_eq!(name(&[], &long).chars().count(), MAX_NAME);
        assert_eq!(name(&[], &format!("see https://ca.test/#{}", "x".repeat(5_000))).len(), MAX_NAME);
        assert_eq!(limit_name(&HeaderMap::new(), None), "");
    }
}
