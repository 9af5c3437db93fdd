//! The writer: restarts, rotation, disks that are full.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use wec_log::{Log, LogFormat, LogOptions, log_files};
use wec_record::{FORMAT_VERSION, Record, RunHeader, RunOutcome};

use crate::common::{START, chain, file, header, read};

fn options(format: LogFormat) -> LogOptions {
    LogOptions { format, ..LogOptions::default() }
}

fn name(folder: &Path, format: LogFormat) -> PathBuf {
    folder.join(format!("run.{}", format.extension()))
}

fn open(path: &Path, options: &LogOptions) -> (Log, Vec<Record>) {
    let mut known = Vec::new();
    let log = Log::open(path, &header("run"), options, |record| known.push(record)).unwrap();
    (log, known)
}

/// The chain results of a log, by their numbers.
fn seqs(records: &[Record]) -> Vec<u64> {
    let chains = records.iter().filter(|record| matches!(record, Record::Chain { .. }));
    chains.filter_map(|record| record.origin().map(|(_, seq)| seq)).collect()
}

/// Waits until the condition holds.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: in vain");
}

/// A batch may be longer than what the writer keeps while the disk refuses.
#[test]
fn a_batch_longer_than_the_memory_is_written_and_none_of_it_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = name(folder.path(), LogFormat::Json);
    let (mut log, _) = open(&path, &options(LogFormat::Json));
    let long: Vec<_> = (1..=500)
        .map(|seq| {
            let mut record = chain(seq, 1);
            if let Record::Chain { result, .. } = &mut record {
                result.error = "x".repeat(40_000);
            }
            record
        })
        .collect();
    log.take(&long);
    log.close();
    drop(log);
    assert_eq!(seqs(&read(&[path]).0), (1..=500).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// As after a kill at any moment: nothing that was flushed is lost, and the log goes on as a whole one.
    #[test]
    fn a_log_that_is_cut_anywhere_goes_on(cut in 0.0..1.0f64, format in 0usize..4, later in any::<bool>()) {
        let format = LogFormat::ALL[format];
        let folder = tempfile::tempdir().unwrap();
        let path = name(folder.path(), format);
        let (mut log, _) = open(&path, &options(format));
        let mut flushed = Vec::new();
        for seq in 1..=12 {
            log.take(&[chain(seq, seq % 4)]);
            log.flush();
            flushed.push(fs::metadata(&path).unwrap().len());
        }
        drop(log);
        let bytes = fs::read(&path).unwrap();
        let cut = (bytes.len() as f64 * cut) as usize;
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = flushed.iter().filter(|end| **end <= cut as u64).count() as u64;
        // A new log may have any options: it keeps its format.
        let other = if later { options(LogFormat::Json) } else { options(format) };
        let (mut log, known) = open(&path, &other);
        prop_assert_eq!(seqs(&known), (1..=whole).collect::<Vec<_>>());
        log.take(&(whole + 1..=12).map(|seq| chain(seq, seq % 4)).collect::<Vec<_>>());
        log.end(RunOutcome::Passed, 2 * START);
        log.close();
        drop(log);
        let (found, _, report) = read(&[path]);
        prop_assert_eq!(report.problems(), Vec::<String>::new());
        prop_assert_eq!(seqs(&found), (1..=12).collect::<Vec<_>>());
        prop_assert_eq!(report.footer.unwrap().records["chain"], 12);
    }
}

/// What is written after the restart is in the present form. A requester of an earlier version may have sent the header.
#[test]
fn a_log_of_an_earlier_version_goes_on_after_a_header_of_the_present_one() {
    let earlier = RunHeader { version: 1, ..header("run") };
    for format in LogFormat::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = name(folder.path(), format);
        fs::write(&path, file(format, &[Record::Header(earlier.clone())])).unwrap();
        let versions = |log: &[Record]| -> Vec<u32> {
            let headers = log.iter().filter_map(|record| match record {
                Record::Header(header) => Some(header.version),
                _ => None,
            });
            headers.collect()
        };
        for seq in 1..=2 {
            let (mut log, _) = open(&path, &options(format));
            log.take(&[chain(seq, 2)]);
            log.close();
        }
        let (found, _, report) = read(std::slice::from_ref(&path));
        assert_eq!(seqs(&found), [1, 2], "{format}");
        let mut all = Vec::new();
        wec_log::read_strictly(&path, |record| all.push(record.clone())).unwrap();
        assert_eq!(versions(&all), [1, FORMAT_VERSION], "{format}: once");
        assert_eq!(report.problems(), Vec::<String>::new(), "{format}");

        let path = name(folder.path(), format).with_extension("new");
        let mut log = Log::open(&path, &earlier, &options(format), drop).unwrap();
        log.close();
        drop(log);
        let (_log, known) = open(&path, &options(format));
        assert_eq!(versions(&known), [FORMAT_VERSION], "{format}");
    }
}

