//! Other rates and codecs: two connected endpoints.

use super::*;
use crate::local::{Adapt, DigitMode, Level};
use crate::remote::Voice as Speech;

const NARROW: (u8, u32) = (101, 8_000);
const WIDE: (u8, u32) = (110, 48_000);

/// Harmonics of a gliding pitch, in syllables.
struct Voice(usize, u32);

fn voice(rate_hz: u32, n: usize) -> i16 {
    let t = n as f64 / f64::from(rate_hz);
    let phase = std::f64::consts::TAU * (220.0 * t + 3.0 * (t * 2.0).sin());
    let sum: f64 = (1..12).map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
    (sum * 5_000.0 * (0.5 + 0.5 * (t * 15.0).sin())) as i16
}

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            *sample = voice(self.1, self.0);
            self.0 += 1;
        }
        Fill::Audio
    }
}

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<(Vec<i16>, Vec<FrameKind>)>>);

impl FrameSink for Tape {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let mut tape = self.0.lock().unwrap();
        tape.0.extend_from_slice(frame.samples);
        tape.1.push(frame.kind);
    }
}

fn wide(codec: Codec, ptime_ms: u32) -> MediaParams {
    let gets = SendFormat { fec: true, ..SendFormat::new(codec.payload_type(), codec, ptime_ms) };
    with(Remote {
        telephone_events: EventTypes::new([NARROW, WIDE]),
        takes_event: Some(if codec == Codec::Opus { WIDE } else { NARROW }),
        voice: Speech::new(Some(gets), Codec::ALL.map(|codec| (codec.payload_type(), codec))),
        ..params(20).remote
    })
}

fn with(remote: Remote) -> MediaParams {
    MediaParams { remote, abs_capture_time_id: None, protection: None }
}

/// One sends, the other plays, with the packets that pass every 20 ms.
struct Pair {
    near: Bench,
    far: Bench,
    tape: Tape,
    sent: Vec<Vec<u8>>,
    ms: u64,
}

impl Pair {
    fn new(config: LocalConfig, from_hz: u32, params: MediaParams) -> Self {
        let epoch = Instant::now();
        let mut near = Bench::opened(LocalConfig { rate_hz: from_hz, ..config.clone() }, epoch, 1);
        let mut far = Bench::opened(config, epoch, 2);
        let tape = Tape::default();
        near.attach_both(Box::new(Voice(0, from_hz)), Box::new(Tape::default()));
        far.attach_both(Box::new(Script(Vec::new())), Box::new(tape.clone()));
        near.configure(0, params.clone());
        far.configure(0, params);
        Pair { near, far, tape, sent: Vec::new(), ms: 0 }
    }

    fn run(&mut self, ticks: u64, mut lost: impl FnMut(usize) -> bool) {
        for _ in 0..ticks {
            self.near.wake(self.ms);
            self.far.wake(self.ms);
            self.far.out.sent.clear();
            for Sent { channel, data, .. } in std::mem::take(&mut self.near.out.sent) {
                if channel == Channel::Rtcp {
                    continue;
                }
                if !lost(self.sent.len()) {
                    self.far.receive(self.ms, 4_000, &data);
                }
                self.sent.push(data);
            }
            self.ms += 20;
        }
    }

    fn configure(&mut self, params: MediaParams) {
        self.near.configure(self.ms, params);
    }

    fn digit(&mut self, digit: char, duration_ms: u32, mode: DigitMode) {
        self.near.act(LocalAct::Digit { digit, duration_ms, mode });
    }

    fn adapt(&mut self, expected_loss_pct: u8, bitrate: u32) {
        self.near.act(LocalAct::Adapt(Adapt { expected_loss_pct, bitrate }));
    }

    fn packets(&self) -> Vec<RtpPacket<'_>> {
        self.sent.iter().map(|bytes| RtpPacket::parse(bytes).unwrap()).collect()
    }

    fn digits(&self) -> Vec<(char, u32)> {
        self.far.digits()
    }
}

