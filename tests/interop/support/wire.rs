//! The traffic between programs on loopback, as captured by tshark.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Running, print_version};

/// A capture in progress.
pub struct Capture {
    tshark: Running,
    path: PathBuf,
}

impl Capture {
    /// Starts a capture; `filter` uses the syntax of pcap-filter(7).
    pub fn start(folder: &Path, filter: &str) -> Capture {
        print_version("tshark", "-v", "TShark");
        let path = folder.join("wire.pcapng");
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-f", filter, "-B", "16", "-a", "duration:120", "-w"]).arg(&path);
        let mut tshark = Running::start("tshark", &mut command);
        tshark.log_line("Capturing on");
        // It prints this before it can capture the first packet.
        std::thread::sleep(std::time::Duration::from_millis(700));
        Capture { tshark, path }
    }

    /// Ends it, and returns the file.
    pub fn stop(self) -> PathBuf {
        std::thread::sleep(std::time::Duration::from_millis(300));
        self.tshark.signal(Signal::SIGINT);
        let ended = self.tshark.wait();
        assert!(!ended.log.contains("dropped"), "the capture lost packets and proves nothing: {}", ended.log);
        self.path
    }

    /// Ends it, and reads the packets.
    pub fn end(self) -> Wire {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(self.stop()).args(["-T", "fields", "-E", "separator=|"]);
        for field in
            ["frame.time_epoch", "ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "udp.srcport", "udp.dstport"]
        {
            command.args(["-e", field]);
        }
        for field in ["tcp.srcport", "tcp.dstport", "udp.payload", "tcp.payload"] {
            command.args(["-e", field]);
        }
        let output = command.output().expect("tshark");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        Wire { packets: text.lines().filter_map(packet).collect() }
    }
}

/// One datagram, or one TCP segment with data.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Seconds.
    pub at: f64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

fn packet(line: &str) -> Option<Packet> {
    let fields: Vec<&str> = line.split('|').collect();
    let [at, ip_from, ip6_from, ip_to, ip6_to, udp_from, udp_to, tcp_from, tcp_to, udp, tcp] = fields[..]
    else {
        panic!("tshark says {line:?}")
    };
    let either = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { a.to_owned() };
    let address = |ip: String, port: String| {
        let ip: IpAddr = ip.parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    };
    let hex = either(udp, tcp);
    let octets = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).ok());
    let data: Option<Vec<u8>> = octets.map(|two| u8::from_str_radix(two?, 16).ok()).collect();
    Some(Packet {
        at: at.parse().ok()?,
        from: address(either(ip_from, ip6_from), either(udp_from, tcp_from))?,
        to: address(either(ip_to, ip6_to), either(udp_to, tcp_to))?,
        data: data.filter(|data| !data.is_empty())?,
    })
}

/// A SIP message.
#[derive(Debug, Clone)]
pub struct Sip {
    pub at: f64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub text: String,
}

impl Sip {
    /// `INVITE sip:… SIP/2.0` or `SIP/2.0 200 OK`.
    pub fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The value of a header field, written in full.
    pub fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.fields(name).next()
    }

    /// All values of a header field.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().skip(1).filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Whether it is this response to this method.
    pub fn is_response(&self, status: u16, method: &str) -> bool {
        self.line().starts_with(&format!("SIP/2.0 {status} "))
            && self.field("CSeq").is_some_and(|value| value.ends_with(method))
    }

    /// Whether it is a request with this method.
    pub fn is_request(&self, method: &str) -> bool {
        self.line().starts_with(&format!("{method} "))
    }

    pub fn has_tag(&self) -> bool {
        self.field("To").is_some_and(|to| to.contains(";tag="))
    }
}

/// The captured packets, in order.
pub struct Wire {
    pub packets: Vec<Packet>,
}

/// G.711 µ-law in RTP, from one address to another.
#[derive(Debug, Clone)]
pub struct Rtp {
    pub at: f64,
    pub payload_type: u8,
    pub payload: Vec<u8>,
}

impl Wire {
    /// The SIP messages from or to a port, in order. Over TCP one message per segment.
    pub fn sip(&self, port: u16) -> Vec<Sip> {
        let ours = |packet: &&Packet| packet.from.port() == port || packet.to.port() == port;
        let message = |packet: &Packet| {
            let text = String::from_utf8_lossy(&packet.data).into_owned();
            text.contains("SIP/2.0").then_some(Sip { at: packet.at, from: packet.from, to: packet.to, text })
        };
        self.packets.iter().filter(ours).filter_map(message).collect()
    }

