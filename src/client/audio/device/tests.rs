use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;
use b2b_base::frame::{Fill, FrameKind, InFrame, OutFrame};
use b2b_base::util::ntp::NtpTime;

const PATIENCE: Duration = Duration::from_secs(20);

/// Devices that produce and take numbers, and are unplugged by the test.
#[derive(Clone, Default)]
struct Fake {
    /// Whether the named devices and the default one are unplugged.
    unplugged: Arc<AtomicU32>,
    opened: Arc<AtomicUsize>,
    /// Frames read from microphones.
    said: Arc<AtomicUsize>,
    /// Open microphones.
    open: Arc<AtomicUsize>,
    loudspeakers: Arc<AtomicUsize>,
    /// Makes the next frame of a microphone panic.
    panics: Arc<AtomicBool>,
}

const NAMED: u32 = 1;
const DEFAULT: u32 = 2;

impl Fake {
    fn is_gone(&self, bit: u32) -> io::Result<()> {
        if self.unplugged.load(Ordering::SeqCst) & bit == 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "unplugged"))
    }
}

struct FakeMicrophone(Fake, u32);

impl Microphone for FakeMicrophone {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(2));
        assert!(!self.0.panics.swap(false, Ordering::SeqCst), "as the test wants it");
        frame.fill(self.1 as i16);
        self.0.said.fetch_add(1, Ordering::SeqCst);
        self.0.is_gone(self.1)
    }
}

impl Drop for FakeMicrophone {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

struct FakeLoudspeaker(Fake, u32, Sender<(u32, i16)>);

impl Loudspeaker for FakeLoudspeaker {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        let _ = self.2.send((self.1, frame[0]));
        self.0.is_gone(self.1)
    }
}

struct System(Fake, Sender<(u32, i16)>);

impl SoundSystem for System {
    fn microphone(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        let bit = if name.is_some() { NAMED } else { DEFAULT };
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        self.0.is_gone(bit)?;
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeMicrophone(self.0.clone(), bit)))
    }

    fn loudspeaker(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let bit = if name.is_some() { NAMED } else { DEFAULT };
        self.0.is_gone(bit)?;
        self.0.loudspeakers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeLoudspeaker(self.0.clone(), bit, self.1.clone())))
    }
}

/// The problem, whether it works, and the device in use.
type Told = (Option<String>, bool, Option<String>);

/// A call's pipeline with both devices.
struct Bench {
    fake: Fake,
    pair: Arc<Pair>,
    pipeline: AudioPipeline,
    events: broadcast::Receiver<ClientEvent>,
    /// Events received but not queried yet.
    told: Vec<(DeviceSide, Told)>,
    _sender: broadcast::Sender<ClientEvent>,
    heard: Receiver<(u32, i16)>,
}

impl Bench {
    fn new() -> Self {
        let fake = Fake::default();
        let (said, heard) = channel();
        let devices = Devices::new(System(fake.clone(), said)).microphone("headset").loudspeaker("headset");
        Self::of(devices, fake, heard)
    }

    fn of(devices: Devices, fake: Fake, heard: Receiver<(u32, i16)>) -> Self {
        let (sender, events) = broadcast::channel(64);
        let pair = Pair::new(devices, 8_000, sender.downgrade());
        Bench {
            fake,
            pipeline: pair.give(AudioPipeline::new()),
            pair,
            events,
            told: Vec::new(),
            _sender: sender,
            heard,
        }
    }

    fn fill(&mut self) -> (Fill, i16) {
        fill(&mut self.pipeline)
    }

