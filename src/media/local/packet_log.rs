//! The packet log: one CSV row per received RTP packet. The media thread pushes records into a
//! ring; a separate thread writes them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{PacketRecord, Verdict};
use crate::Now;
use b2b_base::util::ntp::NtpTime;

/// Capacity of the ring in records: more than a second of 50 calls.
const RING: usize = 4_096;
/// Records in the ring up to which those of stray packets are accepted.
const STRAY: usize = 256;
/// How often the writer empties the ring.
const PERIOD: Duration = Duration::from_millis(100);
/// Seconds from 1900 to 1970.
const UNIX_OFFSET: u64 = 2_208_988_800;

/// The media thread's end; the log ends when it is dropped.
pub struct PacketLog {
    ring: Producer<(u64, PacketRecord)>,
    dropped: u64,
    strays: u64,
}

impl PacketLog {
    /// Creates the file with its header line, and the thread that writes it.
    pub fn create(path: &Path) -> io::Result<(PacketLog, JoinHandle<()>)> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict")?;
        file.flush()?;
        let (ring, records) = RingBuffer::new(RING);
        let thread =
            std::thread::Builder::new().name("packet-log".into()).spawn(move || run(records, file))?;
        Ok((PacketLog { ring, dropped: 0, strays: 0 }, thread))
    }

    /// Adds a record, or drops it if the disk does not keep up. Records of packets outside any stream are
    /// accepted only while the ring is nearly empty, so that a flood of them leaves room.
    pub fn push(&mut self, now: &Now, record: PacketRecord) {
        let stray =
            matches!(record.verdict, Verdict::Injected | Verdict::Malformed | Verdict::UnknownPayload);
        if stray && self.ring.slots() < RING - STRAY {
            self.strays += 1;
            return;
        }
        let arrival_ns = unix_nanos(now.wall_at(record.arrival));
        if self.ring.push((arrival_ns, record)).is_err() {
            self.dropped += 1;
        }
    }
}

impl Drop for PacketLog {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!("the packet log lacks {} rows: the disk did not keep up", self.dropped);
        }
        if self.strays > 0 {
            tracing::warn!("the packet log leaves out {} packets that were not of a call", self.strays);
        }
    }
}

fn unix_nanos(time: NtpTime) -> u64 {
    let fraction = ((time.0 & 0xFFFF_FFFF) * 1_000_000_000) >> 32;
    (time.0 >> 32).wrapping_sub(UNIX_OFFSET).wrapping_mul(1_000_000_000).wrapping_add(fraction)
}

fn run(mut records: Consumer<(u64, PacketRecord)>, mut file: BufWriter<File>) {
    let mut failed = false;
    loop {
        // Checked before the ring is emptied, so that everything pushed before the writer left is
        // read.
        let last = records.is_abandoned();
        let written = drain(&mut records, &mut file);
        if let (Err(error), false) = (written, failed) {
            failed = true;
            tracing::warn!("the packet log ends here, it cannot be written: {error}");
        }
        if last {
            return;
        }
        std::thread::sleep(PERIOD);
    }
}

fn drain(records: &mut Consumer<(u64, PacketRecord)>, file: &mut impl Write) -> io::Result<()> {
    let mut result = Ok(());
    while let Ok((arrival_ns, record)) = records.pop() {
        let PacketRecord { sequence, timestamp, ssrc, payload_type, size, verdict, .. } = record;
        if result.is_ok() {
            result =
                writeln!(file, "{arrival_ns},{sequence},{timestamp},{ssrc},{payload_type},{size},{verdict}");
        }
    }
    result.and_then(|()| file.flush())
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_flood_leaves_room_for_the_rows_of_the_stream() {
        let (ring, mut rows) = RingBuffer::new(RING);
        let mut log = PacketLog { ring, dropped: 0, strays: 0 };
        let now = Now { at: Instant::now(), wall: NtpTime::from_system(UNIX_EPOCH) };
        let record = |verdict| PacketRecord {
            arrival: now.at,
            sequence: 0,
            timestamp: 0,
            ssrc: 0,
            payload_type: 0,
            size: 172,
            verdict,
        };
        (0..100_000).for_each(|_| log.push(&now, record(Verdict::Injected)));
        log.push(&now, record(Verdict::Played));
        let rows: Vec<_> = std::iter::from_fn(|| rows.pop().ok()).collect();
        assert!(rows.len() <= STRAY + 2, "{}", rows.len());
        assert_eq!(rows.last().unwrap().1.verdict, Verdict::Played);
        assert_eq!((log.dropped, log.strays + rows.len() as u64), (0, 100_001));
    }

    #[test]
    fn rows_are_written_before_the_thread_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packets.csv");
        let wall = NtpTime::from_system(UNIX_EPOCH + Duration::from_millis(1_700_000_000_250));
        let now = Now { at: Instant::now() + Duration::from_secs(1), wall };
        let (mut log, thread) = PacketLog::create(&path).unwrap();
        let record = PacketRecord {
            arrival: now.at - Duration::from_millis(250),
            sequence: 7,
            timestamp: 160,
            ssrc: 99,
            payload_type: 8,
            size: 188,
            verdict: Verdict::ImpairedLost,
        };
        log.push(&now, record);
        drop(log);
        thread.join().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (header, row) = text.trim_end().split_once('\n').unwrap();
        assert_eq!(header, "arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict");
        let (arrival, rest) = row.split_once(',').unwrap();
        assert_eq!(rest, "7,160,99,8,188,impaired-lost");
        assert!(arrival.parse::<u64>().unwrap().abs_diff(1_700_000_000_000_000_000) < 10);
    }
}
