//! The addresses of servers, as results record them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};

/// Addresses kept for the life of the process; all further ones are [`OTHER`].
const MOST: usize = 16_384;

/// The addresses of this process's connections.
static KNOWN: Known = Known(RwLock::new(None));

static OTHER: Named =
    Named { address: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), name: Name::Other };

/// Address and port of a connection's server.
///
/// Each attempt of each waiting worker refers to one, so it is a reference to what is kept once. That is never freed,
/// and its number is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(&'static Named);

#[derive(Debug, PartialEq, Eq)]
struct Named {
    address: SocketAddr,
    name: Name,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Of(String),
    Other,
}

impl Peer {
    /// Its address; unspecified if this process has had more servers than it keeps.
    pub const fn address(self) -> SocketAddr {
        self.0.address
    }

    /// The address as text; `other` if this process has had more servers than it keeps.
    pub fn name(self) -> &'static str {
        match &self.0.name {
            Name::Of(name) => name,
            Name::Other => "other",
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        KNOWN.peer(address)
    }
}

struct Known(RwLock<Option<HashMap<SocketAddr, &'static Named>>>);

impl Known {
    fn peer(&self, address: SocketAddr) -> Peer {
        if let Some(known) = &*self.0.read().unwrap_or_else(PoisonError::into_inner)
            && let Some(named) = known.get(&address)
        {
            return Peer(named);
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if known.len() >= MOST && !known.contains_key(&address) {
            return Peer(&OTHER);
        }
        let leaked = || &*Box::leak(Box::new(Named { address, name: Name::Of(address.to_string()) }));
        Peer(known.entry(address).or_insert_with(leaked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_once_and_their_number_is_bounded() {
        let known = Known(RwLock::new(None));
        let address = |number: usize| SocketAddr::from(([127, 0, 0, 1], number as u16));
        for number in 0..MOST {
            assert_eq!(known.peer(address(number)).address(), address(number));
        }
        assert_eq!(known.peer(address(80)).name(), "127.0.0.1:80");
        assert!(std::ptr::eq(known.peer(address(80)).0, known.peer(address(80)).0));
        assert_eq!(known.peer(address(MOST)).name(), "other");
    }
}
