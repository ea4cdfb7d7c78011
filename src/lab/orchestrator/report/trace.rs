//! Reads SIP traces (format in `designs/0001-borders.md`). They contain messages from peers, so the reader
//! trusts nothing.

use std::net::SocketAddr;
use std::time::SystemTime;

/// Maximum messages read from one trace; the rest is counted.
const MAX_MESSAGES: usize = 2_000;

/// One message in one role's trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// When the role sent or received it.
    pub at: SystemTime,
    /// Whether it was sent; otherwise it was received.
    pub sent: bool,
    /// `udp`, `tcp`.
    pub transport: String,
    /// The sender.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// The unchanged message.
    pub bytes: Vec<u8>,
}

impl Traced {
    /// The address of the role that wrote the trace.
    pub fn local(&self) -> SocketAddr {
        if self.sent { self.from } else { self.to }
    }
}

/// A trace, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Its messages, in file order.
    pub messages: Vec<Traced>,
    /// Problems of the file, as text.
    pub notes: Vec<String>,
}

/// Reads a trace. After damage it continues at the next header line.
pub fn parse(file: &[u8]) -> Trace {
    let mut trace = Trace::default();
    let mut rest = file;
    let mut strange_lines = 0;
    while !rest.is_empty() {
        if trace.messages.len() == MAX_MESSAGES {
            trace.notes.push(format!("only the first {MAX_MESSAGES} messages are shown"));
            break;
        }
        let line_end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = (&rest[..line_end], rest.get(line_end + 1..).unwrap_or(&[]));
        rest = after;
        if line.is_empty() {
            continue;
        }
        match header(line) {
            Some((message, length)) if length <= rest.len() => {
                let (bytes, after) = rest.split_at(length);
                trace.messages.push(Traced { bytes: bytes.to_vec(), ..message });
                rest = after;
            }
            Some(_) => {
                trace.notes.push("the trace ends within a message".to_string());
                break;
            }
            None if line.starts_with(b"--- ") => {
                let text = String::from_utf8_lossy(line.strip_prefix(b"--- ").unwrap_or(line));
                trace.notes.push(text.chars().take(200).collect());
            }
            None => strange_lines += 1,
        }
    }
    if strange_lines > 0 {
        trace.notes.push(format!("{strange_lines} lines of the trace could not be read"));
    }
    trace
}

/// `--- <ts> sent|received udp|tcp <from> -> <to> <bytes>`
fn header(line: &[u8]) -> Option<(Traced, usize)> {
    let text = std::str::from_utf8(line.strip_prefix(b"--- ")?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [at, direction, transport, from, "->", to, length] = fields[..] else { return None };
    let sent = match direction {
        "sent" => true,
        "received" => false,
        _ => return None,
    };
    let message = Traced {
        at: humantime::parse_rfc3339(at).ok()?,
        sent,
        transport: transport.to_string(),
        from: from.parse().ok()?,
        to: to.parse().ok()?,
        bytes: Vec::new(),
    };
    Some((message, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &[u8] = b"--- 2026-11-20T08:00:00.000100Z sent udp 127.0.0.1:5060 -> 127.0.0.1:7000 16\n\
        OPTIONS --- \r\n\xff\xfe\n\
        --- 2026-11-20T08:00:00.000900Z received udp 127.0.0.1:7000 -> 127.0.0.1:5060 7\n\
        SIP/2.0\n";

    #[test]
    fn reads_messages_byte_for_byte() {
        let trace = parse(TRACE);
        assert_eq!(trace.notes, [""; 0]);
        assert_eq!(trace.messages.len(), 2);
        assert_eq!(trace.messages[0].bytes, b"OPTIONS --- \r\n\xff\xfe");
        assert!(trace.messages[0].sent && !trace.messages[1].sent);
        assert_eq!(trace.messages[0].local(), trace.messages[1].local());
    }

    #[test]
    fn a_cut_off_trace_gives_what_is_whole_and_a_note() {
        let trace = parse(&TRACE[..TRACE.len() - 5]);
        assert_eq!(trace.messages.len(), 1);
        assert_eq!(trace.notes, ["the trace ends within a message"]);
    }

    #[test]
    fn what_the_writer_says_becomes_a_note() {
        let mut file = b"--- 3 messages not written, the disk was too slow\n".to_vec();
        file.extend(TRACE);
        let trace = parse(&file);
        assert_eq!(trace.messages.len(), 2);
        assert_eq!(trace.notes, ["3 messages not written, the disk was too slow"]);
    }

    #[test]
    fn a_hostile_length_and_binary_rubbish_do_no_harm() {
        let hostile =
            b"--- 2026-11-20T08:00:00Z sent udp 127.0.0.1:1 -> 127.0.0.1:2 18446744073709551615\nx\n";
        assert_eq!(parse(hostile).messages, []);
        let rubbish: Vec<u8> = (0..4_000u32).map(|i| (i * 7919 % 251) as u8).collect();
        assert_eq!(parse(&rubbish).messages, []);
        assert_eq!(parse(b"").messages, []);
    }
}
