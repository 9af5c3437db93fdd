//! The files in `deploy/`: that other programs accept them, and that our program accepts their flags.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wec_testbed::Program;

use crate::common::{run, said};

const SYSTEMD: Program = Program { binary: "systemd-analyze", package: "systemd" };
/// Of 10, as `systemd-analyze security` counts; a unit without hardening has 9.6.
const MOST_EXPOSURE: &str = "20";

fn deploy(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(folder)
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(deploy(folder)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect();
    assert!(!files.is_empty());
    files.sort_unstable();
    files
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &said(output)
}

/// Whether the program accepts these arguments: with --help it does nothing else.
fn accepts(args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[args, &["--help"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", shown(&output));
}

#[test]
fn systemd_accepts_the_units_and_finds_them_hardened() {
    let analyze = SYSTEMD.find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for unit in files("systemd", "service") {
        let text = std::fs::read_to_string(&unit).unwrap();
        // systemd checks that the program is there.
        let copy = folder.path().join(unit.file_name().unwrap());
        std::fs::write(&copy, text.replace("/usr/local/bin/wec", "/bin/true")).unwrap();
        let check = |args: &[&str]| {
            let output = Command::new(&analyze).args(args).arg(&copy).output().unwrap();
            assert!(output.status.success(), "{}: {}", unit.display(), shown(&output));
            shown(&output)
        };
        assert_eq!(check(&["verify", "--man=no"]), "", "{}", unit.display());
        check(&["security", "--offline=true", "--no-pager", &format!("--threshold={MOST_EXPOSURE}")]);
        let command =
            text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/wec ")).unwrap();
        let args: Vec<_> = command.split(' ').filter(|word| !word.starts_with('$')).collect();
        // Those of an agent are in its file of settings.
        if args.len() > 1 {
            accepts(&args);
        }
    }
}

#[test]
fn kubernetes_accepts_the_manifests() {
    let validate = wec_testbed::python().unwrap().with_file_name("kubernetes-validate");
    let mut listed = std::fs::read_to_string(deploy("kubernetes/kustomization.yaml")).unwrap();
    listed.retain(|c| c != ' ');
    for file in files("kubernetes", "yaml") {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name == "kustomization.yaml" {
            continue;
        }
        assert!(listed.contains(&format!("\n-{name}\n")), "kustomization.yaml does not list {name}");
        let output = Command::new(&validate).args(["--strict", "--quiet"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{name}: {}", shown(&output));
    }
}

#[test]
fn the_program_accepts_the_flags_of_the_manifests() {
    for name in ["analytics", "challenge-server", "agent"] {
        let text = std::fs::read_to_string(deploy(&format!("kubernetes/{name}.yaml"))).unwrap();
        let flags = text.lines().filter_map(|line| line.trim().strip_prefix("- --"));
        let flags: Vec<_> =
            flags.map(|flag| format!("--{}", flag.replace("$(POD_IP)", "127.0.0.1"))).collect();
        assert!(flags.len() >= 3, "{flags:?}");
        accepts(&[&[name], flags.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat());
    }
}
