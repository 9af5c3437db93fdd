//! `Alike`: which requests of a table differ only in their sizes. A run has hundreds of these, and about twenty others.

use wec_record::RequestResult;

/// Different requests that are compared with a new one.
const MAX_KINDS: usize = 64;

/// For each request of a table, which one it is like. It is much smaller than the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Alike {
    requests: Vec<Like>,
    /// Those that are like none before them.
    kinds: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Like {
    /// The position of the first one that it is like.
    first: usize,
    /// Bytes sent and received.
    sizes: [u64; 2],
}

impl Like {
    const fn new(request: &RequestResult, first: usize) -> Self {
        Self { first, sizes: [request.bytes_sent, request.bytes_received] }
    }
}

impl Alike {
    /// The last request of the table is new.
    pub(super) fn add(&mut self, table: &[RequestResult]) {
        let Some((new, before)) = table.split_last() else { return };
        // Those that an encoder has added are by themselves.
        let missing = before.iter().enumerate().skip(self.requests.len());
        self.requests.extend(missing.map(|(place, request)| Like::new(request, place)));
        let like = |kind: &&usize| before.get(**kind).is_some_and(|known| are_alike(known, new));
        let first = self.kinds.iter().find(like).copied().unwrap_or_else(|| {
            if self.kinds.len() < MAX_KINDS {
                self.kinds.push(before.len());
            }
            before.len()
        });
        self.requests.push(Like::new(new, first));
    }

    /// The bytes that the second one of the requests with these numbers, from 1, has sent and received, if they differ in
    /// that alone.
    pub(super) fn sizes_if_alike(&self, one: u64, other: u64) -> Option<[u64; 2]> {
        let of = |number: u64| self.requests.get(usize::try_from(number).ok()?.checked_sub(1)?);
        let (one, other) = (of(one)?, of(other)?);
        (one.first == other.first).then_some(other.sizes)
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
        document,
    } = one;
    (uri, endpoint, method, problem, address, detail)
        == (&other.uri, &other.endpoint, &other.method, &other.problem, &other.address, &other.detail)
        && (successful, class, purpose, status, reused)
            == (&other.successful, &other.class, &other.purpose, &other.status, &other.reused)
        && (took, due, sent, done, nonce_age, phases)
            == (&other.took, &other.due, &other.sent, &other.done, &other.nonce_age, &other.phases)
        && (retry_after, reconnects) == (&other.retry_after, &other.reconnects)
        && (error, request_id, traceparent, document)
            == (&other.error, &other.request_id, &other.traceparent, &other.document)
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
        for (one, other, sent) in [(2, 4, 3), (3, 5, 3), (5, 3, 1), (2, 2, 2)] {
            assert_eq!(alike.sizes_if_alike(one, other), Some([sent, 2 * sent]), "{one} {other}");
        }
        for (one, other) in [(1, 2), (2, 3), (4, 5), (0, 0), (0, 2), (6, 6), (2, 6)] {
            assert_eq!(alike.sizes_if_alike(one, other), None, "{one} {other}");
        }
    }
}
