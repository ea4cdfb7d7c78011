//! What is asked of a controller, and what happens in it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::EndpointStats;
use super::json::octets;
use super::verbs::{ConferenceId, Recorded, RecordingId};
use crate::bridge_fsm::Direction;
use crate::negotiate::NegotiateError;
pub use crate::negotiate::crypto::{SrtpOffer, SrtpPolicy, SrtpRules};
use crate::negotiate::pair::{self, Side};
pub use crate::negotiate::pair::{AudioRules, DtmfMode, Hold, OpusRules, PairPolicy};
use b2b_media::codec::Codec;
use b2b_media::transport::lock::same_host;
pub use b2b_media::transport::lock::{Answering, NamedSources, Signalling};
pub use b2b_media::transport::protection::Suite as SrtpSuite;

/// A media endpoint; unique within its controller, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct EndpointId(pub u64);

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressFamily {
    /// `IP4` of SDP (RFC 8866 §5.7).
    V4,
    /// `IP6` of SDP (RFC 8866 §5.7).
    V6,
}

impl AddressFamily {
    /// The family of an address.
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { AddressFamily::V4 } else { AddressFamily::V6 }
    }
}

/// What an endpoint is to be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointSpec {
    /// The party's: that of its offer's address, or of its signalling.
    pub family: AddressFamily,
    /// An endpoint that this one will be bridged to: they had better be near.
    pub near: Option<EndpointId>,
    /// `Timeout` when no RTP came for this long although it should; `None` for never.
    pub rtp_timeout: Option<Duration>,
    /// Whether its party's media are encrypted.
    pub srtp: SrtpRules,
    /// Where its party's signalling comes from, as far as that is known: media may, too.
    pub signalling: Signalling,
    /// From where else the party may send, and whether it is answered there.
    pub sources: NamedSources,
    /// How much is sent without a proof that anybody is there; none: without a bound.
    pub bound: Option<Bound>,
    /// The party is on our side of the NAT: it is told the address that is bound. Media servers of
    /// before do not know of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// The network of the party: the name of one of
    /// [`EmbeddedConfig::interfaces`](super::EmbeddedConfig::interfaces). None: the usual addresses. Media servers
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// How the party's audio is to be. Media servers of before do not know of it.
    #[serde(default, skip_serializing_if = "AudioRules::is_default")]
    pub audio: AudioRules,
}

/// Where a party has named an address that nothing has ever come from, a bounded amount is sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bound {
    /// Whose calls are counted together.
    pub party: String,
    /// Where no proof is wanted.
    pub spared: Vec<IpNet>,
}

impl Bound {
    /// Whether it holds for this host, of a party whose signalling comes from there.
    pub fn holds(&self, host: IpAddr, signalling: &Signalling) -> bool {
        let canonical = host.to_canonical();
        !host.is_unspecified()
            && !signalling.iter().flatten().any(|known| same_host(*known, host))
            && !self.spared.iter().any(|net| net.contains(&canonical))
    }
}

impl EndpointSpec {
    /// An endpoint that reports a minute of silence.
    pub fn new(family: AddressFamily) -> Self {
        EndpointSpec {
            family,
            near: None,
            rtp_timeout: Some(Duration::from_secs(60)),
            srtp: SrtpRules::default(),
            signalling: [None; 2],
            sources: NamedSources::default(),
            bound: None,
            inside: false,
            interface: None,
            audio: AudioRules::default(),
        }
    }

    /// The same for a party whose signalling comes from there.
    pub fn signalled_from(mut self, host: IpAddr) -> Self {
        self.signalling[0] = Some(host);
        self
    }

    /// The same, near that one.
    pub fn near(mut self, other: EndpointId) -> Self {
        self.near = Some(other);
        self
    }
}

/// Where an endpoint receives, as the party will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalDescription {
    /// RTP, and RTCP of those that multiplex.
    pub rtp: SocketAddr,
}

/// The session descriptions that stand between a party and us.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Descriptions {
    /// What the party was told last.
    #[serde(with = "octets")]
    pub told: Box<[u8]>,
    /// What it has said last.
    #[serde(with = "octets")]
    pub said: Box<[u8]>,
    /// Which way media goes by that, as seen from here, where it is known without reading it.
    #[serde(skip)]
    pub direction: Option<Direction>,
}

impl Descriptions {
    /// Those of a side; none: it has not described itself.
    pub fn of(side: &Side) -> Option<Self> {
        let (told, said) = side.described()?;
        Some(Descriptions { told: told.into(), said: said.into(), direction: Some(side.direction()) })
    }

    /// The formats that both have; none: there is no audio in them.
    pub fn agreed(&self) -> Option<Vec<(u8, String)>> {
        pair::agreed(&self.told, &self.said)
    }

    /// Which way media goes, as seen from here; none: there is no audio in them.
    pub fn direction(&self) -> Option<Direction> {
        self.direction.or_else(|| pair::direction_of(&self.said))
    }

