//! State of the gateways: written by admission control, read by the resolver and by observers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::gateway::ner::{NerState, Out};
use b2b_call::channels::{Channels, Holder};
use b2b_call::resolver::{GatewayStatus, GrantedBy, Health};
use b2b_sip::endpoint::Flow;

/// Maximum addresses remembered per host name: a lookup returns only some of a pool's.
const ADDRESSES: usize = 64;

/// The board; clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct GatewayBoard {
    /// Channels in use, by gateways and other holders.
    pub channels: Channels,
    states: Arc<RwLock<HashMap<String, GatewayState>>>,
    /// Addresses that host names resolved to, the latest last.
    located: Arc<RwLock<HashMap<String, Vec<IpAddr>>>>,
    /// Requested immediate registrations.
    wanted: Arc<Mutex<Vec<Wanted>>>,
}

/// Which registrations are to be tried at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those waiting to retry after a failure.
    Failed,
    /// The one at this gateway.
    At(String),
}

/// The state of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayState {
    /// Our registration there; `None`: not configured.
    pub registration: Option<RegistrationState>,
    /// Its hosts, in the order of their priority.
    pub hosts: Vec<(String, Health)>,
    /// The registration of ours that is in force, and the way it went.
    pub granted_by: Option<GrantedBy>,
    /// Network effectiveness ratio over its last calls; `None`: not measured.
    pub ner: Option<NerState>,
}

impl GatewayState {
    /// Whether anything is known: we register there, or a host has been probed or called.
    pub fn is_known(&self) -> bool {
        self.registration.is_some() || self.hosts.iter().any(|(_, health)| *health != Health::Unknown)
    }

    /// Whether the gateway takes calls, as far as is known.
    pub fn is_up(&self) -> bool {
        let lost = self.registration.as_ref().is_some_and(|it| it.failed && !it.registered);
        let down = !self.hosts.is_empty() && self.hosts.iter().all(|(_, health)| *health == Health::Down);
        !lost && !down && self.ner.is_none_or(|it| it.out.is_none())
    }
}

/// State of a registration of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrationState {
    /// It is in force.
    pub registered: bool,
    /// An attempt has failed since it was last in force, or since the start.
    pub failed: bool,
    /// The status of the last attempt; `None`: no response yet, or a timeout.
    pub status: Option<u16>,
    /// The result of the last attempt, in words.
    pub reason: String,
    /// The registrar reaches us over the flow of the REGISTER (RFC 5626), and that flow is up.
    pub outbound: bool,
}

impl GatewayBoard {
    /// Every monitored gateway, by name, with its channels in use.
    pub fn snapshot(&self) -> Vec<(String, GatewayState, usize)> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = states
            .iter()
            .map(|(name, state)| (name.clone(), state.clone(), self.channels.taken(&gateway(name))))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Requests an immediate registration; the gateway monitor picks it up.
    pub fn register(&self, wanted: Wanted) {
        let mut all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&wanted) {
            all.push(wanted);
        }
    }

    /// Takes the registrations requested since the last call.
    pub fn take_wanted(&self) -> Vec<Wanted> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the state of a gateway.
    pub fn set(&self, name: &str, state: GatewayState) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), state);
    }

    /// Records the result of a lookup of a gateway's host.
    pub fn located(&self, host: &str, found: &[IpAddr]) {
        let found = || found.iter().map(|ip| ip.to_canonical());
        let known = self.addresses(host);
        if found().all(|ip| known.contains(&ip)) {
            return;
        }
        let mut located = self.located.write().unwrap_or_else(PoisonError::into_inner);
        let known = located.entry(host.to_ascii_lowercase()).or_default();
        for ip in found() {
            if !known.contains(&ip) {
                known.push(ip);
            }
        }
        let surplus = known.len().saturating_sub(ADDRESSES);
        known.drain(..surplus);
    }

    /// The addresses that a host name resolved to.
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let located = self.located.read().unwrap_or_else(PoisonError::into_inner);
        located.get(host).cloned().unwrap_or_default()
    }

    /// The gateway whose registration by us is in force and went over this connection. `None` where several
    /// have one: accounts at one host share the connection, so it does not identify the call's gateway.
    pub fn registered_by(&self, flow: &Flow) -> Option<Arc<str>> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |state: &GatewayState| {
            state
                .granted_by
                .as_ref()
                .and_then(|by| by.flow)
                .is_some_and(|by| by.id == flow.id && by.transport == flow.transport)
        };
        let mut names = states.iter().filter(|(_, state)| is_it(state)).map(|(name, _)| name.as_str());
        names.next().filter(|_| names.next().is_none()).map(Into::into)
    }

    /// Removes a gateway.
    pub fn remove(&self, name: &str) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn gateway(name: &str) -> Holder {
    Holder::Gateway(name.into())
}

