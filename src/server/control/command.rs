//! What a program may want, as JSON: `{"command": "play", "call": 7, "sound": "welcome.wav"}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::dial::{RingOrder, Targets};
pub use super::digits::Digits;
use super::header_fields::CommandHeaders;
use super::sound::Sounds;
pub use super::transfer::TransferBy;
use b2b_app::queue::machine::agent::Duty;

/// A command with who gave it its id, how long it may take, and what it is about.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Order {
    /// The program's own name of it: 1 to 64 letters, digits and `.`, `_`, `:`, `-`. The same id
    /// again is the same command. Without one it gets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The call that it is about; of its legs the first one is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// The leg that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<u64>,
    /// It is given up after so many seconds, 1 to 86400. Without it: an hour for what lasts by its
    /// nature (calling, playing, collecting), else 30 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    #[serde(flatten)]
    pub command: Command,
}

/// What is wanted. `call` or `leg` say of whom, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Calls a party; done when it answers. Then it is joined with `to`, or given to `app`, or
    /// waits for commands. Result: `call`, `leg`, and `bridge` with `to`.
    Originate {
        /// Whom to call: a target as routes have it, `user/1001`, or a list of them.
        from: Targets,
        /// Whom to join with who answers: a target, or a list of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Targets>,
        /// In which order the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The application that gets who answers: `ivr/main`, `conference/blue`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<String>,
        /// The number that counts as called, for `app`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
        /// The number that is shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        /// How long each may ring; without it `limits.ring_s`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// What is noted on the call.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        variables: BTreeMap<String, String>,
        /// More header fields of the INVITEs, to both: names and values. They stand in the place of
        /// b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Calls somebody for this party, and joins both at the answer. Result: `bridge`.
    Dial {
        /// A target as routes have it, or a list of them: who answers first is joined.
        to: Targets,
        /// In which order the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The number that is shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// More header fields of the INVITE: names and values. They stand in the place of b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Answers a caller.
    Answer {
        /// More header fields of the 200: names and values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Refuses a caller who is not answered.
    Reject {
        /// 300 to 699.
        #[serde(default = "busy")]
        status: u16,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Ends a leg, or all of a call.
    Hangup {
        /// Why, as a Q.850 cause, 1 to 127: in the BYE, the CANCEL or the refusal, whose status follows from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<u8>,
        /// The words beside it; without them the cause's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Joins two answered legs; the other one's call becomes part of this one's. Result: `bridge`.
    Bridge {
        /// The other leg.
        with: u64,
        /// Whether who is left stays when the other one hangs up.
        #[serde(default)]
        keep: bool,
    },
    /// Takes the bridge of this leg down. Both parties stay: this one in its call, the other one in
    /// a call of its own. Result: `call`, `leg`, and `other` with its `call` and `leg`.
    Unbridge {
        /// The application that gets the other one; without it that one waits for commands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<String>,
    },
    /// Puts the party on hold: nothing of it is heard, and it hears music.
    Hold {
        /// The class of music; without it `default`, or silence where the media server has no
        /// music. An empty one is silence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
    },
    /// Takes the party back that was put on hold.
    Resume {},
    /// Sends the other party of this leg's bridge to a target; done when the target has answered.
    /// Result: `by`; and of `refer` its `status` and whether it is `confirmed`.
    Transfer {
        /// A target as routes have it; for `refer` a `sip:`, `sips:` or `tel:` URI.
        to: String,
        #[serde(default, skip_serializing_if = "TransferBy::is_dial")]
        by: TransferBy,
        /// With `refer`: the leg's own party goes, which is in no bridge.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
        /// A target as routes have it that is called from here when the party does not take the
        /// REFER, or its call is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
        /// More header fields of the INVITE, or of the REFER: names and values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Plays to its end, or until it is stopped. Result: `complete`.
    Play {
        sound: Sounds,
        /// How often; 0 is until it is stopped.
        #[serde(default = "once")]
        times: u32,
    },
    StopPlaying {},
    /// Collects digits. Result: `digits`, and `end`: `full`, `terminator`, `no_input`,
    /// `between_digits`, `total_time`, `stopped`.
    Collect {
        #[serde(flatten)]
        digits: Digits,
    },
    StopCollecting {},
    /// Plays, and collects from the beginning of it.
    PlayAndCollect {
        sound: Sounds,
        #[serde(default = "once")]
        times: u32,
        /// Whether the first digit ends what is played.
        #[serde(default = "yes")]
        barge_in: bool,
        #[serde(flatten)]
        digits: Digits,
    },
    /// Whether DTMF tones in the party's audio are digits.
    HearTones {
        on: bool,
    },
    /// Records the call, or one leg, as `[recording]` says.
    Record {
        #[serde(default, skip_serializing_if = "Whole::is_call")]
        what: Whole,
    },
    /// Nothing is recorded until it goes on.
    PauseRecording {
        paused: bool,
        #[serde(default, skip_serializing_if = "Whole::is_call")]
        what: Whole,
    },
    /// Result: `file`, `seconds`, `error`.
    StopRecording {
        #[serde(default, skip_serializing_if = "Whole::is_call")]
        what: Whole,
    },
    /// Plays music until it is stopped: the party waits.
    Music {
        #[serde(default = "default_class")]
        class: String,
    },
    StopMusic {},
    /// Whether the party hears itself.
    Echo {
        on: bool,
    },
    /// Presses keys for the party's far end, as RFC 4733 events.
    SendDigits {
        digits: String,
        /// Of each key: 40 to 5000.
        #[serde(default = "key_ms")]
        ms: u32,
    },
    /// Notes something on the call; an empty value takes it away.
    SetVariable {
        name: String,
        value: String,
    },
    /// Takes the party from whatever has it, and gives it to an application; the other party of
    /// its bridge is hung up.
    Handle {
        /// `ivr/main`, `queue/sales`, `remote/agent`.
        app: String,
        /// As if it had called this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
    },
    /// Whom a target reaches now. Result: `contacts`.
    Lookup {
        target: String,
    },
    /// Changes an agent's state. Result: the agent. Neither `call` nor `leg`.
    Agent {
        agent: String,
        state: Duty,
    },
    /// Mutes a member (`leg`), or all who are no moderators.
    RoomMute {
        room: String,
        muted: bool,
    },
    /// How loud the room is for a member (`leg`): -12 to 12.
    RoomVolume {
        room: String,
        db: i8,
    },
    /// Whether nobody may come in but moderators.
    RoomLock {
        room: String,
        locked: bool,
    },
    /// Sends a member (`leg`) away.
    RoomKick {
        room: String,
    },
    RoomRecord {
        room: String,
        on: bool,
    },
    /// Plays to all who are in a room. Result: `complete`.
    RoomPlay {
        room: String,
        sound: Sounds,
    },
    /// Takes a command back that is under way: it fails with `cancelled`.
    Cancel {
        /// Its id.
        of: String,
    },
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// The whole call, whoever of its parties comes and goes.
    #[default]
    Call,
    /// One leg: what its party says on the left, what it hears on the right.
    Leg,
    /// What the party of one leg says.
    Said,
}

impl Whole {
    fn is_call(&self) -> bool {
        *self == Whole::Call
    }
}

fn busy() -> u16 {
    486
}
fn once() -> u32 {
    1
}
fn yes() -> bool {
    true
}
fn default_class() -> String {
    "default".to_owned()
}
fn key_ms() -> u32 {
    100
}
/// Longest id.
const ID: usize = 64;

impl Order {
    /// From a JSON object.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(value: Value) -> Result<Order, String> {
        let Value::Object(mut fields) = value else { return Err("a command is a JSON object".to_owned()) };
        let id = match fields.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if is_id(&id) => Some(id),
            Some(_) => return Err(format!("id: 1 to {ID} letters, digits and . _ : -, in quotes")),
        };
        let call = whole(&mut fields, "call", 0..=u64::MAX)?;
        let leg = whole(&mut fields, "leg", 0..=u64::MAX)?;
        let deadline_s = whole(&mut fields, "deadline_s", 1..=86_400)?;
        let command: Command =
            serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
        command.check()?;
        Ok(Order { id, call, leg, deadline_s, command })
    }
}

fn whole(
    fields: &mut Map<String, Value>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None if *range.end() == u64::MAX => Err(format!("{name}: a number, as GET /calls has it")),
            None => Err(format!("{name}: {} to {}", range.start(), range.end())),
        },
    }
}

/// Whether this can be the id of a command.
pub fn is_id(text: &str) -> bool {
    (1..=ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

impl Command {
    /// As JSON has it.
    pub fn word(&self) -> &'static str {
        match self {
            Command::Originate { .. } => "originate",
            Command::Dial { .. } => "dial",
            Command::Answer { .. } => "answer",
            Command::Reject { .. } => "reject",
            Command::Hangup { .. } => "hangup",
            Command::Bridge { .. } => "bridge",
            Command::Unbridge { .. } => "unbridge",
            Command::Hold { .. } => "hold",
            Command::Resume {} => "resume",
            Command::Transfer { .. } => "transfer",
            Command::Play { .. } => "play",
            Command::StopPlaying {} => "stop_playing",
            Command::Collect { .. } => "collect",
            Command::StopCollecting {} => "stop_collecting",
            Command::PlayAndCollect { .. } => "play_and_collect",
            Command::HearTones { .. } => "hear_tones",
            Command::Record { .. } => "record",
            Command::PauseRecording { .. } => "pause_recording",
            Command::StopRecording { .. } => "stop_recording",
            Command::Music { .. } => "music",
            Command::StopMusic {} => "stop_music",
            Command::Echo { .. } => "echo",
            Command::SendDigits { .. } => "send_digits",
            Command::SetVariable { .. } => "set_variable",
            Command::Handle { .. } => "handle",
            Command::Lookup { .. } => "lookup",
            Command::Agent { .. } => "agent",
            Command::RoomMute { .. } => "room_mute",
            Command::RoomVolume { .. } => "room_volume",
            Command::RoomLock { .. } => "room_lock",
            Command::RoomKick { .. } => "room_kick",
            Command::RoomRecord { .. } => "room_record",
            Command::RoomPlay { .. } => "room_play",
            Command::Cancel { .. } => "cancel",
        }
    }
}

#[cfg(test)]
mod tests;
