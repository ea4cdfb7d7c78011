//! Media formats and their payload types (RFC 3551 §6, `a=rtpmap`, `a=fmtp`).

/// A media format with its payload type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name: `PCMU`, `telephone-event`, …
    pub encoding: String,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Number of channels; 1 by default.
    pub channels: u8,
    /// Format parameters: the part of `a=fmtp` after the payload type.
    pub fmtp: Option<String>,
}

/// Static audio payload types of RFC 3551 table 4: type, name, clock rate, channels.
const STATIC: [(u8, &str, u32, u8); 17] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (6, "DVI4", 16_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (12, "QCELP", 8_000, 1),
    (13, "CN", 8_000, 1),
    (14, "MPA", 90_000, 1),
    (15, "G728", 8_000, 1),
    (16, "DVI4", 11_025, 1),
    (17, "DVI4", 22_050, 1),
    (18, "G729", 8_000, 1),
];

/// Encodings with one clock rate and one number of channels: whatever else is written beside the name, such as
/// the sampling rate of G.722, means these.
const ONLY: [(&str, u32, u8); 7] = [
    ("G722", 8_000, 1),
    ("opus", 48_000, 2),
    ("G729", 8_000, 1),
    ("G723", 8_000, 1),
    ("G728", 8_000, 1),
    ("GSM", 8_000, 1),
    ("iLBC", 8_000, 1),
];

impl Format {
    /// A format with one channel and no parameters.
    pub fn new(payload_type: u8, encoding: &str, clock_rate: u32) -> Format {
        Format { payload_type, encoding: encoding.to_owned(), clock_rate, channels: 1, fmtp: None }
    }

    /// G.711 µ-law.
    pub fn pcmu() -> Format {
        Format::new(0, "PCMU", 8_000)
    }

    /// G.711 A-law.
    pub fn pcma() -> Format {
        Format::new(8, "PCMA", 8_000)
    }

    /// RFC 4733 events 0 to 15, the DTMF digits, at 8 kHz.
    pub fn telephone_event(payload_type: u8) -> Format {
        Format { fmtp: Some("0-15".to_owned()), ..Format::new(payload_type, "telephone-event", 8_000) }
    }

    /// The format of a static payload type, which needs no rtpmap.
    pub fn from_static(payload_type: u8) -> Option<Format> {
        let &(_, encoding, clock_rate, channels) = STATIC.iter().find(|row| row.0 == payload_type)?;
        Some(Format { channels, ..Format::new(payload_type, encoding, clock_rate) })
    }

    /// Parses an `a=rtpmap` value: `111 opus/48000/2`. Clock rate and channels that can be only one are not
    /// taken from it.
    pub(super) fn from_rtpmap(value: &str) -> Option<Format> {
        let (payload_type, rest) = value.trim().split_once([' ', '\t'])?;
        let payload_type = payload_type.parse().ok().filter(|payload_type| *payload_type < 128)?;
        let mut parts = rest.trim().split('/');
        let encoding = parts.next().filter(|name| !name.is_empty())?;
        let known = Format::from_static(payload_type)
            .filter(|format| format.encoding.eq_ignore_ascii_case(encoding))
            .map(|format| (format.clock_rate, format.channels));
        let only = || ONLY.iter().find(|row| row.0.eq_ignore_ascii_case(encoding)).map(|row| (row.1, row.2));
        let mut written = || {
            let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
            let channels = parts.next().and_then(|channels| channels.parse().ok());
            Some((clock_rate, channels.filter(|channels| *channels > 0).unwrap_or(1)))
        };
        let (clock_rate, channels) = known.or_else(only).or_else(&mut written)?;
        Some(Format { channels, ..Format::new(payload_type, encoding, clock_rate) })
    }

    /// The `a=rtpmap` value; `payload_type`: its own, as text.
    pub(super) fn rtpmap(&self, payload_type: &str) -> String {
        let mono = [payload_type, " ", &self.encoding, "/", &self.clock_rate.to_string()].concat();
        match self.channels {
            1 => mono,
            channels => [mono.as_str(), "/", &channels.to_string()].concat(),
        }
    }

    /// Whether both have the same encoding, whatever their payload types and parameters;
    /// names compare case-insensitively (RFC 8866 §6.6).
    pub fn same_encoding(&self, other: &Format) -> bool {
        // Events have no channels, even if a number is written (RFC 4733 §7.1.1).
        let same_channels = self.channels == other.channels || self.is_telephone_event();
        same_channels && self.is(&other.encoding, other.clock_rate)
    }

    /// Whether the encoding has this name and clock rate.
    pub fn is(&self, encoding: &str, clock_rate: u32) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding) && self.clock_rate == clock_rate
    }

    /// Whether this is RFC 4733 `telephone-event`, at any clock rate.
    pub fn is_telephone_event(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("telephone-event")
    }
}
