//! What a log's report finds in records that can be read: wrong times, contradictions, duplicates, wrong counts.

use std::collections::BTreeMap;
use std::io::Write as _;

use wec_log::{LogFormat, LogReport, read_logs};
use wec_record::{Footer, Mark, MarkBy, MarkValue, MarkWhat, Record, RunHeader};

use crate::common::{START, chain, file, header, path, read};

const FUTURE: u64 = 9_000_000_000_000_000_000;

fn mark(at_unix_ns: u64) -> Record {
    Record::Mark(Mark::new(at_unix_ns, MarkBy::Cli, MarkWhat::Workers, MarkValue::Workers(1)))
}

fn run() -> Vec<Record> {
    let mut records = vec![Record::Header(header("run")), mark(START + 1)];
    records.extend((1..=20).map(|seq| chain(seq, 3)));
    let records_by_kind = BTreeMap::from([("chain".to_owned(), 20), ("mark".to_owned(), 1)]);
    let footer =
        Footer { at_unix_ns: START + 9, records: records_by_kind, requests: 60, ..Footer::default() };
    records.push(Record::Footer(footer));
    records
}

fn report_of(format: LogFormat, records: &[Record]) -> LogReport {
    let folder = tempfile::tempdir().unwrap();
    read(&[path(folder.path(), "log", &file(format, records))]).2
}

#[test]
fn a_whole_run_has_no_problem() {
    for format in LogFormat::ALL {
        assert_eq!(report_of(format, &run()).problems(), Vec::<String>::new(), "{format}");
    }
}

/// A log that was cut between two records has nothing else that shows it.
#[test]
fn a_log_without_its_end_is_not_whole() {
    let records = run();
    for format in LogFormat::ALL {
        let report = report_of(format, &records[..9]);
        assert_eq!(report.problems(), Vec::<String>::new(), "{format}");
        let end = report.missing_end().unwrap();
        assert!(end.contains("log has no end, so results may be missing"), "{format}: {end}");
        assert_eq!((report.why_incomplete(), report.ended, report.is_whole()), (vec![end], false, false));
        let whole = report_of(format, &records);
        assert_eq!((whole.missing_end(), whole.ended, whole.is_whole()), (None, true, true), "{format}");
        // The run continued after a restart, and its writer was killed.
        let mut further = records.clone();
        further.push(chain(21, 1));
        let report = report_of(format, &further);
        assert!(report.footer.is_some() && report.missing_end().is_some(), "{format}");
    }
    // The first file of a rotated log, the last one, and both.
    let folder = tempfile::tempdir().unwrap();
    let first = path(folder.path(), "first", &file(LogFormat::Json, &records[..9]));
    let rest = [&records[..1], &records[9..]].concat();
    let last = path(folder.path(), "last", &file(LogFormat::BinaryZstd, &rest));
    assert!(read(std::slice::from_ref(&first)).2.missing_end().is_some());
    // A copy of the first file ends nothing.
    let copy = path(folder.path(), "copy", &file(LogFormat::Binary, &records[..9]));
    let both = read(&[last, copy, first]).2;
    assert_eq!((both.why_incomplete(), both.repeated), (Vec::<String>::new(), 8));
}

#[test]
fn a_record_with_the_number_of_another_is_reported_and_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    for format in LogFormat::ALL {
        let mut records = run();
        let mut other = chain(7, 3);
        let Record::Chain { result, .. } = &mut other else { panic!("a chain") };
        result.successful = false;
        // An equal one is a duplicate.
        records.insert(9, chain(7, 3));
        records.insert(10, other.clone());
        let report = report_of(format, &records);
        let [problem] = &report.problems()[..] else { panic!("{format}: {:?}", report.problems()) };
        assert!(
            problem.contains(" 11 (byte ")
                && problem
                    .contains("another content than an earlier record with its number, and is not counted")
                && problem.ends_with(": record 7 of r1"),
            "{format}: {problem}"
        );
        assert_eq!((report.repeated, report.contradicting_records, report.records["chain"]), (2, 1, 20));
        // In two files, in two formats.
        let whole = path(folder.path(), "whole", &file(format, &run()));
        let changed = path(folder.path(), "changed", &file(LogFormat::Json, &[run()[0].clone(), other]));
        let report = read(&[whole, changed]).2;
        assert_eq!((report.contradicting_records, report.not_compared), (1, 0), "{format}");
        assert!(report.contradicting[0].file.ends_with("changed"), "{:?}", report.contradicting);
    }
}

