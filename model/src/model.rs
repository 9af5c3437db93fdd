//! `Model`: the load of a log as a configuration file for `wec run`.

use std::fmt::Write as _;
use std::time::Duration;

use wec_acme::Endpoint;
use wec_record::Chain;
use wec_record::plan::MAX_WORKERS;

use crate::Counts;
use crate::client::{Client, NAMES};
use crate::counts::Status;
use crate::derive::{Starts, Stock, scaled, starts};
use crate::text;

/// The most kinds of clients with scenarios of their own.
const MOST_CLIENTS: usize = 5;
/// Time between the begin of the run and its first start: a node that receives a rate late loses the starts before.
const AHEAD: u64 = 3;
/// Chains a second that are started for the preparation, if the log has no higher rate.
const PREPARED: f64 = 20.0;
/// The time of a chain for which there are enough workers, seconds, and the number of workers without a key.
const ROOM: (f64, f64) = (10.0, 1_000.0);

/// New orders of a second from which on, and times as many as its step has on average, it is a peak worth a line.
const FEW: u32 = 10;
const PEAK: f64 = 3.0;
/// The most steps that can be asked for: more than the seconds of a day.
const MOST_STEPS: u32 = 100_000;

/// What a model is made with.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// The load, as a multiple of the log's.
    pub scale: f64,
    /// The CA's directory in the file; if none, a flag must give it.
    pub directory: Option<String>,
    /// The share of the requests from which a kind of clients has scenarios of its own, 0 to 1.
    pub client_share: f64,
    /// How long the CA may take to make what the next chain needs: a validation, an issuance.
    pub settle: Duration,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self { scale: 1.0, directory: None, client_share: 0.02, settle: Duration::from_secs(5) }
    }
}

/// The load of a log.
#[derive(Clone, Debug)]
pub struct Model {
    settings: ModelSettings,
    /// Facts about the log and the model, a line each.
    facts: Vec<String>,
    /// The width of a step, seconds.
    width: u64,
    starts: Vec<Starts>,
    stock: Stock,
    /// Whether the CA answered 429 or 503, so that clients came again.
    refused: bool,
}

impl Model {
    /// The model of what was counted.
    ///
    /// # Errors
    /// When there is no chain to start. The message has what the logs contain instead.
    pub fn of(counts: &Counts, settings: ModelSettings) -> Result<Self, String> {
        let mut all = Vec::new();
        for (name, clients) in groups(counts, settings.client_share) {
            all.extend(starts(counts, name, &clients));
        }
        if all.is_empty() {
            return Err(nothing(counts));
        }
        for starts in &mut all {
            starts.counts = scaled(&starts.counts, settings.scale);
        }
        all.retain(|starts| starts.total() > 0);
        if all.is_empty() {
            return Err(format!("at {} of its load the log has no chain to start", settings.scale));
        }
        let width = counts.width();
        let lag = settings.settle.as_secs_f64() / width as f64;
        let stock = Stock::of(&all, (lag.ceil() as usize).max(1));
        let answers = |status| Endpoint::ALL.into_iter().any(|endpoint| counts.answers(endpoint, status) > 0);
        let refused = answers(Status::Limited) || answers(Status::Busy);
        let facts = facts(counts, &settings);
        Ok(Self { settings, facts, width, starts: all, stock, refused })
    }

    /// Facts about the log and the model, for people.
    pub fn facts(&self) -> &[String] {
        &self.facts
    }

    /// When each chain of each kind of clients starts, and the width of a step in seconds.
    pub fn starts(&self) -> (&[Starts], u64) {
        (&self.starts, self.width)
    }

    /// The objects that are made before the load.
    pub fn stock(&self) -> Stock {
        self.stock
    }

    /// When the log's load begins, seconds after the run's begin.
    pub fn begin(&self) -> u64 {
        self.preparation().1
    }

    /// The configuration file.
    pub fn toml(&self) -> String {
        let mut file =
            String::from("# The load of a CA's access log, made by wec model (docs/model.md).\n#\n");
        self.facts.iter().for_each(|fact| line(&mut file, &format!("# {fact}")));
        line(&mut file, "");
        match &self.settings.directory {
            Some(directory) => {
                line(&mut file, &format!("directory = {}", serde_json::Value::from(&directory[..])))
            }
            None => line(&mut file, "# directory = \"https://ca.test:14000/dir\", or --directory"),
        }
        if self.refused {
            line(&mut file, "# Clients that came again after 429 or 503 are chains of their own.");
            line(&mut file, "max_retries = 0");
        }
        line(&mut file, "spacing = \"even\"");
        let (preparation, begin) = self.preparation();
        if !preparation.is_empty() {
            line(&mut file, "\n# What the load needs at its begin.");
        }
        for (name, starts, start_at) in &preparation {
            scenario(&mut file, name, starts, (*start_at, 1));
        }
        line(&mut file, "\n# The load.");
        for starts in &self.starts {
            scenario(&mut file, &self.name(starts), starts, (begin, self.width));
        }
        file
    }