/// Similarity of what was played to 100 ms of the voice, at the best delay.
fn likeness(tape: &Tape, rate_hz: u32) -> f64 {
    let (from, length) = (rate_hz as usize / 2, rate_hz as usize / 10);
    let sent: Vec<f64> = (from..from + length).map(|n| f64::from(voice(rate_hz, n))).collect();
    let heard: Vec<f64> = tape.0.lock().unwrap().0[from..].iter().map(|s| f64::from(*s)).collect();
    let energy = |samples: &[f64]| samples.iter().map(|s| s * s).sum::<f64>();
    (rate_hz as usize / 25..rate_hz as usize / 8)
        .map(|lag| {
            let product: f64 = sent.iter().zip(&heard[lag..]).map(|(a, b)| a * b).sum();
            product / (energy(&sent) * energy(&heard[lag..lag + length])).sqrt().max(1.0)
        })
        .fold(0.0, f64::max)
}

fn at(rate_hz: u32) -> LocalConfig {
    LocalConfig { rate_hz, ..LocalConfig::default() }
}

#[test]
fn a_voice_passes_between_endpoints_of_any_rate_with_each_codec() {
    for (from, to) in [(8_000, 48_000), (16_000, 16_000), (24_000, 8_000), (48_000, 24_000)] {
        for codec in Codec::ALL {
            let mut pair = Pair::new(at(to), from, wide(codec, 20));
            pair.run(50, |_| false);
            let alike = likeness(&pair.tape, to);
            // Opus preserves the sound but not the waveform: its high-pass filter shifts the phase.
            let least = if codec == Codec::Opus { 0.9 } else { 0.97 };
            assert!(alike > least, "{codec} {from} to {to}: {alike}");
            let tape = pair.tape.0.lock().unwrap();
            assert_eq!(tape.0.len(), 50 * to as usize / 50, "20 ms a frame");
        }
    }
}

#[test]
fn timestamps_run_in_the_clock_of_the_codec_through_every_change() {
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::Pcmu, 20));
    let changes =
        [(Codec::Opus, 20), (Codec::G722, 20), (Codec::Opus, 40), (Codec::Pcma, 30), (Codec::Opus, 60)];
    pair.run(12, |_| false);
    for (codec, ptime_ms) in changes {
        pair.configure(wide(codec, ptime_ms));
        pair.run(60, |_| false);
    }
    let packets = pair.packets();
    let clock = |packet: &RtpPacket<'_>| if packet.payload_type == 111 { 48 } else { 8 };
    let ptime = |packet: &RtpPacket<'_>| match packet.payload_type {
        111 => (crate::codec::opus_packet::samples(packet.payload, 1_000).unwrap()) as u32,
        _ => packet.payload.len() as u32 / 8,
    };
    for pair in packets.windows(2) {
        let step = ptime(&pair[0]) * clock(&pair[0]);
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), step, "the clock of the one before");
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!((pair[1].ssrc, pair[1].marker), (pair[0].ssrc, false));
    }
    let mut types: Vec<u8> = packets.iter().map(|packet| packet.payload_type).collect();
    types.dedup();
    assert_eq!(types, [0, 111, 9, 111, 8, 111]);
    let tape = pair.tape.0.lock().unwrap();
    let first = tape.1.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
    let holes = tape.1[first..].iter().filter(|kind| **kind != FrameKind::Audio).count();
    // A packet of 60 ms ends that long after its first sample: the delay must grow for it.
    assert!(holes <= 4, "{holes} of {}", tape.1.len());
    let stats = pair.far.stats();
    assert_eq!((stats.lost, stats.late), (0, 0));
    assert!(stats.jitter_ms_p95 < 25.0 && stats.rtp_gap_ms_max <= 60.0, "{stats:?}");
}

#[test]
fn a_report_says_the_time_in_the_clock_of_the_codec() {
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::Pcmu, 20));
    pair.run(50, |_| false);
    pair.configure(wide(Codec::Opus, 20));
    pair.run(50, |_| false);
    pair.near.bye(pair.ms);
    let report = rtcp::parse(&pair.near.out.sent[0].data, 0).unwrap();
    let last = pair.packets().last().unwrap().timestamp;
    assert_eq!(report.sender.unwrap().rtp, last.wrapping_add(960));
}

