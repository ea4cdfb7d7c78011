//! Growing files of Opus in Ogg (RFC 7845). What is settled are whole pages: whenever the process is killed, the file
//! plays.

use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};
use rusty_opus::{Application, OpusEncoder};

use crate::disk::DiskError;
use crate::wav_file::WavFormat;
use b2b_base::util::file;

/// Frames a second.
const FRAMES: u32 = 50;
/// The clock of positions, Hz, whatever the sampling rate.
const CLOCK_HZ: u64 = 48_000;
/// The one stream of a file.
const SERIAL: u32 = 1;
/// Room for a packet of 20 ms.
const LONGEST_PACKET: usize = 1_275;
/// Complexity of the encoder, 0 to 10; for its cost see designs/0008-relay.md.
const COMPLEXITY: i32 = 2;

/// A growing file.
pub(super) struct OpusFile {
    path: PathBuf,
    pages: PacketWriter<'static, File>,
    encoder: Box<OpusEncoder>,
    channels: usize,
    rate_hz: u32,
    /// What the encoder is behind, at the clock of positions: a player leaves it out.
    pre_skip: u16,
    /// Samples of all channels that are no frame yet.
    pending: Vec<f32>,
    /// The last packet: whether a page ends with it is known later.
    packet: Option<Vec<u8>>,
    /// Samples of one channel that were given.
    given: u64,
    /// Frames that were encoded.
    frames: u64,
}