    /// The scenarios that make the stock, and when the load begins.
    fn preparation(&self) -> (Vec<(String, Starts, u64)>, u64) {
        let Stock { accounts, orders, certificates } = self.stock;
        let steps = self.starts.iter().map(|starts| starts.counts.len()).max().unwrap_or(0);
        let of_step = |step: usize| self.starts.iter().map(|starts| starts.counts[step]).sum::<u64>();
        let peak = (0..steps).map(of_step).max().unwrap_or(0) as f64 / self.width as f64;
        let rate = peak.max(PREPARED);
        let names = self.starts.iter().filter(|starts| starts.names > 0).max_by_key(|starts| starts.total());
        let names = names.map_or(1, |starts| starts.names);
        let settle = self.settings.settle.as_secs_f64().ceil() as u64;
        let mut at = AHEAD;
        let mut scenarios = Vec::new();
        for (name, chain, number) in [
            ("prepare-accounts", Chain::Registration, accounts),
            ("prepare-orders", Chain::Authorization, orders + certificates),
            ("prepare-certificates", Chain::Certificate, certificates),
        ] {
            if number == 0 {
                continue;
            }
            let seconds = (number as f64 / rate).ceil() as u64;
            let counts =
                (1..=seconds).map(|second| number * second / seconds - number * (second - 1) / seconds);
            let names = if chain == Chain::Authorization { names } else { 0 };
            let starts =
                Starts { client: "", chain, names, abandon: 0.0, strangers: false, counts: counts.collect() };
            scenarios.push((name.to_owned(), starts, at));
            at += seconds + settle;
        }
        (scenarios, at)
    }

    /// The name of a scenario: the client, the chain, and the number of names if another scenario has another one.
    fn name(&self, starts: &Starts) -> String {
        let client = if starts.client.is_empty() { String::new() } else { format!("{}-", starts.client) };
        let same = |other: &&Starts| other.client == starts.client && other.chain == starts.chain;
        match starts.names {
            names if names > 0 && self.starts.iter().filter(same).count() > 1 => {
                let s = if names == 1 { "" } else { "s" };
                format!("{client}{}-{names}-name{s}", starts.chain)
            }
            _ => format!("{client}{}", starts.chain),
        }
    }
}

fn line(file: &mut String, text: &str) {
    file.push_str(text);
    file.push('\n');
}

/// A table `[scenarios.NAME]`. Times are the start and the width of a step, seconds.
fn scenario(file: &mut String, name: &str, starts: &Starts, (start_at, width): (u64, u64)) {
    let weights: Vec<_> = Chain::ALL
        .into_iter()
        .filter(|chain| *chain == starts.chain || chain.facts().default_weight > 0.0)
        .map(|chain| format!("{chain} = {}", u8::from(chain == starts.chain)))
        .collect();
    let peak = starts.counts.iter().max().copied().unwrap_or(0) as f64 / width as f64;
    let workers = (peak * ROOM.0).ceil().min(f64::from(MAX_WORKERS));
    // A second more than the steps, so that an arrival at their end is not too late.
    let run_time = starts.counts.len() as u64 * width + 1;
    line(file, &format!("\n[scenarios.{name}]\nstart_at = \"{start_at}s\"\nrun_time = \"{run_time}s\""));
    if workers > ROOM.1 {
        line(file, &format!("workers = {workers}"));
    }
    line(file, &format!("weights = {{ {} }}", weights.join(", ")));
    if starts.names > 0 {
        line(file, &format!("names_per_order = {}", starts.names));
    }
    if starts.abandon > 0.0 {
        line(file, &format!("abandon = \"{:.2}%\"", starts.abandon * 100.0));
    }
    if starts.strangers {
        line(file, "connections = \"per-chain\"");
    }
    line(file, "rate = 0\nstages = [");
    let stages = stages(&starts.counts, width);
    stages.chunks(8).for_each(|chunk| line(file, &format!("    {},", chunk.join(", "))));
    line(file, "]");
}

/// The stages of an arrival rate that starts so many chains in each step, evenly spaced in it.
fn stages(counts: &[u64], width: u64) -> Vec<String> {
    let first = counts.iter().position(|count| *count > 0);
    // The n-th arrival is due when the total exceeds n. Half an arrival less keeps all totals at the ends of steps away
    // from whole numbers, so that rounding moves no arrival into another step.
    let rate = |(place, count): (usize, &u64)| {
        (*count as f64 - if Some(place) == first { 0.5 } else { 0.0 }) / width as f64
    };
    let mut steps: Vec<(u64, f64)> = Vec::new();
    for rate in counts.iter().enumerate().map(rate) {
        match steps.last_mut().filter(|(_, held)| *held == rate) {
            Some((seconds, _)) => *seconds += width,
            None => steps.push((width, rate)),
        }
    }
    let jump = |rate: f64| format!("\"0s:{rate}\"");
    let held = steps.into_iter().flat_map(|(seconds, rate)| [jump(rate), format!("\"{seconds}s:{rate}\"")]);
    held.chain([jump(0.0)]).collect()
}

