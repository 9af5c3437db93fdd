//! The flags.

use wec_outbound::Endpoint;
use wec_startup::Undisclosed;

use crate::choice::Pattern;

/// Characters of the name of a source.
const LONGEST_NAME: usize = 64;

/// What is observed beside a run.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ObserveOptions {
    /// Sample metrics of another program each second into the log: http://HOST:PORT/metrics, or
    /// NAME=http://…; may be repeated (docs/exports.md)
    #[arg(long, env = "WEC_OBSERVE", hide_env_values = true, hide_short_help = true, value_name = "[NAME=]URL", value_delimiter = ';', value_parser = Undisclosed(Source::parse), help_heading = "Observation")]
    pub observe: Vec<Source>,
    /// The series to sample: names with *, such as process_*; may be repeated [default: processor, memory,
    /// threads, queues, database]
    #[arg(long, env = "WEC_OBSERVE_SERIES", hide_short_help = true, value_name = "PATTERN", value_delimiter = ';', value_parser = Pattern::parse, help_heading = "Observation")]
    pub observe_series: Vec<Pattern>,
}

/// A program whose metrics are sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the log.
    pub name: String,
    /// Where its metrics are.
    pub endpoint: Endpoint,
}

impl Source {
    /// Parses `URL` or `NAME=URL`. Without a name it is called by host and port.
    ///
    /// # Errors
    /// What is wrong with it, without anything that may be secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.split_once('=').map(|(name, _)| name).filter(|name| !name.contains("://"));
        let Some(name) = name else {
            let endpoint = Endpoint::parse(text)?;
            let name = endpoint.to_string();
            let name = name.split_once("://").map_or(&*name, |(_, host)| host).to_owned();
            return Ok(Self { name, endpoint });
        };
        if !wec_startup::is_plain_name(name, LONGEST_NAME) {
            return Err(
                "what is before the first = is not a name for a source: use letters, digits, ., - and _ \
                        (a ; begins another source; in a URL write %3B)"
                    .to_owned(),
            );
        }
        let endpoint = Endpoint::parse(&text[name.len() + 1..])?;
        Ok(Self { name: name.to_owned(), endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_name_or_is_called_by_its_host() {
        let source = Source::parse("ca=http://127.0.0.1:8002/metrics?x=1").unwrap();
        assert_eq!((source.name.as_str(), source.endpoint.url().path()), ("ca", "/metrics"));
        assert_eq!(Source::parse("http://db.test:9187/metrics?a=b").unwrap().name, "db.test:9187");
        for wrong in [
            "",
            "ca=",
            "a b=http://x",
            "ca=ftp://x",
            "ca=http://u:s3cret@x",
            "ca=htp://h/?key=s3cret",
            "token=s3cret",
            "s3cret",
            "s3 cret=x",
        ] {
            let message = Source::parse(wrong).unwrap_err();
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
