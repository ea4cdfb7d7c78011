//! The packet log of `--record`: one CSV row per received RTP packet, in the columns of the native engine. A
//! separate thread writes it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rtrb::{Consumer, Producer, RingBuffer};

use super::received::{Rtp, Verdict};

/// Capacity of the ring in rows: more than a second of 50 calls.
const RING: usize = 4_096;
/// Polling interval of the writer.
const PERIOD: Duration = Duration::from_millis(100);

struct Row {
    at: SystemTime,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload_type: u8,
    size: usize,
    verdict: Verdict,
}

/// The reactor's end. Dropping it writes the queued rows.
pub(super) struct PacketLog {
    ring: Option<Producer<Row>>,
    dropped: u64,
    thread: Option<JoinHandle<()>>,
}

impl PacketLog {
    /// Creates the file with its header line, and its writing thread.
    pub(super) fn create(path: &Path) -> io::Result<PacketLog> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict")?;
        file.flush()?;
        let (ring, rows) = RingBuffer::new(RING);
        let thread = std::thread::Builder::new().name("packet-log".into()).spawn(move || run(rows, file))?;
        Ok(PacketLog { ring: Some(ring), dropped: 0, thread: Some(thread) })
    }

    /// Queues a row; drops it if the disk is too slow.
    pub(super) fn push(&mut self, packet: &Rtp<'_>, size: usize, verdict: Verdict) {
        let Rtp { sequence, timestamp, ssrc, payload_type, .. } = *packet;
        let row = Row { at: SystemTime::now(), sequence, timestamp, ssrc, payload_type, size, verdict };
        if self.ring.as_mut().is_some_and(|ring| ring.push(row).is_err()) {
            self.dropped += 1;
        }
    }
}

impl Drop for PacketLog {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!("the packet log lacks {} rows: the disk did not keep up", self.dropped);
        }
        self.ring = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut rows: Consumer<Row>, mut file: BufWriter<File>) {
    let mut failed = false;
    loop {
        // Checked before the ring is emptied, so that all rows pushed before the drop are written.
        let last = rows.is_abandoned();
        let mut written = Ok(());
        while let Ok(row) = rows.pop() {
            written = written.and_then(|()| write_row(&mut file, &row));
        }
        if let (Err(error), false) = (written.and_then(|()| file.flush()), failed) {
            failed = true;
            tracing::warn!("the packet log ends here, it cannot be written: {error}");
        }
        if last {
            return;
        }
        std::thread::sleep(PERIOD);
    }
}

fn write_row(file: &mut impl Write, row: &Row) -> io::Result<()> {
    let Row { at, sequence, timestamp, ssrc, payload_type, size, verdict } = row;
    let arrival_ns = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let verdict = match verdict {
        Verdict::Played => "played",
        Verdict::Event => "event",
        Verdict::Duplicate => "duplicate",
        Verdict::UnknownPayload => "unknown-payload",
    };
    writeln!(file, "{arrival_ns},{sequence},{timestamp},{ssrc},{payload_type},{size},{verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_on_the_disk_when_the_log_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packets.csv");
        let mut log = PacketLog::create(&path).unwrap();
        let packet = Rtp { sequence: 7, timestamp: 160, ssrc: 99, payload_type: 8, payload: &[0; 160] };
        log.push(&packet, 172, Verdict::Duplicate);
        drop(log);
        let text = std::fs::read_to_string(path).unwrap();
        let (header, row) = text.trim_end().split_once('\n').unwrap();
        assert_eq!(header, "arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict");
        let (arrival, rest) = row.split_once(',').unwrap();
        assert_eq!(rest, "7,160,99,8,172,duplicate");
        assert!(arrival.parse::<u64>().unwrap() > 1_600_000_000_000_000_000);
    }
}
