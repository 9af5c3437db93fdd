//! The state store (SQLite, PostgreSQL) and the challenge store (memory, Redis, challtestsrv).

mod backend;
mod catalogue;
mod certificate;
pub mod challenge;
mod error;
mod leftovers;
mod state;
mod url;

pub use catalogue::{Catalogue, StoredCa};
pub use certificate::{CertificateDetails, IssuerChain};
pub use challenge::{
    ChallTestSrvWriter, ChallengeData, ChallengeReader, ChallengeStoreError, ChallengeWriter, DnsApart,
    MemoryChallenges, RedisChallenges, ValidationFault,
};
pub use error::StoreError;
pub use leftovers::{AccountLeft, CertificateLeft, Left, OrderLeft};
pub use state::{
    Available, Claim, Claimable, Counts, ExclusiveRegistration, Health, Limits, NewCertificate, ReadyOrder,
    Registration, Reservation, State, StateOptions, StoredCertificate,
};
pub use wec_record::Object;
pub use wec_startup::redacted;
