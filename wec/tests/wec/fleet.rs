//! `wec fleet` with the commands of docs/fleet.md, and with wrong flags.

use std::path::Path;

use serde_json::Value;
use wec_record::{FLEET_SOURCE, Record};

use crate::common::{NullCa, chain, log, run, said, summary};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md");

/// Each command of `docs/fleet.md` prints what is written below it. Its pictures are those in `docs/images`.
#[test]
fn the_page_of_fleets_shows_real_output() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let images = Path::new(PAGE).parent().unwrap().join("images");
    let folder = tempfile::tempdir().unwrap();
    let mut now = String::new();
    let mut commands = 0;
    for (place, part) in page.split("```console\n").enumerate() {
        let Some((block, rest)) = part.split_once("\n```").filter(|_| place > 0) else {
            now.push_str(part);
            continue;
        };
        let (command, _) = block.split_once('\n').unwrap_or((block, ""));
        let arguments = words(command.strip_prefix("$ wec ").unwrap());
        let output = run(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{command}: {}", said(&output));
        let printed = String::from_utf8(output.stdout).unwrap();
        now.push_str(&format!("```console\n{command}\n{}\n```{rest}", printed.trim_end()));
        commands += 1;
    }
    let pictures: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    let writes = std::env::var_os("WEC_WRITE_DOCS").is_some();
    if writes {
        std::fs::write(PAGE, &now).unwrap();
    }
    for picture in &pictures {
        let image = images.join(picture.file_name().unwrap());
        if writes {
            std::fs::copy(picture, &image).unwrap();
        }
        let same = std::fs::read(&image).is_ok_and(|image| image == std::fs::read(picture).unwrap());
        assert!(same, "{} is not what its command draws: {HOW}", image.display());
    }
    assert!(writes || page == now, "docs/fleet.md is not what its commands print: {HOW}");
    assert_eq!((commands, pictures.len()), (3, 3));
}

const HOW: &str = "WEC_WRITE_DOCS=1 cargo test -p wec --test wec fleet";

/// As a shell splits it, with double quotes only.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    let parts = quoted.flat_map(|(place, part)| match place % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![part.to_owned()],
    });
    parts.collect()
}

