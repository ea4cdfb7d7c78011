//! What b2b tells the world: one enum for SIP, media, applications and the system.
//!
//! As JSON an event is flat: `{"seq":7,"time":"2026-…Z","type":"leg_state","call":3,…}`.
//! Consumers skip types and fields that they do not know.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bridge_fsm::{BridgeMode, BridgeState, HeldBy};
use super::call_fsm::{CallDirection, CallEvent, CallState};
use super::leg_fsm::{LegState, TerminationCause};
use super::lookup::LookupKind;
use super::{BridgeId, CallId, LegId};

/// An event with its place in the order of all events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Rises by one with each event.
    pub seq: u64,
    /// When it happened; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    #[serde(flatten)]
    pub event: Event,
    #[serde(skip)]
    text: Text,
    #[serde(skip)]
    keyless: Text,
}

/// An event as text, once somebody has asked for it.
#[derive(Debug, Clone, Default)]
struct Text(OnceLock<Option<Bytes>>);

/// It is the same whenever the event is.
impl PartialEq for Text {
    fn eq(&self, _: &Text) -> bool {
        true
    }
}

impl Published {
    /// An event that has no number yet.
    pub(super) fn new(time: SystemTime, event: Event) -> Self {
        Published { seq: 0, time, event, text: Text::default(), keyless: Text::default() }
    }

    /// The event as JSON in UTF-8. It is written once, for the first who asks, however many hear of
    /// it. None: it cannot be written.
    pub fn json(&self) -> Option<Bytes> {
        let write = || serde_json::to_vec(self).ok().map(Bytes::from);
        self.text.0.get_or_init(write).clone()
    }

