//! A party that has parked a caller by a transfer is gone when the slot is known: it is called back and told
//! the number.

use std::time::{Duration, Instant};

use super::LotConfig;
use crate::prompts::Prompts;
use b2b_call::LegId;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{Part, Prompt};
use b2b_call::handler::HandlerAction;
use b2b_call::service::{DialRequest, MediaVerbs};

/// The pause between the repetitions.
const PAUSE: Duration = Duration::from_millis(700);

/// A slot number, said twice.
pub(super) fn number(prompts: &Prompts, slot: u32) -> Prompt {
    let said = prompts.say_digits(&slot.to_string());
    Prompt::new([said.clone(), vec![Part::Silence(PAUSE)], said].concat())
}

/// Calls a party, says the number, and hangs up.
pub(super) struct Announces {
    request: Option<DialRequest>,
    prompt: Prompt,
    waits: Option<WantId>,
    leg: Option<LegId>,
}

impl Announces {
    /// Tells this target the number of this slot.
    pub fn new(config: &LotConfig, prompts: &Prompts, slot: u32, to: &str) -> Self {
        let mut request = DialRequest::to(to);
        request.options.ring_timeout = config.ring;
        request.options.target_timeout = Some(config.ring);
        request.options.mode = BridgeMode::Intercepting;
        // The phone displays the slot, too, and can call it back.
        request.options.caller = Some((String::new(), slot.to_string()));
        Announces { request: Some(request), prompt: number(prompts, slot), waits: None, leg: None }
    }
}

impl Application for Announces {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => self.waits = self.request.take().map(|request| wants.originate(request)),
            // The call has begun, and the phone rings.
            AppEvent::Answered { answer: AppAnswer::Started(_), .. } => {}
            AppEvent::Answered { want, answer } if Some(want) == self.waits => match (self.leg, answer) {
                (None, AppAnswer::Reached(Ok(leg))) => {
                    self.leg = Some(leg);
                    self.waits = Some(wants.play(leg, &self.prompt));
                }
                (Some(leg), _) => {
                    wants.hangup(leg);
                    wants.end(HandlerAction::Complete);
                }
                // No answer: the slot is in the events.
                (None, _) => wants.end(HandlerAction::Complete),
            },
            AppEvent::Resumed
            | AppEvent::Answered { .. }
            | AppEvent::Timer(_)
            | AppEvent::Told(_)
            | AppEvent::Lost(_)
            | AppEvent::Gone
            | AppEvent::Over => {}
        }
    }
}
