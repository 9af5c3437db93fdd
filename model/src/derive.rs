//! The chains that would make the requests of a log: a pure computation on counts by step of time.
//!
//! A log has requests, not chains. Each endpoint that begins a chain gives its starts; an endpoint that several chains
//! request is shared between them, so that together they request it as often as the log:
//!
//! | chain | starts |
//! | --- | --- |
//! | registration | newAccount |
//! | refresh | renewalInfo, as long as that is at most half of the orders |
//! | renewal-info | the rest of renewalInfo |
//! | pre-authorization | newAuthz, by the names of an order |
//! | authorization | the rest of newOrder |
//! | certificate | finalize without those of refresh |
//! | download | certificate without finalize |
//! | revoke | revokeCert |
//! | key-rollover | keyChange |
//! | orders-list | orders |
//! | account-update | account without those of orders-list |

use wec_acme::Endpoint;
use wec_record::Chain;

use crate::Counts;
use crate::client::Client;
use crate::counts::ENDPOINTS;

/// The largest share of orders that are taken as renewals. Their requests are the same as those of other orders, and
/// a load of renewals alone would make no certificates to renew.
const RENEWALS: f64 = 0.5;
/// A smaller share of anything is not worth a scenario.
const NOTEWORTHY: f64 = 0.005;
/// Requests for the directory by order, above which a client is one that begins anew for each certificate.
const STRANGERS: f64 = 0.5;

/// When one chain of one kind of clients starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Starts {
    /// The name of the clients; empty if they are all in one.
    pub client: &'static str,
    /// The chain.
    pub chain: Chain,
    /// Names in an order; 0 for chains that make none.
    pub names: u32,
    /// Share of the chains that are abandoned.
    pub abandon: f64,
    /// Whether each chain has a connection of its own, and reads the directory.
    pub strangers: bool,
    /// By step.
    pub counts: Vec<u64>,
}

impl Starts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The chains of these clients, without those that never start.
pub(crate) fn starts(counts: &Counts, client: &'static str, clients: &[Client]) -> Vec<Starts> {
    of_rows(&counts.of(clients), client)
}

fn of_rows(rows: &[[u64; ENDPOINTS]], client: &'static str) -> Vec<Starts> {
    let of = |endpoint: Endpoint| -> Vec<u64> { rows.iter().map(|row| row[endpoint as usize]).collect() };
    let total = |endpoint: Endpoint| of(endpoint).iter().sum::<u64>() as f64;
    let orders = of(Endpoint::NewOrder);
    let ordered = total(Endpoint::NewOrder);
    let finalized = total(Endpoint::Finalize);
    let names = if ordered > 0.0 { total(Endpoint::Challenge) / ordered } else { 1.0 };

    let most = ordered.min(finalized) * RENEWALS;
    let asked = total(Endpoint::RenewalInfo);
    let refresh = scaled(&of(Endpoint::RenewalInfo), if asked > most { most / asked } else { 1.0 });
    let renewal_info = without(&of(Endpoint::RenewalInfo), &refresh);
    let pre_authorization = scaled(&of(Endpoint::NewAuthz), 1.0 / names.max(1.0));
    let authorization = without(&without(&orders, &refresh), &pre_authorization);
    let certificate = without(&of(Endpoint::Finalize), &refresh);
    let download = without(&of(Endpoint::Certificate), &of(Endpoint::Finalize));
    let orders_list = of(Endpoint::Orders);
    let account_update = without(&of(Endpoint::Account), &orders_list);

    // An order without a challenge and without a certificate was given up at its begin.
    let left = (1.0 - names).min(1.0 - finalized / ordered.max(1.0)).max(0.0);
    let left = left * ordered / (authorization.iter().sum::<u64>() as f64).max(1.0);
    let abandon = if ordered > 0.0 && left >= NOTEWORTHY { left.min(1.0) } else { 0.0 };
    let few = (names.floor() as u32).clamp(1, 99);
    let validated: Vec<f64> = rows.iter().map(|row| row[Endpoint::Challenge as usize] as f64).collect();
    let more = if names - f64::from(few) >= NOTEWORTHY {
        with_one_more(&authorization, &orders, &validated, f64::from(few))
    } else {
        vec![0; rows.len()]
    };
    let rest = authorization.iter().zip(&more).map(|(all, more)| all - more).collect();

    let strangers = ordered > 0.0 && total(Endpoint::Directory) / ordered >= STRANGERS;
    let made = |chain, names, counts| {
        let begins =
            matches!(chain, Chain::Registration | Chain::Authorization | Chain::Refresh | Chain::Revoke);
        let abandon = if chain == Chain::Authorization { abandon } else { 0.0 };
        Starts { client, chain, names, abandon, strangers: strangers && begins, counts }
    };
    let all = [
        made(Chain::Registration, 0, of(Endpoint::NewAccount)),
        made(Chain::Authorization, few, rest),
        made(Chain::Authorization, few + 1, more),
        made(Chain::Certificate, 0, certificate),
        made(Chain::Refresh, 0, refresh),
        made(Chain::Revoke, 0, of(Endpoint::RevokeCert)),
        made(Chain::KeyRollover, 0, of(Endpoint::KeyChange)),
        made(Chain::AccountUpdate, 0, account_update),
        made(Chain::OrdersList, 0, orders_list),
        made(Chain::PreAuthorization, few, pre_authorization),
        made(Chain::RenewalInfo, 0, renewal_info),
        made(Chain::Download, 0, download),
    ];
    all.into_iter().filter(|starts| starts.total() > 0).collect()
}

