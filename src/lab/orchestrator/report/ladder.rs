//! The call ladder: the traces of all roles merged into one list. A message in both its sender's and its
//! receiver's trace is listed once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::trace::Traced;
use crate::results::ladder::{Ladder, Step, printable, title};

/// Maximum transit time for two entries to count as the same message.
const SAME: Duration = Duration::from_secs(5);
/// Maximum apparent negative transit time, due to clocks and threads.
const EARLY: Duration = Duration::from_millis(50);

/// Merges traces; each comes with the name of its role, in display order.
pub fn merge(traces: &[(String, Vec<Traced>)]) -> Ladder {
    let mut ladder = Ladder { parties: traces.iter().map(|(role, _)| role.clone()).collect(), steps: vec![] };
    let owner = |address: SocketAddr| {
        traces.iter().position(|(_, messages)| messages.iter().any(|m| m.local() == address))
    };
    let mut merged: Vec<Merged> = Vec::new();
    for (index, (_, messages)) in traces.iter().enumerate() {
        for message in messages {
            let sides = merged.iter_mut().filter(|m| m.is_other_side(index, message));
            match sides.min_by_key(|m| apart(m.message.at, message.at)) {
                Some(known) => known.other = Some(message.at),
                None => merged.push(Merged { role: index, message, other: None }),
            }
        }
    }
    merged.sort_by_key(Merged::time);
    let Some(start) = merged.first().map(Merged::time) else { return ladder };
    for (index, entry) in merged.iter().enumerate() {
        let Merged { role, message, other } = entry;
        let mut party = |address: SocketAddr| {
            owner(address).unwrap_or_else(|| {
                let name = address.to_string();
                ladder.parties.iter().position(|p| *p == name).unwrap_or_else(|| {
                    ladder.parties.push(name);
                    ladder.parties.len() - 1
                })
            })
        };
        let (from, to) = match message.sent {
            true => (*role, party(message.to)),
            false => (party(message.from), *role),
        };
        let repeated = merged[..index].iter().any(|before| {
            before.message.bytes == message.bytes
                && before.message.from == message.from
                && before.message.to == message.to
        });
        let title = title(&message.bytes);
        ladder.steps.push(Step {
            at_s: entry.time().duration_since(start).unwrap_or_default().as_secs_f64(),
            from,
            to,
            transport: message.transport.clone(),
            travel_ms: other.map(|other| between_ms(message, other)),
            vanished: message.sent && other.is_none() && owner(message.to).is_some(),
            repeated,
            failure: title.starts_with(['4', '5', '6']),
            title,
            text: printable(&message.bytes),
        });
    }
    ladder
}

/// Keeps only the messages between the roles of a chain, whose READY addresses are `ready`. A server's trace
/// also contains the calls of loads, hundreds of them.
pub fn of_chain(traces: &mut [(String, Vec<Traced>)], ready: impl IntoIterator<Item = SocketAddr>) {
    let own = traces.iter().flat_map(|(_, messages)| messages.iter().map(Traced::local));
    let own: HashSet<SocketAddr> = own.chain(ready).collect();
    for (_, messages) in traces {
        messages.retain(|message| own.contains(&message.from) && own.contains(&message.to));
    }
}

struct Merged<'a> {
    role: usize,
    message: &'a Traced,
    /// When the other side logged it.
    other: Option<SystemTime>,
}

impl Merged<'_> {
    fn is_other_side(&self, role: usize, message: &Traced) -> bool {
        let mine = self.message;
        let (sent, received) = if mine.sent { (mine.at, message.at) } else { (message.at, mine.at) };
        self.other.is_none()
            && self.role != role
            && mine.sent != message.sent
            && mine.from == message.from
            && mine.to == message.to
            && mine.bytes == message.bytes
            && received + EARLY >= sent
            && received <= sent + SAME
    }

    /// When it was sent, as far as known.
    fn time(&self) -> SystemTime {
        match self.other {
            Some(other) => self.message.at.min(other),
            None => self.message.at,
        }
    }
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|earlier| earlier.duration())
}

