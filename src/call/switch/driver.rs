//! Runs the switch on a thread, with the SIP stack, the clock and the tasks. `unsent`: the same without
//! sockets, to inspect what would be sent.

#[doc(hidden)]
pub mod unsent;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::bus::EventBus;
use crate::controller::{AddressFamily, EmbeddedConfig, EmbeddedController, MediaController, MediaEvent};
use crate::handler::ApplicationHandler;
use crate::resolver::{DirectPolicy, DirectResolver};
use crate::service::CallService;
use crate::service::command::Command;
use crate::switch::admission::AdmitAll;
use crate::switch::common::{SwitchConfig, SwitchParts};
use crate::switch::restore::Surviving;
use crate::switch::state::input::CallInput;
use crate::switch::turn::Turn;
use crate::switch::work::host_names::HostName;
use crate::switch::work::tasks::{Done, Guarded, Panicked};
use crate::switch::{CallSnapshot, Switch};
use b2b_base::util::panics;
use b2b_base::util::vital::Vital;
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Extensions, SessionTimers, Transport};
use b2b_sip::msg::Method;
use b2b_sip::net::{Listening, NetConfig, NetCounters, NetError, SipStack};

/// Maximum time for connections to write their queues on closing.
const CLOSE_PATIENCE: Duration = Duration::from_millis(200);

/// Maximum time for the BYEs to leave when the thread has panicked.
const FAREWELL: Duration = Duration::from_millis(200);

/// Permitted delay of call timers, which are seconds long.
const TICK: Duration = Duration::from_millis(10);

/// Port range in which [`SwitchThread::simple`] receives RTP.
const RTP_PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// Events that [`SwitchThread::simple`] buffers for slow subscribers.
const EVENTS: usize = 1_024;

/// Work for the calls' thread.
type Job = Box<dyn FnOnce(&mut Switch, &mut Turn<'_>, NetCounters) + Send>;

/// A switch on its own thread.
pub struct SwitchThread {
    service: CallService,
    bus: Option<EventBus>,
    jobs: mpsc::UnboundedSender<Job>,
    vital: Vital,
    stop: Option<oneshot::Sender<()>>,
    listening: Vec<(Transport, SocketAddr)>,
    sockets: Vec<Listening>,
    thread: Option<JoinHandle<()>>,
}

/// Why a switch could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("no media: {0}")]
    Media(String),
    #[error(
        "the system refused a thread or a runtime: {0}; end other programs, or raise the limit of processes"
    )]
    System(#[from] io::Error),
}

