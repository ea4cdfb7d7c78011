//! SIP messages sent and received: the facts that the library's events omit (the status of a provisional
//! response, who ended a call, the response to our BYE), and the trace file of `--sip-trace`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender};

/// Maximum messages queued for the disk.
const QUEUE: usize = 4_096;

/// The parts that are read from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub call_id: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Request { method: String },
    Response { status: u16, reason: String, method: String },
}

impl Seen {
    /// Parses a message: its first line, Call-ID and CSeq.
    pub(super) fn read(message: &[u8]) -> Option<Seen> {
        let text = String::from_utf8_lossy(message);
        let mut lines = text.trim_start_matches(['\r', '\n']).split("\r\n");
        let first = lines.next()?;
        let (mut call_id, mut method) = (None, None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.trim_end().to_ascii_lowercase().as_str() {
                "call-id" | "i" => call_id = Some(value.trim().to_owned()),
                "cseq" => method = value.split_whitespace().nth(1).map(str::to_owned),
                _ => {}
            }
        }
        let what = match first.strip_prefix("SIP/2.0 ") {
            Some(rest) => {
                let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                What::Response { status: status.parse().ok()?, reason: reason.to_owned(), method: method? }
            }
            None => What::Request { method: first.split(' ').next()?.to_owned() },
        };
        Some(Seen { call_id: call_id?, what })
    }
}

/// A message of the trace.
pub(super) struct Record {
    pub at: SystemTime,
    pub sent: bool,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

/// The writing end of a trace file, whose format is in `designs/0001-borders.md`. Dropping it writes the
/// queued messages.
pub(super) struct Trace {
    queue: Option<Sender<Record>>,
    lost: u64,
    thread: Option<JoinHandle<()>>,
}

impl Trace {
    /// Creates the file and its writing thread.
    pub(super) fn create(path: &Path) -> io::Result<Trace> {
        let out = BufWriter::new(File::create(path)?);
        let (queue, records) = crossbeam_channel::bounded(QUEUE);
        let thread =
            std::thread::Builder::new().name("sip-trace".into()).spawn(move || write_all(out, &records))?;
        Ok(Trace { queue: Some(queue), lost: 0, thread: Some(thread) })
    }

    /// Queues a message; drops it if the disk is too slow.
    pub(super) fn write(&mut self, record: Record) {
        if let Some(queue) = &self.queue
            && queue.try_send(record).is_err()
        {
            self.lost += 1;
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.queue = None;
        if self.lost > 0 {
            tracing::warn!("the SIP trace lacks {} messages: the disk was too slow", self.lost);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(mut out: impl Write, records: &Receiver<Record>) {
    let mut failed = false;
    while let Ok(record) = records.recv() {
        if failed {
            continue;
        }
        // Flushes when the queue is empty, since the file may be followed.
        let written = write_record(&mut out, &record)
            .and_then(|()| if records.is_empty() { out.flush() } else { Ok(()) });
        if let Err(error) = written {
            tracing::warn!("the SIP trace ends here, writing failed: {error}");
            failed = true;
        }
    }
}

fn write_record(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let Record { at, sent, transport, from, to, data } = record;
    let at = humantime::format_rfc3339_micros(*at);
    let word = if *sent { "sent" } else { "received" };
    writeln!(out, "--- {at} {word} {transport} {from} -> {to} {}", data.len())?;
    out.write_all(data)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_lines_that_matter_are_found_in_any_form() {
        let ringing =
            b"SIP/2.0 180 Ringing there\r\nVia: x\r\ni:  a@b \r\nCSEQ : 7 INVITE\r\n\r\nCall-ID: no";
        let what = What::Response { status: 180, reason: "Ringing there".into(), method: "INVITE".into() };
        assert_eq!(Seen::read(ringing), Some(Seen { call_id: "a@b".into(), what }));
        let bye = b"\r\nBYE sip:x SIP/2.0\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\r\n";
        assert_eq!(Seen::read(bye).unwrap().what, What::Request { method: "BYE".into() });
        for bad in [
            &b""[..],
            b"\r\n\r\n",
            b"SIP/2.0 abc\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\r\n",
            b"\xFF\xFE",
            b"BYE x\r\n\r\n",
        ] {
            assert_eq!(Seen::read(bad), None);
        }
    }

    #[test]
    fn the_trace_has_a_line_per_message_and_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ua.sip");
        let mut trace = Trace::create(&path).unwrap();
        trace.write(Record {
            at: UNIX_EPOCH + Duration::from_micros(1_500_000),
            sent: false,
            transport: "udp",
            from: "127.0.0.1:7000".parse().unwrap(),
            to: "127.0.0.1:5060".parse().unwrap(),
            data: b"OPTIONS\r\n\xff".to_vec(),
        });
        drop(trace);
        let expected: &[u8] =
            b"--- 1970-01-01T00:00:01.500000Z received udp 127.0.0.1:7000 -> 127.0.0.1:5060 10\nOPTIONS\r\n\xff\n";
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
