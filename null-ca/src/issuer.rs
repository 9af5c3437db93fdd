//! Issuing: a root, an intermediate, and the leaves that it signs, correct or wrong on purpose; and the
//! certification requests for them.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use wec_record::Identifier;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::clock::UnixTime;
use crate::faults::Flaw;
use crate::keys::PublicKey;
use crate::reply::{Kind, Problem};

/// Signs with an intermediate that is created at the start of the process.
pub(crate) struct Issuer {
    intermediate: rcgen::Issuer<'static, KeyPair>,
    pub(crate) intermediate_pem: String,
    /// The same intermediate, signed by the alternate root.
    pub(crate) alternate_pem: String,
    pub(crate) root_pem: String,
    pub(crate) alternate_root_pem: String,
    /// The authority key identifier of leaves; RFC 9773 §4.1 uses it.
    pub(crate) key_id: Vec<u8>,
    /// The key in certificates with the wrong key.
    other_key: KeyPair,
    lifetime: Duration,
}

/// Certificates are valid from this time before they are issued, in case a client's clock is slow.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Longer than any process runs.
const CA_LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A certification request that was parsed and, unless switched off, verified.
pub(crate) struct CertificationRequest {
    pub(crate) key: PublicKey,
    /// Lower-case, from subject and subjectAltName together.
    pub(crate) names: BTreeSet<Identifier>,
}

/// Serial numbers have 16 bytes: a first byte that keeps them positive, the certificate's id, random bytes.
pub(crate) fn serial_number(id: u64) -> [u8; 16] {
    let mut serial = [0; 16];
    serial[..8].copy_from_slice(&id.to_be_bytes());
    serial[0] = SERIAL_LEAD;
    serial[8..].copy_from_slice(&rand::random::<[u8; 8]>());
    serial
}

const SERIAL_LEAD: u8 = 0x4e;

/// The certificate's id in a serial number of this CA.
pub(crate) fn id_of_serial(serial: &[u8]) -> Option<u64> {
    let serial: &[u8; 16] = serial.try_into().ok()?;
    let (lead, id) = (serial[0], &serial[1..8]);
    let id = id.iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
    (lead == SERIAL_LEAD).then_some(id)
}

impl Issuer {
    pub(crate) fn new(lifetime: Duration) -> Result<Self, rcgen::Error> {
        let root = mint_root("null-ca issuing root")?;
        let key = KeyPair::generate()?;
        let mut params = authority("null-ca intermediate", 0);
        params.use_authority_key_identifier_extension = true;
        let key_id = params.key_identifier(&key);
        let certificate = params.signed_by(&key, &root.issuer)?;
        let alternate_root = mint_root("null-ca alternate issuing root")?;
        let alternate = params.signed_by(&key, &alternate_root.issuer)?;
        Ok(Self {
            intermediate_pem: pem(certificate.der()),
            alternate_pem: pem(alternate.der()),
            alternate_root_pem: alternate_root.pem,
            intermediate: rcgen::Issuer::new(params, key),
            root_pem: root.pem,
            key_id,
            other_key: KeyPair::generate()?,
            lifetime,
        })
    }

    /// A leaf in DER for validated identifiers.
    pub(crate) fn issue<'a>(
        &self,
        identifiers: impl Iterator<Item = &'a Identifier>,
        key: &PublicKey,
        serial: &[u8],
        now: UnixTime,
        flaw: Option<Flaw>,
    ) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        // All names are in the subjectAltName; a common name would add nothing.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = match flaw {
            Some(Flaw::WrongName) => vec![SanType::DnsName("wrong.null-ca.test".try_into()?)],
            _ => identifiers
                .map(|identifier| match identifier {
                    Identifier::Ip(address) => Ok(SanType::IpAddress(*address)),
                    Identifier::Dns(_) | Identifier::Wildcard(_) => {
                        Ok(SanType::DnsName((&*identifier.value()).try_into()?))
                    }
                    Identifier::Other { .. } => Err(rcgen::Error::InvalidNameType),
                })
                .collect::<Result<_, rcgen::Error>>()?,
        };
        params.serial_number = Some(SerialNumber::from_slice(serial));
        let age = match flaw {
            Some(Flaw::Expired) => self.lifetime + BACKDATED,
            _ => BACKDATED,
        };
        let not_before = Duration::from_secs(now.0).saturating_sub(age);
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + not_before;
        params.not_after = params.not_before + self.lifetime;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = match flaw {
            Some(Flaw::WrongKey) => params.signed_by(&self.other_key, &self.intermediate)?,
            _ => params.signed_by(key, &self.intermediate)?,
        };
        let mut der = certificate.der().to_vec();
        if flaw == Some(Flaw::BrokenSignature)
            && let Some(last) = der.last_mut()
        {
            // The end of the signature's second integer: still well-formed, but wrong.
            *last ^= 1;
        }
        Ok(der)
    }
}

