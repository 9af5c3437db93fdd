//! Free loopback ports for servers that cannot take any free port and report which one.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the kernel's ephemeral range (32768 up), so that no outgoing connection of a load test takes a port
/// between our look and the server's bind.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Ports handed out by this process; two servers of one test must not be promised the same.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that is free on 127.0.0.1 for both TCP and UDP, never given twice by this process.
///
/// Another process can still take it before the server binds: start servers by [`on_free_ports`].
///
/// # Panics
/// When a thousand random ports in a row are taken.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1_000 {
        let span = u64::from(RANGE.end - RANGE.start);
        let offset = RandomState::new().hash_one(given.len()) % span;
        let port = RANGE.start + u16::try_from(offset).expect("smaller than the range, which is of u16");
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port found on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end)
}

/// [`free_port`] as an address on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port())
}

/// Starts a server on ports that were free a moment ago, and on others when somebody else was faster: `start` takes
/// its ports from [`free_port`] each time it is called.
///
/// # Errors
/// What `start` says, when it is about something else or for the third time.
pub async fn on_free_ports<T>(mut start: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut attempts = 3;
    loop {
        attempts -= 1;
        match start().await {
            // Go's servers write it small, the others as the C library does.
            Err(error) if attempts > 0 && format!("{error:#}").contains("ddress already in use") => {}
            other => return other,
        }
    }
}

/// Bound on every interface, because some servers (pebble-challtestsrv's DNS) bind there.
fn is_free(port: u16) -> bool {
    let any = (Ipv4Addr::UNSPECIFIED, port);
    TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_taken_meanwhile_is_replaced() {
        let mut calls = 0;
        let started = on_free_ports(async || {
            calls += 1;
            anyhow::ensure!(calls > 1, "sh ended at once; its log:\nbind: Address already in use");
            Ok(free_port())
        });
        assert!(RANGE.contains(&started.await.expect("the second port is free")));
        assert_eq!(calls, 2);
        let mut calls = 0;
        let other: anyhow::Result<()> = on_free_ports(async || {
            calls += 1;
            anyhow::bail!("no such option")
        })
        .await;
        assert!(other.is_err() && calls == 1, "nothing else is tried again");
    }

    #[test]
    fn never_promises_a_port_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