#[test]
fn losses_of_opus_are_recovered_and_cost_no_quality() {
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::Opus, 20));
    pair.run(400, |n| n % 10 == 7);
    let diagnostics = pair.far.diagnostics();
    // The encoder adds no redundancy for what it takes for silence.
    assert!((25..=40).contains(&diagnostics.recovered), "{diagnostics:?}");
    let stats = pair.far.stats();
    assert!(stats.concealed <= 42 - diagnostics.recovered && stats.lost >= 38, "{stats:?}");
    let robust = stats.mos.unwrap();
    // With an expected loss of 0 the sender adds no redundancy.
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::Opus, 20));
    pair.adapt(0, 24_000);
    pair.run(400, |n| n % 10 == 7);
    let stats = pair.far.stats();
    assert_eq!(pair.far.diagnostics().recovered, 0);
    assert!(stats.concealed >= 36 && stats.mos.unwrap() < robust, "{stats:?}");
}

#[test]
fn the_bit_rate_adapts_in_mid_call_and_stays_below_what_the_far_end_wants() {
    let octets = |pair: &Pair, from: usize| -> usize {
        pair.packets()[from..].iter().map(|packet| packet.payload.len()).sum()
    };
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::Opus, 20));
    pair.adapt(0, 32_000);
    pair.run(100, |_| false);
    let high = octets(&pair, 50);
    pair.adapt(0, 10_000);
    pair.run(100, |_| false);
    let low = octets(&pair, 150);
    assert!(low * 3 < high * 2, "{high}, then {low}");
    pair.adapt(0, 32_000);
    let remote = wide(Codec::Opus, 20).remote;
    let gets = remote.voice.gets.map(|format| SendFormat { max_bitrate: Some(10_000), ..format });
    pair.configure(with(Remote { voice: Speech { gets, ..remote.voice }, ..remote }));
    pair.run(100, |_| false);
    assert!(octets(&pair, 250) < low * 5 / 4);
}

#[test]
fn a_digit_suspends_the_audio_and_is_heard_once() {
    for (codec, events) in [(Codec::Pcmu, NARROW), (Codec::G722, NARROW), (Codec::Opus, WIDE)] {
        let mut pair = Pair::new(at(16_000), 16_000, wide(codec, 20));
        pair.run(20, |_| false);
        pair.digit('7', 100, DigitMode::Event);
        pair.digit('#', 60, DigitMode::Event);
        // Two of three ends are lost.
        pair.run(30, |n| n == 24 || n == 25);
        assert_eq!(pair.digits(), [('7', 100), ('#', 60)], "{codec}");
        let packets = pair.packets();
        let event: Vec<_> = packets.iter().filter(|packet| packet.payload_type == events.0).collect();
        assert_eq!(event.len(), 7 + 5);
        let step = (events.1 / 50) as u16;
        for (n, packet) in event[..7].iter().enumerate() {
            assert_eq!(packet.timestamp, packets[19].timestamp.wrapping_add(u32::from(step)));
            assert_eq!(packet.marker, n == 0);
            let duration = step * (n as u16 + 1).min(5);
            let [d0, d1] = duration.to_be_bytes();
            assert_eq!(packet.payload, [7, if n >= 4 { 0x8A } else { 0x0A }, d0, d1]);
        }
        for (n, packet) in packets.iter().enumerate() {
            assert_eq!(packet.sequence, packets[0].sequence.wrapping_add(n as u16));
            let is_event = (20..27).contains(&n) || (28..33).contains(&n);
            assert_eq!(packet.payload_type == events.0, is_event, "{n}");
            if !is_event {
                let ticks = n as u32 * u32::from(step);
                assert_eq!(packet.timestamp, packets[0].timestamp.wrapping_add(ticks), "time goes on");
                assert_eq!(packet.marker, [0, 27, 33].contains(&n), "audio comes back with a marker");
            }
        }
    }
}

#[test]
fn digits_in_band_are_heard_where_that_is_asked_for() {
    for (rate_hz, codec) in [(8_000, Codec::Pcma), (16_000, Codec::G722), (48_000, Codec::Opus)] {
        let config = LocalConfig { detect_digits: true, ..at(rate_hz) };
        let mut pair = Pair::new(config, rate_hz, wide(codec, 20));
        pair.run(20, |_| false);
        "159D".chars().for_each(|digit| pair.digit(digit, 100, DigitMode::InBand));
        pair.run(60, |_| false);
        let digits: String = pair.digits().iter().map(|(digit, _)| *digit).collect();
        assert_eq!(digits, "159D", "{codec}");
        assert!(pair.digits().iter().all(|(_, ms)| (75..=125).contains(ms)), "{:?}", pair.digits());
        let types = pair.packets().iter().all(|packet| packet.payload_type == codec.payload_type());
        assert!(types, "nothing but audio");
    }
    let mut deaf = Pair::new(at(8_000), 8_000, wide(Codec::Pcma, 20));
    deaf.digit('5', 100, DigitMode::InBand);
    deaf.run(40, |_| false);
    assert_eq!(deaf.digits(), []);
}

