//! Finds the audio of WAV and AU files, and of files without a header, by what their writers do: sizes that were never
//! filled in, chunks that are longer than they should be, and metadata decide over nothing.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::*;

use super::blocks::{BlockCoding, Layout};
use super::packets::CODEC_ID_GSM;

/// Where the audio of this file is; `None` if it is none of these files.
///
/// # Errors
/// The reason why the file cannot be played.
pub(super) fn layout<F: Read + Seek>(
    file: &mut F,
    path: &Path,
    head: &[u8],
) -> Result<Option<Layout>, String> {
    let end = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
    let wave = head.get(8..12) == Some(b"WAVE");
    match head.get(..4) {
        Some(b"RIFF" | b"RF64" | b"BW64") if wave => wav(file, end, false).map(Some),
        Some(b"RIFX") if wave => wav(file, end, true).map(Some),
        Some(b".snd") => au(head, end).map(Some),
        _ => Ok(headerless(path, head).map(|coding| Layout { coding, start: 0, end })),
    }
}

/// The coding of a file that begins with no header and whose name says what it is.
pub(super) fn headerless(path: &Path, head: &[u8]) -> Option<BlockCoding> {
    let headers = [b"RIFF", b"RF64", b"BW64", b"RIFX", b".snd", b"OggS", b"fLaC", b"ID3\x03", b"ID3\x04"];
    if headers.iter().any(|header| head.starts_with(*header)) { None } else { named(path) }
}

/// The coding that the name of a file without a header stands for, as Asterisk and sox name them.
pub(super) fn named(path: &Path) -> Option<BlockCoding> {
    let name = path.extension()?.to_str()?.to_ascii_lowercase();
    let linear = |rate_hz| mono(CODEC_ID_PCM_S16LE, rate_hz, 2, 1);
    Some(match name.as_str() {
        "ulaw" | "ul" | "mu" | "ulw" | "pcm" => mono(CODEC_ID_PCM_MULAW, 8_000, 1, 1),
        "alaw" | "al" | "alw" => mono(CODEC_ID_PCM_ALAW, 8_000, 1, 1),
        "sln" | "slin" | "raw" => linear(8_000),
        "sln12" => linear(12_000),
        "sln16" => linear(16_000),
        "sln24" => linear(24_000),
        "sln32" => linear(32_000),
        "sln44" => linear(44_100),
        "sln48" => linear(48_000),
        "g722" => mono(CODEC_ID_ADPCM_G722, 16_000, 1, 2),
        "gsm" => mono(CODEC_ID_GSM, 8_000, 33, 160),
        _ => return None,
    })
}

fn mono(codec: AudioCodecId, rate_hz: u32, block: u32, block_frames: u32) -> BlockCoding {
    BlockCoding { codec, rate_hz, channels: 1, block, block_frames }
}

/// Linear samples of this many octets, or floating-point ones.
fn samples(octets: u32, is_float: bool, is_big_endian: bool) -> Option<AudioCodecId> {
    Some(match (octets, is_float, is_big_endian) {
        (1, false, _) => CODEC_ID_PCM_U8,
        (2, false, false) => CODEC_ID_PCM_S16LE,
        (2, false, true) => CODEC_ID_PCM_S16BE,
        (3, false, false) => CODEC_ID_PCM_S24LE,
        (3, false, true) => CODEC_ID_PCM_S24BE,
        (4, false, false) => CODEC_ID_PCM_S32LE,
        (4, false, true) => CODEC_ID_PCM_S32BE,
        (4, true, false) => CODEC_ID_PCM_F32LE,
        (4, true, true) => CODEC_ID_PCM_F32BE,
        (8, true, false) => CODEC_ID_PCM_F64LE,
        (8, true, true) => CODEC_ID_PCM_F64BE,
        _ => return None,
    })
}

