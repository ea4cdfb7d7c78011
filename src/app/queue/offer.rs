//! An agent's call: one task each, from the INVITE to the end.

use std::time::Duration;

use tokio::sync::mpsc;

use super::desk::Word;
use super::machine::values::{Gone, Input, OfferId};
use b2b_call::service::{CallService, DialError, DialOptions, DialOrder, DialRequest};

/// The machine ends the ringing; the dialling only if that comes to nothing.
const SLACK: Duration = Duration::from_secs(5);

/// All phones of an agent, with the queue as the caller's name.
pub(super) fn request(target: String, queue: &str, number: String, ring: Duration) -> DialRequest {
    let name: String = queue.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
    let options = DialOptions {
        order: DialOrder::Parallel,
        ring_timeout: ring + SLACK,
        total_timeout: ring + SLACK,
        caller: (!number.is_empty()).then(|| (format!("\"{name}\" "), number)),
        ..DialOptions::default()
    };
    DialRequest { options, ..DialRequest::to(target) }
}

/// Calls the agent, and tells how it goes; its end in any case, once, last.
pub(super) async fn call(
    service: CallService,
    words: mpsc::UnboundedSender<Word>,
    offer: OfferId,
    request: DialRequest,
) {
    let mut end = End { words, offer, why: Gone::Unreachable };
    let Ok((call, answer)) = service.originate(request).await else { return };
    end.tell(Word::Calling { offer, call });
    match answer.await {
        Ok(leg) => {
            end.why = Gone::Ended;
            end.tell(Word::Answered { offer, leg });
            let _ = service.wait_for_termination(leg).await;
        }
        Err(error) => {
            end.why = gone(&error);
            // A phone that was not told yet may still ring.
            let _ = service.wait_for_termination(call).await;
        }
    }
}

/// What a failure says of the agent.
fn gone(error: &DialError) -> Gone {
    match error {
        DialError::Failed(failure) => match failure.status {
            408 => Gone::NoAnswer,
            487 => Gone::Cancelled,
            404 | 410 | 480 | 500..600 => Gone::Unreachable,
            _ => Gone::Rejected,
        },
        DialError::CallerGone => Gone::Cancelled,
        DialError::Lookup(_) | DialError::Invalid(_) | DialError::Stopping => Gone::Unreachable,
    }
}

/// Whatever happens to the task: the machine hears that the agent's call is over.
struct End {
    words: mpsc::UnboundedSender<Word>,
    offer: OfferId,
    why: Gone,
}

impl End {
    fn tell(&self, word: Word) {
        // The machine's task is over when the service is.
        let _ = self.words.send(word);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.tell(Word::Input(Input::AgentGone { offer: self.offer, why: self.why }));
    }
}
