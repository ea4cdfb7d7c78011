//! Answers the questions of steps: from admission control, media and the handlers, each a fact of the journal.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::controller::EndpointId;
use crate::handler::Party;
use crate::identity::Reads;
use crate::lookup::ResolvedContact;
use crate::negotiate::pair;
use crate::pace::Place;
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::switch::admission::{Dialled, MediaRules, Outgoing, SessionRules};
use crate::switch::common::World;
use crate::switch::journal::Hops;
use crate::switch::step::questions::Questions;
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::HopRule;
use b2b_sip::msg::number::Ours;

impl Questions for World {
    fn ours(&self) -> &dyn Ours {
        self.parts.admission.ours()
    }

    fn reads(&self, user: Option<&str>, gateway: Option<&str>, source: SocketAddr) -> Reads<'_> {
        self.parts.admission.reads(user, gateway, source)
    }

    fn believes(&mut self, party: &Party) -> bool {
        self.fact("believes", |world| world.parts.admission.believes(party))
    }

    fn is_told(&mut self, party: &Party) -> bool {
        self.fact("is told", |world| world.parts.admission.is_told(party))
    }

    fn take_isup(&mut self, parties: &[&Party]) -> bool {
        self.fact("takes ISUP", |world| parties.iter().all(|party| world.parts.admission.takes_isup(party)))
    }

    fn has_credentials(&mut self, party: &Party) -> bool {
        self.fact("has credentials", |world| world.parts.admission.has_credentials(party))
    }

    fn session_rules(&mut self, party: &Party) -> SessionRules {
        self.fact("session timer", |world| world.parts.admission.session_rules(party))
    }

    fn media_rules(&mut self, now: Instant, party: &Party) -> MediaRules {
        let rules = self.parts.admission.media_rules(now, party);
        let no_reinvites = self.fact("no re-INVITEs", |_| rules.no_reinvites);
        MediaRules { no_reinvites, ..rules }
    }

    fn hops_of(&mut self, contact: &ResolvedContact) -> HopRule {
        if let Some(hops) = self.reads::<Hops>("hops") {
            return hops.rule();
        }
        let rule = self.parts.admission.hops_of_contact(contact);
        self.writes("hops", &Hops::of(&rule));
        rule
    }

    fn outgoing(&mut self, now: Instant, dialled: Dialled<'_>) -> Result<Outgoing, (u16, String)> {
        let mut outgoing = Outgoing::default();
        let wait = self.fact("outgoing", |world| match world.parts.admission.outgoing(now, dialled) {
            Ok(admitted) => {
                outgoing = admitted;
                Ok(outgoing.wait)
            }
            Err((status, reason)) => Err((status, reason.to_owned())),
        });
        match self.reads_next("channels") {
            Some(channels) => outgoing.channels = channels,
            None if self.is_kept && !outgoing.channels.is_empty() => {
                self.writes("channels", &outgoing.channels);
            }
            None => {}
        }
        wait.map(|wait| Outgoing { wait, ..outgoing })
    }

    fn waits(&mut self, now: Instant, place: Option<&Place>) -> Duration {
        if let Some(told) = self.reads_next("turn") {
            return told;
        }
        let wait = place.map_or(Duration::ZERO, |place| place.wait(now));
        if !wait.is_zero() {
            self.writes("turn", &wait);
        }
        wait
    }

    fn repeats(&mut self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.fact("repeats", |world| world.parts.controller.repeats(endpoint, description))
    }

    fn behind(&mut self, legs: &[(LegId, EndpointId, EndpointId)]) -> Option<LegId> {
        if self.is_replay() {
            return self.reads_next("behind");
        }
        let media = &self.parts.controller;
        let (leg, ..) = *legs.iter().find(|(_, own, other)| media.is_behind(*own, *other))?;
        self.writes("behind", &leg);
        Some(leg)
    }

    fn takes_events(&mut self, endpoint: EndpointId, tones: bool) -> bool {
        self.fact("takes events", |world| {
            let described = world.parts.controller.descriptions(endpoint).filter(|_| !tones);
            let agreed = described.and_then(|it| pair::agreed(&it.told, &it.said));
            let is_event = |(_, name): &(u8, String)| name.eq_ignore_ascii_case("telephone-event");
            agreed.is_none_or(|agreed| agreed.iter().any(is_event))
        })
    }

    fn wants_info(&mut self, configured: bool) -> bool {
        self.fact("wants INFO", |_| configured)
    }

    fn knows_application(&mut self, name: &str) -> bool {
        self.fact("handler named", |world| world.find_handler(name).is_some())
    }

    fn is_handled(&mut self, leg: LegId) -> bool {
        self.known("handled", |world| world.handled.contains_key(&leg))
    }

    fn is_heard(&mut self, call: CallId) -> bool {
        self.known("heard", |world| world.listeners.get(&call).is_some_and(|it| !it.is_empty()))
    }

    fn reaches(&mut self, reply: Reply<Result<LegId, DialError>>, result: Result<LegId, DialError>) -> bool {
        self.fact("told", |_| reply.send(result).is_ok())
    }

    fn is_unwanted(&mut self, hold: Option<&Reply<Result<(), CallError>>>) -> bool {
        self.fact("hold is unwanted", |_| hold.is_none_or(Reply::is_closed))
    }

    fn next_leg(&mut self) -> Option<LegId> {
        Self::reads(self, "leg")
    }

    fn is_leg(&mut self, leg: LegId) {
        self.writes("leg", &leg);
    }

    fn next_bridge(&mut self) -> Option<BridgeId> {
        Self::reads(self, "bridge")
    }

    fn is_bridge(&mut self, bridge: BridgeId) {
        self.writes("bridge", &bridge);
    }
}
