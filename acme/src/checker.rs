//! Whether a downloaded certificate is as ordered.

mod issuer;
mod signature;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use strum::IntoStaticStr;
use wec_record::Identifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

pub use self::issuer::IssuerRoots;
use self::issuer::{Issuer, Signed};
use crate::FailureClass;
use crate::certificate::CertificateKey;
use crate::failure::Failure;
use crate::readable;

/// How far the CA's clock may be ahead of ours, seconds.
const SKEW: i64 = 60;
/// Chains kept. A CA has few intermediates.
const MOST_CHAINS: usize = 16;
/// Reasons for unverified certificates that are logged. A CA uses few algorithms.
const MOST_REASONS: usize = 32;
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The stored parts of an accepted certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The certificate itself, DER.
    pub leaf_der: Vec<u8>,
    /// Serial number, lower-case hex of its DER content without leading zero bytes.
    pub serial_hex: String,
    /// Identifier for renewal information (RFC 9773 §4.1); empty if the certificate has no identifier of its issuer's
    /// key.
    pub ari_id: String,
    /// The issuer: 16 hex digits of its public key's SHA-256. Serials are unique per issuer only.
    pub issuer_id: Arc<str>,
    /// Beginning of validity, seconds since the Unix epoch.
    pub not_before_unix: i64,
    /// End of validity, seconds since the Unix epoch.
    pub not_after_unix: i64,
    /// Why it could not be verified; none if it was.
    pub unverified: Option<Arc<str>>,
}

/// Checks certificates. It keeps the chains above them, so each check costs one parse and one signature.
#[derive(Debug, Default)]
pub struct Checker {
    chains: Mutex<VecDeque<Arc<Issuer>>>,
    common: Arc<Common>,
}

/// Shared with siblings.
#[derive(Debug, Default)]
struct Common {
    roots: IssuerRoots,
    /// Reasons that have been logged.
    reasons: Mutex<BTreeSet<Arc<str>>>,
}

/// The serial number of the first certificate of a download in hex, without leading zeros; none if it has no
/// certificate that can be read.
pub fn serial_of(pem: &[u8]) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let leaf = parse(&der, "the certificate").ok()?;
    Some(hex::encode(strip_zeros(leaf.raw_serial())))
}

impl Checker {
    /// A checker without known chains.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with roots to which certificates must lead.
    pub fn with_roots(roots: IssuerRoots) -> Self {
        let common = Common { roots, ..Common::default() };
        Self { common: Arc::new(common), ..Self::default() }
    }

    /// A checker with the same roots and without known chains, for another thread: threads with a common one would
    /// wait for each other.
    pub fn sibling(&self) -> Self {
        Self { common: Arc::clone(&self.common), ..Self::default() }
    }

    /// Checks a download, PEM with the leaf first: its names are exactly `names`, its key is `key`, it is valid at
    /// `now_unix`, and each certificate is signed by the next, which is a CA. With roots, the chain must lead to one
    /// of them. Without roots, the end of the chain is trusted: test CAs make their own roots.
    ///
    /// A certificate is wrong only if this is shown. One without its issuer, or with unknown algorithms, is
    /// [`Checked::unverified`]; each such reason is logged once.
    ///
    /// # Errors
    /// [`FailureClass::WrongCertificate`] with the wrong certificate and the reason; its detail is a [`WrongKind`]'s
    /// name.
    pub fn check(
        &self,
        pem: &[u8],
        names: &[String],
        key: &CertificateKey,
        now_unix: i64,
    ) -> Result<Checked, Failure> {
        let checked = self.judge(pem, names, key, now_unix).map_err(|Wrong { kind, text }| Failure {
            detail: kind.name().into(),
            ..Failure::new(FailureClass::WrongCertificate, format!("wrong certificate: {text}"))
        })?;
        if let Some(reason) = &checked.unverified {
            self.log_once(reason);
        }
        Ok(checked)
    }