impl OpusFile {
    /// Creates the file and its directory.
    pub fn create(path: &Path, format: WavFormat) -> Result<Self, DiskError> {
        let failed = |reason: String| DiskError::Create { path: path.into(), reason };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(error.to_string()))?;
        }
        let (rate_hz, channels) = (format.rate_hz, usize::from(format.channels));
        // Of two channels the crate's coding of speech mixes one into the other; the other coding has less delay.
        let (application, pre_skip) = match channels {
            1 => (Application::Voip, 312),
            _ => (Application::RestrictedLowDelay, 120),
        };
        let encoder = OpusEncoder::new(rate_hz as i32, channels, application);
        let mut encoder = Box::new(encoder.map_err(|error| failed(format!("{error:?}")))?);
        encoder.complexity = COMPLEXITY;
        encoder.bitrate_bps = (format.octets_a_second() * 8) as i32;
        let file = file::begin(path).map_err(|error| failed(error.to_string()))?;
        let mut pages = PacketWriter::new(file);
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels as u8);
        head.extend(u16::to_le_bytes(pre_skip));
        head.extend(rate_hz.to_le_bytes());
        head.extend([0; 3]); // no gain, no mapping of channels
        let tags = b"OpusTags\x03\0\0\0b2b\0\0\0\0".to_vec();
        for header in [head, tags] {
            let written = pages.write_packet(header, SERIAL, PacketWriteEndInfo::EndPage, 0);
            written.map_err(|error| failed(error.to_string()))?;
        }
        let (path, pending, packet) = (path.into(), Vec::new(), None);
        Ok(OpusFile {
            path,
            pages,
            encoder,
            channels,
            rate_hz,
            pre_skip,
            pending,
            packet,
            given: 0,
            frames: 0,
        })
    }

    /// Appends samples of all channels.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), DiskError> {
        self.given += (samples.len() / self.channels) as u64;
        self.pending.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
        let frame = (self.rate_hz / FRAMES) as usize;
        let whole = frame * self.channels;
        let mut at = 0;
        while self.pending.len() - at >= whole {
            let mut packet = vec![0; LONGEST_PACKET];
            let (encoder, samples) = (&mut self.encoder, &self.pending[at..at + whole]);
            let encoded = catch_unwind(AssertUnwindSafe(|| encoder.encode(samples, frame, &mut packet)));
            let length =
                encoded.ok().and_then(Result::ok).ok_or_else(|| self.failed("the encoder failed"))?;
            packet.truncate(length);
            self.end(PacketWriteEndInfo::NormalPacket)?;
            (self.packet, self.frames) = (Some(packet), self.frames + 1);
            at += whole;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Ends the page, so that all that is encoded is in the file.
    pub fn settle(&mut self) -> Result<(), DiskError> {
        self.end(PacketWriteEndInfo::EndPage)
    }

    /// Ends the stream where the samples end.
    pub fn close(mut self) -> Result<(), DiskError> {
        let (given, frame) = (self.given, u64::from(self.rate_hz / FRAMES));
        let behind = u64::from(self.pre_skip) * u64::from(self.rate_hz) / CLOCK_HZ;
        // Pushes out what the encoder holds back, by one packet at least.
        let silence = (given + behind).next_multiple_of(frame) - given;
        self.settle()?;
        self.write(&vec![0; silence as usize * self.channels])?;
        self.given = given;
        self.end(PacketWriteEndInfo::EndStream)
    }

    /// Writes the last packet.
    fn end(&mut self, how: PacketWriteEndInfo) -> Result<(), DiskError> {
        let Some(packet) = self.packet.take() else { return Ok(()) };
        let encoded = self.frames * CLOCK_HZ / u64::from(FRAMES);
        let position = match how {
            PacketWriteEndInfo::EndStream => {
                u64::from(self.pre_skip) + self.given * CLOCK_HZ / u64::from(self.rate_hz)
            }
            _ => encoded,
        };
        let written = self.pages.write_packet(packet, SERIAL, how, position);
        written.map_err(|error| self.failed(&error.to_string()))
    }

    fn failed(&self, reason: &str) -> DiskError {
        DiskError::Write { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// How long the audio of such a file is, also of one that was cut off; zero if it cannot be read. Its size does not
/// tell: silence takes a few octets.
pub fn opus_lasts(path: &Path) -> Duration {
    let Ok(file) = File::open(path) else { return Duration::ZERO };
    let mut packets = PacketReader::new(BufReader::new(file));
    let whole = std::iter::from_fn(|| packets.read_packet().ok().flatten());
    let frames = whole.filter(|packet| !packet.data.starts_with(b"Opus")).count() as u32;
    Duration::from_secs(1) * frames / FRAMES
}

impl std::fmt::Debug for OpusFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Decoder;
    use crate::wav_file::Coding;

    fn decoded(path: &Path) -> Vec<f32> {
        let mut decoder = Decoder::open(path).unwrap();
        let mut samples = Vec::new();
        while decoder.advance().unwrap() {
            samples.extend_from_slice(decoder.samples());
        }
        samples
    }

    #[test]
    fn a_file_plays_whenever_it_is_killed_and_has_all_samples_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        for (rate_hz, channels) in [(8_000, 1), (8_000, 2), (16_000, 1), (48_000, 2)] {
            let path = dir.path().join(format!("{rate_hz}/{channels}.opus"));
            let format = WavFormat { coding: Coding::Opus, ..WavFormat::pcm(rate_hz, channels) };
            let mut file = OpusFile::create(&path, format).unwrap();
            let (piece, rate) = (rate_hz as usize / 45, f64::from(rate_hz));
            let mut tone = crate::tone::Oscillator::new(440.0, rate_hz);
            for n in 1..=100 {
                let samples = (0..piece).map(|_| (8_000.0 * tone.next_sample()) as i16);
                // The second channel is silent.
                let of_all = samples.flat_map(|sample| [sample, 0].into_iter().take(channels.into()));
                file.write(&of_all.collect::<Vec<_>>()).unwrap();
                file.settle().unwrap();
                if n % 25 == 0 {
                    let (there, given) = (decoded(&path).len() as f64 / 48_000.0, (n * piece) as f64 / rate);
                    assert!((given - 0.03..=given).contains(&there), "{there} s of {given} s");
                }
            }
            file.close().unwrap();
            let samples = decoded(&path);
            assert_eq!(samples.len() as u64, (100 * piece) as u64 * 48_000 / u64::from(rate_hz));
            let middle = &samples[samples.len() / 4..samples.len() / 2];
            let loudest = middle.iter().fold(0.0, |most: f32, sample| most.max(sample.abs()));
            let expected = 8_000.0 / 32_768.0 / f32::from(channels);
            assert!((loudest / expected - 1.0).abs() < 0.25, "{rate_hz} Hz, {channels} channels: {loudest}");
        }
    }

    #[test]
    fn a_file_of_silence_that_was_cut_off_says_how_long_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.opus");
        let format = WavFormat { coding: Coding::Opus, ..WavFormat::MONO };
        let mut file = OpusFile::create(&path, format).unwrap();
        file.write(&[0; 12_000]).unwrap();
        file.settle().unwrap();
        drop(file);
        assert_eq!(opus_lasts(&path), Duration::from_millis(1_500));
        let octets = std::fs::read(&path).unwrap();
        assert!(octets.len() < 3_000, "{} octets", octets.len());
        std::fs::write(&path, &octets[..octets.len() - 1]).unwrap();
        assert!(opus_lasts(&path) < Duration::from_millis(1_500));
        assert_eq!(opus_lasts(&dir.path().join("none.opus")), Duration::ZERO);
    }

    #[test]
    fn two_channels_are_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.opus");
        let format = WavFormat { coding: Coding::Opus, ..WavFormat::pcm(8_000, 2) };
        let mut file = OpusFile::create(&path, format).unwrap();
        let mut tone = crate::tone::Oscillator::new(600.0, 8_000);
        let left = (0..16_000).flat_map(|_| [(8_000.0 * tone.next_sample()) as i16, 0]);
        file.write(&left.collect::<Vec<_>>()).unwrap();
        file.close().unwrap();
        let mut packets = PacketReader::new(File::open(&path).unwrap());
        let mut decoder = rusty_opus::OpusDecoder::new(48_000, 2).unwrap();
        let (mut pcm, mut most) = (vec![0.0; 2 * 960], [0.0_f32; 2]);
        while let Some(packet) = packets.read_packet().unwrap() {
            if !packet.data.starts_with(b"Opus") {
                decoder.decode(&packet.data, 960, &mut pcm).unwrap();
                pcm.iter().enumerate().for_each(|(n, sample)| most[n % 2] = most[n % 2].max(sample.abs()));
            }
        }
        assert!(most[0] > 0.2 && most[1] < 0.01, "{most:?}");
    }
}
