//! A b2bua, SIPps around it, and RTP that this test sends and counts itself.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::interop_support::wire::{Sip, audio_address};
use crate::interop_support::{LIMIT, Running, file, free_port};

/// A server that trusts this machine unless told otherwise, and everybody's files.
pub struct Lab {
    pub folder: tempfile::TempDir,
    server: Option<Running>,
    pub at: SocketAddr,
}

impl Lab {
    /// With these lines behind `[server]`.
    pub fn new(lines: &str) -> Lab {
        Lab::listening("127.0.0.1", "\"127.0.0.0/8\", \"::1\"", lines)
    }

    /// On this host only, trusting these.
    pub fn listening(host: &str, trusted: &str, lines: &str) -> Lab {
        Lab::start((host, free_port()), trusted, lines)
    }

    /// At this port of 127.0.0.1.
    pub fn at_port(port: u16, lines: &str) -> Lab {
        Lab::start(("127.0.0.1", port), "\"127.0.0.0/8\"", lines)
    }

    fn start((host, port): (&str, u16), trusted: &str, lines: &str) -> Lab {
        let folder = tempfile::tempdir().expect("dir");
        let config = format!(
            "[server]\nlisten = [\"udp:{host}:{port}\", \"tcp:{host}:{port}\"]\ntrusted = [{trusted}]\n\
             domains = [\"b2b.example\"]\nstore = \"memory\"\ncdr = \"cdr.jsonl\"\ndrain_s = 2\n\
             [http]\nlisten = \"off\"\n{lines}"
        );
        let path = folder.path().join("b2bua.toml");
        fs::write(&path, config).expect("a file");
        let (server, at) = Running::role("b2bua", &["--config", path.to_str().expect("UTF-8")]);
        Lab { folder, server: Some(server), at: at.parse().expect("an address") }
    }

    /// A SIPp at this place with a scenario of `tests/sipp`.
    pub fn sipp(&self, place: &Place, scenario: &str) -> Sipp<'_> {
        let mut command = Command::new("sipp");
        let name = place.name;
        let _ = fs::remove_file(self.folder.path().join(format!("{name}.msg")));
        command.current_dir(self.folder.path());
        command.arg("-sf").arg(file("tests/sipp").join(format!("{scenario}.xml")));
        let ip = place.sip.ip().to_string();
        command.args(["-i", &ip, "-mi", &ip, "-p", &place.sip.port().to_string()]);
        command.args(["-mp", &free_port().to_string(), "-m", "1", "-nostdin", "-timeout", "40"]);
        command.args(["-timeout_error", "-trace_msg", "-message_file", &format!("{name}.msg")]);
        command.args(["-key", "mport", &place.ear.port().to_string()]);
        Sipp { lab: self, at: place.sip, name, command, keys: Vec::new() }
    }

    /// What a party has sent and received until now.
    pub fn messages(&self, place: &Place) -> Vec<Sip> {
        let path = self.folder.path().join(format!("{}.msg", place.name));
        let text = fs::read(path).map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default();
        let parts = text.split("-----------------------------------------------").skip(1);
        let message = |part: &str| {
            let (head, text) = part.split_once("\n\n")?;
            let received = head.contains("message received");
            let (from, to) = if received { (self.at, place.sip) } else { (place.sip, self.at) };
            let text = text.strip_suffix('\n').unwrap_or(text);
            let whole = text.contains("\r\n\r\n");
            whole.then(|| Sip { at: 0.0, from, to, text: text.trim_start().to_owned() })
        };
        parts.filter_map(message).collect()
    }

    /// The first message like this that the server sent to a party; waits for it.
    pub fn told(&self, place: &Place, what: &str, like: impl Fn(&Sip) -> bool) -> Sip {
        let end = Instant::now() + LIMIT;
        loop {
            let messages = self.messages(place);
            if let Some(found) = messages.iter().find(|it| it.to == place.sip && like(it)) {
                return found.clone();
            }
            if Instant::now() > end {
                let all: Vec<&str> = messages.iter().map(|it| it.text.as_str()).collect();
                panic!("{} got no {what}:\n{}", place.name, all.join("\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the server takes a party's RTP: by its offer, or its answer.
    pub fn media_for(&self, place: &Place) -> SocketAddr {
        let session = self.told(place, "session", |it| it.body().starts_with("v=0"));
        audio_address(session.body()).expect("an address")
    }

    /// SIGTERM; all that is left is the call records.
    pub fn end(mut self) -> String {
        let server = self.server.take().expect("still there");
        server.signal(Signal::SIGTERM);
        server.wait_ok();
        fs::read_to_string(self.folder.path().join("cdr.jsonl")).unwrap_or_default()
    }
}

/// A SIPp that is about to start.
pub struct Sipp<'a> {
    lab: &'a Lab,
    at: SocketAddr,
    name: &'static str,
    command: Command,
    keys: Vec<String>,
}

impl Sipp<'_> {
    /// `[name]` of the scenario.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.command.args(["-key", name, value]);
        self.keys.push(name.to_owned());
        self
    }

    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Waits for calls; they may come now.
    pub fn listens(self) -> Running {
        let at = self.at;
        let running = self.start();
        let end = Instant::now() + LIMIT;
        while !is_bound(at.port()) {
            assert!(Instant::now() < end, "SIPp does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn start(mut self) -> Running {
        for (name, value) in [("more", ""), ("formats", ""), ("hops", "70")] {
            if !self.keys.iter().any(|it| it == name) {
                self.command.args(["-key", name, value]);
            }
        }
        Running::start(self.name, &mut self.command)
    }

    /// Calls this user of the server's.
    pub fn calls(self, user: &str) -> Running {
        let at = self.lab.at.to_string();
        self.args(&["-s", user, &at]).start()
    }
}

/// Whether somebody has this port. To try to bind it could keep SIPp from it.
fn is_bound(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))
    })
}

