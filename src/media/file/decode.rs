//! Decodes a file to mono samples at its own rate.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::FORMAT_ID_MP3;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::FileError;
use super::blocks::BlockReader;
use super::header::{headerless, layout};
use super::packets::{Format, PacketDecoder};
use super::sniff::{SNIFF_LENGTH, format_name};
use super::tail::Tail;

/// Maximum consecutive failed packets: before the first that decodes, and later.
const FAILURES_AT_START: u32 = 16;
const FAILURES_IN_A_ROW: u32 = 1_000;
/// Limits of a missing part of a file that is replaced by silence: 20 ms and 10 s.
const SHORTEST_GAP_PER_S: i64 = 50;
const LONGEST_GAP_S: i64 = 10;

/// Reads one file from start to end. Encoder delay and padding are removed if the file states them.
pub struct Decoder {
    pub(super) path: PathBuf,
    file: File,
    format_name: &'static str,
    reader: Box<dyn FormatReader>,
    tail: Tail,
    decoder: PacketDecoder,
    track: u32,
    rate_hz: u32,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    /// The samples in `mono` were decoded but not returned yet.
    held: bool,
    failures_in_a_row: u32,
    corrupt: u64,
    /// Whether the track counts time in samples, and the time of the next packet.
    counts_samples: bool,
    due: Option<i64>,
}

