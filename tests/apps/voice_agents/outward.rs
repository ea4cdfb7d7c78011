//! Agents that the server calls: the messages to them, and the further course of their calls.

use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;
use crate::apps::ivr::records;

/// The listener of agents, and a server that routes 700 there.
pub struct House {
    listener: TcpListener,
    pub server: Server,
}

pub async fn house(agent: &str) -> House {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/agent", listener.local_addr().expect("an address"));
    let server = server(&format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n{ROUTES}\
         [[voice_agent]]\nname = \"ada\"\nurl = \"{url}\"\nconnect_s = 2\n{agent}"
    ));
    House { listener, server }
}

impl House {
    /// The next connection, whose path and token are checked.
    async fn accepts(&self) -> Client {
        let (stream, _) = within("a connection", self.listener.accept()).await.expect("a connection");
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let look = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), "/agent");
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.expect("a WebSocket");
        Client::begin(socket).await
    }

    /// A caller, and the agent that takes the call.
    pub async fn talk(&self) -> (Caller, Client) {
        tokio::join!(Caller::calls(&self.server, "700"), self.accepts())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_hears_its_caller_speaks_to_them_and_ends_the_call() {
    let house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 60\n").await;
    let (mut ann, mut agent) = house.talk().await;
    assert_eq!((&agent.start["agent"], &agent.start["called"]), (&json!("ada"), &json!("700")));
    assert_eq!((&agent.start["caller"], &agent.start["format"]["rate_hz"]), (&json!("ann"), &json!(8_000)));
    assert_eq!(agent.start["direction"], "inbound");
    assert_eq!(only_call(&house.server)["application"], "voice_agent/ada");
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    agent.hears(&speech[8_000..10_400]).await;
    agent.say(&speech[24_000..]).await;
    agent.beside(ann.hears(&speech[28_000..47_200])).await;
    agent.say(&speech).await;
    for name in ["said", "cut"] {
        agent.tell(json!({"type": "mark", "name": name})).await;
        if name == "said" {
            agent.is_told(json!({"type": "mark", "name": "said", "played": true})).await;
            agent.say(&speech).await;
        }
    }
    agent.tell(json!({"type": "clear"})).await;
    agent.is_told(json!({"type": "mark", "name": "cut", "played": false})).await;
    let call = only_call(&house.server)["call"].clone();
    until("its account", || {
        let text = house.server.get(&format!("/calls/{call}?format=text")).text();
        let places =
            ["speaks", "ada: played: said", "ada: cleared", "not_played: cut"].map(|it| text.find(it));
        (places.iter().all(Option::is_some) && places.is_sorted()).then_some(())
    });
    agent.tell(json!({"type": "stop"})).await;
    assert_eq!(agent.reads_to_the_end().await.0, 1000);
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_takes_no_caller_from_an_agent() {
    let house = house("token = \"secret\"\nrate_hz = 8000\n").await;
    let (mut ann, mut agent) = house.talk().await;
    let path = format!("/legs/{}/audio?listen=true", agent.start["leg"]);
    let mut listener = Client::open(&house.server, &path).await;
    assert_eq!(listener.reads_to_the_end().await, (1000, "replaced".to_owned()));
    let speech = speech_like(8_000, 3.0);
    agent.say(&speech).await;
    agent.beside(ann.hears(&speech[4_000..12_000])).await;
    ann.hangs_up().await;
    agent.reads_to_the_end().await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_at_a_unix_socket_gets_frames_as_long_as_it_wants_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("ada.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let server = server(&format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n{ROUTES}\
         [[voice_agent]]\nname = \"ada\"\nurl = \"ws+unix://{}:/agent?key=1\"\nframe_ms = 40\n",
        socket.display()
    ));
    let accepts = async {
        let (stream, _) = within("a connection", listener.accept()).await.expect("a connection");
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let look = |request: &Request, response: Response| {
            assert_eq!((request.uri().path(), request.uri().query()), ("/agent", Some("key=1")));
            Ok(response)
        };
        Client::begin(accept_hdr_async(stream, look).await.expect("a WebSocket")).await
    };
    let (mut ann, mut agent) = tokio::join!(Caller::calls(&server, "700"), accepts);
    let format = &agent.start["format"];
    assert_eq!((&format["frame_ms"], &format["frame_octets"]), (&json!(40), &json!(1_280)));
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    agent.hears(&speech[8_000..10_400]).await;
    agent.say(&speech[24_000..].iter().flat_map(|it| [*it; 2]).collect::<Vec<_>>()).await;
    agent.tell(json!({"type": "mark", "name": "said"})).await;
    agent.beside(ann.hears(&speech[28_000..47_200])).await;
    agent.is_told(json!({"type": "mark", "name": "said", "played": true})).await;
    agent.tell(json!({"type": "stop"})).await;
    assert_eq!(agent.reads_to_the_end().await.0, 1000);
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sends_its_caller_on_and_a_caller_who_hangs_up_is_told() {
    let house = house("token = \"secret\"\nstall_s = 60\n").await;
    let (ann, mut agent) = house.talk().await;
    agent.tell(json!({"type": "stop", "transfer": "600"})).await;
    agent.reads_to_the_end().await;
    until("the echo", || (only_call(&house.server)["application"] == "echo").then_some(()));
    ann.hangs_up().await;
    is_empty(&house.server).await;

    let (ann, mut agent) = house.talk().await;
    ann.hangs_up().await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_said_stop_and_closes_its_socket_is_heard_to_the_end() {
    let house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 1\n").await;
    for target in [None, Some("600")] {
        let (mut ann, mut agent) = house.talk().await;
        let speech = speech_like(8_000, 5.0);
        agent.say(&speech).await;
        agent.tell(json!({"type": "stop", "transfer": target})).await;
        agent.socket.close(None).await.expect("closed");
        ann.hears(&speech[12_000..24_000]).await;
        if target.is_none() {
            within("the end", ann.call.wait_for_end()).await;
        } else {
            until("the echo", || (only_call(&house.server)["application"] == "echo").then_some(()));
            ann.hangs_up().await;
        }
        is_empty(&house.server).await;
    }
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_names_hosts_gateways_and_numbers_calls_nobody() {
    let bind = |address: &str| {
        let socket = std::net::UdpSocket::bind(address).expect("an address");
        socket.set_nonblocking(true).expect("a switch");
        socket
    };
    let (carrier, stranger) = (bind("127.0.0.40:0"), bind("127.0.0.66:0"));
    let at = carrier.local_addr().expect("an address");
    let house = house(&format!(
        "token = \"secret\"\nstall_s = 60\nfallback = \"echo\"\nmay_transfer = ['\\+49\\d+']\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         [[route]]\ncalled = '\\+\\d+'\nsource = \"users\"\nto = \"gateway/carrier\"\n"
    ))
    .await;
    let elsewhere = stranger.local_addr().expect("an address");
    for target in [
        format!("sip:x@{elsewhere}"),
        "gateway/carrier/+900666".to_owned(),
        format!("sip:+900666@{at}"),
        "sip:%2B900666@127.0.0.40".to_owned(),
        // The caller's class has no route.
        "+900666".to_owned(),
        "+4930".to_owned(),
    ] {
        let (ann, mut agent) = house.talk().await;
        agent.tell(json!({"type": "stop", "transfer": target})).await;
        agent.reads_to_the_end().await;
        until("the echo", || (only_call(&house.server)["application"] == "echo").then_some(()));
        ann.hangs_up().await;
        is_empty(&house.server).await;
        let mut octets = [0; 2_000];
        for socket in [&carrier, &stranger] {
            assert!(socket.recv(&mut octets).is_err(), "{target}: {}", String::from_utf8_lossy(&octets));
        }
    }
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_is_passed_over() {
    // No listener; no response to the handshake; a refused handshake.
    for (what, listens) in [("closed", false), ("silent", true)] {
        let house = house("token = \"secret\"\nfallback = \"milliwatt\"\n").await;
        let House { listener, server } = house;
        let listener = listens.then_some(listener);
        let mut ann = Caller::calls(&server, "700").await;
        ann.hears_sound(true).await;
        assert_eq!(only_call(&server)["application"], "milliwatt", "{what}");
        ann.hangs_up().await;
        nothing_is_left(&server).await;
        assert_eq!(server.metric("b2b_voice_agents_total{result=\"connected\"}"), 0.0);
        drop(listener);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_in_the_middle_gives_its_caller_to_the_fallback() {
    for how in ["gone", "closes", "deaf"] {
        let house = house("token = \"secret\"\nstall_s = 2\nfallback = \"milliwatt\"\n").await;
        let (mut ann, mut agent) = house.talk().await;
        agent.until("sound", |it| (it.heard.len() > 3_200).then_some(())).await;
        let mut kept = None;
        match how {
            "gone" => drop(agent),
            "closes" => agent.socket.close(None).await.expect("closed"),
            // It neither reads nor answers.
            _ => kept = Some(agent),
        }
        until(how, || (only_call(&house.server)["application"] == "milliwatt").then_some(()));
        ann.hears_sound(true).await;
        drop(kept);
        ann.hangs_up().await;
        nothing_is_left(&house.server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_makes_mistakes_is_heard_all_the_same() {
    let mut house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 60\n").await;
    let (mut ann, mut agent) = house.talk().await;
    let speech = speech_like(8_000, 4.0);
    for text in ["hello", "{\"type\":\"dance\"}", "{\"type\":\"clear\",\"reason\":\"barge-in\"}"] {
        agent.socket.send(Message::text(text)).await.expect("sent");
    }
    let octets: Vec<u8> = speech.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for part in octets.chunks(1_599) {
        agent.socket.send(Message::binary(part.to_vec())).await.expect("sent");
    }
    agent.tell(json!({"type": "mark", "name": "said"})).await;
    agent.beside(ann.hears(&speech[8_000..27_200])).await;
    agent.is_told(json!({"type": "mark", "name": "said", "played": true})).await;
    let line = house.server.process.wait_for_line("voice agent ada: no known message");
    assert!(line.contains("call "), "{line}");
    agent.tell(json!({"type": "stop"})).await;
    agent.reads_to_the_end().await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_failed_without_a_fallback_hears_the_prompt_and_the_record_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let speech = speech_like(8_000, 3.0);
    crate::common::audio::write_wav(&folder.path().join("sorry.wav"), 8_000, &speech);
    let prompts = format!("[prompts]\nfolder = {:?}\n", folder.path());
    let agent = format!("token = \"secret\"\nfailed_prompt = \"sorry.wav\"\n{prompts}");
    let house = house(&agent).await;
    let (mut ann, mut agent) = house.talk().await;
    let call = only_call(&house.server)["call"].clone();
    agent.until("sound", |it| (it.heard.len() > 3_200).then_some(())).await;
    let reason = "out of\u{7} memory".into();
    agent.socket.close(Some(CloseFrame { code: CloseCode::Error, reason })).await.expect("closed");
    ann.hears(&speech[2_400..21_600]).await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&house.server).await;
    let record = &records(&house.server, 1)[0];
    assert_eq!(record["hangup_cause_q850"], 41, "{record}");
    let why = record["variables"]["voice_agent_failed"].as_str().expect("why");
    assert!(why.starts_with("ada: it has closed the WebSocket with 1011 out of"), "{why}");
    assert!(why.contains("memory; it has sent no message") && !why.contains('\u{7}'), "{why}");
    let text = house.server.get(&format!("/calls/{call}?format=text")).text();
    assert!(text.contains("failed: it has closed the WebSocket with 1011"), "{text}");
    let alarms = house.server.get("/alarms").text();
    assert!(
        alarms.contains("handler_failed") && alarms.contains("closed the WebSocket with 1011"),
        "{alarms}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fallback_the_caller_is_refused_or_hung_up() {
    let House { listener, server } = house("").await;
    drop(listener);
    let ann = phone_at("ann", "127.0.0.1:0");
    let call = ann.call(format!("sip:700@{}", server.sip)).await.expect("a call");
    assert!(within("an answer", call.wait_for_answer()).await.is_err(), "480");
    nothing_is_left(&server).await;
    assert_eq!(server.metric("b2b_voice_agents_total{result=\"failed\"}"), 1.0);
}