/// The header of an AU file.
fn au(head: &[u8], end: u64) -> Result<Layout, String> {
    let field = |n: usize| {
        head.get(n * 4..n * 4 + 4).map(|octets| u32::from_be_bytes(octets.try_into().unwrap_or_default()))
    };
    let (Some(start), Some(kind), Some(rate_hz), Some(channels)) = (field(1), field(3), field(4), field(5))
    else {
        return Err("its header is cut off".into());
    };
    let (codec, octets) = match kind {
        1 => (Some(CODEC_ID_PCM_MULAW), 1),
        27 => (Some(CODEC_ID_PCM_ALAW), 1),
        2 => (Some(CODEC_ID_PCM_S8), 1),
        3..=5 => (samples(kind - 1, false, true), kind - 1),
        6 => (samples(4, true, true), 4),
        7 => (samples(8, true, true), 8),
        _ => (None, 1),
    };
    let codec = codec.ok_or_else(|| format!("its encoding {kind} is not supported"))?;
    Ok(Layout { coding: plain(codec, rate_hz, channels, octets)?, start: u64::from(start), end })
}

/// A coding of one frame a block.
fn plain(codec: AudioCodecId, rate_hz: u32, channels: u32, octets: u32) -> Result<BlockCoding, String> {
    let channels = u16::try_from(channels).ok().filter(|channels| (1..=256).contains(channels));
    let channels = channels.ok_or("the number of its channels is none")?;
    if rate_hz == 0 {
        return Err("its sampling rate is 0".into());
    }
    Ok(BlockCoding { codec, rate_hz, channels, block: u32::from(channels) * octets, block_frames: 1 })
}

/// The chunks of a WAV file, as far as needed.
fn wav<F: Read + Seek>(file: &mut F, end: u64, is_big_endian: bool) -> Result<Layout, String> {
    let (mut at, mut coding, mut data, mut data_size_64) = (12, None, None, None);
    while coding.is_none() || data.is_none() {
        let mut chunk = [0; 8 + 40];
        let read = read_at(file, at, &mut chunk)?;
        if read < 8 {
            break;
        }
        let number = |octets: [u8; 4]| {
            if is_big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
        };
        let (id, size, body) = (
            [chunk[0], chunk[1], chunk[2], chunk[3]],
            number([chunk[4], chunk[5], chunk[6], chunk[7]]),
            &chunk[8..read],
        );
        let start = at + 8;
        let mut next = start.saturating_add(u64::from(size));
        match &id {
            b"fmt " => {
                let fmt = Fmt { octets: &body[..body.len().min(size as usize)], is_big_endian };
                coding = Some(fmt.coding()?);
            }
            b"ds64" => {
                data_size_64 =
                    body.get(8..16).and_then(|octets| octets.try_into().ok()).map(u64::from_le_bytes)
            }
            b"data" => {
                // What a pipe or a killed writer leaves is no size.
                let stated = match size {
                    0 if holds_a_chunk(file, start, end)? => 0,
                    0 => u64::MAX,
                    u32::MAX => data_size_64.unwrap_or(u64::MAX),
                    size => u64::from(size),
                };
                next = start.saturating_add(stated).min(end);
                data = Some((start, next));
            }
            _ => {}
        }
        // A chunk has an even length; some writers do not know.
        at = if next % 2 == 1 && !begins_a_chunk(file, next)? { next.saturating_add(1) } else { next };
    }
    match (coding, data) {
        (Some(coding), Some((start, end))) => Ok(Layout { coding, start, end }),
        (None, _) => Err("it has no `fmt ` chunk".into()),
        (_, None) => Err("it has no `data` chunk".into()),
    }
}

/// Whether there is a chunk that ends within the file.
fn holds_a_chunk<F: Read + Seek>(file: &mut F, at: u64, end: u64) -> Result<bool, String> {
    let mut size = [0; 4];
    let fits = read_at(file, at + 4, &mut size)? == 4 && at + 8 + u64::from(u32::from_le_bytes(size)) <= end;
    Ok(fits && begins_a_chunk(file, at)?)
}

/// Whether a name that a chunk may have is there.
fn begins_a_chunk<F: Read + Seek>(file: &mut F, at: u64) -> Result<bool, String> {
    let mut name = [0; 4];
    Ok(read_at(file, at, &mut name)? == 4
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b' '))
}

