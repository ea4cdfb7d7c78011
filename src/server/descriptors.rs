//! The file descriptor limit of this process, and the number of calls that it allows.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Carrier;
use crate::config::ServerConfig;
use crate::config::capacity::Capacity;
use b2b_base::util::process;

/// Raises the descriptor limit to the system's maximum.
pub fn raise() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

/// The number of calls that fit within the present descriptor limit.
pub fn capacity(config: &ServerConfig) -> Capacity {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    Capacity::of(config, usize::try_from(limit).unwrap_or(usize::MAX), process::cores())
}

/// The same in words; where other programs carry the media, this process's ports and threads do not matter.
pub fn room(config: &ServerConfig, capacity: &Capacity) -> impl fmt::Display {
    match config.media.controller {
        Carrier::Embedded => capacity.to_string(),
        _ => format!("{} calls fit by limits.calls; how much media fits, its servers say", capacity.by_limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn ports_of_this_machine_are_not_told_where_another_one_carries_the_media() {
        let told = |text: &str| {
            let config = parse_alone(text).unwrap();
            room(&config, &Capacity::of(&config, 20_000, 2)).to_string()
        };
        assert!(told("[limits]\ncalls = 50\n").contains(" by media.ports"));
        let remote = told("[limits]\ncalls = 50\n[media]\ncontroller = \"http://127.0.0.1:9\"\n");
        assert!(remote.starts_with("50 calls fit by limits.calls") && !remote.contains("ports"), "{remote}");
    }
}