    /// The encoding name of what the party sends under this payload type; `known` is the one that it
    /// was thought to be.
    pub fn spoken(&self, payload_type: u8, known: Option<&str>) -> Option<String> {
        let codec = known.and_then(|known| known.parse::<Codec>().ok());
        // Numbers that have one meaning everywhere (RFC 3551 §6) need no second look.
        let plain = codec.is_some_and(|codec| payload_type < 96 && codec.payload_type() == payload_type);
        if plain { None } else { pair::spoken(&self.told, payload_type) }
    }

    /// The encoding name of the first codec that both have.
    pub fn codec(&self) -> Option<String> {
        let speech =
            |name: &String| !["telephone-event", "CN"].iter().any(|it| name.eq_ignore_ascii_case(it));
        self.agreed()?.into_iter().map(|(_, name)| name).find(speech)
    }
}

/// How one direction of a bridge is carried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Payloads pass untouched. The encoding name that is preferred.
    Relay {
        /// `PCMA`, `opus` …, as in `a=rtpmap`.
        encoding: String,
    },
    /// Decoded and encoded again: encoding names.
    Transcode {
        /// What is received.
        from: String,
        /// What is sent.
        to: String,
    },
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Relay { encoding } => f.write_str(encoding),
            Route::Transcode { from, to } => write!(f, "{from} to {to}"),
        }
    }
}

/// How a bridge carries media.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Joined {
    /// From the first endpoint to the second.
    pub forward: Route,
    /// From the second to the first.
    pub backward: Route,
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_relay() { "relayed" } else { "transcoded" };
        write!(f, "{word}, {} there and {} back", self.forward, self.backward)
    }
}

impl Joined {
    /// Whether nothing is decoded.
    pub fn is_relay(&self) -> bool {
        matches!((&self.forward, &self.backward), (Route::Relay { .. }, Route::Relay { .. }))
    }
}

/// What happens to media.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum MediaEvent {
    /// The first RTP packet of the party was believed. Once.
    Started {
        /// Whose media it is.
        endpoint: EndpointId,
        /// Where it came from.
        from: SocketAddr,
    },
    /// No RTP for the configured time although it is expected. Once; armed again by the
    /// next packet and by every offer and answer.
    Timeout {
        /// Whose media is missing.
        endpoint: EndpointId,
    },
    /// RTP of the party comes from another address now, and goes there.
    SourceChanged {
        /// Whose media it is.
        endpoint: EndpointId,
        /// The source until now.
        from: SocketAddr,
        /// The source from now on.
        to: SocketAddr,
    },
    /// Packets come for the party, and none of them from an address that may be believed. Once.
    SourceRefused {
        /// Whose port they come to.
        endpoint: EndpointId,
        /// The source of one of them.
        from: SocketAddr,
    },
    /// No more is sent to where the party said that it receives, since nothing has ever come from
    /// there. Once.
    Withheld {
        /// Whose party it is.
        endpoint: EndpointId,
        /// The address of its description.
        to: SocketAddr,
    },
    /// A digit by RFC 4733, or `by_tone`, once per press. Where the endpoint is bridged and the other
    /// party takes `telephone-event`, it has been passed on already.
    Digit {
        /// Whose party pressed it.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
        /// How long it was pressed, in ms.
        duration_ms: u32,
        /// Whether the other party has been sent it.
        passed_on: bool,
        /// Whether it was recognised as a tone in the audio.
        by_tone: bool,
    },
    /// A recording is over, whoever ended it.
    Recorded {
        /// Which one.
        recording: RecordingId,
        /// What has come of it.
        recorded: Recorded,
    },
    /// Who is in a room begins or ceases to speak.
    Speaking {
        /// The room.
        conference: ConferenceId,
        /// The member.
        endpoint: EndpointId,
        /// Whether it begins.
        on: bool,
    },
    /// An endpoint's last event: its ports rest.
    #[serde(skip)]
    Closed {
        /// The endpoint, which is no more.
        endpoint: EndpointId,
        /// Its last counters.
        stats: Box<EndpointStats>,
    },
    /// An endpoint's media is gone, with whoever carried it: it is to be released. Its last
    /// event but `Closed`.
    Failed {
        /// The endpoint.
        endpoint: EndpointId,
        /// For logs.
        reason: String,
    },
    /// The controller is gone, and all media with it. The last event.
    Lost {
        /// For logs.
        reason: String,
    },
}

/// One thing that a controller may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Endpoints of their own: `local_offer`, `apply_remote`, `local_answer`.
    Endpoints,
    /// `pair_offer` and `pair_answer`.
    Pairs,
    /// `bridge` of any two endpoints.
    Bridges,
    /// Bridges between different codecs.
    Transcoding,
    /// `Digit` events.
    DigitEvents,
    /// `Timeout` events.
    Timeouts,
    /// `stats` while a call is up.
    Statistics,
    /// `play_prompt`.
    Prompts,
    /// `collect_dtmf`, `play_and_collect`.
    DigitCollection,
    /// `start_recording`.
    Recording,
    /// `create_conference`.
    Conferences,
    /// `start_moh`.
    MusicOnHold,
    /// `direct_offer`, `return_offer`.
    DirectMedia,
    /// `capture`.
    Capture,
    /// `echo`.
    Echo,
    /// `open_stream`.
    Streams,
    /// SRTP: an [`EndpointSpec::srtp`] with `encrypted`.
    Encryption,
}

