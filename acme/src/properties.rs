//! Whatever a server sends, no parser panics, and bounds hold.

use std::time::Duration;

use proptest::prelude::*;

use crate::nonce::NoncePool;
use crate::template::Templates;
use crate::{Authorization, Challenge, Directory, Order, Problem, RenewalInfo};

/// Typical answers of servers, to be damaged.
const SAMPLES: [&str; 5] = [
    r#"{"newNonce":"https://ca.test/n","newAccount":"https://ca.test/a","newOrder":"https://ca.test/o","revokeCert":"https://ca.test/r","keyChange":"https://ca.test/k","renewalInfo":"https://ca.test/i","meta":{"termsOfService":"https://ca.test/tos","externalAccountRequired":true,"profiles":{"short":"6 days"}}}"#,
    r#"{"status":"valid","expires":"2026-11-21T10:00:00Z","identifiers":[{"type":"dns","value":"a.test"}],"authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/f/1","certificate":"https://ca.test/c/1","error":{"type":"urn:ietf:params:acme:error:badCSR"}}"#,
    r#"{"status":"pending","identifier":{"type":"dns","value":"a.test"},"wildcard":true,"challenges":[{"type":"dns-01","url":"https://ca.test/ch/1","token":"t","status":"processing","error":{"detail":"x","status":400}}]}"#,
    r#"{"type":"urn:ietf:params:acme:error:compound","detail":"several","status":"403","subproblems":[{"type":"urn:ietf:params:acme:error:caa","identifier":{"type":"dns","value":"a.test"}}]}"#,
    r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"},"explanationURL":"https://ca.test/why"}"#,
];

fn read_as_everything(body: &[u8]) {
    let _ = serde_json::from_slice::<Directory>(body);
    let _ = serde_json::from_slice::<Order>(body).map(|order| order.expires_unix());
    let _ =
        serde_json::from_slice::<Authorization>(body).map(|authorization| authorization.error().is_some());
    let _ = serde_json::from_slice::<Challenge>(body).map(|challenge| challenge.is_final());
    let _ = serde_json::from_slice::<RenewalInfo>(body).map(|info| info.suggested_window.unix());
    if let Some(problem) = Problem::parse(body) {
        assert!(!problem.name().is_empty() || problem.kind.ends_with(':'));
        assert!(!problem.to_string().is_empty());
    }
}

proptest! {

    #[test]
    fn bodies_of_any_bytes(body in any::<Vec<u8>>()) {
        read_as_everything(&body);
    }

    #[test]
    fn bodies_with_a_part_replaced(
        sample in prop::sample::select(&SAMPLES[..]),
        place in any::<prop::sample::Index>(),
        cut in 0_usize..40,
        with in r#"[{}\[\]",:0-9a-z\\ -]{0,12}"#,
    ) {
        let mut body = sample.as_bytes().to_vec();
        let place = place.index(body.len());
        let end = (place + cut).min(body.len());
        body.splice(place..end, with.into_bytes());
        read_as_everything(&body);
    }

    #[test]
    fn retry_after_of_any_text(header in "\\PC*", now in any::<i32>()) {
        let _ = crate::time::retry_after(&header, || i64::from(now));
    }

    #[test]
    fn retry_after_of_any_seconds(seconds in any::<u64>()) {
        prop_assert_eq!(crate::time::retry_after(&seconds.to_string(), || 0), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn times_of_any_text(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{0,12}[Zz+-]?[0-9:]{0,6}") {
        let _ = crate::time::rfc3339(&text);
    }

    #[test]
    fn templates_of_any_url(base in "\\PC{0,40}", url in "\\PC{0,200}") {
        let template = Templates::new(&base).fold(&url);
        prop_assert!(template.starts_with('/') && template.len() <= 256);
    }

    #[test]
    fn templates_do_not_depend_on_the_id(id in "[A-Za-z0-9_-]{20,64}") {
        let templates = Templates::new("https://ca.test/acme/new-order");
        prop_assert_eq!(templates.fold(&format!("https://ca.test/acme/order/{id}")), "/acme/order/{id}");
    }

    #[test]
    fn nonces_of_any_bytes_are_used_as_they_are_or_not_at_all(nonce in any::<Vec<u8>>()) {
        let pool = NoncePool::new(1, Duration::MAX);
        pool.put(&nonce, 0);
        if let Some(taken) = pool.take(0) {
            prop_assert_eq!(taken.value.as_bytes(), &nonce[..]);
            prop_assert_eq!(serde_json::to_string(&taken.value).unwrap().len(), taken.value.len() + 2, "needs no escaping");
        }
    }
}
