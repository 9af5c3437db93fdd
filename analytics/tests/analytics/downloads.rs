//! Downloads of a run, and the notes of people about it.

use wec_analytics::{IndexPlace, Runs, ServedPage, make_reports_by};
use wec_record::{Chain, Footer, Record};

use crate::common::{START, chain_record, chain_result, exchange, header};

const HOST: &str = "Host: localhost";
const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn a_run_gives_its_log_and_its_report_and_keeps_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let results = (1..=5).map(|seq| chain_record("r1", chain_result(Chain::Revoke, seq, seq, 1_000_000)));
    let footer = Record::Footer(Footer { at_unix_ns: START + 1_000_000_000, ..Footer::default() });
    let records = [Record::Header(header("run"))].into_iter().chain(results).chain([footer]);
    let log: String =
        records.map(|record| format!("{}\n", serde_json::to_string(&record).unwrap())).collect();
    std::fs::write(folder.path().join("run.jsonl"), &log).unwrap();
    let page = ServedPage {
        folder: folder.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        token: None,
        opens_with: None,
    };
    let page = page.start_with(IndexPlace::Beside).await.unwrap();
    let address = page.web_addr().unwrap();
    let get = async |path: &str| exchange(address, &format!("GET /api/v1/{path}"), &[HOST], b"").await;
    let note = async |run: &str, text: &str| {
        let body = serde_json::json!({ "text": text }).to_string();
        exchange(address, &format!("PUT /api/v1/runs/{run}/note"), &[HOST, JSON], body.as_bytes()).await
    };
    let noted = async || {
        let (.., text) = get("runs").await;
        serde_json::from_str::<Runs>(&text).unwrap().runs[0].note.clone()
    };

    let (status, head, text) = get("runs/run/log").await;
    assert_eq!((status, &text), (200, &log));
    assert!(head.contains("content-disposition: attachment; filename=\"run.jsonl\""), "{head}");
    assert_eq!(get("runs/other/log").await.0, 404);

    let (status, _, text) = get("runs/run/report").await;
    assert_eq!(status, 404, "{text}");
    make_reports_by(|aggregate, problems, ended| {
        format!("{} requests, {} problems, {ended}", aggregate.snapshot().requests, problems.len())
    });
    // From the log, and from the index, which has no counts.
    for _ in 0..2 {
        let (status, head, text) = get("runs/run/report").await;
        assert_eq!((status, &*text), (200, "20 requests, 0 problems, true"));
        assert!(head.contains("filename=\"run.html\""), "{head}");
    }

    assert_eq!(noted().await, "");
    assert_eq!(note("run", " before the new disks\n").await.0, 200);
    assert_eq!(noted().await, "before the new disks");
    let file = folder.path().join("run.note");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before the new disks\n");
    let (status, _, text) = note("run", &"x".repeat(4_001)).await;
    assert!(status == 400 && text.contains("at most 4000 bytes"), "{status} {text}");
    assert_eq!(noted().await, "before the new disks");
    assert_eq!(note("other", "x").await.0, 404);
    assert_eq!(exchange(address, "PUT /api/v1/runs/run/note", &[HOST], b"{}").await.0, 415);
    assert_eq!(note("run", "").await.0, 200);
    assert!(!file.exists());
    page.finish().await;
}
