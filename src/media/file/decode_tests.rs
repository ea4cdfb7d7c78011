//! The decoder with small files of every format, and with broken ones.

use std::path::{Path, PathBuf};

use super::*;
use crate::codec::{Codec, Encoder, OpusTuning};
use crate::dtmf::goertzel;
use crate::mix::saturate;

pub(super) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/audio").join(name)
}

/// A WAV with one tone on every channel.
pub(super) fn write_wav(path: &Path, rate_hz: u32, channels: u16, seconds: f64) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    let mut tone = crate::tone::Oscillator::new(440.0, rate_hz);
    for _ in 0..(seconds * f64::from(rate_hz)) as usize {
        let sample = saturate(16_384.0 * tone.next_sample());
        (0..channels).for_each(|_| writer.write_sample(sample).unwrap());
    }
    writer.finalize().unwrap();
}

pub(super) fn decode(path: &Path) -> Result<(Vec<f32>, u32, u64), FileError> {
    let mut decoder = Decoder::open(path)?;
    let mut samples = Vec::new();
    while decoder.advance()? {
        assert!(!decoder.samples().is_empty());
        samples.extend_from_slice(decoder.samples());
    }
    Ok((samples, decoder.rate_hz(), decoder.corrupt()))
}

fn level(samples: &[f32], hz: f64, rate_hz: u32) -> f64 {
    let samples: Vec<i16> = samples.iter().map(|&sample| saturate(sample * 32_768.0)).collect();
    (2.0 * goertzel(&samples, hz, rate_hz)).sqrt() / 32_768.0
}

#[test]
fn every_format_gives_its_length_and_the_average_of_its_channels() {
    for (name, expected_rate) in [("tone.flac", 22_050), ("tone.ogg", 22_050), ("tone.mp3", 44_100)] {
        let (samples, rate_hz, corrupt) = decode(&data(name)).unwrap();
        assert_eq!((rate_hz, corrupt), (expected_rate, 0), "{name}");
        // Exactly: the delay and padding of the MP3 encoder are removed.
        assert_eq!(samples.len(), rate_hz as usize / 2, "{name}");
        // Half scale on one of two channels; lame loses 0.4 dB.
        let level = level(&samples, 440.0, rate_hz);
        assert!((level - 0.25).abs() < 0.015, "{name}: {level}");
    }
}

#[test]
fn two_channels_that_cancel_each_other_out_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("opposite.wav");
    write_wav(&path, 8_000, 2, 0.0);
    let mut writer = hound::WavWriter::append(&path).unwrap();
    for n in 0..8_000i16 {
        let sample = if n % 20 < 10 { 8_000 } else { -8_000 };
        [sample, -sample].into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    }
    writer.finalize().unwrap();
    let (samples, ..) = decode(&path).unwrap();
    assert!(samples.iter().filter(|sample| sample.abs() > 0.1).count() > 7_000);
}

#[test]
fn wav_is_read_at_any_rate_and_number_of_channels() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tone.wav");
    for (rate_hz, channels) in [(8_000, 1), (44_100, 2), (48_000, 6)] {
        write_wav(&path, rate_hz, channels, 0.5);
        let (samples, rate, _) = decode(&path).unwrap();
        assert_eq!((rate, samples.len()), (rate_hz, rate_hz as usize / 2));
        assert!((level(&samples, 440.0, rate_hz) - 0.5).abs() < 0.01);
    }
}

#[test]
fn the_sample_recording_decodes_without_a_corrupt_packet() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sample.mp3");
    let (samples, rate_hz, corrupt) = decode(&path).unwrap();
    assert_eq!((rate_hz, corrupt), (44_100, 0));
    assert!(samples.len() >= 65 * 44_100, "{} s", samples.len() / 44_100);
    let square = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
    let dbov = 10.0 * square.log10();
    assert!((-35.0..-6.0).contains(&dbov), "{dbov} dBov");
}

#[test]
fn corrupt_packets_in_the_middle_are_counted_and_the_timeline_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("corrupt.flac");
    let mut bytes = std::fs::read(data("tone.flac")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let (samples, rate_hz, corrupt) = decode(&path).unwrap();
    assert_eq!(samples.len(), 11_025);
    assert!(corrupt > 0);
    assert!(level(&samples[..2_000], 440.0, rate_hz) > 0.24);
}