/// Clients with scenarios of their own, and one group for the others. With one group alone it has no name.
fn groups(counts: &Counts, share: f64) -> Vec<(&'static str, Vec<Client>)> {
    let (clients, all) = (counts.clients(), counts.requests() as f64);
    let is_large =
        |(client, number): &&(Client, u64)| *client != Client::OTHER && *number as f64 >= share * all;
    let large: Vec<_> =
        clients.iter().filter(is_large).take(MOST_CLIENTS).map(|(client, _)| *client).collect();
    let rest: Vec<_> =
        clients.iter().map(|(client, _)| *client).filter(|client| !large.contains(client)).collect();
    let mut groups: Vec<_> = large.into_iter().map(|client| (client.name(), vec![client])).collect();
    if !rest.is_empty() {
        groups.push((NAMES[Client::OTHER.index()], rest));
    }
    if let [(name, _)] = &mut groups[..] {
        *name = "";
    }
    groups
}

fn facts(counts: &Counts, settings: &ModelSettings) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some((first, last)) = counts.span() {
        facts.push(format!(
            "Log: {} requests from {} to {}.",
            text::count(counts.requests()),
            text::moment(first),
            text::moment(last)
        ));
    }
    facts.push(format!(
        "Model: steps of {}, {} times the log's load.",
        text::width(counts.width()),
        settings.scale
    ));
    if let Some((second, most, mean)) = counts.busiest()
        && counts.width() > 1
        && most >= FEW
        && f64::from(most) >= PEAK * mean
    {
        facts.push(format!(
            "Peak: {} new orders in the second of {}; the model spreads them over their step, which has {mean:.1} a second. \
             --steps {MOST_STEPS} or a log of that hour alone keeps the peak.",
            text::count(most.into()),
            text::moment(second)
        ));
    }
    let clients = counts.clients().into_iter();
    let clients =
        clients.map(|(client, count)| format!("{} {}", client.name(), text::share(count, counts.requests())));
    facts.push(format!("Clients: {}.", clients.collect::<Vec<_>>().join(", ")));
    if let Some(identifiers) = counts.identifiers() {
        facts.push(format!("Names in an order, by the log: {identifiers:.2} on average."));
    }
    facts.push(String::new());
    let mut head = format!("{:<14}", "endpoint");
    Status::ALL.iter().for_each(|(_, name)| {
        let _ = write!(head, "{name:>12}");
    });
    facts.push(head);
    for endpoint in Endpoint::ALL {
        let answers = Status::ALL.map(|(status, _)| counts.answers(endpoint, status));
        if answers.iter().any(|count| *count > 0) {
            let columns = answers.map(|count| format!("{:>12}", text::count(count))).concat();
            facts.push(format!("{:<14}{columns}", endpoint.name()));
        }
    }
    let refused: u64 = Endpoint::ALL.map(|endpoint| counts.answers(endpoint, Status::Refused)).iter().sum();
    if refused > 0 {
        facts.push(String::new());
        let nonces = match counts.bad_nonces() {
            0 => String::new(),
            some => format!(", {} of them for their nonces", text::count(some)),
        };
        facts.push(format!(
            "The model leaves out {} requests that were refused with 4xx other than 429{nonces}.",
            text::count(refused)
        ));
    }
    facts
}

