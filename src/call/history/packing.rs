//! Calls that are up and idle: their data is compressed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::CallHistory;
use super::entry::Entry;
use crate::CallId;

/// How long a retransmission may arrive and has to be recognised: 64 × T1 (RFC 3261 §17).
const COPIES: Duration = Duration::from_secs(32);

/// Calls that become idle within this time are processed together.
const TOGETHER: Duration = Duration::from_secs(1);

/// How many calls are compressed with the same pattern. The similarity of calls changes over time; but a
/// pattern, which takes about as much memory as compression saves for one call, is kept until the last of
/// these calls has ended.
const ALIKE: u32 = 2_048;

/// Maximum size of a pattern: LZ4 looks back 64 KB, and the messages of the call are in between.
const LONGEST_PATTERN: usize = 32_768;

/// A dictionary taken from one call: most of a message or journal is similar in all calls.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    octets: Option<Arc<[u8]>>,
    /// The number of calls compressed with it.
    calls: u32,
}

impl Pattern {
    /// The pattern for the next call.
    fn for_next(&mut self, entry: &Entry) -> Option<&Arc<[u8]>> {
        if self.calls == 0 {
            self.octets = entry.usual().map(Arc::from).or(self.octets.take());
        }
        self.calls = (self.calls + 1) % ALIKE;
        self.octets.as_ref()
    }
}

impl CallHistory {
    /// Records activity of a call: its data is compressed once the call has been idle for long enough.
    pub(super) fn will_be_quiet(&mut self, call: CallId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&call) else { return };
        entry.latest = now;
        if !std::mem::replace(&mut entry.is_watched, true) {
            self.quiet.push_back((now + COPIES, call));
        }
    }

    /// The memory of a call's history, in bytes.
    pub fn bytes(&self, call: CallId) -> usize {
        self.entries.get(&call).map_or(0, |entry| entry.bytes())
    }

    /// When to look for idle calls.
    pub(super) fn next_quiet(&self) -> Option<Instant> {
        self.quiet.front().map(|(at, _)| *at + TOGETHER)
    }

    pub(super) fn pack_quiet(&mut self, now: Instant) {
        while let Some((_, call)) = self.quiet.front().copied().filter(|(at, _)| *at <= now) {
            self.quiet.pop_front();
            let Some(entry) = self.entries.get_mut(&call).filter(|entry| !entry.kept) else { continue };
            match entry.latest + COPIES {
                later if later > now => self.quiet.push_back((later, call)),
                _ => {
                    entry.is_watched = false;
                    let pattern = self.pattern.for_next(entry);
                    entry.pack(pattern);
                }
            }
        }
    }
}

impl Entry {
    fn pack(&mut self, pattern: Option<&Arc<[u8]>>) {
        self.messages.pack(pattern);
        if let Some(pages) = &mut self.journal {
            pages.pack(&self.messages.first_packed(), pattern);
        }
        self.timeline.shrink();
    }

    /// Data that is similar in other calls: without secrets, since a pattern outlives its call.
    fn usual(&self) -> Option<Vec<u8>> {
        let mut usual = Vec::new();
        self.journal
            .iter()
            .flat_map(|pages| pages.usual())
            .for_each(|record| usual.extend_from_slice(record));
        self.messages.usual().for_each(|message| usual.extend_from_slice(&message));
        usual.truncate(LONGEST_PATTERN);
        (!usual.is_empty()).then_some(usual)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::journal::{Begin, Pages};
    use b2b_sip::endpoint::{EndpointConfig, Flow, FlowId};
    use b2b_sip::msg::Transport;
    use b2b_sip::net::tap::{Direction, Seen};

    #[test]
    fn a_pattern_has_what_calls_have_in_common_and_no_secrets() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut entry = Entry::new(CallId(1), now, wall);
        let at = ([127, 0, 0, 1], 5060).into();
        let flow = Flow { id: FlowId(1), transport: Transport::Udp, local: at, remote: at };
        let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
        let digest = "Authorization: Digest username=\"ann\", realm=\"b2b\", nonce=\"8f\", uri=\"sip:b\", response=\"5f21\"\r\n";
        let message =
            format!("INVITE sip:bob@b2b SIP/2.0\r\nCall-ID: 1\r\n{digest}\r\nm=audio 9 RTP/SAVP 0\r\n{key}");
        let data = Bytes::from(message.clone());
        entry.messages.push(&Seen { at: now, direction: Direction::Received, flow, data });
        let begin = Begin {
            version: 1,
            program: String::new(),
            wall_us: 0,
            endpoint: EndpointConfig::new([7; 32]),
            domain: String::new(),
            max_duration: None,
            records: None,
            hidden_fields: Vec::new(),
        };
        let mut pages = Pages::new(now, wall, Arc::new(begin));
        pages.received(now, &flow, message.as_bytes());
        pages.fact("found", &"sip:bob@192.0.2.7");
        pages.answered(now, 1, &key);
        pages.input(now, "command", &serde_json::json!({ "ask": { "pin": "4711" } }));
        entry.journal = Some(Box::new(pages));
        let usual = String::from_utf8_lossy(&entry.usual().unwrap()).into_owned();
        assert!(usual.contains("INVITE sip:bob@b2b") && usual.contains("sip:bob@192.0.2.7"), "{usual}");
        for secret in ["WVNfX19zZW1jdGwg", "5f21", "4711"] {
            assert!(!usual.contains(secret), "{secret} in {usual}");
        }
    }
}
