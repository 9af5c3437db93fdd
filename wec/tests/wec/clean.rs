//! `wec clean` at a real Pebble: what is left of a run is read from Pebble itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use wec_acme::{Account, AuthorizationStatus, Client, Clock, Config, OrderStatus, Roots, Trace};
use wec_record::Chain;
use wec_store::{Catalogue, Left};
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::{log, results, run, run_until, said};

const STATE: &str = "sqlite://state.sqlite";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A run at Pebble with every kind of leftover: certificates that are live, replaced and revoked, orders that are ready,
/// valid and abandoned.
fn a_run(folder: &Path, target: &[&str]) {
    let args = ["run", "--headless", "--workers", "2", "--http01-listen", "127.0.0.1:0", "--abandon", "30%"];
    let args = [&args[..], &["--tlsalpn01-listen", "off", "--dns-listen", "off"], target].concat();
    let output = run_until(folder, &args, |log| {
        let of =
            |chain| results(log).filter(|result| result.chain == Some(chain) && result.successful).count();
        let abandoned = results(log).filter(|result| result.abandoned).count();
        of(Chain::Certificate) >= 6 && of(Chain::Revoke) >= 1 && of(Chain::Refresh) >= 1 && abandoned >= 1
    });
    assert_eq!(output.status.code(), Some(105), "{}", said(&output));
}

async fn left(folder: &Path) -> Left {
    let catalogue = Catalogue::open(&format!("sqlite://{}", folder.join("state.sqlite").display())).await;
    let catalogue = catalogue.unwrap();
    let stored = catalogue.list().await.unwrap();
    let left = catalogue.left(&stored[0], Clock::start().unix_now()).await.unwrap();
    catalogue.close().await;
    left
}

async fn accounts(folder: &Path) -> Vec<Account> {
    let catalogue = Catalogue::open(&format!("sqlite://{}", folder.join("state.sqlite").display())).await;
    let catalogue = catalogue.unwrap();
    let stored = catalogue.list().await.unwrap();
    let accounts = catalogue.accounts_left(&stored[0], i64::MIN).await.unwrap();
    catalogue.close().await;
    accounts.into_iter().map(|left| left.account.unwrap()).collect()
}

/// What Pebble's management has of this serial number.
fn status_at_pebble(pebble: &Pebble, serial: &str) -> String {
    let url = format!("{}/cert-status-by-serial/{serial}", pebble.management_url());
    let output = Command::new("curl").args(["--silent", "--cacert"]).arg(pebble.ca_file()).arg(&url).output();
    let answer = stdout(&output.unwrap());
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{url}: {answer}"));
    answer["Status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_run_made_is_usable_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let directory = pebble.directory_url();
    let roots = pebble.ca_file().display().to_string();
    let target = ["--directory", &directory, "--cacert", &roots, "--state", STATE];
    a_run(folder, &target);
    let (before, accounts) = (left(folder).await, accounts(folder).await);
    assert!(before.orders > 0 && before.certificates > 0 && before.accounts > 0, "{before:?}");

    let clean = |more: &[&str]| run(folder, &[&["clean", "--rate", "500"], &target[..], more].concat());
    let counts = |output: &Output| serde_json::from_str::<Value>(&stdout(output)).unwrap();
    let cleaned = clean(&["--yes", "--json", "--verify", "--keep-accounts"]);
    assert_eq!(cleaned.status.code(), Some(0), "{}{}", stdout(&cleaned), said(&cleaned));
    let done = counts(&cleaned);
    assert_eq!((&done["revoked"], &done["deactivated"]), (&before.certificates.into(), &0.into()), "{done}");
    assert!(done["orders"].as_u64() > Some(before.orders), "Pebble lists the abandoned ones: {done}");
    assert_eq!((&done["certificates_left"], &done["orders_left"]), (&0.into(), &0.into()), "{done}");
    assert_eq!(done["accounts_left"], before.accounts);

    // Pebble has no certificate of the run that is valid.
    let log = log(folder);
    let serials: BTreeSet<_> =
        results(&log).map(|result| &result.serial).filter(|it| !it.is_empty()).collect();
    assert!(serials.len() >= 7, "{serials:?}");
    for serial in serials {
        assert_eq!(status_at_pebble(&pebble, serial), "Revoked", "{serial}");
    }
    // Nor an order that can be finalized, nor an authorization for another one.
    let pem = pebble.ca_pem().unwrap();
    let config = Config { roots: Roots::Pem(pem), ..Config::new(directory.parse().unwrap()) };
    let client = Client::discover(config, Clock::start()).await.unwrap();
    let orders: BTreeSet<_> = results(&log).map(|result| &result.order).filter(|it| !it.is_empty()).collect();
    let base = directory.strip_suffix("/dir").unwrap();
    let trace = &mut Trace::new(Clock::start());
    let mut authorizations = 0;
    for path in orders {
        let url = format!("{base}{path}");
        let mut found = None;
        for account in &accounts {
            if let Ok(order) = client.order(trace, account, &url).await {
                found = Some((account, order));
            }
        }
        let (account, order) = found.unwrap_or_else(|| panic!("{url} is no account's"));
        assert!(!matches!(order.status, OrderStatus::Pending | OrderStatus::Ready), "{order:?}");
        for url in &order.authorizations {
            let status = client.authorization(trace, account, url).await.unwrap().status;
            assert!(!matches!(status, AuthorizationStatus::Pending | AuthorizationStatus::Valid), "{url}");
            authorizations += 1;
        }
    }
    assert!(authorizations >= 7);

    // The accounts are still there, and then they are not.
    let account = client.account(trace, &accounts[0]).await.unwrap();
    assert_eq!(account.status, "valid");
    let done = counts(&clean(&["--yes", "--json"]));
    assert_eq!((&done["deactivated"], &done["failed"]), (&before.accounts.into(), &0.into()), "{done}");
    assert_eq!(left(folder).await, Left::default());
    for account in &accounts {
        let refused = client.account(trace, account).await.unwrap_err();
        assert!(refused.problem.is_some_and(|problem| problem.is("unauthorized")), "{}", refused.message);
    }
    let again = clean(&["--yes"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(
        stdout(&again).starts_with("There are 0 certificates to revoke, 0 accounts to deactivate at"),
        "{}",
        stdout(&again)
    );
}

/// Half of the work is done by a command that is interrupted; the rest by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_clean_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let (directory, roots) = (pebble.directory_url(), pebble.ca_file().display().to_string());
    let target = ["--directory", &directory, "--cacert", &roots, "--state", STATE];
    a_run(folder, &target);
    let before = left(folder).await;
    let slow = [&["clean", "--yes", "--json", "--rate", "5"], &target[..]].concat();
    let mut first = crate::common::wec(folder, &slow);
    let mut first = first.stdout(std::process::Stdio::piped()).spawn().unwrap();
    while left(folder).await == before && first.try_wait().unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    crate::common::signal(&first, "-INT");
    let first = first.wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(105), "{}", stdout(&first));
    let between = left(folder).await;
    assert!(between != before && between != Left::default(), "{between:?}");
    let rest = run(folder, &[&["clean", "--yes", "--rate", "500"], &target[..]].concat());
    assert_eq!(rest.status.code(), Some(0), "{}{}", stdout(&rest), said(&rest));
    assert_eq!(left(folder).await, Left::default());
}
