//! Who is in a room, and what keys do there. No I/O: what is to be done comes back as deeds,
//! for whoever made it happen to carry out, in their order.
//!
//! | keys | for | what |
//! |---|---|---|
//! | `*1` | all | mute, and back |
//! | `*2` | all | leave |
//! | `*4`, `*6` | all | the room is 3 dB softer, louder |
//! | `*5` | moderators | lock, and back |
//! | `*7`, `*8` | moderators | mute all who are no moderators, and back |
//! | `*9` | moderators | send away who came last, no moderator |
//! | `*0` | moderators | record, and stop |

use super::Word;
use b2b_call::controller::Member;
use b2b_call::{CallId, LegId};

/// Softest and loudest, dB.
const VOLUME: (i8, i8) = (-12, 12);
/// A step of it.
const STEP: i8 = 3;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Participant,
    Moderator,
}

/// Somebody in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    pub call: CallId,
    pub leg: LegId,
    pub role: Role,
    pub muted: bool,
    pub volume_db: i8,
    /// Hears music until a moderator is there.
    pub waits: bool,
}

impl Participant {
    /// How it is in the mix.
    pub fn member(&self) -> Member {
        Member { muted: self.muted, deaf: false, volume_db: self.volume_db }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Full,
    Locked,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It hears and is heard: into the mix, or otherwise in it.
    Mix(LegId, Member),
    /// It waits, with music.
    Wait(LegId),
    /// It waits no more.
    Admit(LegId),
    /// It alone hears this.
    Tell(LegId, Word),
    /// All in the mix hear this.
    Say(Word),
    /// It leaves by its own wish.
    Leave(LegId),
    /// It is sent away.
    SendAway(LegId),
    /// Recording begins or ends.
    Record(bool),
}

/// What a program wants of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A member, or all who are no moderators.
    Mute(Option<LegId>, bool),
    /// How loud the room is for a member, dB.
    Volume(LegId, i8),
    Lock(bool),
    SendAway(LegId),
    Record(bool),
}

/// Somebody has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// What is to be done for the others.
    pub deeds: Vec<Deed>,
    /// Nobody is left: the room ends.
    pub last: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Room {
    /// In the order of their coming.
    participants: Vec<Participant>,
    locked: bool,
    records: bool,
}

