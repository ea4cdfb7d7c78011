//! WAV files that are valid at all times.
//!
//! Each write appends samples; after every 200 ms of audio, and when no more comes, the whole
//! header is rewritten with the new sizes. Whenever the process is killed, the header never counts
//! samples that are missing; at worst 200 ms more follow than it counts. (A general WAV writer
//! updates its header in several writes, which may be torn.)

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use oxideav_gsm::{EncoderState, UnpackedFrame};

use crate::codec::OpusTuning;
use crate::disk::DiskError;
use b2b_base::frame::RATE_HZ;
use b2b_base::util::file;

/// Octets of the header of PCM, and the most that a header has.
const HEADER: usize = 44;
const LONGEST_HEADER: usize = 60;
/// Header rewrites per second of audio.
const HEADERS: u32 = 5;
/// Seconds of audio for which disk space is reserved at once.
const RESERVE_S: u32 = 8;
/// Samples and octets of a block of GSM, which is two frames.
const GSM_BLOCK: (usize, usize) = (320, 65);

/// How the samples are coded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// 16-bit samples.
    #[default]
    Pcm,
    /// GSM full rate, a tenth of the size: one channel at 8 kHz. Asterisk calls it `wav49`.
    Gsm,
    /// Opus in Ogg, for recordings: 24 kbit/s, or 32 for each of two channels and at 48 kHz.
    Opus,
}

impl Coding {
    /// All of them.
    pub const ALL: [Coding; 3] = [Coding::Pcm, Coding::Gsm, Coding::Opus];

    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Coding::Pcm | Coding::Gsm => "wav",
            Coding::Opus => "opus",
        }
    }

    /// Whether it is PCM.
    pub fn is_pcm(&self) -> bool {
        *self == Coding::Pcm
    }
}

/// Format of a sound file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavFormat {
    /// Sampling rate of each channel.
    pub rate_hz: u32,
    /// Number of interleaved channels.
    pub channels: u16,
    /// The coding.
    pub coding: Coding,
}

impl WavFormat {
    /// The lab's: mono at 8 kHz.
    pub const MONO: WavFormat = WavFormat::pcm(RATE_HZ, 1);

    /// 16-bit samples.
    pub const fn pcm(rate_hz: u32, channels: u16) -> Self {
        WavFormat { rate_hz, channels, coding: Coding::Pcm }
    }

    /// Octets of a second; of Opus, about.
    pub(crate) fn octets_a_second(self) -> u32 {
        match self.coding {
            Coding::Pcm => self.rate_hz * u32::from(self.channels) * 2,
            Coding::Gsm => self.rate_hz * GSM_BLOCK.1 as u32 / GSM_BLOCK.0 as u32,
            Coding::Opus if self.channels > 1 => 4_000 * u32::from(self.channels),
            Coding::Opus => OpusTuning::bitrate(self.rate_hz) / 8,
        }
    }

    fn header_length(self) -> usize {
        if self.coding == Coding::Gsm { LONGEST_HEADER } else { HEADER }
    }
}

/// Encodes samples in blocks.
struct GsmBlocks {
    encoder: EncoderState,
    /// Samples of the block that is not full.
    pending: Vec<i16>,
}

impl GsmBlocks {
    fn new() -> Self {
        GsmBlocks { encoder: EncoderState::new(), pending: Vec::with_capacity(GSM_BLOCK.0) }
    }

    /// The blocks that are full with these samples.
    fn encode(&mut self, mut samples: &[i16]) -> Vec<u8> {
        let mut blocks = Vec::new();
        while self.pending.len() + samples.len() >= GSM_BLOCK.0 {
            let (these, rest) = samples.split_at(GSM_BLOCK.0 - self.pending.len());
            self.pending.extend_from_slice(these);
            samples = rest;
            if let ([first, second], _) = self.pending.as_chunks::<{ GSM_BLOCK.0 / 2 }>() {
                let frames = (self.encoder.encode_frame(first), self.encoder.encode_frame(second));
                blocks.extend(UnpackedFrame::pair_to_msgsm_block(&frames.0, &frames.1));
            }
            self.pending.clear();
        }
        self.pending.extend_from_slice(samples);
        blocks
    }

