//! Far ends by hand: the test writes each of their messages and decides when it is sent, so it can cross any
//! message of b2b.

use b2b_testkit::{B2B, Harness, SESSION, Sent};

use crate::routed::{ANN, BOB, to_bob};

/// One side of a dialog with b2b.
#[derive(Clone)]
pub struct Hand {
    /// Its address, which is in its Contact.
    pub at: &'static str,
    /// The source of its messages.
    pub from: &'static str,
    tag: String,
    call_id: String,
    /// The two ends as in From and To; b2b's has its tag once it is known.
    us: String,
    them: String,
    /// b2b's Contact.
    target: String,
    /// The CSeq of its last request.
    pub cseq: u32,
    /// Its last INVITE, as text.
    pub invite: String,
    calls: bool,
}

impl Hand {
    /// A side that is going to call.
    pub fn caller(at: &'static str) -> Self {
        let tag = "hand".to_owned();
        let target = format!("sip:bob@{B2B}");
        let (us, them) = (format!("<sip:hand@{at}>;tag={tag}"), format!("<{target}>"));
        let (call_id, invite) = (format!("by-hand-{at}"), String::new());
        Hand { at, from: at, tag, call_id, us, them, target, cseq: 10, invite, calls: true }
    }

    /// The side that received the last INVITE that b2b sent to this address.
    pub fn callee(harness: &Harness, at: &'static str) -> Self {
        let invite = last(harness, at, "INVITE");
        let field = |name: &str| invite.field(name).unwrap_or_else(|| panic!("no {name}"));
        let tag = format!("phone{}", harness.wire.len());
        Hand {
            at,
            from: at,
            call_id: field("Call-ID"),
            us: format!("{};tag={tag}", field("To")),
            them: field("From"),
            target: uri(&field("Contact")),
            tag,
            cseq: 100,
            invite: String::new(),
            calls: false,
        }
    }

    /// Another phone that received the same INVITE.
    pub fn fork(&self, tag: &str, at: &'static str) -> Self {
        let us = self.us.replace(&self.tag, tag);
        Hand { at, us, tag: tag.to_owned(), ..self.clone() }
    }

    fn learn(&mut self, harness: &Harness) {
        let mine = |it: &&Sent| it.field("Call-ID").as_ref() == Some(&self.call_id);
        let known = told(harness, self.at, "SIP/2.0").into_iter().rev().filter(mine);
        let mut known = known.filter(|it| it.field("To").is_some_and(|to| to.contains(";tag=")));
        let Some(response) = known.next() else { return };
        if self.calls {
            self.them = response.field("To").unwrap_or_default();
        }
        if let Some(contact) = response.field("Contact") {
            self.target = uri(&contact);
        }
    }

    fn request(&self, method: &str, cseq: u32, branch: &str, extra: &str, body: &str) -> String {
        let Hand { at, us, them, call_id, target, .. } = self;
        let (content_type, length) = (content_type(extra, body), body.len());
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {us}\r\nTo: {them}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:hand@{at}>\r\n{extra}{content_type}\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }

    /// Sends its next request; returns the text, for retransmissions.
    pub fn asks(&mut self, harness: &mut Harness, method: &str, extra: &str, body: &str) -> String {
        self.learn(harness);
        self.cseq += 1;
        let branch = self.branch(self.cseq, method);
        let request = self.request(method, self.cseq, &branch, extra, body);
        if method == "INVITE" {
            self.invite.clone_from(&request);
        }
        harness.send_raw(self.from, &request);
        request
    }

