//! The SIP messages of one call as they were on the wire, in little memory: the first ones, and the latest
//! ones.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::{Serialize, Serializer};

use super::super::capture::Capture;
use super::super::controller::{TracedPacket, TracedPackets};
use super::super::octets::Octets;
use b2b_sip::msg::Transport;
use b2b_sip::msg::veil::{without_keys, without_secrets};
use b2b_sip::net::tap::{Direction, Seen};

/// Bytes for the first messages: enough for the setup of a call with two legs.
const HEAD: usize = 8_192;
/// Bytes for the latest messages.
const TAIL: usize = 4_096;
/// Bytes for the latest messages of a captured call.
const CAPTURED_TAIL: usize = 262_144;
/// The allocation step.
const STEP: usize = 4_096;
/// Maximum number of distinct flows; messages of further flows are left out.
const WAYS: usize = 16;
/// Bytes of a record besides its message: time, flow and direction, length.
const OWN: usize = 8 + 1 + 2;
const SENT: u8 = 0x80;

/// The messages of a call; see the module documentation.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    start: Instant,
    began: SystemTime,
    ways: Vec<(Transport, SocketAddr, SocketAddr)>,
    head: Octets,
    tail: Vec<u8>,
    full: bool,
    /// Bytes for the latest messages.
    room: u32,
    left_out: u64,
}

/// A message of a call, without password digests and SRTP keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SipMessage {
    /// The time since the beginning of the call.
    pub at_ms: f64,
    /// True: sent; false: received.
    pub sent: bool,
    #[serde(serialize_with = "named")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub transport: Transport,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub local: SocketAddr,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub remote: SocketAddr,
    /// Octets that are not UTF-8 become U+FFFD.
    pub text: String,
}

fn named<S: Serializer>(transport: &Transport, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(transport.as_str())
}

/// A stored message.
struct Record<'a> {
    at_us: u64,
    sent: bool,
    way: usize,
    data: &'a [u8],
}

impl Messages {
    pub fn new(start: Instant, began: SystemTime) -> Self {
        Messages {
            start,
            began,
            ways: Vec::new(),
            head: Octets::default(),
            tail: Vec::new(),
            full: false,
            room: TAIL as u32,
            left_out: 0,
        }
    }

    /// Stores a message. Returns whether an identical one is stored already (a retransmission).
    pub fn push(&mut self, seen: &Seen) -> bool {
        let (flow, shown) = (&seen.flow, without_keys(&seen.data));
        let data: &[u8] = &shown;
        let way = (flow.transport, flow.local, flow.remote);
        let way = match self.ways.iter().position(|known| *known == way) {
            Some(way) => way,
            None if self.ways.len() < WAYS => {
                if self.ways.len() == self.ways.capacity() {
                    self.ways.reserve_exact(2);
                }
                self.ways.push(way);
                self.ways.len() - 1
            }
            None => {
                self.left_out += 1;
                return false;
            }
        };
        let sent = seen.direction == Direction::Sent;
        let known = [self.head.recent(), &self.tail].into_iter().flat_map(records);
        let again = { known }.any(|it| it.way == way && it.sent == sent && it.data == data);
        let Ok(length) = u16::try_from(data.len()) else {
            self.left_out += 1;
            return again;
        };
        let needed = OWN + data.len();
        self.full |= self.head.len() + needed > HEAD;
        let into = if self.full {
            let into = &mut self.tail;
            while !into.is_empty() && into.len() + needed > self.room as usize {
                let first = OWN + usize::from(u16::from_le_bytes([into[9], into[10]]));
                into.drain(..first.min(into.len()));
                self.left_out += 1;
            }
            if needed > self.room as usize {
                self.left_out += 1;
                return again;
            }
            if into.capacity() - into.len() < needed {
                // In large steps, since each one moves the existing data.
                into.reserve_exact(needed.next_multiple_of(STEP));
            }
            into
        } else {
            self.head.with_room(needed)
        };
        let at = seen.at.saturating_duration_since(self.start).as_micros();
        into.extend_from_slice(&u64::try_from(at).unwrap_or(u64::MAX).to_le_bytes());
        into.push(way as u8 | if sent { SENT } else { 0 });
        into.extend_from_slice(&length.to_le_bytes());
        into.extend_from_slice(data);
        again
    }

    /// Compresses the messages, which will not be read soon; no retransmission of the latest one is expected
    /// any more.
    pub fn pack(&mut self, pattern: Option<&Arc<[u8]>>) {
        self.head.pack(&[], pattern);
        self.shrink();
    }

