//! Suggestions for mistyped keys and values.

/// The most similar known key.
pub(crate) fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min()
        .map(|(_, candidate)| candidate)
}

/// What precedes the allowed values in a message.
const LISTS: [&str; 3] = ["one of ", "there are ", ": expected "];

/// The message, with the value that was probably meant if the message lists what is allowed: `… one of a, b or c`. `typed`
/// is one value or several with commas, each perhaps with a weight.
pub(crate) fn with_nearest(message: String, typed: &str) -> String {
    let Some(listed) = LISTS.iter().find_map(|before| Some(message.split_once(before)?.1)) else {
        return message;
    };
    let listed = listed.split([';', ':', '(']).next().unwrap_or_default();
    let known: Vec<_> = listed.split(", ").flat_map(|names| names.split(" or ")).map(str::trim).collect();
    let names = typed.split(',').map(|part| part.split('=').next().unwrap_or(part).trim());
    // Short names are all near to each other.
    let wrong = names.filter(|name| name.len() > 3 && !known.contains(name));
    match wrong.filter_map(|name| nearest(name, &known)).next() {
        Some(near) => format!("{message}; did you mean {near}?"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_nearly_one_of_those_listed_is_suggested() {
        for (message, typed, suggested) in [
            ("\"revok\" is not a chain: expected one of registration, revoke", "revok=2", Some("revoke")),
            ("\"arival-rate\" is not one of workers, arrival-rate", "arival-rate", Some("arrival-rate")),
            ("\"p265\" is not a key type: there are p256, p384", "p384=1,p265=3", Some("p256")),
            ("unknown type \"dns-1\": expected http-01 or dns-01", "dns-1", Some("dns-01")),
            ("\"other\" is not one of shared, per-worker", "other", None),
            ("\"x\" is not a time", "x", None),
        ] {
            let told = with_nearest(message.to_owned(), typed);
            let expected = suggested
                .map_or_else(|| message.to_owned(), |near| format!("{message}; did you mean {near}?"));
            assert_eq!(told, expected);
        }
    }
}
