//! Signed requests (RFC 8555 §6.2, RFC 7515 §7.2.2), written into one buffer.
//!
//! An envelope is three base64url strings in a fixed frame. The digest is taken from the buffer, so nothing is copied
//! and no JSON library is used.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::account::ExternalAccount;
use crate::failure::Failure;
use crate::key::SigningKey;

const OPEN: &[u8] = br#"{"protected":""#;
const PAYLOAD: &[u8] = br#"","payload":""#;
const SIGNATURE: &[u8] = br#"","signature":""#;
const CLOSE: &[u8] = br#""}"#;

/// The signer: the account by its URL, or a key in the request (RFC 8555 §6.2).
#[derive(Clone, Copy)]
pub(crate) enum Identity<'a> {
    /// `kid`.
    Account(&'a str),
    /// `jwk`: new accounts, and revocations by the certificate's key.
    Key,
}

/// What the protected header has beside the algorithm (RFC 8555 §6.2).
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) identity: Identity<'a>,
    /// Only a JWS inside of another has none (RFC 8555 §7.3.5).
    pub(crate) nonce: Option<&'a str>,
    pub(crate) url: &'a str,
}

/// Writes a request's body.
pub(crate) fn sign(key: &SigningKey, header: Header<'_>, payload: &[u8]) -> Result<Bytes, Failure> {
    sign_as(key.kind().alg(), key, header, payload)
}

/// The same with any algorithm in its header; the signature is that of the key's own.
pub(crate) fn sign_as(
    alg: &str,
    key: &SigningKey,
    header: Header<'_>,
    payload: &[u8],
) -> Result<Bytes, Failure> {
    let mut envelope = Envelope::new(&protected(alg, key, header), payload, key.kind().signature_len());
    let [first, second] = envelope.signed();
    let mut context = digest::Context::new(key.kind().digest());
    context.update(first);
    context.update(b".");
    context.update(second);
    let signature = key.sign(&context.finish())?;
    envelope.close(signature.as_ref());
    Ok(envelope.buffer.into())
}

/// A request whose signature is that of an empty message.
pub(crate) fn sign_wrongly(key: &SigningKey, header: Header<'_>, payload: &[u8]) -> Result<Bytes, Failure> {
    let protected = protected(key.kind().alg(), key, header);
    let mut envelope = Envelope::new(&protected, payload, key.kind().signature_len());
    let signature = key.sign(&digest::digest(key.kind().digest(), b""))?;
    envelope.close(signature.as_ref());
    Ok(envelope.buffer.into())
}

