//! What offer and answer came to with one party.

use super::{AudioMedia, Line, Side, formats, receives};
use crate::bridge_fsm::Direction;
use b2b_media::codec::Codec;

impl Side {
    /// Whether its keys come as tones: they are cut out of what goes to who takes events.
    pub fn hear_tones(&mut self, on: bool) {
        self.tones = on;
    }

    /// It takes digits by INFO: who is joined with it may send events, which come up.
    pub fn takes_info(&mut self) {
        self.takes_info = true;
    }

    /// Whether offer and answer have passed.
    pub fn is_described(&self) -> bool {
        self.sent.is_some() && self.remote.is_some()
    }

    /// What of its formats we can decode, by payload type: those that it was told to send,
    /// and those that it is sent. Nothing yet: none.
    pub fn codecs(&self) -> [Vec<(u8, Codec)>; 2] {
        let Some(leg) = self.settled() else { return [Vec::new(), Vec::new()] };
        [leg.told, leg.own].map(|audio| {
            let known = audio.formats.iter();
            known.filter_map(|format| Some((format.payload_type, formats::codec(format)?))).collect()
        })
    }

    /// What it was told last; an offer without an answer, too.
    pub fn told(&self) -> Option<&[u8]> {
        self.ours.as_deref().or(self.sent.as_deref())
    }

    /// What it has said last.
    pub fn said(&self) -> Option<&[u8]> {
        self.remote.as_deref()
    }

    /// What it was told last, and has said last.
    pub fn described(&self) -> Option<(&[u8], &[u8])> {
        self.sent.as_deref().zip(self.remote.as_deref())
    }

    /// Which way media goes by what it has said last, as seen from here.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// This is what it has said last, with this audio line.
    pub(super) fn has_said(&mut self, body: Box<[u8]>, audio: &AudioMedia) {
        self.remote = Some(body);
        self.direction = seen_from_here(audio);
    }
}

fn seen_from_here(said: &AudioMedia) -> Direction {
    Direction { send: receives(said), receive: said.direction.has_send() }
}

/// The encoding name of the sound that a party sends under this payload type, by what it was told;
/// none for what is no speech.
pub fn spoken(told: &[u8], payload_type: u8) -> Option<String> {
    let told = Line::known(told)?.audio;
    let format = told.formats.iter().find(|format| format.payload_type == payload_type)?;
    formats::is_speech(format).then(|| format.encoding.clone())
}

/// What a party and we agreed on, from the description that it was told last, and its own: payload types as it was told to
/// use them, with their names.
pub fn agreed(told: &[u8], said: &[u8]) -> Option<Vec<(u8, String)>> {
    let (told, said) = (Line::known(told)?.audio, Line::known(said)?.audio);
    let both = told.formats.iter().filter(|told| said.formats.iter().any(|it| formats::same(it, told)));
    Some(both.map(|format| (format.payload_type, format.encoding.clone())).collect())
}

/// Which way media goes by the description of a party, as seen from here.
pub fn direction_of(said: &[u8]) -> Option<Direction> {
    Some(seen_from_here(&Line::known(said)?.audio))
}
