//! Timing, jitter and loss from a role's packet log.

use std::time::Duration;

/// One received RTP packet, as logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Arrival, ns on the role's clock.
    pub arrival_ns: u64,
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP SSRC.
    pub ssrc: u32,
    /// RTP payload type.
    pub payload_type: u8,
    /// The receiver's verdict on the packet, in its own term.
    pub verdict: String,
}

/// Figures and series of a packet log; times in seconds from its first packet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PacketStory {
    /// Packets of the stream.
    pub packets: usize,
    /// Sequence numbers that never arrived.
    pub lost: usize,
    /// Rows that could not be read.
    pub unreadable: usize,
    /// From first to last arrival, seconds.
    pub duration_s: f64,
    /// Mean time between arrivals, ms.
    pub mean_spacing_ms: f64,
    /// Longest time between arrivals, ms, and when it ended.
    pub longest_spacing: (f64, f64),
    /// Time between an arrival and the one before: (seconds, ms).
    pub spacing: Vec<(f64, f64)>,
    /// Interarrival jitter (RFC 3550 A.8) after each packet: (seconds, ms).
    pub jitter: Vec<(f64, f64)>,
    /// Times at which lost packets were missed, seconds.
    pub losses: Vec<f64>,
    /// Verdicts of all rows with their counts, most frequent first.
    pub verdicts: Vec<(String, usize)>,
}

/// Parses a packet log (columns in `designs/0001-borders.md`). Also returns the number of rows that could not
/// be read.
pub fn parse(csv: &str) -> (Vec<Row>, usize) {
    let mut unreadable = 0;
    let rows = csv
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("arrival_ns"))
        .filter_map(|line| {
            let row = row(line);
            unreadable += usize::from(row.is_none());
            row
        })
        .collect();
    (rows, unreadable)
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.trim_end().split(',');
    let mut next = || fields.next();
    Some(Row {
        arrival_ns: next()?.parse().ok()?,
        seq: next()?.parse().ok()?,
        timestamp: next()?.parse().ok()?,
        ssrc: number(next()?)?,
        payload_type: next()?.parse().ok()?,
        verdict: {
            next()?; // size
            next()?.to_string()
        },
    })
}

/// A decimal number, or a hexadecimal one with `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Verdicts of rows outside the stream: packets dropped by the impairer, and packets of other senders.
const NOT_OF_THE_STREAM: [&str; 6] =
    ["impaired-lost", "implausible", "injected", "malformed", "unauthenticated", "unexpected"];

/// Maximum streams reported per log; more streams mean that a sender varies its SSRC.
const STREAMS: usize = 4;

/// The streams of a log, reported separately: the mixer receives two. Returns those with the most packets, in
/// order of their start.
pub fn streams(log: &[Row], unreadable: usize, rate: u32) -> Vec<PacketStory> {
    let mut streams: Vec<(u32, usize)> = Vec::new();
    for row in log.iter().filter(of_the_stream) {
        match streams.iter().position(|(ssrc, _)| *ssrc == row.ssrc) {
            Some(index) => streams[index].1 += 1,
            None if streams.len() < 64 => streams.push((row.ssrc, 1)),
            None => {}
        }
    }
    let mut longest = streams.clone();
    longest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    longest.truncate(STREAMS);
    streams.retain(|stream| longest.contains(stream));
    if streams.len() < 2 {
        return vec![tell(log, unreadable, rate)];
    }
    let of = |ssrc: u32| log.iter().filter(|row| row.ssrc == ssrc).cloned().collect::<Vec<Row>>();
    streams.iter().map(|(ssrc, _)| tell(&of(*ssrc), unreadable, rate)).collect()
}

fn of_the_stream(row: &&Row) -> bool {
    !NOT_OF_THE_STREAM.contains(&row.verdict.as_str())
}

