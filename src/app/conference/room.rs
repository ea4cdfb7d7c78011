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
pub struct Seat {
    pub call: CallId,
    pub leg: LegId,
    pub role: Role,
    pub muted: bool,
    pub volume_db: i8,
    /// Hears music until a moderator is there.
    pub waits: bool,
}

impl Seat {
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
    seats: Vec<Seat>,
    locked: bool,
    records: bool,
}

impl Room {
    /// Who is there.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Whether nobody may come in but moderators.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    fn has_moderator(&self) -> bool {
        self.seats.iter().any(|seat| seat.role == Role::Moderator)
    }

    /// Somebody comes in. `needs_moderator`: who is none waits until one is there.
    ///
    /// # Errors
    /// The room is full or locked.
    pub fn join(
        &mut self,
        (call, leg): (CallId, LegId),
        role: Role,
        most: usize,
        needs_moderator: bool,
    ) -> Result<Vec<Deed>, Refused> {
        let moderator = role == Role::Moderator;
        if self.locked && !moderator {
            return Err(Refused::Locked);
        }
        if self.seats.len() >= most {
            return Err(Refused::Full);
        }
        let waits = needs_moderator && !moderator && !self.has_moderator();
        let seat = Seat { call, leg, role, muted: false, volume_db: 0, waits };
        let alone = self.seats.is_empty();
        self.seats.push(seat);
        if waits {
            return Ok(vec![Deed::Tell(leg, Word::NoModerator), Deed::Wait(leg)]);
        }
        let mut deeds = Vec::new();
        if alone {
            deeds.push(Deed::Tell(leg, Word::Alone));
        }
        deeds.push(Deed::Mix(leg, seat.member()));
        if moderator {
            for seat in self.seats.iter_mut().filter(|seat| seat.waits) {
                seat.waits = false;
                deeds.extend([Deed::Admit(seat.leg), Deed::Mix(seat.leg, seat.member())]);
            }
        }
        deeds.push(Deed::Say(Word::Joined));
        Ok(deeds)
    }

    /// Somebody has gone, however. One who is not there changes nothing.
    pub fn leave(&mut self, leg: LegId, needs_moderator: bool) -> Left {
        let Some(place) = self.seats.iter().position(|seat| seat.leg == leg) else { return Left::default() };
        let seat = self.seats.remove(place);
        if self.seats.is_empty() {
            (self.locked, self.records) = (false, false);
            return Left { deeds: Vec::new(), last: true };
        }
        let mut deeds = Vec::new();
        if !seat.waits {
            deeds.push(Deed::Say(Word::Gone));
        }
        if needs_moderator && seat.role == Role::Moderator && !self.has_moderator() {
            // Without one there is no conversation.
            deeds.extend(self.seats.iter().map(|seat| Deed::SendAway(seat.leg)));
        }
        Left { deeds, last: false }
    }

    /// Somebody presses a key behind a star.
    pub fn key(&mut self, leg: LegId, key: char) -> Vec<Deed> {
        let Some(place) = self.seats.iter().position(|seat| seat.leg == leg && !seat.waits) else {
            return Vec::new();
        };
        let moderator = self.seats[place].role == Role::Moderator;
        let seat = &mut self.seats[place];
        match key {
            '1' => {
                seat.muted = !seat.muted;
                let word = if seat.muted { Word::Muted } else { Word::Unmuted };
                vec![Deed::Mix(leg, seat.member()), Deed::Tell(leg, word)]
            }
            '2' => vec![Deed::Leave(leg)],
            '4' | '6' => {
                let step = if key == '4' { -STEP } else { STEP };
                seat.volume_db = (seat.volume_db + step).clamp(VOLUME.0, VOLUME.1);
                vec![Deed::Mix(leg, seat.member())]
            }
            '5' if moderator => {
                self.locked = !self.locked;
                vec![Deed::Say(if self.locked { Word::RoomLocked } else { Word::RoomUnlocked })]
            }
            '7' | '8' if moderator => self.mute_others(key == '7'),
            '9' if moderator => {
                let last = self.seats.iter().rev().find(|seat| seat.role == Role::Participant);
                last.map_or(vec![Deed::Tell(leg, Word::Refused)], |seat| vec![Deed::SendAway(seat.leg)])
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
        if self.seats.is_empty() {
            return None;
        }
        let deeds = match order {
            Order::Mute(None, mute) => self.mute_others(mute),
            Order::Mute(Some(leg), mute) => {
                let seat = self.seats.iter_mut().find(|seat| seat.leg == leg)?;
                let word = if mute { Word::Muted } else { Word::Unmuted };
                match std::mem::replace(&mut seat.muted, mute) != mute && !seat.waits {
                    true => vec![Deed::Mix(leg, seat.member()), Deed::Tell(leg, word)],
                    false => Vec::new(),
                }
            }
            Order::Volume(leg, db) => {
                let seat = self.seats.iter_mut().find(|seat| seat.leg == leg)?;
                seat.volume_db = db.clamp(VOLUME.0, VOLUME.1);
                match seat.waits {
                    true => Vec::new(),
                    false => vec![Deed::Mix(leg, seat.member())],
                }
            }
            Order::Lock(lock) => match std::mem::replace(&mut self.locked, lock) != lock {
                true => vec![Deed::Say(if lock { Word::RoomLocked } else { Word::RoomUnlocked })],
                false => Vec::new(),
            },
            Order::SendAway(leg) => {
                let seat = self.seats.iter().find(|seat| seat.leg == leg)?;
                vec![Deed::SendAway(seat.leg)]
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
        self.records = on && !self.seats.is_empty();
    }

    fn mute_others(&mut self, mute: bool) -> Vec<Deed> {
        let word = if mute { Word::Muted } else { Word::Unmuted };
        let others = self.seats.iter_mut();
        let others =
            others.filter(|seat| seat.role == Role::Participant && !seat.waits && seat.muted != mute);
        others
            .flat_map(|seat| {
                seat.muted = mute;
                [Deed::Mix(seat.leg, seat.member()), Deed::Tell(seat.leg, word)]
            })
            .collect()
    }
}
