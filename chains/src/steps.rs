//! Steps that chains share: authorizing an order, and getting a checked certificate for a ready one.

use std::time::Duration;

use wec_acme::{
    Account, AskedValidity, Authorization, AuthorizationStatus, Behaviour, CertificateKey, Challenge,
    ChallengeStatus, DOWNLOADS, Endpoint, Exchange, Failure, FailureClass, NewOrder, Order, OrderStatus,
    Purpose, Trace, WrongKind,
};
use wec_record::ChallengeType;
use wec_store::challenge::{account_label, detour};
use wec_store::{ChallengeData, NewCertificate, Reservation, StoredCertificate};

use crate::failing::MustFail;
use crate::proofs::{self, Validation};
use crate::scene::Scene;

/// newOrder for these names, with the profile that was drawn and the policy's validity. `replaces` is the RFC 9773
/// identifier of the certificate that is renewed. Its URL is noted for the result.
pub(crate) async fn new_order(
    scene: &mut Scene<'_>,
    account: &Account,
    names: &[String],
    replaces: Option<&str>,
) -> Result<Box<Order>, Failure> {
    let context = scene.context;
    let now = context.client.ca_clock().unix_now();
    let validity = context.policy.choices.validity.map(|length| AskedValidity {
        not_before_unix: now,
        not_after_unix: now.saturating_add_unsigned(length.as_secs()),
    });
    let new_order = NewOrder { names, replaces, profile: scene.notes.profile(), validity };
    let order = context.client.new_order_for(scene.trace, account, new_order).await;
    let order = order.map(Box::new).map_err(|failure| match validity {
        Some(_) if is(&failure, "malformed") => Failure {
            message: format!(
                "{}; the order requested notBefore and notAfter (--validity), which not every CA offers",
                failure.message
            ),
            ..failure
        },
        _ => failure,
    })?;
    scene.note_order(&order.url);
    Ok(order)
}

/// Brings a new order to `ready`: validates every authorization that is not valid yet, then waits for the
/// order.
///
/// All challenges are sent before the first poll, as clients do. An order that is ready at once (the CA
/// reuses authorizations) needs no request. Orders are boxed: each would be part of every waiting worker.
pub(crate) async fn authorize(
    scene: &mut Scene<'_>,
    account: &Account,
    order: Box<Order>,
) -> Result<Box<Order>, Failure> {
    let client = &scene.context.client;
    match order.status {
        OrderStatus::Pending => {}
        OrderStatus::Ready => return Ok(order),
        status => {
            return Err(Failure::new(
                FailureClass::Malformed,
                format!("newOrder answered the order {} that is {status:?} from the start", order.url),
            ));
        }
    }
    let mut undecided = Vec::with_capacity(order.authorizations.len());
    scene.notes.authorizations.reserve_exact(order.authorizations.len());
    for url in &order.authorizations {
        let authorization = client.authorization(scene.trace, account, url).await?;
        undecided.extend(begin(scene, account, url, &authorization).await?);
    }
    await_all(scene, account, undecided).await?;
    // With its last authorization an order becomes ready (RFC 8555 §7.1.6): fetch it without waiting.
    let order = Box::new(client.order(scene.trace, account, &order.url).await?);
    client.poll_order_ready(scene.trace, account, &order).await.map(Box::new)
}

/// An authorization that the CA is validating.
pub(crate) struct Undecided<'a> {
    url: &'a str,
    name: Box<str>,
    retry_after: Option<Duration>,
    place: usize,
    must_fail: Option<MustFail>,
}

/// Sends one challenge of an authorization that was just read, if it is not valid; none if it is decided then.
pub(crate) async fn begin<'a>(
    scene: &mut Scene<'_>,
    account: &Account,
    url: &'a str,
    authorization: &Authorization,
) -> Result<Option<Undecided<'a>>, Failure> {
    let place = proofs::looked_at(scene, url, authorization);
    let sent_before = scene.trace.exchanges().len();
    let answer = Box::pin(prove(scene, account, authorization, place)).await;
    proofs::answered(scene, place, sent_before, &answer);
    match answer? {
        Validation::Proven => {
            scene.settled(&authorization.identifier.validated());
            Ok(None)
        }
        Validation::Awaited { retry_after, must_fail } => {
            let name = authorization.identifier.validated().into_owned().into_boxed_str();
            Ok(Some(Undecided { url, name, retry_after, place, must_fail }))
        }
    }
}

