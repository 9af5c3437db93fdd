//! The certificates above a leaf: the chain that came with it, and the given roots.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;

use super::signature::{IssuerKey, SignatureCheck};
use super::{Validity, Wrong, WrongKind, parse};
use crate::readable;

/// Given certificates to which chains must lead.
#[derive(Default)]
pub struct IssuerRoots(Vec<Issuer>);

impl IssuerRoots {
    /// Reads them from PEM, one or more.
    ///
    /// # Errors
    /// What is wrong with the text, or with which certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let ders: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("not PEM: {}", readable::pem(&error)))?;
        if ders.is_empty() {
            return Err("no certificate in PEM".to_owned());
        }
        let roots = ders.iter().zip(1..).map(|(der, number)| {
            let place = format!("certificate {number}");
            Issuer::of(&parse(der, &place)?, &place)
        });
        roots.collect::<Result<_, Wrong>>().map(Self).map_err(|wrong| wrong.text)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a certificate that came without its issuer: returns the root that signed it; none if no root has its
    /// issuer's name.
    pub(super) fn issuer_of(
        &self,
        certificate: &X509Certificate<'_>,
        place: &str,
    ) -> Result<Option<(&Issuer, Signed)>, Wrong> {
        let mut named = self.0.iter().filter(|root| root.subject == certificate.issuer().as_raw()).peekable();
        if named.peek().is_none() {
            return Ok(None);
        }
        let (mut unknown, mut wrong) = (None, None);
        // Several may have one name, for example after a change of keys.
        for root in named {
            match root.has_signed(certificate, place) {
                Ok(Signed::Verified) => return Ok(Some((root, Signed::Verified))),
                Ok(unverified) => unknown = Some((root, unverified)),
                Err(error) => wrong = Some(error),
            }
        }
        match (unknown, wrong) {
            // A recreated test CA has the name of its predecessor, but another key.
            (None, Some(wrong)) => Err(Wrong::new(
                WrongKind::Root,
                format!(
                    "{}; the root that is given has that issuer's name: is it of an older CA of the same name?",
                    wrong.text
                ),
            )),
            (unknown, _) => Ok(unknown),
        }
    }
}

impl std::fmt::Debug for IssuerRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

/// The result of a signature check that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// The issuer made it.
    Verified,
    /// It cannot be verified, for this reason.
    Unverified(Arc<str>),
}

impl Signed {
    /// The result of both: unverified if one of them is.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Self::Verified { other } else { self }
    }
}

/// A CA's certificate, of a chain without a wrong signature.
pub(super) struct Issuer {
    /// The PEM text of the whole chain, by which it is found again.
    pub(super) chain: Box<[u8]>,
    pub(super) id: Arc<str>,
    subject: Vec<u8>,
    key: IssuerKey,
    /// When all of the chain are valid.
    pub(super) validity: Validity,
    /// Whether all of the chain have been verified.
    pub(super) signed: Signed,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Issuer {
    /// The issuer at the beginning of a chain; none when the text has no certificate.
    pub(super) fn of_chain(pem: &[u8], roots: &IssuerRoots) -> Result<Option<Self>, Wrong> {
        let ders: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| {
                Wrong::new(WrongKind::Malformed, format!("the chain is not PEM: {}", readable::pem(&error)))
            })?;
        let mut parsed = Vec::with_capacity(ders.len());
        for (der, position) in ders.iter().zip(2..) {
            let place = format!("certificate {position} of the chain");
            let certificate = parse(der, &place)?;
            parsed.push((Self::of(&certificate, &place)?, certificate, place));
        }
        let Some((top, certificate, place)) = parsed.last() else { return Ok(None) };
        let is_root = |issuer: &Self| roots.0.iter().any(|root| root.is(issuer));
        let mut signed = Signed::Verified;
        if !roots.is_empty() && !parsed.iter().any(|(issuer, ..)| is_root(issuer)) {
            signed = top.leads_to(roots, certificate, place)?;
        }
        let mut above: Option<Self> = None;
        // From the top, so that each issuer exists before it is needed.
        for (mut issuer, certificate, place) in parsed.into_iter().rev() {
            if let Some(above) = above {
                signed = above.has_signed(&certificate, &place)?.and(signed);
                issuer.validity = issuer.validity.and(&above.validity);
            }
            above = Some(issuer);
        }
        Ok(above.map(|issuer| Self { chain: pem.into(), signed, ..issuer }))
    }

    /// Whether one of the roots has signed the chain's last certificate.
    fn leads_to(
        &self,
        roots: &IssuerRoots,
        certificate: &X509Certificate<'_>,
        place: &str,
    ) -> Result<Signed, Wrong> {
        if let Some((_, signed)) = roots.issuer_of(certificate, place)? {
            return Ok(signed);
        }
        let signs_itself = certificate.issuer().as_raw() == self.subject
            && self.has_signed(certificate, place).is_ok_and(|signed| signed == Signed::Verified);
        if !signs_itself {
            return Ok(Signed::Unverified("the chain leads to none of the roots that are given".into()));
        }
        let root = certificate.subject();
        let text = format!("the chain leads to the root {root}, which is none of those that are given");
        Err(Wrong::new(WrongKind::Root, text))
    }

    fn of(certificate: &X509Certificate<'_>, place: &str) -> Result<Self, Wrong> {
        let wrong = |text| Wrong::new(WrongKind::Chain, text);
        if !certificate.is_ca() {
            return Err(wrong(format!("{place} is not a CA's (basicConstraints)")));
        }
        let signs =
            certificate.key_usage().map_err(|error| wrong(format!("{place} has a bad keyUsage: {error}")))?;
        if signs.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(wrong(format!("{place} may not sign certificates (keyUsage)")));
        }
        let public_key = certificate.public_key();
        let hash = digest::digest(&digest::SHA256, public_key.raw);
        Ok(Self {
            chain: Box::default(),
            id: hex::encode(&hash.as_ref()[..8]).into(),
            subject: certificate.subject().as_raw().to_vec(),
            key: IssuerKey::of(public_key),
            validity: Validity::of(certificate),
            signed: Signed::Verified,
        })
    }

    /// Whether both are one CA: the same name and the same key.
    fn is(&self, other: &Self) -> bool {
        self.subject == other.subject && self.id == other.id
    }

    pub(super) fn has_signed(&self, certificate: &X509Certificate<'_>, place: &str) -> Result<Signed, Wrong> {
        if certificate.issuer().as_raw() != self.subject {
            let issuer = certificate.issuer();
            return Err(Wrong::new(
                WrongKind::Chain,
                format!("{place} names {issuer} as its issuer, and the next certificate is another's"),
            ));
        }
        let wrong = |text| Err(Wrong::new(WrongKind::Signature, text));
        let algorithm = &certificate.signature_algorithm.algorithm;
        if *algorithm != certificate.tbs_certificate.signature.algorithm {
            return wrong(format!("{place} names two signature algorithms"));
        }
        match self.key.verify(certificate) {
            SignatureCheck::Right => Ok(Signed::Verified),
            SignatureCheck::Wrong => wrong(format!("the signature of {place} is not its issuer's")),
            SignatureCheck::Unknown(reason) => Ok(Signed::Unverified(reason.into())),
        }
    }
}
