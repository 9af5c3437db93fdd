//! How `wec capacity` is to search, as typed. The values are read by the search itself, in `wec`; the keys are here because one
//! configuration file serves a search and a run, and both tell what is misspelt in it.

use crate::settings::Settings;

/// How to search for a CA's capacity, as typed. Every flag has a key of the same name in a configuration file's table
/// `[capacity]` (`--step-time` is `step_time`) and an environment variable (`WEC_CAPACITY_STEP_TIME`); flag over environment over
/// file over default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SearchOptions {
    /// The first rate, chains a second [default: 1/s]
    #[arg(long, value_name = "RATE", env = "WEC_CAPACITY_FROM", help_heading = "Search")]
    pub from: Option<String>,
    /// The last rate; sustaining it ends the search well [default: none]
    #[arg(long, value_name = "RATE", env = "WEC_CAPACITY_TO", help_heading = "Search")]
    pub to: Option<String>,
    /// From one step to the next while all is well: a factor like x2, or so much more like 10/s [default: x2]
    #[arg(long, value_name = "xN|RATE", env = "WEC_CAPACITY_STEP", help_heading = "Search")]
    pub step: Option<String>,
    /// How narrow the knee is to be known: a share of it like 5%, or chains a second like 2/s [default: 5%]
    #[arg(long, value_name = "SHARE|RATE", env = "WEC_CAPACITY_RESOLUTION", help_heading = "Search")]
    pub resolution: Option<String>,
    /// How long each step is measured, once it has settled [default: 15s]
    #[arg(long, value_name = "TIME", env = "WEC_CAPACITY_STEP_TIME", help_heading = "Search")]
    pub step_time: Option<String>,
    /// How long a step may take to settle: at least..at most [default: 5s..60s]
    #[arg(long, value_name = "A..B", env = "WEC_CAPACITY_SETTLE", help_heading = "Search")]
    pub settle: Option<String>,
    /// How long the CA may take to recover after a step that failed [default: 2m]
    #[arg(long, value_name = "TIME", env = "WEC_CAPACITY_RECOVER", help_heading = "Search")]
    pub recover: Option<String>,
    /// No step begins that cannot end by then [default: 30m]
    #[arg(long, value_name = "TIME", env = "WEC_CAPACITY_MAX_TIME", help_heading = "Search")]
    pub max_time: Option<String>,
    /// In the end the CA is left running at this share of the knee; off for not [default: 80%]
    #[arg(long, value_name = "SHARE|off", env = "WEC_CAPACITY_HOLD_AT", help_heading = "Search")]
    pub hold_at: Option<String>,
    /// How long it is watched there [default: 30s]
    #[arg(long, value_name = "TIME", env = "WEC_CAPACITY_HOLD", help_heading = "Search")]
    pub hold: Option<String>,
}

/// The name of the table.
pub(crate) const CAPACITY: &str = "capacity";

impl SearchOptions {
    /// Sets what was typed, or stands in the environment.
    pub fn set(&self, settings: &mut Settings) {
        for (key, value) in [
            ("from", &self.from),
            ("to", &self.to),
            ("step", &self.step),
            ("resolution", &self.resolution),
            ("step_time", &self.step_time),
            ("settle", &self.settle),
            ("recover", &self.recover),
            ("max_time", &self.max_time),
            ("hold_at", &self.hold_at),
            ("hold", &self.hold),
        ] {
            settings.flag(&format!("{CAPACITY}.{key}"), value.as_deref());
        }
    }
}
