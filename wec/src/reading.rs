//! How far a log is read, on the terminal.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::interval;
use wec_analytics::Reading;
use wec_startup::{Drawn, say, steps_aside};

/// Most logs are read in less time than this, and nothing is shown.
const EVERY: Duration = Duration::from_secs(1);
/// Plain lines are rarer, because they stay.
const PLAIN_EVERY: u64 = 5;

/// A line that is removed when this is dropped.
struct Line(ProgressBar, Drawn);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Shows how far a log is read, while it is polled.
pub(crate) async fn show_reading(reading: &Reading) -> Infallible {
    let mut seconds = interval(EVERY);
    seconds.tick().await;
    let mut line = None;
    for second in 1u64.. {
        seconds.tick().await;
        if ProgressDrawTarget::stderr().is_hidden() {
            if second % PLAIN_EVERY == 0 {
                say(reading);
            }
            continue;
        }
        let Line(bar, _) = line.get_or_insert_with(Line::begin);
        bar.set_message(reading.to_string());
    }
    std::future::pending().await
}

impl Line {
    fn begin() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        let drawn = steps_aside({
            let bar = bar.clone();
            move |line| bar.suspend(line)
        });
        Self(bar, drawn)
    }
}
