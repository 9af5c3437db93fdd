//! Issued certificates: download (RFC 8555 §7.4.2), revocation (§7.6), renewal information and
//! replacement (RFC 9773).
//!
//! A certificate is two entries. Its body is only kept while it is among the newest; what it takes
//! to revoke or renew it (hash, serial number, status) is a tenth of the size and kept longer.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::clock::UnixTime;
use crate::faults::Flaw;
use crate::issuer::{id_of_serial, pem, serial_number};
use crate::keys::PublicKey;
use crate::reply::{Content, Kind, Problem, Reply};
use crate::ring::Ring;
use crate::service::{Ca, Call, Signer};

pub(crate) struct Certificates {
    known: Ring<Certificate>,
    /// Leaves in DER.
    bodies: Ring<Box<[u8]>>,
    /// The certificate issued last, whose serial number a wrong one repeats.
    last: AtomicU64,
}

struct Certificate {
    account: u64,
    serial: [u8; 16],
    sha256: [u8; 32],
    body: u64,
    issued: UnixTime,
    revoked: bool,
    replaced_by: Option<u64>,
}

impl Certificates {
    pub(crate) fn new(known: usize, bodies: usize) -> Self {
        Self { known: Ring::new(known), bodies: Ring::new(bodies), last: AtomicU64::new(0) }
    }
}

/// What CAs let subscribers say (RFC 5280 §5.3.1): unspecified, keyCompromise, affiliationChanged,
/// superseded, cessationOfOperation.
const REASONS: [u8; 5] = [0, 1, 3, 4, 5];

#[derive(Deserialize)]
struct Revoke {
    certificate: String,
    reason: Option<u8>,
}

