//! Specifications, events and errors of a controller.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use strum::VariantArray;

use super::EndpointStats;
use super::json::octets;
use super::verbs::{ConferenceId, Recorded, RecordingId};
use crate::ENDPOINT;
use crate::bridge_fsm::Direction;
use crate::negotiate::NegotiateError;
pub use crate::negotiate::crypto::{SrtpOffer, SrtpPolicy, SrtpRules};
use crate::negotiate::pair::{self, Side};
pub use crate::negotiate::pair::{AudioRules, DtmfMode, Hold, OpusRules, PairPolicy, Wishes};
pub use crate::policy::media::{Bound, OwnHosts};
use b2b_base::numbers;
use b2b_media::codec::Codec;
pub use b2b_media::transport::lock::{Answering, NamedSources, Signalling};
pub use b2b_media::transport::protection::Suite as SrtpSuite;

/// A media endpoint; unique within its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct EndpointId(#[serde(deserialize_with = "numbers::read::<ENDPOINT, _>")] pub u64);

impl EndpointId {
    /// In a verb for a leg: its endpoint, which the calls' thread knows
    /// ([`CallService::media`](crate::service::CallService::media)).
    pub const OF_LEG: EndpointId = EndpointId(0);
}

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

/// The parameters of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointSpec {
    /// The address family of the party: that of its offer's address, or of its signalling.
    pub family: AddressFamily,
    /// An endpoint that this one will be bridged to: allocated on the same thread if possible.
    pub near: Option<EndpointId>,
    /// Report `Timeout` if expected RTP is missing for this long; `None` for never.
    pub rtp_timeout: Option<Duration>,
    /// The media encryption of the party.
    pub srtp: SrtpRules,
    /// The source of the party's signalling, where known: its media may come from there, too.
    pub signalling: Signalling,
    /// Further allowed sources of the party's media, and whether media is sent back to them.
    pub sources: NamedSources,
    /// The addresses that the party may name, and the limit on media sent to an unverified one; `None` for all
    /// and no limit.
    pub bound: Option<Bound>,
    /// The party is on our side of the NAT: its description has the bound address. Older media servers do not
    /// know this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// The network of the party: a name from
    /// [`EmbeddedConfig::interfaces`](super::EmbeddedConfig::interfaces). `None`: the default addresses.
    /// Media servers have no named networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The settings of the party's audio. Older media servers do not know this field.
    #[serde(default, skip_serializing_if = "AudioRules::is_default")]
    pub audio: AudioRules,
    /// The descriptions of an endpoint that is gone: the session with the party goes on from there, and is in the next
    /// offer. Older media servers do not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<Descriptions>>,
}

impl EndpointSpec {
    /// An endpoint that never reports `Timeout`.
    pub fn new(family: AddressFamily) -> Self {
        EndpointSpec {
            family,
            near: None,
            rtp_timeout: None,
            srtp: SrtpRules::default(),
            signalling: [None; 2],
            sources: NamedSources::default(),
            bound: None,
            inside: false,
            interface: None,
            audio: AudioRules::default(),
            session: None,
        }
    }

    /// Sets the source of the party's signalling.
    pub fn signalled_from(mut self, host: IpAddr) -> Self {
        self.signalling[0] = Some(host);
        self
    }

    /// Requests a place near that endpoint.
    pub fn near(mut self, other: EndpointId) -> Self {
        self.near = Some(other);
        self
    }
}

/// Where an endpoint receives, as the party will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalDescription {
    /// The address of RTP, and of RTCP if it is multiplexed.
    pub rtp: SocketAddr,
}

/// The current session descriptions between a party and b2b.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Descriptions {
    /// The last one sent to the party.
    #[serde(with = "octets")]
    pub told: Box<[u8]>,
    /// The last one received from the party.
    #[serde(with = "octets")]
    pub said: Box<[u8]>,
    /// The direction of media, seen from b2b, if it is known without parsing `said`.
    #[serde(skip)]
    pub direction: Option<Direction>,
    /// The directions that the party wants itself.
    #[serde(default, skip_serializing_if = "Wishes::are_usual")]
    pub wishes: Wishes,
    /// The latest version of the session that was sent, in an offer that waits for its answer, too; 0: that of `told`.
    /// Older media servers do not know this field.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub version: u64,
}

fn is_nothing(version: &u64) -> bool {
    *version == 0
}

impl Descriptions {
    /// The descriptions of a side; `None` if it has not described itself.
    pub fn of(side: &Side) -> Option<Self> {
        let (told, said) = side.described()?;
        let (direction, wishes, version) = (Some(side.direction()), side.wishes(), side.version());
        Some(Descriptions { told: told.into(), said: said.into(), direction, wishes, version })
    }

