//! Agents that hear the early media of a party whom the server calls. The party is a tone, and the agent another one.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use b2b::media::codec::g711::{alaw_decode, alaw_encode};
use b2b::media::dtmf::goertzel;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;
use crate::server_support::phone::{Phone, rtp_of};

const PARTY: f64 = 700.0;
const AGENT: f64 = 1_600.0;

/// A listener of agents, and a server that calls phones.
struct House {
    listener: TcpListener,
    server: Arc<Server>,
}

/// A phone that was called.
struct Rung {
    phone: Phone,
    invite: String,
    peer: SocketAddr,
    /// The number of its next packet.
    next: Cell<u16>,
}

async fn house() -> House {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    let server = server(&format!(
        "{ROUTES}[[voice_agent]]\nname = \"ada\"\nurl = \"{url}\"\nrate_hz = 8000\nstall_s = 60\nfallback = \"milliwatt\"\n"
    ));
    House { listener, server: Arc::new(server) }
}

fn phone(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [Ipv4Addr::new(127, 0, 0, last); 3])
}

impl House {
    /// Calls these phones for the agent; the first one to answer has it.
    fn calls(&self, phones: Vec<String>, early: bool) -> tokio::task::JoinHandle<Value> {
        let (server, command) = (
            self.server.clone(),
            json!({"command": "originate", "from": phones, "app": "voice_agent/ada", "early": early, "ring_s": 30}),
        );
        tokio::task::spawn_blocking(move || server.post("/commands?wait=60", &command).json())
    }

    async fn accepts(&self) -> Client {
        let (stream, _) = within("a connection", self.listener.accept()).await.expect("a connection");
        Client::begin(accept_async(stream).await.expect("a WebSocket")).await
    }

    /// A phone that sends early media, and the agent that hears it.
    async fn early(&self) -> (tokio::task::JoinHandle<Value>, Rung, Client) {
        let phone = phone("bob", 3);
        let done = self.calls(vec![phone.uri()], true);
        let rung = rings(phone).await;
        rung.progresses();
        let agent = self.accepts().await;
        assert_eq!((&agent.start["early"], &agent.start["speaks"]), (&json!(true), &json!(true)));
        assert_eq!(agent.start["direction"], "outbound");
        (done, rung, agent)
    }

    fn reached(&self) -> f64 {
        ["connected", "failed"]
            .map(|it| self.server.metric(&format!("b2b_voice_agents_total{{result=\"{it}\"}}")))
            .iter()
            .sum()
    }
}

async fn rings(phone: Phone) -> Rung {
    let rung = move || {
        let (invite, peer) = phone.hear("INVITE");
        Rung { phone, invite, peer, next: Cell::new(0) }
    };
    tokio::task::spawn_blocking(rung).await.expect("an INVITE")
}

/// 20 ms of a tone.
fn tone(hz: f64, n: u16) -> [i16; 160] {
    let turn = |k: usize| (usize::from(n) * 160 + k) as f64 * hz / 8_000.0 * std::f64::consts::TAU;
    std::array::from_fn(|k| (turn(k).sin() * 8_000.0) as i16)
}

impl Rung {
    fn progresses(&self) {
        self.phone.progress_to(&self.invite, self.peer);
    }

    /// The agent hears the tone that the phone sends.
    async fn is_heard(&self, agent: &mut Client) {
        let to = rtp_of(&self.invite);
        let from = agent.heard.len();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let heard = async {
            while !agent.heard[from..].chunks_exact(2_400).any(|it| goertzel(it, PARTY, 8_000) > 1e5) {
                tokio::select! {
                    _ = ticks.tick() => {
                        let n = self.next.replace(self.next.get() + 1);
                        self.phone.sound(to, n, &tone(PARTY, n).map(alaw_encode));
                    }
                    more = agent.turn() => assert!(more, "it is over: {:?}", agent.told),
                }
            }
        };
        within("a tone", heard).await;
    }

