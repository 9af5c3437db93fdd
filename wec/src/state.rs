//! `wec state`: lists or deletes the stored state of each CA.

use anyhow::bail;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use wec_startup::{Exit, report};
use wec_store::{Catalogue, StoredCa};

/// Options of `wec state`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
    /// The database: sqlite://FILE or postgres://USER@HOST/DB
    #[arg(
        long,
        value_name = "URL",
        env = "WEC_STATE",
        hide_env_values = true,
        default_value = "sqlite://wec-state.sqlite",
        global = true
    )]
    state: String,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the CAs with stored state
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the stored state of a CA; the CA itself is not changed
    Forget {
        /// The CA's directory, as `wec state list` prints it
        directory: String,
    },
}

pub(crate) async fn state(options: Options) -> anyhow::Result<Exit> {
    let catalogue = Catalogue::open(&options.state).await?;
    let done = carry_out(&catalogue, options.action).await;
    catalogue.close().await;
    done.map(|()| Exit::Passed)
}

async fn carry_out(catalogue: &Catalogue, action: Action) -> anyhow::Result<()> {
    let stored = catalogue.list().await?;
    match action {
        Action::List { json: true } => report(as_json(&stored))?,
        Action::List { json: false } if stored.is_empty() => report("Nothing is stored of any CA.")?,
        Action::List { json: false } => report(table(&stored))?,
        Action::Forget { directory } => {
            let Some(found) = stored.iter().find(|stored| stored.directory == directory) else {
                let known: Vec<_> = stored.iter().map(|stored| format!("{:?}", stored.directory)).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                bail!("nothing is stored of {directory:?}: there is {known}");
            };
            catalogue.forget(found).await?;
            report(format!(
                "Deleted what was stored of {}: {} accounts, {} ready orders, {} certificates.",
                found.directory, found.registrations, found.authorizations, found.certificates
            ))?;
        }
    }
    Ok(())
}

fn as_json(stored: &[StoredCa]) -> String {
    let rows: Vec<_> = stored
        .iter()
        .map(|stored| {
            json!({
                "directory": stored.directory,
                "registrations": stored.registrations,
                "authorizations": stored.authorizations,
                "certificates": stored.certificates,
                "revoked": stored.revoked,
                "processes": stored.processes,
            })
        })
        .collect();
    serde_json::Value::from(rows).to_string()
}

fn table(stored: &[StoredCa]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["directory", "accounts", "ready orders", "certificates", "revoked", "in use by"]);
    for stored in stored {
        table.add_row([
            stored.directory.clone(),
            stored.registrations.to_string(),
            stored.authorizations.to_string(),
            stored.certificates.to_string(),
            stored.revoked.to_string(),
            stored.processes.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
