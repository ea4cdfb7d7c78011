//! Sessions of controlling servers: what they hold, and their events.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::controller::remote::RemoteController;
use crate::controller::remote::wire::{
    Answered, Asked, Described, Event, Happening, Happenings, Hello, Load, MOST, Resumed, Resumes, Stats,
    VERSION, WAIT, Welcome, name_of,
};
use b2b_call::controller::{
    Capability, ConferenceId, EmbeddedController, EndpointId, MediaBackend, MediaController, MediaEvent,
    RecordingId, Verb,
};

/// Time without a request after which a session ends that asks for less, and the maximum.
const LEASE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3_600));
/// Maximum ended recordings that are remembered, for late requests.
const KEPT: usize = 1_024;
/// Maximum simultaneous sessions.
const SESSIONS: usize = 64;
/// Maximum undelivered events; beyond it the session ends.
const UNHEARD: usize = 100_000;

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotBegun {
    #[error("too many sessions")]
    TooMany,
    #[error("no such session")]
    NoSession,
}

/// See the module documentation.
pub(super) struct Sessions {
    pub controller: Arc<EmbeddedController>,
    /// Number of endpoints from which new calls are to go elsewhere.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    sessions: HashMap<String, Session>,
    /// The server is closing: no new sessions are accepted.
    closing: bool,
    /// The session of each, and its name there.
    pub endpoints: HashMap<EndpointId, (String, EndpointId)>,
    pub recordings: HashMap<RecordingId, (String, RecordingId)>,
    pub conferences: HashMap<ConferenceId, (String, ConferenceId)>,
}

/// What one controlling server holds, by its own names.
pub(super) struct Session {
    heard: Instant,
    lease: Duration,
    /// The highest number of a verb.
    last: u64,
    pub endpoints: HashMap<EndpointId, EndpointId>,
    pub recordings: HashMap<RecordingId, RecordingId>,
    pub conferences: HashMap<ConferenceId, ConferenceId>,
    /// Ended recordings, oldest first.
    recorded: VecDeque<RecordingId>,
    /// The last request, and its response.
    batch: (u64, Vec<Happening>),
    /// Number of the first event that is kept.
    first: u64,
    happened: VecDeque<Happening>,
    more: Arc<Notify>,
}

