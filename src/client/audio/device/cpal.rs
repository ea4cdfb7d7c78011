//! Devices through the crate cpal (ALSA). Its callbacks run on its own threads; rings of 20 ms frames connect
//! them to ours.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, Device, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    SupportedStreamConfigRange,
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::format::{Between, Format, Kind, Offer, choose, folded};
use super::{DeviceSide, GONE_AFTER, Loudspeaker, Microphone, SoundSystem};

/// Polling interval of a ring.
const LOOK: Duration = Duration::from_millis(2);
/// Capacity of a ring in frames of 20 ms.
const ROOM: usize = 4;

/// The devices of cpal's default host, opened with the format nearest to mono at the call's rate.
pub(super) struct Cpal;

impl Cpal {
    /// Whether there is any device.
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

/// A format of a device, if it can be converted.
fn offer(range: SupportedStreamConfigRange) -> Option<Offer> {
    let kind = match range.sample_format() {
        SampleFormat::I16 => Kind::I16,
        SampleFormat::I32 => Kind::I32,
        SampleFormat::F32 => Kind::F32,
        SampleFormat::U16 => Kind::U16,
        _ => return None,
    };
    let rates_hz = (range.min_sample_rate(), range.max_sample_rate());
    Some(Offer { channels: range.channels(), rates_hz, kind })
}

fn chosen(
    ranges: impl Iterator<Item = SupportedStreamConfigRange>,
    rate_hz: u32,
) -> io::Result<(Format, StreamConfig)> {
    let offers: Vec<Offer> = ranges.filter_map(offer).collect();
    let format = choose(&offers, rate_hz).ok_or_else(|| {
        let why = format!("it has no rate of 8, 16, 24 or 48 kHz that can be used, but {offers:?}");
        io::Error::new(io::ErrorKind::Unsupported, why)
    })?;
    let Format { channels, rate_hz, .. } = format;
    Ok((format, StreamConfig { channels, sample_rate: rate_hz, buffer_size: BufferSize::Default }))
}

/// A stream that reads a device in its own sample type.
fn input<T: SizedSample>(
    device: &Device,
    config: StreamConfig,
    mut heard: Producer<i16>,
    fail: impl FnMut(cpal::Error) + Send + 'static,
) -> io::Result<Stream>
where
    i16: FromSample<T>,
{
    let channels = usize::from(config.channels);
    let take = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        for moment in samples.chunks_exact(channels) {
            // A full ring means that nothing reads; these samples are dropped.
            let _ = heard.push(folded(moment.iter().map(|sample| i16::from_sample(*sample))));
        }
    };
    device.build_input_stream(config, take, fail, None).map_err(other)
}

/// A stream that plays to a device in its own sample type.
fn output<T: SizedSample + FromSample<i16>>(
    device: &Device,
    config: StreamConfig,
    mut to_play: Consumer<i16>,
    fail: impl FnMut(cpal::Error) + Send + 'static,
) -> io::Result<Stream> {
    let channels = usize::from(config.channels);
    let give = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| {
        for moment in samples.chunks_mut(channels) {
            moment.fill(T::from_sample(to_play.pop().unwrap_or(0)));
        }
    };
    device.build_output_stream(config, give, fail, None).map_err(other)
}

