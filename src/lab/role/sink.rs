//! The sink: answers, and plays or records the received audio.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::role::life::{HANGUP_GRACE, Life, Measured, UNHEARD_GRACE, Wake};
use crate::role::player::{Player, PlayerCommand};
use crate::role::{Role, Silence, UaOptions, endings};
use b2b_base::frame::RATE_HZ;
use b2b_base::util::exit::Failure;
use b2b_media::clock::Moment;
use b2b_media::disk::Recorder;
use b2b_media::latency::Latency;
use b2b_media::tap::{Age, Tap};
use b2b_ua::{Audio, CallId, EndCause, FrameKind, FrameSink, InFrame, Ua, UaEvent};

/// How long the engine may keep a call's audio after the end of the call.
const AUDIO_BACK: Duration = Duration::from_secs(2);

/// `--output`: the playback of received audio, besides files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// The player; a missing or dying player ends the role (exit 66).
    Aplay,
    /// The player, if there is one and a sound card; otherwise none.
    #[default]
    Auto,
    /// None.
    Null,
}

/// The sink role: its settings, with which it runs.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// SIP and RTP.
    pub ua: UaOptions,
    /// `--output`
    pub output: Output,
    /// `--aplay-cmd`
    pub player: PlayerCommand,
    /// `--wav`
    pub wav: Option<PathBuf>,
    /// `--calls`: end after this many calls.
    pub calls: u32,
}

impl SinkConfig {
    /// The role, after the start of the process.
    pub(super) fn live(
        self,
        mut life: Life,
        open_ua: impl FnOnce(&UaOptions) -> anyhow::Result<Box<dyn Ua>>,
    ) -> anyhow::Result<()> {
        let config = self;
        let (outputs, taps) = Outputs::open(&config)?;
        let ua = match open_ua(&config.ua) {
            Ok(ua) => ua,
            Err(error) => {
                outputs.close()?;
                return Err(error);
            }
        };
        life.ready(ua.local(), &config.ua);

        let (give_back, given_back) = bounded(1);
        let played = Arc::new(AtomicU64::new(0));
        let mut serving = Serving {
            ua: ua.as_ref(),
            outputs,
            taps: Some(taps),
            give_back,
            given_back,
            played: played.clone(),
            calls_left: config.calls.max(1),
            call: None,
            stopping: false,
            hung_up_at: None,
            failure: None,
        };
        let result = serving.until_done(&mut life);
        let Serving { outputs, .. } = serving;

        let (stats, latency) = (ua.stats(), outputs.latency.clone());
        ua.shutdown(UNHEARD_GRACE);
        let closed = outputs.close();
        life.report_last(&stats, &measured(latency.as_deref(), &played));
        result?;
        Ok(closed?)
    }
}

impl Role for SinkConfig {
    fn run(self) -> anyhow::Result<()> {
        let life = Life::begin("sink", &self.ua)?;
        self.live(life, super::open_ua)
    }
}

/// The outputs: threads fed by taps.
struct Outputs {
    player: Option<Player>,
    /// Whether the role fails without its player.
    player_needed: bool,
    recorders: Vec<Recorder>,
    /// The latency at the player, or at the first recording.
    latency: Option<Arc<Latency>>,
}

impl Outputs {
    fn open(config: &SinkConfig) -> Result<(Outputs, Vec<Tap>), Failure> {
        let mut taps = Vec::new();
        let wanted = match config.output {
            Output::Aplay => true,
            Output::Null => false,
            Output::Auto => match no_sound(&config.player) {
                None => true,
                Some(reason) => {
                    tracing::info!("not playing: {reason}");
                    false
                }
            },
        };
        let player_needed = config.output == Output::Aplay;
        let player = match wanted.then(|| Player::start(&config.player)) {
            Some(Ok((player, tap))) => {
                taps.push(tap);
                Some(player)
            }
            Some(Err(error)) if player_needed => return Err(endings::of_audio(error)),
            Some(Err(error)) => {
                tracing::info!("not playing: {error}");
                None
            }
            None => None,
        };
        let latency = player.as_ref().map(Player::latency);
        let mut outputs = Outputs { player, player_needed, recorders: Vec::new(), latency };
        let recorded = config.ua.record.as_ref().map(|dir| dir.file("sink.received.wav"));
        let kept = config.wav.iter().map(|path| Recorder::start(path));
        let recorded = recorded.iter().map(|path| Recorder::with_clock(path, Moment::Heard));
        for started in kept.chain(recorded) {
            match started {
                Ok((recorder, tap)) => {
                    outputs.latency.get_or_insert_with(|| recorder.latency());
                    outputs.recorders.push(recorder);
                    taps.push(tap);
                }
                Err(error) => {
                    let _ = outputs.close();
                    return Err(endings::of_audio(error));
                }
            }
        }
        Ok((outputs, taps))
    }

    /// A failed output without which the role cannot go on.
    fn failure(&mut self) -> Option<Failure> {
        if let Some(error) = self.player.as_ref().and_then(Player::failure) {
            if self.player_needed {
                return Some(endings::of_audio(error));
            }
            tracing::warn!("no longer playing: {error}");
            if let Some(player) = self.player.take() {
                player.finish();
            }
        }
        self.recorders.iter().find_map(Recorder::failure).map(endings::of_audio)
    }

    /// Plays and writes all remaining audio.
    fn close(self) -> Result<(), Failure> {
        if let Some(player) = self.player {
            player.finish();
        }
        let mut result = Ok(());
        for recorder in self.recorders {
            let path = recorder.path().to_path_buf();
            match recorder.finish(HANGUP_GRACE) {
                Ok(()) => tracing::info!("recorded to {}", path.display()),
                Err(error) => result = Err(endings::of_audio(error)),
            }
        }
        result
    }
}

