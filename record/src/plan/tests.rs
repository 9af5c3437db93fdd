use super::*;
use crate::{Chain, RunHeader};

/// The header of a log that 0.1.0 wrote, shortened.
const EARLIER: &str = r#"{"version":1,"run":"1795905024-b7e4","session":"default","program":"wec 0.1.0",
"target":"https://127.0.0.1:38445/directory","started_unix_ns":1795905024201439567,"stamp":{"host":"vm",
"platform":"linux x86_64","cpus":2,"scenario":{"base_domain":"wec.test","bounds":{"backlog":0.5,"connections":0.1,
"cpu":0.9,"dropped":0.01,"lag":"20ms","lag_share":0.25},"challenge_linger":"10s","contact":[],
"dialling":{"connect_to":["a:443:127.0.0.1:1"],"source_addresses":["127.0.0.2"],"spread":false},
"directory":"https://127.0.0.1:38445/directory","eab":null,"graceful_stop":"30s","http":"1.1","insecure":false,
"limits":{"authorizations":null,"certificates":7,"registrations":null},
"listen":{"dns":null,"http01":"127.0.0.1:43585","tlsalpn01":null},"max_connections":256,"max_retries":3,
"max_retry_after":"1m","scenarios":[{"abandon":0.0,"after":null,"challenge_types":"http-01=1,tls-alpn-01=2.5",
"connections":"shared","executor":"arrival-rate","rate":50.0,"unit":"requests","poisson":true,"workers":1000,
"stages":[{"duration":"1m 30s","target":80.0}],"key_types":"p256=1","name":"a","names_per_order":"1..3",
"run_time":"1m 30s","start_at":"0s","stop_before":null,"think_time":null,
"weights":{"authorization":4.0,"registration":1.0,"tomorrows":2.0}},
{"executor":"iterations","iterations":12,"workers":3,"name":"b","after":"a","start_at":"5s","run_time":"10m",
"think_time":"1s..5s"}],"seed":8038665369410168417,"strict":false,"threads":2,
"thresholds":["chain{failed} < 1%"],"key_of_tomorrow":{"a":1}}}}"#;

fn plan_of(header: &str) -> Plan {
    let header: RunHeader = serde_json::from_str(header).unwrap();
    *header.stamp.plan.unwrap()
}

#[test]
fn a_long_time_is_written_in_days() {
    for (seconds, text) in
        [(90, "1m 30s"), (29 * 86_400, "29days"), (90 * 86_400, "90days"), (7_776_061, "90days 1m 1s")]
    {
        let time = Time(Duration::from_secs(seconds));
        assert_eq!(time.to_string(), text);
        assert_eq!(text.parse(), Ok(time));
    }
}

#[test]
fn reads_the_plan_of_a_log_that_was_written_before_plans_were_typed() {
    let plan = plan_of(EARLIER);
    assert_eq!(
        (&plan.http, plan.seed, plan.limits.certificates),
        (&HttpVersion::Http1, 8038665369410168417, Some(7))
    );
    assert_eq!(plan.bounds.lag, Time(Duration::from_millis(20)));
    assert_eq!(plan.listen.http01.unwrap().port(), 43585);
    assert_eq!(plan.dialling.connect_to, ["a:443:127.0.0.1:1"]);
    assert_eq!(plan.thresholds[0].to_string(), "chain{failed} < 1%");
    let [a, b] = plan.scenarios.as_slice() else { panic!("{plan:?}") };
    let stages = vec![Stage { duration: Time(Duration::from_secs(90)), target: 80.0 }];
    let unit = RateUnit::Requests;
    assert_eq!(a.load, Load::ArrivalRate { rate: 50.0, unit, poisson: true, stages, workers: 1000 });
    assert_eq!(a.challenge_types.0, [("http-01".to_owned(), 1.0), ("tls-alpn-01".to_owned(), 2.5)]);
    assert_eq!((a.weights.of(Chain::Authorization), a.weights.of(Chain::Revoke)), (4.0, 0.0));
    assert_eq!(a.names_per_order, Some((1..=3).into()));
    assert_eq!((b.load.iterations(), b.after.as_deref()), (Some(12), Some("a")));
    assert_eq!(b.think_time.unwrap().to_string(), "1s..5s");
    // The first takes 90 s, the second waits 5 s after it and takes at most ten minutes.
    assert_eq!(plan.run_time(), Some(Duration::from_secs(90 + 5 + 600)));
}

