//! The signalling thread: takes commands and sends events, around an [`AgentService`].

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Command;
use b2b_base::frame::RATE_HZ;
use b2b_call::LegId;
use b2b_call::agent::{
    AgentConfig, AgentError, AgentEvent, AgentService, CallOptions, FEW_CALLS, LegAudio, Signalling,
    SrtpPolicy,
};
use b2b_ua::{Audio, CallId, UaConfig, UaError, UaEvent};

/// Events queued for a role before some are dropped.
const NEWS: usize = 4_096;

enum Step {
    Event(AgentEvent),
    Command(Option<Command>),
    GraceOver,
}

/// The thread's body. Reports the bound address on `ready`.
pub(super) fn run(
    config: UaConfig,
    commands: mpsc::UnboundedReceiver<Command>,
    events: &Sender<UaEvent>,
    ready: &Sender<Result<SocketAddr, UaError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(UaError::Stopped(format!("no I/O runtime: {error}"))));
            return;
        }
    };
    let done = runtime.block_on(async {
        match AgentService::start(agent_config(config)) {
            Ok(service) => {
                let _ = ready.send(Ok(service.local()));
                serve(service, commands, events).await
            }
            Err(error) => {
                let _ = ready.send(Err(ua_error(error)));
                None
            }
        }
    });
    // Pending lookups in the system's resolver are abandoned.
    runtime.shutdown_background();
    if let Some(done) = done {
        let _ = done.send(());
    }
}

/// Runs until shutdown. Returns the channel to signal its completion.
async fn serve(
    mut service: AgentService,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: &Sender<UaEvent>,
) -> Option<Sender<()>> {
    let mut until: Option<Instant> = None;
    let mut done = None;
    while until.is_none() || !service.is_idle() {
        let step = tokio::select! {
            event = service.next_event() => Step::Event(event),
            command = commands.recv(), if until.is_none() => Step::Command(command),
            () = sleep_until(until) => Step::GraceOver,
        };
        match step {
            Step::Event(AgentEvent::MediaLost) => {
                let message = "the media thread has stopped".to_owned();
                let _ = events.send(UaEvent::Fatal { message });
                break;
            }
            Step::Event(event) => tell(events, event),
            Step::Command(Some(Command::Shutdown { grace, reply })) => {
                until = Some(Instant::now() + grace);
                done = Some(reply);
                service.drain();
            }
            // The UA was dropped: hang up without waiting.
            Step::Command(None) => {
                until = Some(Instant::now() + Duration::ZERO);
                service.drain();
            }
            Step::Command(Some(command)) => obey(&mut service, command),
            Step::GraceOver => break,
        }
    }
    for event in service.close().await {
        tell(events, event);
    }
    done
}

/// Sleeps until the deadline, forever if there is none.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn obey(service: &mut AgentService, command: Command) {
    // A failed reply means that the caller has stopped waiting.
    match command {
        Command::Dial { target, audio, reply } => {
            let dialled = service.dial(&target, leg_audio(audio));
            let _ = reply.send(dialled.map(call_id).map_err(ua_error));
        }
        Command::Answer { call, audio, reply } => {
            let _ = reply.send(service.answer(LegId(call.0), leg_audio(audio)).map_err(ua_error));
        }
        Command::Reject { call, status, reason, reply } => {
            let _ = reply.send(service.reject(LegId(call.0), status, &reason).map_err(ua_error));
        }
        Command::Hangup { call, reply } => {
            let _ = reply.send(service.hangup(LegId(call.0)).map_err(ua_error));
        }
        Command::Stats { reply } => drop(reply.send(service.stats())),
        // Handled by the loop.
        Command::Shutdown { .. } => {}
    }
}

