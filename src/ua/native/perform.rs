//! What a leg wants, carried out: on the endpoint, on the media worker, and as
//! news for the role.

use std::time::Instant;

use super::calls::end_cause;
use super::signalling::Signalling;
use crate::call::leg::LegOutput;
use crate::media::codec::Codec as MediaCodec;
use crate::media::session::MediaParams;
use crate::sip::endpoint::{Body, CommandError};
use crate::ua::{CallId, Codec, UaEvent};

impl Signalling {
    /// Carries out everything that a call's leg wants, and lets the call go
    /// when nothing of it is left.
    pub(super) fn perform(&mut self, id: CallId) {
        while let Some(output) = self.calls.get(id).and_then(|call| call.leg.poll()) {
            self.perform_one(id, output);
        }
        self.finish(id);
    }

    fn perform_one(&mut self, id: CallId, output: LegOutput) {
        let Some(call) = self.calls.get(id) else { return };
        let (usage, session, told) = (call.usage, call.session, call.told);
        let now = Instant::now();
        let endpoint = self.stack.endpoint();
        let result = match output {
            LegOutput::Provisional { status } => endpoint.provisional(now, usage, status, "", None),
            LegOutput::Accept { sdp } => endpoint.answer(now, usage, Some(Body::sdp(sdp))),
            LegOutput::Reject { status, reason } => match endpoint.reject(now, usage, status, &reason) {
                Err(CommandError::BadHeader { .. }) => endpoint.reject(now, usage, status, ""),
                other => other,
            },
            LegOutput::Ack { sdp } => endpoint.ack(now, usage, Some(Body::sdp(sdp))),
            LegOutput::Bye => endpoint.bye(now, usage),
            LegOutput::Cancel => endpoint.cancel(now, usage),
            LegOutput::Respond { transaction, reply } => endpoint.respond(now, transaction, reply),
            LegOutput::ConfigureMedia(params) => {
                self.configure(id, *params);
                Ok(())
            }
            LegOutput::CloseMedia => {
                if let Some(session) = session {
                    self.media.close(session);
                }
                Ok(())
            }
            LegOutput::Progress { status, reason } => {
                self.tell(told, UaEvent::Progress { call: id, status, reason });
                Ok(())
            }
            LegOutput::Answered(params) => {
                self.attach(id);
                self.tell(told, answered(id, &params));
                Ok(())
            }
            LegOutput::Hold { held } => {
                self.tell(told, UaEvent::Hold { call: id, held });
                Ok(())
            }
            LegOutput::Digit { digit, duration_ms } => {
                self.tell(told, UaEvent::Digit { call: id, digit, duration_ms });
                Ok(())
            }
            LegOutput::Ended(cause) => {
                call.ended = Some(end_cause(cause));
                Ok(())
            }
        };
        // The far end was faster: what it did comes as an event.
        if let Err(error) = result {
            tracing::debug!("call {}: {error}", id.0);
        }
    }

    fn configure(&mut self, id: CallId, params: MediaParams) {
        let Some(call) = self.calls.get(id) else { return };
        let early = call.early_audio;
        if let Some(session) = call.session
            && let Err(error) = self.media.configure(session, params)
        {
            tracing::warn!("call {}: the media session refused its parameters: {error}", id.0);
        }
        if early {
            self.attach(id);
        }
    }

    /// Gives the call's audio to its session, once.
    fn attach(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else { return };
        let Some(session) = call.session else { return };
        if let Some(audio) = call.audio.take()
            && let Err(error) = self.media.attach(session, audio.source, audio.sink)
        {
            tracing::warn!("call {}: the media session took no audio: {error}", id.0);
        }
    }

    /// Tells the end once the media session has said its last, and forgets the
    /// call once the endpoint has too.
    pub(super) fn finish(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else { return };
        if call.session.is_some() || !call.leg.state().is_over() {
            return;
        }
        let (told, usage_over) = (call.told, call.usage_over);
        if let Some(cause) = call.ended.take() {
            self.tell(told, UaEvent::Ended { call: id, cause });
        }
        if usage_over {
            self.calls.remove(id);
        }
    }

    /// A role that is gone needs no news.
    pub(super) fn tell(&self, told: bool, event: UaEvent) {
        if told {
            let _ = self.events.send(event);
        }
    }
}

fn answered(call: CallId, params: &MediaParams) -> UaEvent {
    let codec = match params.send.codec {
        MediaCodec::Pcmu => Codec::Pcmu,
        MediaCodec::Pcma => Codec::Pcma,
    };
    UaEvent::Answered { call, codec, ptime_ms: params.send.ptime_ms, remote_rtp: params.remote_rtp }
}
