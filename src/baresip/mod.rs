//! The baresip engine behind the [`Ua`] trait: libre and libbaresip do SIP and RTP, this crate only passes
//! audio, events and commands. Decisions and the library's pitfalls: `designs/0005-baresip.md`.
//!
//! - `ffi`: the C interface; `border`: panics, texts and addresses at that interface
//! - `library`: start and stop; `config`: the library's configuration
//! - `engine`: the calls, on the library's single thread (the reactor); `commands`: operations of roles;
//!   `events`: events of the library; `wire`: SIP messages; `outcome`: why a call ended
//! - `audio`: source, filter and socket helper; `g711`: the codecs; `clock`: the thread
//!   that serves sinks and sources; `playout`: packets to frames
//! - `received`: counters of received RTP; `packet_log`: the log of received packets
//!
//! Not supported: mouth-to-ear latency (no abs-capture-time: `captured_at` is `None`), `--impair`, a source
//! lock (`injected` stays 0), binding RTP to one address.

mod audio;
mod border;
mod clock;
mod commands;
mod config;
mod engine;
mod events;
mod ffi;
mod g711;
mod library;
mod outcome;
mod packet_log;
mod playout;
mod received;
mod wire;

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baresip::{BaresipContext, Reactor};
use crossbeam_channel::{Receiver, Sender};

use b2b_ua::{Audio, CallId, Ua, UaConfig, UaError, UaEvent, UaStats};
use border::guard;
use library::{Files, Library, Only};

/// Maximum time for a reply of the reactor, which replies at once unless it is dead.
const ANSWER: Duration = Duration::from_secs(10);

/// A UA on libbaresip. Dropping it without [`Ua::shutdown`] sends BYE to every call without waiting.
pub struct BaresipUa {
    local: SocketAddr,
    events: Receiver<UaEvent>,
    /// `None` once it is stopped.
    parts: Option<Parts>,
}

struct Parts {
    reactor: Reactor,
    /// The library's context belongs to the thread that created it, for as long as it runs.
    _context: BaresipContext,
    clock: Sender<clock::Command>,
    clock_thread: Option<JoinHandle<()>>,
    _only: Only,
}

/// Starts a UA. Call it on a thread that lives as long as the UA: the library's context belongs to that
/// thread.
///
/// # Errors
/// The address cannot be bound, a trace cannot be written, the library has another version, or the
/// configuration needs an unsupported feature.
pub fn open(config: UaConfig) -> Result<Box<dyn Ua>, UaError> {
    config::check(&config)?;
    let config = UaConfig { bind: config::one_port(config.bind)?, ..config };
    library::check_version()?;
    let only = Only::take()?;
    let files = Files::create(&config)?;
    let failed = |error: &dyn std::fmt::Display| UaError::Stopped(format!("libre does not start: {error}"));
    let context = BaresipContext::new().map_err(|error| failed(&error))?;
    let reactor = Reactor::start(&context).map_err(|error| failed(&error))?;
    let (events, event_receiver) = crossbeam_channel::unbounded();
    let (clock, clock_receiver) = crossbeam_channel::unbounded();
    let mut parts = Parts { reactor, _context: context, clock, clock_thread: None, _only: only };
    let started = parts.ask({
        let (clock, events) = (parts.clock.clone(), events.clone());
        // SAFETY: on the reactor thread, and only once, which `Only` ensures.
        move || {
            unsafe { library::start(&config, files, events, clock) }.map(|(local, library)| {
                LIBRARY.replace(Some(library));
                local
            })
        }
    });
    let local = match started.and_then(|started| started) {
        Ok(local) => local,
        Err(error) => {
            parts.end_reactor();
            return Err(error);
        }
    };
    let reactor = parts.reactor.clone();
    let look = move || drop(reactor.execute(|| guard(commands::look)));
    match clock::start(clock_receiver, events, look) {
        Ok(thread) => parts.clock_thread = Some(thread),
        Err(error) => {
            parts.stop(Duration::ZERO);
            return Err(UaError::Stopped(format!("no audio thread: {error}")));
        }
    }
    tracing::warn!(
        "libbaresip receives RTP on every address of this machine, also when SIP is bound to {}; \
         close UDP ports 20000-59999 to others, or use --engine native",
        local.ip()
    );
    Ok(Box::new(BaresipUa { local, events: event_receiver, parts: Some(parts) }))
}

thread_local! {
    /// The library, on the reactor thread.
    static LIBRARY: std::cell::RefCell<Option<Library>> = const { std::cell::RefCell::new(None) };
}

impl Parts {
    /// Runs a function on the reactor thread.
    fn ask<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> Result<T, UaError> {
        let stopped = || UaError::Stopped("its reactor is gone".into());
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.reactor.execute(move || drop(reply.send(guard(body)))).map_err(|_| stopped())?;
        answer.recv_timeout(ANSWER).map_err(|_| stopped())
    }

    /// Hangs up all calls, waits at most `grace`, and stops everything.
    fn stop(mut self, grace: Duration) {
        let until = Instant::now() + grace;
        let (idle, none_left) = crossbeam_channel::bounded(1);
        let asked = self.ask(move || {
            commands::hang_up_all();
            engine::with(|engine| engine.tell_idle(idle));
        });
        if asked.is_ok() {
            let _ = none_left.recv_deadline(until);
        }
        let ended = self.ask(|| {
            if let Some(mut library) = LIBRARY.take() {
                // SAFETY: on the reactor thread; the library was still present, so it is stopped for the
                // first time.
                unsafe { library.stop() };
            }
        });
        if let Err(error) = ended {
            tracing::error!("{error}");
        }
        let thread = self.clock_thread.take();
        self.end_reactor();
        drop(self.clock);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn end_reactor(&self) {
        if let Err(error) = self.reactor.shutdown() {
            tracing::error!("libre does not stop: {error}");
        }
    }
}

impl BaresipUa {
    fn ask<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> Result<T, UaError> + Send + 'static,
    ) -> Result<T, UaError> {
        match &self.parts {
            Some(parts) => parts.ask(body)?,
            None => Err(UaError::Stopped("it has been shut down".into())),
        }
    }
}

impl Ua for BaresipUa {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn events(&self) -> &Receiver<UaEvent> {
        &self.events
    }

    fn dial(&self, target: &str, audio: Audio) -> Result<CallId, UaError> {
        let target = config::target(target)?;
        self.ask(move || commands::dial(&target, audio))
    }

    fn answer(&self, call: CallId, audio: Audio) -> Result<(), UaError> {
        self.ask(move || commands::answer(call, audio))
    }

    fn reject(&self, call: CallId, status: u16, reason: &str) -> Result<(), UaError> {
        let reason = reason.to_owned();
        self.ask(move || commands::reject(call, status, &reason))
    }

    fn hangup(&self, call: CallId) -> Result<(), UaError> {
        self.ask(move || commands::hangup(call))
    }

    fn stats(&self) -> UaStats {
        self.ask(|| Ok(engine::with(|engine| engine.stats()).unwrap_or_default())).unwrap_or_default()
    }

    fn shutdown(mut self: Box<Self>, grace: Duration) {
        if let Some(parts) = self.parts.take() {
            parts.stop(grace);
        }
    }
}

impl Drop for BaresipUa {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.stop(Duration::ZERO);
        }
    }
}
