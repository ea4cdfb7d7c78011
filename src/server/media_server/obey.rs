//! Verbs of a session, for the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::sessions::{Session, Sessions};
use crate::controller::remote::wire::{Answered, Described, Numbered, Stats};
use b2b_call::controller::{
    Answer, ConferenceId, EndpointId, MediaController, MediaError, MediaFuture, Music, RecordingId, Verb,
};

/// What a verb came to: at once, or later.
enum Came {
    Now(Result<Answer<Stats>, MediaError>),
    Later(Pin<Box<dyn Future<Output = Result<Answer<Stats>, MediaError>> + Send>>),
}

impl Sessions {
    /// Obeys one verb; its answer, if it is there.
    pub(super) fn verb(self: &Arc<Self>, key: &str, Numbered { id, verb }: Numbered) -> Option<Answered> {
        let about: Vec<EndpointId> = match &verb {
            Verb::PairAnswer { from, to, .. } => vec![*from, *to],
            Verb::ApplyRemote { endpoint, .. } | Verb::LocalAnswer { endpoint, .. } => vec![*endpoint],
            _ => Vec::new(),
        };
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

    /// A recording of the session's; its name is known once it has begun.
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
                    drop(sessions.controller.stop_recording(there));
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
                // One that is gone is near nothing.
                spec.near = spec.near.and_then(|near| at(near).ok());
                let allocated = media.allocate_endpoint(spec).now();
                let (there, local) = allocated.unwrap_or(Err(MediaError::Stopped))?;
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
            Verb::SignalledFrom { endpoint, host } => {
                media.signalled_from(at(endpoint)?, host);
                done()
            }
            Verb::Release { endpoint } => {
                let there = at(endpoint)?;
                if let Some(session) = self.state().session(key) {
                    session.endpoints.remove(&endpoint);
                }
                media.release_endpoint(there);
                done()
            }
            Verb::PairOffer { from, to, offer, policy } => {
                described(media.pair_offer(at(from)?, at(to)?, offer, &policy))
            }
            Verb::PairAnswer { from, to, answer } => described(media.pair_answer(at(from)?, at(to)?, answer)),
            Verb::LocalOffer { endpoint, like, policy } => {
                let like = like.map(at).transpose()?;
                described(media.local_offer(at(endpoint)?, like, &policy))
            }
            Verb::ApplyRemote { endpoint, answer } => {
                came(media.apply_remote(at(endpoint)?, answer), |()| Answer::Done)
            }
            Verb::LocalAnswer { endpoint, offer, policy } => {
                described(media.local_answer(at(endpoint)?, offer, &policy))
            }
            Verb::RepeatOffer { endpoint } => described(media.repeat_offer(at(endpoint)?)),
            Verb::DirectOffer { from, to, heard, policy } => {
                described(media.direct_offer(at(from)?, at(to)?, heard, &policy))
            }
            Verb::ReturnOffer { endpoint, policy } => described(media.return_offer(at(endpoint)?, &policy)),
            Verb::SendDigit { endpoint, digit, duration_ms } => {
                media.send_digit(at(endpoint)?, digit, duration_ms);
                done()
            }
            Verb::WithdrawOffer { endpoint } => {
                media.withdraw_offer(at(endpoint)?);
                done()
            }
            Verb::Bridge { a, b } => came(media.bridge(at(a)?, at(b)?), Answer::Joined),
            Verb::Unbridge { a, b } => came(media.unbridge(at(a)?, at(b)?), |()| Answer::Done),
            Verb::Stats { endpoint } => came(media.stats(at(endpoint)?), |stats| {
                Answer::Stats(Box::new(Stats::new(&stats, Instant::now())))
            }),
            Verb::Play { endpoint, prompt } => {
                came(media.play_prompt(at(endpoint)?, &prompt), Answer::Played)
            }
            Verb::StopPrompt { endpoint } => {
                media.stop_prompt(at(endpoint)?);
                done()
            }
            Verb::Collect { endpoint, prompt: None, plan } => {
                came(media.collect_dtmf(at(endpoint)?, &plan), Answer::Collected)
            }
            Verb::Collect { endpoint, prompt: Some(prompt), plan } => {
                came(media.play_and_collect(at(endpoint)?, &prompt, &plan), Answer::Collected)
            }
            Verb::StopCollecting { endpoint } => {
                media.stop_collecting(at(endpoint)?);
                done()
            }
            Verb::FeedDigit { endpoint, digit } => {
                media.feed_digit(at(endpoint)?, digit);
                done()
            }
            Verb::TakesInfo { endpoint } => {
                media.takes_info(at(endpoint)?);
                done()
            }
            Verb::HearTones { endpoint, on } => {
                media.hear_tones(at(endpoint)?, on);
                done()
            }
            Verb::Record { recording: Some(recording), endpoint, spec } => {
                let begun = media.start_recording(at(endpoint)?, &spec);
                self.begun(key, recording, begun)
            }
            Verb::PauseRecording { recording, paused } => {
                media.pause_recording(self.recording(key, recording)?, paused);
                done()
            }
            Verb::FollowRecording { recording, endpoint, other_side } => {
                media.follow_recording(self.recording(key, recording)?, at(endpoint)?, other_side)?;
                done()
            }
            Verb::StopRecording { recording } => {
                came(media.stop_recording(self.recording(key, recording)?), Answer::Recorded)
            }
            Verb::WaitForRecording { recording } => {
                came(media.wait_for_recording(self.recording(key, recording)?), Answer::Recorded)
            }
            Verb::CreateConference { conference: Some(conference), spec } => {
                let there = media.create_conference(&spec).now().unwrap_or(Err(MediaError::Stopped))?;
                let mut state = self.state();
                if let Some(session) = state.session(key) {
                    session.conferences.insert(conference, there);
                }
                state.conferences.insert(there, (key.to_owned(), conference));
                done()
            }
            Verb::EndConference { conference } => {
                let there = room(conference)?;
                media.end_conference(there);
                let mut state = self.state();
                state.conferences.remove(&there);
                if let Some(session) = state.session(key) {
                    session.conferences.remove(&conference);
                }
                done()
            }
            Verb::AddToConference { conference, endpoint, member } => {
                came(media.add_to_conference(room(conference)?, at(endpoint)?, member), |()| Answer::Done)
            }
            Verb::RemoveFromConference { conference, endpoint } => {
                media.remove_from_conference(room(conference)?, at(endpoint)?);
                done()
            }
            Verb::PlayToConference { conference, prompt } => {
                came(media.play_to_conference(room(conference)?, &prompt), Answer::Played)
            }
            Verb::RecordConference { recording: Some(recording), conference, spec } => {
                let begun = media.record_conference(room(conference)?, &spec);
                self.begun(key, recording, begun)
            }
            Verb::StartMoh { endpoint, class: Music::Class(class) } => {
                came(media.start_music_of(at(endpoint)?, &class), |()| Answer::Done)
            }
            Verb::StartMoh { endpoint, class: Music::Named(class) } => {
                came(media.start_moh(at(endpoint)?, &class), |()| Answer::Done)
            }
            Verb::StopMoh { endpoint } => {
                media.stop_moh(at(endpoint)?);
                done()
            }
            Verb::Echo { endpoint, on } => came(media.echo(at(endpoint)?, on), |()| Answer::Done),
            // Who asks gives the names here.
            Verb::Allocate { endpoint: None, .. }
            | Verb::Record { recording: None, .. }
            | Verb::RecordConference { recording: None, .. }
            | Verb::CreateConference { conference: None, .. } => {
                return Err(MediaError::Unsupported(verb.capability()));
            }
        })
    }
}

fn done() -> Came {
    Came::Now(Ok(Answer::Done))
}

fn described(future: MediaFuture<bytes::Bytes>) -> Came {
    came(future, Answer::Description)
}

/// Polls once: what was asked for has begun already.
fn came<T: Send + Unpin + 'static>(
    future: MediaFuture<T>,
    read: impl FnOnce(T) -> Answer<Stats> + Send + 'static,
) -> Came {
    match future.now() {
        Ok(result) => Came::Now(result.map(read)),
        Err(future) => Came::Later(Box::pin(async move { future.await.map(read) })),
    }
}