impl Ca {
    /// Issues a certificate, or a wrong one when the plan says so, and returns its id.
    pub(crate) fn issue<'a>(
        &self,
        account: u64,
        names: impl Iterator<Item = &'a str>,
        key: &PublicKey,
    ) -> Result<u64, Problem> {
        let flaw = self.plan.flaw();
        let certificates = &self.certificates;
        let id = certificates.known.reserve();
        let last = certificates.last.swap(id, Ordering::Relaxed);
        let serial = match flaw {
            Some(Flaw::RepeatedSerial) => certificates.known.with(last, |last| last.serial),
            _ => None,
        };
        let serial = serial.unwrap_or_else(|| serial_number(id));
        let issued = UnixTime::now();
        let der = self.issuer.issue(names, key, &serial, issued, flaw);
        let der = der.map_err(|error| {
            Problem::new(Kind::ServerInternal, format!("the certificate cannot be signed: {error}"))
        })?;
        let body = certificates.bodies.reserve();
        let sha256 = sha256(&der);
        certificates.bodies.put(body, der.into());
        let (revoked, replaced_by) = (false, None);
        certificates
            .known
            .put(id, Certificate { account, serial, sha256, body, issued, revoked, replaced_by });
        self.counters.certificates.add();
        if let Some(flaw) = flaw {
            self.counters.issued_wrong(flaw);
        }
        Ok(id)
    }

    pub(crate) fn certificate(&self, call: &Call<'_>, id: u64) -> Result<Reply, Problem> {
        call.post_as_get()?;
        let account = call.account()?;
        let known = self.certificates.known.with(id, |known| (known.account, known.body));
        let (owner, body) =
            known.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such certificate"))?;
        if owner != account {
            return Err(Problem::new(Kind::Unauthorized, "the certificate is somebody else's"));
        }
        let chain = self.certificates.bodies.with(body, |leaf| {
            let mut chain = pem(leaf);
            chain.push_str(&self.issuer.intermediate_pem);
            chain
        });
        let chain = chain.ok_or_else(|| {
            let detail = "the certificate is too old to be downloaded again";
            Problem::new(Kind::NotFound, detail)
        })?;
        Ok(Reply::new(200, Content::PemChain(chain)))
    }

    /// By the account that ordered it, or by whoever has the certificate's own key.
    pub(crate) fn revoke(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let asked: Revoke = call.jws.read()?;
        let der = URL_SAFE_NO_PAD.decode(&asked.certificate);
        let der = der.map_err(|_| Problem::malformed("the certificate is not base64url"))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| Problem::malformed(format!("the certificate does not parse: {error}")))?;
        let reason = asked.reason.unwrap_or(0);
        if !REASONS.contains(&reason) {
            let detail = format!("reason {reason} is none of {REASONS:?}");
            return Err(Problem::new(Kind::BadRevocationReason, detail));
        }
        let has_its_key = match &call.signer {
            Signer::Account { .. } => false,
            Signer::Key(key) => PublicKey::from_spki(certificate.public_key())? == **key,
        };
        let not_ours = || Problem::new(Kind::NotFound, "no such certificate was issued here");
        let id = id_of_serial(certificate.raw_serial()).ok_or_else(not_ours)?;
        let sha256 = sha256(&der);
        let revoked = self.certificates.known.with(id, |known| {
            if known.sha256 != sha256 {
                return Err(not_ours());
            }
            let is_its_account = match call.signer {
                Signer::Account { id, .. } => known.account == id,
                Signer::Key(_) => false,
            };
            if !has_its_key && !is_its_account {
                let detail = "neither the certificate's key nor its account signed the request";
                return Err(Problem::new(Kind::Unauthorized, detail));
            }
            if std::mem::replace(&mut known.revoked, true) {
                return Err(Problem::new(Kind::AlreadyRevoked, "the certificate is already revoked"));
            }
            Ok(())
        });
        revoked.ok_or_else(not_ours)??;
        self.counters.revocations.add();
        Ok(Reply::new(200, Content::Nothing))
    }

    /// When to renew (RFC 9773 §4.2). Anybody may ask.
    pub(crate) fn renewal_info(&self, ari_id: &str) -> Result<Reply, Problem> {
        let id = self.certificate_of(ari_id)?;
        let renewal = &self.config.renewal;
        let issued = self.certificates.known.with(id, |known| known.issued);
        let issued = issued.ok_or_else(|| not_known(ari_id))?;
        let opens = issued.after(renewal.opens_after);
        let closes = opens.after(renewal.open_for);
        let json = format!(r#"{{"suggestedWindow":{{"start":"{opens}","end":"{closes}"}}}}"#);
        Ok(Reply { retry_after: Some(renewal.retry_after), ..Reply::json(200, json) })
    }

    /// Notes that an order replaces a certificate; another order may do so only when that order
    /// failed (RFC 9773 §5).
    pub(crate) fn replace_certificate(&self, account: u64, ari_id: &str, order: u64) -> Result<(), Problem> {
        let id = self.certificate_of(ari_id)?;
        let before = self.certificates.known.with(id, |known| known.replaced_by).flatten();
        let free = before.is_none_or(|order| self.order_is_void(order));
        let replaced = self.certificates.known.with(id, |known| {
            if known.account != account {
                let detail = "the certificate to replace is somebody else's";
                return Err(Problem::new(Kind::Unauthorized, detail));
            }
            if !free || known.replaced_by != before {
                let detail = format!("another order already replaces certificate `{ari_id}`");
                return Err(Problem::new(Kind::AlreadyReplaced, detail));
            }
            known.replaced_by = Some(order);
            Ok(())
        });
        replaced.ok_or_else(|| not_known(ari_id))?
    }

    /// The id of the certificate that an ARI identifier names: base64url of the authority key
    /// identifier, a dot, base64url of the serial number (RFC 9773 §4.1).
    fn certificate_of(&self, ari_id: &str) -> Result<u64, Problem> {
        let malformed = || Problem::malformed(format!("`{ari_id}` identifies no certificate"));
        let (key_id, serial) = ari_id.split_once('.').ok_or_else(malformed)?;
        let key_id = URL_SAFE_NO_PAD.decode(key_id).map_err(|_| malformed())?;
        let serial = URL_SAFE_NO_PAD.decode(serial).map_err(|_| malformed())?;
        let id = id_of_serial(&serial).filter(|_| key_id == self.issuer.key_id);
        let id = id.ok_or_else(|| not_known(ari_id))?;
        let known = self.certificates.known.with(id, |known| known.serial.as_slice() == serial);
        if known == Some(true) { Ok(id) } else { Err(not_known(ari_id)) }
    }
}

fn not_known(ari_id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("no certificate `{ari_id}` was issued here"))
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
