use super::*;

/// As a later version writes it.
#[test]
fn a_later_chain_keeps_its_number() {
    let result = ChainResult {
        seq: 1,
        done: 5,
        took: 5,
        chain: Some(wec_record::Chain::Revoke),
        ..ChainResult::default()
    };
    let record = |result: &ChainResult| Record::Chain {
        node: "r1".to_owned(),
        origin_unix_ns: 7,
        result: result.clone(),
    };
    let (mut encoder, mut content) = (Encoder::default(), Vec::new());
    encoder.begin_block(&mut content);
    encoder.encode(&record(&result), &mut content).unwrap();
    let (mut decoder, mut rest, mut found) = (Decoder::default(), &content[..], Vec::new());
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(rest).unwrap();
        let (message, after) = rest[prost::length_delimiter_len(length)..].split_at(length);
        rest = after;
        let mut message = message.to_vec();
        if let Ok(mut entry) = proto::Entry::decode(&message[..])
            && let Some(Kind::NewChain(chain)) = &mut entry.entry
        {
            chain.chain = 200;
            message = entry.encode_to_vec();
        }
        found.extend(decoder.decode(&message).unwrap());
    }
    let [(read, None)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*read, record(&ChainResult { chain: None, later_chain: 200, ..result }));
    let line = serde_json::to_string(read).unwrap();
    assert!(line.contains("\"chainname\":\"200\""), "{line}");
    assert_eq!(Record::parse(&line, 1).unwrap(), *read);
}

fn length_delimited(entries: &[proto::Entry], version: u8) -> Vec<Vec<u8>> {
    let mark = [&MARK_START[1..], &[version][..]].concat();
    std::iter::once(mark).chain(entries.iter().map(|entry| entry.encode_to_vec())).collect()
}

