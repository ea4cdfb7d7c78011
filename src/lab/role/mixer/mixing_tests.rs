//! The crossing: gains, tones, levels, capture times, and losses.

use std::sync::Arc;
use std::time::Duration;

use super::mixing::{Entrance, Exit, Gains, Loudness, crossing};
use b2b_base::util::ntp::NtpTime;
use b2b_media::dtmf::{Detector, Generator};
use b2b_ua::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};

const HALF: Gains = Gains { input: 0.5, tones: 0.5 };
const PRESET: NtpTime = NtpTime(77 << 32);

fn tones(text: &str) -> Option<Generator> {
    Some(Generator::new(&text.parse().unwrap(), Duration::from_millis(2_000), 8_000))
}

fn put(entrance: &mut Entrance, samples: &[i16], captured_at: Option<NtpTime>) {
    entrance.frame(&InFrame { samples, captured_at, kind: FrameKind::Audio });
}

fn take(exit: &mut Exit, length: usize) -> (Vec<i16>, NtpTime) {
    let mut samples = vec![0; length];
    let mut frame = OutFrame { samples: &mut samples, captured_at: PRESET };
    assert_eq!(exit.fill(&mut frame), Fill::Audio);
    let captured_at = frame.captured_at;
    (samples, captured_at)
}

/// The bundled recording at 8 kHz.
fn speech() -> Vec<i16> {
    use b2b_media::file::{FileStream, Read, StreamOptions};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sample.mp3");
    let (_stream, mut samples) = FileStream::open(&path, StreamOptions::default()).unwrap();
    let (mut all, mut frame) = (Vec::new(), [0; 160]);
    while all.len() < 30 * 8_000 {
        match samples.read(&mut frame) {
            Read::Whole => all.extend_from_slice(&frame),
            Read::Late => std::thread::sleep(Duration::from_millis(5)),
            _ => break,
        }
    }
    all
}

#[test]
fn without_tones_the_input_crosses_with_its_gain_and_capture_time() {
    let (mut entrance, mut exit) = crossing(None, HALF, Arc::default());
    put(&mut entrance, &[1_000; 160], Some(NtpTime(5 << 32)));
    assert_eq!(take(&mut exit, 160), (vec![500; 160], NtpTime(5 << 32)));
}

#[test]
fn a_peer_that_tells_no_capture_time_leaves_the_slot() {
    let (mut entrance, mut exit) = crossing(None, HALF, Arc::default());
    put(&mut entrance, &[1_000; 160], None);
    assert_eq!(take(&mut exit, 160).1, PRESET);
    assert_eq!(take(&mut exit, 160), (vec![0; 160], PRESET), "nothing there");
}

#[test]
fn packet_times_of_the_legs_may_differ() {
    let (mut entrance, mut exit) = crossing(None, Gains { input: 1.0, tones: 1.0 }, Arc::default());
    let ramp: Vec<i16> = (0..480).collect();
    let mut out = Vec::new();
    // 20 ms in, 30 ms out.
    for (index, piece) in ramp.chunks(160).enumerate() {
        put(&mut entrance, piece, Some(NtpTime(1 << 32).plus(Duration::from_millis(20 * index as u64))));
        if index == 1 {
            out.extend(take(&mut exit, 240).0);
        }
    }
    let (rest, captured_at) = take(&mut exit, 240);
    out.extend(rest);
    assert_eq!(out, ramp);
    assert!((captured_at.millis_since(NtpTime(1 << 32)) - 30.0).abs() < 0.01);
}

#[test]
fn both_rails_saturate() {
    let gains = Gains { input: 4.0, tones: 4.0 };
    let (mut entrance, mut exit) = crossing(tones("5"), gains, Arc::default());
    put(&mut entrance, &[i16::MAX; 160], None);
    put(&mut entrance, &[i16::MIN; 160], None);
    let out = take(&mut exit, 320).0;
    assert!(out[..160].iter().all(|&s| s == i16::MAX) && out[160..].iter().all(|&s| s == i16::MIN));
}

#[test]
fn tones_go_on_without_any_input() {
    let (_entrance, mut exit) = crossing(tones("442083661177"), HALF, Arc::default());
    let out: Vec<i16> = (0..150).flat_map(|_| take(&mut exit, 160).0).collect();
    let digits: String = Detector::decode(&out).iter().map(|heard| heard.digit).collect();
    assert_eq!(digits, "442083661177");
}

#[test]
fn the_output_is_as_loud_as_the_input_and_both_can_be_told_apart() {
    let loudness = Arc::new(Loudness::default());
    let (mut entrance, mut exit) = crossing(tones("442083661177"), HALF, loudness.clone());
    let speech = speech();
    let mut out = Vec::new();
    for frame in speech.chunks_exact(160) {
        put(&mut entrance, frame, None);
        out.extend(take(&mut exit, 160).0);
    }
    let (received, sent, seconds) = loudness.read();
    let difference = sent.unwrap() - received.unwrap();
    assert!(difference.abs() <= 3.0, "{received:?} in, {sent:?} out: {difference:.1} dB");
    assert_eq!(seconds, 30.0);
    let digits: String = Detector::decode(&out).iter().map(|heard| heard.digit).collect();
    let whole = digits.matches("442083661177").count();
    assert!(whole >= 6, "{whole} sequences in {digits}");
    // The speech is still there, with its gain and at its position.
    let correlation = speech.iter().zip(&out).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        / speech.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>();
    assert!((correlation - 0.5).abs() < 0.05, "{correlation}");
}

#[test]
fn sound_from_before_the_answer_is_not_sent_late() {
    let (mut entrance, mut exit) = crossing(None, Gains { input: 1.0, tones: 1.0 }, Arc::default());
    (0..10).for_each(|n| put(&mut entrance, &[n; 160], None));
    assert_eq!(take(&mut exit, 160).0, [9; 160]);
}

#[test]
fn a_frame_too_many_does_not_stay_for_ever() {
    let (mut entrance, mut exit) = crossing(None, Gains { input: 1.0, tones: 1.0 }, Arc::default());
    put(&mut entrance, &[0; 160], None);
    take(&mut exit, 160);
    put(&mut entrance, &[0; 160], None);
    let mut behind = Vec::new();
    for n in 1..200 {
        put(&mut entrance, &[n; 160], None);
        behind.push(n - take(&mut exit, 160).0[0]);
    }
    assert_eq!((behind[0], behind[198]), (1, 0));
}
