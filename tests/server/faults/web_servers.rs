//! Web servers queried by menu trees: faulty, silent or endless ones affect the call that queries them, and
//! no other; data for one server goes to no other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::Value;

use super::{NEIGHBOUR, Neighbour, nothing_is_held};
use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, until};
use b2b_test_support::tls::{Authority, accept};

const RIGHT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"next\":\"told\"}";

/// A web server, the number of its requests, and the octets that it could send.
struct Web {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

/// Handles each connection with this, once its request is read.
fn web(
    does: impl Fn(&mut TcpStream, SocketAddr, &AtomicU64) -> std::io::Result<()> + Send + Sync + 'static,
) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("an address");
    let (asked, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let web = Web { at, asked: asked.clone(), sent: sent.clone() };
    let does = Arc::new(does);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), asked, sent, does) = (stream, asked.clone(), sent.clone(), does.clone())
            else {
                return;
            };
            std::thread::spawn(move || {
                if question(&mut stream).is_some() {
                    asked.fetch_add(1, Ordering::Relaxed);
                    // The client closes the connection when it gives up.
                    let _ = does(&mut stream, at, &sent);
                }
            });
        }
    });
    web
}

/// Reads one request: a POST with its JSON, otherwise without a body.
fn question(stream: &mut impl Read) -> Option<String> {
    let (mut read, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => read.extend_from_slice(&piece[..length]),
            _ => return None,
        }
        let is_whole =
            if read.starts_with(b"POST") { read.ends_with(b"}") } else { read.ends_with(b"\r\n\r\n") };
        if is_whole {
            return Some(String::from_utf8_lossy(&read).into_owned());
        }
    }
}

/// Sends this repeatedly.
fn for_ever(stream: &mut TcpStream, piece: &[u8], sent: &AtomicU64) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

/// A number, and a tree that queries this URL; the outcome is in the call's CDRs.
fn tree(name: &str, url: &str, more: &str) -> String {
    // Only a timeout ends these.
    let patience_s = if ["silent", "interims"].contains(&name) { 5 } else { 60 };
    let end = |outcome: &str| {
        format!(
            "[[ivr.node]]\nname = \"{outcome}\"\nkind = \"set\"\nvalues = {{ outcome = \"{outcome}\" }}\nnext = \"end\"\n"
        )
    };
    format!(
        "[[route]]\ncalled = \"{name}\"\napp = \"ivr/{name}\"\n[[ivr]]\nname = \"{name}\"\n\
         [[ivr.node]]\nname = \"ask\"\nkind = \"http\"\nurl = \"{url}\"\n{more}timeout_s = {patience_s}\nfailed = \"failed\"\n\
         {}{}[[ivr.node]]\nname = \"end\"\nkind = \"hangup\"\n",
        end("told"),
        end("failed")
    )
}

