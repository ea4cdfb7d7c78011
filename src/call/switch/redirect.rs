//! A branch's refusal, and the contacts of a 3xx (RFC 3261 §8.1.3.4).

use super::dial::DialFailure;
use super::say::q850_of;
use super::{Switch, Turn};
use crate::call::LegId;
use crate::call::event::Event;
use crate::call::lookup::{LookupRequest, ResolvedContact};
use crate::sip::endpoint::redirect_targets;
use crate::sip::msg::Response;

impl Switch {
    /// A branch got its final refusal. What a 3xx names is looked up first: it may be
    /// somebody of ours. Who is not is dialled as the URI says.
    pub(super) fn branch_refused(&mut self, t: &mut Turn<'_>, leg: LegId, response: &Response) {
        let failure = DialFailure {
            status: response.status(),
            reason: String::from_utf8_lossy(response.reason()).into_owned(),
            q850: q850_of(response),
            ours: false,
        };
        let Some((call, Some(branch))) = self.legs.get(leg.0).map(|it| (it.call, it.branch)) else { return };
        let now = t.now;
        let targets = match failure.status {
            300..400 => redirect_targets(response),
            _ => Vec::new(),
        };
        let dialling = self.calls.get(call.0).and_then(|it| it.dialling.as_ref());
        let follows = dialling.and_then(|it| it.dial.as_ref()).is_some_and(|dial| dial.follows_redirects());
        let said = failure.clone();
        if targets.is_empty() || !follows {
            self.with_dial(t, call, |dial| dial.failed(now, branch, failure));
            return self.tell_refused(t, call, leg, said);
        }
        let (resolver, caller) = (self.resolver.clone(), self.caller_uri(call));
        let found = Box::pin(async move {
            let mut rounds: Vec<(u16, Vec<ResolvedContact>)> = Vec::new();
            for target in targets {
                let Ok(uri) = String::from_utf8(target.uri.to_vec()) else { continue };
                let request = LookupRequest { caller: caller.clone(), ..LookupRequest::new(uri, now) };
                let contacts = match resolver.lookup(&request).await {
                    Ok(Some(found)) => found.contacts,
                    _ => vec![ResolvedContact::new(request.target, 0)],
                };
                // Equal ones together, the others one after the other.
                match rounds.last_mut().filter(|(q, _)| *q == target.q) {
                    Some((_, round)) => round.extend(contacts),
                    None => rounds.push((target.q, contacts)),
                }
            }
            rounds.into_iter().map(|(_, round)| round).collect::<Vec<_>>()
        });
        self.run(t, found, move |switch, t, rounds| {
            // Another dialling of this call has branches of its own.
            if switch.branch(call, branch) != Some(leg) {
                switch.counters.late += 1;
                return;
            }
            if rounds.is_err() {
                switch.counters.panics += 1;
            }
            let (now, rounds) = (t.now, rounds.unwrap_or_default());
            if let Some(first) = rounds.iter().flatten().next() {
                switch.tell(t, Event::Redirected { call, leg, to: first.uri.clone() });
            }
            switch.with_dial(t, call, |dial| dial.redirected(now, branch, failure, rounds));
            switch.tell_refused(t, call, leg, said);
        });
    }
}
