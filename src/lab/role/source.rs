//! The source: plays a file into a call.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::role::life::{HANGUP_GRACE, Life, Measured, UNHEARD_GRACE, Wake};
use crate::role::{Discard, Role, UaOptions, endings};
use b2b_base::frame::RATE_HZ;
use b2b_base::util::exit::Failure;
use b2b_media::clock::Moment;
use b2b_media::disk::Recorder;
use b2b_media::file::{FileStream, Read, Samples, StreamOptions};
use b2b_media::resample::Method;
use b2b_media::tap::{Age, Tap};
use b2b_ua::{Audio, CallId, Fill, FrameSource, OutFrame, Ua, UaEvent};

/// Minimum audio decoded before READY.
const LEAST_PREBUFFER: Duration = Duration::from_millis(1_000);
/// Time from the last packet to the BYE: jitter buffers on the path still hold audio.
const DRAIN: Duration = Duration::from_millis(500);

/// The source role: its settings, with which it runs.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// SIP and RTP.
    pub ua: UaOptions,
    /// `--target`
    pub target: String,
    /// `--audio-file`
    pub audio_file: PathBuf,
    /// `--prebuffer-ms`: audio decoded before READY; at least 1000 ms.
    pub prebuffer: Duration,
    /// `--resampler`
    pub resampler: Method,
    /// `--loop`: restart at the end of the file.
    pub repeat: bool,
    /// `--duration-s`: hang up after this much audio.
    pub duration: Option<Duration>,
}

impl SourceConfig {
    /// The role, after the start of the process.
    pub(super) fn live(
        self,
        mut life: Life,
        open_ua: impl FnOnce(&UaOptions) -> anyhow::Result<Box<dyn Ua>>,
    ) -> anyhow::Result<()> {
        let config = self;
        let options = StreamOptions {
            resampler: config.resampler,
            repeat: config.repeat,
            prebuffer: config.prebuffer.max(LEAST_PREBUFFER),
            ..StreamOptions::default()
        };
        let (mut stream, samples) =
            FileStream::open(&config.audio_file, options).map_err(endings::of_audio)?;
        let path = config.audio_file.display();
        tracing::info!("{path}: {} at {} Hz", stream.format_name(), stream.rate_hz());
        let (recorder, tap) = match &config.ua.record {
            Some(dir) => {
                let (recorder, tap) = Recorder::with_clock(&dir.file("source.sent.wav"), Moment::Captured)
                    .map_err(endings::of_audio)?;
                (Some(recorder), Some(tap))
            }
            None => (None, None),
        };
        let ua = open_ua(&config.ua)?;
        life.ready(ua.local(), &config.ua);

        let sent = Arc::new(AtomicU64::new(0));
        let reader = FileReader { samples, left: config.duration.map(samples_in), tap, sent: sent.clone() };
        let audio = Audio { source: Box::new(reader), sink: Box::new(Discard) };
        let dialled_at = Instant::now();
        let call = ua.dial(&config.target, audio).map_err(|error| endings::of_ua(&error))?;
        let mut playing = Playing {
            config: &config,
            ua: ua.as_ref(),
            call,
            dialled_at,
            setup: None,
            stopping: false,
            heard: false,
            hang_up_at: None,
            hung_up_at: None,
            failure: None,
            warned: false,
        };
        let result = playing.until_ended(&mut life, &mut stream, recorder.as_ref(), &sent);

        let (stats, measured) = (ua.stats(), measured(&sent, playing.setup));
        ua.shutdown(UNHEARD_GRACE);
        let recorded = recorder.map_or(Ok(()), |recorder| recorder.finish(HANGUP_GRACE));
        life.report_last(&stats, &measured);
        result?;
        Ok(recorded.map_err(endings::of_audio)?)
    }
}

impl Role for SourceConfig {
    fn run(self) -> anyhow::Result<()> {
        let life = Life::begin("source", &self.ua)?;
        self.live(life, super::open_ua)
    }
}

/// The single call of a source.
struct Playing<'a> {
    config: &'a SourceConfig,
    ua: &'a dyn Ua,
    call: CallId,
    dialled_at: Instant,
    /// Time from dialling to the answer.
    setup: Option<Duration>,
    stopping: bool,
    /// Whether the far end has responded.
    heard: bool,
    /// When to hang up, after the drain.
    hang_up_at: Option<Instant>,
    hung_up_at: Option<Instant>,
    /// Why the role fails although the call ended normally.
    failure: Option<Failure>,
    /// Whether the user was warned that the file is corrupt.
    warned: bool,
}

