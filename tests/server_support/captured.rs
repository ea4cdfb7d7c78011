//! A call between two phones through the server, and the server's capture of it.

use std::net::{Ipv4Addr, SocketAddr};

use super::phone::{Dialog, Phone};
use super::{Server, server, until};

/// One frame of a capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub ns: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// The captured part of the UDP payload; the next field is its original length.
    pub kept: Vec<u8>,
    pub length: usize,
}

impl Frame {
    pub fn is_sip(&self) -> bool {
        self.kept.windows(7).any(|seven| seven == b"SIP/2.0")
    }

    pub fn is_rtcp(&self) -> bool {
        !self.is_sip() && self.kept.get(1).is_some_and(|kind| (200..=207).contains(kind))
    }

    /// A compound packet with a BYE.
    fn is_bye(&self) -> bool {
        let mut rest = self.kept.as_slice();
        while let [_, kind, high, low, ..] = *rest {
            if kind == 203 {
                return self.is_rtcp();
            }
            rest = rest.get(4 + 4 * usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
        }
        false
    }
}

/// Reads one of the server's capture files: nanoseconds, link type RAW, IPv4, UDP.
pub fn read(file: &[u8]) -> Vec<Frame> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four octets"));
    assert_eq!((word(0), word(20)), (0xa1b2_3c4d, 101));
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let (ns, length) = (u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)), word(at + 8));
        let frame = &file[at + 16..at + 16 + length as usize];
        assert_eq!((frame[0], frame[9]), (0x45, 17));
        let address = |ip: usize, port: usize| {
            let ip = Ipv4Addr::new(frame[ip], frame[ip + 1], frame[ip + 2], frame[ip + 3]);
            SocketAddr::from((ip, u16::from_be_bytes([frame[port], frame[port + 1]])))
        };
        let udp = usize::from(u16::from_be_bytes([frame[24], frame[25]]));
        assert_eq!(word(at + 12) as usize, 20 + udp, "the length on the wire");
        frames.push(Frame {
            ns,
            from: address(12, 20),
            to: address(16, 22),
            kept: frame[28..].to_vec(),
            length: udp - 8,
        });
        at += 16 + length as usize;
    }
    frames
}

/// Ann and Bob in a call, and the server's media address for each of them.
pub struct Lab {
    pub ann: Phone,
    pub bob: Phone,
    pub server: Server,
    pub path: String,
    pub dialog: Dialog,
    /// Bob's dialog.
    pub answered: Dialog,
    pub for_ann: SocketAddr,
    pub for_bob: SocketAddr,
}

impl Lab {
    /// A call in which packets pass both ways.
    pub fn new() -> Lab {
        let lab = Lab::with("", "");
        lab.is_through();
        lab
    }

    /// The same with these tables, and these keys in the route.
    pub fn with(tables: &str, keys: &str) -> Lab {
        let bob = Phone::new("bob");
        let route = format!("[[route]]\nname = \"to bob\"\ncalled = \".*\"\nto = \"{}\"\n", bob.uri());
        Lab::at(server(&format!("{tables}{route}{keys}")), bob)
    }

    /// A call at this server, which routes every number to `bob`.
    pub fn at(server: Server, bob: Phone) -> Lab {
        let ann = Phone::new("ann");
        let dialog = std::thread::scope(|scope| {
            let answered = scope.spawn(|| bob.answer());
            let dialog = ann.call(server.sip, "200");
            (dialog, answered.join().expect("Bob has answered"))
        });
        let (dialog, answered) = dialog;
        // Packets before the bridge are dropped.
        let call = until("the bridge", || {
            let call = server.get("/calls").json()["calls"][0].clone();
            (call["bridge"]["state"] == "active").then_some(call)
        });
        let id = call["call"].as_u64().expect("a call");
        let path = format!("/calls/{id}");
        // From the server's descriptions: first the one to Bob, then the one to Ann.
        let messages = read(&server.get(&format!("{path}/pcap")).body);
        let wanted: Vec<SocketAddr> = messages
            .iter()
            .filter(|message| message.from == server.sip)
            .filter_map(|message| {
                let text = String::from_utf8_lossy(&message.kept).into_owned();
                let port = text.split("m=audio ").nth(1)?.split(' ').next()?.parse::<u16>().ok()?;
                Some(SocketAddr::from(([127, 0, 0, 1], port)))
            })
            .collect();
        let (for_bob, for_ann) = (wanted[0], *wanted.last().expect("an answer to Ann"));
        Lab { ann, bob, server, path, dialog, answered, for_ann, for_bob }
    }

    /// Waits until packets pass both ways: a bridge is up before its media is joined.
    fn is_through(&self) {
        for (from, to, by) in [(&self.ann, self.for_ann, &self.bob), (&self.bob, self.for_bob, &self.ann)] {
            // What comes later begins with number 0.
            let mut n: u16 = 64_000;
            until("a packet", || {
                // The latest one, so that none is still under way.
                let passed = by.packets_by_now().iter().any(|packet| packet.ends_with(&[n as u8; 160]));
                n += 1;
                passed.then_some(()).or_else(|| {
                    from.sound(to, n, &[n as u8; 160]);
                    None
                })
            });
        }
    }

    /// Both send at the same time; returns the packets that each of them hears.
    pub fn talk(&self, packets: u16) -> [Vec<Vec<u8>>; 2] {
        std::thread::scope(|scope| {
            scope.spawn(|| self.ann.speak(self.for_ann, packets));
            scope.spawn(|| self.bob.speak(self.for_bob, packets));
            [self.ann.listen(packets.into()), self.bob.listen(packets.into())]
        })
    }

    pub fn frames(&self) -> Vec<Frame> {
        read(&self.server.get(&format!("{}/pcap", self.path)).body)
    }

    /// The call's frames, once they include this many media packets.
    pub fn with_media(&self, packets: usize) -> Vec<Frame> {
        until("the packets", || {
            let frames = self.frames();
            let media = frames.iter().filter(|frame| !frame.is_sip() && !frame.is_rtcp()).count();
            (media >= packets).then_some(frames)
        })
    }

    pub fn end(&self) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.bob.let_go());
            self.ann.hang_up(&self.dialog);
        });
        until("the end", || (self.server.get(&self.path).json()["over"] == true).then_some(()));
    }

    /// The call's frames, once they include the RTCP BYE of each leg, which ends its media.
    pub fn last_words(&self) -> Vec<Frame> {
        until("RTCP BYE", || {
            let frames = self.frames();
            (frames.iter().filter(|frame| frame.is_bye()).count() >= 2).then_some(frames)
        })
    }

    pub fn capture(&self, wish: &serde_json::Value) -> u16 {
        self.server.post(&format!("{}/capture", self.path), wish).status
    }
}
