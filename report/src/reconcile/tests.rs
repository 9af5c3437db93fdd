use proptest::prelude::*;

use super::*;

fn list(text: &str, form: &ListForm) -> Result<Vec<(String, String)>, String> {
    let list = CaList::read(text.as_bytes(), form).map_err(|error| error.to_string())?;
    let mut found: Vec<_> = list
        .serials
        .iter()
        .map(|(serial, listed)| (serial_from_wire(serial), listed.order.to_string()))
        .collect();
    found.sort();
    Ok(found)
}

fn serials(text: &str) -> Vec<String> {
    let found = list(text, &ListForm::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    found.into_iter().map(|(serial, _)| serial).collect()
}

#[test]
fn a_list_is_csv_or_one_serial_a_line_however_it_is_written() {
    for text in [
        "0aff\n01\n",
        "\u{feff}0AFF\r\n\r\n# of May\n01",
        "0A:FF\n00:00:01\n",
        "aff\n1\n",
        "0x0AFF\nserial=01\n",
        "serial\n0aff\n1\n",
        "# exported\nid,Serial Number,name\n7,0A:FF,\"a,b\"\n8,01,c\n",
        "id;serial\n7;0aff\n8;01\n",
        "id\tserial\n7\t0aff\n8\t01\n",
    ] {
        assert_eq!(serials(text), ["01", "0aff"], "{text:?}");
    }
    assert_eq!(serials("00\n"), ["00"]);
    let decimal = ListForm { decimal: true, ..ListForm::default() };
    assert_eq!(list("2815\n00001\n", &decimal).unwrap()[1].0, "0aff");
    let named =
        ListForm { serial_column: Some("sn".into()), order_column: Some("o".into()), ..ListForm::default() };
    let found = list("sn,o\n0aff,https://ca.test/my-order/x\n", &named).unwrap();
    assert_eq!(found, [("0aff".to_owned(), "/my-order/x".to_owned())]);
}

#[test]
fn what_is_no_list_is_refused_with_its_line() {
    for (text, why) in [
        ("", "it is empty"),
        ("\n# nothing\n", "it is empty"),
        ("01\nzz\n", "line 2: \"zz\" is no serial number"),
        ("01\n\n# x\n02,03\n", "line 4: \"02,03\""),
        ("# x\nserial,b\n01,b\nxx,b\n", "line 4: \"xx\""),
        ("name,number\n01,02\n", "there are \"name\", \"number\""),
        ("serial,b\n,b\n", "line 2: \"\""),
    ] {
        let refused = list(text, &ListForm::default()).unwrap_err();
        assert!(refused.contains(why), "{text:?}: {refused}");
    }
    let named = ListForm { order_column: Some("o".into()), ..ListForm::default() };
    assert!(list("serial\n01\n", &named).unwrap_err().contains("--order-column"));
}

/// What a CA exports that has lost all of its certificates.
#[test]
fn a_list_without_certificates_has_its_head() {
    for head in ["serial", "serial\n", "# of May\nid,serial,order\n\n"] {
        let found = reconciled(head, &[chain(1, "/o/1", "01", 200)]);
        assert_eq!(
            (found.is_equal, found.only_here, found.in_list, found.maybe_decimal),
            (false, 1, 0, false)
        );
        assert!(reconciled(head, &[]).is_equal);
    }
}

proptest! {
    #[test]
    fn no_list_makes_a_reader_panic(text in "[ -~\n\r\t\u{e9}]{0,80}", decimal: bool) {
        let _ = list(&text, &ListForm { decimal, ..ListForm::default() });
    }

    #[test]
    fn decimal_and_hex_are_the_same_number(number: u128) {
        prop_assert_eq!(parse(&format!("{number}"), true), parse(&format!("{number:x}"), false));
    }
}

fn chain(seq: u64, order: &str, serial: &str, status: u16) -> Record {
    let request = RequestResult {
        endpoint: "finalize".into(),
        successful: status == 200,
        status,
        done: seq,
        request_id: format!("id{seq}"),
        ..RequestResult::default()
    };
    Record::Chain {
        node: "r1".into(),
        origin_unix_ns: 1_000,
        result: ChainResult {
            seq,
            chain: Some(Chain::Certificate),
            order: order.into(),
            serial: serial.into(),
            issued: !serial.is_empty(),
            requests: vec![request],
            ..ChainResult::default()
        },
    }
}

fn reconciled(text: &str, records: &[Record]) -> Reconciliation {
    let mut reconciler = Reconciler::new(CaList::read(text.as_bytes(), &ListForm::default()).unwrap());
    records.iter().for_each(|record| reconciler.record(record));
    reconciler.finish()
}

#[test]
fn equal_lists_are_equal_and_repeated_ones_count_once() {
    let records = [chain(1, "/o/1", "01", 200), chain(2, "/o/2", "0aff", 200), chain(2, "/o/2", "0aff", 200)];
    let found = reconciled("01\n0A:FF\n01\n", &records);
    assert!(found.is_equal);
    assert_eq!((found.equal, found.in_list, found.repeated_in_list, found.unknown_outcomes), (2, 2, 1, 0));
    assert_eq!(reconciled("serial,order\n01,1\n0aff,https://ca.test/o/2\n", &records).other_orders, 0);
    let other = reconciled("serial,order\n01,1\n0aff,3\n", &records);
    assert!(!other.is_equal);
    assert_eq!(other.other_order_list[0].order_there, "3");
}

#[test]
fn what_only_the_list_has_is_explained_by_unknown_outcomes_as_far_as_they_go() {
    // Order 4 was tried again, and is known then.
    let records = [
        chain(1, "/o/1", "01", 200),
        chain(2, "/o/2", "", 500),
        chain(3, "/o/3", "", 403),
        chain(4, "/o/4", "", 200),
        chain(5, "/o/4", "05", 200),
    ];
    let found = reconciled("01\n05\n06\n07\n", &records);
    assert_eq!((found.equal, found.only_here, found.only_there), (2, 0, 2));
    assert_eq!((found.unknown_outcomes, found.possibly_explained, found.unexplained), (1, 1, 1));
    assert_eq!(found.unknown_outcome_list[0].request.request_id, "id2");
    assert_eq!(found.only_there_list[0].explanation, Explanation::UnknownOutcomePossible);

    let found = reconciled("serial,order\n01,/o/1\n05,/o/4\n06,/o/2\n07,/o/9\n", &records);
    assert_eq!((found.explained_by_order, found.possibly_explained, found.unexplained), (1, 0, 1));
    assert_eq!(
        found.only_there_list.iter().map(|it| it.explanation).collect::<Vec<_>>(),
        [Explanation::None, Explanation::UnknownOutcome]
    );
    let text = found.text();
    assert!(text.contains("06 order /o/2, of an unknown outcome"), "{text}");
    assert!(text.contains("request id id2"), "{text}");
}

#[test]
fn what_only_the_log_has_is_named_with_its_request() {
    let found = reconciled("01\n", &[chain(1, "/o/1", "01", 200), chain(7, "/o/7", "0b", 200)]);
    assert_eq!((found.is_equal, found.equal, found.only_here), (false, 1, 1));
    let only = &found.only_here_list[0];
    assert_eq!((&*only.serial, &*only.request.order, only.request.at_unix_ns), ("0b", "/o/7", 1_007));
    assert!(found.text().contains("0b 1970-01-01T00:00:00.000Z order /o/7"), "{}", found.text());
}

#[test]
fn a_revocation_makes_no_certificate_and_explains_an_earlier_one() {
    let mut revoked = chain(3, "", "02", 200);
    let Record::Chain { result, .. } = &mut revoked else { unreachable!() };
    result.chain = Some(Chain::Revoke);
    let found = reconciled("01\n02\n", &[chain(1, "/o/1", "01", 200), revoked]);
    assert_eq!((found.equal, found.only_there, found.explained_by_revocation), (1, 1, 1));
    assert_eq!(found.unexplained, 0);
}

#[test]
fn orders_that_got_the_same_serial_number_are_a_difference() {
    // The third is a later download of the second.
    let records = [
        chain(1, "/o/1", "01", 200),
        chain(2, "/o/2", "01", 200),
        chain(3, "/o/2", "01", 200),
        chain(4, "/o/4", "0b", 200),
        chain(5, "/o/5", "0b", 200),
    ];
    let found = reconciled("01\n", &records);
    assert_eq!((found.equal, found.only_here, found.repeated_here, found.is_equal), (1, 1, 2, false));
    assert_eq!(found.repeated_here_list[0].request.order, "/o/2");
    let found = reconciled("01\n", &records[..2]);
    assert_eq!((found.is_equal, found.repeated_here), (false, 1));
    assert!(found.text().contains("1  orders of the log got the serial number of another order"));
}

#[test]
fn certificates_of_the_2015_design_have_no_serial_number() {
    let line =
        r#"{"chainname":"NewCertificateChain","chainsuccessful":true,"chaintook":12,"individualresults":[]}"#;
    let mut reconciler = Reconciler::new(CaList::read("01\n".as_bytes(), &ListForm::default()).unwrap());
    reconciler.record(&Record::parse(line, 1).unwrap());
    reconciler.record(&Record::parse(&line.replace("NewCertificate", "NewRegistration"), 2).unwrap());
    assert_eq!(reconciler.without_serial(), 1);
}

#[test]
fn a_long_line_is_refused_before_it_is_in_memory() {
    use std::io::Read as _;
    for start in ["01\n", "serial\n01\n"] {
        let endless = start.as_bytes().chain(std::io::repeat(b'1'));
        let refused = CaList::read(endless, &ListForm::default()).unwrap_err().to_string();
        let line = start.lines().count() + 1;
        assert!(refused.contains(&format!("line {line} is longer than 64 KiB")), "{refused}");
    }
    assert!(CaList::read(std::io::repeat(b'1'), &ListForm::default()).is_err());
}

/// The paths of a CA that was reset begin again, so a certificate of the new order is not that of the old one.
#[test]
fn an_order_path_that_a_reset_ca_uses_again_is_another_order() {
    let new_order = |seq: u64, order: &str| {
        let Record::Chain { node, origin_unix_ns, mut result } = chain(seq, order, "", 200) else {
            panic!("not a chain")
        };
        result.chain = Some(Chain::Authorization);
        result.requests[0].endpoint = "newOrder".into();
        Record::Chain { node, origin_unix_ns, result }
    };
    let before = [new_order(1, "/o/1"), chain(2, "/o/1", "", 500)];
    let later = [new_order(3, "/o/1"), chain(4, "/o/1", "02", 200)];
    let found = reconciled("serial,order\n01,/o/1\n02,/o/1\n", &[&before[..], &later].concat());
    assert_eq!((found.equal, found.unknown_outcomes, found.explained_by_order), (1, 1, 1));
    assert_eq!(found.unknown_outcome_list[0].request.seq, 2);
    // Without another order it is the certificate of the first one.
    let found = reconciled("02\n", &[&before[..], &later[1..]].concat());
    assert_eq!((found.is_equal, found.unknown_outcomes), (true, 0));
    // An unknown outcome explains one certificate.
    let found = reconciled("serial,order\n01,/o/1\n03,1\n04,/o/1\n", &before);
    assert_eq!((found.explained_by_order, found.unexplained), (1, 2));
}

#[test]
fn details_of_unknown_outcomes_are_bounded_and_all_are_counted() {
    let mut reconciler = Reconciler::new(CaList::read(&b"01\n"[..], &ListForm::default()).unwrap());
    for seq in 1..=30_000 {
        reconciler.record(&chain(seq, &format!("/o/{seq}"), "", 500));
    }
    // Known after all, also without their details.
    for seq in [1, 29_000] {
        reconciler.record(&chain(30_000 + seq, &format!("/o/{seq}"), &format!("{seq:06x}"), 200));
    }
    let found = reconciler.finish();
    assert_eq!((found.unknown_outcomes, found.unmatched_outcomes), (29_998, 0));
    assert_eq!((found.unknown_outcome_list.len(), found.unknown_outcome_list[0].request.seq), (10_000, 2));
}

#[test]
fn a_quote_that_is_not_closed_is_refused_with_its_line() {
    let read = |text: &str| CaList::read(text.as_bytes(), &ListForm::default());
    for (text, line) in [
        ("serial,order\n01,a\n02,\"b\n03,c\n", 3),
        ("# made by hand\n\nserial,order\n01,\"a\"\n\"02", 5),
        ("serial;pem\n01;\"-----\n-----\"\n02;\"-----\n", 4),
        ("01\n\"02\n", 2),
        ("01\n02\"\n", 2),
        ("\"01\n", 1),
    ] {
        let refused = read(text).unwrap_err().to_string();
        assert_eq!(refused, format!("line {line}: a quote is not closed"), "{text:?}");
    }
    let several = read("serial,pem,note\n01,\"-----\n-----\",5\"\n02,\"a \"\"quote\"\"\",\n").unwrap();
    assert_eq!(several.serials.len(), 2);
    assert_eq!(read("\"01\"\n02\n").unwrap().serials.len(), 2);
}

#[test]
fn decimal_digits_that_match_nothing_are_perhaps_decimal() {
    let records = [chain(1, "/o/1", "0aff", 200)];
    assert!(reconciled("2815\n", &records).text().contains("--decimal"));
    assert!(!reconciled("2a15\n", &records).maybe_decimal);
    assert!(!reconciled("2815\n0aff\n", &records).maybe_decimal);
}
