//! Sound devices: one microphone and one loudspeaker for all calls of a client.
//!
//! - `capture`, `playback`: one direction on a thread of its own, between a device and the rings of
//!   the media thread, one for each call; `depth`: how much waits there; `roster`: the calls that such a thread serves
//! - `slot`: the device that is in use, when it goes, comes back and is changed
//! - `tools`: `arecord` and `aplay`, `program`: such a program and its pipe; `cpal`: the crate of
//!   that name, feature `devices`, with `format`: what a device is opened with
//!
//! # Clocks
//!
//! A device's clock is not the session's. The ring of a microphone holds what was said between two
//! packets, 20 ms at most, and 20 ms more each time that it was empty when a packet was due, up to 60
//! ms; that of a loudspeaker is empty, since the device has what comes at once, and begins with 40 ms
//! of it. Where a frame more than is needed waits, one is left out at the next pause of the speaker
//! (`depth`). When a device is so much slower or faster that 100 ms have come together, they are
//! left out at once, down to that. Nothing is stretched.

mod capture;
#[cfg(feature = "devices")]
mod cpal;
mod depth;
#[cfg(any(test, feature = "devices"))]
mod format;
mod playback;
mod program;
mod roster;
mod slot;
#[cfg(test)]
mod stuck_tests;
#[cfg(test)]
mod tests;
mod tools;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rtrb::Consumer;
use tokio::sync::broadcast;

use super::pipeline::{AudioPipeline, FrameFormat};
use super::{AudioProblem, Sound};
use crate::ClientEvent;
use b2b_base::frame::{FrameSink, FrameSource};
use capture::{Speaker, captured};
use playback::{Listener, played};
use roster::Roster;
use slot::Choice;

/// How often a thread looks whether it is needed: the media thread must not wake it.
const LOOK: Duration = Duration::from_millis(5);
/// How long nobody needs a device before it is closed.
const IDLE_MS: u32 = 2_000;
/// 20 ms frames of sound that wait at which some are left out.
const MOST: usize = 5;
/// 20 ms frames that a ring has room for.
const ROOM: usize = 16;

/// The source and the destination of the audio of calls.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Audio {
    /// Only audio that the program plays, writes and reads.
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
    /// by `arecord` and `aplay`, which both have to be in the path; `None`: neither is there.
    pub fn default_of_system() -> Option<Self> {
        #[cfg(feature = "devices")]
        if cpal::Cpal::is_there() {
            return Some(Devices::new(cpal::Cpal));
        }
        tools::Tools::found().map(Devices::new)
    }

    /// The same, or, where there is none, devices that do not work: calls are silent on this side,
    /// [`ClientEvent::Device`] tells it, with what to do.
    pub fn of_system() -> Self {
        Self::default_of_system().unwrap_or_else(|| Devices::new(Nothing))
    }

    /// The names that [`Devices::microphone`], [`Devices::loudspeaker`],
    /// [`crate::SipClient::use_microphone`] and [`crate::SipClient::use_loudspeaker`] take. It may
    /// take a moment: a program or a library is asked.
    ///
    /// # Errors
    /// What is asked is not there, or fails.
    pub fn list(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        self.system.devices(side)
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

    /// The names of the devices that are there; without it none are known.
    ///
    /// # Errors
    /// They cannot be told.
    fn devices(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        let _ = side;
        Ok(Vec::new())
    }
}

/// A machine without devices.
struct Nothing;

impl Nothing {
    fn error() -> io::Error {
        const FIX: &str = "no sound devices; install alsa-utils, or build with the feature `devices`";
        io::Error::new(io::ErrorKind::NotFound, FIX)
    }
}

impl SoundSystem for Nothing {
    fn microphone(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        Err(Nothing::error())
    }

    fn loudspeaker(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        Err(Nothing::error())
    }

    fn devices(&self, _: DeviceSide) -> io::Result<Vec<String>> {
        Err(Nothing::error())
    }
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
            Ok(source) => pipeline.source = Some(Box::new(source)),
            // It was there when the client was built.
            Err(error) => pipeline.problems.at_start.push(AudioProblem::NoFile(error)),
        }
    }
    pipeline
}

/// The microphone and the loudspeaker of a client, for all of its calls.
pub(crate) struct Pair {
    system: Arc<dyn SoundSystem>,
    rate_hz: u32,
    microphone: Arc<Choice>,
    loudspeaker: Arc<Choice>,
    speakers: Roster<Speaker>,
    listeners: Roster<Listener>,
    events: broadcast::WeakSender<ClientEvent>,
}

impl Pair {
    pub fn new(devices: Devices, rate_hz: u32, events: broadcast::WeakSender<ClientEvent>) -> Arc<Self> {
        let Devices { system, microphone, loudspeaker } = devices;
        Arc::new(Pair {
            system,
            rate_hz,
            microphone: Arc::new(Choice::new(microphone)),
            loudspeaker: Arc::new(Choice::new(loudspeaker)),
            speakers: Roster::default(),
            listeners: Roster::default(),
            events,
        })
    }

    /// Uses another device from now on, in calls that are up, too; `None`: the default one.
    pub fn choose(&self, side: DeviceSide, name: Option<String>) {
        match side {
            DeviceSide::Microphone => self.microphone.set(name),
            DeviceSide::Loudspeaker => self.loudspeaker.set(name),
        }
    }

    /// Gives a call's pipeline the devices where it has no source and no sink. They are opened when
    /// a call is answered, and closed when none needs them.
    pub fn give(self: &Arc<Self>, mut pipeline: AudioPipeline) -> AudioPipeline {
        if pipeline.source.is_none() {
            match captured(self) {
                Ok(source) => {
                    pipeline.source = Some(Box::new(source));
                    pipeline.devices.source = true;
                }
                Err(error) => {
                    let why = format!("the system refused a thread: {error}");
                    pipeline.problems.at_start.push(AudioProblem::NoMicrophone(why));
                }
            }
        }
        if pipeline.sink.is_none() {
            match played(self) {
                Ok(sink) => {
                    pipeline.sink = Some(Box::new(sink));
                    pipeline.devices.sink = true;
                }
                Err(error) => {
                    let why = format!("the system refused a thread: {error}");
                    pipeline.problems.at_start.push(AudioProblem::NoLoudspeaker(why));
                }
            }
        }
        pipeline
    }
}

/// Leaves samples out.
fn skip(ring: &mut Consumer<i16>, samples: usize) {
    if let Ok(chunk) = ring.read_chunk(samples) {
        chunk.commit_all();
    }
}
