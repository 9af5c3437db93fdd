//! A plan in the form of logs and the API: [`wec_record::Plan`], without secrets.

use std::path::PathBuf;

use wec_acme::{Correlation, Dialling, ExternalAccount, HttpVersion};
use wec_chains::{Choices, Connections, StopBefore};
use wec_record::plan;

use super::{ClientIdentity, Listen, Patience, Plan};
use crate::executor::OnFailure;
use crate::saturation::Bounds;
use crate::scenario::Scenario;

impl From<&Plan> for plan::Plan {
    fn from(given: &Plan) -> Self {
        // Every field by name: a new one must be recorded, or left out explicitly.
        let Plan {
            directory,
            cacert,
            insecure,
            client: ClientIdentity { client_cert, certificate: _, correlation },
            issuer_root,
            scenarios,
            warm_up,
            limits,
            http,
            contact,
            eab,
            seed,
            // It may contain passwords.
            state: _,
            challenges: _,
            dns_challenges: _,
            listen: Listen { http01, tlsalpn01, dns },
            caa,
            dialling: Dialling { spread, connect_to, source_addresses },
            patience: Patience { poll_interval, poll_timeout, max_retries, max_retry_after },
            threads,
            bounds: Bounds { lag, lag_share, cpu, backlog, dropped, connections },
            // It belongs to the user, not to the run.
            permission: _,
            thresholds,
            plain,
        } = given;
        let Correlation { traceparent, request_id_header } = correlation;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        Self {
            version: plan::VERSION,
            directory: wec_text::without_query(directory.as_str()).into_owned(),
            cacert: path(cacert),
            insecure: *insecure,
            client_cert: path(client_cert),
            traceparent: *traceparent,
            request_id_header: request_id_header.to_string(),
            issuer_root: path(issuer_root),
            scenarios: scenarios.iter().map(scenario).collect(),
            warm_up: (*warm_up).into(),
            limits: *limits,
            http: match http {
                HttpVersion::Http1 => plan::HttpVersion::Http1,
                HttpVersion::Http2 => plan::HttpVersion::Http2,
            },
            contact: contact.clone(),
            eab: kids(eab),
            seed: *seed,
            listen: plan::Listen { http01: *http01, tlsalpn01: *tlsalpn01, dns: *dns },
            caa: caa.to_string(),
            dialling: plan::Dialling {
                spread: *spread,
                connect_to: connect_to.iter().map(ToString::to_string).collect(),
                source_addresses: source_addresses.clone(),
            },
            poll_interval: (*poll_interval).into(),
            poll_timeout: (*poll_timeout).into(),
            max_retries: *max_retries,
            max_retry_after: (*max_retry_after).into(),
            threads: *threads,
            bounds: plan::Bounds {
                lag: (*lag).into(),
                lag_share: *lag_share,
                cpu: *cpu,
                backlog: *backlog,
                dropped: *dropped,
                connections: *connections,
            },
            thresholds: thresholds.clone(),
            plain: plain.clone(),
            unknown: plan::Unknown::default(),
        }
    }
}

/// The key identifier, or the first and how many there are.
fn kids(eab: &[ExternalAccount]) -> Option<String> {
    match eab {
        [] => None,
        [only] => Some(only.kid.clone()),
        [first, others @ ..] => Some(format!("{} and {} more", first.kid, others.len())),
    }
}

fn scenario(given: &Scenario) -> plan::Scenario {
    let span = |times: &std::ops::RangeInclusive<std::time::Duration>| plan::Span {
        from: plan::Time(*times.start()),
        to: plan::Time(*times.end()),
    };
    let Scenario { name, start_at, after, run_time, load, think_time, weights, choices, on_failure } = given;
    let Choices {
        names,
        name_kinds,
        ip_networks,
        validity,
        challenges,
        fail_validations,
        validation_faults,
        key_types,
        account_key_types,
        connections,
        behaviours,
        stop_before,
        profiles,
        revocation_reasons,
        revoke_by_certificate_key,
        revoke_by_other_account,
        refusals,
        steps,
        plain,
    } = choices;
    plan::Scenario {
        name: name.clone(),
        start_at: (*start_at).into(),
        after: after.clone(),
        run_time: (*run_time).into(),
        load: load.recorded(),
        think_time: think_time.as_ref().map(span),
        weights: plan::Weights(weights.iter().collect()),
        names_per_order: Some(names.clone()),
        name_kinds: name_kinds.shares(),
        ip_networks: ip_networks.to_string(),
        validity: validity.map(plan::Time),
        challenge_types: challenges.shares(),
        fail_validations: *fail_validations,
        validation_faults: validation_faults.shares(),
        key_types: key_types.shares(),
        account_key_types: account_key_types.shares(),
        connections: match connections {
            Connections::Shared => plan::Connections::Shared,
            Connections::PerWorker => plan::Connections::PerWorker,
            Connections::PerChain => plan::Connections::PerChain,
        },
        behaviours: behaviours.shares(),
        stop_before: stop_before.map(|step| match step {
            StopBefore::Finalize => plan::StopBefore::Finalize,
        }),
        profile: profiles.shares(),
        revoke_reasons: revocation_reasons.shares(),
        revoke_by_certificate_key: *revoke_by_certificate_key,
        revoke_by_other_account: *revoke_by_other_account,
        refusals: refusals.shares(),
        steps: steps.to_string(),
        on_failure: match on_failure {
            OnFailure::BackOff => plan::OnFailure::BackOff,
            OnFailure::Hammer => plan::OnFailure::Hammer,
        },
        plain: plain.clone(),
        unknown: plan::Unknown::default(),
    }
}