impl SoundSystem for Cpal {
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>> {
        let device = device(name, HostTrait::default_input_device)?;
        let (format, config) = chosen(device.supported_input_configs().map_err(other)?, rate_hz)?;
        let (heard, ring) = RingBuffer::new(format.rate_hz as usize / 50 * ROOM);
        let gone = Arc::new(AtomicBool::new(false));
        let failed = gone.clone();
        let fail = move |error: cpal::Error| note(&error, &failed);
        let stream = match format.kind {
            Kind::I16 => input::<i16>(&device, config, heard, fail),
            Kind::I32 => input::<i32>(&device, config, heard, fail),
            Kind::F32 => input::<f32>(&device, config, heard, fail),
            Kind::U16 => input::<u16>(&device, config, heard, fail),
        }?;
        stream.play().map_err(other)?;
        let between = Between::new(format.rate_hz, rate_hz, format.rate_hz);
        Ok(Box::new(Input { ring, between, gone, _stream: stream }))
    }

    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let device = device(name, HostTrait::default_output_device)?;
        let (format, config) = chosen(device.supported_output_configs().map_err(other)?, rate_hz)?;
        let (ring, to_play) = RingBuffer::new(format.rate_hz as usize / 50 * ROOM);
        let gone = Arc::new(AtomicBool::new(false));
        let failed = gone.clone();
        let fail = move |error: cpal::Error| note(&error, &failed);
        let stream = match format.kind {
            Kind::I16 => output::<i16>(&device, config, to_play, fail),
            Kind::I32 => output::<i32>(&device, config, to_play, fail),
            Kind::F32 => output::<f32>(&device, config, to_play, fail),
            Kind::U16 => output::<u16>(&device, config, to_play, fail),
        }?;
        stream.play().map_err(other)?;
        let between = Between::new(rate_hz, format.rate_hz, format.rate_hz);
        Ok(Box::new(Output { ring, between, gone, _stream: stream }))
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

/// Notes an error that ends the device. A device that fails without an error is detected by its silence.
fn note(error: &cpal::Error, gone: &AtomicBool) {
    if matches!(error.kind(), ErrorKind::DeviceNotAvailable | ErrorKind::StreamInvalidated) {
        gone.store(true, Ordering::Release);
    }
}

/// Waits until the ring is ready.
fn wait(gone: &AtomicBool, ready: impl Fn() -> bool) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    while !ready() {
        if gone.load(Ordering::Acquire) || waited > GONE_AFTER {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the device is gone"));
        }
        sleep(LOOK);
        waited += LOOK;
    }
    Ok(())
}

struct Input {
    ring: Consumer<i16>,
    between: Between,
    gone: Arc<AtomicBool>,
    _stream: Stream,
}

impl Microphone for Input {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        let Input { ring, between, gone, .. } = self;
        between.taken(frame, |frame| {
            wait(gone, || ring.slots() >= frame.len())?;
            ring.pop_entire_slice(frame).map_err(other)
        })
    }
}

struct Output {
    ring: Producer<i16>,
    between: Between,
    gone: Arc<AtomicBool>,
    _stream: Stream,
}

impl Loudspeaker for Output {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        let Output { ring, between, gone, .. } = self;
        let frame = between.given(frame);
        wait(gone, || ring.slots() >= frame.len())?;
        ring.push_entire_slice(frame).map_err(other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DeviceSide;
    use super::*;

    /// Runs in a separate process: ALSA reads its configuration once. See the test below.
    #[test]
    #[ignore = "needs ALSA_CONFIG_PATH with devices of its own: run by the test beside it"]
    fn the_devices_of_the_configuration_are_used() {
        let mut frame = [1; 320];
        let mut microphone = Cpal.microphone(None, 16_000).expect("opened");
        microphone.read(&mut frame).expect("a frame");
        assert_eq!(frame, [0; 320], "the device null says nothing");
        let mut loudspeaker = Cpal.loudspeaker(None, 16_000).expect("opened");
        for _ in 0..20 {
            loudspeaker.write(&[500; 320]).expect("taken");
        }
        for side in [DeviceSide::Microphone, DeviceSide::Loudspeaker] {
            assert!(!Cpal.devices(side).expect("listed").is_empty());
        }
        let error = Cpal.microphone(Some("nowhere"), 16_000).err().expect("no such device");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_device_of_alsa_is_opened_read_and_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("alsa.conf");
        std::fs::write(
            &config,
            "pcm.!default { type null }\npcm.quiet { type null hint { show on description \"nobody\" } }\n",
        )
        .expect("written");
        let of = "audio::device::cpal::tests::the_devices_of_the_configuration_are_used";
        let mut tests = std::process::Command::new(std::env::current_exe().expect("this program"));
        tests.args(["--exact", of, "--ignored"]).env("ALSA_CONFIG_PATH", &config);
        let output = tests.output().expect("started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
