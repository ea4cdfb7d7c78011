//! Our own engine behind the [`Ua`] trait: a signalling thread around an `AgentService`, which contains the
//! SIP stack, the legs and the media thread.
//!
//! - `signalling`: the thread: takes commands, sends events
//!
//! The handle holds only channels. The signalling thread replies to a command at once, without waiting for
//! the network.

mod signalling;

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::mpsc;

use b2b_ua::{Audio, CallId, Ua, UaConfig, UaError, UaEvent, UaStats};

/// A command to the signalling thread, with the channel for its reply.
enum Command {
    Dial {
        target: String,
        audio: Audio,
        reply: Sender<Result<CallId, UaError>>,
    },
    Answer {
        call: CallId,
        audio: Audio,
        reply: Sender<Result<(), UaError>>,
    },
    Reject {
        call: CallId,
        status: u16,
        reason: String,
        reply: Sender<Result<(), UaError>>,
    },
    Hangup {
        call: CallId,
        reply: Sender<Result<(), UaError>>,
    },
    Stats {
        reply: Sender<UaStats>,
    },
    /// Answered when the shutdown is complete.
    Shutdown {
        grace: Duration,
        reply: Sender<()>,
    },
}

/// A UA on our own SIP core and media engine. Dropping it without
/// [`Ua::shutdown`] sends BYE to every call and does not wait.
pub struct NativeUa {
    local: SocketAddr,
    commands: Option<mpsc::UnboundedSender<Command>>,
    events: Receiver<UaEvent>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a UA.
///
/// # Errors
/// The address cannot be bound, or a trace cannot be written.
pub fn open(config: UaConfig) -> Result<NativeUa, UaError> {
    let (commands, command_receiver) = mpsc::unbounded_channel();
    let (events, event_receiver) = crossbeam_channel::unbounded();
    let (ready, bound) = crossbeam_channel::bounded(1);
    let stopped = |error: std::io::Error| UaError::Stopped(format!("no signalling thread: {error}"));
    let thread = std::thread::Builder::new()
        .name("signalling".into())
        .spawn(move || signalling::run(config, command_receiver, &events, &ready))
        .map_err(stopped)?;
    let local =
        bound.recv().map_err(|_| UaError::Stopped("the signalling thread died at its start".into()))??;
    Ok(NativeUa { local, commands: Some(commands), events: event_receiver, thread: Some(thread) })
}

impl NativeUa {
    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, UaError> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let stopped = || UaError::Stopped("its signalling thread is gone".into());
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands.send(command(reply)).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())
    }

    fn join(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Ua for NativeUa {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn events(&self) -> &Receiver<UaEvent> {
        &self.events
    }

    fn dial(&self, target: &str, audio: Audio) -> Result<CallId, UaError> {
        let target = target.to_owned();
        self.ask(|reply| Command::Dial { target, audio, reply })?
    }

    fn answer(&self, call: CallId, audio: Audio) -> Result<(), UaError> {
        self.ask(|reply| Command::Answer { call, audio, reply })?
    }

    fn reject(&self, call: CallId, status: u16, reason: &str) -> Result<(), UaError> {
        let reason = reason.to_owned();
        self.ask(|reply| Command::Reject { call, status, reason, reply })?
    }

    fn hangup(&self, call: CallId) -> Result<(), UaError> {
        self.ask(|reply| Command::Hangup { call, reply })?
    }

    fn stats(&self) -> UaStats {
        self.ask(|reply| Command::Stats { reply }).unwrap_or_default()
    }

    fn shutdown(mut self: Box<Self>, grace: Duration) {
        // If the thread is gone, there is nothing to wait for.
        let _ = self.ask(|reply| Command::Shutdown { grace, reply });
        self.join();
    }
}

impl Drop for NativeUa {
    fn drop(&mut self) {
        self.join();
    }
}
