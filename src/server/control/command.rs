//! The commands of programs, as JSON: `{"command": "play", "call": 7, "sound": "welcome.wav"}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use super::dial::{RingOrder, Targets};
pub use super::digits::Digits;
use super::header_fields::CommandHeaders;
use super::sound::Sounds;
pub use super::transfer::TransferBy;
use b2b_app::queue::machine::agent::Duty;

/// A command with its id, its deadline, and the call or leg that it applies to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Order {
    /// The program's own id for it: 1 to 64 letters, digits and `.`, `_`, `:`, `-`. A repeated id means the
    /// same command. Without one, the server assigns an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The call that it applies to; of its legs, the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// The leg that it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<u64>,
    /// Time after which it fails, in seconds, 1 to 86400. Default: an hour for commands that last by nature
    /// (calling, playing, collecting), else 30 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The token of the program that gives it.
    #[serde(skip)]
    pub token: String,
    #[serde(flatten)]
    pub command: Command,
}

/// The command. Unless stated otherwise, it applies to the party of `call` or `leg`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, IntoStaticStr)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Command {
    /// Calls a party; completes when the party answers. The party is then joined with `to`, or given to
    /// `app`, or waits for commands. Result: `call`, `leg`, and `bridge` with `to`.
    Originate {
        /// The party to call: a target as in routes, `user/1001`, or a list of targets.
        from: Targets,
        /// The party to join with the one that answers: a target, or a list of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Targets>,
        /// The order in which the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The application that gets the party that answers: `ivr/main`, `conference/blue`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<String>,
        /// The `app`, a `voice_agent/`, hears the party's early media: it gets the party before the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        early: bool,
        /// The called number that `app` sees.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
        /// The caller number to present.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        /// Maximum ringing time of each target; default `limits.ring_s`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// Variables to set on the call.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        variables: BTreeMap<String, String>,
        /// Additional header fields of the INVITEs to both parties: names and values. They replace b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Calls a target for this party, and joins both when it answers. Result: `bridge`.
    Dial {
        /// A target as in routes, or a list of them: the first to answer is joined.
        to: Targets,
        /// The order in which the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The caller number to present.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// Additional header fields of the INVITE: names and values. They replace b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Answers a caller.
    Answer {
        /// Additional header fields of the 200: names and values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Refuses a caller who has not been answered.
    Reject {
        /// 300 to 699.
        #[serde(default = "busy")]
        status: u16,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Ends a leg, or a whole call.
    Hangup {
        /// The Q.850 cause, 1 to 127: in the BYE, the CANCEL or the refusal, whose status is derived from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<u8>,
        /// The text of the cause; default: the cause's standard text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Joins two answered legs; the other leg's call becomes part of this one's. Result: `bridge`.
    Bridge {
        /// The other leg.
        with: u64,
        /// Whether the remaining party stays when the other one hangs up.
        #[serde(default)]
        keep: bool,
    },
    /// Takes down the bridge of this leg. Both parties stay: this one in its call, the other one in a call of
    /// its own. Result: `call`, `leg`, and `other` with its `call` and `leg`.
    Unbridge {
        /// The application that gets the other party; without it, that party waits for commands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<String>,
    },
    /// Puts the party on hold: it is not heard, and it hears music.
    Hold {
        /// The class of music; default `default`, or silence where the media server has no music. An empty
        /// string means silence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
    },
    /// Retrieves the party from hold.
    Resume {},
    /// Transfers the other party of this leg's bridge to a target; completes when the target has answered.
    /// Result: `by`; for `refer` also `status` and whether it is `confirmed`.
    Transfer {
        /// A target as in routes; for `refer` a `sip:`, `sips:` or `tel:` URI.
        to: String,
        #[serde(default, skip_serializing_if = "TransferBy::is_dial")]
        by: TransferBy,
        /// With `refer`: transfers the leg's own party, which is in no bridge.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
        /// A target as in routes that is called from here if the party does not accept the REFER, or if its
        /// call is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
        /// Additional header fields of the INVITE, or of the REFER: names and values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Plays to the end, or until it is stopped. Result: `complete`.
    Play {
        sound: Sounds,
        /// How many times to play; 0 repeats until it is stopped.
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
    /// Plays, and collects digits from the start of the playback.
    PlayAndCollect {
        sound: Sounds,
        #[serde(default = "once")]
        times: u32,
        /// Whether the first digit ends the playback.
        #[serde(default = "yes")]
        barge_in: bool,
        #[serde(flatten)]
        digits: Digits,
    },
    /// Whether DTMF tones in the party's audio are detected as digits.
    HearTones {
        on: bool,
    },
    /// Records the call, or one leg, as `[recording]` is configured.
    Record {
        #[serde(default, skip_serializing_if = "Whole::is_call")]
        what: Whole,
    },
    /// Pauses or continues the recording.
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
    /// Plays music on hold to the party until it is stopped.
    Music {
        #[serde(default = "default_class")]
        class: String,
    },
    StopMusic {},
    /// Whether the party's audio is echoed back to it.
    Echo {
        on: bool,
    },
    /// Sends digits to the party, as RFC 4733 events.
    SendDigits {
        digits: String,
        /// Duration of each digit in ms: 40 to 5000.
        #[serde(default = "key_ms")]
        ms: u32,
    },
    /// Sets a variable of the call; an empty value removes it.
    SetVariable {
        name: String,
        value: String,
    },
    /// Takes the party from its present owner and gives it to an application; the other party of its bridge
    /// is hung up.
    Handle {
        /// `ivr/main`, `queue/sales`, `remote/agent`.
        app: String,
        /// The called number that the application sees.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
    },
    /// Looks up the contacts that a target reaches now. Result: `contacts`.
    Lookup {
        target: String,
    },
    /// Changes an agent's state. Result: the agent. Takes neither `call` nor `leg`.
    Agent {
        agent: String,
        state: Duty,
    },
    /// Mutes a member (`leg`), or all members that are not moderators.
    RoomMute {
        room: String,
        muted: bool,
    },
    /// Volume of the room for a member (`leg`), in dB: -12 to 12.
    RoomVolume {
        room: String,
        db: i8,
    },
    /// Whether the room is locked, so that only moderators may enter.
    RoomLock {
        room: String,
        locked: bool,
    },
    /// Removes a member (`leg`) from a room.
    RoomKick {
        room: String,
    },
    RoomRecord {
        room: String,
        on: bool,
    },
    /// Plays to all members of a room. Result: `complete`.
    RoomPlay {
        room: String,
        sound: Sounds,
    },
    /// Cancels a running command: it fails with `cancelled`.
    Cancel {
        /// Its id.
        of: String,
    },
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// The whole call, over all changes of its parties.
    #[default]
    Call,
    /// One leg: the audio from its party on the left, the audio to it on the right.
    Leg,
    /// Only the audio from the party of one leg.
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
/// Maximum length of an id.
const ID: usize = 64;

impl Order {
    /// Reads an order from a JSON object.
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
        Ok(Order { id, call, leg, deadline_s, token: String::new(), command })
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

/// Whether a text is valid as the id of a command.
pub fn is_id(text: &str) -> bool {
    (1..=ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

impl Command {
    /// The name of the command in JSON.
    pub fn word(&self) -> &'static str {
        self.into_str()
    }

    /// Examples in JSON, one for each kind of command.
    pub fn examples() -> Vec<Value> {
        vec![
            json!({ "command": "originate", "from": "user/1001", "app": "ivr/main", "id": "call-back-17" }),
            json!({ "command": "originate", "from": "user/1001", "to": "gateway/carrier/+442083661177", "ring_s": 30 }),
            json!({ "command": "dial", "call": 7, "to": "user/1002" }),
            json!({ "command": "answer", "call": 7 }),
            json!({ "command": "reject", "call": 7, "status": 486 }),
            json!({ "command": "hangup", "leg": 9 }),
            json!({ "command": "bridge", "leg": 9, "with": 12 }),
            json!({ "command": "unbridge", "leg": 9, "app": "queue/sales" }),
            json!({ "command": "hold", "leg": 9, "class": "default" }),
            json!({ "command": "resume", "leg": 9 }),
            json!({ "command": "transfer", "leg": 9, "to": "user/1003" }),
            json!({ "command": "play", "call": 7, "sound": "welcome.wav", "deadline_s": 60 }),
            json!({ "command": "play", "leg": 9, "sound": [{ "tone": 440, "ms": 300 }, { "silence_ms": 200 }, { "digits": "42" }], "times": 2 }),
            json!({ "command": "stop_playing", "leg": 9 }),
            json!({ "command": "collect", "leg": 9, "max": 4, "first_s": 10 }),
            json!({ "command": "stop_collecting", "leg": 9 }),
            json!({ "command": "play_and_collect", "leg": 9, "sound": "pin.wav", "max": 6, "terminators": "#" }),
            json!({ "command": "hear_tones", "leg": 9, "on": true }),
            json!({ "command": "record", "call": 7 }),
            json!({ "command": "record", "leg": 9, "what": "said" }),
            json!({ "command": "pause_recording", "call": 7, "paused": true }),
            json!({ "command": "stop_recording", "call": 7 }),
            json!({ "command": "music", "leg": 9, "class": "default" }),
            json!({ "command": "stop_music", "leg": 9 }),
            json!({ "command": "echo", "leg": 9, "on": true }),
            json!({ "command": "send_digits", "leg": 9, "digits": "123#" }),
            json!({ "command": "set_variable", "call": 7, "name": "customer", "value": "4711" }),
            json!({ "command": "handle", "leg": 9, "app": "queue/sales" }),
            json!({ "command": "lookup", "target": "user/1001" }),
            json!({ "command": "agent", "agent": "ann", "state": "paused" }),
            json!({ "command": "room_mute", "room": "blue", "leg": 9, "muted": true }),
            json!({ "command": "room_volume", "room": "blue", "leg": 9, "db": 3 }),
            json!({ "command": "room_lock", "room": "blue", "locked": true }),
            json!({ "command": "room_kick", "room": "blue", "leg": 9 }),
            json!({ "command": "room_record", "room": "blue", "on": true }),
            json!({ "command": "room_play", "room": "blue", "sound": "announcement.wav" }),
            json!({ "command": "cancel", "of": "call-back-17" }),
        ]
    }
}

#[cfg(test)]
mod tests;