#[test]
fn a_plan_that_is_written_is_read_again_as_it_was() {
    let plan = plan_of(EARLIER);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn keys_of_later_versions_are_written_again() {
    let header = EARLIER.replace(r#""name":"b""#, r#""name":"b","budget":{"errors":3}"#);
    let written = serde_json::to_value(plan_of(&header)).unwrap();
    assert_eq!(written["key_of_tomorrow"], serde_json::json!({"a": 1}));
    assert_eq!(written["scenarios"][1]["budget"], serde_json::json!({"errors": 3}));
    assert_eq!(written["scenarios"][0].get("rate"), Some(&50.0.into()));
    assert_eq!(serde_json::to_value(plan_of(&header)).unwrap(), written);
}

#[test]
fn values_of_later_versions_are_kept_and_change_nothing_else() {
    let header = EARLIER
        .replace(r#""http":"1.1""#, r#""http":"3""#)
        .replace(r#""connections":"shared""#, r#""connections":"per-account","on_failure":"give-up""#)
        .replace(r#""stop_before":null"#, r#""stop_before":"download""#);
    let (later, plan) = (plan_of(&header), plan_of(EARLIER));
    assert_eq!(later.http, HttpVersion::Other("3".to_owned()));
    let [scenario, _] = later.scenarios.as_slice() else { panic!("{later:?}") };
    assert_eq!(scenario.connections, Connections::Other("per-account".to_owned()));
    assert_eq!(scenario.stop_before, Some(StopBefore::Other("download".to_owned())));
    assert_eq!(scenario.on_failure, OnFailure::Other("give-up".to_owned()));
    assert_eq!(plan.scenarios[0].on_failure, OnFailure::default(), "earlier logs do not have it");
    let written = serde_json::to_value(&later).unwrap();
    assert_eq!(written["http"], "3");
    assert_eq!(written["scenarios"][0]["on_failure"], "give-up");
    let mut same = later;
    same.http = plan.http.clone();
    let Scenario { connections, stop_before, on_failure, .. } = plan.scenarios[0].clone();
    same.scenarios[0] = Scenario { connections, stop_before, on_failure, ..same.scenarios[0].clone() };
    assert_eq!(same, plan);
}

#[test]
fn a_plan_has_the_version_of_its_writer() {
    assert_eq!(plan_of(EARLIER).version, 0);
    let plan = Plan { version: VERSION, ..Plan::default() };
    assert_eq!(serde_json::to_value(plan).unwrap()["version"], 1);
}

#[test]
fn what_this_version_cannot_read_costs_nothing_else() {
    let header = EARLIER
        .replace(r#""max_retry_after":"1m""#, r#""max_retry_after":{"most":"1m"}"#)
        .replace(r#""executor":"iterations""#, r#""executor":"fleet""#)
        .replace(r#"["chain{failed} < 1%"]"#, r#"["of tomorrow{x} ~ 1","chain{failed} < 1%"]"#);
    let plan = plan_of(&header);
    assert_eq!((plan.seed, plan.max_retry_after), (8038665369410168417, Time::default()));
    assert_eq!(plan.thresholds.len(), 1);
    assert_eq!(plan.scenarios[0], plan_of(EARLIER).scenarios[0]);
    assert_eq!((plan.scenarios[1].name.as_str(), &plan.scenarios[1].load), ("b", &Load::default()));
    assert_eq!(plan.run_time(), Some(Duration::from_secs(695)));
}

#[test]
fn the_first_logs_had_one_load_at_the_top() {
    let old = r#"{"version":1,"run":"r","session":"s","program":"wec","target":"t","started_unix_ns":1,
        "stamp":{"scenario":{"workers":5,"run_time":"2m"}}}"#;
    let plan = plan_of(old);
    assert_eq!(plan.run_time(), Some(Duration::from_secs(120)));
    assert_eq!(plan.scenarios[0].load, Load::Workers { workers: 5, stages: Vec::new() });
    let none: RunHeader =
        serde_json::from_str(&old.replace(r#"{"workers":5,"run_time":"2m"}"#, "null")).unwrap();
    assert_eq!(none.stamp.plan, None);
}

#[test]
fn a_circle_of_scenarios_ends() {
    let scenario = |name: &str, after: &str| Scenario {
        name: name.into(),
        after: Some(after.into()),
        run_time: Time(Duration::from_secs(1)),
        ..Scenario::default()
    };
    let plan = Plan { scenarios: vec![scenario("a", "b"), scenario("b", "a")], ..Plan::default() };
    assert_eq!(plan.run_time(), Some(Duration::from_secs(3)));
}

#[test]
fn every_key_of_each_executors_scenario_is_written_again() {
    // A header as `wec run` wrote it before plans were typed, with one scenario of each executor.
    let header = include_str!("headers/four-executors.json");
    let mut before: serde_json::Value = serde_json::from_str(header).unwrap();
    before["stamp"]["scenario"]["version"] = 0.into();
    // Keys of later versions.
    before["stamp"]["scenario"]["warm_up"] = "0s".into();
    before["stamp"]["scenario"]["caa"] = "".into();
    for scenario in before["stamp"]["scenario"]["scenarios"].as_array_mut().unwrap() {
        scenario["largest_account"] = 0.0.into();
    }
    let plan = plan_of(header);
    assert_eq!(serde_json::to_value(&plan).unwrap(), before["stamp"]["scenario"]);
}
