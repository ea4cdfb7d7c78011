//! The call centre of `plans/callcentre.b2bua.toml`, as documented in `docs/callcentre.md`: a menu, the
//! queue, an agent, a recording and a parking slot, in one conversation with one account.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use b2b::client::{Codec, EndCause, SipClient};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::apps::parties::{Party, RATE_HZ, within};
use crate::common::child::PATIENCE;
use crate::server_support::{Server, start_by};

const CALLER: f64 = 600.0;
const AGENT: f64 = 900.0;
const COLLEAGUE: f64 = 1_500.0;
/// Frequencies of this test's prompts, and of the plan's music.
const MENU: f64 = 1_200.0;
const MUSIC: f64 = 440.0;
const SILENT: f64 = 60.0;

fn tone(path: &Path, hz: f64, seconds: f64) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = hound::WavWriter::create(path, spec).expect("a file");
    for n in 0..(seconds * f64::from(RATE_HZ)) as u32 {
        let t = f64::from(n) / f64::from(RATE_HZ);
        file.write_sample((8_000.0 * (t * hz * std::f64::consts::TAU).sin()) as i16).expect("written");
    }
    file.finalize().expect("written");
}

/// Starts the plan in its own folder, with free ports, and tones as prompts.
fn centre() -> Server {
    let whole = tempfile::tempdir().expect("a folder");
    let folder = whole.path();
    let plan = fs::read_to_string("plans/callcentre.b2bua.toml").expect("the plan");
    let prompts = folder.join("target/prompts");
    fs::create_dir_all(prompts.join("digits")).expect("a folder");
    fs::create_dir_all(folder.join("target/recordings")).expect("a folder");
    fs::create_dir_all(folder.join("plans")).expect("a folder");
    let script = fs::read_to_string("scripts/make-prompts.sh").expect("the script");
    for name in script.lines().filter_map(|line| line.strip_prefix("say ")?.split(' ').next()) {
        let hz = if name == "sales-or-room.wav" { MENU } else { SILENT };
        if !name.contains('$') {
            tone(&prompts.join(name), hz, if hz == MENU { 5.0 } else { 0.2 });
        }
    }
    (0..10).for_each(|digit| tone(&prompts.join(format!("digits/{digit}.wav")), SILENT, 0.2));
    let plan = plan.replace(
        "[\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"]",
        "[\"udp:127.0.0.1:0\"]\ndomains = [\"b2b.example\"]",
    );
    let plan = plan.replace("127.0.0.1:8080", "127.0.0.1:0");
    let path = folder.join("plans/callcentre.b2bua.toml");
    fs::write(&path, plan).expect("a file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--config"]).arg(path);
    start_by(&mut command, whole)
}

/// A registered phone of one of the plan's users.
async fn phone(name: &str, at: SocketAddr) -> SipClient {
    let client = unregistered(name, at);
    within("registered", client.register()).await.expect("registered");
    client
}

/// The same phone before registration.
fn unregistered(name: &str, at: SocketAddr) -> SipClient {
    let builder =
        SipClient::builder().identity(format!("sip:{name}@b2b.example")).bind("127.0.0.1:0").jitter_ms(400);
    let builder = builder.registrar(format!("sip:{at}")).credentials(name, format!("b2b-example-{name}"));
    builder.rate_hz(RATE_HZ).codecs([Codec::Pcma]).build().expect("a client")
}

async fn dials(client: &SipClient, number: &str, hz: f64) -> Party {
    let call = client.call(format!("sip:{number}@b2b.example")).await.expect("a call");
    within("an answer", call.wait_for_answer()).await.expect("answered");
    let party = Party { _client: client.clone(), call };
    party.says(hz).await;
    party
}

/// Waits until the only call has this state.
async fn is(server: &Server, state: &str) {
    until(server, state, |call| call["state"] == state).await;
}

/// Waits until the only call meets the condition.
async fn until(server: &Server, what: &str, so: impl Fn(&Value) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let calls = server.get("/calls").json();
        if so(&calls["calls"][0]) {
            return;
        }
        assert!(Instant::now() < until, "no call is {what}: {calls}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_goes_by_menu_and_queue_to_an_agent_and_by_a_slot_to_a_colleague() {
    let mut server = centre();
    let at = server.sip;
    let ann = phone("1001", at).await;
    let ann = dials(&ann, "8000", CALLER).await;
    ann.hears(&[MENU], &[]).await;
    is(&server, "in_ivr").await;
    ann.presses("1").await;
    is(&server, "in_queue").await;
    ann.hears(&[MUSIC], &[MENU]).await;

    // The queue calls the agent as soon as it is registered; a phone not yet taking calls answers 480.
    let bob = unregistered("1002", at);
    let mut incoming = bob.incoming().await.expect("calls");
    within("registered", bob.register()).await.expect("registered");
    let ringing = within("the agent is called", incoming.next()).await.expect("a call");
    let call = within("answered", ringing.answer()).await.expect("answered");
    let bob = Party { call, _client: bob };
    bob.says(AGENT).await;
    ann.hears(&[AGENT], &[MUSIC]).await;
    is(&server, "bridged").await;
    until(&server, "the agent's", |call| call["variables"].to_string().contains("\"1002\"")).await;
    bob.presses("*1").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    within("sent on", bob.call.transfer("sip:700@b2b.example")).await.expect("sent on");

    is(&server, "parking").await;
    ann.hears(&[MUSIC], &[AGENT]).await;
    let cat = phone("1003", at).await;
    let cat = dials(&cat, "701", COLLEAGUE).await;
    ann.hears(&[COLLEAGUE], &[MUSIC]).await;
    cat.hears(&[CALLER], &[MUSIC]).await;
    cat.hangs_up().await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);

    server.process.signal(Signal::SIGTERM);
    server.process.assert_exit(0);
    let folder = server.folder.path();
    let records = fs::read_to_string(folder.join("target/callcentre.cdr.jsonl")).expect("records");
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 3, "{records:#?}");
    for record in &records {
        let noted = &record["variables"];
        assert_eq!((&noted["queue_agent"], &noted["parked"]), (&"1002".into(), &"701".into()), "{record}");
    }
    let file = records[0]["variables"]["recording"].as_str().expect("a recording").to_owned();
    let mut file = hound::WavReader::open(folder.join("plans").join(&file)).expect("a WAV");
    let samples: Vec<i16> = file.samples::<i16>().map(|sample| sample.expect("a sample")).collect();
    let heard = |hz: f64| {
        let right: Vec<i16> = samples.iter().skip(1).step_by(2).copied().collect();
        let left: Vec<i16> = samples.iter().step_by(2).copied().collect();
        [left, right].iter().any(|side| {
            side.chunks_exact(1_600).any(|part| b2b::media::dtmf::goertzel(part, hz, RATE_HZ) > 1e6)
        })
    };
    for (who, hz) in [("caller", CALLER), ("agent", AGENT), ("music", MUSIC), ("colleague", COLLEAGUE)] {
        assert!(heard(hz), "the recording has no {who}");
    }
}
