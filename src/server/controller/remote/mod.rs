//! Media carried by media servers (`b2b --role media`).
//!
//! - `wire`: what passes, whichever way it travels
//! - `verbs`: what is asked of the controller, for a server; and its answers
//! - `holdings`: what each server holds, and which of them takes new calls
//! - `table`: the same, shared: verbs on their way there, answers and events on theirs back
//! - `link`: the session with one server
//! - `door`: one way to a server, of which there are `rest` and `grpc`
//!
//! Requests leave in the order of the calls, several in one where they are quick. New calls
//! stay with the server that took the last one; when it dies or is full they go to the first
//! of the list that takes them. Legs of a call are on one server. When a server dies, its
//! endpoints fail and no others.

mod door;
pub mod grpc;
mod holdings;
mod link;
mod rest;
mod table;
mod verbs;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use tokio::sync::{mpsc, oneshot};

use b2b_base::util::secret::SecretText;
use b2b_base::util::vital::Vital;
use b2b_call::controller::{Capabilities, Capability, EmbeddedController, MediaEvent, MusicClass};
use table::Table;

/// How a media server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Rest,
    Grpc,
}

/// A media server.
#[derive(Debug, Clone)]
pub struct RemoteServer {
    pub transport: Transport,
    /// Its `--listen`: host and port.
    pub authority: String,
    pub token: Option<SecretText>,
}

/// What [`RemoteController::start`] needs.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// In the order in which they are to be used.
    pub servers: Vec<RemoteServer>,
    /// Music on hold, by name: the files are the media servers'.
    pub music: Vec<MusicClass>,
}

/// A media server, as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// Host and port.
    pub authority: String,
    /// There is a session with it.
    pub up: bool,
    /// Why there is none; empty: there is.
    pub trouble: String,
    /// What it said last of what it carries; nothing as long as there is no session.
    pub load: wire::Load,
    /// Endpoints of ours that it holds.
    pub endpoints: usize,
    /// New calls go there.
    pub current: bool,
}

/// See the module's text.
pub struct RemoteController {
    table: Arc<Table>,
    vital: Vital,
    music: HashMap<String, MusicClass>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RemoteController {
    /// What it can do, known before there is one: all that the engine can but to lead packets and
    /// samples here.
    pub const CAPABILITIES: Capabilities = EmbeddedController::CAPABILITIES
        .without(Capabilities::of(&[Capability::Capture, Capability::Streams]));

    /// Starts the thread that speaks with the servers. They need not be there yet: until one
    /// answers there are no endpoints.
    ///
    /// # Errors
    /// The system refuses a thread or a runtime.
    pub fn start(
        config: RemoteConfig,
    ) -> std::io::Result<(RemoteController, mpsc::UnboundedReceiver<MediaEvent>)> {
        let RemoteConfig { servers, music } = config;
        let (told, events) = mpsc::unbounded_channel();
        let names = servers.iter().map(|it| it.authority.clone()).collect();
        let (table, asked) = Table::new(names, told);
        let table = Arc::new(table);
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let links = table.clone();
        let vital = Vital::default();
        let broken = vital.clone();
        let work = move || {
            runtime.block_on(async move {
                let (parting, _) = tokio::sync::watch::channel(());
                let mut running = tokio::task::JoinSet::new();
                for (index, (server, asked)) in servers.into_iter().zip(asked).enumerate() {
                    running.spawn(link::run(index, server, asked, links.clone(), parting.subscribe()));
                }
                // The sender is dropped: that is the sign, too.
                let _ = stopped.await;
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
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        };
        Ok((controller, events))
    }

    /// Endpoints that are not released.
    pub fn endpoints(&self) -> usize {
        self.table.endpoints()
    }

    /// Requests that wait for their answers.
    pub fn waiting(&self) -> usize {
        self.table.waiting()
    }

    /// The servers in the order of the list.
    pub fn servers(&self) -> Vec<ServerHealth> {
        self.table.servers()
    }

    /// Waits for a session with one of them, for so long; whether there is one.
    pub fn wait_for_one(&self, patience: std::time::Duration) -> bool {
        self.table.wait_for_one(patience)
    }

    /// Hears when the thread has panicked.
    pub fn panicked(&self) -> Receiver<String> {
        self.vital.panicked()
    }

    /// Ends the sessions, and so every endpoint.
    pub fn shutdown(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of remote media panicked");
        }
    }
}

impl Drop for RemoteController {
    fn drop(&mut self) {
        self.shutdown();
    }
}
