//! The events of a client, as one stream.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::audio::AudioProblem;
use crate::{
    CallId, CallState, DeviceSide, DiskError, MarkId, Quality, Recorded, RecoveryStep, RegistrationState,
    RemoteIdentity,
};
use b2b_call::agent::Codec;

/// An event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// An inbound call; [`super::SipClient::incoming`] returns the call itself.
    Incoming {
        /// The call's identifier.
        call: CallId,
        /// The caller: the URI of From.
        from: String,
        /// The called party: the URI of To.
        to: String,
    },
    /// The state of a call changed.
    State {
        /// The call.
        call: CallId,
        /// The new state.
        state: CallState,
    },
    /// A provisional response to an outgoing call: 180 (ringing), 183 (early media possible), and others.
    Progress {
        /// The call.
        call: CallId,
        /// 101 to 199.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// Offer and answer have settled the parameters of sent audio.
    Agreed {
        /// The call.
        call: CallId,
        /// The codec of sent audio.
        codec: Codec,
        /// Audio per packet, in ms.
        ptime_ms: u32,
        /// Where RTP is sent to.
        remote_rtp: SocketAddr,
    },
    /// The first RTP packet was received.
    MediaStarted {
        /// The call.
        call: CallId,
    },
    /// The media of a call that had [`ClientEvent::MediaStarted`] are closed: no RTP is sent or received any
    /// more.
    MediaStopped {
        /// The call.
        call: CallId,
    },
    /// A problem with a call's audio on this side; the call continues.
    Audio {
        /// The call.
        call: CallId,
        /// The problem.
        problem: AudioProblem,
    },
    /// The far end put us on hold, or resumed the call.
    Held {
        /// The call.
        call: CallId,
        /// Whether we are on hold now.
        held: bool,
    },
    /// The identity of the far end changed, as after a transfer on its side, or the registrar reported it
    /// (RFC 3325, RFC 4916).
    Identified {
        /// The call.
        call: CallId,
        /// The identity. Unless it is `asserted`, it is the far end's own claim.
        identity: RemoteIdentity,
    },
    /// A digit from the far end: by RFC 4733 or INFO, or in-band where the builder enables
    /// `dtmf_in_band_detection`.
    Digit {
        /// The call.
        call: CallId,
        /// `0-9 * # A-D`
        digit: char,
        /// Duration of the digit, in ms.
        duration_ms: u32,
    },
    /// The quality of a call: every 5 s, and once more for the whole call when its media are closed.
    Quality {
        /// The call.
        call: CallId,
        /// The measurements.
        quality: Quality,
        /// Whether this covers the whole call, which is over.
        last: bool,
    },
    /// A reaction to lost RTP, or the start or end of a silence.
    Recovery {
        /// The call.
        call: CallId,
        /// The action.
        step: RecoveryStep,
    },
    /// The device for all calls was replaced, failed or works again. With a `problem` and `works`, calls use
    /// the default device, and a device chosen by name is retried every 2 s. With a `problem` and without
    /// `works`, calls are silent, and both devices are retried once a second. Without a `problem`, `device`
    /// is in use from now on.
    Device {
        /// Microphone or loudspeaker.
        side: DeviceSide,
        /// The name of the device in use; `None` for the default device, or if none works.
        device: Option<String>,
        /// The problem, as text; `None` once it is solved.
        problem: Option<String>,
        /// Whether there is audio, from the device itself or from the default device.
        works: bool,
    },
    /// The loudness of a call in dB below full scale, `None` for silence; reported ten times a second if
    /// [`super::ClientBuilder::levels`] is on.
    Level {
        /// The call.
        call: CallId,
        /// Level of received audio.
        heard_dbfs: Option<f64>,
        /// Level of sent audio.
        sent_dbfs: Option<f64>,
    },
    /// The far end refused a digit sent by INFO: use another mode.
    DigitRefused {
        /// The call.
        call: CallId,
        /// `0-9 * # A-D`
        digit: char,
        /// The final status of the INFO, 300 to 699.
        status: u16,
    },
    /// A recording has ended and its file is closed. If it ended because its call ended, only
    /// [`crate::SipClient::events`] reports it.
    RecordingEnded {
        /// The call.
        call: CallId,
        /// The file.
        path: PathBuf,
        /// What the file contains, or the disk error.
        outcome: Result<Recorded, DiskError>,
    },
    /// The audio before this mark is sent ([`crate::Outgoing::mark`]).
    MarkPlayed {
        /// The call.
        call: CallId,
        /// As [`crate::Outgoing::mark`] returned it.
        mark: MarkId,
    },
    /// The audio before this mark was flushed before all of it was sent.
    MarkFlushed {
        /// The call.
        call: CallId,
        /// As [`crate::Outgoing::mark`] returned it.
        mark: MarkId,
    },
    /// A provisional response to the call that the far end makes for our transfer.
    TransferProgress {
        /// The transferred call.
        call: CallId,
        /// 100 to 199.
        status: u16,
    },
    /// The result of a transfer. 2xx: the target answered, and this call ends. `None`: the far end reported
    /// nothing more.
    TransferEnded {
        /// The transferred call.
        call: CallId,
        /// The final status.
        status: Option<u16>,
    },
    /// The far end asks us to call `target` (REFER).
    TransferRequested {
        /// The call.
        call: CallId,
        /// The URI of Refer-To.
        target: String,
        /// Whether Refer-To has Replaces (RFC 3891): the new call takes over a call of the far end.
        attended: bool,
    },
    /// We follow a transfer with the call `to`: [`super::SipClient::find`] returns it.
    Transferring {
        /// The call in which the far end requested it.
        call: CallId,
        /// The new call.
        to: CallId,
    },
    /// The call `by` was answered in place of this one, which ends.
    Replaced {
        /// The call that ends.
        call: CallId,
        /// The call that replaces it.
        by: CallId,
    },
    /// The local address toward the registrar changed: the registrar and the far ends are updated, and calls
    /// continue.
    AddressChanged {
        /// The old address.
        from: IpAddr,
        /// The new address.
        to: IpAddr,
    },
    /// The registration changed; also reported at every refresh.
    Registration {
        /// The new state.
        state: RegistrationState,
    },
    /// This reader was too slow and lost its oldest events, counted over all calls.
    Lost {
        /// The number of lost events.
        count: u64,
    },
    /// The media thread died, and all calls lost their audio: create a new client.
    MediaLost,
    /// The client has stopped. Nothing follows.
    Stopped,
}

