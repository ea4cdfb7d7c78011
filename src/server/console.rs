//! The log's lines of everyday: who registers, which calls begin, are answered and end. Made of the
//! events, a few lines a second; what is more is counted in one. No I/O, no clock.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use b2b_base::util::unheard;
use b2b_call::CallId;
use b2b_call::call_fsm::{CallDirection, CallState};
use b2b_call::event::Event;
use b2b_call::leg_fsm::TerminationCause;

/// Lines in a second.
const LINES: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Bindings and calls that are known at most: behind that they are forgotten.
const MOST: usize = 50_000;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Console {
    /// Contacts, by the address that they are bound to.
    bound: HashMap<String, String>,
    gateways: HashMap<String, bool>,
    calls: HashMap<CallId, Call>,
    since: Option<SystemTime>,
    lines: u32,
    left_out: u32,
}

#[derive(Debug)]
struct Call {
    began: SystemTime,
    parties: Vec<String>,
    answered: bool,
    /// Why the last leg that failed did.
    failed: Option<String>,
}

impl Console {
    /// What is to be logged of an event.
    pub fn event(&mut self, now: SystemTime, event: &Event) -> Vec<String> {
        let Some(line) = self.line(now, event) else { return Vec::new() };
        let fresh = self.since.is_none_or(|since| now.duration_since(since).unwrap_or(SECOND) >= SECOND);
        let mut lines = Vec::new();
        if fresh {
            (self.since, self.lines) = (Some(now), 0);
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                lines.push(format!("{left_out} similar lines suppressed"));
            }
        }
        if self.lines >= LINES {
            self.left_out += 1;
            return lines;
        }
        self.lines += 1;
        lines.push(line);
        lines
    }

    fn line(&mut self, now: SystemTime, event: &Event) -> Option<String> {
        match event {
            Event::Registered { aor, contact, expires_s, source } => {
                if self.bound.len() >= MOST {
                    self.bound.clear();
                }
                let again = self.bound.insert(aor.clone(), contact.clone());
                let source = source.map(|source| format!(" from {source}")).unwrap_or_default();
                (again.as_ref() != Some(contact))
                    .then(|| format!("{aor} is registered{source} at {contact} for {expires_s} s"))
            }
            Event::Unregistered { aor, contact, expired } => {
                self.bound.remove(aor);
                let why = if *expired { "its registration has expired" } else { "it has unregistered" };
                Some(format!("{aor} is no longer registered at {contact}: {why}"))
            }
            Event::GatewayRegistration { gateway, registered, status, reason } => {
                let before = self.gateways.insert(gateway.clone(), *registered);
                let status = status.map(|status| format!("{status} ")).unwrap_or_default();
                (before != Some(*registered)).then(|| match registered {
                    true => format!("gateway {gateway}: registered"),
                    false => format!("gateway {gateway}: registration failed: {status}{reason}"),
                })
            }
            Event::GatewayHealth { host, .. } if host.is_empty() => None,
            Event::GatewayHealth { gateway, host, up, reason } => Some(match up {
                true => format!("gateway {gateway}: {host} answers"),
                false => format!("gateway {gateway}: {host} does not respond: {reason}"),
            }),
            _ => self.of_call(now, event),
        }
    }

    fn of_call(&mut self, now: SystemTime, event: &Event) -> Option<String> {
        match event {
            Event::LegCreated { call, direction, peer, user, gateway, .. } => {
                if self.calls.len() >= MOST {
                    self.calls.clear();
                }
                let party = user.clone().unwrap_or_else(|| number(peer));
                let by = gateway.as_ref().map(|gateway| format!(" by {gateway}")).unwrap_or_default();
                let fresh = || Call { began: now, parties: Vec::new(), answered: false, failed: None };
                let it = self.calls.entry(*call).or_insert_with(fresh);
                it.parties.push(format!("{party}{by}"));
                let first = it.parties.len() == 1 && *direction == CallDirection::Inbound;
                first.then(|| format!("call {}: {party}{by} calls", call.0))
            }
            Event::LegState { call, cause: Some(TerminationCause::Failed { status, reason }), .. } => {
                self.calls.get_mut(call)?.failed = Some(unheard::in_words(*status, reason));
                None
            }
            Event::CallState { call, to: CallState::Bridged, .. } => {
                let it = self.calls.get_mut(call).filter(|it| !it.answered)?;
                it.answered = true;
                Some(format!("call {}: {} are connected", call.0, it.parties.join(" and ")))
            }
            Event::CallState { call, to: CallState::Idle, .. } => {
                let it = self.calls.remove(call)?;
                let lasted = now.duration_since(it.began).unwrap_or_default().as_secs();
                let why =
                    it.failed.filter(|_| !it.answered).map(|why| format!(": {why}")).unwrap_or_default();
                Some(format!("call {}: over after {lasted} s, {}{why}", call.0, it.parties.join(" and ")))
            }
            _ => None,
        }
    }
}

/// The user part of a URI, else all of it.
fn number(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or(rest, |(user, _)| user).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_call::LegId;
    use b2b_call::call_fsm::CallEvent;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn leg(direction: CallDirection, peer: &str, user: Option<&str>) -> Event {
        let (peer, user) = (peer.to_owned(), user.map(str::to_owned));
        Event::LegCreated { call: CallId(7), leg: LegId(1), direction, peer, gateway: None, user }
    }

    fn state(to: CallState) -> Event {
        Event::CallState { call: CallId(7), from: CallState::IncomingCall, to, event: CallEvent::Incoming }
    }

    #[test]
    fn a_call_has_a_line_at_its_beginning_its_answer_and_its_end() {
        let mut console = Console::default();
        let events = [
            leg(CallDirection::Inbound, "sip:1001@192.0.2.1", None),
            leg(CallDirection::Outbound, "sip:x@192.0.2.2", Some("1002")),
            state(CallState::Bridged),
            state(CallState::Transferring),
            state(CallState::Bridged),
            state(CallState::Idle),
        ];
        let lines: Vec<String> =
            (0..).zip(&events).flat_map(|(second, event)| console.event(at(second), event)).collect();
        let expected = [
            "call 7: 1001 calls",
            "call 7: 1001 and 1002 are connected",
            "call 7: over after 5 s, 1001 and 1002",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_refresh_says_nothing_and_a_storm_is_counted() {
        let mut console = Console::default();
        let registered = |n: u32| Event::Registered {
            aor: format!("sip:{n}@b2b"),
            contact: format!("sip:{n}@192.0.2.1"),
            expires_s: 60,
            source: None,
        };
        assert_eq!(console.event(at(0), &registered(0)).len(), 1);
        assert_eq!(console.event(at(0), &registered(0)).len(), 0);
        let storm: usize = (1..1_000).map(|n| console.event(at(0), &registered(n)).len()).sum();
        assert_eq!(storm, LINES as usize - 1);
        let later = console.event(at(1), &registered(1_000));
        assert_eq!((later.len(), later[0].as_str()), (2, "980 similar lines suppressed"));
    }
}
