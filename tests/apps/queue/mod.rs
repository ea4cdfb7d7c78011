//! Queues on the real server: callers and agents are phones of the client library, agents register with
//! passwords, and audio is recognised by correlation and by pitch.
//!
//! - `restart`: states of agents across a restart of the server
//! - `trouble`: agents that reject, vanish or hang up; ways out; missing prompts

mod restart;
mod trouble;

use std::time::Duration;

use b2b::client::{Call, Codec, IncomingCall, IncomingCalls, SipClient, Sound};
use serde_json::{Value, json};

use crate::apps::ivr::{Sounds, calls, frames, is_empty, only_call, records, tone, within};
use crate::server_support::{Server, start, until};

const NAMES: [&str; 13] = [
    "welcome", "position", "wait", "digits/0", "digits/1", "digits/2", "digits/3", "digits/4", "digits/5",
    "digits/6", "digits/7", "digits/8", "digits/9",
];

/// Music is a tone.
const MUSIC: f64 = 500.0;

const QUEUES: &str = r#"
[limits]
ring_s = 20
[[music]]
name = "calm"
tone = "500"
[[user]]
name = "1001"
password = "secret"
[[user]]
name = "1002"
password = "secret"
[[user]]
name = "1003"
password = "secret"
[[agent]]
name = "1001"
[[agent]]
name = "1002"
priority = 2
[[route]]
called = "sales"
app = "queue/sales"
"#;

/// A server that trusts only 127.0.0.5, the callers' address.
fn office(sounds: &Sounds, queue: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\ntrusted = [\"127.0.0.5\"]\nstore = \"memory\"\n\
         cdr = \"cdr.jsonl\"\ndrain_s = 2\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n{}{QUEUES}\
         [[queue]]\nname = \"sales\"\nagents = [\"1001\", \"1002\"]\nwrap_up_s = 1\nrest_s = 1\n{queue}",
        sounds.table()
    );
    std::fs::write(folder.path().join("b2bua.toml"), config).expect("a file");
    start(folder)
}

/// Audio for callers in most tests: their position, repeatedly.
const SPOKEN: &str =
    "welcome = \"welcome.wav\"\nmusic = \"calm\"\nposition = \"position.wav\"\nannounce_s = 5\n";

/// A phone at the callers' address.
fn caller(name: &str) -> SipClient {
    crate::apps::ivr::phone_at(name, "127.0.0.5:0")
}

/// The registered phone of a user, and its incoming calls.
async fn registered(server: &Server, user: &str) -> (SipClient, IncomingCalls) {
    let builder =
        SipClient::builder().identity(format!("sip:{user}@127.0.0.1")).bind("127.0.0.2:0").jitter_ms(400);
    let builder = builder.registrar(format!("sip:{}", server.sip)).credentials(user, "secret");
    let client = builder.rate_hz(8_000).codecs([Codec::Pcma]).build().expect("a client");
    let incoming = client.incoming().await.expect("calls");
    within("a registration", client.register()).await.expect("registered");
    (client, incoming)
}

async fn rings(incoming: &mut IncomingCalls) -> IncomingCall {
    let call = within("a call", incoming.next()).await.expect("the phone is there");
    call.ring().await.expect("it rings");
    call
}

fn state(server: &Server, agent: &str) -> String {
    server.get(&format!("/agents/{agent}")).json()["state"].as_str().unwrap_or("none").to_owned()
}

/// Waits until an agent has this state.
fn is(server: &Server, agent: &str, wanted: &str) {
    until(&format!("{agent} {wanted}"), || (state(server, agent) == wanted).then_some(()));
}

fn put(server: &Server, agent: &str, state: &str) -> u16 {
    let body = json!({ "state": state }).to_string();
    let path = format!("/agents/{agent}/state");
    server.ask_with("PUT", &path, "Content-Type: application/json\r\n", &body).status
}

/// Each party hears the tone of the other.
async fn talk(caller: &Call, agent: &Call) {
    caller.play(Sound::tone(600.0, 60_000)).await.expect("playing");
    agent.play(Sound::tone(900.0, 60_000)).await.expect("playing");
    tone(&mut frames(agent), 600.0).await;
    tone(&mut frames(caller), 900.0).await;
}

