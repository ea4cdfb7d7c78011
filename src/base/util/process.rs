//! What a process knows about itself: its CPU time, its memory, its parent.

use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeVal;
use nix::unistd::getppid;

/// The environment variable that holds the process id of the orchestrator.
pub const PARENT: &str = "B2B_PARENT";

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

/// Resident memory of this process, bytes; 0 when the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

/// Descriptors that this process may have once it asks for them: the hard limit. 0
/// when the system does not tell.
pub fn descriptor_limit() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE)
        .map(|(_, hard)| usize::try_from(hard).unwrap_or(usize::MAX))
        .unwrap_or(0)
}

/// Cores that this process may use; 1 when the system does not tell.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The orchestrator that started this process is gone.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the orchestrator (pid {0}) has exited")]
pub struct ParentGone(pub i32);

/// Asks the system for a SIGTERM when the process named in [`PARENT`] dies; does
/// nothing without that variable. (The signal comes when the *thread* that started
/// us ends: the orchestrator starts its children from a thread that lives on.)
///
/// # Errors
/// When that process is gone already.
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
    fn cpu_time_grows_with_work_and_memory_with_data() {
        let (cpu, memory) = (cpu_time(), resident_bytes());
        let mut data = vec![0u8; 64 << 20];
        // Once at least: tests beside this one spend the same process's time.
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
