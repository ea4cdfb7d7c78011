//! The example of a call centre agent, with a caller and a colleague.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use b2b::client::{CallState, ClientEvent, EndCause, Sound};
use b2b_test_support::client::hand::{client, until};
use b2b_test_support::client::within;

/// Its output stays open, because a failed write would end the process.
struct Ended(Child, Option<BufReader<ChildStdout>>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent, and the URI at which it waits.
fn agent(colleague: &str) -> (Ended, String) {
    let tests = std::env::current_exe().expect("the path of this test");
    let built = tests.parent().and_then(|deps| deps.parent()).expect("a folder of builds");
    let mut command = Command::new(built.join("examples").join("agent"));
    command.args([colleague, "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut agent = Ended(command.spawn().expect("cargo test builds examples"), None);
    let mut line = String::new();
    let mut output = BufReader::new(agent.0.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("a line");
    agent.1 = Some(output);
    (agent, line.trim().strip_prefix("waiting at ").expect("where it waits").to_owned())
}

#[tokio::test]
async fn the_agent_holds_its_caller_asks_a_colleague_and_joins_them() {
    let (caller, _) = client("caller").await;
    let (colleague, mut incoming) = client("colleague").await;
    let (_agent, uri) = agent(&colleague.uri().expect("started"));
    let mut events = caller.events().await.expect("events");
    let call = caller.call(uri).await.expect("a call");
    within("answered", call.wait_for_answer()).await.expect("answered");
    let id = call.id();
    let held = ClientEvent::Held { call: id, held: true };
    until(&mut events, "held", |event| *event == held).await;
    let asked = within("the agent's question", incoming.next()).await.expect("it rings");
    assert_eq!(asked.from(), "sip:agent@127.0.0.1");
    let asked = within("acknowledged", asked.answer()).await.expect("answered");
    let seen = until(&mut events, "joined", |event| matches!(event, ClientEvent::Replaced { .. })).await;
    let Some(ClientEvent::Replaced { by, .. }) = seen.last() else { unreachable!("it was waited for") };
    let joined = caller.find(*by).await.expect("the call with the colleague");
    assert_eq!(joined.state(), CallState::Answered);
    assert_eq!(within("the agent leaves", call.wait_for_end()).await, EndCause::RemoteHangup);
    assert_eq!(within("here too", asked.wait_for_end()).await, EndCause::LocalHangup);
    joined.play(Sound::tone(440.0, 100)).await.expect("playing");
    within("hung up", joined.hangup()).await.expect("hung up");
}

#[tokio::test]
async fn a_caller_whose_colleague_is_not_there_is_taken_back() {
    let (caller, _) = client("caller").await;
    // Port 9 (discard) of loopback, where nothing listens.
    let (_agent, uri) = agent("sip:nobody@127.0.0.1:9");
    let mut events = caller.events().await.expect("events");
    let call = caller.call(uri).await.expect("a call");
    let id = call.id();
    for held in [true, false] {
        let wanted = ClientEvent::Held { call: id, held };
        until(&mut events, "hold", |event| *event == wanted).await;
    }
    assert_eq!(within("the end", call.wait_for_end()).await, EndCause::RemoteHangup);
}