/// The reason why no audio can be played here, if any.
fn no_sound(player: &PlayerCommand) -> Option<String> {
    if !player.exists() {
        return Some(format!("no player ({player})"));
    }
    let cards = std::fs::read_to_string("/proc/asound/cards").unwrap_or_default();
    (cards.trim().is_empty() || cards.contains("no soundcards")).then(|| "no sound card".to_string())
}

fn measured(latency: Option<&Latency>, played: &AtomicU64) -> Measured {
    Measured {
        latency_ms: latency.and_then(Latency::p50_p95_ms),
        duration_s: played.load(Ordering::Relaxed) as f64 / f64::from(RATE_HZ),
        ..Measured::default()
    }
}

/// A running sink.
struct Serving<'a> {
    ua: &'a dyn Ua,
    outputs: Outputs,
    /// The taps for the next call; they belong to the call while one is up.
    taps: Option<Vec<Tap>>,
    give_back: Sender<Vec<Tap>>,
    given_back: Receiver<Vec<Tap>>,
    played: Arc<AtomicU64>,
    calls_left: u32,
    call: Option<Current>,
    stopping: bool,
    hung_up_at: Option<Instant>,
    failure: Option<Failure>,
}

struct Current {
    id: CallId,
    from: String,
    /// Whether it was answered and acknowledged, and so counts.
    up: bool,
}

impl Serving<'_> {
    fn until_done(&mut self, life: &mut Life) -> Result<(), Failure> {
        loop {
            match life.wait(self.ua, None) {
                Wake::Call(event) => self.event(event)?,
                Wake::Stop(signal) => {
                    tracing::info!("{signal}: ending");
                    self.stop();
                }
                Wake::Tick => {
                    if !self.stopping
                        && let Some(failure) = self.outputs.failure()
                    {
                        self.failure.get_or_insert(failure);
                        self.stop();
                    }
                }
            }
            if self.call.is_none() && (self.stopping || self.calls_left == 0) {
                return self.failure.take().map_or(Ok(()), Err);
            }
            if self.hung_up_at.is_some_and(|at| at.elapsed() >= HANGUP_GRACE) {
                return Err(self.failure.take().unwrap_or_else(endings::unconfirmed));
            }
            let (latency, played) = (self.outputs.latency.as_deref(), &self.played);
            life.report(self.ua, || measured(latency, played));
        }
    }

    fn event(&mut self, event: UaEvent) -> Result<(), Failure> {
        match event {
            UaEvent::Fatal { message } => return Err(endings::of_engine(&message)),
            UaEvent::Incoming { call, from, .. } => self.incoming(call, from),
            UaEvent::Ended { call, cause } => self.ended(call, &cause),
            other => {
                if let (UaEvent::Answered { call, .. }, Some(current)) = (&other, &mut self.call) {
                    current.up |= current.id == *call;
                }
                super::say(&other);
            }
        }
        Ok(())
    }

    fn incoming(&mut self, call: CallId, from: String) {
        let busy = self.call.is_some() || self.stopping || self.calls_left == 0;
        let Some(taps) = (if busy { None } else { self.taps.take() }) else {
            tracing::info!("busy: call from {from} refused");
            if let Err(error) = self.ua.reject(call, 486, "Busy Here") {
                tracing::warn!("refusal: {error}");
            }
            return;
        };
        tracing::info!("answering {from}");
        let listener = Listener { taps, give_back: self.give_back.clone(), played: self.played.clone() };
        let audio = Audio { source: Box::new(Silence), sink: Box::new(listener) };
        match self.ua.answer(call, audio) {
            Ok(()) => self.call = Some(Current { id: call, from, up: false }),
            // The caller has given up in the meantime.
            Err(error) => {
                tracing::warn!("answer: {error}");
                self.take_taps_back();
            }
        }
    }

    fn ended(&mut self, call: CallId, cause: &EndCause) {
        let Some(current) = self.call.take_if(|current| current.id == call) else { return };
        tracing::info!("the call has ended: {cause}");
        self.hung_up_at = None;
        self.take_taps_back();
        match endings::of_call(cause, &current.from, self.stopping) {
            // A call cancelled before the answer does not count.
            Err(_) if !current.up && *cause == EndCause::Cancelled => {}
            result => {
                self.calls_left -= 1;
                if let Err(failure) = result {
                    tracing::error!("{failure}");
                    self.failure.get_or_insert(failure);
                }
            }
        }
    }

    fn take_taps_back(&mut self) {
        match self.given_back.recv_timeout(AUDIO_BACK) {
            Ok(taps) => self.taps = Some(taps),
            Err(_) => {
                tracing::error!("the engine keeps the audio of a call that has ended");
                self.stopping = true;
            }
        }
    }

    /// Ends the role: hangs up a current call, whose end then ends the role.
    fn stop(&mut self) {
        self.stopping = true;
        if let (Some(call), None) = (&self.call, self.hung_up_at) {
            self.hung_up_at = Some(Instant::now());
            endings::hang_up(self.ua, call.id);
        }
    }
}

/// The sink of a call: passes its audio to the taps.
struct Listener {
    taps: Vec<Tap>,
    give_back: Sender<Vec<Tap>>,
    played: Arc<AtomicU64>,
}

impl FrameSink for Listener {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let age = Age { captured_at: frame.captured_at, heard_at: SystemTime::now() };
        self.taps.iter_mut().for_each(|tap| tap.push(frame.samples, Some(age)));
        if frame.kind != FrameKind::Silence {
            self.played.fetch_add(frame.samples.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Listener {
    /// Returns the taps at the end of the call: the next one uses the same player and files.
    fn drop(&mut self) {
        let _ = self.give_back.try_send(std::mem::take(&mut self.taps));
    }
}
