//! What comes into a party, and what goes out of it.

use std::time::{Duration, Instant};

use b2b_base::codec::Codec;

/// The audio that a leg sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// Silence.
    Nothing,
    /// The mark of its call and side.
    Mark,
    /// A tone, Hz.
    Tone(f64),
    /// An audio file from its beginning, by its index in the run.
    File(usize),
    /// What it hears.
    Echo,
}

/// An event of a party.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEvent {
    /// It begins: a caller is due, or a callee receives a call.
    Begin,
    /// Its alarm is due.
    Due,
    /// The header fields of the received INVITE or of the answer to ours: sent before [`PartyEvent::Begin`]
    /// or [`PartyEvent::Answered`] if a step checks them.
    Received {
        /// Header fields.
        headers: Vec<(String, String)>,
    },
    /// The leg is up.
    Answered,
    /// The call was refused.
    Refused {
        /// Status of the final response; `None` if there was none.
        status: Option<u16>,
    },
    /// The call could not be placed or answered for a local reason.
    NotPlaced {
        /// The reason.
        why: String,
    },
    /// An answered leg is over: the far end hung up, or was lost.
    Ended {
        /// Whether the far end hung up.
        by_them: bool,
    },
    /// The far end has answered a hold or resume.
    Changed {
        /// Whether it agreed.
        agreed: bool,
    },
    /// The result of a transfer.
    TransferEnded {
        /// The target's final response; `None`: the far end reports none.
        status: Option<u16>,
    },
    /// The expected audio was heard.
    Heard,
    /// The run ends: steps that stay or wait end now.
    Leave,
}

/// An effect of a party.
#[derive(Debug, Clone, PartialEq)]
pub enum PartyEffect {
    /// Call this number or URI, with these header fields.
    Dial {
        /// As written in the step.
        to: String,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// Send 180.
    Ring,
    /// Send 183 with early media.
    Progress,
    /// Send 200.
    Answer,
    /// Send this final response.
    Refuse(u16),
    /// Send BYE or CANCEL.
    HangUp,
    /// Send this audio from now on.
    Say(Said),
    /// Play this file, or this synthesised text, from now on.
    Play(String),
    /// Drop the leg without a message.
    Vanish,
    /// Send a digit.
    Press(char),
    /// Offer these codecs.
    Offer(Vec<Codec>),
    /// Put the far end on hold.
    Hold,
    /// Take the far end off hold.
    Resume,
    /// Transfer the far end to this target.
    Transfer(String),
    /// Send [`PartyEvent::Due`] at this time. Replaces an earlier alarm.
    WakeAt(Instant),
    /// Send [`PartyEvent::Heard`] as soon as this is heard; checked at each [`PartyEvent::Due`].
    Listen(Wanted),
    /// The party has finished its steps.
    Over(Outcome),
}

/// The audio that a step waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// The mark of the far end.
    Mark,
    /// Tones, Hz: all of `these` and none of `not`.
    Tones {
        /// Tones that must be present.
        these: Vec<f64>,
        /// Tones that must be absent.
        not: Vec<f64>,
    },
    /// Speech, or other sound, of this length in all from now on.
    Speech(Duration),
    /// Any sound, also a loud click.
    Sound,
    /// Silence of this length, from now on.
    Silence(Duration),
    /// The end of the file that it plays itself.
    Played,
}

/// The result of a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Done,
    /// A step failed.
    Failed {
        /// The step, as written.
        step: String,
        /// The reason, in words that are the same for every call.
        why: String,
    },
}
