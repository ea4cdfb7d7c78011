//! Sounds to play: prepared on the program's side, read on the media thread.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use b2b_base::frame::{Fill, FrameSource, OutFrame};
use b2b_media::file::{FileStream, Read, Samples, StreamOptions};
use b2b_media::tone::Oscillator;

/// Half of full scale, which telephone paths do not distort.
const TONE_LEVEL: f32 = 16_384.0;

/// How much of a file is decoded before it plays.
const PREBUFFER: Duration = Duration::from_millis(200);

/// A sound to play into a call.
pub struct Sound(Kind);

enum Kind {
    Silence { ms: u32 },
    Tone { hz: f32, ms: u32 },
    File { path: PathBuf, repeat: bool },
    Source(Box<dyn FrameSource>),
}

/// A sound, prepared for the media thread.
pub(crate) struct Prepared {
    source: Box<dyn FrameSource>,
    decoding: Option<Decoding>,
}

/// The thread that decodes a file; it ends when the last clone is dropped. Only the program's side and the
/// client's thread lock it.
#[derive(Clone)]
pub(crate) struct Decoding(Arc<Mutex<FileStream>>);

impl Decoding {
    /// Once decoding has ended: the error, if it ended before the end of the file.
    pub fn end(&self) -> Option<Option<String>> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_end()?;
        Some(end.error.map(|error| error.to_string()))
    }
}

impl Prepared {
    /// The handle that reports the end of a file; `None` for other sounds.
    pub fn decoding(&self) -> Option<Decoding> {
        self.decoding.clone()
    }
}

impl FrameSource for Prepared {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        self.source.fill(frame)
    }
}

impl Sound {
    /// Silence of this length.
    pub fn silence(ms: u32) -> Self {
        Sound(Kind::Silence { ms })
    }

    /// A sine tone at half of full scale.
    pub fn tone(hz: f32, ms: u32) -> Self {
        Sound(Kind::Tone { hz, ms })
    }

    /// A file: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm, at any rate, its channels averaged. It is opened when it plays,
    /// and decoded by its own thread.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Sound(Kind::File { path: path.into(), repeat: false })
    }

    /// Repeats the sound without end: a file restarts without a gap, as music on hold does. A source of the
    /// program's own still ends when it says so.
    pub fn repeat(self) -> Self {
        Sound(match self.0 {
            Kind::File { path, .. } => Kind::File { path, repeat: true },
            Kind::Tone { hz, .. } => Kind::Tone { hz, ms: u32::MAX },
            Kind::Silence { .. } => Kind::Silence { ms: u32::MAX },
            source @ Kind::Source(_) => source,
        })
    }

    /// A source of the program's own. The media thread calls it: it must not allocate, lock, log or wait, and
    /// must be quick; see [`b2b_base::frame`].
    pub fn source(source: impl FrameSource + 'static) -> Self {
        Sound(Kind::Source(Box::new(source)))
    }

    /// Prepares it for calls at this rate.
    pub(crate) fn prepare(self, rate_hz: u32) -> Result<Prepared, String> {
        let samples = |ms: u32| u64::from(ms) * u64::from(rate_hz) / 1_000;
        let ready = |source: Box<dyn FrameSource>| Ok(Prepared { source, decoding: None });
        match self.0 {
            Kind::Silence { ms } => ready(Box::new(Timed { left: samples(ms), tone: None })),
            Kind::Tone { hz, .. } if !(hz > 0.0 && hz < rate_hz as f32 / 2.0) => {
                Err(format!("a tone of {hz} Hz; use more than 0 and less than {}", rate_hz / 2))
            }
            Kind::Tone { hz, ms } => {
                let tone = Some(Oscillator::new(f64::from(hz), rate_hz));
                ready(Box::new(Timed { left: samples(ms), tone }))
            }
            Kind::File { path, repeat } => {
                let options = StreamOptions { rate_hz, repeat, prebuffer: PREBUFFER, ..Default::default() };
                let opened = FileStream::open(&path, options).map_err(|error| error.to_string());
                opened.map(|(stream, samples)| Prepared {
                    source: Box::new(Decoded { samples }),
                    decoding: Some(Decoding(Arc::new(Mutex::new(stream)))),
                })
            }
            Kind::Source(source) => ready(source),
        }
    }
}

