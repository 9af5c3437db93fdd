//! TLS between services: a small CA and its certificates (`wec pki`), and the files that every client and server
//! takes ([`TlsOptions`]).
//!
//! One set of files serves a process for everything: a CA, and a certificate that is presented to clients and to
//! servers, with its key. A service accepts only clients with a certificate of that CA; the page also accepts people,
//! who have a token instead. `docs/pki.md` describes how to use it.
//!
//! Not here: TLS with the CA under test.

mod authority;
mod files;
mod plain;

pub use authority::{InitOptions, IssueOptions, TlsFilePaths, init, issue, loopback_server};
pub use files::{Clients, Tls, TlsError, TlsFiles, TlsOptions};
pub use plain::{NotPlain, is_loopback};
