//! Voice agents over WebSocket: a party's audio as L16 frames in both directions, with marks, clear and
//! digits. Clients connect with `GET /legs/{leg}/audio`, or are called as `voice_agent/<name>`; the protocol
//! is the same. `docs/voice-agents.md` is its manual.
//!
//! - `message`: the JSON messages; `coding`: audio in messages; `session`: what a client may send when, without I/O
//! - `dialect`: the protocols; `wire`: what carries their messages; `webhook`: the address of an agent from a web server
//! - `exchange`: one party's stream, and what is done with a client's messages; `headers`: fields for an INVITE;
//!   `account`: what of it is published
//! - `talk`: one client and one stream; `many`: an agent with several calls on one connection
//! - `client`: agents that we connect to; `awaited`: those that connect to us; `pulse`: detection of a lost peer
//!
//! All of it runs on threads of its own, with a runtime each: neither the calls nor the control interface
//! share theirs with a thousand sockets.

mod account;
mod awaited;
pub mod client;
mod coding;
pub mod dialect;
mod exchange;
mod headers;
mod many;
pub mod message;
mod pulse;
pub mod session;
pub mod talk;
pub mod webhook;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::ServerConfig;
use awaited::Awaited;
use b2b_app::Applications;
use b2b_app::voice_agent::{AgentSeats, Reach, VoiceAgent};
use b2b_base::util::lines::visible;
use exchange::Exchange;
use message::Told;
use session::{Fault, Mistake};
use talk::{Conversation, Outcome};
use wire::Wire;

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// Maximum threads.
const THREADS: usize = 4;
/// Names looked up at the same time by each of them: a resolver that does not answer holds a thread for each.
const LOOKUPS: usize = 16;
/// Maximum characters of a mistake in words.
const SAID: usize = 300;

/// Talks, and the runtimes of their threads. A handle that can be cloned.
#[derive(Clone)]
pub struct VoiceDesk(Arc<Desk>);

struct Desk {
    handles: Vec<Handle>,
    next: AtomicUsize,
    open: AtomicUsize,
    /// Connections that carry several calls.
    connections: AtomicUsize,
    /// By index of the word in [`VoiceDesk::ends`].
    ends: [AtomicU64; Outcome::WORDS.len() + Fault::WORDS.len()],
    agents: [AtomicU64; 2],
    /// By index of the word in [`Mistake::WORDS`].
    mistakes: [AtomicU64; Mistake::WORDS.len()],
    seats: AgentSeats,
    awaited: Awaited,
}

/// The threads; dropping this ends them and every talk with them.
pub struct VoiceThreads(Vec<(oneshot::Sender<()>, JoinHandle<()>)>);

