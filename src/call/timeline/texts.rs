//! The strings of one timeline, each stored once: a call repeats many of them.

use std::fmt::{self, Write};

/// Identifies a string of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextId(u16);

/// Strings that most calls use, the shorter ones first; they are not stored per call.
const COMMON: [&str; 32] = [
    "",
    "ACK",
    "BYE",
    "INFO",
    "held",
    "idle",
    "dial",
    "PRACK",
    "REFER",
    "route",
    "INVITE",
    "CANCEL",
    "UPDATE",
    "NOTIFY",
    "failed",
    "active",
    "bridge",
    "OPTIONS",
    "MESSAGE",
    "created",
    "ringing",
    "bridged",
    "hang up",
    "silence",
    "answered",
    "SUBSCRIBE",
    "destroyed",
    "terminated",
    "early media",
    "first packet",
    "incoming call",
    "outgoing call",
];

/// The length of the longest of them in bytes.
const LONGEST_COMMON: usize = COMMON[COMMON.len() - 1].len();

/// By length: how many of them are shorter.
const SHORTER: [usize; LONGEST_COMMON + 2] = {
    let (mut shorter, mut length) = ([0; LONGEST_COMMON + 2], 0);
    while length < shorter.len() {
        while shorter[length] < COMMON.len() && COMMON[shorter[length]].len() < length {
            assert!(
                shorter[length] == 0 || COMMON[shorter[length] - 1].len() <= COMMON[shorter[length]].len()
            );
            shorter[length] += 1;
        }
        length += 1;
    }
    shorter
};

/// Maximum length of a string in bytes; longer ones are truncated.
const MAX_TEXT: usize = 96;
/// Maximum size of all strings in bytes.
const MAX_BYTES: usize = 992;
/// Maximum number of strings.
const MAX_TEXTS: usize = 64;
/// The allocation step.
const STEP: usize = 160;

/// Stands for a string that did not fit.
const FULL: TextId = TextId(u16::MAX);

/// A string, or one that is still to be formatted.
#[derive(Clone, Copy)]
pub enum Text<'a> {
    Said(&'a str),
    Written(fmt::Arguments<'a>),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Said(text)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Text::Said(text)
    }
}

impl<'a> From<fmt::Arguments<'a>> for Text<'a> {
    fn from(text: fmt::Arguments<'a>) -> Self {
        Text::Written(text)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Texts {
    bytes: String,
    /// The end of each string; it begins at the end of the previous one.
    ends: Vec<u16>,
}

impl Texts {
    /// Stores a string, unless it is stored already. Control characters become spaces.
    pub fn add<'a>(&mut self, text: impl Into<Text<'a>>) -> TextId {
        let start = self.bytes.len();
        let room = MAX_TEXT.min(MAX_BYTES.saturating_sub(start));
        let text = text.into();
        // Most strings fit unchanged and are stored already.
        let said =
            if let Text::Said(text) = text { Some(text).filter(|text| fits(text, room)) } else { None };
        if let Some(known) = said.and_then(|text| self.find(text, start)) {
            return known;
        }
        if self.bytes.capacity() - start < room {
            // In small steps: doubling would waste as much memory as a whole call needs.
            self.bytes.reserve_exact(room.max(STEP).min(MAX_BYTES - start));
        }
        let mut writer = Bounded { bytes: &mut self.bytes, room, cut: false };
        // Writing fails only to stop a string that is too long.
        let _ = match text {
            Text::Said(text) => writer.write_str(text),
            Text::Written(text) => writer.write_fmt(text),
        };
        let cut = writer.cut;
        let added = &self.bytes[start..];
        let known = match cut && start + MAX_TEXT > MAX_BYTES {
            true => Some(FULL), // not truncated because of its own length
            false if said.is_some() => None,
            false => self.find(added, start),
        };
        match known {
            Some(known) => {
                self.bytes.truncate(start);
                known
            }
            None if self.ends.len() == MAX_TEXTS => {
                self.bytes.truncate(start);
                FULL
            }
            None => {
                if self.ends.len() == self.ends.capacity() {
                    self.ends.reserve_exact(16.min(MAX_TEXTS - self.ends.len()));
                }
                self.ends.push(self.bytes.len() as u16);
                TextId((COMMON.len() + self.ends.len() - 1) as u16)
            }
        }
    }

    /// A stored string; `…` for one that did not fit.
    pub fn get(&self, id: TextId) -> &str {
        let id = usize::from(id.0);
        match COMMON.get(id) {
            Some(common) => common,
            None => self.own(id - COMMON.len()).unwrap_or("…"),
        }
    }

    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u16>()
    }

    fn find(&self, text: &str, limit: usize) -> Option<TextId> {
        let alike = SHORTER.get(text.len()).zip(SHORTER.get(text.len() + 1));
        let common = alike.and_then(|(&from, &to)| {
            COMMON[from..to].iter().position(|it| *it == text).map(|place| place + from)
        });
        let own = || {
            let mut start = 0;
            self.ends.iter().position(|end| {
                let found = &self.bytes.as_bytes()[start..usize::from(*end).min(limit)] == text.as_bytes();
                start = usize::from(*end);
                found
            })
        };
        let place = common.or_else(|| own().map(|place| place + COMMON.len()));
        place.map(|place| TextId(place as u16))
    }

    fn own(&self, place: usize) -> Option<&str> {
        let end = usize::from(*self.ends.get(place)?);
        let start = place.checked_sub(1).map_or(0, |before| usize::from(self.ends[before]));
        self.bytes.get(start..end)
    }
}

/// Whether a string can be stored unchanged, as nearly all can: ASCII without control characters, with room
/// for the truncation mark after it.
fn fits(text: &str, room: usize) -> bool {
    text.len() + '…'.len_utf8() <= room && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Writes at most `room` bytes, whole characters only.
struct Bounded<'a> {
    bytes: &'a mut String,
    room: usize,
    cut: bool,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if fits(text, self.room) {
            self.room -= text.len();
            self.bytes.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            let c = if c.is_control() { ' ' } else { c };
            // The last three bytes are reserved for the truncation mark.
            if c.len_utf8() + '…'.len_utf8() > self.room {
                self.cut = true;
                if '…'.len_utf8() <= self.room {
                    self.bytes.push('…');
                }
                self.room = 0;
                return Err(fmt::Error);
            }
            self.room -= c.len_utf8();
            self.bytes.push(c);
        }
        Ok(())
    }
}
