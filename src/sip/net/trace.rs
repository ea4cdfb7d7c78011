//! The SIP trace: every message sent and received, in a text file. The format is in
//! `designs/0001-borders.md`. A separate thread writes, behind a bounded channel; if the disk
//! is slow, the trace loses messages and records how many, and signalling never waits.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::msg::veil::without_secrets;
use b2b_base::util::file;

/// Maximum number of messages queued for the disk.
const QUEUE: usize = 4096;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the endpoint to a peer.
    Sent,
    /// From a peer to the endpoint.
    Received,
}

/// One message of the trace.
#[derive(Debug)]
pub struct Record {
    /// The time at which it was sent or received.
    pub at: SystemTime,
    /// Its direction.
    pub direction: Direction,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The whole message.
    pub data: Bytes,
}

/// Holds the current trace, if any; can be changed while messages pass.
#[derive(Debug, Clone, Default)]
pub struct TraceSlot {
    on: Arc<AtomicBool>,
    trace: Arc<Mutex<Option<SipTrace>>>,
}

impl TraceSlot {
    /// Replaces the trace, or ends it; the previous one is completed.
    pub fn set(&self, trace: Option<SipTrace>) {
        self.on.store(trace.is_some(), Ordering::Relaxed);
        let before =
            std::mem::replace(&mut *self.trace.lock().unwrap_or_else(PoisonError::into_inner), trace);
        // Outside the lock, because it waits for the disk.
        drop(before);
    }

    /// Whether there is a trace.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// See [`SipTrace::write`].
    pub fn write(&self, record: Record) {
        if let Some(trace) = &*self.trace.lock().unwrap_or_else(PoisonError::into_inner) {
            trace.write(record);
        }
    }
}

/// The writing end of a trace. Dropping it writes the queue and closes the file.
#[derive(Debug)]
pub struct SipTrace {
    queue: Option<Sender<Record>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl SipTrace {
    /// Creates the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be created, or the thread cannot be started.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::to_writer(BufWriter::new(file::begin(path)?))
    }

    fn to_writer(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, records) = crossbeam_channel::bounded(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_seen = Arc::clone(&lost);
        let thread = std::thread::Builder::new()
            .name("sip-trace".into())
            .spawn(move || write_all(out, records, &lost_seen))?;
        Ok(SipTrace { queue: Some(queue), lost, thread: Some(thread) })
    }

    /// Queues one message, or counts it as lost if the queue is full.
    pub fn write(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_)) = queue.try_send(record) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for SipTrace {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends when the queue is closed and empty. After a write error (a full disk) it still drains
/// the queue, so that the sender is not affected.
fn write_all(mut out: impl Write, records: Receiver<Record>, lost: &AtomicU64) {
    let mut failed = false;
    let mut lost_told = 0;
    while let Ok(record) = records.recv() {
        if failed {
            continue;
        }
        let lost_now = lost.load(Ordering::Relaxed);
        let result = write_record(&mut out, &record, lost_now - lost_told)
            // A program may be following the file, so flush when the queue is empty.
            .and_then(|()| if records.is_empty() { out.flush() } else { Ok(()) });
        lost_told = lost_now;
        if let Err(error) = result {
            tracing::warn!("the SIP trace ends here, writing failed: {error}");
            failed = true;
        }
    }
    let _ = out.flush();
}

fn write_record(out: &mut impl Write, record: &Record, lost: u64) -> io::Result<()> {
    if lost > 0 {
        writeln!(out, "--- {lost} messages not written, the disk was too slow")?;
    }
    let at = humantime::format_rfc3339_micros(record.at);
    let (word, from, to) = match record.direction {
        Direction::Sent => ("sent", record.local, record.remote),
        Direction::Received => ("received", record.remote, record.local),
    };
    writeln!(out, "--- {at} {word} {} {from} -> {to} {}", record.transport, record.data.len())?;
    out.write_all(&without_secrets(&record.data))?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn record(direction: Direction, data: &'static [u8]) -> Record {
        Record {
            at: UNIX_EPOCH + Duration::from_micros(1_500_000),
            direction,
            transport: "udp",
            local: "127.0.0.1:5060".parse().expect("address"),
            remote: "127.0.0.1:7000".parse().expect("address"),
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn the_file_has_a_line_per_message_and_its_bytes() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ua.sip");
        let trace = SipTrace::create(&path).expect("create");
        trace.write(record(Direction::Received, b"OPTIONS\r\n\xff"));
        trace.write(record(Direction::Sent, b"SIP/2.0 200 OK\r\n"));
        drop(trace);
        let written = std::fs::read(&path).expect("read");
        let expected: &[u8] =
            b"--- 1970-01-01T00:00:01.500000Z received udp 127.0.0.1:7000 -> 127.0.0.1:5060 10\n\
            OPTIONS\r\n\xff\n\
            --- 1970-01-01T00:00:01.500000Z sent udp 127.0.0.1:5060 -> 127.0.0.1:7000 16\n\
            SIP/2.0 200 OK\r\n\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn a_disk_that_hangs_costs_records_but_never_blocks() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(data.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, gate) = crossbeam_channel::bounded(0);
        let trace = SipTrace::to_writer(Stuck(gate)).expect("thread");
        for _ in 0..QUEUE + 100 {
            trace.write(record(Direction::Sent, b"x"));
        }
        assert!(trace.lost.load(Ordering::Relaxed) >= 99);
        drop(release);
        drop(trace);
    }

    #[test]
    fn a_full_disk_ends_the_trace_and_nothing_else() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let trace = SipTrace::to_writer(Full).expect("thread");
        for _ in 0..3 {
            trace.write(record(Direction::Sent, b"x"));
        }
        drop(trace);
    }
}
