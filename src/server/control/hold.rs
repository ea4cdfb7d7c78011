//! Parties on hold: with music where there is any, and with retries while another offer is pending.

use std::time::Duration;

use b2b_call::LegId;
use b2b_call::service::{CallError, CallService, MediaVerbs};

/// How often a pending offer makes us retry, and the interval: RFC 3261 §14.1 has 2.1 to 4 s for the owner of
/// the Call-ID, by which time the other offer is over.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(100);
/// The default class of music.
const USUAL: &str = "default";

/// Retries an operation that is impossible while an offer is pending.
///
/// # Errors
/// Those of the operation; [`CallError::Busy`] after six seconds.
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

/// Puts a party on hold, with music of this class; an empty class means silence.
///
/// # Errors
/// If there is no such class, or as [`CallService::hold`].
pub(super) async fn hold(service: &CallService, leg: LegId, class: Option<&str>) -> Result<(), CallError> {
    let silent = match class {
        Some("") => true,
        class => match service.start_moh(leg, class.unwrap_or(USUAL)).await {
            Ok(()) => false,
            // There is no music, and none was requested.
            Err(CallError::Media(_)) if class.is_none() => true,
            Err(error) => return Err(error),
        },
    };
    let held = patiently(service, || service.hold(leg, silent)).await;
    if held.is_err() && !silent {
        // The leg may be gone.
        let _ = service.stop_moh(leg).await;
    }
    held
}

/// Retrieves a party from hold; its music ends.
///
/// # Errors
/// As [`CallService::resume`].
pub(super) async fn resume(service: &CallService, leg: LegId) -> Result<(), CallError> {
    patiently(service, || service.resume(leg)).await
}
