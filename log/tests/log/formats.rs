//! Records are read back equal from each format, and after each conversion.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use wec_log::{Found, LogFormat, Reader, RecordWriter, Rows, Table};
use wec_record::{FORMAT_VERSION, Record, RunHeader};

use crate::common::{chain, file, header, path, read, record};

/// Everything that a reader finds in these bytes.
pub(crate) fn records(bytes: &[u8]) -> (Vec<Record>, u64) {
    let mut reader = Reader::new(bytes).unwrap();
    let mut records = Vec::new();
    while let Some(found) = reader.next().unwrap() {
        match found {
            Found::Record(_, record, _) => records.push(record.clone()),
            other => panic!("{other:?}"),
        }
    }
    (records, reader.end().torn)
}

/// The file in another format, line by line.
pub(crate) fn converted(bytes: &[u8], to: LogFormat) -> Vec<u8> {
    let mut reader = Reader::new(bytes).unwrap();
    let mut writer = RecordWriter::new(to, Vec::new());
    while let Some(found) = reader.next().unwrap() {
        let Found::Record(_, record, line) = found else { panic!("{found:?}") };
        writer.write(record, line.as_deref()).unwrap();
    }
    writer.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_conversion_loses_anything(written in prop::collection::vec(record(), 0..20)) {
        let files = LogFormat::ALL.map(|format| file(format, &written));
        for (from, bytes) in LogFormat::ALL.into_iter().zip(&files) {
            prop_assert_eq!(&records(bytes).0, &written, "{}", from);
            for (to, expected) in LogFormat::ALL.into_iter().zip(&files) {
                let made = converted(bytes, to);
                prop_assert_eq!(&records(&made).0, &written, "{} to {}", from, to);
                if from.is_binary() == to.is_binary() || !to.is_compressed() {
                    prop_assert_eq!(&made, expected, "{} to {}", from, to);
                }
            }
        }
    }

    /// As after a kill: a file may end in the middle of anything.
    #[test]
    fn of_a_cut_file_everything_complete_is_read(
        written in prop::collection::vec(record(), 1..12), cut in 0.0..1.0f64, format in 0usize..4,
    ) {
        let format = LogFormat::ALL[format];
        // Each record is flushed, as far apart as in a slow run.
        let mut writer = RecordWriter::new(format, Vec::new());
        let mut complete = vec![0];
        for record in &written {
            writer.write(record, None).unwrap();
            writer.flush().unwrap();
            complete.push(writer.get_ref().len());
        }
        let bytes = writer.finish().unwrap();
        let cut = (bytes.len() as f64 * cut) as usize;
        let (found, torn) = records(&bytes[..cut]);
        let expected = complete.partition_point(|end| *end <= cut).saturating_sub(1);
        prop_assert_eq!(&found[..], &written[..expected], "{} of {} bytes", cut, bytes.len());
        if complete.contains(&cut) {
            prop_assert_eq!(torn, 0);
        }
    }
}

/// A line that this version would write differently is the same after two conversions.
#[test]
fn lines_are_kept_to_the_byte() {
    let lines = [
        serde_json::to_string(&Record::Header(header("run"))).unwrap().replace("\"version\":2", "\"version\": 2,\"later\":[]"),
        serde_json::to_string(&chain(1, 2)).unwrap(),
        serde_json::to_string(&chain(2, 2)).unwrap().replace("\"seq\":2", "\"seq\":2,\"colour\":\"red\""),
        r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#.to_owned(),
        r#"  {"record":"clock", "node":"r1","seq":7,"level":1e999 }"#.to_owned(),
    ];
    let text = lines.join("\n") + "\n";
    for format in LogFormat::ALL {
        let there = converted(text.as_bytes(), format);
        let back = converted(&there, LogFormat::Json);
        assert_eq!(String::from_utf8(back).unwrap(), text, "{format}");
    }
}

