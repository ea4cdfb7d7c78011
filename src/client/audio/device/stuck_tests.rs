//! Calls with a hanging device, over the wire.

use std::time::Duration;

use super::tests::script;
use super::tools::Tools;
use super::*;
use crate::{CallState, Codec, SipClient, Sound};

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(Duration::from_secs(30), future).await;
    in_time.unwrap_or_else(|_| panic!("in vain: {what}"))
}

#[tokio::test]
async fn a_call_goes_on_where_arecord_stands_still_and_is_hung_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let tools = Tools {
        arecord: script(folder.path(), "arecord", "exec sleep 3600"),
        aplay: script(folder.path(), "aplay", "exec cat >/dev/null"),
    };
    let client = |name: &str, audio: Audio| {
        let builder = SipClient::builder().identity(format!("sip:{name}@127.0.0.1")).audio(audio);
        builder.codecs([Codec::Pcmu]).build().expect("a client")
    };
    let alice = client("alice", Audio::Devices(Devices::new(tools)));
    let bob = client("bob", Audio::None);
    let mut incoming = bob.incoming().await.expect("calls");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let mut events = at_alice.events();
    let at_bob = within("a call", incoming.next()).await.expect("a call").answer().await.expect("answered");
    within("the answer", at_alice.wait_for_answer()).await.expect("answered");
    within("the microphone does not work", async {
        loop {
            let event = events.next().await.expect("the call is up");
            if let ClientEvent::Device { side: DeviceSide::Microphone, problem, works, .. } = event {
                let problem = problem.expect("why");
                assert!(!works && problem.contains("no sound for"), "{problem}");
                break;
            }
        }
    })
    .await;
    assert_eq!(at_alice.state(), CallState::Answered);
    at_bob.play(Sound::tone(440.0, 3_600_000)).await.expect("a tone");
    within("the tone", async {
        while at_alice.quality().await.is_none_or(|it| it.heard_dbfs.is_none_or(|level| level < -30.0)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within("hung up", at_alice.hangup()).await.expect("hung up");
    within("stopped", alice.stop(Duration::from_secs(5))).await;
}