fn read_at<F: Read + Seek>(file: &mut F, at: u64, to: &mut [u8]) -> Result<usize, String> {
    let mut read = 0;
    let mut run = || {
        file.seek(SeekFrom::Start(at))?;
        while read < to.len() {
            match file.read(&mut to[read..])? {
                0 => break,
                octets => read += octets,
            }
        }
        Ok(())
    };
    run().map_err(|error: std::io::Error| error.to_string())?;
    Ok(read)
}

/// The chunk `fmt ` of a WAV file.
struct Fmt<'a> {
    octets: &'a [u8],
    is_big_endian: bool,
}

impl Fmt<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let octets = self.octets.get(at..at + 2)?.try_into().ok()?;
        Some(if self.is_big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    fn coding(&self) -> Result<BlockCoding, String> {
        let cut = "its `fmt ` chunk is cut off";
        let (Some(tag), Some(channels), Some(align)) = (self.u16(0), self.u16(2), self.u16(12)) else {
            return Err(cut.into());
        };
        let rate: [u8; 4] = self.octets.get(4..8).and_then(|octets| octets.try_into().ok()).ok_or(cut)?;
        let rate_hz = if self.is_big_endian { u32::from_be_bytes(rate) } else { u32::from_le_bytes(rate) };
        // WAVE_FORMAT_EXTENSIBLE: the codec is in a GUID.
        let tag = if tag == 0xFFFE { self.u16(24).ok_or(cut)? } else { tag };
        let bits = u32::from(self.u16(14).unwrap_or(0));
        let (align, frames) = (u32::from(align), u32::from(channels.max(1)));
        // Samples take whole octets. `nBlockAlign` is often wrong; it counts without bits, and for 24 bits in 32.
        let octets = match bits.div_ceil(8) {
            0 => align / frames,
            3 if align == 4 * frames => 4,
            octets => octets,
        };
        let codec = match tag {
            1 => samples(octets, false, self.is_big_endian),
            3 => samples(octets, true, self.is_big_endian),
            6 => return plain(CODEC_ID_PCM_ALAW, rate_hz, channels.into(), 1),
            7 => return plain(CODEC_ID_PCM_MULAW, rate_hz, channels.into(), 1),
            0x028F | 0x0065 if channels == 1 => return Ok(mono(CODEC_ID_ADPCM_G722, 16_000, 1, 2)),
            0x0031 => return Ok(mono(CODEC_ID_GSM, rate_hz.max(1), 65, 320)),
            2 | 0x11 => return Self::adpcm(tag, rate_hz, channels, align),
            _ => return Err(format!("its codec is {}", codec_name(tag))),
        };
        let codec = codec.ok_or_else(|| format!("its samples have {octets} octets"))?;
        plain(codec, rate_hz, channels.into(), octets)
    }

    fn adpcm(tag: u16, rate_hz: u32, channels: u16, align: u32) -> Result<BlockCoding, String> {
        let each = u32::from(channels.max(1));
        // Octets before the code words, and samples in them, of each channel.
        let (codec, head, first) = match tag {
            2 => (CODEC_ID_ADPCM_MS, 7, 2),
            _ => (CODEC_ID_ADPCM_IMA_WAV, 4, 1),
        };
        let words = align.checked_sub(head * each).filter(|_| (1..=2).contains(&channels) && rate_hz > 0);
        let words = words.ok_or("its blocks are too short")?;
        Ok(BlockCoding { codec, rate_hz, channels, block: align, block_frames: words * 2 / each + first })
    }
}

/// The usual name of a codec that cannot be played, by its number in WAV files.
fn codec_name(tag: u16) -> String {
    match tag {
        0x0014 | 0x0040 | 0x0045 | 0x0064 => "G.726".into(),
        0x0022 => "TrueSpeech".into(),
        0x0042 | 0x0111 => "G.723.1".into(),
        0x0050 => "MP2".into(),
        0x0055 => "MP3".into(),
        0x0065 | 0x028F => "G.722".into(),
        0x0083 | 0x0133 => "G.729".into(),
        0x00FF | 0x1600 | 0x1610 => "AAC".into(),
        0x0160..=0x0163 => "Windows Media Audio".into(),
        0xA109 => "Speex".into(),
        _ => format!("0x{tag:04X}"),
    }
}
