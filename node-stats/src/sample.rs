//! The figures of this machine: its processors, memory and disks, measured each second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

/// How often it is measured. The use of the processors is that of the time between two measurements.
const EVERY: Duration = Duration::from_secs(1);

/// File systems whose space is not that of a disk of this machine: in memory, read-only images, layers over others,
/// and those of other machines.
const NOT_OF_A_DISK: [&str; 14] = [
    "tmpfs", "devtmpfs", "ramfs", "squashfs", "iso9660", "erofs", "overlay", "aufs", "nfs", "nfs4", "cifs",
    "smb3", "9p", "ceph",
];

/// The figures of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Use of all processors, per cent.
    pub cpu_used: f64,
    /// Its disks together.
    pub disk: Used,
    /// Its memory.
    pub memory: Used,
}

/// A part of a whole, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The part in use.
    pub used: u64,
    /// The whole.
    pub total: u64,
}

impl Used {
    /// The part, per cent of the whole.
    pub fn percent(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.used as f64 * 100.0 / self.total as f64 }
    }
}

/// Measures this machine until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Sampler {
    latest: watch::Receiver<Option<Figures>>,
    _measuring: Arc<AbortOnDropHandle<()>>,
}

impl Sampler {
    /// Begins to measure. Must be called within a tokio runtime.
    pub fn start() -> Self {
        let (told, latest) = watch::channel(None);
        let measuring = AbortOnDropHandle::new(tokio::spawn(measure(told)));
        Self { latest, _measuring: Arc::new(measuring) }
    }

    /// The latest figures. The first take a moment after the start.
    pub async fn figures(&self) -> Figures {
        let mut latest = self.latest.clone();
        // An error means that the measuring has ended: then there are no figures.
        latest.wait_for(Option::is_some).await.ok().and_then(|figures| *figures).unwrap_or_default()
    }
}

async fn measure(told: watch::Sender<Option<Figures>>) {
    let kinds = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_usage());
    let kinds = kinds.with_memory(MemoryRefreshKind::nothing().with_ram());
    let mut system = match System::new_with_specifics(kinds) {
        Ok(system) => system,
        Err(error) => return tracing::warn!(%error, "this machine cannot be measured: its figures are 0"),
    };
    sleep(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL).await;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A file system of a server that does not answer blocks.
        let measured = tokio::task::spawn_blocking(move || {
            let figures = figures(&mut system);
            (system, figures)
        });
        let Ok((same, figures)) = measured.await else { return };
        system = same;
        told.send_replace(Some(figures));
    }
}

fn figures(system: &mut System) -> Figures {
    system.refresh_cpu_usage();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let disks = disks.as_ref().map(|disks| &disks[..]).unwrap_or_default();
    let mounted = disks.iter().map(|disk| Mounted {
        device: disk.name().to_string_lossy().into_owned(),
        kind: disk.file_system().to_string_lossy().into_owned(),
        is_root: disk.mount_point() == "/",
        space: Used {
            total: disk.total_space(),
            used: disk.total_space().saturating_sub(disk.available_space()),
        },
    });
    Figures {
        cpu_used: f64::from(system.global_cpu_usage()).clamp(0.0, 100.0),
        disk: on_disks(mounted.collect()),
        memory: Used { used: system.used_memory(), total: system.total_memory() },
    }
}

/// A mounted file system.
#[derive(Clone, Debug)]
struct Mounted {
    device: String,
    kind: String,
    is_root: bool,
    space: Used,
}

/// The space of all disks. A device counts once, however often it is mounted; without any disk (in a container) the
/// root counts.
fn on_disks(mounted: Vec<Mounted>) -> Used {
    let is_of_a_disk = |mounted: &&Mounted| {
        !NOT_OF_A_DISK.contains(&mounted.kind.as_str()) && !mounted.kind.starts_with("fuse.")
    };
    let devices: BTreeMap<&str, Used> =
        mounted.iter().filter(is_of_a_disk).map(|mounted| (mounted.device.as_str(), mounted.space)).collect();
    if devices.is_empty() {
        return mounted.iter().find(|mounted| mounted.is_root).map(|root| root.space).unwrap_or_default();
    }
    let sum = |of: fn(&Used) -> u64| devices.values().map(of).fold(0, u64::saturating_add);
    Used { used: sum(|space| space.used), total: sum(|space| space.total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(device: &str, kind: &str, is_root: bool, used: u64, total: u64) -> Mounted {
        Mounted { device: device.into(), kind: kind.into(), is_root, space: Used { used, total } }
    }

    #[test]
    fn a_device_counts_once_and_only_disks_count() {
        let root = mounted("/dev/vda1", "ext4", true, 30, 100);
        let cases = [
            (vec![root.clone()], (30, 100)),
            // A bind mount of the same device.
            (vec![root.clone(), mounted("/dev/vda1", "ext4", false, 30, 100)], (30, 100)),
            (vec![root.clone(), mounted("/dev/vdb", "xfs", false, 5, 50)], (35, 150)),
            (
                vec![
                    root,
                    mounted("tmpfs", "tmpfs", false, 1, 10),
                    mounted("/dev/loop0", "squashfs", false, 7, 7),
                    mounted("server:/home", "nfs4", false, 900, 1000),
                    mounted("sshfs", "fuse.sshfs", false, 900, 1000),
                ],
                (30, 100),
            ),
            (vec![mounted("overlay", "overlay", true, 3, 9), mounted("shm", "tmpfs", false, 0, 1)], (3, 9)),
            (vec![], (0, 0)),
        ];
        for (mounted, (used, total)) in cases {
            let shown = format!("{mounted:?}");
            assert_eq!(on_disks(mounted), Used { used, total }, "{shown}");
        }
    }

    #[test]
    fn a_percentage_is_of_its_own_pair() {
        assert_eq!(Used { used: 1, total: 4 }.percent(), 25.0);
        assert_eq!(Used::default().percent(), 0.0);
    }

    #[tokio::test]
    async fn measures_this_machine() {
        let Figures { cpu_used, disk, memory } = Sampler::start().figures().await;
        assert!((0.0..=100.0).contains(&cpu_used));
        for space in [disk, memory] {
            assert!(0 < space.used && space.used <= space.total, "{space:?}");
        }
    }
}
