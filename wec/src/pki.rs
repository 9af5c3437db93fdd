//! `wec pki`: a small CA, and certificates for services.

use wec_startup::Exit;

/// Options of `wec pki`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a CA
    Init(wec_pki::InitOptions),
    /// Make a certificate for a service
    Issue(wec_pki::IssueOptions),
}

pub(crate) async fn pki(options: Options) -> anyhow::Result<Exit> {
    match options.action {
        Action::Init(options) => wec_pki::init(&options),
        Action::Issue(options) => wec_pki::issue(&options),
    }
}
