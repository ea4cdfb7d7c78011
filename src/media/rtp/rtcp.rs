//! RTCP (RFC 3550 §6): compound packets of SR or RR, SDES with a CNAME, the delay of the jitter buffer (RFC 3611 §4.7),
//! and BYE.

/// Packet types.
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const XR: u8 = 207;
/// The block type of VoIP metrics, and its octets after SSRC, block header and SSRC.
const VOIP_METRICS: u8 = 7;
const METRICS: usize = 28;
/// Where in them the nominal delay of the jitter buffer is.
const JB_NOMINAL: usize = 22;
/// SDES item.
const CNAME: u8 = 1;

/// Octets of the longest compound packet that [`Report::write`] writes.
pub const MAX_LEN: usize = 28 + 24 + 8 + 2 + MAX_CNAME + 4 + 16 + METRICS + 8;
/// Octets of the longest canonical name.
pub const MAX_CNAME: usize = 64;

/// Why bytes are not RTCP (RFC 3550 A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Fewer than the eight octets of header and SSRC.
    #[error("shorter than an RTCP header")]
    Short,
    /// A version other than 2.
    #[error("version is not 2")]
    Version,
    /// The first packet's type is none of RTCP (RFC 5761 §4).
    #[error("does not begin with an RTCP packet")]
    First,
    /// The length of a packet exceeds the datagram.
    #[error("a length goes beyond the datagram")]
    Length,
}

/// The sender information of a sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP timestamp.
    pub ntp: u64,
    /// The same time on the RTP clock.
    pub rtp: u32,
    /// RTP packets sent since the start.
    pub packets: u32,
    /// Payload octets sent since the start.
    pub octets: u32,
}

/// A report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// SSRC of the stream reported on.
    pub ssrc: u32,
    /// Fraction lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Cumulative number of packets lost: 24 bits, signed.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with 16 bits of cycles above.
    pub highest_sequence: u32,
    /// Interarrival jitter, in timestamp units (RFC 3550 §6.4.1).
    pub jitter: u32,
    /// Last SR: middle 32 bits of its NTP timestamp.
    pub lsr: u32,
    /// Delay since the last SR, in units of 1/65536 s.
    pub dlsr: u32,
}

/// What we say of how the far end's stream is played (RFC 3611 §4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoipMetrics {
    /// Packets lost since the start, in 256ths.
    pub loss_rate: u8,
    /// The delay of the jitter buffer, ms.
    pub buffer_ms: u16,
}

/// A report to send: SR if there is a `sender`, otherwise RR; always SDES; BYE at the end.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Our SSRC.
    pub ssrc: u32,
    /// `None` if nothing was sent since the previous report.
    pub sender: Option<SenderInfo>,
    /// `None` if nothing was received to report on.
    pub block: Option<ReportBlock>,
    /// Reported with a `block` only.
    pub metrics: Option<VoipMetrics>,
    /// Canonical name; longer ones are truncated to [`MAX_CNAME`] octets.
    pub cname: &'a [u8],
    /// Whether we leave the session (RFC 3550 §6.6).
    pub bye: bool,
}

/// The contents of a received compound packet, as far as two parties need them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// SSRC of the sender.
    pub ssrc: u32,
    /// The sender information, if it is a sender report.
    pub sender: Option<SenderInfo>,
    /// The report block about our SSRC.
    pub block: Option<ReportBlock>,
    /// The delay of the far end's jitter buffer for our SSRC, ms.
    pub buffer_ms: Option<u16>,
    /// Whether the far end leaves the session (RFC 3550 §6.6).
    pub bye: bool,
}

impl Report<'_> {
    /// Writes the compound packet to the front of `buffer`; returns its length.
    pub fn write(&self, buffer: &mut [u8; MAX_LEN]) -> usize {
        let mut out = Writer { buffer, len: 0 };
        let blocks = u8::from(self.block.is_some());
        let start = out.begin(if self.sender.is_some() { SR } else { RR }, blocks);
        out.put(&self.ssrc.to_be_bytes());
        if let Some(info) = self.sender {
            out.put(&info.ntp.to_be_bytes());
            out.put(&info.rtp.to_be_bytes());
            out.put(&info.packets.to_be_bytes());
            out.put(&info.octets.to_be_bytes());
        }
        if let Some(block) = self.block {
            out.put(&block.ssrc.to_be_bytes());
            let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
            out.put(&((u32::from(block.fraction_lost) << 24) | lost).to_be_bytes());
            out.put(&block.highest_sequence.to_be_bytes());
            out.put(&block.jitter.to_be_bytes());
            out.put(&block.lsr.to_be_bytes());
            out.put(&block.dlsr.to_be_bytes());
        }
        out.end(start);

        let start = out.begin(SDES, 1);
        out.put(&self.ssrc.to_be_bytes());
        let cname = &self.cname[..self.cname.len().min(MAX_CNAME)];
        out.put(&[CNAME, cname.len() as u8]);
        out.put(cname);
        out.put(&[0]); // the end of the items, then to the next word
        while !out.len.is_multiple_of(4) {
            out.put(&[0]);
        }
        out.end(start);

        if let (Some(block), Some(metrics)) = (self.block, self.metrics) {
            let start = out.begin(XR, 0);
            out.put(&self.ssrc.to_be_bytes());
            out.put(&[VOIP_METRICS, 0, 0, 8]);
            out.put(&block.ssrc.to_be_bytes());
            let [high, low] = metrics.buffer_ms.to_be_bytes();
            let mut octets = [0; METRICS];
            octets[0] = metrics.loss_rate;
            // 127: signal, noise and echo levels, and the ratings, are not known (§4.7.4, §4.7.5).
            octets[12..15].fill(127);
            octets[16..20].fill(127);
            // Gmin as recommended (§4.7.2); the buffer adapts itself (§4.7.6).
            (octets[15], octets[20]) = (16, 0b0011_0000);
            // Nominal, current and absolute maximum.
            octets[JB_NOMINAL..].copy_from_slice(&[high, low, high, low, 0xFF, 0xFF]);
            out.put(&octets);
            out.end(start);
        }

        if self.bye {
            let start = out.begin(BYE, 1);
            out.put(&self.ssrc.to_be_bytes());
            out.end(start);
        }
        out.len
    }
}

