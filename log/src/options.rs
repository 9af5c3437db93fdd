//! `LogOptions`: how a log is written.

use std::time::Duration;

use crate::LogFormat;

/// How logs are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct LogOptions {
    /// Format of the log (docs/log.md)
    #[arg(
        long = "log-format",
        env = "WEC_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_env_values = true,
        hide_short_help = true,
        help_heading = "Output"
    )]
    pub format: LogFormat,
    /// Begin another file of the log when one has this size, for example 500M or 2G
    #[arg(
        long = "log-rotate-size",
        env = "WEC_LOG_ROTATE_SIZE",
        value_name = "SIZE",
        value_parser = size,
        hide_env_values = true,
        hide_short_help = true,
        help_heading = "Output"
    )]
    pub rotate_size: Option<u64>,
    /// Begin another file of the log after this time, for example 1h
    #[arg(
        long = "log-rotate-every",
        env = "WEC_LOG_ROTATE_EVERY",
        value_name = "TIME",
        value_parser = time,
        hide_env_values = true,
        hide_short_help = true,
        help_heading = "Output"
    )]
    pub rotate_every: Option<Duration>,
}

/// The smallest files: their headers would otherwise be most of them.
const LEAST_SIZE: u64 = 64 << 10;
const LEAST_TIME: Duration = Duration::from_secs(1);

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let factor = match text[digits.len()..].trim_end_matches(['B', 'b']) {
        "" => 1,
        "k" | "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(format!("{text:?} is not a size such as 500M or 2G")),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match size.ok_or_else(|| format!("{text:?} is not a size such as 500M or 2G"))? {
        size if size < LEAST_SIZE => Err(format!("{text} is less than 64K, the least size of a file")),
        size => Ok(size),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < LEAST_TIME {
        Err(format!("{text} is less than 1s, the least time of a file"))
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("500M", 500 << 20), ("2G", 2 << 30), ("64KB", 64 << 10), ("70000", 70_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1", "-5M", "1.5G", "5T", "99999999999999999999", "18446744073709551615G"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(time("10ms").is_err() && time("1h").is_ok());
    }
}
