//! The events that b2b publishes: one enum for SIP, media, applications and the system.
//!
//! As JSON an event is flat: `{"seq":7,"time":"2026-…Z","type":"leg_state","call":3,…}`.
//! Consumers must ignore unknown types and fields.

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
use strum::IntoStaticStr;

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

/// An event with its sequence number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Published {
    /// Increases by one with each event.
    pub seq: u64,
    /// The time of the event; RFC 3339 in JSON.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub time: SystemTime,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schema(ignore))]
    text: Text,
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schema(ignore))]
    keyless: Text,
}

/// The JSON text of an event, created on first use.
#[derive(Debug, Clone, Default)]
struct Text(OnceLock<Option<Bytes>>);

/// A cache: always equal, so that only the event is compared.
impl PartialEq for Text {
    fn eq(&self, _: &Text) -> bool {
        true
    }
}

impl Published {
    /// An event without a sequence number.
    pub(super) fn new(time: SystemTime, event: Event) -> Self {
        Published { seq: 0, time, event, text: Text::default(), keyless: Text::default() }
    }

    /// The event as JSON in UTF-8, serialized once for all subscribers. `None` if it cannot be serialized.
    pub fn json(&self) -> Option<Bytes> {
        let write = || serde_json::to_vec(self).ok().map(Bytes::from);
        self.text.0.get_or_init(write).clone()
    }

    /// The event as JSON for subscribers that may not see pressed keys.
    pub fn json_without_keys(&self) -> Option<Bytes> {
        let Some(event) = self.event.without_keys() else { return self.json() };
        let published = Published { seq: self.seq, ..Published::new(self.time, event) };
        self.keyless.0.get_or_init(|| published.json()).clone()
    }
}

/// The origin of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Plane {
    /// SIP: calls, legs, bridges, dialling, transfers, registrations.
    Sip,
    /// RTP: streams, digits, recordings, quality.
    Media,
    /// Handlers and programs that control calls.
    Application,
    /// The process itself.
    System,
}

/// The kind of a transfer (RFC 5589).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// REFER to a URI.
    Blind,
    /// REFER with Replaces.
    Attended,
}

/// How a digit was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DigitBy {
    /// RFC 4733.
    TelephoneEvent,
    /// SIP INFO.
    Info,
    /// A DTMF tone in the audio.
    Tone,
}

/// Statistics of a leg's media.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = LegQuality))]
pub struct Quality {
    /// RTP packets received from the party.
    pub packets_received: u64,
    /// RTP packets sent to the party.
    pub packets_sent: u64,
    /// Packets that the party sent and b2b never received.
    pub packets_lost: u64,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter_ms: f64,
    /// By RTCP (RFC 3550 §6.4.1), in ms; `None` without such a report.
    pub round_trip_ms: Option<f64>,
    /// E-model (G.107), 1 to 4.5.
    pub mos: Option<f64>,
}

impl Plane {
    /// Every plane.
    pub const ALL: [Plane; 4] = [Plane::Sip, Plane::Media, Plane::Application, Plane::System];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Event {
    /// The event without its pressed keys, for subscribers that may not see them; `None` if it contains no
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
            // The meaning of the body is unknown: it may contain a key.
            Event::Info(it) => drop(it.body.take()?),
            Event::CommandCompleted { result, .. } => drop(result.as_object_mut()?.remove("digits")?),
            Event::Application { data, .. } => drop(data.as_object_mut()?.remove("key")?),
            _ => return None,
        }
        Some(event)
    }

    /// The call that the event is about, if any.
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
            | Event::MediaReplayed { call, .. }
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

    /// Serializes a time.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_micros(*time))
    }

    /// Deserializes a time.
    ///
    /// # Errors
    /// The text is not an RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
