//! Tokens: every path and every command requires the right one, and nothing else gives access.

use serde_json::{Value, json};

use crate::server_support::control::Socket;
use crate::server_support::{Answer, Server, exchange, server};

const SCOPES: [&str; 7] = ["read", "calls", "record", "agents", "rooms", "remote", "audio"];

/// A server with a token for all scopes, `all`; for each scope a token with that scope only, `only-…`, and
/// one with all other scopes, `but-…`.
fn house() -> Server {
    let mut tokens = String::from("token = \"all\"\n");
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|it| *it != scope).collect();
        for (token, scopes) in [(format!("only-{scope}"), vec![scope]), (format!("but-{scope}"), others)] {
            tokens +=
                &format!("[[http.tokens]]\nname = \"{token}\"\ntoken = \"{token}\"\nscopes = {scopes:?}\n");
        }
    }
    server(&format!(
        "{tokens}[[conference]]\nname = \"blue\"\nannounced = false\n[[remote]]\nname = \"agent\"\n"
    ))
}

/// Sends a request with this token, or without one; `fields` are in its head.
fn ask(server: &Server, token: Option<&str>, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    server.ask_with(method, path, &format!("Content-Type: application/json\r\n{token}{fields}"), body)
}

/// A WebSocket request; without a close in the head its response would not end.
fn upgrade(server: &Server, token: Option<&str>, path: &str, protocol: &str) -> u16 {
    use std::io::{Read, Write};
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{token}{protocol}\r\n",
        server.http
    );
    let mut stream = std::net::TcpStream::connect(server.http).expect("the control interface");
    stream.set_read_timeout(Some(crate::server_support::child::PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("an answer");
    String::from_utf8_lossy(&line[9..]).parse().expect("a status")
}

#[test]
fn every_path_wants_a_token_and_the_scope_that_the_document_names() {
    let server = house();
    let document = ask(&server, Some("all"), "GET", "/openapi.json", "", "").json();
    let mut doors = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let path = path.replace("{name}", "agent").replace("{verb}", "hangup").replace("{id}", "1");
            let path = path.replace("{leg}", "1");
            // Sending audio requires one more scope.
            let path = if path.ends_with("/audio") { path + "?listen=true" } else { path };
            let method = method.to_uppercase();
            if path == "/healthz" {
                assert_eq!(ask(&server, None, &method, &path, "", "").status, 200);
                continue;
            }
            doors += 1;
            for (token, status) in [(None, 401), (Some("wrong"), 401), (Some(""), 401), (Some("all "), 200)] {
                let answer = ask(&server, token, &method, &path, "", "");
                match status {
                    401 => {
                        assert_eq!(answer.status, 401, "{method} {path} {token:?}");
                        assert_eq!(answer.field("www-authenticate"), Some("Bearer"), "{method} {path}");
                    }
                    // It may be refused for another reason.
                    _ => {
                        assert!(!matches!(answer.status, 0 | 401 | 403), "{method} {path}: {}", answer.status)
                    }
                }
            }
            // Others depend on the request: see below.
            let Some(scope) = operation["security"][0]["token"][0].as_str() else {
                let of_command = path.starts_with("/commands") && method != "GET";
                // Every valid token may query its own scopes.
                let of_token = path == "/token";
                assert!(of_command || of_token || path.ends_with("/hangup"), "{method} {path}: no scope");
                continue;
            };
            let refused = ask(&server, Some(&format!("but-{scope}")), &method, &path, "", "");
            assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text());
            assert!(
                refused.text().contains(&format!("{scope:?}").replace('"', "\\\"")),
                "{}",
                refused.text()
            );
            // It always sends audio.
            if path == "/media/1" {
                continue;
            }
            let taken = ask(&server, Some(&format!("only-{scope}")), &method, &path, "", "").status;
            assert!(!matches!(taken, 0 | 401 | 403), "{method} {path}: {taken}");
        }
    }
    assert!(doors > 30, "{doors}");
}

/// The scope required by a command.
fn scope_of(command: &str) -> &'static str {
    match command {
        "lookup" => "read",
        "record" | "pause_recording" | "stop_recording" | "room_record" => "record",
        "agent" => "agents",
        room if room.starts_with("room_") => "rooms",
        _ => "calls",
    }
}