    fn log_once(&self, reason: &Arc<str>) {
        let mut reasons = self.common.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if reasons.len() < MOST_REASONS && reasons.insert(Arc::clone(reason)) {
            tracing::warn!(
                %reason,
                "certificates cannot be verified: they count as unverified, not as failed; --issuer-root verifies those \
                 whose issuer does not come with them"
            );
        }
    }

    fn judge(
        &self,
        pem: &[u8],
        names: &[String],
        key: &CertificateKey,
        now_unix: i64,
    ) -> Result<Checked, Wrong> {
        let malformed = |text: String| Wrong::new(WrongKind::Malformed, text);
        let end = pem
            .windows(END.len())
            .position(|window| window == END)
            .ok_or_else(|| malformed("the download has no certificate".to_owned()))?;
        let (leaf, chain) = pem.split_at(end + END.len());
        let der = CertificateDer::from_pem_slice(leaf).map_err(|error| {
            malformed(format!("the first certificate is not PEM: {}", readable::pem(&error)))
        })?;
        let leaf = parse(&der, "the certificate")?;

        same_names(&leaf, names)?;
        if &*leaf.public_key().subject_public_key.data != key.public_key() {
            let text = "its public key is not the one in the request";
            return Err(Wrong::new(WrongKind::Key, text));
        }
        if leaf.is_ca() {
            return Err(Wrong::new(WrongKind::Ca, "it is a CA's certificate"));
        }
        let validity = Validity::of(&leaf);
        validity.holds(now_unix, "it")?;

        let (issuer_id, signed) = match self.issuer(chain)? {
            Some(issuer) => {
                issuer.validity.holds(now_unix, "one of its issuers")?;
                let signed = issuer.has_signed(&leaf, "it")?.and(issuer.signed.clone());
                (Arc::clone(&issuer.id), signed)
            }
            None => self.alone(&leaf)?,
        };

        let serial = leaf.raw_serial();
        Ok(Checked {
            serial_hex: hex::encode(strip_zeros(serial)),
            ari_id: authority_key(&leaf).map_or_else(String::new, |authority| {
                [URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(serial)].join(".")
            }),
            issuer_id,
            not_before_unix: validity.not_before,
            not_after_unix: validity.not_after,
            leaf_der: der.to_vec(),
            unverified: match signed {
                Signed::Verified => None,
                Signed::Unverified(reason) => Some(reason),
            },
        })
    }

    /// The issuer's id of a leaf that came alone, and whether its signature was verified.
    fn alone(&self, leaf: &X509Certificate<'_>) -> Result<(Arc<str>, Signed), Wrong> {
        if let Some((root, signed)) = self.common.roots.issuer_of(leaf, "it")? {
            return Ok((Arc::clone(&root.id), signed));
        }
        let name = digest::digest(&digest::SHA256, leaf.issuer().as_raw());
        let unknown = if self.common.roots.is_empty() {
            "no issuer's certificate came with it"
        } else {
            "no issuer's certificate came with it, and none of the roots that are given is its issuer"
        };
        Ok((hex::encode(&name.as_ref()[..8]).into(), Signed::Unverified(unknown.into())))
    }

