//! The server from start to end: assembly, reload, drain.
//!
//! - `process`: signals, start-up messages, exit codes

mod process;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;
use nix::sys::signal::Signal;

use super::admission::{AdmissionParts, ServerAdmission};
use super::board::GatewayBoard;
use super::call_figures::CallFigures;
use super::calls::{EmergencyFirst, Routes};
use super::cdr_file::CdrFile;
use super::control::remote::{self, Remotes};
use super::control::{self, Control};
use super::counters::{AdmissionCounters, Counters};
use super::descriptors;
use super::ended_calls::EndedCallStore;
use super::hep::{Exporter, HepCounters};
use super::http::alarms::Alarms;
use super::http::{Api, HttpServer, kept};
use super::http_client::{HttpClient, HttpClientThreads};
use super::in_force::{self, Current, PartyTargets, Settings, SharedRegistrar};
use super::log::Log;
use super::media::Media;
use super::meeting_places::MeetingPlaces;
use super::notifier::follow;
use super::notifier::state::NotifierState;
use super::own::Own;
use super::recordings::Keeper;
use super::records;
use super::survive::{CallKeeper, Keeping};
use super::voice::client::WebSocketAgents;
use super::voice::{VoiceDesk, VoiceThreads};
use super::{certificates, console, queues, seen, settings, signalling, survive, transports};
use crate::config::capacity::Capacity;
use crate::config::parties::Credentials;
use crate::config::{ServerConfig, Store, User};
use crate::registrar::{Aor, LocationStore, MemoryStore, Registrar, SavedAgents, SqliteStore};
use b2b_app::queue::{AgentCodes, QueueDesk};
use b2b_app::voice_agent::Reach;
use b2b_base::util::exit::{Exit, Failure};
use b2b_call::CallId;
use b2b_call::bus::{Crowd, EventBus};
use b2b_call::event::Event;
use b2b_call::handler::ApplicationHandler;
use b2b_call::service::CallService;
use b2b_call::switch::driver::{Jobs, SwitchThread};
use b2b_call::switch::{Switch, SwitchConfig, SwitchParts, Turn};
use b2b_sip::endpoint::Transport;
use b2b_sip::known::KnownSources;
use b2b_sip::net::{CertifiedPeers, NetConfig, Passing, Tls};
pub use process::{run, signals};

/// Maximum events that a slow subscriber may lag behind.
const EVENTS: usize = 16_384;
/// Maximum time for BYEs once calls are ended.
const PARTING: Duration = Duration::from_secs(4);
/// Interval at which the drain is checked.
const LOOK: Duration = Duration::from_millis(50);

/// A running server.
pub struct Server {
    /// Dropped before the switch, so that its requests end first.
    http: Option<HttpServer>,
    own: Own,
    switch: SwitchThread,
    media: Media,
    admission: AdmissionParts,
    control: Control,
    remotes: Remotes,
    queues: QueueDesk,
    places: MeetingPlaces,
    agents: Arc<dyn Reach>,
    web: HttpClient,
    cdr_file: CdrFile,
    ended_calls: Option<EndedCallStore>,
    log: Log,
    console: JoinHandle<()>,
    /// Writes the calls that outlive the process.
    call_keeper: Option<Keeping>,
    /// Dropped after the switch, whose messages it sends.
    _exporter: Option<Exporter>,
    /// Dropped after everything that may record.
    _keeper: Option<Keeper>,
    tls: Tls,
    /// Dropped last: the others' requests to these end first.
    _voices: VoiceThreads,
    _web: HttpClientThreads,
}

impl Server {
    /// Binds, opens the store, and takes calls.
    ///
    /// # Errors
    /// Why it cannot start, with the exit code in a [`Failure`].
    pub fn start(config: ServerConfig) -> anyhow::Result<Server> {
        Server::start_with(config, Own::default())
    }

    /// The same with a program's own applications, which stay over [`Server::reload`]. A configuration that
    /// names them is read by [`load_with`](crate::config::load_with).
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(config: ServerConfig, own: Own) -> anyhow::Result<Server> {
        Server::start_after(config, own, Passing::default())
    }

