//! Shared by the tests of chains: a worker's context for a CA, and short forms of results.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::transport::{Reply, Response, Transport};
use wec_acme::{Behaviour, Checker, Client, Clock, Config, Directory, Failure, Meta, Roots};
use wec_chains::{Chain, ChainResult, Context, Linger, Policy};
use wec_challenge_server::ChallengeServer;
use wec_record::{ChallengeType, FailureClass, Purpose, Verdict};
use wec_store::{ChallengeReader, MemoryChallenges, State, StateOptions};
use wec_testbed::{Pebble, PebbleOptions, Standard};

/// The longest that a test waits for one chain.
const BOUND: Duration = Duration::from_secs(180);

/// One worker of one CA, with all that it needs.
pub(crate) struct Worker {
    pub(crate) context: Context,
    pub(crate) challenges: Arc<MemoryChallenges>,
    pub(crate) rng: StdRng,
}

impl Worker {
    /// A worker with an empty state; `set` may change the client's configuration and the policy.
    pub(crate) async fn of(
        directory: &str,
        roots: Roots,
        challenges: Arc<MemoryChallenges>,
        set: impl FnOnce(&mut Config, &mut Policy),
    ) -> Self {
        let mut config = Config::new(directory.parse().unwrap());
        config.roots = roots;
        config.request_timeout = Duration::from_secs(60);
        let mut policy = Policy::under("wec.test");
        set(&mut config, &mut policy);
        assert_eq!(policy.mistakes(), Vec::<String>::new());
        let clock = Clock::start();
        let client = Client::discover(config, clock).await.unwrap();
        let state = State::open("sqlite::memory:", directory, StateOptions::default()).await.unwrap();
        let context = Context {
            client: Arc::new(client),
            state,
            challenges: challenges.clone(),
            linger: Linger::none(),
            checker: Arc::new(Checker::new()),
            policy: Arc::new(policy),
            clock,
            right: None,
        };
        Self { context, challenges, rng: StdRng::seed_from_u64(7) }
    }

    /// Changes the policy for the chains that follow.
    pub(crate) fn policy(&mut self, set: impl FnOnce(&mut Policy)) {
        let mut policy = Policy::clone(&self.context.policy);
        set(&mut policy);
        self.context.policy = Arc::new(policy);
    }

    /// Runs a chain that must have something to do.
    pub(crate) async fn run(&mut self, chain: Chain) -> ChainResult {
        self.run_until(chain, &CancellationToken::new()).await.expect("there is something to do")
    }

    /// Runs a chain that must succeed.
    pub(crate) async fn succeed(&mut self, chain: Chain) -> ChainResult {
        let result = self.run(chain).await;
        assert!(result.successful, "{chain}: {}\n{:#?}", result.error, result.requests);
        result
    }

    /// Runs a chain that must fail in this class.
    pub(crate) async fn fail(&mut self, chain: Chain, class: FailureClass) -> ChainResult {
        let result = self.run(chain).await;
        assert_eq!(result.class, Some(class), "{chain}: {}\n{:#?}", result.error, result.requests);
        assert!(!result.successful && !result.error.is_empty());
        result
    }

    /// Whether a chain has nothing to do.
    pub(crate) async fn has_nothing_to_do(&mut self, chain: Chain) -> bool {
        self.run_until(chain, &CancellationToken::new()).await.is_none()
    }

    pub(crate) async fn run_until(&mut self, chain: Chain, cut: &CancellationToken) -> Option<ChainResult> {
        let run = wec_chains::run(chain, &self.context, &mut self.rng, None, cut);
        let result = tokio::time::timeout(BOUND, run).await.expect("in time");
        assert!(self.challenges.is_empty(), "{chain} has left challenge data");
        if let Some(result) = &result {
            check(result);
        }
        result
    }
}

/// A worker with an empty state over this client.
pub(crate) async fn over_client(
    client: Arc<Client>,
    directory: &str,
    clock: Clock,
    set: impl FnOnce(&mut Policy),
) -> Worker {
    let challenges = Arc::new(MemoryChallenges::new());
    let mut policy = Policy::under("wec.test");
    set(&mut policy);
    let context = Context {
        client,
        state: State::open("sqlite::memory:", directory, StateOptions::default()).await.unwrap(),
        challenges: challenges.clone(),
        linger: Linger::none(),
        checker: Arc::new(Checker::new()),
        policy: Arc::new(policy),
        clock,
        right: None,
    };
    Worker { context, challenges, rng: StdRng::seed_from_u64(7) }
}

