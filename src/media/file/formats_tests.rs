//! Files as telephone systems, speech services and pipes write them.

use super::decode_tests::decode;
use super::*;
use crate::codec::{Codec, Encoder, Law, OpusTuning};

/// 0.2 s of a tone at 8 kHz.
fn tone() -> Vec<i16> {
    (0..1_600)
        .map(|n| (8_000.0 * (f64::from(n) * 440.0 * std::f64::consts::TAU / 8_000.0).sin()) as i16)
        .collect()
}

fn pcm() -> Vec<u8> {
    tone().iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The tone in G.711.
fn coded(law: Law) -> Vec<u8> {
    let mut octets = vec![0; tone().len()];
    law.encode(&tone(), &mut octets);
    octets
}

fn chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [id.as_slice(), &size.to_le_bytes(), body].concat()
}

/// `fmt ` of one channel at 8 kHz, with what follows its 16 octets.
fn fmt(tag: u16, bits: u16, more: &[u8]) -> Vec<u8> {
    let align = bits / 8;
    let body = [
        tag.to_le_bytes().as_slice(),
        &1u16.to_le_bytes(),
        &8_000u32.to_le_bytes(),
        &(8_000 * u32::from(align)).to_le_bytes(),
        &align.to_le_bytes(),
        &bits.to_le_bytes(),
        more,
    ]
    .concat();
    chunk(b"fmt ", body.len() as u32, &body)
}

fn riff(size: u32, chunks: &[&[u8]]) -> Vec<u8> {
    [b"RIFF".as_slice(), &size.to_le_bytes(), b"WAVE", &chunks.concat()].concat()
}

fn read(name: &str, content: &[u8]) -> Result<(Vec<f32>, u32, u64), FileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    decode(&path)
}

/// Whether these are the samples of [`tone`], within this difference.
fn is_tone(samples: &[f32], most: f32) -> bool {
    samples.len() == 1_600
        && samples.iter().zip(tone()).all(|(got, sent)| (got - f32::from(sent) / 32_768.0).abs() <= most)
}

#[test]
fn a_wav_is_as_long_as_what_is_in_it_whatever_its_sizes_say() {
    let (pcm, fmt) = (pcm(), fmt(1, 16, &[]));
    let size = pcm.len() as u32;
    for (of_file, of_data) in [
        (0, 0),
        (0, size),
        (36, 0),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX),
        (0x7FFF_FFFF, 0x7FFF_FFFF),
        (28 + size, size),
        (36 + size, size + 4_000),
    ] {
        let (samples, ..) = read("x.wav", &riff(of_file, &[&fmt, &chunk(b"data", of_data, &pcm)])).unwrap();
        assert!(is_tone(&samples, 0.0), "{of_file:x} {of_data:x}: {}", samples.len());
    }
    let wide = [0u64.to_le_bytes(), u64::from(size).to_le_bytes(), 0u64.to_le_bytes()].concat();
    let mut rf64 = riff(
        u32::MAX,
        &[&chunk(b"ds64", 24, &wide), &fmt, &chunk(b"data", u32::MAX, &pcm), b"LIST\x04\0\0\0abcd"],
    );
    rf64[..4].copy_from_slice(b"RF64");
    assert!(is_tone(&read("x.wav", &rf64).unwrap().0, 0.0), "its size is in `ds64`");
    let half = &riff(36 + size, &[&fmt, &chunk(b"data", size, &pcm)])[..44 + 1_601];
    assert_eq!(read("x.wav", half).unwrap().0.len(), 800, "half a download");
}

