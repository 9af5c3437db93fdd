//! How connections to the CA's servers are made: `--spread-addresses`, `--connect-to`, `--source-address`.

use std::net::{IpAddr, UdpSocket};

use wec_acme::{ConnectTo, Dialling};

use crate::settings::Settings;
use crate::settings::values::{boolean, list};

pub(super) fn dialling(s: &mut Settings) -> Dialling {
    Dialling {
        spread: s.take("spread_addresses", boolean).unwrap_or(false),
        connect_to: s.take("connect_to", ways).unwrap_or_default(),
        source_addresses: s.take("source_address", own_addresses).unwrap_or_default(),
    }
}

fn ways(value: &str) -> Result<Vec<ConnectTo>, String> {
    list(value)?.iter().map(|way| way.parse()).collect()
}

/// Addresses of this machine. With any other address every connection would fail.
fn own_addresses(value: &str) -> Result<Vec<IpAddr>, String> {
    list(value)?.iter().map(|address| own_address(address)).collect()
}

fn own_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr =
        bare.parse().map_err(|_| format!("{text:?} is not an IP address, as in 192.168.1.10"))?;
    UdpSocket::bind((address, 0)).map_err(|error| {
        format!("{text:?} is not an address of this machine for outgoing connections: {error}")
    })?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_are_this_machines() {
        assert_eq!(
            own_addresses("127.0.0.1, 127.0.0.2"),
            Ok(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()])
        );
        let error = own_addresses("127.0.0.1,eth0").unwrap_err();
        assert_eq!(error, "\"eth0\" is not an IP address, as in 192.168.1.10");
        // A documentation address.
        let error = own_addresses("192.0.2.7").unwrap_err();
        assert!(error.starts_with("\"192.0.2.7\" is not an address of this machine"), "{error}");
    }

    #[test]
    fn several_ways_are_separated_by_commas() {
        let ways = ways("ca.test:443:127.0.0.1:14000,::[::1]:").unwrap();
        assert_eq!(ways[0].target("ca.test", 443), Some(("127.0.0.1", 14000)));
        assert_eq!(ways[1].target("other.test", 80), Some(("::1", 80)));
    }
}
