//! Prompts, music and digit collection of the embedded controller: sounds are fetched from the sound store
//! and passed to the leg's media thread.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::convert::relay_id;
use super::embedded::EmbeddedController;
use super::joining::Entry;
use super::{Collected, DigitPlan, EndpointId, MediaError, MediaFuture, Part, Played, Prompt};
use b2b_media::relay::Stager;
use b2b_media::sounds::{self, Fetched, Limits, Listener, SoundError, SoundStore, StoreStats, Want};
use b2b_media::stage::{Act, Music, Program, Segment, Sound, Ticket};

/// A class of music on hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MusicClass {
    /// The name by which calls request it.
    pub name: String,
    /// The music.
    pub source: MusicSource,
    /// Whether all listeners hear the same position, like a radio; otherwise each listener starts at the
    /// beginning.
    pub shared: bool,
}

/// The source of music.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MusicSource {
    /// The WAV, MP3, FLAC and Ogg files of the folder, sorted by name.
    Folder(PathBuf),
    /// One WAV, MP3, FLAC or Ogg file, repeated.
    File(PathBuf),
    /// A single or dual tone followed by a pause.
    Tone {
        /// Frequencies in Hz; 0 for none.
        hz: [u16; 2],
        /// The duration of the tone.
        on: Duration,
        /// The duration of the pause.
        off: Duration,
    },
}

/// Checks the beginning of a sound file, for configurations. It reads the file, so it must not run on a
/// thread that calls wait for.
///
/// # Errors
/// `Prompt`: the text names the file and the reason.
pub fn check_sound(path: &Path) -> Result<(), MediaError> {
    Ok(sounds::check(path)?)
}

/// The same for the files of a folder. Returns those that cannot be played, with the reason.
///
/// # Errors
/// `Prompt`: none of them can be played.
pub fn check_sounds(folder: &Path) -> Result<Vec<String>, MediaError> {
    let unplayable = sounds::check_folder(folder)?;
    Ok(unplayable.into_iter().map(|SoundError(what)| what).collect())
}

impl From<SoundError> for MediaError {
    fn from(SoundError(what): SoundError) -> Self {
        MediaError::Prompt(what)
    }
}

/// The state that the controller needs for prompts and music.
pub(super) struct Sounding {
    store: SoundStore,
    music: HashMap<String, MusicClass>,
    tickets: AtomicU64,
}

impl Sounding {
    pub fn start(music: Vec<MusicClass>, limits: Limits) -> io::Result<Sounding> {
        let music = music.into_iter().map(|class| (class.name.clone(), class)).collect();
        Ok(Sounding { store: SoundStore::start(limits)?, music, tickets: AtomicU64::new(1) })
    }

    pub fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    fn ticket(&self) -> Ticket {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }
}

impl EmbeddedController {
    /// Sends an order to an endpoint.
    pub(super) fn stage(&self, endpoint: EndpointId, act: Act) {
        if let Some(stager) = self.relay.stager(relay_id(endpoint)) {
            stager.act(act);
        }
    }

    fn stager(&self, endpoint: EndpointId) -> Result<Stager, MediaError> {
        self.relay.stager(relay_id(endpoint)).ok_or(MediaError::NoSuchEndpoint(endpoint))
    }

    /// Turns the detection of tones in a party's audio on or off, or as its rules say.
    pub(super) fn listen_for_tones(&self, endpoint: EndpointId, on: Option<bool>) {
        let mut state = self.state();
        let Ok(entry) = state.get(endpoint) else { return };
        entry.side.set_tones(on);
        self.look_for_tones(endpoint, entry);
        // An existing join changes with it.
        if let Err(error) = self.rejoin(&mut state, endpoint) {
            tracing::debug!("{error}");
        }
    }

    /// Starts or stops the detection of tones, depending on whether the party's description makes them
    /// digits.
    pub(super) fn look_for_tones(&self, endpoint: EndpointId, entry: &mut Entry) {
        let on = entry.side.hears_tones();
        if std::mem::replace(&mut entry.hears_tones, on) != on {
            self.stage(endpoint, Act::HearTones { on });
        }
    }

    /// Fetches the parts of a prompt.
    pub(super) fn fetch(
        &self,
        prompt: &Prompt,
        listener: Listener,
        then: impl FnOnce(Fetched) + Send + 'static,
    ) {
        self.sounding.store.fetch(wants(prompt, listener.rate_hz), listener, then);
    }

    pub(super) fn play(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
    ) -> Result<MediaFuture<Played>, MediaError> {
        let (listener, stager) = (self.listener(endpoint)?, self.stager(endpoint)?);
        let (reply, answer) = self.relay.reply();
        let (ticket, times) = (self.sounding.ticket(), prompt.times);
        self.fetch(prompt, listener, move |fetched| match fetched {
            Ok(segments) => {
                let program = Box::new(listener.program(segments, times));
                stager.act(Act::Play { ticket, program, reply: Some(reply) });
            }
            Err(error) => reply.give(Err(error)),
        });
        Ok(answered(endpoint, answer))
    }

    pub(super) fn stop_playing(&self, endpoint: EndpointId) {
        let ticket = self.sounding.ticket();
        self.stage(endpoint, Act::StopPrompt { ticket });
    }

