//! How long validations took and when the CA's requests arrived: joins chains with the hits on the challenge
//! servers.
//!
//! A requester measures start and end: it answered the challenge, and it saw the authorization in a final
//! state. Hits have the clock of a challenge server, which may differ. They subdivide the time between start
//! and end but do not change it. A hit belongs to the authorization of its name and type that is nearest in
//! time.
//!
//! Hits and chains arrive in any order from different senders, so each is kept until the other arrives. The
//! number of kept entries is bounded; entries that are removed without a match are counted.
//!
//! A name has one authorization and one or a few hits nearly always, which are in the entry itself. The entries are one
//! piece of memory, in the order of time, so that a new one is written where the oldest one was read a moment ago.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use wec_record::{AuthorizationResult, ChallengeType, ValidationHit};

use super::hits::without_port;
use crate::distribution::{MOST, Times};
use crate::snapshot::{Perspectives, ValidationFigures};

/// Names whose hits and authorizations are kept: ten seconds at a thousand per second.
pub const MAX_NAMES: usize = 10_000;
/// Authorizations kept per name. By default a name is ordered once; renewals order it again.
const MAX_PROOFS: usize = 16;
const MAX_HITS: usize = 64;
/// Addresses from which a CA asks for one authorization; more are as many.
const MAX_PERSPECTIVES: usize = 16;
/// A hit further than this from every authorization of its name belongs to none: clocks differ by less.
const NEAR_NS: u64 = 60_000_000_000;

/// The validations of one run. In a file it has only what is settled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Validations {
    /// By position in [`ChallengeType::ALL`].
    totals: [Totals; ChallengeType::ALL.len()],
    /// The names, in the order in which they came, from `oldest` on.
    #[serde(skip)]
    names: Vec<Name>,
    /// Where the oldest name is, once there are [`MAX_NAMES`].
    #[serde(skip)]
    oldest: usize,
    /// The position of each name, by its hash.
    #[serde(skip)]
    places: HashMap<u64, u32, BuildHasherDefault<Same>>,
    /// Hits removed without an authorization.
    hits_alone: u64,
}

/// Validations of one type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Totals {
    time: Times,
    to_first_hit: Times,
    between_hits: Times,
    after_last_hit: Times,
    without_hits: u64,
    clipped: u64,
    /// Authorizations by the number of addresses that asked, from 1 on.
    perspectives: [u64; MAX_PERSPECTIVES],
}

/// The entries of one name.
#[derive(Clone, Debug, Default)]
struct Name {
    hash: u64,
    proofs: SmallVec<[Proof; 1]>,
    hits: SmallVec<[Hit; 2]>,
}

/// From the answered challenge to the settled authorization, nanoseconds since the Unix epoch by the requester's clock.
#[derive(Clone, Copy, Debug)]
struct Proof {
    challenge: ChallengeType,
    answered: u64,
    settled: u64,
}

/// What a validation is made of, with the hash of its name: an index keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidationEvent {
    /// The number of the identifier.
    pub name: u64,
    /// The type of the challenge.
    pub challenge: ChallengeType,
    /// Of an authorization, when its challenge was answered; none for a hit.
    pub answered: Option<u64>,
    /// When the authorization was settled, or the hit arrived, nanoseconds since the Unix epoch.
    pub at: u64,
    /// Of a hit, the hash of the address that it came from.
    pub source: u32,
}

impl ValidationEvent {
    /// None for an authorization that was not answered, or not seen in a final state.
    pub fn of_authorization(name: u64, origin_unix_ns: u64, of: &AuthorizationResult) -> Option<Self> {
        let challenge = of.challenge.filter(|_| of.answered > 0 && of.settled > 0)?;
        let answered = Some(origin_unix_ns.saturating_add(of.answered));
        Some(Self { name, challenge, answered, at: origin_unix_ns.saturating_add(of.settled), source: 0 })
    }

