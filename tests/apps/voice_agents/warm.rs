//! Agents that consult somebody about their caller, and hand the caller over. Everybody is a tone.

use b2b::client::{CallState, Codec, IncomingCall, IncomingCalls, Sound};
use b2b::media::dtmf::goertzel;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;
use crate::apps::ivr::tone;
use crate::server_support::phone::{Phone, field};
use crate::server_support::start;

const MUSIC: f64 = 500.0;
const ANN: f32 = 700.0;
const BOB: f32 = 1_150.0;
const AGENT: f64 = 1_600.0;

/// A server with an agent for 700, and the phone of the user 1001.
struct Office {
    listener: TcpListener,
    server: Server,
    _bob: SipClient,
    at_bob: IncomingCalls,
}

async fn office(agent: &str) -> Office {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\ntrusted = [\"127.0.0.1\"]\nstore = \"memory\"\n\
         domains = [\"b2b.example\"]\ncdr = \"cdr.jsonl\"\ndrain_s = 2\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n\
         [[music]]\nname = \"default\"\ntone = \"{MUSIC}\"\n[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
         [[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n\
         [[voice_agent]]\nname = \"ada\"\nurl = \"{url}\"\nrate_hz = 8000\nstall_s = 60\nfallback = \"echo\"\n{agent}"
    );
    std::fs::write(folder.path().join("b2bua.toml"), config).expect("a file");
    let server = start(folder);
    let bob = SipClient::builder().identity("sip:1001@127.0.0.1").bind("127.0.0.2:0").jitter_ms(400);
    let bob = bob.registrar(format!("sip:{}", server.sip)).credentials("1001", "secret");
    let bob = bob.rate_hz(8_000).codecs([Codec::Pcma]).build().expect("a client");
    let at_bob = bob.incoming().await.expect("calls");
    within("a registration", bob.register()).await.expect("registered");
    Office { listener, server, _bob: bob, at_bob }
}

impl Office {
    /// Ann, who is a tone, and the agent that has her.
    async fn talk(&self) -> (Caller, Client) {
        let accepts = async {
            let (stream, _) = within("a connection", self.listener.accept()).await.expect("a connection");
            Client::begin(accept_async(stream).await.expect("a WebSocket")).await
        };
        let (ann, agent) = tokio::join!(Caller::calls(&self.server, "700"), accepts);
        ann.call.play(Sound::tone(ANN, 600_000)).await.expect("said");
        (ann, agent)
    }

    /// The call at Bob's phone that his agent's `consult` leads to.
    async fn rings(&mut self, agent: &mut Client) -> IncomingCall {
        agent.tell(json!({"type": "consult", "to": "user/1001", "headers": {"X-Summary": "a refund"}})).await;
        agent.is_told(json!({"type": "consult", "state": "calling"})).await;
        let call = agent.beside(within("a call", self.at_bob.next())).await.expect("the phone is there");
        assert_eq!(call.header("X-Summary"), Some("a refund"));
        call
    }

    /// The same, and Bob, who is a tone, answers.
    async fn answers(&mut self, agent: &mut Client) -> Call {
        let call = self.rings(agent).await;
        let bob = agent.beside(within("an answer", call.answer())).await.expect("answered");
        bob.play(Sound::tone(BOB, 600_000)).await.expect("said");
        agent.is_told(json!({"type": "consult", "state": "answered"})).await;
        bob
    }

    async fn is_empty(&self) {
        nothing_is_left(&self.server).await;
    }
}

/// Waits until the agent hears this tone.
async fn hears(agent: &mut Client, hz: f32) {
    let mut from = agent.heard.len();
    let look = |it: &mut Client| {
        let heard = it.heard.get(from..from + 2_400)?;
        from += 2_400;
        // A fraction of the tones' level.
        (goertzel(heard, f64::from(hz), 8_000) > 1e5).then_some(())
    };
    agent.until("a tone", look).await;
}

/// The agent is a tone for a minute, at once.
async fn speaks(agent: &mut Client) {
    let turn = |n: usize| n as f64 * AGENT / 8_000.0 * std::f64::consts::TAU;
    let samples: Vec<i16> = (0..480_000).map(|n| (turn(n).sin() * 8_000.0) as i16).collect();
    agent.say(&samples).await;
}

/// The agent is back with Ann: each hears the other.
async fn is_back(ann: &mut Caller, agent: &mut Client) {
    hears(agent, ANN).await;
    ann.forgets();
    speaks(agent).await;
    agent.beside(tone(&mut ann.frames, AGENT)).await;
}

fn is_cancelled(call: &IncomingCall) {
    until("CANCEL", || matches!(call.state(), CallState::Ended(_)).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_briefs_whom_it_consults_and_hands_its_caller_over() {
    let mut office = office("").await;
    let (mut ann, mut agent) = office.talk().await;
    hears(&mut agent, ANN).await;
    let bob = office.answers(&mut agent).await;
    let mut at_bob = frames(&bob);
    speaks(&mut agent).await;
    agent.beside(tone(&mut at_bob, AGENT)).await;
    hears(&mut agent, BOB).await;
    agent.beside(tone(&mut ann.frames, MUSIC)).await;
    agent.tell(json!({"type": "mark", "name": "briefed"})).await;
    agent.tell(json!({"type": "stop"})).await;
    agent.tell(json!({"type": "clear"})).await;
    agent.is_told(json!({"type": "mark", "name": "briefed", "played": false})).await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "stopped".to_owned()));
    tone(&mut at_bob, f64::from(ANN)).await;
    tone(&mut ann.frames, f64::from(BOB)).await;
    let call = only_call(&office.server)["call"].clone();
    let account = office.server.get(&format!("/calls/{call}?format=text")).text();
    let places = ["consults", "consulted", "transferred"].map(|it| account.find(it));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{account}");
    ann.hangs_up().await;
    within("the end", bob.wait_for_end()).await;
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_back_with_the_agent_if_nobody_takes_the_call() {
    let mut office = office("").await;
    let (mut ann, mut agent) = office.talk().await;
    // Refused, hung up after the answer, and the agent returns from either.
    let call = office.rings(&mut agent).await;
    agent.beside(tone(&mut ann.frames, MUSIC)).await;
    agent.beside(within("refused", call.reject(486))).await.expect("refused");
    let state = |it: &Value, state: &str| (it["state"] == state).then(|| it["error"].clone());
    let failed = |it: &mut Client| it.told.iter().find_map(|told| state(told, "failed"));
    let error = agent.until("failed", failed).await;
    assert!(error.as_str().is_some_and(|it| it.contains("486")), "{error}");
    is_back(&mut ann, &mut agent).await;

    let bob = office.answers(&mut agent).await;
    agent.beside(within("hung up", bob.hangup())).await.expect("hung up");
    agent.is_told(json!({"type": "consult", "state": "ended"})).await;
    is_back(&mut ann, &mut agent).await;

    let bob = office.answers(&mut agent).await;
    agent.tell(json!({"type": "return"})).await;
    agent.is_told(json!({"type": "consult", "state": "returned"})).await;
    agent.beside(within("the end", bob.wait_for_end())).await;
    is_back(&mut ann, &mut agent).await;

    agent.told.clear();
    let call = office.rings(&mut agent).await;
    agent.tell(json!({"type": "return"})).await;
    agent.is_told(json!({"type": "consult", "state": "returned"})).await;
    is_cancelled(&call);
    is_back(&mut ann, &mut agent).await;
    ann.hangs_up().await;
    assert_eq!(agent.reads_to_the_end().await.0, 1000);
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_while_it_consults_gives_its_caller_to_the_fallback() {
    for closes in [false, true] {
        let mut office = office("").await;
        let (mut ann, mut agent) = office.talk().await;
        let bob = office.answers(&mut agent).await;
        if closes {
            agent.socket.close(None).await.expect("closed");
        }
        drop(agent);
        within("the end", bob.wait_for_end()).await;
        let echo = |call: &Value| call["application"] == "echo";
        let calls = || office.server.get("/calls").json()["calls"].as_array().cloned().unwrap_or_default();
        until("the echo", || calls().iter().any(echo).then_some(()));
        tone(&mut ann.frames, f64::from(ANN)).await;
        ann.hangs_up().await;
        office.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_consulted_is_hung_up_with_the_caller() {
    let mut office = office("").await;
    let (ann, mut agent) = office.talk().await;
    let bob = office.answers(&mut agent).await;
    ann.hangs_up().await;
    within("the end", bob.wait_for_end()).await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    office.is_empty().await;

    let (ann, mut agent) = office.talk().await;
    let call = office.rings(&mut agent).await;
    ann.hangs_up().await;
    is_cancelled(&call);
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_talked_into_a_strange_target_calls_nobody() {
    let stranger = std::net::UdpSocket::bind("127.0.0.66:0").expect("an address");
    stranger.set_nonblocking(true).expect("a switch");
    let office = office("may_transfer = ['\\+49\\d+']\n").await;
    let (mut ann, mut agent) = office.talk().await;
    let evil = format!("sip:evil@{}", stranger.local_addr().expect("an address"));
    for target in [&evil, "sip:evil@198.51.100.1", "+900666", "gateway/carrier/+900666", "echo"] {
        agent.told.clear();
        agent.tell(json!({"type": "consult", "to": target})).await;
        let refused = |it: &mut Client| it.told.iter().find(|told| told["state"] == "refused").cloned();
        let told = agent.until("refused", refused).await;
        assert!(told["error"].as_str().is_some_and(|it| !it.is_empty()), "{target}: {told}");
        let said = agent.told.iter().filter(|told| told["type"] == "consult").count();
        assert_eq!(said, 1, "{target}");
    }
    is_back(&mut ann, &mut agent).await;
    // It is not asked about a target for ever.
    agent.told.clear();
    agent.tell(json!({"type": "consult", "to": "echo"})).await;
    let answer = |it: &mut Client| it.told.iter().find(|told| told["type"] == "consult").cloned();
    let told = agent.until("an answer", answer).await;
    assert_eq!(told["state"], "refused");
    assert_eq!(only_call(&office.server)["legs"].as_array().map(Vec::len), Some(1));
    assert!(stranger.recv(&mut [0; 2_000]).is_err(), "nothing came");
    ann.hangs_up().await;
    agent.reads_to_the_end().await;
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_without_consultation_has_the_fields_that_may_be_sent() {
    let mut office = office("").await;
    let (mut ann, mut agent) = office.talk().await;
    let headers =
        json!({"X-Summary": "a refund", "X-Evil": "a\r\nVia: b", "Contact": "sip:evil@198.51.100.1"});
    agent.tell(json!({"type": "stop", "transfer": "user/1001", "headers": headers})).await;
    let call = agent.reads_to_the_end();
    let (_, call) = tokio::join!(call, within("a call", office.at_bob.next()));
    let call = call.expect("the phone is there");
    assert_eq!((call.header("X-Summary"), call.header("X-Evil")), (Some("a refund"), None));
    assert!(call.headers().all(|(_, value)| !value.contains("198.51.100.1")), "its own Contact");
    assert_eq!(agent.told[0]["reason"], "field", "{:?}", agent.told);
    let bob = within("an answer", call.answer()).await.expect("answered");
    bob.play(Sound::tone(BOB, 600_000)).await.expect("said");
    tone(&mut ann.frames, f64::from(BOB)).await;
    ann.hangs_up().await;
    within("the end", bob.wait_for_end()).await;
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_consulted_is_not_told_a_number_that_the_caller_withholds() {
    let office = office("may_transfer = ['sip:bob@.*']\n").await;
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    for (asked, shown) in [("", true), ("Privacy: id\r\n", false)] {
        let number = if shown { "ann" } else { "eve" };
        let ann = if shown { &ann } else { &Phone::new("eve") };
        let (from, call_id) = ann.ask_with(office.server.sip, "700", asked);
        let (stream, _) = within("a connection", office.listener.accept()).await.expect("a connection");
        let mut agent = Client::begin(accept_async(stream).await.expect("a WebSocket")).await;
        let answer = ann.hear("SIP/2.0 200").0;
        let dialog = ann.confirmed(&answer, (from, call_id), office.server.sip);
        agent.tell(json!({"type": "consult", "to": bob.uri()})).await;
        agent.is_told(json!({"type": "consult", "state": "calling"})).await;
        let (invite, peer) = bob.hear("INVITE");
        assert_eq!(field(&invite, "From").contains(number), shown, "{invite}");
        assert_eq!(invite.contains("\r\nPrivacy: id\r\n"), !shown, "{invite}");
        assert!(shown || !invite.contains(&format!(":{number}@")), "{invite}");
        bob.refuse_to("486 Busy Here", &invite, peer);
        let failed = |it: &mut Client| it.told.iter().any(|told| told["state"] == "failed").then_some(());
        agent.until("failed", failed).await;
        ann.hang_up(&dialog);
        agent.reads_to_the_end().await;
    }
    office.is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_party_is_called_joins_it_or_calls_no_more() {
    let mut office = office("").await;
    // Both at once: whether the policy has answered in between makes no difference.
    let (mut ann, mut agent) = office.talk().await;
    agent.tell(json!({"type": "consult", "to": "user/1001"})).await;
    agent.tell(json!({"type": "stop"})).await;
    let call = agent.beside(within("a call", office.at_bob.next())).await.expect("the phone is there");
    let bob = within("an answer", call.answer()).await.expect("answered");
    bob.play(Sound::tone(BOB, 600_000)).await.expect("said");
    tone(&mut ann.frames, f64::from(BOB)).await;
    ann.hangs_up().await;
    within("the end", bob.wait_for_end()).await;
    office.is_empty().await;

    let (mut ann, mut agent) = office.talk().await;
    let call = office.rings(&mut agent).await;
    agent.tell(json!({"type": "stop", "transfer": "echo"})).await;
    is_cancelled(&call);
    ann.forgets();
    tone(&mut ann.frames, f64::from(ANN)).await;
    ann.hangs_up().await;
    office.is_empty().await;
}
