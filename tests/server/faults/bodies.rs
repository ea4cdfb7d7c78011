//! Request bodies that are too large, cut off, slow, or invalid.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use super::{NEIGHBOUR, Neighbour, nothing_is_held};
use crate::server_support::child::PATIENCE;
use crate::server_support::{Server, exchange, server};

/// Every path that takes a body, with the method, and a valid body.
const TAKERS: [(&str, &str, &str); 8] = [
    ("POST", "/commands", "{\"command\":\"hangup\",\"call\":1}"),
    ("POST", "/calls/1/hangup", "{}"),
    ("POST", "/rooms/blue/lock", "{\"locked\":true}"),
    ("POST", "/calls", "{\"from\":\"user/none\",\"to\":\"user/none\"}"),
    ("POST", "/calls/1/capture", "{\"media\":\"whole\"}"),
    ("POST", "/calls/1/recording", ""),
    ("PATCH", "/calls/1/recording", "{\"paused\":true}"),
    ("PUT", "/agents/ann/state", "{\"state\":\"paused\"}"),
];

fn house() -> Server {
    server(&format!(
        "[[conference]]\nname = \"blue\"\nannounced = false\n[[user]]\nname = \"ann\"\npassword = \"x\"\n\
         [[agent]]\nname = \"ann\"\n{NEIGHBOUR}"
    ))
}

/// The head of a request, with these lines.
fn head(server: &Server, method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}\r\n", server.http)
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_refused_in_words_wherever_it_is_sent() {
    let server = house();
    let neighbour = Neighbour::calls(&server).await;
    let json_type = "Content-Type: application/json\r\n";
    let nested = "[".repeat(30_000);
    let in_object = format!("{{\"a\":{nested}");
    let wide = format!("{{{}}}", (0..5_000).map(|n| format!("\"f{n}\":0")).collect::<Vec<_>>().join(","));
    for (method, path, good) in TAKERS {
        for bad in ["{", "nonsense", "\"text\"", "[]", "7", "{\"a\":1e999}", &nested, &in_object, &wide] {
            let answer = server.ask_with(method, path, json_type, bad);
            let status = answer.status;
            assert!(matches!(status, 400 | 404 | 409 | 422), "{method} {path} {bad:.40}: {status}");
            let problem = answer.json();
            assert!(problem["error"].is_string() && problem["fix"].is_string(), "{method} {path}: {problem}");
        }
        let not_utf8 = format!(
            "{}{{\"command\":\"",
            head(&server, method, path, &format!("{json_type}Content-Length: 20\r\n"))
        );
        let mut octets = not_utf8.into_bytes();
        octets.extend([0xff; 20]);
        assert!(matches!(exchange(server.http, &octets).status, 400 | 404 | 409 | 422), "{method} {path}");
        // It is parsed as JSON whatever its Content-Type.
        let odd = server.ask_with(method, path, "Content-Type: application/xml\r\n", good).status;
        assert!(!matches!(odd, 400 | 415), "{method} {path}: {odd}");
        // Too long, with and without Content-Length.
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
        let answer = server.ask_with(method, path, json_type, &long);
        assert_eq!(answer.status, 413, "{method} {path}: {}", answer.text());
        assert!(answer.json()["fix"].is_string());
        let mut chunked =
            head(&server, method, path, &format!("{json_type}Transfer-Encoding: chunked\r\n")).into_bytes();
        for _ in 0..8 {
            chunked.extend_from_slice(b"2710\r\n");
            chunked.resize(chunked.len() + 10_000, b' ');
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(exchange(server.http, &chunked).status, 413, "{method} {path}: in pieces");
        let claims =
            head(&server, method, path, &format!("{json_type}Content-Length: 18446744073709551615\r\n"));
        let status = exchange(server.http, claims.as_bytes()).status;
        assert!(matches!(status, 400 | 413 | 431), "{method} {path}: {status}");
        for lines in [
            "Content-Length: -1\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            let status = exchange(server.http, (head(&server, method, path, lines) + "{}").as_bytes()).status;
            assert!(matches!(status, 0 | 400 | 408 | 411 | 501), "{method} {path} {lines:?}: {status}");
        }
    }
    assert_eq!(server.get("/calls").json()["total"], 1);
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn a_body_that_is_cut_off_or_does_not_come_ends_in_time_and_begins_nothing() {
    let server = house();
    let neighbour = Neighbour::calls(&server).await;
    let order = json!({ "command": "hangup", "call": neighbour.call, "id": "half" }).to_string();
    let first = &order[..order.len() / 2];
    let lines = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", order.len());
    // Half of it, then the client closes.
    for goes in [Shutdown::Write, Shutdown::Both] {
        let mut cut = TcpStream::connect(server.http).expect("the control interface");
        cut.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        cut.write_all((head(&server, "POST", "/commands?wait=300", &lines) + first).as_bytes())
            .expect("sent");
        cut.shutdown(goes).expect("gone");
        let mut answer = String::new();
        let _ = cut.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    // Half of it, then silence: also for a command that may wait for minutes.
    for path in ["/commands?wait=300", "/calls/1/hangup?wait=300", "/rooms/blue/lock", "/calls"] {
        let answer = exchange(server.http, (head(&server, "POST", path, &lines) + first).as_bytes());
        assert_eq!(answer.status, 408, "{path}: {}", answer.head);
        assert!(answer.json()["fix"].is_string());
    }
    assert_eq!(server.get("/commands/half").status, 404, "it never began");
    // Sending one octet at a time does not help: the limit applies to the whole.
    let mut drips = TcpStream::connect(server.http).expect("the control interface");
    drips.write_all(head(&server, "POST", "/commands?wait=300", &lines).as_bytes()).expect("sent");
    drips.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
    let (start, mut answer) = (std::time::Instant::now(), [0; 12]);
    let mut octets = order.bytes().take(16);
    while drips.read_exact(&mut answer).is_err() {
        assert!(start.elapsed() < PATIENCE, "it is still waited for");
        if let Some(octet) = octets.next() {
            drips.write_all(&[octet]).expect("it is waited for");
        }
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[tokio::test]
async fn many_who_never_finish_a_request_are_let_go_and_others_are_answered_meanwhile() {
    let server = house();
    let neighbour = Neighbour::calls(&server).await;
    let mut slow: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(server.http).expect("the control interface");
            // Nothing, the beginning of a head, or all of it except its end.
            let part =
                [&b""[..], b"GET /calls HT", b"POST /commands HTTP/1.1\r\nHost: localhost\r\nX: "][n % 3];
            stream.write_all(part).expect("sent");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(server.get("/healthz").status, 200);
    }
    for stream in &mut slow {
        let mut rest = Vec::new();
        // Closed with or without a response.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408") || rest.starts_with(b"HTTP/1.1 400"));
    }
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}
