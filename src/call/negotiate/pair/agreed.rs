//! The result of offer and answer with one party.

use std::net::SocketAddr;

use super::{AudioMedia, Line, Side, Wishes, formats, receives};
use crate::bridge_fsm::Direction;
use b2b_media::codec::Codec;

impl Side {
    /// Sets whether digits come as tones, which are removed from audio to parties that take events; `None`: as
    /// the rules for the party's audio say.
    pub fn set_tones(&mut self, on: Option<bool>) {
        self.tones = on.unwrap_or(self.audio.digits.has_tones());
    }

    /// The party takes digits by INFO: a party joined with it may send events, which are reported.
    pub fn takes_info(&mut self) {
        self.takes_info = true;
    }

    /// Whether an offer and its answer have been exchanged.
    pub fn is_described(&self) -> bool {
        self.sent.is_some() && self.remote.is_some()
    }

    /// The formats that we can decode, by payload type: those that the party was told to send, and those that
    /// it receives. Empty before the first exchange.
    pub fn codecs(&self) -> [Vec<(u8, Codec)>; 2] {
        let Some(leg) = self.settled() else { return [Vec::new(), Vec::new()] };
        [leg.told, leg.own].map(|audio| {
            let known = audio.formats.iter();
            known.filter_map(|format| Some((format.payload_type, formats::codec(format)?))).collect()
        })
    }

    /// The last description sent, or the offer that is pending.
    pub fn told(&self) -> Option<&[u8]> {
        self.ours.as_deref().or(self.sent.as_deref())
    }

    /// The last description received.
    pub fn said(&self) -> Option<&[u8]> {
        self.remote.as_deref()
    }

    /// The last descriptions sent and received.
    pub fn described(&self) -> Option<(&[u8], &[u8])> {
        self.sent.as_deref().zip(self.remote.as_deref())
    }

    /// The latest version of its session that was sent.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Goes on with a session whose last descriptions, sent and received, are these: the next one has its number and the
    /// version after this one, or after that of `told` (RFC 3264 §8).
    pub fn go_on_from(&mut self, told: Box<[u8]>, said: Box<[u8]>, wishes: Wishes, version: u64) {
        let origin = Line::known(&told).and_then(|line| {
            let (id, version) = line.description.origin();
            Some((id.parse().ok()?, version))
        });
        let origin = origin.map(|(id, of_told)| (id, version.max(of_told)));
        (self.session_id, self.version) = origin.unwrap_or((self.session_id, self.version));
        (self.sent, self.remote, self.wishes, self.has_moved) = (Some(told), Some(said), wishes, true);
        // A party with SRTP is offered SRTP again.
        self.settle_crypto();
    }

    /// The directions that the party wants itself.
    pub fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// Whether the party was told less than it and the party of `other` want now.
    pub fn is_behind(&self, other: &Side) -> bool {
        self.sent.as_deref().is_some_and(|told| self.wishes.exceed(told, other.wishes))
    }

    /// The direction of media by the last description received, as seen from here.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Sets the last description received, with its audio line.
    pub(super) fn has_said(&mut self, body: Box<[u8]>, audio: &AudioMedia) {
        self.remote = Some(body);
        self.direction = seen_from_here(audio);
    }
}

fn seen_from_here(said: &AudioMedia) -> Direction {
    Direction { send: receives(said), receive: said.direction.has_send() }
}

/// The encoding name of the speech that a party sends under this payload type, according to the description
/// that it was sent; `None` if it is not speech.
pub fn spoken(told: &[u8], payload_type: u8) -> Option<String> {
    let told = Line::known(told)?.audio;
    let format = told.formats.iter().find(|format| format.payload_type == payload_type)?;
    formats::is_speech(format).then(|| format.encoding.clone())
}

/// The formats agreed with a party, from the last descriptions sent and received: payload types as it was
/// told to use them, with their names.
pub fn agreed(told: &[u8], said: &[u8]) -> Option<Vec<(u8, String)>> {
    let (told, said) = (Line::known(told)?.audio, Line::known(said)?.audio);
    let both = told.formats.iter().filter(|told| said.formats.iter().any(|it| formats::same(it, told)));
    Some(both.map(|format| (format.payload_type, format.encoding.clone())).collect())
}

/// Where a description asks for audio.
pub fn address(description: &[u8]) -> Option<SocketAddr> {
    Some(Line::known(description)?.audio.rtp())
}

/// The direction of media by a party's description, as seen from here.
pub fn direction_of(said: &[u8]) -> Option<Direction> {
    Some(seen_from_here(&Line::known(said)?.audio))
}
