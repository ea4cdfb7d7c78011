//! The protocols that agents speak, and how they code audio.

use std::fmt;

use strum::IntoStaticStr;

use b2b_base::util::secret::SecretText;
use b2b_call::controller::Codec;

use super::AgentUrl;

/// The protocol of an agent, with what it needs beside its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Protocol {
    /// b2b's own (docs/voice-agents.md).
    #[default]
    B2b,
    /// The same, with the audio as JSON, too.
    Json,
    /// Twilio's Media Streams; requests are signed with the token (`X-Twilio-Signature`).
    Twilio(Option<SecretText>),
    /// Asterisk's `chan_websocket`, with its control messages in this form.
    ChanWebsocket(ControlMessages),
    /// Asterisk's AudioSocket, over TCP.
    AudioSocket,
}

/// A web server that names the address of an agent's WebSocket, as TwiML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `https://…` or `http://…`.
    pub url: String,
    /// Hosts that it may name beside its own.
    pub stream_hosts: Vec<String>,
}

/// The form of `chan_websocket`'s control messages; Asterisk's `control_message_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlMessages {
    /// `MEDIA_START connection_id:…`.
    #[default]
    PlainText,
    /// `{"event": "MEDIA_START", …}`.
    Json,
}

/// How audio is coded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE", const_into_str)]
pub enum Encoding {
    /// Samples of 16 bits, little-endian.
    #[default]
    L16,
    /// G.711 µ-law at 8 kHz.
    Pcmu,
    /// G.711 A-law at 8 kHz.
    Pcma,
    /// Opus: each message is a packet (RFC 6716 §3).
    #[strum(serialize = "opus")]
    Opus,
}

impl Encoding {
    /// The name, as in an `rtpmap` attribute.
    pub fn name(self) -> &'static str {
        self.into_str()
    }

    /// Octets of a sample; 0: they vary.
    pub fn octets(self) -> usize {
        match self {
            Encoding::L16 => 2,
            Encoding::Pcmu | Encoding::Pcma => 1,
            Encoding::Opus => 0,
        }
    }

    /// The codec, if it is one.
    pub fn codec(self) -> Option<Codec> {
        match self {
            Encoding::L16 => None,
            Encoding::Pcmu => Some(Codec::Pcmu),
            Encoding::Pcma => Some(Codec::Pcma),
            Encoding::Opus => Some(Codec::Opus),
        }
    }
}

/// Where an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentPlace {
    /// At the address of its WebSocket.
    Url(AgentUrl),
    /// Where this web server says.
    Webhook(Webhook),
    /// It connects to b2b, which says for which leg.
    Incoming,
}

/// Omits the query, which may contain a secret.
impl fmt::Display for AgentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentPlace::Url(url) => url.fmt(f),
            AgentPlace::Incoming => f.write_str("incoming"),
            AgentPlace::Webhook(webhook) => f.write_str(webhook.url.split('?').next().unwrap_or_default()),
        }
    }
}
