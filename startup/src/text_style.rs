//! How text is shown on its output: a terminal of some width, with or without colours, or a file.

use std::io::IsTerminal as _;

/// How text is written to an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// Columns of the terminal; none in files and pipes, where lines may have any length.
    pub columns: Option<usize>,
    /// Whether to use escape codes for colours and dimming.
    pub colours: bool,
}

impl TextStyle {
    /// For standard output.
    pub fn stdout() -> Self {
        let output = std::io::stdout();
        Self::of(output.is_terminal(), || terminal_size::terminal_size_of(output))
    }

    /// For standard error.
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
            // Some terminals, such as serial lines, report zero columns: the number is unknown.
            columns: size().map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0),
            // https://no-color.org
            colours: wanted("NO_COLOR").is_none() && wanted("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// The text, dimmed.
    pub fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// The text as good.
    pub fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// The text as wrong.
    pub fn bad(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    /// The text as a warning.
    pub fn doubtful(self, text: &str) -> String {
        self.painted("1;33", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text with long lines broken at words; lines after a break begin with `indent` spaces. Not for coloured
    /// text: escape codes would count.
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
        let narrow = TextStyle { columns: Some(12), colours: false };
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
            assert_eq!(TextStyle::default().wrapped(text, 2), text);
        }
    }

    #[test]
    fn files_get_no_escape_codes() {
        assert_eq!(TextStyle::default().bad("no"), "no");
        assert_eq!(TextStyle { colours: true, ..TextStyle::default() }.bad("no"), "\x1b[1;31mno\x1b[0m");
    }
}