/// Readers of version 1 would misread results in the form of version 2.
#[test]
fn results_in_the_present_form_follow_a_header_of_the_present_version() {
    let earlier = RunHeader { version: 1, ..header("run") };
    let written = [Record::Header(earlier.clone()), chain(1, 2), chain(2, 2)];
    // A binary log has its own version, and its header is kept.
    for format in [LogFormat::Binary, LogFormat::BinaryZstd] {
        assert_eq!(records(&file(format, &written)).0, written, "{format}");
        let json = converted(&file(format, &written), LogFormat::Json);
        let present = Record::Header(RunHeader { version: FORMAT_VERSION, ..earlier.clone() });
        let [header, first, second] = written.clone();
        assert_eq!(records(&json).0, [header, present, first, second], "{format}");
    }
    // Of a log that was continued, a conversion leaves out the further header.
    let lines = written.clone().map(|record| serde_json::to_string(&record).unwrap() + "\n");
    let present = Record::Header(RunHeader { version: FORMAT_VERSION, ..earlier });
    let [header, first, second] = written;
    for format in [LogFormat::Json, LogFormat::JsonZstd] {
        let converted = converted(lines.concat().as_bytes(), format);
        let expected = [&header, &present, &first, &second].map(Clone::clone);
        assert_eq!(records(&converted).0, expected, "{format}");
    }
}

/// Its chain, a challenge type, a purpose and a reach came later.
#[test]
fn the_log_of_a_later_version_is_whole_and_kept_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let line = |record: &Record| serde_json::to_string(record).unwrap();
    let hit = r#"{"record":"hit","node":"c1","seq":1,"at_unix_ns":5,"type":"later-01","name":"a.test","source":"","verdict":"answered","answer":"","took":1}"#;
    let load = r#"{"record":"load","node":"r1","seq":4,"at_unix_ns":5,"load":{"over_ns":1,"scenarios":[{"reach":"overshooting","rate":0.10}]}}"#;
    let Record::Chain { result: later_chain, .. } = chain(2, 2) else { panic!("not a chain") };
    let name = format!("{:?}", later_chain.chain.unwrap().name());
    let lines = [
        line(&Record::Header(header("run"))),
        line(&chain(1, 2)),
        line(&chain(2, 2)).replace(&name, r#""pre-authorization""#),
        line(&chain(3, 2)).replacen(r#""step""#, r#""probe""#, 1),
        hit.to_owned(),
        load.to_owned(),
        line(&chain(5, 2)),
        r#"{"record":"footer","at_unix_ns":9,"records":{"chain":4,"hit":1,"load":1},"requests":8,"outcome":"passed"}"#.to_owned(),
    ];
    let text = lines.join("\n") + "\n";
    for format in LogFormat::ALL {
        let there = converted(text.as_bytes(), format);
        let (found, _, report) = read(&[path(folder.path(), "later", &there)]);
        assert_eq!(report.problems(), Vec::<String>::new(), "{format}");
        let unknown = found.iter().filter(|record| matches!(record, Record::Unknown(_))).count();
        // The requests of the later chain are counted, and those of the result that is not understood are not.
        assert_eq!((found.len(), unknown, report.requests), (8, 3, 6), "{format}");
        assert_eq!(found[2].origin(), Some(("r1", 2)), "{format}");
        let back = converted(&there, LogFormat::Json);
        assert_eq!(String::from_utf8(back).unwrap(), text, "{format}");
        // A record that is written without its line is the same, too.
        assert_eq!(read(&[path(folder.path(), "again", &file(format, &found))]).0, found, "{format}");
    }
}

/// A chain result with a count of retries where its requests were, a hit without a time, and a mark that is a list.
#[test]
fn records_of_known_kinds_in_another_form_are_kept_to_the_byte_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let line = |record: &Record| serde_json::to_string(record).unwrap();
    let others = [
        r#"{"record":"chain","node":"r1","seq":2,"chainname":"revoke","requests":{"retries": 1e0}}"#,
        r#"{"record":"hit","node":"c1","seq":1,"type":"http-01"}"#,
        r#"{"record":"mark","at_unix_ns":[5,6],"by":"page"}"#,
    ];
    let lines = [
        line(&Record::Header(header("run"))),
        line(&chain(1, 2)),
        others[0].to_owned(),
        others[1].to_owned(),
        others[2].to_owned(),
        line(&chain(3, 2)),
        r#"{"record":"footer","at_unix_ns":9,"records":{"chain":3,"hit":1,"mark":1},"requests":5,"outcome":"passed"}"#.to_owned(),
    ];
    let text = lines.join("\n") + "\n";
    for format in LogFormat::ALL {
        let there = converted(text.as_bytes(), format);
        let (found, _, report) = read(&[path(folder.path(), "other", &there)]);
        let kept = found.iter().filter_map(|record| match record {
            Record::Unknown(unknown) => Some(unknown.json()),
            _ => None,
        });
        assert_eq!(kept.collect::<Vec<_>>(), others, "{format}");
        assert_eq!((found.len(), report.damaged_lines, report.other_form_records), (7, 0, 3), "{format}");
        // Their numbers are not missing, and the footer counts them.
        let [problem] = &report.problems()[..] else { panic!("{:?}", report.problems()) };
        for part in ["kept, but not counted", "kind \"chain\"", "2 more such records follow"] {
            assert!(problem.contains(part), "{format}: {problem}");
        }
        assert_eq!(String::from_utf8(converted(&there, LogFormat::Json)).unwrap(), text, "{format}");
    }
}

