//! The programs in docs/log.md read our logs.

use std::process::Command;

use wec_log::LogFormat;
use wec_record::Record;

use crate::common::{chain, file, header, path};

const PAGE: &str = include_str!("../../../docs/log.md");

/// The block with this language and mark.
fn example(mark: &str) -> String {
    let (_, rest) = PAGE.split_once(&format!("```{mark}\n")).expect("an example");
    rest.split_once("\n```").expect("its end").0.to_owned()
}

#[test]
fn the_examples_of_the_document_count_requests() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = vec![Record::Header(header("run"))];
    records.extend((1..=10).map(|seq| chain(seq, 3)));
    if let Some(Record::Chain { result, .. }) = records.last_mut() {
        result.requests[1].successful = false;
    }
    let mut torn = file(LogFormat::Json, &records);
    torn.extend_from_slice(b"{\"record\":\"chain\",\"individ");
    let logs =
        [path(folder.path(), "a", &torn), path(folder.path(), "b", &file(LogFormat::JsonZstd, &records))];
    let python = example("python");
    let sh = example("sh not run: a filter for the logs named by its arguments");
    for (program, arguments) in [("python3", ["-c", python.as_str(), ""]), ("sh", ["-c", sh.as_str(), "sh"])]
    {
        let mut command = Command::new(program);
        command.args(arguments.iter().filter(|argument| !argument.is_empty())).args(&logs);
        let output = command.output().expect("python3, jq and zstd are needed: scripts/install-packages");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "order 60 2\n", "{program}: {told}");
    }
}