    /// The phone hears this tone.
    async fn hears(&self, agent: &mut Client, hz: f64) {
        let search = async {
            loop {
                let packets = self.phone.packets_by_now();
                let heard: Vec<i16> =
                    packets.iter().flat_map(|it| &it[12..]).map(|it| alaw_decode(*it)).collect();
                if heard.chunks_exact(1_600).any(|it| goertzel(it, hz, 8_000) > 1e5) {
                    return;
                }
                // the phone only collects its packets: they are looked at now and then
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        agent.beside(within("a tone", search)).await;
    }

    async fn answers(self) -> Rung {
        let answers = move || {
            self.phone.answer_to(&self.invite, self.peer);
            self
        };
        tokio::task::spawn_blocking(answers).await.expect("an ACK")
    }

    /// The server takes its call back.
    async fn hears_cancel(self) {
        let cancelled = move || {
            let (cancel, peer) = self.phone.hear("CANCEL");
            self.phone.agree_to(&cancel, peer);
            self.phone.refuse_to("487 Request Terminated", &self.invite, self.peer);
            self.phone.hear("ACK");
        };
        tokio::task::spawn_blocking(cancelled).await.expect("a CANCEL");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn early_media_is_heard_and_what_its_agent_says_before_the_answer_is_not() {
    let house = house().await;
    let (done, rung, mut agent) = house.early().await;
    rung.is_heard(&mut agent).await;
    let words: Vec<i16> = (0..50).flat_map(|n| tone(AGENT, n)).collect();
    agent.say(&words).await;
    agent.tell(json!({"type": "mark", "name": "before"})).await;
    agent.is_told(json!({"type": "mark", "name": "before", "played": false})).await;
    agent.tell(json!({"type": "consult", "to": "1001"})).await;
    agent.until("a mistake", |it| it.told.iter().any(|it| it["reason"] == "junk").then_some(())).await;
    rung.is_heard(&mut agent).await;
    assert!(rung.phone.packets_by_now().is_empty(), "nothing is sent before the answer");
    let call = only_call(&house.server)["call"].clone();
    let account = || house.server.get(&format!("/calls/{call}?format=text")).text();
    assert!(!account().contains("speaks") && !account().contains("connected"), "{}", account());
    let rung = agent.beside(rung.answers()).await;
    agent.is_told(json!({"type": "answered"})).await;
    agent.say(&words).await;
    agent.tell(json!({"type": "mark", "name": "behind"})).await;
    rung.hears(&mut agent, AGENT).await;
    agent.is_told(json!({"type": "mark", "name": "behind", "played": true})).await;
    rung.is_heard(&mut agent).await;
    let result = within("the command", done).await.expect("an answer");
    assert_eq!(result["result"]["leg"], agent.start["leg"], "{result}");
    until("its account", || account().contains("connected").then_some(()));
    agent.tell(json!({"type": "stop"})).await;
    assert_eq!(agent.reads_to_the_end().await.0, 1000);
    tokio::task::spawn_blocking(move || rung.phone.let_go()).await.expect("a BYE");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_answered_reaches_no_agent_unless_it_is_early() {
    let house = house().await;
    let bob = phone("bob", 3);
    let done = house.calls(vec![bob.uri()], false);
    let rung = rings(bob).await;
    rung.progresses();
    rung.phone.speak(rtp_of(&rung.invite), 250);
    rung.phone.refuse_to("486 Busy Here", &rung.invite, rung.peer);
    let result = within("the command", done).await.expect("an answer");
    assert_eq!((&result["state"], house.reached()), (&json!("failed"), 0.0), "{result}");
    // Without early media there is no agent before the answer.
    let bob = phone("bob", 3);
    let done = house.calls(vec![bob.uri()], true);
    let rung = rings(bob).await;
    rung.phone.ring_to(&rung.invite, rung.peer);
    rung.phone.refuse_to("486 Busy Here", &rung.invite, rung.peer);
    within("the command", done).await.expect("an answer");
    assert_eq!(house.reached(), 0.0);
    let (done, rung, mut agent) = house.early().await;
    rung.phone.refuse_to("486 Busy Here", &rung.invite, rung.peer);
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    assert!(agent.told.iter().all(|it| it["type"] != "answered"), "{:?}", agent.told);
    let result = within("the command", done).await.expect("an answer");
    assert_eq!(result["state"], "failed", "{result}");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_before_the_answer_ends_the_call() {
    let house = house().await;
    let (done, rung, mut agent) = house.early().await;
    rung.is_heard(&mut agent).await;
    agent.tell(json!({"type": "stop"})).await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "stopped".to_owned()));
    rung.hears_cancel().await;
    let result = within("the command", done).await.expect("an answer");
    assert_eq!(result["state"], "failed", "{result}");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_before_the_answer_is_done_at_the_answer() {
    let house = house().await;
    let (done, rung, mut agent) = house.early().await;
    agent.tell(json!({"type": "stop", "transfer": "600"})).await;
    rung.is_heard(&mut agent).await;
    let rung = agent.beside(rung.answers()).await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "stopped".to_owned()));
    within("the command", done).await.expect("an answer");
    until("its application", || (only_call(&house.server)["application"] == "echo").then_some(()));
    house.server.ask("DELETE", &format!("/calls/{}", only_call(&house.server)["call"]));
    tokio::task::spawn_blocking(move || rung.phone.let_go()).await.expect("a BYE");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_breaks_before_the_answer_gets_the_party_at_its_answer() {
    let house = house().await;
    let (done, rung, agent) = house.early().await;
    drop(agent);
    let sockets = || house.server.metric("b2b_held{what=\"voice_sockets\"}");
    until("no agent", || (sockets() == 0.0).then_some(()));
    let (rung, mut agent) = tokio::join!(rung.answers(), house.accepts());
    assert_eq!((agent.start.get("early"), &agent.start["direction"]), (None, &json!("outbound")));
    agent.say(&(0..100).flat_map(|n| tone(AGENT, n)).collect::<Vec<_>>()).await;
    rung.hears(&mut agent, AGENT).await;
    let result = within("the command", done).await.expect("an answer");
    assert_eq!(result["result"]["leg"], agent.start["leg"], "{result}");
    agent.tell(json!({"type": "stop"})).await;
    agent.reads_to_the_end().await;
    tokio::task::spawn_blocking(move || rung.phone.let_go()).await.expect("a BYE");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_early_party_is_not_the_one_that_answers_gets_that_one_anew() {
    let house = house().await;
    let (bob, cat) = (phone("bob", 3), phone("cat", 4));
    let done = house.calls(vec![bob.uri(), cat.uri()], true);
    let (bob, cat) = tokio::join!(rings(bob), rings(cat));
    bob.progresses();
    let mut early = house.accepts().await;
    bob.is_heard(&mut early).await;
    let (cat, (), mut agent) = tokio::join!(cat.answers(), bob.hears_cancel(), house.accepts());
    assert_eq!(early.reads_to_the_end().await, (1000, "closed".to_owned()));
    assert_eq!(agent.start.get("early"), None);
    assert_ne!(agent.start["leg"], early.start["leg"]);
    cat.is_heard(&mut agent).await;
    within("the command", done).await.expect("an answer");
    agent.tell(json!({"type": "stop"})).await;
    agent.reads_to_the_end().await;
    tokio::task::spawn_blocking(move || cat.phone.let_go()).await.expect("a BYE");
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_is_for_voice_agents() {
    let house = house().await;
    for app in [json!("echo"), json!(null)] {
        let command = json!({"command": "originate", "from": "user/1001", "app": app, "early": true});
        let answer = house.server.post("/commands", &command);
        assert!(answer.text().contains("voice_agent/"), "{}", answer.text());
    }
}