/// A context over a fake transport; its CA is at `https://ca.test/`.
pub(crate) async fn over(transport: impl Transport + 'static, clock: Clock, policy: Policy) -> Context {
    let url = |path: &str| format!("https://ca.test/{path}");
    let directory = Directory {
        new_nonce: url("nonce"),
        new_account: url("account"),
        new_order: url("order"),
        revoke_cert: url("revoke"),
        key_change: None,
        new_authz: None,
        renewal_info: None,
        meta: Meta::default(),
    };
    let bounds = wec_acme::Policy { poll_interval: Duration::from_millis(1), ..Default::default() };
    let client = Client::with_transport(directory, Box::new(transport), bounds, clock);
    let state = State::open("sqlite::memory:", &url("dir"), StateOptions::default()).await.unwrap();
    Context {
        client: Arc::new(client),
        state,
        challenges: Arc::new(MemoryChallenges::new()),
        linger: Linger::none(),
        checker: Arc::new(Checker::new()),
        policy: Arc::new(policy),
        clock,
        right: None,
    }
}

/// A reply of a fake transport.
pub(crate) fn reply(clock: Clock, result: Result<Response, Failure>) -> Reply {
    let now = clock.now();
    let bytes_received = result.as_ref().map_or(0, |response| response.body.len() as u64);
    Reply {
        sent: now,
        done: now,
        reused: true,
        way: wec_acme::Way::default(),
        bytes_sent: 100,
        bytes_received,
        result,
    }
}

/// A status with a nonce, a Location and a body.
pub(crate) fn response(status: u16, location: &'static str, body: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("replay-nonce", HeaderValue::from_static("bm9uY2U"));
    headers.insert("location", HeaderValue::from_static(location));
    Response { status, headers, body: bytes::Bytes::from_static(body.as_bytes()) }
}

/// Checks that hold for every result.
pub(crate) fn check(result: &ChainResult) {
    assert!(result.due <= result.started && result.started <= result.done, "{result:#?}");
    assert_eq!(result.took, result.done - result.due);
    for request in &result.requests {
        assert!(result.started <= request.due, "{request:#?}");
        assert!(request.due <= request.sent && request.sent <= request.done, "{request:#?}");
        assert!(request.done <= result.done, "{request:#?}");
        assert_eq!(request.successful, request.class.is_none(), "{request:#?}");
        assert_eq!(request.successful, request.error.is_empty(), "{request:#?}");
        assert!(request.uri.starts_with('/'), "{request:#?}");
    }
    for two in result.requests.windows(2) {
        assert!(two[0].done <= two[1].sent, "attempts overlap: {two:#?}");
    }
    let all = result.done - result.started;
    assert_eq!(result.spent().map(|spent| spent.sum()), Some(all));
    let named: u64 = result
        .requests
        .iter()
        .map(|request| request.service_time() + request.connecting_time())
        .chain([result.waited_asked, result.waited_poll, result.keygen])
        .sum();
    assert!(named <= all, "the parts are {named} ns, the chain {all} ns: {result:#?}");
    for authorization in &result.authorizations {
        let done = authorization.settled;
        assert!(done == 0 || authorization.answered <= done && done <= result.done, "{result:#?}");
    }
}

/// The steps of a chain: `newOrder 201`, `order 200`…, without nonces, retries and polls.
pub(crate) fn steps(result: &ChainResult) -> Vec<String> {
    result
        .requests
        .iter()
        .filter(|request| request.purpose == wec_record::Purpose::Step)
        .map(|request| format!("{} {}", request.endpoint, request.status))
        .collect()
}

/// A chain's requests that failed in one class.
pub(crate) fn requests_in(result: &ChainResult, class: FailureClass) -> usize {
    result.requests.iter().filter(|request| request.class == Some(class)).count()
}

/// A challenge server on free ports of loopback that reads the workers' data.
pub(crate) struct Answering {
    pub(crate) server: ChallengeServer,
    pub(crate) stop: CancellationToken,
}

