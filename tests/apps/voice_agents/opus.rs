//! Agents whose audio is Opus. Everybody is a tone.

use b2b::client::Sound;
use b2b::media::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusTuning};
use b2b::media::dtmf::goertzel;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;

const RATE_HZ: u32 = 24_000;
const CALLER: f32 = 700.0;
const AGENT: f64 = 1_600.0;
/// Far below the power of a tone.
const HEARD: f64 = 1e5;

/// An agent's end: the messages, and its decoder.
struct Agent {
    socket: WebSocketStream<TcpStream>,
    decoder: Decoder,
    heard: Vec<i16>,
    told: Vec<Value>,
    /// Octets of its packets.
    octets: Vec<usize>,
}

impl Agent {
    async fn turn(&mut self) {
        match within("a message", self.socket.next()).await {
            Some(Ok(Message::Binary(packet))) => {
                let mut samples = [0; RATE_HZ as usize / 50];
                let made = self.decoder.decode(&packet, &mut samples).expect("a packet");
                assert_eq!(made, samples.len(), "20 ms each");
                self.heard.extend(samples);
                self.octets.push(packet.len());
            }
            Some(Ok(Message::Text(text))) => self.told.push(serde_json::from_str(&text).expect("JSON")),
            other => panic!("it is over: {other:?}"),
        }
    }

    async fn is_told(&mut self, kind: &str) -> Value {
        loop {
            if let Some(told) = self.told.iter().find(|it| it["type"] == kind) {
                return told.clone();
            }
            self.turn().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_have_its_audio_as_packets_of_opus() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    let server = server(&format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n[[voice_agent]]\nname = \"ada\"\nurl = \"{url}\"\n\
         encoding = \"opus\"\nrate_hz = {RATE_HZ}\nstall_s = 60\n"
    ));
    let accepts = async {
        let (stream, _) = within("a connection", listener.accept()).await.expect("a connection");
        let socket = accept_async(stream).await.expect("a WebSocket");
        let decoder = Decoder::new(Codec::Opus, RATE_HZ);
        Agent { socket, decoder, heard: Vec::new(), told: Vec::new(), octets: Vec::new() }
    };
    let (mut ann, mut agent) = tokio::join!(Caller::calls(&server, "700"), accepts);
    let start = agent.is_told("start").await;
    let format = &start["format"];
    assert_eq!((&format["encoding"], &format["rate_hz"]), (&json!("opus"), &json!(RATE_HZ)));
    assert_eq!(format.get("frame_octets"), None, "{format}");
    ann.call.play(Sound::tone(CALLER, 600_000)).await.expect("said");
    let part = RATE_HZ as usize / 5;
    while !agent.heard.chunks_exact(part).any(|it| goertzel(it, CALLER.into(), RATE_HZ) > HEARD) {
        agent.turn().await;
    }
    let mean = agent.octets.iter().sum::<usize>() / agent.octets.len();
    assert!(mean < 200, "{mean} octets for 960 of L16");
    let tuning = OpusTuning { bitrate: 24_000, expected_loss_pct: 0 };
    let mut encoder = Encoder::new(Codec::Opus, RATE_HZ, tuning);
    let turn = |n: usize| n as f64 * AGENT / f64::from(RATE_HZ) * std::f64::consts::TAU;
    let samples: Vec<i16> = (0..RATE_HZ as usize * 2).map(|n| (turn(n).sin() * 8_000.0) as i16).collect();
    // Packets of any length that Opus has.
    for frame in samples.chunks(RATE_HZ as usize / 25) {
        let mut packet = vec![0; MAX_PAYLOAD];
        let count = encoder.encode(frame, &mut packet).expect("a packet");
        packet.truncate(count);
        agent.socket.send(Message::binary(packet)).await.expect("sent");
    }
    agent.socket.send(Message::text(r#"{"type":"mark","name":"said"}"#)).await.expect("sent");
    let hears = async {
        let mut heard: Vec<i16> = Vec::new();
        while !heard.chunks_exact(1_600).any(|it| goertzel(it, AGENT, 8_000) > HEARD) {
            heard.extend(ann.frames.recv().await.expect("the call is up"));
        }
    };
    within("a tone", hears).await;
    assert_eq!(agent.is_told("mark").await["played"], true);
    agent.socket.send(Message::binary(vec![0xFF; 5])).await.expect("sent");
    assert_eq!(agent.is_told("error").await["reason"], "junk");
    agent.socket.send(Message::text(r#"{"type":"stop"}"#)).await.expect("sent");
    within("the end", ann.call.wait_for_end()).await;
    drop(agent);
    nothing_is_left(&server).await;
}
