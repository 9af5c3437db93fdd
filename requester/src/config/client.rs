//! The client's certificate for the CA's server, and the header with the id of a request.

use std::path::PathBuf;

use wec_acme::{ClientCertificate, Correlation, WrongClientCertificate};

use crate::plan::ClientIdentity;
use crate::settings::Settings;
use crate::settings::values::boolean;

/// Reads the files, so that their errors are reported with the flag before any load.
pub(super) fn identity(s: &mut Settings) -> ClientIdentity {
    let usual = Correlation::default();
    let header = s.take("request_id_header", |text| {
        text.parse().map_err(|_| format!("{text:?} is not a header name such as x-request-id"))
    });
    let correlation = Correlation {
        request_id_header: header.unwrap_or(usual.request_id_header),
        traceparent: s.take("traceparent", boolean).unwrap_or(usual.traceparent),
    };
    let read = |text: &str| match std::fs::read(text) {
        Ok(pem) => Ok((PathBuf::from(text), pem)),
        Err(error) => Err(format!("cannot read {text}: {error}")),
    };
    let (given, key_given) = (s.is_given("client_cert"), s.is_given("client_key"));
    let (chain, key) = (s.take("client_cert", read), s.take("client_key", read));
    match (given, key_given) {
        (true, false) => s.mistake("client_cert", "needs the key of the certificate: give --client-key, too"),
        (false, true) => s.mistake("client_key", "needs the certificate of the key: give --client-cert, too"),
        _ => {}
    }
    let (Some((chain_path, chain)), Some((key_path, key))) = (chain, key) else {
        return ClientIdentity { correlation, ..ClientIdentity::default() };
    };
    let certificate = match ClientCertificate::from_pem(&chain, &key) {
        Ok(certificate) => Some(certificate),
        Err(WrongClientCertificate::Chain(why)) => {
            s.mistake("client_cert", format!("{}: {why}", chain_path.display()));
            None
        }
        Err(WrongClientCertificate::Key(why)) => {
            s.mistake("client_key", format!("{}: {why}", key_path.display()));
            None
        }
    };
    ClientIdentity { client_cert: Some(chain_path), certificate, correlation }
}

#[cfg(test)]
mod tests {
    use super::super::PlanOptions;

    fn told(client: PlanOptions) -> String {
        let plan = client.with("directory", "https://127.0.0.1:14000/dir").resolve(None);
        plan.map_or_else(
            |mistakes| mistakes.to_string(),
            |plan| serde_json::to_string(&wec_record::Plan::from(&plan)).unwrap(),
        )
    }

    #[test]
    fn a_mistake_names_the_flag_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name).display().to_string();
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["load.test".to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (made(), made());
        let (cert, key) = (file("c.pem", &certificate), file("k.pem", &key));
        let (junk, other) = (file("junk.pem", "junk"), file("other.pem", &other));
        let marks = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");
        let encrypted = file("encrypted.pem", &format!("{}\nMAA=\n{}\n", marks.0, marks.1));
        let told = |client_cert: &Option<String>, client_key: &Option<String>| {
            let given = [("client_cert", client_cert), ("client_key", client_key)];
            let given = given.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?)));
            told(given.fold(PlanOptions::default(), |given, (key, file)| given.with(key, file)))
                .replace(&folder.path().display().to_string(), "DIR")
        };
        assert!(told(&cert, &key).contains("\"client_cert\":\"DIR/c.pem\""));
        for (cert, key, mistake) in [
            (&cert, &None, "--client-cert: needs the key of the certificate: give --client-key, too"),
            (&None, &key, "--client-key: needs the certificate of the key: give --client-cert, too"),
            (&junk, &key, "--client-cert: DIR/junk.pem: it has no `BEGIN CERTIFICATE`"),
            (&cert, &junk, "--client-key: DIR/junk.pem: it has no private key in PEM that is not encrypted"),
            (
                &cert,
                &encrypted,
                "--client-key: DIR/encrypted.pem: it is encrypted: decrypt it with openssl pkey -in FILE -out PLAIN",
            ),
            (
                &cert,
                &other,
                "--client-key: DIR/other.pem: it is not the key of the first certificate in --client-cert",
            ),
        ] {
            assert_eq!(told(cert, key), mistake);
        }
        let missing = told(&Some("no-such.pem".into()), &key);
        assert!(missing.starts_with("--client-cert: cannot read no-such.pem: "), "{missing}");
    }

    #[test]
    fn options_of_requests_are_in_the_plan() {
        let options = PlanOptions::default()
            .with("traceparent", "true")
            .with("request_id_header", "X-Trace")
            .with("account_key_types", "rsa2048=1,p384");
        let plan = told(options);
        assert!(plan.contains(r#""traceparent":true,"request_id_header":"x-trace""#), "{plan}");
        assert!(plan.contains(r#""account_key_types":"rsa2048=1,p384=1""#), "{plan}");
        let wrong = PlanOptions::default().with("request_id_header", "a b");
        assert_eq!(told(wrong), "--request-id-header: \"a b\" is not a header name such as x-request-id");
    }
}
