//! The page at `/`, as served. Tests of its behaviour in a browser: `tests/interop/page`.

use crate::server_support::{Server, exchange, server};

const FILES: [&str; 3] = ["/", "/page/main.js", "/page/page.css"];

fn policy(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}");
    answer.field("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy")).to_owned()
}

#[test]
fn the_page_is_served_with_a_policy_that_lets_nothing_in_from_elsewhere() {
    let server = server("");
    let page = server.get("/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    for path in FILES {
        let policy = policy(&server, path);
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    // All files that the page references exist.
    let text = page.text();
    let named: Vec<&str> = text.split("\"page/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() >= 4, "{named:?}");
    for name in named {
        assert_eq!(server.get(&format!("/page/{name}")).status, 200, "{name}");
    }
    assert_eq!(server.get("/page/nothing.js").status, 404);
}

#[test]
fn a_browser_that_has_the_page_gets_it_once_and_what_the_server_knows_is_never_kept() {
    let server = server("");
    for path in FILES {
        let first = server.get(path);
        let tag = first.field("etag").expect("a tag").to_owned();
        assert_eq!(first.field("cache-control"), Some("no-cache"), "{path}");
        for (known, status) in [(tag.as_str(), 304), (&format!("\"x\", W/{tag}"), 304), ("\"x\"", 200)] {
            let again = server.ask_with("GET", path, &format!("If-None-Match: {known}\r\n"), "");
            assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{path} {known}");
            assert_eq!(again.field("etag"), Some(tag.as_str()));
        }
    }
    for path in ["/calls", "/metrics", "/healthz", "/nothing"] {
        assert_eq!(server.get(path).field("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn with_a_token_the_page_is_there_to_ask_for_it_and_shows_nothing_before() {
    let server = server("token = \"open sesame\"\n");
    for path in FILES {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/calls", "/metrics", "/events", "/page", "/page/nothing.js", "//calls"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
}

#[test]
fn without_a_token_the_page_is_for_names_of_this_machine_only() {
    let server = server("");
    let asked = b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(server.http, asked).status, 403);
}

#[tokio::test]
async fn a_browsers_web_socket_brings_its_token_as_a_subprotocol() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let server = server("token = \"open sesame\"\n");
    // base64url of `open sesame`, and of `open sesam`.
    for (token, status) in [("b3BlbiBzZXNhbWU", 101), ("b3BlbiBzZXNhbQ", 401)] {
        let mut request = format!("ws://{}/events", server.http).into_client_request().expect("a request");
        let offer = format!("b2b.events, bearer.{token}").parse().expect("a value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
        let stream = tokio::net::TcpStream::connect(server.http).await.expect("the control interface");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((_, answer)) => {
                assert_eq!(status, 101, "{token}");
                let chosen = answer.headers().get("sec-websocket-protocol").and_then(|it| it.to_str().ok());
                assert_eq!(chosen, Some("b2b.events"), "the token is not said again");
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                assert_eq!(answer.status().as_u16(), status, "{token}");
            }
            Err(error) => panic!("{token}: {error}"),
        }
    }
}