    fn until(&mut self, what: &str, mut wanted: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next event of this side.
    fn event(&mut self, wanted: DeviceSide) -> Told {
        let mut found = None;
        self.until("an event", |bench| {
            bench.fill();
            bench.play(7);
            while let Ok(ClientEvent::Device { side, device, problem, works }) = bench.events.try_recv() {
                bench.told.push((side, (problem, works, device)));
            }
            let index = bench.told.iter().position(|(side, _)| *side == wanted);
            found = index.map(|index| bench.told.remove(index).1);
            found.is_some()
        });
        found.expect("found")
    }

    fn play(&mut self, sample: i16) {
        play(&mut self.pipeline, sample);
    }
}

fn fill(pipeline: &mut AudioPipeline) -> (Fill, i16) {
    let mut samples = [0; 160];
    let source = pipeline.source.as_mut().expect("a microphone");
    let fill = source.fill(&mut OutFrame { samples: &mut samples, captured_at: NtpTime(0) });
    (fill, samples[159])
}

fn play(pipeline: &mut AudioPipeline, sample: i16) {
    let sink = pipeline.sink.as_mut().expect("a loudspeaker");
    sink.frame(&InFrame { samples: &[sample; 160], captured_at: None, kind: FrameKind::Audio });
}

#[test]
fn a_microphone_is_opened_with_the_first_packet_and_heard() {
    let mut bench = Bench::new();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.fake.opened.load(Ordering::SeqCst), 0, "nobody listens to a call that rings");
    assert_eq!(bench.fill(), (Fill::Silence, 0));
    bench.until("the microphone", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
}

#[test]
fn a_loudspeaker_plays_what_is_heard() {
    let mut bench = Bench::new();
    bench.until("sound", |bench| {
        bench.play(7);
        bench.heard.try_recv() == Ok((NAMED, 7))
    });
}

#[test]
fn a_device_that_is_unplugged_gives_way_to_the_default_one_which_is_told() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
    bench.fake.unplugged.store(NAMED, Ordering::SeqCst);
    for side in [DeviceSide::Microphone, DeviceSide::Loudspeaker] {
        let (problem, works, device) = bench.event(side);
        let problem = problem.expect("why");
        assert!(
            works && device.is_none() && problem.contains("headset") && problem.contains("unplugged"),
            "{problem}"
        );
    }
    bench.until("the default one", |bench| bench.fill() == (Fill::Audio, DEFAULT as i16));
    bench.until("the default one", |bench| {
        bench.play(9);
        bench.heard.try_recv() == Ok((DEFAULT, 9))
    });
}

#[test]
fn without_any_device_the_call_is_silent_until_one_is_there() {
    let mut bench = Bench::new();
    bench.fake.unplugged.store(NAMED | DEFAULT, Ordering::SeqCst);
    let (problem, works, device) = bench.event(DeviceSide::Microphone);
    assert!(problem.is_some() && !works && device.is_none());
    assert_ne!(bench.fill().0, Fill::Audio);
    bench.fake.unplugged.store(0, Ordering::SeqCst);
    let (problem, works, _) = bench.event(DeviceSide::Microphone);
    assert!(problem.is_none() && works);
    bench.until("the one that was asked for", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
}

#[test]
fn a_call_returns_to_the_device_that_was_asked_for_when_it_is_back() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
    bench.fake.unplugged.store(NAMED, Ordering::SeqCst);
    bench.until("the default one", |bench| bench.fill() == (Fill::Audio, DEFAULT as i16));
    bench.until("the default one", |bench| {
        bench.play(9);
        bench.heard.try_iter().any(|it| it == (DEFAULT, 9))
    });
    bench.fake.unplugged.store(0, Ordering::SeqCst);
    for side in [DeviceSide::Microphone, DeviceSide::Loudspeaker] {
        let back = [bench.event(side), bench.event(side)];
        assert!(back[0].0.is_some() && back[1] == (None, true, Some("headset".to_owned())), "{back:?}");
    }
    bench.until("the headset", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
}

#[test]
fn another_device_is_taken_in_a_call_and_told() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
    let default = (None, true, None);
    bench.pair.choose(DeviceSide::Microphone, None);
    assert_eq!(bench.event(DeviceSide::Microphone), default);
    bench.until("the default one", |bench| bench.fill() == (Fill::Audio, DEFAULT as i16));
    bench.pair.choose(DeviceSide::Loudspeaker, None);
    assert_eq!(bench.event(DeviceSide::Loudspeaker), default);
    bench.until("the default one", |bench| {
        bench.play(9);
        bench.heard.try_iter().any(|it| it == (DEFAULT, 9))
    });
    bench.fake.unplugged.store(NAMED, Ordering::SeqCst);
    bench.pair.choose(DeviceSide::Microphone, Some("headset".to_owned()));
    let (problem, works, device) = bench.event(DeviceSide::Microphone);
    assert!(problem.is_some_and(|it| it.contains("headset")) && works && device.is_none());
}