impl Sessions {
    pub fn new(controller: Arc<EmbeddedController>, most: usize) -> Self {
        Sessions { controller, most, state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the data behind this lock consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn load(&self) -> Load {
        self.load_of(&self.state())
    }

    fn load_of(&self, state: &State) -> Load {
        let endpoints = self.controller.endpoints();
        Load {
            version: VERSION,
            sessions: state.sessions.len(),
            endpoints,
            most: self.most,
            conferences: state.conferences.len(),
            recordings: state.recordings.len(),
            accepting: endpoints < self.most && !state.closing,
        }
    }

    /// A session: a new one, or one of a process that has ended.
    ///
    /// # Errors
    /// See [`NotBegun`].
    pub fn begin(&self, hello: &Hello, now: Instant) -> Result<Welcome, NotBegun> {
        let mut state = self.state();
        let lease = Duration::from_millis(hello.lease_ms).clamp(LEASE.0, LEASE.1);
        let (key, resumed) = match &hello.resumes {
            Some(resumes) => (resumes.session.clone(), Some(self.resume(&mut state, resumes, lease, now)?)),
            None if state.closing || state.sessions.len() >= SESSIONS => return Err(NotBegun::TooMany),
            None => (self.fresh(&mut state, lease, now), None),
        };
        let has = RemoteController::CAPABILITIES;
        let capabilities = Capability::ALL.iter().copied().filter(|one| has.has(*one)).map(name_of).collect();
        let lease_ms = lease.as_millis().try_into().unwrap_or(u64::MAX);
        let load = self.load_of(&state);
        Ok(Welcome { version: VERSION, session: key, lease_ms, capabilities, load, resumed })
    }

    /// Goes on with a session whose process has ended: with what the next one asks for again, and nothing else.
    fn resume(
        &self,
        state: &mut State,
        resumes: &Resumes,
        lease: Duration,
        now: Instant,
    ) -> Result<Resumed, NotBegun> {
        let session = state.sessions.get_mut(&resumes.session).ok_or(NotBegun::NoSession)?;
        (session.heard, session.lease) = (now, lease);
        for recording in session.recordings.values() {
            drop(self.controller.request(Verb::StopRecording { recording: *recording }));
        }
        for (_, conference) in session.conferences.drain() {
            self.controller.tell(Verb::EndConference { conference });
            state.conferences.remove(&conference);
        }
        let kept: HashSet<EndpointId> = resumes.endpoints.iter().copied().collect();
        let given_up = session.endpoints.extract_if(|endpoint, _| !kept.contains(endpoint));
        let given_up: Vec<_> = given_up.map(|(_, there)| there).collect();
        given_up.iter().for_each(|there| self.controller.release_endpoint(*there));
        tracing::info!(
            "a session goes on: {} endpoints, {} given up",
            session.endpoints.len(),
            given_up.len()
        );
        let described = |(endpoint, there): (&EndpointId, &EndpointId)| {
            Some(Described { endpoint: *endpoint, both: self.controller.descriptions(*there)? })
        };
        Ok(Resumed {
            batch: session.batch.0,
            last: session.last,
            endpoints: session.endpoints.keys().copied().collect(),
            described: session.endpoints.iter().filter_map(described).collect(),
        })
    }

    fn fresh(&self, state: &mut State, lease: Duration, now: Instant) -> String {
        let key = format!("{:032x}", rand::random::<u128>());
        let session = Session {
            heard: now,
            lease,
            last: 0,
            endpoints: HashMap::new(),
            recordings: HashMap::new(),
            conferences: HashMap::new(),
            recorded: VecDeque::new(),
            batch: (0, Vec::new()),
            first: 0,
            happened: VecDeque::new(),
            more: Arc::new(Notify::new()),
        };
        state.sessions.insert(key.clone(), session);
        tracing::info!("a session starts: {} in total", state.sessions.len());
        key
    }

    /// Runs verbs in order; returns the results that are available at once. A repeated request gets its
    /// response again. `None`: no such session.
    pub fn obey(self: &Arc<Self>, key: &str, asked: Asked, now: Instant) -> Option<Happenings> {
        {
            let mut state = self.state();
            let session = state.sessions.get_mut(key)?;
            session.heard = now;
            session.last = asked.verbs.iter().map(|it| it.id).fold(session.last, u64::max);
            if asked.batch <= session.batch.0 {
                return Some(Happenings { happened: session.batch.1.clone(), ..Happenings::default() });
            }
        }
        let mut happened = Vec::with_capacity(asked.verbs.len());
        for numbered in asked.verbs {
            happened.extend(self.verb(key, numbered).map(|answered| Happening::Answer(Box::new(answered))));
        }
        if let Some(session) = self.state().sessions.get_mut(key) {
            session.batch = (asked.batch, happened.clone());
        }
        Some(Happenings { happened, ..Happenings::default() })
    }

    /// The events from this number on, once there are any, or after a while. `None`: no such session.
    pub async fn events(&self, key: &str, from: u64, clock: impl Fn() -> Instant) -> Option<Happenings> {
        let patience = tokio::time::sleep(WAIT);
        tokio::pin!(patience);
        let mut waited = false;
        loop {
            let more = {
                let mut state = self.state();
                let session = state.sessions.get_mut(key)?;
                session.heard = clock();
                while session.first < from && session.happened.pop_front().is_some() {
                    session.first += 1;
                }
                if waited || !session.happened.is_empty() {
                    let happened = session.happened.iter().take(MOST).cloned().collect();
                    let first = session.first;
                    return Some(Happenings { first, happened, load: Some(self.load_of(&state)) });
                }
                session.more.clone()
            };
            tokio::select! {
                () = more.notified() => {}
                () = &mut patience => waited = true,
            }
        }
    }

    /// A result that was not available at once.
    pub fn answered(&self, key: &str, answered: Answered) {
        self.tell(&mut self.state(), key, Happening::Answer(Box::new(answered)));
    }

    fn tell(&self, state: &mut State, key: &str, happening: Happening) {
        let Some(session) = state.sessions.get_mut(key) else { return };
        session.happened.push_back(happening);
        session.more.notify_one();
        if session.happened.len() > UNHEARD {
            tracing::error!("a b2bua does not poll for events: its session ends");
            self.over(state, key);
        }
    }

    /// Takes an event of the engine.
    pub fn happened(&self, event: MediaEvent, now: Instant) {
        let mut state = self.state();
        let whose = |state: &State, id: &EndpointId| state.endpoints.get(id).cloned();
        let (key, event) = match event {
            MediaEvent::Started { endpoint, from } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Started { endpoint, from })
            }
            MediaEvent::Timeout { endpoint } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Timeout { endpoint })
            }
            MediaEvent::SourceChanged { endpoint, from, to } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::SourceChanged { endpoint, from, to })
            }
            MediaEvent::Withheld { endpoint, to } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Withheld { endpoint, to })
            }
            MediaEvent::Replayed { endpoint } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Replayed { endpoint })
            }
            MediaEvent::HostNamed { endpoint, family, host } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::HostNamed { endpoint, family, host })
            }
            MediaEvent::SourceRefused { endpoint, from } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::SourceRefused { endpoint, from })
            }
            MediaEvent::Digit { endpoint, digit, duration_ms, passed_on, by_tone } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Digit { endpoint, digit, duration_ms, passed_on, by_tone })
            }
            MediaEvent::Failed { endpoint, reason } => {
                let Some((key, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Failed { endpoint, reason })
            }
            MediaEvent::Recorded { recording, recorded } => {
                let Some((key, recording)) = state.recordings.remove(&recording) else { return };
                if let Some(session) = state.sessions.get_mut(&key) {
                    session.over(recording);
                }
                (key, Event::Recorded { recording, recorded })
            }
            MediaEvent::Speaking { conference, endpoint, on } => {
                let Some((key, conference)) = state.conferences.get(&conference).cloned() else { return };
                let Some((_, endpoint)) = whose(&state, &endpoint) else { return };
                (key, Event::Speaking { conference, endpoint, on })
            }
            MediaEvent::Closed { endpoint, stats } => {
                let Some((key, endpoint)) = state.endpoints.remove(&endpoint) else { return };
                (key, Event::Closed { endpoint, stats: Box::new(Stats::new(&stats, now)) })
            }
            MediaEvent::Lost { reason } => {
                tracing::error!("the media engine failed: {reason}; all sessions end");
                let keys: Vec<_> = state.sessions.keys().cloned().collect();
                return keys.iter().for_each(|key| self.over(&mut state, key));
            }
        };
        self.tell(&mut state, &key, Happening::Event(Box::new(event)));
    }

    /// Ends the sessions whose lease has expired.
    pub fn expire(&self, now: Instant) {
        let mut state = self.state();
        let over = state.sessions.iter().filter(|(_, session)| now > session.heard + session.lease);
        let over: Vec<_> = over.map(|(key, session)| (key.clone(), session.lease)).collect();
        for (key, lease) in over {
            tracing::warn!("nothing received from a b2bua for {} s: its session ends", lease.as_secs());
            self.over(&mut state, &key);
        }
    }

    /// Ends a session; returns whether it existed.
    pub fn end(&self, key: &str) -> bool {
        let mut state = self.state();
        let known = state.sessions.contains_key(key);
        self.over(&mut state, key);
        known
    }

    /// Ends all sessions, and accepts no more.
    pub fn end_all(&self) {
        let mut state = self.state();
        state.closing = true;
        let keys: Vec<_> = state.sessions.keys().cloned().collect();
        keys.iter().for_each(|key| self.over(&mut state, key));
    }

    /// Ends a session and releases all that it holds.
    fn over(&self, state: &mut State, key: &str) {
        let Some(session) = state.sessions.remove(key) else { return };
        tracing::info!("a session has ended: {} endpoints released", session.endpoints.len());
        for recording in session.recordings.values() {
            drop(self.controller.request(Verb::StopRecording { recording: *recording }));
        }
        for conference in session.conferences.values() {
            self.controller.tell(Verb::EndConference { conference: *conference });
        }
        session.endpoints.values().for_each(|endpoint| self.controller.release_endpoint(*endpoint));
        state.endpoints.retain(|_, (of, _)| of != key);
        state.recordings.retain(|_, (of, _)| of != key);
        state.conferences.retain(|_, (of, _)| of != key);
        session.more.notify_one();
    }
}

impl Session {
    /// A recording has ended; it stays known for a while.
    fn over(&mut self, recording: RecordingId) {
        self.recorded.push_back(recording);
        if self.recorded.len() > KEPT
            && let Some(oldest) = self.recorded.pop_front()
        {
            self.recordings.remove(&oldest);
        }
    }
}

impl State {
    pub fn session(&mut self, key: &str) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }
}