    /// The SIP messages from or to a port, one per line, for people.
    pub fn ladder(&self, port: u16) -> String {
        let messages = self.sip(port);
        let start = messages.first().map_or(0.0, |it| it.at);
        let line = |it: &Sip| {
            let cseq = it.field("CSeq").unwrap_or_default();
            let line = it.line().trim_end_matches(" SIP/2.0");
            format!("{:7.3}  {:>21} -> {:21}  {line}  ({cseq})\n", it.at - start, it.from, it.to)
        };
        messages.iter().map(line).collect()
    }

    /// RTP sent to an address, without RTCP.
    pub fn rtp_to(&self, to: SocketAddr) -> Vec<Rtp> {
        let is_rtp = |packet: &&Packet| {
            packet.to == to
                && packet.data.len() >= 12
                && packet.data[0] >> 6 == 2
                && !(192..224).contains(&packet.data[1])
        };
        let rtp = |packet: &Packet| Rtp {
            at: packet.at,
            payload_type: packet.data[1] & 0x7f,
            payload: packet.data[12..].to_vec(),
        };
        self.packets.iter().filter(is_rtp).map(rtp).collect()
    }
}

/// The audio address in a session description.
pub fn audio_address(sdp: &str) -> Option<SocketAddr> {
    let ip = sdp.lines().rev().find_map(|line| line.strip_prefix("c=IN IP")?.split(' ').nth(1))?;
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next())?;
    Some(SocketAddr::new(ip.trim().parse().ok()?, port.parse().ok()?))
}

/// The audio of µ-law packets between two times.
pub fn heard(packets: &[Rtp], from: f64, to: f64) -> Vec<i16> {
    let within = packets.iter().filter(|it| (from..to).contains(&it.at) && it.payload_type == 0);
    within
        .flat_map(|it| it.payload.iter().map(|octet| b2b::media::codec::g711::ulaw_decode(*octet)))
        .collect()
}

/// Seconds of 8 kHz audio that consist almost entirely of this tone.
pub fn seconds_of(tone: f64, samples: &[i16]) -> f64 {
    const BLOCK: usize = 800;
    let is_tone = |block: &&[i16]| {
        let energy: f64 = block.iter().map(|s| f64::from(*s).powi(2)).sum();
        let step = std::f64::consts::TAU * tone / 8_000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for (index, sample) in block.iter().enumerate() {
            re += f64::from(*sample) * (step * index as f64).cos();
            im += f64::from(*sample) * (step * index as f64).sin();
        }
        // A sine has all its energy at this frequency; silence has none.
        let share = 2.0 * (re * re + im * im) / BLOCK as f64 / energy.max(1.0);
        energy / BLOCK as f64 > 100.0_f64.powi(2) && share > 0.8
    };
    samples.chunks_exact(BLOCK).filter(is_tone).count() as f64 / 10.0
}

/// The values that identify a leg or its address: they must not show on another.
pub fn identity(leg: &[Sip], party: SocketAddr) -> Vec<String> {
    let mut words = vec![party.to_string()];
    let tag = |value: &str| Some(value.split_once(";tag=")?.1.split(';').next()?.trim().to_owned());
    let branch = |value: &str| Some(value.split_once(";branch=")?.1.split(';').next()?.trim().to_owned());
    for message in leg {
        words.extend(message.field("Call-ID").map(str::to_owned));
        words.extend(message.fields("Via").filter_map(branch));
        words.extend(["From", "To"].into_iter().filter_map(|name| tag(message.field(name)?)));
        if message.from == party {
            words.extend(message.field("User-Agent").map(str::to_owned));
            words.extend(message.field("Contact").map(|it| it.trim_matches(['<', '>']).to_owned()));
            let origin = message.body().lines().find(|line| line.starts_with("o="));
            words.extend(origin.map(str::to_owned));
            words.extend(audio_address(message.body()).map(|it| format!("m=audio {} ", it.port())));
        }
    }
    words.sort();
    words.dedup();
    words
}

/// Requires that no such value of one leg is in any message to the party of another.
pub fn assert_hidden(words: &[String], other: &[Sip], party: SocketAddr) {
    for message in other.iter().filter(|message| message.to == party) {
        for word in words {
            assert!(!message.text.contains(word.as_str()), "{word:?} shows in\n{}", message.text);
        }
        let vias = message.fields("Via").count();
        assert_eq!(vias, 1, "{}", message.text);
        assert_eq!(message.field("Record-Route"), None, "{}", message.text);
    }
}