    pub(super) fn collect(
        &self,
        endpoint: EndpointId,
        prompt: Option<&Prompt>,
        plan: DigitPlan,
    ) -> Result<MediaFuture<Collected>, MediaError> {
        let (listener, stager) = (self.listener(endpoint)?, self.stager(endpoint)?);
        let (reply, answer) = self.relay.reply();
        let ticket = self.sounding.ticket();
        let awaited = prompt.map(|_| ticket);
        stager.act(Act::Collect { plan: Box::new(plan), prompt: awaited, reply });
        if let Some(prompt) = prompt {
            let times = prompt.times;
            self.fetch(prompt, listener, move |fetched| {
                stager.act(match fetched {
                    Ok(segments) => {
                        let program = Box::new(listener.program(segments, times));
                        Act::Play { ticket, program, reply: None }
                    }
                    Err(error) => Act::FailCollect { prompt: ticket, error },
                });
            });
        }
        Ok(answered(endpoint, answer))
    }

    pub(super) fn start_music(
        &self,
        endpoint: EndpointId,
        class: &str,
    ) -> Result<MediaFuture<()>, MediaError> {
        let none = || MediaError::Prompt(format!("music class {class:?} (there is none of that name)"));
        self.start_music_of(endpoint, self.sounding.music.get(class).ok_or_else(none)?)
    }

    /// As `start_music`, with a class that the controller need not have been started with.
    pub(super) fn start_music_of(
        &self,
        endpoint: EndpointId,
        class: &MusicClass,
    ) -> Result<MediaFuture<()>, MediaError> {
        let MusicClass { name, source, shared } = class;
        let (listener, stager) = (self.listener(endpoint)?, self.stager(endpoint)?);
        let (reply, answer) = self.relay.reply();
        let (ticket, shared, name) = (self.sounding.ticket(), *shared, name.clone());
        let rate_hz = listener.rate_hz;
        let tracks = move |segments: Vec<Segment>| {
            listener.tracks(segments.into_iter().map(|segment| track(rate_hz, segment)).collect())
        };
        self.sounding.store.fetch(source.wants(rate_hz), listener, move |fetched| {
            let empty = || SoundError(format!("music class {name:?} (there is nothing to hear in it)"));
            let tracks = fetched.and_then(|segments| tracks(segments).ok_or_else(empty)).or_else(|error| {
                tracing::warn!("{error}: a tone is played in its place");
                tracks(MusicSource::IN_PLACE.made(rate_hz)).ok_or(error)
            });
            match tracks {
                Ok(tracks) => {
                    let music = Box::new(Music::new(tracks, shared));
                    stager.act(Act::Music { ticket, music, reply: Some(reply) });
                }
                Err(error) => reply.give(Err(error)),
            }
        });
        Ok(answered(endpoint, answer))
    }

    pub(super) fn stop_music(&self, endpoint: EndpointId) {
        let ticket = self.sounding.ticket();
        self.stage(endpoint, Act::StopMusic { ticket });
    }
}

impl MusicSource {
    /// What is heard in place of files that cannot be played.
    const IN_PLACE: MusicSource =
        MusicSource::Tone { hz: [440, 0], on: Duration::from_secs(1), off: Duration::from_secs(4) };

    fn wants(&self, rate_hz: u32) -> Vec<Want> {
        match self {
            MusicSource::Folder(folder) => vec![Want::Folder(folder.as_path().into())],
            MusicSource::File(file) => vec![Want::File(file.as_path().into())],
            MusicSource::Tone { .. } => self.made(rate_hz).into_iter().map(Want::Made).collect(),
        }
    }

    /// The segments of a tone.
    fn made(&self, rate_hz: u32) -> Vec<Segment> {
        let MusicSource::Tone { hz, on, off } = self else { return Vec::new() };
        let tone = Segment::Tone { hz: *hz, samples: samples(*on, rate_hz), dbm0: Part::TONE_DBM0 };
        vec![tone, Segment::Silence(samples(*off, rate_hz))]
    }
}

fn wants(prompt: &Prompt, rate_hz: u32) -> Vec<Want> {
    let want = |part: &Part| match part {
        Part::File(path) => Want::File(path.clone()),
        Part::Tone { hz, lasts, dbm0 } => {
            let samples = samples(*lasts, rate_hz);
            Want::Made(Segment::Tone { hz: *hz, samples, dbm0: *dbm0 })
        }
        Part::Silence(lasts) => Want::Made(Segment::Silence(samples(*lasts, rate_hz))),
    };
    prompt.parts.iter().map(want).collect()
}

/// A piece of music in memory; generated tones are limited to 60 seconds.
fn track(rate_hz: u32, segment: Segment) -> Sound {
    match segment {
        Segment::Sound(sound) => sound,
        made => {
            let mut samples = vec![0; made.len().min(60 * rate_hz as usize)];
            Program::new(rate_hz, vec![made], 1).read(&mut samples);
            samples.into()
        }
    }
}

fn samples(lasts: Duration, rate_hz: u32) -> usize {
    usize::try_from(lasts.as_millis() * u128::from(rate_hz) / 1_000).unwrap_or(usize::MAX)
}

/// The answer of a media thread; it drops the reply if it has no such endpoint.
fn answered<T: Send + 'static>(
    endpoint: EndpointId,
    answer: oneshot::Receiver<Result<T, SoundError>>,
) -> MediaFuture<T> {
    MediaFuture::pending(async move { Ok(answer.await.map_err(|_| MediaError::NoSuchEndpoint(endpoint))??) })
}