#[test]
fn files_of_all_formats_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (1..=40).map(|seq| chain(seq, 3)).collect();
    let pieces = records.chunks(10).zip(LogFormat::ALL).rev();
    let paths: Vec<_> = pieces
        .map(|(piece, format)| {
            let piece = [&[Record::Header(header("run"))], piece].concat();
            // No name decides anything.
            path(folder.path(), &format!("{format}.log"), &file(format, &piece))
        })
        .collect();
    let (found, _, report) = read(&paths);
    assert_eq!(found[1..], records);
    assert_eq!((report.problems(), report.requests), (Vec::<String>::new(), 120));
}

#[test]
fn concatenated_files_are_a_file() {
    for format in LogFormat::ALL {
        let pieces: Vec<_> = (1..=6).map(|seq| file(format, &[chain(seq, 2)])).collect();
        assert_eq!(
            records(&pieces.concat()).0,
            (1..=6).map(|seq| chain(seq, 2)).collect::<Vec<_>>(),
            "{format}"
        );
    }
}

/// The frames of the standard tool are of any length and have other options.
#[test]
fn what_the_zstd_tool_makes_is_read_and_what_we_make_it_reads() {
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new("zstd")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("zstd is needed: apt-get install zstd");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let written: Vec<_> = (1..=3_000).map(|seq| chain(seq, 4)).collect();
    for (plain, compressed) in
        [(LogFormat::Json, LogFormat::JsonZstd), (LogFormat::Binary, LogFormat::BinaryZstd)]
    {
        let bytes = file(plain, &written);
        for arguments in
            [&["-q", "-c"][..], &["-q", "-c", "-19", "--no-check"], &["-q", "-c", "-1", "--no-content-size"]]
        {
            assert_eq!(records(&run(arguments, &bytes)).0, written, "{arguments:?}");
        }
        let ours = file(compressed, &written);
        assert!(run(&["-q", "-d", "-c"], &ours) == bytes, "{compressed}");
    }
}

#[test]
fn a_later_binary_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = file(LogFormat::Binary, &[chain(1, 1)]);
    bytes[7] = 9;
    let error = wec_log::read_logs(&[path(folder.path(), "a.wecb", &bytes)], |_| {}).unwrap_err().to_string();
    assert!(error.contains("has binary format 9"), "{error}");
}

#[test]
fn tables_have_a_row_for_each_request_or_chain() {
    let mut failed = chain(2, 1);
    if let Record::Chain { result, .. } = &mut failed {
        result.error = "it said \"no\",\r\nand ended".to_owned();
    }
    for (rows, count) in [(Rows::Requests, 4), (Rows::Chains, 2)] {
        let mut bytes = Vec::new();
        let mut table = Table::new(rows, &mut bytes).unwrap();
        for record in [&chain(1, 3), &failed, &Record::Header(header("run"))] {
            table.write(record).unwrap();
        }
        table.finish().unwrap();
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let names = reader.headers().unwrap().clone();
        let column = |row: &csv::StringRecord, name: &str| {
            row[names.iter().position(|column| column == name).unwrap()].to_owned()
        };
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), count);
        assert_eq!(column(&rows[0], "done_unix_ns").len(), 19);
        if count == 2 {
            assert_eq!(column(&rows[1], "error"), "it said \"no\",\r\nand ended");
        }
    }
}
