//! CAA (RFC 8659, with the parameters of RFC 8657): whether a name's DNS permits this CA to issue.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

use crate::challenge::Validated;
use crate::config::ISSUER_NAME;
use crate::dns::{ask, question};
use crate::reply::{Kind, Problem};

/// A property of a record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    critical: bool,
    tag: String,
    value: String,
}

/// Asks for the record set of the name or of the nearest domain above it that has one, and judges it.
pub(crate) async fn check(challenge: &Validated, at: std::net::SocketAddr) -> Result<(), Problem> {
    let validated = challenge.identifier.validated();
    let mut name = &*validated;
    loop {
        let set = records(name, at).await?;
        if !set.is_empty() {
            return permits(&set, challenge).map_err(|why| {
                Problem::new(Kind::Caa, format!("the CAA records of {name} do not permit {validated}: {why}"))
            });
        }
        match name.split_once('.') {
            Some((_, above)) => name = above,
            None => return Ok(()),
        }
    }
}

async fn records(name: &str, at: std::net::SocketAddr) -> Result<Vec<Property>, Problem> {
    let failed =
        |why: String| Problem::new(Kind::Caa, format!("asking {at} for CAA of {name} failed: {why}"));
    let question = question(&format!("{name}."), RecordType::CAA).map_err(failed)?;
    let answer = ask(&question, at).await.map_err(|error| failed(error.to_string()))?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        // RFC 8659 §3: without an answer there is no permission.
        code => return Err(failed(code.to_string())),
    }
    let properties = answer.answers.iter().filter_map(|record| match &record.data {
        RData::CAA(caa) => Some(Property {
            critical: caa.issuer_critical,
            tag: caa.tag.to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => None,
    });
    Ok(properties.collect())
}

/// Whether a record set permits to issue after this challenge.
fn permits(set: &[Property], challenge: &Validated) -> Result<(), String> {
    let known = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];
    if let Some(unknown) = set.iter().find(|property| property.critical && !known.contains(&&*property.tag)) {
        return Err(format!("{} is critical and unknown", unknown.tag));
    }
    let is_wildcard = matches!(challenge.identifier, wec_record::Identifier::Wildcard(_));
    let has = |tag: &str| set.iter().any(|property| property.tag == tag);
    let tag = match () {
        () if is_wildcard && has("issuewild") => "issuewild",
        () if has("issue") => "issue",
        () => return Ok(()),
    };
    let mut why = format!("no {tag} names {ISSUER_NAME}");
    for property in set.iter().filter(|property| property.tag == tag) {
        let mut parts = property.value.split(';').map(str::trim);
        if parts.next() != Some(ISSUER_NAME) {
            continue;
        }
        let parameters: Vec<_> =
            parts.filter(|part| !part.is_empty()).map(|part| part.split_once('=')).collect();
        let value = |name: &str| {
            let mut found = parameters.iter().flatten().filter(|(known, _)| known.trim() == name);
            found.next().map(|(_, value)| value.trim())
        };
        let method = challenge.kind.name();
        if parameters.contains(&None) {
            why = format!("{:?} has a parameter without a value", property.value);
        } else if value("accounturi").is_some_and(|account| account != challenge.account) {
            why = "accounturi is that of another account".to_owned();
        } else if value("validationmethods")
            .is_some_and(|known| !known.split(',').any(|one| one.trim() == method))
        {
            why = format!("validationmethods has no {method}");
        } else {
            return Ok(());
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use wec_record::{ChallengeType, Identifier};

    use super::*;

    #[test]
    fn a_record_set_permits_as_rfc_8659_and_rfc_8657_say() {
        let property = |text: &str| {
            let (critical, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text));
            let (tag, value) = text.split_once(' ').unwrap();
            Property { critical, tag: tag.to_owned(), value: value.to_owned() }
        };
        let judged = |set: &[&str], name: &str| {
            let challenge = Validated {
                kind: ChallengeType::Dns01,
                identifier: Identifier::of(name),
                account: "https://ca.test/account/1".to_owned(),
                token: String::new(),
                key_authorization: String::new(),
            };
            let set: Vec<_> = set.iter().map(|text| property(text)).collect();
            permits(&set, &challenge)
        };
        for (set, name, why) in [
            (&["issue null-ca.test"][..], "a.test", None),
            (&["issue other.test"], "a.test", Some("no issue names null-ca.test")),
            (&["issue other.test", "issue null-ca.test"], "a.test", None),
            (&["issue ;"], "a.test", Some("no issue names")),
            (&["iodef mailto:a@b.test"], "a.test", None),
            (&["issuewild ;"], "a.test", None),
            (&["issuewild ;"], "*.a.test", Some("no issuewild names")),
            (&["issue null-ca.test", "issuewild ;"], "*.a.test", Some("no issuewild names")),
            (&["issue ;", "issuewild null-ca.test"], "*.a.test", None),
            (&["issue ;"], "*.a.test", Some("no issue names")),
            (&["issue null-ca.test; validationmethods=http-01,dns-01"], "a.test", None),
            (&["issue null-ca.test; validationmethods=http-01"], "a.test", Some("has no dns-01")),
            (&["issue null-ca.test; accounturi=https://ca.test/account/1"], "a.test", None),
            (
                &["issue null-ca.test; accounturi=https://ca.test/account/2"],
                "a.test",
                Some("another account"),
            ),
            (&["issue null-ca.test; odd"], "a.test", Some("without a value")),
            (&["issue null-ca.test; x=y"], "a.test", None),
            (&["!tbs x", "issue null-ca.test"], "a.test", Some("tbs is critical")),
            (&["tbs x", "issue null-ca.test"], "a.test", None),
        ] {
            match (judged(set, name), why) {
                (Ok(()), None) => {}
                (Err(found), Some(why)) if found.contains(why) => {}
                (found, _) => panic!("{set:?} {name}: {found:?}"),
            }
        }
    }
}
