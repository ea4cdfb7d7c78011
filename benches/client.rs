//! The client library under load, on loopback: call setup time, mouth-to-ear delay, and many simultaneous
//! calls with audio both ways, each through frames of the program. The far end is a separate process, so CPU
//! time and memory are those of one client.
//!
//! usage: cargo bench --bench client -- [--quick] [--calls 500] [--seconds 20] [--processing] [--json file]
//! `--processing`: only the simultaneous calls, each with echo cancellation, noise suppression and gain control

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b::client::{
    Audio, Call, Codec, Devices, Fill, FrameSource, Loudspeaker, Microphone, OutFrame, SipClient, Sound,
    SoundSystem,
};
use b2b::util::process;

/// Native rate of G.711.
const RATE_HZ: u32 = 8_000;
/// Samples in 20 ms.
const FRAME: usize = RATE_HZ as usize / 50;
const FRAME_TIME: Duration = Duration::from_millis(20);
/// Amplitude that is not silence after any codec.
const LOUD: i16 = 8_000;

struct Options {
    setups: usize,
    calls: usize,
    seconds: u64,
    json: Option<String>,
    far: bool,
    processing: bool,
}

fn options() -> Options {
    let mut options =
        Options { setups: 1_000, calls: 500, seconds: 20, json: None, far: false, processing: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--calls" => options.calls = number(),
            "--seconds" => options.seconds = number() as u64,
            "--json" => options.json = words.next(),
            "--quick" => (options.setups, options.calls, options.seconds) = (100, 100, 5),
            "--far" => options.far = true,
            "--processing" => options.processing = true,
            _ => {} // `cargo bench` adds `--bench`
        }
    }
    options
}

fn client(name: &str) -> SipClient {
    client_with(name, Audio::None)
}

fn client_with(name: &str, audio: Audio) -> SipClient {
    let client = SipClient::builder()
        .audio(audio)
        .identity(format!("sip:{name}@127.0.0.1"))
        .codecs([Codec::Pcmu])
        .rate_hz(RATE_HZ)
        .jitter_ms(40)
        .build();
    client.expect("a good configuration")
}

/// Answers every call and plays a tone, until the process is killed.
async fn far_end() {
    let client = client("far");
    let mut incoming = client.incoming().await.expect("started");
    println!("{}", client.uri().expect("started"));
    while let Some(call) = incoming.next().await {
        tokio::spawn(async move {
            if let Ok(call) = call.answer().await {
                let _ = call.play(Sound::tone(440.0, 3_600_000)).await;
            }
        });
    }
}

struct Far(Child, String);

impl Far {
    fn start() -> Far {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--far")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a far end");
        let mut uri = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut uri).expect("a URI");
        Far(child, uri.trim().to_owned())
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// p50, p95 and p99.
fn percentiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
    [at(0.5), at(0.95), at(0.99)]
}

/// Time from starting a call to its answer, in ms; calls run one after another.
async fn setup(client: &SipClient, far: &str, calls: usize) -> [f64; 3] {
    let mut took = Vec::new();
    for _ in 0..calls {
        let asked = Instant::now();
        let call = client.call(far).await.expect("asked for");
        call.wait_for_answer().await.expect("answered");
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        call.hangup().await.expect("hung up");
    }
    percentiles(took)
}

/// Source of the clicks.
#[derive(Clone, Copy, PartialEq)]
enum Mouth {
    /// A source called when a packet is due, as for the media thread's own sounds.
    Source,
    /// Frames written by a task at its own pace.
    Frames,
    /// Devices on both sides, see [`Card`].
    Devices,
}

/// Clicks, each at a different position in its frame.
struct Clicks {
    /// Frames between clicks: more than the audio delay.
    apart: usize,
    begun: Instant,
    frames: usize,
    /// Capture times of their first samples, s.
    captured: Arc<Mutex<Vec<f64>>>,
}

