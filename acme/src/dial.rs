//! From a server's name to a TCP connection: `--connect-to`, look-up, check of the addresses, race.
//!
//! Names are resolved for each new connection, and only addresses that the [`Gate`] has checked are dialled. Several
//! are raced as in RFC 8305: families in turn, the next address 250 ms after the one before or as soon as that has
//! failed. The address that worked last comes first; one that failed or was too slow comes last for half a minute.

mod order;

use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

use self::order::{Remembered, ordered};
use crate::FailureClass;
use crate::clock::Clock;
use crate::connect_to::ConnectTo;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::local;
use crate::origin::Origin;
use crate::transport::{BoxFuture, Way};

/// Time between the beginnings of two attempts (RFC 8305 §8, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Servers whose addresses are kept.
const MOST_REMEMBERED: usize = 64;
/// Addresses used per name.
const MOST_ADDRESSES: usize = 64;
/// Failed addresses in a message.
const MOST_NAMED: usize = 4;

/// Settings for connections to servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialling {
    /// Whether new connections use all addresses of a name in turn; else the one that worked last comes first.
    pub spread: bool,
    /// Other addresses for servers; the first matching rule counts.
    pub connect_to: Vec<ConnectTo>,
    /// Local addresses of connections, used in turn; if empty, the system chooses.
    pub source_addresses: Vec<IpAddr>,
}

/// Finds the addresses of a host.
pub trait Resolver: Debug + Send + Sync {
    /// Its addresses with this port, the preferred ones first. Called for each new connection, but not for literal
    /// addresses.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Makes TCP connections. All clients of a CA share it, and so its knowledge about addresses.
#[derive(Debug)]
pub(crate) struct Dialler {
    gate: Arc<dyn Gate>,
    resolver: Arc<dyn Resolver>,
    settings: Dialling,
    clock: Clock,
    /// Number of connections begun, for those that use addresses in turn.
    begun: AtomicUsize,
    /// The same for source addresses, one counter per family.
    sources: [AtomicUsize; 2],
    /// By host and port.
    memory: Mutex<Vec<((String, u16), Remembered)>>,
}

impl Dialler {
    pub(crate) fn new(
        gate: Arc<dyn Gate>,
        resolver: Arc<dyn Resolver>,
        settings: Dialling,
        clock: Clock,
    ) -> Self {
        Self {
            gate,
            resolver,
            settings,
            clock,
            begun: AtomicUsize::new(0),
            sources: Default::default(),
            memory: Mutex::default(),
        }
    }

    /// A dialler that refuses nothing and uses the system's resolver.
    #[cfg(test)]
    pub(crate) fn open() -> Arc<Self> {
        let (gate, resolver) = (Arc::new(crate::gate::OpenGate), Arc::new(SystemResolver));
        Arc::new(Self::new(gate, resolver, Dialling::default(), Clock::start()))
    }

    /// Checks a server's name before anything else is done.
    pub(crate) fn judge_origin(&self, origin: &Origin) -> Result<(), Failure> {
        self.judge_host(&origin.address)?;
        let (host, _) = self.target(origin);
        if host == origin.address { Ok(()) } else { self.judge_host(host) }
    }

    /// Checks a server's name and its present addresses. If it is not found now, it is checked when it is dialled.
    pub(crate) async fn judge(&self, origin: &Origin, bound: Duration) -> Result<(), Failure> {
        self.judge_origin(origin)?;
        let (host, port) = self.target(origin);
        match tokio::time::timeout(bound, self.resolve(host, port)).await {
            Ok(Ok(addresses)) => self.judge_addresses(host, &addresses),
            _ => Ok(()),
        }
    }

