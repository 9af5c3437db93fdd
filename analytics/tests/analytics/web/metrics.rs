//! What Prometheus scrapes.

use wec_analytics::Live;
use wec_record::Chain;

use super::{service, wait_for};
use crate::common::{chain_record, chain_result, exchange, header};

/// The value of a series in a text for Prometheus.
fn metric(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn prometheus_scrapes_the_figures_that_the_page_shows() {
    let service = service(None).await;
    let (status, _, text) = exchange(service.address, "GET /metrics", &["Host: localhost"], b"").await;
    assert_eq!(status, 200);
    assert!(text.contains("wec_build_info") && !text.contains("wec_run_info"), "{text}");

    service.analytics.begin(header("run")).await.unwrap();
    let chain = |seq: u64| Chain::ALL[seq as usize % 4];
    let results = (1..=500)
        .map(|seq| chain_record("r1", chain_result(chain(seq), seq, seq * 1_000_000, seq * 3_000_000)))
        .collect();
    service.analytics.ingest().deliver(results).await.unwrap();
    let ended = |live: &Live| live.snapshot.chains.values().map(|chain| chain.count).sum::<u64>();
    let live = wait_for(service.address, |live| ended(live) == 500).await.snapshot;
    let (_, head, text) = exchange(service.address, "GET /metrics", &["Host: localhost"], b"").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.contains(r#"wec_run_info{run="run",session="default""#), "{text}");
    for (chain, figures) in &live.chains {
        let of_chain = |name: &str| metric(&text, &format!(r#"{name}{{chain="{chain}"}}"#)) as u64;
        assert_eq!(of_chain("wec_chains_total"), figures.count);
        assert_eq!(of_chain("wec_chain_response_time_seconds_count"), figures.response_time_ns.n);
    }
    let failed = |class: &str| {
        let lines = text.lines().filter(|line| line.starts_with("wec_http_request_failures_total"));
        lines.filter(|line| line.contains(class)).count()
    };
    assert_eq!((failed(""), failed(r#"class="problem""#)), (1, 1), "{text}");
    for figures in &live.endpoints {
        let labels = format!(r#"endpoint="{}",method="{}""#, figures.endpoint, figures.method);
        assert_eq!(
            metric(&text, &format!("wec_http_requests_total{{{labels}}}")) as u64,
            figures.count - figures.cut_off
        );
        let bucket = |le: &str| {
            metric(&text, &format!(r#"wec_http_response_time_seconds_bucket{{le="{le}",{labels}}}"#))
        };
        assert_eq!(bucket("+Inf") as u64, figures.response_time_ns.n);
        // A step of the iteration `seq` took a quarter of 3 ms · seq: 100 ms from seq 134 on.
        assert_eq!(bucket("0.1"), (1..=133).filter(|seq| figures.failed == 0 || seq % 7 != 0).count() as f64);
        let mean = metric(&text, &format!("wec_http_response_time_seconds_sum{{{labels}}}")) / bucket("+Inf");
        assert!((mean * 1e9 - figures.response_time_ns.mean.unwrap() as f64).abs() < 2.0);
    }
    assert_eq!(metric(&text, "wec_certificates_issued_total") as u64, live.issued.count);
}

#[tokio::test]
async fn a_scrape_needs_the_token_and_may_ask_for_another_format() {
    let service = service(Some("s3cret")).await;
    let (status, ..) = exchange(service.address, "GET /metrics", &["Host: localhost"], b"").await;
    assert_eq!(status, 401);
    let bearer = ["Host: localhost", "Authorization: Bearer s3cret", "Accept: text/plain;version=0.0.4"];
    let (status, head, text) = exchange(service.address, "GET /metrics", &bearer, b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4") && !text.contains("# EOF"), "{head}");
}
