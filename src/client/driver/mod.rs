//! The client's thread: it owns the `AgentService`, executes commands and publishes events.
//!
//! - `command`: the program's commands; `control`: operations on an existing call
//! - `registering`: the registration
//! - `conference`: conferences; `transfer`: transfers
//! - `happened`: events of the agent
//! - `logs`: a debug log per call
//! - `measuring`: quality of calls
//! - `watching`: progress of the media thread

mod command;
mod conference;
mod control;
mod happened;
mod logs;
mod measuring;
mod registering;
mod transfer;
mod watching;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::audio::{Audio, FrameFormat, Media, Pair, Pipelines, Problems, with_file};
use super::builder::{CallSettings, Settings};
use super::call::Shared;
use super::handle::Running;
use super::state::{self, Happening};
use super::{CallError, ClientEvent, EndCause, IncomingCall, RegistrationState, StartError};
use b2b_call::LegId;
use b2b_call::agent::{AgentEvent, AgentService, Change, LegReport};

pub(super) use command::Command;
use conference::Conferences;
pub(super) use conference::Gathering;
pub(super) use control::Control;
use logs::Logs;
use measuring::Measured;
pub(super) use measuring::Measuring;
use registering::Registering;
pub(super) use transfer::Whom;
use watching::Watching;

enum Step {
    Event(AgentEvent),
    Command(Option<Command>),
    Look,
    Leave,
    Measure,
    PatienceOver,
}

/// Starts the thread and waits until its sockets are bound. It executes `first` before anything else.
pub(super) async fn start(settings: Settings, first: Option<Command>) -> Result<Running, StartError> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (events, _) = broadcast::channel(settings.events);
    let (bound, ready) = oneshot::channel();
    let (state, registration) = watch::channel(RegistrationState::Off);
    let (alive, over) = std::sync::mpsc::channel::<()>();
    let (weak_commands, weak_events) = (commands.downgrade(), events.downgrade());
    let thread = move || {
        let work = || run(settings, first, receiver, weak_commands, events, bound, state);
        // No state of a panicked thread is used again; every handle sees that the client has ended.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("the client's thread panicked: its calls have ended");
        }
        drop(alive);
    };
    let system = |error: std::io::Error| StartError::System(error.to_string());
    std::thread::Builder::new().name("sip-client".into()).spawn(thread).map_err(system)?;
    let died = |_| StartError::System("the client's thread died at its start".to_owned());
    let local = ready.await.map_err(died)??;
    Ok(Running { local, commands, events: weak_events, registration, over: Mutex::new(over) })
}

/// The thread's body.
fn run(
    settings: Settings,
    first: Option<Command>,
    commands: mpsc::UnboundedReceiver<Command>,
    weak_commands: mpsc::WeakUnboundedSender<Command>,
    events: broadcast::Sender<ClientEvent>,
    bound: oneshot::Sender<Result<SocketAddr, StartError>>,
    registration: watch::Sender<RegistrationState>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = bound.send(Err(StartError::System(error.to_string())));
            return;
        }
    };
    let done = runtime.block_on(async {
        let (rate_hz, ptime_ms) = (settings.agent.rate_hz, settings.agent.ptime_ms);
        let calls = settings.calls;
        let registering = Registering::new(settings.registration, registration);
        let started = AgentService::start(settings.agent).and_then(|mut service| {
            registering.begin(&mut service, &events)?;
            Ok(service)
        });
        let service = match started {
            Ok(service) => service,
            Err(error) => {
                let _ = bound.send(Err(error.into()));
                return None;
            }
        };
        let logs = settings
            .call_logs
            .map(|folder| Logs::start(folder.clone(), events.subscribe()).map_err(|error| (folder, error)));
        let logs = match logs.transpose() {
            Ok(logs) => logs,
            Err((path, error)) => {
                let _ = bound.send(Err(StartError::Trace { path, error }));
                return None;
            }
        };
        let _ = bound.send(Ok(service.local()));
        let pair = match &settings.audio {
            Audio::Devices(devices) => Some(Pair::new(devices.clone(), rate_hz, events.downgrade())),
            _ => None,
        };
        let mut driver = Driver {
            service,
            rate_hz,
            ptime_ms,
            pipelines: pipelines(settings.pipelines, settings.audio, pair.clone()),
            pair,
            settings: calls,
            measuring: settings.measuring,
            registering,
            calls: HashMap::new(),
            watching: Watching::new(),
            leaving: VecDeque::new(),
            conferences: Conferences::default(),
            incoming: None,
            commands: weak_commands,
            events,
            logs,
        };
        first.into_iter().for_each(|first| driver.obey(first));
        driver.serve(commands).await
    });
    // Pending lookups in the system's resolver are abandoned.
    runtime.shutdown_background();
    if let Some(done) = done {
        let _ = done.send(());
    }
}

