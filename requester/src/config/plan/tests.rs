use std::collections::BTreeSet;
use std::time::Duration;

use wec_acme::Policy;
use wec_chains::{Connections, StopBefore};
use wec_record::plan;

use super::super::keys::KEYS;
use super::*;
use crate::executor::OnFailure;
use crate::settings::{Key, KeyKind, KeyPlace};

fn options() -> PlanOptions {
    PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir")
}

fn resolve(mut settings: Settings) -> Result<Plan, Mistakes> {
    let plan = plan(&mut settings, Decided::default(), None);
    settings.finish().map(|()| plan)
}

#[test]
fn every_key_of_the_table_is_read() {
    let mut unread = BTreeSet::from_iter(KEYS.iter().map(|key| key.name));
    // A key that sets the load is read by its executor.
    for selecting in crate::executor::selecting().chain(["workers"]) {
        let mut settings = options().with(selecting, "5").settings();
        plan(&mut settings, Decided::default(), None);
        let left: BTreeSet<_> = settings.unread().iter().map(|key| key.name).collect();
        unread.retain(|name| left.contains(name));
    }
    // The keys of the table [capacity] are read by the search, which has its own test.
    let elsewhere =
        |name: &&str| matches!(Key::named(name).unwrap().place, KeyPlace::Command | KeyPlace::Search);
    assert_eq!(unread.into_iter().filter(|name| !elsewhere(name)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_values_of_keys_are_those_of_the_run_and_their_help_names_them() {
    assert_eq!(plan::Connections::KNOWN, Connections::ALL.map(Connections::name));
    assert_eq!(plan::OnFailure::KNOWN, OnFailure::ALL.map(OnFailure::name));
    assert_eq!(plan::StopBefore::KNOWN, [StopBefore::Finalize.name()]);
    for key in KEYS.iter() {
        let KeyKind::OneOf(values) = key.kind else { continue };
        for value in values {
            assert!(key.help.contains(value), "the help of {} lacks {value}", key.name);
        }
    }
}

#[test]
fn a_directory_is_the_only_required_key() {
    let plan = options().resolve(None).unwrap();
    assert_eq!(plan.workers(), 50);
    assert_eq!(plan.run_time(), Duration::from_secs(60));
    assert_eq!(plan.scenarios[0].choices.challenges.to_string(), "http-01=1,tls-alpn-01=1");
    assert_eq!(plan.listen.http01, Some("127.0.0.1:5002".parse().unwrap()));
    assert_eq!(plan.listen.dns, None);
}

#[test]
fn the_shipped_scenarios_are_plans() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let options = PlanOptions::default().with("config", file.display().to_string());
        let plan = options.resolve(None).unwrap_or_else(|mistakes| panic!("{}:\n{mistakes}", file.display()));
        assert!(!plan.run_time().is_zero(), "{}", file.display());
    }
}

#[test]
fn scenarios_inherit_top_level_keys_and_flags_apply_to_all() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios");
    let config = PlanOptions::default().with("config", format!("{folder}/renewal-storm.toml"));
    let plan = config.resolve(None).unwrap();
    let shown: Vec<_> = plan
        .scenarios
        .iter()
        .map(|one| (one.name.as_str(), one.load.executor(), one.run_time.as_secs(), one.choices.names.most()))
        .collect();
    assert_eq!(
        shown,
        [
            ("clean-up", "iterations", 600, 1),
            ("everyday", "arrival-rate", 600, 1),
            ("storm", "arrival-rate", 180, 1)
        ]
    );
    assert_eq!(plan.run_time(), Duration::from_secs(1200), "the clean-up waits for the everyday load");
    let plan = config.with("names_per_order", "3").with("run_time", "5s").resolve(None).unwrap();
    assert!(plan.scenarios.iter().all(|one| one.choices.names.most() == 3 && one.run_time.as_secs() == 5));
}

