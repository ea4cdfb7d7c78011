//! What offer and answer came to with one party.

use super::{Line, Side, formats, receives};
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

    /// What it was told last, and has said last.
    pub fn described(&self) -> Option<(&[u8], &[u8])> {
        self.sent.as_deref().zip(self.remote.as_deref())
    }
}

/// What a party and we agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Payload types as the party was told to use them, with their names.
    pub formats: Vec<(u8, String)>,
    /// The party wants to receive.
    pub receives: bool,
    /// It means to send.
    pub sends: bool,
}

impl Agreed {
    /// Of a party of whom nothing is known: it may well send and receive.
    pub fn unknown() -> Self {
        Agreed { formats: Vec::new(), receives: true, sends: true }
    }
}

/// The encoding name of the sound that a party sends under this payload type, by what it was told;
/// none for what is no speech.
pub fn spoken(told: &[u8], payload_type: u8) -> Option<String> {
    let told = Line::known(told)?.audio;
    let format = told.formats.iter().find(|format| format.payload_type == payload_type)?;
    formats::is_speech(format).then(|| format.encoding.clone())
}

/// From the description that a party was told last, and its own.
pub fn agreed(told: &[u8], said: &[u8]) -> Option<Agreed> {
    let (told, said) = (Line::known(told)?.audio, Line::known(said)?.audio);
    let both = told.formats.iter().filter(|told| said.formats.iter().any(|it| formats::same(it, told)));
    Some(Agreed {
        formats: both.map(|format| (format.payload_type, format.encoding.clone())).collect(),
        receives: receives(&said),
        sends: said.direction.has_send(),
    })
}