#[test]
fn all_calls_have_one_microphone_and_one_loudspeaker() {
    let mut bench = Bench::new();
    let mut other = bench.pair.give(AudioPipeline::new());
    bench.until("both", |bench| {
        let both = [bench.fill(), fill(&mut other)];
        both == [(Fill::Audio, NAMED as i16); 2]
    });
    bench.until("the sum of both", |bench| {
        bench.play(3);
        play(&mut other, 4);
        bench.heard.try_iter().any(|it| it == (NAMED, 7))
    });
    drop(other);
    bench.until("the one that is left", |bench| {
        bench.play(3);
        bench.heard.try_iter().any(|it| it == (NAMED, 3))
    });
    let opened = [&bench.fake.opened, &bench.fake.loudspeakers].map(|it| it.load(Ordering::SeqCst));
    assert_eq!(opened, [1, 1]);
}

#[test]
fn a_microphone_that_no_call_needs_is_closed_and_opened_again() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill().0 == Fill::Audio);
    bench.until("it is closed", |bench| bench.fake.open.load(Ordering::SeqCst) == 0);
    while bench.fill().0 == Fill::Audio {}
    bench.until("the microphone again", |bench| bench.fill().0 == Fill::Audio);
    assert_eq!(bench.fake.opened.load(Ordering::SeqCst), 2);
    let Bench { fake, pipeline, pair, .. } = bench;
    drop(pipeline);
    let deadline = Instant::now() + PATIENCE;
    // The thread has ended, so the pair has no other owner.
    while Arc::strong_count(&pair) > 1 || fake.open.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "the threads do not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_device_that_panics_takes_its_call_and_not_the_next_one() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill().0 == Fill::Audio);
    bench.fake.panics.store(true, Ordering::SeqCst);
    bench.until("the panic", |bench| {
        bench.fill();
        bench.fake.open.load(Ordering::SeqCst) == 0
    });
    bench.pipeline = bench.pair.give(AudioPipeline::new());
    bench.until("the next call", |bench| bench.fill() == (Fill::Audio, NAMED as i16));
}

#[test]
fn a_machine_without_devices_says_what_to_do() {
    let mut bench = Bench::of(Devices::new(Nothing), Fake::default(), channel().1);
    for side in [DeviceSide::Microphone, DeviceSide::Loudspeaker] {
        let (problem, works, device) = bench.event(side);
        let problem = problem.expect("why");
        assert!(!works && device.is_none() && problem.contains("alsa-utils"), "{problem}");
        let error = Devices::new(Nothing).list(side).expect_err("none");
        assert!(error.to_string().contains("alsa-utils"), "{error}");
    }
}

#[test]
fn a_quick_device_loses_its_oldest_sound_and_not_time() {
    let mut bench = Bench::new();
    bench.until("the microphone", |bench| bench.fill().0 == Fill::Audio);
    // Fifty unread frames: no more than the limit ever waits.
    let before = bench.fake.said.load(Ordering::SeqCst);
    bench.until("much sound", |bench| bench.fake.said.load(Ordering::SeqCst) > before + 50);
    let opened = bench.fake.opened.load(Ordering::SeqCst);
    bench.fake.unplugged.store(NAMED | DEFAULT, Ordering::SeqCst);
    bench.until("it is looked for again", |bench| bench.fake.opened.load(Ordering::SeqCst) > opened);
    let mut frames = 0;
    while bench.fill().0 == Fill::Audio {
        frames += 1;
    }
    assert!((1..=5).contains(&frames), "{frames} frames waited");
}

#[test]
fn what_a_program_says_of_its_failure_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let fails = "echo 'ALSA lib: something before' >&2; echo 'audio open error: No such device' >&2; exit 1";
    let tools = tools::Tools {
        arecord: script(folder.path(), "arecord", fails),
        aplay: script(folder.path(), "aplay", fails),
    };
    let mut microphone = tools.microphone(None, 8_000).expect("started");
    let error = microphone.read(&mut [0; 160]).expect_err("it has ended");
    assert_eq!(error.to_string(), "audio open error: No such device");
    let mut loudspeaker = tools.loudspeaker(None, 8_000).expect("started");
    let error = (0..1_000).find_map(|_| loudspeaker.write(&[0; 160]).err()).expect("it has ended");
    assert_eq!(error.to_string(), "audio open error: No such device");
}

