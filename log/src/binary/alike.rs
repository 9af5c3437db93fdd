//! `Alike`: which requests of a table differ only in their sizes. A run has hundreds of these, and about twenty others.

use wec_record::RequestResult;

/// Different requests that are compared with a new one.
const MAX_KINDS: usize = 64;

/// For each request of a table, the position of the first one that it is like.
#[derive(Clone, Debug, Default)]
pub(super) struct Alike {
    first: Vec<usize>,
    /// Those that are like none before them.
    kinds: Vec<usize>,
}

impl Alike {
    /// The last request of the table is new.
    pub(super) fn add(&mut self, table: &[RequestResult]) {
        let Some((new, before)) = table.split_last() else { return };
        // Those that an encoder has added are by themselves.
        self.first.extend(self.first.len()..before.len());
        let like = |kind: &&usize| before.get(**kind).is_some_and(|known| are_alike(known, new));
        let first = self.kinds.iter().find(like).copied().unwrap_or_else(|| {
            if self.kinds.len() < MAX_KINDS {
                self.kinds.push(before.len());
            }
            before.len()
        });
        self.first.push(first);
    }

    /// Whether the requests with these numbers, from 1, differ in their sizes alone.
    pub(super) fn are(&self, one: u64, other: u64) -> bool {
        let first = |number: u64| self.first.get(usize::try_from(number).ok()?.checked_sub(1)?);
        first(one).is_some_and(|it| first(other) == Some(it))
    }
}

fn are_alike(one: &RequestResult, other: &RequestResult) -> bool {
    let RequestResult {
        uri,
        took,
        successful,
        error,
        class,
        endpoint,
        method,
        purpose,
        status,
        problem,
        bytes_sent: _,
        bytes_received: _,
        due,
        sent,
        done,
        reused,
        address,
        nonce_age,
        phases,
        retry_after,
        reconnects,
        detail,
        request_id,
        traceparent,
    } = one;
    (uri, endpoint, method, problem, address, detail)
        == (&other.uri, &other.endpoint, &other.method, &other.problem, &other.address, &other.detail)
        && (successful, class, purpose, status, reused)
            == (&other.successful, &other.class, &other.purpose, &other.status, &other.reused)
        && (took, due, sent, done, nonce_age, phases)
            == (&other.took, &other.due, &other.sent, &other.done, &other.nonce_age, &other.phases)
        && (retry_after, reconnects) == (&other.retry_after, &other.reconnects)
        && (error, request_id, traceparent) == (&other.error, &other.request_id, &other.traceparent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_alike_if_only_their_sizes_differ() {
        let of = |uri: &'static str, bytes_sent: u64| RequestResult {
            uri: uri.into(),
            bytes_sent,
            bytes_received: 2 * bytes_sent,
            ..RequestResult::default()
        };
        let table = [of("/a", 1), of("/a", 2), of("/b", 1), of("/a", 3), of("/b", 3)];
        let mut alike = Alike::default();
        // The first one is of an encoder.
        (2..=table.len()).for_each(|length| alike.add(&table[..length]));
        assert!(alike.are(2, 4) && alike.are(3, 5) && alike.are(2, 2));
        for (one, other) in [(1, 2), (2, 3), (4, 5), (0, 0), (0, 2), (6, 6), (2, 6)] {
            assert!(!alike.are(one, other), "{one} {other}");
        }
    }
}