/// Calls the tree of this name; returns the outcome once it is over.
fn outcome(server: &Server, name: &'static str) -> String {
    let phone = Phone::new(name);
    let call = phone.ask_for(server.sip, name);
    phone.confirmed(&phone.hear("SIP/2.0 200").0, call.clone(), server.sip);
    assert_eq!(phone.let_go(), call.1);
    let record = until("the record", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
        let mut records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|it| it["callee"] == name)
    });
    record["variables"]["outcome"].as_str().unwrap_or_else(|| panic!("no outcome: {record}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_ends_no_call_but_the_one_that_asks_it() {
    let interim = b"HTTP/1.1 100 \r\n\r\n";
    let wrong = web(|_, _, _| Ok(()));
    let elsewhere = web(|stream, _, _| stream.write_all(RIGHT.as_bytes()));
    let other = elsewhere.at;
    let kinds = [
        // The number that once overflowed the stack of the call thread.
        (
            "interim",
            web(move |it, _, _| {
                it.write_all(&interim.repeat(2_000)).and_then(|()| it.write_all(RIGHT.as_bytes()))
            }),
        ),
        ("silent", web(|it, _, _| it.read(&mut [0]).map(drop))),
        ("closes", wrong),
        (
            "header",
            web(|it, _, sent| {
                it.write_all(b"HTTP/1.1 200 OK\r\n")?;
                for_ever(it, b"X: y\r\n", sent)
            }),
        ),
        ("gigabyte", web(|it, _, _| it.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{"))),
        (
            "endless",
            web(|it, _, sent| {
                it.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for_ever(it, format!("400\r\n{}\r\n", " ".repeat(0x400)).as_bytes(), sent)
            }),
        ),
        (
            "circle",
            web(|it, at, _| {
                write!(
                    it,
                    "HTTP/1.1 307 \r\nLocation: http://{at}/again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            }),
        ),
        (
            "points",
            web(move |it, _, _| {
                write!(it, "HTTP/1.1 307 \r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n")
            }),
        ),
        ("nonsense", web(|it, _, _| it.write_all(b"SSH-2.0-x\r\n"))),
        ("interims", web(move |it, _, sent| for_ever(it, interim, sent))),
    ];
    let token = "token = \"s3cret\"\nheaders = { X-Api-Key = \"k3y\" }\n";
    let trees: String =
        kinds.iter().map(|(name, web)| tree(name, &format!("http://{}/", web.at), token)).collect();
    let again = tree("again", &format!("http://{}/", kinds[0].1.at), "");
    let server = server(&format!("{trees}{again}{NEIGHBOUR}"));
    let neighbour = Neighbour::calls(&server).await;
    for (name, web) in &kinds {
        let wanted = if *name == "interim" { "told" } else { "failed" };
        assert_eq!(outcome(&server, name), wanted, "{name}");
        assert!(web.asked.load(Ordering::Relaxed) > 0, "{name} was asked");
    }
    assert_eq!(outcome(&server, "again"), "told", "whoever asks next is answered");
    let of = |name: &str| &kinds.iter().find(|(it, _)| *it == name).expect("a kind").1;
    assert_eq!(of("circle").asked.load(Ordering::Relaxed), 4, "three redirects are followed");
    assert_eq!(elsewhere.asked.load(Ordering::Relaxed), 0, "nobody else is asked, or told the token");
    for name in ["endless", "header"] {
        // Includes the content of socket buffers.
        assert!(of(name).sent.load(Ordering::Relaxed) < 64 << 20, "{name} is not read to its end");
    }
    neighbour.has_noticed_nothing(&server).await;
    nothing_is_held(&server);
}

#[test]
fn a_web_server_that_never_comes_to_an_end_holds_up_no_question_of_another_menu() {
    let interim = b"HTTP/1.1 100 \r\n\r\n";
    let endless = web(move |it, _, sent| for_ever(it, &interim.repeat(500), sent));
    let right = web(|it, _, _| it.write_all(RIGHT.as_bytes()));
    let url = |web: &Web| format!("http://{}/", web.at);
    let names = ["one", "two", "three", "four"];
    let trees: String = names.iter().map(|name| tree(name, &url(&endless), "")).collect();
    let server = server(&format!("{trees}{}", tree("other", &url(&right), "")));
    // More requests than processors; they may be made sequentially.
    let phones = names.map(|name| {
        let phone = Phone::new(name);
        let call = phone.ask_for(server.sip, name);
        phone.confirmed(&phone.hear("SIP/2.0 200").0, call, server.sip);
        phone
    });
    until("it to say much", || (endless.sent.load(Ordering::Relaxed) > 1 << 20).then_some(()));
    assert_eq!(outcome(&server, "other"), "told");
    // None of them is over: each lasts a minute.
    let calls = server.get("/calls").json();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(4), "{calls}");
    drop(phones);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_by_https_is_told_the_token_if_its_certificate_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback"));
    let urls =
        [0, 1].map(|n: usize| format!("https://{}/next", listeners[n].local_addr().expect("an address")));
    let pairs = [ours.issue("right", &["127.0.0.1"]), theirs.issue("wrong", &["127.0.0.1"])];
    let (tell, told) = std::sync::mpsc::channel();
    for (listener, pair) in listeners.into_iter().zip(pairs) {
        let tell = tell.clone();
        std::thread::spawn(move || {
            let mut stream = accept(&listener, &pair);
            let question = question(&mut stream);
            let _ = stream.write_all(RIGHT.as_bytes()).and_then(|()| stream.flush());
            drop(tell.send(question));
        });
    }
    std::fs::write(folder.path().join("token"), "s3cret\n").expect("a file");
    let [right, wrong] = urls;
    let more =
        format!("token_file = {:?}\nheaders = {{ X-Api-Key = \"k3y\" }}\n", folder.path().join("token"));
    let server = server(&format!(
        "[tls]\nauthorities = {:?}\n{}{}",
        ours.pem,
        tree("right", &right, &more),
        tree("wrong", &wrong, &more)
    ));
    assert_eq!(outcome(&server, "right"), "told");
    let question = told.recv().expect("a question").expect("a whole one");
    assert!(question.starts_with("POST /next HTTP/1.1\r\n"), "{question}");
    let head = question.to_ascii_lowercase();
    assert!(head.contains("\r\nauthorization: bearer s3cret\r\n"), "{question}");
    assert!(head.contains("\r\nx-api-key: k3y\r\n"), "{question}");
    assert_eq!(outcome(&server, "wrong"), "failed");
    assert_eq!(told.recv().expect("an end"), None, "who cannot prove itself is told nothing");
}
