//! The small CA: `wec pki init` makes it, `wec pki issue` makes certificates for services.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use wec_startup::{Exit, is_plain_name, private_file, private_folder, report};

const CA: &str = "ca";
/// Clocks of other machines may be behind.
const EARLIER: Duration = Duration::hours(1);

/// Options of `wec pki init`.
#[derive(Clone, Debug, clap::Args)]
pub struct InitOptions {
    /// Folder of the CA
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
    /// How long the CA is valid, days
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    days: u16,
}

/// Options of `wec pki issue`.
#[derive(Clone, Debug, clap::Args)]
pub struct IssueOptions {
    /// Name of the service; also the name of its files, and a host name in its certificate
    #[arg(value_name = "NAME")]
    name: String,
    /// A further host name or IP address at which others reach the service; may be repeated
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Folder of the CA
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
    /// How long the certificate is valid, days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    days: u16,
}

/// Makes a CA.
///
/// # Errors
/// When the folder has one already, or it cannot be written.
pub fn init(options: &InitOptions) -> anyhow::Result<Exit> {
    let files = make_ca(&options.dir, options.days)?;
    report(format_args!(
        "{}: give it to every service\n{}: keep it on this machine",
        files.certificate.display(),
        files.key.display()
    ))?;
    Ok(Exit::Passed)
}

fn make_ca(dir: &Path, days: u16) -> anyhow::Result<Files> {
    let files = Files::of(dir, CA);
    ensure!(
        !files.certificate.exists() && !files.key.exists(),
        "{} has a CA already: its services would no longer trust each other; name another folder with --dir",
        dir.display()
    );
    private_folder(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let key = KeyPair::generate().context("cannot make a key")?;
    let mut params = params(Vec::new(), days)?;
    // CAs with equal names would make wrong certificates look like damaged ones.
    let name = format!("wec {:08x}", rand::random::<u32>());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).context("cannot sign the CA's certificate")?;
    files.write(&certificate.pem(), &key)?;
    Ok(files)
}

/// Makes a certificate for a service. An earlier one of the same name is replaced.
///
/// # Errors
/// When there is no CA in the folder, a name is not valid, or the files cannot be written.
pub fn issue(options: &IssueOptions) -> anyhow::Result<Exit> {
    let IssueOptions { name, hosts, dir, days } = options;
    let files = make_certificate(dir, name, hosts, *days)?;
    report(format_args!(
        "--tls-ca {} --tls-cert {} --tls-key {}",
        Files::of(dir, CA).certificate.display(),
        files.certificate.display(),
        files.key.display()
    ))?;
    Ok(Exit::Passed)
}

/// Files of a server that is used once: its CA's certificate, its own certificate for localhost and loopback, and its key,
/// all PEM, in a new folder.
///
/// # Errors
/// When the folder has a CA already, or cannot be written.
pub fn loopback_server(dir: &Path, name: &str) -> anyhow::Result<TlsFilePaths> {
    let ca = make_ca(dir, 1)?;
    let server = make_certificate(dir, name, &[], 1)?;
    Ok(TlsFilePaths { ca: ca.certificate, certificate: server.certificate, key: server.key })
}

/// Where the files of a server are.
#[derive(Clone, Debug)]
pub struct TlsFilePaths {
    /// The certificate of its CA.
    pub ca: PathBuf,
    /// Its own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

fn make_certificate(dir: &Path, name: &str, hosts: &[String], days: u16) -> anyhow::Result<Files> {
    ensure!(
        is_plain_name(name, 64) && !name.contains([':', '@', '+']) && !name.starts_with(['.', '-']),
        "{name:?} is not a service's name: use letters, digits, and any of -_."
    );
    ensure!(name != CA, "{name:?} is the name of the CA's own files: name the service otherwise");
    let ca = Files::of(dir, CA);
    let read = |file: &Path| {
        fs::read_to_string(file)
            .with_context(|| format!("cannot read the CA's {}: make one with wec pki init", file.display()))
    };
    let wrong = |file: &Path| format!("{} is damaged: make a new CA with wec pki init", file.display());
    let ca_key = KeyPair::from_pem(&read(&ca.key)?).with_context(|| wrong(&ca.key))?;
    let ca_pem = read(&ca.certificate)?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).with_context(|| wrong(&ca.certificate))?;
    let usual = [name, "localhost", "127.0.0.1", "::1"];
    let mut hosts: Vec<String> =
        usual.into_iter().chain(hosts.iter().map(|host| host.trim())).map(str::to_owned).collect();
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    let mut params = params(hosts, days)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.signed_by(&key, &issuer).context("cannot sign the certificate")?;
    let files = Files::of(dir, name);
    files.write(&certificate.pem(), &key)?;
    Ok(files)
}

fn params(hosts: Vec<String>, days: u16) -> anyhow::Result<CertificateParams> {
    for host in &hosts {
        if host.is_empty() || host.contains(|c: char| !c.is_ascii_graphic() || "/?#@\"\\,".contains(c)) {
            bail!("{host:?} is neither a host name nor an IP address: write it like wec-1.test or 10.0.0.7");
        }
    }
    let mut params = CertificateParams::new(hosts).context("a host's name is not valid in a certificate")?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::days(i64::from(days));
    Ok(params)
}

/// A certificate and its key.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}-key.pem")) }
    }

    /// The key is private; the certificate, which is written last, is not.
    fn write(&self, certificate: &str, key: &KeyPair) -> anyhow::Result<()> {
        let failed = |file: &Path| format!("cannot write {}", file.display());
        // Others may have a file of this name open, or it may have other rights.
        match fs::remove_file(&self.key) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| failed(&self.key));
            }
            _ => {}
        }
        let mut file =
            private_file().write(true).create_new(true).open(&self.key).with_context(|| failed(&self.key))?;
        file.write_all(key.serialize_pem().as_bytes()).with_context(|| failed(&self.key))?;
        fs::write(&self.certificate, certificate).with_context(|| failed(&self.certificate))
    }
}