    /// The last block, filled with silence.
    fn finish(&mut self) -> Vec<u8> {
        match self.pending.len() {
            0 => Vec::new(),
            there => self.encode(&[0; GSM_BLOCK.0][there..]),
        }
    }
}

impl std::fmt::Debug for GsmBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GsmBlocks").finish_non_exhaustive()
    }
}

/// A growing WAV file that is valid at all times.
#[derive(Debug)]
pub struct WavFile {
    pub(crate) path: PathBuf,
    file: File,
    format: WavFormat,
    gsm: Option<Box<GsmBlocks>>,
    /// Bytes of audio in the file, and the count in its header.
    data_bytes: u32,
    settled_bytes: u32,
    /// Bytes of audio for which disk space is reserved, and whether to reserve more.
    reserved_bytes: u32,
    reserves: bool,
}

impl WavFile {
    /// Creates the file and its directory; an existing file is overwritten.
    pub fn create(path: &Path, format: WavFormat) -> Result<Self, DiskError> {
        let error = |error: io::Error| DiskError::Create { path: path.into(), reason: error.to_string() };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(error)?;
        }
        // Opening a FIFO would wait for a reader, and its header could not be rewritten.
        if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            return Err(error(io::Error::other("a WAV cannot be written to a pipe; name a file")));
        }
        let file = file::begin(path).map_err(error)?;
        file.write_all_at(&header(format, 0)[..format.header_length()], 0).map_err(error)?;
        let gsm = (format.coding == Coding::Gsm).then(|| Box::new(GsmBlocks::new()));
        Ok(WavFile {
            path: path.into(),
            file,
            format,
            gsm,
            data_bytes: 0,
            settled_bytes: 0,
            reserved_bytes: 0,
            reserves: true,
        })
    }

    /// Goes on behind what a killed process has written, which may be more than the header counts. Returns also the
    /// number of samples that are there, of all channels.
    ///
    /// # Errors
    /// It is no file of this format, or cannot be opened.
    pub fn go_on(path: &Path, format: WavFormat) -> Result<(Self, u64), DiskError> {
        let error = |error: io::Error| DiskError::Create { path: path.into(), reason: error.to_string() };
        let file = file::open(path, File::options().read(true).write(true), OFlag::empty()).map_err(error)?;
        let (length, mut found) = (format.header_length(), [0; LONGEST_HEADER]);
        file.read_exact_at(&mut found[..length], 0).map_err(error)?;
        let octets = file.metadata().map_err(error)?.len().saturating_sub(length as u64);
        let (block_samples, block_bytes) = match format.coding {
            Coding::Gsm => GSM_BLOCK,
            Coding::Pcm | Coding::Opus => (usize::from(format.channels), usize::from(format.channels) * 2),
        };
        let blocks = octets / block_bytes as u64;
        let data_bytes = u32::try_from(blocks * block_bytes as u64);
        let data_bytes = data_bytes.ok().filter(|it| *it <= u32::MAX - LONGEST_HEADER as u32);
        let data_bytes = data_bytes.ok_or_else(|| DiskError::Full { path: path.into() })?;
        // What follows the size of the file, and ends before the number of samples in it.
        if found[8..36] != header(format, 0)[8..36] {
            return Err(error(io::Error::other("it is no recording of this format")));
        }
        let gsm = (format.coding == Coding::Gsm).then(|| Box::new(GsmBlocks::new()));
        let (settled_bytes, reserved_bytes, reserves) = (0, data_bytes, true);
        let path = path.into();
        let mut it = WavFile { path, file, format, gsm, data_bytes, settled_bytes, reserved_bytes, reserves };
        it.settle()?;
        Ok((it, blocks * block_samples as u64))
    }

    /// Appends samples.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), DiskError> {
        match &mut self.gsm {
            None => self.append(&little_endian(samples)),
            Some(gsm) => {
                let blocks = gsm.encode(samples);
                self.append(&blocks)
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let added = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let grown = self
            .data_bytes
            .checked_add(added)
            .filter(|&size| size <= u32::MAX - LONGEST_HEADER as u32)
            .ok_or_else(|| DiskError::Full { path: self.path.clone() })?;
        self.reserve(grown);
        let written = self.file.write_all_at(bytes, self.end_of(self.data_bytes));
        written.map_err(|error| self.write_error(&error))?;
        self.data_bytes = grown;
        let unsettled = self.data_bytes - self.settled_bytes;
        if unsettled >= self.format.octets_a_second() / HEADERS { self.settle() } else { Ok(()) }
    }

    /// Reserves disk space beyond the end of the file: a small write then costs the file system
    /// half as much as finding space each time.
    fn reserve(&mut self, bytes: u32) {
        if !self.reserves || bytes <= self.reserved_bytes {
            return;
        }
        let length = self.format.octets_a_second() * RESERVE_S;
        let offset = self.end_of(self.data_bytes) as i64;
        let added = fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, i64::from(length));
        // Not every file system supports this, and a full one has no space: then the writes
        // themselves report it.
        self.reserves = added.is_ok();
        self.reserved_bytes = self.data_bytes.saturating_add(length);
    }

    /// Updates the header to all samples written.
    pub fn settle(&mut self) -> Result<(), DiskError> {
        if self.settled_bytes != self.data_bytes {
            let header = header(self.format, self.data_bytes);
            let written = self.file.write_all_at(&header[..self.format.header_length()], 0);
            written.map_err(|error| self.write_error(&error))?;
            self.settled_bytes = self.data_bytes;
        }
        Ok(())
    }

    /// Where so many bytes of audio end in the file.
    fn end_of(&self, data_bytes: u32) -> u64 {
        self.format.header_length() as u64 + u64::from(data_bytes)
    }

    /// Updates the header, and releases reserved space that is not needed.
    pub fn close(mut self) -> Result<(), DiskError> {
        if let Some(last) = self.gsm.as_mut().map(|gsm| gsm.finish()) {
            self.append(&last)?;
        }
        self.settle()?;
        if self.reserved_bytes > self.data_bytes {
            // If this fails the space stays reserved, which is harmless.
            let _ = self.file.set_len(self.end_of(self.data_bytes));
        }
        Ok(())
    }

    pub(crate) fn write_error(&self, error: &io::Error) -> DiskError {
        DiskError::Write { path: self.path.clone(), reason: error.to_string() }
    }
}

