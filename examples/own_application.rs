//! A custom application: asks the caller for a number, reads it back, and joins the caller with that user at
//! another server.
//!
//! `cargo run --example own_application -- 127.0.0.1:5060 127.0.0.1:5070 prompts`
//!
//! The folder has `which-number.wav` and `digits/0.wav` to `digits/9.wav`; `scripts/make-prompts.sh` makes
//! them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use b2b::app::Prompts;
use b2b::call::SwitchThread;
use b2b::call::controller::{DigitPlan, Prompt};
use b2b::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b::call::service::{CallError, CallService, MediaVerbs};

// application: begin
/// Asks for an extension.
pub struct Extension {
    pub server: SocketAddr,
    pub prompts: Prompts,
}

impl ApplicationHandler for Extension {
    fn name(&self) -> &str {
        "extension"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let (server, prompts) = (self.server, self.prompts.clone());
        Box::pin(async move {
            match ask(&call, &service, &prompts).await {
                Ok(number) if number.is_empty() => HandlerAction::Disconnect,
                Ok(number) => HandlerAction::TransferTo(format!("sip:{number}@{server}")),
                Err(_) => HandlerAction::Complete, // the caller has hung up
            }
        })
    }
}

async fn ask(call: &IncomingCall, service: &CallService, prompts: &Prompts) -> Result<String, CallError> {
    service.answer(call.leg).await?;
    let which = Prompt::file(prompts.path("which-number.wav").as_ref());
    let pressed = service.play_and_collect(call.leg, &which, &DigitPlan::new(4)).await?.digits;
    service.set_variable(call.call, "extension", &pressed).await?;
    if !pressed.is_empty() {
        service.play(call.leg, &Prompt::new(prompts.say_digits(&pressed))).await?;
    }
    Ok(pressed)
}
// application: end

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bind, server, folder] = arguments.as_slice() else {
        anyhow::bail!("where to listen, whose users are called, and the folder of prompts");
    };
    let application = Extension { server: server.parse()?, prompts: Prompts::new(Path::new(folder)) };
    let switch = SwitchThread::simple(bind.parse()?, vec![Arc::new(application)])?;
    println!("listening on {:?}", switch.listening());
    std::thread::park();
    Ok(())
}

// Tests as an application's author would write them: in virtual time, without sockets and media.
#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use b2b::call::call_fsm::CallState;
    use b2b_testkit::{Harness, SESSION};

    fn harness() -> Harness {
        let server = "192.0.2.12:5060".parse().expect("an address");
        Harness::new(Instant::now(), vec![Arc::new(Extension { server, prompts: Prompts::new("/p") })])
    }

    #[test]
    fn a_caller_presses_a_number_hears_it_and_is_joined_with_it() {
        let mut harness = harness();
        let (ann, bob) = (harness.party("192.0.2.11:5060"), harness.party("192.0.2.12:5060"));
        let call = harness.call(ann, "anything", Some(SESSION));
        let endpoint = harness.callers_endpoint();
        harness.press(endpoint, "42#");
        assert_eq!(harness.media().heard_words(), ["which-number.wav", "4.wav 2.wav"]);
        assert_eq!(harness.snapshot()[0].variables, [("extension".to_owned(), "42".to_owned())]);
        harness.run(Duration::from_secs(2));
        harness.answer_next(bob, SESSION);
        assert!(harness.wire.iter().any(|sent| sent.line() == "INVITE sip:42@192.0.2.12:5060 SIP/2.0"));
        assert_eq!(harness.snapshot()[0].state, CallState::Bridged);
        harness.hang_up(ann, call);
        harness.assert_nothing_left();
    }

    #[test]
    fn a_caller_who_presses_nothing_or_hangs_up_leaves_nothing() {
        let mut harness = harness();
        let ann = harness.party("192.0.2.11:5060");
        harness.call(ann, "anything", Some(SESSION));
        harness.run(Duration::from_secs(7));
        assert!(harness.snapshot().is_empty(), "5 s behind the prompt it hangs up");
        let call = harness.call(ann, "anything", Some(SESSION));
        harness.hang_up(ann, call);
        harness.assert_nothing_left();
    }

    #[test]
    fn it_is_as_short_as_it_is_said_to_be() {
        let text = include_str!("own_application.rs");
        let inside = text
            .split("// application: begin")
            .nth(1)
            .and_then(|rest| rest.split("// application: end").next());
        let lines = inside.expect("an application").lines().filter(|line| !line.trim().is_empty()).count();
        assert!((20..=40).contains(&lines), "{lines} lines");
    }
}