impl Room {
    /// Who is there.
    pub fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// Whether nobody may come in but moderators.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    fn has_moderator(&self) -> bool {
        self.participants.iter().any(|participant| participant.role == Role::Moderator)
    }

    /// Somebody comes in. `needs_moderator`: who is none waits until one is there.
    ///
    /// # Errors
    /// The room is full or locked.
    pub fn join(
        &mut self,
        call: CallId,
        leg: LegId,
        role: Role,
        most: usize,
        needs_moderator: bool,
    ) -> Result<Vec<Deed>, Refused> {
        let moderator = role == Role::Moderator;
        if self.locked && !moderator {
            return Err(Refused::Locked);
        }
        if self.participants.len() >= most {
            return Err(Refused::Full);
        }
        let waits = needs_moderator && !moderator && !self.has_moderator();
        let participant = Participant { call, leg, role, muted: false, volume_db: 0, waits };
        let alone = self.participants.is_empty();
        self.participants.push(participant);
        if waits {
            return Ok(vec![Deed::Tell(leg, Word::NoModerator), Deed::Wait(leg)]);
        }
        let mut deeds = Vec::new();
        if alone {
            deeds.push(Deed::Tell(leg, Word::Alone));
        }
        deeds.push(Deed::Mix(leg, participant.member()));
        if moderator {
            for participant in self.participants.iter_mut().filter(|participant| participant.waits) {
                participant.waits = false;
                deeds
                    .extend([Deed::Admit(participant.leg), Deed::Mix(participant.leg, participant.member())]);
            }
        }
        deeds.push(Deed::Say(Word::Joined));
        Ok(deeds)
    }

    /// Somebody has gone, however. One who is not there changes nothing.
    pub fn leave(&mut self, leg: LegId, needs_moderator: bool) -> Left {
        let Some(place) = self.participants.iter().position(|participant| participant.leg == leg) else {
            return Left::default();
        };
        let participant = self.participants.remove(place);
        if self.participants.is_empty() {
            (self.locked, self.records) = (false, false);
            return Left { deeds: Vec::new(), last: true };
        }
        let mut deeds = Vec::new();
        if !participant.waits {
            deeds.push(Deed::Say(Word::Gone));
        }
        if needs_moderator && participant.role == Role::Moderator && !self.has_moderator() {
            // Without one there is no conversation.
            deeds.extend(self.participants.iter().map(|participant| Deed::SendAway(participant.leg)));
        }
        Left { deeds, last: false }
    }

    /// Somebody presses a key behind a star.
    pub fn key(&mut self, leg: LegId, key: char) -> Vec<Deed> {
        let Some(place) =
            self.participants.iter().position(|participant| participant.leg == leg && !participant.waits)
        else {
            return Vec::new();
        };
        let moderator = self.participants[place].role == Role::Moderator;
        let participant = &mut self.participants[place];
        match key {
            '1' => {
                participant.muted = !participant.muted;
                let word = if participant.muted { Word::Muted } else { Word::Unmuted };
                vec![Deed::Mix(leg, participant.member()), Deed::Tell(leg, word)]
            }
            '2' => vec![Deed::Leave(leg)],
            '4' | '6' => {
                let step = if key == '4' { -STEP } else { STEP };
                participant.volume_db = (participant.volume_db + step).clamp(VOLUME.0, VOLUME.1);
                vec![Deed::Mix(leg, participant.member())]
            }
            '5' if moderator => {
                self.locked = !self.locked;
                vec![Deed::Say(if self.locked { Word::RoomLocked } else { Word::RoomUnlocked })]
            }
            '7' | '8' if moderator => self.mute_others(key == '7'),
            '9' if moderator => {
                let last =
                    self.participants.iter().rev().find(|participant| participant.role == Role::Participant);
                last.map_or(vec![Deed::Tell(leg, Word::Refused)], |participant| {
                    vec![Deed::SendAway(participant.leg)]
                })
            }
            '0' if moderator => {
                self.records = !self.records;
                vec![Deed::Record(self.records)]
            }
            _ => vec![Deed::Tell(leg, Word::Refused)],
        }
    }

    /// What a program wants; none: there is no such member, or nobody.
    pub fn order(&mut self, order: Order) -> Option<Vec<Deed>> {
        if self.participants.is_empty() {
            return None;
        }
        let deeds = match order {
            Order::Mute(None, mute) => self.mute_others(mute),
            Order::Mute(Some(leg), mute) => {
                let participant = self.participants.iter_mut().find(|participant| participant.leg == leg)?;
                let word = if mute { Word::Muted } else { Word::Unmuted };
                match std::mem::replace(&mut participant.muted, mute) != mute && !participant.waits {
                    true => vec![Deed::Mix(leg, participant.member()), Deed::Tell(leg, word)],
                    false => Vec::new(),
                }
            }
            Order::Volume(leg, db) => {
                let participant = self.participants.iter_mut().find(|participant| participant.leg == leg)?;
                participant.volume_db = db.clamp(VOLUME.0, VOLUME.1);
                match participant.waits {
                    true => Vec::new(),
                    false => vec![Deed::Mix(leg, participant.member())],
                }
            }
            Order::Lock(lock) => match std::mem::replace(&mut self.locked, lock) != lock {
                true => vec![Deed::Say(if lock { Word::RoomLocked } else { Word::RoomUnlocked })],
                false => Vec::new(),
            },
            Order::SendAway(leg) => {
                let participant = self.participants.iter().find(|participant| participant.leg == leg)?;
                vec![Deed::SendAway(participant.leg)]
            }
            Order::Record(on) => match std::mem::replace(&mut self.records, on) != on {
                true => vec![Deed::Record(on)],
                false => Vec::new(),
            },
        };
        Some(deeds)
    }

    /// A recording that was asked for could not begin, or has ended by itself.
    pub fn records(&mut self, on: bool) {
        self.records = on && !self.participants.is_empty();
    }

    fn mute_others(&mut self, mute: bool) -> Vec<Deed> {
        let word = if mute { Word::Muted } else { Word::Unmuted };
        let others = self.participants.iter_mut();
        let others = others.filter(|participant| {
            participant.role == Role::Participant && !participant.waits && participant.muted != mute
        });
        others
            .flat_map(|participant| {
                participant.muted = mute;
                [Deed::Mix(participant.leg, participant.member()), Deed::Tell(participant.leg, word)]
            })
            .collect()
    }
}