/// Polls these authorizations until each is valid, or until one has failed.
pub(crate) async fn await_all(
    scene: &mut Scene<'_>,
    account: &Account,
    undecided: Vec<Undecided<'_>>,
) -> Result<(), Failure> {
    for Undecided { url, name, retry_after, place, must_fail } in undecided {
        let polled = scene.context.client.poll_authorization(scene.trace, account, url, retry_after).await;
        proofs::polled(scene, place, &polled);
        if let Some(must_fail) = must_fail {
            return Err(must_fail.judge(scene, &name, polled.map(drop)));
        }
        polled?;
        scene.settled(&name);
    }
    Ok(())
}

/// Sends one challenge of an authorization that is not valid yet.
async fn prove(
    scene: &mut Scene<'_>,
    account: &Account,
    authorization: &Authorization,
    place: usize,
) -> Result<Validation, Failure> {
    let name = authorization.identifier.validated();
    match authorization.status {
        AuthorizationStatus::Valid => return Ok(Validation::Proven),
        AuthorizationStatus::Pending => {}
        status => {
            return Err(Failure::new(
                FailureClass::Validation,
                format!("the authorization of {name} is {status:?} before any challenge was answered"),
            ));
        }
    }
    let (challenge, kind) = pick(scene, authorization)?;
    scene.notes.authorizations[place].challenge = Some(kind);
    let must_fail = MustFail::draw(scene, kind);
    let data = ChallengeData {
        kind,
        name: name.clone().into_owned(),
        token: match kind {
            ChallengeType::DnsAccount01 => account_label(&account.url),
            _ => challenge.token.clone(),
        },
        key_authorization: match (must_fail, kind) {
            (Some(must_fail), _) => must_fail.fault.key_authorization(),
            (None, ChallengeType::DnsPersist01) => {
                persistent_record(challenge, account, authorization.wildcard)
            }
            (None, _) => account.key.key_authorization(&challenge.token),
        },
    };
    // A validation that must fail has no detour.
    let data = match must_fail.is_none() && scene.draws(scene.context.policy.choices.plain.detours) {
        true => detour(data),
        false => vec![data],
    };
    let Scene { context, trace, presented, .. } = scene;
    for data in data {
        presented.put(&*context.challenges, data).await?;
    }
    let challenge = match context.client.respond(trace, account, &challenge.url).await {
        // Boulder: "authorization must be pending". Polling shows the result of the first attempt.
        Err(failure) if failure.kind == FailureClass::Problem && was_repeated(trace) => {
            return Ok(Validation::Awaited { retry_after: None, must_fail });
        }
        answer => answer?,
    };
    let decided = match challenge.status {
        ChallengeStatus::Valid => Ok(Validation::Proven),
        ChallengeStatus::Pending | ChallengeStatus::Processing => {
            return Ok(Validation::Awaited { retry_after: challenge.retry_after, must_fail });
        }
        ChallengeStatus::Invalid => {
            let why =
                challenge.error.as_ref().map_or_else(|| "without a reason".to_owned(), ToString::to_string);
            let message = format!("the CA could not validate {name} by {kind}: {why}");
            Err(Failure {
                problem: challenge.error.map(Box::new),
                ..Failure::new(FailureClass::Validation, message)
            })
        }
    };
    match must_fail {
        Some(must_fail) => Err(must_fail.judge(scene, &name, decided.map(drop))),
        None => decided,
    }
}

/// The TXT record of dns-persist-01: the CA's name, the account, and for wildcards that they are meant.
fn persistent_record(challenge: &Challenge, account: &Account, wildcard: bool) -> String {
    let issuer = challenge.issuer_domain_names.first().map_or("", String::as_str);
    let policy = if wildcard { "; policy=wildcard" } else { "" };
    format!("{issuer}; accounturi={}{policy}", account.url)
}

/// One of the challenges that the CA offers and the challenge server answers, drawn by the policy's weights.
fn pick<'a>(
    scene: &mut Scene<'_>,
    authorization: &'a Authorization,
) -> Result<(&'a Challenge, ChallengeType), Failure> {
    let enabled = &scene.context.policy.choices.challenges;
    // Without the CA's name there is no record for dns-persist-01.
    let has_name = |challenge: &&Challenge| {
        challenge.kind != Some(ChallengeType::DnsPersist01) || !challenge.issuer_domain_names.is_empty()
    };
    let offers = |kind| Some((authorization.challenge(kind).filter(has_name)?, kind));
    let drawn = enabled.draw(scene.rng, |kind| offers(kind).is_some()).and_then(offers);
    drawn.ok_or_else(|| {
        let offered: Vec<_> = authorization.challenges.iter().map(Challenge::type_name).collect();
        let enabled: Vec<_> = enabled.items().map(|kind| kind.name()).collect();
        Failure::internal(format!(
            "for {} the CA offers {}, of which none is enabled here ({}): enable one of them",
            authorization.identifier.validated(),
            offered.join(", "),
            enabled.join(", ")
        ))
    })
}