impl Decoder {
    /// Opens a file and decodes its first packet.
    ///
    /// # Errors
    /// The file cannot be read, its format is not supported, or nothing in it decodes.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let open_error = |error| FileError::Open { path: path.to_path_buf(), error };
        // Checked before opening: opening a FIFO would wait for a writer.
        if !std::fs::metadata(path).map_err(open_error)?.is_file() {
            return Err(open_error(std::io::Error::other("not a regular file")));
        }
        let file = File::open(path).map_err(open_error)?;
        if file.metadata().map_err(open_error)?.len() == 0 {
            return Err(open_error(std::io::Error::other("it is an empty file")));
        }
        Self::from_file(path, file)
    }

    /// Opens the same file again, from its start.
    pub fn reopen(&self) -> Result<Self, FileError> {
        let file =
            self.file.try_clone().map_err(|error| FileError::Open { path: self.path.clone(), error })?;
        Self::from_file(&self.path, file)
    }

    fn from_file(path: &Path, mut file: File) -> Result<Self, FileError> {
        let open_error = |error| FileError::Open { path: path.to_path_buf(), error };
        let (head, mut source) = (|| {
            file.rewind()?;
            let mut head = Vec::with_capacity(SNIFF_LENGTH);
            file.by_ref().take(SNIFF_LENGTH as u64).read_to_end(&mut head)?;
            Ok((head, file.try_clone()?))
        })()
        .map_err(open_error)?;

        let format_name = match headerless(path, &head) {
            Some(_) => "audio without a header",
            None => format_name(&head),
        };
        let unsupported = |reason: String| FileError::Unsupported {
            path: path.to_path_buf(),
            format: format_name.to_string(),
            reason,
        };
        let layout = layout(&mut source, path, &head).map_err(unsupported)?;
        source.rewind().map_err(open_error)?;
        let reader: Box<dyn FormatReader> = if let Some(layout) = layout {
            let stream = MediaSourceStream::new(Box::new(source), Default::default());
            Box::new(BlockReader::new(stream, layout).map_err(open_error)?)
        } else {
            let mut hint = Hint::new();
            if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
                hint.with_extension(extension);
            }
            // Of a file that it can search, the reader of MP3 guesses the length by its first frames, and ends there.
            let source: Box<dyn MediaSource> = match head.starts_with(b"OggS") {
                true => Box::new(source),
                false => Box::new(ReadOnlySource::new(source)),
            };
            let stream = MediaSourceStream::new(source, Default::default());
            symphonia::default::get_probe()
                .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
                .map_err(|error| unsupported(error.to_string()))?
        };
        let (track, decoder) = Self::track_decoder(reader.as_ref()).map_err(unsupported)?;
        let mut decoder = Decoder {
            path: path.to_path_buf(),
            file,
            format_name,
            reader,
            tail: Tail::default(),
            decoder,
            track,
            rate_hz: 0,
            interleaved: Vec::new(),
            mono: Vec::new(),
            held: false,
            failures_in_a_row: 0,
            corrupt: 0,
            counts_samples: false,
            due: None,
        };
        decoder.held = decoder.decode()?;
        if !decoder.held {
            return Err(FileError::Empty { path: decoder.path, format: format_name.to_string() });
        }
        Ok(decoder)
    }

    fn track_decoder(reader: &dyn FormatReader) -> Result<(u32, PacketDecoder), String> {
        let track = reader.default_track(TrackType::Audio).ok_or("no audio track that we know")?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let decoder = PacketDecoder::new(parameters.ok_or("no codec is named")?);
        Ok((track.id, decoder.map_err(|error| error.to_string())?))
    }

    /// The name of the file's format.
    pub fn format_name(&self) -> &'static str {
        self.format_name
    }

    /// The rate of [`Decoder::samples`], Hz. It may change within a file, since files can be
    /// chained.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Packets that could not be decoded; they are replaced by silence.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Advances to the next samples, at least one; returns `false` at the end.
    ///
    /// # Errors
    /// The file cannot be read further. A packet that is merely corrupt is counted and replaced by
    /// silence.
    pub fn advance(&mut self) -> Result<bool, FileError> {
        if std::mem::take(&mut self.held) { Ok(true) } else { self.decode() }
    }

    /// The samples to which [`Decoder::advance`] advanced: the average of all channels, full scale ±1.
    pub fn samples(&self) -> &[f32] {
        &self.mono
    }

    /// Decodes the next packet with samples into `mono`; returns `false` at the end.
    fn decode(&mut self) -> Result<bool, FileError> {
        loop {
            let packet = match self.tail.next_packet(self.reader.as_mut()) {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(false),
                // A truncated file ends where it is cut.
                Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(false);
                }
                Err(Error::IoError(error)) => {
                    return Err(FileError::Open { path: self.path.clone(), error });
                }
                // The next file of a chain (Ogg).
                Err(Error::ResetRequired) => {
                    let (track, decoder) = Self::track_decoder(self.reader.as_ref())
                        .map_err(|reason| self.unreadable(reason))?;
                    (self.track, self.decoder, self.due) = (track, decoder, None);
                    continue;
                }
                Err(error) => {
                    self.failed(&error)?;
                    continue;
                }
            };
            // Before the first decoded packet there is no timeline to keep.
            let missing = if self.rate_hz > 0 { self.missing_before(&packet) } else { 0 };
            self.mono.clear();
            self.mono.resize(missing, 0.0);
            self.due = Some(packet.pts.get().saturating_add_unsigned(packet.dur.get()));
            let decoded = self.decoder.decode(&packet, &mut self.interleaved);
            match decoded.or_else(|error| self.decode_as_another(&packet).ok_or(error)) {
                Ok(Format { rate_hz, channels }) => {
                    if self.rate_hz != rate_hz {
                        (self.rate_hz, self.counts_samples) = (rate_hz, self.track_counts_samples(rate_hz));
                        self.mono.clear();
                    }
                    self.failures_in_a_row = 0;
                    self.downmix(channels);
                }
                Err(error) => {
                    self.failed(&error)?;
                    if self.counts_samples {
                        let frames = packet.dur.get().min(u64::from(self.rate_hz)) as usize;
                        self.mono.resize(missing + frames, 0.0);
                    }
                }
            }
            if !self.mono.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Samples missing before this packet because the reader skipped a part of the file. A gap is
    /// counted as corrupt.
    fn missing_before(&mut self, packet: &Packet) -> usize {
        let gap = self.due.map_or(0, |due| packet.pts.get().saturating_sub(due));
        // A smaller gap is a reader's rounding (Vorbis' first blocks), a larger one another timeline.
        let rate = i64::from(self.rate_hz);
        if !self.counts_samples || gap < rate / SHORTEST_GAP_PER_S || gap > rate * LONGEST_GAP_S {
            return 0;
        }
        self.corrupt += 1;
        gap as usize
    }

    /// Decodes a packet of an MP3 with a new decoder, as its rate or its channels may have changed.
    fn decode_as_another(&mut self, packet: &Packet) -> Option<Format> {
        if self.reader.format_info().format != FORMAT_ID_MP3 {
            return None;
        }
        let (_, mut decoder) = Self::track_decoder(self.reader.as_ref()).ok()?;
        let format = decoder.decode(packet, &mut self.interleaved).ok()?;
        self.decoder = decoder;
        Some(format)
    }

    fn track_counts_samples(&self, rate_hz: u32) -> bool {
        let track = self.reader.tracks().iter().find(|track| track.id == self.track);
        track.and_then(|track| track.time_base) == TimeBase::try_from_recip(rate_hz)
    }

    /// Appends the average of the channels to `mono`; of two that cancel each other out the first.
    fn downmix(&mut self, channels: usize) {
        if channels == 2 && cancels(&self.interleaved) {
            self.mono.extend(self.interleaved.chunks_exact(2).map(|frame| frame[0]));
        } else if channels > 0 {
            let scale = 1.0 / channels as f32;
            let frames = self.interleaved.chunks_exact(channels);
            self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() * scale));
        }
    }

    /// Counts a failure; returns an error if there are too many.
    fn failed(&mut self, error: &Error) -> Result<(), FileError> {
        self.corrupt += 1;
        self.failures_in_a_row += 1;
        let limit = if self.rate_hz == 0 { FAILURES_AT_START } else { FAILURES_IN_A_ROW };
        if self.failures_in_a_row >= limit {
            return Err(self.unreadable(error.to_string()));
        }
        Ok(())
    }

    fn unreadable(&self, reason: String) -> FileError {
        FileError::Corrupt { path: self.path.clone(), format: self.format_name.to_string(), reason }
    }
}

/// Whether two channels are each other's opposite: their mean has less than a hundredth of their energy.
fn cancels(interleaved: &[f32]) -> bool {
    let (mut mean, mut each) = (0.0, 0.0);
    for frame in interleaved.chunks_exact(2) {
        let both = (frame[0] + frame[1]) / 2.0;
        mean += both * both;
        each += (frame[0] * frame[0] + frame[1] * frame[1]) / 2.0;
    }
    mean < each / 100.0
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("path", &self.path)
            .field("format", &self.format_name)
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}
