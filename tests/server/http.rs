//! The control interface of the real binary, as seen by clients.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, exchange, server, start, until};

#[test]
fn it_says_that_calls_are_taken_and_what_is_counted() {
    let server = server("");
    assert_eq!((server.get("/healthz").status, server.get("/healthz").text().as_str()), (200, "ok\n"));
    let metrics = server.get("/metrics");
    assert_eq!(metrics.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for series in ["b2b_calls{state=\"bridged\"}", "b2b_held{what=\"legs\"}", "b2b_bindings"] {
        assert_eq!(server.metric(series), 0.0, "{series}");
    }
    assert!(server.metric("b2b_uptime_seconds") > 0.0);
    let calls = server.get("/calls").json();
    assert_eq!((&calls["total"], calls["calls"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    assert_eq!(server.get("/registrations").json()["bindings"], 0);
}

#[test]
fn errors_are_json_that_says_what_to_do() {
    let server = server("[[user]]\nname = \"1001\"\npassword = \"x\"\n");
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/calls/77", 404),
        ("DELETE", "/calls/77", 404),
        ("GET", "/calls/x", 400),
        ("GET", "/calls?limit=x", 400),
        ("GET", "/registrations?user=1002", 404),
        ("PUT", "/metrics", 405),
    ] {
        let answer = server.ask(method, path);
        assert_eq!(answer.status, status, "{method} {path}");
        let problem = answer.json();
        let said = |field: &str| problem[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(said("error") && said("fix"), "{method} {path}: {problem}");
    }
    assert_eq!(server.get("/registrations?user=1001").status, 200);
}

#[test]
fn with_a_token_nobody_asks_without_it() {
    let server = server("token = \"open sesame\"\n");
    for path in ["/calls", "/metrics", "/registrations", "/nothing"] {
        let refused = server.get(path);
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer")), "{path}");
        let wrong = server.ask_with("GET", path, "Authorization: Bearer open sesam\r\n", "");
        assert_eq!(wrong.status, 401, "{path}");
    }
    let right = server.ask_with("GET", "/calls", "Authorization: Bearer open sesame\r\n", "");
    assert_eq!(right.status, 200);
    assert_eq!(server.get("/healthz").status, 200, "it says nothing that is secret");
}

#[test]
fn without_a_token_in_the_configuration_one_is_made_that_outlives_a_restart() {
    let folder = configured("");
    let file = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace("token = \"off\"\n", "")).expect("a file");
    let kept = folder.path().join("http.token");
    let mut first = start(folder);
    // As forwarded by nginx from the Internet: it cannot be told from a local program's request.
    for path in ["/calls", "/metrics", "/openapi.json", "/events"] {
        assert_eq!(first.get(path).status, 401, "{path}");
    }
    for path in ["/healthz", "/", "/page/main.js"] {
        assert_eq!(first.get(path).status, 200, "{path}");
    }
    first.process.wait_for_line(&format!("the token of the HTTP interface is in {}", kept.display()));
    let token = std::fs::read_to_string(&kept).expect("the token");
    assert_eq!(kept.metadata().expect("a file").permissions().mode() & 0o7777, 0o600);
    let may = |server: &Server| {
        let field = format!("Authorization: Bearer {}\r\n", token.trim());
        server.ask_with("GET", "/calls", &field, "").status
    };
    assert_eq!(may(&first), 200);
    let Server { process, folder, .. } = first;
    drop(process);
    assert_eq!(may(&start(folder)), 200, "it is the same one");
}

#[test]
fn where_no_token_is_wanted_nobody_comes_through_a_proxy() {
    let mut server = server("");
    server.process.wait_for_line("http.token is \"off\"");
    for field in
        ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 proxy", "X-Real-IP: 192.0.2.1"]
    {
        let through = |path| server.ask_with("GET", path, &format!("{field}\r\n"), "").status;
        assert_eq!((through("/calls"), through("/")), (403, 403), "{field}");
        assert_eq!(through("/healthz"), 200, "{field}: who balances load");
    }
    assert_eq!(server.get("/calls").status, 200);
}

#[test]
fn pages_in_a_browser_here_are_refused() {
    let server = server("");
    let page = server.ask_with("GET", "/calls", "Origin: https://evil.example\r\n", "");
    assert_eq!(page.status, 403);
    let rebound =
        exchange(server.http, b"GET /calls HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403);
}

#[test]
fn what_is_too_long_or_no_http_is_refused_and_others_are_served() {
    let server = server("");
    let long = format!("GET /calls HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    // 0: closed before all of it was read.
    let refused = exchange(server.http, long.as_bytes()).status;
    assert!(matches!(refused, 0 | 400 | 431), "{refused}");
    let refused = exchange(server.http, b"INVITE sip:a@b SIP/2.0\r\n\r\n").status;
    assert!(matches!(refused, 0 | 400), "{refused}");
    assert_eq!(server.get("/healthz").status, 200);
}

/// A server that routes every number to Bob.
fn to_bob(bob: &Phone) -> Server {
    server(&format!("[[route]]\nname = \"to bob\"\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()))
}

#[test]
fn messages_in_the_middle_of_a_long_call_are_left_out_and_counted() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = to_bob(&bob);
    let a = std::thread::scope(|scope| {
        let answered = scope.spawn(|| bob.answer());
        let a = ann.call(server.sip, "200");
        answered.join().expect("Bob has answered");
        a
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.agree(&over));
        for cseq in 2..42 {
            ann.press(&a, cseq, '7');
        }
        over.store(true, Ordering::Release);
    });
    let id = server.get("/calls").json()["calls"][0]["call"].as_u64().expect("a call");
    let told = server.get(&format!("/calls/{id}/messages")).json();
    let (kept, left_out) = (told["messages"].as_array().expect("messages"), &told["messages_left_out"]);
    assert!(left_out.as_u64().is_some_and(|it| it > 10), "{left_out}");
    assert_eq!(server.get(&format!("/calls/{id}")).json()["messages_left_out"], *left_out);
    let starts =
        |it: &serde_json::Value, with: &str| it["text"].as_str().is_some_and(|it| it.starts_with(with));
    assert!(starts(&kept[0], "INVITE") && starts(&kept[kept.len() - 1], "SIP/2.0 200"));
}

#[test]
fn a_call_with_one_way_audio_tells_the_cause_while_it_is_up_and_after() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = to_bob(&bob);
    let mut media = None;
    let a = std::thread::scope(|scope| {
        let bob = &bob;
        let answered = scope.spawn(move || bob.answer());
        let a = ann.call(server.sip, "200");
        answered.join().expect("Bob has answered");
        a
    });
    let calls = server.get("/calls").json();
    let id = calls["calls"][0]["call"].as_u64().expect("a call");
    assert_eq!((&calls["total"], &calls["calls"][0]["state"]), (&json!(1), &json!("bridged")));
    let path = format!("/calls/{id}");
    // The server's address for Ann's audio is in the answer that it sent.
    let pcap = server.get(&format!("{path}/pcap"));
    assert_eq!(pcap.field("content-type"), Some("application/vnd.tcpdump.pcap"));
    let text = String::from_utf8_lossy(&pcap.body).into_owned();
    for session in text.split("SIP/2.0 200 OK").skip(1) {
        let port = session.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        media = port.map(|port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let media = media.expect("an answer with audio");
    ann.speak(media, 100);
    // Bob's audio sent to the port for Ann's: an injection.
    bob.speak(media, 1);
    // Conversations shorter than a second are not judged.
    std::thread::sleep(Duration::from_millis(1_100));
    let live = until("the counters", || {
        let live = server.get(&path).json();
        (live["legs"][0]["media"]["packets_received"].as_u64() >= Some(90)).then_some(live)
    });
    assert_eq!(live["verdicts"][0]["audio"], "only_from_caller", "{live}");
    assert_eq!(live["now"]["state"], "bridged");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&a);
    });
    let over = until("the end", || Some(server.get(&path).json()).filter(|report| report["over"] == true));
    let verdict = &over["verdicts"][0];
    assert_eq!((&verdict["audio"], &over["route"]), (&json!("only_from_caller"), &json!("to bob")));
    assert_eq!(verdict["findings"][0]["cause"], "never_received", "{verdict}");
    assert_eq!(verdict["findings"][0]["leg"], over["legs"][1]["leg"]);
    let words = server.get(&format!("{path}?format=text")).text();
    for part in [
        "one-way audio: the callee was not heard",
        "INVITE (offer)",
        "first packet: from 127.0.0.1",
        "route: to bob",
    ] {
        assert!(words.contains(part), "{part}\nin\n{words}");
    }
    assert!(String::from_utf8_lossy(&server.get(&format!("{path}/pcap")).body).contains("BYE sip:"));
    assert_eq!(server.get("/calls?ended=true").json()["ended"], json!([id]));
    let answer = server.get(&format!("{path}/messages")).json();
    assert_eq!(answer["messages_left_out"], 0);
    let messages = answer["messages"].as_array().expect("messages");
    let first_lines: Vec<&str> =
        messages.iter().filter_map(|it| it["text"].as_str()?.lines().next()).collect();
    assert!(first_lines[0].starts_with("INVITE sip:200@"), "{first_lines:?}");
    assert_eq!((&messages[0]["sent"], &messages[0]["transport"]), (&json!(false), &json!("UDP")));
    assert!(first_lines.iter().any(|line| line.starts_with("BYE sip:")), "{first_lines:?}");
    assert_eq!(server.get("/calls/1/messages").status, 404);
    let records = until("two records", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        (text.lines().count() == 2).then_some(text)
    });
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&record["audio"], &record["codec"]), (&json!("only_from_caller"), &json!("PCMA")));
        assert_eq!((&record["route"], &record["call_id"]), (&json!("to bob"), &json!(id)));
    }
    assert_eq!(server.metric("b2b_held{what=\"legs\"}"), 0.0);
    assert_eq!(server.metric("b2b_held{what=\"accounts\"}"), 0.0);
    assert_eq!(server.metric("b2b_records_total{result=\"written\"}"), 2.0);
    let figures = [
        ("b2b_media_packets_total{direction=\"received\"}", 100.0),
        ("b2b_media_packets_total{direction=\"sent\"}", 100.0),
        ("b2b_media_octets_total{direction=\"received\"}", 100.0 * 172.0),
        ("b2b_media_dropped_total{reason=\"source\"}", 1.0),
        ("b2b_media_dropped_total{reason=\"stream\"}", 0.0),
        ("b2b_media_dropped_total{reason=\"unjoined\"}", 0.0),
        ("b2b_media_lost_total{where=\"here\"}", 0.0),
        ("b2b_media_ports{state=\"used\"}", 0.0),
        ("b2b_media_ports{state=\"resting\"}", 2.0),
    ];
    assert_eq!(figures.map(|(series, _)| (series, server.metric(series))), figures);
    assert!(server.metric("b2b_media_ports{state=\"free\"}") > 1_000.0);
}

