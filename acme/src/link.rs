//! Link headers (RFC 8288 §3).

use http::HeaderMap;

/// The targets of an answer's links with this relation, as the server wrote them.
pub(crate) fn targets<'a>(headers: &'a HeaderMap, relation: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(http::header::LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(move |value| of_value(value, relation))
}

fn of_value<'a>(value: &'a str, relation: &'a str) -> impl Iterator<Item = &'a str> {
    // A URL may contain a comma, but no `<`.
    value.split('<').skip(1).filter_map(move |link| {
        let (target, parameters) = link.split_once('>')?;
        parameters.split([';', ',']).any(|parameter| has(parameter, relation)).then_some(target)
    })
}

fn has(parameter: &str, relation: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    // One relation or several, with or without quotes.
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|named| named.eq_ignore_ascii_case(relation))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_targets_of_one_relation_come_from_all_headers_in_order() {
        let mut headers = HeaderMap::new();
        for value in [
            "<https://ca.test/dir>;rel=\"index\"",
            "</cert/1/1>; rel=alternate, <https://ca.test/a,b>; title=\"x\"; rel=\"up alternate\"",
            "<https://ca.test/2>;REL=Alternate",
            "no link at all",
        ] {
            headers.append(http::header::LINK, HeaderValue::from_static(value));
        }
        let found = |relation| targets(&headers, relation).collect::<Vec<_>>();
        assert_eq!(found("alternate"), ["/cert/1/1", "https://ca.test/a,b", "https://ca.test/2"]);
        assert_eq!(found("index"), ["https://ca.test/dir"]);
        assert_eq!(found("next"), [""; 0]);
    }
}
