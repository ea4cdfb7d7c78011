//! The sent audio of a call, on the media thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::line::LeftOut;
use super::outgoing::Speech;
use super::pipeline::{AudioPipeline, Processors};
use super::player::Talker;
use super::post::Desk;
use b2b_base::frame::{Fill, FrameSource, OutFrame};
use b2b_media::stereo::Tape;

/// The source of a call's sent audio: the playing sound, else the program's samples, else the pipeline's
/// source unless it is left out, which passes its own processing first; all pass the pipeline's processors.
pub(crate) struct Voice {
    talker: Talker,
    speeches: Desk<Speech>,
    tapes: Desk<Tape>,
    muted: Arc<AtomicBool>,
    left_out: Arc<LeftOut>,
    source: Option<Box<dyn FrameSource>>,
    source_ended: bool,
    is_microphone: bool,
    /// Echo, noise and gain are a microphone's: what a program writes or plays does not pass these.
    of_source: Processors,
    processors: Processors,
    rate_hz: u32,
}

impl Voice {
    /// Takes the sending half out of the pipeline.
    pub(super) fn new(
        talker: Talker,
        speeches: Desk<Speech>,
        tapes: Desk<Tape>,
        (muted, left_out): (Arc<AtomicBool>, Arc<LeftOut>),
        pipeline: &mut AudioPipeline,
        rate_hz: u32,
    ) -> Self {
        Voice {
            talker,
            speeches,
            tapes,
            muted,
            left_out,
            source: pipeline.source.take(),
            source_ended: false,
            is_microphone: pipeline.devices.source,
            of_source: std::mem::take(&mut pipeline.of_source),
            processors: std::mem::take(&mut pipeline.sent),
            rate_hz,
        }
    }

    fn say(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let mut speech = self.speeches.current();
        if let Some(speech) = &mut speech {
            speech.discard();
        }
        if let Some(fill) = self.talker.play(frame) {
            return fill;
        }
        if let Some(fill) = speech.and_then(|speech| speech.fill(frame)) {
            return fill;
        }
        if self.left_out.held.load(Ordering::Relaxed)
            || self.is_microphone && self.left_out.microphone.load(Ordering::Relaxed)
        {
            return Fill::Silence;
        }
        let Some(source) = self.source.as_mut().filter(|_| !self.source_ended) else { return Fill::Silence };
        let said = match source.fill(frame) {
            Fill::End => {
                // It is dropped with the call: dropping it on the media thread might take long.
                self.source_ended = true;
                Fill::Silence
            }
            fill => fill,
        };
        process(&mut self.of_source, frame, said, self.rate_hz)
    }
}

/// Passes a frame through processors.
fn process(processors: &mut Processors, frame: &mut OutFrame<'_>, said: Fill, rate_hz: u32) -> Fill {
    if said != Fill::Audio {
        frame.samples.fill(0);
    }
    if processors.is_empty() {
        return said;
    }
    for processor in processors {
        processor.process(frame.samples, rate_hz);
    }
    // A processor may add audio of its own, such as comfort noise.
    if frame.samples.iter().any(|sample| *sample != 0) { Fill::Audio } else { said }
}

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let said = self.say(frame);
        let said = process(&mut self.processors, frame, said, self.rate_hz);
        self.record(frame);
        said
    }
}

impl Voice {
    fn record(&mut self, frame: &mut OutFrame<'_>) {
        let Some(tape) = self.tapes.current() else { return };
        if self.muted.load(Ordering::Relaxed) {
            // The session also silences the packet later.
            frame.samples.fill(0);
        }
        tape.frame(frame.samples);
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Program, sides};
    use super::*;
    use crate::Sound;
    use b2b_base::util::ntp::NtpTime;

    struct Three(u32);