impl Playing<'_> {
    fn until_ended(
        &mut self,
        life: &mut Life,
        stream: &mut FileStream,
        recorder: Option<&Recorder>,
        sent: &AtomicU64,
    ) -> Result<(), Failure> {
        loop {
            match life.wait(self.ua, self.hang_up_at) {
                Wake::Call(event) => {
                    if let Some(ended) = self.event(event) {
                        return self.failure.take().map_or(ended, Err);
                    }
                }
                Wake::Stop(signal) => {
                    tracing::info!("{signal}: hanging up");
                    self.stopping = true;
                    self.hang_up();
                }
                Wake::Tick => self.look(stream, recorder),
            }
            let now = Instant::now();
            if self.hang_up_at.is_some_and(|at| now >= at) {
                self.hang_up();
            }
            let patience = if self.heard { HANGUP_GRACE } else { UNHEARD_GRACE };
            if self.hung_up_at.is_some_and(|at| now >= at + patience) {
                let failure = self.failure.take().or_else(|| self.heard.then(endings::unconfirmed));
                return failure.map_or(Ok(()), Err);
            }
            let setup = self.setup;
            life.report(self.ua, || measured(sent, setup));
        }
    }

    /// Handles one event; returns the result of the call once it has ended.
    fn event(&mut self, event: UaEvent) -> Option<Result<(), Failure>> {
        match event {
            UaEvent::Fatal { message } => return Some(Err(endings::of_engine(&message))),
            UaEvent::Ended { call, cause } if call == self.call => {
                tracing::info!("the call has ended: {cause}");
                return Some(endings::of_call(&cause, &self.config.target, self.stopping));
            }
            UaEvent::SourceEnded { call } if call == self.call => {
                tracing::info!("all is sent; draining");
                self.hang_up_at.get_or_insert(Instant::now() + DRAIN);
            }
            UaEvent::Incoming { call, from, .. } => {
                tracing::info!("call from {from} refused: a source takes no calls");
                let _ = self.ua.reject(call, 486, "Busy Here");
            }
            other => {
                self.heard |= matches!(other, UaEvent::Progress { .. } | UaEvent::Answered { .. });
                if matches!(other, UaEvent::Answered { .. }) {
                    self.setup.get_or_insert(self.dialled_at.elapsed());
                }
                super::say(&other);
            }
        }
        None
    }

    /// Polls state that produces no events.
    fn look(&mut self, stream: &mut FileStream, recorder: Option<&Recorder>) {
        let path = self.config.audio_file.display();
        if stream.corrupt() > 0 && !self.warned {
            self.warned = true;
            tracing::warn!("{path} is corrupt in places; silence replaces them");
        }
        if let Some(end) = stream.poll_end() {
            if end.corrupt > 0 {
                tracing::warn!("{path}: {} corrupt parts in all", end.corrupt);
            }
            if let Some(error) = end.error {
                tracing::error!("{error}");
                // Audio that is already decoded is still sent.
                self.failure.get_or_insert(endings::of_audio(error));
            }
        }
        if let Some(error) = recorder.and_then(Recorder::failure)
            && self.failure.is_none()
        {
            self.failure = Some(endings::of_audio(error));
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        if self.hung_up_at.is_none() {
            self.hung_up_at = Some(Instant::now());
            self.hang_up_at = None;
            endings::hang_up(self.ua, self.call);
        }
    }
}

fn samples_in(time: Duration) -> u64 {
    (time.as_secs_f64() * f64::from(RATE_HZ)).round() as u64
}

fn measured(sent: &AtomicU64, setup: Option<Duration>) -> Measured {
    let duration_s = sent.load(Ordering::Relaxed) as f64 / f64::from(RATE_HZ);
    Measured { duration_s, setup, ..Measured::default() }
}

/// The file as the audio of a call.
struct FileReader {
    samples: Samples,
    /// Samples left of `--duration-s`.
    left: Option<u64>,
    tap: Option<Tap>,
    sent: Arc<AtomicU64>,
}

impl FrameSource for FileReader {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if self.left == Some(0) {
            return Fill::End;
        }
        let fill = match self.samples.read(frame.samples) {
            Read::Whole | Read::Last => Fill::Audio,
            Read::Late => Fill::Underrun,
            Read::End => return Fill::End,
        };
        let length = frame.samples.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
        self.sent.fetch_add(length, Ordering::Relaxed);
        if let Some(tap) = &mut self.tap {
            let captured_at = Some(frame.captured_at);
            tap.push(frame.samples, Some(Age { captured_at, heard_at: SystemTime::now() }));
        }
        fill
    }
}
