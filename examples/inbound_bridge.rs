//! An application in a few lines: joins each caller with the same user at another server, and prints the
//! length of the conversation.
//!
//! `cargo run --example inbound_bridge -- 127.0.0.1:5060 127.0.0.1:5070`

use std::net::SocketAddr;
use std::sync::Arc;

use b2b::call::SwitchThread;
use b2b::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b::call::service::{CallService, DialError, DialRequest};

struct Bridge(SocketAddr);

// handler: begin
impl ApplicationHandler for Bridge {
    fn name(&self) -> &str {
        "bridge"
    }
    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let target = DialRequest::to(format!("sip:{}@{}", call.called(), self.0));
        Box::pin(async move {
            match service.dial_and_bridge(call.leg, target).await {
                Ok(bridge) => println!("the end: {:?}", service.wait_for_termination(bridge).await),
                Err(DialError::CallerGone) => {}
                Err(error) => drop(service.reject(call.leg, error.status(), "").await),
            }
            HandlerAction::Complete
        })
    }
}
// handler: end

fn main() -> anyhow::Result<()> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let [bind, target] = addresses[..] else { anyhow::bail!("two addresses: where to listen, whom to call") };
    let switch = SwitchThread::simple(bind, vec![Arc::new(Bridge(target))])?;
    println!("listening on {:?}", switch.listening());
    std::thread::park();
    Ok(())
}