#[test]
fn a_far_end_without_events_gets_the_sound_and_one_with_both_is_heard_once() {
    let without = with(Remote { takes_event: None, ..wide(Codec::Pcmu, 20).remote });
    let config = LocalConfig { detect_digits: true, ..at(8_000) };
    let mut pair = Pair::new(config, 8_000, without);
    pair.run(10, |_| false);
    pair.digit('4', 100, DigitMode::Event);
    pair.run(30, |_| false);
    assert_eq!(pair.digits().len(), 1);
    pair.configure(wide(Codec::Pcmu, 20));
    pair.digit('2', 100, DigitMode::Event);
    pair.digit('2', 100, DigitMode::InBand);
    pair.run(40, |_| false);
    let digits: String = pair.digits().iter().map(|(digit, _)| *digit).collect();
    assert_eq!(digits, "42");
}

#[test]
fn digits_that_cannot_be_sent_are_counted() {
    let mut pair = Pair::new(at(8_000), 8_000, wide(Codec::Pcmu, 20));
    pair.run(5, |_| false);
    let held = directed(false, false, wide(Codec::Pcmu, 20));
    pair.digit('1', 100, DigitMode::Event);
    pair.configure(held);
    pair.digit('2', 100, DigitMode::Event);
    pair.configure(wide(Codec::Pcmu, 20));
    pair.run(20, |_| false);
    assert_eq!(pair.digits(), [], "what waits through a hold comes too late");
    assert_eq!(pair.near.diagnostics().unsent_digits, 1);
}

#[test]
fn mute_sends_silence_and_levels_say_so_on_both_sides() {
    let mut pair = Pair::new(at(16_000), 16_000, wide(Codec::G722, 20));
    pair.run(50, |_| false);
    let (sent, heard) = (pair.near.levels().sent, pair.far.levels().heard);
    assert!((1_000..12_000).contains(&sent.rms) && sent.peak > sent.rms, "{sent:?}");
    assert!((1_000..12_000).contains(&heard.rms) && heard.peak > heard.rms, "{heard:?}");
    pair.near.act(LocalAct::Mute(true));
    pair.run(50, |_| false);
    assert_eq!(pair.near.levels().sent, Level::default());
    assert!(pair.far.levels().heard.rms < 20);
    assert_eq!(pair.sent.len(), 100, "packets go on");
    let marked = pair.packets().iter().filter(|packet| packet.marker).count();
    assert_eq!(marked, 1);
    pair.near.act(LocalAct::Mute(false));
    pair.run(50, |_| false);
    let marked: Vec<bool> = pair.packets().iter().map(|packet| packet.marker).collect();
    assert!(marked[100] && pair.far.levels().heard.rms > 500);
}

#[test]
fn a_rate_that_we_have_not_is_the_next_lower_one() {
    let rate = |rate_hz: u32| at(rate_hz).rate_hz();
    assert_eq!(
        [0, 8_000, 11_025, 22_050, 44_100, 96_000].map(rate),
        [8_000, 8_000, 8_000, 16_000, 24_000, 48_000]
    );
}

#[test]
fn packets_of_a_codec_that_is_not_agreed_on_change_nothing() {
    let mut bench = Bench::plain();
    let (opus, g722) = (packet(111, 1, 960, 9, &[0x48; 40]), packet(9, 2, 160, 9, &[0; 160]));
    for bytes in [opus, g722] {
        bench.receive(0, 4_000, &bytes);
    }
    assert_eq!(bench.out.verdicts, [Verdict::UnknownPayload; 2]);
    assert_eq!(bench.out.events, [], "they do not say who is there");
    let stats = bench.stats();
    assert_eq!((stats.packets_rx, stats.lost, bench.diagnostics().unknown_payload), (0, 0, 2));
}
