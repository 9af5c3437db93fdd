//! The fleet of a command: the table `[fleet]` of a file, and the flags that override it.

use std::path::PathBuf;

use wec_fleet::{FleetSettings, Scenario};

/// The headings in `--help`.
const FLEET: &str = "Fleet";
const MODEL: &str = "Model of the CA";

/// A fleet and a model of its CA.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct FleetFlags {
    /// File (TOML) with the table [fleet]. Its keys are certificates, lifetime, start, length, classes, events,
    /// late_after, seed, ca_rate, ca_queue, ca_retry_after and ca_latency
    #[arg(long = "fleet", value_name = "FILE", help_heading = FLEET)]
    file: Option<PathBuf>,
    /// Certificates at the start: 250k, 400M [default: 1M]
    #[arg(long, value_name = "N", help_heading = FLEET)]
    certificates: Option<String>,
    /// Their lifetime: 90d, 47d [default: 90d]
    #[arg(long, value_name = "TIME", help_heading = FLEET)]
    lifetime: Option<String>,
    /// The first day, UTC [default: 2026-01-01]
    #[arg(long, value_name = "DATE", help_heading = FLEET)]
    start: Option<String>,
    /// How long to simulate: 30d, 365d [default: 365d]
    #[arg(long, value_name = "TIME", help_heading = FLEET)]
    length: Option<String>,
    /// A class of clients: NAME=WEIGHT[,retry=next-look|exponential|hot-loop][,retry-after=kept|ignored]; may be
    /// repeated. The names are cron-midnight, cron-hour, certbot, daemon, ari and monthly [default: all of them]
    #[arg(long = "class", value_name = "NAME=W", help_heading = FLEET)]
    classes: Vec<String>,
    /// What happens: "outage 6h at 3d", "revoke 10% at 5d", "lifetime 90d -> 47d at 10d over 30d", "growth 1%/d",
    /// "limit 300/s"; may be repeated
    #[arg(long = "event", value_name = "EVENT", help_heading = FLEET)]
    events: Vec<String>,
    /// A renewal is late if it is served later than this after it was due [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = FLEET)]
    late_after: Option<String>,
    /// Seed of every random choice; equal seeds give equal figures [default: 1]
    #[arg(id = "fleet_seed", long = "fleet-seed", value_name = "N", help_heading = FLEET)]
    seed: Option<u64>,
    /// Certificates that the CA can issue: 300/s, 10M/d [default: as many as are ordered]
    #[arg(long = "ca-rate", value_name = "RATE", help_heading = MODEL)]
    rate: Option<String>,
    /// Orders that can wait at the CA; it answers 503 to further ones [default: as many as it issues in 10 s]
    #[arg(long = "ca-queue", value_name = "N", help_heading = MODEL)]
    queue: Option<String>,
    /// The Retry-After of its 503 [default: 60s]
    #[arg(long = "ca-retry-after", value_name = "TIME", help_heading = MODEL)]
    retry_after: Option<String>,
    /// Time of an issuance without waiting, in whole seconds [default: 1s]
    #[arg(long = "ca-latency", value_name = "TIME", help_heading = MODEL)]
    latency: Option<String>,
}

impl FleetFlags {
    /// The scenario of the file and the flags.
    ///
    /// # Errors
    /// All errors, one a line, each with its key.
    pub(crate) fn scenario(self) -> Result<Scenario, String> {
        let mut settings = match &self.file {
            None => FleetSettings::default(),
            Some(file) => {
                let shown = file.display();
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
                FleetSettings::of_toml(&text).map_err(|error| format!("{shown}: {error}"))?
            }
        };
        let set = |value: &mut String, flag: Option<String>| {
            if let Some(flag) = flag {
                *value = flag;
            }
        };
        set(&mut settings.certificates, self.certificates);
        set(&mut settings.lifetime, self.lifetime);
        set(&mut settings.start, self.start);
        set(&mut settings.length, self.length);
        set(&mut settings.late_after, self.late_after);
        set(&mut settings.ca_retry_after, self.retry_after);
        set(&mut settings.ca_latency, self.latency);
        settings.ca_rate = self.rate.or(settings.ca_rate);
        settings.ca_queue = self.queue.or(settings.ca_queue);
        settings.seed = self.seed.unwrap_or(settings.seed);
        for (value, flags) in [(&mut settings.classes, self.classes), (&mut settings.events, self.events)] {
            if !flags.is_empty() {
                *value = flags;
            }
        }
        settings.read().map_err(|wrong| wrong.to_string())
    }
}