#[test]
fn a_call_is_begun_and_ended_by_request() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = to_bob(&bob);
    let begun = server.post("/calls", &json!({ "from": ann.uri(), "to": bob.uri(), "caller": "900" }));
    let id = begun.json()["call"].clone();
    assert_eq!((begun.status, begun.field("location")), (201, Some(&*format!("/calls/{id}"))));
    ann.answer();
    let (invite, peer) = bob.hear("INVITE");
    assert!(crate::server_support::phone::field(&invite, "From").contains("sip:900@"), "{invite}");
    bob.answer_to(&invite, peer);
    until("the bridge", || {
        (server.get(&format!("/calls/{id}")).json()["now"]["state"] == "bridged").then_some(())
    });
    // Counters come from media threads, whose descriptors do not belong to the runtime.
    for _ in 0..50 {
        assert_eq!(server.get(&format!("/calls/{id}")).status, 200, "{}", server.process.output());
    }
    assert_eq!(server.ask("DELETE", &format!("/calls/{id}")).status, 204);
    std::thread::scope(|scope| {
        scope.spawn(|| ann.let_go());
        scope.spawn(|| bob.let_go());
    });
    until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
    for (wish, status) in [
        (json!({ "from": "user/nobody", "to": bob.uri() }), 404),
        (json!({ "from": "nonsense", "to": bob.uri() }), 404),
        (json!({ "from": bob.uri() }), 422),
        (json!({ "from": bob.uri(), "to": bob.uri(), "ring_s": 0 }), 400),
    ] {
        let refused = server.post("/calls", &wish);
        assert_eq!(refused.status, status, "{wish}: {}", refused.text());
        assert!(refused.json()["fix"].as_str().is_some_and(|fix| !fix.is_empty()));
    }
}

