//! What each media server holds, and which of them takes new calls.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::wire::{Load, Numbered, Stats};
use b2b_call::controller::{Answer, ConferenceId, Descriptions, EndpointId, MediaError, RecordingId, Verb};

/// Who waits for an answer.
pub(super) type Reply = oneshot::Sender<Result<Answer<Stats>, MediaError>>;

pub(super) struct State {
    pub servers: Vec<Server>,
    /// Where the last new call went.
    pub current: usize,
    /// Of verbs, endpoints, recordings and rooms alike.
    pub last: u64,
    pub endpoints: HashMap<EndpointId, Endpoint>,
    /// Those that are released, until their server has said its last word of them.
    pub closing: HashMap<EndpointId, usize>,
    pub recordings: HashMap<RecordingId, usize>,
    /// Those that are over, oldest first; who waits for one may be late.
    pub recorded: VecDeque<RecordingId>,
    pub conferences: HashMap<ConferenceId, usize>,
}

pub(super) struct Server {
    pub name: String,
    pub up: bool,
    /// Why not.
    pub trouble: String,
    pub load: Load,
    pub queue: mpsc::UnboundedSender<Vec<Numbered>>,
    /// Verbs that nobody waits for before the next one: they go with it.
    pub held: Vec<Numbered>,
    pub waiting: HashMap<u64, Waiting>,
}

/// Who waits for a verb's answer.
pub(super) struct Waiting {
    /// None: its endpoint is in use already, and will say it.
    pub reply: Option<Reply>,
    /// What it allocates.
    pub allocates: Option<EndpointId>,
}

pub(super) struct Endpoint {
    pub server: usize,
    /// Somebody knows its name, and will release it.
    pub given: bool,
    /// Its server is gone, or would not make it.
    pub gone: Option<Gone>,
    pub described: Option<Descriptions>,
}

pub(super) struct Gone {
    pub since: Instant,
    pub why: MediaError,
}

/// What a verb is about: it goes where that is.
pub(super) enum About {
    Endpoint(EndpointId),
    Recording(RecordingId),
    Conference(ConferenceId),
}

impl Server {
    /// Whether a verb may wait for the next one: it is about what is not asked for yet itself.
    pub fn may_wait(&self, verb: &Verb) -> bool {
        let Verb::HearTones { endpoint: of, .. } = verb else { return false };
        let opens = |verb: &Verb| matches!(verb, Verb::Allocate { endpoint, .. } if *endpoint == Some(*of));
        self.held.iter().any(|it| opens(&it.verb))
    }
}

impl State {
    /// A new endpoint and its server. `given`: whoever asks has its name from now on.
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

    /// The server of something new: where that is which it belongs to; else where the last new
    /// call went, as long as it takes more, and then the first that does. So calls that may come
    /// to be joined are together.
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