/// The protected header (RFC 8555 §6.2).
fn protected(alg: &str, key: &SigningKey, Header { identity, nonce, url }: Header<'_>) -> Vec<u8> {
    let mut protected = Vec::with_capacity(256);
    protected.extend_from_slice(br#"{"alg":""#);
    protected.extend_from_slice(alg.as_bytes());
    protected.extend_from_slice(br#"","#);
    match identity {
        Identity::Account(kid) => {
            protected.extend_from_slice(br#""kid":"#);
            push_string(&mut protected, kid);
        }
        Identity::Key => {
            protected.extend_from_slice(br#""jwk":"#);
            protected.extend_from_slice(key.jwk().as_bytes());
        }
    }
    if let Some(nonce) = nonce {
        // The pool accepts no nonce that would need escaping.
        protected.extend_from_slice(br#","nonce":""#);
        protected.extend_from_slice(nonce.as_bytes());
        protected.push(b'"');
    }
    protected.extend_from_slice(br#","url":"#);
    push_string(&mut protected, url);
    protected.push(b'}');
    protected
}

/// Binds a new account to an account at the CA's operator (RFC 8555 §7.3.4): the account's key, signed with the HMAC
/// key from the CA.
pub(crate) fn bind(external: &ExternalAccount, jwk: &str, url: &str) -> String {
    let mut protected = br#"{"alg":"HS256","kid":"#.to_vec();
    push_string(&mut protected, &external.kid);
    protected.extend_from_slice(br#","url":"#);
    push_string(&mut protected, url);
    protected.push(b'}');

    let mut envelope = Envelope::new(&protected, jwk.as_bytes(), digest::SHA256_OUTPUT_LEN);
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &external.hmac_key));
    let [first, second] = envelope.signed();
    context.update(first);
    context.update(b".");
    context.update(second);
    let tag = context.sign();
    envelope.close(tag.as_ref());
    String::from_utf8(envelope.buffer).expect("base64url in an ASCII frame")
}

/// The JSON of a flattened JWS as it grows.
struct Envelope {
    buffer: Vec<u8>,
    protected: std::ops::Range<usize>,
    payload: std::ops::Range<usize>,
}

impl Envelope {
    fn new(protected: &[u8], payload: &[u8], signature_len: usize) -> Self {
        let frame = OPEN.len() + PAYLOAD.len() + SIGNATURE.len() + CLOSE.len();
        let size = frame + encoded(protected.len()) + encoded(payload.len()) + encoded(signature_len);
        let mut buffer = Vec::with_capacity(size);
        buffer.extend_from_slice(OPEN);
        let protected = push_base64(&mut buffer, protected);
        buffer.extend_from_slice(PAYLOAD);
        let payload = push_base64(&mut buffer, payload);
        Self { buffer, protected, payload }
    }

    /// The two parts of the signing input; a full stop belongs between them.
    fn signed(&self) -> [&[u8]; 2] {
        [&self.buffer[self.protected.clone()], &self.buffer[self.payload.clone()]]
    }

    fn close(&mut self, signature: &[u8]) {
        self.buffer.extend_from_slice(SIGNATURE);
        push_base64(&mut self.buffer, signature);
        self.buffer.extend_from_slice(CLOSE);
    }
}

/// Length of base64url without padding.
const fn encoded(length: usize) -> usize {
    (length * 4).div_ceil(3)
}

/// Appends base64url and returns its position.
pub(crate) fn push_base64(buffer: &mut Vec<u8>, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = buffer.len();
    buffer.resize(start + encoded(bytes.len()), 0);
    let written = URL_SAFE_NO_PAD
        .encode_slice(bytes, &mut buffer[start..])
        .expect("the buffer has just been given the encoding's length");
    start..start + written
}

/// Appends a JSON string. URLs need no escaping, unless a CA is hostile.
pub(crate) fn push_string(buffer: &mut Vec<u8>, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        serde_json::to_writer(buffer, text).expect("writing to memory");
    } else {
        buffer.push(b'"');
        buffer.extend_from_slice(text.as_bytes());
        buffer.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, EcdsaKeyPair,
        RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;
    use crate::certificate::CertificateKey;
    use crate::key::Pair;
    use crate::key_type::KeyType;

    fn decoded(text: &serde_json::Value) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
    }

    /// The key of RFC 7515, appendix A.3.1.
    fn rfc_7515_key() -> SigningKey {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let private = decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
        let mut public = vec![4];
        public.extend(decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"));
        public.extend(decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"));
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &public,
        );
        SigningKey::new(KeyType::P256, Pair::Ecdsa(pair.unwrap())).unwrap()
    }

    #[test]
    fn a_key_is_shown_as_in_rfc_7515() {
        let key = rfc_7515_key();
        let jwk: serde_json::Value = serde_json::from_str(key.jwk()).unwrap();
        assert_eq!(
            jwk,
            serde_json::json!({
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            })
        );
    }

    #[test]
    fn a_request_is_a_flattened_jws_that_verifies_for_each_type_of_key() {
        for kind in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            let key = CertificateKey::generate(kind).unwrap();
            let (alg, algorithm): (_, &'static dyn VerificationAlgorithm) = match kind {
                KeyType::P256 => ("ES256", &ECDSA_P256_SHA256_FIXED),
                KeyType::P384 => ("ES384", &ECDSA_P384_SHA384_FIXED),
                _ => ("RS256", &RSA_PKCS1_2048_8192_SHA256),
            };
            let public = UnparsedPublicKey::new(algorithm, key.public_key().to_vec());
            // A key read from the store signs as the original does.
            a_request_verifies(&key.signing_key().unwrap(), alg, &public);
        }
    }

    fn a_request_verifies(key: &SigningKey, alg: &str, public: &UnparsedPublicKey<Vec<u8>>) {
        // Payloads of every length modulo three, and an empty one (POST-as-GET).
        for payload in [&b""[..], b"{}", b"{\"csr\":\"AA\"}", &[b'x'; 1000]] {
            for (identity, member) in
                [(Identity::Key, "jwk"), (Identity::Account("https://ca.test/acct/1"), "kid")]
            {
                let header = Header { identity, nonce: Some("nonce"), url: "https://ca.test/x" };
                let body = sign(key, header, payload).unwrap();
                let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(envelope.as_object().unwrap().len(), 3);
                let protected: serde_json::Value =
                    serde_json::from_slice(&decoded(&envelope["protected"])).unwrap();
                assert_eq!(protected["alg"], alg);
                assert_eq!(protected["nonce"], "nonce");
                assert_eq!(protected["url"], "https://ca.test/x");
                // RFC 8555 §6.2: exactly one of `jwk` and `kid`.
                assert_eq!(protected.as_object().unwrap().len(), 4);
                assert!(protected.get(member).is_some());
                assert_eq!(decoded(&envelope["payload"]), payload);
                let input = [envelope["protected"].as_str().unwrap(), envelope["payload"].as_str().unwrap()]
                    .join(".");
                public.verify(input.as_bytes(), &decoded(&envelope["signature"])).unwrap();
            }
        }
    }

    #[test]
    fn a_hostile_url_cannot_break_out_of_its_string() {
        let mut buffer = Vec::new();
        push_string(&mut buffer, "https://ca.test/\",\"alg\":\"none\u{1}\\");
        let read: String = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(read, "https://ca.test/\",\"alg\":\"none\u{1}\\");
    }

    #[test]
    fn an_external_account_signs_the_key_with_hmac() {
        let external = ExternalAccount { kid: "kid-1".into(), hmac_key: b"secret".to_vec() };
        let bound = bind(&external, "{\"kty\":\"EC\"}", "https://ca.test/new-account");
        let envelope: serde_json::Value = serde_json::from_str(&bound).unwrap();
        let protected: serde_json::Value = serde_json::from_slice(&decoded(&envelope["protected"])).unwrap();
        assert_eq!(
            protected,
            serde_json::json!({"alg": "HS256", "kid": "kid-1", "url": "https://ca.test/new-account"})
        );
        assert_eq!(decoded(&envelope["payload"]), b"{\"kty\":\"EC\"}");
        let input =
            [envelope["protected"].as_str().unwrap(), envelope["payload"].as_str().unwrap()].join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        hmac::verify(&key, input.as_bytes(), &decoded(&envelope["signature"])).unwrap();
    }

    #[test]
    fn the_buffer_has_the_size_it_needs() {
        let key = rfc_7515_key();
        for length in 0..20 {
            let protected = vec![b'x'; length];
            let mut envelope = Envelope::new(&protected, &protected, key.kind().signature_len());
            let capacity = envelope.buffer.capacity();
            envelope.close(key.sign(&digest::digest(&digest::SHA256, b"")).unwrap().as_ref());
            assert_eq!(envelope.buffer.capacity(), capacity);
            assert_eq!(envelope.buffer.len(), capacity, "{length}");
        }
    }
}
