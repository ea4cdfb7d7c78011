//! Faulty agents that the server calls: their callers go to the fallback, and a simultaneous call is not
//! affected. Also what working agents receive.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_async, accept_hdr_async, tungstenite};

use super::trouble::Witness;
use super::*;
use crate::server_support::phone::Phone;
use b2b_test_support::tls::{Authority, accept};

/// 700 leads to an agent whose fallback is a tone.
fn lines(url: &str, more: &str) -> String {
    format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/ada\"\n{ROUTES}[[voice_agent]]\nname = \"ada\"\nurl = \"{url}\"\n\
         fallback = \"milliwatt\"\n{more}"
    )
}

async fn house(more: &str) -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/agent", listener.local_addr().expect("an address"));
    let server = server(&lines(&url, more));
    (listener, server)
}

async fn next(listener: &TcpListener) -> TcpStream {
    within("a connection", listener.accept()).await.expect("a connection").0
}

fn application(server: &Server) -> Value {
    let calls = server.get("/calls").json();
    let all = calls["calls"].as_array().expect("calls");
    all.iter().max_by_key(|call| call["call"].as_u64()).expect("a call")["application"].clone()
}

fn agents(server: &Server, result: &str) -> f64 {
    server.metric(&format!("b2b_voice_agents_total{{result=\"{result}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_become_a_web_socket_is_passed_over() {
    let (listener, server) = house("connect_s = 2\n").await;
    let witness = Witness::new(&server).await;
    let endless = "X-More: more\r\n".repeat(100_000);
    let wrong_key = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n";
    let answers = [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "SIP/2.0 200 OK\r\n\r\n",
        "\u{0}\u{1}\u{2}",
        wrong_key,
        &format!("HTTP/1.1 101 Switching Protocols\r\n{endless}"),
        "",
    ];
    for (n, answer) in answers.iter().enumerate() {
        let meets = async {
            let mut stream = next(&listener).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            // Reads all requests; the last variant does not respond until the server gives up.
            let mut rest = Vec::new();
            if !answer.is_empty() {
                let _ = stream.shutdown().await;
            }
            let _ = within("it is given up", stream.read_to_end(&mut rest)).await;
        };
        let (mut ann, ()) = tokio::join!(Caller::calls(&server, "700"), meets);
        ann.hears_sound(true).await;
        assert_eq!(application(&server), "milliwatt", "{answer:.40}");
        assert_eq!((agents(&server, "failed"), agents(&server, "connected")), ((n + 1) as f64, 0.0));
        ann.hangs_up().await;
    }
    witness.has_noticed_nothing().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_sends_what_it_may_not_loses_its_caller_to_the_fall_back() {
    let (listener, server) = house("stall_s = 60\n").await;
    let witness = Witness::new(&server).await;
    for (messages, code) in [
        (vec![Message::binary(vec![0; 3 * 1_024 * 1_024 + 2])], 1009),
        (vec![Message::text("{\"type\":\"clear\"}"); 1_000], 1008),
    ] {
        let meets = async {
            let socket = accept_async(next(&listener).await).await.expect("a WebSocket");
            let mut agent = Client::begin(socket).await;
            for message in messages {
                // The connection may have been closed by now.
                let _ = agent.socket.feed(message).await;
            }
            let _ = agent.socket.flush().await;
            agent.reads_to_the_end().await
        };
        let (mut ann, (closed, reason)) = tokio::join!(Caller::calls(&server, "700"), meets);
        assert_eq!(closed, code, "{reason}");
        ann.hears_sound(true).await;
        assert_eq!(application(&server), "milliwatt", "{reason}");
        ann.hangs_up().await;
    }
    witness.has_noticed_nothing().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_says_nothing_at_all_keeps_its_caller_until_they_go() {
    // The limit is above a second's stall of the machine, which must not count as the agent's.
    let (listener, server) = house("stall_s = 3\n").await;
    let meets =
        async { Client::begin(accept_async(next(&listener).await).await.expect("a WebSocket")).await };
    let (ann, mut agent) = tokio::join!(Caller::calls(&server, "700"), meets);
    // Several times the stall limit: the agent's library answers pings.
    agent.until("ten seconds", |it| (it.heard.len() > 16_000 * 10).then_some(())).await;
    assert_eq!(application(&server), "voice_agent/ada");
    ann.hangs_up().await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_drained_keeps_its_caller_and_gets_no_other() {
    let (listener, mut server) = house("wait_s = 30\n").await;
    let meets =
        async { Client::begin(accept_async(next(&listener).await).await.expect("a WebSocket")).await };
    let (ann, mut agent) = tokio::join!(Caller::calls(&server, "700"), meets);
    let held = |server: &Server| server.metric("b2b_voice_agent_calls{agent=\"ada\"}");
    assert_eq!(held(&server), 1.0);
    let path = server.folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration") + "drain = true\n";
    std::fs::write(&path, text).expect("a file");
    server.process.signal(nix::sys::signal::Signal::SIGHUP);
    server.process.wait_for_line("[[voice_agent]] changed: ada");
    let mut bob = Caller::calls(&server, "700").await;
    bob.hears_sound(true).await;
    assert_eq!(
        (application(&server), agents(&server, "connected"), held(&server)),
        (json!("milliwatt"), 1.0, 1.0)
    );
    bob.hangs_up().await;
    agent.tell(json!({"type": "stop"})).await;
    within("the end", ann.call.wait_for_end()).await;
    until("nobody is left", || (held(&server) == 0.0).then_some(()));
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_sent_its_header_fields_and_told_those_of_the_caller_that_begin_with_x() {
    let more = "token = \"secret\"\nheaders = { X-Api-Key = \"abc 1\", X-Tenant = \"t7\" }\n";
    let (listener, server) = house(more).await;
    let fields: String = (0..40).map(|n| format!("X-N{n:02}: {n}\r\n")).collect();
    let long = "x".repeat(2_000);
    let meets = async |asked: &str| {
        let ann = Phone::new("ann");
        let (from, call_id) = ann.ask_with(server.sip, "700", asked);
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let look = |request: &Request, response: Response| {
            let field = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
            assert_eq!(
                ["authorization", "x-api-key", "x-tenant"].map(field),
                ["Bearer secret", "abc 1", "t7"]
            );
            Ok(response)
        };
        let socket = accept_hdr_async(next(&listener).await, look).await.expect("a WebSocket");
        let agent = Client::begin(socket).await;
        let answer = ann.hear("SIP/2.0 200").0;
        let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
        let told = agent.start["headers"].clone();
        ann.hang_up(&dialog);
        is_empty(&server).await;
        told
    };
    let few = format!("X-Customer: 4711\r\nSubject: not this\r\nX-Long: {long}\r\nx-lower: é\r\n");
    assert_eq!(meets(&few).await, json!({"X-Customer": "4711", "x-lower": "é"}));
    let ann_of_many = meets(&fields).await;
    assert_eq!(ann_of_many.as_object().expect("an object").len(), 32);
    assert_eq!((&ann_of_many["X-N00"], &ann_of_many["X-N31"]), (&json!("0"), &json!("31")));
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_an_agent_has_not_sent_yet_go_with_it() {
    let (listener, server) = house("").await;
    let meets =
        async { Client::begin(accept_async(next(&listener).await).await.expect("a WebSocket")).await };
    let (ann, mut agent) = tokio::join!(Caller::calls(&server, "700"), meets);
    let mut events = ann.call.events();
    let mut key = async || loop {
        if let Some(ClientEvent::Digit { digit, .. }) = events.next().await {
            return digit;
        }
    };
    agent.tell(json!({"type": "dtmf", "digits": "0123456789", "ms": 200})).await;
    assert_eq!(agent.beside(within("a key", key())).await, '0');
    drop(agent);
    until("the fallback", || (application(&server) == "milliwatt").then_some(()));
    // All of them would take less.
    let (mut rest, over) = (String::new(), tokio::time::Instant::now() + Duration::from_secs(4));
    while let Ok(digit) = tokio::time::timeout_at(over, key()).await {
        rest.push(digit);
    }
    assert!(rest.len() <= 3, "{rest}");
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

/// An agent behind TLS, in a separate thread: it ends the call once it has received audio. Returns its first
/// message; `None` if no client connected.
fn behind_tls(
    pair: (std::path::PathBuf, std::path::PathBuf),
) -> (u16, std::thread::JoinHandle<Option<Value>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let thread = std::thread::spawn(move || {
        let mut socket = tungstenite::accept(accept(&listener, &pair)).ok()?;
        let start = socket.read().expect("start");
        let mut heard = 0;
        while heard < 10 {
            heard += usize::from(socket.read().expect("sound").is_binary());
        }
        socket.send(Message::text(json!({"type": "stop"}).to_string())).expect("sent");
        while socket.read().is_ok() {}
        Some(serde_json::from_str(start.to_text().expect("text")).expect("JSON"))
    });
    (port, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_behind_tls_is_talked_to_and_one_with_a_wrong_certificate_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: &Path = folder.path();
    let (ours, theirs) = (Authority::new(path, "ours"), Authority::new(path, "theirs"));
    let hosts = ["127.0.0.1", "localhost"];
    for (certificate, host, good) in [
        (ours.issue("good", &hosts), "127.0.0.1", true),
        (ours.issue("named", &hosts), "localhost", true),
        (ours.issue("other", &["agent.example"]), "127.0.0.1", false),
        (theirs.issue("foreign", &hosts), "127.0.0.1", false),
    ] {
        let (port, agent) = behind_tls(certificate);
        let url = format!("wss://{host}:{port}/agent");
        let tls = format!("[tls]\nauthorities = \"{}\"\n", ours.pem.display());
        let server = server(&lines(&url, &tls));
        let mut ann = Caller::calls(&server, "700").await;
        match good {
            true => drop(within("the end", ann.call.wait_for_end()).await),
            false => {
                ann.hears_sound(true).await;
                assert_eq!(application(&server), "milliwatt");
                ann.hangs_up().await;
                until("counted", || (agents(&server, "failed") == 1.0).then_some(()));
            }
        }
        let start = agent.join().expect("an agent");
        assert_eq!(start.map(|start| start["agent"].clone()), good.then(|| json!("ada")), "{host}");
        nothing_is_left(&server).await;
    }
}
