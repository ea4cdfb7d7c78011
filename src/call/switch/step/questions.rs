//! What a step asks while it is taken. Each answer is a fact: a journal has it, and a replay reads it there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::controller::EndpointId;
use crate::handler::Party;
use crate::identity::Reads;
use crate::lookup::ResolvedContact;
use crate::pace::Place;
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::switch::admission::{Dialled, MediaRules, Outgoing, SessionRules};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::HopRule;
use b2b_sip::msg::number::Ours;

/// The questions of a step.
pub(crate) trait Questions {
    /// Our own names and numbers.
    fn ours(&self) -> &dyn Ours;
    /// How identities of this user or gateway are read.
    fn reads(&self, user: Option<&str>, gateway: Option<&str>, source: SocketAddr) -> Reads<'_>;
    /// Whether names that this party asserts are believed.
    fn believes(&mut self, party: &Party) -> bool;
    /// Whether this party is told whom it is connected with.
    fn is_told(&mut self, party: &Party) -> bool;
    /// Whether all of these parties take signalling of the telephone network.
    fn take_isup(&mut self, parties: &[&Party]) -> bool;
    /// Whether there are credentials for requests to this party.
    fn has_credentials(&mut self, party: &Party) -> bool;
    /// How sessions with this party are refreshed.
    fn session_rules(&mut self, party: &Party) -> SessionRules;
    /// The terms for the media of this party.
    fn media_rules(&mut self, now: Instant, party: &Party) -> MediaRules;
    /// The hops that requests of a call to this contact may take.
    fn hops_of(&mut self, contact: &ResolvedContact) -> HopRule;
    /// The terms on which a contact may be dialled, or the status and reason of a refusal.
    fn outgoing(&mut self, now: Instant, dialled: Dialled<'_>) -> Result<Outgoing, (u16, String)>;
    /// How long a branch with this place has to wait further.
    fn waits(&mut self, now: Instant, place: Option<&Place>) -> Duration;
    /// Whether a description repeats the last one of this party.
    fn repeats(&mut self, endpoint: EndpointId, description: &[u8]) -> bool;
    /// The first of these legs whose party was told less than it and the party of the second endpoint want now.
    fn behind(&mut self, legs: &[(LegId, EndpointId, EndpointId)]) -> Option<LegId>;
    /// Whether a party takes telephone events, or the tones that it is configured for.
    fn takes_events(&mut self, endpoint: EndpointId, tones: bool) -> bool;
    /// Whether a party gets digits by INFO in any case, as it is configured.
    fn wants_info(&mut self, configured: bool) -> bool;
    /// Whether a handler has this name, or knows an application by it.
    fn knows_application(&mut self, name: &str) -> bool;
    /// Whether a handler has this leg.
    fn is_handled(&mut self, leg: LegId) -> bool;
    /// Whether a handler hears of this call.
    fn is_heard(&mut self, call: CallId) -> bool;
    /// Tells the sender of a command of its call; whether it was still there.
    fn reaches(&mut self, reply: Reply<Result<LegId, DialError>>, result: Result<LegId, DialError>) -> bool;
    /// Whether nobody waits for the outcome of a hold any more.
    fn is_unwanted(&mut self, hold: Option<&Reply<Result<(), CallError>>>) -> bool;
    /// The number that the next leg had, in a replay.
    fn next_leg(&mut self) -> Option<LegId>;
    /// The new leg has this number.
    fn is_leg(&mut self, leg: LegId);
    /// The number that the next bridge had, in a replay.
    fn next_bridge(&mut self) -> Option<BridgeId>;
    /// The new bridge has this number.
    fn is_bridge(&mut self, bridge: BridgeId);
}
