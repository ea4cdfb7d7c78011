//! Devices by the crate cpal (ALSA). Its callbacks run on threads of its own; rings of 20 ms
//! frames are between them and ours.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, Device, ErrorKind, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{DeviceSide, Loudspeaker, Microphone, SoundSystem};

/// How often a ring is looked at while there is nothing to do.
const LOOK: Duration = Duration::from_millis(2);
/// How long a device may give or take nothing before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Frames of 20 ms that a ring has room for.
const ROOM: usize = 4;

/// The devices of cpal's default host, at the rate of the call, in mono: on ALSA the plug-in
/// layer of a default device converts.
pub(super) struct Cpal;

impl Cpal {
    /// Whether there is a device at all.
    pub fn is_there() -> bool {
        let host = cpal::default_host();
        host.default_input_device().is_some() || host.default_output_device().is_some()
    }
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn device(name: Option<&str>, default: impl FnOnce(&cpal::Host) -> Option<Device>) -> io::Result<Device> {
    let host = cpal::default_host();
    let found = match name {
        None => default(&host),
        Some(name) => {
            let called = |device: &Device| device.description().is_ok_and(|known| known.name() == name);
            host.devices().map_err(other)?.find(called)
        }
    };
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such device"))
}

fn config(rate_hz: u32) -> StreamConfig {
    StreamConfig { channels: 1, sample_rate: rate_hz, buffer_size: BufferSize::Default }
}

impl SoundSystem for Cpal {
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>> {
        let device = device(name, HostTrait::default_input_device)?;
        let (mut heard, ring) = RingBuffer::new(rate_hz as usize / 50 * ROOM);
        let gone = Arc::new(AtomicBool::new(false));
        let failed = gone.clone();
        let take = move |samples: &[i16], _: &cpal::InputCallbackInfo| {
            // Nobody reads: what comes later counts more.
            let _ = heard.push_entire_slice(samples);
        };
        let fail = move |error: cpal::Error| note(&error, &failed);
        let stream = device.build_input_stream(config(rate_hz), take, fail, None).map_err(other)?;
        stream.play().map_err(other)?;
        Ok(Box::new(Input { ring, gone, _stream: stream }))
    }

    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let device = device(name, HostTrait::default_output_device)?;
        let (ring, mut to_play) = RingBuffer::<i16>::new(rate_hz as usize / 50 * ROOM);
        let gone = Arc::new(AtomicBool::new(false));
        let failed = gone.clone();
        let give = move |samples: &mut [i16], _: &cpal::OutputCallbackInfo| {
            for sample in samples {
                *sample = to_play.pop().unwrap_or(0);
            }
        };
        let fail = move |error: cpal::Error| note(&error, &failed);
        let stream = device.build_output_stream(config(rate_hz), give, fail, None).map_err(other)?;
        stream.play().map_err(other)?;
        Ok(Box::new(Output { ring, gone, _stream: stream }))
    }

    fn devices(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        let host = cpal::default_host();
        let name = |device: Device| device.description().ok().map(|known| known.name().to_owned());
        Ok(match side {
            DeviceSide::Microphone => host.input_devices().map_err(other)?.filter_map(name).collect(),
            DeviceSide::Loudspeaker => host.output_devices().map_err(other)?.filter_map(name).collect(),
        })
    }
}

/// Whether an error is the end of the device. A device that says nothing of its end is found by
/// its silence.
fn note(error: &cpal::Error, gone: &AtomicBool) {
    if matches!(error.kind(), ErrorKind::DeviceNotAvailable | ErrorKind::StreamInvalidated) {
        gone.store(true, Ordering::Release);
    }
}

/// Waits until the ring is ready.
fn wait(gone: &AtomicBool, ready: impl Fn() -> bool) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    while !ready() {
        if gone.load(Ordering::Acquire) || waited > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the device is gone"));
        }
        sleep(LOOK);
        waited += LOOK;
    }
    Ok(())
}

struct Input {
    ring: Consumer<i16>,
    gone: Arc<AtomicBool>,
    _stream: Stream,
}

impl Microphone for Input {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        wait(&self.gone, || self.ring.slots() >= frame.len())?;
        self.ring.pop_entire_slice(frame).map_err(other)
    }
}

struct Output {
    ring: Producer<i16>,
    gone: Arc<AtomicBool>,
    _stream: Stream,
}

impl Loudspeaker for Output {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        wait(&self.gone, || self.ring.slots() >= frame.len())?;
        self.ring.push_entire_slice(frame).map_err(other)
    }
}
