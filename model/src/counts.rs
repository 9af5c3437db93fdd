//! Numbers of requests, by step of time, kind of client and endpoint. Their size is bounded: when a log is longer
//! than its steps allow, the steps become longer.

use std::collections::{BTreeMap, HashMap, VecDeque};

use wec_acme::Endpoint;

use crate::client::{Client, NAMES};
use crate::formats::Request;
use crate::paths::Paths;
use crate::time::SECOND;

/// Endpoints.
pub(crate) const ENDPOINTS: usize = Endpoint::ALL.len();
/// Widths of steps in seconds, each a multiple of the one before.
const WIDTHS: [u64; 12] = [1, 2, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400, 604_800, 604_800 * 52];
/// Agents whose kinds are kept, so that a line needs no search.
const AGENTS: usize = 4_096;
/// Statuses by kind.
const STATUSES: usize = 5;
/// Examples of paths that belong to no endpoint.
const EXAMPLES: usize = 5;

/// Seconds whose orders are counted while the log moves on: lines may be that much out of order.
const RECENT: usize = 600;

/// By endpoint.
pub(crate) type Row = [u32; ENDPOINTS];

/// What a log contains.
#[derive(Clone, Debug)]
pub struct Counts {
    paths: Paths,
    /// The most steps.
    most: usize,
    /// An index into [`WIDTHS`].
    width: usize,
    /// The number of the first step since the Unix epoch.
    first: u64,
    /// By step, then by the order in which clients were seen.
    steps: VecDeque<Vec<Row>>,
    /// The clients, in the order in which they were seen.
    clients: Vec<Client>,
    agents: HashMap<Box<str>, Client>,
    /// By endpoint, then by kind of status.
    statuses: [[u64; STATUSES]; ENDPOINTS],
    /// Requests by client, also those that are not repeated.
    by_client: [u64; NAMES.len()],
    /// Nonces that the CA refused.
    bad_nonces: u64,
    /// New orders whose identifiers were logged, and identifiers.
    identifiers: (u64, u64),
    /// Requests for none of the endpoints, and the beginnings of their paths.
    elsewhere: (u64, Vec<String>),
    /// The begin of the first request and of the last, nanoseconds since the Unix epoch.
    span: Option<(u64, u64)>,
    /// New orders by second since the Unix epoch, of the latest seconds that had any.
    recent: BTreeMap<u64, u32>,
    /// The second with the most new orders, and how many.
    busiest: (u64, u32),
}

/// The kind of a request, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// 1xx, 2xx or 3xx, or none.
    Good,
    /// 429: a limit of the CA.
    Limited,
    /// Another 4xx: the client's fault, which a load tester does not repeat.
    Refused,
    /// 503: the CA is busy.
    Busy,
    /// Another 5xx: the CA's fault.
    Failed,
}

impl Status {
    pub(crate) const ALL: [(Self, &'static str); STATUSES] = [
        (Self::Good, "answered"),
        (Self::Limited, "429"),
        (Self::Refused, "other 4xx"),
        (Self::Busy, "503"),
        (Self::Failed, "other 5xx"),
    ];

    fn of(status: u16) -> Self {
        match status {
            429 => Self::Limited,
            503 => Self::Busy,
            400..500 => Self::Refused,
            500.. => Self::Failed,
            _ => Self::Good,
        }
    }
}

impl Counts {
    /// Nothing yet. There will be at most this many steps.
    pub fn new(paths: Paths, most: usize) -> Self {
        Self {
            paths,
            most: most.max(1),
            width: 0,
            first: 0,
            steps: VecDeque::new(),
            clients: Vec::new(),
            agents: HashMap::new(),
            statuses: [[0; STATUSES]; ENDPOINTS],
            by_client: [0; NAMES.len()],
            bad_nonces: 0,
            identifiers: (0, 0),
            elsewhere: (0, Vec::new()),
            span: None,
            recent: BTreeMap::new(),
            busiest: (0, 0),
        }
    }

    /// Counts a request.
    pub fn add(&mut self, request: &Request<'_>) {
        let Some(endpoint) = self.paths.endpoint(&request.method, &request.path) else {
            return self.add_elsewhere(&request.path);
        };
        let begin = request.begin;
        self.span =
            Some(self.span.map_or((begin, begin), |(first, last)| (first.min(begin), last.max(begin))));
        let client = self.client(&request.agent);
        let status = Status::of(request.status);
        self.statuses[endpoint as usize][status as usize] += 1;
        self.by_client[client.index()] += 1;
        self.bad_nonces += u64::from(request.bad_nonce);
        if endpoint == Endpoint::NewOrder
            && let Some(identifiers) = request.identifiers
        {
            self.identifiers.0 += 1;
            self.identifiers.1 += u64::from(identifiers);
        }
        if status == Status::Refused {
            return;
        }
        if endpoint == Endpoint::NewOrder {
            self.order(begin / SECOND);
        }
        let seen = self.clients.iter().position(|seen| *seen == client).unwrap_or_else(|| {
            self.clients.push(client);
            self.clients.len() - 1
        });
        let row = self.step(begin);
        if row.len() <= seen {
            row.resize(seen + 1, [0; ENDPOINTS]);
        }
        let count = &mut row[seen][endpoint as usize];
        *count = count.saturating_add(1);
    }