    /// Of a hit at the challenge server.
    pub fn of_hit(name: u64, hit: &ValidationHit) -> Self {
        let ValidationHit { challenge, at_unix_ns, source, .. } = hit;
        Self { name, challenge: *challenge, answered: None, at: *at_unix_ns, source: source_of(source) }
    }
}

/// A hit, nanoseconds since the Unix epoch by the challenge server's clock.
#[derive(Clone, Copy, Debug)]
struct Hit {
    challenge: ChallengeType,
    at: u64,
    source: u32,
}

/// The first and the last hit of an authorization, and the addresses that they came from.
#[derive(Clone, Debug, Default)]
struct Span {
    first: u64,
    last: u64,
    sources: SmallVec<[u32; 4]>,
}

impl Span {
    fn add(&mut self, hit: Hit) {
        (self.first, self.last) = match self.sources[..] {
            [] => (hit.at, hit.at),
            _ => (self.first.min(hit.at), self.last.max(hit.at)),
        };
        if !self.sources.contains(&hit.source) {
            self.sources.push(hit.source);
        }
    }
}

/// The hash of an address (FNV-1a): the same in each process, because an index keeps it.
fn source_of(source: &str) -> u32 {
    let octets = without_port(source).bytes();
    octets.fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

impl Validations {
    /// Counts an authorization whose challenge was answered and which was seen in a final state.
    pub(super) fn authorization(&mut self, origin_unix_ns: u64, result: &AuthorizationResult) {
        if let Some(event) = ValidationEvent::of_authorization(0, origin_unix_ns, result) {
            self.count(ValidationEvent { name: key_of(&result.name), ..event });
        }
    }

    pub(super) fn hit(&mut self, hit: &ValidationHit) {
        self.count(ValidationEvent::of_hit(key_of(&hit.name), hit));
    }

    /// Counts an event. The hashes of all its names must be of one kind.
    pub fn count(&mut self, event: ValidationEvent) {
        let ValidationEvent { name, challenge, answered, at, source } = event;
        match answered {
            Some(answered) => self.proof(name, Proof { challenge, answered, settled: at.max(answered) }),
            None => self.look(name, Hit { challenge, at, source }),
        }
    }

    /// No further event is of the names that wait for one.
    pub fn settle(&mut self) {
        let Self { totals, names, oldest, places, hits_alone } = self;
        *hits_alone += names.drain(..).map(|name| name.settle(totals)).sum::<u64>();
        (*oldest, *places) = (0, HashMap::default());
    }

    /// Adds the events of another part of the run.
    pub fn merge(&mut self, other: Self) {
        let Self { totals, names, oldest, hits_alone, .. } = other;
        for (ours, theirs) in self.totals.iter_mut().zip(totals) {
            ours.merge(theirs);
        }
        self.hits_alone += hits_alone;
        let (newer, older) = names.split_at(oldest);
        for name in older.iter().chain(newer) {
            name.proofs.iter().for_each(|proof| self.proof(name.hash, *proof));
            name.hits.iter().for_each(|hit| self.look(name.hash, *hit));
        }
    }

    /// The figures including entries that are still kept, and how many hits have no authorization so far.
    pub(super) fn figures(&self) -> (Vec<ValidationFigures>, u64) {
        let mut totals = self.totals.clone();
        let waiting = self.names.iter();
        let alone = waiting.fold(self.hits_alone, |alone, name| alone + name.settle(&mut totals));
        let figures =
            ChallengeType::ALL.into_iter().zip(&totals).filter(|(_, totals)| totals.time.count() > 0);
        (figures.map(|(challenge, totals)| totals.figures(challenge)).collect(), alone)
    }

    /// How long authorizations of this type took to be validated.
    pub(super) fn times(&self, challenge: ChallengeType) -> Times {
        let mut totals = self.totals.clone();
        for name in &self.names {
            name.settle(&mut totals);
        }
        std::mem::take(&mut totals[challenge as usize].time)
    }

    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |totals: &Totals| {
            let Totals {
                time,
                to_first_hit,
                between_hits,
                after_last_hit,
                without_hits,
                clipped,
                perspectives,
            } = totals;
            let times = [time, to_first_hit, between_hits, after_last_hit];
            let counts = perspectives.iter().chain([without_hits, clipped]);
            counts.into_iter().all(|count| *count <= MOST) && times.into_iter().all(Times::is_sound)
        };
        self.hits_alone <= MOST && self.totals.iter().all(is_sound)
    }

    pub(super) fn clamped(&self) -> u64 {
        self.totals.iter().map(|totals| totals.time.clamped()).sum()
    }

    fn proof(&mut self, name: u64, proof: Proof) {
        let known = self.name(name);
        known.proofs.push(proof);
        if known.proofs.len() > MAX_PROOFS {
            let earlier = known.split_off_oldest();
            self.hits_alone += earlier.settle(&mut self.totals);
        }
    }

    fn look(&mut self, name: u64, hit: Hit) {
        let known = self.name(name);
        known.hits.push(hit);
        if known.hits.len() > MAX_HITS {
            known.hits.remove(0);
            self.hits_alone += 1;
        }
    }

    /// The entry of a name. A new one takes the place of the oldest if there are too many.
    fn name(&mut self, hash: u64) -> &mut Name {
        if let Some(place) = self.places.get(&hash) {
            return &mut self.names[*place as usize];
        }
        let place = if self.names.len() < MAX_NAMES {
            self.names.push(Name { hash, ..Name::default() });
            self.names.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % MAX_NAMES;
            let name = &mut self.names[place];
            self.hits_alone += name.settle(&mut self.totals);
            self.places.remove(&name.hash);
            name.hash = hash;
            name.proofs.clear();
            name.hits.clear();
            place
        };
        self.places.insert(hash, place as u32);
        &mut self.names[place]
    }
}