impl SwitchThread {
    /// Binds the sockets and accepts calls from now on, or with [`SwitchConfig::resumes`] from [`Jobs::go_on`] on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        net: NetConfig,
        endpoint: EndpointConfig,
        config: SwitchConfig,
        parts: SwitchParts,
        media_events: mpsc::UnboundedReceiver<MediaEvent>,
    ) -> Result<Self, StartError> {
        let media_events = forwarded(media_events)?;
        let bus = parts.bus.clone();
        let (switch, commands) = Switch::new(config, parts);
        let service = switch.service();
        let (jobs, job_queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::channel();
        let vital = Vital::default();
        let broken = vital.clone();
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(StartError::System(error)))),
            };
            runtime.block_on(async move {
                let mut stack = match SipStack::bind(net, Endpoint::new(endpoint)) {
                    Ok(stack) => stack,
                    Err(error) => return drop(ready.send(Err(StartError::Net(error)))),
                };
                stack.watch();
                let _ = ready.send(Ok((stack.locals().collect(), stack.listening().collect())));
                let (done, results) = mpsc::unbounded_channel();
                let driver = Driver {
                    stack,
                    switch,
                    commands,
                    jobs: job_queue,
                    media_events: Some(media_events),
                    done,
                    results,
                    timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
                    armed_for: None,
                };
                // A spawned task: what wakes the future of `block_on` itself goes through the kernel, with a
                // write and one more wait for each datagram. After a panic the switch is gone, and requests
                // to it fail.
                if !matches!(tokio::spawn(driver.run(stopped)).await, Ok(Ok(()))) {
                    broken.has_panicked("calls");
                }
            });
        };
        let thread = std::thread::Builder::new().name("calls".into()).spawn(run)?;
        let (listening, sockets) = match bound.recv() {
            Ok(result) => result?,
            Err(_) => return Err(StartError::System(io::ErrorKind::BrokenPipe.into())),
        };
        let stop = Some(stop);
        Ok(SwitchThread { service, bus, jobs, vital, stop, listening, sockets, thread: Some(thread) })
    }

    /// A switch at one address for any number of calls, with the embedded media engine and no configuration:
    /// targets are URIs, and no authentication is required. For tests and examples, on loopback.
    /// [`SwitchThread::bus`] has its events.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn simple(bind: SocketAddr, handlers: Vec<Arc<dyn ApplicationHandler>>) -> Result<Self, StartError> {
        let media = EmbeddedConfig::new(vec![(bind.ip(), None)], RTP_PORTS, rand::random());
        let (controller, media_events) =
            EmbeddedController::start(media).map_err(|error| StartError::Media(error.to_string()))?;
        let parts = SwitchParts {
            controller: Arc::new(controller),
            resolver: Arc::new(DirectResolver::new(DirectPolicy::Anybody)),
            handlers,
            admission: Box::new(AdmitAll),
            bus: Some(EventBus::new(EVENTS, 0)),
            records: None,
        };
        let endpoint = EndpointConfig {
            accept: vec![Method::Info, Method::Message, Method::Notify],
            session_timers: Some(SessionTimers::default()),
            extensions: Extensions { reliable: true, refer: true, replaces: true },
            ..EndpointConfig::new(rand::random())
        };
        let config = SwitchConfig { domain: bind.ip().to_string(), ..SwitchConfig::default() };
        SwitchThread::start(NetConfig::new(bind), endpoint, config, parts, media_events)
    }

    /// The handle for calls.
    pub fn service(&self) -> CallService {
        self.service.clone()
    }

    /// The bound addresses, with the real ports; never a wildcard. UDP comes first.
    pub fn listening(&self) -> &[(Transport, SocketAddr)] {
        &self.listening
    }

    /// The same sockets with the names of their listeners.
    pub fn sockets(&self) -> &[Listening] {
        &self.sockets
    }

    /// The bus for subscribing to its events; `None`: it was started without a bus.
    pub fn bus(&self) -> Option<&EventBus> {
        self.bus.as_ref()
    }

    /// A handle for [`Jobs::run`].
    pub fn jobs(&self) -> Jobs {
        Jobs { jobs: self.jobs.clone() }
    }

    /// Notified when the thread has panicked: every call has been ended and recorded, unless calls outlive the process, and
    /// the switch takes no more requests.
    pub fn panicked(&self) -> Receiver<String> {
        self.vital.panicked()
    }

    /// Ends the thread; remaining calls are dropped without a BYE. Call [`Switch::hang_up_all`] first.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the calls' thread panicked");
        }
    }
}

impl Drop for SwitchThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs closures on the calls' thread that read or change the switch itself.
#[derive(Clone)]
pub struct Jobs {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Jobs {
    /// Runs `job` as a turn of its own and returns its result; `None`: the thread has ended. The job must be
    /// quick: all calls wait for it.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Switch, &mut Turn<'_>, NetCounters) -> T + Send + 'static,
    ) -> Option<T> {
        self.send(job)?.await.ok()
    }

