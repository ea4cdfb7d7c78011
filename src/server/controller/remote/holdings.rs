//! What each media server holds, and which one takes new calls.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::wire::{Described, Load, Numbered, Resumed, Stats};
use b2b_call::controller::{Answer, ConferenceId, Descriptions, EndpointId, MediaError, RecordingId};

/// The waiting requester of a verb.
pub(super) type Reply = oneshot::Sender<Result<Answer<Stats>, MediaError>>;

pub(super) struct State {
    pub servers: Vec<Server>,
    /// The server of the last new call.
    pub current: usize,
    /// Last number given to a verb, endpoint, recording or room.
    pub last: u64,
    pub endpoints: HashMap<EndpointId, Endpoint>,
    /// Released endpoints, until their server has reported the last event of them.
    pub closing: HashMap<EndpointId, usize>,
    pub recordings: HashMap<RecordingId, usize>,
    /// Ended recordings, oldest first, for late requests.
    pub recorded: VecDeque<RecordingId>,
    pub conferences: HashMap<ConferenceId, usize>,
}

pub(super) struct Server {
    pub name: String,
    pub up: bool,
    /// Why it is down.
    pub trouble: String,
    pub load: Load,
    pub queue: mpsc::UnboundedSender<Vec<Numbered>>,
    /// Allocations, which are sent with the next verb.
    pub held: Vec<Numbered>,
    pub waiting: HashMap<u64, Waiting>,
    /// The session with it; of the process before, until it has been resumed or has gone.
    pub session: String,
    pub resumes: bool,
}

/// A verb without a result yet.
pub(super) struct Waiting {
    /// `None`: its endpoint is in use already, and will report a failure.
    pub reply: Option<Reply>,
    /// The endpoint that it allocates.
    pub allocates: Option<EndpointId>,
}

pub(super) struct Endpoint {
    pub server: usize,
    /// The requester knows its name, and will release it.
    pub given: bool,
    /// Its server is down, or refused to create it.
    pub gone: Option<Gone>,
    pub described: Option<Descriptions>,
}

pub(super) struct Gone {
    pub since: Instant,
    pub why: MediaError,
}

/// The object of a verb, which determines the verb's server.
pub(super) enum About {
    Endpoint(EndpointId),
    Recording(RecordingId),
    Conference(ConferenceId),
}

impl State {
    /// A new endpoint and its server. `given`: the requester gets the name at once.
    pub fn place(
        &mut self,
        near: Option<EndpointId>,
        given: bool,
    ) -> Result<(EndpointId, usize), MediaError> {
        let near = near.and_then(|near| self.endpoints.get(&near)).filter(|it| it.gone.is_none());
        let near = near.map(|it| it.server);
        let server = self.pick(near)?;
        let id = EndpointId(self.number());
        self.endpoints.insert(id, Endpoint { server, given, gone: None, described: None });
        Ok((id, server))
    }

    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The server for a new object: that of the object it belongs to; else that of the last new call, as long
    /// as it accepts more, and then the first that does. Calls that may be joined later are thus together.
    pub fn pick(&mut self, near: Option<usize>) -> Result<usize, MediaError> {
        let is = |at: usize, good: fn(&Server) -> bool| self.servers.get(at).is_some_and(good);
        if let Some(near) = near.filter(|at| is(*at, |it| it.up)) {
            return Ok(near);
        }
        let takes: fn(&Server) -> bool = |it| it.up && it.load.accepting;
        if !is(self.current, takes) {
            let first = self.servers.iter().position(takes);
            self.current = first.ok_or_else(|| match self.servers.iter().any(|it| it.up) {
                true => MediaError::NoPorts,
                false => MediaError::Stopped,
            })?;
        }
        Ok(self.current)
    }

    /// A server has taken up a session: it has these endpoints, and no others.
    pub fn resumed(&mut self, at: usize, resumed: Resumed) {
        let Resumed { last, endpoints, described, .. } = resumed;
        self.last = self.last.max(last);
        let there: HashSet<EndpointId> = endpoints.into_iter().collect();
        for (id, it) in self.endpoints.iter_mut().filter(|(_, it)| it.server == at) {
            if !there.contains(id) {
                it.gone = Some(Gone { since: Instant::now(), why: MediaError::NoSuchEndpoint(*id) });
            }
        }
        for Described { endpoint, both } in described {
            if let Some(it) = self.endpoints.get_mut(&endpoint).filter(|it| it.server == at) {
                it.described = Some(both);
            }
        }
    }

    pub fn server_of(&self, about: &About) -> Result<usize, MediaError> {
        match about {
            About::Endpoint(id) => match self.endpoints.get(id) {
                None => Err(MediaError::NoSuchEndpoint(*id)),
                Some(Endpoint { gone: Some(gone), .. }) => Err(gone.why.clone()),
                Some(it) => Ok(it.server),
            },
            About::Recording(id) => {
                let known = self.recordings.get(id).copied();
                known.ok_or_else(|| MediaError::File("there is no such recording".to_owned()))
            }
            About::Conference(id) => self.conferences.get(id).copied().ok_or(MediaError::Conference),
        }
    }
}
