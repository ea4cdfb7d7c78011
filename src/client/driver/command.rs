//! The program's commands to the client's thread, and their execution.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::super::audio::{Decoding, Lines, Media, PlayEnd, Problems, Program, Progress, sides};
use super::super::call::Shared;
use super::super::conference::ConferenceId;
use super::super::{
    CallError, CallId, CallState, DeviceError, DeviceSide, IncomingCall, Quality, RegisterError,
};
use super::{Control, Driver, Gathering, Record, Whom};
use b2b_base::metrics::MediaStats;
use b2b_call::LegId;
use b2b_call::agent::{Change, Codec, DialAs, LegAudio, SessionDescriptions};

/// A command of the program, with the channel for its reply.
pub(crate) enum Command {
    Dial {
        target: String,
        how: DialAs,
        reply: oneshot::Sender<Result<Arc<Shared>, CallError>>,
    },
    /// Answered with the result of the first attempt.
    Register {
        reply: oneshot::Sender<Result<(), RegisterError>>,
    },
    Unregister {
        reply: oneshot::Sender<()>,
    },
    Answer {
        leg: LegId,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    Reject {
        leg: LegId,
        status: u16,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    Hangup {
        leg: LegId,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    /// Answered when the far end has accepted or refused it.
    Change {
        leg: LegId,
        change: Change,
        codecs: Vec<Codec>,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    Control {
        leg: LegId,
        control: Control,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    /// Answered with `None` if the call has no media (any more).
    Quality {
        leg: LegId,
        reply: oneshot::Sender<Option<(Quality, MediaStats)>>,
    },
    /// Answered with `None` if the call is over.
    Descriptions {
        leg: LegId,
        reply: oneshot::Sender<Option<SessionDescriptions>>,
    },
    /// Answered when the result of the call to the target is known.
    Transfer {
        leg: LegId,
        whom: Whom,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    AcceptTransfer {
        leg: LegId,
        reply: oneshot::Sender<Result<Arc<Shared>, CallError>>,
    },
    /// Answered with the conference and its current members.
    Gather {
        gathering: Gathering,
        reply: oneshot::Sender<Result<(ConferenceId, Vec<CallId>), CallError>>,
    },
    /// Another device from now on; `None` for the default one.
    Choose {
        side: DeviceSide,
        name: Option<String>,
        reply: oneshot::Sender<Result<(), DeviceError>>,
    },
    Find {
        call: CallId,
        reply: oneshot::Sender<Option<Arc<Shared>>>,
    },
    Incoming {
        sender: mpsc::Sender<IncomingCall>,
        reply: oneshot::Sender<()>,
    },
    /// Wakes the task that waits for frames, until both ends are dropped or the call is over.
    Look {
        leg: LegId,
        lines: Lines,
    },
    /// Signals `done` when the sound has ended.
    Watch {
        leg: LegId,
        progress: Arc<Progress>,
        /// Set for a file.
        decoding: Option<Decoding>,
        done: oneshot::Sender<PlayEnd>,
    },
    /// Answered when the client has stopped.
    Stop {
        patience: Duration,
        reply: oneshot::Sender<()>,
    },
}

impl Driver {
    pub(super) fn obey(&mut self, command: Command) {
        // A failed reply means that the caller has stopped waiting.
        match command {
            Command::Dial { target, how, reply } => drop(reply.send(self.dial(target, &how))),
            Command::Register { reply } => self.register(reply),
            Command::Unregister { reply } => self.unregister(reply),
            Command::Answer { leg, reply } => {
                let media = self.calls.get_mut(&leg).and_then(|record| record.media.take());
                let answered = match media {
                    Some(media) => {
                        let audio = self.audio_of(leg, media);
                        self.service.answer(leg, audio)
                    }
                    None => self.service.answer_early(leg),
                };
                if answered.is_ok() {
                    self.followed(leg);
                }
                let _ = reply.send(answered.map_err(CallError::from));
            }
            Command::Reject { leg, status, reply } => {
                let _ = reply.send(self.service.reject(leg, status, "").map_err(CallError::from));
            }
            Command::Hangup { leg, reply } => {
                let _ = reply.send(self.service.hangup(leg).map_err(CallError::from));
            }
            Command::Quality { leg, reply } => drop(reply.send(self.quality(leg))),
            Command::Descriptions { leg, reply } => drop(reply.send(self.service.descriptions(leg))),
            Command::Change { leg, change, codecs, reply } => self.change(leg, change, codecs, reply),
            Command::Control { leg, control, reply } => drop(reply.send(self.control(leg, control))),
            Command::Transfer { leg, whom, reply } => self.transfer(leg, &whom, reply),
            Command::AcceptTransfer { leg, reply } => drop(reply.send(self.accept_transfer(leg))),
            Command::Gather { gathering, reply } => drop(reply.send(self.gather(gathering))),
            Command::Choose { side, name, reply } => {
                let chosen = self.pair.as_ref().map(|pair| pair.choose(side, name));
                let _ = reply.send(chosen.ok_or(DeviceError::NoDevices));
            }
            Command::Find { call, reply } => {
                let record = self.calls.values().find(|record| record.shared.id() == call);
                let _ = reply.send(record.map(|record| record.shared.clone()));
            }
            Command::Incoming { sender, reply } => {
                self.incoming = Some(sender);
                let _ = reply.send(());
            }
            Command::Look { leg, lines } => self.look_at(leg, lines),
            Command::Watch { leg, progress, decoding, done } => self.watch(leg, progress, decoding, done),
            // Handled by the loop.
            Command::Stop { .. } => {}
        }
    }

    /// Builds a call's audio with its own pipeline.
    pub(super) fn audio(&self, media: Media) -> (LegAudio, Problems) {
        let mut pipeline = self.pipelines.make(self.rate_hz, self.ptime_ms);
        let problems = pipeline.problems();
        let (voice, ear) = media.attached(pipeline, self.rate_hz);
        (LegAudio { source: Box::new(voice), sink: Box::new(ear) }, problems)
    }

    /// The same for an existing leg.
    pub(super) fn audio_of(&mut self, leg: LegId, media: Media) -> LegAudio {
        let (audio, problems) = self.audio(media);
        self.troubled(leg, problems);
        audio
    }

    /// Reports the audio problems of a leg, and keeps watching for more.
    pub(super) fn troubled(&mut self, leg: LegId, problems: Problems) {
        if let Some(record) = self.calls.get_mut(&leg) {
            record.problems = problems;
            record.tell_problems(&self.events);
        }
    }

    fn dial(&mut self, target: String, how: &DialAs) -> Result<Arc<Shared>, CallError> {
        let (program, media) = sides();
        let (audio, problems) = self.audio(media);
        let leg = self.service.dial_as(&target, audio, how)?;
        self.log(leg);
        let shared = Arc::new(self.shared(leg, target, CallState::Dialling, program));
        self.calls.insert(leg, Record::new(shared.clone(), None));
        self.troubled(leg, problems);
        Ok(shared)
    }

    /// Starts the log of a new leg, if logging is on.
    pub(super) fn log(&mut self, leg: LegId) {
        if let Some(logs) = &mut self.logs
            && let Some(call_id) = self.service.sip_call_id(leg)
        {
            logs.begins(leg, call_id);
        }
    }

    pub(super) fn shared(&self, leg: LegId, remote: String, state: CallState, audio: Program) -> Shared {
        Shared {
            leg,
            remote,
            state: watch::Sender::new(state),
            agreed: Mutex::default(),
            identity: Mutex::default(),
            measured: Mutex::default(),
            audio,
            rate_hz: self.rate_hz,
            hold_sound: Mutex::default(),
            dtmf: self.settings.dtmf,
            digit_ms: self.settings.digit_ms,
            commands: self.commands.clone(),
            events: self.events.downgrade(),
        }
    }
}
