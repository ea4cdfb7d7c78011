//! Numbers for line tests: one that echoes the caller's audio, and one that sends a tone of a known level.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::controller::{CollectEnd, DigitPlan, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};

/// Longer than any call.
const ALWAYS: Duration = Duration::from_secs(7 * 86_400);

/// The application `echo`: callers hear themselves until they press `#` or hang up.
#[derive(Debug, Clone, Copy, Default)]
pub struct EchoNumber;

/// The application `milliwatt`: 1,004 Hz at 0 dBm0, a digital milliwatt, until the caller presses
/// `#` or hangs up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Milliwatt;

impl EchoNumber {
    /// The application's name in routes.
    pub const NAME: &'static str = "echo";
}

impl Milliwatt {
    /// The application's name in routes.
    pub const NAME: &'static str = "milliwatt";

    /// The tone. 1,000 Hz would repeat the same eight samples; 1,004 Hz covers all sample phases.
    pub fn tone() -> Prompt {
        Prompt::new(vec![Part::Tone { hz: [1_004, 0], lasts: Duration::from_secs(86_400), dbm0: 0 }])
            .forever()
    }
}

impl ApplicationHandler for EchoNumber {
    fn name(&self) -> &str {
        EchoNumber::NAME
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(Line::new(call, Sounds::Echo)))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let at: At = saved.read()?;
        Some(Box::new(Line { at, ..Line::new(call, Sounds::Echo) }))
    }
}

impl ApplicationHandler for Milliwatt {
    fn name(&self) -> &str {
        Milliwatt::NAME
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(Line::new(call, Sounds::Tone)))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let at: At = saved.read()?;
        Some(Box::new(Line { at, ..Line::new(call, Sounds::Tone) }))
    }
}

/// What a caller hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sounds {
    Echo,
    Tone,
}

/// A caller of one of these numbers.
struct Line {
    call: IncomingCall,
    sounds: Sounds,
    at: At,
    waits: Option<WantId>,
    /// The tone, which ends after a day at the latest.
    plays: Option<WantId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Answering,
    Entering,
    Begins,
    Listening,
    Ends,
}

impl Application for Line {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Resumed if self.at == At::Ends => self.ended(Ok(()), wants),
            // A leg that is answered already is no error.
            AppEvent::Begin | AppEvent::Resumed => {
                (self.at, self.waits) = (At::Answering, Some(wants.answer(self.call.leg)));
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                if let Err(error) = self.came(answer, wants) {
                    self.ended(Err(error), wants);
                }
            }
            AppEvent::Answered { want, answer } if Some(want) == self.plays => {
                self.ended(answer.done(), wants);
            }
            AppEvent::Gone => wants.end(HandlerAction::Complete),
            AppEvent::Answered { .. }
            | AppEvent::Timer(_)
            | AppEvent::Told(_)
            | AppEvent::Lost(_)
            | AppEvent::Over => {}
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&self.at)
    }
}

impl Line {
    fn new(call: &IncomingCall, sounds: Sounds) -> Self {
        Line { call: call.clone(), sounds, at: At::Answering, waits: None, plays: None }
    }

    fn came(&mut self, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        let next;
        (self.at, next) = match (self.at, self.sounds) {
            (At::Listening, sounds) => match (answer.collected()?.end, sounds) {
                (CollectEnd::Terminator(_), Sounds::Echo) => (At::Ends, wants.echo(leg, false)),
                (CollectEnd::Terminator(_), Sounds::Tone) => {
                    self.ended(Ok(()), wants);
                    return Ok(());
                }
                (CollectEnd::Stopped, _) => return Err(CallError::Gone),
                // Other keys are ignored.
                _ => (At::Listening, wants.collect(leg, &until_hash())),
            },
            (at, sounds) => {
                answer.done()?;
                match (at, sounds) {
                    (At::Answering, _) => (At::Entering, wants.enter(call, Place::Ivr)),
                    (At::Entering, Sounds::Echo) => (At::Begins, wants.echo(leg, true)),
                    (At::Entering, Sounds::Tone) => {
                        self.plays = Some(wants.play(leg, &Milliwatt::tone()));
                        (At::Listening, wants.collect(leg, &until_hash()))
                    }
                    (At::Begins | At::Listening, _) => (At::Listening, wants.collect(leg, &until_hash())),
                    (At::Ends, _) => {
                        self.ended(Ok(()), wants);
                        return Ok(());
                    }
                }
            }
        };
        self.waits = Some(next);
        Ok(())
    }

    fn ended(&self, how: Result<(), CallError>, wants: &mut Wants) {
        wants.end(match how {
            Ok(()) => HandlerAction::Disconnect,
            // The caller has hung up, or the service is stopping.
            Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
            Err(error) => {
                let name = if self.sounds == Sounds::Echo { EchoNumber::NAME } else { Milliwatt::NAME };
                tracing::warn!("call {}: {name}: {error}", self.call.call.0);
                HandlerAction::Reject { status: 488, reason: String::new() }
            }
        });
    }
}

fn until_hash() -> DigitPlan {
    DigitPlan { first: ALWAYS, total: ALWAYS, ..DigitPlan::new(1) }
}

#[cfg(test)]
mod tests;
