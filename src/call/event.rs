//! What b2b tells the world: one enum for SIP, media, applications and the system.
//!
//! As JSON an event is flat: `{"seq":7,"time":"2026-…Z","type":"leg_state","call":3,…}`.
//! Consumers skip types and fields that they do not know.

mod address;
mod emergency;
mod filter;
mod inside;
mod kinds;
mod media;
mod refused;
mod table;

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

pub use address::AddressSeen;
pub use emergency::EmergencyCall;
pub use filter::{EventFilter, UnknownWord};
pub use inside::{INFO_BODY, INFO_FIELD, InfoSaid, NextHop};
pub use kinds::Event;
pub use media::{MediaRefused, Playback, RecordingNews};
pub use refused::CallRefused;
pub use table::KINDS;

/// An event with its place in the order of all events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Published {
    /// Rises by one with each event.
    pub seq: u64,
    /// When it happened; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub time: SystemTime,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schema(ignore))]
    text: Text,
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schema(ignore))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// SIP: calls, legs, bridges, dialling, transfers, registrations.
    Sip,
    /// RTP: streams, digits, recordings, quality.
    Media,
    /// Handlers and programs that command calls.
    Application,
    /// The process itself.
    System,
}

/// How a call is handed on (RFC 5589).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// REFER to a URI.
    Blind,
    /// REFER with Replaces.
    Attended,
}

/// How a digit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
    /// RTP packets from the party.
    pub packets_received: u64,
    /// RTP packets to the party.
    pub packets_sent: u64,
    /// Never received, of those that the party sent.
    pub packets_lost: u64,
    /// RFC 3550 A.8.
    pub jitter_ms: f64,
    /// By RTCP (RFC 3550 §6.4.1), in ms; `None`: no report has said so.
    pub round_trip_ms: Option<f64>,
    /// E-model (G.107), 1 to 4.5.
    pub mos: Option<f64>,
}

impl Plane {
    /// All of them.
    pub const ALL: [Plane; 4] = [Plane::Sip, Plane::Media, Plane::Application, Plane::System];

    /// The word for it, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Plane::Sip => "sip",
            Plane::Media => "media",
            Plane::Application => "application",
            Plane::System => "system",
        }
    }
}

impl Event {
    /// What whoever may not know which keys were pressed is told in its place; none: it says nothing of
    /// keys.
    fn without_keys(&self) -> Option<Event> {
        let mut event = match self {
            Event::Digit { digit: Some(_), .. }
            | Event::CommandCompleted { .. }
            | Event::Info(_)
            | Event::Application { .. } => self.clone(),
            _ => return None,
        };
        match &mut event {
            Event::Digit { digit, .. } => *digit = None,
            // What it says is not known, and may be a key.
            Event::Info(it) => drop(it.body.take()?),
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
            | Event::TransferRequested { call, .. }
            | Event::TransferProgress { call, .. }
            | Event::TransferEnded { call, .. }
            | Event::MediaNegotiated { call, .. }
            | Event::MediaStarted { call, .. }
            | Event::MediaSourceChanged { call, .. }
            | Event::MediaWithheld { call, .. }
            | Event::MediaTimeout { call, .. }
            | Event::Digit { call, .. }
            | Event::Quality { call, .. }
            | Event::Verdict { call, .. }
            | Event::HandlerStarted { call, .. }
            | Event::HandlerEnded { call, .. }
            | Event::HandlerFailed { call, .. } => Some(*call),
            Event::EmergencyCall(it) => Some(it.call),
            Event::CallRefused(it) => Some(it.call),
            Event::NextHop(it) => Some(it.call),
            Event::Info(it) => Some(it.call),
            Event::MediaRefused(it) => Some(it.call),
            Event::Recording(it) => Some(it.call),
            Event::Playback(it) => Some(it.call),
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
            | Event::AddressSeen(_)
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
