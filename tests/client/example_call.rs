//! The program in the README: it is as short as documented, equal to the compiled example, and makes a call;
//! and the example that answers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use b2b::client::EndCause;
use b2b_test_support::client::{Running, example, named, within};

/// The program without the comment at the top.
fn program() -> &'static str {
    include_str!("../../examples/call.rs").split_once("\n\n").expect("a comment, and a program").1
}

#[test]
fn the_readme_has_the_example_and_it_has_fewer_than_ten_lines() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```rust\n{}```", program())), "the README shows another program");
    let lines = program().lines().filter(|line| !line.trim().is_empty()).count();
    assert!((5..10).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn the_example_calls_plays_its_tone_and_hangs_up() {
    let bob = named("bob").build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let uri = bob.uri().expect("started");
    let caller = example("call").arg(uri).stdout(Stdio::null()).spawn();
    let mut caller = Running(caller.expect("cargo test builds examples"));
    let ringing = within("a call", incoming.next()).await.expect("a client");
    assert_eq!(ringing.from(), "sip:alice@127.0.0.1");
    let call = within("acknowledged", ringing.answer()).await.expect("answered");
    assert_eq!(within("the tone's end", call.wait_for_end()).await, EndCause::RemoteHangup);
    assert!(caller.0.wait().expect("its end").success());
}

#[tokio::test]
async fn the_example_that_answers_says_who_called_and_how_each_call_ended() {
    let answers = example("answer").arg("127.0.0.1:0").stdout(Stdio::piped()).spawn();
    let mut answers = Running(answers.expect("cargo test builds examples"));
    let mut output = BufReader::new(answers.0.stdout.take().expect("piped")).lines();
    let waiting = output.next().expect("a line").expect("text");
    let uri = waiting.strip_prefix("waiting at ").expect("where it waits").to_owned();
    let alice = named("alice").build().expect("a client");
    for _ in 0..2 {
        let call = alice.call(uri.clone()).await.expect("a call");
        within("answered", call.wait_for_answer()).await.expect("answered");
        within("hung up", call.hangup()).await.expect("hung up");
        let said = output.next().expect("a line").expect("text");
        assert_eq!(said, format!("sip:alice@127.0.0.1: {}", EndCause::RemoteHangup));
    }
}