impl Clicks {
    /// Fills in the next 20 ms; its last sample is captured now.
    fn next(&mut self, samples: &mut [i16]) {
        if self.frames.is_multiple_of(self.apart) {
            let place = self.frames * 7 % (FRAME - 8);
            samples[place..place + 8].fill(2 * LOUD);
            let after = (FRAME - place) as f64 / f64::from(RATE_HZ);
            self.captured.lock().expect("not poisoned").push(self.begun.elapsed().as_secs_f64() - after);
        }
        self.frames += 1;
    }
}

impl FrameSource for Clicks {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        self.next(frame.samples);
        Fill::Audio
    }
}

/// A sound card with the largest latency that the requested buffers allow: its microphone yields a frame each
/// 20 ms; its loudspeaker accepts frames until 40 ms are queued, and plays them one after another.
#[derive(Clone)]
struct Card {
    begun: Instant,
    clicks: Arc<Mutex<Option<Clicks>>>,
    /// Playout times of clicks, s.
    played: Arc<Mutex<Vec<f64>>>,
    /// Loudspeaker underruns.
    dry: Arc<AtomicU64>,
}

/// Maximum audio queued in a loudspeaker.
const CARD: Duration = Duration::from_millis(40);

struct Spoken(Option<Clicks>, Instant);

impl Microphone for Spoken {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        self.1 += FRAME_TIME;
        std::thread::sleep(self.1.saturating_duration_since(Instant::now()));
        frame.fill(0);
        if let Some(clicks) = &mut self.0 {
            clicks.next(frame);
        }
        Ok(())
    }
}

struct Heard {
    card: Card,
    /// Playout time of the next sample.
    next: Instant,
    begins: bool,
}

impl Loudspeaker for Heard {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        let now = Instant::now();
        // An underrun, or the first frame.
        if self.next < now && !std::mem::take(&mut self.begins) {
            self.card.dry.fetch_add(1, Ordering::Relaxed);
        }
        self.next = self.next.max(now);
        let waits = (self.next + FRAME_TIME).saturating_duration_since(now);
        std::thread::sleep(waits.saturating_sub(CARD));
        if let Some(place) = frame.iter().position(|sample| sample.abs() >= LOUD) {
            let at = (self.next - self.card.begun).as_secs_f64() + place as f64 / f64::from(RATE_HZ);
            let mut played = self.card.played.lock().expect("not poisoned");
            if played.last().is_none_or(|last| at - last > 0.03) {
                played.push(at);
            }
        }
        self.next += FRAME_TIME;
        Ok(())
    }
}

impl SoundSystem for Card {
    fn microphone(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        let clicks = self.clicks.lock().expect("not poisoned").take();
        Ok(Box::new(Spoken(clicks, Instant::now())))
    }

    fn loudspeaker(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        Ok(Box::new(Heard { card: self.clone(), next: Instant::now(), begins: true }))
    }
}

