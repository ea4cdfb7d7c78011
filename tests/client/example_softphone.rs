//! `examples/softphone.rs`: it is short, makes and answers calls, and prints events.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::child::b2b;
use b2b::client::{ClientEvent, EndCause, SipClient};

/// Generous, because a loaded machine is slow; reached only if the program never calls.
const PATIENCE: Duration = Duration::from_secs(30);

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `cargo test` puts the examples next to the tests. An empty PATH excludes audio devices on every machine.
fn softphone(arguments: &[&str]) -> Ended {
    let tests = std::env::current_exe().expect("the path of this test");
    let built = tests.parent().and_then(|deps| deps.parent()).expect("a folder of builds");
    let mut command = Command::new(built.join("examples/softphone"));
    command.args(arguments).env("PATH", "").stdin(Stdio::piped()).stdout(Stdio::piped());
    Ended(command.spawn().expect("cargo test builds examples"))
}

fn rest(phone: &mut Ended) -> String {
    let mut said = String::new();
    phone.0.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    said
}

async fn bob() -> SipClient {
    let client = SipClient::builder().identity("sip:bob@127.0.0.1").build().expect("a client");
    client.start().await.expect("started");
    client
}

#[test]
fn it_has_at_most_a_hundred_lines() {
    let lines = include_str!("../../examples/softphone.rs").lines().count();
    assert!(lines <= 100, "{lines} lines");
}

#[tokio::test]
async fn it_calls_and_tells_of_the_end() {
    let bob = bob().await;
    let mut incoming = bob.incoming().await.expect("calls");
    let mut phone = softphone(&[&bob.uri().expect("started")]);
    let ringing = tokio::time::timeout(PATIENCE, incoming.next()).await.expect("a call").expect("a client");
    let call = ringing.answer().await.expect("answered");
    let mut out = BufReader::new(phone.0.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("a packet") {
        assert!(out.read_line(&mut said).expect("text") > 0, "it ended after {said}");
    }
    call.hangup().await.expect("hung up");
    out.read_to_string(&mut said).expect("text");
    for wanted in
        ["no sound devices", "Answered", "opus, 20 ms a packet", "in all: MOS", "ended: the far end hung up"]
    {
        assert!(said.contains(wanted), "{wanted:?} is not in {said}");
    }
    assert!(phone.0.wait().expect("its end").success());
}

#[tokio::test]
async fn it_answers_sends_digits_and_hangs_up_with_an_empty_line() {
    let mut phone = softphone(&[]);
    let mut out = BufReader::new(phone.0.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("call ") {
        line.clear();
        assert!(out.read_line(&mut line).expect("text") > 0, "it has ended");
    }
    let call = bob().await;
    let call = call.call(line.trim_start_matches("call ").trim()).await.expect("a call");
    tokio::time::timeout(PATIENCE, call.wait_for_answer()).await.expect("an answer").expect("answered");
    let mut events = call.events();
    let mut keys = phone.0.stdin.take().expect("piped");
    keys.write_all(b"4\n").expect("a key");
    let digit =
        async { while !matches!(events.next().await, Some(ClientEvent::Digit { digit: '4', .. })) {} };
    tokio::time::timeout(PATIENCE, digit).await.expect("a digit");
    keys.write_all(b"\n").expect("a key");
    let end = tokio::time::timeout(PATIENCE, call.wait_for_end()).await.expect("an end");
    assert_eq!(end, EndCause::RemoteHangup);
    assert!(phone.0.wait().expect("its end").success());
}

#[tokio::test]
async fn it_registers_with_an_account_and_calls_a_number_through_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("b2b.toml");
    let config = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\n[http]\nlisten = \"off\"\n\
                  [[user]]\nname = \"1001\"\npassword = \"one\"\n[[user]]\nname = \"1002\"\npassword = \"two\"\n\
                  [[route]]\nto = \"user/$0\"\n";
    std::fs::write(&file, config).expect("a file");
    let mut server = b2b(&["--role", "b2bua", "--config", file.to_str().expect("UTF-8")]);
    let at = server.ready().to_string();
    let bob = SipClient::builder().identity(format!("sip:1002@{at}")).registrar(format!("sip:{at}"));
    let bob = bob.credentials("1002", "two").build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    tokio::time::timeout(PATIENCE, bob.register()).await.expect("an answer").expect("registered");
    let mut phone = softphone(&["1001", "one", &at, "1002"]);
    let ringing = tokio::time::timeout(PATIENCE, incoming.next()).await.expect("a call").expect("a client");
    assert!(ringing.from().starts_with("sip:1001@"), "{}", ringing.from());
    ringing.answer().await.expect("answered").hangup().await.expect("hung up");
    let said = rest(&mut phone);
    assert!(said.contains("registered") && said.contains("ended: the far end hung up"), "{said}");

    let mut refused = softphone(&["1001", "wrong", &at]);
    let said = rest(&mut refused);
    assert!(!said.contains("registered") && !refused.0.wait().expect("its end").success(), "{said}");
}
