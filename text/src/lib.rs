//! Escapes text from a CA, a node or a file for a terminal, a log line or a message.
//!
//! Control characters move a terminal's cursor and set its title; direction characters show text in another order.
//! Both are written as in JSON (`\u001b`), so a JSON document stays the same document.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters of a value in a message.
const ECHOED: usize = 80;

/// The text on one line, without invisible characters: for received text.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |character, _| is_hidden(character))
}

/// The text as it may go to a terminal: lines, tabs and colours stay. For whole outputs whose parts were made
/// [`visible`] where a line break would matter.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character, rest| {
        let stays = matches!(character, '\n' | '\t') || character == '\u{1b}' && is_colour(rest);
        is_hidden(character) && !stays
    })
}

/// As [`printable`], on one line: for a log line, which must have no other line break than its end.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |character, rest| {
        let stays = character == '\t' || character == '\u{1b}' && is_colour(rest);
        is_hidden(character) && !stays
    })
}

/// A URL without its query and fragment, in which some CAs have a token. That there is one is shown.
pub fn without_query(url: &str) -> Cow<'_, str> {
    match url.find(['?', '#']) {
        Some(end) => format!("{}?…", &url[..end]).into(),
        None => url.into(),
    }
}

/// A value in a message: quoted, visible, and cut if it is long.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(ECHOED).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    format!("\"{}\"", visible(&shown).replace('"', "\\\""))
}

/// The message with a long `value` in it cut, as [`quoted`] cuts it. Parsers repeat their input in different ways.
pub fn with_cut(message: String, value: &str) -> String {
    if value.chars().nth(ECHOED).is_none() {
        return message;
    }
    let mut cut: String = value.chars().take(ECHOED).collect();
    cut.push('…');
    let debug = format!("{value:?}");
    message.replace(&debug, &quoted(value)).replace(value, &visible(&cut))
}

/// Letters of a word (a path, a URL, a token) in a message.
const LONGEST_WORD: usize = 200;

/// The message with each overlong word cut, because messages of other libraries repeat whole values.
pub fn bounded(message: &str) -> Cow<'_, str> {
    if message.split(char::is_whitespace).all(|word| word.chars().nth(LONGEST_WORD).is_none()) {
        return Cow::Borrowed(message);
    }
    let mut shown = String::new();
    for piece in message.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        match word.char_indices().nth(LONGEST_WORD) {
            Some(_) => {
                shown.extend(word.chars().take(ECHOED));
                shown.push('…');
                shown.push_str(&piece[word.len()..]);
            }
            None => shown.push_str(piece),
        }
    }
    Cow::Owned(shown)
}