/// Sends an event to the role. A send error means that the role is gone. If the role falls behind, events
/// that a peer can produce without limit within a call are dropped.
fn tell(events: &Sender<UaEvent>, event: AgentEvent) {
    let endless =
        matches!(event, AgentEvent::Progress { .. } | AgentEvent::Digit { .. } | AgentEvent::Hold { .. });
    if endless && events.len() >= NEWS {
        return;
    }
    let _ = events.send(match event {
        // The lab requests no changes and no transfers.
        AgentEvent::MediaClosed { .. }
        | AgentEvent::TransferProgress { .. }
        | AgentEvent::TransferEnded { .. }
        | AgentEvent::TransferRequested { .. }
        | AgentEvent::DigitRefused { .. }
        | AgentEvent::Changed { .. }
        | AgentEvent::ChangeRefused { .. } => {
            return;
        }
        // The lab does not register; an unreachable target is reported by the end of the call.
        AgentEvent::Identified { .. }
        | AgentEvent::Agreed { .. }
        | AgentEvent::Registered { .. }
        | AgentEvent::RegistrationFailed { .. }
        | AgentEvent::Unregistered
        | AgentEvent::AddressChanged { .. }
        | AgentEvent::Unreachable { .. } => return,
        AgentEvent::Incoming { leg, from, to, sip_call_id, .. } => {
            UaEvent::Incoming { call: call_id(leg), from, to, sip_call_id }
        }
        AgentEvent::Progress { leg, status, reason } => {
            UaEvent::Progress { call: call_id(leg), status, reason }
        }
        AgentEvent::Answered { leg, codec, ptime_ms, remote_rtp } => {
            UaEvent::Answered { call: call_id(leg), codec, ptime_ms, remote_rtp }
        }
        AgentEvent::MediaStarted { leg } => UaEvent::MediaStarted { call: call_id(leg) },
        AgentEvent::Hold { leg, held } => UaEvent::Hold { call: call_id(leg), held },
        AgentEvent::Digit { leg, digit, duration_ms } => {
            UaEvent::Digit { call: call_id(leg), digit, duration_ms }
        }
        AgentEvent::SourceEnded { leg } => UaEvent::SourceEnded { call: call_id(leg) },
        AgentEvent::Ended { leg, cause } => UaEvent::Ended { call: call_id(leg), cause: cause.into() },
        AgentEvent::MediaLost => UaEvent::Fatal { message: "the media thread has stopped".to_owned() },
    });
}

fn call_id(leg: LegId) -> CallId {
    CallId(leg.0)
}

fn leg_audio(audio: Audio) -> LegAudio {
    LegAudio { source: audio.source, sink: audio.sink }
}

fn agent_config(config: UaConfig) -> AgentConfig {
    AgentConfig {
        user: config.user,
        identity: None,
        signalling: Signalling::default(),
        bind: config.bind,
        codecs: config.codecs,
        ptime_ms: config.ptime_ms,
        srtp: SrtpPolicy::Off,
        jitter_ms: config.jitter_ms,
        rate_hz: RATE_HZ,
        impairment: config.impairment,
        rtp_timeout: config.rtp_timeout,
        sip_trace: config.sip_trace,
        packet_log: config.packet_log,
        attributes: Vec::new(),
        watch: false,
        options: CallOptions::default(),
        limits: FEW_CALLS,
        seed: rand::random(),
    }
}

fn ua_error(error: AgentError) -> UaError {
    match error {
        AgentError::Bind { addr, error } => UaError::Bind { addr, error },
        AgentError::Trace { path, error } => UaError::Trace { path, error },
        AgentError::Target { uri, reason } => UaError::Target { uri, reason },
        AgentError::Open(error) => UaError::Media(error.to_string()),
        AgentError::Media(reason) => UaError::Media(reason),
        AgentError::Header(name) => {
            UaError::Target { uri: String::new(), reason: format!("header {name:?}") }
        }
        AgentError::Tls(why) => UaError::Stopped(why),
        AgentError::NoSuchLeg => UaError::NoSuchCall,
        AgentError::System(error) => UaError::Stopped(format!("the system refused a thread: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use b2b_call::leg_fsm::TerminationCause;
    use b2b_ua::EndCause;

    use super::*;

    #[test]
    fn a_role_that_is_behind_misses_endless_news_but_no_end() {
        let (events, told) = crossbeam_channel::unbounded();
        let leg = LegId(1);
        for _ in 0..3 * NEWS {
            tell(&events, AgentEvent::Digit { leg, digit: '1', duration_ms: 100 });
            tell(&events, AgentEvent::Hold { leg, held: true });
            tell(&events, AgentEvent::Progress { leg, status: 180, reason: String::new() });
        }
        tell(&events, AgentEvent::Ended { leg, cause: TerminationCause::RemoteHangup });
        assert_eq!(told.len(), NEWS + 1);
        let last = told.iter().nth(NEWS);
        assert_eq!(last, Some(UaEvent::Ended { call: CallId(1), cause: EndCause::RemoteHangup }));
    }
}