/// A new root, with the key to sign with.
pub(crate) struct Root {
    pub(crate) issuer: rcgen::Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

pub(crate) fn mint_root(name: &str) -> Result<Root, rcgen::Error> {
    let key = KeyPair::generate()?;
    let params = authority(name, 1);
    let certificate = params.self_signed(&key)?;
    Ok(Root { pem: pem(certificate.der()), issuer: rcgen::Issuer::new(params, key) })
}

fn authority(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit_validity(&mut params);
    params
}

pub(crate) fn limit_validity(params: &mut CertificateParams) {
    let not_before = Duration::from_secs(UnixTime::now().0).saturating_sub(BACKDATED);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + not_before;
    params.not_after = params.not_before + CA_LIFETIME;
}

/// A certificate in PEM (RFC 7468): base64 in lines of 64.
pub(crate) fn pem(der: &[u8]) -> String {
    const BYTES_IN_LINE: usize = 48;
    let mut pem = String::with_capacity(der.len() * 3 / 2 + 80);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(BYTES_IN_LINE) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A DNS name in lower case, or an IP address; none of any other kind.
pub(crate) fn name_of(name: &GeneralName<'_>) -> Option<Identifier> {
    match name {
        GeneralName::DNSName(name) => Some(Identifier::dns(&name.to_ascii_lowercase())),
        GeneralName::IPAddress(octets) => Identifier::of_octets(octets),
        _ => None,
    }
}

impl CertificationRequest {
    pub(crate) fn read(der: &[u8], verify: bool) -> Result<Self, Problem> {
        let bad = |detail: String| Problem::new(Kind::BadCsr, detail);
        let request = match X509CertificationRequest::from_der(der) {
            Ok(([], request)) => request,
            Ok(_) => return Err(bad("something follows the certification request".to_owned())),
            Err(error) => {
                return Err(bad(format!("the certification request does not parse: {error}")));
            }
        };
        let info = &request.certification_request_info;
        let key = PublicKey::from_spki(&info.subject_pki)?;
        let signature = request.signature_value.data.as_ref();
        if verify && !key.verifies_x509(&request.signature_algorithm, info.raw, signature) {
            return Err(bad("the certification request's signature does not verify".to_owned()));
        }
        let mut names = BTreeSet::new();
        for name in info.subject.iter_common_name() {
            let name = name.as_str().map_err(|_| bad("the common name is no text".to_owned()))?;
            names.insert(Identifier::of(&name.to_ascii_lowercase()));
        }
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(san) = extension else { continue };
            for name in &san.general_names {
                match name_of(name) {
                    Some(name) => names.insert(name),
                    None => return Err(bad(format!("the request asks for {name}"))),
                };
            }
        }
        Ok(Self { key, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signed_bit_of_a_certification_request_can_be_changed() {
        let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        assert!(CertificationRequest::read(&der, true).is_ok());
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let signed = request.certification_request_info.raw;
        let start = der.windows(signed.len()).position(|window| window == signed).unwrap();
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // The parser may accept changes outside the signed part, but never panics.
            let refused = CertificationRequest::read(&changed, true).is_err();
            assert!(refused || !(start..start + signed.len()).contains(&(bit / 8)), "bit {bit}");
        }
    }

    #[test]
    fn a_serial_number_identifies_its_certificate() {
        for id in [0, 1, 0xff, (1 << 56) - 1] {
            let serial = serial_number(id);
            assert_eq!(id_of_serial(&serial), Some(id));
            assert!(serial[0] > 0 && serial[0] < 0x80, "a positive integer without padding");
        }
        assert_eq!(id_of_serial(&[1; 16]), None);
        assert_eq!(id_of_serial(&[SERIAL_LEAD; 8]), None);
    }
}