    /// A connection to this server within the bound.
    pub(crate) async fn dial(
        &self,
        origin: &Origin,
        bound: Duration,
        way: &mut Way,
    ) -> Result<TcpStream, Failure> {
        let deadline = Instant::now() + bound;
        let (host, port) = self.target(origin);
        let began = self.clock.now();
        let found = tokio::time::timeout_at(deadline, self.resolve(host, port)).await;
        let resolved = self.clock.now();
        way.dns = resolved - began;
        let found = found.unwrap_or_else(|_| {
            let message = format!("{host} is not resolved within {bound:?}");
            Err(Failure::new(FailureClass::Connect, message))
        })?;
        // Exactly these addresses are dialled; the name is not resolved again.
        self.judge_addresses(host, &found)?;
        let addresses = self.in_order(host, port, self.reachable(found)?);
        let raced = self.race(&addresses, bound, deadline).await;
        way.connect = self.clock.now() - resolved;
        self.remember(host, port, &raced);
        match raced.won {
            Some((address, stream)) => {
                way.address = Some(address.into());
                Ok(stream)
            }
            None => Err(self.lost(host, raced, bound)),
        }
    }

    fn target<'a>(&'a self, origin: &'a Origin) -> (&'a str, u16) {
        let (host, port) = (origin.address.as_str(), origin.port);
        let mut ways = self.settings.connect_to.iter();
        ways.find_map(|way| way.target(host, port)).unwrap_or((host, port))
    }

    fn judge_host(&self, host: &str) -> Result<(), Failure> {
        self.gate.origin(host.trim_end_matches('.')).map_err(refused)
    }

    /// One refused address is enough to refuse, because chance decides which one a connection uses.
    fn judge_addresses(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let host = host.trim_end_matches('.');
        addresses.iter().try_for_each(|address| self.gate.address(host, *address)).map_err(refused)
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut addresses = self.resolver.resolve(host, port).await.map_err(|error| {
            let ours = local::is_refusal(&error) || local::is_out_of_descriptors();
            let kind = if ours { FailureClass::Local } else { FailureClass::Connect };
            Failure::new(kind, format!("cannot resolve {host}: {error}"))
        })?;
        addresses.truncate(MOST_ADDRESSES);
        if addresses.is_empty() {
            return Err(Failure::new(FailureClass::Connect, format!("{host} has no address")));
        }
        Ok(addresses)
    }

    /// The addresses of a family that has a source address.
    fn reachable(&self, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
        let sources = &self.settings.source_addresses;
        if sources.is_empty() {
            return Ok(addresses);
        }
        let first = addresses.first().copied();
        addresses.retain(|address| sources.iter().any(|source| source.is_ipv4() == address.is_ipv4()));
        match first {
            Some(first) if addresses.is_empty() => {
                let message =
                    format!("cannot connect to {first}: none of the source addresses is of its family");
                Err(Failure::new(FailureClass::Connect, message))
            }
            _ => Ok(addresses),
        }
    }

    fn in_order(&self, host: &str, port: u16, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if addresses.len() < 2 {
            return addresses;
        }
        let turn = self.settings.spread.then(|| self.begun.fetch_add(1, Ordering::Relaxed));
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.iter().find(|((known, at), _)| known == host && *at == port);
        let none = Remembered::default();
        ordered(addresses, known.map_or(&none, |(_, known)| known), turn, self.clock.now())
    }

    fn remember(&self, host: &str, port: u16, raced: &Raced) {
        if raced.of < 2 {
            return;
        }
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let place = memory.iter().position(|((known, at), _)| known == host && *at == port);
        let place = place.unwrap_or_else(|| {
            if memory.len() >= MOST_REMEMBERED {
                memory.remove(0);
            }
            memory.push(((host.to_owned(), port), Remembered::default()));
            memory.len() - 1
        });
        let now = self.clock.now();
        let known = &mut memory[place].1;
        raced.failed.iter().for_each(|(address, _)| known.failed(*address, now));
        raced.overtaken.iter().for_each(|address| known.failed(*address, now));
        if let Some((address, _)) = &raced.won {
            known.worked(*address);
        }
    }