#[test]
fn a_log_is_rotated_by_size_and_its_files_are_one_run() {
    for format in LogFormat::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = name(folder.path(), format);
        let rotated = LogOptions { rotate_size: Some(20_000), ..options(format) };
        let mut next = 1;
        // A restart goes on in the last file.
        for _ in 0..2 {
            let (mut log, known) = open(&path, &rotated);
            assert_eq!(seqs(&known), (1..next).collect::<Vec<_>>(), "{format}");
            for _ in 0..40 {
                log.take(&(next..next + 50).map(|seq| chain(seq, 4)).collect::<Vec<_>>());
                next += 50;
                log.flush();
            }
            assert_eq!(
                log.bytes(),
                log_files(&path).iter().map(|it| fs::metadata(it).unwrap().len()).sum::<u64>()
            );
            log.end(RunOutcome::Passed, START + 1_000_000 * next);
            log.close();
        }
        let footer = wec_log::footer_at(log_files(&path).last().unwrap()).unwrap();
        assert_eq!(footer.records["chain"], next - 1, "{format}");
        let mut files = log_files(&path);
        assert!(files.len() > 3, "{format}: {files:?}");
        assert_eq!(files[1], folder.path().join(format!("run.2.{}", format.extension())));
        for file in &files {
            let (found, ..) = read(std::slice::from_ref(file));
            assert!(matches!(found[0], Record::Header(_)), "{file:?}");
            assert!(found.len() > 1, "{file:?}");
        }
        files.reverse();
        let (found, _, report) = read(&files);
        assert_eq!(report.problems(), Vec::<String>::new(), "{format}");
        assert!(seqs(&found).into_iter().eq(1..next), "{format}");
    }
}

