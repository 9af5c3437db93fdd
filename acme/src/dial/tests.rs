use std::collections::VecDeque;

use tokio::net::TcpListener;

use super::*;
use crate::gate::{OpenGate, Refusal};
use crate::held::HeldTime;

const BOUND: Duration = Duration::from_secs(60);

/// Answers a name's look-ups one after the other; the last answer is repeated.
#[derive(Debug, Default)]
struct Answers(Mutex<VecDeque<Vec<SocketAddr>>>);

impl Resolver for Answers {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(std::future::ready(Ok(answer.unwrap_or_default())))
    }
}

/// Allows only this address, refuses this host, and records its calls.
#[derive(Debug)]
struct Only(SocketAddr, Mutex<Vec<(String, Option<SocketAddr>)>>);

impl Gate for Only {
    fn origin(&self, host: &str) -> Result<(), Refusal> {
        self.1.lock().unwrap().push((host.to_owned(), None));
        if host == "forbidden.test" { Err(Refusal(format!("not {host}"))) } else { Ok(()) }
    }

    fn address(&self, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        self.1.lock().unwrap().push((host.to_owned(), Some(address)));
        if address == self.0 { Ok(()) } else { Err(Refusal(format!("not {address} of {host}"))) }
    }
}

fn dialler(answers: &[&[SocketAddr]], gate: Arc<dyn Gate>, settings: Dialling) -> Dialler {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Dialler::new(gate, Arc::new(Answers(Mutex::new(answers))), settings, Clock::start())
}

fn open(answers: &[&[SocketAddr]], settings: Dialling) -> Dialler {
    dialler(answers, Arc::new(OpenGate), settings)
}

fn origin(url: &str) -> Origin {
    Origin::of(url).unwrap()
}

async fn listener(host: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn dialled(dialler: &Dialler, url: &str) -> (Result<TcpStream, Failure>, Way) {
    let mut way = Way::default();
    let dialled = dialler.dial(&origin(url), BOUND, &mut way).await;
    (dialled, way)
}

async fn goes_to(dialler: &Dialler) -> SocketAddr {
    let (stream, way) = dialled(dialler, "http://ca.test/").await;
    let peer = stream.unwrap().peer_addr().unwrap();
    assert_eq!(way.address, Some(peer.into()));
    peer
}

/// Whether a connection waits to be accepted. On loopback it waits as soon as it has been made.
fn was_dialled(listener: TcpListener) -> bool {
    listener.into_std().unwrap().accept().is_ok()
}

/// An address on which connection requests get no answer, as behind a firewall: its accept queue is full.
async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut taken = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(700), TcpStream::connect(address)).await
    {
        taken.push(stream);
        assert!(taken.len() < 100, "the queue never fills");
    }
    (listener, taken, address)
}

#[tokio::test]
async fn a_name_that_resolves_to_another_address_later_is_refused_before_dialling() {
    let ((allowed, first), (other, second)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    let gate = Arc::new(Only(first, Mutex::default()));
    let dialler =
        dialler(&[&[first], &[first], &[first, second]], Arc::clone(&gate) as _, Dialling::default());
    for _ in 0..2 {
        assert_eq!(goes_to(&dialler).await, first);
        assert!(allowed.accept().await.is_ok());
    }
    let (refused, way) = dialled(&dialler, "http://CA.test./").await;
    let failure = refused.unwrap_err();
    assert_eq!(failure.kind, FailureClass::RefusedOrigin);
    assert_eq!(failure.message, format!("not {second} of ca.test"));
    assert_eq!(way.address, None);
    // The allowed address is not dialled either, because chance decides which of them a connection uses.
    assert!(!was_dialled(allowed) && !was_dialled(other));
}

#[tokio::test]
async fn a_refused_host_is_not_looked_up() {
    let (_, first) = listener("127.0.0.1").await;
    let gate = Arc::new(Only(first, Mutex::default()));
    let dialler = dialler(&[&[first]], Arc::clone(&gate) as _, Dialling::default());
    let failure = dialler.judge(&origin("https://Forbidden.test/x"), BOUND).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureClass::RefusedOrigin, "not forbidden.test"));
    assert_eq!(*gate.1.lock().unwrap(), [("forbidden.test".to_owned(), None)]);
}

