//! The causes of bad audio that b2b can detect.

use std::fmt;

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// A cause of bad audio. The names are few and fixed: they can be labels of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = FindingCause))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// No packet was received from the party.
    NeverReceived,
    /// No packet was received, and the party announced an address behind a NAT.
    BehindNat,
    /// Packets came from an address that is not accepted, and were refused.
    OtherAddress,
    /// Packets came from another address than the signalled one, and were accepted.
    AddressDiffers,
    /// b2b sent to a private address that it cannot reach.
    SentToPrivate,
    /// The party's host or a router reported the port as unreachable.
    Unreachable,
    /// Payload types that were not agreed, or that the other leg does not support.
    CodecMismatch,
    /// Packets could not be transcoded.
    Undecodable,
    /// STUN or DTLS instead of RTP: the party wants ICE or SRTP.
    OtherProtocol,
    /// Packets that fail SRTP authentication with the agreed key.
    Unauthenticated,
    /// SRTP that restarts its numbers under the same key and SSRC.
    Replayed,
    /// Packets that are not RTP.
    NotRtp,
    /// The party's stream was refused as unverified.
    StreamRefused,
    /// A party was holding when the call ended.
    HoldLeftOn,
    /// The party agreed to receive only.
    SendsNothing,
    /// The address of the other party's media was not known.
    NoDestination,
    /// The operating system refused to send.
    SendFailed,
    /// The stream stopped.
    Stopped,
    /// The party's receiver reports that (nearly) none of the packets sent to it arrived.
    LostOnTheWay,
    /// The party sends RTCP, and nothing in it is about the packets sent to it.
    ReportsNothing,
    /// High packet loss.
    Lossy,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Cause] = Cause::VARIANTS;

    /// The name in counter labels and events.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The advice for the cause.
    pub fn advice(self) -> &'static str {
        match self {
            Cause::NeverReceived => {
                "See whether the firewall in front of b2b lets UDP in to its media ports, and whether b2b \
                 advertises an address that the party can reach."
            }
            Cause::BehindNat => {
                "The party has to send first; see whether its router lets UDP out, whether b2b advertises an \
                 address that it can reach, and whether a SIP ALG changes its messages: switch that off."
            }
            Cause::OtherAddress => {
                "If the address is the party's, write the line at its [[gateway]] or [[user]], or in [media] \
                 for all; otherwise somebody sent what was not theirs to send, and nothing is to be done."
            }
            Cause::AddressDiffers => "Nothing: a NAT is on the way, and symmetric RTP got over it.",
            Cause::SentToPrivate => {
                "Let the party signal its public address (STUN or a setting of the phone), or let it send \
                 first, so that b2b can answer to where its packets come from."
            }
            Cause::Unreachable => {
                "See whether the party still has its port open and whether it signals the right one; a phone \
                 that was restarted, or a NAT that forgot, answers so."
            }
            Cause::CodecMismatch => {
                "Let both sides agree on one codec, or allow transcoding on the route; a party that sends \
                 what it did not agree to needs an update or a narrower list of codecs."
            }
            Cause::Undecodable => {
                "The payload is not what its type says: see the party's codec settings, the fmtp of Opus first."
            }
            Cause::Unauthenticated => {
                "SRTP was agreed on, and the party sends plain RTP or under another key: see its settings of \
                 encryption, and whether something on the way changes the keys in its SDP."
            }
            Cause::Replayed => {
                "The party starts its stream again, after a hold for example, under the same key and SSRC. RFC 3711 \
                 wants a new key or a new SSRC for that, else old packets could be played again: the party \
                 needs an update, or calls without SRTP."
            }
            Cause::OtherProtocol => {
                "The party expects ICE or SRTP (WebRTC): give it a route that offers them, or switch them \
                 off at the party."
            }
            Cause::NotRtp => {
                "Something else sends to this port, or the party encrypts without having agreed to: capture \
                 the call and look."
            }
            Cause::StreamRefused => {
                "Two senders share the port or the party changes its SSRC all the time: see whether an old \
                 call still sends."
            }
            Cause::HoldLeftOn => {
                "The party has to resume; if it thinks that it did, its re-INVITE was refused or lost: see the \
                 timeline."
            }
            Cause::SendsNothing => {
                "The party answered recvonly or inactive: see its settings, and which direction it was offered."
            }
            Cause::NoDestination => {
                "The other leg has agreed to no session yet: see in the timeline whether its answer came."
            }
            Cause::SendFailed => "See the routes and the firewall of this host, and its limits on buffers.",
            Cause::Stopped => {
                "The party went silent without saying so: a lost network, a NAT that forgot, a phone without \
                 power; with silence suppression it may be meant so."
            }
            Cause::ReportsNothing => {
                "It probably hears nothing: see the firewall at the party and on the way to it, and whether it \
                 signals where it really receives. Packets lost behind b2b are seen only in its RTCP."
            }
            Cause::LostOnTheWay => {
                "Packets leave here and do not arrive: see the party's firewall, and whether it signals where \
                 it really receives."
            }
            Cause::Lossy => "See the network on this party's side: a full uplink, a weak radio link.",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::NeverReceived => "nothing was received",
            Cause::BehindNat => "nothing was received from behind a NAT",
            Cause::OtherAddress => "received from another address than signalled, and refused",
            Cause::AddressDiffers => "received from another address than signalled",
            Cause::SentToPrivate => "sent to a private address",
            Cause::Unreachable => "the party's port is unreachable",
            Cause::CodecMismatch => "codec mismatch",
            Cause::Undecodable => "payload that cannot be decoded",
            Cause::OtherProtocol => "STUN or DTLS instead of RTP",
            Cause::Unauthenticated => "not under the key of SRTP",
            Cause::Replayed => "SRTP with numbers that were used before",
            Cause::NotRtp => "what came is no RTP",
            Cause::StreamRefused => "the stream was refused",
            Cause::HoldLeftOn => "hold left on",
            Cause::SendsNothing => "agreed to send nothing",
            Cause::NoDestination => "nowhere to send to",
            Cause::SendFailed => "sending failed",
            Cause::Stopped => "the stream stopped",
            Cause::LostOnTheWay => "lost on the way to the party",
            Cause::ReportsNothing => "the party's RTCP reports none of what was sent to it",
            Cause::Lossy => "much was lost",
        })
    }
}