/// Each number times `by`; rounding is carried on, so that every sum from the start is right.
pub(crate) fn scaled(counts: &[u64], by: f64) -> Vec<u64> {
    let (mut sum, mut given) = (0, 0);
    let scale = |count: &u64| {
        sum += count;
        let due = (sum as f64 * by).round() as u64;
        let now = due - given;
        given = due;
        now
    };
    counts.iter().map(scale).collect()
}

/// What is left of `counts` without `taken`. What a step has not enough of is taken from the next ones: a chain's later
/// requests may be in a later step than its first.
fn without(counts: &[u64], taken: &[u64]) -> Vec<u64> {
    let mut owed = 0;
    let rest = |(count, taken): (&u64, &u64)| {
        owed += taken;
        let paid = owed.min(*count);
        owed -= paid;
        count - paid
    };
    counts.iter().zip(taken).map(rest).collect()
}

/// The starts that have one name more than `few`, so that the challenges are as many as in the log.
fn with_one_more(starts: &[u64], orders: &[u64], validated: &[f64], few: f64) -> Vec<u64> {
    let mut missing = 0.0;
    let more = |((starts, orders), validated): ((&u64, &u64), &f64)| {
        // Other chains make the rest of the orders and of the challenges.
        let part = if *orders > 0 { *starts as f64 / *orders as f64 } else { 1.0 };
        missing += validated * part - few * *starts as f64;
        let now = (missing.round().max(0.0) as u64).min(*starts);
        missing -= now as f64;
        now
    };
    let mut more: Vec<u64> = starts.iter().zip(orders).zip(validated).map(more).collect();
    // Challenges of the last orders, which were answered after them.
    let mut missing = missing.round().max(0.0) as u64;
    for (more, starts) in more.iter_mut().zip(starts).rev() {
        let now = missing.min(starts - *more);
        *more += now;
        missing -= now;
    }
    more
}

/// Objects that must exist before the load, so that no chain finds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Accounts.
    pub accounts: u64,
    /// Ready orders.
    pub orders: u64,
    /// Certificates, each made from one more order.
    pub certificates: u64,
}

/// Accounts by order, and their bounds.
const ACCOUNTS: (u64, u64, u64) = (100, 10, 1_000);

impl Stock {
    /// What these starts need, if an object can be used `lag` steps after the start of the chain that makes it.
    pub(crate) fn of(all: &[Starts], lag: usize) -> Self {
        let sum = |chains: &[Chain], abandons: bool| -> Vec<f64> {
            let steps = all.first().map_or(0, |starts| starts.counts.len());
            let mut sum = vec![0.0; steps];
            for starts in all.iter().filter(|starts| chains.contains(&starts.chain)) {
                let kept = if abandons { 1.0 - starts.abandon } else { 1.0 };
                sum.iter_mut().zip(&starts.counts).for_each(|(sum, count)| *sum += *count as f64 * kept);
            }
            sum
        };
        let orders = sum(&[Chain::Authorization, Chain::PreAuthorization], true);
        let certificates = sum(&[Chain::Certificate], false);
        let borrowed = [Chain::Refresh, Chain::Revoke, Chain::RenewalInfo, Chain::Download];
        let borrows = sum(&borrowed, false);
        let used = sum(&[Chain::Revoke], false);
        let needs_accounts = all.iter().any(|starts| starts.chain != Chain::Registration);
        let (share, least, most) = ACCOUNTS;
        let made = orders.iter().sum::<f64>() as u64;
        let certificates_needed = shortest(&used, &certificates, lag) + peak(&borrows, lag);
        Self {
            accounts: if needs_accounts { (made / share).clamp(least, most) } else { 0 },
            orders: shortest(&certificates, &orders, lag),
            certificates: certificates_needed,
        }
    }
}

