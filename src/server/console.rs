//! The routine log lines: registrations, and the begin, answer, refusal and end of calls. They are made from
//! events, at most a few lines a second; the rest are summed up in one line, and repeated refusals of one
//! source get a few lines per window. `Console` has no I/O and no clock; `start` reads the bus on a thread of
//! its own, in batches: a line is written at most 20 ms after its event, in the order of events, and a process
//! that is killed loses the lines of its last 20 ms. What is logged elsewhere is written at once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::refusals::{Refusal, Refusals, quoted, said, sentence};
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::{CallDirection, CallState};
use b2b_call::event::{CallRefused, Event};
use b2b_call::leg_fsm::{LegState, TerminationCause};
use b2b_call::{CallId, LegId};

/// Maximum lines per second.
const LINES: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Maximum bindings and calls tracked; beyond that they are forgotten.
const MOST: usize = 50_000;
/// How long events gather: otherwise each would wake the thread, and cost its publisher the waking.
const BATCH: Duration = Duration::from_millis(20);
/// How long one wait for an event lasts.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Logs lines for the events from now on, until the bus ends; so does the thread.
///
/// # Errors
/// If the system refuses a thread.
pub fn start(mut events: Subscriber) -> std::io::Result<JoinHandle<()>> {
    let run = move || {
        let mut console = Console::default();
        let mut write = |received| match received {
            Received::Event(event) => {
                console.event(event.time, &event.event).iter().for_each(|line| tracing::info!("{line}"));
            }
            // A flood of events: counters cover those that were lost.
            Received::Lagged(_) => {}
        };
        loop {
            match events.recv_blocking(PATIENCE) {
                Ok(Some(received)) => write(received),
                Ok(None) => return,
                Err(_) => continue,
            }
            std::thread::sleep(BATCH);
            while let Some(received) = events.try_recv() {
                write(received);
            }
        }
    };
    std::thread::Builder::new().name("console".into()).spawn(run)
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Console {
    /// Contacts, by the address of record they are bound to.
    bound: HashMap<String, String>,
    calls: HashMap<CallId, Call>,
    /// Parties of legs, which may move from call to call.
    legs: HashMap<LegId, String>,
    refusals: Refusals,
    since: Option<SystemTime>,
    lines: u32,
    /// No more lines are written in this second: an event's line is counted and not made.
    is_full: bool,
    left_out: u32,
}

#[derive(Debug)]
struct Call {
    began: SystemTime,
    parties: Vec<String>,
    /// The parties of its bridge.
    joined: Option<[String; 2]>,
    answered: bool,
    /// Its last line has been written.
    told: bool,
    /// What the last party that failed has said, as in `said`.
    failed: Option<String>,
}

impl Call {
    fn new(now: SystemTime) -> Self {
        Call { began: now, parties: Vec::new(), joined: None, answered: false, told: false, failed: None }
    }

    fn parties(&self) -> String {
        match &self.joined {
            Some(both) => both.join(" and "),
            None => self.parties.join(" and "),
        }
    }
}

impl Console {
    /// The lines to log for an event.
    pub fn event(&mut self, now: SystemTime, event: &Event) -> Vec<String> {
        let fresh = self.since.is_none_or(|since| now.duration_since(since).unwrap_or(SECOND) >= SECOND);
        self.is_full = !fresh && self.lines >= LINES;
        let Some(line) = self.line(now, event) else { return Vec::new() };
        let mut lines = Vec::new();
        if fresh {
            (self.since, self.lines) = (Some(now), 0);
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                lines.push(format!("{left_out} similar lines suppressed"));
            }
        }
        if self.is_full {
            self.left_out += 1;
            return lines;
        }
        self.lines += 1;
        lines.push(line);
        lines
    }

    /// The line of an event; empty if it is one too many.
    fn line(&mut self, now: SystemTime, event: &Event) -> Option<String> {
        let is_full = self.is_full;
        match event {
            Event::Registered { aor, contact, expires_s, source } => {
                if self.bound.len() >= MOST {
                    self.bound.clear();
                }
                let again = self.bound.insert(aor.clone(), contact.clone());
                let source = source.map(|source| format!(" from {source}")).unwrap_or_default();
                (again.as_ref() != Some(contact)).then(|| {
                    text(is_full, || {
                        format!(
                            "{} is registered{source} at {} for {expires_s} s",
                            quoted(aor),
                            quoted(contact)
                        )
                    })
                })
            }
            Event::Unregistered { aor, contact, expired, evicted } => {
                self.bound.remove(aor);
                let why = match (expired, evicted) {
                    (true, _) => "its registration has expired",
                    (_, true) => "another contact took its place",
                    _ => "it has unregistered",
                };
                Some(text(is_full, || {
                    format!("{} is no longer registered at {}: {why}", quoted(aor), quoted(contact))
                }))
            }
            _ => self.of_call(now, event),
        }
    }

    fn of_call(&mut self, now: SystemTime, event: &Event) -> Option<String> {
        let is_full = self.is_full;
        match event {
            Event::LegCreated { call, leg, direction, peer, user, gateway, source, called } => {
                if self.calls.len() >= MOST {
                    self.calls.clear();
                }
                if self.legs.len() >= MOST {
                    self.legs.clear();
                }
                let party = user.clone().unwrap_or_else(|| number(peer));
                let party = quoted(&party).into_owned();
                let by = gateway.as_ref().map(|gateway| format!(" by {gateway}")).unwrap_or_default();
                self.legs.insert(*leg, format!("{party}{by}"));
                let it = self.calls.entry(*call).or_insert_with(|| Call::new(now));
                it.parties.push(format!("{party}{by}"));
                let first = it.parties.len() == 1 && *direction == CallDirection::Inbound;
                if !first {
                    return None;
                }
                // A source that is refused repeatedly begins as many calls.
                if self.refusals.is_flood(now, source.map(|it| it.ip())) {
                    return None;
                }
                Some(text(is_full, || {
                    let called = called.as_deref().map(|it| format!(" {}", quoted(it))).unwrap_or_default();
                    format!("call {}: {party}{by} calls{called}", call.0)
                }))
            }
            Event::LegState { leg, to: LegState::Destroyed | LegState::Failed, call, cause, .. } => {
                self.legs.remove(leg);
                if let Some(TerminationCause::Failed { status, reason }) = cause {
                    self.calls.get_mut(call)?.failed = Some(said(*status, reason));
                }
                None
            }
            Event::BridgeCreated { call, a, b, .. } => {
                let [a, b] = [a, b].map(|leg| self.legs.get(leg).cloned());
                self.calls.get_mut(call)?.joined = a.zip(b).map(<[String; 2]>::from);
                None
            }
            Event::CallState { call, to: CallState::Bridged, .. } => {
                let it = self.calls.get_mut(call).filter(|it| !it.answered)?;
                it.answered = true;
                Some(text(is_full, || format!("call {}: {} are connected", call.0, it.parties())))
            }
            Event::CallRefused(refused) => self.refused(now, refused),
            Event::CallState { call, to: CallState::Idle, .. } => {
                let it = self.calls.remove(call).filter(|it| !it.told)?;
                Some(text(is_full, || {
                    let lasted = now.duration_since(it.began).unwrap_or_default().as_secs();
                    let why = it.failed.as_deref().filter(|_| !it.answered);
                    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                    format!("call {}: over after {lasted} s, {}{why}", call.0, it.parties())
                }))
            }
            _ => None,
        }
    }

    /// The last line of a call whose caller is refused, in place of "over".
    fn refused(&mut self, now: SystemTime, refused: &CallRefused) -> Option<String> {
        let CallRefused { call, source, caller, called, status, why, .. } = refused;
        let it = self.calls.get_mut(call)?;
        it.told = true;
        let left_out = self.refusals.line(now, source.map(|it| it.ip()), ("INVITE", *status))?;
        // The last dialled party's response, if any was dialled.
        let why = it.failed.as_deref().map_or_else(|| sentence(why), Cow::from);
        let (what, to) = (format!("call {}", call.0), called.as_deref().unwrap_or_default());
        let (who, source, status) = (caller.as_str(), *source, *status);
        Some(Refusal { what: &what, who, source, to, status, why: &why, left_out }.to_string())
    }
}