#[tokio::test]
async fn every_command_wants_its_scope_whichever_way_it_comes() {
    let server = house();
    let document = ask(&server, Some("all"), "GET", "/openapi.json", "", "").json();
    let body = &document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/json"];
    let commands = body["examples"].as_object().expect("examples");
    assert!(commands.len() > 25, "{}", commands.len());
    let mut reader =
        Socket::with(&server, "/control?only=commands", Some("only-read")).await.expect("may read");
    for example in commands.values() {
        let order = &example["value"];
        let word = order["command"].as_str().expect("a command");
        let scope = scope_of(word);
        let text = order.to_string();
        let mut fields = order.clone();
        let fields = fields.as_object_mut().expect("an object");
        fields.remove("command");
        // The same with the call, or the room, in the path.
        let mut ways = vec![("/commands".to_owned(), text.clone())];
        if let (Some(verb), Some(room)) = (word.strip_prefix("room_"), fields.remove("room")) {
            ways.push((
                format!("/rooms/{}/{verb}", room.as_str().expect("a name")),
                json!(fields).to_string(),
            ));
        } else if fields.contains_key("call") || fields.contains_key("leg") {
            let call = fields.remove("call").unwrap_or(json!(7));
            ways.push((format!("/calls/{call}/{word}"), json!(fields).to_string()));
        }
        for (path, body) in ways {
            assert_eq!(ask(&server, None, "POST", &path, "", &body).status, 401, "{path} {body}");
            assert_eq!(ask(&server, Some("wrong"), "POST", &path, "", &body).status, 401, "{path} {body}");
            let refused = ask(&server, Some(&format!("but-{scope}")), "POST", &path, "", &body);
            assert_eq!(refused.status, 403, "{path} {body}: {}", refused.text());
            assert!(refused.text().contains(scope), "{}", refused.text());
            // It always sends audio.
            if path == "/media/1" {
                continue;
            }
            let taken = ask(&server, Some(&format!("only-{scope}")), "POST", &path, "", &body).status;
            assert!(matches!(taken, 202 | 409), "{path} {body}: {taken}");
        }
        if scope != "read" {
            reader.say(order).await;
            let answer = reader.hear_of("a refusal", |it| it["type"] == "refused").await;
            assert_eq!(answer["status"], 403, "{answer}");
        }
    }
    drop(reader);
    crate::server_support::until("nothing under way", || {
        let page = ask(&server, Some("all"), "GET", "/metrics", "", "").text();
        page.contains("b2b_held{what=\"commands\"} 0\n").then_some(())
    });
}

#[test]
fn every_web_socket_wants_its_scope_before_it_is_one() {
    let server = house();
    for (path, scopes) in [
        ("/control", &["read"][..]),
        ("/events", &["read"]),
        ("/remote/agent", &["remote"]),
        ("/calls/1/audio", &["audio", "calls"]),
        ("/legs/1/audio?rate=8000", &["audio", "calls"]),
        ("/calls/1/audio?listen=true", &["audio"]),
    ] {
        for token in [None, Some("wrong"), Some("ALL"), Some("al")] {
            assert_eq!(upgrade(&server, token, path, ""), 401, "{path} {token:?}");
        }
        for scope in scopes {
            assert_eq!(upgrade(&server, Some(&format!("but-{scope}")), path, ""), 403, "{path} {scope}");
        }
        let taken = upgrade(&server, Some("all"), path, "");
        assert!(matches!(taken, 101 | 404), "{path}: {taken}");
    }
    // Browsers send it as a subprotocol: base64url of `all`, of `wrong`, and nonsense.
    for (offered, status) in
        [("YWxs", 101), ("d3Jvbmc", 401), ("YWxs=", 401), ("!", 401), ("", 401), ("YWxs.YWxs", 401)]
    {
        let protocol = format!("Sec-WebSocket-Protocol: b2b.events, bearer.{offered}\r\n");
        assert_eq!(upgrade(&server, None, "/events", &protocol), status, "{offered:?}");
    }
}

#[test]
fn the_page_is_open_and_shows_nothing_without_a_token_and_a_strange_site_is_refused() {
    let server = house();
    let page = ask(&server, None, "GET", "/", "", "");
    assert_eq!(page.status, 200);
    for path in
        ["/page/none.js", "/page", "/page/../calls", "/calls/", "//calls", "/%63alls", "/healthz/../calls"]
    {
        let status = ask(&server, None, "GET", path, "", "").status;
        assert_eq!(status, 401, "{path}");
    }
    for (fields, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Authorization: Basic YWxsOmFsbA==\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer all all\r\n", 401),
        // Only the first one counts, whatever else is there.
        ("Authorization: Bearer wrong\r\nAuthorization: Bearer all\r\n", 401),
    ] {
        assert_eq!(ask(&server, None, "GET", "/calls", fields, "").status, status, "{fields:?}");
    }
    let without_host = exchange(server.http, b"GET /calls HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(matches!(without_host.status, 400 | 401), "{}", without_host.status);
    let everything: Value = ask(&server, Some("all"), "GET", "/calls", "", "").json();
    assert_eq!(everything["total"], 0);
}
