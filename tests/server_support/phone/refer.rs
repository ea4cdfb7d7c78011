//! A phone that transfers, or is transferred (RFC 3515).

use super::{Dialog, Phone, field};

impl Phone {
    /// Asks the other party to call `to`.
    pub fn refer(&self, dialog: &Dialog, cseq: u32, to: &str) {
        let more = format!("Contact: <{}>\r\nRefer-To: <{to}>\r\n", self.uri());
        self.request_with(dialog, "REFER", cseq, &more, "");
        self.hear("SIP/2.0 202");
    }

    /// Answers the next REFER with this status; returns it.
    pub fn answer_refer(&self, status: &str) -> String {
        let (refer, peer) = self.hear("REFER");
        let more = format!("Contact: <{}>\r\n", self.uri());
        self.respond_with(status, &refer, &field(&refer, "To"), &more, "", peer);
        refer
    }

    /// Reports the progress of the call to the sender of the REFER (RFC 3515 §2.4.5).
    pub fn tell_of_refer(&self, dialog: &Dialog, cseq: u32, status: &str, state: &str) {
        let event = "Event: refer\r\nContent-Type: message/sipfrag\r\n";
        let more = format!("Contact: <{}>\r\nSubscription-State: {state}\r\n{event}", self.uri());
        self.request_with(dialog, "NOTIFY", cseq, &more, &format!("SIP/2.0 {status}\r\n"));
        self.hear("SIP/2.0 200");
    }
}
