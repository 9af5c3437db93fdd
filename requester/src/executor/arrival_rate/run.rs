//! The loop of one runtime in the open model: waits for the next due iteration and passes it to a worker.

use std::sync::Arc;
use std::time::Duration;

use wec_startup::Stop;

use super::super::relay::{Arrival, Inbox};
use super::super::slots_of;
use super::ArrivalLoop;
use super::pool::WorkerPool;
use super::position::Position;
use crate::alarm::Alarm;

/// Interval of looks whether a right to send that has ended holds again, nanoseconds.
const LOOK_AGAIN_NS: u64 = 10_000_000;

impl ArrivalLoop {
    /// Runs until the last iteration has ended after `stop.finish`.
    ///
    /// Iterations that were due before, but not started because of a late wake-up, are still started.
    pub(super) async fn run(mut self, stop: Stop) {
        let mut alarm = Alarm::new(self.clock);
        let mut position = Position::new(self.unit, self.spacing, self.place);
        let mut pool = WorkerPool::new(&self, &stop);
        let mut inbox = self.relay.inbox(self.place.0);
        let mut watched = true;
        loop {
            let schedule = Arc::clone(&self.schedule.borrow_and_update());
            pool.cap(slots_of(schedule.workers_cap, self.place));
            if schedule.paused_at.is_some() {
                pool.give_up_looking();
            }
            let now = self.clock.now();
            let next = loop {
                match schedule.due(position.next()) {
                    Some(due) if due <= now => {
                        if !self.permit.holds_for(schedule.registration) {
                            if self.permit.held_at(schedule.registration, self.clock, due) {
                                position.advance();
                                pool.drop_late();
                                continue;
                            }
                            // From the end of the right on another node has this part of the load, or will have
                            // it soon: these positions are not this node's, and its next part begins with them.
                            break Some(now + LOOK_AGAIN_NS);
                        }
                        let expected = position.advance();
                        if self.permit.is_late(now - due) || !self.permit.starts(due, now) {
                            pool.drop_late();
                        } else {
                            pool.take(Arrival { due, expected, handed: false });
                        }
                    }
                    next => break next,
                }
            };
            // After due iterations, which may need the workers that look again.
            pool.look_again(now);
            pool.report_spare(inbox.as_ref().map_or(0, Inbox::len));
            if stop.finish.is_cancelled() {
                break;
            }
            tokio::select! {
                () = alarm.at(next.unwrap_or(u64::MAX)), if next.is_some() => {}
                () = until_look(pool.next_look(), now) => {}
                changed = self.schedule.changed(), if watched => watched = changed.is_ok(),
                Some(arrival) = handed_over(&mut inbox) => pool.take(arrival),
                Some(ended) = pool.tasks.join_next() => pool.ended(ended, &mut position),
                () = stop.finish.cancelled() => {}
            }
        }
        self.relay.report_spare(self.place.0, 0);
        if let Some(inbox) = &mut inbox {
            inbox.close();
            while let Some(arrival) = inbox.recv().await {
                pool.take(arrival);
            }
        }
        pool.give_up_looking();
        while let Some(ended) = pool.tasks.join_next().await {
            pool.ended(ended, &mut position);
        }
    }
}

/// The next arrival from another runtime; pending forever if there is none.
async fn handed_over(inbox: &mut Option<Inbox>) -> Option<Arrival> {
    match inbox {
        Some(inbox) => inbox.recv().await,
        None => None,
    }
}

/// Waits until the next look; pending forever if there is none.
async fn until_look(at: Option<u64>, now: u64) {
    match at {
        Some(at) => tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now))).await,
        None => std::future::pending().await,
    }
}
