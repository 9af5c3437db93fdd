//! The workers of one runtime in the open model, and which of them gets an arrival.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use wec_acme::Clock;
use wec_startup::Stop;

use super::super::gauges::Counted;
use super::super::relay::{Arrival, Relay};
use super::super::{Gauges, Iterated, VirtualUser, Workforce};
use super::ArrivalLoop;
use super::position::Position;

/// Waits before a worker that found nothing looks again: an object in use may be released a moment later.
const LOOKS_AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(40)];

/// The workers of one runtime: free ones, busy ones, and those that will look again.
pub(super) struct WorkerPool {
    workforce: Arc<dyn Workforce>,
    gauges: Arc<Gauges>,
    stop: Stop,
    clock: Clock,
    place: (u32, u32),
    relay: Arc<Relay>,
    cap: u32,
    /// Number of workers, free or not.
    alive: u32,
    /// The last one to become free is used first, so that fewer connections stay open.
    free: Vec<Member>,
    /// Workers that will look again, by the number of their looks so far, each queue in order of time.
    looking: [VecDeque<Looking>; LOOKS_AGAIN.len()],
    /// Slots that are free.
    slots: Vec<u32>,
    /// Number of slots that were ever used.
    highest: u32,
    pub(super) tasks: JoinSet<(Member, Assignment, Iterated)>,
}

pub(super) struct Member {
    slot: u32,
    user: Box<dyn VirtualUser>,
    _alive: Counted,
}

/// An iteration for a worker.
#[derive(Clone, Copy)]
pub(super) struct Assignment {
    due: u64,
    /// Expected number of requests, if the rate counts them.
    expected: f64,
    /// How often its worker has looked again for a chain.
    looks: usize,
}

struct Looking {
    /// Time of the next look, nanoseconds of the clock.
    at: u64,
    member: Member,
    assignment: Assignment,
}

impl WorkerPool {
    pub(super) fn new(executor: &ArrivalLoop, stop: &Stop) -> Self {
        Self {
            workforce: Arc::clone(&executor.workforce),
            gauges: Arc::clone(&executor.gauges),
            stop: stop.clone(),
            clock: executor.clock,
            place: executor.place,
            relay: Arc::clone(&executor.relay),
            cap: 0,
            alive: 0,
            free: Vec::new(),
            looking: Default::default(),
            slots: Vec::new(),
            highest: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Applies a cap: free workers beyond it end now, others after their iteration.
    pub(super) fn cap(&mut self, cap: u32) {
        self.cap = cap;
        while self.alive > cap
            && let Some(member) = self.free.pop()
        {
            self.dismiss(&member);
        }
    }

    fn dismiss(&mut self, member: &Member) {
        self.alive -= 1;
        self.slots.push(member.slot);
    }

    /// Gives a due iteration to a worker or to another runtime, or drops it.
    pub(super) fn take(&mut self, arrival: Arrival) {
        let member = self.free.pop().or_else(|| self.add()).or_else(|| self.reclaim_idle());
        let Some(member) = member else {
            let refused =
                if arrival.handed { Err(arrival) } else { self.relay.hand_over(self.place.0, arrival) };
            if refused.is_err() {
                self.gauges.due.fetch_add(1, Ordering::Relaxed);
                self.gauges.dropped.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let Arrival { due, expected, .. } = arrival;
        self.gauges.due.fetch_add(1, Ordering::Relaxed);
        self.gauges.started.fetch_add(1, Ordering::Relaxed);
        self.set_out(member, Assignment { due, expected, looks: 0 });
    }

    /// Drops an iteration that is due for too long.
    pub(super) fn drop_late(&self) {
        self.gauges.due.fetch_add(1, Ordering::Relaxed);
        self.gauges.dropped.fetch_add(1, Ordering::Relaxed);
        self.gauges.late.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports to the other runtimes how many workers are available for their arrivals, beside `waiting`
    /// arrivals of this one.
    pub(super) fn report_spare(&self, waiting: usize) {
        let busy = u32::try_from(self.tasks.len() + waiting).unwrap_or(u32::MAX);
        self.relay.report_spare(self.place.0, self.cap.saturating_sub(busy));
    }

    fn set_out(&mut self, mut member: Member, assignment: Assignment) {
        let (gauges, cut, clock) = (Arc::clone(&self.gauges), self.stop.cut.clone(), self.clock);
        self.tasks.spawn(async move {
            if assignment.looks == 0 {
                gauges.lag.record(clock.now().saturating_sub(assignment.due));
            }
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            let iterated = member.user.iterate(Some(assignment.due), &cut).await;
            (member, assignment, iterated)
        });
    }

    /// Takes back the worker with the most unsuccessful looks.
    fn reclaim_idle(&mut self) -> Option<Member> {
        let Looking { member, .. } = self.looking.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.gauges.ended(Iterated::Idle);
        Some(member)
    }

    pub(super) fn next_look(&self) -> Option<u64> {
        self.looking.iter().filter_map(|looking| Some(looking.front()?.at)).min()
    }

    pub(super) fn look_again(&mut self, now: u64) {
        for times in 0..self.looking.len() {
            while let Some(Looking { member, mut assignment, .. }) =
                self.looking[times].pop_front_if(|looking| looking.at <= now)
            {
                assignment.looks += 1;
                self.set_out(member, assignment);
            }
        }
    }

    /// Ends all pending looks: they count as idle.
    pub(super) fn give_up_looking(&mut self) {
        while let Some(member) = self.reclaim_idle() {
            self.released(member);
        }
    }

    fn add(&mut self) -> Option<Member> {
        if self.alive >= self.cap {
            return None;
        }
        self.alive += 1;
        let slot = self.slots.pop().unwrap_or_else(|| {
            self.highest += 1;
            self.highest - 1
        });
        let (place, of) = self.place;
        let user = self.workforce.worker(slot * of + place);
        Some(Member { slot, user, _alive: Counted::one(&self.gauges, |gauges| &gauges.workers) })
    }

    pub(super) fn ended(
        &mut self,
        ended: Result<(Member, Assignment, Iterated), JoinError>,
        position: &mut Position,
    ) {
        match ended {
            Ok((member, assignment, iterated)) => {
                if iterated == Iterated::Idle
                    && self.alive <= self.cap
                    && !self.stop.finish.is_cancelled()
                    && let Some(wait) = LOOKS_AGAIN.get(assignment.looks)
                {
                    let at = self.clock.now() + wait.as_nanos() as u64;
                    self.looking[assignment.looks].push_back(Looking { at, member, assignment });
                    return;
                }
                self.gauges.ended(iterated);
                position.ended(assignment.expected, iterated);
                self.released(member);
            }
            Err(error) => {
                tracing::error!(%error, "a worker ended by a panic; another takes its place");
                self.alive -= 1;
            }
        }
    }

    /// A worker has become free.
    fn released(&mut self, member: Member) {
        if self.alive > self.cap {
            self.dismiss(&member);
        } else {
            self.free.push(member);
        }
    }
}