    /// Attempts, each beginning some time after the one before or when that has failed; the first success wins.
    async fn race(&self, addresses: &[SocketAddr], bound: Duration, deadline: Instant) -> Raced {
        let mut raced = Raced { of: addresses.len(), ..Raced::default() };
        // Each address gets its attempt within the bound.
        let delay = ATTEMPT_DELAY.min(bound / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX));
        let mut waiting = addresses.iter().copied();
        let mut under_way: Vec<(SocketAddr, Instant, BoxFuture<'_, io::Result<TcpStream>>)> = Vec::new();
        let mut end = pin!(sleep_until(deadline));
        loop {
            if let Some(address) = waiting.next() {
                under_way.push((address, Instant::now(), Box::pin(self.connect(address))));
            } else if under_way.is_empty() {
                return raced;
            }
            let mut next = pin!(sleep(delay));
            let event = poll_fn(|context| {
                for (place, (_, _, attempt)) in under_way.iter_mut().enumerate() {
                    if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                        return Poll::Ready(Event::Ended(place, result));
                    }
                }
                if end.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Event::TimeIsOver);
                }
                if waiting.len() > 0 && next.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Event::NextOne);
                }
                Poll::Pending
            })
            .await;
            match event {
                Event::NextOne => {}
                Event::TimeIsOver => {
                    raced.silent = under_way.into_iter().map(|(address, ..)| address).collect();
                    return raced;
                }
                Event::Ended(place, result) => {
                    let (address, _, _) = under_way.swap_remove(place);
                    match result {
                        Ok(stream) => {
                            raced.won = Some((address, stream));
                            let slow = under_way.into_iter().filter(|(_, began, _)| began.elapsed() >= delay);
                            raced.overtaken = slow.map(|(address, ..)| address).collect();
                            return raced;
                        }
                        Err(error) => raced.failed.push((address, error)),
                    }
                }
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = match self.source(address) {
            None => TcpStream::connect(address).await?,
            Some(source) => {
                let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                port_when_connecting(&socket);
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(address).await?
            }
        };
        // Requests are written whole: waiting for more only costs time.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The next source address of the family of `address`.
    fn source(&self, address: SocketAddr) -> Option<IpAddr> {
        let family =
            || self.settings.source_addresses.iter().filter(|own| own.is_ipv4() == address.is_ipv4());
        let all = family().count();
        let turn = || self.sources[usize::from(address.is_ipv4())].fetch_add(1, Ordering::Relaxed);
        if all == 0 { None } else { family().nth(turn() % all).copied() }
    }

    fn lost(&self, host: &str, raced: Raced, bound: Duration) -> Failure {
        let Raced { failed, silent, .. } = raced;
        // Our own machine's refusal only if nothing else is known: without IPv6, our machine refuses IPv6 addresses,
        // too.
        let ours = silent.is_empty() && failed.iter().all(|(_, error)| local::shortage(error).is_some());
        let shortage = if ours { failed.first().and_then(|(_, error)| local::shortage(error)) } else { None };
        let mut said: Vec<String> =
            failed.iter().map(|(address, error)| format!("cannot connect to {address}: {error}")).collect();
        said.extend(silent.iter().map(|address| format!("no connection to {address} within {bound:?}")));
        let more = said.len().saturating_sub(MOST_NAMED);
        said.truncate(MOST_NAMED);
        if more > 0 {
            said.push(format!("and {more} more addresses of {host}"));
        }
        said.extend(shortage.map(str::to_owned));
        let kind = if shortage.is_some() { FailureClass::Local } else { FailureClass::Connect };
        Failure::new(kind, said.join("; "))
    }
}

/// Result of a race.
#[derive(Debug, Default)]
struct Raced {
    /// Addresses that could take part.
    of: usize,
    won: Option<(SocketAddr, TcpStream)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// Addresses that had their time before another one won.
    overtaken: Vec<SocketAddr>,
    /// Addresses without any answer until the end.
    silent: Vec<SocketAddr>,
}

enum Event {
    Ended(usize, io::Result<TcpStream>),
    NextOne,
    TimeIsOver,
}

fn refused(refusal: crate::gate::Refusal) -> Failure {
    Failure::new(FailureClass::RefusedOrigin, refusal.0)
}

/// Lets the system choose the local port when it knows the remote end: one port then serves several servers, and
/// ports of ended connections are reused sooner.
fn port_when_connecting(socket: &TcpSocket) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
        // Without it there are fewer ports, and no other difference.
        let _ = setsockopt(socket, IpBindAddressNoPort, &true);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(test)]
mod tests;
