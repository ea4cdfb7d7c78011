//! The signalling thread: one loop over SIP events, media events, commands and
//! time.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::Sender;
use tokio::sync::mpsc;

use super::Command;
use super::calls::{Call, Calls};
use super::stats;
use crate::call::leg::Leg;
use crate::call::leg_fsm::TerminationCause;
use crate::call::negotiate::LocalMedia;
use crate::media::codec::Codec as MediaCodec;
use crate::media::impair::ImpairConfig;
use crate::media::session::SessionConfig;
use crate::media::worker::{MediaEvent, MediaHandle, MediaWorker, SessionId, SpawnError, WorkerConfig};
use crate::sip::endpoint::{Body, Endpoint, EndpointConfig, Event, Flow, Invite, Reply, UsageEvent, UsageId};
use crate::sip::msg::{Request, Scheme, Uri};
use crate::sip::net::{NetConfig, NetError, SipStack, local_addr};
use crate::ua::{Audio, CallId, Codec, MediaStats, UaConfig, UaError, UaEvent};

/// How long closing connections may take to write what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_millis(200);

/// How long the media worker may take to close its sessions.
const MEDIA_PATIENCE: Duration = Duration::from_secs(2);

/// Everything that the thread owns.
pub(super) struct Signalling {
    pub(super) stack: SipStack,
    pub(super) media: MediaHandle,
    pub(super) calls: Calls,
    pub(super) events: Sender<UaEvent>,
    config: UaConfig,
    /// Counters of closed sessions.
    closed: MediaStats,
    session_id: u64,
    /// Set by `Shutdown`: when to stop waiting, and whom to tell.
    stopping: Option<(tokio::time::Instant, Option<Sender<()>>)>,
}

enum Step {
    Sip(Event),
    Media(Option<MediaEvent>),
    Command(Option<Command>),
    GraceOver,
}

