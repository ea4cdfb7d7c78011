//! What servers hold, shared by the requesters and the links: verbs to the servers, results and events from
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::ServerHealth;
use super::holdings::{About, Endpoint, Gone, Server, State, Waiting};
use super::wire::{Answered, Event, Happening, Load, Numbered, Resumes, Stats, Welcome};
use super::written::WrittenEndpoint;
use b2b_call::controller::{
    Answer, ConferenceId, Descriptions, EndpointId, EndpointSpec, EndpointStats, MediaError, MediaEvent,
    RecordingId, Verb,
};

/// Maximum ended recordings that are remembered.
const KEPT: usize = 1_024;

/// Groups of verbs that go into one request, if there is room.
pub(super) type Queue = mpsc::UnboundedReceiver<Vec<Numbered>>;

/// See the module documentation.
pub(super) struct Table {
    events: mpsc::UnboundedSender<MediaEvent>,
    state: Mutex<State>,
    /// Notified when a server comes up.
    came: Condvar,
}

impl Table {
    pub fn new(servers: Vec<String>, events: mpsc::UnboundedSender<MediaEvent>) -> (Table, Vec<Queue>) {
        let (servers, queues) = servers
            .into_iter()
            .map(|name| {
                let (queue, asked) = mpsc::unbounded_channel();
                let (load, held, waiting) = (Load::default(), Vec::new(), HashMap::new());
                let trouble = "it has not answered yet".to_owned();
                let (session, resumes) = (String::new(), false);
                (Server { name, up: false, trouble, load, queue, held, waiting, session, resumes }, asked)
            })
            .unzip();
        let state = State {
            servers,
            current: 0,
            last: 0,
            endpoints: HashMap::new(),
            closing: HashMap::new(),
            recordings: HashMap::new(),
            recorded: VecDeque::new(),
            conferences: HashMap::new(),
        };
        (Table { events, state: Mutex::new(state), came: Condvar::new() }, queues)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the data behind this lock consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn endpoints(&self) -> usize {
        self.state().endpoints.len()
    }

    pub fn waiting(&self) -> usize {
        self.state().servers.iter().map(|it| it.waiting.len()).sum()
    }

    pub fn servers(&self) -> Vec<ServerHealth> {
        let state = self.state();
        let health = |(at, it): (usize, &Server)| ServerHealth {
            authority: it.name.clone(),
            up: it.up,
            trouble: it.trouble.clone(),
            load: it.load,
            endpoints: state.endpoints.values().filter(|endpoint| endpoint.server == at).count(),
            current: state.current == at && it.up,
        };
        state.servers.iter().enumerate().map(health).collect()
    }

    /// A new endpoint, on the server of `near` if that is known, else where new calls go.
    pub fn place(&self, near: Option<EndpointId>) -> Result<EndpointId, MediaError> {
        self.state().place(near, false).map(|(id, _)| id)
    }

    /// The same, named at once and allocated together with the next verb.
    pub fn open(&self, spec: EndpointSpec) -> Result<EndpointId, MediaError> {
        let mut state = self.state();
        let (endpoint, server) = state.place(spec.near, true)?;
        if let Some(it) = state.endpoints.get_mut(&endpoint) {
            it.described = spec.session.as_deref().cloned();
        }
        let id = state.number();
        if let Some(server) = state.servers.get_mut(server) {
            server.held.push(Numbered {
                id,
                verb: Verb::Allocate { endpoint: Some(endpoint), spec: Box::new(spec) },
            });
            server.waiting.insert(id, Waiting { reply: None, allocates: Some(endpoint) });
        }
        Ok(endpoint)
    }

    /// A new recording on the server of `about`.
    pub fn recording(&self, about: &About) -> Result<RecordingId, MediaError> {
        let mut state = self.state();
        let server = state.server_of(about)?;
        let id = RecordingId(state.number());
        state.recordings.insert(id, server);
        Ok(id)
    }

    /// A new room.
    pub fn conference(&self) -> Result<ConferenceId, MediaError> {
        let mut state = self.state();
        let server = state.pick(None)?;
        let id = ConferenceId(state.number());
        state.conferences.insert(id, server);
        Ok(id)
    }

    /// Sends a verb; its result comes by the receiver.
    pub fn ask(
        &self,
        about: &About,
        verb: Verb,
    ) -> Result<oneshot::Receiver<Result<Answer<Stats>, MediaError>>, MediaError> {
        if !verb.can_be_written() {
            return Err(MediaError::File("a file's name is not UTF-8; give it another one".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        if let Verb::Release { endpoint } = &verb
            && let Some(since) =
                state.endpoints.get(endpoint).and_then(|it| it.gone.as_ref()).map(|it| it.since)
        {
            state.endpoints.remove(endpoint);
            self.close(*endpoint, since);
            return Err(MediaError::Stopped);
        }
        let server = state.server_of(about)?;
        let allocates = match &verb {
            Verb::Allocate { endpoint, .. } => *endpoint,
            _ => None,
        };
        if let Verb::Release { endpoint } = &verb {
            state.endpoints.remove(endpoint);
            state.closing.insert(*endpoint, server);
        } else if let Verb::EndConference { conference } = &verb {
            state.conferences.remove(conference);
        }
        let id = state.number();
        let Some(server) = state.servers.get_mut(server).filter(|server| server.up) else {
            return Err(MediaError::Stopped);
        };
        server.waiting.insert(id, Waiting { reply: Some(reply), allocates });
        server.held.push(Numbered { id, verb });
        // If the link has ended, it has answered all waiting requests.
        let _ = server.queue.send(std::mem::take(&mut server.held));
        Ok(answer)
    }

    /// Reports the end of an endpoint whose counters are unavailable.
    fn close(&self, endpoint: EndpointId, since: Instant) {
        let stats = Box::new(EndpointStats::new(since));
        let _ = self.events.send(MediaEvent::Closed { endpoint, stats });
    }

    /// Handles a message of a server.
    pub fn happened(&self, server: usize, happening: Happening, now: Instant) {
        match happening {
            Happening::Answer(answered) => self.answered(server, *answered, now),
            Happening::Event(event) => {
                if let Some(event) = self.known(server, *event, now) {
                    let _ = self.events.send(event);
                }
            }
        }
    }

    fn answered(&self, at: usize, answered: Answered, now: Instant) {
        let mut guard = self.state();
        let state = &mut *guard;
        for described in answered.described {
            if let Some(endpoint) = state.endpoints.get_mut(&described.endpoint).filter(|it| it.server == at)
            {
                endpoint.described = Some(described.both);
            }
        }
        let waiting = state.servers.get_mut(at).and_then(|it| it.waiting.remove(&answered.id));
        let Some(Waiting { reply, allocates }) = waiting else { return };
        let mut result = answered.result;
        // That it is lost is told by another event; this one never was there.
        if allocates.is_some()
            && let Err(why @ (MediaError::Stopped | MediaError::NoSuchEndpoint(_))) = &mut result
        {
            *why = MediaError::NoPorts;
        }
        match (allocates, &result) {
            (Some(endpoint), Err(why)) => match state.endpoints.get_mut(&endpoint) {
                Some(it) if it.given => it.gone = Some(Gone { since: now, why: why.clone() }),
                Some(_) => drop(state.endpoints.remove(&endpoint)),
                None if state.closing.remove(&endpoint).is_some() => self.close(endpoint, now),
                None => {}
            },
            (Some(endpoint), Ok(_)) => {
                if let Some(it) = state.endpoints.get_mut(&endpoint) {
                    it.given = true;
                }
            }
            // The reason why it could not be created is the result of all requests to it since.
            (None, Err(MediaError::NoSuchEndpoint(id))) => {
                if let Some(gone) = state.endpoints.get(id).and_then(|it| it.gone.as_ref()) {
                    result = Err(gone.why.clone());
                }
            }
            (None, _) => {}
        }
        drop(guard);
        let abandoned = reply.is_some_and(|reply| reply.send(result).is_err());
        if let Some(endpoint) = allocates.filter(|_| abandoned) {
            // The requester is gone, so nothing would ever release it.
            let _ = self.ask(&About::Endpoint(endpoint), Verb::Release { endpoint });
        }
    }

    /// Translates an event of an object that this server holds.
    fn known(&self, at: usize, event: Event, now: Instant) -> Option<MediaEvent> {
        let mut state = self.state();
        if let Event::Recorded { recording, .. } = &event {
            state.recorded.push_back(*recording);
            if state.recorded.len() > KEPT
                && let Some(oldest) = state.recorded.pop_front()
            {
                state.recordings.remove(&oldest);
            }
        }
        let ours = |endpoint: EndpointId| state.endpoints.get(&endpoint).is_some_and(|it| it.server == at);
        let of = match &event {
            Event::Started { endpoint, .. }
            | Event::Timeout { endpoint }
            | Event::SourceChanged { endpoint, .. }
            | Event::SourceRefused { endpoint, .. }
            | Event::Withheld { endpoint, .. }
            | Event::Replayed { endpoint }
            | Event::HostNamed { endpoint, .. }
            | Event::Digit { endpoint, .. }
            | Event::Failed { endpoint, .. } => ours(*endpoint),
            Event::Recorded { recording, .. } => state.recordings.get(recording) == Some(&at),
            Event::Speaking { conference, .. } => state.conferences.get(conference) == Some(&at),
            Event::Closed { endpoint, .. } => state.closing.remove(endpoint).is_some(),
        };
        if !of {
            return None;
        }
        Some(match event {
            Event::Started { endpoint, from } => MediaEvent::Started { endpoint, from },
            Event::Timeout { endpoint } => MediaEvent::Timeout { endpoint },
            Event::SourceChanged { endpoint, from, to } => MediaEvent::SourceChanged { endpoint, from, to },
            Event::SourceRefused { endpoint, from } => MediaEvent::SourceRefused { endpoint, from },
            Event::Withheld { endpoint, to } => MediaEvent::Withheld { endpoint, to },
            Event::Replayed { endpoint } => MediaEvent::Replayed { endpoint },
            Event::HostNamed { endpoint, family, host } => MediaEvent::HostNamed { endpoint, family, host },
            Event::Digit { endpoint, digit, duration_ms, passed_on, by_tone } => {
                MediaEvent::Digit { endpoint, digit, duration_ms, passed_on, by_tone }
            }
            Event::Recorded { recording, recorded } => MediaEvent::Recorded { recording, recorded },
            Event::Speaking { conference, endpoint, on } => MediaEvent::Speaking { conference, endpoint, on },
            Event::Closed { endpoint, stats } => {
                MediaEvent::Closed { endpoint, stats: Box::new(stats.stats(now)) }
            }
            Event::Failed { endpoint, reason } => MediaEvent::Failed { endpoint, reason },
        })
    }

    /// A server is up, with this session.
    pub fn up(&self, at: usize, welcome: Welcome) {
        let Welcome { session, load, resumed, .. } = welcome;
        let mut state = self.state();
        if let Some(server) = state.servers.get_mut(at) {
            (server.up, server.load, server.session, server.resumes) = (true, load, session, false);
            server.trouble.clear();
        }
        if let Some(resumed) = resumed {
            state.resumed(at, resumed);
        }
        drop(state);
        self.came.notify_all();
    }

    /// Endpoints of the process before in the session that it had with a server; `None`: a new one begins.
    pub fn resumes(&self, at: usize) -> Option<Resumes> {
        let state = self.state();
        let session = state.servers.get(at).filter(|it| it.resumes)?.session.clone();
        let here = |(id, it): (&EndpointId, &Endpoint)| (it.server == at && it.gone.is_none()).then_some(*id);
        Some(Resumes { session, endpoints: state.endpoints.iter().filter_map(here).collect() })
    }

    /// An endpoint as it is written: who has it.
    pub fn written(&self, endpoint: EndpointId) -> Option<WrittenEndpoint> {
        let state = self.state();
        let server = state.endpoints.get(&endpoint).filter(|it| it.gone.is_none())?.server;
        let Server { name, session, .. } = state.servers.get(server)?;
        Some(WrittenEndpoint { endpoint, server: name.clone(), session: session.clone() })
    }

    /// An endpoint of the process before, which its server is asked for when the session with it is resumed.
    pub fn restored(&self, written: WrittenEndpoint) -> Result<EndpointId, MediaError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let WrittenEndpoint { endpoint, server, session } = written;
        // Nobody else gets its number.
        state.last = state.last.max(endpoint.0);
        let is_it = |it: &Server| it.name == server && (!it.resumes || it.session == session);
        let at = state.servers.iter().position(is_it).ok_or(MediaError::Stopped)?;
        let Some(it) = state.servers.get_mut(at) else { return Err(MediaError::Stopped) };
        (it.session, it.resumes) = (session, true);
        state.endpoints.insert(endpoint, Endpoint { server: at, given: true, gone: None, described: None });
        Ok(endpoint)
    }

    /// Whether its server has it.
    pub fn has(&self, endpoint: EndpointId) -> Result<(), MediaError> {
        self.state().server_of(&About::Endpoint(endpoint)).map(drop)
    }

    /// Sets the reason why a server is down.
    pub fn trouble(&self, at: usize, why: String) {
        if let Some(server) = self.state().servers.get_mut(at) {
            server.trouble = why;
        }
    }

    /// Waits for a server, and for those whose sessions are resumed, at most for `patience`; returns whether they are
    /// up.
    pub fn wait_for_one(&self, patience: Duration) -> bool {
        let none = |state: &mut State| {
            state.servers.iter().any(|it| it.resumes) || !state.servers.iter().any(|it| it.up)
        };
        let waited = self.came.wait_timeout_while(self.state(), patience, none);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Sets the load that a server reports.
    pub fn loaded(&self, at: usize, load: Load) {
        if let Some(server) = self.state().servers.get_mut(at) {
            server.load = load;
        }
    }

    /// A server is down, with all that it held; returns the number of lost endpoints.
    pub fn down(&self, at: usize, reason: &str, now: Instant) -> usize {
        let mut state = self.state();
        let Some(server) = state.servers.get_mut(at) else { return 0 };
        (server.up, server.load, server.resumes) = (false, Load::default(), false);
        let waiting = std::mem::take(&mut server.waiting);
        server.held.clear();
        state.recordings.retain(|_, server| *server != at);
        state.conferences.retain(|_, server| *server != at);
        // Endpoints that were being created are answered below.
        state.endpoints.retain(|_, it| it.server != at || it.given);
        let mut lost = Vec::new();
        for (id, it) in state.endpoints.iter_mut().filter(|(_, it)| it.server == at && it.gone.is_none()) {
            it.gone = Some(Gone { since: now, why: MediaError::Stopped });
            lost.push(*id);
        }
        for (endpoint, _) in state.closing.extract_if(|_, server| *server == at) {
            self.close(endpoint, now);
        }
        drop(state);
        for reply in waiting.into_values().filter_map(|it| it.reply) {
            let _ = reply.send(Err(MediaError::Stopped));
        }
        for endpoint in &lost {
            let event = MediaEvent::Failed { endpoint: *endpoint, reason: reason.to_owned() };
            let _ = self.events.send(event);
        }
        lost.len()
    }

    pub fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        let state = self.state();
        let described = state.endpoints.get(&endpoint).and_then(|it| it.described.as_ref());
        described.is_some_and(|it| &*it.said == description)
    }

    pub fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        self.state().endpoints.get(&endpoint)?.described.clone()
    }
}

#[cfg(test)]
mod tests;