#[test]
fn a_fleet_of_a_file_is_planned_as_json_and_csv() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[fleet]\ncertificates = \"50k\"\nlength = \"2d\"\nca_rate = \"1/s\"\nevents = [\"outage 6h at 1d\"]\n";
    std::fs::write(folder.path().join("fleet.toml"), file).unwrap();
    let arguments = [
        "fleet",
        "plan",
        "--fleet",
        "fleet.toml",
        "--certificates",
        "60k",
        "--json",
        "-",
        "--csv",
        "s.csv",
        "--step",
        "1h",
    ];
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["certificates"], 60_000);
    assert!(figures["total"]["failed"].as_u64().unwrap() > 0, "an outage: {}", figures["total"]);
    assert_eq!(figures["balanced"], true);
    let csv = std::fs::read_to_string(folder.path().join("s.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 49, "a row for each hour, and the header");
    let column = |name: &str| rows[0].iter().position(|column| *column == name).unwrap();
    let sum = |name: &str| rows[1..].iter().map(|row| row[column(name)].parse::<u64>().unwrap()).sum::<u64>();
    for (name, total) in [("orders", "orders"), ("due", "due"), ("issued", "issued"), ("failed", "failed")] {
        assert_eq!(figures["total"][total], sum(name), "{name}");
    }
    assert_eq!(rows[1][..2], ["0", "2026-01-01 00:00:00"]);
}

#[test]
fn wrong_fleets_are_refused_with_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = run(folder.path(), &[&["fleet", "plan"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    let wrong = refused(&["--certificates", "many", "--event", "flood 1h at 1d", "--ca-queue", "5"]);
    for part in [
        "certificates: \"many\" is not a number",
        "\"flood\" is not an event",
        "ca_queue: a CA without a rate",
    ] {
        assert!(wrong.contains(part), "{wrong}");
    }
    assert!(refused(&["--fleet", "none.toml"]).contains("cannot read none.toml"));
    assert!(refused(&["--json", "-", "--csv", "-"]).contains("cannot both write to standard output"));
    assert!(refused(&["--step", "0s"]).contains("must be longer than 0s"));
}

/// A window of a fleet, driven at a built-in CA with the capacity of the model: 40 new orders a second, which is 2 on a
/// clock of 20 times the speed. After midnight both work off a herd.
#[test]
fn plan_and_drive_of_the_same_window_agree() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &["--serve", "newOrder=40/s"]);
    let fleet =
        ["--certificates", "400k", "--start", "2026-03-10", "--length", "2d", "--event", "growth 1%/d"];
    let model = ["--ca-rate", "2/s", "--ca-queue", "1000"];
    // From before midnight to after it; ten minutes in thirty seconds.
    let window =
        ["--window", "23h55m:10m", "--speed", "20", "--accounts", "20", "--fleet-json", "fleet.json"];
    let flags = ["--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    let arguments = [&["fleet", "drive"], &fleet[..], &model, &window, &flags, &ca.target()].concat();
    let output = run(folder.path(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let text = std::fs::read_to_string(folder.path().join("fleet.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let (planned, driven) = (&figures["planned"], &figures["driven"]);
    assert!(planned["orders"].as_u64().unwrap() > 250, "{planned}");
    for figure in ["orders", "due", "issued"] {
        let value = |of: &Value| of[figure].as_f64().unwrap();
        let apart = (value(driven) - value(planned)).abs() / value(planned);
        assert!(apart <= 0.02, "{figure}: {driven} beside {planned}");
    }
    // What the fleet counts is what the run counts.
    let summary = summary(folder.path());
    let (refreshes, failed) = chain(&summary, "refresh");
    let issued = driven["issued"].as_u64().unwrap();
    assert_eq!(refreshes - failed, issued, "{}", summary["chains"]);
    // And what the log and the report have.
    let log = log(folder.path());
    let last = log.iter().rev().find_map(|record| match record {
        Record::Observation(observation) if observation.source == FLEET_SOURCE => Some(observation),
        _ => None,
    });
    let last = last.expect("figures of the fleet in the log");
    assert_eq!(last.counters["issued_total"], issued as f64);
    assert_eq!(last.counters["orders_total"], driven["orders"].as_f64().unwrap());
    let name = std::fs::read_dir(folder.path().join("results")).unwrap().next().unwrap().unwrap().path();
    let output = run(folder.path(), &["report", name.to_str().unwrap(), "--html", "-"]);
    let report = String::from_utf8(output.stdout).unwrap();
    let orders = &driven["orders"];
    assert!(
        report.contains(&format!("The clients began {orders} orders")),
        "no paragraph about {orders} orders"
    );
    assert!(report.contains("Demand and service of the fleet"));
}

/// A day in a minute at a CA that refuses and fails, with too few workers: what became of each order is what the CA and
/// the run have counted, and no client without a certificate counts as served.
#[test]
fn what_became_of_each_order_is_what_the_ca_counted() {
    let folder = tempfile::tempdir().unwrap();
    let faults =
        ["newOrder=503:20%", "newOrder=429:20%", "newOrder=html503:10%"].map(|fault| ["--fault", fault]);
    let flags =
        [faults.as_flattened(), &["--validation-failures", "30%", "--latency", "newOrder=50ms"]].concat();
    let ca = NullCa::start(folder.path(), &flags);
    let fleet = ["--certificates", "200k", "--length", "1d", "--window", "12h:1h", "--speed", "1440"];
    let run_flags = ["--workers", "3", "--accounts", "20", "--fleet-json", "fleet.json", "--headless"];
    let more = ["--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    let arguments = [&["fleet", "drive"], &fleet[..], &run_flags, &more, &ca.target()].concat();
    let output = run(folder.path(), &arguments);
    assert!(said(&output).contains("warning: 3 workers are fewer than the"), "{}", said(&output));
    let text = std::fs::read_to_string(folder.path().join("fleet.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let driven = |figure: &str| figures["driven"][figure].as_u64().unwrap();
    assert_eq!(figures["driven"]["due"], figures["planned"]["due"], "the clock ran at the whole speed");
    let summary = summary(folder.path());
    let (refreshes, failed) = chain(&summary, "refresh");
    let not_sent = summary["scenarios"]["fleet"]["dropped"].as_u64().unwrap();
    assert_eq!(driven("issued"), refreshes - failed, "{figures:#}");
    assert_eq!((driven("not_sent"), driven("orders")), (not_sent, refreshes + not_sent), "{figures:#}");
    let counts = ca.stop();
    let refused =
        ["503", "429", "html503"].map(|kind| counts["on_purpose"]["faults"][kind].as_u64().unwrap());
    assert_eq!(driven("refused"), refused.iter().sum::<u64>(), "{counts:#}");
    assert_eq!(driven("failed"), counts["validations_invalid"].as_u64().unwrap(), "{counts:#}");
    for figure in ["issued", "refused", "failed", "not_sent"] {
        assert!(driven(figure) > 0, "{figures:#}");
    }
    assert_eq!(
        summary["scenarios"]["fleet"]["asked"], summary["scenarios"]["fleet"]["due"],
        "orders, not seconds"
    );
}