/// The samples as the file has them: no copy is made on a little-endian machine.
fn little_endian(samples: &[i16]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(samples)),
        false => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    }
}

/// The header of a file with this many bytes of data: RIFF, `fmt `, with GSM `fact`, and `data`.
fn header(format: WavFormat, data_bytes: u32) -> [u8; LONGEST_HEADER] {
    let mut header = [0; LONGEST_HEADER];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let is_pcm = format.coding.is_pcm();
    let (block_samples, block_bytes) = GSM_BLOCK;
    put(b"RIFF");
    put(&(data_bytes + format.header_length() as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&if is_pcm { 16u32 } else { 20 }.to_le_bytes());
    put(&if is_pcm { 1u16 } else { 0x31 }.to_le_bytes());
    put(&format.channels.to_le_bytes());
    put(&format.rate_hz.to_le_bytes());
    put(&format.octets_a_second().to_le_bytes());
    // bytes per sample of all channels, or of a block; bits per sample
    put(&if is_pcm { format.channels * 2 } else { block_bytes as u16 }.to_le_bytes());
    put(&if is_pcm { 16u16 } else { 0 }.to_le_bytes());
    if !is_pcm {
        put(&2u16.to_le_bytes()); // octets of what follows
        put(&(block_samples as u16).to_le_bytes());
        put(b"fact");
        put(&4u32.to_le_bytes());
        put(&(data_bytes / block_bytes as u32 * block_samples as u32).to_le_bytes());
    }
    put(b"data");
    put(&data_bytes.to_le_bytes());
    header
}

impl WavFile {
    /// A file on a disk that has become full since the file was created, for tests.
    #[doc(hidden)]
    pub fn on_a_full_disk(path: &Path, format: WavFormat) -> Self {
        let full = File::options().write(true).open("/dev/full").expect("Linux");
        WavFile { file: full, ..Self::create(path, format).expect("created") }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Parses a WAV strictly: the sizes in the header must lie within the file.
    fn read(path: &Path) -> Vec<i16> {
        let bytes = std::fs::read(path).unwrap();
        let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(size(4), size(40) + 36, "RIFF and data disagree");
        assert!(size(40) + HEADER <= bytes.len(), "the header tells of {} bytes", size(40));
        let mut reader = hound::WavReader::open(path).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 8_000, 16));
        reader.samples::<i16>().map(|sample| sample.unwrap()).collect()
    }

    #[test]
    fn the_file_is_valid_after_every_write_and_at_most_200_ms_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder/call.wav");
        let mut file = WavFile::create(&path, WavFormat::MONO).unwrap();
        assert!(read(&path).is_empty());
        for n in 1..=10 {
            file.write(&[n; 160]).unwrap();
            assert!(read(&path).len() + 1_600 > 160 * n as usize);
        }
        assert_eq!(read(&path).len(), 1_600);
        file.write(&[11; 160]).unwrap();
        file.settle().unwrap();
        let samples = read(&path);
        assert_eq!((samples.len(), samples[160], samples[1_759]), (1_760, 2, 11));
    }

    #[test]
    fn a_file_of_gsm_is_valid_after_every_write_and_has_all_samples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let format = WavFormat { coding: Coding::Gsm, ..WavFormat::MONO };
        let mut file = WavFile::create(&path, format).unwrap();
        let mut tone = crate::tone::Oscillator::new(440.0, 8_000);
        let decoded = || {
            let mut decoder = crate::file::Decoder::open(&path).unwrap();
            let mut samples = Vec::new();
            while decoder.advance().unwrap() {
                samples.extend_from_slice(decoder.samples());
            }
            samples
        };
        for n in 1..=50 {
            let frame: Vec<i16> = (0..170).map(|_| (8_000.0 * tone.next_sample()) as i16).collect();
            file.write(&frame).unwrap();
            file.settle().unwrap();
            if n >= 2 {
                assert_eq!(decoded().len(), n * 170 / 320 * 320);
            }
        }
        file.close().unwrap();
        let samples = decoded();
        assert_eq!(samples.len(), (50 * 170_usize).div_ceil(320) * 320, "the last block is filled up");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 60 + samples.len() as u64 / 320 * 65);
        let loudest = samples[800..8_000].iter().fold(0.0, |most: f32, sample| most.max(sample.abs()));
        assert!((0.2..0.35).contains(&loudest), "{loudest}");
    }

    #[test]
    fn four_gib_are_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WavFile::create(&dir.path().join("call.wav"), WavFormat::MONO).unwrap();
        file.data_bytes = u32::MAX - LONGEST_HEADER as u32 - 100;
        file.settled_bytes = file.data_bytes;
        assert!(matches!(file.write(&[0; 160]), Err(DiskError::Full { .. })));
    }

    /// The child process of the test below: writes endlessly.
    #[test]
    #[ignore = "run as a child by the_file_is_valid_after_sigkill"]
    fn child_writes_until_killed() {
        let Some(path) = std::env::var_os("B2B_TEST_WAV") else { return };
        let mut file = WavFile::create(Path::new(&path), WavFormat::MONO).unwrap();
        loop {
            file.write(&[1_234; 160]).unwrap();
        }
    }

    #[test]
    fn the_file_is_valid_after_sigkill() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let path = dir.path().join(format!("{round}.wav"));
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "wav_file::tests::child_writes_until_killed"])
                .env("B2B_TEST_WAV", &path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let start = Instant::now();
            while std::fs::metadata(&path).map_or(0, |data| data.len()) < 20_000 {
                assert!(start.elapsed() < Duration::from_secs(60), "the child does not write");
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let samples = read(&path);
            assert!(samples.len() > 8_000 && samples.iter().all(|&sample| sample == 1_234));
        }
    }
}
