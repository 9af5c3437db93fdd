//! A real run, scraped by a real Prometheus; the queries of the shipped dashboard return its figures.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use wec_record::{Observation, Record};
use wec_testbed::{Caddy, NodeExporter, Prometheus, Standard};

use crate::common::{NullCa, Run, free, log, results, run_until, said, signal, summary, until, wec};

const TOKEN: &str = "s3cret";
const DASHBOARD: &str = include_str!("../../../deploy/grafana/wec.json");
const SCRAPE: &str = include_str!("../../../deploy/prometheus/prometheus.yml");

/// One HTTP exchange. Returns head and body.
fn get(address: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

/// The values of an instant query.
fn query(prometheus: &Prometheus, expression: &str) -> Vec<f64> {
    let path = format!("/api/v1/query?query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC));
    let (_, body) = get(&prometheus.address().to_string(), &path, "");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    let series = answer["data"]["result"].as_array().unwrap().iter();
    let value = |series: &Value| series["value"][1].as_str().unwrap_or("1").parse().unwrap();
    series.map(value).filter(|value: &f64| !value.is_nan()).collect()
}

/// The expressions of the dashboard, each with the title of its panel.
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "10s");
            (panel["title"].as_str().unwrap().to_owned(), expression)
        })
    });
    targets.collect()
}

#[test]
fn every_panel_of_the_dashboard_shows_a_run_that_prometheus_scraped() {
    let folder = tempfile::tempdir().unwrap();
    // The CA validates there.
    let challenges = free();
    let faults = ["--bad-nonce", "0.05", "--fault", "newOrder=500:0.05", "--http01", &challenges];
    let ca = NullCa::start(folder.path(), &faults);
    let mut args = vec!["run", "--run-time", "10m", "--listen", "127.0.0.1:0", "--rate", "20"];
    args.extend(["--http01-listen", &challenges, "--workers", "8", "--json", "summary.json"]);
    args.extend(ca.target());
    let mut command = wec(folder.path(), &args);
    command.env("WEC_TOKEN", TOKEN);
    let mut run = Run::with(command);

    let config = SCRAPE.replace("127.0.0.1:8089", &run.page).replace("interval: 5s", "interval: 1s");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = |features: &[&str]| {
        runtime.block_on(Prometheus::start(&config, &[("wec-token", TOKEN)], features)).unwrap()
    };
    let (prometheus, with_native) = (start(&[]), start(&["native-histograms"]));
    let mut missing = expressions();
    assert!(missing.len() > 30, "{missing:?}");
    until("every panel has data", || {
        missing.retain(|(_, expression)| query(&prometheus, expression).is_empty());
        missing.is_empty()
    });
    let issuances = "histogram_count(wec_issuance_response_time_seconds)";
    until("there is a native histogram", || query(&with_native, issuances).iter().any(|count| *count > 0.0));

    let stored = query(&prometheus, "wec_certificates_issued_total");
    signal(&run.child, "-INT");
    run.child.wait().unwrap();
    let issued = summary(folder.path())["issued"]["count"].as_f64().unwrap();
    assert!(stored.len() == 1 && stored[0] > 0.0 && stored[0] <= issued, "{stored:?} of {issued}");
}