#[test]
fn reports_every_mistake_of_a_file_at_once_with_its_line() {
    let mut settings = Settings::default();
    let text = "directory = \"https://127.0.0.1:14000/dir\"\nrat = \"5/s\"\n\
                [scenarios.a]\nrate = \"fast\"\nthink_time = \"1s\"\nafter = \"b\"\n\
                [scenarios.b]\nexecutor = \"workers\"\nrate = \"5/s\"\nafter = \"a\"\nworker = 1\n\
                [scenarios.c]\nexecutor = \"arrival-rate\"\nafter = \"d\"\nstages = [{ duration = \"1m\", workers = 5 }]\n";
    settings.text("s.toml", text);
    let shown = resolve(settings).unwrap_err().to_string();
    let lines: Vec<_> = shown.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    for line in [2, 4, 5, 6, 9, 10, 11, 13, 14, 15] {
        assert!(lines.contains(&format!("s.toml:{line}").as_str()), "no mistake of line {line} in\n{shown}");
    }
    assert!(shown.contains("s.toml:11: scenarios.b.worker: unknown key; did you mean workers?"), "{shown}");
    assert!(
        shown.contains("s.toml:14: scenarios.c.after: there is no scenario \"d\": name one of a, b, c"),
        "{shown}"
    );
}

#[test]
fn an_error_shared_by_scenarios_is_reported_once_and_a_wrong_name_with_its_line() {
    let told = |text: &str| {
        let mut settings = Settings::default();
        settings.text("s.toml", text);
        settings.flag("directory", "https://127.0.0.1:14000/dir");
        resolve(settings).unwrap_err().to_string()
    };
    let kinds =
        "[scenarios.a]\nexecutor = \"workers\"\n[scenarios.b]\nrate = 5\n[scenarios.c]\ntarget_rps = 5\n";
    let stages =
        "stages = [{ duration = \"1m\", workers = 5 }, { duration = \"x\", target = 5 }, \"1m:some\"]\n";
    assert_eq!(
        told(&format!("{stages}{kinds}")),
        "s.toml:1: stages: stage 2: \"x\" is not a time (expected number at 0); as in 30s, 5m, 1h30m\n\
         s.toml:1: stages: stage 3: \"some\" is not a whole number from 0 to 1000000\n\
         s.toml:1: stages: stage 1: \"workers\" is unknown in a stage; known are duration, rate; target fits every executor"
    );
    let none = "registration = 0\nauthorization = 0\ncertificate = 0\nrefresh = 0\nrevoke = 0\n";
    assert_eq!(
        told(&format!("[weights]\n{none}[scenarios.a]\nworkers = 1\n")),
        "s.toml:2: weights: every chain has the weight 0, so no chain can run"
    );
    assert_eq!(
        told("[scenarios.\"a b\"]\nrate = 5\nexecutor = \"arrival-rate\"\n"),
        "s.toml:2: scenarios.a b: is not a scenario name: up to 40 letters, digits, hyphens and underscores"
    );
}

#[test]
fn consequences_of_an_error_are_not_reported_as_errors() {
    let told = |text: &str| {
        let mut settings = Settings::default();
        settings.text("s.toml", text);
        resolve(settings).unwrap_err().to_string()
    };
    let broken = told("directory = \"https://ca\nworkers = \nrat = 5\n");
    let lines: Vec<_> = broken.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(lines, ["s.toml:1", "s.toml:2", "s.toml:3"], "{broken}");
    for text in ["[[scenarios]]\nname = \"a\"\n", "[scenario.a]\nworkers = 5\n"] {
        assert!(told(text).contains("each scenario is a table of its own: [scenarios.NAME]"), "{text}");
    }
}

#[test]
fn two_executors_for_one_scenario_are_an_error() {
    let options = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("rate", "50/s")
        .with("iterations", "3");
    assert_eq!(
        options.resolve(None).unwrap_err().to_string(),
        "--rate: contradicts iterations: give one of them, or each to a scenario of its own in a file"
    );
}

#[test]
fn kinds_of_names_need_a_challenge_type_that_can_prove_them() {
    let base = || PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
    let plan = base().with("name_kinds", "plain=9,ipv4=1,longest").resolve(None).unwrap();
    let recorded = wec_record::Plan::from(&plan);
    assert_eq!(recorded.scenarios[0].name_kinds.to_string(), "plain=9,ipv4=1,longest=1");
    assert_eq!(recorded.scenarios[0].ip_networks, "127.0.0.1/32,::1/128");
    let Mistakes(mistakes) = base().with("name_kinds", "wildcard").resolve(None).unwrap_err();
    assert_eq!(mistakes[0].key, "name_kinds");
    assert!(mistakes[0].to_string().contains("wildcard can be proven only by dns-01"), "{}", mistakes[0]);
    base().with("name_kinds", "wildcard").with("dns_listen", "127.0.0.1:5353").resolve(None).unwrap();
}

