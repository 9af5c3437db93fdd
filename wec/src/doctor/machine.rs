//! This machine: limits of open files and ports, memory, and the load that it can make.

use wec_record::Calibration;
use wec_requester::{Plan, calibration_file, cpus, open_files_warning, read_calibration};
use wec_startup::node_name;

use super::finding::{Check, Finding};

/// A closed connection keeps its local port for this long, seconds (TIME_WAIT).
const TIME_WAIT_S: u32 = 60;
/// Fewer local ports are unusual.
const FEW_PORTS: u32 = 10_000;
/// What a worker takes at most, bytes, where no calibration has measured it: 24.9 KiB in docs/benchmarks.md.
const WORKER: u64 = 32 * 1024;
/// What the process takes beside its workers, bytes.
const BESIDES: u64 = 128 * 1024 * 1024;

/// What was measured of this machine.
#[derive(Clone, Debug, Default)]
struct Machine {
    /// First and last local port.
    ports: Option<(u32, u32)>,
    /// Bytes that programs can still have.
    memory: Option<u64>,
    calibration: Option<Calibration>,
}

/// Looks at this machine, for this plan. `measured` is a ceiling that was measured just now.
pub(super) fn findings(plan: &Plan, measured: Option<Calibration>) -> Vec<Finding> {
    let kept = || read_calibration(&calibration_file()?, &node_name(None), cpus()).ok()?;
    let machine = Machine {
        ports: read("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| port_range(&text)),
        memory: free_memory(),
        calibration: measured.or_else(kept),
    };
    let limit = wec_startup::open_files();
    let workers = workers(plan);
    vec![
        open_files(limit, open_files_warning(plan, limit)),
        ports(machine.ports),
        memory(machine.memory, workers, machine.calibration.as_ref()),
        ceiling(machine.calibration.as_ref()),
    ]
}

/// The most workers of a plan at a time.
pub(super) fn workers(plan: &Plan) -> u64 {
    plan.scenarios.iter().map(|scenario| scenario.load.workers().peak() as u64).sum()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What the system reports as available, or less if this process's group has a limit.
fn free_memory() -> Option<u64> {
    let system = read("/proc/meminfo").and_then(|text| available(&text));
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .map(|most| most.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    [system, group].into_iter().flatten().min()
}

/// `MemAvailable:   12345 kB`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// First and last, separated by a tab.
fn port_range(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    let (first, last) = (numbers.next()??, numbers.next()??);
    (first <= last).then_some((first, last))
}

fn open_files(limit: Option<u64>, warning: Option<String>) -> Finding {
    match (limit, warning) {
        (_, Some(warning)) => Finding::warning(
            Check::OpenFiles,
            warning,
            "raise the hard limit: ulimit -Hn, LimitNOFILE in a unit, nofile in /etc/security/limits.conf",
        ),
        (Some(limit), None) => {
            Finding::ok(Check::OpenFiles, format!("{limit} may be open, enough for this plan"))
        }
        (None, None) => Finding::ok(Check::OpenFiles, "not limited"),
    }
}

fn ports(range: Option<(u32, u32)>) -> Finding {
    let Some((first, last)) = range else {
        return Finding::ok(Check::Ports, "not known on this system");
    };
    let ports = last - first + 1;
    let found = format!(
        "{ports} local ports ({first} to {last}): {} new connections a second to one address of the CA",
        ports / TIME_WAIT_S
    );
    if ports >= FEW_PORTS {
        return Finding::ok(Check::Ports, found);
    }
    Finding::warning(
        Check::Ports,
        found,
        "with --connections per-chain, raise net.ipv4.ip_local_port_range or give several --source-address",
    )
}

fn memory(free: Option<u64>, workers: u64, calibration: Option<&Calibration>) -> Finding {
    let Some(free) = free else { return Finding::ok(Check::Memory, "not known on this system") };
    let each = calibration.and_then(|kept| kept.memory_per_worker).unwrap_or(WORKER).max(1);
    let needed = BESIDES.saturating_add(each.saturating_mul(workers));
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let found = format!("{} MiB are free; {workers} workers need about {} MiB", mib(free), mib(needed));
    if needed <= free {
        return Finding::ok(Check::Memory, found);
    }
    let most = free.saturating_sub(BESIDES) / each;
    Finding::warning(
        Check::Memory,
        found,
        format!("at most {most} --workers fit; end other programs, or use more machines"),
    )
}

fn ceiling(calibration: Option<&Calibration>) -> Finding {
    let Some(kept) = calibration else {
        return Finding::ok(
            Check::Ceiling,
            "not measured: --calibrate does it in seconds, wec calibrate thoroughly",
        );
    };
    let kept_up = match kept.kept_up_chains_per_s {
        Some(rate) => format!(", {rate:.0} chains/s kept up"),
        None => String::new(),
    };
    Finding::ok(
        Check::Ceiling,
        format!(
            "{:.0} chains/s, {:.0} requests/s at most against the built-in CA on this machine{kept_up}",
            kept.chains_per_s, kept.requests_per_s
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn the_systems_files_are_read() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:    2048 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(port_range("32768\t60999\n"), Some((32_768, 60_999)));
        for wrong in ["", "1", "a b", "9 1"] {
            assert_eq!((available(wrong), port_range(wrong)), (None, None), "{wrong:?}");
        }
    }

    #[test]
    fn limits_are_warned_about_when_a_load_would_meet_them() {
        const MIB: u64 = 1024 * 1024;
        let cases = [
            (open_files(Some(1024), None), Level::Ok),
            (open_files(None, None), Level::Ok),
            (open_files(Some(64), Some("too few".into())), Level::Warning),
            (ports(Some((32_768, 60_999))), Level::Ok),
            (ports(Some((60_000, 60_999))), Level::Warning),
            (ports(None), Level::Ok),
            (memory(Some(1024 * MIB), 50, None), Level::Ok),
            (memory(Some(1024 * MIB), 100_000, None), Level::Warning),
            (memory(Some(64 * MIB), 1, None), Level::Warning),
            (memory(None, 1, None), Level::Ok),
            (ceiling(None), Level::Ok),
        ];
        for (finding, level) in cases {
            assert_eq!(finding.level, level, "{finding:?}");
        }
        assert!(ports(Some((32_768, 60_999))).found.contains("470 new connections a second"));
        let way_out = memory(Some(1024 * MIB), 100_000, None).way_out.unwrap();
        assert!(way_out.contains("at most 28672 --workers"), "{way_out}");
    }
}
