//! Downloads of a run, and the notes of people about it.

use wec_analytics::{IndexPlace, Runs, ServedPage};
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

    // From the log, and from the index, which has no counts.
    let mut reports = Vec::new();
    for _ in 0..2 {
        let (status, head, text) = get("runs/run/report").await;
        assert!(status == 200 && text.contains("<title>Load test of "), "{status} {text}");
        assert!(head.contains("filename=\"run.html\""), "{head}");
        reports.push(text);
    }
    assert_eq!(reports[0], reports[1]);

    let (status, _, text) = get("comparison?before=run&after=run,run").await;
    let compared: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &compared["before"], &compared["after"]),
        (200, &serde_json::json!(["run"]), &serde_json::json!(["run", "run"]))
    );
    assert_eq!(compared["warnings"], serde_json::json!(["a run is given twice"]));
    let all = compared["differences"].as_array().unwrap().iter();
    let all = all.filter(|row| row["name"] == "all requests" && row["figure"] == "failed");
    let all: Vec<_> = all.map(|row| (&row["n_before"], &row["n_after"], &row["verdict"])).collect();
    assert_eq!(all, [(&20.into(), &40.into(), &"none-shown".into())]);
    for (query, refused) in
        [("before=run", 400), ("before=run&after=,", 400), ("before=run&after=other", 404)]
    {
        assert_eq!(get(&format!("comparison?{query}")).await.0, refused, "{query}");
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
