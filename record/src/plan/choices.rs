//! Settings of a plan that have a closed set of values.
//!
//! A value that this version does not know is kept as text, so that a plan of a later version is read and
//! written without loss. A plan that lacks the setting, as plans of earlier versions do, has an empty text.

use crate::open_set::open_set;

open_set! {
    /// The HTTP version for the CA.
    HttpVersion, "PlanHttpVersion" {
        /// HTTP/1.1.
        Http1 = "1.1",
        /// HTTP/2.
        Http2 = "2",
    }
}

open_set! {
    /// How connections to the CA are shared.
    Connections, "PlanConnections" {
        /// All workers use the same connections.
        Shared = "shared",
        /// Each worker has its own.
        PerWorker = "per-worker",
        /// Each chain begins with a new connection.
        PerChain = "per-chain",
    }
}

open_set! {
    /// The step before which chains end.
    StopBefore, "PlanStopBefore" {
        /// No order is finalized.
        Finalize = "finalize",
    }
}

open_set! {
    /// What workers do after a failure of the CA or the network.
    OnFailure, "PlanOnFailure" {
        /// They wait longer after each failure.
        BackOff = "back-off",
        /// They continue at once.
        Hammer = "hammer",
    }
}

/// A plan without the setting.
macro_rules! none_by_default {
    ($($set:ident),+) => {
        $(impl Default for $set {
            fn default() -> Self {
                Self::Other(String::new())
            }
        })+
    };
}

none_by_default!(HttpVersion, Connections, StopBefore, OnFailure);

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[test]
    fn every_text_is_written_as_it_was_read() {
        fn read<T: Serialize + for<'de> Deserialize<'de>>(text: &str) -> T {
            let read: T = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), text);
            read
        }
        assert_eq!(["1.1", "2"].map(read::<HttpVersion>), [HttpVersion::Http1, HttpVersion::Http2]);
        assert_eq!(
            ["shared", "per-worker", "per-chain"].map(read::<Connections>),
            [Connections::Shared, Connections::PerWorker, Connections::PerChain]
        );
        assert_eq!(read::<StopBefore>("finalize"), StopBefore::Finalize);
        assert_eq!(["back-off", "hammer"].map(read::<OnFailure>), [OnFailure::BackOff, OnFailure::Hammer]);
        for text in ["", "3", "Shared"] {
            assert_eq!(read::<HttpVersion>(text), HttpVersion::Other(text.to_owned()));
            assert_eq!(read::<Connections>(text), Connections::Other(text.to_owned()));
            assert_eq!(read::<StopBefore>(text), StopBefore::Other(text.to_owned()));
            assert_eq!(read::<OnFailure>(text), OnFailure::Other(text.to_owned()));
        }
    }
}
