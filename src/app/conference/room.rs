//! The members of a room, and the functions of keys. No I/O: the resulting actions are returned as deeds, to
//! be carried out in order by the application of the caller who caused them.
//!
//! | keys | for | what |
//! |---|---|---|
//! | `*1` | all | mute, and back |
//! | `*2` | all | leave |
//! | `*4`, `*6` | all | turn the room down, up by 3 dB |
//! | `*5` | moderators | lock, and back |
//! | `*7`, `*8` | moderators | mute all participants, and back |
//! | `*9` | moderators | send away the participant who joined last |
//! | `*0` | moderators | start and stop recording |

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Word;
use crate::caller::Caller;
use b2b_call::controller::Member;
use b2b_call::{CallId, LegId};

/// Minimum and maximum volume, in dB.
const VOLUME: (i8, i8) = (-12, 12);
/// The volume step, in dB.
const STEP: i8 = 3;

/// The role of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    Participant,
    Moderator,
}

/// A member of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    pub call: CallId,
    pub leg: LegId,
    pub role: Role,
    pub muted: bool,
    pub volume_db: i8,
    /// Hears music until a moderator is present.
    pub waits: bool,
    /// Hears the goodbye, and is hung up.
    pub sent_away: bool,
    /// The place in the order of joining.
    pub nth: u64,
}

impl Participant {
    /// The state in the mix.
    pub fn member(&self) -> Member {
        Member { muted: self.muted, deaf: false, volume_db: self.volume_db }
    }

    fn send_away(&mut self) -> Deed {
        self.sent_away = true;
        Deed::SendAway(self.leg)
    }
}

/// The reason why a caller is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Full,
    Locked,
}

/// An action to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Add the member to the mix, or update it there.
    Mix(LegId, Member),
    /// The member waits, with music.
    Wait(LegId),
    /// The member waits no longer.
    Admit(LegId),
    /// Play a prompt to this member only.
    Tell(LegId, Word),
    /// Play a prompt to all in the mix.
    Say(Word),
    /// The member leaves on their own request.
    Leave(LegId),
    /// The member is sent away.
    SendAway(LegId),
    /// Start or stop recording.
    Record(bool),
}

/// A command of a program to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Mutes a member, or all participants.
    Mute(Option<LegId>, bool),
    /// Sets the volume of the room for a member, in dB.
    Volume(LegId, i8),
    Lock(bool),
    SendAway(LegId),
    Record(bool),
}

/// The result of a member leaving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// The actions for the remaining members.
    pub deeds: Vec<Deed>,
    /// No member is left: the room ends.
    pub last: bool,
}

/// A member, and its copy of what the room has.
pub(super) type Kept = (Participant, Shared);

/// A room; see the module documentation.
#[derive(Debug, Default)]
pub struct Room {
    /// In order of joining.
    participants: Vec<Participant>,
    /// Whom each counts for.
    callers: BTreeMap<LegId, Caller>,
    shared: Shared,
}

/// What a room has beside its members. Each of them keeps a copy for the process after this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shared {
    /// The number of changes so far: of two copies, the one with more of them is valid.
    changes: u64,
    locked: bool,
    records: bool,
    /// The file of the recording.
    file: Option<PathBuf>,
    /// The number of recordings so far, for their names.
    recorded: u64,
}

impl Room {
    /// The members.
    pub fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// Whether only moderators are admitted.
    pub fn is_locked(&self) -> bool {
        self.shared.locked
    }

    fn change(&mut self) -> &mut Shared {
        self.shared.changes += 1;
        &mut self.shared
    }

    fn has_moderator(&self) -> bool {
        self.participants.iter().any(|participant| participant.role == Role::Moderator)
    }

