//! Minimal providers: they grant registrations, agree to requests and answer calls.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use b2b_test_support::tls::{Keys, answer, field, read_message, secured, send};

/// Transport of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
    Tls,
    /// A client certificate is required.
    MutualTls,
}

/// A running provider; it ends with its process.
pub struct Provider {
    heard: Arc<Mutex<Vec<String>>>,
}

/// State for its responses.
#[derive(Clone)]
struct Desk {
    heard: Arc<Mutex<Vec<String>>>,
    at: SocketAddr,
    /// Its name and parameters in Contact.
    contact: String,
}

impl Provider {
    /// At the default port of its transport.
    pub fn start(
        ip: Ipv4Addr,
        way: Way,
        name: &str,
        pair: (PathBuf, PathBuf),
        authority: &Path,
        keys: &Arc<Keys>,
    ) -> Provider {
        let (port, parameter) = match way {
            Way::Udp => (5060, ""),
            Way::Tcp => (5060, ";transport=tcp"),
            Way::Tls | Way::MutualTls => (5061, ";transport=tls"),
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let contact = format!("<sip:gw@{name}:{port}{parameter}>");
        let desk = Desk { heard: heard.clone(), at: SocketAddr::from((ip, port)), contact };
        if way == Way::Udp {
            let socket = UdpSocket::bind(desk.at).expect("its address");
            std::thread::spawn(move || datagrams(&socket, &desk));
            return Provider { heard };
        }
        let listener = TcpListener::bind(desk.at).expect("its address");
        let (authority, keys) = (authority.to_owned(), keys.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (desk, pair, authority, keys) =
                    (desk.clone(), pair.clone(), authority.clone(), keys.clone());
                std::thread::spawn(move || match way {
                    Way::Tcp | Way::Udp => messages(stream, &desk),
                    Way::Tls => messages(secured(stream, &pair, None, keys), &desk),
                    Way::MutualTls => messages(secured(stream, &pair, Some(&authority), keys), &desk),
                });
            }
        });
        Provider { heard }
    }

    /// Whether a message that begins like this has arrived.
    pub fn has_heard(&self, beginning: &str) -> bool {
        self.heard.lock().expect("no panic").iter().any(|message| message.starts_with(beginning))
    }
}

fn datagrams(socket: &UdpSocket, desk: &Desk) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some(reply) = desk.reply(message) {
            let _ = socket.send_to(reply.as_bytes(), from);
        }
    }
}

fn messages(mut stream: impl Read + Write, desk: &Desk) {
    loop {
        let message = read_message(&mut stream);
        if message.is_empty() {
            return;
        }
        if let Some(reply) = desk.reply(message) {
            send(&mut stream, &reply);
        }
    }
}

impl Desk {
    fn reply(&self, message: String) -> Option<String> {
        let method = message.split(' ').next().unwrap_or_default();
        let reply = match method {
            "REGISTER" => {
                let granted = format!("Contact: {};expires=600\r\n", field(&message, "Contact"));
                Some(answer(&message, "200 OK", &granted, ""))
            }
            "INVITE" => {
                let lines = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", self.contact);
                Some(answer(&message, "200 OK", &lines, &self.description(&message)))
            }
            "OPTIONS" | "BYE" | "UPDATE" | "INFO" => Some(answer(&message, "200 OK", "", "")),
            _ => None,
        };
        self.heard.lock().expect("no panic").push(message);
        reply
    }

    /// The answer to an offer: its first format, and its first suite with a new key.
    fn description(&self, invite: &str) -> String {
        let lines = |start: &str| invite.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        let mut media = lines("m=audio ").split(' ').skip(2);
        let (proto, format) = (media.next().unwrap_or_default(), media.next().unwrap_or_default());
        let map = lines(&format!("a=rtpmap:{format} "));
        let map = if map.is_empty() { String::new() } else { format!("{map}\r\n") };
        let suite = lines("a=crypto:").split(' ').nth(1);
        let key = suite.map(|suite| format!("a=crypto:1 {suite} inline:{}\r\n", "A".repeat(40)));
        let held = if invite.contains("a=sendonly") { "a=recvonly\r\n" } else { "" };
        let ip = self.at.ip();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 {proto} {format}\r\n{map}{}{held}",
            key.unwrap_or_default()
        )
    }
}
