//! Parties on hold: with music where there is some, and with patience where an offer is under way.

use std::time::Duration;

use b2b_call::LegId;
use b2b_call::service::{CallError, CallService};

/// How often an offer of ours gives way to another one, and after how long it is tried again:
/// RFC 3261 §14.1 has 2.1 to 4 s for whoever asks, and the other offer is over then.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(100);
/// The music of who names none.
const USUAL: &str = "default";

/// Does what cannot be done while an offer is under way.
///
/// # Errors
/// As it has them; [`CallError::Busy`] after six seconds.
pub(super) async fn patiently<T, F: Future<Output = Result<T, CallError>>>(
    service: &CallService,
    work: impl Fn() -> F,
) -> Result<T, CallError> {
    for _ in 0..TRIES {
        match work().await {
            Err(CallError::Busy) => service.sleep(PAUSE).await?,
            done => return done,
        };
    }
    Err(CallError::Busy)
}

/// Puts a party on hold, with music of this class; an empty one: silence.
///
/// # Errors
/// There is no such class, or as [`CallService::hold`].
pub(super) async fn hold(service: &CallService, leg: LegId, class: Option<&str>) -> Result<(), CallError> {
    let silent = match class {
        Some("") => true,
        class => match service.start_moh(leg, class.unwrap_or(USUAL)).await {
            Ok(()) => false,
            // There is none, and nobody has asked for it.
            Err(CallError::Media(_)) if class.is_none() => true,
            Err(error) => return Err(error),
        },
    };
    let held = patiently(service, || service.hold(leg, silent)).await;
    if held.is_err() && !silent {
        // It may be gone.
        let _ = service.stop_moh(leg).await;
    }
    held
}

/// Takes a party back; its music ends.
///
/// # Errors
/// As [`CallService::resume`].
pub(super) async fn resume(service: &CallService, leg: LegId) -> Result<(), CallError> {
    patiently(service, || service.resume(leg)).await
}
