//! Subscribers to events: counts what each receives; one never reads.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::SystemTime;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

use crate::frame::{self, Frames};
use crate::{Failure, counts, http, say};

/// Epoll key of standard input.
const END: u64 = u64::MAX;
const READ_AHEAD: usize = 256 * 1_024;
/// The delay of events is measured at one subscriber in this many.
const LOOKED_AT: usize = 50;

#[derive(Default)]
struct Told {
    events: u64,
    /// Events reported to subscribers as lost.
    lost: u64,
    /// Sequence numbers out of order.
    wrong: u64,
    reads: u64,
    octets: u64,
    /// Delay from an event to its subscriber, us.
    late: Vec<u64>,
}

struct Subscriber {
    stream: TcpStream,
    frames: Frames,
    next: Option<u64>,
}

/// Runs this many until standard input ends, and one that never reads.
pub fn run(server: SocketAddr, count: usize) -> Result<(), Failure> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(std::io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, END))?;
    let (_deaf, _) = http::connect(server, "/control")?;
    let (mut all, mut told) = (Vec::new(), Told::default());
    for n in 0..count {
        let (stream, rest) = http::connect(server, "/control")?;
        stream.set_nonblocking(true)?;
        epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
        let mut one = Subscriber { stream, frames: Frames::default(), next: None };
        one.hear(&rest, n, &mut told);
        all.push(one);
    }
    say("UP");
    let (mut events, mut buffer) = (vec![EpollEvent::empty(); 256], vec![0; READ_AHEAD]);
    let (mut gone, mut over) = (0, false);
    while !over {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            ready => ready?,
        };
        over = events[..ready].iter().any(|event| event.data() == END);
        for event in events[..ready].iter().filter(|event| event.data() != END) {
            let n = event.data() as usize;
            match all[n].stream.read(&mut buffer) {
                Ok(count @ 1..) => {
                    told.reads += 1;
                    told.octets += count as u64;
                    all[n].hear(&buffer[..count], n, &mut told);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => {
                    gone += 1;
                    epoll.delete(all[n].stream.as_fd())?;
                }
            }
        }
    }
    println!(
        "{}",
        json!({
            "subscribers": count, "gone": gone, "events": told.events, "lost": told.lost, "wrong": told.wrong,
            "reads": told.reads, "octets": told.octets, "late_ms": counts::spread(told.late),
        })
    );
    Ok(())
}

impl Subscriber {
    fn hear(&mut self, octets: &[u8], n: usize, told: &mut Told) {
        let next = &mut self.next;
        self.frames.take(octets, |frame, octets| {
            if frame.kind != frame::TEXT {
                return;
            }
            let text = &octets[frame.payload.clone()];
            // `seq` is an event's first field.
            let seq = text.strip_prefix(b"{\"seq\":").and_then(|rest| {
                let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
                std::str::from_utf8(&rest[..digits]).ok()?.parse::<u64>().ok()
            });
            let Some(seq) = seq else {
                let lost = serde_json::from_slice::<Value>(text).ok().and_then(|told| told["count"].as_u64());
                told.lost += lost.unwrap_or(0);
                *next = next.map(|next| next + lost.unwrap_or(0));
                return;
            };
            told.events += 1;
            told.wrong += u64::from(next.is_some_and(|next| next != seq));
            *next = Some(seq + 1);
            if n.is_multiple_of(LOOKED_AT) {
                let time = serde_json::from_slice::<Value>(text).ok().and_then(|event| {
                    event["time"].as_str().and_then(|time| humantime::parse_rfc3339(time).ok())
                });
                let ago = time.and_then(|time| SystemTime::now().duration_since(time).ok());
                told.late.extend(ago.map(|ago| ago.as_micros() as u64));
            }
        });
    }
}