    /// The same for whoever may not know which keys were pressed.
    pub fn json_without_keys(&self) -> Option<Bytes> {
        let Some(event) = self.event.without_keys() else { return self.json() };
        let published = Published { seq: self.seq, ..Published::new(self.time, event) };
        self.keyless.0.get_or_init(|| published.json()).clone()
    }
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    Sip,
    Media,
    Application,
    System,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    // ---- SIP: calls, legs, bridges
    /// A call moved in `call_fsm`.
    CallState { call: CallId, from: CallState, to: CallState, event: CallEvent },
    /// A machine got an event that it has no place for.
    IllegalEvent { call: Option<CallId>, what: String },
    /// A leg was adopted (inbound) or created (outbound). `peer` is the other party's URI.
    /// `user`: the user whose phone it is, if it is one's.
    LegCreated {
        call: CallId,
        leg: LegId,
        direction: CallDirection,
        peer: String,
        gateway: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// A leg moved in `leg_fsm`; `cause` with the last transition.
    LegState {
        call: CallId,
        leg: LegId,
        from: LegState,
        to: LegState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<TerminationCause>,
    },
    /// Two legs belong together from now on.
    BridgeCreated { call: CallId, bridge: BridgeId, a: LegId, b: LegId, mode: BridgeMode },
    /// A bridge moved in `bridge_fsm`.
    BridgeState { call: CallId, bridge: BridgeId, from: BridgeState, to: BridgeState, held_by: HeldBy },
    /// A party holds (or held and holds no more) the other.
    Hold { call: CallId, leg: LegId, held: bool },
    /// A program has put a party on hold, or takes it back.
    OnHold { call: CallId, leg: LegId, on: bool },

    // ---- SIP: dialling
    /// A target was looked up.
    Lookup { call: Option<CallId>, target: String, kind: LookupKind, contacts: usize },
    /// It could not be.
    LookupFailed { call: Option<CallId>, target: String, status: u16, error: String },
    /// An INVITE goes to a contact.
    Dialling { call: CallId, leg: LegId, uri: String, gateway: Option<String> },
    /// A contact did not take the call; `next` says whether another one is tried.
    DialFailed { call: CallId, leg: LegId, status: u16, reason: String, next: bool },
    /// One of several contacts answered; the others were cancelled.
    DialWon { call: CallId, leg: LegId, cancelled: usize },
    /// 3xx: the call goes on to another contact.
    Redirected { call: CallId, leg: LegId, to: String },
    /// A party names a place that it may not lead us to: nobody went there. `way` says by what
    /// (`redirect`, `refer`, `replaces`), `party` whose it is (`user/1001`, `gateway/carrier`), `line`
    /// what would allow it in the configuration, where something would.
    NotFollowed {
        call: CallId,
        leg: LegId,
        party: String,
        way: String,
        to: String,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<String>,
    },

    /// Route or Contact in a dialog leads elsewhere than to the party itself: there all the
    /// same, or by the flow that the party came by instead.
    NextHop { call: CallId, leg: LegId, address: SocketAddr, followed: bool, why: String },

    // ---- SIP: transfer
    /// REFER came, or an application wants it.
    TransferRequested { call: CallId, leg: LegId, kind: TransferKind, target: String },
    /// The target's latest status.
    TransferProgress { call: CallId, leg: LegId, status: u16 },
    /// It is over: 2xx for good, anything else for bad.
    TransferEnded { call: CallId, leg: LegId, status: u16 },

    // ---- SIP: registrations, both ways
    /// A binding is new or refreshed.
    Registered { aor: String, contact: String, expires_s: u32, source: Option<SocketAddr> },
    /// A binding is gone.
    Unregistered { aor: String, contact: String, expired: bool },
    /// Our registration at a provider.
    GatewayRegistration { gateway: String, registered: bool, status: Option<u16>, reason: String },
    /// A host of a provider answers, or does not any more.
    GatewayHealth { gateway: String, host: String, up: bool, reason: String },
    /// A wrong password, or none where one is needed.
    AuthenticationFailed { source: IpAddr, user: String, method: String },
    /// A source is refused for a time.
    Banned { source: IpAddr, for_s: u64, reason: String },
    /// A REGISTER has passed a proxy that is not named: Path and further Vias do not count.
    ProxyNotNamed { source: IpAddr, user: String },

    // ---- media
    /// What a leg agreed on. `transcoded` when the other leg has another codec.
    MediaNegotiated { call: CallId, leg: LegId, codec: String, remote: SocketAddr, transcoded: bool },
    /// The first packet came from the party.
    MediaStarted { call: CallId, leg: LegId, from: SocketAddr },
    /// Packets come from another address than before.
    MediaSourceChanged { call: CallId, leg: LegId, from: SocketAddr, to: SocketAddr },
    /// Packets come, and none of them from an address that may be believed. `party`: whose media
    /// they may be, `gateway/carrier` or `user/1001`; empty: nobody's who is known. `line` in
    /// the configuration, there or in `[media]`, lets them in.
    MediaRefused { call: CallId, leg: LegId, from: SocketAddr, party: String, line: String },
    /// No more is sent to where the party said that it receives: nothing has ever come from there.
    MediaWithheld { call: CallId, leg: LegId, to: SocketAddr },
    /// Nothing came for too long.
    MediaTimeout { call: CallId, leg: LegId, silent_ms: u64 },
    /// A digit; none: it is a secret, of a PIN.
    Digit {
        call: CallId,
        leg: LegId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digit: Option<char>,
        duration_ms: u32,
        by: DigitBy,
    },
    /// How a leg's media fares; counts since its start.
    Quality { call: CallId, leg: LegId, quality: Quality },
    /// What was wrong with a call's media, in words; nothing is published of a good one.
    Verdict { call: CallId, cause: String, text: String },
    /// Recording began or ended: of the whole call, or of one leg.
    Recording {
        call: CallId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        leg: Option<LegId>,
        on: bool,
    },

    // ---- applications
    /// A handler got the call.
    HandlerStarted { call: CallId, handler: String },
    /// A handler is done with it.
    HandlerEnded { call: CallId, handler: String, action: String },
    /// A handler panicked, hung or failed; its call ends.
    HandlerFailed { call: CallId, handler: String, error: String },
    /// An application's own news.
    Application { call: Option<CallId>, app: String, name: String, data: serde_json::Value },

    // ---- programs outside
    /// A command of a program is done, as it wanted; `result` is what came of it.
    CommandCompleted { id: String, command: String, call: Option<CallId>, result: serde_json::Value },
    /// It is over and not done. `reason` is one word, `error` says more, `status` is SIP's where
    /// a party has refused.
    CommandFailed {
        id: String,
        command: String,
        call: Option<CallId>,
        reason: String,
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },

    // ---- system
    /// Listening.
    Listening { transport: String, address: SocketAddr },
    /// A new configuration is in force, or was refused with this error.
    Reloaded { error: Option<String> },
    /// No new calls; these are left.
    Draining { calls: usize },
    /// Too much to do: since when is in `time`, over when `on` is false.
    Overload { on: bool, reason: String },
    /// Something that an operator has to look at.
    Error { component: String, message: String },
}

/// How a call is handed on (RFC 5589).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// REFER to a URI.
    Blind,
    /// REFER with Replaces.
    Attended,
}

/// How a digit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigitBy {
    /// RFC 4733.
    TelephoneEvent,
    /// SIP INFO.
    Info,
    /// As sound.
    Tone,
}

/// A leg's media in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = LegQuality))]
pub struct Quality {
    pub packets_received: u64,
    pub packets_sent: u64,
    /// Never received, of those that the party sent.
    pub packets_lost: u64,
    /// RFC 3550 A.8.
    pub jitter_ms: f64,
    pub round_trip_ms: Option<f64>,
    /// E-model (G.107), 1 to 4.5.
    pub mos: Option<f64>,
}