/// Finalizes a ready order with a new key, waits, downloads and checks the certificate.
pub(crate) async fn issue(
    scene: &mut Scene<'_>,
    account: &Account,
    order: &Order,
    names: &[String],
) -> Result<NewCertificate, Failure> {
    let with_common_name = scene.draws(scene.context.policy.choices.plain.common_name);
    let context = scene.context;
    let Scene { trace, rng, .. } = scene;
    let policy = &context.policy;
    let kind = policy.choices.key_types.draw(*rng, |_| true).unwrap_or_default();
    let (key, csr) = loop {
        let drawn = trace.keygen(|| {
            let Some(key) = policy.keys.certificate_key(kind)? else { return Ok(None) };
            let csr =
                if with_common_name { key.request_with_common_name(names)? } else { key.request(names)? };
            Ok(Some((key, csr)))
        })?;
        match drawn {
            Some(drawn) => break drawn,
            None => trace.wait_for_key(policy.keys.restocked(kind)).await,
        }
    };
    let order = match context.client.finalize(trace, account, order, &csr).await {
        Err(failure) if is(&failure, "badPublicKey") => {
            // Blocked for some reason: it would always be refused.
            policy.keys.retire(key.public_key());
            return Err(failure);
        }
        Err(failure) if failure.kind == FailureClass::Problem && was_repeated(trace) => {
            context.client.order(trace, account, &order.url).await?
        }
        answer => answer?,
    };
    let order = context.client.poll_order_valid(trace, account, &order).await?;
    let url = order.certificate.as_deref().expect("an order without one is not what the poll returns");
    let pem = context.client.certificate(trace, account, url).await?;
    if trace.behaviour() == Behaviour::DownloadsAgain {
        Box::pin(download_again(scene, account, (url, &pem), DOWNLOADS - 1)).await?;
    }
    // A CA whose clock is hours ahead issues certificates that begin in our future.
    let now = context.client.ca_clock().unix_now();
    let checked = context
        .checker
        .check(&pem, names, &key, now)
        .inspect_err(|_| scene.notes.serial = wec_acme::serial_of(&pem).unwrap_or_default())?;
    scene.notes.serial.clone_from(&checked.serial_hex);
    if policy.choices.validity.is_some()
        && let Some(asked) = order.not_after_unix()
        && asked.abs_diff(checked.not_after_unix) > 1
    {
        let text = format!(
            "the certificate at {url} ends {} s after the Unix epoch; the order's notAfter is {asked} s",
            checked.not_after_unix
        );
        return Err(Failure {
            detail: WrongKind::Validity.name().into(),
            ..Failure::new(FailureClass::WrongCertificate, text)
        });
    }
    if !context.state.serial_is_new(&checked.issuer_id, &checked.serial_hex) {
        let text =
            format!("the certificate at {url} has the serial {} that an earlier one had", checked.serial_hex);
        return Err(Failure {
            detail: WrongKind::Serial.name().into(),
            ..Failure::new(FailureClass::WrongCertificate, text)
        });
    }
    scene.notes.unverified = checked.unverified.as_deref().unwrap_or_default().to_owned();
    Ok(NewCertificate {
        issuer: checked.issuer_id.to_string(),
        serial: checked.serial_hex,
        ari_id: checked.ari_id,
        names: names.to_vec(),
        leaf_der: checked.leaf_der,
        pem,
        key_pkcs8: key.to_pkcs8(),
        not_before_unix: checked.not_before_unix,
        not_after_unix: checked.not_after_unix,
        url: url.to_owned(),
    })
}

