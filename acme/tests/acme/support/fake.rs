//! A transport that answers from a script and records the requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use wec_acme::transport::{BoxFuture, Places, Reply, Request, Response, Transport};
use wec_acme::{Account, AccountKey, Client, Clock, Directory, Failure, FailureClass, Policy};

/// One scripted answer. It has a nonce by default.
#[derive(Clone)]
pub(crate) struct Answer {
    response: Result<Response, Failure>,
}

pub(crate) fn answer(status: u16, body: &str) -> Answer {
    let response = Response { status, headers: HeaderMap::new(), body: body.to_owned().into() };
    Answer { response: Ok(response) }.with("replay-nonce", &format!("nonce-{status}"))
}

pub(crate) fn broken_connection() -> Answer {
    Answer { response: Err(Failure::new(FailureClass::Reset, "connection closed")) }
}

impl Answer {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        let headers = &mut self.response.as_mut().unwrap().headers;
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.response.as_mut().unwrap().headers.remove(name);
        self
    }

    /// With this nonce instead of the default.
    pub(crate) fn nonce(self, nonce: &str) -> Self {
        self.without("replay-nonce").with("replay-nonce", nonce)
    }
}

/// The requests, in order.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<Request>>>);

impl Asked {
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap().clone()
    }

    /// This member of the protected header of each signed request.
    pub(crate) fn protected(&self, member: &str) -> Vec<String> {
        use base64::Engine as _;
        self.requests()
            .iter()
            .filter(|request| !request.body.is_empty())
            .map(|request| {
                let envelope: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                let protected = envelope["protected"].as_str().unwrap();
                let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(protected).unwrap();
                let header: serde_json::Value = serde_json::from_slice(&json).unwrap();
                header[member].as_str().unwrap_or_default().to_owned()
            })
            .collect()
    }
}

struct Fake {
    script: Mutex<VecDeque<Answer>>,
    asked: Asked,
    clock: Clock,
    places: Option<Arc<Places>>,
}

impl Transport for Fake {
    fn places(&self) -> Option<&Places> {
        self.places.as_deref()
    }

    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let sent = self.clock.now();
        self.asked.0.lock().unwrap().push(request.clone());
        let next = self.script.lock().unwrap().pop_front();
        let Answer { response } =
            next.unwrap_or_else(|| panic!("the script has no answer for {} {}", request.method, request.url));
        Box::pin(async move {
            tokio::task::yield_now().await;
            Reply {
                sent,
                done: self.clock.now(),
                reused: true,
                way: wec_acme::Way::default(),
                bytes_sent: request.body.len() as u64,
                bytes_received: response.as_ref().map_or(0, |response| response.body.len() as u64),
                result: response,
            }
        })
    }
}

/// A client with a scripted server, and an account that needs no request.
pub(crate) struct ScriptedClient {
    pub(crate) client: Client,
    pub(crate) asked: Asked,
    pub(crate) clock: Clock,
    pub(crate) account: Account,
}

impl ScriptedClient {
    pub(crate) fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        Self::with_policy(Policy::default(), script)
    }

    pub(crate) fn with_policy(policy: Policy, script: impl IntoIterator<Item = Answer>) -> Self {
        Self::over(policy, None, script)
    }

    /// A client whose requests wait for a place (a connection).
    pub(crate) fn with_places(places: &Arc<Places>, script: impl IntoIterator<Item = Answer>) -> Self {
        Self::over(Policy::default(), Some(Arc::clone(places)), script)
    }

    fn over(policy: Policy, places: Option<Arc<Places>>, script: impl IntoIterator<Item = Answer>) -> Self {
        let clock = Clock::start();
        let asked = Asked::default();
        let script = Mutex::new(script.into_iter().collect());
        let fake = Fake { script, asked: asked.clone(), clock, places };
        let directory: Directory = serde_json::from_str(
            r#"{"newNonce":"https://ca.test/new-nonce","newAccount":"https://ca.test/new-account",
                "newOrder":"https://ca.test/new-order","revokeCert":"https://ca.test/revoke",
                "renewalInfo":"https://ca.test/ari/"}"#,
        )
        .unwrap();
        let client = Client::with_transport(directory, Box::new(fake), policy, clock);
        let key = AccountKey::generate().unwrap();
        let account = Account { url: "https://ca.test/acct/1".into(), key };
        Self { client, asked, clock, account }
    }
}