    /// The same with sockets of a process before.
    fn start_after(config: ServerConfig, own: Own, passing: Passing) -> anyhow::Result<Server> {
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let sip = |why: String| Failure::new(Exit::Sip, why);
        let now = Instant::now();
        // First: sound flows again before all else is there.
        let (media, media_events) = Media::start(&config).map_err(sip)?;
        let begun = match &config.survive {
            Some(settings) => survive::begin(settings, &media, config.limits.ban),
            None => {
                media.settle();
                Ok(survive::Begun::default())
            }
        };
        let survive::Begun { keeper: call_keeper, surviving, refused_call, refused_source } =
            begun.map_err(|error| usage(error.to_string()))?;
        let (store, saved_agents, pins): (Box<dyn LocationStore>, _, _) = match &config.server.store {
            Store::Memory => (Box::new(MemoryStore::new()), SavedAgents::default(), None),
            Store::Sqlite(path) => {
                let store = SqliteStore::open(path);
                let store = store.map_err(|error| usage(error.to_string()))?;
                let (agents, pins) = (store.agents(), store.pins());
                (Box::new(store), agents, Some(pins))
            }
        };
        let registrar: SharedRegistrar =
            Arc::new(Mutex::new(Registrar::new(settings::registrar(&config), store, now)));
        let board = GatewayBoard::default();
        let in_force = Settings::new(config.clone(), registrar.clone(), board.clone())
            .map_err(|error| usage(error.to_string()))?;
        let desk_of_queues = QueueDesk::new(queues::resumed(queues::settings(&config), &saved_agents));
        own.enlist(&in_force);
        queues::enlist(&in_force.apps, &desk_of_queues);
        let places = MeetingPlaces::new(now, SystemTime::now(), pins);
        places.enlist(&in_force.apps, &config).map_err(usage)?;
        let tls = certificates::load(&config).map_err(|error| usage(error.to_string()))?;
        warn_of_certificates(&tls);
        let thread = |error| sip(format!("cannot start a thread: {error}"));
        let (voices, voice_threads) = VoiceDesk::start().map_err(thread)?;
        let (web, web_threads) = HttpClient::new(tls.clone());
        web.enlist(&in_force.apps, &config);
        let agents: Arc<dyn Reach> = Arc::new(WebSocketAgents::new(voices.clone(), tls.clone(), web.clone()));
        VoiceDesk::enlist(&in_force.apps, &config, &agents);
        let current = Current::new(in_force);
        let first_seq =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let bus = EventBus::new(EVENTS, first_seq as u64);
        let console = console::start(bus.subscribe()).map_err(thread)?;

        let keeper = Keeper::start(&config.recording).map_err(usage)?;
        let cdr_file =
            CdrFile::open(config.server.cdr.as_deref()).map_err(|error| usage(error.to_string()))?;
        let call_figures = CallFigures::default();
        let ended_calls = match config.ended_calls.calls {
            0 => None,
            _ => Some(
                EndedCallStore::open(config.ended_calls.clone(), SystemTime::now())
                    .map_err(|it| usage(it.to_string()))?,
            ),
        };
        let last_call = ended_calls.as_ref().and_then(EndedCallStore::last_call);
        let last_call = last_call.unwrap_or_else(|| CallId::of_time(SystemTime::now()));
        let admission = AdmissionParts {
            current: current.clone(),
            registrar: registrar.clone(),
            bus: bus.clone(),
            board: board.clone(),
            counters: Counters::default(),
            notifier: NotifierState::default(),
            known: KnownSources::default(),
            certified: CertifiedPeers::default(),
        };
        let mut own_admission =
            ServerAdmission::new(admission.clone(), rand::random(), now, SystemTime::now());
        refused_source.into_iter().for_each(|source| own_admission.has_broken(source));
        let parts = SwitchParts {
            controller: media.controller(),
            resolver: Arc::new(PartyTargets(current.clone())),
            handlers: handlers(&own, &desk_of_queues, &current),
            admission: Box::new(own_admission),
            bus: Some(bus.clone()),
            records: records::sink(&cdr_file, ended_calls.as_ref(), &call_figures),
        };
        let log = Log::default();
        let sources = (admission.known.clone(), admission.certified.clone());
        let (seen, seen_as) = std::sync::mpsc::channel();
        let net = transports::net(&config, tls.clone(), sources, &log.trace, seen);
        let stepping = surviving.stepping.clone();
        let refused_calls = refused_call.into_iter().collect();
        let net = NetConfig { passing, stepping, refused_calls, ..net };
        let switch = SwitchThread::start(
            net,
            signalling::endpoint(&config, &admission.known),
            SwitchConfig { resumes: config.survive.is_some(), ..signalling::switch(&config, last_call) },
            parts,
            media_events,
        )
        .map_err(|error| sip(error.to_string()))?;
        current.listens(switch.sockets().to_vec());
        for (transport, address) in switch.listening() {
            let transport = transport.as_str().to_ascii_lowercase();
            let event = Event::Listening { transport, address: *address };
            bus.publish(SystemTime::now(), event);
        }
        if config.stun_servers().next().is_some() {
            seen::follow(seen_as, media.clone(), admission.clone(), switch.jobs()).map_err(thread)?;
        }
        let hep_counters = HepCounters::default();
        let exporter = match &config.hep {
            Some(hep) => {
                let (exporter, mirror) = Exporter::start(hep, &hep_counters).map_err(usage)?;
                switch.jobs().run_blocking(|switch, _, _| switch.mirror(mirror));
                Some(exporter)
            }
            None => None,
        };
        queues::start(&desk_of_queues, &admission, &switch.service(), saved_agents);
        follow::start(&admission, &places, &desk_of_queues, switch.jobs(), &switch.service());
        let control = Control::new(control::Parts {
            service: switch.service(),
            bus: bus.clone(),
            current: current.clone(),
            queues: desk_of_queues.clone(),
            places: places.clone(),
            clock: SystemTime::now,
            kept: call_keeper.as_ref().map(CallKeeper::commands).unwrap_or_default(),
        });
        let remotes = Remotes::new();
        remote::enlist(&current.get().apps, &config, &remotes, &control);
        let api = Api {
            control: control.clone(),
            remotes: remotes.clone(),
            jobs: switch.jobs(),
            service: switch.service(),
            media: media.clone(),
            admission: admission.clone(),
            crowd: Crowd::new(bus.clone()),
            cdr_file: cdr_file.clone(),
            ended_calls: ended_calls.clone(),
            tls: tls.clone(),
            call_figures,
            queues: desk_of_queues.clone(),
            voices,
            places: places.clone(),
            alarms: Alarms::default(),
            hep: hep_counters,
            survive: call_keeper.as_ref().map(CallKeeper::figures).unwrap_or_default(),
            journals: config.log.call_journals,
            refused: Default::default(),
            web: web.clone(),
            started: now,
        };
        // After the media threads, so that its descriptors are not in their tables.
        let http = config.http.as_ref().map(|http| HttpServer::start(http, api)).transpose().map_err(sip)?;
        // Last: where the start fails, the calls stay for another one.
        let figures = call_keeper.as_ref().map(CallKeeper::figures);
        let call_keeper = call_keeper.map(CallKeeper::follow).transpose().map_err(thread)?;
        let desk = desk_of_queues.clone();
        switch.jobs().go_on(surviving, move |began, calls| {
            desk.go_on(calls);
            figures.into_iter().for_each(|figures| figures.has_taken_up(began));
        });
        Ok(Server {
            call_keeper,
            http,
            own,
            switch,
            media,
            admission,
            control,
            remotes,
            queues: desk_of_queues,
            places,
            agents,
            web,
            cdr_file,
            ended_calls,
            log,
            console,
            _exporter: exporter,
            _keeper: keeper,
            tls,
            _voices: voice_threads,
            _web: web_threads,
        })
    }

