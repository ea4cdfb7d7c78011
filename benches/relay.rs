//! CPU time per relayed RTP packet, delay and loss: the relay compared to a bare forwarder with the same
//! sockets, system calls and batches, which checks and rewrites nothing. Both run interleaved under the same
//! load.
//!
//! usage: cargo bench --bench relay -- [--calls 1000] [--seconds 10] [--rounds 5]
//!        [--quick] [--json FILE]
//!
//! The forwarder runs on core 0, the load on the last core. Each call sends 50 packets a second both ways,
//! spread over the 20 ms; each carries a sequence number and its send time, checked at the far end. CPU time
//! is that of the forwarding thread, from `/proc/self/task/<tid>/schedstat`; arrival times are the kernel's.
//! `lost` counts packets that the forwarder did not deliver, `dropped` those of them that the kernel dropped
//! at its sockets, `unread` those that it dropped at the sockets of the load.

mod support {
    pub mod bare;
    pub mod load;
}

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};

use b2b::media::forward::PayloadMap;
use b2b::media::relay::{EndpointConfig, RelayConfig, RelayEvent, RelayHandle, Way};
use b2b::media::remote::Remote;
use support::load::{Load, Measured};

/// The ports of the forwarder under test.
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The relay with its endpoints joined in pairs.
fn relay(load: &mut Load, seconds: u32) -> Measured {
    let config = RelayConfig { threads: 1, ..RelayConfig::new(vec![LOCALHOST], PORTS, 1) };
    let (relay, _events) = RelayHandle::spawn::<RelayEvent>(config).expect("a relay");
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 0);
    let way = Way::new(payload_types, 8_000);
    let mut servers = Vec::new();
    for call in 0..load.calls() {
        let mut near = None;
        let ends = [0, 1].map(|side| {
            let (id, local) = relay.open(false, near, EndpointConfig::default()).wait().expect("an endpoint");
            near = Some(id);
            let rtp = load.party(call * 2 + side);
            relay.describe(id, Remote::at(rtp));
            servers.push(local);
            id
        });
        assert!(relay.join(ends[0], ends[1], way, way));
    }
    let last = relay.open(false, None, EndpointConfig::default()).wait().expect("an endpoint").0;
    // Commands run in order: this answer comes after every join.
    relay.stats(last).blocking_recv().expect("counters");
    load.run(&servers, "relay-0", seconds)
}

/// The bare forwarder, with the destination of each socket.
fn bare(load: &mut Load, seconds: u32) -> Measured {
    let routes: Vec<SocketAddr> = (0..load.calls() * 2).map(|stream| load.party(stream)).collect();
    let bare = support::bare::Bare::start(*PORTS.start(), routes);
    load.run(bare.servers(), "bare", seconds)
}

/// Pins a thread of this process, the calling thread for `None`.
pub fn pin(tid: Option<u32>, core: usize) {
    let tid = tid.map_or_else(|| gettid().to_string(), |tid| tid.to_string());
    let done = Command::new("taskset").args(["-pc", &core.to_string(), &tid]).output();
    if !done.is_ok_and(|done| done.status.success()) {
        eprintln!("taskset failed: threads share cores, figures mean less");
    }
}

fn gettid() -> u32 {
    nix::unistd::gettid().as_raw() as u32
}

struct Options {
    calls: usize,
    seconds: u32,
    rounds: usize,
    json: Option<String>,
}

fn options() -> Options {
    let mut options = Options { calls: 1_000, seconds: 10, rounds: 5, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--calls" => options.calls = number(),
            "--seconds" => options.seconds = number() as u32,
            "--rounds" => options.rounds = number(),
            "--json" => options.json = words.next(),
            "--quick" => (options.calls, options.seconds, options.rounds) = (200, 3, 3),
            _ => {} // `cargo bench` adds `--bench`
        }
    }
    options
}

/// The figures of one forwarder over all rounds.
#[derive(Default)]
struct Figures {
    cpu_us: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    busy: Vec<f64>,
    sent: u64,
    lost: u64,
    unread: u64,
    dropped: u64,
    wrong: u64,
}

impl Figures {
    fn add(&mut self, run: &Measured) {
        self.cpu_us.push(run.cpu_ns as f64 / run.sent.max(1) as f64 / 1_000.0);
        self.p50_us.push(run.delay_us(50.0));
        self.p99_us.push(run.delay_us(99.0));
        self.busy.push(run.cpu_ns as f64 / run.wall_ns as f64 * 100.0);
        self.sent += run.sent;
        let missing = run.sent - run.received.min(run.sent);
        // Some may have been lost during warm-up.
        self.unread += run.unread.min(missing);
        self.lost += missing.saturating_sub(run.unread);
        self.dropped += run.dropped;
        self.wrong += run.wrong;
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cpu_us_per_packet": median(&self.cpu_us),
            "cpu_us_per_packet_runs": self.cpu_us,
            "delay_us_p50": median(&self.p50_us),
            "delay_us_p99": median(&self.p99_us),
            "busy_percent": median(&self.busy),
            "sent": self.sent,
            "lost": self.lost,
            "not_read_by_the_load": self.unread,
            "dropped_at_the_forwarder": self.dropped,
            "out_of_sequence": self.wrong,
        })
    }

    fn row(&self, name: &str) {
        println!(
            "{name:<6} {:>8.2} {:>8.1} {:>9.0} {:>9.0} {:>10} {:>6} {:>7} {:>7} {:>6}",
            median(&self.cpu_us),
            median(&self.busy),
            median(&self.p50_us),
            median(&self.p99_us),
            self.sent,
            self.lost,
            self.unread,
            self.dropped,
            self.wrong
        );
    }
}

fn median(runs: &[f64]) -> f64 {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> ExitCode {
    let options = options();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    pin(None, cores - 1);
    println!(
        "{} calls both ways, {} packets/s, {} s a run, medians of {} interleaved runs",
        options.calls,
        options.calls * 100,
        options.seconds,
        options.rounds
    );
    let mut load = Load::new(options.calls);
    let (mut floor, mut ours) = (Figures::default(), Figures::default());
    for _ in 0..options.rounds {
        floor.add(&bare(&mut load, options.seconds));
        ours.add(&relay(&mut load, options.seconds));
    }
    println!("       us CPU/pkt  % core  delay p50  p99 us       sent   lost  unread dropped  wrong");
    floor.row("bare");
    ours.row("relay");
    let ratio = median(&ours.cpu_us) / median(&floor.cpu_us);
    println!("ratio {ratio:.3} (goal 1.15), delay p99 goal 1000 us, loss goal 0");
    if let Some(path) = options.json {
        let all = serde_json::json!({
            "calls": options.calls, "seconds": options.seconds, "rounds": options.rounds,
            "bare": floor.json(), "relay": ours.json(), "ratio": ratio,
        });
        std::fs::write(path, format!("{all:#}\n")).expect("a file that can be written");
    }
    ExitCode::SUCCESS
}
