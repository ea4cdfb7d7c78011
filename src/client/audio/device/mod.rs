//! Sound devices: one microphone and one loudspeaker for all calls of a client.
//!
//! - `capture`, `playback`: one direction on its own thread, between a device and the rings of the media
//!   thread, one per call; `depth`: how much a ring holds; `roster`: the calls that such a thread serves
//! - `slot`: the device in use, its failure, recovery and change
//! - `tools`: `arecord` and `aplay`; `program`: such a program and its pipe; `cpal`: the crate of that name,
//!   feature `devices`; `format`: conversion between the formats of a device and a call
//!
//! # Clocks
//!
//! A device's clock is not the session's. A microphone's ring holds the audio captured between two packets,
//! at most 20 ms, plus 20 ms each time it was empty when a packet was due, up to 60 ms. A loudspeaker's ring
//! stays empty, since the device takes frames at once, and starts with 40 ms. When a ring holds a frame more
//! than needed, one is skipped in the next quiet moment (`depth`). When a device is so much slower or faster
//! that 100 ms accumulate, the excess is skipped at once. Nothing is stretched.

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

/// Time without audio after which a device counts as gone. A device that wakes up, such as a Bluetooth one,
/// takes a second.
const GONE_AFTER: Duration = Duration::from_secs(3);

use super::pipeline::{AudioPipeline, FrameFormat};
use super::{AudioProblem, Sound};
use crate::ClientEvent;
use b2b_base::frame::{FrameSink, FrameSource};
use capture::{Speaker, captured};
use playback::{Listener, played};
use roster::Roster;
use slot::Choice;

/// How often a thread polls for work: the media thread must not wake it.
const LOOK: Duration = Duration::from_millis(5);
/// How long a device stays open when no call needs it.
const IDLE_MS: u32 = 2_000;
/// Buffered frames of 20 ms at which some are skipped.
const MOST: usize = 5;
/// Capacity of a ring in frames of 20 ms.
const ROOM: usize = 16;

/// The source and the destination of the audio of calls.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Audio {
    /// Only audio that the program plays, writes and reads.
    #[default]
    None,
    /// Devices, as source and sink where the pipeline has none.
    Devices(Devices),
    /// Each call sends this file from its answer on, repeated, unless the
    /// pipeline has a source. The client's thread opens it for each call. [`crate::Call::record`] records
    /// received audio.
    Files {
        /// The file.
        say: PathBuf,
    },
    /// The program's own source and sink, where the pipeline has none: see [`Audio::custom`].
    Custom(CustomAudio),
}

impl Audio {
    /// The program's own source and sink: `make` is called once per call. Both run on the media thread and
    /// must be quick (see [`b2b_base::frame`]).
    pub fn custom<S: FrameSource + 'static, K: FrameSink + 'static>(
        make: impl Fn(FrameFormat) -> (S, K) + Send + Sync + 'static,
    ) -> Self {
        Audio::Custom(CustomAudio(Arc::new(move |format| {
            let (source, sink) = make(format);
            (Box::new(source), Box::new(sink))
        })))
    }
}

/// Creates the source and the sink of a call.
type Make = dyn Fn(FrameFormat) -> (Box<dyn FrameSource>, Box<dyn FrameSink>) + Send + Sync;

/// The program's own sources and sinks, see [`Audio::custom`].
#[derive(Clone)]
pub struct CustomAudio(Arc<Make>);

impl CustomAudio {
    /// Sets the source and the sink of a call's pipeline where it has none.
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

/// The choice of sound devices.
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

    /// The default devices of this machine: through the crate cpal with the feature `devices`, else through
    /// `arecord` and `aplay`, which must both be in the path; `None` if neither is available.
    pub fn default_of_system() -> Option<Self> {
        #[cfg(feature = "devices")]
        if cpal::Cpal::is_there() {
            return Some(Devices::new(cpal::Cpal));
        }
        tools::Tools::found().map(Devices::new)
    }

    /// Like [`Devices::default_of_system`], but with devices that do not work if there are none: calls are
    /// silent on this side, and [`ClientEvent::Device`] reports it with a remedy.
    pub fn of_system() -> Self {
        Self::default_of_system().unwrap_or_else(|| Devices::new(Nothing))
    }

    /// The names that [`Devices::microphone`], [`Devices::loudspeaker`], [`crate::SipClient::use_microphone`]
    /// and [`crate::SipClient::use_loudspeaker`] accept. It may take a moment: it runs a program or calls a
    /// library.
    ///
    /// # Errors
    /// The system cannot list its devices.
    pub fn list(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        self.system.devices(side)
    }

    /// Selects a microphone by its name in the sound system.
    pub fn microphone(mut self, name: impl Into<String>) -> Self {
        self.microphone = Some(name.into());
        self
    }

    /// Selects a loudspeaker by its name in the sound system.
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

/// Opens devices. Its methods are called on threads that may block.
pub trait SoundSystem: Send + Sync {
    /// Opens a microphone; `None` names the default one.
    ///
    /// # Errors
    /// There is none, it is in use, or it does not support this rate.
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>>;

    /// Opens a loudspeaker; `None` names the default one.
    ///
    /// # Errors
    /// As for [`SoundSystem::microphone`].
    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>>;

    /// The names of the available devices. The default implementation knows none.
    ///
    /// # Errors
    /// The devices cannot be listed.
    fn devices(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        let _ = side;
        Ok(Vec::new())
    }
}

/// The sound system of a machine without devices.
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
    /// Waits for a frame of 20 ms: mono samples at the rate it was opened with.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()>;
}

/// An open loudspeaker, used by one thread.
pub trait Loudspeaker {
    /// Plays a frame of 20 ms, waiting while the device's buffer is full.
    ///
    /// # Errors
    /// The device is gone.
    fn write(&mut self, frame: &[i16]) -> io::Result<()>;
}

/// The side of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSide {
    /// Captures the user's voice.
    Microphone,
    /// Plays the far end.
    Loudspeaker,
}

/// Checks that a file can be played at this rate.
pub(crate) fn check_file(file: &Path, rate_hz: u32) -> Result<(), String> {
    Sound::file(file).prepare(rate_hz).map(|_| ())
}

/// Sets a file as the source of a call's pipeline.
pub(crate) fn with_file(mut pipeline: AudioPipeline, file: &Path, rate_hz: u32) -> AudioPipeline {
    if pipeline.source.is_none() {
        match Sound::file(file).repeat().prepare(rate_hz) {
            Ok(source) => pipeline.source = Some(Box::new(source)),
            // The file existed when the client was built.
            Err(error) => pipeline.problems.at_start.push(AudioProblem::NoFile(error)),
        }
    }
    pipeline
}

/// The microphone and the loudspeaker of a client, shared by its calls.
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

    /// Changes a device from now on, also in calls in progress; `None` for the default one.
    pub fn choose(&self, side: DeviceSide, name: Option<String>) {
        match side {
            DeviceSide::Microphone => self.microphone.set(name),
            DeviceSide::Loudspeaker => self.loudspeaker.set(name),
        }
    }

    /// Sets the devices as source and sink of a call's pipeline where it has none. They open when a call is
    /// answered, and close when none needs them.
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

/// Discards samples.
fn skip(ring: &mut Consumer<i16>, samples: usize) {
    if let Ok(chunk) = ring.read_chunk(samples) {
        chunk.commit_all();
    }
}
