//! Processing through another thread: samples go into one ring and are taken from another one packet later.
//! Neither side waits for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::AudioProblem;
use super::pipeline::{AudioPipeline, AudioProcessor, FrameFormat, Processors};

/// How often the other thread polls its rings: the media thread must not wake it, which would take a system
/// call.
pub(super) const LOOK: Duration = Duration::from_millis(4);
/// Capacity of a ring, as a fraction of a second (1/2).
pub(super) const ROOM: usize = 2;

/// The media thread's end.
pub(super) struct Detour {
    there: Producer<i16>,
    back: Consumer<i16>,
    /// Samples in transit.
    waiting: usize,
    /// Packets that were not ready in time.
    late: Arc<AtomicU64>,
}

impl Detour {
    /// `there` leads to the other thread, `back` from it.
    pub fn new(there: Producer<i16>, back: Consumer<i16>, late: Arc<AtomicU64>) -> Self {
        Detour { there, back, waiting: 0, late }
    }
}

impl AudioProcessor for Detour {
    fn process(&mut self, frame: &mut [i16], _: u32) {
        let first = self.waiting == 0;
        if push(&mut self.there, frame) {
            self.waiting += frame.len();
        }
        // Drops the backlog after a late packet, or the delay would stay.
        while self.back.slots() >= 3 * frame.len() {
            self.waiting -= pop(&mut self.back, frame);
        }
        // Takes a whole packet or none: the other thread is late, or has just started.
        if first || self.back.slots() < frame.len() {
            frame.fill(0);
            if !first {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            self.waiting -= pop(&mut self.back, frame);
        }
    }
}

/// Pushes all samples, or none if they do not fit.
pub(super) fn push(ring: &mut Producer<i16>, samples: &[i16]) -> bool {
    ring.push_entire_slice(samples).is_ok()
}

/// Fills all of `samples` or none; returns how many.
pub(super) fn pop(ring: &mut Consumer<i16>, samples: &mut [i16]) -> usize {
    if ring.pop_entire_slice(samples).is_ok() { samples.len() } else { 0 }
}

/// The processors of one direction, on the other thread.
struct Work {
    processors: Processors,
    arrived: Consumer<i16>,
    done: Producer<i16>,
    block: Box<[i16]>,
}

/// Moves the processors to the other thread, and puts a detour in their place.
fn take(processors: &mut Processors, rate_hz: u32, block_ms: u32, late: &Arc<AtomicU64>) -> Option<Work> {
    if processors.is_empty() {
        return None;
    }
    let room = rate_hz as usize / ROOM;
    let ((there, arrived), (done, back)) = (RingBuffer::new(room), RingBuffer::new(room));
    let detour: Processors = vec![Box::new(Detour::new(there, back, late.clone()))];
    let block = vec![0; (rate_hz * block_ms / 1_000) as usize].into();
    Some(Work { processors: std::mem::replace(processors, detour), arrived, done, block })
}

/// A pipeline whose processors run on a separate thread; if none can be started, audio passes unprocessed.
pub(super) fn apart(mut pipeline: AudioPipeline, format: FrameFormat) -> AudioPipeline {
    let FrameFormat { rate_hz, ptime_ms } = format;
    let late = pipeline.problems.late.clone();
    let received = take(&mut pipeline.received, rate_hz, 20, &late);
    let sent = take(&mut pipeline.sent, rate_hz, ptime_ms, &late);
    let works: Vec<Work> = received.into_iter().chain(sent).collect();
    if works.is_empty() {
        return pipeline;
    }
    let thread = std::thread::Builder::new().name("pipeline".into());
    if let Err(error) = thread.spawn(move || run(works, rate_hz)) {
        let why = format!("the system refused a thread: {error}");
        pipeline.problems.at_start.push(AudioProblem::NotProcessed(why));
        pipeline.received.clear();
        pipeline.sent.clear();
    }
    pipeline
}

/// Runs until the call drops its ends.
fn run(mut works: Vec<Work>, rate_hz: u32) {
    while works.iter().any(|work| !work.arrived.is_abandoned()) {
        for Work { processors, arrived, done, block } in &mut works {
            while pop(arrived, block) > 0 {
                for processor in processors.iter_mut() {
                    processor.process(block, rate_hz);
                }
                push(done, block);
            }
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::sides;
    use super::*;
    use b2b_base::frame::{Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame};
    use b2b_base::util::ntp::NtpTime;

    struct Counts(i16);

    impl FrameSource for Counts {
        fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
            self.0 += 1;
            frame.samples.fill(self.0);
            Fill::Audio
        }
    }

    #[test]
    fn packets_that_are_not_processed_in_time_are_counted_and_told_once() {
        let mut pipeline = AudioPipeline::new();
        let mut problems = pipeline.problems();
        let ((there, _arrived), (_done, back)) = (RingBuffer::new(1_000), RingBuffer::new(1_000));
        let mut detour = Detour::new(there, back, problems.late.clone());
        for _ in 0..3 {
            detour.process(&mut [7; 160], 8_000);
        }
        // The first packet cannot be ready.
        assert_eq!(problems.take(), [AudioProblem::Late(2)]);
        assert_eq!(problems.take(), []);
        detour.process(&mut [7; 160], 8_000);
        assert_eq!(problems.take(), [AudioProblem::Late(1)]);
    }

    #[test]
    fn both_directions_pass_their_processors_on_another_thread_a_packet_later() {
        let (tell, told) = std::sync::mpsc::channel();
        let doubled = move |frame: &mut [i16], rate_hz: u32| {
            assert_eq!((frame.len(), rate_hz), (320, 16_000));
            frame.iter_mut().for_each(|sample| *sample *= 2);
            let _ = tell.send(std::thread::current().name().map(str::to_owned));
        };
        let pipeline = AudioPipeline::new().source(Counts(0)).sent(doubled.clone()).received(doubled);
        let (program, media) = sides();
        let pipeline = apart(pipeline, FrameFormat { rate_hz: 16_000, ptime_ms: 20 });
        let (mut voice, mut ear) = media.attached(pipeline, 16_000);
        let (mut audio, _lines) = program.open(16_000, 16_000).expect("room");
        let (mut sent, mut received) = (0, 0);
        for n in 1..=1_000_i16 {
            let mut said = [0; 320];
            voice.fill(&mut OutFrame { samples: &mut said, captured_at: NtpTime(0) });
            ear.frame(&InFrame { samples: &[n; 320], captured_at: None, kind: FrameKind::Audio });
            for _ in 0..2 {
                assert_eq!(told.recv().expect("processed").as_deref(), Some("pipeline"));
            }
            let heard = audio.incoming.try_next().expect("a frame");
            // A late packet is silent; the first is always one packet late.
            for (sample, count) in [(said[0], &mut sent), (heard[0], &mut received)] {
                assert!(sample % 2 == 0 && sample < 2 * n, "{sample} in packet {n}");
                *count += u32::from(sample > 0);
            }
            if sent > 3 && received > 3 {
                return;
            }
        }
        panic!("{sent} packets sent and {received} received");
    }
}
