//! A b2bua, with SIPp instances around it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::ear::Ear;
use crate::interop::support::wire::{Sip, audio_address};
use crate::interop::support::{LIMIT, Running, file, free_port};

/// A server that trusts this machine unless configured otherwise, and the files of all parties.
pub struct Lab {
    pub folder: tempfile::TempDir,
    server: Option<Running>,
    pub at: SocketAddr,
}

impl Lab {
    /// With these lines after `[server]`.
    pub fn new(lines: &str) -> Lab {
        Lab::listening("127.0.0.1", "\"127.0.0.0/8\", \"::1\"", lines)
    }

    /// On this address only, trusting these.
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

    /// Messages that a party has sent and received so far.
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

    /// Waits for the first matching message that the server sent to a party.
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

    /// The server's RTP address for a party, from its offer or answer.
    pub fn media_for(&self, place: &Place) -> SocketAddr {
        let session = self.told(place, "session", |it| it.body().starts_with("v=0"));
        audio_address(session.body()).expect("an address")
    }

    /// Sends SIGTERM; returns the CDRs, which are all that is left.
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
    /// Sets `[name]` of the scenario.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.command.args(["-key", name, value]);
        self.keys.push(name.to_owned());
        self
    }

    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts it, and waits until it listens.
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
        for (name, value) in [("more", ""), ("formats", "0"), ("formats_then", "0"), ("hops", "70")] {
            if !self.keys.iter().any(|it| it == name) {
                self.command.args(["-key", name, value]);
            }
        }
        Running::start(self.name, &mut self.command)
    }

    /// Calls this user of the server.
    pub fn calls(self, user: &str) -> Running {
        let at = self.lab.at.to_string();
        self.args(&["-s", user, &at]).start()
    }
}

/// Whether this port is bound. A trial bind could keep SIPp from binding it.
fn is_bound(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))
    })
}

/// A party with its SIP and RTP addresses.
pub struct Place {
    pub name: &'static str,
    pub sip: SocketAddr,
    pub ear: Ear,
}

impl Place {
    /// At 127.0.0.`host`: every party has its own address.
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