/// The factory of call pipelines, with the devices or the file.
fn pipelines(pipelines: Pipelines, audio: Audio, pair: Option<Arc<Pair>>) -> Pipelines {
    if let Some(pair) = pair {
        return Pipelines::new(move |format| pair.give(pipelines.make(format.rate_hz, format.ptime_ms)));
    }
    match audio {
        Audio::None | Audio::Devices(_) => pipelines,
        Audio::Custom(custom) => {
            Pipelines::new(move |format| custom.give(pipelines.make(format.rate_hz, format.ptime_ms), format))
        }
        Audio::Files { say } => Pipelines::new(move |FrameFormat { rate_hz, ptime_ms }| {
            with_file(pipelines.make(rate_hz, ptime_ms), &say, rate_hz)
        }),
    }
}

/// A call and, until it is attached, its media side.
struct Record {
    shared: Arc<Shared>,
    media: Option<Media>,
    /// Callers that wait for the result of a change, in order of request.
    changes: VecDeque<(Change, oneshot::Sender<Result<(), CallError>>)>,
    /// Set once the call is answered.
    measured: Option<Measured>,
    /// The caller that waits for the result of our REFER.
    transfer: Option<oneshot::Sender<Result<(), CallError>>>,
    /// The call that this one replaces when it is answered; `true` if the far end of that one is expected to
    /// hang up.
    follows: Option<(LegId, bool)>,
    /// The cause of the end that will follow.
    untrusted: Option<EndCause>,
    /// The audio problems of this call.
    problems: Problems,
    /// Whether [`ClientEvent::MediaStarted`] was sent.
    has_media: bool,
}

impl Record {
    fn new(shared: Arc<Shared>, media: Option<Media>) -> Self {
        Record {
            shared,
            media,
            changes: VecDeque::new(),
            measured: None,
            transfer: None,
            follows: None,
            untrusted: None,
            problems: Problems::default(),
            has_media: false,
        }
    }

    /// Reports new audio problems.
    fn tell_problems(&mut self, events: &Events) {
        let call = self.shared.id();
        for problem in self.problems.take() {
            tracing::warn!("call {}: {problem}", call.0);
            let _ = events.send(ClientEvent::Audio { call, problem });
        }
    }

    /// Handles the closing of its media.
    fn media_closed(&mut self, report: &LegReport, events: &Events) {
        self.tell_problems(events);
        measuring::last(self, report, events);
        if std::mem::take(&mut self.has_media) {
            let _ = events.send(ClientEvent::MediaStopped { call: self.shared.id() });
        }
    }

    /// Whether the far end is on hold and has accepted it.
    fn is_held(&self) -> bool {
        self.measured.as_ref().is_some_and(Measured::is_held)
    }

    /// Completes a pending change.
    fn changed(&mut self, change: Change, outcome: Result<(), CallError>) {
        let waiting = self.changes.iter().position(|(wanted, _)| *wanted == change);
        if let Some((_, reply)) = waiting.and_then(|index| self.changes.remove(index)) {
            // A failed reply means that the caller has stopped waiting.
            let _ = reply.send(outcome);
        }
    }
}