impl Capability {
    /// Every one.
    pub const ALL: [Capability; 17] = [
        Capability::Endpoints,
        Capability::Pairs,
        Capability::Bridges,
        Capability::Transcoding,
        Capability::DigitEvents,
        Capability::Timeouts,
        Capability::Statistics,
        Capability::Prompts,
        Capability::DigitCollection,
        Capability::Recording,
        Capability::Conferences,
        Capability::MusicOnHold,
        Capability::DirectMedia,
        Capability::Capture,
        Capability::Echo,
        Capability::Streams,
        Capability::Encryption,
    ];
}

/// What a controller can do: a set. A configuration that needs more is refused when it
/// is loaded, with [`Capabilities::missing`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// These.
    pub const fn of(capabilities: &[Capability]) -> Self {
        let (mut set, mut n) = (0, 0);
        while n < capabilities.len() {
            set |= 1 << capabilities[n] as u32;
            n += 1;
        }
        Capabilities(set)
    }

    /// The same but these.
    pub const fn without(self, others: Capabilities) -> Self {
        Capabilities(self.0 & !others.0)
    }

    /// Whether this is one of them.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// What of `needed` is not here.
    pub fn missing(self, needed: Capabilities) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |one| needed.has(*one) && !self.has(*one))
    }
}

/// Why a controller did not do as it was told. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaError {
    /// The controller lacks this capability.
    #[error("this media engine does not support {0:?}; choose another one in the configuration")]
    Unsupported(Capability),
    /// No pair of ports is left in the range.
    #[error("no free RTP port; widen the port range or end calls")]
    NoPorts,
    /// The controller has no address of this family.
    #[error("no media address of the family {0:?}; add one to the configuration")]
    Family(AddressFamily),
    /// The endpoint was released, or never there.
    #[error("no such media endpoint: it has been released")]
    NoSuchEndpoint(EndpointId),
    /// A file or tone of a prompt is no good; the text says which and why.
    #[error("{0} cannot be played; correct the file, or its name")]
    Prompt(String),
    /// The file of a recording cannot be made; the text says why.
    #[error("cannot record: {0}; free disk space, or choose another folder")]
    File(String),
    /// The room has ended, is full, or does not have this party as a member.
    #[error("no such room, or no place in it")]
    Conference,
    /// The limit of audio streams is reached.
    #[error("the limit of streams is reached; end some")]
    Streams,
    /// Offer and answer do not go together (RFC 3264).
    #[error(transparent)]
    Description(#[from] NegotiateError),
    /// A bridge would need a transcoder that is not there.
    #[error("the legs share no codec, and a codec of theirs cannot be transcoded")]
    NoCommonCodec,
    /// The endpoint has neither offer nor answer of its party.
    #[error("a leg has no session description yet: wait for its offer or answer")]
    Undescribed,
    /// The endpoint's party was offered nothing, or has answered already.
    #[error("there is no offer for this answer")]
    NoOffer,
    /// The media cannot go past us; the text says why.
    #[error("the parties cannot send to each other: {0}; media stays with b2b")]
    NotDirect(String),
    /// The controller takes no more requests.
    #[error("the media controller has stopped; start it again")]
    Stopped,
}

impl MediaError {
    /// The response that refuses the offer or the call that this concerns.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            MediaError::Description(error) => error.status(),
            MediaError::NoCommonCodec => (488, "Not Acceptable Here"),
            MediaError::Family(_) => (488, "Incompatible Network Address Format"),
            MediaError::NoPorts | MediaError::Streams | MediaError::Stopped => (503, "No Media Resources"),
            MediaError::Unsupported(_)
            | MediaError::Prompt(_)
            | MediaError::File(_)
            | MediaError::Conference
            | MediaError::NoSuchEndpoint(_)
            | MediaError::Undescribed
            | MediaError::NotDirect(_)
            | MediaError::NoOffer => (500, "Server Internal Error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_controller_lacks_is_named() {
        let has = Capabilities::of(&[Capability::Pairs, Capability::Bridges]);
        let needs = Capabilities::of(&[Capability::Pairs, Capability::Recording, Capability::MusicOnHold]);
        let missing: Vec<_> = has.missing(needs).collect();
        assert_eq!(missing, [Capability::Recording, Capability::MusicOnHold]);
        assert_eq!(needs.missing(needs).next(), None);
        assert!(Capability::ALL.iter().all(|one| Capabilities::of(&Capability::ALL).has(*one)));
    }
}