/// The most that was used and not made `lag` steps before.
fn shortest(used: &[f64], made: &[f64], lag: usize) -> u64 {
    let (mut balance, mut worst) = (0.0f64, 0.0f64);
    for (step, used) in used.iter().enumerate() {
        balance += step.checked_sub(lag).map_or(0.0, |before| made[before]) - used;
        worst = worst.min(balance);
    }
    (-worst).ceil() as u64
}

/// The largest sum of `lag` steps, and one for the one that begins.
fn peak(counts: &[f64], lag: usize) -> u64 {
    let windows = counts.windows(lag.clamp(1, counts.len().max(1)));
    windows.map(|window| window.iter().sum::<f64>()).fold(0.0, f64::max).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(counts: &[(Endpoint, &[u64])]) -> Vec<[u64; ENDPOINTS]> {
        let steps = counts.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0);
        let mut rows = vec![[0; ENDPOINTS]; steps];
        for (endpoint, counts) in counts {
            rows.iter_mut().zip(*counts).for_each(|(row, count)| row[*endpoint as usize] = *count);
        }
        rows
    }

    fn derived(counts: &[(Endpoint, &[u64])]) -> Vec<(String, Vec<u64>)> {
        let name = |starts: &Starts| match starts.names {
            0 => starts.chain.to_string(),
            names => format!("{} {names}", starts.chain),
        };
        of_rows(&rows(counts), "").into_iter().map(|starts| (name(&starts), starts.counts)).collect()
    }

    #[test]
    fn the_chains_of_the_documented_table() {
        use Endpoint::{
            Account, Certificate, Challenge, Finalize, KeyChange, NewAccount, NewAuthz, NewOrder, Orders,
            RenewalInfo, RevokeCert,
        };
        /// Requests or chains, each with their number in each step.
        type Counted<'a, T> = &'a [(T, &'a [u64])];
        let cases: [(Counted<'_, Endpoint>, Counted<'_, &str>); 8] = [
            (
                &[(NewAccount, &[3, 0, 2]), (RevokeCert, &[0, 1, 0])],
                &[("registration", &[3, 0, 2]), ("revoke", &[0, 1, 0])],
            ),
            // An order in ten renews.
            (
                &[
                    (NewOrder, &[10, 10]),
                    (Challenge, &[10, 10]),
                    (Finalize, &[9, 11]),
                    (Certificate, &[9, 11]),
                    (RenewalInfo, &[1, 1]),
                ],
                &[("authorization 1", &[9, 9]), ("certificate", &[8, 10]), ("refresh", &[1, 1])],
            ),
            // Clients ask far more often than they renew.
            (
                &[(NewOrder, &[4, 4]), (Challenge, &[4, 4]), (Finalize, &[4, 4]), (RenewalInfo, &[40, 40])],
                &[
                    ("authorization 1", &[2, 2]),
                    ("certificate", &[2, 2]),
                    ("refresh", &[2, 2]),
                    ("renewal-info", &[38, 38]),
                ],
            ),
            // Renewals that are finalized in the next step.
            (
                &[(NewOrder, &[4, 4]), (Challenge, &[4, 4]), (Finalize, &[1, 7]), (RenewalInfo, &[2, 2])],
                &[("authorization 1", &[2, 2]), ("certificate", &[0, 4]), ("refresh", &[2, 2])],
            ),
            // Orders with one name and with two.
            (
                &[(NewOrder, &[10, 10]), (Challenge, &[12, 16]), (Finalize, &[10, 10])],
                &[("authorization 1", &[8, 4]), ("authorization 2", &[2, 6]), ("certificate", &[10, 10])],
            ),
            // They were validated when no more orders came.
            (
                &[(NewOrder, &[10, 10, 0]), (Challenge, &[0, 10, 16]), (Finalize, &[10, 10, 0])],
                &[
                    ("authorization 1", &[10, 4, 0]),
                    ("authorization 2", &[0, 6, 0]),
                    ("certificate", &[10, 10, 0]),
                ],
            ),
            (
                &[(NewAuthz, &[4]), (NewOrder, &[2]), (Challenge, &[4]), (Certificate, &[3])],
                &[("pre-authorization 2", &[2]), ("download", &[3])],
            ),
            (
                &[(KeyChange, &[1]), (Account, &[5]), (Orders, &[2])],
                &[("key-rollover", &[1]), ("account-update", &[3]), ("orders-list", &[2])],
            ),
        ];
        for (counts, wanted) in cases {
            let wanted: Vec<_> =
                wanted.iter().map(|(name, counts)| ((*name).to_owned(), counts.to_vec())).collect();
            assert_eq!(derived(counts), wanted, "{counts:?}");
        }
    }

    #[test]
    fn orders_that_were_given_up_are_abandoned() {
        let given_up = rows(&[
            (Endpoint::NewOrder, &[100]),
            (Endpoint::Challenge, &[80]),
            (Endpoint::Finalize, &[75]),
            (Endpoint::RenewalInfo, &[20]),
        ]);
        let all = of_rows(&given_up, "lego");
        let authorization = all.iter().find(|starts| starts.chain == Chain::Authorization).unwrap();
        // 20 of the 100 orders, all of them among the 80 that do not renew.
        assert!(
            (authorization.abandon - 0.25).abs() < 1e-9 && authorization.client == "lego",
            "{authorization:?}"
        );
        assert!(all.iter().all(|starts| starts.chain == Chain::Authorization || starts.abandon == 0.0));
        // A CA that reuses authorizations has few challenges and as many certificates as orders.
        let reuses =
            rows(&[(Endpoint::NewOrder, &[100]), (Endpoint::Challenge, &[20]), (Endpoint::Finalize, &[100])]);
        assert!(of_rows(&reuses, "").iter().all(|starts| starts.abandon == 0.0));
    }

    #[test]
    fn clients_that_begin_anew_read_the_directory() {
        let strangers = |directories| {
            let rows = rows(&[
                (Endpoint::Directory, &[directories]),
                (Endpoint::NewOrder, &[10]),
                (Endpoint::Challenge, &[10]),
                (Endpoint::Finalize, &[10]),
            ]);
            of_rows(&rows, "").into_iter().map(|starts| (starts.chain, starts.strangers)).collect::<Vec<_>>()
        };
        assert_eq!(strangers(1), [(Chain::Authorization, false), (Chain::Certificate, false)]);
        assert_eq!(strangers(9), [(Chain::Authorization, true), (Chain::Certificate, false)]);
    }

    #[test]
    fn sums_of_scaled_numbers_are_right_from_the_start() {
        assert_eq!(scaled(&[1, 1, 1, 1], 0.5), [1, 0, 1, 0]);
        assert_eq!(scaled(&[3, 0, 5], 2.0), [6, 0, 10]);
        assert_eq!(scaled(&[7, 7, 7], 1.0 / 3.0), [2, 3, 2]);
        assert_eq!(scaled(&[], 2.0), [0; 0]);
    }

    #[test]
    fn stock_bridges_the_time_until_chains_have_made_what_others_use() {
        let starts = |chain, counts: &[u64]| Starts {
            client: "",
            chain,
            names: 0,
            abandon: 0.0,
            strangers: false,
            counts: counts.to_vec(),
        };
        let steady = [starts(Chain::Authorization, &[5, 5, 5]), starts(Chain::Certificate, &[5, 5, 5])];
        let needs = |all: &[Starts], lag| {
            let Stock { accounts, orders, certificates } = Stock::of(all, lag);
            (accounts, orders, certificates)
        };
        assert_eq!(needs(&steady, 1), (10, 5, 0));
        assert_eq!(needs(&steady, 2), (10, 10, 0));
        assert_eq!(needs(&[starts(Chain::Registration, &[9])], 1), (0, 0, 0));
        let renews = [
            steady[0].clone(),
            steady[1].clone(),
            starts(Chain::Refresh, &[1, 4, 2]),
            starts(Chain::Revoke, &[1, 0, 0]),
        ];
        // One is revoked before any is made; at most six are in use within two steps.
        assert_eq!(needs(&renews, 2), (10, 10, 7));
        let many = [starts(Chain::Authorization, &[1_000_000])];
        assert_eq!(needs(&many, 1), (1_000, 0, 0));
    }
}
