//! A notice at the end of a run, for Slack and for services that read the same JSON.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use wec_outbound::{Endpoint, beginning, http_client, told};

/// The longest time for one attempt.
const WITHIN: Duration = Duration::from_secs(5);
/// Pause before the second attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Posts `{"text": …}`, and retries once. A failure is a warning and does not change the verdict.
pub async fn notify(webhook: &Endpoint, text: &str) {
    let http = match http_client(WITHIN) {
        Ok(http) => http,
        Err(error) => return tracing::warn!("the webhook was not called: {error}"),
    };
    // Slack's three special characters.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let attempt = async || {
        let body = json!({ "text": text });
        let answer = http.post(webhook.url().clone()).json(&body).send().await.map_err(told)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{status} {}", beginning(answer).await)),
        }
    };
    if attempt().await.is_ok() {
        return;
    }
    sleep(PAUSE).await;
    if let Err(why) = attempt().await {
        tracing::warn!("the webhook at {webhook} did not accept the notice of the run's end: {why}");
    }
}
