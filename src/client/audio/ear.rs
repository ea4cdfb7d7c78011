//! The received audio of a call, on the media thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::incoming::Listener;
use super::line::LeftOut;
use super::pipeline::{AudioPipeline, Processors};
use super::post::Desk;
use b2b_base::frame::{FrameSink, InFrame};
use b2b_media::stereo::Tape;

/// The receiver of a call's audio: frames pass the pipeline's processors to its sink, unless that is left
/// out, and to the program.
pub(crate) struct Ear {
    listeners: Desk<Listener>,
    tapes: Desk<Tape>,
    left_out: Arc<LeftOut>,
    sink: Option<Box<dyn FrameSink>>,
    is_loudspeaker: bool,
    processors: Processors,
    /// Buffer for processing; empty without processors.
    frame: Box<[i16]>,
    rate_hz: u32,
}

impl Ear {
    /// Takes the receiving half out of the pipeline.
    pub(super) fn new(
        listeners: Desk<Listener>,
        tapes: Desk<Tape>,
        left_out: Arc<LeftOut>,
        pipeline: &mut AudioPipeline,
        rate_hz: u32,
    ) -> Self {
        let processors = std::mem::take(&mut pipeline.received);
        let samples = if processors.is_empty() { 0 } else { rate_hz as usize / 50 };
        Ear {
            listeners,
            tapes,
            left_out,
            sink: pipeline.sink.take(),
            is_loudspeaker: pipeline.devices.sink,
            processors,
            frame: vec![0; samples].into(),
            rate_hz,
        }
    }
}

impl FrameSink for Ear {
    fn frame(&mut self, heard: &InFrame<'_>) {
        // The recording contains received audio before any processing.
        if let Some(tape) = self.tapes.current() {
            tape.frame(heard.samples);
        }
        let listener = self.listeners.current();
        let mut heard = *heard;
        if let Some(frame) = self.frame.get_mut(..heard.samples.len()).filter(|frame| !frame.is_empty()) {
            frame.copy_from_slice(heard.samples);
            for processor in &mut self.processors {
                processor.process(frame, self.rate_hz);
            }
            heard.samples = frame;
        }
        if let Some(sink) = &mut self.sink
            && !self.left_out.held.load(Ordering::Relaxed)
            && !(self.is_loudspeaker && self.left_out.loudspeaker.load(Ordering::Relaxed))
        {
            sink.frame(&heard);
        }
        if let Some(listener) = listener {
            listener.frame(&heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_base::frame::FrameKind;

    struct Kept(std::sync::mpsc::Sender<(i16, FrameKind)>);

    impl FrameSink for Kept {
        fn frame(&mut self, frame: &InFrame<'_>) {
            self.0.send((frame.samples[0], frame.kind)).expect("a reader");
        }
    }

    #[test]
    fn what_is_received_passes_all_processors_and_reaches_the_sink() {
        let (sender, kept) = std::sync::mpsc::channel();
        let double = |frame: &mut [i16], _: u32| frame.iter_mut().for_each(|sample| *sample *= 2);
        let one =
            |frame: &mut [i16], rate_hz: u32| frame.iter_mut().for_each(|s| *s += (rate_hz / 8_000) as i16);
        let pipeline = AudioPipeline::new().received(double).received(one).sink(Kept(sender));
        let (program, media) = super::super::line::sides();
        let (_, mut ear) = media.attached(pipeline, 16_000);
        let (mut audio, _lines) = program.open(16_000, 16_000).expect("room");
        ear.frame(&InFrame { samples: &[5; 320], captured_at: None, kind: FrameKind::Concealed });
        assert_eq!(kept.recv(), Ok((12, FrameKind::Concealed)));
        let frame = audio.incoming.try_next().expect("a frame");
        assert_eq!((frame.kind(), frame.samples()), (FrameKind::Concealed, &[12; 320][..]));
        program.hold(true);
        ear.frame(&InFrame { samples: &[5; 320], captured_at: None, kind: FrameKind::Audio });
        assert!(kept.try_recv().is_err(), "who is held is not heard");
    }
}
