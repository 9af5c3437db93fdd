//! Real servers for tests: started on free loopback ports, waited for, and ended when dropped.
//!
//! A server that is not installed is an error naming its Debian package, never a skipped test.
//!
//! One file a server; [`process`] has what they share. Nothing here depends on the crates under test.

pub mod caddy;
pub mod etcd;
pub mod influx;
pub mod locust;
pub mod nginx;
pub mod notices;
pub mod pebble;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod redis;
pub mod rotel;

pub use caddy::{Caddy, Standard};
pub use influx::InfluxDb;
pub use locust::locust;
pub use nginx::{Nginx, NginxOptions};
pub use notices::Notices;
pub use pebble::{ChallTestSrv, Pebble, PebbleOptions};
pub use ports::{free_address, free_port, on_free_ports};
pub use postgres::Postgres;
pub use process::{Process, Program};
pub use prometheus::{NodeExporter, Prometheus};
pub use python::python;
pub use redis::Redis;
pub use rotel::Rotel;

/// Where a server's state is in memory if the machine has such a folder: a disk that others keep busy would delay the
/// server, and cost an etcd its leader.
pub fn memory_folder() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
