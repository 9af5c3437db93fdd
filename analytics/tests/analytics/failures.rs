//! Failures are grouped, and the number of groups is bounded.

use wec_analytics::{Aggregate, FailureScope, Snapshot, summary_table};
use wec_record::{Chain, ChainResult, FailureClass, RequestResult};
use wec_startup::TextStyle;

use crate::common::{chain_record, chain_result};

/// An authorization that a rate limit refused, with the CA's Retry-After.
fn limited(seq: u64, limit: &str, wait_s: Option<u64>) -> ChainResult {
    let mut result = chain_result(Chain::Authorization, 7 * seq, seq * 1_000_000, 8_000_000);
    (result.class, result.detail) = (Some(FailureClass::RateLimited), limit.to_owned().into());
    let request = result.requests.last_mut().unwrap();
    (request.class, request.status) = (Some(FailureClass::RateLimited), 429);
    (request.problem, request.endpoint) = ("rateLimited".into(), "newOrder".into());
    request.detail = limit.to_owned().into();
    request.retry_after = wait_s.map(|wait| wait * 1_000_000_000);
    result
}

fn snapshot(results: impl IntoIterator<Item = ChainResult>) -> Snapshot {
    let mut aggregate = Aggregate::default();
    results.into_iter().for_each(|result| aggregate.record(&chain_record("r1", result)));
    aggregate.snapshot()
}

#[test]
fn two_rate_limits_are_two_rows_with_their_own_waits() {
    let names =
        (1..=30).map(|seq| limited(seq, "new-certificates-per-exact-set-of-identifiers", Some(60 + seq)));
    let orders = (31..=50).map(|seq| limited(seq, "new-orders-per-account", (seq > 35).then_some(3)));
    let snapshot = snapshot(names.chain(orders));
    for scope in [FailureScope::Request, FailureScope::Chain] {
        let rows: Vec<_> = snapshot.failures.iter().filter(|failure| failure.scope == scope).collect();
        let told = |place: usize| {
            (
                &*rows[place].detail,
                rows[place].count,
                rows[place].retry_after_min_ns,
                rows[place].retry_after_max_ns,
            )
        };
        assert_eq!(rows.len(), 2);
        let s = |seconds: u64| Some(seconds * 1_000_000_000);
        assert_eq!(told(0), ("new-certificates-per-exact-set-of-identifiers", 30, s(61), s(90)));
        assert_eq!(told(1), ("new-orders-per-account", 20, s(3), s(3)));
    }
    let table = summary_table(&snapshot, TextStyle::default());
    let first = "30 × newOrder, rate-limited 429 rateLimited [new-certificates-per-exact-set-of-identifiers], retry after 61.0 s to 90.0 s: ";
    assert!(table.contains(first), "{table}");
    assert!(
        table.contains(
            "20 × newOrder, rate-limited 429 rateLimited [new-orders-per-account], retry after 3.00 s: "
        ),
        "{table}"
    );
}

/// Details come from a server. Details above the bound share one row and do not displace other failures.
#[test]
fn details_above_the_bound_share_one_row() {
    let flood = (1..=1_000).map(|seq| limited(seq, &format!("limit-{seq}"), None));
    let refused = chain_result(Chain::Revoke, 7, 2_000_000_000, 8_000_000);
    let snapshot = snapshot(flood.chain([refused]));
    let rows = |scope, name: &str| -> Vec<(String, u64)> {
        let rows = snapshot.failures.iter().filter(|failure| failure.scope == scope && failure.name == name);
        rows.map(|failure| (failure.detail.clone(), failure.count)).collect()
    };
    for rows in [rows(FailureScope::Request, "newOrder"), rows(FailureScope::Chain, "authorization")] {
        assert_eq!(rows.len(), 17);
        assert_eq!(rows[0], ("other".to_owned(), 984));
        assert_eq!(rows.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
    }
    assert_eq!(rows(FailureScope::Chain, "revoke"), [(String::new(), 1)]);
    assert_eq!(snapshot.missing.other_failures, 0);
}

#[test]
fn a_wait_that_the_ca_asked_for_is_kept_cut_short_or_not_followed_by_another_try() {
    let again = |seq: u64, after_ms: u64| {
        let mut result = limited(seq, "new-orders-per-account", Some(2));
        let refused = result.requests.last().unwrap().clone();
        let sent = refused.done + after_ms * 1_000_000;
        let retried =
            RequestResult { due: sent, sent, done: sent + 1_000, successful: true, class: None, ..refused };
        result.requests.push(retried);
        result
    };
    let results =
        [again(1, 2_000), again(2, 2_500), again(3, 1_000), limited(4, "new-orders-per-account", Some(2))];
    let snapshot = snapshot(results);
    let row = snapshot.failures.iter().find(|failure| failure.scope == FailureScope::Request).unwrap();
    assert_eq!((row.count, row.retry_kept, row.retry_early), (4, 2, 1));
    assert_eq!(row.trend.counts.iter().sum::<u64>(), 4);
}

#[test]
fn an_example_is_the_first_of_its_kind_with_the_cas_document_and_the_place_of_its_record() {
    let documented = |seq: u64, document: &str| {
        let mut result = limited(seq, "new-orders-per-account", None);
        document.clone_into(&mut result.requests.last_mut().unwrap().document);
        result
    };
    let long = "ä".repeat(1_000);
    let first = r#"{"type":"urn:ietf:params:acme:error:rateLimited","instance":"/problems/3"}"#;
    for (document, kept) in [(first, first), (&long, &long[..1_024]), ("", "")] {
        let snapshot = snapshot([documented(3, document), documented(4, "{}")]);
        for scope in [FailureScope::Request, FailureScope::Chain] {
            let row = snapshot.failures.iter().find(|failure| failure.scope == scope).unwrap();
            assert_eq!((&*row.document, &*row.node, row.seq), (kept, "r1", 7 * 3), "{scope:?}");
        }
    }
}
