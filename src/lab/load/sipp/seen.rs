//! The messages that a call has received: a retransmission gets the same answer.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use b2b_sip::msg::{CSeq, Message, Method, Request, ResponseWriter, phrase};

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

/// The CSeq of a message that we wrote.
pub fn cseq_of(message: &[u8]) -> Option<CSeq> {
    let line = message
        .split(|octet| *octet == b'\n')
        .find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"CSeq:")))?;
    let text = std::str::from_utf8(line.get(5..)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    Some(CSeq { number, method: Method::from_bytes(words.next()?.as_bytes()) })
}

/// A response with a fixed tag.
pub fn reply(request: &Request, status: u16) -> Bytes {
    let written = ResponseWriter::reply_to(request, status, phrase(status), Some("none")).finish();
    // the copied parts were parsed, and the rest is ours, so writing cannot fail
    written.unwrap_or_default()
}
