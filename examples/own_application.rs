//! An application of your own: who calls is asked for a number, hears it again, and is
//! joined with that user at another server.
//!
//! `cargo run --example own_application -- 127.0.0.1:5060 127.0.0.1:5070 prompts`
//!
//! The folder has `which-number.wav` and `digits/0.wav` to `digits/9.wav`;
//! `scripts/make-prompts.sh` makes such ones.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use b2b::app::Prompts;
use b2b::call::controller::{DigitPlan, Prompt};
use b2b::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b::call::service::{CallError, CallService, SwitchThread};

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