    /// Counts a new order of this second.
    fn order(&mut self, second: u64) {
        let count = self.recent.entry(second).or_default();
        *count = count.saturating_add(1);
        if *count > self.busiest.1 {
            self.busiest = (second, *count);
        }
        if self.recent.len() > RECENT {
            self.recent.pop_first();
        }
    }

    fn add_elsewhere(&mut self, path: &str) {
        self.elsewhere.0 += 1;
        // Two segments show what a mapping needs, and no id.
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let end = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at + 1);
        let example: String = path[..end].chars().take(60).collect();
        if self.elsewhere.1.len() < EXAMPLES && !self.elsewhere.1.contains(&example) {
            self.elsewhere.1.push(example);
        }
    }

    fn client(&mut self, agent: &str) -> Client {
        if let Some(client) = self.agents.get(agent) {
            return *client;
        }
        let client = Client::of(agent);
        if self.agents.len() < AGENTS {
            self.agents.insert(agent.into(), client);
        }
        client
    }

    /// The step of a time.
    fn step(&mut self, at: u64) -> &mut Vec<Row> {
        let seconds = at / SECOND;
        if self.steps.is_empty() {
            self.first = seconds / self.width();
            self.steps.push_back(Vec::new());
        }
        let place = loop {
            let number = seconds / self.width();
            let (first, last) = (self.first, self.first + self.steps.len() as u64 - 1);
            let needed = last.max(number) - first.min(number) + 1;
            if needed <= self.most as u64 || self.width + 1 == WIDTHS.len() {
                break number;
            }
            self.widen();
        };
        while place < self.first {
            self.steps.push_front(Vec::new());
            self.first -= 1;
        }
        let place =
            usize::try_from(place - self.first).expect("there are at most as many steps as are allowed");
        if place >= self.steps.len() {
            self.steps.resize(place + 1, Vec::new());
        }
        &mut self.steps[place]
    }

    /// Makes longer steps of those that there are.
    fn widen(&mut self) {
        let factor = WIDTHS[self.width + 1] / WIDTHS[self.width];
        self.width += 1;
        let steps = std::mem::take(&mut self.steps);
        for (number, rows) in (self.first..).zip(steps) {
            let place = (number / factor - self.first / factor) as usize;
            if place >= self.steps.len() {
                self.steps.push_back(rows);
                continue;
            }
            let sum = &mut self.steps[place];
            if sum.len() < rows.len() {
                sum.resize(rows.len(), [0; ENDPOINTS]);
            }
            for (sum, row) in sum.iter_mut().zip(rows) {
                sum.iter_mut().zip(row).for_each(|(sum, count)| *sum = sum.saturating_add(count));
            }
        }
        self.first /= factor;
    }

    /// The width of a step, seconds.
    pub(crate) fn width(&self) -> u64 {
        WIDTHS[self.width]
    }

