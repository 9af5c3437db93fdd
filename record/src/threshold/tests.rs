use proptest::prelude::*;

use super::read::{ENDPOINTS, STATS};
use super::*;

fn read(text: &str) -> Threshold {
    text.parse().unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn reads_what_people_write_and_shows_it_in_one_way() {
    let cases = [
        ("chain.certificate{p(99)} < 2s", "chain.certificate{p(99)} < 2s"),
        ("requests{endpoint=newOrder}{failed}<1%", "requests{endpoint=newOrder}{failed} < 1%"),
        ("rate{achieved/target} > 0.98", "rate{achieved/target} > 0.98"),
        ("rate{achieved/target}>=102%", "rate{achieved/target} >= 102%"),
        ("  chain { p( 99.9 ) }  <=  1500ms ", "chain{p(99.9)} <= 1500ms"),
        ("chain.revoke{service.p(50)} < 80us", "chain.revoke{service.p(50)} < 80us"),
        ("chain.revoke{response.max} < 1m", "chain.revoke{max} < 1m"),
        ("requests{ status=5xx , method=POST }{count} == 0", "requests{method=POST,status=5xx}{count} == 0"),
        ("requests{rate} > 50/s over 10s", "requests{rate} > 50/s over 10s"),
        ("certificates{rate} >= 12.5", "certificates{rate} >= 12.5"),
        ("errors{class=wrong-certificate}{count} == 0", "errors{class=wrong-certificate}{count} == 0"),
        ("errors{count} < 10 abort", "errors{count} < 10 abort"),
        ("nonces{rejected} < 7%", "nonces{rejected} < 7%"),
        ("dropped < 0.1% over 60s abort after 90s", "dropped < 0.1% over 1m abort after 90s"),
        (
            "chain.certificate{p(99)} < 2s over 30s abort after 1500ms",
            "chain.certificate{p(99)} < 2s over 30s abort after 1500ms",
        ),
    ];
    for (written, shown) in cases {
        assert_eq!(read(written).to_string(), shown);
        assert_eq!(read(shown), read(written));
    }
}

#[test]
fn limits_are_in_one_unit_whatever_they_were_written_in() {
    let cases = [
        ("chain{max} < 2s", 2e9),
        ("chain{max} < 1.5ms", 1.5e6),
        ("chain{max} < 250µs", 250e3),
        ("chain{max} < 2m", 120e9),
        ("chain{failed} < 1%", 0.01),
        ("chain{failed} < 0.01", 0.01),
        ("chain{failed} < 7%", 0.07),
        ("chain{rate} > 50/s", 50.0),
        ("chain{count} > 1000", 1000.0),
    ];
    for (text, value) in cases {
        assert_eq!(read(text).limit.value(), value, "{text}");
    }
}

#[test]
fn every_mistake_says_where_it_is_and_what_is_allowed() {
    let cases = [
        ("", "\"\": at character 1: a metric is expected: chain, chain.registration"),
        ("chian{p(99)} < 2s", "at character 1: unknown metric \"chian\"; did you mean chain?"),
        ("chain.certficate{p(99)} < 2s", "did you mean chain.certificate?"),
        ("latency < 2s", "unknown metric \"latency\"; known are chain, "),
        ("chain.revoke < 2s", "at character 14: chain.revoke needs one of {p(50)}, {p(90)}"),
        ("chain{p(98)} < 2s", "at character 7: unknown \"p(98)\"; did you mean p(90)?"),
        ("chain{p(99) < 2s", "at character 6: this brace is not closed"),
        ("chain{service.count} < 2", "unknown \"service.count\""),
        ("chain{p(99)} 2s", "at character 14: a comparison is expected: <, <=, >, >= or =="),
        ("chain{p(99)} < 2", "at character 16: \"2\" is not valid: here it is a time with its unit"),
        ("chain{p(99)} <", "a value is missing: here it is a time"),
        ("chain{failed} < 2s", "here it is a share, as in 1% or 0.01"),
        ("chain{failed} < 5", "\"5\" is more than 100%"),
        ("chain{count} < 1.5", "here it is a whole number"),
        ("chain{p(99)} == 2s", "== is for counts"),
        ("chain{x=1}{count} < 2", "at character 7: chain has no selectors"),
        ("requests{endpoint=neworder}{count} > 1", "unknown endpoint \"neworder\"; did you mean newOrder?"),
        ("requests{status=77}{count} > 1", "\"77\" is not a status: a status is 100 to 599"),
        ("requests{methud=GET}{count} > 1", "unknown selector \"methud\"; did you mean method?"),
        ("requests{method=GET,method=POST}{count} > 1", "at character 21: method is given twice"),
        ("errors{class=nonce}{count} > 1", "unknown class \"nonce\""),
        ("errors{rate} > 1", "unknown \"rate\": errors has {count}"),
        ("nonces > 1", "nonces needs {rejected}"),
        ("dropped{share} < 1%", "dropped has nothing in braces"),
        ("chain{count} > 1 over 1500ms", "a window is whole seconds, 1s to 60m"),
        ("chain{count} > 1 over 2h", "a window is whole seconds"),
        ("chain{count} > 1 over soon", "\"soon\" is not a window: whole ms, s, m or h"),
        ("chain{count} > 1 abort after", "\"\" is not a grace time"),
        (
            "chain{count} > 1 for 5s",
            "at character 18: \"for 5s\" is not expected here: allowed is over WINDOW, abort",
        ),
        ("chain{count} > 1 abort over 5s", "allowed is after GRACE, or nothing"),
    ];
    for (text, part) in cases {
        let shown = text.parse::<Threshold>().expect_err(text).to_string();
        assert!(shown.contains(part), "{text}: {part:?} is not in {shown:?}");
    }
}

#[test]
fn mistakes_of_one_text_are_told_together() {
    let mistakes =
        "requests{endpoint=newOrdr,code=5}{p(98)} ~ 3 over 0s".parse::<Threshold>().expect_err("wrong");
    let places: Vec<usize> = mistakes.mistakes.iter().map(|(at, _)| *at).collect();
    assert_eq!(places, [10, 27, 35, 42, 51], "{mistakes}");
}

#[test]
fn a_list_is_split_outside_braces() {
    let list = "chain{count} > 1, requests{endpoint=newOrder,method=POST}{failed} < 1% ,,dropped < 1%";
    let parts: Vec<&str> = split(list).collect();
    assert_eq!(
        parts,
        ["chain{count} > 1", "requests{endpoint=newOrder,method=POST}{failed} < 1%", "dropped < 1%"]
    );
}

proptest! {
    #[test]
    fn reads_again_what_it_shows(
        metric in prop_oneof![
            (0..Chain::ALL.len(), 0..11_usize).prop_map(|(chain, stat)| format!("chain.{}{{{}}}", Chain::ALL[chain], STATS[stat])),
            (0..ENDPOINTS.len(), 0..STATS.len()).prop_map(|(at, stat)| format!("requests{{endpoint={}}}{{{}}}", ENDPOINTS[at], STATS[stat])),
            Just("nonces{rejected}".to_owned()),
        ],
        number in 0..100_u32,
        hundredths in 0..100_u32,
        window in proptest::option::of(1..3_600_u64),
        grace in proptest::option::of(0..100_000_u64),
    ) {
        let number = format!("{number}.{hundredths}");
        let whole = number.split('.').next().unwrap_or_default().to_owned();
        let window = window.map(|window| format!(" over {window}s")).unwrap_or_default();
        let grace = grace.map(|grace| format!(" abort after {grace}ms")).unwrap_or_default();
        let read = ["ms", "%", "/s", ""].into_iter().find_map(|suffix| {
            let number = if suffix.is_empty() { &whole } else { &number };
            format!("{metric} <= {number}{suffix}{window}{grace}").parse::<Threshold>().ok()
        });
        let threshold = read.expect("one of the units fits");
        prop_assert_eq!(threshold.to_string().parse::<Threshold>(), Ok(threshold));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-zµ{}().,=<>% 0-9/]{0,40}") {
        let _ = text.parse::<Threshold>();
        let _ = split(&text).count();
    }
}
