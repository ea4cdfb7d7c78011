//! Minimal SIP for calls, one after another.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::Failure;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A caller that dials one number.
pub struct Caller {
    socket: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    number: String,
}

/// An answered call.
pub struct Dialog {
    /// Destination of its RTP.
    pub rtp: SocketAddr,
    /// Values for the header fields of in-dialog requests.
    n: usize,
    to: String,
    contact: String,
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = message.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Caller {
    pub fn new(server: SocketAddr, number: &str) -> Result<Caller, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let local = socket.local_addr()?;
        Ok(Caller { socket, local, server, number: number.to_owned() })
    }

    fn send(
        &self,
        n: usize,
        method: &str,
        cseq: u32,
        target: &str,
        to: &str,
        body: &str,
    ) -> Result<(), Failure> {
        let (local, content) =
            (self.local, if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" });
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method}{n}x{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:load{n}@127.0.0.1>;tag=t{n}\r\nTo: {to}\r\nCall-ID: load-{n}@{local}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:load{n}@{local}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(request.as_bytes(), self.server)?;
        Ok(())
    }

    /// The final response to a request of this call.
    fn answer(&self, n: usize, method: &str) -> Result<(u16, String), Failure> {
        let mut buffer = [0; 8_192];
        let (until, id) = (Instant::now() + PATIENCE, format!("load-{n}@{}", self.local));
        while Instant::now() < until {
            let (len, _) = self.socket.recv_from(&mut buffer)?;
            let answer = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let mut first = answer.split(' ');
            let (version, status) =
                (first.next(), first.next().and_then(|status| status.parse::<u16>().ok()));
            let ours = field(&answer, "Call-ID") == Some(&id)
                && field(&answer, "CSeq").is_some_and(|cseq| cseq.ends_with(method));
            if let Some(status) = status.filter(|status| *status >= 200 && ours && version == Some("SIP/2.0"))
            {
                return Ok((status, answer));
            }
        }
        Err(format!("{method} of call {n} is not answered").into())
    }

    /// Calls, and waits for the answer.
    pub fn call(&self, n: usize, rtp: SocketAddr) -> Result<Dialog, Failure> {
        let body = format!(
            "v=0\r\no=- {n} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=rtcp-mux\r\n",
            rtp.port()
        );
        let target = format!("sip:{}@{}", self.number, self.server);
        self.send(n, "INVITE", 1, &target, &format!("<{target}>"), &body)?;
        let (status, answer) = self.answer(n, "INVITE")?;
        let media = answer.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next());
        let host = answer.lines().find_map(|line| line.strip_prefix("c=IN IP4 "));
        let (200, Some(port), Some(host)) = (status, media, host) else {
            return Err(format!("call {n} is answered {status}:\n{answer}").into());
        };
        let to = field(&answer, "To").unwrap_or_default().to_owned();
        let contact = field(&answer, "Contact").unwrap_or_default();
        let contact = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        self.send(n, "ACK", 1, &contact, &to, "")?;
        Ok(Dialog { rtp: SocketAddr::new(host.trim().parse()?, port.parse()?), n, to, contact })
    }

    pub fn hang_up(&self, dialog: &Dialog) -> Result<(), Failure> {
        self.send(dialog.n, "BYE", 2, &dialog.contact, &dialog.to, "")?;
        match self.answer(dialog.n, "BYE")? {
            (200, _) => Ok(()),
            (status, _) => Err(format!("BYE of call {} is answered {status}", dialog.n).into()),
        }
    }
}
