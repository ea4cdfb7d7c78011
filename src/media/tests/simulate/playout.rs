//! The jitter buffer of rooms, streams and sessions over the same networks: whatever is not played
//! must be explained by the network.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use b2b_base::frame::FrameKind;
use b2b_base::util::ntp::NtpTime;
use b2b_media::codec::Codec;
use b2b_media::jitter::{Inserted, JitterBuffer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::network::{MS, Path, SECOND, Weather};
use crate::party::voice;
use crate::total::Total;

const TICK: u64 = 20 * MS;
/// Playout holds at most a second.
const MOST_MS: f64 = 1_024.0;
/// Most of what arrived this long ago was played.
const UNHEARD: u64 = SECOND;

/// A sent packet: its arrival time, if it arrived and was used.
#[derive(Debug, Clone, Copy)]
struct Said {
    came: Option<u64>,
}

pub fn listen(seed: u64, span: u64) -> Total {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5EED);
    // The other codecs take more CPU time to decode.
    let codec = match rng.random_range(0..6) {
        0 => Codec::ALL[rng.random_range(0..2)],
        n => Codec::ALL[2 + n % 2],
    };
    let rate_hz = [8_000, 16_000, 16_000, 48_000][rng.random_range(0..4)];
    let ptime_ms = codec.ptime_ms([10, 20, 20, 30, 40, 60][rng.random_range(0..6)]);
    let jitter_ms = [20, 40, 60][rng.random_range(0..3)];
    let ppm: f64 = rng.random_range(-300.0..300.0);
    let weather = Weather::KINDS[rng.random_range(0..Weather::KINDS.len())];
    let pauses = rng.random_range(0..2) == 0;
    let what = format!(
        "{codec} of {ptime_ms} ms at {rate_hz} Hz, {jitter_ms} ms at least, {ppm:.0} ppm, {weather:?}"
    );

    let epoch = Instant::now();
    let wall = NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut buffer = JitterBuffer::new(epoch, jitter_ms, rate_hz);
    buffer.receive(std::iter::once(codec));
    let payloads = voice(codec, ptime_ms, 440.0);
    let (ticks, first) = (codec.clock_rate() / 1_000 * ptime_ms, rng.random::<u32>());
    let mut path = Path::new(weather);
    let period = f64::from(ptime_ms) * 1e6 * (1.0 + ppm * 1e-6);
    // By the source's clock a packet has exactly its duration.
    let media = |n: u64| n * u64::from(ptime_ms) * MS;
    let mut said: BTreeMap<u64, Said> = BTreeMap::new();
    let mut coming: BTreeMap<(u64, u64), u16> = BTreeMap::new();
    // Silence takes no sequence numbers.
    let mut sequence: u16 = rng.random();
    let (mut next, mut talks, mut turns) = (0_u64, true, rng.random_range(5..60) * SECOND);
    let mut tick = SECOND + rng.random_range(0..TICK);
    let mut frame = vec![0; buffer.frame()];
    let (mut heard, mut played_to) = (Total { lived: span, ..Total::default() }, None::<u64>);
    // Arrival times of packets in time that were not played yet.
    let mut unheard: VecDeque<u64> = VecDeque::new();
    // There was silence since the last frame with audio.
    let mut silent = false;
    // When available audio was concealed, and which.
    let mut suspect: Option<(u64, u64)> = None;
    while tick < span {
        loop {
            let due = SECOND + (next as f64 * period) as u64;
            if due > tick {
                break;
            }
            if pauses && due > turns {
                talks ^= true;
                turns = due + if talks { rng.random_range(3..60) } else { rng.random_range(1..10) } * SECOND;
            }
            if talks {
                said.insert(next, Said { came: None });
                sequence = sequence.wrapping_add(1);
                path.arrivals(&mut rng, due).into_iter().flatten().for_each(|at| {
                    coming.insert((at, next), sequence);
                });
            }
            next += 1;
        }
        while let Some((&(at, n), &sequence)) = coming.first_key_value()
            && at <= tick
        {
            coming.pop_first();
            let timestamp = first.wrapping_add(n as u32 * ticks);
            let captured = wall.plus(Duration::from_nanos(media(n)));
            let payload = &payloads[n as usize % payloads.len()];
            let arrival = epoch + Duration::from_nanos(at);
            let fate = buffer.payload(codec, sequence, timestamp, arrival, payload, Some(captured));
            assert_ne!(fate, Inserted::Undecodable, "{what}");
            if fate == Inserted::InTime
                && let Some(said) = said.get_mut(&n)
                && said.came.is_none()
            {
                said.came = Some(at);
                unheard.push_back(at);
            }
        }
        // A thread is occasionally late.
        let at = tick + if rng.random_range(0..100) == 0 { rng.random_range(0..5 * MS) } else { 0 };
        let now = epoch + Duration::from_nanos(at);
        let played = buffer.play(now, &mut frame);
        heard.frames += 1;
        if let Some(delay) = buffer.delay_ms() {
            assert!(delay < MOST_MS, "{delay:.0} ms are held, {} wanted: {what}", buffer.target_ms());
        }
        if played.kind == FrameKind::Audio {
            unheard.clear();
        }
        silent |= played.kind == FrameKind::Silence;
        let waited = unheard.iter().take_while(|came| **came + UNHEARD < at).count() as u64 * media(1);
        assert!(waited < UNHEARD / 2, "at {} ms {} ms that came are not heard: {what}", at / MS, waited / MS);
        if let Some(captured) = played.captured_at {
            let place = (captured.millis_since(wall) * 1e6).max(0.0) as u64;
            if played.kind == FrameKind::Audio {
                // If a stream has started another timeline, concealment before it had no position on that.
                if let Some((then, missed)) = suspect.take() {
                    let same = (at - then).abs_diff(place.saturating_sub(missed)) < 2 * MS;
                    assert!(
                        !same,
                        "at {} ms {} ms were there and not played: {what}",
                        then / MS,
                        missed / MS
                    );
                }
                // The first packet after silence may start anywhere in its frame.
                let empty = if std::mem::take(&mut silent) { TICK } else { 0 };
                let before = played_to.replace(place).unwrap_or(0);
                assert!(place + empty + 1 >= before, "{place} is played after {before}: {what}");
            }
            if played.kind == FrameKind::Concealed {
                heard.concealed += 1;
                let (from, to) = (place.saturating_sub(MS), place + TICK + MS);
                let length = media(1);
                let whole =
                    (from / length..=to / length).all(|n| said.get(&n).is_some_and(|it| it.came.is_some()));
                suspect = suspect.or(whole.then_some((at, place)));
            }
            let old = place.saturating_sub(5 * SECOND) / media(1);
            said = said.split_off(&old);
        }
        tick += TICK;
    }
    heard.corrections = buffer.corrections();
    heard
}
