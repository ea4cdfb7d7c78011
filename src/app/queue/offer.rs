//! The call to an agent: the dial request, and the meaning of its failure.

use std::time::Duration;

use super::machine::values::Gone;
use b2b_call::service::{DialError, DialOptions, DialRequest};

/// The machine ends the ringing; the dial timeout applies only if that fails.
const SLACK: Duration = Duration::from_secs(5);

/// Dials all phones of an agent, with the queue as the caller's name.
pub(super) fn request(target: String, queue: &str, number: String, ring: Duration) -> DialRequest {
    let name: String = queue.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
    let options = DialOptions {
        ring_timeout: ring + SLACK,
        total_timeout: Some(ring + SLACK),
        caller: (!number.is_empty()).then(|| (format!("\"{name}\" "), number)),
        ..DialOptions::default()
    };
    DialRequest { options, ..DialRequest::to(target) }
}

/// What a failure means for the agent.
pub(super) fn gone(error: &DialError) -> Gone {
    match error {
        DialError::Failed(failure) => match failure.status {
            408 => Gone::NoAnswer,
            487 => Gone::Cancelled,
            404 | 410 | 480 | 500..600 => Gone::Unreachable,
            _ => Gone::Rejected,
        },
        DialError::CallerGone => Gone::Cancelled,
        DialError::Lookup(_) | DialError::Invalid(_) | DialError::Full | DialError::Stopping => {
            Gone::Unreachable
        }
    }
}