#[test]
fn garbage_between_mp3_frames_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("garbage.mp3");
    let mut bytes = std::fs::read(data("tone.mp3")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 300].fill(0x00);
    std::fs::write(&path, bytes).unwrap();
    let (samples, rate_hz, _) = decode(&path).unwrap();
    assert!(samples.len() > 15_000 && samples.len() <= 22_050, "{}", samples.len());
    let level = level(&samples[..4_410], 440.0, rate_hz);
    assert!(level > 0.23, "{level}");
}

#[test]
fn a_file_cut_short_plays_to_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tone.mp3", "tone.flac"] {
        let path = dir.path().join(name);
        let bytes = std::fs::read(data(name)).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
        let (samples, rate_hz, _) = decode(&path).unwrap();
        assert!(samples.len() > rate_hz as usize / 8, "{name}: {}", samples.len());
        assert!(samples.len() < rate_hz as usize / 2, "{name}: {}", samples.len());
    }
}

/// An Ogg page (RFC 3533 §6) with one packet, at whose end so many samples of 48 kHz are complete.
fn ogg_page(flags: u8, samples: u64, sequence: u32, packet: &[u8]) -> Vec<u8> {
    let (samples, sequence) = (samples.to_le_bytes(), sequence.to_le_bytes());
    let mut page =
        [b"OggS\0".as_slice(), &[flags], &samples, &7u32.to_le_bytes(), &sequence, &[0; 4]].concat();
    page.extend([1, packet.len() as u8]);
    page.extend(packet);
    let crc = page.iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// An Ogg file of 20 packets of Opus with a tone; `end` of the n-th packet, and how loud it is to be played, 1/256 dB.
fn ogg_opus(path: &Path, gain: i16, end: impl Fn(u64) -> u64) {
    let (skip, rate) = (312u16.to_le_bytes(), 48_000u32.to_le_bytes());
    let head = [b"OpusHead\x01\x01".as_slice(), &skip, &rate, &gain.to_le_bytes(), &[0]].concat();
    let tuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };
    let mut encoder = Encoder::new(Codec::Opus, 48_000, tuning);
    let mut tone = crate::tone::Oscillator::new(440.0, 48_000);
    let mut file = [ogg_page(2, 0, 0, &head), ogg_page(0, 0, 1, b"OpusTags\x04\0\0\0none\0\0\0\0")].concat();
    for n in 1..=20u32 {
        let frame: Vec<i16> = (0..960).map(|_| saturate(8_192.0 * tone.next_sample())).collect();
        let mut packet = [0; 250];
        let octets = encoder.encode(&frame, &mut packet).unwrap();
        let flags = if n == 20 { 4 } else { 0 };
        file.extend(ogg_page(flags, end(u64::from(n)), n + 1, &packet[..octets]));
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn ogg_opus_is_played_without_what_its_encoder_added() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("speech.ogg");
    // The last page ends 400 samples before its packet does.
    for (gain, expected) in [(0, 0.25), (6 * 256, 0.5), (-12 * 256, 0.0625)] {
        ogg_opus(&path, gain, |n| if n == 20 { 20 * 960 - 400 } else { n * 960 });
        let (samples, rate_hz, corrupt) = decode(&path).unwrap();
        assert_eq!((samples.len(), rate_hz, corrupt), (20 * 960 - 400 - 312, 48_000, 0));
        let level = level(&samples[4_800..], 440.0, rate_hz);
        assert!((0.9..1.1).contains(&(level / expected)), "{gain}: {level}");
    }
}

#[test]
fn ogg_opus_is_played_whole_if_its_pages_count_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("speech.opus");
    for counted in [0, 320, 100] {
        ogg_opus(&path, 0, |n| n * counted);
        let (samples, ..) = decode(&path).unwrap();
        assert_eq!(samples.len(), 20 * 960 - 312, "{counted} a packet");
    }
}

