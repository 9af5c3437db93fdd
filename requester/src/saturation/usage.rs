//! Processor use by the system's accounting: of a thread, with its waiting time, and of the whole process.

/// A thread's processor time since its start, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTimes {
    /// Running.
    pub(super) ran: u64,
    /// Ready to run, but without a processor.
    pub(super) waited: u64,
}

/// A thread of this process, by its number in the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thread(#[cfg(target_os = "linux")] i32);

impl Thread {
    /// The calling thread; none if the system does not report on threads.
    #[cfg(target_os = "linux")]
    pub(super) fn current() -> Option<Self> {
        Some(Self(rustix::thread::gettid().as_raw_nonzero().get()))
    }

    /// The calling thread; none if the system does not report on threads.
    #[cfg(not(target_os = "linux"))]
    pub(super) const fn current() -> Option<Self> {
        None
    }

    /// Its times, from the scheduler; none when it has ended, or the system does not report them.
    #[cfg(target_os = "linux")]
    pub(super) fn times(self) -> Option<ThreadTimes> {
        parse(&std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.0)).ok()?)
    }

    /// Its times; none where the system does not report them.
    #[cfg(not(target_os = "linux"))]
    pub(super) const fn times(self) -> Option<ThreadTimes> {
        None
    }
}

/// `schedstat`: time on a processor, time in a run queue, number of times on a processor.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux writes it"))]
fn parse(schedstat: &str) -> Option<ThreadTimes> {
    let mut numbers = schedstat.split_ascii_whitespace().map(|number| number.parse().ok());
    Some(ThreadTimes { ran: numbers.next()??, waited: numbers.next()?? })
}

/// Processor time of the whole process since it began, nanoseconds.
pub(super) fn process_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_schedulers_line() {
        assert_eq!(parse("339725 17 1\n"), Some(ThreadTimes { ran: 339_725, waited: 17 }));
        for line in ["", "12", "a b c", "-1 2 3"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_computing_thread_adds_to_its_own_and_its_processs_time() {
        let thread = Thread::current().unwrap();
        let (before, process) = (thread.times().unwrap(), process_time());
        let mut sum = 0_u64;
        while thread.times().unwrap().ran < before.ran + 5_000_000 {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(process_time() >= process + 5_000_000);
    }
}