#[tokio::test]
async fn connect_to_is_judged_by_its_destination() {
    let (_own, address) = listener("127.0.0.1").await;
    let gate = Arc::new(Only(address, Mutex::default()));
    let to = |way: &str| {
        let connect_to = vec![way.parse().unwrap()];
        dialler(&[], Arc::clone(&gate) as _, Dialling { connect_to, ..Dialling::default() })
    };
    let url = "http://ca.test:8080/";
    let (stream, _) = dialled(&to(&format!("ca.test:8080:{}:{}", address.ip(), address.port())), url).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
    assert!(gate.1.lock().unwrap().contains(&("127.0.0.1".to_owned(), Some(address))));
    // A documentation address, which is never dialled.
    let failure = dialled(&to("ca.test::192.0.2.1:"), url).await.0.unwrap_err();
    assert_eq!(failure.message, "not 192.0.2.1:8080 of 192.0.2.1");
    let failure = to("::forbidden.test:").judge_origin(&origin(url)).unwrap_err();
    assert_eq!(failure.message, "not forbidden.test");
}

#[tokio::test]
async fn an_address_that_refuses_is_skipped_and_then_tried_last() {
    let ((gone, refusing), (_works, works)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    drop(gone);
    let dialler = open(&[&[refusing, works]], Dialling::default());
    assert_eq!(goes_to(&dialler).await, works);
    assert_eq!(dialler.in_order("ca.test", 80, vec![refusing, works]), [works, refusing]);
}

#[tokio::test]
async fn an_address_that_does_not_answer_loses_the_race_and_is_then_tried_last() {
    let (_queue, _taken, silent) = silent().await;
    let (_works, works) = listener("127.0.0.1").await;
    let dialler = open(&[&[silent, works]], Dialling::default());
    tokio::time::pause();
    let _time = HeldTime::hold();
    // Timers have a resolution of a millisecond.
    let delay = ATTEMPT_DELAY + Duration::from_millis(1);
    let ((stream, way), ()) = tokio::join!(dialled(&dialler, "http://ca.test/"), tokio::time::advance(delay));
    assert_eq!(stream.unwrap().peer_addr().unwrap(), works);
    assert_eq!(u128::from(way.connect), delay.as_nanos(), "{way:?}");
    assert_eq!(dialler.in_order("ca.test", 80, vec![silent, works]), [works, silent]);
}

#[tokio::test]
async fn every_address_that_failed_is_named() {
    let (gone, refusing) = listener("127.0.0.1").await;
    drop(gone);
    let (_queue, _taken, silent) = silent().await;
    let dialler = open(&[&[silent, refusing]], Dialling::default());
    let mut way = Way::default();
    let bound = Duration::from_millis(900);
    let failure = dialler.dial(&origin("http://ca.test/"), bound, &mut way).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Connect);
    assert!(failure.message.starts_with(&format!("cannot connect to {refusing}: ")), "{failure}");
    assert!(failure.message.ends_with(&format!("; no connection to {silent} within 900ms")), "{failure}");
}

#[tokio::test]
async fn connections_are_spread_over_all_addresses() {
    let ((_a, a), (_b, b), (_c, c)) =
        (listener("127.0.0.1").await, listener("127.0.0.1").await, listener("127.0.0.1").await);
    let dialler = open(&[&[a, b, c]], Dialling { spread: true, ..Dialling::default() });
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(goes_to(&dialler).await);
    }
    assert_eq!(seen, [a, b, c, a, b, c]);
}

#[tokio::test]
async fn connections_leave_from_the_source_addresses_in_turn() {
    let (listener, address) = listener("127.0.0.1").await;
    let source_addresses = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    let settings = Dialling { source_addresses, ..Dialling::default() };
    let dialler = open(&[&[address]], settings.clone());
    let mut seen = Vec::new();
    for _ in 0..4 {
        goes_to(&dialler).await;
        seen.push(listener.accept().await.unwrap().1.ip().to_string());
    }
    assert_eq!(seen, ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
    let other_family = open(&[&["[::1]:9".parse().unwrap()]], settings);
    let failure = dialled(&other_family, "http://ca.test/").await.0.unwrap_err();
    assert_eq!(failure.message, "cannot connect to [::1]:9: none of the source addresses is of its family");
}

#[tokio::test]
async fn a_source_address_of_another_machine_is_a_failure_of_our_side() {
    let (_listener, address) = listener("127.0.0.1").await;
    let source_addresses = vec!["192.0.2.77".parse().unwrap()];
    let dialler = open(&[&[address]], Dialling { source_addresses, ..Dialling::default() });
    let failure = dialled(&dialler, "http://ca.test/").await.0.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Local, "{failure}");
    assert!(failure.message.contains("this machine has no local port, or no address, for it"), "{failure}");
}
