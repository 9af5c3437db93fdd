//! How text looks best where it goes: a terminal of some width, with colours or without, or a file.

use std::io::IsTerminal as _;

/// What text is written on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paper {
    /// Columns of the terminal; none where lines may be as long as they like: in files and pipes.
    pub columns: Option<usize>,
    /// Whether escape codes for colours and dimming are welcome.
    pub colours: bool,
}

impl Paper {
    /// What standard output is.
    pub fn stdout() -> Self {
        let output = std::io::stdout();
        Self::of(output.is_terminal(), || terminal_size::terminal_size_of(output))
    }

    /// What standard error is.
    pub fn stderr() -> Self {
        let output = std::io::stderr();
        Self::of(output.is_terminal(), || terminal_size::terminal_size_of(output))
    }

    fn of(
        terminal: bool,
        size: impl FnOnce() -> Option<(terminal_size::Width, terminal_size::Height)>,
    ) -> Self {
        if !terminal {
            return Self::default();
        }
        let wanted = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            // A terminal that says it has none, as some serial lines do, has an unknown number.
            columns: size().map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0),
            // https://no-color.org
            colours: wanted("NO_COLOR").is_none() && wanted("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// The text, less conspicuous.
    pub fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// The text as something that is well.
    pub fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// The text as something that is wrong.
    pub fn bad(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    /// The text as something to be wary of.
    pub fn doubtful(self, text: &str) -> String {
        self.painted("1;33", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text with its lines broken at words where they would be too long, what follows a break behind `indent` spaces.
    /// Not for painted text: escape codes would count.
    pub fn wrapped(self, text: &str, indent: usize) -> String {
        let Some(columns) = self.columns else { return text.to_owned() };
        let mut broken = String::with_capacity(text.len());
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                broken.push('\n');
            }
            let mut column = 0;
            for (n, word) in line.split(' ').enumerate() {
                let length = word.chars().count();
                if n > 0 && column + 1 + length > columns && column > indent {
                    broken.push('\n');
                    broken.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                } else if n > 0 {
                    broken.push(' ');
                    column += 1;
                }
                broken.push_str(word);
                column += length;
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_words_and_not_where_nobody_looks_at_columns() {
        let narrow = Paper { columns: Some(12), colours: false };
        let cases = [
            ("short", "short"),
            ("one two three", "one two\n  three"),
            ("one two three\nfour five six", "one two\n  three\nfour five\n  six"),
            ("incomprehensible words stay", "incomprehensible\n  words stay"),
            ("  a  gap  b", "  a  gap  b"),
            ("", ""),
            ("line\n", "line\n"),
        ];
        for (text, broken) in cases {
            assert_eq!(narrow.wrapped(text, 2), broken);
            assert_eq!(Paper::default().wrapped(text, 2), text);
        }
    }

    #[test]
    fn files_get_no_escape_codes() {
        assert_eq!(Paper::default().bad("no"), "no");
        assert_eq!(Paper { colours: true, ..Paper::default() }.bad("no"), "\x1b[1;31mno\x1b[0m");
    }
}
