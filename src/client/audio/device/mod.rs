//! Sound devices: a microphone and a loudspeaker for each call.
//!
//! - `lane`: one direction on a thread of its own, between a device and the media thread's ring
//! - `tools`: `arecord` and `aplay`; `cpal`: the crate of that name, feature `devices`
//!
//! # Clocks
//!
//! A device's clock is not the session's. The ring between both holds 40 ms; when a device is so
//! much slower or faster that 100 ms have come together, 60 ms are left out, and when the ring is
//! empty, silence is put in until 40 ms are there again. At a drift of 100 ppm that is once in ten
//! minutes. Nothing is stretched.

#[cfg(feature = "devices")]
mod cpal;
mod lane;
#[cfg(test)]
mod tests;
mod tools;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::broadcast;

use super::Sound;
use super::pipeline::{AudioPipeline, FrameFormat};
use crate::ClientEvent;
use b2b_base::frame::{FrameSink, FrameSource};

/// What sound of calls comes from and goes to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Audio {
    /// What the program plays, writes and reads; nothing else.
    #[default]
    None,
    /// Devices, in place of a source and a sink where the pipeline has none.
    Devices(Devices),
    /// Each call says this file (MP3, WAV, FLAC, Ogg Vorbis), from its answer on and again from the
    /// beginning when it ends, where the pipeline has no source. It is opened with each call, by
    /// the client's thread. What is heard is recorded by [`crate::Call::record`].
    Files {
        /// The file.
        say: PathBuf,
    },
    /// A source and a sink of the program's own, where the pipeline has none: see
    /// [`Audio::custom`].
    Custom(CustomAudio),
}

impl Audio {
    /// A source and a sink of the program's own: `make` is asked once for each call. Both are
    /// asked on the media thread, and have to be quick (see [`b2b_base::frame`]).
    pub fn custom<S: FrameSource + 'static, K: FrameSink + 'static>(
        make: impl Fn(FrameFormat) -> (S, K) + Send + Sync + 'static,
    ) -> Self {
        Audio::Custom(CustomAudio(Arc::new(move |format| {
            let (source, sink) = make(format);
            (Box::new(source), Box::new(sink))
        })))
    }
}

/// Makes the source and the sink of a call.
type Make = dyn Fn(FrameFormat) -> (Box<dyn FrameSource>, Box<dyn FrameSink>) + Send + Sync;

/// Sources and sinks of the program's own, see [`Audio::custom`].
#[derive(Clone)]
pub struct CustomAudio(Arc<Make>);

impl CustomAudio {
    /// Gives a call's pipeline what it has not.
    pub(crate) fn give(&self, mut pipeline: AudioPipeline, format: FrameFormat) -> AudioPipeline {
        let (source, sink) = (self.0)(format);
        pipeline.source.get_or_insert(source);
        pipeline.sink.get_or_insert(sink);
        pipeline
    }
}

impl fmt::Debug for CustomAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomAudio")
    }
}

/// Which devices.
#[derive(Clone)]
#[must_use]
pub struct Devices {
    system: Arc<dyn SoundSystem>,
    microphone: Option<String>,
    loudspeaker: Option<String>,
}

impl Devices {
    /// The default devices of a sound system.
    pub fn new(system: impl SoundSystem + 'static) -> Self {
        Devices { system: Arc::new(system), microphone: None, loudspeaker: None }
    }

    /// The default devices of this machine: by the crate cpal with the feature `devices`, else
    /// by `arecord` and `aplay`; `None`: neither is there.
    pub fn default_of_system() -> Option<Self> {
        #[cfg(feature = "devices")]
        if cpal::Cpal::is_there() {
            return Some(Devices::new(cpal::Cpal));
        }
        tools::Tools::found().map(Devices::new)
    }

    /// A microphone by the name that the sound system has for it.
    pub fn microphone(mut self, name: impl Into<String>) -> Self {
        self.microphone = Some(name.into());
        self
    }

    /// A loudspeaker by the name that the sound system has for it.
    pub fn loudspeaker(mut self, name: impl Into<String>) -> Self {
        self.loudspeaker = Some(name.into());
        self
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("microphone", &self.microphone)
            .field("loudspeaker", &self.loudspeaker)
            .finish_non_exhaustive()
    }
}

/// Opens devices. Its methods are called on threads that may wait.
pub trait SoundSystem: Send + Sync {
    /// Opens a microphone; `None` names the default one.
    ///
    /// # Errors
    /// There is none, or it is taken, or it cannot have this rate.
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>>;

    /// Opens a loudspeaker; `None` names the default one.
    ///
    /// # Errors
    /// As above.
    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>>;
}

/// An open microphone, used by one thread.
pub trait Microphone {
    /// Waits until a frame of 20 ms is full: mono samples at the rate it was opened with.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()>;
}

/// An open loudspeaker, used by one thread.
pub trait Loudspeaker {
    /// Takes a frame of 20 ms, and waits while the device has enough.
    ///
    /// # Errors
    /// The device is gone.
    fn write(&mut self, frame: &[i16]) -> io::Result<()>;
}

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSide {
    /// Where the user's voice comes from.
    Microphone,
    /// Where the far end is heard.
    Loudspeaker,
}

/// Whether a file can be said at that rate.
pub(crate) fn check_file(file: &Path, rate_hz: u32) -> Result<(), String> {
    Sound::file(file).prepare(rate_hz).map(|_| ())
}

/// Gives a call's pipeline a file to say.
pub(crate) fn with_file(mut pipeline: AudioPipeline, file: &Path, rate_hz: u32) -> AudioPipeline {
    if pipeline.source.is_none() {
        match Sound::file(file).repeat().prepare(rate_hz) {
            Ok(source) => pipeline.source = Some(source),
            // It was there when the client was built.
            Err(error) => tracing::warn!("a call says nothing: {error}"),
        }
    }
    pipeline
}

/// Gives a call's pipeline its devices. They are opened when the call is answered, and closed with
/// its end.
pub(crate) fn with_devices(
    mut pipeline: AudioPipeline,
    devices: &Devices,
    rate_hz: u32,
    events: broadcast::WeakSender<ClientEvent>,
) -> AudioPipeline {
    let tell = move |event| {
        if let Some(events) = events.upgrade() {
            // Without a reader there is nobody to tell.
            let _ = events.send(event);
        }
    };
    if pipeline.source.is_none() {
        let (system, name) = (devices.system.clone(), devices.microphone.clone());
        match lane::captured(system, name, rate_hz, tell.clone()) {
            Ok(source) => pipeline.source = Some(Box::new(source)),
            Err(error) => tracing::warn!("a call has no microphone: the system refused a thread: {error}"),
        }
    }
    if pipeline.sink.is_none() {
        let (system, name) = (devices.system.clone(), devices.loudspeaker.clone());
        match lane::played(system, name, rate_hz, tell) {
            Ok(sink) => pipeline.sink = Some(Box::new(sink)),
            Err(error) => tracing::warn!("a call has no loudspeaker: the system refused a thread: {error}"),
        }
    }
    pipeline
}
