//! Information about the own process: CPU time, memory, parent.

use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::getppid;

/// The environment variable with the process id of the orchestrator.
pub const PARENT: &str = "B2B_PARENT";

/// Ticks per second in /proc (`USER_HZ`): the same on every current architecture, whatever
/// the kernel's own tick rate.
const USER_HZ: u64 = 100;

/// User and system time of this process so far.
pub fn cpu_time() -> Duration {
    let time = |value: TimeVal| {
        Duration::from_secs(value.tv_sec().max(0) as u64)
            + Duration::from_micros(value.tv_usec().max(0) as u64)
    };
    getrusage(UsageWho::RUSAGE_SELF)
        .map(|usage| time(usage.user_time()) + time(usage.system_time()))
        .unwrap_or_default()
}

/// Resident memory of this process, in octets; 0 if unknown.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

/// The hard limit of descriptors, up to which the process may raise its own. 0 if unknown.
pub fn descriptor_limit() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE)
        .map(|(_, hard)| usize::try_from(hard).unwrap_or(usize::MAX))
        .unwrap_or(0)
}

/// Number of open descriptors, including the one used for counting; 0 if unknown.
pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The soft limit of descriptors, which is in force. 0 if unknown.
pub fn descriptor_soft_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// For how long this process has run, to a tick of 10 ms; `None` if unknown.
pub fn ran() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let began = Duration::from_millis(started_ticks(&stat)? * 1_000 / USER_HZ);
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(now.saturating_sub(began))
}

/// Start time of this process since 1970; `None` if unknown.
pub fn started() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let stat_of_system = std::fs::read_to_string("/proc/stat").ok()?;
    let booted =
        stat_of_system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(booted) + Duration::from_millis(started_ticks(&stat)? * 1_000 / USER_HZ))
}

/// The field `starttime` of /proc/[pid]/stat (proc(5)): ticks since boot. The program name
/// before it may contain spaces and brackets.
fn started_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Number of cores that this process may use; 1 if unknown.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The orchestrator that started this process has exited.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the orchestrator (pid {0}) has exited")]
pub struct ParentGone(pub i32);

/// Requests a SIGTERM for when the process named in [`PARENT`] dies; no effect without that
/// variable. (The signal is sent when the *thread* that started this process ends: the
/// orchestrator starts its children from a thread that lives on.)
///
/// # Errors
/// That process has already exited.
pub fn follow_parent() -> Result<(), ParentGone> {
    let Some(parent) = std::env::var(PARENT).ok().and_then(|pid| pid.parse::<i32>().ok()) else {
        return Ok(());
    };
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGTERM) {
        tracing::warn!("the death of the orchestrator cannot be detected by a signal: {error}");
    }
    // It may have died before the call above.
    if getppid().as_raw() == parent { Ok(()) } else { Err(ParentGone(parent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_the_start_and_the_descriptors() {
        let name = "1 (a) S b) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 4711 21 22";
        assert_eq!(started_ticks(name), Some(4711));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let started = started().unwrap();
        assert!(started <= now + Duration::from_secs(60) && started + Duration::from_secs(86_400) > now);
        let before = open_descriptors();
        assert!(before >= 3 && (before as u64) < descriptor_soft_limit());
    }

    #[test]
    fn cpu_time_grows_with_work_and_memory_with_data() {
        let (cpu, memory) = (cpu_time(), resident_bytes());
        let mut data = vec![0u8; 64 << 20];
        // Repeated, because tests in parallel use CPU time of the same process.
        loop {
            data.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3) | 1);
            if cpu_time() >= cpu + Duration::from_millis(20) {
                break;
            }
        }
        assert!(data[1_000] != 0, "what was written is there");
        assert!(resident_bytes() > memory + (32 << 20), "{memory} then {}", resident_bytes());
    }
}
