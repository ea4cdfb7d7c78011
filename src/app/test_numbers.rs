//! Numbers to test lines with: one that says back what a caller says, and one that sends a
//! tone of a level that is known.

use std::time::Duration;

use b2b_call::controller::{CollectEnd, DigitPlan, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// Longer than any conversation.
const ALWAYS: Duration = Duration::from_secs(7 * 86_400);

/// The application `echo`: a caller hears himself, until he presses `#` or hangs up.
#[derive(Debug, Clone, Copy, Default)]
pub struct EchoNumber;

/// The application `milliwatt`: 1,004 Hz at 0 dBm0, a digital milliwatt, until the caller presses
/// `#` or hangs up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Milliwatt;

impl EchoNumber {
    /// What routes call it.
    pub const NAME: &'static str = "echo";
}

impl Milliwatt {
    /// What routes call it.
    pub const NAME: &'static str = "milliwatt";

    /// What is heard. 1,000 Hz would meet the same eight samples again and again; 4 Hz more goes
    /// through all of them.
    pub fn tone() -> Prompt {
        Prompt::new(vec![Part::Tone { hz: [1_004, 0], lasts: Duration::from_secs(86_400), dbm0: 0 }])
            .forever()
    }
}

impl ApplicationHandler for EchoNumber {
    fn name(&self) -> &str {
        EchoNumber::NAME
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            let run = async {
                begin(&call, &service).await?;
                service.echo(call.leg, true).await?;
                until_hash(&call, &service).await?;
                service.echo(call.leg, false).await
            };
            ended(&call, EchoNumber::NAME, run.await)
        })
    }
}

impl ApplicationHandler for Milliwatt {
    fn name(&self) -> &str {
        Milliwatt::NAME
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            let run = async {
                begin(&call, &service).await?;
                let tone = Milliwatt::tone();
                tokio::select! {
                    played = service.play(call.leg, &tone) => played.map(drop),
                    pressed = until_hash(&call, &service) => pressed,
                }
            };
            ended(&call, Milliwatt::NAME, run.await)
        })
    }
}

async fn begin(call: &IncomingCall, service: &CallService) -> Result<(), CallError> {
    service.answer(call.leg).await?;
    service.enter(call.call, Place::Ivr).await
}

/// Other keys do nothing.
async fn until_hash(call: &IncomingCall, service: &CallService) -> Result<(), CallError> {
    let plan = DigitPlan { first: ALWAYS, total: ALWAYS, ..DigitPlan::new(1) };
    loop {
        match service.collect(call.leg, &plan).await?.end {
            CollectEnd::Terminator(_) => return Ok(()),
            CollectEnd::Stopped => return Err(CallError::Gone),
            _ => {}
        }
    }
}

fn ended(call: &IncomingCall, name: &str, how: Result<(), CallError>) -> HandlerAction {
    match how {
        Ok(()) => HandlerAction::Disconnect,
        // He has hung up, or everything ends.
        Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
        Err(error) => {
            tracing::warn!("call {}: {name}: {error}", call.call.0);
            HandlerAction::Reject { status: 488, reason: String::new() }
        }
    }
}

#[cfg(test)]
mod tests;
