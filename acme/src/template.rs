//! URL paths with ids replaced, so that results can be counted by kind of resource.
//!
//! Histograms and charts have a template as key. So the number of templates is bounded, whatever URLs a CA uses.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// A longer segment is an id even without a digit. The longest word of a known server is `finalize-order`.
const LONGEST_WORD: usize = 15;
/// Segments shown; deeper ones are part of the last.
const DEEPEST: usize = 8;
/// Templates kept for the life of the process; beyond this many the template is [`OTHER`].
const MOST: usize = 256;
const OTHER: &str = "/{other}";

/// Known words below an id: smallstep's and Caddy's `/order/{id}/finalize`.
const WORDS: [&str; 10] = [
    "account",
    "authz",
    "cert",
    "certificate",
    "challenge",
    "challenges",
    "finalize",
    "order",
    "orders",
    "revoke",
];

/// The interned templates of this process.
static INTERNED: Interner = Interner(RwLock::new(None));

/// Replaces ids in the URLs of one CA.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    /// The path segments above newOrder's last: all resources of the CA share them (`/acme/v2`), ids or not.
    base: Vec<String>,
}

impl Templates {
    pub(crate) fn new(new_order: &str) -> Self {
        let mut base: Vec<String> = segments(path(new_order)).map(str::to_owned).collect();
        base.pop();
        Self { base }
    }

    /// The template of a URL in the directory: its path, unchanged.
    pub(crate) fn fixed(url: &str) -> &'static str {
        INTERNED.intern(path(url))
    }

    /// The template of an object's URL.
    ///
    /// The common part of the CA's URLs is kept, and the word after it (`order`, `authZ`). Below that only known
    /// words are kept, because there are short ids without digits (Boulder's challenges end in six letters).
    pub(crate) fn fold(&self, url: &str) -> &'static str {
        INTERNED.intern(&self.folded(url))
    }

    fn folded(&self, url: &str) -> String {
        let mut folded = String::with_capacity(64);
        let mut shared = true;
        for (depth, segment) in segments(path(url)).enumerate() {
            if depth == self.base.len() + DEEPEST {
                break;
            }
            let above = shared;
            shared = above && self.base.get(depth).is_some_and(|base| base == segment);
            // The first segment that is not common names the kind of object.
            let keep = shared || WORDS.contains(&segment) || (above && is_word(segment));
            folded.push('/');
            folded.push_str(if keep { segment } else { "{id}" });
        }
        if folded.is_empty() {
            folded.push('/');
        }
        folded
    }
}

fn is_word(segment: &str) -> bool {
    segment.len() <= LONGEST_WORD && !segment.bytes().any(|byte| byte.is_ascii_digit())
}

/// The path of an absolute URL, without query and fragment.
pub(crate) fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.find('/').map_or("/", |slash| &rest[slash..]);
    rest.split(['?', '#']).next().unwrap_or(rest)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Templates are leaked on purpose, at most [`MOST`] of at most 256 bytes each, so that millions of results can refer
/// to them without a copy.
struct Interner(RwLock<Option<HashSet<&'static str>>>);

impl Interner {
    fn intern(&self, template: &str) -> &'static str {
        let known = |set: &Option<HashSet<&'static str>>| set.as_ref()?.get(template).copied();
        if let Some(interned) = known(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return interned;
        }
        let mut templates = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(interned) = known(&templates) {
            return interned;
        }
        let templates = templates.get_or_insert_default();
        if templates.len() >= MOST || template.len() > 256 {
            return OTHER;
        }
        let interned: &'static str = Box::leak(template.into());
        templates.insert(interned);
        interned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_the_ids_of_known_servers() {
        let pebble = "https://localhost:14000/order-plz";
        let boulder = "https://boulder:4431/acme/new-order";
        let caddy = "https://ca.test/acme/local/new-order";
        let public = "https://acme.example/v2/DV90/newOrder";
        for (new_order, url, template) in [
            (pebble, "https://localhost:14000/authZ/3kHXlLNQvrxL1QbOBzGD6O", "/authZ/{id}"),
            (pebble, "https://localhost:14000/my-account/1", "/my-account/{id}"),
            (pebble, "https://localhost:14000/my-order/s3DnvZYTyU", "/my-order/{id}"),
            (pebble, "https://localhost:14000/finalize-order/abcdefgh", "/finalize-order/{id}"),
            (pebble, "https://localhost:14000/certZ/4f9e8b", "/certZ/{id}"),
            (boulder, "https://boulder:4431/acme/order/12/34", "/acme/order/{id}/{id}"),
            (boulder, "https://boulder:4431/acme/chall/12/34/xfRtYw", "/acme/chall/{id}/{id}/{id}"),
            (boulder, "https://boulder:4431/acme/cert/7f00ab", "/acme/cert/{id}"),
            (
                caddy,
                "https://ca.test/acme/local/order/aBcDeFgHiJkLmNoPq/finalize",
                "/acme/local/order/{id}/finalize",
            ),
            (caddy, "https://ca.test/acme/local/challenge/aBcD/eFgH", "/acme/local/challenge/{id}/{id}"),
            (public, "https://acme.example/v2/DV90/order/AbCd", "/v2/DV90/order/{id}"),
            (public, "https://acme.example/order/AbCd?x=1", "/order/{id}"),
            (pebble, "https://localhost:14000", "/"),
            (pebble, "https://localhost:14000/0123456789", "/{id}"),
            (pebble, "https://h/a/b/c/d/e/f/g/h/i/j/k", "/a/{id}/{id}/{id}/{id}/{id}/{id}/{id}"),
        ] {
            assert_eq!(Templates::new(new_order).folded(url), template, "{url}");
        }
    }

    #[test]
    fn keeps_the_directorys_paths_as_they_are() {
        assert_eq!(Templates::fixed("https://acme.example/v2/DV90/newOrder"), "/v2/DV90/newOrder");
    }

    #[test]
    fn the_number_of_templates_is_bounded() {
        let interner = Interner(RwLock::new(None));
        let distinct: HashSet<_> = (0..2 * MOST).map(|n| interner.intern(&format!("/{n}"))).collect();
        assert_eq!(distinct.len(), MOST + 1);
        assert!(distinct.contains(OTHER));
        assert_eq!(interner.intern("/0"), "/0");
    }
}