    /// The first messages that are not compressed, without secrets.
    pub fn usual(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        records(self.head.recent()).map(|it| without_secrets(it.data))
    }

    /// The first compressed block: the call's journal contains the same messages.
    pub fn first_packed(&self) -> Vec<u8> {
        self.head.first_packed()
    }

    /// Releases spare capacity; no more messages follow.
    pub fn shrink(&mut self) {
        self.ways.shrink_to_fit();
        self.head.shrink();
        // Small savings are not worth a reallocation.
        if self.tail.capacity() - self.tail.len() > STEP / 4 {
            self.tail.shrink_to_fit();
        }
    }

    /// The heap memory in use, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.head.heap_bytes()
            + self.tail.capacity()
            + self.ways.capacity() * size_of::<(Transport, SocketAddr, SocketAddr)>()
    }

    /// The number of messages that are not stored.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Raises the limit for the latest messages.
    pub fn widen(&mut self) {
        self.room = CAPTURED_TAIL as u32;
    }

    /// The messages as text, in order, without secrets.
    pub fn shown(&self) -> Vec<SipMessage> {
        let head = self.head.all(&[]);
        let messages = records(&head).chain(records(&self.tail));
        let shown = messages.filter_map(|it| {
            let (transport, local, remote) = self.ways.get(it.way).copied()?;
            let text = String::from_utf8_lossy(&without_secrets(it.data)).into_owned();
            Some(SipMessage {
                at_ms: it.at_us as f64 / 1_000.0,
                sent: it.sent,
                transport,
                local,
                remote,
                text,
            })
        });
        shown.collect()
    }

    /// The messages as a PCAP file, merged with media packets by time.
    pub fn to_pcap(&self, media: Option<&TracedPackets>) -> Vec<u8> {
        let head = self.head.all(&[]);
        let messages = records(&head).chain(records(&self.tail));
        let mut items: Vec<(Duration, Item<'_>)> =
            messages.map(|it| (Duration::from_micros(it.at_us), Item::Message(it))).collect();
        let packets = media.into_iter().flat_map(TracedPackets::iter);
        items.extend(packets.map(|it| (it.at.saturating_duration_since(self.start), Item::Packet(it))));
        // The sort is stable: messages of the same turn stay in order.
        items.sort_by_key(|(at, _)| *at);
        let mut capture = Capture::new(usize::MAX);
        for (at, item) in items {
            let at = self.began.checked_add(at).unwrap_or(self.began);
            let turned = |sent, local, remote| if sent { (local, remote) } else { (remote, local) };
            match item {
                Item::Message(it) => {
                    let Some((transport, local, remote)) = self.ways.get(it.way).copied() else { continue };
                    let (from, to) = turned(it.sent, local, remote);
                    capture.sip(at, transport, from, to, it.data);
                }
                Item::Packet(it) => {
                    let (from, to) = turned(it.sent, it.local, it.remote);
                    capture.rtp(at, from, to, it.octets, it.original);
                }
            }
        }
        capture.to_pcap()
    }
}

fn records(octets: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (own, behind) = rest.split_first_chunk::<OWN>()?;
        let [t0, t1, t2, t3, t4, t5, t6, t7, way, l0, l1] = *own;
        let (data, next) = behind.split_at_checked(usize::from(u16::from_le_bytes([l0, l1])))?;
        rest = next;
        Some(Record {
            at_us: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            sent: way & SENT != 0,
            way: usize::from(way & !SENT),
            data,
        })
    })
}

enum Item<'a> {
    Message(Record<'a>),
    Packet(TracedPacket<'a>),
}

/// The parts of a message that appear in a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading<'a> {
    pub call_id: &'a [u8],
    /// The method of the request, also for its response.
    pub method: &'a str,
    pub status: Option<u16>,
    pub session: bool,
    pub body: &'a [u8],
}

