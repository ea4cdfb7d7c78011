//! CPU time of simultaneous recordings: packets as media threads deliver them, decoded, placed and written to
//! files. The media thread's cost of copying them is excluded, and printed separately.
//!
//! usage: cargo bench --bench recording -- [--recordings 200] [--seconds 20] [--codec pcma]
//!        [--folder DIR] [--quick]
//!
//! Each recording has 50 packets a second both ways. CPU time is that of the process minus the feeding
//! thread's, from getrusage. `missing` counts packets that found a ring full, and `wrong` files of the wrong
//! length.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use b2b::media::codec::{Codec, Encoder, MAX_PAYLOAD, OpusTuning};
use b2b::media::recording::{Coding, Formats, Mono, Plan, Recorder, Side, Tap};
use nix::sys::resource::{UsageWho, getrusage};

struct Options {
    recordings: u32,
    seconds: u32,
    codec: Codec,
    folder: PathBuf,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { recordings: 200, seconds: 20, codec: Codec::Pcma, folder: std::env::temp_dir() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let wrong = |_| format!("{word} needs a whole number");
        match word.as_str() {
            "--recordings" => options.recordings = value()?.parse().map_err(wrong)?,
            "--seconds" => options.seconds = value()?.parse().map_err(wrong)?,
            "--codec" => options.codec = value()?.parse().map_err(|error| format!("{error}"))?,
            "--folder" => options.folder = value()?.into(),
            "--quick" => options.seconds = 3,
            // Added by Cargo.
            "--bench" => {}
            _ => return Err(format!("{word} is unknown; see the head of benches/recording.rs")),
        }
    }
    Ok(options)
}

/// CPU time so far.
fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("getrusage");
    let time = |it: nix::sys::time::TimeVal| {
        Duration::from_micros(it.tv_sec() as u64 * 1_000_000 + it.tv_usec() as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// One second of a tone as payloads, without RTP headers.
fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    let tuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };
    let mut encoder = Encoder::new(codec, 8_000, tuning);
    let packet = |n: usize| {
        let sample = |n: usize| (8_000.0 * (n as f64 * 0.3).sin()) as i16;
        let frame: Vec<i16> = (n * 160..(n + 1) * 160).map(sample).collect();
        let mut payload = [0; MAX_PAYLOAD];
        let length = encoder.encode(&frame, &mut payload).expect("a packet");
        payload[..length].to_vec()
    };
    (0..50).map(packet).collect()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(64);
        }
    };
    let folder = tempfile::tempdir_in(&options.folder).expect("a folder");
    let recorder = Recorder::start(0, |_| {}).expect("threads");
    let mut formats = Formats::default();
    formats.set(options.codec.payload_type(), options.codec);
    let mut taps: Vec<(u64, Tap)> = Vec::new();
    for n in 0..options.recordings {
        let path = folder.path().join(format!("{n}.wav"));
        let plan = Plan {
            append: false,
            path,
            stereo: true,
            mono: Mono::Said,
            rate_hz: 8_000,
            coding: Coding::Pcm,
            longest: None,
            silence: None,
        };
        let started = recorder.begin(plan, formats, formats);
        started.created.blocking_recv().expect("an answer").expect("a file");
        taps.push((started.recording, started.tap));
    }
    let payloads = payloads(options.codec);
    let before = (cpu(UsageWho::RUSAGE_SELF), cpu(UsageWho::RUSAGE_THREAD));
    let start = Instant::now();
    let mut packet = Vec::new();
    for n in 0..options.seconds * 50 {
        packet.clear();
        packet.extend([0x80, options.codec.payload_type()]);
        packet.extend((n as u16).to_be_bytes());
        packet.extend((n * options.codec.clock_rate() / 50).to_be_bytes());
        packet.extend([1, 2, 3, 4]);
        packet.extend(&payloads[n as usize % 50]);
        for (_, tap) in &mut taps {
            tap.take(Instant::now(), Side::Said, &packet);
            tap.take(Instant::now(), Side::Heard, &packet);
        }
        let next = start + Duration::from_millis(20) * (n + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let took = start.elapsed().as_secs_f64();
    let after = (cpu(UsageWho::RUSAGE_SELF), cpu(UsageWho::RUSAGE_THREAD));
    let fed = (after.1 - before.1).as_secs_f64();
    let wrote = (after.0 - before.0).as_secs_f64() - fed;
    let (mut missing, mut wrong) = (0, 0);
    // Stop all at once: files are completed one after another.
    let finished: Vec<_> = taps.iter().map(|(recording, _)| recorder.stop(*recording)).collect();
    for finished in finished {
        let finished = finished.blocking_recv().expect("a file");
        missing += u32::from(finished.error.is_some());
        wrong += u32::from((finished.lasts.as_secs_f64() - took).abs() > 1.0);
    }
    recorder.shutdown();
    let each = 1e6 / f64::from(options.recordings) / took;
    println!(
        "{} recordings of {}, both ways, {took:.1} s: {:.1} % of a core ({:.0} us a recording and second); \
         copying {:.0} us; missing {missing}, wrong {wrong}",
        options.recordings,
        options.codec,
        wrote * 100.0 / took,
        wrote * each,
        fed * each,
    );
    if missing + wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