/// Computes the figures of a log. RTP timestamps run at `rate` Hz.
pub fn tell(log: &[Row], unreadable: usize, rate: u32) -> PacketStory {
    let mut rows: Vec<Row> = log.iter().filter(of_the_stream).cloned().collect();
    // A row is written once the packet's fate is known, so rows are not in order of arrival.
    rows.sort_by_key(|row| row.arrival_ns);
    let rows = rows.as_slice();
    let mut story = PacketStory { packets: rows.len(), unreadable, ..PacketStory::default() };
    story.verdicts = verdicts(log);
    let Some(first) = rows.first() else { return story };
    let seconds = |ns: u64| Duration::from_nanos(ns.saturating_sub(first.arrival_ns)).as_secs_f64();
    let mut jitter_ms = 0.0;
    for pair in rows.windows(2) {
        let [before, now] = pair else { continue };
        let at = seconds(now.arrival_ns);
        let spacing_ms = (now.arrival_ns as i64).wrapping_sub(before.arrival_ns as i64) as f64 / 1e6;
        story.spacing.push((at, spacing_ms));
        if spacing_ms > story.longest_spacing.0 {
            story.longest_spacing = (spacing_ms, at);
        }
        if now.ssrc == before.ssrc {
            let sent_ms =
                f64::from(now.timestamp.wrapping_sub(before.timestamp) as i32) * 1e3 / f64::from(rate);
            jitter_ms += ((spacing_ms - sent_ms).abs() - jitter_ms) / 16.0;
        }
        story.jitter.push((at, jitter_ms));
    }
    story.duration_s = rows.last().map_or(0.0, |last| seconds(last.arrival_ns));
    if rows.len() > 1 {
        story.mean_spacing_ms = story.duration_s * 1e3 / (rows.len() - 1) as f64;
    }
    losses(rows, &mut story, seconds);
    story
}

fn verdicts(log: &[Row]) -> Vec<(String, usize)> {
    let mut verdicts: Vec<(String, usize)> = Vec::new();
    for row in log {
        match verdicts.iter_mut().find(|(verdict, _)| *verdict == row.verdict) {
            Some((_, count)) => *count += 1,
            None => verdicts.push((row.verdict.clone(), 1)),
        }
    }
    verdicts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    verdicts
}

