//! Host names that parties give for their media. The call goes on at once and awaits RTP; the driver looks the
//! name up, and its address is applied when it is found.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::controller::{AddressFamily, EndpointId};
use crate::switch::work::tasks::{Came, Done};

/// Lookups of a party within [`SECOND`], at most.
pub(crate) const MOST: usize = 5;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A name that is to be looked up.
pub(crate) struct HostName {
    pub endpoint: EndpointId,
    pub family: AddressFamily,
    pub host: String,
}

impl HostName {
    /// How long it may take.
    pub const PATIENCE: Duration = SECOND;

    /// The result; `None`: there is no address, or not in time.
    pub fn found(self, address: Option<IpAddr>) -> Done {
        Done(Came::Address(self, address))
    }
}

/// The names that wait for the driver, and the latest lookups of each party.
#[derive(Default)]
pub(crate) struct HostNames {
    pub waiting: VecDeque<HostName>,
    pub asked: VecDeque<(Instant, String)>,
}

impl HostNames {
    /// Whether this party may have the name looked up now.
    pub(crate) fn add(&mut self, now: Instant, party: &str, name: HostName) -> bool {
        self.asked.retain(|(at, _)| now.duration_since(*at) < SECOND);
        let may = self.asked.iter().filter(|(_, by)| by == party).count() < MOST;
        if may {
            self.asked.push_back((now, party.to_owned()));
            self.waiting.push_back(name);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_has_five_names_looked_up_in_any_second_and_others_theirs() {
        let (mut names, start) = (HostNames::default(), Instant::now());
        let mut add = |ms: u64, party: &str| {
            let name =
                HostName { endpoint: EndpointId(1), family: AddressFamily::V4, host: "m.example".into() };
            names.add(start + Duration::from_millis(ms), party, name)
        };
        let at_once: Vec<bool> = (0..7).map(|_| add(900, "gateway/a")).collect();
        assert_eq!(at_once, [true, true, true, true, true, false, false]);
        assert!(
            add(900, "gateway/b") && !add(1_899, "gateway/a"),
            "another second begins, for the clock only"
        );
        assert!((0..5).all(|_| add(1_900, "gateway/a")) && !add(1_900, "gateway/a"));
        assert_eq!((names.waiting.len(), names.asked.len()), (11, 5));
    }
}
