//! The messages that a call has received: a retransmission gets the same answer.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use b2b_sip::msg::{CSeq, Limits, Message, Method, Request, ResponseWriter, phrase};

/// Maximum remembered messages: retransmissions come soon.
const KEPT: usize = 64;

/// Received messages.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    hasher: RandomState,
    taken: Vec<One>,
}

#[derive(Debug, Clone)]
struct One {
    hash: u64,
    is_request: bool,
    cseq: Option<CSeq>,
    answer: Option<Bytes>,
}

impl Seen {
    /// Notes a received message.
    pub fn took(&mut self, message: &Message) {
        let hash = self.hasher.hash_one(message.as_bytes());
        let is_request = matches!(message, Message::Request(_));
        // a scenario may loop
        if self.taken.len() == KEPT {
            self.taken.remove(0);
        }
        self.taken.push(One { hash, is_request, cseq: message.cseq().ok(), answer: None });
    }

    /// The answer to a retransmission; `Some(None)` if it has none, `None` for a new message.
    pub fn again(&self, message: &Message) -> Option<Option<Bytes>> {
        let hash = self.hasher.hash_one(message.as_bytes());
        self.taken.iter().find(|one| one.hash == hash).map(|one| one.answer.clone())
    }

    /// Notes a sent message: a response answers the last request with its CSeq, an ACK the final responses to
    /// its INVITE.
    pub fn answered(&mut self, message: &Bytes) {
        let Some(cseq) = cseq_of(message) else { return };
        let response = message.starts_with(b"SIP/2.0");
        for one in self.taken.iter_mut().rev() {
            let Some(of) = &one.cseq else { continue };
            let answers = match response {
                true => one.is_request && *of == cseq,
                false => {
                    let acknowledged = cseq.method == Method::Ack && of.method == Method::Invite;
                    !one.is_request && acknowledged && of.number == cseq.number
                }
            };
            if answers {
                one.answer = Some(message.clone());
                return;
            }
        }
    }
}

/// The value of the first header field that is written so, with its colon.
fn value_of<'a>(message: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let mut lines =
        message.split(|octet| *octet == b'\n').filter_map(|line| line.split_at_checked(field.len()));
    lines.find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.trim_ascii())
}

/// The Call-ID of a message that cannot be read.
pub fn call_id_of(message: &[u8]) -> Option<&[u8]> {
    value_of(message, b"Call-ID:").or_else(|| value_of(message, b"i:"))
}

/// The CSeq of a message that we wrote.
pub fn cseq_of(message: &[u8]) -> Option<CSeq> {
    let text = std::str::from_utf8(value_of(message, b"CSeq:")?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    Some(CSeq { number, method: Method::from_bytes(words.next()?.as_bytes()) })
}

/// The branch of a message that we wrote.
pub fn branch_of(message: &Bytes) -> Option<Vec<u8>> {
    let message = Message::parse(message.clone(), &Limits::default()).ok()?;
    message.top_via().ok()?.branch.map(<[u8]>::to_vec)
}

/// A response with a fixed tag.
pub fn reply(request: &Request, status: u16) -> Bytes {
    let written = ResponseWriter::reply_to(request, status, phrase(status), Some("none")).finish();
    // the copied parts were parsed, and the rest is ours, so writing cannot fail
    written.unwrap_or_default()
}
