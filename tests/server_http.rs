//! The control interface of the real binary, from outside.
#![cfg(feature = "server")]

mod server_support;

use server_support::{exchange, server};

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
    // 0: it was closed before all of it was read.
    let refused = exchange(server.http, long.as_bytes()).status;
    assert!(matches!(refused, 0 | 400 | 431), "{refused}");
    let refused = exchange(server.http, b"INVITE sip:a@b SIP/2.0\r\n\r\n").status;
    assert!(matches!(refused, 0 | 400), "{refused}");
    assert_eq!(server.get("/healthz").status, 200);
}