#[test]
fn a_wav_is_played_whatever_the_length_of_its_description_and_its_metadata() {
    let (pcm, laws) = (pcm(), [(6, Law::A), (7, Law::Mu)]);
    let data = chunk(b"data", pcm.len() as u32, &pcm);
    let extensible = |tag: u16, bits: u16| {
        let guid = [&tag.to_le_bytes()[..], b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"].concat();
        fmt(
            0xFFFE,
            bits,
            &[&22u16.to_le_bytes()[..], &bits.to_le_bytes(), &4u32.to_le_bytes(), &guid].concat(),
        )
    };
    let plain = fmt(1, 16, &[]);
    for (what, chunks) in [
        ("20 octets", vec![fmt(1, 16, &[2, 0, 0, 0])]),
        ("extensible", vec![extensible(1, 16)]),
        ("a long fact", vec![plain.clone(), chunk(b"fact", 8, &[0; 8])]),
        (
            "a list with a wrong size inside",
            vec![plain.clone(), chunk(b"LIST", 18, b"INFOISFT\xff\0\0\0abcdef")],
        ),
        ("an odd chunk", vec![plain.clone(), chunk(b"junk", 3, b"abc\0")]),
        ("an odd chunk without its pad", vec![plain.clone(), chunk(b"junk", 3, b"abc")]),
        (
            "no block size",
            vec![fmt(1, 16, &[]).iter().enumerate().map(|(n, o)| if n == 20 { 0 } else { *o }).collect()],
        ),
    ] {
        let content = riff(36, &[&chunks.concat(), &data]);
        let samples = read("x.wav", &content).unwrap_or_else(|error| panic!("{what}: {error}")).0;
        assert!(is_tone(&samples, 0.0), "{what}");
    }
    for (tag, law) in laws {
        let coded = coded(law);
        for fmt in [fmt(tag, 8, &[]), fmt(tag, 8, &[0, 0]), fmt(tag, 8, &[2, 0, 0, 0]), extensible(tag, 8)] {
            let samples = read("x.wav", &riff(0, &[&fmt, &chunk(b"data", 1_600, &coded)])).unwrap().0;
            assert!(is_tone(&samples, 0.02), "{tag}, {}", fmt.len());
        }
    }
}

#[test]
fn the_bits_of_a_sample_decide_over_a_wrong_size_of_a_block() {
    let wide: Vec<u8> =
        tone().iter().flat_map(|sample| [0, 0].into_iter().chain(sample.to_le_bytes())).collect();
    for (bits, align, data) in
        [(16, 4, pcm()), (16, 32, pcm()), (16, 8, pcm()), (16, 0, pcm()), (24, 4, wide)]
    {
        let mut fmt = fmt(1, bits, &[]);
        fmt[20..22].copy_from_slice(&u16::to_le_bytes(align));
        let samples = read("x.wav", &riff(0, &[&fmt, &chunk(b"data", 0, &data)])).unwrap().0;
        assert!(is_tone(&samples, 0.001), "{bits} {align}: {}", samples.len());
    }
}

#[test]
fn data_of_no_size_is_empty_if_a_chunk_follows() {
    let list = chunk(b"LIST", 14, b"INFOISFT\x02\0\0\0ab");
    let empty = riff(0, &[&fmt(1, 16, &[]), &chunk(b"data", 0, &[]), &list]);
    assert!(matches!(read("x.wav", &empty).unwrap_err(), FileError::Empty { .. }));
}

#[test]
fn a_codec_in_a_wav_that_is_not_played_is_named_with_a_way_out() {
    for (tag, name) in [(0x45, "G.726"), (0x55, "MP3"), (0x22, "TrueSpeech"), (0x4321, "0x4321")] {
        let error =
            read("x.wav", &riff(0, &[&fmt(tag, 8, &[0, 0]), &chunk(b"data", 100, &[1; 100])])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("its codec is {name}")) && text.contains("ffmpeg"), "{text}");
    }
}