impl Event {
    /// Where it comes from.
    pub fn plane(&self) -> Plane {
        match self {
            Event::CallState { .. }
            | Event::IllegalEvent { .. }
            | Event::LegCreated { .. }
            | Event::LegState { .. }
            | Event::BridgeCreated { .. }
            | Event::BridgeState { .. }
            | Event::Hold { .. }
            | Event::OnHold { .. }
            | Event::Lookup { .. }
            | Event::LookupFailed { .. }
            | Event::Dialling { .. }
            | Event::DialFailed { .. }
            | Event::DialWon { .. }
            | Event::Redirected { .. }
            | Event::NotFollowed { .. }
            | Event::NextHop { .. }
            | Event::TransferRequested { .. }
            | Event::TransferProgress { .. }
            | Event::TransferEnded { .. }
            | Event::Registered { .. }
            | Event::Unregistered { .. }
            | Event::GatewayRegistration { .. }
            | Event::GatewayHealth { .. }
            | Event::AuthenticationFailed { .. }
            | Event::Banned { .. }
            | Event::ProxyNotNamed { .. } => Plane::Sip,
            Event::MediaNegotiated { .. }
            | Event::MediaStarted { .. }
            | Event::MediaSourceChanged { .. }
            | Event::MediaRefused { .. }
            | Event::MediaWithheld { .. }
            | Event::MediaTimeout { .. }
            | Event::Digit { .. }
            | Event::Quality { .. }
            | Event::Verdict { .. }
            | Event::Recording { .. } => Plane::Media,
            Event::HandlerStarted { .. }
            | Event::HandlerEnded { .. }
            | Event::HandlerFailed { .. }
            | Event::Application { .. }
            | Event::CommandCompleted { .. }
            | Event::CommandFailed { .. } => Plane::Application,
            Event::Listening { .. }
            | Event::Reloaded { .. }
            | Event::Draining { .. }
            | Event::Overload { .. }
            | Event::Error { .. } => Plane::System,
        }
    }

    /// What whoever may not know which keys were pressed is told in its place; none: it says nothing of
    /// keys.
    fn without_keys(&self) -> Option<Event> {
        let mut event = match self {
            Event::Digit { digit: Some(_), .. }
            | Event::CommandCompleted { .. }
            | Event::Application { .. } => self.clone(),
            _ => return None,
        };
        match &mut event {
            Event::Digit { digit, .. } => *digit = None,
            Event::CommandCompleted { result, .. } => drop(result.as_object_mut()?.remove("digits")?),
            Event::Application { data, .. } => drop(data.as_object_mut()?.remove("key")?),
            _ => return None,
        }
        Some(event)
    }

    /// The call that it is about, if it is about one.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Event::CallState { call, .. }
            | Event::LegCreated { call, .. }
            | Event::LegState { call, .. }
            | Event::BridgeCreated { call, .. }
            | Event::BridgeState { call, .. }
            | Event::Hold { call, .. }
            | Event::OnHold { call, .. }
            | Event::Dialling { call, .. }
            | Event::DialFailed { call, .. }
            | Event::DialWon { call, .. }
            | Event::Redirected { call, .. }
            | Event::NotFollowed { call, .. }
            | Event::NextHop { call, .. }
            | Event::TransferRequested { call, .. }
            | Event::TransferProgress { call, .. }
            | Event::TransferEnded { call, .. }
            | Event::MediaNegotiated { call, .. }
            | Event::MediaStarted { call, .. }
            | Event::MediaSourceChanged { call, .. }
            | Event::MediaRefused { call, .. }
            | Event::MediaWithheld { call, .. }
            | Event::MediaTimeout { call, .. }
            | Event::Digit { call, .. }
            | Event::Quality { call, .. }
            | Event::Verdict { call, .. }
            | Event::Recording { call, .. }
            | Event::HandlerStarted { call, .. }
            | Event::HandlerEnded { call, .. }
            | Event::HandlerFailed { call, .. } => Some(*call),
            Event::IllegalEvent { call, .. }
            | Event::Lookup { call, .. }
            | Event::LookupFailed { call, .. }
            | Event::CommandCompleted { call, .. }
            | Event::CommandFailed { call, .. }
            | Event::Application { call, .. } => *call,
            Event::Registered { .. }
            | Event::Unregistered { .. }
            | Event::GatewayRegistration { .. }
            | Event::GatewayHealth { .. }
            | Event::AuthenticationFailed { .. }
            | Event::Banned { .. }
            | Event::ProxyNotNamed { .. }
            | Event::Listening { .. }
            | Event::Reloaded { .. }
            | Event::Draining { .. }
            | Event::Overload { .. }
            | Event::Error { .. } => None,
        }
    }
}

/// Times as RFC 3339 with microseconds, in UTC.
pub mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// As text.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_micros(*time))
    }

    /// From text.
    ///
    /// # Errors
    /// It is no such time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
