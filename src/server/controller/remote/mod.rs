//! Media carried by media servers (`b2b --role media`).
//!
//! - `wire`: the messages, independent of the transport
//! - `verbs`: verbs of the controller, prepared for a server, and their results
//! - `holdings`: what each server holds, and which one takes new calls
//! - `table`: the same, shared: verbs to the servers, results and events from them
//! - `link`: the session with one server
//! - `written`: endpoints as octets, for the next process
//! - `door`: a connection to a server, by `rest` or `grpc`
//!
//! Requests are sent in the order of the calls, several in one message where they come in quick succession.
//! New calls stay with the server of the last one; when it dies or is full, they go to the first of the list
//! that accepts them. All legs of a call are on one server. When a server dies, only its endpoints fail.

mod door;
pub mod grpc;
mod holdings;
mod link;
mod rest;
mod table;
mod verbs;
pub mod wire;
mod written;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::sync::{mpsc, oneshot};

use b2b_base::util::secret::SecretText;
use b2b_base::util::vital::Vital;
use b2b_call::controller::{Capabilities, Capability, EmbeddedController, MediaEvent, MusicClass};
use table::Table;

/// The protocol for a media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Rest,
    Grpc,
}

/// A media server.
#[derive(Debug, Clone)]
pub struct RemoteServer {
    pub transport: Transport,
    /// Host and port of its `--listen`.
    pub authority: String,
    pub token: Option<SecretText>,
}

/// What [`RemoteController::start`] needs.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// In order of preference.
    pub servers: Vec<RemoteServer>,
    /// Music on hold, by name; the files are on the media servers.
    pub music: Vec<MusicClass>,
    /// How long endpoints outlive a controller that is dropped, for the next process; `None`: they end with it.
    pub lasts: Option<Duration>,
}

/// The state of a media server, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// Host and port.
    pub authority: String,
    /// Whether there is a session with it.
    pub up: bool,
    /// Why there is no session; empty if there is one.
    pub trouble: String,
    /// The load it last reported; empty without a session.
    pub load: wire::Load,
    /// Endpoints of ours that it holds.
    pub endpoints: usize,
    /// Whether new calls go there.
    pub current: bool,
}

/// See the module documentation.
pub struct RemoteController {
    table: Arc<Table>,
    vital: Vital,
    music: HashMap<String, MusicClass>,
    begin: Mutex<Option<oneshot::Sender<()>>>,
    /// A message: sessions stay; without one they end.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    lasts: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RemoteController {
    /// The capabilities, known before it is started: all of the engine's, except passing packets and samples
    /// to this process.
    pub const CAPABILITIES: Capabilities = EmbeddedController::CAPABILITIES
        .without(Capabilities::of(&[Capability::Capture, Capability::Streams]));

    /// Starts the thread for the servers. They need not be up yet: until one responds, no endpoints can be
    /// created.
    ///
    /// # Errors
    /// If the system refuses a thread or a runtime.
    pub fn start(
        config: RemoteConfig,
    ) -> std::io::Result<(RemoteController, mpsc::UnboundedReceiver<MediaEvent>)> {
        let RemoteConfig { servers, music, lasts } = config;
        let (told, events) = mpsc::unbounded_channel();
        let names = servers.iter().map(|it| it.authority.clone()).collect();
        let (table, asked) = Table::new(names, told);
        let table = Arc::new(table);
        let (begin, begun) = oneshot::channel::<()>();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let links = table.clone();
        let vital = Vital::default();
        let broken = vital.clone();
        let work = move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = begun => {}
                    _ = &mut stopped => return,
                }
                let lease = lasts.unwrap_or_default();
                let (parting, _) = tokio::sync::watch::channel(());
                let mut running = tokio::task::JoinSet::new();
                for (index, (server, asked)) in servers.into_iter().zip(asked).enumerate() {
                    running.spawn(link::run(index, server, lease, asked, links.clone(), parting.subscribe()));
                }
                if stopped.await.is_ok() {
                    return;
                }
                drop(parting);
                while running.join_next().await.is_some() {}
            });
        };
        let run = move || {
            broken.run("remote-media", work);
        };
        let thread = std::thread::Builder::new().name("remote-media".into()).spawn(run)?;
        let controller = RemoteController {
            table,
            vital,
            music: music.into_iter().map(|class| (class.name.clone(), class)).collect(),
            begin: Mutex::new(Some(begin)),
            stop: Mutex::new(Some(stop)),
            lasts: lasts.is_some(),
            thread: Mutex::new(Some(thread)),
        };
        if lasts.is_none() {
            controller.begin();
        }
        Ok((controller, events))
    }

    /// Number of endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        self.table.endpoints()
    }

    /// Number of requests that await a response.
    pub fn waiting(&self) -> usize {
        self.table.waiting()
    }

    /// The servers in the order of the list.
    pub fn servers(&self) -> Vec<ServerHealth> {
        self.table.servers()
    }

    /// Begins the sessions, where endpoints last: after those of the process before have been restored.
    pub fn begin(&self) {
        drop(self.begin.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits for a session with one of them, and with those that have restored endpoints, at most for `patience`; returns
    /// whether there is one.
    pub fn wait_for_one(&self, patience: Duration) -> bool {
        self.table.wait_for_one(patience)
    }

    /// Receives a message when the thread panics.
    pub fn panicked(&self) -> Receiver<String> {
        self.vital.panicked()
    }

    /// Ends the sessions, and thereby every endpoint.
    pub fn shutdown(&self) {
        self.end(false);
    }

    fn end(&self, sessions_stay: bool) {
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take()
            && sessions_stay
        {
            // A thread that has panicked ends no sessions either.
            let _ = stop.send(());
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of remote media panicked");
        }
    }
}

impl Drop for RemoteController {
    fn drop(&mut self) {
        self.end(self.lasts);
    }
}
