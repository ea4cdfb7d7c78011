//! Sending a leg's digits: with its media (RFC 4733, or as audible tones), or by INFO.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{AgentError, AgentEvent, AgentService, LegId};
use b2b_media::local::DigitMode;
use b2b_media::rtp::telephone_event;
use b2b_sip::endpoint::{Body, InDialog, RequestFailure};
use b2b_sip::msg::{Method, Response};

/// Maximum number of INFOs that wait for the response to the previous one.
const WAITING: usize = 64;

/// How digits are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtmfMode {
    /// As telephone events (RFC 4733); as audible tones if the remote party takes none.
    #[default]
    Rfc4733,
    /// As audible tones.
    InBand,
    /// By INFO with `application/dtmf-relay`.
    Info,
}

/// The INFOs of one leg. They are sent one by one: over UDP they could overtake each other.
#[derive(Debug, Default)]
pub(super) struct Infos {
    waiting: VecDeque<(char, u32)>,
    sent: Option<char>,
}

impl AgentService {
    /// Sends a digit (`0-9 * # A-D`) of this duration, in ms, after those that wait.
    ///
    /// # Errors
    /// There is no such leg, it has no media yet, `digit` is not a DTMF digit, or too many digits wait.
    pub fn digit(&mut self, id: LegId, digit: char, ms: u32, mode: DtmfMode) -> Result<(), AgentError> {
        if telephone_event::code(digit).is_none() {
            return Err(AgentError::Media(format!("{digit:?} is not a DTMF digit; use 0-9 * # A-D")));
        }
        let mode = match mode {
            DtmfMode::Rfc4733 => DigitMode::Event,
            DtmfMode::InBand => DigitMode::InBand,
            DtmfMode::Info => return self.info_digit(id, digit, ms),
        };
        let session = self.session_of(id)?;
        self.media.digit(session, digit, ms, mode).map_err(|error| AgentError::Media(error.to_string()))
    }

    fn info_digit(&mut self, id: LegId, digit: char, ms: u32) -> Result<(), AgentError> {
        let entry = self.legs.get(id).filter(|entry| entry.is_up()).ok_or(AgentError::NoSuchLeg)?;
        if entry.infos.waiting.len() >= WAITING {
            return Err(AgentError::Media("too many digits are queued; send fewer at once".to_owned()));
        }
        entry.infos.waiting.push_back((digit, ms));
        self.next_info(id);
        Ok(())
    }

    fn next_info(&mut self, id: LegId) {
        let Some(entry) = self.legs.get(id).filter(|entry| entry.infos.sent.is_none()) else { return };
        let Some((digit, ms)) = entry.infos.waiting.pop_front() else { return };
        let now = self.stack.now();
        let body = Body {
            content_type: Bytes::from_static(b"application/dtmf-relay"),
            data: format!("Signal={digit}\r\nDuration={ms}\r\n").into(),
        };
        let info = InDialog { method: Method::Info, headers: Vec::new(), body: Some(body) };
        let usage = entry.usage;
        entry.infos.sent = Some(digit);
        if let Err(error) = self.stack.endpoint().request(now, usage, info) {
            // The call is ending: no more digits can be sent.
            tracing::debug!("leg {}: {error}", id.0);
            if let Some(entry) = self.legs.get(id) {
                entry.infos = Infos::default();
            }
        }
    }

    /// The result of an INFO of ours.
    pub(super) fn info_answered(&mut self, id: LegId, result: &Result<Response, RequestFailure>) {
        let Some(entry) = self.legs.get(id) else { return };
        let Some(digit) = entry.infos.sent.take() else { return };
        let told = entry.told;
        let status = match result {
            Ok(response) => response.status(),
            Err(RequestFailure::NoResponse) => 408,
            Err(RequestFailure::Unreachable) => 503,
        };
        if status >= 300 {
            self.tell(told, AgentEvent::DigitRefused { leg: id, digit, status });
        }
        self.next_info(id);
    }
}