#[test]
fn a_log_is_rotated_by_time_but_not_without_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = name(folder.path(), LogFormat::Json);
    let rotated = LogOptions { rotate_every: Some(Duration::from_millis(20)), ..LogOptions::default() };
    let (mut log, _) = open(&path, &rotated);
    log.take(&[chain(1, 1)]);
    until("it is rotated", || {
        log.flush();
        log_files(&path).len() == 2
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let other = name(elsewhere.path(), LogFormat::Json);
    let (mut with_records, _) = open(&other, &rotated);
    until("a log with records is rotated more often", || {
        let next = log_files(&other).len() as u64 * 100;
        with_records.take(&[chain(next, 1)]);
        with_records.flush();
        log.flush();
        log_files(&other).len() > 4
    });
    assert_eq!(log_files(&path).len(), 2);
}

#[test]
fn a_log_that_others_rotate_is_begun_again_in_its_format() {
    for format in LogFormat::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = name(folder.path(), format);
        let moved = folder.path().join("moved");
        let (mut log, _) = open(&path, &options(format));
        log.take(&(1..=5).map(|seq| chain(seq, 2)).collect::<Vec<_>>());
        log.flush();
        // These refer to what the first ones named.
        log.take(&(6..=9).map(|seq| chain(seq, 2)).collect::<Vec<_>>());
        fs::rename(&path, &moved).unwrap();
        until("it is begun again", || {
            log.flush();
            path.exists()
        });
        log.close();
        let copied = folder.path().join("copied");
        fs::copy(&path, &copied).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.take(&(10..=12).map(|seq| chain(seq, 2)).collect::<Vec<_>>());
        log.flush();
        log.close();
        let [first, second, third] = [moved, copied, path].map(|path| seqs(&read(&[path]).0));
        assert_eq!(third, [10, 11, 12], "{format}");
        // The file is looked for once a second.
        assert_eq!([first, second].concat(), (1..=9).collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn what_was_flushed_is_brought_to_the_disk_once_and_nothing_when_idle() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&name(folder.path(), LogFormat::Json), &LogOptions::default());
    log.flush();
    until("the header is there", || log.synchronised() > 0);
    for round in 1..=3 {
        let before = log.synchronised();
        for seq in 1..=20 {
            log.take(&[chain(100 * round + seq, 1)]);
            log.flush();
        }
        until("it is there", || log.synchronised() > before);
        for _ in 0..20 {
            log.flush();
        }
        // The writes may have taken longer than one of them.
        until("nothing follows", || log.synchronised() <= before + 2);
    }
    assert_eq!(log.error(), None);
}

/// Where the small file system is.
const PLACE: &str = "WEC_TEST_SMALL_DISK";

/// Runs `test` again where [`PLACE`] is a file system of 1 MiB. False when it is to run here: it is there already.
fn runs_in_a_small_file_system(test: &str) -> bool {
    if std::env::var_os(PLACE).is_some() {
        return false;
    }
    let dir = tempfile::tempdir().unwrap();
    let script =
        r#"mount -t tmpfs -o size=1m none "$1" && exec "$2" --exact "$3" --nocapture --test-threads=1"#;
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([dir.path().as_os_str(), std::env::current_exe().unwrap().as_os_str(), test.as_ref()])
        .env(PLACE, dir.path())
        .status();
    assert!(
        status.expect("unshare is needed: apt-get install util-linux").success(),
        "{test} failed in its small file system; a tmpfs in a namespace of its own is needed (unshare --user --mount)"
    );
    true
}

#[test]
fn a_full_disk_is_reported_and_writing_goes_on_when_there_is_room() {
    if runs_in_a_small_file_system("writer::a_full_disk_is_reported_and_writing_goes_on_when_there_is_room") {
        return;
    }
    let folder = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let filler = folder.join("filler");
    for format in LogFormat::ALL {
        let path = name(&folder, format);
        let (mut log, _) = open(&path, &options(format));
        let mut next = 1;
        for _ in 0..2 {
            let mut file = fs::File::options().create(true).append(true).open(&filler).unwrap();
            for piece in [4096, 1] {
                while file.write_all(&vec![b'x'; piece]).is_ok() {}
            }
            while log.error().is_none() {
                log.take(&[chain(next, 4)]);
                next += 1;
                log.flush();
            }
            assert!(log.error().unwrap().contains("No space left"), "{:?}", log.error());
            log.take(&(next..next + 20).map(|seq| chain(seq, 4)).collect::<Vec<_>>());
            next += 20;
            log.flush();
            assert!(log.written() < log.end_offset());
            drop(file);
            fs::remove_file(&filler).unwrap();
            log.flush();
            assert_eq!((log.error(), log.written()), (None, log.end_offset()));
        }
        log.end(RunOutcome::Passed, 2 * START);
        log.close();
        assert_eq!(log.failed(), 0);
        let (found, _, report) = read(std::slice::from_ref(&path));
        assert_eq!(report.problems(), Vec::<String>::new(), "{format}");
        assert_eq!(seqs(&found), (1..next).collect::<Vec<_>>());
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_a_full_disk_keeps_out_is_counted() {
    if runs_in_a_small_file_system("writer::what_a_full_disk_keeps_out_is_counted") {
        return;
    }
    let folder = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let path = name(&folder, LogFormat::Json);
    let (mut log, _) = open(&path, &LogOptions::default());
    let mut next = 1;
    // More than the disk and the bound of what is kept.
    while log.failed() == 0 {
        log.take(&(next..next + 100).map(|seq| chain(seq, 40)).collect::<Vec<_>>());
        next += 100;
        log.flush();
    }
    assert!(log.is_full());
    log.end(RunOutcome::Passed, 2 * START);
    log.close();
    let missing = log.failed();
    drop(log);
    let (found, _, report) = read(&[path]);
    // The footer is missing, too.
    assert_eq!(seqs(&found).len() as u64 + missing, next - 1 + 1);
    assert!(report.footer.is_none());
}
