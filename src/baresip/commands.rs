//! The role's operations on calls, on the reactor thread.

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::time::Instant;

use super::border;
use super::engine::with;
use super::ffi;
use super::outcome::{Intent, State, UNAVAILABLE};
use b2b_ua::{Audio, CallId, EndCause, UaError};

fn stopped() -> UaError {
    UaError::Stopped("it has been shut down".into())
}

/// Calls a validated target.
pub(super) fn dial(target: &CStr, audio: Audio) -> Result<CallId, UaError> {
    let begin = with(|engine| {
        let id = engine.add(null_mut(), String::new(), true);
        engine.connect_audio(id, audio);
        engine.dialling = Some(id);
        (engine.ua, id)
    });
    let Some((ua, id)) = begin else { return Err(stopped()) };
    // SAFETY: on the reactor thread, with the account that the engine created; the call's pointer arrives
    // with CALL_OUTGOING.
    let errno = unsafe { ffi::ua_connect(ua, null_mut(), null(), target.as_ptr(), ffi::NO_VIDEO) };
    with(|engine| {
        engine.dialling = None;
        if errno != 0 {
            engine.forget(id);
        }
    });
    match errno {
        0 => Ok(id),
        errno => Err(UaError::Target {
            uri: target.to_string_lossy().into_owned(),
            reason: border::system_error(errno).to_string(),
        }),
    }
}

/// Answers a call with 200.
pub(super) fn answer(id: CallId, audio: Audio) -> Result<(), UaError> {
    let waiting = with(|engine| {
        let entry = engine.by_id(id).filter(|entry| entry.state == State::Offered)?;
        entry.state = State::Answering;
        let call = entry.call;
        engine.connect_audio(id, audio);
        Some((engine.ua, call))
    });
    let (ua, call) = waiting.ok_or_else(stopped)?.ok_or(UaError::NoSuchCall)?;
    // SAFETY: on the reactor thread; the call is in our table, so it is alive.
    let errno = unsafe { ffi::ua_answer(ua, call, ffi::NO_VIDEO) };
    if errno == 0 {
        return Ok(());
    }
    let reason = border::system_error(errno).to_string();
    with(|engine| {
        if let Some(entry) = engine.by_id(id) {
            entry.state = State::Offered;
        }
    });
    refuse(id, 488, c"Not Acceptable Here");
    Err(UaError::Media(reason))
}

/// Refuses a call.
pub(super) fn reject(id: CallId, status: u16, reason: &str) -> Result<(), UaError> {
    let waits = with(|engine| engine.by_id(id).is_some_and(|entry| entry.state == State::Offered));
    if !waits.ok_or_else(stopped)? {
        return Err(UaError::NoSuchCall);
    }
    // A control character would end its line, and the library also uses the reason as a printf format.
    let clean: String = reason.chars().filter(|c| !c.is_control() && *c != '%').collect();
    refuse(id, status.clamp(300, 699), &CString::new(clean).unwrap_or_default());
    Ok(())
}

fn refuse(id: CallId, status: u16, reason: &CStr) {
    end(id, Intent::For(EndCause::Rejected { status }), status, reason);
}

/// Ends a call in any state.
pub(super) fn hangup(id: CallId) -> Result<(), UaError> {
    let state = with(|engine| {
        let Some(entry) = engine.by_id(id) else {
            return if engine.is_awaited(id) { Ok(None) } else { Err(UaError::NoSuchCall) };
        };
        // No BYE before the ACK (RFC 3261 §15): it is sent when the call is established.
        if entry.state == State::Answering {
            entry.intent.get_or_insert(Intent::Hangup);
        }
        Ok(Some(entry.state))
    });
    match state.ok_or_else(stopped)?? {
        Some(State::Offered) => refuse(id, UNAVAILABLE, c"Temporarily Unavailable"),
        Some(State::Dialling | State::Up) => end(id, Intent::Hangup, 0, c""),
        Some(State::Answering) | None => {}
    }
    Ok(())
}

/// Makes the library end a call; CALL_CLOSED arrives before this returns.
pub(super) fn end(id: CallId, intent: Intent, status: u16, reason: &CStr) {
    let found = with(|engine| {
        let ua = engine.ua;
        let entry = engine.by_id(id).filter(|entry| !entry.call.is_null())?;
        entry.intent.get_or_insert(intent);
        Some((ua, entry.call))
    });
    let Some((ua, call)) = found.flatten() else { return };
    let reason = if reason.is_empty() { null() } else { reason.as_ptr() };
    // SAFETY: on the reactor thread; the call is in our table, so it is alive.
    unsafe { ffi::ua_hangup(ua, call, status, reason) };
}

/// Checks for conditions without events: silence, and confirmations that never arrive.
pub(super) fn look() {
    let now = Instant::now();
    let overdue = with(|engine| {
        engine.give_up(now);
        engine.overdue(now)
    });
    for (id, cause) in overdue.unwrap_or_default() {
        end(id, Intent::For(cause), 0, c"");
    }
}

/// Ends the remaining calls at shutdown. Only a call without an ACK remains; the far end still receives a
/// BYE.
pub(super) fn cut_off_all() {
    for id in all() {
        end(id, Intent::Hangup, 0, c"");
    }
}

fn all() -> Vec<CallId> {
    with(|engine| engine.calls.iter().map(|entry| entry.id).collect()).unwrap_or_default()
}

/// Hangs up all calls.
pub(super) fn hang_up_all() {
    for id in all() {
        // A call may have ended together with another one.
        let _ = hangup(id);
    }
}
