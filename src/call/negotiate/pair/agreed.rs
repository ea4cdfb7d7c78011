//! What offer and answer came to with one party.

use super::{Line, Side, formats, receives};

impl Side {
    /// Whether offer and answer have passed.
    pub fn is_described(&self) -> bool {
        self.sent.is_some() && self.remote.is_some()
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