    /// The begin of the first request and of the last, nanoseconds since the Unix epoch; none without requests.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.span
    }

    /// The second with the most new orders: when it began, nanoseconds since the Unix epoch, how many it had, and how
    /// many a second of its step has on average. None without new orders.
    pub(crate) fn busiest(&self) -> Option<(u64, u32, f64)> {
        let (second, most) = self.busiest;
        let step = usize::try_from((second / self.width()).checked_sub(self.first)?).ok()?;
        let orders = |row: &Row| u64::from(row[Endpoint::NewOrder as usize]);
        let of_step: u64 = self.steps.get(step)?.iter().map(orders).sum();
        (most > 0).then_some((second * SECOND, most, of_step as f64 / self.width() as f64))
    }

    /// By step: what these clients asked for.
    pub(crate) fn of(&self, clients: &[Client]) -> Vec<[u64; ENDPOINTS]> {
        let of_clients = |rows: &Vec<Row>| {
            let mut sum = [0; ENDPOINTS];
            let rows = self.clients.iter().zip(rows).filter(|(client, _)| clients.contains(client));
            rows.for_each(|(_, row)| {
                sum.iter_mut().zip(row).for_each(|(sum, count)| *sum += u64::from(*count))
            });
            sum
        };
        self.steps.iter().map(of_clients).collect()
    }

    /// The clients with their requests, the busiest first.
    pub(crate) fn clients(&self) -> Vec<(Client, u64)> {
        let counts = self.by_client.iter().enumerate().map(|(place, count)| (Client::at(place), *count));
        let mut clients: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        clients.sort_by_key(|(client, count)| (std::cmp::Reverse(*count), *client));
        clients
    }

    /// Answers of an endpoint with this status.
    pub(crate) fn answers(&self, endpoint: Endpoint, status: Status) -> u64 {
        self.statuses[endpoint as usize][status as usize]
    }

    /// All requests to an ACME server.
    pub fn requests(&self) -> u64 {
        self.by_client.iter().sum()
    }

    /// Requests to no endpoint, and the beginnings of some of their paths.
    pub fn elsewhere(&self) -> (u64, &[String]) {
        (self.elsewhere.0, &self.elsewhere.1)
    }

    /// Requests whose nonce was refused, as far as the log shows them.
    pub(crate) fn bad_nonces(&self) -> u64 {
        self.bad_nonces
    }

    /// Identifiers of an order, the mean; none if they are not in the log.
    pub(crate) fn identifiers(&self) -> Option<f64> {
        let (orders, identifiers) = self.identifiers;
        (orders > 0).then(|| identifiers as f64 / orders as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(second: u64, path: &str, status: u16, agent: &str) -> Request<'static> {
        Request {
            begin: second * SECOND + 7,
            method: "POST".into(),
            path: path.to_owned().into(),
            status,
            agent: agent.to_owned().into(),
            bad_nonce: false,
            identifiers: None,
        }
    }

    fn counted(most: usize, seconds: &[u64]) -> Counts {
        let mut counts = Counts::new(Paths::default(), most);
        seconds.iter().for_each(|second| counts.add(&request(*second, "/new-order", 201, "certbot/1")));
        counts
    }

    fn orders(counts: &Counts) -> (u64, u64, Vec<u64>) {
        let all: Vec<_> = counts.clients().into_iter().map(|(client, _)| client).collect();
        let orders = counts.of(&all).iter().map(|row| row[Endpoint::NewOrder as usize]).collect();
        (counts.first * counts.width(), counts.width(), orders)
    }

    #[test]
    fn steps_become_longer_as_the_log_does() {
        for (most, seconds, wanted) in [
            (10, &[1_000, 1_000, 1_002][..], (1_000, 1, vec![2, 0, 1])),
            // A line may be older than the one before.
            (10, &[1_002, 1_000], (1_000, 1, vec![1, 0, 1])),
            (2, &[1_001, 1_002, 1_003], (1_000, 2, vec![1, 2])),
            (2, &[1_003, 1_000], (1_000, 2, vec![1, 1])),
            (3, &[1_000, 1_001, 1_019, 1_020, 1_029], (1_000, 10, vec![2, 1, 2])),
            (1, &[1_000, 90_000], (0, 604_800, vec![2])),
        ] {
            assert_eq!(orders(&counted(most, seconds)), wanted, "{most} {seconds:?}");
        }
    }

    #[test]
    fn the_busiest_second_is_known_whatever_the_steps() {
        let mut seconds: Vec<_> = (600..660).collect();
        seconds.extend([630; 29]);
        assert_eq!(counted(1_000, &seconds).busiest(), Some((630 * SECOND, 30, 30.0)));
        // Its minute has 89 orders.
        let (begin, most, of_step) = counted(3, &[&seconds[..], &[700]].concat()).busiest().unwrap();
        assert_eq!((begin, most), (630 * SECOND, 30));
        assert!((of_step - 89.0 / 60.0).abs() < 1e-9, "{of_step}");
        assert_eq!(Counts::new(Paths::default(), 10).busiest(), None);
    }

    #[test]
    fn clients_are_apart_and_refusals_are_not_repeated() {
        let mut counts = Counts::new(Paths::default(), 10);
        for (second, status, agent) in [
            (5, 201, "certbot/1"),
            (5, 201, "acme.sh/3"),
            (6, 403, "certbot/1"),
            (6, 429, "x"),
            (7, 503, "x"),
        ] {
            counts.add(&request(second, "/new-order", status, agent));
        }
        counts.add(&request(7, "/shop/item/12345", 200, "x"));
        counts.add(&request(7, "/shop/item/67890", 200, "x"));
        let by_client: Vec<_> =
            counts.clients().iter().map(|(client, count)| (client.name(), *count)).collect();
        assert_eq!(by_client, [("certbot", 2), ("other", 2), ("acme-sh", 1)]);
        let of = |agent| {
            counts.of(&[Client::of(agent)]).iter().map(|row| row[Endpoint::NewOrder as usize]).sum::<u64>()
        };
        assert_eq!((of("certbot/1"), of("acme.sh/3"), of("x")), (1, 1, 2));
        let answers = Status::ALL.map(|(status, _)| counts.answers(Endpoint::NewOrder, status));
        assert_eq!(answers, [2, 1, 1, 1, 0]);
        assert_eq!(counts.requests(), 5);
        assert_eq!(counts.elsewhere(), (2, &["/shop/item/".to_owned()][..]));
    }
}