/// A tone or silence of a given number of samples.
struct Timed {
    left: u64,
    tone: Option<Oscillator>,
}

impl FrameSource for Timed {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if self.left == 0 {
            return Fill::End;
        }
        let count = frame.samples.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= count as u64;
        let Some(tone) = &mut self.tone else { return Fill::Silence };
        for sample in &mut frame.samples[..count] {
            *sample = (tone.next_sample() * TONE_LEVEL) as i16;
        }
        Fill::Audio
    }
}

/// A file that is being decoded.
struct Decoded {
    samples: Samples,
}

impl FrameSource for Decoded {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        match self.samples.read(frame.samples) {
            Read::Whole | Read::Last => Fill::Audio,
            Read::Late => Fill::Underrun,
            Read::End => Fill::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_base::util::ntp::NtpTime;
    use b2b_media::dtmf::goertzel;

    /// The samples of a sound, up to this many frames.
    fn all_of(mut sound: Prepared, rate_hz: u32, frames: usize) -> Vec<i16> {
        let mut heard = Vec::new();
        let mut samples = vec![0; rate_hz as usize / 50];
        while heard.len() < frames * samples.len() {
            match sound.fill(&mut OutFrame { samples: &mut samples, captured_at: NtpTime(0) }) {
                Fill::End => break,
                Fill::Underrun => std::thread::yield_now(),
                _ => heard.extend_from_slice(&samples),
            }
        }
        heard
    }

    #[test]
    fn a_file_is_as_long_and_as_high_at_every_rate_and_repeats_without_a_gap() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/audio/tone.mp3");
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            // Half a second of 440 Hz at a quarter of full scale.
            let heard = all_of(Sound::file(&path).prepare(rate_hz).expect("a file"), rate_hz, 100);
            assert_eq!(heard.len(), rate_hz as usize / 2, "{rate_hz} Hz");
            let level = |samples: &[i16]| {
                let middle = &samples[rate_hz as usize / 10..][..rate_hz as usize / 4];
                (2.0 * goertzel(middle, 440.0, rate_hz)).sqrt() / 32_768.0
            };
            assert!((level(&heard) - 0.25).abs() < 0.02, "{rate_hz} Hz: {}", level(&heard));
            let endless = all_of(Sound::file(&path).repeat().prepare(rate_hz).expect("a file"), rate_hz, 100);
            assert_eq!(endless.len(), rate_hz as usize * 2);
            // Half a second holds whole periods of 440 Hz, so the seam is inaudible.
            let seam = &endless[rate_hz as usize * 4 / 10..];
            assert!((level(seam) - 0.25).abs() < 0.02, "{rate_hz} Hz: {}", level(seam));
        }
    }

    #[test]
    fn a_file_that_cannot_be_played_says_why() {
        for path in ["/nowhere/at/all.wav", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            let refused = Sound::file(path).prepare(16_000).err().expect("no sound");
            assert!(refused.contains(path), "{refused}");
        }
    }

    #[test]
    fn a_tone_has_as_many_samples_as_were_asked_for() {
        let mut tone = Sound::tone(500.0, 50).prepare(8_000).expect("a tone");
        let mut heard = Vec::new();
        loop {
            let mut samples = [0; 160];
            match tone.fill(&mut OutFrame { samples: &mut samples, captured_at: NtpTime(0) }) {
                Fill::End => break,
                _ => heard.extend(samples),
            }
        }
        let last = heard.iter().rposition(|sample| *sample != 0).expect("a sound");
        assert!((390..400).contains(&last), "{last}");
    }

    #[test]
    fn a_tone_that_the_rate_cannot_carry_is_refused() {
        for hz in [0.0, -1.0, 4_000.0, f32::NAN] {
            assert!(Sound::tone(hz, 100).prepare(8_000).is_err(), "{hz}");
        }
    }
}