/// Its times are nanoseconds, and the number of a request is before its times.
#[test]
fn version_1_is_read() {
    let request = RequestResult { endpoint: "order".into(), ..RequestResult::default() };
    let other = RequestResult { endpoint: "finalize".into(), ..RequestResult::default() };
    let chain = proto::Chain {
        worker: 3,
        chain: 1,
        numbers: vec![
            // done, tail, started - due, keygen, waits, issuance
            zigzag(1_000_000),
            zigzag(5),
            2,
            0,
            0,
            7,
            0,
            2,
            // number, gap, wait, took, first byte, nonce
            2,
            zigzag(11),
            20,
            3_000,
            1 + 4,
            1,
            1,
            zigzag(12),
            21,
            3_001,
            0,
            1 + 77,
            // answered, settled
            1,
            1 + 2,
        ],
        authorizations: vec![wire::AuthorizationResult::default()],
        ..proto::Chain::default()
    };
    let entry = |kind| proto::Entry { entry: Some(kind), ..proto::Entry::default() };
    let entries = [
        entry(Kind::NewNode(proto::Node { name: "r1".to_owned(), origin_unix_ns: 17 })),
        entry(Kind::NewRequest(request_to_wire(request.clone(), 0))),
        entry(Kind::NewRequest(request_to_wire(other.clone(), 0))),
        entry(Kind::NewChain(wire::ChainResult::from(ChainResult::default()))),
        proto::Entry { node: 1, ..entry(Kind::Chain(chain)) },
        proto::Entry {
            node: 1,
            at: 99,
            ..entry(Kind::Hit(wire::ValidationHit { took: 3, ..Default::default() }))
        },
    ];
    let mut decoder = Decoder::default();
    let found: Vec<_> = length_delimited(&entries, 1)
        .iter()
        .filter_map(|message| decoder.decode(message).unwrap())
        .map(|(record, _)| record)
        .collect();
    let [Record::Chain { result, .. }, Record::Hit { hit, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((hit.at_unix_ns, hit.took), (99, 3));
    let started = 1_000_000 - 5 - (11 + 20 + 3_000) - (12 + 21 + 3_001);
    assert_eq!((result.due, result.started, result.done), (started - 2, started, 1_000_000));
    assert_eq!((result.keygen, result.waited_asked, result.waited_poll), (0, 0, 7));
    let [first, second] = &result.requests[..] else { panic!("{result:?}") };
    assert_eq!((&*first.endpoint, &*second.endpoint), ("finalize", "order"));
    assert_eq!((first.due, first.sent, first.done), (started + 11, started + 31, started + 3_031));
    assert_eq!((first.phases.first_byte, first.nonce_age), (2_996, 31));
    assert_eq!((second.due, second.nonce_age, second.took), (started + 3_043, 77, 3_022));
    let authorization = &result.authorizations[0];
    assert_eq!((authorization.answered, authorization.settled), (first.sent, second.done));
    assert_eq!(decoder.decode(&length_delimited(&[], BINARY_VERSION + 1)[0]), Err(Bad::Newer(4)));
}

/// Version 2 had no differences.
#[test]
fn lag_is_read_as_each_version_writes_it() {
    let lag = vec![(5, 1), (7, 2), (1_000, 3), (3, 4), (u64::MAX, 5), (0, 6)];
    let generator = wec_record::GeneratorSample { lag, ..Default::default() };
    let load = wec_record::LoadSample { generator, ..Default::default() };
    let record = Record::Load { node: "r1".to_owned(), seq: 1, at_unix_ns: 9, load };
    let (mut encoder, mut content) = (Encoder::default(), Vec::new());
    encoder.begin_block(&mut content);
    encoder.encode(&record, &mut content).unwrap();
    let (mut now, mut before) = (Decoder::default(), Decoder::default());
    let (mut rest, mut of_now, mut of_before) = (&content[..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(rest).unwrap();
        let (message, after) = rest[prost::length_delimiter_len(length)..].split_at(length);
        rest = after;
        of_now.extend(now.decode(message).unwrap());
        let mut message = message.to_vec();
        if message == MARK[1..] {
            *message.last_mut().unwrap() = 2;
        } else {
            let mut entry = proto::Entry::decode(&message[..]).unwrap();
            if let Some(Kind::Load(load)) = &mut entry.entry {
                from_differences(&mut load.generator.as_mut().unwrap().lag_ns);
            }
            message = entry.encode_to_vec();
        }
        of_before.extend(before.decode(&message).unwrap());
    }
    assert_eq!(of_now, [(record, None)]);
    assert_eq!(of_before, of_now);
}

/// Times that are whole microseconds take fewer bytes, and one that is not changes nothing.
#[test]
fn times_of_any_resolution_are_kept() {
    let request = RequestResult {
        due: 4_000,
        sent: 5_000,
        done: 9_000,
        took: 5_000,
        nonce_age: 1_000,
        phases: wec_record::Phases { first_byte: 3_000, ..Default::default() },
        ..RequestResult::default()
    };
    let whole = ChainResult {
        seq: 1,
        due: 1_000,
        started: 2_000,
        done: 10_000,
        took: 9_000,
        keygen: 1_000,
        waited_asked: 2_000,
        waited_poll: 3_000,
        issuance: Some(7_000),
        authorizations: vec![AuthorizationResult {
            answered: 5_000,
            settled: 9_500_000,
            ..Default::default()
        }],
        requests: vec![request],
        ..ChainResult::default()
    };
    let mut results = vec![whole.clone()];
    let changes: [fn(&mut ChainResult); 8] = [
        |it| it.keygen += 1,
        |it| it.waited_asked += 1,
        |it| it.waited_poll += 1,
        |it| it.issuance = Some(7_001),
        |it| it.authorizations[0].settled += 1,
        |it| it.requests[0].nonce_age += 1,
        |it| it.requests[0].phases.first_byte += 1,
        |it| (it.requests[0].sent, it.requests[0].nonce_age) = (5_001, 1_000),
    ];
    for change in changes {
        let mut result = whole.clone();
        change(&mut result);
        results.push(result);
    }
    // The one after it has a difference of nanoseconds.
    results.push(ChainResult { done: 10_001, took: 9_001, ..whole.clone() });
    results.extend([whole.clone(), whole]);
    let (mut encoder, mut content) = (Encoder::default(), Vec::new());
    encoder.begin_block(&mut content);
    let mut sizes = Vec::new();
    let mut decoder = Decoder::default();
    for (place, result) in results.into_iter().enumerate() {
        let result = ChainResult { seq: place as u64 + 1, ..result };
        let record = Record::Chain { node: "r1".to_owned(), origin_unix_ns: 7, result };
        encoder.encode(&record, &mut content).unwrap();
        let (mut rest, mut found) = (&content[..], Vec::new());
        while !rest.is_empty() {
            let length = prost::decode_length_delimiter(rest).unwrap();
            let (message, after) = rest[prost::length_delimiter_len(length)..].split_at(length);
            rest = after;
            found.extend(decoder.decode(message).unwrap());
        }
        assert_eq!(found, [(record, None)]);
        sizes.push(content.len());
        content.clear();
    }
    let (whole, odd) = (sizes[sizes.len() - 1], sizes[1]);
    assert!(whole + 8 < odd, "{sizes:?}");
}
