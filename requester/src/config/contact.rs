//! Contacts of accounts (RFC 8555 §7.3): URIs.

use url::Url;
use wec_text::quoted;

/// Contacts, separated by commas.
pub(super) fn contacts(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(str::trim).filter(|contact| !contact.is_empty()).map(contact).collect()
}

fn contact(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(uri) if uri.scheme() == "mailto" && !uri.path().contains('@') => {
            Err(format!("{} has no address: write it like mailto:ops@ca.test", quoted(text)))
        }
        Ok(_) => Ok(text.to_owned()),
        Err(_) if text.contains('@') => {
            Err(format!("{} is not a URI: write mailto:{}", quoted(text), wec_text::visible(text)))
        }
        Err(_) => Err(format!("{} is not a URI such as mailto:ops@ca.test", quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_uri() {
        assert_eq!(contacts("mailto:a@ca.test, tel:+1234").unwrap(), ["mailto:a@ca.test", "tel:+1234"]);
        for (text, why) in [
            ("ops@ca.test", "\"ops@ca.test\" is not a URI: write mailto:ops@ca.test"),
            ("mailto:a@ca.test,ops", "\"ops\" is not a URI such as mailto:ops@ca.test"),
            ("mailto:ops", "\"mailto:ops\" has no address: write it like mailto:ops@ca.test"),
        ] {
            assert_eq!(contacts(text).unwrap_err(), why);
        }
    }
}
