//! `examples/inbound_bridge.rs`: it is as short as documented, and joins callers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use b2b::client::EndCause;
use b2b_test_support::client::{Running, example, named, within};

#[test]
fn a_handler_that_dials_and_bridges_has_under_20_lines() {
    let text = include_str!("../../examples/inbound_bridge.rs");
    let handler =
        text.split("// handler: begin").nth(1).and_then(|rest| rest.split("// handler: end").next());
    let lines = handler.expect("a handler").lines().filter(|line| !line.trim().is_empty()).count();
    assert!((5..20).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn a_caller_is_joined_with_the_same_user_elsewhere_and_the_end_is_printed() {
    let bob = named("bob").build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let uri = bob.uri().expect("started");
    let there = uri.rsplit('@').next().expect("a host");
    let bridge = example("inbound_bridge").args(["127.0.0.1:0", there]).stdout(Stdio::piped()).spawn();
    let mut bridge = Running(bridge.expect("cargo test builds examples"));
    let mut output = BufReader::new(bridge.0.stdout.take().expect("piped")).lines();
    let listening = output.next().expect("a line").expect("text");
    let here = listening.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
    let here = here.filter_map(|word| word.parse::<std::net::SocketAddr>().ok()).next().expect("an address");

    let alice = named("alice").build().expect("a client");
    let call = alice.call(format!("sip:bob@{here}")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("a client");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", call.wait_for_answer()).await.expect("answered");
    within("hung up", call.hangup()).await.expect("hung up");
    assert_eq!(within("hung up there, too", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
    let end = output.next().expect("a line").expect("text");
    assert!(end.starts_with("the end: Ok("), "{end}");
}