#[test]
fn files_without_a_header_are_what_their_names_say() {
    let tuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };
    let mut encoder = Encoder::new(Codec::G722, 16_000, tuning);
    let wide: Vec<i16> = tone().iter().flat_map(|sample| [*sample, *sample]).collect();
    let mut g722 = vec![0; 2_000];
    let mut octets = 0;
    for frame in wide.chunks(320) {
        octets += encoder.encode(frame, &mut g722[octets..]).unwrap();
    }
    g722.truncate(octets);
    for (name, content, rate, most) in [
        ("x.ulaw", coded(Law::Mu), 8_000, 0.02),
        ("X.UL", coded(Law::Mu), 8_000, 0.02),
        ("x.alaw", coded(Law::A), 8_000, 0.02),
        ("x.sln", pcm(), 8_000, 0.0),
        ("x.sln16", pcm(), 16_000, 0.0),
    ] {
        let (samples, rate_hz, _) = read(name, &content).unwrap();
        assert!(is_tone(&samples, most) && rate_hz == rate, "{name}");
    }
    let (samples, rate_hz, _) = read("x.g722", &g722).unwrap();
    assert_eq!((samples.len(), rate_hz), (3_200, 16_000));
    assert!(read("x.ulaw", &[0xFF; 800]).is_ok(), "its silence looks like the beginning of an MP3");
    let wav = riff(0, &[&fmt(1, 16, &[]), &chunk(b"data", 0, &pcm())]);
    assert!(is_tone(&read("x.raw", &wav).unwrap().0, 0.0), "a WAV by another name");
}

#[test]
fn an_au_file_is_played_with_and_without_its_size() {
    let au = |size: u32, kind: u32, body: &[u8]| {
        let fields = [24, size, kind, 8_000, 1].map(u32::to_be_bytes).concat();
        [b".snd".as_slice(), &fields, body].concat()
    };
    let big: Vec<u8> = tone().iter().flat_map(|sample| sample.to_be_bytes()).collect();
    assert!(is_tone(&read("x.au", &au(3_200, 3, &big)).unwrap().0, 0.0));
    let law = coded(Law::Mu);
    assert!(is_tone(&read("x.au", &au(u32::MAX, 1, &law)).unwrap().0, 0.02));
    assert!(read("x.au", &au(8, 23, &law)).unwrap_err().to_string().contains("its encoding 23"));
}

#[test]
fn gsm_is_played_bare_and_in_a_wav_of_a_voicemail() {
    let mut encoder = oxideav_gsm::EncoderState::new();
    let frames: Vec<_> =
        tone().chunks(160).map(|frame| encoder.encode_frame(frame.try_into().unwrap())).collect();
    let bare: Vec<u8> = frames.iter().flat_map(|frame| frame.to_gsm_byte_frame()).collect();
    let pairs = frames.chunks(2);
    let blocks: Vec<u8> =
        pairs.flat_map(|pair| oxideav_gsm::UnpackedFrame::pair_to_msgsm_block(&pair[0], &pair[1])).collect();
    let size = blocks.len() as u32;
    let wav = riff(0, &[&fmt(0x31, 0, &[2, 0, 0x40, 1]), &chunk(b"data", size, &blocks)]);
    for (name, content) in [("x.gsm", &bare), ("msg0000.WAV", &wav)] {
        let (samples, rate_hz, _) = read(name, content).unwrap();
        let loud = samples[400..].iter().map(|sample| sample.abs()).fold(0.0, f32::max);
        assert_eq!((samples.len(), rate_hz), (1_600, 8_000), "{name}");
        assert!((0.15..0.4).contains(&loud), "{name}: {loud}");
    }
}

#[test]
fn an_mp3_without_a_length_is_played_to_its_last_frame() {
    let whole = std::fs::read(super::decode_tests::data("tone.mp3")).unwrap();
    // The first frame of `tone.mp3` is a header with the length; behind its end follows the same audio again.
    let (once, ..) = read("x.mp3", &whole).unwrap();
    let (twice, ..) = read("x.mp3", &[whole.as_slice(), &whole, &whole].concat()).unwrap();
    assert!(twice.len() > once.len() * 5 / 2, "{} of {}", twice.len(), once.len() * 3);
}
