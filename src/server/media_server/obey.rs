//! Verbs of a session, for the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::sessions::{Session, Sessions};
use crate::controller::remote::wire::{Answered, Described, Numbered, Stats};
use b2b_call::controller::{
    Answer, ConferenceId, EndpointId, MediaBackend, MediaController, MediaError, MediaFuture, NameMut,
    RecordingId, Verb,
};

/// The result of a verb: at once, or later.
enum Came {
    Now(Result<Answer<Stats>, MediaError>),
    Later(Pin<Box<dyn Future<Output = Result<Answer<Stats>, MediaError>> + Send>>),
}

impl Sessions {
    /// Runs one verb; returns its result, if it is available at once.
    pub(super) fn verb(self: &Arc<Self>, key: &str, Numbered { id, mut verb }: Numbered) -> Option<Answered> {
        let about = if verb.describes() { endpoints(&mut verb) } else { Vec::new() };
        match self.start(key, verb) {
            Came::Now(result) => {
                let described = about.into_iter().filter_map(|id| self.described(key, id)).collect();
                Some(Answered { id, result, described })
            }
            Came::Later(future) => {
                let (sessions, key) = (self.clone(), key.to_owned());
                tokio::spawn(async move {
                    let result = future.await;
                    sessions.answered(&key, Answered { id, result, described: Vec::new() });
                });
                None
            }
        }
    }

    fn described(&self, key: &str, endpoint: EndpointId) -> Option<Described> {
        let there = *self.state().session(key)?.endpoints.get(&endpoint)?;
        Some(Described { endpoint, both: self.controller.descriptions(there)? })
    }

    fn start(self: &Arc<Self>, key: &str, verb: Verb) -> Came {
        match self.try_start(key, verb) {
            Ok(came) => came,
            Err(error) => Came::Now(Err(error)),
        }
    }

    fn endpoint(&self, key: &str, id: EndpointId) -> Result<EndpointId, MediaError> {
        self.held(key, |session| session.endpoints.get(&id).copied()).ok_or(MediaError::NoSuchEndpoint(id))
    }

    fn recording(&self, key: &str, id: RecordingId) -> Result<RecordingId, MediaError> {
        let known = self.held(key, |session| session.recordings.get(&id).copied());
        known.ok_or_else(|| MediaError::File("there is no such recording".to_owned()))
    }

    fn conference(&self, key: &str, id: ConferenceId) -> Result<ConferenceId, MediaError> {
        self.held(key, |session| session.conferences.get(&id).copied()).ok_or(MediaError::Conference)
    }

    fn held<T>(&self, key: &str, of: impl FnOnce(&Session) -> Option<T>) -> Option<T> {
        of(self.state().session(key)?)
    }

    /// A recording of the session, whose name is known once it has begun.
    fn begun(self: &Arc<Self>, key: &str, id: RecordingId, future: MediaFuture<RecordingId>) -> Came {
        let (sessions, key) = (self.clone(), key.to_owned());
        let keep = move |there: RecordingId| {
            let mut state = sessions.state();
            match state.session(&key) {
                Some(session) => {
                    session.recordings.insert(id, there);
                    state.recordings.insert(there, (key, id));
                }
                None => {
                    drop(state);
                    drop(sessions.controller.request(Verb::StopRecording { recording: there }));
                }
            }
            Answer::Done
        };
        came(future, keep)
    }

    fn try_start(self: &Arc<Self>, key: &str, verb: Verb) -> Result<Came, MediaError> {
        let media = &self.controller;
        let at = |id| self.endpoint(key, id);
        let room = |id| self.conference(key, id);
        Ok(match verb {
            Verb::Allocate { endpoint: Some(endpoint), mut spec } => {
                // A released endpoint is near nothing.
                spec.near = spec.near.and_then(|near| at(near).ok());
                // Waited for, since the verbs that follow refer to it.
                let (there, local) = media.allocate_endpoint(*spec).wait()?;
                let mut state = self.state();
                let taken =
                    state.session(key).is_none_or(|session| session.endpoints.contains_key(&endpoint));
                if taken {
                    drop(state);
                    media.release_endpoint(there);
                    return Err(MediaError::NoSuchEndpoint(endpoint));
                }
                if let Some(session) = state.session(key) {
                    session.endpoints.insert(endpoint, there);
                }
                state.endpoints.insert(there, (key.to_owned(), endpoint));
                Came::Now(Ok(Answer::Allocated { endpoint: None, rtp: local.rtp }))
            }
            Verb::Release { endpoint } => {
                let there = at(endpoint)?;
                if let Some(session) = self.state().session(key) {
                    session.endpoints.remove(&endpoint);
                }
                media.release_endpoint(there);
                done()
            }
            Verb::Record { recording: Some(recording), endpoint, spec } => {
                let verb = Verb::Record { recording: None, endpoint: at(endpoint)?, spec };
                self.begun(key, recording, media.request(verb).read(Answer::recording))
            }
            Verb::CreateConference { conference: Some(conference), spec } => {
                let created = media.request(Verb::CreateConference { conference: None, spec });
                let there = created.read(Answer::conference).now().unwrap_or(Err(MediaError::Stopped))?;
                let mut state = self.state();
                if let Some(session) = state.session(key) {
                    session.conferences.insert(conference, there);
                }
                state.conferences.insert(there, (key.to_owned(), conference));
                done()
            }
            Verb::EndConference { conference } => {
                let there = room(conference)?;
                media.tell(Verb::EndConference { conference: there });
                let mut state = self.state();
                state.conferences.remove(&there);
                if let Some(session) = state.session(key) {
                    session.conferences.remove(&conference);
                }
                done()
            }
            Verb::RecordConference { recording: Some(recording), conference, spec } => {
                let verb = Verb::RecordConference { recording: None, conference: room(conference)?, spec };
                self.begun(key, recording, media.request(verb).read(Answer::recording))
            }
            // The controlling server assigns the names here.
            Verb::Allocate { endpoint: None, .. }
            | Verb::Record { recording: None, .. }
            | Verb::RecordConference { recording: None, .. }
            | Verb::CreateConference { conference: None, .. } => {
                return Err(MediaError::Unsupported(verb.capability()));
            }
            // Verbs that create and end nothing are passed on with the engine's names.
            mut verb => {
                for name in verb.names_mut().into_iter().flatten() {
                    match name {
                        NameMut::Endpoint(id) => *id = at(*id)?,
                        NameMut::Recording(id) => *id = self.recording(key, *id)?,
                        NameMut::Conference(id) => *id = room(*id)?,
                    }
                }
                came(media.request(verb), |answer| answer.counted(|stats| Stats::new(&stats, Instant::now())))
            }
        })
    }
}

/// The endpoints that a verb refers to.
fn endpoints(verb: &mut Verb) -> Vec<EndpointId> {
    let endpoint = |name| match name {
        NameMut::Endpoint(id) => Some(*id),
        NameMut::Recording(_) | NameMut::Conference(_) => None,
    };
    verb.names_mut().into_iter().flatten().filter_map(endpoint).collect()
}

fn done() -> Came {
    Came::Now(Ok(Answer::Done))
}

/// Polls once: the operation has been started already.
fn came<T: Send + Unpin + 'static>(
    future: MediaFuture<T>,
    read: impl FnOnce(T) -> Answer<Stats> + Send + 'static,
) -> Came {
    match future.now() {
        Ok(result) => Came::Now(result.map(read)),
        Err(future) => Came::Later(Box::pin(async move { future.await.map(read) })),
    }
}