    /// The bound SIP addresses, with the actual ports.
    pub fn listening(&self) -> &[(Transport, SocketAddr)] {
        self.switch.listening()
    }

    /// The address of the control interface, if it is on.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::local)
    }

    /// The number of calls that fit.
    pub fn capacity(&self) -> Capacity {
        descriptors::capacity(&self.admission.current.get().config).with_tables(self.media.tables())
    }

    /// Runs jobs on the calls' thread: snapshots, counters.
    pub fn jobs(&self) -> Jobs {
        self.switch.jobs()
    }

    /// The handle for call control.
    pub fn service(&self) -> CallService {
        self.switch.service()
    }

    /// The bus of all events.
    pub fn bus(&self) -> &EventBus {
        &self.admission.bus
    }

    /// The state of the gateways, and the channels in use.
    pub fn board(&self) -> &GatewayBoard {
        &self.admission.board
    }

    /// The counters of admission control.
    pub fn counters(&self) -> AdmissionCounters {
        self.admission.counters.get()
    }

    /// Replaces the configuration. Calls that are up keep what they have; listeners, media and the store stay
    /// as they are.
    ///
    /// # Errors
    /// If it is inconsistent; the old one stays.
    pub fn reload(&self, config: ServerConfig) -> Result<(), String> {
        let AdmissionParts { registrar, board, current, .. } = &self.admission;
        let (limits, files) = (config.limits.clone(), certificates::files(&config));
        let of_queues = queues::settings(&config);
        let in_force =
            Settings::new(config, registrar.clone(), board.clone()).map_err(|error| error.to_string())?;
        let log = self.log.change(&current.get().config.log, &in_force.config.log)?;
        if self.tls.reload(files).map_err(|error| error.to_string())? {
            warn_of_certificates(&self.tls);
        }
        self.own.enlist(&in_force);
        self.places.enlist(&in_force.apps, &in_force.config)?;
        remote::enlist(&in_force.apps, &in_force.config, &self.remotes, &self.control);
        self.queues.reload(of_queues);
        queues::enlist(&in_force.apps, &self.queues);
        VoiceDesk::enlist(&in_force.apps, &in_force.config, &self.agents);
        self.web.enlist(&in_force.apps, &in_force.config);
        let stale = credentials_gone(&current.get(), &in_force.config);
        current.set(in_force);
        stale.iter().for_each(|aor| in_force::registrar(registrar).remove(aor));
        self.log.set(log);
        let reconfigure = move |switch: &mut Switch, t: &mut Turn<'_>, _| {
            switch.reconfigure(t, limits.calls, limits.duration);
        };
        self.switch.jobs().run_blocking(reconfigure);
        Ok(())
    }

    /// Checks for new certificates; connections that are up stay.
    fn renew_certificates(&self) {
        let before = self.tls.refused();
        match self.tls.reload(certificates::files(&self.admission.current.get().config)) {
            Ok(true) => {
                tracing::info!("the certificate has changed: new connections use the new one");
                warn_of_certificates(&self.tls);
            }
            Ok(false) => {}
            // The alarm stands meanwhile.
            Err(error) if before.is_some_and(|before| before.reason == error.to_string()) => {}
            Err(error) => {
                tracing::error!("the new certificate is invalid, the old one stays in use: {error}")
            }
        }
    }

    /// Whether the calls go on in the next process, if this one ends at once.
    pub fn survives(&self) -> bool {
        self.call_keeper.is_some()
    }

    /// Ends at once: calls go on in the next process, and nobody is told anything. What has been recorded of ended ones
    /// is written.
    pub fn leave(&self) {
        self.cdr_file.finish(PARTING);
        if self.ended_calls.as_ref().is_some_and(|store| !store.finish(PARTING)) {
            tracing::error!("the last ended calls were not written in time");
        }
    }

    /// Takes no new calls, lets those that are up continue for at most `patience`, then ends them. A signal
    /// on `hurry` ends the wait.
    pub fn stop(self, patience: Duration, hurry: &Receiver<Signal>) {
        let jobs = self.switch.jobs();
        let calls = jobs.run_blocking(|switch, _, _| {
            switch.drain();
            switch.holdings().calls
        });
        if let Some(calls) = calls.filter(|calls| *calls > 0) {
            let most = patience.as_secs();
            tracing::info!(
                "stopping: {calls} calls may continue for {most} s; a second SIGTERM or Ctrl-C ends them at once"
            );
            self.admission.bus.publish(SystemTime::now(), Event::Draining { calls });
        }
        let without_calls = |switch: &Switch| switch.holdings().calls == 0 && switch.holdings().legs == 0;
        wait(&jobs, patience, hurry, without_calls);
        jobs.run_blocking(|switch, t, _| switch.hang_up_all(t));
        wait(&jobs, PARTING, hurry, Switch::is_idle);
        let held = jobs.run_blocking(|switch, t, _| {
            let held = (switch.holdings(), switch.counters());
            switch.give_up_all(t);
            held
        });
        let store = self.ended_calls.as_ref().filter(|store| store.outlives());
        let accounts = store.and_then(|_| jobs.run_blocking(|switch, t, _| kept::accounts(switch, t)));
        self.control.stop();
        // Waits for a turn, so that subscribers hear how the calls ended.
        jobs.run_blocking(|_, _, _| {});
        drop(self.http);
        self.switch.stop();
        self.call_keeper.into_iter().for_each(Keeping::over);
        self.media.shutdown();
        self.cdr_file.finish(PARTING);
        if let Some((store, accounts)) = store.zip(accounts) {
            store.keep(accounts.into_iter().flat_map(|account| account()).collect(), PARTING);
        }
        if self.ended_calls.is_some_and(|store| !store.finish(PARTING)) {
            tracing::error!("the last ended calls were not written in time");
        }
        self.admission.bus.close();
        // It is only late by its batch; a panic of it has been reported.
        let _ = self.console.join();
        if let Some((held, counters)) = held {
            tracing::info!(
                "stopped: {} inbound calls, {} legs dialled, {} bridged; left: {} calls, {} legs, {} timers, \
                 {} media endpoints",
                counters.incoming,
                counters.dialled,
                counters.bridged,
                held.calls,
                held.legs,
                held.timer_entries,
                self.media.endpoints(),
            );
        }
    }
}

