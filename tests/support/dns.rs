//! A name server with a handful of records, on 127.0.0.1 over UDP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const SRV: u16 = 33;
const NAPTR: u16 = 35;

/// Records by name and type; the data in wire format (RFC 1035 §3.3).
#[derive(Default)]
pub struct Zone(HashMap<(String, u16), Vec<Vec<u8>>>);

impl Zone {
    fn add(mut self, name: &str, kind: u16, data: Vec<u8>) -> Self {
        self.0.entry((name.to_owned(), kind)).or_default().push(data);
        self
    }

    pub fn a(self, name: &str, address: Ipv4Addr) -> Self {
        self.add(name, A, address.octets().to_vec())
    }

    /// Adds an SRV record (RFC 2782).
    pub fn srv(self, name: &str, priority: u16, port: u16, target: &str) -> Self {
        let numbers = [priority, 0, port].map(u16::to_be_bytes).concat();
        self.add(name, SRV, [numbers, on_the_wire(target)].concat())
    }

    /// Adds a NAPTR record (RFC 3403 §4.1).
    pub fn naptr(self, name: &str, order: u16, service: &str, replacement: &str) -> Self {
        let text = |text: &str| [vec![text.len() as u8], text.as_bytes().to_vec()].concat();
        let numbers = [order, 1].map(u16::to_be_bytes).concat();
        let data = [numbers, text("s"), text(service), text(""), on_the_wire(replacement)].concat();
        self.add(name, NAPTR, data)
    }
}

fn on_the_wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels
        .flat_map(|label| [vec![label.len() as u8], label.as_bytes().to_vec()].concat())
        .chain([0])
        .collect()
}

/// The server; it ends with its process.
pub struct NameServer {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Without a zone it receives queries and never answers.
    pub fn start(zone: Option<Zone>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let addr = socket.local_addr().expect("address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Some((name, kind, end)) = question(&buffer[..length]) else { continue };
                log.lock().expect("not poisoned").push(format!("{kind} {name}"));
                if let Some(zone) = &zone {
                    let records = zone.0.get(&(name, kind)).map(Vec::as_slice).unwrap_or_default();
                    let _ = socket.send_to(&response(&buffer[..end], kind, records), from);
                }
            }
        });
        NameServer { addr, asked }
    }

    /// Number of queries so far.
    pub fn questions(&self) -> usize {
        self.asked.lock().expect("not poisoned").len()
    }
}

/// Queried name and type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // Resolvers mix upper and lower case as a protection against forged answers.
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn response(query: &[u8], kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = query.to_vec();
    // An authoritative response without error: one question, the answers, an SOA if there are none.
    out[2..4].copy_from_slice(&[0x85, 0x80]);
    let nothing = u8::from(records.is_empty());
    out[4..12].copy_from_slice(&[0, 1, 0, records.len() as u8, 0, nothing, 0, 0]);
    if records.is_empty() {
        // SOA of the root: gives the lifetime of the negative answer (RFC 2308 §3).
        let numbers = [1u32, 600, 600, 600, 300].map(u32::to_be_bytes).concat();
        out.extend([0, 0, 6, 0, 1, 0, 0, 1, 44, 0, 22, 0, 0]);
        out.extend(numbers);
    }
    for data in records {
        // The name is that of the question; class IN, TTL five minutes.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 1, 44]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}