#[test]
fn a_chain_that_is_not_known_is_reported_in_a_log_of_this_version() {
    let text = String::from_utf8(file(LogFormat::Json, &run())).unwrap();
    let name = "\"chainname\":\"";
    let damaged: Vec<_> = text
        .lines()
        .map(|line| {
            if line.contains("\"seq\":7,") {
                line.replacen(name, &format!("{name}X"), 1)
            } else {
                line.into()
            }
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let log = path(folder.path(), "log", format!("{}\n", damaged.join("\n")).as_bytes());
    let (records, _, report) = read(&[log]);
    let [problem] = &report.problems()[..] else { panic!("{:?}", report.problems()) };
    assert!(
        problem.contains("line 9 (byte ")
            && problem.contains("its requests are counted")
            && problem.contains(": \"X"),
        "{problem}"
    );
    assert_eq!((report.unknown_chains, report.records["chain"], report.requests), (1, 20, 60));
    for format in LogFormat::ALL {
        assert_eq!(report_of(format, &records).unknown_chains, 1, "{format}");
    }
    // The 2015 design had other chains.
    let line = r#"{"chainname":"OldChain","chaintook":12,"individualresults":[]}"#;
    let report = read(&[path(folder.path(), "seed", format!("{line}\n").as_bytes())]).2;
    assert_eq!((report.problems(), report.unknown_chains), (Vec::<String>::new(), 1));
}

#[test]
fn one_missing_record_is_named() {
    let mut records = run();
    records.remove(5);
    let problems = report_of(LogFormat::Json, &records).problems();
    assert_eq!(problems[0], "record 4 of r1 is missing");
}

/// Without a footer nothing else shows that they are missing: numbers need not begin with 1.
#[test]
fn a_log_whose_first_lines_are_missing_is_not_whole() {
    let records = run();
    for format in LogFormat::ALL {
        let problems = report_of(format, &records[8..15]).problems();
        assert_eq!(problems, ["there is no header: the beginning of the log is missing"], "{format}");
        assert!(report_of(format, &records[8..15]).missing_end().is_some(), "{format}");
    }
    // The 2015 design had no header.
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[]}"#;
    let report = read(&[path(folder.path(), "seed", format!("{line}\n").as_bytes())]).2;
    assert_eq!(report.why_incomplete(), Vec::<String>::new());
}

#[test]
fn a_time_far_from_the_run_is_reported_with_its_place() {
    for format in LogFormat::ALL {
        let mut records = run();
        records.insert(5, mark(FUTURE));
        records.insert(7, mark(1));
        let report = report_of(format, &records);
        assert_eq!(
            (report.doubtful_records, report.doubtful[0].line, report.doubtful[1].line),
            (2, 6, 8),
            "{format}"
        );
        let problem = report.problems().join("; ");
        for part in [
            " 6 (byte ",
            "its time, 2255-03-14T16:00:00Z",
            "more than 7 days",
            "; 1 more such record follows",
        ] {
            assert!(problem.contains(part), "{part}: {problem}");
        }
        // It is read.
        assert_eq!((report.damaged_lines, report.records["mark"]), (0, 3));
    }
}

#[test]
fn a_start_far_from_all_records_is_what_is_wrong() {
    for started_unix_ns in [0, FUTURE] {
        let mut records = run();
        records[0] = Record::Header(RunHeader { started_unix_ns, ..header("run") });
        let report = report_of(LogFormat::Json, &records);
        assert_eq!((report.doubtful_records, report.doubtful[0].line), (1, 1), "{:?}", report.doubtful);
    }
    // The first record is wrong, and there is no header.
    let mut records = run();
    records[0] = mark(FUTURE);
    let report = report_of(LogFormat::Json, &records);
    assert_eq!((report.doubtful_records, report.doubtful[0].line), (1, 1), "{:?}", report.doubtful);
}

#[test]
fn times_that_contradict_each_other_are_reported_and_read() {
    for format in LogFormat::ALL {
        let mut records = run();
        let Record::Chain { result, .. } = &mut records[4] else { panic!("a chain") };
        result.took = 5;
        let report = report_of(format, &records);
        let problem = report.problems().join("; ");
        assert!(
            problem.contains("its times contradict each other: chaintook is 5, and done - due is"),
            "{problem}"
        );
        assert_eq!((report.doubtful_records, report.records["chain"]), (1, 20));
    }
}

#[test]
fn files_that_overlap_count_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let records = run();
    let whole = path(folder.path(), "whole", &file(LogFormat::Json, &records));
    let half = path(folder.path(), "half", &file(LogFormat::BinaryZstd, &records[..12]));
    let again = path(folder.path(), "again", &file(LogFormat::Binary, &records));
    let (found, _, report) = read(&[whole, half, again]);
    assert_eq!(found, records);
    assert_eq!((report.problems(), report.repeated), (Vec::new(), 11 + 22));
}

#[test]
fn the_requests_of_the_footer_are_checked() {
    let mut records = run();
    let Some(Record::Footer(footer)) = records.last_mut() else { panic!("a footer") };
    footer.requests = 61;
    let problems = report_of(LogFormat::Json, &records).problems();
    assert!(
        problems[0].contains("the footer counts 61 requests, but the chain results have 60"),
        "{problems:?}"
    );
    // With missing chain results that is what is reported.
    records.remove(4);
    let problems = report_of(LogFormat::Json, &records).problems().join("; ");
    assert!(problems.contains("1 of 20 records of kind \"chain\"") && !problems.contains("61"), "{problems}");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let plain = file(LogFormat::Json, &run());
    let marked = [b"\xef\xbb\xbf", &plain[..]].concat();
    let (found, lines, report) = read(&[path(folder.path(), "log", &marked)]);
    assert_eq!((found, report.problems()), (run(), Vec::new()));
    assert!(lines[0].as_ref().unwrap().starts_with('{'));
}

#[test]
fn what_is_no_log_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str, content: &[u8]| {
        read_logs(&[path(folder.path(), name, content)], |_| {}).unwrap_err().to_string()
    };
    for (name, start) in
        [("gzip", &b"\x1f\x8b\x08\0rest"[..]), ("bzip2", b"BZh91AY"), ("xz", b"\xfd7zXZ\0rest")]
    {
        let said = error(name, start);
        assert!(
            said.contains(&format!("compressed by {name}")) && said.contains("only zstd is read"),
            "{said}"
        );
    }
    let said = error("baseline", b"{\"format\":\"wec-baseline\",\"version\":1,\n\"rows\":[\n]}\n");
    assert!(said.contains("it is a baseline, not a log: compare it with wec compare"), "{said}");
    let mut writer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    writer.window_log(25).unwrap();
    writer.write_all(&vec![b'x'; 40 << 20]).unwrap();
    let said = error("long", &writer.finish().unwrap());
    assert!(said.contains("larger than the 8 MiB") && said.contains("zstd -dc --long=31"), "{said}");
}