fn between_ms(message: &Traced, other: SystemTime) -> f64 {
    let (sent, received) = if message.sent { (message.at, other) } else { (other, message.at) };
    received.duration_since(sent).unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const SOURCE: &str = "127.0.0.1:5001";
    const SINK: &str = "127.0.0.1:5002";

    fn message(ms: u64, sent: bool, from: &str, to: &str, bytes: &[u8]) -> Traced {
        Traced {
            at: UNIX_EPOCH + Duration::from_millis(1_000 + ms),
            sent,
            transport: "udp".into(),
            from: from.parse().expect("address"),
            to: to.parse().expect("address"),
            bytes: bytes.to_vec(),
        }
    }

    fn two(source: Vec<Traced>, sink: Vec<Traced>) -> Ladder {
        merge(&[("source".into(), source), ("sink".into(), sink)])
    }

    #[test]
    fn a_message_in_both_traces_is_one_step() {
        let ladder = two(
            vec![
                message(0, true, SOURCE, SINK, b"INVITE sip:a SIP/2.0\r\n"),
                message(9, false, SINK, SOURCE, b"SIP/2.0 200 OK\r\n"),
            ],
            vec![
                message(1, false, SOURCE, SINK, b"INVITE sip:a SIP/2.0\r\n"),
                message(7, true, SINK, SOURCE, b"SIP/2.0 200 OK\r\n"),
            ],
        );
        assert_eq!(ladder.parties, ["source", "sink"]);
        let titles: Vec<&str> = ladder.steps.iter().map(|s| s.title.as_str()).collect();
        assert_eq!(titles, ["INVITE", "200 OK"]);
        assert_eq!(ladder.steps[1].at_s, 0.007);
        assert_eq!(ladder.steps[1].travel_ms, Some(2.0));
        assert!(ladder.steps.iter().all(|s| !s.vanished && !s.repeated));
    }

    #[test]
    fn a_lost_message_and_its_retransmission_are_told() {
        let invite = b"INVITE sip:a SIP/2.0\r\n";
        let ladder = two(
            vec![message(0, true, SOURCE, SINK, invite), message(6_000, true, SOURCE, SINK, invite)],
            vec![message(6_001, false, SOURCE, SINK, invite)],
        );
        assert_eq!(ladder.steps.len(), 2);
        assert!(ladder.steps[0].vanished && !ladder.steps[0].repeated);
        assert!(!ladder.steps[1].vanished && ladder.steps[1].repeated);
    }

    #[test]
    fn a_stranger_is_named_by_its_address_and_nothing_of_it_vanishes() {
        let ladder = merge(&[(
            "sink".into(),
            vec![
                message(0, false, "127.0.0.1:7777", SINK, b"OPTIONS sip:x SIP/2.0\r\n"),
                message(1, true, SINK, "127.0.0.1:7777", b"SIP/2.0 200 OK\r\n"),
            ],
        )]);
        assert_eq!(ladder.parties, ["sink", "127.0.0.1:7777"]);
        assert_eq!((ladder.steps[0].from, ladder.steps[0].to), (1, 0));
        assert!(ladder.steps.iter().all(|s| !s.vanished));
    }

    #[test]
    fn of_a_chain_beside_loads_there_are_its_own_messages() {
        const SERVER: &str = "127.0.0.1:5003";
        const LOAD: &str = "127.0.0.1:6001";
        let mut traces = [
            ("source".into(), vec![message(0, true, SOURCE, SERVER, b"INVITE sip:a SIP/2.0\r\n")]),
            (
                "b2bua".into(),
                vec![
                    message(1, false, SOURCE, SERVER, b"INVITE sip:a SIP/2.0\r\n"),
                    message(2, false, LOAD, SERVER, b"INVITE sip:c SIP/2.0\r\n"),
                    message(3, true, SERVER, SINK, b"INVITE sip:b SIP/2.0\r\n"),
                ],
            ),
        ];
        of_chain(&mut traces, [SINK.parse().expect("an address")]);
        let ladder = merge(&traces);
        assert_eq!(ladder.parties, ["source", "b2bua", SINK]);
        let texts: Vec<_> = ladder.steps.iter().map(|step| step.text.trim()).collect();
        assert_eq!(texts, ["INVITE sip:a SIP/2.0", "INVITE sip:b SIP/2.0"]);
    }

    #[test]
    fn hostile_bytes_become_signs() {
        let ladder = two(
            vec![message(0, true, SOURCE, SINK, b"\x1b[31mEVIL\xff sip:a SIP/2.0\r\nX: \x07\0\r\n")],
            vec![],
        );
        assert_eq!(ladder.steps[0].title, "\u{241b}[31mEVIL\u{fffd}");
        assert!(!ladder.steps[0].text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn no_traces_make_an_empty_ladder() {
        assert_eq!(merge(&[]), Ladder::default());
        assert!(two(vec![], vec![]).steps.is_empty());
    }
}