#[test]
fn faults_of_validations_must_be_possible() {
    let base = || {
        PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir").with("fail_validations", "5%")
    };
    let plan = base().with("validation_faults", "wrong=3,nxdomain").resolve(None).unwrap();
    let recorded = wec_record::Plan::from(&plan);
    assert_eq!(recorded.scenarios[0].fail_validations, 0.05);
    assert_eq!(recorded.scenarios[0].validation_faults.to_string(), "wrong=3,nxdomain=1");
    let shown = |options: PlanOptions| options.resolve(None).unwrap_err().to_string();
    let only_dns = shown(base().with("validation_faults", "nxdomain,servfail"));
    assert!(only_dns.contains("none of these faults is possible with http-01 and tls-alpn-01"), "{only_dns}");
    let foreign = || base().with("challenges", "challtestsrv+http://127.0.0.1:8055");
    let reset = shown(foreign().with("validation_faults", "wrong,reset"));
    assert!(reset.contains("a challtestsrv cannot serve the faults reset"), "{reset}");
    let wrong = || foreign().with("validation_faults", "wrong");
    wrong().resolve(None).unwrap();
    let detours = shown(wrong().with("detours", "10%"));
    assert!(detours.contains("cannot serve redirects and CNAMEs"), "{detours}");
}

#[test]
fn a_chain_of_ones_own_needs_steps_and_a_weight() {
    let base = || PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
    let weighed = || base().with("weights", "composed=1");
    let plan = weighed().with("steps", "order,authorize,wait 5s,finalize").resolve(None).unwrap();
    let recorded = wec_record::Plan::from(&plan);
    assert_eq!(recorded.scenarios[0].steps, "order, authorize, wait 5s, finalize");
    let shown = |options: PlanOptions| options.resolve(None).unwrap_err().to_string();
    assert!(shown(weighed()).contains("has a weight and no steps"));
    assert!(shown(base().with("steps", "order")).contains("has no weight"));
    let wrong = shown(weighed().with("steps", "order,finalize"));
    assert!(wrong.contains("finalize must come after authorize"), "{wrong}");
    assert!(!wrong.contains("no steps"), "{wrong}");
}

#[test]
fn several_external_accounts_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eab");
    let base = |text: &str| {
        std::fs::write(&path, text).unwrap();
        PlanOptions::default()
            .with("directory", "https://127.0.0.1:14000/dir")
            .with("eab_file", path.to_str().unwrap())
    };
    let plan = base("# ours\nkid-1 c2VjcmV0\n\nkid-2\tc2VjcmV0Mg\n").resolve(None).unwrap();
    let kids: Vec<_> = plan.eab.iter().map(|account| account.kid.as_str()).collect();
    assert_eq!(kids, ["kid-1", "kid-2"]);
    assert_eq!(wec_record::Plan::from(&plan).eab.as_deref(), Some("kid-1 and 1 more"));
    for (text, why) in [
        ("kid-1\n", ":1: not a key identifier and an HMAC key"),
        ("kid-1 c2VjcmV0\nkid-2 s3cr&t\n", ":2: the external account's HMAC key is not base64url"),
        ("# none\n", "has no keys"),
    ] {
        let shown = base(text).resolve(None).unwrap_err().to_string();
        assert!(shown.contains(why) && !shown.contains("s3cr&t"), "{shown}");
    }
    let both = base("kid-1 c2VjcmV0\n").with("eab_kid", "kid-3").resolve(Some("c2VjcmV0".into()));
    assert!(both.unwrap_err().to_string().contains("contradicts --eab-file"));
}