    /// Has a side without descriptions go on from these.
    pub fn go_on_in(self, side: &mut Side) {
        side.go_on_from(self.told, self.said, self.wishes, self.version);
    }

    /// The address family that the party was told to send to.
    pub fn family(&self) -> Option<AddressFamily> {
        pair::address(&self.told).map(AddressFamily::of)
    }

    /// The formats in both descriptions; `None` without audio.
    pub fn agreed(&self) -> Option<Vec<(u8, String)>> {
        pair::agreed(&self.told, &self.said)
    }

    /// The direction of media, seen from b2b; `None` without audio.
    pub fn direction(&self) -> Option<Direction> {
        self.direction.or_else(|| pair::direction_of(&self.said))
    }

    /// The encoding name of what the party sends under this payload type, if it differs from `known`, the one
    /// assumed so far.
    pub fn spoken(&self, payload_type: u8, known: Option<&str>) -> Option<String> {
        let codec = known.and_then(|known| known.parse::<Codec>().ok());
        // Static payload types (RFC 3551 §6) need no lookup.
        let plain = codec.is_some_and(|codec| payload_type < 96 && codec.payload_type() == payload_type);
        if plain { None } else { pair::spoken(&self.told, payload_type) }
    }

    /// The encoding name of the first codec in both descriptions.
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
    /// Payloads are forwarded unchanged.
    Relay {
        /// The encoding name of the preferred format: `PCMA`, `opus` …, as in `a=rtpmap`.
        encoding: String,
    },
    /// Payloads are transcoded between these encodings.
    Transcode {
        /// The encoding received.
        from: String,
        /// The encoding sent.
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
    /// Whether both directions are relayed without transcoding.
    pub fn is_relay(&self) -> bool {
        matches!((&self.forward, &self.backward), (Route::Relay { .. }, Route::Relay { .. }))
    }
}

/// A media event.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum MediaEvent {
    /// The first RTP packet from an accepted source of the party. Reported once.
    Started {
        /// The party's endpoint.
        endpoint: EndpointId,
        /// The source of the packet.
        from: SocketAddr,
    },
    /// Expected RTP was missing for the configured time. Reported once; armed again by the next packet and by
    /// every offer and answer.
    Timeout {
        /// The endpoint without media.
        endpoint: EndpointId,
    },
    /// RTP of the party now comes from another address, and is sent there.
    SourceChanged {
        /// The party's endpoint.
        endpoint: EndpointId,
        /// The previous source.
        from: SocketAddr,
        /// The new source.
        to: SocketAddr,
    },
    /// Packets arrive at the endpoint, but none from an accepted address. Reported once.
    SourceRefused {
        /// The endpoint.
        endpoint: EndpointId,
        /// The source of one of these packets.
        from: SocketAddr,
    },
    /// No media is sent to the address in the party's description, which the party may not name; or no more,
    /// since nothing was ever received from there. Reported once an address.
    Withheld {
        /// The party's endpoint.
        endpoint: EndpointId,
        /// The address in its description.
        to: SocketAddr,
    },
    /// The party's SRTP comes with used numbers only: it has restarted its stream under the same key and
    /// SSRC, and is not heard. Reported once.
    Replayed {
        /// The party's endpoint.
        endpoint: EndpointId,
    },
    /// The party has given a host name in place of its address, which [`Bound::sdp_names`] allows; its RTP is
    /// awaited. Reported once a name.
    HostNamed {
        /// The party's endpoint.
        endpoint: EndpointId,
        /// The family of the endpoint, of which the address has to be.
        family: AddressFamily,
        /// The name, without search domains.
        host: String,
    },
    /// A digit by RFC 4733, or a tone (`by_tone`), once per key press. If the endpoint is bridged and the
    /// other party accepts `telephone-event`, it was passed on already.
    Digit {
        /// The endpoint of the party that pressed it.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
        /// The duration in ms.
        duration_ms: u32,
        /// Whether it was sent to the other party.
        passed_on: bool,
        /// Whether it was recognised as a tone in the audio.
        by_tone: bool,
    },
    /// A recording has ended, for any reason.
    Recorded {
        /// The recording.
        recording: RecordingId,
        /// The result.
        recorded: Recorded,
    },
    /// A member of a room starts or stops speaking.
    Speaking {
        /// The room.
        conference: ConferenceId,
        /// The member.
        endpoint: EndpointId,
        /// True if it starts.
        on: bool,
    },
    /// The last event of an endpoint: its ports are in quarantine.
    #[serde(skip)]
    Closed {
        /// The released endpoint.
        endpoint: EndpointId,
        /// Its final counters.
        stats: Box<EndpointStats>,
    },
    /// The media of an endpoint is lost, with the media server that carried it: it is to be released. Its
    /// last event but `Closed`.
    Failed {
        /// The endpoint.
        endpoint: EndpointId,
        /// The reason, for logs.
        reason: String,
    },
    /// The controller is lost, and all media with it. The last event.
    Lost {
        /// The reason, for logs.
        reason: String,
    },
}