/// Logs the certificates that have expired or are those of authorities.
fn warn_of_certificates(tls: &Tls) {
    for warning in certificates::warnings(tls, SystemTime::now()) {
        tracing::warn!("{warning}");
    }
}

/// The handlers of incoming calls, in the order in which they are asked.
fn handlers(own: &Own, desk: &QueueDesk, current: &Current) -> Vec<Arc<dyn ApplicationHandler>> {
    let mut all: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(AgentCodes::new(desk.clone()))];
    if !own.handlers.is_empty() {
        all.push(Arc::new(EmergencyFirst(current.clone())));
    }
    all.extend(own.handlers.iter().cloned());
    all.push(Arc::new(Routes(current.clone())));
    all
}

/// Waits until the condition holds, at most for `patience`; a signal other than SIGHUP ends the wait.
fn wait(jobs: &Jobs, patience: Duration, hurry: &Receiver<Signal>, is_so: fn(&Switch) -> bool) {
    let end = Instant::now() + patience;
    while Instant::now() < end && jobs.run_blocking(move |switch, _, _| is_so(switch)) == Some(false) {
        if hurry.recv_timeout(LOOK).is_ok_and(|signal| signal != Signal::SIGHUP) {
            return;
        }
    }
}

/// The users whose password has changed, or who are gone: who registered by the old one is not called any more.
fn credentials_gone(before: &Settings, now: &ServerConfig) -> Vec<Aor> {
    let now: HashMap<&str, &Credentials> =
        now.users.iter().map(|user| (user.name.as_str(), &user.credentials)).collect();
    let gone = |user: &&User| now.get(user.name.as_str()).is_none_or(|it| **it != user.credentials);
    let users = before.config.users.iter().filter(gone);
    users.filter_map(|user| before.directory.aor(user)).collect()
}