/// Counts the sequence numbers that never arrived, per stream, and notes when they were passed.
fn losses(rows: &[Row], story: &mut PacketStory, seconds: impl Fn(u64) -> f64) {
    let mut streams: Vec<u32> = Vec::new();
    for row in rows {
        if !streams.contains(&row.ssrc) && streams.len() < 64 {
            streams.push(row.ssrc);
        }
    }
    for ssrc in streams {
        let mut numbers: Vec<(i64, u64)> = Vec::new();
        for row in rows.iter().filter(|row| row.ssrc == ssrc) {
            // Extends the sequence number across wrap-around, relative to the newest one.
            let extended = match numbers.last() {
                Some((last, _)) => last + i64::from(row.seq.wrapping_sub(*last as u16) as i16),
                None => i64::from(row.seq),
            };
            numbers.push((extended, row.arrival_ns));
        }
        numbers.sort_unstable();
        numbers.dedup_by_key(|(number, _)| *number);
        for pair in numbers.windows(2) {
            let missing = pair[1].0 - pair[0].0 - 1;
            if missing > 0 {
                story.lost += missing as usize;
                story.losses.push(seconds(pair[1].1));
            }
        }
    }
    story.losses.sort_by(f64::total_cmp);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(packets: &[(u64, u16)]) -> Vec<Row> {
        packets
            .iter()
            .map(|&(ms, seq)| Row {
                arrival_ns: 1_000_000_000 + ms * 1_000_000,
                seq,
                timestamp: u32::from(seq).wrapping_mul(160),
                ssrc: 1,
                payload_type: 0,
                verdict: "played".into(),
            })
            .collect()
    }

    #[test]
    fn reads_rows_and_counts_those_it_cannot() {
        let (rows, unreadable) = parse(
            "arrival_ns,seq,timestamp,ssrc,payload_type,size,verdict\n\
             1000,7,160,0xdeadbeef,0,172,played\n\
             2000,8,320,99,0,172,late\r\n\
             3000,70000,320,99,0,172,late\n\
             half a row\n",
        );
        assert_eq!(unreadable, 2);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].seq, rows[0].ssrc), (7, 0xdead_beef));
        assert_eq!(rows[1].verdict, "late");
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_no_loss() {
        let story = tell(&log(&[(0, 1), (20, 2), (40, 3), (60, 4)]), 0, 8_000);
        assert_eq!((story.packets, story.lost), (4, 0));
        assert_eq!(story.mean_spacing_ms, 20.0);
        assert_eq!(story.longest_spacing, (20.0, 0.02));
        assert!(story.jitter.iter().all(|(_, jitter)| *jitter < 1e-9));
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        // 16 ms late once: D = 16, then -16; J = 16/16 = 1, then 1 + (16 - 1)/16.
        let story = tell(&log(&[(0, 1), (36, 2), (40, 3)]), 0, 8_000);
        assert!((story.jitter[0].1 - 1.0).abs() < 1e-9);
        assert!((story.jitter[1].1 - 1.9375).abs() < 1e-9);
        assert_eq!(story.longest_spacing.0, 36.0);
    }

    #[test]
    fn losses_are_counted_over_reordering_duplicates_and_wrap_around() {
        let story = tell(
            &log(&[(0, 65_533), (20, 65_535), (21, 65_534), (40, 0), (41, 0), (80, 2), (140, 5)]),
            0,
            8_000,
        );
        assert_eq!(story.lost, 3);
        assert_eq!(story.losses, [0.08, 0.14]);
    }

    #[test]
    fn a_packet_that_the_impairer_lost_is_lost_and_an_injected_one_is_not_counted() {
        let mut rows = log(&[(0, 1), (20, 2), (25, 700), (40, 3)]);
        rows[1].verdict = "impaired-lost".into();
        rows[2].verdict = "injected".into();
        let story = tell(&rows, 0, 8_000);
        assert_eq!((story.packets, story.lost), (2, 1));
        assert_eq!(story.verdicts.len(), 3);
    }

    #[test]
    fn rows_in_another_order_than_their_arrivals_are_sorted() {
        let story = tell(&log(&[(0, 1), (40, 3), (20, 2), (60, 4)]), 0, 8_000);
        assert_eq!(story.longest_spacing.0, 20.0);
        assert!(story.jitter.iter().all(|(_, jitter)| *jitter < 1e-9));
    }

    #[test]
    fn two_streams_in_one_log_are_told_apart() {
        let mut rows = log(&[(0, 1), (5, 700), (20, 2), (25, 701), (40, 3), (45, 703)]);
        rows.iter_mut().filter(|row| row.seq >= 700).for_each(|row| row.ssrc = 2);
        let stories = streams(&rows, 0, 8_000);
        let told: Vec<(usize, usize, f64)> =
            stories.iter().map(|s| (s.packets, s.lost, s.mean_spacing_ms)).collect();
        assert_eq!(told, [(3, 0, 20.0), (3, 1, 20.0)]);
        assert_eq!(streams(&rows[..1], 0, 8_000).len(), 1);
        assert_eq!(streams(&[], 0, 8_000).len(), 1);
    }

    #[test]
    fn a_new_ssrc_is_no_loss() {
        let mut rows = log(&[(0, 1), (20, 2), (40, 9_000), (60, 9_001)]);
        rows[2].ssrc = 2;
        rows[3].ssrc = 2;
        assert_eq!(tell(&rows, 0, 8_000).lost, 0);
    }

    #[test]
    fn an_empty_log_is_told_without_figures() {
        assert_eq!(tell(&[], 0, 8_000), PacketStory::default());
    }
}