#[test]
fn reports_every_mistake_at_once() {
    let options = PlanOptions::default()
        .with("directory", "ca.test")
        .with("workers", "-1")
        .with("run_time", "0s")
        .with("weights", "certificates=1")
        .with("weights", "revoke=-1")
        .with("names_per_order", "5..2")
        .with("base_domain", "a..b")
        .with("state", "mysql://root:secret@db/x")
        .with("challenges", "http://x")
        .with("http01_listen", "localhost")
        .with("cacert", "no-such-file.pem")
        .with("eab_kid", "kid-1");
    let Mistakes(mistakes) = options.resolve(None).unwrap_err();
    let mut keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(
        keys,
        [
            "base_domain",
            "cacert",
            "challenges",
            "directory",
            "eab_kid",
            "http01_listen",
            "names_per_order",
            "run_time",
            "state",
            "weight",
            "weights.revoke",
            "workers"
        ]
    );
    let shown = Mistakes(mistakes).to_string();
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_directory_with_a_password_is_refused_without_repeating_it() {
    let mut options = options();
    options.set("directory", "https://ops:hunter2@127.0.0.1:14000/dir");
    let shown = options.resolve(None).unwrap_err().to_string();
    assert!(shown.starts_with("--directory: ") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn setting_one_listener_disables_the_default_ones() {
    let mut options = options();
    options.set("dns_listen", "127.0.0.1:5053");
    let plan = options.resolve(None).unwrap();
    assert_eq!(plan.listen.http01, None);
    assert_eq!(plan.scenarios[0].choices.challenges.to_string(), "dns-01=1");
}

#[test]
fn a_challenge_type_without_a_listener_is_an_error() {
    let mut options = options();
    options.set("challenge_types", "http-01,dns-01");
    let shown = options.resolve(None).unwrap_err().to_string();
    assert_eq!(
        shown,
        "--challenge-types: nothing would answer dns-01: give --dns-listen (if one listener is given, only the given ones are opened)"
    );
}

#[test]
fn client_behaviour_is_read_from_weights_shares_and_names() {
    let options = options()
        .with("key_types", "p256=8, rsa2048")
        .with("challenge_types", "http-01=3,tls-alpn-01=0")
        .with("connections", "per-chain")
        .with("http", "2")
        .with("abandon", "2.5%")
        .with("stop_before", "finalize")
        .with("on_failure", "hammer");
    let plan = options.resolve(None).unwrap();
    let scenario = &plan.scenarios[0];
    assert_eq!(scenario.choices.key_types.to_string(), "p256=8,rsa2048=1");
    assert_eq!(scenario.choices.challenges.to_string(), "http-01=3,tls-alpn-01=0");
    assert_eq!((scenario.choices.plain.abandon, scenario.choices.connections.name()), (0.025, "per-chain"));
    assert!(scenario.choices.stop_before.is_some() && plan.http == HttpVersion::Http2);
    let stamp = serde_json::to_value(wec_record::Plan::from(&plan)).unwrap();
    assert_eq!(stamp["http"], "2");
    assert_eq!(stamp["scenarios"][0]["key_types"], "p256=8,rsa2048=1");
    assert_eq!(stamp["scenarios"][0]["connections"], "per-chain");
    assert_eq!(stamp["scenarios"][0]["stop_before"], "finalize");
    assert_eq!(stamp["scenarios"][0]["on_failure"], "hammer");
}

#[test]
fn errors_about_client_behaviour_name_the_allowed_values() {
    let options = options()
        .with("key_types", "p521")
        .with("challenge_types", "http-01=-1")
        .with("connections", "pooled")
        .with("http", "3")
        .with("abandon", "110%")
        .with("stop_before", "newOrder")
        .with("on_failure", "panic");
    let shown = options.resolve(None).unwrap_err().to_string();
    for part in [
        "--key-types: \"p521\" is not a key type: expected one of p256, p384, rsa2048",
        "--challenge-types: -1 is not a weight",
        "--connections: \"pooled\" is not a connection model: expected one of shared, per-worker, per-chain",
        "--http: \"3\" is no HTTP version: there are 1.1 and 2",
        "--abandon: \"110%\" is not a share",
        "--stop-before: chains cannot stop before \"newOrder\": expected finalize",
        "--on-failure: \"panic\" is not a behaviour after failures: expected one of back-off, hammer",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let nothing_left = super::tests::options()
        .with("stop_before", "finalize")
        .with("weights", "registration=0,authorization=0,refresh=0,revoke=0");
    let shown = nothing_left.resolve(None).unwrap_err().to_string();
    assert!(shown.contains("stops before finalize"), "{shown}");
}

#[test]
fn listeners_need_challenges_in_memory() {
    let mut options = options();
    options.set("challenges", "redis://127.0.0.1");
    assert_eq!(
        options.clone().resolve(None).unwrap().scenarios[0].choices.challenges,
        Mix::even(ChallengeType::STANDARD)
    );
    options.set("http01_listen", "127.0.0.1:80");
    assert!(options.resolve(None).unwrap_err().to_string().contains("needs --challenges memory"));
}

#[test]
fn only_dns01_may_be_answered_by_another_server() {
    let mut options = options();
    options.set("http01_listen", "127.0.0.1:0");
    options.set("dns_challenges", "challtestsrv+http://10.77.77.77:8055");
    let plan = options.clone().resolve(None).unwrap();
    assert_eq!(plan.challenges, Challenges::Memory);
    assert_eq!(plan.scenarios[0].choices.challenges.to_string(), "http-01=1,dns-01=1");
    options.set("dns_challenges", "redis://127.0.0.1");
    let shown = options.resolve(None).unwrap_err().to_string();
    assert_eq!(shown, "--dns-challenges: not challtestsrv+http://HOST:8055");
}

#[test]
fn secrets_are_in_no_debug_output_and_no_stamp() {
    let mut options = options();
    options.set("eab_kid", "kid-1");
    options.set("state", "postgres://wec:hunter2@db/wec");
    let plan = options.resolve(Some("aG1hYy1zZWNyZXQ".into())).unwrap();
    let stamp = serde_json::to_string(&wec_record::Plan::from(&plan)).unwrap();
    assert!(
        stamp.contains("kid-1") && !stamp.contains("hunter2") && !stamp.contains("aG1hYy1zZWNyZXQ"),
        "{stamp}"
    );
    assert!(!format!("{plan:?}").contains("aG1hYy1zZWNyZXQ"));
}

#[test]
fn the_clients_configuration_follows_the_plan() {
    let plan = options().resolve(None).unwrap();
    assert_eq!(plan.patience.policy(), Policy::default());
    let plan = options()
        .with("poll_interval", "3s")
        .with("poll_timeout", "2m")
        .with("max_retries", "0")
        .with("max_retry_after", "0s");
    let plan = plan.resolve(None).unwrap();
    let policy = plan.patience.policy();
    assert_eq!((policy.poll_interval.as_secs(), policy.poll_timeout.as_secs()), (3, 120));
    assert_eq!((policy.busy_retries, policy.max_retry_after), (0, Duration::ZERO));
    let stamp = serde_json::to_value(wec_record::Plan::from(&plan)).unwrap();
    assert_eq!((&stamp["poll_interval"], &stamp["max_retries"]), (&"3s".into(), &0.into()));
    assert_eq!((&stamp["poll_timeout"], &stamp["max_retry_after"]), (&"2m".into(), &"0s".into()));
}

#[test]
fn every_wrong_bound_is_named() {
    let options =
        options().with("poll_interval", "0s").with("max_retries", "-1").with("max_retry_after", "soon");
    let told = options.resolve(None).unwrap_err().to_string();
    for flag in ["--poll-interval", "--max-retries", "--max-retry-after"] {
        assert!(told.contains(flag), "{flag} is missing in {told}");
    }
}

#[test]
fn profiles_and_revocations_have_weights_and_shares() {
    let plan = options().resolve(None).unwrap();
    let scenario = &plan.scenarios[0];
    assert_eq!(scenario.choices.profiles.to_string(), "default=1");
    assert_eq!(scenario.choices.revocation_reasons.to_string(), "none=1,0=1,1=1,4=1,5=1");
    assert_eq!(scenario.choices.revoke_by_certificate_key, 0.5);
    assert_eq!((plan.plain.challenge_linger.0, &plan.issuer_root), (Duration::from_secs(10), &None));
    for share in ["20%", "0.2"] {
        let plan = options()
            .with("profile", "shortlived=1,classic=3")
            .with("revoke_reasons", "none=4,0")
            .with("revoke_by_certificate_key", share);
        let plan = plan.resolve(None).unwrap();
        let stamp = serde_json::to_value(wec_record::Plan::from(&plan)).unwrap();
        let scenario = &stamp["scenarios"][0];
        assert_eq!(scenario["profile"], "shortlived=1,classic=3");
        assert_eq!(scenario["revoke_reasons"], "none=4,0=1");
        assert_eq!(scenario["revoke_by_certificate_key"], 0.2);
    }
}

#[test]
fn mistakes_name_the_flag() {
    let wrong = options()
        .with("profile", "two words")
        .with("revoke_reasons", "7")
        .with("revoke_by_certificate_key", "120%")
        .with("issuer_root", "Cargo.toml")
        .with("challenge_linger", "2 hours and");
    let shown = wrong.resolve(None).unwrap_err().to_string();
    for part in [
        "--profile: \"two words\" is not a profile's name",
        "--revoke-reasons: \"7\" is not a revocation reason",
        "--revoke-by-certificate-key: \"120%\" is not a share",
        "--issuer-root: Cargo.toml has no certificate in PEM",
        "--challenge-linger: \"2 hours and\" is not a time",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}
