//! Lines on standard error beside a display that is redrawn in place: it is removed before each line and drawn again
//! after it.
//!
//! Standard error and the display exist once per process, hence the static.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Removes the display, calls, and draws it again.
type Around = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

static DRAWN: Mutex<Option<Around>> = Mutex::new(None);

/// Sets how the display on standard error is removed for a line, for as long as the guard exists.
#[must_use]
pub fn steps_aside(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Drawn {
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(around));
    Drawn(())
}

/// A display is drawn on standard error.
#[derive(Debug)]
pub struct Drawn(());

impl Drop for Drawn {
    fn drop(&mut self) {
        *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Standard error, for whole lines: each write is one.
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Not locked during the call, which may take long.
        let around = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(around) = around else { return io::stderr().write(line) };
        let mut written = Ok(line.len());
        around(&mut || written = io::stderr().write_all(line).map(|()| line.len()));
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Standard error, for lines of the log: each write is one line, and text within it cannot begin another.
pub(crate) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        Lines.write_all(format!("{}{end}", wec_text::line(text)).as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Lines.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_drawn_steps_aside_for_a_line_while_it_is_drawn() {
        let aside = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&aside);
        let drawn = steps_aside(move |line| {
            counted.fetch_add(1, Ordering::SeqCst);
            line();
        });
        Lines.write_all(b"").unwrap();
        assert_eq!(aside.load(Ordering::SeqCst), 0, "nothing is written");
        Lines.write_all(b"a line of a test\n").unwrap();
        assert_eq!(aside.load(Ordering::SeqCst), 1);
        drop(drawn);
        Lines.write_all(b"another line of a test\n").unwrap();
        assert_eq!(aside.load(Ordering::SeqCst), 1);
    }
}
