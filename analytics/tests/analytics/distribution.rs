//! How the times of a row are distributed: the same from the log and from its index, and of parts that make the whole.

use std::collections::BTreeMap;
use std::path::Path;

use wec_analytics::{Analytics, DistributionView, IndexPlace, Live, LogFormat, ServedPage};
use wec_log::RecordWriter;
use wec_record::{Chain, Footer, Record};

use crate::common::{START, chain_record, chain_result, exchange, header};

const SECOND: u64 = 1_000_000_000;
/// Long enough for blocks of the index.
const SECONDS: u64 = 400;

fn write(folder: &Path) {
    let result = |seq: u64| {
        let took = (1 + seq % 9) * 1_000_000;
        chain_record("r1", chain_result(Chain::Certificate, seq, seq * SECOND, took))
    };
    let footer = Record::Footer(Footer { at_unix_ns: START + 2 * SECONDS * SECOND, ..Footer::default() });
    let mut writer = RecordWriter::new(LogFormat::Json, Vec::new());
    for record in [Record::Header(header("run"))].into_iter().chain((1..SECONDS).map(result)).chain([footer])
    {
        writer.write(&record, None).unwrap();
    }
    std::fs::write(folder.join("run.jsonl"), writer.finish().unwrap()).unwrap();
}

async fn serve(folder: &Path) -> Analytics {
    let page = ServedPage {
        folder: folder.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        token: None,
        opens_with: None,
    };
    page.start_with(IndexPlace::Beside).await.unwrap()
}

async fn get(page: &Analytics, path: &str) -> (u16, String) {
    let request = format!("GET /api/v1/runs/run/{path}");
    let (status, _, text) = exchange(page.web_addr().unwrap(), &request, &["Host: localhost"], b"").await;
    (status, text)
}

async fn distribution(page: &Analytics, row: &str, more: &str) -> DistributionView {
    let row: String = row.replace(' ', "%20");
    let (status, text) = get(page, &format!("distribution?row={row}{more}")).await;
    assert_eq!(status, 200, "{row}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn sum(view: &DistributionView) -> u64 {
    view.cells.iter().map(|cell| cell.count).sum()
}

#[tokio::test]
async fn a_distribution_is_that_of_the_log_and_its_parts_make_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let mut of_each = Vec::new();
    for opened in ["the log", "the index"] {
        let page = serve(folder.path()).await;
        let (_, text) = get(&page, "snapshot").await;
        let Live { snapshot, .. } = serde_json::from_str(&text).unwrap();
        let endpoint = &snapshot.endpoints[0];
        let name = format!("endpoint {} {} {}", endpoint.endpoint, endpoint.method, endpoint.uri);
        let certificate = &snapshot.chains[&Chain::Certificate];
        let rows = [
            ("chain certificate", certificate.response_time_ns.n),
            ("all requests", snapshot.response_time_ns.n),
            ("all issuances", snapshot.issued.response_time_ns.n),
            ("node r1", snapshot.nodes[0].response_time_ns.n),
            (&*name, endpoint.response_time_ns.n),
        ];
        let mut views = Vec::new();
        for (row, n) in rows {
            let view = distribution(&page, row, "").await;
            assert_eq!(sum(&view), n, "{row}, {opened}");
            assert!(view.cells.is_sorted_by(|a, b| a.to_ns <= b.from_ns), "{row}: {:?}", view.cells);
            views.push(view);
        }
        let service = distribution(&page, "chain certificate", "&service=true").await;
        assert!(service.service && service.over_time.is_empty());
        assert_eq!(sum(&service), certificate.service_time_ns.n);

        let whole = &views[0];
        let over_time: u64 = whole.over_time.iter().flat_map(|at| &at.cells).map(|cell| cell.count).sum();
        assert_eq!(over_time, certificate.response_time_ns.n);
        assert!(whole.over_time.len() <= 120 && whole.step_s == 4, "{}", whole.step_s);
        for view in [&views[1], &views[4]] {
            let over_time: u64 = view.over_time.iter().flat_map(|at| &at.cells).map(|cell| cell.count).sum();
            assert_eq!((over_time, view.step_s), (sum(view), 4), "{}, {opened}", view.row);
        }
        // Of three equally slow ones the earliest: every ninth takes 9 ms.
        for view in [&views[0], &views[1], &views[4]] {
            let slowest: Vec<_> = view.examples.iter().map(|one| (one.response_ns, one.seq)).collect();
            assert!(slowest.is_sorted_by(|a, b| a.0 >= b.0) && slowest.len() == 3, "{slowest:?}");
            assert!(
                view.examples.iter().all(|one| one.node == "r1" && one.chain == Some(Chain::Certificate))
            );
        }
        let slowest: Vec<_> = whole.examples.iter().map(|one| (one.response_ns, one.seq)).collect();
        assert_eq!(slowest, [(9_000_000, 8), (9_000_000, 17), (9_000_000, 26)]);
        // A part that is put together of blocks has the buckets of the whole run, and the slowest of the part.
        let part = format!("&from_ns={}&to_ns={}", 100 * SECOND, 300 * SECOND);
        let of_part = distribution(&page, &name, &part).await;
        assert!(
            of_part.over_time.len() <= 52 && of_part.over_time.len() >= 50,
            "{}",
            of_part.over_time.len()
        );
        let seqs = of_part.examples.iter().map(|one| one.seq);
        assert!(seqs.clone().all(|seq| (100..300).contains(&seq)), "{:?}", seqs.collect::<Vec<_>>());

        let mut halves = BTreeMap::new();
        for (from, to) in [(0, 150), (150, 1_000)] {
            let part = format!("&from_ns={}&to_ns={}", from * SECOND, to * SECOND);
            for cell in distribution(&page, "chain certificate", &part).await.cells {
                *halves.entry(cell.from_ns).or_insert(0) += cell.count;
            }
        }
        let cells: BTreeMap<u64, u64> = whole.cells.iter().map(|cell| (cell.from_ns, cell.count)).collect();
        assert_eq!(halves, cells, "{opened}");

        let (status, text) = get(&page, "distribution?row=chain%20nothing").await;
        assert_eq!(status, 404, "{text}");
        let (status, text) = get(&page, "distribution?row=all%20requests&from_ns=5&to_ns=5").await;
        assert_eq!(status, 400, "{text}");
        of_each.push(views);
        page.finish().await;
    }
    assert_eq!(of_each[0], of_each[1]);
}