    /// As [`Jobs::run`], but blocks the calling thread.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Switch, &mut Turn<'_>, NetCounters) -> T + Send + 'static,
    ) -> Option<T> {
        self.send(job)?.blocking_recv().ok()
    }

    /// The calls of a process that has ended go on, before any message is read. Does not wait for it: `told` is told when
    /// that has begun, and of all calls.
    pub fn go_on(&self, surviving: Surviving, told: impl FnOnce(Instant, &[CallSnapshot]) + Send + 'static) {
        let began = Arc::new(OnceLock::new());
        for part in surviving.parts() {
            let began = began.clone();
            // A thread that has ended has no calls.
            let _ = self.send(move |switch, t, _| {
                began.get_or_init(Instant::now);
                part.go_on(switch, t);
            });
        }
        let _ = self.send(move |switch, t, _| {
            told(*began.get_or_init(Instant::now), &switch.snapshot(t.now));
        });
    }

    fn send<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Switch, &mut Turn<'_>, NetCounters) -> T + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |switch, turn, net| drop(reply.send(job(switch, turn, net))));
        self.jobs.send(job).ok()?;
        Some(answer)
    }
}

/// Media threads may have their own descriptor tables, while the waker of a runtime is a descriptor of the
/// process. A thread with the process's table forwards the events.
fn forwarded(
    mut events: mpsc::UnboundedReceiver<MediaEvent>,
) -> io::Result<mpsc::UnboundedReceiver<MediaEvent>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("media-events".into()).spawn(move || {
        while let Some(event) = events.blocking_recv() {
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

struct Driver {
    stack: SipStack,
    /// Dropped before the switch: a dropped reply then says that the thread has ended, and not the call.
    commands: mpsc::UnboundedReceiver<Command>,
    switch: Switch,
    jobs: mpsc::UnboundedReceiver<Job>,
    media_events: Option<mpsc::UnboundedReceiver<MediaEvent>>,
    done: mpsc::UnboundedSender<Done>,
    results: mpsc::UnboundedReceiver<Done>,
    timer: Pin<Box<Sleep>>,
    armed_for: Option<Instant>,
}

/// An event from a source other than the SIP stack.
enum Step {
    Command(Command),
    Job(Job),
    Done(Done),
    Media(Option<MediaEvent>),
    Timeout,
}

impl Driver {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), Panicked> {
        let worked = Guarded::new(Box::pin(self.work(&mut stopped))).await;
        if worked.is_err() {
            self.switch.common.works_on.broke();
            if self.switch.common.world.is_kept {
                // Calls go on in the next process as they were, if they are covered: it writes the records that wait, and what
                // the step has left is neither written nor sent.
                return worked;
            }
            self.break_up().await;
        }
        self.attempt(|switch, t| switch.finish_histories(t));
        self.stack.close(CLOSE_PATIENCE).await;
        worked
    }

    /// A panic has left unknown state half changed: every call is ended and recorded, each separately, so
    /// that the broken one does not keep the others from their end.
    async fn break_up(&mut self) {
        tracing::error!("the calls' thread panicked: all calls end");
        let legs = self.switch.legs();
        for leg in &legs {
            self.attempt(|switch, t| switch.input(t, *leg, CallInput::HangUp { leg: *leg }));
        }
        // Messages are sent while waiting for the next event; the events themselves are dropped.
        let sends = async { while tokio::time::timeout(FAREWELL, self.stack.next_event()).await.is_ok() {} };
        let sends = Box::pin(async { drop(tokio::time::timeout(FAREWELL, sends).await) });
        let _ = Guarded::new(sends).await;
        for leg in self.switch.legs() {
            self.attempt(|switch, t| switch.input(t, leg, CallInput::GiveUp { leg }));
        }
    }

    /// Runs a turn and catches its panic.
    fn attempt(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        // What a broken step has left is of no use.
        self.switch.common.out.forget();
        // State that it leaves half changed was so before, or is only seen by another such attempt.
        let _ = catch_unwind(AssertUnwindSafe(|| self.turn(act)));
    }

    async fn work(&mut self, stopped: &mut oneshot::Receiver<()>) {
        loop {
            while let Some(task) = self.switch.poll_task().or_else(|| self.switch.poll_beside()) {
                let done = self.done.clone();
                tokio::spawn(async move { drop(done.send(task.await)) });
            }
            while let Some(name) = self.switch.poll_host() {
                let is_ipv4 = name.family == AddressFamily::V4;
                let address = self.stack.look_up(&name.host, is_ipv4, HostName::PATIENCE);
                let done = self.done.clone();
                tokio::spawn(async move { drop(done.send(name.found(address.await))) });
            }
            let due = self.switch.next_timeout();
            tokio::select! {
                biased;
                _ = &mut *stopped => break,
                step = poll_fn(|context| {
                    let queues =
                        (&mut self.commands, &mut self.jobs, &mut self.results, &mut self.media_events);
                    poll_step(context, queues, &mut self.timer, &mut self.armed_for, due)
                }) => self.step(step),
                event = self.stack.next_event(), if self.switch.common.reads => self.turn(|switch, t| switch.sip_event(t, event)),
            }
        }
    }

    fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        while let Some(seen) = self.stack.take_seen() {
            self.switch.observe(&seen);
            panics::on_purpose("calls", &seen.data);
        }
        let now = self.stack.now();
        let mut turn = Turn { now, wall: SystemTime::now(), sip: self.stack.endpoint() };
        let controller = self.switch.common.world.parts.controller.clone();
        let asked = Together::begin(&*controller);
        act(&mut self.switch, &mut turn);
        self.switch.carry_out(&mut turn);
        self.switch.step_applications(&mut turn);
        drop(asked);
        while let Some(ban) = self.switch.poll_ban() {
            self.stack.ban(ban);
        }
        while let Some(flow) = self.switch.poll_proven() {
            self.stack.prove(&flow);
        }
        self.switch.turn_over();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Command(command) => self.turn(|switch, t| switch.obey(t, command)),
            Step::Job(job) => {
                let net = self.stack.counters();
                self.turn(|switch, t| job(switch, t, net));
            }
            Step::Done(done) => self.turn(|switch, t| switch.done(t, done)),
            Step::Media(Some(event)) => self.turn(|switch, t| switch.media_event(t, event)),
            Step::Media(None) => self.media_events = None,
            Step::Timeout => self.turn(|switch, t| switch.timeout(t)),
        }
    }
}