    impl FrameSource for Three {
        fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
            if self.0 == 0 {
                return Fill::End;
            }
            self.0 -= 1;
            frame.samples.fill(3);
            Fill::Audio
        }
    }

    fn voice(pipeline: AudioPipeline) -> (Program, Voice) {
        let (program, media) = sides();
        (program, media.attached(pipeline, 8_000).0)
    }

    fn fill(voice: &mut Voice) -> (Fill, i16) {
        let mut samples = [0; 160];
        let fill = voice.fill(&mut OutFrame { samples: &mut samples, captured_at: NtpTime(0) });
        (fill, samples[159])
    }

    #[test]
    fn a_sound_is_played_in_place_of_the_source_which_goes_on_after_it() {
        let (player, mut voice) = voice(AudioPipeline::new().source(Three(2)));
        assert_eq!(fill(&mut voice), (Fill::Audio, 3));
        player.play(Sound::silence(20).prepare(8_000).expect("silence")).expect("room");
        assert_eq!(fill(&mut voice), (Fill::Silence, 0));
        assert_eq!(fill(&mut voice), (Fill::Audio, 3));
        assert_eq!([fill(&mut voice), fill(&mut voice)], [(Fill::Silence, 0); 2]);
    }

    #[test]
    fn what_the_program_writes_is_said_in_place_of_the_source_and_waits_for_a_sound() {
        let (program, mut voice) = voice(AudioPipeline::new().source(Three(100)));
        let (first, _first) = program.open(8_000, 8_000).expect("room");
        first.outgoing.try_write(&[1; 320]).expect("a call");
        assert_eq!(fill(&mut voice), (Fill::Audio, 1));
        program.play(Sound::silence(20).prepare(8_000).expect("silence")).expect("room");
        assert_eq!(fill(&mut voice), (Fill::Silence, 0));
        assert_eq!(fill(&mut voice), (Fill::Audio, 1));
        assert_eq!(fill(&mut voice), (Fill::Audio, 3));
        first.outgoing.try_write(&[1; 320]).expect("a call");
        let (second, _second) = program.open(8_000, 8_000).expect("room");
        second.outgoing.try_write(&[2; 160]).expect("a call");
        assert_eq!(fill(&mut voice), (Fill::Audio, 2));
        assert!(first.outgoing.try_write(&[1]).is_err());
        let (third, _third) = program.open(8_000, 8_000).expect("room");
        third.outgoing.try_write(&[4; 160]).expect("a call");
        drop(third);
        assert_eq!([fill(&mut voice), fill(&mut voice)], [(Fill::Audio, 4), (Fill::Audio, 3)]);
    }

    #[test]
    fn on_hold_the_source_is_silent_and_what_is_played_or_written_is_not() {
        let (program, mut voice) = voice(AudioPipeline::new().source(Three(100)));
        assert_eq!(fill(&mut voice), (Fill::Audio, 3));
        program.hold(true);
        assert_eq!(fill(&mut voice), (Fill::Silence, 0));
        program.play(Sound::tone(400.0, 20).prepare(8_000).expect("a tone")).expect("room");
        assert_eq!(fill(&mut voice).0, Fill::Audio);
        let (written, _lines) = program.open(8_000, 8_000).expect("room");
        written.outgoing.try_write(&[1; 160]).expect("a call");
        drop(written);
        assert_eq!(fill(&mut voice), (Fill::Audio, 1));
        assert_eq!(fill(&mut voice), (Fill::Silence, 0), "nor when that has ended");
        program.hold(false);
        assert_eq!(fill(&mut voice), (Fill::Audio, 3));
    }

    #[test]
    fn what_is_sent_passes_all_processors_in_their_order() {
        let double = |frame: &mut [i16], _: u32| frame.iter_mut().for_each(|sample| *sample *= 2);
        let rate = |frame: &mut [i16], rate_hz: u32| frame.iter_mut().for_each(|s| *s += rate_hz as i16);
        let (_, mut voice) = voice(AudioPipeline::new().source(Three(1)).sent(double).sent(rate));
        assert_eq!(fill(&mut voice), (Fill::Audio, 8_006));
        // Comfort noise, for example.
        assert_eq!(fill(&mut voice), (Fill::Audio, 8_000));
    }

    #[test]
    fn what_a_program_writes_does_not_pass_the_processing_of_a_microphone() {
        let mut pipeline = AudioPipeline::new().source(Three(9));
        pipeline.of_source.push(Box::new(|frame: &mut [i16], _: u32| frame.fill(7)));
        let (program, mut voice) = voice(pipeline);
        assert_eq!(fill(&mut voice), (Fill::Audio, 7));
        let (written, _lines) = program.open(8_000, 8_000).expect("room");
        written.outgoing.try_write(&[1; 160]).expect("a call");
        assert_eq!(fill(&mut voice), (Fill::Audio, 1));
    }

    #[test]
    fn silence_that_stays_silent_is_told_as_silence() {
        let (_, mut voice) = voice(AudioPipeline::new().sent(|_: &mut [i16], _: u32| {}));
        assert_eq!(fill(&mut voice), (Fill::Silence, 0));
    }
}