    /// A caller joins. `needs_moderator`: participants wait until a moderator is present.
    ///
    /// # Errors
    /// The room is full, also for this caller who has its share of it, or locked.
    pub fn join(
        &mut self,
        call: CallId,
        leg: LegId,
        who: Caller,
        role: Role,
        most: usize,
        needs_moderator: bool,
    ) -> Result<Vec<Deed>, Refused> {
        let moderator = role == Role::Moderator;
        if self.shared.locked && !moderator {
            return Err(Refused::Locked);
        }
        let (taken, own) = (self.participants.len(), self.callers.values().filter(|it| **it == who).count());
        if taken >= most || !who.may_have(most, taken, own) {
            return Err(Refused::Full);
        }
        self.callers.insert(leg, who);
        let waits = needs_moderator && !moderator && !self.has_moderator();
        let nth = self.participants.last().map_or(0, |last| last.nth + 1);
        let (muted, volume_db, sent_away) = (false, 0, false);
        let participant = Participant { call, leg, role, muted, volume_db, waits, sent_away, nth };
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

    /// A member has left for any reason. A leg that is not a member changes nothing.
    pub fn leave(&mut self, leg: LegId, needs_moderator: bool) -> Left {
        let Some(place) = self.participants.iter().position(|participant| participant.leg == leg) else {
            return Left::default();
        };
        let participant = self.participants.remove(place);
        self.callers.remove(&leg);
        if self.participants.is_empty() {
            let shared = self.change();
            (shared.locked, shared.records, shared.file) = (false, false, None);
            return Left { deeds: Vec::new(), last: true };
        }
        let mut deeds = Vec::new();
        if !participant.waits {
            deeds.push(Deed::Say(Word::Gone));
        }
        if needs_moderator && participant.role == Role::Moderator && !self.has_moderator() {
            // Without a moderator the conference ends.
            deeds.extend(self.participants.iter_mut().map(Participant::send_away));
        }
        Left { deeds, last: false }
    }

    /// A member has pressed a key after `*`.
    pub fn key(&mut self, leg: LegId, key: char) -> Vec<Deed> {
        let Some(place) =
            self.participants.iter().position(|participant| participant.leg == leg && !participant.waits)
        else {
            return Vec::new();
        };
        let participant = &mut self.participants[place];
        let moderator = participant.role == Role::Moderator;
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
                let locked = &mut self.change().locked;
                *locked = !*locked;
                vec![Deed::Say(if *locked { Word::RoomLocked } else { Word::RoomUnlocked })]
            }
            '7' | '8' if moderator => self.mute_others(key == '7'),
            '9' if moderator => {
                let mut latest = self.participants.iter_mut().rev();
                let last = latest.find(|participant| participant.role == Role::Participant);
                vec![last.map_or(Deed::Tell(leg, Word::Refused), Participant::send_away)]
            }
            '0' if moderator => {
                let records = &mut self.change().records;
                *records = !*records;
                vec![Deed::Record(*records)]
            }
            _ => vec![Deed::Tell(leg, Word::Refused)],
        }
    }

    /// A command of a program; `None` if the member does not exist, or the room has no members.
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
            Order::Lock(lock) => match std::mem::replace(&mut self.change().locked, lock) != lock {
                true => vec![Deed::Say(if lock { Word::RoomLocked } else { Word::RoomUnlocked })],
                false => Vec::new(),
            },
            Order::SendAway(leg) => {
                let participant = self.participants.iter_mut().find(|participant| participant.leg == leg)?;
                vec![participant.send_away()]
            }
            Order::Record(on) => match std::mem::replace(&mut self.change().records, on) != on {
                true => vec![Deed::Record(on)],
                false => Vec::new(),
            },
        };
        Some(deeds)
    }

    /// A requested recording could not start, or has ended by itself.
    pub fn records(&mut self, on: bool) {
        self.change().records = on && !self.participants.is_empty();
    }

    /// The file of a recording that begins, and whether it goes on in there: another process has begun it. A new file
    /// has this name, by the number of recordings before it.
    pub(super) fn file(&mut self, name: impl FnOnce(u64) -> PathBuf) -> (PathBuf, bool) {
        if let Some(file) = &self.shared.file {
            return (file.clone(), true);
        }
        let shared = self.change();
        shared.recorded += 1;
        let file = name(shared.recorded);
        shared.file = Some(file.clone());
        (file, false)
    }

    /// The recording's file is complete.
    pub(super) fn file_ends(&mut self) {
        self.change().file = None;
    }

    /// What this member keeps for the process after this one; `None`: it is no member.
    pub(super) fn kept(&self, leg: LegId) -> Option<Kept> {
        let participant = self.participants.iter().find(|participant| participant.leg == leg)?;
        Some((*participant, self.shared.clone()))
    }

    /// A member goes on with what it has kept. Others may have done so already; nobody is new.
    pub(super) fn take_up(&mut self, (participant, shared): Kept, who: Caller) -> Vec<Deed> {
        let Participant { leg, waits, sent_away, nth, .. } = participant;
        self.callers.insert(leg, who);
        let place = self.participants.partition_point(|before| before.nth < nth);
        self.participants.insert(place, participant);
        let mut deeds = vec![if waits { Deed::Wait(leg) } else { Deed::Mix(leg, participant.member()) }];
        if sent_away {
            deeds.push(Deed::SendAway(leg));
        }
        if shared.changes >= self.shared.changes {
            let before = std::mem::replace(&mut self.shared, shared);
            if before.records != self.shared.records {
                deeds.push(Deed::Record(self.shared.records));
            }
        }
        deeds
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