struct Driver {
    service: AgentService,
    rate_hz: u32,
    ptime_ms: u32,
    pipelines: Pipelines,
    /// The devices, if calls have any.
    pair: Option<Arc<Pair>>,
    settings: CallSettings,
    measuring: Measuring,
    registering: Registering,
    calls: HashMap<LegId, Record>,
    watching: Watching,
    conferences: Conferences,
    /// Replaced calls, and when they are hung up.
    leaving: VecDeque<(Instant, LegId)>,
    incoming: Option<mpsc::Sender<IncomingCall>>,
    commands: mpsc::WeakUnboundedSender<Command>,
    events: Events,
    logs: Option<Logs>,
}

/// The publisher of events.
type Events = broadcast::Sender<ClientEvent>;

impl Driver {
    /// Runs until the client stops. Returns the channel that waits for the stop.
    async fn serve(mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> Option<oneshot::Sender<()>> {
        let mut until: Option<Instant> = None;
        let mut done = None;
        let mut measure = tokio::time::interval(measuring::pace(&self.measuring));
        measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while until.is_none() || !self.service.is_idle() {
            let step = tokio::select! {
                event = self.service.next_event() => Step::Event(event),
                command = commands.recv(), if until.is_none() => Step::Command(command),
                () = sleep_until(self.watching.due()) => Step::Look,
                _ = measure.tick(), if !self.calls.is_empty() => Step::Measure,
                () = sleep_until(self.leaving.front().map(|(at, _)| *at)) => Step::Leave,
                () = sleep_until(until) => Step::PatienceOver,
            };
            if let Some(logs) = &mut self.logs {
                logs.look(&mut self.service);
            }
            match step {
                Step::Event(AgentEvent::MediaLost) => {
                    let _ = self.events.send(ClientEvent::MediaLost);
                    break;
                }
                Step::Event(event) => self.happened(event),
                Step::Command(Some(Command::Stop { patience, reply })) => {
                    until = Some(Instant::now() + patience.min(Duration::from_secs(86_400)));
                    done = Some(reply);
                    self.service.drain();
                }
                // The client was dropped: hang up without waiting.
                Step::Command(None) => {
                    until = Some(Instant::now());
                    self.service.drain();
                }
                Step::Command(Some(command)) => self.obey(command),
                Step::Look => self.watching.look(&self.events),
                Step::Leave => self.leave(),
                Step::Measure => self.measure(),
                Step::PatienceOver => break,
            }
        }
        // Reject further commands, which would get no reply.
        drop(commands);
        if let Some(logs) = &mut self.logs {
            logs.look(&mut self.service);
        }
        let Driver { service, mut calls, events, mut logs, .. } = self;
        for event in service.close().await {
            match event {
                AgentEvent::MediaClosed { leg, report } => {
                    if let Some(record) = calls.get_mut(&leg) {
                        record.media_closed(&report, &events);
                    }
                    if let Some(logs) = &mut logs {
                        logs.counters(leg, &report);
                    }
                }
                AgentEvent::Ended { leg, cause } => {
                    if let Some(record) = calls.remove(&leg) {
                        go_on(&record.shared, Happening::Ended(cause.into()), &events);
                    }
                }
                _ => {}
            }
        }
        for record in calls.into_values() {
            go_on(&record.shared, Happening::Ended(EndCause::ClientStopped), &events);
        }
        let _ = events.send(ClientEvent::Stopped);
        done
    }
}

/// Advances the state of a call and publishes it.
fn go_on(shared: &Shared, happening: Happening, events: &broadcast::Sender<ClientEvent>) {
    let Some(state) = state::next(&shared.state.borrow(), happening) else { return };
    // The event is sent first, so a task that waits for the state finds it queued.
    let _ = events.send(ClientEvent::State { call: shared.id(), state: state.clone() });
    shared.state.send_replace(state);
}

/// Sleeps until the deadline, forever if there is none.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
