//! The process of an owner, precise enough for another process of the same machine to see that it has ended
//! before its lease expires.

use std::path::Path;

/// `boot/pid namespace/pid/start time`; a part is empty if the system does not report it.
pub(super) fn here() -> String {
    let pid = std::process::id();
    format!("{}/{pid}/{}", machine(), start_of(pid).unwrap_or_default())
}

/// Whether `place` is a process of this machine that has ended. Unknown places count as alive: their lease
/// decides.
pub(super) fn is_dead(place: &str) -> bool {
    let machine = machine();
    if machine.starts_with('/') || machine.ends_with('/') {
        return false;
    }
    let Some(process) = place.strip_prefix(&machine).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    let Some((pid, start)) = process.split_once('/') else { return false };
    let Ok(pid) = pid.parse() else { return false };
    !start.is_empty() && start_of(pid).as_deref() != Some(start)
}

/// `boot id/pid namespace`: within it, a pid and its start time identify one process.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// Start time of a running process, in ticks since boot; none if there is no such process, or it is a zombie.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may contain blanks and parentheses (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let alive = fields.next()? != "Z";
    alive.then_some(fields.nth(18)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_past_one_is_dead() {
        assert!(!is_dead(&here()));
        let (before, start) = here().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(!start.is_empty());
        assert!(is_dead(&format!("{before}/{start}1")), "the pid has been given to a later process");
        let machine = before.rsplit_once('/').unwrap().0;
        assert!(is_dead(&format!("{machine}/4194999/1")), "the pid is above the kernel's maximum");
    }

    #[test]
    fn a_process_on_another_machine_is_alive_until_its_lease_ends() {
        for place in ["", "other-boot/pid:[1]/17/4711", "/", "///", "nonsense"] {
            assert!(!is_dead(place), "{place}");
        }
    }
}