    /// The issuer at the beginning of a chain that is known, or has nothing wrong; none without a chain.
    fn issuer(&self, chain: &[u8]) -> Result<Option<Arc<Issuer>>, Wrong> {
        let known =
            |chains: &VecDeque<Arc<Issuer>>| chains.iter().find(|known| *known.chain == *chain).cloned();
        if let Some(issuer) = known(&self.chains.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(issuer));
        }
        let Some(issuer) = Issuer::of_chain(chain, &self.common.roots)? else { return Ok(None) };
        let issuer = Arc::new(issuer);
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() == MOST_CHAINS {
            chains.pop_front();
        }
        chains.push_back(Arc::clone(&issuer));
        Ok(Some(issuer))
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum WrongKind {
    /// It, or its chain, is not PEM or not X.509.
    Malformed,
    /// Its names are not as ordered.
    Names,
    /// Its key is not as ordered.
    Key,
    /// It is a CA's.
    Ca,
    /// It, or a certificate above it, is not yet valid or has expired.
    Validity,
    /// A certificate of its chain is not the issuer of the one before, or may not issue.
    Chain,
    /// A signature was not made by the issuer.
    Signature,
    /// It leads to a root that is not given.
    Root,
    /// Its serial number was used before.
    Serial,
    /// Another download of it is another certificate.
    Changed,
}

impl WrongKind {
    /// The name in records and figures.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Details of a wrong certificate.
#[derive(Debug)]
struct Wrong {
    kind: WrongKind,
    text: String,
}

impl Wrong {
    fn new(kind: WrongKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    fn holds(&self, now_unix: i64, whose: &str) -> Result<(), Wrong> {
        let text = if self.not_before > now_unix + SKEW {
            format!("{whose} is not valid for another {} s", self.not_before - now_unix)
        } else if self.not_after < now_unix {
            format!("{whose} expired {} s ago", now_unix - self.not_after)
        } else {
            return Ok(());
        };
        Err(Wrong::new(WrongKind::Validity, text))
    }
}

fn parse<'a>(der: &'a [u8], what: &str) -> Result<X509Certificate<'a>, Wrong> {
    let text = match X509Certificate::from_der(der) {
        Ok(([], certificate)) if is_framed(der, &certificate) => return Ok(certificate),
        Ok(([], _)) => format!("{what} is not DER around what was signed"),
        Ok(_) => format!("{what} has bytes after its end"),
        Err(error) => format!("{what} is not X.509: {}", readable::x509(&error)),
    };
    Err(Wrong::new(WrongKind::Malformed, text))
}

/// Whether the bytes around the signed part are encoded correctly. No signature covers them, and the parser also
/// accepts other bytes there: the outer SEQUENCE, the algorithm (the same as inside, RFC 5280 §4.1.1.2), the BIT
/// STRING and its count of unused bits.
fn is_framed(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let signed = certificate.tbs_certificate.as_ref();
    let framed = || {
        // A length of 128 or more has the number of its bytes before it.
        let length = *der.get(1)?;
        let header = 2 + if length < 0x80 { 0 } else { usize::from(length & 0x7f) };
        let after = der.get(header..)?.strip_prefix(signed)?;
        let algorithm = after.get(..2 + usize::from(*after.get(1)?))?;
        let signature = after.get(algorithm.len()..)?;
        let same_inside = signed.windows(algorithm.len()).any(|inside| inside == algorithm);
        Some(der[0] == SEQUENCE && same_inside && *signature.first()? == BIT_STRING)
    };
    certificate.signature_value.unused_bits == 0 && framed().unwrap_or(false)
}

/// Compares the subjectAltName with the ordered names; names compare without case.
fn same_names(leaf: &X509Certificate<'_>, asked: &[String]) -> Result<(), Wrong> {
    let wrong = |text| Wrong::new(WrongKind::Names, text);
    let extension = leaf
        .subject_alternative_name()
        .map_err(|error| wrong(format!("its names cannot be read: {error}")))?;
    let names = extension.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
    // The usual case, without a set: as many names, and each is found.
    let is = |name: &GeneralName<'_>, asked: &str| match name {
        GeneralName::DNSName(name) => name.eq_ignore_ascii_case(asked),
        GeneralName::IPAddress(octets) => Identifier::of_octets(octets) == Some(Identifier::of(asked)),
        _ => false,
    };
    let all_asked = names.iter().all(|name| asked.iter().any(|asked| is(name, asked)));
    let all_there = asked.iter().all(|asked| names.iter().any(|name| is(name, asked)));
    if all_asked && all_there {
        return Ok(());
    }
    let shown: BTreeSet<String> = names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(octets) => Identifier::of_octets(octets)
                .map_or_else(|| format!("{octets:02x?}"), |address| address.to_string()),
            other => other.to_string(),
        })
        .collect();
    Err(wrong(format!("its names are {shown:?}, asked for were {asked:?}")))
}

fn authority_key<'a>(leaf: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|key| key.0)
        }
        _ => None,
    })
}

fn strip_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