impl ClientEvent {
    /// The call that the event is about.
    pub fn call(&self) -> Option<CallId> {
        match self {
            ClientEvent::Incoming { call, .. }
            | ClientEvent::State { call, .. }
            | ClientEvent::TransferProgress { call, .. }
            | ClientEvent::TransferEnded { call, .. }
            | ClientEvent::TransferRequested { call, .. }
            | ClientEvent::Transferring { call, .. }
            | ClientEvent::Replaced { call, .. }
            | ClientEvent::Progress { call, .. }
            | ClientEvent::DigitRefused { call, .. }
            | ClientEvent::Agreed { call, .. }
            | ClientEvent::MediaStarted { call }
            | ClientEvent::MediaStopped { call }
            | ClientEvent::Audio { call, .. }
            | ClientEvent::Held { call, .. }
            | ClientEvent::Quality { call, .. }
            | ClientEvent::Level { call, .. }
            | ClientEvent::Recovery { call, .. }
            | ClientEvent::RecordingEnded { call, .. }
            | ClientEvent::MarkPlayed { call, .. }
            | ClientEvent::MarkFlushed { call, .. }
            | ClientEvent::Identified { call, .. }
            | ClientEvent::Digit { call, .. } => Some(*call),
            ClientEvent::Registration { .. }
            | ClientEvent::AddressChanged { .. }
            | ClientEvent::Device { .. }
            | ClientEvent::Lost { .. }
            | ClientEvent::MediaLost
            | ClientEvent::Stopped => None,
        }
    }
}

/// The events since this stream was created. A slow reader loses its oldest events and is told how many;
/// neither other readers nor calls wait for it.
#[derive(Debug)]
pub struct Events {
    receiver: Option<broadcast::Receiver<ClientEvent>>,
    only: Option<CallId>,
}

impl Events {
    pub(super) fn new(sender: &broadcast::WeakSender<ClientEvent>, only: Option<CallId>) -> Self {
        Events { receiver: sender.upgrade().map(|sender| sender.subscribe()), only }
    }

    /// The next event; `None` once the client has stopped or, for the events of one call, the call is over.
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        loop {
            let event = match self.receiver.as_mut()?.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(count)) => return Some(ClientEvent::Lost { count }),
                Err(RecvError::Closed) => return None,
            };
            let Some(call) = self.only else { return Some(event) };
            let last = match &event {
                ClientEvent::State { state, .. } => state.is_over(),
                event => *event == ClientEvent::Stopped,
            };
            if event.call().is_none_or(|about| about == call) {
                if last {
                    self.receiver = None;
                }
                return Some(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_its_oldest_events_and_is_told_how_many() {
        let (sender, _keep) = broadcast::channel(4);
        let (mut slow, mut quick) =
            (Events::new(&sender.downgrade(), None), Events::new(&sender.downgrade(), None));
        let digit = |n: u32| ClientEvent::Digit { call: CallId(1), digit: '1', duration_ms: n };
        for n in 0..10 {
            sender.send(digit(n)).expect("readers");
            assert_eq!(quick.next().await, Some(digit(n)));
        }
        assert_eq!(slow.next().await, Some(ClientEvent::Lost { count: 6 }));
        for n in 6..10 {
            assert_eq!(slow.next().await, Some(digit(n)));
        }
        drop(sender);
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn one_calls_events_are_its_own_and_end_with_it() {
        let (sender, _keep) = broadcast::channel(16);
        let mut events = Events::new(&sender.downgrade(), Some(CallId(1)));
        let ended = |id: u64| ClientEvent::State {
            call: CallId(id),
            state: CallState::Ended(crate::EndCause::RemoteHangup),
        };
        for event in [ended(2), ClientEvent::MediaStarted { call: CallId(1) }, ended(1)] {
            sender.send(event).expect("readers");
        }
        assert_eq!(events.next().await, Some(ClientEvent::MediaStarted { call: CallId(1) }));
        assert_eq!(events.next().await, Some(ended(1)));
        assert_eq!(events.next().await, None);
    }
}
