//! Processing on a separate thread: the media thread writes samples to rings and reads the results one packet
//! later; neither thread waits for the other.

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::AudioProblem;
use super::super::detour::{Detour, LOOK, ROOM, pop, push};
use super::super::pipeline::{AudioPipeline, AudioProcessor};
use super::{Processing, Processor};

/// Adds processing to a call's pipeline: as the processor of its source and the last one of received audio. What
/// the source supplies is delayed by one packet. If no thread can be started, the call continues unprocessed.
pub(crate) fn processed(mut pipeline: AudioPipeline, processing: Processing, rate_hz: u32) -> AudioPipeline {
    if processing.is_none() {
        return pipeline;
    }
    let room = rate_hz as usize / ROOM;
    let (captured, to_process) = RingBuffer::new(room);
    let (done, processed) = RingBuffer::new(room);
    let (heard, reference) = RingBuffer::new(room);
    let worker = Worker { processor: Processor::new(processing, rate_hz), to_process, reference, done };
    let thread = std::thread::Builder::new().name("processing".into());
    if let Err(error) = thread.spawn(move || worker.run()) {
        let why = format!("the system refused a thread: {error}");
        pipeline.problems.at_start.push(AudioProblem::NotProcessed(why));
        return pipeline;
    }
    pipeline.of_source.push(Box::new(Detour::new(captured, processed, pipeline.problems.late.clone())));
    if processing.echo {
        pipeline.received.push(Box::new(Loudspeaker { heard }));
    }
    pipeline
}

/// The media thread's tap of received audio.
struct Loudspeaker {
    heard: Producer<i16>,
}

impl AudioProcessor for Loudspeaker {
    fn process(&mut self, frame: &mut [i16], _: u32) {
        push(&mut self.heard, frame);
    }
}

struct Worker {
    processor: Processor,
    to_process: Consumer<i16>,
    reference: Consumer<i16>,
    done: Producer<i16>,
}

impl Worker {
    /// Runs until the call drops its ends.
    fn run(mut self) {
        let mut block = vec![0; self.processor.block()];
        while !self.to_process.is_abandoned() {
            while pop_ready(&self.to_process, &block) {
                // Takes as much reference as microphone audio, and more to work off a backlog.
                let mut blocks = 1 + self.reference.slots() / (8 * block.len());
                while blocks > 0 && pop(&mut self.reference, &mut block) > 0 {
                    self.processor.played(&block);
                    blocks -= 1;
                }
                pop(&mut self.to_process, &mut block);
                self.processor.process(&mut block);
                push(&mut self.done, &block);
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn pop_ready(ring: &Consumer<i16>, block: &[i16]) -> bool {
    ring.slots() >= block.len()
}
