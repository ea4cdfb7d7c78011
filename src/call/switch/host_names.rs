//! Host names that parties give for their media. The call goes on at once and awaits RTP; the driver looks the
//! name up, and its address is applied when it is found.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::tasks::{Came, Done};
use super::{Switch, Turn};
use crate::controller::{AddressFamily, EndpointId};

/// Lookups of a party within [`SECOND`], at most.
const MOST: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

/// A name that is to be looked up.
pub(super) struct HostName {
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
pub(super) struct HostNames {
    waiting: VecDeque<HostName>,
    asked: VecDeque<(Instant, String)>,
}

impl HostNames {
    /// Whether this party may have the name looked up now.
    fn add(&mut self, now: Instant, party: &str, name: HostName) -> bool {
        self.asked.retain(|(at, _)| now.duration_since(*at) < SECOND);
        let may = self.asked.iter().filter(|(_, by)| by == party).count() < MOST;
        if may {
            self.asked.push_back((now, party.to_owned()));
            self.waiting.push_back(name);
        }
        may
    }
}

impl Switch {
    /// The next name to look up.
    pub(super) fn poll_host(&mut self) -> Option<HostName> {
        self.common.work.host_names.waiting.pop_front()
    }

    pub(super) fn host_named(&mut self, t: &Turn<'_>, name: HostName) {
        let Some(leg) = self.calls.of_endpoint(name.endpoint) else { return self.common.counters.late() };
        let party = self.calls.party(leg);
        let party = self.common.parts.admission.media_rules(t.now, &party).party;
        let why = format!("{} is not looked up: {party} named {MOST} others in a second", name.host);
        let endpoint = name.endpoint;
        if !self.common.work.host_names.add(t.now, &party, name) {
            self.note_host(t, endpoint, &why);
        }
    }

    pub(super) fn host_found(&mut self, t: &Turn<'_>, name: HostName, address: Option<IpAddr>) {
        let HostName { endpoint, host, .. } = name;
        let Some(address) = address else {
            return self.note_host(t, endpoint, &format!("{host} has no address, or none in time"));
        };
        self.note_host(t, endpoint, &format!("{host} is {address}"));
        self.common.parts.controller.host_found(endpoint, host, address);
    }

    fn note_host(&mut self, t: &Turn<'_>, endpoint: EndpointId, why: &str) {
        let leg = self.calls.of_endpoint(endpoint);
        match leg.and_then(|leg| Some((leg, self.calls.leg(leg)?.call))) {
            Some((leg, call)) => self.common.history.decided(call, t.now, Some(leg), "host name", why),
            None => self.common.counters.late(),
        }
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