/// The text with each word that contains a digit replaced by `#`: ports, counts, generated names, times. Texts that
/// differ only in these have the same cause. The rest of a text after `longest` bytes is left out.
pub fn folded(text: &str, longest: usize) -> String {
    let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut folded = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next().filter(|_| folded.len() < longest) {
        let end = rest.find(|c: char| part_of_word(c) != part_of_word(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        folded.push_str(if piece.contains(|c: char| c.is_ascii_digit()) { "#" } else { piece });
        rest = after;
    }
    folded
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Line and paragraph separators, direction characters, and the byte order mark.
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// Whether this is the rest of a colour's escape code, such as `[1;31m`.
fn is_colour(rest: &str) -> bool {
    rest.strip_prefix('[').is_some_and(|codes| {
        codes.trim_start_matches(|code: char| code.is_ascii_digit() || code == ';').starts_with('m')
    })
}

fn escaped(text: &str, hides: impl Fn(char, &str) -> bool) -> Cow<'_, str> {
    let hidden = |(place, character): (usize, char)| hides(character, &text[place + character.len_utf8()..]);
    let Some(first) = text.char_indices().find(|found| hidden(*found)).map(|(place, _)| place) else {
        return Cow::Borrowed(text);
    };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for (place, character) in
        text[first..].char_indices().map(|(place, character)| (first + place, character))
    {
        match character {
            _ if !hidden((place, character)) => shown.push(character),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a String cannot fail.
            _ => drop(write!(shown, "\\u{:04x}", u32::from(character))),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "no\u{1b}]0;owned\u{7}\u{0}\u{9b}2J\u{202e}txt\r\nINFO all well";

    #[test]
    fn a_query_is_hidden_and_hidden_once() {
        for (url, shown) in [
            ("https://ca.test/dir", "https://ca.test/dir"),
            ("https://ca.test/dir?token=s3cret", "https://ca.test/dir?…"),
            ("https://ca.test/dir?", "https://ca.test/dir?…"),
            ("https://ca.test/dir#s3cret", "https://ca.test/dir?…"),
            ("https://ca.test/dir?…", "https://ca.test/dir?…"),
        ] {
            assert_eq!(without_query(url), shown);
            assert_eq!(without_query(&without_query(url)), shown);
        }
    }

    #[test]
    fn what_is_received_is_seen_as_it_is_on_one_line() {
        assert_eq!(visible(HOSTILE), r"no\u001b]0;owned\u0007\u0000\u009b2J\u202etxt\r\nINFO all well");
        assert!(matches!(visible("Zürich 東京 ‘a’ 🙂"), Cow::Borrowed(_)));
        assert_eq!(visible("\u{1b}[31mred"), r"\u001b[31mred");
    }

    #[test]
    fn outputs_keep_their_lines_and_colours_and_nothing_else() {
        let ours = "a\n\t\u{1b}[1;31mbad\u{1b}[0m";
        assert_eq!(printable(ours), ours);
        assert_eq!(line(ours), "a\\n\t\u{1b}[1;31mbad\u{1b}[0m");
        for code in ["\u{1b}[2J", "\u{1b}]0;x\u{7}", "\u{1b}[1;1H", "\u{1b}", "\u{1b}[", "\u{9b}31m"] {
            assert!(!printable(code).contains(['\u{1b}', '\u{9b}', '\u{7}']), "{code:?}");
        }
    }

    #[test]
    fn long_words_are_cut_and_all_else_stays() {
        let long = "a".repeat(5_000);
        assert_eq!(
            bounded(&format!("cannot read {long}: gone\n")),
            format!("cannot read {}… gone\n", "a".repeat(80))
        );
        let text = format!("{} b  c\n", "x".repeat(200));
        assert!(matches!(bounded(&text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn json_stays_the_same_document() {
        let json = "{\"a\":\"\u{202e}\u{9b}\"}";
        assert_eq!(printable(json), r#"{"a":"\u202e\u009b"}"#);
    }

    #[test]
    fn long_values_are_cut_where_they_are_repeated() {
        let long = "x".repeat(10_000);
        assert_eq!(quoted("a \"b\""), "\"a \\\"b\\\"\"");
        assert_eq!(quoted(&long).chars().count(), ECHOED + 3);
        for message in [format!("{long:?} is no number"), format!("cannot read {long}: no")] {
            assert!(with_cut(message, &long).chars().count() < 110);
        }
        assert_eq!(with_cut("\"short\" is none".to_owned(), "short"), "\"short\" is none");
    }

    #[test]
    fn what_differs_from_one_time_to_the_next_is_no_part_of_a_cause() {
        let cases = [
            ("records 5 to 17 never came", "records # to # never came"),
            ("http://127.0.0.1:5001/a: refused", "http://#:#/a: refused"),
            ("a1b2.wec.test is not answered", "# is not answered"),
            ("no space left on device (os error 28)", "no space left on device (os error #)"),
            ("keine Antwort – später", "keine Antwort – später"),
        ];
        for (text, expected) in cases {
            assert_eq!(folded(text, 300), expected);
        }
        assert!(folded(&"word ".repeat(1_000), 300).len() <= 305);
    }
}