/// Reads them; `None` if it is not a SIP message or has no Call-ID. Nothing else is validated: the endpoint
/// does that.
pub(super) fn heading(data: &Bytes) -> Option<Heading<'_>> {
    let mut lines = Lines(data);
    let first = lines.next()?;
    let status = match first.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => Some(std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?),
        None => None,
    };
    let mut method = match status {
        Some(_) => None,
        None => std::str::from_utf8(&first[..memchr::memchr(b' ', first)?]).ok(),
    };
    let (mut call_id, mut session) = (None, false);
    let bare =
        data.ends_with(BLANK_LINE) && BLANK_LINE_FINDER.find(data) == Some(data.len() - BLANK_LINE.len());
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        // Call-ID, CSeq, Content-Type, and the compact forms of the first and the last (RFC 3261 §7.3.3).
        match line {
            [b'c' | b'C', b'a' | b'A' | b's' | b'S' | b':' | b' ' | b'\t', ..] => {}
            [b'c' | b'C', b'o' | b'O', b'n' | b'N', b't' | b'T', b'e' | b'E', ..] => {}
            [b'i' | b'I', b':' | b' ' | b'\t', ..] => {}
            _ => continue,
        }
        // Names are short, so a loop is faster than `memchr`.
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            call_id = Some(value);
        } else if name.eq_ignore_ascii_case(b"CSeq") && status.is_some() {
            let at = value.iter().rposition(|byte| byte.is_ascii_whitespace())?;
            method = std::str::from_utf8(&value[at + 1..]).ok();
        } else if name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c") {
            let plain = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            session = plain.eq_ignore_ascii_case(b2b_sdp::CONTENT_TYPE.as_bytes());
        }
        // Most messages have no body: nothing behind these two is of interest.
        if bare && call_id.is_some() && method.is_some() {
            lines.0 = &[];
        }
    }
    let body = lines.0;
    Some(Heading { call_id: call_id?, method: method?, status, session: session && !body.is_empty(), body })
}

/// The end of the header fields.
const BLANK_LINE: &[u8] = b"\r\n\r\n";
static BLANK_LINE_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BLANK_LINE));

/// The lines of a message, without line endings.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_sip::endpoint::{Flow, FlowId};

    fn seen(start: Instant, n: u64, direction: Direction, data: Vec<u8>) -> Seen {
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:5060".parse().unwrap(),
            id: FlowId(1),
        };
        Seen { at: start + Duration::from_millis(n), direction, flow, data: data.into() }
    }

    #[test]
    fn a_heading_says_what_a_message_is() {
        let text = "SIP/2.0 183 Session Progress\r\nVia: x\r\ni: abc@1\r\nCSeq: 7  INVITE\r\n\
                    c: application/sdp;a=b\r\nContent-Length: 3\r\n\r\nv=0";
        let data = Bytes::from(text);
        let expected =
            Heading { call_id: b"abc@1", method: "INVITE", status: Some(183), session: true, body: b"v=0" };
        assert_eq!(heading(&data), Some(expected));
        let data = Bytes::from("BYE sip:a@b SIP/2.0\r\nCall-ID: x\r\nCSeq: 8 BYE\r\n\r\n");
        let expected = Heading { call_id: b"x", method: "BYE", status: None, session: false, body: b"" };
        assert_eq!(heading(&data), Some(expected));
        for broken in ["", "x", "SIP/2.0 \r\n\r\n", "BYE sip:a@b SIP/2.0\r\nCSeq: 8 BYE\r\n\r\n", "\r\n\r\n"]
        {
            assert_eq!(heading(&Bytes::from(broken)), None, "{broken:?}");
        }
    }

    #[test]
    fn room_is_bounded_and_the_beginning_and_the_end_stay() {
        let start = Instant::now();
        let mut messages = Messages::new(start, SystemTime::UNIX_EPOCH);
        for n in 0..1_000u64 {
            let direction = if n % 2 == 0 { Direction::Sent } else { Direction::Received };
            let data = format!("MESSAGE {n} ").repeat(60).into_bytes();
            assert!(!messages.push(&seen(start, n, direction, data)));
            assert!(messages.heap_bytes() <= HEAD + TAIL + 4 * STEP, "{}", messages.heap_bytes());
        }
        let head = messages.head.all(&[]);
        let kept = records(&head).chain(records(&messages.tail));
        let kept: Vec<u64> = kept.map(|record| record.at_us / 1_000).collect();
        assert_eq!((kept.first(), kept.last()), (Some(&0), Some(&999)));
        assert_eq!(kept.len() as u64 + messages.left_out(), 1_000);
        assert!(messages.to_pcap(None).len() > 24 + kept.len() * 600);
    }

    #[test]
    fn what_comes_again_is_known_and_other_directions_are_others() {
        let start = Instant::now();
        let mut messages = Messages::new(start, SystemTime::UNIX_EPOCH);
        let data = b"BYE".to_vec();
        assert!(!messages.push(&seen(start, 1, Direction::Received, data.clone())));
        assert!(!messages.push(&seen(start, 2, Direction::Sent, data.clone())));
        assert!(messages.push(&seen(start, 3, Direction::Received, data)));
    }
}