#[test]
fn a_program_that_stands_still_is_a_device_that_does_not_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let stands = || script(folder.path(), "stands", "exec sleep 3600");
    let tools = tools::Tools { arecord: stands(), aplay: stands() };
    let mut bench = Bench::of(Devices::new(tools), Fake::default(), channel().1);
    for side in [DeviceSide::Microphone, DeviceSide::Loudspeaker] {
        let (problem, works, device) = bench.event(side);
        let problem = problem.expect("why");
        assert!(!works && device.is_none() && problem.contains("no sound for"), "{problem}");
    }
    let error = Devices::new(tools::Tools { arecord: stands(), aplay: stands() });
    let error = error.list(DeviceSide::Microphone).expect_err("it says nothing");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    // The threads end with the call.
    let Bench { pipeline, pair, .. } = bench;
    drop(pipeline);
    let deadline = Instant::now() + PATIENCE;
    while Arc::strong_count(&pair) > 1 {
        assert!(Instant::now() < deadline, "the threads do not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_that_says_much_does_not_stand_still() {
    let folder = tempfile::tempdir().expect("a folder");
    // Twice the capacity of a pipe in 400 frames.
    let line = "x".repeat(320);
    let talks = format!("while echo {line} >&2; do head -c 320 /dev/zero || exit; done");
    let program = script(folder.path(), "arecord", &talks);
    let tools = tools::Tools { arecord: program.clone(), aplay: program };
    let mut microphone = tools.microphone(None, 8_000).expect("started");
    for _ in 0..400 {
        microphone.read(&mut [0; 160]).expect("a frame");
    }
}

#[test]
fn devices_are_listed_by_the_names_that_arecord_and_aplay_print() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[ \"$1\" = -L ] || exit 9\nprintf 'null\\n    Discard all samples\\nhw:CARD=PCH,DEV=0\\n    HDA Intel\\n'";
    let tools = tools::Tools {
        arecord: script(folder.path(), "arecord", text),
        aplay: script(folder.path(), "aplay", "echo 'no soundcards found' >&2; exit 1"),
    };
    let devices = Devices::new(tools);
    assert_eq!(devices.list(DeviceSide::Microphone).expect("listed"), ["null", "hw:CARD=PCH,DEV=0"]);
    let error = devices.list(DeviceSide::Loudspeaker).expect_err("none").to_string();
    assert!(error.contains("no soundcards found") && error.contains("aplay -L"), "{error}");
}

/// Writes a script into the folder of a test.
pub(super) fn script(folder: &std::path::Path, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("to run");
    file
}

#[test]
fn arecord_and_aplay_are_asked_for_mono_at_the_rate_of_the_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    let tools = tools::Tools {
        arecord: script(folder.path(), "arecord", "echo \"$@\"; head -c 9999 /dev/zero"),
        aplay: script(folder.path(), "aplay", &format!("echo \"$@\" >{at}/args; head -c 4 >{at}/got")),
    };
    let mut frame = [1; 160];
    let mut microphone = tools.microphone(Some("hw:1"), 16_000).expect("started");
    microphone.read(&mut frame).expect("a frame");
    let octets: Vec<u8> = frame.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let args = String::from_utf8_lossy(&octets);
    assert!(args.starts_with("-q -t raw -f S16_LE -c 1 -r 16000 ") && args.contains(" -D hw:1\n"), "{args}");
    let end = (0..100).find_map(|_| microphone.read(&mut frame).err());
    assert_eq!(end.map(|error| error.kind()), Some(io::ErrorKind::UnexpectedEof), "the program has ended");

    let mut loudspeaker = tools.loudspeaker(None, 8_000).expect("started");
    let deadline = Instant::now() + PATIENCE;
    let end = loop {
        assert!(Instant::now() < deadline, "it takes four octets and ends");
        if let Err(error) = loudspeaker.write(&[0x0201; 160]) {
            break error.kind();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(end, io::ErrorKind::BrokenPipe);
    let args = std::fs::read_to_string(folder.path().join("args")).expect("it was started");
    assert!(args.contains("-r 8000 ") && !args.contains("-D"), "{args}");
    assert_eq!(std::fs::read(folder.path().join("got")).expect("it was written to"), [1, 2, 1, 2]);
}