    /// CANCEL for its last INVITE.
    pub fn cancels(&self, harness: &mut Harness) {
        let kept = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq"].contains(&name)
        };
        let first = self.invite.lines().next().unwrap_or_default();
        let fields = self.invite.lines().filter(kept);
        let cancel = std::iter::once(first).chain(fields).collect::<Vec<_>>().join("\r\n");
        let cancel = cancel.replacen("INVITE ", "CANCEL ", 1).replace(" INVITE", " CANCEL");
        harness.send_raw(self.from, &format!("{cancel}\r\nContent-Length: 0\r\n\r\n"));
    }

    /// ACK for the 2xx to its INVITE of this number.
    pub fn acks(&mut self, harness: &mut Harness, cseq: u32, body: &str) {
        self.learn(harness);
        let ack = self.request("ACK", cseq, &self.branch(cseq, "ACK"), "", body);
        harness.send_raw(self.from, &ack);
    }

    /// ACK for the refusal of its last INVITE, in the same transaction (RFC 3261 §17.1.1.3).
    pub fn takes_refusal(&self, harness: &mut Harness) {
        let ack = self.invite.replacen("INVITE ", "ACK ", 1).replacen(" INVITE\r\n", " ACK\r\n", 1);
        harness.send_raw(self.from, &ack);
    }

    fn branch(&self, cseq: u32, of: &str) -> String {
        format!("{}{cseq}{of}", self.tag)
    }

    /// Answers a request of b2b; returns the text, for retransmissions.
    pub fn says(
        &self,
        harness: &mut Harness,
        request: &Sent,
        status: &str,
        extra: &str,
        body: &str,
    ) -> String {
        let field = |name: &str| request.field(name).unwrap_or_default();
        let to = match field("To") {
            to if to.contains(";tag=") => to,
            to => format!("{to};tag={}", self.tag),
        };
        let (at, content_type, length) = (self.at, content_type(extra, body), body.len());
        let response = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:hand@{at}>\r\n{extra}{content_type}Content-Length: {length}\r\n\r\n{body}",
            field("Via"),
            field("From"),
            field("Call-ID"),
            field("CSeq"),
        );
        harness.send_raw(self.from, &response);
        response
    }

    /// Answers the last request of this method that b2b sent here.
    pub fn answers(&self, harness: &mut Harness, method: &str, status: &str, body: &str) -> String {
        let request = last(harness, self.at, method);
        self.says(harness, &request, status, "", body)
    }
}

fn content_type(extra: &str, body: &str) -> &'static str {
    if body.is_empty() || extra.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" }
}

fn uri(contact: &str) -> String {
    let inside = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(contact, |(uri, _)| uri).to_owned()
}

/// The messages of b2b to an address that begin with `start`.
pub fn told<'a>(harness: &'a Harness, at: &str, start: &str) -> Vec<&'a Sent> {
    let (at, b2b) = (at.parse().expect("an address"), B2B.parse().expect("an address"));
    let of = |it: &&Sent| it.to == at && it.from == b2b && it.line().starts_with(start);
    harness.wire.iter().filter(of).collect()
}

/// The last of these.
pub fn last(harness: &Harness, at: &str, start: &str) -> Sent {
    let all = told(harness, at, start);
    (*all.last().unwrap_or_else(|| panic!("no {start} to {at}"))).clone()
}

/// The methods of b2b's requests to an address, in order, without retransmissions.
pub fn asked(harness: &Harness, at: &str) -> Vec<String> {
    let method = |it: &&Sent| it.line().split(' ').next().unwrap_or_default().to_owned();
    once(told(harness, at, "")).iter().filter(|it| !it.line().starts_with("SIP/2.0")).map(method).collect()
}

/// Without retransmissions, which are equal byte for byte.
fn once(all: Vec<&Sent>) -> Vec<&Sent> {
    let said = |at: usize| all[..at].iter().any(|it| it.data == all[at].data);
    (0..all.len()).filter(|at| !said(*at)).map(|at| all[at]).collect()
}

/// The statuses above 100 of b2b's responses to this method at an address, in order.
pub fn answered(harness: &Harness, at: &str, method: &str) -> Vec<u16> {
    let of = |it: &&&Sent| it.field("CSeq").is_some_and(|cseq| cseq.ends_with(&format!(" {method}")));
    let status = |it: &&Sent| it.line().split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    told(harness, at, "SIP/2.0").iter().filter(of).map(status).filter(|it| *it > 100).collect()
}

/// The body of a message.
pub fn body(sent: &Sent) -> String {
    sent.text().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Ann calls Bob, both by hand; Bob has the INVITE.
pub fn calling(offer: &str, extra: &str) -> (Harness, Hand, Hand) {
    let mut harness = to_bob();
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", extra, offer);
    let bob = Hand::callee(&harness, BOB);
    (harness, ann, bob)
}

/// They are connected; `wire` is cleared.
pub fn talking() -> (Harness, Hand, Hand) {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.acks(&mut harness, invite, "");
    assert_eq!((asked(&harness, ANN).len(), answered(&harness, ANN, "INVITE").last()), (0, Some(&200)));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    harness.wire.clear();
    (harness, ann, bob)
}

/// Both are still in the call: Ann hangs up, Bob gets the BYE, and nothing is left.
pub fn hangs_up(mut harness: Harness, mut ann: Hand, bob: &Hand) {
    assert!(!asked(&harness, ANN).contains(&"BYE".to_owned()), "Ann's call was ended");
    assert!(!asked(&harness, bob.at).contains(&"BYE".to_owned()), "Bob's call was ended");
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    bob.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}

/// Nothing is left, and no message was sent for that.
pub fn nothing_left(mut harness: Harness) {
    harness.assert_nothing_left();
}
