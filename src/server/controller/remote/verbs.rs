//! Verbs for a media server, and their results.

use std::time::Instant;

use super::RemoteController;
use super::holdings::About;
use b2b_call::controller::{
    Answer, Capabilities, ConferenceId, Descriptions, EndpointId, EndpointSpec, MadeMut, MediaBackend,
    MediaError, MediaFuture, Music, NameMut, RecordingId, Verb,
};

/// The object that a verb creates, by the name given to it here.
enum Made {
    Nothing,
    Endpoint(EndpointId),
    Recording(RecordingId),
    Conference(ConferenceId),
}

impl Made {
    /// The result for the requester: creating verbs return the names given here.
    fn named(self, answer: Answer) -> Answer {
        match (self, answer) {
            (Made::Endpoint(id), Answer::Allocated { rtp, .. }) => {
                Answer::Allocated { endpoint: Some(id), rtp }
            }
            (Made::Recording(id), Answer::Done) => Answer::Recording(id),
            (Made::Conference(id), Answer::Done) => Answer::Conference(id),
            (_, answer) => answer,
        }
    }
}

impl RemoteController {
    /// Names the object that a verb creates, and determines the verb's server.
    fn address(&self, verb: &mut Verb) -> Result<(About, Made), MediaError> {
        let [about, _] = verb.names_mut();
        let about = about.map(|name| match name {
            NameMut::Endpoint(id) => About::Endpoint(*id),
            NameMut::Recording(id) => About::Recording(*id),
            NameMut::Conference(id) => About::Conference(*id),
        });
        match (verb.makes(), about) {
            (Some(MadeMut::Endpoint(name, near)), _) => {
                let id = self.table.place(near)?;
                *name = Some(id);
                Ok((About::Endpoint(id), Made::Endpoint(id)))
            }
            (Some(MadeMut::Conference(name)), _) => {
                let id = self.table.conference()?;
                *name = Some(id);
                Ok((About::Conference(id), Made::Conference(id)))
            }
            (Some(MadeMut::Recording(name)), Some(about)) => {
                let id = self.table.recording(&about)?;
                *name = Some(id);
                Ok((about, Made::Recording(id)))
            }
            (None, Some(about)) => Ok((about, Made::Nothing)),
            // The verb's server cannot be determined.
            (Some(MadeMut::Recording(_)) | None, None) => Err(MediaError::Unsupported(verb.capability())),
        }
    }

    /// Resolves a named class of music from ours: media servers have none.
    fn music_of(&self, verb: &mut Verb) -> Result<(), MediaError> {
        if let Verb::StartMoh { class, .. } = verb
            && let Music::Named(name) = class
        {
            let known = self.music.get(name.as_str()).ok_or_else(|| {
                MediaError::Prompt(format!("music class {name:?} (there is none of that name)"))
            })?;
            *class = Music::Class(known.clone());
        }
        Ok(())
    }
}

impl MediaBackend for RemoteController {
    fn capabilities(&self) -> Capabilities {
        RemoteController::CAPABILITIES
    }

    fn request(&self, mut verb: Verb) -> MediaFuture<Answer> {
        let asked = self.music_of(&mut verb).and_then(|()| {
            let (about, made) = self.address(&mut verb)?;
            Ok((self.table.ask(&about, verb)?, made))
        });
        match asked {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok((answer, made)) => MediaFuture::pending(async move {
                let answer = answer.await.unwrap_or(Err(MediaError::Stopped))?;
                Ok(made.named(answer.counted(|stats| stats.stats(Instant::now()))))
            }),
        }
    }

    fn open_endpoint(&self, spec: EndpointSpec) -> MediaFuture<EndpointId> {
        MediaFuture::ready(self.table.open(spec))
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.table.repeats(endpoint, description)
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        self.table.descriptions(endpoint)
    }
}
