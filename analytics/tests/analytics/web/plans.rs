//! The schemas of the plans that people write, against what is accepted.

use serde_json::{Value, json};
use wec_requester::{SessionKeys, keys_of_json};

/// Whether a body has the form of this schema of the API.
fn fits(schema: &str, body: &Value) -> bool {
    let document: Value = serde_json::from_str(&wec_analytics::openapi()).unwrap();
    let root =
        json!({ "$ref": format!("#/components/schemas/{schema}"), "components": document["components"] });
    jsonschema::validator_for(&root).unwrap().is_valid(body)
}

#[test]
fn the_schema_of_a_new_session_has_the_keys_that_are_accepted() {
    let directory = "https://127.0.0.1:1/dir";
    let accepted = [
        json!({ "workers": 5, "run_time": "30s", "seed": 7, "strict": true, "http": "2" }),
        json!({ "workers": "5", "names_per_order": "1..3", "on_failure": "hammer" }),
        json!({ "rate": 2.5, "weights": { "revoke": 0, "certificate": "4" }, "challenge_types": ["dns-01", "http-01"] }),
        json!({ "scenarios": { "a": { "stages": [{ "duration": "30s", "workers": 5 }], "connections": "per-chain" } } }),
        json!({ "weights.revoke": "0", "scenarios.a.rate": "20/s", "scenarios.a.weights.refresh": "1", "run_time": "5m" }),
    ];
    let refused = [
        json!({ "worker": 5 }),
        json!({ "weights": { "revok": 1 } }),
        json!({ "scenarios": { "a": { "seed": 1 } } }),
        json!({ "scenarios.a.seed": "1" }),
        // Of agents, and of a search.
        json!({ "state": "sqlite://x" }),
        json!({ "cacert": "/etc/passwd" }),
        json!({ "capacity": { "from": "1/s" } }),
    ];
    let mut wrong = Vec::new();
    for (plans, is_accepted) in [(&accepted[..], true), (&refused[..], false)] {
        for plan in plans {
            let mut plan = plan.clone();
            plan["directory"] = directory.into();
            let made = keys_of_json(&plan)
                .and_then(|keys| SessionKeys::of_keys(&keys).map_err(|mistakes| vec![mistakes.to_string()]));
            let body = json!({ "id": "s", "plan": plan, "agents": {"names": []} });
            let fits = fits("NewSession", &body);
            if (made.is_ok(), fits) != (is_accepted, is_accepted) {
                wrong.push(format!("{plan}: fits the schema: {fits}; mistakes: {:?}", made.err()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_change_may_remove_keys_and_a_new_plan_may_not() {
    let changes = [
        json!({ "workers": null, "weights": { "revoke": null }, "scenarios": { "a": null } }),
        json!({ "weights": null, "on_failure": null, "thresholds": null }),
        json!({ "weights.revoke": null, "scenarios.a": null, "scenarios.b.rate": "3/s" }),
    ];
    for plan in changes {
        assert!(fits("SessionPatch", &json!({ "plan": plan })), "{plan}");
        assert!(!fits("NewSession", &json!({ "id": "s", "plan": plan, "agents": {} })), "{plan}");
    }
}

#[test]
fn the_keys_of_a_checked_file_are_a_plan() {
    let file = "directory = \"http://127.0.0.1:1/dir\"\nthresholds = [\"chain{failed} < 1%\"]\n[weights]\nrevoke = 0\n\
                [scenarios.a]\nstages = [{ duration = \"30s\", workers = 5 }]\n";
    let keys = SessionKeys::of_file("s.toml", file).unwrap().keys;
    assert!(fits("ScenarioKeys", &json!(keys)), "{keys:?}");
}