/// Names of a process have hashes that nobody can foresee, so that no two of them are taken for the same one.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn key_of(name: &str) -> u64 {
    HASHES.hash_one(name)
}

/// The hash of a hash.
#[derive(Clone, Debug, Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only 64-bit hashes are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Name {
    /// The oldest authorization with the hits nearest to it.
    fn split_off_oldest(&mut self) -> Self {
        let Some(oldest) = self.proofs.first().copied() else { return Self::default() };
        let all = std::mem::take(&mut self.hits);
        let (its, others) = all.into_iter().partition(|hit| self.nearest(*hit) == Some(0));
        self.proofs.remove(0);
        self.hits = others;
        Self { hash: self.hash, proofs: SmallVec::from_buf([oldest]), hits: its }
    }

    /// Counts the authorizations. Returns how many hits belong to none.
    fn settle(&self, totals: &mut [Totals]) -> u64 {
        let mut alone = 0;
        if let [proof] = self.proofs[..] {
            let mut span = Span::default();
            for hit in &self.hits {
                if hit.challenge == proof.challenge && proof.distance(hit.at) <= NEAR_NS {
                    span.add(*hit);
                } else {
                    alone += 1;
                }
            }
            totals[proof.challenge as usize].record(proof, &span);
            return alone;
        }
        let mut spans: [Span; MAX_PROOFS + 1] = Default::default();
        for hit in &self.hits {
            let Some(place) = self.nearest(*hit) else {
                alone += 1;
                continue;
            };
            spans[place].add(*hit);
        }
        for (proof, span) in self.proofs.iter().zip(&spans) {
            totals[proof.challenge as usize].record(*proof, span);
        }
        alone
    }

    /// The position of the authorization that a hit belongs to.
    fn nearest(&self, hit: Hit) -> Option<usize> {
        let near = self.proofs.iter().enumerate().filter(|(_, proof)| proof.challenge == hit.challenge);
        // If two are equally near, the earlier one, whatever the order of arrival.
        near.map(|(place, proof)| (proof.distance(hit.at), proof.answered, proof.settled, place))
            .min()
            .filter(|(distance, ..)| *distance <= NEAR_NS)
            .map(|(.., place)| place)
    }
}

