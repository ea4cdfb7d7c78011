//! The examples of the manual behave as documented.

use std::process::{Child, Command, Stdio};

use b2b_test_support::client::example;

use super::*;
use crate::common::child::B2b;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_says_back_what_was_said_once_the_caller_is_silent_on_either_kind_of_connection() {
    let mut agent = B2b::start(example("voice_agent_ws").arg("127.0.0.1:0"));
    let ready = agent.wait_for_line("READY ");
    let url = format!("ws://{}/", ready.trim_start_matches("READY "));
    for many in ["", "calls_per_connection = 50\n"] {
        let server = server(&format!(
            "[[route]]\ncalled = \"600\"\napp = \"voice_agent/echo\"\n\
             [[voice_agent]]\nname = \"echo\"\nurl = {url:?}\n{many}"
        ));
        let mut ann = Caller::calls(&server, "600").await;
        let mut said = speech_like(8_000, 1.5);
        // Repeated every six seconds, because a stalled machine spoils part of it.
        said.resize(8_000 * 6, 0);
        let _folder = ann.says(&said).await;
        ann.hears(&said[2_400..9_600]).await;
        ann.call.send_digits("#", None).await.expect("pressed");
        within("the end", ann.call.wait_for_end()).await;
        nothing_is_left(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3"]
async fn the_python_client_says_back_what_it_hears() {
    let text = include_str!("../../../examples/python/voice_agent.py");
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 52, "{lines} lines");
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let said = speech_like(8_000, 4.0);
    let _folder = ann.says(&said).await;
    let call = only_call(&server)["call"].to_string();
    let child = Command::new("python3")
        .args(["examples/python/voice_agent.py", &server.http.to_string(), &call])
        .stdout(Stdio::null())
        .spawn();
    let mut child = Killed(child.expect("python3"));
    until("the client", || (server.metric("b2b_held{what=\"voice_sockets\"}") == 1.0).then_some(()));
    // Audio that Ann hears from now on passes through the client.
    ann.forgets();
    ann.hears(&said[8_000..10_400]).await;
    ann.hangs_up().await;
    let ended = until("its end", || child.0.try_wait().expect("waitable"));
    assert!(ended.success(), "{ended}");
    nothing_is_left(&server).await;
}