#[test]
fn an_mp3_that_changes_its_rate_and_its_channels_is_played_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mp3");
    // 0.5 s in stereo at 44.1 kHz between the recording at another rate or with one channel.
    let stereo = std::fs::read(data("tone.mp3")).unwrap();
    let mono = std::fs::read(data("mono.mp3")).unwrap();
    std::fs::write(&path, [mono.as_slice(), &stereo, &mono].concat()).unwrap();
    let mut converter = crate::file::Converter::open(&path, crate::resample::Method::Sinc, 8_000).unwrap();
    let mut samples = Vec::new();
    while converter.advance(false, &mut samples).unwrap() {}
    let loud =
        samples.chunks(80).filter(|piece| piece.iter().any(|sample| sample.unsigned_abs() > 2_000)).count();
    assert!((135..165).contains(&loud), "{loud} of 150 pieces of 10 ms, {} samples", samples.len());
}

#[test]
fn what_is_no_audio_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        Decoder::open(&path).unwrap_err().to_string()
    };
    assert!(file("notes.mp3", b"Dear all,\nplease find the file attached.\n").contains("text"));
    assert!(file("empty.wav", b"").ends_with("it is an empty file"));
    assert!(file("call.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0").contains("MP4"));
    let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    file("noise.mp3", &noise);
    let missing = Decoder::open(&dir.path().join("missing.mp3")).unwrap_err();
    assert!(matches!(missing, FileError::Open { .. }));
    assert!(matches!(Decoder::open(dir.path()).unwrap_err(), FileError::Open { .. }));
    let fifo = dir.path().join("fifo.wav");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(Decoder::open(&fifo).unwrap_err(), FileError::Open { .. }), "nobody waits for it");
}

#[test]
fn a_wav_without_samples_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing.wav");
    write_wav(&path, 8_000, 1, 0.0);
    assert!(matches!(Decoder::open(&path).unwrap_err(), FileError::Empty { .. }));
}

/// A file of unknown origin may contain anything: it is played in part or refused, within bounded time.
#[test]
fn mutated_files_never_panic_or_run_for_ever() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let dir = tempfile::tempdir().unwrap();
    let rounds = std::env::var("B2B_TEST_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let wav = dir.path().join("tone.wav");
    write_wav(&wav, 22_050, 2, 0.2);
    let mut random = StdRng::seed_from_u64(4);
    let adpcm = dir.path().join("adpcm.wav");
    let fmt = b"\x11\0\x01\0\x40\x1f\0\0\xd7\x0f\0\0\0\x01\x04\0\x02\0\xf9\x01";
    let mut blocks: Vec<u8> = (0..2_560u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    blocks.chunks_mut(256).for_each(|block| block[2..4].copy_from_slice(&[20, 0]));
    let chunks = [b"fmt \x14\0\0\0".as_slice(), fmt, b"data\0\x0a\0\0", &blocks].concat();
    std::fs::write(&adpcm, [b"RIFF\0\0\0\0WAVE".as_slice(), &chunks].concat()).unwrap();
    assert!(decode(&adpcm).is_ok_and(|(samples, ..)| samples.len() == 10 * 505));
    for original in [data("tone.mp3"), data("tone.flac"), data("tone.ogg"), wav, adpcm] {
        let bytes = std::fs::read(&original).unwrap();
        let path = dir.path().join("mutated").with_extension(original.extension().unwrap());
        for _ in 0..rounds {
            let mut bytes = bytes.clone();
            for _ in 0..random.random_range(1..20) {
                // Damage to headers has the greatest effect.
                let end = if random.random_bool(0.5) { 100 } else { bytes.len() };
                let at = random.random_range(0..end.min(bytes.len()));
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random_range(0..=255),
                    1 => bytes[at] ^= 1 << random.random_range(0..8),
                    2 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xFF),
                    _ => bytes.truncate(at.max(200)),
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let mut decoded = 0;
            if let Ok(mut decoder) = Decoder::open(&path) {
                while decoded < 10_000_000 && decoder.advance().unwrap_or(false) {
                    decoded += decoder.samples().len();
                }
            }
            assert!(decoded < 10_000_000, "half a second of file gives minutes of sound");
        }
    }
}