fn variable<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of["variables"][name].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_welcome_position_and_music_and_reaches_an_agent_who_registers() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, SPOKEN);
    let ann = caller("ann");
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    ear.hears("welcome").await;
    ear.hears("position").await;
    ear.hears("digits/1").await;
    tone(&mut ear.frames, MUSIC).await;
    let seen = only_call(&server);
    assert_eq!(
        (seen["state"].as_str(), seen["application"].as_str()),
        (Some("in_queue"), Some("queue/sales"))
    );
    assert_eq!(variable(&seen, "queue"), Some("sales"));
    let queue = server.get("/queues/sales").json();
    assert_eq!((queue["waiting"].as_u64(), queue["callers"][0]["position"].as_u64()), (Some(1), Some(1)));
    assert_eq!(queue["callers"][0]["number"], "ann");
    assert_eq!(queue["callers"][0]["call"], seen["call"]);
    assert_eq!(state(&server, "1001"), "logged_out", "no phone is registered");
    // Repeated after five seconds.
    ear.hears("position").await;

    let (_phone, mut incoming) = registered(&server, "1001").await;
    let ringing = rings(&mut incoming).await;
    assert_eq!(ringing.display_name().as_deref(), Some("sales"));
    assert!(ringing.from().contains("ann"), "{}", ringing.from());
    is(&server, "1001", "ringing");
    tone(&mut ear.frames, MUSIC).await;
    let at_agent = within("acknowledged", ringing.answer()).await.expect("answered");
    talk(&call, &at_agent).await;
    let seen = only_call(&server);
    assert_eq!((seen["state"].as_str(), seen["application"].is_null()), (Some("bridged"), true));
    assert_eq!(variable(&seen, "queue_agent"), Some("1001"));
    assert_eq!(state(&server, "1001"), "busy");
    assert!((server.metric("b2b_queue_answered_total{queue=\"sales\"}") - 1.0).abs() < 0.1);
    assert!((server.metric("b2b_agents{state=\"busy\"}") - 1.0).abs() < 0.1);

    within("hung up", at_agent.hangup()).await.expect("hung up");
    within("the end", call.wait_for_end()).await;
    is_empty(&server).await;
    is(&server, "1001", "available");
    let records = records(&server, 2);
    for record in &records {
        assert_eq!(variable(record, "queue"), Some("sales"), "{record}");
        assert_eq!(variable(record, "queue_agent"), Some("1001"));
        assert_eq!(variable(record, "queue_result"), Some("answered"));
        assert_eq!(record["caller"], "ann", "the agent's leg, too: {record}");
        let waited: f64 =
            variable(record, "queue_wait_s").and_then(|text| text.parse().ok()).expect("a time");
        assert!(waited > 5.0, "{waited}");
    }
    assert_eq!(server.get("/queues/sales").json()["waiting"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_are_served_in_their_order_by_one_agent() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, SPOKEN);
    let (ann, cat) = (caller("ann"), caller("cat"));
    let (first, _) = calls(&ann, &server, "sales", &sounds).await;
    let (second, mut ear) = calls(&cat, &server, "sales", &sounds).await;
    ear.hears("position").await;
    ear.hears("digits/2").await;
    let (_phone, mut incoming) = registered(&server, "1001").await;
    let at_agent = within("acknowledged", rings(&mut incoming).await.answer()).await.expect("answered");
    talk(&first, &at_agent).await;
    within("hung up", first.hangup()).await.expect("hung up");
    within("the end", at_agent.wait_for_end()).await;
    let at_agent = within("acknowledged", rings(&mut incoming).await.answer()).await.expect("answered");
    talk(&second, &at_agent).await;
    within("hung up", second.hangup()).await.expect("hung up");
    is_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_log_out_and_pause_by_feature_codes_and_by_http() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, "");
    let (phone, mut incoming) = registered(&server, "1001").await;
    is(&server, "1001", "available");
    let dial = async |client: &SipClient, number: &str| {
        let call = client.call(format!("sip:{number}@{}", server.sip)).await.expect("a call");
        within("the end", call.wait_for_end()).await;
    };
    dial(&phone, "*46").await;
    assert_eq!(state(&server, "1001"), "paused");
    let ann = caller("ann");
    let (call, _) = calls(&ann, &server, "sales", &sounds).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), incoming.next()).await.is_err(), "the agent pauses");
    dial(&phone, "*46").await;
    drop(rings(&mut incoming).await);
    within("hung up", call.hangup()).await.expect("hung up");
    dial(&phone, "*45").await;
    assert_eq!(state(&server, "1001"), "logged_out");
    // A user who is not an agent is refused.
    let (other, _) = registered(&server, "1003").await;
    let refused = other.call(format!("sip:*45@{}", server.sip)).await.expect("a call");
    assert!(within("a refusal", refused.wait_for_answer()).await.is_err());
    assert_eq!(state(&server, "1001"), "logged_out");

    assert_eq!(put(&server, "1001", "available"), 200);
    assert_eq!(state(&server, "1001"), "available");
    assert_eq!((put(&server, "1001", "asleep"), put(&server, "1009", "paused")), (422, 404));
    assert_eq!((server.get("/queues/none").status, server.get("/agents/none").status), (404, 404));
    phone.unregister().await;
    is(&server, "1001", "logged_out");
    is_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_keeps_those_who_wait() {
    let sounds = Sounds::new(&NAMES);
    let server = office(&sounds, SPOKEN);
    let ann = caller("ann");
    let (call, mut ear) = calls(&ann, &server, "sales", &sounds).await;
    ear.hears("position").await;
    let path = server.folder.path().join("b2bua.toml");
    let old = std::fs::read_to_string(&path).expect("a configuration");
    let new = old.replace("agents = [\"1001\", \"1002\"]", "agents = [\"1003\"]")
        + "[[agent]]\nname = \"1003\"\n[[queue]]\nname = \"help\"\nagents = [\"1003\"]\n";
    std::fs::write(&path, new).expect("a file");
    let (_phone, mut incoming) = registered(&server, "1003").await;
    server.process.signal(nix::sys::signal::Signal::SIGHUP);
    let at_agent = within("acknowledged", rings(&mut incoming).await.answer()).await.expect("answered");
    talk(&call, &at_agent).await;
    assert_eq!(server.get("/queues/help").status, 200);
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;
}
