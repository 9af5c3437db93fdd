//! Names of processes and sessions.

/// A process's name for people: the given one, else the host's.
pub fn node_name(given: Option<&str>) -> String {
    let host = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())
    };
    let name = given.map(str::to_owned).or_else(host).unwrap_or_default();
    match name.trim() {
        "" => "node".to_owned(),
        name => name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST_NAME).collect(),
    }
}

/// Parses a node's name. It appears in logs, on the page, in file names and on the board.
///
/// # Errors
/// Why the name is not valid.
pub fn parse_node_name(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err("is empty: leave it out for the host's name".to_owned());
    }
    let length = name.chars().count();
    if length > LONGEST_NAME {
        return Err(format!("has {length} characters: a node's name has at most {LONGEST_NAME}"));
    }
    match name.chars().find(|c| !is_plain(*c)) {
        Some(other) => Err(format!("has a {other:?}: a node's name is letters, digits, and any of -_.:@+")),
        None => Ok(name.to_owned()),
    }
}

/// Parses a session's id. It appears in the board's keys and in the page's title.
///
/// # Errors
/// Why the id is not valid.
pub fn parse_session_id(id: &str) -> Result<String, String> {
    if id.is_empty() {
        return Err(
            "is empty: name a session, as in --session staging, or leave the flag out for the default"
                .to_owned(),
        );
    }
    if is_plain_name(id, LONGEST_NAME) {
        return Ok(id.to_owned());
    }
    let longest = LONGEST_NAME;
    Err(format!("is not a session's id: use up to {longest} letters, digits, and any of -_.:@+"))
}

/// Whether the text has only characters of node names and is not longer than `longest`.
pub fn is_plain_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.chars().all(is_plain)
}

/// Most characters of a node's name.
const LONGEST_NAME: usize = 64;

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_id_is_a_plain_name() {
        assert_eq!(parse_session_id("staging-2").as_deref(), Ok("staging-2"));
        let long = "a".repeat(5_000);
        for wrong in ["", "a/b", "a b", "\u{1b}[31m", &long] {
            let why = parse_session_id(wrong).unwrap_err();
            assert!(why.starts_with("is ") && why.len() < 120, "{why}");
        }
    }

    #[test]
    fn a_name_is_bounded_and_of_plain_characters() {
        assert_eq!(parse_node_name(" east-1.test:2 "), Ok("east-1.test:2".to_owned()));
        assert_eq!(parse_node_name(&"a".repeat(64)), Ok("a".repeat(64)));
        for (name, why) in [
            ("", "empty"),
            ("a b", "' '"),
            ("a\u{1b}[2J", "'\\u{1b}'"),
            ("a/../b", "'/'"),
            ("näme", "'ä'"),
            (&*"a".repeat(65), "65 characters"),
        ] {
            let mistake = parse_node_name(name).unwrap_err();
            assert!(mistake.contains(why), "{name:?}: {mistake}");
        }
        assert_eq!(node_name(Some("a b\n")), "a_b");
        assert_eq!(node_name(Some(&"b".repeat(500))).len(), 64);
    }

    #[test]
    fn is_as_given_and_never_empty() {
        assert_eq!(node_name(Some("east-1")), "east-1");
        assert_eq!(node_name(Some(" ")), "node");
        assert!(!node_name(None).is_empty());
    }
}