/// The line, unless it is one too many.
fn text(is_full: bool, line: impl FnOnce() -> String) -> String {
    if is_full { String::new() } else { line() }
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
        let (call, leg) = (CallId(7), LegId(if user.is_some() { 2 } else { 1 }));
        let (source, called) = ("192.0.2.1:5060".parse().ok(), Some("9123".to_owned()));
        Event::LegCreated { call, leg, direction, peer, gateway: None, user, source, called }
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
            "call 7: 1001 calls 9123",
            "call 7: 1001 and 1002 are connected",
            "call 7: over after 5 s, 1001 and 1002",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_call_that_another_call_s_leg_is_joined_with_names_both() {
        let mut console = Console::default();
        let joined = Event::BridgeCreated {
            call: CallId(7),
            bridge: b2b_call::BridgeId(1),
            a: LegId(1),
            b: LegId(2),
            mode: Default::default(),
        };
        let Event::LegCreated { leg, direction, peer, gateway, user, source, called, .. } =
            leg(CallDirection::Outbound, "sip:x@192.0.2.2", Some("2001"))
        else {
            unreachable!()
        };
        let agent =
            Event::LegCreated { call: CallId(8), leg, direction, peer, gateway, user, source, called };
        console.event(at(0), &self::leg(CallDirection::Inbound, "sip:1001@192.0.2.1", None));
        console.event(at(1), &agent);
        console.event(at(1), &joined);
        let lines = console.event(at(2), &state(CallState::Bridged));
        assert_eq!(lines, ["call 7: 1001 and 2001 are connected"]);
        assert_eq!(console.event(at(3), &state(CallState::Idle)), ["call 7: over after 3 s, 1001 and 2001"]);
    }

    #[test]
    fn a_refused_call_has_a_line_with_source_number_and_reason_and_a_flood_has_a_few() {
        let mut console = Console::default();
        let refused = Event::CallRefused(CallRefused {
            call: CallId(7),
            leg: LegId(1),
            source: "192.0.2.1:5060".parse().ok(),
            caller: "user/1001".to_owned(),
            called: Some("9123".to_owned()),
            status: 403,
            why: "blocked: 9123 is refused: 403".to_owned(),
        });
        let mut call = |second: u64| {
            let events = [
                leg(CallDirection::Inbound, "sip:1001@192.0.2.1", None),
                refused.clone(),
                state(CallState::Idle),
            ];
            events.iter().flat_map(|event| console.event(at(second), event)).collect::<Vec<_>>()
        };
        let line =
            "call 7: user/1001 from 192.0.2.1:5060 to 9123 refused with 403: blocked: 9123 is refused: 403";
        assert_eq!(call(0), ["call 7: 1001 calls 9123", line]);
        let flood: usize = (1..50).map(|second| call(second).len()).sum();
        assert_eq!(flood, 4 * 2 + 1, "four more, and the beginning of the one that was left out first");
        assert_eq!(call(60)[1], format!("{line} (45 such lines before it were left out)"));
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