fn nothing(counts: &Counts) -> String {
    match counts.elsewhere() {
        (0, _) if counts.requests() > 0 => {
            "the logs have no request that begins a chain and was not refused".to_owned()
        }
        (0, _) => "the logs have no requests".to_owned(),
        (some, paths) => format!(
            "the logs have no request that begins a chain, and {} to paths that are no ACME server's, such as {}: name \
             the CA's with --map PREFIX=ENDPOINT",
            text::count(some),
            paths.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;
    use crate::formats::parse;

    #[test]
    fn stages_jump_to_the_rate_of_each_step() {
        for (counts, width, wanted) in [
            (&[4, 4, 0, 2][..], 1, "0s:3.5 1s:3.5 0s:4 1s:4 0s:0 1s:0 0s:2 1s:2 0s:0"),
            (&[0, 0, 5, 5, 5], 2, "0s:0 4s:0 0s:2.25 2s:2.25 0s:2.5 4s:2.5 0s:0"),
            (&[], 1, "0s:0"),
        ] {
            assert_eq!(stages(counts, width).join(" ").replace('"', ""), wanted, "{counts:?}");
        }
    }

    /// Requests of a second each, by agent.
    fn counts(agents: &[(&str, u64)]) -> Counts {
        let mut counts = Counts::new(Paths::default(), 100);
        for (agent, number) in agents {
            for second in 0..*number {
                for (path, status) in [("new-order", 201), ("challenge/7", 200), ("finalize/7", 200)] {
                    let line = format!(
                        r#"{{"ts":{},"method":"POST","uri":"/acme/{path}","status":{status},"agent":"{agent}","remote_ip":"192.0.2.7"}}"#,
                        1_795_993_124 + second
                    );
                    counts.add(&parse(line.as_bytes()).unwrap().unwrap());
                }
            }
        }
        counts
    }

    fn names(counts: &Counts, client_share: f64) -> Vec<String> {
        let model = Model::of(counts, ModelSettings { client_share, ..ModelSettings::default() }).unwrap();
        model.starts.iter().map(|starts| model.name(starts)).collect()
    }

    #[test]
    fn large_kinds_of_clients_have_scenarios_of_their_own() {
        let counts = counts(&[("certbot/1", 60), ("acme.sh/3", 39), ("lego-cli/4", 1), ("Customer Ltd", 30)]);
        let own =
            ["certbot-authorization", "certbot-certificate", "acme-sh-authorization", "acme-sh-certificate"];
        let all = [&own[..], &["other-authorization", "other-certificate"]].concat();
        assert_eq!(names(&counts, 0.02), all);
        assert_eq!(names(&counts, 1.0), ["authorization", "certificate"]);
        let file = Model::of(&counts, ModelSettings::default()).unwrap().toml();
        assert!(
            file.contains("certbot 46.2 %") && !file.contains("Customer") && !file.contains("192.0.2.7"),
            "{file}"
        );
    }

    #[test]
    fn a_peak_that_is_shorter_than_a_step_is_told() {
        let facts = |most, orders_at_once| {
            let mut counts = Counts::new(Paths::default(), most);
            let orders = (0..40).chain(std::iter::repeat_n(7, orders_at_once));
            for second in orders {
                let time = 1_795_993_120 + second;
                let line = format!(r#"{{"ts":{time},"method":"POST","uri":"/acme/new-order","status":201}}"#);
                counts.add(&parse(line.as_bytes()).unwrap().unwrap());
            }
            Model::of(&counts, ModelSettings::default()).unwrap().facts().join("\n")
        };
        let told = facts(10, 29);
        assert!(told.contains("Peak: 30 new orders in the second of 2026-11-29 22:58:47"), "{told}");
        assert!(told.contains("which has 3.9 a second. --steps 100000"), "{told}");
        // Steps of a second have it, and few orders are no peak.
        assert!(!facts(100, 29).contains("Peak") && !facts(10, 3).contains("Peak"));
    }

    #[test]
    fn a_load_is_scaled_and_prepared() {
        let counts = counts(&[("certbot/1", 30)]);
        let total = |scale| {
            let model = Model::of(&counts, ModelSettings { scale, ..ModelSettings::default() }).unwrap();
            (model.starts.iter().map(Starts::total).sum::<u64>(), model.stock(), model.begin())
        };
        let stock = |orders| Stock { accounts: 10, orders, certificates: 0 };
        // Orders are used up to five seconds before they are made.
        assert_eq!(total(1.0), (60, stock(5), 3 + 6 + 6));
        assert_eq!(total(2.0), (120, stock(10), 3 + 6 + 6));
        let error =
            Model::of(&counts, ModelSettings { scale: 0.001, ..ModelSettings::default() }).unwrap_err();
        assert_eq!(error, "at 0.001 of its load the log has no chain to start");
    }

    #[test]
    fn a_log_without_chains_is_an_error_with_a_way_out() {
        let mut counts = Counts::new(Paths::default(), 10);
        let error = |counts: &Counts| Model::of(counts, ModelSettings::default()).unwrap_err();
        assert_eq!(error(&counts), "the logs have no requests");
        let line = r#"{"ts":1795993124,"method":"POST","uri":"/v2/orders/123","status":200}"#;
        counts.add(&parse(line.as_bytes()).unwrap().unwrap());
        // `orders` is the list of an account's orders in other servers.
        let line = line.replace("orders", "bestellungen");
        counts.add(&parse(line.as_bytes()).unwrap().unwrap());
        assert_eq!(Model::of(&counts, ModelSettings::default()).unwrap().starts.len(), 1);
        let mut counts = Counts::new(Paths::default(), 10);
        counts.add(&parse(line.as_bytes()).unwrap().unwrap());
        assert!(
            error(&counts).contains("such as /v2/bestellungen/: name the CA's with --map"),
            "{}",
            error(&counts)
        );
    }
}
