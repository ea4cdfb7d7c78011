//! The events of a client, as one stream of values.

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
        /// Its number; [`super::SipClient::incoming`] gives the call.
        call: CallId,
        /// The caller: the URI of From.
        from: String,
        /// The called party: the URI of To.
        to: String,
    },
    /// A call has gone on.
    State {
        /// The call.
        call: CallId,
        /// Its state from now on.
        state: CallState,
    },
    /// The far end says how far our call is: 180 (it rings), 183 (it may be heard already) …
    Progress {
        /// The call.
        call: CallId,
        /// 101 to 199.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// Offer and answer have settled how sound is sent to the far end.
    Agreed {
        /// The call.
        call: CallId,
        /// The codec of sent audio.
        codec: Codec,
        /// Sound in a packet, in ms.
        ptime_ms: u32,
        /// Where RTP is sent to.
        remote_rtp: SocketAddr,
    },
    /// The first RTP packet has come.
    MediaStarted {
        /// The call.
        call: CallId,
    },
    /// No RTP comes or goes any more: the media of a call that had [`ClientEvent::MediaStarted`] are
    /// closed.
    MediaStopped {
        /// The call.
        call: CallId,
    },
    /// Something is wrong with the sound of a call on this side; the call goes on.
    Audio {
        /// The call.
        call: CallId,
        /// What it is.
        problem: AudioProblem,
    },
    /// The far end holds us, or takes us back.
    Held {
        /// The call.
        call: CallId,
        /// Whether we are held from now on.
        held: bool,
    },
    /// The far end is somebody else now, as after a transfer at its side, or the registrar says who it
    /// is (RFC 3325, RFC 4916).
    Identified {
        /// The call.
        call: CallId,
        /// Who is there. Where it is not `asserted`, the far end says it of itself.
        identity: RemoteIdentity,
    },
    /// A digit of the far end's: by RFC 4733 or INFO, or in its sound where the builder asks for
    /// `dtmf_in_band_detection`.
    Digit {
        /// The call.
        call: CallId,
        /// `0-9 * # A-D`
        digit: char,
        /// How long it was pressed, in ms.
        duration_ms: u32,
    },
    /// How a call sounds: every 5 s, and once more, of the whole call, when its media are closed.
    Quality {
        /// The call.
        call: CallId,
        /// The numbers.
        quality: Quality,
        /// Whether it is of the whole call, which is over.
        last: bool,
    },
    /// Something was done about lost RTP, or nothing comes any more, or comes again.
    Recovery {
        /// The call.
        call: CallId,
        /// The action.
        step: RecoveryStep,
    },
    /// The device of all calls is another one, or has gone, or is back. With a `problem` and `works`
    /// they go on with the default device, and a device that was asked for by its name is looked for
    /// every 2 s; with a `problem` alone they are silent, and both are tried once a second; without
    /// one `device` is in use from now on.
    Device {
        /// Microphone or loudspeaker.
        side: DeviceSide,
        /// The name of the device that is in use now; `None`: the default one, or none works.
        device: Option<String>,
        /// The problem, as text; `None`: solved.
        problem: Option<String>,
        /// Whether there is sound: by the device itself, or by the default device.
        works: bool,
    },
    /// How loud a call is, ten times a second where [`super::ClientBuilder::levels`] asked for it:
    /// dB below full scale, `None` for silence.
    Level {
        /// The call.
        call: CallId,
        /// Of what comes from the far end.
        heard_dbfs: Option<f64>,
        /// Of what goes to the far end.
        sent_dbfs: Option<f64>,
    },
    /// The far end does not take a digit that we sent by INFO: send digits another way.
    DigitRefused {
        /// The call.
        call: CallId,
        /// `0-9 * # A-D`
        digit: char,
        /// The final status of the INFO, 300 to 699.
        status: u16,
    },
    /// A recording has ended, and its file is closed. When it ended with its call, only
    /// [`crate::SipClient::events`] tell.
    RecordingEnded {
        /// The call.
        call: CallId,
        /// The file.
        path: PathBuf,
        /// The content of the file, or the error of the disk.
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
    /// The call that the far end makes by our wish gets this provisional response.
    TransferProgress {
        /// The call that is transferred.
        call: CallId,
        /// 100 to 199.
        status: u16,
    },
    /// What became of it: 2xx, it is answered, and this call ends. `None`: the far end has said no
    /// more.
    TransferEnded {
        /// The call that is transferred.
        call: CallId,
        /// The final status.
        status: Option<u16>,
    },
    /// The far end sends us to `target`; `attended`: to take over a call of its own.
    TransferRequested {
        /// The call.
        call: CallId,
        /// The URI of Refer-To.
        target: String,
        /// Whether Refer-To has Replaces (RFC 3891).
        attended: bool,
    },
    /// We go there, with the call `to`: [`super::SipClient::find`] gives it.
    Transferring {
        /// The call in which the far end asked for it.
        call: CallId,
        /// The new call.
        to: CallId,
    },
    /// The call `by` has been answered in the place of this one, which ends.
    Replaced {
        /// The call that ends.
        call: CallId,
        /// The call in its place.
        by: CallId,
    },
    /// This machine has another address on the way to the registrar: registrar and far ends are
    /// told, and calls go on.
    AddressChanged {
        /// Our address until now.
        from: IpAddr,
        /// Our address from now on.
        to: IpAddr,
    },
    /// The registration changed; also reported at every refresh.
    Registration {
        /// Where it is now.
        state: RegistrationState,
    },
    /// This reader was too slow: so many of its oldest events are lost, all calls counted.
    Lost {
        /// How many events.
        count: u64,
    },
    /// The media thread has died, and every call's sound with it: make another client.
    MediaLost,
    /// The client has stopped. Nothing follows.
    Stopped,
}

impl ClientEvent {
    /// The call that it is about.
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

/// Events from the moment on at which it was made. A reader that is slow loses its oldest events
/// and is told how many; no other reader, and no call, waits for it.
#[derive(Debug)]
pub struct Events {
    receiver: Option<broadcast::Receiver<ClientEvent>>,
    only: Option<CallId>,
}

impl Events {
    pub(super) fn new(sender: &broadcast::WeakSender<ClientEvent>, only: Option<CallId>) -> Self {
        Events { receiver: sender.upgrade().map(|sender| sender.subscribe()), only }
    }

    /// The next event; `None`: the client has stopped, or, of one call's events, the call is
    /// over. Nothing is lost when the future is dropped.
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