/// The thread's body. Says on `ready` which address is bound.
pub(super) fn run(
    config: UaConfig,
    commands: mpsc::UnboundedReceiver<Command>,
    events: Sender<UaEvent>,
    ready: &Sender<Result<SocketAddr, UaError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(UaError::Stopped(format!("no I/O runtime: {error}"))));
            return;
        }
    };
    runtime.block_on(async {
        match Signalling::start(config, events) {
            Ok((signalling, local, media_events)) => {
                let _ = ready.send(Ok(local));
                signalling.serve(commands, media_events).await;
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
    // Lookups that hang in the system's resolver are not waited for.
    runtime.shutdown_background();
}

impl Signalling {
    fn start(
        config: UaConfig,
        events: Sender<UaEvent>,
    ) -> Result<(Self, SocketAddr, mpsc::UnboundedReceiver<MediaEvent>), UaError> {
        let endpoint = Endpoint::new(EndpointConfig {
            user_agent: concat!("b2b/", env!("CARGO_PKG_VERSION")).to_owned(),
            user: config.user.clone(),
            ..EndpointConfig::new(rand::random())
        });
        let net = NetConfig { trace: config.sip_trace.clone(), ..NetConfig::new(config.bind) };
        let stack = SipStack::bind(net, endpoint).map_err(|error| match error {
            NetError::Bind { addr, error } => UaError::Bind { addr, error },
            NetError::Trace { path, error } => UaError::Trace { path, error },
        })?;
        let local = stack.local().unwrap_or(config.bind);

        let worker = WorkerConfig {
            packet_log: config.packet_log.clone(),
            ..WorkerConfig::new(config.bind.ip(), rand::random())
        };
        let (media, worker_events) = MediaWorker::spawn(worker).map_err(|error| match error {
            SpawnError::PacketLog { path, error } => UaError::Trace { path, error },
            SpawnError::System(_) => UaError::Stopped(error.to_string()),
        })?;
        // From the worker's channel into the runtime's, until the worker ends.
        let (forward, media_events) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("media-events".into())
            .spawn(move || worker_events.iter().all(|event| forward.send(event).is_ok()))
            .map_err(|error| UaError::Stopped(format!("no thread for media events: {error}")))?;

        let signalling = Signalling {
            stack,
            media,
            calls: Calls::default(),
            events,
            config,
            closed: MediaStats::default(),
            session_id: u64::from(rand::random::<u32>()),
            stopping: None,
        };
        Ok((signalling, local, media_events))
    }

    async fn serve(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut media_events: mpsc::UnboundedReceiver<MediaEvent>,
    ) {
        loop {
            let grace = self.stopping.as_ref().map(|(deadline, _)| *deadline);
            let step = tokio::select! {
                event = self.stack.next_event() => Step::Sip(event),
                event = media_events.recv() => Step::Media(event),
                command = commands.recv(), if grace.is_none() => Step::Command(command),
                () = until(grace) => Step::GraceOver,
            };
            match step {
                Step::Sip(event) => self.sip_event(event),
                Step::Media(Some(event)) => self.media_event(event),
                Step::Media(None) => {
                    let message = "the media worker has stopped".to_owned();
                    let _ = self.events.send(UaEvent::Fatal { message });
                    break;
                }
                Step::Command(Some(command)) => self.command(command),
                // The UA was dropped: say goodbye, wait for nobody.
                Step::Command(None) => self.stop(Duration::ZERO, None),
                Step::GraceOver => break,
            }
            if self.stopping.is_some() && self.calls.is_empty() {
                break;
            }
        }
        self.end(media_events).await;
    }

    fn sip_event(&mut self, event: Event) {
        match event {
            Event::Incoming { usage, request, flow } => self.incoming(usage, &request, &flow),
            Event::Usage { usage, event } => {
                let Some(id) = self.calls.of_usage(usage) else { return };
                let Some(call) = self.calls.get(id) else { return };
                call.usage_over |= matches!(event, UsageEvent::Terminated { .. });
                call.leg.usage_event(event);
                self.perform(id);
            }
            Event::Request { transaction, .. } => {
                // Nothing of ours takes requests outside a call.
                let reply = Reply::status(405);
                if let Err(error) = self.stack.endpoint().respond(Instant::now(), transaction, reply) {
                    tracing::debug!("a request outside calls: {error}");
                }
            }
        }
    }

    fn incoming(&mut self, usage: UsageId, request: &Request, flow: &Flow) {
        let mut leg = Leg::inbound(self.local_media(flow.local.ip()), request);
        // A leg that refuses an impossible offer is nothing the role decides on.
        let told = leg.is_waiting() && self.stopping.is_none();
        if self.stopping.is_some() {
            let _ = leg.reject(503, "");
        }
        let id = self.calls.insert(Call {
            leg,
            usage,
            session: None,
            audio: None,
            early_audio: true,
            told,
            ended: None,
            usage_over: false,
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let event = UaEvent::Incoming {
            call: id,
            from: request.from().map(|from| text(from.uri.raw)).unwrap_or_default(),
            to: request.to().map(|to| text(to.uri.raw)).unwrap_or_default(),
            sip_call_id: request.call_id().map(text).unwrap_or_default(),
        };
        self.tell(told, event);
        self.perform(id);
    }

    fn media_event(&mut self, event: MediaEvent) {
        let news = |calls: &Calls, session: SessionId, news: fn(CallId) -> UaEvent| {
            calls.of_session(session).map(news)
        };
        let told = match event {
            MediaEvent::Started { id } => news(&self.calls, id, |call| UaEvent::MediaStarted { call }),
            MediaEvent::SourceEnded { id } => news(&self.calls, id, |call| UaEvent::SourceEnded { call }),
            MediaEvent::Digit { id, digit, duration_ms } => {
                self.calls.of_session(id).map(|call| UaEvent::Digit { call, digit, duration_ms })
            }
            MediaEvent::RtpTimeout { id } => {
                if let Some(id) = self.calls.of_session(id)
                    && let Some(call) = self.calls.get(id)
                {
                    call.leg.rtp_timeout();
                    self.perform(id);
                }
                None
            }
            MediaEvent::Closed { id, stats } => {
                stats::add(&mut self.closed, &stats);
                if let Some(call) = self.calls.session_closed(id) {
                    self.finish(call);
                }
                None
            }
        };
        if let Some(event) = told {
            self.tell(true, event);
        }
    }

    fn command(&mut self, command: Command) {
        // A caller that has stopped waiting needs no answer.
        match command {
            Command::Dial { target, audio, reply } => drop(reply.send(self.dial(&target, audio))),
            Command::Answer { call, audio, reply } => drop(reply.send(self.answer(call, audio))),
            Command::Reject { call, status, reason, reply } => {
                let refused = self.with_leg(call, |leg| leg.reject(status, &reason).is_ok());
                let _ = reply.send(if refused == Some(true) { Ok(()) } else { Err(UaError::NoSuchCall) });
            }
            Command::Hangup { call, reply } => {
                let done = self.with_leg(call, Leg::hangup);
                let _ = reply.send(done.ok_or(UaError::NoSuchCall));
            }
            Command::Stats { reply } => drop(reply.send(self.stats())),
            Command::Shutdown { grace, reply } => self.stop(grace, Some(reply)),
        }
    }

    fn with_leg<T>(&mut self, id: CallId, act: impl FnOnce(&mut Leg) -> T) -> Option<T> {
        let result = self.calls.get(id).filter(|call| call.told).map(|call| act(&mut call.leg));
        self.perform(id);
        result
    }

    fn dial(&mut self, target: &str, audio: Audio) -> Result<CallId, UaError> {
        let bad = |reason: String| UaError::Target { uri: target.to_owned(), reason };
        let uri = Uri::parse(target.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if uri.scheme != Scheme::Sip {
            return Err(bad("only sip: can be dialled".to_owned()));
        }
        let host = uri.host.and_then(|host| host.ip());
        if host.is_some_and(|ip| ip.is_unspecified()) {
            return Err(bad("a wildcard address reaches nobody".to_owned()));
        }
        if let Some(ip) = host
            && ip.is_ipv4() != self.config.bind.is_ipv4()
        {
            return Err(bad(format!("its address family is not that of our bind {}", self.config.bind)));
        }
        let ip = host.and_then(|ip| local_addr::towards(ip).ok());
        let (session, rtp) = self.open_session()?;
        let mut local = self.local_media(ip.unwrap_or_else(|| local_addr::concrete(self.config.bind).ip()));
        local.rtp.set_port(rtp.port());
        let (leg, offer) = Leg::outbound(local);
        let invite = Invite {
            target: Bytes::copy_from_slice(target.as_bytes()),
            body: Some(Body::sdp(offer)),
            ..Invite::default()
        };
        let usage = self.stack.endpoint().invite(Instant::now(), invite).map_err(|error| {
            self.media.close(session);
            bad(error.to_string())
        })?;
        Ok(self.calls.insert(Call {
            leg,
            usage,
            session: Some(session),
            audio: Some(audio),
            early_audio: false,
            told: true,
            ended: None,
            usage_over: false,
        }))
    }

    fn answer(&mut self, id: CallId, audio: Audio) -> Result<(), UaError> {
        let waiting = self.calls.get(id).is_some_and(|call| call.told && call.leg.is_waiting());
        if !waiting {
            return Err(UaError::NoSuchCall);
        }
        let opened = self.open_session();
        let Some(call) = self.calls.get(id) else { return Err(UaError::NoSuchCall) };
        let result = match opened {
            Ok((session, rtp)) => {
                call.audio = Some(audio);
                let answered = call.leg.answer(rtp.port());
                self.calls.set_session(id, session);
                answered.map_err(|_| {
                    self.media.close(session);
                    UaError::NoSuchCall
                })
            }
            Err(error) => {
                let _ = call.leg.reject(503, "No Media Port");
                Err(error)
            }
        };
        self.perform(id);
        result
    }

    fn open_session(&self) -> Result<(SessionId, SocketAddr), UaError> {
        let impairment = self.config.impairment.map(|it| ImpairConfig {
            loss_pct: it.loss_pct,
            jitter_ms: it.jitter_ms,
            reorder_pct: it.reorder_pct,
            dup_pct: it.dup_pct,
            seed: it.seed,
        });
        let session = SessionConfig {
            jitter_ms: self.config.jitter_ms,
            impairment,
            rtp_timeout: Some(self.config.rtp_timeout),
        };
        self.media.open(session).map_err(|error| UaError::Media(error.to_string()))
    }

    /// Our side of a new leg, its port not yet known. `towards_peer` is our
    /// address as the peer sees it; a concrete bind counts more.
    fn local_media(&mut self, towards_peer: IpAddr) -> LocalMedia {
        self.session_id += 1;
        let bound = self.config.bind.ip();
        let ip = if bound.is_unspecified() { towards_peer } else { bound };
        let codec = |codec: &Codec| match codec {
            Codec::Pcmu => MediaCodec::Pcmu,
            Codec::Pcma => MediaCodec::Pcma,
        };
        LocalMedia {
            rtp: SocketAddr::new(ip, 0),
            codecs: self.config.codecs.iter().map(codec).collect(),
            ptime_ms: self.config.ptime_ms,
            session_id: self.session_id,
        }
    }

    fn stats(&self) -> MediaStats {
        let mut total = self.closed;
        for session in self.calls.iter().filter_map(|call| call.session) {
            if let Some(stats) = self.media.stats(session) {
                stats::add(&mut total, &stats);
            }
        }
        total.in_call = self.calls.iter().any(Call::is_up);
        total
    }

    /// Hangs everything up.
    fn stop(&mut self, grace: Duration, reply: Option<Sender<()>>) {
        self.stopping = Some((tokio::time::Instant::now() + grace, reply));
        for id in self.calls.ids() {
            if let Some(call) = self.calls.get(id) {
                call.leg.hangup();
            }
            self.perform(id);
        }
    }

    /// Nobody is waited for any more: tells the end of what is left, and closes.
    async fn end(mut self, mut media_events: mpsc::UnboundedReceiver<MediaEvent>) {
        for id in self.calls.ids() {
            if let Some(call) = self.calls.get(id) {
                let cause =
                    if call.is_up() { TerminationCause::ByeUnanswered } else { TerminationCause::Cancelled };
                call.leg.abandon(cause);
            }
            self.perform(id);
        }
        self.media.shutdown();
        let closing = async {
            while let Some(event) = media_events.recv().await {
                self.media_event(event);
            }
        };
        if tokio::time::timeout(MEDIA_PATIENCE, closing).await.is_err() {
            tracing::warn!("the media worker did not say that it has ended");
        }
        self.stack.close(CLOSE_PATIENCE).await;
        if let Some((_, Some(reply))) = self.stopping {
            let _ = reply.send(());
        }
    }
}

/// Never, without a deadline.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
