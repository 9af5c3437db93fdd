//! Errors of libraries in words; their own texts show bytes as lists of numbers.

use rustls_pki_types::pem;
use x509_parser::error::X509Error;
use x509_parser::nom;

/// Characters shown of text that is not PEM.
const EXCERPT: usize = 60;

/// Why PEM cannot be read.
pub(crate) fn pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the end of {:?} is missing", text(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => format!("{:?} begins nothing", text(line)),
        other => other.to_string(),
    }
}

/// Why DER is no certificate.
pub(crate) fn x509(error: &nom::Err<X509Error>) -> String {
    match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => error.to_string(),
        nom::Err::Incomplete(_) => "it ends too early".to_owned(),
    }
}

/// The beginning of bytes that should be text.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.trim_end().chars().take(EXCERPT).collect();
    if shown.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn what_is_not_pem_is_shown_as_text() {
        let cases = [
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "the end of \"CERTIFICATE\" is missing"),
            ("-----BEGIN CERTIFICATE\nAAAA\n", "\"-----BEGIN CERTIFICATE\" begins nothing"),
        ];
        for (broken, expected) in cases {
            let error = CertificateDer::from_pem_slice(broken.as_bytes()).unwrap_err();
            assert_eq!(pem(&error), expected);
        }
        let long = format!("-----BEGIN {}\n", "x".repeat(1_000));
        let error = CertificateDer::from_pem_slice(long.as_bytes()).unwrap_err();
        assert!(pem(&error).chars().count() < 90, "{}", pem(&error));
    }

    #[test]
    fn errors_about_invalid_certificates_contain_no_lists_of_bytes() {
        let spki = [0x30, 0x03, 0x02, 0x01, 0x05];
        for der in [&b"-----"[..], &spki, &spki[..3]] {
            let error = x509_parser::certificate::X509Certificate::from_der(der).unwrap_err();
            let text = x509(&error);
            assert!(!text.is_empty() && !text.contains('['), "{text}");
        }
    }
}