impl Proof {
    /// Distance of a time from the interval between start and end; 0 inside.
    fn distance(&self, at: u64) -> u64 {
        self.answered.saturating_sub(at).max(at.saturating_sub(self.settled))
    }
}

impl Totals {
    fn record(&mut self, proof: Proof, span: &Span) {
        self.time.record(proof.settled - proof.answered);
        let Span { first, last, ref sources } = *span;
        if sources.is_empty() {
            self.without_hits += 1;
            return;
        }
        self.perspectives[sources.len().min(MAX_PERSPECTIVES) - 1] += 1;
        // If the first hit is outside, the clocks differ. The last hit may be later, because CAs validate
        // from several places.
        self.clipped += u64::from(proof.distance(first) > 0);
        let first = first.clamp(proof.answered, proof.settled);
        let last = last.clamp(first, proof.settled);
        self.to_first_hit.record(first - proof.answered);
        self.between_hits.record(last - first);
        self.after_last_hit.record(proof.settled - last);
    }

    fn merge(&mut self, other: Self) {
        self.time.merge(other.time);
        self.to_first_hit.merge(other.to_first_hit);
        self.between_hits.merge(other.between_hits);
        self.after_last_hit.merge(other.after_last_hit);
        self.without_hits += other.without_hits;
        self.clipped += other.clipped;
        self.perspectives.iter_mut().zip(other.perspectives).for_each(|(ours, theirs)| *ours += theirs);
    }

    fn figures(&self, challenge: ChallengeType) -> ValidationFigures {
        ValidationFigures {
            challenge,
            count: self.time.count(),
            without_hits: self.without_hits,
            clipped: self.clipped,
            time_ns: self.time.timing(),
            to_first_hit_ns: self.to_first_hit.timing(),
            between_hits_ns: self.between_hits.timing(),
            after_last_hit_ns: self.after_last_hit.timing(),
            perspectives: (1..)
                .zip(self.perspectives)
                .filter(|(_, count)| *count > 0)
                .map(|(addresses, count)| Perspectives { addresses, count })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use wec_record::Verdict;

    use super::*;

    #[test]
    fn the_addresses_that_asked_are_counted_for_each_authorization() {
        let mut validations = Validations::default();
        let hit = |name: &str, at_unix_ns: u64, source: &str| ValidationHit {
            seq: 0,
            at_unix_ns,
            challenge: ChallengeType::Dns01,
            name: name.to_owned(),
            source: source.to_owned(),
            verdict: Verdict::Answered,
            answer: String::new(),
            took: 1,
        };
        let proof = |name: &str, answered, settled| AuthorizationResult {
            name: name.to_owned(),
            id: String::new(),
            challenge: Some(ChallengeType::Dns01),
            answered,
            settled,
        };
        for (name, sources) in [
            ("one.test", &["192.0.2.1:1", "192.0.2.1:2"][..]),
            ("three.test", &["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1", "192.0.2.2:7"]),
            ("none.test", &[]),
        ] {
            sources.iter().for_each(|source| validations.hit(&hit(name, 15, source)));
            validations.authorization(0, &proof(name, 10, 20));
        }
        // A name that is validated twice, each time from two addresses.
        for at in [100_000_000_015, 300_000_000_015] {
            validations.authorization(0, &proof("again.test", at - 5, at + 5));
            validations.hit(&hit("again.test", at, "192.0.2.1:1"));
            validations.hit(&hit("again.test", at, "192.0.2.3:1"));
        }
        let (figures, alone) = validations.figures();
        let [figures] = &figures[..] else { panic!("{figures:?}") };
        let found: Vec<_> = figures.perspectives.iter().map(|of| (of.addresses, of.count)).collect();
        assert_eq!((found, figures.without_hits, alone), (vec![(1, 1), (2, 2), (3, 1)], 1, 0));
    }
}
