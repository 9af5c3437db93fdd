//! Issued certificates.
//!
//! A certificate has two entries. Its body is kept only while it is among the newest. The data to revoke or
//! renew it (hash, serial number, status) is a tenth of the size and is kept longer.

use std::sync::atomic::AtomicU64;

use crate::clock::UnixTime;
use crate::ring::Ring;

pub(crate) struct Certificates {
    pub(crate) known: Ring<Certificate>,
    /// Leaves in DER.
    pub(crate) bodies: Ring<Box<[u8]>>,
    /// The last issued certificate, whose serial number a wrong one repeats.
    pub(crate) last: AtomicU64,
}

pub(crate) struct Certificate {
    pub(crate) account: u64,
    pub(crate) serial: [u8; 16],
    pub(crate) sha256: [u8; 32],
    pub(crate) body: u64,
    pub(crate) issued: UnixTime,
    pub(crate) revoked: bool,
    pub(crate) replaced_by: Option<u64>,
}

impl Certificates {
    pub(crate) fn new(known: usize, bodies: usize) -> Self {
        Self { known: Ring::new(known), bodies: Ring::new(bodies), last: AtomicU64::new(0) }
    }
}
