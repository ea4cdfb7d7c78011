//! A phone of a user with a password.

use std::net::SocketAddr;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Limits, Message, Method};

use super::Phone;

impl Phone {
    /// Sends an INVITE as the user of its name, with credentials for the challenge to a first INVITE.
    pub fn ask_as_user(&self, server: SocketAddr, number: &str, password: &str) -> (String, String) {
        let first = format!("{}-{}-first", self.name, self.nth);
        self.ask_in(server, number, &first, "");
        let (challenge, _) = self.hear("SIP/2.0 407");
        let credentials =
            self.credentials(&challenge, password, &Method::Invite, &format!("sip:{number}@{server}"));
        self.ask_with(server, number, &credentials)
    }

    /// Registers as the user of its name.
    pub fn register(&self, server: SocketAddr, password: &str) {
        let (at, name) = (self.sip.local_addr().expect("an address"), self.name);
        let ask = |cseq: u32, more: &str| {
            let request = format!(
                "REGISTER sip:b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{name}{cseq}r\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{name}@b2b.example>;tag=r\r\nTo: <sip:{name}@b2b.example>\r\n\
                 Call-ID: {name}-{}-r\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{name}@{at}>\r\n{more}\
                 Expires: 600\r\nContent-Length: 0\r\n\r\n",
                at.port()
            );
            self.say(&request, server);
        };
        ask(1, "");
        let (challenge, _) = self.hear("SIP/2.0 401");
        ask(2, &self.credentials(&challenge, password, &Method::Register, "sip:b2b.example"));
        self.hear("SIP/2.0 200");
    }

    /// The header field that answers a challenge.
    fn credentials(&self, challenge: &str, password: &str, method: &Method, uri: &str) -> String {
        let parsed = Message::parse(challenge.to_owned().into(), &Limits::default());
        let Ok(Message::Response(response)) = parsed else { panic!("no response: {challenge}") };
        let mut digest = DigestClient::new(self.name, password, [7; 32]);
        digest.challenged(&response, &Authorized::default()).expect("a challenge");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = digest.authorize(method, uri.as_bytes()).headers;
        fields.iter().map(|(name, value)| format!("{}: {}\r\n", text(name), text(value))).collect()
    }
}