struct Writer<'a> {
    buffer: &'a mut [u8; MAX_LEN],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn begin(&mut self, packet_type: u8, count: u8) -> usize {
        let start = self.len;
        self.put(&[0x80 | count, packet_type, 0, 0]);
        start
    }

    fn end(&mut self, start: usize) {
        let words = ((self.len - start) / 4 - 1) as u16;
        self.buffer[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

/// Parses a compound packet, or a part of one (RFC 5506: some senders leave the report out, and it is all that shows that
/// they are there); `ours` is the SSRC whose report block is wanted. Unknown packet types are skipped, as §6.1 requires.
pub fn parse(datagram: &[u8], ours: u32) -> Result<Received, RtcpError> {
    let mut received = Received::default();
    let mut rest = datagram;
    let mut first = true;
    while !rest.is_empty() {
        let &[flags, packet_type, l0, l1] = rest.first_chunk::<4>().ok_or(RtcpError::Short)?;
        if flags >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1])) * 4 + 4;
        let (packet, after) = rest.split_at_checked(len).ok_or(RtcpError::Length)?;
        let body = &packet[4..];
        let count = usize::from(flags & 0x1F);
        if first {
            if !(192..=223).contains(&packet_type) {
                return Err(RtcpError::First);
            }
            received.ssrc = word(body, 0).ok_or(RtcpError::Short)?;
        }
        match packet_type {
            SR | RR => {
                let mut blocks = body.get(4..).unwrap_or_default();
                if packet_type == SR {
                    let (info, after) = blocks.split_at_checked(20).ok_or(RtcpError::Length)?;
                    received.sender = sender_info(info);
                    blocks = after;
                }
                for block in blocks.chunks_exact(24).take(count) {
                    received.block =
                        report_block(block).filter(|block| block.ssrc == ours).or(received.block);
                }
            }
            BYE => received.bye = true,
            XR => received.buffer_ms = buffer_ms(body, ours).or(received.buffer_ms),
            _ => {}
        }
        first = false;
        rest = after;
    }
    if first { Err(RtcpError::Short) } else { Ok(received) }
}