/// Downloads a certificate so many more times; it is the same each time.
pub(crate) async fn download_again(
    scene: &mut Scene<'_>,
    account: &Account,
    (url, pem): (&str, &[u8]),
    times: u32,
) -> Result<(), Failure> {
    for _ in 0..times {
        let again = scene.context.client.certificate(scene.trace, account, url).await?;
        if wec_acme::serial_of(&again) != wec_acme::serial_of(pem) {
            let text = format!("another download of the certificate at {url} is another certificate");
            return Err(Failure {
                detail: WrongKind::Changed.name().into(),
                ..Failure::new(FailureClass::WrongCertificate, text)
            });
        }
    }
    Ok(())
}

/// Checks another download of a stored certificate: it is the same, and nothing is wrong with its chain.
pub(crate) fn check_again(
    scene: &mut Scene<'_>,
    stored: &StoredCertificate,
    url: &str,
    pem: &[u8],
) -> Result<(), Failure> {
    let Scene { context, trace, notes, .. } = scene;
    // Not the server's time: reading the key takes as long as a signature.
    let key = trace.keygen(|| CertificateKey::from_pkcs8(&stored.key_pkcs8))?;
    let now = context.client.ca_clock().unix_now();
    let checked = context.checker.check(pem, &stored.names, &key, now)?;
    if checked.leaf_der != stored.leaf_der {
        let text = format!(
            "the certificate at {url} has the serial {} and is not the one that was there before, with the serial {}",
            checked.serial_hex, stored.serial
        );
        return Err(Failure {
            detail: WrongKind::Changed.name().into(),
            ..Failure::new(FailureClass::WrongCertificate, text)
        });
    }
    notes.unverified = checked.unverified.as_deref().unwrap_or_default().to_owned();
    Ok(())
}

/// Whether no request to `endpoint` has changed anything at the CA: each was refused, or did not reach it.
/// Then the chain's claims remain usable.
pub(crate) fn did_nothing(trace: &Trace, endpoint: Endpoint) -> bool {
    let mut attempts = trace.exchanges().iter().filter(|attempt| attempt.endpoint == endpoint);
    attempts.all(|attempt| {
        !attempt.way.doubtful
            && attempt.failure.as_ref().is_some_and(|failure| {
                matches!(
                    failure.kind,
                    FailureClass::Problem | FailureClass::RateLimited | FailureClass::BadNonce
                ) || was_not_sent(attempt, failure)
            })
    })
}

/// Decides about the right to make one object after a failure: it is returned, unless the CA made the object,
/// or may have made it without a received answer. A CA whose answers are lost must not be made to exceed a
/// hard limit.
pub(crate) fn settle(room: Reservation, trace: &Trace, maker: Endpoint, failure: &Failure) {
    let mut attempts = trace.exchanges().iter().filter(|attempt| attempt.endpoint == maker);
    let may_have_made = attempts.any(|attempt| match &attempt.failure {
        None => true,
        Some(failure) => attempt.status == 0 && !was_not_sent(attempt, failure),
    });
    // An order that became invalid has no certificate.
    if may_have_made && failure.kind != FailureClass::Validation {
        room.forfeit();
    }
}

/// Whether an attempt ended without a connection, or before the request was given to one.
fn was_not_sent(attempt: &Exchange, failure: &Failure) -> bool {
    match failure.kind {
        FailureClass::Connect | FailureClass::Tls => true,
        FailureClass::Interrupted => attempt.done > 0 && attempt.bytes_sent == 0,
        _ => false,
    }
}

/// Whether the CA does not know the account that signed (RFC 8555 §6.7): then all objects of that account are
/// unusable.
pub(crate) fn is_unknown_account(failure: &Failure) -> bool {
    is(failure, "accountDoesNotExist")
}

/// Whether the CA answered with this problem (RFC 8555 §6.7).
pub(crate) fn is(failure: &Failure, problem: &str) -> bool {
    failure.problem.as_ref().is_some_and(|answered| answered.is(problem))
}

/// Whether the last request repeated one without an answer: the CA may have processed the first one, and
/// refuses this one because of it.
pub(crate) fn was_repeated(trace: &Trace) -> bool {
    let mut attempts = trace.exchanges().iter().rev().filter(|attempt| attempt.purpose != Purpose::Nonce);
    let Some(last) = attempts.next() else { return false };
    if last.way.doubtful {
        return true;
    }
    let mut retry = last.purpose == Purpose::Retry;
    while retry {
        // The attempt before it; the step itself is the first attempt.
        match attempts.next() {
            Some(earlier) if earlier.status == 0 || earlier.way.doubtful => return true,
            earlier => retry = earlier.is_some_and(|earlier| earlier.purpose == Purpose::Retry),
        }
    }
    false
}