#[test]
fn a_real_exporter_is_observed_beside_a_run_and_one_that_is_away_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &["--no-verify"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exporter = runtime.block_on(NodeExporter::start()).unwrap();
    let (here, away) = (format!("machine={}", exporter.url()), format!("away=http://{}/s3cret", free()));
    let mut args = vec!["run", "--headless", "--workers", "4", "--json", "summary.json"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--observe", &here, "--observe", &away]);
    args.extend(ca.target());
    let observed =
        |records: &[Record]| records.iter().filter(|record| matches!(record, Record::Observation(_))).count();
    let output = run_until(folder.path(), &args, |records| observed(records) >= 3);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(105), "it is ended early: {said}");
    assert!(said.contains("away at http://127.0.0.1") && !said.contains("s3cret"), "{said}");

    let records = log(folder.path());
    let samples: Vec<&Observation> = records
        .iter()
        .filter_map(|record| if let Record::Observation(sample) = record { Some(sample) } else { None })
        .collect();
    assert!(samples.iter().all(|sample| sample.source == "machine"), "{samples:?}");
    for sample in samples {
        assert!(sample.gauges["node_load1"] >= 0.0);
        // An exporter that has just started has used no processor so far.
        assert!(sample.counters["process_cpu_seconds_total"] >= 0.0);
    }
    let summary = summary(folder.path());
    let series = summary["observed"].as_array().unwrap().iter();
    let names: Vec<_> =
        series.map(|series| (&series["source"], &series["name"], &series["measure"])).collect();
    let cpu = (&json!("machine"), &json!("process_cpu_seconds_total"), &json!("rate"));
    assert!(names.contains(&cpu), "{names:?}");
}

/// Observations among the records.
fn observations(records: &[Record]) -> Vec<&Observation> {
    records.iter().filter_map(observation).collect()
}

fn observation(record: &Record) -> Option<&Observation> {
    match record {
        Record::Observation(sample) => Some(sample),
        _ => None,
    }
}

/// Caddy counts its own requests. What it had counted in the last sample is what the log has of that time.
#[tokio::test(flavor = "multi_thread")]
async fn a_ca_is_observed_while_it_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let standard = Standard::reserve().unwrap();
    let caddy = Caddy::start(&standard).await.unwrap();
    let (directory, cacert) = (caddy.directory_url(), caddy.ca_file().to_str().unwrap().to_owned());
    let [http01, tlsalpn01, dns] =
        [standard.http01(), standard.tlsalpn01(), standard.dns()].map(|address| address.to_string());
    let metrics = format!("ca={}", caddy.metrics_url());
    let mut args =
        vec!["run", "--directory", &directory, "--cacert", &cacert, "--headless", "--workers", "2"];
    args.extend(["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns]);
    args.extend(["--observe", &metrics, "--observe-series", "caddy_http_request_duration_seconds_count*"]);
    args.extend(["--observe-series", "process_*", "--json", "summary.json"]);
    let output =
        run_until(folder.path(), &args, |log| observations(log).len() >= 4 && results(log).count() >= 5);
    assert_eq!(output.status.code(), Some(105), "it is ended early: {}", said(&output));

    let records = log(folder.path());
    let samples = observations(&records);
    let [.., before, last] = samples[..] else { panic!("{samples:?}") };
    let posts = |sample: &Observation| {
        let of_ca =
            |series: &&String| series.contains("handler=\"subroute\"") && series.contains("method=\"POST\"");
        sample.counters.iter().filter(|(series, _)| of_ca(series)).map(|(_, count)| *count as usize).sum()
    };
    let ended_by = |at_unix_ns: u64| {
        let chains = records.iter().filter_map(|record| match record {
            Record::Chain { origin_unix_ns, result, .. } => Some((*origin_unix_ns, result)),
            _ => None,
        });
        let posts = chains.flat_map(|(origin, result)| {
            let posts = result.requests.iter().filter(|request| request.method == "POST");
            posts.map(move |request| origin + request.done)
        });
        posts.filter(|done| *done <= at_unix_ns).count()
    };
    let counted: usize = posts(last);
    let (least, most) = (ended_by(before.at_unix_ns), ended_by(u64::MAX));
    assert!(least > 0 && least <= counted && counted <= most, "{least}..={most}: {counted} in {last:?}");
    assert!(posts(samples[0]) < counted, "{samples:?}");
    assert!(last.gauges["process_resident_memory_bytes"] > 1e6, "{last:?}");
    let summary = summary(folder.path());
    let observed = summary["observed"].as_array().unwrap();
    let is_cpu = |series: &&Value| series["name"] == "process_cpu_seconds_total" && series["source"] == "ca";
    assert!(observed.iter().any(|series| is_cpu(&series)), "{observed:?}");
}
