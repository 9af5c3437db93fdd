//! Download of certificates (RFC 8555 §7.4.2), revocation (§7.6), renewal information and replacement (RFC 9773).

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use wec_record::Identifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::ca::{Ca, Call, Signer};
use crate::certificates::Certificate;
use crate::clock::UnixTime;
use crate::faults::Flaw;
use crate::issuer::{id_of_serial, name_of, pem, serial_number};
use crate::keys::PublicKey;
use crate::reply::{Content, Kind, Problem, Reply};

/// Reasons that CAs accept from subscribers (RFC 5280 §5.3.1): unspecified, keyCompromise,
/// affiliationChanged, superseded, cessationOfOperation.
const REASONS: [u8; 5] = [0, 1, 3, 4, 5];

const KEY_COMPROMISE: u8 = 1;

#[derive(Deserialize)]
struct Revoke {
    certificate: String,
    reason: Option<u8>,
}

impl Ca {
    /// Issues a certificate, or a wrong one if the plan requires it, and returns its id.
    pub(crate) fn issue<'a>(
        &self,
        account: u64,
        identifiers: impl Iterator<Item = &'a Identifier>,
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
        let der = self.issuer.issue(identifiers, key, &serial, issued, flaw);
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

    /// A certificate with its chain, which leads to the root or to the alternate one.
    pub(crate) fn certificate(&self, call: &Call<'_>, id: u64, alternate: bool) -> Result<Reply, Problem> {
        call.post_as_get()?;
        let account = call.account()?;
        let known = self.certificates.known.with(id, |known| (known.account, known.body));
        let (owner, body) =
            known.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such certificate"))?;
        if owner != account {
            return Err(Problem::new(Kind::Unauthorized, "the certificate belongs to another account"));
        }
        let chain = self.certificates.bodies.with(body, |leaf| {
            let mut chain = pem(leaf);
            let issuer = &self.issuer;
            chain.push_str(if alternate { &issuer.alternate_pem } else { &issuer.intermediate_pem });
            chain
        });
        let chain = chain.ok_or_else(|| {
            let detail = "the certificate is too old to be downloaded again";
            Problem::new(Kind::NotFound, detail)
        })?;
        let other = if alternate { "" } else { "/alternate" };
        let alternate = Some(format!("{}/certificate/{id}{other}", call.base));
        Ok(Reply { alternate, ..Reply::new(200, Content::PemChain(chain)) })
    }

    /// Signed by the account that ordered it, by one with authorizations for all of its names, or with the
    /// certificate's own key (RFC 8555 §7.6).
    pub(crate) fn revoke(&self, call: &Call<'_>) -> Result<Reply, Problem> {
        let asked: Revoke = call.jws.read()?;
        let der = URL_SAFE_NO_PAD.decode(&asked.certificate);
        let der = der.map_err(|_| Problem::malformed("the certificate is not base64url"))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| Problem::malformed(format!("the certificate does not parse: {error}")))?;
        let reason = asked.reason.unwrap_or(0);
        if !REASONS.contains(&reason) {
            let detail = format!("reason {reason} is not one of {REASONS:?}");
            return Err(Problem::new(Kind::BadRevocationReason, detail));
        }
        let its_key = PublicKey::from_spki(certificate.public_key())?;
        let has_its_key = match &call.signer {
            Signer::Account { .. } => false,
            Signer::Key(key) => its_key == **key,
        };
        let not_ours = || Problem::new(Kind::NotFound, "no such certificate was issued here");
        let id = id_of_serial(certificate.raw_serial()).ok_or_else(not_ours)?;
        let sha256 = sha256(&der);
        let is_authorized = match call.signer {
            Signer::Account { id: account, .. } => {
                let owner = self.certificates.known.with(id, |known| known.account);
                // Only for other accounts, because it searches all of their orders.
                owner != Some(account) && self.holds_authorizations(account, &names_of(&certificate))
            }
            Signer::Key(_) => false,
        };
        let revoked = self.certificates.known.with(id, |known| {
            if known.sha256 != sha256 {
                return Err(not_ours());
            }
            let is_its_account = match call.signer {
                Signer::Account { id, .. } => known.account == id,
                Signer::Key(_) => false,
            };
            if !has_its_key && !is_its_account && !is_authorized {
                let detail = "the request is signed neither by the certificate's key nor by its account, nor by one \
                              with authorizations for all of its names";
                return Err(Problem::new(Kind::Unauthorized, detail));
            }
            if std::mem::replace(&mut known.revoked, true) {
                return Err(Problem::new(Kind::AlreadyRevoked, "the certificate is already revoked"));
            }
            Ok(())
        });
        revoked.ok_or_else(not_ours)??;
        if self.config.block_keys && (has_its_key || reason == KEY_COMPROMISE) {
            self.blocked_keys.block(its_key.thumbprint());
        }
        self.counters.revocations.add();
        Ok(Reply::new(200, Content::Nothing))
    }

    /// When to renew (RFC 9773 §4.2). No signature is required.
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

    /// Records that an order replaces a certificate. Another order may replace it only if that order failed
    /// (RFC 9773 §5).
    pub(crate) fn replace_certificate(&self, account: u64, ari_id: &str, order: u64) -> Result<(), Problem> {
        let id = self.certificate_of(ari_id)?;
        let before = self.certificates.known.with(id, |known| known.replaced_by).flatten();
        let free = before.is_none_or(|order| self.order_is_void(order));
        let replaced = self.certificates.known.with(id, |known| {
            if known.account != account {
                let detail = "the certificate to replace belongs to another account";
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

    /// The id of the certificate with an ARI identifier: base64url of the authority key identifier, a dot,
    /// base64url of the serial number (RFC 9773 §4.1).
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

fn names_of(certificate: &X509Certificate<'_>) -> HashSet<Identifier> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |san| &san.value.general_names);
    names.iter().filter_map(name_of).collect()
}

fn not_known(ari_id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("no certificate `{ari_id}` was issued here"))
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
