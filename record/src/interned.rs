//! `interned`: texts that repeat in millions of results, such as endpoints, each kept once.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Texts of a process. They are never freed, so no input may add more than this.
const MAX_TEXTS: usize = 4_096;
/// Maximal length of a text that is kept, bytes.
const LONGEST: usize = 128;
/// Texts that a thread finds without a lock.
const NEAR: usize = 256;

static TEXTS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

thread_local! {
    static OF_THREAD: RefCell<[&'static str; NEAR]> = const { RefCell::new([""; NEAR]) };
}

/// The text, borrowed if it is among those that are kept.
pub(crate) fn interned(text: &str) -> Cow<'static, str> {
    match kept(text) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(text.to_owned()),
    }
}

/// The same for a text that is owned already.
pub(crate) fn interned_string(text: String) -> Cow<'static, str> {
    match kept(&text) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(text),
    }
}

fn kept(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("");
    }
    if text.len() > LONGEST {
        return None;
    }
    let place = place_of(text.as_bytes());
    OF_THREAD.with_borrow_mut(|near| {
        if near[place] != text {
            near[place] = of_process(text)?;
        }
        Some(near[place])
    })
}

fn of_process(text: &str) -> Option<&'static str> {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return Some(known);
    }
    if texts.len() >= MAX_TEXTS {
        return None;
    }
    let kept: &'static str = Box::leak(Box::from(text));
    texts.insert(kept);
    Some(kept)
}

/// Names of endpoints and paths differ in their length, their beginning or their end.
fn place_of(text: &[u8]) -> usize {
    let eight = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let first = eight(&text[..text.len().min(8)]);
    let last = eight(&text[text.len().saturating_sub(8)..]);
    let mixed = (first ^ last.rotate_left(29) ^ text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_too_many_or_long_ones_are_not() {
        for text in ["", "newOrder", "/order/{id}", "ä", "newNonce"] {
            let (Cow::Borrowed(one), Cow::Borrowed(two)) = (interned(text), interned_string(text.to_owned()))
            else {
                panic!("{text} is not kept");
            };
            assert_eq!(one, text);
            assert!(std::ptr::eq(one, two));
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(interned(&long), Cow::<str>::Owned(long.clone()));
        for number in 0..2 * MAX_TEXTS {
            let text = format!("/{number}/");
            assert_eq!(interned(&text), text);
        }
        assert!(TEXTS.lock().unwrap().len() <= MAX_TEXTS);
    }
}