/// Marks the media requests of one turn as belonging together, until dropped, by a panic too.
struct Together<'a>(&'a dyn MediaController);

impl<'a> Together<'a> {
    fn begin(controller: &'a dyn MediaController) -> Self {
        controller.begin_turn();
        Together(controller)
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

type Queues<'a> = (
    &'a mut mpsc::UnboundedReceiver<Command>,
    &'a mut mpsc::UnboundedReceiver<Job>,
    &'a mut mpsc::UnboundedReceiver<Done>,
    &'a mut Option<mpsc::UnboundedReceiver<MediaEvent>>,
);

fn poll_step(
    context: &mut std::task::Context<'_>,
    (commands, jobs, results, media): Queues<'_>,
    timer: &mut Pin<Box<Sleep>>,
    armed_for: &mut Option<Instant>,
    deadline: Option<Instant>,
) -> Poll<Step> {
    if let Poll::Ready(Some(done)) = results.poll_recv(context) {
        return Poll::Ready(Step::Done(done));
    }
    if let Poll::Ready(Some(command)) = commands.poll_recv(context) {
        return Poll::Ready(Step::Command(command));
    }
    if let Poll::Ready(Some(job)) = jobs.poll_recv(context) {
        return Poll::Ready(Step::Job(job));
    }
    if let Some(events) = media
        && let Poll::Ready(event) = events.poll_recv(context)
    {
        return Poll::Ready(Step::Media(event));
    }
    // The timer is only ever moved earlier: moving it wakes the runtime, and calls move their deadlines all
    // the time.
    let Some(deadline) = deadline else { return Poll::Pending };
    if armed_for.is_none_or(|at| deadline < at) {
        let at = deadline + TICK;
        *armed_for = Some(at);
        timer.as_mut().reset(at.into());
    }
    match timer.as_mut().poll(context) {
        Poll::Ready(()) => {
            *armed_for = None;
            Poll::Ready(Step::Timeout)
        }
        Poll::Pending => Poll::Pending,
    }
}