impl Answering {
    pub(crate) async fn from(
        challenges: Arc<dyn ChallengeReader>,
        config: wec_challenge_server::Config,
    ) -> Self {
        let stop = CancellationToken::new();
        let server = ChallengeServer::start(config, challenges, stop.clone()).await.unwrap();
        Self { server, stop }
    }

    /// On the ports that standards prescribe, of an address that Caddy validates at.
    pub(crate) async fn on_standard_ports(standard: &Standard, challenges: Arc<dyn ChallengeReader>) -> Self {
        let config = wec_challenge_server::Config {
            http01: Some(standard.http01()),
            tls_alpn01: Some(standard.tlsalpn01()),
            dns: Some(standard.dns()),
            default_ipv4: Some(standard.address()),
            ..Default::default()
        };
        Self::from(challenges, config).await
    }

    /// On free loopback ports; every name resolves to loopback.
    pub(crate) async fn on_loopback(challenges: Arc<dyn ChallengeReader>) -> Self {
        let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = wec_challenge_server::Config {
            http01: any,
            tls_alpn01: any,
            dns: any,
            default_ipv4: Some(Ipv4Addr::LOCALHOST),
            ..Default::default()
        };
        Self::from(challenges, config).await
    }

    /// A Pebble that validates here.
    pub(crate) async fn pebble(&self, options: PebbleOptions) -> Pebble {
        let at = self.server.addresses();
        Pebble::start(PebbleOptions {
            http_port: at.http01.unwrap().port(),
            tls_port: at.tls_alpn01.unwrap().port(),
            dns: at.dns,
            ..options
        })
        .await
        .unwrap()
    }

    /// Validations of this type that were answered.
    pub(crate) fn answered(&self, challenge: ChallengeType) -> u64 {
        self.server.hits().counts().of(challenge, Verdict::Answered)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Orders with repeated names, by accounts of their own and of several sizes; clients of every behaviour; a chain of
/// one's own.
pub(crate) async fn every_shape_and_behaviour(worker: &mut Worker) {
    worker.policy(|policy| policy.choices.names = (2..=2).into());
    for chain in [Chain::Registration, Chain::Authorization, Chain::Certificate] {
        worker.succeed(chain).await;
    }
    worker.policy(|policy| policy.choices.plain.repeat_names = 1.0);
    for chain in [Chain::Authorization, Chain::Certificate] {
        worker.succeed(chain).await;
    }
    {
        let claims = [(); 2].map(|()| worker.context.state.claim_certificate().unwrap());
        // A CA may give them back in another order.
        let names = claims.each_ref().map(|claim| claim.names.iter().collect::<BTreeSet<_>>());
        assert_eq!(names[0], names[1]);
    }
    worker.policy(|policy| {
        policy.choices.plain.repeat_names = 0.0;
        policy.choices.plain.new_account = 1.0;
        policy.choices.names = "1:2,3:1".parse().unwrap();
    });
    let result = worker.succeed(Chain::Authorization).await;
    assert_eq!(steps(&result)[..2], ["newAccount 201", "newOrder 201"]);

    for behaviour in Behaviour::ALL {
        worker.policy(|policy| policy.choices.behaviours = vec![behaviour].into());
        let result = worker.run(Chain::Authorization).await;
        let polls = result.requests.iter().filter(|request| request.purpose == Purpose::Poll).count();
        // 200 polls may be over before the validation is.
        let over = behaviour == Behaviour::HastyPolls && polls >= 200;
        assert!(result.successful || over, "{behaviour}: {}", result.error);
        if result.successful && !result.abandoned {
            worker.succeed(Chain::Certificate).await;
        }
    }

    worker.policy(|policy| {
        policy.choices.behaviours = vec![Behaviour::Proper].into();
        let steps = "account, order, authorize, wait 10ms, finalize, download x3, revoke reason=4";
        policy.choices.steps = steps.parse().unwrap();
    });
    let result = worker.succeed(Chain::Composed).await;
    let steps = steps(&result);
    let of = |step: &str| steps.iter().filter(|it| *it == step).count();
    assert_eq!((of("newAccount 201"), of("certificate 200"), of("revokeCert 200")), (1, 4, 1), "{steps:?}");
}