/// A party: where its SIP is, and its RTP.
pub struct Place {
    pub name: &'static str,
    pub sip: SocketAddr,
    pub ear: Ear,
}

impl Place {
    /// At 127.0.0.`host`: every party has an address of its own.
    pub fn new(name: &'static str, host: u8) -> Place {
        Place::at(name, IpAddr::from([127, 0, 0, host]))
    }

    pub fn at(name: &'static str, ip: IpAddr) -> Place {
        Place { name, sip: SocketAddr::new(ip, free_port()), ear: Ear::new(ip) }
    }

    /// A route from a called name to here.
    pub fn route(&self, called: &str) -> String {
        format!("[[route]]\ncalled = \"{called}\"\nto = \"{}\"\n", self.uri(called))
    }

    pub fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.sip)
    }
}

/// One packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub from: SocketAddr,
    pub payload_type: u8,
    pub payload: Vec<u8>,
}

/// An RTP endpoint. What it says are packets whose octets are all the same.
pub struct Ear {
    socket: UdpSocket,
    seq: Arc<AtomicU16>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    stop: Arc<AtomicBool>,
}

impl Ear {
    fn new(ip: IpAddr) -> Ear {
        let socket = UdpSocket::bind((ip, free_port())).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        let (arrived, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let ear = Ear {
            socket: socket.try_clone().expect("socket"),
            seq: Arc::new(AtomicU16::new(1)),
            arrived: arrived.clone(),
            stop: stop.clone(),
        };
        thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                // RTP, not RTCP
                if length > 12 && buffer[0] >> 6 == 2 && !(192..224).contains(&buffer[1]) {
                    let payload = buffer[12..length].to_vec();
                    let packet = Arrived { from, payload_type: buffer[1] & 0x7f, payload };
                    arrived.lock().expect("whole").push(packet);
                }
            }
        });
        ear
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("address").port()
    }

    /// Says this octet to there, 50 packets a second, until what is given back is dropped.
    pub fn says(&self, octet: u8, to: SocketAddr) -> Saying {
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, stopped) = (self.socket.try_clone().expect("socket"), stop.clone());
        let counter = self.seq.clone();
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let seq = counter.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&rtp(0, false, seq, u32::from(seq) * 160, &[octet; 160]), to);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Saying(stop)
    }

    /// A digit of this payload type, as phones send it: the end three times (RFC 4733
    /// §2.5.1). Eight packets.
    pub fn presses(&self, event: u8, payload_type: u8, to: SocketAddr) {
        let start = u32::from(self.seq.load(Ordering::Relaxed)) * 160;
        for step in 0..8_u16 {
            let end = step >= 5;
            let [high, low] = ((step.min(5) + 1) * 160).to_be_bytes();
            let payload = [event, 10 | u8::from(end) << 7, high, low];
            let seq = self.seq.fetch_add(1, Ordering::Relaxed);
            self.socket.send_to(&rtp(payload_type, step == 0, seq, start, &payload), to).expect("sends");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("whole").clone()
    }

    /// How many packets of this octet have arrived.
    pub fn heard(&self, octet: u8) -> usize {
        self.arrived().iter().filter(|it| it.payload == [octet; 160]).count()
    }

    /// Waits until so many more have arrived.
    pub fn hears(&self, octet: u8, packets: usize) {
        let (end, before) = (Instant::now() + LIMIT, self.heard(octet));
        while self.heard(octet) < before + packets {
            assert!(Instant::now() < end, "{} of {packets} packets of {octet}", self.heard(octet) - before);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Wants nothing more to arrive for a while, but for what is on its way.
    pub fn hears_nothing(&self) {
        thread::sleep(Duration::from_millis(150));
        let before = self.arrived().len();
        thread::sleep(Duration::from_millis(400));
        assert_eq!(self.arrived().len(), before, "packets to who is not to hear any");
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Speaks until it is dropped.
pub struct Saying(Arc<AtomicBool>);

impl Drop for Saying {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn rtp(payload_type: u8, marker: bool, seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend(payload);
    packet
}