/// The nominal delay of the jitter buffer for our SSRC, of an extended report; 0 is none.
fn buffer_ms(body: &[u8], ours: u32) -> Option<u16> {
    let mut blocks = body.get(4..)?;
    while let Some(&[kind, _, high, low]) = blocks.first_chunk::<4>() {
        let (block, after) =
            blocks[4..].split_at_checked(usize::from(u16::from_be_bytes([high, low])) * 4)?;
        if kind == VOIP_METRICS && word(block, 0) == Some(ours) {
            let nominal = block.get(4 + JB_NOMINAL..)?.first_chunk::<2>()?;
            return Some(u16::from_be_bytes(*nominal)).filter(|ms| *ms != 0);
        }
        blocks = after;
    }
    None
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    bytes.get(index * 4..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

fn sender_info(bytes: &[u8]) -> Option<SenderInfo> {
    Some(SenderInfo {
        ntp: (u64::from(word(bytes, 0)?) << 32) | u64::from(word(bytes, 1)?),
        rtp: word(bytes, 2)?,
        packets: word(bytes, 3)?,
        octets: word(bytes, 4)?,
    })
}

fn report_block(bytes: &[u8]) -> Option<ReportBlock> {
    let loss = word(bytes, 1)?;
    Some(ReportBlock {
        ssrc: word(bytes, 0)?,
        fraction_lost: (loss >> 24) as u8,
        cumulative_lost: ((loss << 8) as i32) >> 8,
        highest_sequence: word(bytes, 2)?,
        jitter: word(bytes, 3)?,
        lsr: word(bytes, 4)?,
        dlsr: word(bytes, 5)?,
    })
}

/// The round-trip time, ms, from a report block about our stream that arrived at `arrival` (middle
/// 32 bits of the NTP time); `None` if the far end has had no SR of ours yet or its values are
/// implausible.
pub fn round_trip_ms(block: &ReportBlock, arrival: u32) -> Option<f64> {
    if block.lsr == 0 {
        return None;
    }
    let ticks = arrival.wrapping_sub(block.lsr).wrapping_sub(block.dlsr) as i32;
    // Rounding to 1/65536 s may give a value just below zero.
    (-66..65_536 * 60).contains(&ticks).then(|| f64::from(ticks.max(0)) * 1_000.0 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 7,
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 0x1_0005,
        jitter: 44,
        lsr: 0xB705_2000,
        dlsr: 0x0005_4000,
    };

    #[test]
    fn reads_what_it_writes() {
        let info = SenderInfo { ntp: 0xB44D_B705_2000_0000, rtp: 99, packets: 5, octets: 800 };
        for sender in [None, Some(info)] {
            for block in [None, Some(BLOCK)] {
                for (cname, bye) in [(&b"a"[..], false), (b"ab", true), (b"abc", false), (&[b'x'; 200], true)]
                {
                    for metrics in [None, Some(VoipMetrics { loss_rate: 3, buffer_ms: 61 })] {
                        let mut buffer = [0; MAX_LEN];
                        let len = Report { ssrc: 9, sender, block, metrics, cname, bye }.write(&mut buffer);
                        assert!(len.is_multiple_of(4));
                        let buffer_ms = block.and(metrics).map(|metrics| metrics.buffer_ms);
                        let received = Received { ssrc: 9, sender, block, buffer_ms, bye };
                        assert_eq!(parse(&buffer[..len], 7), Ok(received));
                        let of_another = parse(&buffer[..len], 8).unwrap();
                        assert_eq!((of_another.block, of_another.buffer_ms), (None, None));
                    }
                }
            }
        }
    }

    /// The example of RFC 3550 §6.4.1, figure 2: 6.125 s.
    #[test]
    fn round_trip_of_the_rfc_example() {
        assert_eq!(round_trip_ms(&BLOCK, 0xB710_8000), Some(6_125.0));
        assert_eq!(round_trip_ms(&ReportBlock { lsr: 0, ..BLOCK }, 0xB710_8000), None);
        assert_eq!(round_trip_ms(&BLOCK, 0xB705_2000), None, "before it was sent");
    }

    /// The layout of RFC 3611 §4.7, after a block of another type.
    #[test]
    fn the_delay_of_a_jitter_buffer_is_found_among_other_blocks() {
        let report = [0x8000_0001 | u32::from(RR) << 16, 9];
        let other = [0x8000_000C | u32::from(XR) << 16, 9, 0x0400_0001, 0x0102_0304];
        let metrics = [u32::from(VOIP_METRICS) << 24 | 8, 7, 0, 0, 0, 0, 0, 80, 120 << 16 | 256];
        let words = report.iter().chain(&other).chain(&metrics);
        let mut datagram: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(parse(&datagram, 7).unwrap().buffer_ms, Some(80));
        assert_eq!(parse(&datagram, 8).unwrap().buffer_ms, None, "of another stream");
        datagram[18] = 99;
        assert_eq!(parse(&datagram, 7).unwrap().buffer_ms, None, "a length beyond the packet");
    }

    #[test]
    fn refuses_what_is_not_compound_rtcp() {
        assert_eq!(parse(&[], 0), Err(RtcpError::Short));
        assert_eq!(parse(&[0x80, SR, 0], 0), Err(RtcpError::Short));
        assert_eq!(parse(&[0x80, SDES, 0, 0], 0), Err(RtcpError::Short));
        assert_eq!(parse(&[0x80, 96, 0, 1, 0, 0, 0, 0], 0), Err(RtcpError::First));
        let alone = parse(&[0x81, SDES, 0, 2, 0, 0, 0, 9, 1, 1, b'x', 0], 0);
        assert_eq!(alone.map(|it| (it.ssrc, it.sender)), Ok((9, None)), "a part by itself");
        assert_eq!(parse(&[0x40, RR, 0, 1, 0, 0, 0, 0], 0), Err(RtcpError::Version));
        assert_eq!(parse(&[0x80, RR, 0, 2, 0, 0, 0, 0], 0), Err(RtcpError::Length));
        assert_eq!(parse(&[0x80, SR, 0, 1, 0, 0, 0, 0], 0), Err(RtcpError::Length));
        assert!(parse(&[0x9F, RR, 0, 1, 0, 0, 0, 9], 0).is_ok(), "fewer blocks than counted");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut datagram in proptest::collection::vec(any::<u8>(), 0..120), kind in 198u8..209) {
            if datagram.len() > 3 {
                datagram[0] |= 0x80;
                datagram[0] &= 0xBF;
                datagram[1] = kind;
                datagram[2] = 0;
            }
            if let Ok(Received { block: Some(block), .. }) = parse(&datagram, 0) {
                let _ = round_trip_ms(&block, 1);
            }
        }
    }
}
