//! A peer that is not our endpoint: messages written by hand.

use b2b_sip::endpoint::{Body, Transport, UsageId};
use bytes::Bytes;

use super::pair::{A, B, Pair};

/// The value of a header field in the text of a message.
pub fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap_or_default()
}

/// A response of a hand-made peer to our request: `extra` contains whole header lines and,
/// after an empty line, the body.
pub fn reply(request: &str, status: &str, tag: &str, extra: &str) -> Bytes {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let tag = if name == "To" && !tag.is_empty() { format!(";tag={tag}") } else { String::new() };
        text.push_str(&format!("{name}: {}{tag}\r\n", field(request, name)));
    }
    if extra.contains("\r\n\r\n") && !extra.contains("Content-Type") {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    text.push_str(extra);
    if !extra.contains("\r\n\r\n") {
        text.push_str("\r\n");
    }
    Bytes::from(text)
}

/// A request of a hand-made peer at A's address.
pub struct Hand {
    pub method: &'static str,
    pub uri: String,
    pub branch: String,
    pub from_tag: String,
    pub to_tag: String,
    pub call_id: String,
    pub cseq: u32,
    /// Whole header lines.
    pub extra: String,
    pub body: &'static str,
}

impl Hand {
    /// A complete INVITE with an offer.
    pub fn invite() -> Self {
        Hand {
            method: "INVITE",
            uri: "sip:callee@192.0.2.2".to_owned(),
            branch: "z9hG4bKhand1".to_owned(),
            from_tag: "hand".to_owned(),
            to_tag: String::new(),
            call_id: "hand-made".to_owned(),
            cseq: 10,
            extra: "Contact: <sip:hand@192.0.2.1>\r\n".to_owned(),
            body: "offer",
        }
    }

    /// Another request in the same dialog, with the tag in `response`.
    pub fn next(&self, method: &'static str, cseq: u32, response: &str) -> Self {
        let to_tag = field(response, "To").split_once(";tag=").map(|(_, tag)| tag.to_owned());
        Hand {
            method,
            uri: self.uri.clone(),
            branch: format!("z9hG4bKhand{method}{cseq}"),
            from_tag: self.from_tag.clone(),
            to_tag: to_tag.unwrap_or_default(),
            call_id: self.call_id.clone(),
            cseq,
            extra: self.extra.clone(),
            body: "",
        }
    }

    /// The message.
    pub fn data(&self) -> Bytes {
        let Hand { method, uri, branch, from_tag, to_tag, call_id, cseq, extra, body } = self;
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let is_typed = body.is_empty() || extra.contains("Content-Type");
        let kind = if is_typed { "" } else { "Content-Type: application/sdp\r\n" };
        Bytes::from(format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch={branch};rport\r\n\
             From: <sip:hand@192.0.2.1>;tag={from_tag}\r\nTo: <sip:callee@192.0.2.2>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{extra}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

impl Pair {
    /// A hand-made peer sends to B.
    pub fn hand(&mut self, request: &Hand) {
        self.deliver(B, Transport::Udp, request.data());
    }

    /// A's INVITE to a B that is cut off: the hand-made peer responds.
    pub fn call_by_hand(&mut self) -> (UsageId, String) {
        self.deaf[B] = true;
        let usage = self.call(Transport::Udp);
        (usage, self.last(A, "INVITE"))
    }

    /// B answers a call of the hand-made peer, without an ACK. Returns the call and its 200.
    pub fn answers(&mut self, invite: &Hand) -> (UsageId, String) {
        self.hand(invite);
        let b = self.incoming();
        let now = self.now;
        self.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        self.flush();
        (b, self.last(B, "SIP/2.0 200"))
    }

    /// The hand-made peer responds to A.
    pub fn answer_by_hand(&mut self, request: &str, status: &str, tag: &str, extra: &str) {
        self.deliver(A, Transport::Udp, reply(request, status, tag, extra));
    }
}