impl VoiceDesk {
    /// Starts the threads: half as many as there are cores.
    ///
    /// # Errors
    /// If the system refuses one.
    pub fn start() -> std::io::Result<(VoiceDesk, VoiceThreads)> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for n in 0..(cores / 2).clamp(1, THREADS) {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().max_blocking_threads(LOOKUPS).build()?;
            handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel::<()>();
            let run = move || {
                let _ = runtime.block_on(stopped);
                // A resolver that does not answer holds up no end.
                runtime.shutdown_background();
            };
            threads.push((stop, std::thread::Builder::new().name(format!("voice-{n}")).spawn(run)?));
        }
        let desk = Desk {
            handles,
            next: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            ends: [const { AtomicU64::new(0) }; _],
            agents: [const { AtomicU64::new(0) }; 2],
            mistakes: [const { AtomicU64::new(0) }; _],
            seats: AgentSeats::default(),
            awaited: Awaited::default(),
        };
        Ok((VoiceDesk(Arc::new(desk)), VoiceThreads(threads)))
    }

    /// Registers the agents of a configuration by their names.
    pub fn enlist(apps: &Applications, config: &ServerConfig, reach: &Arc<dyn Reach>) {
        for agent in &config.apps.voice_agents {
            apps.add(Arc::new(VoiceAgent::new(agent.clone(), reach.clone())));
        }
    }

    /// The runtime of the next thread, in rotation.
    pub fn handle(&self) -> Handle {
        let desk = &self.0;
        let n = desk.next.fetch_add(1, Ordering::Relaxed) % desk.handles.len();
        desk.handles[n].clone()
    }

    /// Runs a talk on the runtime that the socket belongs to; returns when it has ended, which the client is
    /// told meanwhile. `None`: the server stops.
    pub async fn talk(
        &self,
        handle: &Handle,
        wire: Wire,
        conversation: Conversation,
        stall: Duration,
    ) -> Option<Outcome> {
        let Conversation { dialect, start, stream, party, consulting } = conversation;
        let who = (party, consulting);
        let exchange = Exchange::new(&start, dialect.allowance(), stream, who, Place::take(self));
        let (ended, end) = oneshot::channel();
        handle.spawn(talk::talk(wire, dialect, start, exchange, stall, ended));
        end.await.ok()
    }

    /// Number of talks in progress.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Number of connections to agents that carry several calls.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Numbers of ended talks, by word.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let words = Outcome::WORDS.iter().chain(Fault::WORDS).copied();
        words.zip(&self.0.ends).map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// Numbers of clients' mistakes, by word.
    pub fn mistakes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Mistake::WORDS.iter().zip(&self.0.mistakes).map(|(word, n)| (*word, n.load(Ordering::Relaxed)))
    }

    fn count_end(&self, word: &str) {
        let place = Outcome::WORDS.iter().chain(Fault::WORDS).copied().position(|known| known == word);
        if let Some(count) = place.and_then(|place| self.0.ends.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The seats of all agents.
    pub fn seats(&self) -> &AgentSeats {
        &self.0.seats
    }

    /// The callers whose agents are to connect to us.
    pub fn awaited(&self) -> &Awaited {
        &self.0.awaited
    }

    /// Numbers of agents that were and were not reached.
    pub fn agents(&self) -> [(&'static str, u64); 2] {
        let [failed, connected] = &self.0.agents;
        [("connected", connected.load(Ordering::Relaxed)), ("failed", failed.load(Ordering::Relaxed))]
    }

    fn count_agent(&self, reached: bool) {
        self.0.agents[usize::from(reached)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the mistakes of a client; the first of each kind is logged, and told.
struct Mistakes {
    desk: VoiceDesk,
    who: String,
    known: [bool; Mistake::WORDS.len()],
}

impl Mistakes {
    fn of(desk: &VoiceDesk, who: String) -> Mistakes {
        Mistakes { desk: desk.clone(), who, known: Default::default() }
    }

    /// The message for the client, if it is the first mistake of its kind.
    fn note(&mut self, mistake: &Mistake) -> Option<Told> {
        let reason = mistake.word();
        let kind = Mistake::WORDS.iter().position(|word| *word == reason)?;
        self.desk.0.mistakes[kind].fetch_add(1, Ordering::Relaxed);
        if std::mem::replace(&mut self.known[kind], true) {
            return None;
        }
        let error: String = visible(&mistake.to_string()).chars().take(SAID).collect();
        tracing::warn!("{}: {error}; the first of its kind, see voice-agents.md", self.who);
        Some(Told::Error { reason, error })
    }
}

/// Counts a talk, until it is over.
pub struct Place {
    desk: VoiceDesk,
}

impl Place {
    fn take(desk: &VoiceDesk) -> Place {
        desk.0.open.fetch_add(1, Ordering::Relaxed);
        Place { desk: desk.clone() }
    }

    fn ends(&self, outcome: &Outcome) {
        self.desk.count_end(outcome.word());
    }
}

/// Counts a connection, until it is closed.
pub struct Open {
    desk: VoiceDesk,
}

impl Open {
    fn take(desk: &VoiceDesk) -> Open {
        desk.0.connections.fetch_add(1, Ordering::Relaxed);
        Open { desk: desk.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.desk.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for VoiceThreads {
    fn drop(&mut self) {
        for (stop, thread) in self.0.drain(..) {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("a thread of voice agents panicked");
            }
        }
    }
}
