//! Carries out the actions of legs: on the endpoint, on the media thread, and as events for the application.

use std::net::SocketAddr;

use super::{AgentEvent, AgentService, LegId};
use crate::agent::leg::LegOutput;
use b2b_media::codec::Codec;
use b2b_media::local::MediaParams;
use b2b_media::remote::Remote;
use b2b_sip::endpoint::{Body, CommandError, Reply};

impl AgentService {
    /// Carries out all actions of a leg, and removes the leg when nothing is left of it.
    pub(super) fn perform(&mut self, id: LegId) {
        while let Some(output) = self.legs.get(id).and_then(|entry| entry.leg.poll()) {
            self.perform_one(id, output);
        }
        self.finish(id);
    }

    pub(super) fn perform_one(&mut self, leg: LegId, output: LegOutput) {
        let credentials = match &output {
            LegOutput::ReInvite { .. } => self.reinvite_credentials(leg),
            _ => Vec::new(),
        };
        let Some(entry) = self.legs.get(leg) else { return };
        let (usage, session, told) = (entry.usage, entry.session, entry.told);
        let now = self.stack.now();
        let endpoint = self.stack.endpoint();
        let result = match output {
            // A response that settles the session must not be lost (RFC 3262).
            LegOutput::Provisional { status, sdp } => {
                let (reliable, body) = (sdp.is_some(), sdp.map(Body::sdp));
                endpoint.reply(now, usage, Reply { body, reliable, ..Reply::status(status) })
            }
            LegOutput::Accept { sdp } => endpoint.answer(now, usage, Some(Body::sdp(sdp))),
            LegOutput::Reject { status, reason } => match endpoint.reject(now, usage, status, &reason) {
                // An invalid reason phrase of the application must not keep the caller waiting.
                Err(CommandError::BadHeader { .. }) => endpoint.reject(now, usage, status, ""),
                other => other,
            },
            LegOutput::Ack { sdp } => endpoint.ack(now, usage, Some(Body::sdp(sdp))),
            LegOutput::ReInvite { sdp } => {
                let asked = endpoint.reinvite_with(now, usage, credentials, Some(Body::sdp(sdp)));
                if asked.is_err() {
                    entry.leg.not_asked();
                }
                asked
            }
            LegOutput::Bye => endpoint.bye(now, usage),
            LegOutput::Cancel => endpoint.cancel(now, usage),
            LegOutput::Respond { transaction, reply } => endpoint.respond(now, transaction, reply),
            LegOutput::ConfigureMedia(params) => return self.configure(leg, *params),
            LegOutput::CloseMedia => {
                return session.into_iter().for_each(|session| self.media.close(session));
            }
            LegOutput::Progress { status, reason } => {
                self.tell_referrer(leg, status, &reason);
                return self.tell(told, AgentEvent::Progress { leg, status, reason });
            }
            LegOutput::Answered(params) => {
                self.open_gate(leg);
                self.tell_referrer(leg, 200, "");
                self.attach_now(leg);
                let (codec, ptime_ms, remote_rtp) = agreed(&params.remote);
                return self.tell(told, AgentEvent::Answered { leg, codec, ptime_ms, remote_rtp });
            }
            LegOutput::Hold { held } => return self.tell(told, AgentEvent::Hold { leg, held }),
            LegOutput::Changed { change, params } => {
                let (codec, ptime_ms, remote_rtp) = agreed(&params.remote);
                return self.tell(told, AgentEvent::Changed { leg, change, codec, ptime_ms, remote_rtp });
            }
            LegOutput::ChangeRefused { change, status, reason } => {
                return self.tell(told, AgentEvent::ChangeRefused { leg, change, status, reason });
            }
            // Media knows whether it is the same press as one that came there.
            LegOutput::Digit { digit, duration_ms } => {
                let session = self.legs.get(leg).and_then(|entry| entry.session);
                if session.is_none_or(|it| self.media.info(it, digit, duration_ms).is_err()) {
                    self.tell(told, AgentEvent::Digit { leg, digit, duration_ms });
                }
                return;
            }
            LegOutput::Ended(cause) => {
                self.transfers_end(leg, &cause);
                if let Some(entry) = self.legs.get(leg) {
                    entry.ended = Some(cause);
                }
                return;
            }
        };
        // The remote party was faster: its action comes as an event.
        if let Err(error) = result {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }

    fn configure(&mut self, id: LegId, mut params: MediaParams) {
        let Some(entry) = self.legs.get(id) else { return };
        params.remote.signalling = [entry.signalling, None];
        let (early, told, up) = (entry.early_audio, entry.told, entry.is_up());
        let (codec, ptime_ms, remote_rtp) = agreed(&params.remote);
        if let Some(session) = entry.session
            && let Err(error) = self.media.configure(session, params)
        {
            tracing::warn!("leg {}: the media session refused its parameters: {error}", id.0);
        }
        if early {
            self.attach_now(id);
        }
        if up {
            self.tell(told, AgentEvent::Agreed { leg: id, codec, ptime_ms, remote_rtp });
        }
    }

    fn attach_now(&mut self, id: LegId) {
        if self.config.options.signalling_only {
            return;
        }
        if let Err(error) = self.give_audio(id) {
            tracing::warn!("leg {}: the media session took no audio: {error}", id.0);
        }
    }

    /// Reports the end once the media session has closed, and removes the leg once the endpoint has ended the
    /// usage.
    pub(super) fn finish(&mut self, leg: LegId) {
        let Some(entry) = self.legs.get(leg) else { return };
        if entry.session.is_some() || !entry.leg.state().is_over() {
            return;
        }
        let (told, usage_over) = (entry.told, entry.usage_over);
        if let Some(cause) = entry.ended.take() {
            self.tell(told, AgentEvent::Ended { leg, cause });
        }
        if usage_over {
            self.legs.remove(leg);
        }
    }

    pub(super) fn tell(&mut self, told: bool, event: AgentEvent) {
        if told {
            self.news.push_back(event);
        }
    }
}

/// Our codec, its packet time in ms, and the remote RTP address, as reported to applications. Every agreement
/// includes a codec that the remote party receives; the fallback is the one that all implementations have
/// (RFC 3551 §6).
fn agreed(remote: &Remote) -> (Codec, u32, SocketAddr) {
    let (codec, ptime_ms) = remote.voice.gets.map_or((Codec::Pcmu, 20), |it| (it.codec, it.ptime_ms));
    (codec, ptime_ms, remote.rtp)
}
