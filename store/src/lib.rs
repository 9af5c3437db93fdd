//! What the CA did and what the challenge server must answer: SQL, Redis, and their embedded twins.

mod backend;
pub mod challenge;
mod error;
mod state;

pub use challenge::{
    ChallTestSrvWriter, ChallengeData, ChallengeKind, ChallengeReader, ChallengeStoreError, ChallengeWriter,
    DnsApart, MemoryChallenges, RedisChallenges,
};
pub use error::StoreError;
pub use state::{
    Available, CertificateDetails, Claim, Claimable, Counts, Health, IssuerChain, Kind, Limits,
    NewCertificate, ReadyOrder, Registration, Reservation, State, StateOptions, StoredCertificate,
};
