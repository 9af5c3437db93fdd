//! Builds the page of `ui/` and passes its files to the crate as `$OUT_DIR/page.rs`:
//!
//! ```text
//! pub(crate) static FILES: &[(&str, &[u8])] = &[("assets/index-4f2a.js", include_bytes!(…)), ("index.html", …)];
//! ```
//!
//! Everything happens in `$OUT_DIR`: sources are copied there and npm installs there, so the source tree stays
//! clean and two builds (debug and release, two checkouts) cannot collide. npm runs when its lock file changed,
//! Vite when a source of the page changed, neither otherwise.
//!
//! Without Node.js, or when npm cannot reach its registry, the build continues with a page that reports it: the
//! binary's work does not need the page. `WEC_UI=require` makes that an error, `WEC_UI=skip` selects that page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

/// The sources of the page. `dev` and `test` are not part of it.
const SOURCES: [&str; 8] = [
    ".npmrc",
    "index.html",
    "package-lock.json",
    "package.json",
    "public",
    "src",
    "tsconfig.json",
    "vite.config.ts",
];

/// The lowest version that Vite supports.
const NODE: (u32, u32) = (20, 19);

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=WEC_UI");
    println!("cargo::rerun-if-changed=ui/unbuilt.html");
    for source in SOURCES {
        println!("cargo::rerun-if-changed=ui/{source}");
    }
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), String> {
    let ui = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("ui");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let page = out.join("page");
    let wish = env::var("WEC_UI").unwrap_or_default();
    let built = match wish.as_str() {
        "" | "require" => build(&ui, &out.join("ui"), &page),
        "skip" => Err("WEC_UI=skip was set".to_owned()),
        other => return Err(format!("WEC_UI={other:?} is neither `skip` nor `require`")),
    };
    if let Err(reason) = built {
        if wish == "require" {
            return Err(format!("the web page could not be built: {reason}"));
        }
        if wish != "skip" {
            println!("cargo::warning=the web page was not built: {}", one_line(&reason));
            println!(
                "cargo::warning=the program works without the page; to include it, correct this and build again with WEC_UI=require"
            );
        }
        unbuilt(&ui, &page, &reason).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    list(&page, &out.join("page.rs")).map_err(|error| format!("{}: {error}", page.display()))
}

/// Builds the page of `ui` into `page`, working in `work`.
fn build(ui: &Path, work: &Path, page: &Path) -> Result<(), String> {
    check_node()?;
    refresh(ui, work)
        .map_err(|error| format!("the page's sources could not be copied to {}: {error}", work.display()))?;
    install(work)?;
    let page = page.to_str().ok_or("the path of the target directory is not UTF-8")?;
    npm(work, &["run", "build", "--", "--logLevel", "warn", "--emptyOutDir", "--outDir", page])
}

fn check_node() -> Result<(), String> {
    let lowest = format!("Node.js {}.{} or newer", NODE.0, NODE.1);
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|error| format!("node could not be run ({error}); install {lowest} with npm"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let mut numbers = version.trim().trim_start_matches('v').split('.').map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= NODE => Ok(()),
        _ => Err(format!("node is version {:?}; install {lowest}", version.trim())),
    }
}

/// Copies the sources of `ui` into `work`, and keeps what npm installed there.
fn refresh(ui: &Path, work: &Path) -> io::Result<()> {
    fs::create_dir_all(work)?;
    for source in SOURCES {
        let (from, to) = (ui.join(source), work.join(source));
        if from.is_dir() {
            remove(&to)?;
        }
        copy(&from, &to)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Installs the dependencies, unless they are those of the same lock file.
fn install(work: &Path) -> Result<(), String> {
    let done = work.join("installed-lock.json");
    let lock =
        fs::read(work.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    if fs::read(&done).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    npm(
        work,
        &["ci", "--omit=dev", "--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"],
    )?;
    fs::write(&done, lock).map_err(|error| format!("{}: {error}", done.display()))
}

fn npm(work: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("npm")
        .args(arguments)
        .current_dir(work)
        // `npm run` would check for a newer npm on the network.
        .env("npm_config_update_notifier", "false")
        .output()
        .map_err(|error| format!("npm could not be run ({error}); it comes with Node.js"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    Err(format!("`npm {}` failed: {}", arguments[0], gist(&String::from_utf8_lossy(&said))))
}

/// The first lines of npm's or Vite's error, without warnings and stack.
fn gist(said: &str) -> String {
    let lines = said
        .lines()
        .map(|line| line.trim_start_matches("npm error").trim_start_matches("npm ERR!").trim())
        .filter(|line| !line.is_empty() && !line.starts_with("npm warn") && !line.starts_with("at "));
    lines.take(5).collect::<Vec<_>>().join("; ")
}

/// Writes the replacement page.
fn unbuilt(ui: &Path, page: &Path, reason: &str) -> io::Result<()> {
    let reason = reason.replace('&', "&amp;").replace('<', "&lt;");
    let html = fs::read_to_string(ui.join("unbuilt.html"))?.replace("{reason}", &reason);
    remove(page)?;
    fs::create_dir_all(page)?;
    fs::write(page.join("index.html"), html)
}

/// Writes the Rust source that embeds every file of `page`.
fn list(page: &Path, source: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    walk(page, &mut files)?;
    files.sort();
    let mut text = String::from("/// Every file of the page: its path below `/`, and its bytes.\n");
    text.push_str("pub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let path = file.strip_prefix(page).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    ({path:?}, include_bytes!({:?})),", file.display().to_string());
    }
    text.push_str("];\n");
    fs::write(source, text)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// A Cargo directive is one line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