impl GatewayStatus for GatewayBoard {
    fn health(&self, gateway: &str, host: &str) -> Health {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = states.get(gateway) else { return Health::Unknown };
        if state.registration.as_ref().is_some_and(|it| it.failed && !it.registered) {
            return Health::Down;
        }
        if state.ner.is_some_and(|it| it.out == Some(Out::Resting)) {
            return Health::Down;
        }
        state.hosts.iter().find(|(name, _)| name == host).map_or(Health::Unknown, |(_, health)| *health)
    }

    fn granted_by(&self, gateway: &str) -> Option<GrantedBy> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states.get(gateway)?.granted_by.clone()
    }

    fn channels_in_use(&self, name: &str) -> u32 {
        u32::try_from(self.channels.taken(&gateway(name))).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_sip::endpoint::{FlowId, Transport};

    #[test]
    fn hosts_of_a_gateway_are_down_when_they_do_not_answer_or_our_registration_has_failed() {
        let board = GatewayBoard::default();
        assert_eq!(board.health("g", "a"), Health::Unknown);
        let hosts = vec![("a".to_owned(), Health::Up), ("b".to_owned(), Health::Down)];
        let state = |registered, failed| GatewayState {
            registration: Some(RegistrationState { registered, failed, ..RegistrationState::default() }),
            hosts: hosts.clone(),
            granted_by: None,
            ner: None,
        };
        for (registered, failed, of_a) in [
            (true, false, Health::Up),
            // A refresh has failed: the registration stays in force until it expires.
            (true, true, Health::Up),
            (false, true, Health::Down),
            // No response yet.
            (false, false, Health::Up),
        ] {
            board.set("g", state(registered, failed));
            assert_eq!((board.health("g", "a"), board.health("g", "b")), (of_a, Health::Down));
        }
        board.remove("g");
        assert_eq!(board.health("g", "b"), Health::Unknown);
    }

    #[test]
    fn a_connection_that_several_registrations_share_says_of_none_whose_call_it_is() {
        let board = GatewayBoard::default();
        let flow = |id| Flow {
            transport: Transport::Tcp,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([192, 0, 2, 21], 5060).into(),
            id: FlowId(id),
        };
        let granted = |id| GatewayState {
            registration: None,
            hosts: Vec::new(),
            granted_by: Some(GrantedBy { host: "a".to_owned(), flow: Some(flow(id)), service_route: None }),
            ner: None,
        };
        board.set("one", granted(7));
        assert_eq!(board.registered_by(&flow(7)).as_deref(), Some("one"));
        assert_eq!(board.registered_by(&flow(8)), None);
        assert_eq!(board.registered_by(&Flow { transport: Transport::Tls, ..flow(7) }), None);
        board.set("two", granted(8));
        assert_eq!(board.registered_by(&flow(7)).as_deref(), Some("one"), "it has one of its own");
        board.set("two", granted(7));
        assert_eq!(board.registered_by(&flow(7)), None);
        board.remove("one");
        assert_eq!(board.registered_by(&flow(7)).as_deref(), Some("two"));
    }
}