#[tokio::test]
async fn events_come_by_web_socket_each_with_its_number() {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::Message;

    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = to_bob(&bob);
    let stream = tokio::net::TcpStream::connect(server.http).await.expect("the control interface");
    let url = format!("ws://{}/events", server.http);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
    let begun = server.post("/calls", &json!({ "from": ann.uri(), "to": bob.uri() }));
    let id = begun.json()["call"].clone();
    let (mut types, mut last) = (Vec::new(), 0);
    while !types.contains(&"dialling".to_owned()) {
        let message = tokio::time::timeout(crate::server_support::child::PATIENCE, socket.next()).await;
        let message = message.expect("an event in time");
        let Message::Text(text) = message.expect("open").expect("sound") else { continue };
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let seq = event["seq"].as_u64().expect("a number");
        assert!(seq > last, "{event}");
        last = seq;
        if event["call"] == id {
            types.push(event["type"].as_str().expect("a type").to_owned());
        }
    }
    assert!(types.contains(&"call_state".to_owned()), "{types:?}");
    assert_eq!(server.get("/events").status, 400, "no WebSocket");
    assert_eq!(server.get("/events?after=1").status, 410);
}

#[test]
fn numbers_in_the_log_are_redacted_where_that_is_asked_for() {
    let ann = Phone::new("ann");
    let mut server = server(
        "[log]\nredact = \"numbers\"\n[[user]]\nname = \"07700900123\"\npassword = \"x\"\n\
         [[route]]\ncalled = \".*\"\nto = \"user/$0\"\n",
    );
    ann.ask_for(server.sip, "07700900123");
    ann.hear("SIP/2.0 480");
    server.process.wait_for_line("'077…23' is not registered");
    assert!(!server.process.output().contains("07700900123"), "{}", server.process.output());
}