/// Delay from the capture of a sample to its playout, ms; and the number of microphone underruns and
/// loudspeaker underruns.
async fn mouth_to_ear(mouth: Mouth, seconds: u64) -> ([f64; 3], u64) {
    let (begun, captured) = (Instant::now(), Arc::default());
    let apart = if mouth == Mouth::Devices { 20 } else { 5 };
    let clicks = Clicks { apart, begun, frames: 0, captured: Arc::clone(&captured) };
    let card = Card {
        begun,
        clicks: Arc::new(Mutex::new(Some(clicks))),
        played: Arc::default(),
        dry: Arc::default(),
    };
    let (near, far) = match mouth {
        Mouth::Devices => {
            let audio = |card: &Card| Audio::Devices(Devices::new(card.clone()));
            (
                client_with("mouth", audio(&card)),
                client_with("ear", audio(&Card { clicks: Arc::default(), ..card.clone() })),
            )
        }
        _ => (client("mouth"), client("ear")),
    };
    let mut incoming = far.incoming().await.expect("started");
    let call = near.call(far.uri().expect("started")).await.expect("asked for");
    let heard = incoming.next().await.expect("a call").answer().await.expect("answered");
    call.wait_for_answer().await.expect("answered");
    let mut hears = heard.audio().expect("sound").incoming;
    // The source was silent until now: clicks begin with the answer.
    let deadline = begun.elapsed() + Duration::from_secs(seconds);
    let take = || card.clicks.lock().expect("not poisoned").take().expect("clicks");
    match mouth {
        Mouth::Devices => {}
        Mouth::Source => drop(call.play(Sound::source(take())).await.expect("played")),
        Mouth::Frames => {
            let says = call.audio().expect("sound").outgoing;
            let mut clicks = take();
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(FRAME_TIME);
                while begun.elapsed() < deadline {
                    tick.tick().await;
                    let mut samples = [0; FRAME];
                    clicks.next(&mut samples);
                    // The ear hangs up at its deadline; clicks not heard by then are counted there.
                    if says.write(&samples).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
    let mut played: Vec<f64> = Vec::new();
    while begun.elapsed() < deadline {
        let frame = hears.next().await.expect("the call is up");
        let at = begun.elapsed().as_secs_f64();
        if let Some(place) = frame.samples().iter().position(|sample| sample.abs() >= LOUD)
            // A click that continues in the next frame counts once.
            && played.last().is_none_or(|last| at - last > 0.03)
        {
            played.push(at + place as f64 / f64::from(RATE_HZ));
        }
    }
    if mouth == Mouth::Devices {
        played = card.played.lock().expect("not poisoned").clone();
    }
    let captured: Vec<f64> = captured.lock().expect("not poisoned").clone();
    // Audio in transit when the call ends is not heard.
    let captured: Vec<f64> =
        captured.into_iter().filter(|said| said + 0.5 < deadline.as_secs_f64()).collect();
    let delays: Vec<f64> = captured
        .iter()
        .filter_map(|said| played.iter().find(|heard| *heard > said).map(|heard| (heard - said) * 1e3))
        .collect();
    assert!(delays.len() * 10 >= captured.len() * 9, "{} of {} were heard", delays.len(), captured.len());
    let dry = card.dry.load(Ordering::Relaxed);
    let underruns = call.statistics().await.map_or(0, |it| it.underruns);
    call.hangup().await.expect("hung up");
    (percentiles(delays), dry + underruns)
}

struct Many {
    cpu_pct: f64,
    memory_kb: f64,
    heard: u64,
    underruns: u64,
    overruns: u64,
    lost: u64,
}

/// Many simultaneous calls: per call, percent of a core and kB; in total, the missed audio.
async fn many(client: &SipClient, far: &str, count: usize, seconds: u64, speaker: Speaker) -> Many {
    let before = process::resident_bytes();
    let mut calls: Vec<Call> = Vec::new();
    for _ in 0..count {
        let call = client.call(far).await.expect("asked for");
        call.wait_for_answer().await.expect("answered");
        calls.push(call);
    }
    let talks: Vec<_> =
        calls.iter().map(|call| tokio::spawn(talk(call.clone(), seconds + 3, speaker))).collect();
    // Wait until every call has audio.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cpu, begun) = (process::cpu_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = (process::cpu_time() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let memory = process::resident_bytes().saturating_sub(before);
    let (mut heard, mut underruns, mut overruns, mut lost) = (0, 0, 0, 0);
    for talk in talks {
        let (frames, under, over) = talk.await.expect("talked");
        (heard, underruns, overruns) = (heard + frames, underruns + under, overruns + over);
    }
    for call in &calls {
        lost += call.quality().await.map_or(0, |quality| quality.lost + quality.late);
    }
    for call in &calls {
        call.hangup().await.expect("hung up");
    }
    let count = count as f64;
    Many {
        cpu_pct: 100.0 * used / count,
        memory_kb: memory as f64 / 1e3 / count,
        heard,
        underruns,
        overruns,
        lost,
    }
}

/// Who speaks in a call.
#[derive(Clone, Copy, PartialEq)]
enum Speaker {
    /// The program, in frames.
    Program,
    /// The source of the pipeline, whose audio is processed.
    #[cfg(feature = "processing")]
    Source,
}

/// The source of [`Speaker::Source`].
#[cfg(feature = "processing")]
struct Steady;

#[cfg(feature = "processing")]
impl FrameSource for Steady {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame.samples.iter_mut().enumerate().for_each(|(n, sample)| *sample = voice(n));
        Fill::Audio
    }
}

fn voice(n: usize) -> i16 {
    ((n as f64 * 0.3).sin() * f64::from(LOUD)) as i16
}

/// Sends audio and reads the received audio; returns frames, underruns and overruns.
async fn talk(call: Call, seconds: u64, speaker: Speaker) -> (u64, u64, u64) {
    let audio = call.audio().expect("sound");
    let (mut hears, says) = (audio.incoming, audio.outgoing);
    let voice: Vec<i16> = (0..FRAME).map(voice).collect();
    let writes = speaker == Speaker::Program;
    // A tenth of a second in advance, which hides late wake-ups of the task.
    for _ in (0..5).filter(|_| writes) {
        says.write(&voice).await.expect("written");
    }
    says.speaks(writes);
    let (begun, mut heard) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds)
        && let Some(frame) = hears.next().await
    {
        heard += u64::from(frame.samples()[0] != i16::MAX);
        if writes {
            says.write(&voice).await.expect("written");
        }
    }
    says.speaks(false);
    (heard, says.underruns(), hears.overruns())
}

fn main() {
    let options = options();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if options.far {
        return runtime.block_on(far_end());
    }
    let far = Far::start();
    #[cfg(feature = "processing")]
    if options.processing {
        let processing = b2b::client::Processing::ALL;
        let near = SipClient::builder().identity("sip:near@127.0.0.1").codecs([Codec::Pcmu]);
        let near = near.rate_hz(RATE_HZ).jitter_ms(40).processing(processing);
        let near = near.pipeline(|_| b2b::client::AudioPipeline::new().source(Steady)).build();
        let near = near.expect("a good configuration");
        let many = runtime.block_on(many(&near, &far.1, options.calls, options.seconds, Speaker::Source));
        return println!(
            "{} processed calls  {:.2} % of a core and {:.0} kB each",
            options.calls, many.cpu_pct, many.memory_kb
        );
    }
    let (setup, ear, frames, (devices, gaps), many) = runtime.block_on(async {
        let near = client("near");
        near.start().await.expect("started");
        let setup = setup(&near, &far.1, options.setups).await;
        let (ear, _) = mouth_to_ear(Mouth::Source, options.seconds).await;
        let (frames, _) = mouth_to_ear(Mouth::Frames, options.seconds).await;
        let (devices, gaps) = mouth_to_ear(Mouth::Devices, options.seconds).await;
        let many = many(&near, &far.1, options.calls, options.seconds, Speaker::Program).await;
        near.stop(Duration::from_secs(5)).await;
        (setup, ear, frames, (devices, gaps), many)
    });
    println!("call setup        p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms", setup[0], setup[1], setup[2]);
    for (what, [p50, p95, p99]) in
        [("a source", ear), ("frames in their own time", frames), ("devices", devices)]
    {
        println!("mouth to ear      p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, from {what}");
    }
    println!("devices           {gaps} times without sound in {} s", options.seconds);
    println!(
        "{} calls at once  {:.3} % of a core and {:.0} kB each; {} frames heard, {} underruns, {} overruns, {} packets lost or late",
        options.calls, many.cpu_pct, many.memory_kb, many.heard, many.underruns, many.overruns, many.lost
    );
    if let Some(path) = options.json {
        let figures = serde_json::json!({
            "setup_ms_p50": setup[0], "setup_ms_p99": setup[2],
            "ear_ms_p50": ear[0], "ear_ms_p95": ear[1], "frames_ms_p50": frames[0], "frames_ms_p95": frames[1],
            "devices_ms_p50": devices[0], "devices_ms_p95": devices[1], "devices_gaps": gaps,
            "calls": options.calls, "cpu_pct_per_call": many.cpu_pct, "memory_kb_per_call": many.memory_kb,
            "frames": many.heard, "underruns": many.underruns, "overruns": many.overruns, "lost": many.lost,
        });
        std::fs::write(path, format!("{figures:#}\n")).expect("written");
    }
}