/// A capability of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Endpoints of their own: [`Verb::LocalOffer`](super::Verb::LocalOffer), `ReturnOffer`, `ApplyRemote`, `LocalAnswer`.
    Endpoints,
    /// [`Verb::PairOffer`](super::Verb::PairOffer) and `PairAnswer`.
    Pairs,
    /// [`Verb::Bridge`](super::Verb::Bridge) of any two endpoints.
    Bridges,
    /// Bridges between different codecs.
    Transcoding,
    /// `Digit` events.
    DigitEvents,
    /// `Timeout` events.
    Timeouts,
    /// [`Verb::Stats`](super::Verb::Stats) while a call is up.
    Statistics,
    /// [`Verb::Play`](super::Verb::Play).
    Prompts,
    /// [`Verb::Collect`](super::Verb::Collect).
    DigitCollection,
    /// [`Verb::Record`](super::Verb::Record).
    Recording,
    /// [`Verb::CreateConference`](super::Verb::CreateConference).
    Conferences,
    /// [`Verb::StartMoh`](super::Verb::StartMoh).
    MusicOnHold,
    /// [`Verb::DirectOffer`](super::Verb::DirectOffer).
    DirectMedia,
    /// `capture`.
    Capture,
    /// [`Verb::Echo`](super::Verb::Echo).
    Echo,
    /// `open_stream`.
    Streams,
    /// SRTP: an [`EndpointSpec::srtp`] with `encrypted`.
    Encryption,
}

impl Capability {
    /// Every capability.
    pub const ALL: &[Capability] = Capability::VARIANTS;
}

/// The capabilities of a controller, as a set. A configuration that needs more is refused when it is loaded,
/// by [`Capabilities::missing`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The set of these.
    pub const fn of(capabilities: &[Capability]) -> Self {
        let (mut set, mut n) = (0, 0);
        while n < capabilities.len() {
            set |= 1 << capabilities[n] as u32;
            n += 1;
        }
        Capabilities(set)
    }

    /// The set without `others`.
    pub const fn without(self, others: Capabilities) -> Self {
        Capabilities(self.0 & !others.0)
    }

    /// Whether the set has this capability.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// The capabilities in `needed` that are missing here.
    pub fn missing(self, needed: Capabilities) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |one| needed.has(*one) && !self.has(*one))
    }
}

/// The reason why a controller refused a request. Nothing has changed then.
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
    /// The endpoint was released, or never existed.
    #[error("no such media endpoint: it has been released")]
    NoSuchEndpoint(EndpointId),
    /// A file or tone of a prompt is unusable; the text says which and why.
    #[error("{0} cannot be played; correct the file, or its name")]
    Prompt(String),
    /// The file of a recording cannot be created; the text says why.
    #[error("cannot record: {0}; free disk space, or choose another folder")]
    File(String),
    /// The room has ended or is full, or the party is not a member.
    #[error("no such room, or no place in it")]
    Conference,
    /// The limit of audio streams is reached.
    #[error("the limit of streams is reached; end some")]
    Streams,
    /// Offer and answer are incompatible (RFC 3264).
    #[error(transparent)]
    Description(#[from] NegotiateError),
    /// A bridge would need a transcoder that is not available.
    #[error("the legs share no codec, and a codec of theirs cannot be transcoded")]
    NoCommonCodec,
    /// No offer or answer was exchanged with the endpoint's party.
    #[error("a leg has no session description yet: wait for its offer or answer")]
    Undescribed,
    /// There is no pending offer to the endpoint's party.
    #[error("there is no offer for this answer")]
    NoOffer,
    /// The media cannot bypass b2b; the text says why.
    #[error("the parties cannot send to each other: {0}; media stays with b2b")]
    NotDirect(String),
    /// The controller has stopped.
    #[error("the media controller has stopped; start it again")]
    Stopped,
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
        assert!(Capability::ALL.iter().all(|one| Capabilities::of(Capability::ALL).has(*one)));
    }
}
